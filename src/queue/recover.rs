//! Closing calls that nobody attends to any more.
//!
//! Owns: the verdict on a call whose end nobody saw ([`verdict`], pure) and carrying it out, on
//! start for all that are open, later for those whose lease ended. Refuses: to guess a success.
//! What is closed here goes on by the same retry policy as any other call.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Inner, QueueError, lock};
use crate::db::DbError;
use crate::db::jobs::LostCall;
use crate::fax::attempt::{Attempt, CallEnd, PageConfirmation, Progress};
use crate::fax::job::Job;
use crate::fax::outcome::{Class, Fault};
use crate::route::Settled;

/// How a lost call is closed: what is still to be recorded of it, and its end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) last: Progress,
    pub(super) end: CallEnd,
}

/// Decides what a lost call was, from what is on disk and what its route knows.
///
/// The route's word goes first. Without it, a call of which no page data had left is an
/// interruption and costs nothing; one of which some had left has an unknown outcome, unless every
/// page was confirmed already, which [`crate::fax::transition`] sees by itself.
pub(super) fn verdict(job: &Job, attempt: &Attempt, settled: Settled, now: Timestamp) -> Verdict {
    let interrupted = CallEnd::Failed(Fault::of(Class::Interrupted));
    match settled {
        Settled::Delivered => {
            let pages = attempt.first_page..=job.pages.unwrap_or_default();
            let confirmed =
                pages.map(|page| PageConfirmation { page, confirmed_at: now, bytes: 0, duration_ms: 0 });
            Verdict {
                last: Progress { pages: confirmed.collect(), ..Progress::default() },
                end: CallEnd::Delivered,
            }
        }
        Settled::NotDelivered => Verdict { last: Progress::default(), end: interrupted },
        Settled::Unknown if attempt.first_data_at.is_none() => {
            Verdict { last: Progress::default(), end: interrupted }
        }
        Settled::Unknown => {
            let fault = Fault::of(Class::UnknownOutcome).on_page(job.confirmed_pages + 1);
            Verdict { last: Progress::default(), end: CallEnd::Failed(fault) }
        }
    }
}

impl Inner {
    /// On start: pushes deadlines out by the downtime, then closes every call that is open, since
    /// none of their tasks outlived the process.
    pub(super) async fn recover(&self) -> Result<(), QueueError> {
        let now = self.clock.now();
        let down = self.db.resume_after_downtime(self.spending_routes(), now).await?;
        self.note_downtime(down);
        let lost = self.db.lost_calls(Timestamp::MAX)?;
        if !lost.is_empty() {
            log::info!(
                "{} calls were under way when the appliance stopped, {} s ago",
                lost.len(),
                down.as_secs()
            );
        }
        for call in lost {
            self.close_lost(call, now).await?;
        }
        Ok(())
    }

    /// Closes calls whose lease ended: whoever attended to them is stuck.
    pub(super) async fn close_expired(self: &Arc<Self>, now: Timestamp) -> Result<(), QueueError> {
        for call in self.db.lost_calls(now)? {
            log::error!("attempt {}: nothing was heard of the call for too long", call.attempt.id);
            if let Some(task) = lock(&self.calls).remove(&call.attempt.id).and_then(|call| call.task) {
                task.abort();
            }
            self.close_lost(call, now).await?;
        }
        Ok(())
    }

    async fn close_lost(&self, call: LostCall, now: Timestamp) -> Result<(), QueueError> {
        let LostCall { job, attempt } = call;
        let line = self.lines.iter().find(|line| line.route.name() == attempt.route);
        let settled = line.map_or(Settled::Unknown, |line| line.route.settle(attempt.id, &job.to));
        let Verdict { last, end } = verdict(&job, &attempt, settled, now);
        match self.db.finish_call(job.id, attempt.id, last, end, now, self.ways()).await {
            // Its own task was faster.
            Ok(_) | Err(DbError::Conflict) => {
                self.changes.tell(job.id);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fax::job::Priority;
    use crate::fax::transition::{Acceptance, Content, Stage, accept};
    use crate::id::{AccountId, DocumentId};

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    /// A call of three pages, the first of them confirmed by an earlier call.
    fn lost_call(first_data_at: Option<Timestamp>) -> (Job, Attempt) {
        let accepted = accept(
            Acceptance {
                owner: AccountId::new(),
                key_id: None,
                to_raw: "+15551234567".into(),
                to: "+15551234567".parse().unwrap(),
                route: "loopback".into(),
                priority: Priority::Normal,
                resolution: "fine".into(),
                quality: "text".into(),
                content: Content::Ready(DocumentId::new(), 3),
                source_sha256: String::new(),
                tag: None,
                resend_of: None,
                notify: None,
                schedule_at: None,
                deadline_at: None,
                hours: None,
            },
            now(),
        );
        let job = Job { confirmed_pages: 1, ..accepted.into_job() };
        match Stage::of(job) {
            Stage::Queued(queued) => {
                let (moved, attempt) = queued.dial("loopback", now());
                (moved.into_job(), Attempt { first_data_at, ..attempt })
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_route_knows_best_and_a_doubt_is_said() {
        let cases = [
            (None, Settled::Unknown, Some(Class::Interrupted), None, vec![]),
            (Some(now()), Settled::Unknown, Some(Class::UnknownOutcome), Some(2), vec![]),
            (Some(now()), Settled::NotDelivered, Some(Class::Interrupted), None, vec![]),
            (None, Settled::Delivered, None, None, vec![2, 3]),
        ];
        for (first_data_at, settled, class, page, confirmed) in cases {
            let (job, attempt) = lost_call(first_data_at);
            let Verdict { last, end } = verdict(&job, &attempt, settled, now());
            let fault = match &end {
                CallEnd::Delivered => None,
                CallEnd::Failed(fault) => Some(fault),
            };
            assert_eq!(fault.map(|fault| fault.class), class, "{settled:?}");
            assert_eq!(fault.and_then(|fault| fault.detail.page), page, "{settled:?}");
            assert_eq!(last.pages.iter().map(|page| page.page).collect::<Vec<_>>(), confirmed, "{settled:?}");
        }
    }
}
