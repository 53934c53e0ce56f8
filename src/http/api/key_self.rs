//! `/v1/key`: what the presented key is, may do and has left.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, get, json};
use crate::access::kind::Limits;
use crate::access::resources::Resources;
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::request::Request;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "key").and(get(app)).then(|request| answer(show(request))).boxed()
}

/// The presented key.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PresentedKey {
    /// Null for the bootstrap key, which is in no list, and in a session.
    key_id: Option<String>,
    name: String,
    kind: Option<String>,
    /// `live`, or `test`: its faxes go to the simulator
    mode: String,
    /// Name of the account it acts for.
    owner: String,
    owner_id: String,
    /// Role of that account.
    role: String,
    /// What it may do now: its own scopes, as far as the role of its owner allows them.
    scopes: Vec<String>,
    #[schema(value_type = Object)]
    resources: Resources,
    ip_allow: Vec<String>,
    /// In force: its own, else those of its kind; empty for the bootstrap key, which has none.
    #[schema(value_type = Object)]
    limits: Limits,
    /// Null for the bootstrap key.
    left: Option<RequestsLeft>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    status: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// End of the old secret's grace after a rotation.
    #[schema(value_type = Option<String>, format = DateTime)]
    previous_valid_until: Option<Timestamp>,
}

/// Requests the key has left.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RequestsLeft {
    /// In this minute, after this request.
    minute: u32,
    /// In this hour, after this request.
    hour: u32,
}

/// What the presented key is, may do and has left
///
/// Any key that works may ask, whatever its scopes.
#[utoipa::path(get, path = "/v1/key", tag = "keys", security(("api_key" = [])),
    responses((status = 200, body = PresentedKey)))]
pub(in crate::http) async fn show(request: Request) -> Result<Response, ApiError> {
    let request = request.permit_any_key().await?;
    let (keys, caller) = (request.app.keys(), &request.caller);
    let view = caller.key_id.as_ref().and_then(|id| keys.get(id));
    let record = view.as_ref().map(|view| &view.record);
    let ceiling = request.app.config().max_requests_per_minute;
    let left = record.and_then(|record| keys.left(record, ceiling));
    let shown = PresentedKey {
        key_id: record.map(|record| record.id.to_string()),
        name: record.map_or_else(|| caller.label(), |record| record.name.clone()),
        kind: record.map(|record| record.kind.to_string()),
        mode: caller.mode.to_string(),
        owner: keys.account(caller.owner).map_or_else(|| caller.label(), |owner| owner.name),
        owner_id: caller.owner.to_string(),
        role: caller.role.to_string(),
        scopes: caller.scopes.names(),
        resources: record.map(|record| record.resources.clone()).unwrap_or_default(),
        ip_allow: record
            .map_or_else(Vec::new, |record| record.ip_allow.iter().map(ToString::to_string).collect()),
        limits: record.map(|record| record.limits_in_force()).unwrap_or_default(),
        left: left.map(|left| RequestsLeft { minute: left.in_minute, hour: left.in_hour }),
        expires_at: record.and_then(|record| record.expires_at),
        status: view.as_ref().map_or_else(|| "active".to_owned(), |view| view.status.to_string()),
        created_at: record.map(|record| record.created_at),
        last_used_at: record.and_then(|record| record.last_used_at),
        previous_valid_until: view.as_ref().and_then(|view| view.previous_valid_until),
    };
    json(StatusCode::OK, &shown)
}
