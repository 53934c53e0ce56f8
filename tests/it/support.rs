//! What the tests share: a real appliance in a process of its own, and a plain HTTP client.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

pub mod mail_server;
pub mod receiver;
pub mod witness;

use witness::Witness;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_pagewire");
/// A bootstrap key for appliances that have no other.
pub const BOOTSTRAP: &str = "bootstrap-key-of-the-tests";

/// However full the disk of who runs the tests is.
const STOP_SENDS: (&str, &str) = ("PAGEWIRE_STOP_SENDS_PERCENT", "100");

/// A folder of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// `pagewire demo`, with its keys.
pub struct Demo {
    process: Process,
    pub http: Http,
    pub admin_key: String,
    pub api_key: String,
    pub test_key: String,
    pub data_dir: PathBuf,
}

impl Demo {
    pub fn start() -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["demo", "--listen", "127.0.0.1:0", "--json"]).stdout(Stdio::piped()).env_clear();
        command.env(STOP_SENDS.0, STOP_SENDS.1);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("the demo printed {line:?}"));
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        Self {
            process: Process(child),
            http: Http::new(text("url").strip_prefix("http://").unwrap().parse().unwrap()),
            admin_key: text("admin_key"),
            api_key: text("api_key"),
            test_key: text("test_key"),
            data_dir: PathBuf::from(text("data_dir")),
        }
    }

    /// Ends it as a person would; answers its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.process.terminate();
        self.process.0.wait().unwrap().code()
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

/// `pagewire serve` on a folder that outlives it, with the bootstrap key.
pub struct Serve {
    process: Process,
    pub http: Http,
}

impl Serve {
    /// Without HTTPS, whose port is one for all; see [`Serve::start_with_https`].
    pub async fn start(data_dir: &Path, route: &str, env: &[(&str, &str)]) -> Self {
        Self::start_with_log(data_dir, route, env, Stdio::inherit()).await
    }

    /// The same, with its log written elsewhere.
    pub async fn start_with_log(data_dir: &Path, route: &str, env: &[(&str, &str)], log: Stdio) -> Self {
        let env = [&[("PAGEWIRE_ROUTE", route), ("PAGEWIRE_HTTPS_LISTEN", "")], env].concat();
        Self::launch(free_address(), data_dir, &env, log).await
    }

    /// With HTTPS at `PAGEWIRE_HTTPS_LISTEN`, and the loopback route.
    pub async fn start_with_https(data_dir: &Path, env: &[(&str, &str)]) -> Self {
        let env = [&[("PAGEWIRE_ROUTE", "loopback")], env].concat();
        Self::start_at(free_address(), data_dir, &env).await
    }

    pub async fn start_at(address: SocketAddr, data_dir: &Path, env: &[(&str, &str)]) -> Self {
        Self::launch(address, data_dir, env, Stdio::inherit()).await
    }

    async fn launch(address: SocketAddr, data_dir: &Path, env: &[(&str, &str)], log: Stdio) -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .args(["serve", "--listen", &address.to_string()])
            .arg("--data-dir")
            .arg(data_dir)
            .env_clear()
            .env("API_KEY", BOOTSTRAP)
            .env("PAGEWIRE_LOG", "warn")
            .env(STOP_SENDS.0, STOP_SENDS.1)
            .stderr(log)
            .envs(env.iter().copied());
        let this = Self { process: Process(command.spawn().unwrap()), http: Http::new(address) };
        this.http.wait_until_up().await;
        this
    }

    /// Tells it to reload.
    pub fn hang_up(&self) {
        self.process.signal(rustix::process::Signal::HUP);
    }

    /// Ends it as a fault of its own would; whether it left a memory image behind.
    pub fn abort(mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        self.process.signal(rustix::process::Signal::ABORT);
        self.process.0.wait().unwrap().core_dumped()
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    pub fn terminate(mut self) -> Option<i32> {
        self.process.terminate();
        self.process.0.wait().unwrap().code()
    }

    /// Waits until the spool holds so many files, as it does once the sweep after a start has removed
    /// what no row names.
    pub async fn has_documents(&self, data_dir: &Path, expected: usize) {
        let count = || files_below(&data_dir.join("spool")).len();
        for _ in 0..200 {
            if count() == expected {
                return;
            }
            // The sweep runs beside requests; each request gives it time.
            self.http.call(Method::GET, "/health", &[], "").await.expect(200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} files, {expected} documents", count());
    }

    /// Waits until it is gone by itself; the signal that ended it.
    pub async fn gone(mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        tokio::task::spawn_blocking(move || self.process.0.wait().unwrap().signal()).await.unwrap()
    }
}

struct Process(Child);

impl Process {
    fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `pagewire users` on the running appliance.
pub async fn users(data_dir: &Path, arguments: &[&str], input: &str) {
    on_the_appliance(data_dir, "users", arguments, input).await;
}

/// A command over the admin socket, as root would give it; answers what it printed.
pub async fn on_the_appliance(data_dir: &Path, name: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(PROGRAM);
    command.args([name, "--data-dir"]).arg(data_dir).args(arguments).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let run = move || {
        let mut child = command.spawn().unwrap();
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A loopback address nobody listens on at this moment. Its port lies below those the system gives
/// to connections by itself, and no other test process that runs now looks among the same ones, so
/// that it stays free until it is listened on.
pub fn free_address() -> SocketAddr {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let first = 10_000 + std::process::id() % 1_000 * 20;
    loop {
        let port = first + TRIED.fetch_add(1, Ordering::Relaxed) % 20;
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

/// A client of one server; a connection per request unless [`Http::connect`] is used.
#[derive(Clone)]
pub struct Http {
    pub address: SocketAddr,
    witness: Option<Arc<Witness>>,
}

impl Http {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, witness: None }
    }

    /// The same, with every answer told to a witness.
    pub fn before(&self, witness: &Arc<Witness>) -> Self {
        Self { witness: Some(witness.clone()), ..*self }
    }

    pub async fn connect(&self) -> Connection {
        self.try_connect().await.unwrap()
    }

    pub async fn try_connect(&self) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Connection { sender, witness: self.witness.clone() })
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.connect().await.call(method, path, headers, body).await.unwrap()
    }

    pub async fn get(&self, path: &str, key: &str) -> Answer {
        self.call(Method::GET, path, &[("x-api-key", key)], "").await
    }

    pub async fn json(&self, method: Method, path: &str, key: &str, body: Value) -> Answer {
        let headers = [("x-api-key", key), ("content-type", "application/json")];
        self.call(method, path, &headers, body.to_string()).await
    }

    /// `POST /fax` with one document.
    pub async fn send_fax(&self, key: &str, to: &str, document: &[u8]) -> Answer {
        let (media_type, body) = form(&[("to", to)], &[document]);
        self.call(Method::POST, "/fax", &[("x-api-key", key), ("content-type", &media_type)], body).await
    }

    /// Waits until the fax has ended; answers its last state.
    pub async fn finished(&self, key: &str, id: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let fax = self.get(&format!("/fax/{id}?wait=5"), key).await.expect(200).json();
            if matches!(fax["status"].as_str(), Some("SUCCESS" | "FAILED")) {
                return fax;
            }
            assert!(Instant::now() < deadline, "never finished: {fax}");
        }
    }

    pub async fn wait_until_up(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(mut connection) = self.try_connect().await
                && connection.call(Method::GET, "/health", &[], "").await.is_ok()
            {
                return;
            }
            assert!(Instant::now() < deadline, "the server did not come up");
            // The process is starting; there is nothing to be notified by.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// One kept-alive connection.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    witness: Option<Arc<Witness>>,
}

impl Connection {
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, hyper::Error> {
        let mut request = Request::builder().method(&method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(body.into())).unwrap()).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body };
        if let Some(witness) = &self.witness {
            witness.saw_answer(method.as_str(), path, &answer);
        }
        Ok(answer)
    }
}

/// What a program printed into this file, once `text` is in it: it serves before it has said so.
pub async fn once_printed(file: &Path, text: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let printed = std::fs::read_to_string(file).unwrap();
        if printed.contains(text) {
            return printed;
        }
        assert!(Instant::now() < deadline, "{text} was never printed: {printed}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A multipart body: its media type and its bytes.
pub fn form(fields: &[(&str, &str)], documents: &[&[u8]]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(
            format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .as_bytes(),
        );
    }
    for document in documents {
        body.extend_from_slice(
            b"--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n",
        );
        body.extend_from_slice(document);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    ("multipart/form-data; boundary=edge".to_owned(), body)
}

/// A token of `token`'s key with another secret and a right checksum, so that only the secret is
/// wrong.
pub fn forged(token: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let (id, secret) = token.split_at("fbk_live_0123456789ab_".len());
    let reversed: String = secret[..43].chars().rev().collect();
    let mut text = format!("{id}{reversed}");
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut checksum = [0; 6];
    for digit in checksum.iter_mut().rev() {
        *digit = DIGITS[rest as usize % 62];
        rest /= 62;
    }
    text.extend(checksum.map(char::from));
    text
}

/// A PDF with this many pages, each with its number on it.
pub fn pdf(pages: usize) -> Vec<u8> {
    use pdf_writer::{Content, Name, Pdf, Rect, Ref, Str};
    let mut pdf = Pdf::new();
    let (catalog, tree, font) = (Ref::new(1), Ref::new(2), Ref::new(3));
    let page_ids: Vec<Ref> = (0..pages as i32).map(|n| Ref::new(10 + 2 * n)).collect();
    pdf.catalog(catalog).pages(tree);
    pdf.pages(tree).kids(page_ids.iter().copied()).count(pages as i32);
    pdf.type1_font(font).base_font(Name(b"Helvetica"));
    for (number, id) in page_ids.iter().enumerate() {
        let content_id = Ref::new(id.get() + 1);
        let mut page = pdf.page(*id);
        page.parent(tree).media_box(Rect::new(0.0, 0.0, 612.0, 792.0)).contents(content_id);
        page.resources().fonts().pair(Name(b"F"), font);
        drop(page);
        let mut content = Content::new();
        content.begin_text().set_font(Name(b"F"), 48.0).next_line(100.0, 500.0);
        content.show(Str(format!("Page {}", number + 1).as_bytes())).end_text();
        pdf.stream(content_id, &content.finish());
    }
    pdf.finish()
}

/// Every file below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}
