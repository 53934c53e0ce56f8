//! Pools of read-only connections.
//!
//! Owns: how a reader is opened. Two pools exist, so that a long list never makes a point read
//! wait. Connections are not tested at check-out: a local file does not go away.

use std::path::{Path, PathBuf};

use r2d2::ManageConnection;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{BUSY_TIMEOUT, DbError};

/// Prepared statements kept by each reader.
const STATEMENTS: usize = 64;

pub(super) type Pool = r2d2::Pool<Reader>;

/// Opens read-only connections to one file for r2d2.
#[derive(Debug)]
pub(super) struct Reader {
    file: PathBuf,
}

impl ManageConnection for Reader {
    type Connection = Connection;
    type Error = rusqlite::Error;

    fn connect(&self) -> Result<Connection, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.file, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        plan_once(&connection)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    }

    fn is_valid(&self, connection: &mut Connection) -> Result<(), rusqlite::Error> {
        connection.execute_batch("SELECT 1")
    }

    fn has_broken(&self, _connection: &mut Connection) -> bool {
        false
    }
}

/// Has SQLite keep the plan of a prepared statement. Otherwise it plans anew, for the values given, each time a
/// statement runs that has a parameter as its limit or beside a constant of a partial index: most of ours.
pub(super) fn plan_once(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

pub(super) fn open_pool(file: &Path, size: u32) -> Result<Pool, DbError> {
    let pool = r2d2::Pool::builder()
        .max_size(size)
        // One at the start: the rest of a pool is opened by its own threads when needed.
        .min_idle(Some(1))
        .test_on_check_out(false)
        .build(Reader { file: file.to_owned() })?;
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_prepared_statement_is_planned_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.db");
        let writing = crate::db::writer::connect(&file).unwrap();
        writing.execute_batch("CREATE TABLE t(n); CREATE INDEX t_one ON t(n) WHERE n = 1").unwrap();
        let reading = Reader { file }.connect().unwrap();
        for connection in [&writing, &reading] {
            for n in [1, 2, 1] {
                let mut statement =
                    connection.prepare_cached("SELECT n FROM t WHERE n = ?1 LIMIT ?1").unwrap();
                assert!(!statement.exists([n]).unwrap());
                assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
            }
        }
    }
}
