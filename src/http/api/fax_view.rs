//! A fax as the API shows it.
//!
//! Owns: field names and their order. Faxbot's nine keys come first and are always there, because
//! its clients index them.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::codec::page::FaxPage;
use crate::fax::job::{Job, State};
use crate::fax::outcome::Outcome;

/// One fax to send.
#[derive(Serialize, ToSchema)]
#[schema(as = Fax)]
pub(in crate::http) struct FaxView {
    /// Opaque id.
    id: String,
    /// The number as it was sent to us.
    to: String,
    /// `queued`, `in_progress`, `SUCCESS` or `FAILED`.
    status: &'static str,
    /// Why it failed, in one sentence.
    error: Option<String>,
    /// Pages; null while the document is being prepared.
    pages: Option<u32>,
    /// The route it takes.
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
    /// The number that is dialled.
    to_e164: String,
    /// Pages the other machine confirmed.
    confirmed_pages: u32,
    /// Calls that count against the limit.
    dials: u32,
    /// Calls in which a fax machine answered.
    tries: u32,
    priority: &'static str,
    resolution: String,
    quality: String,
    /// The client's own reference.
    tag: Option<String>,
    /// Id of the API key it came by.
    key_id: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    schedule_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    deadline_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    next_try_at: Option<Timestamp>,
    /// How the last call, or the fax, ended.
    outcome: Option<OutcomeView>,
}

impl From<&Job> for FaxView {
    fn from(job: &Job) -> Self {
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
            to_e164: job.to.as_e164().to_owned(),
            confirmed_pages: job.confirmed_pages,
            dials: job.counters.dials,
            tries: job.counters.tries,
            priority: job.priority.as_str(),
            resolution: job.resolution.clone(),
            quality: job.quality.clone(),
            tag: job.tag.clone(),
            key_id: job.key_id.clone(),
            schedule_at: job.schedule_at,
            deadline_at: job.deadline_at,
            next_try_at: job.next_try_at,
            outcome: job.outcome.as_ref().map(OutcomeView::from),
        }
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
    /// Always true: nothing was stored or sent.
    pub(super) dry_run: bool,
}

/// Speed the estimate of a dry run assumes: V.17, what most machines reach.
const ESTIMATE_BITS_PER_SECOND: u32 = 14_400;

impl DryRun {
    /// Seconds each page needs, to a tenth.
    pub(super) fn seconds(pages: &[FaxPage]) -> Vec<f64> {
        pages.iter().map(|page| (page.seconds_at(ESTIMATE_BITS_PER_SECOND) * 10.0).round() / 10.0).collect()
    }
}
