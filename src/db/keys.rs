//! The `api_keys` and `api_key_slots` tables.
//!
//! Owns: the rows of keys and of their at most two secrets. Refuses: to bring a revoked key back;
//! no sentence here changes the row of one. Every change of who is let in moves `generation`.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::audit::Audited;
use super::{Db, DbError, accounts, from_ms, optional, parse, to_ms};
use crate::access::records::{AccountRecord, KeyRecord, SlotRecord, StoredKey, UsageDelta};
use crate::access::token::KeyId;
use crate::secret::Secret;

const KEY_COLUMNS: &str = "id, kind, name, note, owner_id, scopes, resources, ip_allow, allowed_origins, limits, \
     status, generation, not_before, expires_at, created_at, created_by, last_used_at, last_used_ip, use_count, \
     revoked_at, revoked_by, revoked_reason";
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

    /// Adds these uses, all at once.
    pub async fn add_key_usage(&self, deltas: Vec<UsageDelta>) -> Result<(), DbError> {
        self.write(move |transaction| deltas.iter().try_for_each(|delta| add_usage(transaction, delta))).await
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
    /// Stores a new key, together with its owner when that is new too. [`DbError::Conflict`] when
    /// the owner's name or the key's id is taken.
    pub async fn insert_key(
        self,
        record: KeyRecord,
        secret: SlotRecord,
        new_owner: Option<AccountRecord>,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            if let Some(owner) = &new_owner {
                accounts::insert(transaction, owner)?;
            }
            insert_key(transaction, &record)?;
            put_slot(transaction, record.id, "current", &secret)
        })
        .await
    }

    /// Gives a key a new secret; the one it had stays valid until its `valid_until`, or goes now
    /// when `previous` is `None`. [`DbError::Conflict`] when the key is revoked or not there.
    pub async fn rotate_key(
        self,
        id: KeyId,
        current: SlotRecord,
        previous: Option<SlotRecord>,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            let moved = transaction
                .prepare_cached(
                    "UPDATE api_keys SET generation = generation + 1 WHERE id = ?1 AND status <> 'revoked'",
                )?
                .execute([id.to_string()])?;
            if moved != 1 {
                return Err(DbError::Conflict);
            }
            transaction
                .prepare_cached("DELETE FROM api_key_slots WHERE key_id = ?1")?
                .execute([id.to_string()])?;
            put_slot(transaction, id, "current", &current)?;
            previous.iter().try_for_each(|secret| put_slot(transaction, id, "previous", secret))
        })
        .await
    }

    /// Ends a key for good. Of one that was ended before, nothing changes, and nothing is recorded.
    pub async fn revoke_key(
        self,
        id: KeyId,
        at: Timestamp,
        by: String,
        reason: Option<String>,
    ) -> Result<(), DbError> {
        let is_new = |changed: &usize| *changed > 0;
        self.write_if(is_new, move |transaction| {
            Ok(transaction
                .prepare_cached(
                    "UPDATE api_keys SET status = 'revoked', generation = generation + 1, revoked_at = ?2, \
                     revoked_by = ?3, revoked_reason = ?4 WHERE id = ?1 AND status <> 'revoked'",
                )?
                .execute(params![id.to_string(), to_ms(at), by, reason])?)
        })
        .await
        .map(|_| ())
    }
}

pub(super) fn insert_key(transaction: &Transaction<'_>, record: &KeyRecord) -> Result<(), DbError> {
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO api_keys(id, kind, name, note, owner_id, scopes, resources, ip_allow, allowed_origins, \
             limits, status, generation, not_before, expires_at, created_at, created_by) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) \
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
        ])?;
    if inserted == 1 { Ok(()) } else { Err(DbError::Conflict) }
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

fn add_usage(transaction: &Transaction<'_>, delta: &UsageDelta) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "UPDATE api_keys SET use_count = use_count + ?2, last_used_at = ?3, \
             last_used_ip = ifnull(?4, last_used_ip) WHERE id = ?1",
        )?
        .execute(params![
            delta.id.to_string(),
            i64::try_from(delta.uses).unwrap_or(i64::MAX),
            to_ms(delta.last_used_at),
            optional(delta.last_used_ip.as_ref()),
        ])?;
    for (slot, used_at) in [("current", delta.current_used_at), ("previous", delta.previous_used_at)] {
        if let Some(at) = used_at {
            transaction
                .prepare_cached("UPDATE api_key_slots SET last_used_at = ?3 WHERE key_id = ?1 AND slot = ?2")?
                .execute(params![delta.id.to_string(), slot, to_ms(at)])?;
        }
    }
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
mod tests {
    use super::super::accounts::tests::account;
    use super::super::audit::tests::{event, open};
    use super::*;
    use crate::access::kind::{Kind, Limits};
    use crate::access::records::Status;
    use crate::access::resources::Resources;
    use crate::access::scopes::ScopeSet;

    impl Db {
        /// Makes every later change fail, as a dead disk would.
        pub(crate) async fn stop_writer(&self) {
            let stopped: Result<(), DbError> = self.write(|_| panic!("stopped for a test")).await;
            assert!(matches!(stopped, Err(DbError::Closed)));
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn secret(name: &str) -> SlotRecord {
        SlotRecord {
            phc: Secret::new(format!("$argon2id${name}")),
            prefilter: Some([0xff, 0, 0, 7]),
            created_at: at(5),
            valid_until: None,
            last_used_at: None,
        }
    }

    fn record(owner: &AccountRecord) -> KeyRecord {
        KeyRecord {
            id: "0000000000ab".parse().unwrap(),
            kind: Kind::Production,
            name: "Praxis".into(),
            note: Some("front desk".into()),
            owner: owner.id,
            scopes: ScopeSet::EVERYDAY,
            resources: Resources { to_prefixes: vec!["+1555".parse().unwrap()], ..Resources::default() },
            ip_allow: vec!["10.0.0.0/8".parse().unwrap()],
            allowed_origins: vec!["https://example.org".into()],
            limits: Limits { per_minute: Some(5), ..Limits::default() },
            status: Status::Active,
            generation: 1,
            not_before: Some(at(10)),
            expires_at: Some(at(20)),
            created_at: at(1),
            created_by: "cli:0".into(),
            last_used_at: None,
            last_used_ip: None,
            use_count: 0,
            revoked_at: None,
            revoked_by: None,
            revoked_reason: None,
        }
    }

    async fn with_one_key() -> (tempfile::TempDir, Db, KeyRecord) {
        let (folder, db) = open();
        let owner = account("clinic");
        let record = record(&owner);
        db.audited(event()).insert_key(record.clone(), secret("first"), Some(owner)).await.unwrap();
        (folder, db, record)
    }

    async fn only_key(db: &Db) -> StoredKey {
        let mut keys = db.keys().await.unwrap();
        assert_eq!(keys.len(), 1);
        keys.remove(0)
    }

    #[tokio::test]
    async fn a_key_reads_back_as_it_was_stored() {
        let (_folder, db, record) = with_one_key().await;
        let stored = only_key(&db).await;
        assert_eq!(stored.record, record);
        assert_eq!(stored.current.phc.reveal(), "$argon2id$first");
        assert_eq!(stored.current.prefilter, Some([0xff, 0, 0, 7]));
        assert!(stored.previous.is_none());
        let again = db.audited(event()).insert_key(record, secret("second"), None).await;
        assert!(matches!(again, Err(DbError::Conflict)), "an id is never used again");
        assert_eq!(only_key(&db).await.current.phc.reveal(), "$argon2id$first");
    }

    #[tokio::test]
    async fn a_taken_owner_name_leaves_no_key() {
        let (_folder, db, first) = with_one_key().await;
        let owner = account("CLINIC");
        let other = KeyRecord { id: "0000000000cd".parse().unwrap(), owner: owner.id, ..first };
        assert!(matches!(
            db.audited(event()).insert_key(other, secret("x"), Some(owner)).await,
            Err(DbError::Conflict)
        ));
        only_key(&db).await;
    }

    #[tokio::test]
    async fn rotation_moves_secrets_and_generation() {
        let (_folder, db, record) = with_one_key().await;
        let previous = SlotRecord { valid_until: Some(at(99)), ..secret("first") };
        db.audited(event()).rotate_key(record.id, secret("second"), Some(previous.clone())).await.unwrap();
        let stored = only_key(&db).await;
        assert_eq!(stored.record.generation, 2);
        assert_eq!(stored.current.phc.reveal(), "$argon2id$second");
        let kept = stored.previous.unwrap();
        assert_eq!((kept.phc.reveal().as_str(), kept.valid_until), ("$argon2id$first", Some(at(99))));

        db.audited(event()).rotate_key(record.id, secret("third"), None).await.unwrap();
        let stored = only_key(&db).await;
        assert_eq!((stored.record.generation, stored.current.phc.reveal().as_str()), (3, "$argon2id$third"));
        assert!(stored.previous.is_none());
    }

    #[tokio::test]
    async fn a_revoked_key_stays_as_it_is() {
        let (_folder, db, record) = with_one_key().await;
        db.audited(event()).revoke_key(record.id, at(50), "cli:0".into(), Some("lost".into())).await.unwrap();
        db.audited(event()).revoke_key(record.id, at(60), "cli:1".into(), None).await.unwrap();
        let rotated = db.audited(event()).rotate_key(record.id, secret("second"), None).await;
        assert!(matches!(rotated, Err(DbError::Conflict)));
        let stored = only_key(&db).await;
        assert_eq!((stored.record.status, stored.record.generation), (Status::Revoked, 2));
        assert_eq!(stored.record.revoked_at, Some(at(50)));
        assert_eq!(stored.record.revoked_by.as_deref(), Some("cli:0"));
        assert_eq!(stored.record.revoked_reason.as_deref(), Some("lost"));
        assert_eq!(stored.current.phc.reveal(), "$argon2id$first");
    }

    #[tokio::test]
    async fn uses_add_up() {
        let (_folder, db, record) = with_one_key().await;
        let delta = |uses, ms, ip: Option<&str>| UsageDelta {
            id: record.id,
            uses,
            last_used_at: at(ms),
            last_used_ip: ip.map(|ip| ip.parse().unwrap()),
            current_used_at: Some(at(ms)),
            previous_used_at: None,
        };
        db.add_key_usage(vec![delta(3, 100, Some("192.0.2.1"))]).await.unwrap();
        db.add_key_usage(vec![delta(4, 200, None)]).await.unwrap();
        let stored = only_key(&db).await;
        assert_eq!((stored.record.use_count, stored.record.last_used_at), (7, Some(at(200))));
        assert_eq!(stored.record.last_used_ip, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(stored.current.last_used_at, Some(at(200)));
        assert_eq!(stored.record.generation, 1, "use lets nobody in or out");
    }

    #[tokio::test]
    async fn another_pepper_forgets_the_prefilters() {
        let (_folder, db, record) = with_one_key().await;
        db.adopt_pepper([1; 16]).await.unwrap();
        assert_eq!(only_key(&db).await.current.prefilter, None);
        let phc = Secret::new("$argon2id$first".to_owned());
        db.store_prefilter(record.id, phc.clone(), [1, 2, 3, 4]).await.unwrap();
        db.adopt_pepper([1; 16]).await.unwrap();
        assert_eq!(only_key(&db).await.current.prefilter, Some([1, 2, 3, 4]));
        db.store_prefilter(record.id, Secret::new("another".into()), [0; 4]).await.unwrap();
        assert_eq!(only_key(&db).await.current.prefilter, Some([1, 2, 3, 4]));
        db.adopt_pepper([2; 16]).await.unwrap();
        assert_eq!(only_key(&db).await.current.prefilter, None);
    }
}
