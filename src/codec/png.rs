//! A page as a one-bit PNG, dot for dot.
//!
//! Owns the file format only. Refuses grey: what is shown is exactly what is transmitted.

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

fn per_metre(dpi: u16) -> u32 {
    (f64::from(dpi) / 0.0254).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::samples;

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
