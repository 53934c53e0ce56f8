//! Changes of a key that exists.

use jiff::Timestamp;

use super::bounds::check_change;
use super::{Actor, AuthError, NAME_LEN, check_bounds, check_life, line, note};
use crate::access::cidr::Cidr;
use crate::access::kind::{Kind, Limits};
use crate::access::origin::Origin;
use crate::access::records::KeyRecord;
use crate::access::resources::{NumberPrefix, Resources};
use crate::access::scopes::ScopeSet;

/// What of a key shall be another; `None` leaves a field as it is, `Some(None)` clears it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// What it is for.
    pub name: Option<String>,
    /// A remark.
    pub note: Option<Option<String>>,
    /// What it may do.
    pub scopes: Option<ScopeSet>,
    /// What it may reach.
    pub resources: ResourcesChange,
    /// Networks it works from; everywhere when empty.
    pub ip_allow: Option<Vec<Cidr>>,
    /// Web origins of the browser application it stands in.
    pub allowed_origins: Option<Vec<Origin>>,
    /// Limits of its own.
    pub limits: LimitsChange,
    /// First moment of validity.
    pub not_before: Option<Option<Timestamp>>,
    /// End of validity.
    pub expires_at: Option<Option<Timestamp>>,
}

/// What of a key's resources shall be another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourcesChange {
    /// Numbers it may send to begin with one of these.
    pub to_prefixes: Option<Vec<NumberPrefix>>,
    /// Whether it sees everybody's faxes.
    pub all_jobs: Option<bool>,
}

/// Which of a key's limits shall be others; a cleared one is as the key's kind has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsChange {
    /// In the order of [`Limits::NAMES`].
    pub values: [Option<Option<u32>>; 4],
}

/// The key as it is going to be.
pub(in crate::auth) fn plan_change(
    old: &KeyRecord,
    change: &KeyChange,
    by: &Actor,
    now: Timestamp,
) -> Result<KeyRecord, AuthError> {
    let mut limits = old.limits.values();
    for (limit, change) in limits.iter_mut().zip(change.limits.values) {
        *limit = change.unwrap_or(*limit);
    }
    let new = KeyRecord {
        name: match &change.name {
            Some(name) => line("name", name, NAME_LEN)?,
            None => old.name.clone(),
        },
        note: match &change.note {
            Some(text) => note(text.as_deref())?,
            None => old.note.clone(),
        },
        scopes: change.scopes.unwrap_or(old.scopes),
        resources: Resources {
            to_prefixes: change
                .resources
                .to_prefixes
                .clone()
                .unwrap_or_else(|| old.resources.to_prefixes.clone()),
            all_jobs: change.resources.all_jobs.unwrap_or(old.resources.all_jobs),
            ..old.resources.clone()
        },
        ip_allow: change.ip_allow.clone().unwrap_or_else(|| old.ip_allow.clone()),
        allowed_origins: change.allowed_origins.clone().unwrap_or_else(|| old.allowed_origins.clone()),
        limits: Limits::of_values(limits),
        not_before: change.not_before.unwrap_or(old.not_before),
        expires_at: change.expires_at.unwrap_or(old.expires_at),
        ..old.clone()
    };
    if new.scopes.is_empty() {
        return Err(AuthError::invalid("scopes", "needs at least one scope; to stop a key, disable it"));
    }
    if new.scopes != old.scopes && matches!(old.kind, Kind::Admin | Kind::Account) {
        return Err(AuthError::invalid(
            "scopes",
            format!("an {} key has always the same scopes; leave them out, or make another key", old.kind),
        ));
    }
    check_bounds(&new)?;
    if (new.not_before, new.expires_at) != (old.not_before, old.expires_at) {
        check_life(&new, now)?;
    }
    check_change(old, &new, by)?;
    Ok(new)
}

/// Names of the fields in which two states of a key differ.
pub(in crate::auth) fn changed_fields(old: &KeyRecord, new: &KeyRecord) -> Vec<&'static str> {
    [
        (old.name != new.name, "name"),
        (old.note != new.note, "note"),
        (old.scopes != new.scopes, "scopes"),
        (old.resources != new.resources, "resources"),
        (old.ip_allow != new.ip_allow, "ip_allow"),
        (old.allowed_origins != new.allowed_origins, "allowed_origins"),
        (old.limits != new.limits, "limits"),
        (old.not_before != new.not_before, "not_before"),
        (old.expires_at != new.expires_at, "expires_at"),
    ]
    .into_iter()
    .filter_map(|(differs, name)| differs.then_some(name))
    .collect()
}
