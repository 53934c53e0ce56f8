//! Where a number is, as far as its first digits say: the country, and in the United States and Canada
//! the state or province.
//!
//! Owns: the table of country codes (ITU-T E.164, list of assigned codes) and that of area codes of the
//! North American plan. Refuses: cities, which the digits do not tell for sure, and to guess: what is
//! in no table is nowhere. Numbers can be taken along; so it is where a number is from, no more.

use super::number::FaxNumber;

/// Where a number is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The country or territory, in English.
    pub country: &'static str,
    /// A part of it, where the digits say which.
    pub region: Option<&'static str>,
}

/// Where this number is from; nothing when its digits are in no table.
pub fn place_of(number: &FaxNumber) -> Option<Place> {
    let digits = number.digits();
    if let Some(rest) = digits.strip_prefix('1') {
        return north_america(rest.get(..3)?.parse().ok()?);
    }
    // Longer codes stand for parts of what shorter ones are.
    (1..=4).rev().filter_map(|length| digits.get(..length)).find_map(|code| {
        let code: u16 = code.parse().ok()?;
        let country = COUNTRIES.iter().find(|(known, _)| *known == code)?.1;
        Some(Place { country, region: None })
    })
}

fn north_america(area: u16) -> Option<Place> {
    let (country, region, _) = AREAS.iter().find(|(_, _, areas)| areas.contains(&area))?;
    Some(Place { country, region: (!region.is_empty()).then_some(region) })
}

const US: &str = "United States";
const CA: &str = "Canada";

/// Area codes by country and state. Of newer overlays some are missing; those are told nowhere.
#[rustfmt::skip]
static AREAS: &[(&str, &str, &[u16])] = &[
    (US, "Alabama", &[205, 251, 256, 334, 659, 938]),
    (US, "Alaska", &[907]),
    (US, "Arizona", &[480, 520, 602, 623, 928]),
    (US, "Arkansas", &[479, 501, 870]),
    (US, "California", &[209, 213, 279, 310, 323, 341, 408, 415, 424, 442, 510, 530, 559, 562, 619, 626, 628, 650, 657,
        661, 669, 707, 714, 747, 760, 805, 818, 820, 831, 840, 858, 909, 916, 925, 949, 951]),
    (US, "Colorado", &[303, 719, 720, 970]),
    (US, "Connecticut", &[203, 475, 860, 959]),
    (US, "Delaware", &[302]),
    (US, "District of Columbia", &[202]),
    (US, "Florida", &[239, 305, 321, 352, 386, 407, 561, 689, 727, 754, 772, 786, 813, 850, 863, 904, 941, 954]),
    (US, "Georgia", &[229, 404, 470, 478, 678, 706, 762, 770, 912]),
    (US, "Hawaii", &[808]),
    (US, "Idaho", &[208, 986]),
    (US, "Illinois", &[217, 224, 309, 312, 331, 618, 630, 708, 773, 779, 815, 847, 872]),
    (US, "Indiana", &[219, 260, 317, 463, 574, 765, 812, 930]),
    (US, "Iowa", &[319, 515, 563, 641, 712]),
    (US, "Kansas", &[316, 620, 785, 913]),
    (US, "Kentucky", &[270, 364, 502, 606, 859]),
    (US, "Louisiana", &[225, 318, 337, 504, 985]),
    (US, "Maine", &[207]),
    (US, "Maryland", &[240, 301, 410, 443, 667]),
    (US, "Massachusetts", &[339, 351, 413, 508, 617, 774, 781, 857, 978]),
    (US, "Michigan", &[231, 248, 269, 313, 517, 586, 616, 734, 810, 906, 947, 989]),
    (US, "Minnesota", &[218, 320, 507, 612, 651, 763, 952]),
    (US, "Mississippi", &[228, 601, 662, 769]),
    (US, "Missouri", &[314, 417, 573, 636, 660, 816]),
    (US, "Montana", &[406]),
    (US, "Nebraska", &[308, 402, 531]),
    (US, "Nevada", &[702, 725, 775]),
    (US, "New Hampshire", &[603]),
    (US, "New Jersey", &[201, 551, 609, 640, 732, 848, 856, 862, 908, 973]),
    (US, "New Mexico", &[505, 575]),
    (US, "New York", &[212, 315, 332, 347, 516, 518, 585, 607, 631, 646, 680, 716, 718, 838, 845, 914, 917, 929, 934]),
    (US, "North Carolina", &[252, 336, 704, 743, 828, 910, 919, 980, 984]),
    (US, "North Dakota", &[701]),
    (US, "Ohio", &[216, 220, 234, 330, 380, 419, 440, 513, 567, 614, 740, 937]),
    (US, "Oklahoma", &[405, 539, 580, 918]),
    (US, "Oregon", &[458, 503, 541, 971]),
    (US, "Pennsylvania", &[215, 223, 267, 272, 412, 445, 484, 570, 610, 717, 724, 814, 878]),
    (US, "Rhode Island", &[401]),
    (US, "South Carolina", &[803, 843, 854, 864]),
    (US, "South Dakota", &[605]),
    (US, "Tennessee", &[423, 615, 629, 731, 865, 901, 931]),
    (US, "Texas", &[210, 214, 254, 281, 325, 346, 361, 409, 430, 432, 469, 512, 682, 713, 726, 737, 806, 817, 830, 832,
        903, 915, 936, 940, 956, 972, 979]),
    (US, "Utah", &[385, 435, 801]),
    (US, "Vermont", &[802]),
    (US, "Virginia", &[276, 434, 540, 571, 703, 757, 804]),
    (US, "Washington", &[206, 253, 360, 425, 509, 564]),
    (US, "West Virginia", &[304, 681]),
    (US, "Wisconsin", &[262, 414, 534, 608, 715, 920]),
    (US, "Wyoming", &[307]),
    (CA, "Alberta", &[403, 587, 780, 825]),
    (CA, "British Columbia", &[236, 250, 604, 672, 778]),
    (CA, "Manitoba", &[204, 431]),
    (CA, "New Brunswick", &[506]),
    (CA, "Newfoundland and Labrador", &[709]),
    (CA, "Nova Scotia and Prince Edward Island", &[782, 902]),
    (CA, "Ontario", &[226, 249, 289, 343, 365, 416, 437, 519, 548, 613, 647, 705, 807, 905]),
    (CA, "Quebec", &[367, 418, 438, 450, 514, 579, 581, 819, 873]),
    (CA, "Saskatchewan", &[306, 639]),
    (CA, "Yukon and the territories", &[867]),
    ("Toll-free", "", &[800, 833, 844, 855, 866, 877, 888]),
    ("Anguilla", "", &[264]),
    ("Antigua and Barbuda", "", &[268]),
    ("Bahamas", "", &[242]),
    ("Barbados", "", &[246]),
    ("Bermuda", "", &[441]),
    ("British Virgin Islands", "", &[284]),
    ("Cayman Islands", "", &[345]),
    ("Dominica", "", &[767]),
    ("Dominican Republic", "", &[809, 829, 849]),
    ("Grenada", "", &[473]),
    ("Guam", "", &[671]),
    ("Jamaica", "", &[658, 876]),
    ("Montserrat", "", &[664]),
    ("Northern Mariana Islands", "", &[670]),
    ("Puerto Rico", "", &[787, 939]),
    ("Saint Kitts and Nevis", "", &[869]),
    ("Saint Lucia", "", &[758]),
    ("Saint Vincent and the Grenadines", "", &[784]),
    ("Sint Maarten", "", &[721]),
    ("American Samoa", "", &[684]),
    ("Trinidad and Tobago", "", &[868]),
    ("Turks and Caicos Islands", "", &[649]),
    ("US Virgin Islands", "", &[340]),
];

/// Country codes other than 1.
#[rustfmt::skip]
static COUNTRIES: &[(u16, &str)] = &[
    (20, "Egypt"), (211, "South Sudan"), (212, "Morocco"), (213, "Algeria"), (216, "Tunisia"), (218, "Libya"),
    (220, "Gambia"), (221, "Senegal"), (222, "Mauritania"), (223, "Mali"), (224, "Guinea"), (225, "Ivory Coast"),
    (226, "Burkina Faso"), (227, "Niger"), (228, "Togo"), (229, "Benin"), (230, "Mauritius"), (231, "Liberia"),
    (232, "Sierra Leone"), (233, "Ghana"), (234, "Nigeria"), (235, "Chad"), (236, "Central African Republic"),
    (237, "Cameroon"), (238, "Cape Verde"), (239, "São Tomé and Príncipe"), (240, "Equatorial Guinea"),
    (241, "Gabon"), (242, "Republic of the Congo"), (243, "Democratic Republic of the Congo"), (244, "Angola"),
    (245, "Guinea-Bissau"), (246, "Diego Garcia"), (247, "Ascension Island"), (248, "Seychelles"), (249, "Sudan"),
    (250, "Rwanda"), (251, "Ethiopia"), (252, "Somalia"), (253, "Djibouti"), (254, "Kenya"), (255, "Tanzania"),
    (256, "Uganda"), (257, "Burundi"), (258, "Mozambique"), (260, "Zambia"), (261, "Madagascar"),
    (262, "Réunion and Mayotte"), (263, "Zimbabwe"), (264, "Namibia"), (265, "Malawi"), (266, "Lesotho"),
    (267, "Botswana"), (268, "Eswatini"), (269, "Comoros"), (27, "South Africa"), (290, "Saint Helena"),
    (291, "Eritrea"), (297, "Aruba"), (298, "Faroe Islands"), (299, "Greenland"), (30, "Greece"),
    (31, "Netherlands"), (32, "Belgium"), (33, "France"), (34, "Spain"), (350, "Gibraltar"), (351, "Portugal"),
    (352, "Luxembourg"), (353, "Ireland"), (354, "Iceland"), (355, "Albania"), (356, "Malta"), (357, "Cyprus"),
    (358, "Finland"), (359, "Bulgaria"), (36, "Hungary"), (370, "Lithuania"), (371, "Latvia"), (372, "Estonia"),
    (373, "Moldova"), (374, "Armenia"), (375, "Belarus"), (376, "Andorra"), (377, "Monaco"), (378, "San Marino"),
    (380, "Ukraine"), (381, "Serbia"), (382, "Montenegro"), (383, "Kosovo"), (385, "Croatia"), (386, "Slovenia"),
    (387, "Bosnia and Herzegovina"), (389, "North Macedonia"), (39, "Italy"), (40, "Romania"), (41, "Switzerland"),
    (420, "Czechia"), (421, "Slovakia"), (423, "Liechtenstein"), (43, "Austria"), (44, "United Kingdom"),
    (45, "Denmark"), (46, "Sweden"), (47, "Norway"), (48, "Poland"), (49, "Germany"), (500, "Falkland Islands"),
    (501, "Belize"), (502, "Guatemala"), (503, "El Salvador"), (504, "Honduras"), (505, "Nicaragua"),
    (506, "Costa Rica"), (507, "Panama"), (508, "Saint Pierre and Miquelon"), (509, "Haiti"), (51, "Peru"),
    (52, "Mexico"), (53, "Cuba"), (54, "Argentina"), (55, "Brazil"), (56, "Chile"), (57, "Colombia"),
    (58, "Venezuela"), (590, "Guadeloupe"), (591, "Bolivia"), (592, "Guyana"), (593, "Ecuador"),
    (594, "French Guiana"), (595, "Paraguay"), (596, "Martinique"), (597, "Suriname"), (598, "Uruguay"),
    (599, "Caribbean Netherlands and Curaçao"), (60, "Malaysia"), (61, "Australia"), (62, "Indonesia"),
    (63, "Philippines"), (64, "New Zealand"), (65, "Singapore"), (66, "Thailand"), (670, "Timor-Leste"),
    (672, "Australian external territories"), (673, "Brunei"), (674, "Nauru"), (675, "Papua New Guinea"),
    (676, "Tonga"), (677, "Solomon Islands"), (678, "Vanuatu"), (679, "Fiji"), (680, "Palau"),
    (681, "Wallis and Futuna"), (682, "Cook Islands"), (683, "Niue"), (685, "Samoa"), (686, "Kiribati"),
    (687, "New Caledonia"), (688, "Tuvalu"), (689, "French Polynesia"), (690, "Tokelau"), (691, "Micronesia"),
    (692, "Marshall Islands"), (7, "Russia or Kazakhstan"), (76, "Kazakhstan"), (77, "Kazakhstan"),
    (800, "International toll-free"), (81, "Japan"), (82, "South Korea"), (84, "Vietnam"), (850, "North Korea"),
    (852, "Hong Kong"), (853, "Macau"), (855, "Cambodia"), (856, "Laos"), (86, "China"), (870, "Satellite (Inmarsat)"),
    (880, "Bangladesh"), (881, "Satellite"), (882, "International networks"), (883, "International networks"),
    (886, "Taiwan"), (90, "Türkiye"), (91, "India"), (92, "Pakistan"), (93, "Afghanistan"), (94, "Sri Lanka"),
    (95, "Myanmar"), (960, "Maldives"), (961, "Lebanon"), (962, "Jordan"), (963, "Syria"), (964, "Iraq"),
    (965, "Kuwait"), (966, "Saudi Arabia"), (967, "Yemen"), (968, "Oman"), (970, "Palestine"),
    (971, "United Arab Emirates"), (972, "Israel"), (973, "Bahrain"), (974, "Qatar"), (975, "Bhutan"),
    (976, "Mongolia"), (977, "Nepal"), (98, "Iran"), (992, "Tajikistan"), (993, "Turkmenistan"),
    (994, "Azerbaijan"), (995, "Georgia"), (996, "Kyrgyzstan"), (998, "Uzbekistan"),
];

/// The number in groups, as one reads it out: `+1 212 555 1234`, `+49 3012 3456 78`.
pub fn spaced(number: &FaxNumber) -> String {
    let digits = number.digits();
    if digits.len() == 11 && digits.starts_with('1') {
        return format!("+1 {} {} {}", &digits[1..4], &digits[4..7], &digits[7..]);
    }
    let known = |length: &usize| {
        let code = digits.get(..*length).and_then(|code| code.parse::<u16>().ok());
        code.is_some_and(|code| COUNTRIES.iter().any(|(known, _)| *known == code))
    };
    let split = if digits.starts_with('7') { 1 } else { (1..=3).find(known).unwrap_or(0) };
    let (code, rest) = digits.split_at(split);
    let groups: Vec<&str> = (0..rest.len()).step_by(4).map(|at| &rest[at..rest.len().min(at + 4)]).collect();
    let space = if code.is_empty() { "" } else { " " };
    format!("+{code}{space}{}", groups.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> FaxNumber {
        FaxNumber::from_e164(text).unwrap()
    }

    #[test]
    fn tells_the_country_and_in_north_america_the_state() {
        let cases = [
            ("+12125551234", Some(("United States", Some("New York")))),
            ("+14165551234", Some(("Canada", Some("Ontario")))),
            ("+18765551234", Some(("Jamaica", None))),
            ("+18005551234", Some(("Toll-free", None))),
            ("+15551234567", None),
            ("+4930123456", Some(("Germany", None))),
            ("+4423123456", Some(("United Kingdom", None))),
            ("+42312345678", Some(("Liechtenstein", None))),
            ("+77012345678", Some(("Kazakhstan", None))),
            ("+74951234567", Some(("Russia or Kazakhstan", None))),
            ("+99912345678", None),
        ];
        for (text, expected) in cases {
            let found = place_of(&number(text)).map(|place| (place.country, place.region));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn no_code_stands_for_two_places() {
        let mut seen = std::collections::HashSet::new();
        for area in AREAS.iter().flat_map(|(_, _, areas)| areas.iter()) {
            assert!(seen.insert(*area) && (200..1000).contains(area), "{area}");
        }
        let mut seen = std::collections::HashSet::new();
        for (code, country) in COUNTRIES {
            assert!(seen.insert(code), "{code} {country}");
        }
    }

    #[test]
    fn groups_keep_every_digit() {
        let cases = [
            ("+12125551234", "+1 212 555 1234"),
            ("+4930123456", "+49 3012 3456"),
            ("+42312345678", "+423 1234 5678"),
            ("+99912345678", "+9991 2345 678"),
            ("+74951234567", "+7 4951 2345 67"),
        ];
        for (text, expected) in cases {
            assert_eq!(spaced(&number(text)), expected);
        }
    }
}
