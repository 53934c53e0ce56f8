//! The records kept of people, beside their accounts: how they sign in, and where they are signed in.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::id::{AccountId, SessionId};
use crate::secret::Secret;

/// SHA-256 of a random token; says nothing of it.
pub type TokenHash = [u8; 32];

/// What is kept of a person. The default has no password and cannot sign in.
#[derive(Clone, Debug, Default)]
pub struct PersonRecord {
    /// Argon2id hash of the password, in PHC string format.
    pub password: Option<Secret<String>>,
    /// When that password was set.
    pub password_set_at: Option<Timestamp>,
    /// Whether the password was given by somebody else and has to be changed first.
    pub must_change: bool,
    /// The second factor, begun or in force.
    pub totp: Option<TotpRecord>,
    /// Recovery codes left.
    pub recovery_codes: u32,
    /// Wrong passwords in a row.
    pub failed_tries: u32,
    /// When the last of them came.
    pub last_failed_at: Option<Timestamp>,
    /// When the person last signed in.
    pub last_login_at: Option<Timestamp>,
    /// From where.
    pub last_login_ip: Option<IpAddr>,
}

impl PersonRecord {
    /// The second factor, when it is in force.
    pub fn second_factor(&self) -> Option<&TotpRecord> {
        self.totp.as_ref().filter(|totp| totp.on_since.is_some())
    }
}

/// A second factor by time steps (RFC 6238).
#[derive(Clone, Debug)]
pub struct TotpRecord {
    /// The shared secret, sealed.
    pub sealed: Vec<u8>,
    /// Since when codes are asked for; `None` until the first one was entered.
    pub on_since: Option<Timestamp>,
    /// The last time step a code was taken for.
    pub last_step: u64,
}

/// What proved to be the second factor of a login; each works once.
#[derive(Clone, Copy, Debug)]
pub enum SecondFactor {
    /// The person has none.
    None,
    /// The code of this time step.
    Step(u64),
    /// The recovery code with this hash.
    RecoveryCode(TokenHash),
}

/// One place a person is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its public id.
    pub id: SessionId,
    /// SHA-256 of the cookie.
    pub token_hash: TokenHash,
    /// Whose it is.
    pub account: AccountId,
    /// When it began.
    pub created_at: Timestamp,
    /// When it last sent a request.
    pub last_seen_at: Timestamp,
    /// From where it was begun.
    pub address: Option<IpAddr>,
    /// What the browser calls itself.
    pub agent: Option<String>,
}

/// A link that lets somebody choose a password, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRecord {
    /// SHA-256 of its token.
    pub token_hash: TokenHash,
    /// Whose password; `None` makes the first administrator.
    pub account: Option<AccountId>,
    /// When it stops working.
    pub expires_at: Timestamp,
}
