//! Which events call for a person, and what a mail tells of each.
//!
//! Owns: the types of event that somebody is told of by e-mail ([`TYPES`]), and their words. Refuses:
//! anything about a single fax, which its sender is told of, names of files, and what nobody can do anything
//! about.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dialling::Cause;
use super::event::Event;
use super::{notice, sentences};

/// Types of event that may call for a person. The index `events_alerts` holds these alone.
pub const TYPES: [&str; 9] = [
    "dialling.limit_reached",
    "route.out_of_service",
    "route.in_service",
    "storage.ample",
    "storage.low",
    "storage.full",
    "storage.accounted",
    "certificate.expiring",
    "audit.damaged",
];

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// One line without an end.
    pub subject: String,
    /// What it means, and what can be done.
    pub sentence: String,
    /// When it happened.
    pub at: Timestamp,
}

impl Alert {
    /// What an event is worth telling; `None` of one that calls for nobody.
    pub fn of(event: &Event) -> Option<Self> {
        let (subject, sentence) = match event.kind.as_str() {
            "dialling.limit_reached" => dialling_limit(&event.data)?,
            "route.out_of_service" => route_out(&event.data)?,
            "route.in_service" => {
                let subject = format!("Line {} is in service again", event.data["route"].as_str()?);
                (subject, "Faxes that waited for it are sent.".to_owned())
            }
            "storage.ample" => ("The disk has room again".to_owned(), disk(&event.data, "")?),
            "storage.low" => {
                let what = "Make room, or have old faxes deleted.";
                ("The disk fills up".to_owned(), disk(&event.data, what)?)
            }
            "storage.full" => {
                let what = "Faxes are received, but none to be sent is taken in. Make room.";
                ("The disk is almost full".to_owned(), disk(&event.data, what)?)
            }
            "storage.accounted" => unaccounted(&event.data)?,
            "certificate.expiring" => certificate(&event.data)?,
            "audit.damaged" => audit(&event.data)?,
            _ => return None,
        };
        Some(Self { subject, sentence, at: event.at })
    }
}

fn dialling_limit(data: &Value) -> Option<(String, String)> {
    let most = data["most"].as_u64()?;
    let what = match data["cause"].as_str()?.parse().ok()? {
        Cause::Paused => return None,
        Cause::Dials => format!("The {most} calls of this hour have been placed."),
        Cause::LineMinutes => format!("The {most} minutes of this day have been used."),
    };
    let until = time(&data["until"])?;
    let sentence = format!(
        "{what} Faxes over telephone lines wait; dialling goes on at {until}. Where so many calls are not \
         expected, look at who sends them."
    );
    Some(("The limit of telephone calls is reached".to_owned(), sentence))
}

fn route_out(data: &Value) -> Option<(String, String)> {
    let route = data["route"].as_str()?;
    let class = data["class"].as_str().and_then(|class| class.parse().ok());
    let probe = data["next_probe_at"].as_str().and_then(|at| at.parse().ok());
    let sentence = sentences::out_of_service(route, class, probe);
    let sentence = format!("{sentence} Until then faxes wait, or take another line of their list.");
    Some((format!("Line {route} is out of service"), sentence))
}

fn disk(data: &Value, what: &str) -> Option<String> {
    let (used, free) = (data["used_percent"].as_u64()?, data["available_bytes"].as_u64()? / 1_000_000);
    Some(format!("It is {used} % full; {free} MB are free. {what}").trim_end().to_owned())
}

fn unaccounted(data: &Value) -> Option<(String, String)> {
    let count = data["unaccounted"].as_u64().filter(|count| *count > 0)?;
    let subject = match count {
        1 => "1 thing is not accounted for".to_owned(),
        count => format!("{count} things are not accounted for"),
    };
    let sentence =
        "What is recorded and what is stored do not fit together. The log of the appliance names what.";
    Some((subject, sentence.to_owned()))
}

fn certificate(data: &Value) -> Option<(String, String)> {
    let subject = match data["days"].as_u64()? {
        1 => "The HTTPS certificate ends within a day".to_owned(),
        days => format!("The HTTPS certificate ends in {days} days"),
    };
    let ends_at = time(&data["ends_at"])?;
    Some((subject, format!("Browsers refuse it after {ends_at}. Install a new one before.")))
}

fn audit(data: &Value) -> Option<(String, String)> {
    let problem = data["problem"].as_str()?;
    let sentence = format!(
        "What is wrong: {problem}. Somebody may have touched the database. Keep a copy of it, find out who, and then \
         take note of the damage with 'pagewire audit accept-damage'."
    );
    Some(("The audit log is damaged".to_owned(), sentence))
}

fn time(at: &Value) -> Option<String> {
    at.as_str()?.parse().ok().map(notice::time)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fax::event;

    fn alert(kind: &str, data: Value) -> Option<(String, String)> {
        let at = "2026-01-01T12:00:00Z".parse().unwrap();
        let alert = Alert::of(&Event { at, kind: kind.into(), subject: "x".into(), data })?;
        assert!(TYPES.contains(&kind), "{kind} would never be looked for");
        assert_eq!(alert.at, at);
        Some((alert.subject, alert.sentence))
    }

    #[test]
    fn each_type_has_its_words() {
        let disk = |used| json!({ "used_percent": used, "available_bytes": 1_500_000_000 });
        let limit = |cause| json!({ "cause": cause, "most": 60, "until": "2026-01-01T13:00:00Z" });
        let out = json!({
            "route": "sip", "failures": 3, "class": "trunk_auth", "code": "sip.403",
            "next_probe_at": "2026-01-01T12:05:00Z",
        });
        let cases = [
            (
                "dialling.limit_reached",
                limit("dials"),
                "The limit of telephone calls is reached",
                "The 60 calls of this hour have been placed. Faxes over telephone lines wait; dialling goes on at \
                 2026-01-01 13:00 UTC. Where so many calls are not expected, look at who sends them.",
            ),
            (
                "dialling.limit_reached",
                limit("line_minutes"),
                "The limit of telephone calls is reached",
                "The 60 minutes of this day have been used. Faxes over telephone lines wait; dialling goes on at \
                 2026-01-01 13:00 UTC. Where so many calls are not expected, look at who sends them.",
            ),
            (
                "route.out_of_service",
                out,
                "Line sip is out of service",
                "The line sip is out of service. Our trunk refused our login or limit. A call is tried there at \
                 12:05 UTC. Until then faxes wait, or take another line of their list.",
            ),
            (
                "route.in_service",
                json!({ "route": "sip", "out_s": 300 }),
                "Line sip is in service again",
                "Faxes that waited for it are sent.",
            ),
            ("storage.ample", disk(70), "The disk has room again", "It is 70 % full; 1500 MB are free."),
            (
                "storage.low",
                disk(81),
                "The disk fills up",
                "It is 81 % full; 1500 MB are free. Make room, or have old faxes deleted.",
            ),
            (
                "storage.full",
                disk(96),
                "The disk is almost full",
                "It is 96 % full; 1500 MB are free. Faxes are received, but none to be sent is taken in. Make room.",
            ),
            (
                "storage.accounted",
                json!({ "unaccounted": 2, "problems": ["file letter to Mrs. Doe.pdf: it is no finished document"] }),
                "2 things are not accounted for",
                "What is recorded and what is stored do not fit together. The log of the appliance names what.",
            ),
            (
                "certificate.expiring",
                json!({ "ends_at": "2026-01-08T12:00:00Z", "days": 7 }),
                "The HTTPS certificate ends in 7 days",
                "Browsers refuse it after 2026-01-08 12:00 UTC. Install a new one before.",
            ),
            (
                "audit.damaged",
                json!({ "problem": "row 7 was changed" }),
                "The audit log is damaged",
                "What is wrong: row 7 was changed. Somebody may have touched the database. Keep a copy of it, find out \
                 who, and then take note of the damage with 'pagewire audit accept-damage'.",
            ),
        ];
        for kind in TYPES {
            assert!(event::TYPES.contains(&kind) && cases.iter().any(|case| case.0 == kind), "{kind}");
        }
        for (kind, data, subject, sentence) in cases {
            assert_eq!(alert(kind, data), Some((subject.to_owned(), sentence.to_owned())));
        }
    }

    #[test]
    fn what_calls_for_nobody_is_not_told() {
        assert_eq!(alert("storage.accounted", json!({ "unaccounted": 0, "problems": [] })), None);
        assert_eq!(alert("fax.failed", json!({ "route": "sip" })), None);
        assert_eq!(alert("dialling.paused", json!({ "cause": "paused", "most": null, "until": null })), None);
        assert_eq!(alert("route.out_of_service", json!({})), None, "an event of another form");
    }
}
