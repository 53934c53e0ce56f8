//! `/admin/routes`: the routes faxes take, and how their calls went of late.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, get, json, post};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::fax::sentences;
use crate::http::error::{ApiError, NOT_FOUND, ProblemBody};
use crate::http::request::{Permitted, Request};
use crate::queue::{QueueError, RouteState};
use crate::route::simulator;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let list = warp::path!("admin" / "routes").and(get(app)).then(|request| answer(list(request)));
    let restore = warp::path!("admin" / "routes" / String / "restore")
        .and(post(app))
        .then(|name, request| answer(restore(name, request)));
    list.or(restore).unify().boxed()
}

/// The routes there are.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RouteList {
    /// Those that faxes of live keys take, in the order they are tried, then the others.
    routes: Vec<RouteView>,
}

/// One route.
#[derive(Serialize, ToSchema)]
#[schema(as = Route)]
pub(in crate::http) struct RouteView {
    name: String,
    /// `in_service`, `outside_hours`, `out_of_service`, or `probing` of one that was out and takes one call to see.
    state: &'static str,
    /// Its place among those that faxes of live keys take, from 1; null when they do not take it.
    place: Option<usize>,
    /// Calls it carries now.
    calls: u32,
    /// Calls it may carry at once.
    most_calls: u32,
    /// Whether its calls cost money.
    spends: bool,
    /// When its hours come next; null within them.
    #[schema(value_type = Option<String>, format = DateTime)]
    opens_at: Option<Timestamp>,
    /// Calls that failed in a row.
    failures: u32,
    /// How the last one failed, for a person; null since a call worked.
    last_failure: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_failure_at: Option<Timestamp>,
    /// Since when it is out of service.
    #[schema(value_type = Option<String>, format = DateTime)]
    out_since: Option<Timestamp>,
    /// When a call is let through next to see whether it works again.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_probe_at: Option<Timestamp>,
}

impl RouteView {
    fn new(state: RouteState, place: Option<usize>) -> Self {
        let RouteState { standing, spends, health } = state;
        let last = health.last.as_ref();
        Self {
            state: match health.out {
                None if standing.opens_at.is_some() => "outside_hours",
                None => "in_service",
                Some(_) if standing.is_out && standing.calls == 0 => "out_of_service",
                Some(_) => "probing",
            },
            name: standing.name,
            place,
            calls: standing.calls,
            most_calls: standing.most,
            spends,
            opens_at: standing.opens_at,
            failures: health.failures,
            last_failure: last.map(sentences::last_failure),
            last_failure_at: last.map(|last| last.at),
            out_since: health.out.map(|out| out.since),
            next_probe_at: health.out.map(|out| out.next_probe_at),
        }
    }
}

/// The routes faxes take, and how they stand
///
/// A route whose calls fail again and again, to several numbers, is taken out of service: faxes take the
/// next one of their list, or wait. After 1, 2, 5, 10 and then every 15 minutes one call is let through; the
/// first that works brings the route back.
#[utoipa::path(get, path = "/admin/routes", tag = "admin", security(("api_key" = ["settings:read"])),
    responses((status = 200, body = RouteList)))]
pub(in crate::http) async fn list(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsRead).await?;
    all(&request)
}

/// Put a route back into service at once
///
/// Without waiting for a call that shows that it works. Of a route that is in service nothing changes.
#[utoipa::path(post, path = "/admin/routes/{name}/restore", tag = "admin", params(("name" = String, Path,)),
    security(("api_key" = ["settings:write"])),
    responses((status = 200, body = RouteList), (status = 404, description = "No such route", body = ProblemBody)))]
pub(in crate::http) async fn restore(name: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsWrite).await?;
    match request.app.queue().restore_route(&name, &request.audit_context()).await {
        Ok(_) => all(&request),
        Err(QueueError::NoSuchRoute(_)) => {
            Err(ApiError::new(&NOT_FOUND, "There is no route of this name; GET /admin/routes lists them."))
        }
        Err(error) => Err(error.into()),
    }
}

fn all(request: &Permitted) -> Result<Response, ApiError> {
    let live = request.app.config().live_routes();
    let place = |name: &str| live.names().position(|route| route == name).map(|place| place + 1);
    let states = request.app.queue().route_states()?;
    let placed = states.into_iter().map(|state| (place(&state.standing.name), state));
    // Of further simulators only those that somebody uses.
    let is_used = |(place, state): &(Option<usize>, RouteState)| {
        let RouteState { standing, health, .. } = state;
        place.is_some() || standing.calls > 0 || health.failures > 0 || !simulator::is_further(&standing.name)
    };
    let used = placed.filter(is_used);
    let mut routes: Vec<_> = used.map(|(place, state)| RouteView::new(state, place)).collect();
    routes.sort_by_key(|route| route.place.unwrap_or(usize::MAX));
    json(StatusCode::OK, &RouteList { routes })
}
