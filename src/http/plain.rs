//! Keys anywhere allowed, people only over HTTPS.
//!
//! Owns: what is turned away where somebody could read along, before anything of the request is
//! read: signing in, setting up, cookies, and the console, which becomes a page with the way to
//! HTTPS. Refuses: to redirect; a client that sent its secret in the clear must notice.

use warp::http::header::{COOKIE, HOST};
use warp::http::request::Parts;
use warp::http::uri::Authority;
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::error::{ApiError, NEEDS_HTTPS};
use super::pages;
use super::request::Peer;

/// Answers instead of the interface, if this may only be asked over HTTPS. `https_port` is where
/// the HTTPS listener is, if there is one.
pub(super) fn refusal(peer: Peer, parts: &Parts, https_port: Option<u16>) -> Option<Response> {
    if peer.is_confidential() {
        return None;
    }
    let kind = kind(parts.uri.path(), parts.headers.contains_key(COOKIE))?;
    let secure = https_port.and_then(|port| secure_address(parts, port));
    if let (Kind::Console, Some(address), &Method::GET) = (kind, &secure, &parts.method) {
        return Some(pages::way_to_https(StatusCode::FORBIDDEN, address));
    }
    let detail = match secure {
        Some(address) => format!("People use this appliance over HTTPS only: {address}"),
        None => "People use this appliance over HTTPS only; the administrator switches it on with \
                 server.https_listen."
            .to_owned(),
    };
    Some(ApiError::new(&NEEDS_HTTPS, detail).into_response())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A page of the console.
    Console,
    /// Passwords, tokens or cookies.
    Secret,
}

/// What a request for `path` is kept from the clear for, if it is.
fn kind(path: &str, has_cookie: bool) -> Option<Kind> {
    let is_below =
        |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // The public pages need the styles and the icon. Cookies of other programs on this host come
    // along to them too, because browsers do not tell ports apart.
    let is_public = path == "/ca"
        || path.starts_with("/ca.")
        || is_below("/docs")
        || is_below("/sdk")
        || path == "/favicon.ico"
        || is_below("/problems")
        || matches!(path, "/console/style.css" | "/console/icon.svg");
    if is_public {
        None
    } else if path == "/" || is_below("/console") {
        Some(Kind::Console)
    } else if has_cookie || is_below("/setup") || is_below("/auth") {
        Some(Kind::Secret)
    } else {
        None
    }
}

/// `https://` at the name the client used for us, with the HTTPS listener's port.
fn secure_address(parts: &Parts, port: u16) -> Option<String> {
    let named = parts.headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let authority = parts.uri.authority().cloned().or(named)?;
    let host = authority.host();
    // It goes into a page: nothing but what names and addresses are made of.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_plain)).then(|| match port {
        443 => format!("https://{host}/"),
        port => format!("https://{host}:{port}/"),
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn peer(tls: bool, address: &str) -> Peer {
        let address = SocketAddr::new(address.parse().unwrap(), 9);
        if tls { Peer::Tls(address) } else { Peer::Tcp(address) }
    }

    fn parts(method: &str, path: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = warp::http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn people_are_kept_from_the_clear() {
        let cookie: &[(&str, &str)] = &[("host", "fax.local:8080"), ("cookie", "a=b")];
        let none: &[(&str, &str)] = &[("host", "fax.local:8080")];
        type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
        let cases: &[Case<'_>] = &[
            ("POST", "/auth/login", none, Some("problem")),
            ("GET", "/auth", none, Some("problem")),
            ("GET", "/setup/x", none, Some("problem")),
            ("POST", "/fax", cookie, Some("problem")),
            ("GET", "/", none, Some("page")),
            ("GET", "/console/", cookie, Some("page")),
            ("GET", "/console/keys", none, Some("page")),
            ("POST", "/console/", none, Some("problem")),
            ("POST", "/fax", none, None),
            ("GET", "/authors", none, None),
            ("GET", "/health", none, None),
            ("GET", "/ca", cookie, None),
            ("GET", "/ca.pem", none, None),
            ("GET", "/docs", cookie, None),
            ("GET", "/docs/api-keys", cookie, None),
            ("GET", "/docsearch", cookie, Some("problem")),
            ("GET", "/sdk/faxbot-node.tgz", cookie, None),
            ("GET", "/console/style.css", none, None),
        ];
        for (method, path, headers, expected) in cases {
            let parts = parts(method, path, headers);
            let found = refusal(peer(false, "192.0.2.7"), &parts, Some(8443)).map(|response| {
                assert_eq!(response.status(), StatusCode::FORBIDDEN);
                if response.extensions().get::<ApiError>().is_some() { "problem" } else { "page" }
            });
            assert_eq!(found, *expected, "{method} {path}");
            for confidential in [peer(true, "192.0.2.7"), peer(false, "127.0.0.1"), Peer::Local { uid: 0 }] {
                assert!(refusal(confidential, &parts, Some(8443)).is_none(), "{method} {path}");
            }
        }
    }

    #[test]
    fn names_the_address_the_client_used() {
        let cases = [
            ("fax.local:8080", 8443, Some("https://fax.local:8443/")),
            ("192.0.2.7", 443, Some("https://192.0.2.7/")),
            ("[fd00::2]:8080", 8443, Some("https://[fd00::2]:8443/")),
            ("<script>", 8443, None),
            ("a'b", 8443, None),
            ("", 8443, None),
        ];
        for (host, port, expected) in cases {
            assert_eq!(
                secure_address(&parts("GET", "/", &[("host", host)]), port).as_deref(),
                expected,
                "{host}"
            );
        }
    }
}
