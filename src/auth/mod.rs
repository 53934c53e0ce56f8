//! Who is let in.
//!
//! Owns: all API keys of the appliance in memory ([`KeyRing`]), the check of presented
//! credentials, the making and changing of keys, the accounts that own them, people and their
//! sessions ([`people`]), and how much each key may do ([`limits`]). Refuses: to tell anybody but
//! the holder of the right secret why it does not work
//! ([`Refusal::is_secret_right`]), and to run argon2 for a wrong secret.
//!
//! Invariant: no request that starts after [`KeyRing::revoke`] or [`KeyRing::disable`] returned is
//! let in with that key, and none after a change of its owner with more than that left. There is no
//! time-to-live anywhere; what a check relies on is swapped when it changes.

mod bootstrap;
mod caller;
mod changes;
mod check;
pub mod diagnostics;
mod entry;
mod hashing;
mod identify;
pub mod imported;
mod keys;
pub mod limits;
mod minting;
pub mod people;
mod refusal;
pub mod safety;
mod tags;
#[cfg(test)]
mod tests;

pub use bootstrap::Bootstrap;
pub use caller::{Actor, Caller};
pub use changes::{Revocation, Revoked, Rotated};
pub use check::Verified;
pub use identify::Identified;
pub use keys::{KeyRing, KeyView, Settings};
pub use minting::{KeyChange, LimitsChange, NewKey, ResourcesChange};
pub use refusal::Refusal;

use crate::access::records::Standing;
use crate::access::token::NoRandomness;
use crate::db::DbError;
use crate::seal::{Locked, SealError};

/// Why a change of keys or accounts was not made.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A field has a value that cannot be used.
    #[error("'{field}': {message}")]
    Invalid {
        /// Name of the field.
        field: &'static str,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// There is no such key.
    #[error("there is no API key with this id")]
    NotFound,
    /// The key is in a state in which this cannot be done.
    #[error("the API key is {0}")]
    State(Standing),
    /// The token of this key is not kept, or not to be shown.
    #[error("{0}")]
    NotRecoverable(&'static str),
    /// The one account key exists already.
    #[error("there is an account key already; reset it to get a new one")]
    AccountKeyExists,
    /// There is no such account.
    #[error("there is no account with this id")]
    NoAccount,
    /// The key is refused by this process, but that is not on disk.
    #[error("the key is refused until the next restart only: that could not be stored")]
    NotFinal(#[source] DbError),
    /// The seal that opens tokens does not open.
    #[error(transparent)]
    Locked(#[from] Locked),
    /// A token could not be sealed or opened.
    #[error("the token of a key could not be sealed or opened")]
    Seal(#[from] SealError),
    /// The one who asked may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The person who asked has to enter the password again first.
    #[error("the password has to be entered again; it counts for five minutes")]
    PasswordNeeded,
    /// Too many secrets are being hashed at once.
    #[error("too many keys are being checked at once")]
    Overloaded,
    /// It was asked too often.
    #[error("{what}")]
    TooOften {
        /// What was too often, as a sentence.
        what: &'static str,
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// A secret could not be hashed, or a stored hash cannot be read.
    #[error("a secret could not be hashed")]
    Hash(#[source] argon2::password_hash::Error),
    /// The work was broken off by a fault of ours.
    #[error("the change was broken off")]
    BrokenOff,
    /// No secret could be made.
    #[error("no secret could be made")]
    Random(#[from] NoRandomness),
    /// The database refused.
    #[error("the change could not be stored")]
    Db(#[from] DbError),
}

impl AuthError {
    fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { field, message: message.into() }
    }
}
