//! `/inbound`: received faxes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, document, get, id, json, query};
use crate::access::audit::Snapshot;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::codec::{pdf, tiff};
use crate::http::error::{ApiError, FAX_NOT_FOUND, ProblemBody};
use crate::http::request::{Permitted, Request};
use crate::id::InboundId;
use crate::inbound::ReceivedFax;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let list = warp::path!("inbound").and(get(app)).then(|request| answer(list(request)));
    let show = warp::path!("inbound" / String).and(get(app)).then(|id, request| answer(show(id, request)));
    let pdf =
        warp::path!("inbound" / String / "pdf").and(get(app)).then(|id, request| answer(as_pdf(id, request)));
    let tiff = warp::path!("inbound" / String / "tiff")
        .and(get(app))
        .then(|id, request| answer(as_tiff(id, request)));
    list.or(show).unify().or(pdf).unify().or(tiff).unify().boxed()
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
}

impl From<&ReceivedFax> for InboundView {
    fn from(fax: &ReceivedFax) -> Self {
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
        }
    }
}

/// Which part of the inbox.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct InboxQuery {
    /// Rows, 1 to 100; 50 by default
    limit: Option<u32>,
    /// Rows to skip
    offset: u32,
}

/// Received faxes, newest first
#[utoipa::path(get, path = "/inbound", tag = "inbound", params(InboxQuery), security(("api_key" = ["inbound:list"])),
    responses((status = 200, body = Vec<InboundView>), (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn list(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::InboundList).await?;
    let asked: InboxQuery = query(request.query())?;
    let limit = super::admin_jobs::limit(asked.limit)?;
    let faxes = request.app.inbox().list(limit, asked.offset).await?;
    json(StatusCode::OK, &faxes.iter().map(InboundView::from).collect::<Vec<_>>())
}

/// One received fax
#[utoipa::path(get, path = "/inbound/{id}", tag = "inbound", params(("id" = String, Path,)),
    security(("api_key" = ["inbound:list"])),
    responses((status = 200, body = InboundView), (status = 404, description = "No such fax", body = ProblemBody)))]
pub(in crate::http) async fn show(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::InboundList).await?;
    json(StatusCode::OK, &InboundView::from(&received(&request, &id)?))
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

fn received(request: &Permitted, text: &str) -> Result<ReceivedFax, ApiError> {
    let missing = || ApiError::new(&FAX_NOT_FOUND, "No received fax with this id.");
    let id: InboundId = id(text, missing)?;
    request.app.inbox().get(id)?.ok_or_else(missing)
}
