//! Who is really at the other end, and which of our names they used.
//!
//! Owns: forwarding headers, taken from the proxies in `server.trusted_proxies` and from nobody
//! else; whether anybody could read along; the allow-list of host names. Refuses: names that are
//! not ours, where a browser's page could have been led here by somebody else's DNS (rebinding).

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;

use warp::http::HeaderMap;

use super::error::{ApiError, MISDIRECTED, NEEDS_HTTPS};
use super::request::Peer;
use crate::access::cidr::Cidr;

/// What is known of the sender of a request before it was let in.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// Address; `None` for a process of this machine on the admin socket.
    pub(super) address: Option<IpAddr>,
    /// Whether the browser's own connection is HTTPS.
    pub(super) is_https: bool,
    /// Whether nobody can read along between the browser and us.
    pub(super) is_confidential: bool,
    host: Option<Arc<str>>,
    is_local: bool,
}

impl Sender {
    /// Reads it from the connection and, behind a proxy of these networks, from its headers.
    pub(super) fn new(peer: Peer, host: Option<Arc<str>>, headers: &HeaderMap, trusted: &[Cidr]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        let direct = Self {
            address: peer.ip(),
            is_https: matches!(peer, Peer::Tls(_)),
            is_confidential: peer.is_confidential(),
            host,
            is_local: matches!(peer, Peer::Local { .. }),
        };
        match direct.address {
            Some(proxy) if is_trusted(proxy) => {
                // The last address that is no proxy of ours; what stands before it, its sender
                // may have made up.
                let forwarded = list(headers, "x-forwarded-for")
                    .rev()
                    .map_while(|entry| entry.parse::<IpAddr>().ok())
                    .map(|address| address.to_canonical())
                    .find(|address| !is_trusted(*address));
                let Some(address) = forwarded else { return direct };
                let is_https = list(headers, "x-forwarded-proto").next_back() == Some("https");
                let is_confidential = direct.is_confidential && (is_https || address.is_loopback());
                Self { address: Some(address), is_https, is_confidential, ..direct }
            }
            _ => direct,
        }
    }

    /// `https://name` or `http://name:port`, as the browser calls us.
    pub(super) fn origin(&self) -> Option<String> {
        let scheme = if self.is_https { "https" } else { "http" };
        self.host.as_ref().map(|host| format!("{scheme}://{}", host.to_ascii_lowercase()))
    }

    /// Lets through who called us by a name of ours.
    pub(super) fn check_host(&self, host_names: &[String]) -> Result<(), ApiError> {
        let is_ours = self.host.as_deref().is_some_and(|host| is_our_name(host, host_names));
        if self.is_local || is_ours {
            return Ok(());
        }
        Err(ApiError::new(
            &MISDIRECTED,
            "This appliance is not known by that name. An administrator can add it to server.host_names.",
        ))
    }

    /// Lets through whose passwords and cookies nobody else can read.
    pub(super) fn check_confidential(&self) -> Result<(), ApiError> {
        if self.is_confidential {
            return Ok(());
        }
        Err(ApiError::new(
            &NEEDS_HTTPS,
            "Passwords and sessions are taken over HTTPS only, or on the appliance itself.",
        ))
    }
}

/// The entries of a header that is a comma-separated list, over all its lines.
fn list<'h>(headers: &'h HeaderMap, name: &'static str) -> impl DoubleEndedIterator<Item = &'h str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(',').map(str::trim))
}

/// Whether `Host` names this machine: localhost, an address of ours, its host name alone or with
/// `.local`, or a configured name.
fn is_our_name(host: &str, configured: &[String]) -> bool {
    let name = without_port(host).trim_end_matches('.');
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = address.parse::<IpAddr>() {
        let is_configured = configured.iter().any(|name| name.parse() == Ok(address));
        return is_configured || is_our_address(address.to_canonical());
    }
    let system = rustix::system::uname();
    let system = system.nodename().to_string_lossy();
    let is = |ours: &str| name.eq_ignore_ascii_case(ours);
    let is_system_name = !system.is_empty() && (is(&system) || is(&format!("{system}.local")));
    is("localhost") || is_system_name || configured.iter().any(|ours| is(ours))
}

/// Only an address of this machine can be bound to.
fn is_our_address(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    if address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_broadcast {
        return address.is_loopback();
    }
    TcpListener::bind((address, 0)).is_ok()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn sender(peer: &str, headers: &[(&'static str, &str)], proxies: &str) -> Sender {
        let proxies: Vec<Cidr> =
            proxies.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Sender::new(Peer::Tcp(SocketAddr::new(peer.parse().unwrap(), 5)), None, &map, &proxies)
    }

    #[test]
    fn forwarding_headers_are_believed_from_trusted_proxies_only() {
        const HTTPS: (&str, &str) = ("x-forwarded-proto", "https");
        type Case<'a> = (&'a str, &'a [(&'static str, &'a str)], &'a str, (&'a str, bool, bool));
        let cases: &[Case<'_>] = &[
            // peer, headers, trusted, (address, HTTPS, confidential)
            ("127.0.0.1", &[], "", ("127.0.0.1", false, true)),
            ("192.168.1.7", &[], "", ("192.168.1.7", false, false)),
            ("192.168.1.7", &[("x-forwarded-for", "127.0.0.1"), HTTPS], "", ("192.168.1.7", false, false)),
            ("127.0.0.1", &[("x-forwarded-for", "8.8.8.8"), HTTPS], "10.0.0.0/8", ("127.0.0.1", false, true)),
            ("127.0.0.1", &[("x-forwarded-for", "8.8.8.8"), HTTPS], "127.0.0.0/8", ("8.8.8.8", true, true)),
            ("127.0.0.1", &[("x-forwarded-for", "8.8.8.8")], "127.0.0.0/8", ("8.8.8.8", false, false)),
            ("10.0.0.1", &[("x-forwarded-for", "8.8.8.8"), HTTPS], "10.0.0.1", ("8.8.8.8", true, false)),
            // Only the entry our own proxy wrote counts.
            (
                "127.0.0.1",
                &[("x-forwarded-for", "127.0.0.1, 8.8.8.8, 10.0.0.2"), HTTPS],
                "127.0.0.1,10.0.0.2",
                ("8.8.8.8", true, true),
            ),
            (
                "127.0.0.1",
                &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "8.8.8.8")],
                "127.0.0.1",
                ("8.8.8.8", false, false),
            ),
            (
                "127.0.0.1",
                &[("x-forwarded-for", "1.1.1.1, nonsense")],
                "127.0.0.1",
                ("127.0.0.1", false, true),
            ),
        ];
        for (peer, headers, proxies, (address, is_https, is_confidential)) in cases {
            let found = sender(peer, headers, proxies);
            let expected = (Some(address.parse().unwrap()), *is_https, *is_confidential);
            assert_eq!(
                (found.address, found.is_https, found.is_confidential),
                expected,
                "{peer} {headers:?} {proxies}"
            );
        }
    }

    #[test]
    fn knows_its_own_names() {
        let configured = ["fax.example".to_owned(), "203.0.113.9".to_owned()];
        let system = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let ours = [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
            "fax.example",
            "Fax.Example:8443",
            "203.0.113.9:80",
            &system,
            &format!("{system}.local:1"),
        ];
        let others = [
            "",
            "evil.example",
            "localhost.evil.example",
            "fax.example.evil",
            "192.0.2.77",
            "192.0.2.77:8080",
            "[2001:db8::7]",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            ":8080",
            "[::]",
        ];
        for host in ours {
            assert!(is_our_name(host, &configured), "{host}");
        }
        for host in others {
            assert!(!is_our_name(host, &configured), "{host}");
        }
    }
}
