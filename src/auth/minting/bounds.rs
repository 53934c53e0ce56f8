//! How far a key may reach, measured against who asks for it.

use jiff::Timestamp;

use super::{Actor, AuthError};
use crate::access::cidr::Cidr;
use crate::access::kind::{Limits, Mode};
use crate::access::origin::Origin;
use crate::access::records::KeyRecord;
use crate::access::resources::Resources;
use crate::access::scopes::ScopeSet;

/// A field that reaches too far, and what is allowed.
pub(super) type Beyond = Option<(&'static str, String)>;

/// What bounds a key besides its scopes; none of it holds for who came without a key.
struct Fence<'a> {
    resources: &'a Resources,
    ip_allow: &'a [Cidr],
    allowed_origins: &'a [Origin],
    limits: Limits,
    expires_at: Option<Timestamp>,
}

impl<'a> Fence<'a> {
    fn of(record: &'a KeyRecord) -> Self {
        Self {
            resources: &record.resources,
            ip_allow: &record.ip_allow,
            allowed_origins: &record.allowed_origins,
            limits: record.limits_in_force(),
            expires_at: record.expires_at,
        }
    }
}

/// Whether it is a live key asked for by a test key.
pub(super) fn mode_beyond(record: &KeyRecord, by: &Actor) -> Beyond {
    let Actor::Caller(caller) = by else { return None };
    (caller.mode == Mode::Test && record.kind.mode() == Mode::Live)
        .then(|| ("kind", "a development key makes development keys only".into()))
}

/// The first field in which a key reaches beyond who asks for it, its end being the last one
/// looked at, and what is allowed.
pub(super) fn beyond(record: &KeyRecord, by: &Actor) -> Beyond {
    let Actor::Caller(caller) = by else { return None };
    beyond_fence(record, caller.scopes, caller.sees_everything(), caller.record().map(Fence::of))
}

/// Refuses a change of a key that reaches beyond who asks for it, unless it only narrows what the
/// key was. Administrators may leave an end as it is that lies beyond their own.
pub(super) fn check_change(old: &KeyRecord, new: &KeyRecord, by: &Actor) -> Result<(), AuthError> {
    let as_it_was = beyond_fence(new, old.scopes, old.resources.all_jobs, Some(Fence::of(old)));
    let Some((field, message)) = mode_beyond(new, by).or_else(|| beyond(new, by)) else { return Ok(()) };
    let end_is_kept = field == "expires_at" && by.administrates() && ends_no_later(new, old);
    if as_it_was.is_none() || end_is_kept {
        return Ok(());
    }
    Err(AuthError::invalid(field, message))
}

fn ends_no_later(new: &KeyRecord, old: &KeyRecord) -> bool {
    old.expires_at.is_none_or(|old| new.expires_at.is_some_and(|new| new <= old))
}

fn beyond_fence(
    record: &KeyRecord,
    scopes: ScopeSet,
    sees_everything: bool,
    fence: Option<Fence<'_>>,
) -> Beyond {
    if !record.scopes.is_within(scopes) {
        return Some(("scopes", format!("beyond one's own; allowed: {scopes}")));
    }
    if record.resources.all_jobs && !sees_everything {
        return Some(("resources", "'all_jobs' reaches beyond one's own resources".into()));
    }
    let fence = fence?;
    // Who sees everything does so by rank or by grant; only the other bounds are compared.
    let resources = Resources { all_jobs: false, ..record.resources.clone() };
    if let Some(field) = resources.beyond(fence.resources) {
        return Some(("resources", format!("'{field}' reaches beyond one's own resources")));
    }
    let is_allowed = |network: &Cidr| fence.ip_allow.iter().any(|outer| network.is_within(outer));
    if !fence.ip_allow.is_empty() && (record.ip_allow.is_empty() || !record.ip_allow.iter().all(is_allowed)) {
        return Some(("ip_allow", format!("beyond one's own networks; allowed: {}", joined(fence.ip_allow))));
    }
    let is_known = |origin: &Origin| fence.allowed_origins.contains(origin);
    if !fence.allowed_origins.is_empty() && !record.allowed_origins.iter().all(is_known) {
        let allowed = joined(fence.allowed_origins);
        return Some(("allowed_origins", format!("beyond one's own origins; allowed: {allowed}")));
    }
    if let Some((name, most)) = record.limits_in_force().beyond(&fence.limits) {
        return Some(("limits", format!("'{name}' is above one's own; allowed: up to {most}")));
    }
    if let Some(end) = fence.expires_at
        && record.expires_at.is_none_or(|expires_at| expires_at > end)
    {
        return Some(("expires_at", format!("beyond one's own end; allowed: up to {end}")));
    }
    None
}

fn joined<T: ToString>(list: &[T]) -> String {
    list.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
