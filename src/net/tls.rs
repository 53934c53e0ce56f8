//! The certificate HTTPS clients see, always the current one.
//!
//! Owns: where it comes from (the local authority, or files of the administrator), its renewal
//! without a restart, and the TLS settings: 1.2 and 1.3, cryptography by ring. Invariant: what
//! cannot be used never replaces what works; the reason is logged.

mod validity;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::authority::{Authority, AuthorityError};
use super::names::Names;
use crate::clock::Clock;
use crate::seal::Seal;

/// How often files, own addresses and the certificate's age are looked at.
const LOOK: Duration = Duration::from_secs(120);

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or not readable.
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// A file holds no certificate or no key in PEM.
    #[error("{} holds no {what} in PEM form", file.display())]
    NotPem {
        /// The file.
        file: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// What is wrong.
        source: pem::Error,
    },
    /// The two files do not belong together, or hold what cannot be used.
    #[error("the certificate in {} cannot be used with the key in {}", certificate.display(), key.display())]
    Unusable {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The local authority does not work.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

/// Where the certificate comes from.
pub enum Source {
    /// The local authority.
    Local {
        /// The authority's sealed file.
        file: PathBuf,
        /// What opens it.
        seal: Arc<Seal>,
        /// Names and addresses the administrator wants in the certificate.
        configured: Vec<String>,
        /// Tells the machine's present names and addresses.
        names: Box<dyn Fn() -> Names + Send + Sync>,
    },
    /// Two PEM files of the administrator.
    Files {
        /// The certificate and those above it.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// A certificate that clients see from some moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its SHA-256, as `AB:CD:…`.
    pub certificate: String,
    /// That of the local authority's certificate, if it comes from there.
    pub authority: Option<String>,
    /// The administrator's file, if it comes from there.
    pub file: Option<PathBuf>,
}

/// The appliance's certificate.
pub struct Certificates {
    source: Source,
    clock: Clock,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    known: Mutex<Known>,
    /// Not asked for yet, oldest first.
    shown: Mutex<Vec<Shown>>,
    changed: Notify,
}

/// What the current certificate was made from.
enum Known {
    Local {
        authority: Arc<Authority>,
        names: Names,
        renew_at: Timestamp,
        left_out: Vec<String>,
    },
    /// Digest of both files, as last tried, so that the same failure is not told every time.
    Files([u8; 32]),
}

impl Certificates {
    /// Reads or makes the certificate.
    pub fn open(source: Source, clock: Clock) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let (current, known) = match &source {
            Source::Local { file, seal, configured, names } => {
                let (names, now) = (names(), clock.now());
                let authority = Arc::new(Authority::open(file, seal, &names, configured, now)?);
                let (current, renew_at, left_out) = issue(&authority, &names, now, &provider)?;
                warn_of(&left_out);
                (current, Known::Local { authority, names, renew_at, left_out })
            }
            Source::Files { certificate, key } => {
                let files = Files::read(certificate, key)?;
                (files.certified(certificate, key, &provider)?, Known::Files(files.digest()))
            }
        };
        let (current, known) = (RwLock::new(Arc::new(current)), Mutex::new(known));
        let (shown, changed) = (Mutex::default(), Notify::new());
        let this = Self { source, clock, provider, current, known, shown, changed };
        this.note_shown();
        Ok(Arc::new(this))
    }

    /// When the certificate that clients see ends; nothing when it does not say so legibly.
    pub fn ends_at(&self) -> Option<Timestamp> {
        validity::ends_at(self.current().cert.first()?)
    }

    /// Settings for TLS servers that show this certificate, for HTTP/2 and HTTP/1.1.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver(self.clone())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Whether the administrator gave the certificate.
    pub fn are_own(&self) -> bool {
        matches!(self.source, Source::Files { .. })
    }

    /// The local authority, if the certificate comes from it.
    pub fn authority(&self) -> Option<Arc<Authority>> {
        match &*self.known() {
            Known::Local { authority, .. } => Some(authority.clone()),
            Known::Files(_) => None,
        }
    }

    /// SHA-256 of what people compare, as `AB:CD:…`: the local authority's certificate, or the
    /// administrator's own.
    pub fn fingerprint(&self) -> String {
        match self.authority() {
            Some(authority) => fingerprint_of(authority.der()),
            None => self.current().cert.first().map(|own| fingerprint_of(own)).unwrap_or_default(),
        }
    }

    /// Renews the certificate if it is old, if the machine's names or addresses have changed, or
    /// if the files have; keeps the old one and says why if the new one cannot be used.
    pub fn refresh(&self) {
        if let Err(error) = self.try_refresh() {
            log::error!("the old HTTPS certificate stays: {}", chain(&error));
        }
    }

    /// Refreshes because somebody asks for it: tells again what is wrong with the files.
    pub fn reload(&self) {
        if let Known::Files(tried) = &mut *self.known() {
            *tried = [0; 32];
        }
        self.refresh();
    }

    /// Refreshes from time to time, for ever.
    pub fn keep(self: Arc<Self>) -> impl Future<Output = ()> + Send {
        // Taken before the first poll, so that a virtual clock waits for us from now on.
        let mut work = self.clock.work();
        async move {
            loop {
                work.sleep(LOOK).await;
                self.refresh();
            }
        }
    }

    fn try_refresh(&self) -> Result<(), TlsError> {
        match &self.source {
            Source::Local { file, seal, configured, names } => {
                self.refresh_local(names(), |names, now| Authority::open(file, seal, names, configured, now))
            }
            Source::Files { certificate, key } => {
                let files = Files::read(certificate, key)?;
                let digest = files.digest();
                if matches!(&*self.known(), Known::Files(tried) if *tried == digest) {
                    return Ok(());
                }
                *self.known() = Known::Files(digest);
                self.show(files.certified(certificate, key, &self.provider)?);
                log::info!("the HTTPS certificate in {} was read anew", certificate.display());
                Ok(())
            }
        }
    }

    fn refresh_local(
        &self,
        names: Names,
        open: impl Fn(&Names, Timestamp) -> Result<Authority, AuthorityError>,
    ) -> Result<(), TlsError> {
        let now = self.clock.now();
        let mut known = self.known();
        let Known::Local { authority, names: old_names, renew_at, left_out: old_left_out } = &mut *known
        else {
            return Ok(());
        };
        let ends_soon = authority.ends_soon(now);
        if now < *renew_at && names == *old_names && !ends_soon {
            return Ok(());
        }
        if ends_soon {
            *authority = Arc::new(open(&names, now)?);
        }
        let (issued, until, left_out) = issue(authority, &names, now, &self.provider)?;
        if left_out != *old_left_out {
            warn_of(&left_out);
        }
        (*old_names, *renew_at, *old_left_out) = (names, until, left_out);
        drop(known);
        self.show(issued);
        log::info!("the HTTPS certificate was renewed");
        Ok(())
    }

    /// The certificates that came into use since this was asked last, the first one included; waits
    /// until there is one.
    pub async fn next_shown(&self) -> Vec<Shown> {
        loop {
            let shown = std::mem::take(&mut *self.shown.lock().unwrap_or_else(PoisonError::into_inner));
            if !shown.is_empty() {
                return shown;
            }
            self.changed.notified().await;
        }
    }

    fn show(&self, certificate: CertifiedKey) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
        self.note_shown();
    }

    fn note_shown(&self) {
        let shown = Shown {
            certificate: self.current().cert.first().map(|own| fingerprint_of(own)).unwrap_or_default(),
            authority: self.authority().map(|authority| fingerprint_of(authority.der())),
            file: match &self.source {
                Source::Files { certificate, .. } => Some(certificate.clone()),
                Source::Local { .. } => None,
            },
        };
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).push(shown);
        self.changed.notify_one();
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

/// Shows every client the one certificate, whatever name it asks for: it is the client that
/// refuses a wrong one.
#[derive(Debug)]
struct Resolver(Arc<Certificates>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current())
    }
}

fn issue(
    authority: &Authority,
    names: &Names,
    now: Timestamp,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Timestamp, Vec<String>), TlsError> {
    let issued = authority.issue(names, now)?;
    let certified = CertifiedKey::from_der(vec![issued.certificate], issued.key, provider)?;
    Ok((certified, issued.renew_at, issued.left_out))
}

fn warn_of(left_out: &[String]) {
    if !left_out.is_empty() {
        log::warn!(
            "the HTTPS certificate does not name {}, which came after the local authority was made; to have it \
             included, add it to server.host_names",
            left_out.join(", ")
        );
    }
}

/// The administrator's two files, as read.
struct Files {
    certificate: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
}

impl Files {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let read =
            |file: &Path| std::fs::read(file).map_err(|error| TlsError::Unreadable(file.to_owned(), error));
        Ok(Self { certificate: read(certificate)?, key: read(key)?.into() })
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(Sha256::digest(&self.certificate))
            .chain_update(Sha256::digest(self.key.as_slice()))
            .finalize()
            .into()
    }

    fn certified(
        &self,
        certificate: &Path,
        key: &Path,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
            .map_err(|source| TlsError::NotPem {
                file: certificate.to_owned(),
                what: "certificate",
                source,
            })?;
        let private = PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| TlsError::NotPem {
            file: key.to_owned(),
            what: "private key",
            source,
        })?;
        CertifiedKey::from_der(chain, private, provider).map_err(|source| TlsError::Unusable {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        })
    }
}

fn fingerprint_of(der: &[u8]) -> String {
    let pairs: Vec<String> = Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// The error with its causes, for a log line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text = format!("{text}: {next}");
        source = next.source();
    }
    text
}

#[cfg(test)]
mod tests;
