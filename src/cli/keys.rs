//! `pagewire keys …`: API keys, through the running server.

use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use super::{ToServer, identify, print_table};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: ToServer,
    #[command(subcommand)]
    command: Which,
}

#[derive(Subcommand)]
enum Which {
    #[command(flatten)]
    Call(Box<Command>),
    /// Tell whose token standard input has, and whether it works
    Identify(identify::Arguments),
}

#[derive(Subcommand)]
enum Command {
    /// Make a key; its token is printed once
    Create {
        /// What the key is for
        name: String,
        /// production, development, restricted or admin
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
        /// Networks it works from, separated by commas, like 192.168.1.0/24
        #[arg(long, value_delimiter = ',', value_name = "NETWORKS")]
        ip_allow: Vec<String>,
        /// Keep its token sealed, so that it can be shown again
        #[arg(long)]
        recoverable: bool,
        #[command(flatten)]
        limits: Limits,
    },
    /// Change what a key is
    Update {
        /// Id of the key
        id: String,
        /// What the key is for
        #[arg(long)]
        name: Option<String>,
        /// A remark
        #[arg(long)]
        note: Option<String>,
        /// Scopes, separated by commas
        #[arg(long, value_delimiter = ',')]
        scopes: Vec<String>,
        /// Networks it works from, separated by commas
        #[arg(long, value_delimiter = ',', value_name = "NETWORKS")]
        ip_allow: Vec<String>,
        /// Last moment of validity
        #[arg(long)]
        expires_at: Option<String>,
        #[command(flatten)]
        limits: Limits,
        /// Fields to clear, separated by commas: note, resources, ip_allow, allowed_origins, limits, not_before, expires_at
        #[arg(long, value_delimiter = ',', value_name = "FIELDS")]
        clear: Vec<String>,
    },
    /// Show one key
    Show {
        /// Id of the key
        id: String,
    },
    /// Switch a key off, until it is enabled
    Disable {
        /// Id of the key
        id: String,
    },
    /// Switch a key on again
    Enable {
        /// Id of the key
        id: String,
    },
    /// Show the token of a recoverable key
    Reveal {
        /// Id of the key
        id: String,
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
    /// After a rotation: end the old secret now, before its grace is over
    EndPrevious {
        /// Id of the key
        id: String,
    },
    /// End a key for good
    Revoke {
        /// Id of the key
        id: String,
        /// Why; "compromised" always holds the key's faxes
        #[arg(long)]
        reason: Option<String>,
        /// Hold its faxes that are not being sent yet, until an administrator releases them
        #[arg(long)]
        hold_faxes: bool,
    },
}

/// Limits of a key's own; those of its kind where none is given.
#[derive(clap::Args)]
struct Limits {
    /// Requests in a minute
    #[arg(long, value_name = "REQUESTS")]
    per_minute: Option<u32>,
    /// Requests in an hour
    #[arg(long, value_name = "REQUESTS")]
    per_hour: Option<u32>,
    /// Pages dialled in a day
    #[arg(long, value_name = "PAGES")]
    pages_per_day: Option<u32>,
    /// Numbers never dialled before, in a day
    #[arg(long, value_name = "NUMBERS")]
    new_destinations_per_day: Option<u32>,
}

impl Limits {
    fn add_to(&self, body: &mut Value) {
        let limits = [
            ("per_minute", self.per_minute),
            ("per_hour", self.per_hour),
            ("pages_per_day", self.pages_per_day),
            ("new_destinations_per_day", self.new_destinations_per_day),
        ];
        for (name, limit) in limits {
            if let Some(limit) = limit {
                body["limits"][name] = json!(limit);
            }
        }
    }
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = arguments.common.client()?;
    let command = match &arguments.command {
        Which::Call(command) => command,
        Which::Identify(identify) => {
            return super::runtime()?.block_on(identify::run(identify, &client, arguments.common.json));
        }
    };
    let (method, path, body) = request(command);
    let answer = super::runtime()?.block_on(client.json(method, &path, body.as_ref()))?;
    if arguments.common.json {
        println!("{answer}");
    } else {
        print(command, &answer);
    }
    Ok(ExitCode::SUCCESS)
}

fn request(command: &Command) -> (Method, String, Option<Value>) {
    const KEYS: &str = "/admin/api-keys";
    match command {
        Command::Create { name, kind, scopes, owner, expires_at, note, ip_allow, recoverable, limits } => {
            let mut body = json!({ "name": name, "kind": kind });
            add_texts(&mut body, &[("owner", owner), ("expires_at", expires_at), ("note", note)]);
            add_lists(&mut body, &[("scopes", scopes), ("ip_allow", ip_allow)]);
            if *recoverable {
                body["recoverable"] = json!(true);
            }
            limits.add_to(&mut body);
            (Method::POST, KEYS.to_owned(), Some(body))
        }
        Command::Update { id, name, note, scopes, ip_allow, expires_at, limits, clear } => {
            let mut body = json!({});
            add_texts(&mut body, &[("name", name), ("note", note), ("expires_at", expires_at)]);
            add_lists(&mut body, &[("scopes", scopes), ("ip_allow", ip_allow)]);
            limits.add_to(&mut body);
            for field in clear {
                body[field] = Value::Null;
            }
            (Method::PATCH, format!("{KEYS}/{id}"), Some(body))
        }
        Command::Show { id } => (Method::GET, format!("{KEYS}/{id}"), None),
        Command::Disable { id } => (Method::POST, format!("{KEYS}/{id}/disable"), None),
        Command::Enable { id } => (Method::POST, format!("{KEYS}/{id}/enable"), None),
        Command::Reveal { id } => (Method::POST, format!("{KEYS}/{id}/reveal"), None),
        Command::List => (Method::GET, KEYS.to_owned(), None),
        Command::Rotate { id, grace_seconds } => {
            (Method::POST, format!("{KEYS}/{id}/rotate"), Some(json!({ "grace_seconds": grace_seconds })))
        }
        Command::EndPrevious { id } => (Method::POST, format!("{KEYS}/{id}/end-previous"), None),
        Command::Revoke { id, reason, hold_faxes } => {
            let mut body = json!({ "hold_faxes": hold_faxes });
            add_texts(&mut body, &[("reason", reason)]);
            (Method::DELETE, format!("{KEYS}/{id}"), Some(body))
        }
    }
}

fn add_texts(body: &mut Value, fields: &[(&str, &Option<String>)]) {
    for (field, value) in fields {
        if let Some(value) = value {
            body[field] = json!(value);
        }
    }
}

fn add_lists(body: &mut Value, fields: &[(&str, &Vec<String>)]) {
    for (field, list) in fields {
        if !list.is_empty() {
            body[field] = json!(list);
        }
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
            let columns = [
                ("ID", "key_id", 12),
                ("KIND", "kind", 11),
                ("STATUS", "status", 8),
                ("LAST USED", "last_used_at", 20),
                ("NAME", "name", 0),
            ];
            print_table(&columns, answer);
        }
        Command::Reveal { .. } => println!("{}", text(&answer["token"])),
        Command::Show { .. } | Command::Update { .. } => {
            for (name, value) in answer.as_object().into_iter().flatten() {
                let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                println!("{name:21} {shown}");
            }
        }
        Command::Disable { id } => println!("The key {id} is disabled."),
        Command::Enable { id } => println!("The key {id} is enabled."),
        Command::EndPrevious { id } => println!("Only the current secret of the key {id} works."),
        Command::Revoke { id, .. } => {
            println!("The key {id} is revoked; {} of its faxes are held.", answer["held_faxes"]);
        }
    }
}
