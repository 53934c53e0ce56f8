//! What is asked of a group, and done with all that is left of it.
//!
//! Owns: telling how far a group has come, and cancelling its faxes in batches, each recorded like a
//! fax cancelled alone. Refuses: to keep a group waiting for one of its faxes; each goes its own way.

use super::{Inner, Queue, QueueError};
use crate::access::audit::{Action, Context};
use crate::db::DbError;
use crate::fax::group::{Group, Tally};
use crate::fax::transition::Moved;
use crate::id::{GroupId, JobId};
use crate::route::EndEarly;

/// Faxes cancelled in one transaction: a few milliseconds of the writer's time.
const BATCH: u32 = 50;

/// A group and how far it has come.
#[derive(Clone, Debug)]
pub struct GroupState {
    /// The group.
    pub group: Group,
    /// How its faxes stand.
    pub tally: Tally,
}

impl Queue {
    /// The group with this id, as it stands.
    pub async fn group(&self, id: GroupId) -> Result<Option<GroupState>, QueueError> {
        Ok(self.inner.db.group(id).await?.map(|(group, tally)| GroupState { group, tally }))
    }

    /// Cancels what has not ended of a group, on behalf of `by`; calls under way are ended.
    pub async fn cancel_group(&self, id: GroupId, by: &Context) -> Result<(), QueueError> {
        let inner = &self.inner;
        loop {
            let open = inner.db.open_in_group(id, BATCH)?;
            if open.is_empty() {
                return Ok(());
            }
            match inner.cancel_all(open, by).await {
                // One of them ended meanwhile; the others are looked for again.
                Ok(()) | Err(QueueError::Db(DbError::Conflict)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Inner {
    async fn cancel_all(&self, ids: Vec<JobId>, by: &Context) -> Result<(), QueueError> {
        let now = self.clock.now();
        let mut rows = ids.iter().map(|id| by.event(Action::FaxCancelled, *id, now)).collect::<Vec<_>>();
        let Some(first) = rows.pop() else { return Ok(()) };
        let audited = self.db.audited(first).and(rows);
        let moved: Vec<Moved> = audited.cancel_jobs(ids, by.actor.clone(), now).await?;
        self.all_moved(&moved).await;
        for moved in moved.iter().filter(|moved| moved.job().state.is_calling()) {
            self.ask_to_hang_up(moved.job().id, EndEarly::Cancelled);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
