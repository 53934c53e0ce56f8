//! What keys may spend on telephone lines in a day.
//!
//! Owns: the pages of each key and the numbers it was the first to reach, by UTC day. A stolen key
//! is worth no more than these. Refuses: half a spending; a fax that goes over either limit takes
//! nothing. Faxes that stay in the house (simulator, loopback) are not brought here.
//!
//! Pages count once, on the day they are to be sent and not again when a call is repeated.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::windows::HOUR_S;
use crate::access::records::{DayOfSpending, KeyRecord};
use crate::access::token::KeyId;
use crate::auth::{Caller, KeyRing};

/// Seconds of a day.
const DAY_S: i64 = 24 * HOUR_S;

/// The right of one key to spend.
#[derive(Clone, Debug)]
pub struct Allowance {
    ring: KeyRing,
    key: KeyId,
    pages_per_day: u32,
    new_destinations_per_day: u32,
}

/// A fax that may cost something.
#[derive(Clone, Copy, Debug)]
pub struct Expense<'a> {
    /// The number to dial, in E.164.
    pub to: &'a str,
    /// Pages to send.
    pub pages: u32,
    /// Whether the appliance has dialled the number before.
    pub is_known: bool,
    /// When it is to be sent.
    pub at: Timestamp,
}

/// Why a key may not spend so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overspent {
    /// The day's pages are used up.
    #[error("This key may send {most} pages a day over telephone lines; {left} are left.")]
    Pages {
        /// Pages a day.
        most: u32,
        /// Pages left of that day.
        left: u32,
    },
    /// The day's new numbers are used up.
    #[error("This key may dial {most} numbers a day that were never dialled before, and has done so.")]
    Destinations {
        /// New numbers a day.
        most: u32,
    },
    /// There are more new numbers at once than are left of the day.
    #[error(
        "This key may dial {most} numbers a day that were never dialled before; {left} are left, and {new} of these are new."
    )]
    TooManyNew {
        /// New numbers a day.
        most: u32,
        /// How many are left of that day.
        left: u32,
        /// How many new ones there are.
        new: u32,
    },
}

impl Overspent {
    /// Its name in the API (`error.limit`).
    pub const fn limit(self) -> &'static str {
        match self {
            Self::Pages { .. } => "pages",
            Self::Destinations { .. } | Self::TooManyNew { .. } => "destinations",
        }
    }
}

impl KeyRing {
    /// What the caller's key may spend; `None` for callers without a key, who have no such limit.
    pub fn allowance(&self, caller: &Caller) -> Option<Allowance> {
        Some(self.allowance_with(caller.record()?))
    }

    /// What this key may spend, whoever asks; `None` when there is no such key.
    pub fn allowance_of(&self, key: KeyId) -> Option<Allowance> {
        Some(self.allowance_with(&self.find(key)?.entry.record))
    }

    fn allowance_with(&self, record: &KeyRecord) -> Allowance {
        let KeyRecord { id, kind, limits, .. } = record;
        let preset = kind.limits();
        let most = |own: Option<u32>, preset: Option<u32>| own.or(preset).unwrap_or(u32::MAX);
        Allowance {
            ring: self.clone(),
            key: *id,
            pages_per_day: most(limits.pages_per_day, preset.pages_per_day),
            new_destinations_per_day: most(limits.new_destinations_per_day, preset.new_destinations_per_day),
        }
    }

    /// Seconds until the next day begins, at least 1.
    pub fn day_ends_s(&self) -> u64 {
        let second = self.parts.clock.now().as_second();
        u64::try_from(DAY_S - second.rem_euclid(DAY_S)).unwrap_or(1)
    }
}

impl Allowance {
    /// Refuses what [`Allowance::spend`] would refuse at this moment, and spends nothing: before work
    /// is put into a fax that cannot be sent.
    pub fn check(&self, expense: Expense<'_>) -> Result<(), Overspent> {
        self.check_all(&[expense])
    }

    /// The same for faxes that are sent together, at the same time.
    pub fn check_all(&self, expenses: &[Expense<'_>]) -> Result<(), Overspent> {
        let Some(first) = expenses.first() else { return Ok(()) };
        self.on_day(first.at, |day| self.room_for(expenses, day)).unwrap_or(Ok(()))
    }

    /// Spends, or refuses and spends nothing.
    pub fn spend(&self, expense: Expense<'_>) -> Result<(), Overspent> {
        self.spend_all(&[expense])
    }

    /// Spends on faxes that are sent together, at the same time: on all of them or on none.
    pub fn spend_all(&self, expenses: &[Expense<'_>]) -> Result<(), Overspent> {
        let Some(first) = expenses.first() else { return Ok(()) };
        let spent = self.on_day(first.at, |day| {
            self.room_for(expenses, day)?;
            for expense in expenses {
                if !expense.is_known && !day.destinations.contains(expense.to) {
                    day.destinations.insert(expense.to.to_owned());
                }
                day.pages += expense.pages;
            }
            day.is_written = false;
            Ok(())
        });
        spent.unwrap_or(Ok(()))
    }

    /// Spends on pages that turned out later, when the fax was taken in already; or refuses and
    /// spends nothing.
    pub fn spend_more(&self, pages: u32, at: Timestamp) -> Result<(), Overspent> {
        let spent = self.on_day(at, |day| {
            self.room_for_pages(pages, day)?;
            day.pages += pages;
            day.is_written = false;
            Ok(())
        });
        spent.unwrap_or(Ok(()))
    }

    /// Gives back the pages of a fax that was not taken in after all. Its number stays counted, and
    /// is free for the rest of the day.
    pub fn give_back(&self, pages: u32, at: Timestamp) {
        self.on_day(at, |day| {
            day.pages = day.pages.saturating_sub(pages);
            day.is_written = false;
        });
    }

    fn room_for(&self, expenses: &[Expense<'_>], day: &Day) -> Result<(), Overspent> {
        let pages = expenses.iter().fold(0, |pages: u32, expense| pages.saturating_add(expense.pages));
        self.room_for_pages(pages, day)?;
        let is_new = |expense: &&Expense<'_>| !expense.is_known && !day.destinations.contains(expense.to);
        let new = expenses.iter().filter(is_new).map(|expense| expense.to).collect::<BTreeSet<_>>().len();
        let (most, new) = (self.new_destinations_per_day, u32::try_from(new).unwrap_or(u32::MAX));
        let left = most.saturating_sub(u32::try_from(day.destinations.len()).unwrap_or(u32::MAX));
        match (new, left) {
            (new, left) if new <= left => Ok(()),
            (_, 0) => Err(Overspent::Destinations { most }),
            (new, left) => Err(Overspent::TooManyNew { most, left, new }),
        }
    }

    fn room_for_pages(&self, pages: u32, day: &Day) -> Result<(), Overspent> {
        let left = self.pages_per_day.saturating_sub(day.pages);
        if pages > left { Err(Overspent::Pages { most: self.pages_per_day, left }) } else { Ok(()) }
    }

    /// What was spent on the day of `at`, under its lock; `None` when the key is gone.
    fn on_day<T>(&self, at: Timestamp, act: impl FnOnce(&mut Day) -> T) -> Option<T> {
        let meter = self.ring.meter(&self.key)?;
        let today = day_of(self.ring.parts.clock.now());
        let mut state = meter.lock();
        Some(act(state.spending.day(day_of(at), today)))
    }
}

/// What one key spent, by day.
#[derive(Debug, Default)]
pub(super) struct Spending {
    days: BTreeMap<i64, Day>,
}

#[derive(Debug, Default)]
struct Day {
    pages: u32,
    destinations: BTreeSet<String>,
    is_written: bool,
}

impl Spending {
    fn day(&mut self, number: i64, today: i64) -> &mut Day {
        // Yesterday stays, for a clock that is set back; so do the days of scheduled faxes.
        self.days.retain(|day, _| *day >= today - 1 || *day == number);
        self.days.entry(number).or_default()
    }

    /// Puts back a day that an earlier run of the appliance wrote down.
    pub(super) fn restore(&mut self, day: &DayOfSpending) {
        let destinations = day.destinations.iter().cloned().collect();
        self.days.insert(day.day, Day { pages: day.pages, destinations, is_written: true });
    }

    pub(super) fn unwritten(&self, id: KeyId) -> Vec<DayOfSpending> {
        let days = self.days.iter().filter(|(_, day)| !day.is_written);
        days.map(|(number, day)| DayOfSpending {
            id,
            day: *number,
            pages: day.pages,
            destinations: day.destinations.iter().cloned().collect(),
        })
        .collect()
    }

    /// This is written down; what was spent meanwhile is not.
    pub(super) fn is_written(&mut self, written: &DayOfSpending) {
        if let Some(day) = self.days.get_mut(&written.day) {
            day.is_written =
                day.pages == written.pages && day.destinations.len() == written.destinations.len();
        }
    }
}

fn day_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(DAY_S)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::access::kind::Limits;
    use crate::auth::keys::tests::{Fixture, named};

    async fn caller(fixture: &Fixture) -> Caller {
        let (token, _) = fixture.make(named("a")).await;
        fixture.ring.verify(&token, None).await.unwrap().caller
    }

    fn spend(
        fixture: &Fixture,
        caller: &Caller,
        to: u32,
        pages: u32,
        is_known: bool,
    ) -> Result<(), Overspent> {
        let to = format!("+1555{to:07}");
        let expense = Expense { to: &to, pages, is_known, at: fixture.clock.now() };
        fixture.ring.allowance(caller).unwrap().spend(expense)
    }

    #[tokio::test]
    async fn a_day_has_its_pages_and_its_new_numbers() {
        let fixture = Fixture::new().await;
        let key = caller(&fixture).await;
        for number in 0..20 {
            spend(&fixture, &key, number, 1, false).unwrap();
        }
        let most = Err(Overspent::Destinations { most: 20 });
        assert_eq!(spend(&fixture, &key, 20, 1, false), most);
        let foreseen = |pages, is_known| {
            let now = fixture.clock.now();
            let expense = Expense { to: "+15550000020", pages, is_known, at: now };
            fixture.ring.allowance(&key).unwrap().check(expense)
        };
        assert_eq!((foreseen(1, false), foreseen(180, true)), (most, Ok(())));
        assert_eq!(foreseen(181, true), Err(Overspent::Pages { most: 200, left: 180 }), "asking spent none");
        spend(&fixture, &key, 3, 1, false).unwrap();
        spend(&fixture, &key, 20, 1, true).unwrap();
        assert_eq!(spend(&fixture, &key, 3, 179, true), Err(Overspent::Pages { most: 200, left: 178 }));
        spend(&fixture, &key, 3, 178, true).unwrap();
        assert_eq!(spend(&fixture, &key, 3, 1, true), Err(Overspent::Pages { most: 200, left: 0 }));
        fixture.ring.allowance(&key).unwrap().give_back(2, fixture.clock.now());
        spend(&fixture, &key, 3, 2, true).unwrap();

        let group = |numbers: &'static [&'static str], pages| {
            let at = fixture.clock.now() + SignedDuration::from_hours(48);
            let expenses: Vec<_> =
                numbers.iter().map(|to| Expense { to, pages, is_known: false, at }).collect();
            fixture.ring.allowance(&key).unwrap().spend_all(&expenses)
        };
        assert_eq!(group(&["a", "b", "c"], 67), Err(Overspent::Pages { most: 200, left: 200 }));
        group(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], 1).unwrap();
        group(&["k", "l", "m", "n", "o", "p", "q", "r"], 1).unwrap();
        let too_many = Overspent::TooManyNew { most: 20, left: 2, new: 3 };
        assert_eq!(group(&["a", "s", "t", "u", "u"], 1), Err(too_many), "all of them or none");
        group(&["a", "s", "t"], 1).unwrap();

        assert_eq!(fixture.ring.day_ends_s(), 24 * 3600);
        let tomorrow = fixture.clock.now() + SignedDuration::from_hours(24);
        let ahead = Expense { to: "+15550000099", pages: 150, is_known: false, at: tomorrow };
        fixture.ring.allowance(&key).unwrap().spend(ahead).unwrap();
        fixture.pass(24 * 3600).await;
        let left = Overspent::Pages { most: 200, left: 50 };
        assert_eq!(spend(&fixture, &key, 1, 51, true), Err(left), "what was scheduled for this day counts");
        spend(&fixture, &key, 30, 50, false).unwrap();
        assert!(fixture.ring.allowance(&fixture.ring.local_caller(0)).is_none());
    }

    #[tokio::test]
    async fn a_key_has_limits_of_its_own_and_days_survive_a_restart() {
        let mut fixture = Fixture::new().await;
        let key = caller(&fixture).await;
        let own = Limits { pages_per_day: Some(5), new_destinations_per_day: Some(1), ..Limits::default() };
        let record = KeyRecord { limits: own, ..key.record().unwrap().clone() };
        let bounded = {
            let state = fixture.ring.state();
            let (_, meter) = key.metered().unwrap();
            Caller::key(&std::sync::Arc::new(record), &state.accounts[&key.owner], meter)
        };
        spend(&fixture, &bounded, 1, 2, false).unwrap();
        fixture.ring.flush_usage().await.unwrap();
        fixture.ring.allowance(&bounded).unwrap().spend_more(2, fixture.clock.now()).unwrap();
        fixture.ring.flush_usage().await.unwrap();
        fixture.restart().await;
        assert_eq!(spend(&fixture, &bounded, 2, 1, false), Err(Overspent::Destinations { most: 1 }));
        assert_eq!(spend(&fixture, &bounded, 1, 2, false), Err(Overspent::Pages { most: 5, left: 1 }));
        spend(&fixture, &bounded, 1, 1, false).unwrap();
    }
}
