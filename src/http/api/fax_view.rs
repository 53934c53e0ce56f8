//! A fax as the API shows it.
//!
//! Owns: field names and their order. Faxbot's nine keys come first and are always there, because
//! its clients index them.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::groups::{AcceptedGroup, GroupDryRun};
use crate::access::scopes::Scope;
use crate::auth::Caller;
use crate::codec::page::FaxPage;
use crate::fax::dialling::Dialling;
use crate::fax::job::{Job, State};
use crate::fax::notify::When;
use crate::fax::number::{FaxNumber, masked_in};
use crate::fax::outcome::Outcome;
use crate::fax::policy::Verdict;
use crate::fax::routing;
use crate::fax::second_look::{FoundIn, Kind, SecondLook};
use crate::fax::sentences;
use crate::http::error::ApiError;
use crate::http::request::Permitted;

/// One fax to send.
#[derive(Serialize, ToSchema)]
#[schema(as = Fax)]
pub(in crate::http) struct FaxView {
    /// Opaque id.
    id: String,
    /// The number as it was sent to us; its last digits for viewers.
    to: String,
    /// `queued`, `in_progress`, `SUCCESS` or `FAILED`.
    status: &'static str,
    /// Why it failed, in one sentence.
    error: Option<String>,
    /// Pages; null while the document is being prepared.
    pages: Option<u32>,
    /// The route it took last; before its first call the first of `routes`.
    backend: String,
    /// Always null: the appliance is its own provider.
    provider_sid: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The precise state: held, scheduled, preparing, queued, dialing, sending, waiting, delivered,
    /// partial, failed, cancelled or expired.
    state: &'static str,
    /// Whether another fax to this number holds it back.
    blocked: bool,
    /// What keeps it from being dialled although its turn has come: `blocked`, `paused`,
    /// `spending_limit`, `no_line`, `outside_hours`, or `second_look` of one that is held until somebody has looked at its number;
    /// null when nothing does.
    modifier: Option<&'static str>,
    /// The same as a sentence.
    waiting_for: Option<String>,
    /// That another machine answered than the one known at the number, as a sentence; null when none did.
    warning: Option<String>,
    /// The routes it may take, in order; the next one is tried at once where one fails.
    routes: Vec<String>,
    /// The number that is dialled; its last digits for viewers.
    to_e164: String,
    /// Pages the other machine confirmed.
    confirmed_pages: u32,
    /// Calls that count against the limit.
    dials: u32,
    /// Calls in which a fax machine answered.
    tries: u32,
    priority: &'static str,
    /// `standard`, `fine` or `superfine`; `standard` from where on the other machine could not take a finer page.
    resolution: String,
    quality: String,
    /// The client's own reference.
    tag: Option<String>,
    /// Id of the fax whose pages are sent again.
    resend_of: Option<String>,
    /// What is told of it by e-mail: `none`, `done`, `requeued` or `both`. Of a group its end is told.
    notify: &'static str,
    /// Id of the group it is part of: one document to many numbers.
    group: Option<String>,
    /// Id of the API key it came by.
    key_id: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    schedule_at: Option<Timestamp>,
    /// The hours of the week in which it may be sent, in the appliance's time zone; null is any.
    hours: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    deadline_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    next_try_at: Option<Timestamp>,
    /// How the last call, or the fax, ended.
    outcome: Option<OutcomeView>,
}

impl FaxView {
    /// A fax while this keeps calls from beginning.
    pub(super) fn new(job: &Job, dialling: &Dialling) -> Self {
        let hold = dialling.holds_job(job);
        let sibling = job.is_blocked.then_some(("blocked", sentences::BLOCKED.to_owned()));
        let held = hold.map(|hold| (hold.cause.modifier(), sentences::held(hold, dialling.limits)));
        let look = job.second_look.as_ref().filter(|_| job.is_to_be_looked_at());
        let look = look.map(|look| ("second_look", to_look_at(job, look, None)));
        let why = dialling.lacks_line(job);
        let opens_at = job.waits_for_hours().or_else(|| routing::opens_at(why.clone()?));
        let closed = opens_at.map(|at| ("outside_hours", sentences::outside_hours(at)));
        let full = why.map(|why| ("no_line", sentences::no_line(why).to_owned()));
        let (modifier, waiting_for) = look.or(held).or(sibling).or(closed).or(full).unzip();
        let ended_badly = job.state.is_final() && job.state != State::Delivered;
        Self {
            id: job.id.to_string(),
            to: job.to_raw.clone(),
            status: job.state.public_status().as_str(),
            error: job.outcome.as_ref().filter(|_| ended_badly).map(|outcome| outcome.human.clone()),
            pages: job.pages,
            backend: job.route.clone(),
            provider_sid: None,
            created_at: job.created_at,
            updated_at: job.updated_at,
            state: job.state.as_str(),
            blocked: job.is_blocked,
            modifier,
            waiting_for,
            warning: job.other_station.as_ref().map(sentences::other_station),
            routes: job.routes.names().map(ToOwned::to_owned).collect(),
            to_e164: job.to.as_e164().to_owned(),
            confirmed_pages: job.confirmed_pages,
            dials: job.counters.dials,
            tries: job.counters.tries,
            priority: job.priority.as_str(),
            resolution: job.sent_resolution().to_owned(),
            quality: job.quality.clone(),
            tag: job.tag.clone(),
            resend_of: job.resend_of.map(|id| id.to_string()),
            notify: job.notify.as_ref().map_or(When::None, |notify| notify.when).as_str(),
            group: job.group.map(|id| id.to_string()),
            key_id: job.key_id.clone(),
            schedule_at: job.schedule_at,
            hours: job.hours.as_ref().map(ToString::to_string),
            deadline_at: job.deadline_at,
            next_try_at: job.next_try_at,
            outcome: job.outcome.as_ref().map(OutcomeView::from),
        }
    }
}

impl FaxView {
    /// A row of a list for this caller.
    pub(super) fn listed(caller: &Caller, job: &Job, dialling: &Dialling) -> Self {
        Self::new(job, dialling).seen_by(caller, job)
    }

    /// With the number as this caller may see it.
    fn seen_by(mut self, caller: &Caller, job: &Job) -> Self {
        if caller.sees_numbers() {
            return self;
        }
        let (whole, masked) = (job.to.spaced(), job.to.masked());
        // What machines call themselves is a number as a rule; in other sentences stand dates.
        let names_stations = self.modifier == Some("second_look");
        self.waiting_for = self.waiting_for.map(|said| match names_stations {
            true => masked_in(&said.replace(&whole, &masked)),
            false => said.replace(&whole, &masked),
        });
        self.warning = self.warning.map(|said| masked_in(&said));
        self.to.clone_from(&masked);
        self.to_e164 = masked;
        self
    }

    /// The same for who sent this request: what the number of a held fax is near is told to those who
    /// may read the address book, or see everybody's faxes.
    pub(super) fn for_sender(request: &Permitted, job: &Job) -> Result<Self, ApiError> {
        let queue = request.app.queue();
        let mut view = Self::new(job, &queue.dialling_for(job)?);
        let Some(look) = job.second_look.as_ref().filter(|_| job.is_to_be_looked_at()) else {
            return Ok(view.seen_by(&request.caller, job));
        };
        let number = look.near.as_deref().and_then(|near| FaxNumber::from_e164(near).ok());
        let near = match (look.found_in, number) {
            (Some(FoundIn::Contacts), Some(number)) if request.caller.may(Scope::ContactsRead) => {
                queue.contact_name(number.as_e164())?.map(|name| format!("“{name}”"))
            }
            (Some(FoundIn::Deliveries), Some(number))
                if request.caller.sees_everything() && request.caller.sees_numbers() =>
            {
                Some(number.spaced())
            }
            _ => None,
        };
        view.waiting_for = Some(to_look_at(job, look, near.as_deref()));
        Ok(view.seen_by(&request.caller, job))
    }
}

/// Why somebody has to look at the number of a fax.
fn to_look_at(job: &Job, look: &SecondLook, near: Option<&str>) -> String {
    match (look.kind, &job.other_station) {
        (Kind::OtherStation, Some(other)) => sentences::held_for_other_station(other),
        _ => sentences::second_look(&job.to, look, near),
    }
}

/// How a call or a fax ended.
#[derive(Serialize, ToSchema)]
#[schema(as = Outcome)]
pub(in crate::http) struct OutcomeView {
    /// Kind of ending; stable words to branch on.
    class: &'static str,
    /// The precise code.
    code: String,
    /// Whether such an ending is tried again by itself.
    retryable: bool,
    /// `us`, `sender`, `recipient`, `carrier` or `admin`.
    #[schema(value_type = Option<String>)]
    who_acts: serde_json::Value,
    /// One sentence for a person, with what happens next.
    human: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    next_try_at: Option<Timestamp>,
    /// Codes of the layers below: sip, q850, t30, provider, page.
    #[schema(value_type = Object)]
    detail: serde_json::Value,
}

impl From<&Outcome> for OutcomeView {
    fn from(outcome: &Outcome) -> Self {
        let as_json = |value: Result<serde_json::Value, _>| value.unwrap_or_default();
        Self {
            class: outcome.class.as_str(),
            code: outcome.code.clone(),
            retryable: outcome.retryable,
            who_acts: as_json(serde_json::to_value(outcome.who_acts)),
            human: outcome.human.clone(),
            next_try_at: outcome.next_try_at,
            detail: as_json(serde_json::to_value(&outcome.detail)),
        }
    }
}

/// One page of a list of faxes.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct FaxList {
    /// How many match in all.
    pub(super) total: u64,
    pub(super) jobs: Vec<FaxView>,
    /// Send as `cursor` to get the next page; null at the end.
    pub(super) next_cursor: Option<String>,
}

/// What was accepted: a fax, or with several `to` a group of them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "each is written by itself; this only describes them")]
pub(in crate::http) enum AcceptedView {
    Fax(Box<FaxView>),
    Group(Box<AcceptedGroup>),
}

/// What would become of a request: of a fax, or with several `to` of a group of them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "each is written by itself; this only describes them")]
pub(in crate::http) enum DryRunView {
    Fax(DryRun),
    Group(GroupDryRun),
}

/// What a fax would be, had it been sent.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DryRun {
    /// The number as it was sent to us.
    pub(super) to: String,
    /// The number that would be dialled.
    pub(super) to_e164: String,
    /// The route it would take.
    pub(super) route: String,
    /// Why that one.
    pub(super) why: String,
    /// Fax pages.
    pub(super) pages: u32,
    /// Seconds on the line at 14,400 bit/s, page by page.
    pub(super) seconds_per_page: Vec<f64>,
    /// Whether the route costs money.
    pub(super) spends: bool,
    /// What policy says of the number.
    pub(super) policy: PolicyVerdict,
    /// Why the key's quota of the day would refuse it; null when it would not.
    pub(super) quota: Option<String>,
    /// What would keep it waiting at this moment; null when nothing would.
    pub(super) waiting_for: Option<String>,
    /// Why it would be held until somebody has looked at its number; null when it would not.
    pub(super) second_look: Option<String>,
    /// Always true: nothing was stored, sent or charged.
    pub(super) dry_run: bool,
}

/// What policy says of a number.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct PolicyVerdict {
    /// Whether it may be dialled; if not, the fax would be refused.
    allowed: bool,
    /// `nobody_called`, `nothing_spent`, `open_range` or `allow_list`; of what is refused
    /// `emergency`, `block_list`, or the closed range.
    code: &'static str,
    /// The same as a sentence.
    sentence: String,
}

impl From<&Verdict> for PolicyVerdict {
    fn from(verdict: &Verdict) -> Self {
        let (allowed, code) = match verdict {
            Verdict::Allowed(grounds) => (true, grounds.code()),
            Verdict::Blocked(block) => (false, block.code()),
        };
        Self { allowed, code, sentence: verdict.sentence() }
    }
}

/// Speed the estimate of a dry run assumes: V.17, what most machines reach.
const ESTIMATE_BITS_PER_SECOND: u32 = 14_400;

impl DryRun {
    /// Seconds each page needs, to a tenth.
    pub(super) fn seconds(pages: &[FaxPage]) -> Vec<f64> {
        pages.iter().map(|page| (page.seconds_at(ESTIMATE_BITS_PER_SECOND) * 10.0).round() / 10.0).collect()
    }
}
