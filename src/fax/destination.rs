//! What is remembered of a number: how the calls of the last 30 days went.
//!
//! Owns: the record of a past call and what follows from several of them. Refuses: what calls of
//! others were about; the reader passes only those that may be told.

use jiff::{SignedDuration, Timestamp};

use super::attempt::Carriage;
use super::outcome::Class;

/// How long a call is remembered; machines and lines change.
pub const REMEMBERED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// One call that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCall {
    /// When it ended.
    pub at: Timestamp,
    /// The route it took.
    pub route: String,
    /// How it ended.
    pub class: Class,
    /// Pages it got confirmed.
    pub pages: u32,
    /// What the other machine called itself.
    pub remote_station_id: Option<String>,
    /// How the pages travelled.
    pub carriage: Carriage,
}

impl PastCall {
    /// Whether a fax machine answered.
    pub fn reached_a_machine(&self) -> bool {
        self.class.is_try()
    }
}

/// What is remembered of one number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Its calls, newest first.
    pub calls: Vec<PastCall>,
}

impl Memory {
    /// Calls in which a fax machine answered.
    pub fn answered(&self) -> usize {
        self.calls.iter().filter(|call| call.reached_a_machine()).count()
    }

    /// Calls that delivered what was left of their fax.
    pub fn delivered(&self) -> usize {
        self.calls.iter().filter(|call| call.class == Class::Delivered).count()
    }

    /// Share of calls that delivered, from 0 to 1; `None` without calls.
    pub fn success_rate(&self) -> Option<f64> {
        (!self.calls.is_empty()).then(|| self.delivered() as f64 / self.calls.len() as f64)
    }

    /// What the machine there called itself the last time that it told.
    pub fn last_station_id(&self) -> Option<&str> {
        self.calls.iter().find_map(|call| call.remote_station_id.as_deref())
    }

    /// The newest call that delivered: what worked there.
    pub fn worked(&self) -> Option<&PastCall> {
        self.calls.iter().find(|call| call.class == Class::Delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(class: Class, station: Option<&str>, bit_rate: u32) -> PastCall {
        PastCall {
            at: Timestamp::UNIX_EPOCH,
            route: "line".into(),
            class,
            pages: 1,
            remote_station_id: station.map(Into::into),
            carriage: Carriage { bit_rate: Some(bit_rate), ..Carriage::default() },
        }
    }

    #[test]
    fn tells_what_worked_and_who_answered() {
        assert_eq!(Memory::default().success_rate(), None);
        let calls = vec![
            call(Class::Busy, None, 0),
            call(Class::TrainingFailed, Some("NEW"), 14_400),
            call(Class::Delivered, Some("OLD"), 9600),
            call(Class::Delivered, Some("OLDEST"), 2400),
        ];
        let memory = Memory { calls };
        assert_eq!((memory.answered(), memory.delivered(), memory.success_rate()), (3, 2, Some(0.5)));
        assert_eq!(memory.last_station_id(), Some("NEW"));
        assert_eq!(memory.worked().unwrap().carriage.bit_rate, Some(9600));
    }
}
