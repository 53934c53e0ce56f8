//! The account key: the one key of the appliance as a whole.
//!
//! Owns: that there is at most one that was not revoked, and who may make, reset and see it. It
//! belongs to an account of the appliance's own that cannot log in, so that nobody's leaving stops
//! the faxes. It is recoverable unless the policy says never.

use std::time::Duration;

use super::{ACCOUNT, Rotated, to_its_end};
use crate::access::kind::Kind;
use crate::access::records::{KeyRecord, Status};
use crate::access::roles::Grant;
use crate::access::scopes::Scope;
use crate::access::token::{KeyId, Token};
use crate::auth::minting::{check_global, plan_account_key};
use crate::auth::{Actor, AuthError, KeyRing, KeyView};
use crate::secret::Secret;

impl KeyRing {
    /// The account key, unless there is none.
    pub fn account_key(&self) -> Option<KeyView> {
        self.get(&self.account_key_id()?)
    }

    /// Makes the account key; for global administrators. [`AuthError::AccountKeyExists`] when there
    /// is one that was not revoked.
    pub async fn generate_account_key(&self, by: &Actor) -> Result<(Token, KeyRecord), AuthError> {
        let (ring, by) = (self.clone(), by.clone());
        to_its_end(async move { ring.make_account_key(by).await }).await
    }

    /// Gives the account key a new secret, as [`KeyRing::rotate`] does; for global administrators.
    pub async fn reset_account_key(&self, grace: Duration, by: &Actor) -> Result<Rotated, AuthError> {
        self.check_account_key_reset(by)?;
        let id = self.account_key_id().ok_or(AuthError::NotFound)?;
        self.rotate(&id, grace, by).await
    }

    /// The token of the account key; for global administrators and for who was granted
    /// [`Grant::AccountKeyShow`] (with a key: one that has `keys:reveal`; in a session: with a
    /// password entered a moment ago).
    pub async fn reveal_account_key(&self, by: &Actor) -> Result<Secret<String>, AuthError> {
        self.check_account_key_show(by)?;
        let id = self.account_key_id().ok_or(AuthError::NotFound)?;
        self.reveal(&id, by).await
    }

    /// Whether who asks may generate and reset the account key.
    pub fn check_account_key_reset(&self, by: &Actor) -> Result<(), AuthError> {
        check_global(by, "generates and resets the account key")
    }

    /// Whether who asks may see the token of the account key.
    pub fn check_account_key_show(&self, by: &Actor) -> Result<(), AuthError> {
        if let Actor::Caller(caller) = by {
            let owner = self.account(caller.owner);
            let is_granted = owner.is_some_and(|owner| owner.grants.contains(&Grant::AccountKeyShow));
            if is_granted && (by.is_person() || by.may(Scope::KeysReveal)) {
                return Ok(());
            }
        }
        check_global(by, "sees the account key, and who was granted account_key:show")
    }

    fn account_key_id(&self) -> Option<KeyId> {
        let state = self.state();
        let mut keys = state.keys.values();
        keys.find(|entry| entry.record.kind == Kind::Account && entry.record.status != Status::Revoked)
            .map(|entry| entry.record.id)
    }

    async fn make_account_key(&self, by: Actor) -> Result<(Token, KeyRecord), AuthError> {
        self.check_account_key_reset(&by)?;
        if self.account_key_id().is_some() {
            return Err(AuthError::AccountKeyExists);
        }
        let id = self.unused_id()?;
        let owner = self.state().account_named(ACCOUNT).ok_or(AuthError::NoAccount)?;
        let (policy, now) = (self.reveal_policy(), self.parts.clock.now());
        let record = plan_account_key(id, &owner, policy, &by, now);
        let token = Token::generate(id, record.kind.mode())?;
        let secret = self.hashed(&token).await?;
        let sealed = if record.recoverable { Some(self.sealed(&token)?) } else { None };
        let _changes = self.parts.changes.lock().await;
        if self.account_key_id().is_some() {
            return Err(AuthError::AccountKeyExists);
        }
        self.store_new(record.clone(), secret, sealed, None, &by).await?;
        Ok((token, record))
    }
}
