//! Four of the simulator's numbers in real time, over HTTP; all ten run under the virtual clock in
//! `queue.rs`.

use serde_json::{Value, json};

use crate::support::{Demo, pdf};

async fn outcome(demo: &Demo, to: &str, pages: usize) -> (Value, Value) {
    let fax = demo.http.send_fax(&demo.test_key, to, &pdf(pages)).await.expect(202).json();
    let id = fax["id"].as_str().unwrap();
    let ended = demo.http.finished(&demo.test_key, id).await;
    let attempts = demo.http.get(&format!("/fax/{id}/attempts"), &demo.test_key).await.expect(200).json();
    (ended, attempts)
}

#[tokio::test]
async fn four_numbers_end_as_scripted() {
    let demo = Demo::start();
    let (delivered, wrong, slow) = tokio::join!(
        outcome(&demo, "+15005550000", 2),
        outcome(&demo, "+15005550004", 1),
        outcome(&demo, "+15005550008", 1),
    );
    assert_eq!((&delivered.0["status"], &delivered.0["confirmed_pages"]), (&json!("SUCCESS"), &json!(2)));
    assert_eq!(delivered.1[0]["outcome"]["class"], "delivered");
    assert!(delivered.1[0]["remote_station_id"].is_string());
    assert_eq!((&wrong.0["status"], &wrong.0["outcome"]["class"]), (&json!("FAILED"), &json!("number_bad")));
    assert_eq!(wrong.0["error"], wrong.0["outcome"]["human"]);
    assert_eq!(wrong.1.as_array().unwrap().len(), 1);
    assert_eq!(slow.0["status"], "SUCCESS");
    assert!(slow.1[0]["pages"][0]["duration_ms"].as_u64().unwrap() >= 29_000);
}

#[tokio::test]
async fn a_call_that_breaks_is_resumed_at_the_unconfirmed_page() {
    let demo = Demo::start();
    let fax = demo.http.send_fax(&demo.test_key, "+15005550005", &pdf(3)).await.expect(202).json();
    let path = format!("/fax/{}?wait=20", fax["id"].as_str().unwrap());
    // The retry itself comes after a real minute; the virtual clock covers it.
    let mut now = fax;
    while now["state"] != "waiting" {
        now = demo.http.get(&path, &demo.test_key).await.expect(200).json();
    }
    assert_eq!((&now["confirmed_pages"], &now["status"]), (&json!(1), &json!("queued")));
    assert_eq!(now["outcome"]["class"], "remote_hung_up");
    assert!(now["next_try_at"].is_string());
    assert!(now["outcome"]["human"].as_str().unwrap().contains("page 2"), "{now}");
}
