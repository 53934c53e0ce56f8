//! One appliance's queue, whose lines and time a test decides.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use pagewire::auth::{self, KeyRing};
use pagewire::clock::Clock;
use pagewire::codec::page::{FaxPage, Resolution};
use pagewire::codec::raster::Bitmap;
use pagewire::convert::{Converter, Options, Quality, Settings};
use pagewire::db::{self, Db};
use pagewire::fax::attempt::Attempt;
use pagewire::fax::job::{Job, Priority};
use pagewire::fax::retention::Rules;
use pagewire::id::{AccountId, JobId};
use pagewire::inbound::Inbox;
use pagewire::queue::{Content, Line, NewFax, Parts, Queue, QueueError, Submitted};
use pagewire::sealing::Sealing;
use pagewire::spool::Spool;

use super::LONG;

pub fn start() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

/// One appliance's queue in a folder that may outlive it.
pub struct Site {
    pub clock: Clock,
    pub db: Db,
    pub inbox: Inbox,
    pub queue: Queue,
}

impl Site {
    pub async fn open(folder: &Path, now: Timestamp) -> Self {
        Self::open_at(folder, Clock::starting_at(now)).await
    }

    pub async fn open_at(folder: &Path, clock: Clock) -> Self {
        Self::open_with(folder, clock, Queue::open).await
    }

    /// With these ways out alone.
    pub async fn open_on(folder: &Path, now: Timestamp, lines: Vec<Line>) -> Self {
        Self::open_with(folder, Clock::starting_at(now), |parts| Queue::open_on(parts, lines)).await
    }

    async fn open_with<Opening>(folder: &Path, clock: Clock, open: impl FnOnce(Parts) -> Opening) -> Self
    where
        Opening: Future<Output = Result<Queue, QueueError>>,
    {
        let db = Db::open(&db::file_in(folder)).unwrap();
        let sealing = Sealing::open(db.clone(), &folder.join("keys"), clock.clone()).await.unwrap();
        let seal = sealing.seal().unwrap();
        db.start_audit(&seal.audit_key());
        let spool = Spool::open(&folder.join("spool"), seal.clone()).unwrap();
        let settings = auth::Settings::default();
        let keys = KeyRing::load(db.clone(), Ok(seal), clock.clone(), settings).await.unwrap();
        let inbox = Inbox::new(db.clone(), spool.clone(), clock.clone());
        // These tests submit pages that are ready, so no worker is ever started.
        let converter = Converter::new(Settings {
            executable: PathBuf::from("/nonexistent"),
            workers: 1,
            wall_clock: Duration::from_secs(1),
            max_pages: 10,
            require_sandbox: true,
            font_dirs: Vec::new(),
        });
        let parts = Parts {
            db: db.clone(),
            spool,
            clock: clock.clone(),
            converter,
            inbox: inbox.clone(),
            keys,
            station_id: "TEST SITE".into(),
            policy: Default::default(),
            rules: Rules { stop_sends_percent: 100, ..Rules::default() },
        };
        let queue = open(parts).await.unwrap();
        Self { clock, db, inbox, queue }
    }

    pub async fn submit(&self, new: NewFax) -> JobId {
        match self.queue.submit(new, |job| (202, job.id.to_string())).await.unwrap() {
            Submitted::New { status: 202, body } => body.parse().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub fn job(&self, id: JobId) -> Job {
        self.queue.get(id).unwrap().unwrap()
    }

    /// The job once `is_there` holds, letting the clock run.
    pub async fn until(&self, id: JobId, is_there: impl Fn(&Job) -> bool) -> Job {
        let mut job = self.job(id);
        while !is_there(&job) {
            assert!(!job.state.is_final(), "{job:?}");
            job = self.queue.wait_for_change(&job, LONG).await.unwrap();
        }
        job
    }

    pub async fn end_of(&self, id: JobId) -> (Job, Vec<Attempt>) {
        let job = self.until(id, |job| job.state.is_final()).await;
        (job, self.queue.attempts(id).await.unwrap())
    }
}

pub fn pages(count: u32) -> Vec<FaxPage> {
    (0..count).map(|n| FaxPage::from_bitmap(&Bitmap::white(1728, 100 + n), Resolution::FINE)).collect()
}

pub fn fax(to: &str, route: &str, page_count: u32) -> NewFax {
    NewFax {
        owner: AccountId::new(),
        key_id: None,
        to_raw: to.into(),
        to: to.parse().unwrap(),
        route: route.into(),
        content: Content::Pages(pages(page_count)),
        source_sha256: "07".repeat(32),
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
