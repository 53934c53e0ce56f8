//! What is written of keys by themselves: their use, from where, and that their end comes near.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Transaction, params};
use serde_json::json;

use crate::access::records::{EXPIRY_WARNING_DAYS, NewAddress, UsageDelta, expiry_warning};
use crate::access::token::KeyId;
use crate::db::{Db, DbError, events, from_ms, optional, parse, to_ms};
use crate::fax::event::Event;

/// Addresses remembered for each key, the last seen ones: a branch office with dozens of machines
/// fits, and a leaked key does not fill the disk.
const ADDRESSES_KEPT: u32 = 32;

impl Db {
    /// Adds these uses, all at once; answers from where a key was used that never was before, each
    /// of which has its event.
    pub async fn add_key_usage(&self, deltas: Vec<UsageDelta>) -> Result<Vec<NewAddress>, DbError> {
        self.write(move |transaction| {
            let mut new = Vec::new();
            for delta in &deltas {
                new.extend(add_usage(transaction, delta)?);
            }
            Ok(new)
        })
        .await
    }

    /// Stores the warnings that are due at `now` before keys end, each once; answers which, with
    /// the days they tell of.
    pub async fn warn_of_expiry(&self, now: Timestamp) -> Result<Vec<(KeyId, u8)>, DbError> {
        self.write(move |transaction| {
            let mut warned = Vec::new();
            for (id, end, last) in ending_soon(transaction, now)? {
                let Some(days) = expiry_warning(end.duration_since(now)) else { continue };
                if last.is_some_and(|last| last <= days) {
                    continue;
                }
                transaction
                    .prepare_cached("UPDATE api_keys SET expiry_warned = ?2 WHERE id = ?1")?
                    .execute(params![id.to_string(), days])?;
                let data = json!({ "expires_at": end, "days": days });
                let event = Event::about_key(&id.to_string(), "expiring", "appliance", data, now);
                events::append(transaction, &[event])?;
                warned.push((id, days));
            }
            Ok(warned)
        })
        .await
    }
}

/// Keys that work and end within the farthest warning: id, end, the warning they had last.
fn ending_soon(
    transaction: &Transaction<'_>,
    now: Timestamp,
) -> Result<Vec<(KeyId, Timestamp, Option<u8>)>, DbError> {
    let farthest = SignedDuration::from_hours(24 * i64::from(EXPIRY_WARNING_DAYS[0]));
    let until = now.checked_add(farthest).unwrap_or(Timestamp::MAX);
    let mut statement = transaction.prepare_cached(
        "SELECT id, expires_at, expiry_warned FROM api_keys \
         WHERE status <> 'revoked' AND expires_at > ?1 AND expires_at <= ?2 ORDER BY expires_at",
    )?;
    let mut rows = statement.query(params![to_ms(now), to_ms(until)])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let id = parse(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?, "api_keys.id")?;
        keys.push((id, from_ms(row.get(1)?, "api_keys.expires_at")?, row.get(2)?));
    }
    Ok(keys)
}

fn add_usage(transaction: &Transaction<'_>, delta: &UsageDelta) -> Result<Vec<NewAddress>, DbError> {
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
    let mut new = Vec::new();
    for &address in &delta.addresses {
        if let Some(known) = see_address(transaction, delta, address)? {
            new.push(NewAddress { id: delta.id, address, known });
        }
    }
    Ok(new)
}

/// Notes an address; how many others were known if it is new.
fn see_address(
    transaction: &Transaction<'_>,
    delta: &UsageDelta,
    address: IpAddr,
) -> Result<Option<u32>, DbError> {
    let (id, shown, at) = (delta.id.to_string(), shown(address), to_ms(delta.last_used_at));
    let seen = transaction
        .prepare_cached("UPDATE api_key_addresses SET last_seen_at = ?3 WHERE key_id = ?1 AND address = ?2")?
        .execute(params![id, shown, at])?;
    if seen == 1 {
        return Ok(None);
    }
    let known: u32 = transaction
        .prepare_cached("SELECT count(*) FROM api_key_addresses WHERE key_id = ?1")?
        .query_row([&id], |row| row.get(0))?;
    transaction
        .prepare_cached("INSERT INTO api_key_addresses VALUES (?1, ?2, ?3, ?3)")?
        .execute(params![id, shown, at])?;
    transaction
        .prepare_cached(
            "DELETE FROM api_key_addresses WHERE key_id = ?1 AND address NOT IN (SELECT address \
             FROM api_key_addresses WHERE key_id = ?1 ORDER BY last_seen_at DESC, first_seen_at DESC LIMIT ?2)",
        )?
        .execute(params![id, ADDRESSES_KEPT])?;
    let data = json!({ "address": shown, "known_addresses": known });
    events::append(
        transaction,
        &[Event::about_key(&id, "new_address", "appliance", data, delta.last_used_at)],
    )?;
    Ok(Some(known))
}

/// An address as it is stored and told: of IPv6 the /64 network, which is what one customer has.
fn shown(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{address}/64"),
    }
}
