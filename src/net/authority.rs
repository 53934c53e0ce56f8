//! The local certificate authority: what a device must trust once to reach the appliance safely.
//!
//! Owns: its key (ECDSA P-256) and certificate, made at the first start, kept in one sealed file.
//! Its name constraints (RFC 5280 section 4.2.1.10) let it vouch for this machine's names and for
//! private networks only, so that whoever steals it cannot pose as a bank. Refuses: to issue for
//! anything outside them, since clients would then reject the whole certificate.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::names::Names;
use crate::access::cidr::Cidr;
use crate::fs;
use crate::seal::{Seal, SealError};
use crate::secret::Secret;

/// Name under which the file is sealed.
const SEALED_AS: &str = "certificate authority";
/// An authority is good for ten years: it must be trusted by hand.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(3650 * 24);
/// One that ends sooner than this is replaced.
const AUTHORITY_REST: SignedDuration = SignedDuration::from_hours(30 * 24);
/// With [`BACKDATED`] 396 days: browsers take no certificate longer than 398.
const CERTIFICATE_LIFE: SignedDuration = SignedDuration::from_hours(395 * 24);
/// Clocks of clients may be behind ours by this much.
const BACKDATED: SignedDuration = SignedDuration::from_hours(24);
/// Networks that belong to nobody in particular: RFC 1918, 6598, 3927, 4193, 4291 and loopback.
const PRIVATE: [&str; 9] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
];

/// Why there is no local certificate authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file is there but cannot be used.
    #[error(
        "the certificate authority in {} does not open; put the file back from where you keep it, or remove \
         it to get a new authority, which every device must then trust anew", .0.display()
    )]
    Damaged(PathBuf, #[source] SealError),
    /// The file system refused.
    #[error("the certificate authority's file {} cannot be read or written", .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// It could not be sealed.
    #[error("the certificate authority cannot be sealed")]
    Seal(#[source] SealError),
    /// A certificate could not be made.
    #[error("a certificate could not be made")]
    Certificate(#[from] rcgen::Error),
}

/// The authority of one appliance.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
    permitted: Permitted,
    expires_at: Timestamp,
}

/// A certificate for the appliance, with its private key.
pub struct Issued {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// From when on it should be replaced: two thirds of its life.
    pub renew_at: Timestamp,
    /// Names and addresses it could not be given.
    pub left_out: Vec<String>,
}

/// What an authority may vouch for.
#[derive(Clone, Serialize, Deserialize)]
struct Permitted {
    names: BTreeSet<String>,
    networks: Vec<Cidr>,
}

/// The file's content.
#[derive(Serialize, Deserialize)]
struct Stored {
    common_name: String,
    certificate_pem: String,
    key_pkcs8: Vec<u8>,
    permitted: Permitted,
    expires_at: Timestamp,
}

impl Authority {
    /// Opens the authority in `file`, or makes one for `names`: at the first start, when it ends
    /// soon, and when it may not vouch for what the administrator `configured`.
    pub fn open(
        file: &Path,
        seal: &Arc<Seal>,
        names: &Names,
        configured: &[String],
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let unusable = |error| AuthorityError::Io(file.to_owned(), error);
        let damaged = |error| AuthorityError::Damaged(file.to_owned(), error);
        match std::fs::read(file) {
            Ok(sealed) => {
                let content = Secret::new(seal.open(SEALED_AS, &sealed).map_err(damaged)?);
                let stored: Stored =
                    serde_json::from_slice(content.reveal()).map_err(|_| damaged(SealError::DoesNotOpen))?;
                let found = Self::from_stored(stored).map_err(|_| damaged(SealError::DoesNotOpen))?;
                if !found.ends_soon(now) && found.permitted.allows_all(configured) {
                    return Ok(found);
                }
                log::warn!(
                    "a new local certificate authority is made, because the old one ends soon or may not vouch \
                     for the host names now configured; every device must trust the new one"
                );
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(error)),
        }
        let stored = make(names, now)?;
        let content = Secret::new(serde_json::to_vec(&stored).map_err(|error| unusable(error.into()))?);
        let sealed = seal.seal(SEALED_AS, content.reveal()).map_err(AuthorityError::Seal)?;
        if let Some(folder) = file.parent() {
            fs::create_private_folder(folder).map_err(unusable)?;
        }
        fs::write_durably(file, &sealed, 0o600).map_err(unusable)?;
        Ok(Self::from_stored(stored)?)
    }

    /// Whether it should be replaced by a new one.
    pub fn ends_soon(&self, now: Timestamp) -> bool {
        now.checked_add(AUTHORITY_REST).unwrap_or(Timestamp::MAX) >= self.expires_at
    }

    /// Its certificate as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its certificate as DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// A certificate for `names`, with a key of its own.
    pub fn issue(&self, names: &Names, now: Timestamp) -> Result<Issued, AuthorityError> {
        let mut params = CertificateParams::default();
        let mut left_out = Vec::new();
        for name in &names.names {
            if self.permitted.allows_name(name) {
                params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
            } else {
                left_out.push(name.clone());
            }
        }
        for address in &names.addresses {
            if self.permitted.allows_address(*address) {
                params.subject_alt_names.push(SanType::IpAddress(*address));
            } else {
                left_out.push(address.to_string());
            }
        }
        let ends = later(now, CERTIFICATE_LIFE).min(self.expires_at);
        params.distinguished_name = common_name("Pagewire");
        params.not_before = date(later(now, -BACKDATED));
        params.not_after = date(ends);
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        Ok(Issued {
            certificate,
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            renew_at: later(now, ends.duration_since(now) / 3 * 2),
            left_out,
        })
    }

    fn from_stored(stored: Stored) -> Result<Self, rcgen::Error> {
        let key_der = PrivatePkcs8KeyDer::from(stored.key_pkcs8);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key_der, &PKCS_ECDSA_P256_SHA256)?;
        let der = CertificateDer::from_pem_slice(stored.certificate_pem.as_bytes())
            .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        Ok(Self {
            issuer: Issuer::new(authority_params(&stored.common_name), key),
            pem: stored.certificate_pem,
            der,
            permitted: stored.permitted,
            expires_at: stored.expires_at,
        })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Permitted {
    fn of(names: &Names) -> Self {
        let mut networks: Vec<Cidr> = PRIVATE.iter().filter_map(|network| network.parse().ok()).collect();
        for address in &names.addresses {
            if !networks.iter().any(|network| network.contains(*address)) {
                networks.extend(address.to_string().parse::<Cidr>());
            }
        }
        Self { names: names.names.clone(), networks }
    }

    /// A permitted name stands for the names below it too, as in the certificate.
    fn allows_name(&self, name: &str) -> bool {
        let is_below = |permitted: &String| {
            name.strip_suffix(permitted.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.names.iter().any(is_below)
    }

    fn allows_address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    fn allows_all(&self, configured: &[String]) -> bool {
        configured.iter().all(|name| match name.parse() {
            Ok(address) => self.allows_address(address),
            Err(_) => self.allows_name(name),
        })
    }

    fn subtrees(&self) -> Vec<GeneralSubtree> {
        let names = self.names.iter().cloned().map(GeneralSubtree::DnsName);
        let networks = self.networks.iter().map(|network| {
            let (address, length) = network.parts();
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, length))
        });
        names.chain(networks).collect()
    }
}

fn make(names: &Names, now: Timestamp) -> Result<Stored, rcgen::Error> {
    let permitted = Permitted::of(names);
    let expires_at = later(now, AUTHORITY_LIFE);
    // Two authorities of one machine must not share a name: clients pick an issuer by it.
    let host = names.names.iter().find(|name| name.as_str() != "localhost");
    let host = host.map_or("localhost", String::as_str);
    let title =
        format!("Pagewire local CA, {}, {}", &host[..host.len().min(26)], now.strftime("%Y-%m-%d %H:%M"));
    let mut params = authority_params(&title);
    params.not_before = date(later(now, -BACKDATED));
    params.not_after = date(expires_at);
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: permitted.subtrees(), excluded_subtrees: Vec::new() });
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate_pem = params.self_signed(&key)?.pem();
    Ok(Stored { common_name: title, certificate_pem, key_pkcs8: key.serialize_der(), permitted, expires_at })
}

/// What the issuer needs of its own certificate; the rest is in [`make`].
fn authority_params(title: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(title);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Whole seconds, as certificates have them.
fn date(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
