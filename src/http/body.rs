//! Request bodies, read with limits.
//!
//! Owns: reading a body chunk by chunk with a time limit for each, counting while it streams, and
//! what happens to a body that nobody wanted: it is discarded for a while, so that a client still
//! writing gets to read our answer and not a connection reset.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use super::error::{ApiError, INVALID_REQUEST, TIMEOUT, TOO_LARGE};

/// Longest pause between two chunks of a body.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest JSON body; the largest of ours is a key with a few hundred number prefixes.
const JSON_LIMIT_BYTES: usize = 64 * 1024;
/// Longest name of an unknown field that is repeated; ours have up to 25 characters.
const LONGEST_NAME: usize = 32;
/// An unwanted body is discarded up to this much …
const DISCARD_BYTES: usize = 16 * 1024 * 1024;
/// … and for this long, before the connection is closed.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// The body of one request. Dropped unread, it is discarded in the background.
pub(super) struct Body {
    incoming: Option<Incoming>,
    finished: Arc<AtomicBool>,
}

impl Body {
    pub(super) fn new(incoming: Incoming) -> Self {
        let finished = Arc::new(AtomicBool::new(incoming.is_end_stream()));
        Self { incoming: Some(incoming), finished }
    }

    /// A flag that tells whether the body was read to its end.
    pub(super) fn finished_flag(&self) -> Arc<AtomicBool> {
        self.finished.clone()
    }

    /// The next chunk, `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        let Some(incoming) = &mut self.incoming else { return Ok(None) };
        loop {
            let frame = tokio::time::timeout(CHUNK_TIMEOUT, incoming.frame())
                .await
                .map_err(|_| ApiError::new(&TIMEOUT, "The request body stopped arriving."))?;
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(_)) => {
                    return Err(ApiError::new(&INVALID_REQUEST, "The request body ended too early."));
                }
                None => {
                    self.finished.store(true, Ordering::Release);
                    return Ok(None);
                }
            }
        }
    }

    /// The whole body as JSON; an empty body is `{}`.
    pub(super) async fn json<T: DeserializeOwned>(mut self) -> Result<T, ApiError> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > JSON_LIMIT_BYTES {
                return Err(ApiError::new(&TOO_LARGE, "The JSON body is larger than 64 kB."));
            }
            whole.extend_from_slice(&chunk);
        }
        parse(if whole.is_empty() { b"{}" } else { &whole })
    }

    /// The chunks as a stream, for the multipart parser.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
        stream::unfold(Some(self), |body| async move {
            let mut body = body?;
            match body.chunk().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(body))),
                Ok(None) => None,
                Err(error) => Some((Err(BodyError(error)), None)),
            }
        })
    }
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, ApiError> {
    // For serde an array is a struct too, field by field.
    if text.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::field("body", "invalid", "invalid type: sequence, expected an object"));
    }
    serde_json::from_slice(text).map_err(|error| {
        if error.is_data() {
            let message = without_values(&error.to_string());
            let field = message.split('`').nth(1).unwrap_or("body").to_owned();
            ApiError::field(&field, "invalid", message)
        } else {
            ApiError::new(&INVALID_REQUEST, format!("The body is not valid JSON: {error}"))
        }
    })
}

/// An object inside a body, for `T` that serde would take an array for as well.
pub(super) struct Object<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        let object = serde_json::Map::deserialize(value)?;
        T::deserialize(serde_json::Value::Object(object)).map(Self).map_err(D::Error::custom)
    }
}

/// For a field that is an object, null or left out.
pub(super) fn object<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(value)?.map(|Object(value)| value))
}

/// A body failure on its way through the multipart parser.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.detail())]
pub(super) struct BodyError(pub(super) ApiError);

/// A refusal of serde without what was sent: the value in the wrong place may be a password. Names of
/// unknown fields stay, when they look like names, because they are how a slip is found.
fn without_values(message: &str) -> String {
    const UNKNOWN: &str = "unknown field `";
    let mut message = message.to_owned();
    if let (Some(start), Some(end)) = (message.find("string \""), message.rfind("\", expected")) {
        message.replace_range(start..=end, "a text");
    }
    if let Some(rest) = message.strip_prefix(UNKNOWN)
        && let Some(end) = rest.rfind("`, expected").or_else(|| rest.rfind("`, there are no fields"))
        && !is_name(&rest[..end])
    {
        message.replace_range(UNKNOWN.len()..UNKNOWN.len() + end, "…");
    }
    message
}

/// Whether it could be a field of ours, misspelt.
fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take()
            && !self.finished.load(Ordering::Acquire)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(discard(incoming));
        }
    }
}

async fn discard(mut incoming: Incoming) {
    let _ = tokio::time::timeout(DISCARD_TIME, async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = incoming.frame().await {
            discarded += frame.data_ref().map_or(0, Bytes::len);
            if discarded > DISCARD_BYTES {
                break;
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[serde(default)]
        _replace: bool,
        #[serde(default, deserialize_with = "object")]
        _part: Option<Part>,
    }

    #[derive(Debug, Deserialize)]
    struct Part {
        _n: u8,
    }

    #[test]
    fn an_array_is_no_object() {
        for good in ["{}", r#" {"_part": null}"#, r#"{"_part": {"_n": 1}}"#] {
            assert!(parse::<Asked>(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["[]", " [true, null]", "null", r#"{"_part": [1]}"#, r#"{"_part": {"_n": []}}"#] {
            assert!(parse::<Asked>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_repeats_no_value() {
        let cases = [
            (r#"{"_replace": "plum \" ladder"}"#, "invalid type: a text, expected a boolean"),
            (r#"{"_replace": 7}"#, "invalid type: integer `7`, expected a boolean"),
            (r#"{"plum ladder": 1}"#, "unknown field `…`, expected `_replace` or `_part`"),
            (r#"{"`, expected": 1}"#, "unknown field `…`, expected `_replace` or `_part`"),
            (r#"{"_replac": 1}"#, "unknown field `_replac`, expected `_replace`"),
            (r#""plum ladder""#, "invalid type: a text, expected struct Asked"),
        ];
        for (body, expected) in cases {
            let error = serde_json::from_str::<Asked>(body).unwrap_err();
            let said = without_values(&error.to_string());
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
