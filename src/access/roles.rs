//! Roles of accounts: the widest right anything owned by the account can have.
//!
//! Owns: which scopes a role allows. What sets global administrators apart from administrators
//! (admin-kind keys, other administrators, TLS, the account key) are no scopes but questions of
//! rank, and stand where those things are done. A grant gives one account one of them in addition.

use super::scopes::{Scope, ScopeSet};

named! {
    /// The role of an account; a later one ranks higher.
    "role" Role {
        /// Looks, and does nothing.
        Viewer = "viewer",
        /// Sends and receives, and keeps keys of its own.
        Operator = "operator",
        /// Manages everything below its own rank.
        Admin = "admin",
        /// Manages everything.
        GlobalAdmin = "global_admin",
    }
}

named! {
    /// A right given to one account beyond its role.
    "grant" Grant {
        /// See the token of the account key.
        AccountKeyShow = "account_key:show",
    }
}

impl Role {
    /// The scopes this role allows at most.
    pub fn allows(self) -> ScopeSet {
        match self {
            Self::GlobalAdmin | Self::Admin => ScopeSet::ALL,
            Self::Operator => OPERATOR.iter().copied().collect(),
            Self::Viewer => [Scope::FaxRead, Scope::DiagnosticsRead].into_iter().collect(),
        }
    }

    /// Whether it manages others.
    pub fn is_administrator(self) -> bool {
        self >= Self::Admin
    }
}

const OPERATOR: &[Scope] = &[
    Scope::FaxSend,
    Scope::FaxRead,
    Scope::FaxCancel,
    Scope::FaxRoute,
    Scope::InboundList,
    Scope::InboundRead,
    Scope::InboundManage,
    Scope::ContactsRead,
    Scope::ContactsManage,
    Scope::KeysRead,
    Scope::KeysManage,
    Scope::KeysReveal,
    Scope::DiagnosticsRead,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_role_allows_all_a_lower_one_does() {
        for pair in Role::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
            assert!(pair[0].allows().is_within(pair[1].allows()), "{} and {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn the_table_of_rights() {
        let cases = [
            (Scope::FaxRead, [true, true, true]),
            (Scope::DiagnosticsRead, [true, true, true]),
            (Scope::FaxSend, [false, true, true]),
            (Scope::InboundRead, [false, true, true]),
            (Scope::KeysManage, [false, true, true]),
            (Scope::UsersManage, [false, false, true]),
            (Scope::SettingsRead, [false, false, true]),
            (Scope::SettingsWrite, [false, false, true]),
            (Scope::WebhooksManage, [false, false, true]),
            (Scope::AuditRead, [false, false, true]),
            (Scope::Admin, [false, false, true]),
        ];
        for (scope, [viewer, operator, admin]) in cases {
            assert_eq!(Role::Viewer.allows().contains(scope), viewer, "viewer {scope}");
            assert_eq!(Role::Operator.allows().contains(scope), operator, "operator {scope}");
            assert_eq!(Role::Admin.allows().contains(scope), admin, "admin {scope}");
            assert!(Role::GlobalAdmin.allows().contains(scope), "global_admin {scope}");
        }
    }
}
