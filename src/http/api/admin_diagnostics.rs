//! `/admin/health-status`, `/admin/db-status`, `/admin/diagnostics/run` and `/admin/logs`: how the
//! appliance is, for who looks after it.
//!
//! Owns: the checks, their sentences and what can be done about each. Every check tries the real
//! thing; none changes anything but a probe it takes away again.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::health::{Checks, look};
use super::{admin_summary, answer, get, json, post, query};
use crate::access::records::EXPIRY_WARNING_DAYS;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::codec::page::Resolution;
use crate::convert::{Options, Quality};
use crate::db::health::DbState;
use crate::fax::retention::Level;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::request::Request;
use crate::log::{Line, last_lines};

/// A second run would only slow the first.
static RUNNING: Semaphore = Semaphore::const_new(1);
/// How long a run waits for those before it; each takes some seconds.
const TURN: Duration = Duration::from_secs(20);
/// Days before the end of a certificate that somebody has to renew.
const CERTIFICATE_DAYS: i64 = EXPIRY_WARNING_DAYS[0] as i64;
/// What a clock may differ from the newest record.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(5);
/// No appliance ran before.
const FIRST_DAY: &str = "2026-01-01T00:00:00Z";
/// What becomes a page, to see whether that works.
const SAMPLE: &[u8] = b"Pagewire looks whether documents become pages: The quick brown fox, 1234567890.\n";

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let health =
        warp::path!("admin" / "health-status").and(get(app)).then(|request| answer(health_status(request)));
    let db = warp::path!("admin" / "db-status").and(get(app)).then(|request| answer(db_status(request)));
    let run =
        warp::path!("admin" / "diagnostics" / "run").and(post(app)).then(|request| answer(run(request)));
    let logs = warp::path!("admin" / "logs").and(get(app)).then(|request| answer(logs(request)));
    health.or(db).unify().or(run).unify().or(logs).unify().boxed()
}

/// How the appliance is.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct HealthStatus {
    /// `healthy` or `unhealthy`.
    status: &'static str,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    version: &'static str,
    uptime_s: i64,
    checks: Checks,
    /// Faxes that have not ended.
    queue: QueueStatus,
}

/// Faxes that have not ended.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct QueueStatus {
    waiting: u64,
    under_way: u64,
    scheduled: u64,
    held: u64,
    paused: bool,
}

/// How the appliance is, in one answer
#[utoipa::path(get, path = "/admin/health-status", tag = "admin", security(("api_key" = ["diagnostics:read"])),
    responses((status = 200, body = HealthStatus)))]
pub(in crate::http) async fn health_status(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::DiagnosticsRead).await?;
    let app = &request.app;
    let now = app.clock().now();
    let (is_ready, checks) = look(app).await;
    let open = app.db().open_faxes(admin_summary::owner(&request)).await?;
    let status = HealthStatus {
        status: if is_ready { "healthy" } else { "unhealthy" },
        timestamp: now,
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: now.duration_since(app.started_at()).as_secs().max(0),
        checks,
        queue: QueueStatus {
            waiting: open.waiting,
            under_way: open.under_way,
            scheduled: open.scheduled,
            held: open.held,
            paused: app.queue().dialling()?.pause().is_some(),
        },
    };
    json(StatusCode::OK, &status)
}

/// How the database is.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DbStatus {
    sqlite: &'static str,
    /// Number of the schema.
    schema: u32,
    bytes: u64,
    /// What deleted rows have left free in it.
    free_bytes: u64,
    /// Of the write-ahead log beside it.
    wal_bytes: u64,
    tables: Vec<TableStatus>,
}

/// One table.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TableStatus {
    name: &'static str,
    rows: u64,
}

impl From<DbState> for DbStatus {
    fn from(state: DbState) -> Self {
        Self {
            sqlite: state.sqlite,
            schema: state.schema,
            bytes: state.bytes,
            free_bytes: state.free_bytes,
            wal_bytes: state.wal_bytes,
            tables: state.rows.into_iter().map(|(name, rows)| TableStatus { name, rows }).collect(),
        }
    }
}

/// How large the database is
#[utoipa::path(get, path = "/admin/db-status", tag = "admin", security(("api_key" = ["settings:read"])),
    responses((status = 200, body = DbStatus)))]
pub(in crate::http) async fn db_status(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsRead).await?;
    json(StatusCode::OK, &DbStatus::from(request.app.db().state().await?))
}

/// What all checks found.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DiagnosticsReport {
    /// `ok`, or the gravest of the checks.
    status: &'static str,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    checks: Vec<CheckView>,
}

/// What one check found.
#[derive(Serialize, ToSchema)]
#[schema(as = DiagnosticsCheck)]
pub(in crate::http) struct CheckView {
    /// A stable word.
    name: &'static str,
    /// What was looked at.
    title: &'static str,
    /// `ok`, `warning` or `failed`.
    status: &'static str,
    /// What was found.
    detail: String,
    /// What can be done; null when all is well.
    remedy: Option<&'static str>,
    took_ms: u64,
}

/// What a check found, before it is shown.
enum Found {
    Well(String),
    Warning(String, &'static str),
    Failed(String, &'static str),
}

use Found::{Failed, Warning, Well};

/// Try everything the appliance needs, and say what can be done about what does not work
///
/// Takes some seconds; one run at a time, so that a second one waits for the first.
#[utoipa::path(post, path = "/admin/diagnostics/run", tag = "admin", security(("api_key" = ["diagnostics:read"])),
    responses((status = 200, body = DiagnosticsReport)))]
pub(in crate::http) async fn run(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::DiagnosticsRead).await?;
    let Ok(Ok(_only_one)) = tokio::time::timeout(TURN, RUNNING.acquire()).await else {
        return Err(ApiError::busy("The checks are running already, and others wait for their turn.", 5));
    };
    let app = &request.app;
    let mut checks = Vec::new();
    let mut started = Instant::now();
    let mut add = |name, title, found| {
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        started = Instant::now();
        let (status, detail, remedy) = match found {
            Well(detail) => ("ok", detail, None),
            Warning(detail, remedy) => ("warning", detail, Some(remedy)),
            Failed(detail, remedy) => ("failed", detail, Some(remedy)),
        };
        checks.push(CheckView { name, title, status, detail, remedy, took_ms });
    };
    add("database", "Database", database(app).await);
    add("spool", "Stored documents", spool(app).await);
    add("sealing", "Sealing key", sealing(app));
    add("recovery_key", "Recovery key", recovery_key(app));
    add("sandbox", "Sandbox of documents", sandbox(app).await);
    add("conversion", "Documents to pages", conversion(app).await);
    add("disk", "Room on the disk", disk(app));
    add("clock", "Clock", clock(app).await);
    add("certificate", "HTTPS certificate", certificate(app));
    add("webhooks", "Webhooks", webhooks(app).await);
    if let Some(found) = mail(app).await {
        add("mail", "Mail server", found);
    }
    add("dialling", "Dialling", dialling(app));
    add("audit", "Audit log", audit(app).await);
    let status =
        ["failed", "warning"].into_iter().find(|status| checks.iter().any(|check| check.status == *status));
    let report = DiagnosticsReport { status: status.unwrap_or("ok"), at: app.clock().now(), checks };
    json(StatusCode::OK, &report)
}

async fn database(app: &App) -> Found {
    const REMEDY: &str = "Look at the disk and the log; if the file is damaged, restore a backup.";
    if let Err(error) = app.db().check().await {
        return Failed(format!("It does not take changes: {error}."), REMEDY);
    }
    match app.db().quick_check().await {
        Ok(faults) if faults.is_empty() => Well("It is whole and takes changes.".to_owned()),
        Ok(faults) => Failed(format!("Its file is damaged: {}.", faults.join("; ")), REMEDY),
        Err(error) => Failed(format!("It cannot be read: {error}."), REMEDY),
    }
}

async fn spool(app: &App) -> Found {
    match app.queue().check_spool().await {
        Ok(()) => Well("A document was stored, read back and removed.".to_owned()),
        Err(error) => Failed(
            format!("Documents cannot be stored: {error}."),
            "Look whether the disk is full or read-only, and whose the data folder is.",
        ),
    }
}

fn sealing(app: &App) -> Found {
    match app.sealing().seal() {
        Ok(_) => Well("It is there and opens what is stored.".to_owned()),
        Err(locked) => {
            Failed(locked.to_string(), "On the appliance, 'pagewire seal status' says what to do.")
        }
    }
}

fn recovery_key(app: &App) -> Found {
    match app.sealing().has_recovery_key() {
        Ok(true) => Well("There is one.".to_owned()),
        Ok(false) => Warning(
            "There is none: if the sealing key is lost, so are all faxes.".to_owned(),
            "On the appliance, 'pagewire seal recovery-key' makes one; keep it elsewhere.",
        ),
        Err(error) => Failed(format!("It is not known: {error}."), "Look at the check of the database."),
    }
}

async fn sandbox(app: &App) -> Found {
    match app.converter().self_test().await {
        Ok(()) if app.config().require_sandbox => {
            Well("Documents are read in a process that is locked in.".to_owned())
        }
        Ok(()) => Warning(
            "Documents are read even where the system cannot lock in the process that does.".to_owned(),
            "Set documents.require_sandbox to true.",
        ),
        Err(error) => Failed(
            format!("No process to read documents starts: {error}."),
            "The log says why; most often the system lacks seccomp or Landlock.",
        ),
    }
}

async fn conversion(app: &App) -> Found {
    let options = Options { resolution: Resolution::FINE, quality: Quality::default() };
    match app.converter().convert(vec![SAMPLE.into()], options, |_| {}).await {
        Ok(converted) if converted.pages.len() == 1 => Well("A text became a page.".to_owned()),
        Ok(converted) => Failed(
            format!("A text of one page became {}.", converted.pages.len()),
            "Install the same version again.",
        ),
        Err(error) => Failed(format!("A text became no page: {error}."), "Look at the check of the sandbox."),
    }
}

fn disk(app: &App) -> Found {
    let (space, level) = match (app.queue().space(), app.queue().storage_level()) {
        (Ok(space), Ok(level)) => (space, level),
        (Err(error), _) | (_, Err(error)) => {
            return Failed(format!("It cannot be measured: {error}."), "Look whether the disk is there.");
        }
    };
    let told =
        format!("It is {} % full; {} MB are free.", space.used_percent, space.available_bytes / 1_000_000);
    let remedy = "Make room, or have old faxes deleted (Settings → Retention).";
    match level {
        Level::Ample => Well(told),
        Level::Low => Warning(told, remedy),
        Level::Full => Failed(format!("{told} Faxes to be sent are refused."), remedy),
    }
}

async fn clock(app: &App) -> Found {
    let now = app.clock().now();
    let remedy = "Set the clock, and have it kept by a time server (timedatectl set-ntp true).";
    let newest = match app.db().state().await {
        Ok(state) => state.newest_event_at,
        Err(error) => return Failed(format!("Nothing to compare with: {error}."), remedy),
    };
    let earliest = newest.or_else(|| FIRST_DAY.parse().ok()).unwrap_or(Timestamp::MIN);
    if earliest.duration_since(now) > CLOCK_SLACK {
        return Failed(
            format!("It shows {now:.0}, which is before what was noted at {earliest:.0}."),
            remedy,
        );
    }
    Well(format!("It shows {now:.0}."))
}

fn certificate(app: &App) -> Found {
    let Some(view) = admin_summary::certificate(app, app.clock().now()) else {
        return Warning(
            "HTTPS is off: people sign in on the appliance itself only.".to_owned(),
            "Set server.https_listen.",
        );
    };
    match view.ends_by_hand() {
        Some((end, ..0)) => Failed(format!("It ended at {end:.0}."), "Install a new certificate."),
        Some((end, ..CERTIFICATE_DAYS)) => {
            Warning(format!("It ends at {end:.0}."), "Install a new certificate.")
        }
        Some((end, _)) => Well(format!("It is valid until {end:.0}.")),
        None => Well("It is renewed by the appliance itself.".to_owned()),
    }
}

async fn webhooks(app: &App) -> Found {
    match app.db().given_up().await {
        Ok(webhooks) if webhooks.is_empty() => Well("No message was given up.".to_owned()),
        Ok(webhooks) => {
            let messages: u64 = webhooks.iter().map(|webhook| webhook.deliveries).sum();
            Warning(
                format!("{messages} messages to {} receivers were given up.", webhooks.len()),
                "Look whether the receivers work, then have the messages sent again.",
            )
        }
        Err(error) => {
            Failed(format!("They cannot be looked at: {error}."), "Look at the check of the database.")
        }
    }
}

async fn mail(app: &App) -> Option<Found> {
    Some(match app.post().check().await? {
        Ok(()) => Well("It is there and lets us in; nothing was sent.".to_owned()),
        Err(error) => Failed(
            format!("Notices wait: {}.", error.in_full()),
            "Look at mail.server, mail.security and mail.user, and at the password; then send a test.",
        ),
    })
}

fn dialling(app: &App) -> Found {
    match app.queue().dialling() {
        Ok(dialling) if dialling.pause().is_some() => {
            Warning("Somebody has paused all dialling.".to_owned(), "Resume it on the first page.")
        }
        Ok(dialling) if !dialling.holds.is_empty() => Warning(
            "A limit over all faxes is reached.".to_owned(),
            "Wait, or raise line.dials_per_hour or line.minutes_per_day.",
        ),
        Ok(_) => Well("Calls may begin.".to_owned()),
        Err(error) => Failed(format!("It is not known: {error}."), "Look at the check of the database."),
    }
}

async fn audit(app: &App) -> Found {
    match app.audit().verify(None).await {
        Ok(report) => match report.fault {
            None => Well(format!("All {} rows are as they were written.", report.rows)),
            Some(fault) => Failed(
                format!("It is damaged: {fault}."),
                "Find out who touched the database; then 'pagewire audit accept-damage' takes note of it.",
            ),
        },
        Err(error) => Failed(format!("It was not verified: {error}."), "Try again in a moment."),
    }
}

/// Which lines of the log.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct LogsQuery {
    /// `error`, `warn`, `info`, `debug` or `trace`: lines of this level and graver ones
    level: Option<String>,
    /// A part of the line, in any case
    q: Option<String>,
    /// Only lines after this number: `next_after` of the answer before
    after: u64,
    /// Lines, 1 to 100; 50 by default
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// Lines of the log.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct LogLines {
    /// Oldest first; the newest that match.
    lines: Vec<LogLine>,
    /// Send as `after` to get what comes next.
    next_after: u64,
}

/// One line.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct LogLine {
    seq: u64,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `error`, `warn`, `info`, `debug` or `trace`
    level: String,
    /// The part of the program.
    part: String,
    text: String,
}

impl From<Line> for LogLine {
    fn from(line: Line) -> Self {
        let level = line.level.as_str().to_lowercase();
        Self { seq: line.seq, at: line.at, level, part: line.part, text: line.text }
    }
}

/// The last lines of the log
///
/// The last two thousand of this run; the journal has all. Tokens, numbers and names are not in it.
#[utoipa::path(get, path = "/admin/logs", tag = "admin", params(LogsQuery), security(("api_key" = ["settings:read"])),
    responses((status = 200, body = LogLines), (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn logs(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsRead).await?;
    let asked: LogsQuery = query(request.query())?;
    let limit = super::admin_jobs::limit(asked.limit)?;
    let level: log::Level = match asked.level.as_deref() {
        Some(word) => word.parse().map_err(|_| {
            ApiError::field("level", "invalid", "'level' must be error, warn, info, debug or trace.")
        })?,
        None => log::Level::Trace,
    };
    let wanted = asked.q.unwrap_or_default().to_lowercase();
    let lines = last_lines(asked.after, limit as usize, |line| {
        line.level <= level && (wanted.is_empty() || line.text.to_lowercase().contains(&wanted))
    });
    let next_after = lines.last().map_or(asked.after, |line| line.seq);
    json(StatusCode::OK, &LogLines { lines: lines.into_iter().map(LogLine::from).collect(), next_after })
}
