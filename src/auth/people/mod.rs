//! People: how they get in, and what is theirs.
//!
//! Owns: passwords, the second factor, sessions, one-time links, and the accounts people and
//! service accounts have. Refuses: a default account; to tell a wrong name from a wrong password;
//! to lock anybody out for good. Whether a connection is private enough for any of this is decided
//! in `http`.
//!
//! Invariants: tokens of sessions and links are kept as hashes only; hashing of passwords has
//! permits of its own, so that it never keeps API keys waiting; once a change of role, status or
//! password returned, no request that starts later is let in as before.

mod accounts;
mod login;
mod passwords;
mod sessions;
mod setup;
#[cfg(test)]
mod tests;
mod throttle;
mod totp;

use std::net::IpAddr;
use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use accounts::{Change, NewAccount, PersonView};
pub use login::Attempt;
pub use sessions::{SessionView, SignedIn};
pub use setup::{Link, Redemption};
pub use totp::TotpSetup;

use super::AuthError;
use super::hashing::{HashError, Hasher};
use super::keys::KeyRing;
use crate::access::audit::{Context, Via};
use crate::access::people::TokenHash;
use crate::access::records::AccountRecord;
use crate::access::token::NoRandomness;
use crate::clock::Clock;
use crate::db::{Db, DbError};
use crate::seal::{Locked, Seal, SealError};
use crate::secret::Secret;
use sessions::Sessions;
use throttle::Throttle;

/// Passwords hashed at once; the other core is for everybody else.
const HASHING: usize = 1;
/// Passwords that may wait for that.
const HASHES_WAITING: usize = 16;
/// Bytes of a session's or link's token: 256 bits.
const TOKEN_LEN: usize = 32;

/// All people of the appliance. Cheap to clone.
#[derive(Clone)]
pub struct People {
    parts: Arc<Parts>,
}

struct Parts {
    db: Db,
    clock: Clock,
    seal: Result<Arc<Seal>, Locked>,
    ring: KeyRing,
    hasher: Hasher,
    sessions: Sessions,
    throttle: Throttle,
}

/// Why a person was not let in, or a change of people not made.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// Name or password is wrong; which one is not told.
    #[error("The user name or the password is wrong.")]
    WrongLogin,
    /// The password is right, and a code of the second factor is needed.
    #[error("The code from your authenticator app is needed.")]
    CodeNeeded,
    /// The code is wrong, too old, or was used before.
    #[error("The code is wrong or was used before; wait for the next one.")]
    WrongCode,
    /// Too many wrong passwords.
    #[error("Too many failed tries; wait {retry_after_s} seconds.")]
    TooManyTries {
        /// Seconds until the next try counts.
        retry_after_s: u64,
    },
    /// The link was used, replaced, or is too old.
    #[error("This link was used before or is too old. Ask for a new one.")]
    BadLink,
    /// The link works from near only.
    #[error("The setup link works from this appliance's own network only.")]
    TooFar,
    /// There is no such account.
    #[error("There is no such user.")]
    NotFound,
    /// This is not possible as things stand.
    #[error("{0}")]
    State(&'static str),
    /// The password has to be entered again.
    #[error("Enter your password again; it counts for five minutes.")]
    PasswordNeeded,
    /// The second factor's secret does not open.
    #[error("the second factor cannot be unsealed")]
    Seal(#[from] SealError),
    /// As with keys.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

/// Somebody who proves to be this person, before there is a session of theirs.
fn in_the_console(account: &AccountRecord, address: Option<IpAddr>) -> Context {
    Context { actor: format!("user:{}", account.name), via: Via::Console, address, request_id: None }
}

impl Parts {
    /// The seal, or why it does not open.
    fn seal(&self) -> Result<&Seal, Locked> {
        self.seal.as_deref().map_err(Locked::clone)
    }
}

impl From<DbError> for PeopleError {
    fn from(error: DbError) -> Self {
        AuthError::from(error).into()
    }
}

impl From<Locked> for PeopleError {
    fn from(locked: Locked) -> Self {
        AuthError::from(locked).into()
    }
}

impl From<HashError> for PeopleError {
    fn from(error: HashError) -> Self {
        AuthError::from(error).into()
    }
}

impl From<NoRandomness> for PeopleError {
    fn from(error: NoRandomness) -> Self {
        AuthError::from(error).into()
    }
}

impl PeopleError {
    fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        AuthError::invalid(field, message).into()
    }

    fn forbidden(why: impl Into<String>) -> Self {
        AuthError::Forbidden(why.into()).into()
    }
}

impl People {
    /// Reads sessions and failed tries; people themselves stay in the database.
    pub async fn load(
        db: Db,
        seal: Result<Arc<Seal>, Locked>,
        clock: Clock,
        ring: KeyRing,
    ) -> Result<Self, PeopleError> {
        let people = db.people().await?;
        let throttle = Throttle::new();
        for (id, person) in &people {
            if let (Some(account), Some(at)) = (ring.account(*id), person.last_failed_at) {
                throttle.remember(&account.name, person.failed_tries, at);
            }
        }
        let must_change = |id| people.get(&id).is_some_and(|person| person.must_change);
        let sessions = Sessions::new(db.sessions().await?, must_change);
        let hasher = Hasher::with_room(HASHING, HASHES_WAITING);
        Ok(Self { parts: Arc::new(Parts { db, clock, seal, ring, hasher, sessions, throttle }) })
    }
}

impl std::fmt::Debug for People {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("People")
    }
}

/// A token of 256 random bits, in hex, and its hash.
fn random_token() -> Result<(Secret<String>, TokenHash), NoRandomness> {
    let mut random = Zeroizing::new([0; TOKEN_LEN]);
    SysRng.try_fill_bytes(random.as_mut_slice())?;
    let mut text = String::with_capacity(2 * TOKEN_LEN);
    for byte in random.iter() {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
        }
    }
    let hash = hash_of(&text);
    Ok((Secret::new(text), hash))
}

fn hash_of(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// Runs a change that must not stop half way when its caller does.
async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, PeopleError>> + Send + 'static,
) -> Result<T, PeopleError> {
    tokio::spawn(change).await.unwrap_or(Err(PeopleError::Auth(AuthError::BrokenOff)))
}
