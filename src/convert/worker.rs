//! The render worker: the process in which documents are read.
//!
//! Owns the loop of the hidden `render-worker` command. It is told how to lock itself in, does so before it
//! reads a byte of any document, and then turns documents into pages, one after the other, until its input
//! ends. It writes each page as soon as it is done. A panic while reading is an answer like another, but the
//! last one of this process: what a reader that panicked left behind is not trusted with a second document.
//!
//! Refuses to run without a server at the other end, and touches nothing but its three standard descriptors.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;

use super::fonts::FontLibrary;
use super::protocol::{
    HEADER_BYTES, MAX_PNG_BYTES, MAX_STRIP_BYTES, PPM, PROTOCOL, ProtocolError, Reply, Request, Setup,
};
use super::sandbox::{self, Policy};
use super::{ConvertError, DocumentKind, Emit, Options, image, pdf, text, tiff};
use crate::codec;
use crate::codec::page::FaxPage;
use crate::codec::raster::Bitmap;

/// Steps below the server's priority (nice): a document that keeps a processor busy for half a minute delays
/// nobody's request.
const NICENESS: i32 = 10;

/// Why a worker ends other than by the end of its input.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error("the pipe to the server failed")]
    Pipe(#[from] io::Error),
    #[error("the server sent what no server sends")]
    Protocol(#[from] ProtocolError),
    #[error("a document came before the setup, or a second setup")]
    OutOfOrder,
}

/// Runs the worker on standard input and output until the input ends. To be called before any thread is
/// started: the sandbox locks in only the thread that enters it.
pub fn run() -> ExitCode {
    // Lowering one's own priority is always allowed; requests go before conversions.
    let _ = rustix::process::nice(NICENESS);
    // The default hook prints the payload, which may quote the document.
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            let _ = writeln!(io::stderr(), "panic at {place}");
        }
    }));
    match serve(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "render worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(input: &mut impl Read, output: &mut impl Write) -> Result<(), WorkerError> {
    let Some(Request::Setup(setup)) = read_request(input)? else {
        return Err(WorkerError::OutOfOrder);
    };
    let font_dirs: Vec<PathBuf> = setup.font_dirs.iter().map(PathBuf::from).collect();
    let policy = Policy {
        require_sandbox: setup.require_sandbox,
        cpu_seconds: setup.cpu_seconds,
        font_dirs: font_dirs.clone(),
    };
    let protections = match sandbox::enter(&policy) {
        Ok(protections) => protections,
        Err(error) => {
            let reason = match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            write_reply(output, &Reply::Failed(ConvertError::Unavailable(reason)))?;
            return Ok(());
        }
    };
    write_reply(
        output,
        &Reply::Hello { protocol: PROTOCOL, protections, version: env!("CARGO_PKG_VERSION").to_owned() },
    )?;
    let mut worker = Worker { setup, fonts: Arc::new(FontLibrary::new(font_dirs)), output };
    while let Some(request) = read_request(input)? {
        if !worker.answer(request)? {
            break;
        }
    }
    Ok(())
}

/// A worker that has locked itself in.
struct Worker<'a, W: Write> {
    setup: Setup,
    fonts: Arc<FontLibrary>,
    output: &'a mut W,
}

impl<W: Write> Worker<'_, W> {
    /// Answers one request; `false` when it must be the last.
    fn answer(&mut self, request: Request) -> Result<bool, WorkerError> {
        // A limit that cannot be raised is one that is still there, and ends this process in its time.
        let _ = sandbox::allow_cpu(self.setup.cpu_seconds);
        let answered = catch_unwind(AssertUnwindSafe(|| match request {
            Request::Setup(_) => Err(WorkerError::OutOfOrder),
            Request::Convert { kind, options, max_pages, document } => {
                self.convert(kind, options, max_pages, &document)
            }
            Request::Preview { page, width } => self.reply_with(draw(&page, width).map(Reply::Png)),
            Request::Measure(page) => self.reply_with(measure(&page)),
        }));
        if let Ok(result) = answered {
            return result.map(|()| true);
        }
        let cause = ConvertError::damaged("its content is contradictory");
        write_reply(self.output, &Reply::Failed(cause))?;
        Ok(false)
    }

    fn convert(
        &mut self,
        kind: DocumentKind,
        options: Options,
        max_pages: u32,
        document: &Bytes,
    ) -> Result<(), WorkerError> {
        let mut pipe_error = None;
        let output = &mut *self.output;
        let mut emit = |page: FaxPage| {
            if page.strip.len() > MAX_STRIP_BYTES {
                return Err(ConvertError::TooDense { limit_mib: (MAX_STRIP_BYTES >> 20) as u32 });
            }
            write_reply(output, &Reply::Page(page)).map_err(|error| {
                pipe_error = Some(error);
                ConvertError::Internal("the server is gone".into())
            })
        };
        let emit: Emit<'_> = &mut emit;
        let converted = match kind {
            DocumentKind::Pdf => pdf::convert(document, options, max_pages, &self.fonts, emit),
            DocumentKind::Text => text::convert(document, options, max_pages, &self.fonts, emit),
            DocumentKind::Tiff => tiff::convert(document, options, max_pages, emit),
            DocumentKind::Png => image::convert(document, ::image::ImageFormat::Png, options, emit),
            DocumentKind::Jpeg => image::convert(document, ::image::ImageFormat::Jpeg, options, emit),
        };
        if let Some(error) = pipe_error {
            return Err(error.into());
        }
        let reply = match converted {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Failed(error),
        };
        Ok(write_reply(self.output, &reply)?)
    }

    fn reply_with(&mut self, result: Result<Reply, ConvertError>) -> Result<(), WorkerError> {
        Ok(write_reply(self.output, &result.unwrap_or_else(Reply::Failed))?)
    }
}

/// The PNG of a page: at the page's resolution dot for dot, or so many pixels wide in greys.
fn draw(page: &FaxPage, width: Option<u32>) -> Result<Vec<u8>, ConvertError> {
    let bitmap = decode(page)?;
    let png = match width {
        Some(width) => codec::png::encode_scaled(&bitmap, page.resolution, width),
        None => codec::png::encode(&bitmap, Some(page.resolution)),
    };
    let png = png.map_err(|error| ConvertError::Internal(error.to_string()))?;
    if png.len() > MAX_PNG_BYTES {
        return Err(ConvertError::TooDense { limit_mib: (MAX_PNG_BYTES >> 20) as u32 });
    }
    Ok(png)
}

/// How much of a page is black.
fn measure(page: &FaxPage) -> Result<Reply, ConvertError> {
    let black_ppm = (decode(page)?.black_share() * f64::from(PPM)).round() as u32;
    Ok(Reply::Measured { black_ppm })
}

fn decode(page: &FaxPage) -> Result<Bitmap, ConvertError> {
    page.to_bitmap().map_err(|_| ConvertError::damaged("its fax data cannot be decoded"))
}

/// The next request; `None` when the server has closed the pipe between two.
fn read_request(input: &mut impl Read) -> Result<Option<Request>, WorkerError> {
    let mut header = [0; HEADER_BYTES];
    match input.read(&mut header)? {
        0 => return Ok(None),
        read => input.read_exact(&mut header[read..])?,
    }
    let [tag, length @ ..] = header;
    let length = Request::check_length(tag, u32::from_be_bytes(length))?;
    let mut payload = vec![0; length];
    input.read_exact(&mut payload)?;
    Ok(Some(Request::parse(tag, payload)?))
}

fn write_reply(output: &mut impl Write, reply: &Reply) -> io::Result<()> {
    output.write_all(&reply.encode())?;
    output.flush()
}
