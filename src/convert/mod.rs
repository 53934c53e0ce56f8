//! Documents to fax pages, each read in a sandboxed process of its own.
//!
//! Owns everything between the bytes of an upload and the G4 strips of its pages, and the drawing of a page
//! as PNG. The reading happens in *render workers*: the same executable, started with
//! [`WORKER_ARGUMENT`], locked in before it reads (see [`sandbox`]).
//!
//! Invariants:
//! - The server parses no upload, and decodes no page, in its own address space; it compares a few bytes to
//!   know the type, and counts.
//! - What a worker sends is bounded by [`protocol`] frame by frame, and here by document: pages, bytes, time.
//! - A worker whose document failed in any way is never used again.
//!
//! Refuses to decide anything about a fax: no paper size is forced, no page is left out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::codec::page::{FaxPage, Resolution};
use crate::codec::raster::Bitmap;

mod binarise;
mod error;
mod fonts;
mod grey;
mod image;
mod layout;
mod pdf;
mod pdf_drawing;
mod pool;
mod process;
mod protocol;
mod sandbox;
mod seccomp;
mod sniff;
mod text;
mod tiff;
mod tiff_ccitt;
pub mod worker;

pub use error::ConvertError;
pub use process::WORKER_ARGUMENT;
pub use sniff::DocumentKind;

use pool::{Lease, Pool, Purpose};
use process::{ExchangeError, Spawner};
use protocol::{MAX_DOCUMENT_BYTES, PPM, Reply, Request, Setup};

/// Compressed bytes of all pages of one fax, in MiB. 500 pages of business documents are about 15; this
/// many would be ten hours on the line. It also bounds what each conversion can take of the server's memory.
const MAX_FAX_MIB: u32 = 64;

/// Time for drawing one page; it takes milliseconds.
const PREVIEW_WITHIN: Duration = Duration::from_secs(10);

/// Where readers put the pages they have made. An error from it ends the reading.
type Emit<'a> = &'a mut dyn FnMut(FaxPage) -> Result<(), ConvertError>;

/// How a machine converts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program that becomes a worker when started with [`WORKER_ARGUMENT`]. `/proc/self/exe` stays the
    /// running program even when its file is replaced by an upgrade.
    pub executable: PathBuf,
    /// Conversions at the same time; at least one.
    pub workers: usize,
    /// Time for one document, from the moment a worker has it, in wall-clock and in processor time.
    pub wall_clock: Duration,
    /// Pages of one fax, all its documents together.
    pub max_pages: u32,
    /// Refuse to convert where workers cannot be locked in.
    pub require_sandbox: bool,
    /// Folders with fonts for characters that neither the document nor DejaVu has.
    pub font_dirs: Vec<PathBuf>,
}

/// What a sender may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The density of the pages. A fax-ready TIFF keeps its own.
    pub resolution: Resolution,
    /// What pictures are optimised for.
    pub quality: Quality,
}

/// What pictures are optimised for. Text comes out the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quality {
    /// Pictures are screened so that they take little time on the line.
    #[default]
    Text,
    /// Pictures keep their detail, at about four times the time on the line.
    Photo,
}

impl Quality {
    /// The word of the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Photo => "photo",
        }
    }

    /// The quality of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Text, Self::Photo].into_iter().find(|quality| quality.name() == name)
    }
}

/// The pages of one fax.
#[derive(Debug, Clone)]
pub struct Converted {
    /// In order, over all documents.
    pub pages: Vec<FaxPage>,
    /// What the first document was.
    pub kind: DocumentKind,
}

/// Converts documents and draws pages. Clones share one pool of workers.
#[derive(Debug, Clone)]
pub struct Converter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: Pool,
    wall_clock: Duration,
    max_pages: u32,
}

impl Converter {
    /// A converter that starts its first worker when it has work.
    pub fn new(settings: Settings) -> Self {
        let setup = Setup {
            require_sandbox: settings.require_sandbox,
            cpu_seconds: u32::try_from(settings.wall_clock.as_secs().max(1)).unwrap_or(u32::MAX),
            // A folder whose name is not UTF-8 holds no font that anyone would miss.
            font_dirs: settings
                .font_dirs
                .iter()
                .filter_map(|folder| folder.to_str())
                .map(str::to_owned)
                .collect(),
        };
        let spawner = Spawner::new(settings.executable);
        Self {
            inner: Arc::new(Inner {
                pool: Pool::new(spawner, setup, settings.workers),
                wall_clock: settings.wall_clock,
                max_pages: settings.max_pages,
            }),
        }
    }

    /// Turns `documents`, in order, into the pages of one fax. `on_page` is told how many pages are done,
    /// after each. Dropping the future stops the work and kills the worker that did it.
    ///
    /// # Errors
    /// [`ConvertError`]. All types are looked at before the first document is read. Page numbers in errors
    /// count within their document.
    pub async fn convert(
        &self,
        documents: Vec<Bytes>,
        options: Options,
        mut on_page: impl FnMut(u32) + Send,
    ) -> Result<Converted, ConvertError> {
        let kinds = documents
            .iter()
            .map(|document| {
                check_size(document)?;
                sniff::sniff(document)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let Some(kind) = kinds.first().copied() else {
            return Err(ConvertError::Empty);
        };
        let mut lease = self.inner.pool.lease(Purpose::Conversion).await?;
        let mut fax = Fax { pages: Vec::new(), strip_bytes: 0, max_pages: self.inner.max_pages };
        for (document, kind) in documents.into_iter().zip(kinds) {
            let request = Request::Convert { kind, options, max_pages: fax.pages_left(), document };
            let take = |reply| match reply {
                Reply::Page(page) => {
                    fax.add(page)?;
                    on_page(fax.pages.len() as u32);
                    Ok(None)
                }
                Reply::Done => Ok(Some(())),
                _ => Err(out_of_turn()),
            };
            (lease, ()) =
                serve(lease, &request, self.inner.wall_clock, take).await.map_err(|error| match error {
                    // The worker knows only how many pages this document might have had.
                    ConvertError::TooManyPages { .. } => {
                        ConvertError::TooManyPages { limit: self.inner.max_pages }
                    }
                    other => other,
                })?;
        }
        lease.give_back();
        if fax.pages.is_empty() {
            return Err(ConvertError::NoPages);
        }
        Ok(Converted { pages: fax.pages, kind })
    }

    /// Draws `page` as a PNG: exactly the bits that are transmitted, or, with a `width` in pixels, a
    /// smaller picture in greys with the proportions of the paper.
    ///
    /// # Errors
    /// [`ConvertError`].
    pub async fn page_png(&self, page: FaxPage, width: Option<u32>) -> Result<Vec<u8>, ConvertError> {
        let lease = self.inner.pool.lease(Purpose::Preview).await?;
        let take = |reply| match reply {
            Reply::Png(png) => Ok(Some(png)),
            _ => Err(out_of_turn()),
        };
        let request = Request::Preview { page, width };
        let (lease, png) = serve(lease, &request, PREVIEW_WITHIN, take).await?;
        lease.give_back();
        Ok(png)
    }

    /// How much of each page is black, 0 to 1, in order.
    ///
    /// # Errors
    /// [`ConvertError`].
    pub async fn black_shares(&self, pages: &[FaxPage]) -> Result<Vec<f64>, ConvertError> {
        let mut lease = self.inner.pool.lease(Purpose::Preview).await?;
        let mut shares = Vec::with_capacity(pages.len());
        for page in pages {
            let take = |reply| match reply {
                Reply::Measured { black_ppm } => Ok(Some(f64::from(black_ppm) / f64::from(PPM))),
                _ => Err(out_of_turn()),
            };
            let share;
            (lease, share) = serve(lease, &Request::Measure(page.clone()), PREVIEW_WITHIN, take).await?;
            shares.push(share);
        }
        lease.give_back();
        Ok(shares)
    }

    /// Draws a small page, which shows that a worker starts, locks itself in and works.
    ///
    /// # Errors
    /// [`ConvertError::Unavailable`] when it does not, [`ConvertError::Busy`] when many previews wait.
    pub async fn self_test(&self) -> Result<(), ConvertError> {
        let page = FaxPage::from_bitmap(&Bitmap::white(8, 8), Resolution::FINE);
        let png = self.page_png(page, None).await?;
        if png.starts_with(b"\x89PNG") {
            Ok(())
        } else {
            Err(ConvertError::Unavailable("a render worker drew no page".into()))
        }
    }
}

/// Pages as they come in.
struct Fax {
    pages: Vec<FaxPage>,
    strip_bytes: usize,
    max_pages: u32,
}

impl Fax {
    fn pages_left(&self) -> u32 {
        self.max_pages.saturating_sub(self.pages.len() as u32)
    }

    /// Counts here as well what a sound worker counts itself.
    fn add(&mut self, page: FaxPage) -> Result<(), ConvertError> {
        if self.pages_left() == 0 {
            return Err(ConvertError::TooManyPages { limit: self.max_pages });
        }
        self.strip_bytes += page.strip.len();
        if self.strip_bytes > (MAX_FAX_MIB as usize) << 20 {
            return Err(ConvertError::TooDense { limit_mib: MAX_FAX_MIB });
        }
        self.pages.push(page);
        Ok(())
    }
}

/// What went wrong between us and a worker.
enum Failure {
    /// The worker said so, or we did: the answer to the sender.
    Answer(ConvertError),
    /// The worker is gone or talks nonsense.
    Worker(ExchangeError),
}

impl From<ExchangeError> for Failure {
    fn from(error: ExchangeError) -> Self {
        Self::Worker(error)
    }
}

/// Has the leased worker serve `request`, giving each reply to `take` until that has a result. The lease
/// comes back only with a result; otherwise the worker is killed.
async fn serve<T>(
    mut lease: Lease,
    request: &Request,
    within: Duration,
    mut take: impl FnMut(Reply) -> Result<Option<T>, ConvertError>,
) -> Result<(Lease, T), ConvertError> {
    let worker = &mut lease.worker;
    let exchanged = timeout(within, async {
        // A worker that dies while it is written to is found dead by the reading that follows.
        let _ = worker.send(request).await;
        loop {
            let reply = worker.receive().await?;
            if let Reply::Failed(error) = reply {
                return Err(Failure::Answer(error));
            }
            if let Some(result) = take(reply).map_err(Failure::Answer)? {
                return Ok(result);
            }
        }
    });
    match exchanged.await {
        Ok(Ok(result)) => Ok((lease, result)),
        Ok(Err(Failure::Answer(error))) => Err(error),
        Ok(Err(Failure::Worker(ExchangeError::Gone))) => Err(post_mortem(lease).await),
        Ok(Err(Failure::Worker(ExchangeError::Protocol(error)))) => {
            log::error!("a render worker broke the protocol: {error}");
            Err(out_of_turn())
        }
        Err(_) => Err(ConvertError::TooSlow),
    }
}

/// What the death of the leased worker says about its document.
async fn post_mortem(lease: Lease) -> ConvertError {
    let death = lease.into_worker().death().await;
    if death.broke_the_sandbox() {
        log::error!("a document led a render worker to a forbidden system call: {death}");
    } else {
        log::debug!("a render worker died: {death}");
    }
    death.verdict()
}

/// A worker that answers something else than it was asked has been led astray by its document.
fn out_of_turn() -> ConvertError {
    ConvertError::damaged("it cannot be read to its end")
}

/// # Errors
/// [`ConvertError::TooLarge`] for a document that no worker would take.
fn check_size(document: &Bytes) -> Result<(), ConvertError> {
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(ConvertError::TooLarge {
            page: None,
            dimensions: format!("{} MiB", document.len() >> 20),
        });
    }
    Ok(())
}
