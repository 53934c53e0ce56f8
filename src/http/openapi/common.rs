//! What all operations share, written into each of them in one place.
//!
//! Owns: the ways to authenticate, the errors any operation may answer, the headers of answers, the
//! two media types of an error body, and names that tell operations apart. A handler describes only
//! what is its own; what it says of a status stands.

use serde_json::Value;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::schema::{KnownFormat, SchemaFormat, SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Components, Content, Object, OpenApi as Description, Ref, RefOr, Required, Response, ResponseBuilder,
    Schema,
};
use utoipa::{Modify, Number};
use warp::http::StatusCode;

/// Name of the schema of an error body.
const PROBLEM: &str = "Problem";
/// Names of the schemas of multipart forms; a part of one is there or not, and never null.
const FORMS: [&str; 2] = ["SendForm", "PreviewForm"];
const JSON: &str = "application/json";
/// What a client gets instead that says it accepts it.
const PROBLEM_JSON: &str = "application/problem+json";

/// Adds what is common to a description made of the handlers' own words.
pub(super) struct Common;

impl Modify for Common {
    fn modify(&self, description: &mut Description) {
        if let Some(components) = description.components.as_mut() {
            add_security_schemes(components);
            for header in &HEADERS {
                components.headers.insert(header.name.to_owned(), RefOr::T(header.described()));
            }
            for error in &ERRORS {
                let mut response = error.response();
                complete(&mut response, error.status, true);
                components.responses.insert(error.name.to_owned(), RefOr::T(response));
            }
        }
        for (path, item) in &mut description.paths.paths {
            for (method, operation) in operations(item) {
                operation.operation_id = Some(operation_id(method, path));
                make_common(operation);
            }
        }
        let schemas = description.components.iter_mut().flat_map(|components| &mut components.schemas);
        for (_, form) in schemas.filter(|(name, _)| FORMS.contains(&name.as_str())) {
            if let RefOr::T(Schema::Object(form)) = form {
                for field in form.properties.values_mut() {
                    take_null_out(field);
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let all = [
        ("get", &mut item.get),
        ("post", &mut item.post),
        ("put", &mut item.put),
        ("patch", &mut item.patch),
        ("delete", &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// A name of its own for each operation, as generators of clients need it: `get_fax_id_pdf`.
fn operation_id(method: &str, path: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let words = path.split(|c| !is_word(c)).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| format!("{id}_{word}"))
}

fn make_common(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        // Neither a path nor a query string can say null; what is optional is left out.
        if let RefOr::T(parameter) = parameter
            && let Some(schema) = &mut parameter.schema
        {
            take_null_out(schema);
            tell_unsigned(schema);
        }
    }
    if let Some(body) = &mut operation.request_body {
        allow_no_body(body);
    }
    let is_with_key = accept_every_credential(operation);
    for error in &ERRORS {
        if error.when.applies(operation) {
            let missing = || RefOr::Ref(Ref::from_response_name(error.name));
            operation.responses.responses.entry(error.status.to_owned()).or_insert_with(missing);
        }
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            complete(response, status, is_with_key);
        }
    }
}

// ---- Credentials ----------------------------------------------------------------------------

fn add_security_schemes(components: &mut Components) {
    components.add_security_scheme(
        "api_key",
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key"))),
    );
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
    );
    // Over HTTPS its name is `__Host-pagewire`.
    components
        .add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("pagewire"))));
}

/// Where a key is taken, it may come as a Bearer token, and a session's cookie may stand in for
/// it. Returns whether a key is taken.
fn accept_every_credential(operation: &mut Operation) -> bool {
    let Some(security) = &mut operation.security else { return false };
    let of_key = security.iter().find_map(scopes_of_key);
    let Some(scopes) = of_key else { return false };
    security.push(SecurityRequirement::new("bearer", scopes));
    security.push(SecurityRequirement::new("session", [] as [&str; 0]));
    true
}

/// The type keeps its contents to itself; its serialised form is the standard's.
fn scopes_of_key(requirement: &SecurityRequirement) -> Option<Vec<String>> {
    let value = serde_json::to_value(requirement).ok()?;
    serde_json::from_value(value.get("api_key")?.clone()).ok()
}

// ---- Errors ---------------------------------------------------------------------------------

/// An error that is not a handler's own.
struct SharedError {
    status: &'static str,
    /// Its name among the description's shared answers.
    name: &'static str,
    when: When,
    text: &'static str,
}

/// Which operations answer it.
enum When {
    Always,
    /// Where somebody has to be let in.
    WithCredential,
    /// Where a body is read.
    WithBody,
    WithCredentialOrBody,
}

impl When {
    fn applies(&self, operation: &Operation) -> bool {
        let (credential, body) = (operation.security.is_some(), operation.request_body.is_some());
        match self {
            Self::Always => true,
            Self::WithCredential => credential,
            Self::WithBody => body,
            Self::WithCredentialOrBody => credential || body,
        }
    }
}

static ERRORS: [SharedError; 10] = [
    SharedError {
        status: "400",
        name: "BadRequest",
        when: When::WithCredentialOrBody,
        text: "The request as a whole cannot be read: no JSON, or two different keys",
    },
    SharedError {
        status: "401",
        name: "Unauthorized",
        when: When::WithCredential,
        text: "No key or session, or not a valid one",
    },
    SharedError {
        status: "403",
        name: "Forbidden",
        when: When::Always,
        text: "The scope is missing, or what a session needs beside its cookie; or the request brings a cookie \
            over a connection that somebody could read",
    },
    SharedError {
        status: "408",
        name: "RequestTimeout",
        when: When::WithBody,
        text: "The body stopped arriving",
    },
    SharedError {
        status: "413",
        name: "PayloadTooLarge",
        when: When::WithBody,
        text: "The body is too large",
    },
    SharedError {
        status: "421",
        name: "MisdirectedRequest",
        when: When::WithCredential,
        text: "A session under a name that is not ours",
    },
    SharedError {
        status: "422",
        name: "UnprocessableEntity",
        when: When::WithBody,
        text: "A field is unknown or has a value that cannot be used; what is allowed is said",
    },
    SharedError { status: "429", name: "TooManyRequests", when: When::Always, text: "Too many requests" },
    SharedError {
        status: "500",
        name: "InternalServerError",
        when: When::Always,
        text: "Something failed on our side; nothing was sent",
    },
    SharedError {
        status: "503",
        name: "ServiceUnavailable",
        when: When::WithCredentialOrBody,
        text: "Busy, full or going down",
    },
];

impl SharedError {
    fn response(&self) -> Response {
        let content = Content::new(Some(Ref::from_schema_name(PROBLEM)));
        ResponseBuilder::new().description(self.text).content(JSON, content).build()
    }
}

// ---- Answers --------------------------------------------------------------------------------

/// A header that is not a handler's own.
struct SharedHeader {
    name: &'static str,
    /// Whether every answer of the kind it belongs to has it.
    required: bool,
    is_number: bool,
    text: &'static str,
}

static HEADERS: [SharedHeader; 5] = [
    SharedHeader {
        name: "X-Request-Id",
        required: true,
        is_number: false,
        text: "Names this request in the log of the appliance.",
    },
    SharedHeader {
        name: "WWW-Authenticate",
        required: true,
        is_number: false,
        text: "How to authenticate (RFC 6750).",
    },
    SharedHeader {
        name: "Retry-After",
        required: true,
        is_number: true,
        text: "Seconds to wait before the next try.",
    },
    SharedHeader {
        name: "RateLimit-Policy",
        required: false,
        is_number: false,
        text: "The limits of the key: requests `q` in a window of `w` seconds. Not in a session.",
    },
    SharedHeader {
        name: "RateLimit",
        required: false,
        is_number: false,
        text: "What the key has left: requests `r`, and seconds `t` until the window ends. Not in a session.",
    },
];

impl SharedHeader {
    fn described(&self) -> Header {
        let kind = if self.is_number { Type::Integer } else { Type::String };
        let mut header = Header::new(Object::with_type(kind));
        header.description = Some(self.text.to_owned());
        if self.required {
            // The standard's own field, which the type has no place for.
            header.extensions = Some([("required", Value::Bool(true))].into_iter().collect::<Extensions>());
        }
        header
    }
}

/// Adds to an answer what every one of its kind has.
fn complete(response: &mut Response, status: &str, is_with_key: bool) {
    if response.description.is_empty() {
        let reason = status.parse::<StatusCode>().ok().and_then(|status| status.canonical_reason());
        response.description = reason.unwrap_or_default().to_owned();
    }
    for (media_type, content) in &mut response.content {
        // No type of ours describes a document, which is no list of numbers, or a stream of events,
        // which is no single text.
        let is_described = !media_type.starts_with("image/")
            && media_type != "application/pdf"
            && media_type != "application/gzip"
            && media_type != "text/event-stream";
        if let (false, RefOr::T(content)) = (is_described, content) {
            content.schema = None;
        }
    }
    let problem = response.content.get(JSON).filter(|content| is_problem(content)).cloned();
    let is_problem = problem.is_some();
    if let Some(problem) = problem {
        response.content.insert(PROBLEM_JSON.to_owned(), problem);
    }
    let mut has = vec!["X-Request-Id"];
    match status {
        "401" => has.push("WWW-Authenticate"),
        "429" => has.push("Retry-After"),
        "503" if is_problem => has.push("Retry-After"),
        _ => {}
    }
    if is_with_key && status != "401" {
        has.extend(["RateLimit-Policy", "RateLimit"]);
    }
    for name in has {
        let header = RefOr::Ref(Ref::new(format!("#/components/headers/{name}")));
        response.headers.insert(name.to_owned(), header);
    }
}

fn is_problem(content: &RefOr<Content>) -> bool {
    let problem = Ref::from_schema_name(PROBLEM);
    matches!(content, RefOr::T(Content { schema: Some(RefOr::Ref(of)), .. }) if *of == problem)
}

// ---- Schemas --------------------------------------------------------------------------------

/// A body described as an option may be left out; it may not be `null`.
fn allow_no_body(body: &mut RefOr<RequestBody>) {
    let RefOr::T(body) = body else { return };
    for content in body.content.values_mut() {
        let RefOr::T(Content { schema: Some(schema), .. }) = content else { continue };
        if take_null_out(schema) {
            body.required = Some(Required::False);
        }
    }
}

/// The schema without `null`, and whether it was in it.
fn take_null_out(schema: &mut RefOr<Schema>) -> bool {
    let is_null = |schema: &RefOr<Schema>| matches!(schema, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null));
    let types = match schema {
        RefOr::T(Schema::OneOf(one_of)) => {
            let count = one_of.items.len();
            one_of.items.retain(|item| !is_null(item));
            let had_null = one_of.items.len() < count;
            if let [_] = one_of.items[..] {
                let only = one_of.items.remove(0);
                *schema = only;
            }
            return had_null;
        }
        RefOr::T(Schema::Object(object)) => &mut object.schema_type,
        RefOr::T(Schema::Array(array)) => &mut array.schema_type,
        _ => return false,
    };
    let SchemaType::Array(kinds) = types else { return false };
    let count = kinds.len();
    kinds.retain(|kind| *kind != Type::Null);
    let had_null = kinds.len() < count;
    if let [only] = &kinds[..] {
        *types = SchemaType::Type(only.clone());
    }
    had_null
}

/// The format of signed numbers, which is what there is, would forbid half of the unsigned ones.
fn tell_unsigned(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    let Some(SchemaFormat::KnownFormat(format)) = &object.format else { return };
    if object.minimum == Some(Number::UInt(0)) || object.minimum == Some(Number::Float(0.0)) {
        if *format == KnownFormat::Int32 {
            object.maximum.get_or_insert(Number::UInt(u32::MAX as usize));
        }
        object.format = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_speaking_names() {
        assert_eq!(operation_id("get", "/fax/{id}/pages/{page}"), "get_fax_id_pages_page");
        assert_eq!(operation_id("post", "/auth/step-up"), "post_auth_step_up");
        assert_eq!(operation_id("get", "/openapi.json"), "get_openapi_json");
    }
}
