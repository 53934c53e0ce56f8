//! Every problem of the API, explained.
//!
//! Owns: the words a person who met a problem would search for, above the catalogue's own remedy.
//! Keeps: each entry of the catalogue stands on the page, under its own anchor.

use std::fmt::Write;

use super::escaped;
use crate::http::error::{CATALOGUE, Problem};

/// All problems, by status.
pub(super) fn explained() -> String {
    let mut all: Vec<&Problem> = CATALOGUE.to_vec();
    all.sort_by_key(|problem| problem.status);
    let mut html = String::new();
    let mut last = String::new();
    for problem in all {
        let heading = heading(problem);
        if heading != last {
            // Writing to a string does not fail.
            let _ = writeln!(html, "<h2 id=\"status-{}\">{heading}</h2>", problem.status);
            last = heading;
        }
        let _ = writeln!(
            html,
            "<h3 id=\"{}\">{}</h3>\n<p class=\"soft\">{} {} · <code>{}</code> · <code>{}</code></p>\n<p>{}</p>",
            problem.slug,
            escaped(symptom(problem).unwrap_or(problem.title)),
            problem.status,
            problem.title,
            problem.code,
            problem.message,
            escaped(problem.remedy)
        );
    }
    html
}

fn heading(problem: &Problem) -> String {
    match problem.status {
        413 | 415 => "413 / 415: the document is not taken".to_owned(),
        429 => "429 Rate limited".to_owned(),
        500.. => "500 / 503: the appliance cannot do it now".to_owned(),
        status => format!("{status} {}", problem.title),
    }
}

/// What somebody sees who has this problem.
fn symptom(problem: &Problem) -> Option<&'static str> {
    Some(match problem.slug {
        "invalid-request" => "The request as a whole cannot be read",
        "invalid-number" => "'to' must be E.164 or digits only",
        "invalid-api-key" => "Invalid API key provided",
        "missing-api-key" => "An API key is required",
        "signed-out" => "The console asks to sign in again",
        "login-failed" => "User name, password or code is wrong",
        "code-needed" => "A code from the authenticator app is asked for",
        "password-needed" => "The password is asked for once more",
        "csrf" => "A change from the browser is refused",
        "link-invalid" => "The set-up or invitation link does not work",
        "insufficient-scope" => "Insufficient scope",
        "number-not-allowed" => "This number is not dialled",
        "https-only" => "People use this appliance over HTTPS only",
        "not-found" => "There is nothing at this address",
        "fax-not-found" => "The fax is not found",
        "group-not-found" => "The group is not found",
        "api-key-not-found" => "The API key is not found",
        "user-not-found" => "The user is not found",
        "webhook-not-found" => "The webhook is not found",
        "method-not-allowed" => "This address takes another method",
        "request-timeout" => "The upload stopped",
        "wrong-state" => "Too late to cancel or change the fax",
        "api-key-wrong-state" => "The key is revoked or disabled already",
        "seal-wrong-state" => "The sealing key cannot be changed now",
        "api-key-not-recoverable" => "The token cannot be shown again",
        "account-key-exists" => "There is an account key already",
        "audit-wrong-state" => "The audit log cannot do this now",
        "user-wrong-state" => "The last administrator cannot be removed",
        "webhook-wrong-state" => "The webhook cannot be changed so",
        "idempotency-in-flight" => "The same request is still being worked on",
        "payload-too-large" => "413: the file is too large",
        "unsupported-media-type" => "415: this kind of file cannot be faxed",
        "misdirected-request" => "This appliance is not known by that name",
        "invalid-field" => "A field cannot be used",
        "api-key-name-required" => "The new key has no name",
        "unusable-document" => "The document is damaged or locked",
        "idempotency-mismatch" => "The Idempotency-Key was used for another fax",
        "rate-limited" => "Rate limited: too many requests",
        "quota" => "The key's pages or new numbers of the day are used up",
        "internal-error" => "Something went wrong on our side",
        "storage-full" => "The disk is full",
        "service-unavailable" => "Busy, or going down",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_its_anchor_and_its_symptom() {
        let html = explained();
        for problem in CATALOGUE {
            assert!(symptom(problem).is_some(), "what does one see who has the problem {}?", problem.slug);
            assert_eq!(html.matches(&format!("id=\"{}\"", problem.slug)).count(), 1, "{}", problem.slug);
            assert!(html.contains(&escaped(problem.remedy)), "{}", problem.slug);
        }
    }

    #[test]
    fn each_status_has_one_heading() {
        let html = explained();
        let mut headings: Vec<&str> = html.lines().filter(|line| line.starts_with("<h2")).collect();
        let count = headings.len();
        headings.dedup();
        assert_eq!(headings.len(), count, "{headings:?}");
        assert_eq!(html.matches("413 / 415").count(), 1);
        assert!(html.contains(">401 Unauthorized</h2>") && html.contains(">429 Rate limited</h2>"));
    }
}
