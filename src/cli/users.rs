//! `pagewire users …`: people and service accounts, through the running server.

use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, ClientError};
use super::{ToServer, password, print_table};
use crate::access::roles::{Grant, Role};

const USERS: &str = "/admin/users";

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: ToServer,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List users and service accounts
    List,
    /// Make a user; prints a one-time link with which the user chooses a password
    Add {
        /// Name to sign in with
        name: String,
        /// global_admin, admin, operator or viewer
        #[arg(long, default_value_t = Role::Operator)]
        role: Role,
        /// An account for programs, which cannot sign in
        #[arg(long)]
        service: bool,
        /// Ask for the password here (or read it from standard input) in place of making a link
        #[arg(long, conflicts_with = "service")]
        password: bool,
    },
    /// Give a user another role; signs them out
    Role {
        /// Name of the user
        name: String,
        /// global_admin, admin, operator or viewer
        role: Role,
    },
    /// Sign a user out and stop their keys, until enabled again
    Disable {
        /// Name of the user
        name: String,
    },
    /// Let a disabled user sign in again
    Enable {
        /// Name of the user
        name: String,
    },
    /// Set a user's password, typed or from standard input
    Password {
        /// Name of the user
        name: String,
    },
    /// Forget failed sign-ins, so that the user need not wait
    Unlock {
        /// Name of the user
        name: String,
    },
    /// Set what a user may do beyond their role; without any, all of it is taken away
    Grants {
        /// Name of the user
        name: String,
        /// account_key:show (see the account key)
        grants: Vec<Grant>,
    },
    /// Remove a user; their keys stop, their faxes stay
    Remove {
        /// Name of the user
        name: String,
    },
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = arguments.common.client()?;
    let answer = super::runtime()?.block_on(carry_out(&client, &arguments.command))?;
    if arguments.common.json {
        println!("{answer}");
    } else {
        print(&arguments.command, &answer);
    }
    Ok(ExitCode::SUCCESS)
}

async fn carry_out(client: &Client, command: &Command) -> anyhow::Result<Value> {
    let (method, name, rest, body) = match command {
        Command::Grants { name, grants } => {
            let grants: Vec<&str> = grants.iter().map(|grant| grant.as_str()).collect();
            let path = format!("/admin/accounts/{}/grants", id_of(client, name).await?);
            return Ok(client.json(Method::PUT, &path, Some(&json!({ "grants": grants }))).await?);
        }
        Command::List => return Ok(client.json(Method::GET, USERS, None).await?),
        Command::Add { name, role, service, password } => {
            let kind = if *service { "service" } else { "user" };
            let mut body = json!({ "name": name, "role": role.as_str(), "kind": kind });
            if *password {
                body["password"] = json!(password::read()?.reveal());
            }
            return Ok(client.json(Method::POST, USERS, Some(&body)).await?);
        }
        Command::Role { name, role } => (Method::PATCH, name, "", Some(json!({ "role": role.as_str() }))),
        Command::Disable { name } => (Method::PATCH, name, "", Some(json!({ "status": "disabled" }))),
        Command::Enable { name } => (Method::PATCH, name, "", Some(json!({ "status": "active" }))),
        Command::Password { name } => {
            (Method::POST, name, "/password", Some(json!({ "password": password::read()?.reveal() })))
        }
        Command::Unlock { name } => (Method::POST, name, "/unlock", None),
        Command::Remove { name } => (Method::DELETE, name, "", None),
    };
    let id = id_of(client, name).await?;
    Ok(client.json(method, &format!("{USERS}/{id}{rest}"), body.as_ref()).await?)
}

async fn id_of(client: &Client, name: &str) -> Result<String, ClientError> {
    let users = client.json(Method::GET, USERS, None).await?;
    let is_it = |user: &&Value| user["name"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name));
    let found = users.as_array().into_iter().flatten().find(is_it).and_then(|user| user["id"].as_str());
    let missing = || ClientError::Refused { status: 404, detail: format!("There is no user '{name}'.") };
    found.map(str::to_owned).ok_or_else(missing)
}

fn print(command: &Command, answer: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    match command {
        Command::List => {
            let columns = [
                ("NAME", "name", 24),
                ("ROLE", "role", 12),
                ("KIND", "kind", 8),
                ("STATUS", "status", 8),
                ("LAST SIGNED IN", "last_login_at", 0),
            ];
            print_table(&columns, answer);
        }
        Command::Add { name, .. } => match answer["link"]["url"].as_str() {
            Some(url) => {
                println!("{url}");
                eprintln!(
                    "With this link {name} chooses a password, once, until {}.",
                    text(&answer["link"]["expires_at"])
                );
            }
            None => println!("{name} was made."),
        },
        Command::Role { name, role } => println!("{name} is {role} now, and signed out."),
        Command::Disable { name } => println!("{name} is disabled, and so are their keys."),
        Command::Enable { name } => println!("{name} can sign in again."),
        Command::Password { name } => println!("{name} has a new password, and is signed out."),
        Command::Unlock { name } => println!("{name} can try again at once."),
        Command::Grants { name, grants } if grants.is_empty() => println!("{name} has no grants now."),
        Command::Grants { name, grants } => {
            let grants: Vec<&str> = grants.iter().map(|grant| grant.as_str()).collect();
            println!("{name} has these grants now: {}.", grants.join(", "));
        }
        Command::Remove { name } => println!("{name} is removed."),
    }
}
