//! `/admin/accounts/{id}/grants`: what an account may do beyond its role.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, id, json, put};
use crate::access::UnknownName;
use crate::access::roles::Grant;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::http::error::{ApiError, NOT_FOUND, ProblemBody};
use crate::http::request::Request;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    warp::path!("admin" / "accounts" / String / "grants")
        .and(put(app))
        .then(|id, request| answer(set(id, request)))
        .boxed()
}

/// All grants of an account; what is not named is taken away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SetGrants {
    /// Any of `account_key:show`
    grants: Vec<String>,
}

/// An account with its grants.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct GrantedAccount {
    id: String,
    name: String,
    role: String,
    grants: Vec<&'static str>,
}

/// Give an account exactly these grants
///
/// For global administrators. `GET /v1/key` tells a key the id of its account, as `owner_id`.
#[utoipa::path(put, path = "/admin/accounts/{id}/grants", tag = "accounts", params(("id" = String, Path,)),
    security(("api_key" = ["users:manage"])), request_body = SetGrants,
    responses((status = 200, body = GrantedAccount),
        (status = 404, description = "No such account", body = ProblemBody),
        (status = 422, description = "There is no such grant; what is allowed is said", body = ProblemBody)))]
pub(in crate::http) async fn set(account: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::UsersManage).await?;
    let account = id(&account, || ApiError::new(&NOT_FOUND, "There is no account with this id."))?;
    let body: SetGrants = request.body()?.json().await?;
    let grants: Result<Vec<Grant>, UnknownName> = body.grants.iter().map(|name| name.parse()).collect();
    let grants = grants.map_err(|error| ApiError::field("grants", "unknown_grant", error.to_string()))?;
    let account = request.app.keys().set_grants(account, grants, &request.caller.actor()).await?;
    let granted = GrantedAccount {
        id: account.id.to_string(),
        name: account.name,
        role: account.role.to_string(),
        grants: account.grants.into_iter().map(Grant::as_str).collect(),
    };
    json(StatusCode::OK, &granted)
}
