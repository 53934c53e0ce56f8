//! Decoding of T.4 and T.6 data into a bitmap, by `hayro-ccitt`.
//!
//! Owns the limits and the count of rows. Refuses to repair: a page is every announced row, each sound, or an
//! error. Memory is one bitmap of the announced size, which [`MAX_WIDTH`] and [`MAX_HEIGHT`] bound to 40 MB.

use hayro_ccitt::{DecodeSettings, Decoder, DecoderContext, EncodingMode};

use super::raster::{Bitmap, blacken};

/// The widest row a fax can have: A3 at 408 dots per inch (T.4 table 1).
pub const MAX_WIDTH: u32 = 4864;

/// The most rows of a page: more than four metres at the finest resolution, and what image formats with
/// 16-bit sizes can hold.
pub const MAX_HEIGHT: u32 = 65_535;

/// Why coded data is not the page it was announced to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The announced size has no pixels, or is above [`MAX_WIDTH`] or [`MAX_HEIGHT`].
    #[error("no fax page has {width} x {height} pixels")]
    Size {
        /// Announced pixels in a row.
        width: u32,
        /// Announced rows.
        height: u32,
    },
    /// The data holds another number of rows. Counting stops just above [`MAX_HEIGHT`].
    #[error("{found} rows found where {expected} were announced")]
    Rows {
        /// Rows in the data.
        found: u32,
        /// Announced rows.
        expected: u32,
    },
    /// A row is not valid code. Behind the last announced row: the end of the block is missing.
    #[error("row {row} of {height} cannot be decoded")]
    Row {
        /// The first bad row, counted from 1.
        row: u32,
        /// Announced rows.
        height: u32,
        /// What is wrong with it.
        source: hayro_ccitt::DecodeError,
    },
}

/// Decodes data that must hold exactly `height` rows of `width` pixels.
pub(super) fn decode(
    data: &[u8],
    width: u32,
    height: u32,
    encoding: EncodingMode,
) -> Result<Bitmap, DecodeError> {
    check_size(width, height)?;
    let mut drawing = Drawing { page: Bitmap::white(width, height), rows: Rows::default() };
    run(data, width, height, encoding, &mut drawing, |drawing| drawing.rows.0)?;
    Ok(drawing.page)
}

/// Whether data holds exactly `height` rows of `width` pixels; says what [`decode`] would, without drawing.
pub(super) fn check(data: &[u8], width: u32, height: u32, encoding: EncodingMode) -> Result<(), DecodeError> {
    check_size(width, height)?;
    run(data, width, height, encoding, &mut Rows::default(), |rows| rows.0)
}

pub(super) fn check_size(width: u32, height: u32) -> Result<(), DecodeError> {
    if (1..=MAX_WIDTH).contains(&width) && (1..=MAX_HEIGHT).contains(&height) {
        Ok(())
    } else {
        Err(DecodeError::Size { width, height })
    }
}

/// Gives every row to `sink`, and compares how many it then `found`.
fn run<S: Decoder>(
    data: &[u8],
    width: u32,
    height: u32,
    encoding: EncodingMode,
    sink: &mut S,
    found: impl Fn(&S) -> u32,
) -> Result<(), DecodeError> {
    let mut context = DecoderContext::new(DecodeSettings {
        columns: width,
        // Not `height`: the decoder would stop there and hide that there is more.
        rows: MAX_HEIGHT + 1,
        end_of_block: true,
        end_of_line: encoding != EncodingMode::Group4,
        rows_are_byte_aligned: false,
        encoding,
        strict: true,
    });
    let result = hayro_ccitt::decode(data, sink, &mut context);
    let found = found(sink);
    match result {
        Err(source) => Err(DecodeError::Row { row: found + 1, height, source }),
        Ok(_) if found != height => Err(DecodeError::Rows { found, expected: height }),
        Ok(_) => Ok(()),
    }
}

/// Counts rows.
#[derive(Default)]
struct Rows(u32);

impl Decoder for Rows {
    fn push_row(&mut self, _: &[u32]) {
        self.0 += 1;
    }
}

/// Draws the rows that belong to the page, and counts them all.
struct Drawing {
    page: Bitmap,
    rows: Rows,
}

impl Decoder for Drawing {
    fn push_row(&mut self, changes: &[u32]) {
        if self.rows.0 < self.page.height() {
            let width = self.page.width();
            let row = self.page.row_mut(self.rows.0);
            for run in changes.chunks(2) {
                let end = run.get(1).copied().unwrap_or(width);
                blacken(row, run[0]..end);
            }
        }
        self.rows.push_row(changes);
    }
}
