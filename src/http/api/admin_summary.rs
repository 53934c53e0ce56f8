//! `/admin/summary`: the appliance at a glance, for the first screen somebody sees.
//!
//! Owns: what is on that screen and who sees which part of it. Whoever may see everybody's faxes, and
//! viewers, get the counts of all; others get their own. Refuses: whole numbers to viewers.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::admin_dialling::DiallingView;
use super::attention::{self, Attention};
use super::{answer, get, json, query};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::db::summary::{Ended, Open, Received};
use crate::fax::dialling::day_of;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::request::{Permitted, Request};
use crate::id::AccountId;

/// The longest span that is counted.
const LONGEST: SignedDuration = SignedDuration::from_hours(31 * 24);

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    warp::path!("admin" / "summary").and(get(app)).then(|request| answer(show(request))).boxed()
}

/// From when on to count.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct SummaryQuery {
    /// Count from this time on, 31 days back at most; the day in UTC when not given
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
}

/// The appliance at a glance.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Summary {
    version: &'static str,
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    uptime_s: i64,
    /// `all`, or `own` when the counts are of the caller's own faxes.
    of: &'static str,
    /// From when on it was counted.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    ended: EndedView,
    open: OpenView,
    /// Null for who may not list received faxes.
    received: Option<ReceivedView>,
    dialling: DiallingView,
    disk: DiskView,
    /// The HTTPS certificate; null without HTTPS.
    certificate: Option<CertificateView>,
    /// What needs a person, the most urgent first; empty when all is well.
    attention: Vec<Attention>,
}

/// Faxes that ended in the span.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct EndedView {
    delivered: u64,
    partial: u64,
    failed: u64,
    expired: u64,
    cancelled: u64,
    /// Pages that arrived.
    pages: u64,
    /// Of the delivered ones, how many arrived in their first call; null when none was delivered.
    first_try_percent: Option<u32>,
}

/// Faxes that have not ended.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OpenView {
    waiting: u64,
    under_way: u64,
    scheduled: u64,
    held: u64,
}

/// Received faxes.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ReceivedView {
    /// In the span.
    faxes: u64,
    /// Their pages.
    pages: u64,
    /// However old.
    unread: u64,
}

/// The disk the documents are on.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DiskView {
    /// `ample`, `low` or `full`.
    level: &'static str,
    used_percent: u32,
    available_bytes: u64,
    total_bytes: u64,
}

/// The HTTPS certificate.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CertificateView {
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    /// Whole days until then.
    days_left: Option<i64>,
    /// Whether the appliance renews it by itself; it does not when it was given one.
    renews_itself: bool,
}

/// What happened today, what is under way, and what needs a person
#[utoipa::path(get, path = "/admin/summary", tag = "admin", params(SummaryQuery), security(("api_key" = ["diagnostics:read"])),
    responses((status = 200, body = Summary), (status = 422, description = "The time cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn show(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::DiagnosticsRead).await?;
    let asked: SummaryQuery = query(request.query())?;
    let (app, now) = (&request.app, request.app.clock().now());
    let since = asked.since.unwrap_or(day_of(now));
    if now.duration_since(since) > LONGEST {
        return Err(ApiError::field("since", "too_early", "'since' must be within the last 31 days."));
    }
    let owner = owner(&request);
    let received = match request.caller.may(Scope::InboundList) {
        true => Some(app.db().received_since(since).await?.into()),
        false => None,
    };
    let space = app.queue().space()?;
    let summary = Summary {
        version: env!("CARGO_PKG_VERSION"),
        now,
        started_at: app.started_at(),
        uptime_s: now.duration_since(app.started_at()).as_secs().max(0),
        of: if owner.is_none() { "all" } else { "own" },
        since,
        ended: app.db().ended_since(since, owner).await?.into(),
        open: app.db().open_faxes(owner).await?.into(),
        received,
        dialling: DiallingView::new(&app.queue().dialling_state()?),
        disk: DiskView {
            level: app.queue().storage_level()?.as_str(),
            used_percent: space.used_percent,
            available_bytes: space.available_bytes,
            total_bytes: space.total_bytes,
        },
        certificate: certificate(app, now),
        attention: attention::of(&request, owner, now).await?,
    };
    json(StatusCode::OK, &summary)
}

/// Whose faxes are counted; nobody's in particular is everybody's.
pub(super) fn owner(request: &Permitted) -> Option<AccountId> {
    (!request.caller.watches_everything()).then_some(request.caller.owner)
}

/// The certificate clients see.
pub(super) fn certificate(app: &App, now: Timestamp) -> Option<CertificateView> {
    let certificates = app.certificates()?;
    let ends_at = certificates.ends_at();
    Some(CertificateView {
        ends_at,
        days_left: ends_at.map(|end| end.duration_since(now).as_hours().div_euclid(24)),
        renews_itself: !certificates.are_own(),
    })
}

impl CertificateView {
    /// When it ends, if somebody has to give another one before.
    pub(super) fn ends_by_hand(&self) -> Option<(Timestamp, i64)> {
        self.ends_at.zip(self.days_left).filter(|_| !self.renews_itself)
    }
}

impl From<Ended> for EndedView {
    fn from(ended: Ended) -> Self {
        let percent = (ended.at_first_try * 100).checked_div(ended.delivered);
        Self {
            delivered: ended.delivered,
            partial: ended.partial,
            failed: ended.failed,
            expired: ended.expired,
            cancelled: ended.cancelled,
            pages: ended.pages,
            first_try_percent: percent.and_then(|percent| u32::try_from(percent).ok()),
        }
    }
}

impl From<Open> for OpenView {
    fn from(open: Open) -> Self {
        Self { waiting: open.waiting, under_way: open.under_way, scheduled: open.scheduled, held: open.held }
    }
}

impl From<Received> for ReceivedView {
    fn from(received: Received) -> Self {
        Self { faxes: received.faxes, pages: received.pages, unread: received.unread }
    }
}
