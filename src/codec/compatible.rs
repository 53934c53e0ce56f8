//! A page in the form that every fax machine takes.
//!
//! Owns: making a finer or wider page into one of standard resolution and A4 width, which a Group 3
//! machine must be able to receive (T.4, 2 and 3). Refuses: to lose black; a thin line may grow
//! thicker, and never goes.

use super::page::{FaxPage, Resolution};
use super::raster::Bitmap;
use super::t6;

/// Pixels in a row of 215 mm at 8 per mm (T.4, 2.2).
pub const WIDTH: u32 = 1728;

/// Whether every machine takes this page as it is.
pub fn is_compatible(page: &FaxPage) -> bool {
    page.width == WIDTH && page.resolution == Resolution::STANDARD
}

/// The page in standard resolution and A4 width; as it is, when it is that already.
///
/// # Errors
/// [`t6::DecodeError`] when the page cannot be decoded.
pub fn compatible(page: &FaxPage) -> Result<FaxPage, t6::DecodeError> {
    if is_compatible(page) {
        return Ok(page.clone());
    }
    let fine = page.to_bitmap()?;
    // A page that is shrunk to fit keeps its proportions.
    let above = u64::from(Resolution::STANDARD.y_dpi) * u64::from(WIDTH);
    let below = u64::from(page.resolution.y_dpi) * u64::from(page.width);
    let row_of = |y: u32| u32::try_from(u64::from(y) * above / below).unwrap_or(u32::MAX);
    let mut coarse = Bitmap::white(WIDTH, row_of(fine.height() - 1) + 1);
    for y in 0..fine.height() {
        if page.width == WIDTH {
            let target = coarse.row_mut(row_of(y));
            target.iter_mut().zip(fine.row(y)).for_each(|(target, source)| *target |= source);
        } else {
            let black = (0..page.width).filter(|x| fine.is_black(*x, y));
            black.for_each(|x| coarse.set_black(x * WIDTH / page.width, row_of(y)));
        }
    }
    Ok(FaxPage::from_bitmap(&coarse, Resolution::STANDARD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::samples;

    #[test]
    fn pairs_of_rows_become_one_and_nothing_black_goes() {
        let mut bitmap = Bitmap::white(1728, 7);
        for (x, y) in [(3, 0), (700, 1), (1727, 3), (9, 6)] {
            bitmap.set_black(x, y);
        }
        let page = compatible(&FaxPage::from_bitmap(&bitmap, Resolution::FINE)).unwrap();
        assert!(is_compatible(&page));
        let coarse = page.to_bitmap().unwrap();
        assert_eq!((coarse.width(), coarse.height()), (1728, 4));
        for (x, y) in [(3, 0), (700, 0), (1727, 1), (9, 3)] {
            assert!(coarse.is_black(x, y), "{x}, {y}");
        }
        let black: u32 = coarse.bits().iter().map(|byte| byte.count_ones()).sum();
        assert_eq!(black, 4);
        assert_eq!(compatible(&page).unwrap(), page, "once is enough");
    }

    #[test]
    fn other_sizes_keep_their_proportions() {
        let cases = [
            (1728, 400, Resolution::SUPERFINE, 101),
            (2048, 200, Resolution::FINE, 84),
            (2432, 100, Resolution::STANDARD, 71),
            (1728, 1, Resolution::FINE, 1),
        ];
        for (width, height, resolution, rows) in cases {
            let fine = FaxPage::from_bitmap(&samples::text(width, height, 3), resolution);
            let page = compatible(&fine).unwrap();
            assert_eq!((page.width, page.height), (1728, rows), "{width} x {height}");
            assert!(is_compatible(&page));
            let share = |page: &FaxPage| page.to_bitmap().unwrap().black_share();
            assert!(share(&page) >= share(&fine));
        }
        let damaged =
            FaxPage { height: 9, ..FaxPage::from_bitmap(&Bitmap::white(1728, 10), Resolution::FINE) };
        assert!(compatible(&damaged).is_err());
    }
}
