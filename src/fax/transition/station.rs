//! What becomes of a fax when another machine answers than the one that is known at its number.
//!
//! Owns: the end of a call, so that what it told of the machine is told with it; holding the fax
//! whose call ended because of that, which costs no dial and no try. Refuses: to judge machines;
//! that is [`crate::fax::station`], asked during the call.

use jiff::Timestamp;

use super::second_look::ask;
use super::{Calling, Moved, Sleeping, Stage};
use crate::fax::attempt::{CallEnd, Progress};
use crate::fax::event::Event;
use crate::fax::job::Job;
use crate::fax::outcome::{Fault, Outcome};
use crate::fax::second_look::{Kind, SecondLook};

impl Calling {
    /// The call is over. `last` holds what it had not reported yet; `seed` makes the jitter of the
    /// next interval. Answers the job and the outcome of the attempt itself.
    pub fn ended(
        mut self,
        first_page: u32,
        last: &Progress,
        end: CallEnd,
        now: Timestamp,
        seed: u64,
    ) -> (Moved, Outcome) {
        let is_another = take_in(&mut self.job, last);
        let (mut moved, outcome) = self.close(first_page, last, end, now, seed);
        if is_another {
            moved.events.insert(0, Event::other_station(&moved.job));
        }
        (moved, outcome)
    }
}

impl Stage {
    /// What the machine calls itself that a fax is held for: whoever releases the fax says that it is
    /// the right one.
    pub fn station_to_accept(&self) -> Option<String> {
        match self {
            Self::Sleeping(Sleeping(job)) if job.is_held_for_station() => {
                job.other_station.as_ref().map(|other| other.answered.clone())
            }
            _ => None,
        }
    }
}

/// Notes what a call told of another machine; whether it is news.
pub(super) fn take_in(job: &mut Job, progress: &Progress) -> bool {
    let is_news = progress.other_station.is_some() && progress.other_station != job.other_station;
    if is_news {
        job.other_station.clone_from(&progress.other_station);
    }
    is_news
}

/// The call ended before its first page, and the fax waits for somebody to look at its number.
pub(super) fn hold(mut job: Job, fault: Fault, now: Timestamp) -> (Moved, Outcome) {
    let outcome = Outcome::to_be_looked_at(fault);
    job.outcome = Some(outcome.clone());
    let look = SecondLook { kind: Kind::OtherStation, found_in: None, near: None };
    (ask(job, look, now), outcome)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{calling, now};
    use super::*;
    use crate::fax::job::State;
    use crate::fax::outcome::{Class, WhoActs};
    use crate::fax::retry::Counters;
    use crate::fax::station::OtherStation;
    use crate::fax::transition::Alteration;

    fn other(answered: &str) -> Progress {
        let other = OtherStation { answered: answered.into(), known: "OLD".into() };
        Progress { answered_at: Some(now()), other_station: Some(other), ..Progress::default() }
    }

    fn ended(job: Job, last: &Progress, class: Class) -> (Moved, Outcome) {
        let Stage::Calling(calling) = Stage::of(job) else { panic!("it is being called") };
        calling.ended(1, last, CallEnd::Failed(Fault::of(class)), now(), 1)
    }

    fn kinds(moved: &Moved) -> Vec<&str> {
        moved.events().iter().map(|event| event.kind.as_str()).collect()
    }

    #[test]
    fn it_is_told_once_and_the_call_goes_on() {
        let Stage::Calling(call) = Stage::of(calling(1)) else { panic!() };
        let moved = call.progressed(&Progress { first_data_at: Some(now()), ..other("NEW") }, now());
        assert_eq!(kinds(&moved), ["fax.sending", "fax.other_station"]);
        assert_eq!(moved.events()[1].data["held"], false);
        assert!(!moved.events().iter().any(|event| event.data.to_string().contains("NEW")));
        let (again, _) = ended(moved.into_job(), &other("NEW"), Class::RemoteHungUp);
        assert_eq!(kinds(&again), ["fax.waiting"]);
        let (third, _) =
            ended(Job { state: State::Sending, ..again.into_job() }, &other("THIRD"), Class::Busy);
        assert_eq!(kinds(&third), ["fax.other_station", "fax.waiting"]);
        assert_eq!(third.job().other_station.as_ref().unwrap().answered, "THIRD");
    }

    #[test]
    fn a_fax_is_held_for_it_and_pays_nothing() {
        let (moved, outcome) = ended(calling(2), &other("NEW"), Class::OtherStation);
        assert_eq!(kinds(&moved), ["fax.other_station", "fax.held", "fax.second_look"]);
        assert_eq!(moved.events()[0].data["held"], true);
        assert_eq!(moved.events()[2].data["kind"], "other_station");
        assert_eq!((outcome.class, outcome.who_acts), (Class::OtherStation, Some(WhoActs::Sender)));
        let held = moved.into_job();
        assert_eq!((held.state, held.counters, held.lease_until), (State::Held, Counters::default(), None));
        assert!(held.is_to_be_looked_at());
        let accepted = Stage::of(held.clone()).station_to_accept();
        assert_eq!(accepted.as_deref(), Some("NEW"));

        let released = Stage::of(held.clone()).release(now()).unwrap().into_job();
        assert_eq!((released.state, &released.other_station), (State::Queued, &None));
        assert_eq!(Stage::of(released).station_to_accept(), None);
        let to = Some(("+15559990000".into(), "+15559990000".parse().unwrap()));
        let corrected = Stage::of(held).alter(Alteration { to, ..Alteration::default() }, now()).unwrap();
        assert_eq!((corrected.job().state, &corrected.job().other_station), (State::Queued, &None));
    }

    #[test]
    fn who_cancels_it_is_not_asked_to_look() {
        let asked = Stage::of(calling(1)).cancel("the sender", now()).unwrap().into_job();
        assert_eq!(ended(asked, &other("NEW"), Class::OtherStation).0.job().state, State::Cancelled);
    }
}
