//! The guard against mis-dialled faxes: which numbers somebody has to look at twice.
//!
//! Owns: the rule, and what it means that a number is near another one: one digit is different, or
//! two neighbouring digits are swapped, which is how people mistype. Refuses: to look anything up;
//! whoever does asks for the numbers of [`neighbours`], some hundred of them, so that no book and no
//! history is ever gone through.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::number::FaxNumber;

/// Which numbers need a second look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// None.
    #[default]
    Off,
    /// Unknown ones that are near a known one: very likely mistyped.
    NearMiss,
    /// All unknown ones.
    FirstTime,
}

/// The text names no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a rule about second looks")]
pub struct UnknownRule;

impl Rule {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::NearMiss, Self::FirstTime];

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::NearMiss => "near_miss",
            Self::FirstTime => "first_time",
        }
    }
}

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == text).ok_or(UnknownRule)
    }
}

/// What the configuration says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Which numbers need a second look.
    pub rule: Rule,
    /// Whether that holds on routes that cost nothing, too.
    pub everywhere: bool,
}

/// Follows the rule where it holds on every route.
const EVERYWHERE: &str = " everywhere";

impl FromStr for Settings {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let (rule, everywhere) = text.strip_suffix(EVERYWHERE).map_or((text, false), |rule| (rule, true));
        Ok(Self { rule: rule.trim_end().parse()?, everywhere })
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule.as_str())?;
        if self.everywhere { f.write_str(EVERYWHERE) } else { Ok(()) }
    }
}

/// Why a fax waits for somebody to look at its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondLook {
    /// What is striking about the number.
    pub kind: Kind,
    /// Where the number came up that it is near: in the address book, or among those faxes were
    /// delivered to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub found_in: Option<FoundIn>,
    /// That number; not for everybody's eyes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub near: Option<String>,
}

/// What is striking about a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One digit away from a known one.
    OneDigit,
    /// A known one with two neighbouring digits swapped.
    Swapped,
    /// It was never used.
    FirstTime,
    /// Another machine answered there than the one that is known.
    OtherStation,
}

impl Kind {
    /// The word of events and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneDigit => "one_digit",
            Self::Swapped => "swapped",
            Self::FirstTime => "first_time",
            Self::OtherStation => "other_station",
        }
    }
}

/// Where a known number is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundIn {
    /// The address book.
    Contacts,
    /// Deliveries of the last 30 days.
    Deliveries,
}

/// All numbers that are near this one: at most 199, 110 of a number of eleven digits.
pub fn neighbours(number: &FaxNumber) -> Vec<String> {
    let digits = number.digits().as_bytes();
    let text =
        |digits: &[u8]| std::iter::once('+').chain(digits.iter().map(|digit| char::from(*digit))).collect();
    let mut found = Vec::with_capacity(digits.len() * 10);
    let mut other = digits.to_vec();
    for place in 0..digits.len() {
        for digit in (b'0'..=b'9').filter(|digit| *digit != digits[place]) {
            other[place] = digit;
            found.push(text(&other));
        }
        other[place] = digits[place];
        if place + 1 < digits.len() && digits[place] != digits[place + 1] {
            other.swap(place, place + 1);
            found.push(text(&other));
            other.swap(place, place + 1);
        }
    }
    found
}

/// How a number is near this one.
pub fn kind_of(number: &FaxNumber, near: &str) -> Kind {
    let differences = number.as_e164().bytes().zip(near.bytes()).filter(|(one, other)| one != other).count();
    if differences == 2 { Kind::Swapped } else { Kind::OneDigit }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn neighbours_are_what_people_mistype() {
        let number: FaxNumber = "+15552017789".parse().unwrap();
        let all = neighbours(&number);
        let distinct: HashSet<_> = all.iter().collect();
        // Eleven digits with nine others each; ten pairs, of which three are twins.
        assert_eq!((all.len(), distinct.len()), (99 + 7, 106));
        for (near, kind) in [
            ("+15552017788", Kind::OneDigit),
            ("+15552017779", Kind::OneDigit),
            ("+15550217789", Kind::Swapped),
            ("+15552017798", Kind::Swapped),
        ] {
            assert!(all.iter().any(|other| other == near), "{near}");
            assert_eq!(kind_of(&number, near), kind, "{near}");
        }
        for far in ["+15552017789", "+15552017700", "+1555201778", "+15555207189"] {
            assert!(!all.iter().any(|other| other == far), "{far}");
        }
        // It goes both ways.
        assert!(
            all.iter().all(|near| neighbours(&near.parse().unwrap()).contains(&number.as_e164().to_owned()))
        );
    }

    #[test]
    fn words_read_back() {
        for rule in Rule::ALL {
            assert_eq!(rule.as_str().parse(), Ok(rule));
        }
        assert!("on".parse::<Rule>().is_err());
        for text in ["off", "near_miss", "near_miss everywhere", "first_time everywhere"] {
            assert_eq!(text.parse::<Settings>().unwrap().to_string(), text);
        }
        assert!("everywhere".parse::<Settings>().is_err());
    }
}
