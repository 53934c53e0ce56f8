//! The API's description, generated from the handlers.
//!
//! Owns: which operations there are; what they have in common is [`common`]'s. The text that is served
//! is a file, so that the code that makes it (1.8 MB of executable) is linked into the tests only. They
//! compare the two, call every address, and `./dev contract` tries what else is promised.

mod common;

use std::sync::LazyLock;

use serde_json::Value;
use utoipa::OpenApi;

use super::api::{
    account_grants, account_key, admin, admin_diagnostics, admin_dialling, admin_identify, admin_jobs,
    admin_key_verbs, admin_keys, admin_mail, admin_policy, admin_routes, admin_seal, admin_settings,
    admin_storage, admin_summary, attempts, attention, audit, auth, contacts, destinations, diagnostics,
    events, fax, fax_verbs, groups, health, inbound, inbound_verbs, key_self, key_usage, own_keys, preview,
    sdk, send, setup, users, webhooks,
};
use super::error::ProblemBody;
use common::Common;

/// The description as JSON.
pub fn description() -> &'static str {
    include_str!("openapi/description.json")
}

/// The description as JSON, as the handlers have it; what [`description`] has to be.
///
/// # Errors
///
/// Something in it has no form in JSON.
pub fn generated() -> Result<String, serde_json::Error> {
    Api::openapi().to_pretty_json().map(|text| text + "\n")
}

/// The methods an address takes, for 405; empty when there is no such address.
pub(super) fn methods(path: &str) -> Vec<&'static str> {
    static PATHS: LazyLock<Vec<(String, Vec<&'static str>)>> = LazyLock::new(|| {
        let described: Value = serde_json::from_str(description()).unwrap_or_default();
        let paths = described["paths"].as_object().cloned().unwrap_or_default();
        paths.into_iter().map(|(template, item)| (template, of_item(&item))).collect()
    });
    PATHS
        .iter()
        .find(|(template, _)| matches(template, path))
        .map(|(_, methods)| methods.clone())
        .unwrap_or_default()
}

fn of_item(item: &Value) -> Vec<&'static str> {
    let known = [
        ("get", &["GET", "HEAD"][..]),
        ("post", &["POST"]),
        ("put", &["PUT"]),
        ("patch", &["PATCH"]),
        ("delete", &["DELETE"]),
    ];
    let described = known.into_iter().filter(|(name, _)| item.get(name).is_some());
    described.flat_map(|(_, methods)| methods.iter().copied()).collect()
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
        health::health, health::ready, health::description, sdk::node,
        send::send, preview::make, preview::page_png, fax::list, fax::show, fax::cancel, fax::as_pdf, fax::pdf_link, fax::page_png,
        fax_verbs::alter, fax_verbs::resend, fax_verbs::release, attention::settle,
        groups::show, groups::cancel,
        attempts::list, attempts::trace, destinations::show,
        contacts::list, contacts::create, contacts::show, contacts::change, contacts::remove,
        inbound::list, inbound::show, inbound::as_pdf, inbound::as_tiff, inbound::page_png,
        inbound_verbs::assignees, inbound_verbs::change, inbound_verbs::remove, inbound_verbs::forward,
        admin_keys::create, admin_keys::list, admin_keys::show, admin_keys::revoke, admin_keys::rotate,
        admin_identify::identify, key_usage::show,
        admin_key_verbs::update, admin_key_verbs::disable, admin_key_verbs::enable, admin_key_verbs::end_previous,
        admin_key_verbs::reveal, admin_key_verbs::events, admin_key_verbs::safety,
        key_self::show, own_keys::create, own_keys::list, own_keys::reveal, own_keys::revoke, own_keys::remove,
        account_key::show_masked, account_key::generate, account_key::reset, account_key::show,
        account_grants::set,
        admin_jobs::list, admin_jobs::show, admin_jobs::as_pdf, admin_jobs::refresh, admin_jobs::release, admin_jobs::hold,
        admin_seal::show, admin_seal::new_recovery_key, admin_seal::rewrap, admin_seal::recover,
        admin_policy::show, admin_policy::set_range, admin_policy::rule, admin_policy::unrule,
        admin_storage::show, admin_storage::clean, admin_storage::reconcile,
        admin_summary::show,
        admin_settings::show, admin_settings::change, admin_settings::validate, admin_settings::reload,
        admin_settings::export,
        admin_diagnostics::health_status, admin_diagnostics::db_status, admin_diagnostics::run,
        admin_diagnostics::logs, admin_mail::test,
        admin_dialling::show, admin_dialling::pause, admin_dialling::resume,
        admin_routes::list, admin_routes::restore,
        admin::config, admin::plugins,
        diagnostics::api_auth, diagnostics::api_auth_stream,
        events::list, events::stream,
        audit::list, audit::verify, audit::export, audit::show, audit::accept_damage,
        setup::state, setup::redeem, setup::renew, setup::reset,
        auth::login, auth::logout, auth::show, auth::change_password, auth::step_up, auth::list, auth::end,
        auth::begin_totp, auth::confirm_totp, auth::disable_totp,
        users::list, users::create, users::show, users::change, users::remove, users::set_password,
        users::invite, users::unlock,
        webhooks::list, webhooks::create, webhooks::show, webhooks::change, webhooks::remove, webhooks::rotate,
        webhooks::test, webhooks::deliveries, webhooks::replay
    ),
    components(schemas(ProblemBody)),
    modifiers(&Common)
)]
struct Api;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_methods_of_an_address() {
        assert_eq!(methods("/fax"), ["GET", "HEAD", "POST"]);
        assert_eq!(methods("/fax/x"), ["GET", "HEAD", "PATCH", "DELETE"]);
        assert!(methods("/fax/").is_empty());
        assert!(methods("/fax/x/y").is_empty());
    }
}
