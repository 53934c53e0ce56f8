//! Properties that hold for keys of every kind, tried with many of them; and what the safety report
//! says of them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Revocation;
use super::caller::{Actor, Caller};
use super::changes::{LONGEST_GRACE, grace_end};
use super::entry::{Entry, Which};
use super::keys::tests::{CLI, Fixture, named};
use super::minting::{self, KeyChange, LimitsChange, NewKey, ResourcesChange};
use super::safety::{self, Finding};
use crate::access::kind::{Kind, Limits, Mode, RevealPolicy};
use crate::access::records::{
    AccountKind, AccountRecord, AccountStatus, KeyRecord, SlotRecord, Status, StoredKey,
};
use crate::access::resources::Resources;
use crate::access::roles::Role;
use crate::access::scopes::{Scope, ScopeSet};
use crate::access::token::KeyId;
use crate::id::AccountId;
use crate::secret::Secret;

const CASES: usize = 2_000;
const PREFIXES: [&str; 6] = ["+1", "+15", "+1555", "+15551", "+44", "+4420"];
const NUMBERS: [&str; 5] = ["+15551234567", "+15557654321", "+15412345678", "+442079460000", "+4989123456"];
const NETWORKS: [&str; 5] = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "10.1.2.3", "2001:db8::/32"];
const ADDRESSES: [&str; 5] = ["10.1.2.3", "10.1.9.9", "10.200.0.1", "192.0.2.7", "2001:db8::1"];

/// SplitMix64, with a fixed seed: the same cases in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.throw(sides) == 0
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.one_in(2) { Some(make(self)) } else { None }
    }

    fn few<T: std::str::FromStr<Err: std::fmt::Debug>>(&mut self, of: &[&str]) -> Vec<T> {
        let mut chosen = Vec::new();
        for text in of {
            if self.one_in(4) {
                chosen.push(text.parse().unwrap());
            }
        }
        chosen
    }

    fn scopes(&mut self) -> ScopeSet {
        if self.one_in(6) {
            return ScopeSet::ALL;
        }
        Scope::ALL.iter().copied().filter(|scope| *scope != Scope::Admin && !self.one_in(3)).collect()
    }

    fn resources(&mut self) -> Resources {
        Resources { to_prefixes: self.few(&PREFIXES), all_jobs: self.one_in(4), ..Resources::default() }
    }

    fn limit(&mut self) -> Option<u32> {
        self.maybe(|dice| [1, 59, 60, 61, 600, 1_000, 9_999][dice.throw(7) as usize])
    }

    fn end(&mut self) -> Option<Timestamp> {
        self.maybe(|dice| now() + SignedDuration::from_hours(1 + dice.throw(2_000) as i64))
    }

    fn account(&mut self) -> AccountRecord {
        AccountRecord {
            id: AccountId::new(),
            kind: AccountKind::Service,
            name: "owner".into(),
            role: Role::ALL[self.throw(4) as usize],
            status: AccountStatus::Active,
            grants: Vec::new(),
            created_at: now(),
        }
    }

    fn key(&mut self, owner: AccountId) -> KeyRecord {
        let kind =
            [Kind::Development, Kind::Production, Kind::Restricted, Kind::Admin][self.throw(4) as usize];
        KeyRecord {
            id: KeyId::generate().unwrap(),
            kind,
            name: "a".into(),
            note: None,
            owner,
            scopes: if kind == Kind::Admin { ScopeSet::ALL } else { self.scopes() },
            resources: self.resources(),
            ip_allow: self.few(&NETWORKS),
            allowed_origins: Vec::new(),
            limits: Limits::of_values([self.limit(), self.limit(), self.limit(), self.limit()]),
            recoverable: false,
            hidden: false,
            status: Status::Active,
            generation: 1,
            not_before: None,
            expires_at: self.end(),
            created_at: now(),
            created_by: "test".into(),
            last_used_at: None,
            last_used_ip: None,
            use_count: 0,
            revoked_at: None,
            revoked_by: None,
            revoked_reason: None,
        }
    }
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn accepts(record: &KeyRecord, address: &str) -> bool {
    let address: IpAddr = address.parse().unwrap();
    record.ip_allow.is_empty() || record.ip_allow.iter().any(|network| network.contains(address))
}

/// Whether whatever `inner` lets anybody do, one with `scopes` and `outer` lets them do too; seen
/// from outside, by trying.
fn is_within(inner: &KeyRecord, scopes: ScopeSet, sees_everything: bool, outer: &KeyRecord) -> bool {
    Scope::ALL.iter().all(|scope| !inner.scopes.contains(*scope) || scopes.contains(*scope))
        && NUMBERS.iter().all(|number| !inner.resources.may_dial(number) || outer.resources.may_dial(number))
        && ADDRESSES.iter().all(|address| !accepts(inner, address) || accepts(outer, address))
        && (!inner.resources.all_jobs || sees_everything)
        && !(outer.kind.mode() == Mode::Test && inner.kind.mode() == Mode::Live)
        && inner.limits_in_force().values().iter().zip(outer.limits_in_force().values()).all(|(a, b)| *a <= b)
}

fn ends_within(inner: &KeyRecord, outer: &KeyRecord) -> bool {
    outer.expires_at.is_none_or(|end| inner.expires_at.is_some_and(|own| own <= end))
}

#[test]
fn a_right_never_exceeds_any_of_its_parts() {
    let mut dice = Dice(1);
    for _ in 0..CASES {
        let owner = dice.account();
        let record = Arc::new(dice.key(owner.id));
        let caller = Caller::key(&record, &owner, &Arc::default());
        for scope in Scope::ALL {
            let parts = record.scopes.contains(*scope) && owner.role.allows().contains(*scope);
            assert!(!caller.may(*scope) || parts, "{scope} of {record:?} of {owner:?}");
        }
        for number in NUMBERS {
            assert_eq!(caller.may_dial(number), record.resources.may_dial(number));
        }
        let by_rank = owner.role.is_administrator() && record.scopes == ScopeSet::ALL;
        assert_eq!(caller.sees(AccountId::new()), by_rank || record.resources.all_jobs);
        assert_eq!(caller.mode == Mode::Test, record.kind == Kind::Development);
        assert!(!caller.has_fresh_password(Timestamp::MIN));
    }
}

#[test]
fn no_key_mints_beyond_itself() {
    let mut dice = Dice(2);
    let mut made = 0;
    for _ in 0..CASES {
        let account = Arc::new(dice.account());
        let maker = Arc::new(dice.key(account.id));
        let caller = Caller::key(&maker, &account, &Arc::default());
        let sample = dice.key(account.id);
        let order = NewKey {
            name: "child".into(),
            kind: [Kind::Development, Kind::Production, Kind::Admin][dice.throw(3) as usize],
            scopes: dice.maybe(Dice::scopes),
            resources: if dice.one_in(2) { sample.resources } else { Resources::default() },
            ip_allow: if dice.one_in(2) { sample.ip_allow } else { Vec::new() },
            limits: if dice.one_in(2) { sample.limits } else { Limits::default() },
            expires_at: sample.expires_at,
            ..NewKey::default()
        };
        let by = Actor::Caller(caller.clone());
        let id = KeyId::generate().unwrap();
        let planned = minting::plan(id, &order, &by, &account, |_| None, RevealPolicy::PerKey, now());
        let Ok((child, _)) = planned else { continue };
        made += 1;
        assert!(
            is_within(&child, caller.scopes, caller.sees_everything(), &maker) && ends_within(&child, &maker),
            "{child:?} made by {maker:?} of {account:?}"
        );
        assert_ne!(child.kind, Kind::Admin);
    }
    assert!(made > CASES / 20, "only {made} orders were good");
}

#[test]
fn no_key_patches_another_or_itself_beyond_itself() {
    let mut dice = Dice(3);
    let mut changed = 0;
    for _ in 0..CASES {
        let account = dice.account();
        let asker = Arc::new(dice.key(account.id));
        let caller = Caller::key(&asker, &account, &Arc::default());
        let old = if dice.one_in(4) { KeyRecord::clone(&asker) } else { dice.key(account.id) };
        let sample = dice.key(account.id);
        let change = KeyChange {
            scopes: dice.maybe(Dice::scopes),
            resources: ResourcesChange {
                to_prefixes: dice.maybe(|_| sample.resources.to_prefixes),
                all_jobs: dice.maybe(|dice| dice.one_in(2)),
            },
            ip_allow: dice.maybe(|_| sample.ip_allow),
            limits: LimitsChange { values: [(); 4].map(|()| dice.maybe(Dice::limit)) },
            expires_at: dice.maybe(Dice::end),
            ..KeyChange::default()
        };
        let Ok(new) = minting::plan_change(&old, &change, &Actor::Caller(caller.clone()), now()) else {
            continue;
        };
        changed += usize::from(new != old);
        let sees_everything = caller.sees_everything();
        let is_within_asker = is_within(&new, caller.scopes, sees_everything, &asker)
            && (ends_within(&new, &asker) || caller.administrates() && ends_within(&new, &old));
        let is_narrower =
            is_within(&new, old.scopes, old.resources.all_jobs, &old) && ends_within(&new, &old);
        assert!(is_within_asker || is_narrower, "{old:?} became {new:?} by {asker:?} of {account:?}");
    }
    assert!(changed > CASES / 50, "only {changed} changes were good");
}

#[test]
fn two_secrets_are_never_both_dead_nor_both_eternal() {
    let mut dice = Dice(4);
    let secret = |name: u64| SlotRecord {
        phc: Secret::new(format!("$argon2id${name}")),
        prefilter: None,
        created_at: now(),
        valid_until: None,
        last_used_at: None,
    };
    for case in 0..CASES as u64 {
        let record = dice.key(AccountId::new());
        let mut entry = Entry::stored(StoredKey { record, current: secret(0), previous: None });
        let mut at = now();
        for step in 1..12 {
            match dice.throw(5) {
                0 => entry = entry.switched(Status::Disabled).unwrap_or(entry),
                1 => entry = entry.switched(Status::Active).unwrap_or(entry),
                2 => {
                    entry = entry.changed(&KeyRecord { name: "b".into(), ..KeyRecord::clone(&entry.record) })
                }
                _ => {
                    let seconds = if dice.one_in(3) { 0 } else { dice.throw(LONGEST_GRACE.as_secs() + 1) };
                    let end = grace_end(&entry.record, Duration::from_secs(seconds), at);
                    entry = entry.rotated(secret(case * 100 + step), end, false);
                }
            }
            at += SignedDuration::from_secs(dice.throw(4 * 24 * 3600) as i64);
            assert!(entry.slot(Which::Current, at).is_some(), "the newest secret never dies by itself");
            if let Some(previous) = entry.slot(Which::Previous, at) {
                let end = previous.valid_until.unwrap();
                let latest = at + SignedDuration::try_from(LONGEST_GRACE).unwrap();
                assert!(end > at && end <= latest);
                assert!(entry.record.expires_at.is_none_or(|expiry| end <= expiry));
                assert_ne!(previous.phc.reveal(), entry.slot(Which::Current, at).unwrap().phc.reveal());
            }
        }
    }
}

#[tokio::test]
async fn a_careless_key_is_named_and_a_careful_or_ended_one_is_not() {
    let fixture = Fixture::new().await;
    let end = fixture.clock.now() + SignedDuration::from_hours(24 * 200);
    let (_, careless) = fixture.make(NewKey { recoverable: true, ..named("a") }).await;
    let careful = NewKey {
        expires_at: Some(end),
        ip_allow: vec!["10.0.0.0/8".parse().unwrap()],
        limits: Limits { per_hour: Some(5), ..Limits::default() },
        ..named("b")
    };
    let (token, careful) = fixture.make(careful).await;
    let found = |id| safety::findings(&fixture.ring.get(id).unwrap(), fixture.clock.now());
    use Finding::{Idle90Days, NeverExpires, NoAddressList, NoCustomLimit, Recoverable};
    assert_eq!(found(&careless), [NeverExpires, NoCustomLimit, NoAddressList, Recoverable]);
    assert_eq!(found(&careful), []);
    fixture.pass(24 * 3600 * 90).await;
    assert_eq!(found(&careful), [Idle90Days]);
    fixture.ring.verify(&token, Some("10.0.0.1".parse().unwrap())).await.unwrap();
    assert_eq!(found(&careful), []);
    fixture.ring.revoke(&careless, Revocation::default(), &CLI).await.unwrap();
    assert_eq!(found(&careless), []);
    for finding in Finding::ALL {
        assert!(finding.sentence().ends_with('.'), "{finding}");
    }
}
