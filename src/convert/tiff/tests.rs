//! Every kind of TIFF in, pages out; the CCITT kinds bit for bit.

use super::*;
use crate::codec::page::Resolution;
use crate::codec::raster::Bitmap;
use crate::codec::{t4, t6};
use crate::convert::Quality;
use ::tiff::encoder::{Compression, TiffEncoder, colortype};

const OPTIONS: Options = Options { resolution: Resolution::FINE, quality: Quality::Text };

fn pages_of(file: Vec<u8>, max_pages: u32) -> Result<Vec<FaxPage>, ConvertError> {
    let mut pages = Vec::new();
    convert(&file.into(), OPTIONS, max_pages, &mut |page| {
        pages.push(page);
        Ok(())
    })?;
    Ok(pages)
}

/// A sheet of a fax's width with a few black bars.
fn sheet() -> Bitmap {
    let mut sheet = Bitmap::white(1728, 400);
    for y in 100..300 {
        for x in (200..1500).filter(|x| x % 97 < 40) {
            sheet.set_black(x, y);
        }
    }
    sheet
}

/// A TIFF of strips, little-endian, with these tags beside the usual ones.
fn strips(strips: &[Vec<u8>], height: u32, rows_per_strip: u32, tags: &[(u16, u32)]) -> Vec<u8> {
    let data_bytes: usize = strips.iter().map(Vec::len).sum();
    let tables = 8 + data_bytes;
    let table =
        |values: Vec<u32>| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
    let mut offset = 8;
    let offsets = strips.iter().map(|strip| {
        offset += strip.len() as u32;
        offset - strip.len() as u32
    });
    let offsets = table(offsets.collect());
    let lengths = table(strips.iter().map(|strip| strip.len() as u32).collect());
    let resolutions = [204u32, 1, 196, 1].map(u32::to_le_bytes).concat();
    let count = strips.len() as u32;
    let place = |at: usize, values: &[u8]| {
        if count == 1 { u32::from_le_bytes(values.try_into().unwrap()) } else { at as u32 }
    };
    let resolution_at = (tables + offsets.len() + lengths.len()) as u32;
    let mut entries = vec![
        (256, 4, 1, 1728),
        (257, 4, 1, height),
        (258, 4, 1, 1),
        (273, 4, count, place(tables, &offsets)),
        (277, 4, 1, 1),
        (278, 4, 1, rows_per_strip),
        (279, 4, count, place(tables + offsets.len(), &lengths)),
        (282, 5, 1, resolution_at),
        (283, 5, 1, resolution_at + 8),
        (296, 4, 1, 2),
    ];
    entries.extend(tags.iter().map(|(tag, value)| (*tag, 4u16, 1, *value)));
    entries.sort_unstable();
    let directory = resolution_at + 16;
    let mut file = b"II\x2A\0".to_vec();
    file.extend_from_slice(&directory.to_le_bytes());
    file.extend(strips.iter().flatten());
    file.extend(offsets);
    file.extend(lengths);
    file.extend(resolutions);
    file.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        let tag: u16 = tag;
        file.extend_from_slice(&tag.to_le_bytes());
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&u32::to_le_bytes(count));
        file.extend_from_slice(&u32::to_le_bytes(value));
    }
    file.extend_from_slice(&[0; 4]);
    file
}

#[test]
fn every_ccitt_compression_comes_out_bit_for_bit() {
    let sheet = sheet();
    let reversed = |bytes: Vec<u8>| -> Vec<u8> { bytes.iter().map(|byte| byte.reverse_bits()).collect() };
    let mut inverted = sheet.clone();
    for y in 0..inverted.height() {
        inverted.row_mut(y).iter_mut().for_each(|byte| *byte = !*byte);
    }
    let cases = [
        ("G3 1-D", strips(&[t4::encode_mh(&sheet)], 400, 400, &[(259, 3), (262, 0)])),
        ("G3 2-D", strips(&[t4::encode_mr(&sheet, 4)], 400, 400, &[(259, 3), (262, 0), (292, 1)])),
        (
            "G4, lowest bit first",
            strips(&[reversed(t6::encode(&sheet))], 400, 400, &[(259, 4), (262, 0), (266, 2)]),
        ),
        ("G4, black is zero", strips(&[t6::encode(&inverted)], 400, 400, &[(259, 4), (262, 1)])),
    ];
    for (what, file) in cases {
        let pages = pages_of(file, 9).unwrap();
        assert_eq!(pages.len(), 1, "{what}");
        let page = pages[0].to_bitmap().unwrap();
        assert_eq!((page.width(), page.height()), (1728, 400), "{what}");
        for y in 0..400 {
            assert_eq!(page.row(y), sheet.row(y), "{what}, row {y}");
        }
    }
}

#[test]
fn several_strips_are_one_page() {
    let sheet = sheet();
    let parts: Vec<Vec<u8>> = (0..4)
        .map(|part| {
            let rows: Vec<u8> = (part * 100..part * 100 + 100).flat_map(|y| sheet.row(y).to_vec()).collect();
            t6::encode(&Bitmap::from_rows(1728, 100, rows).unwrap())
        })
        .collect();
    let pages = pages_of(strips(&parts, 400, 100, &[(259, 4), (262, 0)]), 9).unwrap();
    assert!(pages[0].to_bitmap().unwrap() == sheet);
}

#[test]
fn a_fax_ready_file_passes_untouched_and_a_broken_one_is_named() {
    let sheet = sheet();
    let page = FaxPage::from_bitmap(&sheet, Resolution::STANDARD);
    let file = crate::codec::tiff::write(&[page.clone(), page.clone()]);
    assert_eq!(pages_of(file.clone(), 9).unwrap(), [page.clone(), page.clone()]);
    assert_eq!(pages_of(file, 1), Err(ConvertError::TooManyPages { limit: 1 }));

    let broken =
        FaxPage { strip: [0x00; 40].into_iter().chain([0x00, 0x10, 0x01]).collect(), ..page.clone() };
    let file = crate::codec::tiff::write(&[page, broken]);
    assert!(matches!(pages_of(file, 9), Err(ConvertError::Damaged { page: Some(2), .. })));
}

#[test]
fn pictures_of_every_common_kind_are_read() {
    let (width, height) = (200u32, 300u32);
    // The left half is ink, the right half paper.
    let dark = |at: usize| at % (width as usize) < width as usize / 2;
    let grey: Vec<u8> = (0..60_000).map(|at| if dark(at) { 20 } else { 250 }).collect();
    let rgb: Vec<u8> = grey.iter().flat_map(|value| [*value; 3]).collect();
    let deep: Vec<u16> = grey.iter().map(|value| u16::from(*value) * 257).collect();
    let mut files = Vec::new();
    for compression in [
        Compression::Uncompressed,
        Compression::Lzw,
        Compression::Deflate(Default::default()),
        Compression::Packbits,
    ] {
        let mut write = |deep_grey: bool, colour: bool| {
            let mut file = std::io::Cursor::new(Vec::new());
            let mut encoder = TiffEncoder::new(&mut file).unwrap().with_compression(compression);
            if deep_grey {
                encoder.write_image::<colortype::Gray16>(width, height, &deep).unwrap();
            } else if colour {
                encoder.write_image::<colortype::RGB8>(width, height, &rgb).unwrap();
            } else {
                encoder.write_image::<colortype::Gray8>(width, height, &grey).unwrap();
            }
            files.push(file.into_inner());
        };
        write(false, false);
        write(false, true);
        write(true, false);
    }
    for file in files {
        let pages = pages_of(file, 9).unwrap();
        let page = pages[0].to_bitmap().unwrap();
        let middle = page.height() / 2;
        let inked: Vec<u32> = (0..1728).filter(|x| page.is_black(*x, middle)).collect();
        let (first, last) = (inked[0], inked[inked.len() - 1]);
        // 200 pixels at 1/72 inch, centred; ink on the left half of them.
        assert!(first.abs_diff(580) < 4 && last.abs_diff(863) < 4, "{first} to {last}");
        assert!(inked.len() as u32 > last - first - 2);
    }
}

#[test]
fn samples_below_a_byte_and_palettes_are_unpacked() {
    let samples = DecodingResult::U8(vec![0b0001_1011, 0b1100_0000]);
    let grey = to_grey(&samples, ColorType::Gray(2), None, 3, 1).unwrap();
    assert_eq!(grey.luma(), [0, 85, 170]);
    let palette = [255, 0, 9, 77];
    let indexed = to_grey(&samples, ColorType::Palette(2), Some(&palette), 4, 1).unwrap();
    assert_eq!(indexed.luma(), [255, 0, 9, 77]);
    assert!(to_grey(&samples, ColorType::Lab(8), None, 3, 1).is_none());
}

#[test]
fn cut_files_are_damaged_and_never_a_panic() {
    let file = strips(&[t4::encode_mh(&sheet())], 400, 400, &[(259, 3), (262, 0)]);
    for length in (0..file.len()).step_by(61) {
        let _ = pages_of(file[..length].to_vec(), 9);
    }
    assert!(matches!(pages_of(file[..200].to_vec(), 9), Err(ConvertError::Damaged { .. })));
}
