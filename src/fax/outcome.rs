//! How calls and faxes end: one failure model for every route.
//!
//! Owns: the failure classes, who has to act on each, the maps from SIP, Q.850 and T.30 codes to
//! them, and the [`Outcome`] that clients read. Refuses: free text from a route as an explanation;
//! a route states facts ([`Fault`]), the sentences are made in [`super::sentences`].

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::policy::Block;
use super::retry::Next;
use super::sentences;

/// Code of a call that was not placed, because the stored pages could not be read.
const PAGES_UNAVAILABLE: &str = "pages_unavailable";

/// What kind of ending it was. The words are stable; clients branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Every page was confirmed.
    Delivered,
    /// The line was busy.
    Busy,
    /// Nobody answered, or nothing was heard.
    NoAnswer,
    /// A person or voicemail answered.
    HumanOrVoice,
    /// The number is not in service or is wrong.
    NumberBad,
    /// Policy forbids the number; no call was placed.
    BlockedByPolicy,
    /// The other side refused the call.
    RejectedRemote,
    /// The phone network failed.
    Network,
    /// The trunk refused our login or our limit there is reached.
    TrunkAuth,
    /// All lines are in use.
    NoLine,
    /// No speed could be agreed on.
    TrainingFailed,
    /// Another machine answered than the one that is known at the number.
    OtherStation,
    /// The other machine cannot take such a page.
    Incompatible,
    /// A page was sent and never confirmed.
    PageNotConfirmed,
    /// Error correction gave up against line noise.
    EcmFailed,
    /// The other machine hung up.
    RemoteHungUp,
    /// The other machine sent what T.30 does not expect there.
    Protocol,
    /// Fax data stopped arriving.
    MediaLost,
    /// The document cannot be turned into a fax.
    Document,
    /// Too many pages or too large.
    TooBig,
    /// The provider's account, credit or service failed.
    Provider,
    /// The deadline passed.
    Deadline,
    /// The limit of calls or tries is reached.
    Limit,
    /// Somebody cancelled it.
    Cancelled,
    /// The appliance stopped during the call, before a page could have arrived.
    Interrupted,
    /// The appliance stopped while a page was on its way.
    UnknownOutcome,
}

impl Class {
    /// All classes, in the order of the manual.
    pub const ALL: [Self; 26] = [
        Self::Delivered,
        Self::Busy,
        Self::NoAnswer,
        Self::HumanOrVoice,
        Self::NumberBad,
        Self::BlockedByPolicy,
        Self::RejectedRemote,
        Self::Network,
        Self::TrunkAuth,
        Self::NoLine,
        Self::TrainingFailed,
        Self::OtherStation,
        Self::Incompatible,
        Self::PageNotConfirmed,
        Self::EcmFailed,
        Self::RemoteHungUp,
        Self::Protocol,
        Self::MediaLost,
        Self::Document,
        Self::TooBig,
        Self::Provider,
        Self::Deadline,
        Self::Limit,
        Self::Cancelled,
        Self::Interrupted,
        Self::UnknownOutcome,
    ];

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::HumanOrVoice => "human_or_voice",
            Self::NumberBad => "number_bad",
            Self::BlockedByPolicy => "blocked_by_policy",
            Self::RejectedRemote => "rejected_remote",
            Self::Network => "network",
            Self::TrunkAuth => "trunk_auth",
            Self::NoLine => "no_line",
            Self::TrainingFailed => "training_failed",
            Self::OtherStation => "other_station",
            Self::Incompatible => "incompatible",
            Self::PageNotConfirmed => "page_not_confirmed",
            Self::EcmFailed => "ecm_failed",
            Self::RemoteHungUp => "remote_hung_up",
            Self::Protocol => "protocol",
            Self::MediaLost => "media_lost",
            Self::Document => "document",
            Self::TooBig => "too_big",
            Self::Provider => "provider",
            Self::Deadline => "deadline",
            Self::Limit => "limit",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::UnknownOutcome => "unknown_outcome",
        }
    }

    /// Whether we dial again by ourselves after such a call, while the limits allow it.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Busy
            | Self::NoAnswer
            | Self::HumanOrVoice
            | Self::Network
            | Self::TrunkAuth
            | Self::NoLine
            | Self::TrainingFailed
            | Self::PageNotConfirmed
            | Self::EcmFailed
            | Self::RemoteHungUp
            | Self::Protocol
            | Self::MediaLost
            | Self::Provider
            | Self::Interrupted => true,
            Self::Delivered
            | Self::NumberBad
            | Self::BlockedByPolicy
            | Self::RejectedRemote
            | Self::OtherStation
            | Self::Incompatible
            | Self::Document
            | Self::TooBig
            | Self::Deadline
            | Self::Limit
            | Self::Cancelled
            | Self::UnknownOutcome => false,
        }
    }

    /// Whether a fax machine answered such a call, so that it counts as a try.
    pub fn is_try(self) -> bool {
        matches!(
            self,
            Self::Delivered
                | Self::TrainingFailed
                | Self::Incompatible
                | Self::PageNotConfirmed
                | Self::EcmFailed
                | Self::RemoteHungUp
                | Self::Protocol
                | Self::MediaLost
                | Self::UnknownOutcome
        )
    }

    /// Whether the recipient's line was not reached through no fault of theirs or the sender's:
    /// such a call costs no dial.
    pub fn is_free(self) -> bool {
        matches!(
            self,
            Self::BlockedByPolicy
                | Self::Network
                | Self::TrunkAuth
                | Self::NoLine
                | Self::Document
                | Self::TooBig
                | Self::Provider
                | Self::Interrupted
        )
    }

    /// Who has to do something once we no longer try; nobody after a delivery.
    fn who_acts_at_the_end(self) -> Option<WhoActs> {
        match self {
            Self::Delivered => None,
            Self::HumanOrVoice
            | Self::NumberBad
            | Self::OtherStation
            | Self::Document
            | Self::TooBig
            | Self::Deadline
            | Self::Limit
            | Self::Cancelled
            | Self::NoLine
            | Self::Interrupted
            | Self::UnknownOutcome => Some(WhoActs::Sender),
            Self::Busy
            | Self::NoAnswer
            | Self::RejectedRemote
            | Self::TrainingFailed
            | Self::Incompatible
            | Self::PageNotConfirmed
            | Self::RemoteHungUp
            | Self::Protocol => Some(WhoActs::Recipient),
            Self::Network | Self::EcmFailed | Self::MediaLost => Some(WhoActs::Carrier),
            Self::BlockedByPolicy | Self::TrunkAuth | Self::Provider => Some(WhoActs::Admin),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a failure class")]
pub struct UnknownClass;

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL.into_iter().find(|class| class.as_str() == text).ok_or(UnknownClass)
    }
}

/// Whose move it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhoActs {
    /// The appliance: it goes on by itself.
    Us,
    /// The person who sent the fax.
    Sender,
    /// The person or machine at the other end.
    Recipient,
    /// The phone network between.
    Carrier,
    /// Whoever runs the appliance.
    Admin,
}

/// The codes behind a class, as far as the route has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// SIP response code (RFC 3261, 21).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip: Option<u16>,
    /// Q.850 cause value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q850: Option<u16>,
    /// Code of the T.30 engine (spandsp's order).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t30: Option<u16>,
    /// What a provider's API called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The class of the last call, when a limit or the deadline ended the fax.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Class>,
    /// The page it happened on, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
}

/// What a route, or the queue itself, states about an ending that was no delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of ending.
    pub class: Class,
    /// Stable short code of the cause, such as `sip_486`; the class when there is none finer.
    pub code: String,
    /// Who cancelled it, or what is wrong with the document: the part of the sentence that is not
    /// in the catalogue.
    pub particulars: Option<String>,
    /// Codes and page.
    pub detail: Detail,
}

impl Fault {
    /// A fault known by its class alone.
    pub fn of(class: Class) -> Self {
        Self { class, code: class.as_str().into(), particulars: None, detail: Detail::default() }
    }

    /// A number that policy does not let us dial.
    pub fn blocked(block: &Block) -> Self {
        let code = format!("policy_{}", block.code());
        Self { code, ..Self::of(Class::BlockedByPolicy).because(block.sentence()) }
    }

    /// A call that ended with a final SIP response (RFC 3261, 21), none being 0.
    pub fn sip(status: u16) -> Self {
        let class = match status {
            486 | 600 => Class::Busy,
            408 | 480 => Class::NoAnswer,
            404 | 410 | 484 | 604 => Class::NumberBad,
            403 | 603 | 607 => Class::RejectedRemote,
            401 | 407 => Class::TrunkAuth,
            _ => Class::Network,
        };
        let detail = Detail { sip: Some(status), ..Detail::default() };
        Self { class, code: format!("sip_{status}"), particulars: None, detail }
    }

    /// A call that the network ended with a Q.850 cause.
    pub fn q850(cause: u16) -> Self {
        let class = match cause {
            17 => Class::Busy,
            18 | 19 => Class::NoAnswer,
            21 => Class::RejectedRemote,
            1 | 28 => Class::NumberBad,
            _ => Class::Network,
        };
        let detail = Detail { q850: Some(cause), ..Detail::default() };
        Self { class, code: format!("q850_{cause}"), particulars: None, detail }
    }

    /// A call that the T.30 engine ended with a code (spandsp's order).
    pub fn t30(code: u16) -> Self {
        let class = match code {
            2 | 3 | 19 => Class::HumanOrVoice,
            4..=6 | 14 | 20 => Class::TrainingFailed,
            8..=12 => Class::Incompatible,
            15 | 17 | 49 => Class::RemoteHungUp,
            16 | 22 | 23 => Class::EcmFailed,
            18 | 21 | 48 => Class::PageNotConfirmed,
            26..=34 => Class::MediaLost,
            41..=46 => Class::Document,
            _ => Class::Protocol,
        };
        let detail = Detail { t30: Some(code), ..Detail::default() };
        Self { class, code: format!("t30_{code}"), particulars: None, detail }
    }

    /// The stored pages cannot be read at this moment: no route is to blame.
    pub fn pages_unavailable() -> Self {
        Self { code: PAGES_UNAVAILABLE.into(), ..Self::of(Class::Provider) }
    }

    /// Whether the route did not take the call or lost it, and nobody at the other end is to blame:
    /// another route may do better at once.
    pub fn is_of_the_route(&self) -> bool {
        let is_of_one =
            matches!(self.class, Class::Network | Class::TrunkAuth | Class::NoLine | Class::Provider);
        is_of_one && self.code != PAGES_UNAVAILABLE
    }

    /// Whether nothing at all was heard from the other end, not even ringing: there may be no line.
    /// Q.850 18 is "no user responding" (19 is the one that rang), SIP 408 an INVITE without answer.
    pub fn is_silence(&self) -> bool {
        self.class == Class::NoAnswer && (self.detail.q850 == Some(18) || self.detail.sip == Some(408))
    }

    /// The same fault, on this page (from 1).
    #[must_use]
    pub fn on_page(mut self, page: u32) -> Self {
        self.detail.page = Some(page);
        self
    }

    /// The same fault, with the part of its sentence that only this case knows.
    #[must_use]
    pub fn because(mut self, particulars: impl Into<String>) -> Self {
        self.particulars = Some(particulars.into());
        self
    }
}

/// How a call or a fax ended, as clients read it and as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The kind of ending.
    pub class: Class,
    /// Stable short code of the cause.
    pub code: String,
    /// Whether faxes that end so are tried again by themselves.
    pub retryable: bool,
    /// Whose move it is; null when all is well.
    pub who_acts: Option<WhoActs>,
    /// What happened and what happens next, for a person.
    pub human: String,
    /// When we dial again; null when we do not.
    pub next_try_at: Option<Timestamp>,
    /// The codes behind it.
    pub detail: Detail,
}

impl Outcome {
    /// The outcome of a fax of `pages` pages that are all confirmed.
    pub fn delivered(pages: u32) -> Self {
        Self {
            class: Class::Delivered,
            code: Class::Delivered.as_str().into(),
            retryable: false,
            who_acts: None,
            human: sentences::delivered(pages),
            next_try_at: None,
            detail: Detail::default(),
        }
    }

    /// The outcome of a fault, with what the retry policy made of it. A limit or the deadline
    /// takes the fault's place as class and keeps it in `detail.last`.
    pub fn of_fault(fault: Fault, next: Next) -> Self {
        let human = sentences::fault(&fault, next);
        let (class, next_try_at) = match next {
            Next::RetryAt(at) => (fault.class, Some(at)),
            Next::Final(_, class) => (class, None),
        };
        let who_acts = if next_try_at.is_some() { Some(WhoActs::Us) } else { class.who_acts_at_the_end() };
        let is_replaced = class != fault.class;
        Self {
            class,
            code: if is_replaced { class.as_str().into() } else { fault.code },
            retryable: class.is_retryable() || next_try_at.is_some(),
            who_acts,
            human,
            next_try_at,
            detail: Detail { last: is_replaced.then_some(fault.class), ..fault.detail },
        }
    }

    /// The outcome of a call whose route failed, while another one is tried at once.
    pub fn on_another_route(fault: Fault) -> Self {
        Self {
            class: fault.class,
            human: sentences::on_another_route(&fault),
            code: fault.code,
            retryable: true,
            who_acts: Some(WhoActs::Us),
            next_try_at: None,
            detail: fault.detail,
        }
    }

    /// The outcome of a call that ended because somebody has to look at the number first.
    pub fn to_be_looked_at(fault: Fault) -> Self {
        Self {
            class: fault.class,
            human: sentences::to_be_looked_at(&fault),
            code: fault.code,
            retryable: false,
            who_acts: Some(WhoActs::Sender),
            next_try_at: None,
            detail: fault.detail,
        }
    }

    /// This outcome of a fax that is held instead of being dialled again.
    #[must_use]
    pub fn held(self) -> Self {
        let human = sentences::held_after(&Fault { detail: self.detail.clone(), ..Fault::of(self.class) });
        Self { who_acts: Some(WhoActs::Admin), human, next_try_at: None, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fax::job::State;

    #[test]
    fn words_are_those_of_the_stored_form() {
        for class in Class::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
            assert_eq!(class.as_str().parse(), Ok(class));
        }
        assert_eq!("".parse::<Class>(), Err(UnknownClass));
    }

    #[test]
    fn codes_map_as_the_manual_says() {
        let cases = [
            (Fault::sip(486), Class::Busy),
            (Fault::sip(600), Class::Busy),
            (Fault::sip(480), Class::NoAnswer),
            (Fault::sip(404), Class::NumberBad),
            (Fault::sip(603), Class::RejectedRemote),
            (Fault::sip(407), Class::TrunkAuth),
            (Fault::sip(503), Class::Network),
            (Fault::sip(0), Class::Network),
            (Fault::q850(17), Class::Busy),
            (Fault::q850(19), Class::NoAnswer),
            (Fault::q850(21), Class::RejectedRemote),
            (Fault::q850(28), Class::NumberBad),
            (Fault::q850(41), Class::Network),
            (Fault::t30(3), Class::HumanOrVoice),
            (Fault::t30(14), Class::TrainingFailed),
            (Fault::t30(9), Class::Incompatible),
            (Fault::t30(25), Class::Protocol),
            (Fault::t30(49), Class::RemoteHungUp),
            (Fault::t30(22), Class::EcmFailed),
            (Fault::t30(48), Class::PageNotConfirmed),
            (Fault::t30(30), Class::MediaLost),
            (Fault::t30(43), Class::Document),
        ];
        for (fault, class) in cases {
            assert_eq!(fault.class, class, "{}", fault.code);
        }
    }

    #[test]
    fn a_limit_takes_the_place_of_the_last_fault() {
        let outcome = Outcome::of_fault(Fault::sip(486), Next::Final(State::Failed, Class::Limit));
        assert_eq!((outcome.class, outcome.code.as_str()), (Class::Limit, "limit"));
        assert_eq!(outcome.detail, Detail { sip: Some(486), last: Some(Class::Busy), ..Detail::default() });
        assert_eq!(outcome.who_acts, Some(WhoActs::Sender));
        let stored: Outcome = serde_json::from_str(&serde_json::to_string(&outcome).unwrap()).unwrap();
        assert_eq!(stored, outcome);
    }

    #[test]
    fn a_planned_retry_is_ours_to_do() {
        let at: Timestamp = "2026-01-01T14:05:00Z".parse().unwrap();
        let outcome = Outcome::of_fault(Fault::sip(486), Next::RetryAt(at));
        assert_eq!((outcome.class, outcome.who_acts), (Class::Busy, Some(WhoActs::Us)));
        assert_eq!(outcome.next_try_at, Some(at));
    }
}
