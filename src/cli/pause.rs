//! `pagewire pause` and `pagewire resume`: stop all dialling at once, and go on.

use std::process::ExitCode;

use hyper::Method;
use serde_json::{Value, json};

use super::ToServer;

#[derive(clap::Args)]
pub(super) struct PauseArguments {
    #[command(flatten)]
    common: ToServer,
    /// Why, for those who find it paused
    #[arg(long)]
    reason: Option<String>,
}

#[derive(clap::Args)]
pub(super) struct ResumeArguments {
    #[command(flatten)]
    common: ToServer,
}

pub(super) fn pause(arguments: PauseArguments) -> anyhow::Result<ExitCode> {
    let body = json!({ "reason": arguments.reason });
    let state = post(&arguments.common, "/admin/pause", &body)?;
    if arguments.common.json {
        println!("{state}");
    } else {
        println!("Dialling is paused on every route, until 'pagewire resume'. {}", calls(&state));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn resume(arguments: ResumeArguments) -> anyhow::Result<ExitCode> {
    let state = post(&arguments.common, "/admin/resume", &json!({}))?;
    if arguments.common.json {
        println!("{state}");
        return Ok(ExitCode::SUCCESS);
    }
    println!("Dialling goes on.");
    let still = state["holds"].as_array().into_iter().flatten();
    still.filter_map(|hold| hold["sentence"].as_str()).for_each(|sentence| println!("{sentence}"));
    Ok(ExitCode::SUCCESS)
}

fn post(common: &ToServer, path: &str, body: &Value) -> anyhow::Result<Value> {
    let client = common.client()?;
    Ok(super::runtime()?.block_on(client.json(Method::POST, path, Some(body)))?)
}

fn calls(state: &Value) -> String {
    match state["calls"].as_u64() {
        Some(1) => "1 call is under way and finishes.".to_owned(),
        Some(calls @ 2..) => format!("{calls} calls are under way and finish."),
        _ => "No call is under way.".to_owned(),
    }
}
