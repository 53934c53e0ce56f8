//! The log.
//!
//! Owns: where log lines go (the journal under systemd, else standard error, and the last two thousand
//! into memory for the console) and the last filter they pass. Refuses: tokens. Types already keep them out; should one slip through, its secret
//! part is blotted out here. Numbers, names and document content are kept out by those who log.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// Lines kept in memory.
const KEPT: usize = 2000;
/// Longest line kept, in bytes; the journal has all of it.
const LONGEST_KEPT: usize = 1000;

/// A line that was logged a while ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// 1, 2, 3 … since the start.
    pub seq: u64,
    /// When.
    pub at: jiff::Timestamp,
    /// How grave.
    pub level: log::Level,
    /// The part of the program, as in `pagewire::queue`.
    pub part: String,
    /// What, with its fields, without secrets.
    pub text: String,
}

/// The last lines, oldest first, and the number of the newest.
static LAST: Mutex<(VecDeque<Line>, u64)> = Mutex::new((VecDeque::new(), 0));

/// The newest lines behind number `after` that `wanted` takes, at most `most`, oldest first.
pub fn last_lines(after: u64, most: usize, wanted: impl Fn(&Line) -> bool) -> Vec<Line> {
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let newest = last.0.iter().rev().take_while(|line| line.seq > after);
    let mut found: Vec<Line> = newest.filter(|line| wanted(line)).take(most).cloned().collect();
    found.reverse();
    found
}

fn keep(record: &Record<'_>, text: &str) {
    let mut whole = text.to_owned();
    let _ = record.key_values().visit(&mut Fields(&mut whole));
    let mut text = scrub(&whole).into_owned();
    if text.len() > LONGEST_KEPT {
        let end = (0..=LONGEST_KEPT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    last.1 += 1;
    let seq = last.1;
    if last.0.len() == KEPT {
        last.0.pop_front();
    }
    let part = record.target().to_owned();
    last.0.push_back(Line { seq, at: jiff::Timestamp::now(), level: record.level(), part, text });
}

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
        keep(record, &text);
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
    fn the_last_lines_are_kept_without_secrets_and_in_bounds() {
        let logger = Scrubbed(Box::new(Nowhere));
        let secret = "A".repeat(49);
        let say = |level, text: &str| {
            let line = format_args!("{text} fbk_live_0123456789ab_{secret} {}", "x".repeat(2000)).to_string();
            logger.log(
                &Record::builder()
                    .level(level)
                    .target("pagewire::log::kept")
                    .args(format_args!("{line}"))
                    .build(),
            );
        };
        let ours = |line: &Line| line.part == "pagewire::log::kept";
        say(log::Level::Warn, "first");
        let after = last_lines(0, 1, ours)[0].seq;
        (0..KEPT).for_each(|_| say(log::Level::Info, "more"));
        say(log::Level::Error, "last");
        let all = last_lines(0, usize::MAX, ours);
        assert!(all.len() <= KEPT && all.iter().all(|line| line.seq > after && !line.text.contains(&secret)));
        assert!(all.iter().all(|line| line.text.len() <= LONGEST_KEPT + "…".len()));
        let last = last_lines(after, 1, |line| ours(line) && line.level == log::Level::Error);
        assert!(last.len() == 1 && last[0].text.starts_with("last fbk_live_0123456789ab_…"), "{last:?}");
        assert!(last_lines(last[0].seq, 9, ours).is_empty());
    }

    struct Nowhere;

    impl Log for Nowhere {
        fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, _record: &Record<'_>) {}

        fn flush(&self) {}
    }

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
