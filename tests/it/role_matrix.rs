//! Every route for every role and every kind of key.
//!
//! The table below says what each route asks for and what it answers who may: with an empty body
//! (but where [`BODIES`] has one), and for ids that nobody has. A described route without a row fails, and so does a row without a
//! route.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{BOOTSTRAP, Http, Serve, on_the_appliance, users};

const ROLES: [&str; 4] = ["viewer", "operator", "admin", "global_admin"];

/// What a route asks for beside a key that works.
#[derive(Clone, Copy)]
enum Needs {
    /// Not even a key.
    Nothing,
    /// A person's session; a key is none.
    Session,
    /// A process of the appliance itself; nothing that comes over a network.
    Machine,
    /// Nothing else.
    AnyKey,
    /// This scope.
    Scope(&'static str),
    /// This scope, and an administrator.
    Administrator(&'static str),
    /// This scope, and a global administrator.
    Global(&'static str),
    /// This scope, and not a key at all.
    Person(&'static str),
}

use Needs::{Administrator, AnyKey, Global, Machine, Nothing, Person, Scope, Session};

/// Method, path, what it needs, and the status of who has that.
const ROWS: &[(&str, &str, Needs, u16)] = &[
    ("GET", "/health", Nothing, 200),
    ("GET", "/health/ready", Nothing, 200),
    ("GET", "/openapi.json", Nothing, 200),
    ("GET", "/setup", Nothing, 200),
    ("POST", "/setup", Nothing, 422),
    ("POST", "/auth/login", Nothing, 422),
    ("POST", "/setup/token", Machine, 403),
    ("POST", "/setup/reset", Machine, 403),
    ("POST", "/auth/logout", Session, 401),
    ("GET", "/auth/session", Session, 401),
    ("POST", "/auth/password", Session, 401),
    ("POST", "/auth/step-up", Session, 401),
    ("GET", "/auth/sessions", Session, 401),
    ("DELETE", "/auth/sessions/{id}", Session, 401),
    ("POST", "/auth/totp/begin", Session, 401),
    ("POST", "/auth/totp/confirm", Session, 401),
    ("POST", "/auth/totp/disable", Session, 401),
    ("GET", "/v1/key", AnyKey, 200),
    ("GET", "/fax", Scope("fax:read"), 200),
    ("POST", "/fax", Scope("fax:send"), 422),
    ("GET", "/fax/{id}", Scope("fax:read"), 404),
    ("DELETE", "/fax/{id}", Scope("fax:cancel"), 404),
    ("GET", "/fax/{id}/attempts", Scope("fax:read"), 404),
    ("GET", "/fax/{id}/attempts/{number}/trace", Scope("fax:read"), 404),
    ("GET", "/fax/{id}/pages/{page}", Scope("fax:read"), 404),
    ("GET", "/fax/{id}/pdf", Scope("fax:read"), 404),
    ("GET", "/inbound", Scope("inbound:list"), 200),
    ("GET", "/inbound/{id}", Scope("inbound:list"), 404),
    ("GET", "/inbound/{id}/pdf", Scope("inbound:read"), 404),
    ("GET", "/inbound/{id}/tiff", Scope("inbound:read"), 404),
    ("GET", "/api-keys", Scope("keys:read"), 200),
    ("POST", "/api-keys", Scope("keys:manage"), 400),
    ("DELETE", "/api-keys/{id}", Scope("keys:manage"), 404),
    ("GET", "/api-keys/{id}/key", Scope("keys:reveal"), 404),
    ("PATCH", "/api-keys/{id}/revoke", Scope("keys:manage"), 404),
    ("GET", "/account/api-key", Scope("keys:read"), 200),
    ("POST", "/account/api-key/generate", Global("keys:manage"), 409),
    ("POST", "/account/api-key/reset", Global("keys:manage"), 422),
    ("POST", "/account/api-key/show", Global("keys:reveal"), 200),
    ("PUT", "/admin/accounts/{id}/grants", Global("users:manage"), 404),
    ("GET", "/admin/api-keys", Scope("keys:read"), 200),
    ("POST", "/admin/api-keys", Scope("keys:manage"), 400),
    ("POST", "/admin/api-keys/identify", Administrator("keys:manage"), 200),
    ("GET", "/admin/api-keys/safety", Scope("keys:read"), 200),
    ("GET", "/admin/api-keys/{id}", Scope("keys:read"), 404),
    ("DELETE", "/admin/api-keys/{id}", Scope("keys:manage"), 404),
    ("PATCH", "/admin/api-keys/{id}", Scope("keys:manage"), 404),
    ("POST", "/admin/api-keys/{id}/disable", Scope("keys:manage"), 404),
    ("POST", "/admin/api-keys/{id}/enable", Scope("keys:manage"), 404),
    ("GET", "/admin/api-keys/{id}/events", Scope("keys:read"), 404),
    ("POST", "/admin/api-keys/{id}/reveal", Scope("keys:reveal"), 404),
    ("POST", "/admin/api-keys/{id}/rotate", Scope("keys:manage"), 404),
    ("GET", "/admin/api-keys/{id}/usage", Scope("keys:read"), 404),
    ("GET", "/admin/audit", Scope("audit:read"), 200),
    ("GET", "/admin/audit/verify", Scope("audit:read"), 200),
    ("GET", "/admin/audit/export", Global("audit:read"), 200),
    ("GET", "/admin/audit/{seq}", Scope("audit:read"), 404),
    ("GET", "/admin/config", Scope("settings:read"), 200),
    ("GET", "/plugins", Scope("settings:read"), 200),
    ("GET", "/admin/diagnostics/api-auth", Scope("diagnostics:read"), 200),
    ("GET", "/admin/diagnostics/api-auth/stream", Scope("diagnostics:read"), 200),
    ("GET", "/admin/fax-jobs", Scope("admin"), 200),
    ("GET", "/admin/fax-jobs/{id}", Scope("admin"), 404),
    ("GET", "/admin/fax-jobs/{id}/pdf", Scope("admin"), 404),
    ("POST", "/admin/fax-jobs/{id}/refresh", Scope("admin"), 404),
    ("POST", "/admin/fax-jobs/{id}/release", Scope("admin"), 404),
    ("GET", "/admin/seal", Scope("settings:read"), 200),
    ("POST", "/admin/seal/recover", Person("admin"), 403),
    ("POST", "/admin/seal/recovery-key", Person("admin"), 403),
    ("POST", "/admin/seal/rewrap", Person("admin"), 403),
    ("GET", "/admin/users", Scope("users:manage"), 200),
    ("POST", "/admin/users", Person("users:manage"), 403),
    ("GET", "/admin/users/{id}", Scope("users:manage"), 404),
    ("DELETE", "/admin/users/{id}", Person("users:manage"), 403),
    ("PATCH", "/admin/users/{id}", Person("users:manage"), 403),
    ("POST", "/admin/users/{id}/link", Person("users:manage"), 403),
    ("POST", "/admin/users/{id}/password", Person("users:manage"), 403),
    ("POST", "/admin/users/{id}/unlock", Person("users:manage"), 403),
];

/// Bodies of routes that look at them before they look at the sender's rank.
const BODIES: &[(&str, &str)] = &[
    ("/admin/api-keys/identify", r#"{"token": "no token"}"#),
    ("/admin/accounts/{id}/grants", r#"{"grants": []}"#),
    ("/admin/users/{id}/password", r#"{"password": "a passphrase of the matrix"}"#),
];

/// Scopes an operator's keys have at most.
const OPERATOR: &[&str] = &[
    "fax:send",
    "fax:read",
    "fax:cancel",
    "inbound:list",
    "inbound:read",
    "keys:read",
    "keys:manage",
    "keys:reveal",
    "diagnostics:read",
];
/// Scopes the account key has.
const ACCOUNT_KEY: &[&str] = &["fax:send", "fax:read", "fax:cancel", "inbound:list", "inbound:read"];
/// Scopes a viewer's keys have at most.
const VIEWER: &[&str] = &["fax:read", "diagnostics:read"];

/// One key of the matrix.
struct Key {
    role: &'static str,
    kind: &'static str,
    token: String,
}

impl Key {
    fn may(&self, scope: &str) -> bool {
        match (self.kind, self.role) {
            ("account", _) => ACCOUNT_KEY.contains(&scope),
            (_, "viewer") => VIEWER.contains(&scope),
            (_, "operator") => OPERATOR.contains(&scope),
            _ => true,
        }
    }

    /// The status this key gets from a route.
    fn expected(&self, needs: Needs, answer: u16) -> u16 {
        let is_permitted = match needs {
            Nothing | Session | Machine | AnyKey => true,
            Scope(scope) | Person(scope) => self.may(scope),
            Administrator(scope) => self.may(scope) && self.role.ends_with("admin"),
            Global(scope) => self.may(scope) && self.role == "global_admin",
        };
        if is_permitted { answer } else { 403 }
    }
}

async fn keys(serve: &Serve, data_dir: &std::path::Path) -> Vec<Key> {
    let scopes: Vec<String> = pagewire::access::scopes::Scope::ALL.iter().map(ToString::to_string).collect();
    let mut keys = Vec::new();
    for role in ROLES {
        users(data_dir, &["add", role, "--role", role], "a passphrase of the matrix\n").await;
        for kind in ["development", "production", "restricted"] {
            let new = json!({
                "name": kind, "kind": kind, "owner": role, "scopes": scopes, "ip_allow": ["127.0.0.0/8"],
                "limits": {"per_minute": 5000, "per_hour": 5000},
            });
            let made = serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200);
            let token = made.json()["token"].as_str().unwrap().to_owned();
            keys.push(Key { role, kind, token });
        }
    }
    for role in ["admin", "global_admin"] {
        let create = ["create", "all", "--kind", "admin", "--owner", role, "--json"];
        let made = on_the_appliance(data_dir, "keys", &create, "").await;
        let made: Value = serde_json::from_str(&made).unwrap();
        keys.push(Key { role, kind: "admin", token: made["token"].as_str().unwrap().to_owned() });
    }
    let made =
        serve.http.json(Method::POST, "/account/api-key/generate", BOOTSTRAP, json!({})).await.expect(201);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    keys.push(Key { role: "operator", kind: "account", token });
    keys
}

async fn status(http: &Http, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let address = path
        .replace("{id}", "0190b3c0000070008000000000000000")
        .replace("{page}", "1.png")
        .replace("{number}", "1")
        .replace("{seq}", "999999");
    // A stream has no end; its head is the same.
    let method = if path.ends_with("/stream") { "HEAD" } else { method };
    let body = BODIES.iter().find(|(of, _)| *of == path).map_or("{}", |(_, body)| *body);
    let body = if method == "GET" || method == "HEAD" { "" } else { body };
    let headers = [headers, &[("content-type", "application/json")]].concat();
    http.call(method.parse().unwrap(), &address, &headers, body).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_answers_every_role_and_kind_as_the_table_says() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let serve = Serve::start(&data_dir, "loopback", &[("ALLOW_BOOTSTRAP_KEY", "true")]).await;
    let mut wrong = Vec::new();
    for key in &keys(&serve, &data_dir).await {
        for &(method, path, needs, answer) in ROWS {
            let expected = key.expected(needs, answer);
            let got = status(&serve.http, method, path, &[("x-api-key", &key.token)]).await;
            if got != expected {
                wrong.push(format!("{} {} key: {method} {path}: {got}, not {expected}", key.role, key.kind));
            }
        }
    }
    for &(method, path, needs, answer) in ROWS {
        let expected = if matches!(needs, Nothing | Machine) { answer } else { 401 };
        let got = status(&serve.http, method, path, &[]).await;
        if got != expected {
            wrong.push(format!("nobody: {method} {path}: {got}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_described_route_has_its_row() {
    let described: Value = serde_json::from_str(pagewire::http::openapi::description()).unwrap();
    let paths = described["paths"].as_object().unwrap();
    let described: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let rows: BTreeSet<String> = ROWS.iter().map(|(method, path, ..)| format!("{method} {path}")).collect();
    assert_eq!(described, rows);
}
