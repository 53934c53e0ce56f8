//! `/events`: what happened, in order, as pages and as a stream.
//!
//! Everybody sees what they may see elsewhere: faxes of their own account (all, where their key has
//! `all_jobs`, and in a viewer's session), received faxes with `inbound:list`, keys with `keys:read`, accounts with
//! `users:manage`. A stream holds at most one page in memory and reads on when its client has taken
//! that; who is slow waits in the log, not here.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};
use warp::sse;

use super::{answer, get, json, query};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::auth::Caller;
use crate::clock::Wake;
use crate::db::events::LoggedEvent;
use crate::fax::event::{EventFilter, Sight, TypePattern};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::request::{Permitted, Request, still_stands};

/// Events of one page when nobody says how many.
const DEFAULT_ROWS: usize = 100;
/// Most events of one page.
const MOST_ROWS: usize = 1000;
/// Events a stream holds in memory.
const STREAM_ROWS: usize = 50;
/// Longest silence of a stream; below the idle limits of common proxies. A right that ended
/// otherwise than by an event is noticed after this long at most.
const HEARTBEAT: SignedDuration = SignedDuration::from_secs(15);
/// How long a client whose stream broke is asked to wait.
const RECONNECT_AFTER: Duration = Duration::from_secs(2);

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let list = warp::path!("events").and(get(app)).then(|request| answer(list(request)));
    let live = warp::path!("events" / "stream").and(get(app)).then(|request| answer(stream(request)));
    list.or(live).unify().boxed()
}

/// Which events to list.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct EventsQuery {
    /// Only events after this place; 0, the default, is the beginning
    after: i64,
    /// Only these, as in `fax.delivered,inbound.*`; all by default
    types: Option<String>,
    /// Events, 1 to 1000; 100 by default
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Which events to stream.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct StreamQuery {
    /// Begin after this place; without it and without `Last-Event-ID`, with what happens from now on
    after: Option<i64>,
    /// Only these, as in `fax.delivered,inbound.*`; all by default
    types: Option<String>,
}

/// Something that happened. Holds no number, name or document: who may know more asks for the subject.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(in crate::http) struct EventView {
    /// Its place; grows, with gaps.
    pub(super) seq: i64,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `fax.` and the new state, `fax.page_confirmed`, `inbound.received`, `api_key.revoked` …
    r#type: String,
    /// Id of the fax; of others `key:`, `account:` or `group:` and the id.
    subject: String,
    #[schema(value_type = Object)]
    data: Value,
}

impl From<LoggedEvent> for EventView {
    fn from(logged: LoggedEvent) -> Self {
        let LoggedEvent { seq, event } = logged;
        Self { seq, at: event.at, r#type: event.kind, subject: event.subject, data: event.data }
    }
}

/// Some events, in order.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct EventList {
    events: Vec<EventView>,
    /// `after` of the next page; the same again while nothing happens.
    next_after: i64,
    /// Whether more is there already; a page may be short or empty all the same.
    has_more: bool,
}

/// What happened, in order
///
/// Read on with `next_after`: nothing is left out, whatever happens meanwhile.
#[utoipa::path(get, path = "/events", tag = "events", params(EventsQuery), security(("api_key" = ["fax:read"])),
    responses((status = 200, body = EventList), (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn list(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxRead).await?;
    let asked: EventsQuery = query(request.query())?;
    let limit = match asked.limit.unwrap_or(DEFAULT_ROWS) {
        rows @ 1..=MOST_ROWS => rows,
        _ => return Err(ApiError::field("limit", "out_of_range", "'limit' must be from 1 to 1000.")),
    };
    let filter = filter(&request, asked.types.as_deref())?;
    let page = request.app.db().events_page(filter, place(&request.app, asked.after), limit).await?;
    let body = EventList {
        events: page.events.into_iter().map(EventView::from).collect(),
        next_after: page.next,
        has_more: !page.is_end,
    };
    json(StatusCode::OK, &body)
}

/// The same as it happens
///
/// Server-sent events without a name: `data` is an event as `GET /events` lists it, `id` its place.
/// A client that was cut off sends that as `Last-Event-ID`, as browsers do by themselves, and goes on
/// where it was. Comments come at least every 15 seconds. Ends when the right it was opened with
/// ends or changes, and when the appliance stops.
#[utoipa::path(get, path = "/events/stream", tag = "events",
    params(StreamQuery, ("Last-Event-ID" = Option<String>, Header, description = "Counts more than `after`")),
    security(("api_key" = ["fax:read"])),
    responses((status = 200, content_type = "text/event-stream", body = String),
        (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn stream(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxRead).await?;
    let asked: StreamQuery = query(request.query())?;
    let filter = filter(&request, asked.types.as_deref())?;
    let after = match request.headers().get("last-event-id") {
        Some(id) => {
            let place = id.to_str().ok().and_then(|id| id.trim().parse().ok());
            Some(place.ok_or_else(|| {
                ApiError::field("Last-Event-ID", "invalid", "'Last-Event-ID' must be the id of an event.")
            })?)
        }
        None => asked.after,
    };
    let subscriber = Subscriber::new(request.app, request.caller, filter, after);
    Ok(sse::reply(subscriber.events()).into_response())
}

/// One open stream.
struct Subscriber {
    app: App,
    caller: Caller,
    filter: EventFilter,
    /// Up to where the log was read.
    place: i64,
    /// Read, and not yet taken by the client.
    page: VecDeque<LoggedEvent>,
    wake: Arc<Wake>,
    /// When the client last got something; nothing yet at the beginning.
    told_at: Option<Timestamp>,
}

impl Subscriber {
    fn new(app: App, caller: Caller, filter: EventFilter, after: Option<i64>) -> Self {
        let wake = Arc::new(Wake::new(app.clock()));
        // Before the first reading, so that nothing comes between.
        app.db().call_on_events(&wake);
        let place = place(&app, after.unwrap_or(i64::MAX));
        Self { app, caller, filter, place, page: VecDeque::new(), wake, told_at: None }
    }

    fn events(self) -> impl Stream<Item = Result<sse::Event, Infallible>> + Send {
        stream::unfold(self, async |mut this| {
            let event = this.next().await?;
            this.told_at = Some(this.app.clock().now());
            Some((Ok(event), this))
        })
    }

    /// What to tell next; `None` ends the stream.
    async fn next(&mut self) -> Option<sse::Event> {
        // Held while we act, not while the client takes its time.
        let mut work = self.app.clock().work();
        loop {
            if !still_stands(&self.app, &self.caller) {
                return None;
            }
            let Some(told_at) = self.told_at else {
                // The place first: who is cut off before the first event misses none either.
                return Some(self.comment("events").retry(RECONNECT_AFTER));
            };
            if let Some(logged) = self.page.pop_front() {
                let event = sse::Event::default().id(logged.seq.to_string());
                return event.json_data(EventView::from(logged)).ok();
            }
            let reading = self.app.db().events_page(self.filter.clone(), self.place, STREAM_ROWS);
            let page =
                reading.await.inspect_err(|error| log::warn!("a stream of events ended: {error}")).ok()?;
            self.place = page.next;
            self.page = page.events.into();
            if !self.page.is_empty() || !page.is_end {
                continue;
            }
            let heartbeat = told_at.checked_add(HEARTBEAT).unwrap_or(Timestamp::MAX);
            if self.app.clock().now() >= heartbeat {
                return Some(self.comment("still here"));
            }
            tokio::select! {
                () = work.wait_for(&self.wake, Some(heartbeat)) => {}
                () = self.app.stopped() => return None,
            }
        }
    }

    /// A line that is no event, with the place up to which all was told.
    fn comment(&self, text: &str) -> sse::Event {
        sse::Event::default().comment(text).id(self.place.to_string())
    }
}

/// A place to begin at. One that is not there yet counts as the end: after the return of an older
/// backup nobody shall wait until the log has grown past what they saw.
fn place(app: &App, after: i64) -> i64 {
    after.clamp(0, app.db().newest_event())
}

/// What the caller may see, and asks for.
fn filter(request: &Permitted, types: Option<&str>) -> Result<EventFilter, ApiError> {
    let asked = types.into_iter().flat_map(|list| list.split(',')).map(str::trim);
    let types: Result<Vec<TypePattern>, _> = asked.filter(|text| !text.is_empty()).map(str::parse).collect();
    let types = types.map_err(|error| ApiError::field("types", "unknown_type", format!("{error}.")))?;
    let caller = &request.caller;
    if caller.administrates() {
        return Ok(EventFilter::everything(types));
    }
    let own = (!caller.watches_everything()).then_some(caller.owner);
    let sights = [
        (Scope::FaxRead, "fax", own),
        (Scope::FaxRead, "group", own),
        (Scope::InboundList, "inbound", None),
        (Scope::KeysRead, "api_key", own),
        (Scope::UsersManage, "account", None),
    ];
    let sights = sights.into_iter().filter(|(scope, ..)| caller.may(*scope));
    Ok(EventFilter {
        sights: sights.map(|(_, family, owner)| Sight { family: Some(family), owner }).collect(),
        types,
    })
}
