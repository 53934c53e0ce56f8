//! Room on the disk, and faxes whose time is over.
//!
//! Owns: refusing new faxes while the disk is too full, deleting ended ones as the rules say, and
//! telling how the disk stands. Refuses: to touch what has not ended; to delete for lack of room what
//! ended within a day, or anything at all when it is not faxes that fill the disk.
//!
//! Order of a deletion: one transaction removes the rows, dooms the documents and writes event and
//! audit row; then the files go; then the database forgets that they were doomed. A stop in between
//! leaves doomed documents, and the next round goes on with them. Batches are small, with pauses, so
//! that the writer is free for others most of the time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::reconcile::next_night;
use super::{Inner, Queue, QueueError};
use crate::access::audit::{Action, AuditEvent, Context, Snapshot, Target};
use crate::clock::Work;
use crate::db::{DbError, Deleted};
use crate::fax::event::Event;
use crate::fax::retention::{Because, EndedFax, EndedId, Kind, Level, Rules};
use crate::id::DocumentId;
use crate::inbound::ReceivedFax;
use crate::spool::Space;

/// Faxes deleted in one transaction: a few milliseconds of the writer's time.
const BATCH: u32 = 10;
/// Pause after each batch.
pub(super) const PAUSE: Duration = Duration::from_millis(10);
/// Files of deleted faxes looked for at a time, when an earlier run left some.
const LEFT_BEHIND: u32 = 100;
/// How often the room on the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often faxes are looked for whose time is over.
const ROUND_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// After so long a downtime people get as long again to see what had come before anything is deleted.
const LONG_DOWNTIME: SignedDuration = SignedDuration::from_hours(24);

/// How the store stands.
#[derive(Clone, Copy, Debug)]
pub struct StorageState {
    /// The disk.
    pub space: Space,
    /// What that is by the rules.
    pub level: Level,
    /// The rules.
    pub rules: Rules,
    /// Sent faxes.
    pub sent: KindState,
    /// Received faxes.
    pub received: KindState,
    /// Files of deleted faxes that are still there.
    pub doomed: u64,
}

/// How faxes of one kind stand.
#[derive(Clone, Copy, Debug)]
pub struct KindState {
    /// How many the next round deletes.
    pub due: u64,
    /// When the oldest one that may be deleted at all ended.
    pub oldest: Option<Timestamp>,
    /// When that one's time is over; `None` when such faxes are kept for ever.
    pub next_due: Option<Timestamp>,
    /// What was ever deleted.
    pub deleted: Deleted,
}

/// What a round deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Sent faxes.
    pub sent: u64,
    /// Received faxes.
    pub received: u64,
}

impl Queue {
    /// How the disk stands; [`Level::Ample`] or not is a matter of the configured marks.
    pub fn storage_level(&self) -> Result<Level, QueueError> {
        let inner = &self.inner;
        Ok(inner.rules().level(inner.spool.space()?.used_percent))
    }

    /// How much room the disk has.
    pub fn space(&self) -> Result<Space, QueueError> {
        Ok(self.inner.spool.space()?)
    }

    /// How the store stands, and what would be deleted next.
    pub async fn storage(&self) -> Result<StorageState, QueueError> {
        let inner = &self.inner;
        let space = inner.spool.space()?;
        Ok(StorageState {
            space,
            level: inner.rules().level(space.used_percent),
            rules: inner.rules(),
            sent: inner.kind_state(Kind::Sent).await?,
            received: inner.kind_state(Kind::Received).await?,
            doomed: inner.db.count_doomed()?,
        })
    }

    /// Deletes what the rules say, now: faxes whose time is over, and as many others as a low disk
    /// needs. Rounds never run beside each other.
    pub async fn clean(&self) -> Result<Cleaned, QueueError> {
        let mut work = self.inner.clock.work();
        self.inner.clean(&mut work).await
    }

    /// Deletes a received fax because somebody wants so; `false` while the call that brought it has no
    /// end yet, or when it is gone already.
    pub async fn delete_received(&self, fax: &ReceivedFax, by: &Context) -> Result<bool, QueueError> {
        let inner = &self.inner;
        let _alone = inner.cleaning.lock().await;
        let ended = EndedFax {
            id: EndedId::Received(fax.id),
            at: fax.received_at,
            pages: fax.pages,
            documents: vec![fax.document],
        };
        match inner.delete_by(vec![ended], Timestamp::MAX, Because::Person, by).await {
            Ok(()) => Ok(true),
            Err(QueueError::Db(DbError::Conflict)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Looks after the disk, and accounts for everything each night, for ever.
    pub async fn keep_storage(self) {
        let inner = &self.inner;
        let mut work = inner.clock.work();
        let down = SignedDuration::from_secs(inner.down_s.load(Ordering::Acquire));
        let mut told = Level::Ample;
        let mut next_round = first_round(inner.clock.now(), down);
        let mut next_accounting = next_night(inner.clock.now());
        loop {
            let now = inner.clock.now();
            told = inner.tell_level(told, now).await;
            // A clock that was set back does not put the next round off for longer than that.
            next_round = next_round.min(after(now, LONG_DOWNTIME));
            if next_round <= now {
                match inner.clean(&mut work).await {
                    Ok(cleaned) => cleaned.tell(),
                    Err(error) => log::error!("faxes whose time is over were not deleted: {error}"),
                }
                next_round = after(inner.clock.now(), ROUND_EVERY);
            } else if told > Level::Ample {
                match inner.make_room(&mut work).await {
                    Ok(cleaned) => cleaned.tell(),
                    Err(error) => log::error!("no room was made on the disk: {error}"),
                }
            }
            next_accounting = next_accounting.min(next_night(now));
            if next_accounting <= now {
                if let Err(error) = inner.reconcile(&mut work).await {
                    log::error!("nothing was accounted for: {error}");
                }
                next_accounting = next_night(inner.clock.now());
            }
            work.sleep(LOOK_EVERY).await;
        }
    }
}

impl Cleaned {
    fn tell(self) {
        if self != Self::default() {
            log::info!("retention deleted {} sent and {} received faxes", self.sent, self.received);
        }
    }

    fn count(&mut self, kind: Kind, faxes: usize) {
        match kind {
            Kind::Sent => self.sent += faxes as u64,
            Kind::Received => self.received += faxes as u64,
        }
    }
}

impl Inner {
    /// Refuses a new fax while the disk is too full. What cannot be measured is tried.
    pub(super) fn check_space(&self) -> Result<(), QueueError> {
        match self.spool.space() {
            Ok(space) if self.rules().level(space.used_percent) == Level::Full => Err(QueueError::NoRoom),
            _ => Ok(()),
        }
    }

    async fn clean(&self, work: &mut Work) -> Result<Cleaned, QueueError> {
        let cleaned = {
            let _alone = self.cleaning.lock().await;
            self.remove_left_behind().await?;
            let mut cleaned = Cleaned::default();
            for kind in Kind::ALL {
                let Some(before) = self.rules().due(kind, Because::Age, self.clock.now()) else { continue };
                loop {
                    let faxes = self.db.ended_faxes(kind, before, BATCH).await?;
                    if faxes.is_empty() {
                        break;
                    }
                    cleaned.count(kind, faxes.len());
                    self.delete(faxes, before, Because::Age).await?;
                    work.sleep(PAUSE).await;
                }
            }
            cleaned
        };
        let more = self.make_room(work).await?;
        Ok(Cleaned { sent: cleaned.sent + more.sent, received: cleaned.received + more.received })
    }

    /// Deletes the oldest faxes while the disk is low, where the rules say so.
    async fn make_room(&self, work: &mut Work) -> Result<Cleaned, QueueError> {
        let mut cleaned = Cleaned::default();
        let due = |kind| self.rules().due(kind, Because::Space, self.clock.now());
        if !self.is_low()? || Kind::ALL.into_iter().all(|kind| due(kind).is_none()) {
            return Ok(cleaned);
        }
        let _alone = self.cleaning.lock().await;
        if !self.is_filled_by_faxes().await? {
            log::warn!("the disk is low, but not for the faxes on it: none is deleted");
            return Ok(cleaned);
        }
        while self.is_low()? {
            let mut oldest: Option<(Kind, Timestamp, Vec<EndedFax>)> = None;
            for kind in Kind::ALL {
                let Some(before) = due(kind) else { continue };
                let faxes = self.db.ended_faxes(kind, before, BATCH).await?;
                let Some(first) = faxes.first() else { continue };
                if oldest.as_ref().is_none_or(|(_, _, others)| first.at < others[0].at) {
                    oldest = Some((kind, before, faxes));
                }
            }
            let Some((kind, before, faxes)) = oldest else {
                log::warn!("the disk is low, and there is no fax left that may be deleted for that");
                break;
            };
            cleaned.count(kind, faxes.len());
            self.delete(faxes, before, Because::Space).await?;
            work.sleep(PAUSE).await;
        }
        Ok(cleaned)
    }

    async fn delete(
        &self,
        faxes: Vec<EndedFax>,
        before: Timestamp,
        because: Because,
    ) -> Result<(), QueueError> {
        self.delete_by(faxes, before, because, &Context::system()).await
    }

    async fn delete_by(
        &self,
        faxes: Vec<EndedFax>,
        before: Timestamp,
        because: Because,
        by: &Context,
    ) -> Result<(), QueueError> {
        let now = self.clock.now();
        let mut rows = faxes.iter().map(|fax| row(fax, because, by, now));
        let Some(first) = rows.next() else { return Ok(()) };
        let audited = self.db.audited(first).and(rows.collect::<Vec<_>>());
        let doomed = audited.delete_faxes(faxes, before, because, now).await?;
        self.remove(doomed).await
    }

    /// Removes the files that a stop, or a disk that took no changes, left of deleted faxes.
    async fn remove_left_behind(&self) -> Result<(), QueueError> {
        loop {
            let left = self.db.doomed_documents(LEFT_BEHIND).await?;
            if left.is_empty() {
                return Ok(());
            }
            self.remove(left).await?;
        }
    }

    pub(super) async fn remove(&self, documents: Vec<DocumentId>) -> Result<(), QueueError> {
        for &document in &documents {
            self.spool.delete(document).await?;
        }
        Ok(self.db.forget_documents(documents).await?)
    }

    fn is_low(&self) -> Result<bool, QueueError> {
        Ok(self.rules().level(self.spool.space()?.used_percent) > Level::Ample)
    }

    /// Whether the disk would not be low without the documents.
    async fn is_filled_by_faxes(&self) -> Result<bool, QueueError> {
        let mut bytes = 0;
        for day in self.spool.days().await? {
            bytes += self.spool.stored(day).await?.documents.iter().map(|file| file.bytes).sum::<u64>();
        }
        let space = self.spool.space()?;
        let free = u128::from(space.available_bytes) + u128::from(bytes);
        let would_be_used = 100 - (free * 100 / u128::from(space.total_bytes.max(1))).min(100);
        Ok(self.rules().level(would_be_used as u32) == Level::Ample)
    }

    /// Tells a change of the disk's level, once: in the log and as an event.
    async fn tell_level(&self, told: Level, now: Timestamp) -> Level {
        let space = match self.spool.space() {
            Ok(space) => space,
            Err(error) => {
                log::warn!("the room on the disk cannot be measured: {error}");
                return told;
            }
        };
        let level = self.rules().level(space.used_percent);
        if level == told {
            return told;
        }
        let (used, available_mb) = (space.used_percent, space.available_bytes / 1_000_000);
        match level {
            Level::Ample => log::info!("the disk has room again: it is {used} % full"),
            Level::Low => log::warn!("the disk is {used} % full, {available_mb} MB are free: make room"),
            Level::Full => log::error!(
                "the disk is {used} % full, {available_mb} MB are free: no faxes to be sent are taken in"
            ),
        }
        let data = json!({ "used_percent": used, "available_bytes": space.available_bytes });
        if let Err(error) = self.db.tell(Event::storage(level.as_str(), data, now)).await {
            log::warn!("how the disk stands was not noted among the events: {error}");
        }
        level
    }

    async fn kind_state(&self, kind: Kind) -> Result<KindState, QueueError> {
        let now = self.clock.now();
        let due = match self.rules().due(kind, Because::Age, now) {
            Some(before) => self.db.count_ended(kind, before).await?,
            None => 0,
        };
        let oldest = self.db.ended_faxes(kind, Timestamp::MAX, 1).await?.first().map(|fax| fax.at);
        let next_due = oldest.zip(self.rules().kept_for(kind)).map(|(at, kept)| after(at, kept));
        Ok(KindState { due, oldest, next_due, deleted: self.db.deleted(kind)? })
    }

    pub(super) fn note_downtime(&self, down: SignedDuration) {
        self.down_s.store(down.as_secs(), Ordering::Release);
    }
}

/// The row of one deleted fax.
fn row(fax: &EndedFax, because: Because, by: &Context, now: Timestamp) -> AuditEvent {
    let was = Snapshot::new().with("pages", fax.pages).with("because", because.as_str());
    let (target, was) = match fax.id {
        EndedId::Sent(id, state) => {
            (Target::from(id), was.with("state", state.as_str()).with("ended_at", fax.at))
        }
        EndedId::Received(id) => (Target::from(id), was.with("received_at", fax.at)),
    };
    by.event(Action::FaxDeleted, target, now).before(was)
}

/// When faxes are first looked for whose time is over.
fn first_round(started: Timestamp, down: SignedDuration) -> Timestamp {
    // By then a clock that was wrong at the start has been set.
    after(started, if down > LONG_DOWNTIME { LONG_DOWNTIME } else { ROUND_EVERY })
}

pub(super) fn after(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
