//! A page ready for the line.
//!
//! Owns what a page is between the converter and the machine at the other end: a T.6 strip with its size and
//! resolution. Refuses to change the strip: what was converted once is what is stored, shown and sent.

use std::fmt;

use super::raster::Bitmap;
use super::t6;

/// Dots per inch, horizontally and vertically.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// Dots per inch along a row.
    pub x_dpi: u16,
    /// Rows per inch.
    pub y_dpi: u16,
}

impl Resolution {
    /// 3.85 lines/mm.
    pub const STANDARD: Self = Self { x_dpi: 204, y_dpi: 98 };
    /// 7.7 lines/mm.
    pub const FINE: Self = Self { x_dpi: 204, y_dpi: 196 };
    /// 15.4 lines/mm.
    pub const SUPERFINE: Self = Self { x_dpi: 204, y_dpi: 391 };

    /// The resolutions that have a name, coarsest first.
    const NAMED: [(&str, Self); 3] =
        [("standard", Self::STANDARD), ("fine", Self::FINE), ("superfine", Self::SUPERFINE)];

    /// `standard`, `fine` or `superfine`; `None` for any other resolution.
    pub fn name(self) -> Option<&'static str> {
        Self::NAMED.iter().find(|(_, resolution)| *resolution == self).map(|(name, _)| *name)
    }

    /// The resolution called `standard`, `fine` or `superfine`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, resolution)| *resolution)
    }

    /// The named resolution within 3 % of the given dots per inch in both directions: machines write 200 x 200
    /// and 203.2 x 195.58 for what is one resolution to a fax.
    pub fn nearest_named(x_dpi: f64, y_dpi: f64) -> Option<Self> {
        let near = |measured: f64, nominal: u16| (measured / f64::from(nominal) - 1.0).abs() <= 0.03;
        Self::NAMED
            .iter()
            .map(|(_, resolution)| *resolution)
            .find(|resolution| near(x_dpi, resolution.x_dpi) && near(y_dpi, resolution.y_dpi))
    }
}

/// A page ready for the line: one T.6 strip.
#[derive(Clone, PartialEq, Eq)]
pub struct FaxPage {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Dots per inch.
    pub resolution: Resolution,
    /// The rows coded by T.6 (MMR), most significant bit first, ended by EOFB.
    pub strip: Vec<u8>,
}

impl FaxPage {
    /// Codes a bitmap.
    pub fn from_bitmap(page: &Bitmap, resolution: Resolution) -> Self {
        Self { width: page.width(), height: page.height(), resolution, strip: t6::encode(page) }
    }

    /// Decodes the strip.
    ///
    /// # Errors
    /// [`t6::DecodeError`] unless the strip holds exactly the rows the page claims.
    pub fn to_bitmap(&self) -> Result<Bitmap, t6::DecodeError> {
        t6::decode(&self.strip, self.width, self.height)
    }

    /// Whether the strip can be decoded.
    ///
    /// # Errors
    /// Those of [`Self::to_bitmap`].
    pub fn check(&self) -> Result<(), t6::DecodeError> {
        t6::check(&self.strip, self.width, self.height)
    }

    /// Seconds the strip takes on a line of `bits_per_second`, without signalling or repeats; infinite at 0.
    pub fn seconds_at(&self, bits_per_second: u32) -> f64 {
        self.strip.len() as f64 * 8.0 / f64::from(bits_per_second)
    }
}

/// Page contents are health data: only sizes are shown.
impl fmt::Debug for FaxPage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FaxPage")
            .field("width", &self.width)
            .field("height", &self.height)
            .field("resolution", &self.resolution)
            .field("strip_bytes", &self.strip.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::samples;

    #[test]
    fn names_go_both_ways() {
        for name in ["standard", "fine", "superfine"] {
            assert_eq!(Resolution::from_name(name).and_then(Resolution::name), Some(name));
        }
        assert_eq!(Resolution::from_name("Fine"), None);
        assert_eq!(Resolution { x_dpi: 300, y_dpi: 300 }.name(), None);
    }

    #[test]
    fn near_resolutions_are_recognised() {
        let cases = [
            (204.0, 98.0, Some(Resolution::STANDARD)),
            (200.0, 100.0, Some(Resolution::STANDARD)),
            (200.0, 200.0, Some(Resolution::FINE)),
            (203.2, 195.58, Some(Resolution::FINE)),
            (200.0, 400.0, Some(Resolution::SUPERFINE)),
            (204.0, 208.0, None),
            (300.0, 300.0, None),
            (0.0, 0.0, None),
            (f64::NAN, 196.0, None),
            (f64::INFINITY, 196.0, None),
        ];
        for (x_dpi, y_dpi, expected) in cases {
            assert_eq!(Resolution::nearest_named(x_dpi, y_dpi), expected, "{x_dpi} x {y_dpi}");
        }
    }

    #[test]
    fn a_page_is_its_bitmap() {
        let bitmap = samples::text(1728, 80, 8);
        let page = FaxPage::from_bitmap(&bitmap, Resolution::FINE);
        assert_eq!(page.to_bitmap().unwrap(), bitmap);
        assert_eq!(page.check(), Ok(()));
        assert_eq!(page.seconds_at(14_400), page.strip.len() as f64 / 1800.0);
        assert!(page.seconds_at(0).is_infinite());
        let cut = FaxPage { height: 79, ..page };
        assert_eq!(cut.to_bitmap(), Err(t6::DecodeError::Rows { found: 80, expected: 79 }));
        assert_eq!(cut.check(), cut.to_bitmap().map(|_| ()));
    }

    #[test]
    fn debug_shows_no_contents() {
        let page = FaxPage { width: 8, height: 1, resolution: Resolution::FINE, strip: vec![251; 3] };
        let shown = format!("{page:?}");
        assert!(shown.contains("strip_bytes: 3") && !shown.contains("251"), "{shown}");
    }
}
