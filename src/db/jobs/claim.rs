//! The choice of the next jobs to dial.
//!
//! Owns: who goes first and over which route, with the rule of one call per destination, and the
//! last look at what policy says of a number and whether calls may begin at all. The choice, that
//! look and the move to `dialing` are one transaction on the one writer, so no job is taken twice,
//! no number called twice at once, and none that was closed before.

use std::collections::VecDeque;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{read_all, store};
use crate::db::{Db, DbError, attempts, dialling, policy, routes};
use crate::fax::attempt::Attempt;
use crate::fax::dialling::Cause;
use crate::fax::job::Job;
use crate::fax::number::FaxNumber;
use crate::fax::outcome::Fault;
use crate::fax::policy::{Reach, Settings, Verdict, verdict};
use crate::fax::routing::{self, Obstacle, RouteList, Standing};
use crate::fax::transition::{Moved, Stage};

/// Jobs passed over in one write: the writer serves others in between.
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
    /// Jobs that sleep until their hours, or those of all their routes.
    pub asleep: Vec<Moved>,
    /// Jobs found to be held back by another one to their number.
    pub blocked: u32,
    /// Whether nothing was looked at, because no call may begin.
    pub is_held: bool,
}

impl Claimed {
    /// Whether looking again would find the same.
    pub fn is_nothing(&self) -> bool {
        self.claims.is_empty() && self.refused.is_empty() && self.asleep.is_empty() && self.blocked == 0
    }
}

/// What holds for the calls that may begin now.
#[derive(Clone, Debug)]
pub struct RouteRules {
    /// The routes, with the lines each has free.
    pub routes: Vec<Standing>,
    /// Names of those whose calls cost money.
    pub spending: Vec<String>,
    /// Which numbers have a scripted end on the others.
    pub is_scripted: fn(&FaxNumber) -> bool,
    /// What the configuration says.
    pub settings: Settings,
    /// The time zone of faxes' hours.
    pub zone: TimeZone,
}

impl RouteRules {
    /// The rules of routes that cost nothing, play no scripts and have lines enough.
    pub fn free(routes: &str) -> Self {
        let standing = |name: &str| Standing {
            name: name.into(),
            calls: 0,
            most: u32::MAX,
            is_out: false,
            opens_at: None,
        };
        Self {
            routes: RouteList::from(routes).names().map(standing).collect(),
            spending: Vec::new(),
            is_scripted: |_| false,
            settings: Settings::default(),
            zone: TimeZone::UTC,
        }
    }

    /// What a call to this number would reach over the routes of this list.
    pub fn reach(&self, routes: &RouteList, to: &FaxNumber) -> Reach {
        match (self.spends(routes), (self.is_scripted)(to)) {
            (true, _) => Reach::Line,
            (false, false) => Reach::House,
            (false, true) => Reach::Script,
        }
    }

    /// Whether a call over one of them costs money.
    fn spends(&self, routes: &RouteList) -> bool {
        routes.names().any(|route| self.spending.iter().any(|name| name == route))
    }
}

impl Db {
    /// Whether a job could be dialled now that may take one of these routes, or has to sleep until their
    /// hours.
    pub fn has_ready(&self, mut routes: Vec<Standing>, now: Timestamp) -> Result<bool, DbError> {
        self.point(|connection| {
            routes::mark(connection, &mut routes, now)?;
            Ok(lanes(connection)?.iter().any(|lane| match routing::choose(lane, &routes) {
                Ok(_) => true,
                Err(passed) => opens_at(passed).is_some(),
            }))
        })
    }

    /// Takes up to `slots` jobs for a call, best rank first and oldest first, each over the first
    /// route of its list that has a line free. A job whose number is engaged or has an older fax
    /// waiting is marked blocked instead; one whose number may not be dialled ends; one outside its hours
    /// sleeps until they come.
    pub async fn claim_ready(
        &self,
        mut rules: RouteRules,
        mut slots: u32,
        now: Timestamp,
    ) -> Result<Claimed, DbError> {
        self.write(move |transaction| {
            let mut claimed = Claimed::default();
            let mut ready = Ready::of(lanes(transaction)?);
            routes::mark(transaction, &mut rules.routes, now)?;
            match room(transaction, &rules, &ready, now)? {
                Room::None => return Ok(Claimed { is_held: true, ..claimed }),
                Room::OnlyFree => ready.lanes.retain(|lane| !rules.spends(&lane.routes)),
                Room::Calls(room) => slots = slots.min(room),
            }
            put_to_sleep(transaction, &mut ready, &rules, &mut claimed, now)?;
            let passed_over =
                |claimed: &Claimed| claimed.refused.len() + claimed.asleep.len() + claimed.blocked as usize;
            while slots > 0 && passed_over(&claimed) < MOST_PASSED_OVER as usize {
                let Some((job, route)) = ready.next(transaction, &rules.routes, slots)? else { break };
                let opens_at = job.hours.as_ref().and_then(|hours| hours.opens_at(now, &rules.zone));
                if let (Some(at), Stage::Queued(queued)) = (opens_at, Stage::of(job.clone())) {
                    let moved = queued.outside_hours(at, now);
                    store(transaction, &moved)?;
                    claimed.asleep.push(moved);
                    continue;
                }
                if is_engaged(transaction, &job)? {
                    transaction
                        .prepare_cached("UPDATE jobs SET blocked = 1 WHERE seq = ?1")?
                        .execute([job.seq])?;
                    claimed.blocked += 1;
                    continue;
                }
                let said = policy_says(transaction, &rules, &job)?;
                let Stage::Queued(queued) = Stage::of(job) else { continue };
                if let Verdict::Blocked(block) = said {
                    let moved = queued.refused(Fault::blocked(&block), now);
                    store(transaction, &moved)?;
                    claimed.refused.push(moved);
                    continue;
                }
                let standing = &mut rules.routes[route];
                let (moved, attempt) = queued.dial(&standing.name, now);
                standing.calls += 1;
                store(transaction, &moved)?;
                attempts::insert(transaction, &attempt)?;
                slots -= 1;
                claimed.claims.push(Claim { job: moved.into_job(), attempt });
            }
            Ok(claimed)
        })
        .await
    }
}

/// When the first route of a list opens, where all of them keep their hours.
fn opens_at(passed: Vec<(&str, Obstacle)>) -> Option<Timestamp> {
    routing::opens_at(passed.into_iter().map(|(_, obstacle)| obstacle))
}

/// Puts a batch of jobs to sleep whose routes are all outside their hours.
fn put_to_sleep(
    transaction: &Transaction<'_>,
    ready: &mut Ready,
    rules: &RouteRules,
    claimed: &mut Claimed,
    now: Timestamp,
) -> Result<(), DbError> {
    for lane in &mut ready.lanes {
        let Err(passed) = routing::choose(&lane.routes, &rules.routes) else { continue };
        let Some(at) = opens_at(passed) else { continue };
        lane.first(transaction, MOST_PASSED_OVER)?;
        for job in lane.next.drain(..) {
            let Stage::Queued(queued) = Stage::of(job) else { continue };
            let moved = queued.outside_hours(at, now);
            store(transaction, &moved)?;
            claimed.asleep.push(moved);
        }
    }
    Ok(())
}

/// The lists of routes that jobs have which could be dialled, each once.
fn lanes(connection: &Connection) -> Result<Vec<RouteList>, DbError> {
    // One step in the index for each, however many jobs have it.
    let mut statement = connection.prepare_cached(
        "SELECT lane FROM jobs INDEXED BY jobs_ready WHERE state = 'queued' AND blocked = 0 AND lane > ?1 \
         ORDER BY lane LIMIT 1",
    )?;
    let mut lanes = Vec::<RouteList>::new();
    let mut last = String::new();
    while let Some(lane) = statement.query_row([&last], |row| row.get::<_, String>(0)).optional()? {
        lanes.push(lane.as_str().into());
        last = lane;
    }
    Ok(lanes)
}

/// The jobs that could be dialled, the best of all lists first.
struct Ready {
    lanes: Vec<Lane>,
}

/// Those that have the same list of routes.
struct Lane {
    routes: RouteList,
    /// The best of them, in order.
    next: VecDeque<Job>,
    /// Whether none is left but those.
    is_read: bool,
}

impl Ready {
    fn of(lanes: Vec<RouteList>) -> Self {
        let lane = |routes| Lane { routes, next: VecDeque::new(), is_read: false };
        Self { lanes: lanes.into_iter().map(lane).collect() }
    }

    /// The best job for which a route has a line free, with the place of that route. At most `slots`
    /// are read ahead.
    fn next(
        &mut self,
        transaction: &Transaction<'_>,
        routes: &[Standing],
        slots: u32,
    ) -> Result<Option<(Job, usize)>, DbError> {
        let mut best: Option<((u8, i64), usize, usize)> = None;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let Ok(route) = routing::choose(&lane.routes, routes).map(|choice| choice.index) else {
                continue;
            };
            let Some(job) = lane.first(transaction, slots)? else { continue };
            let place = (job.rank, job.seq);
            if best.is_none_or(|(first, ..)| place < first) {
                best = Some((place, index, route));
            }
        }
        Ok(best.and_then(|(_, lane, route)| Some((self.lanes[lane].next.pop_front()?, route))))
    }
}

impl Lane {
    fn first(&mut self, transaction: &Transaction<'_>, slots: u32) -> Result<Option<&Job>, DbError> {
        if self.next.is_empty() && !self.is_read {
            // What was read before has left the question's index: dialling, blocked or ended.
            let tail = "WHERE state = 'queued' AND blocked = 0 AND lane = ?1 ORDER BY rank, seq LIMIT ?2";
            let limit = slots.min(MOST_PASSED_OVER);
            self.next = read_all(transaction, tail, params![self.routes.to_string(), limit])?.into();
            self.is_read = self.next.len() < limit as usize;
        }
        Ok(self.next.front())
    }
}

/// How many calls may begin.
enum Room {
    /// None: dialling is paused, or a limit is reached that holds all that is ready.
    None,
    /// Those that cost nothing.
    OnlyFree,
    /// So many.
    Calls(u32),
}

/// How many calls may begin now; that a limit is reached is told once.
fn room(
    transaction: &Transaction<'_>,
    rules: &RouteRules,
    ready: &Ready,
    now: Timestamp,
) -> Result<Room, DbError> {
    if dialling::holds(transaction)?.iter().any(|hold| hold.cause == Cause::Paused) {
        return Ok(Room::None);
    }
    let costs = |lane: &Lane| rules.spends(&lane.routes);
    if !ready.lanes.iter().any(costs) {
        return Ok(Room::Calls(u32::MAX));
    }
    let limits = rules.settings.limits;
    match limits.room(dialling::spent(transaction, &rules.spending, now)?, now) {
        Ok(room) => Ok(Room::Calls(room)),
        Err(hold) => {
            if dialling::begin(transaction, &hold, limits.most(hold.cause))? {
                log::warn!("dialling is held: the limit '{}' is reached", hold.cause.as_str());
            }
            Ok(if ready.lanes.iter().all(costs) { Room::None } else { Room::OnlyFree })
        }
    }
}

fn policy_says(transaction: &Transaction<'_>, rules: &RouteRules, job: &Job) -> Result<Verdict, DbError> {
    let about = policy::rules_for(transaction, &job.to)?;
    Ok(verdict(&rules.settings.home, &about, &job.to, rules.reach(&job.routes, &job.to)))
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
    use jiff::SignedDuration;

    use super::super::tests::{add, finish, new_job, now, open};
    use super::*;
    use crate::fax::attempt::CallEnd;
    use crate::fax::hours::Hours;
    use crate::fax::job::{Priority, State};
    use crate::fax::transition::Acceptance;

    async fn claim(db: &Db, slots: u32) -> Vec<Claim> {
        db.claim_ready(RouteRules::free("simulator"), slots, now()).await.unwrap().claims
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
        assert!(!db.has_ready(RouteRules::free("simulator").routes, now()).unwrap());
    }

    #[tokio::test]
    async fn each_takes_the_first_of_its_routes_that_has_a_line() {
        let (_folder, db) = open();
        let lists = ["b", "a, b", "a, b", "a", "a, b", "gone, a"];
        for (n, list) in lists.into_iter().enumerate() {
            let to = format!("+155500000{n}").parse().unwrap();
            let new = Acceptance { to, route: list.into(), ..new_job() };
            db.insert_job(crate::fax::transition::accept(new, now()), None).await.unwrap();
        }
        let rules = |a, b| {
            let mut rules = RouteRules::free("a, b");
            (rules.routes[0].most, rules.routes[1].most) = (a, b);
            rules
        };
        let mut taken = Vec::new();
        for (a, b) in [(1, 2), (0, 1), (1, 0), (1, 0), (9, 9)] {
            let claims = db.claim_ready(rules(a, b), 9, now()).await.unwrap().claims;
            taken.push(
                claims.iter().map(|claim| (claim.job.seq, claim.job.route.clone())).collect::<Vec<_>>(),
            );
        }
        let named = |calls: &[(i64, &str)]| -> Vec<_> {
            calls.iter().map(|(seq, route)| (*seq, (*route).to_owned())).collect()
        };
        // Nobody waits for a line that a later fax could not use either.
        assert_eq!(taken[0], named(&[(1, "b"), (2, "a"), (3, "b")]));
        assert_eq!(taken[1], named(&[(5, "b")]));
        assert_eq!(taken[2], named(&[(4, "a")]));
        assert_eq!(taken[3], named(&[(6, "a")]));
        assert!(taken[4].is_empty());
    }

    #[tokio::test]
    async fn who_is_outside_the_hours_sleeps_and_loses_no_time() {
        let (_folder, db) = open();
        // Noon on a Thursday.
        let night: Hours = "Wk2300-0800,Sat,Sun".parse().unwrap();
        let opens_at = now() + SignedDuration::from_hours(11);
        let add = async |n: u32, list: &str, hours: Option<Hours>| {
            let to = format!("+155500000{n:02}").parse().unwrap();
            let new = Acceptance { to, route: list.into(), hours, ..new_job() };
            db.insert_job(crate::fax::transition::accept(new, now()), None).await.unwrap()
        };
        let own = add(1, "b", Some(night.clone())).await;
        let of_route = add(2, "a", None).await;
        let other = add(3, "a, b", None).await;
        let mut rules = RouteRules::free("a, b");
        rules.routes[0].opens_at = night.opens_at(now(), &rules.zone);
        assert!(db.has_ready(rules.routes.clone(), now()).unwrap());
        let claimed = db.claim_ready(rules.clone(), 9, now()).await.unwrap();
        assert_eq!(claimed.claims.iter().map(|claim| claim.job.id).collect::<Vec<_>>(), [other.id]);
        assert_eq!(claimed.asleep.len(), 2);
        for job in [&own, &of_route] {
            let asleep = db.job(job.id).unwrap().unwrap();
            assert_eq!((asleep.state, asleep.waits_for_hours()), (State::Scheduled, Some(opens_at)));
            assert_eq!(asleep.deadline_at, opens_at + SignedDuration::from_hours(3), "as if it came then");
        }
        assert!(!db.has_ready(rules.routes, now()).unwrap());

        // Hours that change are looked at at once, and cost nothing either.
        let later = now() + SignedDuration::from_hours(1);
        db.wake_for_new_hours(later).await.unwrap();
        assert_eq!(db.wake_due(later).await.unwrap().len(), 2);
        assert_eq!(db.job(of_route.id).unwrap().unwrap().deadline_at, later + SignedDuration::from_hours(3));
        let claimed = db.claim_ready(RouteRules::free("a, b"), 9, later).await.unwrap();
        assert_eq!((claimed.claims.len(), claimed.asleep.len()), (1, 1));
        assert_eq!(claimed.claims[0].job.id, of_route.id);
        assert_eq!(db.wake_due(opens_at).await.unwrap().len(), 1);
        let claimed = db.claim_ready(RouteRules::free("a, b"), 9, opens_at).await.unwrap();
        assert_eq!(claimed.claims[0].job.id, own.id);
    }

    #[tokio::test]
    async fn time_outside_the_hours_is_added_once() {
        let (_folder, db) = open();
        let hour = SignedDuration::from_hours(1);
        let hours = Some("Any2300-0800".parse().unwrap());
        let new = crate::fax::transition::accept(Acceptance { hours, ..new_job() }, now());
        let id = db.insert_job(new, None).await.unwrap().id;
        let sleep = async |at| {
            let claimed = db.claim_ready(RouteRules::free("simulator"), 9, at).await.unwrap();
            assert_eq!(claimed.asleep.len(), 1);
        };
        let deadline = || db.job(id).unwrap().unwrap().deadline_at;
        let opens_at = now() + hour * 11;
        sleep(now()).await;
        assert_eq!(deadline(), opens_at + hour * 3);
        // Somebody holds it, and lets it go.
        db.move_job(id, move |stage| stage.hold(now() + hour).ok_or(())).await.unwrap().unwrap();
        db.move_job(id, move |stage| stage.release(now() + hour * 2)).await.unwrap().unwrap();
        sleep(now() + hour * 2).await;
        assert_eq!(deadline(), opens_at + hour * 3);
        // The appliance is down, until before the hours and into them.
        db.beat(now() + hour * 3).await.unwrap();
        db.resume_after_downtime(Vec::new(), now() + hour * 4).await.unwrap();
        assert_eq!(deadline(), opens_at + hour * 3);
        db.resume_after_downtime(Vec::new(), opens_at + hour).await.unwrap();
        assert_eq!(deadline(), opens_at + hour * 4);
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
}
