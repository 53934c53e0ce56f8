//! Passwords on the command line: typed without echo, or the first line of standard input; never
//! an argument, which every process of the machine can read.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Context;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::secret::Secret;

/// A new password: asked for twice where somebody types it, else one line of standard input.
pub(super) fn read() -> anyhow::Result<Secret<String>> {
    if !std::io::stdin().is_terminal() {
        return line();
    }
    let first = ask("New password: ")?;
    let second = ask("Once more: ")?;
    anyhow::ensure!(first.reveal() == second.reveal(), "the two passwords are different");
    Ok(first)
}

fn ask(prompt: &str) -> anyhow::Result<Secret<String>> {
    eprint!("{prompt}");
    std::io::stderr().flush()?;
    let silence = Silence::begin()?;
    let typed = line();
    drop(silence);
    eprintln!();
    typed
}

fn line() -> anyhow::Result<Secret<String>> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("the password could not be read")?;
    let password = Secret::new(line.trim_end_matches(['\n', '\r']).to_owned());
    drop(Secret::new(line));
    Ok(password)
}

/// No echo while it lives.
struct Silence(Termios);

impl Silence {
    fn begin() -> anyhow::Result<Self> {
        let before = tcgetattr(std::io::stdin()).context("the terminal does not answer")?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent)
            .context("the echo cannot be switched off")?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Nothing can be done for a terminal that is gone.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}
