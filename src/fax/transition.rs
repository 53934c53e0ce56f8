//! Every way a job may move.
//!
//! Owns: the state machine. [`Stage::of`] tells what a job is at this moment, and each stage has
//! only the transitions that jobs there have; a final one has none. Each transition answers a
//! [`Moved`], which cannot be made elsewhere and is all that the database stores.
//!
//! Invariants: success only if every page is confirmed, whatever a route says; a final state is
//! never left; `updated_at` grows with every move.

mod alter;
mod group;
mod reimage;
mod second_look;
mod station;

use jiff::{SignedDuration, Timestamp};

pub use self::alter::{Alteration, Unalterable};
pub use self::group::{Accepted, Pages};
use super::attempt::{Attempt, CallEnd, Carriage, PageConfirmation, Progress};
use super::event::Event;
use super::hours::Hours;
use super::job::{Job, Priority, State};
use super::notify::Notify;
use super::number::FaxNumber;
use super::outcome::{Class, Fault, Outcome};
use super::retry::{self, Counters, Next};
use super::routing::RouteList;
use crate::clock::whole_ms;
use crate::id::{AccountId, AttemptId, DocumentId, JobId};

/// A call of which nothing was heard for so long is lost: longer than the longest page takes (a
/// dense page at 2,400 bit/s), so that only a dead call runs into it.
const LEASE: SignedDuration = SignedDuration::from_mins(15);

/// A job after a transition, and the events that tell of it (none when only bookkeeping changed).
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    job: Job,
    events: Vec<Event>,
    freed: Vec<DocumentId>,
}

impl Moved {
    /// The job as it is now.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// What is to be told, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Documents the job no longer names: to be deleted once the move is stored.
    pub fn freed(&self) -> &[DocumentId] {
        &self.freed
    }

    /// The job as it is now, alone.
    pub fn into_job(self) -> Job {
        self.job
    }

    fn to(mut job: Job, state: State, now: Timestamp) -> Self {
        touch(&mut job, now);
        // A fax that is held before its pages are made is made into pages once it is released.
        let keeps_sources = match state {
            State::Preparing => true,
            State::Held => job.document.is_none(),
            _ => false,
        };
        let freed = if keeps_sources { Vec::new() } else { std::mem::take(&mut job.sources) };
        job.state = state;
        job.is_blocked = false;
        if !state.is_calling() {
            job.lease_until = None;
        }
        if state.is_final() {
            job.final_at = Some(job.updated_at);
            job.next_try_at = None;
        }
        let events = vec![Event::state(&job)];
        Self { job, events, freed }
    }

    fn in_place(job: Job, events: Vec<Event>) -> Self {
        Self { job, events, freed: Vec::new() }
    }
}

fn touch(job: &mut Job, now: Timestamp) {
    let next = job.updated_at.checked_add(SignedDuration::from_millis(1)).unwrap_or(Timestamp::MAX);
    job.updated_at = whole_ms(now).max(next);
}

/// What a new job is made of.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// The account it belongs to.
    pub owner: AccountId,
    /// The API key it came by.
    pub key_id: Option<String>,
    /// The number as the client wrote it.
    pub to_raw: String,
    /// The number to dial.
    pub to: FaxNumber,
    /// The routes it may take, in order.
    pub route: RouteList,
    /// How urgent it is.
    pub priority: Priority,
    /// Resolution, in the API's word.
    pub resolution: String,
    /// Quality, in the API's word.
    pub quality: String,
    /// Where its pages are.
    pub content: Content,
    /// SHA-256 of the uploads, in hex.
    pub source_sha256: String,
    /// The client's own reference.
    pub tag: Option<String>,
    /// The fax whose pages are sent again, perhaps to another number.
    pub resend_of: Option<JobId>,
    /// Who is told of it by e-mail.
    pub notify: Option<Notify>,
    /// Not to be sent before.
    pub schedule_at: Option<Timestamp>,
    /// When to give up; by default [`retry::DEADLINE`] after the first send time.
    pub deadline_at: Option<Timestamp>,
    /// The hours of the week in which it may be sent; any without.
    pub hours: Option<Hours>,
}

/// The pages of a new job, in the spool.
#[derive(Clone, Debug)]
pub enum Content {
    /// Ready: one TIFF of so many pages.
    Ready(DocumentId, u32),
    /// Uploads to convert, in order.
    Sources(Vec<DocumentId>),
}

/// Takes a job in: it begins as `preparing`, `scheduled` or `queued`.
pub fn accept(new: Acceptance, now: Timestamp) -> Moved {
    let now = whole_ms(now);
    let first_send = new.schedule_at.map_or(now, |at| whole_ms(at).max(now));
    let (document, pages, sources) = match new.content {
        Content::Ready(document, pages) => (Some(document), Some(pages), Vec::new()),
        Content::Sources(sources) => (None, None, sources),
    };
    let default_deadline = first_send.checked_add(retry::DEADLINE).unwrap_or(Timestamp::MAX);
    let job = Job {
        seq: 0,
        id: JobId::new(),
        owner: new.owner,
        key_id: new.key_id,
        to_raw: new.to_raw,
        to: new.to,
        route: new.route.first().to_owned(),
        lane: new.route.clone(),
        routes: new.route,
        state: State::Preparing,
        is_blocked: false,
        priority: new.priority,
        rank: new.priority.rank(),
        resolution: new.resolution,
        quality: new.quality,
        pages,
        confirmed_pages: 0,
        document,
        sources,
        source_sha256: new.source_sha256,
        attempts: 0,
        counters: Counters::default(),
        outcome: None,
        tag: new.tag,
        resend_of: new.resend_of,
        notify: new.notify,
        group: None,
        second_look: None,
        other_station: None,
        is_reimaged: false,
        schedule_at: new.schedule_at.map(whole_ms),
        hours: new.hours,
        deadline_at: new.deadline_at.map_or(default_deadline, whole_ms),
        closed_until: None,
        next_try_at: None,
        lease_until: None,
        cancel_asked_by: None,
        created_at: now,
        // So that the first move brings it to `now`.
        updated_at: now.checked_sub(SignedDuration::from_millis(1)).unwrap_or(now),
        final_at: None,
    };
    begin(job, now)
}

/// A job that was just let go: off to what it still needs.
fn begin(mut job: Job, now: Timestamp) -> Moved {
    job.lane = job.routes.clone();
    if job.document.is_none() { Moved::to(job, State::Preparing, now) } else { ready(job, now) }
}

/// A job with its pages: off to be dialled, or to sleep until its time.
fn ready(mut job: Job, now: Timestamp) -> Moved {
    match job.schedule_at {
        Some(at) if at > now => {
            job.next_try_at = Some(at);
            Moved::to(job, State::Scheduled, now)
        }
        _ => {
            job.next_try_at = None;
            Moved::to(job, State::Queued, now)
        }
    }
}

/// What a job is at this moment, with the transitions it has.
#[derive(Debug)]
pub enum Stage {
    /// Its document is being converted.
    Preparing(Preparing),
    /// It waits for a time, or to be released.
    Sleeping(Sleeping),
    /// It can be dialled.
    Queued(Queued),
    /// A call is under way.
    Calling(Calling),
    /// It has ended.
    Final(Final),
}

impl Stage {
    /// Tells what `job` is.
    pub fn of(job: Job) -> Self {
        match job.state {
            State::Preparing => Self::Preparing(Preparing(job)),
            State::Held | State::Scheduled | State::Waiting => Self::Sleeping(Sleeping(job)),
            State::Queued => Self::Queued(Queued(job)),
            State::Dialing | State::Sending => {
                Self::Calling(Calling { job, is_held: false, is_stranger: false, open: Vec::new() })
            }
            State::Delivered | State::Partial | State::Failed | State::Cancelled | State::Expired => {
                Self::Final(Final(job))
            }
        }
    }

    /// Where the job stands.
    pub fn state(&self) -> State {
        match self {
            Self::Preparing(Preparing(job))
            | Self::Sleeping(Sleeping(job))
            | Self::Queued(Queued(job))
            | Self::Calling(Calling { job, .. })
            | Self::Final(Final(job)) => job.state,
        }
    }

    /// Cancels on behalf of `by`: at once, or, when a call is under way, by asking it to end.
    /// `Err` with the state of a job that has ended.
    pub fn cancel(self, by: &str, now: Timestamp) -> Result<Moved, State> {
        match self {
            Self::Preparing(Preparing(job)) | Self::Sleeping(Sleeping(job)) | Self::Queued(Queued(job)) => {
                Ok(end_outside_call(job, Fault::of(Class::Cancelled).because(by), State::Cancelled, now))
            }
            Self::Calling(Calling { mut job, .. }) => {
                touch(&mut job, now);
                job.cancel_asked_by.get_or_insert_with(|| by.into());
                let events = vec![Event::about(&job, "cancel_asked")];
                Ok(Moved::in_place(job, events))
            }
            Self::Final(Final(job)) => Err(job.state),
        }
    }

    /// Holds a job that no call is under way for, until somebody releases it. `None` for one that
    /// is being called, is held already, or has ended.
    pub fn hold(self, now: Timestamp) -> Option<Moved> {
        match self {
            Self::Preparing(Preparing(mut job))
            | Self::Sleeping(Sleeping(mut job))
            | Self::Queued(Queued(mut job)) => (job.state != State::Held).then(|| {
                // Nothing is promised for a time any more; the send time it was given stays.
                job.next_try_at = None;
                job.outcome = job.outcome.map(Outcome::held);
                Moved::to(job, State::Held, now)
            }),
            Self::Calling(_) | Self::Final(_) => None,
        }
    }

    /// Lets a held job go: to be dialled, to wait for its send time, or to have its pages made.
    /// `Err` with the state of a job that is not held.
    pub fn release(self, now: Timestamp) -> Result<Moved, State> {
        match self {
            Self::Sleeping(Sleeping(mut job)) if job.state == State::Held => {
                (job.next_try_at, job.second_look, job.other_station) = (None, None, None);
                // The time it was held is not its fault.
                if job.deadline_at <= now {
                    job.deadline_at = whole_ms(now.checked_add(retry::DEADLINE).unwrap_or(Timestamp::MAX));
                    job.closed_until = None;
                }
                Ok(begin(job, now))
            }
            Self::Preparing(Preparing(job))
            | Self::Sleeping(Sleeping(job))
            | Self::Queued(Queued(job))
            | Self::Calling(Calling { job, .. })
            | Self::Final(Final(job)) => Err(job.state),
        }
    }

    /// Gives up a job whose deadline has passed. `None` when it has not, or when a call is under
    /// way (which is let finish), the job is held, or it has ended.
    pub fn expire(self, now: Timestamp) -> Option<Moved> {
        let job = match self {
            Self::Preparing(Preparing(job)) | Self::Sleeping(Sleeping(job)) | Self::Queued(Queued(job)) => {
                job
            }
            Self::Calling(_) | Self::Final(_) => return None,
        };
        if job.state == State::Held || job.deadline_at > now {
            return None;
        }
        let state = if job.confirmed_pages > 0 { State::Partial } else { State::Expired };
        Some(end_outside_call(job, Fault::of(Class::Deadline), state, now))
    }
}

fn end_outside_call(mut job: Job, fault: Fault, state: State, now: Timestamp) -> Moved {
    let last = job.outcome.as_ref().map(|outcome| outcome.class);
    let class = fault.class;
    let mut outcome = Outcome::of_fault(fault, Next::Final(state, class));
    outcome.detail.last = last;
    job.outcome = Some(outcome);
    Moved::to(job, state, now)
}

/// A job whose document is being converted.
#[derive(Debug)]
pub struct Preparing(Job);

impl Preparing {
    /// The document is at fault: the job ends.
    pub fn refused(self, fault: Fault, now: Timestamp) -> Moved {
        end_outside_call(self.0, fault, State::Failed, now)
    }

    /// Converting failed on our side: it is tried again at `at`.
    pub fn postponed(mut self, at: Timestamp, now: Timestamp) -> Moved {
        touch(&mut self.0, now);
        self.0.next_try_at = Some(whole_ms(at));
        Moved::in_place(self.0, Vec::new())
    }
}

/// A job that waits for a time, or to be released.
#[derive(Debug)]
pub struct Sleeping(Job);

impl Sleeping {
    /// Wakes it if its time has come; a held job has none.
    pub fn due(mut self, now: Timestamp) -> Option<Moved> {
        let at = self.0.next_try_at.filter(|_| self.0.state != State::Held)?;
        if at > now {
            return None;
        }
        self.0.next_try_at = None;
        Some(Moved::to(self.0, State::Queued, now))
    }
}

/// A job that can be dialled.
#[derive(Debug)]
pub struct Queued(Job);

impl Queued {
    /// It may not be dialled any more: it ends, and no call is placed.
    pub fn refused(self, fault: Fault, now: Timestamp) -> Moved {
        let state = unfinished(&self.0);
        end_outside_call(self.0, fault, state, now)
    }

    /// It may not be dialled before this time, outside its hours or those of all its routes: it sleeps
    /// until then, and its deadline moves along; once for the same time, however often it is woken.
    pub fn outside_hours(mut self, opens_at: Timestamp, now: Timestamp) -> Moved {
        let since = self.0.closed_until.map_or(now, |until| until.max(now));
        let closed = opens_at.duration_since(since).max(SignedDuration::ZERO);
        self.0.deadline_at = whole_ms(self.0.deadline_at.checked_add(closed).unwrap_or(Timestamp::MAX));
        self.0.closed_until = Some(whole_ms(opens_at.max(since)));
        self.0.next_try_at = Some(whole_ms(opens_at));
        Moved::to(self.0, State::Scheduled, now)
    }

    /// Begins a call through this route.
    pub fn dial(mut self, route: &str, now: Timestamp) -> (Moved, Attempt) {
        route.clone_into(&mut self.0.route);
        self.0.attempts += 1;
        self.0.lease_until = Some(lease(now));
        let moved = Moved::to(self.0, State::Dialing, now);
        let attempt = Attempt {
            id: AttemptId::new(),
            job: moved.job.id,
            number: moved.job.attempts,
            route: moved.job.route.clone(),
            first_page: moved.job.confirmed_pages + 1,
            started_at: whole_ms(now),
            answered_at: None,
            first_data_at: None,
            ended_at: None,
            remote_station_id: None,
            carriage: Carriage::default(),
            outcome: None,
            pages: Vec::new(),
        };
        (moved, attempt)
    }
}

/// A job with a call under way.
#[derive(Debug)]
pub struct Calling {
    job: Job,
    /// Whether time that passes is given back later, because nothing may be dialled.
    is_held: bool,
    /// Whether no fax machine is known at its number.
    is_stranger: bool,
    /// The routes that could take it now, when the one it took fails.
    open: Vec<String>,
}

impl Calling {
    /// It, while nothing may be dialled: its next call is planned whatever its deadline, which is
    /// pushed out when dialling goes on.
    #[must_use]
    pub fn while_held(self, is_held: bool) -> Self {
        Self { is_held, ..self }
    }

    /// It, to a number at which no fax machine is known: a silent one is not called often.
    #[must_use]
    pub fn to_a_stranger(self, is_stranger: bool) -> Self {
        Self { is_stranger, ..self }
    }

    /// It, while these routes can take calls: one of its list goes on at once where the one it
    /// took fails.
    #[must_use]
    pub fn with_open(self, open: Vec<String>) -> Self {
        Self { open, ..self }
    }

    /// The job, to be read.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Takes in what the call reports. Page data that leaves makes it `sending`.
    pub fn progressed(self, progress: &Progress, now: Timestamp) -> Moved {
        let Self { mut job, .. } = self;
        let is_another = station::take_in(&mut job, progress);
        let starts_sending = job.state == State::Dialing && progress.first_data_at.is_some();
        let mut events = Vec::new();
        touch(&mut job, now);
        job.lease_until = Some(lease(now));
        if starts_sending {
            job.state = State::Sending;
            events.push(Event::state(&job));
        }
        if count_confirmed(&mut job, &progress.pages) > 0 {
            events.push(Event::about(&job, "page_confirmed"));
        }
        if is_another {
            events.push(Event::other_station(&job));
        }
        Moved::in_place(job, events)
    }

    fn close(
        self,
        first_page: u32,
        last: &Progress,
        end: CallEnd,
        now: Timestamp,
        seed: u64,
    ) -> (Moved, Outcome) {
        let Self { mut job, is_held, is_stranger, open } = self;
        count_confirmed(&mut job, &last.pages);
        let pages = job.pages.unwrap_or_default();
        let new_pages = (job.confirmed_pages + 1).saturating_sub(first_page);
        // All pages confirmed is a delivery, even if the line dropped before the goodbye.
        if job.confirmed_pages == pages && pages > 0 {
            job.counters.charge(Class::Delivered, new_pages);
            let outcome = Outcome::delivered(pages);
            job.outcome = Some(outcome.clone());
            return (Moved::to(job, State::Delivered, now), outcome);
        }
        let mut fault = match end {
            CallEnd::Failed(fault) => fault,
            CallEnd::Delivered => Fault::of(Class::PageNotConfirmed).on_page(job.confirmed_pages + 1),
        };
        if let Some(by) = &job.cancel_asked_by
            && fault.class != Class::UnknownOutcome
        {
            fault = Fault { detail: fault.detail, ..Fault::of(Class::Cancelled).because(by) };
        }
        if fault.class == Class::OtherStation {
            return station::hold(job, fault, now);
        }
        // Not after the deadline, which lets only the call finish that was under way.
        if fault.is_of_the_route()
            && (is_held || job.deadline_at > now)
            && let Some(lane) = job.lane.after(&job.route, |name| open.iter().any(|open| open == name))
        {
            (job.lane, job.counters.busies) = (lane, 0);
            let outcome = Outcome::on_another_route(fault);
            job.outcome = Some(outcome.clone());
            return (Moved::to(job, State::Queued, now), outcome);
        }
        job.lane = job.routes.clone();
        job.counters.charge(fault.class, new_pages);
        let deadline = if is_held { Timestamp::MAX } else { job.deadline_at };
        let is_hopeless = is_stranger && fault.is_silence() && job.counters.dials >= retry::MAX_SILENT_DIALS;
        let next = if is_hopeless {
            Next::Final(unfinished(&job), fault.class)
        } else if reimage::because_of(&mut job, &fault) {
            retry::again(&job.counters, fault.class, job.confirmed_pages, deadline, now, seed)
        } else {
            retry::decide(&job.counters, fault.class, job.confirmed_pages, deadline, now, seed)
        };
        let own_next = match next {
            Next::RetryAt(at) => Next::RetryAt(whole_ms(at)),
            Next::Final(state, _) => Next::Final(state, fault.class),
        };
        let attempt_outcome = Outcome::of_fault(fault.clone(), own_next);
        let moved = match next {
            Next::Final(state, _) => {
                job.outcome = Some(Outcome::of_fault(fault, next));
                Moved::to(job, state, now)
            }
            Next::RetryAt(at) => {
                job.rank = job.priority.rank_after_failure();
                job.outcome = Some(attempt_outcome.clone());
                let is_at_once = at <= now;
                job.next_try_at = (!is_at_once).then(|| whole_ms(at));
                Moved::to(job, if is_at_once { State::Queued } else { State::Waiting }, now)
            }
        };
        (moved, attempt_outcome)
    }
}

/// A job that has ended: it has no transition.
#[derive(Debug)]
pub struct Final(Job);

impl Final {
    /// The job, to be read.
    pub fn job(&self) -> &Job {
        &self.0
    }
}

/// The end of a job that gets no more pages through.
fn unfinished(job: &Job) -> State {
    if job.confirmed_pages > 0 { State::Partial } else { State::Failed }
}

fn lease(now: Timestamp) -> Timestamp {
    whole_ms(now.checked_add(LEASE).unwrap_or(Timestamp::MAX))
}

/// Counts those confirmations that continue the confirmed run; a page told twice, or out of order,
/// is no progress. Answers how many were new.
fn count_confirmed(job: &mut Job, pages: &[PageConfirmation]) -> u32 {
    let before = job.confirmed_pages;
    for confirmation in pages {
        if confirmation.page == job.confirmed_pages + 1
            && job.pages.is_none_or(|total| confirmation.page <= total)
        {
            job.confirmed_pages += 1;
        }
    }
    job.confirmed_pages - before
}

#[cfg(test)]
pub(in crate::fax) mod tests;
