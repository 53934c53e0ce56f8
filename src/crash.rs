//! The durable steps of a fax's life, by name, so that the appliance can be killed after each.
//!
//! Owns: the list of those steps. With `PAGEWIRE_CRASH_AFTER=step[:n]` in its environment a build
//! with debug assertions dies the moment it has done that step for the n-th time, as `kill -9` or a
//! power cut would have it; `tests/it/crash_matrix.rs` goes through them all. In a release build
//! nothing of this is left.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// What is done and on disk, or just about to be known to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A document's bytes are synced; its folder is not.
    DocumentWritten,
    /// It survives a power cut; no row names it.
    DocumentStored,
    /// A fax is accepted, with its event and the answer; the client does not know.
    FaxAccepted,
    /// A call is claimed; it has not begun.
    CallClaimed,
    /// It is written down that page data will leave; none has.
    FirstData,
    /// A page's confirmation is written down.
    PageConfirmed,
    /// A received fax has its row; whoever sent it does not know.
    FaxReceived,
    /// A call has ended; that is not written down.
    CallEnded,
    /// The end of a call is written down; nobody was told.
    EndStored,
    /// A cancellation is written down; neither the client knows nor the call.
    CancelStored,
    /// Events are queued for a webhook; none is on its way.
    DeliveriesQueued,
    /// A receiver was told of an event; what it said is not written down.
    ReceiverAsked,
    /// What came of a delivery is written down.
    DeliveryStored,
    /// A mail server took a notice; that is not written down.
    MailTaken,
    /// That it did is written down.
    MailStored,
}

impl Step {
    /// All steps, in the order of a fax's life and of what is told of it.
    pub const ALL: &[Self] = &[
        Self::DocumentWritten,
        Self::DocumentStored,
        Self::FaxAccepted,
        Self::CallClaimed,
        Self::FirstData,
        Self::PageConfirmed,
        Self::FaxReceived,
        Self::CallEnded,
        Self::EndStored,
        Self::CancelStored,
        Self::DeliveriesQueued,
        Self::ReceiverAsked,
        Self::DeliveryStored,
        Self::MailTaken,
        Self::MailStored,
    ];

    /// Its name in `PAGEWIRE_CRASH_AFTER`.
    pub fn name(self) -> &'static str {
        match self {
            Self::DocumentWritten => "document-written",
            Self::DocumentStored => "document-stored",
            Self::FaxAccepted => "fax-accepted",
            Self::CallClaimed => "call-claimed",
            Self::FirstData => "first-data",
            Self::PageConfirmed => "page-confirmed",
            Self::FaxReceived => "fax-received",
            Self::CallEnded => "call-ended",
            Self::EndStored => "end-stored",
            Self::CancelStored => "cancel-stored",
            Self::DeliveriesQueued => "deliveries-queued",
            Self::ReceiverAsked => "receiver-asked",
            Self::DeliveryStored => "delivery-stored",
            Self::MailTaken => "mail-taken",
            Self::MailStored => "mail-stored",
        }
    }
}

/// Dies here when this is the step to die after.
pub fn after(step: Step) {
    if cfg!(debug_assertions) {
        die_after(step);
    }
}

/// The step to die after, and how often it is survived before.
static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
static DONE: AtomicU32 = AtomicU32::new(0);

fn die_after(step: Step) {
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("PAGEWIRE_CRASH_AFTER").ok()?;
        let (name, turn) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), turn.parse().ok()?))
    });
    let Some((name, turn)) = wanted else { return };
    if name == step.name() && DONE.fetch_add(1, Ordering::AcqRel) + 1 == *turn {
        // The signal that no process can answer; nothing after it is run.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
