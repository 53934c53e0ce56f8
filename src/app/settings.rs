//! Settings that change while the appliance runs.
//!
//! Owns: the settings in force, checking and storing a change, and handing it to the parts that take
//! it at once. Refuses: what the start would refuse, and what would keep it from starting again: an
//! address that cannot be listened on, a certificate that cannot be used.
//!
//! Invariant: a change is on disk, with its row in the audit log, before any part works by it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, PoisonError};

use crossbeam_utils::sync::ShardedLock;

use super::App;
use crate::access::audit::{Action, Context, Snapshot, Target};
use crate::config::{Config, ConfigError, Form, SETTINGS, Source, Standing, is_live};
use crate::db::DbError;
use crate::fax::policy;
use crate::net::tls::{Certificates, Source as CertificateSource};
use crate::queue::Tuning;

/// Settings that only a global administrator changes.
const GLOBAL: &[&str] = &[
    "server.tls_cert",
    "server.tls_key",
    "security.reveal_policy",
    "documents.require_sandbox",
    // To another server, or in the clear, the password would go where it does not belong.
    "mail.server",
    "mail.security",
    "mail.user",
];
/// Settings that name an address to listen on.
const LISTENERS: &[&str] = &["server.listen", "server.https_listen", "server.metrics_listen"];
/// Which settings a check of several is about, by the words its sentence has.
const ABOUT: &[&str] = &[
    "security.require_api_key",
    "server.trusted_proxies",
    "server.listen",
    "server.https_listen",
    "server.allow_plain_http",
    "server.tls_cert",
    "server.tls_key",
    "storage.warn_percent",
    "storage.stop_sends_percent",
    "mail.server",
    "mail.security",
    "mail.user",
    "mail.from",
    "mail.to",
    "mail.notify",
];

/// What is asked for: values to store, and `None` to forget what is stored.
pub type Changes = BTreeMap<String, Option<String>>;

/// The settings of a running appliance.
pub(super) struct Settings {
    current: ShardedLock<Arc<Config>>,
    /// As they were when the parts were made that take no change.
    at_start: Arc<Config>,
    /// Where plain HTTP is listened for; the system may have given another address than was set.
    http_address: SocketAddr,
    /// Held by who changes them.
    changing: tokio::sync::Mutex<()>,
}

/// One setting as it stands.
#[derive(Clone, Debug)]
pub struct Shown {
    /// `section.key`.
    pub key: &'static str,
    /// Its value, where that is from, and what is stored.
    pub standing: Standing,
    /// The default.
    pub default: &'static str,
    /// What is allowed, in words.
    pub allowed: &'static str,
    /// What its values look like.
    pub form: Form,
    /// Environment variables that set it.
    pub env: &'static [&'static str],
    /// Whether a change is in force at once.
    pub is_live: bool,
    /// Whether it was changed, and waits for the next start.
    pub is_pending: bool,
    /// Whether only a global administrator changes it.
    pub is_global: bool,
    /// Whether it can be changed here at all.
    pub is_changeable: bool,
}

/// What came of a change.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// Settings with another value than before.
    pub changed: Vec<&'static str>,
    /// Of those that were asked for, what counts in their place.
    pub overridden: Vec<(&'static str, String)>,
    /// All that wait for the next start.
    pub pending: Vec<&'static str>,
}

/// One thing that is wrong with a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The setting, as it was asked for.
    pub key: String,
    /// A stable code.
    pub code: &'static str,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// Why settings were not changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Something is wrong with what was asked for, or with the file.
    #[error("{}", .0.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join(" "))]
    Faults(Vec<Fault>),
    /// The database refused.
    #[error("the settings cannot be stored")]
    Db(#[from] DbError),
}

impl Settings {
    pub(super) fn new(config: Config, http_address: SocketAddr) -> Self {
        let config = Arc::new(config);
        Self {
            current: ShardedLock::new(config.clone()),
            at_start: config,
            http_address,
            changing: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn current(&self) -> Arc<Config> {
        self.with(Arc::clone)
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&Arc<Config>) -> T) -> T {
        look(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Settings of `config` that wait for the next start.
    fn pending(&self, config: &Config) -> Vec<&'static str> {
        different(&self.at_start, config).filter(|key| !is_live(key)).collect()
    }

    /// The checks of the start, and whether another start would come as far.
    fn check(&self, config: Config, asked: &Changes) -> Result<Config, SettingsError> {
        let listen = if config.listen == self.at_start.listen { self.http_address } else { config.listen };
        let checked = Config { listen, ..config.clone() }.validated();
        checked.map_err(|error| SettingsError::Faults(vec![about_several(&error, asked)]))?;
        let mut faults = Vec::new();
        for key in different(&self.at_start, &config).filter(|key| LISTENERS.contains(key)) {
            let Some(address) = config.standing(key).and_then(|now| now.value.parse::<SocketAddr>().ok())
            else {
                continue;
            };
            if let Err(error) = TcpListener::bind(address) {
                let message =
                    format!("'{key}' cannot be {address}, which cannot be listened on here: {error}");
                faults.push(Fault { key: key.to_owned(), code: "unavailable", message });
            }
        }
        if let (Some(certificate), Some(key)) = (&config.tls_cert, &config.tls_key)
            && different(&self.at_start, &config).any(|key| key.starts_with("server.tls_"))
        {
            let source = CertificateSource::Files { certificate: certificate.clone(), key: key.clone() };
            if let Err(error) = Certificates::open(source, crate::clock::Clock::System) {
                let key = "server.tls_cert".to_owned();
                faults.push(Fault { key, code: "invalid", message: format!("{error}.") });
            }
        }
        if faults.is_empty() { Ok(config) } else { Err(SettingsError::Faults(faults)) }
    }
}

impl App {
    /// Every setting as it stands, in the order of the file.
    pub fn settings(&self) -> Vec<Shown> {
        let (config, pending) = (self.config(), self.pending_settings());
        let shown = SETTINGS.iter().filter_map(|setting| {
            Some(Shown {
                key: setting.key,
                standing: config.standing(setting.key)?,
                default: setting.default,
                allowed: setting.allowed,
                form: setting.form(),
                env: setting.env,
                is_live: is_live(setting.key),
                is_pending: pending.contains(&setting.key),
                is_global: is_global(setting.key),
                is_changeable: Config::can_store(setting.key),
            })
        });
        shown.collect()
    }

    /// Settings that were changed and wait for the next start.
    pub fn pending_settings(&self) -> Vec<&'static str> {
        self.inner.settings.pending(&self.config())
    }

    /// What would become of this change; nothing is changed.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub async fn check_settings(&self, asked: &Changes) -> Result<Changed, SettingsError> {
        let (_, config) = self.with_changes(asked).await?;
        Ok(self.difference(&config, asked))
    }

    /// Stores a change and works by it, as far as that needs no new start.
    ///
    /// # Errors
    ///
    /// All that is wrong with it; nothing is changed then.
    pub async fn change_settings(&self, asked: Changes, by: &Context) -> Result<Changed, SettingsError> {
        let _alone = self.inner.settings.changing.lock().await;
        let (asked, config) = self.with_changes(&asked).await?;
        let changed = self.difference(&config, &asked);
        let before = self.config();
        let now = self.clock().now();
        let rows = asked.keys().filter_map(|key| {
            let (was, is) = (before.standing(key)?, config.standing(key)?);
            if was == is {
                return None;
            }
            let shown = |standing: Standing| {
                Snapshot::new().with("value", standing.value).with("source", standing.source.to_string())
            };
            let target = Target::new("settings", key);
            Some(by.event(Action::SettingsChanged, target, now).before(shown(was)).after(shown(is)))
        });
        let mut rows = rows.collect::<Vec<_>>().into_iter();
        let Some(first) = rows.next() else { return Ok(changed) };
        let audited = self.db().audited(first).and(rows);
        audited.store_settings(asked, by.actor.clone(), now).await?;
        self.work_by(config);
        log::info!("settings were changed by {}: {}", by.actor, changed.changed.join(", "));
        Ok(changed)
    }

    /// Reads the configuration file anew and works by it, as far as that needs no new start.
    ///
    /// # Errors
    ///
    /// What is wrong with the file; nothing is changed then.
    pub async fn reload_settings(&self, by: &Context) -> Result<Changed, SettingsError> {
        let settings = &self.inner.settings;
        let _alone = settings.changing.lock().await;
        let before = self.config();
        let none = Changes::new();
        let config = before.with_file_reread().map_err(|error| in_file(&error))?;
        let config = settings.check(config, &none)?;
        let changed = self.difference(&config, &none);
        let now = self.clock().now();
        let rows = changed.changed.iter().filter_map(|key| {
            let (was, is) = (before.standing(key)?, config.standing(key)?);
            let shown = |standing: Standing| Snapshot::new().with("value", standing.value);
            let target = Target::new("settings", key);
            Some(by.event(Action::SettingsChanged, target, now).before(shown(was)).after(shown(is)))
        });
        let mut rows = rows.collect::<Vec<_>>().into_iter();
        if let Some(first) = rows.next() {
            self.db().audited(first).and(rows).record().await?;
            log::info!("settings were read anew: {}", changed.changed.join(", "));
        }
        self.work_by(config);
        Ok(changed)
    }

    /// What is asked for, as it will be stored, and the settings with it.
    async fn with_changes(&self, asked: &Changes) -> Result<(Changes, Config), SettingsError> {
        let mut faults = Vec::new();
        let mut sound = Changes::new();
        for (key, value) in asked {
            if !Config::can_store(key) && SETTINGS.iter().any(|setting| setting.key == key) {
                let message = format!("'{key}' is set in the configuration file only.");
                faults.push(Fault { key: key.clone(), code: "unavailable", message });
                continue;
            }
            let checked = match value {
                Some(value) => Config::checked(key, value.trim()).map(Some),
                // Asked for its own sake: whether there is such a setting.
                None if Config::can_store(key) => Ok(None),
                None => Config::checked(key, "").map(|_| None),
            };
            match checked {
                Ok(value) => drop(sound.insert(key.clone(), value)),
                Err(error) => faults.push(about_one(key, &error)),
            }
        }
        if !faults.is_empty() {
            return Err(SettingsError::Faults(faults));
        }
        let mut stored = self.db().stored_settings().await?;
        for (key, value) in &sound {
            match value {
                Some(value) => drop(stored.insert(key.clone(), value.clone())),
                None => drop(stored.remove(key)),
            }
        }
        let config = self.config().with_stored(&stored).map_err(|error| in_file(&error))?;
        Ok((sound, self.inner.settings.check(config, asked)?))
    }

    fn difference(&self, config: &Config, asked: &Changes) -> Changed {
        let overridden = SETTINGS.iter().filter(|setting| asked.contains_key(setting.key));
        let overridden = overridden.filter_map(|setting| {
            let standing = config.standing(setting.key)?;
            (standing.source > Source::Stored).then(|| (setting.key, standing.source.to_string()))
        });
        Changed {
            changed: different(&self.config(), config).collect(),
            overridden: overridden.collect(),
            pending: self.inner.settings.pending(config),
        }
    }

    fn work_by(&self, config: Config) {
        let config = Arc::new(config);
        *self.inner.settings.current.write().unwrap_or_else(PoisonError::into_inner) = config.clone();
        self.queue().tune(Tuning {
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
        });
        self.post().set(config.mail.clone());
        self.keys().set_reveal_policy(config.reveal_policy);
        self.audit().keep_for(config.audit_retention_days);
        log::set_max_level(config.log_level);
    }
}

/// Whether only a global administrator changes this setting.
pub fn is_global(key: &str) -> bool {
    GLOBAL.contains(&key)
}

fn different<'a>(one: &'a Config, other: &'a Config) -> impl Iterator<Item = &'static str> + 'a {
    one.in_force().zip(other.in_force()).filter(|(one, other)| one.1 != other.1).map(|(one, _)| one.0)
}

fn about_one(key: &str, error: &ConfigError) -> Fault {
    let (code, message) = match error {
        ConfigError::Value { value, allowed, .. } => {
            ("invalid", format!("'{key}' cannot be '{value}'; allowed: {allowed}."))
        }
        ConfigError::Unknown { key, allowed, .. } => {
            ("unknown", format!("There is no setting '{key}'; allowed: {allowed}."))
        }
        error => ("invalid", format!("{error}.")),
    };
    Fault { key: key.to_owned(), code, message }
}

/// A check of several settings, told of the one that was asked for.
fn about_several(error: &ConfigError, asked: &Changes) -> Fault {
    let message = format!("{error}.");
    let key = ABOUT.iter().find(|key| asked.contains_key(**key)).copied().unwrap_or("settings");
    Fault { key: key.to_owned(), code: "conflict", message }
}

fn in_file(error: &ConfigError) -> SettingsError {
    let fault = Fault { key: "settings".to_owned(), code: "invalid", message: format!("{error}.") };
    SettingsError::Faults(vec![fault])
}
