//! Fax pages as a PDF: each T.6 strip embedded untouched, so the file is as small as the fax.

use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref};

use super::page::FaxPage;

/// Points per inch.
const POINTS: f32 = 72.0;

/// Writes the pages at their true size. The same pages give the same bytes.
pub fn from_pages(pages: &[FaxPage]) -> Vec<u8> {
    let mut pdf = Pdf::new();
    let (catalog, tree) = (Ref::new(1), Ref::new(2));
    // Three objects a page, after the catalogue and the tree.
    let first_ids: Vec<Ref> = (0..pages.len() as i32).map(|index| Ref::new(3 + 3 * index)).collect();
    pdf.catalog(catalog).pages(tree);
    pdf.pages(tree).kids(first_ids.iter().copied()).count(pages.len() as i32);
    for (page, &page_id) in pages.iter().zip(&first_ids) {
        let (image_id, content_id) = (Ref::new(page_id.get() + 1), Ref::new(page_id.get() + 2));
        let width = page.width as f32 * POINTS / f32::from(page.resolution.x_dpi);
        let height = page.height as f32 * POINTS / f32::from(page.resolution.y_dpi);

        let mut leaf = pdf.page(page_id);
        leaf.parent(tree).media_box(Rect::new(0.0, 0.0, width, height)).contents(content_id);
        leaf.resources().x_objects().pair(Name(b"Fax"), image_id);
        leaf.finish();

        let mut image = pdf.image_xobject(image_id, &page.strip);
        image.filter(Filter::CcittFaxDecode);
        image.width(page.width as i32).height(page.height as i32).bits_per_component(1);
        image.color_space().device_gray();
        // K −1 is T.6 (ISO 32000-1, table 11).
        image.decode_parms().k(-1).columns(page.width as i32).rows(page.height as i32);
        image.finish();

        let mut content = Content::new();
        content.transform([width, 0.0, 0.0, height, 0.0, 0.0]).x_object(Name(b"Fax"));
        pdf.stream(content_id, &content.finish());
    }
    pdf.finish()
}

#[cfg(test)]
mod tests {
    use super::super::page::Resolution;
    use super::*;
    use crate::codec::samples;

    #[test]
    fn strips_are_embedded_untouched() {
        let pages: Vec<FaxPage> =
            samples::pages().iter().map(|(_, page)| FaxPage::from_bitmap(page, Resolution::FINE)).collect();
        let pdf = from_pages(&pages);
        assert_eq!(pdf, from_pages(&pages));
        for page in &pages {
            assert!(pdf.windows(page.strip.len()).any(|window| window == page.strip));
        }
        assert!(pdf.starts_with(b"%PDF-") && pdf.trim_ascii_end().ends_with(b"%%EOF"));
    }
}
