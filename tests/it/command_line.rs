//! The commands, as typed.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Demo, PROGRAM, Serve, pdf};

fn pagewire(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(PROGRAM).args(arguments).env_clear().envs(env.iter().copied()).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[test]
fn check_tells_where_the_mistake_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pagewire.toml");
    std::fs::write(&file, "[server]\nlisten = \"127.0.0.1:9\"\n\n[line]\nspeed = 3\n").unwrap();
    let shown = file.display().to_string();
    let checked = pagewire(&["check", "--config", &shown], &[]);
    assert_eq!(checked.status.code(), Some(2));
    assert!(
        err(&checked).contains(&format!("{shown}, line 5: there is no setting 'line.speed'")),
        "{}",
        err(&checked)
    );
    let served = pagewire(&["serve", "--config", &shown], &[]);
    assert_eq!((served.status.code(), err(&served)), (Some(2), err(&checked)));

    std::fs::write(&file, "[server]\nlisten = \"127.0.0.1:9\"\n").unwrap();
    let checked = pagewire(&["check", "--config", &shown], &[("MAX_FILE_SIZE_MB", "4")]);
    assert_eq!(checked.status.code(), Some(0));
    assert!(out(&checked).contains("127.0.0.1:9") && out(&checked).contains("security.max_file_size_mb"));
}

#[test]
fn the_packaged_configuration_is_valid() {
    let packaged = crate::support::repository("packaging/deb/pagewire.toml");
    let text = std::fs::read_to_string(&packaged).unwrap();
    let checked = pagewire(&["check", "--config", packaged.to_str().unwrap()], &[]);
    assert_eq!(checked.status.code(), Some(0), "{}", err(&checked));
    // Every setting stands in it, with its default.
    for setting in pagewire::config::SETTINGS {
        let (_, key) = setting.key.split_once('.').unwrap();
        assert!(text.contains(&format!("{key} = ")), "{} is missing", setting.key);
    }
    let uncommented: String = text
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| rest.contains(" = ") && !rest.starts_with(' '))
                .unwrap_or(line)
        })
        .fold(String::new(), |all, line| all + line + "\n");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.toml");
    std::fs::write(&file, uncommented).unwrap();
    let all = pagewire(&["check", "--config", file.to_str().unwrap()], &[]);
    assert_eq!((all.status.code(), out(&all)), (Some(0), out(&checked)), "{}", err(&all));
}

#[tokio::test]
async fn keys_and_send_work_over_the_admin_socket() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let serve = Serve::start(&data, "loopback", &[]).await;
    let run = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let data = data.display().to_string();
        in_background(move || {
            let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
            all.splice(1..1, ["--data-dir", data.as_str()]);
            pagewire(&all, &[])
        })
    };
    let created = run(&["keys", "create", "Reception", "--scopes", "fax:send,fax:read"]).await;
    assert_eq!(created.status.code(), Some(0), "{}", err(&created));
    let token = out(&created).trim().to_owned();
    serve.http.get("/fax", &token).await.expect(200);
    let id = token[9..21].to_owned();
    assert!(out(&run(&["keys", "list"]).await).contains("Reception"));
    let admin = run(&["keys", "create", "Me", "--kind", "admin"]).await;
    serve.http.get("/admin/fax-jobs", out(&admin).trim()).await.expect(200);
    let rotated = out(&run(&["keys", "rotate", &id]).await).trim().to_owned();
    serve.http.get("/fax", &token).await.expect(401);
    serve.http.get("/fax", &rotated).await.expect(200);
    assert_eq!(run(&["keys", "revoke", &id]).await.status.code(), Some(0));
    serve.http.get("/fax", &rotated).await.expect(401);
    let twice = run(&["keys", "revoke", "0123456789ab"]).await;
    assert_eq!(twice.status.code(), Some(3), "{}", err(&twice));

    let kept = run(&["keys", "create", "Kept", "--recoverable", "--per-minute", "5"]).await;
    let kept = out(&kept).trim().to_owned();
    let id = kept[9..21].to_owned();
    assert_eq!(out(&run(&["keys", "reveal", &id]).await).trim(), kept);
    assert_eq!(run(&["keys", "disable", &id]).await.status.code(), Some(0));
    serve.http.get("/fax", &kept).await.expect(401);
    assert_eq!(run(&["keys", "enable", &id]).await.status.code(), Some(0));
    let updated = run(&["keys", "update", &id, "--name", "Renamed", "--clear", "limits,note"]).await;
    assert_eq!(updated.status.code(), Some(0), "{}", err(&updated));
    let shown: serde_json::Value =
        serde_json::from_str(&out(&run(&["keys", "show", &id, "--json"]).await)).unwrap();
    assert_eq!((&shown["name"], &shown["limits"]["per_minute"]), (&"Renamed".into(), &600.into()));
    let revoked = run(&["keys", "revoke", &id, "--reason", "compromised"]).await;
    assert!(out(&revoked).contains("0 of its faxes are held"), "{}", out(&revoked));
    assert_eq!(run(&["keys", "enable", &id]).await.status.code(), Some(3));

    let letter = folder.path().join("letter.pdf");
    std::fs::write(&letter, pdf(2)).unwrap();
    let sent = run(&["send", letter.to_str().unwrap(), "--to", "+15551234567", "--wait"]).await;
    assert_eq!(sent.status.code(), Some(0), "{}", err(&sent));
    assert!(out(&sent).contains("delivered"), "{}", out(&sent));
    let refused = run(&["send", letter.to_str().unwrap(), "--to", "nobody"]).await;
    assert_eq!(refused.status.code(), Some(3));
    assert!(err(&refused).contains("'to' must be E.164 or digits only"));
    serve.terminate();
    let gone = run(&["keys", "list"]).await;
    assert_eq!(gone.status.code(), Some(4));
    assert!(err(&gone).contains("no Pagewire is running here"), "{}", err(&gone));
}

#[tokio::test]
async fn send_works_from_elsewhere_with_a_key() {
    let demo = Demo::start();
    let folder = tempfile::tempdir().unwrap();
    let letter = folder.path().join("letter.txt");
    std::fs::write(&letter, "Hello.\n").unwrap();
    let (url, key) = (format!("http://{}", demo.http.address), demo.test_key.clone());
    let send = |to: &'static str, key: String, url: String, letter: std::path::PathBuf| {
        in_background(move || {
            let letter = letter.display().to_string();
            pagewire(&["send", &letter, "--to", to, "--wait", "--url", &url], &[("PAGEWIRE_API_KEY", &key)])
        })
    };
    let wrong_number = send("+15005550004", key.clone(), url.clone(), letter.clone()).await;
    assert_eq!(wrong_number.status.code(), Some(1));
    assert!(out(&wrong_number).contains("failed: The number"), "{}", out(&wrong_number));
    let wrong_key = send("+15005550000", "fbk_live_wrong".to_owned(), url, letter).await;
    assert_eq!(wrong_key.status.code(), Some(3));
    assert!(!err(&wrong_key).contains("fbk_live_wrong"));
}

#[tokio::test]
async fn two_servers_never_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let data = folder.path().display().to_string();
    let second =
        in_background(move || pagewire(&["serve", "--data-dir", &data, "--listen", "127.0.0.1:0"], &[]))
            .await;
    assert_eq!(second.status.code(), Some(1));
    assert!(err(&second).contains("another Pagewire is running"), "{}", err(&second));
    assert_eq!(serve.terminate(), Some(0));
}

#[tokio::test]
async fn every_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let demo = Demo::start();
    let files = crate::support::files_below(&demo.data_dir);
    assert!(files.len() >= 4, "database, key, lock and a sealed document: {files:?}");
    for file in files {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", file.display());
    }
}

#[tokio::test]
async fn the_demo_cleans_up_after_itself() {
    let demo = Demo::start();
    let data: std::path::PathBuf = demo.data_dir.clone();
    assert!(Path::new(&data).join("pagewire.db").exists());
    assert_eq!(in_background(move || demo.stop()).await, Some(0));
    assert!(!data.exists());
}

#[tokio::test]
async fn a_newer_database_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    assert_eq!(serve.terminate(), Some(0));
    let database = rusqlite::Connection::open(folder.path().join("pagewire.db")).unwrap();
    database.pragma_update(None, "user_version", 999).unwrap();
    drop(database);
    let refused =
        pagewire(&["serve", "--data-dir", folder.path().to_str().unwrap(), "--listen", "127.0.0.1:0"], &[]);
    assert!(err(&refused).contains("written by a newer Pagewire"), "{}", err(&refused));
}
