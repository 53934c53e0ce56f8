//! The documentation: its pages and links, every error's explanation, and every line one can paste.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hyper::Method;
use serde_json::json;

use crate::node_client::node_is_missing;
use crate::support::{BOOTSTRAP, Demo, Http, Serve, form, free_address, pdf, repository};
use crate::webhooks_served::{ALLOWED, on_the_socket};

/// What stands between `before` and `after`, each time.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Vec<&'t str> {
    text.split(before).skip(1).map(|rest| rest.split(after).next().unwrap()).collect()
}

/// The path a link on a page leads to, as a browser works it out.
fn resolved(page: &str, link: &str) -> String {
    let path = link.split('#').next().unwrap();
    if path.is_empty() {
        return page.to_owned();
    }
    assert!(!path.starts_with('/'), "{link} on {page} breaks below a path of a proxy");
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => assert!(parts.pop().is_some_and(|part| !part.is_empty()), "{link} on {page}"),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

async fn body(http: &Http, path: &str) -> String {
    let answer = http.call(Method::GET, path, &[], "").await;
    assert_eq!(answer.status, 200, "{path}");
    String::from_utf8(answer.body.to_vec()).unwrap_or_default()
}

#[tokio::test]
async fn every_page_is_found_and_every_link_leads_somewhere() {
    let folder = tempfile::tempdir().unwrap();
    let https = free_address().to_string();
    let serve = Serve::start_with_https(folder.path(), &[("PAGEWIRE_HTTPS_LISTEN", &https)]).await;
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    let mut links = Vec::new();
    let mut next = vec!["/docs".to_owned()];
    while let Some(path) = next.pop() {
        if pages.contains_key(&path) {
            continue;
        }
        let html = body(&serve.http, &path).await;
        if path.starts_with("/docs") && !path.ends_with(".css") {
            for link in between(&html, "href=\"", "\"").into_iter().filter(|link| !link.contains(':')) {
                let target = resolved(&path, link);
                links.push((path.clone(), target.clone(), link.split_once('#').map(|(_, id)| id.to_owned())));
                next.push(target);
            }
            let outside = between(&html, "src=\"", "\"");
            assert!(outside.is_empty(), "{path} loads {outside:?}");
            for tag in between(&html, "<", ">") {
                let is_inline = tag.starts_with("script") || tag.contains(" style=") || tag.contains(" on");
                assert!(!is_inline, "{path} has <{tag}>");
            }
            for token in [between(&html, "fbk_live_", " "), between(&html, "fbk_test_", " ")].concat() {
                assert!(!token.starts_with(|c: char| c.is_ascii_hexdigit()), "{path} has {token}");
            }
        }
        pages.insert(path, html);
    }
    for (page, target, id) in links {
        if let Some(id) = id {
            assert!(pages[&target].contains(&format!("id=\"{id}\"")), "{page} links to {target}#{id}");
        }
    }
    for file in std::fs::read_dir(repository("web/docs")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let path = match name.as_str() {
            "frame.html" => continue,
            "first-fax.html" => "/docs".to_owned(),
            "docs.css" => "/docs/docs.css".to_owned(),
            page => format!("/docs/{}", page.strip_suffix(".html").unwrap()),
        };
        assert!(pages.contains_key(&path), "nothing links to {path}");
    }
    let css = serve.http.call(Method::GET, "/docs/docs.css", &[], "").await.expect(200);
    assert_eq!(css.header("content-type"), "text/css; charset=utf-8");
    assert!(!String::from_utf8_lossy(&css.body).contains("url("));
    let page = serve.http.call(Method::GET, "/docs/api-keys", &[], "").await.expect(200);
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    serve.http.call(Method::GET, "/docs/nowhere", &[], "").await.expect(404);
    serve.http.call(Method::GET, "/docs/frame", &[], "").await.expect(404);
    serve.http.call(Method::HEAD, "/docs/errors", &[], "").await.expect(200);
    for path in ["/docs/", "/docs/first-fax"] {
        let moved = serve.http.call(Method::GET, path, &[], "").await.expect(303);
        assert_eq!(resolved(path, moved.header("location")), "/docs");
    }
}

#[tokio::test]
async fn every_error_leads_to_its_explanation() {
    let demo = Demo::start();
    let errors = body(&demo.http, "/docs/errors").await;
    for problem in pagewire::http::error::CATALOGUE {
        let address = problem.address();
        let moved = demo.http.call(Method::GET, &address, &[], "").await.expect(303);
        let (page, anchor) = moved.header("location").split_once('#').unwrap();
        assert_eq!((resolved(&address, page).as_str(), anchor), ("/docs/errors", problem.slug));
        assert_eq!(errors.matches(&format!("<h3 id=\"{anchor}\">")).count(), 1, "{anchor}");
        assert!(errors.contains(&format!("<code>{}</code>", problem.code)), "{anchor}");
    }
    demo.http.call(Method::GET, "/problems/nonsense", &[], "").await.expect(404);
    for symptom in [">401 Unauthorized<", ">429 Rate limited<", ">413 / 415"] {
        assert!(errors.contains(symptom), "{symptom}");
    }
}

#[tokio::test]
async fn whom_to_ask_and_where_to_send_stand_on_the_pages() {
    let folder = tempfile::tempdir().unwrap();
    let serve = Serve::start(
        folder.path(),
        "loopback",
        &[("PAGEWIRE_SUPPORT_CONTACT", "Ada <ada@example.org>, ext. 5")],
    )
    .await;
    let help = body(&serve.http, "/docs/help").await;
    assert!(help.contains("Ada &lt;ada@example.org&gt;, ext. 5"), "{help}");
    assert!(!help.contains("support.contact"));
    let demo = Demo::start();
    assert!(body(&demo.http, "/docs/help").await.contains("support.contact"));
    let named = [("host", "fax.local:8080")];
    let first = demo.http.call(Method::GET, "/docs", &named, "").await.expect(200);
    assert!(String::from_utf8_lossy(&first.body).contains("export BASE=http://fax.local:8080\n"));
    let odd = [("host", "a$(touch,x)")];
    let answer = demo.http.call(Method::GET, "/docs", &odd, "").await;
    assert!(!String::from_utf8_lossy(&answer.body).contains("touch"));
}

// ---- Lines to paste -------------------------------------------------------------------------

/// A block of lines that a page tells how to run.
struct Block {
    page: String,
    /// `sh`, `node`, `python`, `install`, …
    how: String,
    attributes: String,
    lines: String,
}

impl Block {
    fn has(&self, attribute: &str) -> bool {
        self.attributes.contains(attribute)
    }
}

fn blocks() -> Vec<Block> {
    let mut found = Vec::new();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(repository("web/docs")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        let html = std::fs::read_to_string(&file).unwrap();
        for block in between(&html, "<pre data-run=\"", "</pre>") {
            let (tag, lines) = block.split_once('>').unwrap();
            let (how, attributes) = tag.split_once('"').unwrap();
            let plain = lines.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
            found.push(Block {
                page: file.file_name().unwrap().to_string_lossy().into_owned(),
                how: how.to_owned(),
                attributes: attributes.to_owned(),
                lines: plain,
            });
        }
    }
    found
}

/// What the lines find when they run: an appliance, keys, a fax of every kind, and files.
struct Desk {
    folder: tempfile::TempDir,
    data_dir: PathBuf,
    serve: Serve,
    key: String,
    test_key: String,
    sent: String,
    received: String,
    webhook: String,
}

impl Desk {
    async fn set_up() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let serve = Serve::start(&data_dir, "loopback", &ALLOWED).await;
        let http = &serve.http;
        let key = json!({"name": "Reader", "scopes": ["fax:send", "fax:read", "fax:cancel", "inbound:list", "inbound:read"]});
        let key = http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, key).await.expect(200).json();
        let test = json!({"name": "Reader's laptop", "kind": "development"});
        let test = http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, test).await.expect(200).json();
        let key = key["token"].as_str().unwrap().to_owned();
        let sent = http.send_fax(&key, "+15551234567", &pdf(1)).await.expect(202).json();
        let sent = sent["id"].as_str().unwrap().to_owned();
        assert_eq!(http.finished(&key, &sent).await["status"], "SUCCESS");
        let received =
            http.get("/inbound", &key).await.expect(200).json()[0]["id"].as_str().unwrap().to_owned();
        let hook = json!({"name": "Reader", "url": "http://127.0.0.1:9/", "types": ["storage.full"]});
        let (status, hook) = on_the_socket(&data_dir, Method::POST, "/webhooks", hook).await;
        assert_eq!(status, 201, "{hook}");
        std::fs::write(folder.path().join("letter.pdf"), pdf(2)).unwrap();
        std::fs::copy(repository("fixtures/console.png"), folder.path().join("scan.png")).unwrap();
        // What the appliance refuses is no success, whatever curl thinks of it.
        std::fs::write(folder.path().join(".curlrc"), "fail-with-body\nsilent\nshow-error\n").unwrap();
        Self {
            data_dir,
            key,
            test_key: test["token"].as_str().unwrap().to_owned(),
            sent,
            received,
            webhook: hook["id"].as_str().unwrap().to_owned(),
            serve,
            folder,
        }
    }

    /// The block as a command, with its variables set.
    async fn command(&self, block: &Block) -> Command {
        let http = &self.serve.http;
        let new = json!({"name": "To be changed"});
        let key = http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200).json();
        let fax = if block.has("data-fax=\"waiting\"") {
            let (media_type, body) =
                form(&[("to", "+15551234567"), ("schedule_at", "2090-01-01T00:00:00Z")], &[b"Later.\n"]);
            let headers = [("x-api-key", self.key.as_str()), ("content-type", &media_type)];
            http.call(Method::POST, "/fax", &headers, body).await.expect(202).json()["id"]
                .as_str()
                .unwrap()
                .to_owned()
        } else {
            self.sent.clone()
        };
        let presented = if block.has("data-key=\"admin\"") {
            BOOTSTRAP
        } else if block.has("data-key=\"test\"") {
            &self.test_key
        } else {
            &self.key
        };
        let mut command = match block.how.as_str() {
            "sh" | "install" => {
                let mut shell = Command::new("sh");
                // What goes on has to be the process that is stopped.
                let exec = if block.has("data-seconds") { "exec " } else { "" };
                shell.args(["-e", "-c", &format!("{exec}{}", block.lines)]);
                shell
            }
            "admin-socket" => {
                let socket = pagewire::serve::socket_in(&self.data_dir).display().to_string();
                assert!(block.lines.contains("sudo curl --unix-socket /var/lib/pagewire/admin.sock"));
                let lines = block.lines.replace("sudo ", "").replace("/var/lib/pagewire/admin.sock", &socket);
                let mut shell = Command::new("sh");
                shell.args(["-e", "-c", &lines]);
                shell
            }
            "node" | "receiver-node" => {
                let mut node = Command::new("node");
                node.args(["-e", &block.lines]);
                node
            }
            "python" | "receiver-python" => {
                let mut python = Command::new(self.folder.path().join("python/bin/python"));
                python.args(["-c", &block.lines]);
                python
            }
            other => panic!("{} has a block to run as {other}", block.page),
        };
        let path = std::env::var("PATH").unwrap();
        command
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.folder.path().join("python/bin").display()))
            .env("CURL_HOME", self.folder.path())
            .env("BASE", format!("http://{}", http.address))
            .env("API_KEY", presented)
            .env("KEY_ID", key["key_id"].as_str().unwrap())
            .env("FAX_ID", fax)
            .env("INBOUND_ID", &self.received)
            .env("WEBHOOK_ID", &self.webhook);
        command
    }

    async fn run(&self, block: &Block) {
        let mut command = self.command(block).await;
        if block.has("data-seconds") {
            // It goes on until somebody stops it.
            let mut child = Ended(command.stdout(Stdio::null()).spawn().unwrap());
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(child.0.try_wait().unwrap().is_none(), "{}: {}", block.page, block.lines);
            return;
        }
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}: {}\n{}{}",
            block.page,
            block.lines,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Runs a receiver of webhooks, and has the appliance post to it.
    async fn receive(&self, block: &Block) {
        let address = free_address();
        let hook = json!({"name": "Sample", "url": format!("http://{address}/"), "types": ["storage.full"]});
        let (_, hook) = on_the_socket(&self.data_dir, Method::POST, "/webhooks", hook).await;
        let mut command = self.command(block).await;
        command
            .env("PORT", address.port().to_string())
            .env("WEBHOOK_SECRET", hook["secret"].as_str().unwrap());
        let mut child = Ended(command.stdout(Stdio::piped()).spawn().unwrap());
        // It tells nobody when it is ready.
        while Http::new(address).try_connect().await.is_err() {
            assert!(child.0.try_wait().unwrap().is_none(), "{} ended", block.how);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let path = format!("/webhooks/{}/test", hook["id"].as_str().unwrap());
        let tested = self.serve.http.json(Method::POST, &path, BOOTSTRAP, json!({})).await.expect(200).json();
        assert_eq!((&tested["delivered"], &tested["status"]), (&json!(true), &json!(204)), "{}", block.how);
        let mut line = String::new();
        BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("webhook.test "), "{line}");
        // A message somebody made up, and one from long ago.
        for time in ["1", "not a time"] {
            let headers =
                [("webhook-id", "x"), ("webhook-timestamp", time), ("webhook-signature", "v1,AAAA")];
            let refused = Http::new(address).call(Method::POST, "/", &headers, "{}").await;
            assert_eq!(refused.status, 401, "{}", block.how);
        }
        let now = jiff::Timestamp::now().as_second().to_string();
        let headers =
            [("webhook-id", "x"), ("webhook-timestamp", now.as_str()), ("webhook-signature", "v1,AAAA")];
        assert_eq!(
            Http::new(address).call(Method::POST, "/", &headers, "{}").await.status,
            401,
            "{}",
            block.how
        );
    }
}

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn make_python(folder: &Path) {
    let made = Command::new("python3").args(["-m", "venv"]).arg(folder.join("python")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_to_paste_works_on_a_live_appliance() {
    if node_is_missing() {
        return;
    }
    let desk = Desk::set_up().await;
    make_python(desk.folder.path());
    let mut blocks = blocks();
    // What is installed first is used by the others.
    blocks.sort_by_key(|block| block.how != "install");
    assert!(blocks.len() > 40, "only {} blocks were found", blocks.len());
    for block in &blocks {
        if block.how.starts_with("receiver") {
            desk.receive(block).await;
        } else {
            desk.run(block).await;
        }
    }
}
