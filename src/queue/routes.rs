//! The routes as they stand.
//!
//! Owns: counting the calls of each route and how many it may carry. Refuses: to choose among them;
//! that is [`crate::fax::routing`], asked in the transaction that begins a call.

use super::{Inner, Queue, QueueError, lock};
use crate::db::jobs::RouteRules;
use crate::fax::routing::{RouteList, Standing};
use crate::route::simulator;

impl Queue {
    /// The routes as they stand.
    pub fn routes_now(&self) -> Vec<Standing> {
        self.inner.routes_now()
    }
}

impl Inner {
    pub(super) fn routes_now(&self) -> Vec<Standing> {
        let numbers = self.policy().calls;
        let calls = lock(&self.calls);
        let standing = |line: &super::Line| {
            let name = line.route.name();
            let carried = calls.values().filter(|call| call.route == name).count();
            Standing {
                name: name.to_owned(),
                calls: u32::try_from(carried).unwrap_or(u32::MAX),
                most: numbers.of(name).unwrap_or(line.most_calls),
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
        }
    }

    /// Names of the routes that could take a fax whose own route fails.
    pub(super) fn open_routes(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.route.name().to_owned()).collect()
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
