//! A page in shades of grey, the stage before it becomes black and white.
//!
//! Owns resampling, turning and placing of luma rasters. 0 is black, 255 is white, as in every image format
//! that comes in; only [`super::binarise`] knows that a fax means it the other way round.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::ConvertError;
use super::layout::{LINE_PIXELS, Placement};

/// A raster of luma, row by row from the top, one byte a pixel without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GreyImage {
    width: u32,
    height: u32,
    luma: Vec<u8>,
}

impl GreyImage {
    /// All white.
    pub(super) fn white(width: u32, height: u32) -> Self {
        Self { width, height, luma: vec![255; width as usize * height as usize] }
    }

    /// # Errors
    /// [`ConvertError::Damaged`] when there are fewer bytes than `width` × `height`, or no pixels; surplus
    /// bytes are dropped.
    pub(super) fn from_luma(width: u32, height: u32, mut luma: Vec<u8>) -> Result<Self, ConvertError> {
        let pixels = width as usize * height as usize;
        if pixels == 0 {
            return Err(ConvertError::damaged("the image has no pixels"));
        }
        if luma.len() < pixels {
            return Err(ConvertError::damaged("the image data ends early"));
        }
        luma.truncate(pixels);
        Ok(Self { width, height, luma })
    }

    /// Pixels in a row.
    pub(super) fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub(super) fn height(&self) -> u32 {
        self.height
    }

    /// Row `y`, from the top.
    pub(super) fn row(&self, y: u32) -> &[u8] {
        let width = self.width as usize;
        &self.luma[y as usize * width..][..width]
    }

    /// All pixels, row by row.
    pub(super) fn luma(&self) -> &[u8] {
        &self.luma
    }

    /// The image on a white fax page, scaled and turned as `placement` says.
    ///
    /// # Errors
    /// [`ConvertError::Internal`] when the scaler refuses, which sizes of at least one pixel never cause.
    pub(super) fn placed(&self, placement: &Placement) -> Result<Self, ConvertError> {
        let (width, height) = (placement.content_width, placement.content_height);
        // Turning the small image is cheaper than turning the large one.
        let scaled = if placement.turned {
            self.resized(height, width)?.turned_left()
        } else {
            self.resized(width, height)?
        };
        let mut page = Self::white(LINE_PIXELS, placement.page_height);
        for y in 0..height {
            let start = y as usize * LINE_PIXELS as usize + placement.left as usize;
            page.luma[start..start + width as usize].copy_from_slice(scaled.row(y));
        }
        Ok(page)
    }

    /// Scaled with a triangle filter over the whole covered area, so that thin strokes grow paler and do not
    /// vanish by chance.
    fn resized(&self, width: u32, height: u32) -> Result<Self, ConvertError> {
        if (width, height) == (self.width, self.height) {
            return Ok(self.clone());
        }
        let internal = |error: &dyn std::fmt::Display| {
            ConvertError::Internal(format!("the image cannot be scaled: {error}"))
        };
        let source = ImageRef::new(self.width, self.height, &self.luma, PixelType::U8)
            .map_err(|error| internal(&error))?;
        let mut target = Image::new(width, height, PixelType::U8);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        Resizer::new().resize(&source, &mut target, &options).map_err(|error| internal(&error))?;
        Ok(Self { width, height, luma: target.into_vec() })
    }

    /// A quarter counter-clockwise: the right column becomes the top row.
    fn turned_left(&self) -> Self {
        let mut turned = Self::white(self.height, self.width);
        let stride = self.height as usize;
        for y in 0..self.height {
            for (x, value) in self.row(y).iter().enumerate() {
                let row = self.width as usize - 1 - x;
                turned.luma[row * stride + y as usize] = *value;
            }
        }
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_buffer_is_a_damage_and_a_long_one_is_cut() {
        assert!(GreyImage::from_luma(2, 2, vec![0; 3]).is_err());
        assert!(GreyImage::from_luma(0, 2, vec![]).is_err());
        let image = GreyImage::from_luma(2, 2, vec![7; 5]).unwrap();
        assert_eq!(image.luma(), [7; 4]);
    }

    #[test]
    fn turning_left_brings_the_right_column_to_the_top() {
        let image = GreyImage::from_luma(3, 2, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let turned = image.turned_left();
        assert_eq!((turned.width(), turned.height()), (2, 3));
        assert_eq!(turned.luma(), [3, 6, 2, 5, 1, 4]);
    }

    #[test]
    fn placing_centres_on_white() {
        let image = GreyImage::from_luma(4, 4, vec![0; 16]).unwrap();
        let placement =
            Placement { turned: false, left: 862, content_width: 4, content_height: 4, page_height: 10 };
        let page = image.placed(&placement).unwrap();
        assert_eq!((page.width(), page.height()), (1728, 10));
        assert_eq!(page.row(0)[861..867], [255, 0, 0, 0, 0, 255]);
        assert_eq!(page.row(4)[862], 255);
    }
}
