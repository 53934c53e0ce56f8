//! The audit log: who did what leaves a row, and nobody rewrites it unseen.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Answer, BOOTSTRAP, Http, PROGRAM, Serve, free_address, pdf};

/// Views that are asked for while the server is killed.
const VIEWS: usize = 400;

async fn rows(http: &Http, filter: &str) -> Vec<Value> {
    let page = http.get(&format!("/admin/audit?limit=100&{filter}"), BOOTSTRAP).await.expect(200).json();
    page["rows"].as_array().unwrap().clone()
}

async fn verified(http: &Http) -> Value {
    http.get("/admin/audit/verify", BOOTSTRAP).await.expect(200).json()
}

async fn new_key(http: &Http, name: &str) -> Answer {
    http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, json!({ "name": name })).await.expect(200)
}

/// A received fax's id, sent by way of the loopback.
async fn received_fax(http: &Http) -> (String, String) {
    let sent = http.send_fax(BOOTSTRAP, "+15551234567", &pdf(1)).await.expect(202).json();
    let sent = sent["id"].as_str().unwrap().to_owned();
    http.finished(BOOTSTRAP, &sent).await;
    let inbox = http.get("/inbound", BOOTSTRAP).await.expect(200).json();
    (sent, inbox[0]["id"].as_str().unwrap().to_owned())
}

async fn pagewire(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("audit").arg("--data-dir").arg(data).args(arguments).env_clear();
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn changes_and_views_leave_rows_and_no_row_holds_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let http = &serve.http;
    let created = new_key(http, "Reception").await;
    let (id, token) = (created.json()["key_id"].clone(), created.json()["token"].clone());
    let (id, token) = (id.as_str().unwrap(), token.as_str().unwrap().to_owned());
    let path = format!("/admin/api-keys/{id}");
    let rotated = http.json(Method::POST, &format!("{path}/rotate"), BOOTSTRAP, json!({})).await.expect(200);
    let second = rotated.json()["token"].as_str().unwrap().to_owned();
    let reason = format!("somebody posted {second} in a chat");
    let revoked = http.json(Method::DELETE, &path, BOOTSTRAP, json!({ "reason": reason })).await.expect(200);
    http.json(Method::DELETE, &path, BOOTSTRAP, json!({ "reason": "again" })).await.expect(200);

    let of_key = rows(http, &format!("target=api_key:{id}")).await;
    let actions: Vec<_> = of_key.iter().map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        ["api_key.revoked", "api_key.rotated", "api_key.created"],
        "and none of what changed nothing"
    );
    for (row, answer) in of_key.iter().zip([&revoked, &rotated, &created]) {
        assert_eq!(row["request_id"], answer.header("x-request-id"));
        assert_eq!((&row["actor"], &row["via"]), (&json!("bootstrap"), &json!("api")));
        assert_eq!(row["address"], "127.0.0.1");
    }
    assert_eq!(of_key[2]["after"]["name"], "Reception");
    assert_eq!(of_key[2]["after"]["scopes"], created.json()["scopes"]);
    assert!(of_key[0]["reason"].as_str().unwrap().starts_with("somebody posted fbk_live_"));

    let viewer = new_key(http, "Viewer").await.json();
    let viewer_token = viewer["token"].as_str().unwrap();
    let sent = http.send_fax(viewer_token, "+15551234567", &pdf(2)).await.expect(202).json();
    let fax = sent["id"].as_str().unwrap();
    http.finished(viewer_token, fax).await;
    let inbox = http.get("/inbound", viewer_token).await.expect(200).json();
    let inbound = inbox[0]["id"].as_str().unwrap();
    let views = [
        (format!("/fax/{fax}/pages/2.png"), format!("fax:{fax}"), json!({"format": "png", "page": 2})),
        (format!("/fax/{fax}/pdf"), format!("fax:{fax}"), json!({"format": "pdf"})),
        (format!("/admin/fax-jobs/{fax}/pdf"), format!("fax:{fax}"), json!({"format": "pdf"})),
        (format!("/inbound/{inbound}/pdf"), format!("inbound:{inbound}"), json!({"format": "pdf"})),
        (format!("/inbound/{inbound}/tiff"), format!("inbound:{inbound}"), json!({"format": "tiff"})),
    ];
    for (path, target, shown) in &views {
        let is_admin = path.starts_with("/admin") || path.starts_with("/inbound");
        let (key, actor) = if is_admin {
            (BOOTSTRAP, "bootstrap".to_owned())
        } else {
            (viewer_token, format!("key:{}", viewer["key_id"].as_str().unwrap()))
        };
        let seen = http.get(path, key).await.expect(200);
        let newest = &rows(http, "action=content.viewed").await[0];
        assert_eq!((&newest["target"], &newest["after"]), (&json!(target), shown));
        assert_eq!((&newest["actor"], &newest["address"]), (&json!(actor), &json!("127.0.0.1")));
        assert_eq!(newest["request_id"], seen.header("x-request-id"));
    }
    http.get(&format!("/fax/{fax}"), viewer_token).await.expect(200);
    http.get(&format!("/fax/{fax}/pages/9.png"), viewer_token).await.expect(404);
    assert_eq!(rows(http, "action=content.viewed").await.len(), views.len(), "a status read is no view");

    let later = [("to", "+15550000009"), ("schedule_at", "2099-01-01T00:00:00Z")];
    let (media_type, body) = crate::support::form(&later, &[&pdf(1)]);
    let headers = [("x-api-key", viewer_token), ("content-type", &media_type)];
    let waiting = http.call(Method::POST, "/fax", &headers, body).await;
    if waiting.status == 202 {
        let waiting = waiting.json()["id"].as_str().unwrap().to_owned();
        let cancelled = http.json(Method::DELETE, &format!("/fax/{waiting}"), viewer_token, json!({})).await;
        let row = &rows(http, "action=fax.cancelled").await[0];
        assert_eq!(
            (&row["target"], &row["request_id"]),
            (&json!(format!("fax:{waiting}")), &json!(cancelled.expect(200).header("x-request-id")))
        );
    } else {
        panic!("{}", String::from_utf8_lossy(&waiting.body));
    }

    let export = http.get("/admin/audit/export", BOOTSTRAP).await.expect(200);
    let text = String::from_utf8(export.body.to_vec()).unwrap();
    for minted in [&token, &second, viewer_token] {
        assert!(!text.contains(&minted[22..]), "{text}");
        assert!(!text.contains(&minted[22..40]), "{text}");
    }
    assert!(!text.contains(BOOTSTRAP));
    assert!(text.contains("\"service_account.created\""), "the appliance's own accounts");
    assert_eq!(verified(http).await["ok"], true);
}

#[tokio::test]
async fn rows_are_listed_filtered_exported_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let http = &serve.http;
    for number in 0..5 {
        new_key(http, &format!("key {number}")).await;
    }
    let all = rows(http, "").await;
    let numbers: Vec<i64> = all.iter().map(|row| row["seq"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=all.len() as i64).rev().collect::<Vec<_>>());
    let mut paged = Vec::new();
    let mut before = String::new();
    loop {
        let page = http.get(&format!("/admin/audit?limit=3{before}"), BOOTSTRAP).await.expect(200).json();
        paged.extend(page["rows"].as_array().unwrap().clone());
        match page["next_before"].as_i64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
    assert_eq!(rows(http, "action=api_key.created").await.len(), 5);
    assert_eq!(rows(http, "actor=bootstrap").await.len(), 5);
    assert_eq!(rows(http, "actor=system&action=service_account.created").await.len(), 4);
    assert_eq!(rows(http, "from=2099-01-01T00:00:00Z").await.len(), 0);
    assert_eq!(rows(http, "from=2020-01-01T00:00:00Z&to=2099-01-01T00:00:00Z").await, all);
    let one = http.get("/admin/audit/2", BOOTSTRAP).await.expect(200).json();
    assert_eq!(one, all[all.len() - 2]);
    for missing in ["/admin/audit/999", "/admin/audit/x", "/admin/audit/0"] {
        http.get(missing, BOOTSTRAP).await.expect(404);
    }
    for (bad, allowed) in [
        ("?action=api_key.creatd", "api_key.created"),
        ("?limit=0", "1 to 100"),
        ("?from=yesterday", "'from' must be a time like"),
        ("?who=me", "who"),
        ("/verify?anchor=12", "hash of 64 hex digits"),
        ("/export?form=x", "form"),
    ] {
        let refused = http.get(&format!("/admin/audit{bad}"), BOOTSTRAP).await.expect(422).json();
        let said = refused.to_string();
        assert!(said.contains(allowed), "{bad}: {said}");
    }

    let report = verified(http).await;
    let head = format!("{}:{}", report["head"]["seq"], report["head"]["hash"].as_str().unwrap());
    assert_eq!(
        (&report["ok"], &report["rows"], &report["anchor"]),
        (&json!(true), &json!(all.len()), &Value::Null)
    );
    let export = pagewire(folder.path(), &["export"]).await;
    assert_eq!(export.status.code(), Some(0));
    let lines: Vec<Value> = out(&export).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), all.len() + 1, "the export is a row too");
    assert_eq!(lines.last().unwrap()["action"], "audit.exported");
    assert_eq!(lines.last().unwrap()["via"], "cli");
    for pair in lines.windows(2) {
        assert_eq!(pair[1]["prev_hash"], pair[0]["hash"]);
    }
    let none = pagewire(folder.path(), &["export", "--to", "2020-01-01T00:00:00Z"]).await;
    assert_eq!((none.status.code(), out(&none).as_str()), (Some(0), ""));

    let whole = pagewire(folder.path(), &["verify", "--anchor", &head]).await;
    assert_eq!(whole.status.code(), Some(0), "{}", out(&whole));
    assert!(
        out(&whole).contains("is whole") && out(&whole).contains("The anchor matches."),
        "{}",
        out(&whole)
    );
    let database = rusqlite::Connection::open(folder.path().join("pagewire.db")).unwrap();
    database.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 4", []).unwrap();
    let report = verified(http).await;
    assert_eq!(
        (&report["ok"], &report["first_bad_seq"], &report["rows"]),
        (&json!(false), &json!(4), &json!(3))
    );
    assert!(report["problem"].as_str().unwrap().starts_with("Row 4 was altered"), "{report}");
    let damaged = pagewire(folder.path(), &["verify"]).await;
    assert_eq!(damaged.status.code(), Some(1));
    assert!(out(&damaged).starts_with("DAMAGED. Row 4 was altered"), "{}", out(&damaged));
    let damaged = pagewire(folder.path(), &["verify", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&out(&damaged)).unwrap(), report);
}

#[tokio::test]
async fn without_its_row_nothing_is_changed_or_shown() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let http = &serve.http;
    let (sent, received) = received_fax(http).await;
    let database = rusqlite::Connection::open(folder.path().join("pagewire.db")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    database.execute_batch("ALTER TABLE audit RENAME TO elsewhere").unwrap();
    for path in [
        format!("/fax/{sent}/pages/1.png"),
        format!("/fax/{sent}/pdf"),
        format!("/inbound/{received}/pdf"),
        format!("/inbound/{received}/tiff"),
    ] {
        let refused = http.get(&path, BOOTSTRAP).await.expect(503);
        assert_eq!(refused.header("content-type"), "application/json");
        assert!(refused.json()["detail"].as_str().unwrap().contains("nothing is shown"));
    }
    let unmade = http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, json!({"name": "unmade"})).await;
    assert_eq!(unmade.status, 500);
    http.get(&format!("/fax/{sent}"), BOOTSTRAP).await.expect(200);
    database.execute_batch("ALTER TABLE elsewhere RENAME TO audit").unwrap();
    assert_eq!(http.get("/admin/api-keys", BOOTSTRAP).await.expect(200).json(), json!([]));
    http.get(&format!("/fax/{sent}/pdf"), BOOTSTRAP).await.expect(200);
    assert_eq!(verified(http).await["ok"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_leaves_a_whole_chain_with_every_view_that_was_shown() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let (_, received) = received_fax(&serve.http).await;
    let path = format!("/inbound/{received}/tiff");
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (http, path) = (serve.http.clone(), path.clone());
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let Ok(mut connection) = http.try_connect().await else { return seen };
                for _ in 0..VIEWS {
                    match connection.call(Method::GET, &path, &[("x-api-key", BOOTSTRAP)], "").await {
                        Ok(answer) => seen.push(answer.expect(200).header("x-request-id").to_owned()),
                        Err(_) => break,
                    }
                }
                seen
            })
        })
        .collect();
    // The kill comes while rows are being written: as soon as some are there.
    while rows(&serve.http, "action=content.viewed").await.len() < 100 {}
    serve.kill();
    let mut seen = Vec::new();
    for client in clients {
        seen.extend(client.await.unwrap());
    }
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    assert_eq!(verified(&serve.http).await["ok"], true);
    let export = pagewire(folder.path(), &["export"]).await;
    let text = out(&export);
    assert!(seen.len() >= 100);
    for request_id in seen {
        assert!(text.contains(&request_id), "{request_id} was shown and is not in the log");
    }
}

#[tokio::test]
async fn heads_go_to_the_journal_after_a_thousand_rows_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut child = Command::new(PROGRAM)
        .args(["serve", "--route", "loopback", "--listen", &address.to_string(), "--data-dir"])
        .arg(folder.path())
        .env_clear()
        .env("API_KEY", BOOTSTRAP)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let http = Http::new(address);
    http.wait_until_up().await;
    let (_, received) = received_fax(&http).await;
    let path = format!("/inbound/{received}/tiff");
    let views = (0..4).map(|_| {
        let (http, path) = (http.clone(), path.clone());
        async move {
            let mut connection = http.connect().await;
            for _ in 0..260 {
                let seen =
                    connection.call(Method::GET, &path, &[("x-api-key", BOOTSTRAP)], "").await.unwrap();
                seen.expect(200);
            }
        }
    });
    futures_util::future::join_all(views).await;
    let head = verified(&http).await["head"].clone();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    child.wait().unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("audit head seq=")).collect();
    let last = format!("audit head seq={} hash={}", head["seq"], head["hash"].as_str().unwrap());
    assert!(lines.last().unwrap().ends_with(&last), "{log}");
    let seq = |line: &str| -> i64 {
        line.split("seq=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    assert!(lines.iter().any(|line| (1000..1040).contains(&seq(line))), "{lines:?}");
    assert!(head["seq"].as_i64().unwrap() > 1040);
}
