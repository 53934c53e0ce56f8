//! A stream whose client must say something soon, and in the right language.
//!
//! Owns: the time limit for the first byte of a connection. hyper's own limit begins with the
//! headers, after it has seen which HTTP version is spoken, so a client that says nothing at all
//! would be held for ever. And the answer to who speaks HTTP in the clear to the HTTPS port, read no
//! further than its first byte: a sentence, where a failed handshake would only hang up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// What of a request in the clear is taken off the line before hanging up: a client that is still
/// sending when the connection is reset does not see the answer.
const DISCARDED_BYTES: u64 = 64 * 1024;
/// And for how long.
const DISCARD_TIME: Duration = Duration::from_secs(1);
/// The answer to it; 76 bytes of text.
const SAY_HTTPS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 76\r\nConnection: close\r\n\r\n\
    This port speaks HTTPS only. Use the same address, beginning with https://.\n";

/// Whether a client of the HTTPS port begins with HTTP in the clear: a method in capital letters,
/// where TLS begins with the byte 22.
pub(super) async fn is_in_the_clear(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase())
}

/// Tells such a client what to do.
pub(super) async fn point_to_https(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(SAY_HTTPS).await?;
    stream.shutdown().await?;
    let (mut rest, mut nowhere) = (stream.take(DISCARDED_BYTES), tokio::io::sink());
    let discarded = tokio::time::timeout(DISCARD_TIME, tokio::io::copy(&mut rest, &mut nowhere)).await;
    // Who is still sending by then has had its answer.
    discarded.map_or(Ok(()), |copied| copied.map(drop))
}

/// The stream, with the limit until its first byte has come.
pub(super) struct FirstByte<S> {
    stream: S,
    limit: Option<Pin<Box<Sleep>>>,
}

impl<S> FirstByte<S> {
    /// Fails reads with `TimedOut` once nothing has come for `limit` from now.
    pub(super) fn within(limit: Duration, stream: S) -> Self {
        Self { stream, limit: Some(Box::pin(tokio::time::sleep(limit))) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstByte<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        match &mut this.limit {
            Some(limit) if read.is_pending() => {
                ready!(limit.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            _ => {
                this.limit = None;
                read
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstByte<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
