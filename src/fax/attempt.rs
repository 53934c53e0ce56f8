//! One dial and everything known about it.
//!
//! Owns: the attempt record, the page confirmations and the trace. A page counts as delivered only
//! by a [`PageConfirmation`]; nothing else in an attempt is evidence.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::outcome::{Fault, Outcome};
use super::station::OtherStation;
use crate::id::{AttemptId, JobId};

/// One dial of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Its own id.
    pub id: AttemptId,
    /// The job it belongs to.
    pub job: JobId,
    /// 1, 2, 3 … within the job.
    pub number: u32,
    /// Name of the route that placed the call.
    pub route: String,
    /// The page it began with, from 1.
    pub first_page: u32,
    /// When dialling began.
    pub started_at: Timestamp,
    /// When a fax machine answered.
    pub answered_at: Option<Timestamp>,
    /// When the first page data was about to leave: from here on a lost call is not free.
    pub first_data_at: Option<Timestamp>,
    /// When the call was over.
    pub ended_at: Option<Timestamp>,
    /// What the other machine calls itself (CSI).
    pub remote_station_id: Option<String>,
    /// How the pages travelled.
    pub carriage: Carriage,
    /// How it ended; `None` while it is under way.
    pub outcome: Option<Outcome>,
    /// The pages it got confirmed, in order.
    pub pages: Vec<PageConfirmation>,
}

/// A number that is the same whenever it is asked for the same attempt, and random between
/// attempts: the seed of what varies from call to call.
pub fn seed(id: AttemptId) -> u64 {
    let mut hash = DefaultHasher::new();
    id.hash(&mut hash);
    hash.finish()
}

/// How the pages of a call travelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carriage {
    /// `t38`, `audio` or `loopback`.
    pub transport: Option<String>,
    /// Speed agreed on, or the highest that was tried, in bit/s.
    pub bit_rate: Option<u32>,
    /// Whether error correction (T.30 Annex A) was on.
    pub ecm: Option<bool>,
}

/// One page answered by MCF, or ECM's equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PageConfirmation {
    /// Page of the document, from 1.
    pub page: u32,
    /// When the confirmation came.
    pub confirmed_at: Timestamp,
    /// Compressed page data sent, in bytes.
    pub bytes: u64,
    /// From the first bit of the page to its confirmation, in milliseconds.
    pub duration_ms: u64,
}

/// Which machine sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From us.
    Sent,
    /// From the other machine.
    Received,
}

/// One rung of the T.30 ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEntry {
    /// Milliseconds since dialling began.
    pub at_ms: u64,
    /// Who sent it.
    pub direction: Direction,
    /// The T.30 name of the signal (`DIS`, `DCS`, `TCF`, `MCF` …), `page n` for page data, or the
    /// call event (`INVITE`, `BYE`).
    pub frame: String,
    /// What else is to be said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How a route says a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// Every page of the call was confirmed. Believed only if the confirmations say so too.
    Delivered,
    /// It ended otherwise.
    Failed(Fault),
}

/// What a call added to its attempt since the last durable write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// When a fax machine answered.
    pub answered_at: Option<Timestamp>,
    /// When the first page data was about to leave.
    pub first_data_at: Option<Timestamp>,
    /// What the other machine calls itself.
    pub remote_station_id: Option<String>,
    /// That it is another one than was known.
    pub other_station: Option<OtherStation>,
    /// How the pages travel.
    pub carriage: Carriage,
    /// Newly confirmed pages.
    pub pages: Vec<PageConfirmation>,
    /// New rungs of the ladder.
    pub trace: Vec<TraceEntry>,
}

impl Progress {
    /// Puts what came later behind this; used when a write failed and its content goes with the
    /// next one.
    pub fn extend(&mut self, later: Self) {
        self.answered_at = self.answered_at.or(later.answered_at);
        self.first_data_at = self.first_data_at.or(later.first_data_at);
        self.remote_station_id = later.remote_station_id.or(self.remote_station_id.take());
        self.other_station = later.other_station.or(self.other_station.take());
        self.carriage.transport = later.carriage.transport.or(self.carriage.transport.take());
        self.carriage.bit_rate = later.carriage.bit_rate.or(self.carriage.bit_rate);
        self.carriage.ecm = later.carriage.ecm.or(self.carriage.ecm);
        self.pages.extend(later.pages);
        self.trace.extend(later.trace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_progress_keeps_the_first_times_and_the_last_names() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut first = Progress {
            answered_at: Some(at(1)),
            remote_station_id: Some("OLD".into()),
            carriage: Carriage { bit_rate: Some(14_400), ..Carriage::default() },
            ..Progress::default()
        };
        first.extend(Progress {
            answered_at: Some(at(2)),
            first_data_at: Some(at(3)),
            remote_station_id: Some("NEW".into()),
            carriage: Carriage { bit_rate: Some(9_600), ecm: Some(true), ..Carriage::default() },
            ..Progress::default()
        });
        assert_eq!((first.answered_at, first.first_data_at), (Some(at(1)), Some(at(3))));
        assert_eq!(first.remote_station_id.as_deref(), Some("NEW"));
        assert_eq!((first.carriage.bit_rate, first.carriage.ecm), (Some(9_600), Some(true)));
    }
}
