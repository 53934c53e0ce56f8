//! The audit log at work: verification, retention, and the heads told to the journal.
//!
//! Owns: walking through the log without holding the writer up, removing what is older than the
//! retention, and the rhythm of `audit head` lines. Rows are written by the changes themselves
//! ([`crate::db::audit`]); how they are linked stands in [`crate::access::audit::chain`].
//!
//! What a verification proves: nobody without the audit key changed, removed or inserted a row that
//! still should be there. Root on the machine can read that key and make a new chain, and anybody
//! who can write the database file can put back an older copy of the whole; both show only against
//! a head that was kept elsewhere.

mod certificates;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use crate::access::audit::chain::{Acceptance, Anchor, Fault, Known, Mark, MarkName, Place, Row, Verifier};
use crate::access::audit::{Action, Context, Snapshot, Target};
use crate::clock::Clock;
use crate::db::audit::{AuditFilter, Pruned};
use crate::db::{Db, DbError};
use crate::fax::event::Event;

/// Rows looked at between two pauses of a verification or an export.
pub const PAGE_ROWS: u32 = 500;
/// Rows removed in one transaction: a few milliseconds of the writer's time.
const PRUNE_ROWS: u32 = 1000;
/// How often the head is told at least.
const HEAD_EVERY: Duration = Duration::from_secs(3600);
/// How often the whole log is verified, beside when somebody asks.
const VERIFY_EVERY: Duration = Duration::from_secs(24 * 3600);
/// After a start the first verification waits, so that nobody waits for it.
const FIRST_VERIFY: Duration = Duration::from_secs(600);
/// How often old rows are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Why a question about the log has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Another verification is under way.
    #[error("the audit log is being verified already")]
    Busy,
    /// There is no damage to accept.
    #[error("the audit log is whole, or its damage was accepted already; there is nothing to accept")]
    NotDamaged,
    /// The database refused.
    #[error("the audit log cannot be read")]
    Db(#[from] DbError),
}

/// What an anchor was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnchorFound {
    /// The row has the noted hash.
    Matches,
    /// The row was there once and is pruned; nothing can be said of it any more.
    Pruned,
    /// The row is missing or has another hash.
    Differs,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Rows that are whole.
    pub rows: u64,
    /// The last of them.
    pub head: Place,
    /// What was pruned last.
    pub checkpoint: Option<Mark>,
    /// What the anchor was found to be; `None` without one, and when damage stopped the
    /// verification before it.
    pub anchor: Option<AnchorFound>,
    /// Damage that somebody took note of; the rows in it prove nothing.
    pub known: Vec<Known>,
    /// The first thing that is wrong, beside that.
    pub fault: Option<Fault>,
}

/// What the last verification of the whole log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// When.
    pub at: Timestamp,
    /// The first thing that is wrong.
    pub fault: Option<Fault>,
}

/// The audit log of one appliance. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit {
    db: Db,
    clock: Clock,
    retention_days: Arc<AtomicU32>,
    verifying: Arc<Semaphore>,
    verified: Arc<Mutex<Option<Verified>>>,
}

impl Audit {
    /// The log in this database, whose rows are kept for so many days.
    pub fn new(db: Db, clock: Clock, retention_days: u32) -> Self {
        let retention_days = Arc::new(AtomicU32::new(retention_days));
        Self { db, clock, retention_days, verifying: Arc::new(Semaphore::new(1)), verified: Arc::default() }
    }

    /// At most `limit` rows that match, newest first, with numbers below `before`.
    pub async fn list(
        &self,
        filter: AuditFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Row>, AuditError> {
        Ok(self.db.audit_list(filter, before, limit).await?)
    }

    /// The row with this number.
    pub fn row(&self, seq: i64) -> Result<Option<Row>, AuditError> {
        Ok(self.db.audit_row(seq)?)
    }

    /// The next rows after `after`, oldest first, [`PAGE_ROWS`] at most.
    pub async fn page(&self, after: Option<i64>) -> Result<Vec<Row>, AuditError> {
        Ok(self.db.audit_page(after, PAGE_ROWS).await?.rows)
    }

    /// Keeps rows for so many days from now on.
    pub fn keep_for(&self, retention_days: u32) {
        self.retention_days.store(retention_days, Ordering::Relaxed);
    }

    /// What the last verification found; none in this run, nothing.
    pub fn last_verified(&self) -> Option<Verified> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at every row, while others go on being written, and compares with `anchor`.
    pub async fn verify(&self, anchor: Option<Anchor>) -> Result<Report, AuditError> {
        let at = self.clock.now();
        let report = self.look_at_all(anchor).await?;
        // A wrong anchor says something about the anchor, too.
        let about_rows =
            |fault: &Fault| !matches!(fault, Fault::AnchorDiffers { .. } | Fault::AnchorBeyond { .. });
        let fault = report.fault.clone().filter(about_rows);
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(Verified { at, fault });
        Ok(report)
    }

    async fn look_at_all(&self, anchor: Option<Anchor>) -> Result<Report, AuditError> {
        let _only_one = self.verifying.try_acquire().map_err(|_| AuditError::Busy)?;
        let key = self.db.audit_key()?;
        let accepted = self.db.audit_accepted().await?;
        let mut verifier = Verifier::new(&key, Place::BEGINNING, anchor).accepting(accepted);
        let mut after = None;
        loop {
            let page = self.db.audit_page(after, PAGE_ROWS).await?;
            let begins_at = page.rows.first().map_or(1, |row| row.seq);
            let forged = page.checkpoint.as_ref().filter(|mark| !mark.is_genuine(&key, MarkName::Checkpoint));
            let fault = match (&page.checkpoint, forged) {
                // Once it was excused, the rows are looked at from behind the damage on.
                (_, Some(_)) if verifier.given_up() >= begins_at => None,
                (_, Some(_)) => verifier.excuse(Fault::Checkpoint { first: begins_at }).err(),
                (Some(mark), None) => {
                    // Also when rows were pruned since the page before.
                    verifier.skip_to(mark.place);
                    None
                }
                (None, None) => None,
            };
            let fault = fault.or_else(|| page.rows.iter().find_map(|row| verifier.take(row).err()));
            after = page.rows.last().map(|row| row.seq);
            let is_last = page.rows.len() < PAGE_ROWS as usize;
            let fault = fault.or_else(|| {
                let head = page.head.filter(|mark| mark.is_genuine(&key, MarkName::Head));
                is_last.then(|| verifier.end(head.map(|mark| mark.place)).err()).flatten()
            });
            if is_last || fault.is_some() {
                let known = verifier.known().to_vec();
                let found =
                    anchor.and_then(|anchor| found(anchor, page.checkpoint.as_ref(), &known, fault.as_ref()));
                return Ok(Report {
                    known,
                    rows: verifier.rows(),
                    head: verifier.last(),
                    checkpoint: page.checkpoint,
                    anchor: found,
                    // A pruned anchor's hash can still be compared while it is the checkpoint's.
                    fault: fault.or_else(|| match found {
                        Some(AnchorFound::Differs) => {
                            anchor.map(|anchor| Fault::AnchorDiffers { seq: anchor.seq })
                        }
                        _ => None,
                    }),
                });
            }
            // Requests first: a page is a few milliseconds of work.
            tokio::task::yield_now().await;
        }
    }

    /// Takes note of the damage there is: the rows from the first wrong one up to now prove nothing
    /// any more, which the log itself says from then on, and are pruned when they are old enough.
    /// Answers where the log goes on.
    pub async fn accept_damage(&self, reason: String, by: &Context) -> Result<Place, AuditError> {
        let fault = self.verify(None).await?.fault.ok_or(AuditError::NotDamaged)?;
        let told = Snapshot::new().with(Acceptance::FROM, fault.seq()).with("problem", fault.to_string());
        let now = self.clock.now();
        let event = by.event(Action::AuditDamageAccepted, Target::new("audit", "log"), now);
        self.db.audited(event.after(told).reason(Some(reason))).record().await?;
        log::warn!("damage of the audit log was accepted by {}: {fault}", by.actor);
        Ok(self.db.audit_head().await?)
    }

    /// Removes the rows that are older than the retention; answers how many.
    pub async fn prune(&self) -> Result<u64, AuditError> {
        let now = self.clock.now();
        let days = self.retention_days.load(Ordering::Relaxed);
        let cutoff =
            now.checked_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MIN);
        let mut removed = 0;
        loop {
            match self.db.prune_audit(cutoff, PRUNE_ROWS, now).await? {
                Pruned::Rows(rows) => {
                    removed += rows;
                    if rows < u64::from(PRUNE_ROWS) {
                        return Ok(removed);
                    }
                }
                Pruned::Kept(fault) => {
                    log::error!("old rows of the audit log are kept as evidence: {fault}");
                    return Ok(removed);
                }
            }
        }
    }

    /// Tells the journal where the log ends; such a line, kept off the machine, is an anchor.
    pub async fn tell_head(&self) {
        self.head(&tell).await;
    }

    /// Tells the head every hour and every thousand rows, for ever.
    pub async fn tell_heads(self) {
        self.heads(tell).await;
    }

    /// Prunes once a day, for ever.
    pub async fn keep_pruned(self) {
        let mut work = self.clock.work();
        loop {
            match self.prune().await {
                Ok(0) => {}
                Ok(rows) => log::info!("{rows} old rows of the audit log were pruned"),
                Err(error) => log::warn!("the audit log was not pruned: {error}"),
            }
            work.sleep(PRUNE_EVERY).await;
        }
    }

    /// Verifies the whole log once a day, for ever.
    pub async fn keep_verified(self) {
        let mut work = self.clock.work();
        work.sleep(FIRST_VERIFY).await;
        loop {
            match self.verify(None).await {
                Ok(Report { fault: Some(fault), .. }) => {
                    log::error!("the audit log is damaged: {fault}");
                    let event = Event::audit_damaged(&fault.to_string(), self.clock.now());
                    if let Err(error) = self.db.tell(event).await {
                        log::warn!("that was not noted among the events: {error}");
                    }
                }
                Ok(_) | Err(AuditError::Busy) => {}
                Err(error) => log::warn!("the audit log was not verified: {error}"),
            }
            work.sleep(VERIFY_EVERY).await;
        }
    }

    async fn heads(self, tell: impl Fn(Place)) {
        let mut work = self.clock.work();
        loop {
            tokio::select! {
                () = work.sleep(HEAD_EVERY) => {}
                () = self.db.audit_grew() => {}
            }
            self.head(&tell).await;
        }
    }

    async fn head(&self, tell: &impl Fn(Place)) {
        match self.db.audit_head().await {
            Ok(head) => tell(head),
            Err(error) => log::warn!("the head of the audit log was not read: {error}"),
        }
    }
}

fn tell(head: Place) {
    log::info!("audit head seq={} hash={}", head.seq, head.hash);
}

/// What a verification that ended with `fault` says of its anchor.
fn found(
    anchor: Anchor,
    checkpoint: Option<&Mark>,
    known: &[Known],
    fault: Option<&Fault>,
) -> Option<AnchorFound> {
    let is_in_known = known.iter().any(|known| (known.fault.seq()..=known.through).contains(&anchor.seq));
    match (checkpoint, fault) {
        (_, Some(Fault::AnchorDiffers { .. } | Fault::AnchorBeyond { .. })) => Some(AnchorFound::Differs),
        _ if is_in_known => None,
        (_, Some(fault)) if fault.seq() <= anchor.seq => None,
        (Some(mark), _) if anchor.seq == mark.place.seq && anchor.hash != mark.place.hash => {
            Some(AnchorFound::Differs)
        }
        (Some(mark), _) if anchor.seq < mark.place.seq => Some(AnchorFound::Pruned),
        _ => Some(AnchorFound::Matches),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::audit::AuditEvent;
    use crate::access::audit::chain::Hash;
    use crate::secret::Secret;

    fn open() -> (tempfile::TempDir, Audit, Clock) {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&crate::db::file_in(folder.path())).unwrap();
        db.start_audit(&Secret::new([9; 32]));
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        (folder, Audit::new(db, clock.clone(), 365), clock)
    }

    fn event(clock: &Clock) -> AuditEvent {
        Context::system().event(Action::SettingsChanged, Target::new("test", "x"), clock.now())
    }

    async fn add(audit: &Audit, rows: usize) {
        let more = (1..rows).map(|_| event(&audit.clock));
        audit.db.audited(event(&audit.clock)).and(more).record().await.unwrap();
    }

    #[tokio::test]
    async fn verifies_page_by_page_and_knows_a_pruned_anchor() {
        let (_folder, audit, clock) = open();
        assert_eq!(audit.verify(None).await.unwrap().fault, None, "an empty log is whole");
        add(&audit, PAGE_ROWS as usize * 2).await;
        let early = audit.row(7).unwrap().unwrap().place();
        let head = audit.db.audit_head().await.unwrap();
        let report = audit.verify(Some(early)).await.unwrap();
        assert_eq!((report.rows, report.head, report.fault), (1000, head, None));
        assert_eq!(report.anchor, Some(AnchorFound::Matches));
        let other = Place { hash: Hash::ZERO, ..early };
        let report = audit.verify(Some(other)).await.unwrap();
        assert_eq!(
            (report.anchor, report.fault),
            (Some(AnchorFound::Differs), Some(Fault::AnchorDiffers { seq: 7 }))
        );

        clock.work().sleep(Duration::from_secs(366 * 24 * 3600)).await;
        add(&audit, 1).await;
        assert_eq!(audit.prune().await.unwrap(), 1000);
        assert_eq!(audit.prune().await.unwrap(), 0);
        for (anchor, expected) in [
            (early, AnchorFound::Pruned),
            (head, AnchorFound::Matches),
            (Place { hash: Hash::ZERO, ..head }, AnchorFound::Differs),
        ] {
            let report = audit.verify(Some(anchor)).await.unwrap();
            assert_eq!((report.rows, report.anchor), (2, Some(expected)), "{anchor:?}");
            assert_eq!(report.fault.is_some(), expected == AnchorFound::Differs);
        }
    }

    #[tokio::test]
    async fn damage_is_told_every_day() {
        let (_folder, audit, clock) = open();
        add(&audit, 9).await;
        let daily = tokio::spawn(audit.clone().keep_verified());
        let mut work = clock.work();
        work.sleep(FIRST_VERIFY * 2).await;
        let told = async || {
            let events = audit.db.events_after(0, 10).await.unwrap();
            events
                .into_iter()
                .map(|logged| (logged.event.kind, logged.event.data["problem"].clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(told().await, []);
        audit.db.lose_audit_row(5).await;
        work.sleep(VERIFY_EVERY * 2).await;
        let missing = Fault::Missing { first: 5, last: 5 }.to_string();
        assert_eq!(told().await, vec![("audit.damaged".to_owned(), missing.into()); 2]);
        daily.abort();
    }

    #[tokio::test]
    async fn one_verification_at_a_time() {
        let (_folder, audit, _) = open();
        let _busy = audit.verifying.try_acquire().unwrap();
        assert!(matches!(audit.verify(None).await, Err(AuditError::Busy)));
    }

    #[tokio::test]
    async fn rows_written_and_pruned_meanwhile_disturb_no_verification() {
        let (_folder, audit, clock) = open();
        add(&audit, 3000).await;
        clock.work().sleep(Duration::from_secs(366 * 24 * 3600)).await;
        let (writer, pruner) = (audit.clone(), audit.clone());
        let writing = tokio::spawn(async move {
            for _ in 0..50 {
                add(&writer, 20).await;
            }
        });
        let pruning = tokio::spawn(async move { pruner.prune().await.unwrap() });
        for _ in 0..20 {
            assert_eq!(audit.verify(None).await.unwrap().fault, None);
        }
        writing.await.unwrap();
        assert_eq!(pruning.await.unwrap(), 3000);
        assert_eq!(audit.verify(None).await.unwrap().fault, None);
    }

    #[tokio::test]
    async fn heads_are_told_every_hour_and_every_thousand_rows() {
        let (_folder, audit, clock) = open();
        let mut work = clock.work();
        let told: Arc<Mutex<Vec<(Timestamp, i64)>>> = Arc::default();
        let (noted, at) = (told.clone(), clock.clone());
        let heads =
            tokio::spawn(audit.clone().heads(move |head| noted.lock().unwrap().push((at.now(), head.seq))));
        let start = clock.now();
        add(&audit, 999).await;
        work.sleep(Duration::from_secs(3601)).await;
        let hour = start + SignedDuration::from_hours(1);
        assert_eq!(*told.lock().unwrap(), [(hour, 999)]);
        add(&audit, 2).await;
        while told.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(told.lock().unwrap()[1].1, 1001);
        heads.abort();
    }
}
