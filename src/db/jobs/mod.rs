//! The `jobs` table: one row per fax to send.
//!
//! Owns: storing what a transition made, with its events, in one change ([`store`]); reading jobs
//! back. Its folder has how new ones come in ([`accept`]), who is dialled next ([`claim`]), what the
//! dispatcher asks beside that ([`dispatch`]), what a start needs ([`recovery`]) and what lists show ([`list`]). Refuses: to change a state by itself; every state written here
//! comes out of a [`Moved`].
//!
//! Invariant of `blocked`: whenever a queued job is blocked, another job to its number is under
//! way, waiting, or queued and not blocked; and each job that leaves the number, for good or to be
//! held, unblocks the next one in the same transaction.

mod accept;
mod claim;
mod dispatch;
mod list;
mod recovery;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params};

pub use self::claim::{Claim, Claimed, RouteRules};
pub use self::dispatch::{Agenda, Ways};
pub use self::list::{JobPage, ListFilter, Position};
pub use self::recovery::LostCall;
use super::audit::Audited;
use super::{Db, DbError, events, from_ms, groups, mails, optional, parse, to_ms};
use crate::access::token::KeyId;
use crate::fax::job::{Job, State};
use crate::fax::notice::Notice;
use crate::fax::retry::Counters;
use crate::fax::routing::RouteList;
use crate::fax::transition::{Alteration, Moved, Stage, Unalterable};
use crate::id::{DocumentId, JobId};

/// All columns a [`Job`] is made of, in the order [`read`] takes them.
const COLUMNS: &str = "seq, id, owner_id, key_id, to_raw, to_e164, route, routes, lane, state, blocked, priority, rank, \
     resolution, quality, pages, confirmed_pages, document_id, source_ids, source_sha256, attempts, \
     dials, tries, fruitless, busies, human_answers, outages, outcome, tag, resend_of, notify, group_id, second_look, other_station, reimaged, schedule_at, hours, deadline_at, \
     closed_until, next_try_at, lease_until, cancel_asked_by, created_at, updated_at, final_at";

const UPDATE: &str = "UPDATE jobs SET route = :route, lane = :lane, state = :state, status = :status, blocked = :blocked, rank = :rank, \
     pages = :pages, confirmed_pages = :confirmed_pages, document_id = :document_id, \
     source_ids = :source_ids, attempts = :attempts, dials = :dials, tries = :tries, \
     fruitless = :fruitless, busies = :busies, human_answers = :human_answers, outages = :outages, \
     outcome = :outcome, deadline_at = :deadline_at, closed_until = :closed_until, next_try_at = :next_try_at, lease_until = :lease_until, \
     cancel_asked_by = :cancel_asked_by, second_look = :second_look, other_station = :other_station, reimaged = :reimaged, updated_at = :updated_at, final_at = :final_at \
     WHERE seq = :seq";

/// What only a person changes; apart from [`UPDATE`], which every page of every call runs, so that
/// the indexes on these columns are left alone there.
const ALTER: &str = "UPDATE jobs SET to_raw = :to_raw, to_e164 = :to_e164, priority = :priority, tag = :tag, \
     schedule_at = :schedule_at, hours = :hours WHERE seq = :seq";

/// Lets the next fax to a number come forward, when one that held it back is gone.
const UNBLOCK_NEXT: &str = "UPDATE jobs SET blocked = 0 WHERE seq = \
     (SELECT seq FROM jobs WHERE blocked = 1 AND to_e164 = ?1 ORDER BY rank, seq LIMIT 1)";

impl Db {
    /// The job with this id.
    pub fn job(&self, id: JobId) -> Result<Option<Job>, DbError> {
        self.point(|connection| by_id(connection, id))
    }

    /// Moves one job: reads it, lets `transition` decide, and stores what came out, in one
    /// transaction. [`DbError::Conflict`] when there is no such job; an `Err` of `transition`
    /// comes back as it is and nothing is stored.
    pub async fn move_job<E: Send + 'static>(
        &self,
        id: JobId,
        transition: impl FnOnce(Stage) -> Result<Moved, E> + Send + 'static,
    ) -> Result<Result<Moved, E>, DbError> {
        self.write(move |transaction| moved(transaction, id, transition)).await
    }
}

impl Audited<'_> {
    /// [`Db::move_job`], recorded when the job was moved.
    pub async fn move_job<E: Send + 'static>(
        self,
        id: JobId,
        transition: impl FnOnce(Stage) -> Result<Moved, E> + Send + 'static,
    ) -> Result<Result<Moved, E>, DbError> {
        self.write_if(Result::is_ok, move |transaction| moved(transaction, id, transition)).await
    }
}

impl Audited<'_> {
    /// Changes what a person may change of a job, recorded when it was. What it held back at its
    /// number so far may come forward. [`DbError::Conflict`] when there is no such job.
    pub async fn alter_job(
        self,
        id: JobId,
        change: Alteration,
        now: Timestamp,
    ) -> Result<Result<Moved, Unalterable>, DbError> {
        self.write_if(Result::is_ok, move |transaction| {
            let job = by_id(transaction, id)?.ok_or(DbError::Conflict)?;
            let number = job.to.clone();
            let moved = match Stage::of(job).alter(change, now) {
                Ok(moved) => moved,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let job = moved.job();
            transaction.prepare_cached(ALTER)?.execute(named_params! {
                ":seq": job.seq,
                ":to_raw": job.to_raw,
                ":to_e164": job.to.as_e164(),
                ":priority": job.priority.as_str(),
                ":tag": job.tag,
                ":schedule_at": job.schedule_at.map(to_ms),
                ":hours": job.hours.as_ref().map(ToString::to_string),
            })?;
            store(transaction, &moved)?;
            transaction.prepare_cached(UNBLOCK_NEXT)?.execute([number.as_e164()])?;
            Ok(Ok(moved))
        })
        .await
    }
}

pub(super) fn moved<E>(
    transaction: &Transaction<'_>,
    id: JobId,
    transition: impl FnOnce(Stage) -> Result<Moved, E>,
) -> Result<Result<Moved, E>, DbError> {
    let job = by_id(transaction, id)?.ok_or(DbError::Conflict)?;
    match transition(Stage::of(job)) {
        Ok(moved) => {
            store(transaction, &moved)?;
            Ok(Ok(moved))
        }
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// The faxes of a key that can be held: no call is under way for them.
pub(super) fn waiting_of(transaction: &Transaction<'_>, key_id: KeyId) -> Result<Vec<Job>, DbError> {
    read_all(
        transaction,
        "WHERE key_id = ?1 AND state IN ('preparing', 'scheduled', 'queued', 'waiting') ORDER BY seq",
        [key_id.to_string()],
    )
}

/// Holds these faxes; answers which.
pub(super) fn hold_all(
    transaction: &Transaction<'_>,
    jobs: Vec<Job>,
    now: Timestamp,
) -> Result<Vec<JobId>, DbError> {
    let mut held = Vec::with_capacity(jobs.len());
    for job in jobs {
        if let Some(moved) = Stage::of(job).hold(now) {
            store(transaction, &moved)?;
            held.push(moved.job().id);
        }
    }
    Ok(held)
}

/// Writes what a transition made, with its events; the end of a job, its holding, or its sleep until
/// a time of its own frees its number.
fn store(transaction: &Transaction<'_>, moved: &Moved) -> Result<(), DbError> {
    let job = moved.job();
    let counters = &job.counters;
    let changed = transaction.prepare_cached(UPDATE)?.execute(named_params! {
        ":seq": job.seq,
        ":route": job.route,
        ":lane": job.lane.to_string(),
        ":state": job.state.as_str(),
        ":status": job.state.public_status().as_str(),
        ":blocked": job.is_blocked,
        ":rank": job.rank,
        ":pages": job.pages,
        ":confirmed_pages": job.confirmed_pages,
        ":document_id": optional(job.document.as_ref()),
        ":source_ids": ids_to_json(&job.sources),
        ":attempts": job.attempts,
        ":dials": counters.dials,
        ":tries": counters.tries,
        ":fruitless": counters.fruitless,
        ":busies": counters.busies,
        ":human_answers": counters.human_answers,
        ":outages": counters.outages,
        ":outcome": job.outcome.as_ref().map(to_json),
        ":deadline_at": to_ms(job.deadline_at),
        ":closed_until": job.closed_until.map(to_ms),
        ":next_try_at": job.next_try_at.map(to_ms),
        ":lease_until": job.lease_until.map(to_ms),
        ":cancel_asked_by": job.cancel_asked_by,
        ":second_look": job.second_look.as_ref().map(to_json),
        ":other_station": job.other_station.as_ref().map(to_json),
        ":reimaged": job.is_reimaged,
        ":updated_at": to_ms(job.updated_at),
        ":final_at": job.final_at.map(to_ms),
    })?;
    if changed != 1 {
        return Err(DbError::Conflict);
    }
    // One that comes back to the queue goes behind a better one that it held back while it slept.
    if job.state.is_final() || matches!(job.state, State::Held | State::Queued | State::Scheduled) {
        transaction.prepare_cached(UNBLOCK_NEXT)?.execute([job.to.as_e164()])?;
    }
    events::append(transaction, moved.events())?;
    if let (Some(notify), Some(notice)) = (&job.notify, Notice::of(moved)) {
        mails::queue(transaction, &notify.to, &notice, job.updated_at)?;
    }
    if job.state.is_final() { groups::ended(transaction, job) } else { Ok(()) }
}

pub(in crate::db) fn by_id(connection: &Connection, id: JobId) -> Result<Option<Job>, DbError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1"))?;
    statement.query_row([id.to_string()], |row| Ok(read(row))).optional()?.transpose()
}

/// Reads the rows of a query that selects [`COLUMNS`].
pub(in crate::db) fn read_all(
    connection: &Connection,
    tail: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Job>, DbError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs {tail}"))?;
    let mut rows = statement.query(parameters)?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        jobs.push(read(row)?);
    }
    Ok(jobs)
}

fn read(row: &Row<'_>) -> Result<Job, DbError> {
    let mut column = 0;
    let mut next = || {
        column += 1;
        column - 1
    };
    let time = |ms: i64| from_ms(ms, "jobs times");
    Ok(Job {
        seq: row.get(next())?,
        id: parse(row.get_ref(next())?.as_str().map_err(damaged)?, "jobs.id")?,
        owner: parse(row.get_ref(next())?.as_str().map_err(damaged)?, "jobs.owner_id")?,
        key_id: row.get(next())?,
        to_raw: row.get(next())?,
        to: parse(row.get_ref(next())?.as_str().map_err(damaged)?, "jobs.to_e164")?,
        route: row.get(next())?,
        routes: order(row, next())?,
        lane: order(row, next())?,
        state: parse(row.get_ref(next())?.as_str().map_err(damaged)?, "jobs.state")?,
        is_blocked: row.get(next())?,
        priority: parse(row.get_ref(next())?.as_str().map_err(damaged)?, "jobs.priority")?,
        rank: row.get(next())?,
        resolution: row.get(next())?,
        quality: row.get(next())?,
        pages: row.get(next())?,
        confirmed_pages: row.get(next())?,
        document: row
            .get::<_, Option<String>>(next())?
            .map(|id| parse(&id, "jobs.document_id"))
            .transpose()?,
        sources: ids_from_json(row.get_ref(next())?.as_str().map_err(damaged)?)?,
        source_sha256: row.get(next())?,
        attempts: row.get(next())?,
        counters: Counters {
            dials: row.get(next())?,
            tries: row.get(next())?,
            fruitless: row.get(next())?,
            busies: row.get(next())?,
            human_answers: row.get(next())?,
            outages: row.get(next())?,
        },
        outcome: record(row, next(), "jobs.outcome")?,
        tag: row.get(next())?,
        resend_of: row
            .get::<_, Option<String>>(next())?
            .map(|id| parse(&id, "jobs.resend_of"))
            .transpose()?,
        notify: record(row, next(), "jobs.notify")?,
        group: row.get::<_, Option<String>>(next())?.map(|id| parse(&id, "jobs.group_id")).transpose()?,
        second_look: record(row, next(), "jobs.second_look")?,
        other_station: record(row, next(), "jobs.other_station")?,
        is_reimaged: row.get(next())?,
        schedule_at: row.get::<_, Option<i64>>(next())?.map(time).transpose()?,
        hours: row.get::<_, Option<String>>(next())?.map(|text| parse(&text, "jobs.hours")).transpose()?,
        deadline_at: time(row.get(next())?)?,
        closed_until: row.get::<_, Option<i64>>(next())?.map(time).transpose()?,
        next_try_at: row.get::<_, Option<i64>>(next())?.map(time).transpose()?,
        lease_until: row.get::<_, Option<i64>>(next())?.map(time).transpose()?,
        cancel_asked_by: row.get(next())?,
        created_at: time(row.get(next())?)?,
        updated_at: time(row.get(next())?)?,
        final_at: row.get::<_, Option<i64>>(next())?.map(time).transpose()?,
    })
}

/// What is stored as a JSON record, or not there.
fn record<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
    what: &'static str,
) -> Result<Option<T>, DbError> {
    let json = row.get_ref(column)?.as_str_or_null().map_err(damaged)?;
    json.map(|json| serde_json::from_str(json).map_err(|_| DbError::Damaged { what })).transpose()
}

/// A list of routes.
fn order(row: &Row<'_>, column: usize) -> Result<RouteList, DbError> {
    Ok(row.get_ref(column)?.as_str().map_err(damaged)?.into())
}

fn damaged(_: rusqlite::types::FromSqlError) -> DbError {
    DbError::Damaged { what: "jobs" }
}

pub(super) fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("records of plain fields always serialise")
}

fn ids_to_json(ids: &[DocumentId]) -> String {
    to_json(&ids.iter().map(ToString::to_string).collect::<Vec<_>>())
}

pub(super) fn ids_from_json(json: &str) -> Result<Vec<DocumentId>, DbError> {
    const WHAT: &str = "jobs.source_ids";
    let texts: Vec<String> = serde_json::from_str(json).map_err(|_| DbError::Damaged { what: WHAT })?;
    texts.iter().map(|text| parse(text, WHAT)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::db::idempotency::{Answer, RequestName};
    use crate::fax::attempt::{CallEnd, Progress};
    use crate::fax::job::Priority;
    use crate::fax::notify::{Notify, When};
    use crate::fax::outcome::{Class, Fault};
    use crate::fax::transition::{Acceptance, Content, accept};
    use crate::id::AccountId;
    use crate::secret::Secret;

    pub(in crate::db) fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    pub(in crate::db) fn open() -> (tempfile::TempDir, Db) {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("t.db")).unwrap();
        db.start_audit(&Secret::new([9; 32]));
        (folder, db)
    }

    pub(in crate::db) fn new_job() -> Acceptance {
        Acceptance {
            owner: AccountId::new(),
            key_id: Some("0123456789ab".into()),
            to_raw: "555 123 4567".into(),
            to: "+15551234567".parse().unwrap(),
            route: "simulator".into(),
            priority: Priority::Normal,
            resolution: "fine".into(),
            quality: "text".into(),
            content: Content::Ready(DocumentId::new(), 3),
            source_sha256: "00".into(),
            tag: Some("invoice 7".into()),
            resend_of: Some(JobId::new()),
            notify: Notify::new(When::Both, vec!["desk@example.org".parse().unwrap()]),
            schedule_at: None,
            deadline_at: None,
            hours: None,
        }
    }

    pub(super) async fn add(db: &Db, to: &str, priority: Priority) -> Job {
        let new = Acceptance { to: to.parse().unwrap(), priority, ..new_job() };
        db.insert_job(accept(new, now()), None).await.unwrap()
    }

    pub(super) async fn finish(db: &Db, claim: &Claim, end: CallEnd) -> Job {
        let Claim { job, attempt } = claim;
        db.finish_call(job.id, attempt.id, Progress::default(), end, now(), Ways::default()).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_stored_reads_back_equal() {
        let (_folder, db) = open();
        let sources = vec![DocumentId::new(), DocumentId::new()];
        let later = now() + SignedDuration::from_hours(1);
        for content in [Content::Ready(DocumentId::new(), 3), Content::Sources(sources.clone())] {
            let new = Acceptance { content, schedule_at: Some(later), hours: "Wk".parse().ok(), ..new_job() };
            let stored = db.insert_job(accept(new, now()), None).await.unwrap();
            assert_eq!(db.job(stored.id).unwrap().unwrap(), stored);
            let moved = db.move_job(stored.id, |stage| stage.cancel("a test", now())).await.unwrap().unwrap();
            assert_eq!(moved.freed(), stored.sources);
            assert_eq!(db.job(stored.id).unwrap().unwrap(), moved.into_job());
        }
        assert!(db.job(JobId::new()).unwrap().is_none());
    }

    #[tokio::test]
    async fn each_state_has_its_event_and_a_refused_move_has_none() {
        let (_folder, db) = open();
        let job = db.insert_job(accept(new_job(), now()), None).await.unwrap();
        let cancel = || db.move_job(job.id, |stage| stage.cancel("Dr. Secret", now()));
        cancel().await.unwrap().unwrap();
        assert_eq!(cancel().await.unwrap(), Err(State::Cancelled));
        let events = db.events_after(0, 10).await.unwrap();
        let kinds: Vec<_> = events.iter().map(|logged| logged.event.kind.as_str()).collect();
        assert_eq!(kinds, ["fax.queued", "fax.cancelled"]);
        for logged in &events {
            assert_eq!(logged.event.subject, job.id.to_string());
            let told = logged.event.data.to_string();
            assert!(
                !told.contains("5551234567") && !told.contains("Secret") && !told.contains("invoice"),
                "{told}"
            );
        }
        assert_eq!(db.events_after(events[0].seq, 10).await.unwrap(), events[1..]);
    }

    #[tokio::test]
    async fn job_and_answer_are_stored_together_or_not_at_all() {
        let (_folder, db) = open();
        let request = RequestName {
            key_id: "k".into(),
            path: "/fax".into(),
            name: "n".into(),
            request_hash: vec![1; 32],
        };
        let answer = |at| Answer { request: request.clone(), status: 202, body: "{}".into(), at };
        db.insert_job(accept(new_job(), now()), Some(answer(now()))).await.unwrap();
        let second = accept(new_job(), now());
        let id = second.job().id;
        assert!(matches!(db.insert_job(second, Some(answer(now()))).await, Err(DbError::Conflict)));
        assert!(db.job(id).unwrap().is_none());

        let next_day = now() + SignedDuration::from_hours(24);
        assert!(db.kept_answer(&request, next_day - SignedDuration::from_millis(1)).unwrap().is_some());
        assert!(db.kept_answer(&request, next_day).unwrap().is_none());
        db.insert_job(accept(new_job(), next_day), Some(answer(next_day))).await.unwrap();
        assert_eq!(db.sweep_answers(next_day).await.unwrap(), 0, "the new one took the old one's place");
        assert_eq!(db.sweep_answers(next_day + SignedDuration::from_hours(24)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_revoked_key_holds_what_is_not_being_called_and_what_comes_too_late() {
        let (_folder, db) = open();
        db.write(|transaction| {
            transaction.execute_batch(
                "INSERT INTO accounts(id, kind, name, role, status, created_at) \
                 VALUES ('a', 'service', 'clinic', 'operator', 'active', 0); \
                 INSERT INTO api_keys(id, kind, name, owner_id, scopes, status, generation, created_at, \
                 created_by) VALUES ('0123456789ab', 'production', 'k', 'a', '[]', 'active', 1, 0, 'cli:0');",
            )?;
            Ok(())
        })
        .await
        .unwrap();
        let add = async |to: &str, key_id: &str| {
            let new = Acceptance { to: to.parse().unwrap(), key_id: Some(key_id.into()), ..new_job() };
            db.insert_job(accept(new, now()), None).await.unwrap()
        };
        let called = add("+15550000001", "0123456789ab").await;
        let claimed = db.claim_ready(RouteRules::free("simulator"), 1, now()).await.unwrap().claims;
        assert_eq!(claimed[0].job.id, called.id);
        let waiting = add("+15550000002", "0123456789ab").await;
        let of_another = add("+15550000002", "ba9876543210").await;
        let ending = crate::db::keys::Ending {
            at: now(),
            by: "cli:0".into(),
            reason: Some("compromised".into()),
            hidden: false,
            hold_faxes: true,
        };
        let event = crate::fax::event::Event::about_key(
            "0123456789ab",
            "revoked",
            "cli:0",
            serde_json::json!({}),
            now(),
        );
        let row = crate::db::audit::tests::event();
        let held = db.audited(row).revoke_key("0123456789ab".parse().unwrap(), ending, event).await.unwrap();
        assert_eq!(held, [waiting.id]);
        assert_eq!(db.job(called.id).unwrap().unwrap().state, State::Dialing, "a call is let finish");
        let end = async |claim: &Claim, sip: u16| {
            let (job, attempt, fault) = (claim.job.id, claim.attempt.id, CallEnd::Failed(Fault::sip(sip)));
            db.finish_call(job, attempt, Progress::default(), fault, now(), Ways::default()).await.unwrap()
        };
        let ended = end(&claimed[0], 486).await;
        let outcome = ended.outcome.unwrap();
        assert_eq!((ended.state, ended.next_try_at), (State::Held, None), "and then held, not dialled again");
        assert_eq!((outcome.class, outcome.next_try_at), (Class::Busy, None));
        let attempt = &db.attempts(called.id).await.unwrap()[0];
        assert!(attempt.ended_at.is_some() && attempt.outcome.as_ref() == Some(&outcome));
        let late = add("+15550000003", "0123456789ab").await;
        assert_eq!(late.state, State::Held, "taken in before, stored after");
        let claimed = db.claim_ready(RouteRules::free("simulator"), 9, now()).await.unwrap().claims;
        assert_eq!(claimed.iter().map(|claim| claim.job.id).collect::<Vec<_>>(), [of_another.id]);
        let released = db.move_job(late.id, |stage| stage.release(now())).await.unwrap().unwrap();
        assert_eq!(released.job().state, State::Queued);
        let late_claim = db.claim_ready(RouteRules::free("simulator"), 9, now()).await.unwrap().claims;
        assert_eq!(late_claim[0].job.id, late.id);

        // Who was released is let go for good, whatever becomes of the call.
        end(&claimed[0], 404).await;
        for id in [called.id, waiting.id] {
            db.move_job(id, |stage| stage.release(now())).await.unwrap().unwrap();
        }
        let again = db.claim_ready(RouteRules::free("simulator"), 9, now()).await.unwrap().claims;
        assert_eq!(again.len(), 2);
        for claim in again.iter().chain(&late_claim) {
            assert_eq!(end(claim, 486).await.state, State::Waiting);
        }
    }
}
