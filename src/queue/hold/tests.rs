//! Limits over all faxes and the pause, with real calls of a route that costs money.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::fax::dialling::Limits;
use crate::fax::job::{Job, State};
use crate::fax::policy::Settings;
use crate::id::JobId;
use crate::queue::tests::{Site, admin};
use crate::queue::{NewFax, Submitted};

fn limits(dials_per_hour: u32, line_minutes_per_day: u32) -> Settings {
    Settings { limits: Limits { dials_per_hour, line_minutes_per_day }, ..Settings::default() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn number(last: u32) -> String {
    format!("+1212555{last:04}")
}

async fn told(site: &Site, kind: &str) -> usize {
    let events = site.db.events_after(0, 10_000).await.unwrap();
    events.iter().filter(|logged| logged.event.kind == kind).count()
}

async fn starts(site: &Site, ids: &[JobId]) -> Vec<Timestamp> {
    let mut starts = Vec::new();
    for id in ids {
        starts.extend(site.queue.attempts(*id).await.unwrap().iter().map(|attempt| attempt.started_at));
    }
    starts.sort();
    starts
}

fn held(site: &Site, job: &Job) -> Option<Cause> {
    site.queue.dialling().unwrap().holds_job(job).map(|hold| hold.cause)
}

#[tokio::test]
async fn an_hour_has_its_calls_and_the_others_wait_for_the_next_hour() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), at("2026-01-01T12:40:00Z"), limits(3, 600)).await;
    let mut work = site.clock.work();
    let mut ids = Vec::new();
    for last in 0..7 {
        ids.push(site.send("line1", &number(last)).await.unwrap());
    }
    let free = site.send("simulator", &number(9)).await.unwrap();
    let deadline = site.job(ids[6]).deadline_at;
    site.queue.start();
    work.sleep(Duration::from_mins(10)).await;
    let delivered = |job: &&JobId| site.job(**job).state == State::Delivered;
    assert_eq!(ids.iter().filter(delivered).count(), 3);
    assert_eq!(site.job(free).state, State::Delivered, "what costs nothing is not held");
    let last = site.job(ids[6]);
    assert_eq!((last.state, held(&site, &last)), (State::Queued, Some(Cause::Dials)));
    let state = site.queue.dialling_state().unwrap();
    assert_eq!((state.spent.dials, state.calls), (3, 0));
    assert_eq!(state.dialling.holds[0].until, Some(at("2026-01-01T13:00:00Z")));
    assert_eq!(told(&site, "dialling.limit_reached").await, 1, "told once, however many wait");
    drop(work);

    for id in &ids {
        assert_eq!(site.until(*id, |job| job.state.is_final()).await.state, State::Delivered);
    }
    let hours: Vec<_> = starts(&site, &ids).await.into_iter().map(crate::fax::dialling::hour_of).collect();
    let hour = |text: &str, calls| vec![at(text); calls];
    let expected =
        [hour("2026-01-01T12:00:00Z", 3), hour("2026-01-01T13:00:00Z", 3), hour("2026-01-01T14:00:00Z", 1)];
    assert_eq!(hours, expected.concat());
    assert_eq!(told(&site, "dialling.limit_reached").await, 2);
    assert_eq!(told(&site, "dialling.limit_ended").await, 2);
    let waited = site.job(ids[6]).deadline_at.duration_since(deadline);
    assert!((79..=80).contains(&(waited.as_secs() / 60)), "its time was given back: {waited}");
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn repeated_calls_count_and_a_restart_forgets_none() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), at("2026-01-01T12:00:00Z"), limits(3, 600)).await;
    let mut work = site.clock.work();
    let unanswered = site.send("line1", "+15005550002").await.unwrap();
    site.queue.start();
    work.sleep(Duration::from_mins(25)).await;
    assert_eq!(site.job(unanswered).attempts, 3, "one fax, three calls, and no fourth");
    site.queue.stop(Duration::ZERO).await;
    drop((work, site));

    let site = Site::open(folder.path(), at("2026-01-01T12:40:00Z"), limits(3, 600)).await;
    let mut work = site.clock.work();
    let other = site.send("line1", &number(1)).await.unwrap();
    site.queue.start();
    work.sleep(Duration::from_mins(10)).await;
    assert_eq!(site.job(other).attempts, 0);
    assert_eq!(told(&site, "dialling.limit_reached").await, 1, "not told again");
    site.queue.stop(Duration::ZERO).await;
    drop((work, site));

    // A larger limit counts at once.
    let site = Site::open(folder.path(), at("2026-01-01T12:51:00Z"), limits(5, 600)).await;
    site.queue.start();
    site.until(other, |job| job.state == State::Delivered).await;
    assert!(site.clock.now() < at("2026-01-01T12:53:00Z"));
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_day_has_its_minutes_and_no_deadline_passes_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), at("2026-01-01T12:00:00Z"), limits(60, 1)).await;
    let mut ids = Vec::new();
    // Half a minute a page, and one call at a time to a number.
    for _ in 0..3 {
        ids.push(site.send("line1", "+15005550008").await.unwrap());
    }
    site.queue.start();
    for id in &ids {
        assert_eq!(site.until(*id, |job| job.state.is_final()).await.state, State::Delivered);
    }
    let starts = starts(&site, &ids).await;
    assert!(starts[1] < at("2026-01-01T12:02:00Z") && starts[2] >= at("2026-01-02T00:00:00Z"), "{starts:?}");
    assert!(starts[2] < at("2026-01-02T00:00:10Z"), "at once on the next day: {starts:?}");
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_pause_outlasts_restarts_and_gives_all_its_time_back() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), at("2026-01-01T12:00:00Z"), Settings::default()).await;
    let mut work = site.clock.work();
    site.queue.start();
    let slow = site.send("line1", "+15005550008").await.unwrap();
    work.sleep(Duration::from_secs(20)).await;
    site.queue.pause(Some("a leaked key".into()), &admin()).await.unwrap();
    site.queue.pause(None, &admin()).await.unwrap();
    let waiting = site.send("simulator", &number(1)).await.unwrap();
    let deadline = site.job(waiting).deadline_at;
    work.sleep(Duration::from_mins(5)).await;
    assert_eq!(site.job(slow).state, State::Delivered, "a call under way finishes");
    assert_eq!(held(&site, &site.job(waiting)), Some(Cause::Paused));
    let pause = site.queue.dialling().unwrap().pause().cloned().unwrap();
    assert_eq!((pause.by.as_str(), pause.reason.as_deref()), ("cli:0", Some("a leaked key")));
    site.queue.stop(Duration::ZERO).await;
    let stopped_at = site.clock.now();
    drop((work, site));

    let site =
        Site::open(folder.path(), stopped_at + SignedDuration::from_hours(9), Settings::default()).await;
    let mut work = site.clock.work();
    site.queue.start();
    work.sleep(Duration::from_hours(1)).await;
    assert_eq!(site.job(waiting).state, State::Queued, "long after its deadline");
    let before = site.job(waiting);
    site.queue.resume(&admin()).await.unwrap();
    site.queue.resume(&admin()).await.unwrap();
    let held_for = site.clock.now().duration_since(before.created_at);
    let given_back = site.job(waiting).deadline_at.duration_since(deadline);
    assert_eq!(given_back.as_millis(), held_for.as_millis(), "all of it, the downtime once");
    drop(work);
    assert_eq!(site.until(waiting, |job| job.state.is_final()).await.state, State::Delivered);
    let rows = site.db.audit_page(None, 100).await.unwrap().rows;
    let actions = rows.iter().map(|row| row.action.as_str());
    let of_dialling: Vec<_> = actions.filter(|action| action.starts_with("dialling.")).collect();
    assert_eq!(of_dialling, ["dialling.paused", "dialling.resumed"], "what changed nothing is no row");
    assert_eq!((told(&site, "dialling.paused").await, told(&site, "dialling.resumed").await), (1, 1));
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn the_time_of_a_pause_within_a_limit_is_given_back_once() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), at("2026-01-01T12:00:00Z"), limits(1, 600)).await;
    let mut work = site.clock.work();
    site.queue.start();
    site.send("line1", &number(1)).await.unwrap();
    work.sleep(Duration::from_mins(10)).await;
    let waiting = site.send("line1", &number(2)).await.unwrap();
    let job = site.job(waiting);
    work.sleep(Duration::from_mins(10)).await;
    // 12:20 to 14:20, across the end of the limit at 13:00.
    site.queue.pause(None, &admin()).await.unwrap();
    work.sleep(Duration::from_hours(2)).await;
    assert_eq!(site.job(waiting).state, State::Queued);
    site.queue.resume(&admin()).await.unwrap();
    let held_for = site.clock.now().duration_since(job.created_at);
    let given_back = site.job(waiting).deadline_at.duration_since(job.deadline_at);
    let difference = (held_for.as_millis() - given_back.as_millis()).abs();
    assert!(difference < 1000, "held for {held_for}, given back {given_back}");
    drop(work);
    assert_eq!(site.until(waiting, |job| job.state.is_final()).await.state, State::Delivered);
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_call_that_fails_during_a_pause_is_planned_anew_whatever_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), at("2026-01-01T12:00:00Z"), Settings::default()).await;
    let mut work = site.clock.work();
    site.queue.start();
    let id = site.send_by("simulator", "+15005550001", Some(at("2026-01-01T12:01:00Z"))).await.unwrap();
    // The first call, to a busy line, is under way.
    work.sleep(Duration::from_millis(100)).await;
    site.queue.pause(None, &admin()).await.unwrap();
    work.sleep(Duration::from_hours(5)).await;
    let job = site.job(id);
    assert_eq!((job.attempts, job.state), (1, State::Queued), "its next call waits: {job:?}");
    site.queue.resume(&admin()).await.unwrap();
    drop(work);
    assert_eq!(site.until(id, |job| job.state.is_final()).await.state, State::Delivered);
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_pause_outside_its_hours_gives_a_fax_no_time_twice() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), at("2026-01-01T12:00:00Z"), Settings::default()).await;
    let mut work = site.clock.work();
    site.queue.start();
    let hours = Some("Any2300-0800".parse().unwrap());
    let new = NewFax { hours, ..Site::new_fax("simulator", &number(1)) };
    let id = match site.queue.submit(new, |job| (202, job.id.to_string())).await.unwrap() {
        Submitted::New { body, .. } => body.parse().unwrap(),
        other => panic!("{other:?}"),
    };
    work.sleep(Duration::from_secs(1)).await;
    let asleep = site.job(id);
    let opens_at = asleep.waits_for_hours().unwrap();
    let mut pause_from = async |from: Timestamp, until: Timestamp| {
        let span = |until: Timestamp| until.duration_since(site.clock.now()).unsigned_abs();
        work.sleep(span(from)).await;
        site.queue.pause(None, &admin()).await.unwrap();
        work.sleep(span(until)).await;
        site.queue.resume(&admin()).await.unwrap();
        site.job(id).deadline_at.duration_since(asleep.deadline_at)
    };
    let mins = SignedDuration::from_mins;
    let given_back = pause_from(opens_at - mins(180), opens_at - mins(120)).await;
    assert_eq!(given_back, SignedDuration::ZERO, "its deadline waits for the hours already");
    let given_back = pause_from(opens_at - mins(30), opens_at + mins(90)).await;
    assert_eq!(given_back, mins(90), "from where on it could have been sent");
    drop(work);
    assert_eq!(site.until(id, |job| job.state.is_final()).await.state, State::Delivered);
    site.queue.stop(Duration::ZERO).await;
}
