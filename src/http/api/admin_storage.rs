//! `/admin/storage`: how full the disk is, what is deleted when, and whether all is accounted for.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, get, json, post};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::fax::retention::{Level, WhenLow};
use crate::http::error::ApiError;
use crate::http::request::Request;
use crate::queue::{KindState, StorageState};

/// What events about the store are about.
const EVENTS: &str = "storage";
/// The one that tells of an accounting.
const ACCOUNTED: &str = "storage.accounted";
/// Events among which the last accounting is looked for.
const LOOKED_AT: u32 = 100;
/// Seconds after which to ask again while an accounting runs.
const AGAIN_S: u64 = 30;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let show = warp::path!("admin" / "storage").and(get(app)).then(|request| answer(show(request)));
    let clean =
        warp::path!("admin" / "storage" / "clean").and(post(app)).then(|request| answer(clean(request)));
    let reconcile = warp::path!("admin" / "storage" / "reconcile")
        .and(post(app))
        .then(|request| answer(reconcile(request)));
    show.or(clean).unify().or(reconcile).unify().boxed()
}

/// How the store stands.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct StorageView {
    /// `ample`, `low`, or `full` when faxes are received but none to be sent is taken in.
    level: &'static str,
    /// What that is, for a person.
    sentence: &'static str,
    /// Size of the file system the documents are on.
    total_bytes: u64,
    available_bytes: u64,
    /// By bytes or by file entries, whichever is fuller.
    used_percent: u32,
    warn_percent: u32,
    stop_sends_percent: u32,
    /// `keep`, `delete_sent` or `delete_all`.
    when_low: &'static str,
    sent: KeptView,
    received: KeptView,
    /// Files of deleted faxes that are still to be removed.
    files_to_remove: u64,
    /// The last accounting; null before the first.
    accounted: Option<LastAccounting>,
}

/// When everything was last accounted for.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct LastAccounting {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// How much was not; the log names it.
    unaccounted: u64,
}

/// How faxes of one kind are kept.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct KeptView {
    /// Days they are kept; 0 is for ever.
    keep_days: u32,
    /// How many the next round deletes because of their age.
    due: u64,
    /// When the oldest one ended, or was received.
    #[schema(value_type = Option<String>, format = DateTime)]
    oldest: Option<Timestamp>,
    /// When the time of that one is over; null when they are kept for ever.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_due: Option<Timestamp>,
    /// How many were ever deleted.
    deleted: u64,
    deleted_pages: u64,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_deleted_at: Option<Timestamp>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CleanedView {
    sent: u64,
    received: u64,
}

/// What an accounting found.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AccountsView {
    /// Sent faxes looked at.
    faxes: u64,
    /// Their calls.
    calls: u64,
    /// Arrivals that routes keep record of.
    route_records: u64,
    received: u64,
    /// Stored documents.
    files: u64,
    /// How much does not fit together.
    unaccounted: u64,
    /// What that is, a sentence each; a hundred at most.
    problems: Vec<String>,
}

/// How full the disk is, and what is deleted when
#[utoipa::path(get, path = "/admin/storage", tag = "admin", security(("api_key" = ["settings:read"])),
    responses((status = 200, body = StorageView)))]
pub(in crate::http) async fn show(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsRead).await?;
    let state = request.app.queue().storage().await?;
    let told = request.app.db().events_about(EVENTS.to_owned(), i64::MAX, LOOKED_AT).await?;
    let last = told.into_iter().find(|logged| logged.event.kind == ACCOUNTED);
    let accounted = last.map(|logged| LastAccounting {
        at: logged.event.at,
        unaccounted: logged.event.data["unaccounted"].as_u64().unwrap_or(0),
    });
    json(StatusCode::OK, &StorageView { accounted, ..StorageView::from(&state) })
}

/// Delete now what the rules say
///
/// The appliance does so every hour by itself; nothing is deleted that would not be then.
#[utoipa::path(post, path = "/admin/storage/clean", tag = "admin", security(("api_key" = ["settings:write"])),
    responses((status = 200, body = CleanedView)))]
pub(in crate::http) async fn clean(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsWrite).await?;
    let queue = request.app.queue().clone();
    // It goes on when the client hangs up.
    let task = tokio::spawn(async move { queue.clean().await });
    let cleaned = task.await.map_err(|panic| ApiError::internal(&panic))??;
    json(StatusCode::OK, &CleanedView { sent: cleaned.sent, received: cleaned.received })
}

/// Account for every fax, call, record of a route and stored file
///
/// The appliance does so every night by itself. Nothing is changed; an event `storage.accounted` tells.
#[utoipa::path(post, path = "/admin/storage/reconcile", tag = "admin", security(("api_key" = ["settings:write"])),
    responses((status = 200, body = AccountsView)))]
pub(in crate::http) async fn reconcile(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsWrite).await?;
    let Some(accounts) = request.app.queue().reconcile().await? else {
        return Err(ApiError::busy("Everything is being accounted for already.", AGAIN_S));
    };
    let view = AccountsView {
        faxes: accounts.faxes,
        calls: accounts.calls,
        route_records: accounts.route_records,
        received: accounts.received,
        files: accounts.files,
        unaccounted: accounts.unaccounted,
        problems: accounts.problems.iter().map(ToString::to_string).collect(),
    };
    json(StatusCode::OK, &view)
}

impl From<&StorageState> for StorageView {
    fn from(state: &StorageState) -> Self {
        let rules = state.rules;
        Self {
            level: state.level.as_str(),
            sentence: sentence(state.level, rules.when_low),
            total_bytes: state.space.total_bytes,
            available_bytes: state.space.available_bytes,
            used_percent: state.space.used_percent,
            warn_percent: rules.warn_percent,
            stop_sends_percent: rules.stop_sends_percent,
            when_low: rules.when_low.as_str(),
            sent: KeptView::new(rules.sent_days, state.sent),
            received: KeptView::new(rules.received_days, state.received),
            files_to_remove: state.doomed,
            accounted: None,
        }
    }
}

impl KeptView {
    fn new(keep_days: u32, state: KindState) -> Self {
        Self {
            keep_days,
            due: state.due,
            oldest: state.oldest,
            next_due: state.next_due,
            deleted: state.deleted.faxes,
            deleted_pages: state.deleted.pages,
            last_deleted_at: state.deleted.at,
        }
    }
}

fn sentence(level: Level, when_low: WhenLow) -> &'static str {
    match (level, when_low) {
        (Level::Ample, _) => "There is room.",
        (Level::Low, WhenLow::Keep) => "The disk fills up: make room, or have old faxes deleted.",
        (Level::Low, _) => "The disk fills up: the oldest faxes are being deleted.",
        (Level::Full, _) => "The disk is almost full: faxes are received, but none to be sent is taken in.",
    }
}
