//! Fax pages as PDF.
//!
//! Owns the wrapping: each T.6 strip becomes the image of one page, byte for byte. Refuses dates, producers and
//! identifiers, so that the same pages always give the same file.

use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref};

use super::page::FaxPage;

const POINTS_PER_INCH: f32 = 72.0;

/// The longest side of a page in default units (ISO 32000-1, annex C); longer pages get a larger unit.
const MAX_PAGE_UNITS: f32 = 14_400.0;

/// The name of the page's image among its resources.
const IMAGE: Name<'static> = Name(b"Page");

/// Writes a PDF with one page for each fax page, as large as the paper was.
pub fn from_pages(pages: &[FaxPage]) -> Vec<u8> {
    let mut next_id = 1;
    let mut allocate = || {
        let id = Ref::new(next_id);
        next_id += 1;
        id
    };
    let (catalog_id, tree_id) = (allocate(), allocate());
    let mut pdf = Pdf::new();
    pdf.catalog(catalog_id).pages(tree_id);
    let mut page_ids = Vec::with_capacity(pages.len());
    for page in pages {
        let ids = PageIds { page: allocate(), image: allocate(), content: allocate() };
        page_ids.push(ids.page);
        write_page(&mut pdf, tree_id, &ids, page);
    }
    pdf.pages(tree_id).count(page_ids.len() as i32).kids(page_ids);
    pdf.finish()
}

/// The objects one page takes.
struct PageIds {
    page: Ref,
    image: Ref,
    content: Ref,
}

fn write_page(pdf: &mut Pdf, tree_id: Ref, ids: &PageIds, fax: &FaxPage) {
    let points = |pixels: u32, dpi: u16| pixels as f32 * POINTS_PER_INCH / f32::from(dpi);
    let width = points(fax.width, fax.resolution.x_dpi);
    let height = points(fax.height, fax.resolution.y_dpi);
    let unit = (width.max(height) / MAX_PAGE_UNITS).max(1.0);
    let (width, height) = (width / unit, height / unit);

    let mut page = pdf.page(ids.page);
    page.parent(tree_id).media_box(Rect::new(0.0, 0.0, width, height)).contents(ids.content);
    if unit > 1.0 {
        page.user_unit(unit);
    }
    page.resources().x_objects().pair(IMAGE, ids.image);
    page.finish();

    let mut content = Content::new();
    content.transform([width, 0.0, 0.0, height, 0.0, 0.0]).x_object(IMAGE);
    pdf.stream(ids.content, &content.finish());

    let (columns, rows) = (fax.width as i32, fax.height as i32);
    let mut image = pdf.image_xobject(ids.image, &fax.strip);
    image.filter(Filter::CcittFaxDecode);
    image.width(columns).height(rows).bits_per_component(1);
    image.color_space().device_gray();
    // K -1 is T.6 (ISO 32000-1, table 11); black is 0 unless BlackIs1 says otherwise, as in DeviceGray.
    image.decode_parms().k(-1).columns(columns).rows(rows);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::page::Resolution;
    use crate::codec::samples;

    fn contains(haystack: &[u8], needle: &[u8]) -> bool {
        haystack.windows(needle.len()).any(|window| window == needle)
    }

    #[test]
    fn strips_are_embedded_untouched() {
        let pages =
            [1, 2, 3].map(|seed| FaxPage::from_bitmap(&samples::text(1728, 120, seed), Resolution::FINE));
        let pdf = from_pages(&pages);
        for page in &pages {
            let stream = [b"stream\n", &page.strip[..], b"\nendstream"].concat();
            assert!(contains(&pdf, &stream));
        }
        assert!(contains(&pdf, b"/Count 3"));
        assert!(contains(&pdf, b"/K -1"));
        assert_eq!(pdf, from_pages(&pages));
    }

    /// Width and height of the first MediaBox.
    fn page_box(pdf: &[u8]) -> (f64, f64) {
        let text = String::from_utf8_lossy(pdf).into_owned();
        let (_, rest) = text.split_once("/MediaBox [0 0 ").unwrap();
        let (numbers, _) = rest.split_once(']').unwrap();
        let (width, height) = numbers.split_once(' ').unwrap();
        (width.parse().unwrap(), height.parse().unwrap())
    }

    #[test]
    fn the_page_box_is_the_paper() {
        // Rows of a letter page of 11 inches.
        for (resolution, rows) in
            [(Resolution::STANDARD, 1078), (Resolution::FINE, 2156), (Resolution::SUPERFINE, 4301)]
        {
            let pdf = from_pages(&[FaxPage::from_bitmap(&samples::text(1728, rows, 9), resolution)]);
            let (width, height) = page_box(&pdf);
            assert!((width - 1728.0 * 72.0 / 204.0).abs() < 0.01, "{resolution:?}: {width}");
            assert!((height - 792.0).abs() < 0.01, "{resolution:?}: {height}");
            assert!(!contains(&pdf, b"UserUnit"));
        }
    }

    #[test]
    fn very_long_pages_get_a_larger_unit() {
        let long = FaxPage {
            width: 1728,
            height: 39_200,
            resolution: Resolution::STANDARD,
            strip: vec![0x00, 0x10, 0x01],
        };
        let pdf = from_pages(&[long]);
        assert_eq!(page_box(&pdf).1, 14_400.0);
        assert!(contains(&pdf, b"/UserUnit 2\n"));
    }
}
