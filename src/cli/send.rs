//! `pagewire send`: a fax from the command line, with a progress bar where a person watches.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use hyper::Method;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::Settings;
use super::client::{Client, ClientError};
use crate::id::RequestId;
use crate::secret::Secret;

/// Authorities this machine trusts; Debian's package ca-certificates keeps them.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Seconds of one long poll.
const POLL_S: u32 = 30;
/// Between two looks at a group.
const LOOK: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Documents: PDF, text, TIFF, PNG or JPEG; several become one fax
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Fax number; several `--to` send the same document to each of them
    #[arg(long, required = true, value_name = "NUMBER")]
    to: Vec<String>,
    /// Wait until the fax is delivered or has failed; of several, until the last one has
    #[arg(long)]
    wait: bool,
    /// Server elsewhere, like https://192.168.1.20:8443; needs PAGEWIRE_API_KEY
    #[arg(long)]
    url: Option<String>,
    /// Authorities the server's certificate may come from, such as its own /ca.pem
    #[arg(long, value_name = "FILE", default_value = SYSTEM_AUTHORITIES)]
    cacert: PathBuf,
    /// standard, fine or superfine
    #[arg(long)]
    resolution: Option<String>,
    /// Send within these hours of the week alone, like Wk2300-0800,Sat,Sun
    #[arg(long)]
    hours: Option<String>,
    /// Tell by e-mail: none, done, requeued or both
    #[arg(long, value_name = "WHEN")]
    notify: Option<String>,
    /// The e-mail address to tell, in place of those of mail.to
    #[arg(long, value_name = "ADDRESS")]
    notify_to: Option<String>,
    /// Print the last answer as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = match &arguments.url {
        Some(url) => {
            let key = std::env::var("PAGEWIRE_API_KEY")
                .context("put the API key into the environment variable PAGEWIRE_API_KEY")?;
            Client::remote(url, Secret::new(key), &arguments.cacert)?
        }
        None => Client::local(&arguments.settings.load()?.data_dir),
    };
    super::runtime()?.block_on(send(&arguments, &client))
}

async fn send(arguments: &Arguments, client: &Client) -> anyhow::Result<ExitCode> {
    let files = arguments.files.iter().map(|file| read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut fields: Vec<(&str, &str)> = arguments.to.iter().map(|to| ("to", to.as_str())).collect();
    let wishes = [
        ("resolution", &arguments.resolution),
        ("hours", &arguments.hours),
        ("notify", &arguments.notify),
        ("notify_to", &arguments.notify_to),
    ];
    fields.extend(wishes.into_iter().filter_map(|(name, wish)| Some((name, wish.as_deref()?))));
    let mut fax = Form::new(&fields, &files).post(client).await?;
    if let Some(id) = fax["group"]["id"].as_str() {
        let id = id.to_owned();
        return sent_to_many(arguments, client, &id, fax).await;
    }
    let id = fax["id"].as_str().context("the server's answer has no id")?.to_owned();
    if arguments.wait {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        fax = follow(client, &id, fax, bar).await?;
    }
    if arguments.json {
        println!("{fax}");
    } else {
        println!("{id}  {}", sentence(&fax));
    }
    Ok(if fax["status"] == "FAILED" { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Tells of a group, when it was accepted and, if that is waited for, when its last fax has ended.
async fn sent_to_many(
    arguments: &Arguments,
    client: &Client,
    id: &str,
    accepted: Value,
) -> anyhow::Result<ExitCode> {
    let group = &accepted["group"];
    if !arguments.json {
        for fax in group["jobs"].as_array().into_iter().flatten() {
            println!("{}  {}", fax["id"].as_str().unwrap_or("-"), fax["to"].as_str().unwrap_or("-"));
        }
        for number in group["duplicates"].as_array().into_iter().flatten() {
            println!("left out, named twice: {}", number.as_str().unwrap_or("-"));
        }
    }
    if !arguments.wait {
        let human = group["human"].as_str().unwrap_or_default();
        println!("{}", if arguments.json { accepted.to_string() } else { format!("group {id}  {human}") });
        return Ok(ExitCode::SUCCESS);
    }
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{bar:24} {pos}/{len} pages  {msg}")?);
    let path = format!("/groups/{id}?limit=1");
    let mut group = client.json(Method::GET, &path, None).await?;
    while group["done"] != true {
        bar.set_length(group["pages"].as_u64().unwrap_or(0));
        bar.set_position(group["confirmed_pages"].as_u64().unwrap_or(0));
        bar.set_message(group["human"].as_str().unwrap_or_default().to_owned());
        tokio::time::sleep(LOOK).await;
        group = client.json(Method::GET, &path, None).await?;
    }
    bar.finish_and_clear();
    let human = group["human"].as_str().unwrap_or_default();
    println!("{}", if arguments.json { group.to_string() } else { format!("group {id}  {human}") });
    let is_delivered = group["counts"]["delivered"] == group["total"];
    Ok(if is_delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits until the fax has ended, showing its pages on `bar`; answers its last state.
pub(super) async fn follow(
    client: &Client,
    id: &str,
    mut fax: Value,
    bar: ProgressBar,
) -> anyhow::Result<Value> {
    bar.set_style(ProgressStyle::with_template("{bar:24} {pos}/{len} pages  {msg}")?);
    loop {
        bar.set_length(fax["pages"].as_u64().unwrap_or(0));
        bar.set_position(fax["confirmed_pages"].as_u64().unwrap_or(0));
        bar.set_message(sentence(&fax));
        if matches!(fax["status"].as_str(), Some("SUCCESS" | "FAILED")) {
            bar.finish_and_clear();
            return Ok(fax);
        }
        fax = client.json(Method::GET, &format!("/fax/{id}?wait={POLL_S}"), None).await?;
    }
}

fn sentence(fax: &Value) -> String {
    let state = fax["state"].as_str().unwrap_or("accepted");
    match fax["outcome"]["human"].as_str() {
        Some(human) => format!("{state}: {human}"),
        None => state.to_owned(),
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// A multipart body for `POST /fax`.
pub(super) struct Form {
    media_type: String,
    body: Vec<u8>,
}

impl Form {
    /// The fields, then the documents in order. File names stay here: they may name a patient.
    pub(super) fn new(fields: &[(&str, &str)], documents: &[Vec<u8>]) -> Self {
        // Random, so that no document contains it.
        let boundary = format!("pagewire-{}", RequestId::new());
        let mut body = Vec::new();
        let mut part = |disposition: String, content: &[u8]| {
            let head = format!("--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        };
        for (name, value) in fields {
            part(format!("name=\"{name}\""), value.as_bytes());
        }
        for document in documents {
            part("name=\"file\"; filename=\"document\"".to_owned(), document);
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Self { media_type: format!("multipart/form-data; boundary={boundary}"), body }
    }

    /// Sends it; the answer is the accepted fax.
    pub(super) async fn post(self, client: &Client) -> Result<Value, ClientError> {
        client.call(Method::POST, "/fax", self.body.into(), Some(&self.media_type)).await
    }
}
