//! The keys of the seal: opening it at the start, its recovery key, and new key-encryption keys.
//!
//! Owns: which key file is asked, the order of key files and rows when one replaces another, and
//! the state of an appliance whose key is gone ([`Locked`]): it runs, and neither opens nor seals.
//! Refuses: to make a second data key, and to remove a key file that might still open something.
//!
//! Invariant: at every moment of a change, a crash included, either the key in force or the one
//! that follows it unwraps the data key. The next wrapping is stored beside the one in force, the
//! key is read back from where it will be read and proved on what is stored, and only then does it
//! take over; at a start whichever opens is put in force.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::access::audit::{Action, AuditEvent, Context, Snapshot, Target};
use crate::clock::Clock;
use crate::db::meta::WrappedKeys;
use crate::db::{Db, DbError};
use crate::fs;
use crate::seal::recovery::{InvalidRecoveryKey, RecoveryKey};
use crate::seal::{KEK_FILE, KeyEncryptionKey, Locked, Seal, SealError, credential_file};

/// A key-encryption key that has not taken over yet.
const NEXT_FILE: &str = "kek-next";
/// Where a key file that opens nothing is put, so that nothing is lost by a mistake of ours.
const UNUSABLE_FILE: &str = "kek-unusable";

/// Why the keys are not opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// The seal does not open, which this change needs.
    #[error(transparent)]
    Locked(#[from] Locked),
    /// The seal opens, so there is nothing to recover.
    #[error("the sealing key works; there is nothing to recover")]
    NotLocked,
    /// No recovery key was ever made.
    #[error("this appliance has no recovery key, so only the sealing key itself opens its documents")]
    NoRecoveryKey,
    /// There is one, and it shall not be replaced.
    #[error("there is a recovery key already; a new one makes it useless, which needs --replace")]
    HasRecoveryKey,
    /// What was typed is no recovery key.
    #[error(transparent)]
    InvalidRecoveryKey(#[from] InvalidRecoveryKey),
    /// It is well formed, and of another appliance, or was replaced.
    #[error("this recovery key does not open this appliance; was it replaced by a later one?")]
    WrongRecoveryKey,
    /// The key that was given is no key.
    #[error("a sealing key has exactly 32 bytes; make one with: openssl rand -out kek 32")]
    InvalidKey,
    /// The key comes from a credential, which we cannot write.
    #[error(
        "the sealing key comes from the systemd credential pagewire.kek, which Pagewire cannot change; make a new \
         key and name it with --kek-file"
    )]
    FromCredential,
    /// The new key did not prove itself; the old one stays in force.
    #[error("the new sealing key does not open what it sealed; the old one stays in force")]
    NotProved,
    /// A key cannot be read, written or used.
    #[error("the sealing key cannot be used")]
    Seal(#[from] SealError),
    /// The database refused.
    #[error("the wrapped key is not in the database")]
    Db(#[from] DbError),
}

impl From<std::io::Error> for SealingError {
    fn from(error: std::io::Error) -> Self {
        Self::Seal(error.into())
    }
}

/// What became of a new key-encryption key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrapped {
    /// It is in force, in this file.
    InForce(PathBuf),
    /// It takes over at the first start at which it is found; until then the old one does.
    AtItsFirstStart,
}

/// The keys of one appliance. Cheap to clone.
#[derive(Clone)]
pub struct Sealing {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    clock: Clock,
    folder: PathBuf,
    state: Result<Opened, Locked>,
    /// Held while a key changes.
    changes: Mutex<()>,
}

struct Opened {
    seal: Arc<Seal>,
    key_file: PathBuf,
}

impl Sealing {
    /// Opens the seal with the keys at hand; makes key and data key at the very first start. A key
    /// that is missing or wrong is no error here, see [`Sealing::seal`].
    pub async fn open(db: Db, folder: &Path, clock: Clock) -> Result<Self, SealingError> {
        let wrapped = db.wrapped_data_keys()?;
        let state = match &wrapped.current {
            Some(_) => opened(&db, folder, &wrapped, &clock).await?,
            None => {
                let kek = KeyEncryptionKey::load(folder, true)?;
                let (seal, wrapped) = Seal::create(&kek)?;
                db.store_wrapped_data_key(wrapped).await?;
                let key_file = credential_file().unwrap_or_else(|| folder.join(KEK_FILE));
                Ok(Opened { seal: Arc::new(seal), key_file })
            }
        };
        if state.is_ok() {
            // Left by a change that a crash broke off; whatever it was meant for opens already.
            let _ = std::fs::remove_file(folder.join(NEXT_FILE));
        }
        let inner = Inner { db, clock, folder: folder.to_owned(), state, changes: Mutex::new(()) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The seal, or why there is none in this life of the process.
    pub fn seal(&self) -> Result<Arc<Seal>, Locked> {
        self.opened().map(|opened| opened.seal.clone())
    }

    /// The file the key was read from.
    pub fn key_file(&self) -> Result<&Path, Locked> {
        self.opened().map(|opened| opened.key_file.as_path())
    }

    /// Whether a recovery key was made.
    pub fn has_recovery_key(&self) -> Result<bool, SealingError> {
        Ok(self.inner.db.wrapped_data_keys()?.recovery.is_some())
    }

    /// Makes a recovery key, shown once; one made before opens nothing any more.
    pub async fn new_recovery_key(
        &self,
        may_replace: bool,
        by: &Context,
    ) -> Result<RecoveryKey, SealingError> {
        let _changes = self.inner.changes.lock().await;
        let seal = self.seal()?;
        let key = RecoveryKey::generate();
        let wrapped = key.wrap_key(&seal)?;
        let replaces = Snapshot::new().with("replaces_another", self.has_recovery_key()?);
        let made = self.event(by, Action::RecoveryKeyMade).after(replaces);
        let stored = self.inner.db.audited(made).keyed(&seal.audit_key());
        match stored.store_recovery_wrapped_data_key(wrapped, may_replace).await {
            Err(DbError::Conflict) => Err(SealingError::HasRecoveryKey),
            stored => Ok(stored.map(|()| key)?),
        }
    }

    /// Replaces the key-encryption key: by the 32 bytes given, which somebody else installs as
    /// credential or file, or by a new one in the file of the old.
    pub async fn rewrap(&self, given: Option<&[u8]>, by: &Context) -> Result<Rewrapped, SealingError> {
        let _changes = self.inner.changes.lock().await;
        let opened = self.opened()?;
        if let Some(bytes) = given {
            let kek = KeyEncryptionKey::from_bytes(bytes).ok_or(SealingError::InvalidKey)?;
            let told = self.event(by, Action::SealRewrapped).after(Snapshot::new().with("in_force", false));
            let read_back = || KeyEncryptionKey::from_bytes(bytes).ok_or(SealingError::InvalidKey);
            self.store_next(&opened.seal, &kek, read_back, Some(told)).await?;
            return Ok(Rewrapped::AtItsFirstStart);
        }
        if opened.key_file != self.inner.folder.join(KEK_FILE) {
            return Err(SealingError::FromCredential);
        }
        let rewrapped = self.event(by, Action::SealRewrapped).after(Snapshot::new().with("in_force", true));
        self.install_new(&opened.seal, None, rewrapped).await.map(Rewrapped::InForce)
    }

    /// Makes a new key-encryption key with the help of the recovery key; answers its file. It is
    /// used from the next start on.
    pub async fn recover(&self, typed: &str, by: &Context) -> Result<PathBuf, SealingError> {
        let _changes = self.inner.changes.lock().await;
        if self.inner.state.is_ok() {
            return Err(SealingError::NotLocked);
        }
        let key = RecoveryKey::parse(typed)?;
        let wrapped = self.inner.db.wrapped_data_keys()?.recovery.ok_or(SealingError::NoRecoveryKey)?;
        let seal = key.unwrap_key(&wrapped).map_err(|_| SealingError::WrongRecoveryKey)?;
        self.install_new(&seal, Some(UNUSABLE_FILE), self.event(by, Action::SealRecovered)).await
    }

    fn opened(&self) -> Result<&Opened, Locked> {
        self.inner.state.as_ref().map_err(Locked::clone)
    }

    /// What the audit log is told of a change of these keys.
    fn event(&self, by: &Context, action: Action) -> AuditEvent {
        by.event(action, target(), self.inner.clock.now())
    }

    /// Puts a new key into the key file; the file that was there is kept under `keep_old_as`, or
    /// replaced. `told` joins the transaction that puts it in force.
    async fn install_new(
        &self,
        seal: &Seal,
        keep_old_as: Option<&str>,
        told: AuditEvent,
    ) -> Result<PathBuf, SealingError> {
        let Inner { db, folder, .. } = &*self.inner;
        let (next, file) = (folder.join(NEXT_FILE), folder.join(KEK_FILE));
        let kek = KeyEncryptionKey::create(&next)?;
        let wrapped = self.store_next(seal, &kek, || Ok(KeyEncryptionKey::read(&next)?), None).await?;
        if let Some(name) = keep_old_as
            && file.exists()
        {
            std::fs::rename(&file, unused_name(folder, name))?;
        }
        std::fs::rename(&next, &file)?;
        fs::sync_folder(folder)?;
        db.audited(told).keyed(&seal.audit_key()).promote_wrapped_data_key(wrapped).await?;
        Ok(file)
    }

    /// Stores the next wrapping and proves it: what is read back, key and row, opens. `told` joins
    /// its transaction, where nothing else of the change will be told.
    async fn store_next(
        &self,
        seal: &Seal,
        kek: &KeyEncryptionKey,
        read_back: impl FnOnce() -> Result<KeyEncryptionKey, SealingError>,
        told: Option<AuditEvent>,
    ) -> Result<Vec<u8>, SealingError> {
        let (db, wrapped) = (&self.inner.db, seal.wrap_key(kek)?);
        match told {
            Some(told) => {
                let stored = db.audited(told).keyed(&seal.audit_key());
                stored.store_next_wrapped_data_key(wrapped).await?;
            }
            None => db.store_next_wrapped_data_key(wrapped).await?,
        }
        let stored = db.wrapped_data_keys()?.next.ok_or(SealingError::NotProved)?;
        let proved = Seal::unwrap_key(&read_back()?, &stored).map_err(|_| SealingError::NotProved)?;
        if proved.is_same(seal) { Ok(stored) } else { Err(SealingError::NotProved) }
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealing({})", if self.inner.state.is_ok() { "open" } else { "locked" })
    }
}

/// Tries the keys at hand on the wrappings there are.
async fn opened(
    db: &Db,
    folder: &Path,
    wrapped: &WrappedKeys,
    clock: &Clock,
) -> Result<Result<Opened, Locked>, SealingError> {
    let files: Vec<PathBuf> = credential_file().into_iter().chain([folder.join(KEK_FILE)]).collect();
    let mut why = None;
    for file in files {
        let problem = match KeyEncryptionKey::read(&file) {
            Ok(kek) => {
                if let Some(seal) = wrapped.current.as_deref().and_then(|w| Seal::unwrap_key(&kek, w).ok()) {
                    return Ok(Ok(Opened { seal: Arc::new(seal), key_file: file }));
                }
                if let Some(next) = &wrapped.next
                    && let Ok(seal) = Seal::unwrap_key(&kek, next)
                {
                    let told = Context::system().event(Action::SealRewrapped, target(), clock.now());
                    let told = told.after(Snapshot::new().with("in_force", true));
                    let stored = db.audited(told).keyed(&seal.audit_key());
                    stored.promote_wrapped_data_key(next.clone()).await?;
                    log::info!("the new sealing key {} is in force", file.display());
                    return Ok(Ok(Opened { seal: Arc::new(seal), key_file: file }));
                }
                "is not the one the documents were sealed with"
            }
            Err(SealError::MissingKey(_)) => "is missing",
            Err(SealError::DamagedKey(_)) => "is damaged (it must be exactly 32 bytes)",
            Err(error) => {
                log::error!("{error}: {file:?}: {:?}", std::error::Error::source(&error));
                "cannot be read"
            }
        };
        // The first one asked is the one that is meant to work.
        why.get_or_insert(Locked { key_file: file, problem });
    }
    Ok(Err(why.unwrap_or(Locked { key_file: folder.join(KEK_FILE), problem: "is missing" })))
}

fn target() -> Target {
    Target::new("seal", "data_key")
}

/// A name in the folder that no file has.
fn unused_name(folder: &Path, name: &str) -> PathBuf {
    let numbered = (2_u32..).map(|number| folder.join(format!("{name}-{number}")));
    std::iter::once(folder.join(name))
        .chain(numbered)
        .find(|file| !file.exists())
        .unwrap_or_else(|| folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::audit::chain::MarkName;
    use crate::db::audit::AuditFilter;

    struct Fixture {
        folder: tempfile::TempDir,
        db: Db,
    }

    impl Fixture {
        async fn new() -> (Self, Sealing) {
            let folder = tempfile::tempdir().unwrap();
            let db = Db::open(&crate::db::file_in(folder.path())).unwrap();
            let fixture = Self { folder, db };
            let sealing = fixture.restart().await;
            (fixture, sealing)
        }

        fn keys(&self) -> PathBuf {
            self.folder.path().join("keys")
        }

        fn kek(&self) -> PathBuf {
            self.keys().join(KEK_FILE)
        }

        async fn restart(&self) -> Sealing {
            Sealing::open(self.db.clone(), &self.keys(), Clock::System).await.unwrap()
        }
    }

    fn by() -> Context {
        Context::cli(1000)
    }

    /// What the audit log says was done to the keys, oldest first.
    async fn told(db: &Db) -> Vec<(String, String, String)> {
        let rows = db.audit_list(AuditFilter::default(), None, 100).await.unwrap();
        let told = rows.into_iter().rev().map(|row| (row.actor, row.action, row.after.unwrap_or_default()));
        told.collect()
    }

    fn sealed(sealing: &Sealing) -> Vec<u8> {
        sealing.seal().unwrap().seal("x", b"content").unwrap()
    }

    #[track_caller]
    fn opens(sealing: &Sealing, sealed: &[u8]) {
        assert_eq!(sealing.seal().unwrap().open("x", sealed).unwrap(), b"content");
    }

    #[tokio::test]
    async fn a_key_that_is_missing_or_wrong_locks_and_its_return_heals() {
        let (fixture, sealing) = Fixture::new().await;
        let document = sealed(&sealing);
        let right = std::fs::read(fixture.kek()).unwrap();
        for (content, expected) in [
            (None, "is missing"),
            (Some(vec![7; 32]), "is not the one the documents were sealed with"),
            (Some(vec![7; 31]), "is damaged (it must be exactly 32 bytes)"),
            (Some(Vec::new()), "is damaged (it must be exactly 32 bytes)"),
        ] {
            std::fs::remove_file(fixture.kek()).unwrap();
            if let Some(content) = &content {
                std::fs::write(fixture.kek(), content).unwrap();
            }
            let locked = fixture.restart().await;
            let why = locked.seal().unwrap_err();
            assert_eq!((why.key_file, why.problem), (fixture.kek(), expected));
            let refused = locked.new_recovery_key(true, &by()).await;
            assert!(matches!(refused, Err(SealingError::Locked(_))));
            assert!(matches!(locked.rewrap(None, &by()).await, Err(SealingError::Locked(_))));
            let _ = std::fs::remove_file(fixture.kek());
            std::fs::write(fixture.kek(), &right).unwrap();
            opens(&fixture.restart().await, &document);
        }
    }

    #[tokio::test]
    async fn the_recovery_key_makes_a_new_key_file_and_keeps_the_unusable_one() {
        let (fixture, sealing) = Fixture::new().await;
        let document = sealed(&sealing);
        assert!(!sealing.has_recovery_key().unwrap());
        let first = sealing.new_recovery_key(false, &by()).await.unwrap();
        assert!(matches!(sealing.new_recovery_key(false, &by()).await, Err(SealingError::HasRecoveryKey)));
        let second = sealing.new_recovery_key(true, &by()).await.unwrap();
        let [first, second] = [first, second].map(|key| key.text().reveal().clone());
        assert!(matches!(sealing.recover(&second, &by()).await, Err(SealingError::NotLocked)));

        std::fs::remove_file(fixture.kek()).unwrap();
        std::fs::write(fixture.kek(), [9; 32]).unwrap();
        let locked = fixture.restart().await;
        assert!(matches!(locked.recover("hello", &by()).await, Err(SealingError::InvalidRecoveryKey(_))));
        assert!(matches!(locked.recover(&first, &by()).await, Err(SealingError::WrongRecoveryKey)));
        assert_eq!(std::fs::read(fixture.kek()).unwrap(), [9; 32]);
        assert_eq!(locked.recover(&second, &by()).await.unwrap(), fixture.kek());
        assert_eq!(std::fs::read(fixture.keys().join(UNUSABLE_FILE)).unwrap(), [9; 32]);
        let healed = fixture.restart().await;
        opens(&healed, &document);
        assert!(healed.has_recovery_key().unwrap());

        // The same sheet of paper serves again.
        std::fs::remove_file(fixture.kek()).unwrap();
        fixture.restart().await.recover(&second, &by()).await.unwrap();
        let healed = fixture.restart().await;
        opens(&healed, &document);
        let row = |action: &str, after: &str| ("cli:1000".to_owned(), action.to_owned(), after.to_owned());
        let expected = [
            row("seal.recovery_key_made", r#"{"replaces_another":false}"#),
            row("seal.recovery_key_made", r#"{"replaces_another":true}"#),
            row("seal.recovered", ""),
            row("seal.recovered", ""),
        ];
        assert_eq!(told(&fixture.db).await, expected, "and nothing of what was refused");
        fixture.db.start_audit(&healed.seal().unwrap().audit_key());
        let page = fixture.db.audit_page(None, 9).await.unwrap();
        assert!(page.head.unwrap().is_genuine(&fixture.db.audit_key().unwrap(), MarkName::Head));
    }

    #[tokio::test]
    async fn a_new_key_replaces_the_old_one() {
        let (fixture, sealing) = Fixture::new().await;
        let document = sealed(&sealing);
        let old = std::fs::read(fixture.kek()).unwrap();
        assert_eq!(sealing.rewrap(None, &by()).await.unwrap(), Rewrapped::InForce(fixture.kek()));
        let new = std::fs::read(fixture.kek()).unwrap();
        assert_ne!(old, new);
        assert_eq!(std::fs::read_dir(fixture.keys()).unwrap().count(), 1);
        opens(&fixture.restart().await, &document);
        std::fs::remove_file(fixture.kek()).unwrap();
        std::fs::write(fixture.kek(), &old).unwrap();
        assert!(fixture.restart().await.seal().is_err(), "the old key opens nothing any more");
    }

    #[tokio::test]
    async fn a_given_key_takes_over_when_it_is_found() {
        let (fixture, sealing) = Fixture::new().await;
        let document = sealed(&sealing);
        assert!(matches!(sealing.rewrap(Some(&[3; 31]), &by()).await, Err(SealingError::InvalidKey)));
        assert_eq!(sealing.rewrap(Some(&[3; 32]), &by()).await.unwrap(), Rewrapped::AtItsFirstStart);
        opens(&fixture.restart().await, &document);
        let old = std::fs::read(fixture.kek()).unwrap();
        for (content, is_open) in [([3; 32].to_vec(), true), (old, false), ([3; 32].to_vec(), true)] {
            std::fs::remove_file(fixture.kek()).unwrap();
            std::fs::write(fixture.kek(), &content).unwrap();
            assert_eq!(fixture.restart().await.seal().is_ok(), is_open);
        }
        opens(&fixture.restart().await, &document);
        let told = told(&fixture.db).await;
        let told: Vec<_> = told.iter().map(|(actor, _, after)| (actor.as_str(), after.as_str())).collect();
        let (announced, in_force) = (r#"{"in_force":false}"#, r#"{"in_force":true}"#);
        assert_eq!(told, [("cli:1000", announced), ("system", in_force)]);
    }

    /// A crash after each step of a change leaves a key that opens.
    #[tokio::test]
    async fn a_crash_in_the_middle_of_a_change_is_harmless() {
        let (fixture, sealing) = Fixture::new().await;
        let document = sealed(&sealing);
        let next = fixture.keys().join(NEXT_FILE);
        // After the new key and its wrapping were written.
        let kek = KeyEncryptionKey::create(&next).unwrap();
        let wrapped = sealing.seal().unwrap().wrap_key(&kek).unwrap();
        fixture.db.store_next_wrapped_data_key(wrapped.clone()).await.unwrap();
        opens(&fixture.restart().await, &document);
        assert!(!next.exists());
        // After the new key took the old one's name.
        let kek = KeyEncryptionKey::create(&next).unwrap();
        let wrapped = sealing.seal().unwrap().wrap_key(&kek).unwrap();
        fixture.db.store_next_wrapped_data_key(wrapped.clone()).await.unwrap();
        std::fs::rename(&next, fixture.kek()).unwrap();
        opens(&fixture.restart().await, &document);
        assert_eq!(fixture.db.wrapped_data_key().unwrap(), Some(wrapped), "and was put in force");
        opens(&fixture.restart().await, &document);
    }
}
