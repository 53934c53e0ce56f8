//! One fax to send, and the states it passes through.
//!
//! Owns: the record as it is stored, the words of its states, and how they look over Faxbot's API.
//! Refuses: to move. A job changes its state only by the transitions of [`super::transition`],
//! whose results are all the database accepts.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::hours::Hours;
use super::notify::Notify;
use super::number::FaxNumber;
use super::outcome::Outcome;
use super::retry::Counters;
use super::routing::RouteList;
use super::second_look::{Kind, SecondLook};
use super::station::OtherStation;
use crate::id::{AccountId, DocumentId, GroupId, JobId};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Somebody has to release it first.
    Held,
    /// Its send time has not come.
    Scheduled,
    /// Its document is being turned into fax pages.
    Preparing,
    /// Ready to be dialled.
    Queued,
    /// A call is being placed; no page data has left.
    Dialing,
    /// Page data is leaving or has left.
    Sending,
    /// Waiting for the next dial.
    Waiting,
    /// Every page was confirmed.
    Delivered,
    /// Some pages were confirmed; the others will not be sent.
    Partial,
    /// No page was confirmed, and none will be sent.
    Failed,
    /// Cancelled by somebody.
    Cancelled,
    /// The deadline passed.
    Expired,
}

impl State {
    /// All states, in the order a fax may pass through them.
    pub const ALL: [Self; 12] = [
        Self::Held,
        Self::Scheduled,
        Self::Preparing,
        Self::Queued,
        Self::Dialing,
        Self::Sending,
        Self::Waiting,
        Self::Delivered,
        Self::Partial,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The word of the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Scheduled => "scheduled",
            Self::Preparing => "preparing",
            Self::Queued => "queued",
            Self::Dialing => "dialing",
            Self::Sending => "sending",
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether the job has ended; such a state is never left.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Partial | Self::Failed | Self::Cancelled | Self::Expired)
    }

    /// Whether a call is under way.
    pub fn is_calling(self) -> bool {
        matches!(self, Self::Dialing | Self::Sending)
    }

    /// How Faxbot's clients see it.
    pub fn public_status(self) -> PublicStatus {
        match self {
            Self::Held | Self::Scheduled | Self::Preparing | Self::Queued | Self::Waiting => {
                PublicStatus::Queued
            }
            Self::Dialing | Self::Sending => PublicStatus::InProgress,
            Self::Delivered => PublicStatus::Success,
            Self::Partial | Self::Failed | Self::Cancelled | Self::Expired => PublicStatus::Failed,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is none of the words it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of the known words")]
pub struct UnknownWord;

impl FromStr for State {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownWord)
    }
}

/// The four words of Faxbot's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PublicStatus {
    /// Not dialling at this moment, and not at its end.
    Queued,
    /// A call is under way.
    InProgress,
    /// Delivered.
    Success,
    /// Ended without full delivery.
    Failed,
}

impl PublicStatus {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Queued, Self::InProgress, Self::Success, Self::Failed];

    /// The word, in Faxbot's own mixture of cases.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
        }
    }

    /// The states that look so.
    pub fn states(self) -> impl Iterator<Item = State> {
        State::ALL.into_iter().filter(move |state| state.public_status() == self)
    }
}

impl fmt::Display for PublicStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PublicStatus {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(text)).ok_or(UnknownWord)
    }
}

/// How urgent a fax is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Before all others.
    High,
    /// The usual.
    #[default]
    Normal,
    /// After all others; and after a failure, behind every bulk fax not yet tried.
    Bulk,
}

impl Priority {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }

    /// Place in the order of dialling, lowest first, before any failure.
    pub fn rank(self) -> u8 {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Bulk => 2,
        }
    }

    /// Place after a failure.
    pub fn rank_after_failure(self) -> u8 {
        match self {
            Self::Bulk => 3,
            other => other.rank(),
        }
    }
}

impl FromStr for Priority {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        [Self::High, Self::Normal, Self::Bulk]
            .into_iter()
            .find(|word| word.as_str() == text)
            .ok_or(UnknownWord)
    }
}

/// One fax to send, as it is stored. Times are whole milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// RouteList of acceptance; 0 until the database has given it.
    pub seq: i64,
    /// Its id.
    pub id: JobId,
    /// The account it belongs to.
    pub owner: AccountId,
    /// The API key it came by; `None` for the bootstrap key and the command line.
    pub key_id: Option<String>,
    /// The number as the client wrote it.
    pub to_raw: String,
    /// The number that is dialled.
    pub to: FaxNumber,
    /// Name of the route it took last; before its first call the first of its list.
    pub route: String,
    /// The routes it may take, in order.
    pub routes: RouteList,
    /// Those of them that have not failed in this try.
    pub lane: RouteList,
    /// Where it stands.
    pub state: State,
    /// Whether another fax to this number, under way or waiting, holds it back.
    pub is_blocked: bool,
    /// How urgent it is.
    pub priority: Priority,
    /// Place in the order of dialling, lowest first.
    pub rank: u8,
    /// Resolution asked for, in the API's word.
    pub resolution: String,
    /// Quality asked for, in the API's word.
    pub quality: String,
    /// Pages; `None` while preparing.
    pub pages: Option<u32>,
    /// Pages confirmed so far: the first so many.
    pub confirmed_pages: u32,
    /// The fax pages as one TIFF, in the spool; `None` while preparing.
    pub document: Option<DocumentId>,
    /// Uploads still to convert, in order, in the spool.
    pub sources: Vec<DocumentId>,
    /// SHA-256 of the uploads, in hex.
    pub source_sha256: String,
    /// Calls begun, free ones included; numbers the attempts.
    pub attempts: u32,
    /// What counts against the limits.
    pub counters: Counters,
    /// How the last call, or the fax, ended.
    pub outcome: Option<Outcome>,
    /// The client's own reference.
    pub tag: Option<String>,
    /// The fax whose pages are sent again, perhaps to another number.
    pub resend_of: Option<JobId>,
    /// Who is told of it by e-mail; of a fax in a group nobody, the group's end is told instead.
    pub notify: Option<Notify>,
    /// The group it is part of, whose faxes all have the same document.
    pub group: Option<GroupId>,
    /// Why it waits, or waited when it ended, for somebody to look at its number.
    pub second_look: Option<SecondLook>,
    /// That another machine answered than the one known at its number.
    pub other_station: Option<OtherStation>,
    /// Whether its pages are sent in the form that every machine takes, because one of them was refused.
    pub is_reimaged: bool,
    /// Not to be sent before.
    pub schedule_at: Option<Timestamp>,
    /// The hours of the week in which it may be sent; any without.
    pub hours: Option<Hours>,
    /// Given up at; a call under way is let finish.
    pub deadline_at: Timestamp,
    /// Until when time outside its hours, or those of its routes, was added to its deadline already.
    pub closed_until: Option<Timestamp>,
    /// When it is taken up next, if it is asleep.
    pub next_try_at: Option<Timestamp>,
    /// While a call is under way: when it counts as lost if nothing is heard of it.
    pub lease_until: Option<Timestamp>,
    /// Who asked to cancel while a call was under way.
    pub cancel_asked_by: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed: strictly later with each change, so it also marks versions.
    pub updated_at: Timestamp,
    /// When it ended.
    pub final_at: Option<Timestamp>,
}

impl Job {
    /// When the hours come in which it may be sent; `None` when it does not wait for them.
    pub fn waits_for_hours(&self) -> Option<Timestamp> {
        self.next_try_at.filter(|at| self.state == State::Scheduled && Some(*at) != self.schedule_at)
    }

    /// Resolution of its pages as they are sent, in the API's word.
    pub fn sent_resolution(&self) -> &str {
        if self.is_reimaged { "standard" } else { &self.resolution }
    }

    /// Whether it is held because another machine answered than the one known at its number.
    pub fn is_held_for_station(&self) -> bool {
        self.is_to_be_looked_at()
            && self.second_look.as_ref().is_some_and(|look| look.kind == Kind::OtherStation)
    }

    /// Whether it is held until somebody has looked at its number.
    pub fn is_to_be_looked_at(&self) -> bool {
        self.state == State::Held && self.second_look.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_one_public_status() {
        let words: Vec<_> = PublicStatus::ALL
            .iter()
            .flat_map(|status| status.states().map(move |state| (status, state)))
            .collect();
        assert_eq!(words.len(), State::ALL.len());
        for state in State::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            let ended = matches!(state.public_status(), PublicStatus::Success | PublicStatus::Failed);
            assert_eq!(state.is_final(), ended, "{state}");
            assert_eq!(state.is_calling(), state.public_status() == PublicStatus::InProgress, "{state}");
        }
    }

    #[test]
    fn a_bulk_fax_that_failed_comes_last() {
        let order = [
            Priority::High.rank_after_failure(),
            Priority::Normal.rank_after_failure(),
            Priority::Bulk.rank(),
            Priority::Bulk.rank_after_failure(),
        ];
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
    }
}
