//! Time, passed in rather than asked for.
//!
//! Owns: the one way to learn the time and to wait for it. Refuses: any direct call of
//! `Timestamp::now` or `tokio::time::sleep` by the queue and the routes, because intervals of
//! minutes and hours could then not be tested.
//!
//! Invariant of the virtual clock: it moves only while nobody works. Every task that acts on time
//! holds a [`Work`] token; the token is given back while the task waits and is taken again *by the
//! waker*, so there is no gap in which the clock could run ahead of a task that was just woken.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

/// Longest single sleep on the system clock: a stepped clock (NTP, a resumed VM) is noticed after
/// this long at most.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// The time source of one appliance. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's UTC clock.
    #[default]
    System,
    /// A clock that jumps to the next moment somebody waits for; for tests.
    Virtual(Arc<VirtualClock>),
}

impl Clock {
    /// A virtual clock that shows `start`.
    pub fn starting_at(start: Timestamp) -> Self {
        Self::Virtual(Arc::new(VirtualClock {
            state: Mutex::new(State { now: start, working: 0, sequence: 0, sleepers: BTreeMap::new() }),
        }))
    }

    /// The current time, UTC.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Virtual(clock) => clock.lock().now,
        }
    }

    /// Shows an earlier time from now on, as when somebody sets the machine's clock.
    #[cfg(test)]
    pub(crate) fn set_back(&self, by: SignedDuration) {
        match self {
            Self::System => panic!("the machine's clock is not ours to set"),
            Self::Virtual(clock) => {
                let mut state = clock.lock();
                state.now -= by;
            }
        }
    }

    /// Declares that the caller is about to act; a virtual clock stands still until the token is
    /// dropped or waits.
    pub fn work(&self) -> Work {
        if let Self::Virtual(clock) = self {
            clock.lock().working += 1;
        }
        Work { clock: self.clone(), holding: true }
    }
}

/// A moment as records keep it: in whole milliseconds, so that what is answered is what is stored.
pub fn whole_ms(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

/// The shared state behind [`Clock::Virtual`].
#[derive(Debug)]
pub struct VirtualClock {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    working: usize,
    sequence: u64,
    sleepers: BTreeMap<(Timestamp, u64), Arc<Sleeper>>,
}

#[derive(Debug, Default)]
struct Sleeper {
    woken: AtomicBool,
    notify: Notify,
}

impl VirtualClock {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives one token back; the last one lets the clock jump to the next sleeper, who gets a
    /// token of its own before it is woken.
    fn release(&self) {
        let mut state = self.lock();
        state.working -= 1;
        if state.working > 0 {
            return;
        }
        if let Some(((at, _), sleeper)) = state.sleepers.pop_first() {
            state.now = state.now.max(at);
            state.working += 1;
            sleeper.woken.store(true, Ordering::Release);
            sleeper.notify.notify_one();
        }
    }
}

/// A token that says "I am working": see the module's invariant.
#[derive(Debug)]
pub struct Work {
    clock: Clock,
    holding: bool,
}

impl Work {
    /// Waits until the clock shows `at`, or returns at once when it already does.
    pub async fn sleep_until(&mut self, at: Timestamp) {
        match self.clock.clone() {
            Clock::System => system_sleep_until(at).await,
            Clock::Virtual(clock) => {
                let sleep = VirtualSleep::register(&clock, at);
                self.let_go();
                sleep.wait().await;
                self.holding = true;
            }
        }
    }

    /// Waits for `duration` of this clock's time.
    pub async fn sleep(&mut self, duration: Duration) {
        let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        let at = self.clock.now().checked_add(duration).unwrap_or(Timestamp::MAX);
        self.sleep_until(at).await;
    }

    /// Waits until `wake` is called or the clock shows `until`, whichever comes first.
    pub async fn wait_for(&mut self, wake: &Wake, until: Option<Timestamp>) {
        match self.clock.clone() {
            Clock::System => {
                let timer = async {
                    match until {
                        Some(at) => system_sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = wake.called() => {}
                    () = timer => {}
                }
            }
            Clock::Virtual(clock) => {
                let sleep = until.map(|at| VirtualSleep::register(&clock, at));
                self.let_go();
                let timer = async {
                    match &sleep {
                        Some(sleep) => sleep.wait_shared().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    // The call's own token becomes ours.
                    () = wake.called() => {}
                    () = timer => {
                        if let Some(sleep) = &sleep {
                            sleep.keep_token();
                        }
                    }
                }
                self.holding = true;
            }
        }
    }

    fn let_go(&mut self) {
        if std::mem::take(&mut self.holding)
            && let Clock::Virtual(clock) = &self.clock
        {
            clock.release();
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// A call to a waiting task, remembered until it is taken; calls before that count as one.
///
/// Unlike a bare `Notify` it carries a work token, so that a virtual clock does not move between
/// the call and the moment the task begins to act on it.
#[derive(Debug)]
pub struct Wake {
    clock: Clock,
    pending: AtomicBool,
    notify: Notify,
}

impl Wake {
    /// A wake on this clock, not yet called.
    pub fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), pending: AtomicBool::new(false), notify: Notify::new() }
    }

    /// Calls the waiting task, now or when it next waits.
    pub fn call(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            if let Clock::Virtual(clock) = &self.clock {
                clock.lock().working += 1;
            }
            self.notify.notify_one();
        }
    }

    /// Whether a call is waiting to be taken.
    pub fn is_called(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Completes when called, and takes the call (with its token, on a virtual clock).
    async fn called(&self) {
        loop {
            if self.pending.swap(false, Ordering::AcqRel) {
                return;
            }
            self.notify.notified().await;
        }
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        if *self.pending.get_mut()
            && let Clock::Virtual(clock) = &self.clock
        {
            clock.release();
        }
    }
}

async fn system_sleep_until(at: Timestamp) {
    loop {
        let left = at.duration_since(Timestamp::now());
        let Ok(left) = Duration::try_from(left) else { return };
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LONGEST_NAP)).await;
    }
}

/// One registered sleep; dropping it unregisters it, and gives back a token it was handed but
/// nobody took.
struct VirtualSleep {
    clock: Arc<VirtualClock>,
    key: (Timestamp, u64),
    sleeper: Arc<Sleeper>,
    taken: AtomicBool,
}

impl VirtualSleep {
    fn register(clock: &Arc<VirtualClock>, at: Timestamp) -> Self {
        let mut state = clock.lock();
        state.sequence += 1;
        let key = (at, state.sequence);
        let sleeper = Arc::new(Sleeper::default());
        state.sleepers.insert(key, sleeper.clone());
        drop(state);
        Self { clock: clock.clone(), key, sleeper, taken: AtomicBool::new(false) }
    }

    async fn wait(self) {
        self.wait_shared().await;
        self.keep_token();
    }

    async fn wait_shared(&self) {
        while !self.sleeper.woken.load(Ordering::Acquire) {
            self.sleeper.notify.notified().await;
        }
    }

    fn keep_token(&self) {
        self.taken.store(true, Ordering::Release);
    }
}

impl Drop for VirtualSleep {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.key);
        if self.sleeper.woken.load(Ordering::Acquire) && !self.taken.load(Ordering::Acquire) {
            self.clock.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    #[tokio::test]
    async fn jumps_in_order_and_only_when_idle() {
        let clock = Clock::starting_at(start());
        let mut test = clock.work();
        let log = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = [300u64, 10, 60]
            .into_iter()
            .map(|seconds| {
                let (mut work, log, clock) = (clock.work(), log.clone(), clock.clone());
                tokio::spawn(async move {
                    work.sleep(Duration::from_secs(seconds)).await;
                    log.lock().unwrap().push((seconds, clock.now()));
                })
            })
            .collect();
        test.sleep(Duration::from_secs(301)).await;
        for task in tasks {
            task.await.unwrap();
        }
        let seen = log.lock().unwrap().clone();
        let order: Vec<u64> = seen.iter().map(|(seconds, _)| *seconds).collect();
        assert_eq!(order, [10, 60, 300]);
        for (seconds, at) in seen {
            assert_eq!(at, start() + SignedDuration::from_secs(seconds as i64));
        }
    }

    #[tokio::test]
    async fn a_call_holds_the_clock_until_it_is_taken() {
        let clock = Clock::starting_at(start());
        let mut test = clock.work();
        let wake = Arc::new(Wake::new(&clock));
        let waiter = {
            let (mut work, wake, clock) = (clock.work(), wake.clone(), clock.clone());
            tokio::spawn(async move {
                work.wait_for(&wake, None).await;
                clock.now()
            })
        };
        wake.call();
        test.sleep(Duration::from_secs(3600)).await;
        assert_eq!(waiter.await.unwrap(), start());
    }

    #[tokio::test]
    async fn a_wait_ends_at_its_time_when_nobody_calls() {
        let clock = Clock::starting_at(start());
        let wake = Wake::new(&clock);
        let mut work = clock.work();
        work.wait_for(&wake, Some(start() + SignedDuration::from_mins(5))).await;
        assert_eq!(clock.now(), start() + SignedDuration::from_mins(5));
        assert!(!wake.is_called());
    }

    #[tokio::test]
    async fn a_cancelled_sleep_leaves_the_clock_movable() {
        let clock = Clock::starting_at(start());
        // Held, so that the clock cannot reach the sleeper before it is cancelled.
        let mut work = clock.work();
        let mut sleeping = clock.work();
        let task = tokio::spawn(async move { sleeping.sleep(Duration::from_secs(5)).await });
        tokio::task::yield_now().await;
        task.abort();
        assert!(task.await.is_err());
        work.sleep(Duration::from_secs(60)).await;
        assert_eq!(clock.now(), start() + SignedDuration::from_mins(1));
    }
}
