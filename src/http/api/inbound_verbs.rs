//! What is done with a received fax: marking it read, assigning it, sending it on, deleting it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::admin_key_verbs::given;
use super::fax_verbs::priority;
use super::fax_view::FaxView;
use super::inbound::{InboundView, received};
use super::send::{self, number};
use super::{answer, delete, get, json, patch, post};
use crate::access::audit::{Action, Snapshot};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::codec::page::{FaxPage, Resolution};
use crate::codec::tiff;
use crate::convert::{Options, Quality};
use crate::fax::job::Priority;
use crate::fax::number::FaxNumber;
use crate::http::error::{ApiError, CONFLICT, FAX_NOT_FOUND, NO_SCOPE, ProblemBody};
use crate::http::request::{Permitted, Request};
use crate::id::AccountId;
use crate::inbound::{ReceivedChange, ReceivedFax};
use crate::queue::{Content, NewFax};

/// Longest remark, in characters.
const NOTE_CHARS: usize = 1000;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let people = warp::path!("assignees").and(get(app)).then(|request| answer(assignees(request)));
    let one = || warp::path!("inbound" / String);
    let change = one().and(patch(app)).then(|id, request| answer(change(id, request)));
    let remove = one().and(delete(app)).then(|id, request| answer(remove(id, request)));
    let forward = warp::path!("inbound" / String / "forward")
        .and(post(app))
        .then(|id, request| answer(forward(id, request)));
    people.or(change).unify().or(remove).unify().or(forward).unify().boxed()
}

/// Somebody a received fax can be for.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Assignee {
    id: String,
    name: String,
}

/// Whom received faxes can be assigned to
#[utoipa::path(get, path = "/assignees", tag = "inbound", security(("api_key" = ["inbound:list"])),
    responses((status = 200, body = Vec<Assignee>)))]
pub(in crate::http) async fn assignees(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::InboundList).await?;
    let people = request.app.keys().active_people(None);
    let views = people.iter().map(|person| Assignee { id: person.id.to_string(), name: person.name.clone() });
    json(StatusCode::OK, &views.collect::<Vec<_>>())
}

/// What of a received fax shall be another. What is not named stays; `null` clears it.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct ChangeInbound {
    /// Whether it is read
    read: Option<bool>,
    /// Whom it is for: the id or name of an account, or `me`
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    assigned_to: Option<Option<String>>,
    /// A remark, up to 1,000 characters
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    note: Option<Option<String>>,
}

/// Mark a received fax as read or unread, say whom it is for, leave a note
#[utoipa::path(patch, path = "/inbound/{id}", tag = "inbound", params(("id" = String, Path,)),
    security(("api_key" = ["inbound:manage"])), request_body = Option<ChangeInbound>,
    responses((status = 200, body = InboundView), (status = 404, description = "No such fax", body = ProblemBody),
        (status = 422, description = "A field cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn change(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::InboundManage).await?;
    let fax = received(&request, &id)?;
    let body: ChangeInbound = request.body()?.json().await?;
    let assigned_to = match body.assigned_to {
        Some(Some(name)) => Some(Some(account(&request, &name)?)),
        Some(None) => Some(None),
        None => None,
    };
    let note = body.note.map(|note| note.map(|note| note.trim().to_owned()).filter(|note| !note.is_empty()));
    if note.iter().flatten().any(|note| note.chars().count() > NOTE_CHARS) {
        return Err(ApiError::field("note", "too_long", "'note' must be at most 1,000 characters."));
    }
    let change =
        ReceivedChange { read: body.read.map(|read| (read, request.caller.label())), assigned_to, note };
    let changed = request.app.inbox().change(&fax, change, &request.audit_context()).await?;
    json(StatusCode::OK, &InboundView::new(&request.app, &changed))
}

/// What is said when a thing is done that has nothing to show.
#[derive(Serialize, ToSchema)]
#[schema(as = InboundDeleted)]
pub(in crate::http) struct Deleted {
    /// Always `ok`.
    status: &'static str,
}

/// Delete a received fax for good
///
/// Row and pages go at once; the audit log keeps who did it and when.
#[utoipa::path(delete, path = "/inbound/{id}", tag = "inbound", params(("id" = String, Path,)),
    security(("api_key" = ["inbound:manage"])),
    responses((status = 200, body = Deleted), (status = 404, description = "No such fax", body = ProblemBody),
        (status = 409, description = "The call that brings it has not ended yet", body = ProblemBody)))]
pub(in crate::http) async fn remove(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::InboundManage).await?;
    let fax = received(&request, &id)?;
    let (app, by) = (request.app.clone(), request.audit_context());
    // Rows without their file, or a file without its row, would be left when the client hangs up.
    let task = tokio::spawn(async move { app.queue().delete_received(&fax, &by).await });
    if !task.await.map_err(|panic| ApiError::internal(&panic))?? {
        let message = "The call that brings this fax has not ended yet; try again in a moment.";
        return Err(ApiError::new(&CONFLICT, message));
    }
    json(StatusCode::OK, &Deleted { status: "ok" })
}

/// Where the pages go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ForwardFax {
    /// Fax number: E.164, or digits only
    #[schema(example = "+15551234567")]
    to: String,
    /// `high`, `normal` (default) or `bulk`
    #[serde(default)]
    priority: Option<String>,
}

/// Send the pages of a received fax on as a new fax
///
/// The very pages, dot for dot; it takes `inbound:read` beside `fax:send`, and everything that holds for
/// a fax holds for this one.
#[utoipa::path(post, path = "/inbound/{id}/forward", tag = "inbound",
    params(("id" = String, Path,), ("as_key" = Option<String>, Query, description = "In a session: id of a key to send as"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and request give the same answer for 24 hours")),
    security(("api_key" = ["fax:send"])), request_body = ForwardFax,
    responses((status = 202, description = "Accepted and safe", body = FaxView),
        (status = 400, description = "The number is not one", body = ProblemBody),
        (status = 403, description = "The number may not be dialled from here, or the key may not send to it or read received faxes", body = ProblemBody),
        (status = 404, description = "No such fax", body = ProblemBody),
        (status = 409, description = "The same Idempotency-Key is being worked on", body = ProblemBody),
        (status = 422, description = "A field cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn forward(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxSend).await?;
    let may_read = request.caller.may(Scope::InboundRead);
    let request = request.sending_as_key(Scope::FaxSend)?;
    if !may_read || !request.caller.may(Scope::InboundRead) {
        return Err(
            ApiError::new(&NO_SCOPE, "Insufficient scope: inbound:read required").with_reason("scope")
        );
    }
    let fax = received(&request, &id)?;
    let body: ForwardFax = request.body()?.json().await?;
    let to = number(&request, &body.to)?;
    let priority = body.priority.as_deref().map(priority).transpose()?.unwrap_or_default();
    // A client that hangs up must not leave a stored document without its row.
    let task = tokio::spawn(send_on(request, fax, body.to, to, priority));
    task.await.unwrap_or_else(|panic| Err(ApiError::internal(&panic)))
}

async fn send_on(
    request: Permitted,
    fax: ReceivedFax,
    to_raw: String,
    to: FaxNumber,
    priority: Priority,
) -> Result<Response, ApiError> {
    let pages = request.app.inbox().pages(&fax).await?;
    if pages.is_empty() {
        return Err(ApiError::new(&FAX_NOT_FOUND, "This fax has no pages to send on."));
    }
    let idempotency = send::idempotency(&request, &format!("/inbound/{}/forward", fax.id), || {
        Sha256::digest(format!("{} {}", to.as_e164(), priority.as_str())).into()
    })?;
    let now: Timestamp = request.app.clock().now();
    let event = request
        .audit_context()
        .event(Action::InboundForwarded, fax.id, now)
        .after(Snapshot::new().with("to", to.masked()));
    let new = NewFax {
        owner: request.caller.owner,
        key_id: request.caller.key_id.as_ref().map(ToString::to_string),
        to_raw,
        to,
        route: request.app.route_of(request.caller.mode),
        source_sha256: Sha256::digest(tiff::write(&pages)).iter().map(|byte| format!("{byte:02x}")).collect(),
        options: Options { resolution: resolution(&pages), quality: Quality::default() },
        content: Content::Pages(pages),
        priority,
        tag: None,
        resend_of: None,
        notify: request.app.config().mail.default_notify(),
        schedule_at: None,
        deadline_at: None,
        hours: None,
        allowance: request.app.keys().allowance(&request.caller),
        idempotency,
    };
    request.app.db().audited(event).record().await?;
    send::submit(&request, new).await
}

/// What the first page has, by name.
fn resolution(pages: &[FaxPage]) -> Resolution {
    let first = pages.first().map(|page| page.resolution);
    first.filter(|resolution| resolution.name().is_some()).unwrap_or(Resolution::FINE)
}

/// The account somebody means: by its id or name, or `me`.
pub(super) fn account(request: &Permitted, text: &str) -> Result<AccountId, ApiError> {
    if text == "me" {
        return Ok(request.caller.owner);
    }
    let by_id = text.parse().ok().filter(|id| request.app.keys().account_name(*id).is_some());
    let by_name = || request.app.keys().active_people(Some(text)).first().map(|person| person.id);
    by_id.or_else(by_name).ok_or_else(|| {
        ApiError::field("assigned_to", "unknown", "'assigned_to' must be the id or name of a user, or 'me'.")
    })
}
