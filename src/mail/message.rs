//! Letters as messages (RFC 5322).
//!
//! Owns: their headers. Refuses: attachments, and headers made of anything but addresses that are
//! [`Address`]es, our own words and times, so that nothing can be put in between.

use jiff::Timestamp;
use mail_builder::MessageBuilder;
use mail_builder::headers::raw::Raw;

use crate::fax::notice::Letter;
use crate::fax::notify::Address;
use crate::id::MailId;
use crate::net::smtp::Envelope;

/// Name beside the sender's address.
const SENDER: &str = "Pagewire";

/// A letter in its envelope, of something that happened at `at`.
pub(super) fn envelope(id: MailId, from: Address, to: Address, letter: &Letter, at: Timestamp) -> Envelope {
    // No control of any kind in a header, whatever a letter holds.
    let subject: String =
        letter.subject.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let mut message = Vec::new();
    MessageBuilder::new()
        .from((SENDER, from.as_str()))
        .to(to.as_str())
        .subject(subject)
        .date(at.as_second())
        .message_id(format!("{id}@{}", from.domain()))
        // RFC 3834: nobody's holiday notice answers it.
        .header("Auto-Submitted", Raw::new("auto-generated"))
        .text_body(letter.text.as_str())
        .serialize(&mut message);
    Envelope { from, to, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(subject: &str, text: &str) -> String {
        let letter = Letter { subject: subject.into(), text: text.into() };
        let address = |text: &str| text.parse().unwrap();
        let at = "2026-11-30T05:06:07Z".parse().unwrap();
        let id = "0190b3c0000070008000000000000000".parse().unwrap();
        let (from, to) = (address("fax@example.org"), address("desk@example.com"));
        String::from_utf8(envelope(id, from, to, &letter, at).message).unwrap()
    }

    #[test]
    fn has_its_headers_and_nothing_else() {
        assert_eq!(
            message("Fax to the number ending in 4567: delivered", "One.\r\nTwo.\r\n"),
            "From: \"Pagewire\" <fax@example.org>\r\n\
             To: <desk@example.com>\r\n\
             Subject: Fax to the number ending in 4567: delivered\r\n\
             Date: Mon, 30 Nov 2026 05:06:07 +0000\r\n\
             Message-ID: <0190b3c0000070008000000000000000@example.org>\r\n\
             Auto-Submitted: auto-generated\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=\"utf-8\"\r\n\
             Content-Transfer-Encoding: 7bit\r\n\
             \r\n\
             One.\r\nTwo.\r\n"
        );
    }

    #[test]
    fn nothing_gets_between_the_headers() {
        let text = message("a\r\nBcc: b@example.org\r\n\r\nbody", "Zoë says:\r\n.\r\nQUIT\r\n");
        let (headers, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!headers.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc")), "{headers}");
        assert!(text.is_ascii() && body.contains("Zo=C3=AB"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 78), "{text}");
    }
}
