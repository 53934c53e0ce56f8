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
        // Made even where no such key is set, so that nobody else can take the name.
        let bootstrap_account = state.own_account(&db, BOOTSTRAP, Role::GlobalAdmin, now).await?;
        let bootstrap =
            bootstrap.map(|bootstrap| BootstrapCheck::new(&bootstrap, bootstrap_account)).transpose()?;
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
        let proof =
            Proof { id: token.id(), secret: Secret::new(token.secret().to_owned()), tag, prefilter, peer };
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

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;

    use super::*;
    use crate::access::kind::Kind;
    use crate::access::records::{AccountStatus, Status};
    use crate::access::scopes::Scope;
    use crate::access::token::Token;
    use crate::auth::{Actor, NewKey};

    pub(in crate::auth) const CLI: Actor = Actor::Cli { uid: 0 };

    /// A ring on a real database, with a clock that moves when told to.
    pub(in crate::auth) struct Fixture {
        pub(in crate::auth) ring: KeyRing,
        pub(in crate::auth) clock: Clock,
        db: Db,
        _folder: tempfile::TempDir,
    }

    impl Fixture {
        pub(in crate::auth) async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let db = Db::open(&crate::db::file_in(folder.path())).unwrap();
            let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
            let ring = KeyRing::load(db.clone(), pepper(), clock.clone(), None).await.unwrap();
            Self { ring, clock, db, _folder: folder }
        }

        pub(in crate::auth) async fn restart(&mut self) {
            self.restart_with(pepper(), None).await;
        }

        pub(in crate::auth) async fn restart_with(
            &mut self,
            pepper: Secret<[u8; 32]>,
            bootstrap: Option<Bootstrap>,
        ) {
            self.ring = KeyRing::load(self.db.clone(), pepper, self.clock.clone(), bootstrap).await.unwrap();
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
        fn change_owner(&self, id: KeyId, change: impl FnOnce(&mut AccountRecord)) {
            let mut state = self.ring.state_mut();
            let owner = state.keys[&id].record.owner;
            let mut account = AccountRecord::clone(&state.accounts[&owner]);
            change(&mut account);
            state.accounts.insert(owner, Arc::new(account));
        }
    }

    pub(in crate::auth) fn pepper() -> Secret<[u8; 32]> {
        Secret::new([7; 32])
    }

    pub(in crate::auth) fn named(name: &str) -> NewKey {
        NewKey { name: name.into(), ..NewKey::default() }
    }

    fn another_secret_for(id: KeyId) -> String {
        Token::generate(id, crate::access::kind::Mode::Live).unwrap().text().reveal().clone()
    }

    #[tokio::test]
    async fn many_first_uses_run_argon2_once_and_later_ones_never() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        fixture.restart().await;
        let uses: Vec<_> = (0..50)
            .map(|_| {
                let (ring, token) = (fixture.ring.clone(), token.clone());
                tokio::spawn(async move { ring.verify(&token, None).await.unwrap().caller.key_id })
            })
            .collect();
        for one in uses {
            assert_eq!(one.await.unwrap(), Some(id));
        }
        fixture.ring.verify(&token, None).await.unwrap();
        assert_eq!(fixture.ring.argon2_runs(), 1);
        assert_eq!(fixture.ring.get(&id).unwrap().record.use_count, 51);
    }

    #[tokio::test]
    async fn what_is_wrong_never_reaches_argon2() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        fixture.restart().await;
        let mut mistyped = token.clone();
        mistyped.replace_range(30..31, if &token[30..31] == "a" { "b" } else { "a" });
        let cut = &token[..token.len() - 6];
        let cases = [
            (String::new(), Refusal::Malformed),
            ("hello".into(), Refusal::Malformed),
            (mistyped, Refusal::Checksum),
            (another_secret_for(id), Refusal::BadSecret),
            // Reads as an imported token; its secret is not the key's.
            (cut.to_owned(), Refusal::BadSecret),
            (another_secret_for("ffffffffffff".parse().unwrap()), Refusal::UnknownId),
        ];
        for _ in 0..20 {
            for (credential, expected) in &cases {
                assert_eq!(fixture.refusal(credential).await, *expected, "{expected:?}");
                assert!(!expected.is_secret_right());
            }
        }
        assert_eq!(fixture.ring.argon2_runs(), 0);
        assert_eq!(fixture.ring.get(&id).unwrap().record.use_count, 0);
    }

    #[tokio::test]
    async fn the_reason_is_told_to_the_right_secret_only() {
        let fixture = Fixture::new().await;
        let end = fixture.clock.now() + SignedDuration::from_hours(2);
        let start = fixture.clock.now() + SignedDuration::from_hours(1);
        let (token, id) = fixture
            .make(NewKey {
                not_before: Some(start),
                expires_at: Some(end),
                ip_allow: vec!["192.0.2.0/24".parse().unwrap()],
                ..named("a")
            })
            .await;
        let verify = async |address: &str| {
            let address = (!address.is_empty()).then(|| address.parse().unwrap());
            fixture.ring.verify(&token, address).await.map(|verified| verified.caller.key_id)
        };
        assert_eq!(verify("192.0.2.1").await, Err(Refusal::NotYetValid));
        fixture.pass(3600).await;
        assert_eq!(verify("192.0.2.1").await, Ok(Some(id)));
        assert_eq!(verify("::ffff:192.0.2.1").await, Ok(Some(id)));
        assert_eq!(verify("192.0.3.1").await, Err(Refusal::IpDenied));
        assert_eq!(verify("").await, Err(Refusal::IpDenied));
        fixture.change_owner(id, |owner| owner.status = AccountStatus::Disabled);
        assert_eq!(verify("192.0.2.1").await, Err(Refusal::OwnerDisabled));
        assert_eq!(fixture.ring.get(&id).unwrap().status, Standing::OwnerDisabled);
        fixture.change_owner(id, |owner| owner.status = AccountStatus::Active);
        assert_eq!(verify("192.0.2.1").await, Ok(Some(id)));
        fixture.pass(3600).await;
        assert_eq!(verify("192.0.2.1").await, Err(Refusal::Expired));
        fixture.ring.revoke(&id, None, &CLI).await.unwrap();
        assert_eq!(verify("192.0.2.1").await, Err(Refusal::Revoked));
        assert_eq!(fixture.refusal(&another_secret_for(id)).await, Refusal::BadSecret);
    }

    #[tokio::test]
    async fn a_right_is_role_and_scopes_at_the_time_of_the_request() {
        let fixture = Fixture::new().await;
        let (token, id) = fixture.make(NewKey { owner: Some("clinic".into()), ..named("a") }).await;
        let (other, _) = fixture.make(NewKey { owner: Some("lab".into()), ..named("b") }).await;
        let clinic = fixture.ring.verify(&token, None).await.unwrap().caller;
        let lab = fixture.ring.verify(&other, None).await.unwrap().caller;
        assert!(clinic.may(Scope::FaxSend) && !clinic.may(Scope::KeysManage) && !clinic.may(Scope::Admin));
        assert!(clinic.sees(clinic.owner) && !clinic.sees(lab.owner) && !clinic.sees_everything());
        assert!(fixture.ring.local_caller(0).sees(lab.owner));
        let anonymous = fixture.ring.anonymous_caller();
        assert!(
            anonymous.may(Scope::FaxSend) && !anonymous.may(Scope::KeysRead) && !anonymous.sees(lab.owner)
        );

        fixture.change_owner(id, |owner| owner.role = Role::Viewer);
        let clinic = fixture.ring.verify(&token, None).await.unwrap().caller;
        assert!(clinic.may(Scope::FaxRead) && !clinic.may(Scope::FaxSend));
    }

    #[tokio::test]
    async fn a_revocation_overtakes_the_proof_under_way() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        fixture.restart().await;
        let first = {
            let (ring, token) = (fixture.ring.clone(), token.clone());
            tokio::spawn(async move { ring.verify(&token, None).await })
        };
        while fixture.ring.argon2_runs() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Only the mark in memory, as `revoke` sets it before it waits for anything.
        let before = fixture.ring.find(id).unwrap().entry;
        let revoked = Arc::new(before.revoked(fixture.clock.now(), "test".into(), None));
        fixture.ring.state_mut().keys.insert(id, revoked.clone());
        assert_eq!(first.await.unwrap().unwrap_err(), Refusal::Revoked);
        assert!(revoked.generation() > before.generation());
        let parts = &fixture.ring.parts;
        let tag = parts.tags.tag(&Presented::parse(&token).unwrap());
        for entry in [&before, &revoked] {
            assert_eq!(entry::with_tag(Some(entry), &tag, &parts.tags, fixture.clock.now()), None);
        }
        assert_eq!(fixture.refusal(&token).await, Refusal::Revoked);
    }

    #[tokio::test]
    async fn keys_survive_a_lost_pepper() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        fixture.restart_with(Secret::new([8; 32]), None).await;
        let peer = Some("192.0.2.1".parse().unwrap());
        // Without a prefilter each wrong secret costs a run, but an address has only ten a minute.
        for _ in 0..15 {
            fixture.ring.verify(&another_secret_for(id), peer).await.unwrap_err();
        }
        assert!(fixture.ring.argon2_runs() <= 11, "{}", fixture.ring.argon2_runs());
        fixture.ring.verify(&token, Some("192.0.2.2".parse().unwrap())).await.unwrap();
        let runs = fixture.ring.argon2_runs();
        assert_eq!(fixture.ring.verify(&another_secret_for(id), None).await.unwrap_err(), Refusal::BadSecret);
        assert_eq!(fixture.ring.argon2_runs(), runs, "the prefilter is back");

        fixture.restart_with(Secret::new([8; 32]), None).await;
        assert_eq!(fixture.refusal(&another_secret_for(id)).await, Refusal::BadSecret);
        assert_eq!(fixture.ring.argon2_runs(), 0, "and was stored");
        fixture.ring.verify(&token, None).await.unwrap();
    }

    #[tokio::test]
    async fn the_bootstrap_key_serves_until_an_administrator_exists() {
        let mut fixture = Fixture::new().await;
        let key = "a-long-bootstrap-key";
        let bootstrap = |even_with_administrator| {
            Some(Bootstrap { key: Secret::new(key.to_owned()), even_with_administrator })
        };
        fixture.restart_with(pepper(), bootstrap(false)).await;
        let caller = fixture.ring.verify(key, None).await.unwrap().caller;
        assert!(caller.may(Scope::Admin) && caller.key_id.is_none());
        assert_eq!(caller.label(), "bootstrap");
        assert_eq!(fixture.refusal("a-long-bootstrap-kez").await, Refusal::Malformed);
        fixture.ring.ensure_user("operator", Role::Operator).await.unwrap();
        fixture.ring.verify(key, None).await.unwrap();
        fixture.ring.ensure_user("chief", Role::GlobalAdmin).await.unwrap();
        let refusal = fixture.refusal(key).await;
        assert!(refusal == Refusal::BootstrapRetired && refusal.is_secret_right());
        assert!(refusal.to_string().contains("ALLOW_BOOTSTRAP_KEY=true"));
        fixture.restart_with(pepper(), bootstrap(true)).await;
        fixture.ring.verify(key, None).await.unwrap();

        let short = Bootstrap { key: Secret::new("x".repeat(19)), even_with_administrator: false };
        let error = KeyRing::load(fixture.db.clone(), pepper(), fixture.clock.clone(), Some(short))
            .await
            .unwrap_err();
        assert!(matches!(error, AuthError::Invalid { field: "API_KEY", .. }), "{error}");
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

    #[tokio::test]
    async fn a_flood_of_failures_is_slowed_but_keeps_no_good_key_out() {
        let fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        let peer = Some("192.0.2.9".parse().unwrap());
        let wrong = another_secret_for(id);
        let mut refusals = Vec::new();
        for _ in 0..80 {
            refusals.push(fixture.ring.verify(&wrong, peer).await.unwrap_err());
        }
        assert!(refusals[..60].iter().all(|refusal| *refusal == Refusal::BadSecret));
        assert!(matches!(refusals[79], Refusal::Flood { retry_after_s: 1..=2 }), "{:?}", refusals[79]);
        fixture.ring.verify(&token, peer).await.unwrap();
    }

    #[tokio::test]
    async fn nothing_prints_a_secret() {
        let fixture = Fixture::new().await;
        let (token, record) = fixture.ring.create(named("a"), &CLI).await.unwrap();
        let text = token.text().reveal();
        let verified = fixture.ring.verify(text, None).await.unwrap();
        let bootstrap = Bootstrap { key: Secret::new(text.clone()), even_with_administrator: true };
        let found = fixture.ring.find(record.id).unwrap();
        let rotated = fixture.ring.rotate(&record.id, Duration::from_secs(60), &CLI).await.unwrap();
        let stored = fixture.db.keys().await.unwrap();
        let printed = format!(
            "{token:?} {record:?} {verified:?} {:?} {:?} {bootstrap:?} {:?} {rotated:?} {stored:?} {:?}",
            verified.caller.actor(),
            fixture.ring,
            fixture.ring.list(),
            found.entry,
        );
        for secret in [&text[22..], &rotated.token.text().reveal()[22..], "$argon2id"] {
            assert!(!printed.contains(&secret[..9]), "{printed}");
        }
        assert_eq!(record.status, Status::Active);
        assert_eq!(record.kind, Kind::Production);
    }
}
