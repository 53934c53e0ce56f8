//! `/admin/users`: people and service accounts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::auth::{AuthDone, DONE, password};
use super::setup::OneTimeLink;
use super::{answer, delete, get, id, json, patch, post};
use crate::access::UnknownName;
use crate::access::records::{AccountKind, AccountStatus};
use crate::access::roles::Role;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::auth::people::{Change, NewAccount, PersonView};
use crate::http::error::{ApiError, ProblemBody, USER_NOT_FOUND};
use crate::http::request::{Permitted, Request};
use crate::id::AccountId;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let list = warp::path!("admin" / "users").and(get(app)).then(|request| answer(list(request)));
    let create = warp::path!("admin" / "users").and(post(app)).then(|request| answer(create(request)));
    let show =
        warp::path!("admin" / "users" / String).and(get(app)).then(|id, request| answer(show(id, request)));
    let change = warp::path!("admin" / "users" / String)
        .and(patch(app))
        .then(|id, request| answer(change(id, request)));
    let remove = warp::path!("admin" / "users" / String)
        .and(delete(app))
        .then(|id, request| answer(remove(id, request)));
    let set_password = warp::path!("admin" / "users" / String / "password")
        .and(post(app))
        .then(|id, request| answer(set_password(id, request)));
    let invite = warp::path!("admin" / "users" / String / "link")
        .and(post(app))
        .then(|id, request| answer(invite(id, request)));
    let unlock = warp::path!("admin" / "users" / String / "unlock")
        .and(post(app))
        .then(|id, request| answer(unlock(id, request)));
    let accounts = list.or(create).unify().or(show).unify().or(change).unify().or(remove).unify().boxed();
    let access = set_password.or(invite).unify().or(unlock).unify().boxed();
    accounts.or(access).unify().boxed()
}

/// One person or service account.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct User {
    id: String,
    name: String,
    /// `user` or `service`
    kind: String,
    /// `global_admin`, `admin`, `operator` or `viewer`
    role: String,
    /// `active` or `disabled`
    status: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Whether the user has a password; without one there is a link to choose it.
    has_password: bool,
    must_change_password: bool,
    totp_enabled: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_login_at: Option<Timestamp>,
    last_login_ip: Option<String>,
    /// Wrong passwords in a row; each next try has to wait longer.
    failed_tries: u32,
    /// Places the user is signed in.
    sessions: usize,
}

impl User {
    fn new(app: &App, view: &PersonView) -> Self {
        let (account, person) = (&view.account, &view.person);
        Self {
            id: account.id.to_string(),
            name: account.name.clone(),
            kind: account.kind.to_string(),
            role: account.role.to_string(),
            status: account.status.to_string(),
            created_at: account.created_at,
            has_password: person.password.is_some(),
            must_change_password: person.must_change,
            totp_enabled: person.second_factor().is_some(),
            last_login_at: person.last_login_at,
            last_login_ip: person.last_login_ip.map(|address| address.to_string()),
            failed_tries: person.failed_tries,
            sessions: app.people().sessions_of(account.id).len(),
        }
    }
}

/// What a new account shall be.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct CreateUser {
    /// 1 to 64 characters
    name: String,
    /// `user` (default) or `service`
    kind: Option<String>,
    /// `operator` (default), `viewer`, `admin` or `global_admin`; below one's own
    role: Option<String>,
    /// A first password, to be changed at the first sign-in; without one the answer has a link
    password: Option<String>,
}

/// A new account.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CreatedUser {
    #[serde(flatten)]
    user: User,
    /// For the user, to choose a password; shown once.
    link: Option<OneTimeLink>,
}

/// All users and service accounts, by name
#[utoipa::path(get, path = "/admin/users", tag = "people", security(("api_key" = ["users:manage"])),
    responses((status = 200, body = Vec<User>)))]
pub(in crate::http) async fn list(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::UsersManage).await?;
    let views = request.app.people().accounts().await?;
    json(StatusCode::OK, &views.iter().map(|view| User::new(&request.app, view)).collect::<Vec<_>>())
}

/// Make a user or service account; in a session or on the appliance itself, never with a key
#[utoipa::path(post, path = "/admin/users", tag = "people", security(("api_key" = ["users:manage"])),
    request_body = CreateUser,
    responses((status = 201, body = CreatedUser), (status = 409, description = "The name is taken", body = ProblemBody),
        (status = 422, description = "A field cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn create(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::UsersManage).await?;
    let body: CreateUser = request.body()?.json().await?;
    let new = NewAccount {
        kind: word("kind", body.kind.as_deref())?.unwrap_or(AccountKind::User),
        name: body.name,
        role: word("role", body.role.as_deref())?.unwrap_or(Role::Operator),
        password: body.password.map(password),
    };
    let (view, link) = request.app.people().create_account(new, &request.caller.actor()).await?;
    let created = CreatedUser {
        user: User::new(&request.app, &view),
        link: link.map(|link| OneTimeLink::new(&request.app, request.link_origin().as_deref(), &link)),
    };
    json(StatusCode::CREATED, &created)
}

/// One user or service account
#[utoipa::path(get, path = "/admin/users/{id}", tag = "people", params(("id" = String, Path,)),
    security(("api_key" = ["users:manage"])),
    responses((status = 200, body = User), (status = 404, description = "No such user", body = ProblemBody)))]
pub(in crate::http) async fn show(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::UsersManage).await?;
    answer_user(&request, user_id(&text)?).await
}

/// What shall be different.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct ChangeUser {
    /// `viewer`, `operator`, `admin` or `global_admin`
    role: Option<String>,
    /// `active` or `disabled`
    status: Option<String>,
}

/// Change role or status; the user is signed out everywhere
#[utoipa::path(patch, path = "/admin/users/{id}", tag = "people", params(("id" = String, Path,)),
    security(("api_key" = ["users:manage"])), request_body = Option<ChangeUser>,
    responses((status = 200, body = User), (status = 404, description = "No such user", body = ProblemBody),
        (status = 409, description = "The last global administrator", body = ProblemBody),
        (status = 422, description = "A field cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn change(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::UsersManage).await?;
    let id = user_id(&text)?;
    let body: ChangeUser = request.body()?.json().await?;
    let change = Change {
        role: word("role", body.role.as_deref())?,
        status: word::<AccountStatus>("status", body.status.as_deref())?,
    };
    request.app.people().change_account(id, change, &request.caller.actor()).await?;
    answer_user(&request, id).await
}

/// Remove a user or service account; its keys stop, its faxes stay
#[utoipa::path(delete, path = "/admin/users/{id}", tag = "people", params(("id" = String, Path,)),
    security(("api_key" = ["users:manage"])),
    responses((status = 200, body = AuthDone), (status = 404, description = "No such user", body = ProblemBody),
        (status = 409, description = "The last global administrator", body = ProblemBody)))]
pub(in crate::http) async fn remove(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::UsersManage).await?;
    request.app.people().remove_account(user_id(&text)?, &request.caller.actor()).await?;
    json(StatusCode::OK, &DONE)
}

/// A password for somebody else.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SetPassword {
    /// At least 10 characters
    password: String,
}

/// Give a user a password, to be changed at the next sign-in; the user is signed out everywhere
#[utoipa::path(post, path = "/admin/users/{id}/password", tag = "people", params(("id" = String, Path,)),
    security(("api_key" = ["users:manage"])), request_body = SetPassword,
    responses((status = 200, body = AuthDone), (status = 404, description = "No such user", body = ProblemBody),
        (status = 409, description = "A service account", body = ProblemBody),
        (status = 422, description = "A password that cannot be taken", body = ProblemBody)))]
pub(in crate::http) async fn set_password(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::UsersManage).await?;
    let body: SetPassword = request.body()?.json().await?;
    let by = request.caller.actor();
    request.app.people().set_password(user_id(&text)?, password(body.password), &by).await?;
    json(StatusCode::OK, &DONE)
}

/// How to make the link.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct Invite {
    /// Also switch the second factor off, for who lost it
    reset_totp: bool,
}

/// Make a one-time link with which the user chooses a password
#[utoipa::path(post, path = "/admin/users/{id}/link", tag = "people", params(("id" = String, Path,)),
    security(("api_key" = ["users:manage"])), request_body = Option<Invite>,
    responses((status = 200, body = OneTimeLink), (status = 404, description = "No such user", body = ProblemBody),
        (status = 409, description = "A service account", body = ProblemBody),
        (status = 422, description = "A field cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn invite(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::UsersManage).await?;
    let id = user_id(&text)?;
    let body: Invite = request.body()?.json().await?;
    let link = request.app.people().invite(id, body.reset_totp, &request.caller.actor()).await?;
    json(StatusCode::OK, &OneTimeLink::new(&request.app, request.link_origin().as_deref(), &link))
}

/// Forget failed sign-ins, so that the user need not wait
#[utoipa::path(post, path = "/admin/users/{id}/unlock", tag = "people", params(("id" = String, Path,)),
    security(("api_key" = ["users:manage"])),
    responses((status = 200, body = AuthDone), (status = 404, description = "No such user", body = ProblemBody)))]
pub(in crate::http) async fn unlock(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::UsersManage).await?;
    request.app.people().unlock(user_id(&text)?, &request.caller.actor()).await?;
    json(StatusCode::OK, &DONE)
}

async fn answer_user(request: &Permitted, id: AccountId) -> Result<Response, ApiError> {
    let view = request.app.people().account(id).await?;
    json(StatusCode::OK, &User::new(&request.app, &view))
}

fn user_id(text: &str) -> Result<AccountId, ApiError> {
    id(text, || ApiError::new(&USER_NOT_FOUND, "There is no such user."))
}

fn word<T: std::str::FromStr<Err = UnknownName>>(
    field: &str,
    text: Option<&str>,
) -> Result<Option<T>, ApiError> {
    text.map(str::parse).transpose().map_err(|error| ApiError::field(field, "unknown", format!("{error}.")))
}
