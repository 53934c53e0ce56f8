//! The `previews` table: pages that somebody looks at before they send them.
//!
//! Owns: one row for each, until it expires. Its document is named here, and doomed in the transaction
//! that removes the row, like that of a deleted fax.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{Db, DbError, from_ms, parse, to_ms};
use crate::id::{AccountId, DocumentId, PreviewId};

/// Pages that wait to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Its id.
    pub id: PreviewId,
    /// The account it belongs to.
    pub owner: AccountId,
    /// Who made it, in a word for records; nobody else sees or sends it.
    pub caller: String,
    /// Its pages as one TIFF, in the spool.
    pub document: DocumentId,
    /// How many they are.
    pub pages: u32,
    /// Resolution asked for, in the API's word.
    pub resolution: String,
    /// Quality asked for, in the API's word.
    pub quality: String,
    /// SHA-256 of the uploads, in hex.
    pub source_sha256: String,
    /// From when on it is gone.
    pub expires_at: Timestamp,
}

impl Db {
    /// Stores a preview.
    pub async fn insert_preview(&self, preview: Preview) -> Result<(), DbError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO previews(id, owner_id, caller, document_id, pages, resolution, quality, \
                     source_sha256, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute(params![
                    preview.id.to_string(),
                    preview.owner.to_string(),
                    preview.caller,
                    preview.document.to_string(),
                    preview.pages,
                    preview.resolution,
                    preview.quality,
                    preview.source_sha256,
                    to_ms(preview.expires_at),
                ])?;
            Ok(())
        })
        .await
    }

    /// The preview with this id that this caller made and that has not expired at `now`.
    pub fn preview(&self, id: PreviewId, caller: &str, now: Timestamp) -> Result<Option<Preview>, DbError> {
        self.point(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT owner_id, document_id, pages, resolution, quality, source_sha256, expires_at \
                 FROM previews WHERE id = ?1 AND caller = ?2 AND expires_at > ?3",
            )?;
            let found = statement
                .query_row(params![id.to_string(), caller, to_ms(now)], |row| {
                    let text = |column| row.get::<_, String>(column);
                    Ok((text(0)?, text(1)?, row.get(2)?, text(3)?, text(4)?, text(5)?, row.get(6)?))
                })
                .optional()?;
            let Some((owner, document, pages, resolution, quality, source_sha256, expires_at)) = found else {
                return Ok(None);
            };
            Ok(Some(Preview {
                id,
                owner: parse(&owner, "previews.owner_id")?,
                caller: caller.to_owned(),
                document: parse(&document, "previews.document_id")?,
                pages,
                resolution,
                quality,
                source_sha256,
                expires_at: from_ms(expires_at, "previews.expires_at")?,
            }))
        })
    }

    /// How many previews this caller has that have not expired at `now`.
    pub fn count_previews(&self, caller: &str, now: Timestamp) -> Result<u32, DbError> {
        self.point(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT count(*) FROM previews WHERE caller = ?1 AND expires_at > ?2")?;
            Ok(statement.query_row(params![caller, to_ms(now)], |row| row.get(0))?)
        })
    }

    /// Removes the previews that have expired at `now`; their documents are doomed from then on, and
    /// answered.
    pub async fn expire_previews(&self, now: Timestamp) -> Result<Vec<DocumentId>, DbError> {
        self.write(move |transaction| {
            let mut expired = transaction
                .prepare_cached("DELETE FROM previews WHERE expires_at <= ?1 RETURNING document_id")?;
            let documents = expired.query_map([to_ms(now)], |row| row.get::<_, String>(0))?;
            let documents = documents.collect::<Result<Vec<_>, _>>()?;
            let mut doom =
                transaction.prepare_cached("INSERT INTO doomed_documents(document_id) VALUES (?1)")?;
            documents.iter().try_for_each(|id| doom.execute([id]).map(drop))?;
            documents.iter().map(|id| parse(id, "previews.document_id")).collect()
        })
        .await
    }
}
