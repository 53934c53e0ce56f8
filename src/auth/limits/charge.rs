//! Taking one request off all quotas it counts against, or off none.
//!
//! Checked are the key's minute and hour, the ceiling over all keys, and what the owner's keys may
//! do together; only when all have room is anything taken.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;

use super::meter::Meter;
use super::overview::Owner;
use super::windows::{HOUR_S, HourCount, MINUTE_S, Taken, Windows, hour_of, seconds_left};
use super::{Limit, Quota};
use crate::access::records::{DayOfSpending, HourOfUse, KeyRecord, WindowCount};
use crate::access::token::KeyId;
use crate::auth::keys::State;
use crate::auth::{AuthError, Caller, KeyRing};
use crate::id::AccountId;

/// One request on a key's account.
#[derive(Clone, Debug)]
pub struct Charge {
    /// Whether the request has room, else which limit was reached.
    pub taken: Result<(), Limited>,
    /// What is left after it.
    pub left: Left,
    pub(in crate::auth) key: KeyId,
    pub(in crate::auth) owner: AccountId,
    pub(in crate::auth) at: Timestamp,
    pub(in crate::auth) meter: Arc<Meter>,
}

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Which one: of several, the one that lasts longest.
    pub limit: Limit,
    /// Seconds until it has room again, at least 1.
    pub retry_after_s: u32,
}

/// What is left of a key's quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The key's quotas.
    pub quota: Quota,
    /// Requests left in this minute.
    pub in_minute: u32,
    /// Seconds until the next minute begins.
    pub minute_ends_s: u32,
    /// Requests left in this hour.
    pub in_hour: u32,
    /// Seconds until the next hour begins.
    pub hour_ends_s: u32,
    /// The ceiling over all paths, where there is one.
    pub ceiling: Option<OfCeiling>,
}

/// `MAX_REQUESTS_PER_MINUTE` and what a key has left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfCeiling {
    /// Requests in a minute.
    pub per_minute: u32,
    /// Requests left in this minute.
    pub left: u32,
}

impl KeyRing {
    /// Takes one request off the quotas of the caller's key. `ceiling` is the number of requests
    /// any key has in a minute, 0 for no such number; `now` the moment it counts in. Windows are found
    /// by their place in time, so it does not matter who comes first. `None` for callers without a key:
    /// the bootstrap key, the local socket and anonymous requests have no quota.
    pub fn charge(&self, caller: &Caller, ceiling: u32, now: Timestamp) -> Option<Charge> {
        let (record, meter) = caller.metered()?;
        let (taken, left) = self.in_overview(now, |overview| {
            let owner = overview.owners.get(&record.owner);
            take(&mut meter.lock().windows, Quota::of(record), owner, ceiling, now)
        });
        Some(Charge { taken, left, key: record.id, owner: record.owner, at: now, meter: meter.clone() })
    }

    /// What is left of a key's quotas, without taking anything.
    pub fn left(&self, record: &KeyRecord, ceiling: u32) -> Option<Left> {
        let now = self.parts.clock.now();
        let taken = self.meter(&record.id)?.lock().windows.taken(now);
        Some(Left::after(Quota::of(record), ceiling, taken, now))
    }

    /// What came of a key's requests in the last `hours` hours, this one included; in order of the
    /// hours.
    pub async fn use_by_hour(&self, id: KeyId, hours: u32) -> Result<Vec<HourOfUse>, AuthError> {
        // So that nothing is written down between the two readings, and counted in both.
        let _changes = self.parts.changes.lock().await;
        let since = hour_of(self.parts.clock.now()) + 1 - i64::from(hours);
        let mut rows = self.parts.db.key_use(id, since).await?;
        let meter = self.meter(&id).ok_or(AuthError::NotFound)?;
        for row in meter.unwritten(id).use_by_hour.into_iter().filter(|row| row.hour >= since) {
            match rows.iter_mut().find(|known| (known.hour, known.outcome) == (row.hour, row.outcome)) {
                Some(known) => known.count += row.count,
                None => rows.push(row),
            }
        }
        rows.sort_by_key(|row| row.hour);
        Ok(rows)
    }

    pub(in crate::auth) fn meter(&self, id: &KeyId) -> Option<Arc<Meter>> {
        Some(self.state().keys.get(id)?.life().meter.clone())
    }

    /// Puts back what an earlier run wrote down: the hours of keys and of their owners, and what keys
    /// spent by day.
    pub(in crate::auth) fn restore_meters(&self, counts: &[WindowCount], days: &[DayOfSpending]) {
        for day in days {
            if let Some(meter) = self.meter(&day.id) {
                meter.lock().spending.restore(day);
            }
        }
        let found: Vec<_> = counts
            .iter()
            .filter_map(|count| Some((count, meter_and_owner(&self.state(), count.id)?)))
            .collect();
        self.in_overview(self.parts.clock.now(), |overview| {
            for (count, (meter, owner)) in found {
                let hour = HourCount { hour: count.hour, taken: count.taken };
                meter.restore(hour);
                if let Some(owner) = overview.owners.get(&owner) {
                    owner.windows.lock().unwrap_or_else(PoisonError::into_inner).restore(hour);
                }
            }
        });
    }

    /// Writes down what was counted since the last time; call it under the lock of changes.
    pub(in crate::auth) async fn flush_meters(&self) -> Result<(), AuthError> {
        let meters: Vec<_> =
            self.state().keys.iter().map(|(id, entry)| (*id, entry.life().meter.clone())).collect();
        let unwritten: Vec<_> = meters
            .into_iter()
            .map(|(id, meter)| (meter.unwritten(id), meter))
            .filter(|(unwritten, _)| !unwritten.is_empty())
            .collect();
        if unwritten.is_empty() {
            return Ok(());
        }
        let windows = unwritten.iter().flat_map(|(one, _)| one.windows.iter().copied()).collect();
        let use_by_hour = unwritten.iter().flat_map(|(one, _)| one.use_by_hour.iter().copied()).collect();
        let days = unwritten.iter().flat_map(|(one, _)| one.days.iter().cloned()).collect();
        self.parts.db.add_metering(windows, use_by_hour, days, self.parts.clock.now()).await?;
        for (written, meter) in &unwritten {
            meter.is_written(written);
        }
        Ok(())
    }
}

fn meter_and_owner(state: &State, id: KeyId) -> Option<(Arc<Meter>, AccountId)> {
    let entry = state.keys.get(&id)?;
    Some((entry.life().meter.clone(), entry.record.owner))
}

/// Checks all limits at this moment and takes one from each window, or nothing.
fn take(
    key: &mut Windows,
    quota: Quota,
    owner: Option<&Owner>,
    ceiling: u32,
    now: Timestamp,
) -> (Result<(), Limited>, Left) {
    let mut owner_windows = owner.map(|owner| owner.windows.lock().unwrap_or_else(PoisonError::into_inner));
    let taken = key.taken(now);
    let of_owner = owner.zip(owner_windows.as_deref().map(|windows| windows.taken(now)));
    let (minute, hour) = (seconds_left(now, MINUTE_S), seconds_left(now, HOUR_S));
    let owner_has_room =
        |room: fn(Quota, Taken) -> bool| of_owner.is_none_or(|(owner, taken)| room(owner.quota, taken));
    let checks = [
        (taken.hour < quota.per_hour, Limit::Hour, hour),
        (owner_has_room(|quota, taken| taken.hour < quota.per_hour), Limit::Owner, hour),
        (taken.minute < quota.per_minute, Limit::Minute, minute),
        (ceiling == 0 || taken.minute < ceiling, Limit::Global, minute),
        (owner_has_room(|quota, taken| taken.minute < quota.per_minute), Limit::Owner, minute),
    ];
    let full = checks.into_iter().find(|(has_room, ..)| !has_room);
    if let Some((_, limit, retry_after_s)) = full {
        return (Err(Limited { limit, retry_after_s }), Left::after(quota, ceiling, taken, now));
    }
    key.take(now);
    if let Some(windows) = &mut owner_windows {
        windows.take(now);
    }
    let taken = Taken { minute: taken.minute + 1, hour: taken.hour + 1 };
    (Ok(()), Left::after(quota, ceiling, taken, now))
}

impl Left {
    fn after(quota: Quota, ceiling: u32, taken: Taken, now: Timestamp) -> Self {
        Self {
            quota,
            in_minute: quota.per_minute.saturating_sub(taken.minute),
            minute_ends_s: seconds_left(now, MINUTE_S),
            in_hour: quota.per_hour.saturating_sub(taken.hour),
            hour_ends_s: seconds_left(now, HOUR_S),
            ceiling: (ceiling > 0)
                .then(|| OfCeiling { per_minute: ceiling, left: ceiling.saturating_sub(taken.minute) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::access::kind::{Kind, Limits};
    use crate::access::outcome::Outcome;
    use crate::auth::NewKey;
    use crate::auth::Revocation;
    use crate::auth::keys::tests::{CLI, Fixture, named};

    fn of_kind(kind: Kind, owner: &str) -> NewKey {
        NewKey { kind, owner: Some(owner.into()), ..named("a") }
    }

    async fn caller(fixture: &Fixture, new: NewKey) -> Caller {
        let (token, _) = fixture.make(new).await;
        fixture.ring.verify(&token, None).await.unwrap().caller
    }

    /// The caller of the same key, if the key had these limits.
    fn with_limits(fixture: &Fixture, caller: &Caller, limits: Limits) -> Caller {
        let record = KeyRecord { limits, ..caller.record().unwrap().clone() };
        let state = fixture.ring.state();
        let (_, meter) = caller.metered().unwrap();
        Caller::key(&Arc::new(record), &state.accounts[&caller.owner], meter)
    }

    fn charged(fixture: &Fixture, caller: &Caller) -> Result<(), (Limit, u32)> {
        let charge = fixture.ring.charge(caller, 0, fixture.clock.now()).unwrap();
        charge.taken.map_err(|limited| (limited.limit, limited.retry_after_s))
    }

    #[tokio::test]
    async fn a_kind_has_its_minute_and_a_key_its_own_hour() {
        let fixture = Fixture::new().await;
        let development = caller(&fixture, of_kind(Kind::Development, "clinic")).await;
        fixture.pass(19).await;
        for left in (0..60).rev() {
            let charge = fixture.ring.charge(&development, 0, fixture.clock.now()).unwrap();
            assert_eq!((charge.taken, charge.left.in_minute, charge.left.minute_ends_s), (Ok(()), left, 41));
        }
        assert_eq!(charged(&fixture, &development), Err((Limit::Minute, 41)));
        let left = fixture.ring.left(development.record().unwrap(), 0).unwrap();
        assert_eq!((left.in_minute, left.in_hour, left.hour_ends_s), (0, 940, 3581), "refused, so not taken");

        let limits = Limits { per_minute: Some(5000), per_hour: Some(100), ..Limits::default() };
        let own = with_limits(&fixture, &development, limits);
        (0..40).for_each(|_| charged(&fixture, &own).unwrap());
        assert_eq!(charged(&fixture, &own), Err((Limit::Hour, 3581)));
        fixture.pass(3580).await;
        assert_eq!(charged(&fixture, &own), Err((Limit::Hour, 1)));
        fixture.pass(1).await;
        charged(&fixture, &own).unwrap();
    }

    #[tokio::test]
    async fn an_owner_has_four_times_the_largest_limit_of_the_active_keys() {
        let fixture = Fixture::new().await;
        let mut keys = Vec::new();
        for _ in 0..5 {
            keys.push(caller(&fixture, of_kind(Kind::Development, "clinic")).await);
        }
        for key in &keys[..4] {
            (0..60).for_each(|_| charged(&fixture, key).unwrap());
        }
        assert_eq!(charged(&fixture, &keys[4]), Err((Limit::Owner, 60)));
        assert_eq!(charged(&fixture, &keys[0]), Err((Limit::Minute, 60)));
        let elsewhere = caller(&fixture, of_kind(Kind::Development, "lab")).await;
        charged(&fixture, &elsewhere).unwrap();

        let production = caller(&fixture, of_kind(Kind::Production, "clinic")).await;
        charged(&fixture, &keys[4]).unwrap();
        fixture.ring.revoke(&production.key_id.unwrap(), Revocation::default(), &CLI).await.unwrap();
        assert_eq!(charged(&fixture, &keys[4]), Err((Limit::Owner, 60)), "only active keys count");

        let end = fixture.clock.now() + SignedDuration::from_secs(30);
        let short = NewKey { expires_at: Some(end), ..of_kind(Kind::Production, "clinic") };
        fixture.make(short).await;
        charged(&fixture, &keys[4]).unwrap();
        fixture.pass(30).await;
        assert_eq!(charged(&fixture, &keys[4]), Err((Limit::Owner, 30)), "and those that have not expired");
    }

    #[tokio::test]
    async fn the_ceiling_holds_for_every_key_and_says_so() {
        let fixture = Fixture::new().await;
        let key = caller(&fixture, of_kind(Kind::Production, "clinic")).await;
        for _ in 0..3 {
            fixture.ring.charge(&key, 3, fixture.clock.now()).unwrap().taken.unwrap();
        }
        let charge = fixture.ring.charge(&key, 3, fixture.clock.now()).unwrap();
        assert_eq!(charge.taken.unwrap_err().limit, Limit::Global);
        assert_eq!(charge.left.ceiling, Some(OfCeiling { per_minute: 3, left: 0 }));
        assert!(
            fixture.ring.charge(&fixture.ring.local_caller(0), 1, fixture.clock.now()).is_none(),
            "no key, no quota"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_at_once_pass_exactly_the_number_of_the_window() {
        let fixture = Fixture::new().await;
        let key = caller(&fixture, of_kind(Kind::Production, "clinic")).await;
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (ring, key, now) = (fixture.ring.clone(), key.clone(), fixture.clock.now());
                tokio::task::spawn_blocking(move || {
                    (0..200).filter(|_| ring.charge(&key, 0, now).unwrap().taken.is_ok()).count()
                })
            })
            .collect();
        let mut passed = 0;
        for client in clients {
            passed += client.await.unwrap();
        }
        assert_eq!(passed, 600);
    }

    #[tokio::test]
    async fn hours_survive_a_restart_up_to_the_last_flush() {
        let mut fixture = Fixture::new().await;
        let mut tokens = Vec::new();
        for _ in 0..5 {
            tokens.push(fixture.make(of_kind(Kind::Development, "clinic")).await.0);
        }
        let holder =
            async |fixture: &Fixture, token: &str| fixture.ring.verify(token, None).await.unwrap().caller;
        let take = async |fixture: &Fixture, times: u32| {
            let key = holder(fixture, &tokens[0]).await;
            (0..times).for_each(|_| charged(fixture, &key).unwrap());
        };
        let hour_left = async |fixture: &Fixture| {
            let key = holder(fixture, &tokens[0]).await;
            fixture.ring.left(key.record().unwrap(), 0).unwrap().in_hour
        };
        take(&fixture, 50).await;
        fixture.ring.flush_usage().await.unwrap();
        fixture.pass(60).await;
        take(&fixture, 7).await;
        fixture.restart().await;
        assert_eq!(hour_left(&fixture).await, 950, "what was not flushed yet is lost, no more");
        take(&fixture, 10).await;
        fixture.ring.flush_usage().await.unwrap();
        fixture.restart().await;
        assert_eq!(hour_left(&fixture).await, 940);

        // The owner's hour too: 4 × 1,000, of which 60 are gone.
        let wide = Limits { per_minute: Some(9999), per_hour: Some(9999), ..Limits::default() };
        let fifth = with_limits(&fixture, &holder(&fixture, &tokens[4]).await, wide);
        let mut passed = 0;
        while charged(&fixture, &fifth).is_ok() {
            passed += 1;
            if passed % 200 == 0 {
                fixture.pass(60).await;
            }
        }
        assert_eq!(passed, 3940);
        assert!(matches!(charged(&fixture, &fifth), Err((Limit::Owner, _))));
    }

    #[tokio::test]
    async fn outcomes_are_added_up_by_hour_and_written_once() {
        let fixture = Fixture::new().await;
        let key = caller(&fixture, of_kind(Kind::Production, "clinic")).await;
        let id = key.key_id.unwrap();
        let note = |outcome| {
            fixture.ring.note(&fixture.ring.charge(&key, 0, fixture.clock.now()).unwrap(), outcome, None)
        };
        note(Outcome::Ok);
        note(Outcome::Scope);
        fixture.ring.flush_usage().await.unwrap();
        fixture.ring.flush_usage().await.unwrap();
        note(Outcome::Ok);
        fixture.pass(3600).await;
        note(Outcome::Ok);
        fixture.ring.note_refusal(Outcome::BadSecret, Some(id), None);
        let first_hour = fixture.clock.now().as_second() / 3600 - 1;
        let expected = [
            (first_hour, Outcome::Ok, 2),
            (first_hour, Outcome::Scope, 1),
            (first_hour + 1, Outcome::Ok, 1),
            (first_hour + 1, Outcome::BadSecret, 1),
        ];
        for _ in 0..2 {
            let mut rows: Vec<_> = fixture.ring.use_by_hour(id, 24).await.unwrap();
            rows.sort_by_key(|row| (row.hour, row.outcome));
            let rows: Vec<_> = rows.iter().map(|row| (row.hour, row.outcome, row.count)).collect();
            assert_eq!(rows, expected);
            fixture.ring.flush_usage().await.unwrap();
        }
        assert_eq!(fixture.ring.use_by_hour(id, 1).await.unwrap().len(), 2);
        fixture.pass(91 * 24 * 3600).await;
        note(Outcome::Ok);
        fixture.ring.flush_usage().await.unwrap();
        assert_eq!(fixture.ring.use_by_hour(id, 100 * 24).await.unwrap().len(), 1, "90 days are kept");
    }

    #[tokio::test]
    async fn what_the_disk_refuses_is_kept_for_later() {
        let fixture = Fixture::new().await;
        let key = caller(&fixture, of_kind(Kind::Development, "clinic")).await;
        let id = key.key_id.unwrap();
        fixture.db.stop_writer().await;
        fixture.ring.note(&fixture.ring.charge(&key, 0, fixture.clock.now()).unwrap(), Outcome::Ok, None);
        fixture.ring.flush_usage().await.unwrap_err();
        let unwritten = fixture.ring.meter(&id).unwrap().unwritten(id);
        assert_eq!((unwritten.windows.len(), unwritten.use_by_hour.len()), (1, 1));
        assert_eq!(fixture.ring.left(key.record().unwrap(), 0).unwrap().in_hour, 999);
    }
}
