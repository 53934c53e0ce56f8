//! The client side of the API, for the commands: over the admin socket, or over HTTP or HTTPS with a key.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::net::client::trusting;
use crate::net::tls::TlsError;
use crate::secret::Secret;
use crate::serve::socket_in;

/// Longer than any answer of the server takes, long polls included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// Why a command got no good answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("no Pagewire is running here (no answer on {}); start it, or name its folder with --data-dir", .0.display())]
    NotRunning(PathBuf, #[source] std::io::Error),
    #[error("no answer from {0}")]
    Unreachable(SocketAddr, #[source] std::io::Error),
    #[error("'{0}' is not an address like https://192.168.1.20:8443 (an IP address or localhost)")]
    BadUrl(String),
    #[error("no safe connection to {0}")]
    Untrusted(SocketAddr, #[source] std::io::Error),
    #[error("HTTPS cannot be used")]
    Tls(#[from] TlsError),
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    #[error("the server took too long to answer")]
    TimedOut,
    #[error("the answer could not be written out")]
    Output(#[source] std::io::Error),
    #[error("{detail} (HTTP {status})")]
    Refused { status: u16, detail: String },
}

/// Where the server is, and how we show who we are.
pub(super) enum Client {
    /// On this machine; the system vouches for us.
    Local(PathBuf),
    /// Elsewhere; a key vouches for us.
    Remote {
        address: SocketAddr,
        key: Secret<String>,
        /// Over HTTPS: how the server is checked, and under which name.
        secured: Option<Box<(TlsConnector, ServerName<'static>)>>,
    },
}

impl Client {
    /// The server that uses this data folder.
    pub(super) fn local(data_dir: &Path) -> Self {
        Self::Local(socket_in(data_dir))
    }

    /// The server at `http://ADDRESS[:PORT]` or `https://ADDRESS[:PORT]`, the latter vouched for by
    /// an authority in the file `authorities`.
    pub(super) fn remote(url: &str, key: Secret<String>, authorities: &Path) -> Result<Self, ClientError> {
        let bad = || ClientError::BadUrl(url.to_owned());
        let (host, is_secure) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(host), _) => (host, true),
            (_, Some(host)) => (host, false),
            _ => return Err(bad()),
        };
        let host = host.trim_end_matches('/');
        let mut name = None;
        let address = match host.parse::<SocketAddr>() {
            Ok(address) => address,
            Err(_) => {
                let (host, port) =
                    host.split_once(':').unwrap_or((host, if is_secure { "443" } else { "80" }));
                let ip = match host {
                    "localhost" => {
                        name = ServerName::try_from("localhost").ok();
                        IpAddr::V4(Ipv4Addr::LOCALHOST)
                    }
                    host => host.parse().map_err(|_| bad())?,
                };
                SocketAddr::new(ip, port.parse().map_err(|_| bad())?)
            }
        };
        let secured = if is_secure {
            let name = name.unwrap_or_else(|| ServerName::from(address.ip()));
            Some(Box::new((TlsConnector::from(trusting(authorities)?), name)))
        } else {
            None
        };
        Ok(Self::Remote { address, key, secured })
    }

    /// Sends JSON (or nothing) and reads JSON; any status from 400 is an error.
    pub(super) async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let (body, media_type) = match body {
            Some(body) => (body.to_string(), Some("application/json")),
            None => (String::new(), None),
        };
        self.call(method, path, body.into(), media_type).await
    }

    /// Sends a body of any kind and reads JSON.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        media_type: Option<&str>,
    ) -> Result<Value, ClientError> {
        let answer = async {
            let response = self.send(method, path, body, media_type).await?;
            let body = response.into_body().collect().await.map_err(ClientError::Broken)?.to_bytes();
            Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
        };
        tokio::time::timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| ClientError::TimedOut)?
    }

    /// Gets what may be long, and writes it out as it comes.
    pub(super) async fn stream(&self, path: &str, out: &mut impl Write) -> Result<(), ClientError> {
        let wait = |_| ClientError::TimedOut;
        let asked = self.send(Method::GET, path, Bytes::new(), None);
        let mut body = tokio::time::timeout(ANSWER_TIMEOUT, asked).await.map_err(wait)??.into_body();
        while let Some(frame) = tokio::time::timeout(ANSWER_TIMEOUT, body.frame()).await.map_err(wait)? {
            if let Ok(data) = frame.map_err(ClientError::Broken)?.into_data() {
                out.write_all(&data).map_err(ClientError::Output)?;
            }
        }
        Ok(())
    }

    /// Sends a request; any status from 400 is an error.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        media_type: Option<&str>,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "pagewire");
        if let Some(media_type) = media_type {
            request = request.header(CONTENT_TYPE, media_type);
        }
        if let Self::Remote { key, .. } = self {
            request = request.header("x-api-key", key.reveal());
        }
        let request = request.body(Full::new(body)).map_err(|_| ClientError::BadUrl(path.to_owned()))?;
        match self {
            Self::Local(socket) => {
                let stream = UnixStream::connect(socket)
                    .await
                    .map_err(|error| ClientError::NotRunning(socket.clone(), error))?;
                exchange(stream, request).await
            }
            Self::Remote { address, secured, .. } => {
                let stream = TcpStream::connect(*address)
                    .await
                    .map_err(|error| ClientError::Unreachable(*address, error))?;
                let Some(secured) = secured else { return exchange(stream, request).await };
                let (connector, name) = secured.as_ref();
                let stream = connector
                    .connect(name.clone(), stream)
                    .await
                    .map_err(|error| ClientError::Untrusted(*address, error))?;
                exchange(stream, request).await
            }
        }
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(ClientError::Broken)?;
    // Runs until the answer is read; its error reaches us through the sender.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(ClientError::Broken)?;
    let status = response.status();
    if status.as_u16() >= 400 {
        let body = response.into_body().collect().await.map_err(ClientError::Broken)?.to_bytes();
        let json: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let detail = json["detail"].as_str().unwrap_or("The server refused without a reason.").to_owned();
        return Err(ClientError::Refused { status: status.as_u16(), detail });
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let cases = [
            ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("http://localhost:8080/", Some("127.0.0.1:8080")),
            ("http://192.0.2.7", Some("192.0.2.7:80")),
            ("http://[::1]:8080", Some("[::1]:8080")),
            ("ftp://127.0.0.1", None),
            ("http://fax.example:80", None),
        ];
        for (url, expected) in cases {
            let address = match Client::remote(url, Secret::new(String::new()), Path::new("/nowhere")) {
                Ok(Client::Remote { address, .. }) => Some(address.to_string()),
                _ => None,
            };
            assert_eq!(address.as_deref(), expected, "{url}");
        }
    }
}
