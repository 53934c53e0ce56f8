//! Taking one document in for many numbers, and giving faxes their pages.
//!
//! Owns: that the faxes of a group begin at the same moment with the same document, and that those
//! whose pages are made later get the same ones. Refuses: to tie them together in any other way.

use jiff::Timestamp;

use super::{Acceptance, Moved, Preparing, Sleeping, Stage, accept, ready, touch};
use crate::clock::whole_ms;
use crate::fax::group::{Group, Recipient};
use crate::fax::job::{Job, State};
use crate::fax::notify::Notify;
use crate::fax::outcome::{Class, Fault, Outcome};
use crate::fax::retry::Next;
use crate::id::{DocumentId, GroupId};

/// What is accepted in one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The group, unless it is a single fax.
    pub group: Option<Group>,
    /// A fax for each number, in the order of the request; at least one.
    pub faxes: Vec<Moved>,
}

impl Accepted {
    /// A fax to one number.
    pub fn single(new: Acceptance, now: Timestamp) -> Self {
        Self { group: None, faxes: vec![accept(new, now)] }
    }

    /// A group: the same fax to each of these numbers in place of its own.
    pub fn group(new: &Acceptance, recipients: &[Recipient], now: Timestamp) -> Self {
        let id = GroupId::new();
        let fax = |recipient: &Recipient| {
            let Recipient { raw, to } = recipient.clone();
            let mut moved = accept(Acceptance { to_raw: raw, to, ..new.clone() }, now);
            moved.job.group = Some(id);
            moved.job.notify = None;
            moved
        };
        let group = Group {
            id,
            owner: new.owner,
            key_id: new.key_id.clone(),
            notify: new.notify.clone().and_then(Notify::of_group),
            size: u32::try_from(recipients.len()).unwrap_or(u32::MAX),
            created_at: whole_ms(now),
            final_at: None,
        };
        Self { group: Some(group), faxes: recipients.iter().map(fax).collect() }
    }
}

/// Pages that were made of a document after its faxes were accepted.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// The fax pages as one TIFF, in the spool.
    pub document: DocumentId,
    /// How many.
    pub count: u32,
    /// The limit they go over, by its code; then the fax is held.
    pub over: Option<&'static str>,
}

impl Stage {
    /// Gives pages to a job that has none. One that is held meanwhile stays held. `None` for one that
    /// has its pages or has ended.
    pub fn given_pages(self, pages: Pages, now: Timestamp) -> Option<Moved> {
        let set = |mut job: Job| {
            job.document = Some(pages.document);
            job.pages = Some(pages.count);
            if let Some(code) = pages.over {
                let fault = Fault { code: code.into(), ..Fault::of(Class::TooBig) };
                job.outcome = Some(Outcome::of_fault(fault, Next::Final(State::Held, Class::TooBig)).held());
            }
            job
        };
        match self {
            Self::Preparing(Preparing(job)) if pages.over.is_some() => {
                Some(Moved::to(set(job), State::Held, now))
            }
            Self::Preparing(Preparing(job)) => Some(ready(set(job), now)),
            Self::Sleeping(Sleeping(job)) if job.document.is_none() => {
                let mut job = set(job);
                touch(&mut job, now);
                let freed = std::mem::take(&mut job.sources);
                Some(Moved { job, events: Vec::new(), freed })
            }
            Self::Sleeping(_) | Self::Queued(_) | Self::Calling(_) | Self::Final(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{acceptance, now};
    use super::*;
    use crate::fax::transition::Content;

    fn recipients() -> Vec<Recipient> {
        let to = |n: u32| format!("+1555000000{n}").parse().unwrap();
        (0..3).map(|n| Recipient { raw: n.to_string(), to: to(n) }).collect()
    }

    #[test]
    fn the_faxes_of_a_group_share_a_document_and_nothing_else() {
        let document = DocumentId::new();
        let accepted = Accepted::group(&acceptance(Content::Ready(document, 2)), &recipients(), now());
        let group = accepted.group.unwrap();
        assert_eq!((group.size, group.final_at), (3, None));
        let jobs: Vec<&Job> = accepted.faxes.iter().map(Moved::job).collect();
        assert!(jobs.iter().all(|job| job.document == Some(document) && job.group == Some(group.id)));
        assert!(jobs[0].id != jobs[1].id && jobs[1].id != jobs[2].id);
        assert!(jobs.iter().zip(recipients()).all(|(job, to)| (&job.to, &job.to_raw) == (&to.to, &to.raw)));
    }

    #[test]
    fn pages_come_to_whoever_has_none() {
        let (sources, document) = (vec![DocumentId::new()], DocumentId::new());
        let new = acceptance(Content::Sources(sources.clone()));
        let job = Accepted::group(&new, &recipients(), now()).faxes.remove(0).into_job();
        let held = Stage::of(job.clone()).hold(now()).unwrap().into_job();
        for (over, from_preparing) in [(None, State::Queued), (Some("pages"), State::Held)] {
            let pages = Pages { document, count: 2, over };
            for (job, state) in [(&job, from_preparing), (&held, State::Held)] {
                let moved = Stage::of(job.clone()).given_pages(pages, now()).unwrap();
                assert_eq!((moved.job().state, moved.freed()), (state, &sources[..]));
                assert_eq!((moved.job().document, moved.job().pages), (Some(document), Some(2)));
                assert_eq!(moved.job().outcome.is_some(), over.is_some());
                assert!(Stage::of(moved.into_job()).given_pages(pages, now()).is_none(), "only once");
            }
        }
        let ended = Stage::of(job).cancel("x", now()).unwrap().into_job();
        assert!(Stage::of(ended).given_pages(Pages { document, count: 1, over: None }, now()).is_none());
    }
}
