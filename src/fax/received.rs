//! One fax that was received.

use jiff::Timestamp;

use crate::id::{AccountId, AttemptId, DocumentId, InboundId};

/// One received fax, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedFax {
    /// Order of arrival; 0 until the database has given it.
    pub seq: i64,
    /// Its id.
    pub id: InboundId,
    /// The caller's number, as far as the line told it.
    pub from: Option<String>,
    /// The number that was called.
    pub to: Option<String>,
    /// What the other machine calls itself (TSI).
    pub remote_station_id: Option<String>,
    /// Name of the route it came by.
    pub route: String,
    /// The attempt that delivered it, when it came over loopback.
    pub attempt: Option<AttemptId>,
    /// Pages received.
    pub pages: u32,
    /// Size of its TIFF in bytes.
    pub size_bytes: u64,
    /// Its pages as one TIFF, in the spool.
    pub document: DocumentId,
    /// Whether the call ended well after the last page.
    pub is_complete: bool,
    /// When somebody first said that it was read.
    pub read_at: Option<Timestamp>,
    /// Who, in a word for records.
    pub read_by: Option<String>,
    /// Whose it is to deal with.
    pub assigned_to: Option<AccountId>,
    /// A remark for the others.
    pub note: Option<String>,
    /// When the last page was there.
    pub received_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
}

/// What people may change of a received fax; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceivedChange {
    /// Whether it is read, and by whom.
    pub read: Option<(bool, String)>,
    /// Whose it is to deal with; nobody's with `Some(None)`.
    pub assigned_to: Option<Option<AccountId>>,
    /// A remark; none with `Some(None)`.
    pub note: Option<Option<String>>,
}

impl ReceivedFax {
    /// It with this change made at `now`.
    pub fn changed(&self, change: ReceivedChange, now: Timestamp) -> Self {
        let mut fax = self.clone();
        match change.read {
            // Who read it first stays.
            Some((true, by)) if fax.read_at.is_none() => (fax.read_at, fax.read_by) = (Some(now), Some(by)),
            Some((false, _)) => (fax.read_at, fax.read_by) = (None, None),
            _ => {}
        }
        if let Some(assigned_to) = change.assigned_to {
            fax.assigned_to = assigned_to;
        }
        if let Some(note) = change.note {
            fax.note = note;
        }
        if fax != *self {
            fax.updated_at = now;
        }
        fax
    }
}

/// Which received faxes somebody looks for; an empty one is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboxFilter {
    /// Only unread ones, or only read ones.
    pub unread: Option<bool>,
    /// Only those of this account.
    pub assigned_to: Option<AccountId>,
    /// Received then or later.
    pub from: Option<Timestamp>,
    /// Received before.
    pub to: Option<Timestamp>,
    /// What was typed into the search.
    pub search: Option<Search>,
}

/// What a search looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// How the sender's number begins, digits only.
    Sender(String),
    /// A part of the sender's name for itself, or of a note, in any case.
    Text(String),
}

impl Search {
    /// What a person means who typed this; nothing when there is nothing in it.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_number = |c: char| c.is_ascii_digit() || " +-.()/".contains(c);
        if text.is_empty() {
            return None;
        }
        if text.chars().all(is_number) {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            return (!digits.is_empty()).then_some(Self::Sender(digits));
        }
        Some(Self::Text(text.to_owned()))
    }
}
