//! People on a real database, with a clock that moves when told to.

use std::net::IpAddr;

use super::totp::tests::shown_code;
use super::*;
use crate::access::audit::Context;
use crate::access::kind::Kind;
use crate::access::people::PersonRecord;
use crate::access::records::{AccountKind, AccountStatus};
use crate::access::roles::Role;
use crate::access::scopes::Scope;
use crate::auth::keys::tests::{CLI, Fixture, named};
use crate::auth::{Caller, NewKey, Revocation};
use crate::id::AccountId;
use crate::seal::KeyEncryptionKey;

const PASSWORD: &str = "four words in a row";
const OTHER: &str = "another good passphrase";
const DESK: &str = "192.168.1.20";

struct House {
    fixture: Fixture,
    people: People,
    seal: Arc<Seal>,
    _keys: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let keys = tempfile::tempdir().unwrap();
        let seal = Arc::new(Seal::create(&KeyEncryptionKey::load(keys.path(), true).unwrap()).unwrap().0);
        let people = load(&fixture, &seal).await;
        Self { fixture, people, seal, _keys: keys }
    }

    /// A house with this administrator, signed in at the desk.
    async fn of(name: &str) -> (Self, SignedIn) {
        let house = Self::new().await;
        let link = house.people.renew_setup_link(Context::system()).await.unwrap();
        let signed_in = house.people.redeem(redemption(&link, Some(name), DESK)).await.unwrap();
        (house, signed_in)
    }

    async fn restart(&mut self) {
        self.fixture.restart().await;
        self.people = load(&self.fixture, &self.seal).await;
    }

    async fn pass(&self, seconds: u64) {
        self.fixture.pass(seconds).await;
    }

    async fn add(&self, name: &str, role: Role) -> AccountId {
        let password = Some(Secret::new(PASSWORD.to_owned()));
        let new = NewAccount { kind: AccountKind::User, name: name.to_owned(), role, password };
        self.people.create_account(new, &CLI).await.unwrap().0.account.id
    }

    async fn login(&self, name: &str, password: &str, address: &str) -> Result<SignedIn, PeopleError> {
        self.login_with_code(name, password, address, None).await
    }

    async fn login_with_code(
        &self,
        name: &str,
        password: &str,
        address: &str,
        code: Option<&Secret<String>>,
    ) -> Result<SignedIn, PeopleError> {
        let attempt = Attempt {
            username: name.to_owned(),
            password: Secret::new(password.to_owned()),
            code: code.cloned(),
            address: Some(address.parse().unwrap()),
            agent: Some("Browser/1.0".to_owned()),
            replaces: None,
        };
        self.people.login(attempt).await
    }

    fn is_in(&self, signed_in: &SignedIn) -> bool {
        self.people.session(signed_in.token.reveal()).is_some()
    }

    fn second(&self) -> i64 {
        self.fixture.clock.now().as_second()
    }

    /// The row as it is once `holds`; failures are written behind the answer's back.
    async fn person_when(&self, id: AccountId, holds: impl Fn(&PersonRecord) -> bool) -> PersonRecord {
        loop {
            let person = self.fixture.db.person(id).unwrap();
            if holds(&person) {
                return person;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn load(fixture: &Fixture, seal: &Arc<Seal>) -> People {
    People::load(fixture.db.clone(), Ok(seal.clone()), fixture.clock.clone(), fixture.ring.clone())
        .await
        .unwrap()
}

fn redemption(link: &Link, name: Option<&str>, address: &str) -> Redemption {
    Redemption {
        token: link.token.clone(),
        username: name.map(str::to_owned),
        password: Secret::new(PASSWORD.to_owned()),
        address: Some(address.parse().unwrap()),
        agent: None,
    }
}

#[track_caller]
fn wait_of(result: Result<SignedIn, PeopleError>) -> u64 {
    match result {
        Err(PeopleError::TooManyTries { retry_after_s }) => retry_after_s,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_setup_link_makes_one_administrator_from_near_and_in_time() {
    let house = House::new().await;
    assert!(house.people.needs_setup());
    let replaced = house.people.renew_setup_link(Context::system()).await.unwrap();
    let link = house.people.renew_setup_link(Context::system()).await.unwrap();
    let redeem =
        async |link: &Link, address| house.people.redeem(redemption(link, Some("anna"), address)).await;
    assert!(matches!(redeem(&replaced, DESK).await, Err(PeopleError::BadLink)));
    assert!(matches!(redeem(&link, "8.8.8.8").await, Err(PeopleError::TooFar)));
    let nameless = house.people.redeem(redemption(&link, None, DESK)).await;
    assert!(matches!(nameless, Err(PeopleError::Auth(AuthError::Invalid { field: "username", .. }))));
    let taken = house.people.redeem(redemption(&link, Some("LOCAL"), DESK)).await;
    assert!(matches!(taken, Err(PeopleError::Auth(AuthError::Invalid { field: "username", .. }))));
    house.pass(30 * 60).await;
    assert!(matches!(redeem(&link, DESK).await, Err(PeopleError::BadLink)), "too old");

    let link = house.people.renew_setup_link(Context::system()).await.unwrap();
    house.pass(30 * 60 - 1).await;
    let anna = redeem(&link, DESK).await.unwrap();
    assert_eq!((anna.caller.role, anna.caller.label()), (Role::GlobalAdmin, "user:anna".to_owned()));
    assert!(house.is_in(&anna) && !house.people.needs_setup());
    assert!(matches!(redeem(&link, DESK).await, Err(PeopleError::BadLink)), "used");
    assert!(matches!(house.people.renew_setup_link(Context::system()).await, Err(PeopleError::State(_))));
}

#[tokio::test]
async fn two_who_hold_the_setup_link_do_not_both_get_in() {
    let house = House::new().await;
    let link = house.people.renew_setup_link(Context::system()).await.unwrap();
    let (one, other) = tokio::join!(
        house.people.redeem(redemption(&link, Some("anna"), DESK)),
        house.people.redeem(redemption(&link, Some("otto"), DESK))
    );
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    assert_eq!(house.people.accounts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_ends_by_rest_and_by_age_and_survives_a_restart() {
    let (mut house, anna) = House::of("anna").await;
    for _ in 0..23 {
        house.pass(30 * 60 - 1).await;
        assert!(house.is_in(&anna));
    }
    house.people.flush_sessions().await.unwrap();
    let seen = house.people.session_view(&anna.caller).unwrap().last_seen_at;
    house.restart().await;
    assert_eq!(house.people.session_view(&anna.caller).unwrap().last_seen_at, seen);
    let caller = house.people.session(anna.token.reveal()).unwrap();
    assert!(!caller.has_fresh_password(house.fixture.clock.now()));
    house.pass(30 * 60 - 1).await;
    assert!(house.is_in(&anna), "11 h 59 min 36 s");
    house.pass(24).await;
    assert!(!house.is_in(&anna), "twelve hours");

    let again = house.login("ANNA", PASSWORD, DESK).await.unwrap();
    assert_ne!(again.token.reveal(), anna.token.reveal());
    house.pass(30 * 60).await;
    assert!(!house.is_in(&again), "half an hour without a request");
    house.people.flush_sessions().await.unwrap();
    assert!(house.fixture.db.sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_login_ends_the_session_it_replaces() {
    let (house, anna) = House::of("anna").await;
    let attempt = Attempt {
        username: "anna".into(),
        password: Secret::new(PASSWORD.into()),
        code: None,
        address: None,
        agent: None,
        replaces: Some(anna.token.clone()),
    };
    let again = house.people.login(attempt).await.unwrap();
    assert!(house.is_in(&again) && !house.is_in(&anna));
    house.people.logout(&again.caller).await.unwrap();
    assert!(!house.is_in(&again));
    assert!(house.fixture.db.sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_wrong_name_looks_like_a_wrong_password() {
    let (house, _) = House::of("anna").await;
    house.add("otto", Role::Viewer).await;
    let disabled = house.add("gone", Role::Viewer).await;
    let off = Change { status: Some(AccountStatus::Disabled), ..Change::default() };
    house.people.change_account(disabled, off, &CLI).await.unwrap();
    let invited =
        NewAccount { kind: AccountKind::User, name: "new".into(), role: Role::Viewer, password: None };
    house.people.create_account(invited, &CLI).await.unwrap();
    let runs = house.people.parts.hasher.runs();
    let cases = [
        ("otto", OTHER),
        ("nobody", PASSWORD),
        ("gone", PASSWORD),
        ("new", PASSWORD),
        ("local", PASSWORD),
        ("new", ""),
    ];
    for (number, (name, password)) in cases.into_iter().enumerate() {
        let result = house.login(name, password, &format!("192.168.2.{number}")).await;
        assert!(matches!(result, Err(PeopleError::WrongLogin)), "{name}: {result:?}");
    }
    assert_eq!(house.people.parts.hasher.runs() - runs, cases.len() as u64, "each of them was hashed");
    assert_eq!(house.fixture.ring.argon2_runs(), 0, "with permits of their own");
}

#[tokio::test]
async fn five_failures_close_an_address_for_a_quarter_of_an_hour() {
    let (house, _) = House::of("anna").await;
    for number in 0..5 {
        let failed = house.login(&format!("guess{number}"), PASSWORD, "10.0.0.9").await;
        assert!(matches!(failed, Err(PeopleError::WrongLogin)));
    }
    let runs = house.people.parts.hasher.runs();
    assert_eq!(wait_of(house.login("anna", PASSWORD, "10.0.0.9").await), 900);
    assert_eq!(wait_of(house.login("anna", PASSWORD, "::ffff:10.0.0.9").await), 900);
    assert_eq!(house.people.parts.hasher.runs(), runs, "nothing is hashed for it");
    house.login("anna", PASSWORD, "10.0.0.10").await.unwrap();
    house.pass(899).await;
    assert_eq!(wait_of(house.login("anna", PASSWORD, "10.0.0.9").await), 1);
    house.pass(1).await;
    house.login("anna", PASSWORD, "10.0.0.9").await.unwrap();
}

#[tokio::test]
async fn the_delay_of_an_account_grows_and_is_never_a_lock() {
    let (mut house, anna) = House::of("anna").await;
    // From a new address each time, so that only the account's own delay is seen.
    let mut waits = Vec::new();
    for number in 0..14 {
        let address = format!("10.1.{number}.1");
        loop {
            match house.login("Anna", OTHER, &address).await {
                Err(PeopleError::TooManyTries { retry_after_s }) => {
                    waits.push(retry_after_s);
                    house.pass(retry_after_s).await;
                }
                Err(PeopleError::WrongLogin) => break,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    // Whoever keeps guessing keeps neither the desk she works at out, nor the machine itself.
    house.login("anna", PASSWORD, DESK).await.unwrap();
    house.login("anna", PASSWORD, "127.0.0.1").await.unwrap();

    // She is at a new place, and the count of the guesser is known even after a restart.
    let id = anna.caller.owner;
    house.pass(300).await;
    assert!(matches!(house.login("anna", OTHER, "10.2.0.1").await, Err(PeopleError::WrongLogin)));
    house.person_when(id, |person| person.failed_tries == 15).await;
    house.restart().await;
    assert_eq!(wait_of(house.login("anna", PASSWORD, "10.2.0.2").await), 300);
    house.people.unlock(id, &CLI).await.unwrap();
    house.login("anna", PASSWORD, "10.2.0.2").await.unwrap();
    assert_eq!(house.fixture.db.person(id).unwrap().failed_tries, 0);
}

#[tokio::test]
async fn tries_at_the_same_time_count_like_tries_in_a_row() {
    let (house, _) = House::of("anna").await;
    let tries: Vec<_> = (0..12)
        .map(|_| {
            let people = house.people.clone();
            tokio::spawn(async move {
                let attempt = Attempt {
                    username: "anna".into(),
                    password: Secret::new(OTHER.into()),
                    code: None,
                    address: Some("10.0.0.1".parse().unwrap()),
                    agent: None,
                    replaces: None,
                };
                people.login(attempt).await
            })
        })
        .collect();
    let mut looked_at = 0;
    for one in tries {
        looked_at += usize::from(matches!(one.await.unwrap(), Err(PeopleError::WrongLogin)));
    }
    assert_eq!(looked_at, 3, "the fourth has to wait");
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() {
    let (house, here) = House::of("anna").await;
    let elsewhere = house.login("anna", PASSWORD, "192.168.1.21").await.unwrap();
    let change = async |old: &str, new: &str| {
        let (old, new) = (Secret::new(old.to_owned()), Secret::new(new.to_owned()));
        house.people.change_password(&here.caller, old, new, None).await
    };
    assert!(matches!(change(OTHER, PASSWORD).await, Err(PeopleError::WrongLogin)));
    for refused in [PASSWORD, "short", "anna", "password1234"] {
        let error = change(PASSWORD, refused).await.unwrap_err();
        assert!(matches!(error, PeopleError::Auth(AuthError::Invalid { .. })), "{refused}: {error:?}");
    }
    assert!(house.is_in(&elsewhere));
    change(PASSWORD, OTHER).await.unwrap();
    assert!(house.is_in(&here) && !house.is_in(&elsewhere));
    assert!(matches!(house.login("anna", PASSWORD, DESK).await, Err(PeopleError::WrongLogin)));
    house.login("anna", OTHER, DESK).await.unwrap();
}

#[tokio::test]
async fn a_password_counts_as_just_entered_for_five_minutes() {
    let (house, anna) = House::of("anna").await;
    let fresh = |house: &House| {
        let caller = house.people.session(anna.token.reveal()).unwrap();
        house.people.require_fresh_password(&caller).is_ok()
    };
    house.pass(299).await;
    assert!(fresh(&house));
    house.pass(1).await;
    assert!(!fresh(&house));
    let step_up = async |password: &str| {
        house.people.step_up(&anna.caller, Secret::new(password.to_owned()), None).await
    };
    assert!(matches!(step_up(OTHER).await, Err(PeopleError::WrongLogin)));
    assert!(!fresh(&house));
    let until = step_up(PASSWORD).await.unwrap();
    assert_eq!(until.as_second(), house.second() + 300);
    assert!(fresh(&house));
}

#[tokio::test]
async fn tokens_and_admin_keys_are_for_who_just_gave_their_password() {
    let (house, anna) = House::of("anna").await;
    let (token, id) = house.fixture.make(NewKey { recoverable: true, ..named("kept") }).await;
    let admin = || NewKey { kind: Kind::Admin, ..named("all") };
    let actor = || house.people.session(anna.token.reveal()).unwrap().actor();
    let ring = &house.fixture.ring;
    assert_eq!(ring.reveal(&id, &actor()).await.unwrap().reveal(), &token);
    ring.create(admin(), &actor()).await.unwrap();
    house.pass(300).await;
    assert!(matches!(ring.reveal(&id, &actor()).await, Err(AuthError::PasswordNeeded)));
    assert!(matches!(ring.create(admin(), &actor()).await, Err(AuthError::PasswordNeeded)));
    house.people.step_up(&anna.caller, Secret::new(PASSWORD.to_owned()), None).await.unwrap();
    assert_eq!(ring.reveal(&id, &actor()).await.unwrap().reveal(), &token);
}

#[tokio::test]
async fn codes_and_recovery_codes_work_once() {
    let (house, anna) = House::of("anna").await;
    let begun = house.people.begin_totp(&anna.caller).await.unwrap();
    assert!(begun.uri.reveal().starts_with("otpauth://totp/Pagewire:anna?secret="));
    house.login("anna", PASSWORD, DESK).await.unwrap();
    let wrong = house.people.confirm_totp(&anna.caller, &Secret::new("000000".into())).await;
    assert!(matches!(wrong, Err(PeopleError::WrongCode)));
    let first = shown_code(&begun.secret, house.second());
    let codes = house.people.confirm_totp(&anna.caller, &first).await.unwrap();
    assert_eq!(codes.len(), 10);
    assert!(matches!(house.people.begin_totp(&anna.caller).await, Err(PeopleError::State(_))), "it is on");

    let login =
        async |code: Option<&Secret<String>>| house.login_with_code("anna", PASSWORD, DESK, code).await;
    assert!(matches!(login(None).await, Err(PeopleError::CodeNeeded)));
    assert!(matches!(login(Some(&first)).await, Err(PeopleError::WrongCode)), "its step was used");
    house.people.unlock(anna.caller.owner, &CLI).await.unwrap();
    house.pass(30).await;
    let next = shown_code(&begun.secret, house.second());
    login(Some(&next)).await.unwrap();
    assert!(matches!(login(Some(&next)).await, Err(PeopleError::WrongCode)), "replayed");
    house.people.unlock(anna.caller.owner, &CLI).await.unwrap();
    let wrong_password = house.login_with_code("anna", OTHER, DESK, Some(&codes[0])).await;
    assert!(matches!(wrong_password, Err(PeopleError::WrongLogin)), "no word of the code");
    login(Some(&codes[0])).await.unwrap();
    assert!(matches!(login(Some(&codes[0])).await, Err(PeopleError::WrongCode)), "used");
    login(Some(&codes[1])).await.unwrap();
    assert_eq!(house.fixture.db.person(anna.caller.owner).unwrap().recovery_codes, 8);

    house.people.disable_totp(&anna.caller).await.unwrap();
    house.login("anna", PASSWORD, DESK).await.unwrap();
}

#[tokio::test]
async fn a_second_factor_needs_a_fresh_password() {
    let (house, anna) = House::of("anna").await;
    house.pass(300).await;
    assert!(matches!(house.people.begin_totp(&anna.caller).await, Err(PeopleError::PasswordNeeded)));
    assert!(matches!(house.people.disable_totp(&anna.caller).await, Err(PeopleError::PasswordNeeded)));
}

#[tokio::test]
async fn a_role_change_ends_sessions_and_narrows_keys_at_once() {
    let (mut house, _) = House::of("anna").await;
    let id = house.add("otto", Role::Admin).await;
    let otto = house.login("otto", PASSWORD, DESK).await.unwrap();
    let new = NewKey { owner: Some("otto".into()), ..named("his") };
    let (token, _) = house.fixture.make(new).await;
    assert!(house.fixture.ring.verify(&token, None).await.unwrap().caller.may(Scope::FaxSend));
    let to = |role| Change { role: Some(role), ..Change::default() };
    house.people.change_account(id, to(Role::Viewer), &CLI).await.unwrap();
    assert!(!house.is_in(&otto));
    assert!(!house.fixture.ring.verify(&token, None).await.unwrap().caller.may(Scope::FaxSend));
    house.restart().await;
    let otto = house.login("otto", PASSWORD, DESK).await.unwrap();
    assert_eq!(otto.caller.role, Role::Viewer);
    let off = Change { status: Some(AccountStatus::Disabled), ..Change::default() };
    house.people.change_account(id, off, &CLI).await.unwrap();
    assert!(!house.is_in(&otto));
    assert!(matches!(house.login("otto", PASSWORD, DESK).await, Err(PeopleError::WrongLogin)));
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let (house, anna) = House::of("anna").await;
    let by = anna.caller.actor();
    let id = anna.caller.owner;
    // Invited, but not able to sign in yet.
    let new =
        NewAccount { kind: AccountKind::User, name: "berta".into(), role: Role::GlobalAdmin, password: None };
    let (berta, link) = house.people.create_account(new, &by).await.unwrap();
    let demote = Change { role: Some(Role::Admin), ..Change::default() };
    let disable = Change { status: Some(AccountStatus::Disabled), ..Change::default() };
    for change in [demote, disable] {
        assert!(matches!(house.people.change_account(id, change, &by).await, Err(PeopleError::State(_))));
    }
    assert!(matches!(house.people.remove_account(id, &by).await, Err(PeopleError::State(_))));
    assert!(house.is_in(&anna));
    house.people.redeem(redemption(&link.unwrap(), None, "8.8.8.8")).await.unwrap();
    house.people.remove_account(id, &by).await.unwrap();
    assert!(!house.is_in(&anna));
    let last = house.people.remove_account(berta.account.id, &CLI).await;
    assert!(matches!(last, Err(PeopleError::State(_))));
    // Her name is free again.
    house.add("anna", Role::Viewer).await;
}

#[tokio::test]
async fn nobody_manages_their_own_rank_and_no_key_manages_anybody() {
    let (house, _) = House::of("anna").await;
    house.add("adam", Role::Admin).await;
    let adam = house.login("adam", PASSWORD, DESK).await.unwrap().caller;
    let new = |role| NewAccount { kind: AccountKind::User, name: format!("a {role}"), role, password: None };
    let is_forbidden =
        |result: Result<_, PeopleError>| matches!(result, Err(PeopleError::Auth(AuthError::Forbidden(_))));
    for role in [Role::Admin, Role::GlobalAdmin] {
        assert!(is_forbidden(house.people.create_account(new(role), &adam.actor()).await.map(drop)));
    }
    let (view, _) = house.people.create_account(new(Role::Operator), &adam.actor()).await.unwrap();
    let promote = Change { role: Some(Role::Admin), ..Change::default() };
    assert!(is_forbidden(house.people.change_account(view.account.id, promote, &adam.actor()).await));
    assert!(is_forbidden(house.people.remove_account(adam.owner, &adam.actor()).await), "himself");
    let admin = NewKey { kind: crate::access::kind::Kind::Admin, ..named("all") };
    let (token, _) = house.fixture.make(admin).await;
    let key: Caller = house.fixture.ring.verify(&token, None).await.unwrap().caller;
    assert!(is_forbidden(house.people.create_account(new(Role::Viewer), &key.actor()).await.map(drop)));
    assert!(is_forbidden(house.people.unlock(view.account.id, &key.actor()).await));
}

#[tokio::test]
async fn a_password_from_somebody_else_has_to_be_changed_first() {
    let (mut house, anna) = House::of("anna").await;
    let password = Some(Secret::new(PASSWORD.to_owned()));
    let new = NewAccount { kind: AccountKind::User, name: "otto".into(), role: Role::Operator, password };
    house.people.create_account(new, &anna.caller.actor()).await.unwrap();
    let otto = house.login("otto", PASSWORD, DESK).await.unwrap();
    house.restart().await;
    let caller = house.people.session(otto.token.reveal()).unwrap();
    assert!(caller.must_change_password() && !caller.may(Scope::FaxRead));
    let (old, new) = (Secret::new(PASSWORD.into()), Secret::new(OTHER.into()));
    house.people.change_password(&caller, old, new, None).await.unwrap();
    let caller = house.people.session(otto.token.reveal()).unwrap();
    assert!(!caller.must_change_password() && caller.may(Scope::FaxSend));
}

#[tokio::test]
async fn a_person_acts_as_a_key_within_both() {
    let (house, _) = House::of("anna").await;
    house.add("otto", Role::Operator).await;
    let otto = house.login("otto", PASSWORD, DESK).await.unwrap().caller;
    let of = |owner: &str, scopes: &[Scope]| NewKey {
        owner: Some(owner.into()),
        scopes: Some(scopes.iter().copied().collect()),
        ..named("a")
    };
    let (_, own) = house.fixture.make(of("otto", &[Scope::FaxSend])).await;
    let (_, others) = house.fixture.make(of("clinic", &[Scope::FaxSend])).await;
    let address: IpAddr = DESK.parse().unwrap();
    let acting = house.fixture.ring.act_as(&otto, own, Some(address)).unwrap();
    assert_eq!((acting.key_id, acting.label()), (Some(own), format!("key:{own}")));
    assert!(acting.may(Scope::FaxSend) && otto.may(Scope::FaxRead) && !acting.may(Scope::FaxRead));
    let record = house.fixture.ring.get(&own).unwrap().record;
    assert_eq!((record.use_count, record.last_used_ip), (1, Some(address)));
    assert!(matches!(house.fixture.ring.act_as(&otto, others, None), Err(AuthError::NotFound)));
    house.fixture.ring.revoke(&own, Revocation::default(), &CLI).await.unwrap();
    assert!(matches!(
        house.fixture.ring.act_as(&otto, own, None),
        Err(AuthError::Invalid { field: "as_key", .. })
    ));
}
