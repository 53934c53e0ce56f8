//! What is told to the world about a change.
//!
//! Owns: the form of an event, the closed list of types, and which events somebody gets. Refuses:
//! whole numbers, names, file names and sentences in it; whoever may know more asks for the
//! subject.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::group::{Group, Tally};
use super::job::{Job, State};
use super::received::ReceivedFax;
use super::retention::{Because, EndedFax, EndedId};
use crate::id::AccountId;

/// Every type of event there is. A type that is written but not listed here is seen by those who
/// see everything, and cannot be asked for.
pub const TYPES: &[&str] = &[
    "fax.held",
    "fax.scheduled",
    "fax.preparing",
    "fax.queued",
    "fax.dialing",
    "fax.sending",
    "fax.waiting",
    "fax.delivered",
    "fax.partial",
    "fax.failed",
    "fax.cancelled",
    "fax.expired",
    "fax.page_confirmed",
    "fax.cancel_asked",
    "fax.altered",
    "fax.second_look",
    "fax.other_station",
    "fax.deleted",
    "group.done",
    "inbound.received",
    "inbound.changed",
    "inbound.deleted",
    "api_key.created",
    "api_key.changed",
    "api_key.rotated",
    "api_key.previous_ended",
    "api_key.disabled",
    "api_key.enabled",
    "api_key.revealed",
    "api_key.revoked",
    "api_key.new_address",
    "api_key.expiring",
    "api_key.seen_in_url",
    "account.changed",
    "dialling.paused",
    "dialling.resumed",
    "dialling.limit_reached",
    "dialling.limit_ended",
    "route.out_of_service",
    "route.in_service",
    "storage.ample",
    "storage.low",
    "storage.full",
    "storage.accounted",
    "settings.changed",
    "certificate.expiring",
    "audit.damaged",
];

/// One entry of the event log, before it has its place there.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it happened.
    pub at: Timestamp,
    /// What happened: `fax.` and the new state, `fax.page_confirmed`, `fax.cancel_asked`,
    /// `fax.altered`, `fax.second_look`, `fax.other_station`, `fax.deleted`, `group.done`, `inbound.received`, `inbound.changed`, `inbound.deleted`;
    /// `settings.changed`; `certificate.expiring`; `audit.damaged`; `dialling.` and what began or ended; `route.` and how it is; `storage.` and how the disk stands; `api_key.` or
    /// `account.` and what was done to it.
    pub kind: String,
    /// Id of the fax it is about; of others `key:`, `account:`, `group:` or `route:` and the id.
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

    /// A job is held until somebody has looked at its number.
    pub fn second_look(job: &Job) -> Option<Self> {
        let kind = job.second_look.as_ref()?.kind;
        let mut event = Self::about(job, "second_look");
        event.data["kind"] = kind.as_str().into();
        Some(event)
    }

    /// Another machine answered than the one known at a job's number; what they are called is not told.
    pub fn other_station(job: &Job) -> Self {
        let mut event = Self::about(job, "other_station");
        event.data["held"] = job.is_to_be_looked_at().into();
        event
    }

    /// Something was done to the API key with this id; `by` whom, in a word for records.
    pub fn about_key(id: &str, what: &str, by: &str, mut data: Value, at: Timestamp) -> Self {
        data["by"] = by.into();
        Self { at, kind: format!("api_key.{what}"), subject: format!("key:{id}"), data }
    }

    /// A fax was deleted, as the rules about keeping say.
    pub fn deleted(fax: &EndedFax, because: Because, at: Timestamp) -> Self {
        let because = because.as_str();
        match fax.id {
            EndedId::Sent(id, state) => {
                let data = json!({ "state": state.as_str(), "because": because, "ended_at": fax.at });
                Self { at, kind: "fax.deleted".into(), subject: id.to_string(), data }
            }
            EndedId::Received(id) => {
                let data = json!({ "because": because, "received_at": fax.at });
                Self { at, kind: "inbound.deleted".into(), subject: id.to_string(), data }
            }
        }
    }

    /// The last fax of a group has ended.
    pub fn group_done(group: &Group, tally: &Tally, at: Timestamp) -> Self {
        let data = json!({
            "total": tally.size,
            "delivered": tally.count(&[State::Delivered]),
            "partial": tally.count(&[State::Partial]),
            "failed": tally.count(&[State::Failed]),
            "cancelled": tally.count(&[State::Cancelled]),
            "expired": tally.count(&[State::Expired]),
            "deleted": tally.deleted(),
            "pages": tally.pages,
            "confirmed_pages": tally.confirmed_pages,
        });
        Self { at, kind: "group.done".into(), subject: format!("group:{}", group.id), data }
    }

    /// A route went out of service, or came back.
    pub fn route(route: &str, what: &str, mut data: Value, at: Timestamp) -> Self {
        data["route"] = route.into();
        Self { at, kind: format!("route.{what}"), subject: format!("route:{route}"), data }
    }

    /// Something about the disk or what is stored on it.
    pub fn storage(what: &str, data: Value, at: Timestamp) -> Self {
        Self { at, kind: format!("storage.{what}"), subject: "storage".to_owned(), data }
    }

    /// Settings were changed; which, not to what.
    pub fn settings(keys: &[&String], at: Timestamp) -> Self {
        let data = json!({ "keys": keys });
        Self { at, kind: "settings.changed".to_owned(), subject: "settings".to_owned(), data }
    }

    /// The administrator's own HTTPS certificate ends within so many days.
    pub fn certificate_expiring(ends_at: Timestamp, days: u8, at: Timestamp) -> Self {
        let data = json!({ "ends_at": ends_at, "days": days });
        Self { at, kind: "certificate.expiring".to_owned(), subject: "certificate".to_owned(), data }
    }

    /// The audit log is not what was written, and so how.
    pub fn audit_damaged(problem: &str, at: Timestamp) -> Self {
        let data = json!({ "problem": problem });
        Self { at, kind: "audit.damaged".to_owned(), subject: "audit".to_owned(), data }
    }

    /// Somebody read a received fax, took it on, or left a note; what a note says is not told.
    pub fn received_changed(fax: &ReceivedFax, at: Timestamp) -> Self {
        let data =
            json!({ "read": fax.read_at.is_some(), "assigned_to": fax.assigned_to.map(|id| id.to_string()) });
        Self { at, kind: "inbound.changed".into(), subject: fax.id.to_string(), data }
    }

    /// A fax was received.
    pub fn received(fax: &ReceivedFax) -> Self {
        let data = json!({ "route": fax.route, "pages": fax.pages, "complete": fax.is_complete });
        Self { at: fax.received_at, kind: "inbound.received".into(), subject: fax.id.to_string(), data }
    }
}

/// Types of events somebody asks for: a single one, or all of a family as in `fax.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypePattern(String);

/// The text is no type of event, and no family of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no type of event; allowed: {families}, {types}", families = families().collect::<Vec<_>>().join(", "), types = TYPES.join(", "))]
pub struct UnknownType(String);

impl TypePattern {
    /// Whether events of this type are meant.
    pub fn matches(&self, kind: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(family) => kind.starts_with(family),
            None => kind == self.0,
        }
    }
}

impl FromStr for TypePattern {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        if TYPES.contains(&text) || families().any(|family| family == text) {
            return Ok(Self(text.to_owned()));
        }
        Err(UnknownType(text.chars().take(40).collect()))
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All families as they are asked for, `fax.*` first.
fn families() -> impl Iterator<Item = String> {
    let mut last = "";
    TYPES.iter().filter_map(move |kind| {
        let family = family_of(kind);
        (std::mem::replace(&mut last, family) != family).then(|| format!("{family}.*"))
    })
}

fn family_of(kind: &str) -> &str {
    kind.split_once('.').map_or(kind, |(family, _)| family)
}

/// What of the log somebody may see, and asks for.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// What may be seen; none is nothing.
    pub sights: Vec<Sight>,
    /// What was asked for; none is everything.
    pub types: Vec<TypePattern>,
}

/// One kind of events somebody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Only of this family, like `fax`.
    pub family: Option<&'static str>,
    /// Only about what belongs to this account.
    pub owner: Option<AccountId>,
}

impl EventFilter {
    /// Of everything, what was asked for.
    pub fn everything(types: Vec<TypePattern>) -> Self {
        Self { sights: vec![Sight { family: None, owner: None }], types }
    }

    /// Whether an event of this type, about something of this account, is in it.
    pub fn takes(&self, kind: &str, owner: Option<AccountId>) -> bool {
        let is_seen = |sight: &Sight| {
            sight.family.is_none_or(|family| family == family_of(kind))
                && (sight.owner.is_none() || sight.owner == owner)
        };
        self.sights.iter().any(is_seen)
            && (self.types.is_empty() || self.types.iter().any(|asked| asked.matches(kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_type() {
        for state in State::ALL {
            assert!(TYPES.contains(&format!("fax.{state}").as_str()), "{state}");
        }
    }

    #[test]
    fn reads_types_and_families_and_nothing_else() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("fax.delivered", &["fax.delivered"], &["fax.failed", "fax.delivered_late"]),
            ("fax.*", &["fax.delivered", "fax.page_confirmed"], &["inbound.received", "faxes.x"]),
            ("api_key.*", &["api_key.revoked"], &["account.changed"]),
        ];
        for (text, hits, misses) in cases {
            let pattern: TypePattern = text.parse().unwrap();
            assert!(hits.iter().all(|kind| pattern.matches(kind)), "{text}");
            assert!(!misses.iter().any(|kind| pattern.matches(kind)), "{text}");
        }
        for wrong in ["", "*", "fax", "fax.", "fax.delivred", "fax.del*", "FAX.*", "fax.*,inbound.*"] {
            let error = wrong.parse::<TypePattern>().unwrap_err().to_string();
            assert!(
                error.contains(
                    "allowed: fax.*, group.*, inbound.*, api_key.*, account.*, dialling.*, route.*, storage.*, settings.*, certificate.*, audit.*, fax.held"
                ),
                "{error}"
            );
        }
    }

    #[test]
    fn nobody_sees_more_than_each_sight_gives() {
        let (mine, other) = (Some(AccountId::new()), Some(AccountId::new()));
        let sight = |family, owner| Sight { family: Some(family), owner };
        let filter =
            EventFilter { sights: vec![sight("fax", mine), sight("inbound", None)], types: Vec::new() };
        let cases = [
            ("fax.queued", mine, true),
            ("fax.queued", other, false),
            ("fax.queued", None, false),
            ("inbound.received", None, true),
            ("api_key.revoked", mine, false),
        ];
        for (kind, owner, expected) in cases {
            assert_eq!(filter.takes(kind, owner), expected, "{kind} {owner:?}");
            assert!(EventFilter::everything(Vec::new()).takes(kind, owner));
            assert!(!EventFilter::default().takes(kind, owner));
        }
        let asked = EventFilter { types: vec!["fax.failed".parse().unwrap()], ..filter };
        assert!(asked.takes("fax.failed", mine) && !asked.takes("fax.queued", mine));
        assert!(!asked.takes("fax.failed", other));
    }
}
