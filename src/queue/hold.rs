//! Pausing all dialling, and the limits over all faxes together.
//!
//! Owns: whether calls may begin at all. The holds are in the database; the transaction that begins
//! a call looks at them too, so that none begins after a pause was acknowledged. Calls under way are
//! let finish. Refuses: to let a fax's deadline pass while it is kept waiting here.

use jiff::Timestamp;

use super::{Inner, Queue, QueueError, lock};
use crate::access::audit::{Action, Context, Snapshot, Target};
use crate::fax::dialling::{Cause, Dialling, Hold, Spent};
use crate::fax::job::Job;

/// Whether calls may begin, and what was spent.
#[derive(Clone, Debug)]
pub struct DiallingState {
    /// The holds in force.
    pub dialling: Dialling,
    /// What was spent in this hour and on this day.
    pub spent: Spent,
    /// Calls under way.
    pub calls: usize,
}

impl Queue {
    /// What keeps calls from beginning, and whom.
    pub fn dialling(&self) -> Result<Dialling, QueueError> {
        self.inner.dialling()
    }

    /// The same for showing this job. Of one that has ended or is being called it keeps nothing
    /// waiting, so nothing is read: most questions are about such jobs.
    pub fn dialling_for(&self, job: &Job) -> Result<Dialling, QueueError> {
        if job.state.is_final() || job.state.is_calling() { Ok(Dialling::default()) } else { self.dialling() }
    }

    /// Whether calls may begin, and what was spent.
    pub fn dialling_state(&self) -> Result<DiallingState, QueueError> {
        let inner = &self.inner;
        let dialling = inner.dialling()?;
        let spent = inner.db.spent(&dialling.spending, inner.clock.now())?;
        Ok(DiallingState { dialling, spent, calls: lock(&inner.calls).len() })
    }

    /// Lets no call begin until somebody resumes; those under way finish. Pausing twice changes
    /// nothing.
    pub async fn pause(&self, reason: Option<String>, by: &Context) -> Result<(), QueueError> {
        let inner = &self.inner;
        let since = inner.clock.now();
        let hold = Hold { cause: Cause::Paused, since, until: None, by: by.actor.clone(), reason };
        let event = by
            .event(Action::DiallingPaused, dialling_target(), since)
            .after(Snapshot::new().with("paused", true))
            .reason(hold.reason.clone());
        if inner.db.audited(event).pause(hold).await? {
            log::warn!("all dialling was paused by {}", by.actor);
        }
        Ok(())
    }

    /// Lets calls begin again; faxes get the time back that they were kept waiting.
    pub async fn resume(&self, by: &Context) -> Result<(), QueueError> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let event = by
            .event(Action::DiallingResumed, dialling_target(), now)
            .after(Snapshot::new().with("paused", false));
        if inner.db.audited(event).resume(inner.spending_routes(), now).await? {
            log::warn!("dialling was resumed by {}", by.actor);
            inner.call_dispatcher();
        }
        Ok(())
    }
}

impl Inner {
    pub(super) fn dialling(&self) -> Result<Dialling, QueueError> {
        let mut routes = self.routes_now();
        self.db.mark_routes(&mut routes, self.clock.now())?;
        Ok(Dialling {
            holds: self.db.holds()?,
            spending: self.spending_routes(),
            limits: self.policy().limits,
            routes,
        })
    }

    /// The holds that are in force at `now`; limits that have room again end here.
    pub(super) async fn holds_at(&self, now: Timestamp) -> Result<Dialling, QueueError> {
        let dialling = self.dialling()?;
        if !dialling.holds.iter().any(|hold| hold.cause != Cause::Paused) {
            return Ok(dialling);
        }
        let ended = self.db.end_limits(self.spending_routes(), self.policy().limits, now).await?;
        for cause in &ended {
            log::info!("dialling goes on: the limit '{}' has room again", cause.as_str());
        }
        if ended.is_empty() { Ok(dialling) } else { self.dialling() }
    }

    /// Names of the routes whose calls cost money.
    pub(super) fn spending_routes(&self) -> Vec<String> {
        let spending = self.lines.iter().filter(|line| line.route.spends());
        spending.map(|line| line.route.name().to_owned()).collect()
    }
}

fn dialling_target() -> Target {
    Target::new("dialling", "all")
}

#[cfg(test)]
mod tests;
