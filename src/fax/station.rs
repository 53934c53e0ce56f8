//! Whether the machine that answers is the one that is known at a number.
//!
//! Owns: what counts as another identity, and what a call does about it. Refuses: to take a machine
//! for another one because its operator wrote the same number in another way, or because it tells
//! nothing; a false alarm teaches people to look away.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::outcome::{Class, Fault};

/// Digits at the end of two numbers by which they are compared, where both have so many: what
/// comes before them is written in many ways, or not at all.
const COMPARED_DIGITS: usize = 8;
/// A number with fewer digits is no subscriber's, and is compared whole.
const LEAST_DIGITS: usize = 7;

/// What a call does when another machine answers than the one that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Nothing.
    Off,
    /// It goes on, and the fax says so.
    #[default]
    Warn,
    /// It ends before its first page, and the fax is held until somebody has looked.
    Hold,
}

/// The text names no check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a check of station IDs")]
pub struct UnknownCheck;

impl Check {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Warn, Self::Hold];

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Hold => "hold",
        }
    }
}

impl FromStr for Check {
    type Err = UnknownCheck;

    fn from_str(text: &str) -> Result<Self, UnknownCheck> {
        Self::ALL.into_iter().find(|check| check.as_str() == text).ok_or(UnknownCheck)
    }
}

/// Another machine answered than the one that was known. Not for events and logs: both names tell
/// who the recipient is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherStation {
    /// What the machine that answered calls itself.
    pub answered: String,
    /// What the machine called itself that answered until now.
    pub known: String,
}

/// What an answered call has to mind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// What to do about another machine.
    pub check: Check,
    /// What the machine at the number called itself so far; `None` when that is not known.
    pub expected: Option<String>,
}

impl Watch {
    /// What is striking about a machine that calls itself so.
    pub fn sees(&self, answered: Option<&str>) -> Option<OtherStation> {
        let (answered, known) = (answered?, self.expected.as_deref()?);
        let is_other = self.check != Check::Off && !is_same(answered, known);
        is_other.then(|| OtherStation { answered: answered.trim().into(), known: known.trim().into() })
    }

    /// How the call ends that is not to go on to its first page because of that.
    pub fn ends_call(&self) -> Option<Fault> {
        (self.check == Check::Hold).then(|| Fault::of(Class::OtherStation))
    }
}

/// Whether two machines may be the same one, by what they call themselves (CSI, T.30 5.3.6.2.4, or
/// a name where a machine puts one there). One that tells nothing may be any.
pub fn is_same(one: &str, other: &str) -> bool {
    if one.trim().is_empty() || other.trim().is_empty() {
        return true;
    }
    match (digits(one), digits(other)) {
        (Some(one), Some(other)) => {
            let compared = one.len().min(other.len()).min(COMPARED_DIGITS);
            if compared < LEAST_DIGITS {
                return one == other;
            }
            one[one.len() - compared..] == other[other.len() - compared..]
        }
        _ => folded(one) == folded(other),
    }
}

/// The digits of a number; `None` for a name.
fn digits(text: &str) -> Option<Vec<u8>> {
    let is_of_number = |byte: u8| byte.is_ascii_digit() || b" +-./()".contains(&byte);
    if !text.bytes().all(is_of_number) {
        return None;
    }
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}

fn folded(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_machine_may_write_itself_in_many_ways() {
        let cases = [
            ("+1 555 201 7788", "15552017788", true),
            ("+1 (555) 201-7788", "201 7788", true),
            ("0049 30 1234567", "030/1234567", true),
            ("+1 555 201 7788", "+1 555 201 7789", false),
            ("+1 555 201 7788", "+1 555 301 7788", false),
            ("12345", "12345", true),
            // An extension says nothing of the number before it.
            ("12345", "+1 555 201 2345", false),
            ("Oak Street Pharmacy", "OAK STREET  PHARMACY ", true),
            ("Oak Street Pharmacy", "Elm Street Pharmacy", false),
            ("Oak Street Pharmacy", "+1 555 201 7788", false),
            ("", "+1 555 201 7788", true),
            ("   ", "Oak Street Pharmacy", true),
            ("+", "+", true),
        ];
        for (one, other, expected) in cases {
            assert_eq!(is_same(one, other), expected, "{one:?} and {other:?}");
            assert_eq!(is_same(other, one), expected, "{other:?} and {one:?}");
        }
    }

    #[test]
    fn only_what_was_told_and_is_known_raises_an_alarm() {
        let watch = |check, expected: Option<&str>| Watch { check, expected: expected.map(Into::into) };
        let other = OtherStation { answered: "NEW".into(), known: "OLD".into() };
        let cases = [
            (Check::Off, Some("OLD"), Some("NEW"), None, false),
            (Check::Warn, Some("OLD"), Some(" NEW "), Some(other.clone()), false),
            (Check::Hold, Some("OLD"), Some("NEW"), Some(other), true),
            (Check::Hold, Some("OLD"), Some("old"), None, true),
            (Check::Hold, Some("OLD"), None, None, true),
            (Check::Hold, None, Some("NEW"), None, true),
            (Check::Hold, Some("OLD"), Some(""), None, true),
        ];
        for (check, expected, answered, seen, ends) in cases {
            let watch = watch(check, expected);
            assert_eq!(watch.sees(answered), seen, "{watch:?} {answered:?}");
            assert_eq!(watch.ends_call().is_some(), ends);
        }
    }

    #[test]
    fn words_read_back() {
        for check in Check::ALL {
            assert_eq!(check.as_str().parse(), Ok(check));
        }
        assert_eq!("abort".parse::<Check>(), Err(UnknownCheck));
    }
}
