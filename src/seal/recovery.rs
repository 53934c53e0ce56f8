//! The recovery key: the data key's second way out, on paper.
//!
//! Owns: its text, which a person copies by hand, and the wrapping of the data key by it. 256
//! random bits and 24 bits of checksum in Crockford's base32 (no I, L, O or U), in 14 groups of
//! four: `7H2K-…`. Read back without regard to case, spaces and dashes; O reads as 0, I and L as 1.
//! Refuses: to be stored. Only what it wraps is.

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{KEY_LEN, Seal, SealError, encrypt, random_key};
use crate::secret::Secret;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Bytes of the checksum: a slip goes unnoticed once in sixteen million.
const CHECK_LEN: usize = 3;
const BITS_PER_CHARACTER: usize = 5;
/// Characters of the text, dashes not counted: 280 bits at 5 each, without remainder.
const CHARACTERS: usize = (KEY_LEN + CHECK_LEN) * 8 / BITS_PER_CHARACTER;
const GROUP: usize = 4;
/// Longest text looked at: every character with a separator or two around it.
const LONGEST_TEXT: usize = 4 * CHARACTERS;
/// What the wrapping is bound to, so that it cannot pass for a key-encryption key's.
const WRAP_NAME: &[u8] = b"data key for recovery";

/// The text is not a recovery key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecoveryKey {
    /// It has too few or too many characters, or others than a recovery key has.
    #[error("a recovery key has 14 groups of four letters and digits")]
    Malformed,
    /// Its checksum is wrong.
    #[error("the recovery key is mistyped: its checksum is wrong; compare it group by group")]
    Mistyped,
}

/// The key that is shown once and kept on paper.
#[derive(Clone, Debug)]
pub struct RecoveryKey(Secret<[u8; KEY_LEN]>);

impl RecoveryKey {
    /// A new one.
    pub fn generate() -> Self {
        Self(random_key())
    }

    /// Its text: 14 groups of four, dashes between.
    pub fn text(&self) -> Secret<String> {
        let mut bytes = Zeroizing::new([0; KEY_LEN + CHECK_LEN]);
        bytes[..KEY_LEN].copy_from_slice(self.0.reveal());
        bytes[KEY_LEN..].copy_from_slice(&self.checksum());
        // With its final capacity from the start, so that growing leaves no copy behind.
        let mut text = String::with_capacity(CHARACTERS + CHARACTERS / GROUP);
        for position in 0..CHARACTERS {
            if position > 0 && position % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[usize::from(five_bits(bytes.as_slice(), position))]));
        }
        Secret::new(text)
    }

    /// Reads what a person typed.
    pub fn parse(text: &str) -> Result<Self, InvalidRecoveryKey> {
        if text.len() > LONGEST_TEXT {
            return Err(InvalidRecoveryKey::Malformed);
        }
        let mut bytes = Zeroizing::new([0_u8; KEY_LEN + CHECK_LEN]);
        let mut position = 0;
        for character in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'-') {
            let digit = digit_of(character).ok_or(InvalidRecoveryKey::Malformed)?;
            if position == CHARACTERS {
                return Err(InvalidRecoveryKey::Malformed);
            }
            for bit in 0..BITS_PER_CHARACTER {
                let at = position * BITS_PER_CHARACTER + bit;
                bytes[at / 8] |= (digit >> (BITS_PER_CHARACTER - 1 - bit) & 1) << (7 - at % 8);
            }
            position += 1;
        }
        let (key, check) = bytes.split_first_chunk::<KEY_LEN>().ok_or(InvalidRecoveryKey::Malformed)?;
        let key = Self(Secret::new(*key));
        match position {
            CHARACTERS if key.checksum() == check => Ok(key),
            CHARACTERS => Err(InvalidRecoveryKey::Mistyped),
            _ => Err(InvalidRecoveryKey::Malformed),
        }
    }

    /// The data key of `seal`, wrapped for storing.
    pub fn wrap_key(&self, seal: &Seal) -> Result<Vec<u8>, SealError> {
        encrypt(self.wrapping_key().reveal(), WRAP_NAME, seal.data_key.reveal())
    }

    /// The seal whose data key was wrapped by this key.
    pub fn unwrap_key(&self, wrapped: &[u8]) -> Result<Seal, SealError> {
        Seal::unwrap_under(self.wrapping_key().reveal(), WRAP_NAME, wrapped)
    }

    fn wrapping_key(&self) -> Secret<[u8; KEY_LEN]> {
        let mut key = [0; KEY_LEN];
        Hkdf::<Sha256>::new(None, self.0.reveal())
            .expand(b"recovery key", &mut key)
            .expect("32 bytes are a valid HKDF-SHA256 length");
        Secret::new(key)
    }

    fn checksum(&self) -> [u8; CHECK_LEN] {
        let digest: [u8; 32] =
            Sha256::new().chain_update(b"recovery key check").chain_update(self.0.reveal()).finalize().into();
        [digest[0], digest[1], digest[2]]
    }
}

/// The bits of the character at `position`.
fn five_bits(bytes: &[u8], position: usize) -> u8 {
    (0..BITS_PER_CHARACTER).fold(0, |value, bit| {
        let at = position * BITS_PER_CHARACTER + bit;
        value << 1 | bytes[at / 8] >> (7 - at % 8) & 1
    })
}

fn digit_of(character: u8) -> Option<u8> {
    let character = match character.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    let digit = ALPHABET.iter().position(|known| *known == character)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_reads_back() {
        for _ in 0..200 {
            let key = RecoveryKey::generate();
            let text = key.text().reveal().clone();
            assert_eq!((text.len(), text.split('-').count()), (69, 14), "{text}");
            let typed = [
                text.clone(),
                text.to_lowercase(),
                text.replace('-', " "),
                text.replace('-', ""),
                format!("  {text}\n"),
                text.replace('0', "o").replace('1', "l"),
            ];
            for typed in typed {
                assert_eq!(RecoveryKey::parse(&typed).unwrap().0.reveal(), key.0.reveal());
            }
        }
    }

    #[test]
    fn slips_are_noticed() {
        let text = RecoveryKey::generate().text().reveal().clone();
        for position in (0..text.len()).filter(|position| position % 5 != 4) {
            for other in ["7", "X"] {
                let slip = format!("{}{other}{}", &text[..position], &text[position + 1..]);
                let expected = if slip == text { None } else { Some(InvalidRecoveryKey::Mistyped) };
                assert_eq!(RecoveryKey::parse(&slip).err(), expected, "at {position}");
            }
        }
        let cases = [
            String::new(),
            text[..60].to_owned(),
            format!("{text}-0000"),
            text.replacen('-', "é", 1),
            text.replace('-', "_"),
            format!("U{}", &text[1..]),
            "0".repeat(1 << 20),
        ];
        for case in cases {
            assert_eq!(RecoveryKey::parse(&case).err(), Some(InvalidRecoveryKey::Malformed), "{:.80}", case);
        }
        // All zeros has the right form, and no valid checksum.
        assert_eq!(RecoveryKey::parse(&"0".repeat(56)).err(), Some(InvalidRecoveryKey::Mistyped));
    }

    #[test]
    fn only_the_right_key_unwraps() {
        let folder = tempfile::tempdir().unwrap();
        let kek = super::super::KeyEncryptionKey::load(folder.path(), true).unwrap();
        let (seal, wrapped_by_kek) = Seal::create(&kek).unwrap();
        let key = RecoveryKey::generate();
        let wrapped = key.wrap_key(&seal).unwrap();
        assert!(key.unwrap_key(&wrapped).unwrap().is_same(&seal));
        assert!(RecoveryKey::generate().unwrap_key(&wrapped).is_err());
        assert!(key.unwrap_key(&wrapped_by_kek).is_err());
        assert!(Seal::unwrap_key(&kek, &wrapped).is_err(), "one wrapping does not pass for the other");
    }

    #[test]
    fn does_not_print() {
        let key = RecoveryKey::generate();
        assert!(!format!("{key:?}{:?}", key.text()).contains(&key.text().reveal()[..9]));
    }
}
