//! Messages of the DNS (RFC 1035 section 4.1), as far as a question for addresses needs them.
//!
//! Pure. Refuses: answers to other questions than ours, and to follow anything in a message: names
//! are stepped over, never unpacked, so that no pointer leads anywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes before the question.
const HEADER_LEN: usize = 12;
/// Longest name as it is written (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 255;
/// Longest part of a name.
const LONGEST_LABEL: usize = 63;
/// Class of the internet.
const CLASS_IN: u16 = 1;
/// Flags of a question: a plain one, and the server may ask others for us.
const RECURSION_DESIRED: u16 = 0x0100;
/// The flags that say what a message is: an answer, and to a plain question.
const KIND_MASK: u16 = 0xf800;
const KIND_ANSWER: u16 = 0x8000;
/// The answer did not fit.
const TRUNCATED: u16 = 0x0200;
/// The server's word on how it went.
const RCODE_MASK: u16 = 0x000f;
const NO_ERROR: u16 = 0;
const NO_SUCH_NAME: u16 = 3;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
}

impl RecordType {
    const fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
        }
    }

    fn read(self, data: &[u8]) -> Option<IpAddr> {
        match self {
            Self::A => <[u8; 4]>::try_from(data).ok().map(|octets| Ipv4Addr::from(octets).into()),
            Self::Aaaa => <[u8; 16]>::try_from(data).ok().map(|octets| Ipv6Addr::from(octets).into()),
        }
    }
}

/// What a server says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These are the addresses; there may be none.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// More than fits into a datagram.
    Truncated,
    /// The server cannot or will not say.
    Failed,
}

/// A question for the addresses of a name.
#[derive(Clone, Debug)]
pub(super) struct Query {
    record: RecordType,
    bytes: Vec<u8>,
}

impl Query {
    /// A question with this number; `None` when the name cannot be written.
    pub(super) fn new(id: u16, name: &str, record: RecordType) -> Option<Self> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + name.len() + 6);
        for word in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        for label in name.split('.') {
            let length = u8::try_from(label.len()).ok().filter(|length| *length > 0)?;
            if label.len() > LONGEST_LABEL {
                return None;
            }
            bytes.push(length);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        if bytes.len() - HEADER_LEN > LONGEST_NAME {
            return None;
        }
        bytes.extend_from_slice(&record.number().to_be_bytes());
        bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        Some(Self { record, bytes })
    }

    /// As it is sent.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads an answer; `None` when it is none to this very question, and may come from anybody.
    pub(super) fn read(&self, message: &[u8]) -> Option<Answer> {
        let question = &self.bytes[HEADER_LEN..];
        let mut reader = Reader { rest: message };
        let id = reader.take(2)?;
        let flags = reader.word()?;
        let questions = reader.word()?;
        let answers = reader.word()?;
        reader.take(4)?;
        let is_ours = id == &self.bytes[..2]
            && flags & KIND_MASK == KIND_ANSWER
            && questions == 1
            && reader.take(question.len())?.eq_ignore_ascii_case(question);
        if !is_ours {
            return None;
        }
        Some(match flags & RCODE_MASK {
            _ if flags & TRUNCATED != 0 => Answer::Truncated,
            NO_ERROR => reader.addresses(answers, self.record).map_or(Answer::Failed, Answer::Addresses),
            NO_SUCH_NAME => Answer::NoSuchName,
            _ => Answer::Failed,
        })
    }
}

/// What is left of a message; `None` everywhere means that it ends too early.
struct Reader<'message> {
    rest: &'message [u8],
}

impl<'message> Reader<'message> {
    fn take(&mut self, count: usize) -> Option<&'message [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// The addresses among so many records. Others are aliases on the way to them, which the server
    /// has followed for us.
    fn addresses(&mut self, records: u16, wanted: RecordType) -> Option<Vec<IpAddr>> {
        let mut found = Vec::new();
        for _ in 0..records {
            self.step_over_name()?;
            let (kind, class) = (self.word()?, self.word()?);
            self.take(4)?;
            let length = self.word()?;
            let data = self.take(length.into())?;
            if (kind, class) == (wanted.number(), CLASS_IN) {
                found.push(wanted.read(data)?);
            }
        }
        Some(found)
    }

    fn step_over_name(&mut self) -> Option<()> {
        loop {
            match self.take(1)?[0] {
                0 => return Some(()),
                length @ 1..=63 => {
                    self.take(length.into())?;
                }
                // A pointer ends a name (RFC 1035 section 4.1.4).
                0xc0..=0xff => {
                    self.take(1)?;
                    return Some(());
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> Query {
        Query::new(0xbeef, "hooks.example.org", RecordType::A).unwrap()
    }

    /// An answer to it with these flags and records.
    fn answer(flags: u16, count: u16, records: &[u8]) -> Vec<u8> {
        let mut message = query().bytes().to_vec();
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[6..8].copy_from_slice(&count.to_be_bytes());
        message.extend_from_slice(records);
        message
    }

    const ALIAS: &[u8] = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x06\x03web\xc0\x12";
    const ADDRESS: &[u8] = b"\x03web\xc0\x12\0\x01\0\x01\0\0\0\x3c\0\x04\xc6\x33\x64\x07";

    #[test]
    fn asks_as_the_standard_has_it() {
        let expected = b"\xbe\xef\x01\0\0\x01\0\0\0\0\0\0\x05hooks\x07example\x03org\0\0\x01\0\x01";
        assert_eq!(query().bytes(), expected);
        let long = ["a".repeat(63).as_str(); 4].join(".");
        for name in ["", "a..b", ".", "a.", &"a".repeat(64), &long] {
            assert!(Query::new(1, name, RecordType::A).is_none(), "{name}");
        }
    }

    #[test]
    fn reads_addresses_past_aliases() {
        let both = [ALIAS, ADDRESS].concat();
        let found = query().read(&answer(0x8180, 2, &both));
        assert_eq!(found, Some(Answer::Addresses(vec!["198.51.100.7".parse().unwrap()])));
        assert_eq!(query().read(&answer(0x8180, 0, b"")), Some(Answer::Addresses(Vec::new())));
        let mut other_case = answer(0x8180, 2, &both);
        other_case[13] = b'H';
        assert_eq!(query().read(&other_case), found);
        for (flags, expected) in [
            (0x8183, Answer::NoSuchName),
            (0x8182, Answer::Failed),
            (0x8185, Answer::Failed),
            (0x8380, Answer::Truncated),
        ] {
            assert_eq!(query().read(&answer(flags, 0, b"")), Some(expected), "{flags:x}");
        }
        let six = Query::new(1, "a", RecordType::Aaaa).unwrap();
        let mut message = six.bytes().to_vec();
        (message[2], message[7]) = (0x81, 1);
        message.extend_from_slice(
            b"\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07",
        );
        assert_eq!(six.read(&message), Some(Answer::Addresses(vec!["2001:db8::7".parse().unwrap()])));
    }

    #[test]
    fn takes_no_answer_to_another_question() {
        let good = answer(0x8180, 1, ADDRESS);
        for (place, value) in
            [(0, 0), (1, 0), (2, 0x01), (2, 0xa0), (5, 0), (5, 2), (14, b'x'), (30, 28), (32, 3)]
        {
            let mut other = good.clone();
            other[place] = value;
            assert_eq!(query().read(&other), None, "{place}");
        }
    }

    #[test]
    fn what_ends_early_or_is_damaged_is_no_address_and_no_panic() {
        let good = answer(0x8180, 2, &[ALIAS, ADDRESS].concat());
        for length in 0..good.len() {
            let read = query().read(&good[..length]);
            assert!(matches!(read, None | Some(Answer::Failed)), "{length}: {read:?}");
        }
        for (count, records) in [
            (u16::MAX, ADDRESS),
            (1, b"\x40a\0\0\x01\0\x01\0\0\0\0\0\x04\x01\x02\x03\x04".as_slice()),
            (1, b"\0\0\x01\0\x01\0\0\0\0\0\x03\x01\x02\x03".as_slice()),
            (1, b"\0\0\x01\0\x01\0\0\0\0\xff\xff\x01\x02\x03\x04".as_slice()),
        ] {
            assert_eq!(query().read(&answer(0x8180, count, records)), Some(Answer::Failed));
        }
    }
}
