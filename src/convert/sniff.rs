//! What kind of document some bytes are, judged by the bytes alone.
//!
//! Owns the table of signatures. Refuses to look at a declared type or a file name: both are the sender's
//! claim. It compares a few bytes at the start (and, for text, looks for control characters); it parses
//! nothing, and so may run in the server itself, where an unknown type then costs no worker.

use super::ConvertError;

/// The kinds of document that become fax pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DocumentKind {
    /// PDF, any version.
    Pdf,
    /// Plain text: UTF-8, UTF-16 with a byte order mark, or Latin-1.
    Text,
    /// TIFF, fax-ready or not.
    Tiff,
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
}

/// How far into a file the header of a PDF may stand: readers since Acrobat 1 accept junk before it
/// (ISO 32000-1, implementation note 13 of Annex H in the Adobe edition).
const PDF_HEADER_WITHIN: usize = 1024;

/// Files that people send and that are refused by name. (offset, signature, what it is.)
const REFUSED: &[(usize, &[u8], &str)] = &[
    (0, b"{\\rtf", "an RTF document"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"\xC5\xD0\xD3\xC6", "a PostScript (EPS) file"),
    (0, b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "an older Microsoft Office document"),
    (0, b"GIF87a", "a GIF image"),
    (0, b"GIF89a", "a GIF image"),
    (8, b"WEBP", "a WebP image"),
    (4, b"ftypheic", "a HEIC photo"),
    (4, b"ftypheix", "a HEIC photo"),
    (4, b"ftypmif1", "a HEIC photo"),
    (4, b"ftypmsf1", "a HEIC photo"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftyp", "a video"),
    (0, b"\0\0\0\x0CjP  ", "a JPEG 2000 image"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\x1F\x8B", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xFD7zXZ\0", "an xz archive"),
    (0, b"7z\xBC\xAF\x27\x1C", "a 7-Zip archive"),
    (0, b"Rar!\x1A\x07", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x7FELF", "a Linux program"),
    (0, b"SQLite format 3\0", "a database file"),
];

/// The kind of `bytes`.
///
/// # Errors
/// [`ConvertError::Empty`] for no bytes, [`ConvertError::UnknownType`] naming what was found otherwise.
pub(super) fn sniff(bytes: &[u8]) -> Result<DocumentKind, ConvertError> {
    if bytes.is_empty() {
        return Err(ConvertError::Empty);
    }
    if bytes.starts_with(b"\x89PNG\r\n\x1A\n") {
        return Ok(DocumentKind::Png);
    }
    if bytes.starts_with(b"\xFF\xD8\xFF") {
        return Ok(DocumentKind::Jpeg);
    }
    if is_tiff(bytes) {
        return Ok(DocumentKind::Tiff);
    }
    if let Some(found) = refused_by_signature(bytes) {
        return unknown(found);
    }
    let head = &bytes[..bytes.len().min(PDF_HEADER_WITHIN)];
    if head.windows(5).any(|window| window == b"%PDF-") {
        return Ok(DocumentKind::Pdf);
    }
    if looks_like_html(head) {
        return unknown("an HTML page");
    }
    if is_text(bytes) {
        return Ok(DocumentKind::Text);
    }
    unknown("unknown binary data")
}

fn unknown(found: &str) -> Result<DocumentKind, ConvertError> {
    Err(ConvertError::UnknownType { found: found.to_owned() })
}

/// Classic TIFF in both byte orders, and BigTIFF (version 43).
fn is_tiff(bytes: &[u8]) -> bool {
    [b"II\x2A\0", b"MM\0\x2A", b"II\x2B\0", b"MM\0\x2B"].iter().any(|signature| bytes.starts_with(*signature))
}

fn refused_by_signature(bytes: &[u8]) -> Option<&'static str> {
    let listed = REFUSED
        .iter()
        .find(|(offset, signature, _)| bytes.get(*offset..).is_some_and(|tail| tail.starts_with(signature)));
    if let Some((_, _, found)) = listed {
        return Some(found);
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return Some(name_zip(bytes));
    }
    // "MZ" and "BM" are also how a letter may begin, so what follows has to be binary.
    if bytes.starts_with(b"MZ") && !is_text(bytes) {
        return Some("a Windows program");
    }
    if bytes.starts_with(b"BM") && !is_text(bytes) {
        return Some("a BMP image");
    }
    None
}

/// Office documents are ZIP archives whose first entries have telling names.
fn name_zip(bytes: &[u8]) -> &'static str {
    let head = &bytes[..bytes.len().min(4096)];
    let holds = |name: &[u8]| head.windows(name.len()).any(|window| window == name);
    if holds(b"word/") {
        "a Word document"
    } else if holds(b"xl/") {
        "an Excel workbook"
    } else if holds(b"ppt/") {
        "a PowerPoint presentation"
    } else if holds(b"application/vnd.oasis.opendocument") {
        "an OpenDocument file"
    } else {
        "a ZIP archive (perhaps a Word document)"
    }
}

fn looks_like_html(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let start = head.trim_ascii_start();
    let begins_with =
        |tag: &[u8]| start.get(..tag.len()).is_some_and(|first| first.eq_ignore_ascii_case(tag));
    begins_with(b"<!doctype html") || begins_with(b"<html") || begins_with(b"<head")
}

/// Text holds no NUL and no control character but TAB, LF, FF and CR. UTF-16 needs its byte order mark,
/// and is then judged by its code units.
fn is_text(bytes: &[u8]) -> bool {
    let allowed_control = |unit: u16| matches!(unit, 0x09 | 0x0A | 0x0C | 0x0D);
    let plain = |unit: u16| (unit >= 0x20 && unit != 0x7F) || allowed_control(unit);
    match bytes {
        [0xFF, 0xFE, units @ ..] => {
            units.chunks(2).all(|pair| pair.len() == 2 && plain(u16::from_le_bytes([pair[0], pair[1]])))
        }
        [0xFE, 0xFF, units @ ..] => {
            units.chunks(2).all(|pair| pair.len() == 2 && plain(u16::from_be_bytes([pair[0], pair[1]])))
        }
        _ => bytes.iter().all(|byte| plain(u16::from(*byte))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> String {
        match sniff(bytes) {
            Ok(kind) => format!("{kind:?}"),
            Err(ConvertError::UnknownType { found }) => found,
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn content_decides() {
        let mut late_pdf = vec![b'x'; 1000];
        late_pdf.extend_from_slice(b"%PDF-1.4\n\x80\x81\0");
        let mut too_late_pdf = vec![b'x'; 1024];
        too_late_pdf.extend_from_slice(b"%PDF-1.4\n\0");
        let mut word = b"PK\x03\x04".to_vec();
        word.extend_from_slice(&[0; 26]);
        word.extend_from_slice(b"word/document.xml");
        let mut program = b"MZ\x90\0".to_vec();
        program.extend_from_slice(&[0; 60]);

        let cases: &[(&[u8], &str)] = &[
            (b"", "Empty"),
            (b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n", "Pdf"),
            (&late_pdf, "Pdf"),
            (&too_late_pdf, "unknown binary data"),
            (b"II\x2A\0\x08\0\0\0", "Tiff"),
            (b"MM\0\x2A\0\0\0\x08", "Tiff"),
            (b"\x89PNG\r\n\x1A\n\0\0", "Png"),
            (b"\xFF\xD8\xFF\xE0", "Jpeg"),
            (b"Dear Sir,\r\n\tyours\x0C", "Text"),
            ("Grüße, 漢字".as_bytes(), "Text"),
            (b"Gr\xFC\xDFe", "Text"),
            (b"\xFF\xFEH\0i\0", "Text"),
            (b"\xFE\xFF\0H\0i", "Text"),
            (b"\xFF\xFEH\0\0\0", "unknown binary data"),
            (b"text\0text", "unknown binary data"),
            (b"bell\x07", "unknown binary data"),
            (b"MZ is how this letter begins", "Text"),
            (b"BMW called.", "Text"),
            (&program, "a Windows program"),
            (&word, "a Word document"),
            (b"PK\x03\x04 something", "a ZIP archive (perhaps a Word document)"),
            (b"  <!DOCTYPE HTML><html>", "an HTML page"),
            (b"\xEF\xBB\xBF<html lang=en>", "an HTML page"),
            (b"{\\rtf1\\ansi", "an RTF document"),
            (b"%!PS-Adobe-3.0", "a PostScript file"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP image"),
            (b"\0\0\0\x18ftypheic", "a HEIC photo"),
            (b"\x1F\x8B\x08", "a gzip archive"),
            (b"\x7FELF\x02", "a Linux program"),
            (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "an older Microsoft Office document"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(&found(bytes), expected, "{:02X?}", &bytes[..bytes.len().min(12)]);
        }
    }
}
