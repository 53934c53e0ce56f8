//! What comes of a presented credential.
//!
//! Owns: the names of all outcomes, as usage figures and diagnostics show them, and what a person
//! does about each.

named! {
    /// What came of one request's credential.
    "outcome" Outcome {
        /// It was let in.
        Ok = "ok",
        /// It brought none.
        Missing = "missing",
        /// It is no token of ours.
        Malformed = "malformed",
        /// It was mistyped.
        Checksum = "checksum",
        /// No key has its id.
        UnknownId = "unknown_id",
        /// The key exists, its secret is another.
        BadSecret = "bad_secret",
        /// The key was revoked.
        Revoked = "revoked",
        /// The key is past its end.
        Expired = "expired",
        /// The key is not valid yet.
        NotYetValid = "not_yet_valid",
        /// The key is switched off.
        Disabled = "disabled",
        /// The key's owner is switched off.
        OwnerDisabled = "owner_disabled",
        /// The key does not work from this address.
        IpDenied = "ip_denied",
        /// The key lacks the right that was needed.
        Scope = "scope",
        /// The key may not reach this number, or be used from this web page.
        Resource = "resource",
        /// Too many requests: in a minute, in an hour, or without a valid key.
        RateLimited = "rate_limited",
        /// The key's pages or new destinations of the day are used up.
        Quota = "quota",
        /// The key stood in the address of a request.
        InQuery = "in_query",
    }
}

impl Outcome {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// What to do about it, in a sentence for a person.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Ok => "Nothing to do.",
            Self::Missing => {
                "The program sends no key. Enter the key in its settings; it belongs into the header X-API-Key."
            }
            Self::Malformed => {
                "What the program sends is not a key of this appliance. Copy the whole key again, from fbk_ to the end."
            }
            Self::Checksum => {
                "The key is mistyped or cut off. Copy it again as a whole, without blanks or line breaks."
            }
            Self::UnknownId => {
                "This appliance has no such key. Check that the program speaks to the right appliance, or make a new key."
            }
            Self::BadSecret => {
                "The key exists but its secret is another, most likely because it was rotated. Give the program the newest one; if nobody of yours is at this address, revoke the key."
            }
            Self::Revoked => {
                "The key was revoked and never works again. Make a new key and enter it in the program."
            }
            Self::Expired => "The key has expired. Make a new key and enter it in the program.",
            Self::NotYetValid => {
                "The key is not valid yet. Wait for its first day, or make one that is valid now."
            }
            Self::Disabled => {
                "The key is switched off. Enable it again; API_KEY needs ALLOW_BOOTSTRAP_KEY=true once an administrator exists."
            }
            Self::OwnerDisabled => {
                "The owner of the key is disabled. Enable the owner, or give the program a key of somebody else."
            }
            Self::IpDenied => {
                "The key does not work from this address. Add the address to the key's list, or use the key where it belongs."
            }
            Self::Scope => {
                "The key lacks the right for this request. Give the program a key with that scope."
            }
            Self::Resource => {
                "The key may not reach this number, or not be used from this web page. Widen its numbers or origins, or use another key."
            }
            Self::RateLimited => {
                "Too many requests. Let the program wait as long as Retry-After says, or raise the key's limits."
            }
            Self::Quota => {
                "The key has used up its pages or new destinations of today. Wait until tomorrow, or have an administrator raise them."
            }
            Self::InQuery => {
                "The key stands in the address of the request, where logs and browsers keep it. Send it in the header X-API-Key, and rotate the key."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_sentence_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for outcome in Outcome::ALL {
            let remedy = outcome.remedy();
            assert!(seen.insert(remedy) && remedy.ends_with('.'), "{outcome}");
            assert_eq!(outcome.as_str().parse::<Outcome>().unwrap(), *outcome);
            assert_eq!(Outcome::ALL[*outcome as usize], *outcome, "counted by its place");
        }
    }
}
