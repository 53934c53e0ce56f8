//! Faxes a Faxbot sent and received, as history.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{FAXBOT, Fate, Plan, What, line, moment};
use crate::db::faxbot::{FaxbotInbound, FaxbotJob};
use crate::db::import::{EndedJob, Known};
use crate::fax::job::State;
use crate::fax::number::{CountryCode, FaxNumber};
use crate::fax::outcome::{Class, Detail, Outcome};
use crate::fax::received::ReceivedFax;
use crate::id::{DocumentId, InboundId, JobId};

/// Folder in which Faxbot keeps documents, below the one of its database, unless told otherwise.
const DOCUMENTS: &str = "faxdata";
/// Longest error text taken over, in characters.
const ERROR_LEN: usize = 300;

pub(super) fn plan_job(plan: &mut Plan, job: FaxbotJob, known: &Known, home: &CountryCode, now: Timestamp) {
    let fate = match judge(&job, known, home) {
        Ok(sound) => {
            let (owner, _) = plan.owner(FAXBOT, known, now);
            plan.batch.jobs.push(EndedJob {
                id: sound.id,
                owner,
                to_raw: job.to_number.clone(),
                to: sound.to,
                route: FAXBOT,
                state: sound.state,
                pages: job.pages,
                outcome: Some(outcome(sound.state, job.error.as_deref())),
                created_at: sound.created_at,
                ended_at: sound.ended_at,
            });
            Fate::Comes
        }
        Err(fate) => fate,
    };
    plan.add(What::Fax, &job.id, String::new(), fate, Vec::new());
}

/// What had to be understood before a fax can come over.
struct Sound {
    id: JobId,
    to: FaxNumber,
    state: State,
    created_at: Timestamp,
    ended_at: Timestamp,
}

fn judge(job: &FaxbotJob, known: &Known, home: &CountryCode) -> Result<Sound, Fate> {
    let stays = |why: &str| Fate::StaysBehind(why.to_owned());
    let id: JobId = job.id.parse().map_err(|_| stays("its id is not 32 hex digits"))?;
    if known.jobs.contains(&id) {
        return Err(Fate::IsHere);
    }
    let state = match job.status.to_ascii_lowercase().as_str() {
        "success" | "completed" => State::Delivered,
        "failed" | "disabled" => State::Failed,
        status => {
            let status = line(status, 20);
            return Err(stays(&format!(
                "it had not ended (status '{status}'); if it did not arrive, send it again from here"
            )));
        }
    };
    let to = FaxNumber::parse(&job.to_number, home).map_err(|_| stays("its number does not read"))?;
    let created_at = job.created_at.as_deref().and_then(moment);
    let ended_at = job.updated_at.as_deref().and_then(moment).or(created_at);
    match (created_at.or(ended_at), ended_at) {
        (Some(created_at), Some(ended_at)) => Ok(Sound { id, to, state, created_at, ended_at }),
        _ => Err(stays("its time does not read")),
    }
}

fn outcome(state: State, error: Option<&str>) -> Outcome {
    let error = error.map(|error| line(error, ERROR_LEN)).filter(|error| !error.is_empty());
    let (class, human) = match (state, error) {
        (State::Delivered, _) => (Class::Delivered, "Faxbot recorded this fax as delivered.".to_owned()),
        (_, Some(error)) => (Class::Provider, format!("Faxbot could not send this fax: {error}")),
        (_, None) => (Class::Provider, "Faxbot could not send this fax.".to_owned()),
    };
    Outcome {
        class,
        code: "imported".to_owned(),
        retryable: false,
        who_acts: None,
        human,
        next_try_at: None,
        detail: Detail::default(),
    }
}

pub(super) fn plan_inbound(plan: &mut Plan, fax: FaxbotInbound, known: &Known, folder: &Path) {
    let stays = |why: &str| Fate::StaysBehind(why.to_owned());
    let received_at = fax.received_at.as_deref().and_then(moment);
    let fate = match (fax.id.parse::<InboundId>(), received_at) {
        (Err(_), _) => stays("its id is not 32 hex digits"),
        (Ok(id), _) if known.inbound.contains(&id) => Fate::IsHere,
        (Ok(_), None) => stays("its time does not read"),
        (Ok(id), Some(received_at)) => {
            plan.documents.push(candidates(&fax, folder));
            plan.batch.inbound.push(ReceivedFax {
                seq: 0,
                id,
                from: fax.from_number.clone(),
                to: fax.to_number.clone(),
                remote_station_id: None,
                route: FAXBOT.to_owned(),
                attempt: None,
                pages: fax.pages.unwrap_or(0),
                size_bytes: fax.size_bytes.unwrap_or(0),
                // Names nothing until a document is found.
                document: DocumentId::new(),
                is_complete: fax.error.is_none(),
                // History: nobody has to look at it again.
                read_at: Some(received_at),
                read_by: Some("import".to_owned()),
                assigned_to: None,
                note: None,
                received_at,
                updated_at: fax.updated_at.as_deref().and_then(moment).unwrap_or(received_at),
            });
            Fate::Comes
        }
    };
    plan.add(What::Received, &fax.id, String::new(), fate, Vec::new());
}

/// Where its document may be: where Faxbot put it, or, when the files were copied here, beside the
/// database. The TIFF first, since a PDF was made from it.
fn candidates(fax: &FaxbotInbound, folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in [&fax.tiff_path, &fax.pdf_path].into_iter().flatten().map(Path::new) {
        let Some(name) = path.file_name() else { continue };
        if path.is_absolute() {
            files.push(path.to_owned());
        } else if !path.starts_with("s3:") {
            files.push(folder.join(path));
        }
        files.push(folder.join(name));
        files.push(folder.join(DOCUMENTS).join(name));
    }
    files
}
