//! What is noted of every request, and what its answer tells beside its body.
//!
//! Owns: the one outcome each request counts as, the fields that tell what is left of a key's
//! quotas, the headers for web pages, and the end of patience with an address that floods what
//! needs no key. All of it happens after the handler, in one place, so that no handler can forget
//! it.

use std::net::IpAddr;
use std::sync::LazyLock;

use metrics::Counter;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::HeaderValue;
use warp::http::header::CACHE_CONTROL;
use warp::reply::Response;

use super::error::ApiError;
use super::request::Arrival;
use super::{cors, rate_fields};
use crate::access::outcome::Outcome;
use crate::access::token::KeyId;
use crate::app::App;
use crate::auth::limits::{Charge, Limit};

/// What was found out about the sender of a request.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What its credential came to; [`Outcome::Ok`] when the sender was let in.
    pub(super) outcome: Option<Outcome>,
    /// The key it names, when it was not let in with it.
    pub(super) claimed: Option<KeyId>,
    /// What was taken off its key's quotas.
    pub(super) charge: Option<Charge>,
    /// Where the request came from, seen through the proxies that are trusted.
    pub(super) address: Option<IpAddr>,
    /// The web origin whose pages may read the answer.
    pub(super) origin: Option<HeaderValue>,
    /// Whether the key stood in the address.
    pub(super) is_in_query: bool,
}

/// These answers, each noted and completed.
pub(super) fn settled(app: &App, answers: BoxedFilter<(Response,)>) -> BoxedFilter<(Response,)> {
    let app = app.clone();
    answers
        .and(warp::ext::get::<Arrival>())
        .map(move |response, arrival: Arrival| match arrival.seen.get() {
            Some(seen) => settle(&app, seen, response),
            None => from_stranger(&app, &arrival, response),
        })
        .boxed()
}

/// Nobody asked who sent this; all that is limited is how often.
fn from_stranger(app: &App, arrival: &Arrival, response: Response) -> Response {
    match app.keys().count_stranger(arrival.peer.ip()) {
        None => response,
        Some(retry_after_s) => {
            let limit = Limit::Global.as_str();
            ApiError::rate_limited("Too many requests from this address.", limit, retry_after_s)
                .into_response()
        }
    }
}

fn settle(app: &App, seen: &Seen, mut response: Response) -> Response {
    if let Some(outcome) = outcome(seen, &response) {
        COUNTERS[outcome as usize].increment(1);
        let address = seen.address;
        match &seen.charge {
            Some(charge) => app.keys().note(charge, outcome, address),
            None if outcome != Outcome::Ok => {
                app.keys().note_refusal(outcome, seen.claimed, address);
            }
            None => {}
        }
    }
    let headers = response.headers_mut();
    if let Some(charge) = &seen.charge {
        rate_fields::add(headers, &charge.left);
    }
    if let Some(origin) = &seen.origin {
        cors::share(headers, origin);
    }
    if seen.is_in_query {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// What the request counts as: whoever was let in may still have lacked a right.
fn outcome(seen: &Seen, response: &Response) -> Option<Outcome> {
    let outcome = seen.outcome?;
    let reason = response.extensions().get::<ApiError>().and_then(ApiError::reason);
    Some(match (outcome, reason) {
        (Outcome::Ok, Some("scope")) => Outcome::Scope,
        (Outcome::Ok, Some("resource" | "origin")) => Outcome::Resource,
        (Outcome::Ok, Some("quota")) => Outcome::Quota,
        _ => outcome,
    })
}

/// One counter each, looked up once: a look-up by label costs more than checking a key.
static COUNTERS: LazyLock<Vec<Counter>> = LazyLock::new(|| {
    let counter = |outcome: &Outcome| metrics::counter!("pagewire_auth_total", "outcome" => outcome.as_str());
    Outcome::ALL.iter().map(counter).collect()
});
