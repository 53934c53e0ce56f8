//! How much is too much.
//!
//! Owns: the exact quotas of keys and of their owners in aligned minutes and hours ([`KeyRing`]'s
//! `charge`), the ceiling over all keys, what keys may spend on telephone lines in a day
//! ([`spending`]), their figures of use, and the buckets per address against floods ([`floods`]).
//! Refuses: to write anything while a request waits; what is counted is written down together
//! with the figures of use, and read back at the start.
//!
//! Invariants: of a request that is refused nothing is taken anywhere. Locks are held for
//! nanoseconds and always in the order key, owner.
//!
//! [`KeyRing`]: super::KeyRing

mod charge;
pub(in crate::auth) mod floods;
pub(in crate::auth) mod meter;
pub(in crate::auth) mod overview;
mod spending;
mod windows;

use crate::access::records::KeyRecord;

pub use charge::{Charge, Left, Limited, OfCeiling};
pub use spending::{Allowance, Expense, Overspent};

/// What one key, or one owner, may do in an aligned minute and an aligned hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Requests in a minute.
    pub per_minute: u32,
    /// Requests in an hour.
    pub per_hour: u32,
}

impl Quota {
    /// The key's own numbers, else those of its kind.
    pub fn of(record: &KeyRecord) -> Self {
        let (own, preset) = (record.limits, record.kind.limits());
        Self {
            per_minute: own.per_minute.or(preset.per_minute).unwrap_or(u32::MAX),
            per_hour: own.per_hour.or(preset.per_hour).unwrap_or(u32::MAX),
        }
    }

    fn largest(self, other: Self) -> Self {
        Self {
            per_minute: self.per_minute.max(other.per_minute),
            per_hour: self.per_hour.max(other.per_hour),
        }
    }

    fn times(self, factor: u32) -> Self {
        Self {
            per_minute: self.per_minute.saturating_mul(factor),
            per_hour: self.per_hour.saturating_mul(factor),
        }
    }
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// The key's requests of this minute.
    Minute,
    /// The key's requests of this hour.
    Hour,
    /// `MAX_REQUESTS_PER_MINUTE`, or what one address may do without a key.
    Global,
    /// What all keys of one owner may do together.
    Owner,
}

impl Limit {
    /// Its name in the API (`error.limit`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Global => "global",
            Self::Owner => "owner",
        }
    }
}
