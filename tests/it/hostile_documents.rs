//! Documents made to harm: each ends within its time, the server's memory stays flat, and others
//! notice nothing.

use std::time::{Duration, Instant};

use hyper::Method;

use crate::hostile;
use crate::support::{Demo, Http};

/// A bad document is refused, or accepted and failed, within this time.
const TIME: Duration = Duration::from_secs(35);
/// The server itself may grow by this much, in kB: the upload and its copies, never its content.
const GROWTH_KB: u64 = 60_000;

/// What is tried, by name.
fn documents() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a PDF of 20,000 pages", hostile::pdf_of_pages(20_000)),
        ("1 GiB of white space in 2 kB of nested Flate", hostile::pdf_nested_flate()),
        ("an image of 60000 x 60000 in 1 kB", hostile::pdf_with_image(60_000, 60_000)),
        ("exponentially nested forms", hostile::pdf_exponential_forms()),
        ("a form that draws itself", hostile::pdf_recursive_form()),
        ("a MediaBox of 14 million points", hostile::pdf_with_media_box("14000000", "14000000")),
        ("a MediaBox that is no number", hostile::pdf_with_media_box("nan", "-1")),
        ("tiles of a millionth", hostile::pdf_with_tiny_tiles()),
        ("arrays 100,000 deep", hostile::pdf_with_nested_arrays(100_000)),
        ("a PNG of 60000 x 60000", hostile::png_of_size(60_000, 60_000)),
        ("a JPEG of 65535 x 65535", hostile::jpeg_of_largest_size()),
        ("a TIFF whose pages go in a circle", hostile::tiff_with_looping_pages()),
        ("a TIFF of 60000 x 60000", hostile::tiff_of_size(60_000, 60_000)),
        ("a text of 100,000 pages", hostile::text_of_pages(100_000)),
    ]
}

fn resident_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Times of `/health` while `work` runs: the slowest of all.
async fn slowest_health(http: Http, until: tokio::sync::watch::Receiver<bool>) -> Duration {
    let mut connection = http.connect().await;
    let mut slowest = Duration::ZERO;
    while !*until.borrow() {
        let started = Instant::now();
        connection.call(Method::GET, "/health", &[], "").await.unwrap().expect(200);
        slowest = slowest.max(started.elapsed());
        tokio::task::yield_now().await;
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_ends_in_time_and_nobody_else_notices() {
    let demo = Demo::start();
    let before = resident_kb(demo.pid());
    let (done, until) = tokio::sync::watch::channel(false);
    let health = tokio::spawn(slowest_health(demo.http.clone(), until));
    for (name, document) in documents() {
        let started = Instant::now();
        let answer = demo.http.send_fax(&demo.api_key, "+15551234567", &document).await;
        let ending = match answer.status {
            422 => answer.json()["detail"].as_str().unwrap().to_owned(),
            202 => {
                let id = answer.json()["id"].as_str().unwrap().to_owned();
                let fax = demo.http.finished(&demo.api_key, &id).await;
                // Some are harmless once their loops are cut: then they are faxes like others.
                let class = fax["outcome"]["class"].as_str().unwrap();
                let is_harmless = class == "delivered" && !name.contains("Flate");
                assert!(class == "document" || is_harmless, "{name}: {fax}");
                fax["outcome"]["human"].as_str().unwrap().to_owned()
            }
            other => panic!("{name}: status {other}: {:?}", answer.body),
        };
        let took = started.elapsed();
        eprintln!("{name}: {} in {:.1} s: {ending}", answer.status, took.as_secs_f64());
        assert!(took < TIME, "{name} took {took:?}");
        assert!(ending.ends_with('.'), "{name}: {ending:?}");
        let now = resident_kb(demo.pid());
        assert!(now < before + GROWTH_KB, "{name}: the server grew from {before} to {now} kB");
    }
    done.send(true).unwrap();
    // A deaf server stands still for seconds; a busy machine for far less.
    let slowest = health.await.unwrap();
    assert!(slowest < Duration::from_secs(2), "somebody else waited {slowest:?}");
    let good = demo.http.send_fax(&demo.api_key, "+15551234567", b"still alive").await.expect(202).json();
    assert_eq!(demo.http.finished(&demo.api_key, good["id"].as_str().unwrap()).await["status"], "SUCCESS");
}
