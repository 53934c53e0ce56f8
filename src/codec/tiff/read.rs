//! Reading: which pages can be sent as they are.
//!
//! Every offset is checked against the file, each directory is walked once, and what is copied is never more
//! than the file itself.

use super::{COMPRESSION_T6, Damage, MAX_PAGES, MIN_IS_WHITE, Obstacle, TiffError, UNIT_INCH, kind, tag};
use crate::codec::page::{FaxPage, Resolution};
use crate::codec::t6;

/// Widths T.30 knows for 204 dots per inch: A4, B4, A3.
const FAX_WIDTHS: [u32; 3] = [1728, 2048, 2432];

/// ResolutionUnit 3: centimetre.
const UNIT_CENTIMETRE: u32 = 3;
const CENTIMETRES_PER_INCH: f64 = 2.54;

/// NewSubfileType bits 0 and 2: a reduced version of another page, and a mask.
const SUBFILE_REDUCED_OR_MASK: u32 = 0b101;

/// T6Options bit 1: uncompressed mode may occur.
const T6_UNCOMPRESSED: u32 = 0b10;

/// Bytes of a directory entry, and where in it the value or its offset stands.
const ENTRY_BYTES: usize = 12;
const ENTRY_VALUE: usize = 8;

/// Reads the pages of a fax-ready file: every page black on white, one T.6 strip ended by EOFB, as wide as a
/// fax, standard, fine or superfine. Strips stored least significant bit first are turned round; zero bytes
/// behind the EOFB are dropped.
///
/// The strips are not decoded: [`FaxPage::to_bitmap`] tells whether their rows are sound.
///
/// # Errors
/// [`TiffError::NotFaxReady`] where another reader may find a picture; the rest where none will.
pub fn read(bytes: &[u8]) -> Result<Vec<FaxPage>, TiffError> {
    let file = File::open(bytes).ok_or(TiffError::NotTiff)?;
    let damaged = |page: usize, damage| TiffError::Damaged { page: page as u32, damage };
    let mut pages: Vec<FaxPage> = Vec::new();
    let mut directories: Vec<u32> = Vec::new();
    let mut strip_bytes = 0;
    let mut next = file.long(FIRST_DIRECTORY_LINK).map_err(|_| TiffError::NotTiff)?;
    while next != 0 {
        let number = pages.len() + 1;
        if directories.contains(&next) {
            return Err(damaged(number, Damage::PageLoop));
        }
        if number > MAX_PAGES {
            return Err(TiffError::TooManyPages);
        }
        directories.push(next);
        let directory = Directory::parse(&file, next as usize).map_err(|damage| damaged(number, damage))?;
        let page = directory.fax_page().map_err(|unfit| match unfit {
            Unfit::Obstacle(obstacle) => TiffError::NotFaxReady { page: number as u32, obstacle },
            Unfit::Damage(damage) => damaged(number, damage),
        })?;
        strip_bytes += page.strip.len();
        // Many pages that point to one long strip would be copied into far more memory than the file takes.
        if strip_bytes > bytes.len() {
            return Err(damaged(number, Damage::SharedData));
        }
        next = directory.next;
        pages.push(page);
    }
    if pages.is_empty() {
        return Err(TiffError::NoPages);
    }
    Ok(pages)
}

/// Where the header holds the offset of the first directory.
const FIRST_DIRECTORY_LINK: usize = 4;

/// Why a page is not taken.
enum Unfit {
    Obstacle(Obstacle),
    Damage(Damage),
}

impl From<Obstacle> for Unfit {
    fn from(obstacle: Obstacle) -> Self {
        Self::Obstacle(obstacle)
    }
}

impl From<Damage> for Unfit {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// The bytes of a file and the order of its numbers.
struct File<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl<'a> File<'a> {
    /// `None` unless the header is that of a classic TIFF.
    fn open(bytes: &'a [u8]) -> Option<Self> {
        match bytes.first_chunk::<4>()? {
            b"II\x2a\0" => Some(Self { bytes, big_endian: false }),
            b"MM\0\x2a" => Some(Self { bytes, big_endian: true }),
            _ => None,
        }
    }

    fn slice(&self, start: usize, length: usize) -> Result<&'a [u8], Damage> {
        let end = start.checked_add(length).ok_or(Damage::OutsideFile)?;
        self.bytes.get(start..end).ok_or(Damage::OutsideFile)
    }

    fn array<const LENGTH: usize>(&self, start: usize) -> Result<[u8; LENGTH], Damage> {
        self.slice(start, LENGTH)?.first_chunk().copied().ok_or(Damage::OutsideFile)
    }

    fn short(&self, start: usize) -> Result<u16, Damage> {
        let bytes = self.array(start)?;
        Ok(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn long(&self, start: usize) -> Result<u32, Damage> {
        let bytes = self.array(start)?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }
}

/// One entry of a directory: a tag with its type, count, and where its value or the offset of it stands.
#[derive(Clone, Copy)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u32,
    value_at: usize,
}

/// The entries of one page that matter here.
struct Directory<'a> {
    file: &'a File<'a>,
    entries: [Option<Entry>; TAGS_READ.len()],
    /// Offset of the next page's directory; 0 behind the last.
    next: u32,
}

/// Tags that decide about a page. `TILE_WIDTH` and its kin are not among them: tiles have no strips.
const TAGS_READ: [u16; 16] = [
    tag::NEW_SUBFILE_TYPE,
    tag::IMAGE_WIDTH,
    tag::IMAGE_LENGTH,
    tag::BITS_PER_SAMPLE,
    tag::COMPRESSION,
    tag::PHOTOMETRIC_INTERPRETATION,
    tag::FILL_ORDER,
    tag::STRIP_OFFSETS,
    tag::ORIENTATION,
    tag::SAMPLES_PER_PIXEL,
    tag::ROWS_PER_STRIP,
    tag::STRIP_BYTE_COUNTS,
    tag::X_RESOLUTION,
    tag::Y_RESOLUTION,
    tag::T6_OPTIONS,
    tag::RESOLUTION_UNIT,
];

impl<'a> Directory<'a> {
    /// Walks a directory once; of a tag that stands twice, the first counts.
    fn parse(file: &'a File<'a>, start: usize) -> Result<Self, Damage> {
        let count = usize::from(file.short(start)?);
        let first = start + 2;
        let mut entries = [None; TAGS_READ.len()];
        for entry_at in (0..count).map(|index| first + index * ENTRY_BYTES) {
            let tag = file.short(entry_at)?;
            if let Some(index) = TAGS_READ.iter().position(|read| *read == tag)
                && entries[index].is_none()
            {
                let (kind, count) = (file.short(entry_at + 2)?, file.long(entry_at + 4)?);
                entries[index] = Some(Entry { tag, kind, count, value_at: entry_at + ENTRY_VALUE });
            }
        }
        let next = file.long(first + count * ENTRY_BYTES)?;
        Ok(Self { file, entries, next })
    }

    /// The page, if it can be sent as it is.
    fn fax_page(&self) -> Result<FaxPage, Unfit> {
        self.check_kind()?;
        let (width, height) = self.size()?;
        let resolution = self.resolution()?;
        let strip = self.strip(height)?;
        Ok(FaxPage { width, height, resolution, strip })
    }

    /// Refuses everything but an upright T.6 page in black on white.
    fn check_kind(&self) -> Result<(), Unfit> {
        if self.number_or(tag::NEW_SUBFILE_TYPE, 0)? & SUBFILE_REDUCED_OR_MASK != 0 {
            return Err(Obstacle::Subfile.into());
        }
        // Colour pages have these tags once for each sample.
        let samples = self.number_or(tag::SAMPLES_PER_PIXEL, 1)?;
        if samples != 1 || self.number_or(tag::BITS_PER_SAMPLE, 1)? != 1 {
            return Err(Obstacle::Colours.into());
        }
        let compression = self.number_or(tag::COMPRESSION, 1)?;
        if compression != COMPRESSION_T6 {
            return Err(Obstacle::Compression(compression).into());
        }
        if self.number_or(tag::T6_OPTIONS, 0)? & T6_UNCOMPRESSED != 0 {
            return Err(Obstacle::UncompressedMode.into());
        }
        if self.number(tag::PHOTOMETRIC_INTERPRETATION)? != MIN_IS_WHITE {
            return Err(Obstacle::Photometric.into());
        }
        if self.number_or(tag::ORIENTATION, 1)? != 1 {
            return Err(Obstacle::Orientation.into());
        }
        Ok(())
    }

    /// Width and height in pixels.
    fn size(&self) -> Result<(u32, u32), Unfit> {
        let (width, height) = (self.number(tag::IMAGE_WIDTH)?, self.number(tag::IMAGE_LENGTH)?);
        if !FAX_WIDTHS.contains(&width) {
            return Err(Obstacle::Width(width).into());
        }
        if !(1..=t6::MAX_HEIGHT).contains(&height) {
            return Err(Obstacle::Height(height).into());
        }
        Ok((width, height))
    }

    fn resolution(&self) -> Result<Resolution, Unfit> {
        let per_inch = match self.number_or(tag::RESOLUTION_UNIT, UNIT_INCH)? {
            UNIT_INCH => 1.0,
            UNIT_CENTIMETRE => CENTIMETRES_PER_INCH,
            _ => return Err(Obstacle::Resolution.into()),
        };
        let (x_dpi, y_dpi) =
            (self.ratio(tag::X_RESOLUTION)? * per_inch, self.ratio(tag::Y_RESOLUTION)? * per_inch);
        Resolution::nearest_named(x_dpi, y_dpi).ok_or(Obstacle::Resolution.into())
    }

    /// The bytes of the only strip, most significant bit first, up to its EOFB.
    fn strip(&self, height: u32) -> Result<Vec<u8>, Unfit> {
        let strips = self.entry(tag::STRIP_OFFSETS).ok_or(Obstacle::Strips)?.count;
        if strips != 1 || self.number_or(tag::ROWS_PER_STRIP, u32::MAX)? < height {
            return Err(Obstacle::Strips.into());
        }
        let (start, length) = (self.number(tag::STRIP_OFFSETS)?, self.number(tag::STRIP_BYTE_COUNTS)?);
        let stored = self.file.slice(start as usize, length as usize)?;
        let mut strip = match self.number_or(tag::FILL_ORDER, 1)? {
            1 => stored.to_vec(),
            2 => stored.iter().map(|byte| byte.reverse_bits()).collect(),
            _ => return Err(Damage::BadTag(tag::FILL_ORDER).into()),
        };
        let length = t6::length_to_eofb(&strip).ok_or(Obstacle::EndOfBlock)?;
        strip.truncate(length);
        Ok(strip)
    }

    fn entry(&self, tag: u16) -> Option<Entry> {
        self.entries.iter().flatten().find(|entry| entry.tag == tag).copied()
    }

    /// The value of a tag that is one whole number.
    fn number(&self, tag: u16) -> Result<u32, Damage> {
        let entry = self.entry(tag).ok_or(Damage::MissingTag(tag))?;
        match (entry.kind, entry.count) {
            (kind::BYTE, 1) => Ok(u32::from(self.file.array::<1>(entry.value_at)?[0])),
            (kind::SHORT, 1) => Ok(u32::from(self.file.short(entry.value_at)?)),
            (kind::LONG, 1) => self.file.long(entry.value_at),
            _ => Err(Damage::BadTag(tag)),
        }
    }

    /// The same, with the value TIFF 6.0 gives to a page without the tag.
    fn number_or(&self, tag: u16, default: u32) -> Result<u32, Damage> {
        match self.entry(tag) {
            Some(_) => self.number(tag),
            None => Ok(default),
        }
    }

    /// The value of a tag that is one fraction; a missing one is no resolution, and 0/0 no number.
    fn ratio(&self, tag: u16) -> Result<f64, Unfit> {
        let entry = self.entry(tag).ok_or(Obstacle::Resolution)?;
        if (entry.kind, entry.count) != (kind::RATIONAL, 1) {
            return Err(Damage::BadTag(tag).into());
        }
        let fraction = self.file.long(entry.value_at)? as usize;
        let (numerator, denominator) =
            (self.file.long(fraction)?, self.file.long(fraction.saturating_add(4))?);
        Ok(f64::from(numerator) / f64::from(denominator))
    }
}
