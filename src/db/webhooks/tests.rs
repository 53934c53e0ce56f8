//! The queue of deliveries, against its sentences.

use super::*;
use crate::access::audit::{Action, Context, Target};
use crate::secret::Secret;

/// A database with one webhook.
async fn open(folder: &std::path::Path) -> (Db, WebhookId) {
    let db = Db::open(&crate::db::file_in(folder)).unwrap();
    db.start_audit(&Secret::new([7; 32]));
    let (id, now) = (WebhookId::new(), Timestamp::UNIX_EPOCH);
    let webhook = Webhook {
        id,
        name: "x".into(),
        url: "https://hooks.example.org/".into(),
        types: vec!["fax.*".into()],
        is_enabled: true,
        sealed_secret: vec![1, 2, 3],
        previous: None,
        cursor: 0,
        failures: 0,
        resting_until: None,
        last_success_at: None,
        last_failure_at: None,
        created_at: now,
        created_by: "test".into(),
        updated_at: now,
    };
    let stored = db.audited(event(id)).insert_webhook(webhook).await.unwrap();
    assert_eq!(db.webhook(id).unwrap(), Some(stored));
    (db, id)
}

fn event(id: WebhookId) -> crate::access::audit::AuditEvent {
    Context::cli(0).event(Action::WebhookCreated, Target::new("webhook", id), Timestamp::UNIX_EPOCH)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[tokio::test]
async fn the_cursor_moves_with_what_it_passes_and_only_from_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (db, id) = open(folder.path()).await;
    let forget = at(-1);
    db.queue_deliveries(id, (0, 10), vec![3, 7], at(5), forget).await.unwrap();
    // Somebody who read before that comes too late.
    db.queue_deliveries(id, (0, 12), vec![3, 7, 11], at(6), forget).await.unwrap();
    assert_eq!(db.webhook(id).unwrap().unwrap().cursor, 10);
    let next = db.next_delivery(id, at(4), 100).await.unwrap();
    assert_eq!((next.due.is_none(), next.next_at, next.pending), (true, Some(at(5)), 2));
    let (due, event) = db.next_delivery(id, at(5), 100).await.unwrap().due.unwrap();
    assert_eq!((due.seq, due.tries, event), (3, 0, None));

    let failed = Tried {
        at: at(5),
        state: DeliveryState::Pending,
        next_try_at: at(9),
        status: Some(500),
        error: Some("no".into()),
        failures: 0,
        resting_until: Some(at(8)),
    };
    db.store_try(id, 3, failed.clone()).await.unwrap();
    let webhook = db.webhook(id).unwrap().unwrap();
    assert_eq!(
        (webhook.failures, webhook.resting_until, webhook.last_failure_at),
        (1, Some(at(8)), Some(at(5)))
    );
    // One that was under way while somebody ended the failures puts nobody to rest.
    db.store_try(id, 9, Tried { resting_until: Some(at(99)), ..failed.clone() }).await.unwrap();
    let webhook = db.webhook(id).unwrap().unwrap();
    assert_eq!((webhook.failures, webhook.resting_until), (2, Some(at(8))));
    assert_eq!(db.next_delivery(id, at(6), 100).await.unwrap().due.unwrap().0.seq, 7, "later ones go on");
    let taken =
        Tried { at: at(9), state: DeliveryState::Delivered, status: Some(204), error: None, ..failed };
    db.store_try(id, 3, Tried { resting_until: None, ..taken }).await.unwrap();
    let webhook = db.webhook(id).unwrap().unwrap();
    assert_eq!((webhook.failures, webhook.resting_until, webhook.last_success_at), (0, None, Some(at(9))));
    let delivered = db.deliveries(id, Some(DeliveryState::Delivered), i64::MAX, 10).await.unwrap();
    assert_eq!((delivered.len(), delivered[0].tries, delivered[0].ended_at), (1, 2, Some(at(9))));
    let all = db.deliveries(id, None, i64::MAX, 10).await.unwrap();
    assert_eq!(all.iter().map(|delivery| delivery.seq).collect::<Vec<_>>(), [7, 3]);
    // What ended long ago is forgotten when the cursor moves on.
    db.queue_deliveries(id, (10, 11), Vec::new(), at(20), at(10)).await.unwrap();
    assert_eq!(db.deliveries(id, None, i64::MAX, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn many_deliveries_are_changed_in_portions() {
    let folder = tempfile::tempdir().unwrap();
    let (db, id) = open(folder.path()).await;
    let most = i64::from(DELIVERIES_AT_ONCE);
    let many = most + 10;
    db.queue_deliveries(id, (0, many), (1..=many).collect(), at(0), at(-1)).await.unwrap();
    assert_eq!(db.next_delivery(id, at(0), 500).await.unwrap().pending, 500);
    assert_eq!(db.bury_deliveries(id, at(-1), at(1)).await.unwrap(), 0);
    for buried in [DELIVERIES_AT_ONCE as usize, 10, 0] {
        assert_eq!(db.bury_deliveries(id, at(0), at(1)).await.unwrap(), buried);
    }
    assert!(db.audited(event(id)).replay_dead(id, at(2)).await.unwrap());
    assert_eq!(db.deliveries(id, Some(DeliveryState::Dead), i64::MAX, 5000).await.unwrap().len(), 10);
    assert!(!db.replay_more_dead(id, at(2)).await.unwrap());
    assert_eq!(db.bury_deliveries(id, at(1), at(3)).await.unwrap(), 0, "their time begins anew");
    while db.bury_deliveries(id, at(2), at(3)).await.unwrap() > 0 {}
    assert!(db.forget_deliveries(id).await.unwrap());
    assert!(!db.forget_deliveries(id).await.unwrap());
    assert!(db.deliveries(id, None, i64::MAX, 10).await.unwrap().is_empty());
    db.queue_deliveries(id, (many, many + 1), vec![many + 1], at(4), at(-1)).await.unwrap();
    db.audited(event(id)).delete_webhook(id).await.unwrap();
    assert_eq!(db.webhook(id).unwrap(), None);
    assert!(matches!(db.audited(event(id)).delete_webhook(id).await, Err(DbError::Conflict)));
    assert!(db.next_delivery(id, at(9), 10).await.unwrap().due.is_none());
}
