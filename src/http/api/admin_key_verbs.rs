//! `/admin/api-keys/{id}` beyond Faxbot: changing, disabling, enabling and showing a key, what was
//! done to it, and what about all keys should be looked at.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::admin_keys::{ApiKey, KeySegment, networks, origins, own_key, scopes, view_of};
use super::{answer, get, json, patch, post, query};
use crate::access::resources::NumberPrefix;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::auth::{KeyChange, LimitsChange, ResourcesChange, safety as check};
use crate::http::body::object;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::request::Request;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let update = warp::path!("admin" / "api-keys" / KeySegment)
        .and(patch(app))
        .then(|id, request| answer(update(id, request)));
    let disable = warp::path!("admin" / "api-keys" / String / "disable")
        .and(post(app))
        .then(|id, request| answer(disable(id, request)));
    let enable = warp::path!("admin" / "api-keys" / String / "enable")
        .and(post(app))
        .then(|id, request| answer(enable(id, request)));
    let end_previous = warp::path!("admin" / "api-keys" / String / "end-previous")
        .and(post(app))
        .then(|id, request| answer(end_previous(id, request)));
    let reveal = warp::path!("admin" / "api-keys" / String / "reveal")
        .and(post(app))
        .then(|id, request| answer(reveal(id, request)));
    let events = warp::path!("admin" / "api-keys" / String / "events")
        .and(get(app))
        .then(|id, request| answer(events(id, request)));
    let safety =
        warp::path!("admin" / "api-keys" / "safety").and(get(app)).then(|request| answer(safety(request)));
    let verbs = disable.or(enable).unify().or(end_previous).unify().or(reveal).unify().boxed();
    update.or(verbs).unify().or(events).unify().or(safety).unify().boxed()
}

/// What of a key shall be another. What is not named stays; `null` clears it; in `resources` and
/// `limits` each field stands for itself (RFC 7396).
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"note": "Moved to ward 4", "limits": {"per_minute": 100}}))]
pub(in crate::http) struct UpdateKey {
    name: Option<String>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    note: Option<Option<String>>,
    scopes: Option<Vec<String>>,
    #[serde(deserialize_with = "given_object")]
    #[schema(value_type = Option<UpdateResources>)]
    resources: Option<Option<UpdateResources>>,
    /// Addresses it works from, in CIDR form; everywhere when empty or null
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    ip_allow: Option<Option<Vec<String>>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    allowed_origins: Option<Option<Vec<String>>>,
    #[serde(deserialize_with = "given_object")]
    #[schema(value_type = Option<UpdateLimits>)]
    limits: Option<Option<UpdateLimits>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Option<Timestamp>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Option<Timestamp>>,
}

/// What of a key's resources shall be another.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct UpdateResources {
    /// Numbers it may send to begin with one of these; all numbers when empty or null
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    to_prefixes: Option<Option<Vec<NumberPrefix>>>,
    /// Whether it sees everybody's faxes
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<bool>)]
    all_jobs: Option<Option<bool>>,
}

/// Which of a key's limits shall be others; null is as the key's kind has it.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct UpdateLimits {
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    per_minute: Option<Option<u32>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    per_hour: Option<Option<u32>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    pages_per_day: Option<Option<u32>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    new_destinations_per_day: Option<Option<u32>>,
}

/// Tells a field that is null from one that is not there.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(value).map(Some)
}

/// The same of a field that is an object.
fn given_object<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Option<T>>, D::Error> {
    object(value).map(Some)
}

impl UpdateKey {
    fn change(self) -> Result<KeyChange, ApiError> {
        Ok(KeyChange {
            name: self.name,
            note: self.note,
            scopes: self.scopes.map(|names| scopes(&names)).transpose()?,
            resources: match self.resources {
                None => ResourcesChange::default(),
                Some(None) => ResourcesChange { to_prefixes: Some(Vec::new()), all_jobs: Some(false) },
                Some(Some(change)) => ResourcesChange {
                    to_prefixes: change.to_prefixes.map(Option::unwrap_or_default),
                    all_jobs: change.all_jobs.map(Option::unwrap_or_default),
                },
            },
            ip_allow: self.ip_allow.map(|list| networks(&list.unwrap_or_default())).transpose()?,
            allowed_origins: self
                .allowed_origins
                .map(|list| origins(&list.unwrap_or_default()))
                .transpose()?,
            limits: LimitsChange {
                values: match self.limits {
                    None => [None; 4],
                    Some(None) => [Some(None); 4],
                    Some(Some(change)) => [
                        change.per_minute,
                        change.per_hour,
                        change.pages_per_day,
                        change.new_destinations_per_day,
                    ],
                },
            },
            not_before: self.not_before,
            expires_at: self.expires_at,
        })
    }
}

/// Change a key
///
/// A change never reaches beyond who asks for it, unless it only narrows the key.
#[utoipa::path(patch, path = "/admin/api-keys/{id}", tag = "keys", params(("id" = String, Path,)),
    security(("api_key" = ["keys:manage"])), request_body = Option<UpdateKey>,
    responses((status = 200, body = ApiKey), (status = 404, description = "No such key", body = ProblemBody),
        (status = 409, description = "The key was revoked", body = ProblemBody),
        (status = 422, description = "A field cannot be used; what is allowed is said", body = ProblemBody)))]
pub(in crate::http) async fn update(id: KeySegment, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysManage).await?;
    let id = own_key(&request, &id.0)?.record.id;
    let body: UpdateKey = request.body()?.json().await?;
    request.app.keys().update(&id, body.change()?, &request.caller.actor()).await?;
    json(StatusCode::OK, &ApiKey::from(&view_of(&request, &id)?))
}

/// That it was done.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Done {
    /// Always `ok`.
    status: &'static str,
}

/// Switch a key off
///
/// No request that starts after the answer is let in with it, until it is enabled.
#[utoipa::path(post, path = "/admin/api-keys/{id}/disable", tag = "keys", params(("id" = String, Path,)),
    security(("api_key" = ["keys:manage"])),
    responses((status = 200, body = Done), (status = 404, description = "No such key", body = ProblemBody),
        (status = 409, description = "The key was revoked", body = ProblemBody)))]
pub(in crate::http) async fn disable(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysManage).await?;
    let id = own_key(&request, &id)?.record.id;
    request.app.keys().disable(&id, &request.caller.actor()).await?;
    json(StatusCode::OK, &Done { status: "ok" })
}

/// Switch a key on again
#[utoipa::path(post, path = "/admin/api-keys/{id}/enable", tag = "keys", params(("id" = String, Path,)),
    security(("api_key" = ["keys:manage"])),
    responses((status = 200, body = Done), (status = 404, description = "No such key", body = ProblemBody),
        (status = 409, description = "The key was revoked, or has expired", body = ProblemBody)))]
pub(in crate::http) async fn enable(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysManage).await?;
    let id = own_key(&request, &id)?.record.id;
    request.app.keys().enable(&id, &request.caller.actor()).await?;
    json(StatusCode::OK, &Done { status: "ok" })
}

/// End the old secret after a rotation
///
/// No request that starts after the answer is let in with it. Without an old secret in its grace there is
/// nothing to end, and the answer is the same.
#[utoipa::path(post, path = "/admin/api-keys/{id}/end-previous", tag = "keys", params(("id" = String, Path,)),
    security(("api_key" = ["keys:manage"])),
    responses((status = 200, body = Done), (status = 404, description = "No such key", body = ProblemBody),
        (status = 409, description = "The key was revoked", body = ProblemBody)))]
pub(in crate::http) async fn end_previous(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysManage).await?;
    let id = own_key(&request, &id)?.record.id;
    request.app.keys().end_previous_secret(&id, &request.caller.actor()).await?;
    json(StatusCode::OK, &Done { status: "ok" })
}

/// A key's token, shown again.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RevealedKey {
    key_id: String,
    token: String,
}

/// Show the token of a recoverable key
#[utoipa::path(post, path = "/admin/api-keys/{id}/reveal", tag = "keys", params(("id" = String, Path,)),
    security(("api_key" = ["keys:reveal"])),
    responses((status = 200, body = RevealedKey), (status = 404, description = "No such key", body = ProblemBody),
        (status = 409, description = "The key was revoked, or its token is not kept", body = ProblemBody)))]
pub(in crate::http) async fn reveal(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysReveal).await?;
    let id = own_key(&request, &id)?.record.id;
    let token = request.app.keys().reveal(&id, &request.caller.actor()).await?;
    json(StatusCode::OK, &RevealedKey { key_id: id.to_string(), token: token.reveal().clone() })
}

/// Which events of a key.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct EventsQuery {
    /// Rows, 1 to 100; 50 by default
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `seq` of the last row of the page before
    before: Option<i64>,
}

/// Something that was done to a key.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct KeyEvent {
    /// Its place in the order of all events.
    seq: i64,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `api_key.created`, `.changed`, `.rotated`, `.previous_ended`, `.disabled`, `.enabled`, `.revealed`, `.revoked`, `.new_address`, `.expiring`
    r#type: String,
    /// `by` whom, and what is worth knowing
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

/// What was done to a key, newest first
#[utoipa::path(get, path = "/admin/api-keys/{id}/events", tag = "keys",
    params(("id" = String, Path,), EventsQuery), security(("api_key" = ["keys:read"])),
    responses((status = 200, body = Vec<KeyEvent>), (status = 404, description = "No such key", body = ProblemBody),
        (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn events(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysRead).await?;
    let asked: EventsQuery = query(request.query())?;
    let limit = super::admin_jobs::limit(asked.limit)?;
    let id = own_key(&request, &id)?.record.id;
    let events = request.app.keys().key_events(&id, asked.before, limit).await?;
    let shown = events.into_iter().map(|logged| KeyEvent {
        seq: logged.seq,
        at: logged.event.at,
        r#type: logged.event.kind,
        data: logged.event.data,
    });
    json(StatusCode::OK, &shown.collect::<Vec<_>>())
}

/// What about one key should be looked at.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct KeySafety {
    key_id: String,
    name: String,
    /// `never_expires`, `idle_90_days`, `no_custom_limit`, `no_address_list`, `all_jobs`, `recoverable`
    findings: Vec<&'static str>,
    /// What each finding means, in the same order.
    sentences: Vec<&'static str>,
}

/// What about the keys should be looked at
#[utoipa::path(get, path = "/admin/api-keys/safety", tag = "keys", security(("api_key" = ["keys:read"])),
    responses((status = 200, body = Vec<KeySafety>)))]
pub(in crate::http) async fn safety(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysRead).await?;
    let now = request.app.clock().now();
    let keys = request.app.keys().list();
    let report = keys.iter().filter(|view| request.caller.sees(view.record.owner)).filter_map(|view| {
        let findings = check::findings(view, now);
        (!findings.is_empty()).then(|| KeySafety {
            key_id: view.record.id.to_string(),
            name: view.record.name.clone(),
            findings: findings.iter().map(|finding| finding.as_str()).collect(),
            sentences: findings.iter().map(|finding| finding.sentence()).collect(),
        })
    });
    json(StatusCode::OK, &report.collect::<Vec<_>>())
}
