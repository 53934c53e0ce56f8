//! What a PDF page draws, without drawing it.
//!
//! Owns a hayro [`Device`] that notes where images, shadings and runs of text fall on the fax page, for
//! [`super::binarise`] to treat each its own way, and the largest image, so that one that cannot be decoded
//! is refused before it is tried. It decodes no image. The number of boxes is bounded.

use hayro::hayro_interpret::font::{Glyph, GlyphRun};
use hayro::hayro_interpret::{
    BlendMode, ClipPath, Device, DrawMode, DrawProps, Image, ImageDrawProps, Paint, SoftMask,
};
use hayro::hayro_syntax::object::dict::keys::{BITS_PER_COMPONENT, BPC};
use hayro::kurbo::{BezPath, Rect, Shape};

use super::binarise::{PixelRect, Regions};

/// Images of more pixels are refused: at one byte each this is most of a worker's memory, while a sheet of
/// A4 at 2400 dpi still has a little less.
const MAX_IMAGE_PIXELS: u64 = 600_000_000;

/// Boxes kept of each kind. A dense page has some thousand runs of text; a page beyond this is a plot, and
/// loses nothing but the special treatment of what comes later.
const MAX_BOXES: usize = 20_000;

/// Pixels that a box of text is widened by, so that the anti-aliased edge of a glyph is inside.
const TEXT_MARGIN: f64 = 1.0;

/// A device that only takes notes.
pub(super) struct PageDrawing {
    page: Rect,
    /// The visible part under each clip so far; each is within the one before.
    clips: Vec<Rect>,
    regions: Regions,
    oversized_image: Option<(u32, u32)>,
}

impl PageDrawing {
    /// Notes for a page whose pixels are `page`.
    pub(super) fn new(page: Rect) -> Self {
        Self { page, clips: Vec::new(), regions: Regions::default(), oversized_image: None }
    }

    /// Boxes of pictures and text, in pixels of the page.
    pub(super) fn regions(&self) -> &Regions {
        &self.regions
    }

    /// Width and height of an image that is too large to be decoded.
    pub(super) fn oversized_image(&self) -> Option<(u32, u32)> {
        self.oversized_image
    }

    fn visible(&self) -> Rect {
        self.clips.last().copied().unwrap_or(self.page)
    }

    /// The pixels of `area` that can be seen; `None` when there are none.
    fn pixels(&self, area: Rect) -> Option<PixelRect> {
        let seen = area.intersect(self.visible());
        let sound = seen.is_finite() && seen.width() > 0.0 && seen.height() > 0.0;
        // Within the page, so every side fits.
        sound.then(|| PixelRect {
            left: seen.x0.floor() as u32,
            top: seen.y0.floor() as u32,
            right: seen.x1.ceil() as u32,
            bottom: seen.y1.ceil() as u32,
        })
    }

    fn note_picture(&mut self, area: Rect) {
        if self.regions.pictures.len() < MAX_BOXES
            && let Some(pixels) = self.pixels(area)
            && self.regions.pictures.last() != Some(&pixels)
        {
            self.regions.pictures.push(pixels);
        }
    }

    fn note_text(&mut self, area: Rect) {
        if self.regions.text.len() < MAX_BOXES
            && let Some(pixels) = self.pixels(area.inflate(TEXT_MARGIN, TEXT_MARGIN))
        {
            self.regions.text.push(pixels);
        }
    }
}

impl<'a> Device<'a> for PageDrawing {
    fn draw_path(&mut self, path: &BezPath, props: DrawProps<'a>, _mode: &DrawMode) {
        if matches!(props.paint, Paint::Pattern(_)) {
            self.note_picture(props.transform.transform_rect_bbox(path.bounding_box()));
        }
    }

    fn push_clip_path(&mut self, clip: &ClipPath) {
        let seen = self.visible().intersect(clip.path.bounding_box());
        self.clips.push(seen);
    }

    fn pop_clip(&mut self) {
        self.clips.pop();
    }

    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}

    fn pop_transparency_group(&mut self) {}

    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, mode: &DrawMode) {
        // The invisible text under a scan says nothing about the scan's pixels.
        if matches!(mode, DrawMode::Invisible) {
            return;
        }
        let boxes = run.glyphs().iter().filter_map(|glyph| match &**glyph {
            Glyph::Outline(outline) => {
                let placed = (props.transform * glyph.transform()) * outline.outline();
                Some(placed.bounding_box()).filter(|area| area.area() > 0.0)
            }
            Glyph::Type3(_) => None,
        });
        if let Some(area) = boxes.reduce(|sum, area| sum.union(area)) {
            self.note_text(area);
        }
    }

    fn draw_image(&mut self, image: Image<'a, '_>, props: ImageDrawProps<'a>) {
        let (width, height) = (image.width(), image.height());
        if u64::from(width) * u64::from(height) > MAX_IMAGE_PIXELS {
            self.oversized_image = Some((width, height));
        }
        // Stencils and one-bit images are black and white already.
        if let Image::Raster(raster) = &image {
            let dict = raster.stream().dict();
            let bits = dict.get::<u32>(BITS_PER_COMPONENT).or_else(|| dict.get::<u32>(BPC));
            if bits != Some(1) {
                let pixels = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
                self.note_picture(props.transform.transform_rect_bbox(pixels));
            }
        }
    }
}
