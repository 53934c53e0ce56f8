//! Which route a fax takes: the first of its list that can take it at this moment.
//!
//! Owns: the ordered list of routes a fax may take, how many calls each may carry, and the choice
//! among them. Refuses: to count calls and to know what a name stands for; both are passed in.
//!
//! Invariant: a list has one route at least, none of them twice.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::hours::Hours;

/// Most calls a route is given: more than any box of ours carries.
const MOST_CALLS: u32 = 1000;

/// Names of routes, in the order they are tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteList(Vec<String>);

impl RouteList {
    /// The one that is tried first.
    pub fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// All of them, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether it is a single one.
    pub fn is_single(&self) -> bool {
        self.0.len() == 1
    }

    /// The others, when there are any that `is_open` lets be tried.
    pub fn after(&self, failed: &str, is_open: impl Fn(&str) -> bool) -> Option<Self> {
        let others: Vec<_> = self.names().filter(|name| *name != failed).map(ToOwned::to_owned).collect();
        others.iter().any(|name| is_open(name)).then_some(Self(others))
    }
}

/// Names with commas between; one that stands there again is passed over. Nothing is a list of a
/// route without a name, which there is not.
impl From<&str> for RouteList {
    fn from(text: &str) -> Self {
        let mut names = Vec::<String>::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        if names.is_empty() { Self(vec![String::new()]) } else { Self(names) }
    }
}

impl fmt::Display for RouteList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// How many calls some routes may carry at once; of the others, each has a number of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacities(BTreeMap<String, u32>);

impl Capacities {
    /// The number given for this route.
    pub fn of(&self, route: &str) -> Option<u32> {
        self.0.get(route).copied()
    }

    /// Names of the routes that have one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The text is no list of routes with their numbers of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list like 'simulator=4, loopback=16', each from 1 to {MOST_CALLS}")]
pub struct NotCapacities;

impl FromStr for Capacities {
    type Err = NotCapacities;

    fn from_str(text: &str) -> Result<Self, NotCapacities> {
        let mut all = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, number) = entry.split_once('=').ok_or(NotCapacities)?;
            let number: u32 = number.trim().parse().map_err(|_| NotCapacities)?;
            let is_new = all.insert(name.trim().to_owned(), number).is_none();
            if !is_new || !(1..=MOST_CALLS).contains(&number) {
                return Err(NotCapacities);
            }
        }
        Ok(Self(all))
    }
}

impl fmt::Display for Capacities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<_> = self.0.iter().map(|(name, number)| format!("{name}={number}")).collect();
        f.write_str(&entries.join(", "))
    }
}

/// The hours of the week in which some routes carry calls; the others always do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteHours(BTreeMap<String, Hours>);

impl RouteHours {
    /// The hours given for this route.
    pub fn of(&self, route: &str) -> Option<&Hours> {
        self.0.get(route)
    }

    /// Names of the routes that have some.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The text is no list of routes with their hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list like 'simulator=Wk2300-0800,Sat,Sun; loopback=Any'")]
pub struct NotRouteHours;

impl FromStr for RouteHours {
    type Err = NotRouteHours;

    fn from_str(text: &str) -> Result<Self, NotRouteHours> {
        let mut all = BTreeMap::new();
        for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, hours) = entry.split_once('=').ok_or(NotRouteHours)?;
            let hours = hours.trim().parse().map_err(|_| NotRouteHours)?;
            if all.insert(name.trim().to_owned(), hours).is_some() {
                return Err(NotRouteHours);
            }
        }
        Ok(Self(all))
    }
}

impl fmt::Display for RouteHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<_> = self.0.iter().map(|(name, hours)| format!("{name}={hours}")).collect();
        f.write_str(&entries.join("; "))
    }
}

/// A route as it stands at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Calls it carries now.
    pub calls: u32,
    /// Calls it may carry at once.
    pub most: u32,
    /// Whether it is out of service.
    pub is_out: bool,
    /// When its hours come next; `None` within them.
    pub opens_at: Option<Timestamp>,
}

impl Standing {
    /// Calls it can take beside those it carries.
    pub fn free(&self) -> u32 {
        self.most.saturating_sub(self.calls)
    }
}

/// Why a route does not take a fax now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// All its lines are in use.
    Full,
    /// It is out of service.
    Out,
    /// It is outside its hours, until then.
    Closed(Timestamp),
    /// There is no such route any more.
    Unknown,
}

/// The route a fax takes, and those before it that do not take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// Its place among the routes as they stand.
    pub index: usize,
    /// Its name.
    pub route: &'a str,
    /// Those that would have come first, and why they did not.
    pub passed: Vec<(&'a str, Obstacle)>,
}

/// The first route of the list that can take a fax now; else why none of them does.
pub fn choose<'a>(lane: &'a RouteList, routes: &[Standing]) -> Result<Choice<'a>, Vec<(&'a str, Obstacle)>> {
    let mut passed = Vec::new();
    for route in lane.names() {
        match routes.iter().position(|standing| standing.name == route) {
            None => passed.push((route, Obstacle::Unknown)),
            Some(index) if routes[index].opens_at.is_some() => {
                passed.extend(routes[index].opens_at.map(|at| (route, Obstacle::Closed(at))));
            }
            Some(index) if routes[index].is_out => passed.push((route, Obstacle::Out)),
            Some(index) if routes[index].free() == 0 => passed.push((route, Obstacle::Full)),
            Some(index) => return Ok(Choice { index, route, passed }),
        }
    }
    Err(passed)
}

/// When the first of the routes opens; `None` unless all that there are keep their hours.
pub fn opens_at(passed: impl IntoIterator<Item = Obstacle>) -> Option<Timestamp> {
    let known = passed.into_iter().filter(|obstacle| *obstacle != Obstacle::Unknown);
    let closed = known.map(|obstacle| if let Obstacle::Closed(at) = obstacle { Some(at) } else { None });
    closed.collect::<Option<Vec<_>>>()?.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(name: &str, calls: u32, most: u32) -> Standing {
        Standing { name: name.into(), calls, most, is_out: false, opens_at: None }
    }

    #[test]
    fn a_list_reads_as_it_is_written() {
        let cases =
            [("a", "a"), (" a ,b", "a, b"), ("a,b,a", "a, b"), ("b,,a,", "b, a"), ("", ""), (",", "")];
        for (text, shown) in cases {
            let order = RouteList::from(text);
            assert_eq!(order.to_string(), shown, "{text:?}");
            assert_eq!(RouteList::from(shown), order);
        }
    }

    #[test]
    fn the_first_that_has_a_line_takes_it() {
        let lane = RouteList::from("a, b, c");
        let all = |a, b, c| [standing("a", a, 1), standing("c", c, 2), standing("b", b, 1)];
        let chosen = |routes: &[Standing]| {
            choose(&lane, routes).map(|choice| (choice.route.to_owned(), choice.index, choice.passed))
        };
        assert_eq!(chosen(&all(0, 0, 0)), Ok(("a".into(), 0, vec![])));
        assert_eq!(chosen(&all(1, 0, 0)), Ok(("b".into(), 2, vec![("a", Obstacle::Full)])));
        let both = vec![("a", Obstacle::Full), ("b", Obstacle::Full)];
        assert_eq!(chosen(&all(1, 1, 1)), Ok(("c".into(), 1, both)));
        let none = vec![("a", Obstacle::Full), ("b", Obstacle::Full), ("c", Obstacle::Full)];
        assert_eq!(chosen(&all(1, 1, 2)), Err(none));
        let out = Standing { is_out: true, ..standing("a", 0, 1) };
        assert_eq!(chosen(&[out, standing("b", 0, 1)]), Ok(("b".into(), 1, vec![("a", Obstacle::Out)])));
        assert_eq!(
            chosen(&[standing("b", 0, 1)]),
            Ok(("b".into(), 0, vec![("a", Obstacle::Unknown)])),
            "a route that is gone is passed over"
        );
    }

    #[test]
    fn a_fax_waits_for_hours_only_where_all_routes_keep_them() {
        let at = |hour: i64| Timestamp::from_second(hour * 3600).unwrap();
        let closed = |hour| Obstacle::Closed(at(hour));
        assert_eq!(opens_at([closed(7), closed(5)]), Some(at(5)));
        assert_eq!(opens_at([closed(7), Obstacle::Unknown]), Some(at(7)));
        assert_eq!(opens_at([closed(7), Obstacle::Full]), None);
        assert_eq!(opens_at([Obstacle::Unknown]), None);
        let lane = RouteList::from("a, b");
        let night = Standing { opens_at: Some(at(5)), ..standing("a", 0, 9) };
        let chosen = choose(&lane, &[night, standing("b", 0, 1)]).unwrap();
        assert_eq!((chosen.route, chosen.passed), ("b", vec![("a", closed(5))]));
        let read: RouteHours = "simulator=Wk2300-0800,Sat,Sun; loopback = Any".parse().unwrap();
        assert_eq!(read.to_string(), "loopback=Any; simulator=Wk2300-0800,Sat,Sun");
        assert_eq!(read.of("simulator").unwrap().to_string(), "Wk2300-0800,Sat,Sun");
        for wrong in ["simulator", "simulator=", "a=Any;a=Any", "a=Any,b=Any"] {
            assert_eq!(wrong.parse::<RouteHours>(), Err(NotRouteHours), "{wrong}");
        }
    }

    #[test]
    fn after_a_failure_the_others_are_left() {
        let order = RouteList::from("a, b, c");
        let left = order.after("b", |_| true);
        assert_eq!(left, Some("a, c".into()));
        assert_eq!(order.after("a", |name| name == "c"), Some("b, c".into()));
        assert_eq!(order.after("a", |name| name == "a"), None, "the others cannot take it");
        assert_eq!(RouteList::from("a").after("a", |_| true), None);
    }

    #[test]
    fn numbers_of_calls_are_read_and_bounded() {
        let read: Capacities = " simulator = 4,loopback=16 ".parse().unwrap();
        assert_eq!((read.of("simulator"), read.of("loopback"), read.of("x")), (Some(4), Some(16), None));
        assert_eq!(read.to_string(), "loopback=16, simulator=4");
        assert_eq!("".parse(), Ok(Capacities::default()));
        for wrong in ["simulator", "a=", "a=0", "a=1001", "a=1,a=2", "a=-1"] {
            assert_eq!(wrong.parse::<Capacities>(), Err(NotCapacities), "{wrong}");
        }
    }
}
