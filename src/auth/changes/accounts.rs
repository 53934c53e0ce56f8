//! Accounts: making them, and changes of them at run time.
//!
//! Invariant: what an account loses, its keys have lost when the change returns; and there is
//! always a global administrator once there was one.

use std::sync::Arc;

use serde_json::json;

use super::{OWN_ACCOUNTS, account_made, to_its_end};
use crate::access::audit::{Action, Context, Snapshot};
use crate::access::records::{AccountKind, AccountRecord, AccountStatus};
use crate::access::roles::{Grant, Role};
use crate::access::scopes::Scope;
use crate::auth::minting::{self, ACCOUNT_NAME_LEN, check_global};
use crate::auth::{Actor, AuthError, KeyRing};
use crate::db::DbError;
use crate::fax::event::Event;
use crate::id::AccountId;

/// What of an account shall be another; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// Its name, 1 to 64 characters on one line.
    pub name: Option<String>,
    /// Its role.
    pub role: Option<Role>,
    /// Whether it may act.
    pub status: Option<AccountStatus>,
}

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

    /// Changes an account. When it returns, the account's keys have the rights that are left: no
    /// request that starts afterwards is let in with more. [`AuthError::LastAdministrator`] when no
    /// active global administrator would be left; a key changes nobody's role, and nobody raises
    /// anybody above their own rank.
    pub async fn set_account(
        &self,
        id: AccountId,
        change: AccountChange,
        by: &Actor,
    ) -> Result<AccountRecord, AuthError> {
        let (ring, by) = (self.clone(), by.clone());
        to_its_end(async move { ring.change_account(id, change, by).await }).await
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

    async fn change_account(
        &self,
        id: AccountId,
        change: AccountChange,
        by: Actor,
    ) -> Result<AccountRecord, AuthError> {
        let _changes = self.parts.changes.lock().await;
        let old = self.account(id).ok_or(AuthError::NoAccount)?;
        check_authority(&old, &change, &by)?;
        let mut new = old.clone();
        if let Some(name) = &change.name {
            new.name = minting::line("name", name, ACCOUNT_NAME_LEN)?;
            let taken = self.state().account_named(&new.name);
            if taken.is_some_and(|account| account.id != id) {
                return Err(AuthError::invalid("name", format!("'{}' is taken", new.name)));
            }
        }
        new.role = change.role.unwrap_or(old.role);
        new.status = change.status.unwrap_or(old.status);
        let others = || self.list_accounts().into_iter().filter(|account| account.id != id);
        let is_last = old.is_active_administrator()
            && !new.is_active_administrator()
            && !others().any(|account| account.is_active_administrator());
        if is_last {
            return Err(AuthError::LastAdministrator);
        }
        self.store_account(old, new, &by).await
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
        self.store_account(old, new, &by).await
    }

    async fn store_account(
        &self,
        old: AccountRecord,
        new: AccountRecord,
        by: &Actor,
    ) -> Result<AccountRecord, AuthError> {
        if new == old {
            return Ok(new);
        }
        let event = Event {
            at: self.parts.clock.now(),
            kind: "account.changed".to_owned(),
            subject: format!("account:{}", new.id),
            data: json!({
                "by": by.to_string(),
                "role": new.role.as_str(),
                "status": new.status.as_str(),
                "grants": new.grants.iter().map(|grant| grant.as_str()).collect::<Vec<_>>(),
            }),
        };
        let action = match (new.kind, new.status == old.status, new.status) {
            (AccountKind::Service, ..) => Action::ServiceAccountChanged,
            (AccountKind::User, true, _) => Action::UserChanged,
            (AccountKind::User, false, AccountStatus::Disabled) => Action::UserDisabled,
            (AccountKind::User, false, AccountStatus::Active) => Action::UserEnabled,
        };
        let changed = by
            .audit_context()
            .event(action, new.id, event.at)
            .before(Snapshot::from(&old))
            .after(Snapshot::from(&new));
        match self.parts.db.audited(changed).update_account(new.clone(), event).await {
            Err(DbError::Conflict) => return Err(AuthError::invalid("name", "is taken")),
            stored => stored?,
        }
        self.state_mut().accounts.insert(new.id, Arc::new(new.clone()));
        log::info!("account {} was changed by {by}", new.id);
        Ok(new)
    }
}

fn check_authority(old: &AccountRecord, change: &AccountChange, by: &Actor) -> Result<(), AuthError> {
    if OWN_ACCOUNTS.contains(&old.name.as_str()) {
        return Err(AuthError::Forbidden(format!(
            "the account '{}' belongs to the appliance itself and stays as it is",
            old.name
        )));
    }
    if !by.may(Scope::UsersManage) {
        return Err(AuthError::Forbidden(format!("{} is needed to change accounts", Scope::UsersManage)));
    }
    if old.role > by.role() {
        return Err(AuthError::Forbidden("only accounts of roles up to one's own can be changed".into()));
    }
    let Some(role) = change.role.filter(|role| *role != old.role) else { return Ok(()) };
    if matches!(by, Actor::Caller(caller) if caller.key_id.is_some()) {
        return Err(AuthError::Forbidden(
            "a key changes nobody's role; a person does, or the command line".into(),
        ));
    }
    if role > by.role() {
        let allowed: Vec<_> =
            Role::ALL.iter().filter(|role| **role <= by.role()).map(|role| role.as_str()).collect();
        return Err(AuthError::invalid("role", format!("above one's own; allowed: {}", allowed.join(", "))));
    }
    Ok(())
}
