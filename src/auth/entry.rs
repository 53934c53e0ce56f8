//! One key as it stands in memory.
//!
//! An [`Entry`] is a snapshot: a change makes a new one with a higher generation and swaps it in.
//! The only things that move inside it are memories (a proved tag, a recomputed prefilter) and
//! counts of use. A new generation remembers no tag of the one before it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use subtle::ConstantTimeEq;

use super::limits::floods::network_of;
use super::limits::meter::Meter;
use super::tags::{Prefilter, Tag, Tags, is_same};
use super::{Caller, Refusal};
use crate::access::kind::Kind;
use crate::access::records::{AccountRecord, KeyRecord, SlotRecord, Standing, Status, StoredKey, UsageDelta};
use crate::access::token::{KeyId, NoRandomness};
use crate::id::AccountId;
use crate::secret::Secret;

/// Addresses remembered between two flushes; those beyond are counted and not told of.
const ADDRESSES: usize = 32;
/// No use yet.
const NEVER: i64 = i64::MIN;

/// Which of a key's two secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Current,
    Previous,
}

/// A key and its secrets' hashes.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Arc<KeyRecord>,
    current: Slot,
    previous: Option<Slot>,
    life: Arc<Life>,
}

/// One secret.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) phc: Secret<String>,
    pub(super) created_at: Timestamp,
    pub(super) valid_until: Option<Timestamp>,
    prefilter: OnceLock<Prefilter>,
    tag: OnceLock<Tag>,
    last_used_ms: Arc<AtomicI64>,
}

/// What goes on through all generations of a key.
#[derive(Debug)]
pub(super) struct Life {
    /// Held while argon2 runs for this key, so that it runs once for many first requests.
    pub(super) flight: tokio::sync::Mutex<()>,
    /// What is counted of it.
    pub(super) meter: Arc<Meter>,
    uses: Mutex<Uses>,
}

/// Time and address of the last use belong together, so a lock of a few nanoseconds rather than
/// three atomics; it is one key's own.
#[derive(Clone, Debug)]
struct Uses {
    count: u64,
    written: u64,
    /// Where it was used from since they were last written down.
    addresses: Vec<IpAddr>,
    last_used_at: Option<Timestamp>,
    last_used_ip: Option<IpAddr>,
}

impl Entry {
    pub(super) fn stored(key: StoredKey) -> Self {
        let uses = Uses {
            count: key.record.use_count,
            written: key.record.use_count,
            addresses: Vec::new(),
            last_used_at: key.record.last_used_at,
            last_used_ip: key.record.last_used_ip,
        };
        Self {
            record: Arc::new(key.record),
            current: Slot::stored(key.current),
            previous: key.previous.map(Slot::stored),
            life: Arc::new(Life {
                flight: tokio::sync::Mutex::new(()),
                meter: Arc::default(),
                uses: Mutex::new(uses),
            }),
        }
    }

    /// What a key id that nobody has is compared with, so that it takes the path and the time of a
    /// wrong secret. No secret has its hash, and it is revoked besides.
    pub(super) fn decoy(owner: AccountId, tags: &Tags, now: Timestamp) -> Result<Self, NoRandomness> {
        let record = KeyRecord {
            status: Status::Revoked,
            generation: 0,
            ..KeyRecord::new(KeyId::generate()?, Kind::Production, owner, String::new(), now)
        };
        let current = SlotRecord {
            phc: Secret::new(String::new()),
            prefilter: Some(tags.nobody.1),
            created_at: now,
            valid_until: None,
            last_used_at: None,
        };
        Ok(Self::stored(StoredKey { record, current, previous: None }))
    }

    /// This key, ended; of one that was ended before, only what it hides is added.
    pub(super) fn revoked(&self, at: Timestamp, by: String, reason: Option<String>, hidden: bool) -> Self {
        let old = &self.record;
        let mut record = KeyRecord {
            status: Status::Revoked,
            generation: old.generation + 1,
            recoverable: false,
            hidden: old.hidden || hidden,
            ..KeyRecord::clone(old)
        };
        if old.status != Status::Revoked {
            (record.revoked_at, record.revoked_by, record.revoked_reason) = (Some(at), Some(by), reason);
        }
        self.with_record(record)
    }

    /// This key, switched to active or disabled; `None` when it is so already, or revoked.
    pub(super) fn switched(&self, status: Status) -> Option<Self> {
        if self.record.status == Status::Revoked || self.record.status == status {
            return None;
        }
        let generation = self.record.generation + 1;
        Some(self.with_record(KeyRecord { status, generation, ..KeyRecord::clone(&self.record) }))
    }

    /// This key with the name, note, rights, limits and life of `new`.
    pub(super) fn changed(&self, new: &KeyRecord) -> Self {
        let old = &self.record;
        self.with_record(KeyRecord {
            status: old.status,
            generation: old.generation + 1,
            recoverable: old.recoverable,
            hidden: old.hidden,
            revoked_at: old.revoked_at,
            revoked_by: old.revoked_by.clone(),
            revoked_reason: old.revoked_reason.clone(),
            ..new.clone()
        })
    }

    fn with_record(&self, record: KeyRecord) -> Self {
        let previous = self.previous.as_ref().map(|slot| slot.afresh(None));
        self.next_generation(record, self.current.afresh(None), previous)
    }

    /// This key with a new secret; the one it had is kept until `previous_valid_until`, if at all.
    /// `is_kept`: whether the new token can be shown again.
    pub(super) fn rotated(
        &self,
        current: SlotRecord,
        previous_valid_until: Option<Timestamp>,
        is_kept: bool,
    ) -> Self {
        let record = KeyRecord {
            generation: self.record.generation + 1,
            recoverable: is_kept && self.record.status != Status::Revoked,
            ..KeyRecord::clone(&self.record)
        };
        let previous = previous_valid_until.map(|end| self.current.afresh(Some(end)));
        self.next_generation(record, Slot::stored(current), previous)
    }

    /// This key without its previous secret.
    pub(super) fn without_previous(&self) -> Self {
        let record = KeyRecord { generation: self.record.generation + 1, ..KeyRecord::clone(&self.record) };
        self.next_generation(record, self.current.afresh(None), None)
    }

    /// This key with another hash of the same secret, and its prefilter; `None` when no slot has
    /// the hash `old`. Nobody is let in or out by it, so the generation stays.
    pub(super) fn rehashed(
        &self,
        old: &Secret<String>,
        new: &Secret<String>,
        prefilter: Option<Prefilter>,
    ) -> Option<Self> {
        let renew = |slot: &Slot| {
            let is_it = slot.phc.reveal() == old.reveal();
            if is_it { slot.rehashed(new.clone(), prefilter) } else { slot.as_it_is() }
        };
        let has_it = std::iter::once(&self.current)
            .chain(&self.previous)
            .any(|slot| slot.phc.reveal() == old.reveal());
        has_it.then(|| Self {
            record: self.record.clone(),
            current: renew(&self.current),
            previous: self.previous.as_ref().map(renew),
            life: self.life.clone(),
        })
    }

    fn next_generation(&self, record: KeyRecord, current: Slot, previous: Option<Slot>) -> Self {
        Self { record: Arc::new(record), current, previous, life: self.life.clone() }
    }

    pub(super) fn generation(&self) -> u64 {
        self.record.generation
    }

    pub(super) fn life(&self) -> &Arc<Life> {
        &self.life
    }

    /// The slot, while it is valid.
    pub(super) fn slot(&self, which: Which, now: Timestamp) -> Option<&Slot> {
        match which {
            Which::Current => Some(&self.current),
            Which::Previous => {
                self.previous.as_ref().filter(|slot| slot.valid_until.is_some_and(|end| end > now))
            }
        }
    }

    /// Which valid slot has proved this very token before.
    pub(super) fn with_tag(&self, tag: &Tag, tags: &Tags, now: Timestamp) -> Option<Which> {
        let proves = |which| {
            let proved = self.slot(which, now).and_then(|slot| slot.tag.get());
            is_same(proved.unwrap_or(&tags.nobody.0), tag)
        };
        // Both are compared, so that the time tells nothing of which it is.
        match (proves(Which::Current), proves(Which::Previous)) {
            (true, _) => Some(Which::Current),
            (_, true) => Some(Which::Previous),
            _ => None,
        }
    }

    /// Which valid slots a token with this prefilter may belong to; one whose own prefilter was
    /// lost may have any.
    pub(super) fn candidates(&self, prefilter: &Prefilter, tags: &Tags, now: Timestamp) -> Vec<Which> {
        let may_be_of = |which| {
            let slot = self.slot(which, now);
            let stored = slot.and_then(Slot::prefilter).unwrap_or(tags.nobody.1);
            let is_unfiltered = slot.is_some_and(|slot| slot.prefilter().is_none());
            bool::from(stored.ct_eq(prefilter)) | is_unfiltered
        };
        // Each, and nobody's fingerprints where there is no slot.
        [Which::Current, Which::Previous].into_iter().filter(|which| may_be_of(*which)).collect()
    }

    /// Which valid slot has this hash.
    pub(super) fn with_phc(&self, phc: &Secret<String>, now: Timestamp) -> Option<Which> {
        [Which::Current, Which::Previous]
            .into_iter()
            .find(|which| self.slot(*which, now).is_some_and(|slot| slot.phc.reveal() == phc.reveal()))
    }

    /// The key's current secret as it is stored, to become its previous one.
    pub(super) fn current_record(&self, valid_until: Timestamp) -> SlotRecord {
        SlotRecord {
            phc: self.current.phc.clone(),
            prefilter: self.current.prefilter.get().copied(),
            created_at: self.current.created_at,
            valid_until: Some(valid_until),
            last_used_at: self.current.last_used_at(),
        }
    }

    /// Lets the holder of the right secret in, when the key as it stands here may be used.
    pub(super) fn admit(
        &self,
        owner: &AccountRecord,
        which: Which,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        let record = &self.record;
        match record.standing(owner, now) {
            Standing::Active => {}
            Standing::Revoked => return Err(Refusal::Revoked),
            Standing::Expired => return Err(Refusal::Expired),
            Standing::Disabled => return Err(Refusal::Disabled),
            Standing::OwnerDisabled => return Err(Refusal::OwnerDisabled),
        }
        if record.not_before.is_some_and(|start| now < start) {
            return Err(Refusal::NotYetValid);
        }
        let is_listed = |address: IpAddr| record.ip_allow.iter().any(|network| network.contains(address));
        if !record.ip_allow.is_empty() && !peer.is_some_and(is_listed) {
            return Err(Refusal::IpDenied);
        }
        self.note_use(which, now, peer);
        Ok(Caller::key(record, owner, &self.life.meter))
    }

    fn note_use(&self, which: Which, now: Timestamp, from: Option<IpAddr>) {
        let slot = match which {
            Which::Current => Some(&self.current),
            Which::Previous => self.previous.as_ref(),
        };
        if let Some(slot) = slot {
            slot.last_used_ms.fetch_max(now.as_millisecond(), Ordering::Relaxed);
        }
        let mut uses = self.life.uses();
        uses.count += 1;
        uses.last_used_at = Some(now);
        if let Some(address) = from {
            // Most requests come from where the one before came from: a comparison, no search.
            let is_as_before = uses.last_used_ip == from && !uses.addresses.is_empty();
            if !is_as_before {
                uses.see(network_of(address));
                uses.last_used_ip = from;
            }
        }
    }

    /// The record with the figures of use as they are now.
    pub(super) fn live_record(&self) -> KeyRecord {
        let uses = self.life.uses().clone();
        KeyRecord {
            use_count: uses.count,
            last_used_at: uses.last_used_at,
            last_used_ip: uses.last_used_ip,
            ..KeyRecord::clone(&self.record)
        }
    }

    /// What was not written down yet of its use.
    pub(super) fn unwritten_use(&self) -> Option<UsageDelta> {
        let uses = self.life.uses().clone();
        let last_used_at = uses.last_used_at.filter(|_| uses.count > uses.written)?;
        Some(UsageDelta {
            id: self.record.id,
            uses: uses.count - uses.written,
            last_used_at,
            last_used_ip: uses.last_used_ip,
            current_used_at: self.current.last_used_at(),
            previous_used_at: self.previous.as_ref().and_then(Slot::last_used_at),
            addresses: uses.addresses,
        })
    }

    /// This use is written down.
    pub(super) fn use_is_written(&self, written: &UsageDelta) {
        let mut uses = self.life.uses();
        uses.written += written.uses;
        uses.addresses.retain(|address| !written.addresses.contains(address));
    }

    /// When its current secret was made.
    pub(super) fn secret_made_at(&self) -> Timestamp {
        self.current.created_at
    }

    pub(super) fn previous_valid_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.slot(Which::Previous, now)?.valid_until
    }
}

impl Life {
    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Uses {
    fn see(&mut self, address: IpAddr) {
        if self.addresses.len() < ADDRESSES && !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }
}

impl Slot {
    fn stored(record: SlotRecord) -> Self {
        let last_used_ms = record.last_used_at.map_or(NEVER, Timestamp::as_millisecond);
        Self {
            phc: record.phc,
            created_at: record.created_at,
            valid_until: record.valid_until,
            prefilter: record.prefilter.map(OnceLock::from).unwrap_or_default(),
            tag: OnceLock::new(),
            last_used_ms: Arc::new(AtomicI64::new(last_used_ms)),
        }
    }

    /// The same secret, with nothing proved.
    fn afresh(&self, valid_until: Option<Timestamp>) -> Self {
        Self {
            phc: self.phc.clone(),
            created_at: self.created_at,
            valid_until: valid_until.or(self.valid_until),
            prefilter: self.prefilter.clone(),
            tag: OnceLock::new(),
            last_used_ms: self.last_used_ms.clone(),
        }
    }

    /// The same secret with another hash of it.
    fn rehashed(&self, phc: Secret<String>, prefilter: Option<Prefilter>) -> Self {
        let prefilter = prefilter.map(OnceLock::from).unwrap_or_default();
        Self { phc, prefilter, ..self.afresh(None) }
    }

    /// The same secret with what is remembered of it.
    fn as_it_is(&self) -> Self {
        Self { tag: self.tag.clone(), ..self.afresh(None) }
    }

    pub(super) fn prefilter(&self) -> Option<Prefilter> {
        self.prefilter.get().copied()
    }

    pub(super) fn last_used_at(&self) -> Option<Timestamp> {
        let ms = self.last_used_ms.load(Ordering::Relaxed);
        if ms == NEVER { None } else { Timestamp::from_millisecond(ms).ok() }
    }

    /// Remembers a token that was proved to be the one of this slot.
    pub(super) fn remember(&self, tag: Tag, prefilter: Prefilter) {
        // Whoever came first remembered the same.
        let _ = self.tag.set(tag);
        let _ = self.prefilter.set(prefilter);
    }
}
