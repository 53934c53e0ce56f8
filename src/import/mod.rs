//! Taking over a Faxbot: its keys, its faxes that have ended, what it received.
//!
//! Owns: what comes over, as what, and why the rest does not ([`plan`], which touches nothing), and
//! the storing of it ([`Plan::apply`]). Refuses: faxes that had not ended, since nobody can tell
//! whether they went out; rights beyond an operator's; to take anything over twice.
//!
//! A fax that Faxbot called delivered is history here: delivered by its word, with no page
//! confirmed to us. All of it belongs to the account `faxbot`, keys to their owners'.

mod faxes;
mod keys;

use std::path::PathBuf;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::access::audit::AuditEvent;
use crate::access::records::{AccountKind, AccountRecord, AccountStatus};
use crate::access::roles::Role;
use crate::codec::page::Resolution;
use crate::codec::tiff;
use crate::convert::{ConvertError, Converter, Options, Quality};
use crate::db::faxbot::Contents;
pub use crate::db::faxbot::{FaxbotError, read};
pub use crate::db::import::known;
use crate::db::import::{Batch, Known};
use crate::db::{Db, DbError};
use crate::fax::number::CountryCode;
use crate::id::{AccountId, DocumentId};
use crate::spool::{Spool, SpoolError};

/// The account that owns what nobody else does, and stands in the place of a route.
const FAXBOT: &str = "faxbot";
/// Operators' service accounts of the appliance itself, which own nobody else's keys.
const RESERVED: [&str; 1] = ["anonymous"];
/// Largest document taken over, bytes: ten times what Faxbot accepts by default.
const LARGEST_DOCUMENT: u64 = 100_000_000;

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The database refused.
    #[error("nothing was taken over")]
    Db(#[from] DbError),
    /// The spool refused.
    #[error("nothing was taken over, because a document cannot be stored")]
    Spool(#[from] SpoolError),
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An API key.
    Key,
    /// A fax that was sent.
    Fax,
    /// A fax that was received.
    Received,
}

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It comes over.
    Comes,
    /// It is here already.
    IsHere,
    /// It does not come over, for this reason.
    StaysBehind(String),
}

/// One row and its fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub what: What,
    /// Its id.
    pub id: String,
    /// A key's name and owner; nothing for faxes, whose numbers are nobody's business.
    pub label: String,
    /// What becomes of it.
    pub fate: Fate,
    /// What is different here.
    pub notes: Vec<String>,
}

/// What will come over.
#[derive(Debug, Default)]
pub struct Plan {
    /// Every row of the Faxbot with its fate.
    pub items: Vec<Item>,
    batch: Batch,
    /// Where the documents of `batch.inbound` may be, in the same order.
    documents: Vec<Vec<PathBuf>>,
}

/// Decides on every row. `folder` is where the Faxbot's database lies; `home` the country of
/// numbers without a country code.
pub fn plan(
    contents: Contents,
    known: &Known,
    folder: &std::path::Path,
    home: &CountryCode,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    for key in contents.keys {
        keys::plan(&mut plan, key, known, now);
    }
    for job in contents.jobs {
        faxes::plan_job(&mut plan, job, known, home, now);
    }
    for fax in contents.inbound {
        faxes::plan_inbound(&mut plan, fax, known, folder);
    }
    plan
}

impl Plan {
    /// Stores what comes over, all of it or nothing, with one row of the audit log: `told`, who it
    /// was, gets what came along. Answers the ids of received faxes whose
    /// documents could not be taken along, with the reason.
    pub async fn apply(
        mut self,
        db: &Db,
        spool: &Spool,
        converter: &Converter,
        told: AuditEvent,
    ) -> Result<Vec<(String, String)>, ImportError> {
        if self.batch.is_empty() {
            return Ok(Vec::new());
        }
        let left_out = self.items.iter().filter(|item| matches!(item.fate, Fate::StaysBehind(_))).count();
        let told = told.after(self.batch.summary().with("left_out", left_out));
        let mut without = Vec::new();
        let mut stored = Vec::new();
        let result = async {
            for (fax, candidates) in self.batch.inbound.iter_mut().zip(&self.documents) {
                match document(candidates, converter).await {
                    Ok((pages, tiff)) => {
                        (fax.pages, fax.size_bytes) = (pages, tiff.len() as u64);
                        fax.document = spool.put(tiff).await?;
                        stored.push(fax.document);
                    }
                    Err(why) => without.push((fax.id.to_string(), why)),
                }
            }
            Ok::<_, ImportError>(db.audited(told).import(std::mem::take(&mut self.batch)).await?)
        }
        .await;
        if let Err(error) = result {
            delete_all(spool, &stored).await;
            return Err(error);
        }
        Ok(without)
    }

    fn add(&mut self, what: What, id: &str, label: String, fate: Fate, notes: Vec<String>) {
        self.items.push(Item { what, id: id.chars().take(64).collect(), label, fate, notes });
    }

    /// The account that owns this; made when there is none. An account of that name that is more
    /// than an operator's service keeps to itself: nobody becomes an administrator by a name.
    fn owner(&mut self, name: &str, known: &Known, now: Timestamp) -> (AccountId, String) {
        let others = (1_u32..).map(|number| match number {
            1 => format!("{name} (Faxbot)"),
            number => format!("{name} (Faxbot {number})"),
        });
        for name in std::iter::once(name.to_owned()).chain(others) {
            let here = known.accounts.iter().find(|account| account.name.eq_ignore_ascii_case(&name));
            match here {
                Some(account) if account.kind == AccountKind::Service && account.role == Role::Operator => {
                    // An account of the appliance itself, whose rights are other requests'.
                    if !RESERVED.contains(&account.name.as_str()) {
                        return (account.id, account.name.clone());
                    }
                }
                Some(_) => {}
                None => return (self.new_owner(&name, now), name),
            }
        }
        unreachable!("there is always a number that no account has")
    }

    fn new_owner(&mut self, name: &str, now: Timestamp) -> AccountId {
        let planned = self.batch.accounts.iter().find(|account| account.name.eq_ignore_ascii_case(name));
        if let Some(account) = planned {
            return account.id;
        }
        let account = AccountRecord {
            id: AccountId::new(),
            kind: AccountKind::Service,
            name: name.to_owned(),
            role: Role::Operator,
            status: AccountStatus::Active,
            grants: Vec::new(),
            created_at: now,
        };
        let id = account.id;
        self.batch.accounts.push(account);
        id
    }
}

/// The first of these files that can be read and turned into fax pages, as TIFF with its number of
/// pages. The files are as hostile as any upload: they are read in the sandbox only.
async fn document(candidates: &[PathBuf], converter: &Converter) -> Result<(u32, Vec<u8>), String> {
    let mut why = "its document is not beside the database".to_owned();
    for file in candidates {
        let content = match tokio::fs::metadata(file).await {
            Ok(found) if found.is_file() && found.len() <= LARGEST_DOCUMENT => tokio::fs::read(file).await,
            Ok(_) => {
                why = "its document is too large, or no file".to_owned();
                continue;
            }
            Err(_) => continue,
        };
        let Ok(content) = content else {
            why = "its document cannot be read".to_owned();
            continue;
        };
        let options = Options { resolution: Resolution::FINE, quality: Quality::Text };
        match converter.convert(vec![Bytes::from(content)], options, |_| {}).await {
            Ok(converted) => return Ok((converted.pages.len() as u32, tiff::write(&converted.pages))),
            Err(error) => why = unusable(&error),
        }
    }
    Err(why)
}

fn unusable(error: &ConvertError) -> String {
    format!("its document cannot be used: {}", error.to_string().trim_end_matches('.'))
}

async fn delete_all(spool: &Spool, documents: &[DocumentId]) {
    for document in documents {
        if let Err(error) = spool.delete(*document).await {
            log::warn!("document {document} stays until the next start: {error}");
        }
    }
}

/// A moment as Faxbot writes it: `2025-09-20 01:29:19.123456`, in UTC without saying so.
fn moment(text: &str) -> Option<Timestamp> {
    let at = text.parse::<Timestamp>().ok().or_else(|| {
        let at: jiff::civil::DateTime = text.parse().ok()?;
        at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp())
    })?;
    // Stored times are whole milliseconds.
    Timestamp::from_millisecond(at.as_millisecond()).ok()
}

/// One line of at most so many characters.
fn line(text: &str, longest: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().chars().take(longest).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests;
