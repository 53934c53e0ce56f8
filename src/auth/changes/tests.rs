//! Changes on a real database, with a clock that moves when told to.

use super::super::keys::tests::{CLI, Fixture, named};
use super::super::minting::tests::invalid;
use super::*;
use crate::access::kind::Kind;
use crate::access::roles::Grant;
use crate::access::scopes::Scope;
use crate::auth::Refusal;

const HOUR: Duration = Duration::from_secs(3600);

fn because(reason: &str) -> Revocation {
    Revocation { reason: Some(reason.to_owned()), ..Revocation::default() }
}

#[tokio::test]
async fn both_secrets_work_during_the_grace_and_then_the_new_one() {
    let mut fixture = Fixture::new().await;
    let (old, id) = fixture.make(named("a")).await;
    fixture.ring.verify(&old, None).await.unwrap();
    let generation = fixture.ring.get(&id).unwrap().record.generation;
    let rotated = fixture.ring.rotate(&id, HOUR, &CLI).await.unwrap();
    let runs = fixture.ring.argon2_runs();
    let new = rotated.token.text().reveal().clone();
    let end = fixture.clock.now() + SignedDuration::from_hours(1);
    assert_eq!(rotated.previous_valid_until, Some(end));
    fixture.ring.verify(&old, None).await.unwrap();
    assert_eq!(fixture.ring.argon2_runs(), runs + 1, "a new generation remembers nothing");
    assert_eq!(fixture.ring.get(&id).unwrap().previous_last_used_at, Some(fixture.clock.now()));

    fixture.ring.flush_usage().await.unwrap();
    fixture.restart().await;
    let view = fixture.ring.get(&id).unwrap();
    assert_eq!((view.record.generation, view.previous_valid_until), (generation + 1, Some(end)));
    assert_eq!(view.previous_last_used_at, Some(fixture.clock.now()));
    fixture.pass(3599).await;
    for token in [&old, &new] {
        assert_eq!(fixture.ring.verify(token, None).await.unwrap().caller.key_id, Some(id));
    }
    fixture.pass(1).await;
    assert_eq!(fixture.refusal(&old).await, Refusal::BadSecret);
    fixture.ring.verify(&new, None).await.unwrap();
    assert_eq!(fixture.ring.get(&id).unwrap().previous_valid_until, None);

    let rotated = fixture.ring.rotate(&id, Duration::ZERO, &CLI).await.unwrap();
    assert_eq!(rotated.previous_valid_until, None);
    assert_eq!(fixture.refusal(&new).await, Refusal::BadSecret);
    fixture.ring.verify(rotated.token.text().reveal(), None).await.unwrap();
}

#[tokio::test]
async fn a_grace_has_its_bounds() {
    let fixture = Fixture::new().await;
    let end = fixture.clock.now() + SignedDuration::from_hours(2);
    let (_, id) = fixture.make(NewKey { expires_at: Some(end), ..named("a") }).await;
    let rotated = fixture.ring.rotate(&id, LONGEST_GRACE, &CLI).await.unwrap();
    assert_eq!(rotated.previous_valid_until, Some(end), "never past the key's end");
    let too_long = fixture.ring.rotate(&id, LONGEST_GRACE + Duration::from_secs(1), &CLI).await;
    assert_eq!(invalid(too_long).0, "grace_seconds");
    fixture.pass(2 * 3600).await;
    let late = fixture.ring.rotate(&id, HOUR, &CLI).await;
    assert!(matches!(late, Err(AuthError::State(Standing::Expired))));
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_and_for_good() {
    let mut fixture = Fixture::new().await;
    let (token, id) = fixture.make(named("a")).await;
    fixture.ring.verify(&token, None).await.unwrap();
    fixture.ring.revoke(&id, because(" lost "), &CLI).await.unwrap();
    assert_eq!(fixture.refusal(&token).await, Refusal::Revoked);
    fixture.ring.revoke(&id, because("again"), &CLI).await.unwrap();
    let rotated = fixture.ring.rotate(&id, HOUR, &CLI).await;
    assert!(matches!(rotated, Err(AuthError::State(Standing::Revoked))));
    fixture.restart().await;
    assert_eq!(fixture.refusal(&token).await, Refusal::Revoked);
    let view = fixture.ring.get(&id).unwrap();
    assert_eq!(view.status, Standing::Revoked);
    assert_eq!(view.record.revoked_reason.as_deref(), Some("lost"));
    assert_eq!(view.record.revoked_by.as_deref(), Some("cli:0"));
    let unknown = fixture.ring.revoke(&"ffffffffffff".parse().unwrap(), because("x"), &CLI).await;
    assert!(matches!(unknown, Err(AuthError::NotFound)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_starts_after_the_revocation_is_let_in() {
    let fixture = Fixture::new().await;
    let (token, id) = fixture.make(named("a")).await;
    fixture.ring.verify(&token, None).await.unwrap();
    let revoked = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (ring, token, revoked) = (fixture.ring.clone(), token.clone(), revoked.clone());
            tokio::spawn(async move {
                let (mut accepted, mut late) = (0, 0);
                for _ in 0..200_000 {
                    let started_after = revoked.load(std::sync::atomic::Ordering::SeqCst);
                    match ring.verify(&token, None).await {
                        Ok(_) if started_after => late += 1,
                        Ok(_) => accepted += 1,
                        Err(Refusal::Revoked) => break,
                        Err(other) => panic!("{other:?}"),
                    }
                    tokio::task::yield_now().await;
                }
                (accepted, late)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    fixture.ring.revoke(&id, Revocation::default(), &CLI).await.unwrap();
    revoked.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut total = 0;
    for client in clients {
        let (accepted, late) = client.await.unwrap();
        assert_eq!(late, 0);
        total += accepted;
    }
    assert!(total > 0, "the key was in use before");
    assert_eq!(fixture.refusal(&token).await, Refusal::Revoked);
}

#[tokio::test]
async fn what_the_disk_refuses_is_said_and_never_opens_anything() {
    let mut fixture = Fixture::new().await;
    let (token, id) = fixture.make(named("a")).await;
    fixture.ring.verify(&token, None).await.unwrap();
    fixture.db.stop_writer().await;

    let created = fixture.ring.create(named("b"), &CLI).await;
    assert!(matches!(created, Err(AuthError::Db(_))));
    assert_eq!(fixture.ring.list().len(), 1, "no token that a restart forgets");
    let rotated = fixture.ring.rotate(&id, Duration::ZERO, &CLI).await;
    assert!(matches!(rotated, Err(AuthError::Db(_))));
    fixture.ring.verify(&token, None).await.unwrap();
    let revoked = fixture.ring.revoke(&id, because("stolen"), &CLI).await;
    assert!(matches!(revoked, Err(AuthError::NotFinal(_))));
    assert_eq!(fixture.refusal(&token).await, Refusal::Revoked);
    let again = fixture.ring.revoke(&id, Revocation::default(), &CLI).await;
    assert!(matches!(again, Err(AuthError::NotFinal(_))), "still not final");

    fixture.reopen().await;
    fixture.ring.revoke(&id, Revocation::default(), &CLI).await.unwrap();
    fixture.restart().await;
    assert_eq!(fixture.refusal(&token).await, Refusal::Revoked);
}

#[tokio::test]
async fn a_change_goes_on_when_its_caller_has_gone() {
    let fixture = Fixture::new().await;
    {
        let mut asked = Box::pin(fixture.ring.create(named("a"), &CLI));
        let asked_once = tokio::time::timeout(Duration::from_millis(1), asked.as_mut()).await;
        assert!(asked_once.is_err(), "hashing takes longer");
    }
    for _ in 0..1000 {
        if fixture.ring.list().len() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the key was never made");
}

fn by_account(fixture: &Fixture, name: &str) -> crate::access::records::AccountRecord {
    fixture.ring.list_accounts().into_iter().find(|account| account.name == name).unwrap()
}

async fn told(fixture: &Fixture, id: &KeyId) -> Vec<String> {
    let events = fixture.ring.key_events(id, None, 100).await.unwrap();
    let kinds = events.into_iter().rev().map(|logged| logged.event.kind);
    kinds.map(|kind| kind.trim_start_matches("api_key.").to_owned()).collect()
}

#[tokio::test]
async fn a_disabled_key_comes_back_and_a_failed_row_is_said() {
    let mut fixture = Fixture::new().await;
    let (token, id) = fixture.make(named("a")).await;
    fixture.ring.verify(&token, None).await.unwrap();
    fixture.ring.disable(&id, &CLI).await.unwrap();
    assert_eq!(fixture.refusal(&token).await, Refusal::Disabled);
    fixture.restart().await;
    assert_eq!(fixture.refusal(&token).await, Refusal::Disabled);
    fixture.ring.enable(&id, &CLI).await.unwrap();
    fixture.ring.verify(&token, None).await.unwrap();

    fixture.db.stop_writer().await;
    let failed = fixture.ring.disable(&id, &CLI).await;
    assert!(matches!(failed, Err(AuthError::NotFinal(_))));
    assert_eq!(fixture.refusal(&token).await, Refusal::Disabled, "refused all the same");
    assert!(matches!(fixture.ring.enable(&id, &CLI).await, Err(AuthError::Db(_))));
    assert_eq!(fixture.refusal(&token).await, Refusal::Disabled);
    fixture.reopen().await;
    fixture.ring.verify(&token, None).await.unwrap();
    fixture.ring.revoke(&id, Revocation::default(), &CLI).await.unwrap();
    for result in [fixture.ring.disable(&id, &CLI).await, fixture.ring.enable(&id, &CLI).await] {
        assert!(matches!(result, Err(AuthError::State(Standing::Revoked))));
    }
    assert_eq!(told(&fixture, &id).await, ["created", "disabled", "enabled", "revoked"]);
}

#[tokio::test]
async fn the_account_key_is_one_and_for_who_may() {
    let mut fixture = Fixture::new().await;
    assert!(fixture.ring.account_key().is_none());
    assert!(matches!(fixture.ring.reset_account_key(HOUR, &CLI).await, Err(AuthError::NotFound)));
    let admin = NewKey { kind: Kind::Admin, ..named("chief") };
    let by = async |fixture: &Fixture, new: NewKey| {
        let (token, record) = fixture.ring.create(new, &CLI).await.unwrap();
        let caller = fixture.ring.verify(token.text().reveal(), None).await.unwrap().caller;
        (caller.actor(), record.owner)
    };
    let (chief, _) = by(&fixture, admin).await;
    let helper_id = fixture.ring.ensure_user("helper", Role::Admin).await.unwrap();
    let helper = NewKey { kind: Kind::Admin, owner: Some("helper".into()), ..named("helper") };
    let (helper, _) = by(&fixture, helper).await;
    let (operator, operator_id) = by(
        &fixture,
        NewKey {
            owner: Some("clinic".into()),
            scopes: Some([Scope::KeysReveal, Scope::KeysManage].into_iter().collect()),
            ..named("operator")
        },
    )
    .await;
    for who in [&helper, &operator] {
        assert!(matches!(fixture.ring.generate_account_key(who).await, Err(AuthError::Forbidden(_))));
    }
    let (token, record) = fixture.ring.generate_account_key(&chief).await.unwrap();
    assert!(record.recoverable && record.expires_at.is_none());
    assert_eq!(fixture.ring.account_key().unwrap().owner_name, "account");
    assert!(matches!(fixture.ring.generate_account_key(&CLI).await, Err(AuthError::AccountKeyExists)));
    let caller = fixture.ring.verify(token.text().reveal(), None).await.unwrap().caller;
    assert!(caller.may(Scope::FaxRoute) && caller.may(Scope::InboundManage) && !caller.may(Scope::KeysRead));

    for who in [&helper, &operator] {
        assert!(matches!(fixture.ring.reveal_account_key(who).await, Err(AuthError::Forbidden(_))));
        assert!(matches!(fixture.ring.reveal(&record.id, who).await, Err(AuthError::Forbidden(_))));
        assert!(matches!(fixture.ring.reset_account_key(HOUR, who).await, Err(AuthError::Forbidden(_))));
        assert!(matches!(fixture.ring.rotate(&record.id, HOUR, who).await, Err(AuthError::Forbidden(_))));
        assert!(matches!(fixture.ring.disable(&record.id, who).await, Err(AuthError::Forbidden(_))));
        let grants = fixture.ring.set_grants(helper_id, vec![Grant::AccountKeyShow], who).await;
        assert!(matches!(grants, Err(AuthError::Forbidden(_))));
    }
    for id in [helper_id, operator_id] {
        let grants = vec![Grant::AccountKeyShow, Grant::AccountKeyShow];
        assert_eq!(fixture.ring.set_grants(id, grants, &CLI).await.unwrap().grants.len(), 1);
    }
    for who in [&helper, &operator, &chief, &CLI] {
        let shown = fixture.ring.reveal_account_key(who).await.unwrap();
        assert_eq!(shown.reveal(), token.text().reveal());
    }
    assert!(matches!(fixture.ring.reset_account_key(HOUR, &helper).await, Err(AuthError::Forbidden(_))));
    let reset = fixture.ring.reset_account_key(HOUR, &chief).await.unwrap();
    fixture.restart().await;
    assert_eq!(by_account(&fixture, "helper").grants, [Grant::AccountKeyShow]);
    let shown = fixture.ring.reveal_account_key(&CLI).await.unwrap();
    assert_eq!(shown.reveal(), reset.token.text().reveal());
    fixture.ring.revoke(&record.id, Revocation::default(), &CLI).await.unwrap();
    assert!(fixture.ring.account_key().is_none());
    fixture.ring.generate_account_key(&CLI).await.unwrap();
}

#[tokio::test]
async fn new_addresses_are_told_with_the_flush() {
    let fixture = Fixture::new().await;
    let (token, id) = fixture.make(named("a")).await;
    for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "192.0.2.1"] {
        fixture.ring.verify(&token, Some(address.parse().unwrap())).await.unwrap();
    }
    assert_eq!(told(&fixture, &id).await, ["created"], "nothing is written while requests are served");
    fixture.ring.flush_usage().await.unwrap();
    fixture.ring.verify(&token, Some("192.0.2.2".parse().unwrap())).await.unwrap();
    fixture.ring.flush_usage().await.unwrap();
    let events = fixture.ring.key_events(&id, None, 3).await.unwrap();
    let addresses: Vec<_> = events.iter().map(|logged| logged.event.data["address"].clone()).collect();
    assert_eq!(addresses, ["2001:db8::/64", "192.0.2.2", "192.0.2.1"]);
    assert_eq!(told(&fixture, &id).await.len(), 4);
}

#[tokio::test]
async fn an_owner_has_so_many_keys_and_no_more() {
    let fixture = Fixture::new().await;
    let (_, id) = fixture.make(NewKey { owner: Some("clinic".into()), ..named("a") }).await;
    {
        // Copies of one entry under other ids, since hashing a thousand secrets takes minutes.
        let mut state = fixture.ring.state_mut();
        let entry = state.keys[&id].clone();
        while state.keys.len() < KEYS_PER_OWNER {
            state.keys.insert(KeyId::generate().unwrap(), entry.clone());
        }
    }
    let one_more = || fixture.ring.create(NewKey { owner: Some("clinic".into()), ..named("b") }, &CLI);
    assert_eq!(invalid(one_more().await).0, "owner");
    fixture.make(NewKey { owner: Some("lab".into()), ..named("c") }).await;
    fixture.ring.revoke(&id, Revocation::default(), &CLI).await.unwrap();
    one_more().await.unwrap();
}

#[tokio::test]
async fn warnings_come_from_the_clock() {
    let fixture = Fixture::new().await;
    let end = fixture.clock.now() + SignedDuration::from_hours(24 * 40);
    let (_, id) = fixture.make(NewKey { expires_at: Some(end), ..named("a") }).await;
    let mut warned = Vec::new();
    for _ in 0..45 {
        warned.extend(fixture.ring.warn_of_expiry().await.unwrap());
        fixture.pass(24 * 3600).await;
    }
    assert_eq!(warned, [(id, 30), (id, 7), (id, 1)]);
    assert_eq!(told(&fixture, &id).await, ["created", "expiring", "expiring", "expiring"]);
}
