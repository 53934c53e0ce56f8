//! HTTPS as clients meet it: curl and Python with the local authority, the administrator's own
//! certificate, and what plain HTTP on the network is refused.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hyper::Method;
use pagewire::clock::Clock;
use pagewire::http::server::Server;
use pagewire::net::tls::{Certificates, Source};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use warp::{Filter, Reply};

use crate::support::{BOOTSTRAP, Http, Serve, free_address};

/// A server with HTTPS, and its authority's certificate in a file.
struct Secure {
    serve: Serve,
    https: SocketAddr,
    authority: PathBuf,
    folder: tempfile::TempDir,
}

impl Secure {
    async fn start(address: IpAddr, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let https = SocketAddr::new(address, free_address().port());
        let listen = https.to_string();
        let env = [&[("PAGEWIRE_HTTPS_LISTEN", listen.as_str())], env].concat();
        let serve = Serve::start_with_https(&folder.path().join("data"), &env).await;
        let authority = folder.path().join("ca.pem");
        let pem = serve.http.call(Method::GET, "/ca.pem", &[], "").await;
        std::fs::write(&authority, &pem.body).unwrap();
        Self { serve, https, authority, folder }
    }

    async fn on_loopback() -> Self {
        Self::start([127, 0, 0, 1].into(), &[]).await
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.https.port())
    }

    async fn curl(&self, arguments: &[&str]) -> Output {
        let authority = self.authority.clone();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        run(move || {
            Command::new("curl")
                .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--cacert"])
                .arg(authority)
                .args(arguments)
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .output()
                .unwrap()
        })
        .await
    }
}

async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Whether the program is there; a test that cannot run without says so.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An address of this machine that other machines can reach: the one it would send from.
fn network_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let found = socket.connect("192.0.2.99:9").and_then(|()| socket.local_addr());
    let address = found.ok().map(|address| address.ip()).filter(|address| !address.is_loopback());
    if address.is_none() {
        println!("skipped: this machine has no address on a network");
    }
    address
}

#[tokio::test]
async fn curl_is_served_with_the_local_authority_and_refuses_other_names() {
    if !has("curl") {
        return;
    }
    let secure = Secure::on_loopback().await;
    let key = format!("X-API-Key: {BOOTSTRAP}");
    for (version, expected) in [("--http1.1", "1.1 200"), ("--http2", "2 200")] {
        for tls in ["1.2", "1.3"] {
            let answer = secure
                .curl(&[
                    version,
                    &format!("--tlsv{tls}"),
                    "--tls-max",
                    tls,
                    "-H",
                    &key,
                    "-w",
                    "\n%{http_version} %{http_code}",
                    &secure.url("localhost", "/fax"),
                ])
                .await;
            assert!(out(&answer).ends_with(expected), "{version} {tls}: {} {}", out(&answer), err(&answer));
        }
    }
    // By address too, with a body, and down to a delivered fax.
    let letter = secure.folder.path().join("letter.txt");
    std::fs::write(&letter, "Hello.\n").unwrap();
    let document = format!("file=@{}", letter.display());
    let url = secure.url("127.0.0.1", "/fax");
    let sent = secure.curl(&["-H", &key, "-F", "to=+15551234567", "-F", &document, &url]).await;
    let fax: serde_json::Value =
        serde_json::from_str(&out(&sent)).unwrap_or_else(|_| panic!("{}", err(&sent)));
    let fax = secure.serve.http.finished(BOOTSTRAP, fax["id"].as_str().unwrap()).await;
    assert_eq!(fax["status"], "SUCCESS");

    let resolve = format!("bank.example:{}:127.0.0.1", secure.https.port());
    let refused = secure.curl(&["--resolve", &resolve, &secure.url("bank.example", "/health")]).await;
    // 60: the certificate is not for this name, or from nobody who is trusted.
    assert_eq!(refused.status.code(), Some(60), "another name: {} {}", out(&refused), err(&refused));
    let untrusting = run({
        let url = secure.url("localhost", "/health");
        move || Command::new("curl").args(["--silent", "--noproxy", "*", &url]).output().unwrap()
    })
    .await;
    assert_eq!(untrusting.status.code(), Some(60));
}

#[tokio::test]
async fn python_is_served_with_the_local_authority_and_refuses_other_names() {
    if !has("python3") {
        return;
    }
    let secure = Secure::on_loopback().await;
    let script = r#"
import ssl, sys, urllib.request
authority, port, key = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
# What newer versions of Python switch on by themselves.
context.verify_flags |= ssl.VERIFY_X509_STRICT
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
for host in ("localhost", "127.0.0.1"):
    request = urllib.request.Request(f"https://{host}:{port}/fax", headers={"X-API-Key": key})
    print(opener.open(request, timeout=20).status)
import socket
with socket.create_connection(("127.0.0.1", int(port)), timeout=20) as plain:
    try:
        context.wrap_socket(plain, server_hostname="bank.example")
    except ssl.SSLCertVerificationError as error:
        print(error.verify_message)
"#;
    let (authority, port) = (secure.authority.clone(), secure.https.port().to_string());
    let answer = run(move || {
        Command::new("python3").args(["-c", script]).arg(authority).args([&port, BOOTSTRAP]).output().unwrap()
    })
    .await;
    let lines = out(&answer);
    assert!(lines.starts_with("200\n200\nHostname mismatch"), "{lines} {}", err(&answer));
}

#[tokio::test]
async fn send_works_over_https_and_insists_on_trust() {
    let secure = Secure::on_loopback().await;
    let letter = secure.folder.path().join("letter.txt");
    std::fs::write(&letter, "Hello.\n").unwrap();
    let send = |authority: Option<PathBuf>| {
        let (letter, url) = (letter.clone(), secure.url("localhost", ""));
        run(move || {
            let mut command = Command::new(crate::support::PROGRAM);
            command.arg("send").arg(letter).args(["--to", "+15551234567", "--wait", "--url", &url]);
            if let Some(authority) = authority {
                command.arg("--cacert").arg(authority);
            }
            command.env_clear().env("PAGEWIRE_API_KEY", BOOTSTRAP).output().unwrap()
        })
    };
    let sent = send(Some(secure.authority.clone())).await;
    assert_eq!(sent.status.code(), Some(0), "{}", err(&sent));
    assert!(out(&sent).contains("delivered"), "{}", out(&sent));
    let refused = send(None).await;
    assert_eq!(refused.status.code(), Some(4), "{}", out(&refused));
}

#[tokio::test]
async fn handshakes_count_against_the_limit() {
    let files = tempfile::tempdir().unwrap();
    write_own(files.path());
    let source =
        Source::Files { certificate: files.path().join("cert.pem"), key: files.path().join("key.pem") };
    let certificates = Certificates::open(source, Clock::System).unwrap();
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = Server::new(warp::any().map(|| "never".into_response()).boxed(), 4);
    server.listen_tls(listener, &certificates).unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    let mut refused = TcpStream::connect(address).await.unwrap();
    let mut nothing = [0; 1];
    // Ten seconds before any handshake is given up.
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), refused.read(&mut nothing)).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
    // Handshakes do not keep the server from stopping.
    server.drain(std::time::Duration::ZERO).await;
}

#[tokio::test]
async fn the_page_tells_the_certificates_fingerprint() {
    let secure = Secure::on_loopback().await;
    let http = &secure.serve.http;
    let page = http.call(Method::GET, "/ca", &[], "").await.expect(200);
    let page = String::from_utf8_lossy(&page.body).into_owned();
    let der = http.call(Method::GET, "/ca.crt", &[], "").await.expect(200);
    assert_eq!(der.header("content-type"), "application/x-x509-ca-cert");
    let fingerprint: Vec<String> = {
        use sha2::Digest;
        sha2::Sha256::digest(&der.body).iter().map(|byte| format!("{byte:02X}")).collect()
    };
    assert!(page.contains(&fingerprint.join(":")), "{page}");
    for system in ["Windows", "macOS", "iPhone", "Android", "Debian", "curl --cacert", "verify="] {
        assert!(page.contains(system), "{system}");
    }
    assert!(!page.contains("<!--"), "every mark is filled");
    // The authority outlives a restart, so that nobody must trust it twice; its key never lies open.
    let before = std::fs::read_to_string(&secure.authority).unwrap();
    let data = secure.folder.path().join("data");
    for file in crate::support::files_below(&data).into_iter().filter(|file| file.is_file()) {
        let content = std::fs::read(&file).unwrap();
        assert!(!content.windows(11).any(|window| window == b"PRIVATE KEY"), "{}", file.display());
    }
    assert_eq!(secure.serve.terminate(), Some(0));
    let again = Serve::start_with_https(&data, &[("PAGEWIRE_HTTPS_LISTEN", "127.0.0.1:0")]).await;
    assert_eq!(again.http.call(Method::GET, "/ca.pem", &[], "").await.expect(200).body, before);
}

#[tokio::test]
async fn without_https_there_is_nothing_to_trust() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(folder.path(), "loopback", &[]).await;
    for path in ["/ca", "/ca.pem", "/ca.crt"] {
        serve.http.call(Method::GET, path, &[], "").await.expect(404);
    }
    assert!(!folder.path().join("keys/authority").exists());
}

/// Writes a certificate of somebody else's making for `localhost`, and answers its PEM.
fn write_own(folder: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.pem()
}

#[tokio::test]
async fn an_own_certificate_is_shown_and_reloaded_on_sighup() {
    if !has("curl") {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let first = write_own(files.path());
    let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    let env =
        [("PAGEWIRE_TLS_CERT", certificate.to_str().unwrap()), ("PAGEWIRE_TLS_KEY", key.to_str().unwrap())];
    let secure = Secure::start([127, 0, 0, 1].into(), &env).await;
    let page = secure.serve.http.call(Method::GET, "/ca", &[], "").await.expect(200);
    assert!(String::from_utf8_lossy(&page.body).contains("nothing to install"));
    secure.serve.http.call(Method::GET, "/ca.pem", &[], "").await.expect(404);
    let url = secure.url("localhost", "/health");
    std::fs::write(&secure.authority, &first).unwrap();
    let answer = secure.curl(&["--http1.1", "--include", &url]).await;
    assert!(
        out(&answer).contains("strict-transport-security: max-age="),
        "{} {}",
        out(&answer),
        err(&answer)
    );

    // A key that does not belong to it: the old certificate stays.
    let second = write_own(files.path());
    let good_key = std::fs::read(&key).unwrap();
    std::fs::write(&key, "nonsense").unwrap();
    secure.serve.hang_up();
    assert!(secure.curl(&[&url]).await.status.success());
    std::fs::write(&key, good_key).unwrap();
    std::fs::write(&secure.authority, &second).unwrap();
    secure.serve.hang_up();
    // The signal is acted on at once, but nothing tells when: the new certificate itself does.
    let mut tries = 0;
    while !secure.curl(&[&url]).await.status.success() {
        tries += 1;
        assert!(tries < 50, "the new certificate was not taken: {}", err(&secure.curl(&[&url]).await));
    }
    let rows = certificate_rows(&secure.serve.http, 2).await;
    let [newest, oldest] = [&rows[0], &rows[1]];
    assert_eq!((&newest["target"], &newest["actor"]), (&json!("certificate:https"), &json!("system")));
    assert_eq!(newest["after"]["file"], certificate.to_str().unwrap());
    assert_eq!(newest["before"]["fingerprint"], oldest["after"]["fingerprint"]);
    assert_ne!(newest["after"]["fingerprint"], oldest["after"]["fingerprint"]);
    assert_eq!(oldest["before"], Value::Null);
}

/// The audit log's rows about certificates, newest first, when there are so many.
async fn certificate_rows(http: &Http, count: usize) -> Vec<Value> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let page = http.get("/admin/audit?action=certificate.changed", BOOTSTRAP).await.expect(200).json();
        let rows = page["rows"].as_array().unwrap().clone();
        if rows.len() >= count {
            assert_eq!(rows.len(), count, "{page}");
            return rows;
        }
        assert!(std::time::Instant::now() < deadline, "{page}");
    }
}

/// The authority stays over a restart and is told of once; the certificate is made anew.
#[tokio::test]
async fn the_audit_log_has_the_authority_once_and_every_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let listen = free_address().to_string();
    let env = [("PAGEWIRE_HTTPS_LISTEN", listen.as_str())];
    let serve = Serve::start_with_https(folder.path(), &env).await;
    let first = certificate_rows(&serve.http, 2).await;
    let page = serve.http.call(Method::GET, "/ca", &[], "").await.expect(200);
    assert_eq!(
        (&first[0]["target"], &first[1]["target"]),
        (&json!("certificate:https"), &json!("certificate:authority"))
    );
    let authority = first[1]["after"]["fingerprint"].as_str().unwrap();
    assert!(String::from_utf8_lossy(&page.body).contains(authority), "what people compare");
    assert_eq!(serve.terminate(), Some(0));
    let serve = Serve::start_with_https(folder.path(), &env).await;
    let rows = certificate_rows(&serve.http, 3).await;
    assert_eq!(rows[0]["before"]["fingerprint"], first[0]["after"]["fingerprint"]);
}

#[tokio::test]
async fn wrong_certificate_files_and_a_taken_port_stop_the_start_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let start = |env: Vec<(&'static str, String)>| {
        let data = folder.path().join("data");
        run(move || {
            Command::new(crate::support::PROGRAM)
                .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
                .arg(data)
                .env_clear()
                .envs(env)
                .output()
                .unwrap()
        })
    };
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    write_own(folder.path());
    std::fs::write(&key, "nonsense").unwrap();
    let refused = start(vec![
        ("PAGEWIRE_HTTPS_LISTEN", "127.0.0.1:0".to_owned()),
        ("PAGEWIRE_TLS_CERT", certificate.display().to_string()),
        ("PAGEWIRE_TLS_KEY", key.display().to_string()),
    ])
    .await;
    assert!(err(&refused).contains("key.pem holds no private key in PEM form"), "{}", err(&refused));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = start(vec![("PAGEWIRE_HTTPS_LISTEN", address.clone())]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains(&format!("cannot listen on {address} for HTTPS")), "{}", err(&refused));
}

#[tokio::test]
async fn plain_http_on_the_network_is_for_keys_only() {
    let Some(address) = network_address() else { return };
    let folder = tempfile::tempdir().unwrap();
    let lan = SocketAddr::new(address, free_address().port());
    let refused = run({
        let data = folder.path().join("data");
        move || {
            Command::new(crate::support::PROGRAM)
                .args(["serve", "--listen", &lan.to_string(), "--https-listen", "", "--data-dir"])
                .arg(data)
                .env_clear()
                .output()
                .unwrap()
        }
    })
    .await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(err(&refused).contains("server.allow_plain_http"), "{}", err(&refused));

    let (listen, https) = (lan.to_string(), SocketAddr::new(address, free_address().port()));
    let env = [
        ("PAGEWIRE_LISTEN", listen.as_str()),
        ("PAGEWIRE_ALLOW_PLAIN_HTTP", "true"),
        ("PAGEWIRE_HTTPS_LISTEN", &https.to_string()),
    ];
    let serve = Serve::start_at(lan, &folder.path().join("data"), &env).await;
    let http: &Http = &serve.http;
    http.get("/fax", BOOTSTRAP).await.expect(200);
    http.call(Method::GET, "/fax", &[], "").await.expect(401);
    for (method, path, cookie) in [
        (Method::POST, "/auth/login", None),
        (Method::GET, "/auth/session", None),
        (Method::POST, "/setup", None),
        (Method::GET, "/fax", Some(("cookie", "session=x"))),
    ] {
        let headers: Vec<(&str, &str)> = [("x-api-key", BOOTSTRAP)].into_iter().chain(cookie).collect();
        let refused = http.call(method, path, &headers, "password").await.expect(403).json();
        assert_eq!(refused["error"]["code"], "https_only", "{path}");
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("https://localhost:{}/", https.port())), "{detail}");
    }
    let page = http.call(Method::GET, "/console/", &[], "").await.expect(403);
    let page = String::from_utf8_lossy(&page.body).into_owned();
    assert!(page.contains(&format!("https://localhost:{}/", https.port())) && page.contains("/ca"), "{page}");
    let pem = http.call(Method::GET, "/ca.pem", &[], "").await.expect(200);

    // Over TLS at the same address all of it is served.
    if !has("curl") {
        return;
    }
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, &pem.body).unwrap();
    let answer = run(move || {
        Command::new("curl")
            .args(["--silent", "--show-error", "--noproxy", "*", "--cookie", "session=x", "--cacert"])
            .arg(authority)
            .args(["-w", "%{http_code}", "-o", "/dev/null", &format!("https://{https}/console/")])
            .output()
            .unwrap()
    })
    .await;
    assert_eq!(out(&answer), "200", "{}", err(&answer));
}

#[tokio::test]
async fn plain_http_on_the_https_port_is_told_to_use_https() {
    let site = Secure::on_loopback().await;
    let long =
        format!("POST /fax HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n{}", "x".repeat(60_000));
    for request in ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "P", &long] {
        let mut stream = TcpStream::connect(site.https).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 400 ")
                && head.contains(&format!("Content-Length: {}\r\n", body.len()))
        );
        assert!(body.contains("https://"), "{answer}");
    }
    // What is neither HTTP nor TLS is hung up on as before.
    let mut stream = TcpStream::connect(site.https).await.unwrap();
    stream.write_all(b"hello\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
}

#[tokio::test]
async fn slow_handshakes_lock_nobody_out() {
    if !has("curl") {
        return;
    }
    let secure = Secure::on_loopback().await;
    let mut slow = Vec::new();
    for _ in 0..1100 {
        slow.push(TcpStream::connect(secure.https).await.unwrap());
    }
    let answer = secure.curl(&[&secure.url("localhost", "/health")]).await;
    assert!(answer.status.success(), "{}", err(&answer));
    // And who connects over plain HTTP and says nothing is not kept for ever either.
    let mut silent = TcpStream::connect(secure.serve.http.address).await.unwrap();
    for stream in [&mut slow[0], &mut silent] {
        let mut rest = Vec::new();
        let ended =
            tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a client that says nothing was held");
    }
}
