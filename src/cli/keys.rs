//! `pagewire keys …`: API keys, through the running server.

use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use super::Settings;
use super::client::Client;
use super::identify;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Which,
}

#[derive(Subcommand)]
enum Which {
    #[command(flatten)]
    Call(Command),
    /// Tell whose token standard input has, and whether it works
    Identify(identify::Arguments),
}

#[derive(Subcommand)]
enum Command {
    /// Make a key; its token is printed once
    Create {
        /// What the key is for
        name: String,
        /// production, development or admin
        #[arg(long, default_value = "production")]
        kind: String,
        /// Scopes, separated by commas [default: send, read and cancel faxes, list and read the inbox]
        #[arg(long, value_delimiter = ',')]
        scopes: Vec<String>,
        /// Account the key belongs to; made when there is none of this name
        #[arg(long)]
        owner: Option<String>,
        /// Last moment of validity, like 2027-01-31T00:00:00Z
        #[arg(long)]
        expires_at: Option<String>,
        /// A remark
        #[arg(long)]
        note: Option<String>,
    },
    /// List all keys
    List,
    /// Give a key a new secret; the old one stops at once, or after the grace
    Rotate {
        /// Id of the key
        id: String,
        /// Seconds the old secret keeps working
        #[arg(long, default_value_t = 0)]
        grace_seconds: u64,
    },
    /// End a key for good
    Revoke {
        /// Id of the key
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::local(&arguments.settings.load()?.data_dir);
    let command = match &arguments.command {
        Which::Call(command) => command,
        Which::Identify(identify) => {
            return super::runtime()?.block_on(identify::run(identify, &client, arguments.json));
        }
    };
    let (method, path, body) = request(command);
    let answer = super::runtime()?.block_on(client.json(method, &path, body.as_ref()))?;
    if arguments.json {
        println!("{answer}");
    } else {
        print(command, &answer);
    }
    Ok(ExitCode::SUCCESS)
}

fn request(command: &Command) -> (Method, String, Option<Value>) {
    const KEYS: &str = "/admin/api-keys";
    match command {
        Command::Create { name, kind, scopes, owner, expires_at, note } => {
            let mut body = json!({ "name": name, "kind": kind });
            let optional = [("owner", owner), ("expires_at", expires_at), ("note", note)];
            for (field, value) in optional {
                if let Some(value) = value {
                    body[field] = json!(value);
                }
            }
            if !scopes.is_empty() {
                body["scopes"] = json!(scopes);
            }
            (Method::POST, KEYS.to_owned(), Some(body))
        }
        Command::List => (Method::GET, KEYS.to_owned(), None),
        Command::Rotate { id, grace_seconds } => {
            (Method::POST, format!("{KEYS}/{id}/rotate"), Some(json!({ "grace_seconds": grace_seconds })))
        }
        Command::Revoke { id, reason } => (
            Method::DELETE,
            format!("{KEYS}/{id}"),
            reason.as_ref().map(|reason| json!({ "reason": reason })),
        ),
    }
}

fn print(command: &Command, answer: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    match command {
        Command::Create { .. } | Command::Rotate { .. } => {
            println!("{}", text(&answer["token"]));
            eprintln!("This token is shown once. Keep it where secrets are kept.");
        }
        Command::List => {
            println!("{:12}  {:11}  {:8}  {:20}  NAME", "ID", "KIND", "STATUS", "LAST USED");
            for key in answer.as_array().into_iter().flatten() {
                println!(
                    "{:12}  {:11}  {:8}  {:20}  {}",
                    text(&key["key_id"]),
                    text(&key["kind"]),
                    text(&key["status"]),
                    text(&key["last_used_at"]),
                    text(&key["name"])
                );
            }
        }
        Command::Revoke { id, .. } => println!("The key {id} is revoked."),
    }
}
