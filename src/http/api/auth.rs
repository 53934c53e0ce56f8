//! `/auth`: signing in and out, and what belongs to the person who is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{SET_COOKIE, USER_AGENT};
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::{answer, delete, get, id, json, post};
use crate::access::rights::Right;
use crate::app::App;
use crate::auth::Caller;
use crate::auth::people::{Attempt, SessionView, SignedIn};
use crate::http::error::{ApiError, NO_SESSION, ProblemBody, USER_NOT_FOUND};
use crate::http::request::{Request, Visit};
use crate::http::session;
use crate::id::SessionId;
use crate::secret::Secret;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let login = warp::path!("auth" / "login").and(post(app)).then(|request| answer(login(request)));
    let logout = warp::path!("auth" / "logout").and(post(app)).then(|request| answer(logout(request)));
    let show = warp::path!("auth" / "session").and(get(app)).then(|request| answer(show(request)));
    let change =
        warp::path!("auth" / "password").and(post(app)).then(|request| answer(change_password(request)));
    let step_up = warp::path!("auth" / "step-up").and(post(app)).then(|request| answer(step_up(request)));
    let list = warp::path!("auth" / "sessions").and(get(app)).then(|request| answer(list(request)));
    let end = warp::path!("auth" / "sessions" / String)
        .and(delete(app))
        .then(|id, request| answer(end(id, request)));
    let begin =
        warp::path!("auth" / "totp" / "begin").and(post(app)).then(|request| answer(begin_totp(request)));
    let confirm =
        warp::path!("auth" / "totp" / "confirm").and(post(app)).then(|request| answer(confirm_totp(request)));
    let disable =
        warp::path!("auth" / "totp" / "disable").and(post(app)).then(|request| answer(disable_totp(request)));
    let sessions = login.or(logout).unify().or(show).unify().or(list).unify().or(end).unify().boxed();
    let password = change.or(step_up).unify().boxed();
    let totp = begin.or(confirm).unify().or(disable).unify().boxed();
    sessions.or(password).unify().or(totp).unify().boxed()
}

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Login {
    username: String,
    password: String,
    /// Six digits of the authenticator app, or a recovery code; only with a second factor
    totp: Option<String>,
}

/// Who is signed in, and what the console may show them.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SessionInfo {
    user: SessionUser,
    session: Session,
    /// What requests of this session may do; empty while a new password is needed.
    scopes: Vec<String>,
    /// Rows of the table of rights: what is not here has no button.
    rights: Vec<String>,
    /// Whether e-mail can tell of a fax that is sent now.
    sends_mail: bool,
    csrf: CsrfRules,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SessionUser {
    id: String,
    name: String,
    /// `global_admin`, `admin`, `operator` or `viewer`
    role: String,
    /// The password was given by somebody else; nothing else is possible before it is changed.
    must_change_password: bool,
    totp_enabled: bool,
    recovery_codes_left: u32,
}

/// One place a person is signed in.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Session {
    id: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: Timestamp,
    /// End when no request comes
    #[schema(value_type = String, format = DateTime)]
    idle_expires_at: Timestamp,
    /// End in any case
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    address: Option<String>,
    user_agent: Option<String>,
    /// Whether it is the one that asks.
    current: bool,
    /// Until when the password counts as just entered; of the one that asks only.
    #[schema(value_type = Option<String>, format = DateTime)]
    password_fresh_until: Option<Timestamp>,
}

/// What a write needs beside the cookie.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CsrfRules {
    header: &'static str,
    value: &'static str,
    /// `Origin` or `Sec-Fetch-Site` must name this appliance.
    same_origin: bool,
}

/// That it was done.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AuthDone {
    /// Always `ok`.
    status: &'static str,
}

pub(super) const DONE: AuthDone = AuthDone { status: "ok" };

impl Session {
    fn new(view: SessionView, asking: &Caller) -> Self {
        let current = asking.session_id() == Some(view.id);
        Self {
            id: view.id.to_string(),
            created_at: view.created_at,
            last_seen_at: view.last_seen_at,
            idle_expires_at: view.idle_expires_at,
            expires_at: view.expires_at,
            address: view.address.map(|address| address.to_string()),
            user_agent: view.agent,
            current,
            password_fresh_until: asking.fresh_until().filter(|until| current && *until > view.created_at),
        }
    }
}

/// Sign in
#[utoipa::path(post, path = "/auth/login", tag = "people", request_body = Login,
    responses((status = 200, body = SessionInfo,
            headers(("Set-Cookie" = String, description = "The session's cookie"))),
        (status = 400, description = "Not JSON", body = ProblemBody),
        (status = 401, description = "Wrong, or a code is needed", body = ProblemBody),
        (status = 403, description = "Not over a private connection, or another site's page", body = ProblemBody),
        (status = 421, description = "Not under a name of ours", body = ProblemBody),
        (status = 422, description = "A field is missing", body = ProblemBody),
        (status = 429, description = "Too many failed tries", body = ProblemBody),
        (status = 503, description = "Too many passwords are being checked", body = ProblemBody)))]
pub(in crate::http) async fn login(request: Request) -> Result<Response, ApiError> {
    let visit = request.visit()?;
    let body: Login = visit.body()?.json().await?;
    let attempt = Attempt {
        username: body.username,
        password: password(body.password),
        code: body.totp.map(Secret::new),
        address: visit.sender.address,
        agent: agent(visit.headers()),
        replaces: visit.cookie().map(|cookie| Secret::new(cookie.to_owned())),
    };
    let entered = visit.app.people().login(attempt).await;
    let outcome = if entered.is_ok() { "login" } else { "login_failed" };
    metrics::counter!("pagewire_auth_total", "outcome" => outcome).increment(1);
    signed_in(&visit, entered?)
}

/// Sign out
#[utoipa::path(post, path = "/auth/logout", tag = "people", security(("session" = [])),
    responses((status = 200, body = AuthDone, headers(("Set-Cookie" = String, description = "Ends the cookie")))))]
pub(in crate::http) async fn logout(request: Request) -> Result<Response, ApiError> {
    let request = request.permit_session().await?;
    request.app.people().logout(&request.caller).await?;
    let mut response = json(StatusCode::OK, &DONE)?;
    response.headers_mut().insert(SET_COOKIE, session::end(&request.sender)?);
    Ok(response)
}

/// Who is signed in, and with which rights
#[utoipa::path(get, path = "/auth/session", tag = "people", security(("session" = [])),
    responses((status = 200, body = SessionInfo)))]
pub(in crate::http) async fn show(request: Request) -> Result<Response, ApiError> {
    let request = request.permit_session().await?;
    json(StatusCode::OK, &info(&request.app, &request.caller)?)
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ChangePassword {
    password: String,
    /// At least 10 characters
    new_password: String,
}

/// Change the own password; the other sessions end
#[utoipa::path(post, path = "/auth/password", tag = "people", security(("session" = [])), request_body = ChangePassword,
    responses((status = 200, body = AuthDone), (status = 422, description = "A password that cannot be taken", body = ProblemBody)))]
pub(in crate::http) async fn change_password(request: Request) -> Result<Response, ApiError> {
    let request = request.permit_session().await?;
    let body: ChangePassword = request.body()?.json().await?;
    let (old, new) = (password(body.password), password(body.new_password));
    request.app.people().change_password(&request.caller, old, new, request.sender.address).await?;
    json(StatusCode::OK, &DONE)
}

/// The own password, again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct StepUp {
    password: String,
}

/// Until when it counts.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SteppedUp {
    #[schema(value_type = String, format = DateTime)]
    password_fresh_until: Timestamp,
}

/// Enter the password again; it counts for five minutes
#[utoipa::path(post, path = "/auth/step-up", tag = "people", security(("session" = [])), request_body = StepUp,
    responses((status = 200, body = SteppedUp), (status = 422, description = "No password", body = ProblemBody)))]
pub(in crate::http) async fn step_up(request: Request) -> Result<Response, ApiError> {
    let request = request.permit_session().await?;
    let body: StepUp = request.body()?.json().await?;
    let people = request.app.people();
    let until = people.step_up(&request.caller, password(body.password), request.sender.address).await?;
    json(StatusCode::OK, &SteppedUp { password_fresh_until: until })
}

/// Where the person is signed in, newest first
#[utoipa::path(get, path = "/auth/sessions", tag = "people", security(("session" = [])),
    responses((status = 200, body = Vec<Session>)))]
pub(in crate::http) async fn list(request: Request) -> Result<Response, ApiError> {
    let request = request.permit_session().await?;
    let views = request.app.people().sessions_of(request.caller.owner);
    let sessions: Vec<_> = views.into_iter().map(|view| Session::new(view, &request.caller)).collect();
    json(StatusCode::OK, &sessions)
}

/// Sign out elsewhere
#[utoipa::path(delete, path = "/auth/sessions/{id}", tag = "people", params(("id" = String, Path,)),
    security(("session" = [])),
    responses((status = 200, body = AuthDone), (status = 404, description = "No such session", body = ProblemBody)))]
pub(in crate::http) async fn end(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit_session().await?;
    let session: SessionId = id(&text, || ApiError::new(&USER_NOT_FOUND, "There is no such session."))?;
    request.app.people().end_session(session, &request.caller).await?;
    json(StatusCode::OK, &DONE)
}

/// The shared secret of a second factor, for an authenticator app.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TotpBegun {
    /// Base 32; shown once.
    secret: String,
    /// The same, for a QR code.
    otpauth_uri: String,
}

/// Begin a second factor; needs a password entered in the last five minutes
#[utoipa::path(post, path = "/auth/totp/begin", tag = "people", security(("session" = [])),
    responses((status = 200, body = TotpBegun), (status = 409, description = "It is on already", body = ProblemBody)))]
pub(in crate::http) async fn begin_totp(request: Request) -> Result<Response, ApiError> {
    let request = request.permit_session().await?;
    let begun = request.app.people().begin_totp(&request.caller).await?;
    let body = TotpBegun { secret: begun.secret.reveal().clone(), otpauth_uri: begun.uri.reveal().clone() };
    json(StatusCode::OK, &body)
}

/// The first code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ConfirmTotp {
    code: String,
}

/// Ways in without the app.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RecoveryCodes {
    /// Each works once; shown once.
    recovery_codes: Vec<String>,
}

/// Put the second factor in force with its first code
#[utoipa::path(post, path = "/auth/totp/confirm", tag = "people", security(("session" = [])), request_body = ConfirmTotp,
    responses((status = 200, body = RecoveryCodes), (status = 409, description = "None was begun", body = ProblemBody),
        (status = 422, description = "No code", body = ProblemBody)))]
pub(in crate::http) async fn confirm_totp(request: Request) -> Result<Response, ApiError> {
    let request = request.permit_session().await?;
    let body: ConfirmTotp = request.body()?.json().await?;
    let codes = request.app.people().confirm_totp(&request.caller, &Secret::new(body.code)).await?;
    let recovery_codes = codes.iter().map(|code| code.reveal().clone()).collect();
    json(StatusCode::OK, &RecoveryCodes { recovery_codes })
}

/// Switch the second factor off; needs a password entered in the last five minutes
#[utoipa::path(post, path = "/auth/totp/disable", tag = "people", security(("session" = [])),
    responses((status = 200, body = AuthDone)))]
pub(in crate::http) async fn disable_totp(request: Request) -> Result<Response, ApiError> {
    let request = request.permit_session().await?;
    request.app.people().disable_totp(&request.caller).await?;
    json(StatusCode::OK, &DONE)
}

/// The answer to who just got in: the cookie, and who they are.
pub(super) fn signed_in(visit: &Visit, entered: SignedIn) -> Result<Response, ApiError> {
    let mut response = json(StatusCode::OK, &info(&visit.app, &entered.caller)?)?;
    response.headers_mut().insert(SET_COOKIE, session::begin(&entered.token, &visit.sender)?);
    Ok(response)
}

pub(super) fn password(text: String) -> Secret<String> {
    Secret::new(text)
}

/// What the browser calls itself.
pub(super) fn agent(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(USER_AGENT)?.to_str().ok()?.to_owned())
}

/// The body of `GET /auth/session`, for the page that needs it first.
pub(in crate::http) fn told(app: &App, caller: &Caller) -> Result<String, ApiError> {
    serde_json::to_string(&info(app, caller)?).map_err(|error| ApiError::internal(&error))
}

fn info(app: &App, caller: &Caller) -> Result<SessionInfo, ApiError> {
    let gone = || ApiError::new(&NO_SESSION, "The session has ended.");
    let account = app.keys().account(caller.owner).ok_or_else(gone)?;
    let view = app.people().session_view(caller).ok_or_else(gone)?;
    let person = app.db().person(account.id)?;
    let has = |right: &Right| right.is_of(account.role) || right.is_granted(&account.grants);
    let rights = Right::ALL.iter().filter(|right| has(right) && !caller.must_change_password());
    Ok(SessionInfo {
        user: SessionUser {
            id: account.id.to_string(),
            name: account.name.clone(),
            role: account.role.to_string(),
            must_change_password: caller.must_change_password(),
            totp_enabled: person.second_factor().is_some(),
            recovery_codes_left: person.recovery_codes,
        },
        session: Session::new(view, caller),
        scopes: caller.scopes.names(),
        rights: rights.map(ToString::to_string).collect(),
        sends_mail: app.config().mail.is_on(),
        csrf: CsrfRules { header: "X-Console", value: session::CONSOLE_VALUE, same_origin: true },
    })
}
