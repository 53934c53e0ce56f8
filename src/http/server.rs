//! The accept loop.
//!
//! Owns: connections. warp has no time limits, no connection limit and no say over its sockets, so
//! its filters run as a service under our own loop: a limit on all connections and on those of one
//! address, time limits for the TLS handshake, the first byte and the headers, the [`Peer`] of each
//! request, request ids, panics turned into a 500 of that one request, error bodies, and an orderly
//! drain. The loop is generic over the stream: TLS is one more handshake in front of it, and a
//! connection counts from before that.

use std::any::Any;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::ready;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower_service::Service;
use warp::filters::BoxedFilter;
use warp::http::header::{ACCEPT, CONNECTION, HOST, HeaderName, STRICT_TRANSPORT_SECURITY};
use warp::http::request::Parts;
use warp::http::{HeaderValue, Method, StatusCode, Version};
use warp::reply::Response;

use super::body::Body;
use super::error::{ApiError, INTERNAL};
use super::first_byte::{self, FirstByte};
use super::plain;
use super::request::{Arrival, Peer};
use crate::id::RequestId;
use crate::net::tls::{Certificates, TlsError};

/// A client has this long for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A client has this long to send its first byte, and then its request line and headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Room for headers: four times what browsers send.
const HEADER_BYTES: usize = 64 * 1024;
/// Requests one HTTP/2 connection may have under way.
const STREAMS: u32 = 64;
/// Pause after a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// One address (loopback apart) may hold this share of all connections.
const ADDRESS_SHARE: usize = 4;

/// Browsers remember for a year that this name is reached over HTTPS only.
static HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Serves one filter on any number of listeners until told to stop.
pub struct Server {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    loops: Vec<tokio::task::JoinHandle<()>>,
}

struct Shared {
    filter: BoxedFilter<(Response,)>,
    connections: auto::Builder<TokioExecutor>,
    permits: Arc<Semaphore>,
    per_address: PerAddress,
    graceful: Mutex<Option<GracefulShutdown>>,
    https: OnceLock<Https>,
}

/// What requests need to know of the HTTPS listener.
struct Https {
    port: u16,
    /// Whether browsers may be told to insist on HTTPS: a certificate of the local authority is
    /// refused by devices that do not trust it yet, and with HSTS they could not even read how to.
    insists: bool,
}

impl Server {
    /// A server without listeners, for at most `max_connections` at once.
    pub fn new(filter: BoxedFilter<(Response,)>, max_connections: usize) -> Self {
        let mut connections = auto::Builder::new(TokioExecutor::new());
        connections
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BYTES);
        connections
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(Some(Duration::from_secs(30)));
        let shared = Shared {
            filter,
            connections,
            permits: Arc::new(Semaphore::new(max_connections)),
            per_address: PerAddress::new(max_connections / ADDRESS_SHARE),
            graceful: Mutex::new(Some(GracefulShutdown::new())),
            https: OnceLock::new(),
        };
        Self { shared: Arc::new(shared), stop: watch::channel(false).0, loops: Vec::new() }
    }

    /// Starts accepting TCP clients.
    pub fn listen(&mut self, listener: TcpListener) {
        let (shared, mut stop) = (self.shared.clone(), self.stop.subscribe());
        self.loops.push(tokio::spawn(async move {
            while let Some(accepted) = unless_stopped(listener.accept(), &mut stop).await {
                match accepted {
                    Ok((stream, address)) => {
                        // Answers are small and final; waiting to fill a segment only delays them.
                        let _ = stream.set_nodelay(true);
                        shared.clone().admit(Peer::Tcp(address), ready(Some(stream)));
                    }
                    Err(error) => pause_after(&error).await,
                }
            }
        }));
    }

    /// Starts accepting TLS clients, with the certificate that is current at each handshake.
    pub fn listen_tls(
        &mut self,
        listener: TcpListener,
        certificates: &Arc<Certificates>,
    ) -> Result<(), TlsError> {
        let acceptor = TlsAcceptor::from(certificates.server_config()?);
        let port = listener.local_addr().map_or(0, |address| address.port());
        // The first HTTPS listener is the one people are sent to.
        let _ = self.shared.https.set(Https { port, insists: certificates.are_own() });
        let (shared, mut stop) = (self.shared.clone(), self.stop.subscribe());
        self.loops.push(tokio::spawn(async move {
            while let Some(accepted) = unless_stopped(listener.accept(), &mut stop).await {
                match accepted {
                    Ok((stream, address)) => {
                        let _ = stream.set_nodelay(true);
                        let secured = secure(acceptor.clone(), stream, stop.clone());
                        shared.clone().admit(Peer::Tls(address), secured);
                    }
                    Err(error) => pause_after(&error).await,
                }
            }
        }));
        Ok(())
    }

    /// Starts accepting processes of this machine: root and our own user.
    pub fn listen_local(&mut self, listener: UnixListener) {
        let (shared, mut stop) = (self.shared.clone(), self.stop.subscribe());
        let own_uid = rustix::process::geteuid().as_raw();
        self.loops.push(tokio::spawn(async move {
            while let Some(accepted) = unless_stopped(listener.accept(), &mut stop).await {
                match accepted {
                    Ok((stream, _)) => match stream.peer_cred().map(|peer| peer.uid()) {
                        Ok(uid) if uid == 0 || uid == own_uid => {
                            shared.clone().admit(Peer::Local { uid }, ready(Some(stream)));
                        }
                        _ => log::warn!("a process of another user was turned away from the admin socket"),
                    },
                    Err(error) => pause_after(&error).await,
                }
            }
        }));
    }

    /// Stops accepting, lets requests under way finish for at most `patience`, then cuts.
    pub async fn drain(self, patience: Duration) {
        let _ = self.stop.send(true);
        for accept_loop in self.loops {
            let _ = accept_loop.await;
        }
        let graceful = self.shared.graceful.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(graceful) = graceful
            && tokio::time::timeout(patience, graceful.shutdown()).await.is_err()
        {
            log::warn!("connections were cut after {} s of waiting", patience.as_secs());
        }
    }
}

/// The next connection, or `None` once nobody is to be let in any more.
async fn unless_stopped<T>(accept: impl Future<Output = T>, stop: &mut watch::Receiver<bool>) -> Option<T> {
    tokio::select! {
        accepted = accept => Some(accepted),
        _ = stop.wait_for(|stop| *stop) => None,
    }
}

async fn pause_after(error: &std::io::Error) {
    log::warn!("accepting a connection failed: {error}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// The TLS stream, unless the client takes too long, fails, or the server goes.
async fn secure(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    mut stop: watch::Receiver<bool>,
) -> Option<TlsStream<TcpStream>> {
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, async {
        if first_byte::is_in_the_clear(&stream).await? {
            return first_byte::point_to_https(stream).await.map(|()| None);
        }
        acceptor.accept(stream).await.map(Some)
    });
    match unless_stopped(handshake, &mut stop).await? {
        Ok(Ok(stream)) => stream,
        // Clients that do not trust us say so by hanging up; that is not our failure.
        Ok(Err(error)) => {
            log::debug!("a TLS handshake failed: {error}");
            None
        }
        Err(_) => None,
    }
}

impl Shared {
    /// Opens and serves the connection on a task of its own, or closes it when there are too many.
    fn admit<S>(self: Arc<Self>, peer: Peer, open: impl Future<Output = Option<S>> + Send + 'static)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            log::warn!("a connection was refused: the limit is reached");
            return;
        };
        let Some(place) = PerAddress::take(&self, peer) else { return };
        let graceful = self.graceful.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(watcher) = graceful.as_ref().map(GracefulShutdown::watcher) else { return };
        drop(graceful);
        tokio::spawn(async move {
            let held = (permit, place);
            if let Some(stream) = open.await {
                self.serve(FirstByte::within(HEADER_TIMEOUT, stream), peer, watcher, held).await;
            }
        });
    }

    async fn serve<S>(
        self: Arc<Self>,
        stream: S,
        peer: Peer,
        watcher: Watcher,
        _held: (OwnedSemaphorePermit, Place),
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = self.clone();
        let service = service_fn(move |request| {
            let shared = shared.clone();
            async move { Ok::<_, Infallible>(shared.answer(request, peer).await) }
        });
        let connection = self.connections.serve_connection(TokioIo::new(stream), service).into_owned();
        // Clients that go away or send garbage are not our failures.
        if let Err(error) = watcher.watch(connection).await {
            log::debug!("a connection ended early: {error}");
        }
    }

    async fn answer(&self, request: hyper::Request<Incoming>, peer: Peer) -> Response {
        let started = Instant::now();
        let request_id = RequestId::new();
        let (mut parts, incoming) = request.into_parts();
        let body = Body::new(incoming);
        let body_finished = body.finished_flag();
        let method = parts.method.clone();
        let path = parts.uri.path().to_owned();
        let version = parts.version;
        let problem_json = parts
            .headers
            .get(ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("application/problem+json"));
        // HEAD is GET whose body hyper leaves out.
        if method == Method::HEAD {
            parts.method = Method::GET;
        }
        let https_port = self.https.get().map(|https| https.port);
        let mut response = match plain::refusal(peer, &parts, https_port) {
            Some(refusal) => refusal,
            None => {
                let host = named_host(&parts);
                let headers = std::mem::take(&mut parts.headers);
                parts.extensions.insert(Arrival::new(peer, request_id, host, headers, body));
                self.handle(parts, request_id).await
            }
        };
        if let Some(error) = response.extensions_mut().remove::<ApiError>() {
            let headers = std::mem::take(response.headers_mut());
            response = error.render(&path, request_id, problem_json);
            response.headers_mut().extend(headers);
        }
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&request_id.to_string()) {
            headers.insert(X_REQUEST_ID.clone(), id);
        }
        if matches!(peer, Peer::Tls(_)) && self.https.get().is_some_and(|https| https.insists) {
            headers.insert(STRICT_TRANSPORT_SECURITY, HSTS.clone());
        }
        let unread = !body_finished.load(Ordering::Acquire);
        if unread && version < Version::HTTP_2 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        log_request(&method, &path, response.status(), started, request_id);
        response
    }

    async fn handle(&self, parts: Parts, request_id: RequestId) -> Response {
        let request = hyper::Request::from_parts(parts, http_body_util::Empty::<bytes::Bytes>::new());
        let mut service = warp::service(self.filter.clone());
        let answered = AssertUnwindSafe(async move { service.call(request).await }).catch_unwind().await;
        match answered {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => panicked(&*panic, request_id).into_response(),
        }
    }
}

/// The host a client named: HTTP/2 does it in the address, HTTP/1.1 in a header.
fn named_host(parts: &Parts) -> Option<Arc<str>> {
    let header = || parts.headers.get(HOST)?.to_str().ok();
    parts.uri.authority().map(|authority| authority.as_str()).or_else(header).map(Arc::from)
}

fn panicked(panic: &(dyn Any + Send), request_id: RequestId) -> ApiError {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    log::error!(request_id:% = request_id; "a request panicked: {message}");
    ApiError::new(&INTERNAL, "Something went wrong on our side.")
}

/// One line a request; paths hold ids only, never numbers or names. Query strings are left out.
fn log_request(method: &Method, path: &str, status: StatusCode, started: Instant, request_id: RequestId) {
    let level = if status.is_server_error() { log::Level::Warn } else { log::Level::Debug };
    log::log!(
        level,
        request_id:% = request_id;
        "{method} {path} {} in {} ms",
        status.as_u16(),
        started.elapsed().as_millis()
    );
}

/// How many connections each address holds.
struct PerAddress {
    limit: usize,
    held: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place in that count; given back on drop.
struct Place {
    shared: Arc<Shared>,
    address: Option<IpAddr>,
}

impl PerAddress {
    fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), held: Mutex::new(HashMap::new()) }
    }

    fn take(shared: &Arc<Shared>, peer: Peer) -> Option<Place> {
        // Reverse proxies and local tools come from loopback; one limit for all of them would be
        // a limit for everybody.
        let address = peer.ip().filter(|address| !address.is_loopback());
        if let Some(address) = address {
            let this = &shared.per_address;
            let mut held = this.held.lock().unwrap_or_else(PoisonError::into_inner);
            let count = held.entry(address).or_insert(0);
            if *count >= this.limit {
                return None;
            }
            *count += 1;
        }
        Some(Place { shared: shared.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut held = self.shared.per_address.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&address);
            }
        }
    }
}
