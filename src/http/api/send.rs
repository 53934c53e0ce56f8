//! `POST /fax`: a document in, a promise out.
//!
//! Owns: the order of checks. Nothing is stored before everything that can be wrong was looked at;
//! from the first stored byte on the work runs on a task of its own, so that a client that hangs
//! up leaves nothing half done.

use jiff::Timestamp;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::fax_view::{AcceptedView, DryRun, DryRunView, FaxView, PolicyVerdict};
use super::groups::{self, Recipients};
use super::preview::{self, Ready};
use super::upload::{Upload, check_announced};
use super::{answer, json, json_text, post};
use crate::access::kind::Mode;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::codec::page::Resolution;
use crate::convert::{Options, Quality};
use crate::fax::cover::Cover;
use crate::fax::hours::{self, Hours};
use crate::fax::job::Priority;
use crate::fax::notify::{Address, Notify, When};
use crate::fax::number::FaxNumber;
use crate::fax::policy::Verdict;
use crate::fax::routing::RouteList;
use crate::fax::sentences;
use crate::http::error::{
    ApiError, FieldError, IDEMPOTENCY_IN_FLIGHT, IDEMPOTENCY_MISMATCH, INVALID_NUMBER, NO_SCOPE, ProblemBody,
};
use crate::http::request::{Permitted, Request};
use crate::id::PreviewId;
use crate::queue::{Content, Draft, Foreseen, Idempotency, NewFax, QueueError, Submitted};

/// Longest `Idempotency-Key`.
const IDEMPOTENCY_KEY_LEN: usize = 255;
/// Longest `tag`.
pub(super) const TAG_LEN: usize = 200;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    warp::path!("fax").and(post(app)).then(|request| answer(send(request))).boxed()
}

/// The form of `POST /fax`, for the description.
#[derive(utoipa::ToSchema)]
#[schema(example = json!({"to": "+15551234567", "file": ["Hello, fax."]}))]
#[expect(dead_code, reason = "the form is read part by part; this only describes it")]
pub(in crate::http) struct SendForm {
    /// Fax number: E.164, or digits only; several parts, up to 1,000, make a group of faxes with one
    /// document
    #[schema(value_type = Vec<String>, min_items = 1, example = json!(["+15551234567"]))]
    to: Vec<String>,
    /// PDF, text, TIFF, PNG or JPEG; several parts become one fax in their order. May be missing with
    /// `cover` or `preview`
    #[schema(value_type = Option<Vec<String>>, format = Binary, min_items = 1)]
    file: Option<Vec<Vec<u8>>>,
    /// `standard`, `fine` (default) or `superfine`
    resolution: Option<String>,
    /// `text` (default) or `photo`, which takes several times longer on the line
    quality: Option<String>,
    /// `high`, `normal` (default) or `bulk`
    priority: Option<String>,
    /// Your own reference, up to 200 characters
    tag: Option<String>,
    /// Send not before this time
    #[schema(value_type = Option<String>, format = DateTime)]
    schedule_at: Option<String>,
    /// Give up at this time; by default three hours after the first send time
    #[schema(value_type = Option<String>, format = DateTime)]
    deadline: Option<String>,
    /// Send within these hours of the week alone, in the appliance's time zone: days (`Mon` to `Sun`, `Wk` for
    /// Monday to Friday, `Any`) with hours or without, separated by commas; its deadline waits with it
    #[schema(example = "Wk2300-0800,Sat,Sun")]
    hours: Option<String>,
    /// `1`: a cover page comes first, with the fields below
    cover: Option<String>,
    /// On the cover page: what it is about
    subject: Option<String>,
    /// On the cover page: some words
    note: Option<String>,
    /// On the cover page: whom it is from; the name in the tag line when not given
    from_name: Option<String>,
    /// On the cover page: whom it is for
    to_name: Option<String>,
    /// E-mail when the fax has ended (`done`), when a call failed and it will be tried again
    /// (`requeued`), `both`, or `none`; what `mail.notify` says when not given. With several `to` one
    /// mail at the end of all (`done` or `both`)
    notify: Option<String>,
    /// Whom to tell, one address; those of `mail.to` when not given
    notify_to: Option<String>,
    /// Id from `POST /previews`: exactly these pages, in place of `file`
    preview: Option<String>,
    /// `1`: check everything, say what would become of it; send, store and charge nothing
    dry_run: Option<String>,
}

/// Send a fax
///
/// Answers 202 once document and job are on disk. With several `to` each number gets a fax of its own
/// and the answer is a `group`; all are accepted or none.
#[utoipa::path(post, path = "/fax", tag = "fax", security(("api_key" = ["fax:send"])),
    params(("as_key" = Option<String>, Query, description = "In a session: id of a key to send as"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and request give the same answer for 24 hours")),
    request_body(content = SendForm, content_type = "multipart/form-data"),
    responses((status = 202, description = "Accepted and safe: a fax, or with several `to` a group", body = AcceptedView),
        (status = 200, description = "dry_run", body = DryRunView),
        (status = 400, description = "The number is not one", body = ProblemBody),
        (status = 403, description = "The number may not be dialled from here, or the key may not send to it", body = ProblemBody),
        (status = 408, description = "The body stopped arriving", body = ProblemBody),
        (status = 409, description = "The same Idempotency-Key is being worked on", body = ProblemBody),
        (status = 413, description = "Too large", body = ProblemBody),
        (status = 415, description = "Not a document we take", body = ProblemBody),
        (status = 422, description = "No file, an unusable document, or a wrong field", body = ProblemBody)))]
pub(in crate::http) async fn send(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxSend).await?;
    let asked_by = request.caller.label();
    let request = request.sending_as_key(Scope::FaxSend)?;
    let max_mb = request.app.config().max_file_size_mb;
    check_announced(announced_length(request.headers()), max_mb)?;
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let upload = Upload::read(request.body()?, content_type, max_mb, request.app.uploads()).await?;
    let order = Order::new(&request, &upload)?;
    // A client that hangs up must not leave a stored document without its row.
    let task = tokio::spawn(carry_out(request, upload, order, asked_by));
    task.await.unwrap_or_else(|panic| Err(ApiError::internal(&panic)))
}

async fn carry_out(
    request: Permitted,
    upload: Upload,
    order: Order,
    asked_by: String,
) -> Result<Response, ApiError> {
    let (content, source_sha256, options) = match order.ready(&request, &upload, &asked_by).await? {
        Some(ready) => (Content::Pages(ready.pages), ready.source_sha256, ready.options),
        None => (Content::Documents(upload.documents.clone()), upload.source_sha256(), order.options),
    };
    let new = NewFax {
        owner: request.caller.owner,
        key_id: request.caller.key_id.as_ref().map(ToString::to_string),
        to_raw: order.to_raw,
        to: order.to,
        route: order.route,
        content,
        source_sha256,
        options,
        priority: order.priority,
        tag: order.tag,
        resend_of: None,
        notify: order.notify,
        schedule_at: order.schedule_at,
        deadline_at: order.deadline_at,
        hours: order.hours,
        allowance: request.app.keys().allowance(&request.caller),
        idempotency: order.idempotency,
    };
    match (order.dry_run, order.group) {
        (true, group) => dry_run(&request, &new, group).await,
        (false, None) => submit(&request, new).await,
        (false, Some(group)) => groups::submit(&request, new, group).await,
    }
}

/// Hands a checked fax to the queue; answers 202 once it is safe.
pub(super) async fn submit(request: &Permitted, new: NewFax) -> Result<Response, ApiError> {
    let dialling = request.app.queue().dialling()?;
    let submitted = request.app.queue().submit(new, |job| {
        let body = serde_json::to_string(&FaxView::new(job, &dialling)).unwrap_or_default();
        (StatusCode::ACCEPTED.as_u16(), body)
    });
    answer_to(submitted.await.map_err(|error| refused(request, error))?)
}

/// What a client is told whose request was handed to the queue.
pub(super) fn answer_to(submitted: Submitted) -> Result<Response, ApiError> {
    match submitted {
        Submitted::New { status, body } | Submitted::Repeated { status, body } => {
            Ok(json_text(StatusCode::from_u16(status).unwrap_or(StatusCode::ACCEPTED), body))
        }
        Submitted::InFlight => Err(ApiError::new(
            &IDEMPOTENCY_IN_FLIGHT,
            "A request with the same Idempotency-Key is still being worked on.",
        )),
        Submitted::Mismatch => Err(ApiError::new(
            &IDEMPOTENCY_MISMATCH,
            "This Idempotency-Key was used before with another request.",
        )),
    }
}

/// The queue's refusal; of what was spent, with the time until there is more.
pub(super) fn refused(request: &Permitted, error: QueueError) -> ApiError {
    match error {
        QueueError::Overspent(over) => {
            ApiError::quota(over.to_string(), over.limit(), request.app.keys().day_ends_s())
        }
        QueueError::TooManyNew { over, numbers } => {
            let error = |raw: String| FieldError {
                field: "to".into(),
                code: "new_number".into(),
                message: format!("{raw}: This number was never dialled before."),
            };
            let errors = numbers.into_iter().map(error).collect();
            let day_ends_s = request.app.keys().day_ends_s();
            ApiError::quota(over.to_string(), over.limit(), day_ends_s).with_errors(errors)
        }
        error => error.into(),
    }
}

async fn dry_run(request: &Permitted, new: &NewFax, group: Option<Recipients>) -> Result<Response, ApiError> {
    let converted = match &new.content {
        Content::Pages(pages) => pages.clone(),
        Content::Documents(documents) => {
            request.app.converter().convert(documents.clone(), new.options, |_| {}).await?.pages
        }
    };
    if let Some(group) = group {
        return groups::dry_run(request, &group, new, &converted).await;
    }
    let pages = converted.len() as u32;
    let queue = request.app.queue();
    let foreseen = queue.foresee(&new.route, &new.to, pages, new.schedule_at, new.allowance.as_ref())?;
    let limits = queue.dialling()?.limits;
    let look = queue.second_look(new.route.first(), &new.to).await?;
    let body = DryRun {
        to: new.to_raw.clone(),
        to_e164: new.to.as_e164().to_owned(),
        why: why_route(request, &foreseen),
        route: foreseen.route.clone(),
        pages,
        seconds_per_page: DryRun::seconds(&converted),
        spends: foreseen.spends,
        policy: PolicyVerdict::from(&foreseen.verdict),
        quota: foreseen.overspent.map(|over| over.to_string()),
        waiting_for: foreseen.waiting_for(limits).or_else(|| outside_hours(request, new)),
        second_look: look.map(|look| sentences::second_look(&new.to, &look, None)),
        dry_run: true,
    };
    json(StatusCode::OK, &body)
}

/// What a fax would wait for that has hours of its own.
pub(super) fn outside_hours(request: &Permitted, new: &NewFax) -> Option<String> {
    let opens_at = request.app.queue().opens_at(new.hours.as_ref()?)?;
    Some(sentences::outside_hours(opens_at))
}

/// Why a fax of this caller would take the route it would take.
pub(super) fn why_route(request: &Permitted, foreseen: &Foreseen) -> String {
    let is_list = request.app.config().routes.is_some();
    let first = match request.caller.mode {
        Mode::Test => "test keys always go to the simulator",
        Mode::Live if is_list && foreseen.lacks_line => "it is the first of line.routes",
        Mode::Live if is_list => "it is the first of line.routes that can take it now",
        Mode::Live => "it is the configured route (line.route)",
    };
    let said = |said, (route, why): &(String, _)| format!("{said}; {}", sentences::passed_over(route, *why));
    foreseen.passed.iter().fold(first.to_owned(), said)
}

/// A request to send, checked.
struct Order {
    to_raw: String,
    to: FaxNumber,
    /// All numbers, of a request with several.
    group: Option<Recipients>,
    route: RouteList,
    options: Options,
    priority: Priority,
    tag: Option<String>,
    schedule_at: Option<Timestamp>,
    deadline_at: Option<Timestamp>,
    hours: Option<Hours>,
    dry_run: bool,
    cover: Option<Cover>,
    preview: Option<PreviewId>,
    notify: Option<Notify>,
    idempotency: Option<Idempotency>,
}

impl Order {
    fn new(request: &Permitted, upload: &Upload) -> Result<Self, ApiError> {
        let group = match upload.numbers().nth(1) {
            Some(_) => Some(Recipients::new(request, upload.numbers())?),
            None => None,
        };
        let to_raw = upload.raw("to").unwrap_or_default();
        let to = number(request, to_raw)?;
        // Of several numbers the one cover page names none.
        let cover = preview::cover(request, upload, Some(&to).filter(|_| group.is_none()))?;
        let preview = preview::id_in(upload)?;
        if upload.documents.is_empty() && preview.is_none() && !cover.as_ref().is_some_and(says_something) {
            return Err(ApiError::field("file", "missing", "A part 'file' with the document is missing."));
        }
        for field in ["route", "from", "header"] {
            if upload.field(field).is_some() {
                return Err(ApiError::field(
                    field,
                    "unavailable",
                    format!("'{field}' is not available here yet."),
                ));
            }
        }
        let now = request.app.clock().now();
        let schedule_at = time(upload, "schedule_at")?;
        let deadline_at = time(upload, "deadline")?;
        if schedule_at.is_some_and(|at| at <= now) {
            return Err(ApiError::field("schedule_at", "past", "'schedule_at' must be in the future."));
        }
        if deadline_at.is_some_and(|deadline| deadline <= schedule_at.unwrap_or(now)) {
            return Err(ApiError::field(
                "deadline",
                "past",
                "'deadline' must be later than the first send time.",
            ));
        }
        let notify = notify(request, upload, group.is_some())?;
        Ok(Self {
            to_raw: to_raw.to_owned(),
            to,
            group,
            route: request.app.route_of(request.caller.mode),
            options: options(upload)?,
            priority: word(upload, "priority", "high, normal or bulk", |word| word.parse().ok())?
                .unwrap_or_default(),
            tag: tag(upload)?,
            schedule_at,
            deadline_at,
            hours: word(upload, "hours", hours::ALLOWED, |text| text.parse().ok())?,
            dry_run: word(upload, "dry_run", "1 or 0", truth)?.unwrap_or(false),
            notify,
            cover,
            preview,
            idempotency: idempotency(request, "/fax", || upload.request_hash)?,
        })
    }
}

impl Order {
    /// Its pages, where they are ready before it is handed to the queue: those of a preview, and those
    /// with a cover page, which says how many there are.
    async fn ready(
        &self,
        request: &Permitted,
        upload: &Upload,
        asked_by: &str,
    ) -> Result<Option<Ready>, ApiError> {
        if let Some(id) = self.preview {
            return preview::ready(request, id, asked_by).await.map(Some);
        }
        let Some(cover) = self.cover.clone() else { return Ok(None) };
        // Who may not send this gets no worker for it.
        let (queue, allowance) = (request.app.queue(), request.app.keys().allowance(&request.caller));
        let foreseen = queue.foresee(&self.route, &self.to, 1, self.schedule_at, allowance.as_ref())?;
        if let Verdict::Blocked(block) = foreseen.verdict {
            return Err(QueueError::Blocked(block).into());
        }
        if let Some(over) = foreseen.overspent {
            return Err(refused(request, QueueError::Overspent(over)));
        }
        let template = request.app.config().cover_template.clone();
        let documents = upload.documents.clone();
        let draft = Draft { documents, options: self.options, cover: Some((cover, template)) };
        let pages = queue.draft(draft).await?;
        Ok(Some(Ready { pages, source_sha256: upload.source_sha256(), options: self.options }))
    }
}

/// Whether a cover page alone is a fax.
fn says_something(cover: &Cover) -> bool {
    cover.note.is_some() || cover.subject.is_some()
}

/// How documents become pages.
pub(super) fn options(upload: &Upload) -> Result<Options, ApiError> {
    Ok(Options {
        resolution: word(upload, "resolution", "standard, fine or superfine", Resolution::from_name)?
            .unwrap_or(Resolution::FINE),
        quality: word(upload, "quality", "text or photo", Quality::from_name)?.unwrap_or_default(),
    })
}

/// The number a client wrote, if its key may send there.
pub(super) fn number(request: &Permitted, raw: &str) -> Result<FaxNumber, ApiError> {
    let to = FaxNumber::parse(raw, &request.app.config().country_code)
        .map_err(|error| ApiError::new(&INVALID_NUMBER, error.to_string()))?;
    if request.caller.may_dial(to.as_e164()) {
        return Ok(to);
    }
    Err(ApiError::new(&NO_SCOPE, "This key may not send to this number.").with_reason("resource"))
}

pub(super) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(super) fn word<T>(
    upload: &Upload,
    field: &str,
    allowed: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let refused = || ApiError::field(field, "invalid", format!("'{field}' must be {allowed}."));
    upload.field(field).map(|text| read(text).ok_or_else(refused)).transpose()
}

/// Who is told of the fax by e-mail, and of what.
fn notify(request: &Permitted, upload: &Upload, is_group: bool) -> Result<Option<Notify>, ApiError> {
    let mail = &request.app.config().mail;
    let asked = word(upload, "notify", "none, done, requeued or both", |word| word.parse::<When>().ok())?;
    let to = word(upload, "notify_to", "one e-mail address, like desk@example.org", |text| {
        text.parse::<Address>().ok()
    })?;
    let refused = |field, code, message: &str| Err(ApiError::field(field, code, message));
    if is_group && asked == Some(When::Requeued) {
        let message = "'notify' must be none, done or both: of several numbers only the end of all is told.";
        return refused("notify", "invalid", message);
    }
    // Such a key is in everybody's browser, and would write to anybody from there.
    if to.is_some() && request.caller.is_restricted() {
        let message = "'notify_to' is not for restricted keys; they tell the addresses of mail.to alone.";
        return refused("notify_to", "forbidden", message);
    }
    let when = asked.unwrap_or(mail.notify);
    let is_wanted = asked.is_some_and(|when| when != When::None) || to.is_some();
    if is_wanted && !mail.is_on() {
        let message = "No e-mail is sent from here; an administrator sets mail.server and mail.from.";
        return refused(if asked.is_some() { "notify" } else { "notify_to" }, "unavailable", message);
    }
    if is_wanted && to.is_none() && mail.to.is_empty() {
        let message = "'notify' needs 'notify_to', an e-mail address: mail.to names nobody.";
        return refused("notify_to", "missing", message);
    }
    // Who names somebody to tell wants them told of something.
    let when = if asked.is_none() && to.is_some() && when == When::None { When::Done } else { when };
    let to = to.map_or_else(|| mail.to.clone(), |to| vec![to]);
    Ok(if mail.is_on() { Notify::new(when, to) } else { None })
}

fn time(upload: &Upload, field: &str) -> Result<Option<Timestamp>, ApiError> {
    word(upload, field, "a time like 2026-11-21T14:05:00Z", |text| text.parse().ok())
}

pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn tag(upload: &Upload) -> Result<Option<String>, ApiError> {
    word(upload, "tag", "at most 200 characters without line breaks", |text| {
        is_tag(text).then(|| text.to_owned())
    })
}

/// Whether this can be a client's own reference.
pub(super) fn is_tag(text: &str) -> bool {
    text.chars().count() <= TAG_LEN && !text.chars().any(char::is_control)
}

/// The client's name for this request to `path`, if it gave one; `request_hash` tells requests
/// apart.
pub(super) fn idempotency(
    request: &Permitted,
    path: &str,
    request_hash: impl FnOnce() -> [u8; 32],
) -> Result<Option<Idempotency>, ApiError> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let name =
        value.to_str().ok().filter(|name| (1..=IDEMPOTENCY_KEY_LEN).contains(&name.len())).ok_or_else(
            || {
                ApiError::field(
                    "Idempotency-Key",
                    "invalid",
                    "'Idempotency-Key' must be 1 to 255 printable characters.",
                )
            },
        )?;
    Ok(Some(Idempotency {
        key_id: request.caller.label(),
        path: path.to_owned(),
        name: name.to_owned(),
        request_hash: request_hash(),
    }))
}
