//! What about keys a careful owner would look at.
//!
//! Owns: the findings and their sentences. Refuses: to change anything; a finding is advice.

use jiff::{SignedDuration, Timestamp};

use super::KeyView;
use crate::access::named;
use crate::access::records::Standing;

/// A key that nobody used for so long is probably forgotten.
const IDLE: SignedDuration = SignedDuration::from_hours(24 * 90);

named! {
    /// One thing to look at.
    "finding" Finding {
        /// It has no end.
        NeverExpires = "never_expires",
        /// It was not used for 90 days.
        Idle90Days = "idle_90_days",
        /// It has the limits of its kind.
        NoCustomLimit = "no_custom_limit",
        /// It works from everywhere.
        NoAddressList = "no_address_list",
        /// It sees everybody's faxes.
        AllJobs = "all_jobs",
        /// Its token can be shown again.
        Recoverable = "recoverable",
    }
}

impl Finding {
    /// What it means, and what can be done.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NeverExpires => {
                "This key never expires; give it an end, so that a forgotten copy stops working."
            }
            Self::Idle90Days => {
                "Nobody used this key for 90 days; disable it, and revoke it when nobody misses it."
            }
            Self::NoCustomLimit => {
                "This key has only the usual limits; give it a lower one that fits its use."
            }
            Self::NoAddressList => "This key works from every address; list those that use it.",
            Self::AllJobs => "This key sees everybody's faxes; leave it that right only if it needs it.",
            Self::Recoverable => {
                "The token of this key can be shown again; make another key that cannot if nobody needs that."
            }
        }
    }
}

/// What to look at about a key; nothing about one that has ended.
pub fn findings(key: &KeyView, now: Timestamp) -> Vec<Finding> {
    if matches!(key.status, Standing::Revoked | Standing::Expired) {
        return Vec::new();
    }
    let record = &key.record;
    let last_sign = record.last_used_at.unwrap_or(record.created_at);
    [
        (record.expires_at.is_none(), Finding::NeverExpires),
        (now.duration_since(last_sign) >= IDLE, Finding::Idle90Days),
        (record.limits.is_empty(), Finding::NoCustomLimit),
        (record.ip_allow.is_empty(), Finding::NoAddressList),
        (record.resources.all_jobs, Finding::AllJobs),
        (record.recoverable, Finding::Recoverable),
    ]
    .into_iter()
    .filter_map(|(applies, finding)| applies.then_some(finding))
    .collect()
}
