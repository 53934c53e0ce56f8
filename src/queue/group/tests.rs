//! One document to many numbers: shared by all, ended once, deleted with the last.

use std::time::Duration;

use super::*;
use crate::convert::{Converted, DocumentKind};
use crate::fax::event::Event;
use crate::fax::group::Recipient;
use crate::fax::job::{Priority, State};
use crate::fax::policy::Ruling;
use crate::fax::retention::Rules;
use crate::fax::sentences;
use crate::fax::transition::{self, Acceptance, Accepted, accept};
use crate::id::{AccountId, DocumentId};
use crate::queue::tests::{Site, admin, one_page};
use crate::queue::{Cleaned, Content, NewFax, Submitted};

const DAY: Duration = Duration::from_hours(24);
/// Delivered, not in service, hangs up and resumes.
const NUMBERS: [&str; 3] = ["+15005550000", "+15005550004", "+15005550005"];

async fn site(folder: &std::path::Path) -> Site {
    let rules = Rules { sent_days: 1, stop_sends_percent: 100, ..Rules::default() };
    let start = "2026-01-01T12:00:00Z".parse().unwrap();
    Site::open_with(folder, start, Default::default(), rules).await
}

fn recipient(to: &str) -> Recipient {
    Recipient { raw: to.into(), to: to.parse().unwrap() }
}

/// A fax of which there is only what was uploaded.
fn unprepared(upload: DocumentId) -> Acceptance {
    Acceptance {
        owner: AccountId::new(),
        key_id: None,
        to_raw: NUMBERS[0].into(),
        to: NUMBERS[0].parse().unwrap(),
        route: "simulator".into(),
        priority: Priority::Normal,
        resolution: "fine".into(),
        quality: "text".into(),
        content: transition::Content::Sources(vec![upload]),
        source_sha256: String::new(),
        tag: None,
        resend_of: None,
        notify: None,
        schedule_at: None,
        deadline_at: None,
        hours: None,
    }
}

async fn human(site: &Site, id: GroupId) -> String {
    sentences::group(&site.queue.group(id).await.unwrap().unwrap().tally)
}

async fn done(site: &Site) -> Vec<Event> {
    let events = site.db.events_after(0, 10_000).await.unwrap();
    events.into_iter().map(|logged| logged.event).filter(|event| event.kind == "group.done").collect()
}

#[tokio::test]
async fn each_fax_goes_its_own_way_and_the_end_of_the_last_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path()).await;
    let (group, faxes) = site.send_group(Site::new_fax("simulator", NUMBERS[0]), &NUMBERS).await;
    assert_eq!(human(&site, group).await, "0 of 3 delivered, 3 waiting.");
    assert_eq!(site.documents(), 1, "one document for all");
    site.queue.start();
    let mut states = Vec::new();
    for id in &faxes {
        states.push(site.until(*id, |job| job.state.is_final()).await.state);
    }
    assert_eq!(states, [State::Delivered, State::Failed, State::Delivered]);
    assert_eq!(human(&site, group).await, "2 of 3 delivered, 1 failed.");
    let told = done(&site).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].subject, format!("group:{group}"));
    let data = &told[0].data;
    assert_eq!((&data["total"], &data["delivered"], &data["failed"]), (&3.into(), &2.into(), &1.into()));
    assert!(!data.to_string().contains("555"), "{data}");
    let ended = site.queue.group(group).await.unwrap().unwrap().group.final_at;
    assert_eq!(ended, faxes.iter().filter_map(|id| site.job(*id).final_at).max());
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn the_document_stays_until_the_last_fax_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path()).await;
    // Nobody dials, and no call for the dispatcher holds the clock.
    site.queue.stop(Duration::ZERO).await;
    let (group, faxes) = site.send_group(Site::new_fax("simulator", NUMBERS[0]), &NUMBERS).await;
    let unaccounted = async || site.queue.reconcile().await.unwrap().unwrap().problems;
    for id in &faxes[..2] {
        site.queue.cancel(*id, &admin()).await.unwrap();
    }
    assert_eq!(unaccounted().await, []);
    site.clock.work().sleep(2 * DAY).await;
    assert_eq!(site.queue.clean().await.unwrap(), Cleaned { sent: 2, received: 0 });
    assert_eq!((site.documents(), site.queue.storage().await.unwrap().doomed), (1, 0));
    assert_eq!(site.queue.pages(&site.job(faxes[2])).await.unwrap().len(), 1);
    assert_eq!(human(&site, group).await, "0 of 3 delivered, 1 waiting, 2 deleted since.");
    assert_eq!(unaccounted().await, []);
    assert!(done(&site).await.is_empty());

    // A fax that is sent again has a document of its own.
    site.queue.cancel(faxes[2], &admin()).await.unwrap();
    let pages = site.queue.pages(&site.job(faxes[2])).await.unwrap();
    let again = NewFax { content: Content::Pages(pages), ..Site::new_fax("simulator", NUMBERS[0]) };
    let again = site.queue.submit(again, |job| (202, job.id.to_string())).await.unwrap();
    let Submitted::New { body: again, .. } = again else { panic!("{again:?}") };
    site.clock.work().sleep(2 * DAY).await;
    assert_eq!(site.queue.clean().await.unwrap(), Cleaned { sent: 1, received: 0 });
    assert_eq!(site.documents(), 1);
    assert_eq!(site.queue.pages(&site.job(again.parse().unwrap())).await.unwrap().len(), 1);
    assert!(site.queue.group(group).await.unwrap().is_none());
    assert_eq!((unaccounted().await, done(&site).await.len()), (vec![], 1));
}

#[tokio::test]
async fn all_that_is_left_is_cancelled_and_each_is_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path()).await;
    let numbers: Vec<String> = (0..120).map(|n| format!("+1555000{n:04}")).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let (group, faxes) = site.send_group(Site::new_fax("simulator", NUMBERS[0]), &numbers).await;
    site.queue.cancel(faxes[0], &admin()).await.unwrap();
    site.queue.cancel_group(group, &admin()).await.unwrap();
    assert_eq!(human(&site, group).await, "0 of 120 delivered, 120 cancelled.");
    let rows = site.db.audit_page(None, 1000).await.unwrap().rows;
    let rows = rows.iter().filter(|row| row.action == "fax.cancelled").count();
    assert_eq!((rows, done(&site).await.len()), (120, 1));
}

#[tokio::test]
async fn all_numbers_are_looked_at_before_any_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path()).await;
    let by = admin();
    site.queue.rule("+1555123".parse().unwrap(), Ruling::Block, "a test".into(), &by).await.unwrap();
    let group = ["+15005550000", "+15551230001", "+15551240000", "+15551230002"].map(recipient);
    let new = Site::new_fax("simulator", NUMBERS[0]);
    let refused = site.queue.submit_group(new, group.to_vec(), |_| (202, String::new())).await;
    let Err(QueueError::SomeBlocked(blocked)) = refused else { panic!("{refused:?}") };
    let numbers: Vec<_> = blocked.iter().map(|(raw, block)| (raw.as_str(), block.code())).collect();
    assert_eq!(numbers, [("+15551230001", "block_list"), ("+15551230002", "block_list")]);
    assert_eq!((site.documents(), site.db.events_after(0, 10).await.unwrap().len()), (0, 0));
}

#[tokio::test]
async fn pages_that_are_made_later_are_made_once_and_for_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path()).await;
    // Nobody dials, and no call for the dispatcher holds the clock.
    site.queue.stop(Duration::ZERO).await;
    let inner = &site.queue.inner;
    let upload = inner.spool.put(b"upload".to_vec()).await.unwrap();
    let new = unprepared(upload);
    let accepted = Accepted::group(&new, &NUMBERS.map(recipient), site.clock.now());
    let group = accepted.group.as_ref().unwrap().id;
    let jobs = site.db.insert_jobs(accepted, None).await.unwrap();
    assert_eq!(site.db.to_prepare(9, site.clock.now()).unwrap().len(), 1, "one stands for all");

    // One is held and one cancelled before its pages are there; the upload stays for the others.
    site.queue.hold(jobs[1].id, &admin()).await.unwrap().unwrap();
    site.queue.cancel(jobs[0].id, &admin()).await.unwrap();
    assert_eq!(
        (site.documents(), human(&site, group).await),
        (1, "0 of 3 delivered, 1 waiting, 1 held, 1 cancelled.".into())
    );
    assert_eq!(site.db.documents_in_use(&[upload]).unwrap().len(), 1);
    let pages = Converted { pages: vec![one_page(); 2], kind: DocumentKind::Text };
    inner.attend_to_preparation(jobs[2].clone(), tokio::spawn(async move { Ok(pages) }));
    let last = site.until(jobs[2].id, |job| job.state == State::Queued).await;
    let held = site.job(jobs[1].id);
    assert_eq!((held.state, held.pages, held.document), (State::Held, Some(2), last.document));
    assert_eq!(site.documents(), 1, "the upload is gone, and the pages are stored once");
    assert!(last.sources.is_empty() && held.sources.is_empty());
    assert_eq!(site.queue.reconcile().await.unwrap().unwrap().problems, []);
}

#[tokio::test]
async fn the_upload_of_a_held_fax_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path()).await;
    let upload = site.queue.inner.spool.put(b"upload".to_vec()).await.unwrap();
    let job = site.db.insert_job(accept(unprepared(upload), site.clock.now()), None).await.unwrap();
    site.queue.hold(job.id, &admin()).await.unwrap().unwrap();
    assert_eq!(site.job(job.id).sources, [upload]);
    assert!(site.db.documents_in_use(&[upload]).unwrap().contains(&upload), "else the next start sweeps it");
}
