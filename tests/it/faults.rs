//! When the disk or the database does not play along: the client is told, nothing half-made stays,
//! and all goes on once the cause is gone. Real file systems, real locks.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use hyper::Method;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Answer, BOOTSTRAP, PROGRAM, Serve, files_below};

/// Takes its mount off again, however the test ends.
pub struct Mounted(PathBuf);

impl Mounted {
    /// `None` where mounting is not allowed; the reason is printed.
    fn new(at: &Path, arguments: &[&str]) -> Option<Self> {
        let mounted = Command::new("mount").args(arguments).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            other => {
                eprintln!("skipped, because nothing can be mounted here: {other:?}");
                None
            }
        }
    }

    /// A disk of so many MB.
    pub fn disk(at: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        Self::new(at, &["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
    }

    /// The folder itself, read-only.
    fn read_only(folder: &Path) -> Option<Self> {
        let mounted = Self::new(folder, &["--bind", folder.to_str().unwrap()])?;
        let again = Command::new("mount").args(["-o", "remount,ro,bind"]).arg(folder).status().unwrap();
        assert!(again.success());
        Some(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

async fn post(serve: &Serve, to: &str, lines: usize) -> Answer {
    serve.http.send_fax(BOOTSTRAP, to, "a line of this fax\n".repeat(lines).as_bytes()).await
}

fn id(accepted: &Answer) -> String {
    accepted.json()["id"].as_str().unwrap().to_owned()
}

fn spooled(data_dir: &Path) -> usize {
    files_below(&data_dir.join("spool")).len()
}

/// 503 with a sentence that has `words`, a code, and when to come back.
#[track_caller]
fn refused(answer: Answer, code: &str, words: &str) {
    let answer = answer.expect(503);
    let body = answer.json();
    assert_eq!(body["error"]["code"], code, "{body}");
    assert!(body["detail"].as_str().unwrap().contains(words), "{body}");
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let Some(_disk) = Mounted::disk(&data_dir, 16) else { return };
    let serve = Serve::start(&data_dir, "loopback", &[]).await;
    // Held, so that the number of documents is that of the promises.
    serve.http.json(Method::POST, "/admin/pause", BOOTSTRAP, json!({})).await.expect(200);
    let first = id(&post(&serve, "+15550000001", 50).await.expect(202));
    let ballast = data_dir.join("ballast");
    fill(&ballast);
    refused(post(&serve, "+15550000001", 50).await, "storage_full", "was not accepted");
    // Some room, and a fax of fifty pages that needs more.
    let size = ballast.metadata().unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&ballast).unwrap().set_len(size - (32 << 10)).unwrap();
    let large = post(&serve, "+15550000001", 3000).await;
    refused(large, "storage_full", "disk is full; nothing was accepted");
    assert_eq!(spooled(&data_dir), 1);

    let mut accepted = vec![first];
    let refusal = loop {
        let answer = post(&serve, "+15550000001", 50).await;
        if answer.status != 202 {
            break answer;
        }
        accepted.push(id(&answer));
        assert!(accepted.len() < 10_000, "the disk never became full");
    };
    refused(refusal, "storage_full", "accepted");
    assert_eq!(spooled(&data_dir), accepted.len(), "one document for each promise, and nothing half-made");
    serve.http.get(&format!("/fax/{}", accepted[0]), BOOTSTRAP).await.expect(200);

    std::fs::remove_file(&ballast).unwrap();
    accepted.push(id(&post(&serve, "+15550000001", 50).await.expect(202)));
    serve.http.json(Method::POST, "/admin/resume", BOOTSTRAP, json!({})).await.expect(200);
    for id in &accepted {
        assert_eq!(serve.http.finished(BOOTSTRAP, id).await["status"], "SUCCESS");
    }
    assert_eq!(spooled(&data_dir), 2 * accepted.len(), "each sent and received");
    assert_eq!(serve.terminate(), Some(0));
}

/// Writes until nothing goes in any more.
fn fill(ballast: &Path) {
    let mut file = std::fs::File::create(ballast).unwrap();
    for size in [1 << 20, 1 << 12] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_spool_refuses_and_still_shows() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let sent = id(&post(&serve, "+15550000001", 1).await.expect(202));
    serve.http.finished(BOOTSTRAP, &sent).await;
    let before = spooled(folder.path());
    {
        let Some(_mounted) = Mounted::read_only(&folder.path().join("spool")) else { return };
        refused(post(&serve, "+15550000001", 1).await, "service_unavailable", "takes no changes");
        serve.http.get(&format!("/fax/{sent}/pages/1.png"), BOOTSTRAP).await.expect(200);
        let ready = serve.http.get("/health/ready", "").await.expect(503).json();
        assert!(ready["checks"]["spool"].as_str().unwrap().starts_with("failed"), "{ready}");
        assert_eq!(spooled(folder.path()), before);
    }
    let again = id(&post(&serve, "+15550000001", 1).await.expect(202));
    assert_eq!(serve.http.finished(BOOTSTRAP, &again).await["status"], "SUCCESS");
    assert_eq!(serve.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_locked_by_another_program_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    // A call whose end comes while nothing can be stored.
    let called = id(&post(&serve, "+15005550000", 1).await.expect(202));
    while fax(&serve, &called).await["state"] != "sending" {}
    let before = spooled(folder.path());
    let other = Connection::open(folder.path().join("pagewire.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for _ in 0..2 {
        refused(post(&serve, "+15550000001", 1).await, "service_unavailable", "Another program");
    }
    assert_eq!(fax(&serve, &called).await["status"], "in_progress", "reading goes on");
    assert_eq!(spooled(folder.path()), before);
    other.execute_batch("ROLLBACK").unwrap();

    let ended = serve.http.finished(BOOTSTRAP, &called).await;
    assert_eq!((&ended["status"], &ended["dials"]), (&json!("SUCCESS"), &json!(1)), "{ended}");
    let again = id(&post(&serve, "+15550000001", 1).await.expect(202));
    assert_eq!(serve.http.finished(BOOTSTRAP, &again).await["status"], "SUCCESS");
    assert_eq!(serve.terminate(), Some(0));

    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let start = Command::new(PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--https-listen", "", "--data-dir"])
        .arg(folder.path())
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&start.stderr).into_owned();
    assert_eq!(start.status.code(), Some(1), "{said}");
    assert!(said.contains("another program has locked the database"), "{said}");
}

async fn fax(serve: &Serve, id: &str) -> Value {
    serve.http.get(&format!("/fax/{id}?wait=1"), BOOTSTRAP).await.expect(200).json()
}
