//! `pagewire check`: validates the configuration and prints what is in force.

use std::process::ExitCode;

use super::Settings;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.settings.load()?.validated()?;
    println!("The configuration is valid.");
    for (key, value) in config.in_force() {
        println!("  {key:34} {value}");
    }
    Ok(ExitCode::SUCCESS)
}
