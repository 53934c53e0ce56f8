//! Half a million faxes of history: whether lists, new faxes and other requests notice them, and whether
//! deleting a hundred thousand of them is noticed.

use std::time::{Duration, Instant};

use super::load::{self, Client};
use super::{BOOTSTRAP, SPAN, Server, folder, post_faxes, ready_tiff, row, rows, start_with_key};

/// Faxes of history.
const FAXES: u32 = 500_000;
/// Of them, those whose time is over.
const OVER: u32 = 100_000;
/// Requests whose median counts.
const REQUESTS: usize = 50;

/// Lists, sending and retention with a long history.
pub fn long_history() {
    let (full_data, empty_data) = (folder(), folder());
    let (server, key) = start_with_key(full_data.path());
    drop(server);
    rows::fill(&full_data.path().join("pagewire.db"), FAXES);
    rows::complete(&full_data.path().join("pagewire.db"), OVER);
    let server = Server::start(full_data.path(), &[]);
    for (what, path) in [
        ("500,000 faxes: newest jobs", "/admin/fax-jobs?limit=50"),
        ("  jobs, page 9,000 by offset", "/admin/fax-jobs?limit=50&offset=450000"),
        ("  jobs, deep by cursor", "/admin/fax-jobs?limit=50&cursor=1000"),
        ("  jobs of one status, deep", "/admin/fax-jobs?limit=50&status=FAILED&offset=40000"),
        ("  jobs to a number", "/admin/fax-jobs?limit=50&q=%2B15550012345"),
        ("  jobs of a day", "/admin/fax-jobs?limit=50&from=2024-01-01T00:00:00Z&to=2024-01-02T00:00:00Z"),
        ("  own faxes", "/fax?limit=50"),
        ("  received faxes", "/inbound?limit=50"),
        ("  events", "/events?limit=50"),
        ("  audit log", "/admin/audit?limit=50"),
    ] {
        let time = median_time(&mut server.client(), path);
        row(what, "", "<= 5 ms", format!("{:.2} ms", time.as_secs_f64() * 1e3));
    }

    let (empty, empty_key) = start_with_key(empty_data.path());
    let document = ready_tiff();
    let beside_none = post_faxes(&empty, &empty_key, &document, 8, SPAN);
    let beside_many = post_faxes(&server, &key, &document, 8, SPAN);
    drop(empty);
    let ratio = beside_many.per_second() / beside_none.per_second();
    row("  POST /fax beside an empty history", "", "unaffected", format!("{:.0} %", ratio * 100.0));
    drop(server);

    // Only now, because the first round after a start would delete them before they were listed.
    let server = Server::start(full_data.path(), &[("PAGEWIRE_KEEP_SENT_DAYS", "30")]);
    let good = |client: &mut Client| client.get("/fax?limit=10", Some(&key));
    good(&mut server.client()).expect("the key works");
    let quiet = load::paced(server.address, SPAN, good);
    let (busy, took) = load::paced_during(server.address, SPAN, good, || {
        let began = Instant::now();
        server.client().post_json("/admin/storage/clean", BOOTSTRAP, "{}").expect("they are deleted");
        began.elapsed()
    });
    let ratio = busy.p99().as_secs_f64() / quiet.p99().as_secs_f64();
    let measured = format!("{:.2} ms ({ratio:.1}x)", busy.p99().as_secs_f64() * 1e3);
    row(&format!("  p99 while 100,000 are deleted, in {:.0} s", took.as_secs_f64()), "", "<= 2x", measured);
}

fn median_time(client: &mut Client, path: &str) -> Duration {
    let mut times: Vec<Duration> = (0..REQUESTS)
        .map(|_| {
            let started = Instant::now();
            client.get(path, Some(BOOTSTRAP)).expect("a page of the list");
            started.elapsed()
        })
        .collect();
    times.sort();
    times[REQUESTS / 2]
}
