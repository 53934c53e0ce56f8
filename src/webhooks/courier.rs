//! The courier of one webhook.
//!
//! Owns: bringing a webhook its events, one after the other. What it does follows from the database
//! alone, so it may be stopped and started at any point: it passes the webhook's cursor over the log,
//! storing a delivery of each event that is wanted, takes the earliest delivery that is due, tries it
//! once, stores what came of it, and looks again. An event that is not taken waits its time while
//! later ones go on. A try whose outcome could not be stored is repeated: at least once, under the
//! same id.

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use rand::RngExt;
use serde_json::json;

use super::signature::SigningSecret;
use super::{Inner, WebhookError, seal_name};
use crate::clock::{Wake, Work};
use crate::crash::{self, Step};
use crate::db::events::LoggedEvent;
use crate::db::webhooks::{Delivery, DeliveryState, Tried, Webhook};
use crate::fax::event::EventFilter;
use crate::id::WebhookId;
use crate::net::http_client::{CallError, Target};
use crate::net::schedule;

/// Pending deliveries of a webhook beyond which its further events wait in the log.
const MOST_PENDING: u32 = 500;
/// Events queued in one go.
const QUEUED_AT_ONCE: usize = 100;
/// What came of deliveries is kept so long.
const HISTORY: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Pause after a failure of our own, such as a full disk.
const OWN_FAILURE: SignedDuration = SignedDuration::from_secs(30);

/// A message as it is posted.
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: Bytes,
}

impl Message {
    /// The message that tells a webhook of an event; its id is the same at every try.
    fn of(webhook: WebhookId, logged: &LoggedEvent) -> Self {
        let event = &logged.event;
        let body = json!({
            "type": event.kind,
            "timestamp": event.at,
            "seq": logged.seq,
            "subject": event.subject,
            "data": event.data,
        });
        Self { id: format!("msg_{webhook}_{}", logged.seq), body: body.to_string().into() }
    }
}

/// Brings a webhook its events until it is gone.
pub(super) async fn run(inner: Arc<Inner>, id: WebhookId, wake: Arc<Wake>) {
    let mut work = inner.clock.work();
    inner.db.call_on_events(&wake);
    loop {
        match step(&inner, id).await {
            Ok(Next::Go) => {}
            Ok(Next::Wait(until)) => work.wait_for(&wake, until).await,
            Ok(Next::End) => return,
            Err(error) => {
                log::warn!("events of webhook {id} wait: {error}");
                pause(&inner, &mut work).await;
            }
        }
    }
}

async fn pause(inner: &Inner, work: &mut Work) {
    let until = inner.clock.now().checked_add(OWN_FAILURE).unwrap_or(Timestamp::MAX);
    work.sleep_until(until).await;
}

/// What to do after a step.
enum Next {
    /// Look again.
    Go,
    /// Wait to be called, or until then.
    Wait(Option<Timestamp>),
    /// There is nothing to do for good.
    End,
}

async fn step(inner: &Inner, id: WebhookId) -> Result<Next, WebhookError> {
    let Some(webhook) = inner.db.webhook(id)? else { return Ok(Next::End) };
    if !webhook.is_enabled {
        return Ok(Next::Wait(None));
    }
    let now = inner.clock.now();
    let oldest = now.checked_sub(schedule::LIFE).unwrap_or(Timestamp::MIN);
    let buried = inner.db.bury_deliveries(id, oldest, now).await?;
    if buried > 0 {
        log::warn!("{buried} events were given up: webhook {id} did not take them for 24 hours");
        return Ok(Next::Go);
    }
    if let Some(until) = webhook.resting_until.filter(|until| now < *until) {
        return Ok(Next::Wait(Some(until)));
    }
    let next = inner.db.next_delivery(id, now, MOST_PENDING).await?;
    if next.pending < MOST_PENDING && queue_more(inner, &webhook, now).await? {
        return Ok(Next::Go);
    }
    match next.due {
        Some((delivery, event)) => {
            let tried = attempt(inner, &webhook, &delivery, event).await?;
            crash::after(Step::ReceiverAsked);
            inner.db.store_try(id, delivery.seq, tried).await?;
            crash::after(Step::DeliveryStored);
            Ok(Next::Go)
        }
        None => Ok(Next::Wait(next.next_at)),
    }
}

/// Stores deliveries of the next events; whether the cursor got any further.
async fn queue_more(inner: &Inner, webhook: &Webhook, now: Timestamp) -> Result<bool, WebhookError> {
    if webhook.cursor >= inner.db.newest_event() {
        return Ok(false);
    }
    // A type that was taken out of the list since is not wanted by anybody.
    let types: Vec<_> = webhook.types.iter().filter_map(|text| text.parse().ok()).collect();
    if types.is_empty() && !webhook.types.is_empty() {
        return Ok(false);
    }
    let filter = EventFilter::everything(types);
    let page = inner.db.events_page(filter, webhook.cursor, QUEUED_AT_ONCE).await?;
    // The newest events may have been deleted.
    if page.next == webhook.cursor {
        return Ok(false);
    }
    let events = page.events.iter().map(|logged| logged.seq).collect();
    let forget = now.checked_sub(HISTORY).unwrap_or(Timestamp::MIN);
    inner.db.queue_deliveries(webhook.id, (webhook.cursor, page.next), events, now, forget).await?;
    crash::after(Step::DeliveriesQueued);
    Ok(true)
}

/// Tries a delivery once.
async fn attempt(
    inner: &Inner,
    webhook: &Webhook,
    delivery: &Delivery,
    event: Option<LoggedEvent>,
) -> Result<Tried, WebhookError> {
    let Some(logged) = event else {
        let error = Some("the event is no longer in the log".to_owned());
        let (at, state) = (inner.clock.now(), DeliveryState::Dead);
        return Ok(Tried {
            at,
            state,
            next_try_at: at,
            status: None,
            error,
            failures: webhook.failures,
            resting_until: None,
        });
    };
    let posted = post(inner, webhook, &Message::of(webhook.id, &logged)).await?;
    let at = inner.clock.now();
    let (status, error) = verdict(&posted);
    let (failures, chance) = (webhook.failures, rand::rng().random_range(0.0..1.0));
    let Some(error) = error else {
        let state = DeliveryState::Delivered;
        return Ok(Tried { at, state, next_try_at: at, status, error: None, failures, resting_until: None });
    };
    log::debug!("webhook {} did not take event {}: {error}", webhook.id, logged.seq);
    Ok(Tried {
        at,
        state: DeliveryState::Pending,
        next_try_at: schedule::next_try(delivery.tries + 1, chance, at),
        status,
        error: Some(error),
        failures,
        resting_until: schedule::rest(failures + 1, chance, at),
    })
}

/// Posts a signed message once.
pub(super) async fn post(
    inner: &Inner,
    webhook: &Webhook,
    message: &Message,
) -> Result<Result<u16, CallError>, WebhookError> {
    let target: Target = webhook.url.parse().map_err(|_| WebhookError::Damaged)?;
    let now = inner.clock.now();
    let mut signatures = Vec::new();
    let previous = webhook.previous.as_ref().filter(|(_, until)| now < *until).map(|(sealed, _)| sealed);
    let seal = inner.seal.as_ref().map_err(Clone::clone)?;
    for sealed in [Some(&webhook.sealed_secret), previous].into_iter().flatten() {
        let secret = SigningSecret::from_bytes(seal.open(&seal_name(webhook.id), sealed)?);
        signatures.push(secret.sign(&message.id, now.as_second(), &message.body));
    }
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("webhook-id", message.id.clone()),
        ("webhook-timestamp", now.as_second().to_string()),
        ("webhook-signature", signatures.join(" ")),
    ];
    Ok(inner.client.post(&target, &headers, message.body.clone()).await)
}

/// The status of an answer, and why it does not count as taken.
pub(super) fn verdict(posted: &Result<u16, CallError>) -> (Option<u16>, Option<String>) {
    match posted {
        Ok(200..300) => (posted.as_ref().ok().copied(), None),
        Ok(status @ 300..400) => {
            (Some(*status), Some(format!("the receiver answered {status}; redirects are not followed")))
        }
        Ok(status) => (Some(*status), Some(format!("the receiver answered {status}"))),
        Err(error) => {
            let mut text = error.to_string();
            // The reason of a refused certificate is in the cause.
            if let CallError::Untrusted(_, cause) = error {
                text = format!("{text}: {cause}");
            }
            (None, Some(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_counts() {
        let cases = [
            (200, None),
            (204, None),
            (299, None),
            (301, Some("the receiver answered 301; redirects are not followed")),
            (400, Some("the receiver answered 400")),
            (503, Some("the receiver answered 503")),
        ];
        for (status, error) in cases {
            assert_eq!(verdict(&Ok(status)), (Some(status), error.map(str::to_owned)));
        }
        let error = CallError::NotAllowed("10.0.0.1".parse().unwrap());
        assert!(verdict(&Err(error)).1.unwrap().contains("webhooks.allow"));
    }
}
