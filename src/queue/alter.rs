//! What people change of a fax that was accepted and has not been sent.
//!
//! Owns: altering and holding, each recorded in the audit log with the change. Refuses: what
//! [`crate::fax::transition`] refuses, and another number that the key may not spend on.

use super::{Queue, QueueError};
use crate::access::audit::{Action, Context, Snapshot};
use crate::auth::limits::Allowance;
use crate::fax::job::{Job, State};
use crate::fax::transition::{Alteration, Unalterable};
use crate::id::JobId;

impl Queue {
    /// Changes a fax that waits; `Err` inside tells why it stays as it is. Another number counts
    /// among the new ones that `allowance` bounds.
    pub async fn alter(
        &self,
        job: &Job,
        mut change: Alteration,
        allowance: Option<Allowance>,
        by: &Context,
    ) -> Result<Result<Job, Unalterable>, QueueError> {
        let inner = &self.inner;
        let now = inner.clock.now();
        if let Some((_, to)) = &change.to {
            inner.check_number(&job.route, to)?;
        }
        if let Some((_, to)) = change.to.as_ref().filter(|(_, to)| *to != job.to)
            && let Some(allowance) = allowance.filter(|_| inner.spends(&job.route))
        {
            allowance.spend(inner.expense(to, 0, Some(now))?)?;
        }
        if let Some((_, to)) = change.to.as_ref().filter(|(_, to)| *to != job.to) {
            change.second_look = self.second_look(&job.route, to).await?;
        }
        let event = by.event(Action::FaxAltered, job.id, now).before(before(job)).after(after(&change));
        let moved = match inner.db.audited(event).alter_job(job.id, change, now).await? {
            Ok(moved) => moved,
            Err(refusal) => return Ok(Err(refusal)),
        };
        inner.moved(job.id, moved.freed()).await;
        Ok(Ok(moved.into_job()))
    }

    /// Holds a fax until it is released; `Err` with the state of one that cannot be held.
    pub async fn hold(&self, id: JobId, by: &Context) -> Result<Result<Job, State>, QueueError> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let event = by.event(Action::FaxHeld, id, now);
        let moved = inner
            .db
            .audited(event)
            .move_job(id, move |stage| {
                let state = stage.state();
                stage.hold(now).ok_or(state)
            })
            .await?;
        let moved = match moved {
            Ok(moved) => moved,
            Err(state) => return Ok(Err(state)),
        };
        inner.moved(id, moved.freed()).await;
        Ok(Ok(moved.into_job()))
    }
}

/// What the audit log keeps of a fax before it is changed.
fn before(job: &Job) -> Snapshot {
    Snapshot::new()
        .with("to", job.to.masked())
        .with("priority", job.priority.as_str())
        .with("schedule_at", job.schedule_at.map(|at| at.to_string()))
        .with("hours", job.hours.as_ref().map(ToString::to_string))
        .with("deadline_at", job.deadline_at.to_string())
}

/// What of it is changed.
fn after(change: &Alteration) -> Snapshot {
    let mut snapshot = Snapshot::new();
    if let Some((_, to)) = &change.to {
        snapshot = snapshot.with("to", to.masked());
    }
    if let Some(priority) = change.priority {
        snapshot = snapshot.with("priority", priority.as_str());
    }
    if let Some(schedule_at) = change.schedule_at {
        snapshot = snapshot.with("schedule_at", schedule_at.map(|at| at.to_string()));
    }
    if let Some(hours) = &change.hours {
        snapshot = snapshot.with("hours", hours.as_ref().map(ToString::to_string));
    }
    if let Some(deadline) = change.deadline_at {
        snapshot = snapshot.with("deadline_at", deadline.to_string());
    }
    snapshot
}
