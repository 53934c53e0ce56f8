//! The code words of T.4 and T.6.
//!
//! Owns the tables as the recommendations print them: ITU-T T.4 (07/2003) tables 2, 3a, 3b and 4, which T.6
//! (11/1988) repeats. Refuses to choose among them: that is `rows`.

/// One code word: the low `length` bits of `bits`, most significant first. At most 13 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    /// The bits, right-aligned.
    pub(super) bits: u16,
    /// How many there are.
    pub(super) length: u8,
}

/// The code words for the runs of one colour.
pub(super) struct RunCodes {
    /// Runs of 0 to 63 pixels.
    pub(super) terminating: [Code; 64],
    /// Runs of 64, 128, ... 1728 pixels.
    pub(super) make_up: [Code; 27],
}

/// End of line (T.4 4.1.2); two of them end a T.6 block, six a T.4 page.
pub(super) const EOL: Code = Code { bits: 1, length: 12 };
/// End of a T.6 block: twice EOL (T.6 2.4.1.1), the low [`EOFB_LENGTH`] bits.
pub(super) const EOFB: u32 = (EOL.bits as u32) << EOL.length | EOL.bits as u32;
/// Bits of [`EOFB`].
pub(super) const EOFB_LENGTH: u32 = 2 * EOL.length as u32;

/// The tag after an end of line: a row coded in one dimension follows (T.4 4.2.2).
pub(super) const TAG_ONE_DIMENSION: Code = Code { bits: 1, length: 1 };
/// The tag after an end of line: a row coded in two dimensions follows.
pub(super) const TAG_TWO_DIMENSIONS: Code = Code { bits: 0, length: 1 };

/// Pass mode (T.4 table 4).
pub(super) const PASS: Code = Code { bits: 0b0001, length: 4 };
/// Horizontal mode; two runs follow.
pub(super) const HORIZONTAL: Code = Code { bits: 0b001, length: 3 };
/// Vertical mode, for a1 from three pixels left of b1 to three pixels right of it.
pub(super) const VERTICAL: [Code; 7] = parse("0000010 000010 010 1 011 000011 0000011");

/// White runs (T.4 tables 2 and 3a).
pub(super) const WHITE: RunCodes = RunCodes {
    terminating: parse(
        "00110101 000111   0111     1000     1011     1100     1110     1111
         10011    10100    00111    01000    001000   000011   110100   110101
         101010   101011   0100111  0001100  0001000  0010111  0000011  0000100
         0101000  0101011  0010011  0100100  0011000  00000010 00000011 00011010
         00011011 00010010 00010011 00010100 00010101 00010110 00010111 00101000
         00101001 00101010 00101011 00101100 00101101 00000100 00000101 00001010
         00001011 01010010 01010011 01010100 01010101 00100100 00100101 01011000
         01011001 01011010 01011011 01001010 01001011 00110010 00110011 00110100",
    ),
    make_up: parse(
        "11011     10010     010111    0110111   00110110  00110111  01100100
         01100101  01101000  01100111  011001100 011001101 011010010 011010011
         011010100 011010101 011010110 011010111 011011000 011011001 011011010
         011011011 010011000 010011001 010011010 011000    010011011",
    ),
};

/// Black runs (T.4 tables 2 and 3a).
pub(super) const BLACK: RunCodes = RunCodes {
    terminating: parse(
        "0000110111   010          11           10           011          0011
         0010         00011        000101       000100       0000100      0000101
         0000111      00000100     00000111     000011000    0000010111   0000011000
         0000001000   00001100111  00001101000  00001101100  00000110111  00000101000
         00000010111  00000011000  000011001010 000011001011 000011001100 000011001101
         000001101000 000001101001 000001101010 000001101011 000011010010 000011010011
         000011010100 000011010101 000011010110 000011010111 000001101100 000001101101
         000011011010 000011011011 000001010100 000001010101 000001010110 000001010111
         000001100100 000001100101 000001010010 000001010011 000000100100 000000110111
         000000111000 000000100111 000000101000 000001011000 000001011001 000000101011
         000000101100 000001011010 000001100110 000001100111",
    ),
    make_up: parse(
        "0000001111    000011001000  000011001001  000001011011  000000110011  000000110100
         000000110101  0000001101100 0000001101101 0000001001010 0000001001011 0000001001100
         0000001001101 0000001110010 0000001110011 0000001110100 0000001110101 0000001110110
         0000001110111 0000001010010 0000001010011 0000001010100 0000001010101 0000001011010
         0000001011011 0000001100100 0000001100101",
    ),
};

/// Runs of 1792, 1856, ... 2560 pixels of either colour (T.4 table 3b).
pub(super) const EXTENDED_MAKE_UP: [Code; 13] = parse(
    "00000001000  00000001100  00000001101  000000010010 000000010011 000000010100 000000010101
     000000010110 000000010111 000000011100 000000011101 000000011110 000000011111",
);

/// Reads `COUNT` code words from a table as it is printed: bits, separated by white space.
const fn parse<const COUNT: usize>(table: &str) -> [Code; COUNT] {
    let text = table.as_bytes();
    let mut codes = [Code { bits: 0, length: 0 }; COUNT];
    let mut found = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at].is_ascii_whitespace() {
            at += 1;
            continue;
        }
        while at < text.len() && !text[at].is_ascii_whitespace() {
            assert!(text[at] == b'0' || text[at] == b'1');
            codes[found].bits = codes[found].bits << 1 | (text[at] - b'0') as u16;
            codes[found].length += 1;
            at += 1;
        }
        found += 1;
    }
    assert!(found == COUNT);
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_word_begins_another() {
        for (colour, runs) in [("white", &WHITE), ("black", &BLACK)] {
            let words: Vec<Code> = [&runs.terminating[..], &runs.make_up, &EXTENDED_MAKE_UP, &[EOL]].concat();
            for (index, word) in words.iter().enumerate() {
                for (other_index, other) in words.iter().enumerate() {
                    let begins = other.length >= word.length
                        && other.bits >> (other.length - word.length) == word.bits;
                    assert_eq!(begins, index == other_index, "{colour}: {word:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn words_of_the_recommendation() {
        let cases = [
            ("white 0", WHITE.terminating[0], 0b0011_0101, 8),
            ("white 63", WHITE.terminating[63], 0b0011_0100, 8),
            ("white 1728", WHITE.make_up[26], 0b0_1001_1011, 9),
            ("black 0", BLACK.terminating[0], 0b00_0011_0111, 10),
            ("black 63", BLACK.terminating[63], 0b0000_0110_0111, 12),
            ("black 64", BLACK.make_up[0], 0b00_0000_1111, 10),
            ("either 2560", EXTENDED_MAKE_UP[12], 0b0000_0001_1111, 12),
            ("one to the left", VERTICAL[2], 0b010, 3),
            ("one to the right", VERTICAL[4], 0b011, 3),
        ];
        for (name, code, bits, length) in cases {
            assert_eq!(code, Code { bits, length }, "{name}");
        }
    }
}
