//! `pagewire admin reset`: lets an administrator in again who cannot sign in.
//!
//! For root and the service's own user: the admin socket knows them.

use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use serde_json::json;

use super::setup_token::print_link;
use super::{ToServer, password};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: ToServer,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Enable a global administrator, switch the second factor off, print a link for a new password
    Reset {
        /// Name of the administrator; not needed when there is one only
        name: Option<String>,
        /// Ask for the password here (or read it from standard input) in place of making a link
        #[arg(long)]
        password: bool,
    },
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = arguments.common.client()?;
    let Command::Reset { name, password } = &arguments.command;
    let mut body = json!({});
    if let Some(name) = name {
        body["username"] = json!(name);
    }
    if *password {
        body["password"] = json!(password::read()?.reveal());
    }
    let answer = super::runtime()?.block_on(client.json(Method::POST, "/setup/reset", Some(&body)))?;
    let name = answer["username"].as_str().unwrap_or("-");
    if arguments.common.json {
        println!("{answer}");
    } else if answer["link"].is_object() {
        print_link(&answer["link"], &format!("lets {name} choose a new password"));
    } else {
        println!("{name} has a new password; a second factor is off.");
    }
    Ok(ExitCode::SUCCESS)
}
