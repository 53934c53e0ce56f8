//! `pagewire account-key …`: the one account key, through the running server.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use super::ToServer;

/// What confirms a reset; the server asks for the same.
const CONFIRMATION: &str = "RESET";

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: ToServer,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell whether there is an account key, and when it was used, without its token
    Status,
    /// Show the token of the account key
    Show,
    /// Make the account key; refused when there is one
    Generate,
    /// Give the account key a new secret; what uses the old one stops working
    Reset {
        /// Seconds the old secret keeps working
        #[arg(long, default_value_t = 0)]
        grace_seconds: u64,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = arguments.common.client()?;
    let (method, rest, body) = match &arguments.command {
        Command::Status => (Method::GET, "", None),
        Command::Show => (Method::POST, "/show", None),
        Command::Generate => (Method::POST, "/generate", None),
        Command::Reset { grace_seconds, yes } => {
            if !yes && !is_confirmed()? {
                eprintln!("Nothing was changed.");
                return Ok(ExitCode::FAILURE);
            }
            let body = json!({ "grace_seconds": grace_seconds, "confirm": CONFIRMATION });
            (Method::POST, "/reset", Some(body))
        }
    };
    let path = format!("/account/api-key{rest}");
    let answer = super::runtime()?.block_on(client.json(method, &path, body.as_ref()))?;
    if arguments.common.json {
        println!("{answer}");
    } else {
        print(&arguments.command, &answer);
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks on a terminal; elsewhere nobody could answer.
fn is_confirmed() -> anyhow::Result<bool> {
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "a reset stops every client that uses the account key; say --yes to go on"
    );
    eprintln!("Every client that uses the old account key stops working. Type {CONFIRMATION} to go on:");
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed).context("nothing was typed")?;
    Ok(typed.trim() == CONFIRMATION)
}

fn print(command: &Command, answer: &Value) {
    let text = |name: &str| answer[name].as_str().unwrap_or("-");
    match command {
        Command::Status if answer["exists"] == false => {
            println!("There is no account key. Make it with: pagewire account-key generate");
        }
        Command::Status => {
            let (prefix, status) = (text("prefix"), text("status"));
            println!("{prefix}…, {status}, made {}, last used {}", text("created_at"), text("last_used_at"));
        }
        Command::Show | Command::Generate => println!("{}", text("token")),
        Command::Reset { .. } => {
            println!("{}", text("token"));
            match answer["previous_valid_until"].as_str() {
                Some(end) => eprintln!("The old token works until {end}."),
                None => eprintln!("The old token does not work any more."),
            }
        }
    }
}
