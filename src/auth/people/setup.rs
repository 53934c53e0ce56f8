//! One-time links: the first administrator's, invitations, forgotten passwords.
//!
//! A link's token holds 256 random bits and is kept as a hash. The first administrator's link
//! lives for 30 minutes, works from near only, and dies when there is an administrator. Argon2 is
//! not reached without the token of a link that works.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::{People, PeopleError, SignedIn, hash_of, in_the_console, passwords, random_token, to_its_end};
use crate::access::audit::{Action, Context, Target};
use crate::access::people::LinkRecord;
use crate::access::records::{AccountKind, AccountRecord, AccountStatus};
use crate::access::roles::Role;
use crate::auth::Actor;
use crate::auth::changes::account_made;
use crate::auth::minting;
use crate::db::DbError;
use crate::id::AccountId;
use crate::secret::Secret;

/// Life of the first administrator's link: whoever installs is there.
const SETUP_LIFE: SignedDuration = SignedDuration::from_mins(30);
/// Life of other links: people are not always at their desk.
const INVITATION_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// A link that lets somebody choose a password, once.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its token, shown once.
    pub token: Secret<String>,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// Somebody who holds a link's token.
#[derive(Clone, Debug)]
pub struct Redemption {
    /// The token.
    pub token: Secret<String>,
    /// Name of the first administrator; with other links the user's own name, or nothing.
    pub username: Option<String>,
    /// The password they choose.
    pub password: Secret<String>,
    /// From where; `None` is the machine itself.
    pub address: Option<IpAddr>,
    /// What the browser calls itself.
    pub agent: Option<String>,
}

impl People {
    /// Whether there is no administrator yet.
    pub fn needs_setup(&self) -> bool {
        !self.parts.ring.has_administrator()
    }

    /// A link for the first administrator; the one before stops working.
    pub async fn renew_setup_link(&self, by: Context) -> Result<Link, PeopleError> {
        let _changes = self.parts.ring.parts.changes.lock().await;
        if !self.needs_setup() {
            return Err(PeopleError::State(
                "There is an administrator already; 'pagewire admin reset' helps one who cannot sign in.",
            ));
        }
        self.store_link(None, SETUP_LIFE, false, by).await
    }

    /// Makes the first administrator, or gives an invited person their password; signs them in.
    pub async fn redeem(&self, redemption: Redemption) -> Result<SignedIn, PeopleError> {
        let people = self.clone();
        to_its_end(async move { people.redeem_link(redemption).await }).await
    }

    async fn redeem_link(&self, redemption: Redemption) -> Result<SignedIn, PeopleError> {
        let Redemption { token, username, password, address, agent } = redemption;
        let hash = hash_of(token.reveal());
        let link = self.parts.db.link(hash)?.filter(|link| link.expires_at > self.parts.clock.now());
        let link = link.ok_or(PeopleError::BadLink)?;
        match link.account {
            None if !self.needs_setup() => Err(PeopleError::BadLink),
            None if !address.is_none_or(is_near) => Err(PeopleError::TooFar),
            None => {
                let account = self.first_administrator(username.as_deref())?;
                passwords::check(&account.name, &password)?;
                let phc = self.hashed(&account.name, password).await?;
                let _changes = self.parts.ring.parts.changes.lock().await;
                if !self.needs_setup() {
                    return Err(PeopleError::BadLink);
                }
                // Looked at again: somebody may have taken the name while the password was hashed.
                let account = self.first_administrator(Some(&account.name))?;
                let (record, cookie) = self.new_session(account.id, address, agent)?;
                let made = account_made(&in_the_console(&account, address), &account);
                let stored = self.parts.db.audited(made);
                let stored = stored.insert_first_administrator(hash, account.clone(), phc, record.clone());
                stored.await.map_err(used_meanwhile)?;
                self.parts.ring.put_account(account.clone());
                log::info!("user {} is the first administrator", account.id);
                Ok(self.open_session(record, cookie, &account, false))
            }
            Some(id) => {
                let account = self.invited(id, username.as_deref())?;
                let phc = self.hashed(&account.name, password).await?;
                let _changes = self.parts.ring.parts.changes.lock().await;
                let account = self.invited(id, None)?;
                let (record, cookie) = self.new_session(id, address, agent)?;
                let context = in_the_console(&account, address);
                let told = context.event(Action::UserPasswordChanged, id, record.created_at);
                let stored = self.parts.db.audited(told).take_up_link(hash, id, phc, record.clone());
                stored.await.map_err(used_meanwhile)?;
                self.drop_sessions_of(id, None);
                self.parts.throttle.unlock(&account.name);
                log::info!("user {id} chose a password with a one-time link");
                Ok(self.open_session(record, cookie, &account, false))
            }
        }
    }

    fn first_administrator(&self, name: Option<&str>) -> Result<AccountRecord, PeopleError> {
        let name = name.unwrap_or_default();
        let now = self.parts.clock.now();
        let account = minting::new_account("username", AccountKind::User, name, Role::GlobalAdmin, now)?;
        if self.parts.ring.account_named(&account.name).is_some() {
            return Err(PeopleError::invalid("username", "is taken; choose another"));
        }
        Ok(account)
    }

    fn invited(&self, id: AccountId, name: Option<&str>) -> Result<AccountRecord, PeopleError> {
        let account = self.parts.ring.account(id).ok_or(PeopleError::BadLink)?;
        if account.status != AccountStatus::Active || account.kind != AccountKind::User {
            return Err(PeopleError::BadLink);
        }
        if name.is_some_and(|name| !name.trim().eq_ignore_ascii_case(&account.name)) {
            return Err(PeopleError::invalid(
                "username",
                "is not the one this link was made for; leave it out",
            ));
        }
        Ok(AccountRecord::clone(&account))
    }

    /// Stores a link for this account; the caller holds the lock of changes.
    pub(super) async fn store_invitation(
        &self,
        account: AccountId,
        is_reset: bool,
        by: &Actor,
    ) -> Result<Link, PeopleError> {
        self.store_link(Some(account), INVITATION_LIFE, is_reset, by.audit_context()).await
    }

    /// A link about to be stored, and its token.
    pub(super) fn new_invitation(&self, account: AccountId) -> Result<(LinkRecord, Link), PeopleError> {
        self.new_link(Some(account), INVITATION_LIFE)
    }

    async fn store_link(
        &self,
        account: Option<AccountId>,
        life: SignedDuration,
        is_reset: bool,
        by: Context,
    ) -> Result<Link, PeopleError> {
        let (record, link) = self.new_link(account, life)?;
        let now = self.parts.clock.now();
        let target = account.map_or(Target::new("setup", "administrator"), Target::from);
        let made = by.event(Action::SetupLinkMade, target.clone(), now);
        let reset = is_reset.then(|| by.event(Action::UserSecondFactorChanged, target, now));
        self.parts.db.audited(made).and(reset).put_link(record, is_reset).await?;
        Ok(link)
    }

    fn new_link(
        &self,
        account: Option<AccountId>,
        life: SignedDuration,
    ) -> Result<(LinkRecord, Link), PeopleError> {
        let (token, token_hash) = random_token()?;
        let expires_at = minting::later(self.parts.clock.now(), life);
        Ok((LinkRecord { token_hash, account, expires_at }, Link { token, expires_at }))
    }
}

fn used_meanwhile(error: DbError) -> PeopleError {
    match error {
        DbError::Conflict => PeopleError::BadLink,
        error => error.into(),
    }
}

/// Whether the address is this machine's or of a private network (RFC 1918, RFC 4193, link-local).
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_this_machine_and_private_networks() {
        let near = [
            "127.0.0.1",
            "::1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.9.9",
            "169.254.1.1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ];
        let far = ["192.0.2.1", "172.32.0.1", "8.8.8.8", "2001:db8::1", "::ffff:8.8.8.8", "0.0.0.0"];
        assert!(near.iter().all(|address| is_near(address.parse().unwrap())));
        assert!(!far.iter().any(|address| is_near(address.parse().unwrap())));
    }
}
