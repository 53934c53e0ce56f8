//! What a user of etherFAX was promised about the account's API key, word by word, against a running
//! appliance.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Answer, BOOTSTRAP, Http, Serve, on_the_appliance, users};

const ACCOUNT_KEY: &str = "/account/api-key";
const PASSWORD: &str = "four words in a row";

/// An appliance with three people, each with a key that has all scopes: what they may do is up to
/// their roles.
struct Office {
    folder: tempfile::TempDir,
    serve: Serve,
    global_admin: String,
    admin: String,
    operator: String,
}

impl Office {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let env = [("ALLOW_BOOTSTRAP_KEY", "true")];
        let serve = Serve::start(folder.path(), "loopback", &env).await;
        let mut tokens = Vec::new();
        for (name, role) in [("olga", "global_admin"), ("adam", "admin"), ("otto", "operator")] {
            let add = ["add", name, "--role", role, "--password"];
            users(folder.path(), &add, &format!("{PASSWORD}\n")).await;
            let new = json!({"name": "own", "owner": name, "scopes": ["admin"]});
            let made = serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200);
            tokens.push(made.json()["token"].as_str().unwrap().to_owned());
        }
        let [global_admin, admin, operator] = tokens.try_into().unwrap();
        Self { folder, serve, global_admin, admin, operator }
    }

    /// The buttons for the account key that the console shows to this person.
    async fn buttons(&self, name: &str) -> Vec<String> {
        let login = json!({"username": name, "password": PASSWORD}).to_string();
        let login = self.http().call(Method::POST, "/auth/login", &[], login).await.expect(200);
        let cookie = login.header("set-cookie").split(';').next().unwrap().to_owned();
        let session = self.http().call(Method::GET, "/auth/session", &[("cookie", &cookie)], "").await;
        let session = session.expect(200).json();
        let rights = session["rights"].as_array().unwrap().iter();
        let buttons = rights.filter_map(|right| right.as_str()?.strip_prefix("account_key:"));
        buttons.map(str::to_owned).collect()
    }

    fn http(&self) -> &Http {
        &self.serve.http
    }

    async fn ask(&self, verb: &str, by: &str, body: Value) -> Answer {
        self.http().json(Method::POST, &format!("{ACCOUNT_KEY}/{verb}"), by, body).await
    }

    async fn masked(&self, by: &str) -> Value {
        self.http().get(ACCOUNT_KEY, by).await.expect(200).json()
    }

    async fn grant(&self, by: &str, to: &str, grants: Value) -> Answer {
        let id = self.http().get("/v1/key", to).await.expect(200).json()["owner_id"].clone();
        let path = format!("/admin/accounts/{}/grants", id.as_str().unwrap());
        self.http().json(Method::PUT, &path, by, json!({ "grants": grants })).await
    }
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_global_administrator_generates_shows_and_resets() {
    let office = Office::open().await;
    let by = office.global_admin.as_str();
    let none = office.masked(by).await;
    assert_eq!(
        (&none["exists"], &none["key_id"], &none["prefix"]),
        (&json!(false), &Value::Null, &Value::Null)
    );
    assert_eq!(none["rights"], json!(["generate", "reset", "show"]));
    office.ask("show", by, json!({})).await.expect(404);
    office.ask("reset", by, json!({"confirm": "RESET"})).await.expect(404);

    let generated = office.ask("generate", by, json!({})).await.expect(201);
    let first = token(&generated);
    let id = generated.json()["key_id"].as_str().unwrap().to_owned();
    assert!(first.starts_with(&format!("fbk_live_{id}_")));
    let masked = office.masked(by).await;
    assert_eq!(
        (&masked["exists"], &masked["key_id"], &masked["prefix"]),
        (&json!(true), &json!(id), &json!(format!("fbk_live_{}", &id[..4])))
    );
    assert!(masked["created_at"].is_string() && !masked.to_string().contains(&first[22..]));

    let shown = office.ask("show", by, json!({})).await.expect(200);
    assert_eq!((token(&shown), &shown.json()["key_id"]), (first.clone(), &json!(id)));

    let sent = office.http().send_fax(&first, "+15551234567", b"Hello\n").await.expect(202).json();
    office.http().finished(&first, sent["id"].as_str().unwrap()).await;
    assert!(office.masked(by).await["last_used_at"].is_string());

    let reset = office.ask("reset", by, json!({"confirm": "RESET"})).await.expect(200);
    let second = token(&reset);
    assert_eq!((&reset.json()["key_id"], &reset.json()["previous_valid_until"]), (&json!(id), &Value::Null));
    office.http().get("/fax", &first).await.expect(401);
    office.http().get("/fax", &second).await.expect(200);
    assert_eq!(token(&office.ask("show", by, json!({})).await), second);
}

#[tokio::test]
async fn there_is_one_account_key() {
    let office = Office::open().await;
    office.ask("generate", &office.global_admin, json!({})).await.expect(201);
    let refused = office.ask("generate", &office.global_admin, json!({})).await.expect(409).json();
    assert_eq!(refused["message"], "account_key.exists");
    let other = json!({"name": "another", "kind": "account"});
    office.http().json(Method::POST, "/admin/api-keys", &office.global_admin, other).await.expect(422);
}

#[tokio::test]
async fn a_reset_has_to_be_confirmed_and_may_leave_time() {
    let office = Office::open().await;
    let by = office.global_admin.as_str();
    let first = token(&office.ask("generate", by, json!({})).await);
    for unconfirmed in [json!({}), json!({"confirm": "reset"}), json!({"confirm": true})] {
        let refused = office.ask("reset", by, unconfirmed).await.expect(422).json();
        assert!(refused["errors"][0]["field"].is_string(), "{refused}");
    }
    let refused = office.ask("reset", by, json!({})).await.expect(422).json();
    assert_eq!(refused["errors"][0]["field"], "confirm");
    assert!(refused["detail"].as_str().unwrap().contains("stops working"), "clients will break: {refused}");
    office.http().get("/fax", &first).await.expect(200);
    let reset =
        office.ask("reset", by, json!({"confirm": "RESET", "grace_seconds": 3_600})).await.expect(200);
    assert!(reset.json()["previous_valid_until"].is_string());
    for working in [&first, &token(&reset)] {
        office.http().get("/fax", working).await.expect(200);
    }
    assert!(office.masked(by).await["previous_valid_until"].is_string());
}

#[tokio::test]
async fn administrators_and_operators_neither_generate_nor_reset_nor_show() {
    let office = Office::open().await;
    for exists in [false, true] {
        for by in [&office.admin, &office.operator] {
            for verb in ["generate", "reset", "show"] {
                let body = if verb == "reset" { json!({"confirm": "RESET"}) } else { json!({}) };
                let refused = office.ask(verb, by, body).await.expect(403).json();
                assert_eq!(refused["error"]["code"], "insufficient_permissions");
            }
            let masked = office.masked(by).await;
            assert_eq!((&masked["exists"], &masked["rights"]), (&json!(exists), &json!([])), "no buttons");
        }
        if !exists {
            office.ask("generate", &office.global_admin, json!({})).await.expect(201);
        }
    }
}

#[tokio::test]
async fn who_was_granted_it_shows_and_does_no_more() {
    let office = Office::open().await;
    let made = token(&office.ask("generate", &office.global_admin, json!({})).await);
    for by in [&office.admin, &office.operator] {
        let granted = office.grant(&office.global_admin, by, json!(["account_key:show"])).await.expect(200);
        assert_eq!(granted.json()["grants"], json!(["account_key:show"]));
        assert_eq!(token(&office.ask("show", by, json!({})).await.expect(200)), made);
        assert_eq!(office.masked(by).await["rights"], json!(["show"]));
        office.ask("generate", by, json!({})).await.expect(403);
        office.ask("reset", by, json!({"confirm": "RESET"})).await.expect(403);
        office.grant(&office.global_admin, by, json!([])).await.expect(200);
        office.ask("show", by, json!({})).await.expect(403);
    }
}

#[tokio::test]
async fn the_command_line_has_the_same_verbs_and_gives_the_grant() {
    let office = Office::open().await;
    let folder = office.folder.path();
    let account_key = async |arguments: &[&str]| {
        on_the_appliance(folder, "account-key", arguments, "").await.trim().to_owned()
    };
    assert!(account_key(&["status"]).await.contains("no account key"));
    let made = account_key(&["generate"]).await;
    assert_eq!(account_key(&["show"]).await, made);
    let status = account_key(&["status"]).await;
    assert!(status.starts_with(&made[..13]) && !status.contains(&made[22..]), "{status}");
    let reset = account_key(&["reset", "--yes", "--grace-seconds", "60"]).await;
    for working in [&made, &reset] {
        office.http().get("/fax", working).await.expect(200);
    }
    assert_eq!(
        account_key(&["show", "--json"]).await,
        office.ask("show", &office.global_admin, json!({})).await.body
    );

    users(folder, &["grants", "adam", "account_key:show"], "").await;
    assert_eq!(token(&office.ask("show", &office.admin, json!({})).await.expect(200)), reset);
    users(folder, &["grants", "adam"], "").await;
    office.ask("show", &office.admin, json!({})).await.expect(403);
}

#[tokio::test]
async fn others_do_not_see_the_buttons() {
    let office = Office::open().await;
    assert_eq!(office.buttons("olga").await, ["generate", "reset", "show"]);
    for (name, key) in [("adam", &office.admin), ("otto", &office.operator)] {
        assert!(office.buttons(name).await.is_empty(), "{name}");
        office.grant(&office.global_admin, key, json!(["account_key:show"])).await.expect(200);
        assert_eq!(office.buttons(name).await, ["show"], "{name}");
    }
}

#[tokio::test]
async fn only_the_global_administrator_grants() {
    let office = Office::open().await;
    for by in [&office.admin, &office.operator] {
        office.grant(by, by, json!(["account_key:show"])).await.expect(403);
    }
    let by = office.global_admin.as_str();
    let refused = office.grant(by, by, json!(["account_key:reset"])).await.expect(422).json();
    assert!(refused["detail"].as_str().unwrap().contains("account_key:show"), "{refused}");
    let nobody = "/admin/accounts/0190b3c0000070008000000000000000/grants";
    office.http().json(Method::PUT, nobody, by, json!({"grants": []})).await.expect(404);
    office.http().json(Method::PUT, nobody, by, json!({})).await.expect(422);
}

#[tokio::test]
async fn the_account_key_outlives_who_made_it() {
    let office = Office::open().await;
    let made = token(&office.ask("generate", &office.global_admin, json!({})).await);
    let folder = office.folder.path();
    let another = ["add", "petra", "--role", "global_admin", "--password"];
    users(folder, &another, &format!("{PASSWORD}\n")).await;
    users(folder, &["disable", "olga"], "").await;
    office.http().get("/v1/key", &office.global_admin).await.expect(401);
    let shown = office.http().get("/v1/key", &made).await.expect(200).json();
    assert_eq!((&shown["kind"], &shown["owner"]), (&json!("account"), &json!("account")));
    assert_eq!(shown["expires_at"], Value::Null);
}
