//! The routes as they stand.
//!
//! Owns: counting the calls of each route and how many it may carry, which routes are looked after, and
//! putting one back into service. Refuses: to choose among them; that is [`crate::fax::routing`], asked
//! in the transaction that begins a call. That transaction also sees which are out of service.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Inner, Queue, QueueError, lock};
use crate::access::audit::{Action, Context, Target};
use crate::db::jobs::{RouteRules, Ways};
use crate::fax::health::Health;
use crate::fax::hours::Hours;
use crate::fax::routing::{RouteList, Standing};
use crate::route::simulator;

/// A route, for those who look after it.
#[derive(Clone, Debug)]
pub struct RouteState {
    /// How it stands.
    pub standing: Standing,
    /// Whether its calls cost money.
    pub spends: bool,
    /// How its calls went of late.
    pub health: Health,
}

impl Queue {
    /// All routes, and how their calls went of late.
    pub fn route_states(&self) -> Result<Vec<RouteState>, QueueError> {
        let inner = &self.inner;
        let mut routes = inner.routes_now();
        inner.db.mark_routes(&mut routes, inner.clock.now())?;
        let (spending, mut known) = (inner.spending_routes(), inner.db.route_health()?);
        let state = |standing: Standing| {
            let place = known.iter().position(|(route, _)| *route == standing.name);
            let health = place.map(|place| known.swap_remove(place).1).unwrap_or_default();
            RouteState { spends: spending.contains(&standing.name), standing, health }
        };
        Ok(routes.into_iter().map(state).collect())
    }

    /// When hours of a fax come next; `None` within them.
    pub fn opens_at(&self, hours: &Hours) -> Option<Timestamp> {
        hours.opens_at(self.inner.clock.now(), &TimeZone::system())
    }

    /// Puts a route back into service without waiting for a call that shows that it works; whether it
    /// was out.
    pub async fn restore_route(&self, route: &str, by: &Context) -> Result<bool, QueueError> {
        let inner = &self.inner;
        inner.check_routes(&route.into())?;
        let now = inner.clock.now();
        let event = by.event(Action::RouteRestored, Target::new("route", route), now);
        let was_out = inner.db.audited(event).restore_route(route.to_owned(), now).await?;
        if was_out {
            inner.call_dispatcher();
        }
        Ok(was_out)
    }
}

impl Inner {
    pub(super) fn routes_now(&self) -> Vec<Standing> {
        let settings = self.policy();
        let (now, zone) = (self.clock.now(), TimeZone::system());
        let calls = lock(&self.calls);
        let standing = |line: &super::Line| {
            let name = line.route.name();
            let carried = calls.values().filter(|call| call.route == name).count();
            Standing {
                name: name.to_owned(),
                calls: u32::try_from(carried).unwrap_or(u32::MAX),
                most: settings.calls.of(name).unwrap_or(line.most_calls),
                is_out: false,
                opens_at: settings.hours.of(name).and_then(|hours| hours.opens_at(now, &zone)),
            }
        };
        self.lines.iter().map(standing).collect()
    }

    /// What holds for the calls that may begin now.
    pub(super) fn route_rules(&self) -> RouteRules {
        RouteRules {
            routes: self.routes_now(),
            spending: self.spending_routes(),
            is_scripted: simulator::is_scripted,
            settings: self.policy(),
            zone: TimeZone::system(),
        }
    }

    /// What the end of a call has to know of the routes.
    pub(super) fn ways(&self) -> Ways {
        Ways {
            open: self
                .routes_now()
                .into_iter()
                .filter(|route| route.opens_at.is_none())
                .map(|route| route.name)
                .collect(),
            // One within the house reaches nothing that could be out of service.
            watched: self.spending_routes(),
        }
    }

    /// When a call is let through next to see whether a route works again.
    pub(super) fn next_probe(&self, now: Timestamp) -> Result<Option<Timestamp>, QueueError> {
        let all = self.db.route_health()?;
        let times = all.iter().filter_map(|(_, health)| health.out).map(|out| out.next_probe_at);
        Ok(times.filter(|at| *at > now).min())
    }

    /// Refuses a list in which there is a route we have not.
    pub(super) fn check_routes(&self, order: &RouteList) -> Result<(), QueueError> {
        let is_known = |name: &str| self.lines.iter().any(|line| line.route.name() == name);
        match order.names().find(|name| !is_known(name)) {
            Some(name) => Err(QueueError::NoSuchRoute(name.to_owned())),
            None => Ok(()),
        }
    }
}
