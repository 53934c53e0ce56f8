//! A small load generator: one thread and one kept-alive connection each, so that it costs little
//! beside the server it measures.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Pause between the requests of [`paced`].
const PACE: Duration = Duration::from_millis(2);

/// One connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    /// The line that is read.
    line: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), line: Vec::new() })
    }

    pub fn get(&mut self, path: &str, key: Option<&str>) -> io::Result<String> {
        self.exchange("GET", path, key, "", &[], 200)
    }

    pub fn get_refused(&mut self, path: &str, key: &str) -> io::Result<String> {
        self.exchange("GET", path, Some(key), "", &[], 401)
    }

    pub fn post_json(&mut self, path: &str, key: &str, body: &str) -> io::Result<String> {
        self.exchange("POST", path, Some(key), "application/json", body.as_bytes(), 200)
    }

    pub fn post_fax(&mut self, key: Option<&str>, to: &str, document: &[u8]) -> io::Result<String> {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\n{to}\r\n\
             --edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"
        );
        let body = [head.as_bytes(), document, b"\r\n--edge--\r\n"].concat();
        self.exchange("POST", "/fax", key, "multipart/form-data; boundary=edge", &body, 202)
    }

    /// Sends a document that may be refused, and follows it to its end; answers in how many
    /// seconds that came, and which it was.
    pub fn post_until_ended(&mut self, key: &str, document: &[u8]) -> io::Result<String> {
        let began = Instant::now();
        let ending = match self.post_fax(Some(key), "+15551234567", document) {
            Ok(accepted) => self.ending(key, &accepted)?,
            Err(refused) if refused.to_string().starts_with("422") => "422".to_owned(),
            Err(error) => return Err(error),
        };
        Ok(format!("{ending} in {:.1} s", began.elapsed().as_secs_f64()))
    }

    fn ending(&mut self, key: &str, accepted: &str) -> io::Result<String> {
        let id = text(accepted, "/id").ok_or_else(|| io::Error::other(accepted.to_owned()))?;
        loop {
            let fax = self.get(&format!("/fax/{id}?wait=30"), Some(key))?;
            if matches!(text(&fax, "/status").as_deref(), Some("SUCCESS" | "FAILED")) {
                return text(&fax, "/outcome/class").ok_or_else(|| io::Error::other(fax));
            }
        }
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        key: Option<&str>,
        media_type: &str,
        body: &[u8],
        expected: u16,
    ) -> io::Result<String> {
        let key = key.map(|key| format!("X-API-Key: {key}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{key}Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let (status, length) = self.head()?;
        let mut content = vec![0; length];
        self.stream.read_exact(&mut content)?;
        let content = String::from_utf8_lossy(&content).into_owned();
        if status == expected { Ok(content) } else { Err(io::Error::other(format!("{status}: {content}"))) }
    }

    /// Reads the head of an answer; its status and the length of the body.
    fn head(&mut self) -> io::Result<(u16, usize)> {
        let (mut status, mut length) = (None, 0);
        loop {
            self.line.clear();
            // Looks for the end many bytes at a time: the client shares the processors with what it
            // measures, and longer heads should not cost it more.
            self.stream.read_until(b'\n', &mut self.line)?;
            let line = self.line.trim_ascii_end();
            match status {
                None => status = Some(line.get(9..12).and_then(number).ok_or_else(|| no_head(line))?),
                Some(status) if line.is_empty() => return Ok((status, length)),
                Some(_) if line.len() > 15 && line[..15].eq_ignore_ascii_case(b"content-length:") => {
                    length = number(line[15..].trim_ascii()).unwrap_or(0);
                }
                Some(_) => {}
            }
        }
    }
}

/// The server is gone, or says what is no HTTP.
fn no_head(line: &[u8]) -> io::Error {
    io::Error::other(format!("no head of an answer: {}", String::from_utf8_lossy(line)))
}

fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What a load came to.
pub struct Load {
    latencies: Vec<Duration>,
    span: Duration,
}

impl Load {
    fn new(mut latencies: Vec<Duration>, span: Duration) -> Self {
        assert!(!latencies.is_empty(), "no request came through");
        latencies.sort();
        Self { latencies, span }
    }

    /// The turn with the middle rate.
    pub fn median(mut turns: Vec<Self>) -> Self {
        turns.sort_by(|a, b| a.per_second().total_cmp(&b.per_second()));
        turns.swap_remove(turns.len() / 2)
    }

    pub fn requests(&self) -> usize {
        self.latencies.len()
    }

    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.span.as_secs_f64()
    }

    pub fn p99(&self) -> Duration {
        self.latencies[self.latencies.len() * 99 / 100]
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}/s, p99 {:.2} ms", self.per_second(), self.p99().as_secs_f64() * 1e3)
    }
}

/// Requests as fast as they are answered, on so many connections, for `span`.
pub fn measure(
    address: SocketAddr,
    connections: usize,
    span: Duration,
    request: impl Fn(&mut Client) -> io::Result<String> + Sync,
) -> Load {
    let over = AtomicBool::new(false);
    let started = Instant::now();
    let latencies = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(address).expect("a connection");
                    let mut latencies = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let began = Instant::now();
                        request(&mut client).expect("an answer as expected");
                        latencies.push(began.elapsed());
                    }
                    latencies
                })
            })
            .collect();
        std::thread::sleep(span);
        over.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().expect("a client that ends well")).collect()
    });
    Load::new(latencies, started.elapsed())
}

/// Requests one after the other with a pause, on one connection, for `span`.
pub fn paced(
    address: SocketAddr,
    span: Duration,
    request: impl Fn(&mut Client) -> io::Result<String>,
) -> Load {
    let mut client = Client::connect(address).expect("a connection");
    let started = Instant::now();
    let mut latencies = Vec::new();
    while started.elapsed() < span {
        let began = Instant::now();
        request(&mut client).expect("an answer as expected");
        latencies.push(began.elapsed());
        std::thread::sleep(PACE);
    }
    Load::new(latencies, started.elapsed())
}

/// As [`paced`] on so many connections; answers how many requests a second came of it.
pub fn trickles(
    address: SocketAddr,
    connections: usize,
    span: Duration,
    request: impl Fn(&mut Client) -> io::Result<String> + Sync,
) -> f64 {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..connections).map(|_| scope.spawn(|| paced(address, span, &request))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client that ends well").per_second()).sum()
    })
}

/// The median times of requests with these refused keys, in turns on one connection.
pub fn side_by_side<const N: usize>(address: SocketAddr, requests: usize, keys: [&str; N]) -> [Duration; N] {
    let mut client = Client::connect(address).expect("a connection");
    let mut latencies = [const { Vec::new() }; N];
    for _ in 0..requests {
        for (key, latencies) in keys.iter().zip(&mut latencies) {
            let began = Instant::now();
            client.get_refused("/fax", key).expect("a refusal");
            latencies.push(began.elapsed());
        }
    }
    latencies.map(|mut latencies| {
        latencies.sort();
        latencies[latencies.len() / 2]
    })
}

/// As [`paced`], for as long as `work` lasts and at least `span`; and what `work` answered.
pub fn paced_during<T: Send>(
    address: SocketAddr,
    span: Duration,
    request: impl Fn(&mut Client) -> io::Result<String>,
    work: impl FnOnce() -> T + Send,
) -> (Load, T) {
    let mut client = Client::connect(address).expect("a connection");
    let started = Instant::now();
    let mut latencies = Vec::new();
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        while !working.is_finished() || started.elapsed() < span {
            let began = Instant::now();
            request(&mut client).expect("an answer as expected");
            latencies.push(began.elapsed());
            std::thread::sleep(PACE);
        }
        let answer = working.join().expect("work that ends well");
        (Load::new(latencies, started.elapsed()), answer)
    })
}

/// A text inside a JSON answer.
fn text(json: &str, pointer: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    Some(value.pointer(pointer)?.as_str()?.to_owned())
}

/// A token's text with the checksum it needs.
pub fn with_checksum(text: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut checksum = [0; 6];
    for digit in checksum.iter_mut().rev() {
        *digit = DIGITS[rest as usize % 62];
        rest /= 62;
    }
    format!("{text}{}", checksum.map(char::from).iter().collect::<String>())
}
