//! Turning uploads into fax pages after the client has its answer.
//!
//! Owns: jobs in `preparing`. The same steps serve a conversion that outlasted its request, one
//! that a stop interrupted, and one that failed on our side: the sources stay in the spool until
//! the pages are there and the row names them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::SignedDuration;
use tokio::task::{JoinError, JoinHandle};

use super::{Inner, QueueError, Unprepared, lock};
use crate::auth::limits::{Allowance, Overspent};
use crate::codec::page::{FaxPage, Resolution};
use crate::codec::tiff;
use crate::convert::{ConvertError, Converted, Options, Quality};
use crate::fax::job::Job;
use crate::fax::outcome::{Class, Fault};
use crate::fax::transition::{Moved, Pages, Stage};
use crate::spool::SpoolError;

/// Conversions of this kind at the same time: requests that wait come first.
pub(super) const MOST_PREPARATIONS: usize = 2;
/// When a conversion that failed on our side is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// A conversion on a task of its own. Aborting the task kills its worker.
pub(super) type Conversion = JoinHandle<Result<Converted, ConvertError>>;

/// The pages of a conversion that is over.
pub(super) fn converted(
    joined: Result<Result<Converted, ConvertError>, JoinError>,
) -> Result<Vec<FaxPage>, ConvertError> {
    match joined {
        Ok(result) => result.map(|converted| converted.pages),
        Err(error) => Err(ConvertError::Internal(error.to_string())),
    }
}

impl Inner {
    pub(super) fn begin_conversion(&self, documents: Vec<Bytes>, options: Options) -> Conversion {
        let converter = self.converter.clone();
        tokio::spawn(async move { converter.convert(documents, options, |_| {}).await })
    }

    /// Marks a job, or all of a group, as attended to, so that no second conversion of it begins.
    pub(super) fn claim_preparation(&self, what: Unprepared) {
        lock(&self.preparing).entry(what).or_insert(None);
    }

    pub(super) fn release_preparation(&self, what: Unprepared) {
        lock(&self.preparing).remove(&what);
        self.call_dispatcher();
    }

    /// Begins to prepare jobs that nobody attends to, as far as there is room.
    pub(super) fn begin_preparations(self: &Arc<Self>) -> Result<(), QueueError> {
        let attended = self.in_preparation();
        let room = MOST_PREPARATIONS.saturating_sub(attended.len());
        if room == 0 {
            return Ok(());
        }
        let most = u32::try_from(attended.len() + room).unwrap_or(u32::MAX);
        let jobs = self.db.to_prepare(most, self.clock.now())?;
        for job in jobs.into_iter().filter(|job| !attended.contains(&Unprepared::from(job))).take(room) {
            let what = Unprepared::from(&job);
            self.claim_preparation(what);
            let inner = self.clone();
            self.spawn_preparation(what, async move {
                let result = inner.convert_sources(&job).await;
                inner.finish_preparation(&job, result).await;
            });
        }
        Ok(())
    }

    /// Finishes a preparation whose conversion runs already; the job is claimed.
    pub(super) fn attend_to_preparation(self: &Arc<Self>, job: Job, conversion: Conversion) {
        let inner = self.clone();
        self.spawn_preparation(Unprepared::from(&job), async move {
            let result = converted(conversion.await).map_err(QueueError::from);
            inner.finish_preparation(&job, result).await;
        });
    }

    /// What the key a job came by may spend; `None` where there is no such limit.
    fn allowance_of(&self, job: &Job) -> Option<Allowance> {
        let key = job.key_id.as_deref().filter(|_| self.spends(&job.route))?;
        self.keys.allowance_of(key.parse().ok()?)
    }

    fn spawn_preparation(
        self: &Arc<Self>,
        what: Unprepared,
        preparation: impl Future<Output = ()> + Send + 'static,
    ) {
        let (inner, work) = (self.clone(), self.clock.work());
        // The lock is held until the handle is in its place, so that the task cannot be over before.
        let mut preparing = lock(&self.preparing);
        let task = tokio::spawn(async move {
            preparation.await;
            inner.release_preparation(what);
            drop(work);
        });
        preparing.insert(what, Some(task.abort_handle()));
    }

    async fn convert_sources(&self, job: &Job) -> Result<Vec<FaxPage>, QueueError> {
        let mut documents = Vec::with_capacity(job.sources.len());
        for &source in &job.sources {
            documents.push(Bytes::from(self.spool.get(source).await?));
        }
        let options = Options {
            resolution: Resolution::from_name(&job.resolution).unwrap_or(Resolution::FINE),
            quality: Quality::from_name(&job.quality).unwrap_or_default(),
        };
        Ok(self.converter.convert(documents, options, |_| {}).await?.pages)
    }

    async fn finish_preparation(&self, job: &Job, result: Result<Vec<FaxPage>, QueueError>) {
        let stored = match result {
            Ok(pages) => self.store_pages(job, &pages).await,
            Err(error) => self.store_failure(job, error).await,
        };
        match stored {
            // Empty when it was cancelled or expired meanwhile.
            Ok(moved) => self.all_moved(&moved).await,
            Err(error) => log::warn!("job {}: its preparation was not stored: {error}", job.id),
        }
    }

    /// Stores the pages a job, or all of its group, was made into. Where they are more than its key
    /// may spend, the fax, which was promised, is not dialled before an administrator releases it.
    async fn store_pages(&self, job: &Job, pages: &[FaxPage]) -> Result<Vec<Moved>, QueueError> {
        // One page of each fax was taken when it was accepted.
        let (rest, faxes) = ((pages.len() as u32).saturating_sub(1), self.db.count_unprepared(job)?);
        let (allowance, day) = (self.allowance_of(job), job.schedule_at.unwrap_or(job.created_at));
        let all = rest.saturating_mul(faxes);
        let spent = allowance.as_ref().map_or(Ok(()), |allowance| allowance.spend_more(all, day));
        let stored = self.store_spent(job, pages, spent).await;
        if let (Ok(()), Some(allowance)) = (spent, allowance) {
            // For those that ended meanwhile, nothing is sent.
            let moved = stored.as_ref().map_or(0, Vec::len) as u32;
            allowance.give_back(rest.saturating_mul(faxes.saturating_sub(moved)), day);
        }
        stored
    }

    async fn store_spent(
        &self,
        job: &Job,
        pages: &[FaxPage],
        spent: Result<(), Overspent>,
    ) -> Result<Vec<Moved>, QueueError> {
        let document = self.spool.put(tiff::write(pages)).await?;
        let (count, now) = (pages.len() as u32, self.clock.now());
        if let Err(over) = spent {
            log::warn!("job {} is held: it has {count} pages. {over}", job.id);
        }
        let pages = Pages { document, count, over: spent.err().map(Overspent::limit) };
        let stored = self.db.move_unprepared(job, move |stage| stage.given_pages(pages, now)).await;
        if stored.as_ref().map_or(true, Vec::is_empty) {
            // A row that an error hides keeps it.
            self.delete_freed(&[document]).await;
        }
        Ok(stored?)
    }

    async fn store_failure(&self, job: &Job, error: QueueError) -> Result<Vec<Moved>, QueueError> {
        let now = self.clock.now();
        let fault = match &error {
            QueueError::Convert(error) if error.is_document_fault() => {
                Fault::of(Class::Document).because(error.to_string())
            }
            QueueError::Spool(SpoolError::Missing | SpoolError::Damaged(..)) => {
                log::error!("job {}: its upload is lost: {error}", job.id);
                Fault::of(Class::Document).because("the stored upload is damaged.")
            }
            _ => {
                log::warn!("job {}: preparing it failed and is tried again: {error}", job.id);
                let again = SignedDuration::try_from(TRY_AGAIN).unwrap_or_default();
                let at = now.checked_add(again).unwrap_or(now);
                let postponed = move |stage| match stage {
                    Stage::Preparing(job) => Some(job.postponed(at, now)),
                    _ => None,
                };
                return Ok(self.db.move_unprepared(job, postponed).await?);
            }
        };
        let refused = move |stage| match stage {
            Stage::Preparing(job) => Some(job.refused(fault.clone(), now)),
            _ => None,
        };
        Ok(self.db.move_unprepared(job, refused).await?)
    }
}
