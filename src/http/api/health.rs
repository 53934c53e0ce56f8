//! `/health`, `/health/ready` and `/openapi.json`: what everybody may know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, get, json, json_text};
use crate::app::App;
use crate::fax::retention::Level;
use crate::http::error::ApiError;
use crate::http::openapi;
use crate::http::request::Request;

/// How long a look at the parts is good for.
const FRESH: Duration = Duration::from_secs(1);

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let health = warp::path!("health").and(get(app)).then(|_| answer(health()));
    let last = LastLook::default();
    let ready = warp::path!("health" / "ready")
        .and(get(app))
        .then(move |request| answer(ready(request, last.clone())));
    let description = warp::path!("openapi.json").and(get(app)).then(|_| answer(description()));
    health.or(ready).unify().or(description).unify().boxed()
}

/// When the parts were last looked at, whether all was well, and the answers.
type LastLook = Arc<Mutex<Option<(Instant, bool, Checks)>>>;

/// Whether the server runs.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Health {
    /// Always `ok`.
    status: &'static str,
}

/// Whether the server can do its work.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Readiness {
    /// `ready` or `not_ready`.
    status: &'static str,
    /// One entry a part: `ok`, or what is wrong with it.
    checks: Checks,
    /// `running`; `paused` when somebody stopped all dialling; `limited` when the limits on telephone
    /// lines are reached; `unknown` when the database does not answer. Faxes are taken in all the same.
    dialling: &'static str,
    /// `ample`; `low` when somebody should make room; `full` when faxes are received but none to be
    /// sent is taken in; `unknown` when that cannot be measured.
    storage: &'static str,
}

#[derive(Clone, Serialize, ToSchema)]
pub(in crate::http) struct Checks {
    database: String,
    spool: String,
    /// The key of the seal; without it documents are neither opened nor accepted.
    sealing: String,
    /// Reading documents in the sandbox.
    documents: String,
}

/// Whether the server runs
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health)))]
pub(in crate::http) async fn health() -> Result<Response, ApiError> {
    json(StatusCode::OK, &Health { status: "ok" })
}

/// Whether it can do its work
#[utoipa::path(get, path = "/health/ready", tag = "health",
    responses((status = 200, body = Readiness), (status = 503, description = "Something is missing", body = Readiness)))]
pub(in crate::http) async fn ready(request: Request, last: LastLook) -> Result<Response, ApiError> {
    let app = request.unchecked();
    // Anybody may ask, and the answer costs disk syncs: askers share one look.
    let mut last = last.lock().await;
    let (ready, checks) = match &*last {
        Some((at, ready, checks)) if at.elapsed() < FRESH => (*ready, checks.clone()),
        _ => {
            let (ready, checks) = look(&app).await;
            *last = Some((Instant::now(), ready, checks.clone()));
            (ready, checks)
        }
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // What is wrong with the database is told by its check.
    let dialling = match app.queue().dialling() {
        Err(_) => "unknown",
        Ok(dialling) if dialling.pause().is_some() => "paused",
        Ok(dialling) if !dialling.holds.is_empty() => "limited",
        Ok(_) => "running",
    };
    let storage = app.queue().storage_level().map_or("unknown", Level::as_str);
    json(status, &Readiness { status: if ready { "ready" } else { "not_ready" }, checks, dialling, storage })
}

/// Tries every part.
pub(super) async fn look(app: &App) -> (bool, Checks) {
    // What is wrong is told in the log; outside, only where to look.
    let told = |part: &str, result: Result<(), String>| match result {
        Ok(()) => ("ok".to_owned(), true),
        Err(cause) => {
            log::warn!("{part} is not ready: {cause}");
            (format!("failed: see the log for '{part} is not ready'"), false)
        }
    };
    let (database, database_ok) = told("database", app.db().check().await.map_err(|error| error.to_string()));
    let (spool, spool_ok) = told("spool", app.queue().check_spool().await.map_err(|error| error.to_string()));
    let sealed = app.sealing().seal().map(drop).map_err(|locked| locked.to_string());
    let (sealing, sealing_ok) = told("sealing", sealed);
    let (documents, documents_ok) =
        told("documents", app.converter().self_test().await.map_err(|error| error.to_string()));
    (database_ok && spool_ok && sealing_ok && documents_ok, Checks { database, spool, sealing, documents })
}

/// This description
#[utoipa::path(get, path = "/openapi.json", tag = "health",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(in crate::http) async fn description() -> Result<Response, ApiError> {
    Ok(json_text(StatusCode::OK, openapi::description().to_owned()))
}
