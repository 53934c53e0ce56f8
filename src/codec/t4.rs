//! ITU-T T.4 (Group 3, MH and MR): what machines without T.6 receive.
//!
//! Owns the frame around the rows: an end of line before each, tags in MR, six ends of line at the end. Refuses
//! fill bits, which belong to the time a machine needs for a row and so to the line.

use hayro_ccitt::EncodingMode;

use super::bits::BitWriter;
use super::codes::{EOL, TAG_ONE_DIMENSION, TAG_TWO_DIMENSIONS};
use super::raster::Bitmap;
use super::rows::{put_row_in_one_dimension, put_row_in_two_dimensions};
use super::transitions::Transitions;

pub use super::decoding::DecodeError;

/// Ends of line in a row that end a page: return to control, RTC (T.4 4.1.4).
const RTC_LINES: u32 = 6;

/// Codes a page in one dimension (MH): EOL before each row, RTC at the end.
pub fn encode_mh(page: &Bitmap) -> Vec<u8> {
    let mut writer = BitWriter::with_capacity(page.bits().len() / 4);
    let mut row = Transitions::white(page.width());
    for y in 0..page.height() {
        writer.put(EOL);
        row.scan(page.row(y));
        put_row_in_one_dimension(&mut writer, &row);
    }
    for _ in 0..RTC_LINES {
        writer.put(EOL);
    }
    writer.finish()
}

/// Codes a page in two dimensions (MR): every `k`th row in one dimension, the others against the row above.
///
/// T.4 4.2.2 wants `k` at most 2 at standard and 4 at fine resolution; 0 is taken as 1.
pub fn encode_mr(page: &Bitmap, k: u32) -> Vec<u8> {
    let mut writer = BitWriter::with_capacity(page.bits().len() / 8);
    let mut above = Transitions::white(page.width());
    let mut row = Transitions::white(page.width());
    for y in 0..page.height() {
        writer.put(EOL);
        row.scan(page.row(y));
        if y.is_multiple_of(k.max(1)) {
            writer.put(TAG_ONE_DIMENSION);
            put_row_in_one_dimension(&mut writer, &row);
        } else {
            writer.put(TAG_TWO_DIMENSIONS);
            put_row_in_two_dimensions(&mut writer, &above, &row);
        }
        std::mem::swap(&mut above, &mut row);
    }
    for _ in 0..RTC_LINES {
        writer.put(EOL);
        writer.put(TAG_ONE_DIMENSION);
    }
    writer.finish()
}

/// Decodes MH data of `height` rows of `width` pixels; fill before an end of line is skipped.
///
/// # Errors
/// [`DecodeError`] for a size no fax has, a row that is not valid, and any other number of rows.
pub fn decode_mh(data: &[u8], width: u32, height: u32) -> Result<Bitmap, DecodeError> {
    super::decoding::decode(data, width, height, EncodingMode::Group3_1D)
}

/// Decodes MR data of `height` rows of `width` pixels; fill before an end of line is skipped.
///
/// # Errors
/// As [`decode_mh`].
pub fn decode_mr(data: &[u8], width: u32, height: u32) -> Result<Bitmap, DecodeError> {
    super::decoding::decode(data, width, height, EncodingMode::Group3_2D)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::samples;

    #[test]
    fn pages_come_back_bit_by_bit() {
        for (name, page) in samples::pages() {
            let (width, height) = (page.width(), page.height());
            assert_eq!(decode_mh(&encode_mh(&page), width, height).as_ref(), Ok(&page), "{name}");
            for k in [0, 1, 2, 4, u32::MAX] {
                let decoded = decode_mr(&encode_mr(&page, k), width, height);
                assert_eq!(decoded.as_ref(), Ok(&page), "{name}, k = {k}");
            }
        }
    }

    #[test]
    fn known_pages() {
        let page = Bitmap::white(1728, 2);
        // EOL, white 1728, white 0; twice; then six EOL.
        let mh = [
            0x00, 0x14, 0xd9, 0xa8, 0x00, 0xa6, 0xcd, 0x40, 0x04, 0x00, 0x40, 0x04, 0x00, 0x40, 0x04, 0x00,
            0x40,
        ];
        assert_eq!(encode_mh(&page)[..], mh[..]);
        // EOL + 1, white 1728, white 0; EOL + 0, vertical; then six times EOL + 1.
        let text: String = encode_mr(&page, 2).iter().map(|byte| format!("{byte:08b}")).collect();
        let rows = "000000000001 1 010011011 00110101 000000000001 0 1";
        let expected = format!("{rows}{}", "0000000000011".repeat(6)).replace(' ', "");
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.len() - expected.len() < 8 && text[expected.len()..].bytes().all(|bit| bit == b'0'));
    }

    #[test]
    fn every_run_length_of_both_colours_comes_back() {
        for length in 0..=MAX_RUN {
            let mut page = Bitmap::white(MAX_RUN + 2, 2);
            crate::codec::raster::blacken(page.row_mut(0), 1..1 + length);
            crate::codec::raster::blacken(page.row_mut(1), length..MAX_RUN + 2);
            let decoded = decode_mh(&encode_mh(&page), page.width(), 2);
            assert_eq!(decoded.as_ref(), Ok(&page), "{length}");
        }
    }
    const MAX_RUN: u32 = 2700;

    #[test]
    fn the_number_of_rows_has_to_be_the_announced_one() {
        let page = samples::text(1728, 50, 5);
        for expected in [1, 49, 51] {
            let wrong = Err(DecodeError::Rows { found: 50, expected });
            assert_eq!(decode_mh(&encode_mh(&page), 1728, expected), wrong);
            assert_eq!(decode_mr(&encode_mr(&page, 4), 1728, expected), wrong);
        }
    }

    #[test]
    fn damaged_data_never_panics() {
        let page = samples::text(1728, 40, 6);
        let mut random = samples::Random::seeded(7);
        for (data, decode) in
            [(encode_mh(&page), decode_mh as fn(&[u8], u32, u32) -> _), (encode_mr(&page, 4), decode_mr)]
        {
            for _ in 0..300 {
                if let Ok(decoded) = decode(&random.damage(&data), 1728, 40) {
                    assert_eq!((decoded.width(), decoded.height()), (1728, 40));
                }
            }
        }
    }
}
