//! Certificates in the audit log: which one clients see, and which authority it is from.
//!
//! Owns: one row for each that comes into use, whoever brought it: a renewal, new files, a start.
//! A certificate that was told of last is not told of again, so that a start alone is no row where
//! the certificate is in files. Invariant: rows are written in the order of use.

use std::sync::Arc;

use super::{Audit, AuditError};
use crate::access::audit::{Action, Context, Snapshot, Target};
use crate::db::audit::AuditFilter;
use crate::net::tls::{Certificates, Shown};

/// What a row's target begins with.
const CERTIFICATE: &str = "certificate";
/// Name of a certificate's digest in a row.
const FINGERPRINT: &str = "fingerprint";

impl Audit {
    /// Tells of every certificate that comes into use, for ever.
    pub async fn keep_certificates(self, certificates: Arc<Certificates>) {
        loop {
            for shown in certificates.next_shown().await {
                if let Err(error) = self.tell_of_certificate(&shown).await {
                    log::error!("a change of the HTTPS certificate is not in the audit log: {error}");
                }
            }
        }
    }

    async fn tell_of_certificate(&self, shown: &Shown) -> Result<(), AuditError> {
        if let Some(authority) = &shown.authority {
            self.tell_unless_known("authority", authority, Snapshot::new()).await?;
        }
        let source = match &shown.file {
            Some(file) => Snapshot::new().with("file", file.display().to_string()),
            None => Snapshot::new().with("from", "local authority"),
        };
        self.tell_unless_known("https", &shown.certificate, source).await
    }

    async fn tell_unless_known(
        &self,
        name: &str,
        fingerprint: &str,
        after: Snapshot,
    ) -> Result<(), AuditError> {
        let target = Target::new(CERTIFICATE, name);
        let of_it = AuditFilter {
            action: Some(Action::CertificateChanged),
            target: Some(target.as_str().to_owned()),
            ..AuditFilter::default()
        };
        let newest = self.list(of_it, None, 1).await?.pop();
        let told = newest.and_then(|row| serde_json::from_str::<serde_json::Value>(&row.after?).ok());
        let told = told.and_then(|told| told[FINGERPRINT].as_str().map(str::to_owned));
        if told.as_deref() == Some(fingerprint) {
            return Ok(());
        }
        let event = Context::system().event(Action::CertificateChanged, target, self.clock.now());
        let event = event.after(after.with(FINGERPRINT, fingerprint));
        let event = match told {
            Some(told) => event.before(Snapshot::new().with(FINGERPRINT, told)),
            None => event,
        };
        Ok(self.db.audited(event).record().await?)
    }
}
