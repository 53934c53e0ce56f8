//! Small PDFs made on the spot, and where their ink lands.

use super::*;
use crate::codec::page::Resolution;
use crate::codec::raster::Bitmap;
use crate::convert::Quality;

/// A PDF of one page. Readers rebuild a missing cross-reference table, so there is none.
fn one_page(page_entries: &str, content: &str, more_objects: &str) -> Vec<u8> {
    format!(
        "%PDF-1.7\n\
         1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj\n\
         2 0 obj << /Type /Pages /Count 1 /Kids [3 0 R] >> endobj\n\
         3 0 obj << /Type /Page /Parent 2 0 R /Contents 4 0 R {page_entries} >> endobj\n\
         4 0 obj << /Length {} >> stream\n{content}\nendstream endobj\n\
         {more_objects}\n\
         trailer << /Root 1 0 R >>\n",
        content.len()
    )
    .into_bytes()
}

fn pages_of(file: Vec<u8>, quality: Quality) -> Result<Vec<Bitmap>, ConvertError> {
    let mut pages = Vec::new();
    let options = Options { resolution: Resolution::FINE, quality };
    let fonts = Arc::new(FontLibrary::new(Vec::new()));
    convert(&file.into(), options, 9, &fonts, &mut |page| {
        pages.push(page.to_bitmap().unwrap());
        Ok(())
    })?;
    Ok(pages)
}

/// The only page of a PDF, and the box of its ink: left, top, right, bottom.
fn inked(file: Vec<u8>) -> (Bitmap, [u32; 4]) {
    let page = pages_of(file, Quality::Text).unwrap().remove(0);
    let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
    for y in 0..page.height() {
        for x in (0..page.width()).filter(|x| page.is_black(*x, y)) {
            (left, top) = (left.min(x), top.min(y));
            (right, bottom) = (right.max(x + 1), bottom.max(y + 1));
        }
    }
    (page, [left, top, right, bottom])
}

fn near(found: [u32; 4], expected: [u32; 4]) -> bool {
    found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= 1)
}

#[test]
fn an_inch_of_ink_is_an_inch_on_the_fax() {
    // A5, one inch from the left and one from the top, centred on the line.
    let (page, ink) = inked(one_page("/MediaBox [0 0 420 595]", "72 451 72 72 re f", ""));
    assert_eq!((page.width(), page.height()), (1728, 1620));
    assert!(near(ink, [473, 196, 677, 392]), "{ink:?}");
}

#[test]
fn user_units_and_rotation_count() {
    let (page, ink) = inked(one_page("/MediaBox [0 0 210 297.5] /UserUnit 2", "36 225.5 36 36 re f", ""));
    assert_eq!((page.width(), page.height()), (1728, 1620));
    assert!(near(ink, [473, 196, 677, 392]), "{ink:?}");
    // Turned by a quarter clockwise, what was at the top left is at the top right.
    let (page, ink) = inked(one_page("/MediaBox [0 0 595 420] /Rotate 90", "72 276 72 72 re f", ""));
    assert_eq!((page.width(), page.height()), (1728, 1620));
    assert!(near(ink, [1051, 196, 1255, 392]), "{ink:?}");
}

#[test]
fn a_landscape_page_is_turned_with_its_top_to_the_left() {
    // A4 landscape with ink at its top left, which is then at the bottom left.
    let (page, ink) = inked(one_page("/MediaBox [0 0 842 595]", "0 523 72 72 re f", ""));
    assert_eq!((page.width(), page.height()), (1728, 2292));
    assert!(near(ink, [21, 2096, 225, 2292]), "{ink:?}");
}

#[test]
fn pale_text_and_hairlines_are_kept() {
    let fonts = "/MediaBox [0 0 612 792] /Resources << /Font << /F 5 0 R >> >>";
    let helvetica = "5 0 obj << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> endobj";
    let (_, dark) = inked(one_page(fonts, "BT /F 12 Tf 72 700 Td (Invoice) Tj ET", helvetica));
    let (_, pale) = inked(one_page(fonts, "0.9 g BT /F 12 Tf 72 700 Td (Invoice) Tj ET", helvetica));
    assert!(near(pale, dark), "{pale:?} and {dark:?}");
    for position in 0..10 {
        let rule = format!("0.2 w 72 {} m 540 {0} l S", 700.0 + f64::from(position) * 0.1);
        let (_, ink) = inked(one_page("/MediaBox [0 0 612 792]", &rule, ""));
        assert!(ink[2] - ink[0] > 1300, "a rule of 0.2 pt is lost at {position}: {ink:?}");
    }
}

#[test]
fn a_photograph_is_screened_and_quality_chooses_how() {
    let samples: String = (0..256).map(|value| format!("{value:02x}")).collect();
    let image = format!(
        "5 0 obj << /Type /XObject /Subtype /Image /Width 256 /Height 1 /ColorSpace /DeviceGray \
         /BitsPerComponent 8 /Filter /ASCIIHexDecode /Length 513 >> stream\n{samples}>\nendstream endobj"
    );
    let file = || {
        one_page(
            "/MediaBox [0 0 612 792] /Resources << /XObject << /I 5 0 R >> >>",
            "q 540 0 0 720 36 36 cm /I Do Q",
            &image,
        )
    };
    let text = pages_of(file(), Quality::Text).unwrap().remove(0);
    let photo = pages_of(file(), Quality::Photo).unwrap().remove(0);
    assert!(text != photo);
    // Half of the gradient, which covers 80 % of the page.
    for page in [text, photo] {
        assert!((0.35..0.45).contains(&page.black_share()), "{}", page.black_share());
    }
}

#[test]
fn what_cannot_be_a_page_is_named() {
    let sheet = "/MediaBox [0 0 612 792]";
    let pages = |kids: &str, count: usize| {
        format!(
            "%PDF-1.7\n1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj\n\
             2 0 obj << /Type /Pages /Count {count} /Kids [{kids}] {sheet} >> endobj\n\
             trailer << /Root 1 0 R >>\n"
        )
        .into_bytes()
    };
    let ten = "<< /Type /Page >> ".repeat(10);
    let image = "5 0 obj << /Type /XObject /Subtype /Image /Width 60000 /Height 60000 \
                 /ColorSpace /DeviceRGB /BitsPerComponent 8 /Length 1 >> stream\nx\nendstream endobj";
    let with_image = format!("{sheet} /Resources << /XObject << /I 5 0 R >> >>");
    let undecodable = String::from_utf8(one_page(sheet, "x", "")).unwrap();
    let undecodable = undecodable.replace("/Length 1", "/Length 1 /Filter /DCTDecode");
    type Expected = fn(&ConvertError) -> bool;
    let cases: [(&str, Vec<u8>, Expected); 5] = [
        ("no pages", pages("", 0), |error| *error == ConvertError::NoPages),
        ("ten pages", pages(&ten, 10), |error| *error == ConvertError::TooManyPages { limit: 9 }),
        ("huge box", one_page("/MediaBox [0 0 14000000 14000000]", "", ""), |error| {
            matches!(error, ConvertError::TooLarge { page: Some(1), .. })
        }),
        ("huge image", one_page(&with_image, "/I Do", image), |error| {
            matches!(error, ConvertError::TooLarge { page: Some(1), .. })
        }),
        ("undecodable content", undecodable.into_bytes(), |error| {
            matches!(error, ConvertError::Damaged { page: Some(1), .. })
        }),
    ];
    for (what, file, expected) in cases {
        match pages_of(file, Quality::Text) {
            Ok(pages) => panic!("{what}: {} pages", pages.len()),
            Err(error) => assert!(expected(&error), "{what}: {error:?}"),
        }
    }
}

#[test]
fn cut_files_never_panic() {
    let file = one_page("/MediaBox [0 0 100 100]", "10 10 50 50 re f", "");
    for length in (0..file.len()).step_by(29) {
        let _ = pages_of(file[..length].to_vec(), Quality::Text);
    }
}
