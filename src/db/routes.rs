//! The table `route_health`: which routes fail, and which are out of service.
//!
//! Owns: learning from a call in the transaction that ends it, with the event that tells of a turn, once.
//! When a route goes out of service, faxes that wait for it alone may take the others of their list
//! again.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::json;

use super::audit::Audited;
use super::{Db, DbError, events, from_ms, parse, to_ms};
use crate::fax::event::Event;
use crate::fax::health::{Failure, Health, News, Out, Turn};
use crate::fax::number::FaxNumber;
use crate::fax::routing::Standing;

const COLUMNS: &str =
    "route, failures, first_number, several, failed_at, class, code, out_since, probes, next_probe_at";

impl Db {
    /// Marks these routes as they stand: which are out of service, and which take one call to see.
    pub fn mark_routes(&self, routes: &mut [Standing], now: Timestamp) -> Result<(), DbError> {
        self.point(|connection| mark(connection, routes, now))
    }

    /// What is known of the routes that failed of late.
    pub fn route_health(&self) -> Result<Vec<(String, Health)>, DbError> {
        self.point(all)
    }
}

impl Audited<'_> {
    /// Puts a route back into service; whether it was out, without which nothing is recorded.
    pub async fn restore_route(self, route: String, now: Timestamp) -> Result<bool, DbError> {
        self.write_if(
            |was_out| *was_out,
            move |transaction| {
                let before = of(transaction, &route)?;
                if before.out.is_none() {
                    return Ok(false);
                }
                store(transaction, &route, &Health::default())?;
                tell(transaction, &route, &before, Turn::Back, now)?;
                Ok(true)
            },
        )
        .await
    }
}

/// Marks these routes as they stand: which are out of service, and which take one call to see.
pub(in crate::db) fn mark(
    connection: &Connection,
    routes: &mut [Standing],
    now: Timestamp,
) -> Result<(), DbError> {
    for (route, health) in all(connection)? {
        routes.iter_mut().filter(|standing| standing.name == route).for_each(|standing| {
            health.mark(standing, now);
        });
    }
    Ok(())
}

/// Those of these routes that take calls now.
pub(in crate::db) fn in_service(
    connection: &Connection,
    routes: Vec<String>,
    now: Timestamp,
) -> Result<Vec<String>, DbError> {
    let known = all(connection)?;
    let is_out =
        |name: &String| known.iter().any(|(route, health)| route == name && health.keeps_out(true, now));
    Ok(routes.into_iter().filter(|name| !is_out(name)).collect())
}

/// Takes in what the end of a call to this number tells of its route.
pub(in crate::db) fn learn(
    transaction: &Transaction<'_>,
    route: &str,
    news: News<'_>,
    to: &FaxNumber,
    now: Timestamp,
) -> Result<(), DbError> {
    let before = of(transaction, route)?;
    let mut health = before.clone();
    let turn = health.learn(news, to, now);
    if health != before {
        store(transaction, route, &health)?;
    }
    match turn {
        Some(Turn::Out) => {
            transaction
                .execute("UPDATE jobs SET lane = routes WHERE state = 'queued' AND lane <> routes", [])?;
            tell(transaction, route, &health, Turn::Out, now)
        }
        Some(Turn::Back) => tell(transaction, route, &before, Turn::Back, now),
        None => Ok(()),
    }
}

fn tell(
    transaction: &Transaction<'_>,
    route: &str,
    health: &Health,
    turn: Turn,
    now: Timestamp,
) -> Result<(), DbError> {
    let (what, data) = match turn {
        Turn::Out => (
            "out_of_service",
            json!({
                "failures": health.failures,
                "class": health.last.as_ref().map(|last| last.class.as_str()),
                "code": health.last.as_ref().map(|last| &last.code),
                "next_probe_at": health.out.map(|out| out.next_probe_at),
            }),
        ),
        Turn::Back => {
            let out_s = health.out.map(|out| now.duration_since(out.since).as_secs());
            ("in_service", json!({ "out_s": out_s }))
        }
    };
    match turn {
        Turn::Out => log::error!("the route {route} is out of service: its calls fail"),
        Turn::Back => log::warn!("the route {route} is in service again"),
    }
    events::append(transaction, &[Event::route(route, what, data, now)])
}

fn all(connection: &Connection) -> Result<Vec<(String, Health)>, DbError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM route_health ORDER BY route"))?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push((row.get(0)?, read(row)?));
    }
    Ok(all)
}

fn of(connection: &Connection, route: &str) -> Result<Health, DbError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM route_health WHERE route = ?1"))?;
    let known = statement.query_row([route], |row| Ok(read(row))).optional()?.transpose()?;
    Ok(known.unwrap_or_default())
}

fn store(transaction: &Transaction<'_>, route: &str, health: &Health) -> Result<(), DbError> {
    if *health == Health::default() {
        transaction.prepare_cached("DELETE FROM route_health WHERE route = ?1")?.execute([route])?;
        return Ok(());
    }
    let (last, out) = (health.last.as_ref(), health.out.as_ref());
    transaction
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO route_health({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        ))?
        .execute(params![
            route,
            health.failures,
            health.first_number,
            health.several,
            last.map(|last| to_ms(last.at)),
            last.map(|last| last.class.as_str()),
            last.map(|last| &last.code),
            out.map(|out| to_ms(out.since)),
            out.map_or(0, |out| out.probes),
            out.map(|out| to_ms(out.next_probe_at)),
        ])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<Health, DbError> {
    let time = |column| -> Result<Option<Timestamp>, DbError> {
        row.get::<_, Option<i64>>(column)?.map(|ms| from_ms(ms, "route_health times")).transpose()
    };
    let last = match (time(4)?, row.get::<_, Option<String>>(5)?, row.get::<_, Option<String>>(6)?) {
        (Some(at), Some(class), Some(code)) => {
            Some(Failure { at, class: parse(&class, "route_health.class")?, code })
        }
        _ => None,
    };
    let out = match (time(7)?, time(9)?) {
        (Some(since), Some(next_probe_at)) => Some(Out { since, probes: row.get(8)?, next_probe_at }),
        _ => None,
    };
    Ok(Health { failures: row.get(1)?, first_number: row.get(2)?, several: row.get(3)?, last, out })
}

#[cfg(test)]
mod tests {
    use super::super::jobs::tests::{new_job, now, open};
    use super::*;
    use crate::access::audit::{Action, Context, Target};
    use crate::db::jobs::{RouteRules, Ways};
    use crate::fax::attempt::{CallEnd, Progress};
    use crate::fax::job::{Job, State};
    use crate::fax::outcome::Fault;
    use crate::fax::transition::{Acceptance, accept};

    fn ways() -> Ways {
        let all = || vec!["a".to_owned(), "b".to_owned()];
        Ways { open: all(), watched: all() }
    }

    async fn add(db: &Db, n: u32, list: &str) -> Job {
        let new =
            Acceptance { to: format!("+155500000{n:02}").parse().unwrap(), route: list.into(), ..new_job() };
        db.insert_job(accept(new, now()), None).await.unwrap()
    }

    async fn fail_all(db: &Db, fault: &Fault, at: Timestamp) -> Vec<Job> {
        let claims = db.claim_ready(RouteRules::free("a, b"), 99, at).await.unwrap().claims;
        let mut after = Vec::new();
        for claim in claims {
            let end = CallEnd::Failed(fault.clone());
            let (job, attempt) = (claim.job.id, claim.attempt.id);
            after.push(db.finish_call(job, attempt, Progress::default(), end, at, ways()).await.unwrap());
        }
        after
    }

    #[tokio::test]
    async fn a_route_that_keeps_failing_goes_out_once_and_faxes_take_the_others() {
        let (_folder, db) = open();
        for n in 0..5 {
            add(&db, n, "a, b").await;
        }
        let after = fail_all(&db, &Fault::sip(503), now()).await;
        assert!(after.iter().all(|job| job.state == State::Queued), "b is left to all of them");
        let health = db.route_health().unwrap();
        assert_eq!(health.len(), 1);
        assert_eq!((health[0].0.as_str(), health[0].1.failures), ("a", 5));
        assert!(health[0].1.out.is_some());
        let told = db.events_about("route:a".into(), i64::MAX, 9).await.unwrap();
        assert_eq!(
            told.iter().map(|entry| entry.event.kind.as_str()).collect::<Vec<_>>(),
            ["route.out_of_service"]
        );

        // Until it is probed, nothing goes there, and a fax that has nothing else waits for it.
        let alone = add(&db, 10, "a").await;
        let claims = db.claim_ready(RouteRules::free("a, b"), 99, now()).await.unwrap().claims;
        assert!(claims.iter().all(|claim| claim.job.route == "b") && claims.len() == 5);
        assert_eq!(db.job(alone.id).unwrap().unwrap().state, State::Queued);

        // Then one call is let through, and what it finds counts.
        add(&db, 11, "a").await;
        let later = health[0].1.out.unwrap().next_probe_at;
        let claims = db.claim_ready(RouteRules::free("a"), 99, later).await.unwrap().claims;
        assert_eq!(claims.iter().map(|claim| claim.job.id).collect::<Vec<_>>(), [alone.id]);
        let (job, attempt) = (claims[0].job.id, claims[0].attempt.id);
        let busy = CallEnd::Failed(Fault::sip(486));
        db.finish_call(job, attempt, Progress::default(), busy, later, ways()).await.unwrap();
        assert!(db.route_health().unwrap().is_empty(), "who is busy was reached");
        let told = db.events_about("route:a".into(), i64::MAX, 9).await.unwrap();
        assert_eq!((told.len(), told[0].event.kind.as_str()), (2, "route.in_service"));
    }

    #[tokio::test]
    async fn what_waits_for_a_route_that_goes_out_takes_the_others_again() {
        let (_folder, db) = open();
        let first = add(&db, 1, "b, a").await;
        fail_all(&db, &Fault::sip(503), now()).await;
        assert_eq!(db.job(first.id).unwrap().unwrap().lane.to_string(), "a");
        add(&db, 2, "a").await;
        let mut rules = RouteRules::free("a");
        rules.routes[0].most = 1;
        // The second one takes the only line of a, which refuses the login.
        db.move_job(first.id, |stage| stage.hold(now()).ok_or(())).await.unwrap().unwrap();
        let claims = db.claim_ready(rules, 9, now()).await.unwrap().claims;
        let refused = CallEnd::Failed(Fault::sip(407));
        let (job, attempt) = (claims[0].job.id, claims[0].attempt.id);
        let third = add(&db, 3, "b, a").await;
        let claims = db.claim_ready(RouteRules::free("b"), 9, now()).await.unwrap().claims;
        let lost = CallEnd::Failed(Fault::sip(503));
        let left = db.finish_call(third.id, claims[0].attempt.id, Progress::default(), lost, now(), ways());
        assert_eq!(left.await.unwrap().lane.to_string(), "a");
        db.finish_call(job, attempt, Progress::default(), refused, now(), ways()).await.unwrap();
        assert_eq!(db.job(third.id).unwrap().unwrap().lane.to_string(), "b, a");
    }

    #[tokio::test]
    async fn somebody_may_put_it_back() {
        let (_folder, db) = open();
        add(&db, 1, "a").await;
        let after = fail_all(&db, &Fault::sip(407), now()).await;
        assert_eq!(after[0].state, State::Waiting);
        for was_out in [true, false] {
            let event = Context::system().event(Action::RouteRestored, Target::new("route", "a"), now());
            assert_eq!(db.audited(event).restore_route("a".into(), now()).await.unwrap(), was_out);
            assert!(db.route_health().unwrap().is_empty());
        }
    }
}
