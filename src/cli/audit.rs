//! `pagewire audit`: whether the audit log is whole, and what stands in it.

use std::io::Write;
use std::process::ExitCode;

use hyper::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Settings;
use super::client::Client;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Look at every row; exit code 1 when one is altered, missing or inserted
    Verify {
        /// A head from the journal, kept elsewhere, to compare with
        #[arg(long, value_name = "SEQ:HASH")]
        anchor: Option<String>,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Take note of damage that 'verify' finds, so that the log goes on from here and old rows are
    /// removed again; the rows from the damage up to now prove nothing any more. Export them first
    AcceptDamage {
        /// What is known of it, for those who read the log later
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Print all rows, oldest first, one JSON object a line
    Export {
        /// Only from this time on, like 2026-01-31T00:00:00Z
        #[arg(long, value_name = "TIME")]
        from: Option<Timestamp>,
        /// Only before this time
        #[arg(long, value_name = "TIME")]
        to: Option<Timestamp>,
    },
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = Client::local(&arguments.settings.load()?.data_dir);
    super::runtime()?.block_on(async {
        match arguments.command {
            Command::Verify { anchor, json } => verify(&client, anchor.as_deref(), json).await,
            Command::AcceptDamage { reason } => accept_damage(&client, &reason).await,
            Command::Export { from, to } => export(&client, from, to).await,
        }
    })
}

async fn verify(client: &Client, anchor: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let path = path("/admin/audit/verify", &[("anchor", anchor.map(str::to_owned))])?;
    let report = client.json(Method::GET, &path, None).await?;
    if json {
        println!("{report}");
    } else {
        println!("{}", sentence(&report));
    }
    Ok(if report["ok"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn accept_damage(client: &Client, reason: &str) -> anyhow::Result<ExitCode> {
    let body = json!({ "reason": reason });
    let place = client.json(Method::POST, "/admin/audit/accept-damage", Some(&body)).await?;
    println!(
        "The audit log goes on with row {}, which says what was accepted, by whom and why. Note it elsewhere: {}:{}",
        place["seq"],
        place["seq"],
        place["hash"].as_str().unwrap_or("-")
    );
    Ok(ExitCode::SUCCESS)
}

fn sentence(report: &Value) -> String {
    let head = &report["head"];
    let end = format!("{}:{}", head["seq"], head["hash"].as_str().unwrap_or("-"));
    let rows = &report["rows"];
    if let Some(problem) = report["problem"].as_str() {
        return format!("DAMAGED. {problem} {rows} rows before that are whole, up to {end}");
    }
    let anchor = match report["anchor"].as_str() {
        Some("matches") => " The anchor matches.",
        Some("pruned") => " The anchor's row was pruned since, so it proves nothing any more.",
        _ => "",
    };
    let known: Vec<String> = report["accepted_damage"].as_array().into_iter().flatten().map(known).collect();
    if !known.is_empty() {
        return format!("{} The other {rows} rows are whole, up to {end}{anchor}", known.join(" "));
    }
    format!("The audit log is whole: {rows} rows, up to {end}{anchor}")
}

fn known(damage: &Value) -> String {
    let (from, through) = (&damage["from_seq"], &damage["through_seq"]);
    let problem = damage["problem"].as_str().unwrap_or("-");
    format!("Rows {from} to {through} prove nothing; this damage was accepted: {problem}")
}

async fn export(client: &Client, from: Option<Timestamp>, to: Option<Timestamp>) -> anyhow::Result<ExitCode> {
    let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
    let path = path("/admin/audit/export", &[("from", text(from)), ("to", text(to))])?;
    let mut out = std::io::stdout().lock();
    client.stream(&path, &mut out).await?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn path(path: &str, parameters: &[(&str, Option<String>)]) -> anyhow::Result<String> {
    let given: Vec<_> =
        parameters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    Ok(format!("{path}?{}", serde_urlencoded::to_string(given)?))
}
