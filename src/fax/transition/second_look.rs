//! Holding a fax until somebody has looked at its number, and knowing whether it is held for that.

use jiff::Timestamp;

use super::{Moved, Sleeping, Stage};
use crate::fax::event::Event;
use crate::fax::job::{Job, State};
use crate::fax::number::FaxNumber;
use crate::fax::second_look::SecondLook;

impl Moved {
    /// A fax that was just accepted, held until somebody has looked at its number.
    #[must_use]
    pub fn to_be_looked_at(self, look: SecondLook, now: Timestamp) -> Self {
        ask(self.job, look, now)
    }
}

impl Stage {
    /// The number of a fax that is held until somebody has looked at it.
    pub fn number_to_look_at(&self) -> Option<FaxNumber> {
        match self {
            Self::Sleeping(Sleeping(job)) if job.is_to_be_looked_at() => Some(job.to.clone()),
            _ => None,
        }
    }
}

pub(super) fn ask(mut job: Job, look: SecondLook, now: Timestamp) -> Moved {
    job.next_try_at = None;
    job.second_look = Some(look);
    let mut moved = Moved::to(job, State::Held, now);
    moved.events.extend(Event::second_look(&moved.job));
    moved
}

#[cfg(test)]
mod tests {
    use super::super::tests::{now, queued};
    use super::*;
    use crate::fax::second_look::{FoundIn, Kind};
    use crate::fax::transition::Alteration;

    fn look() -> SecondLook {
        let near = Some("+15551234568".into());
        SecondLook { kind: Kind::OneDigit, found_in: Some(FoundIn::Contacts), near }
    }

    fn kinds(moved: &Moved) -> Vec<&str> {
        moved.events().iter().map(|event| event.kind.as_str()).collect()
    }

    #[test]
    fn it_is_held_until_it_is_released_or_corrected() {
        let asked = ask(queued(1), look(), now());
        assert_eq!(kinds(&asked), ["fax.held", "fax.second_look"]);
        assert_eq!(asked.events()[1].data["kind"], "one_digit");
        assert!(!asked.events().iter().any(|event| event.data.to_string().contains("555")));
        let held = asked.into_job();
        assert_eq!(held.state, State::Held);
        assert_eq!(Stage::of(held.clone()).number_to_look_at().as_ref(), Some(&held.to));

        let released = Stage::of(held.clone()).release(now()).unwrap().into_job();
        assert_eq!((released.state, released.second_look), (State::Queued, None));

        let to = |number: &str| Some((number.into(), number.parse().unwrap()));
        let right = Alteration { to: to("+15551234568"), ..Alteration::default() };
        let corrected = Stage::of(held.clone()).alter(right, now()).unwrap();
        assert_eq!((corrected.job().state, &corrected.job().second_look), (State::Queued, &None));
        let again = Alteration { to: to("+15551234569"), second_look: Some(look()), ..Alteration::default() };
        for job in [held.clone(), queued(1)] {
            let moved = Stage::of(job).alter(again.clone(), now()).unwrap();
            assert_eq!(moved.job().state, State::Held);
            assert_eq!(kinds(&moved), ["fax.altered", "fax.held", "fax.second_look"]);
        }
        // Whoever holds it for a reason of their own lets it go themselves.
        let by_hand = Stage::of(queued(1)).hold(now()).unwrap().into_job();
        assert_eq!(Stage::of(by_hand).number_to_look_at(), None);
    }
}
