//! Where a request's API key is looked for.
//!
//! Owns: the order `X-API-Key`, Bearer, and the query parameters `apikey` and `api_key`, which are
//! kept apart from the headers: whether those count is not decided here. Refuses: two different
//! values.

use warp::http::HeaderMap;
use warp::http::header::AUTHORIZATION;

use super::error::{ApiError, INVALID_KEY, INVALID_REQUEST};
use crate::secret::Secret;

/// Names of the query parameters a key is looked for in.
const PARAMETERS: [&str; 2] = ["apikey", "api_key"];

/// The one credential in the headers: `X-API-Key`, else a Bearer token.
pub(super) fn in_headers(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let malformed = || ApiError::new(&INVALID_KEY, "Invalid API key provided");
    let mut found: Option<&str> = None;
    let from_header = headers
        .get_all("x-api-key")
        .iter()
        .map(|value| str::from_utf8(value.as_bytes()).map_err(|_| malformed()));
    let from_bearer = headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let value = value.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| Ok(token.trim()))
    });
    for value in from_header.chain(from_bearer) {
        let value = value?;
        match found {
            Some(first) if first != value => return Err(two_different()),
            _ => found = Some(value),
        }
    }
    Ok(found.filter(|value| !value.is_empty()))
}

/// The keys in a query string, and the query string without them. `None` when there are none, as
/// in nearly every request.
pub(super) fn in_query(query: &str) -> Option<(Vec<Secret<String>>, String)> {
    // A name can hide behind percent signs only; anything else is spelled out.
    if !(query.contains("api") || query.contains('%')) {
        return None;
    }
    let mut found = Vec::new();
    let is_kept = |part: &&str| {
        let Ok(pairs) = serde_urlencoded::from_str::<Vec<(String, String)>>(part) else { return true };
        let keys = pairs.into_iter().filter(|(name, _)| PARAMETERS.contains(&name.as_str()));
        let keys: Vec<_> = keys.map(|(_, value)| Secret::new(value)).collect();
        let is_kept = keys.is_empty();
        found.extend(keys);
        is_kept
    };
    let kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    (!found.is_empty()).then(|| (found, kept.join("&")))
}

/// 400 for a request with two different keys.
pub(super) fn two_different() -> ApiError {
    ApiError::new(&INVALID_REQUEST, "Two different API keys came with one request; send one.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_one_credential() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Result<Option<&'a str>, ()>);
        let cases: &[Case<'_>] = &[
            (&[], Ok(None)),
            (&[("x-api-key", "a")], Ok(Some("a"))),
            (&[("X-API-KEY", "a")], Ok(Some("a"))),
            (&[("x-api-key", "")], Ok(None)),
            (&[("authorization", "Bearer a")], Ok(Some("a"))),
            (&[("authorization", "bearer  a")], Ok(Some("a"))),
            (&[("authorization", "Basic a")], Ok(None)),
            (&[("x-api-key", "a"), ("authorization", "Bearer a")], Ok(Some("a"))),
            (&[("x-api-key", "a"), ("authorization", "Bearer b")], Err(())),
            (&[("x-api-key", "a"), ("x-api-key", "b")], Err(())),
        ];
        for (given, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in *given {
                let name: warp::http::header::HeaderName = name.parse().unwrap();
                headers.append(name, value.parse().unwrap());
            }
            assert_eq!(in_headers(&headers).map_err(|_| ()), *expected, "{given:?}");
        }
    }

    #[test]
    fn takes_keys_out_of_the_query() {
        type Case<'a> = (&'a str, Option<(&'a [&'a str], &'a str)>);
        let cases: &[Case<'_>] = &[
            ("", None),
            ("limit=3&q=%2B1555", None),
            ("q=apikey", None),
            ("api=1&xapikey=2", None),
            ("apikey=a", Some((&["a"], ""))),
            ("limit=3&api_key=a&q=%2B1555", Some((&["a"], "limit=3&q=%2B1555"))),
            ("apikey=a&api_key=b", Some((&["a", "b"], ""))),
            ("%61pikey=a%2D&x=1", Some((&["a-"], "x=1"))),
        ];
        for (query, expected) in cases {
            let found = in_query(query).map(|(keys, rest)| {
                let keys: Vec<String> = keys.iter().map(|key| key.reveal().clone()).collect();
                (keys, rest)
            });
            let expected = expected.map(|(keys, rest)| {
                (keys.iter().map(ToString::to_string).collect::<Vec<_>>(), rest.to_owned())
            });
            assert_eq!(found, expected, "{query}");
        }
    }
}
