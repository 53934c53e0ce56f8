//! Writing bits, most significant first.
//!
//! Owns the accumulator between code words and bytes. Refuses to know what the bits mean.

use super::codes::Code;

/// Collects code words into bytes.
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// The bits not yet in `bytes`, in the low `pending_bits` places; fewer than 32 between calls.
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// A writer that takes `capacity` bytes before it has to grow.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), pending: 0, pending_bits: 0 }
    }

    /// Appends one code word.
    #[inline]
    pub(super) fn put(&mut self, code: Code) {
        self.pending = self.pending << code.length | u64::from(code.bits);
        self.pending_bits += u32::from(code.length);
        if self.pending_bits >= 32 {
            self.pending_bits -= 32;
            let word = (self.pending >> self.pending_bits) as u32;
            self.bytes.extend_from_slice(&word.to_be_bytes());
        }
    }

    /// The bytes, the last one filled up with zero bits.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let bytes = self.pending_bits.div_ceil(8);
        let word = self.pending << (u64::BITS - self.pending_bits - 1) << 1;
        self.bytes.extend_from_slice(&word.to_be_bytes()[..bytes as usize]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_words_follow_each_other_without_gaps() {
        for count in 0..70 {
            let mut writer = BitWriter::with_capacity(0);
            for index in 0..count {
                writer.put(Code { bits: u16::from(index % 3 == 0), length: 1 });
                writer.put(Code { bits: 0b1011, length: 5 });
            }
            let mut expected = vec![0u8; (count * 6usize).div_ceil(8)];
            for index in 0..count {
                let places = [0, 2, 4, 5].map(|place| index * 6 + place);
                for (number, place) in places.into_iter().enumerate() {
                    if number > 0 || index % 3 == 0 {
                        expected[place / 8] |= 0x80 >> (place % 8);
                    }
                }
            }
            assert_eq!(writer.finish(), expected, "{count}");
        }
    }
}
