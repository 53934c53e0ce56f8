//! Floods from one address.
//!
//! Owns: buckets per address for requests that nobody was let in for, for failed authentication
//! among them, and for argon2 runs without a prefilter; and how often the token of one key is shown.
//! Refuses: to keep a good key out; a request is counted after it was seen to bring none.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use nonzero_ext::nonzero;

use crate::access::token::KeyId;

/// Failed attempts of one address that are answered in detail: at once, and then per minute. A
/// person with a wrong paste stays below it, a misconfigured program learns that it is one.
const FAILURES_PER_MINUTE: std::num::NonZeroU32 = nonzero!(60u32);
/// Requests of one address for what everybody may read (pages, health, the API's description) that
/// are answered at once, and then per minute: dozens of people behind one router, or a monitor that
/// asks ten times a second.
const ANONYMOUS_PER_MINUTE: std::num::NonZeroU32 = nonzero!(600u32);
/// Argon2 runs per address and minute for secrets without a prefilter: enough for a client that
/// just comes back after the pepper was lost, little for a guesser of 256 bits.
const UNFILTERED_PER_MINUTE: std::num::NonZeroU32 = nonzero!(10u32);
/// Times the token of one key is shown: at once, and then per minute. A person who copies it needs
/// one or two.
const REVEALS_PER_MINUTE: std::num::NonZeroU32 = nonzero!(5u32);
/// Addresses remembered; a flood from more than these shares one bucket.
const ADDRESSES: usize = 10_000;
/// At most this often those that recovered are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Failed authentication per address.
pub(in crate::auth) struct Failures {
    buckets: Buckets,
}

impl Failures {
    pub(in crate::auth) fn new() -> Self {
        Self { buckets: Buckets::new(FAILURES_PER_MINUTE) }
    }

    /// Counts one; says how many seconds to wait when there were too many. The machine itself has
    /// no limit: its programs share one address.
    pub(in crate::auth) fn count(&self, peer: Option<IpAddr>) -> Option<u64> {
        self.buckets.take_unless_loopback(peer)
    }
}

/// Requests that need nobody to be let in, per address.
pub(in crate::auth) struct Anonymous {
    buckets: Buckets,
}

impl Anonymous {
    pub(in crate::auth) fn new() -> Self {
        Self { buckets: Buckets::new(ANONYMOUS_PER_MINUTE) }
    }

    /// Counts one; says how many seconds to wait when there were too many. The machine itself has
    /// no limit here either.
    pub(in crate::auth) fn count(&self, peer: Option<IpAddr>) -> Option<u64> {
        self.buckets.take_unless_loopback(peer)
    }
}

/// Argon2 runs for secrets that no prefilter vouches for, per address, this machine included.
pub(in crate::auth) struct Unfiltered {
    buckets: Buckets,
}

impl Unfiltered {
    pub(in crate::auth) fn new() -> Self {
        Self { buckets: Buckets::new(UNFILTERED_PER_MINUTE) }
    }

    /// Takes one, or says how many seconds to wait.
    pub(in crate::auth) fn take(&self, peer: Option<IpAddr>) -> Result<(), u64> {
        self.buckets.take(peer.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)))
    }
}

/// How often the token of each key is shown.
pub(in crate::auth) struct Reveals {
    limiter: DefaultKeyedRateLimiter<KeyId>,
}

impl Reveals {
    pub(in crate::auth) fn new() -> Self {
        Self { limiter: RateLimiter::keyed(Quota::per_minute(REVEALS_PER_MINUTE)) }
    }

    /// Takes one, or says how many seconds to wait.
    pub(in crate::auth) fn take(&self, key: KeyId) -> Result<(), u64> {
        self.limiter
            .check_key(&key)
            .map_err(|not_until| not_until.wait_time_from(self.limiter.clock().now()).as_secs() + 1)
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

    fn take_unless_loopback(&self, peer: Option<IpAddr>) -> Option<u64> {
        let address = peer.filter(|address| !address.is_loopback())?;
        self.take(address).err()
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
pub(in crate::auth) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn strangers_have_more_patience_shown_and_loopback_all_of_it() {
        let strangers = Anonymous::new();
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        assert!((0..600).all(|_| strangers.count(Some(address)).is_none()));
        assert!((0..100).any(|_| strangers.count(Some(address)).is_some()));
        assert!((0..2000).all(|_| strangers.count(Some("::1".parse().unwrap())).is_none()));
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
