//! `/account/api-key`: the one key of the appliance as a whole, as etherFAX has it: show, generate,
//! reset.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::own_keys::prefix;
use super::{answer, get, json, post};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::auth::KeyView;
use crate::http::error::{ApiError, KEY_NOT_FOUND, ProblemBody};
use crate::http::request::{Permitted, Request};

/// What has to be typed before the key is reset.
const CONFIRMATION: &str = "RESET";

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let masked =
        warp::path!("account" / "api-key").and(get(app)).then(|request| answer(show_masked(request)));
    let generate = warp::path!("account" / "api-key" / "generate")
        .and(post(app))
        .then(|request| answer(generate(request)));
    let reset =
        warp::path!("account" / "api-key" / "reset").and(post(app)).then(|request| answer(reset(request)));
    let show =
        warp::path!("account" / "api-key" / "show").and(post(app)).then(|request| answer(show(request)));
    masked.or(generate).unify().or(reset).unify().or(show).unify().boxed()
}

/// The account key, without its secret.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct MaskedAccountKey {
    exists: bool,
    key_id: Option<String>,
    /// The beginning of its token.
    prefix: Option<String>,
    /// `active`, `disabled` or `owner_disabled`
    status: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// End of the old secret's grace after a reset.
    #[schema(value_type = Option<String>, format = DateTime)]
    previous_valid_until: Option<Timestamp>,
    /// What the sender may do with it: some of `generate`, `reset`, `show`
    rights: Vec<&'static str>,
}

/// The account key, masked
#[utoipa::path(get, path = "/account/api-key", tag = "account key", security(("api_key" = ["keys:read"])),
    responses((status = 200, body = MaskedAccountKey)))]
pub(in crate::http) async fn show_masked(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysRead).await?;
    let (keys, by) = (request.app.keys(), request.caller.actor());
    let may_make = keys.check_account_key_reset(&by).is_ok();
    let may_see = keys.check_account_key_show(&by).is_ok();
    let rights = [("generate", may_make), ("reset", may_make), ("show", may_see)];
    let view = keys.account_key();
    let record = view.as_ref().map(|view| &view.record);
    let masked = MaskedAccountKey {
        exists: record.is_some(),
        key_id: record.map(|record| record.id.to_string()),
        prefix: record.map(prefix),
        status: view.as_ref().map(|view| view.status.to_string()),
        created_at: record.map(|record| record.created_at),
        last_used_at: record.and_then(|record| record.last_used_at),
        previous_valid_until: view.as_ref().and_then(|view| view.previous_valid_until),
        rights: rights.into_iter().filter_map(|(right, has)| has.then_some(right)).collect(),
    };
    json(StatusCode::OK, &masked)
}

/// The account key with its token.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AccountKeyToken {
    key_id: String,
    token: String,
    prefix: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// End of the old secret's grace after a reset.
    #[schema(value_type = Option<String>, format = DateTime)]
    previous_valid_until: Option<Timestamp>,
}

impl AccountKeyToken {
    fn new(view: &KeyView, token: &str) -> Self {
        Self {
            key_id: view.record.id.to_string(),
            token: token.to_owned(),
            prefix: prefix(&view.record),
            created_at: view.record.created_at,
            previous_valid_until: view.previous_valid_until,
        }
    }
}

/// Make the account key
///
/// For global administrators. It may send, read and cancel faxes and manage the inbox, belongs to no
/// person, and has no end.
#[utoipa::path(post, path = "/account/api-key/generate", tag = "account key",
    security(("api_key" = ["keys:manage"])),
    responses((status = 201, body = AccountKeyToken),
        (status = 409, description = "There is one already; reset it to get a new one", body = ProblemBody)))]
pub(in crate::http) async fn generate(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysManage).await?;
    let (token, _) = request.app.keys().generate_account_key(&request.caller.actor()).await?;
    json(StatusCode::CREATED, &AccountKeyToken::new(&existing(&request)?, token.text().reveal()))
}

/// How to reset the account key.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"confirm": "RESET", "grace_seconds": 3600}))]
pub(in crate::http) struct ResetAccountKey {
    /// Seconds the old secret keeps working, up to 7 days
    grace_seconds: u64,
    /// `RESET`, in capital letters
    #[schema(required = true)]
    confirm: String,
}

/// Give the account key a new secret
///
/// For global administrators. Whatever uses the old secret stops working, at once or after the grace.
#[utoipa::path(post, path = "/account/api-key/reset", tag = "account key",
    security(("api_key" = ["keys:manage"])), request_body = ResetAccountKey,
    responses((status = 200, body = AccountKeyToken),
        (status = 404, description = "There is no account key yet", body = ProblemBody),
        (status = 422, description = "It was not confirmed, or the grace is too long", body = ProblemBody)))]
pub(in crate::http) async fn reset(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysManage).await?;
    let (keys, by) = (request.app.keys(), request.caller.actor());
    keys.check_account_key_reset(&by)?;
    let body: ResetAccountKey = request.body()?.json().await?;
    if body.confirm != CONFIRMATION {
        let message = "Every client that uses the old key stops working. Send 'confirm' with the value RESET to \
            go on.";
        return Err(ApiError::field("confirm", "not_confirmed", message));
    }
    let rotated = keys.reset_account_key(Duration::from_secs(body.grace_seconds), &by).await?;
    json(StatusCode::OK, &AccountKeyToken::new(&existing(&request)?, rotated.token.text().reveal()))
}

/// Show the token of the account key
///
/// For global administrators and for who was granted `account_key:show`.
#[utoipa::path(post, path = "/account/api-key/show", tag = "account key",
    security(("api_key" = ["keys:reveal"])),
    responses((status = 200, body = AccountKeyToken),
        (status = 404, description = "There is no account key yet", body = ProblemBody),
        (status = 409, description = "Its token is not kept", body = ProblemBody)))]
pub(in crate::http) async fn show(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysReveal).await?;
    let token = request.app.keys().reveal_account_key(&request.caller.actor()).await?;
    json(StatusCode::OK, &AccountKeyToken::new(&existing(&request)?, token.reveal()))
}

fn existing(request: &Permitted) -> Result<KeyView, ApiError> {
    let missing = || ApiError::new(&KEY_NOT_FOUND, "There is no account key yet; generate it.");
    request.app.keys().account_key().ok_or_else(missing)
}
