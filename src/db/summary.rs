//! What a day looks like at a glance, and which faxes need a person.
//!
//! Owns: counts that cost the same in a full appliance as in a new one. What is open comes from
//! `job_counts`, what ended from an index over the ends, and what needs a person from indexes that
//! hold nothing else; lists are cut at a few rows. The table `settled_faxes` says which failures
//! somebody has seen to. Refuses: to name what was sent.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::jobs::{by_id, read_all};
use super::{Db, DbError, from_ms, optional, to_ms};
use crate::fax::job::{Job, State};
use crate::id::{AccountId, JobId};

/// Failures counted at most; more are "so many and more".
const MOST_COUNTED: u32 = 1000;
/// The states of faxes that did not arrive, or not all of it; the index has the same words.
const UNSERVED: &str = "state IN ('failed', 'partial', 'expired')";
/// Of those, what nobody has seen to: not marked as settled, and not sent again.
const NOT_SETTLED: &str = "NOT EXISTS (SELECT 1 FROM settled_faxes WHERE job_id = jobs.id) \
     AND NOT EXISTS (SELECT 1 FROM jobs AS again WHERE again.resend_of = jobs.id)";

/// How the faxes of a span ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Every page arrived.
    pub delivered: u64,
    /// Of those, in the first call.
    pub at_first_try: u64,
    /// Pages that arrived, of all faxes.
    pub pages: u64,
    /// Some pages arrived.
    pub partial: u64,
    /// No page arrived.
    pub failed: u64,
    /// The deadline passed.
    pub expired: u64,
    /// Somebody cancelled.
    pub cancelled: u64,
}

/// How many faxes are where on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Held until somebody lets them go.
    pub held: u64,
    /// Their send time has not come.
    pub scheduled: u64,
    /// Ready, being prepared, or between two calls.
    pub waiting: u64,
    /// Being called.
    pub under_way: u64,
}

/// Received faxes of a span, and those nobody has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Faxes received in the span.
    pub faxes: u64,
    /// Their pages.
    pub pages: u64,
    /// Unread ones, however old.
    pub unread: u64,
}

/// Some faxes, and how many there are of their kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SomeFaxes {
    /// How many; [`Db::unsettled`] stops at a thousand.
    pub count: u64,
    /// The newest few.
    pub newest: Vec<Job>,
}

/// Deliveries a webhook has given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// The webhook's id.
    pub webhook: String,
    /// Its name.
    pub name: String,
    /// How many, a thousand at most.
    pub deliveries: u64,
}

impl Db {
    /// How faxes ended that ended at `since` or later; of this account, or of all.
    pub async fn ended_since(&self, since: Timestamp, owner: Option<AccountId>) -> Result<Ended, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT state, count(*), sum(attempts <= 1), sum(confirmed_pages) FROM jobs \
                 INDEXED BY jobs_ended WHERE final_at >= ?1 AND final_at IS NOT NULL AND (?2 IS NULL OR owner_id = ?2) GROUP BY state",
            )?;
            let mut rows = statement.query(params![to_ms(since), optional(owner.as_ref())])?;
            let mut ended = Ended::default();
            while let Some(row) = rows.next()? {
                let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
                let count = number(1)?;
                ended.pages += number(3)?;
                match row.get_ref(0)?.as_str().unwrap_or_default() {
                    "delivered" => (ended.delivered, ended.at_first_try) = (count, number(2)?),
                    "partial" => ended.partial = count,
                    "failed" => ended.failed = count,
                    "expired" => ended.expired = count,
                    _ => ended.cancelled += count,
                }
            }
            Ok(ended)
        })
        .await
    }

    /// How many faxes have not ended; of this account, or of all.
    pub async fn open_faxes(&self, owner: Option<AccountId>) -> Result<Open, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT state, sum(jobs) FROM job_counts WHERE state IN \
                 ('held', 'scheduled', 'preparing', 'queued', 'dialing', 'sending', 'waiting') \
                 AND (?1 IS NULL OR owner_id = ?1) GROUP BY state",
            )?;
            let mut rows = statement.query([optional(owner.as_ref())])?;
            let mut open = Open::default();
            while let Some(row) = rows.next()? {
                let count = row.get::<_, i64>(1)?.unsigned_abs();
                match row.get_ref(0)?.as_str().unwrap_or_default() {
                    "held" => open.held += count,
                    "scheduled" => open.scheduled += count,
                    "dialing" | "sending" => open.under_way += count,
                    _ => open.waiting += count,
                }
            }
            Ok(open)
        })
        .await
    }

    /// Faxes received at `since` or later, and all unread ones.
    pub async fn received_since(&self, since: Timestamp) -> Result<Received, DbError> {
        self.list(move |connection| {
            let (faxes, pages): (i64, i64) = connection
                .prepare_cached(
                    "SELECT count(*), ifnull(sum(pages), 0) FROM inbound WHERE received_at >= ?1",
                )?
                .query_row([to_ms(since)], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let unread: i64 = connection
                .prepare_cached("SELECT count(*) FROM inbound WHERE read_at IS NULL")?
                .query_row([], |row| row.get(0))?;
            Ok(Received {
                faxes: faxes.unsigned_abs(),
                pages: pages.unsigned_abs(),
                unread: unread.unsigned_abs(),
            })
        })
        .await
    }

    /// Faxes that somebody has to let go, the newest first.
    pub async fn held_faxes(&self, owner: Option<AccountId>, limit: u32) -> Result<Vec<Job>, DbError> {
        self.list(move |connection| {
            read_all(
                connection,
                "WHERE state = 'held' AND (?1 IS NULL OR owner_id = ?1) ORDER BY seq DESC LIMIT ?2",
                params![optional(owner.as_ref()), limit],
            )
        })
        .await
    }

    /// Faxes that ended at `since` or later without arriving whole and that nobody has seen to, the
    /// newest first.
    pub async fn unsettled(
        &self,
        since: Timestamp,
        owner: Option<AccountId>,
        limit: u32,
    ) -> Result<SomeFaxes, DbError> {
        self.list(move |connection| {
            // Left to itself, SQLite walks through all failures there ever were.
            let which = format!(
                "INDEXED BY jobs_unserved WHERE {UNSERVED} AND final_at >= :since AND (:owner IS NULL OR owner_id = :owner) AND {NOT_SETTLED}"
            );
            let (since, owner) = (to_ms(since), optional(owner.as_ref()));
            let counted = connection
                .prepare_cached(&format!("SELECT count(*) FROM (SELECT 1 FROM jobs {which} LIMIT :limit)"))?
                .query_row(named_params! {":since": since, ":owner": owner, ":limit": MOST_COUNTED}, |row| {
                    row.get::<_, i64>(0)
                })?;
            let newest = read_all(
                connection,
                &format!("{which} ORDER BY final_at DESC LIMIT :limit"),
                named_params! {":since": since, ":owner": owner, ":limit": limit},
            )?;
            Ok(SomeFaxes { count: counted.unsigned_abs(), newest })
        })
        .await
    }

    /// Webhooks with deliveries that were given up.
    pub async fn given_up(&self) -> Result<Vec<GivenUp>, DbError> {
        self.list(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, name, (SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries \
                 INDEXED BY webhook_deliveries_dead WHERE webhook_id = webhooks.id AND state = 'dead' LIMIT ?1)) \
                 AS dead FROM webhooks WHERE dead > 0 ORDER BY created_at",
            )?;
            let mut rows = statement.query([MOST_COUNTED])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let deliveries = row.get::<_, i64>(2)?.unsigned_abs();
                found.push(GivenUp { webhook: row.get(0)?, name: row.get(1)?, deliveries });
            }
            Ok(found)
        })
        .await
    }

    /// Notes that somebody has seen to a fax that did not arrive; twice changes nothing. The answer
    /// is its state, of one that is not there nothing, and only one that ended is noted.
    pub async fn settle_fax(&self, id: JobId, by: String, now: Timestamp) -> Result<Option<State>, DbError> {
        self.write(move |transaction| {
            let Some(job) = by_id(transaction, id)? else { return Ok(None) };
            if job.state.is_final() {
                transaction
                    .prepare_cached(
                        "INSERT INTO settled_faxes(job_id, at, by) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![id.to_string(), to_ms(now), by])?;
            }
            Ok(Some(job.state))
        })
        .await
    }

    /// Since when the log has been known to be damaged, if that was noticed while writing to it and
    /// nobody has taken note of it.
    pub fn audit_broken_at(&self) -> Result<Option<Timestamp>, DbError> {
        self.point(|connection| {
            let newest = |action: &str| newest_audit(connection, action);
            let (broken, accepted) = (newest("audit.broken")?, newest("audit.damage_accepted")?);
            match broken {
                Some((seq, at)) if accepted.is_none_or(|(taken, _)| taken < seq) => {
                    from_ms(at, "audit.at").map(Some)
                }
                _ => Ok(None),
            }
        })
    }
}

fn newest_audit(connection: &Connection, action: &str) -> Result<Option<(i64, i64)>, DbError> {
    Ok(connection
        .prepare_cached("SELECT seq, at FROM audit WHERE action = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([action], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}
