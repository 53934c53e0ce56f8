//! Settings as one writes them, and what is said about mistakes.

use super::*;

fn load(file: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pagewire.toml");
    std::fs::write(&path, file).unwrap();
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
    Config::load(Some(&path), env)
        .and_then(Config::validated)
        .map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
}

#[test]
fn environment_beats_file_beats_default() {
    let file = "[server]\nhttps_listen = \"\"\n[security]\nmax_file_size_mb = 7\nrequire_api_key = false\n";
    let config = load(file, &[]).unwrap();
    assert_eq!((config.max_file_size_mb, config.require_api_key), (7, false));
    let config =
        load("[security]\nmax_file_size_mb = 7\n", &[("MAX_FILE_SIZE_MB", "9"), ("REQUIRE_API_KEY", "1")])
            .unwrap();
    assert_eq!((config.max_file_size_mb, config.require_api_key), (9, true));
    assert_eq!(load("", &[]).unwrap().max_file_size_mb, limits::DEFAULT_UPLOAD_MB);
}

#[test]
fn mistakes_are_named_with_their_line() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case<'_>] = &[
        (
            "[server]\nlisten = \"here\"",
            &[],
            "FILE, line 2: server.listen cannot be 'here'; allowed: an address and port, like 127.0.0.1:8080",
        ),
        (
            "[server]\n\nport = 80",
            &[],
            "FILE, line 3: there is no setting 'server.port'; allowed here: server.listen, server.https_listen, server.tls_cert, server.tls_key, server.host_names, server.allow_plain_http, server.max_connections, server.metrics_listen, server.trusted_proxies, server.path_prefix",
        ),
        (
            "[sever]\nlisten = \"127.0.0.1:1\"",
            &[],
            "FILE, line 1: there is no setting 'sever'; allowed here: server, storage, security, documents, line, webhooks, mail, audit, support, log",
        ),
        (
            "listen = 3",
            &[],
            "FILE, line 1: there is no setting 'listen'; allowed here: server, storage, security, documents, line, webhooks, mail, audit, support, log",
        ),
        (
            "[security]\nmax_file_size_mb = 1000",
            &[],
            "FILE, line 2: security.max_file_size_mb cannot be '1000'; allowed: a number from 1 to 100",
        ),
        (
            "[storage]\nwhen_low = \"delete\"",
            &[],
            "FILE, line 2: storage.when_low cannot be 'delete'; allowed: keep, delete_sent or delete_all",
        ),
        (
            "[storage]\nwarn_percent = 96",
            &[],
            "storage.warn_percent 96 must not be above storage.stop_sends_percent 95",
        ),
        (
            "",
            &[("MAX_FILE_SIZE_MB", "ten")],
            "environment variable MAX_FILE_SIZE_MB: security.max_file_size_mb cannot be 'ten'; allowed: a number from 1 to 100",
        ),
        (
            "",
            &[("API_KEY", "short")],
            "API_KEY must have at least 20 characters; make one with: openssl rand -hex 24",
        ),
        (
            "[server]\nlisten = \"0.0.0.0:80\"\n[security]\nrequire_api_key = false",
            &[],
            "REQUIRE_API_KEY=false is only possible on loopback addresses, not on 0.0.0.0:80; give server.listen a loopback address",
        ),
        (
            "",
            &[("REQUIRE_API_KEY", "false")],
            "REQUIRE_API_KEY=false is only possible on loopback addresses, not on [::]:8443; give server.https_listen a loopback address, or nothing to switch HTTPS off",
        ),
        (
            "[server]\nlisten = \"0.0.0.0:80\"",
            &[],
            "server.listen 0.0.0.0:80 would serve plain HTTP to the network; use server.https_listen for that, or set server.allow_plain_http (it serves API keys only)",
        ),
        (
            "[server]\ntls_cert = \"/a.pem\"",
            &[],
            "server.tls_cert and server.tls_key belong together; only one of them is set",
        ),
        (
            "[server]\nhost_names = \"fax, *.example.org\"",
            &[],
            "FILE, line 2: server.host_names cannot be 'fax, *.example.org'; allowed: host names or addresses with commas between, like fax.example.org, 203.0.113.5",
        ),
        (
            "[mail]\nto = \"desk@example.org, no address\"",
            &[],
            "FILE, line 2: mail.to cannot be 'desk@example.org, no address'; allowed: at most 10 e-mail addresses with commas between, like desk@example.org",
        ),
        (
            "[mail]\nserver = \"mail.example.org:587\"",
            &[],
            "mail.server needs mail.from, the address that notices are from",
        ),
        (
            "[mail]\nserver = \"mail.example.org:25\"\nfrom = \"fax@example.org\"\nsecurity = \"none\"",
            &[],
            "mail.security none is only possible for a server on this machine, not for mail.example.org:25; use starttls or tls",
        ),
        (
            "[mail]\nserver = \"mail.example.org:587\"\nfrom = \"fax@example.org\"\nuser = \"fax\"",
            &[],
            "mail.user needs its password in the variable PAGEWIRE_MAIL_PASSWORD or the systemd credential pagewire.mail-password",
        ),
        (
            "[mail]\nserver = \"localhost:25\"\nfrom = \"fax@example.org\"\nsecurity = \"none\"\nnotify = \"done\"",
            &[],
            "mail.notify done would tell nobody; mail.to needs an address",
        ),
    ];
    for (file, env, expected) in cases {
        assert_eq!(load(file, env).unwrap_err(), *expected);
    }
    for prefix in ["fax", "/fax//a", "/a b", "/\\\"><script>"] {
        assert!(load(&format!("[server]\npath_prefix = \"{prefix}\""), &[]).is_err(), "{prefix}");
    }
    let syntax = load("[server\n", &[]).unwrap_err();
    assert!(syntax.starts_with("FILE, line 1:"), "{syntax}");
}

#[test]
fn the_network_gets_https_and_plain_http_only_where_it_was_allowed() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.https_listen, Some("[::]:8443".parse().unwrap()));
    let lan = &[("PAGEWIRE_LISTEN", "0.0.0.0:80"), ("PAGEWIRE_ALLOW_PLAIN_HTTP", "true")];
    assert!(load("", lan).unwrap().allow_plain_http);
    let off = load("", &[("PAGEWIRE_HTTPS_LISTEN", "")]).unwrap();
    assert_eq!(off.https_listen, None);
    let named = load("", &[("PAGEWIRE_HOST_NAMES", "Fax.Example.org , 203.0.113.5,")]).unwrap();
    assert_eq!(named.host_names, ["fax.example.org", "203.0.113.5"]);
}

#[test]
fn whom_to_ask_is_one_line() {
    let said = |contact: &str| {
        load("", &[("PAGEWIRE_SUPPORT_CONTACT", contact)]).map(|config| config.support_contact)
    };
    assert_eq!(said("").unwrap(), None);
    assert_eq!(said("Ada, ext. 5").unwrap().as_deref(), Some("Ada, ext. 5"));
    assert!(said("two\nlines").is_err() && said(&"x".repeat(201)).is_err());
}

#[test]
fn every_default_is_allowed() {
    let mut config = Config::defaults();
    for setting in SETTINGS {
        assert!((setting.set)(&mut config, setting.default).is_some(), "{}", setting.key);
        assert_eq!((setting.get)(&config), setting.default, "{}", setting.key);
    }
    assert_eq!(config.max_file_size_mb, limits::DEFAULT_UPLOAD_MB);
    assert_eq!(config.max_connections, limits::CONNECTIONS);
}

#[test]
fn the_bootstrap_key_does_not_print() {
    let config = load("", &[("API_KEY", "a-very-long-bootstrap-key")]).unwrap();
    assert!(!format!("{config:?}").contains("a-very-long"));
}

#[test]
fn the_mail_password_comes_by_itself_and_does_not_print() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pagewire.mail-password"), "from-a-credential\n").unwrap();
    let path = folder.path().to_str().unwrap();
    let said = |env: &[(&str, &str)]| {
        let config = load("", env).unwrap();
        assert!(!format!("{config:?}").contains("from-"));
        assert!(!config.to_toml().contains("from-"));
        config.mail.password.map(|password| password.reveal().clone())
    };
    assert_eq!(said(&[]), None);
    assert_eq!(said(&[("CREDENTIALS_DIRECTORY", path)]).as_deref(), Some("from-a-credential"));
    let both = [("CREDENTIALS_DIRECTORY", path), ("PAGEWIRE_MAIL_PASSWORD", "from-a-variable")];
    assert_eq!(said(&both).as_deref(), Some("from-a-variable"));
}

fn sorted(mut stated: Vec<String>) -> Vec<String> {
    stated.sort();
    stated
}

fn settings_of_the_code() -> Vec<String> {
    sorted(SETTINGS.iter().map(|setting| format!("{}={}", setting.key, setting.default)).collect())
}

#[test]
fn the_installed_file_states_every_default() {
    let mut section = "";
    let mut stated = Vec::new();
    for line in include_str!("../../packaging/deb/pagewire.toml").lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((name, value)) = line.strip_prefix('#').and_then(|rest| rest.split_once(" = "))
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            stated.push(format!("{section}.{name}={}", value.trim_matches('"')));
        }
    }
    assert_eq!(sorted(stated), settings_of_the_code());
}

#[test]
fn the_manual_states_every_default() {
    let (mut section, mut name) = ("", "");
    let mut stated = Vec::new();
    for line in include_str!("../../packaging/man/pagewire.toml.5").lines() {
        if let Some(rest) = line.strip_prefix(".SH ") {
            section = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or("");
        } else if let Some(rest) = line.strip_prefix(".B ") {
            name = rest;
        } else if let Some((default, _)) =
            line.strip_prefix("Default: ").and_then(|rest| rest.split_once(". Allowed: "))
            && !section.is_empty()
        {
            let default = if default == "empty" { "" } else { default };
            stated.push(format!("{section}.{name}={default}"));
        }
    }
    assert_eq!(sorted(stated), settings_of_the_code());
}
