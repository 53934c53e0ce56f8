//! What clients make of the certificates, at any time of a virtual clock.

use jiff::SignedDuration;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};

use super::*;
use crate::seal::KeyEncryptionKey;

type Shared = Arc<Mutex<Names>>;

fn names(names: &[&str], addresses: &[&str]) -> Names {
    Names {
        names: names.iter().map(ToString::to_string).collect(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    }
}

fn seal_in(folder: &Path) -> Arc<Seal> {
    Arc::new(Seal::create(&KeyEncryptionKey::load(folder, true).unwrap()).unwrap().0)
}

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// An appliance called `fax` at 192.168.1.7, whose names can be changed.
fn local(folder: &Path, seal: &Arc<Seal>, clock: &Clock, configured: &[&str]) -> (Arc<Certificates>, Shared) {
    let mut found = names(&["localhost", "fax", "fax.local"], &["127.0.0.1", "192.168.1.7"]);
    found.names.extend(configured.iter().map(ToString::to_string));
    let shared: Shared = Arc::new(Mutex::new(found));
    let source = Source::Local {
        file: folder.join("authority"),
        seal: seal.clone(),
        configured: configured.iter().map(ToString::to_string).collect(),
        names: Box::new({
            let shared = shared.clone();
            move || shared.lock().unwrap().clone()
        }),
    };
    (Certificates::open(source, clock.clone()).unwrap(), shared)
}

/// What a client that trusts `root` says to the certificate under `name` at `now`.
fn verdict(certificates: &Certificates, root: &[u8], name: &str, now: Timestamp) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(root.to_vec())).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let current = certificates.current();
    let (first, rest) = current.cert.split_first().unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second() as u64));
    let name = ServerName::try_from(name).unwrap();
    verifier.verify_server_cert(first, rest, &name, &[], at).map(|_| ())
}

fn root_of(certificates: &Certificates) -> Vec<u8> {
    certificates.authority().unwrap().der().to_vec()
}

#[test]
fn is_good_for_own_names_only() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::starting_at(start());
    let (certificates, _) = local(folder.path(), &seal_in(folder.path()), &clock, &["fax.example.org"]);
    let root = root_of(&certificates);
    for good in ["localhost", "fax", "fax.local", "127.0.0.1", "192.168.1.7", "fax.example.org"] {
        assert_eq!(verdict(&certificates, &root, good, start()), Ok(()), "{good}");
    }
    for wrong in ["example.org", "192.168.1.8", "bank.example"] {
        let refused = verdict(&certificates, &root, wrong, start());
        assert!(
            matches!(
                refused,
                Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }))
            ),
            "{wrong}: {refused:?}"
        );
    }
}

#[test]
fn the_authority_cannot_vouch_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let seal = seal_in(folder.path());
    let own = names(&["fax"], &["203.0.113.5"]);
    let authority = Authority::open(&folder.path().join("ca"), &seal, &own, &[], start()).unwrap();
    let wanted =
        names(&["fax", "a.fax", "bank.example"], &["10.1.2.3", "203.0.113.5", "203.0.113.6", "fd00::2"]);
    let issued = authority.issue(&wanted, start()).unwrap();
    assert_eq!(issued.left_out, ["bank.example", "203.0.113.6"]);
    // The constraint is in the certificate itself, critical: OID 2.5.29.30, then TRUE.
    let extension = [0x06, 0x03, 0x55, 0x1d, 0x1e, 0x01, 0x01, 0xff];
    assert!(authority.der().windows(extension.len()).any(|window| window == extension));
}

#[tokio::test]
async fn renews_itself_at_two_thirds_of_its_life() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::starting_at(start());
    let mut test = clock.work();
    let (certificates, _) = local(folder.path(), &seal_in(folder.path()), &clock, &[]);
    let (first, root) = (certificates.current(), root_of(&certificates));
    let keeper = tokio::spawn(certificates.clone().keep());
    test.sleep_until(start() + SignedDuration::from_hours(262 * 24)).await;
    assert!(Arc::ptr_eq(&first, &certificates.current()), "not before its time");
    test.sleep_until(start() + SignedDuration::from_hours(264 * 24)).await;
    assert!(!Arc::ptr_eq(&first, &certificates.current()));
    // The new one is good when the first has ended; the authority is the same.
    let later = start() + SignedDuration::from_hours(397 * 24);
    assert_eq!(verdict(&certificates, &root, "fax", later), Ok(()));
    certificates.show((*first).clone());
    let expired = verdict(&certificates, &root, "fax", later);
    assert!(matches!(expired, Err(Error::InvalidCertificate(CertificateError::ExpiredContext { .. }))));
    keeper.abort();
}

#[test]
fn follows_the_machines_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::starting_at(start());
    let (certificates, machine) = local(folder.path(), &seal_in(folder.path()), &clock, &[]);
    let (first, root) = (certificates.current(), root_of(&certificates));
    certificates.refresh();
    assert!(Arc::ptr_eq(&first, &certificates.current()), "nothing has changed");
    machine.lock().unwrap().addresses.insert("10.0.0.9".parse().unwrap());
    certificates.refresh();
    assert_eq!(verdict(&certificates, &root, "10.0.0.9", start()), Ok(()));
    // A public address the authority may not vouch for does not spoil the others.
    machine.lock().unwrap().addresses.insert("203.0.113.5".parse().unwrap());
    certificates.refresh();
    assert!(verdict(&certificates, &root, "203.0.113.5", start()).is_err());
    assert_eq!(verdict(&certificates, &root, "10.0.0.9", start()), Ok(()));
}

#[test]
fn the_authority_stays_until_it_ends_or_is_told_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let seal = seal_in(folder.path());
    let clock = Clock::starting_at(start());
    let root = root_of(&local(folder.path(), &seal, &clock, &[]).0);
    assert_eq!(root_of(&local(folder.path(), &seal, &clock, &[]).0), root, "after a restart");
    let renamed = local(folder.path(), &seal, &clock, &["fax.example.org"]).0;
    assert_ne!(root_of(&renamed), root);
    assert_eq!(verdict(&renamed, &root_of(&renamed), "fax.example.org", start()), Ok(()));
    let late = Clock::starting_at(start() + SignedDuration::from_hours(3630 * 24));
    assert_ne!(root_of(&local(folder.path(), &seal, &late, &["fax.example.org"]).0), root_of(&renamed));
}

#[test]
fn a_damaged_authority_is_said_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let seal = seal_in(folder.path());
    let file = folder.path().join("authority");
    local(folder.path(), &seal, &Clock::starting_at(start()), &[]);
    let mut content = std::fs::read(&file).unwrap();
    assert!(!content.windows(4).any(|window| window == b"Page"), "it is sealed");
    content[40] ^= 1;
    std::fs::write(&file, &content).unwrap();
    let error = Authority::open(&file, &seal, &names(&["fax"], &[]), &[], start()).unwrap_err();
    assert!(error.to_string().contains("does not open"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), content);
}

/// A certificate of somebody else's making, written to two files.
fn write_pair(folder: &Path, name: &str) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

#[test]
fn own_files_are_read_anew_only_when_they_are_good() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let open = || {
        let source = Source::Files { certificate: certificate.clone(), key: key.clone() };
        Certificates::open(source, Clock::System)
    };
    assert!(matches!(open(), Err(TlsError::Unreadable(file, _)) if file == certificate));
    std::fs::write(&certificate, "no certificate").unwrap();
    std::fs::write(&key, "no key").unwrap();
    assert!(matches!(open(), Err(TlsError::NotPem { file, what: "certificate", .. }) if file == certificate));
    write_pair(folder.path(), "one.example");
    let certificates = open().unwrap();
    let first = certificates.current();
    assert!(certificates.are_own() && certificates.authority().is_none());

    // A key that does not belong to the certificate, as in the middle of a replacement.
    let old_key = std::fs::read(&key).unwrap();
    write_pair(folder.path(), "two.example");
    let new_key = std::fs::read(&key).unwrap();
    std::fs::write(&key, old_key).unwrap();
    certificates.refresh();
    assert!(Arc::ptr_eq(&first, &certificates.current()));
    assert!(matches!(open(), Err(TlsError::Unusable { .. })));
    std::fs::write(&key, new_key).unwrap();
    let before = certificates.fingerprint();
    certificates.refresh();
    assert!(!Arc::ptr_eq(&first, &certificates.current()));
    assert_ne!(certificates.fingerprint(), before);
    assert_eq!(before.len(), 32 * 3 - 1);
}
