//! Accounts: making them for keys, and their grants. What people change of them stands in
//! [`people`](crate::auth::people).

use std::sync::Arc;

use serde_json::json;

use super::{account_made, to_its_end};
use crate::access::audit::{Action, Context, Snapshot};
use crate::access::records::{AccountKind, AccountRecord};
use crate::access::roles::{Grant, Role};
use crate::auth::minting::{self, check_global};
use crate::auth::{Actor, AuthError, KeyRing};
use crate::fax::event::Event;
use crate::id::AccountId;

impl KeyRing {
    /// All accounts, those of the appliance itself too, oldest first.
    pub fn list_accounts(&self) -> Vec<AccountRecord> {
        let mut accounts: Vec<_> =
            self.state().accounts.values().map(|account| AccountRecord::clone(account)).collect();
        accounts.sort_by_key(|account| (account.created_at, account.id));
        accounts
    }

    /// The account with this id.
    pub fn account(&self, id: AccountId) -> Option<AccountRecord> {
        self.state().accounts.get(&id).map(|account| AccountRecord::clone(account))
    }

    /// The person's account of this name, made if there is none.
    pub async fn ensure_user(&self, name: &str, role: Role) -> Result<AccountId, AuthError> {
        self.ensure_account(AccountKind::User, name, role).await
    }

    /// The service account of this name, made if there is none.
    pub async fn ensure_service_account(&self, name: &str, role: Role) -> Result<AccountId, AuthError> {
        self.ensure_account(AccountKind::Service, name, role).await
    }

    /// Gives an account exactly these grants; for global administrators.
    pub async fn set_grants(
        &self,
        id: AccountId,
        grants: Vec<Grant>,
        by: &Actor,
    ) -> Result<AccountRecord, AuthError> {
        let (ring, by) = (self.clone(), by.clone());
        to_its_end(async move { ring.change_grants(id, grants, by).await }).await
    }

    async fn ensure_account(
        &self,
        kind: AccountKind,
        name: &str,
        role: Role,
    ) -> Result<AccountId, AuthError> {
        let _changes = self.parts.changes.lock().await;
        if let Some(account) = self.state().account_named(name.trim()) {
            if account.kind != kind {
                return Err(AuthError::invalid(
                    "name",
                    format!("'{}' is a {} account", account.name, account.kind),
                ));
            }
            return Ok(account.id);
        }
        let account = minting::new_account("name", kind, name, role, self.parts.clock.now())?;
        let made = account_made(&Context::system(), &account);
        self.parts.db.audited(made).insert_account(account.clone()).await?;
        let id = account.id;
        self.state_mut().accounts.insert(id, Arc::new(account));
        Ok(id)
    }

    async fn change_grants(
        &self,
        id: AccountId,
        mut grants: Vec<Grant>,
        by: Actor,
    ) -> Result<AccountRecord, AuthError> {
        check_global(&by, "gives and takes grants")?;
        let _changes = self.parts.changes.lock().await;
        let old = self.account(id).ok_or(AuthError::NoAccount)?;
        grants.sort_unstable();
        grants.dedup();
        let new = AccountRecord { grants, ..old.clone() };
        if new == old {
            return Ok(new);
        }
        let event = Event {
            at: self.parts.clock.now(),
            kind: "account.changed".to_owned(),
            subject: format!("account:{id}"),
            data: json!({
                "by": by.to_string(),
                "grants": new.grants.iter().map(|grant| grant.as_str()).collect::<Vec<_>>(),
            }),
        };
        let action = match new.kind {
            AccountKind::Service => Action::ServiceAccountChanged,
            AccountKind::User => Action::UserChanged,
        };
        let changed = by
            .audit_context()
            .event(action, id, event.at)
            .before(Snapshot::from(&old))
            .after(Snapshot::from(&new));
        self.parts.db.audited(changed).update_grants(id, new.grants.clone(), event).await?;
        self.state_mut().accounts.insert(id, Arc::new(new.clone()));
        log::info!("the grants of account {id} were changed by {by}");
        Ok(new)
    }
}
