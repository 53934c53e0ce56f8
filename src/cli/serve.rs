//! `pagewire serve`: the appliance, until SIGTERM or Ctrl-C.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Settings;
use crate::clock::Clock;
use crate::config::RouteName;
use crate::serve::Running;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where faxes of live keys go
    #[arg(long)]
    route: Option<RouteName>,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut config = arguments.settings.load()?;
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    if let Some(route) = arguments.route {
        config.route = route;
    }
    let config = config.validated()?;
    crate::log::start(config.log_level);
    super::runtime()?.block_on(async {
        let signals = StopSignals::new()?;
        let running = crate::serve::start(config, Clock::System).await?;
        log::info!("Pagewire {} listens on http://{}", env!("CARGO_PKG_VERSION"), running.address);
        until_told_to_stop(running, signals).await;
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The signals that end the program. Made before anybody is told that it runs, so that one sent at
/// once is not missed.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("no signal handler")?,
            interrupt: signal(SignalKind::interrupt()).context("no signal handler")?,
        })
    }
}

/// Serves until a signal comes, keeping systemd informed, then stops in order.
pub(super) async fn until_told_to_stop(running: Running, mut signals: StopSignals) {
    notify(&[NotifyState::Ready]);
    let watchdog = tokio::spawn(feed_watchdog());
    tokio::select! {
        _ = signals.terminate.recv() => {}
        _ = signals.interrupt.recv() => {}
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
