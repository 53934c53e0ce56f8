//! The composition root: opens, migrates and recovers before it serves; stops in the reverse order.
//!
//! Invariant: nobody is answered before the queue has closed the calls of the last run, and two
//! servers never share a data folder.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::audit::Context;
use crate::app::{App, Parts};
use crate::audit::Audit;
use crate::auth::people::{Link, People, PeopleError};
use crate::auth::{self, AuthError, Bootstrap, KeyRing};
use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::convert::{self, Converter};
use crate::db::{self, Db, DbError};
use crate::fax::policy;
use crate::fs;
use crate::http;
use crate::http::server::Server;
use crate::id::DocumentId;
use crate::inbound::Inbox;
use crate::limits;
use crate::mail::Post;
use crate::net::http_client::HttpClient;
use crate::net::names::Names;
use crate::net::reach::Reach;
use crate::net::tls::{Certificates, Source, TlsError};
use crate::queue::{Queue, QueueError};
use crate::sealing::{Sealing, SealingError};
use crate::spool::{Spool, SpoolError};
use crate::webhooks::{WebhookError, Webhooks};

/// How often use counts of keys are written down: what a power cut takes off their quotas at most.
pub const USAGE_FLUSH: Duration = Duration::from_secs(30);
/// How often keys and a certificate that end soon are looked for; the warnings count in days.
const EXPIRY_WATCH: Duration = Duration::from_secs(3600);
/// Where Debian and people put fonts; for scripts the embedded font lacks.
const FONT_DIRS: [&str; 2] = ["/usr/share/fonts", "/usr/local/share/fonts"];
/// What document workers are started from: the running program, even after an upgrade replaced its
/// file.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Name of the admin socket in the data folder.
const SOCKET: &str = "admin.sock";
/// The local certificate authority in the folder of keys.
const AUTHORITY: &str = "authority";
/// Connections the system keeps for us until they are accepted; what tokio takes too.
const BACKLOG: i32 = 1024;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another server uses the data folder.
    #[error("another Pagewire is running on {}", .0.display())]
    AlreadyRunning(PathBuf),
    /// The data folder cannot be used.
    #[error("the data folder {} cannot be used", .0.display())]
    DataDir(PathBuf, #[source] std::io::Error),
    /// The listener cannot be had.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The HTTPS listener cannot be had.
    #[error(
        "cannot listen on {0} for HTTPS; server.https_listen (or --https-listen) takes another address, or nothing \
         to switch it off"
    )]
    ListenHttps(SocketAddr, #[source] std::io::Error),
    /// The socket that was handed over is on the network.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no certificate for HTTPS.
    #[error("HTTPS has no certificate")]
    Tls(#[from] TlsError),
    /// The admin socket cannot be had.
    #[error("cannot open the admin socket {}", .0.display())]
    Socket(PathBuf, #[source] std::io::Error),
    /// The database does not open.
    #[error("the database does not open")]
    Db(#[from] DbError),
    /// The keys of the seal cannot be made.
    #[error("the sealing key cannot be set up")]
    Sealing(#[from] SealingError),
    /// The spool does not open.
    #[error("the spool does not open")]
    Spool(#[from] SpoolError),
    /// The keys do not load.
    #[error("the API keys do not load")]
    Auth(#[from] AuthError),
    /// The sessions do not load, or the link of the first administrator is not stored.
    #[error("the accounts are not ready")]
    People(#[from] PeopleError),
    /// The queue does not recover.
    #[error("the queue does not recover")]
    Queue(#[from] QueueError),
    /// The webhooks do not load.
    #[error("the webhooks do not load")]
    Webhooks(#[from] WebhookError),
}

/// A server that is up.
pub struct Running {
    /// The shared handles.
    pub app: App,
    /// Address of the HTTP listener.
    pub address: SocketAddr,
    /// Address of the HTTPS listener.
    pub https: Option<SocketAddr>,
    /// The link that makes the first administrator, if it was asked for and can be made.
    pub setup_link: Option<Link>,
    server: Server,
    stopping: watch::Sender<bool>,
    chores: Vec<JoinHandle<()>>,
    socket: PathBuf,
    _lock: File,
}

/// Path of the admin socket of a data folder.
pub fn socket_in(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET)
}

/// How an appliance without an administrator gets its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstAdministrator {
    /// By a one-time link, [`Running::setup_link`].
    ByLink,
    /// The caller makes one.
    ByCaller,
}

/// Starts everything; on return requests are answered.
pub async fn start(config: Config, clock: Clock, first: FirstAdministrator) -> Result<Running, StartError> {
    let started = clock.now();
    protect_process();
    raise_descriptor_limit();
    let metrics = metrics_recorder();
    let Store { db, spool, sealing, lock } = Store::open(&config.data_dir, &clock).await?;
    match sealing.seal() {
        Ok(seal) => db.start_audit(&seal.audit_key()),
        Err(locked) => log::error!("{locked}"),
    }
    let config = config.with_stored(&db.stored_settings().await?)?.validated()?;
    ::log::set_max_level(config.log_level);
    let audit = Audit::new(db.clone(), clock.clone(), config.audit_retention_days);

    let bootstrap = config
        .api_key
        .clone()
        .map(|key| Bootstrap { key, even_with_administrator: config.allow_bootstrap_key });
    let settings = auth::Settings { bootstrap, reveal_policy: config.reveal_policy };
    let keys = KeyRing::load(db.clone(), sealing.seal(), clock.clone(), settings).await?;
    let people = People::load(db.clone(), sealing.seal(), clock.clone(), keys.clone()).await?;
    let converter = converter(&config);
    let inbox = Inbox::new(db.clone(), spool.clone(), clock.clone());
    let queue = Queue::open(crate::queue::Parts {
        db: db.clone(),
        spool: spool.clone(),
        clock: clock.clone(),
        converter: converter.clone(),
        inbox: inbox.clone(),
        keys: keys.clone(),
        station_id: config.station_id.clone(),
        policy: policy::Settings {
            home: config.country_code.clone(),
            limits: config.dialling,
            second_look: config.second_look,
            station_check: config.station_check,
            calls: config.calls.clone(),
            hours: config.hours.clone(),
        },
        rules: config.retention,
    })
    .await?;

    let client = HttpClient::within(Reach::beyond_public(config.webhooks_allow.clone()));
    let webhooks = Webhooks::new(db.clone(), clock.clone(), sealing.seal(), client);

    let post = Post::new(db.clone(), clock.clone(), config.mail.clone());

    let (stopping, stopping_seen) = watch::channel(false);
    let certificates = open_certificates(&config, &clock, &sealing)?;
    let listeners = Listeners::open(&config).await?;
    let max_connections = config.max_connections;
    let socket = socket_in(&config.data_dir);
    let (address, https) = (listeners.address, listeners.https_address());
    // Before the parts, because links name the port that was given to us.
    let console_url = console_url(&config, address, https.filter(|_| certificates.is_some()));
    let app = App::new(Parts {
        config,
        http_address: address,
        clock,
        db: db.clone(),
        sealing: sealing.clone(),
        audit: audit.clone(),
        keys,
        people,
        console_url,
        converter,
        queue,
        inbox,
        webhooks,
        post,
        certificates: certificates.clone(),
        metrics,
        started_at: started,
        stopping: stopping_seen,
    });

    // Before anybody is served, so that it replaces none that was asked for.
    let setup_link = match first {
        FirstAdministrator::ByLink if app.people().needs_setup() && sealing.seal().is_ok() => {
            Some(app.people().renew_setup_link(Context::system()).await?)
        }
        _ => None,
    };
    let interface = http::interface(&app);
    let mut server = Server::new(interface, max_connections as usize);
    let local = local_listener(&socket).map_err(|error| StartError::Socket(socket.clone(), error))?;
    server.listen(listeners.http);
    server.listen_local(local);

    let mut chores = vec![
        tokio::spawn(flush_usage(app.clone())),
        tokio::spawn(warn_of_expiry(app.clone())),
        tokio::spawn(sweep(db, spool, started)),
        tokio::spawn(audit.clone().tell_heads()),
        tokio::spawn(audit.clone().keep_pruned()),
        tokio::spawn(audit.clone().keep_verified()),
        tokio::spawn(app.queue().clone().keep_storage()),
        tokio::spawn(app.queue().clone().keep_previews_short()),
    ];
    if let (Some(certificates), Some((listener, _))) = (certificates, listeners.https) {
        server.listen_tls(listener, &certificates)?;
        chores.push(tokio::spawn(audit.keep_certificates(certificates.clone())));
        chores.push(tokio::spawn(certificates.keep()));
    }
    if let Some(listener) = listeners.metrics {
        let mut metrics_server = Server::new(http::metrics(&app), 64);
        metrics_server.listen(listener);
        let app = app.clone();
        chores.push(tokio::spawn(async move {
            app.stopped().await;
            metrics_server.drain(Duration::ZERO).await;
        }));
    }
    // Without the seal every call would end as one whose pages are gone; the faxes wait instead.
    if sealing.seal().is_ok() {
        app.queue().start();
        app.webhooks().start().await?;
    }
    app.post().start();
    Ok(Running { app, address, https, setup_link, server, stopping, chores, socket, _lock: lock })
}

/// What turns documents into pages, as this configuration has it.
pub(crate) fn converter(config: &Config) -> Converter {
    Converter::new(convert::Settings {
        executable: PathBuf::from(OWN_PROGRAM),
        workers: config.workers as usize,
        wall_clock: limits::CONVERSION_TIME,
        max_pages: config.max_pages,
        require_sandbox: config.require_sandbox,
        font_dirs: FONT_DIRS.iter().map(PathBuf::from).collect(),
    })
}

impl Running {
    /// Reads anew what can be without a restart: the configuration file, and the files of the HTTPS
    /// certificate.
    pub async fn reload(&self) {
        if let Some(certificates) = self.app.certificates() {
            certificates.reload();
        }
        if let Err(error) = self.app.reload_settings(&Context::system()).await {
            log::error!("the old settings stay: {error}");
        }
    }

    /// Stops taking connections and calls, lets what is under way finish, writes down what was
    /// counted.
    pub async fn stop(self) {
        let _ = self.stopping.send(true);
        let _ = std::fs::remove_file(&self.socket);
        self.server.drain(limits::DRAIN_TIME).await;
        self.app.queue().stop(limits::DRAIN_TIME).await;
        self.app.webhooks().stop().await;
        self.app.post().stop().await;
        for chore in self.chores {
            chore.abort();
        }
        if let Err(error) = self.app.keys().flush_usage().await {
            log::warn!("the last use counts of keys were not stored: {error}");
        }
        if let Err(error) = self.app.people().flush_sessions().await {
            log::warn!("the last use of sessions was not stored: {error}");
        }
        self.app.audit().tell_head().await;
    }
}

/// What is in a data folder, held by this process alone.
pub(crate) struct Store {
    pub(crate) db: Db,
    pub(crate) spool: Spool,
    pub(crate) sealing: Sealing,
    /// Nobody else uses the folder while this is open.
    lock: File,
}

impl Store {
    /// Opens the folder, making what is missing.
    pub(crate) async fn open(data_dir: &Path, clock: &Clock) -> Result<Self, StartError> {
        let unusable = |error| StartError::DataDir(data_dir.to_owned(), error);
        fs::create_private_folder(data_dir).map_err(unusable)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(data_dir.join("lock"))
            .map_err(unusable)?;
        if lock.try_lock().is_err() {
            return Err(StartError::AlreadyRunning(data_dir.to_owned()));
        }
        let db = Db::open(&db::file_in(data_dir))?;
        let sealing = Sealing::open(db.clone(), &data_dir.join("keys"), clock.clone()).await?;
        let spool = Spool::open_with(&data_dir.join("spool"), sealing.seal())?;
        Ok(Self { db, spool, sealing, lock })
    }
}

/// The certificate, if HTTPS is switched on.
fn open_certificates(
    config: &Config,
    clock: &Clock,
    sealing: &Sealing,
) -> Result<Option<Arc<Certificates>>, StartError> {
    if config.https_listen.is_none() {
        return Ok(None);
    }
    let source = match (&config.tls_cert, &config.tls_key) {
        (Some(certificate), Some(key)) => {
            Source::Files { certificate: certificate.clone(), key: key.clone() }
        }
        _ => {
            let Ok(seal) = sealing.seal() else {
                log::error!("HTTPS is off: the certificate authority's key is sealed");
                return Ok(None);
            };
            let configured = config.host_names.clone();
            Source::Local {
                file: config.data_dir.join("keys").join(AUTHORITY),
                seal,
                configured: configured.clone(),
                names: Box::new(move || Names::of_machine(&configured)),
            }
        }
    };
    Ok(Some(Certificates::open(source, clock.clone())?))
}

/// The sockets systemd handed over (HTTP first, then HTTPS), else our own. All are open before any
/// of them is served: a port that is taken stops the start before anybody was answered.
struct Listeners {
    http: TcpListener,
    address: SocketAddr,
    https: Option<(TcpListener, SocketAddr)>,
    metrics: Option<TcpListener>,
}

impl Listeners {
    async fn open(config: &Config) -> Result<Self, StartError> {
        let mut given = listenfd::ListenFd::from_env();
        let wanted = config.listen;
        let failed = |error| StartError::Listen(wanted, error);
        let http = match handed_over(&mut given, 0).map_err(failed)? {
            Some(listener) => listener,
            None => TcpListener::bind(wanted).await.map_err(failed)?,
        };
        let address = http.local_addr().map_err(failed)?;
        // The socket may be another than the one the settings were checked for.
        Config { listen: address, ..config.clone() }.validated()?;
        let https = match config.https_listen {
            Some(wanted) => {
                let failed = |error| StartError::ListenHttps(wanted, error);
                let listener = match handed_over(&mut given, 1).map_err(failed)? {
                    Some(listener) => listener,
                    None => bind(wanted).map_err(failed)?,
                };
                let address = listener.local_addr().map_err(failed)?;
                Some((listener, address))
            }
            None => None,
        };
        let metrics = match config.metrics_listen {
            Some(wanted) => {
                let failed = |error| StartError::Listen(wanted, error);
                Some(TcpListener::bind(wanted).await.map_err(failed)?)
            }
            None => None,
        };
        Ok(Self { http, address, https, metrics })
    }

    fn https_address(&self) -> Option<SocketAddr> {
        self.https.as_ref().map(|(_, address)| *address)
    }
}

fn handed_over(given: &mut listenfd::ListenFd, index: usize) -> std::io::Result<Option<TcpListener>> {
    if index >= given.len() {
        return Ok(None);
    }
    let Some(listener) = given.take_tcp_listener(index)? else { return Ok(None) };
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(Some)
}

/// A listener that serves IPv4 too when it is on all IPv6 addresses, whatever the system's default
/// for that; on all IPv4 addresses where there is no IPv6.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    use rustix::io::Errno;
    match bind_exactly(address) {
        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            let all = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            TcpListener::from_std(bind_exactly(all)?.into())
        }
        bound => TcpListener::from_std(bound?.into()),
    }
}

fn bind_exactly(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Where a browser finds the console: by way of the proxy that puts a path before it, whose name is the
/// first of ours; else over HTTPS from anywhere, or on this machine.
fn console_url(config: &Config, http: SocketAddr, https: Option<SocketAddr>) -> String {
    if let (false, Some(name)) = (config.path_prefix.is_empty(), config.host_names.first()) {
        return format!("https://{name}");
    }
    match https {
        Some(https) => format!("https://{}", on_the_network(https)),
        None => format!("http://{}", reachable(http)),
    }
}

/// The address other machines use for a listener.
pub fn on_the_network(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let own = Names::of_machine(&[]).addresses;
    let host = own.iter().find(|own| !own.is_loopback()).copied();
    SocketAddr::new(host.unwrap_or(Ipv4Addr::LOCALHOST.into()), address.port())
}

/// The address a client on this machine uses for a listener.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
    } else {
        address
    }
}

fn local_listener(socket: &Path) -> std::io::Result<UnixListener> {
    // Left by a killed server; the lock file says that none runs now.
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// One recorder serves the whole process; tests start several servers in one.
fn metrics_recorder() -> PrometheusHandle {
    static RECORDER: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    RECORDER
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            // Somebody else's recorder in the same process leaves ours unused, and empty.
            let _ = metrics::set_global_recorder(recorder);
            handle
        })
        .clone()
}

/// Keys and pages are for nobody else: files that libraries make (the database's) are private too,
/// there is no core file, and no debugger of the same user.
fn protect_process() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask};
    umask(rustix::fs::Mode::from_raw_mode(0o077));
    let no_core = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    if let Err(error) = no_core.and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable)) {
        log::warn!("the process could not be made non-dumpable: {error}");
    }
}

/// Each connection is a descriptor, and the usual soft limit of 1,024 is below our own limit.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        log::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

async fn flush_usage(app: App) {
    loop {
        tokio::time::sleep(USAGE_FLUSH).await;
        if let Err(error) = app.keys().flush_usage().await {
            log::warn!("use counts of keys were not stored: {error}");
        }
        if let Err(error) = app.people().flush_sessions().await {
            log::warn!("the use of sessions was not stored: {error}");
        }
    }
}

async fn warn_of_expiry(app: App) {
    let mut work = app.clock().work();
    loop {
        if let Err(error) = app.keys().warn_of_expiry().await {
            log::warn!("keys that end soon were not looked for: {error}");
        }
        if let Some(certificates) = app.certificates()
            && let Err(error) = app.audit().warn_of_certificate(certificates).await
        {
            log::warn!("whether the HTTPS certificate ends soon was not looked at: {error}");
        }
        work.sleep(EXPIRY_WATCH).await;
    }
}

/// Removes what interrupted requests of earlier runs left in the spool.
async fn sweep(db: Db, spool: Spool, started: Timestamp) {
    let known = move |ids: &[DocumentId]| -> Result<HashSet<DocumentId>, SpoolError> {
        db.documents_in_use(ids).map_err(|error| SpoolError::Io(std::io::Error::other(error)))
    };
    match spool.sweep(started, known).await {
        Ok(0) => {}
        Ok(removed) => log::info!("{removed} unfinished files of an earlier run were removed from the spool"),
        Err(error) => log::warn!("the spool was not swept: {error}"),
    }
}
