//! What the dispatcher asks of the `jobs` table, and what it and the calls write there.
//!
//! Owns: the choice of the next jobs to dial, with the rule of one call per destination, and the
//! last look at what policy says of a number and whether calls may begin at all. The choice, that
//! look and the move to `dialing` are one transaction on the one writer, so no job is taken twice,
//! no number called twice at once, and none that was closed before. Every question is answered by an
//! index that holds only jobs of that question.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::accept::held_as_ordered;
use super::{by_id, read_all, store, to_json};
use crate::db::{Db, DbError, attempts, destinations, dialling, from_ms, policy, to_ms};
use crate::fax::attempt::{Attempt, CallEnd, Progress};
use crate::fax::dialling::{Cause, Dialling};
use crate::fax::job::Job;
use crate::fax::number::FaxNumber;
use crate::fax::outcome::Fault;
use crate::fax::policy::{Reach, Settings, Verdict, verdict};
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

/// What came of looking for jobs to dial.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// Jobs taken for a call.
    pub claims: Vec<Claim>,
    /// Jobs that ended, because their numbers may not be dialled any more.
    pub refused: Vec<Moved>,
    /// Whether nothing was looked at, because no call may begin.
    pub is_held: bool,
}

/// What holds for the calls of one route.
#[derive(Clone, Debug)]
pub struct RouteRules {
    /// Its name.
    pub route: &'static str,
    /// Whether its calls cost money.
    pub spends: bool,
    /// Which numbers have a scripted end on it.
    pub is_scripted: fn(&FaxNumber) -> bool,
    /// The names of all routes whose calls cost money.
    pub spending: Vec<&'static str>,
    /// What the configuration says.
    pub settings: Settings,
}

impl RouteRules {
    /// The rules of a route that costs nothing and plays no scripts.
    pub fn free(route: &'static str) -> Self {
        Self {
            route,
            spends: false,
            is_scripted: |_| false,
            spending: Vec::new(),
            settings: Settings::default(),
        }
    }

    /// What a call to this number would reach.
    pub fn reach(&self, to: &FaxNumber) -> Reach {
        match (self.spends, (self.is_scripted)(to)) {
            (true, _) => Reach::Line,
            (false, false) => Reach::House,
            (false, true) => Reach::Script,
        }
    }
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
                    "SELECT next_try_at FROM jobs WHERE state IN ('scheduled', 'waiting') AND next_try_at NOT NULL \
                     ORDER BY next_try_at LIMIT 1",
                )?,
                deadline_at: match Running::of(dialling) {
                    Running::None => None,
                    Running::Except(held) => {
                        let ms: Option<i64> = connection
                            .prepare_cached(
                                "SELECT deadline_at FROM jobs \
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
    /// whose number is engaged or has an older fax waiting is marked blocked instead; one whose
    /// number may not be dialled ends.
    pub async fn claim_ready(
        &self,
        rules: RouteRules,
        mut slots: u32,
        now: Timestamp,
    ) -> Result<Claimed, DbError> {
        self.write(move |transaction| {
            let (mut claimed, mut passed_over) = (Claimed::default(), 0);
            match room(transaction, &rules, now)? {
                Some(room) => slots = slots.min(room),
                None => return Ok(Claimed { is_held: true, ..claimed }),
            }
            // Each candidate leaves the question's index, dialling, blocked or ended, so asking again
            // brings the next ones.
            while slots > 0 && passed_over < MOST_PASSED_OVER {
                let candidates = read_all(
                    transaction,
                    "WHERE state = 'queued' AND blocked = 0 AND route = ?1 ORDER BY rank, seq LIMIT ?2",
                    params![rules.route, slots],
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
                        continue;
                    }
                    let said = policy_says(transaction, &rules, &job.to)?;
                    let Stage::Queued(queued) = Stage::of(job) else { continue };
                    if let Verdict::Blocked(block) = said {
                        let moved = queued.refused(Fault::blocked(&block), now);
                        store(transaction, &moved)?;
                        passed_over += 1;
                        claimed.refused.push(moved);
                        continue;
                    }
                    let (moved, attempt) = queued.dial(now);
                    store(transaction, &moved)?;
                    attempts::insert(transaction, &attempt)?;
                    slots -= 1;
                    claimed.claims.push(Claim { job: moved.into_job(), attempt });
                }
            }
            Ok(claimed)
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
    /// policy says; where that is another call, and its key was revoked meanwhile with the order to
    /// hold its faxes, it is held. [`DbError::Conflict`] when it was closed before.
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
            let is_held = !dialling::holds(transaction)?.is_empty();
            let is_stranger = is_stranger(transaction, calling.job(), &end, now)?;
            let calling = calling.while_held(is_held).to_a_stranger(is_stranger);
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
                let due = "WHERE state IN ('scheduled', 'waiting') AND next_try_at <= ?1 \
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

    /// Gives up jobs whose deadline has passed, a batch of them, but for those that `dialling` keeps
    /// waiting; answers what became of them.
    pub async fn expire_due(&self, dialling: &Dialling, now: Timestamp) -> Result<Vec<Moved>, DbError> {
        let Running::Except(held) = Running::of(dialling) else { return Ok(Vec::new()) };
        self.move_batch(
            move |transaction| {
                let due = "WHERE state IN ('scheduled', 'preparing', 'queued', 'waiting') AND deadline_at <= ?1 \
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
            Ok(!destinations::was_reached(transaction, &job.to, &job.route, now)?)
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

/// How many calls of a route may begin now; `None`, and told once, when none may.
fn room(transaction: &Transaction<'_>, rules: &RouteRules, now: Timestamp) -> Result<Option<u32>, DbError> {
    if dialling::holds(transaction)?.iter().any(|hold| hold.cause == Cause::Paused) {
        return Ok(None);
    }
    if !rules.spends {
        return Ok(Some(u32::MAX));
    }
    let limits = rules.settings.limits;
    match limits.room(dialling::spent(transaction, &rules.spending, now)?, now) {
        Ok(room) => Ok(Some(room)),
        Err(hold) => {
            if dialling::begin(transaction, &hold, limits.most(hold.cause))? {
                log::warn!("dialling is held: the limit '{}' is reached", hold.cause.as_str());
            }
            Ok(None)
        }
    }
}

fn policy_says(
    transaction: &Transaction<'_>,
    rules: &RouteRules,
    to: &FaxNumber,
) -> Result<Verdict, DbError> {
    let about = policy::rules_for(transaction, to)?;
    Ok(verdict(&rules.settings.home, &about, to, rules.reach(to)))
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
    use crate::fax::transition::Acceptance;

    async fn add(db: &Db, to: &str, priority: Priority) -> Job {
        let new = Acceptance { to: to.parse().unwrap(), priority, ..new_job() };
        db.insert_job(crate::fax::transition::accept(new, now()), None).await.unwrap()
    }

    async fn claim(db: &Db, slots: u32) -> Vec<Claim> {
        db.claim_ready(RouteRules::free("simulator"), slots, now()).await.unwrap().claims
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
        assert!(db.claim_ready(RouteRules::free("loopback"), 9, now()).await.unwrap().claims.is_empty());
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
    async fn a_fax_that_gets_another_number_or_time_frees_the_one_it_had() {
        use crate::access::audit::{Action, Context};
        use crate::fax::transition::Alteration;
        let later = now() + jiff::SignedDuration::from_hours(1);
        let elsewhere = Alteration {
            to: Some((String::new(), "+15550000002".parse().unwrap())),
            ..Alteration::default()
        };
        let tomorrow = Alteration { schedule_at: Some(Some(later)), ..Alteration::default() };
        for change in [elsewhere, tomorrow] {
            let (_folder, db) = open();
            let first = add(&db, "+15550000001", Priority::Normal).await;
            let second = add(&db, "+15550000001", Priority::Normal).await;
            let call = claim(&db, 9).await.remove(0);
            finish(&db, &call, CallEnd::Failed(Fault::sip(486))).await;
            assert!(claim(&db, 9).await.is_empty(), "the first one waits, and the second one with it");
            let event = Context::system().event(Action::FaxAltered, first.id, now());
            let moved = db.audited(event).alter_job(first.id, change, now()).await.unwrap().unwrap();
            assert_eq!(db.job(first.id).unwrap().as_ref(), Some(moved.job()));
            let claims: Vec<_> = claim(&db, 9).await.into_iter().map(|claim| claim.job.id).collect();
            assert!(claims.contains(&second.id));
            assert_eq!(claims.contains(&first.id), moved.job().state == State::Queued);
        }
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
