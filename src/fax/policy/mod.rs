//! Which numbers may be dialled from here.
//!
//! Owns: the verdict on a number, with the sentence a person reads: what is closed until somebody
//! opens it ([`ranges`]), and the lists of numbers that were allowed or blocked by hand. Refuses: to
//! look anything up; home country and rules are passed in. The same verdict is asked for when a fax
//! is taken in and again before each dial.
//!
//! Invariants: an emergency number is never allowed, whatever the lists say. An entry that allows
//! never opens a range that is closed by longer digits than its own: who allows +44 has not allowed
//! British premium numbers.

mod emergency;
pub mod ranges;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use self::ranges::{Range, UnknownRange};
use super::dialling::Limits;
use super::number::{CountryCode, FaxNumber};
use super::routing::{Capacities, RouteHours};
use super::{second_look, station};

/// Most digits of a number, and so of a prefix.
pub const MOST_DIGITS: usize = 20;
/// Longest reason that is given for a rule, in characters.
pub const REASON_CHARS: usize = 200;

/// What the configuration says about dialling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The country calls are usually within.
    pub home: CountryCode,
    /// What all faxes together may spend.
    pub limits: Limits,
    /// Which numbers somebody has to look at twice.
    pub second_look: second_look::Settings,
    /// What a call does when another machine answers than the one that is known.
    pub station_check: station::Check,
    /// Calls at once on those routes that have a number of their own.
    pub calls: Capacities,
    /// The hours of those routes that keep some.
    pub hours: RouteHours,
}

/// What a call would reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nobody: the number has a scripted end on a route that costs nothing.
    Script,
    /// A route that costs nothing.
    House,
    /// A route that spends money.
    Line,
}

/// The beginning of numbers: `+` and 1 to 20 digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix(String);

/// The text is no beginning of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the beginning of a number is '+' and 1 to {MOST_DIGITS} digits, like +4930")]
pub struct InvalidPrefix;

impl Prefix {
    /// Its text, `+` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn digits(&self) -> usize {
        self.0.len() - 1
    }

    fn begins(&self, number: &FaxNumber) -> bool {
        number.as_e164().starts_with(&self.0)
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    /// Takes it with or without the `+`, and with spaces and dashes between.
    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let digits: String = text
            .strip_prefix('+')
            .unwrap_or(text)
            .chars()
            .filter(|letter| !matches!(letter, ' ' | '-'))
            .collect();
        let fits = (1..=MOST_DIGITS).contains(&digits.len());
        let sound = fits && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        if sound { Ok(Self(format!("+{digits}"))) } else { Err(InvalidPrefix) }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was decided about numbers by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// They may be dialled although their range is closed.
    Allow,
    /// They may not be dialled.
    Block,
}

impl Ruling {
    /// The word of the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Block => "block",
        }
    }
}

impl FromStr for Ruling {
    type Err = UnknownRange;

    fn from_str(text: &str) -> Result<Self, UnknownRange> {
        [Self::Allow, Self::Block].into_iter().find(|ruling| ruling.as_str() == text).ok_or(UnknownRange)
    }
}

/// One entry of the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The numbers it is about.
    pub prefix: Prefix,
    /// What was decided.
    pub ruling: Ruling,
    /// Why, in the words of who decided; never empty.
    pub reason: String,
    /// Who decided.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A range that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Which one.
    pub range: Range,
    /// Why, in the words of who did it.
    pub reason: String,
    /// Who did it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// The rules in force; of the entries at least those about the number in question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Ranges that were opened.
    pub open: Vec<Opened>,
    /// Numbers that were allowed or blocked.
    pub entries: Vec<Entry>,
}

/// Whether a number may be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may, for this reason.
    Allowed(Grounds),
    /// It may not.
    Blocked(Block),
}

/// Why a number may be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// Nobody is called.
    NobodyCalled,
    /// Nothing is spent.
    NothingSpent,
    /// It is of a range that is open.
    Open(Range),
    /// It was allowed by hand, for this reason.
    Listed(Prefix, String),
}

/// Why a number may not be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// It is an emergency number, or a switch could take it for one.
    Emergency,
    /// It was blocked by hand, for this reason.
    Listed(Prefix, String),
    /// It is of a range that is closed.
    Closed(Range),
}

/// Judges a number.
///
/// Of several entries about it the one with the most digits counts; a route that spends nothing
/// minds only emergency numbers and what was blocked.
pub fn verdict(home: &CountryCode, rules: &Rules, to: &FaxNumber, reach: Reach) -> Verdict {
    if reach == Reach::Script {
        return Verdict::Allowed(Grounds::NobodyCalled);
    }
    if emergency::is_emergency(to) {
        return Verdict::Blocked(Block::Emergency);
    }
    let about = rules.entries.iter().filter(|entry| entry.prefix.begins(to));
    let entry = about.max_by_key(|entry| entry.prefix.digits());
    if let Some(Entry { ruling: Ruling::Block, prefix, reason, .. }) = entry {
        return Verdict::Blocked(Block::Listed(prefix.clone(), reason.clone()));
    }
    if reach == Reach::House {
        return Verdict::Allowed(Grounds::NothingSpent);
    }
    let (range, closed_by_digits) = ranges::of(home, to);
    if let Some(Entry { prefix, reason, .. }) = entry
        && prefix.digits() >= closed_by_digits
    {
        return Verdict::Allowed(Grounds::Listed(prefix.clone(), reason.clone()));
    }
    let is_open = range.is_always_open() || rules.open.iter().any(|opened| opened.range == range);
    if is_open { Verdict::Allowed(Grounds::Open(range)) } else { Verdict::Blocked(Block::Closed(range)) }
}

impl Verdict {
    /// What is said of it, one sentence.
    pub fn sentence(&self) -> String {
        match self {
            Self::Allowed(grounds) => grounds.sentence(),
            Self::Blocked(block) => block.sentence(),
        }
    }
}

impl Grounds {
    /// Stable short code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NobodyCalled => "nobody_called",
            Self::NothingSpent => "nothing_spent",
            Self::Open(_) => "open_range",
            Self::Listed(..) => "allow_list",
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::NobodyCalled => "This number is a test; nobody is called.".into(),
            Self::NothingSpent => "This route calls nobody outside and costs nothing.".into(),
            Self::Open(range) => format!("{} may be dialled.", range.description()),
            Self::Listed(_, reason) => format!("This number was allowed: {}", full_stop(reason)),
        }
    }
}

impl Block {
    /// Stable short code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Emergency => "emergency",
            Self::Listed(..) => "block_list",
            Self::Closed(range) => range.as_str(),
        }
    }

    /// Why, one sentence.
    pub fn sentence(&self) -> String {
        match self {
            Self::Emergency => "Emergency numbers are never dialled.".into(),
            Self::Listed(_, reason) => format!("It was blocked: {}", full_stop(reason)),
            Self::Closed(range) => {
                format!("{} are closed until a global administrator opens them.", range.description())
            }
        }
    }
}

/// A sentence of somebody's own, with its end.
pub(super) fn full_stop(reason: &str) -> String {
    let ends = reason.ends_with(['.', '!', '?']);
    format!("{reason}{}", if ends { "" } else { "." })
}

#[cfg(test)]
mod tests;
