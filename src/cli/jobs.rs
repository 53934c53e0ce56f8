//! `pagewire jobs …`: the faxes of this appliance, through the running server.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use hyper::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::ToServer;
use super::client::Client;

const JOBS: &str = "/admin/fax-jobs";
/// Between two looks of `watch`: quick enough to follow pages, slow enough to cost nothing.
const LOOK: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: ToServer,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List faxes, newest first
    List(Which),
    /// Show one fax and its calls
    Show {
        /// Id of the fax
        id: String,
    },
    /// Follow the newest faxes until Ctrl-C; on a terminal as a table that stays in place
    Watch(Which),
    /// Cancel a fax, even in the middle of its call
    Cancel {
        /// Id of the fax
        id: String,
    },
    /// Hold a fax until it is released
    Hold {
        /// Id of the fax
        id: String,
    },
    /// Let a held fax go
    Release {
        /// Id of the fax
        id: String,
    },
    /// Send the pages of a fax that has ended again
    Resend {
        /// Id of the fax
        id: String,
        /// Another number
        #[arg(long, value_name = "NUMBER")]
        to: Option<String>,
    },
    /// Change a fax that is not being sent
    Alter {
        /// Id of the fax
        id: String,
        /// Another number
        #[arg(long, value_name = "NUMBER")]
        to: Option<String>,
        /// high, normal or bulk
        #[arg(long)]
        priority: Option<String>,
        /// Send not before this time, like 2026-11-21T14:05:00Z; `now` for as soon as possible
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        /// Give up at this time
        #[arg(long, value_name = "TIME")]
        deadline: Option<Timestamp>,
        /// Send within these hours of the week alone, like Wk2300-0800,Sat,Sun; `any` for at any time
        #[arg(long)]
        hours: Option<String>,
    },
}

/// Which faxes are listed.
#[derive(clap::Args)]
struct Which {
    /// queued, in_progress, SUCCESS, FAILED, or a precise state such as held
    #[arg(long)]
    status: Option<String>,
    /// Only the faxes of this group
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// Rows, 1 to 100
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

impl Which {
    fn path(&self) -> String {
        let status = self.status.as_ref().map(|status| format!("&status={status}")).unwrap_or_default();
        let group = self.group.as_ref().map(|id| format!("&group={id}")).unwrap_or_default();
        format!("{JOBS}?limit={}{status}{group}", self.limit)
    }
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = arguments.common.client()?;
    super::runtime()?.block_on(carry_out(&client, &arguments))?;
    Ok(ExitCode::SUCCESS)
}

async fn carry_out(client: &Client, arguments: &Arguments) -> anyhow::Result<()> {
    let (method, path, body) = match &arguments.command {
        Command::List(which) => {
            let page = client.json(Method::GET, &which.path(), None).await?;
            if arguments.common.json {
                println!("{page}");
            } else {
                print!("{}", table(&page));
            }
            return Ok(());
        }
        Command::Watch(which) => return watch(client, which, arguments.common.json).await,
        Command::Show { id } => return show(client, id, arguments.common.json).await,
        Command::Cancel { id } => (Method::DELETE, format!("/fax/{id}"), None),
        Command::Hold { id } => (Method::POST, format!("{JOBS}/{id}/hold"), None),
        Command::Release { id } => (Method::POST, format!("{JOBS}/{id}/release"), None),
        Command::Resend { id, to } => {
            let body = to.as_ref().map_or_else(|| json!({}), |to| json!({ "to": to }));
            (Method::POST, format!("/fax/{id}/resend"), Some(body))
        }
        Command::Alter { id, to, priority, at, deadline, hours } => {
            let mut change = Map::new();
            change.extend(to.as_ref().map(|to| ("to".to_owned(), json!(to))));
            change.extend(priority.as_ref().map(|word| ("priority".to_owned(), json!(word))));
            change.extend(at.as_ref().map(|at| {
                let at = if at == "now" { Value::Null } else { json!(at) };
                ("schedule_at".to_owned(), at)
            }));
            change.extend(hours.as_ref().map(|hours| {
                let hours = if hours.eq_ignore_ascii_case("any") { Value::Null } else { json!(hours) };
                ("hours".to_owned(), hours)
            }));
            change.extend(deadline.map(|at| ("deadline".to_owned(), json!(at))));
            (Method::PATCH, format!("/fax/{id}"), Some(Value::Object(change)))
        }
    };
    let fax = client.json(method, &path, body.as_ref()).await?;
    if arguments.common.json {
        println!("{fax}");
    } else {
        println!("{}  {}", text(&fax["id"]), sentence(&fax));
    }
    Ok(())
}

async fn show(client: &Client, id: &str, is_json: bool) -> anyhow::Result<()> {
    let mut fax = client.json(Method::GET, &format!("{JOBS}/{id}"), None).await?;
    let attempts = client.json(Method::GET, &format!("/fax/{id}/attempts"), None).await?;
    if is_json {
        fax["attempts"] = attempts;
        println!("{fax}");
        return Ok(());
    }
    for (name, value) in [
        ("id", text(&fax["id"])),
        ("to", text(&fax["to_number"])),
        ("state", sentence(&fax)),
        ("pages", pages(&fax)),
        ("route", text(&fax["backend"])),
        ("priority", text(&fax["priority"])),
        ("accepted", text(&fax["created_at"])),
        ("not before", text(&fax["schedule_at"])),
        ("hours", text(&fax["hours"])),
        ("next call", text(&fax["next_try_at"])),
        ("given up at", text(&fax["deadline_at"])),
        ("sent again", text(&fax["resend_of"])),
        ("group", text(&fax["group"])),
        ("reference", text(&fax["tag"])),
    ] {
        if value != "-" {
            println!("{name:12}  {value}");
        }
    }
    for attempt in attempts.as_array().into_iter().flatten() {
        let confirmed = attempt["pages"].as_array().map_or(0, Vec::len);
        println!(
            "call {:<7}  {}  {confirmed} pages confirmed  {}",
            attempt["number"],
            text(&attempt["started_at"]),
            attempt["outcome"]["human"].as_str().unwrap_or("under way"),
        );
    }
    Ok(())
}

/// On a terminal the table is drawn over itself; elsewhere each look that differs is printed.
async fn watch(client: &Client, which: &Which, is_json: bool) -> anyhow::Result<()> {
    let is_terminal = std::io::stdout().is_terminal() && !is_json;
    let mut last = String::new();
    loop {
        let page = client.json(Method::GET, &which.path(), None).await?;
        let now = if is_json { format!("{page}\n") } else { table(&page) };
        if now != last {
            let mut out = std::io::stdout().lock();
            // Home, the table, and whatever stood below it erased (ECMA-48 CUP, ED).
            let (before, after) = if is_terminal { ("\x1b[2J\x1b[H", "\x1b[J") } else { ("", "") };
            write!(out, "{before}{now}{after}")?;
            out.flush()?;
            last = now;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

fn table(page: &Value) -> String {
    let mut table = format!("{:32}  {:16}  {:>7}  {:19}  STATE\n", "ID", "TO", "PAGES", "ACCEPTED");
    for fax in page["jobs"].as_array().into_iter().flatten() {
        let accepted: String = text(&fax["created_at"]).chars().take(19).collect();
        table.push_str(&format!(
            "{:32}  {:16}  {:>7}  {accepted:19}  {}\n",
            text(&fax["id"]),
            text(&fax["to_number"]),
            pages(fax),
            sentence(fax)
        ));
    }
    table
}

fn pages(fax: &Value) -> String {
    match fax["pages"].as_u64() {
        Some(pages) => format!("{}/{pages}", fax["confirmed_pages"]),
        None => "-".to_owned(),
    }
}

fn sentence(fax: &Value) -> String {
    let state = text(&fax["state"]);
    match fax["outcome"]["human"].as_str() {
        Some(human) => format!("{state}: {human}"),
        None => match fax["waiting_for"].as_str() {
            Some(why) => format!("{state}: {why}"),
            None => state,
        },
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}
