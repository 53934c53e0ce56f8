//! What policy does to real faxes, on a route that costs money as far as the queue can tell.

use std::time::Duration;

use jiff::Timestamp;

use super::super::{ListFilter, Position};
use super::*;
use crate::fax::job::State;
use crate::fax::outcome::Class;
use crate::fax::policy::{Block, Grounds, Settings};
use crate::id::JobId;
use crate::queue::tests::{Site, admin};

fn noon() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn why(sent: Result<JobId, QueueError>) -> Block {
    match sent {
        Err(QueueError::Blocked(block)) => block,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_closed_number_is_refused_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), noon(), Settings::default()).await;
    assert_eq!(why(site.send("line1", "+4930123456").await), Block::Closed(Range::Abroad));
    assert_eq!(why(site.send("line1", "+19005550100").await), Block::Closed(Range::Premium));
    assert_eq!(why(site.send("simulator", "+19115550100").await), Block::Emergency);
    let all = site.queue.list(ListFilter::default(), Position::Start, 9).await;
    assert_eq!((all.unwrap().total, site.documents()), (0, 0));
    site.send("simulator", "+4930123456").await.unwrap();
    site.send("line1", "+12125550100").await.unwrap();

    site.queue.open_range(Range::Abroad, "our lab".into(), &admin()).await.unwrap();
    site.send("line1", "+4930123456").await.unwrap();
    let reason = "they asked us to stop".to_owned();
    let prefix: Prefix = "+4930".parse().unwrap();
    site.queue.rule(prefix.clone(), Ruling::Block, reason, &admin()).await.unwrap();
    let refused = site.send("simulator", "+4930123456").await.unwrap_err().to_string();
    assert_eq!(refused, "This number is not allowed from here. It was blocked: they asked us to stop.");
    assert!(site.queue.unrule(prefix.clone(), &admin()).await.unwrap());
    assert!(!site.queue.unrule(prefix, &admin()).await.unwrap());
    site.queue.close_range(Range::Abroad, &admin()).await.unwrap();
    assert_eq!(why(site.send("line1", "+4930123456").await), Block::Closed(Range::Abroad));

    let mut rows = site.db.audit_page(None, 100).await.unwrap().rows;
    rows.retain(|row| row.action == "policy.changed");
    let told: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.target.as_str())).collect();
    assert_eq!(
        told,
        [
            ("policy.changed", "policy:abroad"),
            ("policy.changed", "policy:+4930"),
            ("policy.changed", "policy:+4930"),
            ("policy.changed", "policy:abroad")
        ]
    );
    assert!(rows[2].before.as_deref().unwrap().contains("they asked us to stop"));
}

#[tokio::test]
async fn a_number_closed_since_ends_at_its_next_dial_without_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), noon(), Settings::default()).await;
    let waiting = site.send("line1", "+15005550001").await.unwrap();
    let sibling = site.send("line1", "+15005550001").await.unwrap();
    let other = site.send("line1", "+15005550000").await.unwrap();
    site.queue.start();
    let first = site.until(waiting, |job| job.state == State::Waiting).await;
    assert_eq!(first.attempts, 1, "busy once");
    let prefix: Prefix = "+15005550001".parse().unwrap();
    site.queue.rule(prefix, Ruling::Block, "a private line".into(), &admin()).await.unwrap();
    for id in [waiting, sibling] {
        let ended = site.until(id, |job| job.state.is_final()).await;
        let outcome = ended.outcome.unwrap();
        assert_eq!((ended.state, outcome.class), (State::Failed, Class::BlockedByPolicy));
        assert_eq!(outcome.code, "policy_block_list");
        assert_eq!(
            outcome.human,
            "This number is not allowed from here. It was blocked: a private line. It is not dialled; \
             an administrator decides which numbers are allowed."
        );
        let calls = site.queue.attempts(id).await.unwrap().len();
        assert_eq!(calls, usize::from(id == waiting), "no call after it was closed");
    }
    assert_eq!(site.until(other, |job| job.state.is_final()).await.state, State::Delivered);
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn what_would_become_of_a_fax_is_told_and_nothing_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), noon(), Settings::default()).await;
    let foresee = |route: &str, to: &str| {
        site.queue.foresee(&route.into(), &to.parse().unwrap(), 1, None, None).unwrap()
    };
    let closed = foresee("line1", "+4930123456");
    assert_eq!((closed.verdict, closed.spends), (Verdict::Blocked(Block::Closed(Range::Abroad)), true));
    let house = foresee("simulator", "+4930123456");
    assert_eq!((house.verdict, house.spends), (Verdict::Allowed(Grounds::NothingSpent), false));
    assert!(house.hold.is_none());
    site.queue.pause(None, &admin()).await.unwrap();
    assert!(foresee("simulator", "+15005550000").hold.is_some());
    let all = site.queue.list(ListFilter::default(), Position::Start, 9).await.unwrap();
    assert_eq!((all.total, site.documents()), (0, 0));
}
