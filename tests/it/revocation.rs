//! No request that starts after the acknowledgement of a revocation is let in; wrong secrets never
//! reach argon2.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hyper::Method;
use serde_json::json;

use crate::support::{BOOTSTRAP, Demo, Http, Serve, forged};

/// Parallel clients that hammer while the key is revoked.
const CLIENTS: usize = 16;
const ROUNDS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_starts_afterwards_is_let_in() {
    let demo = Demo::start();
    for round in 0..ROUNDS {
        let new = json!({"name": format!("doomed {round}"), "scopes": ["fax:read"]});
        let key =
            demo.http.json(Method::POST, "/admin/api-keys", &demo.admin_key, new).await.expect(200).json();
        let token = key["token"].as_str().unwrap().to_owned();
        let revoked = Arc::new(AtomicBool::new(false));
        let let_in = Arc::new(AtomicU64::new(0));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (http, token, revoked, let_in) =
                    (demo.http.clone(), token.clone(), revoked.clone(), let_in.clone());
                tokio::spawn(async move {
                    let mut connection = http.connect().await;
                    let mut refused = 0;
                    while refused < 50 {
                        let after = revoked.load(Ordering::SeqCst);
                        let answer =
                            connection.call(Method::GET, "/fax", &[("x-api-key", &token)], "").await.unwrap();
                        match answer.status {
                            // A full minute is told to good keys only.
                            200 | 429 => {
                                assert!(!after, "let in after the acknowledgement");
                                let_in.fetch_add(1, Ordering::Relaxed);
                            }
                            401 => refused += 1,
                            other => panic!("status {other}"),
                        }
                    }
                })
            })
            .collect();
        while let_in.load(Ordering::Relaxed) < CLIENTS as u64 * 5 {
            tokio::task::yield_now().await;
        }
        let path = format!("/admin/api-keys/{}", key["key_id"].as_str().unwrap());
        demo.http.json(Method::DELETE, &path, &demo.admin_key, json!({})).await.expect(200);
        revoked.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.unwrap();
        }
    }
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
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
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
