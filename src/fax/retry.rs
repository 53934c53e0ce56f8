//! When a fax is dialled again, and when no more.
//!
//! Owns: the limits and intervals, and the decision after each call as a pure function of the
//! job's counters, how the call ended, the time and a seed. Refuses: to look at a clock or a
//! destination's history; the caller passes what counts.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::job::State;
use super::outcome::Class;

/// Calls placed for one fax; HylaFAX's limit, about an hour of busy signals.
const MAX_DIALS: u32 = 12;
/// Calls that a fax machine answered; what three of them cannot do, a fourth seldom does.
const MAX_TRIES: u32 = 3;
/// Tries in a row that confirmed no new page.
const MAX_FRUITLESS: u32 = 3;
/// Calls to a number where a person or voicemail answers: more would be a nuisance to somebody.
const MAX_HUMAN_ANSWERS: u32 = 2;
/// Calls to a number from which nothing is heard and at which no fax machine is known: there is
/// hardly one.
pub const MAX_SILENT_DIALS: u32 = 2;
/// From the first send time until we give up, unless the sender says otherwise.
pub const DEADLINE: Duration = Duration::from_hours(3);

/// Minutes between calls to a busy number: short at first, since most are busy with one fax.
const BUSY_MINUTES: [u32; 5] = [3, 3, 5, 10, 15];
/// Minutes until a provider, trunk or network that failed is asked again.
const OUTAGE_MINUTES: [u32; 5] = [1, 2, 5, 10, 15];
/// Nobody answered, or what answered was no fax: people need time to notice.
const NO_ANSWER: Duration = Duration::from_mins(5);
/// After a fax machine answered and it went wrong: the line is likely still free.
const AFTER_TRY: Duration = Duration::from_mins(1);
/// All lines in use: ours, and one frees with the next call that ends.
const NO_LINE: Duration = Duration::from_secs(30);
/// The trunk refuses our login: nothing changes until an administrator acts.
const TRUNK_AUTH: Duration = Duration::from_mins(15);
/// Intervals marked "jittered" vary by this share either way, so that faxes that failed together
/// do not come back together.
const JITTER: f64 = 0.1;

/// What is counted of a job's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls placed, as far as they were charged.
    pub dials: u32,
    /// Calls in which a fax machine answered.
    pub tries: u32,
    /// Tries in a row that confirmed no new page.
    pub fruitless: u32,
    /// Busy calls in a row: which interval is next.
    pub busies: u32,
    /// Calls answered by a person or voicemail.
    pub human_answers: u32,
    /// Failures in a row on our side of the phone network: which interval is next.
    pub outages: u32,
}

impl Counters {
    /// Charges one ended call of this class that confirmed `new_pages` pages.
    pub fn charge(&mut self, class: Class, new_pages: u32) {
        self.busies = if class == Class::Busy { self.busies + 1 } else { 0 };
        if class.is_free() {
            self.outages += 1;
            return;
        }
        self.outages = 0;
        self.dials += 1;
        self.human_answers += u32::from(class == Class::HumanOrVoice);
        if class.is_try() {
            self.tries += 1;
            self.fruitless = if new_pages == 0 { self.fruitless + 1 } else { 0 };
        }
    }
}

/// What happens to a fax after a call that did not finish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Dial again then; a time that is not in the future means at once.
    RetryAt(Timestamp),
    /// It ends in this state, for a reason of this class.
    Final(State, Class),
}

/// Decides after a call of class `class`, which `counters` already contain.
///
/// `confirmed_pages` counts all of the job's; `seed` makes the jitter, the same for the same seed.
/// A retry that would come at or after `deadline` is not planned: the fax ends now, so that its
/// sender learns it early.
pub fn decide(
    counters: &Counters,
    class: Class,
    confirmed_pages: u32,
    deadline: Timestamp,
    now: Timestamp,
    seed: u64,
) -> Next {
    if class == Class::Cancelled {
        return Next::Final(State::Cancelled, class);
    }
    let too_many_people = class == Class::HumanOrVoice && counters.human_answers >= MAX_HUMAN_ANSWERS;
    if !class.is_retryable() || too_many_people {
        return Next::Final(unfinished(State::Failed, confirmed_pages), class);
    }
    again(counters, class, confirmed_pages, deadline, now, seed)
}

/// The same after a call that another one follows whatever its class, as far as limits and deadline
/// allow it.
pub fn again(
    counters: &Counters,
    class: Class,
    confirmed_pages: u32,
    deadline: Timestamp,
    now: Timestamp,
    seed: u64,
) -> Next {
    let at_a_limit =
        counters.dials >= MAX_DIALS || counters.tries >= MAX_TRIES || counters.fruitless >= MAX_FRUITLESS;
    if at_a_limit && !class.is_free() {
        return Next::Final(unfinished(State::Failed, confirmed_pages), Class::Limit);
    }
    let at = now.checked_add(interval(counters, class, seed)).unwrap_or(Timestamp::MAX);
    if at >= deadline {
        return Next::Final(unfinished(State::Expired, confirmed_pages), Class::Deadline);
    }
    Next::RetryAt(at)
}

/// How a fax ends that is not delivered whole.
fn unfinished(otherwise: State, confirmed_pages: u32) -> State {
    if confirmed_pages > 0 { State::Partial } else { otherwise }
}

fn interval(counters: &Counters, class: Class, seed: u64) -> SignedDuration {
    let (base, is_jittered) = match class {
        Class::Busy => (step(&BUSY_MINUTES, counters.busies), true),
        Class::Network | Class::Provider => (step(&OUTAGE_MINUTES, counters.outages), true),
        Class::NoLine => (NO_LINE, false),
        Class::TrunkAuth => (TRUNK_AUTH, false),
        Class::Interrupted => (Duration::ZERO, false),
        class if class.is_try() => (AFTER_TRY, false),
        _ => (NO_ANSWER, true),
    };
    let factor =
        if is_jittered { 1.0 + StdRng::seed_from_u64(seed).random_range(-JITTER..=JITTER) } else { 1.0 };
    SignedDuration::try_from(base.mul_f64(factor)).unwrap_or(SignedDuration::MAX)
}

/// The interval after the `count`th failure in a row, from 1; the last one repeats.
fn step(minutes: &[u32; 5], count: u32) -> Duration {
    let index = (count.max(1) as usize - 1).min(minutes.len() - 1);
    Duration::from_mins(minutes[index].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    /// Plays calls of these classes against the policy and answers the waits between, in seconds,
    /// and the end.
    fn play(classes: impl IntoIterator<Item = Class>, pages_each: u32) -> (Vec<i64>, Option<(State, Class)>) {
        let mut at = now();
        let deadline = at + SignedDuration::from_hours(24);
        let (mut counters, mut waits, mut confirmed) = (Counters::default(), Vec::new(), 0);
        for (seed, class) in (0..).zip(classes) {
            counters.charge(class, pages_each);
            confirmed += pages_each;
            match decide(&counters, class, confirmed, deadline, at, seed) {
                Next::RetryAt(next) => {
                    waits.push(next.duration_since(at).as_secs());
                    at = next;
                }
                Next::Final(state, class) => return (waits, Some((state, class))),
            }
        }
        (waits, None)
    }

    #[test]
    fn busy_waits_longer_each_time_and_ends_after_twelve_dials() {
        let (waits, end) = play([Class::Busy; 20], 0);
        assert_eq!(end, Some((State::Failed, Class::Limit)));
        let minutes = [3, 3, 5, 10, 15, 15, 15, 15, 15, 15, 15];
        assert_eq!(waits.len(), minutes.len());
        for (wait, minutes) in waits.iter().zip(minutes) {
            let base = f64::from(minutes) * 60.0;
            assert!((*wait as f64 - base).abs() <= base * JITTER + 1.0, "{wait} s for {minutes} min");
        }
        assert!(
            waits.iter().zip(minutes).any(|(wait, minutes)| *wait != i64::from(minutes) * 60),
            "no jitter"
        );
    }

    #[test]
    fn a_busy_count_starts_again_after_another_ending() {
        let (waits, _) = play([Class::Busy, Class::Busy, Class::Busy, Class::NoAnswer, Class::Busy], 0);
        assert!((162..=198).contains(&waits[4]), "{waits:?}");
    }

    #[test]
    fn limits_per_class() {
        let cases = [
            (Class::HumanOrVoice, 0, 1, State::Failed, Class::HumanOrVoice),
            (Class::NumberBad, 0, 0, State::Failed, Class::NumberBad),
            (Class::RejectedRemote, 0, 0, State::Failed, Class::RejectedRemote),
            (Class::Document, 0, 0, State::Failed, Class::Document),
            (Class::UnknownOutcome, 0, 0, State::Failed, Class::UnknownOutcome),
            (Class::UnknownOutcome, 1, 0, State::Partial, Class::UnknownOutcome),
            (Class::Cancelled, 1, 0, State::Cancelled, Class::Cancelled),
            (Class::TrainingFailed, 0, 2, State::Failed, Class::Limit),
            (Class::RemoteHungUp, 1, 2, State::Partial, Class::Limit),
            (Class::NoAnswer, 0, 11, State::Failed, Class::Limit),
        ];
        for (class, pages, retries, state, end) in cases {
            let (waits, ended) = play([class; 20], pages);
            assert_eq!((waits.len(), ended), (retries, Some((state, end))), "{class}");
        }
    }

    #[test]
    fn a_person_is_called_twice_at_most_whatever_happens_between() {
        let (_, end) = play([Class::HumanOrVoice, Class::Busy, Class::HumanOrVoice], 0);
        assert_eq!(end, Some((State::Failed, Class::HumanOrVoice)));
    }

    #[test]
    fn our_own_outages_cost_no_dial() {
        let mut counters = Counters::default();
        for class in [Class::Network, Class::Provider, Class::TrunkAuth, Class::NoLine, Class::Interrupted] {
            counters.charge(class, 0);
        }
        assert_eq!((counters.dials, counters.tries), (0, 0));
        let (waits, end) = play([Class::Provider; 40], 0);
        assert_eq!((waits.len(), end), (40, None));
    }

    #[test]
    fn an_interrupted_call_goes_on_at_once_even_at_a_limit() {
        let counters = Counters { dials: MAX_DIALS, tries: MAX_TRIES, ..Counters::default() };
        let deadline = now() + SignedDuration::from_mins(1);
        assert_eq!(decide(&counters, Class::Interrupted, 0, deadline, now(), 1), Next::RetryAt(now()));
    }

    #[test]
    fn a_retry_past_the_deadline_is_not_planned() {
        let counters = Counters { dials: 1, busies: 1, ..Counters::default() };
        let soon = now() + SignedDuration::from_mins(2);
        let decided = decide(&counters, Class::Busy, 0, soon, now(), 1);
        assert_eq!(decided, Next::Final(State::Expired, Class::Deadline));
        let decided = decide(&counters, Class::Busy, 2, soon, now(), 1);
        assert_eq!(decided, Next::Final(State::Partial, Class::Deadline));
    }

    #[test]
    fn the_same_seed_gives_the_same_time() {
        let counters = Counters { dials: 1, busies: 1, ..Counters::default() };
        let deadline = now() + SignedDuration::from_hours(3);
        let at = |seed| decide(&counters, Class::Busy, 0, deadline, now(), seed);
        assert_eq!(at(7), at(7));
        assert_ne!(at(7), at(8));
    }
}
