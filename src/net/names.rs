//! The names and addresses under which this machine is reached.
//!
//! Addresses come from `/proc`, because the C library's way needs a socket family the service is
//! not allowed, and `unsafe`. Link-local and short-lived IPv6 addresses are left out: nobody types
//! them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Own IPv4 addresses: the kernel's routing tables.
const IPV4: &str = "/proc/self/net/fib_trie";
/// Own IPv6 addresses with their scope and flags.
const IPV6: &str = "/proc/self/net/if_inet6";
/// Scope of link-local addresses in [`IPV6`].
const SCOPE_LINK: u32 = 0x20;
/// Flag of short-lived addresses (RFC 8981) in [`IPV6`].
const FLAG_TEMPORARY: u32 = 0x01;
/// Longest host name (RFC 1035 section 2.3.4, without the root's dot).
const LONGEST_NAME: usize = 253;
/// Longest part of a host name between dots.
const LONGEST_LABEL: usize = 63;

/// How clients may call this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Host names in lower case.
    pub names: BTreeSet<String>,
    /// Addresses.
    pub addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// `localhost`, the host name with and without `.local`, all own addresses, and what the
    /// administrator configured (names or addresses).
    pub fn of_machine(configured: &[String]) -> Self {
        let mut found = Self::default();
        found.add("localhost");
        found.addresses.extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        let system = rustix::system::uname();
        let host = system.nodename().to_string_lossy().to_ascii_lowercase();
        found.add(&host);
        if let Some(label) = host.split('.').next()
            && label != "localhost"
        {
            found.add(label);
            found.add(&format!("{label}.local"));
        }
        // Where one of them is missing (no IPv6), there is nothing to read in it either.
        found.addresses.extend(ipv4_addresses(&std::fs::read_to_string(IPV4).unwrap_or_default()));
        found.addresses.extend(ipv6_addresses(&std::fs::read_to_string(IPV6).unwrap_or_default()));
        for name in configured {
            found.add(name);
        }
        found
    }

    /// Adds a name or an address; what is neither (a host name with underscores) is left out.
    fn add(&mut self, text: &str) {
        if let Ok(address) = text.parse() {
            self.addresses.insert(address);
        } else if is_host_name(text) {
            self.names.insert(text.to_ascii_lowercase());
        }
    }
}

/// Whether `text` can stand in a certificate as a host name (RFC 1123 section 2.1).
pub fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= LONGEST_NAME && text.split('.').all(is_label)
}

/// The machine's own addresses among a kernel's routes: `|-- a.b.c.d`, then `/32 host LOCAL`.
fn ipv4_addresses(routes: &str) -> BTreeSet<IpAddr> {
    let mut found = BTreeSet::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in routes.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = last
        {
            found.insert(IpAddr::V4(address));
        }
    }
    found
}

/// Lines of 32 hex digits, device number, prefix length, scope, flags, device name.
fn ipv6_addresses(lines: &str) -> BTreeSet<IpAddr> {
    let read = |line: &str| {
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let mut numbers = fields.skip(2).map(|field| u32::from_str_radix(field, 16));
        let (scope, flags) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let is_typed = scope != SCOPE_LINK && flags & FLAG_TEMPORARY == 0;
        is_typed.then(|| IpAddr::V6(Ipv6Addr::from_bits(address)))
    };
    lines.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(of: &[&str]) -> BTreeSet<IpAddr> {
        of.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn reads_the_kernels_tables() {
        let routes = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
            |-- 127.0.0.1\n /32 host LOCAL\n |-- 192.168.1.0\n /24 link UNICAST\n\
            |-- 192.168.1.7\n /32 host LOCAL\n |-- 192.168.1.255\n /32 link BROADCAST\n";
        assert_eq!(ipv4_addresses(routes), addresses(&["127.0.0.1", "192.168.1.7"]));
        let lines = "fd000000000000000000000000000002 04 40 00 82     eth0\n\
            fd0000000000000000000000000000aa 04 40 00 01     eth0\n\
            fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n\
            00000000000000000000000000000001 01 80 10 80       lo\n\nnonsense\n";
        assert_eq!(ipv6_addresses(lines), addresses(&["fd00::2", "::1"]));
    }

    #[test]
    fn knows_itself_and_what_was_configured() {
        let configured = ["Fax.Example.org".to_owned(), "203.0.113.9".to_owned()];
        let found = Names::of_machine(&configured);
        assert!(found.names.contains("localhost") && found.names.contains("fax.example.org"));
        assert!(found.addresses.is_superset(&addresses(&["127.0.0.1", "::1", "203.0.113.9"])));
        // A socket that was told where to send knows which own address it would use.
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("192.0.2.99:9").is_ok() {
            assert!(found.addresses.contains(&socket.local_addr().unwrap().ip()), "{found:?}");
        }
    }

    #[test]
    fn tells_host_names() {
        for good in ["fax", "fax.local", "a-1.example.org", &"a".repeat(63)] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in ["", ".", "fax.", "-fax", "fax-", "fa_x", "fax x", "*.example.org", &"a".repeat(64)] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }
}
