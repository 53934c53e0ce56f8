//! Scopes: the single rights of the API, and sets of them.
//!
//! Owns: their names and the algebra of sets. Refuses: unknown names; a typo must not make a key
//! with fewer or more rights than was meant.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::UnknownName;

named! {
    /// One right.
    "scope" Scope {
        /// Send faxes.
        FaxSend = "fax:send",
        /// See faxes, their pages and attempts.
        FaxRead = "fax:read",
        /// Cancel faxes.
        FaxCancel = "fax:cancel",
        /// Choose route, sender number or tag line of a fax.
        FaxRoute = "fax:route",
        /// List received faxes.
        InboundList = "inbound:list",
        /// Read received faxes.
        InboundRead = "inbound:read",
        /// Assign, mark and delete received faxes.
        InboundManage = "inbound:manage",
        /// Read the address book.
        ContactsRead = "contacts:read",
        /// Change the address book.
        ContactsManage = "contacts:manage",
        /// Manage webhooks.
        WebhooksManage = "webhooks:manage",
        /// List keys.
        KeysRead = "keys:read",
        /// Make, rotate and revoke keys.
        KeysManage = "keys:manage",
        /// See the token of a recoverable key again.
        KeysReveal = "keys:reveal",
        /// Manage users.
        UsersManage = "users:manage",
        /// Read settings.
        SettingsRead = "settings:read",
        /// Change settings.
        SettingsWrite = "settings:write",
        /// Read diagnostics.
        DiagnosticsRead = "diagnostics:read",
        /// Read the audit log.
        AuditRead = "audit:read",
        /// All of the above.
        Admin = "admin",
    }
}

impl Scope {
    /// `admin` is no right of its own: it has the bits of all others.
    const fn bits(self) -> u32 {
        match self {
            Self::Admin => (1 << Self::Admin as u32) - 1,
            single => 1 << single as u32,
        }
    }
}

/// A set of scopes.
///
/// Written as a list of names in the order of [`Scope`]; the set of all is written `["admin"]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ScopeSet(u32);

impl ScopeSet {
    /// No right at all.
    pub const EMPTY: Self = Self(0);
    /// Every right.
    pub const ALL: Self = Self(Scope::Admin.bits());
    /// What a program at work needs, and a key gets when nobody says otherwise: send, read and
    /// cancel faxes, list and read the inbox.
    pub const EVERYDAY: Self = Self(
        Scope::FaxSend.bits()
            | Scope::FaxRead.bits()
            | Scope::FaxCancel.bits()
            | Scope::InboundList.bits()
            | Scope::InboundRead.bits(),
    );

    /// The set with these names; an unknown one is refused with all that are allowed.
    pub fn parse<N: AsRef<str>>(names: &[N]) -> Result<Self, UnknownName> {
        names.iter().map(|name| name.as_ref().parse::<Scope>()).collect()
    }

    /// Whether `scope` is in it; `admin` is, when every other one is.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bits() == scope.bits()
    }

    /// What is in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `other` has all of it.
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of what is in it, in order; `admin` alone for all.
    pub fn names(self) -> Vec<String> {
        self.named().map(|scope| scope.to_string()).collect()
    }

    fn named(self) -> impl Iterator<Item = Scope> {
        let all = self == Self::ALL;
        Scope::ALL
            .iter()
            .copied()
            .filter(move |scope| (*scope == Scope::Admin) == all && self.contains(*scope))
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bits()))
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.named().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{scope}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScopeSet({self})")
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.named().map(Scope::as_str))
    }
}

impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Vec::<String>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_make_sets_and_sets_make_names() {
        let cases: &[(&[&str], &str)] = &[
            (&[], ""),
            (&["fax:send"], "fax:send"),
            (&["inbound:read", "fax:send", "fax:send"], "fax:send, inbound:read"),
            (&["fax:read", "admin"], "admin"),
            (&Scope::NAMES[..Scope::NAMES.len() - 1], "admin"),
        ];
        for (names, shown) in cases {
            let set = ScopeSet::parse(names).unwrap();
            assert_eq!(set.to_string(), *shown, "{names:?}");
            let json = serde_json::to_string(&set).unwrap();
            assert_eq!(serde_json::from_str::<ScopeSet>(&json).unwrap(), set);
            assert_eq!(ScopeSet::parse(&set.names()).unwrap(), set);
        }
    }

    #[test]
    fn an_unknown_scope_is_named() {
        let error = ScopeSet::parse(&["fax:send", "fax:snd"]).unwrap_err().to_string();
        assert!(error.starts_with("'fax:snd' is not a scope; allowed: fax:send, fax:read"), "{error}");
        assert!(error.ends_with("admin"), "{error}");
        for wrong in ["", "FAX:SEND", " fax:send", "fax:*"] {
            assert!(ScopeSet::parse(&[wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn admin_is_all_and_only_all() {
        let missing_one: ScopeSet = Scope::ALL
            .iter()
            .copied()
            .filter(|scope| !matches!(scope, Scope::Admin | Scope::AuditRead))
            .collect();
        assert!(!missing_one.contains(Scope::Admin));
        assert!(missing_one.is_within(ScopeSet::ALL) && !ScopeSet::ALL.is_within(missing_one));
        assert!(Scope::ALL.iter().all(|scope| ScopeSet::ALL.contains(*scope)));
        assert!(ScopeSet::EMPTY.is_empty() && ScopeSet::EMPTY.is_within(missing_one));
        assert_eq!(ScopeSet::ALL.and(ScopeSet::EVERYDAY), ScopeSet::EVERYDAY);
    }
}
