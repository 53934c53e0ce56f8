//! The `inbound` table: faxes received.
//!
//! Owns: one row per received fax, newest first. Refuses: a second row for the same attempt of a
//! loopback delivery.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, params_from_iter};

use super::audit::Audited;
use super::{Db, DbError, events, from_ms, optional, parse, to_ms};
use crate::fax::event::Event;
use crate::fax::received::{InboxFilter, ReceivedChange, ReceivedFax, Search};
use crate::id::{AttemptId, InboundId};

const COLUMNS: &str = "seq, id, from_number, to_number, remote_station_id, route, attempt_id, pages, \
     size_bytes, document_id, complete, received_at, updated_at, read_at, read_by, assigned_to, note";

/// Up to so many hits, a search for a sender sorts its hits; above, it walks from the newest.
const FEW_HITS: u32 = 2000;
/// The newest received faxes, among which a search for words looks.
const TEXT_WITHIN: u32 = 100_000;

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

    /// At most `limit` received faxes that match, newest first: those older than the place `before`,
    /// if there is one, and of these all after the first `offset`.
    pub async fn list_inbound(
        &self,
        filter: InboxFilter,
        before: Option<i64>,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<ReceivedFax>, DbError> {
        self.list(move |connection| {
            let mut values = vec![before.unwrap_or(i64::MAX).into()];
            let mut sql = filter.conditions(connection, &mut values)?;
            sql.push_str(" ORDER BY seq DESC LIMIT ? OFFSET ?");
            values.extend([Value::from(limit), Value::from(offset)]);
            let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM inbound {sql}"))?;
            let mut rows = statement.query(params_from_iter(values))?;
            let mut faxes = Vec::new();
            while let Some(row) = rows.next()? {
                faxes.push(read(row)?);
            }
            Ok(faxes)
        })
        .await
    }
}

impl Audited<'_> {
    /// Changes what people may change of a received fax, and tells of it; the fax as it then is.
    /// [`DbError::Conflict`] when it is not there. What changes nothing leaves no row and no event.
    pub async fn change_inbound(
        self,
        id: InboundId,
        change: ReceivedChange,
        now: Timestamp,
    ) -> Result<ReceivedFax, DbError> {
        let changed = self.write_if(
            |(was, is): &(ReceivedFax, ReceivedFax)| was != is,
            move |transaction| {
                let was = by(transaction, "id", &id.to_string())?.ok_or(DbError::Conflict)?;
                let is = was.changed(change, now);
                if was != is {
                    update(transaction, &is)?;
                    events::append(transaction, &[Event::received_changed(&is, now)])?;
                }
                Ok((was, is))
            },
        );
        changed.await.map(|(_, is)| is)
    }
}

fn update(transaction: &Transaction<'_>, fax: &ReceivedFax) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "UPDATE inbound SET read_at = ?2, read_by = ?3, assigned_to = ?4, note = ?5, updated_at = ?6 \
             WHERE id = ?1",
        )?
        .execute(params![
            fax.id.to_string(),
            fax.read_at.map(to_ms),
            fax.read_by,
            optional(fax.assigned_to.as_ref()),
            fax.note,
            to_ms(fax.updated_at),
        ])?;
    Ok(())
}

impl InboxFilter {
    /// The filter as SQL, after the condition that `seq` is below the first value.
    fn conditions(&self, connection: &Connection, values: &mut Vec<Value>) -> Result<String, DbError> {
        let mut sql = String::from("WHERE seq < ?");
        match self.unread {
            Some(true) => sql.push_str(" AND read_at IS NULL"),
            Some(false) => sql.push_str(" AND read_at IS NOT NULL"),
            None => {}
        }
        if let Some(account) = self.assigned_to {
            sql.push_str(" AND assigned_to = ?");
            values.push(account.to_string().into());
        }
        for (at, condition) in [(self.from, " AND received_at >= ?"), (self.to, " AND received_at < ?")] {
            if let Some(at) = at {
                sql.push_str(condition);
                values.push(to_ms(at).into());
            }
        }
        match &self.search {
            Some(Search::Sender(digits)) => {
                let ranges = [format!("+{digits}"), digits.clone()];
                let bounds = ranges.iter().flat_map(|start| [start.clone(), format!("{start}:")]);
                let bounds: Vec<String> = bounds.collect();
                let hits: u32 = connection
                    .prepare_cached(&format!(
                        "SELECT count(*) FROM (SELECT 1 FROM inbound WHERE {} LIMIT {})",
                        sender_in(""),
                        FEW_HITS + 1
                    ))?
                    .query_row(params_from_iter(&bounds), |row| row.get(0))?;
                // Few hits are sorted; of many the newest are found sooner by walking. The unary plus keeps
                // SQLite from the other index each time.
                if hits > FEW_HITS {
                    sql.push_str(&format!(" AND {}", sender_in("+")));
                } else {
                    sql = sql.replacen("WHERE seq", "WHERE +seq", 1);
                    sql.push_str(&format!(" AND {}", sender_in("")));
                }
                values.extend(bounds.into_iter().map(Value::from));
            }
            Some(Search::Text(text)) => {
                // A text is in no index: what is looked through is bounded.
                sql.push_str(&format!(" AND seq > (SELECT max(seq) FROM inbound) - {TEXT_WITHIN}"));
                sql.push_str(
                    " AND (instr(lower(ifnull(remote_station_id, '')), lower(?)) > 0 \
                     OR instr(lower(ifnull(note, '')), lower(?)) > 0)",
                );
                values.extend([Value::from(text.clone()), Value::from(text.clone())]);
            }
            None => {}
        }
        Ok(sql)
    }
}

/// That the sender's number is in one of two ranges; `plus` keeps SQLite from the index.
fn sender_in(plus: &str) -> String {
    format!(
        "(({plus}from_number >= ? AND {plus}from_number < ?) OR ({plus}from_number >= ? AND {plus}from_number < ?))"
    )
}

/// Stores a received fax. [`DbError::Conflict`] when its id or its delivery is there already.
pub(super) fn insert(transaction: &Transaction<'_>, fax: &ReceivedFax) -> Result<(), DbError> {
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO inbound(id, from_number, to_number, remote_station_id, route, attempt_id, pages, size_bytes, \
             document_id, complete, received_at, updated_at, read_at, read_by, assigned_to, note) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) \
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
            fax.read_at.map(to_ms),
            fax.read_by,
            optional(fax.assigned_to.as_ref()),
            fax.note,
        ])?;
    if inserted == 1 { Ok(()) } else { Err(DbError::Conflict) }
}

fn by(connection: &Connection, column: &'static str, value: &str) -> Result<Option<ReceivedFax>, DbError> {
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
        read_at: row.get::<_, Option<i64>>(13)?.map(|ms| from_ms(ms, "inbound.read_at")).transpose()?,
        read_by: row.get(14)?,
        assigned_to: row
            .get::<_, Option<String>>(15)?
            .map(|id| parse(&id, "inbound.assigned_to"))
            .transpose()?,
        note: row.get(16)?,
    })
}
