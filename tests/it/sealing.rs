//! The sealing key is lost, found, replaced and recovered, under the real program.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hyper::Method;
use serde_json::json;

use crate::support::{BOOTSTRAP, PROGRAM, Serve, forged, pdf};

/// `pagewire seal …` on this data folder.
async fn seal(data: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["seal", "--data-dir"]).arg(data).args(arguments).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let run = move || {
        let mut child = command.spawn().unwrap();
        // A command that refuses early does not read it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn err(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn make_key(serve: &Serve, name: &str) -> String {
    let new = json!({"name": name, "owner": "clinic"});
    let key = serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200).json();
    key["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_key_bricks_nothing_and_the_recovery_key_heals() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let kek = data.join("keys/kek");
    let serve = Serve::start(&data, "loopback", &[]).await;
    let token = make_key(&serve, "before").await;
    let fax = serve.http.send_fax(&token, "+15551234567", &pdf(1)).await.expect(202).json();
    let id = fax["id"].as_str().unwrap().to_owned();
    serve.http.finished(&token, &id).await;
    assert!(out(&seal(&data, &["status"], "").await).contains("There is no recovery key"));
    let recovery_key = out(&seal(&data, &["recovery-key"], "").await);
    assert_eq!(recovery_key.split('-').count(), 14, "{recovery_key}");
    assert!(err(&seal(&data, &["recovery-key"], "").await).contains("--replace"));
    // Nothing of it is on disk.
    for file in crate::support::files_below(&data).into_iter().filter(|file| file.is_file()) {
        let content = std::fs::read(&file).unwrap();
        assert!(
            !content.windows(19).any(|part| part == &recovery_key.as_bytes()[..19]),
            "{}",
            file.display()
        );
    }
    // No key crosses a network, whatever it may do.
    let refused =
        serve.http.json(Method::POST, "/admin/seal/recovery-key", BOOTSTRAP, json!({"replace": true}));
    assert!(refused.await.expect(403).json()["detail"].as_str().unwrap().contains("appliance itself"));
    assert!(err(&seal(&data, &["recover"], &recovery_key).await).contains("nothing to recover"));
    assert_eq!(serve.terminate(), Some(0));

    std::fs::remove_file(&kek).unwrap();
    let serve = Serve::start(&data, "loopback", &[]).await;
    // Keys work, old and new; wrong ones do not.
    assert_eq!(serve.http.get(&format!("/fax/{id}"), &token).await.expect(200).json()["status"], "SUCCESS");
    serve.http.get("/fax", &forged(&token)).await.expect(401);
    // What the audit log cannot tell of is not done.
    let new = json!({"name": "meanwhile"});
    let refused = serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(503);
    assert!(refused.json()["detail"].as_str().unwrap().contains("nothing is changed"));
    // Documents are neither opened nor accepted, and the sentence says what to do.
    let received = serve.http.get("/inbound", &token).await.expect(200).json();
    let inbound = received[0]["id"].as_str().unwrap().to_owned();
    let paths =
        [format!("/fax/{id}/pages/1.png"), format!("/inbound/{inbound}/pdf"), format!("/fax/{id}/pdf")];
    for path in &paths {
        let detail = serve.http.get(path, &token).await.expect(503).json()["detail"].to_string();
        assert!(
            detail.contains("keys/kek is missing") && detail.contains("pagewire seal recover"),
            "{detail}"
        );
    }
    let refused = serve.http.send_fax(&token, "+15551234567", &pdf(1)).await.expect(503);
    assert!(refused.json()["detail"].as_str().unwrap().contains("keys/kek is missing"));
    let ready = serve.http.call(Method::GET, "/health/ready", &[], "").await.expect(503).json();
    assert!(ready["checks"]["sealing"].as_str().unwrap().starts_with("failed"), "{ready}");
    assert_eq!(ready["checks"]["database"], "ok");
    let status = seal(&data, &["status"], "").await;
    assert_eq!(status.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&status.stdout).contains("is missing"));

    let mistyped =
        recovery_key.replacen(&recovery_key[..1], if recovery_key.starts_with('7') { "8" } else { "7" }, 1);
    assert!(err(&seal(&data, &["recover"], &mistyped).await).contains("mistyped"));
    assert!(!kek.exists());
    assert!(out(&seal(&data, &["recover"], &recovery_key.to_lowercase()).await).contains("Restart"));
    assert_eq!(serve.terminate(), Some(0));

    let serve = Serve::start(&data, "loopback", &[]).await;
    serve.http.call(Method::GET, "/health/ready", &[], "").await.expect(200);
    for path in &paths {
        serve.http.get(path, &token).await.expect(200);
    }
    let fax = serve.http.send_fax(&token, "+15551234567", &pdf(1)).await.expect(202).json();
    serve.http.finished(&token, fax["id"].as_str().unwrap()).await;
    assert_eq!(serve.terminate(), Some(0));
}

/// Faxes that were waiting when the key was lost wait on, and go out when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_faxes_wait_for_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let serve = Serve::start(&data, "loopback", &[]).await;
    let token = make_key(&serve, "a").await;
    // Busy at first, so that it waits for its second call.
    let fax = serve.http.send_fax(&token, "+15005550001", &pdf(1)).await.expect(202).json();
    let id = fax["id"].as_str().unwrap().to_owned();
    let path = format!("/fax/{id}");
    let mut fax = fax;
    while fax["state"] != "waiting" {
        fax = serve.http.get(&format!("{path}?wait=5"), &token).await.expect(200).json();
    }
    serve.kill();
    // Its time has come when the server starts next: a queue at work would call, and find no pages.
    let database = rusqlite::Connection::open(data.join("pagewire.db")).unwrap();
    let moved = database.execute("UPDATE jobs SET next_try_at = 1 WHERE state = 'waiting'", []).unwrap();
    drop(database);
    assert_eq!(moved, 1);
    let (kek, aside) = (data.join("keys/kek"), data.join("kek.aside"));
    std::fs::rename(&kek, &aside).unwrap();
    let serve = Serve::start(&data, "loopback", &[]).await;
    let waiting = serve.http.get(&format!("{path}?wait=1"), &token).await.expect(200).json();
    assert_eq!(waiting["state"], "waiting", "{waiting}");
    serve.kill();
    std::fs::rename(&aside, &kek).unwrap();
    let serve = Serve::start(&data, "loopback", &[]).await;
    assert_eq!(serve.http.finished(&token, &id).await["status"], "SUCCESS");
}

/// A database restored without its keys folder, and without a recovery key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_database_restored_alone_work() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let serve = Serve::start(&old, "loopback", &[]).await;
    let token = make_key(&serve, "restored").await;
    assert_eq!(serve.terminate(), Some(0));
    std::fs::create_dir(&new).unwrap();
    // What SQLite had not moved into the database file yet belongs to it.
    for file in ["pagewire.db", "pagewire.db-wal"].into_iter().filter(|file| old.join(file).exists()) {
        std::fs::copy(old.join(file), new.join(file)).unwrap();
    }
    let serve = Serve::start(&new, "loopback", &[]).await;
    serve.http.get("/fax", &forged(&token)).await.expect(401);
    for _ in 0..3 {
        serve.http.get("/fax", &token).await.expect(200);
    }
    assert!(err(&seal(&new, &["recover"], "0").await).contains("14 groups"));
    let well_formed = "0000".repeat(14);
    assert!(err(&seal(&new, &["recover"], &well_formed).await).contains("mistyped"));
    assert!(!new.join("keys/kek").exists(), "no key was made that would hide the loss");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_wrapped_from_file_and_credential() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let credentials = folder.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let serve = Serve::start(&data, "loopback", &[]).await;
    let token = make_key(&serve, "a").await;
    let fax = serve.http.send_fax(&token, "+15551234567", &pdf(1)).await.expect(202).json();
    let page = format!("/fax/{}/pages/1.png", fax["id"].as_str().unwrap());
    serve.http.finished(&token, fax["id"].as_str().unwrap()).await;

    let old = std::fs::read(data.join("keys/kek")).unwrap();
    assert!(out(&seal(&data, &["rewrap"], "").await).contains("in force"));
    assert_ne!(std::fs::read(data.join("keys/kek")).unwrap(), old);
    serve.http.get(&page, &token).await.expect(200);

    let given = folder.path().join("given");
    std::fs::write(&given, [5; 31]).unwrap();
    let arguments = ["rewrap", "--kek-file", given.to_str().unwrap()];
    assert!(err(&seal(&data, &arguments, "").await).contains("exactly 32 bytes"));
    std::fs::write(&given, [5; 32]).unwrap();
    assert!(out(&seal(&data, &arguments, "").await).contains("takes over then"));
    assert_eq!(serve.terminate(), Some(0));

    // Not installed yet: the old key works.
    let serve = Serve::start(&data, "loopback", &[]).await;
    serve.http.get(&page, &token).await.expect(200);
    assert_eq!(serve.terminate(), Some(0));
    // Installed as a credential, it takes over, and the file is needed no more.
    std::fs::copy(&given, credentials.join("pagewire.kek")).unwrap();
    let env = [("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())];
    let serve = Serve::start(&data, "loopback", &env).await;
    serve.http.get(&page, &token).await.expect(200);
    assert!(out(&seal(&data, &["status"], "").await).contains("comes from a credential"));
    assert!(err(&seal(&data, &["rewrap"], "").await).contains("--kek-file"));
    assert_eq!(serve.terminate(), Some(0));
    std::fs::remove_file(data.join("keys/kek")).unwrap();
    let serve = Serve::start(&data, "loopback", &env).await;
    serve.http.get(&page, &token).await.expect(200);
    assert_eq!(serve.terminate(), Some(0));
    // A damaged credential locks, and is named.
    std::fs::write(credentials.join("pagewire.kek"), [5; 12]).unwrap();
    let serve = Serve::start(&data, "loopback", &env).await;
    let detail = serve.http.get(&page, &token).await.expect(503).json()["detail"].to_string();
    assert!(detail.contains("credentials/pagewire.kek is damaged"), "{detail}");
}

/// Without the key every refusal says what to do, also to who does not know of keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_key_is_gone_every_refusal_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let log = folder.path().join("log");
    let start = async || {
        let to = std::fs::File::create(&log).unwrap();
        let env = [("ALLOW_BOOTSTRAP_KEY", "true"), ("PAGEWIRE_LOG", "error")];
        Serve::start_with_log(&data, "loopback", &env, to.into()).await
    };
    let serve = start().await;
    let token = make_key(&serve, "leaked").await;
    let key = format!("/admin/api-keys/{}", &token[9..21]);
    assert_eq!(serve.terminate(), Some(0));
    let (kek, aside) = (data.join("keys/kek"), folder.path().join("kek"));
    std::fs::rename(&kek, &aside).unwrap();

    let serve = start().await;
    // What is logged of the key has the same words, and comes first.
    let printed = crate::support::once_printed(&log, "There is no administrator yet, and none").await;
    assert!(printed.contains("pagewire seal recover"), "{printed}");
    assert!(printed.contains("keys/kek is missing"), "{printed}");
    assert!(!printed.contains("/setup#token="), "a link that leads nowhere: {printed}");
    assert_eq!(serve.terminate(), Some(0));

    std::fs::rename(&aside, &kek).unwrap();
    let serve = start().await;
    let add = ["add", "anna", "--role", "global_admin", "--password"];
    crate::support::users(&data, &add, "four words in a row\n").await;
    assert_eq!(serve.terminate(), Some(0));
    std::fs::rename(&kek, &aside).unwrap();
    let serve = start().await;
    for (password, status) in [("four words in a row", 503), ("not the right words", 401)] {
        let login = json!({"username": "anna", "password": password}).to_string();
        let answer = serve.http.call(Method::POST, "/auth/login", &[], login).await.expect(status);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(
            detail.contains("Nobody can sign in") && detail.contains("Tell your administrator"),
            status == 503
        );
        assert_eq!(answer.header("retry-after"), if status == 503 { "300" } else { "" });
    }
    // The key is refused at once, and the answer says for how long.
    let revoked = serve.http.json(Method::DELETE, &key, BOOTSTRAP, json!({"reason": "compromised"})).await;
    let detail = revoked.expect(503).json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("only until Pagewire restarts") && detail.contains("end the key again"),
        "{detail}"
    );
    serve.http.get("/fax", &token).await.expect(401);
    assert_eq!(serve.terminate(), Some(0));
    let serve = start().await;
    serve.http.get("/fax", &token).await.expect(200);
    assert_eq!(serve.terminate(), Some(0));
    std::fs::rename(&aside, &kek).unwrap();
    let serve = start().await;
    serve.http.json(Method::DELETE, &key, BOOTSTRAP, json!({"reason": "compromised"})).await.expect(200);
    serve.http.get("/fax", &token).await.expect(401);
}
