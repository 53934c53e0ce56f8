//! What a user of FonProxy was promised about API keys, word by word, against a running appliance.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{BOOTSTRAP, Http, Serve, form, users};

const KEYS: &str = "/api-keys";

async fn start(env: &[(&str, &str)]) -> (tempfile::TempDir, Serve) {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", env).await;
    (folder, serve)
}

/// The first key of a user, with these scopes, and its id.
async fn user(http: &Http, owner: &str, scopes: Value) -> (String, String) {
    let new = json!({"name": "first", "owner": owner, "scopes": scopes});
    let made = http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200).json();
    (made["token"].as_str().unwrap().to_owned(), made["key_id"].as_str().unwrap().to_owned())
}

async fn make(http: &Http, by: &str, new: Value) -> Value {
    http.json(Method::POST, KEYS, by, new).await.expect(201).json()["apiKey"].clone()
}

async fn listed(http: &Http, by: &str) -> Vec<Value> {
    let body = http.get(KEYS, by).await.expect(200).json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["apiKeys"]);
    body["apiKeys"].as_array().unwrap().clone()
}

fn of(key: &Value, route: &str) -> String {
    format!("{KEYS}/{}{route}", key["id"].as_str().unwrap())
}

fn everything() -> Value {
    json!(["fax:send", "fax:read", "keys:read", "keys:manage", "keys:reveal"])
}

/// `2027-01-31T12:00:00.000Z`.
fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let fraction = text.strip_suffix('Z').and_then(|text| text.split_once('.')).map(|(_, rest)| rest);
    text.len() == 24 && fraction.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
}

#[tokio::test]
async fn post_makes_a_key() {
    let (_folder, serve) = start(&[]).await;
    let (token, _) = user(&serve.http, "mary", everything()).await;
    let new = json!({"name": "Dialler", "expiresAt": "2099-01-31"});
    let answer = serve.http.json(Method::POST, KEYS, &token, new).await.expect(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["apiKey", "message"]);
    assert_eq!(body["message"], "api_key.created");
    let key = &body["apiKey"];
    let fields = ["id", "name", "prefix", "key", "isActive", "lastAccessAt", "expiresAt", "createdAt"];
    assert_eq!(key.as_object().unwrap().keys().collect::<Vec<_>>(), fields);
    let id = key["id"].as_str().unwrap();
    assert_eq!((id.len(), &key["name"]), (12, &json!("Dialler")));
    assert_eq!(key["prefix"], format!("fbk_live_{}", &id[..4]));
    assert!(key["key"].as_str().unwrap().starts_with(&format!("fbk_live_{id}_")));
    assert_eq!((&key["isActive"], &key["lastAccessAt"]), (&json!(true), &Value::Null));
    assert_eq!(key["expiresAt"], "2099-01-31T23:59:59.999Z");
    assert!(is_time(&key["createdAt"]), "{key}");
    serve.http.get("/fax", key["key"].as_str().unwrap()).await.expect(200);
}

#[tokio::test]
async fn get_lists_keys_without_their_tokens() {
    let (_folder, serve) = start(&[]).await;
    let (token, _) = user(&serve.http, "mary", everything()).await;
    let new = json!({"name": "Dialler", "recoverable": true, "expiresAt": "2099-01-31T12:00:00Z"});
    let made = make(&serve.http, &token, new).await;
    let secret = made["key"].as_str().unwrap();
    serve.http.get("/fax", secret).await.expect(200);
    let list = listed(&serve.http, &token).await;
    assert_eq!(list.iter().map(|key| &key["name"]).collect::<Vec<_>>(), ["Dialler", "first"], "newest first");
    let mut expected = made.clone();
    expected["key"] = Value::Null;
    expected["lastAccessAt"] = list[0]["lastAccessAt"].clone();
    assert_eq!(list[0], expected);
    assert_eq!(list[0]["expiresAt"], "2099-01-31T12:00:00.000Z");
    assert!(is_time(&list[0]["lastAccessAt"]), "{list:?}");
}

#[tokio::test]
async fn get_key_answers_the_token_or_null() {
    let (_folder, serve) = start(&[]).await;
    let (token, _) = user(&serve.http, "mary", everything()).await;
    let kept = make(&serve.http, &token, json!({"name": "kept", "recoverable": true})).await;
    let lost = make(&serve.http, &token, json!({"name": "lost"})).await;
    for (key, expected) in [(&kept, &kept["key"]), (&lost, &Value::Null)] {
        let shown = serve.http.get(&of(key, "/key"), &token).await.expect(200);
        assert_eq!(shown.header("cache-control"), "no-store");
        assert_eq!(shown.json(), json!({"id": key["id"], "key": expected}));
    }
    // A key made without scopes manages keys, but does not see their tokens.
    serve.http.get(&of(&kept, "/key"), kept["key"].as_str().unwrap()).await.expect(403);
    serve.http.json(Method::PATCH, &of(&kept, "/revoke"), &token, json!({})).await.expect(200);
    let shown = serve.http.get(&of(&kept, "/key"), &token).await.expect(200).json();
    assert_eq!(shown, json!({"id": kept["id"], "key": null}));
}

#[tokio::test]
async fn where_policy_forbids_it_no_key_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let (token, _) = user(&serve.http, "mary", everything()).await;
    let kept = make(&serve.http, &token, json!({"name": "kept", "recoverable": true})).await;
    serve.terminate();
    let serve = Serve::start(folder.path(), "loopback", &[("KEY_REVEAL_POLICY", "never")]).await;
    let shown = serve.http.get(&of(&kept, "/key"), &token).await.expect(200).json();
    assert_eq!(shown, json!({"id": kept["id"], "key": null}));
}

#[tokio::test]
async fn patch_revokes() {
    let (_folder, serve) = start(&[]).await;
    let (token, _) = user(&serve.http, "mary", everything()).await;
    let key = make(&serve.http, &token, json!({"name": "k"})).await;
    for _ in 0..2 {
        let answer = serve.http.json(Method::PATCH, &of(&key, "/revoke"), &token, json!({})).await;
        assert_eq!(answer.expect(200).json(), json!({"message": "api_key.revoked"}));
    }
    serve.http.get("/fax", key["key"].as_str().unwrap()).await.expect(401);
    let list = listed(&serve.http, &token).await;
    let row = list.iter().find(|row| row["id"] == key["id"]).unwrap();
    assert_eq!(row["isActive"], false);
}

#[tokio::test]
async fn delete_revokes_and_removes() {
    let (_folder, serve) = start(&[]).await;
    let (token, _) = user(&serve.http, "mary", everything()).await;
    let working = make(&serve.http, &token, json!({"name": "working"})).await;
    let revoked = make(&serve.http, &token, json!({"name": "revoked"})).await;
    serve.http.json(Method::PATCH, &of(&revoked, "/revoke"), &token, json!({})).await.expect(200);
    for key in [&working, &revoked] {
        let answer = serve.http.json(Method::DELETE, &of(key, ""), &token, json!({})).await;
        assert_eq!(answer.expect(200).json(), json!({"message": "api_key.deleted"}));
        serve.http.get("/fax", key["key"].as_str().unwrap()).await.expect(401);
        assert!(listed(&serve.http, &token).await.iter().all(|row| row["id"] != key["id"]));
        let again = serve.http.json(Method::DELETE, &of(key, ""), &token, json!({})).await;
        assert_eq!(again.expect(404).json()["message"], "api_key.not_found");
        // What it did stays on record for administrators.
        let path = format!("/admin/api-keys/{}", key["id"].as_str().unwrap());
        assert_eq!(serve.http.get(&path, BOOTSTRAP).await.expect(200).json()["status"], "revoked");
    }
}

#[tokio::test]
async fn both_endings_take_a_reason_and_compromised_holds_the_faxes() {
    let (_folder, serve) = start(&[]).await;
    let (token, _) = user(&serve.http, "mary", everything()).await;
    for (method, rest) in [(Method::PATCH, "/revoke"), (Method::DELETE, "")] {
        let key = make(&serve.http, &token, json!({"name": "k"})).await;
        let path = of(&key, rest);
        let unknown = json!({"reasons": "compromised"});
        serve.http.json(method.clone(), &path, &token, unknown).await.expect(422);
        let (media_type, body) =
            form(&[("to", "+15551234567"), ("schedule_at", "2098-01-01T00:00:00Z")], &[b"Hello\n"]);
        let headers = [("x-api-key", key["key"].as_str().unwrap()), ("content-type", &media_type)];
        let fax = serve.http.call(Method::POST, "/fax", &headers, body).await.expect(202).json();
        serve.http.json(method, &path, &token, json!({"reason": "compromised"})).await.expect(200);
        let path = format!("/admin/api-keys/{}", key["id"].as_str().unwrap());
        let record = serve.http.get(&path, BOOTSTRAP).await.expect(200).json();
        assert_eq!(record["revoked_reason"], "compromised", "{record}");
        let path = format!("/fax/{}", fax["id"].as_str().unwrap());
        assert_eq!(serve.http.get(&path, BOOTSTRAP).await.expect(200).json()["state"], "held");
    }
}

#[tokio::test]
async fn the_three_error_keys() {
    let (_folder, serve) = start(&[]).await;
    let (token, _) = user(&serve.http, "mary", everything()).await;
    let invalid = serve.http.get(KEYS, "wrong").await.expect(401).json();
    assert_eq!(invalid["message"], "api_key.invalid");
    for id in ["ffffffffffff", "nonsense"] {
        for (method, path) in [
            (Method::GET, format!("{KEYS}/{id}/key")),
            (Method::PATCH, format!("{KEYS}/{id}/revoke")),
            (Method::DELETE, format!("{KEYS}/{id}")),
        ] {
            let missing = serve.http.json(method.clone(), &path, &token, json!({})).await.expect(404).json();
            assert_eq!(missing["message"], "api_key.not_found", "{method} {path}");
        }
    }
    for nameless in [json!({}), json!({"name": ""}), json!({"name": "  "}), json!({"name": null})] {
        let refused = serve.http.json(Method::POST, KEYS, &token, nameless).await.expect(400).json();
        assert_eq!(refused["message"], "api_key.name_required");
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_and_leaves_nothing() {
    let (_folder, serve) = start(&[]).await;
    let (token, _) = user(&serve.http, "mary", json!(["fax:read", "keys:read", "keys:manage"])).await;
    for (field, value, word) in [
        ("ipAllow", json!(["10.0.0.0/8"]), "expiresAt"),
        ("expires_at", json!("2099-01-31"), "expiresAt"),
        ("expiresAt", json!("2020-01-31"), "future"),
        ("expiresAt", json!("tomorrow"), "2027-01-31"),
        ("scopes", json!(["fax:snd"]), "fax:send"),
        ("scopes", json!(["fax:send"]), "allowed: fax:read"),
    ] {
        let mut new = json!({"name": "k"});
        new[field] = value;
        let refused = serve.http.json(Method::POST, KEYS, &token, new).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains(word), "{refused}");
    }
    assert_eq!(listed(&serve.http, &token).await.len(), 1);
}

#[tokio::test]
async fn everybody_has_their_own_keys_only() {
    let (_folder, serve) = start(&[]).await;
    let (mary, _) = user(&serve.http, "mary", everything()).await;
    let (john, _) = user(&serve.http, "john", everything()).await;
    let key = make(&serve.http, &mary, json!({"name": "k", "recoverable": true})).await;
    for by in [john.as_str(), BOOTSTRAP] {
        assert!(listed(&serve.http, by).await.iter().all(|row| row["id"] != key["id"]));
        serve.http.get(&of(&key, "/key"), by).await.expect(404);
        serve.http.json(Method::PATCH, &of(&key, "/revoke"), by, json!({})).await.expect(404);
        serve.http.json(Method::DELETE, &of(&key, ""), by, json!({})).await.expect(404);
    }
    serve.http.get("/fax", key["key"].as_str().unwrap()).await.expect(200);
}

#[tokio::test]
async fn each_route_needs_its_scope() {
    let (_folder, serve) = start(&[]).await;
    let (mary, _) = user(&serve.http, "mary", everything()).await;
    let key = make(&serve.http, &mary, json!({"name": "k", "recoverable": true})).await;
    for (method, path, scope) in [
        (Method::POST, KEYS.to_owned(), "keys:manage"),
        (Method::GET, KEYS.to_owned(), "keys:read"),
        (Method::GET, of(&key, "/key"), "keys:reveal"),
        (Method::PATCH, of(&key, "/revoke"), "keys:manage"),
        (Method::DELETE, of(&key, ""), "keys:manage"),
    ] {
        let mut others: Vec<Value> = everything().as_array().unwrap().clone();
        others.retain(|other| *other != scope);
        let (lacking, _) = user(&serve.http, "mary", json!(others)).await;
        let refused = serve.http.json(method, &path, &lacking, json!({"name": "x"})).await.expect(403).json();
        assert_eq!(refused["detail"], format!("Insufficient scope: {scope} required"));
    }
}

#[tokio::test]
async fn a_key_acts_with_its_owners_role() {
    let (folder, serve) = start(&[]).await;
    let (mary, _) = user(&serve.http, "mary", json!(["admin"])).await;
    let made = make(&serve.http, &mary, json!({"name": "k"})).await;
    let key = made["key"].as_str().unwrap();
    let rights = serve.http.get("/v1/key", key).await.expect(200).json();
    assert_eq!(
        (&rights["owner"], &rights["role"], &rights["kind"]),
        (&json!("mary"), &json!("operator"), &json!("production"))
    );
    let scopes = rights["scopes"].as_array().unwrap().clone();
    for had in ["fax:send", "fax:read", "inbound:read", "keys:read", "keys:manage"] {
        assert!(scopes.contains(&json!(had)), "{had}: {rights}");
    }
    for lacked in ["admin", "keys:reveal", "users:manage", "settings:write", "audit:read"] {
        assert!(!scopes.contains(&json!(lacked)), "{lacked}: {rights}");
    }
    serve.http.send_fax(key, "+15551234567", b"Hello\n").await.expect(202);
    serve.http.get("/admin/fax-jobs", key).await.expect(403);

    // A viewer looks, with whatever key.
    users(folder.path(), &["role", "mary", "viewer"], "").await;
    assert_eq!(serve.http.get("/v1/key", key).await.expect(200).json()["role"], "viewer");
    serve.http.get("/fax", key).await.expect(200);
    serve.http.send_fax(key, "+15551234567", b"Hello\n").await.expect(403);
    serve.http.get(KEYS, key).await.expect(403);

    // Administration is not among what a key has that was made without scopes.
    users(folder.path(), &["role", "mary", "admin"], "").await;
    assert_eq!(serve.http.get("/v1/key", key).await.expect(200).json()["role"], "admin");
    serve.http.get("/admin/fax-jobs", &mary).await.expect(200);
    serve.http.get("/admin/fax-jobs", key).await.expect(403);
    let another = make(&serve.http, &mary, json!({"name": "another"})).await;
    serve.http.get("/admin/fax-jobs", another["key"].as_str().unwrap()).await.expect(403);
}

#[tokio::test]
async fn a_key_makes_no_key_beyond_itself() {
    let (_folder, serve) = start(&[]).await;
    let new = json!({"name": "short", "owner": "mary", "scopes": ["fax:read", "keys:read", "keys:manage"],
        "expires_at": "2098-01-01T00:00:00Z", "kind": "development"});
    let made = serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200).json();
    let short = made["token"].as_str().unwrap();
    let child = make(&serve.http, short, json!({"name": "child"})).await;
    assert!(child["prefix"].as_str().unwrap().starts_with("fbk_test_"), "{child}");
    assert_eq!(child["expiresAt"], "2098-01-01T00:00:00.000Z", "it ends when its maker does");
    let rights = serve.http.get("/v1/key", child["key"].as_str().unwrap()).await.expect(200).json();
    assert_eq!(rights["scopes"], json!(["fax:read", "keys:read", "keys:manage"]));
    let late = json!({"name": "late", "expiresAt": "2099-01-01"});
    let refused = serve.http.json(Method::POST, KEYS, short, late).await.expect(422).json();
    assert_eq!(refused["errors"][0]["field"], "expiresAt");
}

#[tokio::test]
async fn a_key_comes_by_header_or_in_the_query_where_that_is_switched_on() {
    for (switch, status) in [("true", 200), ("false", 401)] {
        let (_folder, serve) = start(&[("ALLOW_QUERY_API_KEY", switch)]).await;
        let (token, _) = user(&serve.http, "mary", everything()).await;
        serve.http.get(KEYS, &token).await.expect(200);
        let bearer = format!("Bearer {token}");
        serve.http.call(Method::GET, KEYS, &[("authorization", &bearer)], "").await.expect(200);
        let path = format!("{KEYS}?apikey={token}");
        serve.http.call(Method::GET, &path, &[], "").await.expect(status);
        serve.http.call(Method::POST, &path, &[], r#"{"name":"x"}"#).await.expect(401);
    }
}
