//! The guard against mis-dialled faxes, with the real database behind it.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::*;
use crate::fax::contact::Contact;
use crate::fax::number::FaxNumber;
use crate::fax::policy;
use crate::fax::second_look::{FoundIn, Kind, Settings};
use crate::fax::transition::Alteration;
use crate::id::ContactId;
use crate::queue::tests::{Site, admin};

const PHARMACY: &str = "+15552017788";
const MISTYPED: &str = "+15552017789";

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

async fn site(folder: &std::path::Path, rule: &str) -> Site {
    let second_look: Settings = rule.parse().unwrap();
    Site::open(folder, now(), policy::Settings { second_look, ..policy::Settings::default() }).await
}

async fn know(site: &Site, number: &str, name: &str) {
    let contact = Contact {
        id: ContactId::new(),
        name: name.into(),
        number: number.parse().unwrap(),
        note: None,
        created_at: now(),
        updated_at: now(),
    };
    site.db.put_contact(contact).await.unwrap();
}

/// What is striking about a number on the line.
async fn look(site: &Site, number: &str) -> Option<(Kind, Option<FoundIn>)> {
    let look = site.queue.second_look("line1", &number.parse().unwrap()).await.unwrap();
    look.map(|look| (look.kind, look.found_in))
}

#[tokio::test]
async fn what_is_near_a_known_number_is_asked_about_once() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), "near_miss").await;
    know(&site, PHARMACY, "Oak Street Pharmacy").await;
    let book = Some(FoundIn::Contacts);
    for (number, expected) in [
        (PHARMACY, None),
        (MISTYPED, Some((Kind::OneDigit, book))),
        ("+15550217788", Some((Kind::Swapped, book))),
        ("+15552017700", None),
        ("+15559990000", None),
    ] {
        assert_eq!(look(&site, number).await, expected, "{number}");
    }
    // Routes that cost nothing reach nobody outside.
    let on_loopback = site.queue.second_look("loopback", &MISTYPED.parse().unwrap()).await.unwrap();
    assert_eq!(on_loopback, None);

    let first = site.send("line1", MISTYPED).await.unwrap();
    let second = site.send("line1", MISTYPED).await.unwrap();
    let by_hand = site.send("line1", "+15559990000").await.unwrap();
    site.queue.hold(by_hand, &admin()).await.unwrap().unwrap();
    assert!(site.job(first).is_to_be_looked_at() && site.job(second).is_to_be_looked_at());
    site.queue.release(first, &admin()).await.unwrap().unwrap();
    for (id, state) in [(first, State::Queued), (second, State::Queued), (by_hand, State::Held)] {
        assert_eq!(site.job(id).state, state);
    }
    assert_eq!(look(&site, MISTYPED).await, None, "it is not asked about again");
    let again = site.send("line1", MISTYPED).await.unwrap();
    assert_eq!(site.job(again).state, State::Queued);
    // A fax that was held by hand says nothing of its number.
    site.queue.release(by_hand, &admin()).await.unwrap().unwrap();
    know(&site, "+15559990001", "Elsewhere").await;
    assert!(look(&site, "+15559990000").await.is_some());
    let told = site.db.events_after(0, 100).await.unwrap();
    let told: Vec<_> = told.iter().filter(|logged| logged.event.kind == "fax.second_look").collect();
    assert_eq!(told.len(), 2);
    let data = told[0].event.data.to_string();
    assert!(data.contains("one_digit") && !data.contains("Oak") && !data.contains("7788"), "{data}");
}

#[tokio::test]
async fn a_corrected_number_goes_and_a_new_mistake_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), "near_miss").await;
    know(&site, PHARMACY, "Oak Street Pharmacy").await;
    let id = site.send("line1", MISTYPED).await.unwrap();
    let to = |number: &str| Alteration {
        to: Some((number.into(), number.parse().unwrap())),
        ..Alteration::default()
    };
    let alter = async |number| {
        site.queue.alter(&site.job(id), to(number), None, &admin()).await.unwrap().unwrap();
        let job = site.job(id);
        (job.state, job.is_to_be_looked_at())
    };
    assert_eq!(alter(PHARMACY).await, (State::Queued, false));
    assert_eq!(alter("+15552017787").await, (State::Held, true));
    assert_eq!(alter(PHARMACY).await, (State::Queued, false));
    assert!(look(&site, MISTYPED).await.is_some(), "nobody said that it is right");
}

#[tokio::test]
async fn deliveries_of_the_last_30_days_count_as_known() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), "first_time").await;
    assert_eq!(look(&site, "+15005550000").await, Some((Kind::FirstTime, None)));
    let id = site.send("line1", "+15005550000").await.unwrap();
    site.queue.release(id, &admin()).await.unwrap().unwrap();
    site.queue.start();
    site.until(id, |job| job.state == State::Delivered).await;
    assert_eq!(look(&site, "+15005550000").await, None);
    let near = Some((Kind::OneDigit, Some(FoundIn::Deliveries)));
    assert_eq!(look(&site, "+15005550009").await, near);
    site.queue.stop(Duration::ZERO).await;
    site.clock.work().sleep(Duration::from_hours(31 * 24)).await;
    assert_eq!(look(&site, "+15005550009").await, Some((Kind::FirstTime, None)));
    assert_eq!(look(&site, "+15005550000").await, None, "what was confirmed stays so");
}

#[tokio::test]
async fn a_book_of_20_000_numbers_costs_no_more_than_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), "near_miss").await;
    let numbers: Vec<FaxNumber> =
        (0..200).map(|n| format!("+1777{:07}", n * 49_999).parse().unwrap()).collect();
    let measure = async || {
        let began = Instant::now();
        let looks = site.queue.second_looks("line1", numbers.clone()).await.unwrap();
        (began.elapsed(), looks.iter().flatten().count())
    };
    measure().await;
    let (empty, none) = measure().await;
    for n in 0..20_000_u32 {
        // Apart from one in a hundred, nowhere near the numbers that are asked for.
        let number =
            if n % 100 == 0 { format!("+1777{:07}", n / 100 * 49_999 + 1) } else { format!("+1888{n:07}") };
        know(&site, &number, "x").await;
    }
    let (full, near) = measure().await;
    eprintln!("200 second looks: {empty:?} beside an empty book, {full:?} beside 20,000 entries");
    assert_eq!(none, 0);
    assert!(near > 150, "{near}");
    assert!(full < empty * 5 + Duration::from_millis(200), "{empty:?} and {full:?}");
}
