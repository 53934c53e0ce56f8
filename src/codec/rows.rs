//! One row as code words, in one dimension and in two.
//!
//! Owns the coding rules that T.4 and T.6 share: run lengths (T.4 4.1.1) and the modes against the row above
//! (T.4 4.2.1.3, T.6 2.2). Refuses what stands between rows: ends of line, tags and ends of page.

use super::bits::BitWriter;
use super::codes::{BLACK, Code, EXTENDED_MAKE_UP, HORIZONTAL, PASS, RunCodes, VERTICAL, WHITE};
use super::transitions::Transitions;

/// The longest run a make-up code stands for.
const LONGEST_MAKE_UP: u32 = 2560;

/// Codes a row by its own run lengths.
pub(super) fn put_row_in_one_dimension(writer: &mut BitWriter, row: &Transitions) {
    let mut run_start = 0;
    let mut black = false;
    for &run_end in row.columns() {
        put_run(writer, black, run_end - run_start);
        if run_end == row.width() {
            break;
        }
        run_start = run_end;
        black = !black;
    }
}

/// Codes a row by its differences from the row above. Both have the same width.
pub(super) fn put_row_in_two_dimensions(writer: &mut BitWriter, above: &Transitions, row: &Transitions) {
    let (above, width) = (above.columns(), row.width());
    let mut changes = row.columns();
    // a0 starts just before the row (T.4 4.2.1.1), so that b1 may be the first pixel.
    let mut a0 = 0;
    let mut least_b1 = 0;
    let mut black = false;
    let mut nearest = 0;
    while a0 < width {
        let (a1, a2) = (changes[0], changes[1]);
        while above[nearest] < least_b1 {
            nearest += 1;
        }
        // b1 changes to the colour opposite to a0's: to black, at an even index, while a0 is white.
        let b1_index = nearest + usize::from((nearest % 2 == 1) != black);
        let (b1, b2) = (above[b1_index], above[b1_index + 1]);
        if b2 < a1 {
            writer.put(PASS);
            a0 = b2;
        } else if let Some(code) = vertical(a1, b1) {
            writer.put(code);
            a0 = a1;
            black = !black;
            changes = &changes[1..];
        } else {
            writer.put(HORIZONTAL);
            put_run(writer, black, a1 - a0);
            put_run(writer, !black, a2 - a1);
            a0 = a2;
            changes = &changes[2..];
        }
        least_b1 = a0 + 1;
    }
}

/// The code of vertical mode, if a1 is at most three pixels from b1.
#[inline]
fn vertical(a1: u32, b1: u32) -> Option<Code> {
    VERTICAL.get(a1.wrapping_sub(b1).wrapping_add(3) as usize).copied()
}

/// Codes one run: make-up codes for multiples of 64, then always one terminating code (T.4 4.1.1).
#[inline]
fn put_run(writer: &mut BitWriter, black: bool, mut pixels: u32) {
    static CODES: [RunCodes; 2] = [WHITE, BLACK];
    let codes = &CODES[usize::from(black)];
    while pixels >= LONGEST_MAKE_UP {
        writer.put(EXTENDED_MAKE_UP[EXTENDED_MAKE_UP.len() - 1]);
        pixels -= LONGEST_MAKE_UP;
    }
    if pixels >= 64 {
        let index = (pixels / 64 - 1) as usize;
        let extended = index.checked_sub(codes.make_up.len());
        writer.put(extended.map_or_else(|| codes.make_up[index], |index| EXTENDED_MAKE_UP[index]));
    }
    writer.put(codes.terminating[(pixels % 64) as usize]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::raster::{Bitmap, blacken};

    /// Stretches of black pixels: first, and first behind.
    type Black = &'static [(u32, u32)];

    /// The row as text of bits, without the padding of the last byte.
    fn bits_of(put: impl FnOnce(&mut BitWriter), expected: &str) -> String {
        let mut writer = BitWriter::with_capacity(0);
        put(&mut writer);
        let text: String = writer.finish().iter().map(|byte| format!("{byte:08b}")).collect();
        let length = expected.replace(' ', "").len();
        assert!(text.len() < length + 8, "{text} is longer than {expected}");
        text[..length].to_owned()
    }

    fn row(width: u32, black: &[(u32, u32)]) -> Transitions {
        let mut page = Bitmap::white(width, 1);
        black.iter().for_each(|(start, end)| blacken(page.row_mut(0), *start..*end));
        let mut transitions = Transitions::white(width);
        transitions.scan(page.row(0));
        transitions
    }

    #[test]
    fn runs_as_t4_prints_them() {
        let cases: [(u32, Black, &str); 6] = [
            (1728, &[], "010011011 00110101"),
            (1728, &[(0, 1728)], "00110101 0000001100101 0000110111"),
            (10, &[(4, 7)], "1011 10 1000"),
            (2623, &[], "000000011111 00110100"),
            (2624, &[], "000000011111 11011 00110101"),
            (5184, &[], "000000011111 000000011111 11011 00110101"),
        ];
        for (width, black, expected) in cases {
            let coded = bits_of(|writer| put_row_in_one_dimension(writer, &row(width, black)), expected);
            assert_eq!(coded, expected.replace(' ', ""), "{width} {black:?}");
        }
    }

    #[test]
    fn modes_as_t4_describes_them() {
        let cases: [(&str, Black, Black, &str); 8] = [
            ("white under white", &[], &[], "1"),
            ("the same row", &[(3, 9)], &[(3, 9)], "1 1 1"),
            ("from the first pixel", &[(0, 9)], &[(0, 9)], "1 1 1"),
            ("shifted right by 1, left by 3", &[(3, 9)], &[(4, 6)], "011 0000010 1"),
            ("a run above without one below", &[(3, 9)], &[], "0001 1"),
            ("b2 just above a1 is no pass", &[(3, 9)], &[(9, 20)], "001 10100 0000101 1"),
            ("a run below without one above", &[], &[(3, 9)], "001 1000 0010 1"),
            ("horizontal from the edge", &[], &[(0, 2)], "001 00110101 11 1"),
        ];
        for (name, above, below, expected) in cases {
            let (above, below) = (row(100, above), row(100, below));
            let coded = bits_of(|writer| put_row_in_two_dimensions(writer, &above, &below), expected);
            assert_eq!(coded, expected.replace(' ', ""), "{name}");
        }
    }
}
