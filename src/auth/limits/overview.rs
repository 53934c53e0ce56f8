//! What follows from all keys together, kept until one of them changes.
//!
//! Owns: how much each owner may do (four times the largest limit among their active keys), the
//! counts of owners, and the web origins that some key lists. It is made anew when a key or an
//! account changed, or when time begins or ends a key's validity.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use jiff::Timestamp;

use super::Quota;
use super::windows::Windows;
use crate::access::kind::Kind;
use crate::access::records::Standing;
use crate::auth::KeyRing;
use crate::auth::keys::State;
use crate::id::AccountId;

/// How often an owner may exhaust the limit of their widest key, by using several.
const OWNER_FACTOR: u32 = 4;

/// The state of all keys, condensed.
#[derive(Debug, Default)]
pub(in crate::auth) struct Overview {
    version: u64,
    since: Timestamp,
    until: Timestamp,
    pub(super) owners: HashMap<AccountId, Owner, RandomState>,
    origins: HashSet<String>,
}

/// What the keys of one owner may do together, and have done.
#[derive(Debug, Default)]
pub(super) struct Owner {
    pub(super) quota: Quota,
    pub(super) windows: Arc<Mutex<Windows>>,
}

impl KeyRing {
    /// What `look` finds in the overview as it holds now. It is locked meanwhile.
    pub(super) fn in_overview<T>(&self, now: Timestamp, look: impl FnOnce(&Overview) -> T) -> T {
        let parts = &self.parts;
        let known = parts.overview.read().unwrap_or_else(PoisonError::into_inner);
        if known.holds(parts.version(), now) {
            return look(&known);
        }
        drop(known);
        let mut known = parts.overview.write().unwrap_or_else(PoisonError::into_inner);
        let state = self.state();
        // Read under the lock that every change holds, so it belongs to what is read with it.
        let version = parts.version();
        if !known.holds(version, now) {
            *known = Overview::of(&state, version, now, &known);
        }
        drop(state);
        look(&known)
    }

    /// Whether some active restricted key may be used from web pages of this origin.
    pub fn is_origin_listed(&self, origin: &str) -> bool {
        let now = self.parts.clock.now();
        self.in_overview(now, |overview| overview.origins.contains(&origin.to_ascii_lowercase()))
    }
}

impl Overview {
    fn holds(&self, version: u64, now: Timestamp) -> bool {
        self.version == version && self.since <= now && now < self.until
    }

    fn of(state: &State, version: u64, now: Timestamp, before: &Self) -> Self {
        let mut overview = Self { version, since: now, until: Timestamp::MAX, ..Self::default() };
        for entry in state.keys.values() {
            let record = &entry.record;
            let owner = overview.owners.entry(record.owner).or_insert_with(|| {
                let windows = before.owners.get(&record.owner).map(|owner| owner.windows.clone());
                Owner { quota: Quota::default(), windows: windows.unwrap_or_default() }
            });
            for turn in [record.not_before, record.expires_at].into_iter().flatten() {
                if turn > now {
                    overview.until = overview.until.min(turn);
                }
            }
            let Some(account) = state.accounts.get(&record.owner) else { continue };
            let has_begun = record.not_before.is_none_or(|start| start <= now);
            if !has_begun || record.standing(account, now) != Standing::Active {
                continue;
            }
            owner.quota = owner.quota.largest(Quota::of(record).times(OWNER_FACTOR));
            if record.kind == Kind::Restricted {
                overview
                    .origins
                    .extend(record.allowed_origins.iter().map(|origin| origin.as_str().to_owned()));
            }
        }
        overview
    }
}
