//! What orders for keys are refused for, and what they make.

use std::time::Duration;

use super::super::keys::tests::{CLI, Fixture, named};
use super::*;
use crate::auth::Revocation;

const HOUR: Duration = Duration::from_secs(3600);

fn scopes(scopes: &[Scope]) -> Option<ScopeSet> {
    Some(scopes.iter().copied().collect())
}

async fn caller_of(fixture: &Fixture, new: NewKey) -> Actor {
    let (token, _) = fixture.make(new).await;
    fixture.ring.verify(&token, None).await.unwrap().caller.actor()
}

#[track_caller]
pub(in crate::auth) fn invalid<T: std::fmt::Debug>(result: Result<T, AuthError>) -> (&'static str, String) {
    match result.unwrap_err() {
        AuthError::Invalid { field, message } => (field, message),
        other => panic!("{other:?}"),
    }
}

const TOKEN: &str = "fbk_live_0123456789ab_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLM";

#[tokio::test]
async fn an_order_is_checked_field_by_field() {
    let fixture = Fixture::new().await;
    let now = fixture.clock.now();
    let days = |days: i64| Some(now + SignedDuration::from_hours(24 * days));
    let cases: Vec<(NewKey, &str)> = vec![
        (named(""), "name"),
        (named("   "), "name"),
        (named("two\nlines"), "name"),
        (named(&"x".repeat(101)), "name"),
        (NewKey { note: Some("x".repeat(501)), ..named("a") }, "note"),
        (named(&format!("for {TOKEN}")), "name"),
        (NewKey { note: Some(format!("was {TOKEN}")), ..named("a") }, "note"),
        (NewKey { owner: Some(TOKEN[..40].to_owned()), ..named("a") }, "owner"),
        (NewKey { scopes: Some(ScopeSet::EMPTY), ..named("a") }, "scopes"),
        (NewKey { expires_at: Some(now), ..named("a") }, "expires_at"),
        (NewKey { expires_at: days(1), not_before: days(2), ..named("a") }, "expires_at"),
        (NewKey { kind: Kind::Admin, expires_at: days(91), ..named("a") }, "expires_at"),
        (NewKey { kind: Kind::Admin, scopes: scopes(&[Scope::FaxSend]), ..named("a") }, "scopes"),
        (NewKey { kind: Kind::Admin, owner: Some("clinic".into()), ..named("a") }, "owner"),
        (NewKey { kind: Kind::Account, ..named("a") }, "kind"),
        (NewKey { kind: Kind::Restricted, expires_at: days(1), ..named("a") }, "scopes"),
        (NewKey { kind: Kind::Restricted, scopes: scopes(&[Scope::FaxSend]), ..named("a") }, "kind"),
        (
            NewKey { allowed_origins: vec!["https://app.example".parse().unwrap()], ..named("a") },
            "allowed_origins",
        ),
        (NewKey { limits: Limits { per_minute: Some(0), ..Limits::default() }, ..named("a") }, "limits"),
        (
            NewKey { limits: Limits { pages_per_day: Some(100_001), ..Limits::default() }, ..named("a") },
            "limits",
        ),
        (NewKey { owner: Some("".into()), ..named("a") }, "owner"),
        (
            NewKey { resources: serde_json::from_str(r#"{"mailboxes":["front"]}"#).unwrap(), ..named("a") },
            "resources",
        ),
    ];
    for (new, expected) in cases {
        let shown = format!("{new:?}");
        assert_eq!(invalid(fixture.ring.create(new, &CLI).await).0, expected, "{shown}");
    }
    assert_eq!(fixture.ring.list().len(), 0);
    assert_eq!(fixture.ring.argon2_runs(), 0, "nothing refused was hashed");
}

#[tokio::test]
async fn kinds_set_what_they_promise() {
    let fixture = Fixture::new().await;
    let (token, id) = fixture.make(NewKey { kind: Kind::Development, ..named(" dev ") }).await;
    assert!(token.starts_with("fbk_test_"));
    assert_eq!(fixture.ring.get(&id).unwrap().record.name, "dev");
    let (token, id) = fixture.make(NewKey { kind: Kind::Admin, ..named("admin") }).await;
    assert!(token.starts_with("fbk_live_"));
    let record = fixture.ring.get(&id).unwrap().record;
    assert_eq!(record.expires_at, Some(fixture.clock.now() + SignedDuration::from_hours(90 * 24)));
    assert!(fixture.ring.verify(&token, None).await.unwrap().caller.may(Scope::Admin));
    let bounded = NewKey { ip_allow: vec!["10.0.0.0/8".parse().unwrap()], ..named("browser") };
    let restricted = NewKey { kind: Kind::Restricted, scopes: scopes(&[Scope::FaxSend]), ..bounded };
    fixture
        .make(NewKey { allowed_origins: vec!["https://app.example".parse().unwrap()], ..restricted })
        .await;
}

#[tokio::test]
async fn administrators_name_owners_and_others_do_not() {
    let mut fixture = Fixture::new().await;
    let admin = caller_of(&fixture, NewKey { kind: Kind::Admin, ..named("admin") }).await;
    let for_clinic = |name: &str| NewKey { owner: Some("Clinic".into()), ..named(name) };
    let (_, first) = fixture.ring.create(for_clinic("a"), &admin).await.unwrap();
    let (_, second) = fixture.ring.create(for_clinic("b"), &CLI).await.unwrap();
    assert_eq!(first.owner, second.owner);
    let account = fixture.ring.state().account_named("clinic").unwrap();
    assert_eq!((account.kind, account.role), (AccountKind::Service, Role::Operator));
    fixture.restart().await;
    assert_eq!(fixture.ring.get(&first.id).unwrap().owner_name, "Clinic");

    let manager = NewKey { scopes: scopes(&[Scope::FaxSend, Scope::KeysManage]), ..for_clinic("m") };
    let manager = caller_of(&fixture, manager).await;
    let (_, own) = fixture.ring.create(NewKey { owner: None, ..named("own") }, &manager).await.unwrap();
    assert_eq!(own.owner, account.id);
    assert_eq!(own.created_by, manager.to_string());
    let foreign = NewKey { owner: Some("lab".into()), ..named("foreign") };
    assert_eq!(invalid(fixture.ring.create(foreign, &manager).await).0, "owner");
    let admin_kind = NewKey { kind: Kind::Admin, ..named("x") };
    assert_eq!(invalid(fixture.ring.create(admin_kind, &admin).await).0, "kind");

    let (_, elsewhere) = fixture.make(NewKey { owner: Some("lab".into()), ..named("elsewhere") }).await;
    let reached = fixture.ring.revoke(&elsewhere, Revocation::default(), &manager).await;
    assert!(matches!(reached, Err(AuthError::Forbidden(_))));
    fixture.ring.rotate(&elsewhere, HOUR, &admin).await.unwrap();
    let kind = fixture.ring.ensure_user("clinic", Role::Admin).await;
    assert_eq!(invalid(kind).0, "name");
}

#[tokio::test]
async fn a_key_makes_and_rotates_only_within_itself() {
    let fixture = Fixture::new().await;
    let end = fixture.clock.now() + SignedDuration::from_hours(10);
    let maker = NewKey {
        owner: Some("clinic".into()),
        scopes: scopes(&[Scope::FaxSend, Scope::FaxRead, Scope::KeysManage]),
        resources: serde_json::from_str(r#"{"to_prefixes":["+1555"]}"#).unwrap(),
        ip_allow: vec!["10.0.0.0/8".parse().unwrap()],
        expires_at: Some(end),
        ..named("maker")
    };
    let (token, _) = fixture.make(maker.clone()).await;
    let maker_at = Some("10.1.1.1".parse().unwrap());
    let by = fixture.ring.verify(&token, maker_at).await.unwrap().caller.actor();

    // What the order leaves open is bounded as the maker is.
    let (_, record) = fixture.ring.create(named("child"), &by).await.unwrap();
    assert_eq!(record.scopes, scopes(&[Scope::FaxSend, Scope::FaxRead]).unwrap());
    assert_eq!((&record.resources, &record.ip_allow), (&maker.resources, &maker.ip_allow));
    assert_eq!(record.expires_at, Some(end));

    let beyond = [
        (NewKey { scopes: scopes(&[Scope::FaxCancel]), ..named("x") }, "scopes"),
        (NewKey { scopes: Some(ScopeSet::ALL), ..named("x") }, "scopes"),
        (
            NewKey { resources: serde_json::from_str(r#"{"to_prefixes":["+1"]}"#).unwrap(), ..named("x") },
            "resources",
        ),
        (
            NewKey { resources: serde_json::from_str(r#"{"all_jobs":true}"#).unwrap(), ..named("x") },
            "resources",
        ),
        (NewKey { ip_allow: vec!["11.0.0.0/8".parse().unwrap()], ..named("x") }, "ip_allow"),
        (NewKey { expires_at: Some(end + SignedDuration::from_secs(1)), ..named("x") }, "expires_at"),
    ];
    for (new, expected) in beyond {
        assert_eq!(invalid(fixture.ring.create(new, &by).await).0, expected);
    }
    let within = NewKey {
        scopes: scopes(&[Scope::FaxRead]),
        resources: serde_json::from_str(r#"{"to_prefixes":["+15551"]}"#).unwrap(),
        ip_allow: vec!["10.2.0.0/16".parse().unwrap()],
        expires_at: Some(end - SignedDuration::from_secs(1)),
        ..named("within")
    };
    let (_, within) = fixture.ring.create(within, &by).await.unwrap();
    fixture.ring.rotate(&within.id, HOUR, &by).await.unwrap();

    let wider = NewKey { owner: Some("clinic".into()), ..named("wider") };
    let (_, wider) = fixture.make(wider).await;
    let rotated = fixture.ring.rotate(&wider, HOUR, &by).await;
    assert!(matches!(rotated, Err(AuthError::Forbidden(_))), "its new token would be beyond the maker");

    let reader =
        NewKey { owner: Some("clinic".into()), scopes: scopes(&[Scope::FaxRead]), ..named("reader") };
    let reader = caller_of(&fixture, reader).await;
    assert!(matches!(fixture.ring.create(named("x"), &reader).await, Err(AuthError::Forbidden(_))));
    let tester = NewKey {
        kind: Kind::Development,
        scopes: scopes(&[Scope::KeysManage, Scope::FaxSend]),
        ..named("t")
    };
    let tester = caller_of(&fixture, tester).await;
    assert_eq!(invalid(fixture.ring.create(named("live"), &tester).await).0, "kind");
    let child = NewKey { kind: Kind::Development, ..named("child") };
    fixture.ring.create(child, &tester).await.unwrap();
}
