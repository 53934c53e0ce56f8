//! `/setup`: one-time links, by which people get their first password.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::http::header::ACCEPT;
use warp::reply::Response;

use super::auth::{agent, password, signed_in};
use super::{answer, get, json, post};
use crate::access::records::AccountStatus;
use crate::access::roles::Role;
use crate::app::App;
use crate::auth::Actor;
use crate::auth::people::{Change, Link, Redemption};
use crate::http::error::{ApiError, NO_SCOPE, ProblemBody, USER_CONFLICT};
use crate::http::pages;
use crate::http::request::{Request, Visit};
use crate::secret::Secret;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let state = warp::path!("setup").and(get(app)).then(|request| answer(state(request)));
    let redeem = warp::path!("setup").and(post(app)).then(|request| answer(redeem(request)));
    let renew = warp::path!("setup" / "token").and(post(app)).then(|request| answer(renew(request)));
    let reset = warp::path!("setup" / "reset").and(post(app)).then(|request| answer(reset(request)));
    state.or(redeem).unify().or(renew).unify().or(reset).unify().boxed()
}

/// How far the setup is.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SetupState {
    /// Whether there is no administrator yet.
    needs_setup: bool,
    version: &'static str,
}

/// Whether there is an administrator yet; for a browser, the way to where one-time links lead
#[utoipa::path(get, path = "/setup", tag = "people",
    responses((status = 200, content((SetupState = "application/json"), (String = "text/html"))),
        (status = 303, description = "A browser goes on to the console"),
        (status = 403, description = "Over plain HTTP from elsewhere", body = ProblemBody),
        (status = 421, description = "Not under a name of ours", body = ProblemBody)))]
pub(in crate::http) async fn state(request: Request) -> Result<Response, ApiError> {
    let visit = request.visit()?;
    let accept = visit.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        return Ok(pages::setup(visit.app.path_prefix()));
    }
    let state =
        SetupState { needs_setup: visit.app.people().needs_setup(), version: env!("CARGO_PKG_VERSION") };
    json(StatusCode::OK, &state)
}

/// What a one-time link lets somebody choose.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RedeemLink {
    /// What stands behind `#token=` in the link
    token: String,
    /// Name of the first administrator; not needed with an invitation
    username: Option<String>,
    /// At least 10 characters
    password: String,
}

/// Choose a password with a one-time link
///
/// Makes the first administrator, or gives an invited user their password, and signs them in.
#[utoipa::path(post, path = "/setup", tag = "people", request_body = RedeemLink,
    responses((status = 200, body = super::auth::SessionInfo,
            headers(("Set-Cookie" = String, description = "The session's cookie"))),
        (status = 400, description = "Not JSON", body = ProblemBody),
        (status = 403, description = "The link does not work, or the connection is not private", body = ProblemBody),
        (status = 421, description = "Not under a name of ours", body = ProblemBody),
        (status = 422, description = "A name or password that cannot be taken", body = ProblemBody),
        (status = 503, description = "Too many passwords are being checked", body = ProblemBody)))]
pub(in crate::http) async fn redeem(request: Request) -> Result<Response, ApiError> {
    let visit = request.visit()?;
    let body: RedeemLink = visit.body()?.json().await?;
    let redemption = Redemption {
        token: Secret::new(body.token),
        username: body.username,
        password: password(body.password),
        address: visit.sender.address,
        agent: agent(visit.headers()),
    };
    let entered = visit.app.people().redeem(redemption).await?;
    signed_in(&visit, entered)
}

/// A link that works once.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OneTimeLink {
    /// Shown once.
    url: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl OneTimeLink {
    pub(super) fn new(app: &App, origin: Option<&str>, link: &Link) -> Self {
        Self { url: app.link_url(origin, &link.token).reveal().clone(), expires_at: link.expires_at }
    }
}

/// A new link for the first administrator; on the appliance itself only
#[utoipa::path(post, path = "/setup/token", tag = "people",
    responses((status = 200, body = OneTimeLink),
        (status = 403, description = "Not on the appliance itself", body = ProblemBody),
        (status = 409, description = "There is an administrator", body = ProblemBody),
        (status = 421, description = "Not under a name of ours", body = ProblemBody),
        (status = 503, description = "Full or going down", body = ProblemBody)))]
pub(in crate::http) async fn renew(request: Request) -> Result<Response, ApiError> {
    let (visit, by) = on_the_appliance(request)?;
    let link = visit.app.people().renew_setup_link(by.audit_context()).await?;
    json(StatusCode::OK, &OneTimeLink::new(&visit.app, None, &link))
}

/// Which administrator cannot sign in any more.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct ResetAdministrator {
    /// Name of a global administrator; not needed when there is one only
    username: Option<String>,
    /// A new password; without one the answer is a link
    password: Option<String>,
}

/// What a reset led to.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ResetDone {
    username: String,
    /// To choose a password; not there when one was given.
    link: Option<OneTimeLink>,
}

/// Let an administrator in again; on the appliance itself only
///
/// Enables the account, switches its second factor off, and sets a password or makes a link.
#[utoipa::path(post, path = "/setup/reset", tag = "people", request_body = Option<ResetAdministrator>,
    responses((status = 200, body = ResetDone),
        (status = 400, description = "Not JSON", body = ProblemBody),
        (status = 403, description = "Not on the appliance itself", body = ProblemBody),
        (status = 404, description = "No such user", body = ProblemBody),
        (status = 409, description = "There is none, or more than one", body = ProblemBody),
        (status = 421, description = "Not under a name of ours", body = ProblemBody),
        (status = 422, description = "A password that cannot be taken", body = ProblemBody)))]
pub(in crate::http) async fn reset(request: Request) -> Result<Response, ApiError> {
    let (visit, by) = on_the_appliance(request)?;
    let body: ResetAdministrator = visit.body()?.json().await?;
    let people = visit.app.people();
    let administrator = match &body.username {
        Some(name) => people.person_named(name).await?,
        None => {
            let all = people.accounts().await?;
            let mut administrators =
                all.into_iter().filter(|view| view.account.role == Role::GlobalAdmin && view.is_user());
            match (administrators.next(), administrators.next()) {
                (Some(only), None) => only,
                (None, _) => {
                    return Err(conflict(
                        "There is no administrator; 'pagewire setup-token' makes a setup link.",
                    ));
                }
                (Some(_), Some(_)) => {
                    return Err(conflict("There are several administrators; say which one."));
                }
            }
        }
    };
    let account = &administrator.account;
    if account.role != Role::GlobalAdmin {
        return Err(conflict(
            "Only a global administrator is reset here; 'pagewire users' manages the others.",
        ));
    }
    let enabled = Change { status: Some(AccountStatus::Active), ..Change::default() };
    people.change_account(account.id, enabled, &by).await?;
    let link = people.invite(account.id, true, &by).await?;
    let link = match body.password {
        Some(text) => {
            // The password ends the link.
            people.set_password(account.id, password(text), &by).await?;
            None
        }
        None => Some(OneTimeLink::new(&visit.app, None, &link)),
    };
    json(StatusCode::OK, &ResetDone { username: account.name.clone(), link })
}

fn on_the_appliance(request: Request) -> Result<(Visit, Actor), ApiError> {
    let visit = request.visit()?;
    let by = visit.local_actor().ok_or_else(|| {
        ApiError::new(
            &NO_SCOPE,
            "This is possible on the appliance itself only, with the command 'pagewire'.",
        )
    })?;
    Ok((visit, by))
}

fn conflict(why: &str) -> ApiError {
    ApiError::new(&USER_CONFLICT, why)
}
