//! Groups: one document to many numbers. `POST /fax` with several `to` makes one; `/groups/{id}`
//! shows how far it has come and cancels what is left.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::fax_view::{DryRun, FaxView, PolicyVerdict};
use super::send::{outside_hours, refused, why_route};
use super::{answer, delete, get, id, json, query};
use crate::access::scopes::Scope;
use crate::app::App;
use crate::codec::page::FaxPage;
use crate::fax::group::{Group, Recipient, Tally};
use crate::fax::job::{Job, State};
use crate::fax::notify::When;
use crate::fax::number::FaxNumber;
use crate::fax::policy::Verdict;
use crate::fax::second_look::SecondLook;
use crate::fax::sentences;
use crate::fax::transition::Accepted;
use crate::http::error::{
    ApiError, CONFLICT, FieldError, GROUP_NOT_FOUND, INVALID_NUMBER, NO_SCOPE, ProblemBody,
};
use crate::http::request::{Permitted, Request};
use crate::id::GroupId;
use crate::queue::{GroupState, ListFilter, NewFax, Position};

/// Characters of a wrong number that are repeated in an answer.
const SHOWN: usize = 40;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    let show = warp::path!("groups" / String).and(get(app)).then(|id, request| answer(show(id, request)));
    let cancel =
        warp::path!("groups" / String).and(delete(app)).then(|id, request| answer(cancel(id, request)));
    show.or(cancel).unify().boxed()
}

/// How far a group has come.
#[derive(Serialize, ToSchema)]
#[schema(as = Group)]
pub(in crate::http) struct GroupView {
    /// Opaque id.
    id: String,
    /// How many faxes it has: one for each number.
    total: u32,
    /// Whether all of them have ended.
    done: bool,
    /// The same as a sentence: `3 of 5 delivered, 1 waiting, 1 failed.`
    human: String,
    /// How many are in each state; those without any are left out. `deleted` are those that ended and
    /// were deleted since.
    #[schema(value_type = std::collections::BTreeMap<String, u32>, example = json!({"delivered": 3, "waiting": 1, "failed": 1}))]
    counts: serde_json::Map<String, serde_json::Value>,
    /// Pages of all of them together.
    pages: u64,
    /// Pages the other machines confirmed, of all of them together.
    confirmed_pages: u64,
    /// What is told of it by e-mail: `none`, or `done` for its end.
    notify: &'static str,
    /// Id of the API key it came by.
    key_id: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the last one ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    final_at: Option<Timestamp>,
}

impl GroupView {
    fn new(group: &Group, tally: &Tally) -> Self {
        let mut states = tally.states.clone();
        states.sort_by_key(|(state, _)| State::ALL.iter().position(|other| other == state));
        let deleted = ("deleted".to_owned(), tally.deleted());
        let counts = states.iter().map(|(state, count)| (state.to_string(), *count)).chain([deleted]);
        Self {
            id: group.id.to_string(),
            total: tally.size,
            done: group.final_at.is_some(),
            human: sentences::group(tally),
            counts: counts
                .filter(|(_, count)| *count > 0)
                .map(|(word, count)| (word, count.into()))
                .collect(),
            pages: tally.pages,
            confirmed_pages: tally.confirmed_pages,
            notify: group.notify.as_ref().map_or(When::None, |notify| notify.when).as_str(),
            key_id: group.key_id.clone(),
            created_at: group.created_at,
            final_at: group.final_at,
        }
    }
}

/// A group that was accepted.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AcceptedGroup {
    group: NewGroup,
}

/// What was accepted.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct NewGroup {
    #[serde(flatten)]
    group: GroupView,
    /// Numbers left out, as they were sent: the same number was named before in another spelling or
    /// the same, and one number gets the document once.
    duplicates: Vec<String>,
    /// Its faxes, one for each number, in the order of the request. `GET /fax/{id}` shows each whole.
    jobs: Vec<Member>,
}

/// One fax of a new group.
#[derive(Serialize, ToSchema)]
#[schema(as = GroupMember)]
pub(in crate::http) struct Member {
    id: String,
    /// The number as it was sent to us.
    to: String,
    /// The number that is dialled.
    to_e164: String,
    /// `queued`, `in_progress`, `SUCCESS` or `FAILED`.
    status: &'static str,
    /// The precise state.
    state: &'static str,
}

impl AcceptedGroup {
    /// The body of a 202 for what was accepted; empty of a single fax.
    pub(super) fn body(accepted: &Accepted, duplicates: &[String]) -> String {
        let Some(group) = &accepted.group else { return String::new() };
        let jobs = || accepted.faxes.iter().map(|fax| fax.job());
        let mut tally = Tally { size: group.size, ..Tally::default() };
        for state in State::ALL {
            let count = jobs().filter(|job| job.state == state).count() as u32;
            tally.states.extend((count > 0).then_some((state, count)));
        }
        tally.pages = jobs().map(|job| u64::from(job.pages.unwrap_or(0))).sum();
        let member = |job: &Job| Member {
            id: job.id.to_string(),
            to: job.to_raw.clone(),
            to_e164: job.to.as_e164().to_owned(),
            status: job.state.public_status().as_str(),
            state: job.state.as_str(),
        };
        let group = NewGroup {
            group: GroupView::new(group, &tally),
            duplicates: duplicates.to_vec(),
            jobs: jobs().map(member).collect(),
        };
        serde_json::to_string(&Self { group }).unwrap_or_default()
    }
}

/// A group and some of its faxes.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct GroupPage {
    #[serde(flatten)]
    group: GroupView,
    /// Its faxes, the last number of the request first.
    jobs: Vec<FaxView>,
    /// Send as `cursor` to get the next page; null at the end.
    next_cursor: Option<String>,
}

/// Which faxes of a group to show.
#[derive(Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct GroupQuery {
    /// `queued`, `in_progress`, `SUCCESS`, `FAILED`, or a precise state
    status: Option<String>,
    /// Rows, 1 to 100; 50 by default
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before
    cursor: Option<String>,
}

/// How far a group has come, with its faxes
#[utoipa::path(get, path = "/groups/{id}", tag = "fax", params(("id" = String, Path,), GroupQuery),
    security(("api_key" = ["fax:read"])),
    responses((status = 200, body = GroupPage), (status = 404, description = "No such group", body = ProblemBody),
        (status = 422, description = "A filter cannot be used", body = ProblemBody)))]
pub(in crate::http) async fn show(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxRead).await?;
    let asked: GroupQuery = query(request.query())?;
    let state = own_group(&request, &id).await?;
    page(&request, state, asked).await
}

/// Cancel what is left of a group
///
/// Calls under way are ended; a fax whose last page is confirmed first still counts as delivered.
#[utoipa::path(delete, path = "/groups/{id}", tag = "fax", params(("id" = String, Path,)),
    security(("api_key" = ["fax:cancel"])),
    responses((status = 200, description = "Cancelled what had not ended", body = GroupPage),
        (status = 404, description = "No such group", body = ProblemBody),
        (status = 409, description = "All its faxes have ended already", body = ProblemBody)))]
pub(in crate::http) async fn cancel(id: String, request: Request) -> Result<Response, ApiError> {
    let request = request.permit(Scope::FaxCancel).await?;
    let state = own_group(&request, &id).await?;
    if state.group.final_at.is_some() {
        let detail = format!(
            "All faxes of the group have ended already; only one that has not can be cancelled. {}",
            sentences::group(&state.tally)
        );
        return Err(ApiError::new(&CONFLICT, detail));
    }
    request.app.queue().cancel_group(state.group.id, &request.audit_context()).await?;
    let state = own_group(&request, &id).await?;
    page(&request, state, GroupQuery::default()).await
}

async fn page(request: &Permitted, state: GroupState, asked: GroupQuery) -> Result<Response, ApiError> {
    let filter = ListFilter {
        group: Some(state.group.id),
        states: asked.status.as_deref().map(super::admin_jobs::states).transpose()?,
        ..ListFilter::default()
    };
    let position = asked.cursor.as_deref().map(super::admin_jobs::cursor).transpose()?;
    let limit = super::admin_jobs::limit(asked.limit)?;
    let queue = request.app.queue();
    let page = queue.list(filter, position.unwrap_or(Position::Start), limit).await?;
    let dialling = queue.dialling()?;
    let body = GroupPage {
        group: GroupView::new(&state.group, &state.tally),
        jobs: page.jobs.iter().map(|job| FaxView::listed(&request.caller, job, &dialling)).collect(),
        next_cursor: page.next.map(|seq| seq.to_string()),
    };
    json(StatusCode::OK, &body)
}

async fn own_group(request: &Permitted, text: &str) -> Result<GroupState, ApiError> {
    let missing = || ApiError::new(&GROUP_NOT_FOUND, "No group with this id.");
    let id: GroupId = id(text, missing)?;
    let state = request.app.queue().group(id).await?.ok_or_else(missing)?;
    // What exists but is not yours does not exist for you.
    let caller = &request.caller;
    if caller.sees(state.group.owner) || caller.watches_everything() { Ok(state) } else { Err(missing()) }
}

/// Whom a request with several numbers is for.
pub(super) struct Recipients {
    /// Each number once, in the order of the request.
    pub(super) all: Vec<Recipient>,
    /// Numbers that came again, as they were written.
    pub(super) duplicates: Vec<String>,
}

impl Recipients {
    /// Reads what a client wrote. All have to be numbers, and the key has to be allowed to send to
    /// each of them.
    pub(super) fn new<'a>(
        request: &Permitted,
        numbers: impl Iterator<Item = &'a str>,
    ) -> Result<Self, ApiError> {
        let (mut all, mut wrong, mut forbidden) = (Vec::<Recipient>::new(), Vec::new(), Vec::new());
        let (mut seen, mut duplicates) = (HashSet::new(), Vec::new());
        for raw in numbers {
            match FaxNumber::parse(raw, &request.app.config().country_code) {
                Err(_) => wrong.push(raw),
                Ok(to) if !request.caller.may_dial(to.as_e164()) => forbidden.push(raw),
                Ok(to) if !seen.insert(to.clone()) => duplicates.push(raw.to_owned()),
                Ok(to) => all.push(Recipient { raw: raw.to_owned(), to }),
            }
        }
        let each = |numbers: &[&str], code: &str, what: &str| {
            let error = |raw: &&str| FieldError {
                field: "to".into(),
                code: code.into(),
                message: format!("{}: {what}", raw.chars().take(SHOWN).collect::<String>()),
            };
            numbers.iter().map(error).collect()
        };
        if !wrong.is_empty() {
            let what = "'to' must be E.164 or digits only";
            let detail = format!("{what}; {} of the numbers cannot be read.", wrong.len());
            return Err(ApiError::new(&INVALID_NUMBER, detail).with_errors(each(&wrong, "invalid", what)));
        }
        if !forbidden.is_empty() {
            let detail = format!("This key may not send to {} of these numbers.", forbidden.len());
            let errors = each(&forbidden, "resource", "This key may not send to this number.");
            return Err(ApiError::new(&NO_SCOPE, detail).with_reason("resource").with_errors(errors));
        }
        Ok(Self { all, duplicates })
    }
}

/// What a group would be, had it been sent.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct GroupDryRun {
    /// What would become of each number, in the order of the request.
    numbers: Vec<NumberDryRun>,
    /// Numbers that would be left out, as they were sent.
    duplicates: Vec<String>,
    /// The route they would take.
    route: String,
    /// Why that one.
    why: String,
    /// Fax pages for each number.
    pages: u32,
    /// Seconds on the line at 14,400 bit/s, page by page.
    seconds_per_page: Vec<f64>,
    /// Whether the route costs money.
    spends: bool,
    /// Why the key's quota of the day would refuse them; null when it would not.
    quota: Option<String>,
    /// What would keep them waiting at this moment; null when nothing would.
    waiting_for: Option<String>,
    /// Always true: nothing was stored, sent or charged.
    dry_run: bool,
}

/// What would become of one number.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct NumberDryRun {
    /// The number as it was sent to us.
    to: String,
    /// The number that would be dialled.
    to_e164: String,
    /// What policy says of it.
    policy: PolicyVerdict,
    /// Why it would be held until somebody has looked at its number; null when it would not.
    second_look: Option<String>,
}

/// Answers a dry run to several numbers.
pub(super) async fn dry_run(
    request: &Permitted,
    recipients: &Recipients,
    new: &NewFax,
    pages: &[FaxPage],
) -> Result<Response, ApiError> {
    let queue = request.app.queue();
    let count = pages.len() as u32;
    let Some(first) = recipients.all.first() else { return json(StatusCode::OK, &serde_json::json!({})) };
    let (verdicts, overspent) =
        queue.foresee_group(&new.route, &recipients.all, count, new.schedule_at, new.allowance.as_ref())?;
    let foreseen = queue.foresee(&new.route, &first.to, count, new.schedule_at, None)?;
    let limits = queue.dialling()?.limits;
    let numbers = recipients.all.iter().map(|recipient| recipient.to.clone()).collect();
    let looks = queue.second_looks(new.route.first(), numbers).await?;
    let number = |((recipient, verdict), look): ((&Recipient, &Verdict), &Option<SecondLook>)| NumberDryRun {
        to: recipient.raw.clone(),
        to_e164: recipient.to.as_e164().to_owned(),
        policy: PolicyVerdict::from(verdict),
        second_look: look.as_ref().map(|look| sentences::second_look(&recipient.to, look, None)),
    };
    let body = GroupDryRun {
        numbers: recipients.all.iter().zip(&verdicts).zip(&looks).map(number).collect(),
        duplicates: recipients.duplicates.clone(),
        why: why_route(request, &foreseen),
        route: foreseen.route.clone(),
        pages: count,
        seconds_per_page: DryRun::seconds(pages),
        spends: foreseen.spends,
        quota: overspent.map(|over| over.to_string()),
        waiting_for: foreseen.waiting_for(limits).or_else(|| outside_hours(request, new)),
        dry_run: true,
    };
    json(StatusCode::OK, &body)
}

/// Hands a checked group to the queue; answers 202 once it is safe.
pub(super) async fn submit(
    request: &Permitted,
    new: NewFax,
    recipients: Recipients,
) -> Result<Response, ApiError> {
    let Recipients { all, duplicates } = recipients;
    let submitted = request.app.queue().submit_group(new, all, |accepted| {
        (StatusCode::ACCEPTED.as_u16(), AcceptedGroup::body(accepted, &duplicates))
    });
    super::send::answer_to(submitted.await.map_err(|error| refused(request, error))?)
}
