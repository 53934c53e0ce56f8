//! The table of all settings.
//!
//! Owns: what each is called in the file and in the environment, its default, and what is allowed.

use super::values::{
    host_name, is_route, line_of_text, list, number, optional, path_prefix, routes, shown, store, truth,
};
use super::*;

/// Every setting there is.
pub static SETTINGS: &[Setting] = &[
    Setting {
        key: "server.listen",
        env: &["PAGEWIRE_LISTEN"],
        default: "127.0.0.1:8080",
        allowed: "an address and port, like 127.0.0.1:8080",
        get: |config| config.listen.to_string(),
        set: |config, text| store(&mut config.listen, text.parse().ok()?),
    },
    Setting {
        key: "server.https_listen",
        env: &["PAGEWIRE_HTTPS_LISTEN"],
        default: "[::]:8443",
        allowed: "an address and port, like [::]:8443, or nothing to switch it off",
        get: |config| shown(config.https_listen.as_ref()),
        set: |config, text| store(&mut config.https_listen, optional(text, |text| text.parse().ok())?),
    },
    Setting {
        key: "server.tls_cert",
        env: &["PAGEWIRE_TLS_CERT"],
        default: "",
        allowed: "a PEM file, or nothing to use the local authority",
        get: |config| shown(config.tls_cert.as_ref().map(|file| file.display()).as_ref()),
        set: |config, text| store(&mut config.tls_cert, optional(text, |text| Some(text.into()))?),
    },
    Setting {
        key: "server.tls_key",
        env: &["PAGEWIRE_TLS_KEY"],
        default: "",
        allowed: "a PEM file, or nothing to use the local authority",
        get: |config| shown(config.tls_key.as_ref().map(|file| file.display()).as_ref()),
        set: |config, text| store(&mut config.tls_key, optional(text, |text| Some(text.into()))?),
    },
    Setting {
        key: "server.host_names",
        env: &["PAGEWIRE_HOST_NAMES"],
        default: "",
        allowed: "host names or addresses with commas between, like fax.example.org, 203.0.113.5",
        get: |config| config.host_names.join(", "),
        set: |config, text| store(&mut config.host_names, list(text, host_name)?),
    },
    Setting {
        key: "server.allow_plain_http",
        env: &["PAGEWIRE_ALLOW_PLAIN_HTTP"],
        default: "false",
        allowed: "true or false",
        get: |config| config.allow_plain_http.to_string(),
        set: |config, text| store(&mut config.allow_plain_http, truth(text)?),
    },
    Setting {
        key: "server.max_connections",
        env: &["PAGEWIRE_MAX_CONNECTIONS"],
        default: "4096",
        allowed: "a number from 64 to 65536",
        get: |config| config.max_connections.to_string(),
        set: |config, text| store(&mut config.max_connections, number(text, 64, 65_536)?),
    },
    Setting {
        key: "server.metrics_listen",
        env: &["PAGEWIRE_METRICS_LISTEN"],
        default: "",
        allowed: "an address and port, or nothing to switch it off",
        get: |config| shown(config.metrics_listen.as_ref()),
        set: |config, text| store(&mut config.metrics_listen, optional(text, |text| text.parse().ok())?),
    },
    Setting {
        key: "server.trusted_proxies",
        env: &["PAGEWIRE_TRUSTED_PROXIES"],
        default: "",
        allowed: "addresses and networks like 127.0.0.1 or 10.0.0.0/8, separated by commas",
        get: |config| config.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        set: |config, text| store(&mut config.trusted_proxies, list(text, |network| network.parse().ok())?),
    },
    Setting {
        key: "server.path_prefix",
        env: &["PAGEWIRE_PATH_PREFIX"],
        default: "",
        allowed: "nothing, or a path like /fax of letters, digits, - and _, that a reverse proxy takes off",
        get: |config| config.path_prefix.clone(),
        set: |config, text| store(&mut config.path_prefix, path_prefix(text)?),
    },
    Setting {
        key: "storage.data_dir",
        env: &["PAGEWIRE_DATA_DIR", "FAX_DATA_DIR"],
        default: "/var/lib/pagewire",
        allowed: "a folder",
        get: |config| config.data_dir.display().to_string(),
        set: |config, text| (!text.is_empty()).then(|| config.data_dir = PathBuf::from(text)),
    },
    Setting {
        key: "storage.keep_sent_days",
        env: &["PAGEWIRE_KEEP_SENT_DAYS"],
        default: "0",
        allowed: "a number from 0 (for ever) to 36500",
        get: |config| config.retention.sent_days.to_string(),
        set: |config, text| store(&mut config.retention.sent_days, number(text, 0, 36_500)?),
    },
    Setting {
        key: "storage.keep_received_days",
        env: &["PAGEWIRE_KEEP_RECEIVED_DAYS", "INBOUND_RETENTION_DAYS"],
        default: "0",
        allowed: "a number from 0 (for ever) to 36500",
        get: |config| config.retention.received_days.to_string(),
        set: |config, text| store(&mut config.retention.received_days, number(text, 0, 36_500)?),
    },
    Setting {
        key: "storage.warn_percent",
        env: &["PAGEWIRE_WARN_PERCENT"],
        default: "80",
        allowed: "a number from 1 to 100",
        get: |config| config.retention.warn_percent.to_string(),
        set: |config, text| store(&mut config.retention.warn_percent, number(text, 1, 100)?),
    },
    Setting {
        key: "storage.stop_sends_percent",
        env: &["PAGEWIRE_STOP_SENDS_PERCENT"],
        default: "95",
        allowed: "a number from 1 to 100",
        get: |config| config.retention.stop_sends_percent.to_string(),
        set: |config, text| store(&mut config.retention.stop_sends_percent, number(text, 1, 100)?),
    },
    Setting {
        key: "storage.when_low",
        env: &["PAGEWIRE_WHEN_LOW"],
        default: "keep",
        allowed: "keep, delete_sent or delete_all",
        get: |config| config.retention.when_low.as_str().to_owned(),
        set: |config, text| store(&mut config.retention.when_low, text.parse().ok()?),
    },
    Setting {
        key: "security.require_api_key",
        env: &["REQUIRE_API_KEY"],
        default: "true",
        allowed: "true or false",
        get: |config| config.require_api_key.to_string(),
        set: |config, text| store(&mut config.require_api_key, truth(text)?),
    },
    Setting {
        key: "security.allow_bootstrap_key",
        env: &["ALLOW_BOOTSTRAP_KEY"],
        default: "false",
        allowed: "true or false",
        get: |config| config.allow_bootstrap_key.to_string(),
        set: |config, text| store(&mut config.allow_bootstrap_key, truth(text)?),
    },
    Setting {
        key: "security.allow_query_api_key",
        env: &["ALLOW_QUERY_API_KEY"],
        default: "false",
        allowed: "true or false",
        get: |config| config.allow_query_api_key.to_string(),
        set: |config, text| store(&mut config.allow_query_api_key, truth(text)?),
    },
    Setting {
        key: "security.reveal_policy",
        env: &["KEY_REVEAL_POLICY"],
        default: "per_key",
        allowed: "never, account or per_key",
        get: |config| config.reveal_policy.to_string(),
        set: |config, text| store(&mut config.reveal_policy, text.parse().ok()?),
    },
    Setting {
        key: "security.max_requests_per_minute",
        env: &["MAX_REQUESTS_PER_MINUTE"],
        default: "0",
        allowed: "a number from 0 (off) to 1000000",
        get: |config| config.max_requests_per_minute.to_string(),
        set: |config, text| store(&mut config.max_requests_per_minute, number(text, 0, 1_000_000)?),
    },
    Setting {
        key: "security.max_file_size_mb",
        env: &["MAX_FILE_SIZE_MB"],
        default: "10",
        allowed: "a number from 1 to 100",
        get: |config| config.max_file_size_mb.to_string(),
        set: |config, text| store(&mut config.max_file_size_mb, number(text, 1, limits::MAX_UPLOAD_MB)?),
    },
    Setting {
        key: "documents.max_pages",
        env: &["PAGEWIRE_MAX_PAGES"],
        default: "500",
        allowed: "a number from 1 to 500",
        get: |config| config.max_pages.to_string(),
        set: |config, text| store(&mut config.max_pages, number(text, 1, limits::MAX_PAGES)?),
    },
    Setting {
        key: "documents.workers",
        env: &["PAGEWIRE_WORKERS"],
        default: "2",
        allowed: "a number from 1 to 64",
        get: |config| config.workers.to_string(),
        set: |config, text| store(&mut config.workers, number(text, 1, 64)?),
    },
    Setting {
        key: "documents.require_sandbox",
        env: &["PAGEWIRE_REQUIRE_SANDBOX"],
        default: "true",
        allowed: "true or false",
        get: |config| config.require_sandbox.to_string(),
        set: |config, text| store(&mut config.require_sandbox, truth(text)?),
    },
    Setting {
        key: "documents.cover_template",
        env: &["PAGEWIRE_COVER_TEMPLATE"],
        default: "",
        allowed: "a text with {{to.name}}, {{to.number}}, {{from.name}}, {{from.number}}, {{subject}}, {{pages}}, \
            {{date}} and {{note}}, up to 4000 characters, or nothing for the built-in one",
        get: |config| config.cover_template.clone(),
        set: |config, text| cover::is_template(text).then(|| config.cover_template = text.to_owned()),
    },
    Setting {
        key: "line.route",
        env: &["PAGEWIRE_ROUTE"],
        default: "simulator",
        allowed: "loopback or simulator",
        get: |config| config.route.to_string(),
        set: |config, text| {
            config.route = match text {
                "loopback" => RouteName::Loopback,
                "simulator" => RouteName::Simulator,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        key: "line.routes",
        env: &["PAGEWIRE_ROUTES"],
        default: "",
        allowed: "simulator and simulator:2 to simulator:4 in any order with commas between, or loopback alone, or \
            nothing to take line.route",
        get: |config| shown(config.routes.as_ref()),
        set: |config, text| store(&mut config.routes, optional(text, routes)?),
    },
    Setting {
        key: "line.calls",
        env: &["PAGEWIRE_CALLS"],
        default: "",
        allowed: "routes with a number from 1 to 1000 each, like simulator=4, loopback=16",
        get: |config| config.calls.to_string(),
        set: |config, text| {
            let calls: Capacities = text.parse().ok()?;
            let is_known = calls.names().all(is_route);
            is_known.then(|| config.calls = calls)
        },
    },
    Setting {
        key: "line.hours",
        env: &["PAGEWIRE_HOURS"],
        default: "",
        allowed: "routes with hours each, separated by semicolons, like simulator=Wk2300-0800,Sat,Sun; days are Mon to \
            Sun, Wk for Monday to Friday and Any",
        get: |config| config.hours.to_string(),
        set: |config, text| {
            let hours: RouteHours = text.parse().ok()?;
            let is_known = hours.names().all(is_route);
            is_known.then(|| config.hours = hours)
        },
    },
    Setting {
        key: "line.station_id",
        env: &["FAX_LOCAL_STATION_ID"],
        default: "",
        allowed: "at most 20 digits, spaces and +",
        get: |config| config.station_id.clone(),
        set: |config, text| {
            // T.30 5.3.6.2.4: twenty characters of this set.
            let fits = text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit() || b == b' ' || b == b'+');
            fits.then(|| config.station_id = text.to_owned())
        },
    },
    Setting {
        key: "line.header",
        env: &["FAX_HEADER"],
        default: "",
        allowed: "at most 50 printable characters",
        get: |config| config.header.clone(),
        set: |config, text| {
            let fits = text.chars().count() <= 50 && !text.chars().any(char::is_control);
            fits.then(|| config.header = text.to_owned())
        },
    },
    Setting {
        key: "line.country_code",
        env: &["PAGEWIRE_COUNTRY_CODE"],
        default: "1",
        allowed: "one to three digits, like 1 or 49",
        get: |config| config.country_code.to_string(),
        set: |config, text| store(&mut config.country_code, text.parse().ok()?),
    },
    Setting {
        key: "line.second_look",
        env: &["PAGEWIRE_SECOND_LOOK"],
        default: "near_miss",
        allowed: "off, near_miss or first_time; 'everywhere' after it to hold for simulator and loopback too",
        get: |config| config.second_look.to_string(),
        set: |config, text| store(&mut config.second_look, text.parse().ok()?),
    },
    Setting {
        key: "line.station_id_check",
        env: &["PAGEWIRE_STATION_ID_CHECK"],
        default: "warn",
        allowed: "off, warn or hold",
        get: |config| config.station_check.as_str().to_owned(),
        set: |config, text| store(&mut config.station_check, text.parse().ok()?),
    },
    Setting {
        key: "line.dials_per_hour",
        env: &["PAGEWIRE_DIALS_PER_HOUR"],
        default: "60",
        allowed: "a number from 1 to 100000",
        get: |config| config.dialling.dials_per_hour.to_string(),
        set: |config, text| store(&mut config.dialling.dials_per_hour, number(text, 1, 100_000)?),
    },
    Setting {
        key: "line.minutes_per_day",
        env: &["PAGEWIRE_LINE_MINUTES_PER_DAY"],
        default: "600",
        allowed: "a number from 1 to 1000000",
        get: |config| config.dialling.line_minutes_per_day.to_string(),
        set: |config, text| store(&mut config.dialling.line_minutes_per_day, number(text, 1, 1_000_000)?),
    },
    Setting {
        key: "webhooks.allow",
        env: &["PAGEWIRE_WEBHOOKS_ALLOW"],
        default: "",
        allowed: "addresses and networks like 192.168.1.20 or 10.0.0.0/8, separated by commas",
        get: |config| config.webhooks_allow.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        set: |config, text| store(&mut config.webhooks_allow, list(text, |network| network.parse().ok())?),
    },
    Setting {
        key: "mail.server",
        env: &["PAGEWIRE_MAIL_SERVER"],
        default: "",
        allowed: "a host and port like mail.example.org:587, or nothing to send no mail",
        get: |config| shown(config.mail.server.as_ref()),
        set: |config, text| store(&mut config.mail.server, optional(text, |text| text.parse().ok())?),
    },
    Setting {
        key: "mail.security",
        env: &["PAGEWIRE_MAIL_SECURITY"],
        default: "starttls",
        allowed: "starttls, tls or none",
        get: |config| config.mail.security.as_str().to_owned(),
        set: |config, text| store(&mut config.mail.security, mail::Security::from_word(text)?),
    },
    Setting {
        key: "mail.user",
        env: &["PAGEWIRE_MAIL_USER"],
        default: "",
        allowed: "at most 200 printable characters, or nothing where the server asks for no login",
        get: |config| shown(config.mail.user.as_ref()),
        set: |config, text| store(&mut config.mail.user, optional(text, line_of_text)?),
    },
    Setting {
        key: "mail.from",
        env: &["PAGEWIRE_MAIL_FROM"],
        default: "",
        allowed: "an e-mail address, like fax@example.org",
        get: |config| shown(config.mail.from.as_ref()),
        set: |config, text| store(&mut config.mail.from, optional(text, |text| text.parse().ok())?),
    },
    Setting {
        key: "mail.to",
        env: &["PAGEWIRE_MAIL_TO"],
        default: "",
        allowed: "at most 10 e-mail addresses with commas between, like desk@example.org",
        get: |config| config.mail.to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        set: |config, text| {
            let to: Vec<_> = list(text, |address| address.parse().ok())?;
            (to.len() <= limits::MAIL_RECIPIENTS).then(|| config.mail.to = to)
        },
    },
    Setting {
        key: "mail.notify",
        env: &["PAGEWIRE_MAIL_NOTIFY"],
        default: "none",
        allowed: "none, done, requeued or both",
        get: |config| config.mail.notify.to_string(),
        set: |config, text| store(&mut config.mail.notify, text.parse().ok()?),
    },
    Setting {
        key: "mail.show_numbers",
        env: &["PAGEWIRE_MAIL_SHOW_NUMBERS"],
        default: "false",
        allowed: "true or false",
        get: |config| config.mail.show_numbers.to_string(),
        set: |config, text| store(&mut config.mail.show_numbers, truth(text)?),
    },
    Setting {
        key: "audit.retention_days",
        env: &["AUDIT_RETENTION_DAYS"],
        default: "2192",
        allowed: "a number from 365 to 36500",
        get: |config| config.audit_retention_days.to_string(),
        set: |config, text| store(&mut config.audit_retention_days, number(text, 365, 36_500)?),
    },
    Setting {
        key: "support.contact",
        env: &["PAGEWIRE_SUPPORT_CONTACT"],
        default: "",
        allowed: "at most 200 printable characters, like help@example.org or https://help.example.org",
        get: |config| shown(config.support_contact.as_ref()),
        set: |config, text| store(&mut config.support_contact, optional(text, line_of_text)?),
    },
    Setting {
        key: "log.level",
        env: &["PAGEWIRE_LOG"],
        default: "info",
        allowed: "error, warn, info, debug or trace",
        get: |config| config.log_level.to_string().to_lowercase(),
        set: |config, text| store(&mut config.log_level, text.parse().ok()?),
    },
];
