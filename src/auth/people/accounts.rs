//! The accounts of people and services, managed by people.
//!
//! Refuses: changes by a key; accounts of one's own rank and above, but to global administrators;
//! to leave the appliance without an administrator who can sign in. A removed account stays in
//! the database without a way to sign in, because keys and faxes name it; its name is free again.

use std::sync::Arc;

use super::setup::Link;
use super::{People, PeopleError, to_its_end};
use crate::access::audit::{Action, AuditEvent, Snapshot};
use crate::access::people::PersonRecord;
use crate::access::records::{AccountKind, AccountRecord, AccountStatus};
use crate::access::roles::Role;
use crate::access::scopes::Scope;
use crate::auth::Actor;
use crate::auth::changes::{OWN_ACCOUNTS, account_made};
use crate::auth::minting;
use crate::db::DbError;
use crate::id::AccountId;
use crate::secret::Secret;

/// An account as it is shown.
#[derive(Clone, Debug)]
pub struct PersonView {
    /// The account.
    pub account: Arc<AccountRecord>,
    /// What is kept of the person.
    pub person: PersonRecord,
}

impl PersonView {
    /// Whether it is a person's.
    pub fn is_user(&self) -> bool {
        self.account.kind == AccountKind::User
    }
}

/// A new account.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// A person's or a program's.
    pub kind: AccountKind,
    /// Its name, 1 to 64 characters.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// A first password; a person without one gets a link.
    pub password: Option<Secret<String>>,
}

/// What shall be different of an account.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// Another role.
    pub role: Option<Role>,
    /// Another status.
    pub status: Option<AccountStatus>,
}

impl People {
    /// All accounts but the appliance's own and those that were removed, by name.
    pub async fn accounts(&self) -> Result<Vec<PersonView>, PeopleError> {
        let mut people = self.parts.db.people().await?;
        let removed = self.parts.db.removed_accounts().await?;
        let mut views: Vec<_> = self
            .parts
            .ring
            .accounts()
            .into_iter()
            .filter(|account| !is_own(account) && !removed.contains(&account.id))
            .map(|account| PersonView { person: people.remove(&account.id).unwrap_or_default(), account })
            .collect();
        views.sort_by_key(|view| view.account.name.to_lowercase());
        Ok(views)
    }

    /// One of them.
    pub async fn account(&self, id: AccountId) -> Result<PersonView, PeopleError> {
        let views = self.accounts().await?;
        views.into_iter().find(|view| view.account.id == id).ok_or(PeopleError::NotFound)
    }

    /// One person, by name.
    pub async fn person_named(&self, name: &str) -> Result<PersonView, PeopleError> {
        let views = self.accounts().await?;
        let is_it = |view: &PersonView| view.account.name.eq_ignore_ascii_case(name.trim());
        views.into_iter().find(is_it).ok_or(PeopleError::NotFound)
    }

    /// Makes an account; a person without a password gets a link to choose one.
    pub async fn create_account(
        &self,
        new: NewAccount,
        by: &Actor,
    ) -> Result<(PersonView, Option<Link>), PeopleError> {
        let (people, by) = (self.clone(), by.clone());
        to_its_end(async move { people.create(new, by).await }).await
    }

    /// Gives an account another role or status, and signs its person out.
    pub async fn change_account(&self, id: AccountId, change: Change, by: &Actor) -> Result<(), PeopleError> {
        let (people, by) = (self.clone(), by.clone());
        to_its_end(async move {
            let _changes = people.parts.ring.parts.changes.lock().await;
            let account = people.manageable(id, &by).await?;
            let role = change.role.unwrap_or(account.role);
            let status = change.status.unwrap_or(account.status);
            check_rank(role, &by)?;
            if (role, status) == (account.role, account.status) {
                return Ok(());
            }
            let old = account;
            let account = AccountRecord { role, status, ..AccountRecord::clone(&old) };
            let action = match (account.kind, status == old.status, status) {
                (AccountKind::Service, ..) => Action::ServiceAccountChanged,
                (AccountKind::User, true, _) => Action::UserChanged,
                (AccountKind::User, false, AccountStatus::Disabled) => Action::UserDisabled,
                (AccountKind::User, false, AccountStatus::Active) => Action::UserEnabled,
            };
            let changed =
                people.told(action, id, &by).before(Snapshot::from(&*old)).after(Snapshot::from(&account));
            let stored = people.parts.db.audited(changed).update_role_and_status(account.clone());
            stored.await.map_err(last_administrator)?;
            people.parts.ring.put_account(account);
            people.drop_sessions_of(id, None);
            log::info!("account {id} is {status} as {role} now, by {by}");
            Ok(())
        })
        .await
    }

    /// Removes an account; its keys stop, what it sent stays.
    pub async fn remove_account(&self, id: AccountId, by: &Actor) -> Result<(), PeopleError> {
        let (people, by) = (self.clone(), by.clone());
        to_its_end(async move {
            let _changes = people.parts.ring.parts.changes.lock().await;
            let account = people.manageable(id, &by).await?;
            // The end of an id is random, its beginning is a time.
            let id_text = id.to_string();
            let name = format!("{} (removed {})", account.name, &id_text[id_text.len() - 6..]);
            let gone =
                AccountRecord { name, status: AccountStatus::Disabled, ..AccountRecord::clone(&account) };
            let now = people.parts.clock.now();
            let removed = people.told(Action::UserRemoved, id, &by).before(Snapshot::from(&*account));
            let stored = people.parts.db.audited(removed).remove_account(gone.clone(), now);
            stored.await.map_err(last_administrator)?;
            people.parts.ring.put_account(gone);
            people.drop_sessions_of(id, None);
            people.parts.throttle.unlock(&account.name);
            log::info!("account {id} was removed by {by}");
            Ok(())
        })
        .await
    }

    /// Gives a person a password and signs them out. One that was given by somebody in a session
    /// has to be changed at the next sign-in.
    pub async fn set_password(
        &self,
        id: AccountId,
        password: Secret<String>,
        by: &Actor,
    ) -> Result<(), PeopleError> {
        let account = self.manageable(id, by).await?;
        only_people(&account)?;
        let phc = self.hashed(&account.name, password).await?;
        let (people, by) = (self.clone(), by.clone());
        to_its_end(async move {
            let _changes = people.parts.ring.parts.changes.lock().await;
            people.manageable(id, &by).await?;
            let (now, must_change) = (people.parts.clock.now(), must_change(&by));
            let told = people.told(Action::UserPasswordChanged, id, &by);
            people.parts.db.audited(told).set_password(id, phc, must_change, now, None).await?;
            people.drop_sessions_of(id, None);
            people.parts.throttle.unlock(&account.name);
            log::info!("account {id} got a password by {by}");
            Ok(())
        })
        .await
    }

    /// A one-time link with which a person chooses a new password. With `is_reset` the second
    /// factor is switched off, for who lost it.
    pub async fn invite(&self, id: AccountId, is_reset: bool, by: &Actor) -> Result<Link, PeopleError> {
        let (people, by) = (self.clone(), by.clone());
        to_its_end(async move {
            let _changes = people.parts.ring.parts.changes.lock().await;
            let account = people.manageable(id, &by).await?;
            only_people(&account)?;
            let link = people.store_invitation(id, is_reset, &by).await?;
            log::info!("a one-time link for account {id} was made by {by}");
            Ok(link)
        })
        .await
    }

    /// Forgets the failed tries of a person, so that the next one counts at once.
    pub async fn unlock(&self, id: AccountId, by: &Actor) -> Result<(), PeopleError> {
        let account = self.manageable(id, by).await?;
        self.parts.db.note_failed_tries(id, 0, self.parts.clock.now()).await?;
        self.parts.throttle.unlock(&account.name);
        Ok(())
    }

    async fn create(&self, new: NewAccount, by: Actor) -> Result<(PersonView, Option<Link>), PeopleError> {
        check_manager(&by)?;
        check_rank(new.role, &by)?;
        let now = self.parts.clock.now();
        let account = minting::new_account("name", new.kind, &new.name, new.role, now)?;
        let password = match new.password {
            Some(_) if new.kind == AccountKind::Service => {
                return Err(PeopleError::invalid(
                    "password",
                    "a service account cannot sign in; leave it out",
                ));
            }
            Some(password) => Some((self.hashed(&account.name, password).await?, must_change(&by))),
            None => None,
        };
        let (record, link) = if new.kind == AccountKind::User && password.is_none() {
            let (record, link) = self.new_invitation(account.id)?;
            (Some(record), Some(link))
        } else {
            (None, None)
        };
        let _changes = self.parts.ring.parts.changes.lock().await;
        let made = account_made(&by.audit_context(), &account);
        match self.parts.db.audited(made).insert_person(account.clone(), password, record).await {
            Ok(()) => {}
            Err(DbError::Conflict) => return Err(PeopleError::State("This name is taken; choose another.")),
            Err(error) => return Err(error.into()),
        }
        let id = account.id;
        self.parts.ring.put_account(account);
        log::info!("account {id} was made by {by}");
        Ok((self.account(id).await?, link))
    }

    /// What the audit log is told of a change of an account.
    fn told(&self, action: Action, id: AccountId, by: &Actor) -> AuditEvent {
        by.audit_context().event(action, id, self.parts.clock.now())
    }

    /// The account, when who asks may manage it.
    async fn manageable(&self, id: AccountId, by: &Actor) -> Result<Arc<AccountRecord>, PeopleError> {
        check_manager(by)?;
        let account = self.account(id).await?.account;
        check_rank(account.role, by)?;
        Ok(account)
    }
}

fn is_own(account: &AccountRecord) -> bool {
    account.kind == AccountKind::Service && OWN_ACCOUNTS.contains(&account.name.as_str())
}

fn check_manager(by: &Actor) -> Result<(), PeopleError> {
    if !by.may(Scope::UsersManage) {
        return Err(PeopleError::forbidden(format!("{} is needed to manage users", Scope::UsersManage)));
    }
    match by {
        Actor::Caller(caller) if !caller.is_person() => Err(PeopleError::forbidden(
            "Users are managed in a session or on the appliance itself, never with a key.",
        )),
        _ => Ok(()),
    }
}

/// Below the own rank; a global administrator's own rank included, as nobody is above it.
fn check_rank(role: Role, by: &Actor) -> Result<(), PeopleError> {
    if by.role() == Role::GlobalAdmin || role < by.role() {
        return Ok(());
    }
    Err(PeopleError::forbidden(format!("The role {} is not below your own.", role)))
}

fn only_people(account: &AccountRecord) -> Result<(), PeopleError> {
    match account.kind {
        AccountKind::User => Ok(()),
        AccountKind::Service => Err(PeopleError::State("A service account cannot sign in.")),
    }
}

/// A password typed on the appliance itself is taken for the person's own.
fn must_change(by: &Actor) -> bool {
    !matches!(by, Actor::Cli { .. })
}

fn last_administrator(error: DbError) -> PeopleError {
    match error {
        DbError::Conflict => PeopleError::State(
            "This is the last global administrator who can sign in; make another one first.",
        ),
        error => error.into(),
    }
}
