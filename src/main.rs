//! The `pagewire` program: parses arguments, runs the command, answers with an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    pagewire::cli::main()
}
