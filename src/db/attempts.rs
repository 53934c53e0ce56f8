//! The tables of calls: `attempts`, `attempt_pages`, `attempt_traces`.
//!
//! Owns: one row per dial, one per confirmed page, and the T.30 ladder in parts, one part per
//! report. Refuses: to touch an attempt that is closed; what comes after its end is a
//! [`DbError::Conflict`].

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::jobs::to_json;
use super::{Db, DbError, from_ms, parse, to_ms};
use crate::fax::attempt::{Attempt, Carriage, PageConfirmation, Progress, TraceEntry};
use crate::fax::outcome::Outcome;
use crate::id::{AttemptId, JobId};

const COLUMNS: &str = "id, job_id, number, route, first_page, started_at, answered_at, first_data_at, \
     ended_at, remote_station_id, transport, bit_rate, ecm, outcome";

impl Db {
    /// All dials of a job, in order, with the pages each got confirmed.
    pub async fn attempts(&self, job: JobId) -> Result<Vec<Attempt>, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM attempts WHERE job_id = ?1 ORDER BY number"
            ))?;
            let mut rows = statement.query([job.to_string()])?;
            let mut attempts = Vec::new();
            while let Some(row) = rows.next()? {
                attempts.push(with_pages(connection, read(row)?)?);
            }
            Ok(attempts)
        })
        .await
    }

    /// The T.30 ladder of a job's dial with this number; `None` when there is no such dial.
    pub async fn trace(&self, job: JobId, number: u32) -> Result<Option<Vec<TraceEntry>>, DbError> {
        self.list(move |connection| {
            let Some(attempt) = of_number(connection, job, number)? else { return Ok(None) };
            let mut statement = connection
                .prepare_cached("SELECT entries FROM attempt_traces WHERE attempt_id = ?1 ORDER BY part")?;
            let mut rows = statement.query([attempt.id.to_string()])?;
            let mut trace = Vec::new();
            while let Some(row) = rows.next()? {
                let part: Vec<TraceEntry> = from_json(&row.get::<_, String>(0)?, "attempt_traces.entries")?;
                trace.extend(part);
            }
            Ok(Some(trace))
        })
        .await
    }
}

pub(super) fn of_number(
    connection: &Connection,
    job: JobId,
    number: u32,
) -> Result<Option<Attempt>, DbError> {
    let mut statement = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM attempts WHERE job_id = ?1 AND number = ?2"))?;
    let attempt =
        statement.query_row(params![job.to_string(), number], |row| Ok(read(row))).optional()?.transpose()?;
    attempt.map(|attempt| with_pages(connection, attempt)).transpose()
}

pub(super) fn insert(transaction: &Transaction<'_>, attempt: &Attempt) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO attempts(id, job_id, number, route, first_page, started_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            attempt.id.to_string(),
            attempt.job.to_string(),
            attempt.number,
            attempt.route,
            attempt.first_page,
            to_ms(attempt.started_at),
        ])?;
    Ok(())
}

/// The first page of an attempt that is under way.
pub(super) fn require_open(transaction: &Transaction<'_>, id: AttemptId) -> Result<u32, DbError> {
    let mut statement =
        transaction.prepare_cached("SELECT first_page FROM attempts WHERE id = ?1 AND ended_at IS NULL")?;
    statement.query_row([id.to_string()], |row| row.get(0)).optional()?.ok_or(DbError::Conflict)
}

/// Adds what a call reported; the first answer and the first data keep their times.
pub(super) fn add_progress(
    transaction: &Transaction<'_>,
    id: AttemptId,
    progress: &Progress,
) -> Result<(), DbError> {
    let id = id.to_string();
    transaction
        .prepare_cached(
            "UPDATE attempts SET answered_at = ifnull(answered_at, ?2), first_data_at = ifnull(first_data_at, ?3), \
             remote_station_id = ifnull(?4, remote_station_id), transport = ifnull(?5, transport), \
             bit_rate = ifnull(?6, bit_rate), ecm = ifnull(?7, ecm) WHERE id = ?1",
        )?
        .execute(params![
            id,
            progress.answered_at.map(to_ms),
            progress.first_data_at.map(to_ms),
            progress.remote_station_id,
            progress.carriage.transport,
            progress.carriage.bit_rate,
            progress.carriage.ecm,
        ])?;
    let mut insert_page = transaction.prepare_cached(
        "INSERT INTO attempt_pages(attempt_id, page, confirmed_at, bytes, duration_ms) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT DO NOTHING",
    )?;
    for page in &progress.pages {
        insert_page.execute(params![
            id,
            page.page,
            to_ms(page.confirmed_at),
            i64::try_from(page.bytes).unwrap_or(i64::MAX),
            i64::try_from(page.duration_ms).unwrap_or(i64::MAX),
        ])?;
    }
    if !progress.trace.is_empty() {
        transaction
            .prepare_cached(
                "INSERT INTO attempt_traces(attempt_id, part, entries) \
                 SELECT ?1, ifnull(max(part), 0) + 1, ?2 FROM attempt_traces WHERE attempt_id = ?1",
            )?
            .execute(params![id, to_json(&progress.trace)])?;
    }
    Ok(())
}

pub(super) fn close(
    transaction: &Transaction<'_>,
    id: AttemptId,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<(), DbError> {
    transaction
        .prepare_cached("UPDATE attempts SET ended_at = ?2, outcome = ?3 WHERE id = ?1")?
        .execute(params![id.to_string(), to_ms(now), to_json(outcome)])?;
    Ok(())
}

fn with_pages(connection: &Connection, mut attempt: Attempt) -> Result<Attempt, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT page, confirmed_at, bytes, duration_ms FROM attempt_pages WHERE attempt_id = ?1 ORDER BY page",
    )?;
    let mut rows = statement.query([attempt.id.to_string()])?;
    while let Some(row) = rows.next()? {
        attempt.pages.push(PageConfirmation {
            page: row.get(0)?,
            confirmed_at: from_ms(row.get(1)?, "attempt_pages.confirmed_at")?,
            bytes: row.get::<_, i64>(2)?.unsigned_abs(),
            duration_ms: row.get::<_, i64>(3)?.unsigned_abs(),
        });
    }
    Ok(attempt)
}

fn read(row: &Row<'_>) -> Result<Attempt, DbError> {
    let time = |column| -> Result<Option<Timestamp>, DbError> {
        row.get::<_, Option<i64>>(column)?.map(|ms| from_ms(ms, "attempts times")).transpose()
    };
    Ok(Attempt {
        id: parse(&row.get::<_, String>(0)?, "attempts.id")?,
        job: parse(&row.get::<_, String>(1)?, "attempts.job_id")?,
        number: row.get(2)?,
        route: row.get(3)?,
        first_page: row.get(4)?,
        started_at: from_ms(row.get(5)?, "attempts.started_at")?,
        answered_at: time(6)?,
        first_data_at: time(7)?,
        ended_at: time(8)?,
        remote_station_id: row.get(9)?,
        carriage: Carriage { transport: row.get(10)?, bit_rate: row.get(11)?, ecm: row.get(12)? },
        outcome: row
            .get::<_, Option<String>>(13)?
            .map(|json| from_json(&json, "attempts.outcome"))
            .transpose()?,
        pages: Vec::new(),
    })
}

fn from_json<T: serde::de::DeserializeOwned>(json: &str, what: &'static str) -> Result<T, DbError> {
    serde_json::from_str(json).map_err(|_| DbError::Damaged { what })
}
