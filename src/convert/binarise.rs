//! Grey to black and white: the choice that decides legibility, and with it most of a call's minutes.
//!
//! Owns the thresholds and the screens. A page comes with what is known of its drawing, the [`Regions`]:
//! - outside all regions, a pixel darker than the middle is black;
//! - a picture is looked at first: a scanned sheet or a drawing gets a threshold that follows its paper, a
//!   photograph a clustered-dot screen (which G4 compresses four times better than error diffusion) or, at
//!   [`Quality::Photo`], error diffusion;
//! - a box of text is cut at the middle between its own ink and its own ground, so that grey, coloured and
//!   reversed text comes out solid.
//!
//! Knows nothing of formats. Every function is pure.

use super::grey::GreyImage;
use super::{ConvertError, Quality};
use crate::codec::page::Resolution;
use crate::codec::raster::Bitmap;

/// Luma below which a pixel outside all regions is black.
const MIDDLE: u8 = 128;

/// A text box whose ink and ground differ by less holds no text that could be made out.
const MIN_TEXT_CONTRAST: u8 = 16;

/// Columns of one cell of the clustered-dot screen: 25 dots to the inch along the line, the coarsest that
/// still shows a face, and the cheapest to send.
const SCREEN_CELL_COLUMNS: u32 = 8;

/// Half the side of the window whose mean is the local paper of a scan: wider than a stroke of a headline,
/// narrower than the shadow of a book's fold.
const PAPER_WINDOW_RADIUS: u32 = 24;

/// A rectangle of pixels, `right` and `bottom` exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PixelRect {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) right: u32,
    pub(super) bottom: u32,
}

impl PixelRect {
    /// The part of the rectangle that lies on a page of `width` × `height`; `None` if nothing does.
    fn on_page(self, width: u32, height: u32) -> Option<Self> {
        let cut = Self { right: self.right.min(width), bottom: self.bottom.min(height), ..self };
        (cut.left < cut.right && cut.top < cut.bottom).then_some(cut)
    }

    fn columns(self) -> std::ops::Range<usize> {
        self.left as usize..self.right as usize
    }

    fn pixels(self) -> u64 {
        u64::from(self.right - self.left) * u64::from(self.bottom - self.top)
    }
}

/// What is known of a page's drawing.
#[derive(Debug, Clone, Default)]
pub(super) struct Regions {
    /// Images and shadings.
    pub(super) pictures: Vec<PixelRect>,
    /// Runs of text, drawn after the pictures.
    pub(super) text: Vec<PixelRect>,
}

impl Regions {
    /// One picture that is the whole of `page`.
    pub(super) fn one_picture(page: &GreyImage) -> Self {
        Self {
            pictures: vec![PixelRect { left: 0, top: 0, right: page.width(), bottom: page.height() }],
            text: Vec::new(),
        }
    }
}

/// Makes the page black and white.
///
/// # Errors
/// [`ConvertError::Internal`] if the raster refuses its own size, which a page of at least one pixel rules out.
pub(super) fn binarise(
    page: &GreyImage,
    regions: &Regions,
    quality: Quality,
    resolution: Resolution,
) -> Result<Bitmap, ConvertError> {
    let (width, height) = (page.width(), page.height());
    let mut bits = Bits::below(page, MIDDLE);
    for picture in &regions.pictures {
        let Some(area) = picture.on_page(width, height) else {
            continue;
        };
        let histogram = Histogram::of(page, area);
        if histogram.is_black_and_white() {
            // The cuts below would change nothing, and take most of the time of such a page.
            continue;
        }
        match (histogram.paper(), quality) {
            (Some(paper), _) => cut_scan(&mut bits, page, area, paper),
            (None, Quality::Text) => Screen::new(resolution).apply(&mut bits, page, area),
            (None, Quality::Photo) => diffuse(&mut bits, page, area),
        }
    }
    for text in &regions.text {
        let Some(area) = text.on_page(width, height) else {
            continue;
        };
        if let Some(threshold) = Histogram::of(page, area).text_threshold() {
            bits.cut(page, area, threshold);
        }
    }
    Bitmap::from_rows(width, height, bits.rows).map_err(|error| ConvertError::Internal(error.to_string()))
}

/// Packed rows, MSB first, 1 = black.
struct Bits {
    stride: usize,
    rows: Vec<u8>,
}

impl Bits {
    /// Black where the page is darker than `threshold`.
    fn below(page: &GreyImage, threshold: u8) -> Self {
        let stride = page.width().div_ceil(8) as usize;
        let mut rows = Vec::with_capacity(stride * page.height() as usize);
        let pack = |pixels: &[u8]| {
            (0..8u32)
                .zip(pixels)
                .fold(0u8, |byte, (x, value)| byte | (u8::from(*value < threshold) << (7 - x)))
        };
        for y in 0..page.height() {
            let (blocks, rest) = page.row(y).as_chunks::<8>();
            // Most of a page is white paper, which is told from eight pixels at once.
            rows.extend(blocks.iter().map(|block| match u64::from_ne_bytes(*block) {
                u64::MAX => 0,
                _ => pack(block),
            }));
            if !rest.is_empty() {
                rows.push(pack(rest));
            }
        }
        Self { stride, rows }
    }

    fn set(&mut self, x: usize, y: u32, black: bool) {
        let mask = 0x80 >> (x % 8);
        let byte = &mut self.rows[y as usize * self.stride + x / 8];
        if black {
            *byte |= mask;
        } else {
            *byte &= !mask;
        }
    }

    /// Black below `threshold`, white from it on.
    fn cut(&mut self, page: &GreyImage, area: PixelRect, threshold: u8) {
        for y in area.top..area.bottom {
            let row = page.row(y);
            for x in area.columns() {
                self.set(x, y, row[x] < threshold);
            }
        }
    }
}

/// How often each luma occurs in an area.
struct Histogram {
    counts: [u32; 256],
    total: u64,
}

impl Histogram {
    fn of(page: &GreyImage, area: PixelRect) -> Self {
        let mut counts = [0u32; 256];
        for y in area.top..area.bottom {
            for value in &page.row(y)[area.columns()] {
                counts[usize::from(*value)] += 1;
            }
        }
        Self { counts, total: area.pixels() }
    }

    /// Whether it has no shade between black and white, as scans for fax have that are not scaled.
    fn is_black_and_white(&self) -> bool {
        self.counts[1..usize::from(u8::MAX)].iter().all(|count| *count == 0)
    }

    fn share(&self, range: std::ops::RangeInclusive<u8>) -> f64 {
        let (first, last) = range.into_inner();
        let inside: u64 =
            self.counts[usize::from(first)..=usize::from(last)].iter().map(|count| u64::from(*count)).sum();
        inside as f64 / self.total as f64
    }

    /// The luma below which `share` of the pixels lie.
    fn percentile(&self, share: f64) -> u8 {
        let wanted = share * self.total as f64;
        let mut seen = 0u64;
        for (value, count) in (0..=u8::MAX).zip(&self.counts) {
            seen += u64::from(*count);
            if seen as f64 > wanted {
                return value;
            }
        }
        u8::MAX
    }

    /// The luma of the paper, if this is a scanned sheet or a drawing: most of it is one bright shade, or
    /// nearly all of it is either ink or paper. Otherwise it is a photograph.
    fn paper(&self) -> Option<u8> {
        const BRIGHT: u8 = 144;
        const SPREAD: u8 = 20;
        let mut peak = u8::MAX;
        let mut peak_share = 0.0;
        for value in BRIGHT..=u8::MAX {
            let share = self.share(value.saturating_sub(SPREAD)..=value.saturating_add(SPREAD));
            if share >= peak_share {
                (peak, peak_share) = (value, share);
            }
        }
        let mostly_paper = peak_share >= 0.55;
        let two_shades = self.share(0..=64) + self.share(192..=u8::MAX) >= 0.85;
        (mostly_paper || two_shades).then_some(peak)
    }

    /// The middle between the 1st and the 99th percentile; `None` when they are too close to tell.
    fn text_threshold(&self) -> Option<u8> {
        let (ink, ground) = (self.percentile(0.01), self.percentile(0.99));
        (ground.saturating_sub(ink) >= MIN_TEXT_CONTRAST).then(|| ink.midpoint(ground))
    }
}

/// Cuts a scan against the mean of its neighbourhood, so that a shadow across the sheet neither swallows text
/// nor becomes black itself. What is as dark as ink is black wherever it is, what is as bright as the paper
/// white.
fn cut_scan(bits: &mut Bits, page: &GreyImage, area: PixelRect, paper: u8) {
    let certainly_black = u32::from(paper) / 2;
    let certainly_white = u32::from(paper) * 9 / 10;
    let sums = SummedArea::of(page, area);
    for y in area.top..area.bottom {
        let row = page.row(y);
        for x in area.columns() {
            let value = u32::from(row[x]);
            let black = if value < certainly_black {
                true
            } else if value >= certainly_white {
                false
            } else {
                let (sum, pixels) = sums.around(x as u32, y);
                // Darker than 85 % of the neighbourhood's mean.
                u64::from(value) * u64::from(pixels) * 100 < u64::from(sum) * 85
            };
            bits.set(x, y, black);
        }
    }
}

/// Sums over all rectangles that start at the area's corner, for means of any window in constant time.
struct SummedArea {
    area: PixelRect,
    stride: usize,
    /// One row and column of zeros, then the running sums. They wrap round; their differences over a window
    /// of at most 49 × 49 pixels do not.
    sums: Vec<u32>,
}

impl SummedArea {
    fn of(page: &GreyImage, area: PixelRect) -> Self {
        let stride = (area.right - area.left) as usize + 1;
        let mut sums = vec![0u32; stride];
        sums.reserve(stride * (area.bottom - area.top) as usize);
        for y in area.top..area.bottom {
            let above = sums.len() - stride;
            let mut row_sum = 0u32;
            sums.push(0);
            for (column, value) in (1..).zip(&page.row(y)[area.columns()]) {
                row_sum = row_sum.wrapping_add(u32::from(*value));
                sums.push(sums[above + column].wrapping_add(row_sum));
            }
        }
        Self { area, stride, sums }
    }

    /// The sum and the number of pixels of the window around (x, y), cut at the area's edge.
    fn around(&self, x: u32, y: u32) -> (u32, u32) {
        let left = x.saturating_sub(PAPER_WINDOW_RADIUS).max(self.area.left) - self.area.left;
        let top = y.saturating_sub(PAPER_WINDOW_RADIUS).max(self.area.top) - self.area.top;
        let right = (x + PAPER_WINDOW_RADIUS + 1).min(self.area.right) - self.area.left;
        let bottom = (y + PAPER_WINDOW_RADIUS + 1).min(self.area.bottom) - self.area.top;
        let at = |column: u32, row: u32| self.sums[row as usize * self.stride + column as usize];
        let sum = at(right, bottom)
            .wrapping_sub(at(left, bottom))
            .wrapping_sub(at(right, top))
            .wrapping_add(at(left, top));
        (sum, (right - left) * (bottom - top))
    }
}

/// A clustered-dot screen: dots that grow from the centres of a lattice at 45°, round on paper in each
/// resolution.
struct Screen {
    columns: u32,
    rows: u32,
    thresholds: Vec<u8>,
}

impl Screen {
    fn new(resolution: Resolution) -> Self {
        let columns = SCREEN_CELL_COLUMNS;
        let wanted = f64::from(columns) * f64::from(resolution.y_dpi) / f64::from(resolution.x_dpi);
        // Even, so that both dots of a cell get the same number of rows.
        let rows = ((wanted / 2.0).round() as u32 * 2).max(2);
        let cells = columns * rows;
        let height_above_plane = |cell: u32| {
            let turn = std::f64::consts::TAU;
            let x = (f64::from(cell % columns) + 0.5) / f64::from(columns) * turn;
            let y = (f64::from(cell / columns) + 0.5) / f64::from(rows) * turn;
            x.cos() * y.cos()
        };
        let mut order: Vec<u32> = (0..cells).collect();
        order.sort_by(|first, second| {
            height_above_plane(*first).total_cmp(&height_above_plane(*second)).then(first.cmp(second))
        });
        let mut thresholds = vec![0; cells as usize];
        for (rank, cell) in (0u32..).zip(order) {
            thresholds[cell as usize] = ((2 * rank + 1) * 255 / (2 * cells)) as u8;
        }
        Self { columns, rows, thresholds }
    }

    fn apply(&self, bits: &mut Bits, page: &GreyImage, area: PixelRect) {
        for y in area.top..area.bottom {
            let row = page.row(y);
            let cell_row = (y % self.rows) as usize * self.columns as usize;
            for x in area.columns() {
                let threshold = self.thresholds[cell_row + x % self.columns as usize];
                bits.set(x, y, row[x] <= threshold);
            }
        }
    }
}

/// Floyd–Steinberg error diffusion, every other row backwards so that the error leaves no diagonal trails.
fn diffuse(bits: &mut Bits, page: &GreyImage, area: PixelRect) {
    let width = area.columns().len();
    // Errors in sixteenths, with one column of margin on either side.
    let mut here = vec![0i32; width + 2];
    let mut below = vec![0i32; width + 2];
    for y in area.top..area.bottom {
        let row = &page.row(y)[area.columns()];
        let backwards = y % 2 == 1;
        for step in 0..width {
            let column = if backwards { width - 1 - step } else { step };
            let at = column + 1;
            let value = i32::from(row[column]) + here[at] / 16;
            let black = value < i32::from(MIDDLE);
            bits.set(area.left as usize + column, y, black);
            let error = if black { value } else { value - 255 };
            let (ahead, behind) = if backwards { (at - 1, at + 1) } else { (at + 1, at - 1) };
            here[ahead] += error * 7;
            below[behind] += error * 3;
            below[at] += error * 5;
            below[ahead] += error;
        }
        std::mem::swap(&mut here, &mut below);
        below.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn black_share(bitmap: &Bitmap) -> f64 {
        bitmap.black_share()
    }

    fn flat(width: u32, height: u32, luma: u8) -> GreyImage {
        GreyImage::from_luma(width, height, vec![luma; (width * height) as usize]).unwrap()
    }

    /// A gradient over the whole range is a photograph by every measure.
    fn gradient() -> GreyImage {
        let luma = (0..256u32).flat_map(|_| (0..=255u8).collect::<Vec<u8>>()).collect();
        GreyImage::from_luma(256, 256, luma).unwrap()
    }

    #[test]
    fn both_screens_keep_the_mean_of_a_photograph() {
        let page = gradient();
        for resolution in [Resolution::STANDARD, Resolution::FINE, Resolution::SUPERFINE] {
            for quality in [Quality::Text, Quality::Photo] {
                let bitmap = binarise(&page, &Regions::one_picture(&page), quality, resolution).unwrap();
                let share = black_share(&bitmap);
                assert!((0.47..0.53).contains(&share), "{quality:?}: {share}");
            }
        }
    }

    #[test]
    fn the_screen_makes_fewer_runs_than_error_diffusion() {
        let page = gradient();
        let runs = |quality| {
            let bitmap = binarise(&page, &Regions::one_picture(&page), quality, Resolution::FINE).unwrap();
            (0..bitmap.height())
                .map(|y| {
                    let row = bitmap.row(y);
                    (1..256usize)
                        .filter(|x| {
                            let bit = |x: usize| row[x / 8] >> (7 - x % 8) & 1;
                            bit(*x) != bit(x - 1)
                        })
                        .count()
                })
                .sum::<usize>()
        };
        assert!(runs(Quality::Text) * 2 < runs(Quality::Photo));
    }

    #[test]
    fn pale_and_reversed_text_comes_out_solid() {
        // (ground, ink): grey 0.9 on white, yellow on white, white on dark, grey on grey.
        for (ground, ink) in [(255, 230), (255, 226), (60, 255), (200, 150)] {
            let mut luma = vec![ground; 100 * 40];
            for y in 10..30 {
                for x in (20..80).step_by(6) {
                    luma[y * 100 + x] = ink;
                    luma[y * 100 + x + 1] = ink;
                }
            }
            let page = GreyImage::from_luma(100, 40, luma).unwrap();
            let regions = Regions {
                pictures: Vec::new(),
                text: vec![PixelRect { left: 18, top: 8, right: 84, bottom: 32 }],
            };
            let bitmap = binarise(&page, &regions, Quality::Text, Resolution::FINE).unwrap();
            let black = |x: usize, y: u32| bitmap.row(y)[x / 8] >> (7 - x % 8) & 1 == 1;
            assert_eq!(black(20, 20), ink < ground, "ink {ink} on {ground}");
            assert_eq!(black(23, 20), ink > ground, "ground {ground} under {ink}");
        }
    }

    #[test]
    fn what_is_black_and_white_already_stays_bit_for_bit() {
        let is_ink = |x: u32, y: u32| (x * 31 + y * 17) % 11 < 5 || (x == 7 && y.is_multiple_of(9));
        let luma =
            (0..60).flat_map(|y| (0..100).map(move |x| if is_ink(x, y) { 0 } else { u8::MAX })).collect();
        let page = GreyImage::from_luma(100, 60, luma).unwrap();
        for quality in [Quality::Text, Quality::Photo] {
            let bitmap = binarise(&page, &Regions::one_picture(&page), quality, Resolution::FINE).unwrap();
            for (x, y) in (0..60).flat_map(|y| (0..100).map(move |x| (x, y))) {
                assert_eq!(bitmap.is_black(x, y), is_ink(x, y), "{quality:?}: {x}, {y}");
            }
        }
    }

    #[test]
    fn a_shadow_across_a_scan_does_not_swallow_its_text() {
        let (width, height) = (400u32, 100u32);
        let luma = (0..height)
            .flat_map(|y| {
                (0..width).map(move |x| {
                    let paper = 250 - x / 10;
                    let ink = x % 20 < 3 && (30..70).contains(&y);
                    (if ink { paper / 2 } else { paper }) as u8
                })
            })
            .collect();
        let page = GreyImage::from_luma(width, height, luma).unwrap();
        let bitmap = binarise(&page, &Regions::one_picture(&page), Quality::Text, Resolution::FINE).unwrap();
        for x in 0..width as usize {
            let black = bitmap.row(50)[x / 8] >> (7 - x % 8) & 1 == 1;
            assert_eq!(black, x % 20 < 3, "column {x}");
        }
    }

    #[test]
    fn white_paper_stays_white_and_regions_beyond_the_page_do_no_harm() {
        let page = flat(64, 16, 255);
        let far = PixelRect { left: 60, top: 10, right: 5000, bottom: 5000 };
        let outside = PixelRect { left: 500, top: 500, right: 600, bottom: 600 };
        let regions = Regions { pictures: vec![far, outside], text: vec![far, outside] };
        for quality in [Quality::Text, Quality::Photo] {
            let bitmap = binarise(&page, &regions, quality, Resolution::FINE).unwrap();
            assert!(black_share(&bitmap) == 0.0);
        }
    }
}
