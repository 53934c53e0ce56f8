//! Webhooks under a clock that jumps: a receiver that fails most of the time, one that is gone, one
//! that lies where nobody may be called.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hyper::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use pagewire::access::audit::Context;
use pagewire::clock::Clock;
use pagewire::codec::page::{FaxPage, Resolution};
use pagewire::codec::raster::Bitmap;
use pagewire::db::{self, Db};
use pagewire::inbound::{Arrival, Inbox};
use pagewire::net::http_client::HttpClient;
use pagewire::net::reach::Reach;
use pagewire::sealing::Sealing;
use pagewire::spool::Spool;
use pagewire::webhooks::{ChangeWebhook, DeliveryState, NewWebhook, Replay, Webhook, WebhookError, Webhooks};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::receiver::{Got, published_library, receiver, verify};

/// Webhooks on a real database, under a clock that jumps.
struct Site {
    clock: Clock,
    db: Db,
    inbox: Inbox,
    webhooks: Webhooks,
}

impl Site {
    async fn open(folder: &Path, now: Timestamp, allow: &[&str]) -> Self {
        let clock = Clock::starting_at(now);
        let db = Db::open(&db::file_in(folder)).unwrap();
        let sealing = Sealing::open(db.clone(), &folder.join("keys"), clock.clone()).await.unwrap();
        let seal = sealing.seal().unwrap();
        db.start_audit(&seal.audit_key());
        let spool = Spool::open(&folder.join("spool"), seal.clone()).unwrap();
        let inbox = Inbox::new(db.clone(), spool, clock.clone());
        let reach = Reach::beyond_public(allow.iter().map(|network| network.parse().unwrap()).collect());
        let webhooks = Webhooks::new(db.clone(), clock.clone(), Ok(seal), HttpClient::within(reach));
        Self { clock, db, inbox, webhooks }
    }

    /// Something happens: a fax arrives.
    async fn happens(&self) {
        let arrival = Arrival {
            from: Some("+15551239999".into()),
            to: None,
            remote_station_id: None,
            route: "loopback".into(),
            attempt: None,
            pages: vec![FaxPage::from_bitmap(&Bitmap::white(1728, 10), Resolution::FINE)],
            is_complete: true,
        };
        self.inbox.receive(arrival).await.unwrap();
    }

    async fn webhook(&self, name: &str, url: String, types: &[&str]) -> (Webhook, String) {
        let types = types.iter().map(ToString::to_string).collect();
        let new = NewWebhook { name: name.into(), url, types };
        let (webhook, secret) = self.webhooks.create(new, &Context::cli(0)).await.unwrap();
        (webhook, secret.reveal().clone())
    }

    async fn count(&self, webhook: &Webhook, state: DeliveryState) -> usize {
        self.webhooks.deliveries(webhook.id, Some(state), i64::MAX, 10_000).await.unwrap().len()
    }

    /// Waits, letting the clock run, until so many of a webhook's deliveries are in this state.
    async fn until(&self, webhook: &Webhook, state: DeliveryState, count: usize) {
        let mut work = self.clock.work();
        while self.count(webhook, state).await < count {
            work.sleep(std::time::Duration::from_secs(60)).await;
        }
    }
}

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_seventy_percent_gets_every_event_with_valid_signatures() {
    const EVENTS: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(70);
    let site = Site::open(folder.path(), now(), &["127.0.0.0/8"]).await;
    let clock = site.clock.clone();
    let times_s = Arc::new(Mutex::new(Vec::new()));
    let came = times_s.clone();
    let answer = move |_: &HeaderMap| {
        came.lock().unwrap().push(clock.now().as_second());
        if random.random_range(0..100) < 70 { 503 } else { 204 }
    };
    let (address, mut told) = receiver(answer).await;
    let (steady, mut steadily) = receiver(|_| 200).await;
    let (flaky, secret) = site.webhook("flaky", format!("http://{address}/hook"), &[]).await;
    let (good, good_secret) = site.webhook("good", format!("http://{steady}/"), &["inbound.*"]).await;
    for _ in 0..EVENTS {
        site.happens().await;
    }
    // The good one is not kept waiting by the other: all its events at the first try, in order.
    let mut last = 0;
    for _ in 0..EVENTS {
        let got = steadily.recv().await.unwrap();
        let seq = got.event()["seq"].as_i64().unwrap();
        assert!(seq > last && got.is_signed_with(&good_secret) && !got.is_signed_with(&secret));
        last = seq;
    }
    site.until(&flaky, DeliveryState::Delivered, EVENTS).await;
    let tries: Vec<Got> = std::iter::from_fn(|| told.try_recv().ok()).collect();
    let mut failures = 0;
    let mut taken: BTreeMap<i64, String> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for got in &tries {
        assert!(got.is_signed_with(&secret), "{:?}", got.headers);
        let event = got.event();
        assert_eq!(event["type"], "inbound.received");
        assert!(!String::from_utf8_lossy(&got.body).contains("5551239999"), "a number is told");
        let id = got.header("webhook-id").to_owned();
        ids.insert(id.clone());
        if got.status == 204 {
            let again = taken.insert(event["seq"].as_i64().unwrap(), id);
            assert!(again.is_none(), "told again although it was taken");
        } else {
            failures += 1;
        }
    }
    assert_eq!((taken.len(), ids.len()), (EVENTS, EVENTS), "one id for all tries of an event");
    assert!(failures > tries.len() / 2, "{failures} of {} failed", tries.len());
    println!(
        "{EVENTS} events, {} tries, {failures} failures, {:#} later",
        tries.len(),
        site.clock.now().duration_since(now())
    );
    assert_eq!(site.count(&good, DeliveryState::Delivered).await, EVENTS);
    assert_eq!(site.count(&flaky, DeliveryState::Dead).await, 0);
    site.webhooks.stop().await;
    // Another implementation's word on every message, at the time of its try.
    if let Some(python) = published_library(folder.path()) {
        let times_s = times_s.lock().unwrap();
        let messages: Vec<_> = times_s.iter().copied().zip(&tries).collect();
        assert_eq!(verify(&python, &secret, &messages), tries.len());
        println!("{} messages verified by standardwebhooks", tries.len());
    }
}

#[tokio::test]
async fn what_is_never_taken_ends_as_a_dead_letter_after_a_day_and_can_be_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let works = Arc::new(AtomicBool::new(false));
    let is_working = works.clone();
    let answer = move |_: &HeaderMap| if is_working.load(Ordering::SeqCst) { 200 } else { 500 };
    let (address, mut told) = receiver(answer).await;
    let site = Site::open(folder.path(), now(), &["127.0.0.1"]).await;
    let (webhook, _) = site.webhook("down", format!("http://{address}/"), &[]).await;
    for _ in 0..5 {
        site.happens().await;
    }
    site.until(&webhook, DeliveryState::Dead, 5).await;
    let day = SignedDuration::from_hours(24);
    let passed = site.clock.now().duration_since(now());
    assert!(passed >= day && passed < day + SignedDuration::from_hours(1), "{passed:?}");
    let dead = site.webhooks.deliveries(webhook.id, Some(DeliveryState::Dead), i64::MAX, 10).await.unwrap();
    assert!(dead.iter().all(|delivery| delivery.ended_at.is_some()), "{dead:?}");
    assert!(dead.iter().any(|delivery| delivery.status == Some(500) && delivery.tries > 1), "{dead:?}");
    let mut tries = 0;
    while told.try_recv().is_ok() {
        tries += 1;
    }
    assert!((10..100).contains(&tries), "{tries} tries in a day, for a receiver that is down");

    works.store(true, Ordering::SeqCst);
    let by = Context::cli(0);
    let first = dead.last().unwrap().seq;
    site.webhooks.replay(webhook.id, Replay::Event(first), &by).await.unwrap();
    assert_eq!(told.recv().await.unwrap().event()["seq"], first);
    site.until(&webhook, DeliveryState::Delivered, 1).await;
    site.webhooks.replay(webhook.id, Replay::Dead, &by).await.unwrap();
    site.until(&webhook, DeliveryState::Delivered, 5).await;
    site.webhooks.replay(webhook.id, Replay::After(first), &by).await.unwrap();
    let mut again = BTreeSet::new();
    while again.len() < 4 {
        let seq = told.recv().await.unwrap().event()["seq"].as_i64().unwrap();
        again.insert(seq);
    }
    let unknown = site.webhooks.replay(webhook.id, Replay::Event(999), &by).await;
    assert!(matches!(unknown, Err(WebhookError::Invalid { field: "seq", .. })), "{unknown:?}");
    site.webhooks.stop().await;
}

#[tokio::test]
async fn what_was_queued_survives_a_restart_and_nothing_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (address, mut told) = receiver(|_| 200).await;
    let (webhook, end) = {
        let site = Site::open(folder.path(), now(), &["127.0.0.1"]).await;
        let (webhook, _) = site.webhook("restarted", format!("http://{address}/"), &[]).await;
        site.webhooks.stop().await;
        for _ in 0..20 {
            site.happens().await;
        }
        (webhook, site.db.newest_event())
    };
    assert!(told.try_recv().is_err());
    let site = Site::open(folder.path(), now(), &["127.0.0.1"]).await;
    site.webhooks.start().await.unwrap();
    let mut seen = Vec::new();
    while seen.last() != Some(&end) {
        seen.push(told.recv().await.unwrap().event()["seq"].as_i64().unwrap());
    }
    assert_eq!(seen, (end - 19..=end).collect::<Vec<_>>());
    site.until(&webhook, DeliveryState::Delivered, 20).await;
    site.webhooks.stop().await;
}

#[tokio::test]
async fn a_new_secret_signs_along_with_the_old_one_while_that_has_grace() {
    let folder = tempfile::tempdir().unwrap();
    let (address, mut told) = receiver(|_| 200).await;
    let site = Site::open(folder.path(), now(), &["127.0.0.1"]).await;
    let (webhook, old) = site.webhook("rotated", format!("http://{address}/"), &[]).await;
    let by = Context::cli(0);
    let hour = std::time::Duration::from_hours(1);
    // A change at the same time takes nothing back of it.
    let renamed = ChangeWebhook { name: Some("renamed".into()), ..ChangeWebhook::default() };
    let (rotated, changed) = tokio::join!(
        site.webhooks.rotate(webhook.id, hour, &by),
        site.webhooks.change(webhook.id, renamed, &by),
    );
    changed.unwrap();
    let new = rotated.unwrap().1;
    let new = new.reveal().as_str();
    assert_eq!(site.webhooks.get(webhook.id).unwrap().name, "renamed");
    site.happens().await;
    let both = told.recv().await.unwrap();
    assert!(both.is_signed_with(&old) && both.is_signed_with(new));
    site.clock.work().sleep(hour).await;
    site.happens().await;
    let later = told.recv().await.unwrap();
    assert!(!later.is_signed_with(&old) && later.is_signed_with(new));
    let stored = std::fs::read(db::file_in(folder.path())).unwrap();
    let wal = std::fs::read(db::file_in(folder.path()).with_extension("db-wal")).unwrap_or_default();
    let secret = &new.as_bytes()[6..40];
    assert!(![stored, wal].iter().any(|file| file.windows(secret.len()).any(|part| part == secret)));
    site.webhooks.stop().await;
}

#[tokio::test]
async fn leads_nowhere_nobody_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), now(), &["192.168.1.0/24"]).await;
    let make = async |url: &str, types: &[&str]| {
        let types = types.iter().map(ToString::to_string).collect();
        site.webhooks.create(NewWebhook { name: "x".into(), url: url.into(), types }, &Context::cli(0)).await
    };
    let refused: [(&str, &[&str]); 9] = [
        ("https://127.0.0.1/", &[]),
        ("https://10.0.0.1/", &[]),
        ("https://[::1]/", &[]),
        ("https://169.254.169.254/latest/meta-data", &[]),
        ("http://8.8.8.8/", &[]),
        ("ftp://192.168.1.1/", &[]),
        ("https://user:password@example.org/", &[]),
        ("", &[]),
        ("https://example.org/", &["fax.delivred"]),
    ];
    for (url, types) in refused {
        let refused = make(url, types).await;
        assert!(matches!(refused, Err(WebhookError::Invalid { .. })), "{url}: {refused:?}");
    }
    make("http://192.168.1.20:8123/api/webhook/x", &[]).await.unwrap();
    // A name is looked up at each call, and means this machine: nobody is called.
    let (named, _) = make("https://localhost/", &[]).await.unwrap();
    let tested = site.webhooks.test(named.id).await.unwrap();
    assert!(tested.error.unwrap().contains("not an address of the public internet"));
    site.webhooks.stop().await;
}

#[tokio::test]
async fn at_another_address_what_waits_is_tried_at_once() {
    const EVENTS: usize = 30;
    let folder = tempfile::tempdir().unwrap();
    let (wrong, mut refused) = receiver(|_| 404).await;
    let (right, mut told) = receiver(|_| 200).await;
    let site = Site::open(folder.path(), now(), &["127.0.0.1"]).await;
    let (webhook, secret) = site.webhook("moved", format!("http://{wrong}/"), &[]).await;
    // The clock stands still.
    let _work = site.clock.work();
    for _ in 0..EVENTS {
        site.happens().await;
    }
    // So many failures in a row that it rests: the others are not even tried.
    for _ in 0..20 {
        refused.recv().await.unwrap();
    }
    while site.webhooks.get(webhook.id).unwrap().resting_until.is_none() {
        tokio::task::yield_now().await;
    }
    let url = Some(format!("http://{right}/"));
    let moved = ChangeWebhook { url, ..ChangeWebhook::default() };
    site.webhooks.change(webhook.id, moved, &Context::cli(0)).await.unwrap();
    let mut taken = BTreeSet::new();
    while taken.len() < EVENTS {
        let got = told.recv().await.unwrap();
        assert!(got.is_signed_with(&secret));
        taken.insert(got.seq());
    }
    assert_eq!((site.clock.now(), refused.try_recv().is_err()), (now(), true));
    site.webhooks.stop().await;
}
