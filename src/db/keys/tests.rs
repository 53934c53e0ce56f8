//! Rows of keys, as they are stored and read back.

use super::super::accounts::tests::account;
use super::*;
use crate::access::kind::{Kind, Limits};
use crate::access::records::{Status, UsageDelta};
use crate::access::resources::Resources;
use crate::access::scopes::ScopeSet;
use crate::db::audit::tests::{event as row, open};

impl Db {
    /// Makes every later change fail, as a dead disk would.
    pub(crate) async fn stop_writer(&self) {
        let stopped: Result<(), DbError> = self.write(|_| panic!("stopped for a test")).await;
        assert!(matches!(stopped, Err(DbError::Closed)));
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

fn event(what: &str) -> Event {
    Event::about_key("0000000000ab", what, "cli:0", serde_json::json!({}), at(1))
}

fn ending(ms: i64, by: &str) -> Ending {
    Ending { at: at(ms), by: by.into(), reason: None, hidden: false, hold_faxes: false }
}

async fn told(db: &Db) -> Vec<String> {
    let events = db.events_about("key:0000000000ab".into(), i64::MAX, 100).await.unwrap();
    events.into_iter().rev().map(|logged| logged.event.kind).collect()
}

fn secret(name: &str) -> SlotRecord {
    SlotRecord {
        phc: Secret::new(format!("$argon2id${name}")),
        prefilter: Some([0xff, 0, 0, 7]),
        created_at: at(5),
        valid_until: None,
        last_used_at: None,
    }
}

fn record(owner: &AccountRecord) -> KeyRecord {
    KeyRecord {
        id: "0000000000ab".parse().unwrap(),
        kind: Kind::Production,
        name: "Praxis".into(),
        note: Some("front desk".into()),
        owner: owner.id,
        scopes: ScopeSet::EVERYDAY,
        resources: Resources { to_prefixes: vec!["+1555".parse().unwrap()], ..Resources::default() },
        ip_allow: vec!["10.0.0.0/8".parse().unwrap()],
        allowed_origins: vec!["https://example.org".parse().unwrap()],
        limits: Limits { per_minute: Some(5), ..Limits::default() },
        recoverable: false,
        hidden: false,
        status: Status::Active,
        generation: 1,
        not_before: Some(at(10)),
        expires_at: Some(at(20)),
        created_at: at(1),
        created_by: "cli:0".into(),
        last_used_at: None,
        last_used_ip: None,
        use_count: 0,
        revoked_at: None,
        revoked_by: None,
        revoked_reason: None,
    }
}

async fn with_one_key() -> (tempfile::TempDir, Db, KeyRecord) {
    let (folder, db) = open();
    let owner = account("clinic");
    let record = record(&owner);
    db.audited(row())
        .insert_key(record.clone(), secret("first"), None, Some(owner), event("created"))
        .await
        .unwrap();
    (folder, db, record)
}

async fn only_key(db: &Db) -> StoredKey {
    let mut keys = db.keys().await.unwrap();
    assert_eq!(keys.len(), 1);
    keys.remove(0)
}

#[tokio::test]
async fn a_key_reads_back_as_it_was_stored() {
    let (_folder, db, record) = with_one_key().await;
    let stored = only_key(&db).await;
    assert_eq!(stored.record, record);
    assert_eq!(stored.current.phc.reveal(), "$argon2id$first");
    assert_eq!(stored.current.prefilter, Some([0xff, 0, 0, 7]));
    assert!(stored.previous.is_none());
    let again = db.audited(row()).insert_key(record, secret("second"), None, None, event("created")).await;
    assert!(matches!(again, Err(DbError::Conflict)), "an id is never used again");
    assert_eq!(only_key(&db).await.current.phc.reveal(), "$argon2id$first");
}

#[tokio::test]
async fn a_taken_owner_name_leaves_no_key() {
    let (_folder, db, first) = with_one_key().await;
    let owner = account("CLINIC");
    let other = KeyRecord { id: "0000000000cd".parse().unwrap(), owner: owner.id, ..first };
    let refused = db.audited(row()).insert_key(other, secret("x"), None, Some(owner), event("created")).await;
    assert!(matches!(refused, Err(DbError::Conflict)));
    only_key(&db).await;
}

#[tokio::test]
async fn rotation_moves_secrets_and_generation() {
    let (_folder, db, record) = with_one_key().await;
    let previous = SlotRecord { valid_until: Some(at(99)), ..secret("first") };
    db.audited(row())
        .rotate_key(record.id, secret("second"), Some(previous.clone()), None, event("rotated"))
        .await
        .unwrap();
    let stored = only_key(&db).await;
    assert_eq!(stored.record.generation, 2);
    assert_eq!(stored.current.phc.reveal(), "$argon2id$second");
    let kept = stored.previous.unwrap();
    assert_eq!((kept.phc.reveal().as_str(), kept.valid_until), ("$argon2id$first", Some(at(99))));

    db.audited(row()).rotate_key(record.id, secret("third"), None, None, event("rotated")).await.unwrap();
    let stored = only_key(&db).await;
    assert_eq!((stored.record.generation, stored.current.phc.reveal().as_str()), (3, "$argon2id$third"));
    assert!(stored.previous.is_none());
}

#[tokio::test]
async fn a_revoked_key_stays_as_it_is() {
    let (_folder, db, record) = with_one_key().await;
    let first = Ending { reason: Some("lost".into()), ..ending(50, "cli:0") };
    db.audited(row()).revoke_key(record.id, first, event("revoked")).await.unwrap();
    db.audited(row()).revoke_key(record.id, ending(60, "cli:1"), event("revoked")).await.unwrap();
    assert!(matches!(
        db.audited(row()).switch_key(record.id, Status::Active, event("enabled")).await,
        Err(DbError::Conflict)
    ));
    let renamed = KeyRecord { name: "other".into(), ..record.clone() };
    assert!(matches!(
        db.audited(row()).update_key(renamed, at(70), event("changed")).await,
        Err(DbError::Conflict)
    ));
    let rotated =
        db.audited(row()).rotate_key(record.id, secret("second"), None, None, event("rotated")).await;
    assert!(matches!(rotated, Err(DbError::Conflict)));
    let stored = only_key(&db).await;
    assert_eq!((stored.record.status, stored.record.generation), (Status::Revoked, 2));
    assert_eq!(stored.record.revoked_at, Some(at(50)));
    assert_eq!(stored.record.revoked_by.as_deref(), Some("cli:0"));
    assert_eq!(stored.record.revoked_reason.as_deref(), Some("lost"));
    assert_eq!(stored.current.phc.reveal(), "$argon2id$first");
}

#[tokio::test]
async fn uses_add_up() {
    let (_folder, db, record) = with_one_key().await;
    let delta = |uses, ms, ip: Option<&str>| UsageDelta {
        id: record.id,
        uses,
        last_used_at: at(ms),
        last_used_ip: ip.map(|ip| ip.parse().unwrap()),
        current_used_at: Some(at(ms)),
        previous_used_at: None,
        addresses: ip.iter().map(|ip| ip.parse().unwrap()).collect(),
    };
    db.add_key_usage(vec![delta(3, 100, Some("192.0.2.1"))]).await.unwrap();
    db.add_key_usage(vec![delta(4, 200, None)]).await.unwrap();
    let stored = only_key(&db).await;
    assert_eq!((stored.record.use_count, stored.record.last_used_at), (7, Some(at(200))));
    assert_eq!(stored.record.last_used_ip, Some("192.0.2.1".parse().unwrap()));
    assert_eq!(stored.current.last_used_at, Some(at(200)));
    assert_eq!(stored.record.generation, 1, "use lets nobody in or out");
}

#[tokio::test]
async fn another_pepper_forgets_the_prefilters() {
    let (_folder, db, record) = with_one_key().await;
    db.adopt_pepper([1; 16]).await.unwrap();
    assert_eq!(only_key(&db).await.current.prefilter, None);
    let phc = Secret::new("$argon2id$first".to_owned());
    db.store_prefilter(record.id, phc.clone(), [1, 2, 3, 4]).await.unwrap();
    db.adopt_pepper([1; 16]).await.unwrap();
    assert_eq!(only_key(&db).await.current.prefilter, Some([1, 2, 3, 4]));
    db.store_prefilter(record.id, Secret::new("another".into()), [0; 4]).await.unwrap();
    assert_eq!(only_key(&db).await.current.prefilter, Some([1, 2, 3, 4]));
    db.adopt_pepper([2; 16]).await.unwrap();
    assert_eq!(only_key(&db).await.current.prefilter, None);
}

#[tokio::test]
async fn a_change_has_its_event_and_a_refused_one_has_none() {
    let (_folder, db, record) = with_one_key().await;
    db.audited(row()).switch_key(record.id, Status::Disabled, event("disabled")).await.unwrap();
    assert_eq!(only_key(&db).await.record.status, Status::Disabled);
    db.audited(row()).switch_key(record.id, Status::Active, event("enabled")).await.unwrap();
    assert!(matches!(
        db.audited(row()).switch_key(record.id, Status::Revoked, event("revoked")).await,
        Err(DbError::Conflict)
    ));
    let changed = KeyRecord { name: "Lab".into(), generation: 4, expires_at: None, ..record.clone() };
    db.audited(row()).update_key(changed.clone(), at(70), event("changed")).await.unwrap();
    assert_eq!(only_key(&db).await.record, changed);
    db.audited(row()).revoke_key(record.id, ending(50, "cli:0"), event("revoked")).await.unwrap();
    db.audited(row())
        .revoke_key(record.id, Ending { hidden: true, ..ending(60, "cli:0") }, event("revoked"))
        .await
        .unwrap();
    assert!(only_key(&db).await.record.hidden, "hiding needs no second end");
    let kinds =
        ["created", "disabled", "enabled", "changed", "revoked"].map(|what| format!("api_key.{what}"));
    assert_eq!(told(&db).await, kinds);
}

#[tokio::test]
async fn a_sealed_token_goes_with_the_key() {
    let (_folder, db, record) = with_one_key().await;
    assert_eq!(db.audited(row()).reveal_key(record.id, event("revealed")).await.unwrap(), None);
    db.audited(row())
        .rotate_key(record.id, secret("b"), None, Some(vec![1, 2]), event("rotated"))
        .await
        .unwrap();
    assert!(only_key(&db).await.record.recoverable);
    assert_eq!(db.audited(row()).reveal_key(record.id, event("revealed")).await.unwrap(), Some(vec![1, 2]));
    db.audited(row()).revoke_key(record.id, ending(50, "cli:0"), event("revoked")).await.unwrap();
    assert!(!only_key(&db).await.record.recoverable);
    assert_eq!(db.audited(row()).reveal_key(record.id, event("revealed")).await.unwrap(), None);
    let kinds = ["created", "rotated", "revealed", "revoked"].map(|what| format!("api_key.{what}"));
    assert_eq!(told(&db).await, kinds, "nothing shown, nothing told");
}

#[tokio::test]
async fn a_new_address_is_told_once_and_the_last_ones_are_kept() {
    let (_folder, db, record) = with_one_key().await;
    let used = |ms: i64, addresses: &[&str]| UsageDelta {
        id: record.id,
        uses: 1,
        last_used_at: at(ms),
        last_used_ip: None,
        current_used_at: None,
        previous_used_at: None,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    };
    let new = db.add_key_usage(vec![used(1, &["192.0.2.1", "2001:db8::"])]).await.unwrap();
    assert_eq!(new.iter().map(|new| new.known).collect::<Vec<_>>(), [0, 1]);
    assert!(db.add_key_usage(vec![used(2, &["192.0.2.1"])]).await.unwrap().is_empty());
    let events = db.events_about("key:0000000000ab".into(), i64::MAX, 1).await.unwrap();
    assert_eq!(events[0].event.data["address"], "2001:db8::/64");
    assert_eq!(events[0].event.kind, "api_key.new_address");
    for n in 0..40 {
        let new = db.add_key_usage(vec![used(3 + n, &[&format!("198.51.100.{n}")])]).await.unwrap();
        assert_eq!(new.len(), 1);
    }
    let again = db.add_key_usage(vec![used(90, &["198.51.100.39", "192.0.2.1"])]).await.unwrap();
    assert_eq!(again.len(), 1, "the first one was forgotten, the last one was not");
    assert_eq!(again[0].known, 32);
}

#[tokio::test]
async fn each_warning_comes_once_and_a_new_end_begins_anew() {
    const DAY: i64 = 24 * 3600 * 1000;
    let (_folder, db, record) = with_one_key().await;
    let ends = async |now: i64, end: i64| {
        let changed = KeyRecord { expires_at: Some(at(end)), ..record.clone() };
        db.audited(row()).update_key(changed, at(now), event("changed")).await.unwrap();
    };
    let warned = async |now: i64| -> Vec<u8> {
        db.warn_of_expiry(at(now)).await.unwrap().into_iter().map(|(_, days)| days).collect()
    };
    ends(0, 40 * DAY).await;
    let days = [(9, vec![]), (10, vec![30]), (11, vec![]), (33, vec![7]), (38, vec![]), (39, vec![1])];
    for (day, expected) in days {
        assert_eq!(warned(day * DAY).await, expected, "day {day}");
    }
    assert!(warned(40 * DAY).await.is_empty(), "it has ended");
    ends(40 * DAY, 45 * DAY).await;
    assert!(warned(40 * DAY).await.is_empty(), "who sets five days knows that they are under seven");
    assert_eq!(warned(44 * DAY).await, [1]);
    ends(44 * DAY, 100 * DAY).await;
    // Two warnings at once would say the same twice.
    assert_eq!(warned(95 * DAY).await, [7]);
    db.audited(row()).revoke_key(record.id, ending(50, "cli:0"), event("revoked")).await.unwrap();
    assert!(warned(100 * DAY - 1).await.is_empty());
}
