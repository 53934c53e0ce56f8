//! Changes of keys and accounts.
//!
//! Owns: the order of row and map. Creating and rotating store first and swap then, so that nobody
//! gets a token that a crash forgets. Revoking is the other way round, see [`KeyRing::revoke`].
//! Every change runs on a task of its own: a client that hangs up leaves no half of one.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::AuthError;
use super::caller::Actor;
use super::entry::Entry;
use super::keys::{KeyRing, State};
use super::minting::{self, NewKey, Owner};
use crate::access::audit::{Action, AuditEvent, Context, Snapshot};
use crate::access::records::{
    AccountKind, AccountRecord, KeyRecord, SlotRecord, Standing, Status, StoredKey,
};
use crate::access::roles::Role;
use crate::access::token::{KeyId, Presented, Token};
use crate::db::Db;
use crate::id::AccountId;
use crate::secret::Secret;

/// Account of the local socket and of keys made over it without an owner.
pub(super) const LOCAL: &str = "local";
/// Account of requests without a key, where those are allowed.
pub(super) const ANONYMOUS: &str = "anonymous";
/// Account of the bootstrap key.
pub(super) const BOOTSTRAP: &str = "bootstrap";
/// Longest time an old secret keeps working: a release cycle of who uses it.
const LONGEST_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest reason of a revocation, in characters.
const REASON_LEN: usize = 500;

/// A key's new secret.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The new token, shown once.
    pub token: Token,
    /// End of the old secret's grace; `None` when it ended at once.
    pub previous_valid_until: Option<Timestamp>,
}

impl KeyRing {
    /// Makes a key. Its token exists only in the answer.
    pub async fn create(&self, new: NewKey, by: &Actor) -> Result<(Token, KeyRecord), AuthError> {
        let (ring, by) = (self.clone(), by.clone());
        to_its_end(async move { ring.create_key(new, by).await }).await
    }

    /// Gives a key a new secret. The old one keeps working for `grace`, at most 7 days and never
    /// past the key's end; without grace no request that starts after the return is let in with it.
    pub async fn rotate(&self, id: &KeyId, grace: Duration, by: &Actor) -> Result<Rotated, AuthError> {
        let (ring, id, by) = (self.clone(), *id, by.clone());
        to_its_end(async move { ring.rotate_key(id, grace, by).await }).await
    }

    /// Ends a key for good; of one that was ended before, nothing changes. No request that starts
    /// after the return is let in with it, whatever the return is, but for
    /// [`AuthError::NotFound`], [`AuthError::Forbidden`] and [`AuthError::Invalid`].
    pub async fn revoke(&self, id: &KeyId, reason: Option<String>, by: &Actor) -> Result<(), AuthError> {
        let (ring, id, by) = (self.clone(), *id, by.clone());
        to_its_end(async move { ring.revoke_key(id, reason, by).await }).await
    }

    /// The person's account of this name, made if there is none.
    pub async fn ensure_user(&self, name: &str, role: Role) -> Result<AccountId, AuthError> {
        self.ensure_account(AccountKind::User, name, role).await
    }

    /// The service account of this name, made if there is none.
    pub async fn ensure_service_account(&self, name: &str, role: Role) -> Result<AccountId, AuthError> {
        self.ensure_account(AccountKind::Service, name, role).await
    }

    async fn create_key(self, new: NewKey, by: Actor) -> Result<(Token, KeyRecord), AuthError> {
        let id = self.unused_id()?;
        // Refused before anything is hashed; and looked at again below, because the owner may
        // change meanwhile.
        self.plan(id, &new, &by)?;
        let token = Token::generate(id, new.kind.mode())?;
        let secret = self.hashed(&token).await?;

        let _changes = self.parts.changes.lock().await;
        let (record, owner) = self.plan(id, &new, &by)?;
        let new_owner = match owner {
            Owner::New(account) => Some(account),
            Owner::Known(_) => None,
        };
        let made = by.audit_context().event(Action::ApiKeyCreated, id, record.created_at);
        let owner_made = new_owner.as_ref().map(|account| account_made(&by.audit_context(), account));
        let stored = self.parts.db.audited(made.after(Snapshot::from(&record))).and(owner_made);
        stored.insert_key(record.clone(), secret.clone(), new_owner.clone()).await?;
        let entry = Entry::stored(StoredKey { record: record.clone(), current: secret, previous: None });
        let mut state = self.state_mut();
        state.accounts.extend(new_owner.map(|account| (account.id, Arc::new(account))));
        state.keys.insert(id, Arc::new(entry));
        log::info!("API key {id} was made by {by}");
        Ok((token, record))
    }

    async fn rotate_key(self, id: KeyId, grace: Duration, by: Actor) -> Result<Rotated, AuthError> {
        if grace > LONGEST_GRACE {
            let days = LONGEST_GRACE.as_secs() / (24 * 3600);
            return Err(AuthError::invalid("grace_seconds", format!("takes at most {days} days")));
        }
        let mode = self.rotatable(id, &by)?.record.kind.mode();
        let token = Token::generate(id, mode)?;
        let secret = self.hashed(&token).await?;

        let _changes = self.parts.changes.lock().await;
        let entry = self.rotatable(id, &by)?;
        let now = self.parts.clock.now();
        let grace_end = minting::later(now, SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX));
        let end = entry.record.expires_at.map_or(grace_end, |expiry| expiry.min(grace_end));
        let previous_valid_until = (!grace.is_zero()).then_some(end);
        let previous = previous_valid_until.map(|end| {
            let record = entry.current_record(end);
            SlotRecord { prefilter: self.parts.tags.lasting(record.prefilter), ..record }
        });
        let rotated = by
            .audit_context()
            .event(Action::ApiKeyRotated, id, now)
            .after(Snapshot::new().with("previous_valid_until", previous_valid_until));
        self.parts.db.audited(rotated).rotate_key(id, secret.clone(), previous).await?;
        // From the newest entry: a revocation does not wait for us before it marks the key.
        self.swap(id, |newest| Some(newest.rotated(secret, previous_valid_until)))?;
        log::info!("API key {id} was rotated by {by}");
        Ok(Rotated { token, previous_valid_until })
    }

    async fn revoke_key(self, id: KeyId, reason: Option<String>, by: Actor) -> Result<(), AuthError> {
        let reason = reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty());
        if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_LEN) {
            return Err(AuthError::invalid("reason", format!("takes at most {REASON_LEN} characters")));
        }
        let owner = self.owner_of(id)?;
        minting::check_management(&owner, &by)?;
        // The map first, then the row. Who revokes may be racing a thief: a full disk or a busy
        // writer must not keep the key alive in this process. When the row fails the key stays
        // refused here, the error says that it is not final, and revoking again stores it.
        let now = self.parts.clock.now();
        let revoked = by.audit_context().event(Action::ApiKeyRevoked, id, now);
        let entry = self.swap(id, |entry| {
            let is_new = entry.record.status != Status::Revoked;
            is_new.then(|| entry.revoked(now, by.to_string(), reason))
        })?;
        let _changes = self.parts.changes.lock().await;
        let record = &entry.record;
        let (at, by) = (record.revoked_at.unwrap_or(now), record.revoked_by.clone().unwrap_or_default());
        let revoked = revoked.reason(record.revoked_reason.clone());
        self.parts.db.audited(revoked).revoke_key(id, at, by, record.revoked_reason.clone()).await?;
        log::info!("API key {id} was revoked");
        Ok(())
    }

    async fn ensure_account(
        &self,
        kind: AccountKind,
        name: &str,
        role: Role,
    ) -> Result<AccountId, AuthError> {
        let _changes = self.parts.changes.lock().await;
        if let Some(account) = self.state().account_named(name.trim()) {
            if account.kind != kind {
                return Err(AuthError::invalid(
                    "name",
                    format!("'{}' is a {} account", account.name, account.kind),
                ));
            }
            return Ok(account.id);
        }
        let account = minting::new_account("name", kind, name, role, self.parts.clock.now())?;
        let made = account_made(&Context::system(), &account);
        self.parts.db.audited(made).insert_account(account.clone()).await?;
        let id = account.id;
        self.state_mut().accounts.insert(id, Arc::new(account));
        Ok(id)
    }

    fn plan(&self, id: KeyId, new: &NewKey, by: &Actor) -> Result<(KeyRecord, Owner), AuthError> {
        let state = self.state();
        let own = match by {
            Actor::Cli { .. } => &self.parts.local,
            Actor::Caller(caller) => state.accounts.get(&caller.owner).ok_or(AuthError::NotFound)?,
        };
        minting::plan(id, new, by, own, |name| state.account_named(name), self.parts.clock.now())
    }

    /// The key, when it may get a new secret from who asks.
    fn rotatable(&self, id: KeyId, by: &Actor) -> Result<Arc<Entry>, AuthError> {
        let owner = self.owner_of(id)?;
        let entry = self.state().keys.get(&id).cloned().ok_or(AuthError::NotFound)?;
        minting::check_rotation(&entry.record, &owner, by)?;
        match entry.record.standing(&owner, self.parts.clock.now()) {
            standing @ (Standing::Revoked | Standing::Expired) => Err(AuthError::State(standing)),
            Standing::Active | Standing::Disabled | Standing::OwnerDisabled => Ok(entry),
        }
    }

    fn owner_of(&self, id: KeyId) -> Result<Arc<AccountRecord>, AuthError> {
        let state = self.state();
        let owner = state.keys.get(&id).and_then(|entry| state.accounts.get(&entry.record.owner));
        owner.cloned().ok_or(AuthError::NotFound)
    }

    /// Replaces a key's entry by one made from the newest there is, unless `change` leaves it as
    /// it is; returns what stands then.
    fn swap(&self, id: KeyId, change: impl FnOnce(&Entry) -> Option<Entry>) -> Result<Arc<Entry>, AuthError> {
        let mut state = self.state_mut();
        let entry = state.keys.get_mut(&id).ok_or(AuthError::NotFound)?;
        if let Some(next) = change(entry) {
            *entry = Arc::new(next);
        }
        Ok(entry.clone())
    }

    fn unused_id(&self) -> Result<KeyId, AuthError> {
        loop {
            let id = KeyId::generate()?;
            // Revoked keys stay in the map, so an id is never used again.
            if !self.state().keys.contains_key(&id) {
                return Ok(id);
            }
        }
    }

    async fn hashed(&self, token: &Token) -> Result<SlotRecord, AuthError> {
        let presented = Presented::parse(token.text().reveal()).expect("a token just made is well formed");
        let prefilter = self.parts.tags.prefilter(&presented);
        let phc = self.parts.hasher.hash(Secret::new(presented.secret().to_owned())).await?;
        let created_at = self.parts.clock.now();
        let prefilter = self.parts.tags.lasting(Some(prefilter));
        Ok(SlotRecord { phc, prefilter, created_at, valid_until: None, last_used_at: None })
    }
}

impl State {
    /// An account of the appliance itself, made at the first start.
    pub(super) async fn own_account(
        &mut self,
        db: &Db,
        name: &str,
        role: Role,
        now: Timestamp,
    ) -> Result<Arc<AccountRecord>, AuthError> {
        if let Some(account) = self.account_named(name) {
            return Ok(account);
        }
        let account = minting::new_account("name", AccountKind::Service, name, role, now)?;
        db.audited(account_made(&Context::system(), &account)).insert_account(account.clone()).await?;
        let account = Arc::new(account);
        self.accounts.insert(account.id, account.clone());
        Ok(account)
    }
}

/// What the audit log tells of a new account.
fn account_made(context: &Context, account: &AccountRecord) -> AuditEvent {
    let action = match account.kind {
        AccountKind::User => Action::UserCreated,
        AccountKind::Service => Action::ServiceAccountCreated,
    };
    context.event(action, account.id, account.created_at).after(Snapshot::from(account))
}

/// Runs a change that must not stop half way when its caller does.
async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, AuthError>> + Send + 'static,
) -> Result<T, AuthError> {
    tokio::spawn(change).await.unwrap_or(Err(AuthError::BrokenOff))
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::{CLI, Fixture, named};
    use super::super::minting::tests::invalid;
    use super::*;
    use crate::auth::Refusal;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn both_secrets_work_during_the_grace_and_then_the_new_one() {
        let mut fixture = Fixture::new().await;
        let (old, id) = fixture.make(named("a")).await;
        fixture.ring.verify(&old, None).await.unwrap();
        let generation = fixture.ring.get(&id).unwrap().record.generation;
        let rotated = fixture.ring.rotate(&id, HOUR, &CLI).await.unwrap();
        let runs = fixture.ring.argon2_runs();
        let new = rotated.token.text().reveal().clone();
        let end = fixture.clock.now() + SignedDuration::from_hours(1);
        assert_eq!(rotated.previous_valid_until, Some(end));
        fixture.ring.verify(&old, None).await.unwrap();
        assert_eq!(fixture.ring.argon2_runs(), runs + 1, "a new generation remembers nothing");
        assert_eq!(fixture.ring.get(&id).unwrap().previous_last_used_at, Some(fixture.clock.now()));

        fixture.ring.flush_usage().await.unwrap();
        fixture.restart().await;
        let view = fixture.ring.get(&id).unwrap();
        assert_eq!((view.record.generation, view.previous_valid_until), (generation + 1, Some(end)));
        assert_eq!(view.previous_last_used_at, Some(fixture.clock.now()));
        fixture.pass(3599).await;
        for token in [&old, &new] {
            assert_eq!(fixture.ring.verify(token, None).await.unwrap().caller.key_id, Some(id));
        }
        fixture.pass(1).await;
        assert_eq!(fixture.refusal(&old).await, Refusal::BadSecret);
        fixture.ring.verify(&new, None).await.unwrap();
        assert_eq!(fixture.ring.get(&id).unwrap().previous_valid_until, None);

        let rotated = fixture.ring.rotate(&id, Duration::ZERO, &CLI).await.unwrap();
        assert_eq!(rotated.previous_valid_until, None);
        assert_eq!(fixture.refusal(&new).await, Refusal::BadSecret);
        fixture.ring.verify(rotated.token.text().reveal(), None).await.unwrap();
    }

    #[tokio::test]
    async fn a_grace_has_its_bounds() {
        let fixture = Fixture::new().await;
        let end = fixture.clock.now() + SignedDuration::from_hours(2);
        let (_, id) = fixture.make(NewKey { expires_at: Some(end), ..named("a") }).await;
        let rotated = fixture.ring.rotate(&id, LONGEST_GRACE, &CLI).await.unwrap();
        assert_eq!(rotated.previous_valid_until, Some(end), "never past the key's end");
        let too_long = fixture.ring.rotate(&id, LONGEST_GRACE + Duration::from_secs(1), &CLI).await;
        assert_eq!(invalid(too_long).0, "grace_seconds");
        fixture.pass(2 * 3600).await;
        let late = fixture.ring.rotate(&id, HOUR, &CLI).await;
        assert!(matches!(late, Err(AuthError::State(Standing::Expired))));
    }

    #[tokio::test]
    async fn a_revoked_key_is_refused_at_once_and_for_good() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        fixture.ring.verify(&token, None).await.unwrap();
        fixture.ring.revoke(&id, Some(" lost ".into()), &CLI).await.unwrap();
        assert_eq!(fixture.refusal(&token).await, Refusal::Revoked);
        fixture.ring.revoke(&id, Some("again".into()), &CLI).await.unwrap();
        let rotated = fixture.ring.rotate(&id, HOUR, &CLI).await;
        assert!(matches!(rotated, Err(AuthError::State(Standing::Revoked))));
        fixture.restart().await;
        assert_eq!(fixture.refusal(&token).await, Refusal::Revoked);
        let view = fixture.ring.get(&id).unwrap();
        assert_eq!(view.status, Standing::Revoked);
        assert_eq!(view.record.revoked_reason.as_deref(), Some("lost"));
        assert_eq!(view.record.revoked_by.as_deref(), Some("cli:0"));
        let unknown = fixture.ring.revoke(&"ffffffffffff".parse().unwrap(), None, &CLI).await;
        assert!(matches!(unknown, Err(AuthError::NotFound)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_request_that_starts_after_the_revocation_is_let_in() {
        let fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        fixture.ring.verify(&token, None).await.unwrap();
        let revoked = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let (ring, token, revoked) = (fixture.ring.clone(), token.clone(), revoked.clone());
                tokio::spawn(async move {
                    let (mut accepted, mut late) = (0, 0);
                    for _ in 0..200_000 {
                        let started_after = revoked.load(std::sync::atomic::Ordering::SeqCst);
                        match ring.verify(&token, None).await {
                            Ok(_) if started_after => late += 1,
                            Ok(_) => accepted += 1,
                            Err(Refusal::Revoked) => break,
                            Err(other) => panic!("{other:?}"),
                        }
                        tokio::task::yield_now().await;
                    }
                    (accepted, late)
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        fixture.ring.revoke(&id, None, &CLI).await.unwrap();
        revoked.store(true, std::sync::atomic::Ordering::SeqCst);
        let mut total = 0;
        for client in clients {
            let (accepted, late) = client.await.unwrap();
            assert_eq!(late, 0);
            total += accepted;
        }
        assert!(total > 0, "the key was in use before");
        assert_eq!(fixture.refusal(&token).await, Refusal::Revoked);
    }

    #[tokio::test]
    async fn what_the_disk_refuses_is_said_and_never_opens_anything() {
        let mut fixture = Fixture::new().await;
        let (token, id) = fixture.make(named("a")).await;
        fixture.ring.verify(&token, None).await.unwrap();
        fixture.db.stop_writer().await;

        let created = fixture.ring.create(named("b"), &CLI).await;
        assert!(matches!(created, Err(AuthError::Db(_))));
        assert_eq!(fixture.ring.list().len(), 1, "no token that a restart forgets");
        let rotated = fixture.ring.rotate(&id, Duration::ZERO, &CLI).await;
        assert!(matches!(rotated, Err(AuthError::Db(_))));
        fixture.ring.verify(&token, None).await.unwrap();
        let revoked = fixture.ring.revoke(&id, Some("stolen".into()), &CLI).await;
        assert!(matches!(revoked, Err(AuthError::Db(_))));
        assert_eq!(fixture.refusal(&token).await, Refusal::Revoked);
        let again = fixture.ring.revoke(&id, None, &CLI).await;
        assert!(matches!(again, Err(AuthError::Db(_))), "still not final");

        fixture.reopen().await;
        fixture.ring.revoke(&id, None, &CLI).await.unwrap();
        fixture.restart().await;
        assert_eq!(fixture.refusal(&token).await, Refusal::Revoked);
    }

    #[tokio::test]
    async fn a_change_goes_on_when_its_caller_has_gone() {
        let fixture = Fixture::new().await;
        {
            let mut asked = Box::pin(fixture.ring.create(named("a"), &CLI));
            let asked_once = tokio::time::timeout(Duration::from_millis(1), asked.as_mut()).await;
            assert!(asked_once.is_err(), "hashing takes longer");
        }
        for _ in 0..1000 {
            if fixture.ring.list().len() == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the key was never made");
    }
}
