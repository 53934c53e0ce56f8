//! The appliance dies right after each durable step of a fax's life, by name: nothing is lost,
//! nothing is stuck, nothing is doubled unannounced. `src/crash.rs` has the list of steps.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use hyper::Method;
use pagewire::crash::Step;
use serde_json::{Value, json};

use crate::support::mail_server::MailServer;
use crate::support::receiver::receiver;
use crate::support::{BOOTSTRAP, Http, Serve, form, pdf};
use crate::webhooks_served::{ALLOWED, on_the_socket};

/// Appliances at the same time.
const AT_ONCE: usize = 3;
const PAGES: u64 = 2;
/// A number of the simulator that takes half a minute for a page.
const SLOW: &str = "+15005550008";

/// What has to be true when the appliance is back and the fax has ended.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// It is delivered.
    Delivered,
    /// It is not called delivered, and people are told that nobody knows; so much is known to
    /// have arrived.
    Doubtful { confirmed: u64 },
    /// It is cancelled.
    Cancelled,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    step: Step,
    /// For the how manieth time the step is done.
    turn: u32,
    route: &'static str,
    to: &'static str,
    /// Whether a client cancels it, and when.
    cancel: Option<Cancel>,
    expected: Expected,
}

#[derive(Clone, Copy, Debug)]
enum Cancel {
    BeforeTheCall,
    DuringTheCall,
}

const fn loopback(step: Step, turn: u32) -> Case {
    let expected = Expected::Delivered;
    Case { step, turn, route: "loopback", to: "+15551234567", cancel: None, expected }
}

const fn simulator(step: Step, turn: u32, expected: Expected) -> Case {
    Case { step, turn, route: "simulator", to: "+15005550000", cancel: None, expected }
}

const fn cancelled(cancel: Cancel, expected: Expected) -> Case {
    let step = Step::CancelStored;
    Case { step, turn: 1, route: "simulator", to: SLOW, cancel: Some(cancel), expected }
}

const CASES: &[Case] = &[
    loopback(Step::DocumentWritten, 1),
    loopback(Step::DocumentStored, 1),
    loopback(Step::FaxAccepted, 1),
    loopback(Step::CallClaimed, 1),
    // The second document is the one the inbox stores.
    loopback(Step::DocumentWritten, 2),
    loopback(Step::DocumentStored, 2),
    loopback(Step::FaxReceived, 1),
    loopback(Step::CallEnded, 1),
    loopback(Step::EndStored, 1),
    simulator(Step::CallClaimed, 1, Expected::Delivered),
    simulator(Step::FirstData, 1, Expected::Doubtful { confirmed: 0 }),
    simulator(Step::PageConfirmed, 1, Expected::Doubtful { confirmed: 1 }),
    // All pages are confirmed: that is what delivered means.
    simulator(Step::PageConfirmed, 2, Expected::Delivered),
    simulator(Step::CallEnded, 1, Expected::Delivered),
    simulator(Step::EndStored, 1, Expected::Delivered),
    cancelled(Cancel::BeforeTheCall, Expected::Cancelled),
    // It is not dialled again, and what may have arrived is said.
    cancelled(Cancel::DuringTheCall, Expected::Doubtful { confirmed: 0 }),
];

/// Steps of telling a receiver, and how many messages are told twice after dying there: under the
/// same id, as the specification of webhooks announces.
const TOLD: &[(Step, usize)] =
    &[(Step::DeliveriesQueued, 0), (Step::ReceiverAsked, 1), (Step::DeliveryStored, 0)];

/// How often one notice comes by e-mail when the appliance dies after such a step; its Message-ID stays.
const MAILED: &[(Step, RangeInclusive<usize>)] = &[
    (Step::FaxAccepted, 1..=1),
    // The post office is called by the same commit, and may have been quicker than death.
    (Step::EndStored, 1..=2),
    (Step::MailTaken, 2..=2),
    (Step::MailStored, 1..=1),
];

#[test]
fn every_step_has_its_case() {
    let told = TOLD.iter().map(|(step, _)| *step).chain(MAILED.iter().map(|(step, _)| *step));
    let tried: Vec<Step> = CASES.iter().map(|case| case.step).chain(told).collect();
    for step in Step::ALL {
        assert!(tried.contains(step), "nobody dies after {}", step.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_while_a_receiver_is_told_loses_no_event() {
    for (step, twice) in TOLD {
        let folder = tempfile::tempdir().unwrap();
        let (address, mut told) = receiver(|_| 200).await;
        let serve = Serve::start(folder.path(), "loopback", &ALLOWED).await;
        let new = json!({"name": "Practice", "url": format!("http://{address}/"), "types": ["fax.*"]});
        assert_eq!(on_the_socket(folder.path(), Method::POST, "/webhooks", new).await.0, 201);
        assert_eq!(serve.terminate(), Some(0));

        let env = [ALLOWED[0], ("PAGEWIRE_CRASH_AFTER", step.name())];
        let serve = Serve::start(folder.path(), "loopback", &env).await;
        let case = loopback(*step, 1);
        send(&serve.http, &case).await;
        assert_eq!(serve.gone().await, Some(9), "{}: it died there", step.name());

        let serve = Serve::start(folder.path(), "loopback", &ALLOWED).await;
        let id = send(&serve.http, &case).await.expect("an answer");
        assert_eq!(serve.http.finished(BOOTSTRAP, &id).await["status"], "SUCCESS", "{}", step.name());
        let log = serve.http.get("/events?types=fax.*", BOOTSTRAP).await.expect(200).json();
        let log: Vec<i64> =
            log["events"].as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect();
        let mut seen = Vec::new();
        while seen.last() != log.last() {
            let got = tokio::time::timeout(Duration::from_secs(60), told.recv()).await;
            seen.push(got.expect("every event is told").unwrap().seq());
        }
        assert_eq!(seen.len(), log.len() + twice, "{}: {seen:?} of {log:?}", step.name());
        seen.dedup();
        assert_eq!(seen, log, "{}: each of them, in order", step.name());
        assert_eq!(serve.terminate(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_around_a_notice_loses_none() {
    for (step, times) in MAILED {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let mut server = MailServer::start(folder.path(), ([127, 0, 0, 1], 0).into(), |_| None).await;
        let settings = server.settings();
        let mut env: Vec<(&str, &str)> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        env.extend([("PAGEWIRE_MAIL_TO", "desk@example.org"), ("PAGEWIRE_MAIL_NOTIFY", "done")]);
        let case = loopback(*step, 1);
        let deadly = [env.as_slice(), &[("PAGEWIRE_CRASH_AFTER", step.name())]].concat();
        let serve = Serve::start(&data_dir, "loopback", &deadly).await;
        send(&serve.http, &case).await;
        assert_eq!(serve.gone().await, Some(9), "{}: it died there", step.name());

        let serve = Serve::start(&data_dir, "loopback", &env).await;
        let id = send(&serve.http, &case).await.expect("an answer");
        assert_eq!(serve.http.finished(BOOTSTRAP, &id).await["status"], "SUCCESS", "{}", step.name());
        let mut notices = Vec::new();
        for _ in 0..*times.start() {
            let got = tokio::time::timeout(Duration::from_secs(60), server.told.recv()).await;
            notices.push(got.expect("the notice comes").unwrap().header("Message-ID").to_owned());
        }
        assert_eq!(serve.terminate(), Some(0));
        while let Ok(got) = server.told.try_recv() {
            notices.push(got.header("Message-ID").to_owned());
        }
        assert!(times.contains(&notices.len()), "{}: it came {} times", step.name(), notices.len());
        notices.dedup();
        assert_eq!(notices.len(), 1, "{}: one notice, whatever it took", step.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dying_after_each_step_loses_and_doubles_nothing() {
    let cases = stream::iter(CASES).map(|case| tokio::spawn(survives(case)));
    let results: Vec<_> = cases.buffer_unordered(AT_ONCE).collect().await;
    assert_eq!(results.len(), CASES.len());
    results.into_iter().for_each(|result| result.unwrap());
}

async fn survives(case: &Case) {
    let folder = tempfile::tempdir().unwrap();
    let wanted = format!("{}:{}", case.step.name(), case.turn);
    let serve = Serve::start(folder.path(), case.route, &[("PAGEWIRE_CRASH_AFTER", &wanted)]).await;
    let promised = send(&serve.http, case).await;
    if let (Some(id), Some(cancel)) = (&promised, case.cancel) {
        if matches!(cancel, Cancel::DuringTheCall) {
            until_sending(&serve.http, id).await;
        }
        assert!(delete(&serve.http, id).await.is_none(), "{case:?}: it dies before it answers");
    }
    assert_eq!(serve.gone().await, Some(9), "{case:?}: it died there");

    let serve = Serve::start(folder.path(), case.route, &[]).await;
    // A client that got no answer asks again under the same name; so does one that got its answer.
    let id = send(&serve.http, case).await.expect("an answer");
    assert!(promised.is_none_or(|promised| promised == id), "{case:?}: the same request, the same fax");
    let fax = serve.http.finished(BOOTSTRAP, &id).await;
    match case.expected {
        Expected::Delivered => {
            assert_eq!(fax["status"], "SUCCESS", "{case:?}: {fax}");
            assert_eq!(fax["confirmed_pages"], PAGES, "{case:?}: success means every page confirmed");
        }
        Expected::Doubtful { confirmed } => {
            assert_eq!(fax["status"], "FAILED", "{case:?}: {fax}");
            assert_eq!(fax["outcome"]["class"], "unknown_outcome", "{case:?}");
            assert_eq!(fax["confirmed_pages"], confirmed, "{case:?}");
            let human = fax["outcome"]["human"].as_str().unwrap();
            assert!(human.contains("we cannot tell whether page"), "{case:?}: {human}");
        }
        Expected::Cancelled => assert_eq!(fax["state"], "cancelled", "{case:?}: {fax}"),
    }
    let jobs = serve.http.get("/admin/fax-jobs", BOOTSTRAP).await.expect(200).json();
    assert_eq!(
        jobs["jobs"].as_array().unwrap().len(),
        1,
        "{case:?}: one fax, however often it was asked for"
    );
    let received = serve.http.get("/inbound", BOOTSTRAP).await.expect(200).json();
    let received = received.as_array().unwrap().len();
    assert_eq!(received, usize::from(case.route == "loopback"), "{case:?}: it arrived once");
    let is_kept = !matches!(case.expected, Expected::Cancelled) || !fax["pages"].is_null();
    serve.has_documents(folder.path(), usize::from(is_kept) + received).await;
    assert_eq!(serve.terminate(), Some(0));
}

/// Sends the fax of this case under a name of its own; its id, unless the appliance is gone first.
async fn send(http: &Http, case: &Case) -> Option<String> {
    let mut fields = vec![("to", case.to)];
    if matches!(case.cancel, Some(Cancel::BeforeTheCall)) {
        fields.push(("schedule_at", "2100-01-01T00:00:00Z"));
    }
    let (media_type, body) = form(&fields, &[&pdf(PAGES as usize)]);
    let headers =
        [("x-api-key", BOOTSTRAP), ("content-type", &*media_type), ("idempotency-key", "the only one")];
    let mut connection = http.try_connect().await.ok()?;
    let answer = connection.call(Method::POST, "/fax", &headers, body).await.ok()?;
    Some(answer.expect(202).json()["id"].as_str().unwrap().to_owned())
}

async fn delete(http: &Http, id: &str) -> Option<Value> {
    let mut connection = http.try_connect().await.ok()?;
    let answer =
        connection.call(Method::DELETE, &format!("/fax/{id}"), &[("x-api-key", BOOTSTRAP)], "").await;
    Some(answer.ok()?.json())
}

async fn until_sending(http: &Http, id: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let fax = http.get(&format!("/fax/{id}?wait=5"), BOOTSTRAP).await.expect(200).json();
        if fax["state"] == "sending" {
            return;
        }
        assert!(Instant::now() < deadline, "never sent: {fax}");
    }
}
