//! TIFF to pages.
//!
//! Owns the choice between two ways. A fax-ready file passes untouched: its strips go out as they came in,
//! after each was decoded once to know that it can be. Everything else is decoded (CCITT by hayro's decoder,
//! because the `tiff` crate reads only Group 4; the rest by the `tiff` crate), brought to its printed size
//! and made black and white. Refuses sizes from the header before memory is taken, and page lists that loop.

use std::io::Cursor;

use ::tiff::decoder::ifd::Value;
use ::tiff::decoder::{Decoder, DecodingResult, Limits};
use ::tiff::tags::Tag;
use ::tiff::{ColorType, TiffError as ImageError, TiffFormatError};
use bytes::Bytes;

use super::grey::GreyImage;
use super::image::{Density, MAX_DECODED_BYTES, check_pixels, page_of};
use super::tiff_ccitt;
use super::{ConvertError, Emit, Options};
use crate::codec::page::FaxPage;
use crate::codec::tiff::{TiffError, read};

/// `NewSubfileType` bit 0: a reduced version of another page, such as a thumbnail (TIFF 6.0, section 8).
const REDUCED_IMAGE: u32 = 1;

/// `ResolutionUnit` centimetre (TIFF 6.0, section 8).
const UNIT_CENTIMETRE: u32 = 3;

/// Bytes of a single tag's value; strip tables of long scans are the largest.
const MAX_TAG_BYTES: usize = 4 << 20;

type Reader<'a> = Decoder<Cursor<&'a [u8]>>;

/// Writes the pages of a TIFF.
///
/// # Errors
/// [`ConvertError::TooManyPages`], [`ConvertError::TooLarge`] and [`ConvertError::Damaged`] naming the page,
/// [`ConvertError::NoPages`], and what `emit` refuses.
pub(super) fn convert(
    document: &Bytes,
    options: Options,
    max_pages: u32,
    emit: Emit<'_>,
) -> Result<(), ConvertError> {
    match read(document) {
        Ok(pages) => pass_through(pages, max_pages, emit),
        Err(TiffError::TooManyPages) => Err(ConvertError::TooManyPages { limit: max_pages }),
        Err(TiffError::NoPages) => Err(ConvertError::NoPages),
        // What is no sound fax may be a sound picture; the general reader has the last word.
        Err(TiffError::NotTiff | TiffError::NotFaxReady { .. } | TiffError::Damaged { .. }) => {
            read_images(document, options, max_pages, emit)
        }
    }
}

fn pass_through(pages: Vec<FaxPage>, max_pages: u32, emit: Emit<'_>) -> Result<(), ConvertError> {
    if pages.len() > max_pages as usize {
        return Err(ConvertError::TooManyPages { limit: max_pages });
    }
    for (page, number) in pages.into_iter().zip(1..) {
        page.check().map_err(|_| ConvertError::damaged_page(number, "its fax data cannot be decoded"))?;
        emit(page)?;
    }
    Ok(())
}

fn read_images(
    document: &Bytes,
    options: Options,
    max_pages: u32,
    emit: Emit<'_>,
) -> Result<(), ConvertError> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = usize::try_from(MAX_DECODED_BYTES).unwrap_or(usize::MAX);
    limits.intermediate_buffer_size = limits.decoding_buffer_size;
    limits.ifd_value_size = MAX_TAG_BYTES;
    let mut decoder =
        Decoder::new(Cursor::new(&document[..])).map_err(|error| damage(&error, 1))?.with_limits(limits);
    let mut written = 0;
    let mut number = 1;
    loop {
        let reduced = tag(&mut decoder, Tag::NewSubfileType).unwrap_or(0) & REDUCED_IMAGE != 0;
        if !reduced {
            if written == max_pages {
                return Err(ConvertError::TooManyPages { limit: max_pages });
            }
            let (grey, density) = read_image(&mut decoder, document, number)?;
            emit(page_of(&grey, density, options, number)?)?;
            written += 1;
        }
        if !decoder.more_images() {
            break;
        }
        // Thumbnails are not written, but a file of nothing else has to end as well.
        if number > max_pages.saturating_mul(2) {
            return Err(ConvertError::TooManyPages { limit: max_pages });
        }
        number += 1;
        decoder.next_image().map_err(|error| damage(&error, number))?;
    }
    if written == 0 {
        return Err(ConvertError::NoPages);
    }
    Ok(())
}

fn read_image(
    decoder: &mut Reader<'_>,
    document: &[u8],
    number: u32,
) -> Result<(GreyImage, Option<Density>), ConvertError> {
    let (width, height) = decoder.dimensions().map_err(|error| damage(&error, number))?;
    check_pixels(width, height, Some(number))?;
    let density = density(decoder);
    let grey = match tiff_ccitt::Scheme::of(decoder) {
        Some(scheme) => scheme
            .decode(decoder, document, width, height)
            .map_err(|cause| ConvertError::damaged_page(number, cause))?,
        None => {
            let colour = decoder.colortype().map_err(|error| damage(&error, number))?;
            let samples = decoder.read_image().map_err(|error| damage(&error, number))?;
            let palette = palette(decoder);
            to_grey(&samples, colour, palette.as_deref(), width, height)
                .ok_or_else(|| ConvertError::damaged_page(number, "its kind of colour is not known"))?
        }
    };
    Ok((grey, density))
}

/// An unsigned tag of the current image.
pub(super) fn tag(decoder: &mut Reader<'_>, tag: Tag) -> Option<u32> {
    decoder.find_tag_unsigned(tag).ok().flatten()
}

/// Pixels per inch. Without a unit the numbers are only a ratio, and are made too small to be believed.
fn density(decoder: &mut Reader<'_>) -> Option<Density> {
    let mut ratio = |tag| match decoder.get_tag(tag).ok()? {
        Value::Rational(dots, units) if units > 0 => Some(f64::from(dots) / f64::from(units)),
        other => other.into_f64().ok(),
    };
    let (across, along) = (ratio(Tag::XResolution)?, ratio(Tag::YResolution)?);
    let scale = match tag(decoder, Tag::ResolutionUnit) {
        Some(1) => 1e-6,
        Some(UNIT_CENTIMETRE) => 2.54,
        _ => 1.0,
    };
    Some(Density { across: across * scale, along: along * scale })
}

/// The luma of each palette entry.
fn palette(decoder: &mut Reader<'_>) -> Option<Vec<u8>> {
    let entries = decoder.get_tag_u16_vec(Tag::ColorMap).ok()?;
    let size = entries.len() / 3;
    // All reds, then all greens, then all blues, in 16 bits.
    let (red, rest) = entries.split_at(size);
    let (green, blue) = rest.split_at(size);
    Some((0..size).map(|index| luma(red[index], green[index], blue[index])).collect())
}

/// Luma of ITU-R BT.601 from samples of 16 bits.
fn luma(red: u16, green: u16, blue: u16) -> u8 {
    ((u32::from(red) * 77 + u32::from(green) * 150 + u32::from(blue) * 29) >> 16) as u8
}

/// Luma over white. `None` for colours that no scanner or office program writes.
fn to_grey(
    samples: &DecodingResult,
    colour: ColorType,
    palette: Option<&[u8]>,
    width: u32,
    height: u32,
) -> Option<GreyImage> {
    let pixels = width as usize * height as usize;
    // Samples as 16 bits, by index.
    let sample: Box<dyn Fn(usize) -> u16 + '_> = match samples {
        DecodingResult::U8(values) => {
            Box::new(|index| values.get(index).map_or(u16::MAX, |value| u16::from(*value) * 257))
        }
        DecodingResult::U16(values) => Box::new(|index| values.get(index).copied().unwrap_or(u16::MAX)),
        _ => return None,
    };
    let over_white = |luma: u8, alpha: u16| {
        let alpha = u32::from(alpha >> 8);
        ((u32::from(luma) * alpha + 255 * (255 - alpha)) / 255) as u8
    };
    let luma_of: Vec<u8> = match colour {
        ColorType::Gray(bits @ (1 | 2 | 4)) => {
            let levels = unpack(samples, bits, width, height)?;
            let brightest = u16::from((1u8 << bits) - 1);
            levels.iter().map(|level| (u16::from(*level) * 255 / brightest) as u8).collect()
        }
        ColorType::Palette(bits @ (1 | 2 | 4 | 8)) => {
            let indices = unpack(samples, bits, width, height)?;
            let palette = palette?;
            indices.iter().map(|index| palette.get(usize::from(*index)).copied().unwrap_or(u8::MAX)).collect()
        }
        // The first sample of YCbCr is the luma.
        ColorType::Gray(8 | 16) => (0..pixels).map(|at| (sample(at) >> 8) as u8).collect(),
        ColorType::YCbCr(8) => (0..pixels).map(|at| (sample(at * 3) >> 8) as u8).collect(),
        ColorType::GrayA(8 | 16) => {
            (0..pixels).map(|at| over_white((sample(at * 2) >> 8) as u8, sample(at * 2 + 1))).collect()
        }
        ColorType::RGB(8 | 16) => {
            (0..pixels).map(|at| luma(sample(at * 3), sample(at * 3 + 1), sample(at * 3 + 2))).collect()
        }
        ColorType::RGBA(8 | 16) => (0..pixels)
            .map(|at| {
                let luma = luma(sample(at * 4), sample(at * 4 + 1), sample(at * 4 + 2));
                over_white(luma, sample(at * 4 + 3))
            })
            .collect(),
        ColorType::CMYK(8 | 16) => (0..pixels)
            .map(|at| {
                let black = u32::from(u16::MAX - sample(at * 4 + 3));
                let ink = |index| {
                    (u32::from(u16::MAX - sample(at * 4 + index)) * black / u32::from(u16::MAX)) as u16
                };
                luma(ink(0), ink(1), ink(2))
            })
            .collect(),
        _ => return None,
    };
    GreyImage::from_luma(width, height, luma_of).ok()
}

/// Samples of 1, 2, 4 or 8 bits, packed into rows of whole bytes, as one byte each.
fn unpack(samples: &DecodingResult, bits: u8, width: u32, height: u32) -> Option<Vec<u8>> {
    let DecodingResult::U8(bytes) = samples else {
        return None;
    };
    let in_byte = usize::from(8 / bits);
    let stride = (width as usize).div_ceil(in_byte);
    let mask = u8::MAX >> (8 - bits);
    let mut unpacked = Vec::with_capacity(width as usize * height as usize);
    for row in bytes.chunks_exact(stride).take(height as usize) {
        unpacked.extend((0..width as usize).map(|x| {
            let shift = (in_byte - 1 - x % in_byte) * usize::from(bits);
            row[x / in_byte] >> shift & mask
        }));
    }
    Some(unpacked)
}

fn damage(error: &ImageError, number: u32) -> ConvertError {
    let cause = match error {
        ImageError::LimitsExceeded => return ConvertError::TooMuchMemory,
        ImageError::UnsupportedError(_) => "it uses a TIFF feature that is not supported",
        ImageError::FormatError(TiffFormatError::CycleInOffsets) => {
            "its list of pages leads back to an earlier page"
        }
        _ => "its image data is broken or ends early",
    };
    ConvertError::damaged_page(number, cause)
}

#[cfg(test)]
mod tests;
