//! Storing new jobs, and giving those their pages that were accepted without.
//!
//! Owns: that what is accepted in one request is stored whole or not at all, with its events and the
//! answer kept for a client that asks twice. Refuses: to take a fax by an order to hold all those of
//! its key.

use rusqlite::{Transaction, named_params};

use super::{by_id, ids_to_json, read_all, store, to_json};
use crate::db::idempotency::Answer;
use crate::db::{Db, DbError, events, groups, idempotency, optional, to_ms};
use crate::fax::job::Job;
use crate::fax::transition::{Accepted, Moved, Stage};

const INSERT: &str = "INSERT INTO jobs (id, owner_id, key_id, to_raw, to_e164, route, routes, lane, state, status, priority, \
     rank, resolution, quality, pages, document_id, source_ids, source_sha256, tag, resend_of, notify, group_id, second_look, \
     schedule_at, hours, deadline_at, next_try_at, created_at, updated_at) \
     VALUES (:id, :owner_id, :key_id, :to_raw, :to_e164, :route, :routes, :lane, :state, :status, :priority, \
     :rank, :resolution, :quality, :pages, :document_id, :source_ids, :source_sha256, :tag, :resend_of, :notify, :group_id, :second_look, \
     :schedule_at, :hours, :deadline_at, :next_try_at, :created_at, :updated_at)";

impl Db {
    /// Stores a new job with its event and, if the client named its request, the answer it gets;
    /// all or none. Answers the job with its `seq`.
    pub async fn insert_job(&self, moved: Moved, answer: Option<Answer>) -> Result<Job, DbError> {
        let accepted = Accepted { group: None, faxes: vec![moved] };
        self.insert_jobs(accepted, answer).await?.pop().ok_or(DbError::NotStored)
    }

    /// The same for all that one request asks for. Answers the jobs in their order.
    pub async fn insert_jobs(&self, accepted: Accepted, answer: Option<Answer>) -> Result<Vec<Job>, DbError> {
        self.write(move |transaction| {
            if let Some(answer) = &answer {
                idempotency::insert(transaction, answer)?;
            }
            if let Some(group) = &accepted.group {
                groups::insert(transaction, group)?;
            }
            accepted.faxes.into_iter().map(|moved| add(transaction, moved)).collect()
        })
        .await
    }

    /// Moves a job that has no pages yet, and with it those of its group that have none either: they
    /// are made of the same document. Those that `transition` passes over stay as they are.
    pub async fn move_unprepared(
        &self,
        job: &Job,
        transition: impl Fn(Stage) -> Option<Moved> + Send + 'static,
    ) -> Result<Vec<Moved>, DbError> {
        let (id, group) = (job.id, job.group);
        self.write(move |transaction| {
            let all = match group {
                None => by_id(transaction, id)?.into_iter().collect(),
                Some(group) => read_all(transaction, UNPREPARED, [group.to_string()])?,
            };
            let mut all_moved = Vec::with_capacity(all.len());
            for moved in all.into_iter().filter_map(|job| transition(Stage::of(job))) {
                store(transaction, &moved)?;
                all_moved.push(moved);
            }
            Ok(all_moved)
        })
        .await
    }

    /// How many faxes wait for the pages this one waits for; itself too.
    pub fn count_unprepared(&self, job: &Job) -> Result<u32, DbError> {
        let Some(group) = job.group else { return Ok(1) };
        self.point(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT count(*) FROM jobs {UNPREPARED}"))?;
            Ok(statement.query_row([group.to_string()], |row| row.get(0))?)
        })
    }
}

/// Those of a group that have no pages and have not ended.
const UNPREPARED: &str = "WHERE group_id = ?1 AND final_at IS NULL AND document_id IS NULL ORDER BY seq";

fn add(transaction: &Transaction<'_>, moved: Moved) -> Result<Job, DbError> {
    insert(transaction, &moved)?;
    let seq = transaction.last_insert_rowid();
    events::append(transaction, moved.events())?;
    let job = Job { seq, ..moved.into_job() };
    // Taken in before its key was revoked, stored after: it is held like those before it.
    match held_as_ordered(transaction, &job)? {
        Some(held) => store(transaction, &held).map(|()| held.into_job()),
        None => Ok(job),
    }
}

/// The job, held, when its key was revoked with the order to hold its faxes and that did not reach
/// it: it was not stored yet, or a call was under way. One that was held since then and released is
/// let go for good.
pub(super) fn held_as_ordered(transaction: &Transaction<'_>, job: &Job) -> Result<Option<Moved>, DbError> {
    let Some(key_id) = &job.key_id else { return Ok(None) };
    let mut is_ordered = transaction.prepare_cached(
        "SELECT 1 FROM api_keys WHERE id = ?1 AND holds_faxes = 1 AND NOT EXISTS \
         (SELECT 1 FROM events WHERE subject = ?2 AND type = 'fax.held' AND seq > \
         (SELECT ifnull(max(seq), 0) FROM events WHERE subject = 'key:' || ?1 AND type = 'api_key.revoked'))",
    )?;
    if !is_ordered.exists([key_id.as_str(), &job.id.to_string()])? {
        return Ok(None);
    }
    Ok(Stage::of(job.clone()).hold(job.updated_at))
}

pub(super) fn insert(transaction: &Transaction<'_>, moved: &Moved) -> Result<(), DbError> {
    let job = moved.job();
    transaction.prepare_cached(INSERT)?.execute(named_params! {
        ":id": job.id.to_string(),
        ":owner_id": job.owner.to_string(),
        ":key_id": job.key_id,
        ":to_raw": job.to_raw,
        ":to_e164": job.to.as_e164(),
        ":route": job.route,
        ":routes": job.routes.to_string(),
        ":lane": job.lane.to_string(),
        ":state": job.state.as_str(),
        ":status": job.state.public_status().as_str(),
        ":priority": job.priority.as_str(),
        ":rank": job.rank,
        ":resolution": job.resolution,
        ":quality": job.quality,
        ":pages": job.pages,
        ":document_id": optional(job.document.as_ref()),
        ":source_ids": ids_to_json(&job.sources),
        ":source_sha256": job.source_sha256,
        ":tag": job.tag,
        ":resend_of": optional(job.resend_of.as_ref()),
        ":notify": job.notify.as_ref().map(to_json),
        ":group_id": optional(job.group.as_ref()),
        ":second_look": job.second_look.as_ref().map(to_json),
        ":schedule_at": job.schedule_at.map(to_ms),
        ":hours": job.hours.as_ref().map(ToString::to_string),
        ":deadline_at": to_ms(job.deadline_at),
        ":next_try_at": job.next_try_at.map(to_ms),
        ":created_at": to_ms(job.created_at),
        ":updated_at": to_ms(job.updated_at),
    })?;
    Ok(())
}
