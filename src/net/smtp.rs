//! Handing messages to a mail server.
//!
//! Owns: the connection, its safety and its time; what is said over it is [`dialogue`]'s. Own code and no
//! client library, because those look names up by the system's resolver, which a static executable cannot
//! use; the dialogue is nine commands, and bounded here in size and time. Refuses: servers whose certificate
//! the system's authorities do not vouch for, anything unencrypted that leaves this machine, and long or
//! slow replies.

mod dialogue;
mod reply;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use self::dialogue::{Action, Dialogue, Stop};
pub use self::dialogue::{Envelope, Login, Step};
pub use self::reply::Reply;
use self::reply::{NoReply, Replies};
use super::client::trusting_system;
use super::dns::{Dns, DnsError};
use super::names::is_host_name;
use super::tls::TlsError;

/// One address has this long to take a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// The whole dialogue has this long; servers that make strangers wait do so for half a minute.
const DIALOGUE_TIME: Duration = Duration::from_secs(60);
/// How long a server has to say goodbye; what it took, it has.
const GOODBYE_TIME: Duration = Duration::from_secs(2);
/// Addresses of one name that are tried.
const ADDRESSES_TRIED: usize = 3;

/// Name and port of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// The text is no host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a host and port, like mail.example.org:587")]
pub struct InvalidHostPort;

impl HostPort {
    /// Whether it is this machine by its own words.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => write!(f, "[{address}]:{}", self.port),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for HostPort {
    type Err = InvalidHostPort;

    fn from_str(text: &str) -> Result<Self, InvalidHostPort> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidHostPort)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match bare {
            Some(bare) => bare.parse::<Ipv6Addr>().is_ok(),
            None => is_host_name(host),
        };
        let port = port.parse().ok().filter(|port| *port > 0).filter(|_| is_host).ok_or(InvalidHostPort)?;
        Ok(Self { host: bare.unwrap_or(host).to_ascii_lowercase(), port })
    }
}

/// How the way to the server is kept safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// TLS is asked for after the greeting; without it nothing is sent. Port 587.
    #[default]
    StartTls,
    /// TLS from the first byte. Port 465.
    Tls,
    /// None; on this machine alone.
    None,
}

impl Security {
    const ALL: [Self; 3] = [Self::StartTls, Self::Tls, Self::None];

    /// The word of the setting.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Tls => "tls",
            Self::None => "none",
        }
    }

    /// What the word means.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|security| security.as_str() == word)
    }
}

/// A mail server, and how it takes messages from us.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it is.
    pub address: HostPort,
    /// How the way there is kept safe.
    pub security: Security,
    /// Who we are there, if it asks.
    pub login: Option<Login>,
}

/// Why a message was not taken. Said to administrators, as the end of a sentence.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// Its name has no address.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// It would have been sent unencrypted to another machine.
    #[error("mail.security none is for this machine alone, and {0} is another")]
    NotLoopback(IpAddr),
    /// No connection.
    #[error("no connection to {0}")]
    Unreachable(SocketAddr, #[source] io::Error),
    /// Its certificate is not vouched for, or it speaks no TLS.
    #[error("no safe connection to {0}")]
    Untrusted(SocketAddr, #[source] io::Error),
    /// No TLS at all.
    #[error("TLS cannot be used")]
    Tls(#[from] TlsError),
    /// It hung up.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    /// It speaks something else.
    #[error(transparent)]
    NoReply(#[from] NoReply),
    /// It does not offer what mail.security asks for.
    #[error("the server offers no TLS (STARTTLS) on this port")]
    NoTls,
    /// It offers no way to log in that we know.
    #[error("the server offers no login with user name and password (AUTH PLAIN or LOGIN)")]
    NoLogin,
    /// It was not done in time.
    #[error("the server was not done within 60 seconds")]
    TimedOut,
    /// It refused.
    #[error("the server refused {}: {reply}", .step.in_words())]
    Refused {
        /// What.
        step: Step,
        /// What it said.
        reply: Reply,
    },
}

impl SmtpError {
    /// Whether the same message will never be taken: the server says so for good, of the message or its
    /// recipient. What it says of us may change with our settings or its own.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refused { step: Step::Recipient | Step::Announcement | Step::Message, reply }
            if reply.code() >= 500)
    }
}

/// Hands messages to mail servers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SmtpClient {
    dns: Dns,
}

impl SmtpClient {
    /// Hands one message to a server; what it said when it took it.
    pub async fn send(&self, server: &Server, envelope: &Envelope) -> Result<Reply, SmtpError> {
        self.converse(server, Some(envelope)).await
    }

    /// Connects and logs in, and sends nothing; the last thing the server said.
    pub async fn check(&self, server: &Server) -> Result<Reply, SmtpError> {
        self.converse(server, None).await
    }

    async fn converse(&self, server: &Server, envelope: Option<&Envelope>) -> Result<Reply, SmtpError> {
        let dialogue = async {
            let (address, mut stream) = self.connect(server).await?;
            let upgrades = server.security == Security::StartTls;
            let name = own_name(stream.local_addr()?.ip());
            let dialogue = Dialogue::new(name, upgrades, server.login.as_ref(), envelope);
            let mut talk = Talk { dialogue, replies: Replies::default() };
            if server.security != Security::Tls {
                match talk.until_turn(&mut stream, None).await? {
                    Turn::Done(reply) => return Ok(parted(reply, stream)),
                    Turn::Secure => {}
                }
            }
            let mut stream = secure(server, address, stream).await?;
            let first = upgrades.then(|| talk.dialogue.begin_secure());
            match talk.until_turn(&mut stream, first).await? {
                Turn::Done(reply) => Ok(parted(reply, stream)),
                // Asked for once only.
                Turn::Secure => Err(NoReply.into()),
            }
        };
        tokio::time::timeout(DIALOGUE_TIME, dialogue).await.map_err(|_| SmtpError::TimedOut)?
    }

    /// A connection to one of the server's addresses.
    async fn connect(&self, server: &Server) -> Result<(SocketAddr, TcpStream), SmtpError> {
        let HostPort { host, port } = &server.address;
        let (mut last, mut tried) = (None, 0);
        for address in self.dns.addresses(host).await? {
            let address = address.to_canonical();
            if server.security == Security::None && !address.is_loopback() {
                last.get_or_insert(SmtpError::NotLoopback(address));
                continue;
            }
            if tried == ADDRESSES_TRIED {
                break;
            }
            tried += 1;
            let address = SocketAddr::new(address, *port);
            let connecting = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(address));
            match connecting.await.unwrap_or_else(|late| Err(late.into())) {
                Ok(stream) => return Ok((address, stream)),
                Err(error) => last = Some(SmtpError::Unreachable(address, error)),
            }
        }
        Err(last.unwrap_or_else(|| DnsError::NoAddress(host.clone()).into()))
    }
}

async fn secure(
    server: &Server,
    address: SocketAddr,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, SmtpError> {
    // Read each time, so that an authority that is added is trusted without a restart.
    let settings = trusting_system()?;
    let untrusted = |error| SmtpError::Untrusted(address, error);
    let name = ServerName::try_from(server.address.host.clone());
    let name = name.map_err(|error| untrusted(io::Error::other(error)))?;
    TlsConnector::from(settings).connect(name, stream).await.map_err(untrusted)
}

/// How we name ourselves: by the address the server sees, which needs no name of ours to be known there
/// (RFC 5321 section 4.1.3).
fn own_name(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// A dialogue on its way over a connection.
struct Talk<'a> {
    dialogue: Dialogue<'a>,
    replies: Replies,
}

enum Turn {
    Secure,
    Done(Reply),
}

impl Talk<'_> {
    /// Goes on until the connection is to be made safe, or the end.
    async fn until_turn<S>(&mut self, stream: &mut S, first: Option<Action>) -> Result<Turn, SmtpError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut next = first;
        loop {
            if let Some(Action::Say(bytes)) = &next {
                stream.write_all(bytes).await?;
                stream.flush().await?;
            }
            let reply = self.hear(stream).await?;
            let action = self.dialogue.heard(&reply).map_err(|stop| match stop {
                Stop::Refused(step) => SmtpError::Refused { step, reply: reply.clone() },
                Stop::NoTls => SmtpError::NoTls,
                Stop::NoLogin => SmtpError::NoLogin,
            })?;
            match action {
                Action::Say(_) => next = Some(action),
                // What came in the clear behind it could be anybody's (RFC 3207 section 6).
                Action::SecureNow if self.replies.is_ahead() => return Err(NoReply.into()),
                Action::SecureNow => return Ok(Turn::Secure),
                Action::Done => return Ok(Turn::Done(reply)),
            }
        }
    }

    async fn hear(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<Reply, SmtpError> {
        let mut bytes = [0; 1024];
        loop {
            if let Some(reply) = self.replies.next()? {
                return Ok(reply);
            }
            match stream.read(&mut bytes).await? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                length => self.replies.take(&bytes[..length]),
            }
        }
    }
}

/// Ends the session as servers like it. Nobody waits for that, and nothing depends on it: what the server
/// took, it has.
fn parted<S>(reply: Reply, mut stream: S) -> Reply
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(tokio::time::timeout(GOODBYE_TIME, async move {
        stream.write_all(b"QUIT\r\n").await?;
        stream.flush().await?;
        let _ = stream.read(&mut [0; 256]).await?;
        stream.shutdown().await
    }));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_host_and_port() {
        for (text, host, port, is_loopback) in [
            ("mail.example.org:587", "mail.example.org", 587, false),
            ("Mail:25", "mail", 25, false),
            ("localhost:25", "localhost", 25, true),
            ("127.0.0.1:2525", "127.0.0.1", 2525, true),
            ("192.0.2.1:25", "192.0.2.1", 25, false),
            ("[::1]:25", "::1", 25, true),
            ("[2001:db8::1]:465", "2001:db8::1", 465, false),
        ] {
            let read: HostPort = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((read.host.as_str(), read.port, read.is_loopback()), (host, port, is_loopback));
            assert_eq!(read.to_string(), text.to_ascii_lowercase());
        }
        for bad in
            ["", "mail", "mail:", "mail:0", "mail:70000", ":25", "a b:25", "[mail]:25", "::1:25", "x\r\n:25"]
        {
            assert_eq!(bad.parse::<HostPort>(), Err(InvalidHostPort), "{bad:?}");
        }
        assert_eq!(own_name("::ffff:192.0.2.1".parse().unwrap()), "[192.0.2.1]");
        assert_eq!(own_name("2001:db8::1".parse().unwrap()), "[IPv6:2001:db8::1]");
    }

    #[tokio::test]
    async fn nothing_unencrypted_leaves_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let say = |_: &str| Some(vec![[192, 0, 2, 1].into()]);
        let (dns, _) = crate::net::dns::tests::server(folder.path(), say).await;
        let address = "mail.example.org:25".parse().unwrap();
        let server = Server { address, security: Security::None, login: None };
        let error = SmtpClient { dns }.check(&server).await.unwrap_err();
        assert!(matches!(error, SmtpError::NotLoopback(_)), "{error}");
    }
}
