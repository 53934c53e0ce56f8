//! What became of presented keys, for those who look for the reason.
//!
//! Owns: the last refusals one by one, all of them grouped by outcome, key and address, the
//! successes of each key (one group a key, with the address it came from last), the keys that were
//! seen in an address, and the live view. Refuses: a write per request (all of it is memory of this
//! run, but for the marks), secrets, and the id of a key that is not ours unless its token was
//! written right.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::broadcast;

use super::limits::Charge;
use super::{AuthError, Caller, KeyRing};
use crate::access::outcome::Outcome;
use crate::access::records::Exposure;
use crate::access::token::{Format, KeyId, Presented};
use crate::fax::event::Event;
use crate::id::AccountId;

/// Groups kept; the one that was quiet longest goes first.
const GROUPS: usize = 10_000;
/// Refusals kept one by one, and rows of a report.
pub const RECENT: usize = 200;
/// What a viewer of the live view may lag behind before it misses some.
const LIVE_LAG: usize = 256;

/// One presented key, or the lack of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
    /// The key, as far as it may be named.
    pub key: Option<KeyId>,
    /// The account the key belongs to.
    pub owner: Option<AccountId>,
    /// Where it came from.
    pub address: Option<IpAddr>,
}

/// Attempts that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The last of them.
    pub last: Attempt,
    /// When the first of them was.
    pub first: Timestamp,
    /// How many.
    pub count: u64,
}

/// Which attempts are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttemptFilter {
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// With this key.
    pub key: Option<KeyId>,
    /// From this address.
    pub address: Option<IpAddr>,
    /// With keys of this account.
    pub owner: Option<AccountId>,
}

impl AttemptFilter {
    /// Whether it is one of those asked for.
    pub fn matches(&self, attempt: &Attempt) -> bool {
        self.outcome.is_none_or(|outcome| outcome == attempt.outcome)
            && (self.key.is_none() || self.key == attempt.key)
            && (self.address.is_none() || self.address == attempt.address)
            && (self.owner.is_none() || self.owner == attempt.owner)
    }
}

/// What is known, newest first.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The last refusals one by one, and of each key its last success.
    pub recent: Vec<Attempt>,
    /// All since the start of the appliance, grouped.
    pub groups: Vec<Group>,
}

type Alike = (Outcome, Option<KeyId>, Option<IpAddr>);

/// The memory of one appliance.
pub(super) struct Diagnostics {
    kept: Mutex<Kept>,
    live: broadcast::Sender<Attempt>,
    viewers: Arc<AtomicUsize>,
    exposures: Mutex<HashMap<KeyId, Timestamp>>,
}

#[derive(Default)]
struct Kept {
    groups: HashMap<Alike, (Group, u64)>,
    /// The groups by when they last grew.
    by_age: BTreeMap<u64, Alike>,
    grown: u64,
    recent: VecDeque<Attempt>,
}

/// A live view; ends when dropped.
pub struct Viewer {
    attempts: broadcast::Receiver<Attempt>,
    viewers: Arc<AtomicUsize>,
}

impl Viewer {
    /// The next attempt; what was missed by being slow is skipped. `None` when there will be no
    /// more.
    pub async fn next(&mut self) -> Option<Attempt> {
        loop {
            match self.attempts.recv().await {
                Ok(attempt) => return Some(attempt),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Diagnostics {
    pub(super) fn new(exposures: &[Exposure]) -> Self {
        Self {
            kept: Mutex::default(),
            live: broadcast::Sender::new(LIVE_LAG),
            viewers: Arc::default(),
            exposures: Mutex::new(exposures.iter().map(|exposure| (exposure.id, exposure.seen_at)).collect()),
        }
    }

    fn record(&self, attempt: Attempt) {
        lock(&self.kept).record(attempt);
        self.show(attempt);
    }

    fn show(&self, attempt: Attempt) {
        if self.viewers.load(Ordering::Relaxed) > 0 {
            // The last viewer may just have gone.
            let _ = self.live.send(attempt);
        }
    }
}

impl Kept {
    fn record(&mut self, attempt: Attempt) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(attempt);
        let alike = (attempt.outcome, attempt.key, attempt.address);
        self.grown += 1;
        match self.groups.get_mut(&alike) {
            Some((group, grown)) => {
                self.by_age.remove(grown);
                (group.last, *grown) = (attempt, self.grown);
                group.count += 1;
            }
            None => {
                if self.groups.len() == GROUPS
                    && let Some((_, oldest)) = self.by_age.pop_first()
                {
                    self.groups.remove(&oldest);
                }
                let group = Group { last: attempt, first: attempt.at, count: 1 };
                self.groups.insert(alike, (group, self.grown));
            }
        }
        self.by_age.insert(self.grown, alike);
    }
}

impl KeyRing {
    /// Notes what came of a request that was charged to a key.
    pub fn note(&self, charge: &Charge, outcome: Outcome, address: Option<IpAddr>) {
        let at = charge.at;
        let attempt = Attempt { at, outcome, key: Some(charge.key), owner: Some(charge.owner), address };
        let is_first_of_second = charge.meter.note(outcome, address, at);
        if outcome != Outcome::Ok {
            self.parts.diagnostics.record(attempt);
        } else if is_first_of_second {
            self.parts.diagnostics.show(attempt);
        }
    }

    /// Notes a request that nobody was let in for. `key` is the one its credential names.
    pub fn note_refusal(&self, outcome: Outcome, key: Option<KeyId>, address: Option<IpAddr>) {
        let at = self.parts.clock.now();
        let known = key.and_then(|id| {
            let state = self.state();
            let entry = state.keys.get(&id)?;
            Some((entry.record.owner, entry.life().meter.clone()))
        });
        if let Some((_, meter)) = &known {
            meter.note(outcome, address, at);
        }
        let owner = known.map(|(owner, _)| owner);
        self.parts.diagnostics.record(Attempt { at, outcome, key, owner, address });
    }

    /// The id of the key that a refused credential names, when it may be told: the token is written
    /// right, or the id is one of ours.
    pub fn claimed_id(&self, credential: &str) -> Option<KeyId> {
        let token = Presented::parse(credential).ok()?;
        let is_ours = self.state().keys.contains_key(&token.id());
        (is_ours || token.format() == Format::Native).then(|| token.id())
    }

    /// What is known of presented keys, newest first, at most `limit` rows of each kind.
    pub fn attempts(&self, filter: &AttemptFilter, limit: usize) -> Report {
        let successes = self.successes();
        let kept = lock(&self.parts.diagnostics.kept);
        let mut report = Report {
            recent: kept.recent.iter().copied().chain(successes.iter().map(|group| group.last)).collect(),
            groups: kept.groups.values().map(|(group, _)| *group).chain(successes).collect(),
        };
        drop(kept);
        report.recent.retain(|attempt| filter.matches(attempt));
        report.recent.sort_by_key(|attempt| std::cmp::Reverse(attempt.at));
        report.recent.truncate(limit.min(RECENT));
        report.groups.retain(|group| filter.matches(&group.last));
        report.groups.sort_by_key(|group| std::cmp::Reverse(group.last.at));
        report.groups.truncate(limit);
        report
    }

    /// Begins to watch attempts as they come: each refusal, and of each key at most one success a
    /// second.
    pub fn watch_attempts(&self) -> Viewer {
        let diagnostics = &self.parts.diagnostics;
        diagnostics.viewers.fetch_add(1, Ordering::Relaxed);
        Viewer { attempts: diagnostics.live.subscribe(), viewers: diagnostics.viewers.clone() }
    }

    /// Marks the caller's key: it stood in the address of a request. Said once for each secret.
    pub async fn note_exposure(&self, caller: &Caller, address: Option<IpAddr>) -> Result<(), AuthError> {
        let Some(id) = caller.key_id else { return Ok(()) };
        if self.exposed_at(&id).is_some() {
            return Ok(());
        }
        let seen_at = self.parts.clock.now();
        lock(&self.parts.diagnostics.exposures).insert(id, seen_at);
        log::warn!("API key {id} stood in the address of a request; rotate it");
        let data = json!({ "address": address });
        let event = Event::about_key(&id.to_string(), "seen_in_url", &caller.label(), data, seen_at);
        self.parts.db.insert_exposure(Exposure { id, seen_at, address }, event).await?;
        Ok(())
    }

    /// When the key's present secret was first seen in an address; a rotation wipes the slate.
    pub fn exposed_at(&self, id: &KeyId) -> Option<Timestamp> {
        let seen_at = lock(&self.parts.diagnostics.exposures).get(id).copied()?;
        let made_at = self.state().keys.get(id)?.secret_made_at();
        (made_at <= seen_at).then_some(seen_at)
    }

    /// The successes of each key as one group.
    fn successes(&self) -> Vec<Group> {
        let state = self.state();
        let groups = state.keys.values().filter_map(|entry| {
            let successes = entry.life().meter.successes()?;
            let last = Attempt {
                at: successes.last,
                outcome: Outcome::Ok,
                key: Some(entry.record.id),
                owner: Some(entry.record.owner),
                address: successes.address,
            };
            Some(Group { last, first: successes.first, count: successes.count })
        });
        groups.collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::{CLI, Fixture, another_secret_for, named};
    use super::*;

    fn from(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4((0x0a00_0000 + number).into()))
    }

    #[tokio::test]
    async fn repeats_are_grouped_and_the_oldest_group_goes_first() {
        let fixture = Fixture::new().await;
        let ring = &fixture.ring;
        for number in 0..GROUPS as u32 {
            ring.note_refusal(Outcome::Malformed, None, from(number));
        }
        fixture.pass(60).await;
        for _ in 0..412 {
            ring.note_refusal(Outcome::Malformed, None, from(0));
        }
        // Two more than there is room for: those of 1 and 2 were quiet longest.
        ring.note_refusal(Outcome::Missing, None, from(0));
        ring.note_refusal(Outcome::Missing, None, from(1));
        let all = ring.attempts(&AttemptFilter::default(), usize::MAX);
        assert_eq!((all.groups.len(), all.recent.len()), (GROUPS, RECENT));
        let of = |outcome, number| {
            let filter =
                AttemptFilter { outcome: Some(outcome), address: from(number), ..AttemptFilter::default() };
            ring.attempts(&filter, 10).groups.first().map(|group| (group.count, group.first, group.last.at))
        };
        let (start, now) = ("2026-01-01T00:00:00Z".parse().unwrap(), fixture.clock.now());
        assert_eq!(of(Outcome::Malformed, 0), Some((413, start, now)));
        assert_eq!(of(Outcome::Missing, 1), Some((1, now, now)));
        assert_eq!((of(Outcome::Malformed, 1), of(Outcome::Malformed, 2)), (None, None));
        assert_eq!(of(Outcome::Malformed, 3), Some((1, start, start)));
    }

    #[tokio::test]
    async fn successes_are_one_group_a_key_and_owners_see_their_own() {
        let fixture = Fixture::new().await;
        let ring = &fixture.ring;
        let mut viewer = ring.watch_attempts();
        let (token, id) = fixture.make(named("a")).await;
        let (other, _) = fixture.make(super::super::NewKey { owner: Some("lab".into()), ..named("b") }).await;
        for token in [&token, &token, &other] {
            let caller = ring.verify(token, None).await.unwrap().caller;
            ring.note(&ring.charge(&caller, 0, fixture.clock.now()).unwrap(), Outcome::Ok, from(7));
        }
        let owner = ring.get(&id).unwrap().record.owner;
        let own = ring.attempts(&AttemptFilter { owner: Some(owner), ..AttemptFilter::default() }, 10);
        assert_eq!((own.groups.len(), own.groups[0].count, own.groups[0].last.key), (1, 2, Some(id)));
        assert_eq!(own.recent, [own.groups[0].last]);
        assert_eq!(ring.attempts(&AttemptFilter::default(), 10).groups.len(), 2);
        let seen = [viewer.next().await, viewer.next().await].map(|attempt| attempt.unwrap().key);
        assert!(seen[0] == Some(id) && seen[1] != Some(id), "one success a key and second");
        drop(viewer);
        assert_eq!(ring.parts.diagnostics.viewers.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn an_id_is_named_only_when_its_token_is_written_right() {
        let fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        let unknown: KeyId = "ffffffffffff".parse().unwrap();
        let imported = |id: KeyId| format!("fbk_live_{id}_{}", "a".repeat(43));
        let cases = [
            (token.clone(), Some(id)),
            (another_secret_for(unknown), Some(unknown)),
            (imported(id), Some(id)),
            (imported(unknown), None),
            (token[..token.len() - 1].to_owned(), None),
            ("hello".to_owned(), None),
        ];
        for (credential, expected) in cases {
            assert_eq!(fixture.ring.claimed_id(&credential), expected, "{credential}");
        }
    }

    #[tokio::test]
    async fn a_key_in_an_address_is_marked_once_until_it_is_rotated() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        let caller = fixture.ring.verify(&token, None).await.unwrap().caller;
        let marked_at = fixture.clock.now();
        fixture.ring.note_exposure(&caller, from(1)).await.unwrap();
        fixture.pass(60).await;
        fixture.ring.note_exposure(&caller, from(2)).await.unwrap();
        assert_eq!(fixture.ring.exposed_at(&id), Some(marked_at));
        let marks = async |fixture: &Fixture| {
            let events = fixture.db.events_about(format!("key:{id}"), i64::MAX, 10).await.unwrap();
            events.iter().filter(|logged| logged.event.kind == "api_key.seen_in_url").count()
        };
        assert_eq!(marks(&fixture).await, 1);
        fixture.restart().await;
        assert_eq!(fixture.ring.exposed_at(&id), Some(marked_at));
        fixture.ring.rotate(&id, std::time::Duration::ZERO, &CLI).await.unwrap();
        assert_eq!(fixture.ring.exposed_at(&id), None);
        fixture.ring.note_exposure(&caller, None).await.unwrap();
        assert_eq!(fixture.ring.exposed_at(&id), Some(fixture.clock.now()));
        assert_eq!(marks(&fixture).await, 2);
    }
}
