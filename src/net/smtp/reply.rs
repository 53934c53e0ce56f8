//! Replies of a mail server (RFC 5321 section 4.2).
//!
//! Owns: putting them together from the bytes that come. Refuses: lines and replies without end, and
//! what is no reply at all; of its text only what can be shown is kept.

use std::fmt;

/// Longest line. The RFC has 512; some servers say more in one.
const LONGEST_LINE: usize = 4096;
/// Most lines of one reply.
const MOST_LINES: usize = 100;
/// Characters of a reply that are shown.
const SHOWN: usize = 300;

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// Its three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Its lines, without the code.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.lines.join(" ").chars().take(SHOWN).collect();
        match text.trim() {
            "" => write!(f, "{}", self.code),
            text => write!(f, "{} {text}", self.code),
        }
    }
}

/// What came is no reply of a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not answer as mail servers do")]
pub struct NoReply;

/// Puts replies together.
#[derive(Debug, Default)]
pub(super) struct Replies {
    bytes: Vec<u8>,
    code: Option<u16>,
    lines: Vec<String>,
}

impl Replies {
    /// Takes in what came.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether more came than was asked for.
    pub(super) fn is_ahead(&self) -> bool {
        !self.bytes.is_empty() || !self.lines.is_empty()
    }

    /// The next whole reply, if it is there.
    pub(super) fn next(&mut self) -> Result<Option<Reply>, NoReply> {
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            if line.len() > LONGEST_LINE || self.lines.len() == MOST_LINES {
                return Err(NoReply);
            }
            let line = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(&line);
            let (code, rest) = line.split_at_checked(3).ok_or(NoReply)?;
            let code = read_code(code).ok_or(NoReply)?;
            if *self.code.get_or_insert(code) != code {
                return Err(NoReply);
            }
            let (is_last, text) = match rest.split_first() {
                None => (true, &[][..]),
                Some((b' ', text)) => (true, text),
                Some((b'-', text)) => (false, text),
                Some(_) => return Err(NoReply),
            };
            self.lines.push(text.iter().map(|byte| shown(*byte)).collect());
            if is_last {
                self.code = None;
                return Ok(Some(Reply { code, lines: std::mem::take(&mut self.lines) }));
            }
        }
        if self.bytes.len() > LONGEST_LINE { Err(NoReply) } else { Ok(None) }
    }
}

/// Three digits, of which the first is 2 to 5.
fn read_code(text: &[u8]) -> Option<u16> {
    let is_code = text.iter().all(u8::is_ascii_digit) && (b'2'..=b'5').contains(text.first()?);
    is_code.then(|| text.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

fn shown(byte: u8) -> char {
    if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '?' }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<String>, NoReply> {
        let mut replies = Replies::default();
        let mut read = Vec::new();
        // Byte by byte: replies come in any pieces.
        for byte in text {
            replies.take(&[*byte]);
            read.extend(replies.next()?.map(|reply| reply.to_string()));
        }
        Ok(read)
    }

    #[test]
    fn puts_replies_together_from_any_pieces() {
        assert_eq!(read(b"250 OK\r\n").unwrap(), ["250 OK"]);
        assert_eq!(read(b"250\r\n354 go\n").unwrap(), ["250", "354 go"]);
        assert_eq!(read(b"250-a\r\n250-\r\n250 b\x1b\xff\r\n250 c").unwrap(), ["250 a  b??"]);
        let mut replies = Replies::default();
        replies.take(b"220 ready\r\n250-x");
        assert_eq!(replies.next().unwrap().unwrap().code(), 220);
        assert!(replies.is_ahead());
    }

    #[test]
    fn refuses_what_is_no_reply_and_what_has_no_end() {
        for odd in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"25\r\n",
            b"\r\n",
            b"250-a\r\n251 b\r\n",
            b"250_a\r\n",
            b"150 a\r\n",
            b"650 a\r\n",
            b"2\xff0 a\r\n",
        ] {
            assert_eq!(read(odd), Err(NoReply), "{}", String::from_utf8_lossy(odd));
        }
        assert_eq!(read(&[b'2'; 5000]), Err(NoReply));
        assert_eq!(read(&b"250-x\r\n".repeat(200)), Err(NoReply));
        assert!(read(&b"250-x\r\n".repeat(90)).unwrap().is_empty());
    }
}
