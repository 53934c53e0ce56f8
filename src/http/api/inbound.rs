//! `/inbound`: received faxes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderValue, StatusCode};
use warp::reply::Response;

use super::fax::{PageQuery, picture};
use super::{answer, document, get, id, json, query};
use crate::access::audit::Snapshot;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::codec::{pdf, tiff};
use crate::http::error::{ApiError, FAX_NOT_FOUND, ProblemBody};
use crate::http::request::{Permitted, Request};
use crate::id::InboundId;
use crate::inbound::{InboxFilter, ReceivedFax, Search};

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let list = warp::path!("inbound").and(get(app)).then(|request| answer(list(request)));
    let show = warp::path!("inbound" / String).and(get(app)).then(|id, request| answer(show(id, request)));
    let pdf =
        warp::path!("inbound" / String / "pdf").and(get(app)).then(|id, request| answer(as_pdf(id, request)));
    let tiff = warp::path!("inbound" / String / "tiff")
        .and(get(app))
        .then(|id, request| answer(as_tiff(id, request)));
    let page = warp::path!("inbound" / String / "pages" / String)
        .and(get(app))
        .then(|id, page, request| answer(page_png(id, page, request)));
    list.or(show).unify().or(pdf).unify().or(tiff).unify().or(page).unify().boxed()
}

/// One received fax; Faxbot's keys first.
#[derive(Serialize, ToSchema)]
#[schema(as = Inbound)]
pub(in crate::http) struct InboundView {
    id: String,
    /// Caller's number, when the line told it.
    fr: Option<String>,
    /// Number that was called.
    to: Option<String>,
    /// `received`, or `partial` when the call broke after some pages.
    status: &'static str,
    /// The route it came by.
    backend: String,
    pages: u32,
    size_bytes: u64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Always null until there are mailboxes.
    mailbox: Option<String>,
    /// What the sending machine calls itself.
    remote_station_id: Option<String>,
    read: bool,
    /// When it was first marked as read, and by whom.
    #[schema(value_type = Option<String>, format = DateTime)]
    read_at: Option<Timestamp>,
    read_by: Option<String>,
    /// Id of the account it is for.
    assigned_to: Option<String>,
    /// The name of that account.
    assigned_to_name: Option<String>,
    /// A remark.
    note: Option<String>,
}

impl InboundView {
    /// A received fax with the name of whom it is for.
    pub(super) fn new(app: &App, fax: &ReceivedFax) -> Self {
        Self {
            id: fax.id.to_string(),
            fr: fax.from.clone(),
            to: fax.to.clone(),
            status: if fax.is_complete { "received" } else { "partial" },
            backend: fax.route.clone(),
            pages: fax.pages,
            size_bytes: fax.size_bytes,
            created_at: fax.received_at,
            received_at: fax.received_at,
            updated_at: fax.updated_at,
            mailbox: None,
            remote_station_id: fax.remote_station_id.clone(),
            read: fax.read_at.is_some(),
            read_at: fax.read_at,
            read_by: fax.read_by.clone(),
            assigned_to: fax.assigned_to.map(|id| id.to_string()),
            assigned_to_name: fax.assigned_to.and_then(|id| app.keys().account_name(id)),
            note: fax.note.clone(),
        }
    }
}

/// Which part of the inbox.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct InboxQuery {
    /// Rows, 1 to 100; 50 by default
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// Rows to skip
    offset: u32,
    /// Only those after this place: the header `X-Next-Before` of the page before
    before: Option<i64>,
    /// Only unread ones (`true`), or only read ones (`false`)
    unread: Option<bool>,
    /// Only those for this account: its id, its name, or `me`
    assigned_to: Option<String>,
    /// Beginning of the sender's number; or a part of what its machine calls itself, or of a note, among
    /// the newest 100,000
    q: Option<String>,
    /// Received at or after this time
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Received before this time
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
}

/// Received faxes, newest first
///
/// While there are more, the header `X-Next-Before` says what to send as `before` for the next page.
#[utoipa::path(get, path = "/inbound", tag = "inbound", params(InboxQuery), security(("api_key" = ["inbound:list"])),
    responses((status = 200, body = Vec<InboundView>,
            headers(("X-Next-Before" = Option<i64>, description = "Where the next page begins; only while there is one"))),
        (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn list(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::InboundList).await?;
    let asked: InboxQuery = query(request.query())?;
    let limit = super::admin_jobs::limit(asked.limit)?;
    let assigned_to =
        asked.assigned_to.as_deref().map(|name| super::inbound_verbs::account(&request, name)).transpose()?;
    let filter = InboxFilter {
        unread: asked.unread,
        assigned_to,
        from: asked.from,
        to: asked.to,
        search: asked.q.as_deref().and_then(Search::of),
    };
    // One more than asked for tells whether there is a next page.
    let mut faxes = request.app.inbox().list(filter, asked.before, limit + 1, asked.offset).await?;
    let has_more = faxes.len() > limit as usize;
    faxes.truncate(limit as usize);
    let views: Vec<InboundView> = faxes.iter().map(|fax| InboundView::new(&request.app, fax)).collect();
    let mut response = json(StatusCode::OK, &views)?;
    if let Some(last) = faxes.last().filter(|_| has_more) {
        response.headers_mut().insert("x-next-before", HeaderValue::from(last.seq));
    }
    Ok(response)
}

/// One received fax
#[utoipa::path(get, path = "/inbound/{id}", tag = "inbound", params(("id" = String, Path,)),
    security(("api_key" = ["inbound:list"])),
    responses((status = 200, body = InboundView), (status = 404, description = "No such fax", body = ProblemBody)))]
pub(in crate::http) async fn show(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::InboundList).await?;
    json(StatusCode::OK, &InboundView::new(&request.app, &received(&request, &id)?))
}

/// A received fax as a PDF
#[utoipa::path(get, path = "/inbound/{id}/pdf", tag = "inbound", params(("id" = String, Path,)),
    security(("api_key" = ["inbound:read"])),
    responses((status = 200, content_type = "application/pdf", body = Vec<u8>),
        (status = 404, description = "No such fax", body = ProblemBody)))]
pub(in crate::http) async fn as_pdf(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::InboundRead).await?;
    let fax = received(&request, &id)?;
    let pages = request.app.inbox().pages(&fax).await?;
    request.viewed(fax.id, Snapshot::new().with("format", "pdf")).await?;
    Ok(document(pdf::from_pages(&pages), "application/pdf", &format!("inbound-{}.pdf", fax.id)))
}

/// A received fax as a TIFF, exactly as it came
#[utoipa::path(get, path = "/inbound/{id}/tiff", tag = "inbound", params(("id" = String, Path,)),
    security(("api_key" = ["inbound:read"])),
    responses((status = 200, content_type = "image/tiff", body = Vec<u8>),
        (status = 404, description = "No such fax", body = ProblemBody)))]
pub(in crate::http) async fn as_tiff(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::InboundRead).await?;
    let fax = received(&request, &id)?;
    let pages = request.app.inbox().pages(&fax).await?;
    request.viewed(fax.id, Snapshot::new().with("format", "tiff")).await?;
    Ok(document(tiff::write(&pages), "image/tiff", &format!("inbound-{}.tif", fax.id)))
}

/// One page of a received fax, dot for dot; or smaller, for a list
#[utoipa::path(get, path = "/inbound/{id}/pages/{page}", tag = "inbound",
    params(("id" = String, Path,), ("page" = String, Path, description = "Number from 1, then .png", example = "1.png"), PageQuery),
    security(("api_key" = ["inbound:read"])),
    responses((status = 200, content_type = "image/png", body = Vec<u8>),
        (status = 404, description = "No such fax or page", body = ProblemBody),
        (status = 422, description = "The width cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn page_png(
    id: String,
    page: String,
    request: Request,
) -> Result<Response, ApiError> {
    let request = request.permit(Scope::InboundRead).await?;
    let fax = received(&request, &id)?;
    let pages = request.app.inbox().pages(&fax).await?;
    let (number, png) = picture(&request, pages, &page).await?;
    request.viewed(fax.id, Snapshot::new().with("format", "png").with("page", number)).await?;
    Ok(document(png, "image/png", &format!("inbound-{}-page-{number}.png", fax.id)))
}

/// The received fax of this id.
pub(super) fn received(request: &Permitted, text: &str) -> Result<ReceivedFax, ApiError> {
    let missing = || ApiError::new(&FAX_NOT_FOUND, "No received fax with this id.");
    let id: InboundId = id(text, missing)?;
    request.app.inbox().get(id)?.ok_or_else(missing)
}
