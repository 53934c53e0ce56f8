//! Every route for every role, with every kind of key and in a session.
//!
//! The table below says what each route asks for and what it answers who may: with an empty body
//! (but where [`BODIES`] has one), and for ids that nobody has. A described route without a row
//! fails, and so does a row without a route.

use std::collections::BTreeSet;
use std::path::Path;

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{BOOTSTRAP, Http, Serve, on_the_appliance, users};

const PASSWORD: &str = "a passphrase of the matrix";
const ROLES: [&str; 4] = ["viewer", "operator", "admin", "global_admin"];

/// What a route asks for beside a key that works.
#[derive(Clone, Copy)]
enum Needs {
    /// Not even a key.
    Nothing,
    /// A person's session; a key is none.
    Session,
    /// A process of the appliance itself; nothing and nobody that comes over a network.
    Machine,
    /// This scope, and a process of the appliance itself.
    MachineWith(&'static str),
    /// Nothing else.
    AnyKey,
    /// This scope.
    Scope(&'static str),
    /// This scope, and an administrator.
    Administrator(&'static str),
    /// This scope, and a global administrator.
    Global(&'static str),
    /// This scope in a session; a key is none.
    Person(&'static str),
    /// The same of a global administrator.
    GlobalPerson(&'static str),
}

use Needs::{
    Administrator, AnyKey, Global, GlobalPerson, Machine, MachineWith, Nothing, Person, Scope, Session,
};

/// Method, path, what it needs, and the status of who has that.
const ROWS: &[(&str, &str, Needs, u16)] = &[
    ("GET", "/health", Nothing, 200),
    ("GET", "/health/ready", Nothing, 200),
    ("GET", "/openapi.json", Nothing, 200),
    ("GET", "/sdk/faxbot-node.tgz", Nothing, 200),
    ("GET", "/setup", Nothing, 200),
    ("POST", "/setup", Nothing, 422),
    ("POST", "/auth/login", Nothing, 422),
    ("POST", "/setup/token", Machine, 403),
    ("POST", "/setup/reset", Machine, 403),
    ("POST", "/auth/logout", Session, 200),
    ("GET", "/auth/session", Session, 200),
    ("POST", "/auth/password", Session, 422),
    ("POST", "/auth/step-up", Session, 422),
    ("GET", "/auth/sessions", Session, 200),
    ("DELETE", "/auth/sessions/{id}", Session, 404),
    ("POST", "/auth/totp/begin", Session, 200),
    ("POST", "/auth/totp/confirm", Session, 422),
    ("POST", "/auth/totp/disable", Session, 200),
    ("GET", "/v1/key", AnyKey, 200),
    ("GET", "/fax", Scope("fax:read"), 200),
    ("POST", "/fax", Scope("fax:send"), 422),
    ("POST", "/previews", Scope("fax:send"), 422),
    ("GET", "/previews/{id}/pages/{page}", Scope("fax:send"), 404),
    ("GET", "/fax/{id}", Scope("fax:read"), 404),
    ("DELETE", "/fax/{id}", Scope("fax:cancel"), 404),
    ("PATCH", "/fax/{id}", Scope("fax:send"), 404),
    ("POST", "/fax/{id}/resend", Scope("fax:send"), 404),
    ("POST", "/fax/{id}/pdf-link", Scope("fax:read"), 404),
    ("POST", "/fax/{id}/settle", Scope("fax:send"), 404),
    ("POST", "/fax/{id}/release", Scope("fax:send"), 404),
    ("GET", "/fax/{id}/attempts", Scope("fax:read"), 404),
    ("GET", "/fax/{id}/attempts/{number}/trace", Scope("fax:read"), 404),
    ("GET", "/fax/{id}/pages/{page}", Scope("fax:read"), 404),
    ("GET", "/fax/{id}/pdf", Scope("fax:read"), 404),
    ("GET", "/groups/{id}", Scope("fax:read"), 404),
    ("DELETE", "/groups/{id}", Scope("fax:cancel"), 404),
    ("GET", "/events", Scope("fax:read"), 200),
    ("GET", "/events/stream", Scope("fax:read"), 200),
    ("GET", "/inbound", Scope("inbound:list"), 200),
    ("GET", "/inbound/{id}", Scope("inbound:list"), 404),
    ("PATCH", "/inbound/{id}", Scope("inbound:manage"), 404),
    ("DELETE", "/inbound/{id}", Scope("inbound:manage"), 404),
    ("POST", "/inbound/{id}/forward", Scope("fax:send"), 404),
    ("GET", "/inbound/{id}/pages/{page}", Scope("inbound:read"), 404),
    ("GET", "/assignees", Scope("inbound:list"), 200),
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
    ("POST", "/admin/api-keys/{id}/end-previous", Scope("keys:manage"), 404),
    ("GET", "/admin/api-keys/{id}/usage", Scope("keys:read"), 404),
    ("GET", "/admin/audit", Scope("audit:read"), 200),
    ("GET", "/admin/audit/verify", Scope("audit:read"), 200),
    ("GET", "/admin/audit/export", Global("audit:read"), 200),
    ("GET", "/admin/audit/{seq}", Scope("audit:read"), 404),
    ("POST", "/admin/audit/accept-damage", MachineWith("admin"), 403),
    ("GET", "/admin/config", Scope("settings:read"), 200),
    ("GET", "/plugins", Scope("settings:read"), 200),
    ("GET", "/admin/diagnostics/api-auth", Scope("diagnostics:read"), 200),
    ("GET", "/admin/diagnostics/api-auth/stream", Scope("diagnostics:read"), 200),
    ("GET", "/admin/fax-jobs", Scope("admin"), 200),
    ("GET", "/admin/fax-jobs/{id}", Scope("admin"), 404),
    ("POST", "/admin/fax-jobs/{id}/hold", Scope("admin"), 404),
    ("GET", "/admin/fax-jobs/{id}/pdf", Scope("admin"), 404),
    ("POST", "/admin/fax-jobs/{id}/refresh", Scope("admin"), 404),
    ("POST", "/admin/fax-jobs/{id}/release", Scope("admin"), 404),
    ("GET", "/contacts", Scope("contacts:read"), 200),
    ("POST", "/contacts", Scope("contacts:manage"), 422),
    ("GET", "/contacts/{id}", Scope("contacts:read"), 404),
    ("PATCH", "/contacts/{id}", Scope("contacts:manage"), 404),
    ("DELETE", "/contacts/{id}", Scope("contacts:manage"), 404),
    ("GET", "/destinations/{number}", Scope("fax:read"), 200),
    ("GET", "/admin/dialling", Scope("settings:read"), 200),
    ("POST", "/admin/pause", Scope("settings:write"), 200),
    ("POST", "/admin/resume", Scope("settings:write"), 200),
    ("GET", "/admin/routes", Scope("settings:read"), 200),
    ("POST", "/admin/routes/{name}/restore", Scope("settings:write"), 404),
    ("GET", "/admin/policy", Scope("settings:read"), 200),
    ("PUT", "/admin/policy/ranges/{range}", Scope("settings:write"), 422),
    ("PUT", "/admin/policy/numbers/{prefix}", Scope("settings:write"), 422),
    ("DELETE", "/admin/policy/numbers/{prefix}", Scope("settings:write"), 404),
    ("GET", "/admin/seal", Scope("settings:read"), 200),
    ("POST", "/admin/seal/recover", MachineWith("admin"), 403),
    ("POST", "/admin/seal/recovery-key", GlobalPerson("admin"), 422),
    ("POST", "/admin/seal/rewrap", MachineWith("admin"), 403),
    ("GET", "/admin/storage", Scope("settings:read"), 200),
    ("POST", "/admin/storage/clean", Scope("settings:write"), 200),
    ("POST", "/admin/storage/reconcile", Scope("settings:write"), 200),
    ("GET", "/admin/health-status", Scope("diagnostics:read"), 200),
    ("GET", "/admin/db-status", Scope("settings:read"), 200),
    ("POST", "/admin/diagnostics/run", Scope("diagnostics:read"), 200),
    ("POST", "/admin/mail/test", Scope("settings:write"), 409),
    ("GET", "/admin/logs", Scope("settings:read"), 200),
    ("GET", "/admin/settings", Scope("settings:read"), 200),
    ("PUT", "/admin/settings", Scope("settings:write"), 200),
    ("GET", "/admin/settings/export", Scope("settings:read"), 200),
    ("POST", "/admin/settings/reload", Scope("settings:write"), 200),
    ("POST", "/admin/settings/validate", Scope("settings:write"), 200),
    ("GET", "/admin/summary", Scope("diagnostics:read"), 200),
    ("GET", "/admin/users", Scope("users:manage"), 200),
    ("POST", "/admin/users", Person("users:manage"), 422),
    ("GET", "/admin/users/{id}", Scope("users:manage"), 404),
    ("DELETE", "/admin/users/{id}", Person("users:manage"), 404),
    ("PATCH", "/admin/users/{id}", Person("users:manage"), 404),
    ("POST", "/admin/users/{id}/link", Person("users:manage"), 404),
    ("POST", "/admin/users/{id}/password", Person("users:manage"), 404),
    ("POST", "/admin/users/{id}/unlock", Person("users:manage"), 404),
    ("GET", "/webhooks", Scope("webhooks:manage"), 200),
    ("POST", "/webhooks", Person("webhooks:manage"), 422),
    ("GET", "/webhooks/{id}", Scope("webhooks:manage"), 404),
    ("DELETE", "/webhooks/{id}", Person("webhooks:manage"), 404),
    ("PATCH", "/webhooks/{id}", Person("webhooks:manage"), 404),
    ("GET", "/webhooks/{id}/deliveries", Scope("webhooks:manage"), 404),
    ("POST", "/webhooks/{id}/replay", Scope("webhooks:manage"), 422),
    ("POST", "/webhooks/{id}/rotate", Person("webhooks:manage"), 404),
    ("POST", "/webhooks/{id}/test", Scope("webhooks:manage"), 404),
];

/// Bodies of routes that look at them before they look at the sender's rank.
const BODIES: &[(&str, &str)] = &[
    ("/admin/api-keys/identify", r#"{"token": "no token"}"#),
    ("/admin/accounts/{id}/grants", r#"{"grants": []}"#),
    // One that was made could not be made again by who comes next.
    ("/admin/seal/recovery-key", r#"{"replace": "perhaps"}"#),
    ("/admin/users/{id}/password", r#"{"password": "a passphrase of the matrix"}"#),
];

/// Scopes an operator's keys and sessions have at most, of those that routes ask for.
const OPERATOR: &[&str] = &[
    "fax:send",
    "fax:read",
    "fax:cancel",
    "inbound:list",
    "inbound:read",
    "inbound:manage",
    "keys:read",
    "keys:manage",
    "keys:reveal",
    "diagnostics:read",
    "contacts:read",
    "contacts:manage",
];
/// Scopes the account key has.
const ACCOUNT_KEY: &[&str] =
    &["fax:send", "fax:read", "fax:cancel", "fax:route", "inbound:list", "inbound:read", "inbound:manage"];
/// Scopes a viewer's keys and sessions have at most.
const VIEWER: &[&str] = &["fax:read", "diagnostics:read"];

/// One who sends requests.
enum Sender {
    Nobody,
    Key {
        role: &'static str,
        kind: &'static str,
        token: String,
    },
    /// Somebody signed in; as the console does it, or as another site's page would.
    Person {
        role: &'static str,
        cookie: String,
        is_console: bool,
    },
}

impl Sender {
    fn name(&self) -> String {
        match self {
            Self::Nobody => "nobody".to_owned(),
            Self::Key { role, kind, .. } => format!("{role} {kind} key"),
            Self::Person { role, is_console: true, .. } => format!("{role} session"),
            Self::Person { role, .. } => format!("{role} session from another site"),
        }
    }

    /// Whether its role and its key have the scope.
    fn holds(&self, scope: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::Key { kind: "account", .. } => ACCOUNT_KEY.contains(&scope),
            Self::Key { role, .. } | Self::Person { role, .. } => match *role {
                "viewer" => VIEWER.contains(&scope),
                "operator" => OPERATOR.contains(&scope),
                _ => true,
            },
        }
    }

    fn is_of(&self, roles: &[&str]) -> bool {
        match self {
            Self::Nobody => false,
            Self::Key { role, .. } | Self::Person { role, .. } => roles.contains(role),
        }
    }

    /// The status this sender gets from a route.
    fn expected(&self, method: &str, needs: Needs, answer: u16) -> u16 {
        let is_asked = !matches!(needs, Nothing | Machine);
        let is_permitted = match (self, needs) {
            (_, Nothing | Machine) => true,
            (Self::Nobody, _) | (Self::Key { .. }, Session) => return 401,
            (Self::Person { is_console: false, .. }, _) if is_asked && method != "GET" => false,
            (Self::Key { .. }, Person(_) | GlobalPerson(_)) => false,
            (_, AnyKey | Session) => true,
            (_, Scope(scope) | Person(scope) | MachineWith(scope)) => self.holds(scope),
            (_, Administrator(scope)) => self.holds(scope) && self.is_of(&["admin", "global_admin"]),
            (_, Global(scope) | GlobalPerson(scope)) => self.holds(scope) && self.is_of(&["global_admin"]),
        };
        if is_permitted { answer } else { 403 }
    }

    async fn status(&self, http: &Http, method: &str, path: &str) -> u16 {
        let address = path
            .replace("{id}", "0190b3c0000070008000000000000000")
            .replace("{page}", "1.png")
            .replace("destinations/{number}", "destinations/15551234567")
            .replace("{number}", "1")
            .replace("{range}", "abroad")
            .replace("{prefix}", "4930")
            .replace("{name}", "none")
            .replace("{seq}", "999999");
        // A stream has no end; its head is the same.
        let method = if path.ends_with("/stream") { "HEAD" } else { method };
        let body = BODIES.iter().find(|(of, _)| *of == path).map_or("{}", |(_, body)| *body);
        let body = if method == "GET" || method == "HEAD" { "" } else { body };
        let mut headers = vec![("content-type", "application/json")];
        match self {
            Self::Nobody => {}
            Self::Key { token, .. } => headers.push(("x-api-key", token)),
            Self::Person { cookie, is_console, .. } => {
                headers.push(("cookie", cookie));
                if *is_console {
                    headers.extend([("x-console", "1"), ("origin", "http://localhost")]);
                }
            }
        }
        http.call(method.parse().unwrap(), &address, &headers, body).await.status
    }
}

async fn keys(serve: &Serve, data_dir: &Path) -> Vec<Sender> {
    let scopes: Vec<String> = pagewire::access::scopes::Scope::ALL.iter().map(ToString::to_string).collect();
    let mut keys = Vec::new();
    for role in ROLES {
        for kind in ["development", "production", "restricted"] {
            let new = json!({
                "name": kind, "kind": kind, "owner": role, "scopes": scopes, "ip_allow": ["127.0.0.0/8"],
                "limits": {"per_minute": 5000, "per_hour": 5000},
            });
            let made = serve.http.json(Method::POST, "/admin/api-keys", BOOTSTRAP, new).await.expect(200);
            let token = made.json()["token"].as_str().unwrap().to_owned();
            keys.push(Sender::Key { role, kind, token });
        }
    }
    for role in ["admin", "global_admin"] {
        let create = ["create", "all", "--kind", "admin", "--owner", role, "--json"];
        let made = on_the_appliance(data_dir, "keys", &create, "").await;
        let made: Value = serde_json::from_str(&made).unwrap();
        keys.push(Sender::Key { role, kind: "admin", token: made["token"].as_str().unwrap().to_owned() });
    }
    let made =
        serve.http.json(Method::POST, "/account/api-key/generate", BOOTSTRAP, json!({})).await.expect(201);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    keys.push(Sender::Key { role: "operator", kind: "account", token });
    keys
}

/// A new session of the person that is called as their role is.
async fn sign_in(http: &Http, role: &'static str, is_console: bool) -> Sender {
    let login = json!({"username": role, "password": PASSWORD}).to_string();
    let answer = http.call(Method::POST, "/auth/login", &[], login).await.expect(200);
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    Sender::Person { role, cookie, is_console }
}

/// What differs from the table, for one sender.
async fn differences(http: &Http, sender: &Sender) -> Vec<String> {
    let mut wrong = Vec::new();
    for &(method, path, needs, answer) in ROWS {
        let expected = sender.expected(method, needs, answer);
        let got = match sender {
            // It ends the session it comes in; the others still need theirs.
            Sender::Person { role, is_console, .. } if path == "/auth/logout" => {
                sign_in(http, role, *is_console).await.status(http, method, path).await
            }
            sender => sender.status(http, method, path).await,
        };
        if got != expected {
            wrong.push(format!("{}: {method} {path}: {got}, not {expected}", sender.name()));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_answers_every_sender_as_the_table_says() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let serve = Serve::start(&data_dir, "loopback", &[("ALLOW_BOOTSTRAP_KEY", "true")]).await;
    for role in ROLES {
        let add = ["add", role, "--role", role, "--password"];
        users(&data_dir, &add, &format!("{PASSWORD}\n")).await;
    }
    let mut senders = vec![Sender::Nobody];
    senders.extend(keys(&serve, &data_dir).await);
    for role in ROLES {
        for is_console in [true, false] {
            senders.push(sign_in(&serve.http, role, is_console).await);
        }
    }
    let mut wrong = Vec::new();
    for sender in &senders {
        wrong.extend(differences(&serve.http, sender).await);
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
