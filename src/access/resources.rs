//! What a key may reach with its scopes.
//!
//! Owns: the four bounds and their containment. An empty list bounds nothing; `all_jobs` widens
//! what is seen from the owner's faxes to everybody's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most digits of a prefix: those of the longest E.164 number.
const PREFIX_DIGITS: usize = 15;

/// The beginning of phone numbers in E.164: `+` and 1 to 15 digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct NumberPrefix(String);

/// The text is not the beginning of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the beginning of a number; allowed are + and 1 to 15 digits, like +1555")]
pub struct InvalidPrefix;

impl NumberPrefix {
    fn begins(&self, number: &str) -> bool {
        number.starts_with(&self.0)
    }
}

impl FromStr for NumberPrefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for NumberPrefix {
    type Error = InvalidPrefix;

    fn try_from(text: String) -> Result<Self, InvalidPrefix> {
        let sound = text.strip_prefix('+').is_some_and(|digits| {
            (1..=PREFIX_DIGITS).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
        });
        if sound { Ok(Self(text)) } else { Err(InvalidPrefix) }
    }
}

impl From<NumberPrefix> for String {
    fn from(prefix: NumberPrefix) -> Self {
        prefix.0
    }
}

impl fmt::Display for NumberPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bounds of a key; the default bounds nothing and sees the owner's faxes only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Numbers it may send to begin with one of these.
    pub to_prefixes: Vec<NumberPrefix>,
    /// Sender numbers it may choose.
    pub from_numbers: Vec<String>,
    /// Mailboxes it may open.
    pub mailboxes: Vec<String>,
    /// Whether it sees everybody's faxes, not only its owner's.
    pub all_jobs: bool,
}

impl Resources {
    /// Whether it may send to this number, in E.164.
    pub fn may_dial(&self, number: &str) -> bool {
        self.to_prefixes.is_empty() || self.to_prefixes.iter().any(|prefix| prefix.begins(number))
    }

    /// Whether it is bounded in any way.
    pub fn is_bounded(&self) -> bool {
        !(self.to_prefixes.is_empty() && self.from_numbers.is_empty() && self.mailboxes.is_empty())
    }

    /// The first field in which it reaches further than `other`; `None` when it lies within.
    pub fn beyond(&self, other: &Self) -> Option<&'static str> {
        let prefixes_within = other.to_prefixes.is_empty()
            || !self.to_prefixes.is_empty()
                && self.to_prefixes.iter().all(|prefix| other.may_dial(&prefix.0));
        [
            (prefixes_within, "to_prefixes"),
            (is_listed(&self.from_numbers, &other.from_numbers), "from_numbers"),
            (is_listed(&self.mailboxes, &other.mailboxes), "mailboxes"),
            (other.all_jobs || !self.all_jobs, "all_jobs"),
        ]
        .into_iter()
        .find_map(|(within, field)| (!within).then_some(field))
    }

    /// These bounds, with those of `other` where a list is empty.
    pub fn or_bounds_of(mut self, other: &Self) -> Self {
        inherit(&mut self.to_prefixes, &other.to_prefixes);
        inherit(&mut self.from_numbers, &other.from_numbers);
        inherit(&mut self.mailboxes, &other.mailboxes);
        self
    }
}

fn is_listed(inner: &[String], outer: &[String]) -> bool {
    outer.is_empty() || !inner.is_empty() && inner.iter().all(|item| outer.contains(item))
}

fn inherit<T: Clone>(list: &mut Vec<T>, from: &[T]) {
    if list.is_empty() {
        list.extend_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[&str]) -> Resources {
        Resources {
            to_prefixes: texts.iter().map(|text| text.parse().unwrap()).collect(),
            ..Resources::default()
        }
    }

    #[test]
    fn dials_only_what_its_prefixes_begin() {
        let cases: &[(&[&str], &str, bool)] = &[
            (&[], "+15551234567", true),
            (&["+1555"], "+15551234567", true),
            (&["+1555"], "+15541234567", false),
            (&["+44", "+1555"], "+442079460000", true),
            (&["+15551234567"], "+1555123456", false),
        ];
        for (texts, number, expected) in cases {
            assert_eq!(prefixes(texts).may_dial(number), *expected, "{texts:?} {number}");
        }
    }

    #[test]
    fn knows_what_lies_within() {
        let all_jobs = Resources { all_jobs: true, ..Resources::default() };
        let cases = [
            (prefixes(&["+1555"]), Resources::default(), None),
            (prefixes(&["+15551"]), prefixes(&["+1555", "+44"]), None),
            (prefixes(&["+15551", "+33"]), prefixes(&["+1555"]), Some("to_prefixes")),
            (prefixes(&["+15"]), prefixes(&["+1555"]), Some("to_prefixes")),
            (Resources::default(), prefixes(&["+1555"]), Some("to_prefixes")),
            (all_jobs.clone(), Resources::default(), Some("all_jobs")),
            (Resources::default(), all_jobs, None),
        ];
        for (inner, outer, expected) in cases {
            assert_eq!(inner.beyond(&outer), expected, "{inner:?} in {outer:?}");
            assert_eq!(prefixes(&[]).or_bounds_of(&outer).beyond(&outer), None);
        }
    }

    #[test]
    fn a_typo_makes_no_unbounded_key() {
        for json in [
            r#"{"to_prefix":["+1"]}"#,
            r#"{"to_prefixes":["1"]}"#,
            r#"{"to_prefixes":["+"]}"#,
            r#"{"to_prefixes":"+1"}"#,
        ] {
            assert!(serde_json::from_str::<Resources>(json).is_err(), "{json}");
        }
        let given = prefixes(&["+1555"]);
        assert_eq!(
            serde_json::from_str::<Resources>(&serde_json::to_string(&given).unwrap()).unwrap(),
            given
        );
        assert_eq!(serde_json::from_str::<Resources>("{}").unwrap(), Resources::default());
    }
}
