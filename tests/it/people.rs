//! People against the real program: from the setup link to signing out, and all that is refused.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Answer, BOOTSTRAP, Http, PROGRAM, Serve, form, once_printed, pdf};

const PASSWORD: &str = "four words in a row";
const OTHER: &str = "another good passphrase";

struct House {
    serve: Serve,
    folder: tempfile::TempDir,
}

/// Somebody signed in.
#[derive(Clone)]
struct Browser {
    http: Http,
    cookie: String,
}

impl House {
    async fn new(env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let serve = start(folder.path(), env).await;
        Self { serve, folder }
    }

    fn http(&self) -> &Http {
        &self.serve.http
    }

    /// Starts the program anew on the same folder.
    async fn restart(self) -> Self {
        let Self { serve, folder } = self;
        assert_eq!(serve.terminate(), Some(0));
        let serve = start(folder.path(), &[]).await;
        Self { serve, folder }
    }

    /// A command on the appliance itself, with this on its standard input.
    async fn command(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(PROGRAM);
        command.arg(arguments[0]).arg("--data-dir").arg(self.data_dir()).args(&arguments[1..]).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let run = move || {
            let mut child = command.spawn().unwrap();
            // A command that reads nothing may be gone already.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            child.wait_with_output().unwrap()
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    async fn command_json(&self, arguments: &[&str], input: &str) -> Value {
        let output = self.command(arguments, input).await;
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The administrator, made with the setup link.
    async fn administrator(&self) -> Browser {
        let link = self.command_json(&["setup-token", "--json"], "").await;
        let body = json!({"token": token_of(&link), "username": "anna", "password": PASSWORD});
        Browser::new(self.http(), &self.post("/setup", body).await.expect(200))
    }

    async fn login(&self, name: &str, password: &str) -> Answer {
        self.post("/auth/login", json!({"username": name, "password": password})).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.http().call(Method::POST, path, &[], body.to_string()).await
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

async fn start(folder: &Path, env: &[(&str, &str)]) -> Serve {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    let mut all = vec![("PAGEWIRE_LOG", "trace")];
    all.extend(env);
    Serve::start_with_log(&folder.join("data"), "loopback", &all, log.into()).await
}

impl Browser {
    fn new(http: &Http, answer: &Answer) -> Self {
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        Self { http: http.clone(), cookie }
    }

    async fn get(&self, path: &str) -> Answer {
        self.http.call(Method::GET, path, &[("cookie", &self.cookie)], "").await
    }

    /// As the console does it.
    async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        let headers = [("cookie", self.cookie.as_str()), ("x-console", "1"), ("origin", "http://localhost")];
        self.http.call(method, path, &headers, body.to_string()).await
    }

    fn token(&self) -> &str {
        self.cookie.split_once('=').unwrap().1
    }
}

fn token_of(link: &Value) -> &str {
    link["url"].as_str().unwrap().split_once("/setup#token=").unwrap().1
}

#[track_caller]
fn code(answer: Answer, status: u16) -> String {
    answer.expect(status).json()["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn from_the_setup_link_to_signing_out() {
    let house = House::new(&[]).await;
    house.http().get("/admin/config", BOOTSTRAP).await.expect(200);
    let state = house.http().call(Method::GET, "/setup", &[], "").await.expect(200).json();
    assert_eq!(state["needs_setup"], true);
    let link = format!("http://{}/setup#token=", house.http().address);
    once_printed(&house.folder.path().join("log"), &link).await;

    let browser = [("accept", "text/html,*/*;q=0.8"), ("sec-fetch-site", "none")];
    let on = house.http().call(Method::GET, "/setup", &browser, "").await.expect(303);
    assert_eq!(on.header("location"), "/console/setup");
    let page = house.http().call(Method::GET, "/console/setup", &browser, "").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"));

    let first = house.command_json(&["setup-token", "--json"], "").await;
    assert!(first["url"].as_str().unwrap().starts_with(&link));
    let short = json!({"token": token_of(&first), "username": "anna", "password": "short"});
    assert_eq!(house.post("/setup", short).await.expect(422).json()["errors"][0]["field"], "password");
    let anna = house.administrator().await;
    let again = json!({"token": token_of(&first), "username": "eve", "password": PASSWORD});
    assert_eq!(code(house.post("/setup", again).await, 403), "link_invalid");
    assert_eq!(house.command(&["setup-token"], "").await.status.code(), Some(3));

    let session = anna.get("/auth/session").await.expect(200).json();
    assert_eq!(
        (&session["user"]["name"], &session["user"]["role"]),
        (&json!("anna"), &json!("global_admin"))
    );
    assert_eq!(session["scopes"], json!(["admin"]));
    for right in ["account_key:show", "account_key:generate", "account_key:reset", "users:manage", "fax:send"]
    {
        assert!(session["rights"].as_array().unwrap().contains(&json!(right)), "{right}");
    }
    // Her session is a credential of the API; the bootstrap key has done its work.
    anna.get("/admin/fax-jobs").await.expect(200);
    house.http().get("/admin/config", BOOTSTRAP).await.expect(401);

    let login = house.login("Anna", PASSWORD).await.expect(200);
    let cookie = login.header("set-cookie");
    for part in ["pagewire=", "; Path=/", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(part), "{part} in the cookie");
    }
    let second = Browser::new(house.http(), &login);
    let house = house.restart().await;
    let [anna, second] = [anna, second].map(|browser| Browser { http: house.http().clone(), ..browser });
    let list = second.get("/auth/sessions").await.expect(200).json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!((&list[0]["current"], &list[1]["current"]), (&json!(true), &json!(false)));
    let other = format!("/auth/sessions/{}", list[1]["id"].as_str().unwrap());
    second.call(Method::DELETE, &other, json!({})).await.expect(200);
    assert_eq!(code(anna.get("/auth/session").await, 401), "session_required");
    let bye = second.call(Method::POST, "/auth/logout", json!({})).await.expect(200);
    assert!(bye.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(code(second.get("/fax").await, 401), "session_required");
}

#[tokio::test]
async fn the_administrator_gets_the_recovery_key_once() {
    let house = House::new(&[]).await;
    let anna = house.administrator().await;
    let make = |browser: &Browser, body: Value| {
        let browser = browser.clone();
        async move { browser.call(Method::POST, "/admin/seal/recovery-key", body).await }
    };
    // One that exists is replaced by who sits at the appliance.
    assert_eq!(code(make(&anna, json!({"replace": true})).await, 403), "insufficient_permissions");
    let created = anna.call(Method::POST, "/admin/users", json!({"name": "bea", "role": "admin"})).await;
    let invited = json!({"token": token_of(&created.expect(201).json()["link"]), "password": OTHER});
    let bea = Browser::new(house.http(), &house.post("/setup", invited).await.expect(200));
    assert_eq!(code(make(&bea, json!({})).await, 403), "insufficient_permissions");
    let made = make(&anna, json!({})).await.expect(200).json();
    assert_eq!(made["recovery_key"].as_str().unwrap().split('-').count(), 14);
    make(&anna, json!({})).await.expect(409);
    assert_eq!(anna.get("/admin/seal").await.expect(200).json()["has_recovery_key"], true);
    assert!(!house.log().contains(&made["recovery_key"].as_str().unwrap()[..14]));
}

#[tokio::test]
async fn writes_with_a_cookie_come_from_the_console_only() {
    let house = House::new(&[]).await;
    let anna = house.administrator().await;
    let cookie = ("cookie", anna.cookie.as_str());
    let console = ("x-console", "1");
    let refused: &[&[(&str, &str)]] = &[
        &[],
        &[console],
        &[("origin", "http://localhost")],
        &[console, ("origin", "http://evil.example")],
        &[console, ("origin", "null")],
        &[console, ("origin", "https://localhost")],
        &[console, ("sec-fetch-site", "cross-site")],
        &[console, ("sec-fetch-site", "same-site")],
        &[console, ("sec-fetch-site", "same-origin"), ("origin", "http://evil.example")],
        &[("x-console", "0"), ("origin", "http://localhost")],
    ];
    let call = async |more: &[(&str, &str)], method: Method, path: &str, body: &str| {
        let headers: Vec<_> = [&[cookie], more].concat();
        house.http().call(method, path, &headers, body.to_owned()).await
    };
    for more in refused {
        let answer = call(more, Method::POST, "/admin/users", r#"{"name":"eve"}"#).await;
        assert_eq!(code(answer, 403), "csrf", "{more:?}");
        let answer = call(more, Method::POST, "/auth/logout", "").await;
        assert_eq!(code(answer, 403), "csrf", "{more:?}");
    }
    for (number, more) in
        [("sec-fetch-site", "same-origin"), ("origin", "http://localhost")].into_iter().enumerate()
    {
        let body = json!({"name": format!("user {number}")}).to_string();
        call(&[console, more], Method::POST, "/admin/users", &body).await.expect(201);
    }
    assert_eq!(anna.get("/admin/users").await.expect(200).json().as_array().unwrap().len(), 3);
    // Signing in needs no header of ours, but no other site's page may do it.
    let login = json!({"username": "anna", "password": PASSWORD}).to_string();
    for foreign in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")] {
        let answer = house.http().call(Method::POST, "/auth/login", &[foreign], login.clone()).await;
        assert_eq!(code(answer, 403), "csrf", "{foreign:?}");
    }
}

#[tokio::test]
async fn only_names_of_ours_and_private_connections() {
    let proxy = [("PAGEWIRE_TRUSTED_PROXIES", "127.0.0.0/8"), ("PAGEWIRE_HOST_NAMES", "fax.example")];
    let house = House::new(&proxy).await;
    let anna = house.administrator().await;
    let key = anna.call(Method::POST, "/admin/api-keys", json!({"name": "k"})).await.expect(200).json();
    let key = key["token"].as_str().unwrap();
    let get =
        async |path: &str, headers: &[(&str, &str)]| house.http().call(Method::GET, path, headers, "").await;
    let (evil, cookie) = (("host", "evil.example"), ("cookie", anna.cookie.as_str()));
    for path in ["/setup", "/auth/session", "/console/", "/fax"] {
        assert_eq!(code(get(path, &[evil, cookie]).await, 421), "misdirected_request", "{path}");
    }
    get("/fax", &[evil, ("x-api-key", key)]).await.expect(200);
    for host in ["fax.example:8443", "127.0.0.1"] {
        get("/console/", &[("host", host)]).await.expect(200);
        get("/auth/session", &[("host", host), cookie]).await.expect(200);
    }

    // Behind the proxy: over plain HTTP nothing that is secret, over HTTPS a cookie for HTTPS only.
    let far = ("x-forwarded-for", "192.168.1.50");
    let https = ("x-forwarded-proto", "https");
    for path in ["/setup", "/auth/session", "/fax"] {
        assert_eq!(code(get(path, &[far, cookie]).await, 403), "https_only", "{path}");
    }
    get("/fax", &[far, cookie, ("x-api-key", key)]).await.expect(200);
    let login = json!({"username": "anna", "password": PASSWORD}).to_string();
    let post = async |headers: &[(&str, &str)]| {
        house.http().call(Method::POST, "/auth/login", headers, login.clone()).await
    };
    assert_eq!(code(post(&[far]).await, 403), "https_only");
    let answer = post(&[far, https, ("host", "fax.example")]).await.expect(200);
    let set = answer.header("set-cookie").to_owned();
    assert!(set.starts_with("__Host-pagewire=") && set.contains("; Secure"));
    let browser = Browser::new(house.http(), &answer);
    let session = get("/auth/session", &[far, https, ("cookie", &browser.cookie)]).await.expect(200).json();
    assert_eq!(session["session"]["address"], "192.168.1.50");
    // A key is no session, and takes the cookie's place.
    assert_eq!(code(get("/auth/session", &[cookie, ("x-api-key", key)]).await, 401), "session_required");
    assert_eq!(
        code(get("/admin/users", &[cookie, ("x-api-key", key)]).await, 403),
        "insufficient_permissions"
    );
}

#[tokio::test]
async fn the_printed_link_leads_through_the_proxy_that_puts_a_path_before_it() {
    let proxy = [("PAGEWIRE_PATH_PREFIX", "/office"), ("PAGEWIRE_HOST_NAMES", "fax.example.org")];
    let house = House::new(&proxy).await;
    once_printed(&house.folder.path().join("log"), "https://fax.example.org/office/setup#token=").await;
}

#[tokio::test]
async fn users_are_managed_below_the_own_rank_and_never_with_a_key() {
    let house = House::new(&[]).await;
    let anna = house.administrator().await;
    let created = anna.call(Method::POST, "/admin/users", json!({"name": "otto", "role": "admin"})).await;
    let created = created.expect(201).json();
    assert!(created["link"]["url"].as_str().unwrap().starts_with("http://localhost/setup#token="));
    let body = json!({"token": token_of(&created["link"]), "password": PASSWORD});
    let otto = Browser::new(house.http(), &house.post("/setup", body).await.expect(200));
    let session = otto.get("/auth/session").await.expect(200).json();
    let rights = session["rights"].as_array().unwrap();
    assert!(
        rights.contains(&json!("users:manage"))
            && !rights.iter().any(|r| r.as_str().unwrap().starts_with("account_key"))
    );
    for role in ["admin", "global_admin"] {
        let above = json!({"name": "more", "role": role});
        otto.call(Method::POST, "/admin/users", above).await.expect(403);
    }
    let wrong = otto.call(Method::POST, "/admin/users", json!({"name": "x", "role": "chief"})).await;
    let detail = wrong.expect(422).json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("allowed: viewer, operator, admin, global_admin"), "{detail}");
    let path = |id: &Value| format!("/admin/users/{}", id.as_str().unwrap());
    let admin_key = house.command_json(&["keys", "--json", "create", "all", "--kind", "admin"], "").await;
    let key = admin_key["token"].as_str().unwrap();
    house.http().get("/admin/users", key).await.expect(200);
    house.http().json(Method::POST, "/admin/users", key, json!({"name": "eve"})).await.expect(403);
    let role = json!({"role": "viewer"});
    house.http().json(Method::PATCH, &path(&created["id"]), key, role.clone()).await.expect(403);

    // Narrowed at once, and signed out.
    anna.call(Method::PATCH, &path(&created["id"]), role).await.expect(200);
    otto.get("/auth/session").await.expect(401);
    let me = anna.get("/auth/session").await.expect(200).json()["user"]["id"].clone();
    for change in [json!({"role": "viewer"}), json!({"status": "disabled"})] {
        assert_eq!(code(anna.call(Method::PATCH, &path(&me), change).await, 409), "user_wrong_state");
    }
    assert_eq!(code(anna.call(Method::DELETE, &path(&me), json!({})).await, 409), "user_wrong_state");
    let otto = Browser::new(house.http(), &house.login("otto", PASSWORD).await.expect(200));
    otto.get("/admin/users").await.expect(403);
    anna.call(Method::DELETE, &path(&created["id"]), json!({})).await.expect(200);
    assert_eq!(code(otto.get("/fax").await, 401), "session_required");
    assert_eq!(code(house.login("otto", PASSWORD).await, 401), "login_failed");
}

#[tokio::test]
async fn a_viewer_sees_how_every_fax_went_and_nothing_that_is_on_it() {
    let house = House::new(&[("FAX_LOCAL_STATION_ID", "+1 555 201 7788")]).await;
    let anna = house.administrator().await;
    let made = anna.call(Method::POST, "/admin/users", json!({"name": "vera", "role": "viewer"})).await;
    let made = made.expect(201).json();
    let body = json!({"token": token_of(&made["link"]), "password": PASSWORD});
    let vera = Browser::new(house.http(), &house.post("/setup", body).await.expect(200));
    let key = anna.call(Method::POST, "/admin/api-keys", json!({"name": "Desk"})).await.expect(200).json();
    let key = key["token"].as_str().unwrap();
    let fax = house.http().send_fax(key, "+15551234567", &pdf(1)).await.expect(202).json();
    let fax = fax["id"].as_str().unwrap();
    house.http().finished(key, fax).await;

    let list = vera.get("/fax").await.expect(200).json();
    assert_eq!(list["total"], 1);
    let one = vera.get(&format!("/fax/{fax}")).await.expect(200).json();
    for shown in [&list["jobs"][0], &one] {
        assert_eq!((&shown["to"], &shown["to_e164"]), (&json!("…4567"), &json!("…4567")));
        assert_eq!(shown["state"], "delivered");
    }
    let calls = vera.get(&format!("/fax/{fax}/attempts")).await.expect(200).json();
    assert_eq!(calls[0]["remote_station_id"], "…7788");
    let trace = vera.get(&format!("/fax/{fax}/attempts/1/trace")).await.expect(200).json().to_string();
    let events = vera.get("/events?types=fax.*").await.expect(200).json().to_string();
    assert!(events.contains(fax), "the console follows it live");
    for answer in [trace, events] {
        let digits = answer.replace(' ', "");
        assert!(!digits.contains("5552017788") && !digits.contains("5551234567"), "{digits}");
    }
    for what in ["pdf", "pages/1.png"] {
        let refused = vera.get(&format!("/fax/{fax}/{what}")).await.expect(403).json();
        assert!(refused["detail"].as_str().unwrap().starts_with("Viewers see how"), "{refused}");
    }
    vera.call(Method::DELETE, &format!("/fax/{fax}"), json!({})).await.expect(403);
    assert_eq!(anna.get(&format!("/fax/{fax}")).await.expect(200).json()["to_e164"], "+15551234567");
}

#[tokio::test]
async fn a_session_sends_as_a_key() {
    let house = House::new(&[]).await;
    let anna = house.administrator().await;
    let make = async |body: Value| anna.call(Method::POST, "/admin/api-keys", body).await.expect(200).json();
    let key = make(json!({"name": "Desk", "resources": {"to_prefixes": ["+1555"]}})).await;
    let reader = make(json!({"name": "Reader", "scopes": ["fax:read"]})).await;
    let send = async |to: &str, path: &str, more: &[(&str, &str)]| {
        let (media_type, body) = form(&[("to", to)], &[b"Hello.\n"]);
        let mut headers = vec![("content-type", media_type.as_str())];
        headers.extend(more);
        house.http().call(Method::POST, path, &headers, body).await
    };
    let console = [("cookie", anna.cookie.as_str()), ("x-console", "1"), ("origin", "http://localhost")];
    let as_key = |key: &Value| format!("/fax?as_key={}", key["key_id"].as_str().unwrap());
    let fax = send("+15551234567", &as_key(&key), &console).await.expect(202).json();
    let job = anna.get(&format!("/admin/fax-jobs/{}", fax["id"].as_str().unwrap())).await.expect(200);
    assert!(String::from_utf8_lossy(&job.body).contains(key["key_id"].as_str().unwrap()));
    let used =
        anna.get(&format!("/admin/api-keys/{}", key["key_id"].as_str().unwrap())).await.expect(200).json();
    assert_eq!(used["use_count"], 1);
    send("+4930123456", "/fax", &console).await.expect(202);
    send("+4930123456", &as_key(&key), &console).await.expect(403);
    send("+15551234567", &as_key(&reader), &console).await.expect(403);
    send("+15551234567", "/fax?as_key=ffffffffffff", &console).await.expect(422);
    let own = [("x-api-key", key["token"].as_str().unwrap())];
    send("+15551234567", &as_key(&key), &own).await.expect(422);
}

#[tokio::test]
async fn the_commands_for_people() {
    let house = House::new(&[]).await;
    let users = async |arguments: &[&str], input: &str| {
        house.command(&[&["users"], arguments].concat(), input).await.status.code()
    };
    assert_eq!(
        users(&["add", "anna", "--role", "global_admin", "--password"], &format!("{PASSWORD}\n")).await,
        Some(0)
    );
    assert_eq!(users(&["add", "Anna"], "").await, Some(3), "taken");
    assert_eq!(users(&["add", "otto", "--password"], "short").await, Some(3));
    assert_eq!(users(&["add", "clinic", "--service"], "").await, Some(0));
    house.login("anna", PASSWORD).await.expect(200);
    assert_eq!(users(&["password", "anna"], &format!("{OTHER}\n")).await, Some(0));
    assert_eq!(code(house.login("anna", PASSWORD).await, 401), "login_failed");
    assert_eq!(users(&["unlock", "anna"], "").await, Some(0));
    house.login("anna", OTHER).await.expect(200);
    assert_eq!(users(&["disable", "anna"], "").await, Some(3), "the last administrator");
    assert_eq!(users(&["role", "clinic", "viewer"], "").await, Some(0));
    assert_eq!(users(&["role", "clinic", "chief"], "").await, Some(2));
    assert_eq!(users(&["password", "clinic"], PASSWORD).await, Some(3), "cannot sign in");
    assert_eq!(users(&["remove", "nobody"], "").await, Some(3));
    assert_eq!(users(&["remove", "clinic"], "").await, Some(0));
    let list = house.command_json(&["users", "--json", "list"], "").await;
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    assert_eq!((&list[0]["name"], &list[0]["role"]), (&json!("anna"), &json!("global_admin")));

    let reset = house.command_json(&["admin", "--json", "reset"], "").await;
    let body = json!({"token": token_of(&reset["link"]), "password": PASSWORD});
    house.post("/setup", body).await.expect(200);
    house.login("anna", PASSWORD).await.expect(200);
    house.command_json(&["admin", "--json", "reset", "anna", "--password"], OTHER).await;
    house.login("anna", OTHER).await.expect(200);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_nothing_secret_is_logged() {
    let house = House::new(&[("PAGEWIRE_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let anna = house.administrator().await;
    let begun = anna.call(Method::POST, "/auth/totp/begin", json!({})).await.expect(200).json();
    let wrong = anna.call(Method::POST, "/auth/totp/confirm", json!({"code": "000000"})).await;
    assert_eq!(code(wrong, 401), "login_failed");
    let change = json!({"password": PASSWORD, "new_password": OTHER});
    anna.call(Method::POST, "/auth/password", change).await.expect(200);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let headers = [("x-forwarded-for", "203.0.113.5"), ("x-forwarded-proto", "https")];
        let body = json!({"username": "nobody-of-ours", "password": "a guess that is wrong"}).to_string();
        let answer = house.http().call(Method::POST, "/auth/login", &headers, body).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
            assert_eq!(answer.json()["error"]["limit"], "login");
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses[..3], [401, 401, 401]);
    assert!(statuses.contains(&429), "{statuses:?}");
    house.login("anna", OTHER).await.expect(200);
    let secrets = [PASSWORD, OTHER, "a guess that is wrong", anna.token(), begun["secret"].as_str().unwrap()];
    let house = house.restart().await;
    let log = house.log();
    assert!(log.contains("POST /auth/login"), "the log has every request");
    for secret in secrets {
        assert!(!log.contains(secret), "a secret stands in the log");
    }
    // Nor does any of it stand in a file.
    for file in crate::support::files_below(&house.data_dir()) {
        let content = std::fs::read(&file).unwrap_or_default();
        for secret in [PASSWORD, OTHER, anna.token(), begun["secret"].as_str().unwrap()] {
            let is_there = content.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "{}", file.display());
        }
    }
}
