//! The `stored_settings` table: what administrators changed while the appliance ran.
//!
//! Owns: one row for each setting that was changed so. Refuses: a change without its row in the audit
//! log, and to know what a setting means.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::params;

use super::audit::Audited;
use super::{Db, DbError, events, to_ms};
use crate::fax::event::Event;

impl Db {
    /// All stored settings, by key.
    pub async fn stored_settings(&self) -> Result<BTreeMap<String, String>, DbError> {
        self.list(|connection| {
            let mut statement = connection.prepare_cached("SELECT key, value FROM stored_settings")?;
            let mut rows = statement.query([])?;
            let mut settings = BTreeMap::new();
            while let Some(row) = rows.next()? {
                settings.insert(row.get(0)?, row.get(1)?);
            }
            Ok(settings)
        })
        .await
    }
}

impl Audited<'_> {
    /// Stores these values, forgets those without one, and tells of it; all or nothing.
    pub async fn store_settings(
        self,
        changes: BTreeMap<String, Option<String>>,
        by: String,
        now: Timestamp,
    ) -> Result<(), DbError> {
        self.write(move |transaction| {
            let mut put = transaction.prepare_cached(
                "INSERT INTO stored_settings(key, value, by, at) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT DO UPDATE SET value = ?2, by = ?3, at = ?4",
            )?;
            let mut forget = transaction.prepare_cached("DELETE FROM stored_settings WHERE key = ?1")?;
            for (key, value) in &changes {
                match value {
                    Some(value) => put.execute(params![key, value, by, to_ms(now)])?,
                    None => forget.execute([key])?,
                };
            }
            let keys: Vec<&String> = changes.keys().collect();
            events::append(transaction, &[Event::settings(&keys, now)])
        })
        .await
    }
}
