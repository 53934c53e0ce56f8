//! The resources, one file each. Every file has `routes(app)`, boxed, because unboxed warp filters
//! take minutes to compile, and dispatched by their first path segment.

pub(super) mod account_grants;
pub(super) mod account_key;
pub(super) mod admin;
pub(super) mod admin_diagnostics;
pub(super) mod admin_dialling;
pub(super) mod admin_identify;
pub(super) mod admin_jobs;
pub(super) mod admin_key_verbs;
pub(super) mod admin_keys;
pub(super) mod admin_mail;
pub(super) mod admin_policy;
pub(super) mod admin_routes;
pub(super) mod admin_seal;
pub(super) mod admin_settings;
pub(super) mod admin_storage;
pub(super) mod admin_summary;
pub(super) mod attempts;
pub(super) mod attention;
pub(super) mod audit;
pub(super) mod auth;
pub(super) mod contacts;
pub(super) mod destinations;
pub(super) mod diagnostics;
pub(super) mod events;
pub(super) mod fax;
pub(super) mod fax_verbs;
pub(super) mod fax_view;
pub(super) mod groups;
pub(super) mod health;
pub(super) mod inbound;
pub(super) mod inbound_verbs;
pub(super) mod key_self;
pub(super) mod key_usage;
pub(super) mod own_keys;
pub(super) mod preview;
pub(super) mod sdk;
pub(super) mod send;
pub(super) mod setup;
mod upload;
pub(super) mod users;
pub(super) mod webhooks;

use serde::Serialize;
use serde::de::DeserializeOwned;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::Response;

use super::error::ApiError;
use super::request::Request;
use crate::app::App;

/// All resources. What is asked most comes first and passes the fewest filters; an address that
/// reads like another one's parameter comes before that one.
pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let resources = [
        fax::routes(app),
        send::routes(app),
        preview::routes(app),
        attempts::routes(app),
        fax_verbs::routes(app),
        groups::routes(app),
        inbound::routes(app),
        inbound_verbs::routes(app),
        destinations::routes(app),
        contacts::routes(app),
        events::routes(app),
        health::routes(app),
        admin_identify::routes(app),
        admin_key_verbs::routes(app),
        admin_keys::routes(app),
        key_usage::routes(app),
        key_self::routes(app),
        own_keys::routes(app),
        account_key::routes(app),
        account_grants::routes(app),
        admin_jobs::routes(app),
        admin_seal::routes(app),
        admin_policy::routes(app),
        admin_dialling::routes(app),
        admin_routes::routes(app),
        admin_storage::routes(app),
        admin_summary::routes(app),
        admin_settings::routes(app),
        admin_diagnostics::routes(app),
        admin_mail::routes(app),
        attention::routes(app),
        diagnostics::routes(app),
        audit::routes(app),
        admin::routes(app),
        auth::routes(app),
        users::routes(app),
        webhooks::routes(app),
        sdk::routes(app),
        setup::routes(app),
    ];
    let joined = resources.into_iter().rev().reduce(|others, first| first.or(others).unify().boxed());
    joined.expect("there are resources")
}

/// Runs a handler and turns either result into a response.
async fn answer<F>(handler: F) -> Response
where
    F: Future<Output = Result<Response, ApiError>>,
{
    handler.await.unwrap_or_else(ApiError::into_response)
}

/// A JSON answer.
fn json<T: Serialize>(status: StatusCode, body: &T) -> Result<Response, ApiError> {
    let text = serde_json::to_string(body).map_err(|error| ApiError::internal(&error))?;
    Ok(json_text(status, text))
}

/// A JSON answer that is written out already.
fn json_text(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A document: shown in the browser, kept by no cache, since it is somebody's health data.
fn document(content: Vec<u8>, media_type: &'static str, file_name: &str) -> Response {
    let mut response = Response::new(content.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if let Ok(disposition) = HeaderValue::from_str(&format!("inline; filename=\"{file_name}\"")) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    response
}

/// The query string as a record; unknown fields are refused, so that a misspelt filter does not
/// silently answer everything.
fn query<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    serde_urlencoded::from_str(text).map_err(|error| {
        let message = error.to_string();
        let field = message.split('`').nth(1).unwrap_or("query").to_owned();
        ApiError::field(&field, "invalid", message)
    })
}

/// The path parameter as an id; what is no id is simply not there.
fn id<T: std::str::FromStr>(text: &str, missing: impl FnOnce() -> ApiError) -> Result<T, ApiError> {
    text.parse().map_err(|_| missing())
}

/// A filter for `GET` on the current path, with the request.
fn get(app: &App) -> BoxedFilter<(Request,)> {
    warp::get().and(super::request::request(app)).boxed()
}

/// A filter for `POST` on the current path, with the request.
fn post(app: &App) -> BoxedFilter<(Request,)> {
    warp::post().and(super::request::request(app)).boxed()
}

/// A filter for `PUT` on the current path, with the request.
fn put(app: &App) -> BoxedFilter<(Request,)> {
    warp::put().and(super::request::request(app)).boxed()
}

/// A filter for `PATCH` on the current path, with the request.
fn patch(app: &App) -> BoxedFilter<(Request,)> {
    warp::patch().and(super::request::request(app)).boxed()
}

/// A filter for `DELETE` on the current path, with the request.
fn delete(app: &App) -> BoxedFilter<(Request,)> {
    warp::delete().and(super::request::request(app)).boxed()
}
