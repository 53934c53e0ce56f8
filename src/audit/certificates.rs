//! Certificates in the audit log: which one clients see, and which authority it is from; and the
//! warnings before one ends that the appliance does not renew by itself.
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

    /// Warns before the administrator's own certificate ends, 30, 7 and 1 days before, each once; call
    /// it every hour or so. Answers the days it warned of. One that ends without having been warned of
    /// at all, because nothing ran meanwhile, is told by the list of what needs a person.
    pub async fn warn_of_certificate(&self, certificates: &Certificates) -> Result<Option<u8>, AuditError> {
        let Some(ends_at) = certificates.ends_at().filter(|_| certificates.are_own()) else {
            return Ok(None);
        };
        let warned = self.db.warn_of_certificate(certificates.fingerprint(), ends_at, self.clock.now());
        let warned = warned.await?;
        if let Some(days) = warned {
            log::warn!("the HTTPS certificate ends within {days} days, at {ends_at:.0}; install a new one");
        }
        Ok(warned)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::clock::Clock;
    use crate::db::Db;
    use crate::net::tls::Source;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    /// An administrator's certificate that ends at this time.
    fn install(folder: &Path, ends_at: Timestamp) -> Source {
        let mut params = rcgen::CertificateParams::new(vec!["fax.example".to_owned()]).unwrap();
        params.not_after = time::OffsetDateTime::from_unix_timestamp(ends_at.as_second()).unwrap();
        let key_pair = rcgen::KeyPair::generate().unwrap();
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, params.self_signed(&key_pair).unwrap().pem()).unwrap();
        std::fs::write(&key, key_pair.serialize_pem()).unwrap();
        Source::Files { certificate, key }
    }

    #[tokio::test]
    async fn warnings_of_ones_own_certificate_come_from_the_clock_and_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let mut work = clock.work();
        let db = Db::open(&crate::db::file_in(folder.path())).unwrap();
        let audit = || Audit::new(db.clone(), clock.clone(), 365);
        let end = clock.now() + DAY * 40;
        let certificates = Certificates::open(install(folder.path(), end), clock.clone()).unwrap();
        let mut warned = Vec::new();
        for day in 0..45 {
            // Made anew each time: what was told outlives a restart.
            warned.extend(audit().warn_of_certificate(&certificates).await.unwrap().map(|days| (day, days)));
            work.sleep(std::time::Duration::from_secs(24 * 3600)).await;
        }
        assert_eq!(warned, [(10, 30), (33, 7), (39, 1)]);
        let events = db.events_after(0, 10).await.unwrap();
        assert!(events.iter().all(|logged| logged.event.kind == "certificate.expiring"));
        assert_eq!(events.len(), 3);
        assert_eq!(events[2].event.data, serde_json::json!({ "ends_at": end, "days": 1 }));

        // The next one has warnings of its own, also one that is nearly over.
        install(folder.path(), clock.now() + DAY * 3);
        certificates.refresh();
        assert_eq!(audit().warn_of_certificate(&certificates).await.unwrap(), Some(7));
        assert_eq!(audit().warn_of_certificate(&certificates).await.unwrap(), None);
    }
}
