//! Whom our own commands trust when they call an appliance over HTTPS.
//!
//! Refuses: to go on with a server it cannot check. There is no switch for that.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::tls::TlsError;

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
