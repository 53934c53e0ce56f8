//! Histories of a queue, made up from a seed and played against the real database beside a small
//! model of what should come out.
//!
//! Each step is one transaction of the product, so a crash between any two steps is a crash at every
//! point: whatever the process knew is forgotten, and the next start closes what was open. After
//! each step everything that must always hold is looked at, and at the end everything has to come
//! to an end. A failing history prints its seed: `PAGEWIRE_SEED=… cargo test model` plays it alone;
//! `PAGEWIRE_HISTORIES` says how many are played.

#[path = "manual.rs"]
mod manual;

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::admin;
use crate::access::audit::Action;
use crate::db::Db;
use crate::db::jobs::{Claim, RouteRules, Ways};
use crate::fax::attempt::{CallEnd, PageConfirmation, Progress};
use crate::fax::dialling::Dialling;
use crate::fax::hours::Hours;
use crate::fax::job::{Job, Priority, State};
use crate::fax::outcome::{Class, Fault};
use crate::fax::routing::Standing;
use crate::fax::transition::{self, Acceptance, Alteration, Content};
use crate::id::{AccountId, AttemptId, DocumentId, JobId};
use crate::queue::recover::verdict;
use crate::route::Settled;
use crate::secret::Secret;

/// Hours that faxes may have.
const HOURS: [&str; 3] = ["Any0600-1400", "Any1300-2400", "Any2200-0700"];
const HISTORIES: u64 = 150;
const STEPS: u32 = 60;

/// Endings a call may have beside a delivery.
const CLASSES: [Class; 17] = [
    Class::Busy,
    Class::Busy,
    Class::NoAnswer,
    Class::HumanOrVoice,
    Class::NumberBad,
    Class::RejectedRemote,
    Class::Network,
    Class::TrunkAuth,
    Class::NoLine,
    Class::TrainingFailed,
    Class::RemoteHungUp,
    Class::PageNotConfirmed,
    Class::MediaLost,
    Class::Incompatible,
    Class::OtherStation,
    Class::Provider,
    Class::UnknownOutcome,
];

/// What the model knows of a fax: rules as the manual has them, in as few words as possible.
struct Fax {
    seen: Job,
    calls: u32,
    dials: u32,
    tries: u32,
    fruitless: u32,
    people: u32,
    /// Routes that failed in this try.
    failed: Vec<String>,
}

/// A call that this process attends to.
#[derive(Clone)]
struct Call {
    attempt: AttemptId,
    first_page: u32,
    has_data: bool,
}

/// What the model knows of a route.
#[derive(Default)]
struct Route {
    /// Numbers of the calls that failed in a row.
    failed_at: Vec<String>,
    probes: usize,
    next_probe_at: Option<Timestamp>,
}

struct World {
    db: Db,
    /// Names of its two routes, its own like its numbers.
    names: [String; 2],
    routes: HashMap<String, Route>,
    random: StdRng,
    now: Timestamp,
    numbers: Vec<String>,
    faxes: HashMap<JobId, Fax>,
    order: Vec<JobId>,
    calls: HashMap<JobId, Call>,
}

/// Tells the seed of the history that failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this history again: PAGEWIRE_SEED={} cargo test queue::tests::model", self.0);
        }
    }
}

impl World {
    fn new(db: Db, seed: u64) -> Self {
        // Numbers of its own, so that histories share a database and not a queue.
        let numbers = (0..3).map(|n| format!("+1555{:07}", (seed * 3 + n) % 10_000_000)).collect();
        let names = [format!("a{seed}"), format!("b{seed}")];
        Self {
            db,
            routes: names.clone().map(|route| (route, Route::default())).into(),
            names,
            random: StdRng::seed_from_u64(seed),
            now: "2026-01-01T12:00:00Z".parse().unwrap(),
            numbers,
            faxes: HashMap::new(),
            order: Vec::new(),
            calls: HashMap::new(),
        }
    }

    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..16 => self.submit().await,
            16..36 => self.dial().await,
            36..54 => self.progress().await,
            54..72 => self.end().await,
            72..76 => self.cancel().await,
            76..80 => self.hold_or_release().await,
            80..84 => self.alter().await,
            84..92 => self.let_time_pass(),
            92..96 => self.do_what_is_due().await,
            _ => self.crash().await,
        }
        self.look().await;
    }

    fn any(&mut self) -> Option<JobId> {
        self.order.choose(&mut self.random).copied()
    }

    fn any_call(&mut self) -> Option<JobId> {
        let mut called: Vec<_> = self.calls.keys().copied().collect();
        // The map's order is not the seed's.
        called.sort_unstable_by_key(ToString::to_string);
        called.choose(&mut self.random).copied()
    }

    fn job(&self, id: JobId) -> Job {
        self.db.job(id).unwrap().expect("a fax that was accepted is there")
    }

    /// None mostly; else some of each day, so that they come before everything has to end.
    fn hours(&mut self) -> Option<Hours> {
        let is_bound = self.random.random_bool(0.3);
        is_bound.then(|| HOURS.choose(&mut self.random).unwrap().parse().unwrap())
    }

    async fn submit(&mut self) {
        let to = self.numbers.choose(&mut self.random).unwrap().clone();
        let minutes = SignedDuration::from_mins(self.random.random_range(1..600));
        let [a, b] = &self.names;
        let list = [a.clone(), format!("{a}, {b}"), format!("{b}, {a}")];
        let list = list.choose(&mut self.random).unwrap();
        let new = Acceptance {
            owner: AccountId::new(),
            key_id: None,
            to_raw: to.clone(),
            to: to.parse().unwrap(),
            route: list.as_str().into(),
            priority: *[Priority::High, Priority::Normal, Priority::Bulk].choose(&mut self.random).unwrap(),
            resolution: "fine".into(),
            quality: "text".into(),
            content: Content::Ready(DocumentId::new(), self.random.random_range(1..4)),
            source_sha256: String::new(),
            tag: None,
            resend_of: None,
            notify: None,
            schedule_at: self.random.random_bool(0.2).then(|| self.now + minutes),
            deadline_at: None,
            hours: self.hours(),
        };
        let job = self.db.insert_job(transition::accept(new, self.now), None).await.unwrap();
        self.order.push(job.id);
        let fax = Fax {
            seen: job.clone(),
            calls: 0,
            dials: 0,
            tries: 0,
            fruitless: 0,
            people: 0,
            failed: Vec::new(),
        };
        self.faxes.insert(job.id, fax);
    }

    async fn dial(&mut self) {
        let mut rules = RouteRules::free(&self.names.join(","));
        for standing in &mut rules.routes {
            standing.most = self.random.random_range(0..3);
        }
        for standing in &mut rules.routes {
            let carried = self.order.iter().map(|id| self.job(*id));
            let carried = carried.filter(|job| job.state.is_calling() && job.route == standing.name);
            standing.calls = carried.count() as u32;
            standing.most += standing.calls;
        }
        let free = |standing: &Standing| match self.routes[&standing.name].next_probe_at {
            None => standing.free(),
            // One call at a time to see whether it works again.
            Some(at) if at <= self.now && standing.calls == 0 => standing.free().min(1),
            Some(_) => 0,
        };
        let free = rules.routes.iter().map(|standing| (standing.name.clone(), free(standing))).collect();
        let (expected, asleep) = self.expected_calls(free);
        let claimed = self.db.claim_ready(rules, 9, self.now).await.unwrap();
        assert!(claimed.refused.is_empty() && !claimed.is_held);
        let called: Vec<_> =
            claimed.claims.iter().map(|claim| (claim.job.id, claim.attempt.route.clone())).collect();
        assert_eq!(called, expected, "who is dialled");
        let slept: Vec<_> = claimed.asleep.iter().map(|moved| moved.job().id).collect();
        let expected: Vec<_> = asleep.iter().map(|job| job.id).collect();
        assert_eq!(slept, expected, "who waits for hours");
        for (before, moved) in asleep.iter().zip(&claimed.asleep) {
            self.sleeps(before, moved.job());
        }
        for Claim { job, attempt } in claimed.claims {
            self.faxes.get_mut(&job.id).unwrap().calls += 1;
            assert_eq!(attempt.first_page, job.confirmed_pages + 1, "goes on where it stopped");
            let call = Call { attempt: attempt.id, first_page: attempt.first_page, has_data: false };
            self.calls.insert(job.id, call);
        }
    }

    fn confirmation(&self, page: u32) -> PageConfirmation {
        PageConfirmation { page, confirmed_at: self.now, bytes: 1, duration_ms: 1 }
    }

    async fn progress(&mut self) {
        let Some(id) = self.any_call() else { return };
        let job = self.job(id);
        let call = &self.calls[&id];
        let mut progress = Progress { first_data_at: Some(self.now), ..Progress::default() };
        // Now and then a page that is none, or one that was confirmed before.
        let page = if self.random.random_bool(0.8) {
            job.confirmed_pages + 1
        } else {
            self.random.random_range(0..6)
        };
        if call.has_data && page <= job.pages.unwrap() {
            progress.pages.push(self.confirmation(page));
        }
        let after = self.db.report_progress(id, call.attempt, progress, self.now).await.unwrap();
        let counts = call.has_data && page == job.confirmed_pages + 1 && page <= job.pages.unwrap();
        assert_eq!(after.confirmed_pages, job.confirmed_pages + u32::from(counts));
        assert_eq!(after.state, State::Sending);
        self.calls.get_mut(&id).unwrap().has_data = true;
    }

    async fn end(&mut self) {
        let Some(id) = self.any_call() else { return };
        // Some routes claim a delivery that is none.
        let end = if self.random.random_bool(0.3) {
            CallEnd::Delivered
        } else {
            CallEnd::Failed(Fault::of(*CLASSES.choose(&mut self.random).unwrap()))
        };
        self.close(id, Progress::default(), end).await;
    }

    async fn close(&mut self, id: JobId, last: Progress, end: CallEnd) {
        let call = self.calls.remove(&id).unwrap();
        let before = self.job(id);
        let confirmed = last.pages.iter().fold(before.confirmed_pages, |confirmed, told| {
            confirmed + u32::from(told.page == confirmed + 1)
        });
        // Now and then a route takes no calls at the moment.
        let mut open = self.names.to_vec();
        open.retain(|_| self.random.random_bool(0.8));
        let watched = self.names.to_vec();
        let ways = Ways { open: open.clone(), watched };
        let stored = self.db.finish_call(id, call.attempt, last, end.clone(), self.now, ways);
        let after = stored.await.unwrap();
        assert_eq!(after.confirmed_pages, confirmed);
        self.learn(&before, &end);
        let open: Vec<String> = open.into_iter().filter(|route| !self.is_out(route)).collect();
        self.judge(&before, &after, &call, &end, &open);
    }

    async fn cancel(&mut self) {
        let Some(id) = self.any() else { return };
        let (before, now) = (self.job(id), self.now);
        let moved = self.db.move_job(id, move |stage| stage.cancel("a model", now)).await.unwrap();
        match moved {
            Err(state) => assert!(state.is_final() && state == before.state),
            Ok(moved) if before.state.is_calling() => assert_eq!(moved.job().state, before.state),
            Ok(moved) => assert_eq!(moved.job().state, State::Cancelled),
        }
    }

    async fn hold_or_release(&mut self) {
        let Some(id) = self.any() else { return };
        let (before, now) = (self.job(id), self.now);
        if before.state == State::Held {
            let moved = self.db.move_job(id, move |stage| stage.release(now)).await.unwrap().unwrap();
            assert!(matches!(moved.job().state, State::Queued | State::Scheduled));
            self.faxes.get_mut(&id).unwrap().failed.clear();
        } else {
            let moved = self.db.move_job(id, move |stage| stage.hold(now).ok_or(())).await.unwrap();
            assert_eq!(moved.is_ok(), !before.state.is_final() && !before.state.is_calling());
        }
    }

    async fn alter(&mut self) {
        let Some(id) = self.any() else { return };
        let before = self.job(id);
        let to = self.numbers.choose(&mut self.random).unwrap().clone();
        let minutes = SignedDuration::from_mins(self.random.random_range(1..600));
        let hours = self.hours();
        let change = match self.random.random_range(0..4) {
            0 => Alteration { to: Some((to.clone(), to.parse().unwrap())), ..Alteration::default() },
            1 => Alteration { hours: Some(hours), ..Alteration::default() },
            2 => Alteration { schedule_at: Some(Some(self.now + minutes)), ..Alteration::default() },
            _ => Alteration { priority: Some(Priority::High), ..Alteration::default() },
        };
        let is_elsewhere = change.to.as_ref().is_some_and(|(_, to)| *to != before.to);
        let event = admin().event(Action::FaxAltered, id, self.now);
        let is_woken = change.hours.as_ref().is_some_and(|hours| *hours != before.hours)
            && before.waits_for_hours().is_some();
        let begins_anew = is_elsewhere || change.schedule_at.is_some() || is_woken;
        let altered = self.db.audited(event).alter_job(id, change, self.now).await.unwrap();
        if altered.is_ok() && begins_anew && before.state != State::Held {
            self.faxes.get_mut(&id).unwrap().failed.clear();
        }
        let is_closed = before.state.is_final() || before.state.is_calling();
        if is_closed || (is_elsewhere && before.confirmed_pages > 0) {
            assert!(altered.is_err());
        } else if is_elsewhere {
            assert_eq!(altered.unwrap().job().to.as_e164(), to);
            let fax = self.faxes.get_mut(&id).unwrap();
            (fax.dials, fax.tries, fax.fruitless, fax.people) = (0, 0, 0, 0);
        }
    }

    /// Mostly forward; now and then the clock is set, either way.
    fn let_time_pass(&mut self) {
        let minutes = match self.random.random_range(0..10) {
            0 => -60,
            1 => 24 * 60,
            _ => self.random.random_range(0..20),
        };
        self.now += SignedDuration::from_mins(minutes);
    }

    async fn do_what_is_due(&mut self) {
        for moved in self.db.wake_due(self.now).await.unwrap() {
            assert!(moved.job().state == State::Queued);
        }
        for moved in self.db.expire_due(&Dialling::default(), self.now).await.unwrap() {
            assert!(moved.job().deadline_at <= self.now);
        }
        self.db.beat(self.now).await.unwrap();
    }

    /// The process is gone, with all it attended to; another one starts.
    async fn crash(&mut self) {
        let lost = std::mem::take(&mut self.calls);
        self.now += SignedDuration::from_mins(self.random.random_range(0..90));
        self.db.resume_after_downtime(Vec::new(), self.now).await.unwrap();
        let open = self.db.lost_calls(Timestamp::MAX).unwrap();
        assert_eq!(open.len(), lost.len(), "every call that was open is found, and no other");
        for call in open {
            let known = &lost[&call.job.id];
            assert_eq!(call.attempt.id, known.attempt);
            let judged = verdict(&call.job, &call.attempt, Settled::Unknown, self.now);
            let class = match &judged.end {
                CallEnd::Failed(fault) => fault.class,
                CallEnd::Delivered => panic!("a success is never guessed"),
            };
            let is_doubtful = if known.has_data { Class::UnknownOutcome } else { Class::Interrupted };
            assert_eq!(class, is_doubtful);
            self.calls.insert(call.job.id, known.clone());
            self.close(call.job.id, judged.last, judged.end).await;
        }
    }

    /// All that must hold at every moment.
    async fn look(&mut self) {
        let jobs: Vec<Job> = self.order.iter().map(|id| self.job(*id)).collect();
        for job in &jobs {
            let fax = self.faxes.get_mut(&job.id).unwrap();
            let seen = std::mem::replace(&mut fax.seen, job.clone());
            if seen.state.is_final() {
                assert_eq!(seen, *job, "an end is never left");
                continue;
            }
            if seen != *job && (seen.state, seen.confirmed_pages) != (job.state, job.confirmed_pages) {
                assert!(job.updated_at > seen.updated_at);
            }
            assert!(job.confirmed_pages >= seen.confirmed_pages && Some(job.confirmed_pages) <= job.pages);
            assert_eq!(job.attempts, fax.calls);
            assert_eq!(job.state.is_calling(), self.calls.contains_key(&job.id));
            assert!(job.counters.dials <= 12 && job.counters.tries <= 3 && job.counters.human_answers <= 2);
            let told = self.db.events_about(job.id.to_string(), i64::MAX, 50).await.unwrap();
            let states = told.iter().filter_map(|entry| entry.event.kind.strip_prefix("fax.")?.parse().ok());
            assert_eq!(states.into_iter().next(), Some(job.state), "the log says the same");
            let at_number = || jobs.iter().filter(|other| other.id != job.id && other.to == job.to);
            if job.state.is_calling() {
                assert!(at_number().all(|other| !other.state.is_calling()), "two calls to a number");
            }
            // Only the number's best fax waits for a line of its own; the others wait for that one.
            let goes_before = |other: &Job| {
                !matches!(other.state, State::Queued) || (other.rank, other.seq) < (job.rank, job.seq)
            };
            if job.is_blocked {
                let open = at_number().filter(|other| !other.state.is_final() && other.state != State::Held);
                let open = open.filter(|other| other.state != State::Scheduled);
                assert!(open.into_iter().any(goes_before), "the best of its number is held back");
                let is_cause = |other: &Job| {
                    other.state.is_calling()
                        || other.state == State::Waiting
                        || (other.state == State::Queued && !other.is_blocked)
                };
                assert!(job.state == State::Queued && at_number().any(is_cause), "blocked by nobody");
            }
        }
    }

    /// Lets go what is held, answers every call, and sees that everything ends.
    async fn finish(&mut self) {
        for _ in 0..200 {
            let now = self.now;
            for id in self.order.clone() {
                if self.job(id).state == State::Held {
                    self.db.move_job(id, move |stage| stage.release(now)).await.unwrap().unwrap();
                    self.faxes.get_mut(&id).unwrap().failed.clear();
                }
            }
            self.do_what_is_due().await;
            self.dial().await;
            for id in self.calls.keys().copied().collect::<Vec<_>>() {
                let job = self.job(id);
                let rest = job.confirmed_pages + 1..=job.pages.unwrap();
                let pages = rest.map(|page| self.confirmation(page)).collect();
                self.close(id, Progress { pages, ..Progress::default() }, CallEnd::Delivered).await;
            }
            self.look().await;
            if self.order.iter().all(|id| self.job(*id).state.is_final()) {
                return;
            }
            self.now += SignedDuration::from_mins(10);
        }
        panic!("something is stuck");
    }
}

#[tokio::test]
async fn every_history_keeps_what_the_manual_promises() {
    // Whether the disk keeps its word is not looked at here, so memory will do.
    let memory = std::path::Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let db = Db::open(&folder.path().join("t.db")).unwrap();
    db.start_audit(&Secret::new([9; 32]));
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match number("PAGEWIRE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PAGEWIRE_HISTORIES").unwrap_or(HISTORIES),
    };
    let (mut ends, histories) = (HashMap::<State, u32>::new(), seeds.end - seeds.start);
    for seed in seeds {
        let _seed = Seed(seed);
        let mut world = World::new(db.clone(), seed);
        for _ in 0..STEPS {
            world.step().await;
        }
        world.finish().await;
        for fax in world.faxes.values() {
            *ends.entry(fax.seen.state).or_default() += 1;
        }
    }
    println!("{histories} histories; faxes ended as {ends:?}");
    // Each way to end is met, so none of the promises was kept by not being tried.
    if histories >= HISTORIES {
        assert_eq!(ends.len(), 5, "{ends:?}");
    }
}
