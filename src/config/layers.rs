//! Where each setting has its value from, and what becomes of it when one of those places changes.
//!
//! Owns: the order default < file < stored < environment < command line, applied setting by setting.
//! "Stored" is what administrators change while the appliance runs. Refuses: a stored value for the
//! data folder, in which stored values lie.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::{Config, ConfigError, SETTINGS, Setting};

/// Settings whose new value is in force at once; the others wait for the next start.
const LIVE: &[&str] = &[
    "storage.keep_sent_days",
    "storage.keep_received_days",
    "storage.warn_percent",
    "storage.stop_sends_percent",
    "storage.when_low",
    "security.require_api_key",
    "security.allow_query_api_key",
    "security.reveal_policy",
    "security.max_requests_per_minute",
    "security.max_file_size_mb",
    "server.trusted_proxies",
    "documents.cover_template",
    "line.route",
    "line.routes",
    "line.calls",
    "line.hours",
    "line.station_id",
    "line.header",
    "line.country_code",
    "line.dials_per_hour",
    "line.minutes_per_day",
    "line.second_look",
    "line.station_id_check",
    "mail.server",
    "mail.security",
    "mail.user",
    "mail.from",
    "mail.to",
    "mail.notify",
    "mail.alerts_to",
    "mail.show_numbers",
    "support.contact",
    "audit.retention_days",
    "log.level",
];
/// The one that says where the stored ones are.
const NOT_STORED: &str = "storage.data_dir";

/// Whether a new value of this setting is in force at once.
pub fn is_live(key: &str) -> bool {
    LIVE.contains(&key)
}

/// Where a value comes from, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File {
        /// Which.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// An administrator, while the appliance ran.
    Stored,
    /// The environment variable of this name.
    Environment(&'static str),
    /// The program's arguments.
    CommandLine,
}

impl Source {
    /// Its word in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File { .. } => "file",
            Self::Stored => "stored",
            Self::Environment(_) => "environment",
            Self::CommandLine => "command_line",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{}, line {line}", file.display()),
            Self::Stored => f.write_str("Settings in the console"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// What a value looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// `true` or `false`.
    Truth,
    /// A whole number.
    Number,
    /// One of these words.
    Choice(Vec<&'static str>),
    /// Anything else.
    Text,
}

impl Form {
    /// Its word in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Truth => "truth",
            Self::Number => "number",
            Self::Choice(_) => "choice",
            Self::Text => "text",
        }
    }

    /// The words of a choice.
    pub fn choices(&self) -> &[&'static str] {
        match self {
            Self::Choice(words) => words,
            _ => &[],
        }
    }
}

impl Setting {
    /// What its values look like, as its own words about them say.
    pub fn form(&self) -> Form {
        if self.allowed == "true or false" {
            return Form::Truth;
        }
        if self.allowed.starts_with("a number ") {
            return Form::Number;
        }
        let words = self.allowed.split([',', ' ']).filter(|word| !word.is_empty() && *word != "or");
        let words: Vec<&str> = words.collect();
        let is_list = self.allowed.contains(" or ")
            && words.len() == self.allowed.matches([',']).count() + self.allowed.matches(" or ").count() + 1;
        if is_list && words.contains(&self.default) { Form::Choice(words) } else { Form::Text }
    }
}

/// What was said of settings, by key.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The file they were read from, if one was named; none when there is no file at all.
    pub(super) file: Option<Option<PathBuf>>,
    values: BTreeMap<&'static str, Vec<(Source, String)>>,
}

impl Given {
    pub(super) fn note(&mut self, key: &'static str, value: &str, source: Source) {
        let values = self.values.entry(key).or_default();
        values.retain(|(other, _)| other.as_str() != source.as_str());
        values.push((source, value.to_owned()));
        values.sort();
    }

    fn forget(&mut self, word: &str) {
        self.values.values_mut().for_each(|values| values.retain(|(source, _)| source.as_str() != word));
    }

    fn of(&self, key: &str) -> &[(Source, String)] {
        self.values.get(key).map_or(&[], Vec::as_slice)
    }
}

/// How one setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The value that counts, as one would write it.
    pub value: String,
    /// Where that is from.
    pub source: Source,
    /// What is stored, whether it counts or not.
    pub stored: Option<String>,
}

impl Config {
    /// The same with this said on the command line.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`] when it cannot be used.
    pub fn with_argument(mut self, key: &str, value: &str) -> Result<Self, ConfigError> {
        let setting = find(key)?;
        self.apply(setting, value, Source::CommandLine)?;
        Ok(self)
    }

    /// The same with these stored values in place of those it had. Keys that this version does not
    /// know are left out.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`] when one of them cannot be used.
    pub fn with_stored(&self, stored: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut config = self.clone();
        config.given.forget(Source::Stored.as_str());
        for setting in SETTINGS.iter().filter(|setting| setting.key != NOT_STORED) {
            let Some(value) = stored.get(setting.key) else { continue };
            // Looked at even where it does not count, so that it can be relied on once it does.
            Self::defaults().apply(setting, value, Source::Stored)?;
            config.given.note(setting.key, value, Source::Stored);
        }
        config.settled(self)
    }

    /// The same with its configuration file read anew.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub fn with_file_reread(&self) -> Result<Self, ConfigError> {
        let Some(file) = &self.given.file else { return Ok(self.clone()) };
        let mut read = Self::defaults();
        read.apply_named_file(file.as_deref())?;
        let mut config = self.clone();
        config.given.forget("file");
        for (key, values) in read.given.values {
            for (source, value) in values {
                config.given.note(key, &value, source);
            }
        }
        config.settled(self)
    }

    /// How this setting stands; `None` when there is no such setting.
    pub fn standing(&self, key: &str) -> Option<Standing> {
        let setting = find(key).ok()?;
        let value = (setting.get)(self);
        let given = self.given.of(key);
        let source = match given.last() {
            Some((source, text)) if written(setting, text) == Some(value.clone()) => source.clone(),
            None if value == setting.default => Source::Default,
            // Put there by the program itself, as the demo does.
            _ => Source::CommandLine,
        };
        let stored = given.iter().find(|(source, _)| *source == Source::Stored);
        Some(Standing { value, source, stored: stored.map(|(_, value)| value.clone()) })
    }

    /// This text as the setting's value, the way it is shown; or what is wrong with it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unknown`] or [`ConfigError::Value`].
    pub fn checked(key: &str, value: &str) -> Result<String, ConfigError> {
        let setting = find(key)?;
        let mut config = Self::defaults();
        config.apply(setting, value, Source::Stored)?;
        Ok((setting.get)(&config))
    }

    /// Whether this setting can be stored in the appliance.
    pub fn can_store(key: &str) -> bool {
        key != NOT_STORED && find(key).is_ok()
    }

    /// The configuration file: of all values in force, those that differ from the defaults, and the
    /// others as remarks. Holds no secret.
    pub fn to_toml(&self) -> String {
        let mut text = String::from("# Settings of Pagewire. What is commented out is the default.\n");
        let mut section = "";
        for setting in SETTINGS {
            let (of, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
            if of != section {
                section = of;
                text.push_str(&format!("\n[{section}]\n"));
            }
            let value = (setting.get)(self);
            let mark = if value == setting.default { "# " } else { "" };
            let written = match setting.form() {
                Form::Truth | Form::Number => value,
                Form::Choice(_) | Form::Text => toml::Value::String(value).to_string(),
            };
            text.push_str(&format!("{mark}{name} = {written}\n"));
        }
        text
    }

    /// Takes of each setting whose best source has changed since `before` what that says.
    fn settled(mut self, before: &Self) -> Result<Self, ConfigError> {
        for setting in SETTINGS {
            let now = self.given.of(setting.key).last().cloned();
            if now.as_ref() == before.given.of(setting.key).last() {
                continue;
            }
            let (source, value) = now.unwrap_or((Source::Default, setting.default.to_owned()));
            (setting.set)(&mut self, &value).ok_or_else(|| ConfigError::Value {
                source_name: source.to_string(),
                key: setting.key,
                value,
                allowed: setting.allowed,
            })?;
        }
        Ok(self)
    }
}

fn find(key: &str) -> Result<&'static Setting, ConfigError> {
    SETTINGS.iter().find(|setting| setting.key == key).ok_or_else(|| {
        let keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
        let text: String = key.chars().take(60).collect();
        ConfigError::Unknown { file: PathBuf::new(), line: 0, key: text, allowed: keys.join(", ") }
    })
}

/// The text as the setting shows it.
fn written(setting: &Setting, text: &str) -> Option<String> {
    let mut config = Config::defaults();
    (setting.set)(&mut config, text)?;
    Some((setting.get)(&config))
}
