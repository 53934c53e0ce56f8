//! API keys over HTTP: every verb, what it refuses, and what it leaves behind.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Answer, BOOTSTRAP, Demo, Http, Serve, pdf};

const KEYS: &str = "/admin/api-keys";

struct Made {
    id: String,
    token: String,
}

async fn make(http: &Http, by: &str, body: Value) -> Made {
    let made = http.json(Method::POST, KEYS, by, body).await.expect(200).json();
    Made { id: made["key_id"].as_str().unwrap().into(), token: made["token"].as_str().unwrap().into() }
}

async fn verb(http: &Http, by: &str, id: &str, verb: &str) -> Answer {
    http.json(Method::POST, &format!("{KEYS}/{id}/{verb}"), by, json!({})).await
}

async fn patch(http: &Http, by: &str, id: &str, body: Value) -> Answer {
    http.json(Method::PATCH, &format!("{KEYS}/{id}"), by, body).await
}

async fn told(http: &Http, by: &str, id: &str) -> Vec<String> {
    let events = http.get(&format!("{KEYS}/{id}/events"), by).await.expect(200).json();
    let kinds = events.as_array().unwrap().iter().rev();
    kinds.map(|event| event["type"].as_str().unwrap().trim_start_matches("api_key.").to_owned()).collect()
}

#[tokio::test]
async fn a_key_is_disabled_enabled_changed_and_all_of_it_is_told() {
    let demo = Demo::start();
    let (http, admin) = (&demo.http, demo.admin_key.as_str());
    let key = make(http, admin, json!({"name": "desk", "note": "left"})).await;
    http.get("/fax", &key.token).await.expect(200);
    for _ in 0..2 {
        assert_eq!(verb(http, admin, &key.id, "disable").await.expect(200).json(), json!({"status": "ok"}));
        let refused = http.get("/fax", &key.token).await.expect(401).json();
        assert_eq!(refused["reason"], "disabled");
    }
    verb(http, admin, &key.id, "enable").await.expect(200);
    http.get("/fax", &key.token).await.expect(200);

    let changed =
        json!({"name": "front desk", "note": null, "limits": {"per_minute": 7}, "ip_allow": ["127.0.0.0/8"]});
    let shown = patch(http, admin, &key.id, changed).await.expect(200).json();
    assert_eq!((&shown["name"], &shown["note"]), (&json!("front desk"), &Value::Null));
    assert_eq!((&shown["limits"]["per_minute"], &shown["limits"]["per_hour"]), (&json!(7), &json!(10_000)));
    assert_eq!(shown["ip_allow"], json!(["127.0.0.0/8"]));
    let cleared = json!({"limits": {"per_minute": null}, "ip_allow": null});
    let shown = patch(http, admin, &key.id, cleared).await.expect(200).json();
    assert_eq!((&shown["limits"]["per_minute"], &shown["ip_allow"]), (&json!(600), &json!([])));
    assert_eq!(patch(http, admin, &key.id, json!({})).await.expect(200).json(), shown);
    patch(http, admin, &key.id, json!({"ip_allow": ["192.0.2.0/24"]})).await.expect(200);
    assert_eq!(http.get("/fax", &key.token).await.expect(401).json()["reason"], "ip_denied");

    let path = format!("{KEYS}/{}", key.id);
    let ended = http.json(Method::DELETE, &path, admin, json!({"reason": "gone"})).await.expect(200).json();
    assert_eq!(ended, json!({"status": "ok", "held_faxes": 0}));
    for answer in [
        patch(http, admin, &key.id, json!({})).await,
        verb(http, admin, &key.id, "disable").await,
        verb(http, admin, &key.id, "enable").await,
        verb(http, admin, &key.id, "reveal").await,
    ] {
        let refused = answer.expect(409).json();
        assert_eq!(refused["error"]["code"], "api_key_wrong_state", "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains("revoked"), "{refused}");
    }
    let mut kinds = told(http, admin, &key.id).await;
    kinds.retain(|kind| kind != "new_address");
    let expected = ["created", "disabled", "disabled", "enabled", "changed", "changed", "changed", "revoked"];
    assert_eq!(kinds, expected);
    let newest = http.get(&format!("{path}/events?limit=1"), admin).await.expect(200).json();
    assert_eq!(newest[0]["type"], "api_key.revoked");
    assert!(newest[0]["data"]["by"].as_str().unwrap().starts_with("key:"));
    let next = format!("{path}/events?limit=1&before={}", newest[0]["seq"]);
    assert_eq!(http.get(&next, admin).await.expect(200).json()[0]["type"], "api_key.changed");
    http.get(&format!("{path}/events?limit=0"), admin).await.expect(422);
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_what_is_allowed() {
    let demo = Demo::start();
    let (http, admin) = (&demo.http, demo.admin_key.as_str());
    let key = make(http, admin, json!({"name": "desk"})).await;
    let before = http.get(&format!("{KEYS}/{}", key.id), admin).await.expect(200).json();
    // (body, field, a word of the sentence)
    let cases = [
        (json!({"ip_alow": []}), "ip_alow", "ip_allow"),
        (json!({"limits": {"per_second": 1}}), "per_second", "per_minute"),
        (json!({"limits": {"per_minute": 0}}), "limits", "from 1 to"),
        (json!({"limits": {"per_minute": 601}}), "limits", "up to 600"),
        (json!({"limits": {"pages_per_day": 201}}), "limits", "up to 200"),
        (json!({"scopes": ["fax:snd"]}), "scopes", "fax:send"),
        (json!({"allowed_origins": ["https://app.example"]}), "allowed_origins", "restricted"),
        (json!({"allowed_origins": ["https://*.example"]}), "allowed_origins", "without *"),
        (json!({"ip_allow": ["10.0.0.1/8"]}), "ip_allow", "10.0.0.0/8"),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), "expires_at", "future"),
        (json!({"resources": {"to_prefix": ["+1"]}}), "to_prefix", "to_prefixes"),
    ];
    for (change, field, word) in cases {
        let mut new = json!({"name": "another"});
        new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answers = [
            patch(http, admin, &key.id, change.clone()).await,
            http.json(Method::POST, KEYS, admin, new).await,
        ];
        for answer in answers {
            let refused = answer.expect(422).json();
            assert_eq!(refused["errors"][0]["field"], field, "{refused}");
            assert!(refused["detail"].as_str().unwrap().contains(word), "{refused}");
        }
    }
    for (change, field) in [(json!({"name": ""}), "name"), (json!({"scopes": []}), "scopes")] {
        let refused = patch(http, admin, &key.id, change).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    assert_eq!(http.get(&format!("{KEYS}/{}", key.id), admin).await.expect(200).json(), before);
    for (kind, more, field) in [
        ("restricted", json!({"ip_allow": ["10.0.0.0/8"]}), "scopes"),
        ("admin", json!({}), "kind"),
        ("account", json!({}), "kind"),
        ("unlimited", json!({}), "kind"),
    ] {
        let mut new = json!({"name": "x", "kind": kind});
        new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = http.json(Method::POST, KEYS, admin, new).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    let browser = json!({"name": "browser", "kind": "restricted", "scopes": ["fax:send"],
        "ip_allow": ["10.0.0.0/8"], "allowed_origins": ["https://App.example:443"]});
    let made = http.json(Method::POST, KEYS, admin, browser).await.expect(200).json();
    assert_eq!(made["allowed_origins"], json!(["https://app.example"]));
    assert_eq!(made["limits"]["per_minute"], 60);
}

#[tokio::test]
async fn a_key_reaches_no_further_than_itself() {
    let demo = Demo::start();
    let (http, admin) = (&demo.http, demo.admin_key.as_str());
    let manager = json!({"name": "manager", "owner": "clinic", "scopes": ["fax:read", "keys:read", "keys:manage"],
        "limits": {"per_minute": 50}});
    let manager = make(http, admin, manager).await;
    let child = make(http, &manager.token, json!({"name": "child", "scopes": ["fax:read"]})).await;
    let shown = http.get(&format!("{KEYS}/{}", child.id), &manager.token).await.expect(200).json();
    assert_eq!(shown["limits"]["per_minute"], 50, "bounded as its maker is");
    for change in [
        json!({"scopes": ["fax:read", "fax:send"]}),
        json!({"limits": {"per_minute": 51}}),
        json!({"limits": {"per_minute": null}}),
        json!({"resources": {"all_jobs": true}}),
        json!({"expires_at": null}),
    ] {
        let refused = patch(http, &manager.token, &child.id, change.clone()).await.expect(422).json();
        assert_eq!(&refused["errors"][0]["field"], change.as_object().unwrap().keys().next().unwrap());
        let own = patch(http, &manager.token, &manager.id, change).await;
        assert_eq!(own.status, 422, "nor does it widen itself");
    }
    patch(http, &manager.token, &child.id, json!({"limits": {"per_minute": 5}})).await.expect(200);
    // What is beyond it can still be narrowed and named, but not widened.
    let sender =
        make(http, admin, json!({"name": "sender", "owner": "clinic", "ip_allow": ["10.0.0.0/8"]})).await;
    patch(http, &manager.token, &sender.id, json!({"name": "renamed"})).await.expect(200);
    patch(http, &manager.token, &sender.id, json!({"ip_allow": ["10.1.0.0/16"]})).await.expect(200);
    patch(http, &manager.token, &sender.id, json!({"ip_allow": null})).await.expect(422);
    // Another owner's key does not exist for it, and without the scope nothing does.
    let foreign = make(http, admin, json!({"name": "foreign", "owner": "lab"})).await;
    for action in ["disable", "enable"] {
        verb(http, &manager.token, &foreign.id, action).await.expect(404);
        verb(http, &child.token, &child.id, action).await.expect(403);
    }
    patch(http, &manager.token, &foreign.id, json!({"name": "x"})).await.expect(404);
}

#[tokio::test]
async fn a_recoverable_key_is_shown_to_whom_the_scope_was_given() {
    let demo = Demo::start();
    let (http, admin) = (&demo.http, demo.admin_key.as_str());
    let kept = make(http, admin, json!({"name": "kept", "recoverable": true})).await;
    let answer = verb(http, admin, &kept.id, "reveal").await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.json(), json!({"key_id": kept.id, "token": kept.token}));
    let rotated = verb(http, admin, &kept.id, "rotate").await.expect(200).json();
    assert_eq!(verb(http, admin, &kept.id, "reveal").await.expect(200).json()["token"], rotated["token"]);
    let lost = make(http, admin, json!({"name": "lost"})).await;
    let refused = verb(http, admin, &lost.id, "reveal").await.expect(409).json();
    assert_eq!(refused["error"]["code"], "not_recoverable");
    let manager = make(http, admin, json!({"name": "m", "scopes": ["fax:read", "keys:manage"]})).await;
    verb(http, &manager.token, &kept.id, "reveal").await.expect(403);
    let narrow = make(http, admin, json!({"name": "n", "scopes": ["fax:read", "keys:reveal"]})).await;
    verb(http, &narrow.token, &kept.id, "reveal").await.expect(403);
    let mut last = verb(http, admin, &kept.id, "reveal").await;
    for _ in 0..5 {
        last = verb(http, admin, &kept.id, "reveal").await;
    }
    let refused = last.expect(429);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    let kinds = told(http, admin, &kept.id).await;
    assert_eq!(kinds[..4], ["created", "revealed", "rotated", "revealed"]);
    let everything: Vec<u8> = crate::support::files_below(&demo.data_dir)
        .into_iter()
        .filter(|file| file.to_string_lossy().contains("pagewire.db"))
        .flat_map(|file| std::fs::read(file).unwrap())
        .collect();
    let secret = &rotated["token"].as_str().unwrap().as_bytes()[22..];
    assert!(everything.len() > 4096);
    assert!(!everything.windows(secret.len()).any(|window| window == secret), "sealed, not written");
}

#[tokio::test]
async fn the_policy_bounds_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let kept = make(&serve.http, BOOTSTRAP, json!({"name": "kept", "recoverable": true})).await;
    serve.terminate();
    let serve = Serve::start(folder.path(), "loopback", &[("KEY_REVEAL_POLICY", "never")]).await;
    let refused = verb(&serve.http, BOOTSTRAP, &kept.id, "reveal").await.expect(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("security.reveal_policy"), "{refused}");
    let new = json!({"name": "x", "recoverable": true});
    let refused = serve.http.json(Method::POST, KEYS, BOOTSTRAP, new).await.expect(422).json();
    assert_eq!(refused["errors"][0]["field"], "recoverable");
    verb(&serve.http, BOOTSTRAP, &kept.id, "rotate").await.expect(200);
    serve.terminate();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let refused = verb(&serve.http, BOOTSTRAP, &kept.id, "reveal").await.expect(409).json();
    assert_eq!(refused["error"]["code"], "not_recoverable", "what was not allowed was not kept");
}

#[tokio::test]
async fn a_compromised_key_leaves_its_faxes_to_be_looked_at() {
    let demo = Demo::start();
    let (http, admin) = (&demo.http, demo.admin_key.as_str());
    for (reason, hold, expected) in [("compromised", false, 2), ("moved on", true, 2), ("moved on", false, 0)]
    {
        let key = make(http, admin, json!({"name": reason})).await;
        let mut faxes = Vec::new();
        for number in ["+15550000001", "+15550000002"] {
            let fields = [
                ("to", number),
                ("schedule_at", "2099-01-01T00:00:00Z"),
                ("deadline", "2099-02-01T00:00:00Z"),
            ];
            let (media_type, body) = crate::support::form(&fields, &[&pdf(1)]);
            let headers = [("x-api-key", key.token.as_str()), ("content-type", &media_type)];
            let fax = http.call(Method::POST, "/fax", &headers, body).await.expect(202).json();
            faxes.push(fax["id"].as_str().unwrap().to_owned());
        }
        let body = json!({"reason": reason, "hold_faxes": hold});
        let ended = http.json(Method::DELETE, &format!("{KEYS}/{}", key.id), admin, body).await.expect(200);
        assert_eq!(ended.json()["held_faxes"], expected, "{reason}");
        for fax in &faxes {
            let path = format!("/admin/fax-jobs/{fax}");
            let state = if expected > 0 { "held" } else { "scheduled" };
            assert_eq!(http.get(&path, admin).await.expect(200).json()["state"], state);
            let released = http.json(Method::POST, &format!("{path}/release"), admin, json!({})).await;
            if expected > 0 {
                assert_eq!(released.expect(200).json()["state"], "scheduled");
            } else {
                let refused = released.expect(409).json();
                assert_eq!(refused["error"]["code"], "wrong_state");
            }
            http.json(Method::POST, &format!("{path}/release"), &demo.api_key, json!({})).await.expect(403);
        }
    }
}

#[tokio::test]
async fn the_safety_report_names_what_to_look_at() {
    let demo = Demo::start();
    let (http, admin) = (&demo.http, demo.admin_key.as_str());
    // An admin key makes nothing that outlives it, so this one has an end.
    let careful = json!({"name": "careful", "ip_allow": ["10.0.0.0/8"], "limits": {"per_minute": 5}});
    let careful = make(http, admin, careful).await;
    let report = http.get(&format!("{KEYS}/safety"), admin).await.expect(200).json();
    let report = report.as_array().unwrap();
    assert!(report.iter().all(|row| row["key_id"] != careful.id.as_str()), "{report:?}");
    let careless = report.iter().find(|row| row["name"] == "Demo").unwrap();
    assert_eq!(careless["findings"], json!(["never_expires", "no_custom_limit", "no_address_list"]));
    assert_eq!(careless["sentences"].as_array().unwrap().len(), 3);
    let own = make(http, admin, json!({"name": "own", "owner": "lab", "scopes": ["keys:read"]})).await;
    let report = http.get(&format!("{KEYS}/safety"), &own.token).await.expect(200).json();
    assert_eq!(report.as_array().unwrap().len(), 1, "its owner's only");
    http.call(Method::DELETE, &format!("{KEYS}/safety"), &[("x-api-key", admin)], "").await.expect(405);
}
