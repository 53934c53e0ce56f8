//! Exact counts of requests in aligned minutes and hours.
//!
//! Invariant: no aligned window passes more than its number, whatever the order of the times it is
//! asked about. A window is known by its place since 1970 and not by "now", so a request that read
//! the clock before the turn of a minute and is counted after it, and a clock that was set back,
//! find the windows as they were left.

use jiff::Timestamp;

/// Seconds of a minute.
pub(super) const MINUTE_S: i64 = 60;
/// Seconds of an hour.
pub(super) const HOUR_S: i64 = 3600;
/// Windows kept, those counted into last: half an hour of minutes, more than a day of hours. A
/// clock that is set back further finds empty ones.
const REMEMBERED: usize = 32;

/// The windows of one key, or of one owner.
#[derive(Debug, Default)]
pub(super) struct Windows {
    minutes: Counts,
    hours: Counts,
}

/// What was taken in the minute and the hour of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) minute: u32,
    pub(super) hour: u32,
}

/// What was taken in one hour, to be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HourCount {
    /// Hours since 1970.
    pub(super) hour: i64,
    pub(super) taken: u32,
}

impl Windows {
    /// What was taken so far in the windows of this moment.
    pub(super) fn taken(&self, now: Timestamp) -> Taken {
        Taken { minute: self.minutes.at(minute_of(now)), hour: self.hours.at(hour_of(now)) }
    }

    /// Takes one request from both windows.
    pub(super) fn take(&mut self, now: Timestamp) {
        self.minutes.window(minute_of(now)).taken += 1;
        self.hours.window(hour_of(now)).taken += 1;
    }

    /// Puts back what an earlier run of the appliance wrote down.
    pub(super) fn restore(&mut self, count: HourCount) {
        let window = self.hours.window(count.hour);
        window.taken = window.taken.saturating_add(count.taken);
        window.written = window.taken;
    }

    /// The hours that took more than is written down.
    pub(super) fn unwritten(&self) -> impl Iterator<Item = HourCount> {
        let hours = self.hours.windows.iter().filter(|window| window.taken != window.written);
        hours.map(|window| HourCount { hour: window.number, taken: window.taken })
    }

    /// This count is written down.
    pub(super) fn is_written(&mut self, count: HourCount) {
        if let Some(window) = self.hours.windows.iter_mut().find(|window| window.number == count.hour) {
            window.written = count.taken;
        }
    }
}

/// The place of this moment's minute since 1970.
pub(super) fn minute_of(now: Timestamp) -> i64 {
    now.as_second().div_euclid(MINUTE_S)
}

/// The place of this moment's hour since 1970.
pub(super) fn hour_of(now: Timestamp) -> i64 {
    now.as_second().div_euclid(HOUR_S)
}

/// Seconds until the window of this length ends, at least 1.
pub(super) fn seconds_left(now: Timestamp, length_s: i64) -> u32 {
    u32::try_from(length_s - now.as_second().rem_euclid(length_s)).unwrap_or(1)
}

/// Windows of one length, the one counted into last at the end.
#[derive(Debug, Default)]
struct Counts {
    windows: Vec<Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    number: i64,
    taken: u32,
    written: u32,
}

impl Counts {
    fn at(&self, number: i64) -> u32 {
        self.windows.iter().rev().find(|window| window.number == number).map_or(0, |window| window.taken)
    }

    fn window(&mut self, number: i64) -> &mut Window {
        if self.windows.last().is_none_or(|window| window.number != number) {
            let window = match self.windows.iter().position(|window| window.number == number) {
                Some(place) => self.windows.remove(place),
                None => {
                    if self.windows.len() == REMEMBERED {
                        self.windows.remove(0);
                    }
                    Window { number, taken: 0, written: 0 }
                }
            };
            self.windows.push(window);
        }
        self.windows.last_mut().expect("one was found or pushed above")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Takes when both windows have room, as [`super::super::meter`] does.
    fn pass(windows: &mut Windows, now: Timestamp, per_minute: u32, per_hour: u32) -> bool {
        let taken = windows.taken(now);
        let has_room = taken.minute < per_minute && taken.hour < per_hour;
        if has_room {
            windows.take(now);
        }
        has_room
    }

    #[test]
    fn no_aligned_window_passes_more_than_its_number_wherever_the_clock_goes() {
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            let (per_minute, per_hour) = (random.random_range(1..20), random.random_range(1..200));
            let mut windows = Windows::default();
            let mut passed: HashMap<(i64, i64), u32> = HashMap::new();
            let mut second = 1_700_000_000 + random.random_range(0..7200);
            for _ in 0..5000 {
                // Mostly onward, at times late by a moment, rarely set back by up to 10 minutes.
                second += match random.random_range(0..1000) {
                    0..2 => -random.random_range(1..600),
                    2..50 => -random.random_range(1..3),
                    50..400 => random.random_range(0..4),
                    400..405 => random.random_range(30..300),
                    _ => 0,
                };
                let now = at(second);
                let windows_of_now = [(MINUTE_S, minute_of(now)), (HOUR_S, hour_of(now))];
                let expected = [per_minute, per_hour]
                    .iter()
                    .zip(windows_of_now)
                    .all(|(most, window)| passed.get(&window).copied().unwrap_or(0) < *most);
                let did_pass = pass(&mut windows, now, per_minute, per_hour);
                assert_eq!(did_pass, expected, "seed {seed} at {second}: neither too many nor too few");
                if did_pass {
                    windows_of_now.into_iter().for_each(|window| *passed.entry(window).or_default() += 1);
                }
            }
            assert!(passed.values().any(|taken| *taken >= per_minute.min(per_hour)), "seed {seed} fills one");
        }
    }

    #[test]
    fn windows_are_aligned_and_left_as_they_were() {
        let mut windows = Windows::default();
        // (second, whether one of three a minute passes)
        let steps = [
            (60, true),
            (61, true),
            (119, true),
            (119, false),
            (120, true),
            // Late by a moment: the minute it belongs to is full.
            (119, false),
            (180, true),
            // The clock was set back to a minute nobody used.
            (30, true),
            (61, false),
        ];
        for (step, (second, expected)) in steps.into_iter().enumerate() {
            assert_eq!(pass(&mut windows, at(second), 3, 1000), expected, "step {step} at {second}");
        }
        assert_eq!(windows.taken(at(3599)), Taken { minute: 0, hour: 6 });
        assert_eq!(windows.taken(at(3600)), Taken { minute: 0, hour: 0 });
    }

    #[test]
    fn tells_how_long_a_window_lasts() {
        for (second, minute, hour) in [(0, 60, 3600), (59, 1, 3541), (3599, 1, 1), (3600, 60, 3600)] {
            assert_eq!(seconds_left(at(second), MINUTE_S), minute, "{second}");
            assert_eq!(seconds_left(at(second), HOUR_S), hour, "{second}");
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_written_is_not_written_again() {
        let mut windows = Windows::default();
        for hour in 0..1000 {
            windows.take(at(hour * HOUR_S));
        }
        assert_eq!(windows.minutes.windows.len(), REMEMBERED);
        let unwritten: Vec<_> = windows.unwritten().collect();
        assert_eq!(unwritten.len(), REMEMBERED);
        windows.take(at(999 * HOUR_S));
        unwritten.into_iter().for_each(|count| windows.is_written(count));
        let left: Vec<_> = windows.unwritten().collect();
        assert_eq!(left, [HourCount { hour: 999, taken: 2 }], "taken while it was being written");
    }
}
