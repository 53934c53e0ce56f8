//! The `contacts` table: the address book.

use rusqlite::{OptionalExtension, Row, params};

use super::{Db, DbError, from_ms, parse, to_ms};
use crate::fax::contact::Contact;
use crate::id::ContactId;

const COLUMNS: &str = "id, name, number, note, created_at, updated_at";

impl Db {
    /// At most `limit` entries after this name and id, by name; of those whose name or number holds
    /// `search`, when it is given.
    pub async fn contacts(
        &self,
        search: Option<String>,
        after: Option<(String, ContactId)>,
        limit: u32,
    ) -> Result<Vec<Contact>, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM contacts WHERE (?1 IS NULL OR instr(lower(name), lower(?1)) OR instr(number, ?1)) \
                 AND (?2 IS NULL OR (name, id) > (?2, ?3)) ORDER BY name, id LIMIT ?4"
            ))?;
            let (name, id) = after.map(|(name, id)| (name, id.to_string())).unzip();
            let mut rows = statement.query(params![search, name, id, limit])?;
            let mut contacts = Vec::new();
            while let Some(row) = rows.next()? {
                contacts.push(read(row)?);
            }
            Ok(contacts)
        })
        .await
    }

    /// The entry with this id.
    pub fn contact(&self, id: ContactId) -> Result<Option<Contact>, DbError> {
        self.point(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM contacts WHERE id = ?1"))?;
            statement.query_row([id.to_string()], |row| Ok(read(row))).optional()?.transpose()
        })
    }

    /// Stores an entry, in place of the one with its id.
    pub async fn put_contact(&self, contact: Contact) -> Result<(), DbError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(&format!(
                    "INSERT INTO contacts({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET \
                     name = excluded.name, number = excluded.number, note = excluded.note, \
                     updated_at = excluded.updated_at"
                ))?
                .execute(params![
                    contact.id.to_string(),
                    contact.name,
                    contact.number.as_e164(),
                    contact.note,
                    to_ms(contact.created_at),
                    to_ms(contact.updated_at)
                ])?;
            Ok(())
        })
        .await
    }

    /// Removes an entry; whether it was there.
    pub async fn remove_contact(&self, id: ContactId) -> Result<bool, DbError> {
        self.write(move |transaction| {
            let mut statement = transaction.prepare_cached("DELETE FROM contacts WHERE id = ?1")?;
            Ok(statement.execute([id.to_string()])? == 1)
        })
        .await
    }
}

fn read(row: &Row<'_>) -> Result<Contact, DbError> {
    Ok(Contact {
        id: parse(&row.get::<_, String>(0)?, "contacts.id")?,
        name: row.get(1)?,
        number: parse(&row.get::<_, String>(2)?, "contacts.number")?,
        note: row.get(3)?,
        created_at: from_ms(row.get(4)?, "contacts.created_at")?,
        updated_at: from_ms(row.get(5)?, "contacts.updated_at")?,
    })
}
