//! `pagewire keys identify`: whose is a token that was found somewhere?
//!
//! The token comes by standard input, because arguments stand in the shell's history and in the
//! process list. It is never printed.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use anyhow::Context;
use hyper::Method;
use serde_json::{Value, json};

use super::client::Client;

/// More than any token has.
const LONGEST_INPUT: u64 = 4096;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// End the key for good, as compromised, if the token's secret is its own
    #[arg(long)]
    revoke: bool,
}

/// Exit code 0: the token does not work here; 1: it does.
pub(super) async fn run(arguments: &Arguments, client: &Client, as_json: bool) -> anyhow::Result<ExitCode> {
    if std::io::stdin().is_terminal() {
        eprintln!("Paste the token, then Enter and Ctrl-D:");
    }
    let mut token = String::new();
    std::io::stdin().take(LONGEST_INPUT).read_to_string(&mut token).context("no token to read")?;
    let body = json!({ "token": token.trim() });
    let mut found = client.json(Method::POST, "/admin/api-keys/identify", Some(&body)).await?;
    let works = |found: &Value| found["secret_matches"] == true && found["status"] == "active";
    if arguments.revoke && found["secret_matches"] == true && found["status"] != "revoked" {
        let path = format!("/admin/api-keys/{}", found["key_id"].as_str().unwrap_or_default());
        client.json(Method::DELETE, &path, Some(&json!({ "reason": "compromised" }))).await?;
        found["status"] = "revoked".into();
    }
    if as_json {
        println!("{found}");
    } else {
        println!("{}", sentence(&found));
        if works(&found) {
            println!("Anybody who has it can use it. End it with: pagewire keys identify --revoke");
        }
    }
    Ok(if works(&found) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn sentence(found: &Value) -> String {
    let text = |name: &str| found[name].as_str().unwrap_or("-");
    if found["well_formed"] != true {
        return "This is no API key of a Pagewire: its form or its checksum is wrong.".to_owned();
    }
    if found["ours"] != true {
        return "It has the form of an API key, but not of this appliance.".to_owned();
    }
    let key = format!("the key {} ('{}', owner {})", text("key_id"), text("name"), text("owner"));
    if found["secret_matches"] == true {
        format!("It is {key}, which is {}.", text("status"))
    } else {
        format!("It names {key}, but its secret is wrong or was replaced. That key is {}.", text("status"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_it_is() {
        let key = |secret_matches| {
            json!({"well_formed": true, "ours": true, "secret_matches": secret_matches, "key_id": "0123456789ab",
                "name": "Desk", "owner": "clinic", "status": "active"})
        };
        let cases = [
            (
                json!({"well_formed": false}),
                "This is no API key of a Pagewire: its form or its checksum is wrong.",
            ),
            (
                json!({"well_formed": true, "ours": false}),
                "It has the form of an API key, but not of this appliance.",
            ),
            (key(true), "It is the key 0123456789ab ('Desk', owner clinic), which is active."),
            (
                key(false),
                "It names the key 0123456789ab ('Desk', owner clinic), but its secret is wrong or was replaced. That \
                 key is active.",
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(sentence(&found), expected);
        }
    }
}
