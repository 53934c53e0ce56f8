//! One document to many numbers, as clients see it.

use std::process::Command;

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Answer, BOOTSTRAP, Demo, Http, PROGRAM, Serve, form, on_the_appliance, pdf};

async fn post(http: &Http, key: &str, fields: &[(&str, &str)], name: Option<&str>) -> Answer {
    let (media_type, body) = form(fields, &[&pdf(2)]);
    let mut headers = vec![("x-api-key", key), ("content-type", media_type.as_str())];
    headers.extend(name.map(|name| ("idempotency-key", name)));
    http.call(Method::POST, "/fax", &headers, body).await
}

/// The group once its last fax has ended.
async fn done(http: &Http, key: &str, id: &str) -> Value {
    loop {
        let group = http.get(&format!("/groups/{id}"), key).await.expect(200).json();
        if group["done"] == true {
            return group;
        }
        let open =
            group["jobs"].as_array().unwrap().iter().find(|job| job["outcome"]["next_try_at"].is_null());
        let id = open.map_or_else(|| group["jobs"][0]["id"].clone(), |job| job["id"].clone());
        http.get(&format!("/fax/{}?wait=2", id.as_str().unwrap()), key).await.expect(200);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn several_numbers_make_a_group_that_is_told_of_as_one() {
    let demo = Demo::start();
    let (http, key) = (&demo.http, demo.test_key.as_str());
    let fields =
        [("to", "+1 500 555 0000"), ("to", "+15005550004"), ("to", "5005550000"), ("to", "+15005550100")];
    let answer = post(http, key, &fields, Some("the broadcast")).await.expect(202);
    let group = &answer.json()["group"];
    assert_eq!((&group["total"], &group["done"], &group["pages"]), (&json!(3), &json!(false), &json!(6)));
    assert_eq!(group["human"], "0 of 3 delivered, 3 waiting.");
    assert_eq!(group["duplicates"], json!(["5005550000"]));
    let jobs = group["jobs"].as_array().unwrap();
    let numbers: Vec<_> = jobs.iter().map(|job| (&job["to"], &job["to_e164"])).collect();
    assert_eq!(numbers[0], (&json!("+1 500 555 0000"), &json!("+15005550000")));
    assert_eq!(numbers.len(), 3);
    // The same request again is the same group.
    assert_eq!(post(http, key, &fields, Some("the broadcast")).await.expect(202).body, answer.body);
    post(http, key, &fields[..2], Some("the broadcast")).await.expect(422);

    let id = group["id"].as_str().unwrap();
    let ended = done(http, key, id).await;
    assert_eq!(ended["human"], "2 of 3 delivered, 1 failed.");
    assert_eq!(ended["counts"], json!({"delivered": 2, "failed": 1}));
    assert_eq!((&ended["pages"], &ended["confirmed_pages"]), (&json!(6), &json!(4)));
    assert!(ended["final_at"].is_string());
    let listed = http.get(&format!("/fax?group={id}&limit=2"), key).await.expect(200).json();
    assert_eq!((&listed["total"], listed["jobs"].as_array().unwrap().len()), (&json!(3), 2));
    assert_eq!(listed["jobs"][0]["group"], id);
    let next = format!("/fax?group={id}&cursor={}", listed["next_cursor"].as_str().unwrap());
    assert_eq!(http.get(&next, key).await.expect(200).json()["jobs"].as_array().unwrap().len(), 1);
    let failed = http.get(&format!("/groups/{id}?status=FAILED"), key).await.expect(200).json();
    assert_eq!(failed["jobs"].as_array().unwrap().len(), 1);
    http.get("/fax?group=x", key).await.expect(422);

    let events = http.get("/events?types=group.*", key).await.expect(200).json();
    let events = events["events"].as_array().unwrap();
    assert_eq!(events.len(), 1, "told once: {events:?}");
    assert_eq!(
        (&events[0]["type"], &events[0]["subject"]),
        (&json!("group.done"), &json!(format!("group:{id}")))
    );
    assert_eq!((&events[0]["data"]["delivered"], &events[0]["data"]["total"]), (&json!(2), &json!(3)));

    let refused = http.call(Method::DELETE, &format!("/groups/{id}"), &[("x-api-key", key)], "").await;
    let refused = refused.expect(409).json();
    let detail = "All faxes of the group have ended already; only one that has not can be cancelled. 2 of 3 delivered, 1 failed.";
    assert_eq!(refused["detail"], detail);
    // Nobody else sees it.
    let other = json!({ "name": "other", "owner": "service:other", "scopes": ["fax:read", "fax:cancel"] });
    let made = http.json(Method::POST, "/admin/api-keys", &demo.admin_key, other).await;
    let other = made.json()["token"].as_str().unwrap().to_owned();
    http.get(&format!("/groups/{id}"), &other).await.expect(404);
    http.call(Method::DELETE, &format!("/groups/{id}"), &[("x-api-key", &other)], "").await.expect(404);
    let none = http.get(&format!("/fax?group={id}"), &other).await.expect(200).json();
    assert_eq!((&none["total"], &none["jobs"]), (&json!(0), &json!([])));
    let none = http.get("/events?types=group.*", &other).await.expect(200).json();
    assert_eq!(none["events"], json!([]));
}

#[tokio::test]
async fn what_is_wrong_with_each_number_is_said_and_nothing_is_accepted() {
    let demo = Demo::start();
    let (http, key) = (&demo.http, demo.api_key.as_str());
    let prefix = "/admin/policy/numbers/1555123";
    let rule = json!({ "ruling": "block", "reason": "moved away" });
    http.json(Method::PUT, prefix, &demo.admin_key, rule).await.expect(200);
    let errors = |answer: &Value| -> Vec<String> {
        answer["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["message"].as_str().unwrap().to_owned())
            .collect()
    };
    let count = async || http.get("/fax", key).await.expect(200).json()["total"].as_u64().unwrap();
    let before = count().await;

    let fields = [("to", "+15551230001"), ("to", "+15559990000"), ("to", "+1 555 123 0002")];
    let refused = post(http, key, &fields, None).await.expect(403).json();
    assert_eq!(
        refused["detail"],
        "2 of the numbers are not allowed from here, so the fax was sent to none of them."
    );
    let said = errors(&refused);
    assert_eq!(said[0], "+15551230001: This number is not allowed from here. It was blocked: moved away.");
    assert!(said.len() == 2 && said[1].starts_with("+1 555 123 0002: "), "{said:?}");

    let refused = post(http, key, &[("to", "+15559990000"), ("to", "12"), ("to", "")], None).await;
    let refused = refused.expect(400).json();
    assert_eq!(refused["detail"], "'to' must be E.164 or digits only; 2 of the numbers cannot be read.");
    assert_eq!(errors(&refused)[0], "12: 'to' must be E.164 or digits only");

    let new =
        json!({ "name": "local", "scopes": ["fax:send"], "resources": { "to_prefixes": ["+1555999"] } });
    let made = http.json(Method::POST, "/admin/api-keys", &demo.admin_key, new).await.expect(200).json();
    let local = made["token"].as_str().unwrap();
    let refused =
        post(http, local, &[("to", "+15559990000"), ("to", "+15550000000")], None).await.expect(403).json();
    assert_eq!(refused["detail"], "This key may not send to 1 of these numbers.");
    assert_eq!(errors(&refused), ["+15550000000: This key may not send to this number."]);

    let numbers: Vec<String> = (0..1001).map(|n| format!("+1555888{n:04}")).collect();
    let fields: Vec<_> = numbers.iter().map(|to| ("to", to.as_str())).collect();
    let refused = post(http, key, &fields, None).await.expect(422).json();
    assert_eq!(
        (&refused["errors"][0]["field"], &refused["errors"][0]["code"]),
        (&json!("to"), &json!("too_many"))
    );
    // What is no group is what it ever was.
    let refused = post(http, key, &[("to", "+1 555, +1 556")], None).await.expect(400).json();
    assert_eq!(refused["detail"], "'to' must be E.164 or digits only");
    assert_eq!(count().await, before);

    let dry = [("to", "+15551230001"), ("to", "+15559990000"), ("dry_run", "1")];
    let dry = post(http, key, &dry, None).await.expect(200).json();
    assert_eq!((&dry["pages"], &dry["dry_run"], &dry["quota"]), (&json!(2), &json!(true), &Value::Null));
    let allowed: Vec<_> =
        dry["numbers"].as_array().unwrap().iter().map(|n| &n["policy"]["allowed"]).collect();
    assert_eq!(allowed, [&json!(false), &json!(true)]);
    assert_eq!(count().await, before);
}

#[tokio::test]
async fn a_thousand_numbers_are_taken_at_once_and_what_is_left_is_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "simulator", &[]).await;
    let http = &serve.http;
    let numbers: Vec<String> = (0..1000).map(|n| format!("+1555888{n:04}")).collect();
    let mut fields: Vec<_> = numbers.iter().map(|to| ("to", to.as_str())).collect();
    fields.push(("schedule_at", "2100-01-01T00:00:00Z"));
    let began = std::time::Instant::now();
    let group = post(http, BOOTSTRAP, &fields, None).await.expect(202).json();
    eprintln!("1,000 numbers were accepted within {} ms", began.elapsed().as_millis());
    let group = &group["group"];
    assert_eq!(group["jobs"].as_array().unwrap().len(), 1000);
    serve.has_documents(folder.path(), 1).await;
    let path = format!("/groups/{}", group["id"].as_str().unwrap());
    let cancelled =
        http.call(Method::DELETE, &path, &[("x-api-key", BOOTSTRAP)], "").await.expect(200).json();
    assert_eq!(cancelled["human"], "0 of 1000 delivered, 1000 cancelled.");
    let audit = on_the_appliance(folder.path(), "audit", &["verify"], "").await;
    assert!(audit.starts_with("The audit log is whole"), "{audit}");
    assert_eq!(serve.terminate(), Some(0));
}

#[tokio::test]
async fn the_command_sends_to_several_and_waits_for_all() {
    let demo = Demo::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("note.txt");
    std::fs::write(&file, "Hello, all.").unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("send").arg(&file).arg("--data-dir").arg(&demo.data_dir);
    command.args(["--to", "+15551110000", "--to", "+15551110001", "--to", "555 111 0000", "--wait"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("Both delivered.") && text.contains("left out, named twice: 555 111 0000"),
        "{text}"
    );
    let received = demo.http.get("/inbound", &demo.api_key).await.expect(200).json();
    assert!(received.as_array().unwrap().len() >= 2);
}
