//! Emergency numbers, and numbers that a switch could take for one.
//!
//! Short numbers such as 911 never come here, because a fax number has six digits at least. What
//! does come are those with a country code (+353112), those with digits behind them
//! (+1 911 555 0100), and those that become one when a trunk drops the `+`.

use crate::fax::number::FaxNumber;

/// Emergency numbers of the world; a number that is one of these behind its country code is none
/// for faxes in any country.
const CODES: [&str; 22] = [
    "000", "100", "101", "102", "108", "110", "111", "112", "113", "115", "117", "118", "119", "120", "122",
    "133", "144", "190", "192", "193", "911", "999",
];
/// Country code and emergency number, where no subscriber's number begins with it: there, what
/// follows is only dialled after the call was placed.
const BEGINNINGS: [(&str, &str); 14] = [
    ("1", "112"),
    ("1", "911"),
    ("1", "988"),
    ("31", "112"),
    ("34", "112"),
    ("353", "999"),
    ("39", "112"),
    ("39", "113"),
    ("39", "118"),
    ("44", "112"),
    ("44", "999"),
    ("49", "110"),
    ("49", "112"),
    ("61", "000"),
];
/// How a number with its country code begins that no country has, but emergency services do: heard
/// without its `+`, it calls them. 911 is not among them, since +91 1… is India.
const WITHOUT_PLUS: [&str; 5] = ["000", "110", "112", "119", "999"];
/// Digits of a country code, at most (ITU-T E.164, 6.2.1).
const COUNTRY_DIGITS: usize = 3;

pub(super) fn is_emergency(to: &FaxNumber) -> bool {
    let digits = to.digits();
    let begins = |(country, code): &(&str, &str)| {
        digits.strip_prefix(country).is_some_and(|national| national.starts_with(code))
    };
    let is_code = |length: usize| digits.get(length..).is_some_and(|national| CODES.contains(&national));
    BEGINNINGS.iter().any(begins)
        || WITHOUT_PLUS.iter().any(|code| digits.starts_with(code))
        || (1..=COUNTRY_DIGITS).any(is_code)
}
