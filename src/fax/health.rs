//! Whether a route works, as its calls show.
//!
//! Owns: when a route that keeps failing is taken out of service, when a call is let through to see
//! whether it works again, and when it is back. Refuses: to conclude anything from how the other end
//! behaves, and to blame a route for a single number: networks answer "service unavailable" for numbers
//! they cannot reach.

use jiff::{SignedDuration, Timestamp};

use super::number::FaxNumber;
use super::outcome::{Class, Fault};
use super::routing::Standing;

/// Failures in a row, to several numbers, after which a route is out of service.
const MOST_FAILURES: u32 = 5;
/// Minutes until a call is let through to see whether it works again; the last one repeats.
const PROBE_MINUTES: [i64; 5] = [1, 2, 5, 10, 15];

/// What is known of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Failures in a row.
    pub failures: u32,
    /// The number of the first of them, in E.164.
    pub first_number: Option<String>,
    /// Whether they were to several numbers.
    pub several: bool,
    /// The last failure.
    pub last: Option<Failure>,
    /// That it is out of service.
    pub out: Option<Out>,
}

/// How a route failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// The kind of failure.
    pub class: Class,
    /// The precise code.
    pub code: String,
}

/// That a route is out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Out {
    /// Since when.
    pub since: Timestamp,
    /// Calls that were let through since, and failed.
    pub probes: u32,
    /// From when on one call is let through to see whether it works again.
    pub next_probe_at: Timestamp,
}

/// What the end of a call tells of its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// The network did what it is there for, whatever the other end did.
    Works,
    /// The route did not take the call, or lost it.
    Failed(&'a Fault),
}

impl<'a> News<'a> {
    /// What a call that ended with this fault, or without one, tells; nothing when it says nothing
    /// about the route.
    pub fn of(fault: Option<&'a Fault>) -> Option<Self> {
        let Some(fault) = fault else { return Some(Self::Works) };
        match fault.class {
            Class::Network | Class::TrunkAuth | Class::Provider if fault.is_of_the_route() => {
                Some(Self::Failed(fault))
            }
            Class::Delivered
            | Class::Busy
            | Class::HumanOrVoice
            | Class::NumberBad
            | Class::RejectedRemote
            | Class::TrainingFailed
            | Class::OtherStation
            | Class::Incompatible
            | Class::PageNotConfirmed
            | Class::EcmFailed
            | Class::RemoteHungUp
            | Class::Protocol => Some(Self::Works),
            Class::NoAnswer if !fault.is_silence() => Some(Self::Works),
            _ => None,
        }
    }
}

/// What became of a route by the end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It was taken out of service.
    Out,
    /// It is in service again.
    Back,
}

impl Health {
    /// Takes in the end of a call to this number. A trunk that refuses our login does so for every
    /// number; of other failures it takes several.
    pub fn learn(&mut self, news: News<'_>, to: &FaxNumber, now: Timestamp) -> Option<Turn> {
        let News::Failed(fault) = news else {
            let was_out = self.out.is_some();
            *self = Self::default();
            return was_out.then_some(Turn::Back);
        };
        self.failures += 1;
        self.last = Some(Failure { at: now, class: fault.class, code: fault.code.clone() });
        match &self.first_number {
            None => self.first_number = Some(to.as_e164().to_owned()),
            Some(first) => self.several |= first != to.as_e164(),
        }
        match &mut self.out {
            // A call from before it went out says nothing new.
            Some(out) if out.next_probe_at > now => None,
            Some(out) => {
                out.probes += 1;
                out.next_probe_at = probe_at(out.probes, now);
                None
            }
            None => {
                let is_out =
                    fault.class == Class::TrunkAuth || (self.failures >= MOST_FAILURES && self.several);
                is_out.then(|| {
                    self.out = Some(Out { since: now, probes: 0, next_probe_at: probe_at(0, now) });
                    Turn::Out
                })
            }
        }
    }

    /// Whether it takes no call now; one that is `idle` takes one when it is to be probed.
    pub fn keeps_out(&self, is_idle: bool, now: Timestamp) -> bool {
        self.out.is_some_and(|out| out.next_probe_at > now || !is_idle)
    }

    /// Marks a route as it stands: out of service, or with the one line for a probe.
    pub fn mark(&self, standing: &mut Standing, now: Timestamp) {
        if self.out.is_some() {
            standing.is_out = self.keeps_out(standing.calls == 0, now);
            standing.most = standing.most.min(1);
        }
    }
}

fn probe_at(failed: u32, now: Timestamp) -> Timestamp {
    let minutes = PROBE_MINUTES[(failed as usize).min(PROBE_MINUTES.len() - 1)];
    now.checked_add(SignedDuration::from_mins(minutes)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        noon + SignedDuration::from_mins(minute)
    }

    fn number(n: u32) -> FaxNumber {
        format!("+1555000000{n}").parse().unwrap()
    }

    fn fail(health: &mut Health, n: u32, minute: i64) -> Option<Turn> {
        health.learn(News::Failed(&Fault::sip(503)), &number(n), at(minute))
    }

    #[test]
    fn five_failures_to_several_numbers_take_it_out_and_one_that_works_brings_it_back() {
        let mut health = Health::default();
        for minute in 0..4 {
            assert_eq!(fail(&mut health, 1, minute), None);
        }
        assert_eq!(fail(&mut health, 1, 4), None, "a single number proves nothing");
        assert!(!health.keeps_out(false, at(4)));
        assert_eq!(fail(&mut health, 2, 5), Some(Turn::Out));
        assert!(health.keeps_out(true, at(5)));
        assert_eq!(fail(&mut health, 3, 5), None, "told once");
        assert_eq!(health.out.unwrap().next_probe_at, at(6));
        assert!(!health.keeps_out(true, at(6)) && health.keeps_out(false, at(6)), "one call at a time");
        for (minute, next) in [(6, 8), (8, 13), (13, 23), (23, 38), (38, 53)] {
            assert_eq!(fail(&mut health, 3, minute), None);
            assert_eq!(health.out.unwrap().next_probe_at, at(next));
        }
        assert_eq!(health.learn(News::Works, &number(1), at(53)), Some(Turn::Back));
        assert_eq!(health, Health::default());
        assert_eq!(health.learn(News::Works, &number(1), at(53)), None);
    }

    #[test]
    fn a_call_that_works_between_begins_the_count_anew() {
        let mut health = Health::default();
        for n in 0..4 {
            assert_eq!(fail(&mut health, n, 0), None);
        }
        health.learn(News::Works, &number(1), at(1));
        for n in 0..4 {
            assert_eq!(fail(&mut health, n, 2), None);
        }
        assert_eq!(fail(&mut health, 4, 2), Some(Turn::Out));
    }

    #[test]
    fn a_refused_login_is_enough() {
        let mut health = Health::default();
        let refused = Fault::sip(407);
        assert_eq!(health.learn(News::Failed(&refused), &number(1), at(0)), Some(Turn::Out));
    }

    #[test]
    fn only_what_the_network_did_is_news() {
        let works = [Fault::sip(486), Fault::sip(480), Fault::sip(404), Fault::t30(2), Fault::t30(49)];
        for fault in &works {
            assert_eq!(News::of(Some(fault)), Some(News::Works), "{}", fault.code);
        }
        assert_eq!(News::of(None), Some(News::Works));
        let failed = [Fault::sip(503), Fault::sip(0), Fault::sip(401), Fault::of(Class::Provider)];
        for fault in &failed {
            assert_eq!(News::of(Some(fault)), Some(News::Failed(fault)), "{}", fault.code);
        }
        let none = [
            Fault::sip(408),
            Fault::q850(18),
            Fault::pages_unavailable(),
            Fault::of(Class::NoLine),
            Fault::of(Class::Cancelled),
            Fault::of(Class::Interrupted),
            Fault::of(Class::UnknownOutcome),
            Fault::of(Class::Document),
        ];
        for fault in &none {
            assert_eq!(News::of(Some(fault)), None, "{}", fault.code);
        }
    }
}
