//! The bootstrap key: the one in the environment variable `API_KEY`.
//!
//! It may do everything a key may, so that the first keys can be made with it.
//! Once an administrator exists it is refused, unless that was switched off. Only its digest stays
//! in memory.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{AuthError, Refusal};
use crate::access::records::AccountRecord;
use crate::secret::Secret;

/// Shortest bootstrap key: 20 characters of a password generator hold more than 100 bits.
const SHORTEST: usize = 20;

/// The bootstrap key, as configured.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Its text, at least 20 characters.
    pub key: Secret<String>,
    /// Whether it is accepted although an administrator exists.
    pub even_with_administrator: bool,
}

/// The bootstrap key, ready to be compared.
pub(super) struct BootstrapCheck {
    digest: [u8; 32],
    even_with_administrator: bool,
    account: Arc<AccountRecord>,
}

impl BootstrapCheck {
    /// Refuses a key that is too short to be left alone with the internet.
    pub(super) fn new(bootstrap: &Bootstrap, account: Arc<AccountRecord>) -> Result<Self, AuthError> {
        let key = bootstrap.key.reveal();
        if key.chars().count() < SHORTEST {
            return Err(AuthError::invalid("API_KEY", format!("needs at least {SHORTEST} characters")));
        }
        Ok(Self {
            digest: Sha256::digest(key.as_bytes()).into(),
            even_with_administrator: bootstrap.even_with_administrator,
            account,
        })
    }

    /// Whether `credential` is it; in the same time for every credential of the same length.
    pub(super) fn matches(&self, credential: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(credential.as_bytes()).into();
        digest.ct_eq(&self.digest).into()
    }

    /// The account that acts when it is used.
    pub(super) fn admit(&self, administrator_exists: bool) -> Result<Arc<AccountRecord>, Refusal> {
        if administrator_exists && !self.even_with_administrator {
            return Err(Refusal::BootstrapRetired);
        }
        Ok(self.account.clone())
    }
}
