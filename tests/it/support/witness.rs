//! A witness of one run: it knows every secret of it, keeps all that came out, and looks for the
//! former in the latter.
//!
//! Secrets are learnt where they are made: from the few answers and commands that may show one
//! ([`shown_by`]). What may be shown is cut out of that answer once; a second copy in the same
//! answer is a leak like any other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};
use serde_json::Value;

use super::Answer;

/// Bytes of the pieces that long secrets are looked for in; a random piece of this length stands
/// nowhere by chance.
const PIECE: usize = 16;
/// What every native token begins with, and the length of its public part.
const TOKEN_PREFIXES: [&[u8]; 2] = [b"fbk_live_", b"fbk_test_"];
const PUBLIC_PART: usize = "fbk_live_0123456789ab_".len();
const SECRET_PART: usize = 49;

#[derive(Default)]
pub struct Witness(Mutex<Known>);

#[derive(Default)]
struct Known {
    secrets: Vec<Kept>,
    evidence: Vec<(String, Vec<u8>)>,
}

struct Kept {
    name: String,
    bytes: Vec<u8>,
    /// The one file it lives in.
    home: Option<PathBuf>,
}

impl Witness {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns a secret that nothing may show.
    pub fn keep(&self, name: &str, secret: impl AsRef<[u8]>) {
        self.keep_in(name, secret, None);
    }

    /// Learns a secret that is in this file and nowhere else.
    pub fn keep_in(&self, name: &str, secret: impl AsRef<[u8]>, home: Option<&Path>) {
        let bytes = secret.as_ref();
        assert!(bytes.len() >= 10, "{name} is too short to be looked for");
        let mut known = self.known();
        if !known.secrets.iter().any(|kept| kept.bytes == bytes) {
            let home = home.map(Path::to_owned);
            known.secrets.push(Kept { name: name.to_owned(), bytes: bytes.to_owned(), home });
        }
    }

    /// How many secrets it knows.
    pub fn secrets(&self) -> usize {
        self.known().secrets.len()
    }

    /// Everything it has seen, in bytes.
    pub fn seen(&self) -> usize {
        self.known().evidence.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Takes in anything that came out.
    pub fn saw(&self, label: &str, bytes: impl Into<Vec<u8>>) {
        self.known().evidence.push((label.to_owned(), bytes.into()));
    }

    /// Takes in all files below a folder as they are now, with their names.
    pub fn saw_files(&self, folder: &Path) {
        for file in super::files_below(folder) {
            // Sockets have no content.
            let mut content = std::fs::read(&file).unwrap_or_default();
            content.extend(file.as_os_str().as_encoded_bytes());
            self.saw(&file.display().to_string(), content);
        }
    }

    /// Takes in an answer.
    pub fn saw_answer(&self, method: &str, path: &str, answer: &Answer) {
        let label = format!("{method} {path} ({})", answer.status);
        let mut seen = Vec::new();
        for (name, value) in &answer.headers {
            seen.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        }
        seen.extend_from_slice(&answer.body);
        if (200..300).contains(&answer.status) {
            let path = path.split('?').next().unwrap();
            let (pointers, has_cookie) = shown_by(method, path);
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let texts = pointers.iter().flat_map(|pointer| texts(&body, pointer));
            let cookie =
                has_cookie.then(|| answer.header("set-cookie").split(';').next().unwrap_or_default());
            let cookie = cookie.and_then(|cookie| cookie.split_once('=')).map(|(_, token)| token.to_owned());
            for text in texts.chain(cookie) {
                self.shown(&label, &text, &mut seen);
            }
        }
        self.saw(&label, seen);
    }

    /// Takes in what a command printed; `pointers` are the places in its JSON that may show a secret.
    pub fn saw_command(&self, label: &str, output: &std::process::Output, pointers: &[&str]) {
        let mut printed = output.stdout.clone();
        let body: Value = serde_json::from_slice(&printed).unwrap_or_default();
        for text in pointers.iter().flat_map(|pointer| texts(&body, pointer)) {
            self.shown(label, &text, &mut printed);
        }
        self.saw(&format!("{label}: output"), printed);
        self.saw(&format!("{label}: errors"), output.stderr.clone());
    }

    /// Takes in a log, which may show the first administrator's link, once.
    pub fn saw_log(&self, label: &str, log: &str) {
        let mut seen = log.as_bytes().to_vec();
        let link = log.lines().map(str::trim).find(|line| line.contains("/setup#token="));
        if let Some(link) = link {
            self.shown(label, link, &mut seen);
        }
        self.saw(label, seen);
    }

    /// Learns a secret from where it may be shown, and takes it out there.
    fn shown(&self, label: &str, text: &str, seen: &mut Vec<u8>) {
        let secret = secret_part(text);
        if secret.is_empty() {
            return;
        }
        self.keep(label, secret);
        if let Some(bytes) = base32(secret) {
            self.keep(&format!("{label}, its bytes"), bytes);
        }
        let at = position(seen, text.as_bytes()).expect("it was found there");
        seen.drain(at..at + text.len());
    }

    /// Every place where a secret stands that may not be there.
    pub fn leaks(&self) -> Vec<String> {
        let known = self.known();
        let mut needles = Needles::default();
        for (index, kept) in known.secrets.iter().enumerate() {
            for (form, bytes) in forms(&kept.bytes) {
                needles.add(index, form, bytes);
            }
        }
        let mut leaks = Vec::new();
        for (label, bytes) in &known.evidence {
            for (index, form) in needles.found_in(bytes) {
                let kept = &known.secrets[index];
                if kept.home.as_ref().is_none_or(|home| home.display().to_string() != *label) {
                    leaks.push(format!("{label}: has the secret of '{}', {form}", kept.name));
                }
            }
            if has_token(bytes) {
                leaks.push(format!("{label}: has a whole token"));
            }
        }
        leaks.sort();
        leaks.dedup();
        leaks
    }
}

/// Where a successful answer may show a secret: places in its JSON, and whether in its cookie.
fn shown_by(method: &str, path: &str) -> (&'static [&'static str], bool) {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method, segments.as_slice()) {
        ("POST", ["admin", "api-keys"] | ["admin", "api-keys", _, "rotate" | "reveal"]) => {
            (&["/token"], false)
        }
        ("POST", ["account", "api-key", "generate" | "reset" | "show"]) => (&["/token"], false),
        ("POST", ["api-keys"]) => (&["/apiKey/key"], false),
        ("GET", ["api-keys", _, "key"]) => (&["/key"], false),
        ("POST", ["admin", "users"]) => (&["/link/url"], false),
        ("POST", ["admin", "users", _, "link"]) => (&["/url"], false),
        // The address holds the secret too, so it goes first.
        ("POST", ["auth", "totp", "begin"]) => (&["/otpauth_uri", "/secret"], false),
        ("POST", ["auth", "totp", "confirm"]) => (&["/recovery_codes"], false),
        ("POST", ["setup"] | ["auth", "login"]) => (&[], true),
        _ => (&[], false),
    }
}

/// The texts at a place of a body: one, those of a list, or none.
fn texts(body: &Value, pointer: &str) -> Vec<String> {
    match body.pointer(pointer) {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => {
            items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

/// Of a text that shows a secret, the part that must not stand anywhere else: a token's id may.
fn secret_part(text: &str) -> &str {
    if let Some((_, token)) = text.split_once("token=") {
        token
    } else if let Some((_, rest)) = text.split_once("secret=") {
        rest.split('&').next().unwrap()
    } else if text.starts_with("fbk_") {
        &text[PUBLIC_PART..]
    } else {
        text
    }
}

/// The bytes of a second factor's secret, as they are computed with.
fn base32(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digits: Option<Vec<usize>> =
        text.bytes().map(|byte| DIGITS.iter().position(|digit| *digit == byte)).collect();
    let digits = digits.filter(|digits| digits.len() == 32)?;
    let bytes = digits.chunks(8).flat_map(|group| {
        let bits = group.iter().fold(0_u64, |bits, digit| bits << 5 | *digit as u64);
        bits.to_be_bytes()[3..].to_vec()
    });
    Some(bytes.collect())
}

/// All the ways a secret may be written.
fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex = |upper: bool| -> Vec<u8> {
        let digits =
            secret.iter().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
        digits.collect::<String>().into_bytes()
    };
    let percent = |space: &str| -> Vec<u8> {
        let written = secret.iter().map(|byte| match byte {
            b' ' => space.to_owned(),
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        });
        written.collect::<String>().into_bytes()
    };
    let mut forms = vec![
        ("plain", secret.to_vec()),
        ("in hex", hex(false)),
        ("in hex", hex(true)),
        ("percent-encoded", percent("%20")),
        ("percent-encoded", percent("+")),
    ];
    for before in 0..3 {
        let padded = [&vec![0; before], secret].concat();
        // Characters that depend on nothing but the secret.
        let whole = (8 * before).div_ceil(6)..8 * padded.len() / 6;
        for text in [Base64Unpadded::encode_string(&padded), Base64UrlUnpadded::encode_string(&padded)] {
            forms.push(("in base64", text.as_bytes()[whole.clone()].to_vec()));
        }
    }
    // Passwords are words, pieces of which may well stand somewhere.
    if !secret.contains(&b' ') && secret.len() >= 2 * PIECE {
        forms.extend(secret.chunks_exact(PIECE).map(|piece| ("a piece of it", piece.to_vec())));
    }
    forms
}

/// One thing that is looked for.
struct Needle {
    /// Number of the secret.
    secret: usize,
    form: &'static str,
    bytes: Vec<u8>,
}

/// What is looked for, by the first three bytes.
#[derive(Default)]
struct Needles {
    by_beginning: HashMap<[u8; 3], Vec<Needle>>,
    /// Whether something begins with these two bytes: most do not.
    is_beginning: Vec<bool>,
}

impl Needles {
    fn add(&mut self, secret: usize, form: &'static str, bytes: Vec<u8>) {
        self.is_beginning.resize(1 << 16, false);
        self.is_beginning[usize::from(bytes[0]) << 8 | usize::from(bytes[1])] = true;
        let beginning = [bytes[0], bytes[1], bytes[2]];
        self.by_beginning.entry(beginning).or_default().push(Needle { secret, form, bytes });
    }

    fn found_in(&self, bytes: &[u8]) -> Vec<(usize, &'static str)> {
        let mut found = Vec::new();
        for at in 0..bytes.len().saturating_sub(2) {
            if self.is_beginning[usize::from(bytes[at]) << 8 | usize::from(bytes[at + 1])]
                && let Some(needles) = self.by_beginning.get(&bytes[at..at + 3])
            {
                let here = needles.iter().filter(|needle| bytes[at..].starts_with(&needle.bytes));
                found.extend(here.map(|needle| (needle.secret, needle.form)));
            }
        }
        found
    }
}

/// Whether a whole native token stands there, known or not.
fn has_token(bytes: &[u8]) -> bool {
    let mut windows = bytes.windows(PUBLIC_PART + SECRET_PART);
    windows.any(|window| {
        window[0] == b'f'
            && TOKEN_PREFIXES.iter().any(|prefix| window.starts_with(prefix))
            && window[9..21].iter().all(u8::is_ascii_hexdigit)
            && window[21] == b'_'
            && window[PUBLIC_PART..].iter().all(u8::is_ascii_alphanumeric)
    })
}

fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::HeaderMap;

    use super::*;

    const TOKEN: &str = "fbk_live_0123456789ab_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLM";

    fn answer(body: &str) -> Answer {
        Answer { status: 200, headers: HeaderMap::new(), body: Bytes::from(body.to_owned()) }
    }

    /// A witness that learnt [`TOKEN`] where it may be shown.
    fn informed() -> Witness {
        let witness = Witness::default();
        let made = format!(r#"{{"key_id":"0123456789ab","token":"{TOKEN}"}}"#);
        witness.saw_answer("POST", "/admin/api-keys", &answer(&made));
        witness.keep("a password", "plum & ladder: quartz");
        assert_eq!((witness.secrets(), witness.leaks()), (2, Vec::<String>::new()));
        witness
    }

    #[test]
    fn finds_what_is_planted_in_every_form() {
        let secret = &TOKEN[PUBLIC_PART..];
        let base64 = |bytes: &[u8]| Base64Unpadded::encode_string(bytes);
        let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
        let planted = [
            format!("GET /fax?apikey={TOKEN} 200"),
            format!("the secret {secret} alone"),
            format!("cut off: {}", &TOKEN[..PUBLIC_PART + 20]),
            format!("its end: {}", &TOKEN[TOKEN.len() - 34..]),
            base64(TOKEN.as_bytes()),
            base64(format!("x{TOKEN}").as_bytes()),
            base64(format!("Bearer xy:{TOKEN} and more").as_bytes()),
            hex,
            "plum & ladder: quartz".to_owned(),
            "password=plum+%26+ladder%3A+quartz".to_owned(),
            "password=plum%20%26%20ladder%3A%20quartz".to_owned(),
            // Of a key it never heard of.
            TOKEN.replace("0123456789ab_", "ffffffffffff_Q").chars().take(TOKEN.len()).collect(),
        ];
        for text in planted {
            let witness = informed();
            witness.saw("a log", [b"\0\xff before ", text.as_bytes(), b" after"].concat());
            assert!(!witness.leaks().is_empty(), "{text}");
        }
        let witness = informed();
        witness.saw("a log", "fbk_live_0123456789ab_… sent plum and ladder");
        assert_eq!(witness.leaks(), Vec::<String>::new());
    }

    #[test]
    fn what_may_be_shown_once_is_found_the_second_time() {
        let witness = informed();
        let twice = format!(r#"{{"token":"{TOKEN}","echo":"{TOKEN}"}}"#);
        witness.saw_answer("POST", "/admin/api-keys/0123456789ab/rotate", &answer(&twice));
        assert!(!witness.leaks().is_empty());
        let witness = informed();
        witness.saw_answer("GET", "/admin/api-keys", &answer(&format!(r#"{{"token":"{TOKEN}"}}"#)));
        assert!(!witness.leaks().is_empty());
    }

    #[test]
    fn a_secret_may_be_at_home_only() {
        let folder = tempfile::tempdir().unwrap();
        let (home, other) = (folder.path().join("kek"), folder.path().join("other"));
        let witness = Witness::default();
        witness.keep_in("a key", [7_u8; 32], Some(&home));
        std::fs::write(&home, [7; 32]).unwrap();
        witness.saw_files(folder.path());
        assert_eq!(witness.leaks(), Vec::<String>::new());
        std::fs::write(&other, [7; 40]).unwrap();
        witness.saw_files(folder.path());
        assert!(witness.leaks().iter().all(|leak| leak.starts_with(&*other.to_string_lossy())));
        assert!(!witness.leaks().is_empty());
    }
}
