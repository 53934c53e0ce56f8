//! Sessions: who is signed in, and until when.
//!
//! A session ends after half an hour without a request, after twelve hours, at sign-out, and when
//! its person gets another role or password or is disabled. The account is looked at in each
//! request. When a session was last seen is kept in memory and written down in batches.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::{SignedDuration, Timestamp};

use super::{People, PeopleError, hash_of, random_token, to_its_end};
use crate::access::audit::Action;
use crate::access::people::{SessionRecord, TokenHash};
use crate::access::records::{AccountKind, AccountRecord, AccountStatus};
use crate::auth::Caller;
use crate::auth::caller;
use crate::id::{AccountId, SessionId};
use crate::secret::Secret;

/// A session ends after this time without a request.
const IDLE: SignedDuration = SignedDuration::from_mins(30);
/// And after this time in any case.
const LIFE: SignedDuration = SignedDuration::from_hours(12);
/// How long an entered password counts as just entered.
const FRESH: SignedDuration = SignedDuration::from_mins(5);
/// Characters of a browser's name that are kept.
const AGENT_LEN: usize = 200;

/// All sessions, by the hash of their cookie.
pub(super) struct Sessions {
    by_token: RwLock<HashMap<TokenHash, Arc<Session>>>,
}

struct Session {
    record: SessionRecord,
    /// Milliseconds since 1970, as the next two.
    last_seen: AtomicI64,
    written: AtomicI64,
    fresh_until: AtomicI64,
    must_change_password: AtomicBool,
}

/// A session as it is shown.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// When it began.
    pub created_at: Timestamp,
    /// When it last sent a request.
    pub last_seen_at: Timestamp,
    /// When it ends if no request comes.
    pub idle_expires_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
    /// From where it was begun.
    pub address: Option<IpAddr>,
    /// What the browser calls itself.
    pub agent: Option<String>,
}

/// Somebody who was just let in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The cookie; shown once.
    pub token: Secret<String>,
    /// Who it is now.
    pub caller: Caller,
}

impl People {
    /// Who this cookie belongs to; `None` when it is of no session any more.
    pub fn session(&self, cookie: &str) -> Option<Caller> {
        let now = self.parts.clock.now();
        let session = self.parts.sessions.read().get(&hash_of(cookie)).cloned()?;
        if session.ends_at() <= now {
            return None;
        }
        let account = self.parts.ring.account(session.record.account)?;
        if account.status != AccountStatus::Active || account.kind != AccountKind::User {
            return None;
        }
        session.last_seen.fetch_max(now.as_millisecond(), Ordering::Relaxed);
        Some(session.caller(&account))
    }

    /// The caller's session as it is shown.
    pub fn session_view(&self, caller: &Caller) -> Option<SessionView> {
        let id = caller.session_id()?;
        self.parts
            .sessions
            .read()
            .values()
            .find(|session| session.record.id == id)
            .map(|session| session.view())
    }

    /// All sessions of this account, newest first.
    pub fn sessions_of(&self, account: AccountId) -> Vec<SessionView> {
        let now = self.parts.clock.now();
        let mut views: Vec<_> = self
            .parts
            .sessions
            .read()
            .values()
            .filter(|session| session.record.account == account && session.ends_at() > now)
            .map(|session| session.view())
            .collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.id));
        views
    }

    /// Ends one session of the caller's account.
    pub async fn end_session(&self, id: SessionId, by: &Caller) -> Result<(), PeopleError> {
        let account = by.owner;
        let is_it = |session: &Session| session.record.account == account && session.record.id == id;
        let ended = self.parts.sessions.take(is_it);
        if ended.is_empty() {
            return Err(PeopleError::NotFound);
        }
        let (people, context) = (self.clone(), by.audit_context());
        to_its_end(async move {
            let told = context.event(Action::SessionEnded, account, people.parts.clock.now());
            Ok(people.parts.db.audited(told).end_sessions(ended).await?)
        })
        .await
    }

    /// Writes down when sessions were last seen, and forgets those that ended; call it every 15 to
    /// 60 seconds and at the end.
    pub async fn flush_sessions(&self) -> Result<(), PeopleError> {
        let now = self.parts.clock.now();
        let ended = self.parts.sessions.take(|session| session.ends_at() <= now);
        let seen: Vec<_> =
            self.parts.sessions.read().values().filter(|session| session.is_unwritten()).cloned().collect();
        if !ended.is_empty() {
            self.parts.db.remove_sessions(ended).await?;
        }
        if seen.is_empty() {
            return Ok(());
        }
        let moments: Vec<_> =
            seen.iter().map(|session| (session.record.id, session.last_seen_at())).collect();
        self.parts.db.note_sessions_seen(moments.clone()).await?;
        for (session, (_, at)) in seen.iter().zip(moments) {
            session.written.store(at.as_millisecond(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// A session about to begin: what is stored of it, and its cookie.
    pub(super) fn new_session(
        &self,
        account: AccountId,
        address: Option<IpAddr>,
        agent: Option<String>,
    ) -> Result<(SessionRecord, Secret<String>), PeopleError> {
        let (token, token_hash) = random_token()?;
        let now = self.parts.clock.now();
        let agent = agent.map(|agent| agent.chars().filter(|c| !c.is_control()).take(AGENT_LEN).collect());
        let record = SessionRecord {
            id: SessionId::new(),
            token_hash,
            account,
            created_at: now,
            last_seen_at: now,
            address,
            agent,
        };
        Ok((record, token))
    }

    /// Lets a stored session in; its password was just entered.
    pub(super) fn open_session(
        &self,
        record: SessionRecord,
        token: Secret<String>,
        account: &AccountRecord,
        must_change_password: bool,
    ) -> SignedIn {
        let fresh_until = (record.created_at + FRESH).as_millisecond();
        let session = Arc::new(Session::new(record, fresh_until, must_change_password));
        let caller = session.caller(account);
        self.parts.sessions.write().insert(session.record.token_hash, session);
        SignedIn { token, caller }
    }

    /// Drops the session with this cookie from memory.
    pub(super) fn drop_session(&self, token_hash: &TokenHash) {
        self.parts.sessions.write().remove(token_hash);
    }

    /// Drops all sessions of this account from memory but one.
    pub(super) fn drop_sessions_of(&self, account: AccountId, keep: Option<SessionId>) {
        self.parts
            .sessions
            .take(|session| session.record.account == account && Some(session.record.id) != keep);
    }

    /// The caller's password was just entered: it counts for five minutes.
    pub(super) fn freshen(&self, caller: &Caller) -> Timestamp {
        let until = self.parts.clock.now() + FRESH;
        self.parts.sessions.with(caller, |session| {
            session.fresh_until.store(until.as_millisecond(), Ordering::Relaxed);
        });
        until
    }

    /// The caller has chosen a password of their own.
    pub(super) fn password_is_own(&self, caller: &Caller) {
        self.parts
            .sessions
            .with(caller, |session| session.must_change_password.store(false, Ordering::Relaxed));
    }
}

impl Sessions {
    pub(super) fn new(records: Vec<SessionRecord>, must_change: impl Fn(AccountId) -> bool) -> Self {
        let sessions = records.into_iter().map(|record| {
            let must_change = must_change(record.account);
            // Nobody's password was just entered after a restart.
            (record.token_hash, Arc::new(Session::new(record, i64::MIN, must_change)))
        });
        Self { by_token: RwLock::new(sessions.collect()) }
    }

    /// Takes out those it holds for.
    fn take(&self, mut holds: impl FnMut(&Session) -> bool) -> Vec<SessionId> {
        let mut taken = Vec::new();
        self.write().retain(|_, session| {
            let goes = holds(session);
            if goes {
                taken.push(session.record.id);
            }
            !goes
        });
        taken
    }

    fn with(&self, caller: &Caller, change: impl FnOnce(&Session)) {
        let id = caller.session_id();
        if let Some(session) = self.read().values().find(|session| Some(session.record.id) == id) {
            change(session);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<TokenHash, Arc<Session>>> {
        self.by_token.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<TokenHash, Arc<Session>>> {
        self.by_token.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn new(record: SessionRecord, fresh_until: i64, must_change_password: bool) -> Self {
        let seen = record.last_seen_at.as_millisecond();
        Self {
            record,
            last_seen: AtomicI64::new(seen),
            written: AtomicI64::new(seen),
            fresh_until: AtomicI64::new(fresh_until),
            must_change_password: AtomicBool::new(must_change_password),
        }
    }

    fn caller(&self, account: &AccountRecord) -> Caller {
        let fresh_until = self.fresh_until.load(Ordering::Relaxed);
        let signed_in = caller::SignedIn {
            session: self.record.id,
            name: account.name.clone(),
            fresh_until: Timestamp::from_millisecond(fresh_until).unwrap_or(Timestamp::MIN),
            must_change_password: self.must_change_password.load(Ordering::Relaxed),
        };
        Caller::session(account, signed_in)
    }

    fn last_seen_at(&self) -> Timestamp {
        let seen = self.last_seen.load(Ordering::Relaxed);
        Timestamp::from_millisecond(seen).unwrap_or(self.record.last_seen_at)
    }

    fn is_unwritten(&self) -> bool {
        self.last_seen.load(Ordering::Relaxed) != self.written.load(Ordering::Relaxed)
    }

    fn ends_at(&self) -> Timestamp {
        (self.last_seen_at() + IDLE).min(self.record.created_at + LIFE)
    }

    fn view(&self) -> SessionView {
        let last_seen_at = self.last_seen_at();
        SessionView {
            id: self.record.id,
            created_at: self.record.created_at,
            last_seen_at,
            idle_expires_at: self.ends_at(),
            expires_at: self.record.created_at + LIFE,
            address: self.record.address,
            agent: self.record.agent.clone(),
        }
    }
}
