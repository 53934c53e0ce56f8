//! How long faxes are kept, and how full the disk may get.
//!
//! Owns: the rules, and what follows from them at a moment. Refuses: to delete; who does is told
//! which faxes are due, and only those that have ended ever are.

use jiff::{SignedDuration, Timestamp};

use super::job::State;
use crate::id::{DocumentId, InboundId, JobId};

/// For lack of room nothing is deleted that ended less than this ago: somebody may not have seen it
/// yet.
const LEFT_ALONE: SignedDuration = SignedDuration::from_hours(24);

/// What an administrator decided; by default nothing is ever deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Days that a sent fax is kept after it ended, however it did; 0 is for ever.
    pub sent_days: u32,
    /// Days that a received fax is kept; 0 is for ever.
    pub received_days: u32,
    /// From so many percent on, the disk is low.
    pub warn_percent: u32,
    /// From so many percent on, no fax to be sent is taken in.
    pub stop_sends_percent: u32,
    /// What is done when the disk is low.
    pub when_low: WhenLow,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            sent_days: 0,
            received_days: 0,
            warn_percent: 80,
            stop_sends_percent: 95,
            when_low: WhenLow::Keep,
        }
    }
}

/// What is done when the disk is low.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenLow {
    /// Everything is kept; somebody has to make room.
    #[default]
    Keep,
    /// The oldest sent faxes that ended are deleted.
    DeleteSent,
    /// The oldest sent and received faxes are deleted.
    DeleteAll,
}

/// The text names none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not something that can be done when the disk is low")]
pub struct UnknownWhenLow;

impl WhenLow {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Keep, Self::DeleteSent, Self::DeleteAll];

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::DeleteSent => "delete_sent",
            Self::DeleteAll => "delete_all",
        }
    }
}

impl std::str::FromStr for WhenLow {
    type Err = UnknownWhenLow;

    fn from_str(text: &str) -> Result<Self, UnknownWhenLow> {
        Self::ALL.into_iter().find(|what| what.as_str() == text).ok_or(UnknownWhenLow)
    }
}

/// The two kinds of faxes, each with its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Faxes to send.
    Sent,
    /// Faxes received.
    Received,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sent, Self::Received];

    /// The word of database and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// How the disk stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// There is room.
    #[default]
    Ample,
    /// Somebody should make room.
    Low,
    /// Faxes are received, but none to be sent is taken in.
    Full,
}

impl Level {
    /// The word of API and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ample => "ample",
            Self::Low => "low",
            Self::Full => "full",
        }
    }
}

/// Why a fax is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Its time is over.
    Age,
    /// The disk is low.
    Space,
    /// Somebody deleted it.
    Person,
}

impl Because {
    /// The word of audit rows and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Space => "space",
            Self::Person => "person",
        }
    }
}

/// A fax that has ended and may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedFax {
    /// Which.
    pub id: EndedId,
    /// When it ended, or was received.
    pub at: Timestamp,
    /// Its pages, as far as they were known.
    pub pages: u32,
    /// What is stored of it.
    pub documents: Vec<DocumentId>,
}

/// A sent or received fax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedId {
    /// Sent, with the state it ended in.
    Sent(JobId, State),
    /// Received.
    Received(InboundId),
}

impl Rules {
    /// How a disk stands that is so full.
    pub fn level(&self, used_percent: u32) -> Level {
        if used_percent >= self.stop_sends_percent {
            Level::Full
        } else if used_percent >= self.warn_percent {
            Level::Low
        } else {
            Level::Ample
        }
    }

    /// How long faxes of a kind are kept; `None` is for ever.
    pub fn kept_for(&self, kind: Kind) -> Option<SignedDuration> {
        let days = match kind {
            Kind::Sent => self.sent_days,
            Kind::Received => self.received_days,
        };
        (days > 0).then(|| SignedDuration::from_hours(24 * i64::from(days)))
    }

    /// Faxes of this kind that ended then or earlier are due for deletion.
    pub fn due(&self, kind: Kind, because: Because, now: Timestamp) -> Option<Timestamp> {
        let age = match because {
            Because::Person => return Some(now),
            Because::Age => self.kept_for(kind)?,
            Because::Space => match (self.when_low, kind) {
                (WhenLow::Keep, _) | (WhenLow::DeleteSent, Kind::Received) => return None,
                (WhenLow::DeleteSent, Kind::Sent) | (WhenLow::DeleteAll, _) => LEFT_ALONE,
            },
        };
        now.checked_sub(age).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_are_where_they_are_set() {
        let rules = Rules::default();
        for (percent, level) in
            [(0, Level::Ample), (79, Level::Ample), (80, Level::Low), (94, Level::Low), (95, Level::Full)]
        {
            assert_eq!(rules.level(percent), level, "{percent}");
        }
        let never = Rules { stop_sends_percent: 100, ..rules };
        assert_eq!((never.level(99), never.level(100)), (Level::Low, Level::Full));
    }

    #[test]
    fn nothing_is_due_unless_a_rule_says_so() {
        let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let day = |n: i64| Some(now - SignedDuration::from_hours(24 * n));
        let with = |sent_days, received_days, when_low| Rules {
            sent_days,
            received_days,
            when_low,
            ..Rules::default()
        };
        // (rules, sent by age, received by age, sent for space, received for space)
        let cases = [
            (Rules::default(), None, None, None, None),
            (with(30, 0, WhenLow::Keep), day(30), None, None, None),
            (with(0, 7, WhenLow::DeleteSent), None, day(7), day(1), None),
            (with(1, 365, WhenLow::DeleteAll), day(1), day(365), day(1), day(1)),
        ];
        for (rules, sent, received, sent_low, received_low) in cases {
            let due = |kind, because| rules.due(kind, because, now);
            assert_eq!(due(Kind::Sent, Because::Age), sent, "{rules:?}");
            assert_eq!(due(Kind::Received, Because::Age), received, "{rules:?}");
            assert_eq!(due(Kind::Sent, Because::Space), sent_low, "{rules:?}");
            assert_eq!(due(Kind::Received, Because::Space), received_low, "{rules:?}");
        }
    }

    #[test]
    fn words_read_back() {
        for what in WhenLow::ALL {
            assert_eq!(what.as_str().parse(), Ok(what));
        }
        assert_eq!("delete".parse::<WhenLow>(), Err(UnknownWhenLow));
    }
}
