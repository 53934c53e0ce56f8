//! Rows as documented, and what cannot be told apart by trading bytes.

use super::*;
use crate::access::audit::{Context, Via};

fn key() -> AuditKey {
    AuditKey::new(&Secret::new(std::array::from_fn(|index| index as u8)))
}

/// The hashes were computed with an independent implementation (Python: hmac, hashlib, json).
#[test]
fn rows_are_linked_as_documented() {
    let context = Context {
        actor: "key:0123456789ab".into(),
        via: Via::Api,
        address: Some("192.0.2.7".parse().unwrap()),
        request_id: Some("0190b3c0000070008000000000000000".parse().unwrap()),
    };
    let at = "2026-01-01T00:00:00.007Z".parse().unwrap();
    let event = context
        .event(Action::ApiKeyCreated, "00ff00ff00ff".parse::<crate::access::token::KeyId>().unwrap(), at)
        .after(Snapshot::new().with("scopes", ["fax:send"]).with("name", "Öffnung \"1\"\n"));
    let first = Row::following(&key(), Place::BEGINNING, &event).unwrap();
    assert_eq!(first.canonical().unwrap(), GOLDEN);
    assert_eq!(first.hash.to_string(), FIRST);
    let event = Context::system()
        .event(Action::SettingsChanged, crate::access::audit::Target::new("settings", "line.route"), at)
        .before(Snapshot::new().with("value", "simulator"))
        .reason(Some("try".into()));
    let second = Row::following(&key(), first.place(), &event).unwrap();
    assert_eq!(second.hash.to_string(), SECOND);
    assert_eq!(
        second.line(),
        format!(
            "{{\"action\":\"settings.changed\",\"actor\":\"system\",\"address\":null,\"after\":null,\
             \"before\":{{\"value\":\"simulator\"}},\"hash\":\"{SECOND}\",\"prev_hash\":\"{FIRST}\",\
             \"reason\":\"try\",\"request_id\":null,\"seq\":2,\"target\":\"settings:line.route\",\
             \"time\":\"2026-01-01T00:00:00.007Z\",\"via\":\"system\"}}"
        )
    );
    let mark = Mark::sign(&key(), MarkName::Head, second.place(), 0, 1_767_225_600_007);
    assert_eq!(mark.mac.to_string(), HEAD);
    assert!(mark.is_genuine(&key(), MarkName::Head) && !mark.is_genuine(&key(), MarkName::Checkpoint));
}

const GOLDEN: &str = "{\"action\":\"api_key.created\",\"actor\":\"key:0123456789ab\",\"address\":\"192.0.2.7\",\
    \"after\":{\"name\":\"Öffnung \\\"1\\\"\\n\",\"scopes\":[\"fax:send\"]},\"before\":null,\"reason\":null,\
    \"request_id\":\"0190b3c0000070008000000000000000\",\"seq\":1,\"target\":\"api_key:00ff00ff00ff\",\
    \"time\":\"2026-01-01T00:00:00.007Z\",\"via\":\"api\"}";
const FIRST: &str = "656e04d72ecdaf6f7c9a715fbf857797720aa40859933dd5ec14cbe2628e396a";
const SECOND: &str = "d7b4d05bdfd2466c4df8ca366a1d3781732b5852b143db9c30f9100a54a2e186";
const HEAD: &str = "4a2130df8734dbefdf78fd97307ca76f082acc6354a45b10f49ba3bb1c8fa71a";

#[test]
fn columns_cannot_trade_bytes() {
    let event = Context::system()
        .event(
            Action::SettingsChanged,
            crate::access::audit::Target::new("settings", "x"),
            Timestamp::UNIX_EPOCH,
        )
        .after(Snapshot::new().with("a", 1).with("before", 2));
    let row = Row::following(&key(), Place::BEGINNING, &event).unwrap();
    assert_eq!(row.after.as_deref(), Some("{\"a\":1,\"before\":2}"));
    let verify = |row: &Row| Verifier::new(&key(), Place::BEGINNING, None).take(row);
    verify(&row).unwrap();
    let traded =
        Row { after: Some("{\"a\":1".into()), before: Some("2},\"before\":null".into()), ..row.clone() };
    let spelled_out = Row { before: Some("null".into()), ..row };
    for forged in [traded, spelled_out] {
        assert_eq!(verify(&forged), Err(Fault::Altered { seq: 1 }));
    }
}

#[test]
fn reads_anchors() {
    let hash = "0f".repeat(32);
    let anchor: Anchor = format!("12:{hash}").parse().unwrap();
    assert_eq!((anchor.seq, anchor.hash.to_string()), (12, hash.clone()));
    for wrong in ["", "12", &hash, &format!("0:{hash}"), &format!("-1:{hash}"), &format!("12:{hash}0")] {
        assert_eq!(wrong.parse::<Anchor>(), Err(InvalidAnchor), "{wrong}");
    }
    assert!(format!("1:{}é", "0".repeat(62)).parse::<Anchor>().is_err());
}
