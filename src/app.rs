//! The shared handles of a running appliance.

pub mod links;
pub mod settings;

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Semaphore, watch};

use crate::access::kind::Mode;
use crate::audit::Audit;
use crate::auth::KeyRing;
use crate::auth::people::People;
use crate::clock::Clock;
use crate::config::Config;
use crate::convert::Converter;
use crate::db::Db;
use crate::fax::routing::RouteList;
use crate::inbound::Inbox;
use crate::limits;
use crate::mail::Post;
use crate::net::tls::Certificates;
use crate::queue::Queue;
use crate::route::simulator;
use crate::sealing::Sealing;
use crate::secret::Secret;
use crate::webhooks::Webhooks;
use links::Links;
use settings::Settings;

/// Everything a request may need. Cheap to clone.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    links: Links,
    parts: Parts,
}

/// What an [`App`] is made of; put together by [`crate::serve`].
pub struct Parts {
    /// The settings it starts with.
    pub config: Config,
    /// Where plain HTTP is listened for.
    pub http_address: SocketAddr,
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
    /// Who is told of events.
    pub webhooks: Webhooks,
    /// E-mail notices.
    pub post: Post,
    /// The HTTPS certificate; none when HTTPS is switched off.
    pub certificates: Option<Arc<Certificates>>,
    /// Counters as text.
    pub metrics: PrometheusHandle,
    /// When this run began.
    pub started_at: Timestamp,
    /// Becomes true when the server is going down.
    pub stopping: watch::Receiver<bool>,
}

/// What uploads hold while they are in memory, in KiB; see [`limits::UPLOADS_IN_MEMORY_MB`].
static UPLOADS: Semaphore = Semaphore::const_new(limits::UPLOADS_IN_MEMORY_MB as usize * 1024);

impl App {
    /// The handle to these parts.
    pub fn new(parts: Parts) -> Self {
        let settings = Settings::new(parts.config.clone(), parts.http_address);
        Self { inner: Arc::new(Inner { settings, links: Links::default(), parts }) }
    }

    /// The settings in force at this moment.
    pub fn config(&self) -> Arc<Config> {
        self.inner.settings.current()
    }

    /// What `look` finds in the settings in force at this moment; for a glance, which shares no count with
    /// other requests.
    pub fn in_config<T>(&self, look: impl FnOnce(&Config) -> T) -> T {
        self.inner.settings.with(|config| look(config))
    }

    /// What a proxy puts before our addresses, for as long as the process lives.
    pub fn path_prefix(&self) -> &str {
        &self.inner.parts.config.path_prefix
    }

    /// Links to single documents.
    pub fn links(&self) -> &Links {
        &self.inner.links
    }

    /// The routes that faxes of such keys may take, in order: a test key never leaves the simulator.
    pub fn route_of(&self, mode: Mode) -> RouteList {
        match mode {
            Mode::Test => simulator::NAME.into(),
            Mode::Live => self.config().live_routes(),
        }
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.inner.parts.clock
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.inner.parts.db
    }

    /// The keys of the seal.
    pub fn sealing(&self) -> &Sealing {
        &self.inner.parts.sealing
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.inner.parts.audit
    }

    /// All API keys.
    pub fn keys(&self) -> &KeyRing {
        &self.inner.parts.keys
    }

    /// All people.
    pub fn people(&self) -> &People {
        &self.inner.parts.people
    }

    /// The address of a one-time link with this token, at `origin` or as seen from this machine.
    /// The token stands behind the `#`, which browsers send to nobody.
    pub fn link_url(&self, origin: Option<&str>, token: &Secret<String>) -> Secret<String> {
        let origin = origin.unwrap_or(&self.inner.parts.console_url);
        Secret::new(format!("{origin}{}/setup#token={}", self.path_prefix(), token.reveal()))
    }

    /// Documents to fax pages.
    pub fn converter(&self) -> &Converter {
        &self.inner.parts.converter
    }

    /// Faxes to send.
    pub fn queue(&self) -> &Queue {
        &self.inner.parts.queue
    }

    /// Faxes received.
    pub fn inbox(&self) -> &Inbox {
        &self.inner.parts.inbox
    }

    /// Who is told of events.
    pub fn webhooks(&self) -> &Webhooks {
        &self.inner.parts.webhooks
    }

    /// E-mail notices.
    pub fn post(&self) -> &Post {
        &self.inner.parts.post
    }

    /// The HTTPS certificate; none when HTTPS is switched off.
    pub fn certificates(&self) -> Option<&Arc<Certificates>> {
        self.inner.parts.certificates.as_ref()
    }

    /// Counters as text.
    pub fn metrics(&self) -> &PrometheusHandle {
        &self.inner.parts.metrics
    }

    /// When this run began.
    pub fn started_at(&self) -> Timestamp {
        self.inner.parts.started_at
    }

    /// Memory for uploads, in KiB.
    pub fn uploads(&self) -> &'static Semaphore {
        &UPLOADS
    }

    /// Completes when the server is going down.
    pub async fn stopped(&self) {
        let mut stopping = self.inner.parts.stopping.clone();
        // A sender that is gone means the same as one that says so.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
