//! Disabling, enabling and revoking.
//!
//! Who ends a key may be racing a thief: a full disk or a busy writer must not keep it alive in
//! this process. So the map comes first, then the row, then the map once more, because a change
//! that was on its way may have widened it in between. When the row fails the key stays refused
//! here, the error says that it is not final, and doing it again stores it. Enabling is the other
//! way round.

use serde_json::json;

use super::to_its_end;
use crate::access::audit::Action;
use crate::access::records::{Standing, Status};
use crate::access::token::KeyId;
use crate::auth::{Actor, AuthError, KeyRing};
use crate::db::DbError;
use crate::db::keys::Ending;
use crate::id::JobId;
use crate::log::scrub;

/// Longest reason of a revocation, in characters.
const REASON_LEN: usize = 500;
/// The reason that tells that somebody else has the key.
const COMPROMISED: &str = "compromised";

/// How a key shall end.
#[derive(Clone, Debug, Default)]
pub struct Revocation {
    /// Why, up to 500 characters; `compromised` always holds the key's faxes.
    pub reason: Option<String>,
    /// Whether its faxes that no call is under way for are held until an administrator releases
    /// them; otherwise they are sent.
    pub hold_faxes: bool,
    /// Whether it leaves its owner's own list.
    pub hidden: bool,
}

/// What the end of a key brought with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// The faxes that were held.
    pub held: Vec<JobId>,
}

impl KeyRing {
    /// Ends a key for good; one that was ended before is only hidden, and its faxes held, if asked
    /// for. No request that starts after the return is let in with it, whatever the return is, but
    /// for [`AuthError::NotFound`], [`AuthError::Forbidden`] and [`AuthError::Invalid`].
    pub async fn revoke(&self, id: &KeyId, revocation: Revocation, by: &Actor) -> Result<Revoked, AuthError> {
        let (ring, id, by) = (self.clone(), *id, by.clone());
        to_its_end(async move { ring.revoke_key(id, revocation, by).await }).await
    }

    /// Switches a key off, until it is enabled. The promise is that of [`KeyRing::revoke`]; of a
    /// revoked key it is [`AuthError::State`].
    pub async fn disable(&self, id: &KeyId, by: &Actor) -> Result<(), AuthError> {
        let (ring, id, by) = (self.clone(), *id, by.clone());
        to_its_end(async move { ring.disable_key(id, by).await }).await
    }

    /// Switches a key on again. [`AuthError::State`] when it was revoked or has expired. Who asks
    /// could have made the key.
    pub async fn enable(&self, id: &KeyId, by: &Actor) -> Result<(), AuthError> {
        let (ring, id, by) = (self.clone(), *id, by.clone());
        to_its_end(async move { ring.enable_key(id, by).await }).await
    }

    async fn revoke_key(&self, id: KeyId, asked: Revocation, by: Actor) -> Result<Revoked, AuthError> {
        // Whoever ends a key in a hurry may paste it into the reason; that must not stop them.
        let reason = asked.reason.map(|reason| scrub(reason.trim()).into_owned());
        let reason = reason.filter(|reason| !reason.is_empty());
        if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_LEN) {
            return Err(AuthError::invalid("reason", format!("takes at most {REASON_LEN} characters")));
        }
        self.managed(id, &by)?;
        let is_compromised = reason.as_deref().is_some_and(|reason| reason.eq_ignore_ascii_case(COMPROMISED));
        let now = self.parts.clock.now();
        let entry = self.swap(id, |entry| {
            let is_known = entry.record.status == Status::Revoked && (entry.record.hidden || !asked.hidden);
            (!is_known).then(|| entry.revoked(now, by.to_string(), reason.clone(), asked.hidden))
        })?;
        let _changes = self.parts.changes.lock().await;
        // As it was ended first, so that a repetition after a failure stores the same.
        let record = &entry.record;
        let ending = Ending {
            at: record.revoked_at.unwrap_or(now),
            by: record.revoked_by.clone().unwrap_or_default(),
            reason: record.revoked_reason.clone(),
            hidden: asked.hidden,
            hold_faxes: asked.hold_faxes || is_compromised,
        };
        let revoked = self.audit(id, Action::ApiKeyRevoked, &by).reason(ending.reason.clone());
        let event = self.event(id, "revoked", &by, json!({ "compromised": is_compromised, "held_faxes": 0 }));
        let held = self
            .parts
            .db
            .audited(revoked)
            .revoke_key(id, ending, event)
            .await
            .map_err(AuthError::NotFinal)?;
        log::info!("API key {id} was revoked by {by}; {} of its faxes are held", held.len());
        Ok(Revoked { held })
    }

    async fn disable_key(&self, id: KeyId, by: Actor) -> Result<(), AuthError> {
        let (entry, _) = self.managed(id, &by)?;
        if entry.record.status == Status::Revoked {
            return Err(AuthError::State(Standing::Revoked));
        }
        let is_new = entry.record.status == Status::Active;
        let mark = || self.swap(id, |entry| entry.switched(Status::Disabled));
        mark()?;
        let _changes = self.parts.changes.lock().await;
        let event = self.event(id, "disabled", &by, json!({ "again": !is_new }));
        let disabled = self.audit(id, Action::ApiKeyDisabled, &by);
        self.parts.db.audited(disabled).switch_key(id, Status::Disabled, event).await.map_err(|error| {
            match error {
                DbError::Conflict => AuthError::State(Standing::Revoked),
                error => AuthError::NotFinal(error),
            }
        })?;
        mark()?;
        log::info!("API key {id} was disabled by {by}");
        Ok(())
    }

    async fn enable_key(&self, id: KeyId, by: Actor) -> Result<(), AuthError> {
        let _changes = self.parts.changes.lock().await;
        let entry = self.rotatable(id, &by)?;
        if entry.record.status == Status::Active {
            return Ok(());
        }
        let event = self.event(id, "enabled", &by, json!({}));
        let enabled = self.audit(id, Action::ApiKeyEnabled, &by);
        self.parts.db.audited(enabled).switch_key(id, Status::Active, event).await?;
        self.swap(id, |entry| entry.switched(Status::Active))?;
        log::info!("API key {id} was enabled by {by}");
        Ok(())
    }
}
