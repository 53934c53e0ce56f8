//! `/admin/api-keys/identify`: whose is a token that was found somewhere?

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, json, post};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::auth::Identified;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::request::Request;
use crate::secret::Secret;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let path = warp::path!("admin" / "api-keys" / "identify");
    let identify = path.and(post(app)).then(|request| answer(identify(request)));
    // The word is no id of a key, so the routes of keys have nothing to say to other methods here.
    let others = path.map(|| ApiError::method_not_allowed("POST".to_owned()).into_response());
    identify.or(others).unify().boxed()
}

/// A token that was found.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct FoundToken {
    token: String,
}

/// What it is. Never the token itself.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TokenIdentity {
    /// Whether it has the form of a token, checksum included.
    well_formed: bool,
    /// Whether a key of this appliance has its id.
    ours: bool,
    /// Whether its secret is that key's: then it works, or worked once.
    secret_matches: bool,
    key_id: Option<String>,
    name: Option<String>,
    owner: Option<String>,
    /// `active`, `disabled`, `revoked`, `expired` or `owner_disabled`
    status: Option<String>,
}

impl From<Identified> for TokenIdentity {
    fn from(found: Identified) -> Self {
        let key = found.key.as_ref();
        Self {
            well_formed: found.form.is_ok(),
            ours: key.is_some(),
            secret_matches: found.secret_matches,
            key_id: key.map(|key| key.record.id.to_string()),
            name: key.map(|key| key.record.name.clone()),
            owner: key.map(|key| key.owner_name.clone()),
            status: key.map(|key| key.status.to_string()),
        }
    }
}

/// Whose is this token? For administrators
///
/// It does not count as a use of the key.
#[utoipa::path(post, path = "/admin/api-keys/identify", tag = "keys", security(("api_key" = ["keys:manage"])),
    request_body = FoundToken,
    responses((status = 200, body = TokenIdentity),
        (status = 422, description = "No token in the body", body = ProblemBody)))]
pub(in crate::http) async fn identify(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysManage).await?;
    let body: FoundToken = request.body()?.json().await?;
    let token = Secret::new(body.token);
    let found = request.app.keys().identify(token.reveal(), &request.caller.actor()).await?;
    json(StatusCode::OK, &TokenIdentity::from(found))
}
