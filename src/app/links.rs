//! Links to single documents, for programs that cannot send a header: a viewer, a printer's queue.
//!
//! Owns: which links there are. Each leads to one document for five minutes, as who made it, and to
//! nothing once that one would not be let in any more. They live in memory alone; a restart ends them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64ct::{Base64UrlUnpadded, Encoding};
use jiff::{SignedDuration, Timestamp};
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};

use crate::access::token::NoRandomness;
use crate::auth::Caller;
use crate::id::JobId;
use crate::secret::Secret;

/// How long a link leads anywhere.
const LIFE: SignedDuration = SignedDuration::from_mins(5);
/// Links at a time; the one that ends first makes room.
const MOST: usize = 10_000;

/// All links of this run.
#[derive(Default)]
pub struct Links {
    // By the hash of the token: looking up tells nothing about others by its time.
    links: Mutex<HashMap<[u8; 32], Link>>,
}

struct Link {
    job: JobId,
    caller: Caller,
    until: Timestamp,
}

impl Links {
    /// A new link to this fax; its token, and until when it leads there.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when the system has none.
    pub fn make(
        &self,
        job: JobId,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(Secret<String>, Timestamp), NoRandomness> {
        let mut random = [0; 32];
        SysRng.try_fill_bytes(&mut random)?;
        let token = Secret::new(Base64UrlUnpadded::encode_string(&random));
        let until = now.checked_add(LIFE).unwrap_or(Timestamp::MAX);
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, link| link.until > now);
        if links.len() >= MOST
            && let Some(first) = links.iter().min_by_key(|(_, link)| link.until).map(|(hash, _)| *hash)
        {
            links.remove(&first);
        }
        links.insert(hash(token.reveal()), Link { job, caller: caller.clone(), until });
        Ok((token, until))
    }

    /// Who made the link to this fax that the token is, if it still leads there.
    pub fn maker(&self, token: &str, job: JobId, now: Timestamp) -> Option<Caller> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.get(&hash(token))?;
        (link.job == job && link.until > now).then(|| link.caller.clone())
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
