//! The event log as clients see it: pages, and streams that are cut and resumed.

use std::collections::BTreeSet;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::support::{BOOTSTRAP, Http, Serve};

/// Streams that are open at once.
const CLIENTS: u64 = 50;
/// Faxes sent meanwhile; each leaves about six events.
const FAXES: usize = 40;

/// One open stream, read as bytes, since it is cut anywhere.
struct Feed {
    body: Incoming,
    text: String,
    /// Bytes it gets before it is cut.
    left: usize,
}

/// What a stream brought.
#[derive(Debug)]
enum Block {
    Event(i64, Value),
    /// The place in a comment.
    Place(i64),
}

impl Feed {
    async fn open(http: &Http, key: &str, path: &str, last: Option<i64>) -> Self {
        let stream = TcpStream::connect(http.address).await.unwrap();
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::get(path).header("host", "localhost").header("x-api-key", key);
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new(), left: usize::MAX }
    }

    /// The next block; `None` when the stream ended or was cut.
    async fn next(&mut self) -> Option<Block> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
                };
                let place = field("id").unwrap().parse().unwrap();
                let found = match field("data") {
                    Some(data) => Block::Event(place, serde_json::from_str(data).unwrap()),
                    None => Block::Place(place),
                };
                self.text = rest.to_owned();
                return Some(found);
            }
            let data = self.body.frame().await?.ok()?.into_data().unwrap();
            let taken = data.len().min(self.left);
            self.left -= taken;
            self.text.push_str(std::str::from_utf8(&data[..taken]).unwrap());
            if self.left == 0 && !self.text.contains("\n\n") {
                return None;
            }
        }
    }

    async fn next_event(&mut self) -> Option<(i64, Value)> {
        loop {
            if let Block::Event(seq, event) = self.next().await? {
                return Some((seq, event));
            }
        }
    }
}

/// Everything `GET /events` has, in small pages.
async fn whole_log(http: &Http, key: &str) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), 0);
    loop {
        let page = http.get(&format!("/events?limit=7&after={after}"), key).await.expect(200).json();
        events.extend(page["events"].as_array().unwrap().clone());
        after = page["next_after"].as_i64().unwrap();
        if page["has_more"] == false {
            return events;
        }
    }
}

/// A client that is cut every few events, in the middle of whatever comes then, until it has seen
/// what `end` says is the last one. Answers all it saw, and how often it was cut.
async fn cut_again_and_again(http: Http, seed: u64, mut end: watch::Receiver<i64>) -> (Vec<Value>, u32) {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut seen, mut last, mut cuts) = (Vec::new(), None, 0);
    loop {
        let mut feed = Feed::open(&http, BOOTSTRAP, "/events/stream?after=0", last).await;
        feed.left = random.random_range(1..6000);
        loop {
            if last.is_some_and(|last| last >= *end.borrow_and_update()) {
                return (seen, cuts);
            }
            let block = tokio::select! {
                block = feed.next() => block,
                _ = end.changed() => continue,
            };
            match block {
                Some(Block::Event(seq, event)) => {
                    assert_eq!(event["seq"], seq);
                    seen.push(event);
                    last = Some(seq);
                }
                Some(Block::Place(place)) => last = Some(place),
                None => break,
            }
        }
        cuts += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_cut_at_random_see_every_event_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let (end, end_seen) = watch::channel(i64::MAX);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|seed| tokio::spawn(cut_again_and_again(serve.http.clone(), seed, end_seen.clone())))
        .collect();
    let sending = (0..FAXES).map(async |n| {
        let to = format!("+1555123{n:04}");
        let fax = serve.http.send_fax(BOOTSTRAP, &to, b"A letter.\n").await.expect(202).json();
        serve.http.finished(BOOTSTRAP, fax["id"].as_str().unwrap()).await
    });
    for fax in futures_util::future::join_all(sending).await {
        assert_eq!(fax["status"], "SUCCESS");
    }
    let log = whole_log(&serve.http, BOOTSTRAP).await;
    let count = |kind: &str| log.iter().filter(|event| event["type"] == kind).count();
    for kind in ["fax.queued", "fax.dialing", "fax.delivered", "inbound.received"] {
        assert_eq!(count(kind), FAXES, "{kind}");
    }
    end.send(log.last().unwrap()["seq"].as_i64().unwrap()).unwrap();
    let mut all_cuts = 0;
    for (client, (seen, cuts)) in
        futures_util::future::try_join_all(clients).await.unwrap().iter().enumerate()
    {
        assert!(*seen == log, "client {client} saw {} of {} events", seen.len(), log.len());
        all_cuts += cuts;
    }
    assert!(all_cuts > 100, "only {all_cuts} cuts");
    println!("{CLIENTS} clients, {} events each, {all_cuts} cuts", log.len());
    let text = json!(log).to_string();
    assert!(!text.contains("555123") && !text.contains("letter"), "an event names a number or a document");
}

async fn new_key(http: &Http, body: Value) -> (String, String) {
    let key = http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, body).await.expect(200).json();
    (key["token"].as_str().unwrap().to_owned(), key["key_id"].as_str().unwrap().to_owned())
}

fn types(events: &[Value]) -> BTreeSet<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn everybody_sees_what_is_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[("ALLOW_BOOTSTRAP_KEY", "true")]).await;
    let http = &serve.http;
    let sends = json!({"name": "clinic", "owner": "clinic", "scopes": ["fax:send", "fax:read"]});
    let (clinic, _) = new_key(http, sends).await;
    let (lab, lab_id) = new_key(
        http,
        json!({"name": "lab", "owner": "lab", "scopes": ["fax:read", "inbound:list", "keys:read"]}),
    )
    .await;
    let all = json!({"name": "all", "owner": "lab", "scopes": ["fax:read"], "resources": {"all_jobs": true}});
    let (all, _) = new_key(http, all).await;
    let fax = http.send_fax(&clinic, "+15551230000", b"x\n").await.expect(202).json();
    http.finished(&clinic, fax["id"].as_str().unwrap()).await;

    let of_clinic = whole_log(http, &clinic).await;
    assert!(of_clinic.iter().all(|event| event["subject"] == fax["id"]), "{of_clinic:?}");
    assert!(types(&of_clinic).contains("fax.delivered"));
    let of_all = whole_log(http, &all).await;
    assert_eq!(of_all, of_clinic);
    let of_lab = whole_log(http, &lab).await;
    assert_eq!(types(&of_lab), BTreeSet::from(["api_key.created", "inbound.received"]));
    let keys_of_lab = of_lab.iter().filter(|event| event["type"] == "api_key.created").count();
    assert_eq!(keys_of_lab, 2, "its owner's keys");
    assert!(of_lab.iter().any(|event| event["subject"] == format!("key:{lab_id}")));
    let of_admin = whole_log(http, BOOTSTRAP).await;
    assert!(of_clinic.iter().chain(&of_lab).all(|event| of_admin.contains(event)));

    let asked = http.get("/events?types=fax.delivered,%20inbound.*", BOOTSTRAP).await.expect(200).json();
    assert_eq!(
        types(asked["events"].as_array().unwrap()),
        BTreeSet::from(["fax.delivered", "inbound.received"])
    );
    for (query, field) in [
        ("types=fax.delivred", "types"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("before=1", "before"),
    ] {
        let refused = http.get(&format!("/events?{query}"), BOOTSTRAP).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }

    // A place that was never reached is the end, and a stream of something else stays silent.
    let end = of_admin.last().unwrap()["seq"].as_i64().unwrap();
    let page = http.get(&format!("/events?after={}", end + 1000), BOOTSTRAP).await.expect(200).json();
    assert_eq!((&page["next_after"], &page["has_more"]), (&json!(end), &json!(false)));
    let mut feed = Feed::open(http, &clinic, "/events/stream?types=fax.delivered", Some(end + 1000)).await;
    assert!(matches!(feed.next().await, Some(Block::Place(place)) if place == end));
    let second = http.send_fax(&clinic, "+15551230001", b"x\n").await.expect(202).json();
    let (_, event) = feed.next_event().await.unwrap();
    assert_eq!((&event["type"], &event["subject"]), (&json!("fax.delivered"), &second["id"]));
}

#[tokio::test]
async fn a_stream_ends_with_its_key_and_with_the_appliance() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[("ALLOW_BOOTSTRAP_KEY", "true")]).await;
    let http = &serve.http;
    let ways = [
        (Method::DELETE, "", json!({})),
        (Method::POST, "/disable", json!({})),
        (Method::POST, "/rotate", json!({"grace_seconds": 0})),
        (Method::PATCH, "", json!({"scopes": ["inbound:list"]})),
    ];
    for (method, verb, body) in ways {
        let (token, id) = new_key(http, json!({"name": "doomed", "scopes": ["fax:read", "keys:read"]})).await;
        let mut feed = Feed::open(http, &token, "/events/stream", None).await;
        assert!(matches!(feed.next().await, Some(Block::Place(_))));
        http.json(method.clone(), &format!("/admin/api-keys/{id}{verb}"), BOOTSTRAP, body).await.expect(200);
        // Of what happens after the answer it is told nothing; what is being written before may come.
        let (_, later) = new_key(http, json!({"name": "later"})).await;
        while let Some(block) = feed.next().await {
            let told = matches!(&block, Block::Event(_, event) if event["subject"] == format!("key:{id}"));
            let is_ended_first = method == Method::DELETE || verb == "/disable";
            assert!(told && !is_ended_first, "{method} {verb}: {block:?}, {later}");
        }
    }
    let mut feed = Feed::open(http, BOOTSTRAP, "/events/stream", None).await;
    assert!(matches!(feed.next().await, Some(Block::Place(_))));
    assert_eq!(tokio::task::spawn_blocking(|| serve.terminate()).await.unwrap(), Some(0));
    assert!(feed.next().await.is_none());
}
