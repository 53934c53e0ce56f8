//! What is done on the appliance itself stands in its audit log, with who did it.

use std::path::Path;
use std::process::{Command, Output};

use hyper::Method;
use serde_json::{Value, json};

use crate::import::{BY_SCRYPT, faxbot};
use crate::support::{BOOTSTRAP, PROGRAM, Serve, forged, on_the_appliance};

/// The newest row of this action.
async fn row(serve: &Serve, action: &str) -> Value {
    let page = serve.http.get(&format!("/admin/audit?action={action}"), BOOTSTRAP).await.expect(200).json();
    page["rows"][0].clone()
}

async fn pagewire(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg(arguments[0]).arg("--data-dir").arg(data).args(&arguments[1..]).env_clear();
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn command(data: &Path, arguments: &[&str], input: &str) -> String {
    on_the_appliance(data, arguments[0], &arguments[1..], input).await
}

fn whoami() -> String {
    format!("cli:{}", rustix::process::getuid().as_raw())
}

#[track_caller]
fn is_by_command(row: &Value) {
    assert_eq!((&row["actor"], &row["via"]), (&json!(whoami()), &json!("cli")), "{row}");
    assert_eq!(row["address"], Value::Null);
    assert!(row["request_id"].is_string(), "the log's lines about it are found by it: {row}");
}

#[tokio::test]
async fn commands_of_keys_links_and_the_seal() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let serve = Serve::start(data, "loopback", &[]).await;
    let first = row(&serve, "setup.link_made").await;
    assert_eq!((&first["actor"], &first["request_id"]), (&json!("system"), &Value::Null), "at the start");
    command(data, &["setup-token"], "").await;
    is_by_command(&row(&serve, "setup.link_made").await);

    let made = command(data, &["keys", "--json", "create", "Desk"], "").await;
    is_by_command(&row(&serve, "api_key.created").await);
    let made: Value = serde_json::from_str(&made).unwrap();
    let (id, token) = (made["key_id"].as_str().unwrap(), made["token"].as_str().unwrap());
    command(data, &["keys", "identify"], &forged(token)).await;
    let asked = row(&serve, "api_key.identified").await;
    is_by_command(&asked);
    let found = json!({"ours": true, "secret_matches": false, "status": "active"});
    assert_eq!((&asked["target"], &asked["after"]), (&json!(format!("api_key:{id}")), &found));
    let body = json!({ "token": token });
    let answer = serve.http.json(Method::POST, "/admin/api-keys/identify", BOOTSTRAP, body).await.expect(200);
    let asked = row(&serve, "api_key.identified").await;
    assert_eq!((&asked["actor"], &asked["after"]["secret_matches"]), (&json!("bootstrap"), &json!(true)));
    assert_eq!(asked["request_id"], answer.header("x-request-id"));
    let foreign = token.replace(id, "ffffffffffff");
    command(data, &["keys", "identify"], &forged(&foreign)).await;
    let asked = row(&serve, "api_key.identified").await;
    let found = json!({"ours": false, "secret_matches": false, "status": null});
    assert_eq!((&asked["target"], &asked["after"]), (&json!("api_key:ffffffffffff"), &found));

    let recovery = command(data, &["seal", "recovery-key"], "").await;
    let made = row(&serve, "seal.recovery_key_made").await;
    is_by_command(&made);
    assert_eq!(
        (&made["target"], &made["after"]),
        (&json!("seal:data_key"), &json!({"replaces_another": false}))
    );
    command(data, &["seal", "rewrap"], "").await;
    let rewrapped = row(&serve, "seal.rewrapped").await;
    is_by_command(&rewrapped);
    assert_eq!(rewrapped["after"], json!({"in_force": true}));
    assert_eq!(serve.terminate(), Some(0));

    // Recovered while the log cannot be opened: it is told of all the same, under the same key.
    std::fs::remove_file(data.join("keys/kek")).unwrap();
    let serve = Serve::start(data, "loopback", &[]).await;
    command(data, &["seal", "recover"], &recovery).await;
    is_by_command(&row(&serve, "seal.recovered").await);
    assert_eq!(serve.terminate(), Some(0));
    let serve = Serve::start(data, "loopback", &[]).await;
    let report = serve.http.get("/admin/audit/verify", BOOTSTRAP).await.expect(200).json();
    assert_eq!(report["ok"], true, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_one_row_and_none_when_nothing_came() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let old = folder.path().join("old");
    std::fs::create_dir(&old).unwrap();
    let file = faxbot(&old).display().to_string();
    for how in ["--dry-run", "--apply", "--apply"] {
        command(&data, &["import", "faxbot", &file, how], "").await;
    }
    let serve = Serve::start(&data, "loopback", &[]).await;
    let page = serve.http.get("/admin/audit?action=store.imported", BOOTSTRAP).await.expect(200).json();
    let rows = page["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{page}");
    assert_eq!((&rows[0]["actor"], &rows[0]["target"]), (&json!(whoami()), &json!("import:faxbot")));
    let came = &rows[0]["after"];
    assert!(came["keys"].as_array().unwrap().contains(&json!(&BY_SCRYPT.0[9..21])), "{came}");
    assert_eq!((&came["faxes"], &came["received"], &came["left_out"]), (&json!(2), &json!(3), &json!(2)));
    assert_eq!(came["accounts"].as_array().unwrap().len(), 2);
    let report = serve.http.get("/admin/audit/verify", BOOTSTRAP).await.expect(200).json();
    assert_eq!(report["ok"], true, "{report}");
}

#[tokio::test]
async fn damage_is_accepted_on_the_appliance_and_told_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let serve = Serve::start(data, "loopback", &[]).await;
    let accept = ["audit", "accept-damage", "--reason", "The disk was replaced on 3 May."];
    let body = json!({"reason": "x"});
    let refused =
        serve.http.json(Method::POST, "/admin/audit/accept-damage", BOOTSTRAP, body).await.expect(403);
    assert!(refused.json()["detail"].as_str().unwrap().contains("appliance itself"));
    let whole = pagewire(data, &accept).await;
    assert_eq!(whole.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&whole.stderr).contains("nothing to accept"), "{whole:?}");

    let database = rusqlite::Connection::open(data.join("pagewire.db")).unwrap();
    database.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 4", []).unwrap();
    assert_eq!(pagewire(data, &["audit", "verify"]).await.status.code(), Some(1));
    assert_eq!(pagewire(data, &["audit", "accept-damage", "--reason", "  "]).await.status.code(), Some(3));
    let accepted = pagewire(data, &accept).await;
    assert_eq!(accepted.status.code(), Some(0), "{accepted:?}");
    let told = row(&serve, "audit.damage_accepted").await;
    is_by_command(&told);
    assert_eq!((&told["after"]["first_bad_seq"], &told["reason"]), (&json!(4), &json!(accept[3])));
    let noted = format!("{}:{}", told["seq"], told["hash"].as_str().unwrap());
    assert!(String::from_utf8_lossy(&accepted.stdout).contains(&noted));

    command(data, &["keys", "create", "after"], "").await;
    let report = serve.http.get("/admin/audit/verify", BOOTSTRAP).await.expect(200).json();
    let through = told["seq"].as_i64().unwrap() - 1;
    let damage = &report["accepted_damage"][0];
    assert_eq!(
        (&report["ok"], &damage["from_seq"], &damage["through_seq"]),
        (&json!(true), &json!(4), &json!(through))
    );
    let verified = command(data, &["audit", "verify", "--anchor", &noted], "").await;
    assert!(verified.contains("prove nothing; this damage was accepted: Row 4 was altered"), "{verified}");
    assert!(!verified.contains("is whole") && verified.contains("The anchor matches."), "{verified}");
    let first = serve.http.get("/admin/audit/5", BOOTSTRAP).await.expect(200).json();
    let anchor = format!("/admin/audit/verify?anchor=5:{}", first["hash"].as_str().unwrap());
    let report = serve.http.get(&anchor, BOOTSTRAP).await.expect(200).json();
    assert_eq!((&report["ok"], &report["anchor"]), (&json!(true), &Value::Null), "it proves nothing there");
    // New damage is no old news.
    database.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 2", []).unwrap();
    assert_eq!(pagewire(data, &["audit", "verify"]).await.status.code(), Some(1));
}
