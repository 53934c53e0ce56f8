//! The words of the audit log: who did what to which thing, by which way.
//!
//! Owns: the closed set of actions, and the shape of an event before it becomes a row ([`chain`]
//! links rows, [`canonical`] writes them out). Refuses: secrets. What an event tells of a thing is
//! a [`Snapshot`], which takes serialisable values only, and a `Secret` is none; the text of a
//! token that came in by another door (somebody wrote it into a reason) is blotted out.

pub mod canonical;
pub mod chain;

use std::fmt::Display;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::records::{AccountRecord, KeyRecord};
use super::token::KeyId;
use crate::id::{AccountId, InboundId, JobId, RequestId};
use crate::log::scrub;

named! {
    /// What was done. A new kind of change gets a new name here; a name is never given another
    /// meaning, because rows of years ago carry it.
    "audit action" Action {
        /// An API key was made.
        ApiKeyCreated = "api_key.created",
        /// An API key came from another system's database.
        ApiKeyImported = "api_key.imported",
        /// An API key got a new secret.
        ApiKeyRotated = "api_key.rotated",
        /// The secret a key had before its rotation was ended.
        ApiKeyPreviousEnded = "api_key.previous_ended",
        /// An API key was ended for good.
        ApiKeyRevoked = "api_key.revoked",
        /// An API key was switched off.
        ApiKeyDisabled = "api_key.disabled",
        /// An API key was switched on again.
        ApiKeyEnabled = "api_key.enabled",
        /// Name, bounds or limits of an API key were changed.
        ApiKeyChanged = "api_key.changed",
        /// The token of a recoverable API key was shown.
        ApiKeyRevealed = "api_key.revealed",
        /// Somebody asked whose a token is that was found somewhere.
        ApiKeyIdentified = "api_key.identified",
        /// A revoked API key was taken out of its owner's list.
        ApiKeyHidden = "api_key.hidden",
        /// A user account was made.
        UserCreated = "user.created",
        /// Name, role or grants of a user were changed.
        UserChanged = "user.changed",
        /// A user was switched off.
        UserDisabled = "user.disabled",
        /// A user was switched on again.
        UserEnabled = "user.enabled",
        /// A user was removed.
        UserRemoved = "user.removed",
        /// A user's password was set or changed.
        UserPasswordChanged = "user.password_changed",
        /// A user's second factor was switched on, off or renewed.
        UserSecondFactorChanged = "user.second_factor_changed",
        /// A service account was made.
        ServiceAccountCreated = "service_account.created",
        /// A service account was changed.
        ServiceAccountChanged = "service_account.changed",
        /// A link or token for setting the appliance up was made.
        SetupLinkMade = "setup.link_made",
        /// A person logged in.
        SessionStarted = "session.started",
        /// A person gave the password again.
        SessionConfirmed = "session.confirmed",
        /// A session ended: by logging out, by time, or by somebody who killed it.
        SessionEnded = "session.ended",
        /// Settings were changed.
        SettingsChanged = "settings.changed",
        /// A range of numbers was opened or closed, a number allowed, blocked or forgotten.
        PolicyChanged = "policy.changed",
        /// All dialling was stopped.
        DiallingPaused = "dialling.paused",
        /// Dialling went on.
        DiallingResumed = "dialling.resumed",
        /// A route was put back into service by a person.
        RouteRestored = "route.restored",
        /// A TLS certificate was made or installed.
        CertificateChanged = "certificate.changed",
        /// The recovery key was made or replaced.
        RecoveryKeyMade = "seal.recovery_key_made",
        /// The data key was wrapped anew.
        SealRewrapped = "seal.rewrapped",
        /// A new sealing key was made with the recovery key.
        SealRecovered = "seal.recovered",
        /// The store was brought back from a backup.
        StoreRestored = "store.restored",
        /// Keys or faxes came from another system's database.
        StoreImported = "store.imported",
        /// A fax was cancelled.
        FaxCancelled = "fax.cancelled",
        /// The number, time or urgency of a fax was changed before it was sent.
        FaxAltered = "fax.altered",
        /// A fax was held by a person.
        FaxHeld = "fax.held",
        /// A held fax was let go.
        FaxReleased = "fax.released",
        /// The pages of a fax were sent again.
        FaxResent = "fax.resent",
        /// A fax was deleted, because its time was over or the disk low.
        FaxDeleted = "fax.deleted",
        /// A received fax was marked as read or unread, assigned, or got a note.
        InboundChanged = "inbound.changed",
        /// The pages of a received fax were sent on as a new fax.
        InboundForwarded = "inbound.forwarded",
        /// Pages of a fax were shown.
        ContentViewed = "content.viewed",
        /// A webhook was made.
        WebhookCreated = "webhook.created",
        /// Name, address, types or state of a webhook were changed.
        WebhookChanged = "webhook.changed",
        /// A webhook got a new secret.
        WebhookRotated = "webhook.rotated",
        /// A webhook was removed.
        WebhookRemoved = "webhook.removed",
        /// A webhook is told again what happened.
        WebhookReplayed = "webhook.replayed",
        /// The audit log was exported.
        AuditExported = "audit.exported",
        /// The oldest rows of the audit log were removed, as its retention says.
        AuditPruned = "audit.pruned",
        /// The end of the audit log was not where it had been noted: somebody touched the database.
        AuditBroken = "audit.broken",
        /// Somebody on the machine took note of damage to the log: rows from there up to this one
        /// prove nothing any more, those that follow do.
        AuditDamageAccepted = "audit.damage_accepted",
    }
}

named! {
    /// The way a change came.
    "way" Via {
        /// An HTTP request with a key, or without one.
        Api = "api",
        /// A person's session in the console.
        Console = "console",
        /// A command on the machine itself.
        Cli = "cli",
        /// The appliance did it by itself.
        System = "system",
    }
}

/// Who does something, and from where: what all events of one request have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Who, as in `key:0123456789ab`, `user:…`, `bootstrap`, `cli:1000`, `anonymous`, `system`.
    pub actor: String,
    /// By which way.
    pub via: Via,
    /// From which address, where there is one.
    pub address: Option<IpAddr>,
    /// The HTTP request, where there is one.
    pub request_id: Option<RequestId>,
}

impl Context {
    /// The appliance itself.
    pub fn system() -> Self {
        Self { actor: "system".to_owned(), via: Via::System, address: None, request_id: None }
    }

    /// A command on the machine, run by this Unix user.
    pub fn cli(uid: u32) -> Self {
        Self { actor: format!("cli:{uid}"), via: Via::Cli, address: None, request_id: None }
    }

    /// What they do at `at` to `target`.
    pub fn event(&self, action: Action, target: impl Into<Target>, at: Timestamp) -> AuditEvent {
        AuditEvent {
            at,
            context: self.clone(),
            action,
            target: target.into(),
            before: None,
            after: None,
            reason: None,
        }
    }
}

/// The thing something was done to: `api_key:0123456789ab`, `fax:…`, `settings:line.route`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(String);

impl Target {
    /// The thing of this kind with this name.
    pub fn new(kind: &'static str, name: impl Display) -> Self {
        Self(format!("{kind}:{name}"))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<KeyId> for Target {
    fn from(id: KeyId) -> Self {
        Self::new("api_key", id)
    }
}

impl From<AccountId> for Target {
    fn from(id: AccountId) -> Self {
        Self::new("account", id)
    }
}

impl From<JobId> for Target {
    fn from(id: JobId) -> Self {
        Self::new("fax", id)
    }
}

impl From<InboundId> for Target {
    fn from(id: InboundId) -> Self {
        Self::new("inbound", id)
    }
}

/// One thing that was done, to be written down together with the change itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// Who, and from where.
    pub context: Context,
    /// What.
    pub action: Action,
    /// To which thing.
    pub target: Target,
    /// How the thing was, as far as it changed.
    pub before: Option<Snapshot>,
    /// How it is now, as far as it changed; of a view, what was shown.
    pub after: Option<Snapshot>,
    /// Why, in the words of who did it.
    pub reason: Option<String>,
}

impl AuditEvent {
    /// With how the thing was.
    pub fn before(self, before: Snapshot) -> Self {
        Self { before: Some(before), ..self }
    }

    /// With how the thing is now.
    pub fn after(self, after: Snapshot) -> Self {
        Self { after: Some(after), ..self }
    }

    /// With why it was done.
    pub fn reason(self, reason: Option<String>) -> Self {
        Self { reason, ..self }
    }
}

/// What is told of a thing: names and plain values, never a secret.
///
/// A `Secret` cannot get in, alone or inside a record, because it is not serialisable:
/// ```compile_fail
/// use pagewire::access::audit::Snapshot;
/// use pagewire::secret::Secret;
/// Snapshot::new().with("token", Secret::new(String::from("fbk_live_…")));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(Map<String, Value>);

impl Snapshot {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more value. Numbers that are no whole numbers below 2⁵³ become text, because the
    /// canonical form has no others.
    pub fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).unwrap_or_else(|_| "cannot be shown".into());
        self.0.insert(name.to_owned(), plain(value));
        self
    }

    /// Its canonical JSON.
    pub fn canonical(&self) -> String {
        canonical::object(&self.0)
    }
}

/// `value` with blotted tokens and without numbers that the canonical form cannot hold.
fn plain(value: Value) -> Value {
    match value {
        Value::String(text) => scrub(&text).into_owned().into(),
        Value::Number(number) if !canonical::holds(&number) => number.to_string().into(),
        Value::Array(items) => items.into_iter().map(plain).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (scrub(&name).into_owned(), plain(value))).collect()
        }
        value => value,
    }
}

impl From<&KeyRecord> for Snapshot {
    fn from(key: &KeyRecord) -> Self {
        Self::new()
            .with("allowed_origins", &key.allowed_origins)
            .with("expires_at", key.expires_at)
            .with("ip_allow", &key.ip_allow)
            .with("kind", key.kind.as_str())
            .with("limits", key.limits)
            .with("name", &key.name)
            .with("not_before", key.not_before)
            .with("note", &key.note)
            .with("owner_id", key.owner.to_string())
            .with("resources", &key.resources)
            .with("scopes", key.scopes)
            .with("status", key.status.as_str())
    }
}

impl From<&AccountRecord> for Snapshot {
    fn from(account: &AccountRecord) -> Self {
        Self::new()
            .with("kind", account.kind.as_str())
            .with("name", &account.name)
            .with("role", account.role.as_str())
            .with("status", account.status.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_actions_are_dotted_and_unique() {
        let mut seen = std::collections::HashSet::new();
        for name in Action::NAMES {
            assert!(seen.insert(name), "{name}");
            let (family, verb) = name.split_once('.').unwrap();
            for word in [family, verb] {
                assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            }
        }
    }

    #[test]
    fn a_snapshot_holds_plain_values_and_no_token() {
        let token = format!("fbk_live_0123456789ab_{}", "A".repeat(49));
        let snapshot = Snapshot::new()
            .with("note", format!("was {token}!"))
            .with("list", [token.clone()])
            .with("map", std::collections::BTreeMap::from([(token.clone(), 1)]))
            .with("share", 0.5)
            .with("large", u64::MAX)
            .with("count", 9_007_199_254_740_991_i64)
            .with("at", "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap())
            .with("nothing", None::<String>);
        assert_eq!(
            snapshot.canonical(),
            "{\"at\":\"2026-01-01T00:00:00Z\",\"count\":9007199254740991,\
             \"large\":\"18446744073709551615\",\"list\":[\"fbk_live_0123456789ab_…\"],\
             \"map\":{\"fbk_live_0123456789ab_…\":1},\"note\":\"was fbk_live_0123456789ab_…!\",\
             \"nothing\":null,\"share\":\"0.5\"}"
        );
    }
}
