//! Signing in and out, and everything that asks for the password again.
//!
//! A name nobody has, a service account, and a person without a password take the path and the
//! time of a wrong password. What is right about a password is told only once all of it is.

use std::net::IpAddr;

use super::throttle::Try;
use super::totp::Code;
use super::{People, PeopleError, SignedIn, hash_of, in_the_console, to_its_end};
use crate::access::audit::Action;
use crate::access::people::{PersonRecord, SecondFactor};
use crate::access::records::{AccountKind, AccountRecord, AccountStatus};
use crate::auth::changes::LOCAL;
use crate::auth::{AuthError, Caller};
use crate::db::DbError;
use crate::id::AccountId;
use crate::secret::Secret;

/// Longest name that is looked up; names are shorter.
const NAME_LEN: usize = 200;

/// Somebody who wants to be let in.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Name of the user, in any case.
    pub username: String,
    /// The password.
    pub password: Secret<String>,
    /// Six digits from the authenticator app, or a recovery code.
    pub code: Option<Secret<String>>,
    /// From where.
    pub address: Option<IpAddr>,
    /// What the browser calls itself.
    pub agent: Option<String>,
    /// The cookie it has already; that session ends.
    pub replaces: Option<Secret<String>>,
}

impl People {
    /// Lets somebody in.
    pub async fn login(&self, attempt: Attempt) -> Result<SignedIn, PeopleError> {
        let people = self.clone();
        to_its_end(async move { people.try_login(attempt).await }).await
    }

    /// Ends the caller's session.
    pub async fn logout(&self, caller: &Caller) -> Result<(), PeopleError> {
        match caller.session_id() {
            Some(id) => self.end_session(id, caller).await,
            None => Err(PeopleError::NotFound),
        }
    }

    /// Takes the caller's password again; it counts for five minutes, until the time returned.
    pub async fn step_up(
        &self,
        caller: &Caller,
        password: Secret<String>,
        address: Option<IpAddr>,
    ) -> Result<jiff::Timestamp, PeopleError> {
        self.reprove(caller, password, address).await?;
        Ok(self.freshen(caller))
    }

    /// Gives the caller a new password and signs them out everywhere else.
    pub async fn change_password(
        &self,
        caller: &Caller,
        current: Secret<String>,
        new: Secret<String>,
        address: Option<IpAddr>,
    ) -> Result<(), PeopleError> {
        let account = self.reprove(caller, current.clone(), address).await?;
        if current.reveal() == new.reveal() {
            return Err(PeopleError::invalid("new_password", "must be another one than before"));
        }
        let phc = self.hashed(&account.name, new).await?;
        let (people, caller) = (self.clone(), caller.clone());
        to_its_end(async move {
            let parts = &people.parts;
            let _changes = parts.ring.parts.changes.lock().await;
            let now = parts.clock.now();
            let told = caller.audit_context().event(Action::UserPasswordChanged, caller.owner, now);
            let stored = parts.db.audited(told);
            stored.set_password(caller.owner, phc, false, now, caller.session_id()).await?;
            people.drop_sessions_of(caller.owner, caller.session_id());
            people.password_is_own(&caller);
            people.freshen(&caller);
            log::info!("user {} changed the password", caller.owner);
            Ok(())
        })
        .await
    }

    /// Whether the caller's password was just entered, where that is needed.
    pub fn require_fresh_password(&self, caller: &Caller) -> Result<(), PeopleError> {
        if caller.has_fresh_password(self.parts.clock.now()) {
            Ok(())
        } else {
            Err(PeopleError::PasswordNeeded)
        }
    }

    async fn try_login(&self, attempt: Attempt) -> Result<SignedIn, PeopleError> {
        let name = attempt.username.trim();
        if name.len() > NAME_LEN {
            return Err(PeopleError::WrongLogin);
        }
        let account = self.parts.ring.account_named(name).filter(|account| may_sign_in(account));
        let person = self.person_or_nobody(account.as_deref().map(|account| account.id))?;
        let a_try = self.begin_try(name, attempt.address, &person)?;
        let proved = self.proves(attempt.password, person.password.clone()).await;
        let is_right = proved.inspect_err(|_| self.parts.throttle.give_back(&a_try))?;
        let (Some(account), Some(phc), true) = (account, person.password.clone(), is_right) else {
            return Err(self.failed(&a_try, &person, name, PeopleError::WrongLogin));
        };
        let factor = match (person.second_factor(), attempt.code) {
            (None, _) => SecondFactor::None,
            (Some(_), None) => {
                self.parts.throttle.give_back(&a_try);
                return Err(PeopleError::CodeNeeded);
            }
            (Some(totp), Some(code)) => match self.check_code(account.id, totp, &Code::new(&code))? {
                Some(factor) => factor,
                None => return Err(self.failed(&a_try, &person, name, PeopleError::WrongCode)),
            },
        };

        let _changes = self.parts.ring.parts.changes.lock().await;
        // The account may have been disabled while the password was looked at.
        let account = self.parts.ring.account(account.id).filter(may_sign_in);
        let account = account.ok_or(PeopleError::WrongLogin)?;
        let (record, token) = self.new_session(account.id, attempt.address, attempt.agent)?;
        let replaces = attempt.replaces.map(|cookie| hash_of(cookie.reveal()));
        let context = in_the_console(&account, attempt.address);
        let begun = context.event(Action::SessionStarted, account.id, record.created_at);
        match self
            .parts
            .db
            .audited(begun)
            .begin_session(record.clone(), phc, a_try.is_from_strange_address(), factor, replaces)
            .await
        {
            Ok(()) => {}
            // The password was changed, or the code was used, by another login at the same time.
            Err(DbError::Conflict) => {
                let why = match factor {
                    SecondFactor::None => PeopleError::WrongLogin,
                    SecondFactor::Step(_) | SecondFactor::RecoveryCode(_) => PeopleError::WrongCode,
                };
                return Err(self.failed(&a_try, &person, name, why));
            }
            Err(error) => return Err(error.into()),
        }
        replaces.iter().for_each(|cookie| self.drop_session(cookie));
        self.parts.throttle.succeeded(&a_try);
        log::info!("user {} signed in", account.id);
        Ok(self.open_session(record, token, &account, person.must_change))
    }

    /// Takes the password of who is signed in, with the same limits as a login.
    async fn reprove(
        &self,
        caller: &Caller,
        password: Secret<String>,
        address: Option<IpAddr>,
    ) -> Result<AccountRecord, PeopleError> {
        let account = self.parts.ring.account(caller.owner).ok_or(PeopleError::NotFound)?;
        let person = self.parts.db.person(account.id)?;
        let a_try = self.begin_try(&account.name, address, &person)?;
        let proved = self.proves(password, person.password.clone()).await;
        if proved.inspect_err(|_| self.parts.throttle.give_back(&a_try))? {
            self.parts.throttle.succeeded(&a_try);
            return Ok(account);
        }
        Err(self.failed(&a_try, &person, &account.name, PeopleError::WrongLogin))
    }

    fn begin_try(
        &self,
        name: &str,
        address: Option<IpAddr>,
        person: &PersonRecord,
    ) -> Result<Try, PeopleError> {
        let now = self.parts.clock.now();
        let begun = self.parts.throttle.begin(name, address, person.last_login_ip, now);
        begun.map_err(|retry_after_s| PeopleError::TooManyTries { retry_after_s })
    }

    /// Notes a failure. The row is written behind the answer's back: a name that has one must not
    /// answer later than a name that has none.
    fn failed(&self, a_try: &Try, person: &PersonRecord, name: &str, why: PeopleError) -> PeopleError {
        let account = self.parts.ring.account_named(name);
        if let Some(account) =
            account.filter(|_| person.password.is_some() && a_try.is_from_strange_address())
        {
            let (people, count, now) = (self.clone(), a_try.count, self.parts.clock.now());
            tokio::spawn(async move {
                if let Err(error) = people.parts.db.note_failed_tries(account.id, count, now).await {
                    log::warn!("a failed sign-in was not stored: {error}");
                }
            });
        }
        log::info!("a sign-in failed, {} in a row", a_try.count);
        why
    }

    /// A person's record; for nobody a look that takes as long and finds none.
    fn person_or_nobody(&self, account: Option<AccountId>) -> Result<PersonRecord, PeopleError> {
        let nobody = || self.parts.ring.account_named(LOCAL).map(|account| account.id);
        match account.or_else(nobody) {
            Some(id) => Ok(self.parts.db.person(id)?),
            None => Err(PeopleError::Auth(AuthError::BrokenOff)),
        }
    }
}

fn may_sign_in(account: &AccountRecord) -> bool {
    account.kind == AccountKind::User && account.status == AccountStatus::Active
}
