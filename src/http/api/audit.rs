//! `/admin/audit`: who did what, and the proof that nobody rewrote it.

use std::str::FromStr;

use bytes::Bytes;
use futures_util::stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use warp::filters::BoxedFilter;
use warp::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::Response;
use warp::{Filter, Reply};

use super::{admin_seal, answer, get, json, post, query};
use crate::access::UnknownName;
use crate::access::audit::chain::{Anchor, InvalidAnchor, Known, Mark, Place, Row};
use crate::access::audit::{Action, Snapshot, Target};
use crate::access::roles::Role;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::audit::{AnchorFound, Audit, Report};
use crate::db::audit::AuditFilter;
use crate::http::error::{ApiError, NO_SCOPE, NOT_FOUND, ProblemBody};
use crate::http::request::Request;

/// Longest reason of an acceptance, in characters.
const LONGEST_REASON: usize = 500;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let list = warp::path!("admin" / "audit").and(get(app)).then(|request| answer(list(request)));
    let verify =
        warp::path!("admin" / "audit" / "verify").and(get(app)).then(|request| answer(verify(request)));
    let export =
        warp::path!("admin" / "audit" / "export").and(get(app)).then(|request| answer(export(request)));
    let show = warp::path!("admin" / "audit" / RowSegment)
        .and(get(app))
        .then(|seq, request| answer(show(seq, request)));
    let accept = warp::path!("admin" / "audit" / "accept-damage")
        .and(post(app))
        .then(|request| answer(accept_damage(request)));
    list.or(verify).unify().or(export).unify().or(accept).unify().or(show).unify().boxed()
}

/// Which rows to list.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct AuditQuery {
    /// Rows, 1 to 100; 50 by default
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_before` of the page before
    before: Option<i64>,
    /// Who, as in `key:0123456789ab` or `cli:0`
    actor: Option<String>,
    /// What, as in `api_key.created`
    action: Option<String>,
    /// To which thing, as in `api_key:0123456789ab`
    target: Option<String>,
    /// At or after this time
    #[param(format = DateTime)]
    from: Option<String>,
    /// Before this time
    #[param(format = DateTime)]
    to: Option<String>,
}

/// One row.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditRow)]
pub(in crate::http) struct RowView {
    /// Number, from 1 without gaps.
    seq: i64,
    #[schema(value_type = Option<String>, format = DateTime)]
    time: Option<String>,
    actor: String,
    /// `api`, `console`, `cli` or `system`
    via: String,
    action: String,
    target: String,
    /// How it was, as far as it changed.
    #[schema(value_type = Option<Object>)]
    before: Value,
    /// How it is, as far as it changed; of a view, what was shown.
    #[schema(value_type = Option<Object>)]
    after: Value,
    address: Option<String>,
    request_id: Option<String>,
    reason: Option<String>,
    /// 64 hex digits.
    prev_hash: String,
    /// 64 hex digits.
    hash: String,
}

impl From<Row> for RowView {
    fn from(row: Row) -> Self {
        // What is damaged is shown as it stands; the verification says that it is.
        let object = |text: Option<String>| {
            text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap_or(Value::String(text)))
        };
        Self {
            seq: row.seq,
            time: row.time(),
            actor: row.actor,
            via: row.via,
            action: row.action,
            target: row.target,
            before: object(row.before),
            after: object(row.after),
            address: row.address,
            request_id: row.request_id,
            reason: row.reason,
            prev_hash: row.prev_hash.to_string(),
            hash: row.hash.to_string(),
        }
    }
}

/// One page of the log.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AuditRows {
    rows: Vec<RowView>,
    /// Send as `before` to get the next page; null at the end.
    next_before: Option<i64>,
}

/// Who did what, newest first
#[utoipa::path(get, path = "/admin/audit", tag = "audit", params(AuditQuery), security(("api_key" = ["audit:read"])),
    responses((status = 200, body = AuditRows), (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn list(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::AuditRead).await?;
    let asked: AuditQuery = query(request.query())?;
    let limit = super::admin_jobs::limit(asked.limit)?;
    let action = asked.action.as_deref().map(str::parse).transpose();
    let filter = AuditFilter {
        actor: asked.actor,
        action: action
            .map_err(|error: UnknownName| ApiError::field("action", "unknown", error.to_string()))?,
        target: asked.target,
        from: time("from", asked.from.as_deref())?,
        to: time("to", asked.to.as_deref())?,
    };
    let rows = request.app.audit().list(filter, asked.before, limit).await?;
    let next_before = rows.last().map(|row| row.seq).filter(|_| rows.len() == limit as usize);
    json(StatusCode::OK, &AuditRows { rows: rows.into_iter().map(RowView::from).collect(), next_before })
}

/// The part of a path that numbers a row; not that of an address of its own beside them.
pub(in crate::http) struct RowSegment(String);

impl FromStr for RowSegment {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "accept-damage" { Err(()) } else { Ok(Self(text.to_owned())) }
    }
}

/// One row
#[utoipa::path(get, path = "/admin/audit/{seq}", tag = "audit", params(("seq" = i64, Path,)),
    security(("api_key" = ["audit:read"])),
    responses((status = 200, body = RowView), (status = 404, description = "No such row, or it was pruned", body = ProblemBody)))]
pub(in crate::http) async fn show(
    RowSegment(seq): RowSegment,
    request: Request,
) -> Result<Response, ApiError> {
    let request = request.permit(Scope::AuditRead).await?;
    let missing =
        || ApiError::new(&NOT_FOUND, "The audit log has no row with this number; old ones are pruned.");
    let row = request.app.audit().row(seq.parse().map_err(|_| missing())?)?.ok_or_else(missing)?;
    json(StatusCode::OK, &RowView::from(row))
}

/// What to compare with.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct VerifyQuery {
    /// A head noted earlier and kept elsewhere, `SEQ:HASH`
    anchor: Option<String>,
}

/// A row by its number and hash.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditPlace)]
pub(in crate::http) struct PlaceView {
    seq: i64,
    /// 64 hex digits.
    hash: String,
}

impl From<Place> for PlaceView {
    fn from(place: Place) -> Self {
        Self { seq: place.seq, hash: place.hash.to_string() }
    }
}

/// The last row that was pruned.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditCheckpoint)]
pub(in crate::http) struct CheckpointView {
    #[serde(flatten)]
    place: PlaceView,
    /// Rows removed together with it.
    pruned: i64,
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
}

impl From<Mark> for CheckpointView {
    fn from(mark: Mark) -> Self {
        let at = Timestamp::from_millisecond(mark.at_ms).ok();
        Self { place: mark.place.into(), pruned: mark.pruned, at }
    }
}

/// What a verification found.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AuditReport {
    /// Whether every row is as it was written and none is missing, but for `accepted_damage`.
    ok: bool,
    /// Rows that are whole.
    rows: u64,
    /// The last of them; note it elsewhere to use it as `anchor` later.
    head: PlaceView,
    checkpoint: Option<CheckpointView>,
    /// `matches`, `pruned` or `differs`; null without an anchor, or when damage stands before it
    anchor: Option<&'static str>,
    /// Damage that somebody on the appliance took note of.
    accepted_damage: Vec<AcceptedDamage>,
    /// The first row that is wrong, beside those.
    first_bad_seq: Option<i64>,
    /// What is wrong, in a sentence.
    problem: Option<String>,
}

/// Rows that prove nothing any more, as the row `audit.damage_accepted` after them says.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AcceptedDamage {
    from_seq: i64,
    through_seq: i64,
    /// What is wrong first, in a sentence.
    problem: String,
}

impl From<Known> for AcceptedDamage {
    fn from(known: Known) -> Self {
        Self { from_seq: known.fault.seq(), through_seq: known.through, problem: known.fault.to_string() }
    }
}

impl From<Report> for AuditReport {
    fn from(report: Report) -> Self {
        Self {
            ok: report.fault.is_none(),
            rows: report.rows,
            head: report.head.into(),
            checkpoint: report.checkpoint.map(CheckpointView::from),
            anchor: report.anchor.map(|found| match found {
                AnchorFound::Matches => "matches",
                AnchorFound::Pruned => "pruned",
                AnchorFound::Differs => "differs",
            }),
            accepted_damage: report.known.into_iter().map(AcceptedDamage::from).collect(),
            first_bad_seq: report.fault.as_ref().map(crate::access::audit::chain::Fault::seq),
            problem: report.fault.map(|fault| fault.to_string()),
        }
    }
}

/// Look whether the log is whole
#[utoipa::path(get, path = "/admin/audit/verify", tag = "audit", params(VerifyQuery),
    security(("api_key" = ["audit:read"])),
    responses((status = 200, description = "Whole or not: the body says it", body = AuditReport),
        (status = 422, description = "The anchor cannot be read", body = ProblemBody)))]
pub(in crate::http) async fn verify(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::AuditRead).await?;
    let asked: VerifyQuery = query(request.query())?;
    let anchor: Option<Anchor> = asked
        .anchor
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error: InvalidAnchor| ApiError::field("anchor", "invalid", format!("{error}.")))?;
    json(StatusCode::OK, &AuditReport::from(request.app.audit().verify(anchor).await?))
}

/// Why the damage is accepted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AcceptDamage {
    /// What is known of it, for those who read the log later; 1 to 500 characters
    reason: String,
}

/// Take note of damage to the log; over the admin socket only
///
/// Rows from the first wrong one up to now prove nothing any more; the log says so from then on. They
/// are pruned when they are old enough, and what comes after them is verified as before.
#[utoipa::path(post, path = "/admin/audit/accept-damage", tag = "audit", security(("api_key" = ["admin"])),
    request_body = AcceptDamage,
    responses((status = 200, description = "Where the log goes on", body = PlaceView),
        (status = 409, description = "There is no damage", body = ProblemBody),
        (status = 422, description = "No reason", body = ProblemBody)))]
pub(in crate::http) async fn accept_damage(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::Admin).await?;
    admin_seal::check_local(
        &request,
        "Damage of the audit log is accepted on the appliance itself only, with \
        'pagewire audit accept-damage'.",
    )?;
    let body: AcceptDamage = request.body()?.json().await?;
    let reason = body.reason.trim();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
        return Err(ApiError::field(
            "reason",
            "invalid",
            "'reason' takes 1 to 500 characters: what is known of it.",
        ));
    }
    let place = request.app.audit().accept_damage(reason.to_owned(), &request.audit_context()).await?;
    json(StatusCode::OK, &PlaceView::from(place))
}

/// Which rows to export.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ExportQuery {
    /// At or after this time
    #[param(format = DateTime)]
    from: Option<String>,
    /// Before this time
    #[param(format = DateTime)]
    to: Option<String>,
}

/// The whole log, one row a line, oldest first; for a global administrator
#[utoipa::path(get, path = "/admin/audit/export", tag = "audit", params(ExportQuery),
    security(("api_key" = ["audit:read"])),
    responses((status = 200, description = "JSON lines", content_type = "application/jsonl", body = String),
        (status = 422, description = "A time cannot be read", body = ProblemBody)))]
pub(in crate::http) async fn export(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::AuditRead).await?;
    if request.caller.role != Role::GlobalAdmin {
        return Err(ApiError::new(&NO_SCOPE, "Only a global administrator exports the audit log."));
    }
    let asked: ExportQuery = query(request.query())?;
    let from = time("from", asked.from.as_deref())?;
    let to = time("to", asked.to.as_deref())?;
    let shown = Snapshot::new().with("from", from).with("to", to);
    let now = request.app.clock().now();
    let event = request.audit_context().event(Action::AuditExported, Target::new("audit", "log"), now);
    request.app.db().audited(event.after(shown)).record().await?;

    let mut response = warp::reply::stream(lines(request.app.audit().clone(), from, to)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"audit.jsonl\""));
    Ok(response)
}

fn time(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let refused =
        |_| ApiError::field(field, "invalid", format!("'{field}' must be a time like 2026-01-31T00:00:00Z."));
    text.map(str::parse).transpose().map_err(refused)
}

/// The rows as lines, a page at a time, read when the client has taken the page before. A failure
/// on the way breaks the connection, so that half an export never looks like a whole one.
fn lines(
    audit: Audit,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> impl futures_util::Stream<Item = Result<Bytes, crate::audit::AuditError>> + Send + Sync {
    let from = from.map_or(i64::MIN, Timestamp::as_millisecond);
    let to = to.map_or(i64::MAX, Timestamp::as_millisecond);
    stream::try_unfold(None, move |after: Option<i64>| {
        let audit = audit.clone();
        // A task of its own, because what a response streams must be shareable between threads.
        let page = tokio::spawn(async move {
            let rows = audit.page(after).await?;
            let Some(last) = rows.last() else { return Ok(None) };
            let next = Some(last.seq);
            let wanted = rows.iter().filter(|row| row.at_ms >= from && row.at_ms < to);
            let text: String = wanted.flat_map(|row| [row.line(), "\n".to_owned()]).collect();
            Ok(Some((Bytes::from(text), next)))
        });
        async move { page.await.unwrap_or(Err(crate::db::DbError::Closed.into())) }
    })
}
