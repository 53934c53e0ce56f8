//! SQLite behind an async face of domain functions.
//!
//! Owns: every SQL sentence of the product. One writer thread holds the only read-write
//! connection and commits in groups ([`writer`]); reads go through two small pools ([`readers`]).
//! Each table family has a file that extends [`Db`] with functions in the words of the domain;
//! they take and return types of floor 1. Refuses: to hand a connection to anybody above.
//!
//! Invariants: a function that writes returns after its change is on disk. Times are stored as
//! whole milliseconds since 1970 UTC, ids as their 32 hex digits. A database made by a newer
//! Pagewire is not opened.

mod accounts;
mod attempts;
pub mod audit;
mod contacts;
mod destinations;
mod dialling;
pub mod events;
pub mod faxbot;
mod groups;
pub mod health;
pub mod idempotency;
pub mod import;
mod inbound;
pub mod jobs;
pub mod keys;
pub mod mails;
pub mod meta;
mod migrate;
mod people;
pub mod policy;
pub mod previews;
mod readers;
pub mod reconcile;
mod retention;
mod routes;
mod second_look;
mod settings;
pub mod summary;
pub mod usage;
pub mod webhooks;
mod writer;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, Transaction};

use audit::Chain;
use events::News;
use readers::{Pool, open_pool};
pub use retention::Deleted;
use writer::Writer;

/// Oldest SQLite we run on: earlier 3.51 releases have a WAL-reset corruption bug.
const OLDEST_SQLITE: i32 = 3_051_003;
/// How long any connection waits for a lock that another process holds (a backup, a shell).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections for reads of single rows, which run on the async threads themselves.
const POINT_READERS: u32 = 4;
/// Connections for reads of many rows, which run on blocking threads.
const LIST_READERS: u32 = 4;

/// What can go wrong in the database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The linked SQLite is too old.
    #[error("SQLite 3.51.3 or later is needed, this is {0}")]
    SqliteTooOld(&'static str),
    /// The file was written by a later version of Pagewire.
    #[error(
        "the database was written by a newer Pagewire (schema {found}, this version knows {known}); install that version or restore a backup"
    )]
    Newer {
        /// Schema number in the file.
        found: u32,
        /// Highest schema number this program knows.
        known: u32,
    },
    /// The row that should change is not there, or not in the state the change needs.
    #[error("the record was changed or removed meanwhile")]
    Conflict,
    /// A stored value does not read back as what it should be.
    #[error("a stored value of {what} is damaged")]
    Damaged {
        /// Table and column.
        what: &'static str,
    },
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// Another program (a shell, a copy being made) has locked the file for longer than we wait.
    #[error("another program has locked the database")]
    Locked,
    /// The file system takes no changes.
    #[error("the database cannot be written: its file or folder is read-only")]
    ReadOnly,
    /// The change was sound, but the transaction it was part of did not come to be.
    #[error("the change was not stored")]
    NotStored,
    /// A change that must be audited came before [`Db::start_audit`].
    #[error("the audit log is not open")]
    AuditClosed,
    /// The writer has stopped, because the server is going down.
    #[error("the database is closed")]
    Closed,
    /// No reader became free in time.
    #[error("no database connection is free")]
    Pool(#[from] r2d2::Error),
    /// SQLite refused.
    #[error("the database refused")]
    Sqlite(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            _ => Self::Sqlite(error),
        }
    }
}

impl DbError {
    /// What those are told whose changes failed together with the one that failed so.
    fn for_others(&self) -> Self {
        match self {
            Self::DiskFull => Self::DiskFull,
            Self::Locked => Self::Locked,
            Self::ReadOnly => Self::ReadOnly,
            _ => Self::NotStored,
        }
    }
}

/// The database of one appliance. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    writer: Writer,
    chain: Arc<Chain>,
    news: Arc<News>,
    points: Pool,
    lists: Pool,
}

impl Db {
    /// Opens `file`, making or migrating it as needed, and starts the writer thread.
    pub fn open(file: &Path) -> Result<Self, DbError> {
        if rusqlite::version_number() < OLDEST_SQLITE {
            return Err(DbError::SqliteTooOld(rusqlite::version()));
        }
        let mut connection = writer::connect(file)?;
        migrate::to_latest(&mut connection)?;
        let news = Arc::new(News::of(&connection)?);
        let told = news.clone();
        Ok(Self {
            writer: Writer::start(connection, move |connection| told.committed(connection))?,
            chain: Arc::default(),
            news,
            points: open_pool(file, POINT_READERS)?,
            lists: open_pool(file, LIST_READERS)?,
        })
    }

    /// Runs `change` in the next group commit; returns its result once that is on disk.
    ///
    /// A failing change is rolled back alone and does not disturb the others of its group.
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        self.writer.run(change).await
    }

    /// Reads one or a few rows by index, right here: microseconds, so no thread is changed.
    fn point<T>(&self, read: impl FnOnce(&Connection) -> Result<T, DbError>) -> Result<T, DbError> {
        read(&*self.points.get()?)
    }

    /// Reads many rows, on a thread that may block.
    async fn list<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let pool = self.lists.clone();
        match tokio::task::spawn_blocking(move || read(&*pool.get()?)).await {
            Ok(result) => result,
            Err(_) => Err(DbError::Closed),
        }
    }
}

/// The path of the database file inside a data folder.
pub fn file_in(data_dir: &Path) -> PathBuf {
    data_dir.join("pagewire.db")
}

fn to_ms(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn from_ms(ms: i64, what: &'static str) -> Result<Timestamp, DbError> {
    Timestamp::from_millisecond(ms).map_err(|_| DbError::Damaged { what })
}

fn parse<T: FromStr>(text: &str, what: &'static str) -> Result<T, DbError> {
    text.parse().map_err(|_| DbError::Damaged { what })
}

fn optional<T: Display>(value: Option<&T>) -> Option<String> {
    value.map(ToString::to_string)
}
