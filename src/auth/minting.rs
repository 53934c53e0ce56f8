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
    /// End of validity.
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
pub(super) fn check_rotation(record: &KeyRecord, owner: &AccountRecord, by: &Actor) -> Result<(), AuthError> {
    check_management(owner, by)?;
    let is_itself = matches!(by, Actor::Caller(Caller { key_id: Some(id), .. }) if *id == record.id);
    match beyond(record, by) {
        Some((field, message)) if !is_itself => Err(AuthError::Forbidden(format!("'{field}': {message}"))),
        _ => Ok(()),
    }
}

/// Whether who asks may manage keys of this owner.
pub(super) fn check_management(owner: &AccountRecord, by: &Actor) -> Result<(), AuthError> {
    if !by.may(Scope::KeysManage) {
        return Err(AuthError::Forbidden(format!("{} is needed to manage keys", Scope::KeysManage)));
    }
    let is_own = matches!(by, Actor::Caller(caller) if caller.owner == owner.id);
    if !is_own && !(by.administrates() && owner.role <= by.role()) {
        return Err(AuthError::Forbidden("only keys of one's own and of lower roles can be managed".into()));
    }
    Ok(())
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
    if !(1..=longest).contains(&text.chars().count()) || text.chars().any(char::is_control) {
        return Err(AuthError::invalid(field, format!("needs 1 to {longest} characters on one line")));
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

/// The first field in which a key reaches beyond who asks for it, and what is allowed.
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
