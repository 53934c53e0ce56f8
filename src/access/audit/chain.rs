//! The chain of audit rows: how a row is bound to the one before it, and how that is verified.
//!
//! `hash` of a row = HMAC-SHA256(audit key, `prev_hash` ‖ canonical JSON of the row), where
//! `prev_hash` is the hash of the row before (32 zero bytes for the first) and the JSON has the
//! names `action actor address after before reason request_id seq target time via`. Numbers begin
//! with 1 and have no gaps. Two marks, each with a MAC of its own, say where the log ends (`head`)
//! and where it begins after pruning (`checkpoint`).
//!
//! Owns: the arithmetic, without storage. Invariant: whatever is changed in a stored row, and any
//! row that is deleted, inserted or moved, makes [`Verifier`] name the first row that is wrong. Who
//! has the key can make another chain; that shows only against an [`Anchor`] kept elsewhere.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::canonical::{is_object, string};
use super::{Action, AuditEvent, Snapshot};
use crate::log::scrub;
use crate::secret::Secret;

/// Bytes of a hash.
const HASH_LEN: usize = 32;

/// A link of the chain: 32 bytes, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; HASH_LEN]);

impl Hash {
    /// What the first row follows.
    pub const ZERO: Self = Self([0; HASH_LEN]);
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// A row by its number and hash; also what is noted elsewhere to compare with later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the row.
    pub seq: i64,
    /// Its hash.
    pub hash: Hash,
}

impl Place {
    /// Before the first row.
    pub const BEGINNING: Self = Self { seq: 0, hash: Hash::ZERO };
}

/// A head that was noted outside the appliance: `SEQ:HASH`.
pub type Anchor = Place;

/// The text is not `SEQ:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an anchor is the number of a row, a colon and its hash of 64 hex digits, as the journal has it")]
pub struct InvalidAnchor;

impl FromStr for Place {
    type Err = InvalidAnchor;

    fn from_str(text: &str) -> Result<Self, InvalidAnchor> {
        let (seq, hex) = text.split_once(':').ok_or(InvalidAnchor)?;
        let seq: i64 = seq.parse().map_err(|_| InvalidAnchor)?;
        if seq < 1 || hex.len() != 2 * HASH_LEN || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidAnchor);
        }
        let mut hash = [0; HASH_LEN];
        for (position, byte) in hash.iter_mut().enumerate() {
            let digits = hex.get(2 * position..2 * position + 2).ok_or(InvalidAnchor)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| InvalidAnchor)?;
        }
        Ok(Self { seq, hash: Hash(hash) })
    }
}

/// The key of the chain, a subkey of the seal.
#[derive(Clone)]
pub struct AuditKey(Hmac<Sha256>);

impl AuditKey {
    /// From the seal's subkey.
    pub fn new(key: &Secret<[u8; 32]>) -> Self {
        Self(Hmac::new_from_slice(key.reveal()).expect("HMAC takes a key of any length"))
    }

    fn mac(&self, parts: &[&[u8]]) -> Hash {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        Hash(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey")
    }
}

/// A row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Number, from 1.
    pub seq: i64,
    /// Time, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// By which way.
    pub via: String,
    /// What.
    pub action: String,
    /// To which thing.
    pub target: String,
    /// How it was: a canonical object.
    pub before: Option<String>,
    /// How it is: a canonical object.
    pub after: Option<String>,
    /// From which address.
    pub address: Option<String>,
    /// The HTTP request.
    pub request_id: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Hash of the row before.
    pub prev_hash: Hash,
    /// Hash of this row.
    pub hash: Hash,
    /// False when a column did not read back as what it should be; the rest is as far as readable.
    pub is_readable: bool,
}

impl Row {
    /// The row of `event` after the row at `last`; `None` when there are no numbers left.
    pub fn following(key: &AuditKey, last: Place, event: &AuditEvent) -> Option<Self> {
        let mut row = Self {
            seq: last.seq.checked_add(1)?,
            at_ms: event.at.as_millisecond(),
            actor: event.context.actor.clone(),
            via: event.context.via.to_string(),
            action: event.action.to_string(),
            target: scrub(event.target.as_str()).into_owned(),
            before: event.before.as_ref().map(Snapshot::canonical),
            after: event.after.as_ref().map(Snapshot::canonical),
            address: event.context.address.map(|address| address.to_string()),
            request_id: event.context.request_id.map(|id| id.to_string()),
            reason: event.reason.as_deref().map(|reason| scrub(reason).into_owned()),
            prev_hash: last.hash,
            hash: Hash::ZERO,
            is_readable: true,
        };
        row.hash = key.mac(&[&row.prev_hash.0, row.canonical()?.as_bytes()]);
        Some(row)
    }

    /// Its number and hash.
    pub fn place(&self) -> Place {
        Place { seq: self.seq, hash: self.hash }
    }

    /// When, RFC 3339 in UTC with milliseconds; `None` when the stored number is no time.
    pub fn time(&self) -> Option<String> {
        let at = Timestamp::from_millisecond(self.at_ms).ok()?;
        Some(at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
    }

    /// One line of JSON with everything, hashes too, names sorted. Of a damaged row as much as can
    /// be said.
    pub fn line(&self) -> String {
        let hashes =
            [("hash", string(&self.hash.to_string())), ("prev_hash", string(&self.prev_hash.to_string()))];
        let mut fields: Vec<(&str, String)> = self.fields().into_iter().chain(hashes).collect();
        fields.sort_unstable_by_key(|(name, _)| *name);
        join(&fields)
    }

    /// What its hash covers; `None` when a column holds what no writer puts there.
    fn canonical(&self) -> Option<String> {
        // Without this check two neighbouring columns could trade bytes and spell the same text.
        let are_objects = [&self.before, &self.after].into_iter().flatten().all(|text| is_object(text));
        (self.is_readable && are_objects && self.time().is_some()).then(|| join(&self.fields()))
    }

    /// The canonical fields, sorted by name.
    fn fields(&self) -> [(&'static str, String); 11] {
        let text = |text: &Option<String>| text.as_deref().map_or_else(|| "null".to_owned(), string);
        let json = |text: &Option<String>| match text.as_deref() {
            None => "null".to_owned(),
            Some(object) if is_object(object) => object.to_owned(),
            Some(damaged) => string(damaged),
        };
        [
            ("action", string(&self.action)),
            ("actor", string(&self.actor)),
            ("address", text(&self.address)),
            ("after", json(&self.after)),
            ("before", json(&self.before)),
            ("reason", text(&self.reason)),
            ("request_id", text(&self.request_id)),
            ("seq", self.seq.to_string()),
            ("target", string(&self.target)),
            ("time", text(&self.time())),
            ("via", string(&self.via)),
        ]
    }
}

fn join(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// What a mark marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkName {
    /// The last row.
    Head,
    /// The last row that was pruned.
    Checkpoint,
}

impl MarkName {
    /// Its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// A place that is noted beside the rows, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The place.
    pub place: Place,
    /// Rows removed when it was made; 0 of a head.
    pub pruned: i64,
    /// When it was made, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// MAC over all that and its name.
    pub mac: Hash,
}

impl Mark {
    /// A signed mark.
    pub fn sign(key: &AuditKey, name: MarkName, place: Place, pruned: i64, at_ms: i64) -> Self {
        let mut mark = Self { place, pruned, at_ms, mac: Hash::ZERO };
        mark.mac = mark.expected_mac(key, name);
        mark
    }

    /// Whether it is as it was signed.
    pub fn is_genuine(&self, key: &AuditKey, name: MarkName) -> bool {
        self.expected_mac(key, name).0.ct_eq(&self.mac.0).into()
    }

    fn expected_mac(&self, key: &AuditKey, name: MarkName) -> Hash {
        let Self { place, pruned, at_ms, .. } = self;
        // A row's text begins with 32 bytes of hash, so no mark can pass for a row.
        let text = format!(
            "{{\"at_ms\":{at_ms},\"hash\":\"{}\",\"mark\":\"{}\",\"pruned\":{pruned},\"seq\":{}}}",
            place.hash,
            name.as_str(),
            place.seq
        );
        key.mac(&[text.as_bytes()])
    }
}

/// What is wrong with a log, in a sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Numbers are left out.
    #[error("Rows {first} to {last} are missing.")]
    Missing {
        /// First number that is not there.
        first: i64,
        /// Last one.
        last: i64,
    },
    /// A row stands where none can be.
    #[error("Row {seq} does not belong here: it stands before the beginning of the log, or twice.")]
    Misplaced {
        /// Its number.
        seq: i64,
    },
    /// A row does not fit its hash.
    #[error("Row {seq} was altered after it was written, or was not written by this appliance.")]
    Altered {
        /// Its number.
        seq: i64,
    },
    /// A row does not follow the one before it.
    #[error("Row {seq} does not follow the row before it: one of the two was altered or replaced.")]
    Unlinked {
        /// Its number.
        seq: i64,
    },
    /// The writer itself found the end touched.
    #[error(
        "When row {seq} was written, the end of the log was not where it had been noted: rows before it may have been removed or replaced."
    )]
    Broken {
        /// Its number.
        seq: i64,
    },
    /// Rows stand after the noted end.
    #[error("Row {seq} stands after the end of the log that was noted when the last row was written.")]
    Beyond {
        /// Its number.
        seq: i64,
    },
    /// The last rows are gone.
    #[error("The newest rows are missing: the log ends before row {seq}, and there were {count} more.")]
    Cut {
        /// First number that is not there.
        seq: i64,
        /// How many are gone.
        count: i64,
    },
    /// The head is gone or altered.
    #[error("The note of where the log ends was removed or altered; rows after row {last} may be missing.")]
    Head {
        /// The last row there is.
        last: i64,
    },
    /// The checkpoint is altered.
    #[error("The note of what was pruned was altered; rows before row {first} may be missing.")]
    Checkpoint {
        /// The first row there is.
        first: i64,
    },
    /// The noted row has another hash.
    #[error(
        "Row {seq} has another hash than the anchor: the log was made anew after the anchor was noted, or the anchor is from another appliance."
    )]
    AnchorDiffers {
        /// Its number.
        seq: i64,
    },
    /// The noted row was there once.
    #[error(
        "The newest rows are missing: the log ends with row {last}, and the anchor was noted at row {anchor}."
    )]
    AnchorBeyond {
        /// The last row there is.
        last: i64,
        /// The anchor's.
        anchor: i64,
    },
}

impl Fault {
    /// The first number that is wrong.
    pub fn seq(&self) -> i64 {
        match self {
            Self::Missing { first: seq, .. }
            | Self::Misplaced { seq }
            | Self::Altered { seq }
            | Self::Unlinked { seq }
            | Self::Broken { seq }
            | Self::Beyond { seq }
            | Self::Cut { seq, .. }
            | Self::Checkpoint { first: seq }
            | Self::AnchorDiffers { seq } => *seq,
            Self::Head { last } | Self::AnchorBeyond { last, .. } => last.saturating_add(1),
        }
    }
}

/// Takes the rows in order and names the first that is wrong.
#[derive(Debug)]
pub struct Verifier<'a> {
    key: &'a AuditKey,
    last: Place,
    anchor: Option<Anchor>,
    rows: u64,
}

impl<'a> Verifier<'a> {
    /// For the rows after `start`, comparing with `anchor` on the way.
    pub fn new(key: &'a AuditKey, start: Place, anchor: Option<Anchor>) -> Self {
        Self { key, last: start, anchor, rows: 0 }
    }

    /// The next row, by its number.
    pub fn take(&mut self, row: &Row) -> Result<(), Fault> {
        let seq = row.seq;
        if seq <= self.last.seq {
            return Err(Fault::Misplaced { seq });
        }
        if seq - 1 > self.last.seq {
            return Err(Fault::Missing { first: self.last.seq + 1, last: seq - 1 });
        }
        if row.prev_hash != self.last.hash {
            return Err(Fault::Unlinked { seq });
        }
        let expected = row.canonical().map(|text| self.key.mac(&[&row.prev_hash.0, text.as_bytes()]));
        if !expected.is_some_and(|expected| expected.0.ct_eq(&row.hash.0).into()) {
            return Err(Fault::Altered { seq });
        }
        if row.action == Action::AuditBroken.as_str() {
            return Err(Fault::Broken { seq });
        }
        if self.anchor.is_some_and(|anchor| anchor.seq == seq && anchor.hash != row.hash) {
            return Err(Fault::AnchorDiffers { seq });
        }
        self.last = row.place();
        self.rows += 1;
        Ok(())
    }

    /// Goes on after rows that were pruned while the others were being looked at.
    pub fn skip_to(&mut self, checkpoint: Place) {
        if checkpoint.seq > self.last.seq {
            self.last = checkpoint;
        }
    }

    /// The row that was taken last.
    pub fn last(&self) -> Place {
        self.last
    }

    /// How many rows were taken.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// After the last row: whether the log ends where its head says; `head` is `None` when there is
    /// none, or none that is genuine.
    pub fn end(&self, head: Option<Place>) -> Result<(), Fault> {
        let last = self.last.seq;
        match head {
            None if self.last == Place::BEGINNING => {}
            None => return Err(Fault::Head { last }),
            Some(head) if head.seq > last => {
                return Err(Fault::Cut { seq: last + 1, count: head.seq - last });
            }
            Some(head) if head.seq < last => return Err(Fault::Beyond { seq: head.seq + 1 }),
            Some(head) if head.hash != self.last.hash => return Err(Fault::Altered { seq: last }),
            Some(_) => {}
        }
        match self.anchor {
            Some(anchor) if anchor.seq > last => Err(Fault::AnchorBeyond { last, anchor: anchor.seq }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Context, Via};
    use super::*;

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
            .event(Action::SettingsChanged, super::super::Target::new("settings", "line.route"), at)
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
            .event(Action::SettingsChanged, super::super::Target::new("settings", "x"), Timestamp::UNIX_EPOCH)
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
}
