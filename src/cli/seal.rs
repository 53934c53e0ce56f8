//! `pagewire seal …`: the sealing key and its recovery key, through the running server.
//!
//! The server starts without its sealing key too, so that all of this works over its socket.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use super::ToServer;
use crate::secret::Secret;

/// More than any recovery key somebody types.
const LONGEST_INPUT: u64 = 4096;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: ToServer,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show whether stored documents can be opened, and what to do if not
    Status,
    /// Make the recovery key and print it, once; copy it by hand and keep it away from the machine
    RecoveryKey {
        /// Make a new one although there is one, which then opens nothing any more
        #[arg(long)]
        replace: bool,
    },
    /// Replace the sealing key by a new one
    Rewrap {
        /// The new key, 32 bytes, for you to install as the credential pagewire.kek; without it
        /// Pagewire replaces its own file
        #[arg(long, value_name = "FILE")]
        kek_file: Option<PathBuf>,
    },
    /// Make a new sealing key with the recovery key, read from the terminal or standard input
    Recover,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = arguments.common.client()?;
    let (method, path, body) = request(&arguments.command)?;
    let answer = super::runtime()?.block_on(client.json(method, path, body.as_ref()))?;
    if arguments.common.json {
        println!("{answer}");
    } else {
        print(&arguments.command, &answer);
    }
    let is_locked = matches!(arguments.command, Command::Status) && answer["state"] != "open";
    Ok(if is_locked { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn request(command: &Command) -> anyhow::Result<(Method, &'static str, Option<Value>)> {
    Ok(match command {
        Command::Status => (Method::GET, "/admin/seal", None),
        Command::RecoveryKey { replace } => {
            (Method::POST, "/admin/seal/recovery-key", Some(json!({ "replace": replace })))
        }
        Command::Rewrap { kek_file: None } => (Method::POST, "/admin/seal/rewrap", None),
        Command::Rewrap { kek_file: Some(file) } => {
            let bytes = std::fs::read(file)
                .map(Secret::new)
                .with_context(|| format!("{} cannot be read", file.display()))?;
            anyhow::ensure!(
                bytes.reveal().len() == 32,
                "{} must have exactly 32 bytes; make it with: openssl rand -out FILE 32",
                file.display()
            );
            let hex: String = bytes.reveal().iter().map(|byte| format!("{byte:02x}")).collect();
            (Method::POST, "/admin/seal/rewrap", Some(json!({ "kek": hex })))
        }
        Command::Recover => {
            if std::io::stdin().is_terminal() {
                eprintln!("Type the recovery key, 14 groups of four, then Enter and Ctrl-D:");
            }
            let mut typed = String::new();
            std::io::stdin().take(LONGEST_INPUT).read_to_string(&mut typed).context("no recovery key")?;
            (Method::POST, "/admin/seal/recover", Some(json!({ "recovery_key": typed })))
        }
    })
}

fn print(command: &Command, answer: &Value) {
    let text = |name: &str| answer[name].as_str().unwrap_or("-");
    match command {
        Command::Status => {
            match answer["problem"].as_str() {
                Some(problem) => println!("{problem}"),
                None => {
                    println!("Documents can be opened; the sealing key comes from a {}.", text("key_source"))
                }
            }
            if answer["has_recovery_key"] == false {
                println!("There is no recovery key. Make one with: pagewire seal recovery-key");
            }
        }
        Command::RecoveryKey { .. } => {
            println!("{}", text("recovery_key"));
            eprintln!(
                "This recovery key is shown once. Copy it by hand, or print it, and keep it away from this machine: \
                 with it and the database, stored documents open even when the sealing key is lost."
            );
        }
        Command::Rewrap { .. } if answer["in_force"] == true => {
            println!(
                "A new sealing key is in force, in {}. Copies of the old one open nothing.",
                text("key_file")
            );
        }
        Command::Rewrap { .. } => println!(
            "Install the new key as the credential pagewire.kek and restart Pagewire; it takes over then. Until \
             then the old key works."
        ),
        Command::Recover => {
            println!("A new sealing key is in {}. Restart Pagewire to use it.", text("key_file"));
        }
    }
}
