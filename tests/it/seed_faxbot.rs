//! What a user of Faxbot was promised about API keys, word by word, against a running appliance.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{BOOTSTRAP, Demo, Http, Serve, forged, form, pdf};

const KEYS: &str = "/admin/api-keys";

async fn create(http: &Http, by: &str, new: Value) -> Value {
    http.json(Method::POST, KEYS, by, new).await.expect(200).json()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no '{field}' in {value}"))
}

#[tokio::test]
async fn create_with_scopes_answers_the_token_once() {
    let demo = Demo::start();
    let new = json!({"name": "Front desk", "owner": "clinic", "scopes": ["fax:send", "fax:read"]});
    let made = create(&demo.http, &demo.admin_key, new).await;
    let fields: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(fields[..5], ["key_id", "token", "name", "owner", "scopes"]);
    let (id, token) = (text(&made, "key_id"), text(&made, "token"));
    let secret = token.strip_prefix(&format!("fbk_live_{id}_")).unwrap();
    assert!(id.len() == 12 && secret.len() == 49 && secret.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(
        (&made["name"], &made["owner"], &made["scopes"]),
        (&json!("Front desk"), &json!("clinic"), &json!(["fax:send", "fax:read"]))
    );
    let list = demo.http.get(KEYS, &demo.admin_key).await.expect(200);
    let row = list.json().as_array().unwrap().iter().find(|row| row["key_id"] == id).unwrap().clone();
    assert_eq!(row["name"], "Front desk");
    let shown = demo.http.get(&format!("{KEYS}/{id}"), &demo.admin_key).await.expect(200);
    for answer in [list, shown] {
        assert!(!String::from_utf8_lossy(&answer.body).contains(secret), "the token is shown once");
    }
}

#[tokio::test]
async fn the_smoke_test_sends_a_fax_with_the_new_key() {
    let demo = Demo::start();
    let new = json!({"name": "Smoke test", "scopes": ["fax:send", "fax:read"]});
    let made = create(&demo.http, &demo.admin_key, new).await;
    let sent = demo.http.send_fax(text(&made, "token"), "+15551234567", b"Hello fax\n").await;
    let fax = sent.expect(202).json();
    assert_eq!(fax["status"], "queued");
    assert_eq!(demo.http.finished(text(&made, "token"), text(&fax, "id")).await["status"], "SUCCESS");
}

#[tokio::test]
async fn rotating_ends_the_old_secret_at_once() {
    let demo = Demo::start();
    let made = create(&demo.http, &demo.admin_key, json!({"name": "k", "scopes": ["fax:read"]})).await;
    demo.http.get("/fax", text(&made, "token")).await.expect(200);
    let path = format!("{KEYS}/{}/rotate", text(&made, "key_id"));
    let rotated = demo.http.json(Method::POST, &path, &demo.admin_key, json!({})).await.expect(200).json();
    assert_eq!((&rotated["key_id"], &rotated["previous_valid_until"]), (&made["key_id"], &Value::Null));
    demo.http.get("/fax", text(&made, "token")).await.expect(401);
    demo.http.get("/fax", text(&rotated, "token")).await.expect(200);
}

#[tokio::test]
async fn a_revoked_key_never_works_again() {
    let demo = Demo::start();
    let made = create(&demo.http, &demo.admin_key, json!({"name": "k", "scopes": ["fax:read"]})).await;
    let path = format!("{KEYS}/{}", text(&made, "key_id"));
    let ended = demo.http.json(Method::DELETE, &path, &demo.admin_key, json!({})).await.expect(200).json();
    assert_eq!(ended["status"], "ok");
    demo.http.get("/fax", text(&made, "token")).await.expect(401);
    let rotate = format!("{path}/rotate");
    demo.http.json(Method::POST, &rotate, &demo.admin_key, json!({})).await.expect(409);
    let shown = demo.http.get(&path, &demo.admin_key).await.expect(200).json();
    assert!(shown["status"] == "revoked" && shown["revoked_at"].is_string(), "{shown}");
}

#[tokio::test]
async fn everything_done_to_a_key_is_audited() {
    let demo = Demo::start();
    let made = create(&demo.http, &demo.admin_key, json!({"name": "k"})).await;
    let path = format!("{KEYS}/{}", text(&made, "key_id"));
    let rotate = format!("{path}/rotate");
    let rotated = demo.http.json(Method::POST, &rotate, &demo.admin_key, json!({})).await.expect(200).json();
    let reason = json!({"reason": "left the clinic"});
    demo.http.json(Method::DELETE, &path, &demo.admin_key, reason).await.expect(200);
    let filter = format!("/admin/audit?target=api_key:{}", text(&made, "key_id"));
    let audit = demo.http.get(&filter, &demo.admin_key).await.expect(200).json();
    let rows = audit["rows"].as_array().unwrap();
    let actions: Vec<_> = rows.iter().map(|row| text(row, "action")).collect();
    assert_eq!(actions, ["api_key.revoked", "api_key.rotated", "api_key.created"]);
    assert_eq!(rows[0]["reason"], "left the clinic");
    assert!(rows.iter().all(|row| text(row, "actor").starts_with("key:")));
    for answer in [&made, &rotated] {
        assert!(!audit.to_string().contains(&text(answer, "token")[22..]));
    }
}

#[tokio::test]
async fn without_a_right_key_it_is_401() {
    let demo = Demo::start();
    let none = demo.http.call(Method::GET, "/fax", &[], "").await.expect(401);
    assert_eq!(none.header("www-authenticate"), "Bearer realm=\"fax\"");
    for wrong in [forged(&demo.api_key), format!("{}x", demo.api_key), "secret".to_owned()] {
        let refused = demo.http.get("/fax", &wrong).await.expect(401).json();
        assert_eq!(refused["detail"], "Invalid API key provided");
    }
    demo.http.send_fax("wrong", "+15551234567", b"x").await.expect(401);
}

#[tokio::test]
async fn without_the_scope_it_is_403() {
    let demo = Demo::start();
    let reader = create(&demo.http, &demo.admin_key, json!({"name": "reader", "scopes": ["fax:read"]})).await;
    let refused = demo.http.send_fax(text(&reader, "token"), "+15551234567", b"x").await.expect(403).json();
    assert_eq!(refused["detail"], "Insufficient scope: fax:send required");
    demo.http.json(Method::POST, KEYS, text(&reader, "token"), json!({"name": "x"})).await.expect(403);
    demo.http.get("/admin/fax-jobs", text(&reader, "token")).await.expect(403);
}

#[tokio::test]
async fn too_large_is_413_and_an_unknown_type_415() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[("MAX_FILE_SIZE_MB", "1")]).await;
    let large = [b"%PDF-1.7\n".as_slice(), &vec![b' '; 2 << 20]].concat();
    let refused = serve.http.send_fax(BOOTSTRAP, "+15551234567", &large).await.expect(413).json();
    assert!(text(&refused, "detail").contains("MAX_FILE_SIZE_MB"), "{refused}");
    let archive = b"PK\x03\x04\x14\x00\x00\x00\x08\x00";
    let refused = serve.http.send_fax(BOOTSTRAP, "+15551234567", archive).await.expect(415).json();
    assert_eq!(refused["message"], "fax.unsupported_type");
    serve.http.send_fax(BOOTSTRAP, "+15551234567", &pdf(1)).await.expect(202);
}

#[tokio::test]
async fn more_than_max_requests_per_minute_is_429() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[("MAX_REQUESTS_PER_MINUTE", "5")]).await;
    // A minute may turn while the test runs; a second one then does not.
    for turn in 0..3 {
        let made = create(&serve.http, BOOTSTRAP, json!({"name": "busy"})).await;
        let (media_type, body) = form(&[("to", "+15551234567"), ("dry_run", "1")], &[b"x"]);
        let headers = [("x-api-key", text(&made, "token")), ("content-type", &media_type)];
        let mut answers = Vec::new();
        for _ in 0..6 {
            answers.push(serve.http.call(Method::POST, "/fax", &headers, body.clone()).await);
        }
        if answers[5].status == 200 && turn < 2 {
            continue;
        }
        assert!(answers[..5].iter().all(|answer| answer.status == 200));
        let body = answers[5].json();
        assert_eq!((answers[5].status, &body["error"]["limit"]), (429, &json!("global")));
        assert!(text(&body, "detail").contains("Settings → Security"), "{body}");
        assert_eq!(answers[5].header("retry-after"), body["error"]["retry_after"].to_string());
        return;
    }
}
