//! Webhooks: telling other systems what happens, by signed messages.
//!
//! Owns: making, changing and testing webhooks, and a courier for each ([`courier`]) that works
//! through its own durable queue. Refuses: to delay anything else. Nobody waits for a courier; each
//! has one call under way at most and knows nothing of the others, and there are at most
//! [`MOST_WEBHOOKS`] of them.
//!
//! Messages are signed as Standard Webhooks has it ([`signature`]); they name no number and carry no
//! document. Every event that happens while a webhook is switched on is delivered at least once or
//! ends as a dead letter after 24 hours ([`crate::net::schedule`]), which can be replayed.

mod courier;
mod signature;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::task::JoinHandle;

use self::courier::Message;
use self::signature::SigningSecret;
use crate::access::audit::{Action, AuditEvent, Context, Snapshot, Target as AuditTarget};
use crate::clock::{Clock, Wake, whole_ms};
pub use crate::db::webhooks::{Delivery, DeliveryState, Webhook};
use crate::db::{Db, DbError};
use crate::fax::event::TypePattern;
use crate::id::{RequestId, WebhookId};
use crate::net::http_client::{HttpClient, Target};
use crate::seal::{Locked, Seal, SealError};
use crate::secret::Secret;

/// Webhooks of one appliance; each may have a call under way.
pub const MOST_WEBHOOKS: usize = 50;
/// Characters of a name.
const NAME_LEN: usize = 64;
/// How long the secret before the last rotation may sign along.
const LONGEST_GRACE: Duration = Duration::from_hours(7 * 24);

/// What can go wrong with a webhook.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// There is none with this id.
    #[error("there is no such webhook")]
    NotFound,
    /// It cannot be done with the webhook as it is.
    #[error("{0}")]
    State(&'static str),
    /// A field cannot be used.
    #[error("'{field}' {why}")]
    Invalid {
        /// Its name.
        field: &'static str,
        /// What is wrong and what is allowed.
        why: String,
    },
    /// What is stored of it does not read back.
    #[error("what is stored of the webhook is damaged")]
    Damaged,
    /// The seal does not open.
    #[error(transparent)]
    Locked(#[from] Locked),
    /// Its secret does not open.
    #[error("the webhook's secret cannot be sealed or opened")]
    Seal(#[from] SealError),
    /// The database refused.
    #[error("the webhook's records cannot be read or written")]
    Db(#[from] DbError),
}

/// What a new webhook shall be.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// What it is for.
    pub name: String,
    /// Where events are posted.
    pub url: String,
    /// Types and families of events; none is all.
    pub types: Vec<String>,
}

/// What shall be different.
#[derive(Clone, Debug, Default)]
pub struct ChangeWebhook {
    /// What it is for.
    pub name: Option<String>,
    /// Where events are posted.
    pub url: Option<String>,
    /// Types and families of events; none is all.
    pub types: Option<Vec<String>>,
    /// Whether anything is posted.
    pub is_enabled: Option<bool>,
}

/// What is to be told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// All that happened after this place of the log.
    After(i64),
    /// This one event.
    Event(i64),
    /// All that was given up.
    Dead,
}

/// What came of a test message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    /// Status of the answer.
    pub status: Option<u16>,
    /// Why it would not count; none when all is well.
    pub error: Option<String>,
}

/// All webhooks of the appliance. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    clock: Clock,
    seal: Result<Arc<Seal>, Locked>,
    client: HttpClient,
    /// Held through each change, which is made of what was read before.
    changing: tokio::sync::Mutex<()>,
    /// Who is at work, and how to call them.
    couriers: Mutex<HashMap<WebhookId, Courier>>,
}

struct Courier {
    wake: Arc<Wake>,
    task: JoinHandle<()>,
}

impl Webhooks {
    /// The webhooks in this database; nothing is posted before [`Webhooks::start`].
    pub fn new(db: Db, clock: Clock, seal: Result<Arc<Seal>, Locked>, client: HttpClient) -> Self {
        let (changing, couriers) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { db, clock, seal, client, changing, couriers }) }
    }

    /// Sets all couriers to work.
    pub async fn start(&self) -> Result<(), WebhookError> {
        self.list().await?.iter().for_each(|webhook| self.call(webhook.id));
        Ok(())
    }

    /// Ends all couriers, in the middle of whatever they do: what was under way is done again after
    /// the next start.
    pub async fn stop(&self) {
        let couriers = std::mem::take(&mut *self.couriers());
        for courier in couriers.into_values() {
            courier.task.abort();
            let _ = courier.task.await;
        }
    }

    /// All of them, oldest first.
    pub async fn list(&self) -> Result<Vec<Webhook>, WebhookError> {
        Ok(self.inner.db.webhooks().await?)
    }

    /// The one with this id.
    pub fn get(&self, id: WebhookId) -> Result<Webhook, WebhookError> {
        self.inner.db.webhook(id)?.ok_or(WebhookError::NotFound)
    }

    /// Makes a webhook, which is told what happens from now on; its secret is shown this once.
    pub async fn create(
        &self,
        new: NewWebhook,
        by: &Context,
    ) -> Result<(Webhook, Secret<String>), WebhookError> {
        let _changing = self.inner.changing.lock().await;
        let (id, now) = (WebhookId::new(), self.now());
        if self.list().await?.len() >= MOST_WEBHOOKS {
            return Err(WebhookError::State("There are 50 webhooks already; remove one first."));
        }
        let secret = SigningSecret::generate();
        let webhook = Webhook {
            id,
            name: name(new.name)?,
            url: self.target(&new.url)?.to_string(),
            types: types(new.types)?,
            is_enabled: true,
            sealed_secret: self.seal()?.seal(&seal_name(id), secret.bytes())?,
            previous: None,
            cursor: 0,
            failures: 0,
            resting_until: None,
            last_success_at: None,
            last_failure_at: None,
            created_at: now,
            created_by: by.actor.clone(),
            updated_at: now,
        };
        let event = by.event(Action::WebhookCreated, target_of(id), now).after(snapshot(&webhook));
        let webhook = self.inner.db.audited(event).insert_webhook(webhook).await?;
        self.call(id);
        Ok((webhook, secret.text()))
    }

    /// Changes a webhook. One that is switched on again is told what happens from then on.
    pub async fn change(
        &self,
        id: WebhookId,
        change: ChangeWebhook,
        by: &Context,
    ) -> Result<Webhook, WebhookError> {
        let _changing = self.inner.changing.lock().await;
        let old = self.get(id)?;
        let new = Webhook {
            name: change.name.map(name).transpose()?.unwrap_or_else(|| old.name.clone()),
            url: match change.url {
                Some(url) => self.target(&url)?.to_string(),
                None => old.url.clone(),
            },
            types: change.types.map(types).transpose()?.unwrap_or_else(|| old.types.clone()),
            is_enabled: change.is_enabled.unwrap_or(old.is_enabled),
            updated_at: self.now(),
            ..old.clone()
        };
        let event = self.event(Action::WebhookChanged, id, by).before(snapshot(&old)).after(snapshot(&new));
        self.store(event, new).await
    }

    /// Gives a webhook a new secret, which is shown this once; the old one signs along for `grace`.
    pub async fn rotate(
        &self,
        id: WebhookId,
        grace: Duration,
        by: &Context,
    ) -> Result<(Webhook, Secret<String>), WebhookError> {
        if grace > LONGEST_GRACE {
            let why = "must be at most 604800, which is seven days".to_owned();
            return Err(WebhookError::Invalid { field: "grace_seconds", why });
        }
        let _changing = self.inner.changing.lock().await;
        let (old, now) = (self.get(id)?, self.now());
        let secret = SigningSecret::generate();
        let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::ZERO);
        let until = now.checked_add(grace).unwrap_or(now);
        let new = Webhook {
            sealed_secret: self.seal()?.seal(&seal_name(id), secret.bytes())?,
            previous: (until > now).then_some((old.sealed_secret.clone(), until)),
            updated_at: now,
            ..old
        };
        let told = Snapshot::new().with("previous_until", new.previous.as_ref().map(|(_, until)| *until));
        let event = self.event(Action::WebhookRotated, id, by).after(told);
        Ok((self.store(event, new).await?, secret.text()))
    }

    /// Removes a webhook; what was not delivered yet is not delivered any more.
    pub async fn remove(&self, id: WebhookId, by: &Context) -> Result<(), WebhookError> {
        let _changing = self.inner.changing.lock().await;
        let event = self.event(Action::WebhookRemoved, id, by).before(snapshot(&self.get(id)?));
        while self.inner.db.forget_deliveries(id).await? {}
        self.inner.db.audited(event).delete_webhook(id).await.map_err(gone)?;
        if let Some(courier) = self.couriers().remove(&id) {
            courier.task.abort();
        }
        Ok(())
    }

    /// Posts a test message right now, once.
    pub async fn test(&self, id: WebhookId) -> Result<Tested, WebhookError> {
        let webhook = self.get(id)?;
        let body = json!({
            "type": "webhook.test",
            "timestamp": self.now(),
            "data": { "webhook_id": id.to_string() },
        });
        let message =
            Message { id: format!("msg_{id}_test_{}", RequestId::new()), body: body.to_string().into() };
        let (status, error) = courier::verdict(&courier::post(&self.inner, &webhook, &message).await?);
        Ok(Tested { status, error })
    }

    /// At most `limit` deliveries of a webhook, latest event first, of events before place `before`.
    pub async fn deliveries(
        &self,
        id: WebhookId,
        state: Option<DeliveryState>,
        before: i64,
        limit: u32,
    ) -> Result<Vec<Delivery>, WebhookError> {
        self.get(id)?;
        Ok(self.inner.db.deliveries(id, state, before, limit).await?)
    }

    /// Has a webhook told again.
    pub async fn replay(&self, id: WebhookId, replay: Replay, by: &Context) -> Result<(), WebhookError> {
        if !self.get(id)?.is_enabled {
            return Err(WebhookError::State("The webhook is switched off; switch it on first."));
        }
        let (db, now) = (&self.inner.db, self.now());
        let told = match replay {
            Replay::After(seq) => Snapshot::new().with("after", seq),
            Replay::Event(seq) => Snapshot::new().with("seq", seq),
            Replay::Dead => Snapshot::new().with("dead", true),
        };
        let audited = db.audited(self.event(Action::WebhookReplayed, id, by).after(told));
        match replay {
            Replay::After(seq) => audited.replay_after(id, seq.max(0)).await.map_err(gone)?,
            Replay::Event(seq) => {
                if !audited.replay_event(id, seq, now).await? {
                    let why = "is not the place of an event in the log".to_owned();
                    return Err(WebhookError::Invalid { field: "seq", why });
                }
            }
            Replay::Dead => {
                let mut is_more = audited.replay_dead(id, now).await?;
                while is_more {
                    is_more = db.replay_more_dead(id, now).await?;
                }
            }
        }
        self.call(id);
        Ok(())
    }

    async fn store(&self, event: AuditEvent, webhook: Webhook) -> Result<Webhook, WebhookError> {
        let id = webhook.id;
        self.inner.db.audited(event).update_webhook(webhook).await.map_err(gone)?;
        self.call(id);
        self.get(id)
    }

    /// Has a webhook's courier look at it; there is one from now on.
    fn call(&self, id: WebhookId) {
        let mut couriers = self.couriers();
        match couriers.get(&id) {
            Some(courier) if !courier.task.is_finished() => courier.wake.call(),
            _ => {
                let wake = Arc::new(Wake::new(&self.inner.clock));
                let task = tokio::spawn(courier::run(self.inner.clone(), id, wake.clone()));
                couriers.insert(id, Courier { wake, task });
            }
        }
    }

    fn couriers(&self) -> MutexGuard<'_, HashMap<WebhookId, Courier>> {
        self.inner.couriers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal(&self) -> Result<&Seal, Locked> {
        self.inner.seal.as_deref().map_err(Locked::clone)
    }

    fn event(&self, action: Action, id: WebhookId, by: &Context) -> AuditEvent {
        by.event(action, target_of(id), self.now())
    }

    fn now(&self) -> Timestamp {
        whole_ms(self.inner.clock.now())
    }

    /// Where events may be posted. What a name means is looked up at each call.
    fn target(&self, url: &str) -> Result<Target, WebhookError> {
        let invalid = |why: String| WebhookError::Invalid { field: "url", why };
        let target = url.trim().parse::<Target>().map_err(|error| invalid(error.to_string()))?;
        let reach = self.inner.client.reach();
        match target.address() {
            Some(address) if !reach.permits(address) => Err(invalid(
                "must lead to the public internet, or to a network listed in webhooks.allow".to_owned(),
            )),
            Some(address) if !target.is_secure() && !reach.is_listed(address) => Err(plain(&invalid)),
            None if !target.is_secure() && !reach.lists_any() => Err(plain(&invalid)),
            _ => Ok(target),
        }
    }
}

fn plain(invalid: &impl Fn(String) -> WebhookError) -> WebhookError {
    invalid("must begin with https://; plain HTTP is for networks listed in webhooks.allow".to_owned())
}

/// The name a webhook's secrets are sealed under.
fn seal_name(id: WebhookId) -> String {
    format!("webhook {id}")
}

fn target_of(id: WebhookId) -> AuditTarget {
    AuditTarget::new("webhook", id)
}

fn gone(error: DbError) -> WebhookError {
    match error {
        DbError::Conflict => WebhookError::NotFound,
        error => error.into(),
    }
}

fn snapshot(webhook: &Webhook) -> Snapshot {
    // Without its path, in which receivers have passwords of sorts.
    let url = webhook.url.parse::<Target>();
    Snapshot::new()
        .with("enabled", webhook.is_enabled)
        .with("name", &webhook.name)
        .with("types", &webhook.types)
        .with("url", url.map(|target| target.origin()).unwrap_or_default())
}

fn name(text: String) -> Result<String, WebhookError> {
    let text = text.trim().to_owned();
    if text.is_empty() || text.chars().count() > NAME_LEN || text.chars().any(char::is_control) {
        let why = "must be 1 to 64 characters that tell what the webhook is for".to_owned();
        return Err(WebhookError::Invalid { field: "name", why });
    }
    Ok(text)
}

fn types(mut texts: Vec<String>) -> Result<Vec<String>, WebhookError> {
    for text in &texts {
        text.parse::<TypePattern>().map_err(|error| WebhookError::Invalid {
            field: "types",
            why: format!("cannot be used: {error}"),
        })?;
    }
    texts.sort_unstable();
    texts.dedup();
    Ok(texts)
}
