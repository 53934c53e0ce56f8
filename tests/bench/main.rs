//! What we claim about speed: the table of the appliance's numbers, measured on this machine.
//!
//! Runs the release program in processes of its own and loads it over loopback from the same
//! machine, so client and server share its cores. Pairs that are compared run in turns within one
//! run. The column "Faxbot" holds what Faxbot 3 gave on a two-core machine; it is not run here.

#![expect(unreachable_pub, reason = "nothing is outside a benchmark; pub marks what its modules share")]

mod history;
#[path = "../it/hostile.rs"]
#[expect(dead_code, reason = "the integration tests try more of them")]
mod hostile;
mod hylafax;
mod load;
mod rows;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use load::{Client, Load, measure};
use pagewire::codec::page::{FaxPage, Resolution};
use pagewire::codec::raster::Bitmap;
use pagewire::codec::tiff;
use pdf_writer::{Content, Name, Pdf, Rect, Ref, Str};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pagewire");
const BOOTSTRAP: &str = "bootstrap-key-of-the-benchmark";
/// What the servers say; the link for the first administrator at each start, if all is well.
const LOG: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/bench-servers.log");
/// How long each load lasts.
const SPAN: Duration = Duration::from_secs(3);
/// Of a paired comparison, how long each turn lasts. Short, so that both halves of a pair see the
/// same machine; what it does beside us changes from second to second.
const TURN: Duration = Duration::from_millis(250);
/// Pairs of each comparison; their median counts.
const TURNS: usize = 40;
/// Before each.
const WARMING: Duration = Duration::from_millis(100);
/// What a start does beside the first requests (it comes after a kill, so the database and the spool are
/// looked through) takes longer the more there is, and is over by then.
const SETTLING: Duration = Duration::from_secs(1);
/// Of the processor times the system tells: `USER_HZ` is 100 on every Linux there is.
const TICKS_PER_SECOND: f64 = 100.0;
/// The same where a document is converted in each.
const CONVERSIONS: usize = 5;
/// A document that takes so long shows enough at once.
const LONG: Duration = Duration::from_secs(20);
/// Rows of the long list.
const ROWS: u32 = 200_000;

fn main() -> ExitCode {
    // `cargo test --benches` builds and runs this too; it asks for nothing but that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let sections: [(&str, fn()); 8] = [
        ("start", start_and_memory),
        ("keys", authentication),
        ("secrets", wrong_secrets),
        ("accept", accepting),
        ("list", long_list),
        ("history", history::long_history),
        ("hylafax", hylafax::beside_hylafax),
        ("documents", others_while_converting),
    ];
    // All of them, or those that are named.
    let named: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = named.iter().find(|name| sections.iter().all(|(known, _)| known != name)) {
        eprintln!("there is no part '{unknown}': {}", sections.map(|(name, _)| name).join(", "));
        return ExitCode::from(2);
    }
    println!("{:52} {:>22} {:>24} {:>22}", "what", "Faxbot", "bar", "measured");
    for (name, measure) in sections {
        if named.is_empty() || named.iter().any(|one| one == name) {
            measure();
        }
    }
    ExitCode::SUCCESS
}

/// The one in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
        Self::start_at(free_address(), data, env)
    }

    fn start_at(address: SocketAddr, data: &Path, env: &[(&str, &str)]) -> Self {
        let metrics = free_address();
        let process = Command::new(PROGRAM)
            .args(["serve", "--route", "loopback", "--listen", &address.to_string(), "--https-listen", ""])
            .arg("--data-dir")
            .arg(data)
            .env_clear()
            .env("API_KEY", BOOTSTRAP)
            .env("PAGEWIRE_LOG", "warn")
            .env("PAGEWIRE_METRICS_LISTEN", metrics.to_string())
            .envs(env.iter().copied())
            .stderr(std::fs::File::options().create(true).append(true).open(LOG).expect("a log"))
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

    /// User and system time so far.
    fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap_or_default();
        // The name, in brackets, may have blanks; times are the 14th and 15th field, proc_pid_stat(5).
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
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

/// Not one of the ports that the system gives to the connections of a load: one of those could take it before the
/// server does. Every other one: HylaFAX sends data from the port below its own, as FTP has it.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], NEXT.fetch_add(2, Ordering::Relaxed)));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
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
    let (server, key) = start_with_key(keyed_data.path());
    let keyed_path = fax_of(&server, Some(&key));
    drop(server);
    let start_open = || Server::start(open_data.path(), &[("REQUIRE_API_KEY", "false")]);
    let open_path = fax_of(&start_open(), None);
    for (keys, connections) in [(1, 1), (1, 8), (1, 64), (100, 8), (10_000, 8)] {
        if keys > 1 {
            rows::add_keys(&keyed_data.path().join("pagewire.db"), keys);
        }
        let (mut with_key, mut without, mut ratios, mut added) = (vec![], vec![], vec![], vec![]);
        let (mut keyed_cpu, mut open_cpu) = (Cpu::default(), Cpu::default());
        // Each pair is started anew, so that no luck of one start is in all of them.
        for turn in 0..TURNS {
            let (server, open_server) = (Server::start(keyed_data.path(), &[]), start_open());
            let mut keyed =
                |span| keyed_cpu.of(&server, connections, span, |client| client.get(&keyed_path, Some(&key)));
            let mut open =
                |span| open_cpu.of(&open_server, connections, span, |client| client.get(&open_path, None));
            std::thread::sleep(SETTLING);
            // Argon2 for this key, once; and whatever else is made at first use.
            server.client().get(&keyed_path, Some(&key)).expect("the key works");
            keyed(WARMING);
            open(WARMING);
            // Now one goes first, now the other.
            let (keyed, open) = if turn % 2 == 0 {
                let keyed = keyed(TURN);
                (keyed, open(TURN))
            } else {
                let open = open(TURN);
                (keyed(TURN), open)
            };
            ratios.push(keyed.per_second() / open.per_second());
            added.push((keyed.p99().as_secs_f64() - open.p99().as_secs_f64()) * 1e6);
            with_key.push(keyed);
            without.push(open);
        }
        let (with_key, without) = (Load::median(with_key), Load::median(without));
        let is_headline = (keys, connections) == (1, 8);
        let bar = if is_headline { ">= 20,000/s, p99 <= 5 ms" } else { "" };
        let faxbot = if is_headline { "10-12/s, p99 1.4 s" } else { "" };
        let what = format!("GET /fax/{{id}}, {connections} connections, {keys} keys");
        row(&what, faxbot, bar, with_key.to_string());
        row("  same handler without authentication", "", "", without.to_string());
        let measured = format!("{:.1} %, p99 {:+.0} us", median(ratios) * 100.0, median(added));
        row("  ratio, median of the pairs", "", ">= 95 %, p99 + 50 us", measured);
        let measured = format!("{:.1} | {:.1} us", keyed_cpu.us_per_request(), open_cpu.us_per_request());
        row("  processor time of the server for a request", "", "", measured);
    }
}

/// What servers' processors did for how many requests.
#[derive(Default)]
struct Cpu {
    seconds: f64,
    requests: usize,
}

impl Cpu {
    /// As [`measure`].
    fn of(
        &mut self,
        server: &Server,
        connections: usize,
        span: Duration,
        request: impl Fn(&mut Client) -> std::io::Result<String> + Sync,
    ) -> Load {
        let before = server.cpu_seconds();
        let load = measure(server.address, connections, span, request);
        self.seconds += server.cpu_seconds() - before;
        self.requests += load.requests();
        load
    }

    fn us_per_request(&self) -> f64 {
        self.seconds * 1e6 / self.requests as f64
    }
}

/// The path of a fax that was just sent.
fn fax_of(server: &Server, key: Option<&str>) -> String {
    let answer = server.client().post_fax(key, "+15551234567", &ready_tiff()).expect("a fax is accepted");
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
    // At most one request in two milliseconds each: more than 2,000/s together, though the system wakes them late.
    let (flooded, refused) = load::paced_during(server.address, SPAN, good, || {
        load::trickles(server.address, 5, SPAN, |client| client.get_refused("/fax", &wrong))
    });
    let ratio = flooded.p99().as_secs_f64() / quiet.p99().as_secs_f64();
    let measured = format!("{:.2} ms ({ratio:.1}x)", flooded.p99().as_secs_f64() * 1e3);
    row(&format!("  p99 of a good key beside {refused:.0}/s of them"), "", "<= 2x", measured);
    row("  argon2 run for them", "", "0", (server.argon2_runs() - runs).to_string());
}

fn accepting() {
    // Kept until the end: some file systems pass over the places of files that were just deleted, one by one, when they
    // make new ones.
    let mut folders = Vec::new();
    for (what, senders, document, faxbot, bar, finished) in [
        ("fax-ready 1-page TIFF", 8, ready_tiff(), "49/s (not durable)", ">= 1,000/s", ">= 500/s"),
        ("fax-ready 1-page TIFF", 32, ready_tiff(), "", ">= 1,000/s", ">= 500/s"),
        ("1-page PDF", 8, one_page_pdf(), "", "", ""),
    ] {
        let data = folders.push_mut(folder());
        let (server, key) = start_with_key(data.path());
        let began = Instant::now();
        let load = post_faxes(&server, &key, &document, senders, SPAN * 2);
        row(&format!("POST /fax, {what}, {senders} parallel"), faxbot, bar, load.to_string());
        let ended = faxes_ended(&server);
        let rate = ended as f64 / began.elapsed().as_secs_f64();
        row("  delivered by loopback meanwhile", "", finished, format!("{rate:.0}/s"));
    }
}

/// Faxes from so many senders at once, to many numbers, since one alone is called once at a time.
fn post_faxes(server: &Server, key: &str, document: &[u8], senders: usize, span: Duration) -> Load {
    let next = AtomicUsize::new(0);
    measure(server.address, senders, span, |client| {
        let number = next.fetch_add(1, Ordering::Relaxed) % 20_000;
        client.post_fax(Some(key), &format!("+1555{number:07}"), document)
    })
}

/// How many faxes have been delivered.
fn faxes_ended(server: &Server) -> u64 {
    let list = server.client().get("/admin/fax-jobs?status=SUCCESS&limit=1", Some(BOOTSTRAP));
    let list: serde_json::Value = serde_json::from_str(&list.expect("a list")).expect("JSON");
    list["total"].as_u64().expect("a total")
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
    row("p99 of /health beside that of the quiet just before", "", "", String::new());
    for (what, faxbot, document) in [
        ("  while a 100-page PDF converts", "deaf 0.96 s", pdf(100)),
        ("  while a PDF of 20,000 pages is judged", "deaf > 140 s", hostile::pdf_of_pages(20_000)),
        ("  1 GiB in nested Flate", "deaf > 140 s", hostile::pdf_nested_flate()),
        ("  an image of 60000 x 60000 in 1 kB", "", hostile::pdf_with_image(60_000, 60_000)),
        ("  exponentially nested forms", "", hostile::pdf_exponential_forms()),
        ("  a MediaBox of 14 million points", "", hostile::pdf_with_media_box("14000000", "14000000")),
    ] {
        let mut sender = server.client();
        let (mut times, mut ratios) = (vec![], vec![]);
        let mut last = String::new();
        for _ in 0..CONVERSIONS {
            let quiet = load::paced(server.address, SPAN, health);
            let began = Instant::now();
            let (busy, ended) = load::paced_during(server.address, SPAN, health, || {
                sender.post_until_ended(&key, &document).expect("an answer to the document")
            });
            times.push(busy.p99().as_secs_f64() * 1e3);
            ratios.push(busy.p99().as_secs_f64() / quiet.p99().as_secs_f64());
            last = ended;
            if began.elapsed() > LONG {
                break;
            }
        }
        let measured = format!("{:.2} ms ({:.1}x), {last}", median(times), median(ratios));
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
