//! Why no call begins although there are faxes to send: somebody paused, or the appliance has spent
//! what it may.
//!
//! Owns: the limits over all faxes together, counted in whole hours and days (UTC) as the quotas of
//! keys are, and the holds that follow from them. Refuses: to count; what was spent is passed in,
//! and comes from the calls on disk, so that a restart forgets nothing.

use jiff::{SignedDuration, Timestamp};

use super::job::{Job, State};
use super::routing::{self, Obstacle, Standing};

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;
const MINUTE_MS: u64 = 60_000;

/// What all faxes together may spend on telephone lines: more than an office faxes, and little for
/// a thief.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls begun in an hour.
    pub dials_per_hour: u32,
    /// Minutes of calls begun in a day.
    pub line_minutes_per_day: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { dials_per_hour: 60, line_minutes_per_day: 600 }
    }
}

/// What was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Calls begun in this hour.
    pub dials: u32,
    /// Milliseconds of calls begun on this day, up to now for those under way.
    pub line_ms: u64,
}

/// Why no call begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Somebody paused all dialling.
    Paused,
    /// The calls of this hour are used up.
    Dials,
    /// The minutes of this day are used up.
    LineMinutes,
}

/// The text names none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cause of a hold")]
pub struct UnknownCause;

impl Cause {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Paused, Self::Dials, Self::LineMinutes];

    /// The word of the database and of events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Dials => "dials",
            Self::LineMinutes => "line_minutes",
        }
    }

    /// The modifier of a job that it keeps waiting.
    pub fn modifier(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Dials | Self::LineMinutes => "spending_limit",
        }
    }
}

impl std::str::FromStr for Cause {
    type Err = UnknownCause;

    fn from_str(text: &str) -> Result<Self, UnknownCause> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text).ok_or(UnknownCause)
    }
}

/// That no call begins: of any route while paused, of those that spend money at a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Why.
    pub cause: Cause,
    /// Since when.
    pub since: Timestamp,
    /// When a limit has room again; a pause lasts until somebody resumes.
    pub until: Option<Timestamp>,
    /// Who paused; `system` at a limit.
    pub by: String,
    /// Why, in the words of who paused.
    pub reason: Option<String>,
}

impl Limits {
    /// How many calls may begin now; else what holds them, from now on.
    pub fn room(self, spent: Spent, now: Timestamp) -> Result<u32, Hold> {
        let held = |cause, until| {
            Err(Hold { cause, since: now, until: Some(until), by: "system".into(), reason: None })
        };
        if !self.has_room(Cause::LineMinutes, spent) {
            return held(Cause::LineMinutes, after(day_of(now), DAY_S));
        }
        if !self.has_room(Cause::Dials, spent) {
            return held(Cause::Dials, after(hour_of(now), HOUR_S));
        }
        Ok(self.dials_per_hour - spent.dials)
    }

    /// Whether nothing of this limit holds a call.
    pub fn has_room(self, cause: Cause, spent: Spent) -> bool {
        match cause {
            Cause::Paused => true,
            Cause::Dials => spent.dials < self.dials_per_hour,
            Cause::LineMinutes => spent.line_ms < u64::from(self.line_minutes_per_day) * MINUTE_MS,
        }
    }

    /// The number of this limit.
    pub fn most(self, cause: Cause) -> Option<u32> {
        match cause {
            Cause::Paused => None,
            Cause::Dials => Some(self.dials_per_hour),
            Cause::LineMinutes => Some(self.line_minutes_per_day),
        }
    }
}

/// When the hour of this moment began.
pub fn hour_of(at: Timestamp) -> Timestamp {
    began(at, HOUR_S)
}

/// When the day of this moment began.
pub fn day_of(at: Timestamp) -> Timestamp {
    began(at, DAY_S)
}

fn began(at: Timestamp, span_s: i64) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(span_s)).unwrap_or(at)
}

fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// The holds in force, and whom they concern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialling {
    /// The holds.
    pub holds: Vec<Hold>,
    /// Names of the routes that spend money.
    pub spending: Vec<String>,
    /// What may be spent through them.
    pub limits: Limits,
    /// The routes as they stand; none where that is not asked.
    pub routes: Vec<Standing>,
}

impl Dialling {
    /// The pause, while there is one.
    pub fn pause(&self) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.cause == Cause::Paused)
    }

    /// What holds calls of this route: a pause goes before a limit.
    pub fn holds_route(&self, route: &str) -> Option<&Hold> {
        let limit = || self.holds.iter().find(|hold| hold.cause != Cause::Paused);
        self.pause().or_else(|| limit().filter(|_| self.spending.iter().any(|name| name == route)))
    }

    /// What keeps this job from being dialled, if it waits for nothing else.
    pub fn holds_job(&self, job: &Job) -> Option<&Hold> {
        let hold = self.holds_route(&job.route)?;
        let waits = match hold.cause {
            Cause::Paused => matches!(job.state, State::Queued | State::Scheduled | State::Waiting),
            Cause::Dials | Cause::LineMinutes => job.state == State::Queued,
        };
        waits.then_some(hold)
    }

    /// Why no route of its list takes this job, although its turn has come.
    pub fn lacks_line(&self, job: &Job) -> Option<Vec<Obstacle>> {
        let is_ready = job.state == State::Queued && !job.is_blocked && !self.routes.is_empty();
        let passed = routing::choose(&job.lane, &self.routes).err().filter(|_| is_ready)?;
        Some(passed.into_iter().map(|(_, obstacle)| obstacle).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_limit_holds_until_its_hour_or_day_is_over() {
        let limits = Limits::default();
        let minutes = |count: u64| count * MINUTE_MS;
        let cases = [
            (0, 0, Ok(60)),
            (59, minutes(599), Ok(1)),
            (60, 0, Err((Cause::Dials, "2026-01-01T13:00:00Z"))),
            (75, 0, Err((Cause::Dials, "2026-01-01T13:00:00Z"))),
            (3, minutes(600) - 1, Ok(57)),
            (3, minutes(600), Err((Cause::LineMinutes, "2026-01-02T00:00:00Z"))),
            (60, minutes(601), Err((Cause::LineMinutes, "2026-01-02T00:00:00Z"))),
        ];
        let now = at("2026-01-01T12:59:59Z");
        for (dials, line_ms, expected) in cases {
            let room = limits.room(Spent { dials, line_ms }, now);
            let told = room.map_err(|hold| (hold.cause, hold.until.unwrap()));
            assert_eq!(told, expected.map_err(|(cause, until)| (cause, at(until))), "{dials}, {line_ms} ms");
        }
    }

    #[test]
    fn hours_and_days_begin_in_utc() {
        assert_eq!(hour_of(at("2026-01-01T12:59:59.999Z")), at("2026-01-01T12:00:00Z"));
        assert_eq!(hour_of(at("2026-01-01T13:00:00Z")), at("2026-01-01T13:00:00Z"));
        assert_eq!(day_of(at("2026-01-01T23:59:59Z")), at("2026-01-01T00:00:00Z"));
        assert_eq!(day_of(at("1969-12-31T23:00:00Z")), at("1969-12-31T00:00:00Z"));
    }

    #[test]
    fn a_pause_holds_every_route_and_a_limit_those_that_spend() {
        let hold = |cause| Hold {
            cause,
            since: at("2026-01-01T12:00:00Z"),
            until: None,
            by: "x".into(),
            reason: None,
        };
        let limited = Dialling {
            holds: vec![hold(Cause::Dials)],
            spending: vec!["line".into()],
            ..Dialling::default()
        };
        assert_eq!(limited.holds_route("line").map(|hold| hold.cause), Some(Cause::Dials));
        assert_eq!(limited.holds_route("loopback"), None);
        let both = Dialling { holds: vec![hold(Cause::Dials), hold(Cause::Paused)], ..limited };
        for route in ["line", "loopback"] {
            assert_eq!(both.holds_route(route).map(|hold| hold.cause), Some(Cause::Paused), "{route}");
        }
        for cause in Cause::ALL {
            assert_eq!(cause.as_str().parse(), Ok(cause));
        }
    }
}
