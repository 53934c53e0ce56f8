//! The rules for new keys.
//!
//! Owns: defaults, bounds and refusals of a [`NewKey`]. Invariant: a key made or rotated by another
//! key never reaches beyond that one in scopes, resources, networks, life or mode; what the order
//! leaves open is bounded as the maker is.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::caller::Actor;
use super::{AuthError, Caller};
use crate::access::cidr::Cidr;
use crate::access::kind::{ADMIN_LIFE, Kind, Limits, Mode};
use crate::access::records::{AccountKind, AccountRecord, AccountStatus, KeyRecord, Status};
use crate::access::resources::Resources;
use crate::access::roles::Role;
use crate::access::scopes::{Scope, ScopeSet};
use crate::access::token::KeyId;
use crate::id::AccountId;

/// Longest name of a key, in characters: one line of a list.
const NAME_LEN: usize = 100;
/// Longest remark, in characters.
const NOTE_LEN: usize = 500;
/// Longest name of an account, in characters.
const ACCOUNT_NAME_LEN: usize = 64;

/// What a new key shall be.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// What it is for, 1 to 100 characters.
    pub name: String,
    /// A remark, up to 500 characters.
    pub note: Option<String>,
    /// Its kind.
    pub kind: Kind,
    /// Name of its owner; the maker's own account when `None`. An administrator may name an
    /// account that does not exist, which is then made as a service account.
    pub owner: Option<String>,
    /// What it may do; [`ScopeSet::EVERYDAY`], or everything for an admin key, when `None`.
    pub scopes: Option<ScopeSet>,
    /// What it may reach.
    pub resources: Resources,
    /// Networks it works from; everywhere when empty.
    pub ip_allow: Vec<Cidr>,
    /// First moment of validity.
    pub not_before: Option<Timestamp>,
    /// End of validity; when `None`, the end of the key that makes it, or 90 days for an admin key.
    pub expires_at: Option<Timestamp>,
}

/// Where the owner of a new key comes from.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    Known(Arc<AccountRecord>),
    New(AccountRecord),
}

impl Owner {
    fn record(&self) -> &AccountRecord {
        match self {
            Self::Known(account) => account,
            Self::New(account) => account,
        }
    }
}

/// A key as it is going to be, and its owner.
pub(super) fn plan(
    id: KeyId,
    new: &NewKey,
    by: &Actor,
    own: &Arc<AccountRecord>,
    find: impl Fn(&str) -> Option<Arc<AccountRecord>>,
    now: Timestamp,
) -> Result<(KeyRecord, Owner), AuthError> {
    if !by.may(Scope::KeysManage) {
        return Err(AuthError::Forbidden(format!("{} is needed to make keys", Scope::KeysManage)));
    }
    let name = line("name", &new.name, NAME_LEN)?;
    let note = note(new.note.as_deref())?;
    check_kind(new, by)?;
    let owner = owner(new, by, own, find, now)?;
    let mut record = KeyRecord {
        id,
        kind: new.kind,
        name,
        note,
        owner: owner.record().id,
        scopes: scopes(new, by)?,
        resources: new.resources.clone(),
        ip_allow: new.ip_allow.clone(),
        allowed_origins: Vec::new(),
        limits: Limits::default(),
        status: Status::Active,
        generation: 1,
        not_before: new.not_before,
        expires_at: new.expires_at,
        created_at: now,
        created_by: by.to_string(),
        last_used_at: None,
        last_used_ip: None,
        use_count: 0,
        revoked_at: None,
        revoked_by: None,
        revoked_reason: None,
    };
    bound_as_maker(&mut record, by);
    set_life(&mut record, now)?;
    check_bounds(&record)?;
    match beyond(&record, by) {
        Some((field, message)) => Err(AuthError::invalid(field, message)),
        None => Ok((record, owner)),
    }
}

/// Whether a new secret of this key may be given to who asks: only if they could have made it.
/// The key's end is left out for administrators, or their own keys, which all have an end, could
/// not rotate those that have none; a rotation makes no key live longer, and its owner notices it.
pub(super) fn check_rotation(record: &KeyRecord, owner: &AccountRecord, by: &Actor) -> Result<(), AuthError> {
    check_management(owner, by)?;
    let is_itself = matches!(by, Actor::Caller(Caller { key_id: Some(id), .. }) if *id == record.id);
    match beyond(record, by) {
        _ if is_itself => Ok(()),
        Some(("expires_at", _)) if by.administrates() => Ok(()),
        Some((field, message)) => Err(AuthError::Forbidden(format!("'{field}': {message}"))),
        None => Ok(()),
    }
}

/// Whether who asks may manage keys of this owner.
pub(super) fn check_management(owner: &AccountRecord, by: &Actor) -> Result<(), AuthError> {
    if !by.may(Scope::KeysManage) {
        return Err(AuthError::Forbidden(format!("{} is needed to manage keys", Scope::KeysManage)));
    }
    let is_own = matches!(by, Actor::Caller(caller) if caller.owner == owner.id);
    let is_below = by.administrates() && owner.role <= by.role();
    if is_own || is_below {
        return Ok(());
    }
    Err(AuthError::Forbidden("only keys of one's own and of roles up to one's own can be managed".into()))
}

/// A service account or user as it is going to be.
pub(super) fn new_account(
    field: &'static str,
    kind: AccountKind,
    name: &str,
    role: Role,
    now: Timestamp,
) -> Result<AccountRecord, AuthError> {
    let name = line(field, name, ACCOUNT_NAME_LEN)?;
    Ok(AccountRecord {
        id: AccountId::new(),
        kind,
        name,
        role,
        status: AccountStatus::Active,
        created_at: now,
    })
}

fn line(field: &'static str, text: &str, longest: usize) -> Result<String, AuthError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(AuthError::invalid(field, format!("is missing; it has 1 to {longest} characters")));
    }
    if text.chars().count() > longest || text.chars().any(char::is_control) {
        return Err(AuthError::invalid(field, format!("takes 1 to {longest} characters on one line")));
    }
    Ok(text.to_owned())
}

fn note(note: Option<&str>) -> Result<Option<String>, AuthError> {
    let note = note.map(str::trim).filter(|note| !note.is_empty());
    if note.is_some_and(|note| note.chars().count() > NOTE_LEN) {
        return Err(AuthError::invalid("note", format!("takes at most {NOTE_LEN} characters")));
    }
    Ok(note.map(str::to_owned))
}

fn check_kind(new: &NewKey, by: &Actor) -> Result<(), AuthError> {
    match (new.kind, by) {
        (Kind::Account, _) => Err(AuthError::invalid(
            "kind",
            "the account key is not made here; allowed: production, development",
        )),
        (Kind::Admin, Actor::Caller(_)) => Err(AuthError::invalid(
            "kind",
            "admin keys are made on the appliance itself, by 'pagewire keys create --kind admin'; \
             allowed here: production, development, restricted",
        )),
        _ => Ok(()),
    }
}

fn owner(
    new: &NewKey,
    by: &Actor,
    own: &Arc<AccountRecord>,
    find: impl Fn(&str) -> Option<Arc<AccountRecord>>,
    now: Timestamp,
) -> Result<Owner, AuthError> {
    let Some(name) = &new.owner else { return Ok(Owner::Known(own.clone())) };
    let found = find(name.trim());
    if found.as_ref().is_some_and(|account| account.id == own.id) {
        return Ok(Owner::Known(own.clone()));
    }
    if !by.administrates() {
        return Err(AuthError::invalid(
            "owner",
            format!("this key makes keys for its own owner, '{}', only", own.name),
        ));
    }
    let owner = match found {
        None => Owner::New(new_account("owner", AccountKind::Service, name, Role::Operator, now)?),
        Some(account) if account.status == AccountStatus::Disabled => {
            return Err(AuthError::invalid("owner", format!("'{}' is disabled", account.name)));
        }
        Some(account) if account.role > by.role() => {
            return Err(AuthError::invalid(
                "owner",
                format!("'{}' ranks higher than who makes the key", account.name),
            ));
        }
        Some(account) => Owner::Known(account),
    };
    if new.kind == Kind::Admin && !owner.record().role.is_administrator() {
        return Err(AuthError::invalid(
            "owner",
            "an admin key belongs to an administrator; leave 'owner' out",
        ));
    }
    Ok(owner)
}

fn scopes(new: &NewKey, by: &Actor) -> Result<ScopeSet, AuthError> {
    let maker = match by {
        Actor::Cli { .. } => ScopeSet::ALL,
        Actor::Caller(caller) => caller.scopes,
    };
    let scopes = match (new.scopes, new.kind) {
        (Some(scopes), Kind::Admin) if scopes != ScopeSet::ALL => {
            return Err(AuthError::invalid(
                "scopes",
                "an admin key has all scopes; leave them out, or choose another kind",
            ));
        }
        (Some(scopes), _) => scopes,
        (None, Kind::Admin) => ScopeSet::ALL,
        (None, _) => ScopeSet::EVERYDAY.and(maker),
    };
    if scopes.is_empty() {
        return Err(AuthError::invalid("scopes", format!("needs at least one scope; allowed here: {maker}")));
    }
    Ok(scopes)
}

/// What the order left open is bounded as the maker is.
fn bound_as_maker(record: &mut KeyRecord, by: &Actor) {
    let Actor::Caller(caller) = by else { return };
    let Some(maker) = caller.record() else { return };
    record.resources = std::mem::take(&mut record.resources).or_bounds_of(&maker.resources);
    if record.ip_allow.is_empty() {
        record.ip_allow.clone_from(&maker.ip_allow);
    }
    record.expires_at = record.expires_at.or(maker.expires_at);
}

fn set_life(record: &mut KeyRecord, now: Timestamp) -> Result<(), AuthError> {
    if record.kind == Kind::Admin {
        let latest = later(now, ADMIN_LIFE);
        if *record.expires_at.get_or_insert(latest) > latest {
            return Err(AuthError::invalid("expires_at", "an admin key lives for 90 days at most"));
        }
    }
    let Some(end) = record.expires_at else { return Ok(()) };
    if end <= now || record.not_before.is_some_and(|start| end <= start) {
        return Err(AuthError::invalid("expires_at", "must lie in the future, and after 'not_before'"));
    }
    Ok(())
}

fn check_bounds(record: &KeyRecord) -> Result<(), AuthError> {
    // Nothing looks at these two yet, and a bound that does not hold must not be promised.
    for (field, list) in
        [("from_numbers", &record.resources.from_numbers), ("mailboxes", &record.resources.mailboxes)]
    {
        if !list.is_empty() {
            return Err(AuthError::invalid(
                "resources",
                format!("'{field}' is not available in this version; allowed: to_prefixes, all_jobs"),
            ));
        }
    }
    let is_bounded =
        record.resources.is_bounded() || !record.ip_allow.is_empty() || record.expires_at.is_some();
    if record.kind == Kind::Restricted && !is_bounded {
        return Err(AuthError::invalid(
            "kind",
            "a restricted key needs at least one of resources.to_prefixes, ip_allow, expires_at",
        ));
    }
    Ok(())
}

/// The first field in which a key reaches beyond who asks for it, its end being the last one
/// looked at, and what is allowed.
fn beyond(record: &KeyRecord, by: &Actor) -> Option<(&'static str, String)> {
    let Actor::Caller(caller) = by else { return None };
    if !record.scopes.is_within(caller.scopes) {
        return Some(("scopes", format!("beyond one's own; allowed: {}", caller.scopes)));
    }
    if caller.mode == Mode::Test && record.kind.mode() == Mode::Live {
        return Some(("kind", "a development key makes development keys only".into()));
    }
    if record.resources.all_jobs && !caller.sees_everything() {
        return Some(("resources", "'all_jobs' reaches beyond one's own resources".into()));
    }
    let maker = caller.record()?;
    // An administrator sees all jobs by rank; only the other bounds are compared.
    let resources = Resources { all_jobs: false, ..record.resources.clone() };
    if let Some(field) = resources.beyond(&maker.resources) {
        return Some(("resources", format!("'{field}' reaches beyond one's own resources")));
    }
    let is_allowed = |network: &Cidr| maker.ip_allow.iter().any(|outer| network.is_within(outer));
    if !maker.ip_allow.is_empty() && (record.ip_allow.is_empty() || !record.ip_allow.iter().all(is_allowed)) {
        let networks: Vec<_> = maker.ip_allow.iter().map(ToString::to_string).collect();
        return Some(("ip_allow", format!("beyond one's own networks; allowed: {}", networks.join(", "))));
    }
    if let Some(end) = maker.expires_at
        && record.expires_at.is_none_or(|expires_at| expires_at > end)
    {
        return Some(("expires_at", format!("beyond one's own end; allowed: up to {end}")));
    }
    None
}

pub(super) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::super::keys::tests::{CLI, Fixture, named};
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn scopes(scopes: &[Scope]) -> Option<ScopeSet> {
        Some(scopes.iter().copied().collect())
    }

    async fn caller_of(fixture: &Fixture, new: NewKey) -> Actor {
        let (token, _) = fixture.make(new).await;
        fixture.ring.verify(&token, None).await.unwrap().caller.actor()
    }

    #[track_caller]
    pub(in crate::auth) fn invalid<T: std::fmt::Debug>(
        result: Result<T, AuthError>,
    ) -> (&'static str, String) {
        match result.unwrap_err() {
            AuthError::Invalid { field, message } => (field, message),
            other => panic!("{other:?}"),
        }
    }

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
            (NewKey { scopes: Some(ScopeSet::EMPTY), ..named("a") }, "scopes"),
            (NewKey { expires_at: Some(now), ..named("a") }, "expires_at"),
            (NewKey { expires_at: days(1), not_before: days(2), ..named("a") }, "expires_at"),
            (NewKey { kind: Kind::Admin, expires_at: days(91), ..named("a") }, "expires_at"),
            (NewKey { kind: Kind::Admin, scopes: scopes(&[Scope::FaxSend]), ..named("a") }, "scopes"),
            (NewKey { kind: Kind::Admin, owner: Some("clinic".into()), ..named("a") }, "owner"),
            (NewKey { kind: Kind::Account, ..named("a") }, "kind"),
            (NewKey { kind: Kind::Restricted, ..named("a") }, "kind"),
            (NewKey { owner: Some("".into()), ..named("a") }, "owner"),
            (
                NewKey {
                    resources: serde_json::from_str(r#"{"mailboxes":["front"]}"#).unwrap(),
                    ..named("a")
                },
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
        fixture.make(NewKey { kind: Kind::Restricted, ..bounded }).await;
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
        let reached = fixture.ring.revoke(&elsewhere, None, &manager).await;
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
                NewKey {
                    resources: serde_json::from_str(r#"{"to_prefixes":["+1"]}"#).unwrap(),
                    ..named("x")
                },
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
}
