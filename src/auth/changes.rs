//! Changes of keys and accounts.
//!
//! Owns: the order of row and map. Creating and rotating store first and swap then, so that nobody
//! gets a token that a crash forgets. Revoking is the other way round, see [`KeyRing::revoke`].
//! Every change runs on a task of its own: a client that hangs up leaves no half of one.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::caller::Actor;
use super::entry::Entry;
use super::keys::{KeyRing, State};
use super::minting::{self, NewKey, Owner};
use super::{AuthError, Refusal};
use crate::access::kind::Mode;
use crate::access::records::{AccountKind, AccountRecord, KeyRecord, SlotRecord, Standing, StoredKey};
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
        self.parts.db.insert_key(record.clone(), secret.clone(), new_owner.clone()).await?;
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
        let previous = previous_valid_until.map(|end| entry.current_record(end));
        self.parts.db.rotate_key(id, secret.clone(), previous).await?;
        // From the newest entry: a revocation does not wait for us before it marks the key.
        self.swap(id, |newest| newest.rotated(secret, previous_valid_until))?;
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
        let entry = self.swap(id, |entry| match entry.record.revoked_at {
            Some(_) => entry.revoked_again(),
            None => entry.revoked(now, by.to_string(), reason),
        })?;
        let _changes = self.parts.changes.lock().await;
        let record = &entry.record;
        let (at, by) = (record.revoked_at.unwrap_or(now), record.revoked_by.clone().unwrap_or_default());
        self.parts.db.revoke_key(id, at, by, record.revoked_reason.clone()).await?;
        log::info!("API key {id} was revoked");
        Ok(())
    }

    async fn ensure_account(&self, kind: AccountKind, name: &str, role: Role) -> Result<AccountId, AuthError> {
        let _changes = self.parts.changes.lock().await;
        if let Some(account) = self.state().account_named(name.trim()) {
            if account.kind != kind {
                return Err(AuthError::invalid("name", format!("'{}' is a {} account", account.name, account.kind)));
            }
            return Ok(account.id);
        }
        let account = minting::new_account("name", kind, name, role, self.parts.clock.now())?;
        self.parts.db.insert_account(account.clone()).await?;
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

    /// Replaces a key's entry by one made from the newest there is, and returns the new one.
    fn swap(&self, id: KeyId, change: impl FnOnce(&Entry) -> Entry) -> Result<Arc<Entry>, AuthError> {
        let mut state = self.state_mut();
        let slot = state.keys.get_mut(&id).ok_or(AuthError::NotFound)?;
        let next = Arc::new(change(slot));
        *slot = next.clone();
        Ok(next)
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
        Ok(SlotRecord { phc, prefilter: Some(prefilter), created_at, valid_until: None, last_used_at: None })
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
        db.insert_account(account.clone()).await?;
        let account = Arc::new(account);
        self.accounts.insert(account.id, account.clone());
        Ok(account)
    }
}

/// Runs a change that must not stop half way when its caller does.
async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, AuthError>> + Send + 'static,
) -> Result<T, AuthError> {
    tokio::spawn(change).await.unwrap_or(Err(AuthError::BrokenOff))
}
