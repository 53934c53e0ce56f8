//! The `meta` table: a handful of named values of the appliance itself.

use rusqlite::{OptionalExtension, params};

use super::{Db, DbError};

/// Name under which the wrapped data key is kept.
const WRAPPED_DATA_KEY: &str = "wrapped_data_key";

impl Db {
    /// The data key as [`crate::seal::Seal::create`] wrapped it; `None` before the first start.
    pub fn wrapped_data_key(&self) -> Result<Option<Vec<u8>>, DbError> {
        self.point(|connection| {
            let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
            Ok(statement.query_row([WRAPPED_DATA_KEY], |row| row.get(0)).optional()?)
        })
    }

    /// Stores the wrapped data key; refuses to replace one.
    pub async fn store_wrapped_data_key(&self, wrapped: Vec<u8>) -> Result<(), DbError> {
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO meta(name, value) VALUES (?1, ?2)",
                params![WRAPPED_DATA_KEY, wrapped],
            )?;
            Ok(())
        })
        .await
    }

    /// Whether the database answers and takes changes at this moment.
    pub async fn check(&self) -> Result<(), DbError> {
        self.point(|connection| Ok(connection.query_row("SELECT 1", [], |_| Ok(()))?))?;
        self.write(|_| Ok(())).await
    }
}
