//! A fax with several routes: which one it takes, and what becomes of it when that one fails.

use hyper::Method;
use pagewire::fax::job::State;
use pagewire::fax::outcome::Class;
use serde_json::{Value, json};

use crate::queue::{Site, fax, start};
use crate::support::{BOOTSTRAP, Serve, form, pdf};

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
    site.queue.stop(std::time::Duration::ZERO).await;
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
