//! Accounting over a real database and spool: all of it, and each thing that can be missing.

use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::*;
use crate::fax::retention::Rules;
use crate::inbound::Arrival;
use crate::queue::tests::{Site, one_page};

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

async fn busy_site(folder: &Path) -> Site {
    let rules = Rules { sent_days: 1, stop_sends_percent: 100, ..Rules::default() };
    let site = Site::open_with(folder, start(), Default::default(), rules).await;
    let mut ids = Vec::new();
    for (route, to) in
        [("simulator", "+15005550001"), ("simulator", "+15005550004"), ("loopback", "+15551112222")]
    {
        ids.push(site.send(route, to).await.unwrap());
    }
    site.queue.start();
    for id in ids {
        site.until(id, |job| job.state.is_final()).await;
    }
    site.queue.stop(Duration::ZERO).await;
    site.send("simulator", "+15005550000").await.unwrap();
    site
}

async fn reconciled(site: &Site) -> Accounts {
    site.queue.reconcile().await.unwrap().unwrap()
}

/// The files of the spool, made to look as if they were stored long ago.
fn aged_files(site: &Site) -> Vec<std::path::PathBuf> {
    let long_ago = SystemTime::now() - Duration::from_hours(2);
    let files = site.files();
    for file in &files {
        std::fs::File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
    }
    files
}

#[tokio::test]
async fn all_is_accounted_for_before_and_after_deletions() {
    let folder = tempfile::tempdir().unwrap();
    let site = busy_site(folder.path()).await;
    aged_files(&site);
    let whole =
        Accounts { faxes: 4, calls: 4, route_records: 1, received: 1, files: 5, ..Accounts::default() };
    assert_eq!(reconciled(&site).await, whole);
    let told = site.db.events_about("storage".into(), i64::MAX, 10).await.unwrap();
    assert_eq!(told[0].event.kind, "storage.accounted");
    assert_eq!(told[0].event.data["unaccounted"], 0);

    site.clock.work().sleep(Duration::from_hours(48)).await;
    assert_eq!(site.queue.clean().await.unwrap().sent, 3);
    let rest = Accounts { faxes: 1, received: 1, files: 2, ..Accounts::default() };
    assert_eq!(reconciled(&site).await, rest, "the received fax names its deleted call no more");
}

#[tokio::test]
async fn a_received_fax_that_was_deleted_is_no_lost_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let rules = Rules { received_days: 1, stop_sends_percent: 100, ..Rules::default() };
    let site = Site::open_with(folder.path(), start(), Default::default(), rules).await;
    let id = site.send("loopback", "+15551112222").await.unwrap();
    site.queue.start();
    site.until(id, |job| job.state.is_final()).await;
    site.queue.stop(Duration::ZERO).await;
    site.clock.work().sleep(Duration::from_hours(48)).await;
    assert_eq!(site.queue.clean().await.unwrap().received, 1);
    assert_eq!(reconciled(&site).await.problems, []);
}

#[tokio::test]
async fn what_is_missing_or_too_much_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let site = busy_site(folder.path()).await;
    let files = aged_files(&site);
    let id_of = |file: &Path| file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let lost: DocumentId = id_of(&files[0]);
    std::fs::remove_file(&files[0]).unwrap();
    let orphan = site.spool().put(b"nobody's".to_vec()).await.unwrap();
    let unfinished = files[1].with_extension("new");
    std::fs::write(&unfinished, b"half").unwrap();
    let recent = reconciled(&site).await;
    assert_eq!(recent.problems, [Unaccounted::NoDocument(lost)], "the others may be of a request under way");

    aged_files(&site);
    let found = reconciled(&site).await;
    let stray = unfinished.file_name().unwrap().to_str().unwrap().to_owned();
    let expected = [Unaccounted::NoDocument(lost), Unaccounted::NoOwner(orphan), Unaccounted::Stray(stray)];
    assert_eq!(found.unaccounted, 3);
    for problem in expected {
        assert!(found.problems.contains(&problem), "{problem} is not in {:?}", found.problems);
    }
    let told = site.db.events_about("storage".into(), i64::MAX, 1).await.unwrap();
    assert_eq!(told[0].event.data["unaccounted"], 3);
}

#[tokio::test]
async fn an_arrival_that_no_call_tells_of_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let site = busy_site(folder.path()).await;
    let arrival = Arrival {
        from: None,
        to: None,
        remote_station_id: None,
        route: "loopback".into(),
        attempt: Some(crate::id::AttemptId::new()),
        pages: vec![one_page()],
        is_complete: true,
    };
    let received = site.inbox().receive(arrival).await.unwrap();
    assert_eq!(reconciled(&site).await.problems, [Unaccounted::NoOrigin(received.id)]);
}

#[test]
fn nights_follow_one_another() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    for (now, night) in [
        ("2026-01-01T00:00:00Z", "2026-01-01T02:30:00Z"),
        ("2026-01-01T02:30:00Z", "2026-01-02T02:30:00Z"),
        ("2026-12-31T23:00:00Z", "2027-01-01T02:30:00Z"),
    ] {
        assert_eq!(next_night(at(now)), at(night));
    }
}
