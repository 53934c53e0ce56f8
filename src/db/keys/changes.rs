//! Changes of keys, each with its event and its row of the audit log, in one transaction.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{json, put_slot, warned_from_the_start};
use crate::access::records::{KeyRecord, SlotRecord, Status};
use crate::access::token::KeyId;
use crate::db::audit::Audited;
use crate::db::{DbError, events, jobs, to_ms};
use crate::fax::event::Event;
use crate::id::JobId;

/// How a key ends.
#[derive(Clone, Debug)]
pub struct Ending {
    /// When.
    pub at: Timestamp,
    /// By whom, in a word for records.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// Whether it leaves its owner's own list.
    pub hidden: bool,
    /// Whether its faxes that no call is under way for are held.
    pub hold_faxes: bool,
}

impl Audited<'_> {
    /// Gives a key a new secret, and a new sealed token if it stays recoverable; the secret it had
    /// stays valid until its `valid_until`, or goes now when `previous` is `None`.
    /// [`DbError::Conflict`] when the key is revoked or not there.
    pub async fn rotate_key(
        self,
        id: KeyId,
        current: SlotRecord,
        previous: Option<SlotRecord>,
        sealed_token: Option<Vec<u8>>,
        event: Event,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            let moved = transaction
                .prepare_cached(
                    "UPDATE api_keys SET generation = generation + 1, sealed_token = ?2 \
                     WHERE id = ?1 AND status <> 'revoked'",
                )?
                .execute(params![id.to_string(), sealed_token])?;
            require(moved)?;
            transaction
                .prepare_cached("DELETE FROM api_key_slots WHERE key_id = ?1")?
                .execute([id.to_string()])?;
            put_slot(transaction, id, "current", &current)?;
            previous.iter().try_for_each(|secret| put_slot(transaction, id, "previous", secret))?;
            events::append(transaction, &[event])
        })
        .await
    }

    /// Ends the grace of a key's previous secret. [`DbError::Conflict`] when the key is revoked or not
    /// there, or has no previous secret.
    pub async fn end_previous_secret(self, id: KeyId, event: Event) -> Result<(), DbError> {
        self.write(move |transaction| {
            let moved = transaction
                .prepare_cached(
                    "UPDATE api_keys SET generation = generation + 1 WHERE id = ?1 AND status <> 'revoked'",
                )?
                .execute([id.to_string()])?;
            require(moved)?;
            let ended = transaction
                .prepare_cached("DELETE FROM api_key_slots WHERE key_id = ?1 AND slot = 'previous'")?
                .execute([id.to_string()])?;
            require(ended)?;
            events::append(transaction, &[event])
        })
        .await
    }

    /// Switches a key off or on. [`DbError::Conflict`] when it is revoked or not there, and for
    /// [`Status::Revoked`], which is no switch.
    pub async fn switch_key(self, id: KeyId, status: Status, event: Event) -> Result<(), DbError> {
        self.write(move |transaction| {
            if status == Status::Revoked {
                return Err(DbError::Conflict);
            }
            let moved = transaction
                .prepare_cached(
                    "UPDATE api_keys SET generation = generation + 1, status = ?2 \
                     WHERE id = ?1 AND status <> 'revoked'",
                )?
                .execute(params![id.to_string(), status.as_str()])?;
            require(moved)?;
            events::append(transaction, &[event])
        })
        .await
    }

    /// Stores name, note, rights, limits and life of a key as `record` has them at `now`.
    /// [`DbError::Conflict`] when it is revoked or not there.
    pub async fn update_key(self, record: KeyRecord, now: Timestamp, event: Event) -> Result<(), DbError> {
        self.write(move |transaction| {
            let changed = transaction
                .prepare_cached(
                    "UPDATE api_keys SET generation = generation + 1, name = ?2, note = ?3, scopes = ?4, \
                     resources = ?5, ip_allow = ?6, allowed_origins = ?7, limits = ?8, not_before = ?9, \
                     expiry_warned = CASE WHEN expires_at IS ?10 THEN expiry_warned ELSE ?11 END, \
                     expires_at = ?10 WHERE id = ?1 AND status <> 'revoked'",
                )?
                .execute(params![
                    record.id.to_string(),
                    record.name,
                    record.note,
                    json(&record.scopes)?,
                    json(&record.resources)?,
                    json(&record.ip_allow)?,
                    json(&record.allowed_origins)?,
                    json(&record.limits)?,
                    record.not_before.map(to_ms),
                    record.expires_at.map(to_ms),
                    warned_from_the_start(record.expires_at, now),
                ])?;
            require(changed)?;
            events::append(transaction, &[event])
        })
        .await
    }

    /// Ends a key for good and forgets its sealed token; of one that was ended before, only what
    /// it hides and holds is added. Answers the faxes that were held. The event tells how many.
    pub async fn revoke_key(
        self,
        id: KeyId,
        ending: Ending,
        mut event: Event,
    ) -> Result<Vec<JobId>, DbError> {
        let something_happened = |(happened, _): &(bool, Vec<JobId>)| *happened;
        let change = move |transaction: &Transaction<'_>| {
            let is_new = revoke(transaction, id, &ending)?;
            transaction
                .prepare_cached(
                    "UPDATE api_keys SET hidden = max(hidden, ?2), holds_faxes = max(holds_faxes, ?3) \
                     WHERE id = ?1",
                )?
                .execute(params![id.to_string(), ending.hidden, ending.hold_faxes])?;
            let waiting = if ending.hold_faxes { jobs::waiting_of(transaction, id)? } else { Vec::new() };
            let happened = is_new || !waiting.is_empty();
            if happened {
                event.data["held_faxes"] = waiting.len().into();
                // Before those of the faxes: what is held after it is held by this order.
                events::append(transaction, &[event])?;
            }
            Ok((happened, jobs::hold_all(transaction, waiting, ending.at)?))
        };
        self.write_if(something_happened, change).await.map(|(_, held)| held)
    }

    /// The sealed token of a key that is recoverable, having stored that it was asked for.
    pub async fn reveal_key(self, id: KeyId, event: Event) -> Result<Option<Vec<u8>>, DbError> {
        self.write_if(Option::is_some, move |transaction| {
            let sealed: Option<Option<Vec<u8>>> = transaction
                .prepare_cached("SELECT sealed_token FROM api_keys WHERE id = ?1")?
                .query_row([id.to_string()], |row| row.get(0))
                .optional()?;
            let sealed = sealed.flatten();
            if sealed.is_some() {
                events::append(transaction, &[event])?;
            }
            Ok(sealed)
        })
        .await
    }
}

/// Whether it was not revoked before.
fn revoke(transaction: &Transaction<'_>, id: KeyId, ending: &Ending) -> Result<bool, DbError> {
    let changed = transaction
        .prepare_cached(
            "UPDATE api_keys SET status = 'revoked', generation = generation + 1, sealed_token = NULL, \
             revoked_at = ?2, revoked_by = ?3, revoked_reason = ?4 WHERE id = ?1 AND status <> 'revoked'",
        )?
        .execute(params![id.to_string(), to_ms(ending.at), ending.by, ending.reason])?;
    Ok(changed == 1)
}

fn require(changed: usize) -> Result<(), DbError> {
    if changed == 1 { Ok(()) } else { Err(DbError::Conflict) }
}
