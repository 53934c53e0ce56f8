//! The Faxbot contract, spoken to a running demo.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{BOOTSTRAP, Demo, Serve, form, pdf};

#[tokio::test]
async fn a_fax_is_accepted_followed_and_listed() {
    let demo = Demo::start();
    let accepted = demo.http.send_fax(&demo.api_key, "+15551234567", &pdf(2)).await.expect(202).json();
    let keys: Vec<&String> = accepted.as_object().unwrap().keys().collect();
    let faxbot =
        ["id", "to", "status", "error", "pages", "backend", "provider_sid", "created_at", "updated_at"];
    assert_eq!(keys[..9], faxbot);
    assert_eq!(accepted["to"], "+15551234567");
    assert_eq!(accepted["status"], "queued");
    assert_eq!((&accepted["error"], &accepted["provider_sid"]), (&Value::Null, &Value::Null));
    assert_eq!((&accepted["pages"], &accepted["backend"]), (&json!(2), &json!("loopback")));
    assert!(accepted["created_at"].as_str().unwrap().ends_with('Z'));

    let id = accepted["id"].as_str().unwrap();
    let done = demo.http.finished(&demo.api_key, id).await;
    assert_eq!(
        (&done["status"], &done["state"], &done["confirmed_pages"]),
        (&json!("SUCCESS"), &json!("delivered"), &json!(2))
    );

    let attempts = demo.http.get(&format!("/fax/{id}/attempts"), &demo.api_key).await.expect(200).json();
    assert_eq!(attempts.as_array().unwrap().len(), 1);
    assert_eq!(attempts[0]["pages"].as_array().unwrap().len(), 2);
    let trace = demo.http.get(&format!("/fax/{id}/attempts/1/trace"), &demo.api_key).await.expect(200).json();
    assert!(!trace.as_array().unwrap().is_empty());

    let png = demo.http.get(&format!("/fax/{id}/pages/2.png"), &demo.api_key).await.expect(200);
    assert!(png.body.starts_with(b"\x89PNG") && png.header("content-type") == "image/png");
    let document = demo.http.get(&format!("/fax/{id}/pdf"), &demo.api_key).await.expect(200);
    assert!(document.body.starts_with(b"%PDF-") && document.header("cache-control").contains("no-store"));
    for missing in ["pages/3.png", "pages/0.png", "pages/x.png", "pages/1", "attempts/2/trace", "nothing"] {
        demo.http.get(&format!("/fax/{id}/{missing}"), &demo.api_key).await.expect(404);
    }

    let mine = demo.http.get("/fax?status=SUCCESS", &demo.api_key).await.expect(200).json();
    assert!(mine["jobs"].as_array().unwrap().iter().any(|fax| fax["id"] == id));
    let all = demo.http.get("/admin/fax-jobs?limit=1", &demo.admin_key).await.expect(200).json();
    assert_eq!(all["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(all["jobs"][0]["to_number"], "+15551234567");
    assert!(all["total"].as_u64().unwrap() >= 2, "the sample fax is there too");
    let next = all["next_cursor"].as_str().unwrap();
    let second = demo
        .http
        .get(&format!("/admin/fax-jobs?limit=1&cursor={next}"), &demo.admin_key)
        .await
        .expect(200)
        .json();
    assert_ne!(second["jobs"][0]["id"], all["jobs"][0]["id"]);
    for bad in ["limit=0", "limit=101", "status=lost", "cursor=x", "surprise=1"] {
        demo.http.get(&format!("/admin/fax-jobs?{bad}"), &demo.admin_key).await.expect(422);
    }
    let one = demo.http.get(&format!("/admin/fax-jobs/{id}"), &demo.admin_key).await.expect(200).json();
    assert_eq!(one["id"], id);
    demo.http
        .json(Method::POST, &format!("/admin/fax-jobs/{id}/refresh"), &demo.admin_key, json!({}))
        .await
        .expect(200);
    demo.http.get(&format!("/admin/fax-jobs/{id}/pdf"), &demo.admin_key).await.expect(200);
    demo.http.get("/admin/fax-jobs", &demo.api_key).await.expect(403);

    assert_eq!(demo.stop(), Some(0));
}

#[tokio::test]
async fn the_inbox_has_what_was_sent() {
    let demo = Demo::start();
    let before = demo.http.get("/inbound", &demo.api_key).await.expect(200).json().as_array().unwrap().len();
    let id =
        demo.http.send_fax(&demo.api_key, "5551234567", b"plain text").await.expect(202).json()["id"].clone();
    demo.http.finished(&demo.api_key, id.as_str().unwrap()).await;
    let inbox = demo.http.get("/inbound", &demo.api_key).await.expect(200).json();
    assert_eq!(inbox.as_array().unwrap().len(), before + 1);
    let newest = &inbox[0];
    let keys: Vec<&String> = newest.as_object().unwrap().keys().collect();
    assert_eq!(keys[..8], ["id", "fr", "to", "status", "backend", "pages", "size_bytes", "created_at"]);
    assert_eq!(
        (&newest["to"], &newest["pages"], &newest["status"]),
        (&json!("+15551234567"), &json!(1), &json!("received"))
    );
    let path = format!("/inbound/{}", newest["id"].as_str().unwrap());
    assert_eq!(demo.http.get(&path, &demo.api_key).await.expect(200).json(), *newest);
    let document = demo.http.get(&format!("{path}/pdf"), &demo.api_key).await.expect(200);
    assert!(document.body.starts_with(b"%PDF-"));
    demo.http.get("/inbound/0190b3c0000070008000000000000000", &demo.api_key).await.expect(404);
}

#[tokio::test]
async fn the_same_idempotency_key_sends_once() {
    let demo = Demo::start();
    let send = async |key: &str, to: &str, document: &[u8], edge: &str| {
        let (_, body) = form(&[("to", to)], &[document]);
        let body = String::from_utf8(body).unwrap().replace("--edge", &format!("--{edge}"));
        let media_type = format!("multipart/form-data; boundary={edge}");
        let headers =
            [("x-api-key", demo.api_key.as_str()), ("content-type", &media_type), ("idempotency-key", key)];
        demo.http.call(Method::POST, "/fax", &headers, body).await
    };
    let first = send("order-7", "+15551234567", b"seven", "a").await.expect(202);
    let again = send("order-7", "+15551234567", b"seven", "another").await.expect(202);
    assert_eq!(first.body, again.body, "same answer, whatever the boundary");
    send("order-7", "+15551234567", b"eight", "a").await.expect(422);
    send("order-7", "+15551234568", b"seven", "a").await.expect(422);
    let other = send("order-8", "+15551234567", b"seven", "a").await.expect(202);
    assert_ne!(first.json()["id"], other.json()["id"]);

    let at_once = (0..8).map(|_| send("order-9", "+15551234567", b"nine", "a"));
    let answers = futures_util::future::join_all(at_once).await;
    let mut ids: Vec<String> = answers
        .iter()
        .filter(|answer| answer.status == 202)
        .map(|answer| answer.json()["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(answers.iter().all(|answer| matches!(answer.status, 202 | 409)));
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_waiting_client_hears_of_the_change_and_can_cancel() {
    let demo = Demo::start();
    let slow = demo.http.send_fax(&demo.test_key, "+15005550008", &pdf(3)).await.expect(202).json();
    let id = slow["id"].as_str().unwrap();
    assert_eq!(slow["backend"], "simulator");
    let mut seen = vec![slow["state"].as_str().unwrap().to_owned()];
    while seen.last().unwrap() != "sending" {
        let fax = demo.http.get(&format!("/fax/{id}?wait=20"), &demo.test_key).await.expect(200).json();
        seen.push(fax["state"].as_str().unwrap().to_owned());
        assert!(seen.len() < 20, "{seen:?}");
    }
    demo.http.json(Method::DELETE, &format!("/fax/{id}"), &demo.test_key, json!({})).await.expect(200);
    let ended = demo.http.finished(&demo.test_key, id).await;
    assert_eq!((&ended["status"], &ended["outcome"]["class"]), (&json!("FAILED"), &json!("cancelled")));
    assert!(ended["error"].as_str().unwrap().ends_with('.'));
    let late = demo
        .http
        .json(Method::DELETE, &format!("/fax/{id}"), &demo.test_key, json!({}))
        .await
        .expect(409)
        .json();
    assert!(late["detail"].as_str().unwrap().contains("cancelled"), "{late}");
}

#[tokio::test]
async fn keys_are_made_rotated_and_revoked() {
    let demo = Demo::start();
    let admin = demo.admin_key.as_str();
    let body = json!({"name": "Front desk", "owner": "reception", "scopes": ["fax:send", "fax:read"], "note": "ground floor"});
    let created = demo.http.json(Method::POST, "/admin/api-keys", admin, body).await.expect(200).json();
    let (id, token) = (created["key_id"].as_str().unwrap(), created["token"].as_str().unwrap());
    assert!(token.starts_with(&format!("fbk_live_{id}_")) && token.len() == 9 + 12 + 1 + 49);
    let keys: Vec<&String> = created.as_object().unwrap().keys().collect();
    assert_eq!(keys[..5], ["key_id", "token", "name", "owner", "scopes"]);

    let fax = demo.http.send_fax(token, "+15551234567", b"hello").await.expect(202).json();
    let fax_path = format!("/fax/{}", fax["id"].as_str().unwrap());
    demo.http.get(&fax_path, token).await.expect(200);
    demo.http.get(&fax_path, &demo.api_key).await.expect(404);
    demo.http.get(&fax_path, admin).await.expect(200);
    demo.http.get("/inbound", token).await.expect(403);

    let listed = demo.http.get("/admin/api-keys", admin).await.expect(200);
    assert!(!String::from_utf8_lossy(&listed.body).contains(&token[22..]), "no list shows a token");
    let listed = listed.json();
    let mine = listed.as_array().unwrap().iter().find(|key| key["key_id"] == id).unwrap();
    assert_eq!((&mine["owner"], &mine["status"]), (&json!("reception"), &json!("active")));

    let rotate = format!("/admin/api-keys/{id}/rotate");
    let rotated =
        demo.http.json(Method::POST, &rotate, admin, json!({"grace_seconds": 60})).await.expect(200).json();
    let fresh = rotated["token"].as_str().unwrap();
    assert!(rotated["previous_valid_until"].is_string());
    demo.http.get(&fax_path, token).await.expect(200);
    demo.http.get(&fax_path, fresh).await.expect(200);
    let at_once = demo.http.json(Method::POST, &rotate, admin, json!({})).await.expect(200).json();
    let last = at_once["token"].as_str().unwrap();
    demo.http.get(&fax_path, fresh).await.expect(401);
    demo.http.get(&fax_path, last).await.expect(200);

    let path = format!("/admin/api-keys/{id}");
    let done =
        demo.http.json(Method::DELETE, &path, admin, json!({"reason": "left"})).await.expect(200).json();
    assert_eq!(done, json!({"status": "ok", "held_faxes": 0}));
    let refused = demo.http.get(&fax_path, last).await.expect(401).json();
    assert_eq!(refused["reason"], "revoked", "who holds the right secret is told why");
    let wrong = format!("{}{}", &last[..22], "A".repeat(49));
    assert!(demo.http.get(&fax_path, &wrong).await.expect(401).json().get("reason").is_none());

    for (body, field) in [
        (json!({"name": "x", "scopes": ["fax:fly"]}), "scopes"),
        (json!({"name": "x", "ip_alow": ["10.0.0.0/8"]}), "ip_alow"),
        (json!({"name": "x", "ip_allow": ["ten"]}), "ip_allow"),
        (json!({"name": "x", "kind": "golden"}), "kind"),
        (json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}), "expires_at"),
        (json!({"name": "x".repeat(500)}), "name"),
    ] {
        let refused = demo.http.json(Method::POST, "/admin/api-keys", admin, body).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    let unnamed = demo.http.json(Method::POST, "/admin/api-keys", admin, json!({})).await.expect(400).json();
    assert_eq!(unnamed["message"], "api_key.name_required");
    demo.http.json(Method::DELETE, "/admin/api-keys/0123456789ab", admin, json!({})).await.expect(404);
}

#[tokio::test]
async fn the_bootstrap_key_opens_an_appliance_without_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[("MAX_FILE_SIZE_MB", "3")]).await;
    serve.http.get("/admin/fax-jobs", BOOTSTRAP).await.expect(200);
    let config = serve.http.get("/admin/config", BOOTSTRAP).await.expect(200);
    assert!(!String::from_utf8_lossy(&config.body).contains(BOOTSTRAP));
    assert_eq!(config.json()["max_file_size_mb"], 3);
    let routes = serve.http.get("/plugins", BOOTSTRAP).await.expect(200).json();
    assert!(routes.as_array().unwrap().iter().any(|route| route["id"] == "loopback"));
    let new = json!({"name": "first"});
    serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200);
    assert_eq!(serve.terminate(), Some(0));
}

#[tokio::test]
async fn the_request_ceiling_is_exact() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[("MAX_REQUESTS_PER_MINUTE", "5")]).await;
    let created = serve
        .http
        .json(Method::POST, "/admin/api-keys", BOOTSTRAP, json!({"name": "busy"}))
        .await
        .expect(200)
        .json();
    let token = created["token"].as_str().unwrap();
    let mut statuses = Vec::new();
    let mut last = None;
    for _ in 0..12 {
        let answer = serve.http.get("/inbound", token).await;
        statuses.push(answer.status);
        last = Some(answer);
    }
    // A minute may have begun in between: then five more were let in.
    let let_in = statuses.iter().filter(|status| **status == 200).count();
    assert!(matches!(let_in, 5 | 10) && *statuses.last().unwrap() == 429, "{statuses:?}");
    let last = last.unwrap();
    let wait: u64 = last.header("retry-after").parse().unwrap();
    let body = last.json();
    assert!((1..=60).contains(&wait) && body["error"]["retry_after"] == wait, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("Settings → Security"));
}

#[tokio::test]
async fn a_dry_run_sends_nothing() {
    let demo = Demo::start();
    let before = demo.http.get("/fax", &demo.api_key).await.expect(200).json()["total"].clone();
    let (media_type, body) = form(&[("to", "(555) 123-4567"), ("dry_run", "1")], &[&pdf(2)]);
    let headers = [("x-api-key", demo.api_key.as_str()), ("content-type", &media_type)];
    let answer = demo.http.call(Method::POST, "/fax", &headers, body).await.expect(200).json();
    assert_eq!((&answer["to_e164"], &answer["pages"]), (&json!("+15551234567"), &json!(2)));
    assert_eq!(answer["seconds_per_page"].as_array().unwrap().len(), 2);
    assert_eq!(demo.http.get("/fax", &demo.api_key).await.expect(200).json()["total"], before);
}
