//! What is wrong with the settings, in words that say where and what is allowed.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::API_KEY_LEN;
use crate::fax::notify::When;

/// Why the start stops.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// The file is not TOML.
    #[error("{}, line {line}: {message}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// No such setting.
    #[error("{}, line {line}: there is no setting '{key}'; allowed here: {allowed}", file.display())]
    Unknown {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What stands there.
        key: String,
        /// What could.
        allowed: String,
    },
    /// A value that cannot be used.
    #[error("{source_name}: {key} cannot be '{value}'; allowed: {allowed}")]
    Value {
        /// File and line, or the variable's name.
        source_name: String,
        /// The setting.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What could.
        allowed: &'static str,
    },
    /// The bootstrap key is too short.
    #[error("API_KEY must have at least {API_KEY_LEN} characters; make one with: openssl rand -hex 24")]
    ShortApiKey,
    /// Open access on a network.
    #[error(
        "REQUIRE_API_KEY=false is only possible on loopback addresses, not on {address}; give {setting} a loopback \
         address{or_nothing}"
    )]
    OpenToTheNetwork {
        /// Where it would be open.
        address: SocketAddr,
        /// The setting that says so.
        setting: &'static str,
        /// The other way out, where there is one.
        or_nothing: &'static str,
    },
    /// Unencrypted on a network.
    #[error(
        "server.listen {0} would serve plain HTTP to the network; use server.https_listen for that, or set \
         server.allow_plain_http (it serves API keys only)"
    )]
    PlainHttpOnTheNetwork(SocketAddr),
    /// One of two files.
    #[error("server.tls_cert and server.tls_key belong together; only one of them is set")]
    HalfACertificate,
    /// A warning that would come too late.
    #[error("storage.warn_percent {warn} must not be above storage.stop_sends_percent {stop_sends}")]
    Marks {
        /// The lower mark.
        warn: u32,
        /// The upper mark.
        stop_sends: u32,
    },
    /// Mail from nobody.
    #[error("mail.server needs mail.from, the address that notices are from")]
    MailSender,
    /// Mail in the clear.
    #[error(
        "mail.security none is only possible for a server on this machine, not for {0}; use starttls or tls"
    )]
    MailUnsafe(String),
    /// Half a login.
    #[error(
        "mail.user needs its password in the variable PAGEWIRE_MAIL_PASSWORD or the systemd credential pagewire.mail-password"
    )]
    MailPassword,
    /// Notices that nobody gets.
    #[error("mail.notify {0} would tell nobody; mail.to needs an address")]
    MailToNobody(When),
    /// Open access for everybody a proxy lets through.
    #[error("REQUIRE_API_KEY=false is not possible together with server.trusted_proxies")]
    OpenBehindProxy,
}
