//! What the failures of the floors below mean to a client.

use super::error::{
    ACCOUNT_KEY_EXISTS, AUDIT_CONFLICT, ApiError, BAD_DOCUMENT, BLOCKED_BY_POLICY, CODE_NEEDED, FieldError,
    KEY_CONFLICT, KEY_NOT_FOUND, LINK_INVALID, LOGIN_FAILED, NO_SCOPE, NOT_FOUND, NOT_RECOVERABLE,
    PASSWORD_NEEDED, SEAL_CONFLICT, UNSUPPORTED_TYPE, USER_CONFLICT, USER_NOT_FOUND, WEBHOOK_CONFLICT,
    WEBHOOK_NOT_FOUND,
};
use crate::access::records::Standing;
use crate::app::settings::SettingsError;
use crate::audit::AuditError;
use crate::auth::AuthError;
use crate::auth::people::PeopleError;
use crate::convert::ConvertError;
use crate::db::DbError;
use crate::fax::policy::Block;
use crate::fax::sentences;
use crate::inbound::InboxError;
use crate::queue::QueueError;
use crate::seal::Locked;
use crate::sealing::SealingError;
use crate::spool::SpoolError;
use crate::webhooks::WebhookError;

/// Seconds after which to ask again when the sealing key is gone: somebody has to bring it.
const LOCKED_RETRY_S: u64 = 300;
/// The same when another program holds the database: a copy or a look with a shell is over by then.
const LOCKED_BY_OTHERS_RETRY_S: u64 = 10;
/// The same when the disk takes nothing: somebody has to look at it.
const DISK_RETRY_S: u64 = 60;

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::DiskFull => disk_full(),
            DbError::ReadOnly => read_only(&error),
            DbError::Locked => {
                log::error!("nothing can be stored: {error}");
                Self::busy(
                    "Another program on the appliance holds the database at this moment; nothing was changed.",
                    LOCKED_BY_OTHERS_RETRY_S,
                )
            }
            DbError::Closed => Self::busy("The appliance is going down.", 5),
            DbError::Pool(_) => Self::busy("The appliance is very busy.", 1),
            // Only while the seal does not open, which has the log's key.
            DbError::AuditClosed => Self::busy(
                "Nobody can sign in and nothing is changed at this moment, because the appliance's sealing key is \
                 missing or wrong. Tell your administrator: on the appliance, 'pagewire seal status' says what to do.",
                LOCKED_RETRY_S,
            ),
            error => Self::internal(&error),
        }
    }
}

impl From<SettingsError> for ApiError {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Db(error) => error.into(),
            SettingsError::Faults(faults) => {
                Self::fields(faults.into_iter().map(|fault| (fault.key, fault.code, fault.message)))
            }
        }
    }
}

impl From<Locked> for ApiError {
    fn from(locked: Locked) -> Self {
        Self::busy(locked.to_string(), LOCKED_RETRY_S)
    }
}

impl From<SpoolError> for ApiError {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::DiskFull => disk_full(),
            SpoolError::ReadOnly => read_only(&error),
            SpoolError::Locked(locked) => locked.into(),
            SpoolError::Missing => Self::new(&NOT_FOUND, "The document is no longer stored."),
            error => Self::internal(&error),
        }
    }
}

impl From<ConvertError> for ApiError {
    fn from(error: ConvertError) -> Self {
        match &error {
            ConvertError::UnknownType { .. } => Self::new(&UNSUPPORTED_TYPE, error.to_string()),
            ConvertError::Busy => Self::busy(error.to_string(), 5),
            ConvertError::Unavailable(cause) => {
                log::error!("documents cannot be converted: {cause}");
                Self::busy(
                    "Documents cannot be converted at this moment; the administrator finds the cause in the log.",
                    60,
                )
            }
            error if error.is_document_fault() => Self::new(&BAD_DOCUMENT, error.to_string()),
            error => Self::internal(error),
        }
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Db(error) => error.into(),
            QueueError::Spool(error) => error.into(),
            QueueError::Convert(error) => error.into(),
            QueueError::NoRoom => Self::storage_full(
                "The appliance is almost full, so this fax was not accepted. Faxes accepted before are sent, and faxes \
                 are still received. Tell your administrator, and send it again once there is room.",
                DISK_RETRY_S,
            ),
            QueueError::Blocked(block) => {
                Self::new(&BLOCKED_BY_POLICY, sentences::refused_number(&block)).with_reason("policy")
            }
            QueueError::SomeBlocked(blocked) => {
                let error = |(raw, block): &(String, Block)| {
                    let message = format!("{raw}: {}", sentences::refused_number(block));
                    FieldError { field: "to".into(), code: block.code().into(), message }
                };
                let detail = sentences::refused_numbers(blocked.len());
                let refused = Self::new(&BLOCKED_BY_POLICY, detail).with_reason("policy");
                refused.with_errors(blocked.iter().map(error).collect())
            }
            error => Self::internal(&error),
        }
    }
}

impl From<InboxError> for ApiError {
    fn from(error: InboxError) -> Self {
        match error {
            InboxError::Db(error) => error.into(),
            InboxError::Spool(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<AuditError> for ApiError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Db(error) => error.into(),
            error @ AuditError::NotDamaged => Self::new(&AUDIT_CONFLICT, sentence(&error)),
            AuditError::Busy => Self::busy("The audit log is being verified already.", 10),
        }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let error = match error {
            AuthError::Db(error) => return error.into(),
            error => error,
        };
        match &error {
            AuthError::Invalid { field, .. } => Self::field(field, "invalid", format!("{error}.")),
            AuthError::NotFound => Self::new(&KEY_NOT_FOUND, "No API key with this id."),
            AuthError::State(standing) => Self::new(&KEY_CONFLICT, state_sentence(*standing)),
            AuthError::NotRecoverable(why) => Self::new(&NOT_RECOVERABLE, *why),
            AuthError::AccountKeyExists => Self::new(&ACCOUNT_KEY_EXISTS, format!("{error}.")),
            AuthError::NoAccount => Self::new(&NOT_FOUND, "There is no account with this id."),
            AuthError::TooOften { what, retry_after_s } => {
                Self::rate_limited(*what, "minute", *retry_after_s)
            }
            AuthError::Locked(locked) => locked.clone().into(),
            // The key does not come back by itself, so to repeat it now would not help.
            AuthError::NotFinal(DbError::AuditClosed) => Self::busy(
                "The key is refused from now on, but only until Pagewire restarts: the sealing key is missing or \
                 wrong, so this could not be stored. Bring the sealing key back, restart Pagewire, and end the key \
                 again at once; 'pagewire seal status' on the appliance says how.",
                LOCKED_RETRY_S,
            ),
            AuthError::NotFinal(_) => Self::internal_with(
                &error,
                "The key is refused from now on, but that could not be stored: it would work again after the \
                 next restart. Repeat this until it succeeds.",
            ),
            AuthError::PasswordNeeded => PeopleError::PasswordNeeded.into(),
            AuthError::Forbidden(why) => Self::new(&NO_SCOPE, why.clone()),
            AuthError::Overloaded => Self::busy("Too many keys are being checked at once.", 1),
            _ => Self::internal(&error),
        }
    }
}

impl From<PeopleError> for ApiError {
    fn from(error: PeopleError) -> Self {
        let problem = match error {
            PeopleError::Auth(error) => return error.into(),
            PeopleError::Seal(error) => return Self::internal(&error),
            PeopleError::TooManyTries { retry_after_s } => {
                return Self::rate_limited(error.to_string(), "login", retry_after_s);
            }
            PeopleError::WrongLogin | PeopleError::WrongCode => &LOGIN_FAILED,
            PeopleError::CodeNeeded => &CODE_NEEDED,
            PeopleError::BadLink | PeopleError::TooFar => &LINK_INVALID,
            PeopleError::NotFound => &USER_NOT_FOUND,
            PeopleError::State(_) => &USER_CONFLICT,
            PeopleError::PasswordNeeded => &PASSWORD_NEEDED,
        };
        Self::new(problem, error.to_string())
    }
}

impl From<WebhookError> for ApiError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::NotFound => Self::new(&WEBHOOK_NOT_FOUND, "There is no such webhook."),
            WebhookError::State(why) => Self::new(&WEBHOOK_CONFLICT, why),
            WebhookError::Invalid { field, .. } => Self::field(field, "invalid", format!("{error}.")),
            WebhookError::Locked(locked) => locked.into(),
            WebhookError::Db(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}

impl From<SealingError> for ApiError {
    fn from(error: SealingError) -> Self {
        match &error {
            SealingError::Locked(_)
            | SealingError::NotLocked
            | SealingError::NoRecoveryKey
            | SealingError::HasRecoveryKey
            | SealingError::FromCredential
            | SealingError::NotProved => Self::new(&SEAL_CONFLICT, sentence(&error)),
            SealingError::InvalidRecoveryKey(_) | SealingError::WrongRecoveryKey => {
                Self::field("recovery_key", "invalid", sentence(&error))
            }
            SealingError::InvalidKey => Self::field("kek", "invalid", sentence(&error)),
            SealingError::Db(_) | SealingError::Seal(_) => Self::internal(&error),
        }
    }
}

/// An error's text as a sentence of its own.
fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut rest = text.chars();
    let first = rest.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{stop}", rest.as_str())
}

fn state_sentence(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "The API key is active.",
        Standing::Disabled => "The API key is disabled; enable it first.",
        Standing::Revoked => "The API key is revoked, and a revoked key never works again; make a new one.",
        Standing::Expired => "The API key has expired; give it a later end first.",
        Standing::OwnerDisabled => "The owner of the API key is disabled.",
    }
}

fn disk_full() -> ApiError {
    ApiError::storage_full("The appliance's disk is full; nothing was accepted.", DISK_RETRY_S)
}

fn read_only(cause: &dyn std::error::Error) -> ApiError {
    log::error!("nothing can be stored: {cause}");
    ApiError::busy(
        "The appliance's disk takes no changes at this moment; nothing was accepted. Tell your administrator.",
        DISK_RETRY_S,
    )
}
