//! Settings: file and environment become one validated [`Config`].
//!
//! Owns: the table of all settings ([`SETTINGS`]) with their environment names, defaults and
//! allowed values. Order: default < file < environment < command line. Refuses: unknown keys and
//! values out of range; the start stops with file, line and what is allowed.
//!
//! Faxbot's variable names are accepted where they mean the same.

mod error;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

pub use error::ConfigError;
use log::LevelFilter;
use toml::de::{DeTable, DeValue};

use crate::access::cidr::Cidr;
use crate::access::kind::RevealPolicy;
use crate::fax::number::CountryCode;
use crate::limits;
use crate::net::names::is_host_name;
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
    /// Route of live keys.
    pub route: RouteName,
    /// What we call ourselves to the other machine.
    pub station_id: String,
    /// Sender's name in the tag line of real calls.
    pub header: String,
    /// Country code of numbers written without one.
    pub country_code: CountryCode,
    /// Days that rows of the audit log are kept.
    pub audit_retention_days: u32,
    /// Log level.
    pub log_level: LevelFilter,
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

/// Every setting there is.
pub static SETTINGS: &[Setting] = &[
    Setting {
        key: "server.listen",
        env: &["PAGEWIRE_LISTEN"],
        default: "127.0.0.1:8080",
        allowed: "an address and port, like 127.0.0.1:8080",
        get: |config| config.listen.to_string(),
        set: |config, text| store(&mut config.listen, text.parse().ok()?),
    },
    Setting {
        key: "server.https_listen",
        env: &["PAGEWIRE_HTTPS_LISTEN"],
        default: "[::]:8443",
        allowed: "an address and port, like [::]:8443, or nothing to switch it off",
        get: |config| shown(config.https_listen.as_ref()),
        set: |config, text| store(&mut config.https_listen, optional(text, |text| text.parse().ok())?),
    },
    Setting {
        key: "server.tls_cert",
        env: &["PAGEWIRE_TLS_CERT"],
        default: "",
        allowed: "a PEM file, or nothing to use the local authority",
        get: |config| shown(config.tls_cert.as_ref().map(|file| file.display()).as_ref()),
        set: |config, text| store(&mut config.tls_cert, optional(text, |text| Some(text.into()))?),
    },
    Setting {
        key: "server.tls_key",
        env: &["PAGEWIRE_TLS_KEY"],
        default: "",
        allowed: "a PEM file, or nothing to use the local authority",
        get: |config| shown(config.tls_key.as_ref().map(|file| file.display()).as_ref()),
        set: |config, text| store(&mut config.tls_key, optional(text, |text| Some(text.into()))?),
    },
    Setting {
        key: "server.host_names",
        env: &["PAGEWIRE_HOST_NAMES"],
        default: "",
        allowed: "host names or addresses with commas between, like fax.example.org, 203.0.113.5",
        get: |config| config.host_names.join(", "),
        set: |config, text| store(&mut config.host_names, list(text, host_name)?),
    },
    Setting {
        key: "server.allow_plain_http",
        env: &["PAGEWIRE_ALLOW_PLAIN_HTTP"],
        default: "false",
        allowed: "true or false",
        get: |config| config.allow_plain_http.to_string(),
        set: |config, text| store(&mut config.allow_plain_http, truth(text)?),
    },
    Setting {
        key: "server.max_connections",
        env: &["PAGEWIRE_MAX_CONNECTIONS"],
        default: "4096",
        allowed: "a number from 64 to 65536",
        get: |config| config.max_connections.to_string(),
        set: |config, text| store(&mut config.max_connections, number(text, 64, 65_536)?),
    },
    Setting {
        key: "server.metrics_listen",
        env: &["PAGEWIRE_METRICS_LISTEN"],
        default: "",
        allowed: "an address and port, or nothing to switch it off",
        get: |config| shown(config.metrics_listen.as_ref()),
        set: |config, text| store(&mut config.metrics_listen, optional(text, |text| text.parse().ok())?),
    },
    Setting {
        key: "server.trusted_proxies",
        env: &["PAGEWIRE_TRUSTED_PROXIES"],
        default: "",
        allowed: "addresses and networks like 127.0.0.1 or 10.0.0.0/8, separated by commas",
        get: |config| config.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        set: |config, text| store(&mut config.trusted_proxies, list(text, |network| network.parse().ok())?),
    },
    Setting {
        key: "storage.data_dir",
        env: &["PAGEWIRE_DATA_DIR", "FAX_DATA_DIR"],
        default: "/var/lib/pagewire",
        allowed: "a folder",
        get: |config| config.data_dir.display().to_string(),
        set: |config, text| (!text.is_empty()).then(|| config.data_dir = PathBuf::from(text)),
    },
    Setting {
        key: "security.require_api_key",
        env: &["REQUIRE_API_KEY"],
        default: "true",
        allowed: "true or false",
        get: |config| config.require_api_key.to_string(),
        set: |config, text| store(&mut config.require_api_key, truth(text)?),
    },
    Setting {
        key: "security.allow_bootstrap_key",
        env: &["ALLOW_BOOTSTRAP_KEY"],
        default: "false",
        allowed: "true or false",
        get: |config| config.allow_bootstrap_key.to_string(),
        set: |config, text| store(&mut config.allow_bootstrap_key, truth(text)?),
    },
    Setting {
        key: "security.allow_query_api_key",
        env: &["ALLOW_QUERY_API_KEY"],
        default: "false",
        allowed: "true or false",
        get: |config| config.allow_query_api_key.to_string(),
        set: |config, text| store(&mut config.allow_query_api_key, truth(text)?),
    },
    Setting {
        key: "security.reveal_policy",
        env: &["KEY_REVEAL_POLICY"],
        default: "per_key",
        allowed: "never, account or per_key",
        get: |config| config.reveal_policy.to_string(),
        set: |config, text| store(&mut config.reveal_policy, text.parse().ok()?),
    },
    Setting {
        key: "security.max_requests_per_minute",
        env: &["MAX_REQUESTS_PER_MINUTE"],
        default: "0",
        allowed: "a number from 0 (off) to 1000000",
        get: |config| config.max_requests_per_minute.to_string(),
        set: |config, text| store(&mut config.max_requests_per_minute, number(text, 0, 1_000_000)?),
    },
    Setting {
        key: "security.max_file_size_mb",
        env: &["MAX_FILE_SIZE_MB"],
        default: "10",
        allowed: "a number from 1 to 100",
        get: |config| config.max_file_size_mb.to_string(),
        set: |config, text| store(&mut config.max_file_size_mb, number(text, 1, limits::MAX_UPLOAD_MB)?),
    },
    Setting {
        key: "documents.max_pages",
        env: &["PAGEWIRE_MAX_PAGES"],
        default: "500",
        allowed: "a number from 1 to 500",
        get: |config| config.max_pages.to_string(),
        set: |config, text| store(&mut config.max_pages, number(text, 1, limits::MAX_PAGES)?),
    },
    Setting {
        key: "documents.workers",
        env: &["PAGEWIRE_WORKERS"],
        default: "2",
        allowed: "a number from 1 to 64",
        get: |config| config.workers.to_string(),
        set: |config, text| store(&mut config.workers, number(text, 1, 64)?),
    },
    Setting {
        key: "documents.require_sandbox",
        env: &["PAGEWIRE_REQUIRE_SANDBOX"],
        default: "true",
        allowed: "true or false",
        get: |config| config.require_sandbox.to_string(),
        set: |config, text| store(&mut config.require_sandbox, truth(text)?),
    },
    Setting {
        key: "line.route",
        env: &["PAGEWIRE_ROUTE"],
        default: "simulator",
        allowed: "loopback or simulator",
        get: |config| config.route.to_string(),
        set: |config, text| {
            config.route = match text {
                "loopback" => RouteName::Loopback,
                "simulator" => RouteName::Simulator,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        key: "line.station_id",
        env: &["FAX_LOCAL_STATION_ID"],
        default: "",
        allowed: "at most 20 digits, spaces and +",
        get: |config| config.station_id.clone(),
        set: |config, text| {
            // T.30 5.3.6.2.4: twenty characters of this set.
            let fits = text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit() || b == b' ' || b == b'+');
            fits.then(|| config.station_id = text.to_owned())
        },
    },
    Setting {
        key: "line.header",
        env: &["FAX_HEADER"],
        default: "",
        allowed: "at most 50 printable characters",
        get: |config| config.header.clone(),
        set: |config, text| {
            let fits = text.chars().count() <= 50 && !text.chars().any(char::is_control);
            fits.then(|| config.header = text.to_owned())
        },
    },
    Setting {
        key: "line.country_code",
        env: &["PAGEWIRE_COUNTRY_CODE"],
        default: "1",
        allowed: "one to three digits, like 1 or 49",
        get: |config| config.country_code.to_string(),
        set: |config, text| store(&mut config.country_code, text.parse().ok()?),
    },
    Setting {
        key: "audit.retention_days",
        env: &["AUDIT_RETENTION_DAYS"],
        default: "2192",
        allowed: "a number from 365 to 36500",
        get: |config| config.audit_retention_days.to_string(),
        set: |config, text| store(&mut config.audit_retention_days, number(text, 365, 36_500)?),
    },
    Setting {
        key: "log.level",
        env: &["PAGEWIRE_LOG"],
        default: "info",
        allowed: "error, warn, info, debug or trace",
        get: |config| config.log_level.to_string().to_lowercase(),
        set: |config, text| store(&mut config.log_level, text.parse().ok()?),
    },
];

/// The bootstrap key is a secret and therefore never in the file.
const API_KEY: &str = "API_KEY";
/// Shortest bootstrap key that is taken.
const API_KEY_LEN: usize = 20;

impl Config {
    /// Reads `file` and the environment.
    ///
    /// `file` must exist when it was named by the user; the default one may be missing.
    pub fn load(file: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut config = Self::defaults();
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => config.apply_file(path, &text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => {}
            Err(error) => return Err(ConfigError::Unreadable(path.to_owned(), error)),
        }
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
        if !self.require_api_key && !self.trusted_proxies.is_empty() {
            return Err(ConfigError::OpenBehindProxy);
        }
        Ok(self)
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
            route: RouteName::Simulator,
            station_id: String::new(),
            header: String::new(),
            country_code: CountryCode::default(),
            audit_retention_days: 0,
            log_level: LevelFilter::Info,
        };
        for setting in SETTINGS {
            (setting.set)(&mut config, setting.default)
                .expect("every default is allowed; a test sets them all");
        }
        config
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
                let source_name = format!("{}, line {line}", file.display());
                self.apply(setting, &plain(value.get_ref()), source_name)?;
            }
        }
        Ok(())
    }

    fn apply_env(&mut self, env: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        for setting in SETTINGS {
            for name in setting.env {
                if let Some(value) = env(name) {
                    self.apply(setting, value.trim(), format!("environment variable {name}"))?;
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
        Ok(())
    }

    fn apply(&mut self, setting: &Setting, value: &str, source_name: String) -> Result<(), ConfigError> {
        (setting.set)(self, value).ok_or_else(|| ConfigError::Value {
            source_name,
            key: setting.key,
            value: value.to_owned(),
            allowed: setting.allowed,
        })
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

fn plain(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            "a value of another kind".to_owned()
        }
    }
}

fn store<T>(place: &mut T, value: T) -> Option<()> {
    *place = value;
    Some(())
}

/// A value that may be absent, as one would write it.
fn shown(value: Option<&impl fmt::Display>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// Nothing, or what `read` makes of the text.
fn optional<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { read(text).map(Some) }
}

/// What commas separate; nothing is an empty list.
fn list<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(read).collect()
}

/// A host name in lower case, or an address.
fn host_name(text: &str) -> Option<String> {
    let is_known = text.parse::<IpAddr>().is_ok() || is_host_name(text);
    is_known.then(|| text.to_ascii_lowercase())
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

fn number(text: &str, least: u32, most: u32) -> Option<u32> {
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

#[cfg(test)]
mod tests;
