//! `/admin/api-keys/{id}/usage`: what came of a key's requests.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::admin_keys::own_key;
use super::{answer, get, json, query};
use crate::access::outcome::Outcome;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::http::error::{ApiError, ProblemBody};
use crate::http::request::Request;

/// Hours shown when none are asked for.
const DEFAULT_HOURS: u32 = 24;
/// Hours there can be: figures are kept for 90 days.
const MOST_HOURS: u32 = 90 * 24;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    warp::path!("admin" / "api-keys" / String / "usage")
        .and(get(app))
        .then(|id, request| answer(show(id, request)))
        .boxed()
}

/// How far back to look.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct UsageQuery {
    /// Hours, this one included: 1 to 2160; 24 by default
    #[param(minimum = 1, maximum = 2160)]
    hours: Option<u32>,
}

/// What came of a key's requests.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct KeyUsage {
    key_id: String,
    /// The hours in which there were any, oldest first.
    hours: Vec<HourOfUsage>,
    /// All of these hours together: outcome and count.
    #[schema(value_type = BTreeMap<String, u64>)]
    total: Counts,
}

/// One hour: its beginning, and a count for each outcome there was.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct HourOfUsage {
    #[schema(value_type = String, format = DateTime)]
    hour: Timestamp,
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, u64>)]
    counts: Counts,
}

/// By outcome, in the order of the diagnostics; `ok` is always there.
#[derive(Default, Serialize)]
#[serde(transparent)]
struct Counts(BTreeMap<Named, u64>);

/// An outcome that serialises as its name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Named(Outcome);

impl Serialize for Named {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl Counts {
    fn none() -> Self {
        Self([(Named(Outcome::Ok), 0)].into())
    }

    fn add(&mut self, outcome: Outcome, count: u64) {
        *self.0.entry(Named(outcome)).or_default() += count;
    }
}

/// What came of a key's requests, by hour
#[utoipa::path(get, path = "/admin/api-keys/{id}/usage", tag = "keys", params(("id" = String, Path,), UsageQuery),
    security(("api_key" = ["keys:read"])),
    responses((status = 200, body = KeyUsage), (status = 404, description = "No such key", body = ProblemBody),
        (status = 422, description = "`hours` is out of range", body = ProblemBody)))]
pub(in crate::http) async fn show(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::KeysRead).await?;
    let key = own_key(&request, &id)?.record.id;
    let asked: UsageQuery = query(request.query())?;
    let hours = match asked.hours.unwrap_or(DEFAULT_HOURS) {
        hours @ 1..=MOST_HOURS => hours,
        _ => return Err(ApiError::field("hours", "out_of_range", "'hours' must be from 1 to 2160.")),
    };
    let rows = request.app.keys().use_by_hour(key, hours).await?;
    let mut usage = KeyUsage { key_id: key.to_string(), hours: Vec::new(), total: Counts::none() };
    for row in rows {
        let hour = Timestamp::from_second(row.hour * 3600).map_err(|error| ApiError::internal(&error))?;
        if usage.hours.last().is_none_or(|last| last.hour != hour) {
            usage.hours.push(HourOfUsage { hour, counts: Counts::none() });
        }
        if let Some(last) = usage.hours.last_mut() {
            last.counts.add(row.outcome, row.count);
        }
        usage.total.add(row.outcome, row.count);
    }
    json(StatusCode::OK, &usage)
}
