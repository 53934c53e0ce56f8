//! `/api-keys`: the keys of the sender's own account, in FonProxy's shape.
//!
//! Owns: that shape, in camelCase with a `message` for each change. Refuses: to see or touch a key of
//! any other account, whatever the sender may do elsewhere. A deleted key is a revoked one that left
//! this list; its id is never used again.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::admin_keys::{scopes, view_of};
use super::{answer, delete, get, id, json, patch, post};
use crate::access::kind::{Kind, Mode};
use crate::access::records::{KeyRecord, Standing};
use crate::access::scopes::Scope;
use crate::access::token::KeyId;
use crate::app::App;
use crate::auth::{AuthError, KeyView, NewKey, Revocation};
use crate::http::error::{ApiError, KEY_NOT_FOUND, NAME_REQUIRED, ProblemBody};
use crate::http::request::{Permitted, Request};

/// Characters of a date without a time, like `2027-01-31`.
const DATE_LEN: usize = 10;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let create = warp::path!("api-keys").and(post(app)).then(|request| answer(create(request)));
    let list = warp::path!("api-keys").and(get(app)).then(|request| answer(list(request)));
    let reveal = warp::path!("api-keys" / String / "key")
        .and(get(app))
        .then(|id, request| answer(reveal(id, request)));
    let revoke = warp::path!("api-keys" / String / "revoke")
        .and(patch(app))
        .then(|id, request| answer(revoke(id, request)));
    let remove =
        warp::path!("api-keys" / String).and(delete(app)).then(|id, request| answer(remove(id, request)));
    create.or(list).unify().or(reveal).unify().or(revoke).unify().or(remove).unify().boxed()
}

/// What a new key of one's own shall be.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(example = json!({"name": "Scanner", "recoverable": true}))]
pub(in crate::http) struct CreateOwnKey {
    /// What the key is for
    #[schema(required = true, nullable = false)]
    name: Option<String>,
    /// A time, or a date, which means the end of that day in UTC
    expires_at: Option<String>,
    /// For instance `fax:send`; by default what one may do oneself, without administration, and the
    /// management of one's own keys
    scopes: Option<Vec<String>>,
    /// Whether its token can be shown again; it is kept sealed
    #[serde(default)]
    recoverable: bool,
}

/// One key of one's own.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct OwnKey {
    id: String,
    name: String,
    /// The beginning of its token.
    prefix: String,
    /// The token, in the answer that makes it; null elsewhere.
    key: Option<String>,
    is_active: bool,
    #[schema(format = DateTime)]
    last_access_at: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

impl OwnKey {
    fn new(view: &KeyView, key: Option<String>) -> Self {
        let record = &view.record;
        Self {
            id: record.id.to_string(),
            name: record.name.clone(),
            prefix: prefix(record),
            key,
            is_active: view.status == Standing::Active,
            last_access_at: record.last_used_at.map(milliseconds),
            expires_at: record.expires_at.map(milliseconds),
            created_at: milliseconds(record.created_at),
        }
    }
}

/// A new key of one's own; the only answer its token is in, unless it was made recoverable.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct CreatedOwnKey {
    api_key: OwnKey,
    /// Always `api_key.created`.
    message: &'static str,
}

/// The keys of one's own.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct OwnKeys {
    /// Newest first.
    api_keys: Vec<OwnKey>,
}

/// The token of one key.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RevealedOwnKey {
    id: String,
    /// Null when the token is not kept, or not to be shown.
    key: Option<String>,
}

/// That it was done.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OwnKeyMessage {
    /// `api_key.revoked` or `api_key.deleted`.
    message: &'static str,
}

/// Make a key of one's own
#[utoipa::path(post, path = "/api-keys", tag = "own keys", security(("api_key" = ["keys:manage"])),
    request_body = CreateOwnKey,
    responses((status = 201, body = CreatedOwnKey), (status = 400, description = "No name", body = ProblemBody),
        (status = 422, description = "A field cannot be used; what is allowed is said", body = ProblemBody)))]
pub(in crate::http) async fn create(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysManage).await?;
    let body: CreateOwnKey = request.body()?.json().await?;
    let Some(name) = body.name.filter(|name| !name.trim().is_empty()) else {
        return Err(ApiError::new(&NAME_REQUIRED, "A key needs a 'name' that tells what it is for."));
    };
    let scopes = match body.scopes {
        Some(names) => scopes(&names)?,
        None => request.caller.own_rights(),
    };
    let new = NewKey {
        name,
        kind: match request.caller.mode {
            Mode::Live => Kind::Production,
            Mode::Test => Kind::Development,
        },
        scopes: Some(scopes),
        recoverable: body.recoverable,
        expires_at: body.expires_at.as_deref().map(end).transpose()?,
        ..NewKey::default()
    };
    let made = request.app.keys().create(new, &request.caller.actor()).await;
    let (token, record) = made.map_err(in_camel_case)?;
    let view = view_of(&request, &record.id)?;
    let api_key = OwnKey::new(&view, Some(token.text().reveal().clone()));
    json(StatusCode::CREATED, &CreatedOwnKey { api_key, message: "api_key.created" })
}

/// The keys of one's own, newest first
#[utoipa::path(get, path = "/api-keys", tag = "own keys", security(("api_key" = ["keys:read"])),
    responses((status = 200, body = OwnKeys)))]
pub(in crate::http) async fn list(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysRead).await?;
    let keys = request.app.keys().list();
    let own = keys.iter().filter(|view| is_listed(&request, view));
    json(StatusCode::OK, &OwnKeys { api_keys: own.map(|view| OwnKey::new(view, None)).collect() })
}

/// Show the token of a key of one's own
#[utoipa::path(get, path = "/api-keys/{id}/key", tag = "own keys", params(("id" = String, Path,)),
    security(("api_key" = ["keys:reveal"])),
    responses((status = 200, body = RevealedOwnKey),
        (status = 404, description = "No such key of one's own", body = ProblemBody)))]
pub(in crate::http) async fn reveal(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysReveal).await?;
    let id = own(&request, &id)?;
    let key = match request.app.keys().reveal(&id, &request.caller.actor()).await {
        Ok(token) => Some(token.reveal().clone()),
        Err(AuthError::NotRecoverable(_) | AuthError::State(_)) => None,
        Err(error) => return Err(error.into()),
    };
    json(StatusCode::OK, &RevealedOwnKey { id: id.to_string(), key })
}

/// Why a key of one's own ends.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct EndOwnKey {
    /// Why, for the records; `compromised` holds the key's faxes
    reason: Option<String>,
}

/// End a key of one's own for good
///
/// No request that starts after the answer is let in with it. It stays in the list.
#[utoipa::path(patch, path = "/api-keys/{id}/revoke", tag = "own keys", params(("id" = String, Path,)),
    security(("api_key" = ["keys:manage"])), request_body = Option<EndOwnKey>,
    responses((status = 200, body = OwnKeyMessage),
        (status = 404, description = "No such key of one's own", body = ProblemBody),
        (status = 422, description = "The reason cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn revoke(id: String, request: Request) -> Result<Response, ApiError> {
    end_key(&id, request, false, "api_key.revoked").await
}

/// End a key of one's own for good, and take it off the list
#[utoipa::path(delete, path = "/api-keys/{id}", tag = "own keys", params(("id" = String, Path,)),
    security(("api_key" = ["keys:manage"])), request_body = Option<EndOwnKey>,
    responses((status = 200, body = OwnKeyMessage),
        (status = 404, description = "No such key of one's own", body = ProblemBody),
        (status = 422, description = "The reason cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn remove(id: String, request: Request) -> Result<Response, ApiError> {
    end_key(&id, request, true, "api_key.deleted").await
}

async fn end_key(
    id: &str,
    request: Request,
    hidden: bool,
    message: &'static str,
) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysManage).await?;
    let id = own(&request, id)?;
    let EndOwnKey { reason } = request.body()?.json().await?;
    let revocation = Revocation { reason, hidden, ..Revocation::default() };
    let revoked = request.app.keys().revoke(&id, revocation, &request.caller.actor()).await?;
    request.app.queue().moved_elsewhere(&revoked.held);
    json(StatusCode::OK, &OwnKeyMessage { message })
}

/// The id, when it is that of a key in the sender's list.
fn own(request: &Permitted, text: &str) -> Result<KeyId, ApiError> {
    let missing = || ApiError::new(&KEY_NOT_FOUND, "No API key with this id.");
    let id: KeyId = id(text, missing)?;
    if is_listed(request, &view_of(request, &id)?) { Ok(id) } else { Err(missing()) }
}

fn is_listed(request: &Permitted, view: &KeyView) -> bool {
    view.record.owner == request.caller.owner && !view.record.hidden
}

/// What is shown of a token everywhere: its kind, and the first digits of its id.
pub(super) fn prefix(record: &KeyRecord) -> String {
    let id = record.id.to_string();
    format!("fbk_{}_{}", record.kind.mode(), &id[..4])
}

/// As JavaScript writes times: with three digits of the second.
fn milliseconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// A time, or the last millisecond of a date.
fn end(text: &str) -> Result<Timestamp, ApiError> {
    let whole_day = || {
        let date: Date = text.parse().ok()?;
        let next = date.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?;
        next.timestamp().checked_sub(SignedDuration::from_millis(1)).ok()
    };
    let end = if text.len() == DATE_LEN { whole_day() } else { text.parse().ok() };
    end.ok_or_else(|| {
        let allowed = "'expiresAt' takes a date like 2027-01-31 or a time like 2027-01-31T12:00:00Z.";
        ApiError::field("expiresAt", "invalid", allowed)
    })
}

/// A refusal that names the field as this family does.
fn in_camel_case(error: AuthError) -> AuthError {
    match error {
        AuthError::Invalid { field: "expires_at", message } => {
            AuthError::Invalid { field: "expiresAt", message }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time_or_a_whole_day() {
        let cases = [
            ("2027-01-31", Some("2027-01-31T23:59:59.999Z")),
            ("2028-02-29", Some("2028-02-29T23:59:59.999Z")),
            ("2027-01-31T12:00:00Z", Some("2027-01-31T12:00:00.000Z")),
            ("2027-01-31T12:00:00.5+02:00", Some("2027-01-31T10:00:00.500Z")),
            ("2027-02-29", None),
            ("2027-01-31T12:00:00", None),
            ("tomorrow", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let end = end(text).map(milliseconds);
            assert_eq!(end.as_deref().ok(), expected, "{text:?}");
        }
    }
}
