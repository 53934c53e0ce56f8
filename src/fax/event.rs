//! What is told to the world about a change.
//!
//! Owns: the form of an event. Refuses: whole numbers, names, file names and sentences in it;
//! whoever may know more asks for the subject.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::job::Job;
use super::received::ReceivedFax;

/// One entry of the event log, before it has its place there.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it happened.
    pub at: Timestamp,
    /// What happened: `fax.` and the new state, `fax.page_confirmed`, `fax.cancel_asked`,
    /// `inbound.received`; `api_key.` or `account.` and what was done to it.
    pub kind: String,
    /// Id of the fax it is about; of others `key:` or `account:` and the id.
    pub subject: String,
    /// What is worth knowing without asking; no health data.
    pub data: Value,
}

impl Event {
    /// The event of a job's new state.
    pub fn state(job: &Job) -> Self {
        Self::about(job, job.state.as_str())
    }

    /// An event about a job that is no change of its state.
    pub fn about(job: &Job, what: &str) -> Self {
        let data = json!({
            "state": job.state.as_str(),
            "route": job.route,
            "pages": job.pages,
            "confirmed_pages": job.confirmed_pages,
            "dials": job.counters.dials,
            "class": job.outcome.as_ref().map(|outcome| outcome.class.as_str()),
            "next_try_at": job.next_try_at,
        });
        Self { at: job.updated_at, kind: format!("fax.{what}"), subject: job.id.to_string(), data }
    }

    /// Something was done to the API key with this id; `by` whom, in a word for records.
    pub fn about_key(id: &str, what: &str, by: &str, mut data: Value, at: Timestamp) -> Self {
        data["by"] = by.into();
        Self { at, kind: format!("api_key.{what}"), subject: format!("key:{id}"), data }
    }

    /// A fax was received.
    pub fn received(fax: &ReceivedFax) -> Self {
        let data = json!({ "route": fax.route, "pages": fax.pages, "complete": fax.is_complete });
        Self { at: fax.received_at, kind: "inbound.received".into(), subject: fax.id.to_string(), data }
    }
}
