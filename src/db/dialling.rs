//! The table `dialling_holds`: why no call begins, and what was spent on telephone lines.
//!
//! Owns: beginning and ending a hold, each with its event, and giving the faxes it kept waiting
//! their time back, in one transaction. What was spent is counted from the calls themselves. Of
//! several holds at once the time they share is given back once.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};
use serde_json::{Value, json};

use super::audit::Audited;
use super::jobs::to_json;
use super::{Db, DbError, events, from_ms, parse, to_ms};
use crate::fax::dialling::{Cause, Hold, Limits, Spent, day_of, hour_of};
use crate::fax::event::Event;

/// What the events are about.
const SUBJECT: &str = "appliance";
/// Jobs that are not final, so that their deadlines run.
const UNFINISHED: &str = "final_at IS NULL AND state IN \
    ('held', 'scheduled', 'preparing', 'queued', 'dialing', 'sending', 'waiting')";

impl Db {
    /// The holds in force.
    pub fn holds(&self) -> Result<Vec<Hold>, DbError> {
        self.point(holds)
    }

    /// What was spent through these routes in the hour and on the day of `now`.
    pub fn spent(&self, routes: &[String], now: Timestamp) -> Result<Spent, DbError> {
        self.point(|connection| spent(connection, routes, now))
    }

    /// Ends the limits that have room again, and gives the faxes of these routes their time back;
    /// answers which ended.
    pub async fn end_limits(
        &self,
        routes: Vec<String>,
        limits: Limits,
        now: Timestamp,
    ) -> Result<Vec<Cause>, DbError> {
        self.write(move |transaction| {
            let spent = spent(transaction, &routes, now)?;
            let all = holds(transaction)?;
            let mut ended = Vec::new();
            for hold in all.iter().filter(|hold| hold.cause != Cause::Paused) {
                if limits.has_room(hold.cause, spent) {
                    end(transaction, hold, &routes, now)?;
                    ended.push(hold.cause);
                }
            }
            Ok(ended)
        })
        .await
    }
}

impl Audited<'_> {
    /// Begins a pause; whether there was none, without which nothing is recorded.
    pub async fn pause(self, hold: Hold) -> Result<bool, DbError> {
        self.write_if(|is_new| *is_new, move |transaction| begin(transaction, &hold, Value::Null)).await
    }

    /// Ends the pause and gives all faxes their time back; whether there was one. `spending` are the
    /// routes that spend money.
    pub async fn resume(self, spending: Vec<String>, now: Timestamp) -> Result<bool, DbError> {
        self.write_if(
            |was_paused| *was_paused,
            move |transaction| {
                let all = holds(transaction)?;
                let Some(pause) = all.iter().find(|hold| hold.cause == Cause::Paused) else {
                    return Ok(false);
                };
                end(transaction, pause, &spending, now)?;
                Ok(true)
            },
        )
        .await
    }
}

/// The holds in force.
pub(in crate::db) fn holds(connection: &Connection) -> Result<Vec<Hold>, DbError> {
    let mut statement = connection
        .prepare_cached("SELECT cause, since, until, by, reason FROM dialling_holds ORDER BY since")?;
    let mut rows = statement.query([])?;
    let mut holds = Vec::new();
    while let Some(row) = rows.next()? {
        let time = |ms| from_ms(ms, "dialling_holds times");
        holds.push(Hold {
            cause: parse(&row.get::<_, String>(0)?, "dialling_holds.cause")?,
            since: time(row.get(1)?)?,
            until: row.get::<_, Option<i64>>(2)?.map(time).transpose()?,
            by: row.get(3)?,
            reason: row.get(4)?,
        });
    }
    Ok(holds)
}

/// Begins a hold and tells of it, once: whether there was none of its cause.
pub(in crate::db) fn begin(
    transaction: &Transaction<'_>,
    hold: &Hold,
    most: impl Into<Value>,
) -> Result<bool, DbError> {
    let added = transaction
        .prepare_cached(
            "INSERT INTO dialling_holds(cause, since, until, by, reason) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            hold.cause.as_str(),
            to_ms(hold.since),
            hold.until.map(to_ms),
            hold.by,
            hold.reason
        ])?;
    if added == 0 {
        return Ok(false);
    }
    let kind = if hold.cause == Cause::Paused { "dialling.paused" } else { "dialling.limit_reached" };
    let data = json!({ "cause": hold.cause.as_str(), "most": most.into(), "until": hold.until });
    tell(transaction, kind, data, hold.since)?;
    Ok(true)
}

/// What was spent through these routes in the hour and on the day of `now`.
///
/// A call that never left the appliance, or that the trunk did not take, is none: nobody answered it
/// and the fault was on our side of the phone network. An interrupted one counts, since it may
/// have cost something.
pub(in crate::db) fn spent(
    connection: &Connection,
    routes: &[String],
    now: Timestamp,
) -> Result<Spent, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FILTER (WHERE started_at >= ?3), \
         ifnull(sum(max(0, ifnull(ended_at, ?4) - started_at)), 0) \
         FROM attempts WHERE route NOT IN ('simulator', 'loopback') \
         AND route IN (SELECT value FROM json_each(?1)) AND started_at >= ?2 \
         AND NOT (ended_at NOT NULL AND answered_at IS NULL AND json_extract(outcome, '$.class') IN \
         ('network', 'trunk_auth', 'no_line', 'document', 'too_big', 'provider', 'blocked_by_policy'))",
    )?;
    let parameters = params![to_json(&routes), to_ms(day_of(now)), to_ms(hour_of(now)), to_ms(now)];
    Ok(statement.query_row(parameters, |row| {
        Ok(Spent { dials: row.get(0)?, line_ms: row.get::<_, i64>(1)?.unsigned_abs() })
    })?)
}

/// Ends a hold, tells of it, and gives the faxes it kept waiting their time back.
fn end(
    transaction: &Transaction<'_>,
    hold: &Hold,
    spending: &[String],
    now: Timestamp,
) -> Result<(), DbError> {
    transaction
        .prepare_cached("DELETE FROM dialling_holds WHERE cause = ?1")?
        .execute([hold.cause.as_str()])?;
    // From where on another hold gives the time back when it ends.
    let others = holds(transaction)?.into_iter().map(|other| other.since);
    let until = others.chain([now]).min().unwrap_or(now);
    let spending = to_json(&spending);
    give_back(transaction, hold.since, until, "IN", &spending)?;
    if hold.cause == Cause::Paused {
        // A limit does not concern these.
        give_back(transaction, hold.since, now, "NOT IN", &spending)?;
    }
    let kind = if hold.cause == Cause::Paused { "dialling.resumed" } else { "dialling.limit_ended" };
    let held_s = now.duration_since(hold.since).as_secs();
    tell(transaction, kind, json!({ "cause": hold.cause.as_str(), "held_s": held_s }), now)
}

/// Pushes deadlines out by the time between, as far as each fax was there and due, and it was not
/// added for hours already.
fn give_back(
    transaction: &Transaction<'_>,
    since: Timestamp,
    until: Timestamp,
    of_routes: &str,
    routes: &str,
) -> Result<(), DbError> {
    transaction.execute(
        &format!(
            "UPDATE jobs SET deadline_at = deadline_at + max(0, ?2 - max(?1, created_at, ifnull(schedule_at, 0), ifnull(closed_until, 0))) \
             WHERE {UNFINISHED} AND route {of_routes} (SELECT value FROM json_each(?3))"
        ),
        params![to_ms(since), to_ms(until), routes],
    )?;
    Ok(())
}

fn tell(transaction: &Transaction<'_>, kind: &str, data: Value, at: Timestamp) -> Result<(), DbError> {
    events::append(transaction, &[Event { at, kind: kind.to_owned(), subject: SUBJECT.to_owned(), data }])
}
