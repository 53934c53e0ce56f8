//! Pages for the tests of the codecs: shapes at the edges of the coding rules, and seeded random ones.

use super::raster::{Bitmap, blacken};

/// A small xorshift generator: the same numbers for the same seed, on every machine.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        (self.next() >> 33) as u32 % bound
    }

    /// The bytes with up to eight of them changed, and now and then cut short.
    pub(super) fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        for _ in 0..=self.below(8) {
            let place = self.below(bytes.len() as u32) as usize;
            damaged[place] = match self.below(4) {
                0 => 0,
                1 => 0xff,
                2 => damaged[place] ^ (1 << self.below(8)),
                _ => self.next() as u8,
            };
        }
        if self.below(4) == 0 {
            damaged.truncate(self.below(bytes.len() as u32) as usize);
        }
        damaged
    }
}

/// A page that is coded like text: short runs in bands, similar from row to row, with white bands between.
pub(super) fn text(width: u32, height: u32, seed: u64) -> Bitmap {
    let mut random = Random::seeded(seed);
    let mut page = Bitmap::white(width, height);
    let mut strokes: Vec<(u32, u32)> = Vec::new();
    for y in 0..height {
        if y % 24 == 0 {
            strokes = (0..width / 40)
                .map(|_| {
                    let start = random.below(width);
                    (start, start + 2 + random.below(6))
                })
                .collect();
        }
        if y % 24 >= 16 {
            continue;
        }
        for (start, end) in &mut strokes {
            let shift = random.below(3);
            *start = (*start + shift).saturating_sub(1);
            *end = (*end + random.below(3)).saturating_sub(1).max(*start);
            blacken(page.row_mut(y), (*start).min(width)..(*end).min(width));
        }
    }
    page
}

/// Named pages of many widths: white, black, checkerboards, stripes, single pixels, noise of every density.
pub(super) fn pages() -> Vec<(String, Bitmap)> {
    let mut pages = Vec::new();
    for width in [1, 2, 7, 8, 9, 31, 63, 64, 65, 127, 128, 129, 1000, 1728, 2432, 2623, 4864] {
        let mut add = |name: &str, page: Bitmap| pages.push((format!("{name}, {width} wide"), page));
        add("white", Bitmap::white(width, 3));
        add("one row", drawn(width, 1, |x, _| x % 5 == 0));
        add("black", drawn(width, 3, |_, _| true));
        add("checkerboard", drawn(width, 4, |x, y| (x + y) % 2 == 1));
        add("columns", drawn(width, 4, |x, _| x % 2 == 0));
        add("rows", drawn(width, 5, |_, y| y % 2 == 0));
        add("first column", drawn(width, 3, |x, _| x == 0));
        add("last column", drawn(width, 3, |x, _| x == width - 1));
        add("diagonal", drawn(width, 9, |x, y| x / 4 == y));
        add("steep diagonal", drawn(width, 9, |x, y| (x + 7 * y) % 50 < 20));
        let mut random = Random::seeded(u64::from(width));
        for one_in in [2, 3, 10, 100, 1000] {
            add(&format!("noise 1 in {one_in}"), drawn(width, 12, |_, _| random.below(one_in) == 0));
        }
        add("text", text(width, 50, u64::from(width)));
    }
    pages
}

fn drawn(width: u32, height: u32, mut black: impl FnMut(u32, u32) -> bool) -> Bitmap {
    let mut page = Bitmap::white(width, height);
    for y in 0..height {
        for x in 0..width {
            if black(x, y) {
                page.set_black(x, y);
            }
        }
    }
    page
}
