//! Hashes of secrets that were made by Faxbot.
//!
//! Owns: the reading of its two forms (`scrypt$salt$key$n=…$r=…$p=…`, `pbkdf2$salt$key$rounds=…`,
//! both in unpadded url-safe base64), the PHC strings they are kept as here, and the proof of a
//! secret against those. Refuses: parameters so low that the hash is worth nothing, or so high that
//! one proof would starve the others. A secret that proved right is hashed anew with argon2id.

use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};
use pbkdf2::pbkdf2_hmac;
use scrypt::Params;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::secret::Secret;

const SCRYPT: &str = "scrypt";
const PBKDF2: &str = "pbkdf2-sha256";
/// Bytes of the derived key; Faxbot has no other.
const KEY_LEN: usize = 32;
/// Bytes of a salt; Faxbot's have 16.
const SALT_LEN: std::ops::RangeInclusive<usize> = 8..=64;
/// log2 of scrypt's N; Faxbot has 14. With the largest r below, 17 is 128 MiB.
const LOG_N: std::ops::RangeInclusive<u8> = 10..=17;
const MOST_R: u32 = 8;
const MOST_P: u32 = 4;
/// Rounds of PBKDF2; Faxbot has 200,000.
const ROUNDS: std::ops::RangeInclusive<u32> = 10_000..=2_000_000;

/// The hash is none of Faxbot's, or its parameters are out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hash of its secret is of an unknown form")]
pub struct UnknownHash;

/// A hash as Faxbot stores it, as the PHC string it is kept as here.
pub fn from_faxbot(stored: &str) -> Result<Secret<String>, UnknownHash> {
    let parts: Vec<&str> = stored.split('$').collect();
    let number = |part: &str, name: &str| -> Result<u32, UnknownHash> {
        part.strip_prefix(name).and_then(|rest| rest.parse().ok()).ok_or(UnknownHash)
    };
    let bytes = |text: &str| Base64UrlUnpadded::decode_vec(text).map_err(|_| UnknownHash);
    let (cost, salt, key) = match *parts.as_slice() {
        ["scrypt", salt, key, n, r, p] => {
            let n = number(n, "n=")?;
            if !n.is_power_of_two() {
                return Err(UnknownHash);
            }
            let log_n = u8::try_from(n.ilog2()).map_err(|_| UnknownHash)?;
            (Cost::Scrypt { log_n, r: number(r, "r=")?, p: number(p, "p=")? }, bytes(salt)?, bytes(key)?)
        }
        ["pbkdf2", salt, key, rounds] => {
            (Cost::Pbkdf2 { rounds: number(rounds, "rounds=")? }, bytes(salt)?, bytes(key)?)
        }
        _ => return Err(UnknownHash),
    };
    ImportedHash::new(cost, salt, key).map(|hash| Secret::new(hash.to_phc())).ok_or(UnknownHash)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cost {
    Scrypt { log_n: u8, r: u32, p: u32 },
    Pbkdf2 { rounds: u32 },
}

/// Such a hash, read.
#[derive(Debug)]
pub(super) struct ImportedHash {
    cost: Cost,
    salt: Vec<u8>,
    key: Secret<[u8; KEY_LEN]>,
}

impl ImportedHash {
    fn new(cost: Cost, salt: Vec<u8>, key: Vec<u8>) -> Option<Self> {
        let key = Secret::new(<[u8; KEY_LEN]>::try_from(key).ok()?);
        let is_bounded = match cost {
            Cost::Scrypt { log_n, r, p } => {
                LOG_N.contains(&log_n) && (1..=MOST_R).contains(&r) && (1..=MOST_P).contains(&p)
            }
            Cost::Pbkdf2 { rounds } => ROUNDS.contains(&rounds),
        };
        (is_bounded && SALT_LEN.contains(&salt.len())).then_some(Self { cost, salt, key })
    }

    /// Whether this PHC string is one of an imported hash.
    pub(super) fn is_one(phc: &str) -> bool {
        phc.split('$').nth(1).is_some_and(|name| name == SCRYPT || name == PBKDF2)
    }

    /// Reads the PHC string of an imported hash.
    pub(super) fn read(phc: &str) -> Option<Self> {
        let parts: Vec<&str> = phc.split('$').collect();
        let ["", name, parameters, salt, key] = *parts.as_slice() else { return None };
        let mut values = parameters.split(',').map(|parameter| parameter.split_once('='));
        let mut value = |wanted: &str| -> Option<u32> {
            let (name, value) = values.next()??;
            if name == wanted { value.parse().ok() } else { None }
        };
        let cost = match name {
            SCRYPT => Cost::Scrypt { log_n: value("ln")?.try_into().ok()?, r: value("r")?, p: value("p")? },
            PBKDF2 => Cost::Pbkdf2 { rounds: value("i")? },
            _ => return None,
        };
        Self::new(cost, Base64Unpadded::decode_vec(salt).ok()?, Base64Unpadded::decode_vec(key).ok()?)
    }

    fn to_phc(&self) -> String {
        let salt = Base64Unpadded::encode_string(&self.salt);
        let key = Base64Unpadded::encode_string(self.key.reveal());
        match self.cost {
            Cost::Scrypt { log_n, r, p } => format!("${SCRYPT}$ln={log_n},r={r},p={p}${salt}${key}"),
            Cost::Pbkdf2 { rounds } => format!("${PBKDF2}$i={rounds}${salt}${key}"),
        }
    }

    /// Whether this secret has this hash; takes some 50 ms.
    pub(super) fn proves(&self, secret: &str) -> bool {
        let mut derived = zeroize::Zeroizing::new([0; KEY_LEN]);
        match self.cost {
            Cost::Scrypt { log_n, r, p } => {
                let Ok(params) = Params::new(log_n, r, p) else { return false };
                if scrypt::scrypt(secret.as_bytes(), &self.salt, &params, derived.as_mut_slice()).is_err() {
                    return false;
                }
            }
            Cost::Pbkdf2 { rounds } => {
                pbkdf2_hmac::<Sha256>(secret.as_bytes(), &self.salt, rounds, derived.as_mut_slice());
            }
        }
        derived.as_slice().ct_eq(self.key.reveal()).into()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::auth) const SECRET: &str = "Zq3_-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789_-";
    /// Made with Python: hashlib.scrypt and hashlib.pbkdf2_hmac, salt bytes(range(16)), and
    /// base64.urlsafe_b64encode without padding.
    pub(in crate::auth) const BY_SCRYPT: &str =
        "scrypt$AAECAwQFBgcICQoLDA0ODw$xCB26USge7gXuqUCKXe-P36TqjeHxle4Fbo8PFVMXeo$n=16384$r=8$p=1";
    pub(in crate::auth) const BY_PBKDF2: &str =
        "pbkdf2$AAECAwQFBgcICQoLDA0ODw$by7uFuw3oOEWuzhWv_lg0zin0dOp1cso_AAhAoqV6Kc$rounds=200000";

    #[test]
    fn proves_what_another_implementation_hashed() {
        for (stored, start) in
            [(BY_SCRYPT, "$scrypt$ln=14,r=8,p=1$"), (BY_PBKDF2, "$pbkdf2-sha256$i=200000$")]
        {
            let phc = from_faxbot(stored).unwrap();
            assert!(phc.reveal().starts_with(start), "{}", phc.reveal());
            assert!(ImportedHash::is_one(phc.reveal()));
            let hash = ImportedHash::read(phc.reveal()).unwrap();
            assert!(hash.proves(SECRET));
            assert!(!hash.proves(&SECRET[..42]) && !hash.proves(""));
        }
    }

    #[test]
    fn refuses_other_forms_and_costs() {
        let cases = [
            String::new(),
            "bcrypt$x$y".to_owned(),
            BY_SCRYPT.replace("n=16384", "n=16383"),
            BY_SCRYPT.replace("n=16384", "n=16"),
            BY_SCRYPT.replace("n=16384", "n=1073741824"),
            BY_SCRYPT.replace("n=16384", "n=0"),
            BY_SCRYPT.replace("r=8", "r=4096"),
            BY_SCRYPT.replace("p=1", "p=0"),
            BY_SCRYPT.replace("$p=1", ""),
            BY_SCRYPT.replace("xCB2", "xC+2"),
            BY_SCRYPT.replace("MXeo", "MXe"),
            BY_PBKDF2.replace("200000", "1"),
            BY_PBKDF2.replace("200000", "4000000000"),
            BY_PBKDF2.replace("AAECAwQFBgcICQoLDA0ODw", "AAEC"),
        ];
        for case in cases {
            assert_eq!(from_faxbot(&case).err(), Some(UnknownHash), "{case}");
        }
        for phc in
            ["$scrypt$ln=14,r=8$a$b", "$scrypt$", "$pbkdf2-sha256$rounds=5$a$b", "$argon2id$v=19$m=1$a$b"]
        {
            assert!(ImportedHash::read(phc).is_none(), "{phc}");
        }
        assert!(!ImportedHash::is_one("$argon2id$v=19$m=19456,t=2,p=1$a$b"));
    }
}
