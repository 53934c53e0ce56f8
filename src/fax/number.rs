//! Fax numbers: what a client may write, and what will be dialled.
//!
//! Owns: the rule of acceptance and the normalisation to E.164. Refuses: letters, non-ASCII digits,
//! extensions, and to show a whole number in a log: `Debug` and [`FaxNumber::masked`] keep the last
//! digits only, because a number that receives a medical fax says something about a person.

use std::fmt;
use std::str::FromStr;

/// Fewest digits taken, as Faxbot's `^[+]?\d{6,20}$` has it.
const FEWEST_DIGITS: usize = 6;
/// Most digits taken; E.164 itself ends at 15, Faxbot's clients may send up to 20.
const MOST_DIGITS: usize = 20;
/// Longest text looked at: 20 digits, each with separators around it.
const LONGEST_TEXT: usize = 64;
/// Digits of a subscriber number with area code in the North American plan.
const NANP_DIGITS: usize = 10;

/// The text is not a number that can be dialled. Its words are the ones Faxbot's clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'to' must be E.164 or digits only")]
pub struct InvalidNumber;

/// The country whose numbers may be written without their country code: 1 to 3 digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountryCode(String);

/// The text is not a country calling code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a country code has one to three digits and does not begin with 0")]
pub struct InvalidCountryCode;

impl CountryCode {
    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Prefix for calls abroad: 011 in the North American plan, 00 (ITU-T E.123) elsewhere.
    fn international_prefix(&self) -> &'static str {
        if self.is_nanp() { "011" } else { "00" }
    }

    fn is_nanp(&self) -> bool {
        self.0 == "1"
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for CountryCode {
    fn default() -> Self {
        Self("1".into())
    }
}

impl FromStr for CountryCode {
    type Err = InvalidCountryCode;

    fn from_str(text: &str) -> Result<Self, InvalidCountryCode> {
        let sound = matches!(text.len(), 1..=3) && text.bytes().all(|byte| byte.is_ascii_digit());
        if sound && !text.starts_with('0') { Ok(Self(text.into())) } else { Err(InvalidCountryCode) }
    }
}

/// A number in E.164 form: `+` and 6 to 20 digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaxNumber(String);

impl FaxNumber {
    /// Reads what a client wrote: 6 to 20 ASCII digits, a `+` before them or not, and between them
    /// any spaces, dashes, dots and parentheses. What will be dialled follows from the first rule
    /// that fits:
    ///
    /// 1. `+…`: as it is.
    /// 2. The international prefix of the home country (011 for country 1, 00 for any other) and
    ///    then at least 6 digits: `+` and what follows the prefix.
    /// 3. Country 1, ten digits: `+1` and the digits.
    /// 4. Any other country, a leading 0 (the trunk prefix): `+`, the country, what follows the 0.
    /// 5. Otherwise the country code is taken to be there already: `+` and the digits.
    pub fn parse(text: &str, home: &CountryCode) -> Result<Self, InvalidNumber> {
        if text.len() > LONGEST_TEXT {
            return Err(InvalidNumber);
        }
        let (has_plus, rest) = match text.trim_start_matches(is_separator).strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let digits: String = rest.chars().filter(|&letter| !is_separator(letter)).collect();
        check_digits(&digits)?;
        if has_plus {
            return Ok(Self(format!("+{digits}")));
        }
        let abroad = digits.strip_prefix(home.international_prefix());
        if let Some(abroad) = abroad.filter(|abroad| abroad.len() >= FEWEST_DIGITS) {
            return Ok(Self(format!("+{abroad}")));
        }
        if home.is_nanp() && digits.len() == NANP_DIGITS {
            return Ok(Self(format!("+1{digits}")));
        }
        match digits.strip_prefix('0') {
            Some(national) if !home.is_nanp() => Self::from_e164(&format!("+{}{national}", home.0)),
            _ => Ok(Self(format!("+{digits}"))),
        }
    }

    /// Takes a number that is in E.164 form already: `+` and 6 to 20 digits, nothing else.
    pub fn from_e164(text: &str) -> Result<Self, InvalidNumber> {
        check_digits(text.strip_prefix('+').ok_or(InvalidNumber)?)?;
        Ok(Self(text.into()))
    }

    /// What numbers begin with that a person searches by `text`: `+` and its digits.
    pub fn prefix(text: &str) -> String {
        let digits = text.chars().filter(char::is_ascii_digit);
        std::iter::once('+').chain(digits).collect()
    }

    /// The number as it is dialled, `+` included.
    pub fn as_e164(&self) -> &str {
        &self.0
    }

    /// Its digits, country code first.
    pub fn digits(&self) -> &str {
        &self.0[1..]
    }

    /// For people: in groups where the plan has them, as in `+1 555 123 4567`.
    pub fn spaced(&self) -> String {
        match self.0.strip_prefix("+1").map(str::as_bytes) {
            Some(national) if national.len() == NANP_DIGITS => {
                let (area, exchange, line) = (&self.0[2..5], &self.0[5..8], &self.0[8..]);
                format!("+1 {area} {exchange} {line}")
            }
            _ => self.0.clone(),
        }
    }

    /// For logs and events: `…4567`, the last four digits; of a number under eight digits, the
    /// last two.
    pub fn masked(&self) -> String {
        let shown = if self.0.len() > 8 { 4 } else { 2 };
        format!("…{}", &self.0[self.0.len() - shown..])
    }
}

/// Digits of a number that a text may show whole; longer ones are telephone numbers.
const PLAIN_DIGITS: usize = 6;

/// What a machine calls itself, with the telephone numbers in it as [`FaxNumber::masked`] has them.
/// Blanks, hyphens, dots and brackets may stand between the digits of one.
pub fn masked_in(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c == '+' || c.is_ascii_digit()) {
        let number = &rest[start..];
        let end = number.find(|c: char| !(c.is_ascii_digit() || "+ -.()/".contains(c)));
        // What stands between the number and the next word belongs to the text.
        let number = number[..end.unwrap_or(number.len())].trim_end_matches(|c: char| !c.is_ascii_digit());
        let number = if number.is_empty() { &rest[start..=start] } else { number };
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        masked.push_str(&rest[..start]);
        match digits.len() > PLAIN_DIGITS {
            true => masked.extend(["…", &digits[digits.len() - 4..]]),
            false => masked.push_str(number),
        }
        rest = &rest[start + number.len()..];
    }
    masked + rest
}

impl FromStr for FaxNumber {
    type Err = InvalidNumber;

    fn from_str(text: &str) -> Result<Self, InvalidNumber> {
        Self::from_e164(text)
    }
}

impl fmt::Debug for FaxNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaxNumber({})", self.masked())
    }
}

fn is_separator(letter: char) -> bool {
    matches!(letter, ' ' | '-' | '.' | '(' | ')')
}

fn check_digits(digits: &str) -> Result<(), InvalidNumber> {
    let fits = (FEWEST_DIGITS..=MOST_DIGITS).contains(&digits.len());
    if fits && digits.bytes().all(|byte| byte.is_ascii_digit()) { Ok(()) } else { Err(InvalidNumber) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_by_the_stated_rule() {
        let cases = [
            ("1", "+15551234567", "+15551234567"),
            ("1", "5551234567", "+15551234567"),
            ("1", "15551234567", "+15551234567"),
            ("1", "(555) 123-4567", "+15551234567"),
            ("1", "555.123.4567", "+15551234567"),
            ("1", "+1 (555) 123-4567", "+15551234567"),
            ("1", "(+49) 30 123456", "+4930123456"),
            ("1", "011 49 30 123456", "+4930123456"),
            ("1", "493012345678", "+493012345678"),
            ("1", "123456", "+123456"),
            ("1", "+12345678901234567890", "+12345678901234567890"),
            ("49", "030 123456", "+4930123456"),
            ("49", "0049 30 123456", "+4930123456"),
            ("49", "4930123456", "+4930123456"),
            ("49", "+49 30 123456", "+4930123456"),
        ];
        for (home, text, expected) in cases {
            let number = FaxNumber::parse(text, &home.parse().unwrap());
            assert_eq!(number.as_ref().map(FaxNumber::as_e164), Ok(expected), "{text} at home in {home}");
        }
    }

    #[test]
    fn refuses_in_the_words_clients_know() {
        let long = format!("555{}1234567", " ".repeat(60));
        let cases = [
            "",
            "+",
            "12345",
            "123456789012345678901",
            "5551234567\n",
            "5551234567x9",
            "555-CALL-NOW",
            "++15551234567",
            "1+5551234567",
            "٥٥٥١٢٣٤٥٦٧",
            "５５５１２３４５６７",
            "sip:5551234567",
            "-----",
            &long,
        ];
        for text in cases {
            let error = FaxNumber::parse(text, &CountryCode::default()).unwrap_err();
            assert_eq!(error.to_string(), "'to' must be E.164 or digits only", "{text:?}");
        }
        // A country code in front may make it too long.
        assert!(FaxNumber::parse("01234567890123456789", &"420".parse().unwrap()).is_err());
    }

    #[test]
    fn the_numbers_in_a_station_id_are_masked() {
        for (text, masked) in [
            ("+1 555 201 7789", "…7789"),
            ("Dr. Lee (555) 201-7789", "Dr. Lee (…7789"),
            ("FAX 24/7 ROOM 12", "FAX 24/7 ROOM 12"),
            ("15552017789 / +", "…7789 / +"),
            ("TOWN HALL", "TOWN HALL"),
            ("", ""),
            ("+", "+"),
        ] {
            assert_eq!(masked_in(text), masked, "{text:?}");
        }
    }

    #[test]
    fn is_spaced_for_people() {
        for (e164, spaced) in
            [("+15552017789", "+1 555 201 7789"), ("+493012345", "+493012345"), ("+1234567", "+1234567")]
        {
            assert_eq!(FaxNumber::from_e164(e164).unwrap().spaced(), spaced);
        }
    }

    #[test]
    fn shows_only_the_end() {
        for (e164, masked) in [("+15551234567", "…4567"), ("+12345678", "…5678"), ("+1234567", "…67")] {
            let number = FaxNumber::from_e164(e164).unwrap();
            assert_eq!(number.masked(), masked);
            assert_eq!(format!("{number:?}"), format!("FaxNumber({masked})"));
        }
    }

    #[test]
    fn a_country_code_is_one_to_three_digits() {
        for bad in ["", "0", "+1", "1234", "a", "049"] {
            assert_eq!(bad.parse::<CountryCode>(), Err(InvalidCountryCode), "{bad:?}");
        }
        assert!("358".parse::<CountryCode>().is_ok());
    }
}
