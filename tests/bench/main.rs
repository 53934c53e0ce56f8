//! What we claim about speed: the table of the appliance's numbers, measured on this machine.
//!
//! Runs the release program in processes of its own and loads it over loopback from the same
//! machine, so client and server share its cores. Pairs that are compared run in turns within one
//! run. The column "Faxbot" holds what Faxbot 3 gave on a two-core machine; it is not run here.

#![expect(unreachable_pub, reason = "nothing is outside a benchmark; pub marks what its modules share")]

#[path = "../it/hostile.rs"]
#[expect(dead_code, reason = "the integration tests try more of them")]
mod hostile;
mod load;
mod rows;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use load::{Client, Load, measure};
use pagewire::codec::page::{FaxPage, Resolution};
use pagewire::codec::raster::Bitmap;
use pagewire::codec::tiff;
use pdf_writer::{Content, Name, Pdf, Rect, Ref, Str};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pagewire");
const BOOTSTRAP: &str = "bootstrap-key-of-the-benchmark";
/// How long each load lasts.
const SPAN: Duration = Duration::from_secs(3);
/// Turns of each paired comparison.
const TURNS: usize = 3;
/// Rows of the long list.
const ROWS: u32 = 200_000;

fn main() {
    // `cargo test --benches` builds and runs this too; it asks for nothing but that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("{:52} {:>22} {:>24} {:>22}", "what", "Faxbot", "bar", "measured");
    start_and_memory();
    authentication();
    wrong_secrets();
    accepting();
    long_list();
    others_while_converting();
}

fn row(what: &str, faxbot: &str, bar: &str, measured: String) {
    println!("{what:52} {faxbot:>22} {bar:>24} {measured:>22}");
}

/// A server on its own folder.
struct Server {
    process: Child,
    address: SocketAddr,
    metrics: SocketAddr,
}

impl Server {
    fn start(data: &Path, env: &[(&str, &str)]) -> Self {
        let (address, metrics) = (free_address(), free_address());
        let process = Command::new(PROGRAM)
            .args(["serve", "--route", "loopback", "--listen", &address.to_string(), "--https-listen", ""])
            .arg("--data-dir")
            .arg(data)
            .env_clear()
            .env("API_KEY", BOOTSTRAP)
            .env("PAGEWIRE_LOG", "warn")
            .env("PAGEWIRE_METRICS_LISTEN", metrics.to_string())
            .envs(env.iter().copied())
            .spawn()
            .expect("the program starts");
        let server = Self { process, address, metrics };
        server.wait_until_up();
        server
    }

    fn wait_until_up(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Client::connect(self.address).and_then(|mut client| client.get("/health", None)).is_err() {
            assert!(Instant::now() < deadline, "the server did not come up");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.address).expect("the server takes connections")
    }

    fn new_key(&self) -> String {
        let answer = self.client().post_json("/admin/api-keys", BOOTSTRAP, r#"{"name":"bench"}"#);
        field(&answer.expect("a key is made"), "token")
    }

    /// How often argon2 ran since the start.
    fn argon2_runs(&self) -> u64 {
        let metrics = Client::connect(self.metrics).and_then(|mut client| client.get("/metrics", None));
        let metrics = metrics.expect("the metrics are served");
        let line = metrics.lines().find_map(|line| line.strip_prefix("pagewire_argon2_runs_total "));
        line.map_or(0, |count| count.parse().expect("a count"))
    }

    fn resident_mb(&self) -> f64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    listener.local_addr().expect("its address")
}

fn field(json: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap_or_else(|_| panic!("not JSON: {json}"));
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A server with a key whose quotas no load reaches.
fn start_with_key(data: &Path) -> (Server, String) {
    let server = Server::start(data, &[]);
    let key = server.new_key();
    drop(server);
    rows::lift_limits(&data.join("pagewire.db"));
    (Server::start(data, &[]), key)
}

fn start_and_memory() {
    let data = folder();
    drop(Server::start(data.path(), &[]));
    let mut times: Vec<Duration> = (0..11)
        .map(|_| {
            let started = Instant::now();
            let server = Server::start(data.path(), &[]);
            let took = started.elapsed();
            drop(server);
            took
        })
        .collect();
    times.sort();
    row("cold start to first 200", "1.83 s", "<= 50 ms", format!("{:.0} ms", times[5].as_secs_f64() * 1e3));
    let server = Server::start(data.path(), &[]);
    row("idle RSS", "84 MB", "<= 20 MB", format!("{:.1} MB", server.resident_mb()));
}

/// `GET /fax/{id}` with a database key beside the same handler without authentication.
fn authentication() {
    let (keyed_data, open_data) = (folder(), folder());
    let (keyed, key) = start_with_key(keyed_data.path());
    let open = Server::start(open_data.path(), &[("REQUIRE_API_KEY", "false")]);
    let keyed_path = fax_of(&keyed, Some(&key));
    let open_path = fax_of(&open, None);
    let mut keyed = Some(keyed);
    for (keys, connections) in [(1, 1), (1, 8), (1, 64), (100, 8), (10_000, 8)] {
        // One start for each number of keys; the rows are written while nobody reads them.
        if keys > 1 {
            drop(keyed.take());
            rows::add_keys(&keyed_data.path().join("pagewire.db"), keys);
        }
        let server = keyed.get_or_insert_with(|| Server::start(keyed_data.path(), &[]));
        // Argon2 for this key, once.
        server.client().get(&keyed_path, Some(&key)).expect("the key works");
        let (mut with_key, mut without) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            with_key.push(measure(server.address, connections, SPAN, |client| {
                client.get(&keyed_path, Some(&key))
            }));
            without.push(measure(open.address, connections, SPAN, |client| client.get(&open_path, None)));
        }
        let (with_key, without) = (Load::best(with_key), Load::best(without));
        let is_headline = (keys, connections) == (1, 8);
        let bar = if is_headline { ">= 20,000/s, p99 <= 5 ms" } else { "" };
        let faxbot = if is_headline { "10-12/s, p99 1.4 s" } else { "" };
        let what = format!("GET /fax/{{id}}, {connections} connections, {keys} keys");
        row(&what, faxbot, bar, with_key.to_string());
        row("  same handler without authentication", "", "", without.to_string());
        let ratio = with_key.per_second() / without.per_second();
        let added = with_key.p99().saturating_sub(without.p99());
        let measured = format!("{:.1} %, p99 + {} us", ratio * 100.0, added.as_micros());
        row("  ratio", "", ">= 95 %, p99 + 50 us", measured);
    }
}

/// The path of a fax that was just sent.
fn fax_of(server: &Server, key: Option<&str>) -> String {
    let answer = server.client().post_fax(key, &ready_tiff()).expect("a fax is accepted");
    format!("/fax/{}", field(&answer, "id"))
}

fn wrong_secrets() {
    let data = folder();
    let (server, known) = start_with_key(data.path());
    let other = server.new_key();
    // With a right checksum, so that they are refused where wrong secrets are and not as typos.
    let wrong = load::with_checksum(&format!("{}{}", &known[..22], &other[22..65]));
    let unknown = load::with_checksum(&format!("fbk_live_0123456789ab_{}", &other[22..65]));
    let load = measure(server.address, 8, SPAN, |client| client.get_refused("/fax", &wrong));
    row(
        "wrong secret for a known id, 8 connections",
        "10/s, 46 ms CPU each",
        ">= 20,000/s",
        load.to_string(),
    );
    let [wrong_time, unknown_time] = load::side_by_side(server.address, 100_000, [&wrong, &unknown]);
    row(
        "  wrong secret | unknown id, median of 100,000 each",
        "",
        "the same",
        format!("{:.1} | {:.1} us", wrong_time.as_secs_f64() * 1e6, unknown_time.as_secs_f64() * 1e6),
    );
    let good = |client: &mut Client| client.get("/fax", Some(&known));
    good(&mut server.client()).expect("the key works");
    let runs = server.argon2_runs();
    let quiet = load::paced(server.address, SPAN, good);
    // Four connections at one request in two milliseconds each.
    let (flooded, refused) = load::paced_during(server.address, SPAN, good, || {
        load::trickles(server.address, 4, SPAN, |client| client.get_refused("/fax", &wrong))
    });
    let ratio = flooded.p99().as_secs_f64() / quiet.p99().as_secs_f64();
    let measured = format!("{:.2} ms ({ratio:.1}x)", flooded.p99().as_secs_f64() * 1e3);
    row(&format!("  p99 of a good key beside {refused:.0}/s of them"), "", "<= 2x", measured);
    row("  argon2 run for them", "", "0", (server.argon2_runs() - runs).to_string());
}

fn accepting() {
    for (what, document, faxbot, bar) in [
        ("POST /fax, fax-ready 1-page TIFF, 8 parallel", ready_tiff(), "49/s (not durable)", ">= 1,000/s"),
        ("POST /fax, 1-page PDF, 8 parallel", one_page_pdf(), "", ""),
    ] {
        let data = folder();
        let (server, key) = start_with_key(data.path());
        let load = measure(server.address, 8, SPAN * 2, |client| client.post_fax(Some(&key), &document));
        row(what, faxbot, bar, load.to_string());
    }
}

fn long_list() {
    let data = folder();
    drop(Server::start(data.path(), &[]));
    rows::fill(&data.path().join("pagewire.db"), ROWS);
    let server = Server::start(data.path(), &[]);
    let mut client = server.client();
    for (what, query, faxbot) in [
        ("job list, 200,000 rows: first page", "limit=50", "243 ms"),
        ("  page 3,000 by offset", "limit=50&offset=150000", "614 ms"),
        ("  last page by offset", "limit=50&offset=199950", ""),
        ("  deep by cursor", "limit=50&cursor=1000", ""),
        ("  one status, deep", "limit=50&status=FAILED&offset=20000", ""),
    ] {
        let path = format!("/admin/fax-jobs?{query}");
        let mut times: Vec<Duration> = (0..50)
            .map(|_| {
                let started = Instant::now();
                client.get(&path, Some(BOOTSTRAP)).expect("a page of the list");
                started.elapsed()
            })
            .collect();
        times.sort();
        row(what, faxbot, "<= 5 ms any page", format!("{:.2} ms", times[25].as_secs_f64() * 1e3));
    }
}

/// p99 of `/health` while documents are converted, beside a quiet moment: a long one, and such as
/// are made to harm.
fn others_while_converting() {
    let data = folder();
    let server = Server::start(data.path(), &[]);
    let key = server.new_key();
    let health = |client: &mut Client| client.get("/health", None);
    // A steady trickle, as people make it: a flood would measure itself.
    let quiet = load::paced(server.address, SPAN, health);
    row("p99 of /health, quiet", "", "", format!("{:.2} ms", quiet.p99().as_secs_f64() * 1e3));
    for (what, faxbot, document) in [
        ("  while a 100-page PDF converts", "deaf 0.96 s", pdf(100)),
        ("  while a PDF of 20,000 pages is judged", "deaf > 140 s", hostile::pdf_of_pages(20_000)),
        ("  1 GiB in nested Flate", "deaf > 140 s", hostile::pdf_nested_flate()),
        ("  an image of 60000 x 60000 in 1 kB", "", hostile::pdf_with_image(60_000, 60_000)),
        ("  exponentially nested forms", "", hostile::pdf_exponential_forms()),
        ("  a MediaBox of 14 million points", "", hostile::pdf_with_media_box("14000000", "14000000")),
    ] {
        let mut sender = server.client();
        let (busy, ended) = load::paced_during(server.address, SPAN, health, || {
            sender.post_until_ended(&key, &document).expect("an answer to the document")
        });
        let ratio = busy.p99().as_secs_f64() / quiet.p99().as_secs_f64();
        let measured = format!("{:.2} ms ({ratio:.1}x), {ended}", busy.p99().as_secs_f64() * 1e3);
        row(what, faxbot, "<= 2x, ended in 35 s", measured);
    }
}

/// A page of text-like marks as a TIFF that needs no conversion.
fn ready_tiff() -> Vec<u8> {
    let mut page = Bitmap::white(1728, 2156);
    for line in 0..40 {
        for letter in 0..60 {
            for y in 0..18 {
                for x in 0..(4 + (line * 7 + letter * 13) % 11) {
                    page.set_black(150 + letter * 24 + x, 150 + line * 45 + y);
                }
            }
        }
    }
    tiff::write(&[FaxPage::from_bitmap(&page, Resolution::FINE)])
}

fn one_page_pdf() -> Vec<u8> {
    pdf(1)
}

/// A PDF of pages full of text.
fn pdf(pages: i32) -> Vec<u8> {
    let mut pdf = Pdf::new();
    let (catalog, tree, font) = (Ref::new(1), Ref::new(2), Ref::new(3));
    let ids: Vec<Ref> = (0..pages).map(|index| Ref::new(10 + 2 * index)).collect();
    pdf.catalog(catalog).pages(tree);
    pdf.pages(tree).kids(ids.iter().copied()).count(pages);
    pdf.type1_font(font).base_font(Name(b"Helvetica"));
    for &id in &ids {
        let content_id = Ref::new(id.get() + 1);
        let mut page = pdf.page(id);
        page.parent(tree).media_box(Rect::new(0.0, 0.0, 612.0, 792.0)).contents(content_id);
        page.resources().fonts().pair(Name(b"F"), font);
        drop(page);
        let mut content = Content::new();
        content.begin_text().set_font(Name(b"F"), 11.0).set_leading(14.0).next_line(72.0, 720.0);
        for line in 0..45 {
            content.show(Str(
                format!("Line {line}: the quick brown fox jumps over the lazy dog, {id:?}").as_bytes()
            ));
            content.next_line_using_leading();
        }
        content.end_text();
        pdf.stream(content_id, &content.finish());
    }
    pdf.finish()
}
