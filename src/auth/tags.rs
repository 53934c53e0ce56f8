//! The two fingerprints of presented tokens, both HMAC-SHA256.
//!
//! The *tag* is keyed by random bytes of this boot and covers the whole token: an entry remembers
//! the tag of a token that argon2 proved, so that the next request costs one HMAC. The *prefilter*
//! is keyed by the pepper and covers the secret; its first 4 bytes are stored, and a secret that
//! does not have them never reaches argon2. What leaks with the database is not enough to compute
//! either.

use hmac::{Hmac, KeyInit, Mac};
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::access::token::{NoRandomness, Presented};
use crate::secret::Secret;

pub(super) type Tag = [u8; 32];
pub(super) type Prefilter = [u8; 4];

/// Makes tags and prefilters.
pub(super) struct Tags {
    boot: Hmac<Sha256>,
    pepper: Hmac<Sha256>,
    /// Whether the pepper is this appliance's own, and not a stand-in of this boot.
    has_own_pepper: bool,
    /// Compared with where there is nothing to compare with, so that the comparison still happens.
    pub(super) nobody: (Tag, Prefilter),
}

impl Tags {
    /// Without a pepper, because its key is gone for now, one of this boot stands in for it.
    pub(super) fn new(pepper: Option<&Secret<[u8; 32]>>) -> Result<Self, NoRandomness> {
        let mut random = Zeroizing::new([0; 32 + 32 + 36]);
        SysRng.try_fill_bytes(random.as_mut_slice())?;
        let (boot, rest) = random.split_at(32);
        let (stand_in, nobody) = rest.split_at(32);
        let mut tag = [0; 32];
        let mut prefilter = [0; 4];
        tag.copy_from_slice(&nobody[..32]);
        prefilter.copy_from_slice(&nobody[32..]);
        Ok(Self {
            boot: keyed(boot),
            pepper: keyed(pepper.map_or(stand_in, |pepper| pepper.reveal())),
            has_own_pepper: pepper.is_some(),
            nobody: (tag, prefilter),
        })
    }

    pub(super) fn tag(&self, token: &Presented<'_>) -> Tag {
        let mut mac = self.boot.clone();
        mac.update(token.text().as_bytes());
        mac.finalize().into_bytes().into()
    }

    pub(super) fn prefilter(&self, token: &Presented<'_>) -> Prefilter {
        let mac: [u8; 32] = self.under_pepper(token.secret().as_bytes());
        [mac[0], mac[1], mac[2], mac[3]]
    }

    /// What of a prefilter may be stored, or taken from what was stored: nothing while a stand-in
    /// is in place of the pepper. What is stored is right again once the pepper is back.
    pub(super) fn lasting(&self, prefilter: Option<Prefilter>) -> Option<Prefilter> {
        prefilter.filter(|_| self.has_own_pepper)
    }

    /// Tells one pepper from another without telling anything of it.
    /// `None` while a stand-in is in its place.
    pub(super) fn pepper_check(&self) -> Option<[u8; 16]> {
        if !self.has_own_pepper {
            return None;
        }
        let mut check = [0; 16];
        // No secret has this length, so this is never a prefilter.
        check.copy_from_slice(&self.under_pepper(b"which pepper is this?")[..16]);
        Some(check)
    }

    fn under_pepper(&self, text: &[u8]) -> [u8; 32] {
        let mut mac = self.pepper.clone();
        mac.update(text);
        mac.finalize().into_bytes().into()
    }
}

/// Whether both are the same, in a time that tells nothing of where they differ.
pub(super) fn is_same(one: &Tag, other: &Tag) -> bool {
    // In two halves and not byte by byte: every request comes here twice.
    let halves = |tag: &Tag| {
        let (halves, _) = tag.as_chunks::<16>();
        (u128::from_ne_bytes(halves[0]), u128::from_ne_bytes(halves[1]))
    };
    let (one, other) = (halves(one), halves(other));
    (one.0.ct_eq(&other.0) & one.1.ct_eq(&other.1)).into()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}
