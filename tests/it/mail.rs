//! E-mail notices of the whole program, over the dialogue a real server speaks.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use hyper::Method;
use serde_json::{Value, json};

use crate::support::mail_server::{Got, MESSAGE, MailServer, NEVER};
use crate::support::{Answer, BOOTSTRAP, Serve, form, free_address};

const ANYWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

async fn start(data_dir: &Path, route: &str, server: &MailServer, more: &[(&str, &str)]) -> Serve {
    let settings = server.settings();
    let mut env: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    env.extend(more);
    Serve::start(data_dir, route, &env).await
}

async fn send(serve: &Serve, fields: &[(&str, &str)]) -> Answer {
    let (media_type, body) = form(fields, &[b"A letter about Mrs. Doe.\n"]);
    let headers = [("x-api-key", BOOTSTRAP), ("content-type", media_type.as_str())];
    serve.http.call(Method::POST, "/fax", &headers, body).await
}

/// What comes within a minute.
async fn in_time<T>(what: impl Future<Output = Option<T>>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it never came").unwrap()
}

/// What needs a person, once something of this kind does.
async fn attention(serve: &Serve, kind: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let summary = serve.http.get("/admin/summary", BOOTSTRAP).await.expect(200).json();
        let entries = summary["attention"].as_array().unwrap();
        if let Some(entry) = entries.iter().find(|entry| entry["kind"] == kind) {
            return entry.clone();
        }
        assert!(Instant::now() < deadline, "{summary}");
        // Nothing tells of it but the list.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Nothing of what was sent, and no whole number.
fn assert_discreet(got: &Got) {
    let all = format!("{}{}", got.message, got.said.join("\n"));
    for private in ["555123", "Doe", "letter", "invoice"] {
        assert!(!all.contains(private), "{private}: {all}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_fax_is_told_once_after_a_server_that_was_busy_at_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipients = 0;
    let mut server = MailServer::start(folder.path(), ANYWHERE.into(), move |command| {
        recipients += usize::from(command.starts_with("RCPT"));
        (command.starts_with("RCPT") && recipients == 1).then_some("451-4.7.1 come back\n451 4.7.1 later")
    })
    .await;
    let serve = start(&folder.path().join("data"), "loopback", &server, &[]).await;
    let fields = [
        ("to", "+15551234567"),
        ("notify", "both"),
        ("notify_to", "desk@example.org"),
        ("tag", "invoice of Mrs. Doe"),
    ];
    let fax = send(&serve, &fields).await.expect(202).json();
    assert_eq!(fax["notify"], "both");
    let id = fax["id"].as_str().unwrap();
    let got = in_time(server.told.recv()).await;
    let fax = serve.http.finished(BOOTSTRAP, id).await;
    assert_eq!(fax["status"], "SUCCESS");
    let login = got.login.clone().unwrap();
    assert_eq!((login.0.as_str(), login.1.as_str()), ("fax", "pass word of the tests"));
    assert!(got.is_secure);
    assert_eq!(got.from, "MAIL FROM:<fax@appliance.example>");
    assert_eq!(got.to, "RCPT TO:<desk@example.org>");
    let verbs: Vec<&str> = got.said.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(verbs, ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA"]);
    assert_eq!(got.said[0], "EHLO [127.0.0.1]");

    let ended = fax["updated_at"].as_str().unwrap()[..16].replace('T', " ");
    let expected = format!(
        "Fax to the number ending in 4567: delivered.\r\nThe page was delivered.\r\n\r\n\
         Confirmed pages: 1 of 1\r\nCalls: 1\r\nEnded: {ended} UTC\r\nFax: {id}\r\n\r\n--\r\n\
         Sent by Pagewire, a fax appliance. Nobody reads answers to this address.\r\n"
    );
    assert_eq!(got.body(), expected);
    let (headers, _) = got.message.split_once("\r\n\r\n").unwrap();
    let names: Vec<&str> = headers.split("\r\n").map(|line| line.split(':').next().unwrap()).collect();
    let plain = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"];
    assert_eq!(names, [&plain[..], &["Content-Type", "Content-Transfer-Encoding"]].concat());
    assert_eq!(got.header("From"), "\"Pagewire\" <fax@appliance.example>");
    assert_eq!(got.header("To"), "<desk@example.org>");
    assert_eq!(got.header("Subject"), "Fax to the number ending in 4567: delivered");
    assert!(got.header("Message-ID").ends_with("@appliance.example>"), "{headers}");
    assert_discreet(&got);
    assert!(server.told.try_recv().is_err(), "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_are_told_and_of_many_numbers_the_end_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = MailServer::start(folder.path(), ANYWHERE.into(), |_| None).await;
    let more = [("PAGEWIRE_MAIL_TO", "desk@example.org"), ("PAGEWIRE_MAIL_NOTIFY", "both")];
    let serve = start(&folder.path().join("data"), "simulator", &server, &more).await;
    // Nothing is said with the request: the appliance's own settings count.
    let busy = send(&serve, &[("to", "+15005550001")]).await.expect(202).json();
    let got = in_time(server.told.recv()).await;
    assert_eq!(got.header("Subject"), "Fax to the number ending in 0001: will be tried again");
    let waiting = serve.http.get(&format!("/fax/{}", busy["id"].as_str().unwrap()), BOOTSTRAP).await.json();
    let again = waiting["next_try_at"].as_str().unwrap()[..16].replace('T', " ");
    let body = got.body();
    assert!(body.contains("\r\nThe line was busy. Trying again at "), "{body}");
    assert!(body.contains(&format!("\r\nNext call: not before {again} UTC\r\n")), "{body}");
    let path = format!("/fax/{}", busy["id"].as_str().unwrap());
    serve.http.call(Method::DELETE, &path, &[("x-api-key", BOOTSTRAP)], "").await.expect(200);
    let got = in_time(server.told.recv()).await;
    assert_eq!(got.header("Subject"), "Fax to the number ending in 0001: cancelled");
    assert!(got.body().contains("\r\nCancelled by the bootstrap key. It is not tried again.\r\n"));

    let group = [("to", "+15005550000"), ("to", "+15005550004"), ("notify", "done")];
    let group = send(&serve, &group).await.expect(202).json();
    let got = in_time(server.told.recv()).await;
    assert_eq!(got.header("Subject"), "Fax to 2 numbers: 1 of 2 delivered");
    let id = group["group"]["id"].as_str().unwrap();
    let shown = serve.http.get(&format!("/groups/{id}"), BOOTSTRAP).await.expect(200).json();
    assert_eq!((&shown["notify"], &group["group"]["notify"]), (&json!("done"), &json!("done")));
    let body = got.body();
    assert!(body.contains("\r\n1 of 2 delivered, 1 failed.\r\n"), "{body}");
    assert!(body.contains(&format!("\r\nGroup: {id}\r\n")) && !body.contains("0004"), "{body}");
    let silent = send(&serve, &[("to", "+15005550000"), ("notify", "none")]).await.expect(202).json();
    serve.http.finished(BOOTSTRAP, silent["id"].as_str().unwrap()).await;
    assert!(server.told.try_recv().is_err(), "one mail of a group, none where none was wanted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_for_good_is_given_up_and_a_silent_server_delays_no_fax() {
    let folder = tempfile::tempdir().unwrap();
    let mut greetings = 0;
    let server = MailServer::start(folder.path(), ANYWHERE.into(), move |command| {
        greetings += usize::from(command == "(connection)");
        match command {
            "(connection)" if greetings > 1 => Some(NEVER),
            "RCPT TO:<nobody@example.org>" => Some("550 5.1.1 <nobody@example.org>: no such user"),
            _ => None,
        }
    })
    .await;
    let log = folder.path().join("log");
    let settings = server.settings();
    let env: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let file = std::fs::File::create(&log).unwrap();
    let serve = Serve::start_with_log(&folder.path().join("data"), "loopback", &env, file.into()).await;
    let fields = |to| [("to", "+15551234567"), ("notify_to", to)];
    send(&serve, &fields("nobody@example.org")).await.expect(202);
    let entry = attention(&serve, "mail_given_up").await;
    assert_eq!((&entry["count"], &entry["severity"]), (&json!(1), &json!("warning")));
    assert_eq!(entry["actions"][0]["path"], "/admin/mail/test");
    let said = crate::support::once_printed(&log, "was given up").await;
    assert!(
        said.contains("the server refused the recipient's address: 550 5.1.1 <…>: no such user"),
        "{said}"
    );
    assert!(!said.contains("nobody@"), "{said}");

    // From now on the server takes connections and says nothing; the first of these mails is under way.
    for _ in 0..3 {
        let fax = send(&serve, &fields("desk@example.org")).await.expect(202).json();
        let fax = serve.http.finished(BOOTSTRAP, fax["id"].as_str().unwrap()).await;
        assert_eq!(fax["status"], "SUCCESS");
    }
    assert_eq!(serve.terminate(), Some(0), "nor does it delay the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notices_outlive_a_power_cut() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    // Nobody listens there at first.
    let address: SocketAddr = free_address();
    let port = format!("localhost:{}", address.port());
    let env = [("PAGEWIRE_MAIL_SERVER", port.as_str()), ("PAGEWIRE_MAIL_FROM", "fax@appliance.example")];
    let serve = Serve::start(&data_dir, "loopback", &env).await;
    let mut faxes = Vec::new();
    for _ in 0..3 {
        let fields = [("to", "+15551234567"), ("notify", "done"), ("notify_to", "desk@example.org")];
        let fax = send(&serve, &fields).await.expect(202).json();
        let id = fax["id"].as_str().unwrap().to_owned();
        assert_eq!(serve.http.finished(BOOTSTRAP, &id).await["status"], "SUCCESS");
        faxes.push(id);
    }
    serve.kill();
    let mut server = MailServer::start(folder.path(), address, |_| None).await;
    let _serve = start(&data_dir, "loopback", &server, &[]).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        let got = in_time(server.told.recv()).await;
        told.push(got.body().rsplit_once("\r\nFax: ").unwrap().1[..32].to_owned());
    }
    told.sort();
    assert_eq!(told, faxes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tests_tell_what_the_server_said_and_wrong_wishes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut logins = 0;
    let mut server = MailServer::start(folder.path(), ANYWHERE.into(), move |command| {
        logins += usize::from(command.starts_with("AUTH"));
        match command {
            _ if command.starts_with("AUTH") && logins > 3 => Some("535 5.7.8 wrong"),
            MESSAGE if logins == 3 => Some("554 5.6.0 no"),
            _ => None,
        }
    })
    .await;
    let serve = start(&folder.path().join("data"), "loopback", &server, &[]).await;
    let http = &serve.http;
    let refused = async |fields: &[(&str, &str)]| {
        let fields = [&[("to", "+15551234567")], fields].concat();
        let problem = send(&serve, &fields).await.expect(422).json();
        problem["errors"][0]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(refused(&[("notify", "sometimes")]).await, "'notify' must be none, done, requeued or both.");
    for wrong in
        ["desk", "a@b.example, c@d.example", "Desk <desk@example.org>", "a@b.example\r\nBcc: c@d.example"]
    {
        let said = refused(&[("notify_to", wrong)]).await;
        assert_eq!(said, "'notify_to' must be one e-mail address, like desk@example.org.");
    }
    assert!(refused(&[("notify", "done")]).await.contains("mail.to names nobody"));
    let group =
        refused(&[("to", "+15551234568"), ("notify", "requeued"), ("notify_to", "a@b.example")]).await;
    assert!(group.contains("only the end of all is told"), "{group}");

    let test = async |body: Value| http.json(Method::POST, "/admin/mail/test", BOOTSTRAP, body).await;
    test(json!({})).await.expect(422);
    test(json!({"to": "a b@example.org"})).await.expect(422);
    let tested = test(json!({"to": "ada@example.org"})).await.expect(200).json();
    let expected =
        json!({"sent": true, "to": "ada@example.org", "answer": "250 2.0.0 queued as 42", "error": null});
    assert_eq!(tested, expected);
    let got = in_time(server.told.recv()).await;
    assert_eq!(got.header("Subject"), "Test of e-mail notices");
    // In force at once, whoever is told.
    http.json(Method::PUT, "/admin/settings", BOOTSTRAP, json!({"mail.to": "desk@example.org"}))
        .await
        .expect(200);
    let tested = test(json!({})).await.expect(200).json();
    assert_eq!((&tested["sent"], &tested["to"]), (&json!(true), &json!("desk@example.org")));
    assert_eq!(in_time(server.told.recv()).await.to, "RCPT TO:<desk@example.org>");
    let tested = test(json!({})).await.expect(200).json();
    assert_eq!(tested["error"], "the server refused the message: 554 5.6.0 no");
    let tested = test(json!({})).await.expect(200).json();
    assert_eq!(tested["error"], "the server refused the user name or password: 535 5.7.8 wrong");
    let report =
        http.json(Method::POST, "/admin/diagnostics/run", BOOTSTRAP, json!({})).await.expect(200).json();
    let check = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "mail").unwrap();
    assert_eq!(check["status"], "failed");
    assert!(check["detail"].as_str().unwrap().contains("535 5.7.8 wrong"), "{check}");
    let settings = http.get("/admin/settings", BOOTSTRAP).await.expect(200);
    assert!(!String::from_utf8_lossy(&settings.body).contains("pass word"));
    let secrets = settings.json()["secrets"].clone();
    assert!(secrets.as_array().unwrap().contains(&json!({"name": "PAGEWIRE_MAIL_PASSWORD", "set": true})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_after_the_appliance_is_told_what_calls_for_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let mut server = MailServer::start(folder.path(), ANYWHERE.into(), |_| None).await;
    let serve = start(&data_dir, "loopback", &server, &[("PAGEWIRE_MAIL_TO", "desk@example.org")]).await;
    let http = &serve.http;
    let tell = async |to: &str| {
        let settings = json!({"mail.alerts_to": to});
        http.json(Method::PUT, "/admin/settings", BOOTSTRAP, settings).await.expect(200);
    };
    let account = async || {
        let path = "/admin/storage/reconcile";
        http.json(Method::POST, path, BOOTSTRAP, json!({})).await.expect(200).json()["unaccounted"].clone()
    };
    tell("ada@example.org,bo@example.org").await;
    assert_eq!(account().await, 0, "nothing to be told of");
    let fax = send(&serve, &[("to", "+15551234567")]).await.expect(202).json();
    http.finished(BOOTSTRAP, fax["id"].as_str().unwrap()).await;
    let day = std::fs::read_dir(data_dir.join("spool")).unwrap().next().unwrap().unwrap().path();
    // Old enough to be no part of a request under way.
    let copy = std::fs::File::create(day.join("letter to Mrs. Doe.txt")).unwrap();
    copy.set_modified(SystemTime::now() - Duration::from_secs(2 * 3600)).unwrap();
    assert_eq!(account().await, 1);
    let mut recipients = Vec::new();
    for _ in 0..2 {
        let got = in_time(server.told.recv()).await;
        assert_eq!(got.header("Subject"), "1 thing is not accounted for");
        assert!(got.message.contains("do not fit together"), "{}", got.message);
        assert_discreet(&got);
        recipients.push(got.to);
    }
    assert_eq!(recipients, ["RCPT TO:<ada@example.org>", "RCPT TO:<bo@example.org>"]);
    tell("").await;
    assert_eq!(account().await, 1);
    assert_eq!(in_time(server.told.recv()).await.to, "RCPT TO:<desk@example.org>");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_password_goes_to_a_server_that_is_not_safe() {
    let folder = tempfile::tempdir().unwrap();
    let server = MailServer::start(folder.path(), ANYWHERE.into(), |command| {
        assert!(!command.starts_with("AUTH"), "{command}");
        command.starts_with("EHLO").then_some("250-mail.test\n250 AUTH PLAIN")
    })
    .await;
    let serve = start(&folder.path().join("data"), "loopback", &server, &[]).await;
    let test = async |serve: &Serve| {
        let to = json!({"to": "ada@example.org"});
        let tested =
            serve.http.json(Method::POST, "/admin/mail/test", BOOTSTRAP, to).await.expect(200).json();
        tested["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(test(&serve).await, "the server offers no TLS (STARTTLS) on this port");
    drop(serve);

    // A certificate that no authority of the system vouches for.
    let server = MailServer::start(folder.path(), ANYWHERE.into(), |command| {
        assert!(!command.starts_with("AUTH"), "{command}");
        None
    })
    .await;
    let nobody = folder.path().join("nobody.pem");
    std::fs::write(&nobody, "").unwrap();
    let trust = [("SSL_CERT_FILE", nobody.to_str().unwrap())];
    let serve = start(&folder.path().join("data"), "loopback", &server, &trust).await;
    let said = test(&serve).await;
    assert!(said.starts_with("no safe connection to 127.0.0.1:") && said.contains("UnknownIssuer"), "{said}");

    // Where no mail is sent from, nobody can wish for any.
    let silent = Serve::start(&folder.path().join("silent"), "loopback", &[]).await;
    let wish = [("to", "+15551234567"), ("notify", "done")];
    let problem = send(&silent, &wish).await.expect(422).json();
    assert_eq!(problem["errors"][0]["code"], "unavailable");
    silent.http.json(Method::POST, "/admin/mail/test", BOOTSTRAP, json!({})).await.expect(409);
    let unsafe_way = json!({"mail.server": "mail.example.org:25", "mail.from": "fax@example.org", "mail.security": "none"});
    silent.http.json(Method::PUT, "/admin/settings", BOOTSTRAP, unsafe_way).await.expect(422);
}
