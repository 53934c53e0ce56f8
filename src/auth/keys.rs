//! The ring of all API keys.
//!
//! Owns: the map of keys and accounts in memory, what is shown of it, and its figures of use.
//! Checks of credentials stand in [`super::check`], changes in [`super::changes`].
//!
//! Invariant: readers take the map's lock for a look-up and no longer; writers never wait for
//! anything while they hold it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crossbeam_utils::sync::{ShardedLock, ShardedLockReadGuard, ShardedLockWriteGuard};
use foldhash::fast::RandomState;
use jiff::Timestamp;

use super::bootstrap::BootstrapCheck;
use super::changes::{ACCOUNT, ANONYMOUS, BOOTSTRAP, LOCAL};
use super::diagnostics::Diagnostics;
use super::entry::{Entry, Which};
use super::hashing::Hasher;
use super::identify::Identifications;
use super::limits::floods::{Anonymous, Failures, Reveals, Unfiltered};
use super::limits::overview::Overview;
use super::tags::Tags;
use super::{AuthError, Bootstrap, Caller};
use crate::access::kind::RevealPolicy;
use crate::access::records::{AccountKind, AccountRecord, AccountStatus, KeyRecord, Standing};
use crate::access::roles::Role;
use crate::access::token::KeyId;
use crate::clock::Clock;
use crate::db::{Db, DbError};
use crate::id::AccountId;
use crate::seal::{Locked, Seal};

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
    state: ShardedLock<State>,
    /// Moves with every change of the state.
    version: AtomicU64,
    pub(super) overview: ShardedLock<Overview>,
    pub(super) failures: Failures,
    pub(super) unfiltered: Unfiltered,
    pub(super) strangers: Anonymous,
    pub(super) diagnostics: Diagnostics,
    pub(super) identifications: Identifications,
    pub(super) reveals: Reveals,
    pub(super) reveal_policy: RwLock<RevealPolicy>,
    pub(super) seal: Result<Arc<Seal>, Locked>,
    pub(super) bootstrap: Option<BootstrapCheck>,
    pub(super) local: Arc<AccountRecord>,
    pub(super) anonymous: Arc<AccountRecord>,
    pub(super) decoy: Arc<Entry>,
}

/// What the configuration says about keys.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The bootstrap key.
    pub bootstrap: Option<Bootstrap>,
    /// Which keys may be shown again.
    pub reveal_policy: RevealPolicy,
}

/// What changes swap and checks read.
#[derive(Default)]
pub(super) struct State {
    pub(super) keys: HashMap<KeyId, Arc<Entry>, RandomState>,
    pub(super) accounts: HashMap<AccountId, Arc<AccountRecord>, RandomState>,
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
    /// When the secret in force was last used.
    pub current_last_used_at: Option<Timestamp>,
    /// When its previous secret was last used, while that is valid.
    pub previous_last_used_at: Option<Timestamp>,
}

impl KeyRing {
    /// Reads all keys and accounts; makes the appliance's own accounts at the first start. Where the
    /// seal does not open there is no pepper: all keys work under the strict limit for secrets that
    /// no prefilter vouches for, and stored prefilters are left for its return.
    pub async fn load(
        db: Db,
        seal: Result<Arc<Seal>, Locked>,
        clock: Clock,
        settings: Settings,
    ) -> Result<Self, AuthError> {
        let Settings { bootstrap, reveal_policy } = settings;
        let tags = Tags::new(seal.as_ref().ok().map(|seal| seal.pepper()).as_ref())?;
        if let Some(check) = tags.pepper_check() {
            db.adopt_pepper(check).await?;
        }
        let mut state = State::default();
        for account in db.accounts().await? {
            state.accounts.insert(account.id, Arc::new(account));
        }
        for mut key in db.keys().await? {
            for slot in std::iter::once(&mut key.current).chain(&mut key.previous) {
                slot.prefilter = tags.lasting(slot.prefilter);
            }
            if !state.accounts.contains_key(&key.record.owner) {
                return Err(DbError::Damaged { what: "api_keys.owner_id" }.into());
            }
            state.keys.insert(key.record.id, Arc::new(Entry::stored(key)));
        }
        let now = clock.now();
        let local = state.own_account(&db, LOCAL, Role::GlobalAdmin, now).await?;
        let anonymous = state.own_account(&db, ANONYMOUS, Role::Operator, now).await?;
        // Made even where no such key is set, so that nobody else can take the name.
        let bootstrap_account = state.own_account(&db, BOOTSTRAP, Role::GlobalAdmin, now).await?;
        state.own_account(&db, ACCOUNT, Role::Operator, now).await?;
        let bootstrap =
            bootstrap.map(|bootstrap| BootstrapCheck::new(&bootstrap, bootstrap_account)).transpose()?;
        let decoy = Arc::new(Entry::decoy(anonymous.id, &tags, now)?);
        let (windows, days) = (db.key_windows().await?, db.key_spending().await?);
        let diagnostics = Diagnostics::new(&db.exposures().await?);
        let ring = Self {
            parts: Arc::new(Parts {
                db,
                clock,
                tags,
                hasher: Hasher::new(),
                changes: tokio::sync::Mutex::new(()),
                state: ShardedLock::new(state),
                version: AtomicU64::new(1),
                overview: ShardedLock::default(),
                failures: Failures::new(),
                unfiltered: Unfiltered::new(),
                strangers: Anonymous::new(),
                diagnostics,
                identifications: Identifications::new(),
                reveals: Reveals::new(),
                reveal_policy: RwLock::new(reveal_policy),
                seal,
                bootstrap,
                local,
                anonymous,
                decoy,
            }),
        };
        ring.restore_meters(&windows, &days);
        Ok(ring)
    }

    /// All keys, newest first.
    pub fn list(&self) -> Vec<KeyView> {
        let now = self.parts.clock.now();
        let state = self.state();
        let mut views: Vec<_> = state.keys.values().filter_map(|entry| state.view(entry, now)).collect();
        views.sort_by_key(|view| std::cmp::Reverse((view.record.created_at, view.record.id)));
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

    /// Counts a request that needed a key and brought none; says how many seconds its address has to
    /// wait when there were too many.
    pub fn count_failure(&self, address: Option<IpAddr>) -> Option<u64> {
        self.parts.failures.count(address)
    }

    /// Counts a request for what needs no key; says how many seconds its address has to wait when
    /// there were too many.
    pub fn count_stranger(&self, address: Option<IpAddr>) -> Option<u64> {
        self.parts.strangers.count(address)
    }

    /// Whether a person exists who can manage everything.
    pub fn has_administrator(&self) -> bool {
        self.state().has_administrator()
    }

    /// The name of an account.
    pub fn account_name(&self, id: AccountId) -> Option<String> {
        self.state().accounts.get(&id).map(|account| account.name.clone())
    }

    /// The active people with this name, in any case; all of them without one, by name.
    pub fn active_people(&self, name: Option<&str>) -> Vec<Arc<AccountRecord>> {
        let is_wanted = |account: &Arc<AccountRecord>| {
            account.kind == AccountKind::User
                && account.status == AccountStatus::Active
                && name.is_none_or(|name| account.name.eq_ignore_ascii_case(name))
        };
        let state = self.state();
        let mut people: Vec<_> =
            state.accounts.values().filter(|account| is_wanted(account)).cloned().collect();
        people.sort_by_key(|account| account.name.to_lowercase());
        people
    }

    /// The account of this name, in any case.
    pub(super) fn account_named(&self, name: &str) -> Option<Arc<AccountRecord>> {
        self.state().account_named(name)
    }

    /// All accounts.
    pub(super) fn accounts(&self) -> Vec<Arc<AccountRecord>> {
        self.state().accounts.values().cloned().collect()
    }

    /// Makes this the account's record for every request that starts after the return; its row is
    /// the caller's to write.
    pub(super) fn put_account(&self, account: AccountRecord) {
        self.state_mut().accounts.insert(account.id, Arc::new(account));
    }

    /// Which keys may be shown again.
    pub(super) fn reveal_policy(&self) -> RevealPolicy {
        *self.parts.reveal_policy.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets these keys be shown again from now on.
    pub fn set_reveal_policy(&self, policy: RevealPolicy) {
        *self.parts.reveal_policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// How often argon2 ran since the start.
    pub fn argon2_runs(&self) -> u64 {
        self.parts.hasher.runs()
    }

    /// Writes down what was counted of keys: when, from where and how often they were used, what came
    /// of it, and what they took of their quotas; call it every 15 to 60 seconds
    /// and at the end.
    pub async fn flush_usage(&self) -> Result<(), AuthError> {
        // A rotation in between would move a secret to another row.
        let _changes = self.parts.changes.lock().await;
        self.flush_meters().await?;
        let entries: Vec<_> = self.state().keys.values().cloned().collect();
        let (written, deltas): (Vec<_>, Vec<_>) =
            entries.into_iter().filter_map(|entry| Some((entry.clone(), entry.unwritten_use()?))).unzip();
        if deltas.is_empty() {
            return Ok(());
        }
        let new_addresses = self.parts.db.add_key_usage(deltas.clone()).await?;
        for (entry, delta) in written.iter().zip(&deltas) {
            entry.use_is_written(delta);
        }
        for new in new_addresses {
            let level = if new.known == 0 { log::Level::Info } else { log::Level::Warn };
            log::log!(level, "API key {} was used from {} for the first time", new.id, new.address);
        }
        Ok(())
    }

    pub(super) fn state(&self) -> ShardedLockReadGuard<'_, State> {
        self.parts.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state_mut(&self) -> ShardedLockWriteGuard<'_, State> {
        let state = self.parts.state.write().unwrap_or_else(PoisonError::into_inner);
        self.parts.version.fetch_add(1, Ordering::AcqRel);
        state
    }
}

impl Parts {
    /// The seal, or why it does not open.
    pub(super) fn seal(&self) -> Result<&Seal, Locked> {
        self.seal.as_deref().map_err(Locked::clone)
    }

    /// A number that has moved whenever keys or accounts have changed.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

impl State {
    /// Whether a person exists who can manage everything.
    pub(super) fn has_administrator(&self) -> bool {
        self.accounts.values().any(|account| account.is_active_administrator())
    }

    pub(super) fn account_named(&self, name: &str) -> Option<Arc<AccountRecord>> {
        self.accounts.values().find(|account| account.name.eq_ignore_ascii_case(name)).cloned()
    }

    /// The account a key belongs to.
    pub(super) fn owner_of(&self, entry: &Entry) -> Option<&Arc<AccountRecord>> {
        self.accounts.get(&entry.record.owner)
    }

    fn view(&self, entry: &Entry, now: Timestamp) -> Option<KeyView> {
        let owner = self.owner_of(entry)?;
        Some(KeyView {
            record: entry.live_record(),
            owner_name: owner.name.clone(),
            status: entry.record.standing(owner, now),
            previous_valid_until: entry.previous_valid_until(now),
            current_last_used_at: entry.slot(Which::Current, now).and_then(|slot| slot.last_used_at()),
            previous_last_used_at: entry.slot(Which::Previous, now).and_then(|slot| slot.last_used_at()),
        })
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing({} keys)", self.state().keys.len())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::kind::Mode;
    use crate::access::token::Token;
    use crate::auth::{Actor, NewKey, Refusal};
    use crate::seal::KeyEncryptionKey;
    use crate::secret::Secret;

    pub(in crate::auth) const CLI: Actor = Actor::Cli { uid: 0, request_id: None };

    /// A ring on a real database, with a clock that moves when told to.
    pub(in crate::auth) struct Fixture {
        pub(in crate::auth) ring: KeyRing,
        pub(in crate::auth) clock: Clock,
        pub(in crate::auth) db: Db,
        pub(in crate::auth) seal: Arc<Seal>,
        folder: tempfile::TempDir,
    }

    impl Fixture {
        pub(in crate::auth) async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let db = Db::open(&crate::db::file_in(folder.path())).unwrap();
            db.start_audit(&Secret::new([9; 32]));
            let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
            let seal = another_seal(&folder);
            let ring = KeyRing::load(db.clone(), Ok(seal.clone()), clock.clone(), Settings::default())
                .await
                .unwrap();
            Self { ring, clock, db, seal, folder }
        }

        /// Starts anew on the same file, as a new process would.
        pub(in crate::auth) async fn reopen(&mut self) {
            self.db = Db::open(&crate::db::file_in(self.folder.path())).unwrap();
            self.db.start_audit(&Secret::new([9; 32]));
            self.restart().await;
        }

        pub(in crate::auth) async fn restart(&mut self) {
            self.restart_with(Settings::default()).await;
        }

        /// Puts another hash, without a prefilter, in place of a key's own.
        pub(in crate::auth) async fn put_hash(&self, id: KeyId, phc: Secret<String>) {
            let old = self.db.keys().await.unwrap().into_iter().find(|key| key.record.id == id).unwrap();
            self.db.replace_hash(id, old.current.phc, phc, None).await.unwrap();
        }

        pub(in crate::auth) async fn restart_without_pepper(&mut self) {
            let locked = Err(Locked { key_file: "kek".into(), problem: "is missing" });
            let (db, clock) = (self.db.clone(), self.clock.clone());
            self.ring = KeyRing::load(db, locked, clock, Settings::default()).await.unwrap();
        }

        pub(in crate::auth) async fn restart_with(&mut self, settings: Settings) {
            let (db, seal, clock) = (self.db.clone(), self.seal.clone(), self.clock.clone());
            self.ring = KeyRing::load(db, Ok(seal), clock, settings).await.unwrap();
        }

        /// As after the loss of the key file.
        pub(in crate::auth) async fn restart_with_another_seal(&mut self) {
            self.seal = another_seal(&self.folder);
            self.restart().await;
        }

        pub(in crate::auth) async fn make(&self, new: NewKey) -> (String, KeyId) {
            let (token, record) = self.ring.create(new, &CLI).await.unwrap();
            assert_eq!(token.id(), record.id);
            (token.text().reveal().clone(), record.id)
        }

        pub(in crate::auth) async fn pass(&self, seconds: u64) {
            self.clock.work().sleep(Duration::from_secs(seconds)).await;
        }

        pub(in crate::auth) async fn refusal(&self, credential: &str) -> Refusal {
            self.ring.verify(credential, None).await.unwrap_err()
        }

        /// Replaces the record of a key's owner, as a change of the account would.
        pub(in crate::auth) fn change_owner(&self, id: KeyId, change: impl FnOnce(&mut AccountRecord)) {
            let mut state = self.ring.state_mut();
            let owner = state.keys[&id].record.owner;
            let mut account = AccountRecord::clone(&state.accounts[&owner]);
            change(&mut account);
            state.accounts.insert(owner, Arc::new(account));
        }
    }

    fn another_seal(folder: &tempfile::TempDir) -> Arc<Seal> {
        let kek = KeyEncryptionKey::load(&folder.path().join("keys"), true).unwrap();
        Arc::new(Seal::create(&kek).unwrap().0)
    }

    pub(in crate::auth) fn named(name: &str) -> NewKey {
        NewKey { name: name.into(), ..NewKey::default() }
    }

    pub(in crate::auth) fn another_secret_for(id: KeyId) -> String {
        Token::generate(id, Mode::Live).unwrap().text().reveal().clone()
    }

    #[tokio::test]
    async fn use_is_counted_and_written_in_one_go() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        for _ in 0..3 {
            fixture.ring.verify(&token, Some("192.0.2.1".parse().unwrap())).await.unwrap();
        }
        fixture.ring.flush_usage().await.unwrap();
        fixture.ring.flush_usage().await.unwrap();
        fixture.pass(60).await;
        fixture.ring.verify(&token, Some("192.0.2.2".parse().unwrap())).await.unwrap();
        fixture.ring.flush_usage().await.unwrap();
        let before = fixture.ring.get(&id).unwrap().record;
        fixture.restart().await;
        let record = fixture.ring.get(&id).unwrap().record;
        assert_eq!(record, before);
        assert_eq!((record.use_count, record.last_used_at), (4, Some(fixture.clock.now())));
        assert_eq!(record.last_used_ip, Some("192.0.2.2".parse().unwrap()));
    }
}
