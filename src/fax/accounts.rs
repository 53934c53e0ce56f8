//! Accounting: whether what is recorded of a fax fits together.
//!
//! Owns: what each fax, its calls and its pages must say of one another, and the sentences that name
//! what does not. Refuses: to mend anything, and to name more than ids.

use std::fmt;

use super::job::State;
use super::number::FaxNumber;
use super::outcome::Class;
use crate::id::{AttemptId, DocumentId, GroupId, InboundId, JobId};

/// A sent fax, as far as it can be accounted for.
#[derive(Clone, Debug)]
pub struct FaxAccount {
    /// Its id.
    pub id: JobId,
    /// Its state.
    pub state: State,
    /// Whether it is history of another system, of which no calls came over.
    pub is_imported: bool,
    /// The number dialled.
    pub to: FaxNumber,
    /// Whether the time of its end is recorded.
    pub has_end: bool,
    /// Calls begun, as it says itself.
    pub attempts: u32,
    /// Its pages; `None` while they are prepared, and where they were never known.
    pub pages: Option<u32>,
    /// Pages confirmed, as it says itself.
    pub confirmed_pages: u32,
    /// What should be stored of it.
    pub documents: Vec<DocumentId>,
    /// Its calls, in order.
    pub calls: Vec<CallAccount>,
}

/// One call.
#[derive(Clone, Debug)]
pub struct CallAccount {
    /// Its id.
    pub id: AttemptId,
    /// 1, 2, 3 … within the fax.
    pub number: u32,
    /// Name of its route.
    pub route: String,
    /// Whether it is over.
    pub has_end: bool,
    /// How it ended.
    pub class: Option<Class>,
    /// Pages confirmed in it.
    pub confirmed_pages: u32,
    /// Whether it delivered into the own inbox, and that fax was deleted since.
    pub is_delivery_deleted: bool,
}

/// A received fax.
#[derive(Clone, Debug)]
pub struct ReceivedAccount {
    /// Its id.
    pub id: InboundId,
    /// What should be stored of it.
    pub document: DocumentId,
    /// Whether the call it names is recorded; also when it names none.
    pub has_its_call: bool,
}

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unaccounted {
    /// The state of a fax and the time of its end contradict each other.
    End(JobId),
    /// A fax says it was called so often, and other calls are recorded.
    Calls(JobId),
    /// A call of a fax has no end although nobody is calling, or no outcome.
    OpenCall(JobId, u32),
    /// A fax is being called, and no call is open.
    NoCall(JobId),
    /// More pages count as delivered than were confirmed.
    Pages(JobId),
    /// A call is recorded as delivered, and its route knows of no arrival.
    NotArrived(JobId, u32),
    /// A call is recorded as not delivered, and its route knows that it arrived.
    Arrived(JobId, u32),
    /// A received fax names a call that is not recorded.
    NoOrigin(InboundId),
    /// A group counts as ended and a fax of it does not, or the other way round, or it has no fax.
    Group(GroupId),
    /// The document of a fax is not in the spool.
    NoDocument(DocumentId),
    /// A stored document belongs to no fax.
    NoOwner(DocumentId),
    /// A file in the spool is none of ours, or was never finished.
    Stray(String),
}

impl fmt::Display for Unaccounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End(id) => write!(f, "fax {id}: its state and the time of its end contradict each other"),
            Self::Calls(id) => write!(f, "fax {id}: the calls it counts are not those recorded"),
            Self::OpenCall(id, number) => write!(f, "fax {id}: how call {number} ended is not recorded"),
            Self::NoCall(id) => write!(f, "fax {id}: it is being called, but no call is recorded"),
            Self::Pages(id) => write!(f, "fax {id}: more pages count as delivered than were confirmed"),
            Self::NotArrived(id, number) => {
                write!(f, "fax {id}: call {number} counts as delivered, but nothing arrived")
            }
            Self::Arrived(id, number) => {
                write!(f, "fax {id}: call {number} counts as failed, but its pages arrived")
            }
            Self::NoOrigin(id) => write!(f, "received fax {id}: the call that brought it is not recorded"),
            Self::Group(id) => write!(f, "group {id}: it and its faxes contradict each other about its end"),
            Self::NoDocument(id) => write!(f, "document {id}: a fax has it, but it is not stored"),
            Self::NoOwner(id) => write!(f, "document {id}: it is stored, but belongs to no fax"),
            Self::Stray(name) => write!(f, "file {name}: it is in the spool, but is no finished document"),
        }
    }
}

impl FaxAccount {
    /// What does not fit in the fax and its calls alone.
    pub fn problems(&self) -> Vec<Unaccounted> {
        let mut found = Vec::new();
        if self.has_end != self.state.is_final() {
            found.push(Unaccounted::End(self.id));
        }
        if self.is_imported {
            return found;
        }
        let numbers = self.calls.iter().map(|call| call.number);
        if !numbers.eq(1..=self.attempts) {
            found.push(Unaccounted::Calls(self.id));
        }
        let under_way =
            if self.state.is_calling() { self.calls.last().map(|call| call.number) } else { None };
        let is_open = |call: &&CallAccount| !call.has_end || call.class.is_none();
        let open: Vec<u32> = self.calls.iter().filter(is_open).map(|call| call.number).collect();
        if self.state.is_calling() && open.last().copied() != under_way {
            found.push(Unaccounted::NoCall(self.id));
        }
        let forgotten = open.into_iter().filter(|number| Some(*number) != under_way);
        found.extend(forgotten.map(|number| Unaccounted::OpenCall(self.id, number)));
        let confirmed: u32 = self.calls.iter().map(|call| call.confirmed_pages).sum();
        let is_whole = self.state != State::Delivered || self.pages == Some(self.confirmed_pages);
        if confirmed < self.confirmed_pages || !is_whole {
            found.push(Unaccounted::Pages(self.id));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u32, class: Option<Class>, confirmed_pages: u32) -> CallAccount {
        CallAccount {
            id: AttemptId::new(),
            number,
            route: "simulator".into(),
            has_end: class.is_some(),
            class,
            confirmed_pages,
            is_delivery_deleted: false,
        }
    }

    fn fax(state: State, attempts: u32, confirmed_pages: u32, calls: Vec<CallAccount>) -> FaxAccount {
        FaxAccount {
            id: JobId::new(),
            state,
            is_imported: false,
            to: "+15551234567".parse().unwrap(),
            has_end: state.is_final(),
            attempts,
            pages: Some(2),
            confirmed_pages,
            documents: Vec::new(),
            calls,
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        use Class::{Busy, Delivered};
        let busy = || call(1, Some(Busy), 0);
        let good = || call(2, Some(Delivered), 2);
        let sound = [
            fax(State::Queued, 0, 0, vec![]),
            fax(State::Waiting, 1, 0, vec![busy()]),
            fax(State::Sending, 2, 0, vec![busy(), call(2, None, 0)]),
            fax(State::Delivered, 2, 2, vec![busy(), good()]),
            FaxAccount { is_imported: true, ..fax(State::Delivered, 0, 0, vec![]) },
        ];
        for fax in sound {
            assert_eq!(fax.problems(), [], "{fax:?}");
        }
        type Case = (FaxAccount, fn(JobId) -> Unaccounted);
        let cases: [Case; 8] = [
            (FaxAccount { has_end: false, ..fax(State::Failed, 0, 0, vec![]) }, Unaccounted::End),
            (FaxAccount { has_end: true, ..fax(State::Queued, 0, 0, vec![]) }, Unaccounted::End),
            (fax(State::Waiting, 2, 0, vec![busy()]), Unaccounted::Calls),
            (fax(State::Waiting, 0, 0, vec![busy()]), Unaccounted::Calls),
            (fax(State::Queued, 1, 0, vec![call(1, None, 0)]), |id| Unaccounted::OpenCall(id, 1)),
            (fax(State::Dialing, 1, 0, vec![busy()]), Unaccounted::NoCall),
            (fax(State::Delivered, 2, 2, vec![busy(), call(2, Some(Delivered), 1)]), Unaccounted::Pages),
            (fax(State::Delivered, 2, 1, vec![busy(), good()]), Unaccounted::Pages),
        ];
        for (fax, expected) in cases {
            assert_eq!(fax.problems(), [expected(fax.id)], "{fax:?}");
        }
    }
}
