//! The `audit` and `audit_marks` tables.
//!
//! Owns: appending rows to the chain, reading them, pruning the oldest. Refuses: a change without
//! its row. Changes that must be audited are functions of [`Audited`], not of [`Db`]; they join
//! their row to the transaction of the change, so that both are stored or neither.
//!
//! Invariant: the chain cannot fork. Its end is read and moved inside the transaction, and there is
//! one writer. Where the stored end is not genuine, the row `audit.broken` says so, until somebody accepts that.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, Transaction, named_params, params};
use tokio::sync::Notify;

use super::{Db, DbError, events, to_ms};
use crate::access::audit::chain::{Acceptance, AuditKey, Fault, Hash, Mark, MarkName, Place, Row, Verifier};
use crate::access::audit::{Action, AuditEvent, Context, Snapshot, Target};
use crate::fax::event::Event;
use crate::secret::Secret;

/// What is wrong with a log whose stored end is not genuine.
pub const END_MOVED: &str = "its end was not where it had been noted";
const COLUMNS: &str =
    "seq, at, actor, via, action, target, before, after, address, request_id, reason, prev_hash, hash";
/// The head is told to whoever waits in [`Db::audit_grew`] after this many rows.
const TELL_ROWS: i64 = 1000;

/// What the database needs to write the audit log.
#[derive(Debug, Default)]
pub(super) struct Chain {
    key: OnceLock<AuditKey>,
    told: AtomicI64,
    grew: Notify,
}

/// The database, about to make a change that belongs into the audit log.
pub struct Audited<'db> {
    db: &'db Db,
    events: Vec<AuditEvent>,
    /// The chain's key, where the log is not open for others yet.
    key: Option<AuditKey>,
}

/// Which rows to list.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only of this actor.
    pub actor: Option<String>,
    /// Only this action.
    pub action: Option<Action>,
    /// Only of this thing.
    pub target: Option<String>,
    /// Only at or after this time.
    pub from: Option<Timestamp>,
    /// Only before this time.
    pub to: Option<Timestamp>,
}

/// Consecutive rows with both marks, as they stood at one moment.
#[derive(Debug)]
pub struct AuditPage {
    /// The end of the log, if it is noted.
    pub head: Option<Mark>,
    /// What was pruned last.
    pub checkpoint: Option<Mark>,
    /// The rows, by number.
    pub rows: Vec<Row>,
}

/// What came of pruning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pruned {
    /// So many rows were removed; 0 when none was old enough.
    Rows(u64),
    /// Nothing was removed: damaged rows are evidence, and stay.
    Kept(Fault),
}

impl Db {
    /// Opens the audit log for writing, with the seal's subkey for it. Before that every audited
    /// change fails with [`DbError::AuditClosed`].
    pub fn start_audit(&self, key: &Secret<[u8; 32]>) {
        // A second start would be with the same key.
        let _ = self.chain.key.set(AuditKey::new(key));
    }

    /// The database, for a change that this event tells of.
    pub fn audited(&self, event: AuditEvent) -> Audited<'_> {
        Audited { db: self, events: vec![event], key: None }
    }

    /// The key of the chain.
    pub fn audit_key(&self) -> Result<AuditKey, DbError> {
        self.chain.key.get().cloned().ok_or(DbError::AuditClosed)
    }

    /// The last row on disk, [`Place::BEGINNING`] when there is none yet. Every row appended before
    /// the call is counted.
    pub async fn audit_head(&self) -> Result<Place, DbError> {
        // Through the writer: what a reader sees may lack rows that are being committed.
        let head = self.write(|transaction| read_mark(transaction, MarkName::Head)).await?;
        Ok(head.map_or(Place::BEGINNING, |mark| mark.place))
    }

    /// Completes when another thousand of rows was reached.
    pub async fn audit_grew(&self) {
        self.chain.grew.notified().await;
    }

    /// At most `limit` rows with numbers above `after`, in order; `None` is the very beginning.
    pub async fn audit_page(&self, after: Option<i64>, limit: u32) -> Result<AuditPage, DbError> {
        self.list(move |connection| {
            // One snapshot for rows and marks: the writer and the pruning go on meanwhile.
            let snapshot = connection.unchecked_transaction()?;
            let above = if after.is_some() { ">" } else { ">=" };
            Ok(AuditPage {
                head: read_mark(&snapshot, MarkName::Head)?,
                checkpoint: read_mark(&snapshot, MarkName::Checkpoint)?,
                rows: read_rows(
                    &snapshot,
                    &format!("WHERE seq {above} ?1 ORDER BY seq LIMIT ?2"),
                    params![after.unwrap_or(i64::MIN), limit],
                )?,
            })
        })
        .await
    }

    /// At most `limit` rows that match, newest first, with numbers below `before`.
    pub async fn audit_list(
        &self,
        filter: AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Row>, DbError> {
        self.list(move |connection| {
            let mut conditions = vec!["seq < :before"];
            let optional = [
                (filter.actor.is_some(), "actor = :actor"),
                (filter.action.is_some(), "action = :action"),
                (filter.target.is_some(), "target = :target"),
            ];
            conditions.extend(optional.iter().filter(|(asked, _)| *asked).map(|(_, condition)| *condition));
            if filter.from.is_some() || filter.to.is_some() {
                // Times become numbers by the index first, so that a search in the distant past
                // does not walk through everything since.
                conditions.push(
                    "seq >= (SELECT min(seq) FROM audit WHERE at >= :from AND at < :to) AND \
                     seq <= (SELECT max(seq) FROM audit WHERE at >= :from AND at < :to) AND at >= :from AND at < :to",
                );
            }
            let tail = format!("WHERE {} ORDER BY seq DESC LIMIT :limit", conditions.join(" AND "));
            let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM audit {tail}"))?;
            let all = named_params! {
                ":before": before.unwrap_or(i64::MAX),
                ":limit": limit,
                ":actor": filter.actor,
                ":action": filter.action.map(Action::as_str),
                ":target": filter.target,
                ":from": filter.from.map_or(i64::MIN, to_ms),
                ":to": filter.to.map_or(i64::MAX, to_ms),
            };
            for (name, value) in all {
                if let Some(index) = statement.parameter_index(name)? {
                    statement.raw_bind_parameter(index, value)?;
                }
            }
            let mut rows = statement.raw_query();
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
            Ok(found)
        })
        .await
    }

    /// The row with this number.
    pub fn audit_row(&self, seq: i64) -> Result<Option<Row>, DbError> {
        self.point(|connection| Ok(read_rows(connection, "WHERE seq = ?1", [seq])?.pop()))
    }

    /// What was pruned last, as noted; whether that is genuine is not looked at.
    pub fn audit_checkpoint(&self) -> Result<Option<Mark>, DbError> {
        self.point(|connection| read_mark(connection, MarkName::Checkpoint))
    }

    /// The damage that was accepted, oldest first.
    pub async fn audit_accepted(&self) -> Result<Vec<Acceptance>, DbError> {
        let key = self.audit_key()?;
        self.list(move |connection| acceptances(connection, &key)).await
    }

    /// Removes the oldest rows that are older than `cutoff`, at most `limit` of them, and leaves a
    /// signed checkpoint and a row that says so. Damaged rows stay, unless the damage was accepted.
    pub async fn prune_audit(
        &self,
        cutoff: Timestamp,
        limit: u32,
        now: Timestamp,
    ) -> Result<Pruned, DbError> {
        let key = self.audit_key()?;
        let chain = self.chain.clone();
        self.write(move |transaction| {
            let checkpoint = read_mark(transaction, MarkName::Checkpoint)?;
            let rows = read_rows(transaction, "ORDER BY seq LIMIT ?1", [limit])?;
            let is_forged = |mark: &Mark| !mark.is_genuine(&key, MarkName::Checkpoint);
            let forged = checkpoint.as_ref().is_some_and(is_forged);
            let start = checkpoint.filter(|_| !forged).map_or(Place::BEGINNING, |mark| mark.place);
            let mut verifier = Verifier::new(&key, start, None).accepting(acceptances(transaction, &key)?);
            if forged
                && let Err(fault) =
                    verifier.excuse(Fault::Checkpoint { first: rows.first().map_or(1, |row| row.seq) })
            {
                return Ok(Pruned::Kept(fault));
            }
            let mut last = start;
            let mut removed: u64 = 0;
            for row in rows.iter().take_while(|row| row.at_ms < to_ms(cutoff)) {
                if let Err(fault) = verifier.take(row) {
                    return Ok(Pruned::Kept(fault));
                }
                (last, removed) = (row.place(), removed + 1);
            }
            if removed == 0 {
                return Ok(Pruned::Rows(0));
            }
            let count = i64::try_from(removed).unwrap_or(i64::MAX);
            transaction.prepare_cached("DELETE FROM audit WHERE seq <= ?1")?.execute([last.seq])?;
            let mark = Mark::sign(&key, MarkName::Checkpoint, last, count, to_ms(now));
            store_mark(transaction, MarkName::Checkpoint, &mark)?;
            let told =
                Snapshot::new().with("older_than", cutoff).with("rows", count).with("through_seq", last.seq);
            let event = Context::system().event(Action::AuditPruned, Target::new("audit", "log"), now);
            chain.append(transaction, &key, &[event.after(told)])?;
            Ok(Pruned::Rows(removed))
        })
        .await
    }
}

impl Audited<'_> {
    /// With the key of the chain from a seal that this change itself has opened, while the log is
    /// closed to everybody else.
    pub fn keyed(self, key: &Secret<[u8; 32]>) -> Self {
        Self { key: Some(AuditKey::new(key)), ..self }
    }

    /// With more events that the same change is.
    pub fn and(mut self, more: impl IntoIterator<Item = AuditEvent>) -> Self {
        self.events.extend(more);
        self
    }

    /// Runs `change` and appends the rows, in one transaction.
    pub(super) async fn write<T: Send + 'static>(
        self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        self.write_if(|_| true, change).await
    }

    /// Runs `change` and, when its result is one that `happened`, appends the rows.
    pub(super) async fn write_if<T: Send + 'static>(
        self,
        happened: impl FnOnce(&T) -> bool + Send + 'static,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        // Looked at first, so that a change without audit log fails before it does anything.
        let key = self.key.map_or_else(|| self.db.audit_key(), Ok)?;
        let (chain, events) = (self.db.chain.clone(), self.events);
        self.db
            .write(move |transaction| {
                let result = change(transaction)?;
                if happened(&result) {
                    chain.append(transaction, &key, &events)?;
                }
                Ok(result)
            })
            .await
    }

    /// Appends the rows alone: of what changes nothing here, such as a view.
    pub async fn record(self) -> Result<(), DbError> {
        self.write(|_| Ok(())).await
    }
}

impl Chain {
    /// Adds rows to the end of the chain.
    fn append(
        &self,
        transaction: &Transaction<'_>,
        key: &AuditKey,
        events: &[AuditEvent],
    ) -> Result<(), DbError> {
        let Some(first) = events.first() else { return Ok(()) };
        let full = DbError::Damaged { what: "audit.seq" };
        let (end, is_whole) = end(transaction, key)?;
        let mut last = end;
        let broken = Context::system().event(Action::AuditBroken, Target::new("audit", "log"), first.at);
        let broken = (!is_whole).then_some(&broken);
        if broken.is_some() {
            events::append(transaction, &[Event::audit_damaged(END_MOVED, first.at)])?;
        }
        let mut at_ms = to_ms(first.at);
        for event in broken.into_iter().chain(events) {
            let Some(row) = Row::following(key, last, event) else { return Err(full) };
            insert(transaction, &row)?;
            (last, at_ms) = (row.place(), row.at_ms);
        }
        store_mark(transaction, MarkName::Head, &Mark::sign(key, MarkName::Head, last, 0, at_ms))?;
        // The transaction may yet be undone; who is told asks for the committed head.
        let thousand = last.seq / TELL_ROWS;
        if self.told.swap(thousand, Ordering::Relaxed) != thousand {
            self.grew.notify_one();
        }
        Ok(())
    }
}

fn acceptances(connection: &Connection, key: &AuditKey) -> Result<Vec<Acceptance>, DbError> {
    let action = Action::AuditDamageAccepted.as_str();
    let rows = read_rows(connection, "WHERE action = ?1 ORDER BY seq", [action])?;
    Ok(rows.iter().filter_map(|row| Acceptance::of(row, key)).collect())
}

/// The place that the next row follows, and whether it is where the log was noted to end.
fn end(transaction: &Transaction<'_>, key: &AuditKey) -> Result<(Place, bool), DbError> {
    let head = read_mark(transaction, MarkName::Head)?;
    let newest = read_rows(transaction, "ORDER BY seq DESC LIMIT 1", [])?.pop();
    let newest_seq = newest.as_ref().map(|row| row.seq);
    match head {
        Some(head)
            if head.is_genuine(key, MarkName::Head) && newest_seq.is_none_or(|seq| seq <= head.place.seq) =>
        {
            // Rows that were cut off leave a gap before the next one, which is seen for good.
            return Ok((head.place, true));
        }
        None if newest.is_none() && read_mark(transaction, MarkName::Checkpoint)?.is_none() => {
            return Ok((Place::BEGINNING, true));
        }
        _ => {}
    }
    log::error!("the end of the audit log is not where it was noted: somebody changed the database");
    let checkpoint = read_mark(transaction, MarkName::Checkpoint)?.map(|mark| mark.place);
    Ok((newest.map(|row| row.place()).or(checkpoint).unwrap_or(Place::BEGINNING), false))
}

fn insert(transaction: &Transaction<'_>, row: &Row) -> Result<(), DbError> {
    transaction
        .prepare_cached(&format!(
            "INSERT INTO audit({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        ))?
        .execute(params![
            row.seq,
            row.at_ms,
            row.actor,
            row.via,
            row.action,
            row.target,
            row.before,
            row.after,
            row.address,
            row.request_id,
            row.reason,
            row.prev_hash.0.as_slice(),
            row.hash.0.as_slice(),
        ])?;
    Ok(())
}

fn store_mark(transaction: &Transaction<'_>, name: MarkName, mark: &Mark) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO audit_marks(name, seq, hash, pruned, at, mac) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT DO UPDATE SET seq = excluded.seq, hash = excluded.hash, pruned = excluded.pruned, \
             at = excluded.at, mac = excluded.mac",
        )?
        .execute(params![
            name.as_str(),
            mark.place.seq,
            mark.place.hash.0.as_slice(),
            mark.pruned,
            mark.at_ms,
            mark.mac.0.as_slice(),
        ])?;
    Ok(())
}

/// The mark as it is stored; one that does not read back is not genuine either.
fn read_mark(connection: &Connection, name: MarkName) -> Result<Option<Mark>, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT seq, hash, pruned, at, mac FROM audit_marks WHERE name = ?1")?;
    let mark = statement
        .query_row([name.as_str()], |row| {
            let mut readable = true;
            Ok(Mark {
                place: Place { seq: whole(row, 0, &mut readable)?, hash: hash(row, 1, &mut readable)? },
                pruned: whole(row, 2, &mut readable)?,
                at_ms: whole(row, 3, &mut readable)?,
                mac: hash(row, 4, &mut readable)?,
            })
        })
        .optional()?;
    Ok(mark)
}

fn read_rows(
    connection: &Connection,
    tail: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Row>, DbError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM audit {tail}"))?;
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// A row as far as it can be read: damage is for the verification to tell, not a failure to read.
fn read(row: &SqlRow<'_>) -> Result<Row, DbError> {
    let mut readable = true;
    let mut read = Row {
        seq: whole(row, 0, &mut readable)?,
        at_ms: whole(row, 1, &mut readable)?,
        actor: text(row, 2, &mut readable)?.unwrap_or_default(),
        via: text(row, 3, &mut readable)?.unwrap_or_default(),
        action: text(row, 4, &mut readable)?.unwrap_or_default(),
        target: text(row, 5, &mut readable)?.unwrap_or_default(),
        before: text(row, 6, &mut readable)?,
        after: text(row, 7, &mut readable)?,
        address: text(row, 8, &mut readable)?,
        request_id: text(row, 9, &mut readable)?,
        reason: text(row, 10, &mut readable)?,
        prev_hash: hash(row, 11, &mut readable)?,
        hash: hash(row, 12, &mut readable)?,
        is_readable: true,
    };
    read.is_readable = readable;
    Ok(read)
}

fn whole(row: &SqlRow<'_>, column: usize, readable: &mut bool) -> Result<i64, rusqlite::Error> {
    Ok(row.get_ref(column)?.as_i64().unwrap_or_else(|_| {
        *readable = false;
        0
    }))
}

fn hash(row: &SqlRow<'_>, column: usize, readable: &mut bool) -> Result<Hash, rusqlite::Error> {
    let bytes = row.get_ref(column)?.as_blob().ok().and_then(|bytes| bytes.try_into().ok());
    Ok(bytes.map_or_else(
        || {
            *readable = false;
            Hash::ZERO
        },
        Hash,
    ))
}

fn text(row: &SqlRow<'_>, column: usize, readable: &mut bool) -> Result<Option<String>, rusqlite::Error> {
    let Ok(bytes) = row.get_ref(column)?.as_bytes_or_null() else {
        *readable = false;
        return Ok(None);
    };
    Ok(bytes.map(|bytes| {
        *readable &= std::str::from_utf8(bytes).is_ok();
        String::from_utf8_lossy(bytes).into_owned()
    }))
}

#[cfg(test)]
pub(super) mod tests;
