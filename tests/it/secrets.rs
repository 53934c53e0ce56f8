//! No secret stands where it should not: one run in which an appliance makes every kind of secret,
//! is used in every way and misused in many, and is grepped afterwards. Everything it said and
//! wrote is looked through for everything it ever made or was given.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use crate::import::{BY_SCRYPT, faxbot};
use crate::support::witness::Witness;
use crate::support::{Answer, BOOTSTRAP, Http, PROGRAM, Serve, forged, form, free_address};

/// Passwords of the run: words that stand nowhere else.
const FIRST: &str = "plum ladder quartz seventy";
const SECOND: &str = "walnut & gravel: 12 geese";
const THIRD: &str = "mellow turbine / fog bank";
const FOURTH: &str = "nine copper kettles sing";
const GUESS: &str = "harbour tulip window guess";
/// What a fax says; sealed on disk and nobody's business in a log.
const LETTER: &str = "Dear Dr Quillfeather, the results of Zebediah Umlauf are in.";

/// What tells of many things at once.
const LISTS: [&str; 11] = [
    "/health",
    "/openapi.json",
    "/admin/config",
    "/plugins",
    "/admin/seal",
    "/admin/fax-jobs",
    "/admin/diagnostics/api-auth",
    "/inbound",
    "/admin/api-keys/safety",
    "/api-keys",
    "/account/api-key",
];

struct Run {
    folder: tempfile::TempDir,
    witness: Arc<Witness>,
    lives: u32,
}

/// One life of the appliance.
struct Life {
    serve: Serve,
    http: Http,
    metrics: Http,
    log: PathBuf,
    stream: Option<JoinHandle<Vec<u8>>>,
}

impl Run {
    fn new() -> Self {
        let witness = Arc::new(Witness::default());
        witness.keep("the bootstrap key", BOOTSTRAP);
        for password in [FIRST, SECOND, THIRD, FOURTH, GUESS] {
            witness.keep("a password", password);
        }
        witness.keep("a fax", LETTER);
        witness.keep("a key that came from a Faxbot", &BY_SCRYPT.0["fbk_live_a1b2c3d4e5f6_".len()..]);
        Self { folder: tempfile::tempdir().unwrap(), witness, lives: 0 }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    async fn start(&mut self) -> Life {
        self.lives += 1;
        let log = self.folder.path().join(format!("log of life {}", self.lives));
        let metrics = free_address().to_string();
        let env = [
            ("PAGEWIRE_LOG", "trace"),
            ("ALLOW_BOOTSTRAP_KEY", "true"),
            ("ALLOW_QUERY_API_KEY", "true"),
            ("PAGEWIRE_METRICS_LISTEN", &metrics),
        ];
        let to = std::fs::File::create(&log).unwrap();
        let serve = Serve::start_with_log(&self.data(), "loopback", &env, to.into()).await;
        let http = serve.http.before(&self.witness);
        self.keep_sealing_key();
        let metrics = Http::new(metrics.parse().unwrap()).before(&self.witness);
        metrics.wait_until_up().await;
        Life { serve, http, metrics, log, stream: None }
    }

    /// The key the seal is opened with, in whose file alone it may stand.
    fn keep_sealing_key(&self) {
        let file = self.data().join("keys/kek");
        if let Ok(key) = std::fs::read(&file) {
            self.witness.keep_in("the sealing key", key, Some(&file));
        }
    }

    /// Takes in what a life left behind, its database as it lies there.
    async fn end(&self, life: Life, is_fault: bool) {
        let Life { serve, metrics, log, stream, .. } = life;
        metrics.get("/metrics", BOOTSTRAP).await.expect(200);
        if is_fault {
            assert!(!serve.abort(), "a memory image would hold everything");
        } else {
            assert_eq!(serve.terminate(), Some(0));
        }
        if let Some(stream) = stream {
            let seen = stream.await.unwrap();
            assert!(!seen.is_empty());
            self.witness.saw("the stream of diagnostics", seen);
        }
        self.witness.saw_log("the log", &std::fs::read_to_string(log).unwrap());
        self.witness.saw_files(&self.data());
    }

    /// A command on the appliance; `pointers` are where its JSON may show a secret.
    async fn command(&self, arguments: &[&str], input: &str, pointers: &[&str]) -> Value {
        let mut command = Command::new(PROGRAM);
        command.arg(arguments[0]).arg("--data-dir").arg(self.data()).args(&arguments[1..]).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let run = move || {
            let mut child = command.spawn().unwrap();
            // A command that reads nothing may be gone already.
            let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
            child.wait_with_output().unwrap()
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        self.witness.saw_command(&format!("pagewire {}", arguments.join(" ")), &output, pointers);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}

impl Life {
    async fn post(&self, path: &str, key: &str, body: Value) -> Answer {
        self.http.json(Method::POST, path, key, body).await
    }

    /// A key, as the console makes it: its id and its token.
    async fn key(&self, by: &str, body: Value) -> (String, String) {
        let made = self.post("/admin/api-keys", by, body).await.expect(200).json();
        (text(&made["key_id"]), text(&made["token"]))
    }

    /// What the appliance tells its administrators live, until it ends.
    async fn listen(&mut self) {
        let mut stream = tokio::net::TcpStream::connect(self.http.address).await.unwrap();
        let request = format!(
            "GET /admin/diagnostics/api-auth/stream HTTP/1.1\r\nhost: localhost\r\nx-api-key: {BOOTSTRAP}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut seen = vec![0; 16];
        stream.read_exact(&mut seen).await.unwrap();
        self.stream = Some(tokio::spawn(async move {
            // A life that ends in a fault resets the connection.
            let _ = stream.read_to_end(&mut seen).await;
            seen
        }));
    }
}

/// Somebody at the console.
struct Browser {
    http: Http,
    cookie: String,
}

impl Browser {
    fn new(http: &Http, answer: &Answer) -> Self {
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        Self { http: http.clone(), cookie }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        let headers = [("cookie", self.cookie.as_str()), ("x-console", "1"), ("origin", "http://localhost")];
        self.http.call(method, path, &headers, body.to_string()).await
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn token_of(link: &Value) -> String {
    text(&link["url"]).split_once("/setup#token=").unwrap().1.to_owned()
}

fn code_of(secret: &str) -> String {
    use totp_rs::{Algorithm, Builder, Secret};
    let secret = Secret::try_from_base32(secret).unwrap();
    let totp = Builder::new().with_algorithm(Algorithm::SHA1).with_secret(secret).build().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    totp.generate(now.as_secs()).to_string()
}

/// People: links, passwords, sessions, second factors.
async fn people(run: &Run, life: &Life) {
    let http = &life.http;
    let post = async |path: &str, body: Value| http.call(Method::POST, path, &[], body.to_string()).await;
    let link = run.command(&["setup-token", "--json"], "", &["/url"]).await;
    let first = json!({"token": token_of(&link), "username": "anna", "password": FIRST});
    post("/setup", json!({"token": token_of(&link), "username": "anna", "password": "short"}))
        .await
        .expect(422);
    let anna = Browser::new(http, &post("/setup", first.clone()).await.expect(200));
    post("/setup", first).await.expect(403);
    // A password where the name belongs, wrong passwords, and fields that are no such thing.
    for body in [
        json!({"username": GUESS, "password": GUESS}),
        json!({"username": "anna", "password": GUESS, "totp": "123456"}),
    ] {
        post("/auth/login", body).await.expect(401);
    }
    post("/auth/login", json!({"username": "anna", "password": [FIRST]})).await;
    post("/auth/login", json!({"username": "anna", FIRST: "password"})).await;
    let change = json!({"password": FIRST, "new_password": SECOND});
    anna.call(Method::POST, "/auth/password", change).await.expect(200);
    let anna =
        Browser::new(http, &post("/auth/login", json!({"username": "anna", "password": SECOND})).await);
    let begun = anna.call(Method::POST, "/auth/totp/begin", json!({})).await.expect(200).json();
    anna.call(Method::POST, "/auth/totp/confirm", json!({"code": "000000"})).await.expect(401);
    let code = json!({"code": code_of(&text(&begun["secret"]))});
    let codes = anna.call(Method::POST, "/auth/totp/confirm", code).await.expect(200).json();
    let recovery = codes["recovery_codes"][0].clone();
    let with_code = json!({"username": "anna", "password": SECOND, "totp": recovery});
    let anna = Browser::new(http, &post("/auth/login", with_code).await.expect(200));
    anna.call(Method::POST, "/auth/step-up", json!({"password": GUESS})).await.expect(401);
    anna.call(Method::POST, "/auth/step-up", json!({"password": SECOND})).await.expect(200);
    let made = anna.call(Method::POST, "/admin/users", json!({"name": "otto", "role": "admin"})).await;
    let made = made.expect(201).json();
    let path = format!("/admin/users/{}", text(&made["id"]));
    post("/setup", json!({"token": token_of(&made["link"]), "password": THIRD})).await.expect(200);
    anna.call(Method::POST, &format!("{path}/password"), json!({"password": FOURTH})).await.expect(200);
    post("/auth/login", json!({"username": "otto", "password": FOURTH})).await.expect(200);
    anna.call(Method::POST, &format!("{path}/link"), json!({"reset_totp": true})).await.expect(200);
    anna.call(Method::POST, "/admin/api-keys", json!({"name": "of the console"})).await.expect(200);
    for path in ["/auth/session", "/auth/sessions", "/admin/users", "/v1/key", "/admin/config"] {
        anna.call(Method::GET, path, json!({})).await.expect(200);
    }
    run.command(&["users", "--json", "add", "emil", "--password"], &format!("{THIRD}\n"), &[]).await;
    run.command(&["users", "--json", "add", "frida"], "", &["/link/url"]).await;
    run.command(&["users", "--json", "password", "emil"], FOURTH, &[]).await;
    run.command(&["users", "password", "emil"], "short", &[]).await;
    run.command(&["users", "list"], "", &[]).await;
    run.command(&["admin", "--json", "reset", "anna", "--password"], FIRST, &[]).await;
    run.command(&["admin", "--json", "reset", "anna"], "", &["/link/url"]).await;
    anna.call(Method::POST, "/auth/logout", json!({})).await;
}

/// Keys of all kinds in all families: made, shown, replaced, ended.
async fn keys(run: &Run, life: &Life) -> Vec<String> {
    let mut tokens = Vec::new();
    let (id, token) = life.key(BOOTSTRAP, json!({"name": "Desk", "recoverable": true})).await;
    let path = format!("/admin/api-keys/{id}");
    let rotated = life.post(&format!("{path}/rotate"), BOOTSTRAP, json!({"grace_seconds": 3600})).await;
    tokens.extend([token, text(&rotated.expect(200).json()["token"])]);
    life.post(&format!("{path}/reveal"), BOOTSTRAP, json!({})).await.expect(200);
    life.http.json(Method::PATCH, &path, BOOTSTRAP, json!({"name": "Front desk"})).await.expect(200);
    for verb in ["disable", "enable"] {
        life.post(&format!("{path}/{verb}"), BOOTSTRAP, json!({})).await.expect(200);
    }
    for (kind, more) in [("development", json!(null)), ("restricted", json!(["127.0.0.0/8"]))] {
        let mut new = json!({"name": kind, "kind": kind, "scopes": ["fax:send", "fax:read"]});
        if more.is_array() {
            new["ip_allow"] = more;
        }
        tokens.push(life.key(BOOTSTRAP, new).await.1);
    }
    let (ended, gone) = life.key(BOOTSTRAP, json!({"name": "posted"})).await;
    let reason = json!({"reason": format!("somebody posted {gone}"), "hold_faxes": true});
    life.http.json(Method::DELETE, &format!("/admin/api-keys/{ended}"), BOOTSTRAP, reason).await.expect(200);
    tokens.push(gone);

    let manager =
        json!({"name": "manager", "scopes": ["keys:read", "keys:manage", "keys:reveal", "fax:read"]});
    let (_, manager) = life.key(BOOTSTRAP, manager).await;
    let new = json!({"name": "own", "recoverable": true, "scopes": ["fax:read"]});
    let own = life.post("/api-keys", &manager, new).await.expect(201).json();
    let path = format!("/api-keys/{}", text(&own["apiKey"]["id"]));
    life.http.get(&format!("{path}/key"), &manager).await.expect(200);
    life.http.json(Method::PATCH, &format!("{path}/revoke"), &manager, json!({})).await.expect(200);
    life.http.json(Method::DELETE, &path, &manager, json!({})).await.expect(200);
    tokens.extend([text(&own["apiKey"]["key"]), manager]);
    for (verb, body) in [("generate", json!({})), ("show", json!({})), ("reset", json!({"confirm": "RESET"}))]
    {
        let made = life.post(&format!("/account/api-key/{verb}"), BOOTSTRAP, body).await;
        tokens.push(text(&made.json()["token"]));
    }

    let admin = run.command(&["keys", "--json", "create", "all", "--kind", "admin"], "", &["/token"]).await;
    let (admin, token) = (text(&admin["key_id"]), text(&admin["token"]));
    run.command(&["keys", "--json", "rotate", &admin], "", &["/token"]).await;
    let kept = run.command(&["keys", "--json", "create", "kept", "--recoverable"], "", &["/token"]).await;
    run.command(&["keys", "--json", "reveal", &text(&kept["key_id"])], "", &["/token"]).await;
    for token in [&token, &tokens[1], &forged(&token)] {
        run.command(&["keys", "identify"], token, &[]).await;
        life.post("/admin/api-keys/identify", BOOTSTRAP, json!({"token": token})).await.expect(200);
    }
    run.command(&["keys", "identify", "--revoke"], &text(&kept["token"]), &[]).await;
    run.command(&["keys", "list"], "", &[]).await;
    tokens.push(token);
    tokens
}

/// A token in places where something else belongs: the answer says so without repeating it, and
/// nothing keeps it.
async fn mistakes(life: &Life, token: &str) {
    let (id, _) = life.key(BOOTSTRAP, json!({"name": "of mistakes"})).await;
    let key = format!("/admin/api-keys/{id}");
    let fields =
        ["name", "owner", "note", "kind", "expires_at", "scopes", "ip_allow", "allowed_origins", "limits"];
    for field in fields {
        for value in [json!(token), json!([token]), json!({token: token})] {
            let mut body = json!({"name": "a mistake"});
            body[field] = value;
            let paths =
                [(Method::POST, "/admin/api-keys"), (Method::PATCH, &key), (Method::POST, "/api-keys")];
            for (method, path) in paths {
                let refused = life.http.json(method.clone(), path, BOOTSTRAP, body.clone()).await;
                assert!((400..500).contains(&refused.status), "{method} {path} took {body}");
            }
        }
    }
    for (method, path, body) in [
        (Method::POST, "/admin/api-keys", json!({token: "x"})),
        (Method::POST, "/auth/login", json!({"username": token, "password": token})),
        (Method::POST, "/auth/login", json!({token: token})),
        (Method::POST, "/admin/users", json!({"name": token})),
        (Method::POST, "/setup", json!({"token": token, "username": token, "password": token})),
        (Method::PUT, "/admin/accounts/none/grants", json!({"grants": [token]})),
        (Method::POST, "/account/api-key/reset", json!({"confirm": token})),
        (Method::GET, "/admin/audit?actor={}&action={}", json!({})),
        (Method::GET, "/admin/audit/verify?anchor={}", json!({})),
        (Method::GET, "/fax?status={}&limit={}&cursor={}&{}=x", json!({})),
        (Method::POST, "/fax?as_key={}", json!({})),
    ] {
        let path = path.replace("{}", token);
        life.http.json(method, &path, BOOTSTRAP, body).await;
    }
    for field in ["to", "from", "header", "route", "priority", "schedule_at", "resolution", token] {
        let (media_type, body) = form(&[("to", "+15551234567"), (field, token)], &[b"Hello.\n"]);
        let headers = [("x-api-key", BOOTSTRAP), ("content-type", &media_type)];
        life.http.call(Method::POST, "/fax", &headers, body).await;
    }
    for name in ["x-request-id", "user-agent", "origin", "host", "referer", "range", "content-type", "accept"]
    {
        let headers = [("x-api-key", BOOTSTRAP), (name, token)];
        life.http.call(Method::POST, "/admin/api-keys", &headers, "{}").await;
    }
}

/// Every way in which a key is sent, and many in which it should not be.
async fn use_and_misuse(run: &Run, life: &Life, tokens: &[String]) {
    let http = &life.http;
    let (media_type, body) = form(&[("to", "+15551234567")], &[LETTER.as_bytes()]);
    for token in tokens {
        let bearer = format!("Bearer {token}");
        http.get("/v1/key", token).await;
        http.call(Method::GET, "/fax", &[("authorization", &bearer)], "").await;
        let headers =
            [("x-api-key", token.as_str()), ("content-type", &media_type), ("idempotency-key", "once")];
        let sent = http.call(Method::POST, "/fax", &headers, body.clone()).await;
        if sent.status == 202 {
            let id = text(&sent.json()["id"]);
            http.finished(token, &id).await;
            http.get(&format!("/fax/{id}/attempts"), token).await.expect(200);
            http.get(&format!("/fax/{id}/pdf"), token).await.expect(200);
        }
        let wrong = forged(token);
        run.witness.keep("a wrong secret that was tried", &wrong["fbk_live_a1b2c3d4e5f6_".len()..]);
        http.get("/fax", &wrong).await.expect(401);
        // Where logs and browsers keep it.
        for key in [token, &wrong] {
            http.call(Method::GET, &format!("/fax?apikey={key}"), &[], "").await;
            http.call(Method::POST, &format!("/fax?apikey={key}"), &[], "").await;
            http.call(Method::GET, &format!("/fax/{key}"), &[("x-api-key", BOOTSTRAP)], "").await;
            http.call(Method::GET, &format!("/admin/audit/{key}"), &[("x-api-key", BOOTSTRAP)], "").await;
            http.call(Method::GET, &format!("/{key}"), &[], "").await;
            http.call(Method::GET, "/fax", &[("x-api-key", key), ("authorization", "Bearer other")], "")
                .await;
            http.call(Method::GET, "/fax", &[("authorization", &format!("Basic {key}"))], "").await;
            http.call(Method::GET, "/fax", &[("cookie", &format!("pagewire={key}"))], "").await;
            http.call(Method::GET, "/fax", &[("x-api-key", &key[..key.len() - 1])], "").await;
        }
    }
    for key in http.get("/admin/api-keys", BOOTSTRAP).await.json().as_array().unwrap() {
        let path = format!("/admin/api-keys/{}", text(&key["key_id"]));
        for part in ["", "/usage", "/events"] {
            http.get(&format!("{path}{part}"), BOOTSTRAP).await.expect(200);
        }
    }
    for path in LISTS {
        http.get(path, BOOTSTRAP).await.expect(200);
    }
}

/// Who did what, on all ways out.
async fn audit(run: &Run, life: &Life) {
    life.http.get("/admin/audit?limit=100", BOOTSTRAP).await.expect(200);
    let export = life.http.get("/admin/audit/export", BOOTSTRAP).await.expect(200);
    let export = String::from_utf8(export.body.to_vec()).unwrap();
    for action in ["api_key.revealed", "user.password_changed", "api_key.revoked", "session.started"] {
        assert!(export.contains(action), "{action} did not happen, so nothing about it was looked through");
    }
    for arguments in [["audit", "export"], ["audit", "verify"]] {
        run.command(&arguments, "", &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_the_whole_run_left_behind_has_a_secret() {
    let mut run = Run::new();
    let mut life = run.start().await;
    life.listen().await;
    people(&run, &life).await;
    let tokens = keys(&run, &life).await;
    use_and_misuse(&run, &life, &tokens).await;
    mistakes(&life, &tokens[1]).await;
    audit(&run, &life).await;
    let recovery = run.command(&["seal", "--json", "recovery-key"], "", &["/recovery_key"]).await;
    let recovery = text(&recovery["recovery_key"]);
    run.witness.keep("the recovery key without dashes", recovery.replace('-', ""));
    run.command(&["seal", "--json", "rewrap"], "", &[]).await;
    run.keep_sealing_key();
    // With its write-ahead log, as a fault leaves it.
    run.end(life, true).await;

    let old = run.folder.path().join("old");
    std::fs::create_dir(&old).unwrap();
    let old = faxbot(&old).display().to_string();
    run.command(&["import", "--json", "faxbot", &old, "--dry-run"], "", &[]).await;
    let imported = run.command(&["import", "--json", "faxbot", &old, "--apply"], "", &[]).await;
    assert!(imported.is_object(), "{imported}");

    std::fs::rename(run.data().join("keys/kek"), run.folder.path().join("kek")).unwrap();
    let life = run.start().await;
    use_and_misuse(&run, &life, &[BY_SCRYPT.0.to_owned()]).await;
    for typed in ["hello", &recovery.replace('7', "8"), &recovery] {
        run.command(&["seal", "--json", "recover"], typed, &[]).await;
    }
    run.keep_sealing_key();
    run.end(life, false).await;
    let life = run.start().await;
    life.http.get("/fax", BY_SCRYPT.0).await.expect(200);
    use_and_misuse(&run, &life, &[tokens[1].clone(), BY_SCRYPT.0.to_owned()]).await;
    audit(&run, &life).await;
    run.end(life, false).await;

    let (secrets, seen) = (run.witness.secrets(), run.witness.seen());
    println!("looked for {secrets} secrets in {seen} bytes");
    assert!(secrets > 50 && seen > 5_000_000, "{secrets} secrets, {seen} bytes: the run did too little");
    let leaks = run.witness.leaks();
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));

    // It would have been seen: the same grep, after one of the secrets went into the database.
    let database = rusqlite::Connection::open(run.data().join("pagewire.db")).unwrap();
    database.execute("CREATE TABLE canary(text TEXT)", []).unwrap();
    database.execute("INSERT INTO canary VALUES (?1)", [&tokens[1]]).unwrap();
    drop(database);
    run.witness.saw_files(&run.data());
    let leaks = run.witness.leaks();
    assert!(
        !leaks.is_empty() && leaks.iter().all(|leak| leak.contains("pagewire.db")),
        "{}",
        leaks.join("\n")
    );
}
