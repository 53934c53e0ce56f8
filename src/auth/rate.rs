//! Limits that need no database.
//!
//! Owns: the request ceiling per key ([`Ceiling`], exact), and two buckets per address for failed
//! authentication. Refuses: to keep a good key out; failures are counted after they failed.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use nonzero_ext::nonzero;

use super::Caller;
use crate::access::token::KeyId;

/// Failed attempts of one address that are answered in detail: at once, and then per minute. A
/// person with a wrong paste stays below it, a misconfigured program learns that it is one.
const FAILURES_PER_MINUTE: std::num::NonZeroU32 = nonzero!(60u32);
/// Argon2 runs per address and minute for secrets without a prefilter: enough for a client that
/// just comes back after the pepper was lost, little for a guesser of 256 bits.
const UNFILTERED_PER_MINUTE: std::num::NonZeroU32 = nonzero!(10u32);
/// Addresses remembered; a flood from more than these shares one bucket.
const ADDRESSES: usize = 10_000;
/// At most this often those that recovered are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Length of the ceiling's windows, seconds.
const MINUTE_S: i64 = 60;

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter {
    /// Seconds, at least 1.
    pub seconds: u64,
}

/// `MAX_REQUESTS_PER_MINUTE`: requests each key may send in an aligned minute, over all paths.
#[derive(Clone, Debug)]
pub struct Ceiling {
    per_minute: u32,
    window: Arc<Mutex<Window>>,
}

/// One minute of all keys. Keys of the minute before are forgotten at once, so it stays small.
#[derive(Debug, Default)]
struct Window {
    minute: i64,
    taken: HashMap<KeyId, u32>,
}

impl Ceiling {
    /// A ceiling of so many requests; 0 is none.
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, window: Arc::default() }
    }

    /// Takes one request of this caller; in a full minute says how long the next one is away.
    /// Callers without a key of their own (the bootstrap key, the local socket) have no ceiling.
    pub fn take(&self, caller: &Caller, now: Timestamp) -> Result<(), RetryAfter> {
        match caller.key_id {
            Some(key) if self.per_minute > 0 => self.take_for(key, now),
            _ => Ok(()),
        }
    }

    fn take_for(&self, key: KeyId, now: Timestamp) -> Result<(), RetryAfter> {
        let second = now.as_second();
        let minute = second.div_euclid(MINUTE_S);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        // A request that read the clock just before the turn of the minute, and comes here after
        // it, counts into the new one; a clock set back further starts afresh.
        if minute != window.minute && minute + 1 != window.minute {
            window.minute = minute;
            window.taken.clear();
        }
        let taken = window.taken.entry(key).or_default();
        if *taken >= self.per_minute {
            let seconds = u64::try_from(MINUTE_S - second.rem_euclid(MINUTE_S)).unwrap_or(1);
            return Err(RetryAfter { seconds });
        }
        *taken += 1;
        Ok(())
    }
}

/// Failed authentication per address.
pub(super) struct Failures {
    buckets: Buckets,
}

impl Failures {
    pub(super) fn new() -> Self {
        Self { buckets: Buckets::new(FAILURES_PER_MINUTE) }
    }

    /// Counts one; says how many seconds to wait when there were too many. The machine itself has
    /// no limit: its programs share one address.
    pub(super) fn count(&self, peer: Option<IpAddr>) -> Option<u64> {
        let address = peer.filter(|address| !address.is_loopback())?;
        self.buckets.take(address).err()
    }
}

/// Argon2 runs for secrets that no prefilter vouches for, per address, this machine included.
pub(super) struct Unfiltered {
    buckets: Buckets,
}

impl Unfiltered {
    pub(super) fn new() -> Self {
        Self { buckets: Buckets::new(UNFILTERED_PER_MINUTE) }
    }

    /// Takes one, or says how many seconds to wait.
    pub(super) fn take(&self, peer: Option<IpAddr>) -> Result<(), u64> {
        self.buckets.take(peer.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)))
    }
}

struct Buckets {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    swept: Mutex<Option<Instant>>,
}

impl Buckets {
    fn new(per_minute: std::num::NonZeroU32) -> Self {
        Self { limiter: RateLimiter::keyed(Quota::per_minute(per_minute)), swept: Mutex::new(None) }
    }

    fn take(&self, address: IpAddr) -> Result<(), u64> {
        let address = if self.has_room() { network_of(address) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        self.limiter.check_key(&address).map_err(|not_until| {
            // The limiter's own clock: making another asks the processor what it can, which is
            // slow in a virtual machine.
            let wait = not_until.wait_time_from(self.limiter.clock().now());
            wait.as_secs() + 1
        })
    }

    fn has_room(&self) -> bool {
        if self.limiter.len() < ADDRESSES {
            return true;
        }
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.is_none_or(|at| at.elapsed() >= SWEEP_INTERVAL) {
            self.limiter.retain_recent();
            *swept = Some(Instant::now());
        }
        self.limiter.len() < ADDRESSES
    }
}

/// What one customer has: an IPv4 address, or the /64 network of an IPv6 address.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> KeyId {
        text.parse().unwrap()
    }

    #[test]
    fn no_aligned_minute_passes_more_than_the_ceiling() {
        let ceiling = Ceiling::new(3);
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let (one, other) = (key("00000000000a"), key("00000000000b"));
        // (second, allowed or seconds to wait)
        let steps = [
            (60, Ok(())),
            (61, Ok(())),
            (119, Ok(())),
            (119, Err(1)),
            (90, Err(30)),
            (120, Ok(())),
            // Late by a moment: counts into the minute that began.
            (119, Ok(())),
            (121, Ok(())),
            (122, Err(58)),
            (119, Err(1)),
            (180, Ok(())),
            // The clock was set back.
            (30, Ok(())),
        ];
        for (step, (second, expected)) in steps.into_iter().enumerate() {
            let taken = ceiling.take_for(one, at(second));
            assert_eq!(taken, expected.map_err(|seconds| RetryAfter { seconds }), "step {step} at {second}");
        }
        for _ in 0..3 {
            ceiling.take_for(other, at(30)).unwrap();
        }
        assert!(ceiling.take_for(other, at(31)).is_err());
    }

    #[test]
    fn failures_are_limited_per_network_but_not_for_loopback() {
        let failures = Failures::new();
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let other: IpAddr = "192.0.2.7".parse().unwrap();
        let waits: Vec<_> =
            (0..70).map(|n| failures.count(Some(if n % 2 == 0 { one } else { neighbour }))).collect();
        assert!(waits[..60].iter().all(Option::is_none));
        assert!(waits[65..].iter().all(|wait| matches!(wait, Some(1..=2))), "{waits:?}");
        assert_eq!(failures.count(Some(other)), None);
        for _ in 0..200 {
            assert_eq!(failures.count(Some("127.0.0.1".parse().unwrap())), None);
            assert_eq!(failures.count(None), None);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let failures = Failures::new();
        for n in 0..(ADDRESSES as u32 + 5_000) {
            failures.count(Some(IpAddr::V4((0x0a00_0000 + n).into())));
        }
        assert!(failures.buckets.limiter.len() <= ADDRESSES + 1, "{}", failures.buckets.limiter.len());
        // Those beyond share one bucket, which the 5,000 have emptied.
        assert!(failures.count(Some("198.51.100.1".parse().unwrap())).is_some());
    }
}
