//! Why a document did not become fax pages, in words for the person who sent it.
//!
//! Owns [`ConvertError`] alone. Every `Display` is one or two plain sentences that may be shown as they are:
//! they name what was found and what to do, and never a path, a process or a crate.

use thiserror::Error;

/// What a request to convert documents, or to draw a page, can end as instead of a result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The bytes are no kind of document that is taken. `found` is a noun phrase, such as "an HTML page".
    #[error("This is {found}. A fax takes PDF, plain text, TIFF, PNG or JPEG.")]
    UnknownType {
        /// What the content looks like, with its article.
        found: String,
    },
    /// There are no bytes, or a text without one visible character.
    #[error("The document is empty.")]
    Empty,
    /// A PDF that cannot be opened without a password, or whose encryption is not one we know.
    #[error("The PDF is encrypted; save it without a password and send it again.")]
    Encrypted,
    /// The document is sound but holds not one page.
    #[error("The document has no pages.")]
    NoPages,
    /// The document cannot be read. `page` counts from 1 within its own document, where it is known.
    #[error("{}", damaged(*page, cause))]
    Damaged {
        /// The page that could not be read, from 1, if the damage has a place.
        page: Option<u32>,
        /// What is wrong, as a clause without a full stop.
        cause: String,
    },
    /// The documents of one fax have more pages together than one fax may have.
    #[error("The document has more than {limit} pages; send it in parts.")]
    TooManyPages {
        /// The number of pages that is allowed.
        limit: u32,
    },
    /// A page or image is too big to be drawn; refused before any memory is taken for it.
    #[error("{}", too_large(*page, dimensions))]
    TooLarge {
        /// The page, from 1 within its own document, if the document has several.
        page: Option<u32>,
        /// The size that was found, with its unit, such as "60000 × 60000 pixels".
        dimensions: String,
    },
    /// The pages came out so dense that holding and sending them is out of the question.
    #[error("The pages of this fax need more than {limit_mib} MiB; send it in parts or with less detail.")]
    TooDense {
        /// The compressed size that is allowed for all pages of a fax, in MiB.
        limit_mib: u32,
    },
    /// Reading the document took longer than a document may take.
    #[error("The document takes too long to read; print it to a new PDF and send that.")]
    TooSlow,
    /// Reading the document needed more memory than a document may have.
    #[error("The document needs too much memory to read; print it to a new PDF and send that.")]
    TooMuchMemory,
    /// So many documents wait to be read that another would only wait in vain.
    #[error("Too many documents are being read at this moment; try again in a minute.")]
    Busy,
    /// Documents cannot be read safely on this machine; the text is for the operator.
    #[error("Documents cannot be read on this machine: {0}.")]
    Unavailable(String),
    /// Something of ours broke, and the document is not to blame; the text is for the log.
    #[error("The document could not be read because of an internal error: {0}.")]
    Internal(String),
}

impl ConvertError {
    /// Whether sending the same bytes again would fail again: the document is at fault, not this machine
    /// and not this moment.
    pub fn is_document_fault(&self) -> bool {
        !matches!(self, Self::Busy | Self::Unavailable(_) | Self::Internal(_))
    }

    /// A document that cannot be read, with no page to blame.
    pub(super) fn damaged(cause: impl Into<String>) -> Self {
        Self::Damaged { page: None, cause: cause.into() }
    }

    /// A page of a document that cannot be read; `page` counts from 1.
    pub(super) fn damaged_page(page: u32, cause: impl Into<String>) -> Self {
        Self::Damaged { page: Some(page), cause: cause.into() }
    }
}

fn damaged(page: Option<u32>, cause: &str) -> String {
    match page {
        Some(page) => format!("Page {page} of the document is damaged: {cause}."),
        None => format!("The document is damaged: {cause}."),
    }
}

fn too_large(page: Option<u32>, dimensions: &str) -> String {
    match page {
        Some(page) => format!("Page {page} is too large for a fax: {dimensions}."),
        None => format!("The document is too large for a fax: {dimensions}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence_ends_once_and_names_the_page() {
        let cases = [
            (
                ConvertError::damaged_page(3, "the picture data ends early"),
                "Page 3 of the document is damaged: the picture data ends early.",
            ),
            (ConvertError::damaged("the file ends early"), "The document is damaged: the file ends early."),
            (
                ConvertError::TooLarge { page: None, dimensions: "60000 × 60000 pixels".into() },
                "The document is too large for a fax: 60000 × 60000 pixels.",
            ),
            (
                ConvertError::UnknownType { found: "an HTML page".into() },
                "This is an HTML page. A fax takes PDF, plain text, TIFF, PNG or JPEG.",
            ),
        ];
        for (error, sentence) in cases {
            assert_eq!(error.to_string(), sentence);
        }
    }

    #[test]
    fn only_our_own_troubles_are_no_fault_of_the_document() {
        assert!(ConvertError::Encrypted.is_document_fault());
        assert!(ConvertError::TooSlow.is_document_fault());
        assert!(!ConvertError::Busy.is_document_fault());
        assert!(!ConvertError::Unavailable("no seccomp".into()).is_document_fault());
        assert!(!ConvertError::Internal("pipe".into()).is_document_fault());
    }
}
