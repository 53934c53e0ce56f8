//! Accounting for what the database says of faxes and calls.
//!
//! Owns: walking through all faxes in pages, each with what its own rows and its calls say of it,
//! while others go on writing. Refuses: to mend; what does not fit is named.

use rusqlite::{Connection, Row, params};

use super::jobs::ids_from_json;
use super::{Db, DbError, parse};
use crate::fax::accounts::{CallAccount, FaxAccount, ReceivedAccount};
use crate::id::{DocumentId, JobId};

/// Some faxes in the order of their acceptance, as they stood at one moment.
#[derive(Debug)]
pub struct FaxAccounts {
    /// The faxes.
    pub faxes: Vec<FaxAccount>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<i64>,
}

/// Some received faxes, in order.
#[derive(Debug)]
pub struct ReceivedAccounts {
    /// The faxes.
    pub faxes: Vec<ReceivedAccount>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<i64>,
}

impl Db {
    /// At most `limit` sent faxes with their calls, after the place `after`.
    pub async fn fax_accounts(&self, after: i64, limit: u32) -> Result<FaxAccounts, DbError> {
        self.list(move |connection| {
            // Faxes and calls of one moment.
            let snapshot = connection.unchecked_transaction()?;
            let mut statement = snapshot.prepare_cached(
                "SELECT seq, id, state, ifnull(json_extract(outcome, '$.code') = 'imported', 0), to_e164, attempts, pages, confirmed_pages, document_id, source_ids, \
                 final_at IS NOT NULL FROM jobs WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let mut rows = statement.query(params![after, limit])?;
            let (mut faxes, mut last) = (Vec::new(), after);
            while let Some(row) = rows.next()? {
                last = row.get(0)?;
                faxes.push(fax(&snapshot, row)?);
            }
            let next = (faxes.len() == limit as usize).then_some(last);
            Ok(FaxAccounts { faxes, next })
        })
        .await
    }

    /// One sent fax with its calls, as it stands now.
    pub async fn fax_account(&self, id: JobId) -> Result<Option<FaxAccount>, DbError> {
        self.list(move |connection| {
            let snapshot = connection.unchecked_transaction()?;
            let mut statement = snapshot.prepare_cached(
                "SELECT seq, id, state, ifnull(json_extract(outcome, '$.code') = 'imported', 0), to_e164, attempts, pages, confirmed_pages, document_id, source_ids, \
                 final_at IS NOT NULL FROM jobs WHERE id = ?1",
            )?;
            let mut rows = statement.query([id.to_string()])?;
            rows.next()?.map(|row| fax(&snapshot, row)).transpose()
        })
        .await
    }

    /// At most `limit` received faxes after the place `after`.
    pub async fn received_accounts(&self, after: i64, limit: u32) -> Result<ReceivedAccounts, DbError> {
        self.list(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, id, document_id, attempt_id, attempt_id IN (SELECT id FROM attempts) FROM inbound \
                 WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let mut rows = statement.query(params![after, limit])?;
            let (mut faxes, mut last) = (Vec::new(), after);
            while let Some(row) = rows.next()? {
                last = row.get(0)?;
                let attempt: Option<String> = row.get(3)?;
                faxes.push(ReceivedAccount {
                    id: parse(&row.get::<_, String>(1)?, "inbound.id")?,
                    document: parse(&row.get::<_, String>(2)?, "inbound.document_id")?,
                    has_its_call: attempt.is_none() || row.get(4)?,
                });
            }
            let next = (faxes.len() == limit as usize).then_some(last);
            Ok(ReceivedAccounts { faxes, next })
        })
        .await
    }

    /// Which of these documents no row names, not even as one to be removed.
    pub async fn unowned(&self, ids: Vec<DocumentId>) -> Result<Vec<DocumentId>, DbError> {
        let db = self.clone();
        self.list(move |connection| {
            let owned = db.documents_in_use(&ids)?;
            let mut doomed =
                connection.prepare_cached("SELECT 1 FROM doomed_documents WHERE document_id = ?1")?;
            let mut unowned = Vec::new();
            for id in ids.into_iter().filter(|id| !owned.contains(id)) {
                if !doomed.exists([id.to_string()])? {
                    unowned.push(id);
                }
            }
            Ok(unowned)
        })
        .await
    }
}

fn fax(connection: &Connection, row: &Row<'_>) -> Result<FaxAccount, DbError> {
    let text = |column| row.get::<_, String>(column);
    let id: String = text(1)?;
    let mut documents = ids_from_json(&text(9)?)?;
    if let Some(document) = row.get::<_, Option<String>>(8)? {
        documents.push(parse(&document, "jobs.document_id")?);
    }
    Ok(FaxAccount {
        id: parse(&id, "jobs.id")?,
        state: parse(&text(2)?, "jobs.state")?,
        is_imported: row.get(3)?,
        to: parse(&text(4)?, "jobs.to_e164")?,
        has_end: row.get(10)?,
        attempts: row.get(5)?,
        pages: row.get(6)?,
        confirmed_pages: row.get(7)?,
        documents,
        calls: calls(connection, &id)?,
    })
}

fn calls(connection: &Connection, job: &str) -> Result<Vec<CallAccount>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, number, route, ended_at IS NOT NULL, json_extract(outcome, '$.class'), \
         (SELECT count(*) FROM attempt_pages WHERE attempt_id = attempts.id), \
         id IN (SELECT attempt_id FROM deleted_deliveries) \
         FROM attempts WHERE job_id = ?1 ORDER BY number",
    )?;
    let mut rows = statement.query([job])?;
    let mut calls = Vec::new();
    while let Some(row) = rows.next()? {
        calls.push(CallAccount {
            id: parse(&row.get::<_, String>(0)?, "attempts.id")?,
            number: row.get(1)?,
            route: row.get(2)?,
            has_end: row.get(3)?,
            class: row
                .get::<_, Option<String>>(4)?
                .map(|class| parse(&class, "attempts.outcome"))
                .transpose()?,
            confirmed_pages: row.get(5)?,
            is_delivery_deleted: row.get(6)?,
        });
    }
    Ok(calls)
}
