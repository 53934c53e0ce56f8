//! A page as bits.
//!
//! Owns the one layout every codec here agrees on. Refuses greys and resolutions: a bitmap knows only pixels.

use std::fmt;
use std::ops::Range;

/// One page as bits: rows packed most significant bit first, 1 = black, padding bits of a row zero.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitmap {
    width: u32,
    height: u32,
    stride: usize,
    bits: Vec<u8>,
}

/// Why bytes are not the rows of a bitmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RasterError {
    /// The bytes are not `height` rows of `width.div_ceil(8)` bytes each.
    #[error("{width} x {height} pixels do not take {bytes} bytes")]
    Length {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes that were given.
        bytes: usize,
    },
}

impl Bitmap {
    /// A white page of `width` x `height` pixels.
    pub fn white(width: u32, height: u32) -> Self {
        let stride = stride_of(width);
        Self { width, height, stride, bits: vec![0; stride * height as usize] }
    }

    /// A page from rows of `width.div_ceil(8)` bytes each; padding bits are cleared.
    ///
    /// # Errors
    /// [`RasterError::Length`] unless `bits` is exactly `height` such rows.
    pub fn from_rows(width: u32, height: u32, mut bits: Vec<u8>) -> Result<Self, RasterError> {
        let stride = stride_of(width);
        if stride.checked_mul(height as usize) != Some(bits.len()) {
            return Err(RasterError::Length { width, height, bytes: bits.len() });
        }
        if !width.is_multiple_of(8) {
            let kept = !(u8::MAX >> (width % 8));
            for row in bits.chunks_exact_mut(stride) {
                row[stride - 1] &= kept;
            }
        }
        Ok(Self { width, height, stride, bits })
    }

    /// Pixels in a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Bytes in a row.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Row `y`, counted from the top.
    ///
    /// # Panics
    /// If `y` is not below the height.
    pub fn row(&self, y: u32) -> &[u8] {
        let start = y as usize * self.stride;
        &self.bits[start..start + self.stride]
    }

    /// Row `y` for writing. The padding bits must stay zero.
    ///
    /// # Panics
    /// If `y` is not below the height.
    pub fn row_mut(&mut self, y: u32) -> &mut [u8] {
        let start = y as usize * self.stride;
        &mut self.bits[start..start + self.stride]
    }

    /// All rows, top first, without gaps.
    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// Whether the pixel at column `x` of row `y` is black; outside the page all is white.
    pub fn is_black(&self, x: u32, y: u32) -> bool {
        self.contains(x, y) && self.row(y)[x as usize / 8] & (0x80 >> (x % 8)) != 0
    }

    /// Makes the pixel at column `x` of row `y` black; outside the page there is nothing to do.
    pub fn set_black(&mut self, x: u32, y: u32) {
        if self.contains(x, y) {
            self.row_mut(y)[x as usize / 8] |= 0x80 >> (x % 8);
        }
    }

    /// Black pixels as a share of all, from 0.0 to 1.0; a page without pixels is white.
    pub fn black_share(&self) -> f64 {
        let black: u64 = self.bits.iter().map(|byte| u64::from(byte.count_ones())).sum();
        let all = u64::from(self.width) * u64::from(self.height);
        black as f64 / all.max(1) as f64
    }

    fn contains(&self, x: u32, y: u32) -> bool {
        x < self.width && y < self.height
    }
}

/// Page contents are health data: only the size is shown.
impl fmt::Debug for Bitmap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Bitmap")
            .field("width", &self.width)
            .field("height", &self.height)
            .finish_non_exhaustive()
    }
}

/// Makes a stretch of pixels of one row black. The range must lie within the row.
pub(super) fn blacken(row: &mut [u8], pixels: Range<u32>) {
    if pixels.is_empty() {
        return;
    }
    let (first, last) = (pixels.start as usize / 8, (pixels.end - 1) as usize / 8);
    let from_start = u8::MAX >> (pixels.start % 8);
    let to_end = u8::MAX << (7 - (pixels.end - 1) % 8);
    if first == last {
        row[first] |= from_start & to_end;
    } else {
        row[first] |= from_start;
        row[first + 1..last].fill(u8::MAX);
        row[last] |= to_end;
    }
}

fn stride_of(width: u32) -> usize {
    width.div_ceil(8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_to_fit_the_size() {
        assert!(Bitmap::from_rows(9, 2, vec![0; 4]).is_ok());
        for bytes in [0, 3, 5] {
            let refused = Bitmap::from_rows(9, 2, vec![0; bytes]).unwrap_err();
            assert_eq!(refused, RasterError::Length { width: 9, height: 2, bytes });
        }
        assert!(Bitmap::from_rows(u32::MAX, u32::MAX, Vec::new()).is_err());
    }

    #[test]
    fn padding_is_cleared() {
        let page = Bitmap::from_rows(9, 2, vec![0xff; 4]).unwrap();
        assert_eq!(page.bits(), [0xff, 0x80, 0xff, 0x80]);
        assert_eq!(page.black_share(), 1.0);
    }

    #[test]
    fn single_pixels_are_most_significant_bit_first() {
        let mut page = Bitmap::white(10, 3);
        page.set_black(0, 1);
        page.set_black(9, 1);
        page.set_black(10, 1);
        page.set_black(0, 3);
        assert_eq!(page.bits(), [0, 0, 0x80, 0x40, 0, 0]);
        assert!(page.is_black(9, 1) && !page.is_black(8, 1) && !page.is_black(10, 1));
        assert_eq!(page.black_share(), 2.0 / 30.0);
        assert_eq!(Bitmap::white(0, 0).black_share(), 0.0);
    }

    #[test]
    fn stretches_equal_their_pixels_one_by_one() {
        for start in 0..40 {
            for end in start..=40 {
                let mut stretch = Bitmap::white(40, 1);
                blacken(stretch.row_mut(0), start..end);
                let mut single = Bitmap::white(40, 1);
                (start..end).for_each(|x| single.set_black(x, 0));
                assert_eq!(stretch, single, "{start}..{end}");
            }
        }
    }

    #[test]
    fn debug_shows_no_contents() {
        assert_eq!(format!("{:?}", Bitmap::white(8, 1)), "Bitmap { width: 8, height: 1, .. }");
    }
}
