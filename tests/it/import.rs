//! A Faxbot is taken over: dry run, the real thing, the real thing again. And tokens that were
//! found somewhere.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{BOOTSTRAP, PROGRAM, Serve, forged, pdf};

/// Tokens with their hashes, made by Python: hashlib.scrypt and hashlib.pbkdf2_hmac over the secret,
/// salts bytes(range(0, 16)) and bytes(range(16, 32)), base64.urlsafe_b64encode without padding.
pub const BY_SCRYPT: (&str, &str) = (
    "fbk_live_a1b2c3d4e5f6_Zq3_-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789_-",
    "scrypt$AAECAwQFBgcICQoLDA0ODw$xCB26USge7gXuqUCKXe-P36TqjeHxle4Fbo8PFVMXeo$n=16384$r=8$p=1",
);
const BY_PBKDF2: (&str, &str) = (
    "fbk_live_0f0e0d0c0b0a_q-Wertyuiopasdfghjklzxcvbnm_1234567890QWERT",
    "pbkdf2$EBESExQVFhcYGRobHB0eHw$0YofWjPsOccR5FMZxmqkDxpPcopnw-KW2GHKXsMVBQ0$rounds=200000",
);
const REVOKED: (&str, &str) = (
    "fbk_live_deadbeef0001_revoked_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "scrypt$ICEiIyQlJicoKSorLC0uLw$zlmAy6eb7NjorAHanxBdAc7DmqK9icdC5Y4ZZObQUU4$n=16384$r=8$p=1",
);
const SENT: &str = "0123456789abcdef0123456789abcde1";
const FAILED: &str = "0123456789abcdef0123456789abcde2";
const QUEUED: &str = "0123456789abcdef0123456789abcde3";
const WITH_PAGES: &str = "0123456789abcdef0123456789abcde4";
const WITHOUT_PAGES: &str = "0123456789abcdef0123456789abcde5";
const DAMAGED: &str = "0123456789abcdef0123456789abcde6";

/// A database with the tables and columns of Faxbot 3, and one document beside it.
pub fn faxbot(folder: &Path) -> std::path::PathBuf {
    let file = folder.join("faxbot.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    database
        .execute_batch(
            "CREATE TABLE api_keys(id VARCHAR(40) PRIMARY KEY, key_id VARCHAR(32) NOT NULL, key_hash VARCHAR(200) NOT NULL, \
             name VARCHAR(100), owner VARCHAR(100), scopes VARCHAR(200), created_at DATETIME NOT NULL, last_used_at DATETIME, \
             expires_at DATETIME, revoked_at DATETIME, note TEXT);
             CREATE TABLE fax_jobs(id VARCHAR(40) PRIMARY KEY, to_number VARCHAR(64) NOT NULL, file_name VARCHAR(255) NOT NULL, \
             tiff_path VARCHAR(512) NOT NULL, status VARCHAR(32) NOT NULL, error TEXT, pages INTEGER, backend VARCHAR(20) NOT NULL, \
             provider_sid VARCHAR(100), created_at DATETIME NOT NULL, updated_at DATETIME NOT NULL);
             CREATE TABLE inbound_faxes(id VARCHAR(40) PRIMARY KEY, from_number VARCHAR(64), to_number VARCHAR(64), \
             status VARCHAR(32) NOT NULL, backend VARCHAR(20) NOT NULL, pages INTEGER, size_bytes INTEGER, pdf_path VARCHAR(512), \
             tiff_path VARCHAR(512), mailbox_label VARCHAR(100), error TEXT, created_at DATETIME NOT NULL, \
             received_at DATETIME NOT NULL, updated_at DATETIME NOT NULL);",
        )
        .unwrap();
    let key = |token: (&str, &str), owner: Option<&str>, scopes: &str, revoked: Option<&str>| {
        database
            .execute(
                "INSERT INTO api_keys VALUES (?1, ?1, ?2, 'Desk', ?3, ?4, '2025-09-20 01:29:19.123456', NULL, NULL, ?5, NULL)",
                rusqlite::params![&token.0[9..21], token.1, owner, scopes, revoked],
            )
            .unwrap();
    };
    key(BY_SCRYPT, None, "fax:send,fax:read,inbound:list,inbound:read", None);
    key(BY_PBKDF2, Some("Clinic"), "fax:read,something", None);
    key(REVOKED, None, "fax:read", Some("2025-09-21 00:00:00.000000"));
    key(("fbk_live_00000000beef_", "md5$x"), None, "fax:read", None);
    for (id, status, error) in
        [(SENT, "SUCCESS", None), (FAILED, "failed", Some("No answer")), (QUEUED, "in_progress", None)]
    {
        database
            .execute(
                "INSERT INTO fax_jobs VALUES (?1, '+15551234567', 'a.pdf', '/faxdata/a.tiff', ?2, ?3, 2, 'phaxio', NULL, \
                 '2025-09-20 01:29:19.123456', '2025-09-20 01:31:00')",
                rusqlite::params![id, status, error],
            )
            .unwrap();
    }
    for (id, path) in
        [(WITH_PAGES, "/gone/in.pdf"), (WITHOUT_PAGES, "s3://bucket/x.pdf"), (DAMAGED, "bad.pdf")]
    {
        database
            .execute(
                "INSERT INTO inbound_faxes VALUES (?1, '+15557654321', NULL, 'received', 'phaxio', NULL, 900, ?2, NULL, NULL, \
                 NULL, '2025-09-20 01:29:19', '2025-09-20 01:29:20', '2025-09-20 01:29:20')",
                rusqlite::params![id, path],
            )
            .unwrap();
    }
    std::fs::write(folder.join("in.pdf"), pdf(3)).unwrap();
    std::fs::write(folder.join("bad.pdf"), b"%PDF-1.4\n% nothing in it\n%%EOF").unwrap();
    file
}

async fn pagewire(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let run = move || {
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn import(data: &Path, file: &Path, how: &str) -> Output {
    let (data, file) = (data.display().to_string(), file.display().to_string());
    pagewire(&["import", "--data-dir", &data, "--json", "faxbot", &file, how], "").await
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The fates of all rows, in order.
fn fates(report: &Value) -> Vec<&str> {
    let rows = ["keys", "faxes", "received"].into_iter().flat_map(|what| report[what].as_array().unwrap());
    rows.map(|row| row["fate"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faxbot_comes_over_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let old = folder.path().join("old");
    std::fs::create_dir(&old).unwrap();
    let file = faxbot(&old);
    let before = std::fs::read(&file).unwrap();

    let dry = json_of(&import(&data, &file, "--dry-run").await);
    let expected = [
        "comes",
        "comes",
        "comes",
        "stays_behind",
        "comes",
        "comes",
        "stays_behind",
        "comes",
        "comes",
        "comes",
    ];
    assert_eq!((fates(&dry).as_slice(), &dry["applied"]), (expected.as_slice(), &json!(false)), "{dry}");
    assert!(!data.exists(), "a dry run makes nothing");
    assert!(dry["faxes"][2]["reason"].as_str().unwrap().contains("had not ended"));
    assert!(dry["keys"][1]["notes"].to_string().contains("something"));

    let applied = json_of(&import(&data, &file, "--apply").await);
    assert_eq!(fates(&applied), expected);
    let without = &applied["without_document"];
    assert_eq!((&without[0]["id"], &without[1]["id"]), (&json!(WITHOUT_PAGES), &json!(DAMAGED)), "{without}");
    assert_eq!(std::fs::read(&file).unwrap(), before, "the Faxbot stays as it was");
    let serve = Serve::start(&data, "loopback", &[]).await;
    let (token, other) = (BY_SCRYPT.0, BY_PBKDF2.0);
    // Old tokens work, before and after their hashes were renewed; wrong and revoked ones do not.
    for _ in 0..2 {
        serve.http.get("/fax", other).await.expect(200);
        let sent = serve.http.get(&format!("/fax/{SENT}"), token).await.expect(200).json();
        assert_eq!((&sent["status"], &sent["confirmed_pages"]), (&json!("SUCCESS"), &json!(0)));
        assert_eq!(sent["created_at"], "2025-09-20T01:29:19.123Z");
    }
    let wrong = token.replace("Zq3", "Zq4");
    assert!(serve.http.get("/fax", &wrong).await.expect(401).json()["reason"].is_null());
    assert_eq!(serve.http.get("/fax", REVOKED.0).await.expect(401).json()["reason"], "revoked");
    let failed = serve.http.get(&format!("/fax/{FAILED}"), token).await.expect(200).json();
    assert!(failed["error"].as_str().unwrap().ends_with("No answer"), "{failed}");
    serve.http.get(&format!("/fax/{QUEUED}"), token).await.expect(404);
    // Its owner sees it, another owner's key does not.
    serve.http.get(&format!("/fax/{SENT}"), other).await.expect(404);
    let fax = serve.http.send_fax(token, "+15551234567", &pdf(1)).await.expect(202).json();
    serve.http.finished(token, fax["id"].as_str().unwrap()).await;
    assert_eq!(serve.http.get(&format!("/inbound/{WITH_PAGES}"), token).await.expect(200).json()["pages"], 3);
    serve.http.get(&format!("/inbound/{WITH_PAGES}/pdf"), token).await.expect(200);
    serve.http.get(&format!("/inbound/{WITHOUT_PAGES}/pdf"), token).await.expect(404);

    let busy = import(&data, &file, "--apply").await;
    assert!(String::from_utf8_lossy(&busy.stderr).contains("must be stopped"));
    assert_eq!(fates(&json_of(&import(&data, &file, "--dry-run").await))[0], "is_here");
    assert_eq!(serve.terminate(), Some(0));
    let stored = |data: &Path| {
        let database = rusqlite::Connection::open(data.join("pagewire.db")).unwrap();
        let read = "SELECT group_concat(key_id || phc) || (SELECT count(*) FROM jobs) || (SELECT count(*) FROM inbound) \
                    || (SELECT count(*) FROM accounts) FROM api_key_slots";
        database.query_row(read, [], |row| row.get::<_, String>(0)).unwrap()
    };
    let after_use = stored(&data);
    assert!(after_use.contains("a1b2c3d4e5f6$argon2id$") && after_use.contains("deadbeef0001$argon2id$"));
    let again = json_of(&import(&data, &file, "--apply").await);
    assert!(!fates(&again).contains(&"comes"), "{again}");
    assert_eq!(stored(&data), after_use, "importing twice adds nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_faxbot_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "not a database, but long enough to look at, a hundred bytes or so of plain text, and more of it",
    )
    .unwrap();
    let empty = folder.path().join("empty.db");
    rusqlite::Connection::open(&empty).unwrap().execute_batch("CREATE TABLE t(a)").unwrap();
    for (file, words) in [
        (&text, "cannot be read as a database"),
        (&empty, "is not the database of a Faxbot"),
        (&folder.path().join("missing.db"), "cannot be read as a database"),
    ] {
        let refused = import(&data, file, "--apply").await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(words));
    }
    assert!(!data.exists() && !folder.path().join("missing.db").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_found_token_is_identified_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let serve = Serve::start(&data, "loopback", &[]).await;
    let make = async |name: &str, scopes: Value| {
        let new = json!({"name": name, "owner": "clinic", "scopes": scopes});
        let key = serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200).json();
        key["token"].as_str().unwrap().to_owned()
    };
    let token = make("leaked", json!(["fax:read"])).await;
    let manager = make("manager", json!(["keys:manage"])).await;
    let shown = data.display().to_string();
    let identify = async |input: &str, more: &[&str]| {
        let mut arguments = vec!["keys", "--data-dir", &shown, "--json", "identify"];
        arguments.extend(more);
        let output = pagewire(&arguments, input).await;
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains(&token[22..]), "the token is printed: {text}");
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default())
    };
    let (code, found) = identify(&format!("{token}\n"), &[]).await;
    let expected = json!({"well_formed": true, "ours": true, "secret_matches": true, "key_id": &token[9..21],
        "name": "leaked", "owner": "clinic", "status": "active"});
    assert_eq!((code, found), (Some(1), expected));
    let (code, found) = identify("hello", &[]).await;
    assert_eq!((code, &found["well_formed"], &found["ours"]), (Some(0), &json!(false), &json!(false)));
    let (_, found) = identify(&forged(&token), &["--revoke"]).await;
    assert_eq!((&found["ours"], &found["secret_matches"]), (&json!(true), &json!(false)));
    // A wrong secret revokes nothing, and asking was no use of the key.
    serve.http.get("/fax", &token).await.expect(200);
    let (code, found) = identify(&token, &["--revoke"]).await;
    assert_eq!((code, &found["status"]), (Some(0), &json!("revoked")));
    assert_eq!(serve.http.get("/fax", &token).await.expect(401).json()["reason"], "revoked");
    let key =
        serve.http.get(&format!("/admin/api-keys/{}", &token[9..21]), BOOTSTRAP).await.expect(200).json();
    assert_eq!((&key["revoked_reason"], &key["use_count"]), (&json!("compromised"), &json!(1)));
    let (code, found) = identify(&token, &[]).await;
    assert_eq!(
        (code, &found["status"], &found["secret_matches"]),
        (Some(0), &json!("revoked"), &json!(true))
    );
    // Who manages only their own keys gets no answer about others'.
    let body = json!({"token": token});
    serve.http.json(Method::POST, "/admin/api-keys/identify", &manager, body.clone()).await.expect(403);
    serve.http.json(Method::POST, "/admin/api-keys/identify", BOOTSTRAP, body).await.expect(200);
}
