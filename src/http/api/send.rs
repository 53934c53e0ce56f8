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

use super::fax_view::{DryRun, FaxView};
use super::upload::{Upload, check_announced};
use super::{answer, json, json_text, post};
use crate::access::kind::Mode;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::codec::page::Resolution;
use crate::convert::{Options, Quality};
use crate::fax::job::Priority;
use crate::fax::number::FaxNumber;
use crate::http::error::{
    ApiError, IDEMPOTENCY_IN_FLIGHT, IDEMPOTENCY_MISMATCH, INVALID_NUMBER, NO_SCOPE, ProblemBody,
};
use crate::http::request::{Permitted, Request};
use crate::queue::{Content, Idempotency, NewFax, QueueError, Submitted};

/// Longest `Idempotency-Key`.
const IDEMPOTENCY_KEY_LEN: usize = 255;
/// Longest `tag`.
const TAG_LEN: usize = 200;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    warp::path!("fax").and(post(app)).then(|request| answer(send(request))).boxed()
}

/// The form of `POST /fax`, for the description.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the form is read part by part; this only describes it")]
pub(in crate::http) struct SendForm {
    /// Fax number: E.164, or digits only
    #[schema(example = "+15551234567")]
    to: String,
    /// PDF, text, TIFF, PNG or JPEG; several parts become one fax in their order
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<Vec<u8>>,
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
    /// `1`: check everything, send nothing
    dry_run: Option<String>,
}

/// Send a fax
///
/// Answers 202 once document and job are on disk.
#[utoipa::path(post, path = "/fax", tag = "fax", security(("api_key" = ["fax:send"])),
    params(("as_key" = Option<String>, Query, description = "In a session: id of a key to send as"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and request give the same answer for 24 hours")),
    request_body(content = SendForm, content_type = "multipart/form-data"),
    responses((status = 202, description = "Accepted and safe", body = FaxView),
        (status = 200, description = "dry_run", body = DryRun),
        (status = 400, description = "The number is not one", body = ProblemBody),
        (status = 408, description = "The body stopped arriving", body = ProblemBody),
        (status = 409, description = "The same Idempotency-Key is being worked on", body = ProblemBody),
        (status = 413, description = "Too large", body = ProblemBody),
        (status = 415, description = "Not a document we take", body = ProblemBody),
        (status = 422, description = "No file, an unusable document, or a wrong field", body = ProblemBody)))]
pub(in crate::http) async fn send(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxSend).await?.sending_as_key(Scope::FaxSend)?;
    let max_mb = request.app.config().max_file_size_mb;
    check_announced(announced_length(&request.headers), max_mb)?;
    let content_type = request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let upload = Upload::read(request.body()?, content_type, max_mb, request.app.uploads()).await?;
    let order = Order::new(&request, &upload)?;
    // A client that hangs up must not leave a stored document without its row.
    let task = tokio::spawn(carry_out(request, upload, order));
    task.await.unwrap_or_else(|panic| Err(ApiError::internal(&panic)))
}

async fn carry_out(request: Permitted, upload: Upload, order: Order) -> Result<Response, ApiError> {
    let queue = request.app.queue();
    if order.dry_run {
        return dry_run(&request, upload, &order).await;
    }
    let new = NewFax {
        owner: request.caller.owner,
        key_id: request.caller.key_id.as_ref().map(ToString::to_string),
        to_raw: order.to_raw,
        to: order.to,
        route: order.route,
        content: Content::Documents(upload.documents.clone()),
        documents_hash: upload.documents_hash,
        options: order.options,
        priority: order.priority,
        tag: order.tag,
        schedule_at: order.schedule_at,
        deadline_at: order.deadline_at,
        allowance: request.app.keys().allowance(&request.caller),
        idempotency: order.idempotency,
    };
    let submitted = queue.submit(new, |job| {
        let body = serde_json::to_string(&FaxView::from(job)).unwrap_or_default();
        (StatusCode::ACCEPTED.as_u16(), body)
    });
    let submitted = submitted.await.map_err(|error| match error {
        QueueError::Overspent(over) => {
            ApiError::quota(over.to_string(), over.limit(), request.app.keys().day_ends_s())
        }
        error => error.into(),
    })?;
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

async fn dry_run(request: &Permitted, upload: Upload, order: &Order) -> Result<Response, ApiError> {
    let converted = request.app.converter().convert(upload.documents.clone(), order.options, |_| {}).await?;
    let why = match request.caller.mode {
        Mode::Test => "test keys always go to the simulator",
        Mode::Live => "it is the configured route (line.route)",
    };
    let body = DryRun {
        to: order.to_raw.clone(),
        to_e164: order.to.as_e164().to_owned(),
        route: order.route.clone(),
        why: why.to_owned(),
        pages: converted.pages.len() as u32,
        seconds_per_page: DryRun::seconds(&converted.pages),
        dry_run: true,
    };
    json(StatusCode::OK, &body)
}

/// A request to send, checked.
struct Order {
    to_raw: String,
    to: FaxNumber,
    route: String,
    options: Options,
    priority: Priority,
    tag: Option<String>,
    schedule_at: Option<Timestamp>,
    deadline_at: Option<Timestamp>,
    dry_run: bool,
    idempotency: Option<Idempotency>,
}

impl Order {
    fn new(request: &Permitted, upload: &Upload) -> Result<Self, ApiError> {
        let config = request.app.config();
        let to_raw = upload.raw("to").unwrap_or_default();
        let to = FaxNumber::parse(to_raw, &config.country_code)
            .map_err(|error| ApiError::new(&INVALID_NUMBER, error.to_string()))?;
        if !request.caller.may_dial(to.as_e164()) {
            return Err(
                ApiError::new(&NO_SCOPE, "This key may not send to this number.").with_reason("resource")
            );
        }
        if upload.documents.is_empty() {
            return Err(ApiError::field("file", "missing", "A part 'file' with the document is missing."));
        }
        for field in ["route", "from", "header", "cover", "note"] {
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
        Ok(Self {
            to_raw: to_raw.to_owned(),
            to,
            route: request.app.route_of(request.caller.mode).to_string(),
            options: Options {
                resolution: word(upload, "resolution", "standard, fine or superfine", Resolution::from_name)?
                    .unwrap_or(Resolution::FINE),
                quality: word(upload, "quality", "text or photo", Quality::from_name)?.unwrap_or_default(),
            },
            priority: word(upload, "priority", "high, normal or bulk", |word| word.parse().ok())?
                .unwrap_or_default(),
            tag: tag(upload)?,
            schedule_at,
            deadline_at,
            dry_run: word(upload, "dry_run", "1 or 0", truth)?.unwrap_or(false),
            idempotency: idempotency(request, upload)?,
        })
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn word<T>(
    upload: &Upload,
    field: &str,
    allowed: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let refused = || ApiError::field(field, "invalid", format!("'{field}' must be {allowed}."));
    upload.field(field).map(|text| read(text).ok_or_else(refused)).transpose()
}

fn time(upload: &Upload, field: &str) -> Result<Option<Timestamp>, ApiError> {
    word(upload, field, "a time like 2026-11-21T14:05:00Z", |text| text.parse().ok())
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn tag(upload: &Upload) -> Result<Option<String>, ApiError> {
    let fits = |text: &str| text.chars().count() <= TAG_LEN && !text.chars().any(char::is_control);
    word(upload, "tag", "at most 200 characters without line breaks", |text| {
        fits(text).then(|| text.to_owned())
    })
}

fn idempotency(request: &Permitted, upload: &Upload) -> Result<Option<Idempotency>, ApiError> {
    let Some(value) = request.headers.get("idempotency-key") else { return Ok(None) };
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
        path: "/fax".to_owned(),
        name: name.to_owned(),
        request_hash: upload.request_hash,
    }))
}
