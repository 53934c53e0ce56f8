//! The `api_keys`, `api_key_slots` and `api_key_addresses` tables.
//!
//! Owns: the rows of keys, of their at most two secrets, and from where they were used. Its folder
//! has the changes of keys ([`changes`]) and what is written of their use ([`usage`]). Refuses: to
//! bring a revoked key back; no sentence here changes the row of one but to hide it and to hold its
//! faxes. Every change of who is let in moves `generation`, and every change stores the event that
//! tells of it in the same transaction.

mod changes;
mod usage;

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::changes::Ending;
use super::audit::Audited;
use super::{Db, DbError, accounts, events, from_ms, parse, to_ms};
use crate::access::records::{AccountRecord, KeyRecord, SlotRecord, StoredKey, expiry_warning};
use crate::access::token::KeyId;
use crate::fax::event::Event;
use crate::secret::Secret;

const KEY_COLUMNS: &str = "id, kind, name, note, owner_id, scopes, resources, ip_allow, allowed_origins, limits, \
     status, generation, not_before, expires_at, created_at, created_by, last_used_at, last_used_ip, use_count, \
     revoked_at, revoked_by, revoked_reason, sealed_token IS NOT NULL, hidden";
/// Name in `meta` of the value that tells whether the pepper is still the same.
const PEPPER_CHECK: &str = "pepper_check";

impl Db {
    /// All keys, revoked ones too, with their secrets' hashes.
    pub async fn keys(&self) -> Result<Vec<StoredKey>, DbError> {
        self.list(|connection| {
            let mut slots = read_slots(connection)?;
            let mut statement =
                connection.prepare_cached(&format!("SELECT {KEY_COLUMNS} FROM api_keys ORDER BY id"))?;
            let mut rows = statement.query([])?;
            let mut keys = Vec::new();
            while let Some(row) = rows.next()? {
                let record = read_key(row)?;
                let (current, previous) = slots.remove(&record.id).unwrap_or_default();
                let current =
                    current.ok_or(DbError::Damaged { what: "api_key_slots: a key's current secret" })?;
                keys.push(StoredKey { record, current, previous });
            }
            Ok(keys)
        })
        .await
    }

    /// Notes which pepper the prefilters are made with, by a check value of it. When it is another
    /// than before, all prefilters are forgotten: they fit no secret any more.
    pub async fn adopt_pepper(&self, check: [u8; 16]) -> Result<(), DbError> {
        self.write(move |transaction| {
            let known: Option<Vec<u8>> = transaction
                .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
                .query_row([PEPPER_CHECK], |row| row.get(0))
                .optional()?;
            if known.as_deref() == Some(check.as_slice()) {
                return Ok(());
            }
            transaction.execute("UPDATE api_key_slots SET prefilter = NULL", [])?;
            transaction.execute(
                "INSERT INTO meta(name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
                params![PEPPER_CHECK, check.as_slice()],
            )?;
            Ok(())
        })
        .await
    }

    /// Replaces a secret's hash by another of the same secret, with its prefilter.
    /// [`DbError::Conflict`] when no slot of the key has the hash `old`.
    pub async fn replace_hash(
        &self,
        id: KeyId,
        old: Secret<String>,
        new: Secret<String>,
        prefilter: Option<[u8; 4]>,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            let changed = transaction
                .prepare_cached(
                    "UPDATE api_key_slots SET phc = ?3, prefilter = ?4 WHERE key_id = ?1 AND phc = ?2",
                )?
                .execute(params![
                    id.to_string(),
                    old.reveal(),
                    new.reveal(),
                    prefilter.map(u32::from_be_bytes)
                ])?;
            if changed >= 1 { Ok(()) } else { Err(DbError::Conflict) }
        })
        .await
    }

    /// Stores the prefilter of the secret with this hash, after it proved right.
    pub async fn store_prefilter(
        &self,
        id: KeyId,
        phc: Secret<String>,
        prefilter: [u8; 4],
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached("UPDATE api_key_slots SET prefilter = ?3 WHERE key_id = ?1 AND phc = ?2")?
                .execute(params![id.to_string(), phc.reveal(), u32::from_be_bytes(prefilter)])?;
            Ok(())
        })
        .await
    }
}

impl Audited<'_> {
    /// Stores a new key, together with its owner when that is new too, and with its sealed token
    /// when it is recoverable. [`DbError::Conflict`] when the owner's name or the key's id is taken.
    pub async fn insert_key(
        self,
        record: KeyRecord,
        secret: SlotRecord,
        sealed_token: Option<Vec<u8>>,
        new_owner: Option<AccountRecord>,
        event: Event,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            if let Some(owner) = &new_owner {
                accounts::insert(transaction, owner)?;
            }
            insert_key(transaction, &record, sealed_token)?;
            put_slot(transaction, record.id, "current", &secret)?;
            events::append(transaction, &[event])
        })
        .await
    }
}

pub(super) fn insert_key(
    transaction: &Transaction<'_>,
    record: &KeyRecord,
    sealed_token: Option<Vec<u8>>,
) -> Result<(), DbError> {
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO api_keys(id, kind, name, note, owner_id, scopes, resources, ip_allow, allowed_origins, \
             limits, status, generation, not_before, expires_at, created_at, created_by, \
             sealed_token, expiry_warned) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18) \
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            record.id.to_string(),
            record.kind.as_str(),
            record.name,
            record.note,
            record.owner.to_string(),
            json(&record.scopes)?,
            json(&record.resources)?,
            json(&record.ip_allow)?,
            json(&record.allowed_origins)?,
            json(&record.limits)?,
            record.status.as_str(),
            i64::try_from(record.generation).unwrap_or(i64::MAX),
            record.not_before.map(to_ms),
            record.expires_at.map(to_ms),
            to_ms(record.created_at),
            record.created_by,
            sealed_token,
            warned_from_the_start(record.expires_at, record.created_at),
        ])?;
    if inserted == 1 { Ok(()) } else { Err(DbError::Conflict) }
}

/// The warning that a key counts as having had when its end is set: who gives a key a life of five
/// days need not be told at once that it ends within seven.
fn warned_from_the_start(expires_at: Option<Timestamp>, now: Timestamp) -> Option<u8> {
    expires_at.and_then(|end| expiry_warning(end.duration_since(now)))
}

pub(super) fn put_slot(
    transaction: &Transaction<'_>,
    id: KeyId,
    slot: &str,
    secret: &SlotRecord,
) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO api_key_slots(key_id, slot, phc, prefilter, created_at, valid_until, last_used_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            id.to_string(),
            slot,
            secret.phc.reveal(),
            secret.prefilter.map(u32::from_be_bytes),
            to_ms(secret.created_at),
            secret.valid_until.map(to_ms),
            secret.last_used_at.map(to_ms),
        ])?;
    Ok(())
}

/// The current and the previous secret of each key.
type Slots = HashMap<KeyId, (Option<SlotRecord>, Option<SlotRecord>)>;

fn read_slots(connection: &Connection) -> Result<Slots, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT key_id, slot, phc, prefilter, created_at, valid_until, last_used_at FROM api_key_slots",
    )?;
    let mut rows = statement.query([])?;
    let mut slots = Slots::new();
    while let Some(row) = rows.next()? {
        let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let secret = SlotRecord {
            phc: Secret::new(row.get(2)?),
            prefilter: row.get::<_, Option<u32>>(3)?.map(u32::to_be_bytes),
            created_at: from_ms(row.get(4)?, "api_key_slots.created_at")?,
            valid_until: optional_ms(row, 5, "api_key_slots.valid_until")?,
            last_used_at: optional_ms(row, 6, "api_key_slots.last_used_at")?,
        };
        let (current, previous) = slots.entry(parse(text(0)?, "api_key_slots.key_id")?).or_default();
        let slot = if text(1)? == "current" { current } else { previous };
        *slot = Some(secret);
    }
    Ok(slots)
}

fn read_key(row: &Row<'_>) -> Result<KeyRecord, DbError> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let generation: i64 = row.get(11)?;
    let use_count: i64 = row.get(18)?;
    let last_used_ip: Option<String> = row.get(17)?;
    Ok(KeyRecord {
        id: parse(text(0)?, "api_keys.id")?,
        kind: parse(text(1)?, "api_keys.kind")?,
        name: row.get(2)?,
        note: row.get(3)?,
        owner: parse(text(4)?, "api_keys.owner_id")?,
        scopes: from_json(text(5)?, "api_keys.scopes")?,
        resources: from_json(text(6)?, "api_keys.resources")?,
        ip_allow: from_json(text(7)?, "api_keys.ip_allow")?,
        allowed_origins: from_json(text(8)?, "api_keys.allowed_origins")?,
        limits: from_json(text(9)?, "api_keys.limits")?,
        status: parse(text(10)?, "api_keys.status")?,
        generation: generation.try_into().map_err(|_| DbError::Damaged { what: "api_keys.generation" })?,
        not_before: optional_ms(row, 12, "api_keys.not_before")?,
        expires_at: optional_ms(row, 13, "api_keys.expires_at")?,
        created_at: from_ms(row.get(14)?, "api_keys.created_at")?,
        created_by: row.get(15)?,
        last_used_at: optional_ms(row, 16, "api_keys.last_used_at")?,
        last_used_ip: last_used_ip.map(|ip| parse::<IpAddr>(&ip, "api_keys.last_used_ip")).transpose()?,
        use_count: use_count.try_into().map_err(|_| DbError::Damaged { what: "api_keys.use_count" })?,
        revoked_at: optional_ms(row, 19, "api_keys.revoked_at")?,
        revoked_by: row.get(20)?,
        revoked_reason: row.get(21)?,
        recoverable: row.get(22)?,
        hidden: row.get(23)?,
    })
}

fn optional_ms(row: &Row<'_>, column: usize, what: &'static str) -> Result<Option<Timestamp>, DbError> {
    row.get::<_, Option<i64>>(column)?.map(|ms| from_ms(ms, what)).transpose()
}

fn json<T: Serialize>(value: &T) -> Result<String, DbError> {
    serde_json::to_string(value).map_err(|_| DbError::Damaged { what: "api_keys: a value to be stored" })
}

fn from_json<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|_| DbError::Damaged { what })
}

#[cfg(test)]
mod tests;
