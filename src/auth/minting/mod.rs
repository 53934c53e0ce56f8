//! The rules for new and changed keys.
//!
//! Owns: defaults and refusals of a [`NewKey`] and of a [`KeyChange`] ([`change`]), and how far they
//! may reach ([`bounds`]). Invariant: a key made, changed, rotated or shown by another key never
//! reaches beyond that one in scopes, resources, networks, origins, limits, life or mode; what an
//! order leaves open is bounded as the maker is.

mod bounds;
mod change;

use std::borrow::Cow;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use self::bounds::{beyond, mode_beyond};
pub use self::change::{KeyChange, LimitsChange, ResourcesChange};
pub(super) use self::change::{changed_fields, plan_change};
use super::caller::Actor;
use super::{AuthError, Caller};
use crate::access::cidr::Cidr;
use crate::access::kind::{ADMIN_LIFE, Kind, Limits, RevealPolicy};
use crate::access::origin::Origin;
use crate::access::records::{AccountKind, AccountRecord, AccountStatus, KeyRecord};
use crate::access::resources::Resources;
use crate::access::roles::Role;
use crate::access::scopes::{Scope, ScopeSet};
use crate::access::token::KeyId;
use crate::id::AccountId;
use crate::log::scrub;

/// Longest name of a key, in characters: one line of a list.
const NAME_LEN: usize = 100;
/// Longest remark, in characters.
const NOTE_LEN: usize = 500;
/// Keys of one owner that work or could work again: far above any use, and few enough to list.
pub(super) const KEYS_PER_OWNER: usize = 1_000;
/// Highest limit of requests; what the appliance can serve at all is far below.
const MOST_REQUESTS: u32 = 1_000_000;
/// Highest limit of pages and of new destinations a day.
const MOST_A_DAY: u32 = 100_000;
/// Longest name of an account, in characters.
pub(super) const ACCOUNT_NAME_LEN: usize = 64;

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
    /// Web origins of the browser application it stands in; of restricted keys only.
    pub allowed_origins: Vec<Origin>,
    /// Limits of its own; those of its kind where there is none.
    pub limits: Limits,
    /// Whether its token is kept, sealed, to be shown again.
    pub recoverable: bool,
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
    policy: RevealPolicy,
    now: Timestamp,
) -> Result<(KeyRecord, Owner), AuthError> {
    if !by.may(Scope::KeysManage) {
        return Err(AuthError::Forbidden(format!("{} is needed to make keys", Scope::KeysManage)));
    }
    let name = line("name", &new.name, NAME_LEN)?;
    let note = note(new.note.as_deref())?;
    check_kind(new, by, now)?;
    let owner = owner(new, by, own, find, now)?;
    let mut record = KeyRecord {
        name,
        note,
        scopes: scopes(new, by)?,
        resources: new.resources.clone(),
        ip_allow: new.ip_allow.clone(),
        allowed_origins: new.allowed_origins.clone(),
        limits: new.limits,
        recoverable: new.recoverable,
        not_before: new.not_before,
        expires_at: new.expires_at,
        ..KeyRecord::new(id, new.kind, owner.record().id, by.to_string(), now)
    };
    bound_as_maker(&mut record, by);
    set_life(&mut record, now)?;
    check_bounds(&record)?;
    check_recovery(&record, policy)?;
    match mode_beyond(&record, by).or_else(|| beyond(&record, by)) {
        Some((field, message)) => Err(AuthError::invalid(field, message)),
        None => Ok((record, owner)),
    }
}

/// The account key, as it is always made.
pub(super) fn plan_account_key(
    id: KeyId,
    owner: &AccountRecord,
    policy: RevealPolicy,
    by: &Actor,
    now: Timestamp,
) -> KeyRecord {
    KeyRecord {
        name: "Account key".to_owned(),
        scopes: ACCOUNT_SCOPES.iter().copied().collect(),
        recoverable: policy.allows(Kind::Account),
        ..KeyRecord::new(id, Kind::Account, owner.id, by.to_string(), now)
    }
}

/// What the account key may do: everything about faxes, out and in.
const ACCOUNT_SCOPES: &[Scope] = &[
    Scope::FaxSend,
    Scope::FaxRead,
    Scope::FaxCancel,
    Scope::FaxRoute,
    Scope::InboundList,
    Scope::InboundRead,
    Scope::InboundManage,
];

/// Whether a new secret of this key may be given to who asks: only if they could have made it.
/// The key's end is left out for administrators, or their own keys, which all have an end, could
/// not rotate those that have none; a rotation makes no key live longer, and its owner notices it.
pub(super) fn check_rotation(record: &KeyRecord, owner: &AccountRecord, by: &Actor) -> Result<(), AuthError> {
    check_management(record, owner, by)?;
    check_token_is_within(record, by)
}

/// Whether the token of this key may be shown to who asks: only if they could have made it.
pub(super) fn check_reveal(record: &KeyRecord, owner: &AccountRecord, by: &Actor) -> Result<(), AuthError> {
    if !(by.is_person() || by.may(Scope::KeysReveal)) {
        return Err(AuthError::Forbidden(format!(
            "{} is needed to see the token of a key again",
            Scope::KeysReveal
        )));
    }
    check_reach(record, owner, by)?;
    check_token_is_within(record, by)
}

fn check_token_is_within(record: &KeyRecord, by: &Actor) -> Result<(), AuthError> {
    let is_itself = matches!(by, Actor::Caller(Caller { key_id: Some(id), .. }) if *id == record.id);
    match mode_beyond(record, by).or_else(|| beyond(record, by)) {
        _ if is_itself => Ok(()),
        Some(("expires_at", _)) if by.administrates() => Ok(()),
        Some((field, message)) => Err(AuthError::Forbidden(format!("'{field}': {message}"))),
        None => Ok(()),
    }
}

/// Whether who asks may manage this key of this owner.
pub(super) fn check_management(
    record: &KeyRecord,
    owner: &AccountRecord,
    by: &Actor,
) -> Result<(), AuthError> {
    if !by.may(Scope::KeysManage) {
        return Err(AuthError::Forbidden(format!("{} is needed to manage keys", Scope::KeysManage)));
    }
    check_reach(record, owner, by)
}

fn check_reach(record: &KeyRecord, owner: &AccountRecord, by: &Actor) -> Result<(), AuthError> {
    if record.kind == Kind::Account {
        return check_global(by, "manages the account key");
    }
    let is_own = matches!(by, Actor::Caller(caller) if caller.owner == owner.id);
    let is_below = by.administrates() && owner.role <= by.role();
    if is_own || is_below {
        return Ok(());
    }
    Err(AuthError::Forbidden("only keys of one's own and of roles up to one's own can be managed".into()))
}

/// Whether who asks is a global administrator with all rights.
pub(super) fn check_global(by: &Actor, what: &str) -> Result<(), AuthError> {
    if by.administrates() && by.role() == Role::GlobalAdmin {
        return Ok(());
    }
    Err(AuthError::Forbidden(format!("only a global administrator {what}")))
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
        grants: Vec::new(),
        created_at: now,
    })
}

pub(super) fn line(field: &'static str, text: &str, longest: usize) -> Result<String, AuthError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(AuthError::invalid(field, format!("is missing; it has 1 to {longest} characters")));
    }
    if text.chars().count() > longest || text.chars().any(char::is_control) {
        return Err(AuthError::invalid(field, format!("takes 1 to {longest} characters on one line")));
    }
    check_no_token(field, text)?;
    Ok(text.to_owned())
}

/// Refuses a token where others would read it: lists, records and logs show names and remarks.
fn check_no_token(field: &'static str, text: &str) -> Result<(), AuthError> {
    if matches!(scrub(text), Cow::Owned(_)) {
        return Err(AuthError::invalid(field, "has an API key in it, which others would see; leave it out"));
    }
    Ok(())
}

fn note(note: Option<&str>) -> Result<Option<String>, AuthError> {
    let note = note.map(str::trim).filter(|note| !note.is_empty());
    if note.is_some_and(|note| note.chars().count() > NOTE_LEN) {
        return Err(AuthError::invalid("note", format!("takes at most {NOTE_LEN} characters")));
    }
    check_no_token("note", note.unwrap_or_default())?;
    Ok(note.map(str::to_owned))
}

fn check_kind(new: &NewKey, by: &Actor, now: Timestamp) -> Result<(), AuthError> {
    match (new.kind, by) {
        (Kind::Account, _) => Err(AuthError::invalid(
            "kind",
            "the account key is not made here; allowed: production, development, restricted",
        )),
        (Kind::Admin, Actor::Caller(_)) if by.is_person() => by.check_fresh_password(now),
        (Kind::Admin, Actor::Caller(_)) => Err(AuthError::invalid(
            "kind",
            "admin keys are made by a person who just gave their password, or on the appliance itself by \
             'pagewire keys create --kind admin'; allowed here: production, development, restricted",
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
        (None, Kind::Restricted) => {
            return Err(AuthError::invalid(
                "scopes",
                format!("a restricted key names what it may do; allowed here: {maker}"),
            ));
        }
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
    let most = maker.limits_in_force();
    let mut limits = record.limits.values();
    let defaults = record.kind.limits().values();
    for ((limit, most), default) in limits.iter_mut().zip(most.values()).zip(defaults) {
        let is_open =
            limit.is_none() && most.is_some_and(|most| default.is_none_or(|default| default > most));
        if is_open {
            *limit = most;
        }
    }
    record.limits = Limits::of_values(limits);
}

fn set_life(record: &mut KeyRecord, now: Timestamp) -> Result<(), AuthError> {
    if record.kind == Kind::Admin {
        record.expires_at.get_or_insert(later(now, ADMIN_LIFE));
    }
    check_life(record, now)
}

fn check_life(record: &KeyRecord, now: Timestamp) -> Result<(), AuthError> {
    if record.kind == Kind::Admin && record.expires_at.is_none_or(|end| end > later(now, ADMIN_LIFE)) {
        return Err(AuthError::invalid("expires_at", "an admin key lives for 90 days at most"));
    }
    let Some(end) = record.expires_at else { return Ok(()) };
    if end <= now || record.not_before.is_some_and(|start| end <= start) {
        return Err(AuthError::invalid("expires_at", "must lie in the future, and after 'not_before'"));
    }
    Ok(())
}

fn check_recovery(record: &KeyRecord, policy: RevealPolicy) -> Result<(), AuthError> {
    if record.recoverable && !policy.allows(record.kind) {
        return Err(AuthError::invalid(
            "recoverable",
            format!(
                "keys are not kept to be shown again: security.reveal_policy is {policy}; allowed: false"
            ),
        ));
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
    if record.kind != Kind::Restricted && !record.allowed_origins.is_empty() {
        return Err(AuthError::invalid(
            "allowed_origins",
            "only restricted keys stand in browser applications; leave it out, or make a restricted key",
        ));
    }
    check_limits(&record.limits)
}

fn check_limits(limits: &Limits) -> Result<(), AuthError> {
    let allowed = [(1, MOST_REQUESTS), (1, MOST_REQUESTS), (0, MOST_A_DAY), (0, MOST_A_DAY)]
        .map(|(least, most)| least..=most);
    for ((limit, name), allowed) in limits.values().into_iter().zip(Limits::NAMES).zip(allowed) {
        if limit.is_some_and(|limit| !allowed.contains(&limit)) {
            return Err(AuthError::invalid(
                "limits",
                format!("'{name}' takes a number from {} to {}", allowed.start(), allowed.end()),
            ));
        }
    }
    Ok(())
}

pub(super) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
pub(super) mod tests;
