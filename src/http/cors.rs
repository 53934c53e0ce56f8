//! Keys in web pages of other origins (CORS, fetch.spec.whatwg.org).
//!
//! Owns: which page may read an answer. Only restricted keys that list origins are for web pages;
//! a page is told of them alone, never of cookies. Refuses: a listed key on a page it does not
//! list.

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, ORIGIN, VARY,
};
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode};
use warp::path::FullPath;
use warp::reply::Response;

use super::error::{ApiError, NO_SCOPE};
use super::openapi;
use super::request::Arrival;
use crate::app::App;
use crate::auth::Caller;

/// Headers a page may send.
const ALLOWED_HEADERS: &str = "X-API-Key, Authorization, Content-Type, Idempotency-Key";
/// Headers of an answer that a page may read, beyond those it always may.
const EXPOSED_HEADERS: &str = "RateLimit, RateLimit-Policy, Retry-After, X-Request-Id";
/// How long a browser keeps the answer, in seconds: a key that was revoked is refused anyway.
const MAX_AGE_S: &str = "600";

/// Answers a browser that asks before it sends: 204 with what is allowed when some active key lists
/// its origin; everybody else gets what any unknown method gets.
pub(super) fn preflight(app: &App) -> BoxedFilter<(Response,)> {
    let app = app.clone();
    let is_allowed = move |headers: &HeaderMap| {
        headers
            .get(ORIGIN)
            .filter(|origin| origin.to_str().is_ok_and(|origin| app.keys().is_origin_listed(origin)))
            .cloned()
    };
    warp::method()
        .and_then(|method: Method| async move {
            if method == Method::OPTIONS { Ok(()) } else { Err(warp::reject::not_found()) }
        })
        .untuple_one()
        .and(warp::path::full())
        .and(warp::ext::get::<Arrival>())
        .map(move |path: FullPath, arrival: Arrival| match is_allowed(&arrival.headers) {
            Some(origin) => permission(path.as_str(), origin),
            None => super::no_route(path.as_str()),
        })
        .boxed()
}

/// The origin of the page that sends this request and may read the answer. Refuses a page that the
/// key does not list, when it lists any.
pub(super) fn allowed_origin(headers: &HeaderMap, caller: &Caller) -> Result<Option<HeaderValue>, ApiError> {
    let (listed, Some(origin)) = (caller.allowed_origins(), headers.get(ORIGIN)) else { return Ok(None) };
    if listed.is_empty() {
        return Ok(None);
    }
    let is_listed = |origin: &str| listed.iter().any(|one| one.as_str().eq_ignore_ascii_case(origin));
    if origin.to_str().is_ok_and(is_listed) {
        return Ok(Some(origin.clone()));
    }
    Err(ApiError::new(&NO_SCOPE, "This key may not be used from this web page.").with_reason("origin"))
}

/// Lets a page of this origin read the answer.
pub(super) fn share(headers: &mut HeaderMap, origin: &HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

fn permission(path: &str, origin: HeaderValue) -> Response {
    let mut response = Response::new("".into());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let known = openapi::methods(path);
    let methods = if known.is_empty() { "GET, HEAD".to_owned() } else { known.join(", ") };
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        headers.insert(ALLOW, methods);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_S));
    response
}
