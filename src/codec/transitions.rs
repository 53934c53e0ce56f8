//! Where a row changes colour: the "changing elements" of T.4 4.2.1.1.
//!
//! Owns finding them, a word of 64 pixels at a time. Invariant: every row starts white, so a change at an even
//! index is one to black, and one at an odd index one to white.

/// Past the last change, coding looks at b1, b2 and one more for a colour that does not fit; each stands for
/// the imaginary element just behind the row.
const SENTINELS: usize = 3;

/// The changing elements of one row.
pub(super) struct Transitions {
    /// Columns in ascending order, then [`SENTINELS`] times the width.
    columns: Vec<u32>,
    width: u32,
}

impl Transitions {
    /// Those of a white row of `width` pixels: the row above the first (T.6 2.2.1).
    pub(super) fn white(width: u32) -> Self {
        Self { columns: vec![width; SENTINELS], width }
    }

    /// Pixels in the row.
    pub(super) fn width(&self) -> u32 {
        self.width
    }

    /// The columns, followed by [`SENTINELS`] times the width.
    pub(super) fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// Replaces the contents with the changes of `row`, packed most significant bit first, 1 = black.
    pub(super) fn scan(&mut self, row: &[u8]) {
        self.columns.clear();
        let (words, rest) = row.as_chunks::<8>();
        let mut last_pixel = 0;
        let mut column = 0;
        for word in words {
            last_pixel = self.scan_word(u64::from_be_bytes(*word), last_pixel, column);
            column += u64::BITS;
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.scan_word(u64::from_be_bytes(word), last_pixel, column);
        }
        // The padding is not part of the row; a row that ends black changes colour there.
        while self.columns.last().is_some_and(|column| *column >= self.width) {
            self.columns.pop();
        }
        self.columns.extend([self.width; SENTINELS]);
    }

    /// Adds the changes within 64 pixels that start at `column`; takes and returns the pixel before the next
    /// word, 1 = black.
    #[inline]
    fn scan_word(&mut self, pixels: u64, pixel_before: u64, column: u32) -> u64 {
        let mut changes = pixels ^ (pixels >> 1 | pixel_before << 63);
        while changes != 0 {
            let place = changes.leading_zeros();
            self.columns.push(column + place);
            changes &= !(1 << 63 >> place);
        }
        pixels & 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::raster::Bitmap;

    fn changes(width: u32, black: &[u32]) -> Vec<u32> {
        let mut page = Bitmap::white(width, 1);
        black.iter().for_each(|x| page.set_black(*x, 0));
        let mut transitions = Transitions::white(width);
        transitions.scan(page.row(0));
        let (columns, sentinels) = transitions.columns().split_at(transitions.columns().len() - SENTINELS);
        assert_eq!(sentinels, [width; SENTINELS]);
        columns.to_vec()
    }

    #[test]
    fn changes_are_found_across_word_borders() {
        let cases: [(u32, &[u32], &[u32]); 7] = [
            (10, &[], &[]),
            (10, &[0], &[0, 1]),
            (10, &[9], &[9]),
            (64, &[63], &[63]),
            (130, &[63, 64], &[63, 65]),
            (130, &[62, 63, 65, 128, 129], &[62, 64, 65, 66, 128]),
            (3, &[0, 1, 2], &[0]),
        ];
        for (width, black, expected) in cases {
            assert_eq!(changes(width, black), expected, "{width} {black:?}");
        }
    }
}
