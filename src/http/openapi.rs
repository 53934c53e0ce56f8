//! The API's description, generated from the handlers.
//!
//! Owns: what all operations have in common: the security schemes, and the errors any of them may
//! answer. A golden file and a test that calls every address keep it true.

use std::sync::LazyLock;

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Description, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::api::{
    account_grants, account_key, admin, admin_identify, admin_jobs, admin_key_verbs, admin_keys, admin_seal,
    attempts, audit, auth, diagnostics, fax, health, inbound, key_self, key_usage, own_keys, send, setup,
    users,
};
use super::error::ProblemBody;

/// The description as JSON.
pub fn description() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| Api::openapi().to_pretty_json().unwrap_or_else(|_| "{}".to_owned()));
    &TEXT
}

/// The methods an address takes, for 405; empty when there is no such address.
pub(super) fn methods(path: &str) -> Vec<&'static str> {
    static PATHS: LazyLock<Vec<(String, Vec<&'static str>)>> = LazyLock::new(|| {
        let paths = Api::openapi().paths.paths;
        paths.into_iter().map(|(template, item)| (template, of_item(&item))).collect()
    });
    PATHS
        .iter()
        .find(|(template, _)| matches(template, path))
        .map(|(_, methods)| methods.clone())
        .unwrap_or_default()
}

fn of_item(item: &utoipa::openapi::PathItem) -> Vec<&'static str> {
    let mut methods = Vec::new();
    if item.get.is_some() {
        methods.extend(["GET", "HEAD"]);
    }
    let others = [("POST", &item.post), ("PUT", &item.put), ("PATCH", &item.patch), ("DELETE", &item.delete)];
    methods.extend(others.into_iter().filter(|(_, operation)| operation.is_some()).map(|(method, _)| method));
    methods
}

fn matches(template: &str, path: &str) -> bool {
    let (mut expected, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (expected.next(), found.next()) {
            (None, None) => return true,
            (Some(part), Some(text)) if part == text || (part.starts_with('{') && !text.is_empty()) => {}
            _ => return false,
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pagewire",
        description = "A fax appliance: a document in over HTTP, a fax out, and the truth back.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        health::health, health::ready, health::description,
        send::send, fax::list, fax::show, fax::cancel, fax::as_pdf, fax::page_png,
        attempts::list, attempts::trace,
        inbound::list, inbound::show, inbound::as_pdf, inbound::as_tiff,
        admin_keys::create, admin_keys::list, admin_keys::show, admin_keys::revoke, admin_keys::rotate,
        admin_identify::identify, key_usage::show,
        admin_key_verbs::update, admin_key_verbs::disable, admin_key_verbs::enable, admin_key_verbs::reveal,
        admin_key_verbs::events, admin_key_verbs::safety,
        key_self::show, own_keys::create, own_keys::list, own_keys::reveal, own_keys::revoke, own_keys::remove,
        account_key::show_masked, account_key::generate, account_key::reset, account_key::show,
        account_grants::set,
        admin_jobs::list, admin_jobs::show, admin_jobs::as_pdf, admin_jobs::refresh, admin_jobs::release,
        admin_seal::show, admin_seal::new_recovery_key, admin_seal::rewrap, admin_seal::recover,
        admin::config, admin::plugins,
        diagnostics::api_auth, diagnostics::api_auth_stream,
        audit::list, audit::verify, audit::export, audit::show,
        setup::state, setup::redeem, setup::renew, setup::reset,
        auth::login, auth::logout, auth::show, auth::change_password, auth::step_up, auth::list, auth::end,
        auth::begin_totp, auth::confirm_totp, auth::disable_totp,
        users::list, users::create, users::show, users::change, users::remove, users::set_password,
        users::invite, users::unlock
    ),
    components(schemas(ProblemBody)),
    modifiers(&Common)
)]
struct Api;

struct Common;

impl Modify for Common {
    fn modify(&self, description: &mut Description) {
        if let Some(components) = description.components.as_mut() {
            components.add_security_scheme(
                "api_key",
                SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key"))),
            );
            components.add_security_scheme(
                "bearer",
                SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
            );
            // Over HTTPS its name is `__Host-pagewire`.
            components.add_security_scheme(
                "session",
                SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("pagewire"))),
            );
        }
        for item in description.paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                add_common_errors(operation);
            }
        }
    }
}

fn add_common_errors(operation: &mut Operation) {
    let mut common = vec![("500", "Something failed on our side; nothing was sent")];
    if operation.security.is_some() {
        common.extend([
            ("400", "The request as a whole cannot be read"),
            ("401", "No key or session, or not a valid one"),
            ("403", "The scope is missing, or what a session needs beside its cookie"),
            ("421", "A session under a name that is not ours"),
            ("429", "Too many requests"),
            ("503", "Busy, full or going down"),
        ]);
    }
    for (status, text) in common {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| {
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            ResponseBuilder::new().description(text).content("application/json", content).build().into()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_methods_of_an_address() {
        assert_eq!(methods("/fax"), ["GET", "HEAD", "POST"]);
        assert_eq!(methods("/fax/x"), ["GET", "HEAD", "DELETE"]);
        assert!(methods("/fax/").is_empty());
        assert!(methods("/fax/x/y").is_empty());
    }
}
