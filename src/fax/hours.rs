//! Hours of the week in which something may be dialled, in HylaFAX's words: `Wk2300-0800,Sat,Sun`.
//!
//! Owns: reading and writing them, whether a moment is within them, and when the next one is. Refuses:
//! to know a time zone; the caller passes the one of the appliance.
//!
//! Hours over midnight are looked at day by day, as HylaFAX does: `Wk2300-0800` is each of Monday to
//! Friday before 8 and from 23 on.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// What is allowed, to end the sentence "allowed: …".
pub const ALLOWED: &str = "days (Mon to Sun, Wk for Monday to Friday, Any) with hours like 2300-0800 or without, \
     separated by commas, like Wk2300-0800,Sat,Sun";

/// Longest text that is read.
const MOST_CHARS: usize = 200;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Bits of [`DAYS`].
const WORKDAYS: u8 = 0b001_1111;
const ALL_DAYS: u8 = 0b111_1111;
const MINUTES_A_DAY: u16 = 24 * 60;

/// Hours of the week.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hours(Vec<Span>);

/// The same hours of some days. Over midnight when they end before they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Span {
    /// Bits of [`DAYS`].
    days: u8,
    /// First minute of the day.
    from: u16,
    /// Minute after the last one.
    until: u16,
}

/// The text names no hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not hours; allowed: {ALLOWED}")]
pub struct NotHours;

impl Hours {
    /// When it is within the hours next; `None` while it is. Hours that never come are none.
    pub fn opens_at(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.has(now, zone) {
            return None;
        }
        let today = now.to_zoned(zone.clone()).date();
        // Eight days, since the hours of today may be over until a week from now.
        let days = (0..=8).filter_map(|days| today.checked_add(SignedDuration::from_hours(24 * days)).ok());
        let begins = days.flat_map(|day| {
            let minutes = self.0.iter().flat_map(|span| [0, span.from]);
            minutes.filter_map(move |minute| Some(day.to_datetime(time_of(minute)?)))
        });
        let moments = begins.filter_map(|begin| begin.to_zoned(zone.clone()).ok().map(|at| at.timestamp()));
        moments.filter(|at| *at > now && self.has(*at, zone)).min()
    }

    /// Whether a moment is within them.
    pub fn has(&self, at: Timestamp, zone: &TimeZone) -> bool {
        let local = at.to_zoned(zone.clone());
        let day = 1 << local.weekday().to_monday_zero_offset();
        let minute = local.hour() as u16 * 60 + local.minute() as u16;
        self.0.iter().any(|span| span.days & day != 0 && span.has(minute))
    }
}

impl Span {
    fn has(self, minute: u16) -> bool {
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }
}

fn time_of(minute: u16) -> Option<Time> {
    Time::new((minute / 60) as i8, (minute % 60) as i8, 0, 0).ok()
}

impl FromStr for Hours {
    type Err = NotHours;

    fn from_str(text: &str) -> Result<Self, NotHours> {
        if text.len() > MOST_CHARS {
            return Err(NotHours);
        }
        let spans: Vec<Span> =
            text.split(',').map(|entry| span(entry.trim())).collect::<Option<_>>().ok_or(NotHours)?;
        Ok(Self(spans))
    }
}

fn span(text: &str) -> Option<Span> {
    let at = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let (mut words, hours) = text.split_at_checked(at)?;
    let mut days = if words.is_empty() && !hours.is_empty() { ALL_DAYS } else { 0 };
    while !words.is_empty() {
        let (bits, length) = day(words)?;
        days |= bits;
        words = words.get(length..)?.trim_start();
    }
    let (from, until) = match hours {
        "" => (0, MINUTES_A_DAY),
        _ => {
            let (from, until) = hours.split_once('-')?;
            (minute(from)?, minute(until)?)
        }
    };
    (days != 0 && from != until && from < MINUTES_A_DAY).then_some(Span { days, from, until })
}

/// The days that the text begins with, and how long their word is.
fn day(text: &str) -> Option<(u8, usize)> {
    let begins = |word: &str| text.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
    if begins("Any") {
        return Some((ALL_DAYS, 3));
    }
    if begins("Wk") {
        return Some((WORKDAYS, 2));
    }
    let place = DAYS.iter().position(|day| begins(day))?;
    Some((1 << place, 3))
}

/// A time of the day like 0800, 2400 for its end.
fn minute(text: &str) -> Option<u16> {
    let text = text.trim();
    let is_plain = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u16 = text.parse().ok().filter(|_| is_plain)?;
    let (hour, minute) = (number / 100, number % 100);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= MINUTES_A_DAY).then_some(minutes)
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, span) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            f.write_str(comma)?;
            match span.days {
                ALL_DAYS => f.write_str("Any")?,
                WORKDAYS => f.write_str("Wk")?,
                days => {
                    let named = DAYS.iter().enumerate().filter(|(place, _)| days & (1 << place) != 0);
                    named.into_iter().try_for_each(|(_, day)| f.write_str(day))?;
                }
            }
            if (span.from, span.until) != (0, MINUTES_A_DAY) {
                let digits = |minute: u16| format!("{:02}{:02}", minute / 60, minute % 60);
                write!(f, "{}-{}", digits(span.from), digits(span.until))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn reads_what_hylafax_reads_and_nothing_else() {
        let cases = [
            ("Any", "Any"),
            ("wk", "Wk"),
            ("Wk2300-0800,Sat,Sun", "Wk2300-0800,Sat,Sun"),
            ("MonWedFri0800-1700", "MonWedFri0800-1700"),
            ("Mon Tue 0800-1200, sun", "MonTue0800-1200,Sun"),
            ("0800-2400", "Any0800-2400"),
            ("MonTueWedThuFri", "Wk"),
        ];
        for (text, shown) in cases {
            let hours: Hours = text.parse().unwrap();
            assert_eq!(hours.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(hours));
        }
        let wrong = [
            "",
            ",",
            "Sat,",
            "Mo",
            "Monday",
            "Wk23-08",
            "Wk2300",
            "Wk2300-",
            "0800-0800",
            "Wk2360-0800",
            "Wk2401-0800",
            "2400-0800",
            "Any Any0800-1700x",
            "Wk-0800",
            "Wk+800-0900",
            "Sät",
            "never",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Hours>(), Err(NotHours), "{text:?}");
        }
    }

    #[test]
    fn knows_when_they_are_and_when_they_come() {
        let zone = TimeZone::UTC;
        // 2026-01-01 is a Thursday.
        let cases = [
            ("Any", "2026-01-01T12:00:00Z", None),
            ("Wk2300-0800,Sat,Sun", "2026-01-01T07:59:59Z", None),
            ("Wk2300-0800,Sat,Sun", "2026-01-01T08:00:00Z", Some("2026-01-01T23:00:00Z")),
            ("Wk2300-0800,Sat,Sun", "2026-01-02T12:00:00Z", Some("2026-01-02T23:00:00Z")),
            ("Wk2300-0800,Sat,Sun", "2026-01-04T23:59:59Z", None),
            ("Wk2300-0800,Sat,Sun", "2026-01-05T00:30:00Z", None),
            ("Thu1000-1100", "2026-01-01T11:00:00Z", Some("2026-01-08T10:00:00Z")),
            ("Wed", "2026-01-01T00:00:00Z", Some("2026-01-07T00:00:00Z")),
        ];
        for (hours, now, opens) in cases {
            let hours: Hours = hours.parse().unwrap();
            assert_eq!(hours.opens_at(at(now), &zone), opens.map(at), "{hours} at {now}");
            assert_eq!(hours.has(at(now), &zone), opens.is_none());
        }
    }

    #[test]
    fn they_are_those_of_the_appliance_through_the_change_of_clocks() {
        // Berlin's rule, without a database of zones.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let hours: Hours = "Any0230-0600".parse().unwrap();
        // On 2026-03-29 the clocks go from 2:00 to 3:00: half past two is half past three.
        assert_eq!(hours.opens_at(at("2026-03-29T00:00:00Z"), &zone), Some(at("2026-03-29T01:30:00Z")));
        // On 2026-10-25 they go back from 3:00 to 2:00, and half past two comes twice.
        assert_eq!(hours.opens_at(at("2026-10-24T23:00:00Z"), &zone), Some(at("2026-10-25T00:30:00Z")));
        assert_eq!(hours.opens_at(at("2026-10-25T10:00:00Z"), &zone), Some(at("2026-10-26T01:30:00Z")));
    }
}
