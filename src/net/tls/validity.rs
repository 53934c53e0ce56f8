//! When a certificate ends, read from its DER form.
//!
//! Owns: the walk to that one field (RFC 5280, 4.1). Refuses: to judge a certificate; rustls has
//! done so before, and what is not understood here is simply not told.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
/// The version, `[0] EXPLICIT`, which the first form of certificates lacks.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// Serial number, signature algorithm and issuer stand before the validity.
const FIELDS_BEFORE: usize = 3;

/// `notAfter` of a certificate.
pub(super) fn ends_at(der: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = content(der, SEQUENCE)?;
    let (mut fields, _) = content(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    for _ in 0..FIELDS_BEFORE {
        fields = element(fields)?.2;
    }
    let (validity, _) = content(fields, SEQUENCE)?;
    let (kind, not_after, _) = element(element(validity)?.2)?;
    time(kind, std::str::from_utf8(not_after).ok()?)
}

/// `YYMMDDHHMMSSZ`, with years from 1950 on, or `YYYYMMDDHHMMSSZ`.
fn time(kind: u8, text: &str) -> Option<Timestamp> {
    let text = match kind {
        GENERALIZED_TIME => text.to_owned(),
        UTC_TIME => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        _ => return None,
    };
    let at = DateTime::strptime("%Y%m%d%H%M%S", text.strip_suffix('Z')?).ok()?;
    at.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn content(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content and what follows of the first element.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(ends: time::OffsetDateTime) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["fax.example".to_owned()]).unwrap();
        params.not_after = ends;
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn reads_both_forms_of_time_and_nothing_else() {
        for second in [1_798_761_600, 2_524_607_999, 2_524_608_000, 4_102_444_799] {
            let der = certificate(time::OffsetDateTime::from_unix_timestamp(second).unwrap());
            assert_eq!(ends_at(&der).map(Timestamp::as_second), Some(second));
            for cut in [0, 1, 5, 40, 90] {
                assert_eq!(ends_at(&der[..cut]), None, "{cut}");
            }
        }
        assert_eq!(ends_at(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
