//! Clocks that are set back, and appliances that were off for long.

use jiff::SignedDuration;

use super::*;
use crate::fax::job::State;

fn start() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[tokio::test]
async fn a_clock_set_back_an_hour_delays_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start(), numbers::Settings::default()).await;
    let waiting = site.send("simulator", "+15005550001").await.unwrap();
    let called = site.send("simulator", "+15005550008").await.unwrap();
    site.queue.start();
    site.until(called, |job| job.state == State::Sending).await;
    let before = site.until(waiting, |job| job.state == State::Waiting).await;
    site.clock.set_back(HOUR);

    let ended = site.until(called, |job| job.state.is_final()).await;
    assert_eq!((ended.state, ended.counters.dials), (State::Delivered, 1), "the call noticed nothing");
    let ended = site.until(waiting, |job| job.state.is_final()).await;
    assert_eq!((ended.state, ended.counters.dials), (State::Delivered, 2));
    assert_eq!(ended.deadline_at, before.deadline_at);
    let attempts = site.queue.attempts(waiting).await.unwrap();
    let promised = before.next_try_at.unwrap();
    assert!(attempts[1].started_at >= promised, "as the clock then shows, and not an hour early");
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_restart_after_the_clock_was_set_back_moves_no_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start(), numbers::Settings::default()).await;
    let id = site.send("simulator", "+15005550001").await.unwrap();
    site.queue.start();
    let before = site.until(id, |job| job.state == State::Waiting).await;
    site.queue.stop(Duration::ZERO).await;

    let site = Site::open(folder.path(), start() - HOUR, numbers::Settings::default()).await;
    assert_eq!(site.job(id).deadline_at, before.deadline_at);
    site.queue.start();
    let ended = site.until(id, |job| job.state.is_final()).await;
    assert_eq!((ended.state, ended.counters.dials), (State::Delivered, 2));
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn thirty_days_off_cost_no_fax_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start(), numbers::Settings::default()).await;
    let waiting = site.send("simulator", "+15005550001").await.unwrap();
    let called = site.send("simulator", "+15005550008").await.unwrap();
    let queued = site.send("simulator", "+15005550001").await.unwrap();
    site.queue.start();
    site.until(waiting, |job| job.state == State::Waiting).await;
    site.until(called, |job| job.state == State::Sending).await;
    let deadline = site.job(queued).deadline_at;
    let off = site.clock.now();
    // Nobody hangs up, nothing is noted, and nothing is awaited before.
    site.cut_power();

    let back = off + SignedDuration::from_hours(24 * 30);
    let site = Site::open(folder.path(), back, numbers::Settings::default()).await;
    let moved = site.job(queued).deadline_at.duration_since(deadline);
    let minute = SignedDuration::from_mins(1);
    assert!((moved - SignedDuration::from_hours(24 * 30)).abs() <= minute, "{moved}");
    site.queue.start();
    for id in [waiting, queued] {
        assert_eq!(site.until(id, |job| job.state.is_final()).await.state, State::Delivered);
    }
    let lost = site.until(called, |job| job.state.is_final()).await;
    assert_eq!(lost.state, State::Failed, "page data had left, so nobody can tell: it is said, not guessed");
    assert_eq!(lost.outcome.unwrap().class, crate::fax::outcome::Class::UnknownOutcome);
    site.queue.stop(Duration::ZERO).await;
}
