//! What is done to a fax after it was accepted: changed, held, released, sent again.

use std::process::Command;

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Demo, PROGRAM, form, pdf};

/// A fax that waits until tomorrow, of a test key.
async fn scheduled(demo: &Demo, to: &str) -> Value {
    let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let fields = [("to", to), ("schedule_at", &tomorrow.to_string()), ("tag", "invoice 7")];
    let (media_type, body) = form(&fields, &[&pdf(2)]);
    let headers = [("x-api-key", demo.test_key.as_str()), ("content-type", &media_type)];
    demo.http.call(Method::POST, "/fax", &headers, body).await.expect(202).json()
}

async fn patch(demo: &Demo, fax: &Value, change: Value, status: u16) -> Value {
    let path = format!("/fax/{}", fax["id"].as_str().unwrap());
    demo.http.json(Method::PATCH, &path, &demo.test_key, change).await.expect(status).json()
}

#[tokio::test]
async fn a_fax_that_waits_is_changed_and_then_sent() {
    let demo = Demo::start();
    let fax = scheduled(&demo, "+15005550004").await;
    let changed = patch(&demo, &fax, json!({ "priority": "high", "tag": null }), 200).await;
    assert_eq!((&changed["priority"], &changed["tag"]), (&json!("high"), &Value::Null));
    assert_eq!((&changed["state"], &changed["to"]), (&json!("scheduled"), &fax["to"]));

    for (change, status, field) in [
        (json!({ "schedule_at": "2001-01-01T00:00:00Z" }), 422, "schedule_at"),
        (json!({ "deadline": "2001-01-01T00:00:00Z" }), 422, "deadline"),
        (json!({ "priority": "urgent" }), 422, "priority"),
        (json!({ "tag": "a\nb" }), 422, "tag"),
        (json!({ "pages": 7 }), 422, "pages"),
    ] {
        let refused = patch(&demo, &fax, change, status).await;
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    let refused = patch(&demo, &fax, json!({ "to": "12" }), 400).await;
    assert_eq!(refused["detail"], "'to' must be E.164 or digits only");

    let sent = patch(&demo, &fax, json!({ "to": "+1 500 555 0000", "schedule_at": null }), 200).await;
    assert_eq!((&sent["to"], &sent["to_e164"]), (&json!("+1 500 555 0000"), &json!("+15005550000")));
    let done = demo.http.finished(&demo.test_key, fax["id"].as_str().unwrap()).await;
    assert_eq!(done["state"], "delivered");
    let refused = patch(&demo, &fax, json!({ "priority": "bulk" }), 409).await;
    assert_eq!(refused["detail"], "The fax is delivered already; resend it in place of changing it.");
    // Who may not see it may not change it, and does not learn that it is there.
    let path = format!("/fax/{}", fax["id"].as_str().unwrap());
    let other = json!({ "name": "other", "owner": "service:other", "scopes": ["fax:send", "fax:read"] });
    let made = demo.http.json(Method::POST, "/admin/api-keys", &demo.admin_key, other).await;
    let other = made.json()["token"].as_str().unwrap().to_owned();
    demo.http.json(Method::PATCH, &path, &other, json!({})).await.expect(404);
    demo.http.json(Method::POST, &format!("{path}/resend"), &other, json!({})).await.expect(404);
}

#[tokio::test]
async fn a_fax_that_ended_is_sent_again_to_a_corrected_number() {
    let demo = Demo::start();
    let wrong = demo.http.send_fax(&demo.test_key, "+15005550004", &pdf(2)).await.expect(202).json();
    let id = wrong["id"].as_str().unwrap();
    let resend = format!("/fax/{id}/resend");
    assert_eq!(demo.http.finished(&demo.test_key, id).await["state"], "failed");

    let again = demo.http.json(Method::POST, &resend, &demo.test_key, json!({ "to": "+15005550000" })).await;
    let again = again.expect(202).json();
    assert_eq!((&again["resend_of"], &again["pages"]), (&wrong["id"], &json!(2)));
    let second = again["id"].as_str().unwrap();
    assert_ne!(second, id);
    assert_eq!(demo.http.finished(&demo.test_key, second).await["state"], "delivered");
    for page in 1..=2 {
        let png = |id: &str| format!("/fax/{id}/pages/{page}.png");
        let first = demo.http.get(&png(id), &demo.test_key).await.expect(200).body;
        assert_eq!(first, demo.http.get(&png(second), &demo.test_key).await.expect(200).body);
    }

    let waiting = scheduled(&demo, "+15005550000").await;
    let path = format!("/fax/{}/resend", waiting["id"].as_str().unwrap());
    let refused = demo.http.json(Method::POST, &path, &demo.test_key, json!({})).await.expect(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("scheduled"), "{refused}");

    // The same name twice is one fax; the same name for another number is a mistake.
    let named = async |to: &str| {
        let headers = [("x-api-key", demo.test_key.as_str()), ("idempotency-key", "once")];
        let body = json!({ "to": to }).to_string().into_bytes();
        demo.http.call(Method::POST, &resend, &headers, body).await
    };
    let first = named("+15005550000").await.expect(202).json();
    assert_eq!(named("+15005550000").await.expect(202).json()["id"], first["id"]);
    named("+15005550001").await.expect(422);
}

#[tokio::test]
async fn a_held_fax_stays_until_it_is_released() {
    let demo = Demo::start();
    let fax = scheduled(&demo, "+15005550000").await;
    let id = fax["id"].as_str().unwrap();
    let verb = async |verb: &str, status: u16| {
        let path = format!("/admin/fax-jobs/{id}/{verb}");
        demo.http.json(Method::POST, &path, &demo.admin_key, json!({})).await.expect(status).json()
    };
    assert_eq!(verb("hold", 200).await["state"], "held");
    verb("hold", 409).await;
    patch(&demo, &fax, json!({ "schedule_at": null }), 200).await;
    let shown = demo.http.get(&format!("/fax/{id}?wait=1"), &demo.test_key).await.expect(200).json();
    assert_eq!(shown["state"], "held", "its time has come, and it is held all the same");
    verb("release", 200).await;
    assert_eq!(demo.http.finished(&demo.test_key, id).await["state"], "delivered");
    verb("hold", 409).await;
    let audit = demo.http.get("/admin/audit?limit=100", &demo.admin_key).await.expect(200).json().to_string();
    for action in ["fax.held", "fax.altered", "fax.released"] {
        assert!(audit.contains(action), "{action}");
    }
}

#[tokio::test]
async fn the_commands_do_the_same() {
    let demo = Demo::start();
    let fax = scheduled(&demo, "+15005550004").await;
    let id = fax["id"].as_str().unwrap().to_owned();
    let data_dir = demo.data_dir.display().to_string();
    let jobs = async |arguments: &[&str]| {
        let mut all = vec!["jobs", "--data-dir", &data_dir];
        all.extend(arguments);
        let mut command = Command::new(PROGRAM);
        command.args(all);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, listed) = jobs(&["list", "--status", "scheduled"]).await;
    assert_eq!(code, Some(0), "{listed}");
    assert!(listed.contains(&id) && listed.contains("0/2"), "{listed}");
    assert!(jobs(&["hold", &id]).await.1.contains("held"));
    let (_, altered) = jobs(&["alter", &id, "--to", "+15005550000", "--at", "now"]).await;
    assert!(altered.contains("held"), "{altered}");
    jobs(&["release", &id]).await;
    demo.http.finished(&demo.test_key, &id).await;
    let (code, shown) = jobs(&["show", &id]).await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("delivered") && shown.contains("call 1") && shown.contains("2/2"), "{shown}");
    let (code, refused) = jobs(&["cancel", &id]).await;
    assert_eq!(code, Some(3), "{refused}");
    assert!(refused.contains("delivered already"), "{refused}");
    let (_, again) = jobs(&["resend", &id, "--json"]).await;
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["resend_of"], id);
}

/// What cannot be done in a state is answered with the state and with what can be done.
#[tokio::test]
async fn impossible_verbs_name_the_state_and_what_is_possible() {
    let demo = Demo::start();
    let (http, key) = (&demo.http, demo.test_key.as_str());
    let later = scheduled(&demo, "+15005550000").await["id"].as_str().unwrap().to_owned();
    let held = scheduled(&demo, "+15005550000").await["id"].as_str().unwrap().to_owned();
    let hold = format!("/admin/fax-jobs/{held}/hold");
    http.json(Method::POST, &hold, &demo.admin_key, json!({})).await.expect(200);
    let sent = http.send_fax(key, "+15005550000", &pdf(1)).await.expect(202).json();
    let sent = sent["id"].as_str().unwrap().to_owned();
    http.finished(key, &sent).await;
    let slow = http.send_fax(key, "+15005550008", &pdf(2)).await.expect(202).json();
    let slow = slow["id"].as_str().unwrap().to_owned();
    while http.get(&format!("/fax/{slow}?wait=5"), key).await.expect(200).json()["state"] != "sending" {}

    for (id, verb, state, possible) in [
        (&sent, "cancel", "delivered", "only a fax that has not ended can be cancelled"),
        (&sent, "alter", "delivered", "resend it in place of changing it"),
        (&sent, "hold", "delivered", "only a fax that waits for its turn or its time can be held"),
        (&sent, "release", "delivered", "only a held fax can be released"),
        (&slow, "alter", "sending", "wait for the end of the call, or cancel it"),
        (&slow, "resend", "sending", "wait for its end or cancel it first"),
        (&slow, "hold", "sending", "only a fax that waits for its turn or its time can be held"),
        (&slow, "release", "sending", "only a held fax can be released"),
        (&later, "resend", "scheduled", "change it or cancel it first"),
        (&later, "release", "scheduled", "only a held fax can be released"),
        (&held, "resend", "held", "change it or cancel it first"),
        (&held, "hold", "held", "only a fax that waits for its turn or its time can be held"),
    ] {
        let (method, path, key) = match verb {
            "cancel" => (Method::DELETE, format!("/fax/{id}"), key),
            "alter" => (Method::PATCH, format!("/fax/{id}"), key),
            "resend" => (Method::POST, format!("/fax/{id}/resend"), key),
            verb => (Method::POST, format!("/admin/fax-jobs/{id}/{verb}"), demo.admin_key.as_str()),
        };
        let refused = http.json(method, &path, key, json!({})).await.expect(409).json();
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("is {state}")) && detail.contains(possible), "{verb}: {detail}");
        assert_eq!(refused["error"]["code"], "wrong_state");
    }

    let tomorrow = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
    for (name, value, schedule) in [
        ("schedule_at", "2001-01-01T00:00:00Z", None),
        ("schedule_at", "tomorrow", None),
        ("deadline", "2001-01-01T00:00:00Z", None),
        ("deadline", &tomorrow, Some("2100-01-01T00:00:00Z")),
    ] {
        let mut fields = vec![("to", "+15005550000"), (name, value)];
        fields.extend(schedule.map(|at| ("schedule_at", at)));
        let (media_type, body) = form(&fields, &[&pdf(1)]);
        let headers = [("x-api-key", key), ("content-type", media_type.as_str())];
        let refused = http.call(Method::POST, "/fax", &headers, body).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], name, "{refused}");
    }
}
