//! Tokens: the text a client presents.
//!
//! `fbk_live_<id>_<secret>`, `fbk_test_…` for development keys. The id is 12 lower-case hex digits
//! and public. The secret is 43 base62 characters (256 bits) and 6 more that are the CRC32 (IEEE)
//! of everything before them in base62. The checksum rejects typos without a look-up; it is no
//! security control.
//!
//! Tokens imported from Faxbot have 43 characters of url-safe base64 and no checksum in place of
//! those 49, and are always live. The lengths differ, so neither format can pass for the other.
//!
//! Owns: making and reading tokens. Refuses: to print one.

use std::fmt;
use std::str::FromStr;

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::kind::Mode;
use crate::secret::Secret;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_LEN: usize = 12;
/// Characters of the prefix with id: `fbk_live_`, the id, `_`.
const HEAD_LEN: usize = 9 + ID_LEN + 1;
/// Random characters: 43 × log2(62) is just above 256 bits.
const RANDOM_LEN: usize = 43;
/// 62⁶ is above 2³², so every CRC32 fits.
const CHECKSUM_LEN: usize = 6;
/// Characters of an imported secret: 32 bytes in base64 without padding.
const IMPORTED_LEN: usize = 43;
/// Bytes below this become a digit by their remainder; those above are drawn again, so that all
/// digits are equally likely.
const UNBIASED: u8 = 4 * 62;

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoRandomness(#[from] rand::rngs::SysError);

/// The text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// It does not have the form of one.
    #[error("not an API key")]
    Malformed,
    /// Its checksum is wrong: it was mistyped.
    #[error("the checksum of the API key is wrong")]
    Checksum,
}

/// The public id of a key: 12 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u64);

/// The text is not 12 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key id: 12 hex digits expected")]
pub struct InvalidKeyId;

impl KeyId {
    /// A random id; that it is unused is for the caller to see.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 8];
        SysRng.try_fill_bytes(&mut bytes[2..])?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }

    fn from_hex(digits: &[u8]) -> Option<Self> {
        if digits.len() != ID_LEN {
            return None;
        }
        digits
            .iter()
            .try_fold(0, |value: u64, digit| {
                let nibble = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return None,
                };
                Some(value << 4 | u64::from(nibble))
            })
            .map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        Self::from_hex(text.as_bytes()).ok_or(InvalidKeyId)
    }
}

/// A token just made; its text is shown once.
#[derive(Clone, Debug)]
pub struct Token {
    id: KeyId,
    text: Secret<String>,
}

impl Token {
    /// A new token for the key `id`, its secret straight from the operating system.
    pub fn generate(id: KeyId, mode: Mode) -> Result<Self, NoRandomness> {
        // With its final capacity from the start, so that growing leaves no copy behind.
        let mut text = String::with_capacity(HEAD_LEN + RANDOM_LEN + CHECKSUM_LEN);
        text.push_str(&format!("fbk_{mode}_{id}_"));
        let mut random = Zeroizing::new([0; 2 * RANDOM_LEN]);
        while text.len() < HEAD_LEN + RANDOM_LEN {
            SysRng.try_fill_bytes(random.as_mut_slice())?;
            let missing = HEAD_LEN + RANDOM_LEN - text.len();
            let unbiased = random.iter().filter(|byte| **byte < UNBIASED).take(missing);
            text.extend(unbiased.map(|byte| char::from(BASE62[usize::from(byte % 62)])));
        }
        let checksum = checksum(text.as_bytes());
        text.extend(checksum.map(char::from));
        Ok(Self { id, text: Secret::new(text) })
    }

    /// Id of its key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The whole text, for the one who asked for it.
    pub fn text(&self) -> &Secret<String> {
        &self.text
    }
}

/// How a token's secret is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Ours, with a checksum.
    Native,
    /// From a Faxbot database.
    Imported,
}

/// A well-formed token as a client presents it, borrowed from the request: reading it copies no
/// secret.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    id: KeyId,
    mode: Mode,
    format: Format,
    text: &'a str,
}

impl<'a> Presented<'a> {
    /// Reads a token. Anything else is refused after a look at its length and a few bytes.
    pub fn parse(text: &'a str) -> Result<Self, InvalidToken> {
        Self::read(text).ok_or(InvalidToken::Malformed).and_then(|presented| {
            if presented.checksum_holds() { Ok(presented) } else { Err(InvalidToken::Checksum) }
        })
    }

    fn read(text: &'a str) -> Option<Self> {
        let (head, secret) = text.as_bytes().split_at_checked(HEAD_LEN)?;
        let format = match secret.len() {
            IMPORTED_LEN => Format::Imported,
            length if length == RANDOM_LEN + CHECKSUM_LEN => Format::Native,
            _ => return None,
        };
        let rest = head.strip_prefix(b"fbk_")?;
        let (mode, rest) = match rest.split_at_checked(5)? {
            (b"live_", rest) => (Mode::Live, rest),
            (b"test_", rest) if format == Format::Native => (Mode::Test, rest),
            _ => return None,
        };
        let id = KeyId::from_hex(rest.strip_suffix(b"_")?)?;
        let is_imported = format == Format::Imported;
        let in_alphabet =
            |byte: u8| byte.is_ascii_alphanumeric() | (is_imported & matches!(byte, b'-' | b'_'));
        // To the end, without a branch: so the compiler takes many bytes at a time.
        let is_secret = secret.iter().fold(true, |so_far, byte| so_far & in_alphabet(*byte));
        is_secret.then_some(Self { id, mode, format, text })
    }

    fn checksum_holds(&self) -> bool {
        let (covered, given) = self.text.as_bytes().split_at(HEAD_LEN + RANDOM_LEN);
        match self.format {
            Format::Native => checksum(covered) == given,
            Format::Imported => true,
        }
    }

    /// Id of the key it claims to be of.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Live or test, as its prefix says.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How its secret is written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The whole text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// What comes after the id: of a native token the random characters with their checksum.
    pub fn secret(&self) -> &'a str {
        &self.text[HEAD_LEN..]
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({}, {}, {:?})", self.id, self.mode, self.format)
    }
}

/// CRC32 (IEEE) of `covered` in base62, most significant digit first, fixed width.
fn checksum(covered: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(covered);
    let mut digits = [b'0'; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made once with an independent implementation (Python: zlib.crc32 and divmod by 62).
    const KNOWN: &str = "fbk_live_00ff00ff00ff_3AHOVcjqx4BIPWdkry5CJQXelsz6DKRYfmt07ELSZgn0nzp4N";
    const IMPORTED: &str = "fbk_live_0123456789ab_ab-_EFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq";

    #[test]
    fn reads_known_tokens() {
        let native = Presented::parse(KNOWN).unwrap();
        assert_eq!(native.id(), "00ff00ff00ff".parse().unwrap());
        assert_eq!((native.mode(), native.format()), (Mode::Live, Format::Native));
        assert_eq!(native.secret().len(), 49);
        let imported = Presented::parse(IMPORTED).unwrap();
        assert_eq!((imported.mode(), imported.format()), (Mode::Live, Format::Imported));
        assert_eq!(imported.secret(), "ab-_EFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq");
    }

    #[test]
    fn refuses_what_is_no_token() {
        let swapped = KNOWN.replace("fbk_live", "fbk_test");
        let mistyped = format!("{}X{}", &KNOWN[..30], &KNOWN[31..]);
        let imported_test = IMPORTED.replace("live", "test");
        let long = "x".repeat(1 << 20);
        let cases: &[(&str, InvalidToken)] = &[
            ("", InvalidToken::Malformed),
            ("hello", InvalidToken::Malformed),
            (&long, InvalidToken::Malformed),
            (&KNOWN[1..], InvalidToken::Malformed),
            (&KNOWN[..70], InvalidToken::Malformed),
            (&format!("{KNOWN} "), InvalidToken::Malformed),
            (&KNOWN.replace("00ff", "00FF"), InvalidToken::Malformed),
            (&KNOWN.replace("live", "prod"), InvalidToken::Malformed),
            (&format!("{}é{}", &KNOWN[..30], &KNOWN[32..]), InvalidToken::Malformed),
            (&format!("{}é{}", &KNOWN[..21], &KNOWN[23..]), InvalidToken::Malformed),
            (&format!("{}-{}", &KNOWN[..30], &KNOWN[31..]), InvalidToken::Malformed),
            (&imported_test, InvalidToken::Malformed),
            (&swapped, InvalidToken::Checksum),
            (&mistyped, InvalidToken::Checksum),
        ];
        for (text, expected) in cases {
            assert_eq!(Presented::parse(text).unwrap_err(), *expected, "{:.90}", text);
        }
    }

    #[test]
    fn what_is_made_can_be_read_and_any_slip_is_noticed() {
        for mode in [Mode::Live, Mode::Test] {
            let token = Token::generate(KeyId::generate().unwrap(), mode).unwrap();
            let text = token.text().reveal().clone();
            let presented = Presented::parse(&text).unwrap();
            assert_eq!(
                (presented.id(), presented.mode(), presented.format()),
                (token.id(), mode, Format::Native)
            );
            for position in HEAD_LEN..text.len() {
                let other = if &text[position..=position] == "a" { "b" } else { "a" };
                let slip = format!("{}{other}{}", &text[..position], &text[position + 1..]);
                assert_eq!(Presented::parse(&slip).unwrap_err(), InvalidToken::Checksum, "at {position}");
            }
            // Cut where the checksum begins, it reads as an imported one: with another secret.
            if mode == Mode::Live {
                let cut = Presented::parse(&text[..HEAD_LEN + RANDOM_LEN]).unwrap();
                assert_eq!(cut.format(), Format::Imported);
                assert_ne!(cut.secret(), presented.secret());
            }
        }
    }

    #[test]
    fn all_digits_are_drawn() {
        let mut seen = std::collections::HashMap::new();
        for _ in 0..400 {
            let token = Token::generate(KeyId(7), Mode::Live).unwrap();
            for byte in token.text().reveal()[HEAD_LEN..HEAD_LEN + RANDOM_LEN].bytes() {
                *seen.entry(byte).or_insert(0) += 1;
            }
        }
        assert_eq!(seen.len(), 62);
        // 277 of each are expected; six standard deviations are 100.
        assert!(seen.values().all(|count| (177..=377).contains(count)), "{seen:?}");
    }

    #[test]
    fn nothing_prints_the_secret() {
        let token = Token::generate(KeyId(7), Mode::Live).unwrap();
        let secret = &token.text().reveal()[HEAD_LEN..];
        let presented = Presented::parse(token.text().reveal()).unwrap();
        for printed in [format!("{token:?}"), format!("{presented:?}")] {
            assert!(!printed.contains(&secret[..8]), "{printed}");
        }
    }
}
