//! The `events` table: what happened, in order.
//!
//! Owns: appending to it, reading it after a place, and calling who waits for more of it. Refuses:
//! an event without the change it tells of; [`append`] takes the transaction of that change.
//!
//! Invariant: who reads on after the last place they saw misses nothing. Places are given out
//! inside the transactions of the one writer thread, one after the other, so that whoever sees a
//! place sees every earlier one there will ever be; none is given out twice.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;
use rusqlite::{Connection, Row, Rows, Transaction, params};
use serde_json::Value;

use super::{Db, DbError, from_ms, parse, to_ms};
use crate::clock::Wake;
use crate::fax::alert;
use crate::fax::event::{Event, EventFilter};

/// Events one reading looks at, wanted or not, so that who may see little costs little.
const LOOKED_AT: u32 = 5000;

/// An event with its place in the order of the world.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedEvent {
    /// Its place; grows, with gaps.
    pub seq: i64,
    /// The event.
    pub event: Event,
}

/// Some consecutive events of those that somebody gets.
#[derive(Debug)]
pub struct EventPage {
    /// The events, in order.
    pub events: Vec<LoggedEvent>,
    /// The place up to which all were looked at; read on after it.
    pub next: i64,
    /// Whether that was the end of the log at the moment of reading.
    pub is_end: bool,
}

/// Who waits for the log to grow.
#[derive(Debug, Default)]
pub(super) struct News {
    newest: AtomicI64,
    waiting: Mutex<Vec<Weak<Wake>>>,
}

impl News {
    pub(super) fn of(connection: &Connection) -> Result<Self, DbError> {
        Ok(Self { newest: AtomicI64::new(newest(connection)?), waiting: Mutex::default() })
    }

    /// Calls who waits, if events were among what was just committed.
    pub(super) fn committed(&self, connection: &Connection) {
        match newest(connection) {
            Ok(newest) if self.newest.swap(newest, Ordering::AcqRel) == newest => return,
            // Called for nothing, they look and wait on.
            Ok(_) | Err(_) => {}
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|wake| wake.upgrade().inspect(|wake| wake.call()).is_some());
    }
}

fn newest(connection: &Connection) -> Result<i64, DbError> {
    // Of the sequence, not of the rows: those may all have been deleted.
    let mut statement = connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'events'")?;
    let newest = statement.query_map([], |row| row.get(0))?.next().transpose()?;
    Ok(newest.unwrap_or(0))
}

impl Db {
    /// The place of the last event on disk; 0 when there was none yet.
    pub fn newest_event(&self) -> i64 {
        self.news.newest.load(Ordering::Acquire)
    }

    /// Has `wake` called whenever events were stored, until it is dropped.
    pub fn call_on_events(&self, wake: &Arc<Wake>) {
        self.news.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(wake));
    }

    /// At most `limit` events after place `after` that `filter` takes; 0 is the beginning. May be
    /// empty before the end of the log, since a reading looks at a bounded number of events.
    pub async fn events_page(
        &self,
        filter: EventFilter,
        after: i64,
        limit: usize,
    ) -> Result<EventPage, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, at, type, subject, data, owner_id FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let mut rows = statement.query(params![after, LOOKED_AT])?;
            let mut page = EventPage { events: Vec::new(), next: after, is_end: true };
            let mut looked_at = 0;
            while let Some(row) = rows.next()? {
                let owner = row.get_ref(5)?.as_str_or_null().map_err(rusqlite::Error::from)?;
                let owner = owner.map(|id| parse(id, "events.owner_id")).transpose()?;
                if filter.takes(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?, owner) {
                    page.events.push(read(row)?);
                }
                page.next = row.get(0)?;
                looked_at += 1;
                if looked_at == LOOKED_AT || page.events.len() == limit {
                    page.is_end = false;
                    break;
                }
            }
            Ok(page)
        })
        .await
    }

    /// At most `limit` events after place `after`, in order; 0 is the beginning.
    pub async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<LoggedEvent>, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, at, type, subject, data FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            read_all(statement.query(params![after, limit])?)
        })
        .await
    }

    /// At most `limit` events about a subject before place `before`, newest first.
    pub async fn events_about(
        &self,
        subject: String,
        before: i64,
        limit: u32,
    ) -> Result<Vec<LoggedEvent>, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, at, type, subject, data FROM events WHERE subject = ?1 AND seq < ?2 \
                 ORDER BY seq DESC LIMIT ?3",
            )?;
            read_all(statement.query(params![subject, before, limit])?)
        })
        .await
    }
}

/// The event at this place, if it is still in the log.
pub(super) fn event_at(connection: &Connection, seq: i64) -> Result<Option<LoggedEvent>, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT seq, at, type, subject, data FROM events WHERE seq = ?1")?;
    let mut rows = statement.query([seq])?;
    rows.next()?.map(read).transpose()
}

/// The next events after place `after` that may call for a person, at most `limit`, in order.
pub(super) fn alerts_after(
    connection: &Connection,
    after: i64,
    limit: u32,
) -> Result<Vec<LoggedEvent>, DbError> {
    let types = alert::TYPES.map(|kind| format!("'{kind}'")).join(", ");
    let mut statement = connection.prepare_cached(&format!(
        "SELECT seq, at, type, subject, data FROM events INDEXED BY events_alerts \
         WHERE type IN ({types}) AND seq > ?1 ORDER BY seq LIMIT ?2"
    ))?;
    read_all(statement.query(params![after, limit])?)
}

fn read_all(mut rows: Rows<'_>) -> Result<Vec<LoggedEvent>, DbError> {
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(read(row)?);
    }
    Ok(events)
}

fn read(row: &Row<'_>) -> Result<LoggedEvent, DbError> {
    let data = row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?;
    let data: Value = serde_json::from_str(data).map_err(|_| DbError::Damaged { what: "events.data" })?;
    let at: Timestamp = from_ms(row.get(1)?, "events.at")?;
    let event = Event { at, kind: row.get(2)?, subject: row.get(3)?, data };
    Ok(LoggedEvent { seq: row.get(0)?, event })
}

pub(super) fn append(transaction: &Transaction<'_>, events: &[Event]) -> Result<(), DbError> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO events(at, type, subject, data, owner_id) VALUES (?1, ?2, ?3, ?4, CASE \
         WHEN ?3 LIKE 'key:%' THEN (SELECT owner_id FROM api_keys WHERE id = substr(?3, 5)) \
         WHEN ?3 LIKE 'account:%' THEN substr(?3, 9) \
         WHEN ?3 LIKE 'group:%' THEN (SELECT owner_id FROM fax_groups WHERE id = substr(?3, 7)) \
         ELSE (SELECT owner_id FROM jobs WHERE id = ?3) END)",
    )?;
    for event in events {
        statement.execute(params![to_ms(event.at), event.kind, event.subject, event.data.to_string()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn event(n: i64) -> Event {
        let at = Timestamp::UNIX_EPOCH;
        Event { at, kind: "inbound.received".into(), subject: n.to_string(), data: serde_json::json!({}) }
    }

    /// Appends an event, and takes it back if told so.
    async fn store(db: &Db, n: i64, is_kept: bool) {
        let stored = db.write(move |transaction| {
            append(transaction, &[event(n)])?;
            if is_kept { Ok(()) } else { Err(DbError::Conflict) }
        });
        assert_eq!(stored.await.is_ok(), is_kept);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_reads_on_after_the_last_place_misses_nothing() {
        const WRITERS: i64 = 8;
        const EACH: i64 = 200;
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&crate::db::file_in(folder.path())).unwrap();
        let wake = Arc::new(Wake::new(&Clock::System));
        db.call_on_events(&wake);
        for writer in 0..WRITERS {
            let db = db.clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    store(&db, writer * EACH + n, n % 5 != 4).await;
                }
            });
        }
        let kept = (WRITERS * EACH / 5 * 4) as usize;
        let (mut seen, mut place) = (Vec::new(), 0);
        let mut work = Clock::System.work();
        while seen.len() < kept {
            let page = db.events_page(EventFilter::everything(Vec::new()), place, 7).await.unwrap();
            seen.extend(page.events);
            if page.is_end && page.next == place {
                work.wait_for(&wake, None).await;
            }
            place = page.next;
        }
        assert!(seen == db.events_after(0, 10_000).await.unwrap());
        assert_eq!(db.newest_event(), place);
    }

    #[tokio::test]
    async fn who_may_see_nothing_gets_to_the_end_in_bounded_steps() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&crate::db::file_in(folder.path())).unwrap();
        let many = i64::from(LOOKED_AT) + 10;
        db.write(move |transaction| (0..many).try_for_each(|n| append(transaction, &[event(n)])))
            .await
            .unwrap();
        let first = db.events_page(EventFilter::default(), 0, 10).await.unwrap();
        assert_eq!((first.events.len(), first.next, first.is_end), (0, LOOKED_AT.into(), false));
        let second = db.events_page(EventFilter::default(), first.next, 10).await.unwrap();
        assert_eq!((second.events.len(), second.next, second.is_end), (0, many, true));
    }
}
