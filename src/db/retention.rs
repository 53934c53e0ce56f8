//! Deleting faxes that have ended.
//!
//! Owns: which faxes ended longest ago, removing them with everything personal that belongs to them,
//! and the list of documents whose files are still to be removed. Refuses: a fax that has not ended,
//! and a received one whose delivery is not closed yet.
//!
//! Invariant: a document is named by its fax, or by several of a group, until the last of them is deleted, and by `doomed_documents`
//! from that same transaction on until its file is gone. So no row ever points at a file that was
//! deleted, and no file is without a row that says what it is.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};

use super::audit::Audited;
use super::jobs::ids_from_json;
use super::{Db, DbError, events, from_ms, groups, parse, to_ms};
use crate::fax::event::Event;
use crate::fax::retention::{Because, EndedFax, EndedId, Kind};
use crate::id::DocumentId;

/// A sent fax that ended, at `?1` or before.
const SENT: &str = "final_at IS NOT NULL AND final_at <= ?1 \
     AND state IN ('delivered', 'partial', 'failed', 'cancelled', 'expired')";
/// A received fax, of `?1` or before. While the call that delivered it has no end, a restart may ask
/// whether it arrived, and would send it again.
const RECEIVED: &str = "received_at <= ?1 AND NOT EXISTS \
     (SELECT 1 FROM attempts WHERE attempts.id = inbound.attempt_id AND ended_at IS NULL)";

/// What was deleted of a kind since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// How many faxes.
    pub faxes: u64,
    /// How many pages they had.
    pub pages: u64,
    /// When the last ones were.
    pub at: Option<Timestamp>,
}

impl Db {
    /// At most `limit` faxes of a kind that ended at `before` or earlier, oldest first.
    pub async fn ended_faxes(
        &self,
        kind: Kind,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<EndedFax>, DbError> {
        self.list(move |connection| match kind {
            Kind::Sent => ended_jobs(connection, before, limit),
            Kind::Received => ended_inbound(connection, before, limit),
        })
        .await
    }

    /// How many faxes of a kind ended at `before` or earlier.
    pub async fn count_ended(&self, kind: Kind, before: Timestamp) -> Result<u64, DbError> {
        self.list(move |connection| {
            let sql = match kind {
                Kind::Sent => format!("SELECT count(*) FROM jobs INDEXED BY jobs_ended WHERE {SENT}"),
                Kind::Received => format!("SELECT count(*) FROM inbound WHERE {RECEIVED}"),
            };
            let count: i64 = connection.prepare_cached(&sql)?.query_row([to_ms(before)], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        })
        .await
    }

    /// What was ever deleted of a kind.
    pub fn deleted(&self, kind: Kind) -> Result<Deleted, DbError> {
        self.point(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT faxes, pages, at FROM deleted_faxes WHERE kind = ?1")?;
            let mut rows = statement.query([kind.as_str()])?;
            let Some(row) = rows.next()? else { return Ok(Deleted::default()) };
            Ok(Deleted {
                faxes: row.get::<_, i64>(0)?.unsigned_abs(),
                pages: row.get::<_, i64>(1)?.unsigned_abs(),
                at: Some(from_ms(row.get(2)?, "deleted_faxes.at")?),
            })
        })
    }

    /// At most `limit` documents whose faxes are deleted and whose files may still be there.
    pub async fn doomed_documents(&self, limit: u32) -> Result<Vec<DocumentId>, DbError> {
        self.list(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT document_id FROM doomed_documents LIMIT ?1")?;
            let mut rows = statement.query([limit])?;
            let mut ids = Vec::new();
            while let Some(row) = rows.next()? {
                ids.push(parse(&row.get::<_, String>(0)?, "doomed_documents.document_id")?);
            }
            Ok(ids)
        })
        .await
    }

    /// How many files are still to be removed.
    pub fn count_doomed(&self) -> Result<u64, DbError> {
        self.point(|connection| {
            let mut statement = connection.prepare_cached("SELECT count(*) FROM doomed_documents")?;
            Ok(statement.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
        })
    }

    /// Notes that these files are gone.
    pub async fn forget_documents(&self, ids: Vec<DocumentId>) -> Result<(), DbError> {
        self.write(move |transaction| {
            let mut forget =
                transaction.prepare_cached("DELETE FROM doomed_documents WHERE document_id = ?1")?;
            ids.iter().try_for_each(|id| forget.execute([id.to_string()]).map(drop))?;
            Ok(())
        })
        .await
    }

    /// Stores an event of which nothing else is stored.
    pub async fn tell(&self, event: Event) -> Result<(), DbError> {
        self.write(move |transaction| events::append(transaction, &[event])).await
    }
}

impl Audited<'_> {
    /// Deletes these faxes, which ended at `before` or earlier, each with its event. Answers their
    /// documents that no other fax has: these are doomed from then on. [`DbError::Conflict`], and nothing deleted, when one of them is not
    /// there or has not ended.
    pub async fn delete_faxes(
        self,
        faxes: Vec<EndedFax>,
        before: Timestamp,
        because: Because,
        now: Timestamp,
    ) -> Result<Vec<DocumentId>, DbError> {
        self.write(move |transaction| {
            let mut doomed = Vec::new();
            for fax in &faxes {
                // While the fax is there, so that its owner sees the event.
                events::append(transaction, &[Event::deleted(fax, because, now)])?;
                let (kind, deleted) = match fax.id {
                    EndedId::Sent(id, _) => (Kind::Sent, delete_job(transaction, &id.to_string(), before)?),
                    EndedId::Received(id) => {
                        (Kind::Received, delete_inbound(transaction, &id.to_string(), before)?)
                    }
                };
                if deleted != 1 {
                    return Err(DbError::Conflict);
                }
                doomed.extend(doom(transaction, fax)?);
                count(transaction, kind, fax.pages, now)?;
            }
            Ok(doomed)
        })
        .await
    }
}

/// Of the documents of a deleted fax, those that no other fax has.
fn doom(transaction: &Transaction<'_>, fax: &EndedFax) -> Result<Vec<DocumentId>, DbError> {
    let mut doom = transaction.prepare_cached(
        "INSERT INTO doomed_documents(document_id) SELECT ?1 \
         WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE document_id = ?1)",
    )?;
    let mut doomed = Vec::new();
    for id in &fax.documents {
        if doom.execute([id.to_string()])? == 1 {
            doomed.push(*id);
        }
    }
    Ok(doomed)
}

/// Its calls, their pages and traces go with it.
fn delete_job(transaction: &Transaction<'_>, id: &str, before: Timestamp) -> Result<usize, DbError> {
    // What it delivered into the own inbox stays there, and names a call no more.
    transaction
        .prepare_cached(
            "UPDATE inbound SET attempt_id = NULL WHERE attempt_id IN (SELECT id FROM attempts WHERE job_id = ?1)",
        )?
        .execute([id])?;
    let sql = format!("DELETE FROM jobs WHERE {SENT} AND id = ?2 RETURNING group_id");
    let mut delete = transaction.prepare_cached(&sql)?;
    let deleted = delete.query_map(params![to_ms(before), id], |row| row.get::<_, Option<String>>(0))?;
    let groups = deleted.collect::<Result<Vec<_>, _>>()?;
    groups.iter().flatten().try_for_each(|group| groups::forget_empty(transaction, group))?;
    Ok(groups.len())
}

fn delete_inbound(transaction: &Transaction<'_>, id: &str, before: Timestamp) -> Result<usize, DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO deleted_deliveries(attempt_id) SELECT attempt_id FROM inbound \
             WHERE id = ?1 AND attempt_id IN (SELECT id FROM attempts)",
        )?
        .execute([id])?;
    let sql = format!("DELETE FROM inbound WHERE {RECEIVED} AND id = ?2");
    Ok(transaction.prepare_cached(&sql)?.execute(params![to_ms(before), id])?)
}

fn count(transaction: &Transaction<'_>, kind: Kind, pages: u32, now: Timestamp) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO deleted_faxes(kind, faxes, pages, at) VALUES (?1, 1, ?2, ?3) \
             ON CONFLICT DO UPDATE SET faxes = faxes + 1, pages = pages + excluded.pages, at = excluded.at",
        )?
        .execute(params![kind.as_str(), pages, to_ms(now)])?;
    Ok(())
}

fn ended_jobs(connection: &Connection, before: Timestamp, limit: u32) -> Result<Vec<EndedFax>, DbError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, state, final_at, pages, document_id, source_ids FROM jobs INDEXED BY jobs_ended WHERE {SENT} ORDER BY final_at LIMIT ?2"
    ))?;
    let mut rows = statement.query(params![to_ms(before), limit])?;
    let mut faxes = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |column| row.get::<_, String>(column);
        let mut documents = ids_from_json(&text(5)?)?;
        if let Some(document) = row.get::<_, Option<String>>(4)? {
            documents.push(parse(&document, "jobs.document_id")?);
        }
        faxes.push(EndedFax {
            id: EndedId::Sent(parse(&text(0)?, "jobs.id")?, parse(&text(1)?, "jobs.state")?),
            at: from_ms(row.get(2)?, "jobs.final_at")?,
            pages: row.get::<_, Option<u32>>(3)?.unwrap_or(0),
            documents,
        });
    }
    Ok(faxes)
}

fn ended_inbound(connection: &Connection, before: Timestamp, limit: u32) -> Result<Vec<EndedFax>, DbError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, received_at, pages, document_id FROM inbound WHERE {RECEIVED} ORDER BY received_at LIMIT ?2"
    ))?;
    let mut rows = statement.query(params![to_ms(before), limit])?;
    let mut faxes = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |column| row.get::<_, String>(column);
        faxes.push(EndedFax {
            id: EndedId::Received(parse(&text(0)?, "inbound.id")?),
            at: from_ms(row.get(1)?, "inbound.received_at")?,
            pages: row.get(2)?,
            documents: vec![parse(&text(3)?, "inbound.document_id")?],
        });
    }
    Ok(faxes)
}
