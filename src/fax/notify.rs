//! Whom the sender of a fax wants told of it by e-mail, and of what.
//!
//! Owns: the words for when, and what an address of e-mail is. Refuses: addresses that could be
//! anything but one address: no spaces, no controls, no quotes, no comments, ASCII alone, so that an
//! [`Address`] can stand in a header and in a command of SMTP as it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest address (RFC 5321 section 4.5.3.1.3, without the angle brackets).
const LONGEST: usize = 254;
/// Longest part before the `@` (RFC 5321 section 4.5.3.1.1).
const LONGEST_LOCAL: usize = 64;
/// Longest part of a domain between dots.
const LONGEST_LABEL: usize = 63;

/// Of what somebody is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Of nothing.
    #[default]
    None,
    /// That the fax has ended, however it did.
    Done,
    /// That a call failed and the fax will be tried again.
    Requeued,
    /// Of both.
    Both,
}

/// The text is none of the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be none, done, requeued or both")]
pub struct UnknownWhen;

impl When {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Done, Self::Requeued, Self::Both];

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Done => "done",
            Self::Requeued => "requeued",
            Self::Both => "both",
        }
    }

    /// Whether the end is told.
    pub fn tells_end(self) -> bool {
        matches!(self, Self::Done | Self::Both)
    }

    /// Whether failed calls are told that are not the end.
    pub fn tells_retries(self) -> bool {
        matches!(self, Self::Requeued | Self::Both)
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for When {
    type Err = UnknownWhen;

    fn from_str(text: &str) -> Result<Self, UnknownWhen> {
        Self::ALL.into_iter().find(|when| when.as_str() == text).ok_or(UnknownWhen)
    }
}

/// One address of e-mail: `local@domain` in plain ASCII.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

/// The text is no address we send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one e-mail address in plain letters, like desk@example.org")]
pub struct InvalidAddress;

impl Address {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the `@`.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidAddress)?;
        // `atext` of RFC 5322 section 3.2.3.
        let is_atext = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
        let is_local = local.len() <= LONGEST_LOCAL
            && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext));
        let is_label = |label: &str| {
            (1..=LONGEST_LABEL).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let is_address = text.len() <= LONGEST && is_local && domain.split('.').all(is_label);
        is_address.then(|| Self(text.to_owned())).ok_or(InvalidAddress)
    }
}

impl TryFrom<String> for Address {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, InvalidAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// For logs: people are not named there.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address(…@{})", self.domain())
    }
}

/// Who is told of a fax, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// Of what.
    pub when: When,
    /// Who; never nobody.
    pub to: Vec<Address>,
}

impl Notify {
    /// Nothing, when there is nothing to tell or nobody to tell it to.
    pub fn new(when: When, to: Vec<Address>) -> Option<Self> {
        (when != When::None && !to.is_empty()).then_some(Self { when, to })
    }

    /// The same for a group of faxes, of which only the end is told, once.
    pub fn of_group(self) -> Option<Self> {
        self.when.tells_end().then_some(Self { when: When::Done, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_plain_address_and_nothing_else() {
        let long = format!("{}@example.org", "x".repeat(65));
        for good in ["desk@example.org", "a.b+c_d'e@x-1.example", "root@localhost", "1@2.example"] {
            assert_eq!(good.parse::<Address>().map(String::from).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "@",
            "desk",
            "desk@",
            "@example.org",
            "a b@example.org",
            "a@b@example.org",
            "a..b@example.org",
            ".a@example.org",
            "a@example..org",
            "a@-x.org",
            "a@[127.0.0.1]",
            "\"a b\"@example.org",
            "<a@example.org>",
            "Desk <a@example.org>",
            "a@example.org,b@example.org",
            "a@example.org\r\nBcc: b@example.org",
            "a\r\n@example.org",
            "a\0@example.org",
            "ä@example.org",
            "a@exämple.org",
            "a@example.org ",
            &long,
        ] {
            assert_eq!(bad.parse::<Address>(), Err(InvalidAddress), "{bad:?}");
        }
        let address: Address = "ada@example.org".parse().unwrap();
        assert_eq!(format!("{address:?}"), "Address(…@example.org)");
    }

    #[test]
    fn words_read_back() {
        for when in When::ALL {
            assert_eq!(when.as_str().parse(), Ok(when));
        }
        assert_eq!("always".parse::<When>(), Err(UnknownWhen));
        let to: Vec<Address> = vec!["a@example.org".parse().unwrap()];
        assert_eq!(Notify::new(When::None, to.clone()), None);
        assert_eq!(Notify::new(When::Both, Vec::new()), None);
        let both = Notify::new(When::Both, to.clone()).unwrap();
        assert_eq!(both.of_group().unwrap().when, When::Done);
        assert_eq!(Notify::new(When::Requeued, to).unwrap().of_group(), None);
    }
}
