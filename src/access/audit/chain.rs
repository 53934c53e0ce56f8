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

    /// Whether its hash is what this key makes of it.
    fn is_genuine(&self, key: &AuditKey) -> bool {
        let expected = self.canonical().map(|text| key.mac(&[&self.prev_hash.0, text.as_bytes()]));
        expected.is_some_and(|expected| expected.0.ct_eq(&self.hash.0).into())
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

/// Damage that somebody took note of: what a row `audit.damage_accepted` says, which nobody can
/// write without the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The first number that was wrong then.
    from: i64,
    /// Where the log ended then; the row follows it.
    end: Place,
}

impl Acceptance {
    /// Name under which the row tells the first number that was wrong.
    pub const FROM: &'static str = "first_bad_seq";

    /// What this row accepts; `None` of another row, and of one that is not genuine.
    pub fn of(row: &Row, key: &AuditKey) -> Option<Self> {
        if row.action != Action::AuditDamageAccepted.as_str() || !row.is_genuine(key) {
            return None;
        }
        let told: serde_json::Value = serde_json::from_str(row.after.as_deref()?).ok()?;
        Some(Self {
            from: told[Self::FROM].as_i64()?,
            end: Place { seq: row.seq.checked_sub(1)?, hash: row.prev_hash },
        })
    }

    /// Whether it is about this. Never about an anchor: that one speaks for what was there before.
    fn covers(&self, fault: &Fault) -> bool {
        let is_of_rows = !matches!(fault, Fault::AnchorDiffers { .. } | Fault::AnchorBeyond { .. });
        is_of_rows && (self.from..=self.end.seq).contains(&fault.seq())
    }
}

/// Damage that was met and had been accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What is wrong first.
    pub fault: Fault,
    /// The last number that proves nothing.
    pub through: i64,
}

/// Takes the rows in order and names the first that is wrong.
#[derive(Debug)]
pub struct Verifier<'a> {
    key: &'a AuditKey,
    last: Place,
    anchor: Option<Anchor>,
    accepted: Vec<Acceptance>,
    known: Vec<Known>,
    /// Rows up to here prove nothing.
    given_up: i64,
    rows: u64,
}

impl<'a> Verifier<'a> {
    /// For the rows after `start`, comparing with `anchor` on the way.
    pub fn new(key: &'a AuditKey, start: Place, anchor: Option<Anchor>) -> Self {
        Self {
            key,
            last: start,
            anchor,
            accepted: Vec::new(),
            known: Vec::new(),
            given_up: i64::MIN,
            rows: 0,
        }
    }

    /// With damage that somebody took note of: behind it the verification goes on.
    pub fn accepting(self, accepted: Vec<Acceptance>) -> Self {
        Self { accepted, ..self }
    }

    /// The next row, by its number.
    pub fn take(&mut self, row: &Row) -> Result<(), Fault> {
        if row.seq <= self.given_up {
            return match self.anchor {
                Some(anchor) if anchor.seq == row.seq && anchor.hash != row.hash => {
                    Err(Fault::AnchorDiffers { seq: row.seq })
                }
                _ => Ok(()),
            };
        }
        match self.follow(row) {
            Ok(()) => Ok(()),
            Err(fault) => {
                self.excuse(fault)?;
                self.take(row)
            }
        }
    }

    /// The last number that proves nothing, because it stands in accepted damage.
    pub fn given_up(&self) -> i64 {
        self.given_up
    }

    /// Goes on behind accepted damage, if this is it.
    pub fn excuse(&mut self, fault: Fault) -> Result<(), Fault> {
        let Some(accepted) = self.accepted.iter().find(|accepted| accepted.covers(&fault)) else {
            return Err(fault);
        };
        (self.last, self.given_up) = (accepted.end, accepted.end.seq);
        self.known.push(Known { fault, through: accepted.end.seq });
        Ok(())
    }

    /// The accepted damage that was met.
    pub fn known(&self) -> &[Known] {
        &self.known
    }

    fn follow(&mut self, row: &Row) -> Result<(), Fault> {
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
        if !row.is_genuine(self.key) {
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
mod tests;
