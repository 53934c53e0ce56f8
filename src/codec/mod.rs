//! Pages as bits, and the forms they travel and rest in.
//!
//! Owns the bitmap of a page, T.4 and T.6 coding, multi-page TIFF, and the PDF and PNG of a page. Pure: bytes
//! in, bytes out. Refuses to rasterise: greys, fonts and page layout are the converter's.
//!
//! Invariants: a [`page::FaxPage`] is what the line sends, so no form a page is put into re-codes its strip;
//! whatever reads foreign bytes takes memory in proportion to a named limit, and answers with an error instead
//! of a panic.

pub mod compatible;
pub mod page;
pub mod pdf;
pub mod png;
pub mod raster;
pub mod t4;
pub mod t6;
pub mod tiff;

mod bits;
mod codes;
mod decoding;
mod quick_check;
mod rows;
mod transitions;

#[cfg(test)]
mod samples;
