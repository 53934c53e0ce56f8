//! What the dispatcher asks of the `jobs` table, and what it and the calls write there.
//!
//! Owns: when something is due and doing it, and what a call writes from its first report to its end.
//! Every question is answered by an index that holds only jobs of that question. Those of each round name it,
//! because the planner would rather sort all jobs of a state, however many wait.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::accept::held_as_ordered;
use super::{by_id, read_all, store, to_json};
use crate::db::{Db, DbError, attempts, destinations, dialling, from_ms, routes, to_ms};
use crate::fax::attempt::{self, CallEnd, Progress};
use crate::fax::dialling::Dialling;
use crate::fax::health::News;
use crate::fax::job::Job;
use crate::fax::transition::{Moved, Stage};
use crate::id::{AttemptId, JobId};

/// Jobs moved by one write of [`Db::wake_due`] or [`Db::expire_due`]: the writer serves others in
/// between.
const BATCH: u32 = 200;

/// The routes at the end of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Those that could take the fax on, as far as they are in service.
    pub open: Vec<String>,
    /// Those that are taken out of service when their calls fail.
    pub watched: Vec<String>,
}

/// When the dispatcher has something to do next, if nobody calls it before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agenda {
    /// When the next scheduled or waiting job wakes.
    pub wake_at: Option<Timestamp>,
    /// When the next job's deadline passes.
    pub deadline_at: Option<Timestamp>,
    /// When the next call counts as lost, unless it reports.
    pub lease_until: Option<Timestamp>,
    /// When the next document is to be prepared; the epoch for "now".
    pub prepare_at: Option<Timestamp>,
}

impl Agenda {
    /// The earliest of its times that is later than `now`.
    pub fn earliest_after(&self, now: Timestamp) -> Option<Timestamp> {
        let times = [self.wake_at, self.deadline_at, self.lease_until, self.prepare_at];
        times.into_iter().flatten().filter(|at| *at > now).min()
    }
}

impl Db {
    /// When something is to be done next. Of jobs that `dialling` keeps waiting no deadline passes.
    pub fn agenda(&self, dialling: &Dialling) -> Result<Agenda, DbError> {
        self.point(|connection| {
            let earliest = |sql: &str| -> Result<Option<Timestamp>, DbError> {
                let ms: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
                ms.map(|ms| from_ms(ms, "jobs times")).transpose()
            };
            Ok(Agenda {
                wake_at: earliest(
                    "SELECT next_try_at FROM jobs INDEXED BY jobs_asleep \
                     WHERE state IN ('scheduled', 'waiting') AND next_try_at NOT NULL \
                     ORDER BY next_try_at LIMIT 1",
                )?,
                deadline_at: match Running::of(dialling) {
                    Running::None => None,
                    Running::Except(held) => {
                        let ms: Option<i64> = connection
                            .prepare_cached(
                                "SELECT deadline_at FROM jobs INDEXED BY jobs_deadline \
                                 WHERE state IN ('scheduled', 'preparing', 'queued', 'waiting') \
                                 AND (?1 = '[]' OR route NOT IN (SELECT value FROM json_each(?1))) \
                                 ORDER BY deadline_at LIMIT 1",
                            )?
                            .query_row([held], |row| row.get(0))
                            .optional()?;
                        ms.map(|ms| from_ms(ms, "jobs times")).transpose()?
                    }
                },
                lease_until: earliest(
                    "SELECT lease_until FROM jobs INDEXED BY jobs_calling \
                     WHERE state IN ('dialing', 'sending') AND lease_until NOT NULL \
                     ORDER BY lease_until LIMIT 1",
                )?,
                prepare_at: earliest(
                    "SELECT ifnull(next_try_at, 0) FROM jobs INDEXED BY jobs_prepare WHERE state = 'preparing' \
                     ORDER BY next_try_at LIMIT 1",
                )?,
            })
        })
    }

    /// Stores what a call reports. [`DbError::Conflict`] when the call was closed meanwhile.
    pub async fn report_progress(
        &self,
        job: JobId,
        attempt: AttemptId,
        progress: Progress,
        now: Timestamp,
    ) -> Result<Job, DbError> {
        self.write(move |transaction| {
            attempts::require_open(transaction, attempt)?;
            let Some(Stage::Calling(calling)) = by_id(transaction, job)?.map(Stage::of) else {
                return Err(DbError::Conflict);
            };
            let moved = calling.progressed(&progress, now);
            store(transaction, &moved)?;
            attempts::add_progress(transaction, attempt, &progress)?;
            Ok(moved.into_job())
        })
        .await
    }

    /// Closes a call: the attempt with its last progress and outcome, the job with what the retry
    /// policy says, or on its way over the next of its routes that is open; where that is another call, and its key was revoked meanwhile with the order to
    /// hold its faxes, it is held. [`DbError::Conflict`] when it was closed before.
    pub async fn finish_call(
        &self,
        job: JobId,
        attempt: AttemptId,
        last: Progress,
        end: CallEnd,
        now: Timestamp,
        ways: Ways,
    ) -> Result<Job, DbError> {
        self.write(move |transaction| {
            let seed = attempt::seed(attempt);
            let first_page = attempts::require_open(transaction, attempt)?;
            let Some(Stage::Calling(calling)) = by_id(transaction, job)?.map(Stage::of) else {
                return Err(DbError::Conflict);
            };
            let is_held = !dialling::holds(transaction)?.is_empty();
            let is_stranger = is_stranger(transaction, calling.job(), &end, now)?;
            let route = calling.job().route.clone();
            let fault = if let CallEnd::Failed(fault) = &end { Some(fault) } else { None };
            if let Some(news) = News::of(fault).filter(|_| ways.watched.contains(&route)) {
                routes::learn(transaction, &route, news, &calling.job().to, now)?;
            }
            let open = routes::in_service(transaction, ways.open, now)?;
            let calling = calling.while_held(is_held).to_a_stranger(is_stranger).with_open(open);
            let (mut moved, mut outcome) = calling.ended(first_page, &last, end, now, seed);
            if let Some(held) = held_as_ordered(transaction, moved.job())? {
                (moved, outcome) = (held, outcome.held());
            }
            store(transaction, &moved)?;
            attempts::add_progress(transaction, attempt, &last)?;
            attempts::close(transaction, attempt, &outcome, now)?;
            destinations::remember(transaction, moved.job(), attempt, &outcome)?;
            Ok(moved.into_job())
        })
        .await
    }

    /// Wakes scheduled and waiting jobs whose time has come, a batch of them; answers whom.
    pub async fn wake_due(&self, now: Timestamp) -> Result<Vec<Moved>, DbError> {
        self.move_batch(
            move |transaction| {
                let due = "INDEXED BY jobs_asleep WHERE state IN ('scheduled', 'waiting') AND next_try_at <= ?1 \
                     ORDER BY next_try_at LIMIT ?2";
                read_all(transaction, due, params![to_ms(now), BATCH])
            },
            move |stage| match stage {
                Stage::Sleeping(sleeping) => sleeping.due(now),
                _ => None,
            },
        )
        .await
    }

    /// Has the faxes looked at that sleep until hours that may no longer be the same; they give back what
    /// of their deadline was for the rest of that sleep.
    pub async fn wake_for_new_hours(&self, now: Timestamp) -> Result<(), DbError> {
        self.write(move |transaction| {
            let asleep = "UPDATE jobs SET deadline_at = deadline_at - (next_try_at - ?1), next_try_at = ?1, closed_until = ?1 \
                 WHERE state = 'scheduled' AND next_try_at > ?1 AND next_try_at IS NOT schedule_at";
            transaction.execute(asleep, [to_ms(now)])?;
            Ok(())
        })
        .await
    }

    /// Gives up jobs whose deadline has passed, a batch of them, but for those that `dialling` keeps
    /// waiting; answers what became of them.
    pub async fn expire_due(&self, dialling: &Dialling, now: Timestamp) -> Result<Vec<Moved>, DbError> {
        let Running::Except(held) = Running::of(dialling) else { return Ok(Vec::new()) };
        self.move_batch(
            move |transaction| {
                let due = "INDEXED BY jobs_deadline \
                     WHERE state IN ('scheduled', 'preparing', 'queued', 'waiting') AND deadline_at <= ?1 \
                     AND (?3 = '[]' OR route NOT IN (SELECT value FROM json_each(?3))) \
                     ORDER BY deadline_at LIMIT ?2";
                read_all(transaction, due, params![to_ms(now), BATCH, held])
            },
            move |stage| stage.expire(now),
        )
        .await
    }

    /// At most `limit` jobs whose document is to be prepared now, oldest first; of a group one.
    pub fn to_prepare(&self, limit: u32, now: Timestamp) -> Result<Vec<Job>, DbError> {
        self.point(|connection| {
            read_all(
                connection,
                "WHERE state = 'preparing' AND (next_try_at IS NULL OR next_try_at <= ?1) \
                 AND (group_id IS NULL OR seq = (SELECT min(seq) FROM jobs AS others \
                 WHERE others.group_id = jobs.group_id AND others.state = 'preparing')) \
                 ORDER BY next_try_at, seq LIMIT ?2",
                params![to_ms(now), limit],
            )
        })
    }

    async fn move_batch(
        &self,
        which: impl FnOnce(&Transaction<'_>) -> Result<Vec<Job>, DbError> + Send + 'static,
        transition: impl Fn(Stage) -> Option<Moved> + Send + 'static,
    ) -> Result<Vec<Moved>, DbError> {
        self.write(move |transaction| {
            let mut all_moved = Vec::new();
            for job in which(transaction)? {
                if let Some(moved) = transition(Stage::of(job)) {
                    store(transaction, &moved)?;
                    all_moved.push(moved);
                }
            }
            Ok(all_moved)
        })
        .await
    }
}

/// Whether no fax machine is known at the number of a call; only asked where it matters.
fn is_stranger(
    transaction: &Transaction<'_>,
    job: &Job,
    end: &CallEnd,
    now: Timestamp,
) -> Result<bool, DbError> {
    match end {
        CallEnd::Failed(fault) if fault.is_silence() => {
            Ok(!destinations::was_reached(transaction, &job.to, &job.routes, now)?)
        }
        _ => Ok(false),
    }
}

/// Of which jobs the deadlines run.
enum Running {
    /// Of none.
    None,
    /// Of all, but for those of these routes, as a JSON array.
    Except(String),
}

impl Running {
    fn of(dialling: &Dialling) -> Self {
        match (dialling.pause(), dialling.holds.is_empty()) {
            (Some(_), _) => Self::None,
            (None, true) => Self::Except("[]".into()),
            (None, false) => Self::Except(to_json(&dialling.spending)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{add, finish, now, open};
    use super::super::{Claim, RouteRules};
    use super::*;
    use crate::fax::job::{Priority, State};
    use crate::fax::outcome::Fault;

    async fn claim(db: &Db, slots: u32) -> Vec<Claim> {
        db.claim_ready(RouteRules::free("simulator"), slots, now()).await.unwrap().claims
    }

    #[tokio::test]
    async fn a_closed_call_takes_no_more() {
        let (_folder, db) = open();
        add(&db, "+15550000001", Priority::Normal).await;
        let call = claim(&db, 1).await.remove(0);
        let progress = Progress { first_data_at: Some(now()), ..Progress::default() };
        let sending =
            db.report_progress(call.job.id, call.attempt.id, progress.clone(), now()).await.unwrap();
        assert_eq!(sending.state, State::Sending);
        finish(&db, &call, CallEnd::Failed(Fault::t30(49))).await;
        let late = db.report_progress(call.job.id, call.attempt.id, progress, now()).await;
        assert!(matches!(late, Err(DbError::Conflict)));
        let late = db
            .finish_call(
                call.job.id,
                call.attempt.id,
                Progress::default(),
                CallEnd::Delivered,
                now(),
                Ways::default(),
            )
            .await;
        assert!(matches!(late, Err(DbError::Conflict)));
    }

    #[tokio::test]
    async fn the_agenda_names_each_next_time() {
        let (_folder, db) = open();
        assert_eq!(db.agenda(&Dialling::default()).unwrap(), Agenda::default());
        let job = add(&db, "+15550000001", Priority::Normal).await;
        assert_eq!(
            db.agenda(&Dialling::default()).unwrap(),
            Agenda { deadline_at: Some(job.deadline_at), ..Agenda::default() }
        );
        let call = claim(&db, 1).await.remove(0);
        assert_eq!(
            db.agenda(&Dialling::default()).unwrap(),
            Agenda { lease_until: call.job.lease_until, ..Agenda::default() }
        );
        let slept = finish(&db, &call, CallEnd::Failed(Fault::sip(486))).await;
        let expected =
            Agenda { wake_at: slept.next_try_at, deadline_at: Some(job.deadline_at), ..Agenda::default() };
        assert_eq!(db.agenda(&Dialling::default()).unwrap(), expected);
        assert_eq!(expected.earliest_after(slept.next_try_at.unwrap()), Some(job.deadline_at));
    }
}
