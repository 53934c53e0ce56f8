//! `/admin/api-keys`: API keys, in Faxbot's shape.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, delete, get, id, json, post};
use crate::access::UnknownName;
use crate::access::cidr::Cidr;
use crate::access::kind::{Kind, Limits};
use crate::access::origin::Origin;
use crate::access::resources::Resources;
use crate::access::scopes::{Scope, ScopeSet};
use crate::access::token::KeyId;
use crate::app::App;
use crate::auth::{KeyView, NewKey, Revocation};
use crate::http::body::object;
use crate::http::error::{ApiError, KEY_NOT_FOUND, NAME_REQUIRED, ProblemBody};
use crate::http::request::{Permitted, Request};

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let create = warp::path!("admin" / "api-keys").and(post(app)).then(|request| answer(create(request)));
    let list = warp::path!("admin" / "api-keys").and(get(app)).then(|request| answer(list(request)));
    let show = warp::path!("admin" / "api-keys" / KeySegment)
        .and(get(app))
        .then(|id, request| answer(show(id, request)));
    let revoke = warp::path!("admin" / "api-keys" / KeySegment)
        .and(delete(app))
        .then(|id, request| answer(revoke(id, request)));
    let rotate = warp::path!("admin" / "api-keys" / String / "rotate")
        .and(post(app))
        .then(|id, request| answer(rotate(id, request)));
    create.or(list).unify().or(show).unify().or(revoke).unify().or(rotate).unify().boxed()
}

/// The part of a path that names a key; not that of an address of its own beside them.
pub(in crate::http) struct KeySegment(pub(super) String);

impl FromStr for KeySegment {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "safety" { Err(()) } else { Ok(Self(text.to_owned())) }
    }
}

/// What a new key shall be.
#[derive(Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
#[schema(example = json!({"name": "Ward 3", "scopes": ["fax:send", "fax:read"], "recoverable": true}))]
pub(in crate::http) struct CreateKey {
    /// What the key is for
    name: String,
    /// Account it belongs to; a service account of this name is made when there is none
    owner: Option<String>,
    /// For instance `fax:send`; by default sending, reading and cancelling faxes, listing and reading the inbox
    scopes: Option<Vec<String>>,
    /// `production` (default), `development` or `restricted`
    kind: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    note: Option<String>,
    /// Addresses it works from, in CIDR form; everywhere when empty
    ip_allow: Vec<String>,
    /// What it may reach: `to_prefixes`, `all_jobs`
    #[serde(deserialize_with = "object")]
    #[schema(value_type = Option<Object>)]
    resources: Option<Resources>,
    /// Web origins it is used from, like `https://app.example.org`; for restricted keys
    allowed_origins: Vec<String>,
    /// `per_minute`, `per_hour`, `pages_per_day`, `new_destinations_per_day`; those of its kind where there is none
    #[serde(deserialize_with = "object")]
    #[schema(value_type = Option<Object>)]
    limits: Option<Limits>,
    /// Whether its token can be shown again; it is kept sealed
    recoverable: bool,
}

/// A new key; the only answer its token is in.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CreatedKey {
    key_id: String,
    /// Shown once.
    token: String,
    #[serde(flatten)]
    key: ApiKeyDetails,
}

/// One key, without its secret.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ApiKey {
    key_id: String,
    #[serde(flatten)]
    key: ApiKeyDetails,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ApiKeyDetails {
    name: String,
    owner: String,
    scopes: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    note: Option<String>,
    kind: String,
    /// `active`, `disabled`, `revoked`, `expired` or `owner_disabled`
    status: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    #[schema(value_type = Object)]
    resources: Resources,
    ip_allow: Vec<String>,
    allowed_origins: Vec<String>,
    /// In force: its own, else those of its kind.
    #[schema(value_type = Object)]
    limits: Limits,
    recoverable: bool,
    created_by: String,
    last_used_ip: Option<String>,
    use_count: u64,
    revoked_reason: Option<String>,
    /// End of the old secret's grace after a rotation.
    #[schema(value_type = Option<String>, format = DateTime)]
    previous_valid_until: Option<Timestamp>,
    /// When the secret in force was last used.
    #[schema(value_type = Option<String>, format = DateTime)]
    current_last_used_at: Option<Timestamp>,
    /// When the old secret was last used, while its grace lasts.
    #[schema(value_type = Option<String>, format = DateTime)]
    previous_last_used_at: Option<Timestamp>,
}

impl From<&KeyView> for ApiKey {
    fn from(view: &KeyView) -> Self {
        Self { key_id: view.record.id.to_string(), key: ApiKeyDetails::from(view) }
    }
}

impl From<&KeyView> for ApiKeyDetails {
    fn from(view: &KeyView) -> Self {
        let record = &view.record;
        Self {
            name: record.name.clone(),
            owner: view.owner_name.clone(),
            scopes: record.scopes.names(),
            created_at: record.created_at,
            last_used_at: record.last_used_at,
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
            note: record.note.clone(),
            kind: record.kind.to_string(),
            status: view.status.to_string(),
            not_before: record.not_before,
            resources: record.resources.clone(),
            ip_allow: record.ip_allow.iter().map(ToString::to_string).collect(),
            allowed_origins: record.allowed_origins.iter().map(ToString::to_string).collect(),
            limits: record.limits_in_force(),
            recoverable: record.recoverable,
            created_by: record.created_by.clone(),
            last_used_ip: record.last_used_ip.map(|address| address.to_string()),
            use_count: record.use_count,
            revoked_reason: record.revoked_reason.clone(),
            previous_valid_until: view.previous_valid_until,
            current_last_used_at: view.current_last_used_at,
            previous_last_used_at: view.previous_last_used_at,
        }
    }
}

/// Make a key
///
/// A key makes keys only within itself: within its scopes, resources, addresses, limits and end. What
/// is left out is bounded as the maker is; so a key that an admin key makes without `expires_at` ends
/// when the admin key does. Keys without an end are made on the appliance, by `pagewire keys create`.
#[utoipa::path(post, path = "/admin/api-keys", tag = "keys", security(("api_key" = ["keys:manage"])),
    request_body = CreateKey,
    responses((status = 200, body = CreatedKey), (status = 400, description = "No name", body = ProblemBody),
        (status = 422, description = "A field cannot be used; what is allowed is said", body = ProblemBody)))]
pub(in crate::http) async fn create(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysManage).await?;
    let body: CreateKey = request.body()?.json().await?;
    if body.name.trim().is_empty() {
        return Err(ApiError::new(&NAME_REQUIRED, "A key needs a 'name' that tells what it is for."));
    }
    let new = NewKey {
        name: body.name,
        note: body.note,
        kind: kind(body.kind.as_deref())?,
        owner: body.owner,
        scopes: body.scopes.map(|names| scopes(&names)).transpose()?,
        resources: body.resources.unwrap_or_default(),
        ip_allow: networks(&body.ip_allow)?,
        allowed_origins: origins(&body.allowed_origins)?,
        limits: body.limits.unwrap_or_default(),
        recoverable: body.recoverable,
        not_before: body.not_before,
        expires_at: body.expires_at,
    };
    let (token, record) = request.app.keys().create(new, &request.caller.actor()).await?;
    let view = view_of(&request, &record.id)?;
    let created = CreatedKey {
        key_id: record.id.to_string(),
        token: token.text().reveal().clone(),
        key: ApiKeyDetails::from(&view),
    };
    json(StatusCode::OK, &created)
}

/// All keys, newest first
#[utoipa::path(get, path = "/admin/api-keys", tag = "keys", security(("api_key" = ["keys:read"])),
    responses((status = 200, body = Vec<ApiKey>)))]
pub(in crate::http) async fn list(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysRead).await?;
    let keys = request.app.keys().list();
    let seen = keys.iter().filter(|view| request.caller.sees(view.record.owner));
    json(StatusCode::OK, &seen.map(ApiKey::from).collect::<Vec<_>>())
}

/// One key
#[utoipa::path(get, path = "/admin/api-keys/{id}", tag = "keys", params(("id" = String, Path,)),
    security(("api_key" = ["keys:read"])),
    responses((status = 200, body = ApiKey), (status = 404, description = "No such key", body = ProblemBody)))]
pub(in crate::http) async fn show(id: KeySegment, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysRead).await?;
    json(StatusCode::OK, &ApiKey::from(&own_key(&request, &id.0)?))
}

/// Why a key ends.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct RevokeKey {
    /// Why; `compromised` always holds the key's faxes
    reason: Option<String>,
    /// Whether faxes that are not being sent yet are held, until an administrator releases them
    hold_faxes: bool,
}

/// What the end of a key brought with it.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RevokedKey {
    /// Always `ok`.
    status: &'static str,
    /// Faxes that are held now.
    held_faxes: usize,
}

/// End a key for good
///
/// No request that starts after the answer is let in with it.
#[utoipa::path(delete, path = "/admin/api-keys/{id}", tag = "keys", params(("id" = String, Path,)),
    security(("api_key" = ["keys:manage"])), request_body = Option<RevokeKey>,
    responses((status = 200, body = RevokedKey), (status = 404, description = "No such key", body = ProblemBody),
        (status = 422, description = "A field cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn revoke(id: KeySegment, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysManage).await?;
    let view = own_key(&request, &id.0)?;
    let body: RevokeKey = request.body()?.json().await?;
    let revocation = Revocation { reason: body.reason, hold_faxes: body.hold_faxes, ..Revocation::default() };
    let revoked = request.app.keys().revoke(&view.record.id, revocation, &request.caller.actor()).await?;
    request.app.queue().moved_elsewhere(&revoked.held);
    json(StatusCode::OK, &RevokedKey { status: "ok", held_faxes: revoked.held.len() })
}

/// How to change a key's secret.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"grace_seconds": 3600}))]
pub(in crate::http) struct RotateKey {
    /// Seconds the old secret keeps working, up to 7 days
    grace_seconds: u64,
}

/// The new secret.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RotatedKey {
    key_id: String,
    /// Shown once.
    token: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    previous_valid_until: Option<Timestamp>,
}

/// Give a key a new secret
#[utoipa::path(post, path = "/admin/api-keys/{id}/rotate", tag = "keys", params(("id" = String, Path,)),
    security(("api_key" = ["keys:manage"])), request_body = Option<RotateKey>,
    responses((status = 200, body = RotatedKey), (status = 404, description = "No such key", body = ProblemBody),
        (status = 409, description = "The key was revoked", body = ProblemBody),
        (status = 422, description = "The grace is too long", body = ProblemBody)))]
pub(in crate::http) async fn rotate(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysManage).await?;
    let view = own_key(&request, &id)?;
    let body: RotateKey = request.body()?.json().await?;
    let grace = Duration::from_secs(body.grace_seconds);
    let rotated = request.app.keys().rotate(&view.record.id, grace, &request.caller.actor()).await?;
    let answer = RotatedKey {
        key_id: view.record.id.to_string(),
        token: rotated.token.text().reveal().clone(),
        previous_valid_until: rotated.previous_valid_until,
    };
    json(StatusCode::OK, &answer)
}

/// The key with this id, when the sender may see it.
pub(super) fn own_key(request: &Permitted, text: &str) -> Result<KeyView, ApiError> {
    let missing = || ApiError::new(&KEY_NOT_FOUND, "No API key with this id.");
    let id: KeyId = id(text, missing)?;
    let view = view_of(request, &id)?;
    if request.caller.sees(view.record.owner) { Ok(view) } else { Err(missing()) }
}

pub(super) fn view_of(request: &Permitted, id: &KeyId) -> Result<KeyView, ApiError> {
    request.app.keys().get(id).ok_or_else(|| ApiError::new(&KEY_NOT_FOUND, "No API key with this id."))
}

fn kind(name: Option<&str>) -> Result<Kind, ApiError> {
    let Some(name) = name else { return Ok(Kind::Production) };
    name.parse().map_err(|error: UnknownName| ApiError::field("kind", "unknown_kind", error.to_string()))
}

pub(super) fn scopes(names: &[String]) -> Result<ScopeSet, ApiError> {
    ScopeSet::parse(names).map_err(|error| ApiError::field("scopes", "unknown_scope", error.to_string()))
}

pub(super) fn networks(texts: &[String]) -> Result<Vec<Cidr>, ApiError> {
    each(texts, "ip_allow")
}

pub(super) fn origins(texts: &[String]) -> Result<Vec<Origin>, ApiError> {
    each(texts, "allowed_origins")
}

fn each<T: FromStr<Err: Display>>(texts: &[String], field: &str) -> Result<Vec<T>, ApiError> {
    let refused = |error: T::Err| ApiError::field(field, "invalid", format!("'{field}': {error}."));
    texts.iter().map(|text| text.parse().map_err(refused)).collect()
}
