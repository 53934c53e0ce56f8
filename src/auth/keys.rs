//! The ring of all API keys, and the check every request goes through.
//!
//! Owns: the map of keys and accounts in memory. Steps of a check, cheapest first: form and
//! checksum; look-up by id (an unknown id is compared with nobody's fingerprints, so that it takes
//! the path and the time of a wrong secret); the tag of an earlier proof; the peppered prefilter;
//! argon2id, once per key and boot. What a key may do is decided after its secret proved right,
//! from the entry as it stands *then*.
//!
//! Invariants: no lock is held across an await but the one that makes argon2 run once per key;
//! argon2 runs only for a secret whose prefilter fits, or under a strict limit per address while
//! the prefilter is unknown.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;

use super::bootstrap::BootstrapCheck;
use super::changes::{ANONYMOUS, BOOTSTRAP, LOCAL};
use super::entry::{self, Entry, Which};
use super::hashing::Hasher;
use super::rate::{Failures, Unfiltered};
use super::tags::{Prefilter, Tag, Tags};
use super::{AuthError, Bootstrap, Caller, Refusal};
use crate::access::records::{AccountRecord, KeyRecord, Standing};
use crate::access::roles::Role;
use crate::access::token::{KeyId, Presented};
use crate::clock::Clock;
use crate::db::{Db, DbError};
use crate::id::AccountId;
use crate::secret::Secret;

/// All API keys of the appliance. Cheap to clone.
#[derive(Clone)]
pub struct KeyRing {
    pub(super) parts: Arc<Parts>,
}

pub(super) struct Parts {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) tags: Tags,
    pub(super) hasher: Hasher,
    /// Held by changes that write rows, so that rows and map change in the same order.
    pub(super) changes: tokio::sync::Mutex<()>,
    state: RwLock<State>,
    failures: Failures,
    unfiltered: Unfiltered,
    bootstrap: Option<BootstrapCheck>,
    pub(super) local: Arc<AccountRecord>,
    anonymous: Arc<AccountRecord>,
}

/// What changes swap and checks read.
#[derive(Default)]
pub(super) struct State {
    pub(super) keys: HashMap<KeyId, Arc<Entry>>,
    pub(super) accounts: HashMap<AccountId, Arc<AccountRecord>>,
}

/// A key and the account it belongs to, as they stood together.
struct Found {
    entry: Arc<Entry>,
    owner: Arc<AccountRecord>,
}

/// An accepted credential.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Who presented it.
    pub caller: Caller,
}

/// A key as it is shown.
#[derive(Clone, Debug)]
pub struct KeyView {
    /// The key, with its use up to now.
    pub record: KeyRecord,
    /// Name of its owner.
    pub owner_name: String,
    /// How it stands now.
    pub status: Standing,
    /// End of the grace of its previous secret, while that lasts.
    pub previous_valid_until: Option<Timestamp>,
    /// When its previous secret was last used, while that is valid.
    pub previous_last_used_at: Option<Timestamp>,
}

impl KeyRing {
    /// Reads all keys and accounts; makes the appliance's own accounts at the first start.
    pub async fn load(
        db: Db,
        pepper: Secret<[u8; 32]>,
        clock: Clock,
        bootstrap: Option<Bootstrap>,
    ) -> Result<Self, AuthError> {
        let tags = Tags::new(&pepper)?;
        db.adopt_pepper(tags.pepper_check()).await?;
        let mut state = State::default();
        for account in db.accounts().await? {
            state.accounts.insert(account.id, Arc::new(account));
        }
        for key in db.keys().await? {
            if !state.accounts.contains_key(&key.record.owner) {
                return Err(DbError::Damaged { what: "api_keys.owner_id" }.into());
            }
            state.keys.insert(key.record.id, Arc::new(Entry::stored(key)));
        }
        let now = clock.now();
        let local = state.own_account(&db, LOCAL, Role::GlobalAdmin, now).await?;
        let anonymous = state.own_account(&db, ANONYMOUS, Role::Operator, now).await?;
        let bootstrap = match bootstrap {
            Some(bootstrap) => {
                bootstrap.check()?;
                let account = state.own_account(&db, BOOTSTRAP, Role::GlobalAdmin, now).await?;
                Some(BootstrapCheck::new(&bootstrap, account))
            }
            None => None,
        };
        Ok(Self {
            parts: Arc::new(Parts {
                db,
                clock,
                tags,
                hasher: Hasher::new(),
                changes: tokio::sync::Mutex::new(()),
                state: RwLock::new(state),
                failures: Failures::new(),
                unfiltered: Unfiltered::new(),
                bootstrap,
                local,
                anonymous,
            }),
        })
    }

    /// Who presents this credential, from this address (`None`: unknown, which no address list
    /// contains).
    pub async fn verify(&self, credential: &str, peer: Option<IpAddr>) -> Result<Verified, Refusal> {
        let peer = peer.map(|address| address.to_canonical());
        match self.check(credential, peer).await {
            Ok(caller) => Ok(Verified { caller }),
            Err(refusal) if refusal.is_secret_right() || refusal == Refusal::Overloaded => Err(refusal),
            // Counted after the fact, so that a flood never keeps a good key of its address out.
            Err(refusal) => Err(match self.parts.failures.count(peer) {
                Some(retry_after_s) => Refusal::Flood { retry_after_s },
                None => refusal,
            }),
        }
    }

    /// All keys, newest first.
    pub fn list(&self) -> Vec<KeyView> {
        let now = self.parts.clock.now();
        let state = self.state();
        let mut views: Vec<_> = state.keys.values().filter_map(|entry| state.view(entry, now)).collect();
        views.sort_by(|a, b| (b.record.created_at, b.record.id).cmp(&(a.record.created_at, a.record.id)));
        views
    }

    /// The key with this id.
    pub fn get(&self, id: &KeyId) -> Option<KeyView> {
        let state = self.state();
        state.view(state.keys.get(id)?, self.parts.clock.now())
    }

    /// A process of this machine that reached the local socket: may do everything.
    pub fn local_caller(&self, uid: u32) -> Caller {
        Caller::local(uid, &self.parts.local)
    }

    /// Whoever sends no key, where that was switched on: a key's everyday rights, an account of
    /// its own.
    pub fn anonymous_caller(&self) -> Caller {
        Caller::anonymous(&self.parts.anonymous)
    }

    /// How often argon2 ran since the start.
    pub fn argon2_runs(&self) -> u64 {
        self.parts.hasher.runs()
    }

    /// Writes down when, from where and how often keys were used; call it every 15 to 60 seconds
    /// and at the end.
    pub async fn flush_usage(&self) -> Result<(), AuthError> {
        // A rotation in between would move a secret to another row.
        let _changes = self.parts.changes.lock().await;
        let entries: Vec<_> = self.state().keys.values().cloned().collect();
        let (written, deltas): (Vec<_>, Vec<_>) =
            entries.into_iter().filter_map(|entry| Some((entry.clone(), entry.unwritten_use()?))).unzip();
        if deltas.is_empty() {
            return Ok(());
        }
        self.parts.db.add_key_usage(deltas.clone()).await?;
        for (entry, delta) in written.iter().zip(&deltas) {
            entry.use_is_written(delta.uses);
        }
        Ok(())
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.parts.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.parts.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    async fn check(&self, credential: &str, peer: Option<IpAddr>) -> Result<Caller, Refusal> {
        let Parts { tags, clock, bootstrap, .. } = &*self.parts;
        if let Some(bootstrap) = bootstrap.as_ref().filter(|bootstrap| bootstrap.matches(credential)) {
            let account = bootstrap.admit(self.state().has_administrator())?;
            return Ok(Caller::bootstrap(&account));
        }
        let token = Presented::parse(credential)?;
        let now = clock.now();
        let found = self.find(token.id());
        let entry = found.as_ref().map(|found| &*found.entry);
        let tag = tags.tag(&token);
        if let Some(which) = entry::with_tag(entry, &tag, tags, now)
            && let Some(found) = &found
        {
            return found.admit(which, peer, now);
        }
        let prefilter = tags.prefilter(&token);
        if entry::candidates(entry, &prefilter, tags, now).is_empty() {
            return Err(if entry.is_some() { Refusal::BadSecret } else { Refusal::UnknownId });
        }
        let proof = Proof {
            id: token.id(),
            secret: Secret::new(token.secret().to_owned()),
            tag,
            prefilter,
            peer,
        };
        // On a task of its own: a client that hangs up does not make the next one start over.
        let ring = self.clone();
        let proving = tokio::spawn(async move { ring.prove(proof).await });
        let (found, which) = proving.await.map_err(|_| Refusal::Overloaded)??;
        found.admit(which, peer, clock.now())
    }

    /// Proves a secret by argon2, one at a time for each key, and remembers it.
    async fn prove(&self, proof: Proof) -> Result<(Found, Which), Refusal> {
        let Parts { tags, clock, hasher, unfiltered, db, .. } = &*self.parts;
        let life = self.find(proof.id).ok_or(Refusal::UnknownId)?.entry.life().clone();
        let _flight = life.flight.lock().await;
        let now = clock.now();
        let found = self.find(proof.id).ok_or(Refusal::UnknownId)?;
        if let Some(which) = entry::with_tag(Some(&found.entry), &proof.tag, tags, now) {
            return Ok((found, which));
        }
        for which in entry::candidates(Some(&found.entry), &proof.prefilter, tags, now) {
            let Some(slot) = found.entry.slot(which, now) else { continue };
            let has_prefilter = slot.prefilter().is_some();
            if !has_prefilter {
                unfiltered.take(proof.peer).map_err(|retry_after_s| Refusal::Flood { retry_after_s })?;
            }
            if !hasher.proves(proof.secret.clone(), slot.phc.clone()).await? {
                continue;
            }
            // The key may have been revoked or rotated while argon2 ran: what counts is how it
            // stands now, and a proof for an earlier generation is not remembered.
            let newest = self.find(proof.id).ok_or(Refusal::UnknownId)?;
            if newest.entry.generation() == found.entry.generation() {
                slot.remember(proof.tag, proof.prefilter);
            }
            if !has_prefilter
                && let Err(error) = db.store_prefilter(proof.id, slot.phc.clone(), proof.prefilter).await
            {
                log::warn!("the prefilter of key {} was not stored: {error:?}", proof.id);
            }
            let which = newest.entry.with_phc(&slot.phc, clock.now()).ok_or(Refusal::BadSecret)?;
            return Ok((newest, which));
        }
        Err(Refusal::BadSecret)
    }

    fn find(&self, id: KeyId) -> Option<Found> {
        let state = self.state();
        let entry = state.keys.get(&id)?.clone();
        let owner = state.accounts.get(&entry.record.owner)?.clone();
        Some(Found { entry, owner })
    }
}

/// A secret to be proved.
struct Proof {
    id: KeyId,
    secret: Secret<String>,
    tag: Tag,
    prefilter: Prefilter,
    peer: Option<IpAddr>,
}

impl Found {
    /// Lets the holder of the right secret in, when the key as it stands here may be used.
    fn admit(&self, which: Which, peer: Option<IpAddr>, now: Timestamp) -> Result<Caller, Refusal> {
        let record = &self.entry.record;
        match record.standing(&self.owner, now) {
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
        self.entry.note_use(which, now, peer);
        Ok(Caller::key(record, &self.owner))
    }
}

impl State {
    /// Whether a person exists who can manage everything.
    fn has_administrator(&self) -> bool {
        self.accounts.values().any(|account| account.is_active_administrator())
    }

    pub(super) fn account_named(&self, name: &str) -> Option<Arc<AccountRecord>> {
        self.accounts.values().find(|account| account.name.eq_ignore_ascii_case(name)).cloned()
    }

    fn view(&self, entry: &Entry, now: Timestamp) -> Option<KeyView> {
        let owner = self.accounts.get(&entry.record.owner)?;
        Some(KeyView {
            record: entry.live_record(),
            owner_name: owner.name.clone(),
            status: entry.record.standing(owner, now),
            previous_valid_until: entry.previous_valid_until(now),
            previous_last_used_at: entry.slot(Which::Previous, now).and_then(|slot| slot.last_used_at()),
        })
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing({} keys)", self.state().keys.len())
    }
}
