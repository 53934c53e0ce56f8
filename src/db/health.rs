//! How the database itself is: its size, and whether its file is whole.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::{Db, DbError, from_ms};

/// Tables whose rows are counted.
const COUNTED: [&str; 5] = ["jobs", "inbound", "events", "audit", "api_keys"];

/// How the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbState {
    /// Version of SQLite.
    pub sqlite: &'static str,
    /// Number of the schema.
    pub schema: u32,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Of that, what deleted rows have left free.
    pub free_bytes: u64,
    /// Size of the write-ahead log in bytes.
    pub wal_bytes: u64,
    /// Rows by table.
    pub rows: Vec<(&'static str, u64)>,
    /// When something was last noted in the event log.
    pub newest_event_at: Option<Timestamp>,
}

impl Db {
    /// How the database is. Costs a walk through the smallest index of each counted table.
    pub async fn state(&self) -> Result<DbState, DbError> {
        self.list(|connection| {
            let number = |name: &str| -> Result<u64, DbError> {
                let number: i64 = connection.pragma_query_value(None, name, |row| row.get(0))?;
                Ok(number.unsigned_abs())
            };
            let page = number("page_size")?;
            let mut rows = Vec::new();
            for table in COUNTED {
                let count: i64 = connection
                    .prepare_cached(&format!("SELECT count(*) FROM {table}"))?
                    .query_row([], |row| row.get(0))?;
                rows.push((table, count.unsigned_abs()));
            }
            let newest: Option<i64> = connection
                .prepare_cached("SELECT at FROM events ORDER BY seq DESC LIMIT 1")?
                .query_row([], |row| row.get(0))
                .optional()?;
            Ok(DbState {
                sqlite: rusqlite::version(),
                schema: u32::try_from(number("user_version")?).unwrap_or(u32::MAX),
                bytes: number("page_count")? * page,
                free_bytes: number("freelist_count")? * page,
                wal_bytes: wal_bytes(connection),
                rows,
                newest_event_at: newest.map(|ms| from_ms(ms, "events.at")).transpose()?,
            })
        })
        .await
    }

    /// What SQLite's own look at the whole file finds wrong, ten things at most. Takes seconds on a
    /// large one.
    pub async fn quick_check(&self) -> Result<Vec<String>, DbError> {
        self.list(|connection| {
            let mut statement = connection.prepare("PRAGMA quick_check(10)")?;
            let found = statement.query_map([], |row| row.get::<_, String>(0))?;
            let found = found.collect::<Result<Vec<_>, _>>()?;
            Ok(found.into_iter().filter(|line| line != "ok").collect())
        })
        .await
    }
}

fn wal_bytes(connection: &Connection) -> u64 {
    let file = connection.path().map(Path::new).map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push("-wal");
        PathBuf::from(name)
    });
    file.and_then(|file| std::fs::metadata(file).ok()).map_or(0, |metadata| metadata.len())
}
