//! One document to many numbers.
//!
//! Owns: what is common to the faxes of a group, and how far they have come together. Each of them
//! is a job like any other, with a state and retries of its own; what they share is the document.

use jiff::Timestamp;

use super::job::State;
use super::notify::Notify;
use super::number::FaxNumber;
use crate::id::{AccountId, GroupId};

/// Somebody a fax goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The number as the client wrote it.
    pub raw: String,
    /// The number to dial.
    pub to: FaxNumber,
}

/// Faxes that were accepted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// The account it belongs to.
    pub owner: AccountId,
    /// The API key it came by; `None` for the bootstrap key and the command line.
    pub key_id: Option<String>,
    /// Who is told by e-mail that it has ended.
    pub notify: Option<Notify>,
    /// How many faxes it began with.
    pub size: u32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the last of its faxes ended.
    pub final_at: Option<Timestamp>,
}

/// How far a group has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many faxes it began with.
    pub size: u32,
    /// How many of them are in each state; states without any are not named.
    pub states: Vec<(State, u32)>,
    /// Pages of all of them together, as far as they are known.
    pub pages: u64,
    /// Pages confirmed in all of them together.
    pub confirmed_pages: u64,
}

impl Tally {
    /// How many are in one of these states.
    pub fn count(&self, states: &[State]) -> u32 {
        self.states.iter().filter(|(state, _)| states.contains(state)).map(|(_, count)| count).sum()
    }

    /// How many have ended and were deleted since, as the rules about keeping say.
    pub fn deleted(&self) -> u32 {
        self.size.saturating_sub(self.states.iter().map(|(_, count)| count).sum())
    }
}
