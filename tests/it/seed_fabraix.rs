//! What a user of Fabraix was promised about API keys, word by word, against a running appliance.

use std::process::Command;

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Answer, BOOTSTRAP, Http, PROGRAM, Serve};

const KEYS: &str = "/admin/api-keys";

async fn create(http: &Http, new: Value) -> (String, String) {
    let made = http.json(Method::POST, KEYS, BOOTSTRAP, new).await.expect(200).json();
    (made["key_id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
}

async fn start() -> (tempfile::TempDir, Serve) {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    (folder, serve)
}

/// This many answers to a key, over one connection.
async fn answers(http: &Http, token: &str, count: usize) -> Vec<Answer> {
    let mut connection = http.connect().await;
    let mut answers = Vec::with_capacity(count);
    for _ in 0..count {
        answers.push(connection.call(Method::GET, "/v1/key", &[("x-api-key", token)], "").await.unwrap());
    }
    answers
}

/// The answers up to the first beyond a limit, by a key of its own, all in one minute and hour.
async fn up_to_the_limit(http: &Http, new: &Value, limit: usize) -> Vec<Answer> {
    // A minute or an hour may turn while the test runs; a second one then does not.
    for _ in 0..2 {
        let (_, token) = create(http, new.clone()).await;
        let all = answers(http, &token, limit + 1).await;
        if all[limit].status != 200 {
            return all;
        }
    }
    let (_, token) = create(http, new.clone()).await;
    answers(http, &token, limit + 1).await
}

fn assert_waits(refused: &Answer, limit: &str, longest: u64) {
    let body = refused.json();
    assert_eq!((refused.status, &body["error"]["limit"]), (429, &json!(limit)), "{body}");
    assert_eq!(body["error"]["code"], "rate_limited");
    let wait = body["error"]["retry_after"].as_u64().unwrap();
    assert!((1..=longest).contains(&wait), "{wait}");
    assert_eq!(refused.header("retry-after"), wait.to_string());
}

#[tokio::test]
async fn there_are_four_kinds_with_limits_of_their_own() {
    let (folder, serve) = start().await;
    let http = &serve.http;
    let (_, development) = create(http, json!({"name": "laptop", "kind": "development"})).await;
    let (_, production) = create(http, json!({"name": "server"})).await;
    let restricted = json!({"name": "browser", "kind": "restricted", "scopes": ["fax:read"],
        "allowed_origins": ["https://app.example.org"], "expires_at": "2099-01-01T00:00:00Z"});
    let (_, restricted) = create(http, restricted).await;
    let mut command = Command::new(PROGRAM);
    command.args(["keys", "--data-dir", folder.path().to_str().unwrap()]).env_clear();
    command.args(["create", "operations", "--kind", "admin", "--json"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let made: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let admin = made["token"].as_str().unwrap().to_owned();
    for (token, kind, mode, per_minute, per_hour) in [
        (&development, "development", "test", 60, 1_000),
        (&production, "production", "live", 600, 10_000),
        (&restricted, "restricted", "live", 60, 1_000),
        (&admin, "admin", "live", 600, 10_000),
    ] {
        assert!(token.starts_with(&format!("fbk_{mode}_")), "{kind}");
        let shown = http.get("/v1/key", token).await.expect(200).json();
        assert_eq!((&shown["kind"], &shown["mode"]), (&json!(kind), &json!(mode)));
        assert_eq!(shown["limits"]["per_minute"], per_minute, "{kind}");
        assert_eq!(shown["limits"]["per_hour"], per_hour, "{kind}");
    }
    let refused = json!({"name": "x", "kind": "enterprise"});
    let refused = http.json(Method::POST, KEYS, BOOTSTRAP, refused).await.expect(422).json();
    for kind in ["development", "production", "restricted", "admin"] {
        assert!(refused["detail"].as_str().unwrap().contains(kind), "{refused}");
    }
}

#[tokio::test]
async fn any_key_learns_what_it_is_and_has_left() {
    let (_folder, serve) = start().await;
    let new = json!({"name": "narrow", "owner": "clinic", "scopes": ["contacts:read"],
        "resources": {"to_prefixes": ["+1555"]}, "expires_at": "2099-01-01T00:00:00Z", "limits": {"per_minute": 7}});
    let (id, token) = create(&serve.http, new).await;
    let shown = serve.http.get("/v1/key", &token).await.expect(200);
    assert_eq!(shown.header("cache-control"), "no-store");
    let shown = shown.json();
    for (field, expected) in [
        ("key_id", json!(id)),
        ("name", json!("narrow")),
        ("kind", json!("production")),
        ("owner", json!("clinic")),
        ("role", json!("operator")),
        ("scopes", json!(["contacts:read"])),
        ("status", json!("active")),
        ("expires_at", json!("2099-01-01T00:00:00Z")),
    ] {
        assert_eq!(shown[field], expected, "{field}");
    }
    assert_eq!(shown["resources"]["to_prefixes"], json!(["+1555"]));
    assert_eq!(shown["left"], json!({"minute": 6, "hour": 9_999}));
    assert!(!shown.to_string().contains(&token[22..]));
    let bootstrap = serve.http.get("/v1/key", BOOTSTRAP).await.expect(200).json();
    assert_eq!(
        (&bootstrap["key_id"], &bootstrap["left"], &bootstrap["scopes"]),
        (&Value::Null, &Value::Null, &json!(["admin"]))
    );
    serve.http.call(Method::GET, "/v1/key", &[], "").await.expect(401);
}

#[tokio::test]
async fn who_needs_no_key_elsewhere_needs_one_to_ask_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[("REQUIRE_API_KEY", "false")]).await;
    serve.http.call(Method::GET, "/fax", &[], "").await.expect(200);
    serve.http.call(Method::GET, "/v1/key", &[], "").await.expect(401);
}

#[tokio::test]
async fn the_61st_request_in_a_minute_of_a_development_key_waits() {
    let (_folder, serve) = start().await;
    let all = up_to_the_limit(&serve.http, &json!({"name": "laptop", "kind": "development"}), 60).await;
    assert!(all[..60].iter().all(|answer| answer.status == 200));
    assert_eq!(all[59].json()["left"]["minute"], 0);
    assert_waits(&all[60], "minute", 60);
}

#[tokio::test]
async fn the_1001st_request_in_an_hour_waits() {
    let (_folder, serve) = start().await;
    let new = json!({"name": "enterprise", "limits": {"per_minute": 5_000, "per_hour": 1_000}});
    let all = up_to_the_limit(&serve.http, &new, 1_000).await;
    assert!(all[..1_000].iter().all(|answer| answer.status == 200));
    assert_eq!(all[999].json()["left"]["hour"], 0);
    assert_waits(&all[1_000], "hour", 3_600);
}

#[tokio::test]
async fn keys_are_replaced_by_create_deploy_verify_revoke() {
    let (_folder, serve) = start().await;
    let (http, new) = (&serve.http, json!({"name": "server", "scopes": ["fax:read"]}));
    let (old_id, old) = create(http, new.clone()).await;
    let (_, new) = create(http, new).await;
    for token in [&old, &new] {
        http.get("/fax", token).await.expect(200);
    }
    http.json(Method::DELETE, &format!("{KEYS}/{old_id}"), BOOTSTRAP, json!({})).await.expect(200);
    http.get("/fax", &old).await.expect(401);
    http.get("/fax", &new).await.expect(200);
    http.json(Method::POST, &format!("{KEYS}/{old_id}/enable"), BOOTSTRAP, json!({})).await.expect(409);
}

#[tokio::test]
async fn a_rotation_overlaps_until_the_old_secret_is_ended() {
    let (_folder, serve) = start().await;
    let http = &serve.http;
    let (id, first) = create(http, json!({"name": "server", "scopes": ["fax:read"]})).await;
    let path = format!("{KEYS}/{id}/rotate");
    let rotated =
        http.json(Method::POST, &path, BOOTSTRAP, json!({"grace_seconds": 3_600})).await.expect(200);
    let second = rotated.json()["token"].as_str().unwrap().to_owned();
    assert!(rotated.json()["previous_valid_until"].is_string());
    for token in [&first, &second] {
        let shown = http.get("/v1/key", token).await.expect(200).json();
        assert_eq!((&shown["key_id"], shown["previous_valid_until"].is_string()), (&json!(id), true));
    }
    // Verify: the last use of each secret; then revoke the old one.
    let key = format!("{KEYS}/{id}");
    let shown = http.get(&key, BOOTSTRAP).await.expect(200).json();
    assert!(
        shown["current_last_used_at"].is_string() && shown["previous_last_used_at"].is_string(),
        "{shown}"
    );
    let end = format!("{key}/end-previous");
    for _ in 0..2 {
        http.json(Method::POST, &end, BOOTSTRAP, json!({})).await.expect(200);
        http.get("/fax", &first).await.expect(401);
        http.get("/fax", &second).await.expect(200);
    }
    let shown = http.get(&key, BOOTSTRAP).await.expect(200).json();
    assert!(shown["previous_valid_until"].is_null() && shown["previous_last_used_at"].is_null(), "{shown}");
    let events = http.get(&format!("{key}/events"), BOOTSTRAP).await.expect(200).json();
    let types: Vec<_> =
        events.as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["api_key.previous_ended", "api_key.rotated", "api_key.created"]);

    let rotated = http.json(Method::POST, &path, BOOTSTRAP, json!({})).await.expect(200);
    for token in [&first, &second] {
        http.get("/fax", token).await.expect(401);
    }
    http.get("/fax", rotated.json()["token"].as_str().unwrap()).await.expect(200);
    let shown = http.get(&key, BOOTSTRAP).await.expect(200).json();
    assert!(shown["current_last_used_at"].is_string(), "{shown}");
    http.json(Method::DELETE, &key, BOOTSTRAP, json!({})).await.expect(200);
    http.json(Method::POST, &end, BOOTSTRAP, json!({})).await.expect(409);
    let path = {
        let (id, _) = create(http, json!({"name": "other", "scopes": ["fax:read"]})).await;
        format!("{KEYS}/{id}/rotate")
    };
    let week = json!({"grace_seconds": 7 * 24 * 3_600 + 1});
    http.json(Method::POST, &path, BOOTSTRAP, week).await.expect(422);
}

#[tokio::test]
async fn restricted_keys_stand_in_client_side_applications() {
    let (_folder, serve) = start().await;
    let http = &serve.http;
    let unbounded = json!({"name": "browser", "kind": "restricted", "scopes": ["fax:read"]});
    http.json(Method::POST, KEYS, BOOTSTRAP, unbounded).await.expect(422);
    let bounded = json!({"name": "browser", "kind": "restricted", "scopes": ["fax:read"],
        "allowed_origins": ["https://app.example.org"], "expires_at": "2099-01-01T00:00:00Z"});
    let (_, token) = create(http, bounded).await;
    let from = |origin: &'static str| [("x-api-key", token.clone()), ("origin", origin.to_owned())];
    for (origin, status, allowed) in [
        ("https://app.example.org", 200, "https://app.example.org"),
        ("https://elsewhere.example.org", 403, ""),
    ] {
        let headers = from(origin);
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = http.call(Method::GET, "/fax", &headers, "").await.expect(status);
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
    }
}

#[tokio::test]
async fn errors_come_in_the_envelope() {
    let (_folder, serve) = start().await;
    let (_, reader) = create(&serve.http, json!({"name": "reader", "scopes": ["fax:read"]})).await;
    let (_, busy) = create(&serve.http, json!({"name": "busy", "limits": {"per_hour": 1}})).await;
    serve.http.get("/v1/key", &busy).await.expect(200);
    for (path, key, status, kind, code) in [
        ("/fax", "wrong", 401, "authentication_error", "invalid_api_key"),
        ("/inbound", reader.as_str(), 403, "authorization_error", "insufficient_permissions"),
        ("/fax/none", reader.as_str(), 404, "invalid_request_error", "fax_not_found"),
    ] {
        let body = serve.http.get(path, key).await.expect(status).json();
        let envelope = body["error"].as_object().unwrap();
        assert_eq!(envelope.keys().collect::<Vec<_>>(), ["message", "type", "code"], "{body}");
        assert_eq!((&envelope["type"], &envelope["code"]), (&json!(kind), &json!(code)));
        assert!(!envelope["message"].as_str().unwrap().is_empty());
    }
    let refused = serve.http.get("/v1/key", &busy).await;
    // The hour may have turned in between.
    if refused.status == 429 {
        assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
        assert_waits(&refused, "hour", 3_600);
    } else {
        assert_waits(&serve.http.get("/v1/key", &busy).await, "hour", 3_600);
    }
}
