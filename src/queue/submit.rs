//! Taking a fax in.
//!
//! Owns: the order in which a promise becomes true: look at the idempotency name, convert, store
//! the document, store the row with its event and the answer, and only then answer. Refuses: a
//! document that cannot become a fax, while the client still waits.

use bytes::Bytes;
use jiff::Timestamp;

use super::idempotency::{Begun, Idempotency, Reservation};
use super::{Inner, Queue, QueueError};
use crate::auth::limits::{Allowance, Expense};
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
    /// What its key may spend; `None` where there is no such limit.
    pub allowance: Option<Allowance>,
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
                                let allowance = new.allowance.filter(|_| inner.spends(&new.route));
                                inner.attend_to_preparation(job, conversion, allowance);
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
        let count = pages.len() as u32;
        self.spend(new, count)?;
        let accepted = async {
            let document = self.spool.put(tiff::write(pages)).await?;
            let content = transition::Content::Ready(document, count);
            let moved = transition::accept(acceptance(new, content), self.clock.now());
            self.accept(moved, &[document], reservation, answer).await
        };
        let (_, submitted) = accepted.await.inspect_err(|_| self.give_back(new, count))?;
        self.call_dispatcher();
        Ok(submitted)
    }

    /// Takes what a fax costs off what its key may spend; on a route that costs nothing, nothing.
    fn spend(&self, new: &NewFax, pages: u32) -> Result<(), QueueError> {
        let Some(allowance) = new.allowance.as_ref().filter(|_| self.spends(&new.route)) else {
            return Ok(());
        };
        let spending = self.lines.iter().map(|line| &line.route).filter(|route| route.spends());
        let routes: Vec<&str> = spending.map(|route| route.name()).collect();
        let to = new.to.as_e164();
        let is_known = self.db.was_dialled(to, &routes)?;
        let at = new.schedule_at.unwrap_or_else(|| self.clock.now());
        Ok(allowance.spend(Expense { to, pages, is_known, at })?)
    }

    fn give_back(&self, new: &NewFax, pages: u32) {
        if let Some(allowance) = new.allowance.as_ref().filter(|_| self.spends(&new.route)) {
            allowance.give_back(pages, new.schedule_at.unwrap_or_else(|| self.clock.now()));
        }
    }

    fn spends(&self, route: &str) -> bool {
        self.lines.iter().any(|line| line.route.name() == route && line.route.spends())
    }

    async fn accept_sources(
        &self,
        new: &NewFax,
        documents: Vec<Bytes>,
        reservation: Option<Reservation>,
        answer: impl FnOnce(&Job) -> (u16, String) + Send,
    ) -> Result<(Job, Submitted), QueueError> {
        // How many pages there are is known later; one at least.
        self.spend(new, 1)?;
        let accepted = self.store_sources(new, documents, reservation, answer).await;
        accepted.inspect_err(|_| self.give_back(new, 1))
    }

    async fn store_sources(
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::{Line, Parts};
    use super::*;
    use crate::auth::limits::Overspent;
    use crate::auth::{self, Actor, KeyRing, NewKey};
    use crate::clock::{Clock, Work};
    use crate::codec::page::Resolution;
    use crate::codec::raster::Bitmap;
    use crate::convert::{Converter, Quality, Settings};
    use crate::db::{self, Db};
    use crate::fax::attempt::CallEnd;
    use crate::id::AttemptId;
    use crate::inbound::Inbox;
    use crate::route::simulator::Simulator;
    use crate::route::{BoxFuture, Call, Route, Settled};
    use crate::seal::{KeyEncryptionKey, Seal};
    use crate::spool::Spool;

    /// The simulator, as if its calls cost money.
    struct Costly;

    impl Route for Costly {
        fn name(&self) -> &'static str {
            "costly"
        }

        fn call<'a>(&'a self, call: Call, work: &'a mut Work) -> BoxFuture<'a, CallEnd> {
            Simulator.call(call, work)
        }

        fn settle(&self, attempt: AttemptId, to: &FaxNumber) -> Settled {
            Simulator.settle(attempt, to)
        }
    }

    async fn site(folder: &std::path::Path, clock: &Clock) -> (Queue, Db, KeyRing) {
        let db = Db::open(&db::file_in(folder)).unwrap();
        let (seal, _) = Seal::create(&KeyEncryptionKey::load(&folder.join("keys"), true).unwrap()).unwrap();
        db.start_audit(&seal.audit_key());
        let seal = Arc::new(seal);
        let spool = Spool::open(&folder.join("spool"), seal.clone()).unwrap();
        let keys =
            KeyRing::load(db.clone(), Ok(seal), clock.clone(), auth::Settings::default()).await.unwrap();
        let parts = Parts {
            db: db.clone(),
            spool: spool.clone(),
            clock: clock.clone(),
            // Pages are ready, so no worker is ever started.
            converter: Converter::new(Settings {
                executable: "/nonexistent".into(),
                workers: 1,
                wall_clock: Duration::from_secs(1),
                max_pages: 10,
                require_sandbox: true,
                font_dirs: Vec::new(),
            }),
            inbox: Inbox::new(db.clone(), spool, clock.clone()),
            station_id: String::new(),
        };
        let lines = vec![
            Line { route: Box::new(Costly), most_calls: 1 },
            Line { route: Box::new(Simulator), most_calls: 1 },
        ];
        (Queue::open_on(parts, lines).await.unwrap(), db, keys)
    }

    #[tokio::test]
    async fn a_route_that_spends_is_bounded_by_the_key_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let (queue, db, keys) = site(folder.path(), &clock).await;
        let new = NewKey { name: "a".into(), ..NewKey::default() };
        let (token, _) = keys.create(new, &Actor::Cli { uid: 0 }).await.unwrap();
        let caller = keys.verify(token.text().reveal(), None).await.unwrap().caller;
        let allowance = keys.allowance(&caller);
        let send = async |route: &str, to: u32, pages: u32| {
            let page = FaxPage::from_bitmap(&Bitmap::white(1728, 10), Resolution::FINE);
            let new = NewFax {
                owner: caller.owner,
                key_id: caller.key_id.map(|id| id.to_string()),
                to_raw: String::new(),
                to: format!("+1500555{to:04}").parse().unwrap(),
                route: route.into(),
                content: Content::Pages(vec![page; pages as usize]),
                documents_hash: [0; 32],
                options: Options { resolution: Resolution::FINE, quality: Quality::Text },
                priority: Priority::Normal,
                tag: None,
                schedule_at: None,
                deadline_at: None,
                allowance: allowance.clone(),
                idempotency: None,
            };
            match queue.submit(new, |job| (202, job.id.to_string())).await {
                Ok(Submitted::New { body, .. }) => Ok(body.parse().unwrap()),
                Err(QueueError::Overspent(over)) => Err(over),
                other => panic!("{other:?}"),
            }
        };
        let first = send("costly", 0, 1).await.unwrap();
        for to in 100..119 {
            send("costly", to, 1).await.unwrap();
        }
        assert_eq!(send("costly", 119, 1).await, Err(Overspent::Destinations { most: 20 }));
        assert_eq!(send("costly", 100, 181).await, Err(Overspent::Pages { most: 200, left: 180 }));
        for to in 200..230 {
            send("simulator", to, 10).await.unwrap();
        }
        send("costly", 100, 180).await.unwrap();

        let is_known = |to| db.was_dialled(to, &["costly"]).unwrap();
        assert!(!is_known("+15005550000"));
        queue.start();
        let mut job = queue.get(first).unwrap().unwrap();
        while !job.state.is_final() {
            job = queue.wait_for_change(&job, Duration::from_secs(3600)).await.unwrap();
        }
        assert!(is_known("+15005550000") && !is_known("+15005550119"));
        assert!(!db.was_dialled("+15005550000", &["simulator"]).unwrap());
        queue.stop(Duration::ZERO).await;
    }
}
