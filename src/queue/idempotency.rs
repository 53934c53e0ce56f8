//! The same request twice, one fax.
//!
//! Owns: which named requests are being worked on at this moment. The answers given are in the
//! database, written with the job they tell of. Between the two there is no gap: a request holds
//! its name here from before it looks there until after its answer is stored.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::db::idempotency::{Answer, Kept, RequestName};
use crate::db::{Db, DbError};

/// A request that its client gave a name (`Idempotency-Key`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The API key it came by: names of different keys are different names.
    pub key_id: String,
    /// Path of the request.
    pub path: String,
    /// The name.
    pub name: String,
    /// Hash of the parsed request: fields, and each file's SHA-256.
    pub request_hash: [u8; 32],
}

type Name = (String, String, String);

/// Names that are being worked on.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight {
    names: Arc<Mutex<HashSet<Name>>>,
}

/// What a name means at this moment.
pub(super) enum Begun {
    /// Nobody asked so before: go on, and hold this until the answer is stored.
    Fresh(Reservation),
    /// The same request was answered before.
    Repeated { status: u16, body: String },
    /// The name belongs to another request.
    Mismatch,
    /// The same name is being worked on.
    InFlight,
}

/// Holds a name until it is dropped.
pub(super) struct Reservation {
    in_flight: InFlight,
    name: Name,
    request: RequestName,
}

impl InFlight {
    pub(super) fn begin(&self, db: &Db, request: Idempotency, now: Timestamp) -> Result<Begun, DbError> {
        let name = (request.key_id.clone(), request.path.clone(), request.name.clone());
        if !self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone()) {
            return Ok(Begun::InFlight);
        }
        let request = RequestName {
            key_id: request.key_id,
            path: request.path,
            name: request.name,
            request_hash: request.request_hash.to_vec(),
        };
        let reservation = Reservation { in_flight: self.clone(), name, request };
        Ok(match db.kept_answer(&reservation.request, now)? {
            None => Begun::Fresh(reservation),
            Some(Kept { request_hash, .. }) if request_hash != reservation.request.request_hash => {
                Begun::Mismatch
            }
            Some(Kept { status, body, .. }) => Begun::Repeated { status, body },
        })
    }
}

impl Reservation {
    /// The answer under this name, to be stored.
    pub(super) fn answer(&self, status: u16, body: &str, at: Timestamp) -> Answer {
        Answer { request: self.request.clone(), status, body: body.to_owned(), at }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.in_flight.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_held_until_its_request_is_through() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("t.db")).unwrap();
        let in_flight = InFlight::default();
        let named = |key_id: &str, name: &str| Idempotency {
            key_id: key_id.into(),
            path: "/fax".into(),
            name: name.into(),
            request_hash: [1; 32],
        };
        let begin = |request| in_flight.begin(&db, request, Timestamp::UNIX_EPOCH).unwrap();
        let Begun::Fresh(held) = begin(named("a", "1")) else { panic!("nobody asked before") };
        assert!(matches!(begin(named("a", "1")), Begun::InFlight));
        assert!(matches!(begin(named("a", "2")), Begun::Fresh(_)), "another name");
        assert!(matches!(begin(named("b", "1")), Begun::Fresh(_)), "another key");
        drop(held);
        assert!(
            matches!(begin(named("a", "1")), Begun::Fresh(_)),
            "nothing was answered, so it may try again"
        );
    }
}
