//! Every way a job may move, and those it may not.

use super::*;
use crate::fax::outcome::WhoActs;

pub(in crate::fax) fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

pub(in crate::fax) fn acceptance(content: Content) -> Acceptance {
    Acceptance {
        owner: AccountId::new(),
        key_id: None,
        to_raw: "5551234567".into(),
        to: FaxNumber::from_e164("+15551234567").unwrap(),
        route: "simulator".into(),
        priority: Priority::Normal,
        resolution: "fine".into(),
        quality: "text".into(),
        content,
        source_sha256: String::new(),
        tag: None,
        resend_of: None,
        notify: None,
        schedule_at: None,
        deadline_at: None,
        hours: None,
    }
}

pub(in crate::fax) fn queued(pages: u32) -> Job {
    accept(acceptance(Content::Ready(DocumentId::new(), pages)), now()).into_job()
}

pub(in crate::fax) fn calling(pages: u32) -> Job {
    match Stage::of(queued(pages)) {
        Stage::Queued(queued) => queued.dial("simulator", now()).0.into_job(),
        other => panic!("{other:?}"),
    }
}

fn confirm(pages: impl IntoIterator<Item = u32>) -> Progress {
    let pages = pages
        .into_iter()
        .map(|page| PageConfirmation { page, confirmed_at: now(), bytes: 1, duration_ms: 1 })
        .collect();
    Progress { first_data_at: Some(now()), pages, ..Progress::default() }
}

fn end(job: Job, last: &Progress, end: CallEnd) -> (Job, Outcome) {
    match Stage::of(job) {
        Stage::Calling(calling) => {
            let (moved, outcome) = calling.ended(1, last, end, now(), 1);
            (moved.into_job(), outcome)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn begins_where_its_content_and_time_put_it() {
    let later = now() + SignedDuration::from_hours(1);
    let cases = [
        (Content::Ready(DocumentId::new(), 1), None, State::Queued, now()),
        (Content::Ready(DocumentId::new(), 1), Some(later), State::Scheduled, later),
        (Content::Sources(vec![DocumentId::new()]), Some(later), State::Preparing, later),
    ];
    for (content, schedule_at, state, first_send) in cases {
        let moved = accept(Acceptance { schedule_at, ..acceptance(content) }, now());
        assert_eq!(moved.job().state, state);
        assert_eq!(moved.job().updated_at, now());
        assert_eq!(moved.job().deadline_at, first_send + SignedDuration::from_hours(3));
        assert_eq!(moved.events().len(), 1);
        assert_eq!(moved.events()[0].kind, format!("fax.{state}"));
    }
}

#[test]
fn success_needs_every_page_confirmed_whatever_the_route_says() {
    let (job, outcome) = end(calling(3), &confirm(1..=2), CallEnd::Delivered);
    assert_eq!((job.state, job.confirmed_pages), (State::Waiting, 2));
    assert_eq!((outcome.class, outcome.detail.page), (Class::PageNotConfirmed, Some(3)));
    let (job, _) = end(calling(3), &confirm(1..=3), CallEnd::Failed(Fault::t30(49)));
    assert_eq!(job.state, State::Delivered);
    let (job, _) = end(calling(3), &confirm([2, 3, 1, 1, 4]), CallEnd::Delivered);
    assert_eq!(job.confirmed_pages, 1, "only what continues the run counts");
}

#[test]
fn page_data_makes_it_sending_once() {
    let Stage::Calling(call) = Stage::of(calling(2)) else { panic!() };
    let moved = call.progressed(&confirm([]), now());
    assert_eq!((moved.job().state, moved.events().len()), (State::Sending, 1));
    let Stage::Calling(call) = Stage::of(moved.into_job()) else { panic!() };
    let moved = call.progressed(&confirm([1]), now());
    let kinds: Vec<_> = moved.events().iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["fax.page_confirmed"]);
}

#[test]
fn cancelling_depends_on_where_it_stands() {
    let job = Stage::of(queued(1)).cancel("the sender", now()).unwrap().into_job();
    assert_eq!(job.state, State::Cancelled);
    assert_eq!(Stage::of(job).cancel("the sender", now()), Err(State::Cancelled));

    let job = Stage::of(calling(2)).cancel("the sender", now()).unwrap().into_job();
    assert_eq!(job.state, State::Dialing, "the call ends it");
    let (job, _) = end(job, &confirm([1]), CallEnd::Failed(Fault::sip(486)));
    assert_eq!((job.state, job.confirmed_pages), (State::Cancelled, 1));
    assert_eq!(job.outcome.unwrap().human, "Cancelled by the sender. It is not tried again.");

    let job = Stage::of(calling(1)).cancel("the sender", now()).unwrap().into_job();
    assert_eq!(
        end(job, &confirm([1]), CallEnd::Delivered).0.state,
        State::Delivered,
        "too late is told as it is"
    );
    let job = Stage::of(calling(1)).cancel("the sender", now()).unwrap().into_job();
    let lost = CallEnd::Failed(Fault::of(Class::UnknownOutcome).on_page(1));
    assert_eq!(end(job, &confirm([]), lost).0.outcome.unwrap().class, Class::UnknownOutcome);
}

#[test]
fn only_a_job_at_rest_expires_and_only_then() {
    let late = now() + SignedDuration::from_hours(3);
    assert!(Stage::of(queued(1)).expire(late - SignedDuration::from_millis(1)).is_none());
    assert_eq!(Stage::of(queued(1)).expire(late).unwrap().job().state, State::Expired);
    assert!(Stage::of(calling(1)).expire(late).is_none());
    let half = Job { confirmed_pages: 1, state: State::Waiting, ..queued(2) };
    assert_eq!(Stage::of(half).expire(late).unwrap().job().state, State::Partial);
    let held = Job { state: State::Held, ..queued(1) };
    assert!(Stage::of(held).expire(late).is_none());
}

#[test]
fn a_sleeper_wakes_at_its_time() {
    let later = now() + SignedDuration::from_hours(1);
    let job = Job { state: State::Waiting, next_try_at: Some(later), ..queued(1) };
    let wake = |job: &Job, at| match Stage::of(job.clone()) {
        Stage::Sleeping(sleeping) => sleeping.due(at).map(|moved| moved.job().state),
        other => panic!("{other:?}"),
    };
    assert_eq!(wake(&job, now()), None);
    assert_eq!(wake(&job, later), Some(State::Queued));
    assert_eq!(wake(&Job { state: State::Held, ..job }, later), None);
}

#[test]
fn an_interrupted_call_is_queued_again_and_charged_nothing() {
    let (job, outcome) =
        end(calling(1), &Progress::default(), CallEnd::Failed(Fault::of(Class::Interrupted)));
    assert_eq!((job.state, job.counters.dials, job.attempts), (State::Queued, 0, 1));
    assert_eq!(outcome.next_try_at, Some(now()));
}

#[test]
fn a_silent_number_is_called_twice_unless_a_machine_is_known_there() {
    let silence = |is_stranger, dials, fault: Fault| {
        let mut job = calling(1);
        job.counters.dials = dials;
        let Stage::Calling(calling) = Stage::of(job) else { panic!("it is being called") };
        let calling = calling.to_a_stranger(is_stranger);
        let (moved, _) = calling.ended(1, &Progress::default(), CallEnd::Failed(fault), now(), 1);
        moved.into_job().state
    };
    let cases = [
        (true, 0, Fault::q850(18), State::Waiting),
        (true, 1, Fault::q850(18), State::Failed),
        (true, 1, Fault::sip(408), State::Failed),
        (true, 1, Fault::q850(19), State::Waiting),
        (true, 1, Fault::sip(480), State::Waiting),
        (true, 1, Fault::sip(486), State::Waiting),
        (false, 5, Fault::q850(18), State::Waiting),
    ];
    for (is_stranger, dials, fault, state) in cases {
        let code = fault.code.clone();
        assert_eq!(silence(is_stranger, dials, fault), state, "{code} after {dials} calls, {is_stranger}");
    }
}

#[test]
fn every_move_is_a_later_version() {
    let job = queued(1);
    let moved = Stage::of(job.clone()).cancel("x", now() - SignedDuration::from_hours(1)).unwrap();
    assert!(moved.job().updated_at > job.updated_at, "even when the clock was set back");
}

#[test]
fn only_what_is_not_being_called_is_held_and_only_that_is_released() {
    let hour = SignedDuration::from_hours(1);
    let sources = vec![DocumentId::new()];
    let preparing = accept(acceptance(Content::Sources(sources.clone())), now()).into_job();
    let scheduled = accept(
        Acceptance { schedule_at: Some(now() + hour), ..acceptance(Content::Ready(DocumentId::new(), 1)) },
        now(),
    )
    .into_job();
    let busy = Outcome::of_fault(Fault::sip(486), Next::RetryAt(now() + hour));
    let waiting =
        Job { state: State::Waiting, next_try_at: Some(now() + hour), outcome: Some(busy), ..queued(1) };
    let blocked = Job { is_blocked: true, ..queued(1) };
    // (job, state after its release)
    let cases = [
        (preparing, State::Preparing),
        (scheduled, State::Scheduled),
        (waiting, State::Queued),
        (blocked, State::Queued),
    ];
    for (job, expected) in cases {
        let before = job.state;
        assert_eq!(Stage::of(job.clone()).release(now()).unwrap_err(), before);
        let held = Stage::of(job.clone()).hold(now()).unwrap();
        assert_eq!((held.job().state, held.events()[0].kind.as_str()), (State::Held, "fax.held"));
        assert_eq!(
            (&held.job().sources, held.freed()),
            (&job.sources, &[][..]),
            "{before}: its uploads stay"
        );
        assert!(!held.job().is_blocked && held.job().next_try_at.is_none());
        if let Some(outcome) = &held.job().outcome {
            assert_eq!((outcome.next_try_at, outcome.who_acts), (None, Some(WhoActs::Admin)));
            assert_eq!(outcome.human, "The line was busy. It is held until an administrator releases it.");
        }
        assert!(Stage::of(held.job().clone()).hold(now()).is_none());
        assert!(Stage::of(held.job().clone()).expire(now() + hour * 1_000).is_none());
        let released = Stage::of(held.job().clone()).release(now()).unwrap().into_job();
        assert_eq!(released.state, expected, "{before}");
        assert_eq!((released.document, released.sources), (job.document, job.sources));
        assert_eq!(released.deadline_at, job.deadline_at);
        let late = job.deadline_at + hour;
        let released = Stage::of(held.into_job()).release(late).unwrap().into_job();
        assert!(released.deadline_at > late, "{before}: it has time again");
    }
    let ended = Stage::of(queued(1)).cancel("x", now()).unwrap().into_job();
    for job in [calling(1), ended] {
        let state = job.state;
        assert!(Stage::of(job.clone()).hold(now()).is_none());
        assert_eq!(Stage::of(job).release(now()).unwrap_err(), state);
    }
}

#[test]
fn a_route_that_fails_leaves_the_others_until_none_is_left() {
    let new = Acceptance { route: "a, b, c".into(), ..acceptance(Content::Ready(DocumentId::new(), 2)) };
    let mut job = accept(new, now()).into_job();
    let mut fail = |route: &str, fault: Fault, open: &[&str], at| {
        let Stage::Queued(queued) = Stage::of(job.clone()) else { panic!("{job:?}") };
        let Stage::Calling(calling) = Stage::of(queued.dial(route, at).0.into_job()) else { panic!() };
        let calling = calling.with_open(open.iter().map(|name| (*name).to_owned()).collect());
        let (moved, outcome) = calling.ended(1, &Progress::default(), CallEnd::Failed(fault), at, 1);
        job = moved.into_job();
        (job.clone(), outcome)
    };
    let all = ["a", "b", "c"];
    let (after, outcome) = fail("b", Fault::sip(503), &all, now());
    assert_eq!((after.state, after.lane.to_string().as_str()), (State::Queued, "a, c"));
    assert_eq!((outcome.who_acts, outcome.next_try_at), (Some(WhoActs::Us), None));
    assert_eq!(outcome.human, "The phone network failed. Another line is tried at once.");
    let (after, _) = fail("a", Fault::sip(407), &all, now());
    assert_eq!((after.state, after.lane.to_string().as_str()), (State::Queued, "c"));
    assert_eq!(after.counters, Counters::default());
    let (after, outcome) = fail("c", Fault::sip(500), &all, now());
    assert_eq!((after.state, after.lane.to_string().as_str()), (State::Waiting, "a, b, c"));
    assert_eq!((after.counters.dials, after.counters.outages), (0, 1), "one round, no dial");
    assert!(outcome.next_try_at.is_some());

    let again = |state| Job { state, next_try_at: None, ..after.clone() };
    let end = |open: &[&str], fault: Fault, at| {
        let Stage::Queued(queued) = Stage::of(again(State::Queued)) else { panic!() };
        let Stage::Calling(calling) = Stage::of(queued.dial("a", at).0.into_job()) else { panic!() };
        let calling = calling.with_open(open.iter().map(|name| (*name).to_owned()).collect());
        calling.ended(1, &Progress::default(), CallEnd::Failed(fault), at, 1).0.into_job().state
    };
    assert_eq!(end(&["a"], Fault::sip(503), now()), State::Waiting, "no other takes calls");
    assert_eq!(end(&all, Fault::sip(486), now()), State::Waiting, "the other end is busy on any line");
    assert_eq!(end(&all, Fault::pages_unavailable(), now()), State::Waiting, "no line is to blame");
    assert_eq!(end(&all, Fault::sip(503), after.deadline_at), State::Expired);
}
