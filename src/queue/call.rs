//! One call, from the claimed job to its stored end.
//!
//! Owns: reading the pages, running the route, and storing how it ended. Whatever the route does,
//! even panic, the attempt is closed; only the end of the process leaves one open, and the next
//! start closes it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;

use super::{CallUnderWay, Inner, QueueError, lock};
use crate::clock::Work;
use crate::codec::page::FaxPage;
use crate::crash::{self, Step};
use crate::db::DbError;
use crate::db::jobs::Claim;
use crate::fax::attempt::{CallEnd, Progress};
use crate::fax::job::Job;
use crate::fax::ladder::Wishes;
use crate::fax::outcome::{Class, Fault};
use crate::fax::station::{Check, Watch};
use crate::id::{AttemptId, JobId};
use crate::route::{Call, EndEarly, HangUp, Reporter, Route};
use crate::spool::SpoolError;

/// Between two tries to store how a call ended; a full disk may have room again by then.
const STORE_AGAIN: Duration = Duration::from_secs(5);

impl Inner {
    /// Begins the call of a claimed job on a task of its own.
    pub(super) fn begin_call(self: &Arc<Self>, claim: Claim) {
        let route = claim.attempt.route.clone();
        let Some(line) = self.lines.iter().position(|line| line.route.name() == route) else {
            log::error!("attempt {}: there is no route {route} any more", claim.attempt.id);
            return;
        };
        let (inner, mut work) = (self.clone(), self.clock.work());
        let hang_up = Arc::new(HangUp::new(&self.clock));
        let (job, attempt) = (claim.job.id, claim.attempt.id);
        // The lock is held until the handle is in its place, so that the task cannot be over before.
        let mut calls = lock(&self.calls);
        calls.insert(attempt, CallUnderWay { job, route, hang_up: hang_up.clone(), task: None });
        let task = tokio::spawn(async move {
            inner.call(line, claim, hang_up, &mut work).await;
            lock(&inner.calls).remove(&attempt);
            inner.call_dispatcher();
            if inner.is_stopping.load(Ordering::Acquire) {
                inner.idle.call();
            }
        });
        if let Some(call) = calls.get_mut(&attempt) {
            call.task = Some(task.abort_handle());
        }
    }

    async fn call(&self, line: usize, claim: Claim, hang_up: Arc<HangUp>, work: &mut Work) {
        let Claim { job, attempt } = claim;
        let id = attempt.id;
        self.changes.tell(job.id);
        // Somebody may have asked to cancel between the claim and our being found.
        if let Ok(Some(Job { cancel_asked_by: Some(_), .. })) = self.db.job(job.id) {
            hang_up.ask(EndEarly::Cancelled);
        }
        let reporter = Reporter::new(
            self.db.clone(),
            self.changes.clone(),
            self.clock.clone(),
            job.id,
            id,
            attempt.started_at,
        );
        let end = match self.unconfirmed_pages(&job).await {
            Err(fault) => CallEnd::Failed(fault),
            Ok(pages) => {
                let call = Call {
                    job: job.id,
                    attempt: id,
                    attempt_number: attempt.number,
                    to: job.to.clone(),
                    station_id: self.station_id(),
                    pages,
                    first_page: attempt.first_page,
                    wishes: self.wishes(&job),
                    watch: self.watch(&job),
                    reporter: reporter.clone(),
                    hang_up,
                    clock: self.clock.clone(),
                };
                run(&*self.lines[line].route, call, &reporter, work).await
            }
        };
        crash::after(Step::CallEnded);
        self.store_end(job.id, id, reporter.take_rest(), end, work).await;
    }

    /// The way in which a call is to be tried; the usual one where it is not known what went before.
    fn wishes(&self, job: &Job) -> Wishes {
        match self.db.ladder_of(job, self.clock.now()) {
            Ok((memory, own)) => Wishes::next(&memory, &own),
            Err(error) => {
                log::warn!("job {}: it is not known how its last calls went: {error}", job.id);
                Wishes::default()
            }
        }
    }

    /// What a call has to mind about the machine that answers. A call goes on where that cannot be
    /// known: a fax that arrives unlooked-at is better than none.
    fn watch(&self, job: &Job) -> Watch {
        let check = self.policy().station_check;
        if check == Check::Off {
            return Watch { check, expected: None };
        }
        let known = self.db.known_station(&job.to, &job.routes, self.clock.now());
        let expected = known.unwrap_or_else(|error| {
            log::warn!("job {}: it is not known who should answer: {error}", job.id);
            None
        });
        Watch { check, expected }
    }

    async fn unconfirmed_pages(&self, job: &Job) -> Result<Vec<FaxPage>, Fault> {
        let unreadable = |why: &str| Fault::of(Class::Document).because(format!("{why}."));
        if job.document.is_none() {
            return Err(unreadable("it has no pages"));
        }
        match self.pages(job).await {
            Ok(mut pages) => Ok(pages.split_off((job.confirmed_pages as usize).min(pages.len()))),
            Err(
                QueueError::Damaged(_)
                | QueueError::Undecodable(_)
                | QueueError::Spool(SpoolError::Missing | SpoolError::Damaged(..)),
            ) => {
                log::error!("job {}: its stored pages are damaged", job.id);
                Err(unreadable("the stored pages are damaged"))
            }
            Err(error) => {
                log::warn!("job {}: its pages cannot be read now: {error}", job.id);
                Err(Fault::pages_unavailable())
            }
        }
    }

    /// Stores how a call ended, again and again until the disk takes it: an end that is known must
    /// not become an unknown one.
    pub(super) async fn store_end(
        &self,
        job: JobId,
        attempt: AttemptId,
        rest: Progress,
        end: CallEnd,
        work: &mut Work,
    ) {
        let ended_at = self.clock.now();
        loop {
            let stored =
                self.db.finish_call(job, attempt, rest.clone(), end.clone(), ended_at, self.ways()).await;
            match stored {
                Ok(_) => {
                    crash::after(Step::EndStored);
                    break;
                }
                Err(DbError::Conflict) => {
                    log::warn!("attempt {attempt} was closed before it ended");
                    break;
                }
                Err(DbError::Closed) => return,
                Err(error) => log::error!("attempt {attempt}: its end is not stored yet: {error}"),
            }
            work.sleep(STORE_AGAIN).await;
        }
        self.changes.tell(job);
    }
}

async fn run(route: &dyn Route, call: Call, reporter: &Reporter, work: &mut Work) -> CallEnd {
    let (attempt, page) = (call.attempt, call.first_page);
    match AssertUnwindSafe(route.call(call, work)).catch_unwind().await {
        Ok(end) => end,
        Err(_) => {
            log::error!("attempt {attempt}: the route {} failed in the middle of the call", route.name());
            let class = if reporter.has_first_data() { Class::UnknownOutcome } else { Class::Provider };
            CallEnd::Failed(Fault { code: "route_failed".into(), ..Fault::of(class).on_page(page) })
        }
    }
}
