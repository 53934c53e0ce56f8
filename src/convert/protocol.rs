//! The frames between the server and a render worker, over the worker's standard input and output.
//!
//! A frame is a tag byte, the length of what follows as a big-endian `u32`, and that many bytes. Owns the
//! bytes of every frame and their bounds. The worker may trust what it is sent; the server trusts nothing:
//! once a worker has read a hostile document, each of its frames is hostile. So a length is checked against
//! the bound of its tag before memory is taken, an unknown tag or a field out of range is an error, and an
//! error ends that worker. Nothing here depends on a stream: reading is done by [`super::worker`] (blocking)
//! and [`super::process`] (asynchronous).

use bytes::Bytes;
use thiserror::Error;

use super::sandbox::Protections;
use super::{ConvertError, DocumentKind, Options, Quality};
use crate::codec::page::{FaxPage, Resolution};

/// Bytes before the payload: the tag and the length.
pub(super) const HEADER_BYTES: usize = 5;

/// Raised when a frame changes its meaning.
pub(super) const PROTOCOL: u16 = 2;

/// The largest document a worker is given. Uploads are limited far below; this bounds what a worker reads
/// into its 1.5 GB.
pub(super) const MAX_DOCUMENT_BYTES: usize = 256 << 20;

/// The largest G4 strip of one page. A page of 1 m at 391 dpi is 3.4 MB of plain bits, and error diffusion
/// may come out larger than the bits; what is still larger would be hours of line time.
pub(super) const MAX_STRIP_BYTES: usize = 8 << 20;

/// The largest PNG of one page: its plain bits with row filters and some overhead always fit.
pub(super) const MAX_PNG_BYTES: usize = 8 << 20;

/// The widest fax line: A3 (303 mm) at 408 dpi (T.30).
const MAX_PAGE_WIDTH: u32 = 4864;

/// Rows a page may have in a frame, above every length that layout and TIFF reading let through.
const MAX_PAGE_HEIGHT: u32 = 65_535;

/// All of a page, in the unit of [`Reply::Measured`].
pub(super) const PPM: u32 = 1_000_000;

/// A cause is one clause; more is noise, or an attempt to make us carry something.
const MAX_TEXT_CHARS: usize = 200;

const TAG_SETUP: u8 = 1;
const TAG_CONVERT: u8 = 2;
const TAG_PREVIEW: u8 = 3;
const TAG_MEASURE: u8 = 4;
const TAG_HELLO: u8 = 65;
const TAG_PAGE: u8 = 66;
const TAG_DONE: u8 = 67;
const TAG_FAILED: u8 = 68;
const TAG_PNG: u8 = 69;
const TAG_MEASURED: u8 = 70;

/// A frame that cannot be meant.
#[derive(Debug, Error)]
pub(super) enum ProtocolError {
    #[error("unknown frame {0}")]
    UnknownTag(u8),
    #[error("frame {tag} of {length} bytes is longer than it may be")]
    TooLong { tag: u8, length: u32 },
    #[error("frame {0} has a field out of range")]
    BadField(u8),
}

/// The first frame a worker gets: under which rules it is to lock itself in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setup {
    /// Refuse to read documents when the system-call filter cannot be had.
    pub(super) require_sandbox: bool,
    /// Processor seconds one document may take.
    pub(super) cpu_seconds: u32,
    /// Folders of font files, as UTF-8 paths.
    pub(super) font_dirs: Vec<String>,
}

/// Server to worker.
#[derive(Debug, Clone)]
pub(super) enum Request {
    /// Lock yourself in; answered by [`Reply::Hello`] or [`Reply::Failed`].
    Setup(Setup),
    /// Turn a document into pages; answered by [`Reply::Page`]s and [`Reply::Done`], or [`Reply::Failed`].
    Convert {
        kind: DocumentKind,
        options: Options,
        /// Pages this fax may still have.
        max_pages: u32,
        document: Bytes,
    },
    /// Draw a page as PNG, dot for dot or so many pixels wide; answered by [`Reply::Png`] or
    /// [`Reply::Failed`].
    Preview { page: FaxPage, width: Option<u32> },
    /// Say how much of a page is black; answered by [`Reply::Measured`] or [`Reply::Failed`].
    Measure(FaxPage),
}

/// Worker to server.
#[derive(Debug)]
pub(super) enum Reply {
    /// Ready; these protections are on. `version` is the worker's package version.
    Hello { protocol: u16, protections: Protections, version: String },
    /// The next page of the document.
    Page(FaxPage),
    /// That was the last page.
    Done,
    /// The document or page could not be read.
    Failed(ConvertError),
    /// The page asked for.
    Png(Vec<u8>),
    /// Black dots in a million.
    Measured { black_ppm: u32 },
}

impl Request {
    /// The bytes up to the document, header included, and the document itself, which is not copied.
    pub(super) fn encode(&self) -> (Vec<u8>, Bytes) {
        match self {
            Self::Setup(setup) => {
                let mut body = vec![u8::from(setup.require_sandbox)];
                body.extend_from_slice(&setup.cpu_seconds.to_be_bytes());
                // A NUL cannot be part of a path, so it can stand between two.
                body.extend_from_slice(setup.font_dirs.join("\0").as_bytes());
                (frame(TAG_SETUP, &body, 0), Bytes::new())
            }
            Self::Convert { kind, options, max_pages, document } => {
                let mut body = vec![kind_code(*kind), quality_code(options.quality)];
                push_resolution(&mut body, options.resolution);
                body.extend_from_slice(&max_pages.to_be_bytes());
                (frame(TAG_CONVERT, &body, document.len()), document.clone())
            }
            Self::Preview { page, width } => {
                let mut body = width.unwrap_or(0).to_be_bytes().to_vec();
                body.extend_from_slice(&page_body(page));
                (frame(TAG_PREVIEW, &body, 0), Bytes::new())
            }
            Self::Measure(page) => (frame(TAG_MEASURE, &page_body(page), 0), Bytes::new()),
        }
    }

    /// How many bytes a frame from the server may have.
    ///
    /// # Errors
    /// [`ProtocolError`] for an unknown tag or a longer frame.
    pub(super) fn check_length(tag: u8, length: u32) -> Result<usize, ProtocolError> {
        let limit = match tag {
            TAG_SETUP => 64 << 10,
            TAG_CONVERT => MAX_DOCUMENT_BYTES + 64,
            TAG_PREVIEW | TAG_MEASURE => MAX_STRIP_BYTES + 64,
            _ => return Err(ProtocolError::UnknownTag(tag)),
        };
        within(tag, length, limit)
    }

    /// # Errors
    /// [`ProtocolError`] when the payload is not one.
    pub(super) fn parse(tag: u8, payload: Vec<u8>) -> Result<Self, ProtocolError> {
        let mut fields = Fields::new(tag, payload);
        match tag {
            TAG_SETUP => {
                let require_sandbox = fields.u8()? != 0;
                let cpu_seconds = fields.u32()?;
                let paths = fields.text()?;
                Ok(Self::Setup(Setup {
                    require_sandbox,
                    cpu_seconds,
                    font_dirs: paths.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect(),
                }))
            }
            TAG_CONVERT => {
                let kind = fields.kind()?;
                let quality = fields.quality()?;
                let resolution = fields.resolution()?;
                let max_pages = fields.u32()?;
                Ok(Self::Convert {
                    kind,
                    options: Options { resolution, quality },
                    max_pages,
                    document: fields.rest(),
                })
            }
            TAG_PREVIEW => {
                let width = Some(fields.u32()?).filter(|width| *width > 0);
                Ok(Self::Preview { page: fields.page()?, width })
            }
            TAG_MEASURE => Ok(Self::Measure(fields.page()?)),
            _ => Err(ProtocolError::UnknownTag(tag)),
        }
    }
}

impl Reply {
    /// The whole frame.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello { protocol, protections, version } => {
                let mut body = protocol.to_be_bytes().to_vec();
                body.extend_from_slice(&protections.bits().to_be_bytes());
                body.extend_from_slice(version.as_bytes());
                frame(TAG_HELLO, &body, 0)
            }
            Self::Page(page) => frame(TAG_PAGE, &page_body(page), 0),
            Self::Done => frame(TAG_DONE, &[], 0),
            Self::Failed(error) => frame(TAG_FAILED, &failure_body(error), 0),
            Self::Png(bytes) => frame(TAG_PNG, bytes, 0),
            Self::Measured { black_ppm } => frame(TAG_MEASURED, &black_ppm.to_be_bytes(), 0),
        }
    }

    /// How many bytes a frame from a worker may have; to be asked before memory is taken for it.
    ///
    /// # Errors
    /// [`ProtocolError`] for an unknown tag or a longer frame.
    pub(super) fn check_length(tag: u8, length: u32) -> Result<usize, ProtocolError> {
        let limit = match tag {
            TAG_HELLO => 64,
            TAG_PAGE => MAX_STRIP_BYTES + 64,
            TAG_DONE => 0,
            TAG_FAILED => 16 + MAX_TEXT_CHARS * 4,
            TAG_PNG => MAX_PNG_BYTES,
            TAG_MEASURED => 4,
            _ => return Err(ProtocolError::UnknownTag(tag)),
        };
        within(tag, length, limit)
    }

    /// # Errors
    /// [`ProtocolError`] when the payload is not one.
    pub(super) fn parse(tag: u8, payload: Vec<u8>) -> Result<Self, ProtocolError> {
        let mut fields = Fields::new(tag, payload);
        match tag {
            TAG_HELLO => Ok(Self::Hello {
                protocol: fields.u16()?,
                protections: Protections::from_bits(fields.u16()?),
                version: printable(&fields.text()?),
            }),
            TAG_PAGE => Ok(Self::Page(fields.page()?)),
            TAG_DONE => Ok(Self::Done),
            TAG_FAILED => Ok(Self::Failed(fields.failure()?)),
            TAG_PNG => Ok(Self::Png(fields.rest().into())),
            TAG_MEASURED => Ok(Self::Measured { black_ppm: fields.u32()?.min(PPM) }),
            _ => Err(ProtocolError::UnknownTag(tag)),
        }
    }
}

/// A frame's header and its first bytes; `more` bytes will follow them.
fn frame(tag: u8, body: &[u8], more: usize) -> Vec<u8> {
    let length = u32::try_from(body.len() + more).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.push(tag);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn within(tag: u8, length: u32, limit: usize) -> Result<usize, ProtocolError> {
    match usize::try_from(length) {
        Ok(length) if length <= limit => Ok(length),
        _ => Err(ProtocolError::TooLong { tag, length }),
    }
}

fn page_body(page: &FaxPage) -> Vec<u8> {
    let mut body = Vec::with_capacity(12 + page.strip.len());
    body.extend_from_slice(&page.width.to_be_bytes());
    body.extend_from_slice(&page.height.to_be_bytes());
    push_resolution(&mut body, page.resolution);
    body.extend_from_slice(&page.strip);
    body
}

fn push_resolution(body: &mut Vec<u8>, resolution: Resolution) {
    body.extend_from_slice(&resolution.x_dpi.to_be_bytes());
    body.extend_from_slice(&resolution.y_dpi.to_be_bytes());
}

fn kind_code(kind: DocumentKind) -> u8 {
    match kind {
        DocumentKind::Pdf => 1,
        DocumentKind::Text => 2,
        DocumentKind::Tiff => 3,
        DocumentKind::Png => 4,
        DocumentKind::Jpeg => 5,
    }
}

fn quality_code(quality: Quality) -> u8 {
    match quality {
        Quality::Text => 1,
        Quality::Photo => 2,
    }
}

/// Code, page or 0, number or 0, text. Only what a worker can know is given a code; the rest is for the
/// server alone to say.
fn failure_body(error: &ConvertError) -> Vec<u8> {
    let (code, page, number, text) = match error {
        ConvertError::Empty => (1, None, 0, String::new()),
        ConvertError::Encrypted => (2, None, 0, String::new()),
        ConvertError::NoPages => (3, None, 0, String::new()),
        ConvertError::Damaged { page, cause } => (4, *page, 0, cause.clone()),
        ConvertError::TooManyPages { limit } => (5, None, *limit, String::new()),
        ConvertError::TooLarge { page, dimensions } => (6, *page, 0, dimensions.clone()),
        ConvertError::TooDense { limit_mib } => (7, None, *limit_mib, String::new()),
        ConvertError::TooMuchMemory => (8, None, 0, String::new()),
        ConvertError::Unavailable(reason) => (9, None, 0, reason.clone()),
        ConvertError::UnknownType { .. }
        | ConvertError::TooSlow
        | ConvertError::Busy
        | ConvertError::Internal(_) => (10, None, 0, error.to_string()),
    };
    let mut body = vec![code];
    body.extend_from_slice(&page.unwrap_or(0).to_be_bytes());
    body.extend_from_slice(&number.to_be_bytes());
    body.extend_from_slice(printable(&text).as_bytes());
    body
}

/// Text fit for a message: control characters gone, and short.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_TEXT_CHARS).collect()
}

/// The fields of a payload, taken from the front.
struct Fields {
    tag: u8,
    bytes: Bytes,
}

impl Fields {
    fn new(tag: u8, payload: Vec<u8>) -> Self {
        Self { tag, bytes: payload.into() }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let taken = self.bytes.first_chunk::<N>().copied().ok_or(ProtocolError::BadField(self.tag))?;
        self.bytes = self.bytes.slice(N..);
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, ProtocolError> {
        Ok(u8::from_be_bytes(self.take()?))
    }

    fn u16(&mut self) -> Result<u16, ProtocolError> {
        Ok(u16::from_be_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, ProtocolError> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes)
    }

    fn text(&mut self) -> Result<String, ProtocolError> {
        String::from_utf8(self.rest().into()).map_err(|_| ProtocolError::BadField(self.tag))
    }

    fn kind(&mut self) -> Result<DocumentKind, ProtocolError> {
        let code = self.u8()?;
        [DocumentKind::Pdf, DocumentKind::Text, DocumentKind::Tiff, DocumentKind::Png, DocumentKind::Jpeg]
            .into_iter()
            .find(|kind| kind_code(*kind) == code)
            .ok_or(ProtocolError::BadField(self.tag))
    }

    fn quality(&mut self) -> Result<Quality, ProtocolError> {
        let code = self.u8()?;
        [Quality::Text, Quality::Photo]
            .into_iter()
            .find(|quality| quality_code(*quality) == code)
            .ok_or(ProtocolError::BadField(self.tag))
    }

    /// Any density a fax line or its TIFF may name (T.30 knows 100 to 1200 per inch), and none that could
    /// upset a division later.
    fn resolution(&mut self) -> Result<Resolution, ProtocolError> {
        let (x_dpi, y_dpi) = (self.u16()?, self.u16()?);
        if !(50..=1300).contains(&x_dpi) || !(50..=1300).contains(&y_dpi) {
            return Err(ProtocolError::BadField(self.tag));
        }
        Ok(Resolution { x_dpi, y_dpi })
    }

    fn page(&mut self) -> Result<FaxPage, ProtocolError> {
        let (width, height) = (self.u32()?, self.u32()?);
        let resolution = self.resolution()?;
        let strip = self.rest();
        let sound = (1..=MAX_PAGE_WIDTH).contains(&width)
            && (1..=MAX_PAGE_HEIGHT).contains(&height)
            && !strip.is_empty()
            && strip.len() <= MAX_STRIP_BYTES;
        if !sound {
            return Err(ProtocolError::BadField(self.tag));
        }
        Ok(FaxPage { width, height, resolution, strip: strip.into() })
    }

    fn failure(&mut self) -> Result<ConvertError, ProtocolError> {
        let code = self.u8()?;
        let page = Some(self.u32()?).filter(|page| *page != 0);
        let number = self.u32()?;
        let text = printable(&self.text()?);
        Ok(match code {
            1 => ConvertError::Empty,
            2 => ConvertError::Encrypted,
            3 => ConvertError::NoPages,
            4 => ConvertError::Damaged { page, cause: text },
            5 => ConvertError::TooManyPages { limit: number },
            6 => ConvertError::TooLarge { page, dimensions: text },
            7 => ConvertError::TooDense { limit_mib: number },
            8 => ConvertError::TooMuchMemory,
            9 => ConvertError::Unavailable(text),
            10 => ConvertError::Internal(text),
            _ => return Err(ProtocolError::BadField(self.tag)),
        })
    }
}

#[cfg(test)]
mod tests;
