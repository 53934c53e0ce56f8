//! The pool of render workers.
//!
//! Owns who waits, who runs and who stays warm. There are two lanes: conversions, as many at once as the
//! settings say, and one for drawing pages, so that a preview never waits behind two documents of half a
//! minute. Each has a bounded queue; the next in line is told [`ConvertError::Busy`] at once.
//!
//! Invariants: a worker serves one lease at a time; it goes back into the pool only by
//! [`Lease::give_back`], which its holder calls after a sound answer; dropping a lease, as a cancelled
//! request does, kills the worker.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::ConvertError;
use super::process::{Spawner, WorkerProcess};
use super::protocol::Setup;
use super::sandbox::Protections;

/// Workers kept warm per lane: starting one takes milliseconds, so this is for the common case of one
/// document after another, and not for a burst.
const MAX_IDLE: usize = 2;

/// A warm worker is let go after this long without work.
const IDLE_FOR: Duration = Duration::from_secs(60);

/// Documents after which a worker is let go, so that nothing a document left behind lives for long.
const MAX_SERVED: u32 = 100;

/// Requests waiting for a worker, per lane. At half a second a document, the last of them waits some 15
/// seconds with two workers, which is within the 20 an upload waits for its conversion.
const MAX_WAITING: usize = 64;

/// Which workers a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Reading a document.
    Conversion,
    /// Drawing a page.
    Preview,
}

/// The workers of one server.
#[derive(Debug)]
pub(super) struct Pool {
    spawner: Spawner,
    setup: Setup,
    conversions: Arc<Lane>,
    previews: Arc<Lane>,
}

#[derive(Debug)]
struct Lane {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    workers: Vec<IdleWorker>,
    /// Whether a task sees to it that they are let go in time.
    is_watched: bool,
}

#[derive(Debug)]
struct IdleWorker {
    worker: WorkerProcess,
    since: Instant,
}

impl Pool {
    /// A pool of at most `workers` for conversions, and one for previews. Starts none yet.
    pub(super) fn new(spawner: Spawner, setup: Setup, workers: usize) -> Self {
        Self {
            spawner,
            setup,
            conversions: Arc::new(Lane::new(workers.max(1))),
            previews: Arc::new(Lane::new(1)),
        }
    }

    /// A worker, warm or new, when it is this request's turn.
    ///
    /// # Errors
    /// [`ConvertError::Busy`] when the queue is full, [`ConvertError::Unavailable`] when no worker can be
    /// started.
    pub(super) async fn lease(&self, purpose: Purpose) -> Result<Lease, ConvertError> {
        let lane = match purpose {
            Purpose::Conversion => &self.conversions,
            Purpose::Preview => &self.previews,
        };
        let permit = lane.turn().await?;
        let worker = match lane.take_idle() {
            Some(worker) => worker,
            None => {
                let worker = WorkerProcess::start(&self.spawner, &self.setup).await?;
                log_protections(worker.protections());
                worker
            }
        };
        Ok(Lease { worker, lane: lane.clone(), permit })
    }
}

impl Lane {
    fn new(workers: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(workers)),
            waiting: AtomicUsize::new(0),
            idle: Mutex::default(),
        }
    }

    /// Waits for a turn, first come, first served.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, ConvertError> {
        let permits = self.permits.clone();
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _place = Place::take(&self.waiting)?;
        permits.acquire_owned().await.map_err(|_| ConvertError::Internal("the pool is closed".into()))
    }

    /// The worker that was used last, if it still lives; those that do not are dropped on the way.
    fn take_idle(&self) -> Option<WorkerProcess> {
        while let Some(IdleWorker { mut worker, .. }) = self.idle().workers.pop() {
            if worker.is_alive() {
                return Some(worker);
            }
        }
        None
    }

    /// Keeps a worker warm, and sees to it that it is let go in time.
    fn keep(self: &Arc<Self>, worker: WorkerProcess) {
        let mut idle = self.idle();
        if idle.workers.len() >= MAX_IDLE {
            return;
        }
        idle.workers.push(IdleWorker { worker, since: Instant::now() });
        if std::mem::replace(&mut idle.is_watched, true) {
            return;
        }
        let lane = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut next = Instant::now() + IDLE_FOR;
            loop {
                tokio::time::sleep_until(next).await;
                match lane.upgrade().and_then(|lane| lane.let_go()) {
                    Some(at) => next = at,
                    None => return,
                }
            }
        });
    }

    /// Lets go of workers that were idle for too long; answers when the next one will have been.
    fn let_go(&self) -> Option<Instant> {
        let mut idle = self.idle();
        idle.workers.retain(|worker| worker.since.elapsed() < IDLE_FOR);
        let oldest = idle.workers.iter().map(|worker| worker.since).min();
        idle.is_watched = oldest.is_some();
        oldest.map(|since| since + IDLE_FOR)
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, given up when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self, ConvertError> {
        let taken = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting < MAX_WAITING).then_some(waiting + 1)
        });
        taken.map(|_| Self(waiting)).map_err(|_| ConvertError::Busy)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A worker for one request. Dropping it kills the worker.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) worker: WorkerProcess,
    lane: Arc<Lane>,
    permit: OwnedSemaphorePermit,
}

impl Lease {
    /// The worker alone, for finding out why it died; the next in line need not wait for that.
    pub(super) fn into_worker(self) -> WorkerProcess {
        self.worker
    }

    /// Puts the worker back for others, unless it has served enough.
    pub(super) fn give_back(self) {
        if self.worker.served() < MAX_SERVED {
            self.lane.keep(self.worker);
        }
        drop(self.permit);
    }
}

/// Says once, in the log, how well workers are locked in.
fn log_protections(protections: Protections) {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        if protections.contains(Protections::SECCOMP) {
            log::info!("render workers are locked in: {protections}");
        } else {
            log::warn!("render workers run without a system-call filter: {protections}");
        }
    });
}
