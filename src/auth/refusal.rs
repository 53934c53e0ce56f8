//! Why a credential was not accepted.

use crate::access::outcome::Outcome;
use crate::access::token::InvalidToken;

/// Why a credential was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no token of ours.
    #[error("This is not an API key.")]
    Malformed,
    /// It was mistyped.
    #[error("The API key is mistyped: its checksum is wrong.")]
    Checksum,
    /// No key has its id.
    #[error("There is no such API key.")]
    UnknownId,
    /// The key exists, its secret is another.
    #[error("The secret of the API key is wrong.")]
    BadSecret,
    /// The key was revoked.
    #[error("This API key was revoked and never works again; make a new one.")]
    Revoked,
    /// The key is past its end.
    #[error("This API key has expired; make a new one.")]
    Expired,
    /// The key is not valid yet.
    #[error("This API key is not valid yet.")]
    NotYetValid,
    /// The key is switched off.
    #[error("This API key is disabled; it can be enabled again.")]
    Disabled,
    /// The key's owner is switched off.
    #[error("The owner of this API key is disabled.")]
    OwnerDisabled,
    /// The key does not work from this address.
    #[error("This API key is not accepted from this address.")]
    IpDenied,
    /// The bootstrap key is right, but an administrator exists.
    #[error(
        "The key in API_KEY is not accepted while an administrator exists; set ALLOW_BOOTSTRAP_KEY=true to accept it."
    )]
    BootstrapRetired,
    /// Too many keys are being proved at once.
    #[error("Too many API keys are being checked at once.")]
    Overloaded,
    /// Too many failures came from this address.
    #[error("Too many failed attempts came from this address.")]
    Flood {
        /// Seconds after which a failure is answered in detail again.
        retry_after_s: u64,
    },
}

impl Refusal {
    /// Whether who presented it holds the right secret, and so may be told the reason.
    pub fn is_secret_right(&self) -> bool {
        match self {
            Self::Revoked
            | Self::Expired
            | Self::NotYetValid
            | Self::Disabled
            | Self::OwnerDisabled
            | Self::IpDenied
            | Self::BootstrapRetired => true,
            Self::Malformed
            | Self::Checksum
            | Self::UnknownId
            | Self::BadSecret
            | Self::Overloaded
            | Self::Flood { .. } => false,
        }
    }

    /// What the request's credential came to; `None` when that was not found out.
    pub fn outcome(&self) -> Option<Outcome> {
        Some(match self {
            Self::Malformed => Outcome::Malformed,
            Self::Checksum => Outcome::Checksum,
            Self::UnknownId => Outcome::UnknownId,
            Self::BadSecret => Outcome::BadSecret,
            Self::Revoked => Outcome::Revoked,
            Self::Expired => Outcome::Expired,
            Self::NotYetValid => Outcome::NotYetValid,
            Self::Disabled | Self::BootstrapRetired => Outcome::Disabled,
            Self::OwnerDisabled => Outcome::OwnerDisabled,
            Self::IpDenied => Outcome::IpDenied,
            Self::Flood { .. } => Outcome::RateLimited,
            Self::Overloaded => return None,
        })
    }

    /// The precise reason, in a word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BootstrapRetired => "bootstrap_retired",
            Self::Overloaded => "overloaded",
            other => other.outcome().map_or("", Outcome::as_str),
        }
    }
}

impl From<InvalidToken> for Refusal {
    fn from(error: InvalidToken) -> Self {
        match error {
            InvalidToken::Malformed => Self::Malformed,
            InvalidToken::Checksum => Self::Checksum,
        }
    }
}
