//! `/admin/settings`: every setting with where its value is from, and changing them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::HeaderValue;
use warp::http::StatusCode;
use warp::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use warp::reply::Response;

use super::{answer, get, json, post};
use crate::access::roles::Role;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::app::settings::{Changed, Changes, Shown, is_global};
use crate::http::error::{ApiError, NO_SCOPE, ProblemBody};
use crate::http::request::{Permitted, Request};

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let settings = || warp::path!("admin" / "settings");
    let show = settings().and(get(app)).then(|request| answer(show(request)));
    let change = settings().and(super::put(app)).then(|request| answer(change(request)));
    let validate = warp::path!("admin" / "settings" / "validate")
        .and(post(app))
        .then(|request| answer(validate(request)));
    let reload =
        warp::path!("admin" / "settings" / "reload").and(post(app)).then(|request| answer(reload(request)));
    let export =
        warp::path!("admin" / "settings" / "export").and(get(app)).then(|request| answer(export(request)));
    show.or(change).unify().or(validate).unify().or(reload).unify().or(export).unify().boxed()
}

/// All settings.
#[derive(Serialize, ToSchema)]
#[schema(as = Settings)]
pub(in crate::http) struct SettingsView {
    settings: Vec<SettingView>,
    /// Secrets come from the environment alone; of them only whether they are set is told.
    secrets: Vec<SecretView>,
    /// Settings that were changed and wait for the next start.
    restart_needed: Vec<&'static str>,
}

/// One setting.
#[derive(Serialize, ToSchema)]
#[schema(as = Setting)]
pub(in crate::http) struct SettingView {
    /// As in the configuration file: `section.key`.
    key: &'static str,
    section: &'static str,
    /// Its value, as one would write it.
    value: String,
    default: &'static str,
    /// `default`, `file`, `stored` (changed here), `environment` or `command_line`: a later one counts
    /// in place of an earlier.
    source: &'static str,
    /// The same precisely: file and line, or the name of the variable.
    source_detail: String,
    /// What is stored here, although something else may count in its place; null when nothing is.
    stored: Option<String>,
    /// Whether something counts in place of what is stored, or would be.
    overridden: bool,
    /// `truth`, `number`, `choice` or `text`
    form: &'static str,
    /// The words of a choice.
    choices: Vec<&'static str>,
    /// What is allowed, in words.
    allowed: &'static str,
    /// Environment variables that set it.
    env: &'static [&'static str],
    /// `live`, or `restart` when a change waits for the next start.
    applies: &'static str,
    /// Whether it was changed and waits for that.
    pending: bool,
    /// Whether this caller may change it here.
    changeable: bool,
}

/// A setting whose value is never shown.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SecretView {
    /// Its environment variable.
    name: &'static str,
    set: bool,
}

/// What came of a change.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SettingsChanged {
    /// Settings that have another value now.
    changed: Vec<&'static str>,
    /// What was stored but does not count, and what counts in its place.
    overridden: Vec<Overridden>,
    /// Settings that wait for the next start, also from earlier changes.
    restart_needed: Vec<&'static str>,
}

/// A stored value that does not count.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Overridden {
    key: &'static str,
    /// As in `environment variable MAX_REQUESTS_PER_MINUTE`.
    by: String,
}

impl From<Changed> for SettingsChanged {
    fn from(changed: Changed) -> Self {
        let overridden = changed.overridden.into_iter().map(|(key, by)| Overridden { key, by });
        Self { changed: changed.changed, overridden: overridden.collect(), restart_needed: changed.pending }
    }
}

/// One value: a text, a number or true or false; null forgets what is stored.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Truth(bool),
    Number(i64),
    Text(String),
}

impl SettingView {
    fn new(shown: Shown, role: Role) -> Self {
        let choices = shown.form.choices().to_vec();
        let overrides = matches!(shown.standing.source.as_str(), "environment" | "command_line");
        Self {
            key: shown.key,
            section: shown.key.split_once('.').map_or("", |(section, _)| section),
            value: shown.standing.value,
            default: shown.default,
            source: shown.standing.source.as_str(),
            source_detail: shown.standing.source.to_string(),
            stored: shown.standing.stored,
            overridden: overrides,
            form: shown.form.as_str(),
            choices,
            allowed: shown.allowed,
            env: shown.env,
            applies: if shown.is_live { "live" } else { "restart" },
            pending: shown.is_pending,
            changeable: shown.is_changeable && (!shown.is_global || role == Role::GlobalAdmin),
        }
    }
}

/// Every setting: its value, where that is from, and what is allowed
#[utoipa::path(get, path = "/admin/settings", tag = "admin", security(("api_key" = ["settings:read"])),
    responses((status = 200, body = SettingsView)))]
pub(in crate::http) async fn show(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsRead).await?;
    let role = request.caller.role;
    let view = SettingsView {
        settings: request.app.settings().into_iter().map(|shown| SettingView::new(shown, role)).collect(),
        secrets: vec![
            SecretView { name: "API_KEY", set: request.app.config().api_key.is_some() },
            SecretView { name: "PAGEWIRE_MAIL_PASSWORD", set: request.app.config().mail.password.is_some() },
        ],
        restart_needed: request.app.pending_settings(),
    };
    json(StatusCode::OK, &view)
}

/// Change settings
///
/// The body names those to change, as in `{"security.max_requests_per_minute": 120}`; all of them or
/// none. They are stored in the appliance and count before the configuration file, but not before the
/// environment and the command line; null forgets what is stored. Certificates, the sandbox and which
/// keys can be shown again are for global administrators.
#[utoipa::path(put, path = "/admin/settings", tag = "admin", security(("api_key" = ["settings:write"])),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses((status = 200, body = SettingsChanged),
        (status = 422, description = "A setting or its value cannot be used; `errors` names each", body = ProblemBody)))]
pub(in crate::http) async fn change(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsWrite).await?;
    let changes = read(&request).await?;
    let app = request.app.clone();
    let by = request.audit_context();
    // Half a change would be none: it goes on when the client hangs up.
    let task = tokio::spawn(async move { app.change_settings(changes, &by).await });
    let changed = task.await.map_err(|panic| ApiError::internal(&panic))??;
    json(StatusCode::OK, &SettingsChanged::from(changed))
}

/// Look whether settings could be changed so; nothing is changed
#[utoipa::path(post, path = "/admin/settings/validate", tag = "admin", security(("api_key" = ["settings:write"])),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses((status = 200, description = "They could; what would change", body = SettingsChanged),
        (status = 422, description = "A setting or its value cannot be used; `errors` names each", body = ProblemBody)))]
pub(in crate::http) async fn validate(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsWrite).await?;
    let changes = read(&request).await?;
    let changed = request.app.check_settings(&changes).await?;
    json(StatusCode::OK, &SettingsChanged::from(changed))
}

/// Read the configuration file anew
#[utoipa::path(post, path = "/admin/settings/reload", tag = "admin", security(("api_key" = ["settings:write"])),
    responses((status = 200, body = SettingsChanged),
        (status = 422, description = "The file cannot be used; the old settings stay", body = ProblemBody)))]
pub(in crate::http) async fn reload(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsWrite).await?;
    let changed = request.app.reload_settings(&request.audit_context()).await?;
    json(StatusCode::OK, &SettingsChanged::from(changed))
}

/// The settings in force as a configuration file, without secrets
#[utoipa::path(get, path = "/admin/settings/export", tag = "admin", security(("api_key" = ["settings:read"])),
    responses((status = 200, content_type = "application/toml", body = String)))]
pub(in crate::http) async fn export(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsRead).await?;
    let mut response = Response::new(request.app.config().to_toml().into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/toml"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"pagewire.toml\""));
    Ok(response)
}

/// The body as texts, if the caller may change all of it.
async fn read(request: &Permitted) -> Result<Changes, ApiError> {
    let body: BTreeMap<String, Option<Value>> = request.body()?.json().await?;
    let is_global_admin = request.caller.role == Role::GlobalAdmin;
    if let Some(key) = body.keys().find(|key| is_global(key) && !is_global_admin) {
        return Err(ApiError::new(&NO_SCOPE, format!("Only a global administrator changes '{key}'.")));
    }
    let text = |value| match value {
        Value::Truth(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text,
    };
    Ok(body.into_iter().map(|(key, value)| (key, value.map(text))).collect())
}
