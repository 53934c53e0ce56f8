//! The tables `destination_calls` and `accepted_stations`: what is remembered of each number.
//!
//! Owns: remembering a call in the transaction that ends it, and forgetting it after its time. It
//! outlives the fax it was for, so that retention of faxes takes nothing from it.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::jobs::to_json;
use super::{Db, DbError, from_ms, parse, to_ms};
use crate::fax::attempt::Carriage;
use crate::fax::destination::{Memory, PastCall, REMEMBERED};
use crate::fax::job::Job;
use crate::fax::number::FaxNumber;
use crate::fax::outcome::{Class, Outcome};
use crate::fax::routing::RouteList;
use crate::id::{AccountId, AttemptId};

/// What a [`PastCall`] is made of, in the order [`read`] takes it.
const COLUMNS: &str = "at, route, class, pages, remote_station_id, transport, bit_rate, ecm";
/// Calls of one number that are looked at: enough for what is said of it.
const MOST_CALLS: u32 = 1000;
/// Calls forgotten in one write: the writer serves others in between.
const FORGOTTEN_AT_ONCE: u32 = 5000;

impl Db {
    /// What is remembered of a number at `now`; of this account's calls alone, or of all.
    pub async fn destination(
        &self,
        to: FaxNumber,
        owner: Option<AccountId>,
        now: Timestamp,
    ) -> Result<Memory, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM destination_calls WHERE to_e164 = ?1 AND at >= ?2 \
                 AND (?3 IS NULL OR owner_id = ?3) ORDER BY at DESC LIMIT ?4"
            ))?;
            let owner = owner.map(|owner| owner.to_string());
            let mut rows = statement.query(params![to.as_e164(), oldest(now), owner, MOST_CALLS])?;
            let mut calls = Vec::new();
            while let Some(row) = rows.next()? {
                calls.push(read(row)?);
            }
            Ok(Memory { calls })
        })
        .await
    }

    /// What the way of a job's next call follows from: what is remembered of its number at `now` from
    /// before its own first call there, back to the last delivery over one of its routes; and how
    /// its own calls there ended, in order.
    pub fn ladder_of(&self, job: &Job, now: Timestamp) -> Result<(Memory, Vec<Class>), DbError> {
        self.point(|connection| {
            let mut own = connection.prepare_cached(
                "SELECT calls.class, attempts.started_at FROM attempts JOIN destination_calls AS calls \
                 ON calls.to_e164 = ?2 AND calls.at = attempts.ended_at AND calls.attempt_id = attempts.id \
                 WHERE attempts.job_id = ?1 ORDER BY attempts.number",
            )?;
            let mut rows = own.query(params![job.id.to_string(), job.to.as_e164()])?;
            let (mut classes, mut began) = (Vec::new(), None);
            while let Some(row) = rows.next()? {
                classes.push(parse(&row.get::<_, String>(0)?, "destination_calls.class")?);
                began.get_or_insert(row.get::<_, i64>(1)?);
            }
            let before = began.unwrap_or(i64::MAX);
            let of_routes = "to_e164 = ?1 AND at >= ?2 AND at < ?3 AND route IN (SELECT value FROM json_each(?4))";
            let mut others = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM destination_calls WHERE {of_routes} AND at >= ifnull((SELECT max(at) \
                 FROM destination_calls WHERE {of_routes} AND class = 'delivered'), 0) ORDER BY at DESC LIMIT ?5"
            ))?;
            let parameters = params![job.to.as_e164(), oldest(now), before, names(&job.routes), MOST_CALLS];
            let mut rows = others.query(parameters)?;
            let mut calls = Vec::new();
            while let Some(row) = rows.next()? {
                calls.push(read(row)?);
            }
            Ok((Memory { calls }, classes))
        })
    }

    /// What the machine at a number calls itself, as far as it is known at `now`: of the last delivery
    /// over one of these routes in which it told, or as somebody said since that it is right.
    pub fn known_station(
        &self,
        to: &FaxNumber,
        routes: &RouteList,
        now: Timestamp,
    ) -> Result<Option<String>, DbError> {
        self.point(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT station_id FROM (SELECT at, remote_station_id AS station_id FROM destination_calls \
                 WHERE to_e164 = ?1 AND at >= ?2 AND class = 'delivered' AND trim(remote_station_id) <> '' \
                 AND route IN (SELECT value FROM json_each(?3)) \
                 UNION ALL SELECT at, station_id FROM accepted_stations \
                 WHERE to_e164 = ?1 AND at >= ?2 AND route IN (SELECT value FROM json_each(?3))) \
                 ORDER BY at DESC LIMIT 1",
            )?;
            let parameters = params![to.as_e164(), oldest(now), names(routes)];
            Ok(statement.query_row(parameters, |row| row.get(0)).optional()?)
        })
    }

    /// Forgets calls that are too old at `now`, a batch of them; answers how many.
    pub async fn forget_destinations(&self, now: Timestamp) -> Result<usize, DbError> {
        self.write(move |transaction| {
            let mut statement = transaction.prepare_cached(
                "DELETE FROM destination_calls WHERE (to_e164, at, attempt_id) IN \
                 (SELECT to_e164, at, attempt_id FROM destination_calls WHERE at < ?1 ORDER BY at LIMIT ?2)",
            )?;
            transaction.execute("DELETE FROM accepted_stations WHERE at < ?1", [oldest(now)])?;
            Ok(statement.execute(params![oldest(now), FORGOTTEN_AT_ONCE])?)
        })
        .await
    }
}

/// Whether a fax machine answered at this number within the time that is remembered, on one of
/// these routes.
pub(in crate::db) fn was_reached(
    connection: &Connection,
    to: &FaxNumber,
    routes: &RouteList,
    now: Timestamp,
) -> Result<bool, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT class FROM destination_calls WHERE to_e164 = ?1 AND at >= ?2 \
         AND route IN (SELECT value FROM json_each(?3)) ORDER BY at DESC",
    )?;
    let mut rows = statement.query(params![to.as_e164(), oldest(now), names(routes)])?;
    while let Some(row) = rows.next()? {
        let class: Class = parse(&row.get::<_, String>(0)?, "destination_calls.class")?;
        if class.is_try() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Remembers a call that was just closed.
pub(in crate::db) fn remember(
    transaction: &Transaction<'_>,
    job: &Job,
    attempt: AttemptId,
    outcome: &Outcome,
) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO destination_calls(to_e164, at, attempt_id, owner_id, route, class, pages, \
             remote_station_id, transport, bit_rate, ecm) \
             SELECT ?2, ended_at, id, ?3, route, ?4, \
             (SELECT count(*) FROM attempt_pages WHERE attempt_id = ?1), \
             remote_station_id, transport, bit_rate, ecm FROM attempts WHERE id = ?1",
        )?
        .execute(params![
            attempt.to_string(),
            job.to.as_e164(),
            job.owner.to_string(),
            outcome.class.as_str()
        ])?;
    Ok(())
}

/// Remembers that the machine that calls itself so is the right one at a job's number, as `by` said.
pub(in crate::db) fn accept_station(
    transaction: &Transaction<'_>,
    job: &Job,
    station: &str,
    by: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO accepted_stations(to_e164, route, station_id, by, at) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO UPDATE SET station_id = excluded.station_id, by = excluded.by, at = excluded.at",
        )?
        .execute(params![job.to.as_e164(), job.route, station, by, to_ms(now)])?;
    Ok(())
}

/// The names of a list of routes, as a JSON array.
fn names(routes: &RouteList) -> String {
    to_json(&routes.names().collect::<Vec<_>>())
}

pub(in crate::db) fn oldest(now: Timestamp) -> i64 {
    to_ms(now.checked_sub(REMEMBERED).unwrap_or(Timestamp::MIN))
}

fn read(row: &Row<'_>) -> Result<PastCall, DbError> {
    Ok(PastCall {
        at: from_ms(row.get(0)?, "destination_calls.at")?,
        route: row.get(1)?,
        class: parse(&row.get::<_, String>(2)?, "destination_calls.class")?,
        pages: row.get(3)?,
        remote_station_id: row.get(4)?,
        carriage: Carriage { transport: row.get(5)?, bit_rate: row.get(6)?, ecm: row.get(7)? },
    })
}
