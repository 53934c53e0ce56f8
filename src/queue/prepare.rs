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

use super::{Inner, QueueError, lock};
use crate::auth::limits::Allowance;
use crate::codec::page::{FaxPage, Resolution};
use crate::codec::tiff;
use crate::convert::{ConvertError, Converted, Options, Quality};
use crate::db::DbError;
use crate::fax::job::Job;
use crate::fax::outcome::{Class, Fault};
use crate::fax::transition::{Moved, Preparing, Stage};
use crate::id::JobId;
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

    /// Marks a job as attended to, so that no second conversion of it begins.
    pub(super) fn claim_preparation(&self, id: JobId) {
        lock(&self.preparing).entry(id).or_insert(None);
    }

    pub(super) fn release_preparation(&self, id: JobId) {
        lock(&self.preparing).remove(&id);
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
        for job in jobs.into_iter().filter(|job| !attended.contains(&job.id)).take(room) {
            self.claim_preparation(job.id);
            let inner = self.clone();
            self.spawn_preparation(job.id, async move {
                let result = inner.convert_sources(&job).await;
                inner.finish_preparation(&job, result).await;
            });
        }
        Ok(())
    }

    /// Finishes a preparation whose conversion runs already; the job is claimed. Of what its key may
    /// spend, one page was taken; the others follow here, even beyond the limit, since the fax was
    /// promised.
    pub(super) fn attend_to_preparation(
        self: &Arc<Self>,
        job: Job,
        conversion: Conversion,
        allowance: Option<Allowance>,
    ) {
        let inner = self.clone();
        self.spawn_preparation(job.id, async move {
            let result = converted(conversion.await).map_err(QueueError::from);
            if let (Some(allowance), Ok(pages)) = (allowance, &result) {
                let rest = (pages.len() as u32).saturating_sub(1);
                allowance.add_pages(rest, job.schedule_at.unwrap_or(job.created_at));
            }
            inner.finish_preparation(&job, result).await;
        });
    }

    fn spawn_preparation(
        self: &Arc<Self>,
        id: JobId,
        preparation: impl Future<Output = ()> + Send + 'static,
    ) {
        let (inner, work) = (self.clone(), self.clock.work());
        // The lock is held until the handle is in its place, so that the task cannot be over before.
        let mut preparing = lock(&self.preparing);
        let task = tokio::spawn(async move {
            preparation.await;
            inner.release_preparation(id);
            drop(work);
        });
        preparing.insert(id, Some(task.abort_handle()));
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
            Ok(moved) => self.moved(job.id, moved.freed()).await,
            // It was cancelled or expired meanwhile.
            Err(QueueError::Db(DbError::Conflict)) => {}
            Err(error) => log::warn!("job {}: its preparation was not stored: {error}", job.id),
        }
    }

    async fn store_pages(&self, job: &Job, pages: &[FaxPage]) -> Result<Moved, QueueError> {
        let document = self.spool.put(tiff::write(pages)).await?;
        let (count, now) = (pages.len() as u32, self.clock.now());
        let stored = self.move_preparing(job.id, move |job| job.prepared(document, count, now)).await;
        if stored.is_err() && !matches!(self.db.job(job.id), Ok(Some(job)) if job.document == Some(document))
        {
            self.delete_documents(&[document]).await;
        }
        stored
    }

    async fn store_failure(&self, job: &Job, error: QueueError) -> Result<Moved, QueueError> {
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
                return self.move_preparing(job.id, move |job| job.postponed(at, now)).await;
            }
        };
        self.move_preparing(job.id, move |job| job.refused(fault, now)).await
    }

    /// Moves a job if it is still preparing.
    async fn move_preparing(
        &self,
        id: JobId,
        transition: impl FnOnce(Preparing) -> Moved + Send + 'static,
    ) -> Result<Moved, QueueError> {
        let moved = self.db.move_job(id, |stage| match stage {
            Stage::Preparing(job) => Ok(transition(job)),
            _ => Err(()),
        });
        Ok(moved.await?.map_err(|()| DbError::Conflict)?)
    }
}
