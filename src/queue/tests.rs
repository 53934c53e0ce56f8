//! An appliance's queue for the tests of its parts: real database and spool, virtual clock, and a
//! route that costs money as far as the queue can tell.

mod clock;
mod model;

use std::path::{Path, PathBuf};

use super::*;
use crate::auth::{self, KeyRing};
use crate::clock::Work;
use crate::codec::page::Resolution;
use crate::codec::raster::Bitmap;
use crate::convert::{Options, Quality, Settings};
use crate::db;
use crate::fax::attempt::CallEnd;
use crate::fax::group::Recipient;
use crate::fax::job::Priority;
use crate::fax::transition::Accepted;
use crate::route::{BoxFuture, Call, Settled};
use crate::seal::Seal;
use crate::sealing::Sealing;

/// Longer than anything here takes, in the site's own time.
const LONG: Duration = Duration::from_hours(100);

const SIMULATOR: Simulator = Simulator::FIRST;

/// The simulator, as if its calls cost money.
struct Line1;

impl Route for Line1 {
    fn name(&self) -> &str {
        "line1"
    }

    fn call<'a>(&'a self, call: Call, work: &'a mut Work) -> BoxFuture<'a, CallEnd> {
        SIMULATOR.call(call, work)
    }

    fn settle(&self, attempt: AttemptId, to: &FaxNumber) -> Settled {
        SIMULATOR.settle(attempt, to)
    }
}

/// One appliance's queue.
pub(super) struct Site {
    pub(super) clock: Clock,
    pub(super) db: Db,
    pub(super) queue: Queue,
    /// The API keys of the appliance.
    pub(super) keys: KeyRing,
    seal: Arc<Seal>,
    spool: PathBuf,
}

impl Site {
    pub(super) async fn open(folder: &Path, now: Timestamp, policy: numbers::Settings) -> Self {
        // Whatever else fills the disk of who runs the tests.
        let rules = Rules { stop_sends_percent: 100, ..Rules::default() };
        Self::open_with(folder, now, policy, rules).await
    }

    pub(super) async fn open_with(
        folder: &Path,
        now: Timestamp,
        policy: numbers::Settings,
        rules: Rules,
    ) -> Self {
        let clock = Clock::starting_at(now);
        let db = Db::open(&db::file_in(folder)).unwrap();
        let sealing = Sealing::open(db.clone(), &folder.join("keys"), clock.clone()).await.unwrap();
        let seal = sealing.seal().unwrap();
        db.start_audit(&seal.audit_key());
        let spool = Spool::open(&folder.join("spool"), seal.clone()).unwrap();
        let settings = auth::Settings::default();
        let keys = KeyRing::load(db.clone(), Ok(seal.clone()), clock.clone(), settings).await.unwrap();
        let inbox = Inbox::new(db.clone(), spool.clone(), clock.clone());
        let loopback = Loopback::new(inbox.clone());
        let parts = Parts {
            db: db.clone(),
            spool,
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
            inbox,
            keys: keys.clone(),
            station_id: String::new(),
            policy,
            rules,
        };
        let lines = vec![
            Line { route: Box::new(Line1), most_calls: 8 },
            Line { route: Box::new(SIMULATOR), most_calls: 8 },
            Line { route: Box::new(loopback), most_calls: 8 },
        ];
        let queue = Queue::open_on(parts, lines).await.unwrap();
        Self { clock, db, queue, keys, seal, spool: folder.join("spool") }
    }

    /// Ends all its tasks at once, as a power cut does.
    pub(super) fn cut_power(self) {
        let inner = &self.queue.inner;
        let tasks = lock(&inner.calls).drain().filter_map(|(_, call)| call.task).collect::<Vec<_>>();
        let dispatcher = lock(&inner.dispatcher).take().map(|task| task.abort_handle());
        tasks.into_iter().chain(dispatcher).for_each(|task| task.abort());
    }

    /// Sends one page over this route.
    pub(super) async fn send(&self, route: &str, to: &str) -> Result<JobId, QueueError> {
        self.send_by(route, to, None).await
    }

    /// Sends one page, to be given up at this time.
    pub(super) async fn send_by(
        &self,
        route: &str,
        to: &str,
        deadline_at: Option<Timestamp>,
    ) -> Result<JobId, QueueError> {
        let new = NewFax { deadline_at, ..Self::new_fax(route, to) };
        match self.queue.submit(new, |job| (202, job.id.to_string())).await? {
            Submitted::New { body, .. } => Ok(body.parse().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// A page to be sent over this route.
    pub(super) fn new_fax(route: &str, to: &str) -> NewFax {
        NewFax {
            owner: AccountId::new(),
            key_id: None,
            to_raw: to.into(),
            to: to.parse().unwrap(),
            route: route.into(),
            content: Content::Pages(vec![one_page()]),
            source_sha256: String::new(),
            options: Options { resolution: Resolution::FINE, quality: Quality::Text },
            priority: Priority::Normal,
            tag: None,
            resend_of: None,
            notify: None,
            schedule_at: None,
            deadline_at: None,
            hours: None,
            allowance: None,
            idempotency: None,
        }
    }

    /// Sends one page to all of these, as a group; the group and its faxes.
    pub(super) async fn send_group(&self, new: NewFax, to: &[&str]) -> (GroupId, Vec<JobId>) {
        let recipient = |to: &&str| Recipient { raw: (*to).into(), to: to.parse().unwrap() };
        let mut ids = None;
        let noted = |accepted: &Accepted| {
            let faxes = accepted.faxes.iter().map(|fax| fax.job().id).collect();
            ids = Some((accepted.group.as_ref().unwrap().id, faxes));
            (202, String::new())
        };
        let submitted = self.queue.submit_group(new, to.iter().map(recipient).collect(), noted).await;
        assert!(matches!(submitted, Ok(Submitted::New { .. })), "{submitted:?}");
        ids.unwrap()
    }

    /// Where faxes are received.
    pub(super) fn inbox(&self) -> Inbox {
        Inbox::new(self.db.clone(), self.spool(), self.clock.clone())
    }

    /// The documents.
    pub(super) fn spool(&self) -> Spool {
        Spool::open(&self.spool, self.seal.clone()).unwrap()
    }

    /// The files of the documents.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let entries = |folder: &Path| {
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        };
        entries(&self.spool).iter().flat_map(|day| entries(day)).collect()
    }

    /// The job as it stands.
    pub(super) fn job(&self, id: JobId) -> Job {
        self.queue.get(id).unwrap().unwrap()
    }

    /// The job once `is_there` holds, letting the clock run.
    pub(super) async fn until(&self, id: JobId, is_there: impl Fn(&Job) -> bool) -> Job {
        let mut job = self.job(id);
        while !is_there(&job) {
            assert!(!job.state.is_final(), "{job:?}");
            job = self.queue.wait_for_change(&job, LONG).await.unwrap();
        }
        job
    }

    /// How many documents are stored.
    pub(super) fn documents(&self) -> usize {
        self.files().len()
    }
}

/// A page.
pub(super) fn one_page() -> FaxPage {
    FaxPage::from_bitmap(&Bitmap::white(1728, 10), Resolution::FINE)
}

/// Who changes things.
pub(super) fn admin() -> Context {
    Context::cli(0)
}
