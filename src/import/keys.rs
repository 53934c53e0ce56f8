//! API keys of a Faxbot.
//!
//! Owns: what of a key's rights comes over. Each scope of Faxbot that means something here, and no
//! other; a revoked key comes over revoked, so that its id is not used again and the log can name it.

use jiff::Timestamp;

use super::{FAXBOT, Fate, Plan, What, line, moment};
use crate::access::kind::Kind;
use crate::access::records::{KeyRecord, SlotRecord, Status};
use crate::access::roles::Role;
use crate::access::scopes::{Scope, ScopeSet};
use crate::access::token::KeyId;
use crate::auth::imported::from_faxbot;
use crate::db::faxbot::FaxbotKey;
use crate::db::import::Known;
use crate::id::AccountId;
use crate::secret::Secret;

/// Who made these keys, in the records.
const MADE_BY: &str = "import:faxbot";
/// Longest name of a key, of its remark and of its owner, in characters, as for new keys.
const NAME_LEN: usize = 100;
const NOTE_LEN: usize = 500;
const OWNER_LEN: usize = 54;
/// The scopes Faxbot has and we have too.
const SCOPES: [Scope; 5] =
    [Scope::FaxSend, Scope::FaxRead, Scope::InboundList, Scope::InboundRead, Scope::KeysManage];

pub(super) fn plan(plan: &mut Plan, key: FaxbotKey, known: &Known, now: Timestamp) {
    let name = Some(line(key.name.as_deref().unwrap_or_default(), NAME_LEN)).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| "Key from Faxbot".to_owned());
    let mut notes = Vec::new();
    let (label, fate) = match judge(plan, &key, known, &mut notes) {
        Ok(sound) => {
            let owner = line(key.owner.as_deref().unwrap_or_default(), OWNER_LEN);
            let owner = if owner.is_empty() { FAXBOT.to_owned() } else { owner };
            let (owner, owner_name) = plan.owner(&owner, known, now);
            plan.batch.keys.push(sound.records(&key, name.clone(), owner, now));
            (format!("{name} (owner {owner_name})"), Fate::Comes)
        }
        Err(fate) => (name, fate),
    };
    plan.add(What::Key, &key.key_id, label, fate, notes);
}

/// What had to be understood before a key can come over.
struct Sound {
    id: KeyId,
    scopes: ScopeSet,
    phc: Secret<String>,
    created_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

fn judge(plan: &Plan, key: &FaxbotKey, known: &Known, notes: &mut Vec<String>) -> Result<Sound, Fate> {
    let stays = |why: &str| Fate::StaysBehind(why.to_owned());
    let id: KeyId = key.key_id.parse().map_err(|_| stays("its id is not 12 hex digits"))?;
    if known.keys.contains(&id) {
        return Err(Fate::IsHere);
    }
    if plan.batch.keys.iter().any(|(record, _)| record.id == id) {
        return Err(stays("another key of the same id comes over"));
    }
    let phc = from_faxbot(key.key_hash.reveal()).map_err(|error| stays(&error.to_string()))?;
    // A time that does not read must not make a key live longer.
    let end = |text: &Option<String>, what: &str| match text.as_deref().map(moment) {
        None => Ok(None),
        Some(Some(at)) => Ok(Some(at)),
        Some(None) => Err(stays(&format!("the time at which it {what} does not read"))),
    };
    let (expires_at, revoked_at) = (end(&key.expires_at, "expires")?, end(&key.revoked_at, "was revoked")?);
    let scopes = scopes(&key.scopes, notes);
    if scopes.is_empty() {
        return Err(stays("none of its scopes means anything here"));
    }
    let created_at = key.created_at.as_deref().and_then(moment);
    Ok(Sound { id, scopes, phc, created_at, expires_at, revoked_at })
}

fn scopes(list: &str, notes: &mut Vec<String>) -> ScopeSet {
    let mut found = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match SCOPES.into_iter().find(|scope| scope.as_str() == name) {
            Some(Scope::KeysManage) => {
                notes.push("keys:manage is for keys of its own owner here".to_owned());
                found.push(Scope::KeysManage);
                // Faxbot's one administrative scope lists keys too.
                found.push(Scope::KeysRead);
            }
            Some(scope) => found.push(scope),
            None if name == "*" => {
                notes.push("* is everything a program may do here, and no administration".to_owned());
                found.extend(SCOPES.into_iter().filter(|scope| *scope != Scope::KeysManage));
                found.push(Scope::FaxCancel);
            }
            None => notes.push(format!("without the scope '{}'", line(name, 40))),
        }
    }
    found.into_iter().collect::<ScopeSet>().and(Role::Operator.allows())
}

impl Sound {
    fn records(
        &self,
        key: &FaxbotKey,
        name: String,
        owner: AccountId,
        now: Timestamp,
    ) -> (KeyRecord, SlotRecord) {
        let created_at = self.created_at.unwrap_or(now);
        let last_used_at = key.last_used_at.as_deref().and_then(moment);
        let record = KeyRecord {
            name,
            note: key.note.as_deref().map(|note| line(note, NOTE_LEN)).filter(|note| !note.is_empty()),
            scopes: self.scopes,
            status: if self.revoked_at.is_some() { Status::Revoked } else { Status::Active },
            expires_at: self.expires_at,
            last_used_at,
            revoked_at: self.revoked_at,
            revoked_by: self.revoked_at.map(|_| MADE_BY.to_owned()),
            ..KeyRecord::new(self.id, Kind::Production, owner, MADE_BY.to_owned(), created_at)
        };
        let secret = SlotRecord {
            phc: self.phc.clone(),
            prefilter: None,
            created_at,
            valid_until: None,
            last_used_at,
        };
        (record, secret)
    }
}
