//! Changing what a key is, and showing its token again.

use jiff::Timestamp;
use serde_json::json;

use super::{seal_name, to_its_end};
use crate::access::audit::{Action, Snapshot};
use crate::access::kind::Kind;
use crate::access::records::{KeyRecord, Standing, Status};
use crate::access::token::KeyId;
use crate::auth::minting::{self, KeyChange};
use crate::auth::{Actor, AuthError, KeyRing};
use crate::db::events::LoggedEvent;
use crate::seal::SealError;
use crate::secret::Secret;

impl KeyRing {
    /// Changes a key, and answers what it is then. A change never reaches beyond who asks for it,
    /// unless it only narrows the key. [`AuthError::State`] of a revoked key, even when nothing is
    /// to be changed.
    pub async fn update(&self, id: &KeyId, change: KeyChange, by: &Actor) -> Result<KeyRecord, AuthError> {
        let (ring, id, by) = (self.clone(), *id, by.clone());
        to_its_end(async move { ring.change_key(id, change, by).await }).await
    }

    /// The token of a recoverable key. [`AuthError::NotRecoverable`] when it is not kept, or the
    /// policy does not let it be shown; [`AuthError::TooOften`] beyond a few times a minute.
    pub async fn reveal(&self, id: &KeyId, by: &Actor) -> Result<Secret<String>, AuthError> {
        let (ring, id, by) = (self.clone(), *id, by.clone());
        to_its_end(async move { ring.reveal_key(id, by).await }).await
    }

    /// What was done to a key, newest first: at most `limit` events before place `before`.
    pub async fn key_events(
        &self,
        id: &KeyId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<LoggedEvent>, AuthError> {
        let before = before.unwrap_or(i64::MAX);
        Ok(self.parts.db.events_about(format!("key:{id}"), before, limit).await?)
    }

    /// Warns of keys that end soon, each 30, 7 and 1 days before, once; call it every hour or so.
    /// Answers which keys, with the days.
    pub async fn warn_of_expiry(&self) -> Result<Vec<(KeyId, u8)>, AuthError> {
        let warned = self.parts.db.warn_of_expiry(self.parts.clock.now()).await?;
        for (id, days) in &warned {
            log::warn!("API key {id} ends within {days} days; rotate or replace what uses it");
        }
        Ok(warned)
    }

    async fn change_key(&self, id: KeyId, change: KeyChange, by: Actor) -> Result<KeyRecord, AuthError> {
        let _changes = self.parts.changes.lock().await;
        let (entry, _) = self.managed(id, &by)?;
        let old = &entry.record;
        if old.status == Status::Revoked {
            return Err(AuthError::State(Standing::Revoked));
        }
        let now: Timestamp = self.parts.clock.now();
        let new = minting::plan_change(old, &change, &by, now)?;
        let fields = minting::changed_fields(old, &new);
        if fields.is_empty() {
            return Ok(new);
        }
        let event = self.event(id, "changed", &by, json!({ "fields": fields }));
        let changed = self
            .audit(id, Action::ApiKeyChanged, &by)
            .before(Snapshot::from(&**old))
            .after(Snapshot::from(&new));
        self.parts.db.audited(changed).update_key(new.clone(), now, event).await?;
        let entry = self.swap(id, |newest| Some(newest.changed(&new)))?;
        log::info!("API key {id} was changed by {by}: {}", fields.join(", "));
        Ok(entry.live_record())
    }

    async fn reveal_key(&self, id: KeyId, by: Actor) -> Result<Secret<String>, AuthError> {
        let owner = self.owner_of(id)?;
        let record = self.get(&id).ok_or(AuthError::NotFound)?.record;
        if record.kind == Kind::Account {
            self.check_account_key_show(&by)?;
        } else {
            minting::check_reveal(&record, &owner, &by)?;
        }
        by.check_fresh_password(self.parts.clock.now())?;
        if record.status == Status::Revoked {
            return Err(AuthError::State(Standing::Revoked));
        }
        if !record.recoverable {
            return Err(AuthError::NotRecoverable(
                "The token of this key is not kept: it was shown once, when it was made. Rotate the key to get a new one.",
            ));
        }
        if !self.reveal_policy().allows(record.kind) {
            return Err(AuthError::NotRecoverable(
                "The setting security.reveal_policy does not let this key be shown. Rotate the key to get a new one.",
            ));
        }
        self.parts.reveals.take(id).map_err(|retry_after_s| AuthError::TooOften {
            what: "The token of this key was shown too often.",
            retry_after_s,
        })?;
        let event = self.event(id, "revealed", &by, json!({}));
        let seal = self.parts.seal()?;
        let revealed = self.audit(id, Action::ApiKeyRevealed, &by);
        let sealed =
            self.parts.db.audited(revealed).reveal_key(id, event).await?.ok_or(AuthError::NotFound)?;
        let opened = Secret::new(seal.open(&seal_name(id), &sealed)?);
        log::info!("the token of API key {id} was shown to {by}");
        match String::from_utf8(opened.reveal().clone()) {
            Ok(text) => Ok(Secret::new(text)),
            Err(_) => Err(SealError::DoesNotOpen.into()),
        }
    }
}
