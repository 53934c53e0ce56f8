//! The rights of people, as the console asks for them: which buttons a role has.
//!
//! Owns: the table of rights by role. Scopes say what a request may do; these rows also hold what
//! is a question of rank, such as the account key.

use super::roles::{Grant, Role};

named! {
    /// One row of the table of rights.
    "right" Right {
        /// Make the account key.
        AccountKeyGenerate = "account_key:generate",
        /// Replace the account key.
        AccountKeyReset = "account_key:reset",
        /// See the account key.
        AccountKeyShow = "account_key:show",
        /// Make keys of kind admin.
        AdminKeys = "admin_keys:manage",
        /// Manage administrators.
        Administrators = "administrators:manage",
        /// Change certificates.
        Tls = "tls:manage",
        /// Decide whether tokens can be shown again.
        RevealPolicy = "reveal_policy:manage",
        /// Export the audit log.
        AuditExport = "audit:export",
        /// Manage everybody's keys below the own rank.
        AllKeys = "all_keys:manage",
        /// Manage people and service accounts below the own rank.
        Users = "users:manage",
        /// Change settings.
        Settings = "settings:manage",
        /// Read everybody's faxes.
        AllJobs = "all_jobs:read",
        /// Manage the own keys.
        OwnKeys = "own_keys:manage",
        /// Send faxes.
        Send = "fax:send",
        /// Read and manage received faxes.
        Inbound = "inbound:manage",
        /// See numbers in full.
        FullNumbers = "numbers:read",
        /// Read faxes: the own ones, or all.
        Jobs = "jobs:read",
        /// Read diagnostics.
        Diagnostics = "diagnostics:read",
    }
}

impl Right {
    /// Whether the role has it.
    pub fn is_of(self, role: Role) -> bool {
        role >= match self {
            Self::AccountKeyGenerate
            | Self::AccountKeyReset
            | Self::AccountKeyShow
            | Self::AdminKeys
            | Self::Administrators
            | Self::Tls
            | Self::RevealPolicy
            | Self::AuditExport => Role::GlobalAdmin,
            Self::AllKeys | Self::Users | Self::Settings | Self::AllJobs => Role::Admin,
            Self::OwnKeys | Self::Send | Self::Inbound | Self::FullNumbers => Role::Operator,
            Self::Jobs | Self::Diagnostics => Role::Viewer,
        }
    }

    /// Whether one of these grants gives it.
    pub fn is_granted(self, grants: &[Grant]) -> bool {
        grants.iter().any(|grant| match grant {
            Grant::AccountKeyShow => self == Self::AccountKeyShow,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::scopes::Scope;

    #[test]
    fn each_role_has_its_rows() {
        let count = |role: Role| Right::ALL.iter().filter(|right| right.is_of(role)).count();
        assert_eq!(Role::ALL.iter().map(|role| count(*role)).collect::<Vec<_>>(), [2, 6, 10, 18]);
    }

    #[test]
    fn a_row_promises_no_more_than_the_scopes_allow() {
        let pairs = [
            (Right::Send, Scope::FaxSend),
            (Right::OwnKeys, Scope::KeysManage),
            (Right::Inbound, Scope::InboundManage),
            (Right::Users, Scope::UsersManage),
            (Right::Settings, Scope::SettingsWrite),
            (Right::Jobs, Scope::FaxRead),
            (Right::Diagnostics, Scope::DiagnosticsRead),
        ];
        for (right, scope) in pairs {
            for role in Role::ALL {
                assert_eq!(right.is_of(*role), role.allows().contains(scope), "{role} {right}");
            }
        }
    }
}
