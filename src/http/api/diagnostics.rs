//! `/admin/diagnostics/api-auth`: what became of presented keys, and why.
//!
//! Administrators see all; others see the keys of their own account, and nothing of requests that
//! named no key.

use std::convert::Infallible;
use std::net::IpAddr;

use futures_util::{Stream, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::sse::Event;

use super::{answer, get, json, query};
use crate::access::UnknownName;
use crate::access::outcome::Outcome;
use crate::access::scopes::Scope;
use crate::access::token::KeyId;
use crate::app::App;
use crate::auth::Caller;
use crate::auth::diagnostics::{Attempt, AttemptFilter, Group};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::request::{Permitted, Request, still_stands};

/// Rows when none are asked for; also the most single attempts there are.
const DEFAULT_ROWS: usize = 200;
/// Most groups of one answer: a table a person can still search.
const MOST_ROWS: usize = 1000;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let show = warp::path!("admin" / "diagnostics" / "api-auth")
        .and(get(app))
        .then(|request| answer(api_auth(request)));
    let live = warp::path!("admin" / "diagnostics" / "api-auth" / "stream")
        .and(get(app))
        .then(|request| answer(api_auth_stream(request)));
    show.or(live).unify().boxed()
}

/// Which attempts to show.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct AttemptsQuery {
    /// For instance `bad_secret` or `rate_limited`
    outcome: Option<String>,
    /// Id of the key
    key_id: Option<String>,
    /// Address it came from
    address: Option<String>,
    /// Rows of each list, 1 to 1000; 200 by default
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// What became of presented keys since the appliance was started.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ApiAuth {
    /// The last 200 refusals one by one, and the last success of each key; newest first.
    recent: Vec<AuthAttempt>,
    /// Everything, by outcome, key and address (successes: by key); those that grew last come first.
    groups: Vec<AuthGroup>,
}

/// One presented key, or the lack of one.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AuthAttempt {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `ok`, or what was wrong
    outcome: &'static str,
    /// The key, when its token was written right.
    key_id: Option<String>,
    address: Option<String>,
}

/// Attempts that are alike.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AuthGroup {
    /// `ok`, or what was wrong
    outcome: &'static str,
    /// The key, when its token was written right.
    key_id: Option<String>,
    /// Where they came from; of successes, the last one.
    address: Option<String>,
    count: u64,
    #[schema(value_type = String, format = DateTime)]
    first: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last: Timestamp,
    /// What to do about it, in a sentence.
    remedy: &'static str,
    /// When the key's present secret was seen in the address of a request.
    #[schema(value_type = Option<String>, format = DateTime)]
    seen_in_url_at: Option<Timestamp>,
}

impl From<&Attempt> for AuthAttempt {
    fn from(attempt: &Attempt) -> Self {
        Self {
            at: attempt.at,
            outcome: attempt.outcome.as_str(),
            key_id: attempt.key.map(|key| key.to_string()),
            address: attempt.address.map(|address| address.to_string()),
        }
    }
}

impl AuthGroup {
    fn new(group: &Group, app: &App) -> Self {
        Self {
            outcome: group.last.outcome.as_str(),
            key_id: group.last.key.map(|key| key.to_string()),
            address: group.last.address.map(|address| address.to_string()),
            count: group.count,
            first: group.first,
            last: group.last.at,
            remedy: group.last.outcome.remedy(),
            seen_in_url_at: group.last.key.and_then(|key| app.keys().exposed_at(&key)),
        }
    }
}

/// What became of presented keys, and what to do about it
#[utoipa::path(get, path = "/admin/diagnostics/api-auth", tag = "diagnostics", params(AttemptsQuery),
    security(("api_key" = ["diagnostics:read"])),
    responses((status = 200, body = ApiAuth),
        (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn api_auth(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::DiagnosticsRead).await?;
    let (filter, limit) = asked(&request)?;
    let report = request.app.keys().attempts(&filter, limit);
    let body = ApiAuth {
        recent: report.recent.iter().map(AuthAttempt::from).collect(),
        groups: report.groups.iter().map(|group| AuthGroup::new(group, &request.app)).collect(),
    };
    json(StatusCode::OK, &body)
}

/// The same as it happens: each refusal, and of each key at most one success a second
///
/// Server-sent events named `attempt`. Takes the same filters; ends when the key it was asked with
/// ends, or the appliance stops.
#[utoipa::path(get, path = "/admin/diagnostics/api-auth/stream", tag = "diagnostics", params(AttemptsQuery),
    security(("api_key" = ["diagnostics:read"])),
    responses((status = 200, content_type = "text/event-stream", body = String),
        (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn api_auth_stream(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::DiagnosticsRead).await?;
    let (filter, _) = asked(&request)?;
    let attempts = live(request.app, request.caller, filter);
    Ok(warp::sse::reply(warp::sse::keep_alive().stream(attempts)).into_response())
}

fn live(
    app: App,
    caller: Caller,
    filter: AttemptFilter,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let viewer = app.keys().watch_attempts();
    stream::unfold((app, caller, viewer), move |(app, caller, mut viewer)| async move {
        loop {
            let attempt = tokio::select! {
                attempt = viewer.next() => attempt?,
                () = app.stopped() => return None,
            };
            if !still_stands(&app, &caller) {
                return None;
            }
            if filter.matches(&attempt)
                && let Ok(event) = Event::default().event("attempt").json_data(AuthAttempt::from(&attempt))
            {
                return Some((Ok(event), (app, caller, viewer)));
            }
        }
    })
}

fn asked(request: &Permitted) -> Result<(AttemptFilter, usize), ApiError> {
    let asked: AttemptsQuery = query(request.query())?;
    let outcome = asked.outcome.map(|name| name.parse::<Outcome>()).transpose();
    let unknown = |error: UnknownName| ApiError::field("outcome", "unknown_outcome", error.to_string());
    let key = asked.key_id.map(|id| id.parse::<KeyId>()).transpose();
    let address = asked.address.map(|text| text.parse::<IpAddr>()).transpose();
    let limit = match asked.limit.unwrap_or(DEFAULT_ROWS) {
        rows @ 1..=MOST_ROWS => rows,
        _ => return Err(ApiError::field("limit", "out_of_range", "'limit' must be from 1 to 1000.")),
    };
    let filter = AttemptFilter {
        outcome: outcome.map_err(unknown)?,
        key: key.map_err(|_| ApiError::field("key_id", "invalid", "'key_id' must be 12 hex digits."))?,
        address: address
            .map_err(|_| {
                ApiError::field("address", "invalid", "'address' must be an IP address, like 192.168.1.40.")
            })?
            .map(|address| address.to_canonical()),
        owner: (!request.caller.administrates()).then_some(request.caller.owner),
    };
    Ok((filter, limit))
}
