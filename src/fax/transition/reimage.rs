//! Making the pages of a fax again in the most compatible form, once.
//!
//! Owns: that a machine which cannot take a page is asked a second time, with pages that every
//! machine takes. Refuses: a third time; what refuses those refuses all.

use crate::fax::job::Job;
use crate::fax::outcome::{Class, Fault};

/// Whether the pages are made again because of this fault; from then on they are.
pub(super) fn because_of(job: &mut Job, fault: &Fault) -> bool {
    let is_refused = fault.class == Class::Incompatible && !job.is_reimaged;
    job.is_reimaged |= is_refused;
    is_refused
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::tests::{calling, now};
    use super::*;
    use crate::fax::attempt::{CallEnd, Progress};
    use crate::fax::job::State;
    use crate::fax::outcome::Outcome;
    use crate::fax::transition::{Alteration, Stage};

    fn refused(job: Job) -> (Job, Outcome) {
        let Stage::Calling(calling) = Stage::of(job) else { panic!("it is being called") };
        let fault = Fault::t30(11).on_page(1);
        let (moved, outcome) = calling.ended(1, &Progress::default(), CallEnd::Failed(fault), now(), 1);
        (moved.into_job(), outcome)
    }

    #[test]
    fn a_machine_that_cannot_take_a_page_is_asked_once_more() {
        let (again, outcome) = refused(calling(2));
        assert_eq!((again.state, again.is_reimaged, again.counters.tries), (State::Waiting, true, 1));
        assert_eq!(again.next_try_at, Some(now() + SignedDuration::from_mins(1)));
        assert!(outcome.retryable && outcome.class == Class::Incompatible);
        assert_eq!(
            outcome.human,
            "The other machine cannot take page 1. The pages are made again in standard resolution. \
             Trying again at 12:01 UTC."
        );
        let (failed, outcome) = refused(Job { state: State::Dialing, ..again.clone() });
        assert_eq!((failed.state, outcome.retryable), (State::Failed, false));
        // Another machine is asked with the pages as they were.
        let to = Some(("+15559990000".into(), "+15559990000".parse().unwrap()));
        let elsewhere = Stage::of(again).alter(Alteration { to, ..Alteration::default() }, now()).unwrap();
        assert!(!elsewhere.job().is_reimaged);
        let late = Job { deadline_at: now() + SignedDuration::from_secs(30), ..calling(2) };
        assert_eq!(refused(late).0.state, State::Expired);
    }
}
