//! Many faxes to many numbers at once, through the simulator's scripts and under a virtual clock: what the
//! rules say of order, caps and intervals holds for each of them, and memory does not grow with them.
//!
//! `PAGEWIRE_CROWD` says how many faxes; `./dev crowd` plays 100,000.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use pagewire::clock::Work;
use pagewire::fax::attempt::{Attempt, CallEnd};
use pagewire::fax::job::{Job, Priority, State};
use pagewire::fax::number::FaxNumber;
use pagewire::fax::outcome::Class;
use pagewire::id::AttemptId;
use pagewire::queue::{Line, NewFax};
use pagewire::route::simulator::Simulator;
use pagewire::route::{BoxFuture, Call, Route, Settled};

use crate::queue::{Site, fax, start};

/// Faxes of a usual run.
const FAXES: usize = 400;
/// Faxes to each number.
const TO_EACH: usize = 5;
/// Calls at the same time.
const MOST_CALLS: usize = 64;
/// What memory may grow by from a tenth of the faxes to their end; the database's cache is in it.
const MOST_GROWTH_MB: f64 = 48.0;
/// One number in so many plays each of the ten scripts; the others take every fax.
const SCRIPTED_IN: usize = 20;

/// The script of a provider that is out of service.
const PROVIDER_FAILS: usize = 9;

/// The simulator with its scripts at ordinary numbers.
struct Crowd;

impl Crowd {
    /// The number whose script the `index`th number plays.
    fn script(index: usize) -> Option<usize> {
        Some(index % SCRIPTED_IN).filter(|digit| *digit < 10)
    }

    fn as_scripted(to: &FaxNumber) -> FaxNumber {
        let index: usize = to.as_e164()["+1555".len()..].parse().unwrap();
        Self::script(index).map_or_else(|| to.clone(), |digit| format!("+1500555000{digit}").parse().unwrap())
    }
}

impl Route for Crowd {
    fn name(&self) -> &str {
        "crowd"
    }

    fn spends(&self) -> bool {
        false
    }

    fn call<'a>(&'a self, call: Call, work: &'a mut Work) -> BoxFuture<'a, CallEnd> {
        Simulator::FIRST.call(Call { to: Self::as_scripted(&call.to), ..call }, work)
    }

    fn settle(&self, attempt: AttemptId, to: &FaxNumber) -> Settled {
        Simulator::FIRST.settle(attempt, &Self::as_scripted(to))
    }
}

fn number(index: usize) -> String {
    format!("+1555{index:07}")
}

/// Memory of this process, in MB.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

#[tokio::test]
async fn a_crowd_keeps_to_order_caps_and_intervals() {
    let faxes = std::env::var("PAGEWIRE_CROWD").map_or(FAXES, |count| count.parse().unwrap());
    let began = Instant::now();
    // In memory, where there is such a folder: this is not about disks.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let lines = vec![Line { route: Box::new(Crowd), most_calls: MOST_CALLS as u32 }];
    let site = Site::open_on(folder.path(), start(), lines).await;
    let numbers = faxes / TO_EACH;
    let mut ids = Vec::with_capacity(faxes);
    for place in 0..faxes {
        let priority = [Priority::Normal, Priority::Bulk, Priority::High][place % 3];
        // A provider that is out of service is asked until the deadline; all others come to their own end.
        let hours = if Crowd::script(place % numbers) == Some(PROVIDER_FAILS) { 3 } else { 24 * 365 };
        let deadline_at = Some(start() + SignedDuration::from_hours(hours));
        let new = NewFax { priority, deadline_at, ..fax(&number(place % numbers), "crowd", 2) };
        ids.push(site.submit(new).await);
    }
    let accepted = began.elapsed();

    site.queue.start();
    let mut early_mb = 0.0;
    for (place, id) in ids.iter().enumerate() {
        site.until(*id, |job| job.state.is_final()).await;
        if place == faxes / 10 {
            early_mb = resident_mb();
        }
    }
    let growth_mb = resident_mb() - early_mb;
    let ended = began.elapsed();
    let took = site.clock.now().duration_since(start());

    let mut crowd = Record::default();
    for (place, id) in ids.iter().enumerate() {
        crowd.look_at(place % numbers, site.job(*id), site.queue.attempts(*id).await.unwrap());
    }
    let calls = crowd.look_at_all();
    println!(
        "{faxes} faxes to {numbers} numbers: {calls} calls in {} h on {MOST_CALLS} lines; accepted in {:.0} s, \
         ended after {:.0} s; memory {growth_mb:+.1} MB from a tenth to the end",
        took.as_hours(),
        accepted.as_secs_f64(),
        ended.as_secs_f64(),
    );
    assert!(growth_mb < MOST_GROWTH_MB, "memory grew by {growth_mb:.1} MB");
    site.queue.stop(Duration::ZERO).await;
}

/// What is looked at once all is over.
#[derive(Default)]
struct Record {
    /// Of each call: when it began and ended.
    intervals: Vec<(Timestamp, Timestamp)>,
    /// Of each number: when its calls began, and until when each keeps the next one waiting.
    of_number: HashMap<usize, Vec<(Timestamp, Timestamp)>>,
    /// Of each number: the rank and place in the queue of the fax to be called first, and when it was.
    heads: HashMap<usize, (u8, i64, Timestamp)>,
}

impl Record {
    fn look_at(&mut self, number: usize, job: Job, attempts: Vec<Attempt>) {
        let (state, class, calls) = match Crowd::script(number) {
            None | Some(0 | 8) => (State::Delivered, Class::Delivered, 1),
            Some(1 | 5) => (State::Delivered, Class::Delivered, 2),
            Some(2) => (State::Failed, Class::Limit, 12),
            Some(3) => (State::Failed, Class::HumanOrVoice, 2),
            Some(4) => (State::Failed, Class::NumberBad, 1),
            Some(6) => (State::Failed, Class::Limit, 3),
            // Page 1 is confirmed in the first call, page 2 in none of three.
            Some(7) => (State::Partial, Class::Limit, 3),
            // Free calls, as many as come before the deadline.
            Some(_) => (State::Expired, Class::Deadline, attempts.len()),
        };
        let outcome = job.outcome.as_ref().map(|outcome| outcome.class);
        assert_eq!((job.state, outcome, attempts.len()), (state, Some(class), calls), "{job:?}");
        assert!(
            job.counters.dials <= 12 && job.counters.tries <= 3 && job.counters.human_answers <= 2,
            "{job:?}"
        );
        let rank = job.priority.rank();
        if let Some(first) = attempts.first() {
            let head = self.heads.entry(number).or_insert((rank, job.seq, first.started_at));
            if (rank, job.seq) < (head.0, head.1) {
                *head = (rank, job.seq, first.started_at);
            }
        }
        let last = attempts.len();
        for (place, attempt) in (1..).zip(attempts) {
            let (began, ended) = (attempt.started_at, attempt.ended_at.unwrap());
            self.intervals.push((began, ended));
            let least_s = match attempt.outcome.as_ref().unwrap().class {
                _ if place == last => 0.0,
                Class::Busy => 0.9 * 180.0,
                Class::NoAnswer | Class::HumanOrVoice => 0.9 * 300.0,
                class if class.is_try() => 60.0,
                _ => 0.9 * 60.0,
            };
            let free = ended + SignedDuration::try_from_secs_f64(least_s).unwrap();
            self.of_number.entry(number).or_default().push((began, free));
        }
    }

    /// Answers how many calls there were.
    fn look_at_all(mut self) -> usize {
        // Never more calls than lines.
        let mut edges: Vec<(Timestamp, i64)> =
            self.intervals.iter().flat_map(|(from, to)| [(*from, 1), (*to, -1)]).collect();
        edges.sort();
        let mut at_once = 0;
        for (at, step) in edges {
            at_once += step;
            assert!(at_once <= MOST_CALLS as i64, "{at_once} calls at {at}");
        }
        for (number, calls) in &mut self.of_number {
            calls.sort();
            // One call to a number at a time; and a fax that sleeps keeps the others to its number waiting,
            // not only itself.
            assert!(
                calls.windows(2).all(|pair| pair[0].1 <= pair[1].0),
                "number {number} was called too soon"
            );
        }
        // The first fax to each number is called by rank, then in the order of acceptance.
        let mut heads: Vec<_> = self.heads.into_values().collect();
        heads.sort();
        assert!(heads.is_sorted_by_key(|(_, _, called)| *called), "not in the order of rank and acceptance");
        self.intervals.len()
    }
}
