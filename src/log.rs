//! The log.
//!
//! Owns: where log lines go (the journal under systemd, else standard error) and the last filter
//! they pass. Refuses: tokens. Types already keep them out; should one slip through, its secret
//! part is blotted out here. Numbers, names and document content are kept out by those who log.

use std::borrow::Cow;
use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// What tokens begin with.
const TOKEN_PREFIXES: [&str; 2] = ["fbk_live_", "fbk_test_"];
/// Characters of a token's public id and the underscore after it, which may stay readable.
const ID_LEN: usize = 13;

/// Starts logging at `level`. Call once, first thing.
pub fn start(level: LevelFilter) {
    let journal = if connected_to_journal() { JournalLog::new().ok() } else { None };
    let backend: Box<dyn Log> = match journal {
        Some(journal) => Box::new(journal),
        None => Box::new(Stderr),
    };
    // A second logger is refused; the first one stays, which is what tests want.
    if log::set_boxed_logger(Box::new(Scrubbed(backend))).is_ok() {
        log::set_max_level(level);
    }
}

struct Scrubbed(Box<dyn Log>);

impl Log for Scrubbed {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries speak at warn and above only.
        metadata.target().starts_with("pagewire") || metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        match scrub(&text) {
            Cow::Borrowed(_) => self.0.log(record),
            Cow::Owned(clean) => self.0.log(&record.to_builder().args(format_args!("{clean}")).build()),
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Blots out the secret part of every token in `text`.
pub fn scrub(text: &str) -> Cow<'_, str> {
    let mut clean = Cow::Borrowed(text);
    for prefix in TOKEN_PREFIXES {
        let mut from = 0;
        while let Some(found) = clean[from..].find(prefix) {
            let start = from + found + prefix.len();
            let token_len = clean[start..]
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
                .unwrap_or(clean.len() - start);
            if token_len > ID_LEN {
                clean.to_mut().replace_range(start + ID_LEN..start + token_len, "…");
            }
            from = start;
        }
    }
    clean
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut line = format!(
            "{} {:5} {}",
            jiff::Timestamp::now().strftime("%FT%T%.3fZ"),
            record.level(),
            record.args()
        );
        let mut fields = Fields(&mut line);
        let _ = record.key_values().visit(&mut fields);
        line.push('\n');
        // Nobody is left to tell when standard error is closed.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

struct Fields<'a>(&'a mut String);

impl<'kvs> log::kv::VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(
        &mut self,
        key: log::kv::Key<'kvs>,
        value: log::kv::Value<'kvs>,
    ) -> Result<(), log::kv::Error> {
        self.0.push_str(&format!(" {key}={value}"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blots_out_secrets_and_nothing_else() {
        let secret = "A".repeat(49);
        let line = format!("key fbk_live_0123456789ab_{secret} and fbk_test_ba9876543210_{secret}.");
        let clean = scrub(&line);
        assert!(!clean.contains(&secret));
        assert_eq!(clean, "key fbk_live_0123456789ab_… and fbk_test_ba9876543210_….");
        assert!(matches!(scrub("no token: fbk_live_ here"), Cow::Borrowed(_)));
    }
}
