//! When a delivery to others that failed is tried again: an event to a webhook, a message to the mail
//! server.
//!
//! Pure: everything follows from counts and the time. A delivery has 24 hours; a receiver that fails
//! several times in a row rests, so that one that is down is asked now and then and not for every
//! delivery.

use jiff::{SignedDuration, Timestamp};

/// A delivery that was not taken for so long is given up.
pub const LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Seconds before each next try of a delivery; the last one repeats. In a day these are some forty
/// tries, so that a receiver that takes one message in three gets practically every one.
const INTERVALS_S: [i64; 5] = [5, 30, 120, 600, 1800];
/// Failures in a row after which a receiver counts as down, and rests: many more than one has that
/// fails often.
const PATIENCE: u32 = 20;
/// Seconds of each next rest; the last one repeats, so that a receiver that is back is found soon.
const RESTS_S: [i64; 4] = [30, 120, 600, 1800];
/// Share of an interval by which it is longer at most, so that many do not come at once.
const JITTER: f64 = 0.2;

/// When a delivery is tried again that failed `tries` times; `chance` is from 0 to 1.
pub fn next_try(tries: u32, chance: f64, now: Timestamp) -> Timestamp {
    later(now, &INTERVALS_S, tries.saturating_sub(1), chance)
}

/// Until when a receiver rests that failed `failures` times in a row, if it does.
pub fn rest(failures: u32, chance: f64, now: Timestamp) -> Option<Timestamp> {
    let beyond = failures.checked_sub(PATIENCE)?;
    Some(later(now, &RESTS_S, beyond, chance))
}

fn later(now: Timestamp, steps_s: &[i64], step: u32, chance: f64) -> Timestamp {
    let last = steps_s.len() - 1;
    let seconds = steps_s[last.min(step as usize)];
    let wait = SignedDuration::from_secs(seconds).mul_f64(1.0 + JITTER * chance.clamp(0.0, 1.0));
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_each_time_and_never_too_long() {
        let now = Timestamp::UNIX_EPOCH;
        let seconds = |at: Timestamp| at.as_second();
        let waits: Vec<i64> = (1..=7).map(|tries| seconds(next_try(tries, 0.0, now))).collect();
        assert_eq!(waits, [5, 30, 120, 600, 1800, 1800, 1800]);
        assert_eq!(seconds(next_try(1, 1.0, now)), 6);
        assert_eq!(seconds(next_try(9, 7.0, now)), 2160);
        let rests: Vec<_> = (18..=25).map(|failures| rest(failures, 0.0, now).map(seconds)).collect();
        assert_eq!(rests, [0, 0, 30, 120, 600, 1800, 1800, 1800].map(|s| (s > 0).then_some(s)));
    }
}
