//! Multi-page TIFF of fax pages: class F (RFC 2306) with T.6 coding.
//!
//! Owns the one file a fax rests in, and the decision whether a foreign TIFF is already such a file
//! ("fax-ready"), so that its strips can be sent as they are. Refuses every other kind of TIFF: those are
//! pictures, and the converter's. Strips are handed on without being decoded.

mod read;
mod write;

pub use read::read;
pub use write::write;

/// Most pages of a file. A longer one would be a call of more than four hours.
pub const MAX_PAGES: usize = 500;

/// Tags of TIFF 6.0 and RFC 2306 that a fax page has or that forbid it to be one.
mod tag {
    pub(super) const NEW_SUBFILE_TYPE: u16 = 254;
    pub(super) const IMAGE_WIDTH: u16 = 256;
    pub(super) const IMAGE_LENGTH: u16 = 257;
    pub(super) const BITS_PER_SAMPLE: u16 = 258;
    pub(super) const COMPRESSION: u16 = 259;
    pub(super) const PHOTOMETRIC_INTERPRETATION: u16 = 262;
    pub(super) const FILL_ORDER: u16 = 266;
    pub(super) const STRIP_OFFSETS: u16 = 273;
    pub(super) const ORIENTATION: u16 = 274;
    pub(super) const SAMPLES_PER_PIXEL: u16 = 277;
    pub(super) const ROWS_PER_STRIP: u16 = 278;
    pub(super) const STRIP_BYTE_COUNTS: u16 = 279;
    pub(super) const X_RESOLUTION: u16 = 282;
    pub(super) const Y_RESOLUTION: u16 = 283;
    pub(super) const T6_OPTIONS: u16 = 293;
    pub(super) const RESOLUTION_UNIT: u16 = 296;
    pub(super) const PAGE_NUMBER: u16 = 297;
}

/// Field types of TIFF 6.0, section 2.
mod kind {
    pub(super) const BYTE: u16 = 1;
    pub(super) const SHORT: u16 = 3;
    pub(super) const LONG: u16 = 4;
    pub(super) const RATIONAL: u16 = 5;
}

/// Compression 4: T.6.
const COMPRESSION_T6: u32 = 4;
/// PhotometricInterpretation 0: MinIsWhite.
const MIN_IS_WHITE: u32 = 0;
/// ResolutionUnit 2: inch.
const UNIT_INCH: u32 = 2;

/// Why a file was not read as fax pages. Pages count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TiffError {
    /// The file does not start like a TIFF with 32-bit offsets.
    #[error("not a classic TIFF file")]
    NotTiff,
    /// The file lists no page.
    #[error("the file has no pages")]
    NoPages,
    /// The file lists more than [`MAX_PAGES`].
    #[error("the file has more than {MAX_PAGES} pages")]
    TooManyPages,
    /// A sound page, as far as was looked, that cannot be sent as it is.
    #[error("page {page} is not fax-ready: {obstacle}")]
    NotFaxReady {
        /// The page.
        page: u32,
        /// What would have to be converted.
        obstacle: Obstacle,
    },
    /// The file contradicts itself.
    #[error("page {page} is damaged: {damage}")]
    Damaged {
        /// The page.
        page: u32,
        /// The contradiction.
        damage: Damage,
    },
}

/// What keeps a page from being sent as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A thumbnail or a mask of another page.
    #[error("it is a thumbnail or a mask")]
    Subfile,
    /// More than one bit or one sample for a pixel.
    #[error("it is not black and white")]
    Colours,
    /// Another compression than T.6, by its TIFF number.
    #[error("its compression is {0} instead of 4")]
    Compression(u32),
    /// T.6 with uncompressed mode, which no fax machine announces.
    #[error("it may use uncompressed mode")]
    UncompressedMode,
    /// Black is 0, or colours are looked up.
    #[error("white is not its lowest value")]
    Photometric,
    /// The first row is not the top, or the first column not the left.
    #[error("it is turned or mirrored")]
    Orientation,
    /// Several strips, or tiles.
    #[error("it is not one strip")]
    Strips,
    /// No row of a fax has this many pixels.
    #[error("it is {0} pixels wide")]
    Width(u32),
    /// No rows, or more than a page can have.
    #[error("it has {0} rows")]
    Height(u32),
    /// Neither standard, fine nor superfine.
    #[error("its resolution is not one of a fax")]
    Resolution,
    /// The strip does not end in EOFB, which a receiver waits for.
    #[error("its data has no end of block")]
    EndOfBlock,
}

/// How a file contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// An offset or a length points outside the file.
    #[error("it points outside the file")]
    OutsideFile,
    /// The list of pages leads back to an earlier one.
    #[error("the page list leads back to an earlier page")]
    PageLoop,
    /// The strips together are longer than the file, so that some share their bytes.
    #[error("pages share their data")]
    SharedData,
    /// A tag no page can do without is missing.
    #[error("tag {0} is missing")]
    MissingTag(u16),
    /// A tag has a type, count or value it cannot have.
    #[error("tag {0} cannot be understood")]
    BadTag(u16),
}

#[cfg(test)]
mod tests;
