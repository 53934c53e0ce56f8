//! `pagewire import faxbot`: takes over the keys and the history of a Faxbot.
//!
//! Works on the data folder while no server uses it, so that keys and rows change at once.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Settings;
use crate::access::audit::{self, Action, Target};
use crate::clock::Clock;
use crate::config::Config;
use crate::db;
use crate::import::{self, Fate, Item, Plan, What};
use crate::serve::{Store, converter};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    source: Source,
}

#[derive(Subcommand)]
enum Source {
    /// Keys, ended faxes and received faxes of a Faxbot
    Faxbot {
        /// Its database, faxbot.db
        file: PathBuf,
        /// Show what would come over, and change nothing; the default
        #[arg(long, conflicts_with = "apply")]
        dry_run: bool,
        /// Take it over; Pagewire must be stopped
        #[arg(long)]
        apply: bool,
    },
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.settings.load()?;
    let Source::Faxbot { file, apply, .. } = &arguments.source;
    let contents = import::read(file)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let planned = || -> anyhow::Result<Plan> {
        let known = import::known(&db::file_in(&config.data_dir))
            .with_context(|| format!("the database in {} cannot be read", config.data_dir.display()))?;
        Ok(import::plan(contents, &known, folder, &config.country_code, Timestamp::now()))
    };
    let (items, without) = if *apply {
        super::runtime()?.block_on(take_over(&config, planned))?
    } else {
        (planned()?.items, Vec::new())
    };
    if arguments.json {
        println!("{}", as_json(&items, &without, *apply));
    } else {
        print(&items, &without, *apply);
    }
    Ok(ExitCode::SUCCESS)
}

async fn take_over(
    config: &Config,
    planned: impl FnOnce() -> anyhow::Result<Plan>,
) -> anyhow::Result<(Vec<Item>, Vec<(String, String)>)> {
    check_owner(&config.data_dir)?;
    let store = Store::open(&config.data_dir, &Clock::System)
        .await
        .context("nothing was taken over; Pagewire must be stopped for it")?;
    match store.sealing.seal() {
        Ok(seal) => store.db.start_audit(&seal.audit_key()),
        Err(locked) => anyhow::bail!("nothing was taken over. {locked}"),
    }
    // Read only now, when nobody else writes.
    let plan = planned()?;
    let items = plan.items.clone();
    let by = audit::Context::cli(rustix::process::getuid().as_raw());
    let told = by.event(Action::StoreImported, Target::new("import", "faxbot"), Timestamp::now());
    let without = plan.apply(&store.db, &store.spool, &converter(config), told).await?;
    Ok((items, without))
}

/// Files made by another user than the server's could not be read by it.
fn check_owner(data_dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let Ok(folder) = std::fs::metadata(data_dir) else { return Ok(()) };
    let us = rustix::process::geteuid().as_raw();
    anyhow::ensure!(
        folder.uid() == us,
        "{} belongs to another user (uid {}); run this as that user, for instance with: sudo -u pagewire pagewire \
         import faxbot …",
        data_dir.display(),
        folder.uid()
    );
    Ok(())
}

fn of(items: &[Item], what: What) -> impl Iterator<Item = &Item> {
    items.iter().filter(move |item| item.what == what)
}

fn count(items: &[Item], what: What, fate: fn(&Fate) -> bool) -> usize {
    of(items, what).filter(|item| fate(&item.fate)).count()
}

fn as_json(items: &[Item], without: &[(String, String)], applied: bool) -> Value {
    let rows = |what| -> Vec<Value> {
        of(items, what)
            .map(|item| {
                let (fate, reason) = match &item.fate {
                    Fate::Comes => ("comes", None),
                    Fate::IsHere => ("is_here", None),
                    Fate::StaysBehind(why) => ("stays_behind", Some(why)),
                };
                json!({"id": item.id, "label": item.label, "fate": fate, "reason": reason, "notes": item.notes})
            })
            .collect()
    };
    json!({
        "applied": applied,
        "keys": rows(What::Key),
        "faxes": rows(What::Fax),
        "received": rows(What::Received),
        "without_document": without.iter().map(|(id, why)| json!({"id": id, "reason": why})).collect::<Vec<_>>(),
    })
}

fn print(items: &[Item], without: &[(String, String)], applied: bool) {
    let comes = if applied { "taken over" } else { "would come over" };
    for (what, name) in [(What::Key, "API keys"), (What::Fax, "Faxes"), (What::Received, "Received faxes")] {
        println!(
            "{name}: {} {comes}, {} here already, {} left out.",
            count(items, what, |fate| *fate == Fate::Comes),
            count(items, what, |fate| *fate == Fate::IsHere),
            count(items, what, |fate| matches!(fate, Fate::StaysBehind(_))),
        );
        for item in of(items, what) {
            let label = if item.label.is_empty() { String::new() } else { format!("  {}", item.label) };
            match &item.fate {
                Fate::Comes if what == What::Key => println!("  {}{label}", item.id),
                Fate::StaysBehind(why) => println!("  {}{label}: left out, {why}", item.id),
                Fate::Comes | Fate::IsHere => continue,
            }
            for note in &item.notes {
                println!("      {note}");
            }
        }
    }
    for (id, why) in without {
        println!("  received fax {id} came over without its pages: {why}");
    }
    if applied {
        println!("Start Pagewire again. The keys work with their old tokens.");
    } else {
        println!("Nothing was changed. Stop Pagewire and run it again with --apply.");
    }
}
