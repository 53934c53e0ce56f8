//! HTTP: the contract of the API, and nothing of what it means.
//!
//! Owns: routes, bodies, status codes, headers. Handlers translate between HTTP and the floors
//! below in a few lines; decisions are made there. Refuses: a handler without an answer to who may
//! call it (see [`request`]).

mod accounting;
mod api;
mod body;
mod console;
mod cors;
mod credential;
mod docs;
pub mod error;
mod failures;
mod first_byte;
pub mod openapi;
mod pages;
mod plain;
mod rate_fields;
pub mod request;
mod sender;
pub mod server;
mod session;
mod trust;

use metrics_exporter_prometheus::PrometheusHandle;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;

use crate::app::App;
use error::{ApiError, NOT_FOUND};

/// The whole interface as one filter that always answers.
pub fn interface(app: &App) -> BoxedFilter<(Response,)> {
    let pages = pages::routes(app).or(docs::routes(app)).unify().or(trust::routes(app)).unify().boxed();
    let routes = api::routes(app).or(pages).unify().boxed();
    // warp's own rejections know neither our bodies nor the Allow header; whatever no route took
    // ends here.
    let nothing = warp::path::full().map(|path: FullPath| no_route(path.as_str()));
    let answers = routes.or(cors::preflight(app)).unify().or(nothing).unify().boxed();
    accounting::settled(app, answers)
}

/// `/metrics`, for a listener of its own.
pub fn metrics(app: &App) -> BoxedFilter<(Response,)> {
    let handle: PrometheusHandle = app.metrics().clone();
    let nothing = warp::path::full().map(|path: FullPath| no_route(path.as_str()));
    let metrics = warp::path!("metrics").and(warp::get()).map(move || Response::new(handle.render().into()));
    metrics.or(nothing).unify().boxed()
}

fn no_route(path: &str) -> Response {
    let methods = openapi::methods(path);
    let error = if methods.is_empty() {
        ApiError::new(&NOT_FOUND, "There is nothing at this address.")
    } else {
        ApiError::method_not_allowed(methods.join(", "))
    };
    error.into_response()
}
