//! What is counted of one key while the appliance runs.
//!
//! A meter goes on through all generations of its key: a rotation resets no quota.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::spending::Spending;
use super::windows::{HourCount, Windows, hour_of};
use crate::access::outcome::Outcome;
use crate::access::records::{DayOfSpending, HourOfUse, WindowCount};
use crate::access::token::KeyId;

/// The counts of one key.
#[derive(Debug, Default)]
pub(in crate::auth) struct Meter {
    state: Mutex<State>,
}

/// Everything about one key under one lock: a request takes it twice, for nanoseconds.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) windows: Windows,
    pub(super) spending: Spending,
    /// Outcomes that are not written down yet, the newest hour last.
    use_by_hour: Vec<UseOfHour>,
    successes: Option<Successes>,
}

#[derive(Clone, Debug)]
struct UseOfHour {
    hour: i64,
    counts: [u32; Outcome::COUNT],
}

/// The requests of one key that were let in, since the start of the appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) struct Successes {
    pub(in crate::auth) count: u64,
    pub(in crate::auth) first: Timestamp,
    pub(in crate::auth) last: Timestamp,
    /// Where the last one came from.
    pub(in crate::auth) address: Option<IpAddr>,
}

/// What of a meter is to be written down.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    pub(super) windows: Vec<WindowCount>,
    pub(super) use_by_hour: Vec<HourOfUse>,
    pub(super) days: Vec<DayOfSpending>,
}

impl Meter {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one request with what came of it. Whether it is the first success of its second,
    /// which is enough for people who watch.
    pub(in crate::auth) fn note(&self, outcome: Outcome, address: Option<IpAddr>, now: Timestamp) -> bool {
        let mut state = self.lock();
        state.use_of(hour_of(now)).counts[outcome as usize] += 1;
        if outcome != Outcome::Ok {
            return false;
        }
        let before = state.successes;
        state.successes = Some(Successes {
            count: before.map_or(0, |before| before.count) + 1,
            first: before.map_or(now, |before| before.first),
            last: now,
            address,
        });
        before.is_none_or(|before| before.last.as_second() != now.as_second())
    }

    pub(in crate::auth) fn successes(&self) -> Option<Successes> {
        self.lock().successes
    }

    /// Puts back an hour that an earlier run of the appliance wrote down.
    pub(super) fn restore(&self, count: HourCount) {
        self.lock().windows.restore(count);
    }

    pub(super) fn unwritten(&self, id: KeyId) -> Unwritten {
        let state = self.lock();
        let windows = state.windows.unwritten();
        let use_by_hour = state.use_by_hour.iter().flat_map(|use_of_hour| {
            let counted = Outcome::ALL.iter().zip(use_of_hour.counts).filter(|(_, count)| *count > 0);
            counted.map(|(outcome, count)| HourOfUse {
                id,
                hour: use_of_hour.hour,
                outcome: *outcome,
                count: count.into(),
            })
        });
        Unwritten {
            windows: windows.map(|count| WindowCount { id, hour: count.hour, taken: count.taken }).collect(),
            use_by_hour: use_by_hour.collect(),
            days: state.spending.unwritten(id),
        }
    }

    /// This much of it is written down.
    pub(super) fn is_written(&self, written: &Unwritten) {
        let mut state = self.lock();
        for window in &written.windows {
            state.windows.is_written(HourCount { hour: window.hour, taken: window.taken });
        }
        for day in &written.days {
            state.spending.is_written(day);
        }
        for row in &written.use_by_hour {
            let count = &mut state.use_of(row.hour).counts[row.outcome as usize];
            *count = count.saturating_sub(u32::try_from(row.count).unwrap_or(u32::MAX));
        }
        state.use_by_hour.retain(|use_of_hour| use_of_hour.counts.iter().any(|count| *count > 0));
    }
}

impl State {
    fn use_of(&mut self, hour: i64) -> &mut UseOfHour {
        let place = self.use_by_hour.iter().rposition(|use_of_hour| use_of_hour.hour == hour);
        let place = place.unwrap_or_else(|| {
            self.use_by_hour.push(UseOfHour { hour, counts: [0; Outcome::COUNT] });
            self.use_by_hour.len() - 1
        });
        &mut self.use_by_hour[place]
    }
}

impl Unwritten {
    pub(super) fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.use_by_hour.is_empty() && self.days.is_empty()
    }
}
