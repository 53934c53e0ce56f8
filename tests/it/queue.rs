//! The queue through its public face: real database, real spool, virtual clock.

mod site;

use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use pagewire::access::audit::Context;
use pagewire::db::jobs::RouteRules;
use pagewire::fax::attempt::Attempt;
use pagewire::fax::job::State;
use pagewire::fax::outcome::Class;
use pagewire::id::JobId;
use pagewire::inbound::{Arrival, InboxFilter};
use pagewire::queue::{CancelError, Idempotency, ListFilter, NewFax, Position, Submitted};

use self::site::pages;
pub use self::site::{Site, fax, start};

const LONG: Duration = Duration::from_hours(48);

fn seconds_between(attempts: &[Attempt]) -> Vec<f64> {
    attempts
        .windows(2)
        .map(|pair| pair[1].started_at.duration_since(pair[0].ended_at.unwrap()).as_secs_f64())
        .collect()
}

fn classes(attempts: &[Attempt]) -> Vec<Class> {
    attempts.iter().map(|attempt| attempt.outcome.as_ref().unwrap().class).collect()
}

fn confirmed(attempts: &[Attempt]) -> Vec<Vec<u32>> {
    attempts.iter().map(|attempt| attempt.pages.iter().map(|page| page.page).collect()).collect()
}

/// Who cancels.
fn sender() -> Context {
    Context { actor: "the sender".to_owned(), ..Context::system() }
}

#[tokio::test]
async fn all_ten_numbers_end_as_scripted() {
    struct Expected {
        state: State,
        class: Class,
        calls: Vec<Class>,
        confirmed: Vec<Vec<u32>>,
        waits: std::ops::RangeInclusive<f64>,
        human: &'static str,
    }
    let whole = vec![vec![1, 2, 3]];
    let delivered = |calls: Vec<Class>, confirmed, waits| Expected {
        state: State::Delivered,
        class: Class::Delivered,
        calls,
        confirmed,
        waits,
        human: "All 3 pages were delivered.",
    };
    let limit = |class, count, confirmed, waits, human| Expected {
        state: State::Failed,
        class: Class::Limit,
        calls: vec![class; count],
        confirmed,
        waits,
        human,
    };
    let none = |count| vec![Vec::new(); count];
    let expected = [
        delivered(vec![Class::Delivered], whole.clone(), 0.0..=0.0),
        delivered(vec![Class::Busy, Class::Delivered], vec![vec![], vec![1, 2, 3]], 162.0..=198.0),
        limit(
            Class::NoAnswer,
            12,
            none(12),
            270.0..=330.0,
            "Too many calls or tries. The last time: Nobody answered.",
        ),
        Expected {
            state: State::Failed,
            class: Class::HumanOrVoice,
            calls: vec![Class::HumanOrVoice; 2],
            confirmed: none(2),
            waits: 270.0..=330.0,
            human: "A person or voicemail answered, not a fax. We do not call there again",
        },
        Expected {
            state: State::Failed,
            class: Class::NumberBad,
            calls: vec![Class::NumberBad],
            confirmed: none(1),
            waits: 0.0..=0.0,
            human: "The number is not in service or is wrong.",
        },
        delivered(vec![Class::RemoteHungUp, Class::Delivered], vec![vec![1], vec![2, 3]], 60.0..=60.0),
        limit(
            Class::TrainingFailed,
            3,
            none(3),
            60.0..=60.0,
            "Too many calls or tries. The last time: The two machines could not agree on a speed.",
        ),
        Expected {
            state: State::Partial,
            ..limit(
                Class::PageNotConfirmed,
                3,
                vec![vec![1, 2], vec![], vec![]],
                60.0..=60.0,
                "Too many calls or tries. The last time: Page 3 was sent but never confirmed.",
            )
        },
        delivered(vec![Class::Delivered], whole, 0.0..=0.0),
        Expected {
            state: State::Expired,
            class: Class::Deadline,
            // 1, 2, 5, 10 and then 15 minutes apart until three hours are over.
            calls: vec![Class::Provider; 15],
            confirmed: none(15),
            waits: 54.0..=990.0,
            human: "Not sent before the deadline. The last time: The provider's account, credit or service failed.",
        },
    ];

    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start()).await;
    let work = site.clock.work();
    let mut ids = Vec::new();
    for digit in 0..expected.len() {
        ids.push(site.submit(fax(&format!("+1500555000{digit}"), "simulator", 3)).await);
    }
    site.queue.start();
    drop(work);
    for (digit, (id, expected)) in ids.into_iter().zip(expected).enumerate() {
        let (job, attempts) = site.end_of(id).await;
        let outcome = job.outcome.as_ref().unwrap();
        assert_eq!((job.state, outcome.class), (expected.state, expected.class), "…000{digit}: {outcome:?}");
        if digit == 9 {
            // Jitter moves the last of them over the deadline or not.
            assert!((13..=17).contains(&attempts.len()), "{}", attempts.len());
            assert!(classes(&attempts).iter().all(|class| *class == Class::Provider));
        } else {
            assert_eq!(classes(&attempts), expected.calls, "…000{digit}");
            assert_eq!(confirmed(&attempts), expected.confirmed, "…000{digit}");
        }
        assert!(outcome.human.starts_with(expected.human), "…000{digit}: {}", outcome.human);
        for wait in seconds_between(&attempts) {
            let slack = *expected.waits.start() - 0.01..=*expected.waits.end() + 0.01;
            assert!(slack.contains(&wait), "…000{digit}: {wait} s");
        }
        let is_free = expected.calls[0] == Class::Provider;
        assert_eq!(job.counters.dials as usize, if is_free { 0 } else { attempts.len() }, "…000{digit}");
        let took = job.final_at.unwrap().duration_since(job.created_at).as_secs();
        match digit {
            0 => assert!((5..15).contains(&took), "{took} s"),
            8 => assert!((90..100).contains(&took), "{took} s"),
            9 => assert!((9000..10_800).contains(&took), "{took} s"),
            _ => {}
        }
        if let Some(first) = attempts.iter().find(|attempt| !attempt.pages.is_empty()) {
            assert_eq!(first.remote_station_id.as_deref(), Some("PAGEWIRE SIMULATOR"));
            assert_eq!(first.carriage.transport.as_deref(), Some("t38"));
        }
    }

    // What is told to the world names nobody.
    let events = site.db.events_after(0, 10_000).await.unwrap();
    assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert!(events.iter().all(|logged| !logged.event.data.to_string().contains("500555")));
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_call_leaves_the_ladder_of_t30() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start()).await;
    site.queue.start();
    let id = site.submit(fax("+15005550005", "simulator", 2)).await;
    site.end_of(id).await;
    let frames = async |number| -> Vec<String> {
        let trace = site.queue.trace(id, number).await.unwrap().unwrap();
        assert!(trace.windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms));
        trace.into_iter().map(|entry| entry.frame).collect()
    };
    let opening = ["INVITE", "200", "CED", "CSI", "DIS", "TSI", "DCS", "TCF", "CFR"];
    assert_eq!(frames(1).await, [&opening[..], &["page 1", "MPS", "MCF", "page 2", "BYE"]].concat());
    assert_eq!(frames(2).await, [&opening[..], &["page 2", "EOP", "MCF", "DCN"]].concat());
    assert!(site.queue.trace(id, 3).await.unwrap().is_none());
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn loopback_delivers_the_very_bits_once() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start()).await;
    site.queue.start();
    let mut ids = Vec::new();
    for n in 0..40 {
        ids.push(site.submit(fax(&format!("+1555000{n:04}"), "loopback", 1 + n % 3)).await);
    }
    let scripted = site.submit(fax("+15005550004", "loopback", 1)).await;
    for id in &ids {
        let (job, attempts) = site.end_of(*id).await;
        assert_eq!((job.state, attempts.len()), (State::Delivered, 1));
        let received = site.inbox.of_attempt(attempts[0].id).unwrap().unwrap();
        assert_eq!(received.to.as_deref(), Some(job.to.as_e164()));
        assert_eq!(site.inbox.pages(&received).await.unwrap(), pages(job.pages.unwrap()));
        assert_eq!(site.queue.pages(&job).await.unwrap(), pages(job.pages.unwrap()));
    }
    let (job, _) = site.end_of(scripted).await;
    assert_eq!(job.outcome.unwrap().class, Class::NumberBad);
    let received = site.inbox.list(InboxFilter::default(), None, 100, 0).await.unwrap();
    assert_eq!(received.len(), ids.len());
    assert!(received.windows(2).all(|pair| pair[0].seq > pair[1].seq), "newest first");
    assert_eq!(site.inbox.list(InboxFilter::default(), None, 100, 39).await.unwrap(), received[39..]);
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn one_call_at_a_time_to_a_number_and_sleepers_count() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start()).await;
    site.queue.start();
    let work = site.clock.work();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(site.submit(fax("+15005550001", "simulator", 1)).await);
    }
    drop(work);
    let first = site.until(ids[0], |job| job.state == State::Waiting).await;
    assert!(first.next_try_at.is_some());
    assert!(site.job(ids[1]).is_blocked && site.job(ids[2]).is_blocked);
    let mut calls = Vec::new();
    for id in ids {
        let (job, attempts) = site.end_of(id).await;
        assert_eq!(job.state, State::Delivered);
        calls.extend(attempts.iter().map(|attempt| (attempt.started_at, attempt.ended_at.unwrap())));
    }
    assert_eq!(calls.len(), 6);
    assert!(calls.windows(2).all(|pair| pair[0].1 <= pair[1].0), "one fax after the other: {calls:?}");
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn cancelling_at_once_during_a_call_and_too_late() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start()).await;
    let mut work = site.clock.work();
    site.queue.start();
    let later = Some(start() + SignedDuration::from_hours(1));
    let scheduled = site.submit(NewFax { schedule_at: later, ..fax("+15550000001", "simulator", 1) }).await;
    assert_eq!(site.job(scheduled).state, State::Scheduled);
    assert_eq!(site.queue.cancel(scheduled, &sender()).await.unwrap().state, State::Cancelled);

    let slow = site.submit(fax("+15005550008", "simulator", 3)).await;
    work.sleep(Duration::from_secs(50)).await;
    assert_eq!(site.queue.cancel(slow, &sender()).await.unwrap().state, State::Sending);
    drop(work);
    let (job, attempts) = site.end_of(slow).await;
    assert_eq!((job.state, job.confirmed_pages), (State::Cancelled, 1));
    assert_eq!(job.outcome.unwrap().human, "Cancelled by the sender. It is not tried again.");
    assert_eq!(classes(&attempts), [Class::Cancelled]);
    assert!(job.final_at.unwrap() < start() + SignedDuration::from_secs(52), "the call ended when asked");

    let again = site.queue.cancel(slow, &sender()).await;
    assert!(matches!(again, Err(CancelError::TooLate(State::Cancelled))), "{again:?}");
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn the_same_named_request_makes_one_fax() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start()).await;
    let named = |hash| NewFax {
        idempotency: Some(Idempotency {
            key_id: "k".into(),
            path: "/fax".into(),
            name: "order 7".into(),
            request_hash: [hash; 32],
        }),
        ..fax("+15550000001", "loopback", 1)
    };
    let submissions: Vec<_> = (0..8)
        .map(|_| {
            let queue = site.queue.clone();
            let new = named(1);
            tokio::spawn(async move { queue.submit(new, |job| (202, job.id.to_string())).await.unwrap() })
        })
        .collect();
    let mut first = None;
    for submission in submissions {
        match submission.await.unwrap() {
            Submitted::New { body, .. } => assert!(first.replace(body).is_none(), "two faxes"),
            Submitted::Repeated { .. } | Submitted::InFlight => {}
            Submitted::Mismatch => panic!("it is the same request"),
        }
    }
    let answer = |new| site.queue.submit(new, |job| (202, job.id.to_string()));
    match answer(named(1)).await.unwrap() {
        Submitted::Repeated { status, body } => assert_eq!((status, Some(body)), (202, first)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(answer(named(2)).await.unwrap(), Submitted::Mismatch));
    let all = site.queue.list(ListFilter::default(), Position::Start, 10).await.unwrap();
    assert_eq!(all.total, 1);

    drop(site);
    let site = Site::open(folder.path(), start() + SignedDuration::from_hours(25)).await;
    let next_day = site.queue.submit(named(2), |job| (202, job.id.to_string())).await.unwrap();
    assert!(matches!(next_day, Submitted::New { .. }), "forgotten after a day");
}

#[tokio::test]
async fn a_stop_hangs_up_and_the_next_start_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start()).await;
    let mut work = site.clock.work();
    site.queue.start();
    let slow = site.submit(fax("+15005550008", "simulator", 3)).await;
    work.sleep(Duration::from_secs(50)).await;
    site.queue.stop(Duration::ZERO).await;
    drop(work);
    let job = site.job(slow);
    assert_eq!((job.state, job.confirmed_pages, job.counters.dials), (State::Queued, 1, 0));
    let now = site.clock.now();
    drop(site);

    let site = Site::open(folder.path(), now).await;
    site.queue.start();
    let (job, attempts) = site.end_of(slow).await;
    assert_eq!(job.state, State::Delivered);
    assert_eq!(classes(&attempts), [Class::Interrupted, Class::Delivered]);
    assert_eq!(confirmed(&attempts), [vec![1], vec![2, 3]]);
    site.queue.stop(Duration::ZERO).await;
}

/// Runs the site in a runtime of its own and kills that, as a crash would, after so much of the
/// site's time. The job's attempts stay open.
fn crash_after(folder: &Path, seconds: u64, new: impl Fn() -> NewFax + Send + 'static) -> JobId {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = folder.to_owned();
    let id = runtime.block_on(async move {
        let site = Site::open(&folder, start()).await;
        let mut work = site.clock.work();
        site.queue.start();
        let id = site.submit(new()).await;
        work.sleep(Duration::from_secs(seconds)).await;
        // The token is never given back: the site's time stands still until it is gone.
        std::mem::forget(work);
        id
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    id
}

#[test]
fn after_a_crash_each_call_is_closed_as_what_is_known_of_it() {
    struct Case {
        name: &'static str,
        crash_after_s: u64,
        state: State,
        calls: Vec<Class>,
        confirmed: Vec<Vec<u32>>,
    }
    let cases = [
        Case {
            name: "while dialling: free, and tried again",
            crash_after_s: 0,
            state: State::Delivered,
            calls: vec![Class::Interrupted, Class::Delivered],
            confirmed: vec![vec![], vec![1, 2]],
        },
        Case {
            name: "during page 1: nobody knows",
            crash_after_s: 20,
            state: State::Failed,
            calls: vec![Class::UnknownOutcome],
            confirmed: vec![vec![]],
        },
        Case {
            name: "during page 2: page 1 arrived",
            crash_after_s: 50,
            state: State::Partial,
            calls: vec![Class::UnknownOutcome],
            confirmed: vec![vec![1]],
        },
    ];
    for Case { name, crash_after_s, state, calls, confirmed: pages } in cases {
        let folder = tempfile::tempdir().unwrap();
        let id = crash_after(folder.path(), crash_after_s, || fax("+15005550008", "simulator", 2));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let site = Site::open(folder.path(), start() + SignedDuration::from_mins(10)).await;
            site.queue.start();
            let (job, attempts) = site.end_of(id).await;
            assert_eq!((job.state, classes(&attempts)), (state, calls), "{name}");
            assert_eq!(confirmed(&attempts), pages, "{name}");
            let tries = if job.state == State::Delivered { 1 } else { job.counters.tries };
            assert_eq!(job.counters.tries, tries, "{name}: an interrupted call costs no try");
            if job.state != State::Delivered {
                assert!(job.outcome.unwrap().human.contains("we cannot tell whether page"), "{name}");
            }
            site.queue.stop(Duration::ZERO).await;
        });
    }
}

#[tokio::test]
async fn after_a_crash_loopback_knows_what_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start()).await;
    let arrived = site.submit(fax("+15550000001", "loopback", 2)).await;
    let lost = site.submit(fax("+15550000002", "loopback", 2)).await;
    // The queue was killed after it took both, and after the inbox had the first.
    let claims = site.db.claim_ready(RouteRules::free("loopback"), 2, start()).await.unwrap().claims;
    assert_eq!(claims.iter().map(|claim| claim.job.id).collect::<Vec<_>>(), [arrived, lost]);
    let arrival = || Arrival {
        from: None,
        to: None,
        remote_station_id: None,
        route: "loopback".into(),
        attempt: Some(claims[0].attempt.id),
        pages: pages(2),
        is_complete: true,
    };
    let received = site.inbox.receive(arrival()).await.unwrap();
    assert_eq!(site.inbox.receive(arrival()).await.unwrap(), received, "the same attempt arrives once");
    drop(site);

    let site = Site::open(folder.path(), start()).await;
    assert_eq!(site.job(arrived).state, State::Delivered, "known without another call");
    assert_eq!(site.job(lost).state, State::Queued);
    site.queue.start();
    let (job, attempts) = site.end_of(lost).await;
    assert_eq!(
        (job.state, classes(&attempts)),
        (State::Delivered, vec![Class::Interrupted, Class::Delivered])
    );
    assert_eq!(
        site.inbox.list(InboxFilter::default(), None, 100, 0).await.unwrap().len(),
        2,
        "each arrived once"
    );
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_downtime_pushes_deadlines_out_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start()).await;
    site.queue.start();
    let id = site.submit(fax("+15005550002", "simulator", 1)).await;
    let before = site.until(id, |job| job.state == State::Waiting).await;
    site.queue.stop(Duration::ZERO).await;
    let stopped_at = site.clock.now();
    drop(site);

    let site = Site::open(folder.path(), stopped_at + SignedDuration::from_hours(6)).await;
    let after = site.job(id);
    let pushed = after.deadline_at.duration_since(before.deadline_at);
    assert_eq!(pushed, SignedDuration::from_hours(6));
    assert_eq!((after.state, after.next_try_at), (before.state, before.next_try_at));
    drop(site);
    // Opened again without having run on: no downtime counts twice.
    let site = Site::open(folder.path(), stopped_at + SignedDuration::from_hours(6)).await;
    assert_eq!(site.job(id).deadline_at, after.deadline_at);
}

#[tokio::test]
async fn a_deadline_ends_a_fax_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start()).await;
    site.queue.start();
    let schedule_at = start() + SignedDuration::from_hours(2);
    let deadline_at = schedule_at + SignedDuration::from_mins(2);
    let new = fax("+15005550002", "simulator", 1);
    let new = NewFax { schedule_at: Some(schedule_at), deadline_at: Some(deadline_at), ..new };
    let id = site.submit(new).await;
    let (job, attempts) = site.end_of(id).await;
    assert_eq!((job.state, classes(&attempts)), (State::Expired, vec![Class::NoAnswer]));
    assert_eq!(attempts[0].started_at, schedule_at, "not before its time");
    assert!(job.final_at.unwrap() < deadline_at, "told at once that no try is left in time");
    site.queue.stop(Duration::ZERO).await;
}
