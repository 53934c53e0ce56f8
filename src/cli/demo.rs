//! `pagewire demo`: a throw-away appliance with everything set up to try.
//!
//! Its data lives in a temporary folder that is removed at the end. Live keys deliver into its own
//! inbox (loopback), test keys go to the simulator; nothing ever reaches a telephone line. It is for
//! this machine alone; `--lan` adds HTTPS on all addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use log::LevelFilter;
use serde_json::json;

use super::client::Client;
use super::send::{self, Form};
use super::serve::Hangup;
use crate::access::kind::Kind;
use crate::access::roles::Role;
use crate::access::scopes::{Scope, ScopeSet};
use crate::auth::{Actor, KeyRing, NewKey};
use crate::clock::Clock;
use crate::config::{Config, RouteName};
use crate::id::RequestId;
use crate::secret::Secret;
use crate::serve::{self, FirstAdministrator, Running, reachable};

/// Where the demo listens unless told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Where it serves the network with `--lan`.
const LAN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8443);
/// The owner of the demo's keys.
const OWNER: &str = "demo";
/// What the demo's everyday keys may do.
const EVERYDAY: [Scope; 5] =
    [Scope::FaxSend, Scope::FaxRead, Scope::FaxCancel, Scope::InboundList, Scope::InboundRead];
/// The sample fax that is delivered before the demo says it is ready.
const SAMPLE: &str = "Dear reader,\n\nthis page was typed as plain text, turned into a fax page, sent through\n\
    the loopback line and received again. What you see are the very dots a\nfax machine would have got.\n\n\
    Send one of your own with the curl line on your terminal.\n\nPagewire\n";

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Serve other machines too, over HTTPS on port 8443
    #[arg(long)]
    lan: bool,
    /// Print one line of JSON once it serves
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let folder = TemporaryFolder::new();
    let mut config = Config::load(None, |_| None)?;
    config.listen = arguments.listen.unwrap_or(LISTEN);
    config.https_listen = arguments.lan.then_some(LAN_LISTEN);
    config.route = RouteName::Loopback;
    config.data_dir = folder.0.clone();
    config.log_level = LevelFilter::Warn;
    let config = config.validated()?;
    crate::log::start(config.log_level);
    super::runtime()?.block_on(async {
        let signals = super::serve::Signals::new()?;
        let running = serve::start(config, Clock::System, FirstAdministrator::ByCaller)
            .await
            .with_context(|| "the demo did not start; is its port taken? Try --listen 127.0.0.1:0")?;
        let keys = make_keys(running.app.keys()).await?;
        send_sample(&running, &keys.live).await?;
        announce(&arguments, &running, &keys, &folder.0);
        super::serve::until_told_to_stop(running, signals, Hangup::Stops).await;
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(ExitCode::SUCCESS)
}

struct Tokens {
    admin: Secret<String>,
    live: Secret<String>,
    test: Secret<String>,
}

async fn make_keys(ring: &KeyRing) -> anyhow::Result<Tokens> {
    ring.ensure_user(OWNER, Role::GlobalAdmin).await?;
    let everyday: ScopeSet = EVERYDAY.into_iter().collect();
    let make = async |name: &str, kind: Kind, scopes: ScopeSet| -> anyhow::Result<Secret<String>> {
        let new = NewKey {
            name: name.to_owned(),
            kind,
            scopes: Some(scopes),
            owner: Some(OWNER.to_owned()),
            expires_at: (kind == Kind::Admin).then(|| Timestamp::now() + SignedDuration::from_hours(24)),
            ..NewKey::default()
        };
        let (token, _) = ring.create(new, &Actor::cli(rustix::process::geteuid().as_raw())).await?;
        Ok(token.text().clone())
    };
    Ok(Tokens {
        admin: make("Demo administrator", Kind::Admin, ScopeSet::ALL).await?,
        live: make("Demo", Kind::Production, everyday).await?,
        test: make("Demo simulator", Kind::Development, everyday).await?,
    })
}

/// Sends the sample as any client would.
async fn send_sample(running: &Running, key: &Secret<String>) -> anyhow::Result<()> {
    let address = reachable(running.address);
    let client = Client::remote(&format!("http://{address}"), key.clone(), Path::new(""))?;
    let form = Form::new(&[("to", "+15551234567")], &[SAMPLE.as_bytes().to_vec()]);
    let fax = form.post(&client).await?;
    let id = fax["id"].as_str().context("the sample fax has no id")?.to_owned();
    let fax = send::follow(&client, &id, fax, indicatif::ProgressBar::hidden()).await?;
    anyhow::ensure!(fax["status"] == "SUCCESS", "the sample fax was not delivered: {fax}");
    Ok(())
}

fn announce(arguments: &Arguments, running: &Running, keys: &Tokens, data_dir: &Path) {
    let url = format!("http://{}", reachable(running.address));
    if arguments.json {
        println!(
            "{}",
            json!({
                "url": url,
                "admin_key": keys.admin.reveal(),
                "api_key": keys.live.reveal(),
                "test_key": keys.test.reveal(),
                "data_dir": data_dir,
            })
        );
        return;
    }
    println!(
        "Pagewire is running. One sample fax is already in its inbox.\n\n\
         Console      {url}/console/\n\
         Docs         {url}/docs\n\
         {}\n\
         Send a fax (it arrives in this appliance's own inbox):\n\n\
         \x20 export API_KEY={}\n\
         \x20 echo 'Hello, fax.' > hello.txt\n\
         \x20 curl -H \"X-API-Key: $API_KEY\" -F to=+15551234567 -F file=@hello.txt {url}/fax\n\n\
         See what was received:\n\n\
         \x20 curl -H \"X-API-Key: $API_KEY\" {url}/inbound\n\n\
         Simulator key (scripted endings, see {url}/docs/simulator):\n  {}\n\
         Administrator's key (valid for a day):\n  {}\n\n\
         Ctrl-C stops it and removes its data.",
        on_the_network(running),
        keys.live.reveal(),
        keys.test.reveal(),
        keys.admin.reveal()
    );
}

/// Lines about HTTPS, with `--lan`.
fn on_the_network(running: &Running) -> String {
    let (Some(address), Some(certificates)) = (running.https, running.app.certificates()) else {
        return String::new();
    };
    let url = serve::on_the_network(address);
    format!(
        "Network      https://{url}/console/ (how to trust it: https://{url}/ca)\n\
         Fingerprint  {}\n",
        certificates.fingerprint()
    )
}

/// A folder that is removed when the demo ends.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("pagewire-demo-{}", RequestId::new())))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // Never made, or removed by somebody else: both are fine.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
