//! The cookie, and what a browser has to show beside it.
//!
//! Owns: name and attributes of the cookie, and the rules against requests that another site's
//! page makes in a person's name (CSRF). Refuses: cookies where somebody could read along.

use warp::http::header::{COOKIE, ORIGIN};
use warp::http::{HeaderMap, HeaderValue, Method};

use super::error::{ApiError, CSRF};
use super::sender::Sender;
use crate::secret::Secret;

/// Over HTTPS: browsers keep a name with this prefix to this host, to HTTPS and to the whole site.
const NAME_HTTPS: &str = "__Host-pagewire";
/// On the machine itself, where there is no HTTPS.
const NAME_LOOPBACK: &str = "pagewire";
/// What the console sends with every write; another site's page cannot, without asking us first.
pub(super) const CONSOLE_HEADER: &str = "x-console";
/// Its value.
pub(super) const CONSOLE_VALUE: &str = "1";

/// Our cookie, when the request brought one; refused where somebody could read along.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, sender: &Sender) -> Result<Option<&'h str>, ApiError> {
    let found = find(headers, name(sender));
    let is_any = found.is_some() || find(headers, NAME_HTTPS).or(find(headers, NAME_LOOPBACK)).is_some();
    if is_any {
        sender.check_confidential()?;
    }
    Ok(found)
}

/// Refuses a write that the console's own page did not make.
pub(super) fn check_console(method: &Method, headers: &HeaderMap, sender: &Sender) -> Result<(), ApiError> {
    if *method == Method::GET || *method == Method::HEAD {
        return Ok(());
    }
    let is_console = headers.get(CONSOLE_HEADER).is_some_and(|value| value == CONSOLE_VALUE);
    let is_told = headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site");
    if is_console && is_told && is_from_here(headers, sender) { Ok(()) } else { Err(foreign()) }
}

/// Refuses a sign-in that another site's page makes; a program tells nothing of pages.
pub(super) fn check_not_foreign(headers: &HeaderMap, sender: &Sender) -> Result<(), ApiError> {
    if is_from_here(headers, sender) { Ok(()) } else { Err(foreign()) }
}

/// `Set-Cookie` that begins a session.
pub(super) fn begin(token: &Secret<String>, sender: &Sender) -> Result<HeaderValue, ApiError> {
    set_cookie(token.reveal(), sender, "")
}

/// `Set-Cookie` that ends it.
pub(super) fn end(sender: &Sender) -> Result<HeaderValue, ApiError> {
    set_cookie("", sender, "; Max-Age=0")
}

fn set_cookie(value: &str, sender: &Sender, more: &str) -> Result<HeaderValue, ApiError> {
    let secure = if sender.is_https { "; Secure" } else { "" };
    let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}", name(sender));
    let mut header = HeaderValue::from_str(&text).map_err(|error| ApiError::internal(&error))?;
    header.set_sensitive(true);
    Ok(header)
}

fn name(sender: &Sender) -> &'static str {
    if sender.is_https { NAME_HTTPS } else { NAME_LOOPBACK }
}

fn find<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value)
}

/// Whether nothing the browser tells speaks of another site.
fn is_from_here(headers: &HeaderMap, sender: &Sender) -> bool {
    let own = sender.origin();
    let is_own = |value: &HeaderValue| value.to_str().is_ok_and(|origin| own.as_deref() == Some(origin));
    headers.get_all(ORIGIN).iter().all(is_own)
        && headers.get_all("sec-fetch-site").iter().all(|site| site == "same-origin")
}

fn foreign() -> ApiError {
    ApiError::new(
        &CSRF,
        "In a session, changes are made by the console's own pages: X-Console: 1 and a matching Origin are needed.",
    )
}
