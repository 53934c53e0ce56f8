//! A fax with several routes: which one it takes, and what becomes of it when that one fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Method;
use pagewire::access::audit::Context;
use pagewire::clock::Work;
use pagewire::fax::attempt::CallEnd;
use pagewire::fax::job::State;
use pagewire::fax::number::FaxNumber;
use pagewire::fax::outcome::{Class, Fault};
use pagewire::id::AttemptId;
use pagewire::queue::Line;
use pagewire::route::simulator::Simulator;
use pagewire::route::{BoxFuture, Call, Route, Settled};
use serde_json::{Value, json};

use crate::queue::{Site, fax, start};
use crate::support::{BOOTSTRAP, Serve, form, on_the_appliance, pdf};

#[tokio::test]
async fn a_route_that_fails_hands_the_fax_on_within_the_same_try() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start()).await;
    site.queue.start();
    let id = site.submit(fax("+15005550009", "simulator, simulator:2", 2)).await;
    let (job, attempts) = site.end_of(id).await;
    assert_eq!((job.state, job.route.as_str()), (State::Delivered, "simulator:2"));
    let calls: Vec<_> = attempts.iter().map(|call| (call.route.as_str(), call.number)).collect();
    assert_eq!(calls, [("simulator", 1), ("simulator:2", 2)]);
    let failed = attempts[0].outcome.as_ref().unwrap();
    assert_eq!((failed.class, failed.next_try_at), (Class::Provider, None));
    assert_eq!(
        failed.human,
        "The provider's account, credit or service failed. Another line is tried at once."
    );
    assert_eq!((job.counters.dials, job.counters.tries), (1, 1), "the first call cost nothing");
    let between = attempts[1].started_at.duration_since(attempts[0].ended_at.unwrap());
    assert!(between.as_millis() < 100, "{between}");
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn the_routes_are_taken_in_order_as_far_as_they_have_lines() {
    let folder = tempfile::tempdir().unwrap();
    let env =
        [("PAGEWIRE_ROUTES", "simulator:2, simulator"), ("PAGEWIRE_CALLS", "simulator:2=1, simulator=1")];
    let serve = Serve::start(folder.path(), "loopback", &env).await;
    let http = &serve.http;
    let dry = async |key: &str| -> Value {
        let (media_type, body) = form(&[("to", "+15551234567"), ("dry_run", "1")], &[&pdf(1)]);
        let headers = [("x-api-key", key), ("content-type", media_type.as_str())];
        http.call(Method::POST, "/fax", &headers, body).await.expect(200).json()
    };
    let dry_run = dry(BOOTSTRAP).await;
    assert_eq!(dry_run["route"], "simulator:2");
    assert_eq!(dry_run["why"], "it is the first of line.routes that can take it now");

    // Half a minute a page, so that its line stays in use.
    let slow = http.send_fax(BOOTSTRAP, "+15005550008", &pdf(1)).await.expect(202).json();
    assert_eq!(slow["routes"], json!(["simulator:2", "simulator"]));
    let path = format!("/fax/{}", slow["id"].as_str().unwrap());
    let called = http.get(&format!("{path}?wait=5"), BOOTSTRAP).await.expect(200).json();
    assert_eq!((&called["status"], &called["backend"]), (&json!("in_progress"), &json!("simulator:2")));
    let dry_run = dry(BOOTSTRAP).await;
    assert_eq!(dry_run["route"], "simulator");
    assert_eq!(
        dry_run["why"],
        "it is the first of line.routes that can take it now; all lines of simulator:2 are in use"
    );

    // A test key stays where nobody is reached, whatever else there is.
    let new = json!({ "name": "test", "kind": "development" });
    let made = http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200).json();
    let test_key = made["token"].as_str().unwrap();
    let dry_run = dry(test_key).await;
    assert_eq!(
        (&dry_run["route"], &dry_run["why"]),
        (&json!("simulator"), &json!("test keys always go to the simulator"))
    );
    let sent = http.send_fax(test_key, "+15551234567", &pdf(1)).await.expect(202).json();
    assert_eq!(sent["routes"], json!(["simulator"]));
}

#[tokio::test]
async fn who_has_no_line_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "simulator", &[("PAGEWIRE_CALLS", "simulator=1")]).await;
    let http = &serve.http;
    let slow = http.send_fax(BOOTSTRAP, "+15005550008", &pdf(1)).await.expect(202).json();
    let path = format!("/fax/{}", slow["id"].as_str().unwrap());
    http.get(&format!("{path}?wait=5"), BOOTSTRAP).await.expect(200);
    let next = http.send_fax(BOOTSTRAP, "+15551234567", &pdf(1)).await.expect(202).json();
    let sentence = "All lines are in use. It is sent as soon as one is free.";
    assert_eq!((&next["state"], &next["modifier"]), (&json!("queued"), &json!("no_line")));
    assert_eq!(next["waiting_for"], sentence);
    http.call(Method::DELETE, &path, &[("x-api-key", BOOTSTRAP)], "").await;
    let ended = http.finished(BOOTSTRAP, next["id"].as_str().unwrap()).await;
    assert_eq!((&ended["state"], &ended["modifier"]), (&json!("delivered"), &Value::Null));
}

/// A line that costs money, and works or does not.
struct Trunk {
    name: &'static str,
    is_down: Arc<AtomicBool>,
}

impl Route for Trunk {
    fn name(&self) -> &str {
        self.name
    }

    fn call<'a>(&'a self, call: Call, work: &'a mut Work) -> BoxFuture<'a, CallEnd> {
        if self.is_down.load(Ordering::Relaxed) {
            return Box::pin(async { CallEnd::Failed(Fault::sip(503)) });
        }
        Simulator::FIRST.call(call, work)
    }

    fn settle(&self, attempt: AttemptId, to: &FaxNumber) -> Settled {
        Simulator::FIRST.settle(attempt, to)
    }
}

/// What was told of the line, newest first.
async fn told(site: &Site) -> Vec<String> {
    let told = site.db.events_about("route:simulator:2".into(), i64::MAX, 9).await.unwrap();
    told.into_iter().map(|entry| entry.event.kind).collect()
}

#[tokio::test]
async fn a_line_that_keeps_failing_rests_until_a_call_gets_through() {
    let folder = tempfile::tempdir().unwrap();
    let is_down = Arc::new(AtomicBool::new(true));
    let trunk = |name, is_down| Line { route: Box::new(Trunk { name, is_down }), most_calls: 2 };
    let lines = || vec![trunk("simulator:2", is_down.clone()), trunk("simulator:3", Arc::default())];
    let site = Site::open_on(folder.path(), start(), lines()).await;
    site.queue.start();
    let submit = |n| site.submit(fax(&format!("+1212555010{n}"), "simulator:2, simulator:3", 1));
    let mut faxes = Vec::new();
    for n in 0..5 {
        let id = submit(n).await;
        site.until(id, |job| job.route == "simulator:3").await;
        faxes.push(id);
    }
    // Five failures are enough to leave it alone; a minute later one call would be let through.
    faxes.push(submit(5).await);
    for (n, id) in faxes.into_iter().enumerate() {
        let (job, attempts) = site.end_of(id).await;
        assert_eq!((job.state, job.counters.dials), (State::Delivered, 1));
        let through: Vec<_> = attempts.iter().map(|call| call.route.as_str()).collect();
        let both = ["simulator:2", "simulator:3"];
        assert_eq!(through, if n < 5 { &both[..] } else { &both[1..] }, "fax {n}");
    }
    assert_eq!(told(&site).await, ["route.out_of_service"]);

    // A fax that has no other is, after a restart too, the call that finds out.
    site.queue.stop(Duration::ZERO).await;
    let id = site.submit(fax("+12125550120", "simulator:2", 1)).await;
    let clock = site.clock.clone();
    drop(site);
    is_down.store(false, Ordering::Relaxed);
    let site = Site::open_on(folder.path(), clock.now(), lines()).await;
    site.queue.start();
    let (job, attempts) = site.end_of(id).await;
    assert_eq!((job.state, attempts.len()), (State::Delivered, 1));
    assert_eq!(told(&site).await, ["route.in_service", "route.out_of_service"]);
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_line_out_of_service_is_told_and_can_be_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let is_down = Arc::new(AtomicBool::new(true));
    let line = Line { route: Box::new(Trunk { name: "simulator:2", is_down }), most_calls: 8 };
    let site = Site::open_on(folder.path(), start(), vec![line]).await;
    site.queue.start();
    for n in 0..5 {
        let id = site.submit(fax(&format!("+1212555010{n}"), "simulator:2", 1)).await;
        site.until(id, |job| job.state == State::Waiting).await;
        site.queue.cancel(id, &Context::system()).await.unwrap();
    }
    site.queue.stop(Duration::ZERO).await;
    drop(site);

    let serve =
        Serve::start(folder.path(), "loopback", &[("PAGEWIRE_ROUTES", "simulator:2, simulator")]).await;
    let http = &serve.http;
    let shown = http.get("/admin/routes", BOOTSTRAP).await.expect(200).json();
    let names: Vec<_> = shown["routes"].as_array().unwrap().iter().map(|route| &route["name"]).collect();
    assert_eq!(names, ["simulator:2", "simulator", "loopback"]);
    let first = &shown["routes"][0];
    assert_eq!((&first["place"], &first["failures"]), (&json!(1), &json!(5)));
    assert_eq!(first["last_failure"], "The phone network failed.");
    assert!(first["out_since"].is_string() && first["next_probe_at"].is_string(), "{first}");
    assert_eq!(
        (&shown["routes"][1]["state"], &shown["routes"][1]["place"]),
        (&json!("in_service"), &json!(2))
    );

    let out = |summary: &Value| -> Option<Value> {
        let attention = summary["attention"].as_array().unwrap();
        attention.iter().find(|entry| entry["kind"] == "route_out_of_service").cloned()
    };
    let entry = out(&http.get("/admin/summary", BOOTSTRAP).await.expect(200).json()).unwrap();
    let sentence = entry["sentence"].as_str().unwrap();
    assert!(
        sentence
            .starts_with("The line simulator:2 is out of service. The phone network failed. A call is tried"),
        "{sentence}"
    );
    let action = &entry["items"][0]["actions"][0];
    assert_eq!(action["path"], "/admin/routes/simulator:2/restore");
    let restored = http.json(Method::POST, action["path"].as_str().unwrap(), BOOTSTRAP, json!({})).await;
    assert_eq!(restored.expect(200).json()["routes"][0]["state"], "in_service");
    assert_eq!(out(&http.get("/admin/summary", BOOTSTRAP).await.expect(200).json()), None);
    let rows = http.get("/admin/audit?target=route:simulator:2", BOOTSTRAP).await.expect(200).json();
    assert_eq!(rows["rows"][0]["action"], "route.restored");
    http.json(Method::POST, "/admin/routes/none/restore", BOOTSTRAP, json!({})).await.expect(404);
}

#[tokio::test]
async fn a_fax_waits_for_its_hours_and_those_of_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let hour = |ahead: i8| (jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour() + ahead) % 24;
    // Two hours a day that are not near.
    let later = format!("{:02}00-{:02}30", hour(8), hour(8));
    let of_line = format!("simulator:2=Any{later}");
    let env =
        [("TZ", "UTC"), ("PAGEWIRE_ROUTES", "simulator:2, simulator"), ("PAGEWIRE_HOURS", of_line.as_str())];
    let serve = Serve::start(folder.path(), "loopback", &env).await;
    let http = &serve.http;
    let send = async |fields: &[(&str, &str)]| {
        let fields = [&[("to", "+15551234567")], fields].concat();
        let (media_type, body) = form(&fields, &[&pdf(1)]);
        let headers = [("x-api-key", BOOTSTRAP), ("content-type", media_type.as_str())];
        http.call(Method::POST, "/fax", &headers, body).await
    };
    let dry_run = send(&[("dry_run", "1")]).await.expect(200).json();
    assert_eq!(dry_run["route"], "simulator");
    assert_eq!(
        dry_run["why"],
        "it is the first of line.routes that can take it now; simulator:2 is outside its hours"
    );
    let sentence = "It is outside the hours in which it may be sent. They begin on ";
    let dry_run = send(&[("dry_run", "1"), ("hours", later.as_str())]).await.expect(200).json();
    assert!(dry_run["waiting_for"].as_str().unwrap().starts_with(sentence), "{dry_run}");
    let fax = send(&[("hours", later.as_str())]).await.expect(202).json();
    assert_eq!(fax["hours"], format!("Any{later}"));
    let path = format!("/fax/{}", fax["id"].as_str().unwrap());
    let mut asleep = fax;
    while asleep["state"] != "scheduled" {
        asleep = http.get(&format!("{path}?wait=1"), BOOTSTRAP).await.expect(200).json();
    }
    assert_eq!(asleep["modifier"], "outside_hours");
    assert!(asleep["waiting_for"].as_str().unwrap().starts_with(sentence), "{asleep}");
    assert!(asleep["deadline_at"].as_str() > asleep["next_try_at"].as_str(), "{asleep}");
    let refused = send(&[("hours", "Monday 8-9")]).await.expect(422).json();
    let said = refused.to_string();
    assert!(
        said.contains("'hours' must be days (Mon to Sun") && said.contains("Wk2300-0800,Sat,Sun"),
        "{said}"
    );
    let shown = http.get("/admin/routes", BOOTSTRAP).await.expect(200).json();
    assert_eq!(shown["routes"][0]["state"], "outside_hours");

    let refused = http.json(Method::PATCH, &path, BOOTSTRAP, json!({ "hours": "Monday 8-9" })).await;
    assert!(refused.expect(422).json().to_string().contains("'hours' must be days (Mon to Sun"));
    let others = format!("Any{:02}00-{:02}30", hour(9), hour(9));
    let altered = http.json(Method::PATCH, &path, BOOTSTRAP, json!({ "hours": others })).await;
    assert_eq!(altered.expect(200).json()["hours"], others);
    let id = path.strip_prefix("/fax/").unwrap();
    on_the_appliance(folder.path(), "jobs", &["alter", id, "--hours", "any"], "").await;
    let sent = http.finished(BOOTSTRAP, id).await;
    assert_eq!((&sent["state"], &sent["hours"]), (&json!("delivered"), &Value::Null));
    let document = folder.path().join("letter.pdf");
    std::fs::write(&document, pdf(1)).unwrap();
    let sending = [document.to_str().unwrap(), "--to", "+15551234567", "--hours", &others, "--json"];
    let printed = on_the_appliance(folder.path(), "send", &sending, "").await;
    let fax: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(fax["hours"], others);
}
