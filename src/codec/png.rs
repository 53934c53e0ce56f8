//! A page as a PNG: one bit a dot, exactly what is transmitted; or smaller, in greys, for a list.
//!
//! Owns the file format and the scaling down. Refuses to scale up.

use png::{BitDepth, ColorType, Compression, Encoder, PixelDimensions, Unit};

use super::page::Resolution;
use super::raster::Bitmap;

/// The PNG could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the page cannot be written as PNG")]
pub struct PngError(#[from] png::EncodingError);

/// Writes the page: greyscale, one bit a dot, 0 = black; with `resolution`, viewers show it in the
/// right proportions.
pub fn encode(page: &Bitmap, resolution: Option<Resolution>) -> Result<Vec<u8>, PngError> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, page.width(), page.height());
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::One);
    encoder.set_compression(Compression::Fast);
    if let Some(resolution) = resolution {
        encoder.set_pixel_dims(Some(PixelDimensions {
            xppu: per_metre(resolution.x_dpi),
            yppu: per_metre(resolution.y_dpi),
            unit: Unit::Meter,
        }));
    }
    let mut writer = encoder.write_header()?;
    let inverted: Vec<u8> = page.bits().iter().map(|byte| !byte).collect();
    writer.write_image_data(&inverted)?;
    writer.finish()?;
    Ok(file)
}

/// Writes a picture of the page `width` pixels wide, or as wide as the page if that is less, with the
/// proportions of the paper; a pixel is as grey as the dots under it are black.
pub fn encode_scaled(page: &Bitmap, resolution: Resolution, width: u32) -> Result<Vec<u8>, PngError> {
    let width = width.clamp(1, page.width());
    let proportion = f64::from(resolution.x_dpi) / f64::from(resolution.y_dpi);
    let height = f64::from(page.height()) * f64::from(width) / f64::from(page.width()) * proportion;
    // A row of the picture has at least one row of dots under it.
    let height = (height.round() as u32).clamp(1, page.height().max(1));
    let edge = |position: u32, of: u32, dots: u32| {
        u32::try_from(u64::from(position) * u64::from(dots) / u64::from(of)).unwrap_or(dots)
    };
    let mut greys = Vec::with_capacity(width as usize * height as usize);
    for y in 0..height {
        let rows = edge(y, height, page.height())..edge(y + 1, height, page.height());
        for x in 0..width {
            let columns = edge(x, width, page.width())..edge(x + 1, width, page.width());
            let dots = rows.len() * columns.len();
            let black = rows.clone().flat_map(|row| columns.clone().map(move |column| (column, row)));
            let black = black.filter(|(column, row)| page.is_black(*column, *row)).count();
            greys.push(255 - u8::try_from(black * 255 / dots.max(1)).unwrap_or(u8::MAX));
        }
    }
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, width, height);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&greys)?;
    writer.finish()?;
    Ok(file)
}

fn per_metre(dpi: u16) -> u32 {
    (f64::from(dpi) / 0.0254).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::samples;

    #[test]
    fn a_small_picture_has_the_proportions_of_the_paper() {
        let mut page = Bitmap::white(1728, 1078);
        (0..1078).flat_map(|y| (0..864).map(move |x| (x, y))).for_each(|(x, y)| page.set_black(x, y));
        // 98 rows to the inch are about twice as far apart as the dots of a row.
        for (resolution, width, size) in [
            (Resolution::STANDARD, 100, (100, 130)),
            (Resolution::FINE, 100, (100, 65)),
            (Resolution::FINE, 9999, (1728, 1078)),
        ] {
            let file = encode_scaled(&page, resolution, width).unwrap();
            let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
            assert_eq!(reader.info().size(), size);
            let mut greys = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut greys).unwrap();
            let (left, right) = (greys[10], greys[size.0 as usize - 10]);
            assert_eq!((left, right), (0, 255), "the left half is black");
        }
    }

    #[test]
    fn dots_read_back() {
        for (name, page) in samples::pages() {
            let file = encode(&page, Some(Resolution::FINE)).unwrap();
            let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
            let mut bits = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut bits).unwrap();
            for byte in &mut bits {
                *byte = !*byte;
            }
            assert!(Bitmap::from_rows(page.width(), page.height(), bits).unwrap() == page, "{name}");
        }
    }
}
