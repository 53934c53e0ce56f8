//! `pagewire setup-token`: a new link for the first administrator.

use std::process::ExitCode;

use hyper::Method;
use serde_json::Value;

use super::ToServer;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: ToServer,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = arguments.common.client()?;
    let link = super::runtime()?.block_on(client.json(Method::POST, "/setup/token", None))?;
    if arguments.common.json {
        println!("{link}");
    } else {
        print_link(&link, "makes the first administrator");
    }
    Ok(ExitCode::SUCCESS)
}

/// The link alone on standard output, what it is good for beside it.
pub(super) fn print_link(link: &Value, purpose: &str) {
    println!("{}", link["url"].as_str().unwrap_or("-"));
    eprintln!("This link {purpose}, once, until {}.", link["expires_at"].as_str().unwrap_or("-"));
}
