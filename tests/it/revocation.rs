//! No request that starts after the acknowledgement of a revocation, or of anything else that takes
//! a right away, is let in; wrong secrets never reach argon2.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hyper::Method;
use pagewire::access::records::AccountStatus;
use pagewire::access::roles::Role;
use pagewire::auth::Actor;
use pagewire::auth::people::Change;
use pagewire::clock::Clock;
use pagewire::config::Config;
use pagewire::serve::FirstAdministrator;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{BOOTSTRAP, Demo, Http, Serve, forged, free_address};

/// Connections that hammer while the right is taken away.
const CLIENTS: usize = 64;
/// How often each way is tried; the race is over in a moment.
const ROUNDS: usize = 4;

/// Clients that use a key over and over on one path.
struct Hammer {
    is_over: Arc<AtomicBool>,
    let_in: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Hammer {
    /// Returns when all clients are at it; `refusal` is the status they get in the end.
    async fn start(http: &Http, token: &str, path: &'static str, refusal: u16) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let let_in = Arc::new(AtomicU64::new(0));
        let clients = (0..CLIENTS)
            .map(|_| {
                let (http, token) = (http.clone(), token.to_owned());
                let (is_over, let_in) = (is_over.clone(), let_in.clone());
                tokio::spawn(async move {
                    let mut connection = http.connect().await;
                    let mut refused = 0;
                    while refused < 10 {
                        let after = is_over.load(Ordering::SeqCst);
                        let answer =
                            connection.call(Method::GET, path, &[("x-api-key", &token)], "").await.unwrap();
                        match answer.status {
                            // A full minute is told to good keys only.
                            200 | 429 => {
                                assert!(!after, "let in after the acknowledgement");
                                let_in.fetch_add(1, Ordering::Relaxed);
                            }
                            status if status == refusal => refused += 1,
                            other => panic!("status {other}"),
                        }
                    }
                })
            })
            .collect();
        let hammer = Self { is_over, let_in, clients };
        while hammer.let_in.load(Ordering::Relaxed) < CLIENTS as u64 * 3 {
            tokio::task::yield_now().await;
        }
        hammer
    }

    /// The acknowledgement has come: from here on nobody may be let in.
    async fn finish(self) {
        self.is_over.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

async fn new_key(http: &Http, by: &str, body: Value) -> (String, String) {
    let key = http.json(Method::POST, "/admin/api-keys", by, body).await.expect(200).json();
    (key["key_id"].as_str().unwrap().to_owned(), key["token"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_starts_afterwards_is_let_in() {
    let demo = Demo::start();
    let (http, admin) = (&demo.http, &demo.admin_key);
    let ways = [
        (Method::DELETE, "", json!({})),
        (Method::POST, "/disable", json!({})),
        (Method::POST, "/rotate", json!({"grace_seconds": 0})),
        (Method::PATCH, "", json!({"ip_allow": ["192.0.2.0/24"]})),
    ];
    for round in 0..ROUNDS {
        for (method, verb, body) in &ways {
            // An owner each: all keys of one owner together have a quota, too.
            let owner = format!("{method}{verb} {round}");
            let new = json!({"name": "doomed", "owner": owner, "scopes": ["fax:read"]});
            let (id, token) = new_key(http, admin, new).await;
            let hammer = Hammer::start(http, &token, "/fax", 401).await;
            let path = format!("/admin/api-keys/{id}{verb}");
            http.json(method.clone(), &path, admin, body.clone()).await.expect(200);
            hammer.finish().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_secret_of_a_rotation_is_ended_at_once() {
    let demo = Demo::start();
    let (http, admin) = (&demo.http, &demo.admin_key);
    for round in 0..ROUNDS {
        let new = json!({"name": "rotated", "owner": format!("owner {round}"), "scopes": ["fax:read"]});
        let (id, old) = new_key(http, admin, new).await;
        let path = format!("/admin/api-keys/{id}");
        let grace = json!({"grace_seconds": 3_600});
        http.json(Method::POST, &format!("{path}/rotate"), admin, grace).await.expect(200);
        let hammer = Hammer::start(http, &old, "/fax", 401).await;
        http.json(Method::POST, &format!("{path}/end-previous"), admin, json!({})).await.expect(200);
        hammer.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_owner_loses_its_keys_lose() {
    let folder = tempfile::tempdir().unwrap();
    let env = |name: &str| match name {
        "PAGEWIRE_DATA_DIR" => Some(folder.path().display().to_string()),
        "PAGEWIRE_LISTEN" => Some("127.0.0.1:0".to_owned()),
        "API_KEY" => Some(BOOTSTRAP.to_owned()),
        _ => None,
    };
    let config = Config::load(None, env).unwrap().validated().unwrap();
    let running = pagewire::serve::start(config, Clock::System, FirstAdministrator::ByLink).await.unwrap();
    let (http, keys) = (Http::new(running.address), running.app.keys());
    let by = Actor::cli(0);
    let disabled = Change { status: Some(AccountStatus::Disabled), ..Change::default() };
    let demoted = Change { role: Some(Role::Viewer), ..Change::default() };
    for round in 0..ROUNDS {
        for (change, refusal) in [(&disabled, 401), (&demoted, 403)] {
            let owner = format!("owner {round} {refusal}");
            // Without a full minute: a key that lost its rights would be told of that first.
            let limits = json!({"per_minute": 1_000_000, "per_hour": 1_000_000});
            let new = json!({"name": "doomed", "owner": owner, "limits": limits});
            let (_, token) = new_key(&http, BOOTSTRAP, new).await;
            let account = keys.list_accounts().into_iter().find(|account| account.name == owner).unwrap();
            let hammer = Hammer::start(&http, &token, "/inbound", refusal).await;
            running.app.people().change_account(account.id, *change, &by).await.unwrap();
            hammer.finish().await;
        }
    }
    running.stop().await;
}

async fn argon2_runs(metrics: &Http) -> u64 {
    let text = metrics.call(Method::GET, "/metrics", &[], "").await.expect(200);
    let text = String::from_utf8_lossy(&text.body).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("pagewire_argon2_runs_total "));
    line.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_secrets_run_no_argon2() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let serve =
        Serve::start(folder.path(), "loopback", &[("PAGEWIRE_METRICS_LISTEN", &address.to_string())]).await;
    let metrics = Http::new(address);
    let key = serve
        .http
        .json(Method::POST, "/admin/api-keys", BOOTSTRAP, json!({"name": "known"}))
        .await
        .expect(200)
        .json();
    let token = key["token"].as_str().unwrap();
    let forged = forged(token);
    let before = argon2_runs(&metrics).await;
    let mut connection = serve.http.connect().await;
    for _ in 0..2000 {
        let answer = connection.call(Method::GET, "/fax", &[("x-api-key", &forged)], "").await.unwrap();
        assert_eq!(answer.status, 401);
    }
    assert_eq!(argon2_runs(&metrics).await, before);
    for _ in 0..200 {
        connection.call(Method::GET, "/fax", &[("x-api-key", token)], "").await.unwrap().expect(200);
    }
    let runs = argon2_runs(&metrics).await - before;
    assert!(runs <= 1, "{runs} runs for one key in one life of the server");
}
