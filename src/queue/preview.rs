//! Looking at the pages before they are sent.
//!
//! Owns: converting for a preview, keeping the pages sealed in the spool for a quarter of an hour, and
//! giving them to who made them and to nobody else. A fax made of a preview has exactly its pages.

use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::{Inner, Queue, QueueError};
use crate::codec::page::FaxPage;
use crate::codec::tiff;
use crate::convert::Options;
use crate::db::previews::Preview;
use crate::fax::cover::Cover;
use crate::id::{AccountId, PreviewId};

/// How long a preview is kept.
const KEPT: SignedDuration = SignedDuration::from_mins(15);
/// Previews one caller has at a time; each holds disk that nobody has paid for yet.
const MOST: u32 = 20;
/// How often expired ones are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(120);

/// Documents that become pages now, and what stands before them.
pub struct Draft {
    /// The documents, in order.
    pub documents: Vec<Bytes>,
    /// How to turn them into pages.
    pub options: Options,
    /// A cover page and its template.
    pub cover: Option<(Cover, String)>,
}

/// A preview that was just made.
#[derive(Debug)]
pub struct Previewed {
    /// What is kept.
    pub preview: Preview,
    /// Its pages.
    pub pages: Vec<FaxPage>,
    /// How much of each is black, 0 to 1.
    pub black: Vec<f64>,
}

impl Queue {
    /// Turns a draft into pages, the cover page first; it counts itself.
    pub async fn draft(&self, draft: Draft) -> Result<Vec<FaxPage>, QueueError> {
        let converter = &self.inner.converter;
        let mut pages = match draft.documents.is_empty() {
            true => Vec::new(),
            false => converter.convert(draft.documents, draft.options, |_| {}).await?.pages,
        };
        let Some((cover, template)) = draft.cover else { return Ok(pages) };
        let mut count = 1;
        loop {
            // How long the cover is, one knows when it is drawn.
            let text = cover.text(&template, pages.len() as u32 + count);
            let drawn = converter.convert(vec![text.into()], draft.options, |_| {}).await?.pages;
            if drawn.len() as u32 <= count {
                pages.splice(0..0, drawn);
                return Ok(pages);
            }
            count = drawn.len() as u32;
        }
    }

    /// Keeps pages for a look, or `None` when this caller keeps many already.
    pub async fn keep_preview(
        &self,
        pages: Vec<FaxPage>,
        options: Options,
        source_sha256: String,
        (owner, caller): (AccountId, String),
    ) -> Result<Option<Previewed>, QueueError> {
        let inner = &self.inner;
        inner.check_space()?;
        inner.expire_previews().await?;
        let now = inner.clock.now();
        if inner.db.count_previews(&caller, now)? >= MOST {
            return Ok(None);
        }
        let black = inner.converter.black_shares(&pages).await?;
        let document = inner.spool.put(tiff::write(&pages)).await?;
        let preview = Preview {
            id: PreviewId::new(),
            owner,
            caller,
            document,
            pages: pages.len() as u32,
            resolution: options.resolution.name().unwrap_or_default().to_owned(),
            quality: options.quality.name().to_owned(),
            source_sha256,
            expires_at: now.checked_add(KEPT).unwrap_or(Timestamp::MAX),
        };
        if let Err(error) = inner.db.insert_preview(preview.clone()).await {
            inner.delete_documents(&[document]).await;
            return Err(error.into());
        }
        Ok(Some(Previewed { preview, pages, black }))
    }

    /// The preview with this id, of this caller, while it is kept.
    pub fn preview(&self, id: PreviewId, caller: &str) -> Result<Option<Preview>, QueueError> {
        Ok(self.inner.db.preview(id, caller, self.inner.clock.now())?)
    }

    /// Its pages.
    pub async fn preview_pages(&self, preview: &Preview) -> Result<Vec<FaxPage>, QueueError> {
        self.inner.stored_pages(preview.document).await
    }

    /// Removes previews once they have expired, for ever.
    pub async fn keep_previews_short(self) {
        let mut work = self.inner.clock.work();
        loop {
            if let Err(error) = self.inner.expire_previews().await {
                log::warn!("expired previews were not removed: {error}");
            }
            work.sleep(SWEEP_EVERY).await;
        }
    }
}

impl Inner {
    async fn expire_previews(&self) -> Result<(), QueueError> {
        let documents = self.db.expire_previews(self.clock.now()).await?;
        if documents.is_empty() { Ok(()) } else { self.remove(documents).await }
    }
}
