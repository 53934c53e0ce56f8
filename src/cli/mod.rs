//! The command line: one file per command.
//!
//! Owns: arguments, what is printed, exit codes. On the appliance itself commands talk to the
//! running server over its admin socket, so that nothing is changed behind its back.
//!
//! Exit codes: 0 done; 1 the fax or command failed; 2 wrong usage or configuration; 3 refused by
//! the server; 4 no server reached.

mod account_key;
mod admin;
mod audit;
mod check;
mod client;
mod demo;
mod identify;
mod import;
mod jobs;
mod keys;
mod password;
mod pause;
mod seal;
mod send;
mod serve;
mod setup_token;
mod users;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;

use crate::config::{Config, ConfigError};
use crate::convert;
use client::{Client, ClientError};

/// A fax appliance in one binary.
#[derive(Parser)]
#[command(name = "pagewire", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the appliance.
    Serve(serve::Arguments),
    /// Run a throw-away appliance to try things on, with keys and one delivered fax.
    Demo(demo::Arguments),
    /// Check the configuration and print what is in force.
    Check(check::Arguments),
    /// Send a fax.
    Send(send::Arguments),
    /// List, show, watch, cancel, hold, release, resend and change faxes.
    Jobs(jobs::Arguments),
    /// Stop all dialling at once; calls under way finish.
    Pause(pause::PauseArguments),
    /// Go on dialling.
    Resume(pause::ResumeArguments),
    /// Make, list, change, rotate, disable and revoke API keys.
    Keys(keys::Arguments),
    /// Take over the keys and the history of another system.
    Import(import::Arguments),
    /// The sealing key of stored documents, and its recovery key.
    Seal(seal::Arguments),
    /// Verify or export the audit log.
    Audit(audit::Arguments),
    /// Manage users and service accounts.
    Users(users::Arguments),
    /// Show, make and reset the account key.
    AccountKey(account_key::Arguments),
    /// Print a new setup link for the first administrator.
    SetupToken(setup_token::Arguments),
    /// Help an administrator who cannot sign in.
    Admin(admin::Arguments),
    /// Print the OpenAPI description.
    Openapi,
    /// Read documents in a sandbox; started by the server itself.
    #[command(name = convert::WORKER_ARGUMENT, hide = true)]
    RenderWorker,
}

/// Where settings come from; the same for every command that needs them.
#[derive(clap::Args)]
struct Settings {
    /// Configuration file [default: /etc/pagewire/pagewire.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of database, documents and keys
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

impl Settings {
    fn load(&self) -> Result<Config, ConfigError> {
        let mut config = Config::load(self.config.as_deref(), |name| std::env::var(name).ok())?;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir = data_dir.clone();
        }
        Ok(config)
    }
}

/// What commands take that talk to the running server over its admin socket.
#[derive(clap::Args)]
struct ToServer {
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

impl ToServer {
    fn client(&self) -> Result<Client, ConfigError> {
        Ok(Client::local(&self.settings.load()?.data_dir))
    }
}

/// Prints the objects of a JSON array as a table. A column is its heading, its field and its width;
/// the last one takes what is left, with a width of 0.
fn print_table(columns: &[(&str, &str, usize)], rows: &Value) {
    let line = |cells: Vec<String>| println!("{}", cells.join("  "));
    line(columns.iter().map(|(heading, _, width)| format!("{heading:width$}")).collect());
    for row in rows.as_array().into_iter().flatten() {
        let cell = |(_, field, width): &(&str, &str, usize)| {
            let width = *width;
            format!("{:width$}", row[*field].as_str().unwrap_or("-"))
        };
        line(columns.iter().map(cell).collect());
    }
}

/// Runs the command named by the program's arguments.
pub fn main() -> ExitCode {
    // The worker comes before everything else: its sandbox must find one thread and no open files.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == convert::WORKER_ARGUMENT) {
        return convert::worker::run();
    }
    let result = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Send(arguments) => send::run(arguments),
        Command::Jobs(arguments) => jobs::run(arguments),
        Command::Pause(arguments) => pause::pause(arguments),
        Command::Resume(arguments) => pause::resume(arguments),
        Command::Keys(arguments) => keys::run(arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::Seal(arguments) => seal::run(arguments),
        Command::Audit(arguments) => audit::run(arguments),
        Command::Users(arguments) => users::run(arguments),
        Command::AccountKey(arguments) => account_key::run(arguments),
        Command::SetupToken(arguments) => setup_token::run(arguments),
        Command::Admin(arguments) => admin::run(arguments),
        Command::Openapi => {
            print!("{}", crate::http::openapi::description());
            Ok(ExitCode::SUCCESS)
        }
        Command::RenderWorker => Ok(convert::worker::run()),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pagewire: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() {
        return 2;
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused { .. }) => 3,
        Some(_) => 4,
        None => 1,
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
