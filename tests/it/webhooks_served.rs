//! Webhooks of the whole program: made over HTTP, through `kill -9`, and as the published library of
//! receivers takes them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::support::receiver::{Got, NEVER, published_library, receiver};
use crate::support::{BOOTSTRAP, Serve};

/// Webhooks may lead to this machine.
pub const ALLOWED: [(&str, &str); 1] = [("PAGEWIRE_WEBHOOKS_ALLOW", "127.0.0.1")];

/// A request over the admin socket, as root makes it.
pub async fn on_the_socket(data_dir: &Path, method: Method, path: &str, body: Value) -> (u16, Value) {
    let stream = UnixStream::connect(pagewire::serve::socket_in(data_dir)).await.unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "pagewire");
    let response = if body.is_null() {
        sender.send_request(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap()
    } else {
        sender.send_request(request.body(Full::new(body.to_string().into())).unwrap()).await.unwrap()
    };
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_made_by_people_seen_by_keys_and_written_to_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let (address, mut told) = receiver(|_| 200).await;
    let serve = Serve::start(folder.path(), "loopback", &ALLOWED).await;
    let new =
        json!({"name": "Practice", "url": format!("http://{address}/hook?token=1"), "types": ["fax.*"]});
    let refused = serve.http.json(Method::POST, "/webhooks", BOOTSTRAP, new.clone()).await.expect(403).json();
    assert_eq!(refused["reason"], "person");
    let (status, made) = on_the_socket(folder.path(), Method::POST, "/webhooks", new).await;
    assert_eq!(status, 201, "{made}");
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert!(secret.starts_with("whsec_"));
    let listed = serve.http.get("/webhooks", BOOTSTRAP).await.expect(200).json();
    assert_eq!((&listed[0]["id"], listed[0].get("secret")), (&made["id"], None));

    let path = format!("/webhooks/{id}");
    let tested =
        serve.http.json(Method::POST, &format!("{path}/test"), BOOTSTRAP, json!({})).await.expect(200);
    assert_eq!((&tested.json()["delivered"], &tested.json()["status"]), (&json!(true), &json!(200)));
    let test = in_time(told.recv()).await.unwrap();
    assert!(test.is_signed_with(secret));
    assert_eq!(test.event()["type"], "webhook.test");

    let fax = serve.http.send_fax(BOOTSTRAP, "+15551230000", b"A letter.\n").await.expect(202).json();
    let mut types = Vec::new();
    while types.last().is_none_or(|last| last != "fax.delivered") {
        let got = in_time(told.recv()).await.unwrap();
        assert!(got.is_signed_with(secret) && got.event()["subject"] == fax["id"]);
        types.push(got.event()["type"].as_str().unwrap().to_owned());
    }
    let log = serve.http.get("/events?types=fax.*", BOOTSTRAP).await.expect(200).json();
    let expected: Vec<_> = log["events"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(types.iter().collect::<Vec<_>>(), expected, "in the order of the log");

    let change = json!({"enabled": false});
    let (status, changed) = on_the_socket(folder.path(), Method::PATCH, &path, change).await;
    assert_eq!((status, &changed["enabled"]), (200, &json!(false)));
    serve
        .http
        .json(Method::POST, &format!("{path}/replay"), BOOTSTRAP, json!({"after": 0}))
        .await
        .expect(409);
    let (status, _) = on_the_socket(folder.path(), Method::PATCH, &path, json!({"enabled": true})).await;
    assert_eq!(status, 200);
    serve
        .http
        .json(Method::POST, &format!("{path}/replay"), BOOTSTRAP, json!({"after": 0}))
        .await
        .expect(202);
    for kind in &types {
        assert_eq!(in_time(told.recv()).await.unwrap().event()["type"], json!(kind));
    }
    for body in [json!({}), json!({"after": 1, "seq": 2}), json!({"dead": false}), json!({"seq": 99_999})] {
        serve.http.json(Method::POST, &format!("{path}/replay"), BOOTSTRAP, body).await.expect(422);
    }
    serve.http.get(&format!("{path}/deliveries?state=lost"), BOOTSTRAP).await.expect(422);
    let (status, _) = on_the_socket(folder.path(), Method::POST, &format!("{path}/rotate"), json!({})).await;
    assert_eq!(status, 200);
    let (status, _) = on_the_socket(folder.path(), Method::DELETE, &path, Value::Null).await;
    assert_eq!(status, 200);
    serve.http.get(&path, BOOTSTRAP).await.expect(404);

    let rows =
        serve.http.get(&format!("/admin/audit?target=webhook:{id}"), BOOTSTRAP).await.expect(200).json();
    let text = rows.to_string();
    for action in ["created", "changed", "replayed", "rotated", "removed"] {
        assert!(text.contains(&format!("webhook.{action}")), "{action}: {text}");
    }
    assert!(!text.contains("token=1") && !text.contains(&secret[6..]), "{text}");
}

/// Kills the program while the receiver holds a message, again and again. Whatever the log says
/// happened was taken in the end, and once only; faxes went on all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_no_event_and_no_fax_waits_for_a_receiver() {
    const KILLS: usize = 5;
    let folder = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(9);
    // How many messages are still answered.
    let answered = Arc::new(AtomicUsize::new(usize::MAX));
    let left = answered.clone();
    let answer = move |_: &hyper::HeaderMap| {
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if before.is_ok() { 200 } else { NEVER }
    };
    let (address, mut told) = receiver(answer).await;
    let mut serve = Serve::start(folder.path(), "loopback", &ALLOWED).await;
    let new = json!({"name": "Killed", "url": format!("http://{address}/"), "types": ["fax.*", "inbound.*"]});
    let (status, made) = on_the_socket(folder.path(), Method::POST, "/webhooks", new).await;
    assert_eq!(status, 201, "{made}");
    let secret = made["secret"].as_str().unwrap();
    let (mut faxes, mut got) = (Vec::new(), Vec::new());
    for _ in 0..KILLS {
        answered.store(random.random_range(0..8), Ordering::SeqCst);
        for _ in 0..2 {
            let fax = serve.http.send_fax(BOOTSTRAP, "+15551230000", b"A letter.\n").await.expect(202).json();
            faxes.push(fax["id"].as_str().unwrap().to_owned());
        }
        loop {
            let message = in_time(told.recv()).await.unwrap();
            let is_held = message.status == NEVER;
            got.push(message);
            if is_held {
                break;
            }
        }
        for fax in faxes.iter().rev().take(2) {
            assert_eq!(serve.http.finished(BOOTSTRAP, fax).await["status"], "SUCCESS");
        }
        serve.kill();
        answered.store(usize::MAX, Ordering::SeqCst);
        serve = Serve::start(folder.path(), "loopback", &ALLOWED).await;
    }
    let log = serve.http.get("/events?types=fax.*,inbound.*&limit=1000", BOOTSTRAP).await.expect(200).json();
    let events = log["events"].as_array().unwrap();
    let mut taken: BTreeMap<i64, Value> = BTreeMap::new();
    let mut take = |message: &Got| {
        assert!(message.is_signed_with(secret));
        assert!(!String::from_utf8_lossy(&message.body).contains("5551230000"), "a number is told");
        if message.status == 200 {
            let again = taken.insert(message.seq(), message.event());
            assert!(again.is_none(), "told again although it was taken: {again:?}");
        }
        taken.len()
    };
    let mut count = got.iter().map(&mut take).last().unwrap();
    while count < events.len() {
        count = take(&in_time(told.recv()).await.unwrap());
    }
    for event in events {
        let message = &taken[&event["seq"].as_i64().unwrap()];
        for name in ["type", "subject", "data"] {
            assert_eq!(message[name], event[name]);
        }
        assert_eq!(message["timestamp"], event["at"]);
    }
    println!("{KILLS} kills, {} faxes, {} events", faxes.len(), events.len());
}

/// What comes at once when all is well.
async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it never came")
}

const SCRIPT: &str = r#"
import http.server, json, sys
from standardwebhooks.webhooks import Webhook

failures, events = 1, []
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global failures
        body = self.rfile.read(int(self.headers["content-length"]))
        event = Webhook(secret).verify(body, dict((k.lower(), v) for k, v in self.headers.items()))
        fail = failures > 0
        failures -= 1
        if not fail:
            events.append(event)
        self.send_response(500 if fail else 204)
        self.end_headers()
    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
secret = sys.stdin.readline().strip()
while not {"fax.queued", "fax.delivered"} <= {event["type"] for event in events}:
    server.handle_request()
print(json.dumps(sorted({event["type"] for event in events})), flush=True)
"#;

/// The published Python library, with its own clock and tolerance, takes what we sign; the first
/// message is refused and comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_library_takes_every_message() {
    let folder = tempfile::tempdir().unwrap();
    let Some(python) = published_library(folder.path()) else { return };
    let mut receiver = tokio::process::Command::new(&python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(receiver.stdout.take().unwrap()).lines();
    let port = in_time(said.next_line()).await.unwrap().unwrap();

    let data_dir = folder.path().join("data");
    let serve = Serve::start(&data_dir, "loopback", &ALLOWED).await;
    let new = json!({"name": "Python", "url": format!("http://127.0.0.1:{port}/"), "types": ["fax.*"]});
    let (status, made) = on_the_socket(&data_dir, Method::POST, "/webhooks", new).await;
    assert_eq!(status, 201, "{made}");
    let secret = format!("{}\n", made["secret"].as_str().unwrap());
    receiver.stdin.take().unwrap().write_all(secret.as_bytes()).await.unwrap();
    serve.http.send_fax(BOOTSTRAP, "+15551230000", b"A letter.\n").await.expect(202);
    let types: Vec<String> =
        serde_json::from_str(&in_time(said.next_line()).await.unwrap().unwrap()).unwrap();
    assert!(types.contains(&"fax.delivered".to_owned()) && types.contains(&"fax.queued".to_owned()));
    assert!(receiver.wait().await.unwrap().success());
}
