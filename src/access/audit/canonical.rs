//! Canonical JSON: one text for one value, so that a hash over it means something.
//!
//! The JSON Canonicalization Scheme (RFC 8785) for a subset of values: strings, `true`, `false`,
//! `null`, arrays, objects, and whole numbers of magnitude below 2⁵³. No white space; object names
//! sorted by their UTF-16 code units (RFC 8785 section 3.2.3); in strings only `"`, `\` and control
//! characters are escaped, the latter as `\b \t \n \f \r` or `\u00xx` (section 3.2.2.2). Within the
//! subset the result is byte for byte that of any RFC 8785 implementation.

use serde_json::{Map, Number, Value};

/// First whole number that a double no longer tells from its neighbour (RFC 8785 appendix D).
const TOO_LARGE: u64 = 1 << 53;

/// Whether the subset has this number.
pub fn holds(number: &Number) -> bool {
    number.as_i64().is_some_and(|whole| whole.unsigned_abs() < TOO_LARGE)
}

/// The canonical text of an object.
pub fn object(fields: &Map<String, Value>) -> String {
    let mut text = String::new();
    write_object(fields, &mut text);
    text
}

/// The canonical text of a string, in quotes.
pub fn string(text: &str) -> String {
    // serde_json escapes exactly as section 3.2.2.2 asks; a test holds it to that.
    Value::from(text).to_string()
}

/// Whether `text` is an object in canonical form.
pub fn is_object(text: &str) -> bool {
    serde_json::from_str::<Map<String, Value>>(text).is_ok_and(|fields| object(&fields) == text)
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => write_object(fields, text),
        Value::Array(items) => {
            text.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

fn write_object(fields: &Map<String, Value>, text: &mut String) {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    text.push('{');
    for (position, (name, value)) in sorted.into_iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        text.push_str(&string(name));
        text.push(':');
        write(value, text);
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn writes_what_the_standard_says() {
        // The first two rows are RFC 8785 sections 3.2.2 (its strings and literals) and 3.2.3.
        let cases = [
            (
                r#"{"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#,
                "{\"literals\":[null,true,false],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}",
            ),
            (
                "{\"\\u20ac\":\"Euro Sign\",\"\\r\":\"Carriage Return\",\"\\ufb33\":\"Hebrew Letter Dalet With Dagesh\",\
                 \"1\":\"One\",\"\\ud83d\\ude00\":\"Emoji: Grinning Face\",\"\\u0080\":\"Control\",\
                 \"\\u00f6\":\"Latin Small Letter O With Diaeresis\"}",
                "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
                 \"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\
                 \"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
            ),
            (r#"{ "b": [ 3, -1, 0 ], "a": { "z": {}, "y": [] } }"#, r#"{"a":{"y":[],"z":{}},"b":[3,-1,0]}"#),
            ("{\"\\u0008\\u0009\\u000c\\u001f\\u007f\": 1}", "{\"\\b\\t\\f\\u001f\u{7f}\":1}"),
        ];
        for (given, expected) in cases {
            assert_eq!(object(&fields(given)), expected);
            assert!(is_object(expected), "{expected}");
        }
    }

    #[test]
    fn knows_its_own_form() {
        for other in ["", "null", "[]", "1", "{\"a\":1", "{\"a\": 1}", "{\"b\":1,\"a\":1}", "{\"a\":\"\\/\"}"]
        {
            assert!(!is_object(other), "{other}");
        }
    }

    #[test]
    fn numbers_end_where_doubles_do() {
        let number = |text: &str| text.parse::<Number>().unwrap();
        for held in ["0", "-1", "9007199254740991", "-9007199254740991"] {
            assert!(holds(&number(held)), "{held}");
        }
        for other in ["9007199254740992", "-9007199254740992", "18446744073709551615", "0.5", "1e3"] {
            assert!(!holds(&number(other)), "{other}");
        }
    }
}
