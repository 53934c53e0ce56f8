//! The `inbound` table: faxes received.
//!
//! Owns: one row per received fax, newest first. Refuses: a second row for the same attempt of a
//! loopback delivery.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{Db, DbError, events, from_ms, optional, parse, to_ms};
use crate::fax::event::Event;
use crate::fax::received::ReceivedFax;
use crate::id::{AttemptId, InboundId};

const COLUMNS: &str = "seq, id, from_number, to_number, remote_station_id, route, attempt_id, pages, \
     size_bytes, document_id, complete, received_at, updated_at";

impl Db {
    /// Stores a received fax with its event. When its attempt was stored before, nothing changes
    /// and the earlier row comes back; compare `document` to learn which it is.
    pub async fn insert_inbound(&self, fax: ReceivedFax, event: Event) -> Result<ReceivedFax, DbError> {
        self.write(move |transaction| {
            if let Some(attempt) = fax.attempt
                && let Some(earlier) = by(transaction, "attempt_id", &attempt.to_string())?
            {
                return Ok(earlier);
            }
            insert(transaction, &fax)?;
            let seq = transaction.last_insert_rowid();
            events::append(transaction, &[event])?;
            Ok(ReceivedFax { seq, ..fax })
        })
        .await
    }

    /// The received fax with this id.
    pub fn inbound(&self, id: InboundId) -> Result<Option<ReceivedFax>, DbError> {
        self.point(|connection| by(connection, "id", &id.to_string()))
    }

    /// What this attempt delivered over loopback.
    pub fn inbound_of_attempt(&self, attempt: AttemptId) -> Result<Option<ReceivedFax>, DbError> {
        self.point(|connection| by(connection, "attempt_id", &attempt.to_string()))
    }

    /// At most `limit` received faxes, newest first, after the first `offset`.
    pub async fn list_inbound(&self, limit: u32, offset: u32) -> Result<Vec<ReceivedFax>, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM inbound ORDER BY seq DESC LIMIT ?1 OFFSET ?2"
            ))?;
            let mut rows = statement.query(params![limit, offset])?;
            let mut faxes = Vec::new();
            while let Some(row) = rows.next()? {
                faxes.push(read(row)?);
            }
            Ok(faxes)
        })
        .await
    }
}

/// Stores a received fax. [`DbError::Conflict`] when its id or its delivery is there already.
pub(super) fn insert(transaction: &Transaction<'_>, fax: &ReceivedFax) -> Result<(), DbError> {
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO inbound(id, from_number, to_number, remote_station_id, route, attempt_id, pages, size_bytes, \
             document_id, complete, received_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            fax.id.to_string(),
            fax.from,
            fax.to,
            fax.remote_station_id,
            fax.route,
            optional(fax.attempt.as_ref()),
            fax.pages,
            i64::try_from(fax.size_bytes).unwrap_or(i64::MAX),
            fax.document.to_string(),
            fax.is_complete,
            to_ms(fax.received_at),
            to_ms(fax.updated_at),
        ])?;
    if inserted == 1 { Ok(()) } else { Err(DbError::Conflict) }
}

fn by(
    connection: &rusqlite::Connection,
    column: &'static str,
    value: &str,
) -> Result<Option<ReceivedFax>, DbError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM inbound WHERE {column} = ?1"))?;
    statement.query_row([value], |row| Ok(read(row))).optional()?.transpose()
}

fn read(row: &Row<'_>) -> Result<ReceivedFax, DbError> {
    let text = |column| row.get::<_, String>(column);
    Ok(ReceivedFax {
        seq: row.get(0)?,
        id: parse(&text(1)?, "inbound.id")?,
        from: row.get(2)?,
        to: row.get(3)?,
        remote_station_id: row.get(4)?,
        route: row.get(5)?,
        attempt: row.get::<_, Option<String>>(6)?.map(|id| parse(&id, "inbound.attempt_id")).transpose()?,
        pages: row.get(7)?,
        size_bytes: row.get::<_, i64>(8)?.unsigned_abs(),
        document: parse(&text(9)?, "inbound.document_id")?,
        is_complete: row.get(10)?,
        received_at: from_ms(row.get(11)?, "inbound.received_at")?,
        updated_at: from_ms(row.get(12)?, "inbound.updated_at")?,
    })
}
