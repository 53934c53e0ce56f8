//! Which addresses the appliance calls on its own.
//!
//! Owns: telling addresses of the public internet from all others (IANA's registries of special
//! addresses for IPv4 and IPv6), and the list of others an administrator allows. Refuses: to guess;
//! an address that is neither public nor listed is not called. Some are not called even when listed,
//! because a wide network was meant to hold something else: link-local ones, and those where clouds
//! hand their machines' credentials to whoever asks.
//!
//! IPv4 addresses written in IPv6 (`::ffff:a.b.c.d`) are the IPv4 addresses they stand for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::access::cidr::Cidr;

/// Ranges of IPv4 that are not the public internet (IANA special-purpose registry, and multicast).
const SPECIAL_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];
/// Parts of 2000::/3, the only public range of IPv6, that are special all the same: protocol
/// assignments with Teredo, documentation (two), and 6to4, which hides an IPv4 address.
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Never called: this network and no address at all, link-local ones with the metadata services of
/// most clouds; those of Alibaba, Oracle and Azure; multicast and broadcast.
const NEVER_V4: [(Ipv4Addr, u32); 7] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 100, 100, 200), 32),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(192, 0, 0, 192), 32),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::BROADCAST, 32),
];
/// The same of IPv6: no address at all, Amazon's metadata service, link-local ones, multicast.
const NEVER_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::UNSPECIFIED, 128),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// Where calls may go.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    allowed: Vec<Cidr>,
}

impl Reach {
    /// The public internet, and these networks besides.
    pub fn beyond_public(allowed: Vec<Cidr>) -> Self {
        Self { allowed }
    }

    /// Whether an administrator named this address's network.
    pub fn is_listed(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|network| network.contains(address))
    }

    /// Whether any network was named.
    pub fn lists_any(&self) -> bool {
        !self.allowed.is_empty()
    }

    /// Whether this address may be called.
    pub fn permits(&self, address: IpAddr) -> bool {
        !is_in(address, &NEVER_V4, &NEVER_V6) && (is_public(address) || self.is_listed(address))
    }
}

/// Whether the address is one of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    let is_global = match address.to_canonical() {
        IpAddr::V4(_) => true,
        // 2000::/3
        IpAddr::V6(address) => address.to_bits() >> 125 == 1,
    };
    is_global && !is_in(address, &SPECIAL_V4, &SPECIAL_V6)
}

fn is_in(address: IpAddr, of_v4: &[(Ipv4Addr, u32)], of_v6: &[(Ipv6Addr, u32)]) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => of_v4.iter().any(|(network, length)| {
            let shift = 32 - length;
            address.to_bits() >> shift == network.to_bits() >> shift
        }),
        IpAddr::V6(address) => of_v6.iter().any(|(network, length)| {
            let shift = 128 - length;
            address.to_bits() >> shift == network.to_bits() >> shift
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        let public = [
            "8.8.8.8",
            "1.1.1.1",
            "100.63.255.255",
            "172.32.0.1",
            "192.169.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
        ];
        for text in public {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        let special = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.19.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for text in special {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_listed_is_reached_too() {
        let reach = Reach::beyond_public(vec!["192.168.1.0/24".parse().unwrap(), "::1".parse().unwrap()]);
        for (text, expected) in [
            ("192.168.1.9", true),
            ("::ffff:192.168.1.9", true),
            ("192.168.2.9", false),
            ("::1", true),
            ("127.0.0.1", false),
            ("9.9.9.9", true),
        ] {
            assert_eq!(reach.permits(text.parse().unwrap()), expected, "{text}");
        }
        assert!(!Reach::default().permits("192.168.1.9".parse().unwrap()));
    }

    #[test]
    fn some_are_not_reached_even_when_everything_is_listed() {
        let reach = Reach::beyond_public(vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]);
        let never = [
            "0.0.0.0",
            "169.254.169.254",
            "169.254.1.1",
            "::ffff:169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::ffff:0.0.0.0",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "ff02::1",
        ];
        for text in never {
            assert!(!reach.permits(text.parse().unwrap()), "{text}");
        }
        for text in ["10.0.0.1", "127.0.0.1", "::1", "fd00::1", "100.100.100.201", "192.168.1.1"] {
            assert!(reach.permits(text.parse().unwrap()), "{text}");
        }
    }
}
