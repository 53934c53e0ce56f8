//! Which numbers may be dialled, and who decides it.
//!
//! Owns: asking for the verdict with what the database has about a number, and the changes people
//! make to the rules, each recorded in the audit log. Refuses: to remember a verdict; it is asked
//! for when a fax is taken in, and the database asks again in the transaction that begins a call.

use jiff::Timestamp;

use super::{Inner, Queue, QueueError};
use crate::access::audit::{Action, Context, Snapshot, Target};
use crate::auth::limits::{Allowance, Overspent};
use crate::fax::dialling::{Hold, Limits};
use crate::fax::group::Recipient;
use crate::fax::number::{CountryCode, FaxNumber};
use crate::fax::policy::ranges::Range;
use crate::fax::policy::{Entry, Opened, Prefix, Rules, Ruling, Verdict, verdict};
use crate::fax::routing::{self, Obstacle, RouteList};
use crate::fax::sentences;

/// What would become of a fax, had it been sent.
#[derive(Clone, Debug)]
pub struct Foreseen {
    /// What policy says of its number.
    pub verdict: Verdict,
    /// Whether its calls would cost money.
    pub spends: bool,
    /// What of its key's day is used up, so that it would be refused.
    pub overspent: Option<Overspent>,
    /// What would keep it waiting at this moment.
    pub hold: Option<Hold>,
    /// The route it would take; where none can take it now, the first of its list.
    pub route: String,
    /// Those that come first and would not take it, with why.
    pub passed: Vec<(String, Obstacle)>,
    /// Whether none of them can take it now.
    pub lacks_line: bool,
}

impl Foreseen {
    /// What it would wait for, in words.
    pub fn waiting_for(&self, limits: Limits) -> Option<String> {
        let held = self.hold.as_ref().map(|hold| sentences::held(hold, limits));
        let why = || self.passed.iter().map(|(_, obstacle)| *obstacle);
        if let Some(at) = routing::opens_at(why()).filter(|_| self.lacks_line && held.is_none()) {
            return Some(sentences::outside_hours(at));
        }
        held.or_else(|| self.lacks_line.then(|| sentences::no_line(why()).to_owned()))
    }
}

impl Queue {
    /// What would become of a fax of so many pages; nothing is stored and nothing spent.
    /// [`QueueError::NoRoom`] when none is taken in at all.
    pub fn foresee(
        &self,
        routes: &RouteList,
        to: &FaxNumber,
        pages: u32,
        schedule_at: Option<Timestamp>,
        allowance: Option<&Allowance>,
    ) -> Result<Foreseen, QueueError> {
        let inner = &self.inner;
        inner.check_space()?;
        inner.check_routes(routes)?;
        let spends = inner.spends(routes.first());
        let overspent = match allowance.filter(|_| spends) {
            Some(allowance) => allowance.check(inner.expense(to, pages, schedule_at)?).err(),
            None => None,
        };
        let dialling = inner.dialling()?;
        let choice = routing::choose(routes, &dialling.routes);
        let (route, passed, lacks_line) = match choice {
            Ok(choice) => (choice.route, choice.passed, false),
            Err(passed) => (routes.first(), passed, true),
        };
        Ok(Foreseen {
            verdict: inner.verdict(routes.first(), to)?,
            spends,
            overspent,
            hold: dialling.holds_route(routes.first()).cloned(),
            route: route.to_owned(),
            passed: passed.into_iter().map(|(route, why)| (route.to_owned(), why)).collect(),
            lacks_line,
        })
    }

    /// The same for a group: what policy says of each number, in their order, and what of the key's
    /// day they would use up together.
    pub fn foresee_group(
        &self,
        routes: &RouteList,
        group: &[Recipient],
        pages: u32,
        schedule_at: Option<Timestamp>,
        allowance: Option<&Allowance>,
    ) -> Result<(Vec<Verdict>, Option<Overspent>), QueueError> {
        let inner = &self.inner;
        let verdicts = group.iter().map(|recipient| inner.verdict(routes.first(), &recipient.to));
        let overspent = match allowance.filter(|_| inner.spends(routes.first())) {
            Some(allowance) => allowance.check_all(&inner.expenses(group, pages, schedule_at)?).err(),
            None => None,
        };
        Ok((verdicts.collect::<Result<_, _>>()?, overspent))
    }

    /// All rules about numbers.
    pub async fn policy_rules(&self) -> Result<Rules, QueueError> {
        Ok(self.inner.db.policy_rules().await?)
    }

    /// The country calls are usually within.
    pub fn home_country(&self) -> CountryCode {
        self.inner.policy().home
    }

    /// Opens a range of numbers, for this reason.
    pub async fn open_range(&self, range: Range, reason: String, by: &Context) -> Result<(), QueueError> {
        let opened = Opened { range, reason, by: by.actor.clone(), at: self.inner.clock.now() };
        let after = Snapshot::new().with("open", true).with("reason", &opened.reason);
        let event = by.event(Action::PolicyChanged, Target::new("policy", range), opened.at).after(after);
        Ok(self.inner.db.audited(event).open_range(opened).await?)
    }

    /// Closes a range of numbers again; faxes to them that wait end at their next dial.
    pub async fn close_range(&self, range: Range, by: &Context) -> Result<(), QueueError> {
        let event = by
            .event(Action::PolicyChanged, Target::new("policy", range), self.inner.clock.now())
            .after(Snapshot::new().with("open", false));
        self.inner.db.audited(event).close_range(range).await?;
        Ok(())
    }

    /// The entry about numbers with exactly this beginning.
    pub fn policy_entry(&self, prefix: &Prefix) -> Result<Option<Entry>, QueueError> {
        Ok(self.inner.db.policy_entry(prefix)?)
    }

    /// Allows or blocks numbers, in place of what was decided about the same beginning before.
    pub async fn rule(
        &self,
        prefix: Prefix,
        ruling: Ruling,
        reason: String,
        by: &Context,
    ) -> Result<Entry, QueueError> {
        let inner = &self.inner;
        let entry = Entry { prefix, ruling, reason, by: by.actor.clone(), at: inner.clock.now() };
        let mut event = by
            .event(Action::PolicyChanged, Target::new("policy", &entry.prefix), entry.at)
            .after(snapshot(&entry));
        if let Some(before) = inner.db.policy_entry(&entry.prefix)? {
            event = event.before(snapshot(&before));
        }
        inner.db.audited(event).put_policy_entry(entry.clone()).await?;
        Ok(entry)
    }

    /// Takes an entry back; whether there was one.
    pub async fn unrule(&self, prefix: Prefix, by: &Context) -> Result<bool, QueueError> {
        let inner = &self.inner;
        let Some(before) = inner.db.policy_entry(&prefix)? else { return Ok(false) };
        let event = by
            .event(Action::PolicyChanged, Target::new("policy", &prefix), inner.clock.now())
            .before(snapshot(&before));
        Ok(inner.db.audited(event).remove_policy_entry(prefix).await?)
    }
}

impl Inner {
    /// Refuses a number that may not be dialled.
    pub(super) fn check_number(&self, route: &str, to: &FaxNumber) -> Result<(), QueueError> {
        match self.verdict(route, to)? {
            Verdict::Allowed(_) => Ok(()),
            Verdict::Blocked(block) => Err(QueueError::Blocked(block)),
        }
    }

    /// Refuses a group when some of its numbers may not be dialled; tells which.
    pub(super) fn check_numbers(&self, route: &str, group: &[Recipient]) -> Result<(), QueueError> {
        let mut blocked = Vec::new();
        for recipient in group {
            if let Verdict::Blocked(block) = self.verdict(route, &recipient.to)? {
                blocked.push((recipient.raw.clone(), block));
            }
        }
        if blocked.is_empty() { Ok(()) } else { Err(QueueError::SomeBlocked(blocked)) }
    }

    fn verdict(&self, route: &str, to: &FaxNumber) -> Result<Verdict, QueueError> {
        let rules = self.route_rules();
        if !rules.routes.iter().any(|standing| standing.name == route) {
            return Err(QueueError::NoSuchRoute(route.to_owned()));
        }
        let about = self.db.policy_rules_for(to)?;
        Ok(verdict(&rules.settings.home, &about, to, rules.reach(&route.into(), to)))
    }
}

fn snapshot(entry: &Entry) -> Snapshot {
    Snapshot::new().with("reason", &entry.reason).with("ruling", entry.ruling.as_str())
}

#[cfg(test)]
mod tests;
