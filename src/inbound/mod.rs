//! Faxes received: storing them, and reading them back.
//!
//! Owns: the durable order (document, then row with its event) and the promise that the same
//! attempt is stored once, however often it is delivered. Refuses: to look into pages.

use crate::access::audit::{Action, Context, Snapshot};
use crate::clock::{Clock, whole_ms};
use crate::codec::page::FaxPage;
use crate::codec::tiff;
use crate::crash::{self, Step};
use crate::db::{Db, DbError};
use crate::fax::event::Event;
pub use crate::fax::received::{InboxFilter, ReceivedChange, ReceivedFax, Search};
use crate::id::{AttemptId, InboundId};
use crate::spool::{Spool, SpoolError};

/// What can go wrong with a received fax.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// The database refused.
    #[error("the received fax is not in the database")]
    Db(#[from] DbError),
    /// The spool refused.
    #[error("the received fax is not in the spool")]
    Spool(#[from] SpoolError),
    /// The stored TIFF does not read back.
    #[error("the stored pages are damaged")]
    Damaged(#[from] tiff::TiffError),
}

/// A call that brought pages.
#[derive(Debug)]
pub struct Arrival {
    /// The caller's number, as far as the line told it.
    pub from: Option<String>,
    /// The number that was called.
    pub to: Option<String>,
    /// What the sending machine calls itself (TSI).
    pub remote_station_id: Option<String>,
    /// Name of the route it came by.
    pub route: String,
    /// The attempt that delivered it, when it came over loopback.
    pub attempt: Option<AttemptId>,
    /// Its pages, as they came.
    pub pages: Vec<FaxPage>,
    /// Whether the call ended well after the last page.
    pub is_complete: bool,
}

/// The inbox of one appliance. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inbox {
    db: Db,
    spool: Spool,
    clock: Clock,
}

impl Inbox {
    /// The inbox in this database and spool.
    pub fn new(db: Db, spool: Spool, clock: Clock) -> Self {
        Self { db, spool, clock }
    }

    /// Stores what arrived; on return it survives a power cut. An attempt that was stored before
    /// is not stored again: its first fax comes back.
    pub async fn receive(&self, arrival: Arrival) -> Result<ReceivedFax, InboxError> {
        if let Some(attempt) = arrival.attempt
            && let Some(earlier) = self.of_attempt(attempt)?
        {
            return Ok(earlier);
        }
        let tiff = tiff::write(&arrival.pages);
        let size_bytes = tiff.len() as u64;
        let document = self.spool.put(tiff).await?;
        let now = whole_ms(self.clock.now());
        let fax = ReceivedFax {
            seq: 0,
            id: InboundId::new(),
            from: arrival.from,
            to: arrival.to,
            remote_station_id: arrival.remote_station_id,
            route: arrival.route,
            attempt: arrival.attempt,
            pages: arrival.pages.len() as u32,
            size_bytes,
            document,
            is_complete: arrival.is_complete,
            read_at: None,
            read_by: None,
            assigned_to: None,
            note: None,
            received_at: now,
            updated_at: now,
        };
        let event = Event::received(&fax);
        let id = fax.id;
        let stored = self.db.insert_inbound(fax, event).await;
        if stored.is_ok() {
            crash::after(Step::FaxReceived);
        }
        // A document that no row names would be an orphan; a row that an error hides is found.
        if matches!(self.db.inbound(id), Ok(None))
            && let Err(error) = self.spool.delete(document).await
        {
            log::warn!("a document without a row stays until the next start: {error}");
        }
        Ok(stored?)
    }

    /// The received fax with this id.
    pub fn get(&self, id: InboundId) -> Result<Option<ReceivedFax>, InboxError> {
        Ok(self.db.inbound(id)?)
    }

    /// What this attempt delivered over loopback.
    pub fn of_attempt(&self, attempt: AttemptId) -> Result<Option<ReceivedFax>, InboxError> {
        Ok(self.db.inbound_of_attempt(attempt)?)
    }

    /// At most `limit` received faxes that match, newest first: those older than the place `before`,
    /// if there is one, and of these all after the first `offset`.
    pub async fn list(
        &self,
        filter: InboxFilter,
        before: Option<i64>,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<ReceivedFax>, InboxError> {
        Ok(self.db.list_inbound(filter, before, limit, offset).await?)
    }

    /// Changes what people may change of a received fax. What a note says stays out of the audit log.
    pub async fn change(
        &self,
        fax: &ReceivedFax,
        change: ReceivedChange,
        by: &Context,
    ) -> Result<ReceivedFax, InboxError> {
        let now = whole_ms(self.clock.now());
        let shown = |fax: &ReceivedFax| {
            Snapshot::new()
                .with("assigned_to", fax.assigned_to.map(|id| id.to_string()))
                .with("has_note", fax.note.is_some())
                .with("read", fax.read_at.is_some())
        };
        let event = by
            .event(Action::InboundChanged, fax.id, now)
            .before(shown(fax))
            .after(shown(&fax.changed(change.clone(), now)));
        Ok(self.db.audited(event).change_inbound(fax.id, change, now).await?)
    }

    /// The pages of a received fax, bit for bit as they came.
    pub async fn pages(&self, fax: &ReceivedFax) -> Result<Vec<FaxPage>, InboxError> {
        Ok(tiff::read(&self.spool.get(fax.document).await?)?)
    }
}
