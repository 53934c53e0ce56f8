//! Web origins (RFC 6454 section 6.2), for keys that stand in browser applications.
//!
//! Refuses: paths, wildcards and names a browser would never send; what is accepted is written as a
//! browser writes its `Origin` header, so that comparing is comparing of texts.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest host name (RFC 1035 section 2.3.4).
const HOST_LEN: usize = 253;

/// `scheme://host[:port]`, in lower case and without the scheme's usual port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Origin(String);

/// The text is not a web origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a web origin; allowed is http:// or https://, a host and perhaps a port, without a path and without *, like https://app.example.org"
)]
pub struct InvalidOrigin;

impl Origin {
    /// It as a browser writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    host.len() <= HOST_LEN && host.split('.').all(is_label)
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let text = text.to_ascii_lowercase();
        let (scheme, usual_port, rest) = match text.split_once("://").ok_or(InvalidOrigin)? {
            ("http", rest) => ("http", 80, rest),
            ("https", rest) => ("https", 443, rest),
            _ => return Err(InvalidOrigin),
        };
        // The last colon, unless it is one of an IPv6 address.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let port: Option<u16> = match port {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|port| *port != 0).ok_or(InvalidOrigin)?)
            }
            Some(_) => return Err(InvalidOrigin),
            None => None,
        };
        if !is_host(host) {
            return Err(InvalidOrigin);
        }
        Ok(Self(match port.filter(|port| *port != usual_port) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

impl TryFrom<String> for Origin {
    type Error = InvalidOrigin;

    fn try_from(text: String) -> Result<Self, InvalidOrigin> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_browsers_write_it() {
        let cases = [
            ("https://app.example.org", Some("https://app.example.org")),
            ("HTTPS://App.Example.org:443", Some("https://app.example.org")),
            ("http://localhost:3000", Some("http://localhost:3000")),
            ("http://127.0.0.1:80", Some("http://127.0.0.1")),
            ("https://[::1]:8443", Some("https://[::1]:8443")),
            ("https://[::1]", Some("https://[::1]")),
            ("https://xn--prxis-rta.example", Some("https://xn--prxis-rta.example")),
            ("", None),
            ("*", None),
            ("null", None),
            ("https://", None),
            ("https://*.example.org", None),
            ("https://app.example.org/", None),
            ("https://app.example.org/path", None),
            ("https://user@app.example.org", None),
            ("https://app.example.org?x", None),
            ("https://app..example.org", None),
            ("https://praxís.example", None),
            ("https://app.example.org:0", None),
            ("https://app.example.org:65536", None),
            ("https://app.example.org:", None),
            ("https://[::1", None),
            ("ftp://app.example.org", None),
            ("app.example.org", None),
        ];
        for (text, expected) in cases {
            let origin = text.parse::<Origin>();
            assert_eq!(origin.as_ref().ok().map(Origin::as_str), expected, "{text:?}");
            if let Ok(origin) = origin {
                assert_eq!(origin.to_string().parse::<Origin>().unwrap(), origin);
            }
        }
    }
}
