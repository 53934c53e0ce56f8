//! The seal: what is stored leaves this process only encrypted.
//!
//! Owns: the data key, its wrapping by the key-encryption key, the subkeys made from it, and the
//! sealing of byte strings. Refuses: to hand out the data key. Every sealed thing has a key of
//! its own, derived from the data key and the thing's name, and carries that name in its
//! associated data, so that one sealed file cannot pass for another.
//!
//! Cipher: XChaCha20-Poly1305 with a random 24-byte nonce; keys by HKDF-SHA256. A sealing key on
//! the same disk does not protect a stolen disk: give the key-encryption key as a systemd
//! credential for that. The data key is wrapped a second time by the recovery key ([`recovery`]),
//! which is kept on paper.

pub mod recovery;

use std::io;
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use rand::Rng;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::fs;
use crate::secret::Secret;

/// Version tag in front of every sealed byte string.
const MAGIC: &[u8; 4] = b"PWS1";
const NONCE_LEN: usize = 24;
const KEY_LEN: usize = 32;
/// Bytes a sealed thing is longer than its content: tag, nonce, Poly1305 authenticator.
pub const OVERHEAD: usize = MAGIC.len() + NONCE_LEN + 16;
/// Name of the systemd credential that carries the key-encryption key.
pub const CREDENTIAL: &str = "pagewire.kek";
/// Name of the file in the keys' folder that holds it otherwise.
pub const KEK_FILE: &str = "kek";
/// What a key-encryption key's wrapping of the data key is bound to.
const WRAP_NAME: &[u8] = b"data key";

/// What can go wrong with sealed things and their keys.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Altered, cut short, or sealed with another key or under another name.
    #[error("the sealed data does not open: it was altered, or belongs to another key")]
    DoesNotOpen,
    /// The key-encryption key is malformed.
    #[error("the sealing key in {0} is damaged: it must be exactly 32 bytes")]
    DamagedKey(PathBuf),
    /// The database has a wrapped data key, but the key that unwraps it is gone.
    #[error(
        "the sealing key {0} is missing, so stored documents cannot be opened; put the file back from where you keep it"
    )]
    MissingKey(PathBuf),
    /// The file system refused.
    #[error("the sealing key could not be read or written")]
    Io(#[from] io::Error),
}

/// Why nothing is sealed or opened in this life of the process: no key at hand unwraps the data
/// key. Its text is for people, the administrator and whoever is refused because of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "The sealing key {} {problem}, so documents can be neither opened nor accepted, and nobody can \
     sign in or change anything. Put the right file back, or run \
     'pagewire seal recover' with the recovery key; then restart Pagewire.",
    .key_file.display()
)]
pub struct Locked {
    /// The file that was asked for the key.
    pub key_file: PathBuf,
    /// What is wrong with it, to follow its name.
    pub problem: &'static str,
}

/// The key-encryption key: wraps the data key and does nothing else.
#[derive(Debug)]
pub struct KeyEncryptionKey(Secret<[u8; KEY_LEN]>);

impl KeyEncryptionKey {
    /// Reads it from the systemd credential `pagewire.kek`, else from `folder/kek`; makes the
    /// latter when `may_create` (a first start) and neither exists.
    pub fn load(folder: &Path, may_create: bool) -> Result<Self, SealError> {
        let file = credential_file().unwrap_or_else(|| folder.join(KEK_FILE));
        match Self::read(&file) {
            Err(SealError::MissingKey(_)) if may_create => Self::create(&file),
            result => result,
        }
    }

    /// Reads it from this file.
    pub fn read(file: &Path) -> Result<Self, SealError> {
        match std::fs::read(file).map(Secret::new) {
            Ok(bytes) => {
                Self::from_bytes(bytes.reveal()).ok_or_else(|| SealError::DamagedKey(file.to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(SealError::MissingKey(file.to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A new one, on disk in `file` before this returns.
    pub fn create(file: &Path) -> Result<Self, SealError> {
        let key = random_key();
        if let Some(folder) = file.parent() {
            fs::create_private_folder(folder)?;
        }
        fs::write_durably(file, key.reveal(), 0o400)?;
        Ok(Self(key))
    }

    /// The key in these bytes, which must be exactly 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        <[u8; KEY_LEN]>::try_from(bytes).ok().map(|key| Self(Secret::new(key)))
    }
}

/// The file of the systemd credential `pagewire.kek`, when the service was given one.
pub fn credential_file() -> Option<PathBuf> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    Some(PathBuf::from(folder).join(CREDENTIAL)).filter(|file| file.exists())
}

/// Seals and opens everything of one appliance.
pub struct Seal {
    data_key: Secret<[u8; KEY_LEN]>,
}

impl Seal {
    /// A seal with a fresh data key, and that key wrapped for storing.
    pub fn create(kek: &KeyEncryptionKey) -> Result<(Self, Vec<u8>), SealError> {
        let seal = Self { data_key: random_key() };
        let wrapped = seal.wrap_key(kek)?;
        Ok((seal, wrapped))
    }

    /// The data key wrapped by this key, for storing.
    pub fn wrap_key(&self, kek: &KeyEncryptionKey) -> Result<Vec<u8>, SealError> {
        encrypt(kek.0.reveal(), WRAP_NAME, self.data_key.reveal())
    }

    /// The seal whose wrapped data key was stored.
    pub fn unwrap_key(kek: &KeyEncryptionKey, wrapped: &[u8]) -> Result<Self, SealError> {
        Self::unwrap_under(kek.0.reveal(), WRAP_NAME, wrapped)
    }

    /// Whether the other one opens what this one seals.
    pub fn is_same(&self, other: &Self) -> bool {
        self.data_key.reveal().ct_eq(other.data_key.reveal()).into()
    }

    /// Seals `content` under `name`; the result is [`OVERHEAD`] bytes longer.
    pub fn seal(&self, name: &str, content: &[u8]) -> Result<Vec<u8>, SealError> {
        encrypt(self.own_key(name).reveal(), name.as_bytes(), content)
    }

    /// Opens what was sealed under the same name.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        decrypt(self.own_key(name).reveal(), name.as_bytes(), sealed)
    }

    /// The key of the prefilter that keeps wrong secrets away from argon2.
    pub fn pepper(&self) -> Secret<[u8; KEY_LEN]> {
        self.subkey("pepper")
    }

    /// The key of the audit log's chain.
    pub fn audit_key(&self) -> Secret<[u8; KEY_LEN]> {
        self.subkey("audit")
    }

    fn unwrap_under(key: &[u8; KEY_LEN], name: &[u8], wrapped: &[u8]) -> Result<Self, SealError> {
        let opened = Secret::new(decrypt(key, name, wrapped)?);
        let key =
            <[u8; KEY_LEN]>::try_from(opened.reveal().as_slice()).map_err(|_| SealError::DoesNotOpen)?;
        Ok(Self { data_key: Secret::new(key) })
    }

    fn own_key(&self, name: &str) -> Secret<[u8; KEY_LEN]> {
        self.subkey(&format!("seal {name}"))
    }

    fn subkey(&self, purpose: &str) -> Secret<[u8; KEY_LEN]> {
        let mut key = [0; KEY_LEN];
        Hkdf::<Sha256>::new(None, self.data_key.reveal())
            .expand(purpose.as_bytes(), &mut key)
            .expect("32 bytes are a valid HKDF-SHA256 length");
        Secret::new(key)
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

fn random_key() -> Secret<[u8; KEY_LEN]> {
    let mut key = [0; KEY_LEN];
    rand::rng().fill_bytes(&mut key);
    Secret::new(key)
}

fn encrypt(key: &[u8; KEY_LEN], name: &[u8], content: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_LEN];
    rand::rng().fill_bytes(&mut nonce);
    let cipher = XChaCha20Poly1305::new(key.into());
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), Payload { msg: content, aad: name })
        .map_err(|_| SealError::DoesNotOpen)?;
    let mut out = Vec::with_capacity(MAGIC.len() + NONCE_LEN + sealed.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&sealed);
    Ok(out)
}

fn decrypt(key: &[u8; KEY_LEN], name: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let rest = sealed.strip_prefix(MAGIC).ok_or(SealError::DoesNotOpen)?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::DoesNotOpen)?;
    XChaCha20Poly1305::new(key.into())
        .decrypt(&XNonce::from(*nonce), Payload { msg: rest, aad: name })
        .map_err(|_| SealError::DoesNotOpen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal() -> (tempfile::TempDir, Seal) {
        let folder = tempfile::tempdir().unwrap();
        let kek = KeyEncryptionKey::load(folder.path(), true).unwrap();
        (folder, Seal::create(&kek).unwrap().0)
    }

    #[test]
    fn opens_only_whole_under_its_own_name() {
        let (_folder, seal) = seal();
        let sealed = seal.seal("document a", b"a patient's name").unwrap();
        assert_eq!(sealed.len(), b"a patient's name".len() + OVERHEAD);
        assert!(!sealed.windows(7).any(|window| window == b"patient"));
        assert_eq!(seal.open("document a", &sealed).unwrap(), b"a patient's name");
        assert!(seal.open("document b", &sealed).is_err());
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(seal.open("document a", &altered).is_err(), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(seal.open("document a", &sealed[..len]).is_err());
        }
    }

    #[test]
    fn the_wrapped_key_opens_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let kek = KeyEncryptionKey::load(folder.path(), true).unwrap();
        let (seal, wrapped) = Seal::create(&kek).unwrap();
        let sealed = seal.seal("x", b"content").unwrap();
        let kek = KeyEncryptionKey::load(folder.path(), false).unwrap();
        let again = Seal::unwrap_key(&kek, &wrapped).unwrap();
        assert_eq!(again.open("x", &sealed).unwrap(), b"content");
        assert_eq!(again.pepper().reveal(), seal.pepper().reveal());
    }

    #[test]
    fn a_missing_key_is_said_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let error = KeyEncryptionKey::load(folder.path(), false).unwrap_err();
        assert!(matches!(error, SealError::MissingKey(_)), "{error}");
    }
}
