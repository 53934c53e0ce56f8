//! `/admin/dialling`, `/admin/pause` and `/admin/resume`: whether calls may begin.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::admin_policy::one_line;
use super::{answer, get, json, post};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::fax::sentences;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::request::{Permitted, Request};
use crate::queue::DiallingState;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let show = warp::path!("admin" / "dialling").and(get(app)).then(|request| answer(show(request)));
    let pause = warp::path!("admin" / "pause").and(post(app)).then(|request| answer(pause(request)));
    let resume = warp::path!("admin" / "resume").and(post(app)).then(|request| answer(resume(request)));
    show.or(pause).unify().or(resume).unify().boxed()
}

/// Whether calls may begin.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DiallingView {
    paused: bool,
    /// What keeps calls from beginning; empty when nothing does.
    holds: Vec<HoldView>,
    /// Calls under way; a pause lets them finish.
    calls: usize,
    /// Calls begun over telephone lines in this hour (UTC).
    dials_this_hour: u32,
    dials_per_hour: u32,
    /// Minutes of the calls begun over telephone lines on this day (UTC).
    line_minutes_today: u64,
    line_minutes_per_day: u32,
}

/// What keeps calls from beginning.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct HoldView {
    /// `paused`, `dials` or `line_minutes`; the last two concern telephone lines only
    cause: &'static str,
    /// What it is, for a person.
    sentence: String,
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// When it ends by itself; null for a pause.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    by: String,
    reason: Option<String>,
}

/// Whether calls may begin, and what they have cost
#[utoipa::path(get, path = "/admin/dialling", tag = "admin", security(("api_key" = ["settings:read"])),
    responses((status = 200, body = DiallingView)))]
pub(in crate::http) async fn show(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsRead).await?;
    state(&request)
}

/// Why dialling is paused.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct Pause {
    /// Why, in one sentence
    reason: Option<String>,
}

/// Stop all dialling
///
/// On every route and over restarts, until somebody resumes. Calls under way finish; faxes are taken
/// in and wait, and their deadlines wait with them. Pausing twice changes nothing.
#[utoipa::path(post, path = "/admin/pause", tag = "admin", security(("api_key" = ["settings:write"])),
    request_body = Option<Pause>,
    responses((status = 200, body = DiallingView), (status = 422, description = "The reason cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn pause(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsWrite).await?;
    let body: Pause = request.body()?.json().await?;
    let reason = body.reason.as_deref().map(|text| one_line(Some(text))).transpose()?;
    request.app.queue().pause(reason, &request.audit_context()).await?;
    state(&request)
}

/// Go on dialling
#[utoipa::path(post, path = "/admin/resume", tag = "admin", security(("api_key" = ["settings:write"])),
    responses((status = 200, body = DiallingView)))]
pub(in crate::http) async fn resume(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsWrite).await?;
    request.app.queue().resume(&request.audit_context()).await?;
    state(&request)
}

impl DiallingView {
    /// How dialling stands, for a person.
    pub(super) fn new(state: &DiallingState) -> Self {
        let holds = state.dialling.holds.iter().map(|hold| HoldView {
            cause: hold.cause.as_str(),
            sentence: sentences::held(hold, state.dialling.limits),
            since: hold.since,
            until: hold.until,
            by: hold.by.clone(),
            reason: hold.reason.clone(),
        });
        Self {
            paused: state.dialling.pause().is_some(),
            holds: holds.collect(),
            calls: state.calls,
            dials_this_hour: state.spent.dials,
            dials_per_hour: state.dialling.limits.dials_per_hour,
            line_minutes_today: state.spent.line_ms / 60_000,
            line_minutes_per_day: state.dialling.limits.line_minutes_per_day,
        }
    }
}

fn state(request: &Permitted) -> Result<Response, ApiError> {
    json(StatusCode::OK, &DiallingView::new(&request.app.queue().dialling_state()?))
}
