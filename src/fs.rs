//! Files that are there after a power cut.
//!
//! Owns: the durable order of writing (temporary file, fsync, rename, fsync of the folder).
//! Refuses: overwriting in place. Every file is made 0600, every folder 0700.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes the folder and its parents, readable by its owner alone.
pub fn create_private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes a new private file and forces its content to disk; it must not exist yet. Leaves nothing
/// when that fails.
pub fn write_new_synced(file: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut out = OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
    let written = out.write_all(content).and_then(|()| out.sync_all());
    written.inspect_err(|_| drop(std::fs::remove_file(file)))
}

/// Forces a folder's entries (renames, new and removed files) to disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes `content` under `file`'s final name so that after a crash there is either the whole
/// file or none.
pub fn write_durably(file: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = file.parent().ok_or_else(|| io::Error::other("a file needs a folder"))?;
    let temporary = file.with_extension("new");
    let _ = std::fs::remove_file(&temporary);
    write_new_synced(&temporary, content, mode)?;
    std::fs::rename(&temporary, file)?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn leaves_one_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kek");
        write_durably(&file, b"first", 0o600).unwrap();
        write_durably(&file, b"second", 0o400).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"second");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
