//! Errors as clients see them: one body that four kinds of client can read.
//!
//! Owns: every status code, problem type and error code of the API ([`Problem`] is the catalogue;
//! each entry is also a section of `/docs`). Refuses: to tell causes of a 500, and to say more
//! than "invalid key" to who does not hold the right secret.
//!
//! A handler answers an [`ApiError`]; it travels to the accept loop inside the response and is
//! written out there, where the path, the request id and the accepted media type are known.

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::http::{HeaderMap, HeaderValue, StatusCode};
use warp::reply::Response;

use crate::id::RequestId;
use crate::log::scrub;

/// One kind of failure: what is the same whenever it happens.
#[derive(Debug)]
pub struct Problem {
    /// Last part of the problem's address `/problems/{slug}`, and its anchor in `/docs`.
    pub slug: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Short title: the status' own words.
    pub title: &'static str,
    /// Stable machine-readable code (`error.code`).
    pub code: &'static str,
    /// Dotted key (`message`), as FonProxy's clients compare it.
    pub message: &'static str,
    /// What a person should know or do, for the documentation.
    pub remedy: &'static str,
}

macro_rules! problems {
    ($($name:ident = $slug:literal, $status:literal, $title:literal, $code:literal, $message:literal, $remedy:literal;)+) => {
        $( pub(crate) static $name: Problem = Problem {
            slug: $slug, status: $status, title: $title, code: $code, message: $message, remedy: $remedy,
        }; )+
        /// All problems, in the order of the documentation.
        pub static CATALOGUE: &[&Problem] = &[$(&$name),+];
    };
}

problems! {
    INVALID_REQUEST = "invalid-request", 400, "Bad Request", "invalid_request", "request.invalid",
        "The request as a whole cannot be read. The detail names the part that is wrong.";
    INVALID_NUMBER = "invalid-number", 400, "Bad Request", "invalid_number", "fax.invalid_number",
        "Write the fax number in E.164, like +15551234567, or as digits only.";
    INVALID_KEY = "invalid-api-key", 401, "Unauthorized", "invalid_api_key", "api_key.invalid",
        "Send a valid key in the X-API-Key header or as a Bearer token. Check for a cut-off paste; a revoked key never works again.";
    NO_KEY = "missing-api-key", 401, "Unauthorized", "missing_api_key", "api_key.missing",
        "This address needs an API key in the X-API-Key header or as a Bearer token.";
    NO_SESSION = "signed-out", 401, "Unauthorized", "session_required", "session.required",
        "This address is for people who are signed in, and the session is missing or has ended. Sign in again; a key never takes a session's place.";
    LOGIN_FAILED = "login-failed", 401, "Unauthorized", "login_failed", "session.login_failed",
        "The user name, the password or the code is wrong. After a few failures each next try has to wait; 'pagewire users unlock' ends the waiting.";
    CODE_NEEDED = "code-needed", 401, "Unauthorized", "totp_required", "session.totp_required",
        "The password is right; send it again together with the code from the authenticator app, or with a recovery code.";
    PASSWORD_NEEDED = "password-needed", 403, "Forbidden", "step_up_required", "session.step_up_required",
        "This needs a password entered in the last five minutes. Send it to /auth/step-up and try again.";
    CSRF = "csrf", 403, "Forbidden", "csrf", "session.csrf",
        "A change with a session's cookie needs the header X-Console: 1 and an Origin that is this appliance's own.";
    LINK_INVALID = "link-invalid", 403, "Forbidden", "link_invalid", "session.link_invalid",
        "A one-time link works once and for a limited time, the first administrator's only from the appliance's own network. Ask for a new one: 'pagewire setup-token' or 'pagewire admin reset' on the appliance.";
    NO_SCOPE = "insufficient-scope", 403, "Forbidden", "insufficient_permissions", "api_key.forbidden",
        "The key is valid but lacks the right named in the detail. Make a key with that scope.";
    BLOCKED_BY_POLICY = "number-not-allowed", 403, "Forbidden", "blocked_by_policy", "fax.blocked_by_policy",
        "The appliance does not dial this number; the detail says why. An administrator sees and changes what is allowed at /admin/policy. Emergency numbers are never dialled.";
    NEEDS_HTTPS = "https-only", 403, "Forbidden", "https_only", "request.https_only",
        "People sign in over HTTPS only, so that no password can be read on the way; plain HTTP is for API keys. Use the address in the detail; /ca explains how a device comes to trust it.";
    NOT_FOUND = "not-found", 404, "Not Found", "not_found", "request.not_found",
        "There is nothing at this address, or it belongs to somebody else.";
    FAX_NOT_FOUND = "fax-not-found", 404, "Not Found", "fax_not_found", "fax.not_found",
        "No fax with this id exists among those the key may see.";
    GROUP_NOT_FOUND = "group-not-found", 404, "Not Found", "group_not_found", "group.not_found",
        "No group of faxes with this id exists among those the key may see; one whose faxes were all deleted is gone.";
    KEY_NOT_FOUND = "api-key-not-found", 404, "Not Found", "api_key_not_found", "api_key.not_found",
        "No API key with this id exists among those you may see.";
    USER_NOT_FOUND = "user-not-found", 404, "Not Found", "user_not_found", "user.not_found",
        "No user or session with this id exists among those you may manage.";
    WEBHOOK_NOT_FOUND = "webhook-not-found", 404, "Not Found", "webhook_not_found", "webhook.not_found",
        "No webhook with this id exists; it may have been removed.";
    METHOD_NOT_ALLOWED = "method-not-allowed", 405, "Method Not Allowed", "method_not_allowed", "request.method_not_allowed",
        "The address exists but not for this method; the Allow header lists those that work.";
    TIMEOUT = "request-timeout", 408, "Request Timeout", "request_timeout", "request.timeout",
        "The request body stopped arriving. Send it again.";
    CONFLICT = "wrong-state", 409, "Conflict", "wrong_state", "fax.wrong_state",
        "The fax is in a state in which this cannot be done; the detail names the state.";
    KEY_CONFLICT = "api-key-wrong-state", 409, "Conflict", "api_key_wrong_state", "api_key.wrong_state",
        "The key is in a state in which this cannot be done; the detail names it.";
    SEAL_CONFLICT = "seal-wrong-state", 409, "Conflict", "seal_wrong_state", "seal.wrong_state",
        "The sealing key is in a state in which this cannot be done; the detail says which and what to do.";
    NOT_RECOVERABLE = "api-key-not-recoverable", 409, "Conflict", "not_recoverable", "api_key.not_recoverable",
        "The token of this key was shown once and is not kept. Rotate the key to get a new token, or make one with recoverable set.";
    ACCOUNT_KEY_EXISTS = "account-key-exists", 409, "Conflict", "account_key_exists", "account_key.exists",
        "The appliance has one account key. Show it, or reset it to get a new one.";
    AUDIT_CONFLICT = "audit-wrong-state", 409, "Conflict", "audit_wrong_state", "audit.wrong_state",
        "The audit log is in a state in which this cannot be done; the detail says which.";
    USER_CONFLICT = "user-wrong-state", 409, "Conflict", "user_wrong_state", "user.wrong_state",
        "This cannot be done with the user as things stand; the detail says why. The last global administrator can be neither removed, disabled nor demoted.";
    WEBHOOK_CONFLICT = "webhook-wrong-state", 409, "Conflict", "webhook_wrong_state", "webhook.wrong_state",
        "This cannot be done with the webhooks as things stand; the detail says why.";
    IDEMPOTENCY_IN_FLIGHT = "idempotency-in-flight", 409, "Conflict", "idempotency_in_flight", "request.in_flight",
        "A request with the same Idempotency-Key is still being worked on. Wait a moment and send it again.";
    TOO_LARGE = "payload-too-large", 413, "Payload Too Large", "payload_too_large", "fax.too_large",
        "The upload is larger than MAX_FILE_SIZE_MB allows. Send fewer pages at a time or ask the administrator to raise it.";
    UNSUPPORTED_TYPE = "unsupported-media-type", 415, "Unsupported Media Type", "unsupported_media_type", "fax.unsupported_type",
        "Only PDF, TXT, TIFF, PNG and JPEG can be faxed; what counts is the content, not the file's name. Save other documents as PDF.";
    MISDIRECTED = "misdirected-request", 421, "Misdirected Request", "misdirected_request", "request.misdirected",
        "The address names a host this appliance does not know as its own. Use its name or address, or add the name to server.host_names.";
    INVALID_FIELD = "invalid-field", 422, "Unprocessable Entity", "invalid_field", "request.invalid_field",
        "A field has a value that cannot be used; the errors list says which and what is allowed.";
    NAME_REQUIRED = "api-key-name-required", 400, "Bad Request", "api_key_name_required", "api_key.name_required",
        "Give the key a name that tells what it is for.";
    BAD_DOCUMENT = "unusable-document", 422, "Unprocessable Entity", "unusable_document", "fax.unusable_document",
        "The document cannot be turned into fax pages; the detail says why. Open it, save or print it to a new PDF and send that.";
    IDEMPOTENCY_MISMATCH = "idempotency-mismatch", 422, "Unprocessable Entity", "idempotency_mismatch", "request.idempotency_mismatch",
        "The same Idempotency-Key was used before with another request. Use a new key for a new fax.";
    RATE_LIMITED = "rate-limited", 429, "Too Many Requests", "rate_limited", "request.rate_limited",
        "Too many requests. Wait as long as Retry-After says; error.limit names the limit: the key's minute or hour, all keys of its owner, global, which is MAX_REQUESTS_PER_MINUTE in Settings → Security or a flood from one address, or previews, of which a caller has twenty at once.";
    QUOTA = "quota", 429, "Too Many Requests", "quota", "api_key.quota",
        "The key has used up what it may send over telephone lines in a day: error.limit says whether pages or numbers that were never dialled before. Wait until midnight UTC, or have an administrator raise the key's limits.";
    INTERNAL = "internal-error", 500, "Internal Server Error", "internal_error", "server.error",
        "Something failed on our side; nothing was sent. Give the administrator the request id, which is also in the log.";
    STORAGE_FULL = "storage-full", 503, "Service Unavailable", "storage_full", "server.storage_full",
        "The appliance's disk has no room for more. Faxes that were accepted before are safe and are sent, and faxes are received as long as there is any room; new ones are taken again once there is more. An administrator sees at /admin/storage how full it is.";
    BUSY = "service-unavailable", 503, "Service Unavailable", "service_unavailable", "server.unavailable",
        "The appliance is busy, full or going down. Try again after the time in Retry-After.";
}

impl Problem {
    /// Address of the problem's explanation.
    pub fn address(&self) -> String {
        format!("/problems/{}", self.slug)
    }

    fn error_type(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            403 => "authorization_error",
            429 => "rate_limit_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        }
    }
}

/// One wrong field of a request.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FieldError {
    /// Name of the field.
    pub field: String,
    /// Stable code of what is wrong.
    pub code: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// A failure on its way to the client.
#[derive(Clone, Debug)]
pub struct ApiError {
    problem: &'static Problem,
    detail: String,
    // On the heap, because errors travel in every handler's result.
    more: Box<More>,
}

/// What only some failures tell.
#[derive(Clone, Debug, Default)]
struct More {
    reason: Option<&'static str>,
    errors: Vec<FieldError>,
    retry_after_s: Option<u64>,
    limit: Option<&'static str>,
    allow: Option<String>,
}

impl ApiError {
    /// A failure of this kind with its own sentence.
    pub fn new(problem: &'static Problem, detail: impl Into<String>) -> Self {
        Self::with(problem, detail, More::default())
    }

    /// 422 for one field.
    pub fn field(field: &str, code: &str, message: impl Into<String>) -> Self {
        let message = scrub(&message.into()).into_owned();
        let error =
            FieldError { field: scrub(field).into_owned(), code: code.into(), message: message.clone() };
        Self::with(&INVALID_FIELD, message, More { errors: vec![error], ..More::default() })
    }

    /// 422 for several fields; the sentence is that of the first.
    pub fn fields(faults: impl IntoIterator<Item = (String, &'static str, String)>) -> Self {
        let clean = |text: String| scrub(&text).into_owned();
        let errors = faults.into_iter().map(|(field, code, message)| FieldError {
            field: clean(field),
            code: code.to_owned(),
            message: clean(message),
        });
        let errors: Vec<FieldError> = errors.collect();
        let detail = errors.first().map(|error| error.message.clone()).unwrap_or_default();
        Self::with(&INVALID_FIELD, detail, More { errors, ..More::default() })
    }

    /// 500; `cause` goes to the log only.
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        Self::internal_with(cause, "Something went wrong on our side.")
    }

    /// 500 with a sentence of its own; `cause` goes to the log only.
    pub fn internal_with(cause: &dyn std::error::Error, detail: &str) -> Self {
        let mut chain = cause.to_string();
        let mut source = cause.source();
        while let Some(next) = source {
            chain = format!("{chain}: {next}");
            source = next.source();
        }
        log::error!("a request failed: {chain}");
        Self::new(&INTERNAL, detail)
    }

    /// 503 that asks to come back.
    pub fn busy(detail: impl Into<String>, retry_after_s: u64) -> Self {
        Self::with(&BUSY, detail, More { retry_after_s: Some(retry_after_s), ..More::default() })
    }

    /// 503 for want of room, that asks to come back.
    pub fn storage_full(detail: impl Into<String>, retry_after_s: u64) -> Self {
        Self::with(&STORAGE_FULL, detail, More { retry_after_s: Some(retry_after_s), ..More::default() })
    }

    /// 429 with the limit that was reached.
    pub fn rate_limited(detail: impl Into<String>, limit: &'static str, retry_after_s: u64) -> Self {
        let more = More { retry_after_s: Some(retry_after_s), limit: Some(limit), ..More::default() };
        Self::with(&RATE_LIMITED, detail, more)
    }

    /// 429 with the limit of a day that was reached.
    pub fn quota(detail: impl Into<String>, limit: &'static str, retry_after_s: u64) -> Self {
        let more = More { retry_after_s: Some(retry_after_s), limit: Some(limit), ..More::default() };
        Self::with(&QUOTA, detail, more).with_reason("quota")
    }

    /// 405 with the methods that would work.
    pub fn method_not_allowed(allow: String) -> Self {
        let detail = format!("This address takes {allow}.");
        Self::with(&METHOD_NOT_ALLOWED, detail, More { allow: Some(allow), ..More::default() })
    }

    /// Adds the precise reason of a refusal, for who proved to hold the right secret.
    pub fn with_reason(mut self, reason: &'static str) -> Self {
        self.more.reason = Some(reason);
        self
    }

    /// Adds what is wrong with each of several values of a field.
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        let scrubbed =
            |error: FieldError| FieldError { message: scrub(&error.message).into_owned(), ..error };
        self.more.errors = errors.into_iter().map(scrubbed).collect();
        self
    }

    fn with(problem: &'static Problem, detail: impl Into<String>, more: More) -> Self {
        // Many sentences repeat what was sent, and who sends a key in the wrong place need not see
        // it again in an answer that gets logged.
        Self { problem, detail: scrub(&detail.into()).into_owned(), more: Box::new(more) }
    }

    /// HTTP status of this failure.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The sentence a client shows.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The precise reason, where one was given.
    pub fn reason(&self) -> Option<&'static str> {
        self.more.reason
    }

    /// A response that carries the failure to the accept loop.
    pub fn into_response(self) -> Response {
        let mut response = Response::new("".into());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(self);
        response
    }

    /// The body and headers themselves.
    pub(super) fn render(&self, path: &str, request_id: RequestId, problem_json: bool) -> Response {
        let body = ProblemBody {
            r#type: self.problem.address(),
            title: self.problem.title,
            status: self.problem.status,
            detail: &self.detail,
            instance: &scrub(path),
            request_id: request_id.to_string(),
            errors: &self.more.errors,
            reason: self.more.reason,
            error: Envelope {
                message: &self.detail,
                r#type: self.problem.error_type(),
                code: self.problem.code,
                retry_after: self.more.retry_after_s.filter(|_| self.problem.status == 429),
                limit: self.more.limit,
            },
            message: self.problem.message,
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(json.into());
        *response.status_mut() = self.status();
        self.headers(response.headers_mut(), problem_json);
        response
    }

    fn headers(&self, headers: &mut HeaderMap, problem_json: bool) {
        let media_type = if problem_json { "application/problem+json" } else { "application/json" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        if self.problem.status == 401 {
            // RFC 6750 section 3: no error code when no credential came.
            let is_without_key = [&NO_KEY, &NO_SESSION, &LOGIN_FAILED, &CODE_NEEDED]
                .iter()
                .any(|p| p.slug == self.problem.slug);
            let challenge = if is_without_key {
                "Bearer realm=\"fax\""
            } else {
                "Bearer realm=\"fax\", error=\"invalid_token\""
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.more.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.more.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
    }
}

/// The error body, for the API description.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Address of the explanation, under `/problems/`.
    r#type: String,
    title: &'static str,
    status: u16,
    /// One sentence for a person; always a string.
    detail: &'a str,
    /// Path of the request.
    instance: &'a str,
    request_id: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    /// Precise reason of a 401 or 403; only for who presented the right secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    error: Envelope<'a>,
    message: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Envelope<'a> {
    message: &'a str,
    r#type: &'static str,
    code: &'static str,
    /// Seconds to wait; only with 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// Which limit was reached; only with 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn slugs_and_codes_are_unique_and_explained() {
        let mut seen = HashSet::new();
        for problem in CATALOGUE {
            assert!(seen.insert(problem.slug), "{}", problem.slug);
            assert!(seen.insert(problem.code) || problem.code == problem.slug, "{}", problem.code);
            assert!(problem.remedy.ends_with('.') && problem.remedy.len() > 30, "{}", problem.slug);
            assert!(StatusCode::from_u16(problem.status).is_ok());
        }
    }
}
