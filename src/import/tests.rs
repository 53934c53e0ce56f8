//! What comes over, and what does not.

use super::*;
use crate::access::scopes::{Scope, ScopeSet};
use crate::db::faxbot::{FaxbotInbound, FaxbotJob, FaxbotKey};
use crate::db::import::KnownAccount;
use crate::secret::Secret;

const HASH: &str =
    "scrypt$AAECAwQFBgcICQoLDA0ODw$xCB26USge7gXuqUCKXe-P36TqjeHxle4Fbo8PFVMXeo$n=16384$r=8$p=1";
const AT: &str = "2025-09-20 01:29:19.123456";

fn key(id: &str, scopes: &str) -> FaxbotKey {
    FaxbotKey {
        key_id: id.to_owned(),
        key_hash: Secret::new(HASH.to_owned()),
        name: Some("Desk".to_owned()),
        owner: None,
        scopes: scopes.to_owned(),
        created_at: Some(AT.to_owned()),
        last_used_at: None,
        expires_at: None,
        revoked_at: None,
        note: None,
    }
}

fn job(id: &str, status: &str) -> FaxbotJob {
    FaxbotJob {
        id: id.to_owned(),
        to_number: "+15551234567".to_owned(),
        status: status.to_owned(),
        error: None,
        pages: Some(2),
        created_at: Some(AT.to_owned()),
        updated_at: Some(AT.to_owned()),
    }
}

fn planned(contents: Contents, known: &Known) -> Plan {
    plan(
        contents,
        known,
        std::path::Path::new("/old"),
        &CountryCode::default(),
        "2026-01-01T00:00:00Z".parse().unwrap(),
    )
}

fn plan_keys(keys: Vec<FaxbotKey>, known: &Known) -> Plan {
    planned(Contents { keys, ..Contents::default() }, known)
}

#[track_caller]
fn stays(plan: &Plan, reason: &str) {
    let Fate::StaysBehind(why) = &plan.items[0].fate else { panic!("{:?}", plan.items[0]) };
    assert!(why.contains(reason), "{why}");
}

#[test]
fn reads_the_times_of_a_faxbot() {
    let cases = [
        (AT, Some("2025-09-20T01:29:19.123Z")),
        ("2025-09-20 01:29:19", Some("2025-09-20T01:29:19Z")),
        ("2025-09-20T01:29:19+02:00", Some("2025-09-19T23:29:19Z")),
        ("yesterday", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(moment(text), expected.map(|at| at.parse().unwrap()), "{text}");
    }
}

#[test]
fn scopes_never_grow() {
    let cases: [(&str, &[Scope], usize); 6] = [
        ("fax:send,fax:read", &[Scope::FaxSend, Scope::FaxRead], 0),
        (" inbound:list , inbound:read,", &[Scope::InboundList, Scope::InboundRead], 0),
        ("keys:manage", &[Scope::KeysManage, Scope::KeysRead], 1),
        ("*", &[Scope::FaxSend, Scope::FaxRead, Scope::FaxCancel, Scope::InboundList, Scope::InboundRead], 1),
        // Words that mean something here and nothing to Faxbot.
        ("fax:read,admin,users:manage", &[Scope::FaxRead], 2),
        ("fax:read,nonsense", &[Scope::FaxRead], 1),
    ];
    for (scopes, expected, notes) in cases {
        let plan = plan_keys(vec![key("0123456789ab", scopes)], &Known::default());
        let expected: ScopeSet = expected.iter().copied().collect();
        assert_eq!(plan.batch.keys[0].0.scopes, expected, "{scopes}");
        assert_eq!(plan.items[0].notes.len(), notes, "{scopes}: {:?}", plan.items[0].notes);
    }
    stays(&plan_keys(vec![key("0123456789ab", "admin")], &Known::default()), "none of its scopes");
    stays(&plan_keys(vec![key("0123456789ab", "")], &Known::default()), "none of its scopes");
}

#[test]
fn a_key_that_cannot_be_understood_stays_behind() {
    let sound = key("0123456789ab", "fax:read");
    let no_hash = FaxbotKey { key_hash: Secret::new("md5$x".to_owned()), ..sound.clone() };
    let no_end = FaxbotKey { expires_at: Some("soon".to_owned()), ..sound.clone() };
    let no_revocation = FaxbotKey { revoked_at: Some("once".to_owned()), ..sound.clone() };
    let cases = [
        (key("0123", "fax:read"), "12 hex digits"),
        (no_hash, "unknown form"),
        (no_end, "expires does not read"),
        (no_revocation, "was revoked does not read"),
    ];
    for (key, reason) in cases {
        let plan = plan_keys(vec![key], &Known::default());
        stays(&plan, reason);
        assert!(plan.batch.keys.is_empty() && plan.batch.accounts.is_empty());
    }
    let known = Known { keys: [sound.key_id.parse().unwrap()].into(), ..Known::default() };
    assert_eq!(plan_keys(vec![sound.clone()], &known).items[0].fate, Fate::IsHere);
    let twice = plan_keys(vec![sound.clone(), sound], &Known::default());
    assert_eq!((twice.batch.keys.len(), twice.batch.accounts.len()), (1, 1));
}

#[test]
fn nobody_becomes_an_administrator_by_a_name() {
    let account =
        |name: &str, kind, role| KnownAccount { id: AccountId::new(), name: name.to_owned(), kind, role };
    let known = Known {
        accounts: vec![
            account("local", AccountKind::Service, Role::GlobalAdmin),
            account("Anna", AccountKind::User, Role::Operator),
            account("anonymous", AccountKind::Service, Role::Operator),
            account("clinic", AccountKind::Service, Role::Operator),
        ],
        ..Known::default()
    };
    let cases = [
        (Some("LOCAL"), "LOCAL (Faxbot)"),
        (Some("anna"), "anna (Faxbot)"),
        (Some("anonymous"), "anonymous (Faxbot)"),
        (Some("Clinic"), "clinic"),
        (Some("Lab"), "Lab"),
        (Some("  "), "faxbot"),
        (None, "faxbot"),
    ];
    for (owner, expected) in cases {
        let key = FaxbotKey { owner: owner.map(str::to_owned), ..key("0123456789ab", "fax:read") };
        let plan = plan_keys(vec![key], &known);
        assert_eq!(plan.items[0].label, format!("Desk (owner {expected})"));
        assert_eq!(plan.batch.accounts.len(), usize::from(expected != "clinic"));
        assert!(plan.batch.accounts.iter().all(|account| account.role == Role::Operator));
    }
}

#[test]
fn only_faxes_that_ended_come_over() {
    let id = "0123456789abcdef0123456789abcdef";
    for (status, expected) in [
        ("SUCCESS", Some("delivered")),
        ("completed", Some("delivered")),
        ("FAILED", Some("failed")),
        ("failed", Some("failed")),
        ("disabled", Some("failed")),
        ("queued", None),
        ("in_progress", None),
        ("", None),
    ] {
        let plan =
            planned(Contents { jobs: vec![job(id, status)], ..Contents::default() }, &Known::default());
        assert_eq!(plan.batch.jobs.first().map(|job| job.state.as_str()), expected, "{status}");
        if expected.is_none() {
            stays(&plan, "had not ended");
        }
    }
    let wrong_number = FaxbotJob { to_number: "reception".to_owned(), ..job(id, "SUCCESS") };
    for (job, reason) in [
        (job("x", "SUCCESS"), "32 hex digits"),
        (wrong_number, "number does not read"),
        (
            FaxbotJob { created_at: None, updated_at: Some("?".to_owned()), ..job(id, "SUCCESS") },
            "time does not read",
        ),
    ] {
        stays(&planned(Contents { jobs: vec![job], ..Contents::default() }, &Known::default()), reason);
    }
}

#[test]
fn documents_are_looked_for_where_they_may_be() {
    let fax = FaxbotInbound {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        from_number: None,
        to_number: None,
        pages: None,
        size_bytes: None,
        pdf_path: Some("s3://bucket/a.pdf".to_owned()),
        tiff_path: Some("/faxdata/a.tiff".to_owned()),
        error: None,
        received_at: Some(AT.to_owned()),
        updated_at: None,
    };
    let plan = planned(Contents { inbound: vec![fax], ..Contents::default() }, &Known::default());
    let expected =
        ["/faxdata/a.tiff", "/old/a.tiff", "/old/faxdata/a.tiff", "/old/a.pdf", "/old/faxdata/a.pdf"];
    assert_eq!(plan.documents, [expected.map(PathBuf::from).to_vec()]);
}
