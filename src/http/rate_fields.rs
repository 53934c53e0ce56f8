//! `RateLimit-Policy` and `RateLimit`, as draft-ietf-httpapi-ratelimit-headers has them: lists of
//! structured fields (RFC 9651) that tell each policy's quota `q` in a window of `w` seconds, and
//! what remains `r` with the seconds `t` until it is reset.
//!
//! Written by hand, digit by digit and on the stack, because every answer carries them.

use warp::http::HeaderValue;
use warp::http::header::{HeaderMap, HeaderName};

use crate::auth::limits::Left;

static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// What three policies with the longest numbers need, and more.
const CAPACITY: usize = 112;

/// One field's value while it is written.
struct Text {
    bytes: [u8; CAPACITY],
    length: usize,
}

/// Tells what is left of a key's quotas.
pub(super) fn add(headers: &mut HeaderMap, left: &Left) {
    let (policy, remaining) = texts(left);
    for (name, text) in [(&RATELIMIT_POLICY, policy), (&RATELIMIT, remaining)] {
        if let Ok(value) = HeaderValue::from_bytes(text.written()) {
            headers.insert(name.clone(), value);
        }
    }
}

fn texts(left: &Left) -> (Text, Text) {
    let (mut policy, mut remaining) = (Text::new(), Text::new());
    policy.part("\"minute\";q=", left.quota.per_minute, ";w=", 60);
    policy.part(", \"hour\";q=", left.quota.per_hour, ";w=", 3600);
    remaining.part("\"minute\";r=", left.in_minute, ";t=", left.minute_ends_s);
    remaining.part(", \"hour\";r=", left.in_hour, ";t=", left.hour_ends_s);
    if let Some(ceiling) = left.ceiling {
        policy.part(", \"global\";q=", ceiling.per_minute, ";w=", 60);
        remaining.part(", \"global\";r=", ceiling.left, ";t=", left.minute_ends_s);
    }
    (policy, remaining)
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
        self.push_number(count);
        self.push(parameter.as_bytes());
        self.push_number(seconds);
    }

    fn push_number(&mut self, mut number: u32) {
        let mut digits = [0; u32::MAX.ilog10() as usize + 1];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push(&digits[first..]);
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

        let ceiling = Some(OfCeiling { per_minute: u32::MAX, left: 0 });
        let quota = Quota { per_minute: u32::MAX, per_hour: u32::MAX };
        let longest = Left { quota, in_minute: u32::MAX, in_hour: u32::MAX, ceiling, ..left };
        let (policy, remaining) = texts(&longest);
        let text = |text: &Text| String::from_utf8(text.written().to_vec()).unwrap();
        assert!(text(&policy).ends_with(r#", "global";q=4294967295;w=60"#), "{}", text(&policy));
        assert!(text(&remaining).ends_with(r#", "global";r=0;t=41"#), "{}", text(&remaining));
    }
}
