//! `RateLimit-Policy` and `RateLimit`, as draft-ietf-httpapi-ratelimit-headers has them: lists of
//! structured fields (RFC 9651) that tell each policy's quota `q` in a window of `w` seconds, and
//! what remains `r` with the seconds `t` until it is reset.
//!
//! Written by hand and on the stack, because every answer carries them.

use std::cell::RefCell;

use warp::http::HeaderValue;
use warp::http::header::{HeaderMap, HeaderName};

use crate::auth::limits::{Left, Quota};

static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// What three policies with the longest numbers need, and more.
const CAPACITY: usize = 112;

/// One field's value while it is written.
struct Text {
    bytes: [u8; CAPACITY],
    length: usize,
}

/// What a key may do in a window: the same from request to request.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Policy {
    quota: Quota,
    ceiling: Option<u32>,
}

thread_local! {
    /// The policy this thread told last, with its value: few keys send most of the requests.
    static TOLD: RefCell<Option<(Policy, HeaderValue)>> = const { RefCell::new(None) };
}

/// Tells what is left of a key's quotas.
pub(super) fn add(headers: &mut HeaderMap, left: &Left) {
    if let Some(policy) = Policy::of(left).value() {
        headers.insert(RATELIMIT_POLICY.clone(), policy);
    }
    if let Ok(remaining) = HeaderValue::from_bytes(remaining(left).written()) {
        headers.insert(RATELIMIT.clone(), remaining);
    }
}

fn remaining(left: &Left) -> Text {
    let mut text = Text::new();
    text.part("\"minute\";r=", left.in_minute, ";t=", left.minute_ends_s);
    text.part(", \"hour\";r=", left.in_hour, ";t=", left.hour_ends_s);
    if let Some(ceiling) = left.ceiling {
        text.part(", \"global\";r=", ceiling.left, ";t=", left.minute_ends_s);
    }
    text
}

impl Policy {
    fn of(left: &Left) -> Self {
        Self { quota: left.quota, ceiling: left.ceiling.map(|ceiling| ceiling.per_minute) }
    }

    fn value(self) -> Option<HeaderValue> {
        TOLD.with_borrow_mut(|told| match told {
            Some((policy, value)) if *policy == self => Some(value.clone()),
            _ => {
                let value = HeaderValue::from_bytes(self.text().written()).ok()?;
                *told = Some((self, value.clone()));
                Some(value)
            }
        })
    }

    fn text(self) -> Text {
        let mut text = Text::new();
        text.part("\"minute\";q=", self.quota.per_minute, ";w=", 60);
        text.part(", \"hour\";q=", self.quota.per_hour, ";w=", 3600);
        if let Some(per_minute) = self.ceiling {
            text.part(", \"global\";q=", per_minute, ";w=", 60);
        }
        text
    }
}

impl Text {
    const fn new() -> Self {
        Self { bytes: [0; CAPACITY], length: 0 }
    }

    fn written(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn part(&mut self, name: &str, count: u32, parameter: &str, seconds: u32) {
        self.push(name.as_bytes());
        self.push(itoa::Buffer::new().format(count).as_bytes());
        self.push(parameter.as_bytes());
        self.push(itoa::Buffer::new().format(seconds).as_bytes());
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.bytes[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }
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

        let narrower = Left { quota: Quota { per_minute: 1, per_hour: 10 }, ..left };
        add(&mut headers, &narrower);
        assert_eq!(headers["RateLimit-Policy"], r#""minute";q=1;w=60, "hour";q=10;w=3600"#, "another key's");

        let ceiling = Some(OfCeiling { per_minute: u32::MAX, left: 0 });
        let quota = Quota { per_minute: u32::MAX, per_hour: u32::MAX };
        let longest = Left { quota, in_minute: u32::MAX, in_hour: u32::MAX, ceiling, ..left };
        let (policy, remaining) = (Policy::of(&longest).text(), remaining(&longest));
        let text = |text: &Text| String::from_utf8(text.written().to_vec()).unwrap();
        assert!(text(&policy).ends_with(r#", "global";q=4294967295;w=60"#), "{}", text(&policy));
        assert!(text(&remaining).ends_with(r#", "global";r=0;t=41"#), "{}", text(&remaining));
    }
}
