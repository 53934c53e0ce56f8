//! What becomes of a fax when another machine answers than the one that is known at its number.

use std::time::Duration;

use hyper::Method;
use jiff::{SignedDuration, Timestamp};
use pagewire::fax::job::State;
use pagewire::fax::outcome::Class;
use pagewire::fax::policy::Settings;
use pagewire::fax::retention::Rules;
use pagewire::fax::station::Check;
use pagewire::queue::Tuning;
use serde_json::{Value, json};

use crate::queue::{Site, fax, start};
use crate::support::{BOOTSTRAP, Serve, pdf};

/// Its machine calls itself differently once it is known.
const NUMBER: &str = "+15005550010";

async fn site(folder: &std::path::Path, station_check: Check) -> Site {
    site_at(folder, start(), station_check).await
}

async fn site_at(folder: &std::path::Path, now: Timestamp, station_check: Check) -> Site {
    let site = Site::open(folder, now).await;
    site.queue.tune(Tuning {
        station_id: "TEST SITE".into(),
        policy: Settings { station_check, ..Settings::default() },
        rules: Rules { stop_sends_percent: 100, ..Rules::default() },
    });
    site.queue.start();
    site
}

async fn told(site: &Site) -> Vec<String> {
    let all = site.db.events_after(0, 1000).await.unwrap();
    assert!(!all.iter().any(|logged| logged.event.data.to_string().contains("SIMULATOR")));
    all.into_iter().map(|logged| logged.event.kind).filter(|kind| kind.contains("station")).collect()
}

#[tokio::test]
async fn a_fax_goes_on_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), Check::Warn).await;
    let (first, _) = site.end_of(site.submit(fax(NUMBER, "simulator", 1)).await).await;
    assert_eq!((first.state, first.other_station), (State::Delivered, None));
    let (second, attempts) = site.end_of(site.submit(fax(NUMBER, "simulator", 1)).await).await;
    let other = second.other_station.unwrap();
    assert_eq!(second.state, State::Delivered);
    assert_eq!((other.answered.as_str(), other.known.as_str()), ("ANOTHER SIMULATOR", "PAGEWIRE SIMULATOR"));
    assert_eq!(attempts[0].remote_station_id.as_deref(), Some("ANOTHER SIMULATOR"));
    assert_eq!(told(&site).await, ["fax.other_station"]);
    // It is the one that is known from now on.
    let (third, _) = site.end_of(site.submit(fax(NUMBER, "simulator", 1)).await).await;
    assert_eq!(third.other_station, None);
    // The inbox is another way, and says nothing about the telephone number.
    let (here, _) = site.end_of(site.submit(fax("+15550000001", "loopback", 1)).await).await;
    assert_eq!((here.state, here.other_station), (State::Delivered, None));
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn what_is_older_than_30_days_or_not_asked_for_raises_no_alarm() {
    for (check, days) in [(Check::Hold, 31), (Check::Off, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let first = site_at(folder.path(), start(), check).await;
        first.end_of(first.submit(fax(NUMBER, "simulator", 1)).await).await;
        first.queue.stop(Duration::ZERO).await;
        drop(first);
        let later = site_at(folder.path(), start() + SignedDuration::from_hours(days * 24), check).await;
        let (second, _) = later.end_of(later.submit(fax(NUMBER, "simulator", 1)).await).await;
        assert_eq!((second.state, second.other_station), (State::Delivered, None), "{check:?}");
        assert!(told(&later).await.is_empty());
        later.queue.stop(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn a_call_ends_before_its_first_page_and_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let site = site(folder.path(), Check::Hold).await;
    site.end_of(site.submit(fax(NUMBER, "simulator", 1)).await).await;
    let id = site.submit(fax(NUMBER, "simulator", 1)).await;
    let held = site.until(id, |job| job.state == State::Held).await;
    assert_eq!((held.counters.dials, held.counters.tries, held.confirmed_pages), (0, 0, 0));
    let attempts = site.queue.attempts(id).await.unwrap();
    assert_eq!(attempts[0].outcome.as_ref().unwrap().class, Class::OtherStation);
    assert!(attempts[0].answered_at.is_some() && attempts[0].first_data_at.is_none());
    let trace = site.queue.trace(id, 1).await.unwrap().unwrap();
    assert_eq!(trace.last().unwrap().frame, "DCN");
    assert!(!trace.iter().any(|entry| entry.frame.starts_with("page")));
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn whoever_has_looked_lets_it_go_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "simulator", &[("PAGEWIRE_STATION_ID_CHECK", "hold")]).await;
    let http = &serve.http;
    let new = json!({ "name": "sender", "owner": "service:sender", "scopes": ["fax:send", "fax:read"] });
    let made = http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200).json();
    let sender = made["token"].as_str().unwrap();
    let send = async || {
        let fax = http.send_fax(sender, NUMBER, &pdf(1)).await.expect(202).json();
        fax["id"].as_str().unwrap().to_owned()
    };
    let first = http.finished(sender, &send().await).await;
    assert_eq!((&first["state"], &first["warning"]), (&json!("delivered"), &Value::Null));

    let id = send().await;
    let mut fax = Value::Null;
    while fax["state"] != "held" {
        fax = http.get(&format!("/fax/{id}?wait=20"), sender).await.expect(200).json();
    }
    let names =
        "The machine that answered calls itself ANOTHER SIMULATOR; until now it was PAGEWIRE SIMULATOR.";
    assert_eq!(fax["warning"], format!("{names} Check the number."));
    assert_eq!(fax["waiting_for"], format!("{names} Check the number, then release the fax or correct it."));
    assert_eq!(
        (&fax["modifier"], &fax["dials"], &fax["tries"]),
        (&json!("second_look"), &json!(0), &json!(0))
    );
    assert_eq!(fax["outcome"]["class"], "other_station");
    assert_eq!(fax["outcome"]["who_acts"], "sender");

    let released =
        http.json(Method::POST, &format!("/fax/{id}/release"), sender, json!({})).await.expect(200);
    assert_eq!((&released.json()["state"], &released.json()["warning"]), (&json!("queued"), &Value::Null));
    let sent = http.finished(sender, &id).await;
    assert_eq!(
        (&sent["state"], &sent["dials"], &sent["warning"]),
        (&json!("delivered"), &json!(1), &Value::Null)
    );
    assert_eq!(serve.terminate(), Some(0));
}
