//! A mail server with STARTTLS and logins, which tells all it got.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64ct::{Base64, Encoding};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// A reply that never comes.
pub const NEVER: &str = "";
/// What the end of a message is called to who decides on replies.
pub const MESSAGE: &str = "(message)";

/// One message, or an attempt that was refused.
#[derive(Clone, Debug, Default)]
pub struct Got {
    /// Whether it came over TLS.
    pub is_secure: bool,
    /// User name and password it came with.
    pub login: Option<(String, String)>,
    pub from: String,
    pub to: String,
    /// As it was meant: without the dots of the dialogue.
    pub message: String,
    /// All that was said to us on the connection, without the message.
    pub said: Vec<String>,
}

impl Got {
    /// One header.
    pub fn header(&self, name: &str) -> &str {
        let (headers, _) = self.message.split_once("\r\n\r\n").unwrap();
        let line = headers.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name}: {headers}"))
    }

    pub fn body(&self) -> &str {
        self.message.split_once("\r\n\r\n").unwrap().1
    }
}

/// What a server says to a command in place of the usual reply.
type Answering = dyn FnMut(&str) -> Option<&'static str> + Send;

struct Shared {
    answer: Mutex<Box<Answering>>,
    tell: mpsc::UnboundedSender<Got>,
    acceptor: TlsAcceptor,
}

pub struct MailServer {
    pub address: SocketAddr,
    /// Messages it took.
    pub told: mpsc::UnboundedReceiver<Got>,
    /// File of the authority that vouches for it.
    pub authority: PathBuf,
}

impl MailServer {
    /// Listens; `answer` gives a reply to a command in place of the usual one.
    pub async fn start(
        folder: &Path,
        address: SocketAddr,
        answer: impl FnMut(&str) -> Option<&'static str> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        let (authority, acceptor) = certified(folder);
        let shared = Arc::new(Shared { answer: Mutex::new(Box::new(answer)), tell, acceptor });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let mut got = Got::default();
                    let Some(stream) = session(stream, true, &mut got, &shared).await else { return };
                    let Ok(stream) = shared.acceptor.accept(stream).await else { return };
                    got.is_secure = true;
                    session(stream, false, &mut got, &shared).await;
                });
            }
        });
        Self { address, told, authority }
    }

    /// Settings of an appliance that sends over it.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("PAGEWIRE_MAIL_SERVER", format!("localhost:{}", self.address.port())),
            ("PAGEWIRE_MAIL_FROM", "fax@appliance.example".to_owned()),
            ("PAGEWIRE_MAIL_USER", "fax".to_owned()),
            ("PAGEWIRE_MAIL_PASSWORD", "pass word of the tests".to_owned()),
            ("SSL_CERT_FILE", self.authority.display().to_string()),
        ]
    }
}

/// An authority's file, and what accepts TLS with a certificate it signed.
fn certified(folder: &Path) -> (PathBuf, TlsAcceptor) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let own_key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&own_key, &issuer).unwrap();
    let file = folder.join("mail-authority.pem");
    std::fs::write(&file, pem).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(own_key.serialize_der()).into(),
        )
        .unwrap();
    (file, TlsAcceptor::from(Arc::new(config)))
}

/// Speaks with one client, until it asks for TLS, which gives back the connection, or leaves.
async fn session<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    greets: bool,
    got: &mut Got,
    shared: &Shared,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    if greets {
        say(&mut stream, reply("(connection)", shared, "220-mail.test\n220 ready")).await?;
    }
    loop {
        let line = hear(&mut stream).await?;
        got.said.push(line.clone());
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" if got.is_secure => {
                let offers = "250-mail.test greets you\n250-SIZE 1000000\n250 AUTH PLAIN LOGIN";
                say(&mut stream, reply(&line, shared, offers)).await?;
            }
            "EHLO" => {
                say(&mut stream, reply(&line, shared, "250-mail.test\n250-PIPELINING\n250 STARTTLS")).await?;
            }
            "STARTTLS" => {
                say(&mut stream, reply(&line, shared, "220 go ahead")).await?;
                return Some(stream.into_inner());
            }
            "AUTH" => {
                let plain = Base64::decode_vec(line.split(' ').nth(2).unwrap()).unwrap();
                let plain = String::from_utf8(plain).unwrap();
                let parts: Vec<&str> = plain.split('\0').collect();
                got.login = Some((parts[1].to_owned(), parts[2].to_owned()));
                say(&mut stream, reply(&line, shared, "235 2.7.0 welcome")).await?;
            }
            "MAIL" => {
                got.from = line.clone();
                say(&mut stream, reply(&line, shared, "250 2.1.0 ok")).await?;
            }
            "RCPT" => {
                got.to = line.clone();
                say(&mut stream, reply(&line, shared, "250 2.1.5 ok")).await?;
            }
            "DATA" => {
                say(&mut stream, reply(&line, shared, "354 end with a dot")).await?;
                got.message.clear();
                loop {
                    match hear(&mut stream).await?.as_str() {
                        "." => break,
                        text => got.message += &format!("{}\r\n", text.strip_prefix('.').unwrap_or(text)),
                    }
                }
                let answer = reply(MESSAGE, shared, "250 2.0.0 queued as 42");
                let is_taken = answer.starts_with('2');
                // Told first, so that who waits for it knows of it before the client does.
                if is_taken {
                    let _ = shared.tell.send(got.clone());
                }
                say(&mut stream, answer).await?;
            }
            _ => {
                say(&mut stream, "221 bye").await?;
                return None;
            }
        }
    }
}

fn reply(command: &str, shared: &Shared, usual: &'static str) -> &'static str {
    shared.answer.lock().unwrap()(command).unwrap_or(usual)
}

async fn hear(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await {
        Ok(1..) => Some(line.strip_suffix("\r\n").expect("lines end in CR and LF").to_owned()),
        _ => None,
    }
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), reply: &str) -> Option<()> {
    if reply == NEVER {
        std::future::pending::<()>().await;
    }
    stream.write_all(format!("{}\r\n", reply.replace('\n', "\r\n")).as_bytes()).await.ok()?;
    stream.flush().await.ok()
}
