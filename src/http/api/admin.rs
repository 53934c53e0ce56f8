//! `/admin/config` and `/plugins`: what is in force.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, get, json};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::http::error::ApiError;
use crate::http::request::Request;
use crate::route::simulator;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let config = warp::path!("admin" / "config").and(get(app)).then(|request| answer(config(request)));
    let plugins = warp::path!("plugins").and(get(app)).then(|request| answer(plugins(request)));
    config.or(plugins).unify().boxed()
}

/// The settings in force, by their names in the configuration file. Never a secret.
#[utoipa::path(get, path = "/admin/config", tag = "admin", security(("api_key" = ["settings:read"])),
    responses((status = 200, body = Object)))]
pub(in crate::http) async fn config(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsRead).await?;
    let config = request.app.config();
    let mut body: Map<String, Value> =
        config.in_force().map(|(key, value)| (key.to_owned(), Value::String(value))).collect();
    // The names Faxbot's clients look for, with their types.
    body.insert("backend".to_owned(), config.live_routes().first().into());
    body.insert("require_api_key".to_owned(), config.require_api_key.into());
    body.insert("max_file_size_mb".to_owned(), config.max_file_size_mb.into());
    body.insert("max_requests_per_minute".to_owned(), config.max_requests_per_minute.into());
    body.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
    json(StatusCode::OK, &body)
}

/// One way a fax can take.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Plugin {
    id: String,
    name: String,
    version: &'static str,
    /// Always `outbound` so far.
    categories: [&'static str; 1],
    enabled: bool,
}

/// The routes a fax can take; Faxbot's clients ask for them as plugins
#[utoipa::path(get, path = "/plugins", tag = "admin", security(("api_key" = ["settings:read"])),
    responses((status = 200, body = Vec<Plugin>)))]
pub(in crate::http) async fn plugins(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsRead).await?;
    let live = request.app.config().live_routes();
    let routes: Vec<Plugin> = request
        .app
        .queue()
        .routes()
        .filter(|name| live.names().any(|route| route == *name) || !simulator::is_further(name))
        .map(|name| Plugin {
            id: name.to_owned(),
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            categories: ["outbound"],
            enabled: live.names().any(|route| route == name),
        })
        .collect();
    json(StatusCode::OK, &routes)
}
