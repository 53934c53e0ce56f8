//! `/admin/policy`: which numbers may be dialled from here.
//!
//! Administrators see it, block numbers and close ranges; what lets more calls out needs a global
//! administrator.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{answer, delete, get, id, json, put};
use crate::access::roles::Role;
use crate::access::scopes::Scope;
use crate::app::App;
use crate::fax::policy::ranges::Range;
use crate::fax::policy::{Entry, Prefix, REASON_CHARS, Rules, Ruling};
use crate::http::error::{ApiError, NO_SCOPE, NOT_FOUND, ProblemBody};
use crate::http::request::{Permitted, Request};

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let show = warp::path!("admin" / "policy").and(get(app)).then(|request| answer(show(request)));
    let range = warp::path!("admin" / "policy" / "ranges" / String)
        .and(put(app))
        .then(|name, request| answer(set_range(name, request)));
    let rule = warp::path!("admin" / "policy" / "numbers" / String)
        .and(put(app))
        .then(|prefix, request| answer(rule(prefix, request)));
    let unrule = warp::path!("admin" / "policy" / "numbers" / String)
        .and(delete(app))
        .then(|prefix, request| answer(unrule(prefix, request)));
    show.or(range).unify().or(rule).unify().or(unrule).unify().boxed()
}

/// Which numbers may be dialled.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PolicyView {
    /// Country code of the home country.
    home_country: String,
    ranges: Vec<RangeView>,
    /// Numbers that were allowed or blocked, by their beginnings; of several the longest counts.
    numbers: Vec<RuleView>,
}

/// A kind of number.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RangeView {
    /// `home`, `toll_free`, `abroad`, `other_plus_one`, `premium`, `shared_cost` or `satellite`
    range: &'static str,
    /// What it is.
    description: &'static str,
    open: bool,
    /// Whether it can be neither opened nor closed.
    fixed: bool,
    /// Why it was opened; null where nobody did.
    reason: Option<String>,
    opened_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    opened_at: Option<Timestamp>,
}

/// What was decided about numbers.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RuleView {
    /// The beginning of the numbers, or a whole number
    prefix: String,
    /// `allow` or `block`
    ruling: &'static str,
    reason: String,
    by: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

impl PolicyView {
    fn new(home_country: String, rules: &Rules) -> Self {
        let ranges = Range::ALL.map(|range| {
            let opened = rules.open.iter().find(|opened| opened.range == range);
            RangeView {
                range: range.as_str(),
                description: range.description(),
                open: range.is_always_open() || opened.is_some(),
                fixed: range.is_always_open(),
                reason: opened.map(|opened| opened.reason.clone()),
                opened_by: opened.map(|opened| opened.by.clone()),
                opened_at: opened.map(|opened| opened.at),
            }
        });
        let numbers = rules.entries.iter().map(RuleView::from).collect();
        Self { home_country, ranges: ranges.into(), numbers }
    }
}

impl From<&Entry> for RuleView {
    fn from(entry: &Entry) -> Self {
        Self {
            prefix: entry.prefix.to_string(),
            ruling: entry.ruling.as_str(),
            reason: entry.reason.clone(),
            by: entry.by.clone(),
            at: entry.at,
        }
    }
}

/// Which numbers may be dialled
#[utoipa::path(get, path = "/admin/policy", tag = "admin", security(("api_key" = ["settings:read"])),
    responses((status = 200, body = PolicyView)))]
pub(in crate::http) async fn show(request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsRead).await?;
    answer_policy(&request).await
}

/// Whether a range shall be open.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SetRange {
    open: bool,
    /// Why, in one sentence; needed to open it
    reason: Option<String>,
}

/// Open or close a range of numbers
///
/// Opening is for global administrators. What was closed ends at its next dial, without a call.
#[utoipa::path(put, path = "/admin/policy/ranges/{range}", tag = "admin", params(("range" = String, Path,)),
    security(("api_key" = ["settings:write"])), request_body = SetRange,
    responses((status = 200, body = PolicyView),
        (status = 404, description = "No such range, or one that is always open", body = ProblemBody),
        (status = 422, description = "The reason is missing", body = ProblemBody)))]
pub(in crate::http) async fn set_range(name: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsWrite).await?;
    let missing = || {
        let can: Vec<&str> =
            Range::ALL.iter().filter(|range| !range.is_always_open()).map(|range| range.as_str()).collect();
        ApiError::new(&NOT_FOUND, format!("The ranges that can be opened and closed are {}.", can.join(", ")))
    };
    let range: Range = id(&name, missing)?;
    if range.is_always_open() {
        return Err(missing());
    }
    let body: SetRange = request.body()?.json().await?;
    let (queue, by) = (request.app.queue(), request.audit_context());
    if body.open {
        check_global(&request, "opens a range of numbers")?;
        queue.open_range(range, one_line(body.reason.as_deref())?, &by).await?;
    } else {
        queue.close_range(range, &by).await?;
    }
    answer_policy(&request).await
}

/// What shall hold for numbers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SetRule {
    /// `allow` or `block`
    ruling: String,
    /// Why, in one sentence
    reason: Option<String>,
}

/// Allow or block the numbers that begin so
///
/// `prefix` has the country code first, like `4930` or a whole number; the `+` may be left out.
/// Allowing, also in place of blocking, is for global administrators. It opens a premium, satellite or
/// similar range only when it names that range's own digits; emergency numbers stay closed.
#[utoipa::path(put, path = "/admin/policy/numbers/{prefix}", tag = "admin", params(("prefix" = String, Path,)),
    security(("api_key" = ["settings:write"])), request_body = SetRule,
    responses((status = 200, body = RuleView),
        (status = 422, description = "Not the beginning of a number, or a field is missing", body = ProblemBody)))]
pub(in crate::http) async fn rule(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsWrite).await?;
    let prefix = prefix(&text)?;
    let body: SetRule = request.body()?.json().await?;
    let refused = |_| ApiError::field("ruling", "invalid", "'ruling' must be allow or block.");
    let ruling: Ruling = body.ruling.parse().map_err(refused)?;
    if ruling == Ruling::Allow {
        check_global(&request, "allows numbers")?;
    }
    let reason = one_line(body.reason.as_deref())?;
    let entry = request.app.queue().rule(prefix, ruling, reason, &request.audit_context()).await?;
    json(StatusCode::OK, &RuleView::from(&entry))
}

/// Forget what was decided about the numbers that begin so
///
/// Taking a block back is for global administrators too.
#[utoipa::path(delete, path = "/admin/policy/numbers/{prefix}", tag = "admin", params(("prefix" = String, Path,)),
    security(("api_key" = ["settings:write"])),
    responses((status = 200, body = PolicyView),
        (status = 404, description = "Nothing was decided about them", body = ProblemBody),
        (status = 422, description = "Not the beginning of a number", body = ProblemBody)))]
pub(in crate::http) async fn unrule(text: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::SettingsWrite).await?;
    let prefix = prefix(&text)?;
    let queue = request.app.queue();
    let missing = || ApiError::new(&NOT_FOUND, format!("Nothing was decided about {prefix}."));
    let entry = queue.policy_entry(&prefix)?.ok_or_else(missing)?;
    if entry.ruling == Ruling::Block {
        check_global(&request, "takes a block back")?;
    }
    if !queue.unrule(prefix.clone(), &request.audit_context()).await? {
        return Err(missing());
    }
    answer_policy(&request).await
}

async fn answer_policy(request: &Permitted) -> Result<Response, ApiError> {
    let queue = request.app.queue();
    let rules = queue.policy_rules().await?;
    json(StatusCode::OK, &PolicyView::new(queue.home_country().to_string(), &rules))
}

/// Refuses who may not let more calls out.
fn check_global(request: &Permitted, what: &str) -> Result<(), ApiError> {
    let caller = &request.caller;
    if caller.administrates() && caller.role == Role::GlobalAdmin {
        return Ok(());
    }
    Err(ApiError::new(&NO_SCOPE, format!("Only a global administrator {what}.")))
}

fn prefix(text: &str) -> Result<Prefix, ApiError> {
    let text = text.strip_prefix("%2B").or(text.strip_prefix("%2b")).unwrap_or(text);
    text.parse().map_err(|error| ApiError::field("prefix", "invalid", format!("'prefix': {error}.")))
}

/// The reason for something: one line, not empty.
pub(super) fn one_line(text: Option<&str>) -> Result<String, ApiError> {
    let text = text.unwrap_or_default().trim();
    let fits = (1..=REASON_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    let refused = || {
        let message = format!("'reason' must say why, in 1 to {REASON_CHARS} characters on one line.");
        ApiError::field("reason", "missing", message)
    };
    if fits { Ok(text.to_owned()) } else { Err(refused()) }
}
