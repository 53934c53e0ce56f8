//! Tests of writing and reading, with a builder for files that others might send.

use super::*;
use crate::codec::page::{FaxPage, Resolution};
use crate::codec::raster::Bitmap;
use crate::codec::samples::{self, Random};

fn page(seed: u64, resolution: Resolution) -> FaxPage {
    FaxPage::from_bitmap(&samples::text(1728, 40 + seed as u32, seed), resolution)
}

fn fax() -> Vec<FaxPage> {
    vec![page(1, Resolution::STANDARD), page(2, Resolution::FINE), page(3, Resolution::SUPERFINE)]
}

/// A value of a directory entry.
#[derive(Clone, Copy, Debug)]
enum Value {
    Byte(u8),
    Short(u16),
    Long(u32),
    Ratio(u32, u32),
    /// Three SHORTs, as colour pages have.
    Shorts([u16; 3]),
}

/// A file of one page, written independently of the product's writer.
struct Foreign {
    big_endian: bool,
    entries: Vec<(u16, Value)>,
    strip: Vec<u8>,
}

impl Foreign {
    /// A fax-ready page; its strip is 4 white rows.
    fn ready(big_endian: bool) -> Self {
        let entries = vec![
            (tag::IMAGE_WIDTH, Value::Short(1728)),
            (tag::IMAGE_LENGTH, Value::Short(4)),
            (tag::COMPRESSION, Value::Short(4)),
            (tag::PHOTOMETRIC_INTERPRETATION, Value::Short(0)),
            (tag::X_RESOLUTION, Value::Ratio(204, 1)),
            (tag::Y_RESOLUTION, Value::Ratio(1960, 10)),
        ];
        Self { big_endian, entries, strip: white_strip() }
    }

    fn with(mut self, tag: u16, value: Value) -> Self {
        self.entries.retain(|(present, _)| *present != tag);
        self.entries.push((tag, value));
        self
    }

    fn without(mut self, tag: u16) -> Self {
        self.entries.retain(|(present, _)| *present != tag);
        self
    }

    fn with_strip(mut self, strip: Vec<u8>) -> Self {
        self.strip = strip;
        self
    }

    fn short(&self, value: u16) -> [u8; 2] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn long(&self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    /// Header, strip, values too long for an entry, directory.
    fn bytes(mut self) -> Vec<u8> {
        for (tag, value) in [(tag::STRIP_OFFSETS, 8), (tag::STRIP_BYTE_COUNTS, self.strip.len() as u32)] {
            if !self.entries.iter().any(|(present, _)| *present == tag) {
                self.entries.push((tag, Value::Long(value)));
            }
        }
        let mut file = if self.big_endian { b"MM\0\x2a".to_vec() } else { b"II\x2a\0".to_vec() };
        file.extend([0; 4]);
        file.extend(&self.strip);
        let mut directory = self.short(self.entries.len() as u16).to_vec();
        for (tag, value) in &self.entries {
            let (kind, count, value) = match *value {
                Value::Byte(value) => (kind::BYTE, 1, [value, 0, 0, 0]),
                Value::Short(value) => {
                    let [first, second] = self.short(value);
                    (kind::SHORT, 1, [first, second, 0, 0])
                }
                Value::Long(value) => (kind::LONG, 1, self.long(value)),
                Value::Ratio(numerator, denominator) => {
                    let place = file.len() as u32;
                    file.extend(self.long(numerator));
                    file.extend(self.long(denominator));
                    (kind::RATIONAL, 1, self.long(place))
                }
                Value::Shorts(values) => {
                    let place = file.len() as u32;
                    values.iter().for_each(|value| file.extend(self.short(*value)));
                    (kind::SHORT, 3, self.long(place))
                }
            };
            directory.extend(self.short(*tag));
            directory.extend(self.short(kind));
            directory.extend(self.long(count));
            directory.extend(value);
        }
        let place = self.long(file.len() as u32);
        file[4..8].copy_from_slice(&place);
        file.extend(directory);
        file.extend([0; 4]);
        file
    }
}

fn white_strip() -> Vec<u8> {
    crate::codec::t6::encode(&Bitmap::white(1728, 4))
}

fn obstacle(file: Foreign) -> Obstacle {
    match read(&file.bytes()) {
        Err(TiffError::NotFaxReady { page: 1, obstacle }) => obstacle,
        other => panic!("{other:?}"),
    }
}

fn damage(bytes: &[u8]) -> (u32, Damage) {
    match read(bytes) {
        Err(TiffError::Damaged { page, damage }) => (page, damage),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_read() {
    let pages = fax();
    let file = write(&pages);
    assert_eq!(read(&file).as_ref(), Ok(&pages));
    assert_eq!(file, write(&pages));
}

#[test]
fn directories_are_where_readers_look() {
    let file = write(&fax());
    let long = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let mut directory = long(4);
    for index in 0..3u16 {
        assert_eq!(directory % 2, 0);
        let tags: Vec<u16> = (0..17)
            .map(|entry| u16::from_le_bytes(file[directory + 2 + entry * 12..][..2].try_into().unwrap()))
            .collect();
        assert!(tags.is_sorted(), "{tags:?}");
        assert_eq!((tags[0], tags[16]), (tag::NEW_SUBFILE_TYPE, tag::PAGE_NUMBER));
        let number = &file[directory + 2 + 16 * 12 + 8..][..4];
        assert_eq!(number, [index.to_le_bytes(), 3u16.to_le_bytes()].concat());
        directory = long(directory + 2 + 17 * 12);
    }
    assert_eq!(directory, 0);
}

#[test]
fn foreign_fax_ready_files_are_taken() {
    let reversed = || white_strip().iter().map(|byte| byte.reverse_bits()).collect();
    let expected = |width, resolution| FaxPage { width, height: 4, resolution, strip: white_strip() };
    for big_endian in [false, true] {
        let ready = || Foreign::ready(big_endian);
        let cases = [
            (ready(), expected(1728, Resolution::FINE)),
            (ready().with(tag::IMAGE_WIDTH, Value::Long(2048)), expected(2048, Resolution::FINE)),
            (ready().with(tag::IMAGE_WIDTH, Value::Long(2432)), expected(2432, Resolution::FINE)),
            (ready().with(tag::Y_RESOLUTION, Value::Ratio(100, 1)), expected(1728, Resolution::STANDARD)),
            (
                ready()
                    .with(tag::RESOLUTION_UNIT, Value::Short(3))
                    .with(tag::X_RESOLUTION, Value::Ratio(803, 10))
                    .with(tag::Y_RESOLUTION, Value::Ratio(154, 1)),
                expected(1728, Resolution::SUPERFINE),
            ),
            (
                ready().with(tag::FILL_ORDER, Value::Short(2)).with_strip(reversed()),
                expected(1728, Resolution::FINE),
            ),
            (ready().with_strip([white_strip(), vec![0; 3]].concat()), expected(1728, Resolution::FINE)),
            (ready().with(tag::ROWS_PER_STRIP, Value::Short(4)), expected(1728, Resolution::FINE)),
            (ready().with(tag::ORIENTATION, Value::Byte(1)), expected(1728, Resolution::FINE)),
        ];
        for (index, (file, expected)) in cases.into_iter().enumerate() {
            let pages = read(&file.bytes()).unwrap();
            assert_eq!(pages, [expected], "case {index}, big-endian {big_endian}");
        }
    }
}

#[test]
fn other_pages_are_named_for_what_they_are() {
    let ready = || Foreign::ready(false);
    let without_end = white_strip()[..2].to_vec();
    let cases = [
        (ready().with(tag::NEW_SUBFILE_TYPE, Value::Long(1)), Obstacle::Subfile),
        (ready().with(tag::NEW_SUBFILE_TYPE, Value::Long(4)), Obstacle::Subfile),
        (ready().with(tag::BITS_PER_SAMPLE, Value::Short(8)), Obstacle::Colours),
        (ready().with(tag::SAMPLES_PER_PIXEL, Value::Short(3)), Obstacle::Colours),
        (
            ready()
                .with(tag::BITS_PER_SAMPLE, Value::Shorts([8; 3]))
                .with(tag::SAMPLES_PER_PIXEL, Value::Short(3)),
            Obstacle::Colours,
        ),
        (ready().with(tag::COMPRESSION, Value::Short(3)), Obstacle::Compression(3)),
        (ready().without(tag::COMPRESSION), Obstacle::Compression(1)),
        (ready().with(tag::T6_OPTIONS, Value::Long(2)), Obstacle::UncompressedMode),
        (ready().with(tag::PHOTOMETRIC_INTERPRETATION, Value::Short(1)), Obstacle::Photometric),
        (ready().with(tag::ORIENTATION, Value::Short(6)), Obstacle::Orientation),
        (ready().with(tag::STRIP_OFFSETS, Value::Shorts([8; 3])), Obstacle::Strips),
        (ready().with(tag::ROWS_PER_STRIP, Value::Short(2)), Obstacle::Strips),
        (ready().with(tag::IMAGE_WIDTH, Value::Short(1700)), Obstacle::Width(1700)),
        (ready().with(tag::IMAGE_LENGTH, Value::Short(0)), Obstacle::Height(0)),
        (ready().with(tag::IMAGE_LENGTH, Value::Long(u32::MAX)), Obstacle::Height(u32::MAX)),
        (ready().with(tag::X_RESOLUTION, Value::Ratio(300, 1)), Obstacle::Resolution),
        (ready().with(tag::X_RESOLUTION, Value::Ratio(0, 0)), Obstacle::Resolution),
        (ready().without(tag::Y_RESOLUTION), Obstacle::Resolution),
        (ready().with(tag::RESOLUTION_UNIT, Value::Short(1)), Obstacle::Resolution),
        (ready().with_strip(without_end), Obstacle::EndOfBlock),
    ];
    for (index, (file, expected)) in cases.into_iter().enumerate() {
        assert_eq!(obstacle(file), expected, "case {index}");
    }
}

#[test]
fn contradictions_are_damage() {
    let ready = || Foreign::ready(false);
    let cases = [
        (ready().without(tag::IMAGE_WIDTH), Damage::MissingTag(tag::IMAGE_WIDTH)),
        (
            ready().without(tag::PHOTOMETRIC_INTERPRETATION),
            Damage::MissingTag(tag::PHOTOMETRIC_INTERPRETATION),
        ),
        (ready().with(tag::IMAGE_LENGTH, Value::Ratio(4, 1)), Damage::BadTag(tag::IMAGE_LENGTH)),
        (ready().with(tag::X_RESOLUTION, Value::Long(204)), Damage::BadTag(tag::X_RESOLUTION)),
        (ready().with(tag::FILL_ORDER, Value::Short(3)), Damage::BadTag(tag::FILL_ORDER)),
        (ready().with(tag::STRIP_OFFSETS, Value::Long(u32::MAX)), Damage::OutsideFile),
        (ready().with(tag::STRIP_BYTE_COUNTS, Value::Long(u32::MAX)), Damage::OutsideFile),
    ];
    for (index, (file, expected)) in cases.into_iter().enumerate() {
        assert_eq!(damage(&file.bytes()), (1, expected), "case {index}");
    }
}

#[test]
fn page_lists_have_to_end() {
    let mut file = Foreign::ready(false).bytes();
    let first: [u8; 4] = file[4..8].try_into().unwrap();
    let link = file.len() - 4;
    file[link..].copy_from_slice(&first);
    assert_eq!(damage(&file), (2, Damage::PageLoop));
    file[link..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(damage(&file), (2, Damage::OutsideFile));
    assert_eq!(read(&write(&[])), Err(TiffError::NoPages));
    let most = vec![FaxPage::from_bitmap(&Bitmap::white(1728, 4), Resolution::FINE); MAX_PAGES + 1];
    assert_eq!(read(&write(&most[1..])).map(|pages| pages.len()), Ok(MAX_PAGES));
    assert_eq!(read(&write(&most)), Err(TiffError::TooManyPages));
}

#[test]
fn one_long_strip_is_not_copied_for_many_pages() {
    let mut pages = vec![FaxPage::from_bitmap(&Bitmap::white(1728, 4), Resolution::FINE); 20];
    pages[0] = FaxPage::from_bitmap(&samples::text(1728, 600, 1), Resolution::FINE);
    let mut file = write(&pages);
    let strip_length = (pages[0].strip.len() as u32).to_le_bytes();
    let mut link = 4;
    for _ in &pages {
        let directory = u32::from_le_bytes(file[link..link + 4].try_into().unwrap()) as usize;
        // StripOffsets and StripByteCounts are entries 7 and 11; the first strip stands behind the header.
        for (entry, value) in [(7, 8u32.to_le_bytes()), (11, strip_length)] {
            file[directory + 2 + entry * 12 + 8..][..4].copy_from_slice(&value);
        }
        link = directory + 2 + 17 * 12;
    }
    let fitting = (file.len() / pages[0].strip.len()) as u32;
    assert_eq!(damage(&file), (fitting + 1, Damage::SharedData));
}

#[test]
fn what_is_no_tiff_is_said_so() {
    let big_tiff = b"II\x2b\0\x08\0\0\0";
    for bytes in [&b""[..], b"II", b"II\x2a\0", b"MM\x2a\0\0\0\0\x08", b"%PDF-1.7", big_tiff] {
        assert_eq!(read(bytes), Err(TiffError::NotTiff), "{bytes:?}");
    }
}

#[test]
fn damaged_files_never_panic() {
    let mut random = Random::seeded(11);
    let files = [write(&fax()), Foreign::ready(true).bytes(), Foreign::ready(false).bytes()];
    let (mut taken, mut refused) = (0, 0);
    for round in 0..3000 {
        let damaged = random.damage(&files[round % files.len()]);
        match read(&damaged) {
            Ok(pages) => {
                taken += 1;
                assert!(pages.iter().map(|page| page.strip.len()).sum::<usize>() <= damaged.len());
                // Sound or not is for the decoder to say; it has to say something.
                pages.iter().for_each(|page| drop(page.to_bitmap()));
            }
            Err(_) => refused += 1,
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
}
