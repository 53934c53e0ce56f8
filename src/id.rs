//! Identifiers: one type per thing, so that a job's id cannot be passed for a document's.
//!
//! All are UUID version 7 in 32 lower-case hex digits: opaque to clients, unguessable (74 random
//! bits), and in order of creation, which keeps database indexes and spool folders local in time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

/// The text is not 32 lower-case hex digits.
#[derive(Debug, thiserror::Error)]
#[error("not an id: 32 hex digits expected")]
pub struct InvalidId;

macro_rules! id_type {
    ($(#[$doc:meta] $name:ident)+) => { $(
        #[$doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new, unique id made at this moment.
            #[expect(clippy::new_without_default, reason = "an id is not a default value")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The moment the id was made, to the millisecond.
            pub fn made_at(self) -> Timestamp {
                let (seconds, nanoseconds) = self.0.get_timestamp().map_or((0, 0), |t| t.to_unix());
                Timestamp::new(seconds as i64, nanoseconds as i32).unwrap_or(Timestamp::UNIX_EPOCH)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.simple().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let plain = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                if !plain {
                    return Err(InvalidId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }
    )+ };
}

id_type! {
    /// Identifies an entry of the address book.
    ContactId
    /// One fax to send.
    JobId
    /// One document sent to many numbers.
    GroupId
    /// One dial of a job.
    AttemptId
    /// One received fax.
    InboundId
    /// One sealed file in the spool.
    DocumentId
    /// A user or service account.
    AccountId
    /// One place a person is signed in.
    SessionId
    /// Somebody who is told of events.
    WebhookId
    /// One notice to one recipient of e-mail.
    MailId
    /// Pages that somebody looks at before sending them.
    PreviewId
    /// One HTTP request, as in `X-Request-Id`.
    RequestId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusals() {
        let id = JobId::new();
        assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        for bad in [
            "",
            "xyz",
            "0190",
            &id.to_string().to_uppercase(),
            &format!("{id} "),
            "0190b3c0-0000-7000-8000-000000000000",
        ] {
            assert!(bad.parse::<JobId>().is_err() || bad == id.to_string(), "{bad:?}");
        }
    }

    #[test]
    fn knows_when_it_was_made() {
        let before = Timestamp::now();
        let made = JobId::new().made_at();
        assert!((made - before).get_seconds().abs() < 5);
    }
}
