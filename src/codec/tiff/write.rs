//! Writing: little-endian, each page as strip, resolutions, directory. The same pages give the same bytes.

use super::{COMPRESSION_T6, MIN_IS_WHITE, UNIT_INCH, kind, tag};
use crate::codec::page::FaxPage;

/// NewSubfileType bit 1: one page of several.
const SUBFILE_PAGE: u32 = 2;
/// FillOrder 1: the first pixel is the most significant bit.
const MOST_SIGNIFICANT_FIRST: u32 = 1;
/// Orientation 1: first row top, first column left.
const TOP_LEFT: u32 = 1;

/// Where the header holds the offset of the first directory.
const FIRST_DIRECTORY_LINK: usize = 4;

/// Writes the pages, in order, as one file. Without pages the file has only a header, which readers refuse.
///
/// # Panics
/// If the file would reach 4 GiB, where the offsets of TIFF end; a fax is a hundredth of that.
pub fn write(pages: &[FaxPage]) -> Vec<u8> {
    let strip_bytes: usize = pages.iter().map(|page| page.strip.len()).sum();
    let mut file = Vec::with_capacity(strip_bytes + pages.len() * 256 + 8);
    file.extend_from_slice(b"II\x2a\0\0\0\0\0");
    let page_count = u16::try_from(pages.len()).unwrap_or(PAGE_COUNT_UNKNOWN);
    let mut link = FIRST_DIRECTORY_LINK;
    for (index, page) in pages.iter().enumerate() {
        let strip = offset(&file);
        file.extend_from_slice(&page.strip);
        // Directories and their values begin on even offsets (TIFF 6.0, section 2).
        if file.len() % 2 == 1 {
            file.push(0);
        }
        let resolutions = offset(&file);
        for dpi in [page.resolution.x_dpi, page.resolution.y_dpi] {
            file.extend_from_slice(&u32::from(dpi).to_le_bytes());
            file.extend_from_slice(&1u32.to_le_bytes());
        }
        let directory = offset(&file);
        file[link..link + 4].copy_from_slice(&directory.to_le_bytes());
        let page_index = u16::try_from(index).unwrap_or(u16::MAX);
        put_directory(&mut file, page, Places { strip, resolutions }, [page_index, page_count]);
        link = file.len() - 4;
    }
    file
}

/// The second value of PageNumber when the number of pages is not known.
const PAGE_COUNT_UNKNOWN: u16 = 0;

/// Offsets of what a directory points to.
struct Places {
    strip: u32,
    resolutions: u32,
}

/// Appends the directory of one page; its last four bytes are the link to the next, still zero.
fn put_directory(file: &mut Vec<u8>, page: &FaxPage, places: Places, page_number: [u16; 2]) {
    let strip_length = length(&page.strip);
    let page_number = u32::from(page_number[0]) | u32::from(page_number[1]) << 16;
    // In ascending order of tags, as TIFF 6.0 section 2 wants. Values of less than four bytes stand in the
    // first of them, which in little-endian order is where a LONG of the same value has them.
    let entries = [
        (tag::NEW_SUBFILE_TYPE, kind::LONG, 1, SUBFILE_PAGE),
        (tag::IMAGE_WIDTH, kind::LONG, 1, page.width),
        (tag::IMAGE_LENGTH, kind::LONG, 1, page.height),
        (tag::BITS_PER_SAMPLE, kind::SHORT, 1, 1),
        (tag::COMPRESSION, kind::SHORT, 1, COMPRESSION_T6),
        (tag::PHOTOMETRIC_INTERPRETATION, kind::SHORT, 1, MIN_IS_WHITE),
        (tag::FILL_ORDER, kind::SHORT, 1, MOST_SIGNIFICANT_FIRST),
        (tag::STRIP_OFFSETS, kind::LONG, 1, places.strip),
        (tag::ORIENTATION, kind::SHORT, 1, TOP_LEFT),
        (tag::SAMPLES_PER_PIXEL, kind::SHORT, 1, 1),
        (tag::ROWS_PER_STRIP, kind::LONG, 1, page.height),
        (tag::STRIP_BYTE_COUNTS, kind::LONG, 1, strip_length),
        (tag::X_RESOLUTION, kind::RATIONAL, 1, places.resolutions),
        (tag::Y_RESOLUTION, kind::RATIONAL, 1, places.resolutions + 8),
        (tag::T6_OPTIONS, kind::LONG, 1, 0),
        (tag::RESOLUTION_UNIT, kind::SHORT, 1, UNIT_INCH),
        (tag::PAGE_NUMBER, kind::SHORT, 2, page_number),
    ];
    file.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        file.extend_from_slice(&tag.to_le_bytes());
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&u32::to_le_bytes(count));
        file.extend_from_slice(&value.to_le_bytes());
    }
    file.extend_from_slice(&0u32.to_le_bytes());
}

/// The offset at which the next byte of the file will stand.
fn offset(file: &[u8]) -> u32 {
    length(file)
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("the strips of a fax are bounded far below 4 GiB by conversion")
}
