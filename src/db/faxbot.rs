//! Reading the database of a Faxbot.
//!
//! Owns: the names of its tables and columns. Everything is read as text and judged by who imports
//! it. Refuses: to write to the file, and a file that is no Faxbot database. Older versions lack
//! some columns; those read as missing.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::{BUSY_TIMEOUT, DbError};
use crate::secret::Secret;

/// What can go wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum FaxbotError {
    /// It does not open.
    #[error("{0} cannot be read as a database")]
    Unreadable(String, #[source] DbError),
    /// It has none of Faxbot's tables.
    #[error("{0} is not the database of a Faxbot: it has no table api_keys, fax_jobs or inbound_faxes")]
    NotFaxbot(String),
}

/// A row of `api_keys`.
#[derive(Clone, Debug)]
pub struct FaxbotKey {
    /// The public id.
    pub key_id: String,
    /// `scrypt$…` or `pbkdf2$…`.
    pub key_hash: Secret<String>,
    /// What it is for.
    pub name: Option<String>,
    /// Whose it is, in free words.
    pub owner: Option<String>,
    /// Scopes, separated by commas.
    pub scopes: String,
    /// Times, in UTC and mostly without saying so.
    pub created_at: Option<String>,
    /// When it was last used.
    pub last_used_at: Option<String>,
    /// End of validity.
    pub expires_at: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<String>,
    /// A remark.
    pub note: Option<String>,
}

/// A row of `fax_jobs`.
#[derive(Clone, Debug)]
pub struct FaxbotJob {
    /// 32 hex digits.
    pub id: String,
    /// The number as the client wrote it.
    pub to_number: String,
    /// Where it stood.
    pub status: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Its pages.
    pub pages: Option<u32>,
    /// When it was accepted.
    pub created_at: Option<String>,
    /// When it last changed.
    pub updated_at: Option<String>,
}

/// A row of `inbound_faxes`.
#[derive(Clone, Debug)]
pub struct FaxbotInbound {
    /// 32 hex digits.
    pub id: String,
    /// The caller's number.
    pub from_number: Option<String>,
    /// The number called.
    pub to_number: Option<String>,
    /// Its pages.
    pub pages: Option<u32>,
    /// Size of its document.
    pub size_bytes: Option<u64>,
    /// Path of its PDF, on the machine of the Faxbot.
    pub pdf_path: Option<String>,
    /// Path of its TIFF.
    pub tiff_path: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// When it was received.
    pub received_at: Option<String>,
    /// When it last changed.
    pub updated_at: Option<String>,
}

/// What is in it.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Its API keys, oldest first.
    pub keys: Vec<FaxbotKey>,
    /// Its faxes, oldest first.
    pub jobs: Vec<FaxbotJob>,
    /// What it received, oldest first.
    pub inbound: Vec<FaxbotInbound>,
}

/// Reads `file`, which stays as it is.
pub fn read(file: &Path) -> Result<Contents, FaxbotError> {
    let shown = file.display().to_string();
    let unreadable = |error: DbError| FaxbotError::Unreadable(shown.clone(), error);
    let connection = open(file).map_err(unreadable)?;
    let tables = ["api_keys", "fax_jobs", "inbound_faxes"];
    let found = tables.iter().map(|table| columns(&connection, table)).collect::<Result<Vec<_>, _>>();
    if found.map_err(unreadable)?.iter().all(Vec::is_empty) {
        return Err(FaxbotError::NotFaxbot(shown));
    }
    contents(&connection).map_err(unreadable)
}

fn open(file: &Path) -> Result<Connection, DbError> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // The file came from elsewhere: nothing in its schema is run.
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

fn contents(connection: &Connection) -> Result<Contents, DbError> {
    let keys = rows(
        connection,
        "api_keys",
        [
            "key_id",
            "key_hash",
            "name",
            "owner",
            "scopes",
            "created_at",
            "last_used_at",
            "expires_at",
            "revoked_at",
            "note",
        ],
    )?;
    let jobs = rows(
        connection,
        "fax_jobs",
        ["id", "to_number", "status", "error", "pages", "created_at", "updated_at"],
    )?;
    let inbound = rows(
        connection,
        "inbound_faxes",
        [
            "id",
            "from_number",
            "to_number",
            "pages",
            "size_bytes",
            "pdf_path",
            "tiff_path",
            "error",
            "created_at",
            "updated_at",
            "received_at",
        ],
    )?;
    Ok(Contents {
        keys: keys
            .into_iter()
            .map(
                |[
                    key_id,
                    key_hash,
                    name,
                    owner,
                    scopes,
                    created_at,
                    last_used_at,
                    expires_at,
                    revoked_at,
                    note,
                ]| {
                    FaxbotKey {
                        key_id: key_id.unwrap_or_default(),
                        key_hash: Secret::new(key_hash.unwrap_or_default()),
                        name,
                        owner,
                        scopes: scopes.unwrap_or_default(),
                        created_at,
                        last_used_at,
                        expires_at,
                        revoked_at,
                        note,
                    }
                },
            )
            .collect(),
        jobs: jobs
            .into_iter()
            .map(|[id, to_number, status, error, pages, created_at, updated_at]| FaxbotJob {
                id: id.unwrap_or_default(),
                to_number: to_number.unwrap_or_default(),
                status: status.unwrap_or_default(),
                error,
                pages: pages.and_then(|pages| pages.parse().ok()),
                created_at,
                updated_at,
            })
            .collect(),
        inbound: inbound
            .into_iter()
            .map(
                |[
                    id,
                    from_number,
                    to_number,
                    pages,
                    size,
                    pdf_path,
                    tiff_path,
                    error,
                    created_at,
                    updated_at,
                    received,
                ]| {
                    FaxbotInbound {
                        id: id.unwrap_or_default(),
                        from_number,
                        to_number,
                        pages: pages.and_then(|pages| pages.parse().ok()),
                        size_bytes: size.and_then(|size| size.parse().ok()),
                        pdf_path,
                        tiff_path,
                        error,
                        received_at: received.or(created_at),
                        updated_at,
                    }
                },
            )
            .collect(),
    })
}

/// Names of a table's columns; none when there is no such table.
fn columns(connection: &Connection, table: &str) -> Result<Vec<String>, DbError> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names = statement.query_map([table], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// The rows of a table, oldest first; missing columns as NULL, an empty text too.
fn rows<const N: usize>(
    connection: &Connection,
    table: &'static str,
    wanted: [&'static str; N],
) -> Result<Vec<[Option<String>; N]>, DbError> {
    let there = columns(connection, table)?;
    if there.is_empty() {
        return Ok(Vec::new());
    }
    let has = |name: &str| there.iter().any(|column| column == name);
    let selected = wanted.map(|name| if has(name) { name } else { "NULL" }).join(", ");
    let order = if has("created_at") { "created_at, rowid" } else { "rowid" };
    let mut statement = connection.prepare(&format!("SELECT {selected} FROM {table} ORDER BY {order}"))?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut values = [const { None }; N];
        for (column, value) in values.iter_mut().enumerate() {
            *value = match row.get_ref(column)? {
                ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Integer(number) => Some(number.to_string()),
                ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => None,
            }
            .filter(|text| !text.is_empty());
        }
        found.push(values);
    }
    Ok(found)
}
