//! HylaFAX, as the distribution has it, beside us in one run: a program is started for each fax on both
//! sides, and both lose their scheduler to `kill -9` in the middle.
//!
//! It runs in a spool of its own, made from the installed one, and needs root, because it changes to
//! its own user. Where it is not installed the comparison is left out with a sentence.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::load::Client;
use super::{PROGRAM, Server, field, folder, free_address, ready_tiff, row, start_with_key};

/// How long submissions go on.
const SPAN: Duration = Duration::from_secs(6);
/// Senders at once.
const SENDERS: usize = 8;
/// When the scheduler is killed, and for how long it stays away.
const KILLED_AFTER: Duration = Duration::from_secs(2);
const AWAY: Duration = Duration::from_secs(1);
/// Where Debian puts its parts.
const SPOOL: &str = "/var/spool/hylafax";
const SETTINGS: &str = "/etc/hylafax";
const SCHEDULER: &str = "/usr/sbin/faxq";

/// A fax server that takes jobs from programs started for each, and whose scheduler can be killed.
trait FaxServer: Sync {
    /// Submits a fax by a program of its own; the id, when it was taken.
    fn send(&self, to: &str, document: &Path) -> Option<String>;
    /// Ends the scheduler as a power cut would, and starts it again after a while.
    fn kill_scheduler(&self);
    /// Whether a fax that was taken is still known.
    fn has(&self, id: &str) -> bool;
}

/// HylaFAX on a spool of its own.
struct HylaFax {
    folder: tempfile::TempDir,
    address: SocketAddr,
    takes_jobs: Child,
    scheduler: Mutex<Child>,
}

impl HylaFax {
    fn start(document: &Path) -> Self {
        let folder = folder();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("its mode is set");
        let spool = folder.path().join("spool");
        copy(SPOOL.as_ref(), &spool);
        std::fs::remove_dir_all(spool.join("etc")).expect("its empty settings are removed");
        copy(SETTINGS.as_ref(), &spool.join("etc"));
        let cache = spool.join("etc/setup.cache");
        let text = std::fs::read_to_string(&cache).expect("its settings are made");
        std::fs::remove_file(&cache).expect("they can be written anew");
        std::fs::write(&cache, text.replace(SPOOL, &spool.display().to_string())).expect("they are written");
        let address = free_address();
        let takes_jobs = quiet(Command::new("/usr/sbin/hfaxd"))
            .args(["-d", "-i", &address.port().to_string(), "-q"])
            .arg(&spool)
            .spawn()
            .expect("hfaxd starts");
        let this = Self { scheduler: Mutex::new(scheduler(&spool)), takes_jobs, address, folder };
        let deadline = Instant::now() + Duration::from_secs(10);
        while this.send("5550000", document).is_none() {
            assert!(Instant::now() < deadline, "HylaFAX takes no job");
            std::thread::sleep(Duration::from_millis(50));
        }
        this
    }

    fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }
}

impl FaxServer for HylaFax {
    fn send(&self, to: &str, document: &Path) -> Option<String> {
        let host = format!("127.0.0.1:{}", self.address.port());
        let mut command = Command::new("sendfax");
        command.args(["-n", "-h", &host, "-d", to]).arg(document).stderr(Stdio::null());
        let sent = command.output().expect("sendfax runs");
        let said = String::from_utf8_lossy(&sent.stdout).into_owned();
        let id = said.strip_prefix("request id is ")?.split_whitespace().next()?;
        sent.status.success().then(|| id.to_owned())
    }

    fn kill_scheduler(&self) {
        let mut scheduler_now = self.scheduler.lock().expect("nobody failed with it");
        end(&mut scheduler_now);
        std::thread::sleep(AWAY);
        *scheduler_now = scheduler(&self.spool());
    }

    fn has(&self, id: &str) -> bool {
        ["sendq", "doneq"].iter().any(|queue| self.spool().join(queue).join(format!("q{id}")).exists())
    }
}

impl Drop for HylaFax {
    fn drop(&mut self) {
        end(&mut self.takes_jobs);
        if let Ok(scheduler) = self.scheduler.get_mut() {
            end(scheduler);
        }
    }
}

/// Us. Everything is one process, so that is what is killed.
struct Ours<'a> {
    data: &'a Path,
    key: String,
    address: SocketAddr,
    server: Mutex<Server>,
}

impl FaxServer for Ours<'_> {
    fn send(&self, to: &str, document: &Path) -> Option<String> {
        let mut command = Command::new(PROGRAM);
        command
            .args(["send", "--json", "--to", to, "--url", &format!("http://{}", self.address)])
            .arg(document)
            .env_clear()
            .env("PAGEWIRE_API_KEY", &self.key)
            .stderr(Stdio::null());
        let sent = command.output().expect("our command runs");
        sent.status.success().then(|| field(&String::from_utf8_lossy(&sent.stdout), "id"))
    }

    fn kill_scheduler(&self) {
        let mut server = self.server.lock().expect("nobody failed with it");
        end(&mut server.process);
        std::thread::sleep(AWAY);
        *server = Server::start_at(self.address, self.data, &[]);
    }

    /// It also has to come to its end, which loopback gives it at once.
    fn has(&self, id: &str) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut client = Client::connect(self.address).expect("the server takes connections");
        while let Ok(fax) = client.get(&format!("/fax/{id}?wait=10"), Some(&self.key)) {
            match field(&fax, "status").as_str() {
                "SUCCESS" | "FAILED" => return true,
                _ if Instant::now() > deadline => return false,
                _ => {}
            }
        }
        false
    }
}

fn quiet(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn scheduler(spool: &Path) -> Child {
    quiet(Command::new(SCHEDULER)).args(["-D", "-q"]).arg(spool).spawn().expect("faxq starts")
}

fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(copied.success(), "{} is not copied", from.display());
}

/// Submits from so many senders at once for [`SPAN`], while `meanwhile` happens: the ids of what was
/// taken, and how many were refused.
fn submit(
    server: &impl FaxServer,
    senders: usize,
    document: &Path,
    meanwhile: impl FnOnce(),
) -> (Vec<String>, usize) {
    let (over, next, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let send_on = || {
        let mut taken = Vec::new();
        while !over.load(Ordering::Relaxed) {
            // Many numbers, since one alone is called once at a time.
            let to = format!("+1555{:07}", next.fetch_add(1, Ordering::Relaxed) % 20_000);
            match server.send(&to, document) {
                Some(id) => taken.push(id),
                None => _ = refused.fetch_add(1, Ordering::Relaxed),
            }
        }
        taken
    };
    let began = Instant::now();
    let taken = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..senders).map(|_| scope.spawn(send_on)).collect();
        meanwhile();
        std::thread::sleep(SPAN.saturating_sub(began.elapsed()));
        over.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().expect("a sender that ends well")).collect()
    });
    (taken, refused.into_inner())
}

/// Of the faxes taken while the scheduler was killed: how many were lost, of how many; and how many
/// were refused meanwhile.
fn killed(server: &impl FaxServer, document: &Path) -> (String, usize) {
    let (taken, refused) = submit(server, SENDERS, document, || {
        std::thread::sleep(KILLED_AFTER);
        server.kill_scheduler();
    });
    let lost = taken.iter().filter(|id| !server.has(id)).count();
    (format!("{lost} of {}", taken.len()), refused)
}

/// Submissions accepted per second, and what a killed scheduler loses, side by side.
pub fn beside_hylafax() {
    if !rustix::process::getuid().is_root() || !Path::new(SCHEDULER).exists() {
        println!(
            "skipped: HylaFAX is not here (apt-get install hylafax-server hylafax-client), or this is not root"
        );
        return;
    }
    let (data, documents) = (folder(), folder());
    std::fs::set_permissions(documents.path(), PermissionsExt::from_mode(0o755)).expect("its mode is set");
    let document = documents.path().join("page.tif");
    std::fs::write(&document, ready_tiff()).expect("a document");
    let (server, key) = start_with_key(data.path());
    let ours = Ours { data: data.path(), key, address: server.address, server: Mutex::new(server) };
    let theirs = HylaFax::start(&document);
    for (what, senders) in [("one after another", 1), ("8 at once", SENDERS)] {
        let per_second = |taken: Vec<String>| taken.len() as f64 / SPAN.as_secs_f64();
        let their_rate = per_second(submit(&theirs, senders, &document, || ()).0);
        let our_rate = per_second(submit(&ours, senders, &document, || ()).0);
        let measured = format!("{our_rate:.0}/s ({:.1}x)", our_rate / their_rate);
        row(&format!("a program for each fax, {what}"), &format!("HylaFAX {their_rate:.0}/s"), "", measured);
    }
    let (their_lost, their_refused) = killed(&theirs, &document);
    let (our_lost, our_refused) = killed(&ours, &document);
    row("  lost when the scheduler is killed with -9", &format!("HylaFAX {their_lost}"), "0", our_lost);
    let theirs = format!("HylaFAX {their_refused}");
    row("  refused while it is away for a second", &theirs, "", our_refused.to_string());
}
