//! What a start asks of the database after a stop, clean or not.
//!
//! Owns: finding calls that nobody attends to any more, the heartbeat that tells how long the
//! appliance was down, and the list of documents that are in use.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{ids_from_json, read_all, to_json};
use crate::db::{Db, DbError, attempts, dialling, from_ms, to_ms};
use crate::fax::attempt::Attempt;
use crate::fax::dialling::Dialling;
use crate::fax::job::Job;
use crate::id::DocumentId;

/// Name in `meta` of the time at which the appliance was last known to run.
const HEARTBEAT: &str = "heartbeat_ms";

/// A job in `dialing` or `sending` that nobody attends to, with its open attempt.
#[derive(Clone, Debug)]
pub struct LostCall {
    /// The job.
    pub job: Job,
    /// Its last attempt, still open.
    pub attempt: Attempt,
}

impl Db {
    /// Calls whose lease ended at or before `until`; [`Timestamp::MAX`] for all that are open.
    pub fn lost_calls(&self, until: Timestamp) -> Result<Vec<LostCall>, DbError> {
        self.point(|connection| {
            let jobs = read_all(
                connection,
                "WHERE state IN ('dialing', 'sending') AND lease_until <= ?1 ORDER BY seq",
                [to_ms(until)],
            )?;
            let mut lost = Vec::with_capacity(jobs.len());
            for job in jobs {
                let attempt = attempts::of_number(connection, job.id, job.attempts)?
                    .ok_or(DbError::Damaged { what: "attempts of a call under way" })?;
                lost.push(LostCall { job, attempt });
            }
            Ok(lost)
        })
    }

    /// Notes that the appliance runs at `now`.
    pub async fn beat(&self, now: Timestamp) -> Result<(), DbError> {
        self.write(move |transaction| set_heartbeat(transaction, now)).await
    }

    /// Answers how long the appliance was down, pushes the deadline of every unfinished job out by
    /// that time, and notes that it runs at `now`; in one transaction, so that no downtime counts
    /// twice. A job that is kept waiting (`spending` are the routes that spend money) gets that time
    /// back with the rest, when dialling goes on, and what was added for hours already is not added again. Also lifts every `blocked`: the dispatcher finds anew who is.
    pub async fn resume_after_downtime(
        &self,
        spending: Vec<String>,
        now: Timestamp,
    ) -> Result<SignedDuration, DbError> {
        self.write(move |transaction| {
            let before = heartbeat(transaction)?;
            let down =
                before.map_or(SignedDuration::ZERO, |at| now.duration_since(at)).max(SignedDuration::ZERO);
            let dialling = Dialling { holds: dialling::holds(transaction)?, spending, ..Dialling::default() };
            if dialling.pause().is_none() {
                let held = if dialling.holds.is_empty() { Vec::new() } else { dialling.spending };
                transaction.execute(
                    "UPDATE jobs SET deadline_at = deadline_at + max(0, ?2 - max(?1, ifnull(closed_until, 0))) \
                     WHERE final_at IS NULL \
                     AND state IN ('held', 'scheduled', 'preparing', 'queued', 'dialing', 'sending', 'waiting') \
                     AND route NOT IN (SELECT value FROM json_each(?3))",
                    params![to_ms(before.unwrap_or(now)), to_ms(now), to_json(&held)],
                )?;
            }
            transaction.execute("UPDATE jobs SET blocked = 0 WHERE blocked = 1", [])?;
            set_heartbeat(transaction, now)?;
            Ok(down)
        })
        .await
    }

    /// Which of these documents a row names; the others are orphans.
    pub fn documents_in_use(&self, ids: &[DocumentId]) -> Result<HashSet<DocumentId>, DbError> {
        self.point(|connection| {
            let mut in_use = HashSet::new();
            // Few have any: jobs that are still preparing, or were held meanwhile.
            let mut unprepared =
                connection.prepare_cached("SELECT source_ids FROM jobs WHERE source_ids <> '[]'")?;
            let mut rows = unprepared.query([])?;
            while let Some(row) = rows.next()? {
                in_use.extend(ids_from_json(&row.get::<_, String>(0)?)?);
            }
            let mut named = connection.prepare_cached(
                "SELECT 1 FROM jobs WHERE document_id = ?1 UNION ALL SELECT 1 FROM inbound WHERE document_id = ?1 \
                 UNION ALL SELECT 1 FROM previews WHERE document_id = ?1",
            )?;
            for id in ids {
                if named.exists([id.to_string()])? {
                    in_use.insert(*id);
                }
            }
            Ok(in_use)
        })
    }
}

fn heartbeat(connection: &Connection) -> Result<Option<Timestamp>, DbError> {
    let ms: Option<i64> = connection
        .query_row(
            "SELECT CAST(CAST(value AS TEXT) AS INTEGER) FROM meta WHERE name = ?1",
            [HEARTBEAT],
            |row| row.get(0),
        )
        .optional()?;
    ms.map(|ms| from_ms(ms, "meta.heartbeat_ms")).transpose()
}

fn set_heartbeat(transaction: &Transaction<'_>, now: Timestamp) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO meta(name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
        )?
        .execute(params![HEARTBEAT, to_ms(now).to_string().into_bytes()])?;
    Ok(())
}
