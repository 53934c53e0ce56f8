//! Networks in CIDR form (RFC 4632, RFC 4291), for the address lists of keys.
//!
//! Refuses: a network with bits beyond its length, because it is unclear what was meant. IPv4
//! addresses written in IPv6 (`::ffff:a.b.c.d`) are the IPv4 addresses they stand for.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bits by which `::ffff:0:0/96` is longer than the IPv4 network in it.
const MAPPED_BITS: u8 = 96;

/// A network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

/// The text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCidr {
    /// It cannot be read.
    #[error("not a network; allowed is an address or a network like 192.168.1.0/24 or 2001:db8::/32")]
    Unreadable,
    /// Bits beyond the length are set.
    #[error("bits beyond the length are set; did you mean {0}?")]
    HostBits(Cidr),
}

impl Cidr {
    /// Whether `address` is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.length) == Some(self.address)
    }

    /// First address and length in bits.
    pub fn parts(&self) -> (IpAddr, u8) {
        (self.address, self.length)
    }

    /// Whether `other` contains all of it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.length >= other.length && other.contains(self.address)
    }
}

/// The address with all bits after the first `length` cleared; `None` when it is not that long.
fn masked(address: IpAddr, length: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let host_bits = 32u32.checked_sub(length.into())?;
            let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
            Some(IpAddr::V4((address.to_bits() & mask).into()))
        }
        IpAddr::V6(address) => {
            let host_bits = 128u32.checked_sub(length.into())?;
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask)))
        }
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| InvalidCidr::Unreadable)?;
        let longest: u8 = if written.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => longest,
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().ok().filter(|length| *length <= longest).ok_or(InvalidCidr::Unreadable)?
            }
            Some(_) => return Err(InvalidCidr::Unreadable),
        };
        let canonical = written.to_canonical();
        let (address, length) = match (written, canonical) {
            (IpAddr::V6(_), IpAddr::V4(_)) => {
                (canonical, length.checked_sub(MAPPED_BITS).ok_or(InvalidCidr::Unreadable)?)
            }
            _ => (written, length),
        };
        let network = masked(address, length).ok_or(InvalidCidr::Unreadable)?;
        let cidr = Self { address: network, length };
        if network == address { Ok(cidr) } else { Err(InvalidCidr::HostBits(cidr)) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl TryFrom<String> for Cidr {
    type Error = InvalidCidr;

    fn try_from(text: String) -> Result<Self, InvalidCidr> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_what_it_says() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (
                "192.168.1.0/24",
                &["192.168.1.0", "192.168.1.255", "::ffff:192.168.1.7"],
                &["192.168.2.0", "::1"],
            ),
            ("10.0.0.5", &["10.0.0.5"], &["10.0.0.4", "10.0.0.6"]),
            ("0.0.0.0/0", &["1.2.3.4", "255.255.255.255"], &["::1"]),
            ("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::", "32.1.13.184"]),
            ("::/0", &["::1", "fe80::1"], &["127.0.0.1"]),
            ("::ffff:10.0.0.0/104", &["10.255.0.1"], &["11.0.0.1"]),
        ];
        for (text, inside, outside) in cases {
            let cidr: Cidr = text.parse().unwrap();
            for address in *inside {
                assert!(cidr.contains(address.parse().unwrap()), "{text} has {address}");
            }
            for address in *outside {
                assert!(!cidr.contains(address.parse().unwrap()), "{text} has not {address}");
            }
            assert_eq!(cidr.to_string().parse::<Cidr>().unwrap(), cidr);
        }
    }

    #[test]
    fn refuses_what_is_unclear() {
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/8 ",
            "::/129",
            "10.0.0/8",
            "::ffff:0:0/95",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
        let error = "192.168.1.5/24".parse::<Cidr>().unwrap_err();
        assert_eq!(error.to_string(), "bits beyond the length are set; did you mean 192.168.1.0/24?");
    }

    #[test]
    fn a_network_lies_within_a_wider_one() {
        let cases = [
            ("10.1.0.0/16", "10.0.0.0/8", true),
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("10.0.0.0/8", "10.1.0.0/16", false),
            ("11.0.0.0/16", "10.0.0.0/8", false),
            ("10.0.0.1", "::/0", false),
        ];
        for (inner, outer, expected) in cases {
            let (inner, outer): (Cidr, Cidr) = (inner.parse().unwrap(), outer.parse().unwrap());
            assert_eq!(inner.is_within(&outer), expected, "{inner} in {outer}");
        }
    }
}
