//! What the guard against mis-dialled faxes asks: which numbers are known, and which of those are
//! near another one.
//!
//! Owns: the table `confirmed_numbers`, and the look into address book and deliveries, which asks for
//! each possible neighbour by index. Refuses: to go through either of them.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::audit::Audited;
use super::jobs::{moved, to_json};
use super::{Db, DbError, destinations, parse, to_ms};
use crate::fax::job::State;
use crate::fax::number::FaxNumber;
use crate::fax::second_look::{FoundIn, Kind, Rule, SecondLook, kind_of, neighbours};
use crate::fax::transition::Moved;
use crate::id::JobId;

impl Db {
    /// What is striking about each of these numbers by this rule; deliveries count on routes of these
    /// names.
    pub async fn second_looks(
        &self,
        numbers: Vec<FaxNumber>,
        rule: Rule,
        routes: Vec<String>,
        now: Timestamp,
    ) -> Result<Vec<Option<SecondLook>>, DbError> {
        if rule == Rule::Off {
            return Ok(vec![None; numbers.len()]);
        }
        self.list(move |connection| {
            let snapshot = connection.unchecked_transaction()?;
            let (routes, since) = (to_json(&routes), destinations::oldest(now));
            numbers.iter().map(|number| striking(&snapshot, number, rule, &routes, since)).collect()
        })
        .await
    }

    /// Faxes to this number that wait for somebody to look at it, oldest first.
    pub fn to_look_at(&self, number: &FaxNumber) -> Result<Vec<JobId>, DbError> {
        self.point(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id FROM jobs WHERE to_e164 = ?1 AND second_look IS NOT NULL AND state = 'held' ORDER BY seq",
            )?;
            let mut rows = statement.query([number.as_e164()])?;
            let mut ids = Vec::new();
            while let Some(row) = rows.next()? {
                ids.push(parse(&row.get::<_, String>(0)?, "jobs.id")?);
            }
            Ok(ids)
        })
    }

    /// The names of these numbers in the address book.
    pub fn contact_names(&self, numbers: &[&str]) -> Result<HashMap<String, String>, DbError> {
        if numbers.is_empty() {
            return Ok(HashMap::new());
        }
        self.point(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT number, name FROM contacts WHERE number IN (SELECT value FROM json_each(?1))",
            )?;
            let names = statement.query_map([to_json(&numbers)], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(names.collect::<Result<_, _>>()?)
        })
    }
}

impl Audited<'_> {
    /// Lets a held fax go, recorded; when it waited for somebody to look at its number, the number is
    /// not asked about again, and the machine that answered there is the right one. `Err` with the state of one that is not held.
    pub async fn release_job(
        self,
        id: JobId,
        by: String,
        now: Timestamp,
    ) -> Result<Result<Moved, State>, DbError> {
        self.write_if(Result::is_ok, move |transaction| {
            let (mut looked_at, mut station) = (None, None);
            let released = moved(transaction, id, |stage| {
                (looked_at, station) = (stage.number_to_look_at(), stage.station_to_accept());
                stage.release(now)
            })?;
            if let (Ok(moved), Some(number)) = (&released, looked_at) {
                confirm(transaction, &number, &by, now)?;
                if let Some(station) = station {
                    destinations::accept_station(transaction, moved.job(), &station, &by, now)?;
                }
            }
            Ok(released)
        })
        .await
    }
}

fn confirm(
    transaction: &Transaction<'_>,
    number: &FaxNumber,
    by: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO confirmed_numbers(to_e164, by, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute(params![number.as_e164(), by, to_ms(now)])?;
    Ok(())
}

/// A delivery to `number` since `?2`, on routes of these names.
const DELIVERED: &str = "EXISTS (SELECT 1 FROM destination_calls WHERE to_e164 = number AND at >= ?2 \
     AND class = 'delivered' AND route IN (SELECT value FROM json_each(?3)))";

fn striking(
    connection: &Connection,
    number: &FaxNumber,
    rule: Rule,
    routes: &str,
    since: i64,
) -> Result<Option<SecondLook>, DbError> {
    let mut is_known = connection.prepare_cached(&format!(
        "SELECT 1 FROM (SELECT ?1 AS number) WHERE EXISTS (SELECT 1 FROM confirmed_numbers WHERE to_e164 = number) \
         OR EXISTS (SELECT 1 FROM contacts WHERE contacts.number = ?1) OR {DELIVERED}"
    ))?;
    if is_known.exists(params![number.as_e164(), since, routes])? {
        return Ok(None);
    }
    let neighbours = to_json(&neighbours(number));
    let look = |near: String, found_in| {
        let kind = kind_of(number, &near);
        Ok(Some(SecondLook { kind, found_in: Some(found_in), near: Some(near) }))
    };
    // The cross join makes each neighbour one look into an index, whatever is in the book.
    let mut in_book = connection.prepare_cached(
        "SELECT contacts.number FROM json_each(?1) CROSS JOIN contacts ON contacts.number = value LIMIT 1",
    )?;
    if let Some(near) = in_book.query_row([&neighbours], |row| row.get(0)).optional()? {
        return look(near, FoundIn::Contacts);
    }
    let mut delivered = connection.prepare_cached(&format!(
        "SELECT number FROM (SELECT value AS number FROM json_each(?1)) WHERE {DELIVERED} LIMIT 1"
    ))?;
    if let Some(near) =
        delivered.query_row(params![neighbours, since, routes], |row| row.get(0)).optional()?
    {
        return look(near, FoundIn::Deliveries);
    }
    let first = SecondLook { kind: Kind::FirstTime, found_in: None, near: None };
    Ok((rule == Rule::FirstTime).then_some(first))
}
