//! The tables `policy_ranges` and `policy_numbers`: what was decided about numbers.
//!
//! Owns: changing and reading the rules. A question about one number costs a look-up for each of
//! its digits, however long the lists are.

use std::sync::LazyLock;

use rusqlite::{Connection, Row, params};

use super::audit::Audited;
use super::{Db, DbError, from_ms, parse, to_ms};
use crate::fax::number::FaxNumber;
use crate::fax::policy::ranges::Range;
use crate::fax::policy::{Entry, MOST_DIGITS, Opened, Prefix, Rules};

const NUMBERS: &str = "SELECT prefix, ruling, reason, by, at FROM policy_numbers";

impl Db {
    /// All rules, in order.
    pub async fn policy_rules(&self) -> Result<Rules, DbError> {
        self.list(|connection| {
            let sql = format!("{NUMBERS} ORDER BY prefix");
            Ok(Rules { open: open_ranges(connection)?, entries: entries(connection, &sql, params![])? })
        })
        .await
    }

    /// The rules about one number.
    pub fn policy_rules_for(&self, to: &FaxNumber) -> Result<Rules, DbError> {
        self.point(|connection| rules_for(connection, to))
    }

    /// The entry with exactly this prefix.
    pub fn policy_entry(&self, prefix: &Prefix) -> Result<Option<Entry>, DbError> {
        self.point(|connection| {
            let sql = format!("{NUMBERS} WHERE prefix = ?1");
            Ok(entries(connection, &sql, [prefix.as_str()])?.pop())
        })
    }
}

impl Audited<'_> {
    /// Opens a range, or gives an open one another reason.
    pub async fn open_range(self, opened: Opened) -> Result<(), DbError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO policy_ranges(range, reason, by, at) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT DO UPDATE SET reason = excluded.reason, by = excluded.by, at = excluded.at",
                )?
                .execute(params![opened.range.as_str(), opened.reason, opened.by, to_ms(opened.at)])?;
            Ok(())
        })
        .await
    }

    /// Closes a range; whether it was open, without which nothing is recorded.
    pub async fn close_range(self, range: Range) -> Result<bool, DbError> {
        self.write_if(
            |was_open| *was_open,
            move |transaction| {
                let mut statement =
                    transaction.prepare_cached("DELETE FROM policy_ranges WHERE range = ?1")?;
                Ok(statement.execute([range.as_str()])? == 1)
            },
        )
        .await
    }

    /// Stores an entry, in place of one with the same prefix.
    pub async fn put_policy_entry(self, entry: Entry) -> Result<(), DbError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO policy_numbers(prefix, ruling, reason, by, at) VALUES (?1, ?2, ?3, ?4, ?5) \
                     ON CONFLICT DO UPDATE SET ruling = excluded.ruling, reason = excluded.reason, \
                     by = excluded.by, at = excluded.at",
                )?
                .execute(params![
                    entry.prefix.as_str(),
                    entry.ruling.as_str(),
                    entry.reason,
                    entry.by,
                    to_ms(entry.at)
                ])?;
            Ok(())
        })
        .await
    }

    /// Removes an entry; whether there was one, without which nothing is recorded.
    pub async fn remove_policy_entry(self, prefix: Prefix) -> Result<bool, DbError> {
        self.write_if(
            |was_there| *was_there,
            move |transaction| {
                let mut statement =
                    transaction.prepare_cached("DELETE FROM policy_numbers WHERE prefix = ?1")?;
                Ok(statement.execute([prefix.as_str()])? == 1)
            },
        )
        .await
    }
}

/// The rules about one number.
pub(in crate::db) fn rules_for(connection: &Connection, to: &FaxNumber) -> Result<Rules, DbError> {
    static ABOUT: LazyLock<String> = LazyLock::new(|| {
        let beginnings: Vec<String> =
            (2..=MOST_DIGITS + 1).map(|length| format!("substr(?1, 1, {length})")).collect();
        format!("{NUMBERS} WHERE prefix IN ({})", beginnings.join(", "))
    });
    Ok(Rules { open: open_ranges(connection)?, entries: entries(connection, &ABOUT, [to.as_e164()])? })
}

fn open_ranges(connection: &Connection) -> Result<Vec<Opened>, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT range, reason, by, at FROM policy_ranges ORDER BY range")?;
    let mut rows = statement.query([])?;
    let mut open = Vec::new();
    while let Some(row) = rows.next()? {
        open.push(Opened {
            range: parse(&row.get::<_, String>(0)?, "policy_ranges.range")?,
            reason: row.get(1)?,
            by: row.get(2)?,
            at: from_ms(row.get(3)?, "policy_ranges.at")?,
        });
    }
    Ok(open)
}

fn entries(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Entry>, DbError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(read(row)?);
    }
    Ok(entries)
}

fn read(row: &Row<'_>) -> Result<Entry, DbError> {
    Ok(Entry {
        prefix: parse(&row.get::<_, String>(0)?, "policy_numbers.prefix")?,
        ruling: parse(&row.get::<_, String>(1)?, "policy_numbers.ruling")?,
        reason: row.get(2)?,
        by: row.get(3)?,
        at: from_ms(row.get(4)?, "policy_numbers.at")?,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::audit::tests::{event, open};
    use super::*;
    use crate::fax::policy::Ruling;

    fn entry(prefix: &str, ruling: Ruling) -> Entry {
        Entry {
            prefix: prefix.parse().unwrap(),
            ruling,
            reason: "because".into(),
            by: "cli:0".into(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn a_question_finds_every_entry_about_its_number_and_no_other() {
        let (_folder, db) = open();
        let about = ["+4", "+49", "+4930", "+4930123456"];
        for prefix in about.iter().chain(&["+491", "+49301234567", "+1", "+50"]) {
            db.audited(event()).put_policy_entry(entry(prefix, Ruling::Block)).await.unwrap();
        }
        let rules = db.policy_rules_for(&"+4930123456".parse().unwrap()).unwrap();
        let mut found: Vec<_> = rules.entries.iter().map(|entry| entry.prefix.to_string()).collect();
        found.sort();
        assert_eq!(found, about);
        let longest = "+12345678901234567890";
        db.audited(event()).put_policy_entry(entry(longest, Ruling::Allow)).await.unwrap();
        let rules = db.policy_rules_for(&longest.parse().unwrap()).unwrap();
        assert_eq!(rules.entries.len(), 2);
    }

    #[tokio::test]
    async fn what_changes_nothing_leaves_no_row() {
        let (_folder, db) = open();
        let opened = |reason: &str| Opened {
            range: Range::Abroad,
            reason: reason.into(),
            by: "cli:0".into(),
            at: Timestamp::UNIX_EPOCH,
        };
        db.audited(event()).open_range(opened("a")).await.unwrap();
        db.audited(event()).open_range(opened("b")).await.unwrap();
        assert_eq!(db.policy_rules().await.unwrap().open, [opened("b")]);
        assert!(db.audited(event()).close_range(Range::Abroad).await.unwrap());
        assert!(!db.audited(event()).close_range(Range::Abroad).await.unwrap());

        db.audited(event()).put_policy_entry(entry("+49", Ruling::Block)).await.unwrap();
        db.audited(event()).put_policy_entry(entry("+49", Ruling::Allow)).await.unwrap();
        let prefix: Prefix = "+49".parse().unwrap();
        assert_eq!(db.policy_entry(&prefix).unwrap(), Some(entry("+49", Ruling::Allow)));
        assert!(db.audited(event()).remove_policy_entry(prefix.clone()).await.unwrap());
        assert!(!db.audited(event()).remove_policy_entry(prefix).await.unwrap());
        assert_eq!(db.policy_rules().await.unwrap(), Rules::default());
        assert_eq!(db.audit_head().await.unwrap().seq, 6, "two calls changed nothing");
    }
}
