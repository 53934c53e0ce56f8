//! Settings: file and environment become one validated [`Config`].
//!
//! Owns: the table of all settings ([`SETTINGS`]) with their environment names, defaults and
//! allowed values. RouteList: default < file < stored in the appliance < environment < command line
//! ([`layers`]). Refuses: unknown keys and values out of range; the start stops with file, line and
//! what is allowed.
//!
//! Faxbot's variable names are accepted where they mean the same.

mod error;
mod layers;
mod table;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use error::ConfigError;
pub use layers::{Form, Given, Source, Standing, is_live};
use log::LevelFilter;
pub use table::SETTINGS;
use toml::de::{DeTable, DeValue};
use values::plain;

use crate::access::cidr::Cidr;
use crate::access::kind::RevealPolicy;
use crate::fax::notify::When;
use crate::fax::number::CountryCode;
use crate::fax::retention;
use crate::fax::routing::{Capacities, RouteHours, RouteList};
use crate::fax::{cover, dialling, second_look, station};
use crate::limits;
use crate::mail;
use crate::secret::Secret;

/// Where the configuration file is looked for.
pub const DEFAULT_FILE: &str = "/etc/pagewire/pagewire.toml";

/// All settings of one appliance, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the HTTP listener.
    pub listen: SocketAddr,
    /// Address of the HTTPS listener; none switches it off.
    pub https_listen: Option<SocketAddr>,
    /// Whether the HTTP listener may stand on the network; for API keys only.
    pub allow_plain_http: bool,
    /// PEM file of the administrator's own certificate.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of its private key.
    pub tls_key: Option<PathBuf>,
    /// Further names and addresses under which the appliance is reached.
    pub host_names: Vec<String>,
    /// Connections at once.
    pub max_connections: u32,
    /// Address of the Prometheus listener; off by default.
    pub metrics_listen: Option<SocketAddr>,
    /// Proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// What a reverse proxy takes off our addresses before it asks us, like `/fax`; empty without one.
    pub path_prefix: String,
    /// Folder of database, spool and keys.
    pub data_dir: PathBuf,
    /// Whether requests need a key.
    pub require_api_key: bool,
    /// The bootstrap key.
    pub api_key: Option<Secret<String>>,
    /// Whether the bootstrap key is accepted although an administrator exists.
    pub allow_bootstrap_key: bool,
    /// Whether a key may stand in the address of a `GET`.
    pub allow_query_api_key: bool,
    /// Which keys may be shown again.
    pub reveal_policy: RevealPolicy,
    /// Ceiling per key over all paths; 0 is off.
    pub max_requests_per_minute: u32,
    /// Largest upload, MB.
    pub max_file_size_mb: u32,
    /// Longest fax, pages.
    pub max_pages: u32,
    /// Documents converted at once.
    pub workers: u32,
    /// Whether conversion refuses to run without its sandbox.
    pub require_sandbox: bool,
    /// Cover pages; the built-in template when empty.
    pub cover_template: String,
    /// Route of live keys.
    pub route: RouteName,
    /// Routes of live keys in the order they are tried, in place of that one.
    pub routes: Option<RouteList>,
    /// Calls at once on those routes that have a number of their own.
    pub calls: Capacities,
    /// The hours of the week in which some routes carry calls.
    pub hours: RouteHours,
    /// What we call ourselves to the other machine.
    pub station_id: String,
    /// Sender's name in the tag line of real calls.
    pub header: String,
    /// Country code of numbers written without one.
    pub country_code: CountryCode,
    /// What all faxes together may spend on telephone lines.
    pub dialling: dialling::Limits,
    /// Which numbers somebody has to look at twice.
    pub second_look: second_look::Settings,
    /// What a call does when another machine answers than the one that is known.
    pub station_check: station::Check,
    /// Networks beyond the public internet that webhooks may lead to.
    pub webhooks_allow: Vec<Cidr>,
    /// How e-mail notices are sent.
    pub mail: mail::Settings,
    /// How long faxes are kept, and how full the disk may get.
    pub retention: retention::Rules,
    /// Days that rows of the audit log are kept.
    pub audit_retention_days: u32,
    /// Whom people are told to ask, on `/docs/help`.
    pub support_contact: Option<String>,
    /// Log level.
    pub log_level: LevelFilter,
    /// What was said of each setting, and where.
    pub given: Given,
}

/// Routes a live key's faxes can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RouteName {
    /// Into the appliance's own inbox.
    Loopback,
    /// A scripted line that sends nothing.
    Simulator,
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "loopback",
            Self::Simulator => "simulator",
        })
    }
}

/// One setting: how it is called, and how a text becomes its value.
pub struct Setting {
    /// `section.key` in the file.
    pub key: &'static str,
    /// Environment variables, the first one that is set wins.
    pub env: &'static [&'static str],
    /// Default, as one would write it.
    pub default: &'static str,
    /// What is allowed, to end the sentence "allowed: …".
    pub allowed: &'static str,
    get: fn(&Config) -> String,
    set: fn(&mut Config, &str) -> Option<()>,
}

/// The bootstrap key is a secret and therefore never in the file.
const API_KEY: &str = "API_KEY";
/// So is the password for the mail server, which may come as a systemd credential too.
const MAIL_PASSWORD: &str = "PAGEWIRE_MAIL_PASSWORD";
/// Name of that credential.
const MAIL_CREDENTIAL: &str = "pagewire.mail-password";
/// Where systemd tells a service the folder of its credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Shortest bootstrap key that is taken.
const API_KEY_LEN: usize = 20;

impl Config {
    /// Reads `file` and the environment.
    ///
    /// `file` must exist when it was named by the user; the default one may be missing.
    pub fn load(file: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut config = Self::defaults();
        config.given.file = Some(file.map(Path::to_owned));
        config.apply_named_file(file)?;
        config.apply_env(env)?;
        Ok(config)
    }

    /// The checks that concern several settings; run it last, after the command line had its say.
    pub fn validated(self) -> Result<Self, ConfigError> {
        let on_network = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
        if !self.require_api_key {
            let open = |address, setting, or_nothing| {
                Err(ConfigError::OpenToTheNetwork { address, setting, or_nothing })
            };
            if on_network(&self.listen) {
                return open(self.listen, "server.listen", "");
            }
            if let Some(address) = self.https_listen.filter(on_network) {
                return open(address, "server.https_listen", ", or nothing to switch HTTPS off");
            }
        }
        if on_network(&self.listen) && !self.allow_plain_http {
            return Err(ConfigError::PlainHttpOnTheNetwork(self.listen));
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(ConfigError::HalfACertificate);
        }
        self.check_mail()?;
        let marks = self.retention;
        if marks.warn_percent > marks.stop_sends_percent {
            return Err(ConfigError::Marks {
                warn: marks.warn_percent,
                stop_sends: marks.stop_sends_percent,
            });
        }
        if !self.require_api_key && !self.trusted_proxies.is_empty() {
            return Err(ConfigError::OpenBehindProxy);
        }
        Ok(self)
    }

    fn check_mail(&self) -> Result<(), ConfigError> {
        let mail = &self.mail;
        let Some(server) = &mail.server else { return Ok(()) };
        if mail.from.is_none() {
            return Err(ConfigError::MailSender);
        }
        if mail.security == mail::Security::None && !server.is_loopback() {
            return Err(ConfigError::MailUnsafe(server.to_string()));
        }
        if mail.user.is_some() && mail.password.is_none() {
            return Err(ConfigError::MailPassword);
        }
        if mail.notify != When::None && mail.to.is_empty() {
            return Err(ConfigError::MailToNobody(mail.notify));
        }
        Ok(())
    }

    /// The routes that faxes of live keys may take, in order.
    pub fn live_routes(&self) -> RouteList {
        self.routes.clone().unwrap_or_else(|| self.route.to_string().as_str().into())
    }

    /// Every setting with its value in force, as one would write it. Holds no secret.
    pub fn in_force(&self) -> impl Iterator<Item = (&'static str, String)> {
        SETTINGS.iter().map(|setting| (setting.key, (setting.get)(self)))
    }

    fn defaults() -> Self {
        let mut config = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            https_listen: None,
            allow_plain_http: false,
            tls_cert: None,
            tls_key: None,
            max_connections: limits::CONNECTIONS,
            metrics_listen: None,
            host_names: Vec::new(),
            trusted_proxies: Vec::new(),
            path_prefix: String::new(),
            data_dir: PathBuf::new(),
            require_api_key: true,
            api_key: None,
            allow_bootstrap_key: false,
            allow_query_api_key: false,
            reveal_policy: RevealPolicy::default(),
            max_requests_per_minute: 0,
            max_file_size_mb: limits::DEFAULT_UPLOAD_MB,
            max_pages: limits::MAX_PAGES,
            workers: 2,
            require_sandbox: true,
            cover_template: String::new(),
            route: RouteName::Simulator,
            routes: None,
            calls: Capacities::default(),
            hours: RouteHours::default(),
            station_id: String::new(),
            header: String::new(),
            country_code: CountryCode::default(),
            dialling: dialling::Limits::default(),
            second_look: second_look::Settings::default(),
            station_check: station::Check::default(),
            webhooks_allow: Vec::new(),
            mail: mail::Settings::default(),
            retention: retention::Rules::default(),
            audit_retention_days: 0,
            support_contact: None,
            log_level: LevelFilter::Info,
            given: Given::default(),
        };
        for setting in SETTINGS {
            (setting.set)(&mut config, setting.default)
                .expect("every default is allowed; a test sets them all");
        }
        config
    }

    /// Applies the file that was named, or the default one if it is there.
    fn apply_named_file(&mut self, file: Option<&Path>) -> Result<(), ConfigError> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => self.apply_file(path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => Ok(()),
            Err(error) => Err(ConfigError::Unreadable(path.to_owned(), error)),
        }
    }

    fn apply_file(&mut self, file: &Path, text: &str) -> Result<(), ConfigError> {
        let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let document = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            file: file.to_owned(),
            line: line_of(error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        for (section, content) in document.get_ref() {
            let section_line = line_of(section.span().start);
            let DeValue::Table(content) = content.get_ref() else {
                return Err(unknown(file, section_line, section.get_ref(), ""));
            };
            if !SETTINGS.iter().any(|setting| section_of(setting) == section.get_ref().as_ref()) {
                return Err(unknown(file, section_line, section.get_ref(), ""));
            }
            for (key, value) in content {
                let line = line_of(key.span().start);
                let name = format!("{}.{}", section.get_ref(), key.get_ref());
                let Some(setting) = SETTINGS.iter().find(|setting| setting.key == name) else {
                    return Err(unknown(file, line, &name, section.get_ref()));
                };
                let source = Source::File { file: file.to_owned(), line };
                self.apply(setting, &plain(value.get_ref()), source)?;
            }
        }
        Ok(())
    }

    fn apply_env(&mut self, env: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        for setting in SETTINGS {
            for name in setting.env {
                if let Some(value) = env(name) {
                    self.apply(setting, value.trim(), Source::Environment(name))?;
                    break;
                }
            }
        }
        if let Some(key) = env(API_KEY).filter(|key| !key.is_empty()) {
            if key.len() < API_KEY_LEN {
                return Err(ConfigError::ShortApiKey);
            }
            self.api_key = Some(Secret::new(key));
        }
        let folder = env(CREDENTIALS).map(PathBuf::from);
        let credential = folder.and_then(|folder| std::fs::read_to_string(folder.join(MAIL_CREDENTIAL)).ok());
        let password = env(MAIL_PASSWORD).or(credential.map(|text| text.trim_end().to_owned()));
        self.mail.password = password.filter(|password| !password.is_empty()).map(Secret::new);
        Ok(())
    }

    fn apply(&mut self, setting: &Setting, value: &str, source: Source) -> Result<(), ConfigError> {
        (setting.set)(self, value).ok_or_else(|| ConfigError::Value {
            source_name: source.to_string(),
            key: setting.key,
            value: value.to_owned(),
            allowed: setting.allowed,
        })?;
        self.given.note(setting.key, value, source);
        Ok(())
    }
}

fn section_of(setting: &Setting) -> &'static str {
    setting.key.split_once('.').map_or("", |(section, _)| section)
}

/// The sentence for a key that does not exist: lists its section's keys, or the sections.
fn unknown(file: &Path, line: usize, key: &str, section: &str) -> ConfigError {
    let mut allowed: Vec<&str> = SETTINGS
        .iter()
        .filter(|setting| section.is_empty() || section_of(setting) == section)
        .map(|setting| if section.is_empty() { section_of(setting) } else { setting.key })
        .collect();
    allowed.dedup();
    ConfigError::Unknown { file: file.to_owned(), line, key: key.to_owned(), allowed: allowed.join(", ") }
}

#[cfg(test)]
mod tests;
