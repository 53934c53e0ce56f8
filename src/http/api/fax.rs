//! `GET /fax`, `/fax/{id}` and what belongs to one fax; `DELETE` cancels it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::fax_view::{FaxList, FaxView};
use super::{answer, delete, document, get, id, json, post, query};
use crate::access::audit::Snapshot;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::codec::page::FaxPage;
use crate::codec::pdf;
use crate::fax::job::Job;
use crate::http::error::{ApiError, CONFLICT, FAX_NOT_FOUND, NO_SCOPE, ProblemBody};
use crate::http::request::{Permitted, Request};
use crate::id::JobId;
use crate::limits;
use crate::queue::{CancelError, ListFilter, Position};

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let list = warp::path!("fax").and(get(app)).then(|request| answer(list(request)));
    let show = warp::path!("fax" / String).and(get(app)).then(|id, request| answer(show(id, request)));
    let cancel = warp::path!("fax" / String).and(delete(app)).then(|id, request| answer(cancel(id, request)));
    let pdf =
        warp::path!("fax" / String / "pdf").and(get(app)).then(|id, request| answer(as_pdf(id, request)));
    let png = warp::path!("fax" / String / "pages" / String)
        .and(get(app))
        .then(|id, page, request| answer(page_png(id, page, request)));
    let link = warp::path!("fax" / String / "pdf-link")
        .and(post(app))
        .then(|id, request| answer(pdf_link(id, request)));
    list.or(show).unify().or(cancel).unify().or(pdf).unify().or(png).unify().or(link).unify().boxed()
}

/// Filters of a list of one's own faxes.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ListQuery {
    /// `queued`, `in_progress`, `SUCCESS`, `FAILED`, or a precise state
    status: Option<String>,
    /// Only the faxes of this group
    group: Option<String>,
    /// Rows, 1 to 100; 50 by default
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before
    cursor: Option<String>,
}

/// One's own faxes, newest first
///
/// In a viewer's session everybody's, with the numbers masked.
#[utoipa::path(get, path = "/fax", tag = "fax", params(ListQuery), security(("api_key" = ["fax:read"])),
    responses((status = 200, body = FaxList), (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn list(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxRead).await?;
    let asked: ListQuery = query(request.query())?;
    let filter = ListFilter {
        states: asked.status.as_deref().map(super::admin_jobs::states).transpose()?,
        group: asked.group.as_deref().map(super::admin_jobs::group).transpose()?,
        owner: (!request.caller.watches_everything()).then_some(request.caller.owner),
        ..ListFilter::default()
    };
    let position = asked.cursor.as_deref().map(super::admin_jobs::cursor).transpose()?;
    let limit = super::admin_jobs::limit(asked.limit)?;
    let page = request.app.queue().list(filter, position.unwrap_or(Position::Start), limit).await?;
    let dialling = request.app.queue().dialling()?;
    json(
        StatusCode::OK,
        &FaxList {
            total: page.total,
            jobs: page.jobs.iter().map(|job| FaxView::listed(&request.caller, job, &dialling)).collect(),
            next_cursor: page.next.map(|seq| seq.to_string()),
        },
    )
}

/// How long to wait for a change.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct WaitQuery {
    /// Seconds to wait for the state to change, up to 55; answers at once when the fax has ended
    wait: u64,
}

/// One fax, as it stands
#[utoipa::path(get, path = "/fax/{id}", tag = "fax", params(("id" = String, Path,), WaitQuery),
    security(("api_key" = ["fax:read"])),
    responses((status = 200, body = FaxView), (status = 404, description = "No such fax", body = ProblemBody),
        (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn show(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxRead).await?;
    let asked: WaitQuery = query(request.query())?;
    let mut job = watched_job(&request, &id)?;
    if asked.wait > 0 && !job.state.is_final() {
        let wait = Duration::from_secs(asked.wait.min(limits::LONGEST_WAIT_S));
        job = tokio::select! {
            changed = request.app.queue().wait_for_change(&job, wait) => changed?,
            () = request.app.stopped() => job,
        };
    }
    json(StatusCode::OK, &FaxView::for_sender(&request, &job)?)
}

/// Cancel a fax
#[utoipa::path(delete, path = "/fax/{id}", tag = "fax", params(("id" = String, Path,)),
    security(("api_key" = ["fax:cancel"])),
    responses((status = 200, description = "Cancelled, or asked to stop when a call is under way", body = FaxView),
        (status = 404, description = "No such fax", body = ProblemBody),
        (status = 409, description = "It has ended already", body = ProblemBody)))]
pub(in crate::http) async fn cancel(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxCancel).await?;
    let job = own_job(&request, &id)?;
    match request.app.queue().cancel(job.id, &request.audit_context()).await {
        Ok(job) => json(StatusCode::OK, &FaxView::for_sender(&request, &job)?),
        Err(CancelError::TooLate(state)) => Err(ApiError::new(
            &CONFLICT,
            format!("The fax is {state} already; only a fax that has not ended can be cancelled."),
        )),
        Err(CancelError::Queue(error)) => Err(error.into()),
    }
}

/// The fax pages as a PDF
#[utoipa::path(get, path = "/fax/{id}/pdf", tag = "fax", 
    params(("id" = String, Path,), ("token" = Option<String>, Query, description = "From `POST /fax/{id}/pdf-link`; no key is needed with it")),
    security(("api_key" = ["fax:read"])),
    responses((status = 200, content_type = "application/pdf", body = Vec<u8>),
        (status = 404, description = "No such fax, or not yet prepared", body = ProblemBody)))]
pub(in crate::http) async fn as_pdf(id: String, request: Request) -> Result<Response, ApiError> {
    let request = match id.parse() {
        Ok(job) if request.is_by_link() => request.permit_link(job)?,
        _ => request.permit(Scope::FaxRead).await?,
    };
    let job = own_job(&request, &id)?;
    pdf_of(&request, &job).await
}

/// A link to the pages of a fax.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PdfLink {
    /// Address on this appliance, with the token in it. Whoever has it sees the fax.
    url: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Make a link to the pages of a fax, for five minutes
///
/// For programs that cannot send a key. Who follows it is recorded as who made it; it ends at once when
/// the key or session that made it does.
#[utoipa::path(post, path = "/fax/{id}/pdf-link", tag = "fax", params(("id" = String, Path,)),
    security(("api_key" = ["fax:read"])),
    responses((status = 200, body = PdfLink), (status = 404, description = "No such fax", body = ProblemBody)))]
pub(in crate::http) async fn pdf_link(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxRead).await?;
    let job = own_job(&request, &id)?;
    let made = request.app.links().make(job.id, &request.caller, request.app.clock().now());
    let (token, expires_at) = made.map_err(|error| ApiError::internal(&error))?;
    json(
        StatusCode::OK,
        &PdfLink { url: format!("/fax/{}/pdf?token={}", job.id, token.reveal()), expires_at },
    )
}

/// How wide the picture of a page is.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct PageQuery {
    /// Pixels, 16 to 1728, in greys and with the proportions of the paper; dot for dot when not given
    #[param(minimum = 16, maximum = 1728)]
    width: Option<u32>,
}

/// One page as it is transmitted, dot for dot; or smaller, for a list
#[utoipa::path(get, path = "/fax/{id}/pages/{page}", tag = "fax",
    params(("id" = String, Path,), ("page" = String, Path, description = "Number from 1, then .png", example = "1.png"), PageQuery),
    security(("api_key" = ["fax:read"])),
    responses((status = 200, content_type = "image/png", body = Vec<u8>),
        (status = 404, description = "No such fax or page", body = ProblemBody),
        (status = 422, description = "The width cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn page_png(
    id: String,
    page: String,
    request: Request,
) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxRead).await?;
    let job = own_job(&request, &id)?;
    let pages = request.app.queue().pages(&job).await?;
    let (number, png) = picture(&request, pages, &page).await?;
    request.viewed(job.id, Snapshot::new().with("format", "png").with("page", number)).await?;
    Ok(document(png, "image/png", &format!("fax-{}-page-{number}.png", job.id)))
}

/// The picture of the page that the address and the query name, and its number.
pub(super) async fn picture(
    request: &Permitted,
    pages: Vec<FaxPage>,
    segment: &str,
) -> Result<(usize, Vec<u8>), ApiError> {
    let PageQuery { width } = query(request.query())?;
    if width.is_some_and(|width| !(16..=1728).contains(&width)) {
        return Err(ApiError::field("width", "out_of_range", "'width' must be from 16 to 1728."));
    }
    let missing = || ApiError::new(&FAX_NOT_FOUND, "This fax has no such page.");
    let number: usize =
        segment.strip_suffix(".png").and_then(|number| number.parse().ok()).ok_or_else(missing)?;
    let page = number.checked_sub(1).and_then(|index| pages.into_iter().nth(index)).ok_or_else(missing)?;
    Ok((number, request.app.converter().page_png(page, width).await?))
}

/// The fax of this id, if the caller may see it and what is on it.
pub(super) fn own_job(request: &Permitted, text: &str) -> Result<Job, ApiError> {
    let job = watched_job(request, text)?;
    if request.caller.sees(job.owner) {
        return Ok(job);
    }
    Err(ApiError::new(&NO_SCOPE, "Viewers see how the faxes of others went, and not what is on them.")
        .with_reason("resource"))
}

/// The fax of this id, if the caller may see how it went.
pub(super) fn watched_job(request: &Permitted, text: &str) -> Result<Job, ApiError> {
    let missing = || ApiError::new(&FAX_NOT_FOUND, "No fax with this id.");
    let id: JobId = id(text, missing)?;
    let job = request.app.queue().get(id)?.ok_or_else(missing)?;
    // What exists but is not yours does not exist for you.
    if request.caller.sees(job.owner) || request.caller.watches_everything() {
        Ok(job)
    } else {
        Err(missing())
    }
}

/// A fax's pages as a PDF, G4 strips untouched.
pub(super) async fn pdf_of(request: &Permitted, job: &Job) -> Result<Response, ApiError> {
    if job.document.is_none() {
        let why = if job.state.is_final() {
            "This fax has no pages: its document did not become any."
        } else {
            "The document is still being prepared; try again in a moment."
        };
        return Err(ApiError::new(&FAX_NOT_FOUND, why));
    }
    let pages = request.app.queue().pages(job).await?;
    request.viewed(job.id, Snapshot::new().with("format", "pdf")).await?;
    Ok(document(pdf::from_pages(&pages), "application/pdf", &format!("fax-{}.pdf", job.id)))
}
