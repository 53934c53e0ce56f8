//! The one loop that looks at the queue.
//!
//! Owns: when something is done. The loop is called by [`crate::clock::Wake`] and by the clock, and
//! each round does the same: wake sleepers, give up what is overdue, close lost calls, prepare
//! documents, place calls. A round that failed, or one too many, harms nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Inner, Queue, QueueError, lock};
use crate::clock::{Wake, Work};
use crate::crash::{self, Step};
use crate::db::jobs::Claimed;
use crate::fax::dialling::Dialling;
use crate::fax::routing::Standing;
use crate::fax::transition::Moved;
use crate::route::EndEarly;

/// How often the appliance notes that it runs: a downtime is known to so much.
const HEARTBEAT: SignedDuration = SignedDuration::from_secs(60);
/// How often answers that are too old are removed.
const SWEEP_ANSWERS: SignedDuration = SignedDuration::from_hours(1);
/// When a round that failed is tried again.
const TRY_AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// Time for calls to say goodbye after they were asked to end.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the loop does by the clock alone.
struct Chores {
    next_beat: Timestamp,
    next_sweep: Timestamp,
}

impl Queue {
    /// Begins to prepare and to dial.
    pub fn start(&self) {
        let (inner, work) = (self.inner.clone(), self.inner.clock.work());
        let loop_task = tokio::spawn(async move { inner.run(work).await });
        *lock(&self.inner.dispatcher) = Some(loop_task);
    }

    /// Stops: no call begins, those under way may finish within `grace` and are then asked to
    /// hang up. A call that does not even do that is left to the next start.
    pub async fn stop(&self, grace: Duration) {
        let inner = &self.inner;
        inner.is_stopping.store(true, Ordering::Release);
        inner.wake.call();
        let dispatcher = lock(&inner.dispatcher).take();
        if let Some(dispatcher) = dispatcher
            && let Err(error) = dispatcher.await
        {
            log::error!("the dispatcher did not end well: {error}");
        }
        // What is prepared by half is prepared anew after the next start.
        for (_, task) in lock(&inner.preparing).drain() {
            if let Some(task) = task {
                task.abort();
            }
        }
        let mut work = inner.clock.work();
        take(&inner.wake, &mut work).await;
        inner.wait_until_idle(&mut work, grace).await;
        for call in lock(&inner.calls).values() {
            call.hang_up.ask(EndEarly::Stopping);
        }
        inner.wait_until_idle(&mut work, GOODBYE).await;
        for (attempt, call) in lock(&inner.calls).drain() {
            log::warn!("attempt {attempt}: the call did not end in time");
            if let Some(task) = call.task {
                task.abort();
            }
        }
        if let Err(error) = inner.db.beat(inner.clock.now()).await {
            log::warn!("the time of the stop was not noted: {error}");
        }
        take(&inner.idle, &mut work).await;
    }
}

impl Inner {
    async fn run(self: Arc<Self>, mut work: Work) {
        let now = self.clock.now();
        let mut chores = Chores { next_beat: now, next_sweep: now };
        while !self.is_stopping.load(Ordering::Acquire) {
            let next = match self.round(&mut chores).await {
                Ok(next) => next,
                Err(error) => {
                    log::error!("the queue could not be looked at: {error}");
                    after(self.clock.now(), TRY_AGAIN)
                }
            };
            work.wait_for(&self.wake, Some(next)).await;
        }
    }

    /// Does all that is due now; answers when something is due next.
    async fn round(self: &Arc<Self>, chores: &mut Chores) -> Result<Timestamp, QueueError> {
        let now = self.clock.now();
        let dialling = self.holds_at(now).await?;
        if self.hours_changed.swap(false, Ordering::AcqRel) {
            self.db.wake_for_new_hours(now).await?;
        }
        let agenda = self.db.agenda(&dialling)?;
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if is_due(agenda.wake_at) {
            self.wake_due(now).await?;
        }
        if is_due(agenda.deadline_at) {
            self.expire_due(&dialling, now).await?;
        }
        if is_due(agenda.lease_until) {
            self.close_expired(now).await?;
        }
        if is_due(agenda.prepare_at) {
            self.begin_preparations()?;
        }
        self.place_calls(now).await?;
        self.do_chores(chores, now).await?;
        // What was due is done or attended to by a task that will call again.
        let dialling = self.dialling()?;
        let later = self.db.agenda(&dialling)?.earliest_after(now);
        let room_at = dialling.holds.iter().filter_map(|hold| hold.until).filter(|at| *at > now).min();
        let probe_at = self.next_probe(now)?;
        Ok([later, room_at, probe_at, Some(chores.next_beat), Some(chores.next_sweep)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now))
    }

    async fn wake_due(&self, now: Timestamp) -> Result<(), QueueError> {
        loop {
            let woken = self.db.wake_due(now).await?;
            if woken.is_empty() {
                return Ok(());
            }
            woken.iter().for_each(|moved| self.changes.tell(moved.job().id));
        }
    }

    async fn expire_due(&self, dialling: &Dialling, now: Timestamp) -> Result<(), QueueError> {
        loop {
            let expired = self.db.expire_due(dialling, now).await?;
            if expired.is_empty() {
                return Ok(());
            }
            self.tell_ended(expired).await;
        }
    }

    async fn tell_ended(&self, ended: Vec<Moved>) {
        for moved in ended {
            self.delete_freed(moved.freed()).await;
            self.changes.tell(moved.job().id);
        }
    }

    async fn place_calls(self: &Arc<Self>, now: Timestamp) -> Result<(), QueueError> {
        loop {
            let rules = self.route_rules();
            if !self.db.has_ready(rules.routes.clone(), now)? {
                return Ok(());
            }
            let slots = rules.routes.iter().map(Standing::free).sum();
            let claimed = self.db.claim_ready(rules, slots, now).await?;
            if !claimed.claims.is_empty() {
                crash::after(Step::CallClaimed);
            }
            if claimed.is_held || claimed.is_nothing() {
                return Ok(());
            }
            let Claimed { claims, refused, asleep, .. } = claimed;
            claims.into_iter().for_each(|claim| self.begin_call(claim));
            self.tell_ended(refused).await;
            asleep.iter().for_each(|moved| self.changes.tell(moved.job().id));
        }
    }

    async fn do_chores(&self, chores: &mut Chores, now: Timestamp) -> Result<(), QueueError> {
        if chores.next_beat <= now {
            self.db.beat(now).await?;
            chores.next_beat = after(now, HEARTBEAT);
        }
        if chores.next_sweep <= now {
            self.db.sweep_answers(now).await?;
            while self.db.forget_destinations(now).await? > 0 {}
            chores.next_sweep = after(now, SWEEP_ANSWERS);
        }
        Ok(())
    }

    /// Waits until no call is under way, for `limit` at most.
    async fn wait_until_idle(&self, work: &mut Work, limit: Duration) {
        let until = after(self.clock.now(), SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX));
        while !lock(&self.calls).is_empty() && self.clock.now() < until {
            work.wait_for(&self.idle, Some(until)).await;
        }
    }
}

/// Takes a call that nobody else will take: left there, it would hold a virtual clock.
async fn take(wake: &Wake, work: &mut Work) {
    if wake.is_called() {
        work.wait_for(wake, None).await;
    }
}

fn after(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}
