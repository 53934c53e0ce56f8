//! The tables of what was noted of keys while they were used: `key_windows` (what they took of their
//! quotas), `key_usage` (what came of their requests), `key_pages` and `key_destinations` (what they
//! spent), `key_exposures` (whether they stood in an address).
//!
//! Owns: adding to them, reading them back, and forgetting what is old. Refuses: a row per request;
//! what arrives here was added up before.

use jiff::Timestamp;
use rusqlite::{Transaction, params};

use super::{Db, DbError, events, from_ms, optional, parse, to_ms};
use crate::access::records::{DayOfSpending, Exposure, HourOfUse, WindowCount};
use crate::access::token::KeyId;
use crate::fax::event::Event;

/// Hours for which quotas are kept: a day more than any quota needs, for clocks that are set back.
const WINDOWS_KEPT_H: i64 = 48;
/// Hours for which figures of use are kept: 90 days.
pub const USE_KEPT_H: i64 = 90 * 24;

impl Db {
    /// Adds these counts, all at once, and forgets what is too old at `now`.
    pub async fn add_metering(
        &self,
        windows: Vec<WindowCount>,
        use_by_hour: Vec<HourOfUse>,
        days: Vec<DayOfSpending>,
        now: Timestamp,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            windows.iter().try_for_each(|window| put_window(transaction, window))?;
            use_by_hour.iter().try_for_each(|row| add_use(transaction, row))?;
            days.iter().try_for_each(|day| put_day(transaction, day))?;
            let hour = now.as_second().div_euclid(3600);
            let day = hour.div_euclid(24);
            transaction.prepare_cached("DELETE FROM key_pages WHERE day < ?1 - 1")?.execute([day])?;
            transaction.prepare_cached("DELETE FROM key_destinations WHERE day < ?1 - 1")?.execute([day])?;
            transaction
                .prepare_cached("DELETE FROM key_windows WHERE hour < ?1")?
                .execute([hour - WINDOWS_KEPT_H])?;
            transaction
                .prepare_cached("DELETE FROM key_usage WHERE hour < ?1")?
                .execute([hour - USE_KEPT_H])?;
            Ok(())
        })
        .await
    }

    /// What all keys took of their hours, oldest first.
    pub async fn key_windows(&self) -> Result<Vec<WindowCount>, DbError> {
        self.list(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT key_id, hour, taken FROM key_windows ORDER BY hour")?;
            let mut rows = statement.query([])?;
            let mut windows = Vec::new();
            while let Some(row) = rows.next()? {
                let id =
                    parse(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?, "key_windows.key_id")?;
                windows.push(WindowCount { id, hour: row.get(1)?, taken: row.get(2)? });
            }
            Ok(windows)
        })
        .await
    }

    /// What all keys spent, by day.
    pub async fn key_spending(&self) -> Result<Vec<DayOfSpending>, DbError> {
        self.list(|connection| {
            let mut statement = connection.prepare_cached("SELECT key_id, day, pages FROM key_pages")?;
            let mut numbers = connection.prepare_cached(
                "SELECT to_e164 FROM key_destinations WHERE key_id = ?1 AND day = ?2 ORDER BY to_e164",
            )?;
            let mut rows = statement.query([])?;
            let mut days = Vec::new();
            while let Some(row) = rows.next()? {
                let (id, day): (String, i64) = (row.get(0)?, row.get(1)?);
                let destinations = numbers.query_map(params![id, day], |row| row.get(0))?;
                days.push(DayOfSpending {
                    id: parse(&id, "key_pages.key_id")?,
                    day,
                    pages: row.get(2)?,
                    destinations: destinations.collect::<Result<_, _>>()?,
                });
            }
            Ok(days)
        })
        .await
    }

    /// Whether a fax that took one of these routes was ever dialled to this number, in E.164.
    pub fn was_dialled(&self, to: &str, routes: &[String]) -> Result<bool, DbError> {
        self.point(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM jobs WHERE to_e164 = ?1 AND route = ?2 AND dials > 0)",
            )?;
            for route in routes {
                if statement.query_row([to, route.as_str()], |row| row.get(0))? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Marks a key that stood in an address, in place of an earlier mark, and tells of it.
    pub async fn insert_exposure(&self, exposure: Exposure, event: Event) -> Result<(), DbError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO key_exposures(key_id, seen_at, address) VALUES (?1, ?2, ?3) \
                     ON CONFLICT DO UPDATE SET seen_at = excluded.seen_at, address = excluded.address",
                )?
                .execute(params![
                    exposure.id.to_string(),
                    to_ms(exposure.seen_at),
                    optional(exposure.address.as_ref())
                ])?;
            events::append(transaction, &[event])
        })
        .await
    }

    /// All keys that stood in an address.
    pub async fn exposures(&self) -> Result<Vec<Exposure>, DbError> {
        self.list(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT key_id, seen_at, address FROM key_exposures")?;
            let mut rows = statement.query([])?;
            let mut exposures = Vec::new();
            while let Some(row) = rows.next()? {
                let id =
                    parse(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?, "key_exposures.key_id")?;
                let address: Option<String> = row.get(2)?;
                exposures.push(Exposure {
                    id,
                    seen_at: from_ms(row.get(1)?, "key_exposures.seen_at")?,
                    address: address.map(|text| parse(&text, "key_exposures.address")).transpose()?,
                });
            }
            Ok(exposures)
        })
        .await
    }

    /// What came of a key's requests since this hour (whole hours since 1970), oldest first.
    pub async fn key_use(&self, id: KeyId, since_hour: i64) -> Result<Vec<HourOfUse>, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT hour, outcome, count FROM key_usage WHERE key_id = ?1 AND hour >= ?2 ORDER BY hour",
            )?;
            let mut rows = statement.query(params![id.to_string(), since_hour])?;
            let mut hours = Vec::new();
            while let Some(row) = rows.next()? {
                let outcome =
                    parse(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?, "key_usage.outcome")?;
                let count: i64 = row.get(2)?;
                let count = count.try_into().map_err(|_| DbError::Damaged { what: "key_usage.count" })?;
                hours.push(HourOfUse { id, hour: row.get(0)?, outcome, count });
            }
            Ok(hours)
        })
        .await
    }
}

/// A count that is lower than the stored one comes from before a restart that lost nothing.
fn put_window(transaction: &Transaction<'_>, window: &WindowCount) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO key_windows(key_id, hour, taken) VALUES (?1, ?2, ?3) \
             ON CONFLICT DO UPDATE SET taken = max(taken, excluded.taken)",
        )?
        .execute(params![window.id.to_string(), window.hour, window.taken])?;
    Ok(())
}

fn put_day(transaction: &Transaction<'_>, day: &DayOfSpending) -> Result<(), DbError> {
    let id = day.id.to_string();
    transaction
        .prepare_cached(
            "INSERT INTO key_pages(key_id, day, pages) VALUES (?1, ?2, ?3) \
             ON CONFLICT DO UPDATE SET pages = excluded.pages",
        )?
        .execute(params![id, day.day, day.pages])?;
    let mut statement = transaction.prepare_cached(
        "INSERT INTO key_destinations(key_id, day, to_e164) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?;
    for number in &day.destinations {
        statement.execute(params![id, day.day, number])?;
    }
    Ok(())
}

fn add_use(transaction: &Transaction<'_>, row: &HourOfUse) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO key_usage(key_id, hour, outcome, count) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO UPDATE SET count = count + excluded.count",
        )?
        .execute(params![
            row.id.to_string(),
            row.hour,
            row.outcome.as_str(),
            i64::try_from(row.count).unwrap_or(i64::MAX)
        ])?;
    Ok(())
}
