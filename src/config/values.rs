//! Texts of the configuration that become values.

use std::fmt;
use std::net::IpAddr;

use toml::de::DeValue;

use crate::fax::notify::Address;
use crate::fax::routing::RouteList;
use crate::limits;
use crate::net::names::is_host_name;
use crate::route::{loopback, simulator};

pub(super) fn store<T>(place: &mut T, value: T) -> Option<()> {
    *place = value;
    Some(())
}

/// A value that may be absent, as one would write it.
pub(super) fn shown(value: Option<&impl fmt::Display>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// Nothing, or what `read` makes of the text.
pub(super) fn optional<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { read(text).map(Some) }
}

/// What commas separate; nothing is an empty list.
pub(super) fn list<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(read).collect()
}

/// Who is told by e-mail; not too many.
pub(super) fn recipients(text: &str) -> Option<Vec<Address>> {
    list(text, |address| address.parse().ok()).filter(|to| to.len() <= limits::MAIL_RECIPIENTS)
}

/// A host name in lower case, or an address.
pub(super) fn host_name(text: &str) -> Option<String> {
    let is_known = text.parse::<IpAddr>().is_ok() || is_host_name(text);
    is_known.then(|| text.to_ascii_lowercase())
}

/// Routes in the order they are tried. All of them lead to the same place: a fax is never delivered
/// elsewhere because a line failed.
pub(super) fn routes(text: &str) -> Option<RouteList> {
    let order = RouteList::from(text);
    let is_simulated = order.names().all(simulator::is_one);
    (is_simulated || (order.is_single() && order.first() == loopback::NAME)).then_some(order)
}

/// Whether there is a route of this name.
pub(super) fn is_route(name: &str) -> bool {
    name == loopback::NAME || simulator::is_one(name)
}

/// A path that a proxy serves us under, without the slash at its end. It goes into pages as it is.
pub(super) fn path_prefix(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    let is_plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_path = text.is_empty() || text.strip_prefix('/').is_some_and(|path| path.split('/').all(is_plain));
    is_path.then(|| text.to_owned())
}

pub(super) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

pub(super) fn number(text: &str, least: u32, most: u32) -> Option<u32> {
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

/// A value of the file as one would write it in the environment.
pub(super) fn plain(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            "a value of another kind".to_owned()
        }
    }
}

/// One line that people read: at most 200 characters.
pub(super) fn line_of_text(text: &str) -> Option<String> {
    let fits = text.chars().count() <= 200 && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}
