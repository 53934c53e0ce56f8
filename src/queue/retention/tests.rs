//! Deleting with a real database and spool: what goes, what stays, and what a stop in between leaves.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::codec::page::{FaxPage, Resolution};
use crate::codec::raster::Bitmap;
use crate::db::DbError;
use crate::db::audit::AuditFilter;
use crate::fax::retention::WhenLow;
use crate::id::JobId;
use crate::inbound::Arrival;
use crate::queue::tests::{Site, one_page};
use crate::spool::SpoolError;

const DAY: Duration = Duration::from_hours(24);

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

async fn open(folder: &Path, now: Timestamp, rules: Rules) -> Site {
    Site::open_with(folder, now, Default::default(), Rules { stop_sends_percent: 100, ..rules }).await
}

/// Ended faxes, to numbers with several kinds of ends.
async fn ended(site: &Site, numbers: &[&str]) -> Vec<JobId> {
    let mut ids = Vec::new();
    for to in numbers {
        ids.push(site.send("simulator", to).await.unwrap());
    }
    site.queue.start();
    for id in &ids {
        site.until(*id, |job| job.state.is_final()).await;
    }
    site.queue.stop(Duration::ZERO).await;
    ids
}

async fn deletions(site: &Site) -> Vec<String> {
    let filter = AuditFilter { action: Some(Action::FaxDeleted), ..AuditFilter::default() };
    site.db.audit_list(filter, None, 100).await.unwrap().into_iter().map(|row| row.target).collect()
}

#[tokio::test]
async fn what_ended_goes_with_all_that_belongs_to_it_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let rules = Rules { sent_days: 1, received_days: 3, ..Rules::default() };
    let site = open(folder.path(), start(), rules).await;
    let gone = ended(&site, &["+15005550000", "+15005550004", "+15005550001"]).await;
    let waiting = site.send("simulator", "+15005550000").await.unwrap();
    let arrival = Arrival {
        from: Some("+15551112222".into()),
        to: None,
        remote_station_id: None,
        route: "loopback".into(),
        attempt: None,
        pages: vec![one_page()],
        is_complete: true,
    };
    let received = site.inbox().receive(arrival).await.unwrap();
    assert_eq!(site.documents(), 5);
    assert_eq!(site.queue.clean().await.unwrap(), Cleaned::default(), "nothing is a day old");

    site.clock.work().sleep(2 * DAY).await;
    let before = site.queue.storage().await.unwrap();
    assert_eq!((before.sent.due, before.received.due), (3, 0));
    assert!(before.sent.next_due.unwrap() <= site.clock.now());
    assert_eq!(before.received.next_due, Some(received.received_at + SignedDuration::from_hours(72)));
    assert_eq!(site.queue.clean().await.unwrap(), Cleaned { sent: 3, received: 0 });
    for id in &gone {
        assert!(site.queue.get(*id).unwrap().is_none());
        assert!(site.queue.attempts(*id).await.unwrap().is_empty());
    }
    assert!(!site.job(waiting).state.is_final(), "what has not ended is never deleted");
    assert_eq!(site.documents(), 2);
    let told: HashSet<String> = deletions(&site).await.into_iter().collect();
    assert_eq!(told, gone.iter().map(|id| format!("fax:{id}")).collect());
    let events = site.db.events_after(0, 1000).await.unwrap();
    let of_deleted: Vec<_> = events.iter().filter(|logged| logged.event.kind == "fax.deleted").collect();
    assert_eq!(of_deleted.len(), 3);
    assert!(of_deleted.iter().all(|logged| logged.event.data["because"] == "age"));

    site.clock.work().sleep(2 * DAY).await;
    assert_eq!(site.queue.clean().await.unwrap(), Cleaned { sent: 0, received: 1 });
    assert_eq!(site.documents(), 1);
    let after = site.queue.storage().await.unwrap();
    assert_eq!((after.sent.deleted.faxes, after.sent.deleted.pages), (3, 3));
    assert_eq!((after.received.deleted.faxes, after.doomed), (1, 0));
    let kinds = site.db.events_after(0, 1000).await.unwrap();
    assert!(kinds.iter().any(|logged| logged.event.kind == "inbound.deleted"));
}

#[tokio::test]
async fn by_default_everything_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let site = open(folder.path(), start(), Rules::default()).await;
    ended(&site, &["+15005550000"]).await;
    site.clock.work().sleep(3650 * DAY).await;
    assert_eq!(site.queue.clean().await.unwrap(), Cleaned::default());
    let state = site.queue.storage().await.unwrap();
    assert_eq!((state.sent.due, state.sent.next_due), (0, None));
    assert_eq!(site.documents(), 1);
}

#[tokio::test]
async fn what_a_stop_leaves_half_deleted_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let rules = Rules { sent_days: 1, ..Rules::default() };
    let site = open(folder.path(), start(), rules).await;
    let ids = ended(&site, &["+15005550000", "+15005550004"]).await;
    site.clock.work().sleep(2 * DAY).await;
    let now = site.clock.now();
    let faxes = site.db.ended_faxes(Kind::Sent, now, 10).await.unwrap();
    let rows = faxes.iter().map(|fax| row(fax, Because::Age, &Context::system(), now));
    let mut rows = rows.collect::<Vec<_>>().into_iter();
    let audited = site.db.audited(rows.next().unwrap()).and(rows);
    audited.delete_faxes(faxes, now, Because::Age, now).await.unwrap();
    // The stop: rows are gone, files are not, and the database knows which.
    assert_eq!(ids.iter().filter(|id| site.queue.get(**id).unwrap().is_some()).count(), 0);
    assert_eq!((site.documents(), site.db.count_doomed().unwrap()), (2, 2));

    let site = open(folder.path(), now, rules).await;
    assert_eq!(site.queue.clean().await.unwrap(), Cleaned::default());
    assert_eq!((site.documents(), site.db.count_doomed().unwrap()), (0, 0));
}

#[tokio::test]
async fn a_fax_that_has_not_ended_takes_the_whole_batch_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let site = open(folder.path(), start(), Rules { sent_days: 1, ..Rules::default() }).await;
    let ended = ended(&site, &["+15005550000"]).await[0];
    let waiting = site.send("simulator", "+15005550000").await.unwrap();
    let now = site.clock.now();
    let mut faxes = site.db.ended_faxes(Kind::Sent, now, 10).await.unwrap();
    assert_eq!(faxes.len(), 1);
    let forged = EndedFax {
        id: EndedId::Sent(waiting, site.job(waiting).state),
        documents: vec![site.job(waiting).document.unwrap()],
        ..faxes[0].clone()
    };
    faxes.push(forged);
    let first = row(&faxes[0], Because::Age, &Context::system(), now);
    let refused = site.db.audited(first).delete_faxes(faxes, now, Because::Age, now).await;
    assert!(matches!(refused, Err(DbError::Conflict)), "{refused:?}");
    assert!(site.queue.get(ended).unwrap().is_some());
    assert_eq!((site.db.count_doomed().unwrap(), deletions(&site).await.len()), (0, 0));
}

#[tokio::test]
async fn a_low_disk_takes_no_fax_when_other_things_fill_it() {
    let folder = tempfile::tempdir().unwrap();
    // Any disk is more than 1 % full, and these few bytes are not what fills it.
    let rules = Rules { warn_percent: 1, when_low: WhenLow::DeleteAll, ..Rules::default() };
    let site = open(folder.path(), start(), rules).await;
    assert_eq!(site.queue.storage_level().unwrap(), Level::Low);
    ended(&site, &["+15005550000"]).await;
    site.clock.work().sleep(2 * DAY).await;
    assert_eq!(site.queue.clean().await.unwrap(), Cleaned::default());
    assert_eq!(site.documents(), 1);
}

#[tokio::test]
async fn a_full_disk_refuses_sends_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let site = open(folder.path(), start(), Rules::default()).await;
    assert!(site.send("simulator", "+15005550000").await.is_ok());
    let rules = Rules { warn_percent: 1, stop_sends_percent: 1, ..Rules::default() };
    let site = Site::open_with(folder.path(), start(), Default::default(), rules).await;
    let refused = site.send("simulator", "+15005550000").await;
    assert!(matches!(refused, Err(QueueError::NoRoom)), "{refused:?}");
    assert_eq!(site.documents(), 1);
}

#[tokio::test]
async fn the_first_round_lets_people_look_after_a_long_downtime() {
    let hours = SignedDuration::from_hours;
    for (down, first) in [(hours(0), hours(1)), (hours(24), hours(1)), (hours(24 * 30), hours(24))] {
        assert_eq!(first_round(start(), down), start() + first, "{down}");
    }
    let folder = tempfile::tempdir().unwrap();
    let rules = Rules { sent_days: 7, ..Rules::default() };
    let site = open(folder.path(), start(), rules).await;
    let id = ended(&site, &["+15005550000"]).await[0];
    let back = start() + hours(24 * 30);
    let site = open(folder.path(), back, rules).await;
    // Held, so that the clock stands until the task has begun.
    let mut work = site.clock.work();
    let keeping = tokio::spawn(site.queue.clone().keep_storage());
    tokio::task::yield_now().await;
    work.sleep_until(back + hours(23)).await;
    assert!(site.queue.get(id).unwrap().is_some(), "a day to look at it");
    work.sleep_until(back + hours(25)).await;
    assert!(site.queue.get(id).unwrap().is_none());
    keeping.abort();
}

#[tokio::test]
async fn a_deleted_document_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let site = open(folder.path(), start(), Rules { sent_days: 1, ..Rules::default() }).await;
    let id = ended(&site, &["+15005550000"]).await[0];
    let job = site.job(id);
    assert_eq!(site.queue.pages(&job).await.unwrap().len(), 1);
    site.clock.work().sleep(2 * DAY).await;
    site.queue.clean().await.unwrap();
    let pages = site.queue.pages(&job).await;
    assert!(matches!(pages, Err(QueueError::Spool(SpoolError::Missing))), "{pages:?}");
}

/// A page of noise, which no code makes small.
fn noisy_page(seed: u64) -> FaxPage {
    let mut random = StdRng::seed_from_u64(seed);
    let bits = (0..1728 / 8 * 300).map(|_| random.random()).collect();
    FaxPage::from_bitmap(&Bitmap::from_rows(1728, 300, bits).unwrap(), Resolution::FINE)
}

#[tokio::test]
async fn a_low_disk_gets_room_from_the_oldest_and_no_more_than_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&spool).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped, because nothing can be mounted here");
        return;
    }
    let _unmounted = Unmount(spool);
    let rules = Rules { warn_percent: 50, when_low: WhenLow::DeleteAll, ..Rules::default() };
    let site = open(folder.path(), start(), rules).await;
    let mut received = Vec::new();
    while site.queue.storage_level().unwrap() == Level::Ample {
        let arrival = Arrival {
            from: None,
            to: None,
            remote_station_id: None,
            route: "loopback".into(),
            attempt: None,
            pages: vec![noisy_page(received.len() as u64)],
            is_complete: true,
        };
        received.push(site.inbox().receive(arrival).await.unwrap().id);
        site.clock.work().sleep(Duration::from_secs(60)).await;
    }
    assert!(received.len() > 2 * BATCH as usize, "{} faxes fill half of it", received.len());
    assert_eq!(site.queue.clean().await.unwrap(), Cleaned::default(), "all came within a day");

    site.clock.work().sleep(2 * DAY).await;
    let cleaned = site.queue.clean().await.unwrap();
    assert_eq!(cleaned, Cleaned { sent: 0, received: BATCH.into() });
    assert_eq!(site.queue.storage_level().unwrap(), Level::Ample);
    for (place, id) in received.iter().enumerate() {
        assert_eq!(site.inbox().get(*id).unwrap().is_none(), place < BATCH as usize, "{place}");
    }
    let events = site.db.events_after(0, 1000).await.unwrap();
    let deleted = events.iter().filter(|logged| logged.event.kind == "inbound.deleted");
    assert!(deleted.clone().all(|logged| logged.event.data["because"] == "space"));
    assert_eq!(deleted.count(), BATCH as usize);
}

/// Takes the mount off again, however the test ends.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
