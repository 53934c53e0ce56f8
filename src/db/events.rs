//! The `events` table: what happened, in order.
//!
//! Owns: appending to it, and reading it after a place. Refuses: an event without the change it
//! tells of; [`append`] takes the transaction of that change.

use jiff::Timestamp;
use rusqlite::{Rows, Transaction, params};
use serde_json::Value;

use super::{Db, DbError, from_ms, to_ms};
use crate::fax::event::Event;

/// An event with its place in the order of the world.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedEvent {
    /// Its place; grows, with gaps.
    pub seq: i64,
    /// The event.
    pub event: Event,
}

impl Db {
    /// At most `limit` events after place `after`, in order; 0 is the beginning.
    pub async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<LoggedEvent>, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, at, type, subject, data FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            read_all(statement.query(params![after, limit])?)
        })
        .await
    }

    /// At most `limit` events about a subject before place `before`, newest first.
    pub async fn events_about(
        &self,
        subject: String,
        before: i64,
        limit: u32,
    ) -> Result<Vec<LoggedEvent>, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, at, type, subject, data FROM events WHERE subject = ?1 AND seq < ?2 \
                 ORDER BY seq DESC LIMIT ?3",
            )?;
            read_all(statement.query(params![subject, before, limit])?)
        })
        .await
    }
}

fn read_all(mut rows: Rows<'_>) -> Result<Vec<LoggedEvent>, DbError> {
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let data: String = row.get(4)?;
        let data: Value =
            serde_json::from_str(&data).map_err(|_| DbError::Damaged { what: "events.data" })?;
        let at: Timestamp = from_ms(row.get(1)?, "events.at")?;
        let event = Event { at, kind: row.get(2)?, subject: row.get(3)?, data };
        events.push(LoggedEvent { seq: row.get(0)?, event });
    }
    Ok(events)
}

pub(super) fn append(transaction: &Transaction<'_>, events: &[Event]) -> Result<(), DbError> {
    let mut statement =
        transaction.prepare_cached("INSERT INTO events(at, type, subject, data) VALUES (?1, ?2, ?3, ?4)")?;
    for event in events {
        statement.execute(params![to_ms(event.at), event.kind, event.subject, event.data.to_string()])?;
    }
    Ok(())
}
