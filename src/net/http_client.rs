//! Calls to web servers of others.
//!
//! Owns: reading the address of a target, and one POST to it. A name is resolved once, each address
//! is checked, and the connection goes to a checked one, so that a name cannot mean something else
//! a moment later. Refuses: addresses outside [`Reach`], plain HTTP but to networks that were named,
//! certificates the system's authorities do not vouch for, redirects (they are answers like any
//! other), long answers and slow ones.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::trusting_system;
use super::dns::{Dns, DnsError};
use super::names::is_host_name;
use super::reach::Reach;
use super::tls::TlsError;

/// One address has this long to take a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// A call has this long in all.
const CALL_TIME: Duration = Duration::from_secs(15);
/// Addresses of one name that are tried.
const ADDRESSES_TRIED: usize = 3;
/// Bytes of an answer's head that are taken.
const HEAD_BYTES: usize = 32 * 1024;
/// Bytes of an answer's body that are read, and dropped: only its status counts.
const ANSWER_BYTES: usize = 64 * 1024;
/// How long that may take.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// Longest address of a target.
const TARGET_LEN: usize = 1000;

/// Where a call goes: the address of a web server, read and split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: String,
    is_secure: bool,
    host: String,
    port: u16,
    path: String,
}

/// The text is no address we could call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// It does not begin with `https://` or `http://`.
    #[error("must begin with https:// (or http:// for a listed network)")]
    Scheme,
    /// It carries a name or password.
    #[error("must not hold a user name or password")]
    Credentials,
    /// Its host is neither a name nor an address.
    #[error("must name a host, like https://hooks.example.org/fax")]
    Host,
    /// Its port is no port.
    #[error("has a port that is no number from 1 to 65535")]
    Port,
    /// Something in it cannot be sent.
    #[error("must be at most 1000 characters of ASCII without spaces; write others as %20")]
    Characters,
}

impl Target {
    /// Whether it is called over HTTPS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Its host, when that is written as an address.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// It up to its path, where passwords of sorts may begin.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.is_secure { "https" } else { "http" }, self.authority())
    }

    /// As the `Host` field has it.
    fn authority(&self) -> String {
        let host = match self.host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => self.host.clone(),
        };
        let usual = if self.is_secure { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        if text.len() > TARGET_LEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidTarget::Characters);
        }
        let text = text.split('#').next().unwrap_or_default();
        let (scheme, rest) = text.split_once("://").ok_or(InvalidTarget::Scheme)?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(InvalidTarget::Scheme),
        };
        let end = rest.find(['/', '?', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(InvalidTarget::Credentials);
        }
        let (host, port) = match authority.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((host, port))) => {
                host.parse::<Ipv6Addr>().map_err(|_| InvalidTarget::Host)?;
                (host, port)
            }
            Some(None) => return Err(InvalidTarget::Host),
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => digits.parse().ok().filter(|port| *port > 0).ok_or(InvalidTarget::Port)?,
            None if port.is_empty() => {
                if is_secure {
                    443
                } else {
                    80
                }
            }
            None => return Err(InvalidTarget::Port),
        };
        // A last label of digits would be an address to some: 127.1, 0x7f.1, 2130706433.
        let last_label = host.rsplit('.').next().unwrap_or_default();
        let is_odd = last_label.starts_with(|first: char| first.is_ascii_digit());
        let is_host = host.parse::<IpAddr>().is_ok() || (is_host_name(host) && !is_odd);
        if !is_host || path.contains('\\') {
            return Err(InvalidTarget::Host);
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let host = host.to_ascii_lowercase();
        path.parse::<hyper::Uri>().map_err(|_| InvalidTarget::Characters)?;
        Ok(Self { text: text.to_owned(), is_secure, host, port, path })
    }
}

/// Why a call brought no answer. Said to administrators, as the end of a sentence.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Its name has no address.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// It leads where nothing may be called.
    #[error("{0} is not an address of the public internet, nor of a network in webhooks.allow")]
    NotAllowed(IpAddr),
    /// Plain HTTP to somewhere that was not named.
    #[error("plain HTTP is for networks in webhooks.allow, and {0} is in none; use https://")]
    Plain(IpAddr),
    /// No connection.
    #[error("no connection to {0}")]
    Unreachable(SocketAddr, #[source] std::io::Error),
    /// Its certificate is not vouched for, or it speaks no TLS.
    #[error("no safe connection to {0}")]
    Untrusted(SocketAddr, #[source] std::io::Error),
    /// No TLS at all.
    #[error("HTTPS cannot be used")]
    Tls(#[from] TlsError),
    /// It hung up, or answered something else than HTTP.
    #[error("the connection broke before an answer")]
    Broken(#[from] hyper::Error),
    /// It did not answer in time.
    #[error("no answer within 15 seconds")]
    TimedOut,
    /// Something in the request cannot be sent.
    #[error("the request cannot be written")]
    Request(#[from] hyper::http::Error),
}

/// Calls web servers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct HttpClient {
    dns: Dns,
    reach: Arc<Reach>,
    /// Read at the first call over HTTPS.
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl HttpClient {
    /// A client that calls only within `reach`.
    pub fn within(reach: Reach) -> Self {
        Self { reach: Arc::new(reach), ..Self::default() }
    }

    /// Where it may call.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Posts `body` and answers the status. Redirects are not followed.
    pub async fn post(
        &self,
        target: &Target,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<u16, CallError> {
        let call = async {
            let mut request = Request::post(&target.path)
                .header(HOST, target.authority())
                .header(USER_AGENT, concat!("Pagewire/", env!("CARGO_PKG_VERSION")))
                .header(CONNECTION, "close");
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            let request = request.body(Full::new(body))?;
            let (address, stream) = self.connect(target).await?;
            if !target.is_secure {
                return exchange(stream, request).await;
            }
            let name = ServerName::try_from(target.host.clone());
            let name = name.map_err(|error| CallError::Untrusted(address, std::io::Error::other(error)))?;
            let connected = TlsConnector::from(self.tls()?).connect(name, stream).await;
            exchange(connected.map_err(|error| CallError::Untrusted(address, error))?, request).await
        };
        tokio::time::timeout(CALL_TIME, call).await.map_err(|_| CallError::TimedOut)?
    }

    /// A connection to one of the target's addresses that may be called.
    async fn connect(&self, target: &Target) -> Result<(SocketAddr, TcpStream), CallError> {
        let mut last = None;
        let mut tried = 0;
        for address in self.dns.addresses(&target.host).await? {
            let address = address.to_canonical();
            if !self.reach.permits(address) {
                last.get_or_insert(CallError::NotAllowed(address));
                continue;
            }
            if !target.is_secure && !self.reach.is_listed(address) {
                last.get_or_insert(CallError::Plain(address));
                continue;
            }
            if tried == ADDRESSES_TRIED {
                break;
            }
            tried += 1;
            let address = SocketAddr::new(address, target.port);
            let connecting = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(address));
            match connecting.await.unwrap_or_else(|late| Err(late.into())) {
                Ok(stream) => return Ok((address, stream)),
                Err(error) => last = Some(CallError::Unreachable(address, error)),
            }
        }
        Err(last.unwrap_or_else(|| DnsError::NoAddress(target.host.clone()).into()))
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(settings) = self.tls.get() {
            return Ok(settings.clone());
        }
        let settings = trusting_system()?;
        Ok(self.tls.get_or_init(|| settings).clone())
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<u16, CallError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        // Read on for a while, so that who answers at length is not cut off in the middle of it.
        let reading = read_on(response.into_body());
        let _ = tokio::time::timeout(ANSWER_TIME, reading).await;
        Ok(status)
    };
    // Polled together, so that dropping the call drops the connection.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answered = &mut answer => answered,
        ended = &mut connection => match ended {
            // The answer may have come with the end of the connection.
            Ok(()) => answer.await,
            Err(error) => Err(error.into()),
        },
    }
}

async fn read_on(mut body: Incoming) {
    let mut left = ANSWER_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_targets() {
        let good = [
            ("https://hooks.example.org", "hooks.example.org", 443, "/"),
            ("HTTPS://Hooks.Example.org/a/b?c=d#e", "hooks.example.org", 443, "/a/b?c=d"),
            ("https://hooks.example.org?x=1", "hooks.example.org", 443, "/?x=1"),
            ("http://192.168.1.20:8123/api", "192.168.1.20", 8123, "/api"),
            ("https://[2606:4700::1]:8443/x", "2606:4700::1", 8443, "/x"),
            ("https://printer/x", "printer", 443, "/x"),
        ];
        for (text, host, port, path) in good {
            let target: Target = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                (target.host.as_str(), target.port, target.path.as_str()),
                (host, port, path),
                "{text}"
            );
        }
        let bad = [
            ("ftp://example.org", InvalidTarget::Scheme),
            ("example.org/x", InvalidTarget::Scheme),
            ("file:///etc/passwd", InvalidTarget::Scheme),
            ("https://user:pw@example.org", InvalidTarget::Credentials),
            ("https://example.org@127.0.0.1/", InvalidTarget::Credentials),
            ("https://", InvalidTarget::Host),
            ("https:///x", InvalidTarget::Host),
            ("https://2130706433/", InvalidTarget::Host),
            ("https://127.1/", InvalidTarget::Host),
            ("https://0x7f.0x0.0x0.0x1/", InvalidTarget::Host),
            ("https://[::1/", InvalidTarget::Host),
            ("https://[127.0.0.1]/", InvalidTarget::Host),
            ("https://example.org\\@127.0.0.1/", InvalidTarget::Host),
            ("https://example.org:0/", InvalidTarget::Port),
            ("https://example.org:70000/", InvalidTarget::Port),
            ("https://[::1]x/", InvalidTarget::Port),
            ("https://example.org/a b", InvalidTarget::Characters),
            ("https://exämple.org/", InvalidTarget::Characters),
            ("https://example.org/\r\nx: y", InvalidTarget::Characters),
        ];
        for (text, error) in bad {
            assert_eq!(text.parse::<Target>(), Err(error), "{text}");
        }
    }

    #[test]
    fn names_the_host_as_it_was_meant() {
        for (text, authority) in [
            ("https://example.org/x", "example.org"),
            ("https://example.org:8443/x", "example.org:8443"),
            ("http://[::1]:80/x", "[::1]"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().authority(), authority);
        }
    }

    /// Calls this machine at a port, by the addresses and names `say` gives out.
    fn client(dns: Dns, allowed: &[&str]) -> HttpClient {
        let allowed = allowed.iter().map(|network| network.parse().unwrap()).collect();
        HttpClient { dns, ..HttpClient::within(Reach::beyond_public(allowed)) }
    }

    async fn post(client: &HttpClient, url: &str) -> Result<u16, CallError> {
        client
            .post(&url.parse().unwrap(), &[("webhook-id", "msg_1".to_owned())], Bytes::from_static(b"{}"))
            .await
    }

    #[tokio::test]
    async fn calls_nobody_who_was_not_named() {
        // Somebody listens there, and is not called.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let nobody = client(Dns::default(), &[]);
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]"] {
            let error = post(&nobody, &format!("https://{host}:{port}/")).await.unwrap_err();
            assert!(
                matches!(error, CallError::NotAllowed(address) if address.is_loopback()),
                "{host}: {error}"
            );
        }
        let other = client(Dns::default(), &["127.0.0.2", "169.254.0.0/16"]);
        for url in [&format!("http://127.0.0.1:{port}/"), "https://169.254.169.254/latest"] {
            let error = post(&other, url).await.unwrap_err();
            assert!(matches!(error, CallError::NotAllowed(_)), "{url}: {error}");
        }
        let error = post(&other, "http://8.8.8.8:9/").await.unwrap_err();
        assert!(matches!(error, CallError::Plain(_)), "{error}");
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn a_name_is_asked_for_once_and_only_checked_addresses_are_called() {
        let folder = tempfile::tempdir().unwrap();
        // At first it leads to a listed address beside one that is not; a moment later to that alone.
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let say = move |_: &str| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Some(vec![[127, 0, 0, 2].into(), [127, 0, 0, 1].into()]),
            _ => Some(vec![[127, 0, 0, 2].into()]),
        };
        let (dns, questions) = crate::net::dns::tests::server(folder.path(), say).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let never = std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
        let answering = tokio::spawn(answer_each(listener, &["HTTP/1.1 204 No Content\r\n\r\n"]));
        let client = client(dns, &["127.0.0.1"]);
        let url = format!("http://hooks.example.org:{port}/");
        assert_eq!(post(&client, &url).await.unwrap(), 204);
        assert_eq!(questions.load(std::sync::atomic::Ordering::SeqCst), 1);
        let head = answering.await.unwrap().remove(0);
        assert!(head.contains(&format!("host: hooks.example.org:{port}\r\n")), "{head}");
        let error = post(&client, &url).await.unwrap_err();
        assert!(matches!(error, CallError::NotAllowed(_)), "{error}");
        never.set_nonblocking(true).unwrap();
        assert_eq!(never.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    /// Answers one connection after the other, and closes it; returns what was sent to each.
    async fn answer_each(listener: tokio::net::TcpListener, answers: &'static [&'static str]) -> Vec<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"{}") {
                stream.read_buf(&mut request).await.unwrap();
            }
            requests.push(String::from_utf8(request).unwrap());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        requests
    }

    #[tokio::test]
    async fn takes_the_status_and_follows_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?key=1", listener.local_addr().unwrap());
        let answers = [
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\nand no more",
            "nonsense\r\n\r\n",
        ];
        let serving = tokio::spawn(answer_each(listener, Box::leak(Box::new(answers))));
        let client = client(Dns::default(), &["127.0.0.0/8"]);
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(post(&client, &url).await.ok());
        }
        assert_eq!(statuses, [Some(204), Some(302), Some(200), None]);
        let requests = serving.await.unwrap();
        assert!(requests[0].starts_with("POST /hook?key=1 HTTP/1.1\r\n"), "{}", requests[0]);
        assert!(requests[0].contains("webhook-id: msg_1\r\n"), "{}", requests[0]);
    }

    #[tokio::test]
    async fn goes_only_to_servers_whose_certificate_is_vouched_for() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let folder = tempfile::tempdir().unwrap();
        let (dns, _) =
            crate::net::dns::tests::server(folder.path(), |_| Some(vec![[127, 0, 0, 1].into()])).await;
        let kek = crate::seal::KeyEncryptionKey::load(&folder.path().join("keys"), true).unwrap();
        let seal = Arc::new(crate::seal::Seal::create(&kek).unwrap().0);
        let configured = ["hooks.example.org".to_owned()];
        let names = crate::net::names::Names::of_machine(&configured);
        let now = jiff::Timestamp::now();
        let authority = crate::net::authority::Authority::open(
            &folder.path().join("authority"),
            &seal,
            &names,
            &configured,
            now,
        )
        .unwrap();
        let pem = folder.path().join("ca.pem");
        std::fs::write(&pem, authority.pem()).unwrap();
        let issued = authority.issue(&names, now).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.certificate], issued.key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = Vec::new();
                while !request.ends_with(b"{}") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        });
        let trusting = client(dns.clone(), &["127.0.0.1"]);
        trusting.tls.set(crate::net::client::trusting(&pem).unwrap()).unwrap();
        for host in ["hooks.example.org", "127.0.0.1"] {
            assert_eq!(post(&trusting, &format!("https://{host}:{port}/")).await.unwrap(), 200, "{host}");
        }
        let other_name = post(&trusting, &format!("https://other.example.org:{port}/")).await.unwrap_err();
        assert!(matches!(other_name, CallError::Untrusted(..)), "{other_name}");
        let other_authority = folder.path().join("other.pem");
        std::fs::write(&other_authority, "").unwrap();
        let stranger = client(dns, &["127.0.0.1"]);
        stranger.tls.set(crate::net::client::trusting(&other_authority).unwrap()).unwrap();
        let untrusted = post(&stranger, &format!("https://hooks.example.org:{port}/")).await.unwrap_err();
        assert!(matches!(untrusted, CallError::Untrusted(..)), "{untrusted}");
    }
}
