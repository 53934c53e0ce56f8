//! kill -9 at random moments while clients post and faxes run: nothing lost, nothing doubled
//! unannounced, no orphan file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::Method;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::support::{BOOTSTRAP, Http, Serve, form};

/// Moments of death.
const KILLS: u64 = 50;
/// Clients that post all the while.
const CLIENTS: usize = 8;
/// Printed with every failure; change it to look elsewhere.
const SEED: u64 = 20_261_121;

/// What the clients were promised: the tag they sent, and the id of the 202.
type Promises = Arc<Mutex<BTreeMap<String, String>>>;

/// Posts faxes, each with a tag of its own, until the server is gone.
async fn post_until_gone(http: Http, client: usize, life: u64, promises: Promises) {
    let Ok(mut connection) = http.try_connect().await else { return };
    for number in 0.. {
        let tag = format!("{life}-{client}-{number}");
        let to = format!("+1555{:03}{:04}", client, number % 50);
        let text = format!("fax {tag}\n").repeat(40);
        let (media_type, body) = form(&[("to", &to), ("tag", &tag)], &[text.as_bytes()]);
        let headers = [("x-api-key", BOOTSTRAP), ("content-type", &media_type)];
        match connection.call(Method::POST, "/fax", &headers, body).await {
            Ok(answer) if answer.status == 202 => {
                let id = answer.json()["id"].as_str().unwrap().to_owned();
                promises.lock().unwrap().insert(tag, id);
            }
            Ok(answer) => assert_eq!(answer.status, 503, "{:?}", answer.body),
            Err(_) => return,
        }
    }
}

async fn all_jobs(http: &Http) -> Vec<Value> {
    let (mut jobs, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/admin/fax-jobs?limit=100{cursor}");
        let page = http.get(&path, BOOTSTRAP).await.expect(200).json();
        jobs.extend(page["jobs"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return jobs,
        }
    }
}

async fn inbox(http: &Http) -> Vec<Value> {
    let mut faxes = Vec::new();
    loop {
        let path = format!("/inbound?limit=100&offset={}", faxes.len());
        let page = http.get(&path, BOOTSTRAP).await.expect(200).json();
        let page = page.as_array().unwrap();
        if page.is_empty() {
            return faxes;
        }
        faxes.extend(page.iter().cloned());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(SEED);
    let promises: Promises = Arc::default();
    for life in 0..KILLS {
        let serve = Serve::start(folder.path(), "loopback", &[]).await;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| tokio::spawn(post_until_gone(serve.http.clone(), client, life, promises.clone())))
            .collect();
        // A random moment of a life: what runs then is what this test is about.
        tokio::time::sleep(Duration::from_micros(random.random_range(1_000..700_000))).await;
        serve.kill();
        for client in clients {
            client.await.unwrap();
        }
    }
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    let promises = promises.lock().unwrap().clone();
    assert!(promises.len() > 200, "seed {SEED}: only {} faxes were accepted", promises.len());
    for (tag, id) in &promises {
        let fax = serve.http.finished(BOOTSTRAP, id).await;
        assert_eq!(fax["tag"], *tag, "seed {SEED}");
        assert_eq!(fax["status"], "SUCCESS", "seed {SEED}: loopback knows what arrived: {fax}");
        assert_eq!(fax["confirmed_pages"], fax["pages"]);
    }
    // An accepted fax whose 202 was lost on the way may exist too; all must have ended, and each
    // delivered one is in the inbox exactly once.
    let mut jobs = all_jobs(&serve.http).await;
    for job in &mut jobs {
        *job = serve.http.finished(BOOTSTRAP, job["id"].as_str().unwrap()).await;
    }
    let delivered = jobs.iter().filter(|job| job["status"] == "SUCCESS").count();
    assert_eq!(delivered, jobs.len(), "seed {SEED}");
    let received = inbox(&serve.http).await;
    assert_eq!(received.len(), delivered, "seed {SEED}: as many received as delivered");
    let tags: BTreeSet<&str> = jobs.iter().map(|job| job["tag"].as_str().unwrap()).collect();
    assert_eq!(tags.len(), jobs.len(), "seed {SEED}: no fax exists twice");
    serve.has_documents(folder.path(), jobs.len() + received.len()).await;
    assert_eq!(serve.terminate(), Some(0));
}
