//! Taking a fax in.
//!
//! Owns: the order in which a promise becomes true: look at the idempotency name, convert, store
//! the document, store the row with its event and the answer, and only then answer. Refuses: a
//! document that cannot become a fax, while the client still waits.

use bytes::Bytes;
use jiff::Timestamp;

use super::idempotency::{Begun, Idempotency, Reservation};
use super::{Inner, Queue, QueueError};
use crate::codec::page::FaxPage;
use crate::codec::tiff;
use crate::convert::Options;
use crate::fax::job::{Job, Priority};
use crate::fax::number::FaxNumber;
use crate::fax::transition::{self, Acceptance, Moved};
use crate::id::{AccountId, DocumentId};
use crate::limits;

/// A fax to be sent.
pub struct NewFax {
    /// The account it belongs to.
    pub owner: AccountId,
    /// The API key it came by; `None` for the bootstrap key and the command line.
    pub key_id: Option<String>,
    /// The number as the client wrote it.
    pub to_raw: String,
    /// The number to dial.
    pub to: FaxNumber,
    /// Name of the route.
    pub route: String,
    /// What to send.
    pub content: Content,
    /// SHA-256 over the documents.
    pub documents_hash: [u8; 32],
    /// How to turn documents into pages.
    pub options: Options,
    /// How urgent it is.
    pub priority: Priority,
    /// The client's own reference.
    pub tag: Option<String>,
    /// Not to be sent before.
    pub schedule_at: Option<Timestamp>,
    /// When to give up; three hours after the first send time by default.
    pub deadline_at: Option<Timestamp>,
    /// The client's name for this request.
    pub idempotency: Option<Idempotency>,
}

/// What a fax is made of.
pub enum Content {
    /// Uploads to convert, in order.
    Documents(Vec<Bytes>),
    /// Fax pages that are ready.
    Pages(Vec<FaxPage>),
}

/// What became of a submission.
#[derive(Debug)]
pub enum Submitted {
    /// It is on disk; this is the answer.
    New {
        /// HTTP status.
        status: u16,
        /// Body.
        body: String,
    },
    /// The same request was answered so before; nothing new is sent.
    Repeated {
        /// HTTP status.
        status: u16,
        /// Body.
        body: String,
    },
    /// The same name is being worked on at this moment.
    InFlight,
    /// The name was used before for another request.
    Mismatch,
}

impl Queue {
    /// Takes a fax in. On return it is on disk, together with the answer that `answer` makes of it
    /// (status and body), so that a repeated request gets the very same.
    ///
    /// Documents are converted while the caller waits, for [`limits::CONVERSION_WAIT`]; what takes
    /// longer is accepted as `preparing` and goes on. Do not drop the future half way: a stored
    /// document without its row would stay until the next start.
    pub async fn submit(
        &self,
        new: NewFax,
        answer: impl FnOnce(&Job) -> (u16, String) + Send,
    ) -> Result<Submitted, QueueError> {
        let inner = &self.inner;
        if !self.routes().any(|name| name == new.route) {
            return Err(QueueError::NoSuchRoute(new.route));
        }
        let reservation = match new.idempotency.clone() {
            None => None,
            Some(request) => match inner.answering.begin(&inner.db, request, inner.clock.now())? {
                Begun::Fresh(reservation) => Some(reservation),
                Begun::Repeated { status, body } => return Ok(Submitted::Repeated { status, body }),
                Begun::Mismatch => return Ok(Submitted::Mismatch),
                Begun::InFlight => return Ok(Submitted::InFlight),
            },
        };
        match &new.content {
            Content::Pages(pages) => inner.accept_pages(&new, pages, reservation, answer).await,
            Content::Documents(documents) => {
                let documents = documents.clone();
                let mut conversion = inner.begin_conversion(documents.clone(), new.options);
                match tokio::time::timeout(limits::CONVERSION_WAIT, &mut conversion).await {
                    Ok(converted) => {
                        let pages = super::prepare::converted(converted)?;
                        inner.accept_pages(&new, &pages, reservation, answer).await
                    }
                    Err(_) => {
                        let accepted = inner.accept_sources(&new, documents, reservation, answer).await;
                        match accepted {
                            Ok((job, submitted)) => {
                                inner.attend_to_preparation(job, conversion);
                                Ok(submitted)
                            }
                            Err(error) => {
                                conversion.abort();
                                Err(error)
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Inner {
    async fn accept_pages(
        &self,
        new: &NewFax,
        pages: &[FaxPage],
        reservation: Option<Reservation>,
        answer: impl FnOnce(&Job) -> (u16, String) + Send,
    ) -> Result<Submitted, QueueError> {
        let document = self.spool.put(tiff::write(pages)).await?;
        let content = transition::Content::Ready(document, pages.len() as u32);
        let moved = transition::accept(acceptance(new, content), self.clock.now());
        let (_, submitted) = self.accept(moved, &[document], reservation, answer).await?;
        self.call_dispatcher();
        Ok(submitted)
    }

    async fn accept_sources(
        &self,
        new: &NewFax,
        documents: Vec<Bytes>,
        reservation: Option<Reservation>,
        answer: impl FnOnce(&Job) -> (u16, String) + Send,
    ) -> Result<(Job, Submitted), QueueError> {
        let mut sources = Vec::with_capacity(documents.len());
        for document in documents {
            match self.spool.put(document.to_vec()).await {
                Ok(id) => sources.push(id),
                Err(error) => {
                    self.delete_documents(&sources).await;
                    return Err(error.into());
                }
            }
        }
        let content = transition::Content::Sources(sources.clone());
        let moved = transition::accept(acceptance(new, content), self.clock.now());
        // Claimed before the dispatcher can see it, which would begin a second conversion.
        let id = moved.job().id;
        self.claim_preparation(id);
        let accepted = self.accept(moved, &sources, reservation, answer).await;
        if accepted.is_err() {
            self.release_preparation(id);
        }
        accepted
    }

    async fn accept(
        &self,
        moved: Moved,
        documents: &[DocumentId],
        reservation: Option<Reservation>,
        answer: impl FnOnce(&Job) -> (u16, String) + Send,
    ) -> Result<(Job, Submitted), QueueError> {
        let id = moved.job().id;
        let (status, body) = answer(moved.job());
        let kept = reservation.as_ref().map(|name| name.answer(status, &body, moved.job().created_at));
        match self.db.insert_job(moved, kept).await {
            Ok(job) => Ok((job, Submitted::New { status, body })),
            Err(error) => {
                // A row that the error hides keeps its documents.
                if matches!(self.db.job(id), Ok(None)) {
                    self.delete_documents(documents).await;
                }
                Err(error.into())
            }
        }
    }
}

fn acceptance(new: &NewFax, content: transition::Content) -> Acceptance {
    Acceptance {
        owner: new.owner,
        key_id: new.key_id.clone(),
        to_raw: new.to_raw.clone(),
        to: new.to.clone(),
        route: new.route.clone(),
        priority: new.priority,
        // Requests name their resolution, so only a fax-ready one could have none.
        resolution: new.options.resolution.name().unwrap_or("fine").to_owned(),
        quality: new.options.quality.name().to_owned(),
        content,
        source_sha256: new.documents_hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        tag: new.tag.clone(),
        schedule_at: new.schedule_at,
        deadline_at: new.deadline_at,
    }
}
