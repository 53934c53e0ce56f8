//! An entry of the address book.
//!
//! Owns: what it may hold. Refuses: entries nobody could read in a list.

use jiff::Timestamp;

use super::number::FaxNumber;
use crate::id::ContactId;

/// Longest name, in characters.
pub const NAME_CHARS: usize = 100;
/// Longest note, in characters.
pub const NOTE_CHARS: usize = 500;

/// One entry, shared by all who may read the address book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Its id.
    pub id: ContactId,
    /// Whom it is about; one line, not empty.
    pub name: String,
    /// The fax number.
    pub number: FaxNumber,
    /// What else is worth knowing.
    pub note: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Whether this can be a name: one line with something on it.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// Whether this can be a note: line breaks, but nothing else that does not print.
pub fn is_note(text: &str) -> bool {
    text.chars().count() <= NOTE_CHARS && !text.chars().any(|letter| letter.is_control() && letter != '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_line_and_notes_a_few() {
        assert!(is_name("Dr. Müller") && is_name(&"x".repeat(100)));
        for wrong in ["", "a\nb", &"x".repeat(101), "a\u{7}"] {
            assert!(!is_name(wrong), "{wrong:?}");
        }
        assert!(is_note("") && is_note("a\nb") && !is_note("a\tb") && !is_note(&"x".repeat(501)));
    }
}
