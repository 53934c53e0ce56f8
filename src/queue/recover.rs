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
use crate::fax::attempt::{self, Attempt, CallEnd, PageConfirmation, Progress};
use crate::fax::job::Job;
use crate::fax::outcome::{Class, Fault};
use crate::route::Settled;

/// How a lost call is closed: what is still to be recorded of it, and its end.
#[derive(Clone, Debug, PartialEq)]
struct Verdict {
    last: Progress,
    end: CallEnd,
}

/// Decides what a lost call was, from what is on disk and what its route knows.
///
/// The route's word goes first. Without it, a call of which no page data had left is an
/// interruption and costs nothing; one of which some had left has an unknown outcome, unless every
/// page was confirmed already, which [`crate::fax::transition`] sees by itself.
fn verdict(job: &Job, attempt: &Attempt, settled: Settled, now: Timestamp) -> Verdict {
    let interrupted = CallEnd::Failed(Fault::of(Class::Interrupted));
    match settled {
        Settled::Delivered => {
            let pages = attempt.first_page..=job.pages.unwrap_or_default();
            let confirmed = pages.map(|page| PageConfirmation { page, confirmed_at: now, bytes: 0, duration_ms: 0 });
            Verdict { last: Progress { pages: confirmed.collect(), ..Progress::default() }, end: CallEnd::Delivered }
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
        let down = self.db.resume_after_downtime(now).await?;
        let lost = self.db.lost_calls(Timestamp::MAX)?;
        if !lost.is_empty() {
            log::info!("{} calls were under way when the appliance stopped, {} s ago", lost.len(), down.as_secs());
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
        let seed = attempt::seed(attempt.id);
        match self.db.finish_call(job.id, attempt.id, last, end, now, seed).await {
            // Its own task was faster.
            Ok(_) | Err(DbError::Conflict) => {
                self.changes.tell(job.id);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
