//! The `fax_groups` table: faxes that were accepted together.
//!
//! Owns: the row of each group, how far its faxes have come, and telling once that the last one has
//! ended, in the transaction in which it does. Refuses: to outlive its faxes; the row goes with the
//! last of them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, named_params, params};

use super::audit::Audited;
use super::{Db, DbError, events, from_ms, jobs, mails, parse, to_ms};
use crate::fax::event::Event;
use crate::fax::group::{Group, Tally};
use crate::fax::job::Job;
use crate::fax::notice::Notice;
use crate::fax::transition::Moved;
use crate::id::{GroupId, JobId};

impl Db {
    /// The group with this id, and how far its faxes have come, at one moment.
    pub async fn group(&self, id: GroupId) -> Result<Option<(Group, Tally)>, DbError> {
        self.list(move |connection| {
            let snapshot = connection.unchecked_transaction()?;
            let Some(group) = by_id(&snapshot, id)? else { return Ok(None) };
            let tally = tally(&snapshot, &group)?;
            Ok(Some((group, tally)))
        })
        .await
    }

    /// At most `limit` faxes of a group that neither have ended nor were asked to, oldest first.
    pub fn open_in_group(&self, id: GroupId, limit: u32) -> Result<Vec<JobId>, DbError> {
        self.point(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id FROM jobs WHERE group_id = ?1 AND final_at IS NULL AND cancel_asked_by IS NULL \
                 ORDER BY seq LIMIT ?2",
            )?;
            let mut rows = statement.query(params![id.to_string(), limit])?;
            let mut ids = Vec::new();
            while let Some(row) = rows.next()? {
                ids.push(parse(&row.get::<_, String>(0)?, "jobs.id")?);
            }
            Ok(ids)
        })
    }

    /// Groups whose end is recorded although a fax of theirs has none, the other way round, or that
    /// have no fax at all.
    pub async fn groups_unaccounted(&self) -> Result<Vec<GroupId>, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id FROM fax_groups WHERE (final_at IS NULL) <> EXISTS \
                 (SELECT 1 FROM jobs WHERE group_id = fax_groups.id AND final_at IS NULL) \
                 OR NOT EXISTS (SELECT 1 FROM jobs WHERE group_id = fax_groups.id)",
            )?;
            let mut rows = statement.query([])?;
            let mut ids = Vec::new();
            while let Some(row) = rows.next()? {
                ids.push(parse(&row.get::<_, String>(0)?, "fax_groups.id")?);
            }
            Ok(ids)
        })
        .await
    }
}

impl Audited<'_> {
    /// Cancels these faxes, recorded. [`DbError::Conflict`], and none cancelled, when one of them
    /// has ended meanwhile.
    pub async fn cancel_jobs(
        self,
        ids: Vec<JobId>,
        by: String,
        now: Timestamp,
    ) -> Result<Vec<Moved>, DbError> {
        self.write(move |transaction| {
            let cancel = |id| {
                jobs::moved(transaction, id, |stage| stage.cancel(&by, now))?.map_err(|_| DbError::Conflict)
            };
            ids.into_iter().map(cancel).collect()
        })
        .await
    }
}

pub(super) fn insert(transaction: &Transaction<'_>, group: &Group) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "INSERT INTO fax_groups(id, owner_id, key_id, notify, size, created_at) \
             VALUES (:id, :owner_id, :key_id, :notify, :size, :created_at)",
        )?
        .execute(named_params! {
            ":id": group.id.to_string(),
            ":owner_id": group.owner.to_string(),
            ":key_id": group.key_id,
            ":notify": group.notify.as_ref().map(jobs::to_json),
            ":size": group.size,
            ":created_at": to_ms(group.created_at),
        })?;
    Ok(())
}

/// After the end of a fax: ends its group too, and tells, when that was the last one.
pub(super) fn ended(transaction: &Transaction<'_>, job: &Job) -> Result<(), DbError> {
    let Some(id) = job.group else { return Ok(()) };
    let mut open =
        transaction.prepare_cached("SELECT 1 FROM jobs WHERE group_id = ?1 AND final_at IS NULL LIMIT 1")?;
    if open.exists([id.to_string()])? {
        return Ok(());
    }
    let changed = transaction
        .prepare_cached("UPDATE fax_groups SET final_at = ?2 WHERE id = ?1 AND final_at IS NULL")?
        .execute(params![id.to_string(), to_ms(job.updated_at)])?;
    match by_id(transaction, id)? {
        Some(group) if changed == 1 => {
            let tally = tally(transaction, &group)?;
            events::append(transaction, &[Event::group_done(&group, &tally, job.updated_at)])?;
            match Notice::of_group(&group, &tally, job.updated_at) {
                Some((notify, notice)) => mails::queue(transaction, &notify.to, &notice, job.updated_at),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Removes a group of which no fax is left.
pub(super) fn forget_empty(transaction: &Transaction<'_>, id: &str) -> Result<(), DbError> {
    transaction
        .prepare_cached(
            "DELETE FROM fax_groups WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE group_id = ?1)",
        )?
        .execute([id])?;
    Ok(())
}

fn by_id(connection: &Connection, id: GroupId) -> Result<Option<Group>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT owner_id, key_id, size, created_at, final_at, notify FROM fax_groups WHERE id = ?1",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        let notify: Option<String> = row.get(5)?;
        Ok((
            row.get::<_, String>(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get::<_, Option<i64>>(4)?,
            notify,
        ))
    };
    let Some((owner, key_id, size, created_at, final_at, notify)) =
        statement.query_row([id.to_string()], read).optional()?
    else {
        return Ok(None);
    };
    let time = |ms| from_ms(ms, "fax_groups times");
    Ok(Some(Group {
        id,
        owner: parse(&owner, "fax_groups.owner_id")?,
        key_id,
        notify: notify
            .map(|json| {
                serde_json::from_str(&json).map_err(|_| DbError::Damaged { what: "fax_groups.notify" })
            })
            .transpose()?,
        size,
        created_at: time(created_at)?,
        final_at: final_at.map(time).transpose()?,
    }))
}

fn tally(connection: &Connection, group: &Group) -> Result<Tally, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT state, count(*), ifnull(sum(pages), 0), sum(confirmed_pages) FROM jobs WHERE group_id = ?1 \
         GROUP BY state",
    )?;
    let mut rows = statement.query([group.id.to_string()])?;
    let mut tally = Tally { size: group.size, ..Tally::default() };
    while let Some(row) = rows.next()? {
        tally.states.push((parse(&row.get::<_, String>(0)?, "jobs.state")?, row.get(1)?));
        tally.pages += row.get::<_, i64>(2)?.unsigned_abs();
        tally.confirmed_pages += row.get::<_, i64>(3)?.unsigned_abs();
    }
    Ok(tally)
}
