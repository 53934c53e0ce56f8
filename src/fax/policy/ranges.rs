//! What kind of number it is: at home, abroad, or one of those that cost more.
//!
//! Owns: the table of number ranges that are known for what they cost. The beginnings are those of
//! the national numbering plans (ITU-T E.164 lists them by country); where a plan is not in the
//! table, its numbers are plain numbers abroad, and those are closed too.

use std::fmt;
use std::str::FromStr;

use crate::fax::number::{CountryCode, FaxNumber};

/// A kind of number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Range {
    /// Usual numbers of the home country.
    Home,
    /// Numbers of the home country whose owner pays.
    TollFree,
    /// Usual numbers of other countries.
    Abroad,
    /// Countries and islands that share country code 1 with the United States and Canada, and cost
    /// as much as any other country.
    OtherPlusOne,
    /// Numbers that pay their owner for each call.
    Premium,
    /// Numbers that cost more than a usual one.
    SharedCost,
    /// Satellites and networks that belong to no country.
    Satellite,
}

/// The text names none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of the known words")]
pub struct UnknownRange;

impl Range {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Home,
        Self::TollFree,
        Self::Abroad,
        Self::OtherPlusOne,
        Self::Premium,
        Self::SharedCost,
        Self::Satellite,
    ];

    /// The word of the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::TollFree => "toll_free",
            Self::Abroad => "abroad",
            Self::OtherPlusOne => "other_plus_one",
            Self::Premium => "premium",
            Self::SharedCost => "shared_cost",
            Self::Satellite => "satellite",
        }
    }

    /// Whether it needs no opening.
    pub fn is_always_open(self) -> bool {
        matches!(self, Self::Home | Self::TollFree)
    }

    /// The beginning of a sentence about it.
    pub fn description(self) -> &'static str {
        match self {
            Self::Home => "Numbers of the home country",
            Self::TollFree => "Toll-free numbers of the home country",
            Self::Abroad => "Numbers abroad",
            Self::OtherPlusOne => "Numbers of the islands and countries that share +1",
            Self::Premium => "Premium-rate numbers",
            Self::SharedCost => "Shared-cost numbers",
            Self::Satellite => "Satellite numbers and numbers that belong to no country",
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Range {
    type Err = UnknownRange;

    fn from_str(text: &str) -> Result<Self, UnknownRange> {
        Self::ALL.into_iter().find(|range| range.as_str() == text).ok_or(UnknownRange)
    }
}

/// The range of a number, and by how many of its digits it is told from the plain numbers around
/// it; 0 for those.
pub fn of(home: &CountryCode, to: &FaxNumber) -> (Range, usize) {
    let digits = to.digits();
    if let Some(national) = digits.strip_prefix('1') {
        let is_island = OTHER_PLUS_ONE.iter().any(|area| national.starts_with(area));
        if is_island {
            return (Range::OtherPlusOne, 4);
        }
        // 976 behind any area code (NANP).
        if national.get(3..6) == Some("976") {
            return (Range::Premium, 7);
        }
    }
    let special = SPECIAL.iter().flat_map(|(range, country, beginnings)| {
        let national = digits.strip_prefix(country);
        beginnings.iter().filter_map(move |beginning| {
            national?.starts_with(beginning).then_some((*range, country.len() + beginning.len()))
        })
    });
    if let Some(found) = special.max_by_key(|(_, length)| *length) {
        return found;
    }
    match digits.strip_prefix(home.as_str()) {
        Some(national) if is_toll_free(home, national) => (Range::TollFree, 0),
        Some(_) => (Range::Home, 0),
        None => (Range::Abroad, 0),
    }
}

fn is_toll_free(home: &CountryCode, national: &str) -> bool {
    TOLL_FREE
        .iter()
        .filter(|(country, _)| *country == home.as_str())
        .any(|(_, beginnings)| beginnings.iter().any(|beginning| national.starts_with(beginning)))
}

/// Area codes of the +1 plan outside the fifty states and Canada.
const OTHER_PLUS_ONE: [&str; 27] = [
    "242", "246", "264", "268", "284", "340", "345", "441", "473", "649", "658", "664", "670", "671", "684",
    "721", "758", "767", "784", "787", "809", "829", "849", "868", "869", "876", "939",
];

/// Beginnings of national numbers, by country code.
const TOLL_FREE: &[(&str, &[&str])] = &[
    ("1", &["800", "833", "844", "855", "866", "877", "888"]),
    ("31", &["800"]),
    ("32", &["800"]),
    ("33", &["800", "801", "802", "803", "804", "805"]),
    ("34", &["800", "900"]),
    ("351", &["800"]),
    ("352", &["800"]),
    ("353", &["1800"]),
    ("358", &["800"]),
    ("39", &["800", "803"]),
    ("41", &["800"]),
    ("420", &["800"]),
    ("43", &["800"]),
    ("44", &["500", "800", "808"]),
    ("45", &["80"]),
    ("46", &["20"]),
    ("47", &["800"]),
    ("48", &["800"]),
    ("49", &["800"]),
    ("52", &["800"]),
    ("55", &["800"]),
    ("61", &["1800"]),
    ("64", &["508", "800"]),
    ("81", &["120", "800"]),
];

/// Range, country code, beginnings of national numbers; an empty one is all of the code's numbers.
const SPECIAL: &[(Range, &str, &[&str])] = &[
    (Range::Satellite, "870", &[""]),
    (Range::Satellite, "878", &[""]),
    (Range::Satellite, "881", &[""]),
    (Range::Satellite, "882", &[""]),
    (Range::Satellite, "883", &[""]),
    (Range::Satellite, "888", &[""]),
    (Range::Premium, "979", &[""]),
    (Range::SharedCost, "808", &[""]),
    (Range::Premium, "1", &["900"]),
    (Range::Premium, "30", &["90"]),
    (Range::Premium, "31", &["900", "906", "909"]),
    (Range::SharedCost, "31", &["84", "87"]),
    (Range::Premium, "32", &["90"]),
    (Range::SharedCost, "32", &["70", "78"]),
    (Range::Premium, "33", &["89"]),
    (Range::SharedCost, "33", &["806", "807", "808", "809", "81", "82", "884", "890"]),
    (Range::Premium, "34", &["803", "806", "807", "905"]),
    (Range::SharedCost, "34", &["901", "902"]),
    (Range::Premium, "351", &["601", "607", "760", "761", "762"]),
    (Range::SharedCost, "351", &["707", "708", "808"]),
    (Range::Premium, "352", &["90"]),
    (Range::Premium, "358", &["600", "700"]),
    (Range::Premium, "36", &["90", "91"]),
    (Range::Premium, "380", &["900"]),
    (Range::Premium, "39", &["144", "166", "892", "894", "895", "899"]),
    (Range::SharedCost, "39", &["840", "841", "847", "848", "199"]),
    (Range::Premium, "40", &["90"]),
    (Range::Premium, "41", &["900", "901", "906"]),
    (Range::SharedCost, "41", &["84"]),
    (Range::Premium, "420", &["90"]),
    (Range::Premium, "43", &["900", "901", "930", "931", "939"]),
    (Range::SharedCost, "43", &["810", "820", "821"]),
    (Range::Premium, "44", &["70", "76", "9"]),
    (Range::SharedCost, "44", &["84", "87"]),
    (Range::Premium, "45", &["90"]),
    (Range::Premium, "46", &["900", "939", "944"]),
    (Range::SharedCost, "46", &["77"]),
    (Range::Premium, "47", &["82"]),
    (Range::Premium, "48", &["70"]),
    (Range::SharedCost, "48", &["801"]),
    (Range::Premium, "49", &["137", "190", "900"]),
    (Range::SharedCost, "49", &["180"]),
    (Range::Premium, "55", &["300", "900"]),
    (Range::Premium, "61", &["19"]),
    (Range::SharedCost, "61", &["13"]),
    (Range::Premium, "64", &["900"]),
    (Range::Premium, "7", &["803", "809"]),
    (Range::Premium, "81", &["990"]),
    (Range::SharedCost, "81", &["570"]),
    (Range::Premium, "90", &["900"]),
];
