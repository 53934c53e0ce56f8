//! A page ready for the line.

use super::raster::Bitmap;
use super::t6;

/// Dots per inch, across and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// Dots per inch across: 204 on every fax (8 dots/mm).
    pub x_dpi: u16,
    /// Rows per inch.
    pub y_dpi: u16,
}

impl Resolution {
    /// 3.85 lines/mm (T.4 2.2).
    pub const STANDARD: Self = Self { x_dpi: 204, y_dpi: 98 };
    /// 7.7 lines/mm.
    pub const FINE: Self = Self { x_dpi: 204, y_dpi: 196 };
    /// 15.4 lines/mm.
    pub const SUPERFINE: Self = Self { x_dpi: 204, y_dpi: 391 };

    const NAMED: [(&'static str, Self); 3] =
        [("standard", Self::STANDARD), ("fine", Self::FINE), ("superfine", Self::SUPERFINE)];

    /// The name people use, if it has one.
    pub fn name(self) -> Option<&'static str> {
        Self::NAMED.into_iter().find(|(_, resolution)| *resolution == self).map(|(name, _)| name)
    }

    /// The resolution of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|(known, _)| *known == name).map(|(_, resolution)| resolution)
    }

    /// The fax resolution within 3 % of these dots per inch, if there is one.
    pub fn nearest_named(x_dpi: f64, y_dpi: f64) -> Option<Self> {
        let near = |value: f64, wanted: u16| (value / f64::from(wanted) - 1.0).abs() <= 0.03;
        Self::NAMED
            .into_iter()
            .map(|(_, resolution)| resolution)
            .find(|resolution| near(x_dpi, resolution.x_dpi) && near(y_dpi, resolution.y_dpi))
    }
}

/// One page as it travels: a single T.6 strip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaxPage {
    /// Dots across.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Dots per inch.
    pub resolution: Resolution,
    /// The T.6 (MMR) data, ended by EOFB.
    pub strip: Vec<u8>,
}

impl FaxPage {
    /// Codes a bitmap.
    pub fn from_bitmap(page: &Bitmap, resolution: Resolution) -> Self {
        Self { width: page.width(), height: page.height(), resolution, strip: t6::encode(page) }
    }

    /// The dots. Errors when the strip is damaged.
    pub fn to_bitmap(&self) -> Result<Bitmap, t6::DecodeError> {
        t6::decode(&self.strip, self.width, self.height)
    }

    /// Seconds the page data takes on the line at this speed, handshakes not counted.
    pub fn seconds_at(&self, bits_per_second: u32) -> f64 {
        self.strip.len() as f64 * 8.0 / f64::from(bits_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions_are_found_by_name_and_nearness() {
        for name in ["standard", "fine", "superfine"] {
            assert_eq!(Resolution::from_name(name).and_then(Resolution::name), Some(name));
        }
        assert_eq!(Resolution::nearest_named(203.2, 195.6), Some(Resolution::FINE));
        assert_eq!(Resolution::nearest_named(204.0, 98.0), Some(Resolution::STANDARD));
        assert_eq!(Resolution::nearest_named(300.0, 300.0), None);
        assert_eq!(Resolution::nearest_named(f64::NAN, 98.0), None);
    }
}
