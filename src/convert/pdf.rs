//! PDF to pages, by hayro.
//!
//! Owns the order of work for each page: refuse its size, find out what it draws ([`PageDrawing`]), refuse
//! images that cannot be decoded, render with what the page needs, and make it black and white. hayro
//! has no limits of its own, and no way to be stopped: what is not refused here meets the limits of the
//! process. It keeps what it has decoded, so the file is opened afresh every [`PAGES_PER_OPENING`] pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hayro::hayro_interpret::font::FontQuery;
use hayro::hayro_interpret::hayro_cmap::CidFamily;
use hayro::hayro_interpret::{
    Context, InterpreterCache, InterpreterSettings, InterpreterWarning, TransformExt, interpret_page,
};
use hayro::hayro_syntax::object::dict::keys::{CONTENTS, USER_UNIT};
use hayro::hayro_syntax::page::Page;
use hayro::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro::kurbo::{Affine, Rect};
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::vello_cpu::{Pixmap, RasterizerSettings, RenderContext, Resources, TargetInit};
use hayro::{RenderCache, RenderSettings, render_into};

use super::binarise::binarise;
use super::fonts::FontLibrary;
use super::grey::GreyImage;
use super::layout::{LINE_PIXELS, Placement, place};
use super::pdf_drawing::PageDrawing;
use super::{ConvertError, Emit, Options};
use crate::codec::page::FaxPage;

/// Units of PDF space in an inch, if the page does not say otherwise (ISO 32000-1 8.3.2.3).
const UNITS_PER_INCH: f64 = 72.0;

/// Pages after which the decoded streams, fonts and images of a document are dropped. Enough to share the
/// fonts of a chapter, few enough for a scan on every page.
const PAGES_PER_OPENING: usize = 25;

/// Decoded content of one page. The densest drawings have some tens of megabytes; what has more was made
/// to keep readers busy.
const MAX_CONTENT_BYTES: usize = 256 << 20;

/// Coverage, of 255, from which a pixel of a line or an area counts as painted. At one half, rules of less
/// than half a pixel come and go with their position; at this, 0.2 pt rules stay.
const PAINT_COVERAGE: u8 = 80;

/// Writes the pages of a PDF.
///
/// # Errors
/// [`ConvertError::Encrypted`], [`ConvertError::NoPages`], [`ConvertError::TooManyPages`] before anything is
/// drawn; [`ConvertError::TooLarge`] and [`ConvertError::Damaged`] naming the page; what `emit` refuses.
pub(super) fn convert(
    document: &Bytes,
    options: Options,
    max_pages: u32,
    fonts: &Arc<FontLibrary>,
    emit: Emit<'_>,
) -> Result<(), ConvertError> {
    let document = Arc::new(document.clone());
    let pages = Pdf::new(document.clone()).map_err(load_error)?.pages().len();
    if pages == 0 {
        return Err(ConvertError::NoPages);
    }
    if pages > max_pages as usize {
        return Err(ConvertError::TooManyPages { limit: max_pages });
    }
    for first in (0..pages).step_by(PAGES_PER_OPENING) {
        let pdf = Pdf::new(document.clone()).map_err(load_error)?;
        let mut renderer = PageRenderer::new(options, fonts.clone());
        for (page, number) in pdf.pages().iter().zip(1u32..).skip(first).take(PAGES_PER_OPENING) {
            emit(renderer.fax_page(page, number)?)?;
        }
    }
    Ok(())
}

fn load_error(error: LoadPdfError) -> ConvertError {
    match error {
        LoadPdfError::Decryption(
            DecryptionError::PasswordProtected | DecryptionError::UnsupportedAlgorithm,
        ) => ConvertError::Encrypted,
        LoadPdfError::Decryption(DecryptionError::MissingIDEntry | DecryptionError::InvalidEncryption) => {
            ConvertError::damaged("its encryption is broken")
        }
        LoadPdfError::Invalid => ConvertError::damaged("it has no readable list of pages"),
    }
}

/// Renders pages of one opening of a document.
struct PageRenderer<'a> {
    options: Options,
    interpreter: InterpreterSettings,
    drawing_cache: InterpreterCache<'a>,
    render_cache: RenderCache<'a>,
    image_failed: Arc<AtomicBool>,
}

impl<'a> PageRenderer<'a> {
    fn new(options: Options, fonts: Arc<FontLibrary>) -> Self {
        let image_failed = Arc::new(AtomicBool::new(false));
        let failed = image_failed.clone();
        let embedded = InterpreterSettings::default().font_resolver;
        let interpreter = InterpreterSettings {
            font_resolver: Arc::new(move |query| {
                cjk_sample(query)
                    .and_then(|sample| fonts.covering(sample))
                    .map(|font| {
                        let data: hayro::hayro_interpret::font::FontData = font.data;
                        (data, font.index)
                    })
                    .or_else(|| embedded(query))
            }),
            warning_sink: Arc::new(move |warning| {
                if matches!(warning, InterpreterWarning::ImageDecodeFailure) {
                    failed.store(true, Ordering::Relaxed);
                }
            }),
            ..InterpreterSettings::default()
        };
        Self {
            options,
            interpreter,
            drawing_cache: InterpreterCache::new(),
            render_cache: RenderCache::new(),
            image_failed,
        }
    }

    /// `number` counts from 1.
    fn fax_page(&mut self, page: &'a Page<'a>, number: u32) -> Result<FaxPage, ConvertError> {
        let user_unit = page.raw().get::<f64>(USER_UNIT).filter(|unit| *unit > 0.0).unwrap_or(1.0);
        let (width, height) = page.render_dimensions();
        let inches = |units: f32| f64::from(units) * user_unit / UNITS_PER_INCH;
        let resolution = self.options.resolution;
        let placement = place(inches(width), inches(height), resolution, number)?;
        match page.page_stream() {
            None if page.raw().contains_key(CONTENTS) => {
                return Err(ConvertError::damaged_page(number, "its content cannot be decoded"));
            }
            Some(content) if content.len() > MAX_CONTENT_BYTES => {
                return Err(ConvertError::TooLarge {
                    page: Some(number),
                    dimensions: format!("its content is {} MiB", content.len() >> 20),
                });
            }
            _ => {}
        }

        let transform = page_to_fax(page, &placement);
        let target = Rect::new(0.0, 0.0, f64::from(LINE_PIXELS), f64::from(placement.page_height));
        let mut drawing = PageDrawing::new(target);
        let mut context =
            Context::new(transform, target, &self.drawing_cache, page.xref(), self.interpreter.clone());
        interpret_page(page, &mut context, &mut drawing);
        if let Some((width, height)) = drawing.oversized_image() {
            return Err(ConvertError::TooLarge {
                page: Some(number),
                dimensions: format!("it holds an image of {width} × {height} pixels"),
            });
        }

        self.image_failed.store(false, Ordering::Relaxed);
        let grey = self.render(page, transform, &placement, number)?;
        // A page may do without one of its images, but a scan whose image is broken must not go out blank.
        let blank = || grey.luma().iter().all(|value| *value == u8::MAX);
        if self.image_failed.load(Ordering::Relaxed) && blank() {
            return Err(ConvertError::damaged_page(number, "its image cannot be decoded"));
        }
        let bitmap = binarise(&grey, drawing.regions(), self.options.quality, resolution)?;
        Ok(FaxPage::from_bitmap(&bitmap, resolution))
    }

    fn render(
        &self,
        page: &'a Page<'a>,
        transform: Affine,
        placement: &Placement,
        number: u32,
    ) -> Result<GreyImage, ConvertError> {
        let (Ok(columns), Ok(rows)) = (u16::try_from(LINE_PIXELS), u16::try_from(placement.page_height))
        else {
            return Err(ConvertError::TooLarge {
                page: Some(number),
                dimensions: format!("{} rows", placement.page_height),
            });
        };
        let settings =
            RenderSettings { aliasing_threshold: Some(PAINT_COVERAGE), ..RenderSettings::default() };
        let mut context = RenderContext::new(columns, rows);
        render_into(page, &self.render_cache, &self.interpreter, &settings, &mut context, transform);
        context.flush();
        let mut pixmap = Pixmap::new(columns, rows);
        context.render_with(
            &mut pixmap,
            &mut Resources::default(),
            RasterizerSettings { target_init: TargetInit::Clear(WHITE), ..RasterizerSettings::default() },
        );
        let luma = luma_of(pixmap.data_as_u8_slice());
        GreyImage::from_luma(LINE_PIXELS, placement.page_height, luma)
    }
}

/// One byte for each opaque RGBA pixel. A line is a whole number of blocks of four pixels.
fn luma_of(pixels: &[u8]) -> Vec<u8> {
    const BLOCK_BYTES: usize = 16;
    let mut luma_of_all = Vec::with_capacity(pixels.len() / 4);
    for block in pixels.as_chunks::<BLOCK_BYTES>().0 {
        // Most of a page is white paper, which is told from four pixels at once.
        if u128::from_ne_bytes(*block) == u128::MAX {
            luma_of_all.extend_from_slice(&[u8::MAX; BLOCK_BYTES / 4]);
        } else {
            let pixels = block.as_chunks::<4>().0;
            luma_of_all.extend(pixels.iter().map(|[red, green, blue, _]| luma(*red, *green, *blue)));
        }
    }
    luma_of_all
}

/// Luma of ITU-R BT.601, in 256ths.
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 77 + u32::from(green) * 150 + u32::from(blue) * 29) >> 8) as u8
}

/// From PDF space to pixels of the fax page.
fn page_to_fax(page: &Page<'_>, placement: &Placement) -> Affine {
    let (width, height) = page.render_dimensions();
    let (width, height) = (f64::from(width), f64::from(height));
    let upright = page.initial_transform(true).to_kurbo();
    let (turn, across, along) = if placement.turned {
        // A quarter counter-clockwise: (x, y) to (y, width - x).
        (Affine::new([0.0, -1.0, 1.0, 0.0, 0.0, width]), height, width)
    } else {
        (Affine::IDENTITY, width, height)
    };
    Affine::translate((f64::from(placement.left), 0.0))
        * Affine::scale_non_uniform(
            f64::from(placement.content_width) / across,
            f64::from(placement.content_height) / along,
        )
        * turn
        * upright
}

/// A character that a font for the query must have, if the query is for one of the CJK collections.
fn cjk_sample(query: &FontQuery) -> Option<char> {
    let FontQuery::Fallback(query) = query else {
        return None;
    };
    match query.character_collection.as_ref()?.family {
        CidFamily::AdobeJapan1 => Some('あ'),
        CidFamily::AdobeGB1 | CidFamily::AdobeCNS1 => Some('的'),
        CidFamily::AdobeKorea1 => Some('가'),
        CidFamily::AdobeIdentity | CidFamily::Custom { .. } => None,
    }
}

#[cfg(test)]
mod tests;
