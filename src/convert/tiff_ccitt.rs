//! The CCITT compressions of TIFF, when the file is not fax-ready.
//!
//! Owns compression 2 (Modified Huffman, byte-aligned, without EOL), 3 (T.4, one- and two-dimensional) and 4
//! (T.6), in any number of strips, either fill order and either photometric sense (TIFF 6.0, sections 10 and
//! 11; TIFF/F RFC 2306). Lenient like fax machines are: rows that cannot be decoded are left white, but a
//! strip without one sound row is an error.

use ::tiff::decoder::Decoder;
use ::tiff::tags::Tag;
use hayro_ccitt::{DecodeSettings, DecoderContext, EncodingMode};
use std::io::Cursor;

use super::grey::GreyImage;
use super::tiff::tag;

/// `T4Options` bit 0: two-dimensional coding.
const T4_TWO_DIMENSIONAL: u32 = 1;

/// `FillOrder` 2: the first pixel is the lowest bit.
const LOWEST_BIT_FIRST: u32 = 2;

/// `PhotometricInterpretation` 1: zero bits are black.
const BLACK_IS_ZERO: u32 = 1;

/// How the strips of an image are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Compression 2.
    ModifiedHuffman,
    /// Compression 3; `true` for two-dimensional.
    T4(bool),
    /// Compression 4.
    T6,
}

impl Scheme {
    /// The scheme of the decoder's current image; `None` when it is no CCITT compression.
    pub(super) fn of(decoder: &mut Decoder<Cursor<&[u8]>>) -> Option<Self> {
        match tag(decoder, Tag::Compression)? {
            2 => Some(Self::ModifiedHuffman),
            3 => {
                let options = tag(decoder, Tag::Unknown(292)).unwrap_or(0);
                Some(Self::T4(options & T4_TWO_DIMENSIONAL != 0))
            }
            4 => Some(Self::T6),
            _ => None,
        }
    }

    /// Decodes the current image; black is 0, as in every grey image.
    ///
    /// # Errors
    /// What is wrong with the page, as a clause.
    pub(super) fn decode(
        self,
        decoder: &mut Decoder<Cursor<&[u8]>>,
        document: &[u8],
        width: u32,
        height: u32,
    ) -> Result<GreyImage, &'static str> {
        const NO_STRIPS: &str = "it has no image data";
        let offsets = decoder.get_tag_u64_vec(Tag::StripOffsets).map_err(|_| NO_STRIPS)?;
        let lengths = decoder.get_tag_u64_vec(Tag::StripByteCounts).map_err(|_| NO_STRIPS)?;
        let rows_per_strip = tag(decoder, Tag::RowsPerStrip).unwrap_or(height).clamp(1, height);
        let reversed = tag(decoder, Tag::FillOrder) == Some(LOWEST_BIT_FIRST);
        let black_is_zero = tag(decoder, Tag::PhotometricInterpretation) == Some(BLACK_IS_ZERO);

        let mut sink = LumaRows {
            width: width as usize,
            luma: Vec::with_capacity(width as usize * height as usize),
            black: if black_is_zero { 255 } else { 0 },
        };
        let mut first_row = 0;
        for (offset, length) in offsets.into_iter().zip(lengths) {
            let rows = rows_per_strip.min(height - first_row);
            if rows == 0 {
                break;
            }
            let strip = strip(document, offset, length).ok_or("its image data ends early")?;
            let bits: Vec<u8> = if reversed {
                strip.iter().map(|byte| byte.reverse_bits()).collect()
            } else {
                strip.to_vec()
            };
            let before = sink.luma.len();
            let mut context = DecoderContext::new(self.settings(width, rows));
            // Rows up to an error have been pushed; the rest of the strip stays white.
            let decoded = hayro_ccitt::decode(&bits, &mut sink, &mut context);
            if decoded.is_err() && sink.luma.len() == before {
                return Err("its fax data cannot be decoded");
            }
            first_row += rows;
            sink.luma.resize(first_row as usize * sink.width, 255 - sink.black);
        }
        if first_row == 0 {
            return Err(NO_STRIPS);
        }
        sink.luma.resize(height as usize * sink.width, 255 - sink.black);
        GreyImage::from_luma(width, height, sink.luma).map_err(|_| NO_STRIPS)
    }

    fn settings(self, columns: u32, rows: u32) -> DecodeSettings {
        let (encoding, end_of_line, rows_are_byte_aligned) = match self {
            Self::ModifiedHuffman => (EncodingMode::Group3_1D, false, true),
            Self::T4(false) => (EncodingMode::Group3_1D, true, false),
            Self::T4(true) => (EncodingMode::Group3_2D, true, false),
            Self::T6 => (EncodingMode::Group4, false, false),
        };
        DecodeSettings {
            columns,
            rows,
            end_of_block: self != Self::ModifiedHuffman,
            end_of_line,
            rows_are_byte_aligned,
            encoding,
            strict: false,
        }
    }
}

/// The bytes of a strip, cut at the end of the file.
fn strip(document: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let from_offset = document.get(usize::try_from(offset).ok()?..)?;
    let length = usize::try_from(length).ok()?.min(from_offset.len());
    (length > 0).then(|| &from_offset[..length])
}

/// Rows as luma.
struct LumaRows {
    width: usize,
    luma: Vec<u8>,
    black: u8,
}

impl hayro_ccitt::Decoder for LumaRows {
    fn push_row(&mut self, changes: &[u32]) {
        let start = self.luma.len();
        self.luma.resize(start + self.width, 255 - self.black);
        let row = &mut self.luma[start..];
        for run in changes.chunks(2) {
            let from = (run[0] as usize).min(row.len());
            let to = run.get(1).map_or(row.len(), |end| (*end as usize).min(row.len()));
            if from < to {
                row[from..to].fill(self.black);
            }
        }
    }
}
