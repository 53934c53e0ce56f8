//! What a person reads about a fax: the catalogue.
//!
//! Owns: every sentence of [`super::outcome::Outcome::human`]. Each says what happened and what
//! happens next, in plain words, without codes and without numbers or names of the recipient.
//! A change of wording is made here and nowhere else.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::dialling::{Cause, Hold, Limits};
use super::group::Tally;
use super::health::Failure;
use super::job::State;
use super::number::FaxNumber;
use super::outcome::{Class, Fault};
use super::policy::{self, Block};
use super::retry::Next;
use super::routing::Obstacle;
use super::second_look::{FoundIn, Kind, SecondLook};
use super::station::OtherStation;

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
        Next::RetryAt(at) if fault.class == Class::Incompatible => format!(
            "{happened} The pages are made again in standard resolution. Trying again at {}.",
            time_of_day(at)
        ),
        Next::RetryAt(at) => format!("{happened} Trying again at {}.", time_of_day(at)),
        Next::Final(state, end) => {
            let arrived = if state == State::Partial { " Some of its pages have arrived." } else { "" };
            let happened = match end == fault.class {
                true => happened,
                false => format!("{} The last time: {happened}", what_happened(&Fault::of(end))),
            };
            format!("{happened}{arrived} {}", advice(end, fault))
        }
    }
}

/// A fax waits for somebody to look at its number; `near` tells what that is near, to whom that may be
/// told. Not for logs, events and notices: it holds the number.
pub fn second_look(to: &FaxNumber, look: &SecondLook, near: Option<&str>) -> String {
    let somewhere = match look.found_in {
        Some(FoundIn::Contacts) => "a number in the address book",
        _ => "a number that faxes were delivered to lately",
    };
    let (to, near) = (to.spaced(), near.unwrap_or(somewhere));
    let striking = match look.kind {
        Kind::OneDigit => format!("{to} is one digit away from {near}."),
        Kind::Swapped => format!("{to} is {near} with two digits swapped."),
        Kind::FirstTime => format!("No fax was delivered to {to} before, and it is not in the address book."),
        Kind::OtherStation => format!("Another machine answered at {to} than the one that is known there."),
    };
    format!("{striking} {LOOK_FIRST}")
}

/// What somebody does who has to look at a number.
const LOOK_FIRST: &str = "Check the number, then release the fax or correct it.";

/// Another machine answered than the one that was known. Not for logs, events and notices: it holds
/// names.
pub fn other_station(other: &OtherStation) -> String {
    format!("{} Check the number.", two_names(other))
}

/// The same of a fax that is held because of it.
pub fn held_for_other_station(other: &OtherStation) -> String {
    format!("{} {LOOK_FIRST}", two_names(other))
}

fn two_names(OtherStation { answered, known }: &OtherStation) -> String {
    format!("The machine that answered calls itself {answered}; until now it was {known}.")
}

/// A call ended because of a fault that makes somebody look at the number.
pub fn to_be_looked_at(fault: &Fault) -> String {
    format!("{} {LOOK_FIRST}", what_happened(fault))
}

/// So many numbers of a group are refused, and with them all.
pub fn refused_numbers(count: usize) -> String {
    let which =
        if count == 1 { "One of the numbers is".into() } else { format!("{count} of the numbers are") };
    format!("{which} not allowed from here, so the fax was sent to none of them.")
}

/// How far a group has come.
pub fn group(tally: &Tally) -> String {
    let delivered = tally.count(&[State::Delivered]);
    let begin = match (delivered, tally.size) {
        (1, 1) => "Delivered".into(),
        (2, 2) => "Both delivered".into(),
        (some, all) if some == all => format!("All {all} delivered"),
        (some, all) => format!("{some} of {all} delivered"),
    };
    let others = [
        (tally.count(&[State::Dialing, State::Sending]), "being sent"),
        (tally.count(&[State::Preparing, State::Queued, State::Waiting]), "waiting"),
        (tally.count(&[State::Scheduled]), "scheduled"),
        (tally.count(&[State::Held]), "held"),
        (tally.count(&[State::Partial]), "delivered in part"),
        (tally.count(&[State::Failed]), "failed"),
        (tally.count(&[State::Expired]), "not sent before the deadline"),
        (tally.count(&[State::Cancelled]), "cancelled"),
        (tally.deleted(), "deleted since"),
    ];
    let others = others.iter().filter(|(count, _)| *count > 0);
    others.fold(begin, |said, (count, word)| format!("{said}, {count} {word}")) + "."
}

/// A number is refused before a fax to it is taken in.
pub fn refused_number(block: &Block) -> String {
    what_happened(&Fault::blocked(block))
}

/// Another fax to the same number is under way or waiting.
pub const BLOCKED: &str = "Another fax to this number goes first.";

/// No call begins.
pub fn held(hold: &Hold, limits: Limits) -> String {
    let goes_on = match hold.until {
        Some(until) => format!("Dialling goes on at {}.", time_of_day(until)),
        None => "It goes on when somebody resumes.".into(),
    };
    match (hold.cause, &hold.reason) {
        (Cause::Paused, None) => format!("All dialling is paused. {goes_on}"),
        (Cause::Paused, Some(reason)) => {
            format!("All dialling is paused: {} {goes_on}", policy::full_stop(reason))
        }
        (Cause::Dials, _) => format!(
            "The appliance has placed the {} calls that it may place over telephone lines in an hour. {goes_on}",
            limits.dials_per_hour
        ),
        (Cause::LineMinutes, _) => format!(
            "The appliance has used the {} minutes that it may use telephone lines in a day. {goes_on}",
            limits.line_minutes_per_day
        ),
    }
}

/// The route of a call failed, and the next one of the list is tried.
pub fn on_another_route(fault: &Fault) -> String {
    format!("{} Another line is tried at once.", what_happened(fault))
}

/// No route of a fax can take it now, for these reasons.
pub fn no_line(passed: impl IntoIterator<Item = Obstacle>) -> &'static str {
    let is_in_use = passed.into_iter().any(|obstacle| obstacle == Obstacle::Full);
    if is_in_use {
        "All lines are in use. It is sent as soon as one is free."
    } else {
        "No line is in service. It is sent as soon as one works again."
    }
}

/// A fax is outside its hours, or those of all its routes, until then.
pub fn outside_hours(opens_at: Timestamp) -> String {
    let at = opens_at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d at %H:%M UTC");
    format!("It is outside the hours in which it may be sent. They begin on {at}.")
}

/// A route is out of service, because its last call failed so.
pub fn out_of_service(route: &str, class: Option<Class>, next_probe_at: Option<Timestamp>) -> String {
    let why = class.map(|class| what_happened(&Fault::of(class)));
    let next = next_probe_at.map(|at| format!("A call is tried there at {}.", time_of_day(at)));
    let parts = [Some(format!("The line {route} is out of service.")), why, next];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// How a route failed the last time.
pub fn last_failure(failure: &Failure) -> String {
    what_happened(&Fault::of(failure.class))
}

/// Why a route does not take a fax now, to follow upon why another one does.
pub fn passed_over(route: &str, obstacle: Obstacle) -> String {
    match obstacle {
        Obstacle::Full => format!("all lines of {route} are in use"),
        Obstacle::Out => format!("{route} is out of service"),
        Obstacle::Closed(_) => format!("{route} is outside its hours"),
        Obstacle::Unknown => format!("there is no {route} any more"),
    }
}

/// A fault, after which the fax is held.
pub fn held_after(fault: &Fault) -> String {
    format!("{} It is held until an administrator releases it.", what_happened(fault))
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
        Class::BlockedByPolicy => match particulars {
            Some(why) => format!("This number is not allowed from here. {why}"),
            None => "This number is not allowed from here.".into(),
        },
        Class::RejectedRemote => "The other side refused the call.".into(),
        Class::Network => "The phone network failed.".into(),
        Class::TrunkAuth => "Our trunk refused our login or limit.".into(),
        Class::NoLine => "All lines are in use.".into(),
        Class::TrainingFailed => "The two machines could not agree on a speed.".into(),
        Class::OtherStation => "Another machine answered than the one that is known at this number.".into(),
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
            Some(who) => format!("Cancelled by {}.", in_words(who)),
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
fn advice(end: Class, fault: &Fault) -> &'static str {
    match end {
        Class::Delivered => "Nothing more is to be done.",
        Class::HumanOrVoice => "We do not call there again; check the number with the recipient.",
        Class::NumberBad => "It is not tried again; correct the number and send it again.",
        Class::OtherStation => "It is not tried again; check the number and send it again.",
        Class::BlockedByPolicy => "It is not dialled; an administrator decides which numbers are allowed.",
        Class::RejectedRemote => "It is not tried again; ask the recipient to let our number through.",
        Class::Busy
        | Class::NoAnswer
        | Class::TrainingFailed
        | Class::PageNotConfirmed
        | Class::RemoteHungUp
        | Class::Protocol
        | Class::Limit => "It is not tried again; ask the recipient about their machine, then send it again.",
        Class::Incompatible => "It is not tried again; send it in standard resolution on a usual paper size.",
        Class::Network | Class::EcmFailed | Class::MediaLost => {
            "It is not tried again; send it again later, and tell the telephone company if it fails again."
        }
        Class::NoLine | Class::Interrupted => "It is not tried again; send it again later.",
        Class::TrunkAuth | Class::Provider => {
            "It is not tried again; an administrator has to see to the account."
        }
        // Found out by the other machine in the middle of a call.
        Class::Document if fault.detail.t30.is_some() => "It is not tried again; send another document.",
        Class::Document => "No call was placed; send another document.",
        Class::TooBig => "No call was placed; send it in parts.",
        Class::Deadline => "It is not tried again; send it again with a later deadline.",
        Class::Cancelled => "It is not tried again.",
        Class::UnknownOutcome => {
            "It is not sent twice by itself; ask the recipient, and send it again if it is missing."
        }
    }
}

/// Who it was, from the word of records: a person by name, a key as what it is.
fn in_words(who: &str) -> String {
    match who.split_once(':') {
        Some(("user", name)) => name.to_owned(),
        Some(("key", id)) => format!("API key {id}"),
        Some(("cli", _)) => "an administrator on the appliance".to_owned(),
        _ if who == "bootstrap" => "the bootstrap key".to_owned(),
        _ if who == "anonymous" => "somebody without a key".to_owned(),
        _ if who == "system" => "the appliance".to_owned(),
        _ => who.to_owned(),
    }
}

fn time_of_day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// What happens next fits who has to act, for each class that a fax can end with.
    #[test]
    fn whoever_has_to_act_is_told_what_to_do() {
        use crate::fax::outcome::{Outcome, WhoActs};
        for class in Class::ALL {
            for state in [State::Failed, State::Partial] {
                let outcome = Outcome::of_fault(Fault::of(class), Next::Final(state, class));
                let said = match outcome.who_acts {
                    None => ["Nothing more is to be done", ""],
                    Some(WhoActs::Sender) => ["send ", "again"],
                    Some(WhoActs::Recipient) => ["the recipient", "send it"],
                    Some(WhoActs::Carrier) => ["the telephone company", "send it again later"],
                    Some(WhoActs::Admin) => ["an administrator", ""],
                    Some(WhoActs::Us) => panic!("{class}: we do nothing more"),
                };
                let is_told = said.iter().any(|words| !words.is_empty() && outcome.human.contains(words));
                assert!(is_told, "{class}: {:?} read: {}", outcome.who_acts, outcome.human);
                let is_partial = outcome.human.contains("Some of its pages have arrived.");
                assert_eq!(is_partial, state == State::Partial, "{class}");
                println!("{class:19} {:10} {}", format!("{:?}", outcome.who_acts), outcome.human);
            }
            let outcome = Outcome::of_fault(Fault::of(class), Next::RetryAt(at()));
            if class.is_retryable() {
                assert_eq!(outcome.who_acts, Some(WhoActs::Us), "{class}");
                println!("{class:19} {:10} {}", "retry", outcome.human);
            }
            let held = outcome.held();
            assert!(held.human.ends_with("It is held until an administrator releases it."), "{}", held.human);
        }
    }

    #[test]
    fn who_cancelled_it_is_named_in_words() {
        for (who, words) in [
            ("user:Anna Lee", "Anna Lee"),
            ("key:0123456789ab", "API key 0123456789ab"),
            ("cli:0", "an administrator on the appliance"),
            ("the sender", "the sender"),
        ] {
            let human = fault(
                &Fault::of(Class::Cancelled).because(who),
                Next::Final(State::Cancelled, Class::Cancelled),
            );
            assert_eq!(human, format!("Cancelled by {words}. It is not tried again."));
        }
    }

    #[test]
    fn a_document_that_fails_in_the_call_is_not_said_to_have_had_none() {
        let said = fault(&Fault::t30(43), Next::Final(State::Failed, Class::Document));
        assert!(!said.contains("No call was placed"), "{said}");
    }

    #[test]
    fn a_hold_says_why_and_until_when() {
        let hold = |cause, until, reason: Option<&str>| Hold {
            cause,
            since: at(),
            until,
            by: "cli:0".into(),
            reason: reason.map(Into::into),
        };
        let limits = Limits::default();
        let cases = [
            (hold(Cause::Paused, None, None), "All dialling is paused. It goes on when somebody resumes."),
            (
                hold(Cause::Paused, None, Some("a leaked key")),
                "All dialling is paused: a leaked key. It goes on when somebody resumes.",
            ),
            (
                hold(Cause::Dials, Some(at()), None),
                "The appliance has placed the 60 calls that it may place over telephone lines in an hour. Dialling goes on at 14:05 UTC.",
            ),
            (
                hold(Cause::LineMinutes, Some(at()), None),
                "The appliance has used the 600 minutes that it may use telephone lines in a day. Dialling goes on at 14:05 UTC.",
            ),
        ];
        for (given, human) in cases {
            assert_eq!(held(&given, limits), human);
        }
    }

    #[test]
    fn a_second_look_says_what_is_striking() {
        let to: FaxNumber = "+15552017789".parse().unwrap();
        let said = |kind, found_in, near| {
            let said = second_look(&to, &SecondLook { kind, found_in, near: None }, near);
            said.strip_suffix(" Check the number, then release the fax or correct it.").unwrap().to_owned()
        };
        let book = Some(FoundIn::Contacts);
        let cases = [
            (
                said(Kind::OneDigit, book, Some("“Oak Street Pharmacy”")),
                "+1 555 201 7789 is one digit away from “Oak Street Pharmacy”.",
            ),
            (
                said(Kind::OneDigit, book, None),
                "+1 555 201 7789 is one digit away from a number in the address book.",
            ),
            (
                said(Kind::Swapped, Some(FoundIn::Deliveries), None),
                "+1 555 201 7789 is a number that faxes were delivered to lately with two digits swapped.",
            ),
            (
                said(Kind::FirstTime, None, None),
                "No fax was delivered to +1 555 201 7789 before, and it is not in the address book.",
            ),
        ];
        for (said, expected) in cases {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn a_group_is_told_in_one_sentence() {
        use State::{Cancelled, Delivered, Dialing, Failed, Held, Partial, Queued, Sending, Waiting};
        type Case = (u32, &'static [(State, u32)], &'static str);
        let cases: &[Case] = &[
            (5, &[(Delivered, 3), (Waiting, 1), (Failed, 1)], "3 of 5 delivered, 1 waiting, 1 failed."),
            (4, &[(Queued, 1), (Dialing, 1), (Sending, 2)], "0 of 4 delivered, 3 being sent, 1 waiting."),
            (3, &[(Delivered, 3)], "All 3 delivered."),
            (2, &[(Delivered, 2)], "Both delivered."),
            (1, &[(Delivered, 1)], "Delivered."),
            (1, &[(Held, 1)], "0 of 1 delivered, 1 held."),
            (
                6,
                &[(Delivered, 1), (Partial, 1), (Cancelled, 2)],
                "1 of 6 delivered, 1 delivered in part, 2 cancelled, 2 deleted since.",
            ),
        ];
        for (size, states, expected) in cases {
            let tally = Tally { size: *size, states: states.to_vec(), ..Tally::default() };
            assert_eq!(group(&tally), *expected);
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
