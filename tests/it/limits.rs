//! Quotas, their fields and figures, keys in addresses, and the diagnostics of refused keys.

use std::path::Path;
use std::time::{Duration, Instant};

use hyper::Method;
use pagewire::serve::USAGE_FLUSH;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, BOOTSTRAP, Demo, PROGRAM, Serve, forged};

/// A new key: its token and id.
async fn make(demo: &Demo, new: Value) -> (String, String) {
    let key = demo.http.json(Method::POST, "/admin/api-keys", &demo.admin_key, new).await.expect(200).json();
    (key["token"].as_str().unwrap().to_owned(), key["key_id"].as_str().unwrap().to_owned())
}

/// The number of a policy in one of the rate limit fields.
fn field(answer: &Answer, header: &str, policy: &str, parameter: &str) -> u64 {
    let text = answer.header(header);
    let policy = text.split(", ").find_map(|part| part.strip_prefix(&format!("\"{policy}\";")));
    let mut parameters = policy.unwrap_or_else(|| panic!("{header}: {text}")).split(';');
    parameters.find_map(|one| one.strip_prefix(&format!("{parameter}="))).unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_61st_request_in_a_minute_of_a_development_key_waits() {
    let demo = Demo::start();
    // A minute may turn while the test runs; a second one then does not.
    for turn in 0..3 {
        let (token, id) = make(&demo, json!({"name": "dev", "kind": "development"})).await;
        let mut connection = demo.http.connect().await;
        let mut answers = Vec::new();
        for _ in 0..61 {
            answers.push(connection.call(Method::GET, "/fax", &[("x-api-key", &token)], "").await.unwrap());
        }
        let (first, last) = (&answers[0], &answers[60]);
        assert_eq!(first.header("ratelimit-policy"), r#""minute";q=60;w=60, "hour";q=1000;w=3600"#);
        if last.status == 200 && turn < 2 {
            continue;
        }
        for (number, answer) in answers[..60].iter().enumerate() {
            assert_eq!(answer.status, 200);
            assert_eq!(field(answer, "ratelimit", "minute", "r"), 59 - number as u64);
            assert_eq!(field(answer, "ratelimit", "hour", "r"), 999 - number as u64);
        }
        let body = last.json();
        assert_eq!(
            (last.status, &body["error"]["code"], &body["error"]["limit"]),
            (429, &json!("rate_limited"), &json!("minute"))
        );
        let wait = body["error"]["retry_after"].as_u64().unwrap();
        assert_eq!(last.header("retry-after"), wait.to_string());
        assert_eq!(field(last, "ratelimit", "minute", "t"), wait);
        assert!((1..=60).contains(&wait) && field(last, "ratelimit", "minute", "r") == 0);
        assert_eq!(field(last, "ratelimit", "hour", "r"), 940, "a refused request takes nothing");

        let usage = format!("/admin/api-keys/{id}/usage?hours=2");
        let usage = demo.http.get(&usage, &demo.admin_key).await.expect(200).json();
        assert_eq!((&usage["key_id"], &usage["total"]), (&json!(id), &json!({"ok": 60, "rate_limited": 1})));
        let hours = usage["hours"].as_array().unwrap();
        assert_eq!(hours.iter().map(|hour| hour["ok"].as_u64().unwrap()).sum::<u64>(), 60);
        assert!(hours[0]["hour"].as_str().unwrap().ends_with(":00:00Z"));
        return;
    }
}

#[tokio::test]
async fn every_authenticated_answer_tells_what_is_left() {
    let demo = Demo::start();
    let (token, _) = make(&demo, json!({"name": "reader", "scopes": ["fax:read"]})).await;
    for (method, path, status) in [
        (Method::GET, "/fax", 200),
        (Method::GET, "/fax/0190b3c0000070008000000000000000", 404),
        (Method::GET, "/inbound", 403),
        (Method::GET, "/fax?limit=0", 422),
        (Method::POST, "/fax", 403),
    ] {
        let answer = demo.http.call(method.clone(), path, &[("x-api-key", &token)], "").await.expect(status);
        assert!(field(&answer, "ratelimit", "hour", "r") < 10_000, "{method} {path}");
        assert_eq!(field(&answer, "ratelimit-policy", "hour", "q"), 10_000);
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    let no_key = demo.http.call(Method::GET, "/fax", &[], "").await.expect(401);
    assert_eq!(no_key.header("ratelimit"), "");
}

#[tokio::test]
async fn refused_keys_are_told_apart_for_those_who_look() {
    let demo = Demo::start();
    let (token, id) =
        make(&demo, json!({"name": "reader", "owner": "clinic", "scopes": ["fax:read", "diagnostics:read"]}))
            .await;
    let (other, other_id) = make(&demo, json!({"name": "other", "owner": "lab"})).await;
    let other_letter = if token.ends_with('x') { 'y' } else { 'x' };
    let (wrong, mistyped) = (forged(&token), format!("{}{other_letter}", &token[..token.len() - 1]));
    let unknown = forged(&token.replace(&id, "ffffffffffff"));
    for key in [&wrong, &wrong, &wrong, &mistyped, &unknown, &forged(&other)] {
        demo.http.get("/fax", key).await.expect(401);
    }
    demo.http.call(Method::GET, "/fax", &[], "").await.expect(401);
    demo.http.get("/inbound", &token).await.expect(403);
    demo.http.get("/fax", &token).await.expect(200);

    let path = "/admin/diagnostics/api-auth";
    let all = demo.http.get(path, &demo.admin_key).await.expect(200).json();
    let group = |report: &Value, outcome: &str| {
        let groups = report["groups"].as_array().unwrap().clone();
        groups.into_iter().find(|group| group["outcome"] == outcome).unwrap_or_default()
    };
    let bad = demo.http.get(&format!("{path}?outcome=bad_secret&key_id={id}"), &demo.admin_key).await;
    let bad = group(&bad.expect(200).json(), "bad_secret");
    assert_eq!((&bad["count"], &bad["address"]), (&json!(3), &json!("127.0.0.1")));
    assert!(
        bad["first"].as_str() <= bad["last"].as_str() && bad["remedy"].as_str().unwrap().contains("rotated")
    );
    assert_eq!(group(&all, "checksum")["key_id"], Value::Null, "a mistyped id names nobody");
    assert_eq!(group(&all, "unknown_id")["key_id"], "ffffffffffff");
    assert_eq!(group(&all, "missing")["count"], 1);
    assert_eq!(group(&all, "scope")["key_id"], json!(id));
    assert!(all["recent"].as_array().unwrap().iter().any(|one| one["outcome"] == "ok"));

    let own = demo.http.get(path, &token).await.expect(200).json();
    assert_eq!(group(&own, "bad_secret")["count"], 3);
    for foreign in ["missing", "unknown_id", "checksum"] {
        assert_eq!(group(&own, foreign), Value::Null, "{foreign}");
    }
    assert!(!own.to_string().contains(&other_id), "{own}");
    for secret in [&token, &wrong, &mistyped, &unknown, &other] {
        assert!(!all.to_string().contains(&secret[22..40]));
    }

    for (filter, field) in [
        ("outcome=nice", "outcome"),
        ("key_id=x", "key_id"),
        ("address=here", "address"),
        ("limit=0", "limit"),
        ("who=me", "who"),
    ] {
        let refused = demo.http.get(&format!("{path}?{filter}"), &demo.admin_key).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
}

#[tokio::test]
async fn the_live_view_shows_refusals_and_ends_with_the_appliance() {
    let demo = Demo::start();
    let mut stream = TcpStream::connect(demo.http.address).await.unwrap();
    let request = format!(
        "GET /admin/diagnostics/api-auth/stream?outcome=malformed HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\n\r\n",
        demo.admin_key
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    read_until(&mut stream, &mut text, "\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("text/event-stream"), "{text}");
    demo.http.get("/fax", &forged(&demo.api_key)).await.expect(401);
    demo.http.get("/fax", "hello").await.expect(401);
    read_until(&mut stream, &mut text, "malformed").await;
    assert_eq!(tokio::task::spawn_blocking(|| demo.stop()).await.unwrap(), Some(0));
    stream.read_to_string(&mut text).await.unwrap();
    assert!(
        text.contains("event:attempt") && !text.contains("bad_secret") && !text.contains("hello"),
        "{text}"
    );
}

async fn read_until(stream: &mut TcpStream, text: &mut String, wanted: &str) {
    let mut buffer = [0; 4096];
    while !text.contains(wanted) {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "ended before {wanted:?}: {text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

#[tokio::test]
async fn a_key_in_an_address_is_refused_and_marked() {
    let demo = Demo::start();
    let (token, id) = make(&demo, json!({"name": "leaky", "scopes": ["fax:read"]})).await;
    for path in [format!("/fax?apikey={token}"), format!("/fax?limit=3&api_key={}", forged(&token))] {
        let body = demo.http.call(Method::GET, &path, &[], "").await.expect(401).json();
        assert_eq!(
            (&body["error"]["code"], &body["reason"]),
            (&json!("invalid_api_key"), &json!("api_key_in_query"))
        );
        assert!(!body.to_string().contains(&token[22..40]));
    }
    let path = format!("/admin/diagnostics/api-auth?outcome=in_query&key_id={id}");
    let report = demo.http.get(&path, &demo.admin_key).await.expect(200).json();
    assert_eq!(report["groups"][0]["count"], 2);
    assert!(report["groups"][0]["seen_in_url_at"].is_string());
    demo.http.get("/fax", &token).await.expect(200);
    demo.http.call(Method::GET, "/fax?apikey=nothing", &[("x-api-key", &token)], "").await.expect(422);
}

#[tokio::test]
async fn a_key_in_an_address_counts_where_that_is_switched_on() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[("ALLOW_QUERY_API_KEY", "true")]).await;
    let created = serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, json!({"name": "a"})).await;
    let token = created.expect(200).json()["token"].as_str().unwrap().to_owned();
    let mut command = std::process::Command::new(PROGRAM);
    command
        .args(["keys", "--data-dir"])
        .arg(folder.path())
        .args(["create", "Me", "--kind", "admin"])
        .env_clear();
    let made = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let admin = String::from_utf8(made.stdout).unwrap();
    let admin = admin.trim().to_owned();
    let call = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        serve.http.call(method, path, headers, "").await
    };
    let answer = call(Method::GET, &format!("/fax?apikey={token}&limit=3"), &[]).await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    call(Method::HEAD, &format!("/fax?api_key={token}"), &[]).await.expect(200);
    call(Method::GET, &format!("/fax?apikey={token}"), &[("x-api-key", &token)]).await.expect(200);
    call(Method::GET, &format!("/fax?apikey={token}"), &[("x-api-key", &admin)]).await.expect(400);
    for (method, key) in [(Method::POST, &token), (Method::GET, &admin)] {
        let body = call(method, &format!("/fax?apikey={key}"), &[]).await.expect(401).json();
        assert_eq!(body["reason"], "api_key_in_query");
    }
    call(Method::GET, &format!("/fax?apikey={BOOTSTRAP}"), &[]).await.expect(401);
}

#[tokio::test]
async fn hours_are_remembered_over_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let new = json!({"name": "a"});
    let key = serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200).json();
    let token = key["token"].as_str().unwrap();
    let mut left = 10_000;
    for _ in 0..20 {
        let answer = serve.http.get("/fax", token).await.expect(200);
        left = left.min(field(&answer, "ratelimit", "hour", "r"));
    }
    assert!(left <= 9990, "at most one hour turned meanwhile");
    assert_eq!(tokio::task::spawn_blocking(|| serve.terminate()).await.unwrap(), Some(0));
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let answer = serve.http.get("/fax", token).await.expect(200);
    let ends = field(&answer, "ratelimit", "hour", "t");
    assert!(field(&answer, "ratelimit", "hour", "r") < left || ends > 3590, "or the hour turned");
    let usage = format!("/admin/api-keys/{}/usage", key["key_id"].as_str().unwrap());
    assert_eq!(serve.http.get(&usage, BOOTSTRAP).await.expect(200).json()["total"]["ok"], 21);
}

#[tokio::test]
async fn a_kill_costs_an_hour_no_more_than_was_let_in_since_the_last_flush() {
    const BEFORE: u64 = 50;
    const SINCE: u64 = 7;
    assert!((15..=60).contains(&USAGE_FLUSH.as_secs()), "as the design has it");
    let folder = tempfile::tempdir().unwrap();
    // Once more should the hour turn in between, or the next flush come.
    for _ in 0..2 {
        let serve = Serve::start(folder.path(), "loopback", &[]).await;
        let new = json!({"name": "a"});
        let key = serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200).json();
        let (token, id) = (key["token"].as_str().unwrap(), key["key_id"].as_str().unwrap());
        let send = async |serve: &Serve, count: u64| {
            let mut last = None;
            for _ in 0..count {
                last = Some(serve.http.get("/fax", token).await.expect(200));
            }
            let last = last.unwrap();
            (field(&last, "ratelimit", "hour", "r"), field(&last, "ratelimit", "hour", "t"))
        };
        let (_, first_ends) = send(&serve, 1).await;
        send(&serve, BEFORE - 1).await;
        let flushed = wait_for_flush(folder.path(), id, BEFORE.cast_signed()).await;
        let (left, _) = send(&serve, SINCE).await;
        let since_flush = flushed.elapsed();
        serve.kill();
        let serve = Serve::start(folder.path(), "loopback", &[]).await;
        let (left_after, ends) = send(&serve, 1).await;
        serve.kill();
        if ends > first_ends || since_flush >= USAGE_FLUSH {
            continue;
        }
        println!(
            "flushed every {} s; let in before the flush {BEFORE}, in the {since_flush:?} after it {SINCE}, then \
             kill -9: the counter stands at {} of {}",
            USAGE_FLUSH.as_secs(),
            10_000 - left_after - 1,
            10_000 - left
        );
        assert_eq!(left, 10_000 - BEFORE - SINCE);
        assert_eq!(left_after, 10_000 - BEFORE - 1, "what came since the flush is lost, and no more");
        return;
    }
    panic!("twice the hour turned, or the next flush came first");
}

/// Waits until the database has as many requests of the key as were let in.
async fn wait_for_flush(data_dir: &Path, key: &str, expected: i64) -> Instant {
    let rows = rusqlite::Connection::open(pagewire::db::file_in(data_dir)).unwrap();
    let deadline = Instant::now() + USAGE_FLUSH * 2;
    loop {
        let written: Option<i64> = rows
            .query_row("SELECT sum(taken) FROM key_windows WHERE key_id = ?1", [key], |row| row.get(0))
            .unwrap();
        if written == Some(expected) {
            return Instant::now();
        }
        assert!(Instant::now() < deadline, "{written:?} of {expected} were written");
        // The server flushes by its own clock; there is nothing to be notified by.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_restricted_key_with_origins_works_in_their_pages_only() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let make = async |name: &str| {
        let new = json!({"name": name, "scopes": ["fax:read"]});
        let key = serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200).json();
        key["token"].as_str().unwrap().to_owned()
    };
    let (page_key, plain_key) = (make("page").await, make("plain").await);
    assert_eq!(tokio::task::spawn_blocking(|| serve.terminate()).await.unwrap(), Some(0));
    let rows = rusqlite::Connection::open(pagewire::db::file_in(folder.path())).unwrap();
    let restricted = r#"UPDATE api_keys SET kind = 'restricted', allowed_origins = '["https://clinic.example"]' WHERE name = 'page'"#;
    assert_eq!(rows.execute(restricted, []).unwrap(), 1);
    drop(rows);

    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let call = async |method: Method, path: &str, origin: &str, key: Option<&str>| {
        let mut headers = vec![("access-control-request-method", "GET")];
        headers.extend((!origin.is_empty()).then_some(("origin", origin)));
        headers.extend(key.map(|key| ("x-api-key", key)));
        serve.http.call(method, path, &headers, "").await
    };
    let (listed, other) = ("https://clinic.example", "https://evil.example");
    let asked = call(Method::OPTIONS, "/fax", listed, None).await.expect(204);
    assert_eq!(asked.header("access-control-allow-origin"), listed);
    assert_eq!(asked.header("access-control-allow-methods"), "GET, HEAD, POST");
    assert!(asked.header("access-control-allow-headers").contains("X-API-Key"));
    call(Method::OPTIONS, "/anything", listed, None).await.expect(204);
    for origin in [other, "", "null"] {
        let asked = call(Method::OPTIONS, "/fax", origin, None).await.expect(405);
        assert_eq!(asked.header("access-control-allow-origin"), "", "{origin}");
    }

    for (path, status) in [("/fax", 200), ("/inbound", 403), ("/fax?limit=0", 422)] {
        let answer = call(Method::GET, path, listed, Some(&page_key)).await.expect(status);
        assert_eq!(answer.header("access-control-allow-origin"), listed, "{path}");
        assert_eq!(answer.header("vary"), "Origin");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
    let refused = call(Method::GET, "/fax", other, Some(&page_key)).await.expect(403);
    assert_eq!(
        (refused.json()["reason"].as_str(), refused.header("access-control-allow-origin")),
        (Some("origin"), "")
    );
    let no_page = call(Method::GET, "/fax", "", Some(&page_key)).await.expect(200);
    assert_eq!(no_page.header("access-control-allow-origin"), "");
    let not_listing = call(Method::GET, "/fax", listed, Some(&plain_key)).await.expect(200);
    assert_eq!(not_listing.header("access-control-allow-origin"), "");

    let path = format!("/admin/api-keys/{}", &page_key[9..21]);
    serve.http.json(Method::DELETE, &path, BOOTSTRAP, json!({})).await.expect(200);
    call(Method::OPTIONS, "/fax", listed, None).await.expect(405);
}
