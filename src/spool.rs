//! Documents on disk, sealed.
//!
//! Owns: one folder with a sub-folder per day, one sealed file per document, and the durable order
//! of putting them there. Refuses: to keep anything readable, and to overwrite. Callers see
//! [`DocumentId`]s, never paths, so that another store can stand behind the same four verbs.
//!
//! Invariants: [`Spool::put`] returns only when the file and its name are on disk. A file that no
//! row names is an orphan of an interrupted request, and [`Spool::sweep`] removes it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::crash::{self, Step};
use crate::fs;
use crate::id::DocumentId;
use crate::seal::{Locked, Seal, SealError};

/// Ending of a sealed document.
const SEALED: &str = "sealed";
/// A document is finished, and its row written, long before.
const RECENT: Duration = Duration::from_secs(3600);

/// What can go wrong in the spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// No such document, or it was deleted.
    #[error("the document is not in the spool")]
    Missing,
    /// The file is there but does not open.
    #[error("the document {0} in the spool is damaged")]
    Damaged(DocumentId, #[source] SealError),
    /// The seal does not open in this life of the process.
    #[error(transparent)]
    Locked(#[from] Locked),
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// The file system takes no changes.
    #[error("the spool cannot be written: its folder is read-only")]
    ReadOnly,
    /// The file system refused.
    #[error("the spool cannot be read or written")]
    Io(#[source] io::Error),
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Io(error),
        }
    }
}

/// How much room the file system of the spool has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it, in bytes.
    pub total_bytes: u64,
    /// What of it may still be written, in bytes.
    pub available_bytes: u64,
    /// How full it is, 0 to 100, as `df` has it: by bytes or by file entries, whichever is fuller.
    pub used_percent: u32,
}

/// What lies in the spool, one day's folder at a time.
#[derive(Debug)]
pub struct StoredDay {
    /// Finished documents.
    pub documents: Vec<StoredDocument>,
    /// Names of files that are no finished documents and older than an hour.
    pub strays: Vec<String>,
}

/// One finished document.
#[derive(Clone, Copy, Debug)]
pub struct StoredDocument {
    /// Its id.
    pub id: DocumentId,
    /// Size of its file.
    pub bytes: u64,
    /// Whether it is of the last hour, so that its row may not be written yet.
    pub is_recent: bool,
}

/// The spool of one appliance. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Spool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    seal: Result<Arc<Seal>, Locked>,
    folders: FolderSync,
}

impl Spool {
    /// Opens the spool in `root`, making the folder when it is missing.
    pub fn open(root: &Path, seal: Arc<Seal>) -> Result<Self, SpoolError> {
        Self::open_with(root, Ok(seal))
    }

    /// The same where the seal may be locked: then documents are neither stored nor read
    /// ([`SpoolError::Locked`]), and only deleted.
    pub fn open_with(root: &Path, seal: Result<Arc<Seal>, Locked>) -> Result<Self, SpoolError> {
        fs::create_private_folder(root)?;
        Ok(Self { inner: Arc::new(Inner { root: root.to_owned(), seal, folders: FolderSync::default() }) })
    }

    /// Seals `content` and stores it; on return it survives a power cut.
    pub async fn put(&self, content: Vec<u8>) -> Result<DocumentId, SpoolError> {
        let inner = self.inner.clone();
        blocking(move || inner.put(&content)).await
    }

    /// Reads a document back.
    pub async fn get(&self, id: DocumentId) -> Result<Vec<u8>, SpoolError> {
        let inner = self.inner.clone();
        blocking(move || {
            let seal = inner.seal()?;
            let sealed = std::fs::read(inner.file(id))?;
            seal.open(&seal_name(id), &sealed).map_err(|error| SpoolError::Damaged(id, error))
        })
        .await
    }

    /// Removes a document; one that is already gone is no error.
    pub async fn delete(&self, id: DocumentId) -> Result<(), SpoolError> {
        let inner = self.inner.clone();
        blocking(move || match std::fs::remove_file(inner.file(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        })
        .await
    }

    /// How much room there is. Takes microseconds on a local disk.
    pub fn space(&self) -> Result<Space, SpoolError> {
        let of = rustix::fs::statvfs(&self.inner.root).map_err(io::Error::from)?;
        let percent = |all: u64, free: u64, available: u64| {
            let used = all.saturating_sub(free);
            // What is kept for root counts as neither.
            (u128::from(used) * 100).checked_div(u128::from(used) + u128::from(available)).unwrap_or(0) as u32
        };
        let by_bytes = percent(of.f_blocks, of.f_bfree, of.f_bavail);
        // Some file systems make entries as they need them, and say there are none.
        let by_entries = percent(of.f_files, of.f_ffree, of.f_favail);
        Ok(Space {
            total_bytes: of.f_blocks * of.f_frsize,
            available_bytes: of.f_bavail * of.f_frsize,
            used_percent: by_bytes.max(by_entries),
        })
    }

    /// The names of the days' folders, oldest first.
    pub async fn days(&self) -> Result<Vec<String>, SpoolError> {
        let inner = self.inner.clone();
        blocking(move || {
            let mut days = Vec::new();
            for entry in std::fs::read_dir(&inner.root)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    days.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
            days.sort_unstable();
            Ok(days)
        })
        .await
    }

    /// What lies in a day's folder.
    pub async fn stored(&self, day: String) -> Result<StoredDay, SpoolError> {
        let inner = self.inner.clone();
        blocking(move || inner.stored(&inner.root.join(day))).await
    }

    /// Which of these documents are not there; none is opened.
    pub async fn missing(&self, ids: Vec<DocumentId>) -> Result<Vec<DocumentId>, SpoolError> {
        let inner = self.inner.clone();
        blocking(move || {
            let mut missing = Vec::new();
            for id in ids {
                if !inner.file(id).try_exists()? {
                    missing.push(id);
                }
            }
            Ok(missing)
        })
        .await
    }

    /// Removes what no row names: files made before `started` for which `known` does not vouch,
    /// unfinished ones included. Answers how many. Runs beside requests, which make newer files.
    pub async fn sweep(
        &self,
        started: Timestamp,
        known: impl Fn(&[DocumentId]) -> Result<HashSet<DocumentId>, SpoolError> + Send + 'static,
    ) -> Result<usize, SpoolError> {
        let inner = self.inner.clone();
        blocking(move || inner.sweep(started, known)).await
    }
}

impl Inner {
    fn seal(&self) -> Result<&Seal, Locked> {
        self.seal.as_deref().map_err(Locked::clone)
    }

    fn folder(&self, id: DocumentId) -> PathBuf {
        self.root.join(id.made_at().to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string())
    }

    fn file(&self, id: DocumentId) -> PathBuf {
        self.folder(id).join(format!("{id}.{SEALED}"))
    }

    fn put(&self, content: &[u8]) -> Result<DocumentId, SpoolError> {
        let id = DocumentId::new();
        let sealed =
            self.seal()?.seal(&seal_name(id), content).map_err(|error| SpoolError::Damaged(id, error))?;
        let (folder, file) = (self.folder(id), self.file(id));
        if !folder.exists() {
            fs::create_private_folder(&folder)?;
            self.folders.sync(&self.root)?;
        }
        // Under its own name at once: a file that a power cut leaves half is an orphan like any other, and
        // a rename would cost the file system a second commit of its journal.
        let stored = fs::write_new_synced(&file, &sealed, 0o600)
            .inspect(|()| crash::after(Step::DocumentWritten))
            .and_then(|()| self.folders.sync(&folder).inspect_err(|_| drop(std::fs::remove_file(&file))))
            .inspect(|()| crash::after(Step::DocumentStored));
        stored.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => SpoolError::ReadOnly,
            _ => error.into(),
        })?;
        Ok(id)
    }

    fn stored(&self, folder: &Path) -> Result<StoredDay, SpoolError> {
        let mut day = StoredDay { documents: Vec::new(), strays: Vec::new() };
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            // Deleted meanwhile.
            let Ok(about) = entry.metadata() else { continue };
            let file = entry.path();
            let is_recent = !about.modified()?.elapsed().is_ok_and(|age| age > RECENT);
            match id_of(&file).filter(|_| is_finished(&file)) {
                Some(id) => day.documents.push(StoredDocument { id, bytes: about.len(), is_recent }),
                None if is_recent => {}
                None => day.strays.push(entry.file_name().to_string_lossy().into_owned()),
            }
        }
        Ok(day)
    }

    fn sweep(
        &self,
        started: Timestamp,
        known: impl Fn(&[DocumentId]) -> Result<HashSet<DocumentId>, SpoolError>,
    ) -> Result<usize, SpoolError> {
        let mut removed = 0;
        for day in std::fs::read_dir(&self.root)? {
            let day = day?.path();
            if !day.is_dir() {
                continue;
            }
            let mut old_files = Vec::new();
            for file in std::fs::read_dir(&day)? {
                let file = file?.path();
                let id = id_of(&file);
                if id.is_none_or(|id| id.made_at() < started) {
                    old_files.push((file, id));
                }
            }
            let ids: Vec<DocumentId> = old_files.iter().filter_map(|(_, id)| *id).collect();
            let known = known(&ids)?;
            for (file, id) in old_files {
                if !(is_finished(&file) && id.is_some_and(|id| known.contains(&id))) {
                    std::fs::remove_file(&file)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

fn id_of(file: &Path) -> Option<DocumentId> {
    file.file_stem()?.to_str()?.parse().ok()
}

fn is_finished(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == SEALED)
}

fn seal_name(id: DocumentId) -> String {
    format!("document {id}")
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(SpoolError::Io(io::Error::other(error))),
    }
}

/// Group commit for folder syncs: callers that arrive while a sync runs share the next one, so
/// that eight parallel uploads cost two syncs and not eight.
#[derive(Debug, Default)]
struct FolderSync {
    rounds: Mutex<HashMap<PathBuf, Rounds>>,
    finished: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rounds {
    started: u64,
    done: u64,
}

impl FolderSync {
    fn sync(&self, folder: &Path) -> io::Result<()> {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        // A round that is already running may have looked at the folder before our rename.
        let needed = rounds.entry(folder.to_owned()).or_default().started + 1;
        loop {
            let now = rounds.get(folder).copied().unwrap_or_default();
            if now.done >= needed {
                return Ok(());
            }
            if now.started == now.done {
                rounds.insert(folder.to_owned(), Rounds { started: now.started + 1, ..now });
                drop(rounds);
                let result = fs::sync_folder(folder);
                rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
                let round = rounds.entry(folder.to_owned()).or_default();
                match result {
                    Ok(()) => round.done = round.started,
                    // The others of this round try for themselves and see the error too.
                    Err(_) => round.started = round.done,
                }
                self.finished.notify_all();
                return result;
            }
            rounds = self.finished.wait(rounds).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::KeyEncryptionKey;

    fn spool() -> (tempfile::TempDir, Spool) {
        let folder = tempfile::tempdir().unwrap();
        let kek = KeyEncryptionKey::load(&folder.path().join("keys"), true).unwrap();
        let (seal, _) = Seal::create(&kek).unwrap();
        let spool = Spool::open(&folder.path().join("spool"), Arc::new(seal)).unwrap();
        (folder, spool)
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
        }
        found
    }

    #[tokio::test]
    async fn keeps_sealed_and_gives_back() {
        let (folder, spool) = spool();
        let id = spool.put(b"%PDF a patient".to_vec()).await.unwrap();
        assert_eq!(spool.get(id).await.unwrap(), b"%PDF a patient");
        for file in files(&folder.path().join("spool")) {
            let raw = std::fs::read(file).unwrap();
            assert!(!raw.windows(7).any(|window| window == b"patient"));
        }
        spool.delete(id).await.unwrap();
        spool.delete(id).await.unwrap();
        assert!(matches!(spool.get(id).await, Err(SpoolError::Missing)));
    }

    #[tokio::test]
    async fn sweeps_what_no_row_names() {
        let (folder, spool) = spool();
        let kept = spool.put(vec![1]).await.unwrap();
        let orphan = spool.put(vec![2]).await.unwrap();
        let day = files(&folder.path().join("spool"))[0].parent().unwrap().to_owned();
        std::fs::write(day.join("half.new"), b"half").unwrap();
        let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        let known = move |_: &[DocumentId]| Ok(HashSet::from([kept]));
        assert_eq!(spool.sweep(later, known).await.unwrap(), 2);
        assert!(spool.get(kept).await.is_ok());
        assert!(matches!(spool.get(orphan).await, Err(SpoolError::Missing)));
        let newer = spool.put(vec![3]).await.unwrap();
        assert_eq!(spool.sweep(newer.made_at(), known).await.unwrap(), 0);
        assert!(spool.get(newer).await.is_ok(), "a request under way has not written its row yet");
    }

    #[tokio::test]
    async fn two_files_swapped_on_disk_are_noticed() {
        let (_folder, spool) = spool();
        let (a, b) = (spool.put(vec![1]).await.unwrap(), spool.put(vec![2]).await.unwrap());
        std::fs::copy(spool.inner.file(b), spool.inner.file(a)).unwrap();
        assert!(matches!(spool.get(a).await, Err(SpoolError::Damaged(..))));
    }

    #[tokio::test]
    async fn parallel_puts_all_return() {
        let (_folder, spool) = spool();
        let puts: Vec<_> = (0..32u8)
            .map(|n| {
                let spool = spool.clone();
                tokio::spawn(async move { (n, spool.put(vec![n]).await.unwrap()) })
            })
            .collect();
        for put in puts {
            let (n, id) = put.await.unwrap();
            assert_eq!(spool.get(id).await.unwrap(), [n]);
        }
    }
}
