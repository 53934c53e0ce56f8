//! `/fax/{id}/attempts`: every call of a fax, and what the machines said to each other.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::fax::watched_job;
use super::fax_view::OutcomeView;
use super::{answer, get, json};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::fax::attempt::{Attempt, Direction, PageConfirmation, TraceEntry};
use crate::fax::number::masked_in;
use crate::http::error::{ApiError, FAX_NOT_FOUND, ProblemBody};
use crate::http::request::Request;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let list =
        warp::path!("fax" / String / "attempts").and(get(app)).then(|id, request| answer(list(id, request)));
    let trace = warp::path!("fax" / String / "attempts" / String / "trace")
        .and(get(app))
        .then(|id, number, request| answer(trace(id, number, request)));
    list.or(trace).unify().boxed()
}

/// One call.
#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(in crate::http) struct AttemptView {
    /// 1, 2, 3 … within the fax.
    number: u32,
    route: String,
    /// `t38`, `audio` or `loopback`; null when nobody answered.
    transport: Option<String>,
    /// The page it began with.
    first_page: u32,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    answered_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// What the other machine calls itself; a number in it is masked for viewers.
    remote_station_id: Option<String>,
    /// bit/s; where no speed could be agreed on, the highest that was tried.
    bit_rate: Option<u32>,
    /// Whether error correction was on.
    ecm: Option<bool>,
    /// Pages confirmed in this call.
    pages: Vec<PageView>,
    /// How it ended; null while it is under way.
    outcome: Option<OutcomeView>,
}

/// One confirmed page.
#[derive(Serialize, ToSchema)]
#[schema(as = ConfirmedPage)]
pub(in crate::http) struct PageView {
    /// Page of the document, from 1.
    page: u32,
    #[schema(value_type = String, format = DateTime)]
    confirmed_at: Timestamp,
    bytes: u64,
    duration_ms: u64,
}

/// One rung of the ladder.
#[derive(Serialize, ToSchema)]
#[schema(as = TraceEntry)]
pub(in crate::http) struct RungView {
    /// Milliseconds since dialling began.
    at_ms: u64,
    /// `sent` or `received`.
    direction: &'static str,
    /// T.30 signal, `page n`, or a call event.
    frame: String,
    note: Option<String>,
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> Self {
        Self {
            number: attempt.number,
            route: attempt.route.clone(),
            transport: attempt.carriage.transport.clone(),
            first_page: attempt.first_page,
            started_at: attempt.started_at,
            answered_at: attempt.answered_at,
            ended_at: attempt.ended_at,
            remote_station_id: attempt.remote_station_id.clone(),
            bit_rate: attempt.carriage.bit_rate,
            ecm: attempt.carriage.ecm,
            pages: attempt.pages.iter().map(PageView::from).collect(),
            outcome: attempt.outcome.as_ref().map(OutcomeView::from),
        }
    }
}

impl From<&PageConfirmation> for PageView {
    fn from(page: &PageConfirmation) -> Self {
        Self {
            page: page.page,
            confirmed_at: page.confirmed_at,
            bytes: page.bytes,
            duration_ms: page.duration_ms,
        }
    }
}

impl From<TraceEntry> for RungView {
    fn from(entry: TraceEntry) -> Self {
        let direction = match entry.direction {
            Direction::Sent => "sent",
            Direction::Received => "received",
        };
        Self { at_ms: entry.at_ms, direction, frame: entry.frame, note: entry.note }
    }
}

/// Every call of a fax, oldest first
#[utoipa::path(get, path = "/fax/{id}/attempts", tag = "fax", params(("id" = String, Path,)),
    security(("api_key" = ["fax:read"])),
    responses((status = 200, body = Vec<AttemptView>), (status = 404, description = "No such fax", body = ProblemBody)))]
pub(in crate::http) async fn list(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxRead).await?;
    let job = watched_job(&request, &id)?;
    let attempts = request.app.queue().attempts(job.id).await?;
    let mut views: Vec<_> = attempts.iter().map(AttemptView::from).collect();
    if !request.caller.sees_numbers() {
        for id in views.iter_mut().filter_map(|view| view.remote_station_id.as_mut()) {
            *id = masked_in(id);
        }
    }
    json(StatusCode::OK, &views)
}

/// What the two machines said in one call
#[utoipa::path(get, path = "/fax/{id}/attempts/{number}/trace", tag = "fax",
    params(("id" = String, Path,), ("number" = u32, Path,)), security(("api_key" = ["fax:read"])),
    responses((status = 200, body = Vec<RungView>), (status = 404, description = "No such call", body = ProblemBody)))]
pub(in crate::http) async fn trace(
    id: String,
    number: String,
    request: Request,
) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxRead).await?;
    let job = watched_job(&request, &id)?;
    let missing = || ApiError::new(&FAX_NOT_FOUND, "This fax has no such attempt.");
    let number = number.parse().map_err(|_| missing())?;
    let trace = request.app.queue().trace(job.id, number).await?.ok_or_else(missing)?;
    let mut rungs: Vec<_> = trace.into_iter().map(RungView::from).collect();
    if !request.caller.sees_numbers() {
        for note in rungs.iter_mut().filter_map(|rung| rung.note.as_mut()) {
            *note = masked_in(note);
        }
    }
    json(StatusCode::OK, &rungs)
}
