//! Accounting for everything: each fax, each call, each record of a route, each stored file.
//!
//! Owns: the walk through database and spool beside running traffic, and the one line that says that
//! all is accounted for or names what is not. Refuses: to mend or delete; a person looks first.
//!
//! What looks wrong is looked at a second time, since faxes are sent and deleted meanwhile. Files of
//! the last hour may belong to requests that have not written their rows yet, and are let be.

use jiff::{SignedDuration, Timestamp, civil};
use serde_json::json;

use super::retention::PAUSE;
use super::{Inner, Queue, QueueError};
use crate::clock::Work;
use crate::fax::accounts::{FaxAccount, Unaccounted};
use crate::fax::event::Event;
use crate::fax::outcome::Class;
use crate::id::DocumentId;
use crate::route::Settled;

/// Faxes looked at between two pauses.
const PAGE: u32 = 200;
/// Problems that are named; of more only the number is told.
const NAMED: usize = 100;
/// Of these, the ones an event carries.
const TOLD: usize = 10;
/// When the nightly accounting begins, UTC.
const AT_NIGHT: civil::Time = civil::time(2, 30, 0, 0);

/// What an accounting found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Sent faxes looked at.
    pub faxes: u64,
    /// Their calls.
    pub calls: u64,
    /// Arrivals that routes keep record of.
    pub route_records: u64,
    /// Received faxes.
    pub received: u64,
    /// Stored documents.
    pub files: u64,
    /// What is not accounted for, as far as it is named.
    pub problems: Vec<Unaccounted>,
    /// How much there is of that.
    pub unaccounted: u64,
}

impl Queue {
    /// Accounts for everything, and tells the result in the log and as an event. `None` when that is
    /// being done already.
    pub async fn reconcile(&self) -> Result<Option<Accounts>, QueueError> {
        let mut work = self.inner.clock.work();
        self.inner.reconcile(&mut work).await
    }
}

impl Accounts {
    fn name(&mut self, problems: impl IntoIterator<Item = Unaccounted>) {
        for problem in problems {
            self.unaccounted += 1;
            if self.problems.len() < NAMED {
                self.problems.push(problem);
            }
        }
    }

    fn log(&self) {
        let Self { faxes, calls, route_records, received, files, unaccounted, .. } = self;
        let looked_at = format!(
            "{faxes} faxes with {calls} calls, {route_records} records of routes, {received} received faxes, \
             {files} stored documents"
        );
        if *unaccounted == 0 {
            log::info!("all accounted for: {looked_at}");
            return;
        }
        let named: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        log::error!("{unaccounted} things are not accounted for, of {looked_at}: {}", named.join("; "));
    }

    fn event(&self, now: Timestamp) -> Event {
        let data = json!({
            "faxes": self.faxes,
            "calls": self.calls,
            "route_records": self.route_records,
            "received": self.received,
            "files": self.files,
            "unaccounted": self.unaccounted,
            "problems": self.problems.iter().take(TOLD).map(ToString::to_string).collect::<Vec<_>>(),
        });
        Event::storage("accounted", data, now)
    }
}

impl Inner {
    /// As [`Queue::reconcile`], by somebody who waits by the clock already.
    pub(super) async fn reconcile(&self, work: &mut Work) -> Result<Option<Accounts>, QueueError> {
        let Ok(_alone) = self.reconciling.try_lock() else { return Ok(None) };
        let accounts = self.account(work).await?;
        accounts.log();
        self.db.tell(accounts.event(self.clock.now())).await?;
        Ok(Some(accounts))
    }

    async fn account(&self, work: &mut Work) -> Result<Accounts, QueueError> {
        let mut accounts = Accounts::default();
        let mut last = None;
        let mut after = Some(0);
        while let Some(place) = after {
            let page = self.db.fax_accounts(place, PAGE).await?;
            let mut documents = Vec::new();
            for fax in &page.faxes {
                accounts.faxes += 1;
                accounts.calls += fax.calls.len() as u64;
                // Those of a group, which stand together, have the same one.
                documents.extend(fax.documents.iter().filter(|id| last.replace(**id) != Some(**id)));
                if self.problems_of(fax, &mut accounts.route_records).is_empty() {
                    continue;
                }
                if let Some(fax) = self.db.fax_account(fax.id).await? {
                    accounts.name(self.problems_of(&fax, &mut 0));
                }
            }
            accounts.name(self.lost(documents).await?);
            after = page.next;
            work.sleep(PAUSE).await;
        }
        accounts.name(self.db.groups_unaccounted().await?.into_iter().map(Unaccounted::Group));
        let mut after = Some(0);
        while let Some(place) = after {
            let page = self.db.received_accounts(place, PAGE).await?;
            accounts.received += page.faxes.len() as u64;
            accounts.name(
                page.faxes.iter().filter(|fax| !fax.has_its_call).map(|fax| Unaccounted::NoOrigin(fax.id)),
            );
            let documents = page.faxes.iter().map(|fax| fax.document).collect();
            accounts.name(self.lost(documents).await?);
            after = page.next;
            work.sleep(PAUSE).await;
        }
        for day in self.spool.days().await? {
            let stored = self.spool.stored(day).await?;
            accounts.files += stored.documents.len() as u64;
            let old = stored.documents.iter().filter(|file| !file.is_recent).map(|file| file.id).collect();
            accounts.name(self.db.unowned(old).await?.into_iter().map(Unaccounted::NoOwner));
            accounts.name(stored.strays.into_iter().map(Unaccounted::Stray));
            work.sleep(PAUSE).await;
        }
        Ok(accounts)
    }

    /// What does not fit in a fax, its calls, and what their routes know.
    fn problems_of(&self, fax: &FaxAccount, records: &mut u64) -> Vec<Unaccounted> {
        let mut problems = fax.problems();
        for call in fax.calls.iter().filter(|call| call.has_end) {
            let Some(line) = self.lines.iter().find(|line| line.route.name() == call.route) else { continue };
            let is_delivered = call.class == Some(Class::Delivered);
            match line.route.settle(call.id, &fax.to) {
                Settled::Unknown => {}
                Settled::Delivered if is_delivered => *records += 1,
                Settled::Delivered => problems.push(Unaccounted::Arrived(fax.id, call.number)),
                Settled::NotDelivered if is_delivered && !call.is_delivery_deleted => {
                    problems.push(Unaccounted::NotArrived(fax.id, call.number));
                }
                Settled::NotDelivered => {}
            }
        }
        problems
    }

    /// Those documents that a fax has and the spool has not.
    async fn lost(&self, documents: Vec<DocumentId>) -> Result<Vec<Unaccounted>, QueueError> {
        let missing = self.spool.missing(documents).await?;
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        // Not those whose fax was deleted meanwhile.
        let still_owned = self.db.documents_in_use(&missing)?;
        Ok(missing.into_iter().filter(|id| still_owned.contains(id)).map(Unaccounted::NoDocument).collect())
    }
}

/// The beginning of the next nightly accounting.
pub(super) fn next_night(now: Timestamp) -> Timestamp {
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let at = today.to_datetime(AT_NIGHT).to_zoned(jiff::tz::TimeZone::UTC).map(|at| at.timestamp());
    match at {
        Ok(at) if at > now => at,
        Ok(at) => super::retention::after(at, SignedDuration::from_hours(24)),
        Err(_) => super::retention::after(now, SignedDuration::from_hours(24)),
    }
}

#[cfg(test)]
mod tests;
