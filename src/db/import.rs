//! Records that come from another system.
//!
//! Owns: storing keys, faxes that have ended and received faxes as history, all or none. Refuses:
//! to replace anything that is here, and to make events of what happened elsewhere and long ago.

use std::collections::HashSet;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, params};

use super::audit::Audited;
use super::jobs::to_json;
use super::{BUSY_TIMEOUT, DbError, accounts, inbound, keys, parse, to_ms};
use crate::access::audit::Snapshot;
use crate::access::records::{AccountKind, AccountRecord, KeyRecord, SlotRecord};
use crate::access::roles::Role;
use crate::access::token::KeyId;
use crate::fax::job::{Priority, State};
use crate::fax::number::FaxNumber;
use crate::fax::outcome::Outcome;
use crate::fax::received::ReceivedFax;
use crate::id::{AccountId, InboundId, JobId};

/// What is here already.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Ids of all keys, revoked ones too.
    pub keys: HashSet<KeyId>,
    /// Ids of all faxes.
    pub jobs: HashSet<JobId>,
    /// Ids of all received faxes.
    pub inbound: HashSet<InboundId>,
    /// All accounts.
    pub accounts: Vec<KnownAccount>,
}

/// An account that is here already.
#[derive(Clone, Debug)]
pub struct KnownAccount {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// Whether it is a person's.
    pub kind: AccountKind,
    /// Its role.
    pub role: Role,
}

/// A fax that ended elsewhere.
#[derive(Clone, Debug)]
pub struct EndedJob {
    /// Its id, as it was there.
    pub id: JobId,
    /// Whose history it becomes.
    pub owner: AccountId,
    /// The number as it was written.
    pub to_raw: String,
    /// The number.
    pub to: FaxNumber,
    /// What it came from, in the place of a route.
    pub route: &'static str,
    /// A final state.
    pub state: State,
    /// Its pages, where that is known.
    pub pages: Option<u32>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
}

/// What is stored together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Owners that are not here yet.
    pub accounts: Vec<AccountRecord>,
    /// Keys with their one secret's hash.
    pub keys: Vec<(KeyRecord, SlotRecord)>,
    /// Faxes, oldest first.
    pub jobs: Vec<EndedJob>,
    /// Received faxes, oldest first.
    pub inbound: Vec<ReceivedFax>,
}

/// What is in the database `file`, without touching it; nothing when there is no such file.
pub fn known(file: &Path) -> Result<Known, DbError> {
    if !file.exists() {
        return Ok(Known::default());
    }
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mut accounts = Vec::new();
    let mut statement = connection.prepare("SELECT id, name, kind, role FROM accounts")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        accounts.push(KnownAccount {
            id: parse(&row.get::<_, String>(0)?, "accounts.id")?,
            name: row.get(1)?,
            kind: parse(&row.get::<_, String>(2)?, "accounts.kind")?,
            role: parse(&row.get::<_, String>(3)?, "accounts.role")?,
        });
    }
    Ok(Known {
        keys: ids(&connection, "SELECT id FROM api_keys")?,
        jobs: ids(&connection, "SELECT id FROM jobs")?,
        inbound: ids(&connection, "SELECT id FROM inbound")?,
        accounts,
    })
}

fn ids<T: std::str::FromStr + Eq + std::hash::Hash>(
    connection: &Connection,
    query: &str,
) -> Result<HashSet<T>, DbError> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    let mut ids = HashSet::new();
    while let Some(row) = rows.next()? {
        ids.insert(parse(&row.get::<_, String>(0)?, "an id")?);
    }
    Ok(ids)
}

impl Batch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.keys.is_empty() && self.jobs.is_empty() && self.inbound.is_empty()
    }

    /// What the audit log is told of it: the keys and accounts by id, the faxes by number.
    pub fn summary(&self) -> Snapshot {
        let accounts: Vec<_> = self.accounts.iter().map(|account| account.id.to_string()).collect();
        let keys: Vec<_> = self.keys.iter().map(|(key, _)| key.id.to_string()).collect();
        Snapshot::new()
            .with("accounts", accounts)
            .with("keys", keys)
            .with("faxes", self.jobs.len())
            .with("received", self.inbound.len())
    }
}

impl Audited<'_> {
    /// Stores all of it, or nothing. [`DbError::Conflict`] when an id or a name is taken.
    pub async fn import(self, batch: Batch) -> Result<(), DbError> {
        self.write(move |transaction| {
            batch.accounts.iter().try_for_each(|account| accounts::insert(transaction, account))?;
            batch.keys.iter().try_for_each(|(record, secret)| put_key(transaction, record, secret))?;
            batch.jobs.iter().try_for_each(|job| put_job(transaction, job))?;
            batch.inbound.iter().try_for_each(|fax| inbound::insert(transaction, fax))
        })
        .await
    }
}

fn put_key(transaction: &Transaction<'_>, record: &KeyRecord, secret: &SlotRecord) -> Result<(), DbError> {
    keys::insert_key(transaction, record, None)?;
    // What a key that is made here cannot have yet.
    transaction
        .prepare_cached(
            "UPDATE api_keys SET last_used_at = ?2, revoked_at = ?3, revoked_by = ?4 WHERE id = ?1",
        )?
        .execute(params![
            record.id.to_string(),
            record.last_used_at.map(to_ms),
            record.revoked_at.map(to_ms),
            record.revoked_by,
        ])?;
    keys::put_slot(transaction, record.id, "current", secret)
}

fn put_job(transaction: &Transaction<'_>, job: &EndedJob) -> Result<(), DbError> {
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO jobs(id, owner_id, to_raw, to_e164, route, state, status, priority, rank, resolution, \
             quality, pages, source_sha256, outcome, deadline_at, created_at, updated_at, final_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'fine', 'text', ?10, '', ?11, ?13, ?12, ?13, ?13) \
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            job.id.to_string(),
            job.owner.to_string(),
            job.to_raw,
            job.to.as_e164(),
            job.route,
            job.state.as_str(),
            job.state.public_status().as_str(),
            Priority::Normal.as_str(),
            Priority::Normal.rank(),
            job.pages,
            job.outcome.as_ref().map(to_json),
            to_ms(job.created_at),
            to_ms(job.ended_at),
        ])?;
    if inserted == 1 { Ok(()) } else { Err(DbError::Conflict) }
}
