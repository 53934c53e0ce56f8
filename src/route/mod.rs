//! Ways a fax can take.
//!
//! Owns: the contract between the queue and whatever places calls ([`Route`]). A route carries
//! pages and states facts; it decides nothing about retries and writes nothing itself. What must
//! be on disk goes through its [`Reporter`].
//!
//! Invariants every route keeps: [`Call::answered`] was asked once a machine told what it calls
//! itself, before any page data, and the call ends where it says so; [`Reporter::first_data`] has returned before any page data
//! leaves; a page is reported confirmed only when the other side confirmed it; all waiting is on
//! the [`Work`] it was lent.

pub mod loopback;
mod report;
pub mod simulator;

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use self::report::{NotRecorded, Reporter};
use crate::clock::{Clock, Wake, Work};
use crate::codec::page::FaxPage;
use crate::fax::attempt::CallEnd;
use crate::fax::ladder::Wishes;
use crate::fax::number::FaxNumber;
use crate::fax::outcome::{Class, Fault};
use crate::fax::station::Watch;
use crate::id::{AttemptId, JobId};

/// A future on the heap, as trait objects need.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One way a fax can take.
pub trait Route: Send + Sync {
    /// Its name, as jobs carry it.
    fn name(&self) -> &str;

    /// Whether its calls cost money, or reach people who did not ask: then what keys may spend in a
    /// day holds for it. So it is for every route that does not say otherwise.
    fn spends(&self) -> bool {
        true
    }

    /// Places one call and carries the pages. `work` is lent for all waiting.
    fn call<'a>(&'a self, call: Call, work: &'a mut Work) -> BoxFuture<'a, CallEnd>;

    /// What became of a call whose end nobody saw, as far as the route can know.
    fn settle(&self, attempt: AttemptId, to: &FaxNumber) -> Settled;
}

/// What a route knows of a call whose end nobody saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Nothing: a line keeps no record of what the other machine took.
    Unknown,
    /// All its pages arrived.
    Delivered,
    /// None of its pages arrived.
    NotDelivered,
}

/// One call to place.
pub struct Call {
    /// The job it is for.
    pub job: JobId,
    /// Its attempt.
    pub attempt: AttemptId,
    /// 1, 2, 3 … within the job.
    pub attempt_number: u32,
    /// The number to dial.
    pub to: FaxNumber,
    /// What we call ourselves to the other machine (TSI).
    pub station_id: String,
    /// The pages to carry, beginning with the first unconfirmed one.
    pub pages: Vec<FaxPage>,
    /// Number within the document of the first of `pages`, from 1.
    pub first_page: u32,
    /// The way in which it is to be tried.
    pub wishes: Wishes,
    /// What to mind about the machine that answers.
    pub watch: Watch,
    /// Where progress is told.
    pub reporter: Reporter,
    /// Asks to end the call early.
    pub hang_up: std::sync::Arc<HangUp>,
    /// The time.
    pub clock: Clock,
}

impl Call {
    /// A fax machine answered; `station_id` is what it calls itself (CSI, T.30 5.3.6.2.4), if it
    /// told. To be asked before any page data leaves.
    ///
    /// # Errors
    /// How the call ends that has to be hung up now, because it is another machine than the one that
    /// is known at the number.
    pub fn answered(&self, station_id: Option<&str>) -> Result<(), Fault> {
        let other = self.watch.sees(station_id);
        let end = other.as_ref().and_then(|_| self.watch.ends_call());
        self.reporter.answered(station_id, other);
        end.map_or(Ok(()), Err)
    }

    /// The pages with their numbers within the document.
    pub fn numbered_pages(&self) -> impl Iterator<Item = (u32, &FaxPage)> {
        (self.first_page..).zip(&self.pages)
    }

    /// The document's last page.
    pub fn last_page(&self) -> u32 {
        self.first_page + (self.pages.len() as u32).saturating_sub(1)
    }
}

/// Why a call is to end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndEarly {
    /// Somebody cancelled the fax.
    Cancelled,
    /// The appliance is going down.
    Stopping,
}

impl From<EndEarly> for CallEnd {
    fn from(why: EndEarly) -> Self {
        // A page that was not confirmed before we hung up did not arrive whole, so a stop is an
        // interruption and not an unknown outcome.
        Self::Failed(Fault::of(match why {
            EndEarly::Cancelled => Class::Cancelled,
            EndEarly::Stopping => Class::Interrupted,
        }))
    }
}

/// The request to end a call early. A route looks at it whenever it waits.
#[derive(Debug)]
pub struct HangUp {
    why: OnceLock<EndEarly>,
    wake: Wake,
}

impl HangUp {
    /// Nobody asks yet.
    pub fn new(clock: &Clock) -> Self {
        Self { why: OnceLock::new(), wake: Wake::new(clock) }
    }

    /// Asks; the first reason stays.
    pub fn ask(&self, why: EndEarly) {
        if self.why.set(why).is_ok() {
            self.wake.call();
        }
    }

    /// `Err` with the reason once somebody has asked.
    pub fn check(&self) -> Result<(), EndEarly> {
        self.why.get().map_or(Ok(()), |why| Err(*why))
    }

    /// Waits for `duration`, or until somebody asks.
    pub async fn sleep(&self, work: &mut Work, clock: &Clock, duration: Duration) -> Result<(), EndEarly> {
        self.check()?;
        let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        let until = clock.now().checked_add(duration).unwrap_or(Timestamp::MAX);
        work.wait_for(&self.wake, Some(until)).await;
        self.check()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_sleep_ends_when_asked_and_the_first_reason_stays() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::starting_at(start);
        let hang_up = Arc::new(HangUp::new(&clock));
        let mut work = clock.work();
        assert_eq!(hang_up.sleep(&mut work, &clock, Duration::from_secs(9)).await, Ok(()));
        assert_eq!(clock.now(), start + SignedDuration::from_secs(9));

        let sleeper = {
            let (hang_up, clock, mut work) = (hang_up.clone(), clock.clone(), clock.work());
            tokio::spawn(async move { hang_up.sleep(&mut work, &clock, Duration::from_hours(9)).await })
        };
        hang_up.ask(EndEarly::Cancelled);
        hang_up.ask(EndEarly::Stopping);
        assert_eq!(sleeper.await.unwrap(), Err(EndEarly::Cancelled));
        assert_eq!(clock.now(), start + SignedDuration::from_secs(9));
        assert_eq!(hang_up.sleep(&mut work, &clock, Duration::from_secs(1)).await, Err(EndEarly::Cancelled));
    }
}
