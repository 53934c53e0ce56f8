//! Plain text to pages.
//!
//! Owns the decoding (UTF-8, UTF-16 with a byte order mark, else Windows-1252, which is Latin-1 with the
//! quotation marks and the euro that letters really contain), the breaking of lines and pages, and the
//! drawing of glyphs. The page is 80 columns of DejaVu Sans Mono at about 10.5 points: what a mail or a log
//! was written for. A page is 11 inches long, which fits both Letter and A4 paper at the other end.
//! A character that neither DejaVu nor a font of the machine has is drawn as an empty box, so that its loss
//! is seen.

use std::collections::HashMap;

use ab_glyph::{Font, FontRef, GlyphId, PxScale};
use bytes::Bytes;
use unicode_width::UnicodeWidthChar;

use super::fonts::{FallbackFont, FontLibrary};
use super::layout::LINE_PIXELS;
use super::{ConvertError, Emit, Options};
use crate::codec::page::{FaxPage, Resolution};
use crate::codec::raster::Bitmap;

/// Characters in a line.
const COLUMNS: usize = 80;

/// Pixels of one column. 80 of them leave 0.7 inch of margin on either side.
const COLUMN_PIXELS: u32 = 18;

/// DejaVu Sans Mono's advance, in ems (1233 of 2048 units).
const ADVANCE_EMS: f64 = 1233.0 / 2048.0;

/// Baseline to baseline, in ems.
const LINE_EMS: f64 = 1.2;

/// Top of the line to its baseline, in ems.
const BASELINE_EMS: f64 = 0.95;

const PAGE_INCHES: f64 = 11.0;

/// Above the first line and below the last.
const MARGIN_INCHES: f64 = 0.5;

/// Columns from one tab stop to the next.
const TAB_COLUMNS: usize = 8;

/// A line is broken at a space only if the space is in its last part; a longer word is cut.
const BREAK_WITHIN: usize = COLUMNS / 2;

/// Share of a pixel that a glyph has to cover to make it black. Below one half, because thin stems would
/// otherwise break at 98 rows to the inch.
const INK_COVERAGE: f32 = 0.4;

/// Writes the pages of a text.
///
/// # Errors
/// [`ConvertError::Empty`] for a text without a visible character, [`ConvertError::TooManyPages`], and what
/// `emit` refuses.
pub(super) fn convert(
    document: &Bytes,
    options: Options,
    max_pages: u32,
    fonts: &FontLibrary,
    emit: Emit<'_>,
) -> Result<(), ConvertError> {
    let text = decode(document);
    if text.chars().all(char::is_whitespace) {
        return Err(ConvertError::Empty);
    }
    let grid = Grid::new(options.resolution);
    let mut pages = Vec::new();
    // Line and form feeds at the end ask for no page of their own.
    for part in text.trim_end().split('\x0C') {
        let lines: Vec<String> = part.split('\n').flat_map(|line| break_line(line.trim_end())).collect();
        pages.extend(lines.chunks(grid.lines).map(<[String]>::to_vec));
        if pages.len() > max_pages as usize {
            return Err(ConvertError::TooManyPages { limit: max_pages });
        }
    }
    let mut pen = Pen::new(&grid, fonts)?;
    for lines in &pages {
        let mut page = Bitmap::white(LINE_PIXELS, grid.page_height);
        for (number, line) in lines.iter().enumerate() {
            pen.draw_line(&mut page, grid.baseline(number), line);
        }
        emit(FaxPage::from_bitmap(&page, options.resolution))?;
    }
    Ok(())
}

/// The text, with every kind of line end as a line feed.
fn decode(bytes: &[u8]) -> String {
    let text = match bytes {
        [0xFF, 0xFE, units @ ..] => decode_utf16(units, u16::from_le_bytes),
        [0xFE, 0xFF, units @ ..] => decode_utf16(units, u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
            match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => bytes.iter().map(|byte| windows_1252(*byte)).collect(),
            }
        }
    };
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn decode_utf16(units: &[u8], from_bytes: fn([u8; 2]) -> u16) -> String {
    let units = units.as_chunks::<2>().0.iter().map(|pair| from_bytes(*pair));
    char::decode_utf16(units).map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Latin-1, but for the 32 places where Windows-1252 has characters and Latin-1 has none to print.
fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9F => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

/// The lines that `line` becomes: tabs as spaces, at most [`COLUMNS`] wide, broken at a space if one is near.
fn break_line(line: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    let mut columns = 0;
    for character in line.chars() {
        let width = match character {
            '\t' => TAB_COLUMNS - columns % TAB_COLUMNS,
            _ => column_width(character),
        };
        if columns + width > COLUMNS {
            if character == ' ' || character == '\t' {
                // The space at the break is the break.
                lines.push(std::mem::take(&mut current));
                columns = 0;
                continue;
            }
            let carried = carry_over(&mut current);
            lines.push(std::mem::replace(&mut current, carried));
            columns = current.chars().map(column_width).sum();
        }
        match character {
            '\t' => current.extend(std::iter::repeat_n(' ', width)),
            _ => current.push(character),
        }
        columns += width;
    }
    lines.push(current);
    lines
}

/// Takes the unfinished word off the end of a full line, unless it is too long to move.
fn carry_over(line: &mut String) -> String {
    let Some(space) = line.rfind(' ') else {
        return String::new();
    };
    let word = &line[space + 1..];
    if word.chars().map(column_width).sum::<usize>() > BREAK_WITHIN {
        return String::new();
    }
    let word = word.to_owned();
    line.truncate(line[..space].trim_end().len());
    word
}

/// Columns of a character: 0 for combining ones, 2 for wide ones.
fn column_width(character: char) -> usize {
    character.width().unwrap_or(0)
}

/// Where lines lie on a page.
struct Grid {
    /// Pixels of one em, across and along.
    em: (f64, f64),
    line_height: f64,
    top: f64,
    left: u32,
    lines: usize,
    page_height: u32,
}

impl Grid {
    fn new(resolution: Resolution) -> Self {
        let em_x = f64::from(COLUMN_PIXELS) / ADVANCE_EMS;
        let rows_per_inch = f64::from(resolution.y_dpi);
        let em_y = em_x / f64::from(resolution.x_dpi) * rows_per_inch;
        let line_height = em_y * LINE_EMS;
        let text_height = (PAGE_INCHES - 2.0 * MARGIN_INCHES) * rows_per_inch;
        Self {
            em: (em_x, em_y),
            line_height,
            top: MARGIN_INCHES * rows_per_inch,
            left: (LINE_PIXELS - COLUMNS as u32 * COLUMN_PIXELS) / 2,
            lines: (text_height / line_height) as usize,
            page_height: (PAGE_INCHES * rows_per_inch).round() as u32,
        }
    }

    /// The row that line `number` stands on.
    fn baseline(&self, number: usize) -> i32 {
        (self.top + number as f64 * self.line_height + BASELINE_EMS * self.em.1).round() as i32
    }
}

/// Black pixels of a glyph, relative to the left end of its baseline.
type Ink = Vec<(i32, i32)>;

/// Draws characters, each shape rasterised once.
struct Pen<'a> {
    em: (f64, f64),
    left: u32,
    embedded: [FontRef<'static>; 2],
    fonts: &'a FontLibrary,
    shapes: HashMap<char, Ink>,
}

impl<'a> Pen<'a> {
    fn new(grid: &Grid, fonts: &'a FontLibrary) -> Result<Self, ConvertError> {
        let embedded = |data| {
            FontRef::try_from_slice(data)
                .map_err(|_| ConvertError::Internal("an embedded font is broken".into()))
        };
        Ok(Self {
            em: grid.em,
            left: grid.left,
            // The proportional face has scripts that the monospaced one lacks.
            embedded: [embedded(dejavu::sans_mono::regular())?, embedded(dejavu::sans::regular())?],
            fonts,
            shapes: HashMap::new(),
        })
    }

    fn draw_line(&mut self, page: &mut Bitmap, baseline: i32, line: &str) {
        let mut column = 0;
        let mut previous_column = 0;
        for character in line.chars() {
            let width = column_width(character);
            // A combining mark goes over the character before it.
            let at = if width == 0 { previous_column } else { column };
            previous_column = at;
            column += width;
            if character.is_whitespace() || character.is_control() {
                continue;
            }
            let origin = (self.left as usize + at * COLUMN_PIXELS as usize) as i32;
            for (x, y) in self.shape(character) {
                let place = (u32::try_from(origin + x), u32::try_from(baseline + y));
                if let (Ok(x), Ok(y)) = place
                    && x < page.width()
                    && y < page.height()
                {
                    page.set_black(x, y);
                }
            }
        }
    }

    fn shape(&mut self, character: char) -> &Ink {
        if !self.shapes.contains_key(&character) {
            let ink = self.rasterise(character);
            self.shapes.insert(character, ink);
        }
        &self.shapes[&character]
    }

    fn rasterise(&self, character: char) -> Ink {
        let cell = (column_width(character).max(1) * COLUMN_PIXELS as usize) as f64;
        for font in &self.embedded {
            let glyph = font.glyph_id(character);
            if glyph.0 != 0 {
                return self.outline(font, glyph, cell);
            }
        }
        let fallback = self.fonts.covering(character);
        if let Some(FallbackFont { data, index }) = &fallback
            && let Ok(font) = FontRef::try_from_slice_and_index(data, *index)
        {
            return self.outline(&font, font.glyph_id(character), cell);
        }
        self.missing(cell)
    }

    /// The glyph's black pixels, narrowed if it is wider than its cell, centred if it is narrower.
    fn outline(&self, font: &impl Font, glyph: GlyphId, cell: f64) -> Ink {
        let Some(units_per_em) = font.units_per_em() else {
            return Ink::new();
        };
        let height_ems = f64::from(font.height_unscaled() / units_per_em);
        let advance = f64::from(font.h_advance_unscaled(glyph) / units_per_em) * self.em.0;
        let narrowing = if advance > cell { cell / advance } else { 1.0 };
        let indent = ((cell - advance * narrowing) / 2.0).max(0.0);
        let scale =
            PxScale { x: (self.em.0 * height_ems * narrowing) as f32, y: (self.em.1 * height_ems) as f32 };
        let position = ab_glyph::point(indent as f32, 0.0);
        let Some(outlined) = font.outline_glyph(glyph.with_scale_and_position(scale, position)) else {
            return Ink::new();
        };
        let bounds = outlined.px_bounds();
        let (left, top) = (bounds.min.x as i32, bounds.min.y as i32);
        let mut ink = Ink::new();
        outlined.draw(|x, y, coverage| {
            if coverage >= INK_COVERAGE {
                ink.push((left + x as i32, top + y as i32));
            }
        });
        ink
    }

    /// The box that stands for a character no font has.
    fn missing(&self, cell: f64) -> Ink {
        let right = cell as i32 - 3;
        let top = -(self.em.1 * 0.7) as i32;
        let sides = (top..=0).flat_map(|y| [(2, y), (right, y)]);
        let ends = (2..=right).flat_map(|x| [(x, top), (x, 0)]);
        sides.chain(ends).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::Quality;

    fn pages_of(bytes: &'static [u8], max_pages: u32) -> Result<Vec<FaxPage>, ConvertError> {
        let mut pages = Vec::new();
        let options = Options { resolution: Resolution::FINE, quality: Quality::Text };
        let fonts = FontLibrary::new(Vec::new());
        convert(&Bytes::from_static(bytes), options, max_pages, &fonts, &mut |page| {
            pages.push(page);
            Ok(())
        })?;
        Ok(pages)
    }

    #[test]
    fn encodings_are_told_apart() {
        let cases: &[(&[u8], &str)] = &[
            ("Grüße €".as_bytes(), "Grüße €"),
            (b"\xEF\xBB\xBFhi", "hi"),
            (b"Gr\xFC\xDFe \x80 \x93x\x94", "Grüße € “x”"),
            (b"\xFF\xFEG\0\xFC\0", "Gü"),
            (b"\xFE\xFF\0G\0\xFC", "Gü"),
            (b"a\r\nb\rc\nd", "a\nb\nc\nd"),
        ];
        for (bytes, text) in cases {
            assert_eq!(&decode(bytes), text);
        }
    }

    #[test]
    fn lines_break_at_spaces_and_long_words_are_cut() {
        let words = "word ".repeat(20);
        let broken = break_line(words.trim_end());
        assert_eq!(broken.len(), 2);
        assert!(broken.iter().all(|line| line.len() <= COLUMNS));
        assert_eq!(broken.join(" "), words.trim_end());

        let long = "x".repeat(200);
        let broken = break_line(&long);
        assert_eq!(broken.iter().map(String::len).collect::<Vec<_>>(), [80, 80, 40]);

        assert_eq!(break_line("a\tb\t\tc"), ["a       b               c"]);
        assert_eq!(break_line(""), [""]);
        let wide = "漢".repeat(41);
        assert_eq!(break_line(&wide).iter().map(|line| line.chars().count()).collect::<Vec<_>>(), [40, 1]);
    }

    #[test]
    fn form_feeds_and_full_pages_start_a_new_page() {
        assert_eq!(pages_of(b"one", 9).unwrap().len(), 1);
        assert_eq!(pages_of(b"one\n\x0C", 9).unwrap().len(), 1);
        assert_eq!(pages_of(b"one\x0Ctwo\x0C\x0Cfour\n\n", 9).unwrap().len(), 4);
        let lines = Grid::new(Resolution::FINE).lines;
        assert!((50..66).contains(&lines), "{lines}");
        let full: &'static [u8] = Box::leak("x\n".repeat(lines * 3).into_bytes().into_boxed_slice());
        assert_eq!(pages_of(full, 9).unwrap().len(), 3);
        assert_eq!(pages_of(full, 2), Err(ConvertError::TooManyPages { limit: 2 }));
    }

    #[test]
    fn a_text_without_a_visible_character_is_empty() {
        for bytes in [&b" \t\r\n\x0C"[..], b"\xEF\xBB\xBF", b"\xFF\xFE"] {
            assert_eq!(pages_of(bytes, 9), Err(ConvertError::Empty));
        }
    }

    #[test]
    fn letters_leave_ink_in_their_cell_and_lost_characters_a_box() {
        let grid = Grid::new(Resolution::FINE);
        let fonts = FontLibrary::new(Vec::new());
        let pen = Pen::new(&grid, &fonts).unwrap();
        for (character, columns) in [('A', 1), ('ü', 1), ('ش', 1), ('漢', 2)] {
            let ink = pen.rasterise(character);
            let width = columns * COLUMN_PIXELS as i32;
            assert!(ink.len() > 20, "{character} has {} pixels", ink.len());
            // Arabic letters reach a little beyond their advance, to join their neighbours.
            assert!(ink.iter().all(|(x, _)| (-4..width + 4).contains(x)), "{character} leaves its cell");
        }
    }
}
