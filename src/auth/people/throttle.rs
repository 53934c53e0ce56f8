//! How often passwords may be tried.
//!
//! Owns: five tries in 15 minutes per address, and a delay per account that grows with each
//! failure in a row. Refuses: to lock anybody out for good. The delay has an end; and failures
//! from strange addresses delay neither the address the person signed in from last nor the machine
//! itself, so that nobody can keep an administrator out by guessing.
//!
//! A try is taken before the password is looked at, and given back when it was right: tries at the
//! same time count like tries in a row. Names nobody has are counted like any other.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Failed tries of one address …
const TRIES: usize = 5;
/// … in this time. The machine itself has no such limit: its programs share one address.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);
/// Failures in a row that a person with a slip of the finger has without a delay.
const FREE: u32 = 3;
/// Longest delay: bothersome for a guesser, bearable for a person.
const LONGEST_DELAY: SignedDuration = SignedDuration::from_mins(5);
/// After this time without a try an account's failures are forgotten.
const MEMORY: SignedDuration = SignedDuration::from_hours(24);
/// Addresses, and names, that are remembered.
const REMEMBERED: usize = 10_000;

#[derive(Default)]
pub(super) struct Throttle {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    addresses: HashMap<IpAddr, VecDeque<(Timestamp, String)>>,
    accounts: HashMap<Lane, Tries>,
}

/// Whose tries are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Lane {
    name: String,
    is_known_address: bool,
}

#[derive(Clone, Copy)]
struct Tries {
    count: u32,
    last: Timestamp,
}

/// A try under way.
pub(super) struct Try {
    lane: Lane,
    address: Option<IpAddr>,
    at: Timestamp,
    /// Failures in a row with this one, if it fails.
    pub(super) count: u32,
}

impl Try {
    /// Whether failures are counted over restarts: those from strange addresses are.
    pub(super) fn is_from_strange_address(&self) -> bool {
        !self.lane.is_known_address
    }
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Takes a try, or says how many seconds to wait. `last_address` is where the person of this
    /// name signed in last.
    pub(super) fn begin(
        &self,
        name: &str,
        address: Option<IpAddr>,
        last_address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Try, u64> {
        let is_machine_itself = address.is_none_or(|address| address.is_loopback());
        let address = address.map(network_of);
        let is_known_address =
            is_machine_itself || (address.is_some() && address == last_address.map(network_of));
        let lane = Lane { name: name.to_lowercase(), is_known_address };
        let mut state = self.lock();
        let counted = address.filter(|_| !is_machine_itself);
        if let Some(address) = counted {
            let tries = state.addresses.entry(address).or_default();
            while tries.front().is_some_and(|(at, _)| *at + WINDOW <= now) {
                tries.pop_front();
            }
            if let Some((first, _)) = tries.front().filter(|_| tries.len() >= TRIES) {
                return Err(seconds_until(*first + WINDOW, now));
            }
        }
        let before = state.accounts.get(&lane).filter(|tries| tries.last + MEMORY > now).copied();
        if let Some(before) = before {
            let next = before.last + delay_after(before.count);
            if next > now {
                return Err(seconds_until(next, now));
            }
        }
        let count = before.map_or(0, |before| before.count) + 1;
        state.accounts.insert(lane.clone(), Tries { count, last: now });
        if let Some(address) = counted {
            state.addresses.entry(address).or_default().push_back((now, lane.name.clone()));
        }
        state.forget_oldest(now);
        Ok(Try { lane, address: counted, at: now, count })
    }

    /// The password was right: nothing is held against name and address.
    pub(super) fn succeeded(&self, a_try: &Try) {
        let mut state = self.lock();
        state.accounts.remove(&a_try.lane);
        state.give_back_address(a_try);
    }

    /// The password was not looked at.
    pub(super) fn give_back(&self, a_try: &Try) {
        let mut state = self.lock();
        if let Some(tries) = state.accounts.get_mut(&a_try.lane) {
            tries.count = tries.count.saturating_sub(1);
        }
        state.give_back_address(a_try);
    }

    /// Forgets all failures of this name, and those of addresses that tried it.
    pub(super) fn unlock(&self, name: &str) {
        let name = name.to_lowercase();
        let mut state = self.lock();
        state.accounts.retain(|lane, _| lane.name != name);
        state.addresses.retain(|_, tries| tries.iter().all(|(_, tried)| *tried != name));
    }

    /// Remembers failures of an earlier run.
    pub(super) fn remember(&self, name: &str, count: u32, last: Timestamp) {
        let lane = Lane { name: name.to_lowercase(), is_known_address: false };
        self.lock().accounts.insert(lane, Tries { count, last });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn give_back_address(&mut self, a_try: &Try) {
        let Some(tries) = a_try.address.and_then(|address| self.addresses.get_mut(&address)) else { return };
        if let Some(position) =
            tries.iter().position(|(at, name)| *at == a_try.at && *name == a_try.lane.name)
        {
            tries.remove(position);
        }
    }

    /// Keeps both maps within bounds; under a flood the oldest go first.
    fn forget_oldest(&mut self, now: Timestamp) {
        if self.addresses.len() > REMEMBERED {
            self.addresses.retain(|_, tries| tries.back().is_some_and(|(at, _)| *at + WINDOW > now));
            let latest = |tries: &VecDeque<(Timestamp, String)>| tries.back().map(|(at, _)| *at);
            let oldest =
                self.addresses.iter().min_by_key(|(_, tries)| latest(tries)).map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| self.addresses.len() > REMEMBERED) {
                self.addresses.remove(&oldest);
            }
        }
        if self.accounts.len() > REMEMBERED {
            // A name with many failures is one worth remembering.
            let least = self.accounts.iter().min_by_key(|(_, tries)| (tries.count, tries.last));
            if let Some(lane) = least.map(|(lane, _)| lane.clone()) {
                self.accounts.remove(&lane);
            }
        }
    }
}

/// How long to wait after so many failures in a row: 1, 2, 4 … seconds from the third on.
fn delay_after(failures: u32) -> SignedDuration {
    match failures.checked_sub(FREE) {
        None => SignedDuration::ZERO,
        Some(power) => SignedDuration::from_secs(1 << power.min(16)).min(LONGEST_DELAY),
    }
}

fn seconds_until(at: Timestamp, now: Timestamp) -> u64 {
    // Rounded up, so that who waits as long as told is not told again.
    u64::try_from((at.duration_since(now).as_millis() + 999) / 1000).unwrap_or(1).max(1)
}

/// What one customer has: an IPv4 address, or the /64 network of an IPv6 address.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}
