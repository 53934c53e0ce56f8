//! Changes of keys and accounts.
//!
//! Owns: the order of row and map. Creating and rotating ([here](self)), changing ([`update`]) and
//! widening store first and swap then, so that nobody gets a token that a crash forgets. Revoking and
//! disabling ([`ending`]) are the other way round. Each change is one transaction with its event.
//! Every change runs on a task of its own: a client that hangs up leaves no half of one.

mod account_key;
mod accounts;
mod ending;
mod update;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub use self::ending::{Revocation, Revoked};
use super::AuthError;
use super::caller::Actor;
use super::entry::Entry;
use super::keys::{KeyRing, State};
use super::minting::{self, KEYS_PER_OWNER, NewKey, Owner};
use crate::access::audit::{Action, AuditEvent, Context, Snapshot};
use crate::access::records::{
    AccountKind, AccountRecord, KeyRecord, SlotRecord, Standing, Status, StoredKey,
};
use crate::access::roles::Role;
use crate::access::token::{KeyId, Presented, Token};
use crate::db::Db;
use crate::fax::event::Event;
use crate::secret::Secret;

/// Account of the local socket and of keys made over it without an owner.
pub(super) const LOCAL: &str = "local";
/// Account of requests without a key, where those are allowed.
pub(super) const ANONYMOUS: &str = "anonymous";
/// Account of the bootstrap key.
pub(super) const BOOTSTRAP: &str = "bootstrap";
/// Account of the appliance's own key.
pub(super) const ACCOUNT: &str = "account";
/// The accounts of the appliance itself, which nobody manages.
pub(super) const OWN_ACCOUNTS: [&str; 4] = [LOCAL, ANONYMOUS, BOOTSTRAP, ACCOUNT];
/// Longest time an old secret keeps working: a release cycle of who uses it.
pub(super) const LONGEST_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

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
    ///
    /// Who asks could have made the key; but an administrator may rotate one that outlives their
    /// own: the life of the key stays as it was, and who used it notices.
    pub async fn rotate(&self, id: &KeyId, grace: Duration, by: &Actor) -> Result<Rotated, AuthError> {
        let (ring, id, by) = (self.clone(), *id, by.clone());
        to_its_end(async move { ring.rotate_key(id, grace, by).await }).await
    }

    /// Ends the grace of a key's previous secret: no request that starts after the return is let in with
    /// it. A key without one stays as it is.
    pub async fn end_previous_secret(&self, id: &KeyId, by: &Actor) -> Result<(), AuthError> {
        let (ring, id, by) = (self.clone(), *id, by.clone());
        to_its_end(async move { ring.end_previous(id, by).await }).await
    }

    async fn create_key(self, new: NewKey, by: Actor) -> Result<(Token, KeyRecord), AuthError> {
        let id = self.unused_id()?;
        // Refused before anything is hashed; and looked at again below, because the owner may
        // change meanwhile.
        self.plan(id, &new, &by)?;
        let token = Token::generate(id, new.kind.mode())?;
        let secret = self.hashed(&token).await?;
        let sealed = if new.recoverable { Some(self.sealed(&token)?) } else { None };

        let _changes = self.parts.changes.lock().await;
        let (record, owner) = self.plan(id, &new, &by)?;
        let new_owner = match owner {
            Owner::New(account) => Some(account),
            Owner::Known(_) => None,
        };
        self.store_new(record.clone(), secret, sealed, new_owner, &by).await?;
        Ok((token, record))
    }

    async fn store_new(
        &self,
        record: KeyRecord,
        secret: SlotRecord,
        sealed: Option<Vec<u8>>,
        new_owner: Option<AccountRecord>,
        by: &Actor,
    ) -> Result<(), AuthError> {
        let id = record.id;
        let data = json!({ "kind": record.kind.as_str(), "recoverable": record.recoverable });
        let event = self.event(id, "created", by, data);
        let made = self.audit(id, Action::ApiKeyCreated, by).after(Snapshot::from(&record));
        let owner_made = new_owner.as_ref().map(|account| account_made(&by.audit_context(), account));
        let stored = self.parts.db.audited(made).and(owner_made);
        stored.insert_key(record.clone(), secret.clone(), sealed, new_owner.clone(), event).await?;
        let entry = Entry::stored(StoredKey { record, current: secret, previous: None });
        let mut state = self.state_mut();
        state.accounts.extend(new_owner.map(|account| (account.id, Arc::new(account))));
        state.keys.insert(id, Arc::new(entry));
        log::info!("API key {id} was made by {by}");
        Ok(())
    }

    async fn rotate_key(self, id: KeyId, grace: Duration, by: Actor) -> Result<Rotated, AuthError> {
        if grace > LONGEST_GRACE {
            let days = LONGEST_GRACE.as_secs() / (24 * 3600);
            return Err(AuthError::invalid("grace_seconds", format!("takes at most {days} days")));
        }
        let record = self.rotatable(id, &by)?.record.clone();
        let token = Token::generate(id, record.kind.mode())?;
        let secret = self.hashed(&token).await?;
        // What the policy no longer allows is not kept any longer.
        let is_kept = record.recoverable && self.reveal_policy().allows(record.kind);
        let sealed = if is_kept { Some(self.sealed(&token)?) } else { None };

        let _changes = self.parts.changes.lock().await;
        let entry = self.rotatable(id, &by)?;
        let now = self.parts.clock.now();
        let previous_valid_until = grace_end(&entry.record, grace, now);
        let previous = previous_valid_until.map(|end| {
            let record = entry.current_record(end);
            SlotRecord { prefilter: self.parts.tags.lasting(record.prefilter), ..record }
        });
        let event = self.event(id, "rotated", &by, json!({ "previous_valid_until": previous_valid_until }));
        let rotated = self
            .audit(id, Action::ApiKeyRotated, &by)
            .after(Snapshot::new().with("previous_valid_until", previous_valid_until));
        self.parts.db.audited(rotated).rotate_key(id, secret.clone(), previous, sealed, event).await?;
        // From the newest entry: a revocation does not wait for us before it marks the key.
        self.swap(id, |newest| Some(newest.rotated(secret, previous_valid_until, is_kept)))?;
        log::info!("API key {id} was rotated by {by}");
        Ok(Rotated { token, previous_valid_until })
    }

    async fn end_previous(self, id: KeyId, by: Actor) -> Result<(), AuthError> {
        let _changes = self.parts.changes.lock().await;
        let (entry, owner) = self.managed(id, &by)?;
        let now = self.parts.clock.now();
        if entry.record.standing(&owner, now) == Standing::Revoked {
            return Err(AuthError::State(Standing::Revoked));
        }
        let Some(until) = entry.previous_valid_until(now) else { return Ok(()) };
        let event = self.event(id, "previous_ended", &by, json!({ "previous_valid_until": until }));
        let ended = self
            .audit(id, Action::ApiKeyPreviousEnded, &by)
            .before(Snapshot::new().with("previous_valid_until", until));
        self.parts.db.audited(ended).end_previous_secret(id, event).await?;
        self.swap(id, |newest| Some(newest.without_previous()))?;
        log::info!("the previous secret of API key {id} was ended by {by}");
        Ok(())
    }

    fn plan(&self, id: KeyId, new: &NewKey, by: &Actor) -> Result<(KeyRecord, Owner), AuthError> {
        let state = self.state();
        let own = match by {
            Actor::Cli { .. } => &self.parts.local,
            Actor::Caller(caller) => state.accounts.get(&caller.owner).ok_or(AuthError::NotFound)?,
        };
        let (policy, now) = (self.reveal_policy(), self.parts.clock.now());
        let (record, owner) = minting::plan(id, new, by, own, |name| state.account_named(name), policy, now)?;
        let counts = |entry: &&Arc<Entry>| {
            entry.record.owner == record.owner
                && entry.record.status != Status::Revoked
                && entry.record.expires_at.is_none_or(|end| end > now)
        };
        if state.keys.values().filter(counts).count() >= KEYS_PER_OWNER {
            return Err(AuthError::invalid(
                "owner",
                format!("has {KEYS_PER_OWNER} keys already, and that is the most; revoke those not needed"),
            ));
        }
        Ok((record, owner))
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

    /// The key and its owner, when who asks may manage it.
    fn managed(&self, id: KeyId, by: &Actor) -> Result<(Arc<Entry>, Arc<AccountRecord>), AuthError> {
        let owner = self.owner_of(id)?;
        let entry = self.state().keys.get(&id).cloned().ok_or(AuthError::NotFound)?;
        minting::check_management(&entry.record, &owner, by)?;
        Ok((entry, owner))
    }

    fn event(&self, id: KeyId, what: &str, by: &Actor, data: Value) -> Event {
        Event::about_key(&id.to_string(), what, &by.to_string(), data, self.parts.clock.now())
    }

    /// What the audit log is told of a change of a key.
    fn audit(&self, id: KeyId, action: Action, by: &Actor) -> AuditEvent {
        by.audit_context().event(action, id, self.parts.clock.now())
    }

    /// The token as it is kept to be shown again.
    fn sealed(&self, token: &Token) -> Result<Vec<u8>, AuthError> {
        Ok(self.parts.seal()?.seal(&seal_name(token.id()), token.text().reveal().as_bytes())?)
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

/// What the audit log is told of a new account.
pub(super) fn account_made(context: &Context, account: &AccountRecord) -> AuditEvent {
    let action = match account.kind {
        AccountKind::User => Action::UserCreated,
        AccountKind::Service => Action::ServiceAccountCreated,
    };
    context.event(action, account.id, account.created_at).after(Snapshot::from(account))
}

/// When the secret that is replaced now stops working: after its grace and never past the key's
/// end; `None` without grace.
pub(super) fn grace_end(record: &KeyRecord, grace: Duration, now: Timestamp) -> Option<Timestamp> {
    let end = minting::later(now, SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX));
    (!grace.is_zero()).then(|| record.expires_at.map_or(end, |expiry| expiry.min(end)))
}

/// The name a key's token is sealed under.
fn seal_name(id: KeyId) -> String {
    format!("api key {id}")
}

/// Runs a change that must not stop half way when its caller does.
async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, AuthError>> + Send + 'static,
) -> Result<T, AuthError> {
    tokio::spawn(change).await.unwrap_or(Err(AuthError::BrokenOff))
}

#[cfg(test)]
mod tests;
