//! How a call is tried again in another way: down the ladder where the machines did not get along,
//! and with pages made again where the other one could not take them.

use std::time::Duration;

use jiff::SignedDuration;
use pagewire::codec::compatible::is_compatible;
use pagewire::fax::attempt::{Attempt, Carriage};
use pagewire::fax::job::State;
use pagewire::fax::outcome::Class;

use crate::queue::{Site, fax, start};

fn carriage(transport: &str, bit_rate: u32, ecm: bool) -> Carriage {
    Carriage { transport: Some(transport.into()), bit_rate: Some(bit_rate), ecm: Some(ecm) }
}

fn ways(attempts: &[Attempt]) -> Vec<Carriage> {
    attempts.iter().map(|attempt| attempt.carriage.clone()).collect()
}

#[tokio::test]
async fn each_call_to_a_number_that_never_trains_gives_up_one_thing_more() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start()).await;
    site.queue.start();
    let id = site.submit(fax("+15005550006", "simulator", 1)).await;
    let (_, attempts) = site.end_of(id).await;
    let steps =
        [carriage("t38", 14_400, true), carriage("audio", 14_400, true), carriage("audio", 9600, true)];
    assert_eq!(ways(&attempts), steps);
    let trace = site.queue.trace(id, 3).await.unwrap().unwrap();
    let notes = |frame: &str| -> Vec<String> {
        trace.iter().filter(|entry| entry.frame == frame).filter_map(|entry| entry.note.clone()).collect()
    };
    assert_eq!(notes("INVITE"), ["audio"]);
    let speeds = [9600, 4800, 2400].map(|speed| format!("{speed} bit/s, with error correction"));
    assert_eq!(notes("DCS"), speeds);
    // The next fax goes on where this one stopped.
    let (_, attempts) = site.end_of(site.submit(fax("+15005550006", "simulator", 1)).await).await;
    assert_eq!(ways(&attempts), vec![carriage("audio", 9600, false); 3]);
    // What is known of one number says nothing about another one.
    let (_, attempts) = site.end_of(site.submit(fax("+15005550000", "simulator", 1)).await).await;
    assert_eq!(ways(&attempts), [carriage("t38", 14_400, true)]);
    site.queue.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn pages_that_are_refused_are_made_again_once() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::open(folder.path(), start()).await;
    site.queue.start();
    let id = site.submit(fax("+15005550011", "simulator", 2)).await;
    let waiting = site.until(id, |job| job.state == State::Waiting).await;
    let again = site.queue.pages(&site.job(id)).await.unwrap();
    assert!(waiting.is_reimaged && again.iter().all(is_compatible));
    let human = waiting.outcome.unwrap().human;
    let said = "The other machine cannot take page 1. The pages are made again in standard resolution.";
    assert!(human.starts_with(said), "{human}");
    let (job, attempts) = site.end_of(id).await;
    assert_eq!((job.state, job.sent_resolution(), job.counters.tries), (State::Delivered, "standard", 2));
    let classes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome.as_ref().unwrap().class).collect();
    assert_eq!(classes, [Class::Incompatible, Class::Delivered]);
    let waited = attempts[1].started_at.duration_since(attempts[0].ended_at.unwrap());
    assert_eq!(waited, SignedDuration::from_mins(1));
    let stored: Vec<u32> = site.queue.pages(&job).await.unwrap().iter().map(|page| page.height).collect();
    assert_eq!(stored, [50, 51], "half of 100 and of 101 rows");
    site.queue.stop(Duration::ZERO).await;
}
