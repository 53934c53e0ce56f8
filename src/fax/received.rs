//! One fax that was received.

use jiff::Timestamp;

use crate::id::{AttemptId, DocumentId, InboundId};

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
    /// When the last page was there.
    pub received_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
}
