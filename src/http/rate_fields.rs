//! `RateLimit-Policy` and `RateLimit`, as draft-ietf-httpapi-ratelimit-headers has them: lists of
//! structured fields (RFC 9651) that tell each policy's quota `q` in a window of `w` seconds, and
//! what remains `r` with the seconds `t` until it is reset.
//!
//! Written by hand, digit by digit, because every answer carries them.

use warp::http::HeaderValue;
use warp::http::header::{HeaderMap, HeaderName};

use crate::auth::limits::Left;

static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// More than three policies with the longest numbers need.
const CAPACITY: usize = 112;

/// Tells what is left of a key's quotas.
pub(super) fn add(headers: &mut HeaderMap, left: &Left) {
    let (policy, remaining) = texts(left);
    for (name, text) in [(&RATELIMIT_POLICY, policy), (&RATELIMIT, remaining)] {
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)) {
            headers.insert(name.clone(), value);
        }
    }
}

fn texts(left: &Left) -> (String, String) {
    let (mut policy, mut remaining) = (String::with_capacity(CAPACITY), String::with_capacity(CAPACITY));
    part(&mut policy, "\"minute\";q=", left.quota.per_minute, ";w=", 60);
    part(&mut policy, ", \"hour\";q=", left.quota.per_hour, ";w=", 3600);
    part(&mut remaining, "\"minute\";r=", left.in_minute, ";t=", left.minute_ends_s);
    part(&mut remaining, ", \"hour\";r=", left.in_hour, ";t=", left.hour_ends_s);
    if let Some(ceiling) = left.ceiling {
        part(&mut policy, ", \"global\";q=", ceiling.per_minute, ";w=", 60);
        part(&mut remaining, ", \"global\";r=", ceiling.left, ";t=", left.minute_ends_s);
    }
    (policy, remaining)
}

fn part(text: &mut String, name: &str, count: u32, parameter: &str, seconds: u32) {
    text.push_str(name);
    push(text, count);
    text.push_str(parameter);
    push(text, seconds);
}

fn push(text: &mut String, number: u32) {
    if number >= 10 {
        push(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::limits::{OfCeiling, Quota};

    #[test]
    fn the_fields_are_those_of_the_draft() {
        let left = Left {
            quota: Quota { per_minute: 600, per_hour: 10_000 },
            in_minute: 598,
            minute_ends_s: 41,
            in_hour: 9120,
            hour_ends_s: 2113,
            ceiling: None,
        };
        let mut headers = HeaderMap::new();
        add(&mut headers, &left);
        assert_eq!(headers["RateLimit-Policy"], r#""minute";q=600;w=60, "hour";q=10000;w=3600"#);
        assert_eq!(headers["RateLimit"], r#""minute";r=598;t=41, "hour";r=9120;t=2113"#);

        let ceiling = Some(OfCeiling { per_minute: u32::MAX, left: 0 });
        let quota = Quota { per_minute: u32::MAX, per_hour: u32::MAX };
        let longest = Left { quota, in_minute: u32::MAX, in_hour: u32::MAX, ceiling, ..left };
        let (policy, remaining) = texts(&longest);
        assert!(policy.ends_with(r#", "global";q=4294967295;w=60"#), "{policy}");
        assert!(remaining.ends_with(r#", "global";r=0;t=41"#), "{remaining}");
        assert!(policy.len() <= CAPACITY && remaining.len() <= CAPACITY);
    }
}
