//! What a person reads about a fax: the catalogue.
//!
//! Owns: every sentence of [`super::outcome::Outcome::human`]. Each says what happened and what
//! happens next, in plain words, without codes and without numbers or names of the recipient.
//! A change of wording is made here and nowhere else.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::outcome::{Class, Fault};
use super::retry::Next;

/// All pages arrived.
pub fn delivered(pages: u32) -> String {
    match pages {
        1 => "The page was delivered.".into(),
        _ => format!("All {pages} pages were delivered."),
    }
}

/// A fault, and what follows from it.
pub fn fault(fault: &Fault, next: Next) -> String {
    let happened = what_happened(fault);
    match next {
        Next::RetryAt(_) if fault.class == Class::Interrupted => format!("{happened} It goes on at once."),
        Next::RetryAt(at) => format!("{happened} Trying again at {}.", time_of_day(at)),
        Next::Final(_, end) if end != fault.class => {
            format!("{} The last time: {happened} {}", what_happened(&Fault::of(end)), advice(end))
        }
        Next::Final(_, end) => format!("{happened} {}", advice(end)),
    }
}

/// Somebody asked to cancel while a call is under way; for the answer to that request.
pub fn cancelling() -> &'static str {
    "The call is being ended; the fax will be cancelled unless its last page is confirmed first."
}

fn what_happened(fault: &Fault) -> String {
    let page = |known: &dyn Fn(u32) -> String, unknown: &str| fault.detail.page.map_or(unknown.into(), known);
    let particulars = fault.particulars.as_deref();
    match fault.class {
        Class::Delivered => "It was delivered.".into(),
        Class::Busy => "The line was busy.".into(),
        Class::NoAnswer => "Nobody answered.".into(),
        Class::HumanOrVoice => "A person or voicemail answered, not a fax.".into(),
        Class::NumberBad => "The number is not in service or is wrong.".into(),
        Class::BlockedByPolicy => "This number is not allowed from here.".into(),
        Class::RejectedRemote => "The other side refused the call.".into(),
        Class::Network => "The phone network failed.".into(),
        Class::TrunkAuth => "Our trunk refused our login or limit.".into(),
        Class::NoLine => "All lines are in use.".into(),
        Class::TrainingFailed => "The two machines could not agree on a speed.".into(),
        Class::Incompatible => page(
            &|n| format!("The other machine cannot take page {n}."),
            "The other machine cannot take this page.",
        ),
        Class::PageNotConfirmed => page(
            &|n| format!("Page {n} was sent but never confirmed."),
            "A page was sent but never confirmed.",
        ),
        Class::EcmFailed => "Too much line noise.".into(),
        Class::RemoteHungUp => page(
            &|n| format!("The other machine hung up during page {n}."),
            "The other machine hung up before the first page.",
        ),
        Class::Protocol => "Unexpected signal from the other machine.".into(),
        Class::MediaLost => "Fax data stopped arriving.".into(),
        Class::Document => match particulars {
            Some(why) => format!("The document could not be turned into a fax: {why}"),
            None => "The document could not be turned into a fax.".into(),
        },
        Class::TooBig => "The fax has too many pages or is too large.".into(),
        Class::Provider => "The provider's account, credit or service failed.".into(),
        Class::Deadline => "Not sent before the deadline.".into(),
        Class::Limit => "Too many calls or tries.".into(),
        Class::Cancelled => match particulars {
            Some(who) => format!("Cancelled by {who}."),
            None => "Cancelled.".into(),
        },
        Class::Interrupted => "The appliance restarted during the call, before a page could arrive.".into(),
        Class::UnknownOutcome => page(
            &|n| format!("The appliance restarted during the call: we cannot tell whether page {n} arrived."),
            "The appliance restarted during the call: we cannot tell whether the fax arrived.",
        ),
    }
}

/// What happens after the end, or what whoever has to act can do.
fn advice(end: Class) -> &'static str {
    match end {
        Class::Delivered => "Nothing more is to be done.",
        Class::HumanOrVoice => "We do not call there again; check the number with the recipient.",
        Class::NumberBad => "It is not tried again; correct the number and send it again.",
        Class::BlockedByPolicy => "No call was placed; an administrator can allow the number.",
        Class::RejectedRemote => "It is not tried again; ask the recipient to let our number through.",
        Class::Busy
        | Class::NoAnswer
        | Class::TrainingFailed
        | Class::PageNotConfirmed
        | Class::EcmFailed
        | Class::RemoteHungUp
        | Class::Protocol
        | Class::MediaLost
        | Class::Limit => "It is not tried again; ask the recipient about their machine, then send it again.",
        Class::Incompatible => "It is not tried again; send it in standard resolution on a usual paper size.",
        Class::Network | Class::NoLine | Class::Interrupted => "It is not tried again; send it again later.",
        Class::TrunkAuth | Class::Provider => {
            "It is not tried again; an administrator has to see to the account."
        }
        Class::Document => "No call was placed; send another document.",
        Class::TooBig => "No call was placed; send it in parts.",
        Class::Deadline => "It is not tried again; send it again with a later deadline.",
        Class::Cancelled => "It is not tried again.",
        Class::UnknownOutcome => {
            "It is not sent twice by itself; ask the recipient, and send it again if it is missing."
        }
    }
}

fn time_of_day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fax::job::State;

    fn at() -> Timestamp {
        "2026-01-01T14:05:31Z".parse().unwrap()
    }

    #[test]
    fn every_class_has_its_sentences_with_every_next_step() {
        let mut seen = std::collections::HashSet::new();
        for class in Class::ALL {
            let happened = what_happened(&Fault::of(class));
            assert!(seen.insert(happened.clone()), "said of two classes: {happened}");
            for next in [
                Next::RetryAt(at()),
                Next::Final(State::Failed, class),
                Next::Final(State::Failed, Class::Limit),
            ] {
                let human = fault(&Fault::of(class).on_page(2), next);
                let sound = human.ends_with('.') && !human.contains("..") && !human.contains('_');
                assert!(sound && human.chars().next().is_some_and(char::is_uppercase), "{class}: {human}");
                assert!(
                    human.matches(". ").count() + human.matches(": ").count() > 0,
                    "{class} lacks what comes next: {human}"
                );
            }
        }
    }

    #[test]
    fn reads_as_in_the_manual() {
        let retry = Next::RetryAt(at());
        let cases = [
            (Fault::sip(486), retry, "The line was busy. Trying again at 14:05 UTC."),
            (
                Fault::t30(49).on_page(2),
                retry,
                "The other machine hung up during page 2. Trying again at 14:05 UTC.",
            ),
            (
                Fault::of(Class::Interrupted),
                retry,
                "The appliance restarted during the call, before a page could arrive. It goes on at once.",
            ),
            (
                Fault::sip(404),
                Next::Final(State::Failed, Class::NumberBad),
                "The number is not in service or is wrong. It is not tried again; correct the number and send it again.",
            ),
            (
                Fault::sip(486),
                Next::Final(State::Expired, Class::Deadline),
                "Not sent before the deadline. The last time: The line was busy. It is not tried again; send it again with a later deadline.",
            ),
            (
                Fault::of(Class::Document).because("Page 3 of the document is damaged: it ends early."),
                Next::Final(State::Failed, Class::Document),
                "The document could not be turned into a fax: Page 3 of the document is damaged: it ends early. No call was placed; send another document.",
            ),
            (
                Fault::of(Class::Cancelled).because("the sender"),
                Next::Final(State::Cancelled, Class::Cancelled),
                "Cancelled by the sender. It is not tried again.",
            ),
        ];
        for (given, next, human) in cases {
            assert_eq!(fault(&given, next), human);
        }
    }
}
