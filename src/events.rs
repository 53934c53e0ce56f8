//! Telling waiting requests inside this process that a fax has changed.
//!
//! Owns: who waits for which fax. Refuses: to carry content; whoever is woken reads the database,
//! so a lost or doubled call costs nothing but a read. The lasting log of what happened is the
//! `events` table, written with each change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::clock::{Clock, Wake, Work};
use crate::id::JobId;

/// The waiting of one appliance. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Changes {
    clock: Clock,
    waiting: Arc<Mutex<HashMap<JobId, Vec<Arc<Wake>>>>>,
}

impl Changes {
    /// Nobody waits yet.
    pub fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), waiting: Arc::default() }
    }

    /// Begins to watch a fax. Watch first and read it then: a change in between is not missed.
    pub fn watch(&self, job: JobId) -> Watch {
        let wake = Arc::new(Wake::new(&self.clock));
        self.lock().entry(job).or_default().push(wake.clone());
        Watch { changes: self.clone(), job, wake }
    }

    /// Wakes all who watch this fax; called after the change is on disk.
    pub fn tell(&self, job: JobId) {
        for wake in self.lock().get(&job).into_iter().flatten() {
            wake.call();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Vec<Arc<Wake>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watching of one fax; ends when dropped.
#[derive(Debug)]
pub struct Watch {
    changes: Changes,
    job: JobId,
    wake: Arc<Wake>,
}

impl Watch {
    /// Waits until the fax has changed since the last such wait, or until the clock shows `until`.
    pub async fn changed(&self, work: &mut Work, until: Timestamp) {
        work.wait_for(&self.wake, Some(until)).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.changes.lock();
        if let Some(wakes) = waiting.get_mut(&self.job) {
            wakes.retain(|wake| !Arc::ptr_eq(wake, &self.wake));
            if wakes.is_empty() {
                waiting.remove(&self.job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[tokio::test]
    async fn wakes_those_who_watch_this_fax_and_forgets_them() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::starting_at(start);
        let changes = Changes::new(&clock);
        let (mine, other) = (JobId::new(), JobId::new());
        let (watch_mine, watch_other) = (changes.watch(mine), changes.watch(other));
        let mut work = clock.work();
        let hour = start + SignedDuration::from_hours(1);
        changes.tell(mine);
        watch_mine.changed(&mut work, hour).await;
        assert_eq!(clock.now(), start, "told before it waited, and still woken");
        watch_other.changed(&mut work, hour).await;
        assert_eq!(clock.now(), hour, "not told");
        drop((watch_mine, watch_other));
        assert!(changes.lock().is_empty());
    }
}
