//! `pagewire serve`: the appliance, until SIGTERM or Ctrl-C.

use std::net::{AddrParseError, SocketAddr};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Settings;
use crate::auth::people::Link;
use crate::clock::Clock;
use crate::config::RouteName;
use crate::serve::{FirstAdministrator, Running};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Address and port of plain HTTP
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Address and port of HTTPS; "" switches it off
    #[arg(long, value_name = "ADDRESS:PORT")]
    https_listen: Option<OrNothing>,
    /// Where faxes of live keys go
    #[arg(long)]
    route: Option<RouteName>,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut config = arguments.settings.load()?;
    if let Some(listen) = arguments.listen {
        config = config.with_argument("server.listen", &listen.to_string())?;
    }
    if let Some(OrNothing(https_listen)) = arguments.https_listen {
        let text = https_listen.map(|address| address.to_string()).unwrap_or_default();
        config = config.with_argument("server.https_listen", &text)?;
    }
    if let Some(route) = arguments.route {
        config = config.with_argument("line.route", &route.to_string())?.with_argument("line.routes", "")?;
    }
    let config = config.validated()?;
    crate::log::start(config.log_level);
    super::runtime()?.block_on(async {
        let signals = Signals::new()?;
        let running = crate::serve::start(config, Clock::System, FirstAdministrator::ByLink).await?;
        log::info!("Pagewire {} listens on http://{}", env!("CARGO_PKG_VERSION"), running.address);
        if let (Some(address), Some(certificates)) = (running.https, running.app.certificates()) {
            let whose = if certificates.are_own() { "its certificate" } else { "its certificate authority" };
            log::info!("and on https://{address}; {whose}: SHA-256 {}", certificates.fingerprint());
        }
        match (&running.setup_link, running.app.sealing().seal()) {
            (Some(link), _) => print_setup_link(&running, link),
            // Whatever the log level: whoever waits for the link has to learn why there is none.
            (None, Err(locked)) if running.app.people().needs_setup() => {
                eprintln!("There is no administrator yet, and none can be made now. {locked}");
            }
            (None, _) => {}
        }
        until_told_to_stop(running, signals, Hangup::Reloads).await;
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Tells who installs where to begin: on the terminal, or in the journal. Whatever the log level,
/// because nobody gets in without it.
fn print_setup_link(running: &Running, link: &Link) {
    let url = running.app.link_url(None, &link.token);
    let fingerprint = match running.app.certificates() {
        Some(certificates) => {
            format!("Fingerprint of the certificate (SHA-256): {}\n", certificates.fingerprint())
        }
        None => String::new(),
    };
    eprintln!(
        "There is no administrator yet. Open this link within 30 minutes to make one:\n\n  {}\n\n\
         {fingerprint}A new one: pagewire setup-token",
        url.reveal()
    );
}

/// An address, or an empty text for none.
#[derive(Clone)]
struct OrNothing(Option<SocketAddr>);

impl FromStr for OrNothing {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|address| Self(Some(address))) }
    }
}

/// The signals the program obeys. Made before anybody is told that it runs, so that one sent at
/// once is not missed.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("no signal handler");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}

/// What SIGHUP means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hangup {
    /// Read the certificate anew, as services do.
    Reloads,
    /// The terminal is gone, so stop.
    Stops,
}

/// Serves until a signal comes, keeping systemd informed, then stops in order.
pub(super) async fn until_told_to_stop(running: Running, mut signals: Signals, hangup: Hangup) {
    notify(&[NotifyState::Ready]);
    let watchdog = tokio::spawn(feed_watchdog());
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => match hangup {
                Hangup::Reloads => {
                    log::info!("told to reload");
                    running.reload().await;
                }
                Hangup::Stops => break,
            },
        }
    }
    log::info!("stopping");
    notify(&[NotifyState::Stopping]);
    running.stop().await;
    watchdog.abort();
}

async fn feed_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval((limit / 3).max(Duration::from_millis(100)));
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("systemd was not told: {error}");
    }
}
