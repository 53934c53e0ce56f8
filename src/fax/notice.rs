//! What an e-mail notice tells, and in which words.
//!
//! Owns: the notices there are, when one is due ([`Notice::of`]), and their letters. Refuses: documents,
//! whole numbers unless the appliance is set to show them, and anything a client wrote: no reference, no
//! subject, no name on a cover page.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::alert::Alert;
use super::group::{Group, Tally};
use super::job::{Job, State};
use super::notify::Notify;
use super::sentences;
use super::transition::Moved;
use crate::id::{GroupId, JobId};

/// One notice, as it waits to be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Notice {
    /// A fax has ended.
    Done(FaxNotice),
    /// A call failed, and the fax will be tried again.
    Requeued(FaxNotice),
    /// The last fax of a group has ended.
    GroupDone {
        /// Its id, in hex.
        group: String,
        /// How many faxes it had.
        faxes: u32,
        /// How many arrived whole.
        delivered: u32,
        /// How they ended, in a sentence.
        sentence: String,
        /// Pages confirmed, of all of them together.
        confirmed_pages: u64,
        /// Pages of all of them together.
        pages: u64,
        /// When the last one ended.
        at: Timestamp,
    },
    /// The appliance needs a person, or no longer does.
    Alert(Alert),
}

/// What is told of one fax.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaxNotice {
    /// Its id, in hex.
    pub fax: String,
    /// The last digits of its number.
    pub ending: String,
    /// Its state, in the API's word.
    pub state: String,
    /// What happened and what happens next.
    pub sentence: String,
    /// Pages confirmed.
    pub confirmed_pages: u32,
    /// Pages of the fax, if they are known.
    pub pages: Option<u32>,
    /// Calls so far.
    pub calls: u32,
    /// When it is tried again.
    pub next_try_at: Option<Timestamp>,
    /// When it happened.
    pub at: Timestamp,
}

/// A notice in words; ASCII but for what the sentence may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// Lines that end in CR and LF.
    pub text: String,
}

impl Notice {
    /// The notice that a change of a fax is worth, as its sender wanted it.
    pub fn of(moved: &Moved) -> Option<Self> {
        let job = moved.job();
        let when = job.notify.as_ref()?.when;
        let is_new_state =
            |word: &str| moved.events().iter().any(|event| event.kind == format!("fax.{word}"));
        if !is_new_state(job.state.as_str()) {
            return None;
        }
        match job.state {
            State::Waiting if when.tells_retries() => Some(Self::Requeued(FaxNotice::of(job))),
            state if state.is_final() && when.tells_end() => Some(Self::Done(FaxNotice::of(job))),
            _ => None,
        }
    }

    /// The notice that a group has ended.
    pub fn of_group<'a>(group: &'a Group, tally: &Tally, at: Timestamp) -> Option<(&'a Notify, Self)> {
        let notify = group.notify.as_ref().filter(|notify| notify.when.tells_end())?;
        let notice = Self::GroupDone {
            group: group.id.to_string(),
            faxes: tally.size,
            delivered: tally.count(&[State::Delivered]),
            sentence: sentences::group(tally),
            confirmed_pages: tally.confirmed_pages,
            pages: tally.pages,
            at,
        };
        Some((notify, notice))
    }

    /// The fax it is about, if it is about one.
    pub fn fax(&self) -> Option<JobId> {
        match self {
            Self::Done(fax) | Self::Requeued(fax) => fax.fax.parse().ok(),
            Self::GroupDone { .. } | Self::Alert(_) => None,
        }
    }

    /// The group it is about, if it is about one.
    pub fn group(&self) -> Option<GroupId> {
        match self {
            Self::GroupDone { group, .. } => group.parse().ok(),
            Self::Done(_) | Self::Requeued(_) | Self::Alert(_) => None,
        }
    }

    /// It in words; with the whole number, where that is given.
    pub fn letter(&self, number: Option<&str>) -> Letter {
        match self {
            Self::Done(fax) => fax.letter(fax.end(), number),
            Self::Requeued(fax) => fax.letter("will be tried again", number),
            Self::GroupDone { group, faxes, delivered, sentence, confirmed_pages, pages, at } => {
                let lines = [
                    format!("The faxes to {faxes} numbers have ended."),
                    sentence.clone(),
                    String::new(),
                    format!("Confirmed pages: {confirmed_pages} of {pages}"),
                    format!("Ended: {}", time(*at)),
                    format!("Group: {group}"),
                ];
                let subject = format!("Fax to {faxes} numbers: {delivered} of {faxes} delivered");
                Letter { subject, text: text(&lines) }
            }
            Self::Alert(Alert { subject, sentence, at }) => {
                let lines = [
                    format!("{subject}."),
                    sentence.clone(),
                    String::new(),
                    format!("Noticed: {}", time(*at)),
                    "The console of the appliance shows under Home what needs a person.".to_owned(),
                ];
                Letter { subject: subject.clone(), text: text(&lines) }
            }
        }
    }
}

impl FaxNotice {
    fn of(job: &Job) -> Self {
        let outcome = job.outcome.as_ref();
        Self {
            fax: job.id.to_string(),
            ending: job.to.masked().trim_start_matches('…').to_owned(),
            state: job.state.as_str().to_owned(),
            sentence: outcome.map(|outcome| outcome.human.clone()).unwrap_or_default(),
            confirmed_pages: job.confirmed_pages,
            pages: job.pages,
            calls: job.counters.dials,
            next_try_at: job.next_try_at,
            at: job.updated_at,
        }
    }

    /// How it ended, for the subject.
    fn end(&self) -> &'static str {
        match self.state.parse() {
            Ok(State::Delivered) => "delivered",
            Ok(State::Partial) => "delivered in part only",
            Ok(State::Cancelled) => "cancelled",
            _ => "NOT delivered",
        }
    }

    fn letter(&self, what: &str, number: Option<&str>) -> Letter {
        let subject = match number {
            Some(number) => format!("Fax to {number}: {what}"),
            None => format!("Fax to the number ending in {}: {what}", self.ending),
        };
        let pages = self.pages.map_or_else(|| "an unknown number".to_owned(), |pages| pages.to_string());
        let mut lines = vec![
            format!("{subject}."),
            self.sentence.clone(),
            String::new(),
            format!("Confirmed pages: {} of {pages}", self.confirmed_pages),
            format!("Calls: {}", self.calls),
        ];
        match self.next_try_at {
            Some(at) => lines.push(format!("Next call: not before {}", time(at))),
            None => lines.push(format!("Ended: {}", time(self.at))),
        }
        lines.push(format!("Fax: {}", self.fax));
        Letter { text: text(&lines), subject }
    }
}

/// The letter that tries whether letters arrive.
pub fn test_letter() -> Letter {
    let lines = ["This is a test. E-mail notices of this appliance reach you."].map(str::to_owned);
    Letter { subject: "Test of e-mail notices".to_owned(), text: text(&lines) }
}

fn text(lines: &[String]) -> String {
    let footer = "Sent by Pagewire, a fax appliance. Nobody reads answers to this address.";
    let lines = lines.iter().map(String::as_str).chain(["", "--", footer]);
    // What a sentence repeats of others stays within its line.
    let plain = |line: &str| line.replace(|letter: char| letter.is_control(), " ");
    lines.map(|line| plain(line) + "\r\n").collect()
}

/// A moment in words.
pub(super) fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::fax::attempt::{CallEnd, Progress};
    use crate::fax::notify::When;
    use crate::fax::outcome::Fault;
    use crate::fax::transition::tests::{calling, now, queued};
    use crate::fax::transition::{Alteration, Stage};

    fn told(job: Job, when: When) -> Job {
        Job { notify: Notify::new(when, vec!["desk@example.org".parse().unwrap()]), ..job }
    }

    /// The fax after a call in which the line was busy.
    fn after_busy(job: Job) -> Moved {
        match Stage::of(job) {
            Stage::Calling(calling) => {
                calling.ended(1, &Progress::default(), CallEnd::Failed(Fault::sip(486)), now(), 1).0
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn is_due_when_the_sender_wanted_it_and_once() {
        for (when, retries, end) in [
            (When::None, false, false),
            (When::Done, false, true),
            (When::Requeued, true, false),
            (When::Both, true, true),
        ] {
            let waiting = after_busy(told(calling(2), when));
            assert_eq!(waiting.job().state, State::Waiting);
            assert_eq!(Notice::of(&waiting).is_some(), retries, "{when}");
            let hurried = Alteration { tag: Some(Some("x".into())), ..Alteration::default() };
            let altered = Stage::of(waiting.job().clone()).alter(hurried, now()).unwrap();
            assert_eq!((altered.job().state, Notice::of(&altered)), (State::Waiting, None), "told before");
            let cancelled = Stage::of(waiting.into_job()).cancel("user:Ada", now()).unwrap();
            assert_eq!(Notice::of(&cancelled).is_some(), end, "{when}");
        }
        let moved = Stage::of(told(queued(1), When::Both)).hold(now()).unwrap();
        assert_eq!(Notice::of(&moved), None);
    }

    #[test]
    fn says_what_happened_and_no_whole_number() {
        let moved = after_busy(told(calling(2), When::Both));
        let notice = Notice::of(&moved).unwrap();
        let again = moved.job().next_try_at.unwrap();
        let letter = notice.letter(None);
        assert_eq!(letter.subject, "Fax to the number ending in 4567: will be tried again");
        let expected = format!(
            "Fax to the number ending in 4567: will be tried again.\r\nThe line was busy. Trying again at {0}.\r\n\r\n\
             Confirmed pages: 0 of 2\r\nCalls: 1\r\nNext call: not before {1}\r\nFax: {2}\r\n\r\n--\r\n\
             Sent by Pagewire, a fax appliance. Nobody reads answers to this address.\r\n",
            again.to_zoned(TimeZone::UTC).strftime("%H:%M UTC"),
            time(again),
            moved.job().id,
        );
        assert_eq!(letter.text, expected);
        let stored = serde_json::to_string(&notice).unwrap();
        assert!(!stored.contains("555123"), "{stored}");
        assert_eq!(serde_json::from_str::<Notice>(&stored).unwrap(), notice);
        assert!(notice.letter(Some("+15551234567")).text.starts_with("Fax to +15551234567: "));
    }

    #[test]
    fn every_end_has_its_words() {
        let fax = |state: &str| FaxNotice {
            fax: "x".into(),
            ending: "4567".into(),
            state: state.into(),
            sentence: "It ended\r\nBcc: somebody".into(),
            confirmed_pages: 1,
            pages: None,
            calls: 0,
            next_try_at: None,
            at: now() + SignedDuration::from_secs(1),
        };
        for (state, subject) in [
            ("delivered", "Fax to the number ending in 4567: delivered"),
            ("partial", "Fax to the number ending in 4567: delivered in part only"),
            ("failed", "Fax to the number ending in 4567: NOT delivered"),
            ("expired", "Fax to the number ending in 4567: NOT delivered"),
            ("cancelled", "Fax to the number ending in 4567: cancelled"),
        ] {
            let letter = Notice::Done(fax(state)).letter(None);
            assert_eq!(letter.subject, subject);
            assert!(letter.text.contains("\r\nIt ended  Bcc: somebody\r\n"), "{}", letter.text);
            assert!(letter.text.contains("\r\nConfirmed pages: 1 of an unknown number\r\n"));
        }
    }
}
