//! Keys and accounts as they are kept.
//!
//! Owns: the shape of their rows. Refuses: to hold or show a secret; of a token there is its hash
//! here, in custody.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::cidr::Cidr;
use super::kind::{Kind, Limits};
use super::origin::Origin;
use super::outcome::Outcome;
use super::resources::Resources;
use super::roles::{Grant, Role};
use super::scopes::ScopeSet;
use super::token::KeyId;
use crate::id::AccountId;
use crate::secret::Secret;

named! {
    /// What was decided about a key.
    "status" Status {
        /// It works, when time and owner allow.
        Active = "active",
        /// Switched off, and can be switched on again.
        Disabled = "disabled",
        /// Ended for good.
        Revoked = "revoked",
    }
}

named! {
    /// How a key stands at a moment: what was decided, what time did, and what befell its owner.
    "standing" Standing {
        /// It works.
        Active = "active",
        /// Switched off, and can be switched on again.
        Disabled = "disabled",
        /// Ended for good.
        Revoked = "revoked",
        /// Past its end.
        Expired = "expired",
        /// Its owner is disabled.
        OwnerDisabled = "owner_disabled",
    }
}

/// One API key, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its id, never used again.
    pub id: KeyId,
    /// Its kind.
    pub kind: Kind,
    /// What it is for.
    pub name: String,
    /// A remark.
    pub note: Option<String>,
    /// The account whose rights bound it.
    pub owner: AccountId,
    /// What it may do.
    pub scopes: ScopeSet,
    /// What it may reach.
    pub resources: Resources,
    /// Networks it works from; everywhere when empty.
    pub ip_allow: Vec<Cidr>,
    /// Web origins of the browser applications it stands in; none when empty.
    pub allowed_origins: Vec<Origin>,
    /// Limits of its own.
    pub limits: Limits,
    /// Whether its token is kept, sealed, and can be shown again.
    pub recoverable: bool,
    /// Whether its owner removed it from their own list; it still exists.
    pub hidden: bool,
    /// What was decided about it.
    pub status: Status,
    /// Moves with every change that touches who is let in.
    pub generation: u64,
    /// First moment of validity.
    pub not_before: Option<Timestamp>,
    /// End of validity.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it was last let in.
    pub last_used_at: Option<Timestamp>,
    /// From where it was last let in.
    pub last_used_ip: Option<IpAddr>,
    /// How often it was let in.
    pub use_count: u64,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
    /// Why it was revoked.
    pub revoked_reason: Option<String>,
}

impl KeyRecord {
    /// An active key of this kind that may do nothing yet, has no bounds of its own and was never used.
    pub fn new(id: KeyId, kind: Kind, owner: AccountId, created_by: String, created_at: Timestamp) -> Self {
        Self {
            id,
            kind,
            name: String::new(),
            note: None,
            owner,
            scopes: ScopeSet::EMPTY,
            resources: Resources::default(),
            ip_allow: Vec::new(),
            allowed_origins: Vec::new(),
            limits: Limits::default(),
            recoverable: false,
            hidden: false,
            status: Status::Active,
            generation: 1,
            not_before: None,
            expires_at: None,
            created_at,
            created_by,
            last_used_at: None,
            last_used_ip: None,
            use_count: 0,
            revoked_at: None,
            revoked_by: None,
            revoked_reason: None,
        }
    }

    /// How the key of this owner stands at `now`.
    pub fn standing(&self, owner: &AccountRecord, now: Timestamp) -> Standing {
        match self.status {
            Status::Revoked => Standing::Revoked,
            _ if self.expires_at.is_some_and(|end| end <= now) => Standing::Expired,
            Status::Disabled => Standing::Disabled,
            Status::Active if owner.status == AccountStatus::Disabled => Standing::OwnerDisabled,
            Status::Active => Standing::Active,
        }
    }

    /// The limits in force: its own, else those of its kind.
    pub fn limits_in_force(&self) -> Limits {
        self.limits.or(&self.kind.limits())
    }
}

/// When owners are warned that a key ends, in whole days before, farthest first.
pub const EXPIRY_WARNING_DAYS: [u8; 3] = [30, 7, 1];

/// The warning that is due when so much of a key's life is left, in days before its end.
pub fn expiry_warning(left: SignedDuration) -> Option<u8> {
    let is_within = |days: &u8| left <= SignedDuration::from_hours(24 * i64::from(*days));
    EXPIRY_WARNING_DAYS.into_iter().rev().find(is_within)
}

/// One secret of a key, hashed.
#[derive(Clone, Debug)]
pub struct SlotRecord {
    /// Its argon2id hash, in PHC string format.
    pub phc: Secret<String>,
    /// First bytes of HMAC-SHA256(pepper, secret); `None` when the pepper was lost.
    pub prefilter: Option<[u8; 4]>,
    /// When it was made.
    pub created_at: Timestamp,
    /// End of its grace, once a newer secret replaced it.
    pub valid_until: Option<Timestamp>,
    /// When it last let somebody in.
    pub last_used_at: Option<Timestamp>,
}

/// A key with its secrets: the current one, and the one before it while its grace lasts.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// The key.
    pub record: KeyRecord,
    /// Its current secret.
    pub current: SlotRecord,
    /// The secret before it.
    pub previous: Option<SlotRecord>,
}

/// What was not yet written down of a key's use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageDelta {
    /// The key.
    pub id: KeyId,
    /// How often it was let in since the last time this was written.
    pub uses: u64,
    /// When it was last let in.
    pub last_used_at: Timestamp,
    /// From where it was last let in; `None` when that is not known.
    pub last_used_ip: Option<IpAddr>,
    /// When its current secret was last used.
    pub current_used_at: Option<Timestamp>,
    /// When the secret before it was last used.
    pub previous_used_at: Option<Timestamp>,
    /// From where it was let in since then; of an IPv6 address its /64 network.
    pub addresses: Vec<IpAddr>,
}

/// A key was let in from where it never was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAddress {
    /// The key.
    pub id: KeyId,
    /// The address; of an IPv6 address its /64 network.
    pub address: IpAddr,
    /// How many others were known.
    pub known: u32,
}

/// What a key took of one hour's quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowCount {
    /// The key.
    pub id: KeyId,
    /// Whole hours since 1970 UTC.
    pub hour: i64,
    /// Requests taken.
    pub taken: u32,
}

/// How many requests of a key came to the same in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourOfUse {
    /// The key.
    pub id: KeyId,
    /// Whole hours since 1970 UTC.
    pub hour: i64,
    /// What came of them.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}

/// What a key spent on telephone lines in one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayOfSpending {
    /// The key.
    pub id: KeyId,
    /// Whole days since 1970 UTC.
    pub day: i64,
    /// Pages.
    pub pages: u32,
    /// Numbers it was the first to reach, in E.164.
    pub destinations: Vec<String>,
}

/// A key whose token stood in the address of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The key.
    pub id: KeyId,
    /// When it was seen there.
    pub seen_at: Timestamp,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

named! {
    /// Whether an account is a person's.
    "kind of account" AccountKind {
        /// A person, who may log in.
        User = "user",
        /// A program or a part of the appliance; cannot log in.
        Service = "service",
    }
}

named! {
    /// Whether an account may act.
    "account status" AccountStatus {
        /// It may.
        Active = "active",
        /// Neither it nor its keys may.
        Disabled = "disabled",
    }
}

/// A user or service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// Its id.
    pub id: AccountId,
    /// Whether it is a person's.
    pub kind: AccountKind,
    /// Its name; unique, upper and lower case being the same.
    pub name: String,
    /// The widest right anything it owns can have.
    pub role: Role,
    /// Whether it may act.
    pub status: AccountStatus,
    /// What it may do beyond its role.
    pub grants: Vec<Grant>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl AccountRecord {
    /// Whether it is a person who can manage everything, now.
    pub fn is_active_administrator(&self) -> bool {
        self.kind == AccountKind::User
            && self.role == Role::GlobalAdmin
            && self.status == AccountStatus::Active
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_warning_counts() {
        let cases = [
            (31 * 24, None),
            (30 * 24, Some(30)),
            (8 * 24, Some(30)),
            (7 * 24, Some(7)),
            (25, Some(7)),
            (24, Some(1)),
            (-1, Some(1)),
        ];
        for (hours, expected) in cases {
            assert_eq!(expiry_warning(SignedDuration::from_hours(hours)), expected, "{hours} h");
        }
    }
}
