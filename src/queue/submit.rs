//! Taking a fax in.
//!
//! Owns: the order in which a promise becomes true: look at the idempotency name and at the numbers,
//! convert, store the document, store the row with its event and the answer, and only then answer.
//! Refuses: a number that may not be dialled, and a document that cannot become a fax, while the
//! client still waits.

use bytes::Bytes;
use jiff::Timestamp;

use super::idempotency::{Begun, Idempotency, Reservation};
use super::{Inner, Queue, QueueError, Unprepared};
use crate::auth::limits::{Allowance, Expense, Overspent};
use crate::codec::page::FaxPage;
use crate::codec::tiff;
use crate::convert::Options;
use crate::crash::{self, Step};
use crate::db::DbError;
use crate::fax::group::Recipient;
use crate::fax::hours::Hours;
use crate::fax::job::{Job, Priority};
use crate::fax::notify::Notify;
use crate::fax::number::FaxNumber;
use crate::fax::routing::RouteList;
use crate::fax::second_look::SecondLook;
use crate::fax::transition::{self, Acceptance, Accepted};
use crate::id::{AccountId, DocumentId, JobId};
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
    /// The routes it may take, in order; all of them lead to the same place.
    pub route: RouteList,
    /// What to send.
    pub content: Content,
    /// SHA-256 over the documents, in hex.
    pub source_sha256: String,
    /// How to turn documents into pages.
    pub options: Options,
    /// How urgent it is.
    pub priority: Priority,
    /// The client's own reference.
    pub tag: Option<String>,
    /// The fax whose pages are sent again.
    pub resend_of: Option<JobId>,
    /// Who is told of it by e-mail; of several numbers, of the end of all.
    pub notify: Option<Notify>,
    /// Not to be sent before.
    pub schedule_at: Option<Timestamp>,
    /// When to give up; three hours after the first send time by default.
    pub deadline_at: Option<Timestamp>,
    /// The hours of the week in which it may be sent; any without.
    pub hours: Option<Hours>,
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
        let first = |accepted: &Accepted| accepted.faxes.first().map(|fax| answer(fax.job()));
        self.take_in(new, None, |accepted| first(accepted).unwrap_or_default()).await
    }

    /// The same for one document to several numbers, in place of the one `new` has: each gets a fax of
    /// its own, and all are taken in or none.
    pub async fn submit_group(
        &self,
        new: NewFax,
        to: Vec<Recipient>,
        answer: impl FnOnce(&Accepted) -> (u16, String) + Send,
    ) -> Result<Submitted, QueueError> {
        self.take_in(new, Some(to), answer).await
    }

    async fn take_in(
        &self,
        new: NewFax,
        group: Option<Vec<Recipient>>,
        answer: impl FnOnce(&Accepted) -> (u16, String) + Send,
    ) -> Result<Submitted, QueueError> {
        let inner = &self.inner;
        inner.check_routes(&new.route)?;
        let reservation = match new.idempotency.clone() {
            None => None,
            Some(request) => match inner.answering.begin(&inner.db, request, inner.clock.now())? {
                Begun::Fresh(reservation) => Some(reservation),
                Begun::Repeated { status, body } => return Ok(Submitted::Repeated { status, body }),
                Begun::Mismatch => return Ok(Submitted::Mismatch),
                Begun::InFlight => return Ok(Submitted::InFlight),
            },
        };
        let mut order = Order { new, group, looks: Vec::new() };
        match &order.group {
            None => inner.check_number(order.new.route.first(), &order.new.to)?,
            Some(group) => inner.check_numbers(order.new.route.first(), group)?,
        }
        inner.check_space()?;
        order.looks = inner.second_looks(order.new.route.first(), order.numbers()).await?;
        match &order.new.content {
            Content::Pages(pages) => inner.accept_pages(&order, pages, reservation, answer).await,
            Content::Documents(documents) => {
                // One page at least; who has none left gets no worker for it.
                inner.check_spending(&order, 1)?;
                let documents = documents.clone();
                let mut conversion = inner.begin_conversion(documents.clone(), order.new.options);
                match tokio::time::timeout(limits::CONVERSION_WAIT, &mut conversion).await {
                    Ok(converted) => {
                        let pages = super::prepare::converted(converted)?;
                        inner.accept_pages(&order, &pages, reservation, answer).await
                    }
                    Err(_) => {
                        let accepted = inner.accept_sources(&order, documents, reservation, answer).await;
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

/// What is taken in at once.
struct Order {
    new: NewFax,
    /// The numbers in place of the one of the fax.
    group: Option<Vec<Recipient>>,
    /// What is striking about each number, so that somebody has to look at it first.
    looks: Vec<Option<SecondLook>>,
}

impl Order {
    fn numbers(&self) -> Vec<FaxNumber> {
        match &self.group {
            None => vec![self.new.to.clone()],
            Some(group) => group.iter().map(|recipient| recipient.to.clone()).collect(),
        }
    }

    fn faxes(&self) -> u32 {
        self.group.as_ref().map_or(1, |group| u32::try_from(group.len()).unwrap_or(u32::MAX))
    }

    fn accepted(&self, content: transition::Content, now: Timestamp) -> Accepted {
        let acceptance = acceptance(&self.new, content);
        let mut accepted = match &self.group {
            None => Accepted::single(acceptance, now),
            Some(group) => Accepted::group(&acceptance, group, now),
        };
        for (fax, look) in accepted.faxes.iter_mut().zip(&self.looks) {
            if let Some(look) = look.clone() {
                *fax = fax.clone().to_be_looked_at(look, now);
            }
        }
        accepted
    }
}

impl Inner {
    async fn accept_pages(
        &self,
        order: &Order,
        pages: &[FaxPage],
        reservation: Option<Reservation>,
        answer: impl FnOnce(&Accepted) -> (u16, String) + Send,
    ) -> Result<Submitted, QueueError> {
        let count = pages.len() as u32;
        self.spend(order, count)?;
        let accepted = async {
            let document = self.spool.put(tiff::write(pages)).await?;
            let content = transition::Content::Ready(document, count);
            let accepted = order.accepted(content, self.clock.now());
            self.accept(accepted, &[document], reservation, answer).await
        };
        let (_, submitted) = accepted.await.inspect_err(|_| self.give_back(order, count))?;
        self.call_dispatcher();
        Ok(submitted)
    }

    /// Takes what the faxes cost off what their key may spend; on a route that costs nothing, nothing.
    fn spend(&self, order: &Order, pages: u32) -> Result<(), QueueError> {
        self.with_expenses(order, pages, Allowance::spend_all)
    }

    /// Refuses faxes whose key cannot spend so much.
    fn check_spending(&self, order: &Order, pages: u32) -> Result<(), QueueError> {
        self.with_expenses(order, pages, Allowance::check_all)
    }

    fn with_expenses(
        &self,
        order: &Order,
        pages: u32,
        ask: impl FnOnce(&Allowance, &[Expense<'_>]) -> Result<(), Overspent>,
    ) -> Result<(), QueueError> {
        let Order { new, group, .. } = order;
        let Some(allowance) = new.allowance.as_ref().filter(|_| self.spends(new.route.first())) else {
            return Ok(());
        };
        let Some(group) = group else {
            return Ok(ask(allowance, &[self.expense(&new.to, pages, new.schedule_at)?])?);
        };
        let expenses = self.expenses(group, pages, new.schedule_at)?;
        ask(allowance, &expenses).map_err(|over| match over {
            Overspent::Pages { .. } => over.into(),
            Overspent::Destinations { .. } | Overspent::TooManyNew { .. } => {
                let is_new = |(_, expense): &(&Recipient, &Expense<'_>)| !expense.is_known;
                let new = group.iter().zip(&expenses).filter(is_new);
                QueueError::TooManyNew { over, numbers: new.map(|(to, _)| to.raw.clone()).collect() }
            }
        })
    }

    /// What faxes cost that are sent together over telephone lines.
    pub(super) fn expenses<'a>(
        &self,
        group: &'a [Recipient],
        pages: u32,
        schedule_at: Option<Timestamp>,
    ) -> Result<Vec<Expense<'a>>, QueueError> {
        group.iter().map(|recipient| self.expense(&recipient.to, pages, schedule_at)).collect()
    }

    /// What a fax costs that is sent over telephone lines.
    pub(super) fn expense<'a>(
        &self,
        to: &'a FaxNumber,
        pages: u32,
        schedule_at: Option<Timestamp>,
    ) -> Result<Expense<'a>, QueueError> {
        let to = to.as_e164();
        let is_known = self.db.was_dialled(to, &self.spending_routes())?;
        Ok(Expense { to, pages, is_known, at: schedule_at.unwrap_or_else(|| self.clock.now()) })
    }

    fn give_back(&self, order: &Order, pages: u32) {
        let new = &order.new;
        if let Some(allowance) = new.allowance.as_ref().filter(|_| self.spends(new.route.first())) {
            let pages = pages.saturating_mul(order.faxes());
            allowance.give_back(pages, new.schedule_at.unwrap_or_else(|| self.clock.now()));
        }
    }

    pub(super) fn spends(&self, route: &str) -> bool {
        self.lines.iter().any(|line| line.route.name() == route && line.route.spends())
    }

    /// Answers the first of the faxes too; it stands for all while their pages are made.
    async fn accept_sources(
        &self,
        order: &Order,
        documents: Vec<Bytes>,
        reservation: Option<Reservation>,
        answer: impl FnOnce(&Accepted) -> (u16, String) + Send,
    ) -> Result<(Job, Submitted), QueueError> {
        // How many pages there are is known later; one at least.
        self.spend(order, 1)?;
        let accepted = self.store_sources(order, documents, reservation, answer).await;
        accepted.inspect_err(|_| self.give_back(order, 1))
    }

    async fn store_sources(
        &self,
        order: &Order,
        documents: Vec<Bytes>,
        reservation: Option<Reservation>,
        answer: impl FnOnce(&Accepted) -> (u16, String) + Send,
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
        let accepted = order.accepted(content, self.clock.now());
        // Claimed before the dispatcher can see it, which would begin a second conversion.
        let what = accepted.faxes.first().map(|fax| Unprepared::from(fax.job()));
        what.into_iter().for_each(|what| self.claim_preparation(what));
        let stored = self.accept(accepted, &sources, reservation, answer).await;
        if let (Err(_), Some(what)) = (&stored, what) {
            self.release_preparation(what);
        }
        stored
    }

    async fn accept(
        &self,
        accepted: Accepted,
        documents: &[DocumentId],
        reservation: Option<Reservation>,
        answer: impl FnOnce(&Accepted) -> (u16, String) + Send,
    ) -> Result<(Job, Submitted), QueueError> {
        let (status, body) = answer(&accepted);
        let now = self.clock.now();
        let kept = reservation.as_ref().map(|name| name.answer(status, &body, now));
        let stored = match self.db.insert_jobs(accepted, kept).await {
            Ok(jobs) => jobs.into_iter().next().ok_or(DbError::NotStored),
            Err(error) => Err(error),
        };
        match stored {
            Ok(job) => {
                crash::after(Step::FaxAccepted);
                Ok((job, Submitted::New { status, body }))
            }
            Err(error) => {
                // A row that the error hides keeps its documents.
                self.delete_freed(documents).await;
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
        source_sha256: new.source_sha256.clone(),
        tag: new.tag.clone(),
        resend_of: new.resend_of,
        notify: new.notify.clone(),
        schedule_at: new.schedule_at,
        deadline_at: new.deadline_at,
        hours: new.hours.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::Site;
    use super::*;
    use crate::auth::{Actor, Caller, NewKey};
    use crate::codec::page::Resolution;
    use crate::codec::raster::Bitmap;
    use crate::convert::{Converted, DocumentKind, Quality};
    use crate::fax::job::State;

    async fn site(folder: &std::path::Path) -> Site {
        Site::open(folder, "2026-01-01T00:00:00Z".parse().unwrap(), Default::default()).await
    }

    fn fax(caller: &Caller, allowance: Option<Allowance>, route: &str, to: u32, pages: u32) -> NewFax {
        let page = FaxPage::from_bitmap(&Bitmap::white(1728, 10), Resolution::FINE);
        NewFax {
            owner: caller.owner,
            key_id: caller.key_id.map(|id| id.to_string()),
            to_raw: String::new(),
            to: format!("+1500555{to:04}").parse().unwrap(),
            route: route.into(),
            content: Content::Pages(vec![page; pages as usize]),
            source_sha256: String::new(),
            options: Options { resolution: Resolution::FINE, quality: Quality::Text },
            priority: Priority::Normal,
            tag: None,
            resend_of: None,
            notify: None,
            schedule_at: None,
            deadline_at: None,
            hours: None,
            allowance,
            idempotency: None,
        }
    }

    #[tokio::test]
    async fn a_route_that_spends_is_bounded_by_the_key_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path()).await;
        let (queue, db, keys) = (&site.queue, &site.db, site.keys.clone());
        let new = NewKey { name: "a".into(), ..NewKey::default() };
        let (token, _) = keys.create(new, &Actor::cli(0)).await.unwrap();
        let caller = keys.verify(token.text().reveal(), None).await.unwrap().caller;
        let allowance = keys.allowance(&caller);
        let send = async |route: &str, to: u32, pages: u32| {
            let new = fax(&caller, allowance.clone(), route, to, pages);
            match queue.submit(new, |job| (202, job.id.to_string())).await {
                Ok(Submitted::New { body, .. }) => Ok(body.parse().unwrap()),
                Err(QueueError::Overspent(over)) => Err(over),
                other => panic!("{other:?}"),
            }
        };
        let first = send("line1", 0, 1).await.unwrap();
        for to in 100..119 {
            send("line1", to, 1).await.unwrap();
        }
        assert_eq!(send("line1", 119, 1).await, Err(Overspent::Destinations { most: 20 }));
        assert_eq!(send("line1", 100, 181).await, Err(Overspent::Pages { most: 200, left: 180 }));
        for to in 200..230 {
            send("simulator", to, 10).await.unwrap();
        }
        send("line1", 100, 180).await.unwrap();

        let is_known = |to| db.was_dialled(to, &["line1".into()]).unwrap();
        assert!(!is_known("+15005550000"));
        queue.start();
        let mut job = queue.get(first).unwrap().unwrap();
        while !job.state.is_final() {
            job = queue.wait_for_change(&job, Duration::from_secs(3600)).await.unwrap();
        }
        assert!(is_known("+15005550000") && !is_known("+15005550119"));
        assert!(!db.was_dialled("+15005550000", &["simulator".into()]).unwrap());
        queue.stop(Duration::ZERO).await;
    }

    #[tokio::test]
    async fn pages_that_turn_out_later_and_are_too_many_are_held() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path()).await;
        let (queue, keys) = (&site.queue, site.keys.clone());
        let new = NewKey { name: "a".into(), ..NewKey::default() };
        let (token, _) = keys.create(new, &Actor::cli(0)).await.unwrap();
        let caller = keys.verify(token.text().reveal(), None).await.unwrap().caller;
        let inner = &queue.inner;
        // (pages of the fax, what becomes of it); 200 a day, of which each takes one at first.
        for (pages, expected) in [(120, State::Queued), (81, State::Held), (79, State::Queued)] {
            let new = NewFax {
                content: Content::Documents(Vec::new()),
                ..fax(&caller, keys.allowance(&caller), "line1", 100, 0)
            };
            let (order, answer) =
                (Order { new, group: None, looks: Vec::new() }, |_: &Accepted| (202, String::new()));
            let (job, _) = inner.accept_sources(&order, vec!["text".into()], None, answer).await.unwrap();
            let page = FaxPage::from_bitmap(&Bitmap::white(1728, 10), Resolution::FINE);
            let pages = Converted { pages: vec![page; pages], kind: DocumentKind::Text };
            let conversion = tokio::spawn(async move { Ok(pages) });
            inner.attend_to_preparation(job.clone(), conversion);
            let job = queue.wait_for_change(&job, Duration::from_secs(1)).await.unwrap();
            assert_eq!((job.state, job.sources.len()), (expected, 0));
            let human = job.outcome.map(|outcome| outcome.human);
            let held =
                "The fax has too many pages or is too large. It is held until an administrator releases it.";
            assert_eq!(human.as_deref(), (expected == State::Held).then_some(held));
        }
    }
}
