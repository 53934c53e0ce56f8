//! Whom we trust as a client: our own commands when they call an appliance over HTTPS, and the
//! appliance when it calls others.
//!
//! Refuses: to go on with a server it cannot check. There is no switch for that.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::tls::TlsError;

/// Where systems keep the authorities they trust, in one PEM file: Debian, Alpine and Arch; Fedora;
/// SUSE.
const SYSTEM_AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Settings of a TLS client that trusts the authorities in this PEM file.
pub fn trusting(authorities: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let pem =
        std::fs::read(authorities).map_err(|error| TlsError::Unreadable(authorities.to_owned(), error))?;
    let found = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::NotPem { file: authorities.to_owned(), what: "certificate", source })?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Settings of a TLS client that trusts the authorities this system does, as they are now: those of
/// the file in `SSL_CERT_FILE`, as OpenSSL has it, else of the system's own.
pub fn trusting_system() -> Result<Arc<ClientConfig>, TlsError> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = || SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|file| file.is_file());
    trusting(&named.or_else(usual).unwrap_or_else(|| SYSTEM_AUTHORITIES[0].into()))
}
