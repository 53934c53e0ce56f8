//! `/webhooks`: who is told of events, and what came of it.
//!
//! For administrators. A key with `webhooks:manage` sees, tests and replays; where events go and
//! what they are signed with is changed by people only, in a session or on the appliance itself.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, delete, get, id, json, patch, post, query};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::http::error::{ApiError, NO_SCOPE, ProblemBody, WEBHOOK_NOT_FOUND};
use crate::http::request::{Permitted, Request};
use crate::id::WebhookId;
use crate::webhooks::{ChangeWebhook, Delivery, DeliveryState, NewWebhook, Replay, Webhook};

/// Seconds the old secret signs along after a rotation, when nobody says otherwise.
const DEFAULT_GRACE_S: u64 = 24 * 3600;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let list = warp::path!("webhooks").and(get(app)).then(|request| answer(list(request)));
    let create = warp::path!("webhooks").and(post(app)).then(|request| answer(create(request)));
    let show = warp::path!("webhooks" / String).and(get(app)).then(|id, request| answer(show(id, request)));
    let change =
        warp::path!("webhooks" / String).and(patch(app)).then(|id, request| answer(change(id, request)));
    let remove =
        warp::path!("webhooks" / String).and(delete(app)).then(|id, request| answer(remove(id, request)));
    let rotate = warp::path!("webhooks" / String / "rotate")
        .and(post(app))
        .then(|id, request| answer(rotate(id, request)));
    let test = warp::path!("webhooks" / String / "test")
        .and(post(app))
        .then(|id, request| answer(test(id, request)));
    let deliveries = warp::path!("webhooks" / String / "deliveries")
        .and(get(app))
        .then(|id, request| answer(deliveries(id, request)));
    let replay = warp::path!("webhooks" / String / "replay")
        .and(post(app))
        .then(|id, request| answer(replay(id, request)));
    let records = list.or(create).unify().or(show).unify().or(change).unify().or(remove).unify().boxed();
    let verbs = rotate.or(test).unify().or(deliveries).unify().or(replay).unify().boxed();
    records.or(verbs).unify().boxed()
}

/// Somebody who is told of events.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(in crate::http) struct WebhookView {
    id: String,
    name: String,
    url: String,
    /// Types and families of events, like `fax.delivered` or `inbound.*`; none is all.
    types: Vec<String>,
    enabled: bool,
    /// Until when the secret before the last rotation signs along.
    #[schema(value_type = Option<String>, format = DateTime)]
    previous_secret_until: Option<Timestamp>,
    /// Tries in a row that failed.
    failures: u32,
    /// Nothing is posted before, after several failures in a row.
    #[schema(value_type = Option<String>, format = DateTime)]
    resting_until: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_success_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_failure_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl WebhookView {
    fn new(webhook: Webhook, now: Timestamp) -> Self {
        Self {
            id: webhook.id.to_string(),
            name: webhook.name,
            url: webhook.url,
            types: webhook.types,
            enabled: webhook.is_enabled,
            previous_secret_until: webhook.previous.map(|(_, until)| until).filter(|until| now < *until),
            failures: webhook.failures,
            resting_until: webhook.resting_until.filter(|until| now < *until),
            last_success_at: webhook.last_success_at,
            last_failure_at: webhook.last_failure_at,
            created_at: webhook.created_at,
            created_by: webhook.created_by,
            updated_at: webhook.updated_at,
        }
    }
}

/// A webhook with the secret its messages are signed with.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct WebhookWithSecret {
    #[serde(flatten)]
    webhook: WebhookView,
    /// `whsec_…`; shown this once.
    secret: String,
}

/// What a new webhook shall be.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct CreateWebhook {
    /// What it is for, 1 to 64 characters
    name: String,
    /// `https://…`; plain HTTP and private addresses only in networks listed in `webhooks.allow`
    url: String,
    /// Types and families of events, like `fax.delivered` or `inbound.*`; all by default
    types: Vec<String>,
}

/// All webhooks, oldest first
#[utoipa::path(get, path = "/webhooks", tag = "webhooks", security(("api_key" = ["webhooks:manage"])),
    responses((status = 200, body = Vec<WebhookView>)))]
pub(in crate::http) async fn list(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::WebhooksManage).await?;
    let now = request.app.clock().now();
    let webhooks = request.app.webhooks().list().await?;
    json(
        StatusCode::OK,
        &webhooks.into_iter().map(|webhook| WebhookView::new(webhook, now)).collect::<Vec<_>>(),
    )
}

/// Make a webhook; in a session or on the appliance itself, never with a key
///
/// It is told what happens from then on, by messages signed as Standard Webhooks has it.
#[utoipa::path(post, path = "/webhooks", tag = "webhooks", security(("api_key" = ["webhooks:manage"])),
    request_body = CreateWebhook,
    responses((status = 201, body = WebhookWithSecret),
        (status = 409, description = "There are 50 already", body = ProblemBody),
        (status = 422, description = "A field cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn create(request: Request) -> Result<Response, ApiError> {
    let request = by_a_person(request).await?;
    let body: CreateWebhook = request.body()?.json().await?;
    let new = NewWebhook { name: body.name, url: body.url, types: body.types };
    let (webhook, secret) = request.app.webhooks().create(new, &request.audit_context()).await?;
    let webhook = WebhookView::new(webhook, request.app.clock().now());
    json(StatusCode::CREATED, &WebhookWithSecret { webhook, secret: secret.reveal().clone() })
}

/// One webhook
#[utoipa::path(get, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path,)),
    security(("api_key" = ["webhooks:manage"])),
    responses((status = 200, body = WebhookView), (status = 404, description = "No such webhook", body = ProblemBody)))]
pub(in crate::http) async fn show(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::WebhooksManage).await?;
    let webhook = request.app.webhooks().get(webhook_id(&text)?)?;
    json(StatusCode::OK, &WebhookView::new(webhook, request.app.clock().now()))
}

/// What shall be different.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct PatchWebhook {
    /// 1 to 64 characters
    name: Option<String>,
    /// `https://…`; plain HTTP and private addresses only in networks listed in `webhooks.allow`
    url: Option<String>,
    /// Types and families of events; an empty list is all
    types: Option<Vec<String>>,
    /// Switched on again, it is told what happens from then on
    enabled: Option<bool>,
}

/// Change a webhook; in a session or on the appliance itself, never with a key
#[utoipa::path(patch, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path,)),
    security(("api_key" = ["webhooks:manage"])), request_body = PatchWebhook,
    responses((status = 200, body = WebhookView), (status = 404, description = "No such webhook", body = ProblemBody),
        (status = 422, description = "A field cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn change(text: String, request: Request) -> Result<Response, ApiError> {
    let request = by_a_person(request).await?;
    let id = webhook_id(&text)?;
    let body: PatchWebhook = request.body()?.json().await?;
    let change =
        ChangeWebhook { name: body.name, url: body.url, types: body.types, is_enabled: body.enabled };
    let webhook = request.app.webhooks().change(id, change, &request.audit_context()).await?;
    json(StatusCode::OK, &WebhookView::new(webhook, request.app.clock().now()))
}

/// That it was done.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct WebhookDone {
    /// Always `ok`.
    status: &'static str,
}

/// Remove a webhook with its deliveries; in a session or on the appliance itself, never with a key
#[utoipa::path(delete, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path,)),
    security(("api_key" = ["webhooks:manage"])),
    responses((status = 200, body = WebhookDone), (status = 404, description = "No such webhook", body = ProblemBody)))]
pub(in crate::http) async fn remove(text: String, request: Request) -> Result<Response, ApiError> {
    let request = by_a_person(request).await?;
    request.app.webhooks().remove(webhook_id(&text)?, &request.audit_context()).await?;
    json(StatusCode::OK, &WebhookDone { status: "ok" })
}

/// How to rotate.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct RotateWebhook {
    /// Seconds the old secret signs along, at most 604800; a day by default
    grace_seconds: Option<u64>,
}

/// Give a webhook a new secret; in a session or on the appliance itself, never with a key
///
/// During the grace messages carry two signatures, so that receivers change over without a gap.
#[utoipa::path(post, path = "/webhooks/{id}/rotate", tag = "webhooks", params(("id" = String, Path,)),
    security(("api_key" = ["webhooks:manage"])), request_body = Option<RotateWebhook>,
    responses((status = 200, body = WebhookWithSecret),
        (status = 404, description = "No such webhook", body = ProblemBody),
        (status = 422, description = "A field cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn rotate(text: String, request: Request) -> Result<Response, ApiError> {
    let request = by_a_person(request).await?;
    let id = webhook_id(&text)?;
    let body: RotateWebhook = request.body()?.json().await?;
    let grace = Duration::from_secs(body.grace_seconds.unwrap_or(DEFAULT_GRACE_S));
    let (webhook, secret) = request.app.webhooks().rotate(id, grace, &request.audit_context()).await?;
    let webhook = WebhookView::new(webhook, request.app.clock().now());
    json(StatusCode::OK, &WebhookWithSecret { webhook, secret: secret.reveal().clone() })
}

/// What came of a test message.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct WebhookTest {
    /// Whether the receiver took it.
    delivered: bool,
    /// Status of its answer.
    status: Option<u16>,
    /// Why it would not count.
    error: Option<String>,
    duration_ms: u64,
}

/// Post a message of type `webhook.test` right now, and say what came of it
#[utoipa::path(post, path = "/webhooks/{id}/test", tag = "webhooks", params(("id" = String, Path,)),
    security(("api_key" = ["webhooks:manage"])),
    responses((status = 200, body = WebhookTest), (status = 404, description = "No such webhook", body = ProblemBody)))]
pub(in crate::http) async fn test(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::WebhooksManage).await?;
    let started = Instant::now();
    let tested = request.app.webhooks().test(webhook_id(&text)?).await?;
    let body = WebhookTest {
        delivered: tested.error.is_none(),
        status: tested.status,
        error: tested.error,
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    json(StatusCode::OK, &body)
}

/// Which deliveries.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct DeliveriesQuery {
    /// `pending`, `delivered` or `dead`; all by default
    state: Option<String>,
    /// Rows, 1 to 100; 50 by default
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `seq` of the last row of the page before
    before: Option<i64>,
}

/// One event on its way to a webhook.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct WebhookDelivery {
    /// Place of the event in the log.
    seq: i64,
    /// `pending`, `delivered`, or `dead`: given up after 24 hours
    state: &'static str,
    tries: u32,
    /// When it was queued.
    #[schema(value_type = String, format = DateTime)]
    queued_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    next_try_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Status of the last answer.
    status: Option<u16>,
    /// Why the last try did not count.
    error: Option<String>,
}

impl From<Delivery> for WebhookDelivery {
    fn from(delivery: Delivery) -> Self {
        let is_pending = delivery.state == DeliveryState::Pending;
        Self {
            seq: delivery.seq,
            state: delivery.state.as_str(),
            tries: delivery.tries,
            queued_at: delivery.first_at,
            next_try_at: is_pending.then_some(delivery.next_try_at),
            ended_at: delivery.ended_at,
            status: delivery.status,
            error: delivery.error,
        }
    }
}

/// What came of a webhook's events, latest first; kept for 30 days
#[utoipa::path(get, path = "/webhooks/{id}/deliveries", tag = "webhooks",
    params(("id" = String, Path,), DeliveriesQuery), security(("api_key" = ["webhooks:manage"])),
    responses((status = 200, body = Vec<WebhookDelivery>),
        (status = 404, description = "No such webhook", body = ProblemBody),
        (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn deliveries(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::WebhooksManage).await?;
    let id = webhook_id(&text)?;
    let asked: DeliveriesQuery = query(request.query())?;
    let limit = super::admin_jobs::limit(asked.limit)?;
    let state = asked.state.as_deref().map(state).transpose()?;
    let before = asked.before.unwrap_or(i64::MAX);
    let found = request.app.webhooks().deliveries(id, state, before, limit).await?;
    json(StatusCode::OK, &found.into_iter().map(WebhookDelivery::from).collect::<Vec<_>>())
}

/// What to tell again: one of these.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct ReplayWebhook {
    /// All that happened after this place of the log; 0 is everything
    after: Option<i64>,
    /// The event at this place
    seq: Option<i64>,
    /// All that was given up
    dead: Option<bool>,
}

/// Tell a webhook again what happened; messages keep their ids
#[utoipa::path(post, path = "/webhooks/{id}/replay", tag = "webhooks", params(("id" = String, Path,)),
    security(("api_key" = ["webhooks:manage"])), request_body = ReplayWebhook,
    responses((status = 202, body = WebhookDone), (status = 404, description = "No such webhook", body = ProblemBody),
        (status = 409, description = "It is switched off", body = ProblemBody),
        (status = 422, description = "Not one of the three, or no such event", body = ProblemBody)))]
pub(in crate::http) async fn replay(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::WebhooksManage).await?;
    let id = webhook_id(&text)?;
    let body: ReplayWebhook = request.body()?.json().await?;
    let replay = match (body.after, body.seq, body.dead) {
        (Some(after), None, None) => Replay::After(after),
        (None, Some(seq), None) => Replay::Event(seq),
        (None, None, Some(true)) => Replay::Dead,
        _ => {
            return Err(ApiError::field("after", "required", "Give one of 'after', 'seq' and 'dead': true."));
        }
    };
    request.app.webhooks().replay(id, replay, &request.audit_context()).await?;
    json(StatusCode::ACCEPTED, &WebhookDone { status: "ok" })
}

/// Lets in a person who may manage webhooks: a key that leaked must not send events elsewhere.
async fn by_a_person(request: Request) -> Result<Permitted, ApiError> {
    let request = request.permit(Scope::WebhooksManage).await?;
    if request.caller.is_person() {
        return Ok(request);
    }
    let detail = "Where webhooks lead is changed in a session or on the appliance itself, never with a key.";
    Err(ApiError::new(&NO_SCOPE, detail).with_reason("person"))
}

fn webhook_id(text: &str) -> Result<WebhookId, ApiError> {
    id(text, || ApiError::new(&WEBHOOK_NOT_FOUND, "There is no such webhook."))
}

fn state(text: &str) -> Result<DeliveryState, ApiError> {
    let found = DeliveryState::ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| {
        ApiError::field("state", "unknown", "'state' must be one of pending, delivered and dead.")
    })
}
