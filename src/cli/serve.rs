//! `pagewire serve`: the appliance, until SIGTERM or Ctrl-C.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

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
        let running = crate::serve::start(config, Clock::System).await?;
        log::info!("Pagewire {} listens on http://{}", env!("CARGO_PKG_VERSION"), running.address);
        until_told_to_stop(running).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Serves until a signal comes, keeping systemd informed, then stops in order.
pub(super) async fn until_told_to_stop(running: Running) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("no signal handler")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no signal handler")?;
    notify(&[NotifyState::Ready]);
    let watchdog = tokio::spawn(feed_watchdog());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    log::info!("stopping");
    notify(&[NotifyState::Stopping]);
    running.stop().await;
    watchdog.abort();
    Ok(())
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
