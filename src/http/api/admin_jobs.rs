//! `/admin/fax-jobs`: all faxes, for administrators.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::fax::{own_job, pdf_of};
use super::fax_view::FaxView;
use super::{answer, get, json, post, query};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::fax::dialling::Dialling;
use crate::fax::job::{Job, PublicStatus, State};
use crate::http::error::{ApiError, CONFLICT, ProblemBody};
use crate::http::request::{Permitted, Request};
use crate::id::GroupId;
use crate::limits;
use crate::queue::{ListFilter, Position};

/// Rows of a page when none are asked for.
const DEFAULT_ROWS: u32 = 50;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let list = warp::path!("admin" / "fax-jobs").and(get(app)).then(|request| answer(list(request)));
    let show = warp::path!("admin" / "fax-jobs" / String)
        .and(get(app))
        .then(|id, request| answer(show(id, request)));
    let pdf = warp::path!("admin" / "fax-jobs" / String / "pdf")
        .and(get(app))
        .then(|id, request| answer(as_pdf(id, request)));
    let refresh = warp::path!("admin" / "fax-jobs" / String / "refresh")
        .and(post(app))
        .then(|id, request| answer(refresh(id, request)));
    let release = warp::path!("admin" / "fax-jobs" / String / "release")
        .and(post(app))
        .then(|id, request| answer(release(id, request)));
    let hold = warp::path!("admin" / "fax-jobs" / String / "hold")
        .and(post(app))
        .then(|id, request| answer(hold(id, request)));
    let verbs = refresh.or(release).unify().or(hold).unify().boxed();
    list.or(show).unify().or(pdf).unify().or(verbs).unify().boxed()
}

/// Filters of the list of all faxes.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct JobsQuery {
    /// `queued`, `in_progress`, `SUCCESS`, `FAILED`, or a precise state
    status: Option<String>,
    /// Route
    backend: Option<String>,
    /// API key it came by
    key_id: Option<String>,
    /// Group it is part of
    group: Option<String>,
    /// Beginning of the number, E.164
    q: Option<String>,
    /// Accepted at or after this time
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<jiff::Timestamp>,
    /// Accepted before this time
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<jiff::Timestamp>,
    /// Rows, 1 to 100; 50 by default
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// Rows to skip
    offset: Option<u32>,
    /// `next_cursor` of the page before; wins over `offset`
    cursor: Option<String>,
}

/// One fax in the list; Faxbot's keys first, then the whole fax.
#[derive(Serialize, ToSchema)]
#[schema(as = AdminFax)]
pub(in crate::http) struct AdminFax {
    /// The number that is dialled.
    to_number: String,
    #[serde(flatten)]
    fax: FaxView,
}

impl AdminFax {
    fn new(job: &Job, dialling: &Dialling) -> Self {
        Self { to_number: job.to.as_e164().to_owned(), fax: FaxView::new(job, dialling) }
    }

    fn answer(request: &Permitted, job: &Job) -> Result<Response, ApiError> {
        let fax = FaxView::for_sender(request, job)?;
        json(StatusCode::OK, &Self { to_number: job.to.as_e164().to_owned(), fax })
    }
}

/// One page of the list of all faxes.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AdminFaxList {
    /// How many match in all.
    total: u64,
    jobs: Vec<AdminFax>,
    /// Send as `cursor` to get the next page; null at the end.
    next_cursor: Option<String>,
}

/// All faxes, newest first
#[utoipa::path(get, path = "/admin/fax-jobs", tag = "admin", params(JobsQuery), security(("api_key" = ["admin"])),
    responses((status = 200, body = AdminFaxList), (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn list(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::Admin).await?;
    let asked: JobsQuery = query(request.query())?;
    let position = match (&asked.cursor, asked.offset) {
        (Some(text), _) => cursor(text)?,
        (None, Some(rows)) => Position::Offset(rows),
        (None, None) => Position::Start,
    };
    let limit = limit(asked.limit)?;
    let filter = ListFilter {
        states: asked.status.as_deref().map(states).transpose()?,
        route: asked.backend,
        owner: None,
        key_id: asked.key_id,
        group: asked.group.as_deref().map(group).transpose()?,
        number_prefix: asked.q,
        from: asked.from,
        to: asked.to,
    };
    let page = request.app.queue().list(filter, position, limit).await?;
    let dialling = request.app.queue().dialling()?;
    let body = AdminFaxList {
        total: page.total,
        jobs: page.jobs.iter().map(|job| AdminFax::new(job, &dialling)).collect(),
        next_cursor: page.next.map(|seq| seq.to_string()),
    };
    json(StatusCode::OK, &body)
}

/// One fax of anybody's
#[utoipa::path(get, path = "/admin/fax-jobs/{id}", tag = "admin", params(("id" = String, Path,)),
    security(("api_key" = ["admin"])),
    responses((status = 200, body = AdminFax), (status = 404, description = "No such fax", body = ProblemBody)))]
pub(in crate::http) async fn show(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::Admin).await?;
    AdminFax::answer(&request, &own_job(&request, &id)?)
}

/// The pages of anybody's fax as a PDF
#[utoipa::path(get, path = "/admin/fax-jobs/{id}/pdf", tag = "admin", params(("id" = String, Path,)),
    security(("api_key" = ["admin"])),
    responses((status = 200, content_type = "application/pdf", body = Vec<u8>),
        (status = 404, description = "No such fax, or not yet prepared", body = ProblemBody)))]
pub(in crate::http) async fn as_pdf(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::Admin).await?;
    let job = own_job(&request, &id)?;
    pdf_of(&request, &job).await
}

/// Look again; the appliance knows its own calls, so this answers what is known
#[utoipa::path(post, path = "/admin/fax-jobs/{id}/refresh", tag = "admin", params(("id" = String, Path,)),
    security(("api_key" = ["admin"])),
    responses((status = 200, body = AdminFax), (status = 404, description = "No such fax", body = ProblemBody)))]
pub(in crate::http) async fn refresh(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::Admin).await?;
    AdminFax::answer(&request, &own_job(&request, &id)?)
}

/// Let a held fax go
///
/// It is dialled as soon as its turn comes, or at its send time.
#[utoipa::path(post, path = "/admin/fax-jobs/{id}/release", tag = "admin", params(("id" = String, Path,)),
    security(("api_key" = ["admin"])),
    responses((status = 200, body = AdminFax), (status = 404, description = "No such fax", body = ProblemBody),
        (status = 409, description = "The fax is not held", body = ProblemBody)))]
pub(in crate::http) async fn release(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::Admin).await?;
    let job = own_job(&request, &id)?;
    match request.app.queue().release(job.id, &request.audit_context()).await? {
        Ok(job) => AdminFax::answer(&request, &job),
        Err(state) => Err(ApiError::new(&CONFLICT, not_held(state))),
    }
}

/// Hold a fax until it is released
///
/// A call that is under way cannot be held; cancel the fax to end it.
#[utoipa::path(post, path = "/admin/fax-jobs/{id}/hold", tag = "admin", params(("id" = String, Path,)),
    security(("api_key" = ["admin"])),
    responses((status = 200, body = AdminFax), (status = 404, description = "No such fax", body = ProblemBody),
        (status = 409, description = "It is held already, is being sent, or has ended", body = ProblemBody)))]
pub(in crate::http) async fn hold(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::Admin).await?;
    let job = own_job(&request, &id)?;
    match request.app.queue().hold(job.id, &request.audit_context()).await? {
        Ok(job) => AdminFax::answer(&request, &job),
        Err(state) => Err(ApiError::new(
            &CONFLICT,
            format!("The fax is {state}; only a fax that waits for its turn or its time can be held."),
        )),
    }
}

/// Why a fax in this state cannot be released.
pub(super) fn not_held(state: State) -> String {
    format!("The fax is {state}; only a held fax can be released.")
}

/// The states a status word means.
pub(super) fn states(word: &str) -> Result<Vec<State>, ApiError> {
    if let Ok(status) = word.parse::<PublicStatus>() {
        return Ok(status.states().collect());
    }
    word.parse::<State>().map(|state| vec![state]).map_err(|_| {
        let precise: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
        let message = format!(
            "'status' must be queued, in_progress, SUCCESS, FAILED or one of {}.",
            precise.join(", ")
        );
        ApiError::field("status", "invalid", message)
    })
}

/// The group a filter names.
pub(super) fn group(text: &str) -> Result<GroupId, ApiError> {
    text.parse().map_err(|_| ApiError::field("group", "invalid", "'group' must be the id of a group."))
}

/// The place a cursor stands for.
pub(super) fn cursor(text: &str) -> Result<Position, ApiError> {
    let refused =
        |_| ApiError::field("cursor", "invalid", "'cursor' must be the next_cursor of an earlier answer.");
    text.parse().map(Position::Before).map_err(refused)
}

/// Rows of one page, in bounds.
pub(super) fn limit(asked: Option<u32>) -> Result<u32, ApiError> {
    match asked.unwrap_or(DEFAULT_ROWS) {
        rows @ 1..=limits::LIST_ROWS => Ok(rows),
        _ => Err(ApiError::field("limit", "out_of_range", "'limit' must be from 1 to 100.")),
    }
}
