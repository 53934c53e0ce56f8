//! The shared handles of a running appliance.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Semaphore, watch};

use crate::access::kind::Mode;
use crate::audit::Audit;
use crate::auth::KeyRing;
use crate::auth::people::People;
use crate::clock::Clock;
use crate::config::{Config, RouteName};
use crate::convert::Converter;
use crate::db::Db;
use crate::inbound::Inbox;
use crate::limits;
use crate::net::tls::Certificates;
use crate::queue::Queue;
use crate::sealing::Sealing;
use crate::secret::Secret;

/// Everything a request may need. Cheap to clone.
#[derive(Clone)]
pub struct App {
    inner: Arc<Parts>,
}

/// What an [`App`] is made of; put together by [`crate::serve`].
pub struct Parts {
    /// The settings in force.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// The database.
    pub db: Db,
    /// The keys of the seal.
    pub sealing: Sealing,
    /// The audit log.
    pub audit: Audit,
    /// All API keys.
    pub keys: KeyRing,
    /// All people.
    pub people: People,
    /// Where a browser on this machine finds the console, like `http://127.0.0.1:8080`.
    pub console_url: String,
    /// Documents to fax pages.
    pub converter: Converter,
    /// Faxes to send.
    pub queue: Queue,
    /// Faxes received.
    pub inbox: Inbox,
    /// The HTTPS certificate; none when HTTPS is switched off.
    pub certificates: Option<Arc<Certificates>>,
    /// Counters as text.
    pub metrics: PrometheusHandle,
    /// Becomes true when the server is going down.
    pub stopping: watch::Receiver<bool>,
}

/// What uploads hold while they are in memory, in KiB; see [`limits::UPLOADS_IN_MEMORY_MB`].
static UPLOADS: Semaphore = Semaphore::const_new(limits::UPLOADS_IN_MEMORY_MB as usize * 1024);

impl App {
    /// The handle to these parts.
    pub fn new(parts: Parts) -> Self {
        Self { inner: Arc::new(parts) }
    }

    /// The settings in force.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The route that faxes of such keys take: a test key never leaves the simulator.
    pub fn route_of(&self, mode: Mode) -> RouteName {
        match mode {
            Mode::Test => RouteName::Simulator,
            Mode::Live => self.inner.config.route,
        }
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.inner.db
    }

    /// The keys of the seal.
    pub fn sealing(&self) -> &Sealing {
        &self.inner.sealing
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// All API keys.
    pub fn keys(&self) -> &KeyRing {
        &self.inner.keys
    }

    /// All people.
    pub fn people(&self) -> &People {
        &self.inner.people
    }

    /// The address of a one-time link with this token, at `origin` or as seen from this machine.
    /// The token stands behind the `#`, which browsers send to nobody.
    pub fn link_url(&self, origin: Option<&str>, token: &Secret<String>) -> Secret<String> {
        let origin = origin.unwrap_or(&self.inner.console_url);
        Secret::new(format!("{origin}/setup#token={}", token.reveal()))
    }

    /// Documents to fax pages.
    pub fn converter(&self) -> &Converter {
        &self.inner.converter
    }

    /// Faxes to send.
    pub fn queue(&self) -> &Queue {
        &self.inner.queue
    }

    /// Faxes received.
    pub fn inbox(&self) -> &Inbox {
        &self.inner.inbox
    }

    /// The HTTPS certificate; none when HTTPS is switched off.
    pub fn certificates(&self) -> Option<&Arc<Certificates>> {
        self.inner.certificates.as_ref()
    }

    /// Counters as text.
    pub fn metrics(&self) -> &PrometheusHandle {
        &self.inner.metrics
    }

    /// Memory for uploads, in KiB.
    pub fn uploads(&self) -> &'static Semaphore {
        &UPLOADS
    }

    /// Completes when the server is going down.
    pub async fn stopped(&self) {
        let mut stopping = self.inner.stopping.clone();
        // A sender that is gone means the same as one that says so.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
