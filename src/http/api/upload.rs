//! The multipart body of `POST /fax`, counted while it streams.
//!
//! Owns: which fields there are and what they may hold. Unknown fields are skipped, as Faxbot
//! does. Refuses: more bytes than `MAX_FILE_SIZE_MB`, as soon as they come, and more uploads at
//! once than memory was set aside for.

use bytes::Bytes;
use multer::{Field, Multipart};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::body::{Body, BodyError};
use crate::http::error::{ApiError, INVALID_REQUEST, TOO_LARGE};
use crate::limits::GROUP_NUMBERS;

/// Largest value of a plain field; a note on a cover page is the longest.
const FIELD_BYTES: usize = 16 * 1024;
/// Most parts of a body beside numbers: documents and fields.
const MOST_PARTS: usize = 64;
/// Room for part headers and boundaries beside the documents themselves: those of a form, and 256
/// bytes for each number of a group.
const FRAMING_BYTES: u64 = 64 * 1024 + GROUP_NUMBERS as u64 * 256;
/// The field that may come many times.
const TO: &str = "to";
/// Fields `POST /fax` knows.
const FIELDS: [&str; 20] = [
    TO,
    "resolution",
    "quality",
    "priority",
    "tag",
    "schedule_at",
    "deadline",
    "hours",
    "dry_run",
    "route",
    "from",
    "header",
    "cover",
    "note",
    "subject",
    "from_name",
    "to_name",
    "preview",
    "notify",
    "notify_to",
];

/// What came with a request to send.
pub(super) struct Upload {
    /// Known fields in the order they came.
    fields: Vec<(String, String)>,
    /// The documents in order.
    pub(super) documents: Vec<Bytes>,
    /// SHA-256 over fields and documents; the same for the same request whatever its boundary.
    pub(super) request_hash: [u8; 32],
    /// SHA-256 over the documents alone.
    pub(super) documents_hash: [u8; 32],
    /// The memory it occupies; given back when dropped.
    _memory: SemaphorePermit<'static>,
}

impl Upload {
    /// Reads a body of this content type.
    pub(super) async fn read(
        body: Body,
        content_type: Option<&str>,
        max_file_size_mb: u32,
        memory: &'static Semaphore,
    ) -> Result<Self, ApiError> {
        let boundary =
            content_type.and_then(|value| multer::parse_boundary(value).ok()).ok_or_else(|| {
                ApiError::field(
                    "file",
                    "missing",
                    "Send the fax as multipart/form-data with the parts 'to' and 'file'.",
                )
            })?;
        let limit = u64::from(max_file_size_mb) * 1024 * 1024;
        let mut reader = Reader {
            max_file_size_mb,
            limit,
            received: 0,
            memory: memory.try_acquire_many(0).map_err(|_| out_of_memory())?,
            all_memory: memory,
        };
        let constraints = multer::Constraints::new()
            .size_limit(multer::SizeLimit::new().whole_stream(limit + FRAMING_BYTES));
        let mut parts = Multipart::with_constraints(body.into_stream(), boundary, constraints);
        let (mut fields, mut documents) = (Vec::new(), Vec::new());
        let (mut parts_left, mut numbers_left) = (MOST_PARTS, GROUP_NUMBERS);
        loop {
            let Some(part) = parts.next_field().await.map_err(|error| reader.error(error))? else {
                return Ok(Self::hashed(fields, documents, reader.memory));
            };
            let name = part.name().unwrap_or_default().to_owned();
            let left = if name == TO { &mut numbers_left } else { &mut parts_left };
            *left = left.checked_sub(1).ok_or_else(|| too_many(&name))?;
            match name.as_str() {
                "file" => documents.push(reader.document(part).await?),
                known if FIELDS.contains(&known) => fields.push((name, reader.field(part).await?)),
                _ => reader.skip(part).await?,
            }
        }
    }

    /// The numbers, each exactly as it came.
    pub(super) fn numbers(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(|(field, _)| field == TO).map(|(_, value)| value.as_str())
    }

    /// The first value of a field, exactly as it came.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a field, without the space around it; an empty one counts as absent.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.raw(name).map(|value| value.trim_matches(' ')).filter(|value| !value.is_empty())
    }

    /// SHA-256 over the documents, in hex.
    pub(super) fn source_sha256(&self) -> String {
        self.documents_hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn hashed(
        fields: Vec<(String, String)>,
        documents: Vec<Bytes>,
        memory: SemaphorePermit<'static>,
    ) -> Self {
        let mut of_documents = Sha256::new();
        for document in &documents {
            of_documents.update(Sha256::digest(document));
        }
        let documents_hash: [u8; 32] = of_documents.finalize().into();
        let mut of_request = Sha256::new();
        for (name, value) in &fields {
            for text in [name, value] {
                of_request.update((text.len() as u64).to_be_bytes());
                of_request.update(text);
            }
        }
        of_request.update(documents_hash);
        Self {
            fields,
            documents,
            request_hash: of_request.finalize().into(),
            documents_hash,
            _memory: memory,
        }
    }
}

struct Reader {
    max_file_size_mb: u32,
    limit: u64,
    received: u64,
    memory: SemaphorePermit<'static>,
    all_memory: &'static Semaphore,
}

impl Reader {
    async fn document(&mut self, mut part: Field<'_>) -> Result<Bytes, ApiError> {
        let mut content = Vec::new();
        while let Some(chunk) = part.chunk().await.map_err(|error| self.error(error))? {
            self.received += chunk.len() as u64;
            if self.received > self.limit {
                return Err(self.too_large());
            }
            self.reserve()?;
            content.extend_from_slice(&chunk);
        }
        Ok(content.into())
    }

    async fn field(&mut self, mut part: Field<'_>) -> Result<String, ApiError> {
        let name = part.name().unwrap_or_default().to_owned();
        let mut content = Vec::new();
        while let Some(chunk) = part.chunk().await.map_err(|error| self.error(error))? {
            if content.len() + chunk.len() > FIELD_BYTES {
                return Err(ApiError::field(&name, "too_long", format!("'{name}' is longer than 16 kB.")));
            }
            content.extend_from_slice(&chunk);
        }
        String::from_utf8(content)
            .map_err(|_| ApiError::field(&name, "invalid", format!("'{name}' is not UTF-8 text.")))
    }

    async fn skip(&mut self, mut part: Field<'_>) -> Result<(), ApiError> {
        while part.chunk().await.map_err(|error| self.error(error))?.is_some() {}
        Ok(())
    }

    /// Takes memory for what was received, in whole KiB.
    fn reserve(&mut self) -> Result<(), ApiError> {
        let needed = self.received.div_ceil(1024) as usize;
        let missing = needed.saturating_sub(self.memory.num_permits());
        let more = self.all_memory.try_acquire_many(missing as u32).map_err(|_| out_of_memory())?;
        self.memory.merge(more);
        Ok(())
    }

    fn too_large(&self) -> ApiError {
        let limit = self.max_file_size_mb;
        ApiError::new(&TOO_LARGE, format!("The upload is larger than {limit} MB (MAX_FILE_SIZE_MB)."))
    }

    fn error(&self, error: multer::Error) -> ApiError {
        match error {
            multer::Error::StreamSizeExceeded { .. } => self.too_large(),
            multer::Error::StreamReadFailed(cause) => match cause.downcast::<BodyError>() {
                Ok(error) => error.0,
                Err(_) => ApiError::new(&INVALID_REQUEST, "The request body ended too early."),
            },
            error => ApiError::new(&INVALID_REQUEST, format!("The form cannot be read: {error}.")),
        }
    }
}

fn too_many(name: &str) -> ApiError {
    if name == TO {
        let message = format!(
            "A fax goes to at most {GROUP_NUMBERS} numbers at once; send it to the others in a request of their own."
        );
        return ApiError::field(TO, "too_many", message);
    }
    ApiError::new(&INVALID_REQUEST, format!("The form has more than {MOST_PARTS} parts beside numbers."))
}

fn out_of_memory() -> ApiError {
    ApiError::busy("Too many documents are being uploaded at once.", 2)
}

/// 413 for what announces itself as too large, before any of it is read.
pub(super) fn check_announced(content_length: Option<u64>, max_file_size_mb: u32) -> Result<(), ApiError> {
    let limit = u64::from(max_file_size_mb) * 1024 * 1024 + FRAMING_BYTES;
    if content_length.is_some_and(|length| length > limit) {
        return Err(ApiError::new(
            &TOO_LARGE,
            format!("The upload is larger than {max_file_size_mb} MB (MAX_FILE_SIZE_MB)."),
        ));
    }
    Ok(())
}
