//! Where a page of any size lands on the fax line.
//!
//! Owns the rule that turns inches of paper into rows and columns:
//! - A fax line is 1728 pixels over 215 mm (T.4 2.1), which both A4 and Letter fill almost exactly. What fits
//!   is sent at its true size and centred, because that is what the sender saw; it is never enlarged, since
//!   enlarging only costs line time. What is wider is shrunk until it fits.
//! - A landscape page that would be shrunk much is turned by a quarter instead, its top to the left, the way
//!   printers do it: turned text is read by turning the sheet, text shrunk to three quarters at 204 dpi often
//!   not at all.
//! - Length is kept: a fax page is as long as its content. Only absurd lengths are refused.
//!
//! Refuses sizes that are not finite and positive before anyone casts them to integers.

use super::ConvertError;
use crate::codec::page::Resolution;

/// Pixels of a fax line, in every resolution used here (T.4 2.1).
pub(super) const LINE_PIXELS: u32 = 1728;

/// The longest page. Receivers cut or split what is longer than their paper; about one metre lets through
/// every roll printout and web page that one would still send.
const MAX_LENGTH_INCHES: f64 = 40.0;

/// The largest side of a page: 14,400 units of 1/72 inch (ISO 32000-1 Annex C.2).
const MAX_SIDE_INCHES: f64 = 200.0;

/// The shortest page. Some receivers take a page of a few rows for a lost line.
const MIN_LENGTH_INCHES: f64 = 1.0;

/// How much larger a landscape page has to become by turning it. 10 × 7.5 inch slides, whose text is large,
/// stay upright (1.18); A4, Letter and 16:9 slides are turned (1.29 and more).
const TURN_GAIN: f64 = 1.2;

/// A page on the fax line. All lengths are pixels of the fax page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placement {
    /// The content is turned a quarter counter-clockwise; the other fields are those of the turned content.
    pub(super) turned: bool,
    /// White columns left of the content.
    pub(super) left: u32,
    /// Columns of content, 1 to 1728.
    pub(super) content_width: u32,
    /// Rows of content, at least 1.
    pub(super) content_height: u32,
    /// Rows of the page: the content's, or the shortest page's.
    pub(super) page_height: u32,
}

/// Places a page of `width` × `height` inches.
///
/// # Errors
/// [`ConvertError::TooLarge`] naming `page` (from 1), for sizes that no page has.
pub(super) fn place(
    width: f64,
    height: f64,
    resolution: Resolution,
    page: u32,
) -> Result<Placement, ConvertError> {
    let sound = |side: f64| side.is_finite() && side > 0.0 && side <= MAX_SIDE_INCHES;
    let too_large = || ConvertError::TooLarge {
        page: Some(page),
        dimensions: format!("{width:.1} × {height:.1} inches"),
    };
    if !sound(width) || !sound(height) {
        return Err(too_large());
    }
    let line_inches = f64::from(LINE_PIXELS) / f64::from(resolution.x_dpi);
    let scale_upright = (line_inches / width).min(1.0);
    let scale_turned = (line_inches / height).min(1.0);
    let turned = width > height
        && scale_turned > scale_upright * TURN_GAIN
        && width * scale_turned <= MAX_LENGTH_INCHES;
    let (across, along, scale) =
        if turned { (height, width, scale_turned) } else { (width, height, scale_upright) };
    if along * scale > MAX_LENGTH_INCHES {
        return Err(too_large());
    }
    let content_width = pixels(across * scale, resolution.x_dpi).min(LINE_PIXELS);
    let content_height = pixels(along * scale, resolution.y_dpi);
    Ok(Placement {
        turned,
        left: (LINE_PIXELS - content_width) / 2,
        content_width,
        content_height,
        page_height: content_height.max(pixels(MIN_LENGTH_INCHES, resolution.y_dpi)),
    })
}

/// `inches`, which has been bounded, in pixels; at least one.
fn pixels(inches: f64, dpi: u16) -> u32 {
    (inches * f64::from(dpi)).round().max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIMETRES: f64 = 1.0 / 25.4;

    #[test]
    fn paper_sizes_land_as_a_fax_user_expects() {
        // (what, width, height, turned, content width, content height)
        let cases = [
            ("A4", 210.0 * MILLIMETRES, 297.0 * MILLIMETRES, false, 1687, 2292),
            ("Letter", 8.5, 11.0, false, 1728, 2149),
            ("Legal", 8.5, 14.0, false, 1728, 2735),
            ("A4 landscape", 297.0 * MILLIMETRES, 210.0 * MILLIMETRES, true, 1687, 2292),
            ("A3", 297.0 * MILLIMETRES, 420.0 * MILLIMETRES, false, 1728, 2348),
            ("A5", 148.0 * MILLIMETRES, 210.0 * MILLIMETRES, false, 1189, 1620),
            ("4:3 slide", 10.0, 7.5, false, 1728, 1245),
            ("16:9 slide", 40.0 / 3.0, 7.5, true, 1530, 2613),
        ];
        for (what, width, height, turned, content_width, content_height) in cases {
            let placed = place(width, height, Resolution::FINE, 1).unwrap();
            assert_eq!(placed.turned, turned, "{what}");
            assert_eq!(
                (placed.content_width, placed.content_height),
                (content_width, content_height),
                "{what}"
            );
            assert_eq!(placed.left, (1728 - content_width) / 2, "{what}");
        }
    }

    #[test]
    fn a_stamp_keeps_its_size_on_a_page_of_an_inch() {
        let placed = place(0.5, 0.25, Resolution::FINE, 1).unwrap();
        assert_eq!((placed.content_width, placed.content_height), (102, 49));
        assert_eq!(placed.page_height, 196);
    }

    #[test]
    fn absurd_sizes_are_refused() {
        for (width, height) in [
            (f64::NAN, 11.0),
            (8.5, f64::INFINITY),
            (0.0, 11.0),
            (8.5, -1.0),
            (14_000_000.0 / 72.0, 14_000_000.0 / 72.0),
            (14_000_000.0 / 72.0, 11.0),
            (8.0, 41.0),
            (0.01, 199.0),
        ] {
            let placed = place(width, height, Resolution::SUPERFINE, 4);
            assert!(
                matches!(placed, Err(ConvertError::TooLarge { page: Some(4), .. })),
                "{width} × {height}: {placed:?}"
            );
        }
    }

    #[test]
    fn the_longest_page_stays_within_a_sixteen_bit_row_count() {
        let placed = place(8.0, 40.0, Resolution::SUPERFINE, 1).unwrap();
        assert!(placed.page_height < u32::from(u16::MAX));
    }
}
