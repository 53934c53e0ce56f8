//! Documents made to hurt whoever reads them.
//!
//! Each function returns the bytes of one document: small, valid enough to be taken for what it claims to
//! be, and out of all proportion in one respect. Nothing here depends on the product.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compress, Compression, FlushCompress};

/// A sound PDF of `pages` empty Letter pages.
pub(crate) fn pdf_of_pages(pages: usize) -> Vec<u8> {
    let mut pdf = PdfBuilder::new();
    let kids: Vec<String> = (0..pages).map(|page| format!("{} 0 R", page + 3)).collect();
    pdf.object("<< /Type /Catalog /Pages 2 0 R >>");
    pdf.object(&format!("<< /Type /Pages /Count {pages} /Kids [{}] >>", kids.join(" ")));
    for _ in 0..pages {
        pdf.object("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] >>");
    }
    pdf.finish("")
}

/// A page whose content is 1 GiB of white space, compressed three times over into less than 1 kB.
pub(crate) fn pdf_nested_flate() -> Vec<u8> {
    pdf_of_white_space(1024)
}

/// A page whose content is `mebibytes` of white space, compressed three times over.
pub(crate) fn pdf_of_white_space(mebibytes: u32) -> Vec<u8> {
    let thrice = zlib(&zlib(&zlib_of_zeros(mebibytes)));
    one_page_pdf("", |pdf| {
        pdf.stream("/Filter [/FlateDecode /FlateDecode /FlateDecode]", &thrice);
    })
}

/// A page with one image of `width` × `height` RGB pixels and almost no data.
pub(crate) fn pdf_with_image(width: u32, height: u32) -> Vec<u8> {
    one_page_pdf("/Resources << /XObject << /I 5 0 R >> >>", |pdf| {
        pdf.stream("", b"q 612 0 0 792 0 0 cm /I Do Q");
        pdf.stream(
            &format!(
                "/Type /XObject /Subtype /Image /Width {width} /Height {height} \
                 /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /FlateDecode"
            ),
            &zlib(&[0; 4096]),
        );
    })
}

/// Forms that call the next ten times, twelve deep: a billion times what the last one draws, and more.
pub(crate) fn pdf_exponential_forms() -> Vec<u8> {
    const DEPTH: usize = 12;
    const FIRST_FORM: usize = 5;
    one_page_pdf("/Resources << /XObject << /F 5 0 R >> >>", |pdf| {
        pdf.stream("", b"/F Do");
        for level in 0..DEPTH {
            let next = FIRST_FORM + level + 1;
            pdf.stream(
                &format!(
                    "/Type /XObject /Subtype /Form /BBox [0 0 612 792] \
                     /Resources << /XObject << /F {next} 0 R >> >>"
                ),
                "/F Do ".repeat(10).as_bytes(),
            );
        }
        pdf.stream("/Type /XObject /Subtype /Form /BBox [0 0 612 792]", b"0 0 m 600 700 l S");
    })
}

/// A form that calls itself.
pub(crate) fn pdf_recursive_form() -> Vec<u8> {
    one_page_pdf("/Resources << /XObject << /F 5 0 R >> >>", |pdf| {
        pdf.stream("", b"/F Do");
        pdf.stream(
            "/Type /XObject /Subtype /Form /BBox [0 0 612 792] \
             /Resources << /XObject << /F 5 0 R >> >>",
            b"/F Do /F Do",
        );
    })
}

/// A page of `width` × `height`, given as PDF writes numbers, so that it need not be one.
pub(crate) fn pdf_with_media_box(width: &str, height: &str) -> Vec<u8> {
    let mut pdf = PdfBuilder::new();
    pdf.object("<< /Type /Catalog /Pages 2 0 R >>");
    pdf.object("<< /Type /Pages /Count 1 /Kids [3 0 R] >>");
    pdf.object(&format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents 4 0 R >>"));
    pdf.stream("", b"0 0 m 100 100 l S");
    pdf.finish("")
}

/// A page filled with a pattern whose tile repeats every millionth of a unit.
pub(crate) fn pdf_with_tiny_tiles() -> Vec<u8> {
    one_page_pdf("/Resources << /Pattern << /P 5 0 R >> >>", |pdf| {
        pdf.stream("", b"/Pattern cs /P scn 0 0 612 792 re f");
        pdf.stream(
            "/Type /Pattern /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 1 1] \
             /XStep 0.000001 /YStep 0.000001 /Resources << >>",
            b"0 0 1 1 re f",
        );
    })
}

/// Arrays within arrays, `depth` deep, in a page's content and in its dictionary.
pub(crate) fn pdf_with_nested_arrays(depth: usize) -> Vec<u8> {
    let nested = "[".repeat(depth) + &"]".repeat(depth);
    one_page_pdf(&format!("/Nested {nested}"), |pdf| {
        pdf.stream("", format!("{nested} TJ {nested} 0 d").as_bytes());
    })
}

/// A PDF that opens only with a password that nobody has.
pub(crate) fn pdf_encrypted() -> Vec<u8> {
    let mut pdf = PdfBuilder::new();
    pdf.object("<< /Type /Catalog /Pages 2 0 R >>");
    pdf.object("<< /Type /Pages /Count 1 /Kids [3 0 R] >>");
    pdf.object("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] >>");
    let owner = "41".repeat(32);
    let user = "42".repeat(32);
    pdf.object(&format!("<< /Filter /Standard /V 1 /R 2 /P -4 /O <{owner}> /U <{user}> >>"));
    let id = "43".repeat(16);
    pdf.finish(&format!("/Encrypt 4 0 R /ID [<{id}> <{id}>]"))
}

/// A PDF whose list of pages is empty.
pub(crate) fn pdf_without_pages() -> Vec<u8> {
    pdf_of_pages(0)
}

/// A PNG header for `width` × `height` RGBA pixels, with almost no data after it.
pub(crate) fn png_of_size(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1A\n".to_vec();
    let mut header = Vec::new();
    header.extend_from_slice(&width.to_be_bytes());
    header.extend_from_slice(&height.to_be_bytes());
    // Eight bits a sample, RGBA, no interlace.
    header.extend_from_slice(&[8, 6, 0, 0, 0]);
    png_chunk(&mut png, b"IHDR", &header);
    png_chunk(&mut png, b"IDAT", &zlib(&[0; 512]));
    png_chunk(&mut png, b"IEND", &[]);
    png
}

/// A baseline JPEG header for 65535 × 65535 pixels in three components, and an entropy stream of nothing.
pub(crate) fn jpeg_of_largest_size() -> Vec<u8> {
    let mut jpeg = b"\xFF\xD8".to_vec();
    jpeg.extend_from_slice(b"\xFF\xDB\0\x43\0");
    jpeg.extend_from_slice(&[1; 64]);
    jpeg.extend_from_slice(b"\xFF\xC0\0\x11\x08\xFF\xFF\xFF\xFF\x03\x01\x11\0\x02\x11\0\x03\x11\0");
    for class in [0x00, 0x10] {
        // One code of one bit, for the value 0.
        jpeg.extend_from_slice(&[0xFF, 0xC4, 0, 20, class, 1]);
        jpeg.extend_from_slice(&[0; 15]);
        jpeg.push(0);
    }
    jpeg.extend_from_slice(b"\xFF\xDA\0\x0C\x03\x01\0\x02\0\x03\0\0\x3F\0");
    jpeg.extend_from_slice(&[0; 256]);
    jpeg.extend_from_slice(b"\xFF\xD9");
    jpeg
}

/// A TIFF whose second page is followed by its first.
pub(crate) fn tiff_with_looping_pages() -> Vec<u8> {
    let mut tiff = b"II\x2A\0\x08\0\0\0".to_vec();
    let directory_bytes = 2 + 9 * 12 + 4;
    let second = 8 + directory_bytes;
    let pixels = second + directory_bytes;
    for next in [second, 8] {
        tiff_directory(&mut tiff, 8, 8, pixels, next);
    }
    tiff.extend_from_slice(&[0xAA; 8]);
    tiff
}

/// A TIFF of `width` × `height` one-bit pixels whose strip is eight bytes.
pub(crate) fn tiff_of_size(width: u32, height: u32) -> Vec<u8> {
    let mut tiff = b"II\x2A\0\x08\0\0\0".to_vec();
    tiff_directory(&mut tiff, width, height, 8 + 2 + 9 * 12 + 4, 0);
    tiff.extend_from_slice(&[0xAA; 8]);
    tiff
}

/// A text of nothing but page breaks around one letter each.
pub(crate) fn text_of_pages(pages: usize) -> Vec<u8> {
    b"x\x0C".repeat(pages)
}

/// One uncompressed, bilevel page directory (TIFF 6.0, section 3).
fn tiff_directory(tiff: &mut Vec<u8>, width: u32, height: u32, pixels: u32, next: u32) {
    const LONG: u16 = 4;
    let entries: [(u16, u32); 9] = [
        (256, width),
        (257, height),
        (258, 1),
        (259, 1),
        (262, 1),
        (273, pixels),
        (277, 1),
        (278, height),
        (279, 8),
    ];
    tiff.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    for (tag, value) in entries {
        tiff.extend_from_slice(&tag.to_le_bytes());
        tiff.extend_from_slice(&LONG.to_le_bytes());
        tiff.extend_from_slice(&1u32.to_le_bytes());
        tiff.extend_from_slice(&value.to_le_bytes());
    }
    tiff.extend_from_slice(&next.to_le_bytes());
}

fn png_chunk(png: &mut Vec<u8>, kind: &[u8; 4], body: &[u8]) {
    png.extend_from_slice(&(body.len() as u32).to_be_bytes());
    png.extend_from_slice(kind);
    png.extend_from_slice(body);
    let mut checksum = flate2::Crc::new();
    checksum.update(kind);
    checksum.update(body);
    png.extend_from_slice(&checksum.sum().to_be_bytes());
}

/// Catalog, page tree and one Letter page with `page_entries`; `more` adds the content (object 4) and what
/// else there is.
fn one_page_pdf(page_entries: &str, more: impl FnOnce(&mut PdfBuilder)) -> Vec<u8> {
    let mut pdf = PdfBuilder::new();
    pdf.object("<< /Type /Catalog /Pages 2 0 R >>");
    pdf.object("<< /Type /Pages /Count 1 /Kids [3 0 R] >>");
    pdf.object(&format!(
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R {page_entries} >>"
    ));
    more(&mut pdf);
    pdf.finish("")
}

/// Objects numbered from 1, with their offsets.
struct PdfBuilder {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl PdfBuilder {
    fn new() -> Self {
        Self { bytes: b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n".to_vec(), offsets: Vec::new() }
    }

    fn object(&mut self, body: &str) {
        self.begin();
        self.bytes.extend_from_slice(body.as_bytes());
        self.bytes.extend_from_slice(b"\nendobj\n");
    }

    fn stream(&mut self, entries: &str, data: &[u8]) {
        self.begin();
        let dictionary = format!("<< {entries} /Length {} >>\nstream\n", data.len());
        self.bytes.extend_from_slice(dictionary.as_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.extend_from_slice(b"\nendstream\nendobj\n");
    }

    fn begin(&mut self) {
        self.offsets.push(self.bytes.len());
        let head = format!("{} 0 obj\n", self.offsets.len());
        self.bytes.extend_from_slice(head.as_bytes());
    }

    fn finish(mut self, trailer_entries: &str) -> Vec<u8> {
        let start = self.bytes.len();
        let size = self.offsets.len() + 1;
        let mut table = format!("xref\n0 {size}\n0000000000 65535 f \n");
        for offset in &self.offsets {
            table.push_str(&format!("{offset:010} 00000 n \n"));
        }
        table.push_str(&format!(
            "trailer\n<< /Size {size} /Root 1 0 R {trailer_entries} >>\nstartxref\n{start}\n%%EOF\n"
        ));
        self.bytes.extend_from_slice(table.as_bytes());
        self.bytes
    }
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).expect("a vector takes every byte");
    encoder.finish().expect("a vector takes every byte")
}

/// A sound zlib stream of `mebibytes` of zeros, put together from copies of one compressed MiB.
fn zlib_of_zeros(mebibytes: u32) -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let mut block = Vec::with_capacity(1 << 16);
    // A full flush ends on a byte and refers to nothing before it, so the block can be repeated.
    Compress::new(Compression::best(), false)
        .compress_vec(&zeros, &mut block, FlushCompress::Full)
        .expect("zeros can be compressed");
    let mut stream = vec![0x78, 0xDA];
    for _ in 0..mebibytes {
        stream.extend_from_slice(&block);
    }
    // An empty final block, and the Adler-32 of that many zeros: 1, and their number modulo 65521.
    stream.extend_from_slice(&[0x03, 0x00]);
    let count = u64::from(mebibytes) << 20;
    let adler = ((count % 65_521) as u32) << 16 | 1;
    stream.extend_from_slice(&adler.to_be_bytes());
    stream
}
