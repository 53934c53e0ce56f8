//! A receiver of webhooks, which tells all it got, and the published library that checks it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// An answer that never comes.
pub const NEVER: u16 = 0;

/// One request a receiver got.
#[derive(Debug)]
pub struct Got {
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Its answer.
    pub status: u16,
}

impl Got {
    pub fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn seq(&self) -> i64 {
        self.event()["seq"].as_i64().unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Whether one of its signatures is by this secret.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = Base64::decode_vec(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        for part in [self.header("webhook-id"), ".", self.header("webhook-timestamp"), "."] {
            mac.update(part.as_bytes());
        }
        mac.update(&self.body);
        let expected = format!("v1,{}", Base64::encode_string(&mac.finalize().into_bytes()));
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }
}

/// A web server that answers as `answer` says and tells all it got.
pub async fn receiver(
    answer: impl FnMut(&HeaderMap) -> u16 + Send + 'static,
) -> (SocketAddr, mpsc::UnboundedReceiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    let answer = Arc::new(Mutex::new(answer));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tell, answer) = (tell.clone(), answer.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (tell, answer) = (tell.clone(), answer.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let status = answer.lock().unwrap()(&parts.headers);
                    let _ = tell.send(Got { headers: parts.headers, body, status });
                    if status == NEVER {
                        std::future::pending::<()>().await;
                    }
                    let answer = Response::builder().status(status).body(Full::new(Bytes::new())).unwrap();
                    Ok::<_, Infallible>(answer)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, told)
}

/// A Python with the published library `standardwebhooks` in this folder; none, and said so, where
/// the index of packages is out of reach.
pub fn published_library(folder: &Path) -> Option<PathBuf> {
    let python = folder.join("python");
    let made = Command::new("python3").args(["-m", "venv"]).arg(&python).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // What it needs beside Python is for calling a service of theirs.
    let install =
        ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "standardwebhooks==1.0.1"];
    let installed = Command::new(python.join("bin/pip")).args(install).output().unwrap();
    if !installed.status.success() {
        let why = String::from_utf8_lossy(&installed.stderr);
        println!(
            "skipped: standardwebhooks 1.0.1 cannot be installed: {}",
            why.lines().last().unwrap_or_default()
        );
        return None;
    }
    Some(python.join("bin/python"))
}

const VERIFY: &str = r#"
import datetime, json, sys
from standardwebhooks import webhooks

class Clock(datetime.datetime):
    """Shows the time a message came at, of a clock that runs faster than ours."""
    now_s = 0
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(cls.now_s, tz)

webhooks.datetime = Clock
verified = 0
for line in sys.stdin:
    message = json.loads(line)
    library, headers = webhooks.Webhook(message["secret"]), message["headers"]
    Clock.now_s = message["at_s"]
    event = library.verify(message["body"], headers)
    for tampered in (message["body"] + " ", message["body"].replace("inbound", "outbound")):
        try:
            library.verify(tampered, headers)
        except webhooks.WebhookVerificationError:
            continue
        raise AssertionError("taken although it was changed on the way")
    assert {"type", "timestamp", "data"} <= event.keys(), event
    verified += 1
print(verified)
"#;

/// Has the published library verify messages that came at these times; answers how many it did.
pub fn verify(python: &Path, secret: &str, messages: &[(i64, &Got)]) -> usize {
    let lines: Vec<String> = messages
        .iter()
        .map(|(at_s, got)| {
            let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
            let headers: serde_json::Map<_, _> =
                names.iter().map(|name| ((*name).to_owned(), got.header(name).into())).collect();
            let body = std::str::from_utf8(&got.body).unwrap();
            json!({"secret": secret, "at_s": at_s, "headers": headers, "body": body}).to_string()
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("messages");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let output = Command::new(python)
        .args(["-c", VERIFY])
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}
