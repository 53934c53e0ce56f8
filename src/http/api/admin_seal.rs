//! `/admin/seal`: the state of the seal, its recovery key and new key-encryption keys.
//!
//! What takes a key, or replaces the sealing key, is served over the admin socket alone. The recovery key
//! alone is shown to a person too, who wrote it down at the setup or never: to a global administrator who
//! entered the password a moment ago, so over connections nobody can read along.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, get, json, post};
use crate::access::roles::Role;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::auth::Actor;
use crate::http::error::{ApiError, NO_SCOPE, ProblemBody};
use crate::http::request::{Permitted, Request};
use crate::seal::CREDENTIAL;
use crate::sealing::Rewrapped;
use crate::secret::Secret;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let show = warp::path!("admin" / "seal").and(get(app)).then(|request| answer(show(request)));
    let recovery_key = warp::path!("admin" / "seal" / "recovery-key")
        .and(post(app))
        .then(|request| answer(new_recovery_key(request)));
    let rewrap =
        warp::path!("admin" / "seal" / "rewrap").and(post(app)).then(|request| answer(rewrap(request)));
    let recover =
        warp::path!("admin" / "seal" / "recover").and(post(app)).then(|request| answer(recover(request)));
    show.or(recovery_key).unify().or(rewrap).unify().or(recover).unify().boxed()
}

/// How the seal stands.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SealState {
    /// `open`, or `locked` when the sealing key is missing or wrong.
    state: &'static str,
    /// What is wrong and what to do, when it is locked.
    problem: Option<String>,
    /// Where the sealing key comes from: `file` or `credential`; null when it is locked.
    key_source: Option<&'static str>,
    /// Whether a recovery key was made.
    has_recovery_key: bool,
}

/// How the seal stands
#[utoipa::path(get, path = "/admin/seal", tag = "admin", security(("api_key" = ["settings:read"])),
    responses((status = 200, body = SealState)))]
pub(in crate::http) async fn show(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsRead).await?;
    let sealing = request.app.sealing();
    let key_file = sealing.key_file();
    let is_credential = |name: &std::ffi::OsStr| name == CREDENTIAL;
    let state = SealState {
        state: if key_file.is_ok() { "open" } else { "locked" },
        problem: key_file.as_ref().err().map(ToString::to_string),
        key_source: key_file
            .ok()
            .map(|file| if file.file_name().is_some_and(is_credential) { "credential" } else { "file" }),
        has_recovery_key: sealing.has_recovery_key()?,
    };
    json(StatusCode::OK, &state)
}

/// Whether an earlier recovery key may be replaced.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct NewRecoveryKey {
    /// The one made before opens nothing any more
    replace: bool,
}

/// A recovery key; the only answer it is in.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CreatedRecoveryKey {
    /// 14 groups of four letters and digits. Shown once.
    recovery_key: String,
}

/// Make the recovery key
///
/// Over the admin socket, or in the session of a global administrator who entered the password a moment
/// ago; replacing one that exists over the admin socket only.
#[utoipa::path(post, path = "/admin/seal/recovery-key", tag = "admin", security(("api_key" = ["admin"])),
    request_body = Option<NewRecoveryKey>,
    responses((status = 200, body = CreatedRecoveryKey),
        (status = 409, description = "There is one already, or the seal is locked", body = ProblemBody)))]
pub(in crate::http) async fn new_recovery_key(request: Request) -> Result<Response, ApiError> {
    let request = local_or_administrator(request.permit(Scope::Admin).await?)?;
    let body: NewRecoveryKey = request.body()?.json().await?;
    let request = if body.replace { local(request)? } else { request };
    let key = request.app.sealing().new_recovery_key(body.replace, &request.audit_context()).await?;
    log::info!("a recovery key was made by {}", request.caller.label());
    json(StatusCode::OK, &CreatedRecoveryKey { recovery_key: key.text().reveal().clone() })
}

/// The key that shall follow.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct Rewrap {
    /// 64 hex digits, of a key you install yourself; without it a new one takes the old one's file
    kek: Option<String>,
}

/// What became of the new key.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RewrapDone {
    /// Whether the new key is in force; otherwise it takes over at the first start that finds it.
    in_force: bool,
    /// Its file, when it is in force.
    key_file: Option<String>,
}

/// Replace the sealing key; over the admin socket only
#[utoipa::path(post, path = "/admin/seal/rewrap", tag = "admin", security(("api_key" = ["admin"])),
    request_body = Option<Rewrap>,
    responses((status = 200, body = RewrapDone),
        (status = 409, description = "The key cannot be replaced so", body = ProblemBody),
        (status = 422, description = "Not 64 hex digits", body = ProblemBody)))]
pub(in crate::http) async fn rewrap(request: Request) -> Result<Response, ApiError> {
    let request = local(request.permit(Scope::Admin).await?)?;
    let body: Rewrap = request.body()?.json().await?;
    let kek = body.kek.map(Secret::new);
    let bytes = kek
        .as_ref()
        .map(|text| {
            from_hex(text.reveal()).ok_or_else(|| ApiError::field("kek", "invalid", "takes 64 hex digits"))
        })
        .transpose()?;
    let given = bytes.as_ref().map(|bytes| bytes.reveal().as_slice());
    let done = request.app.sealing().rewrap(given, &request.audit_context()).await?;
    log::info!("the data key was wrapped anew by {}", request.caller.label());
    let key_file = match done {
        Rewrapped::InForce(file) => Some(file.display().to_string()),
        Rewrapped::AtItsFirstStart => None,
    };
    json(StatusCode::OK, &RewrapDone { in_force: key_file.is_some(), key_file })
}

/// The recovery key, as somebody typed it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Recover {
    recovery_key: String,
}

/// Where the new sealing key is.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Recovered {
    /// It is used from the next start on.
    key_file: String,
}

/// Make a new sealing key with the recovery key; over the admin socket only
#[utoipa::path(post, path = "/admin/seal/recover", tag = "admin", security(("api_key" = ["admin"])),
    request_body = Recover,
    responses((status = 200, body = Recovered),
        (status = 409, description = "There is nothing to recover, or nothing to recover with", body = ProblemBody),
        (status = 422, description = "Not the recovery key of this appliance", body = ProblemBody)))]
pub(in crate::http) async fn recover(request: Request) -> Result<Response, ApiError> {
    let request = local(request.permit(Scope::Admin).await?)?;
    let body: Recover = request.body()?.json().await?;
    let typed = Secret::new(body.recovery_key);
    let file = request.app.sealing().recover(typed.reveal(), &request.audit_context()).await?;
    log::info!("a new sealing key was made by {}; it is used from the next start on", request.caller.label());
    json(StatusCode::OK, &Recovered { key_file: file.display().to_string() })
}

/// Only who sits at the appliance.
fn local(request: Permitted) -> Result<Permitted, ApiError> {
    check_local(&request, "Sealing keys are changed on the appliance itself only, with 'pagewire seal'.")?;
    Ok(request)
}

/// Who sits at the appliance, or is signed in as its administrator and just proved it. No API key: a
/// program has no paper to write it on.
fn local_or_administrator(request: Permitted) -> Result<Permitted, ApiError> {
    if request.caller.session_id().is_none() {
        return local(request);
    }
    if request.caller.role != Role::GlobalAdmin {
        return Err(ApiError::new(&NO_SCOPE, "Only a global administrator makes the recovery key."));
    }
    request.app.people().require_fresh_password(&request.caller)?;
    Ok(request)
}

/// Refuses who does not sit at the appliance.
pub(super) fn check_local(request: &Permitted, why: &str) -> Result<(), ApiError> {
    match request.caller.actor() {
        Actor::Cli { .. } => Ok(()),
        Actor::Caller(_) => Err(ApiError::new(&NO_SCOPE, why)),
    }
}

fn from_hex(text: &str) -> Option<Secret<Vec<u8>>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let digits = text.as_bytes().chunks(2);
    let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    bytes.collect::<Option<Vec<u8>>>().map(Secret::new)
}
