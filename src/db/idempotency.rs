//! The `idempotency` table: answers kept for clients that ask twice.
//!
//! Owns: the stored answers and their age. An answer is written in the transaction of the job it
//! tells of, so that there is never one without the other.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, Transaction, params};

use super::{Db, DbError, to_ms};

/// How long an answer is kept; longer than any client retries.
pub const KEPT_FOR: Duration = Duration::from_hours(24);

/// Which request an answer belongs to, and what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestName {
    /// The API key it came by; empty for the bootstrap key.
    pub key_id: String,
    /// Path of the request.
    pub path: String,
    /// The client's `Idempotency-Key`.
    pub name: String,
    /// Hash of the parsed request: fields, and each file's SHA-256.
    pub request_hash: Vec<u8>,
}

/// An answer to be kept.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The request it answers.
    pub request: RequestName,
    /// HTTP status.
    pub status: u16,
    /// Body, exactly.
    pub body: String,
    /// When it was given.
    pub at: Timestamp,
}

/// What was answered to a request of this name before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Hash of the request that was answered.
    pub request_hash: Vec<u8>,
    /// HTTP status.
    pub status: u16,
    /// Body, exactly.
    pub body: String,
}

impl Db {
    /// The answer kept under this name, unless it is too old.
    pub fn kept_answer(&self, request: &RequestName, now: Timestamp) -> Result<Option<Kept>, DbError> {
        self.point(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT request_hash, status, body FROM idempotency \
                 WHERE key_id = ?1 AND path = ?2 AND name = ?3 AND created_at > ?4",
            )?;
            let parameters = params![request.key_id, request.path, request.name, oldest(now)];
            let kept = statement.query_row(parameters, |row| {
                Ok(Kept { request_hash: row.get(0)?, status: row.get(1)?, body: row.get(2)? })
            });
            Ok(kept.optional()?)
        })
    }

    /// Removes answers that are too old; answers how many.
    pub async fn sweep_answers(&self, now: Timestamp) -> Result<usize, DbError> {
        self.write(move |transaction| {
            Ok(transaction.execute("DELETE FROM idempotency WHERE created_at <= ?1", [oldest(now)])?)
        })
        .await
    }
}

/// Keeps an answer; [`DbError::Conflict`] when another one of that name is still valid.
pub(super) fn insert(transaction: &Transaction<'_>, answer: &Answer) -> Result<(), DbError> {
    let Answer { request, status, body, at } = answer;
    let stored = transaction
        .prepare_cached(
            "INSERT INTO idempotency(key_id, path, name, request_hash, status, body, created_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT DO UPDATE SET request_hash = excluded.request_hash, status = excluded.status, \
             body = excluded.body, created_at = excluded.created_at WHERE created_at <= ?8",
        )?
        .execute(params![
            request.key_id,
            request.path,
            request.name,
            request.request_hash,
            status,
            body,
            to_ms(*at),
            oldest(*at)
        ])?;
    if stored == 1 { Ok(()) } else { Err(DbError::Conflict) }
}

fn oldest(now: Timestamp) -> i64 {
    let kept_for = SignedDuration::try_from(KEPT_FOR).unwrap_or(SignedDuration::MAX);
    to_ms(now.checked_sub(kept_for).unwrap_or(Timestamp::MIN))
}
