//! How a route tells what happens in its call.
//!
//! Owns: the progress of one call between two durable writes. What must be on disk before the call
//! goes on ([`Reporter::first_data`]) can fail; what already happened ([`Reporter::page_confirmed`])
//! cannot be undone by a failing disk: it stays here and goes with the next write, at the latest
//! with the end of the call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::clock::Clock;
use crate::crash::{self, Step};
use crate::db::{Db, DbError};
use crate::events::Changes;
use crate::fax::attempt::{Carriage, Direction, PageConfirmation, Progress, TraceEntry};
use crate::fax::station::OtherStation;
use crate::id::{AttemptId, JobId};

/// What has to be on disk before the call goes on is not; the route ends the call.
#[derive(Debug, thiserror::Error)]
#[error("the progress of the call could not be stored")]
pub struct NotRecorded(#[from] DbError);

/// Where one call's progress is told. Clones tell the same call's.
#[derive(Clone)]
pub struct Reporter {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    changes: Changes,
    clock: Clock,
    job: JobId,
    attempt: AttemptId,
    started_at: Timestamp,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    progress: Progress,
    has_first_data: bool,
}

impl Reporter {
    /// The reporter of a call that began at `started_at`.
    pub fn new(
        db: Db,
        changes: Changes,
        clock: Clock,
        job: JobId,
        attempt: AttemptId,
        started_at: Timestamp,
    ) -> Self {
        let pending = Mutex::default();
        Self { inner: Arc::new(Inner { db, changes, clock, job, attempt, started_at, pending }) }
    }

    /// One rung of the ladder; stored with the next durable report.
    pub fn trace(&self, direction: Direction, frame: impl Into<String>, note: Option<&str>) {
        let elapsed = self.inner.clock.now().duration_since(self.inner.started_at);
        let entry = TraceEntry {
            at_ms: u64::try_from(elapsed.as_millis()).unwrap_or(0),
            direction,
            frame: frame.into(),
            note: note.map(Into::into),
        };
        self.pending().progress.trace.push(entry);
    }

    /// A fax machine answered; `station_id` is what it calls itself (CSI), if it told, and `other` that
    /// it is another one than is known.
    pub(super) fn answered(&self, station_id: Option<&str>, other: Option<OtherStation>) {
        let now = self.inner.clock.now();
        let mut pending = self.pending();
        pending.progress.answered_at.get_or_insert(now);
        pending.progress.other_station = other;
        if let Some(id) = station_id {
            pending.progress.remote_station_id = Some(id.into());
        }
    }

    /// How the pages will travel.
    pub fn carriage(&self, carriage: Carriage) {
        self.pending().progress.carriage = carriage;
    }

    /// Page data is about to leave for the first time in this call. Durable on return; from here
    /// on, a call that is lost may have delivered something.
    pub async fn first_data(&self) -> Result<(), NotRecorded> {
        let now = self.inner.clock.now();
        {
            let mut pending = self.pending();
            pending.progress.first_data_at.get_or_insert(now);
        }
        match self.store().await {
            Ok(()) => {
                crash::after(Step::FirstData);
                self.pending().has_first_data = true;
                Ok(())
            }
            Err(error) => {
                // It did not leave, since it is not recorded.
                self.pending().progress.first_data_at = None;
                Err(error.into())
            }
        }
    }

    /// The other machine confirmed a page. Durable on return, or kept for the next write.
    pub async fn page_confirmed(&self, page: PageConfirmation) {
        self.confirmed_with_end(page);
        match self.store().await {
            Ok(()) => crash::after(Step::PageConfirmed),
            Err(error) => {
                let attempt = self.inner.attempt;
                log::warn!("attempt {attempt}: a confirmed page will be stored later: {error}");
            }
        }
    }

    /// Pages confirmed together with the end of the call, by a route that can still tell after a
    /// crash; stored in one write with that end.
    pub fn confirmed_with_end(&self, page: PageConfirmation) {
        self.pending().progress.pages.push(page);
    }

    /// Whether page data has left in this call.
    pub fn has_first_data(&self) -> bool {
        self.pending().has_first_data
    }

    /// Takes what is not stored yet, to be stored with the end of the call.
    pub fn take_rest(&self) -> Progress {
        std::mem::take(&mut self.pending().progress)
    }

    async fn store(&self) -> Result<(), DbError> {
        let progress = self.take_rest();
        let Inner { db, changes, clock, job, attempt, .. } = &*self.inner;
        match db.report_progress(*job, *attempt, progress.clone(), clock.now()).await {
            Ok(_) => {
                changes.tell(*job);
                Ok(())
            }
            Err(error) => {
                let mut pending = self.pending();
                let later = std::mem::replace(&mut pending.progress, progress);
                pending.progress.extend(later);
                Err(error)
            }
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.inner.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
