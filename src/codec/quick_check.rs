//! A quick yes for T.6 data that is sound.
//!
//! Owns one question, asked of each page that comes in ready for the line: whether the data is surely what
//! [`super::decoding::check`] takes. It is several times as fast, because rows of print repeat the row above, and a
//! stretch of that is one copy here. Refuses to say what is wrong: whatever is not plain, damaged or only rare, is
//! left to the decoder, so that a "no" of this module decides nothing.
//!
//! Invariant: each change of a row is behind the one before and within the row, so that no run is empty but a white
//! one at its beginning.

use super::codes::{BLACK, Code, EOFB, EOFB_LENGTH, EXTENDED_MAKE_UP, RunCodes, WHITE};

/// Bits of the longest code word of a run.
const LONGEST_CODE: u32 = 13;
/// The first run a make-up code stands for.
const MAKE_UP: u32 = 64;

/// What the next [`LONGEST_CODE`] bits begin with: pixels of a run, and the bits of its code word; 0 bits for none.
type Lookup = [(u16, u8); 1 << LONGEST_CODE];

static WHITE_RUNS: Lookup = lookup(&WHITE);
static BLACK_RUNS: Lookup = lookup(&BLACK);

/// Whether the data surely holds exactly `height` rows of `width` pixels, ended by EOFB.
pub(super) fn is_sound(data: &[u8], width: u32, height: u32) -> bool {
    let mut bits = Bits { data, at: 0 };
    let (mut above, mut row) = (Row::default(), Row::default());
    for _ in 0..height {
        if row.read(&mut bits, &above, width).is_none() {
            return false;
        }
        std::mem::swap(&mut above, &mut row);
    }
    // What lies behind the data reads as zeros, so the ones of an EOFB, and all before them, are in it.
    bits.ahead() >> (u64::BITS - EOFB_LENGTH) == u64::from(EOFB)
}

/// The changing elements of a row (T.4 4.2.1.1), in ascending order, without the imaginary ones behind it.
#[derive(Default)]
struct Row {
    changes: Vec<u32>,
}

impl Row {
    /// Reads one row that lies under `above`. `None` where that is not plain.
    fn read(&mut self, bits: &mut Bits<'_>, above: &Self, width: u32) -> Option<()> {
        self.changes.clear();
        let above = &above.changes[..];
        let element = |index: usize| above.get(index).copied().unwrap_or(width);
        let mut a0 = 0;
        let mut nearest = 0;
        while a0 < width {
            // b1 is right of a0, but for the imaginary a0 in front of the row.
            while a0 > 0 && above.get(nearest).is_some_and(|change| *change <= a0) {
                nearest += 1;
            }
            let b1 = nearest + (nearest + self.changes.len()) % 2;
            let ahead = bits.ahead();
            a0 = match ahead.leading_zeros() {
                0 => {
                    // From a change of V(0), the next b1 is the next element: as many as stand here are one copy.
                    let straight = ahead.leading_ones() as usize;
                    let same = above.get(b1..).unwrap_or_default();
                    let same = &same[..straight.min(same.len())];
                    bits.skip(same.len() as u32);
                    self.changes.extend_from_slice(same);
                    nearest = b1 + same.len();
                    if straight == same.len() {
                        *same.last()?
                    } else {
                        bits.skip(1);
                        width
                    }
                }
                2 => {
                    bits.skip(3);
                    let is_black = self.changes.len() % 2 == 1;
                    let a1 = a0 + bits.run(is_black)?;
                    self.change_at(a1, a0, width)?;
                    let a2 = a1 + bits.run(!is_black)?;
                    self.change_at(a2, a1, width)?;
                    a2
                }
                3 => {
                    bits.skip(4);
                    element(b1 + 1)
                }
                zeros => {
                    let (distance, length) = match zeros {
                        1 => (1, 3),
                        4 => (2, 6),
                        5 => (3, 7),
                        _ => return None,
                    };
                    bits.skip(length);
                    let is_right = ahead << (zeros + 1) >> (u64::BITS - 1) == 1;
                    let b1 = element(b1);
                    let a1 = if is_right { b1 + distance } else { b1.checked_sub(distance)? };
                    self.change_at(a1, a0, width)?;
                    a1
                }
            };
        }
        Some(())
    }

    /// Adds a change behind a0; one at the end of the row is imaginary.
    fn change_at(&mut self, column: u32, a0: u32, width: u32) -> Option<()> {
        if column == width {
            return Some(());
        }
        let is_first_pixel = column == 0 && a0 == 0 && self.changes.is_empty();
        (column < width && (column > a0 || is_first_pixel)).then(|| self.changes.push(column))
    }
}

/// Bits, most significant first; zeros behind the end.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next bits, from the highest down: at least 57, and zeros behind them.
    fn ahead(&self) -> u64 {
        let rest = self.data.get(self.at / 8..).unwrap_or_default();
        let word = rest.first_chunk::<8>().copied().unwrap_or_else(|| {
            let mut word = [0; 8];
            word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            word
        });
        u64::from_be_bytes(word) << (self.at % 8)
    }

    fn skip(&mut self, bits: u32) {
        self.at += bits as usize;
    }

    /// The pixels of a run: make-up codes, and one terminating code.
    fn run(&mut self, is_black: bool) -> Option<u32> {
        let lookup = if is_black { &BLACK_RUNS } else { &WHITE_RUNS };
        let mut total = 0_u32;
        loop {
            let (pixels, length) = lookup[(self.ahead() >> (u64::BITS - LONGEST_CODE)) as usize];
            if length == 0 || total > u32::from(u16::MAX) {
                return None;
            }
            self.skip(length.into());
            total += u32::from(pixels);
            if u32::from(pixels) < MAKE_UP {
                return Some(total);
            }
        }
    }
}

const fn lookup(codes: &RunCodes) -> Lookup {
    let mut lookup = [(0, 0); 1 << LONGEST_CODE];
    enter(&mut lookup, &codes.terminating, 0, 1);
    enter(&mut lookup, &codes.make_up, MAKE_UP, MAKE_UP);
    enter(&mut lookup, &EXTENDED_MAKE_UP, (codes.make_up.len() as u32 + 1) * MAKE_UP, MAKE_UP);
    lookup
}

/// Enters the code words of runs of `first` pixels, and each `step` longer than the one before.
const fn enter(lookup: &mut Lookup, codes: &[Code], first: u32, step: u32) {
    let mut index = 0;
    while index < codes.len() {
        let Code { bits, length } = codes[index];
        let free = LONGEST_CODE - length as u32;
        let mut entry = (bits as usize) << free;
        let behind = entry + (1 << free);
        while entry < behind {
            lookup[entry] = ((first + index as u32 * step) as u16, length);
            entry += 1;
        }
        index += 1;
    }
}

#[cfg(test)]
mod tests {
    use hayro_ccitt::EncodingMode;

    use super::*;
    use crate::codec::bits::BitWriter;
    use crate::codec::codes::EOL;
    use crate::codec::raster::Bitmap;
    use crate::codec::{decoding, samples, t6};

    fn decoder_takes(data: &[u8], width: u32, height: u32) -> bool {
        decoding::check(data, width, height, EncodingMode::Group4).is_ok()
    }

    #[test]
    fn says_yes_to_every_sound_page() {
        for (name, page) in samples::pages() {
            let strip = t6::encode(&page);
            assert!(is_sound(&strip, page.width(), page.height()), "{name}");
            for (width, height) in [
                (page.width(), page.height() + 1),
                (page.width(), page.height() - 1),
                (page.width() - 1, page.height()),
            ] {
                let (said, taken) = (is_sound(&strip, width, height), decoder_takes(&strip, width, height));
                assert!(!said || taken, "{name} as {width} x {height}");
            }
            assert!(!is_sound(&strip[..strip.len() - 1], page.width(), page.height()), "{name} cut");
        }
    }

    #[test]
    fn says_yes_to_nothing_that_the_decoder_refuses() {
        let mut random = samples::Random::seeded(5);
        let mut yes = 0;
        for seed in 0..40 {
            let page = samples::text(200 + seed as u32, 30, seed);
            let strip = t6::encode(&page);
            for _ in 0..500 {
                let damaged = random.damage(&strip);
                if is_sound(&damaged, page.width(), page.height()) {
                    yes += 1;
                    assert!(decoder_takes(&damaged, page.width(), page.height()), "{damaged:?}");
                }
            }
        }
        assert!(yes > 0, "some damage makes other sound pages");
    }

    #[test]
    fn all_beginnings_of_sixteen_bits() {
        let mut yes = 0;
        for bits in 0..=u16::MAX {
            let mut writer = BitWriter::with_capacity(8);
            writer.put(Code { bits: bits >> 8, length: 8 });
            writer.put(Code { bits: bits & 0xff, length: 8 });
            writer.put(EOL);
            writer.put(EOL);
            let data = writer.finish();
            for (width, height) in [(1, 4), (5, 2), (5, 3), (8, 1), (64, 1)] {
                if is_sound(&data, width, height) {
                    yes += 1;
                    assert!(decoder_takes(&data, width, height), "{bits:016b} as {width} x {height}");
                }
            }
        }
        assert!(yes > 100, "{yes}");
    }

    #[test]
    fn white_and_black_pages() {
        for (width, height) in [(1, 1), (8, 3), (64, 2), (4864, 2), (2623, 5)] {
            let black = Bitmap::from_rows(width, height, vec![0xff; (width.div_ceil(8) * height) as usize]);
            for page in [Bitmap::white(width, height), black.unwrap()] {
                assert!(is_sound(&t6::encode(&page), width, height), "{width} x {height}");
            }
        }
    }
}
