//! Forward migrations by `user_version`.
//!
//! Owns: the numbered steps in `migrations/`. Each runs in a transaction of its own together with
//! its new number. Refuses: to go backward, and to touch a file from a newer Pagewire.

use rusqlite::{Connection, TransactionBehavior};

use super::DbError;

/// Step n brings schema n to n + 1. Published steps are never edited.
const STEPS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_keys.sql"),
    include_str!("migrations/0003_usage.sql"),
    include_str!("migrations/0004_people.sql"),
    include_str!("migrations/0005_audit.sql"),
    include_str!("migrations/0006_policy.sql"),
    include_str!("migrations/0007_resend.sql"),
    include_str!("migrations/0008_events.sql"),
    include_str!("migrations/0009_webhooks.sql"),
    include_str!("migrations/0010_retention.sql"),
    include_str!("migrations/0012_groups.sql"),
    include_str!("migrations/0012_second_look.sql"),
    include_str!("migrations/0014_console.sql"),
    include_str!("migrations/0015_settings.sql"),
    include_str!("migrations/0016_mail.sql"),
    include_str!("migrations/0017_routes.sql"),
    include_str!("migrations/0018_route_health.sql"),
    include_str!("migrations/0019_hours.sql"),
    include_str!("migrations/0020_stations.sql"),
    include_str!("migrations/0021_reimaged.sql"),
    include_str!("migrations/0022_closed_until.sql"),
    include_str!("migrations/0023_alerts.sql"),
];

pub(super) fn to_latest(connection: &mut Connection) -> Result<(), DbError> {
    let known = u32::try_from(STEPS.len()).expect("fewer steps than u32 holds");
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(DbError::Newer { found, known });
    }
    for (number, step) in (1u32..).zip(STEPS).skip(found as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrates_once_and_refuses_a_newer_file() {
        let mut connection = Connection::open_in_memory().unwrap();
        to_latest(&mut connection).unwrap();
        to_latest(&mut connection).unwrap();
        connection.pragma_update(None, "user_version", 999).unwrap();
        assert!(matches!(to_latest(&mut connection), Err(DbError::Newer { found: 999, .. })));
    }

    #[test]
    fn every_table_is_strict() {
        let mut connection = Connection::open_in_memory().unwrap();
        to_latest(&mut connection).unwrap();
        let lax: Vec<String> = connection
            .prepare("SELECT name FROM pragma_table_list WHERE schema='main' AND type='table' AND strict=0 AND name NOT LIKE 'sqlite_%'")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert!(lax.is_empty(), "{lax:?}");
    }
}
