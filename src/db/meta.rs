//! The `meta` table: a handful of named values of the appliance itself.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::audit::Audited;
use super::{Db, DbError, events};
use crate::access::records::expiry_warning;
use crate::fax::event::Event;

/// Name under which the data key wrapped by the key-encryption key is kept.
const WRAPPED_DATA_KEY: &str = "wrapped_data_key";
/// The same, wrapped by the key that is to follow; gone once that one has taken over.
const NEXT_WRAPPED_DATA_KEY: &str = "wrapped_data_key_next";
/// The data key wrapped by the recovery key.
const RECOVERY_WRAPPED_DATA_KEY: &str = "wrapped_data_key_recovery";
/// Fingerprint of the HTTPS certificate whose end was warned of last, and the days of that warning.
const CERTIFICATE_WARNED: &str = "certificate_warned";
/// The place in the event log up to which people were told by e-mail of what calls for them.
const ALERTS_TOLD: &str = "alerts_told";

/// The data key as it is stored: wrapped, up to three times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrappedKeys {
    /// By the key-encryption key in force; `None` before the first start.
    pub current: Option<Vec<u8>>,
    /// By the one that is to follow.
    pub next: Option<Vec<u8>>,
    /// By the recovery key, once there is one.
    pub recovery: Option<Vec<u8>>,
}

impl Db {
    /// The data key as [`crate::seal::Seal::create`] wrapped it; `None` before the first start.
    pub fn wrapped_data_key(&self) -> Result<Option<Vec<u8>>, DbError> {
        self.point(|connection| value(connection, WRAPPED_DATA_KEY))
    }

    /// All wrappings of the data key.
    pub fn wrapped_data_keys(&self) -> Result<WrappedKeys, DbError> {
        self.point(|connection| {
            Ok(WrappedKeys {
                current: value(connection, WRAPPED_DATA_KEY)?,
                next: value(connection, NEXT_WRAPPED_DATA_KEY)?,
                recovery: value(connection, RECOVERY_WRAPPED_DATA_KEY)?,
            })
        })
    }

    /// Stores the wrapped data key; refuses to replace one.
    pub async fn store_wrapped_data_key(&self, wrapped: Vec<u8>) -> Result<(), DbError> {
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO meta(name, value) VALUES (?1, ?2)",
                params![WRAPPED_DATA_KEY, wrapped],
            )?;
            Ok(())
        })
        .await
    }

    /// Stores the data key as the next key-encryption key wraps it, beside the one in force.
    pub async fn store_next_wrapped_data_key(&self, wrapped: Vec<u8>) -> Result<(), DbError> {
        self.write(move |transaction| put(transaction, NEXT_WRAPPED_DATA_KEY, &wrapped)).await
    }

    /// Stores the warning that is due at `now` before a certificate ends, each once and with its event;
    /// answers the days it tells of.
    pub async fn warn_of_certificate(
        &self,
        fingerprint: String,
        ends_at: Timestamp,
        now: Timestamp,
    ) -> Result<Option<u8>, DbError> {
        let left = ends_at.duration_since(now);
        let Some(days) = expiry_warning(left).filter(|_| left.is_positive()) else { return Ok(None) };
        let is_told = |last: Option<Vec<u8>>| {
            let last = last.and_then(|last| String::from_utf8(last).ok());
            let last = last.as_deref().and_then(|last| last.split_once(' '));
            let told = last.filter(|(certificate, _)| *certificate == fingerprint);
            told.and_then(|(_, days)| days.parse::<u8>().ok()).is_some_and(|told| told <= days)
        };
        if self.point(|connection| value(connection, CERTIFICATE_WARNED)).map(is_told)? {
            return Ok(None);
        }
        self.write(move |transaction| {
            put(transaction, CERTIFICATE_WARNED, format!("{fingerprint} {days}").as_bytes())?;
            events::append(transaction, &[Event::certificate_expiring(ends_at, days, now)])?;
            Ok(Some(days))
        })
        .await
    }

    /// Whether the database answers and takes changes at this moment.
    pub async fn check(&self) -> Result<(), DbError> {
        self.point(|connection| Ok(connection.query_row("SELECT 1", [], |_| Ok(()))?))?;
        self.write(|_| Ok(())).await
    }
}

impl Audited<'_> {
    /// [`Db::store_next_wrapped_data_key`], of a key that somebody else puts in its place.
    pub async fn store_next_wrapped_data_key(self, wrapped: Vec<u8>) -> Result<(), DbError> {
        self.write(move |transaction| put(transaction, NEXT_WRAPPED_DATA_KEY, &wrapped)).await
    }

    /// Puts the next wrapping in force, if it is `wrapped`; the one before it is gone.
    /// [`DbError::Conflict`] when another one, or none, waits.
    pub async fn promote_wrapped_data_key(self, wrapped: Vec<u8>) -> Result<(), DbError> {
        self.write(move |transaction| {
            let removed = transaction.execute(
                "DELETE FROM meta WHERE name = ?1 AND value = ?2",
                params![NEXT_WRAPPED_DATA_KEY, wrapped],
            )?;
            if removed != 1 {
                return Err(DbError::Conflict);
            }
            put(transaction, WRAPPED_DATA_KEY, &wrapped)
        })
        .await
    }

    /// Stores the data key as the recovery key wraps it. [`DbError::Conflict`] when there is one
    /// and it shall not be replaced.
    pub async fn store_recovery_wrapped_data_key(
        self,
        wrapped: Vec<u8>,
        may_replace: bool,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            if !may_replace && value(transaction, RECOVERY_WRAPPED_DATA_KEY)?.is_some() {
                return Err(DbError::Conflict);
            }
            put(transaction, RECOVERY_WRAPPED_DATA_KEY, &wrapped)
        })
        .await
    }
}

/// The place in the event log up to which people were told of what calls for them.
pub(super) fn alerts_told(connection: &Connection) -> Result<i64, DbError> {
    let told = value(connection, ALERTS_TOLD)?.and_then(|told| String::from_utf8(told).ok());
    told.and_then(|told| told.parse().ok()).ok_or(DbError::Damaged { what: "meta.alerts_told" })
}

/// Notes that place.
pub(super) fn put_alerts_told(transaction: &Transaction<'_>, place: i64) -> Result<(), DbError> {
    put(transaction, ALERTS_TOLD, place.to_string().as_bytes())
}

fn value(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, DbError> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

fn put(transaction: &Transaction<'_>, name: &str, value: &[u8]) -> Result<(), DbError> {
    transaction.execute(
        "INSERT INTO meta(name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
        params![name, value],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::access::audit::{Action, Context, Target};
    use crate::secret::Secret;

    #[tokio::test]
    async fn a_wrapping_is_replaced_only_by_the_one_that_waits() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&super::super::file_in(folder.path())).unwrap();
        db.start_audit(&Secret::new([9; 32]));
        let told = || {
            let changed = Context::system().event(
                Action::SealRewrapped,
                Target::new("seal", "x"),
                Timestamp::UNIX_EPOCH,
            );
            db.audited(changed)
        };
        assert_eq!(db.wrapped_data_keys().unwrap(), WrappedKeys::default());
        db.store_wrapped_data_key(b"first".to_vec()).await.unwrap();
        assert!(db.store_wrapped_data_key(b"second".to_vec()).await.is_err());
        db.store_next_wrapped_data_key(b"second".to_vec()).await.unwrap();
        let other = told().promote_wrapped_data_key(b"third".to_vec()).await;
        assert!(matches!(other, Err(DbError::Conflict)));
        assert_eq!(db.wrapped_data_key().unwrap().unwrap(), b"first");
        told().promote_wrapped_data_key(b"second".to_vec()).await.unwrap();
        let keys = db.wrapped_data_keys().unwrap();
        assert_eq!((keys.current.unwrap(), keys.next), (b"second".to_vec(), None));

        told().store_recovery_wrapped_data_key(b"paper".to_vec(), false).await.unwrap();
        let again = told().store_recovery_wrapped_data_key(b"other".to_vec(), false).await;
        assert!(matches!(again, Err(DbError::Conflict)));
        told().store_recovery_wrapped_data_key(b"other".to_vec(), true).await.unwrap();
        assert_eq!(db.wrapped_data_keys().unwrap().recovery.unwrap(), b"other");
        assert_eq!(db.audit_head().await.unwrap().seq, 3, "no row of what was refused");
    }
}
