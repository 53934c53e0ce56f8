//! What the manual says of the faxes and routes of a history.
//!
//! Owns: who is dialled, who waits for hours, what the end of a call makes of its fax and of its
//! route, in the manual's words and not in those of the code it judges.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Call, Route, World};
use crate::fax::attempt::CallEnd;
use crate::fax::job::{Job, State};
use crate::fax::outcome::Class;
use crate::id::JobId;

impl World {
    /// Whom the manual would dial, and over which route: by rank and age, one for each number, none
    /// where one is called or sleeps after a call, over the first route that has a line free and did
    /// not fail in this try. And who is put to sleep instead, because it is outside its hours.
    pub(super) fn expected_calls(&self, mut free: HashMap<String, u32>) -> (Vec<(JobId, String)>, Vec<Job>) {
        let jobs: Vec<Job> = self.order.iter().map(|id| self.job(*id)).collect();
        let is_engaged = |job: &Job| matches!(job.state, State::Dialing | State::Sending | State::Waiting);
        let mut engaged: Vec<_> =
            jobs.iter().filter(|job| is_engaged(job)).map(|job| job.to.clone()).collect();
        let mut ready: Vec<&Job> =
            jobs.iter().filter(|job| job.state == State::Queued && !job.is_blocked).collect();
        ready.sort_by_key(|job| (job.rank, job.seq));
        let (mut expected, mut asleep) = (Vec::new(), Vec::new());
        for job in ready {
            let failed = &self.faxes[&job.id].failed;
            let untried = job.routes.names().filter(|route| !failed.iter().any(|failed| failed == route));
            let Some(route) = untried.into_iter().find(|route| free[*route] > 0) else { continue };
            if self.opens_at(job).is_some() {
                asleep.push(job.clone());
            } else if !engaged.contains(&job.to) {
                engaged.push(job.to.clone());
                expected.push((job.id, route.to_owned()));
                *free.get_mut(route).unwrap() -= 1;
            }
        }
        (expected, asleep)
    }

    /// When the hours of a fax come; `None` within them.
    fn opens_at(&self, job: &Job) -> Option<Timestamp> {
        job.hours.as_ref()?.opens_at(self.now, &TimeZone::UTC)
    }

    /// A fax was put to sleep: the time until then does not count, and no moment of it twice.
    pub(super) fn sleeps(&self, before: &Job, job: &Job) {
        assert_eq!((job.state, job.next_try_at), (State::Scheduled, self.opens_at(before)));
        let counted_from = before.closed_until.map_or(self.now, |until| until.max(self.now));
        let added = job.next_try_at.unwrap().duration_since(counted_from).max(SignedDuration::ZERO);
        assert_eq!(job.deadline_at, before.deadline_at + added);
    }

    /// Whether the model has this route out of service, with no call to be let through.
    pub(super) fn is_out(&self, route: &str) -> bool {
        self.routes[route].next_probe_at.is_some_and(|at| at > self.now)
    }

    /// What the manual says of a route after a call: five failures in a row to several numbers, or
    /// a refused login, and it is out until a call gets through.
    pub(super) fn learn(&mut self, before: &Job, end: &CallEnd) {
        let class = match end {
            CallEnd::Delivered => Class::Delivered,
            CallEnd::Failed(fault) => fault.class,
        };
        let route = self.routes.get_mut(&before.route).unwrap();
        if matches!(class, Class::Network | Class::Provider | Class::TrunkAuth) {
            route.failed_at.push(before.to.as_e164().to_owned());
            let is_several = route.failed_at.iter().any(|to| *to != route.failed_at[0]);
            let is_due = route.next_probe_at.is_some_and(|at| at <= self.now);
            let goes_out = route.next_probe_at.is_none()
                && (class == Class::TrunkAuth || (route.failed_at.len() >= 5 && is_several));
            if is_due || goes_out {
                route.probes = if goes_out { 0 } else { route.probes + 1 };
                let minutes = [1, 2, 5, 10, 15][route.probes.min(4)];
                route.next_probe_at = Some(self.now + SignedDuration::from_mins(minutes));
            }
            if goes_out {
                // Whatever waits for a turn may take all its routes again.
                for id in &self.order {
                    if self.db.job(*id).unwrap().unwrap().state == State::Queued && *id != before.id {
                        self.faxes.get_mut(id).unwrap().failed.clear();
                    }
                }
            }
        } else if !matches!(
            class,
            Class::NoLine | Class::MediaLost | Class::UnknownOutcome | Class::Interrupted | Class::Cancelled
        ) {
            *route = Route::default();
        }
    }

    /// What the manual says of the end of a call.
    pub(super) fn judge(&mut self, before: &Job, after: &Job, call: &Call, end: &CallEnd, open: &[String]) {
        let fax = self.faxes.get_mut(&after.id).unwrap();
        let is_complete = Some(after.confirmed_pages) == after.pages;
        assert_eq!(after.state == State::Delivered, is_complete, "success is every page confirmed");
        if is_complete {
            return;
        }
        let class = match end {
            CallEnd::Delivered => Class::PageNotConfirmed,
            CallEnd::Failed(fault) => fault.class,
        };
        if before.cancel_asked_by.is_some() && class != Class::UnknownOutcome {
            assert_eq!(after.state, State::Cancelled);
            return;
        }
        if class == Class::OtherStation {
            assert_eq!((after.state, after.counters), (State::Held, before.counters), "somebody has to look");
            return;
        }
        // A route that fails costs nothing and hands the fax to the next one, within the same try.
        let is_of_the_route =
            matches!(class, Class::Network | Class::TrunkAuth | Class::NoLine | Class::Provider);
        fax.failed.push(before.route.clone());
        let untried = |route: &&str| !fax.failed.iter().any(|failed| failed == route);
        let is_other_left =
            before.routes.names().filter(untried).any(|route| open.iter().any(|open| open == route));
        if is_of_the_route && is_other_left && before.deadline_at > self.now {
            assert_eq!((after.state, after.rank), (State::Queued, before.rank), "on at once");
            assert_eq!((after.counters.dials, after.counters.outages), (fax.dials, before.counters.outages));
            return;
        }
        fax.failed.clear();
        if !class.is_free() {
            fax.dials += 1;
            fax.people += u32::from(class == Class::HumanOrVoice);
            if class.is_try() {
                fax.tries += 1;
                fax.fruitless = if after.confirmed_pages < call.first_page { fax.fruitless + 1 } else { 0 };
            }
        }
        let is_refused_again = class == Class::Incompatible && before.is_reimaged;
        let is_hopeless = is_refused_again
            || matches!(class, Class::NumberBad | Class::RejectedRemote | Class::UnknownOutcome);
        let is_spent = !class.is_free() && (fax.dials >= 12 || fax.tries >= 3 || fax.fruitless >= 3);
        let is_silent = class == Class::NoAnswer && fax.dials >= 2;
        let gives_up = is_hopeless || is_spent || (class == Class::HumanOrVoice && fax.people >= 2);
        match after.state {
            State::Waiting | State::Queued => assert!(!gives_up, "{class} after {} dials", fax.dials),
            State::Partial => assert!(after.confirmed_pages > 0),
            State::Failed => assert!(gives_up || is_silent, "{class} after {} dials", fax.dials),
            State::Expired => assert!(!gives_up, "{class}"),
            other => panic!("{class} ends in {other}"),
        }
        if after.state.is_final() {
            assert_eq!(after.confirmed_pages > 0, after.state == State::Partial);
        }
    }
}
