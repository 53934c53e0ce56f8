//! The `webhooks` and `webhook_deliveries` tables: whom events are told, and what came of it.
//!
//! Owns: the durable queue of deliveries. A webhook's cursor moves over the event log in the
//! transaction that stores the deliveries of what it passed, so no event is left out and none is
//! stored twice. Refuses: to change a webhook without a row in the audit log, and to change many
//! deliveries in one transaction, since faxes share the writer.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params, params};

use super::audit::Audited;
use super::events::{LoggedEvent, event_at};
use super::{Db, DbError, from_ms, parse, to_ms};
use crate::id::WebhookId;

const COLUMNS: &str = "id, name, url, types, enabled, sealed_secret, sealed_previous, previous_until, cursor, \
     failures, resting_until, last_success_at, last_failure_at, created_at, created_by, updated_at";
const DELIVERY: &str = "seq, state, tries, first_at, next_try_at, ended_at, status, error";

/// Deliveries that one transaction changes at most.
const DELIVERIES_AT_ONCE: u32 = 1000;

/// Somebody who is told of events.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// What it is for.
    pub name: String,
    /// Where events are posted.
    pub url: String,
    /// Types and families of events; none is all.
    pub types: Vec<String>,
    /// Whether anything is posted.
    pub is_enabled: bool,
    /// The signing secret, sealed.
    pub sealed_secret: Vec<u8>,
    /// The secret before it, sealed, and until when both sign.
    pub previous: Option<(Vec<u8>, Timestamp)>,
    /// Events up to here have their deliveries.
    pub cursor: i64,
    /// Tries in a row that failed.
    pub failures: u32,
    /// Nothing is posted before, after several of them.
    pub resting_until: Option<Timestamp>,
    /// When it last took an event.
    pub last_success_at: Option<Timestamp>,
    /// When a try last failed.
    pub last_failure_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom, in a word for records.
    pub created_by: String,
    /// When an administrator last changed it.
    pub updated_at: Timestamp,
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Still to be taken.
    Pending,
    /// Taken.
    Delivered,
    /// Given up.
    Dead,
}

impl DeliveryState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Dead];

    /// Its name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// One event on its way to one webhook.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Place of the event.
    pub seq: i64,
    /// How it stands.
    pub state: DeliveryState,
    /// How often it was posted.
    pub tries: u32,
    /// From when its time counts.
    pub first_at: Timestamp,
    /// When a pending one is tried next.
    pub next_try_at: Timestamp,
    /// When it was taken or given up.
    pub ended_at: Option<Timestamp>,
    /// Status of the last answer.
    pub status: Option<u16>,
    /// Why the last try did not count.
    pub error: Option<String>,
}

/// What is to be done for a webhook next.
#[derive(Debug)]
pub struct NextDelivery {
    /// The first delivery that is due, with its event if that is still in the log.
    pub due: Option<(Delivery, Option<LoggedEvent>)>,
    /// When the next one is due, if none is.
    pub next_at: Option<Timestamp>,
    /// How many are pending, as far as they were counted.
    pub pending: u32,
}

/// What came of a try.
#[derive(Clone, Debug)]
pub struct Tried {
    /// When.
    pub at: Timestamp,
    /// How the delivery stands now.
    pub state: DeliveryState,
    /// When it is tried again, if it is.
    pub next_try_at: Timestamp,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Why it did not count.
    pub error: Option<String>,
    /// How many failures the webhook had in a row, before.
    pub failures: u32,
    /// Until when it rests, after several of them; unless somebody ended those meanwhile.
    pub resting_until: Option<Timestamp>,
}

impl Db {
    /// All webhooks, oldest first.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, DbError> {
        self.list(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM webhooks ORDER BY id"))?;
            let mut rows = statement.query([])?;
            let mut webhooks = Vec::new();
            while let Some(row) = rows.next()? {
                webhooks.push(read(row)?);
            }
            Ok(webhooks)
        })
        .await
    }

    /// The webhook with this id.
    pub fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, DbError> {
        self.point(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM webhooks WHERE id = ?1"))?;
            statement.query_row([id.to_string()], |row| Ok(read(row))).optional()?.transpose()
        })
    }

    /// Moves a webhook's cursor from `from` to `to` and stores a delivery of each of `events`, which
    /// it passes; those that had ended begin anew. Nothing happens when the cursor is elsewhere:
    /// somebody moved it meanwhile. Deliveries that ended before `forget` are forgotten.
    pub async fn queue_deliveries(
        &self,
        id: WebhookId,
        (from, to): (i64, i64),
        events: Vec<i64>,
        now: Timestamp,
        forget: Timestamp,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            let moved = transaction
                .prepare_cached("UPDATE webhooks SET cursor = ?3 WHERE id = ?1 AND cursor = ?2")?
                .execute(params![id.to_string(), from, to])?;
            if moved == 1 {
                events.iter().try_for_each(|seq| queue(transaction, id, *seq, now))?;
                transaction
                    .prepare_cached(
                        "DELETE FROM webhook_deliveries WHERE webhook_id = ?1 AND seq IN (SELECT seq FROM webhook_deliveries \
                         WHERE webhook_id = ?1 AND state <> 'pending' AND ended_at < ?2 ORDER BY ended_at LIMIT ?3)",
                    )?
                    .execute(params![id.to_string(), to_ms(forget), DELIVERIES_AT_ONCE])?;
            }
            Ok(())
        })
        .await
    }

    /// What is to be done for a webhook at `now`: the pending delivery that is due and has the
    /// earliest event. Pending ones are counted up to `count`.
    pub async fn next_delivery(
        &self,
        id: WebhookId,
        now: Timestamp,
        count: u32,
    ) -> Result<NextDelivery, DbError> {
        self.list(move |connection| {
            let snapshot = connection.unchecked_transaction()?;
            let (pending, next_at): (u32, Option<i64>) = snapshot
                .prepare_cached(
                    "SELECT (SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries \
                     INDEXED BY webhook_deliveries_pending WHERE webhook_id = ?1 AND state = 'pending' LIMIT ?2)), \
                     (SELECT min(next_try_at) FROM webhook_deliveries INDEXED BY webhook_deliveries_waiting \
                     WHERE webhook_id = ?1 AND state = 'pending')",
                )?
                .query_row(params![id.to_string(), count], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let due = snapshot
                .prepare_cached(&format!(
                    "SELECT {DELIVERY} FROM webhook_deliveries INDEXED BY webhook_deliveries_pending \
                     WHERE webhook_id = ?1 AND state = 'pending' AND next_try_at <= ?2 ORDER BY seq LIMIT 1"
                ))?
                .query_row(params![id.to_string(), to_ms(now)], |row| Ok(read_delivery(row)))
                .optional()?
                .transpose()?;
            let due = match due {
                Some(delivery) => {
                    let event = event_at(&snapshot, delivery.seq)?;
                    Some((delivery, event))
                }
                None => None,
            };
            let next_at = next_at.map(|at| from_ms(at, "webhook_deliveries.next_try_at")).transpose()?;
            Ok(NextDelivery { due, next_at, pending })
        })
        .await
    }

    /// Stores what came of a try. A delivery that was taken off meanwhile stays off.
    pub async fn store_try(&self, id: WebhookId, seq: i64, tried: Tried) -> Result<(), DbError> {
        self.write(move |transaction| {
            let is_over = tried.state != DeliveryState::Pending;
            transaction
                .prepare_cached(
                    "UPDATE webhook_deliveries SET state = :state, tries = tries + 1, next_try_at = :next_try_at, \
                     ended_at = :ended_at, status = :status, error = :error WHERE webhook_id = :id AND seq = :seq",
                )?
                .execute(named_params! {
                    ":state": tried.state.as_str(),
                    ":next_try_at": to_ms(tried.next_try_at),
                    ":ended_at": is_over.then(|| to_ms(tried.at)),
                    ":status": tried.status,
                    ":error": tried.error,
                    ":id": id.to_string(),
                    ":seq": seq,
                })?;
            let (id, at) = (id.to_string(), to_ms(tried.at));
            match tried.state {
                DeliveryState::Delivered => transaction
                    .prepare_cached(
                        "UPDATE webhooks SET failures = 0, resting_until = NULL, last_success_at = ?2 WHERE id = ?1",
                    )?
                    .execute(params![id, at])?,
                DeliveryState::Pending => transaction
                    .prepare_cached(
                        "UPDATE webhooks SET resting_until = iif(failures = ?3, ?4, resting_until), \
                         failures = failures + 1, last_failure_at = ?2 WHERE id = ?1",
                    )?
                    .execute(params![id, at, tried.failures, tried.resting_until.map(to_ms)])?,
                // Nobody was asked.
                DeliveryState::Dead => 0,
            };
            Ok(())
        })
        .await
    }

    /// Gives up some of what is pending since `since` or before; answers how many, 0 at the end.
    pub async fn bury_deliveries(
        &self,
        id: WebhookId,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<usize, DbError> {
        // Nearly always there is none, and then nothing is written.
        let is_any = self.point(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT 1 FROM webhook_deliveries WHERE webhook_id = ?1 AND state = 'pending' AND first_at <= ?2",
            )?;
            Ok(statement.exists(params![id.to_string(), to_ms(since)])?)
        })?;
        if !is_any {
            return Ok(0);
        }
        self.write(move |transaction| {
            let buried = transaction
                .prepare_cached(
                    "UPDATE webhook_deliveries SET state = 'dead', ended_at = ?3, error = ifnull(error, \
                     'the receiver was not asked, since it took nothing all the time') \
                     WHERE webhook_id = ?1 AND seq IN (SELECT seq FROM webhook_deliveries \
                     WHERE webhook_id = ?1 AND state = 'pending' AND first_at <= ?2 LIMIT ?4)",
                )?
                .execute(params![id.to_string(), to_ms(since), to_ms(now), DELIVERIES_AT_ONCE])?;
            Ok(buried)
        })
        .await
    }

    /// Forgets what came of some ended deliveries; answers whether there may be more.
    pub async fn forget_deliveries(&self, id: WebhookId) -> Result<bool, DbError> {
        self.write(move |transaction| {
            let forgotten = transaction
                .prepare_cached(
                    "DELETE FROM webhook_deliveries WHERE webhook_id = ?1 AND seq IN (SELECT seq \
                     FROM webhook_deliveries WHERE webhook_id = ?1 AND state <> 'pending' LIMIT ?2)",
                )?
                .execute(params![id.to_string(), DELIVERIES_AT_ONCE])?;
            Ok(was_full(forgotten))
        })
        .await
    }

    /// Goes on with a replay that [`Audited::replay_dead`] began; answers whether there may be more.
    pub async fn replay_more_dead(&self, id: WebhookId, now: Timestamp) -> Result<bool, DbError> {
        self.write(move |transaction| queue_dead(transaction, id, now)).await
    }

    /// At most `limit` deliveries of a webhook, latest event first, of events before place `before`;
    /// only those in this state, if one is given.
    pub async fn deliveries(
        &self,
        id: WebhookId,
        state: Option<DeliveryState>,
        before: i64,
        limit: u32,
    ) -> Result<Vec<Delivery>, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {DELIVERY} FROM webhook_deliveries WHERE webhook_id = ?1 AND seq < ?2 \
                 AND (?3 IS NULL OR state = ?3) ORDER BY seq DESC LIMIT ?4"
            ))?;
            let mut rows =
                statement.query(params![id.to_string(), before, state.map(DeliveryState::as_str), limit])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read_delivery(row)?);
            }
            Ok(found)
        })
        .await
    }
}

impl Audited<'_> {
    /// Stores a new webhook, which is told what happens from now on; answers how it is stored.
    pub async fn insert_webhook(self, webhook: Webhook) -> Result<Webhook, DbError> {
        self.write(move |transaction| {
            let cursor = end_of_log(transaction)?;
            let webhook = Webhook { cursor, ..webhook };
            store(transaction, &webhook)?;
            Ok(webhook)
        })
        .await
    }

    /// Stores what an administrator changed of a webhook. One that is switched on is told what
    /// happens from then on; at another address what waits is tried at once. [`DbError::Conflict`]
    /// when it is not there.
    pub async fn update_webhook(self, webhook: Webhook) -> Result<(), DbError> {
        self.write(move |transaction| {
            let id = webhook.id.to_string();
            let old: Option<(bool, String)> = transaction
                .prepare_cached("SELECT enabled, url FROM webhooks WHERE id = ?1")?
                .query_row([&id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let (was_enabled, old_url) = old.ok_or(DbError::Conflict)?;
            transaction
                .prepare_cached(
                    "UPDATE webhooks SET name = ?2, url = ?3, types = ?4, enabled = ?5, sealed_secret = ?6, \
                     sealed_previous = ?7, previous_until = ?8, updated_at = ?9 WHERE id = ?1",
                )?
                .execute(params![
                    id,
                    webhook.name,
                    webhook.url,
                    types_to_json(&webhook.types),
                    webhook.is_enabled,
                    webhook.sealed_secret,
                    webhook.previous.as_ref().map(|(sealed, _)| sealed),
                    webhook.previous.as_ref().map(|(_, until)| to_ms(*until)),
                    to_ms(webhook.updated_at),
                ])?;
            if webhook.is_enabled && !was_enabled {
                transaction
                    .prepare_cached("UPDATE webhooks SET cursor = ?2 WHERE id = ?1")?
                    .execute(params![id, end_of_log(transaction)?])?;
            }
            if webhook.is_enabled && !was_enabled || webhook.url != old_url {
                transaction
                    .prepare_cached("UPDATE webhooks SET failures = 0, resting_until = NULL WHERE id = ?1")?
                    .execute([&id])?;
                transaction
                    .prepare_cached(
                        "UPDATE webhook_deliveries SET next_try_at = ?2 WHERE webhook_id = ?1 AND seq IN \
                         (SELECT seq FROM webhook_deliveries INDEXED BY webhook_deliveries_pending \
                         WHERE webhook_id = ?1 AND state = 'pending' ORDER BY seq LIMIT ?3)",
                    )?
                    .execute(params![id, to_ms(webhook.updated_at), DELIVERIES_AT_ONCE])?;
            }
            Ok(())
        })
        .await
    }

    /// Removes a webhook with what is left of its deliveries. [`DbError::Conflict`] when it is not
    /// there.
    pub async fn delete_webhook(self, id: WebhookId) -> Result<(), DbError> {
        self.write(move |transaction| {
            let gone = transaction
                .prepare_cached("DELETE FROM webhooks WHERE id = ?1")?
                .execute([id.to_string()])?;
            if gone == 1 { Ok(()) } else { Err(DbError::Conflict) }
        })
        .await
    }

    /// Has a webhook told again what happened after place `after`. [`DbError::Conflict`] when it is
    /// not there.
    pub async fn replay_after(self, id: WebhookId, after: i64) -> Result<(), DbError> {
        self.write(move |transaction| {
            let moved = transaction
                .prepare_cached(
                    "UPDATE webhooks SET cursor = min(cursor, ?2), resting_until = NULL WHERE id = ?1",
                )?
                .execute(params![id.to_string(), after])?;
            if moved == 1 { Ok(()) } else { Err(DbError::Conflict) }
        })
        .await
    }

    /// Has a webhook told again the event at `seq`; `false` when that is not in the log.
    pub async fn replay_event(self, id: WebhookId, seq: i64, now: Timestamp) -> Result<bool, DbError> {
        self.write_if(
            |is_there| *is_there,
            move |transaction| {
                if event_at(transaction, seq)?.is_none() {
                    return Ok(false);
                }
                queue(transaction, id, seq, now)?;
                wake(transaction, id)?;
                Ok(true)
            },
        )
        .await
    }

    /// Has a webhook told again some of what was given up; answers whether there may be more.
    pub async fn replay_dead(self, id: WebhookId, now: Timestamp) -> Result<bool, DbError> {
        self.write(move |transaction| {
            wake(transaction, id)?;
            queue_dead(transaction, id, now)
        })
        .await
    }
}

fn store(transaction: &Transaction<'_>, webhook: &Webhook) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO webhooks(id, name, url, types, enabled, sealed_secret, cursor, created_at, created_by, \
             updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            webhook.id.to_string(),
            webhook.name,
            webhook.url,
            types_to_json(&webhook.types),
            webhook.is_enabled,
            webhook.sealed_secret,
            webhook.cursor,
            to_ms(webhook.created_at),
            webhook.created_by,
            to_ms(webhook.updated_at),
        ])?;
    Ok(())
}

fn queue(transaction: &Transaction<'_>, id: WebhookId, seq: i64, now: Timestamp) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO webhook_deliveries(webhook_id, seq, state, first_at, next_try_at) \
             VALUES (?1, ?2, 'pending', ?3, ?3) ON CONFLICT DO UPDATE SET state = 'pending', tries = 0, \
             first_at = ?3, next_try_at = ?3, ended_at = NULL WHERE state <> 'pending'",
        )?
        .execute(params![id.to_string(), seq, to_ms(now)])?;
    Ok(())
}

fn queue_dead(transaction: &Transaction<'_>, id: WebhookId, now: Timestamp) -> Result<bool, DbError> {
    let again = transaction
        .prepare_cached(
            "UPDATE webhook_deliveries SET state = 'pending', tries = 0, first_at = ?2, next_try_at = ?2, \
             ended_at = NULL WHERE webhook_id = ?1 AND seq IN (SELECT seq FROM webhook_deliveries \
             WHERE webhook_id = ?1 AND state = 'dead' ORDER BY seq LIMIT ?3)",
        )?
        .execute(params![id.to_string(), to_ms(now), DELIVERIES_AT_ONCE])?;
    Ok(was_full(again))
}

/// Whether a transaction changed as many deliveries as it may.
fn was_full(changed: usize) -> bool {
    changed >= DELIVERIES_AT_ONCE as usize
}

/// Ends a webhook's rest: somebody wants to see now whether it takes events.
fn wake(transaction: &Transaction<'_>, id: WebhookId) -> Result<(), DbError> {
    transaction
        .prepare_cached("UPDATE webhooks SET resting_until = NULL WHERE id = ?1")?
        .execute([id.to_string()])?;
    Ok(())
}

fn end_of_log(connection: &Connection) -> Result<i64, DbError> {
    let end = "SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)";
    Ok(connection.prepare_cached(end)?.query_row([], |row| row.get(0))?)
}

fn types_to_json(types: &[String]) -> String {
    serde_json::Value::from(types).to_string()
}

fn read(row: &Row<'_>) -> Result<Webhook, DbError> {
    let time = |column: usize, what: &'static str| {
        row.get::<_, Option<i64>>(column)?.map(|at| from_ms(at, what)).transpose()
    };
    let types: String = row.get(3)?;
    let previous: Option<Vec<u8>> = row.get(6)?;
    Ok(Webhook {
        id: parse(&row.get::<_, String>(0)?, "webhooks.id")?,
        name: row.get(1)?,
        url: row.get(2)?,
        types: serde_json::from_str(&types).map_err(|_| DbError::Damaged { what: "webhooks.types" })?,
        is_enabled: row.get(4)?,
        sealed_secret: row.get(5)?,
        previous: previous.zip(time(7, "webhooks.previous_until")?),
        cursor: row.get(8)?,
        failures: row.get(9)?,
        resting_until: time(10, "webhooks.resting_until")?,
        last_success_at: time(11, "webhooks.last_success_at")?,
        last_failure_at: time(12, "webhooks.last_failure_at")?,
        created_at: from_ms(row.get(13)?, "webhooks.created_at")?,
        created_by: row.get(14)?,
        updated_at: from_ms(row.get(15)?, "webhooks.updated_at")?,
    })
}

fn read_delivery(row: &Row<'_>) -> Result<Delivery, DbError> {
    let state: String = row.get(1)?;
    let state = DeliveryState::ALL.into_iter().find(|known| known.as_str() == state);
    let ended_at: Option<i64> = row.get(5)?;
    Ok(Delivery {
        seq: row.get(0)?,
        state: state.ok_or(DbError::Damaged { what: "webhook_deliveries.state" })?,
        tries: row.get(2)?,
        first_at: from_ms(row.get(3)?, "webhook_deliveries.first_at")?,
        next_try_at: from_ms(row.get(4)?, "webhook_deliveries.next_try_at")?,
        ended_at: ended_at.map(|at| from_ms(at, "webhook_deliveries.ended_at")).transpose()?,
        status: row.get(6)?,
        error: row.get(7)?,
    })
}

#[cfg(test)]
mod tests;
