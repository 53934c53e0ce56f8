//! What is done to one's own fax after it was accepted: `PATCH /fax/{id}` changes one that waits,
//! `POST /fax/{id}/resend` sends its pages again.

use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::admin_key_verbs::given;
use super::fax::own_job;
use super::fax_view::FaxView;
use super::send::{self, TAG_LEN, number};
use super::{answer, json, patch, post};
use crate::access::audit::{Action, Snapshot};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::codec::page::Resolution;
use crate::convert::{Options, Quality};
use crate::fax::hours::{self, Hours};
use crate::fax::job::{Job, Priority, State};
use crate::fax::number::FaxNumber;
use crate::fax::transition::{Alteration, Unalterable};
use crate::http::error::{ApiError, CONFLICT, FAX_NOT_FOUND, ProblemBody};
use crate::http::request::{Permitted, Request};
use crate::queue::{Content, NewFax};

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let alter = warp::path!("fax" / String).and(patch(app)).then(|id, request| answer(alter(id, request)));
    let resend =
        warp::path!("fax" / String / "resend").and(post(app)).then(|id, request| answer(resend(id, request)));
    let release = warp::path!("fax" / String / "release")
        .and(post(app))
        .then(|id, request| answer(release(id, request)));
    alter.or(resend).unify().or(release).unify().boxed()
}

/// What of a fax shall be another. What is not named stays; `null` clears it.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct AlterFax {
    /// Another number; its calls are counted anew
    #[schema(example = "+15551234567")]
    to: Option<String>,
    /// `high`, `normal` or `bulk`
    priority: Option<String>,
    /// Send not before this time; as soon as possible when null
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime)]
    schedule_at: Option<Option<Timestamp>>,
    /// Send within these hours of the week alone, as in `POST /fax`; at any time when null
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "Wk0800-1800")]
    hours: Option<Option<String>>,
    /// Give up at this time; moves along by itself with number and send time
    #[schema(value_type = Option<String>, format = DateTime)]
    deadline: Option<Timestamp>,
    /// Your own reference, up to 200 characters
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    tag: Option<Option<String>>,
}

impl AlterFax {
    fn change(self, request: &Permitted) -> Result<Alteration, ApiError> {
        let to = self.to.map(|raw| number(request, &raw).map(|to| (raw, to))).transpose()?;
        let priority = self.priority.as_deref().map(priority).transpose()?;
        let hours = self.hours.map(|hours| hours.as_deref().map(hours_of).transpose()).transpose()?;
        let now = request.app.clock().now();
        if self.schedule_at.flatten().is_some_and(|at| at <= now) {
            return Err(ApiError::field("schedule_at", "past", "'schedule_at' must be in the future."));
        }
        if let Some(Some(tag)) = &self.tag
            && !send::is_tag(tag)
        {
            let message = format!("'tag' must be at most {TAG_LEN} characters without line breaks.");
            return Err(ApiError::field("tag", "invalid", message));
        }
        Ok(Alteration {
            to,
            priority,
            schedule_at: self.schedule_at,
            hours,
            deadline_at: self.deadline,
            tag: self.tag,
            second_look: None,
        })
    }
}

/// Change a fax that is not being sent yet
///
/// Its number, first send time, hours, deadline, urgency or reference. One that waits to be dialled again
/// can be changed too; one of which pages arrived keeps its number.
#[utoipa::path(patch, path = "/fax/{id}", tag = "fax", params(("id" = String, Path,)),
    security(("api_key" = ["fax:send"])), request_body = Option<AlterFax>,
    responses((status = 200, body = FaxView),
        (status = 400, description = "The number is not one", body = ProblemBody),
        (status = 403, description = "The number may not be dialled from here, or the key may not send to it", body = ProblemBody),
        (status = 404, description = "No such fax", body = ProblemBody),
        (status = 409, description = "It is being sent, has ended, or has arrived in part", body = ProblemBody),
        (status = 422, description = "A field cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn alter(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxSend).await?;
    let job = own_job(&request, &id)?;
    let change = request.body()?.json::<AlterFax>().await?.change(&request)?;
    let allowance = request.app.keys().allowance(&request.caller);
    let altered = request.app.queue().alter(&job, change, allowance, &request.audit_context()).await;
    match altered.map_err(|error| send::refused(&request, error))? {
        Ok(job) => json(StatusCode::OK, &FaxView::for_sender(&request, &job)?),
        Err(Unalterable::State(state)) => Err(ApiError::new(&CONFLICT, too_late(state))),
        Err(Unalterable::PartlyDelivered(pages)) => Err(ApiError::new(
            &CONFLICT,
            format!(
                "{pages} of its pages have arrived at the number it has, so the number stays. Cancel it \
                 and resend it to the right number."
            ),
        )),
        Err(Unalterable::DeadlineFirst) => {
            Err(ApiError::field("deadline", "past", "'deadline' must be later than the first send time."))
        }
    }
}

fn too_late(state: State) -> String {
    if state.is_calling() {
        format!("The fax is {state}; wait for the end of the call, or cancel it.")
    } else {
        format!("The fax is {state} already; resend it in place of changing it.")
    }
}

/// Let a fax go after a look at its number
///
/// For a fax that is held because its number is new or near a known one (`modifier` is `second_look`).
/// The number is not asked about again. A fax that is held for another reason is released by an
/// administrator.
#[utoipa::path(post, path = "/fax/{id}/release", tag = "fax", params(("id" = String, Path,)),
    security(("api_key" = ["fax:send"])),
    responses((status = 200, body = FaxView), (status = 404, description = "No such fax", body = ProblemBody),
        (status = 403, description = "The key may not send to this number", body = ProblemBody),
        (status = 409, description = "It is not held, or for another reason", body = ProblemBody)))]
pub(in crate::http) async fn release(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxSend).await?;
    let job = own_job(&request, &id)?;
    number(&request, job.to.as_e164())?;
    if job.state == State::Held && !job.is_to_be_looked_at() {
        let detail = "The fax is held for another reason than its number; an administrator can release it.";
        return Err(ApiError::new(&CONFLICT, detail));
    }
    match request.app.queue().release(job.id, &request.audit_context()).await? {
        Ok(job) => json(StatusCode::OK, &FaxView::for_sender(&request, &job)?),
        Err(state) => Err(ApiError::new(&CONFLICT, super::admin_jobs::not_held(state))),
    }
}

/// Where the pages go this time.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct ResendFax {
    /// Another number; the same one when it is not given
    #[schema(example = "+15551234567")]
    to: Option<String>,
    /// `high`, `normal` or `bulk`; as before when it is not given
    priority: Option<String>,
}

/// Send the pages of a fax again
///
/// A new fax with the very same pages, to the same or a corrected number. The first one has to
/// have ended, so that nothing is sent twice by mistake.
#[utoipa::path(post, path = "/fax/{id}/resend", tag = "fax",
    params(("id" = String, Path,),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and request give the same answer for 24 hours")),
    security(("api_key" = ["fax:send"])), request_body = Option<ResendFax>,
    responses((status = 202, description = "Accepted and safe; `resend_of` names the first fax", body = FaxView),
        (status = 400, description = "The number is not one", body = ProblemBody),
        (status = 403, description = "The number may not be dialled from here, or the key may not send to it", body = ProblemBody),
        (status = 404, description = "No such fax, or its pages are gone", body = ProblemBody),
        (status = 409, description = "It has not ended yet, or the same Idempotency-Key is being worked on", body = ProblemBody),
        (status = 422, description = "A field cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn resend(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxSend).await?;
    let first = own_job(&request, &id)?;
    let body: ResendFax = request.body()?.json().await?;
    if !first.state.is_final() {
        let possible = if first.state.is_calling() { "wait for its end" } else { "change it" };
        let message = format!("The fax is {} and has not ended; {possible} or cancel it first.", first.state);
        return Err(ApiError::new(&CONFLICT, message));
    }
    let to = match &body.to {
        Some(raw) => number(&request, raw)?,
        None => number(&request, first.to.as_e164())?,
    };
    let priority = body.priority.as_deref().map(priority).transpose()?.unwrap_or(first.priority);
    // A client that hangs up must not leave a stored document without its row.
    let task = tokio::spawn(send_again(request, first, body.to, to, priority));
    task.await.unwrap_or_else(|panic| Err(ApiError::internal(&panic)))
}

async fn send_again(
    request: Permitted,
    first: Job,
    to_raw: Option<String>,
    to: FaxNumber,
    priority: Priority,
) -> Result<Response, ApiError> {
    let pages = request.app.queue().pages(&first).await?;
    if pages.is_empty() {
        return Err(ApiError::new(&FAX_NOT_FOUND, "This fax has no pages to send again."));
    }
    let idempotency = send::idempotency(&request, &format!("/fax/{}/resend", first.id), || {
        Sha256::digest(format!("{} {}", to.as_e164(), priority.as_str())).into()
    })?;
    let now = request.app.clock().now();
    let event = request
        .audit_context()
        .event(Action::FaxResent, first.id, now)
        .after(Snapshot::new().with("to", to.masked()));
    let new = NewFax {
        owner: request.caller.owner,
        key_id: request.caller.key_id.as_ref().map(ToString::to_string),
        to_raw: to_raw.unwrap_or_else(|| first.to_raw.clone()),
        to,
        route: request.app.route_of(request.caller.mode),
        content: Content::Pages(pages),
        source_sha256: first.source_sha256.clone(),
        options: Options {
            resolution: Resolution::from_name(first.sent_resolution()).unwrap_or(Resolution::FINE),
            quality: Quality::from_name(&first.quality).unwrap_or_default(),
        },
        priority,
        tag: first.tag.clone(),
        resend_of: Some(first.id),
        notify: first.notify.clone().or_else(|| request.app.config().mail.default_notify()),
        schedule_at: None,
        deadline_at: None,
        hours: None,
        allowance: request.app.keys().allowance(&request.caller),
        idempotency,
    };
    request.app.db().audited(event).record().await?;
    send::submit(&request, new).await
}

fn hours_of(text: &str) -> Result<Hours, ApiError> {
    text.parse()
        .map_err(|_| ApiError::field("hours", "invalid", format!("'hours' must be {}.", hours::ALLOWED)))
}

pub(super) fn priority(word: &str) -> Result<Priority, ApiError> {
    word.parse()
        .map_err(|_| ApiError::field("priority", "invalid", "'priority' must be high, normal or bulk."))
}
