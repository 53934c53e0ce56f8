//! What the dispatcher asks of the `jobs` table, and what it and the calls write there.
//!
//! Owns: the choice of the next jobs to dial, with the rule of one call per destination. The
//! choice and the move to `dialing` are one transaction on the one writer, so no job is taken
//! twice and no number called twice at once. Every question is answered by an index that holds
//! only jobs of that question.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{by_id, read_all, store};
use crate::db::{Db, DbError, attempts, from_ms, to_ms};
use crate::fax::attempt::{Attempt, CallEnd, Progress};
use crate::fax::job::Job;
use crate::fax::transition::{Moved, Stage};
use crate::id::{AttemptId, JobId};

/// Jobs moved by one write of [`Db::wake_due`] or [`Db::expire_due`]: the writer serves others in
/// between.
const BATCH: u32 = 200;
/// Blocked jobs passed over in one write, for the same reason.
const MOST_PASSED_OVER: u32 = 500;

/// A job taken for a call, with the attempt that records the call.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The job, `dialing` now.
    pub job: Job,
    /// Its new attempt.
    pub attempt: Attempt,
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
    /// When something is to be done next.
    pub fn agenda(&self) -> Result<Agenda, DbError> {
        self.point(|connection| {
            let earliest = |sql: &str| -> Result<Option<Timestamp>, DbError> {
                let ms: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
                ms.map(|ms| from_ms(ms, "jobs times")).transpose()
            };
            Ok(Agenda {
                wake_at: earliest(
                    "SELECT next_try_at FROM jobs WHERE state IN ('scheduled', 'waiting') AND next_try_at NOT NULL \
                     ORDER BY next_try_at LIMIT 1",
                )?,
                deadline_at: earliest(
                    "SELECT deadline_at FROM jobs WHERE state IN ('scheduled', 'preparing', 'queued', 'waiting') \
                     ORDER BY deadline_at LIMIT 1",
                )?,
                lease_until: earliest(
                    "SELECT lease_until FROM jobs WHERE state IN ('dialing', 'sending') AND lease_until NOT NULL \
                     ORDER BY lease_until LIMIT 1",
                )?,
                prepare_at: earliest(
                    "SELECT ifnull(next_try_at, 0) FROM jobs WHERE state = 'preparing' ORDER BY next_try_at LIMIT 1",
                )?,
            })
        })
    }

    /// Whether a job of this route could be dialled now.
    pub fn has_ready(&self, route: &str) -> Result<bool, DbError> {
        self.point(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT 1 FROM jobs WHERE state = 'queued' AND blocked = 0 AND route = ?1 LIMIT 1",
            )?;
            Ok(statement.exists([route])?)
        })
    }

    /// Takes up to `slots` jobs of a route for a call, best rank first and oldest first. A job
    /// whose number is engaged or has an older fax waiting is marked blocked instead.
    pub async fn claim_ready(
        &self,
        route: String,
        mut slots: u32,
        now: Timestamp,
    ) -> Result<Vec<Claim>, DbError> {
        self.write(move |transaction| {
            let (mut claims, mut passed_over) = (Vec::new(), 0);
            // Each candidate leaves the question's index, dialling or blocked, so asking again
            // brings the next ones.
            while slots > 0 && passed_over < MOST_PASSED_OVER {
                let candidates = read_all(
                    transaction,
                    "WHERE state = 'queued' AND blocked = 0 AND route = ?1 ORDER BY rank, seq LIMIT ?2",
                    params![route, slots],
                )?;
                if candidates.is_empty() {
                    break;
                }
                for job in candidates {
                    if is_engaged(transaction, &job)? {
                        transaction
                            .prepare_cached("UPDATE jobs SET blocked = 1 WHERE seq = ?1")?
                            .execute([job.seq])?;
                        passed_over += 1;
                    } else if let Stage::Queued(queued) = Stage::of(job) {
                        let (moved, attempt) = queued.dial(now);
                        store(transaction, &moved)?;
                        attempts::insert(transaction, &attempt)?;
                        slots -= 1;
                        claims.push(Claim { job: moved.into_job(), attempt });
                    }
                }
            }
            Ok(claims)
        })
        .await
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
    /// policy says. [`DbError::Conflict`] when it was closed before.
    pub async fn finish_call(
        &self,
        job: JobId,
        attempt: AttemptId,
        last: Progress,
        end: CallEnd,
        now: Timestamp,
        seed: u64,
    ) -> Result<Job, DbError> {
        self.write(move |transaction| {
            let first_page = attempts::require_open(transaction, attempt)?;
            let Some(Stage::Calling(calling)) = by_id(transaction, job)?.map(Stage::of) else {
                return Err(DbError::Conflict);
            };
            let (moved, outcome) = calling.ended(first_page, &last, end, now, seed);
            store(transaction, &moved)?;
            attempts::add_progress(transaction, attempt, &last)?;
            attempts::close(transaction, attempt, &outcome, now)?;
            Ok(moved.into_job())
        })
        .await
    }

    /// Wakes scheduled and waiting jobs whose time has come, a batch of them; answers whom.
    pub async fn wake_due(&self, now: Timestamp) -> Result<Vec<Moved>, DbError> {
        self.move_batch(
            "WHERE state IN ('scheduled', 'waiting') AND next_try_at <= ?1 ORDER BY next_try_at LIMIT ?2",
            now,
            move |stage| match stage {
                Stage::Sleeping(sleeping) => sleeping.due(now),
                _ => None,
            },
        )
        .await
    }

    /// Gives up jobs whose deadline has passed, a batch of them; answers what became of them.
    pub async fn expire_due(&self, now: Timestamp) -> Result<Vec<Moved>, DbError> {
        self.move_batch(
            "WHERE state IN ('scheduled', 'preparing', 'queued', 'waiting') AND deadline_at <= ?1 \
             ORDER BY deadline_at LIMIT ?2",
            now,
            move |stage| stage.expire(now),
        )
        .await
    }

    /// At most `limit` jobs whose document is to be prepared now, oldest first.
    pub fn to_prepare(&self, limit: u32, now: Timestamp) -> Result<Vec<Job>, DbError> {
        self.point(|connection| {
            read_all(
                connection,
                "WHERE state = 'preparing' AND (next_try_at IS NULL OR next_try_at <= ?1) \
                 ORDER BY next_try_at, seq LIMIT ?2",
                params![to_ms(now), limit],
            )
        })
    }

    async fn move_batch(
        &self,
        which: &'static str,
        now: Timestamp,
        transition: impl Fn(Stage) -> Option<Moved> + Send + 'static,
    ) -> Result<Vec<Moved>, DbError> {
        self.write(move |transaction| {
            let mut all_moved = Vec::new();
            for job in read_all(transaction, which, params![to_ms(now), BATCH])? {
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

/// Whether another fax to the job's number is under way or waiting for its next dial.
fn is_engaged(transaction: &Transaction<'_>, job: &Job) -> Result<bool, DbError> {
    let mut statement = transaction.prepare_cached(
        "SELECT 1 FROM jobs WHERE to_e164 = ?1 AND state IN ('dialing', 'sending', 'waiting') LIMIT 1",
    )?;
    Ok(statement.exists([job.to.as_e164()])?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{new_job, now, open};
    use super::*;
    use crate::fax::job::{Priority, State};
    use crate::fax::outcome::Fault;
    use crate::fax::transition::Acceptance;

    async fn add(db: &Db, to: &str, priority: Priority) -> Job {
        let new = Acceptance { to: to.parse().unwrap(), priority, ..new_job() };
        db.insert_job(crate::fax::transition::accept(new, now()), None).await.unwrap()
    }

    async fn claim(db: &Db, slots: u32) -> Vec<Claim> {
        db.claim_ready("simulator".into(), slots, now()).await.unwrap()
    }

    async fn finish(db: &Db, claim: &Claim, end: CallEnd) -> Job {
        let Claim { job, attempt } = claim;
        db.finish_call(job.id, attempt.id, Progress::default(), end, now(), 1).await.unwrap()
    }

    #[tokio::test]
    async fn best_rank_first_then_oldest_and_only_this_route() {
        let (_folder, db) = open();
        let mut jobs = Vec::new();
        for (n, priority) in
            [Priority::Bulk, Priority::Normal, Priority::High, Priority::Normal].into_iter().enumerate()
        {
            jobs.push(add(&db, &format!("+155500000{n}"), priority).await.id);
        }
        assert!(db.claim_ready("loopback".into(), 9, now()).await.unwrap().is_empty());
        let order: Vec<_> =
            [claim(&db, 3).await, claim(&db, 9).await].concat().iter().map(|c| c.job.id).collect();
        assert_eq!(order, [jobs[2], jobs[1], jobs[3], jobs[0]]);
        assert!(!db.has_ready("simulator").unwrap());
    }

    #[tokio::test]
    async fn one_call_per_number_and_a_sleeper_holds_its_siblings_back() {
        let (_folder, db) = open();
        let first = add(&db, "+15550000001", Priority::Normal).await;
        let second = add(&db, "+15550000001", Priority::Normal).await;
        let third = add(&db, "+15550000001", Priority::High).await;
        let claims = claim(&db, 9).await;
        assert_eq!(claims.iter().map(|claim| claim.job.id).collect::<Vec<_>>(), [third.id]);
        assert!(db.job(first.id).unwrap().unwrap().is_blocked);

        let slept = finish(&db, &claims[0], CallEnd::Failed(Fault::sip(486))).await;
        assert_eq!(slept.state, State::Waiting);
        add(&db, "+15550000001", Priority::High).await;
        assert!(claim(&db, 9).await.is_empty(), "a waiting fax counts");

        let later = slept.next_try_at.unwrap();
        assert_eq!(db.wake_due(later).await.unwrap().len(), 1);
        let claims = claim(&db, 9).await;
        assert_eq!(claims[0].job.id, third.id);
        finish(&db, &claims[0], CallEnd::Failed(Fault::sip(404))).await;
        // Its end frees the number for the best of the others, and for that one alone.
        let next = claim(&db, 9).await;
        assert_eq!(next.len(), 1);
        assert_eq!(next[0].job.priority, Priority::High);
        finish(&db, &next[0], CallEnd::Failed(Fault::sip(404))).await;
        assert_eq!(claim(&db, 9).await[0].job.id, first.id);
        assert!(db.job(second.id).unwrap().unwrap().is_blocked);
    }

    #[tokio::test]
    async fn a_cancelled_fax_frees_its_number() {
        let (_folder, db) = open();
        let first = add(&db, "+15550000001", Priority::Normal).await;
        let second = add(&db, "+15550000001", Priority::Normal).await;
        let claims = claim(&db, 9).await;
        let slept = finish(&db, &claims[0], CallEnd::Failed(Fault::sip(486))).await;
        assert_eq!(slept.id, first.id);
        assert!(claim(&db, 9).await.is_empty());
        db.move_job(first.id, |stage| stage.cancel("a test", now())).await.unwrap().unwrap();
        assert_eq!(claim(&db, 9).await[0].job.id, second.id);
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
            .finish_call(call.job.id, call.attempt.id, Progress::default(), CallEnd::Delivered, now(), 1)
            .await;
        assert!(matches!(late, Err(DbError::Conflict)));
    }

    #[tokio::test]
    async fn the_agenda_names_each_next_time() {
        let (_folder, db) = open();
        assert_eq!(db.agenda().unwrap(), Agenda::default());
        let job = add(&db, "+15550000001", Priority::Normal).await;
        assert_eq!(db.agenda().unwrap(), Agenda { deadline_at: Some(job.deadline_at), ..Agenda::default() });
        let call = claim(&db, 1).await.remove(0);
        assert_eq!(db.agenda().unwrap(), Agenda { lease_until: call.job.lease_until, ..Agenda::default() });
        let slept = finish(&db, &call, CallEnd::Failed(Fault::sip(486))).await;
        let expected =
            Agenda { wake_at: slept.next_try_at, deadline_at: Some(job.deadline_at), ..Agenda::default() };
        assert_eq!(db.agenda().unwrap(), expected);
        assert_eq!(expected.earliest_after(slept.next_try_at.unwrap()), Some(job.deadline_at));
    }
}
