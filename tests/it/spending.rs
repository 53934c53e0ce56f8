//! What a stolen production key can cost: used flat out for a day on a line that spends, through
//! the whole of `POST /fax`, under a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::Method;
use jiff::{SignedDuration, Timestamp};
use metrics_exporter_prometheus::PrometheusBuilder;
use pagewire::app::{App, Parts};
use pagewire::audit::Audit;
use pagewire::auth::people::People;
use pagewire::auth::{self, Actor, Bootstrap, KeyRing, NewKey};
use pagewire::clock::{Clock, Work};
use pagewire::config::{Config, RouteName};
use pagewire::convert::{Converter, Settings};
use pagewire::db::{self, Db};
use pagewire::fax::attempt::{CallEnd, PageConfirmation};
use pagewire::fax::job::State;
use pagewire::fax::number::FaxNumber;
use pagewire::fax::outcome::Fault;
use pagewire::fax::retention::Rules;
use pagewire::http;
use pagewire::http::server::Server;
use pagewire::id::{AttemptId, JobId};
use pagewire::inbound::Inbox;
use pagewire::mail::Post;
use pagewire::net::http_client::HttpClient;
use pagewire::queue::{self, Line, Queue};
use pagewire::route::{BoxFuture, Call, EndEarly, Route, Settled};
use pagewire::sealing::Sealing;
use pagewire::secret::Secret;
use pagewire::spool::Spool;
use pagewire::webhooks::Webhooks;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::{BOOTSTRAP, Connection, Http, PROGRAM, form, free_address};

/// Channels of the trunk.
const CHANNELS: u32 = 8;
/// What production keys have by default.
const PER_MINUTE: u32 = 600;
const PER_HOUR: u32 = 10_000;
const PAGES_PER_DAY: u32 = 200;
const NEW_NUMBERS_PER_DAY: usize = 20;
/// Dials of one fax at most.
const MOST_DIALS: usize = 12;
/// Longest times of the line, in seconds: until somebody answers, tones and training, a page with
/// its confirmation.
const RING_S: u64 = 25;
const HANDSHAKE_S: u64 = 15;
const PAGE_S: u64 = 55;

/// One dial, as the telephone company would bill it.
#[derive(Clone, Debug)]
struct Dial {
    job: JobId,
    at: Timestamp,
    to: String,
    connected_s: u64,
    pages: u32,
}

/// A line that costs money, with the times of a real one. The last digit of a number tells how it
/// ends, as on the simulator: 1 busy in the first call, 2 nobody answers, 5 hangs up on the second
/// page of the first call; all others take everything.
#[derive(Clone, Default)]
struct Trunk {
    bill: Arc<Mutex<Vec<Dial>>>,
}

impl Trunk {
    fn bill(&self) -> Vec<Dial> {
        self.bill.lock().unwrap().clone()
    }

    async fn carry(&self, call: &Call, dial: &mut Dial, work: &mut Work) -> Result<CallEnd, EndEarly> {
        let pass = async |work: &mut Work, seconds: u64| {
            call.hang_up.sleep(work, &call.clock, Duration::from_secs(seconds)).await
        };
        let (is_first, digit) = (call.attempt_number == 1, dial.to.chars().last());
        match digit {
            Some('1') if is_first => {
                pass(work, 4).await?;
                return Ok(CallEnd::Failed(Fault::sip(486)));
            }
            Some('2') => {
                pass(work, 60).await?;
                return Ok(CallEnd::Failed(Fault::sip(480)));
            }
            _ => pass(work, RING_S).await?,
        }
        dial.connected_s += HANDSHAKE_S;
        pass(work, HANDSHAKE_S).await?;
        if let Err(fault) = call.answered(Some("FAR AWAY")) {
            return Ok(CallEnd::Failed(fault));
        }
        call.reporter.first_data().await.unwrap();
        for (page, fax) in call.numbered_pages() {
            if digit == Some('5') && is_first && page == 2 {
                dial.connected_s += PAGE_S / 2;
                pass(work, PAGE_S / 2).await?;
                return Ok(CallEnd::Failed(Fault::t30(49).on_page(page)));
            }
            dial.connected_s += PAGE_S;
            pass(work, PAGE_S).await?;
            let confirmation = PageConfirmation {
                page,
                confirmed_at: call.clock.now(),
                bytes: fax.strip.len() as u64,
                duration_ms: PAGE_S * 1000,
            };
            call.reporter.page_confirmed(confirmation).await;
            dial.pages += 1;
        }
        Ok(CallEnd::Delivered)
    }
}

impl Route for Trunk {
    /// The appliance knows two names; live keys take this one.
    fn name(&self) -> &str {
        "loopback"
    }

    fn call<'a>(&'a self, call: Call, work: &'a mut Work) -> BoxFuture<'a, CallEnd> {
        Box::pin(async move {
            let to = call.to.as_e164().to_owned();
            let mut dial = Dial { job: call.job, at: call.clock.now(), to, connected_s: 0, pages: 0 };
            let end = self.carry(&call, &mut dial, work).await.unwrap_or_else(CallEnd::from);
            self.bill.lock().unwrap().push(dial);
            end
        })
    }

    fn settle(&self, _attempt: AttemptId, _to: &FaxNumber) -> Settled {
        Settled::Unknown
    }
}

/// A whole appliance in this process, with the trunk as its line.
struct Site {
    app: App,
    http: Http,
    trunk: Trunk,
    clock: Clock,
    _server: Server,
    _stopping: watch::Sender<bool>,
}

impl Site {
    async fn open(folder: &Path, start: Timestamp) -> Self {
        let (clock, trunk) = (Clock::starting_at(start), Trunk::default());
        let config = Config { route: RouteName::Loopback, ..Config::load(None, |_| None).unwrap() };
        let db = Db::open(&db::file_in(folder)).unwrap();
        let sealing = Sealing::open(db.clone(), &folder.join("keys"), clock.clone()).await.unwrap();
        db.start_audit(&sealing.seal().unwrap().audit_key());
        let spool = Spool::open_with(&folder.join("spool"), sealing.seal()).unwrap();
        let bootstrap = Bootstrap { key: Secret::new(BOOTSTRAP.to_owned()), even_with_administrator: true };
        let settings = auth::Settings { bootstrap: Some(bootstrap), ..auth::Settings::default() };
        let keys = KeyRing::load(db.clone(), sealing.seal(), clock.clone(), settings).await.unwrap();
        let people = People::load(db.clone(), sealing.seal(), clock.clone(), keys.clone()).await.unwrap();
        let converter = Converter::new(Settings {
            executable: PROGRAM.into(),
            workers: 2,
            wall_clock: Duration::from_secs(30),
            max_pages: config.max_pages,
            require_sandbox: false,
            font_dirs: Vec::new(),
        });
        let inbox = Inbox::new(db.clone(), spool.clone(), clock.clone());
        let parts = queue::Parts {
            db: db.clone(),
            spool,
            clock: clock.clone(),
            converter: converter.clone(),
            inbox: inbox.clone(),
            keys: keys.clone(),
            station_id: "TEST SITE".into(),
            policy: Default::default(),
            rules: Rules { stop_sends_percent: 100, ..Rules::default() },
        };
        let line = Line { route: Box::new(trunk.clone()), most_calls: CHANNELS };
        let queue = Queue::open_on(parts, vec![line]).await.unwrap();
        let post = Post::new(db.clone(), clock.clone(), config.mail.clone());
        let webhooks = Webhooks::new(db.clone(), clock.clone(), sealing.seal(), HttpClient::default());
        let (stopping, stopping_seen) = watch::channel(false);
        let address = free_address();
        let app = App::new(Parts {
            config,
            http_address: address,
            clock: clock.clone(),
            db: db.clone(),
            sealing,
            audit: Audit::new(db, clock.clone(), 1),
            keys,
            people,
            console_url: String::new(),
            converter,
            queue,
            inbox,
            webhooks,
            post,
            certificates: None,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            started_at: clock.now(),
            stopping: stopping_seen,
        });
        let mut server = Server::new(http::interface(&app), 64);
        server.listen(TcpListener::bind(address).await.unwrap());
        Self { app, http: Http::new(address), trunk, clock, _server: server, _stopping: stopping }
    }

    /// The states these faxes are in, and how many are in each.
    fn states(&self, faxes: &[String]) -> BTreeMap<&'static str, usize> {
        let mut states = BTreeMap::new();
        for fax in faxes {
            *states.entry(self.state(fax).as_str()).or_default() += 1;
        }
        states
    }

    fn state(&self, fax: &str) -> State {
        self.app.queue().get(fax.parse().unwrap()).unwrap().unwrap().state
    }
}

/// What the thief got for its requests.
#[derive(Debug, Default)]
struct Loot {
    requests: u32,
    faxes: Vec<String>,
    pages: u32,
    refused: BTreeMap<String, u32>,
}

/// Whoever has the key, and uses it as often as it lets itself be used.
struct Thief {
    http: Http,
    connection: Connection,
    token: String,
    turn: u32,
}

impl Thief {
    /// Sends until the key's requests are used up for this minute, or until `patience` faxes in a
    /// row were refused because the day's spending is; answers how many requests were let in.
    async fn spend_a_minute(&mut self, patience: u32, loot: &mut Loot) -> u32 {
        let (mut let_in, mut in_a_row) = (0, 0);
        while in_a_row < patience {
            self.turn += 1;
            // Always another number, until those known have to do; long faxes, until short ones
            // have to do.
            // Numbers that pay their owner would be worth most, and are closed.
            let to = match self.turn % 200 {
                100 => "+19005550100".to_owned(),
                turn => format!("+121255501{:02}", turn % 40),
            };
            let pages = if self.turn.is_multiple_of(7) { 1 } else { 3 };
            let document = ["page\n"; 3][..pages as usize].join("\u{c}");
            let (media_type, body) = form(&[("to", &to)], &[document.as_bytes()]);
            let headers = [("x-api-key", &*self.token), ("content-type", &media_type)];
            let answer = self.connection.call(Method::POST, "/fax", &headers, body).await.unwrap();
            // Who is refused before the document was read has to call again.
            if answer.header("connection") == "close" {
                self.connection = self.http.connect().await;
            }
            loot.requests += 1;
            let body = answer.json();
            match (answer.status, body["error"]["limit"].as_str()) {
                (202, _) => {
                    loot.faxes.push(body["id"].as_str().unwrap().to_owned());
                    loot.pages += pages;
                    in_a_row = 0;
                }
                (429, Some(limit)) => {
                    *loot.refused.entry(limit.to_owned()).or_default() += 1;
                    if matches!(limit, "minute" | "hour") {
                        return let_in;
                    }
                    in_a_row += 1;
                }
                (403, None) if body["error"]["code"] == "blocked_by_policy" => {
                    *loot.refused.entry("policy".to_owned()).or_default() += 1;
                    in_a_row += 1;
                }
                other => panic!("{other:?}: {body}"),
            }
            let_in += 1;
        }
        let_in
    }

    async fn is_refused(&mut self) {
        let headers = [("x-api-key", &*self.token)];
        let answer = self.connection.call(Method::POST, "/fax", &headers, "").await.unwrap().expect(401);
        assert_eq!(answer.json()["reason"], "revoked");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_key_costs_a_day_no_more_than_its_limits_and_nothing_once_revoked_as_compromised() {
    let folder = tempfile::tempdir().unwrap();
    let midnight: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let site = Site::open(folder.path(), midnight).await;
    let new = NewKey { name: "stolen".into(), ..NewKey::default() };
    let (token, key) = site.app.keys().create(new, &Actor::cli(0)).await.unwrap();
    let mut thief = Thief {
        http: site.http.clone(),
        connection: site.http.connect().await,
        token: token.text().reveal().clone(),
        turn: 0,
    };
    // The thief works while it sends, so the clock moves in between only.
    let mut work = site.clock.work();
    site.app.queue().start();

    let mut loot = Loot::default();
    let (mut most_in_minute, mut most_in_hour) = (0, 0);
    for hour in 0..24 {
        // In the first hour every request is used; later it gives a minute up at the second refusal in
        // a row, since no number and no length is left that it has not tried.
        let (mut in_hour, patience) = (0, if hour == 0 { u32::MAX } else { 2 });
        for minute in 0..60 {
            work.sleep_until(midnight + SignedDuration::from_mins(hour * 60 + minute)).await;
            let in_minute = thief.spend_a_minute(patience, &mut loot).await;
            in_hour += in_minute;
            most_in_minute = most_in_minute.max(in_minute);
        }
        most_in_hour = most_in_hour.max(in_hour);
        site.app.keys().flush_usage().await.unwrap();
    }
    let next_midnight = midnight + SignedDuration::from_hours(24);
    work.sleep_until(next_midnight).await;
    let bill = site.trunk.bill();
    let numbers: BTreeSet<&str> = bill.iter().map(|dial| dial.to.as_str()).collect();
    let connected_s: u64 = bill.iter().map(|dial| dial.connected_s).sum();
    let confirmed: u32 = bill.iter().map(|dial| dial.pages).sum();
    println!(
        "one day flat out: {} requests, of which {most_in_minute} a minute and {most_in_hour} an hour were let in \
         at most; {} faxes of {} pages were taken; refused were {:?}",
        loot.requests,
        loot.faxes.len(),
        loot.pages,
        loot.refused
    );
    println!(
        "on the line: {} dials to {} numbers, none of them known before; {confirmed} pages confirmed, {} minutes \
         connected; the faxes ended as {:?}",
        bill.len(),
        numbers.len(),
        connected_s.div_ceil(60),
        site.states(&loot.faxes)
    );
    assert_eq!((most_in_minute, most_in_hour), (PER_MINUTE, PER_HOUR));
    assert_eq!((loot.pages, numbers.len()), (PAGES_PER_DAY, NEW_NUMBERS_PER_DAY), "all it may, and no more");
    assert!(confirmed > PAGES_PER_DAY / 2 && confirmed <= PAGES_PER_DAY);
    assert!(bill.len() > loot.faxes.len() && bill.len() <= loot.faxes.len() * MOST_DIALS);
    for limit in ["minute", "hour", "pages", "destinations", "policy"] {
        assert!(loot.refused.contains_key(limit), "{limit}");
    }
    // What a call costs beside its pages is known, so pages and dials bound the minutes.
    let most_s = u64::from(PAGES_PER_DAY) * PAGE_S + bill.len() as u64 * (HANDSHAKE_S + PAGE_S);
    assert!(connected_s > 0 && connected_s <= most_s, "{connected_s} of {most_s}");

    // The next day begins the same; after a minute and a half somebody notices.
    let mut loot = Loot::default();
    thief.turn = 4;
    thief.spend_a_minute(2, &mut loot).await;
    work.sleep_until(next_midnight + SignedDuration::from_secs(90)).await;
    let before = site.states(&loot.faxes);
    for state in ["sending", "waiting", "queued"] {
        assert!(before.contains_key(state), "{before:?}");
    }
    let path = format!("/admin/api-keys/{}", key.id);
    let revoked = json!({ "reason": "compromised" });
    let revoked = site.http.json(Method::DELETE, &path, BOOTSTRAP, revoked).await.expect(200).json();
    let at_revocation = site.states(&loot.faxes);
    println!("revoked as compromised: {before:?} became {at_revocation:?}");
    assert_eq!(revoked["held_faxes"], at_revocation["held"]);
    assert_eq!(at_revocation["held"], before["waiting"] + before["queued"]);
    thief.is_refused().await;

    let noticed = site.clock.now();
    work.sleep_until(noticed + SignedDuration::from_hours(24)).await;
    let after = site.states(&loot.faxes);
    println!("a day later: {after:?}");
    assert!(site.trunk.bill().iter().all(|dial| dial.at <= noticed), "nothing is dialled after it");
    assert_eq!(after.keys().copied().collect::<Vec<_>>(), ["delivered", "held"]);
    // Its call was under way, and failed on the second page.
    let (hung_up, held) = (&loot.faxes[0], after["held"]);
    assert_eq!((site.state(hung_up), held), (State::Held, at_revocation["held"] + 1));

    let release = format!("/admin/fax-jobs/{hung_up}/release");
    site.http.json(Method::POST, &release, BOOTSTRAP, json!({})).await.expect(200);
    work.sleep_until(site.clock.now() + SignedDuration::from_hours(1)).await;
    assert_eq!(site.state(hung_up), State::Delivered);
    let dials: Vec<_> = site.trunk.bill().into_iter().filter(|dial| dial.at > noticed).collect();
    assert_eq!((dials.len(), dials[0].job, dials[0].pages), (1, hung_up.parse().unwrap(), 2));
    assert_eq!(site.states(&loot.faxes)["held"], held - 1);
    drop(work);
    site.app.queue().stop(Duration::ZERO).await;
}
