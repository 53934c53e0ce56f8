//! `/destinations/{number}`: what is known of a number from its last calls.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, get, json};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::fax::attempt::Carriage;
use crate::fax::destination::{Memory, PastCall};
use crate::fax::number::FaxNumber;
use crate::http::error::{ApiError, INVALID_NUMBER, ProblemBody};
use crate::http::request::Request;

/// Calls that are listed.
const LISTED: usize = 20;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    warp::path!("destinations" / String)
        .and(get(app))
        .then(|number, request| answer(show(number, request)))
        .boxed()
}

/// What is known of a number from the calls of the last 30 days.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Destination {
    /// The number that is dialled.
    number: String,
    calls: usize,
    /// Calls in which a fax machine answered.
    answered: usize,
    delivered: usize,
    /// Share of the calls that delivered, from 0 to 1; null without calls.
    success_rate: Option<f64>,
    /// What the machine there called itself the last time that it told.
    last_remote_station_id: Option<String>,
    /// How the newest delivered call travelled; null while nothing was delivered.
    worked: Option<Travelled>,
    /// The newest calls, at most 20, newest first.
    last: Vec<DestinationCall>,
}

/// How pages travelled.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Travelled {
    /// `t38`, `audio` or `loopback`
    transport: Option<String>,
    /// Bit/s
    bit_rate: Option<u32>,
    /// Whether error correction was on.
    ecm: Option<bool>,
}

/// One call that is over.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DestinationCall {
    #[schema(value_type = String, format = DateTime)]
    ended_at: Timestamp,
    route: String,
    /// How it ended: a class of outcome
    class: &'static str,
    /// Pages it got confirmed.
    pages: u32,
    remote_station_id: Option<String>,
    #[serde(flatten)]
    travelled: Travelled,
}

impl From<&Carriage> for Travelled {
    fn from(carriage: &Carriage) -> Self {
        Self { transport: carriage.transport.clone(), bit_rate: carriage.bit_rate, ecm: carriage.ecm }
    }
}

impl From<&PastCall> for DestinationCall {
    fn from(call: &PastCall) -> Self {
        Self {
            ended_at: call.at,
            route: call.route.clone(),
            class: call.class.as_str(),
            pages: call.pages,
            remote_station_id: call.remote_station_id.clone(),
            travelled: Travelled::from(&call.carriage),
        }
    }
}

impl Destination {
    fn new(number: &FaxNumber, memory: &Memory) -> Self {
        Self {
            number: number.as_e164().to_owned(),
            calls: memory.calls.len(),
            answered: memory.answered(),
            delivered: memory.delivered(),
            success_rate: memory.success_rate().map(|rate| (rate * 1000.0).round() / 1000.0),
            last_remote_station_id: memory.last_station_id().map(ToOwned::to_owned),
            worked: memory.worked().map(|call| Travelled::from(&call.carriage)),
            last: memory.calls.iter().take(LISTED).map(DestinationCall::from).collect(),
        }
    }
}

/// What is known of a number
///
/// From the calls of the last 30 days: one's own account's, everybody's for administrators.
#[utoipa::path(get, path = "/destinations/{number}", tag = "fax", params(("number" = String, Path,)),
    security(("api_key" = ["fax:read"])),
    responses((status = 200, body = Destination),
        (status = 400, description = "The number is not one", body = ProblemBody)))]
pub(in crate::http) async fn show(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxRead).await?;
    let text =
        text.strip_prefix("%2B").or(text.strip_prefix("%2b")).map_or(text.clone(), |rest| format!("+{rest}"));
    let number = FaxNumber::parse(&text, &request.app.config().country_code)
        .map_err(|_| ApiError::new(&INVALID_NUMBER, "The number must be E.164 or digits only."))?;
    let owner = (!request.caller.sees_everything()).then_some(request.caller.owner);
    let memory = request.app.queue().destination(&number, owner).await?;
    json(StatusCode::OK, &Destination::new(&number, &memory))
}
