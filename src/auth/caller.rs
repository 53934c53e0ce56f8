//! Those who act: callers of requests, and actors of changes.
//!
//! Invariant: what a [`Caller`] may do is role ∩ scopes ∩ resources as they stood when its request
//! was let in; nothing here widens it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::AuthError;
use super::limits::meter::Meter;
use crate::access::audit::{Context, Via};
use crate::access::kind::{Kind, Mode};
use crate::access::origin::Origin;
use crate::access::records::{AccountRecord, KeyRecord};
use crate::access::rights::Right;
use crate::access::roles::Role;
use crate::access::scopes::{Scope, ScopeSet};
use crate::access::token::KeyId;
use crate::id::{AccountId, RequestId, SessionId};

/// Who sent a request, with the rights that hold for it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key it came with; `None` for the bootstrap key, the local socket and anonymous requests.
    pub key_id: Option<KeyId>,
    /// The account it acts for.
    pub owner: AccountId,
    /// Whether its faxes are real.
    pub mode: Mode,
    /// What it may do: the owner's role ∩ the key's scopes.
    pub scopes: ScopeSet,
    /// The owner's role.
    pub role: Role,
    identity: Identity,
    address: Option<IpAddr>,
    request_id: Option<RequestId>,
}

#[derive(Clone, Debug)]
enum Identity {
    Key { record: Arc<KeyRecord>, meter: Arc<Meter> },
    Bootstrap,
    Local { uid: u32 },
    Anonymous,
    Session(Arc<SignedIn>),
}

/// What a request knows of the session it came in.
#[derive(Debug)]
pub(super) struct SignedIn {
    pub(super) session: SessionId,
    pub(super) name: String,
    /// Until when the password counts as just entered.
    pub(super) fresh_until: Timestamp,
    pub(super) must_change_password: bool,
}

impl Caller {
    /// The holder of a key, whose requests are counted on this meter.
    pub(super) fn key(record: &Arc<KeyRecord>, owner: &AccountRecord, meter: &Arc<Meter>) -> Self {
        Self {
            key_id: Some(record.id),
            mode: record.kind.mode(),
            scopes: record.scopes.and(owner.role.allows()),
            ..Self::of(owner, Identity::Key { record: record.clone(), meter: meter.clone() })
        }
    }

    pub(super) fn bootstrap(account: &AccountRecord) -> Self {
        Self::of(account, Identity::Bootstrap)
    }

    pub(super) fn local(uid: u32, account: &AccountRecord) -> Self {
        Self::of(account, Identity::Local { uid })
    }

    pub(super) fn anonymous(account: &AccountRecord) -> Self {
        let scopes = ScopeSet::EVERYDAY.and(account.role.allows());
        Self { scopes, ..Self::of(account, Identity::Anonymous) }
    }

    /// A person at the console; with a password given by somebody else they may do nothing but
    /// change it.
    pub(super) fn session(account: &AccountRecord, signed_in: SignedIn) -> Self {
        let scopes = if signed_in.must_change_password { ScopeSet::EMPTY } else { account.role.allows() };
        Self { scopes, ..Self::of(account, Identity::Session(Arc::new(signed_in))) }
    }

    /// It acting as a key: what both may.
    pub(super) fn acting_as(&self, key: Self) -> Self {
        Self { scopes: key.scopes.and(self.scopes), role: key.role.min(self.role), ..key }
    }

    fn of(account: &AccountRecord, identity: Identity) -> Self {
        Self {
            key_id: None,
            owner: account.id,
            mode: Mode::Live,
            scopes: account.role.allows(),
            role: account.role,
            identity,
            address: None,
            request_id: None,
        }
    }

    /// It, with where its request came from; for the audit log.
    pub fn arrived(self, address: Option<IpAddr>, request_id: RequestId) -> Self {
        Self { address, request_id: Some(request_id), ..self }
    }

    /// It as the one who does what the audit log tells of.
    pub fn audit_context(&self) -> Context {
        let via = match self.identity {
            Identity::Local { .. } => Via::Cli,
            Identity::Session(_) => Via::Console,
            Identity::Key { .. } | Identity::Bootstrap | Identity::Anonymous => Via::Api,
        };
        Context { actor: self.label(), via, address: self.address, request_id: self.request_id }
    }

    /// Whether it may do this.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(scope)
    }

    /// What a key may do that it makes for its own account when nobody says otherwise: the same as it,
    /// without administration and without seeing tokens again.
    pub fn own_rights(&self) -> ScopeSet {
        let operators = Role::Operator.allows();
        let shared =
            Scope::ALL.iter().filter(|scope| operators.contains(**scope) && **scope != Scope::KeysReveal);
        self.scopes.and(shared.copied().collect())
    }

    /// Whether it sees what belongs to this account.
    pub fn sees(&self, owner: AccountId) -> bool {
        owner == self.owner || self.sees_everything()
    }

    /// Whether it sees what belongs to anybody: it was granted all jobs, or administrates.
    pub fn sees_everything(&self) -> bool {
        self.administrates() || self.record().is_some_and(|record| record.resources.all_jobs)
    }

    /// Whether it sees how everybody's faxes went: who sees everything, and a viewer at the console,
    /// whom no pages of others are shown.
    pub fn watches_everything(&self) -> bool {
        let is_viewer = self.role == Role::Viewer && self.session_id().is_some();
        self.sees_everything() || (is_viewer && self.may(Scope::FaxRead))
    }

    /// Whether telephone numbers are shown to it whole.
    pub fn sees_numbers(&self) -> bool {
        Right::FullNumbers.is_of(self.role)
    }

    /// Whether it manages others: an administrator's rights, all of them.
    pub fn administrates(&self) -> bool {
        self.role.is_administrator() && self.scopes == ScopeSet::ALL
    }

    /// Whether it may send to this number, in E.164.
    pub fn may_dial(&self, number: &str) -> bool {
        self.record().is_none_or(|record| record.resources.may_dial(number))
    }

    /// The session it came in.
    pub fn session_id(&self) -> Option<SessionId> {
        self.signed_in().map(|signed_in| signed_in.session)
    }

    /// Whether its password was entered in the last five minutes. A process of this machine needs
    /// none; a key has none.
    pub fn has_fresh_password(&self, now: Timestamp) -> bool {
        matches!(self.identity, Identity::Local { .. })
            || self.signed_in().is_some_and(|signed_in| now < signed_in.fresh_until)
    }

    /// Until when its password counts as just entered; only in a session.
    pub fn fresh_until(&self) -> Option<Timestamp> {
        self.signed_in().map(|signed_in| signed_in.fresh_until)
    }

    /// Whether it must change its password before anything else.
    pub fn must_change_password(&self) -> bool {
        self.signed_in().is_some_and(|signed_in| signed_in.must_change_password)
    }

    /// Whether a person is behind it: a session, or somebody on the machine itself.
    pub fn is_person(&self) -> bool {
        matches!(self.identity, Identity::Local { .. } | Identity::Session(_))
    }

    /// Whether it came with a key for places where everybody can read it.
    pub fn is_restricted(&self) -> bool {
        self.record().is_some_and(|record| record.kind == Kind::Restricted)
    }

    /// Whether it came with the bootstrap key.
    pub(super) fn is_bootstrap(&self) -> bool {
        matches!(self.identity, Identity::Bootstrap)
    }

    fn signed_in(&self) -> Option<&SignedIn> {
        match &self.identity {
            Identity::Session(signed_in) => Some(signed_in),
            _ => None,
        }
    }

    /// Who it is, in a word for records: `key:0123456789ab`, `user:anna`, `bootstrap`, `cli:1000`,
    /// `anonymous`.
    pub fn label(&self) -> String {
        match &self.identity {
            Identity::Key { record, .. } => format!("key:{}", record.id),
            Identity::Bootstrap => "bootstrap".to_owned(),
            Identity::Local { uid } => Actor::cli(*uid).to_string(),
            Identity::Anonymous => "anonymous".to_owned(),
            Identity::Session(signed_in) => format!("user:{}", signed_in.name),
        }
    }

    /// The kind of its key, when it came with one.
    pub fn kind(&self) -> Option<Kind> {
        self.record().map(|record| record.kind)
    }

    /// Web origins its key may be used from; of a restricted key that lists some.
    pub fn allowed_origins(&self) -> &[Origin] {
        let record = self.record().filter(|record| record.kind == Kind::Restricted);
        record.map_or(&[], |record| record.allowed_origins.as_slice())
    }

    /// It as one who changes keys.
    pub fn actor(&self) -> Actor {
        match self.identity {
            Identity::Local { uid } => Actor::Cli { uid, request_id: self.request_id },
            _ => Actor::Caller(self.clone()),
        }
    }

    /// The key whose bounds hold for it.
    pub(super) fn record(&self) -> Option<&KeyRecord> {
        self.metered().map(|(record, _)| record)
    }

    /// That key with what is counted of it.
    pub(super) fn metered(&self) -> Option<(&KeyRecord, &Arc<Meter>)> {
        match &self.identity {
            Identity::Key { record, meter } => Some((record, meter)),
            Identity::Bootstrap | Identity::Local { .. } | Identity::Anonymous | Identity::Session(_) => None,
        }
    }
}

/// Who changes keys.
#[derive(Clone, Debug)]
pub enum Actor {
    /// A process on this machine that the data folder belongs to; may do everything.
    Cli {
        /// Unix user id.
        uid: u32,
        /// The request it sent over the admin socket, where there is a server.
        request_id: Option<RequestId>,
    },
    /// The sender of a request.
    Caller(Caller),
}

impl Actor {
    /// A process on this machine, by itself.
    pub const fn cli(uid: u32) -> Self {
        Self::Cli { uid, request_id: None }
    }

    /// It as the one who does what the audit log tells of.
    pub fn audit_context(&self) -> Context {
        match self {
            Self::Cli { uid, request_id } => Context { request_id: *request_id, ..Context::cli(*uid) },
            Self::Caller(caller) => caller.audit_context(),
        }
    }

    pub(super) fn may(&self, scope: Scope) -> bool {
        match self {
            Self::Cli { .. } => true,
            Self::Caller(caller) => caller.may(scope),
        }
    }

    pub(super) fn role(&self) -> Role {
        match self {
            Self::Cli { .. } => Role::GlobalAdmin,
            Self::Caller(caller) => caller.role,
        }
    }

    pub(super) fn administrates(&self) -> bool {
        match self {
            Self::Cli { .. } => true,
            Self::Caller(caller) => caller.administrates(),
        }
    }

    /// Whether it is somebody in a session.
    pub(super) fn is_person(&self) -> bool {
        matches!(self, Self::Caller(caller) if caller.session_id().is_some())
    }

    /// Refuses who is in a session without a password entered a moment ago: a browser left open
    /// is not the person.
    pub(super) fn check_fresh_password(&self, now: Timestamp) -> Result<(), AuthError> {
        match self {
            Self::Caller(caller) if caller.session_id().is_some() && !caller.has_fresh_password(now) => {
                Err(AuthError::PasswordNeeded)
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cli { uid, .. } => write!(f, "cli:{uid}"),
            Self::Caller(caller) => f.write_str(&caller.label()),
        }
    }
}
