//! Changing a fax that has not been sent yet.
//!
//! Owns: what may still be changed, and where the fax goes after it. Refuses: to change what is
//! under way or has ended, and to turn a fax of which pages arrived somewhere to another number.

use jiff::Timestamp;

use super::second_look::ask;
use super::{Moved, Preparing, Queued, Sleeping, Stage, begin, touch};
use crate::clock::whole_ms;
use crate::fax::event::Event;
use crate::fax::hours::Hours;
use crate::fax::job::{Job, Priority, State};
use crate::fax::number::FaxNumber;
use crate::fax::retry::{self, Counters};
use crate::fax::second_look::SecondLook;

/// What is to be changed; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alteration {
    /// Another number: as it was written, and as it is dialled.
    pub to: Option<(String, FaxNumber)>,
    /// Another urgency.
    pub priority: Option<Priority>,
    /// Another first send time; `Some(None)` is as soon as possible.
    pub schedule_at: Option<Option<Timestamp>>,
    /// Other hours of the week; `Some(None)` is any.
    pub hours: Option<Option<Hours>>,
    /// Another time to give up at.
    pub deadline_at: Option<Timestamp>,
    /// Another reference of the client's own; `Some(None)` takes it away.
    pub tag: Option<Option<String>>,
    /// What is striking about the other number, so that somebody has to look at it first.
    pub second_look: Option<SecondLook>,
}

/// Why a fax stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unalterable {
    /// A call is under way, or it has ended.
    #[error("the fax is {0}")]
    State(State),
    /// Pages arrived at the number it has.
    #[error("{0} pages have arrived at its number already")]
    PartlyDelivered(u32),
    /// It would be given up before it is sent for the first time.
    #[error("the deadline is not later than the first send time")]
    DeadlineFirst,
}

impl Stage {
    /// Changes a fax that waits for its turn, its time or its release. Another number begins with
    /// fresh counts; another send time moves the default deadline along.
    pub fn alter(self, change: Alteration, now: Timestamp) -> Result<Moved, Unalterable> {
        let mut job = match self {
            Self::Preparing(Preparing(job)) | Self::Sleeping(Sleeping(job)) | Self::Queued(Queued(job)) => {
                job
            }
            Self::Calling(calling) => return Err(Unalterable::State(calling.job().state)),
            Self::Final(last) => return Err(Unalterable::State(last.job().state)),
        };
        let is_elsewhere = change.to.as_ref().is_some_and(|(_, to)| *to != job.to);
        if is_elsewhere && job.confirmed_pages > 0 {
            return Err(Unalterable::PartlyDelivered(job.confirmed_pages));
        }
        if let Some((raw, to)) = change.to {
            (job.to_raw, job.to) = (raw, to);
        }
        if is_elsewhere {
            (job.counters, job.outcome) = (Counters::default(), None);
            (job.other_station, job.is_reimaged) = (None, false);
        }
        if let Some(priority) = change.priority {
            let has_failed = job.rank != job.priority.rank() && !is_elsewhere;
            job.rank = if has_failed { priority.rank_after_failure() } else { priority.rank() };
            job.priority = priority;
        }
        if let Some(tag) = change.tag {
            job.tag = tag;
        }
        let has_new_hours = change.hours.as_ref().is_some_and(|hours| *hours != job.hours);
        if let Some(hours) = change.hours {
            job.hours = hours;
        }
        // Asleep for the hours it had: it is seen anew whether it may be sent.
        let is_woken = has_new_hours && job.waits_for_hours().is_some();
        if is_woken {
            take_back_closed_time(&mut job, now);
        }
        let is_rescheduled = change.schedule_at.is_some();
        if let Some(schedule_at) = change.schedule_at {
            job.schedule_at = schedule_at.map(whole_ms);
        }
        let first_send = job.schedule_at.map_or(now, |at| at.max(now));
        match change.deadline_at {
            Some(deadline) => (job.deadline_at, job.closed_until) = (whole_ms(deadline), None),
            None if is_rescheduled || is_elsewhere => {
                job.deadline_at = whole_ms(first_send.checked_add(retry::DEADLINE).unwrap_or(Timestamp::MAX));
                job.closed_until = None;
            }
            None => {}
        }
        if job.deadline_at <= first_send {
            return Err(Unalterable::DeadlineFirst);
        }
        // Somebody has looked at the number it had.
        let is_corrected = is_elsewhere && job.is_to_be_looked_at();
        match change.second_look.filter(|_| is_elsewhere) {
            Some(look) => {
                let mut moved = ask(job, look, now);
                moved.events.insert(0, Event::about(&moved.job, "altered"));
                Ok(moved)
            }
            None if is_corrected => {
                job.second_look = None;
                let mut moved = begin(job, now);
                moved.events.insert(0, Event::about(&moved.job, "altered"));
                Ok(moved)
            }
            None => Ok(place(job, is_rescheduled || is_elsewhere || is_woken, now)),
        }
    }
}

/// Takes off its deadline what was added for hours that are still to come.
fn take_back_closed_time(job: &mut Job, now: Timestamp) {
    if let Some(until) = job.closed_until.filter(|until| *until > now) {
        let ahead = until.duration_since(now);
        job.deadline_at = whole_ms(job.deadline_at.checked_sub(ahead).unwrap_or(job.deadline_at));
        job.closed_until = Some(whole_ms(now));
    }
}

/// Where a changed fax goes: on its way anew when its number or time changed, else it stays.
fn place(mut job: Job, begins_anew: bool, now: Timestamp) -> Moved {
    if !begins_anew || job.state == State::Held {
        touch(&mut job, now);
        // With another rank its turn may come before that of the one it waits for; the dispatcher sees.
        job.is_blocked = false;
        let events = vec![Event::about(&job, "altered")];
        return Moved::in_place(job, events);
    }
    let before = job.state;
    let mut moved = begin(job, now);
    let altered = Event::about(&moved.job, "altered");
    if moved.job.state == before {
        moved.events = vec![altered];
    } else {
        moved.events.insert(0, altered);
    }
    moved
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::tests::{calling, now, queued};
    use super::*;
    use crate::fax::outcome::{Class, Fault, Outcome};
    use crate::fax::retry::Next;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn to(number: &str) -> Option<(String, FaxNumber)> {
        Some((number.into(), number.parse().unwrap()))
    }

    /// Was busy twice and waits.
    fn waiting() -> Job {
        let outcome = Outcome::of_fault(Fault::of(Class::Busy), Next::RetryAt(now() + HOUR));
        let counters = Counters { dials: 2, busies: 2, ..Counters::default() };
        let rank = Priority::Bulk.rank_after_failure();
        let next_try_at = Some(now() + HOUR);
        let priority = Priority::Bulk;
        let outcome = Some(outcome);
        Job { state: State::Waiting, next_try_at, counters, outcome, priority, rank, ..queued(3) }
    }

    fn alter(job: Job, change: Alteration) -> Result<Moved, Unalterable> {
        Stage::of(job).alter(change, now())
    }

    fn kinds(moved: &Moved) -> Vec<&str> {
        moved.events().iter().map(|event| event.kind.as_str()).collect()
    }

    #[test]
    fn another_number_begins_anew() {
        let change = Alteration { to: to("+15559990000"), ..Alteration::default() };
        let moved = alter(waiting(), change.clone()).unwrap();
        let job = moved.job();
        assert_eq!((job.to.as_e164(), job.to_raw.as_str()), ("+15559990000", "+15559990000"));
        assert_eq!((job.state, job.counters, job.next_try_at), (State::Queued, Counters::default(), None));
        assert_eq!(job.outcome, None);
        assert_eq!(job.deadline_at, now() + SignedDuration::try_from(retry::DEADLINE).unwrap());
        assert_eq!(kinds(&moved), ["fax.altered", "fax.queued"]);

        let same = Alteration { to: to(waiting().to.as_e164()), ..Alteration::default() };
        let moved = alter(waiting(), same).unwrap();
        assert_eq!((moved.job().state, moved.job().counters.dials), (State::Waiting, 2), "the same number");

        let partly = Job { confirmed_pages: 1, ..waiting() };
        assert_eq!(alter(partly, change).unwrap_err(), Unalterable::PartlyDelivered(1));
    }

    #[test]
    fn another_time_moves_it_and_its_deadline() {
        let later = now() + HOUR * 24;
        let change = Alteration { schedule_at: Some(Some(later)), ..Alteration::default() };
        for job in [queued(1), waiting()] {
            let moved = alter(job, change.clone()).unwrap();
            assert_eq!((moved.job().state, moved.job().next_try_at), (State::Scheduled, Some(later)));
            assert!(moved.job().deadline_at > later);
        }
        let scheduled = alter(queued(1), change.clone()).unwrap().into_job();
        let at_once = Alteration { schedule_at: Some(None), ..Alteration::default() };
        let moved = alter(scheduled, at_once).unwrap();
        assert_eq!((moved.job().state, moved.job().schedule_at), (State::Queued, None));

        let too_soon = Alteration { deadline_at: Some(later), ..change };
        assert_eq!(alter(queued(1), too_soon).unwrap_err(), Unalterable::DeadlineFirst);
    }

    #[test]
    fn other_hours_wake_it_and_cost_no_time() {
        let Stage::Queued(fax) = Stage::of(queued(1)) else { panic!("it is queued") };
        let night: Hours = "Any2300-0800".parse().unwrap();
        let asleep = fax.outside_hours(now() + HOUR * 11, now()).into_job();
        let asleep = Job { hours: Some(night.clone()), ..asleep };
        let to = |hours: Option<&Hours>| Alteration { hours: Some(hours.cloned()), ..Alteration::default() };
        let later = now() + HOUR;
        let moved = Stage::of(asleep.clone()).alter(to(None), later).unwrap();
        let job = moved.job();
        assert_eq!((job.state, &job.hours, job.waits_for_hours()), (State::Queued, &None, None));
        assert_eq!(job.deadline_at, now() + HOUR * 4, "the hour it slept is added");
        assert_eq!(kinds(&moved), ["fax.altered", "fax.queued"]);
        let moved = Stage::of(asleep.clone()).alter(to(Some(&night)), later).unwrap();
        assert_eq!((moved.job().state, moved.job().deadline_at), (State::Scheduled, asleep.deadline_at));
        // One that waits after a call is looked at when its time has come.
        let moved = alter(waiting(), to(Some(&night))).unwrap();
        assert_eq!((moved.job().state, &moved.job().hours), (State::Waiting, &Some(night)));
    }

    #[test]
    fn urgency_and_reference_leave_it_where_it_is() {
        let change = Alteration {
            priority: Some(Priority::High),
            tag: Some(Some("invoice 8".into())),
            ..Alteration::default()
        };
        let moved = alter(waiting(), change.clone()).unwrap();
        let job = moved.job();
        assert_eq!((job.state, job.next_try_at), (State::Waiting, waiting().next_try_at));
        assert_eq!((job.rank, job.tag.as_deref()), (Priority::High.rank_after_failure(), Some("invoice 8")));
        assert_eq!(kinds(&moved), ["fax.altered"]);
        assert_eq!(alter(queued(1), change).unwrap().job().rank, Priority::High.rank());
        let held = Stage::of(queued(1)).hold(now()).unwrap().into_job();
        let elsewhere = Alteration { to: to("+15559990000"), ..Alteration::default() };
        assert_eq!(alter(held, elsewhere).unwrap().job().state, State::Held);
    }

    #[test]
    fn what_is_called_or_has_ended_stays() {
        let ended = Stage::of(queued(1)).cancel("x", now()).unwrap().into_job();
        for job in [calling(1), ended] {
            let refusal = Unalterable::State(job.state);
            assert_eq!(alter(job, Alteration::default()).unwrap_err(), refusal);
        }
    }
}
