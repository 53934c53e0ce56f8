//! PNG and JPEG to one page.
//!
//! Owns how an image without paper becomes one with it: its printed size ([`printed_size`], also for TIFF),
//! its density as the file states it, its orientation (EXIF), and its transparency, which is white. Refuses
//! images of more than [`MAX_PIXELS`] from their header, before memory is taken for them.

use std::io::Cursor;

use bytes::Bytes;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::binarise::{Regions, binarise};
use super::grey::GreyImage;
use super::layout::{LINE_PIXELS, place};
use super::{ConvertError, Emit, Options};
use crate::codec::page::FaxPage;

/// Pixels of an image: 600 dpi on A3 is 70 million, the largest cameras make 200.
pub(super) const MAX_PIXELS: u64 = 200_000_000;

/// Bytes a decoder may take at once: [`MAX_PIXELS`] in four bytes each.
pub(super) const MAX_DECODED_BYTES: u64 = 4 * MAX_PIXELS;

/// Densities that say something, in pixels per inch. 72 and 96 are what programs write that know nothing;
/// the coarsest that a fax writes is 98.
const TELLING_DENSITIES: std::ops::RangeInclusive<f64> = 97.0..=2400.0;

/// An image of unknown size is not blown up beyond this, so that a small logo stays small.
const LARGEST_PIXEL_PER_INCH: f64 = 72.0;

/// A4: an image of unknown size should fit one sheet.
const SHEET_INCHES: f64 = 297.0 / 25.4;

/// Pixels per inch across and along, as a file states them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Density {
    pub(super) across: f64,
    pub(super) along: f64,
}

/// Writes the image as one page.
///
/// # Errors
/// [`ConvertError::TooLarge`], [`ConvertError::Damaged`], and what `emit` refuses.
pub(super) fn convert(
    document: &Bytes,
    format: ImageFormat,
    options: Options,
    emit: Emit<'_>,
) -> Result<(), ConvertError> {
    if format == ImageFormat::Jpeg && !jpeg_is_complete(document) {
        return Err(ConvertError::damaged("the image data ends early"));
    }
    let mut reader = ImageReader::with_format(Cursor::new(document), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damage)?;
    let (width, height) = decoder.dimensions();
    check_pixels(width, height, None)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(damage)?;
    decoded.apply_orientation(orientation);
    let grey = to_grey(decoded)?;

    let mut density = stated_density(document, format);
    if swaps_sides(orientation) {
        density = density.map(|density| Density { across: density.along, along: density.across });
    }
    emit(page_of(&grey, density, options, 1)?)
}

/// A page of an image: its printed size, placed and made black and white. `page` is for the error, from 1.
///
/// # Errors
/// [`ConvertError::TooLarge`] when the printed size is no page.
pub(super) fn page_of(
    grey: &GreyImage,
    density: Option<Density>,
    options: Options,
    page: u32,
) -> Result<FaxPage, ConvertError> {
    let (width, height) = printed_size(grey.width(), grey.height(), density);
    let placement = place(width, height, options.resolution, page)?;
    let placed = grey.placed(&placement)?;
    let regions = Regions::one_picture(&placed);
    let bitmap = binarise(&placed, &regions, options.quality, options.resolution)?;
    Ok(FaxPage::from_bitmap(&bitmap, options.resolution))
}

/// # Errors
/// [`ConvertError::TooLarge`] for more than [`MAX_PIXELS`]. `page` counts from 1.
pub(super) fn check_pixels(width: u32, height: u32, page: Option<u32>) -> Result<(), ConvertError> {
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(ConvertError::TooLarge { page, dimensions: format!("{width} × {height} pixels") });
    }
    Ok(())
}

/// Inches of an image of `width` × `height` pixels.
///
/// A telling density is believed: a scan comes out at the size of its original. Otherwise the image fills
/// the line, as long as its pixels do not become coarse and it stays on one sheet; an image so long that
/// it would shrink to less than half the line, such as a long screenshot, keeps the width of the line.
fn printed_size(width: u32, height: u32, density: Option<Density>) -> (f64, f64) {
    let (width, height) = (f64::from(width), f64::from(height));
    let mut pixel_aspect = 1.0;
    if let Some(Density { across, along }) = density {
        if TELLING_DENSITIES.contains(&across) && TELLING_DENSITIES.contains(&along) {
            return (width / across, height / along);
        }
        if across > 0.0 && along > 0.0 && (0.2..5.0).contains(&(across / along)) {
            pixel_aspect = across / along;
        }
    }
    let line_inches = f64::from(LINE_PIXELS) / 204.0;
    let aspect = height * pixel_aspect / width;
    let full_width = line_inches.min(width / LARGEST_PIXEL_PER_INCH);
    let on_sheet = full_width.min(SHEET_INCHES / aspect);
    let printed_width = if on_sheet < full_width / 2.0 { full_width } else { on_sheet };
    (printed_width, printed_width * aspect)
}

/// Luma over white, whatever the samples were.
fn to_grey(decoded: DynamicImage) -> Result<GreyImage, ConvertError> {
    let (width, height) = (decoded.width(), decoded.height());
    let luma = if decoded.color().has_alpha() {
        decoded
            .into_luma_alpha8()
            .pixels()
            .map(|pixel| {
                let [luma, alpha] = pixel.0.map(u32::from);
                ((luma * alpha + 255 * (255 - alpha)) / 255) as u8
            })
            .collect()
    } else {
        decoded.into_luma8().into_raw()
    };
    GreyImage::from_luma(width, height, luma)
}

/// Whether a JPEG has its end of image after its last scan. The decoder fills up what is missing with grey, and
/// a page of which half is missing must not go out as if it were whole. Neither marker can occur within the
/// data of a scan (ITU-T T.81 B.1.1.5).
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    let (start_of_scan, end_of_image) = (last([0xFF, 0xDA]), last([0xFF, 0xD9]));
    start_of_scan.is_some() && end_of_image > start_of_scan
}

fn swaps_sides(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

fn damage(error: ImageError) -> ConvertError {
    match error {
        ImageError::Limits(_) => ConvertError::TooMuchMemory,
        ImageError::Unsupported(_) => {
            ConvertError::damaged("the image uses a feature nobody else reads either")
        }
        _ => ConvertError::damaged("the image data is broken or ends early"),
    }
}

/// The density the file states: PNG `pHYs` (PNG 11.3.4.3) or JFIF `APP0` (JFIF 1.02).
fn stated_density(bytes: &[u8], format: ImageFormat) -> Option<Density> {
    match format {
        ImageFormat::Png => png_density(bytes),
        ImageFormat::Jpeg => jfif_density(bytes),
        _ => None,
    }
}

fn png_density(bytes: &[u8]) -> Option<Density> {
    const SIGNATURE_BYTES: usize = 8;
    const INCHES_PER_METRE: f64 = 1.0 / 0.0254;
    let mut rest = bytes.get(SIGNATURE_BYTES..)?;
    loop {
        let (length, after_length) = rest.split_first_chunk::<4>()?;
        let (kind, body) = after_length.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        match kind {
            b"pHYs" => {
                let (across, body) = body.split_first_chunk::<4>()?;
                let (along, unit) = body.split_first_chunk::<4>()?;
                // Without a unit only the ratio counts, which is kept by leaving the numbers small.
                let scale = if unit.first() == Some(&1) { 1.0 / INCHES_PER_METRE } else { 1e-6 };
                return Some(Density {
                    across: f64::from(u32::from_be_bytes(*across)) * scale,
                    along: f64::from(u32::from_be_bytes(*along)) * scale,
                });
            }
            b"IDAT" | b"IEND" => return None,
            _ => rest = body.get(length.checked_add(4)?..)?,
        }
    }
}

fn jfif_density(bytes: &[u8]) -> Option<Density> {
    // SOI, APP0 marker, length, "JFIF\0", version, then the unit and two densities.
    let fields = bytes.strip_prefix(b"\xFF\xD8\xFF\xE0")?.get(2..)?;
    let fields = fields.strip_prefix(b"JFIF\0")?.get(2..)?;
    let [unit, across @ .., _, _] = fields.first_chunk::<5>()?;
    let along = fields.get(3..5)?;
    let scale = match unit {
        1 => 1.0,
        2 => 2.54,
        _ => 1e-6,
    };
    let value = |pair: &[u8]| Some(f64::from(u16::from_be_bytes(pair.try_into().ok()?)) * scale);
    Some(Density { across: value(across)?, along: value(along)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: (f64, f64), expected: (f64, f64)) -> bool {
        (found.0 - expected.0).abs() < 0.01 && (found.1 - expected.1).abs() < 0.01
    }

    #[test]
    fn printed_sizes() {
        let dpi = |across, along| Some(Density { across, along });
        let cases = [
            ("A4 scan at 300 dpi", 2480, 3508, dpi(300.0, 300.0), (8.27, 11.69)),
            ("standard fax", 1728, 1145, dpi(204.0, 98.0), (8.47, 11.68)),
            ("photo, unknown", 4000, 3000, None, (8.47, 6.35)),
            ("photo, 72 dpi means nothing", 4000, 3000, dpi(72.0, 72.0), (8.47, 6.35)),
            ("portrait photo stays on one sheet", 3000, 4500, None, (7.795, 11.69)),
            ("long screenshot keeps the line", 1080, 6000, None, (8.47, 47.06)),
            ("logo stays small", 144, 72, None, (2.0, 1.0)),
            ("ratio without unit", 1728, 1145, dpi(2e-6, 1e-6), (6.0 * 1.4117, 11.22)),
        ];
        for (what, width, height, density, expected) in cases {
            let found = printed_size(width, height, density);
            assert!(close(found, expected), "{what}: {found:?}");
        }
    }

    #[test]
    fn densities_are_read_from_the_headers() {
        let jfif = b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01\x02\x01\x01\x2C\0\xC8\0\0";
        assert_eq!(jfif_density(jfif), Some(Density { across: 300.0, along: 200.0 }));
        let mut png = b"\x89PNG\r\n\x1A\n\0\0\0\0tIME....\0\0\0\x09pHYs".to_vec();
        png.extend_from_slice(&11811u32.to_be_bytes());
        png.extend_from_slice(&11811u32.to_be_bytes());
        png.push(1);
        let density = png_density(&png).unwrap();
        assert!((density.across - 300.0).abs() < 0.1);
        for length in 0..png.len() - 9 {
            assert_eq!(png_density(&png[..length]), None);
        }
    }

    #[test]
    fn transparency_is_white() {
        let pixel = image::Rgba([0, 0, 0, 0]);
        let clear = DynamicImage::ImageRgba8(image::RgbaImage::from_pixel(2, 2, pixel));
        assert_eq!(to_grey(clear).unwrap().luma(), [255; 4]);
    }

    #[test]
    fn too_many_pixels_are_refused() {
        assert!(check_pixels(60_000, 60_000, None).is_err());
        assert!(check_pixels(9_921, 14_031, None).is_ok());
    }

    fn page_of_file(file: Vec<u8>, format: ImageFormat) -> Result<FaxPage, ConvertError> {
        let options = Options {
            resolution: crate::codec::page::Resolution::FINE,
            quality: crate::convert::Quality::Text,
        };
        let mut pages = Vec::new();
        convert(&file.into(), format, options, &mut |page| {
            pages.push(page);
            Ok(())
        })?;
        Ok(pages.remove(0))
    }

    /// White, with a black top half.
    fn written(format: ImageFormat) -> Vec<u8> {
        let picture =
            image::GrayImage::from_fn(400, 600, |_, y| image::Luma([if y < 300 { 10 } else { 245 }]));
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    #[test]
    fn png_and_jpeg_become_pages() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let page = page_of_file(written(format), format).unwrap();
            let bitmap = page.to_bitmap().unwrap();
            assert_eq!(bitmap.width(), LINE_PIXELS);
            // 600 pixels of 1/72 inch at 196 rows.
            assert!(bitmap.height().abs_diff(1633) < 2, "{}", bitmap.height());
            assert!(bitmap.is_black(864, 400) && !bitmap.is_black(864, 1200));
        }
    }

    #[test]
    fn exif_orientation_turns_the_picture() {
        let jpeg = written(ImageFormat::Jpeg);
        // An APP1 segment with one entry: Orientation 6, a quarter to the right.
        let mut turned = b"\xFF\xD8\xFF\xE1\0\x22Exif\0\0II\x2A\0\x08\0\0\0\x01\0".to_vec();
        turned.extend_from_slice(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0");
        turned.extend_from_slice(&jpeg[2..]);
        let page = page_of_file(turned, ImageFormat::Jpeg).unwrap();
        let bitmap = page.to_bitmap().unwrap();
        let middle = bitmap.height() / 2;
        // The black top is now on the right.
        assert!(bitmap.is_black(1200, middle) && !bitmap.is_black(500, middle));
    }

    #[test]
    fn cut_images_are_damaged() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let file = written(format);
            for length in [0, 10, 40, file.len() / 2] {
                assert!(
                    matches!(
                        page_of_file(file[..length].to_vec(), format),
                        Err(ConvertError::Damaged { .. })
                    ),
                    "{format:?} cut to {length}"
                );
            }
        }
    }
}
