//! The fax queue: from an accepted job to its end.
//!
//! Owns: taking jobs in ([`submit`]), several at once ([`group`]), preparing their documents ([`prepare`]), choosing and placing
//! calls ([`dispatch`], [`call`]), which numbers these may go to ([`policy`]) and which somebody looks at first ([`second_look`]), when none may begin
//! ([`hold`]), what people change of a fax ([`alter`]), closing what a stop left open ([`recover`]),
//! deleting what is over ([`retention`]), accounting for the rest ([`reconcile`]), and the questions others may ask about jobs. Refuses: to keep a job's state anywhere but in the
//! database; what is in memory is only who attends to what at this moment.
//!
//! Invariants: a job that was accepted is on disk, document first. One call per destination at a
//! time. Whatever happens, each job is moved by one transaction at a time and ends in one final
//! state; the work is done by reconcilers that may be started again at any point.

mod alter;
mod call;
mod dispatch;
mod group;
mod hold;
mod idempotency;
mod policy;
mod prepare;
mod preview;
mod reconcile;
mod recover;
mod retention;
mod routes;
mod second_look;
mod submit;
mod tuning;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::{AbortHandle, JoinHandle};

pub use self::group::GroupState;
pub use self::hold::DiallingState;
pub use self::idempotency::Idempotency;
pub use self::policy::Foreseen;
pub use self::preview::{Draft, Previewed};
pub use self::reconcile::Accounts;
pub use self::retention::{Cleaned, KindState, StorageState};
pub use self::routes::RouteState;
pub use self::submit::{Content, NewFax, Submitted};
pub use self::tuning::Tuning;
use crate::access::audit::{Action, Context};
use crate::auth::KeyRing;
use crate::auth::limits::Overspent;
use crate::clock::{Clock, Wake};
use crate::codec::compatible::compatible;
use crate::codec::page::FaxPage;
use crate::codec::{t6, tiff};
use crate::convert::{ConvertError, Converter};
use crate::crash::{self, Step};
pub use crate::db::jobs::{JobPage, ListFilter, Position};
use crate::db::{Db, DbError};
use crate::events::Changes;
use crate::fax::attempt::{Attempt, TraceEntry};
use crate::fax::destination::Memory;
use crate::fax::job::{Job, State};
use crate::fax::number::FaxNumber;
use crate::fax::policy::{self as numbers, Block};
use crate::fax::retention::Rules;
use crate::fax::sentences;
use crate::fax::transition::Moved;
use crate::id::{AccountId, AttemptId, DocumentId, GroupId, JobId};
use crate::inbound::Inbox;
use crate::route::loopback::Loopback;
use crate::route::simulator::Simulator;
use crate::route::{EndEarly, HangUp, Route};
use crate::spool::{Spool, SpoolError};

/// Calls at the same time through loopback: enough to share each disk sync among several.
const LOOPBACK_CALLS: u32 = 16;
/// Calls at the same time through a simulator, which only waits.
const SIMULATED_CALLS: u32 = 32;

/// What can go wrong in the queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The database refused.
    #[error("the queue's records cannot be read or written")]
    Db(#[from] DbError),
    /// The spool refused.
    #[error("the queue's documents cannot be read or written")]
    Spool(#[from] SpoolError),
    /// The document cannot be turned into a fax.
    #[error("the document was not converted")]
    Convert(#[from] ConvertError),
    /// The stored pages do not read back.
    #[error("the stored pages are damaged")]
    Damaged(#[from] tiff::TiffError),
    /// A stored page cannot be decoded, to be made again in another form.
    #[error("a stored page cannot be made again")]
    Undecodable(#[from] t6::DecodeError),
    /// The key has spent what it may in a day.
    #[error(transparent)]
    Overspent(#[from] Overspent),
    /// The number may not be dialled.
    #[error("{}", sentences::refused_number(.0))]
    Blocked(Block),
    /// Some of the numbers of a group, as the client wrote them, may not be dialled.
    #[error("{} of the numbers are not allowed from here", .0.len())]
    SomeBlocked(Vec<(String, Block)>),
    /// The key has not so many new numbers left as these of a group, as the client wrote them.
    #[error("{over}")]
    TooManyNew {
        /// What is used up.
        over: Overspent,
        /// The new numbers.
        numbers: Vec<String>,
    },
    /// The disk is too full for more faxes to be sent.
    #[error("the disk is too full for new faxes")]
    NoRoom,
    /// There is no route of this name.
    #[error("there is no route named {0}")]
    NoSuchRoute(String),
}

/// Why a fax is not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// It has ended, in this state.
    #[error("the fax is {0} already")]
    TooLate(State),
    /// The queue failed.
    #[error("the fax could not be cancelled")]
    Queue(#[from] QueueError),
}

impl From<DbError> for CancelError {
    fn from(error: DbError) -> Self {
        Self::Queue(error.into())
    }
}

/// What a queue works with.
pub struct Parts {
    /// The database.
    pub db: Db,
    /// The documents.
    pub spool: Spool,
    /// The time.
    pub clock: Clock,
    /// Documents to fax pages.
    pub converter: Converter,
    /// Where loopback delivers.
    pub inbox: Inbox,
    /// What keys may spend.
    pub keys: KeyRing,
    /// What we call ourselves to other machines (TSI).
    pub station_id: String,
    /// What the configuration says about dialling.
    pub policy: numbers::Settings,
    /// How long faxes are kept, and how full the disk may get.
    pub rules: Rules,
}

/// The fax queue of one appliance. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

/// One way out.
pub struct Line {
    /// What places the calls.
    pub route: Box<dyn Route>,
    /// Calls at the same time, unless the configuration has another number.
    pub most_calls: u32,
}

struct Inner {
    db: Db,
    spool: Spool,
    clock: Clock,
    converter: Converter,
    keys: KeyRing,
    tuning: RwLock<Tuning>,
    lines: Vec<Line>,
    changes: Changes,
    /// Calls the dispatcher to look at the queue.
    wake: Wake,
    /// Calls whoever waits in [`Queue::stop`] when a call has ended.
    idle: Wake,
    is_stopping: AtomicBool,
    /// Whether other hours hold than those that faxes were put to sleep by.
    hours_changed: AtomicBool,
    calls: Mutex<HashMap<AttemptId, CallUnderWay>>,
    preparing: Mutex<HashMap<Unprepared, Option<AbortHandle>>>,
    answering: idempotency::InFlight,
    /// Held by who deletes.
    cleaning: tokio::sync::Mutex<()>,
    /// Held by who accounts for everything.
    reconciling: tokio::sync::Mutex<()>,
    /// How long the appliance was down before it started, in seconds.
    down_s: AtomicI64,
    dispatcher: Mutex<Option<JoinHandle<()>>>,
}

/// What waits for its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unprepared {
    Fax(JobId),
    /// All its faxes get the same pages.
    Group(GroupId),
}

impl From<&Job> for Unprepared {
    fn from(job: &Job) -> Self {
        job.group.map_or(Self::Fax(job.id), Self::Group)
    }
}

/// A call that a task of this process attends to.
struct CallUnderWay {
    job: JobId,
    route: String,
    hang_up: Arc<HangUp>,
    task: Option<AbortHandle>,
}

impl Queue {
    /// Opens the queue and closes what the last stop left open. Nothing is dialled before
    /// [`Queue::start`].
    pub async fn open(parts: Parts) -> Result<Self, QueueError> {
        let simulated = |simulator| Line { route: Box::new(simulator), most_calls: SIMULATED_CALLS };
        let mut lines: Vec<_> = Simulator::all().map(simulated).collect();
        let loopback = Loopback::new(parts.inbox.clone());
        lines.push(Line { route: Box::new(loopback), most_calls: LOOPBACK_CALLS });
        Self::open_on(parts, lines).await
    }

    /// Opens the queue with these ways out instead of the simulator and the loopback.
    pub async fn open_on(parts: Parts, lines: Vec<Line>) -> Result<Self, QueueError> {
        let Parts { db, spool, clock, converter, inbox: _, keys, station_id, policy, rules } = parts;
        let inner = Inner {
            changes: Changes::new(&clock),
            wake: Wake::new(&clock),
            idle: Wake::new(&clock),
            db,
            spool,
            clock,
            converter,
            keys,
            tuning: RwLock::new(Tuning { station_id, policy, rules }),
            lines,
            is_stopping: AtomicBool::new(false),
            hours_changed: AtomicBool::new(true),
            calls: Mutex::default(),
            preparing: Mutex::default(),
            answering: idempotency::InFlight::default(),
            cleaning: tokio::sync::Mutex::default(),
            reconciling: tokio::sync::Mutex::default(),
            down_s: AtomicI64::default(),
            dispatcher: Mutex::default(),
        };
        let queue = Self { inner: Arc::new(inner) };
        queue.inner.recover().await?;
        Ok(queue)
    }

    /// Names of the routes a job may take.
    pub fn routes(&self) -> impl Iterator<Item = &str> {
        self.inner.lines.iter().map(|line| line.route.name())
    }

    /// The job with this id.
    pub fn get(&self, id: JobId) -> Result<Option<Job>, QueueError> {
        Ok(self.inner.db.job(id)?)
    }

    /// One page of at most `limit` jobs, newest first. Of the filter's `number_prefix` only the
    /// digits count.
    pub async fn list(
        &self,
        mut filter: ListFilter,
        start: Position,
        limit: u32,
    ) -> Result<JobPage, QueueError> {
        filter.number_prefix = filter.number_prefix.map(|text| FaxNumber::prefix(&text));
        Ok(self.inner.db.list_jobs(filter, start, limit).await?)
    }

    /// All dials of a job, in order.
    pub async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, QueueError> {
        Ok(self.inner.db.attempts(id).await?)
    }

    /// What is remembered of a number; of this account's calls alone, or of all.
    pub async fn destination(&self, to: &FaxNumber, owner: Option<AccountId>) -> Result<Memory, QueueError> {
        Ok(self.inner.db.destination(to.clone(), owner, self.inner.clock.now()).await?)
    }

    /// The T.30 ladder of a job's dial with this number, from 1; `None` when there is none.
    pub async fn trace(&self, id: JobId, number: u32) -> Result<Option<Vec<TraceEntry>>, QueueError> {
        Ok(self.inner.db.trace(id, number).await?)
    }

    /// The pages of a job, exactly as they are transmitted; none while it is preparing.
    pub async fn pages(&self, job: &Job) -> Result<Vec<FaxPage>, QueueError> {
        self.inner.pages(job).await
    }

    /// The job as soon as its state differs from that of `known`; as it then is, after `wait`.
    pub async fn wait_for_change(&self, known: &Job, wait: Duration) -> Result<Job, QueueError> {
        let inner = &self.inner;
        let mut work = inner.clock.work();
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
        let until = inner.clock.now().checked_add(wait).unwrap_or(Timestamp::MAX);
        let watch = inner.changes.watch(known.id);
        loop {
            let job = inner.db.job(known.id)?.ok_or(DbError::Conflict)?;
            if job.state != known.state || job.state.is_final() || inner.clock.now() >= until {
                return Ok(job);
            }
            watch.changed(&mut work, until).await;
        }
    }

    /// Cancels a job on behalf of `by`: at once, or, when a call is under way, by ending that; the
    /// answer shows which. A call whose last page is confirmed first still counts as delivered.
    pub async fn cancel(&self, id: JobId, by: &Context) -> Result<Job, CancelError> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let cancelled = by.event(Action::FaxCancelled, id, now);
        let by = by.actor.clone();
        let moved = inner
            .db
            .audited(cancelled)
            .move_job(id, move |stage| stage.cancel(&by, now))
            .await?
            .map_err(CancelError::TooLate)?;
        crash::after(Step::CancelStored);
        inner.moved(id, moved.freed()).await;
        if moved.job().state.is_calling() {
            inner.ask_to_hang_up(id, EndEarly::Cancelled);
        }
        Ok(moved.into_job())
    }

    /// Tells those who wait for these jobs that somebody else moved them, and looks at what can be
    /// dialled in their place.
    pub fn moved_elsewhere(&self, ids: &[JobId]) {
        ids.iter().for_each(|id| self.inner.changes.tell(*id));
        self.inner.call_dispatcher();
    }

    /// Whether documents can be stored and read back at this moment.
    pub async fn check_spool(&self) -> Result<(), SpoolError> {
        let probe = self.inner.spool.put(b"probe".to_vec()).await?;
        let read = self.inner.spool.get(probe).await;
        self.inner.spool.delete(probe).await?;
        read.map(|_| ())
    }
}

impl Inner {
    async fn stored_pages(&self, document: DocumentId) -> Result<Vec<FaxPage>, QueueError> {
        Ok(tiff::read(&self.spool.get(document).await?)?)
    }

    /// The pages of a job as they are sent; none while it is preparing.
    async fn pages(&self, job: &Job) -> Result<Vec<FaxPage>, QueueError> {
        let Some(document) = job.document else { return Ok(Vec::new()) };
        let pages = self.stored_pages(document).await?;
        if !job.is_reimaged {
            return Ok(pages);
        }
        let again = move || pages.iter().map(compatible).collect::<Result<Vec<_>, _>>();
        match tokio::task::spawn_blocking(again).await {
            Ok(pages) => Ok(pages?),
            Err(error) => Err(ConvertError::Internal(error.to_string()).into()),
        }
    }

    /// After a move is on disk: deletes what it freed, tells who waits, and has the dispatcher look.
    async fn moved(&self, id: JobId, freed: &[DocumentId]) {
        self.delete_freed(freed).await;
        self.changes.tell(id);
        self.call_dispatcher();
    }

    /// The same for several moves of one transaction.
    async fn all_moved(&self, all: &[Moved]) {
        let freed: HashSet<DocumentId> = all.iter().flat_map(Moved::freed).copied().collect();
        self.delete_freed(&freed.into_iter().collect::<Vec<_>>()).await;
        all.iter().for_each(|moved| self.changes.tell(moved.job().id));
        self.call_dispatcher();
    }

    /// Has the dispatcher look at the queue; nobody does once it stops.
    fn call_dispatcher(&self) {
        if !self.is_stopping.load(Ordering::Acquire) {
            self.wake.call();
        }
    }

    /// Deletes those documents that a job has freed and no other job of its group still has. Names of
    /// a document only ever go, so that of two jobs that free it the later one finds it nameless.
    async fn delete_freed(&self, freed: &[DocumentId]) {
        if freed.is_empty() {
            return;
        }
        match self.db.documents_in_use(freed) {
            Ok(in_use) => {
                let gone: Vec<_> = freed.iter().filter(|id| !in_use.contains(id)).copied().collect();
                self.delete_documents(&gone).await;
            }
            Err(error) => log::warn!("documents that may be free stay until the next start: {error}"),
        }
    }

    /// Deletes documents that no row names any more; one that stays is an orphan, and the next
    /// start sweeps it.
    async fn delete_documents(&self, documents: &[DocumentId]) {
        for &document in documents {
            if let Err(error) = self.spool.delete(document).await {
                log::warn!("document {document} stays until the next start: {error}");
            }
        }
    }

    fn ask_to_hang_up(&self, id: JobId, why: EndEarly) {
        for call in lock(&self.calls).values().filter(|call| call.job == id) {
            call.hang_up.ask(why);
        }
    }

    /// What is being prepared by a task of this process.
    fn in_preparation(&self) -> HashSet<Unprepared> {
        lock(&self.preparing).keys().copied().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
