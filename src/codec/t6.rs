//! ITU-T T.6 (Group 4, MMR): the form pages are kept and, with error correction, sent in.
//!
//! Owns the block around the rows: no ends of line, each row against the one above, EOFB at the end (T.6 2.4).
//! Refuses uncompressed mode, which no fax machine announces.

use hayro_ccitt::EncodingMode;

use super::bits::BitWriter;
use super::codes::{EOFB, EOFB_LENGTH, EOL};
use super::quick_check;
use super::raster::Bitmap;
use super::rows::put_row_in_two_dimensions;
use super::transitions::Transitions;

pub use super::decoding::{DecodeError, MAX_HEIGHT, MAX_WIDTH};

/// Codes a page, ended by EOFB and zero bits up to a whole byte.
pub fn encode(page: &Bitmap) -> Vec<u8> {
    let mut writer = BitWriter::with_capacity(page.bits().len() / 8);
    let mut above = Transitions::white(page.width());
    let mut row = Transitions::white(page.width());
    for y in 0..page.height() {
        row.scan(page.row(y));
        put_row_in_two_dimensions(&mut writer, &above, &row);
        std::mem::swap(&mut above, &mut row);
    }
    writer.put(EOL);
    writer.put(EOL);
    writer.finish()
}

/// Decodes a strip of `height` rows of `width` pixels. What stands behind its EOFB is not looked at.
///
/// # Errors
/// [`DecodeError`] for a size no fax has, a row that is not valid, and any other number of rows.
pub fn decode(strip: &[u8], width: u32, height: u32) -> Result<Bitmap, DecodeError> {
    super::decoding::decode(strip, width, height, EncodingMode::Group4)
}

/// Whether [`decode`] would take a strip.
///
/// # Errors
/// Those of [`decode`].
pub fn check(strip: &[u8], width: u32, height: u32) -> Result<(), DecodeError> {
    // First, since the quick check takes as long as the announced size.
    super::decoding::check_size(width, height)?;
    if quick_check::is_sound(strip, width, height) {
        return Ok(());
    }
    super::decoding::check(strip, width, height, EncodingMode::Group4)
}

/// The length of `strip` without zero bytes behind its EOFB; `None` if it does not end in one.
pub(super) fn length_to_eofb(strip: &[u8]) -> Option<usize> {
    let length = strip.iter().rposition(|byte| *byte != 0)? + 1;
    let last_bit = strip[length - 1].trailing_zeros();
    // Up to seven bits of the last byte are padding, so the bits of an EOFB lie within four bytes.
    let mut tail = [0; 4];
    let kept = length.min(tail.len());
    tail[4 - kept..].copy_from_slice(&strip[length - kept..length]);
    let bits = u32::from_be_bytes(tail) >> last_bit;
    let long_enough = kept as u32 * 8 - last_bit >= EOFB_LENGTH;
    (long_enough && bits & ((1 << EOFB_LENGTH) - 1) == EOFB).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::samples;

    #[test]
    fn pages_come_back_bit_by_bit() {
        for (name, page) in samples::pages() {
            let strip = encode(&page);
            let decoded = decode(&strip, page.width(), page.height());
            assert_eq!(decoded.as_ref(), Ok(&page), "{name}");
            assert_eq!(length_to_eofb(&strip), Some(strip.len()), "{name}");
        }
    }

    #[test]
    fn known_strips() {
        // One vertical code for each white row, then EOFB.
        assert_eq!(encode(&Bitmap::white(1728, 4)), [0xf0, 0x01, 0x00, 0x10]);
        assert_eq!(encode(&Bitmap::white(1728, 0)), [0x00, 0x10, 0x01]);
        let black = Bitmap::from_rows(8, 2, vec![0xff; 2]).unwrap();
        // 001 00110101 000101 (white 0, black 8), 1 1, EOFB.
        assert_eq!(
            encode(&black),
            [0b0010_0110, 0b1010_0010, 0b1110_0000, 0b0000_0010, 0b0000_0000, 0b0010_0000]
        );
    }

    #[test]
    fn the_number_of_rows_has_to_be_the_announced_one() {
        let strip = encode(&samples::text(1728, 100, 1));
        for expected in [1, 99, 101, MAX_HEIGHT] {
            assert_eq!(decode(&strip, 1728, expected), Err(DecodeError::Rows { found: 100, expected }));
        }
    }

    #[test]
    fn sizes_are_bounded_before_memory_is_taken() {
        for (width, height) in [(0, 1), (1, 0), (MAX_WIDTH + 1, 1), (1, MAX_HEIGHT + 1), (u32::MAX, u32::MAX)]
        {
            assert_eq!(decode(&[0x00, 0x10, 0x01], width, height), Err(DecodeError::Size { width, height }));
        }
    }

    #[test]
    fn damage_names_its_row() {
        let strip = encode(&samples::text(1728, 100, 2));
        let cut = decode(&strip[..strip.len() / 2], 1728, 100).unwrap_err();
        assert!(matches!(cut, DecodeError::Row { row: 2..100, height: 100, .. }), "{cut:?}");
        let without_end = decode(&[0xf0, 0x00, 0x00], 1728, 4).unwrap_err();
        assert!(matches!(without_end, DecodeError::Row { row: 5, .. }), "{without_end:?}");
    }

    #[test]
    fn endless_rows_are_counted_only_up_to_the_limit() {
        let found = decode(&vec![0xff; 1 << 20], 1728, 10);
        assert_eq!(found, Err(DecodeError::Rows { found: MAX_HEIGHT + 1, expected: 10 }));
    }

    #[test]
    fn the_end_of_a_strip_is_recognised_at_every_bit() {
        for leading in 0..16 {
            let mut writer = BitWriter::with_capacity(0);
            (0..leading).for_each(|_| writer.put(super::super::codes::TAG_ONE_DIMENSION));
            writer.put(EOL);
            writer.put(EOL);
            let strip = writer.finish();
            let padded = [&strip[..], &[0; 5]].concat();
            assert_eq!(length_to_eofb(&padded), Some(strip.len()), "{leading}");
        }
        for other in [&[][..], &[0; 8], &[0x10, 0x01], &[0xff; 4], &[0x00, 0x01], &[0x00, 0x10, 0x03]] {
            assert_eq!(length_to_eofb(other), None, "{other:?}");
        }
    }

    #[test]
    fn damaged_strips_never_panic() {
        let page = samples::text(1728, 60, 3);
        let strip = encode(&page);
        let mut random = samples::Random::seeded(4);
        for _ in 0..300 {
            let damaged = random.damage(&strip);
            let decoded = decode(&damaged, 1728, 60);
            assert_eq!(check(&damaged, 1728, 60), decoded.as_ref().map(|_| ()).map_err(Clone::clone));
            if let Ok(decoded) = decoded {
                assert_eq!((decoded.width(), decoded.height()), (1728, 60));
            }
        }
    }
}
