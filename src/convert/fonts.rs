//! Fonts for characters that no embedded font has.
//!
//! Owns the search through the font folders, which happens inside the sandbox, only when a document needs it,
//! and once per worker. It asks the kernel directly (`openat`, `getdents64`, `read`), so that what the
//! system-call filter must allow does not depend on the C library. Refuses to keep more than
//! [`MAX_FONT_BYTES`]. A folder that cannot be read is a folder without fonts: fallback is a courtesy.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ab_glyph::{Font, FontRef};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};

/// Font bytes kept in a worker. The large CJK collections are 20 MB; the worker has 1.5 GB for everything.
const MAX_FONT_BYTES: usize = 96 << 20;

/// The largest single font file that is read.
const MAX_FONT_FILE_BYTES: u64 = 48 << 20;

/// Files looked at: on a machine with thousands of fonts, the preferred ones come first anyway.
const MAX_FONT_FILES: usize = 48;

/// Folders deep: `/usr/share/fonts/opentype/noto` is three.
const MAX_FOLDER_DEPTH: usize = 4;

/// Entries looked at over all folders, against folders that are no font folders.
const MAX_ENTRIES: usize = 10_000;

/// Parts of file names, the most useful first: fonts of wide coverage, CJK above all, since that is what
/// PDFs most often leave out and DejaVu does not have.
const PREFERRED: &[&str] = &[
    "notosanscjk-regular",
    "notosanscjk",
    "sourcehansans",
    "droidsansfallbackfull",
    "droidsansfallback",
    "wqy-zenhei",
    "wqy-microhei",
    "ipagp",
    "ipag",
    "unifont",
    "notosans-regular",
    "freesans",
];

/// A font program and the face within its file.
#[derive(Clone)]
pub(super) struct FallbackFont {
    /// The whole file.
    pub(super) data: Arc<Vec<u8>>,
    /// The face, in a collection; 0 otherwise.
    pub(super) index: u32,
}

/// The fonts below the font folders, read as they are needed.
pub(super) struct FontLibrary {
    folders: Vec<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Files not yet read, the most useful last; `None` before the folders were listed.
    waiting: Option<Vec<PathBuf>>,
    loaded: Vec<FallbackFont>,
    loaded_bytes: usize,
}

impl FontLibrary {
    /// A library that will look into `folders`. Reads nothing yet.
    pub(super) fn new(folders: Vec<PathBuf>) -> Self {
        Self { folders, state: Mutex::default() }
    }

    /// A font that has a glyph for `character`.
    pub(super) fn covering(&self, character: char) -> Option<FallbackFont> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(font) = state.loaded.iter().find(|font| font.covers(character)) {
            return Some(font.clone());
        }
        if state.waiting.is_none() {
            state.waiting = Some(list_fonts(&self.folders));
        }
        while state.loaded_bytes < MAX_FONT_BYTES {
            let path = state.waiting.as_mut()?.pop()?;
            let Some(data) = read_font(&path) else {
                continue;
            };
            let font = FallbackFont { data: Arc::new(data), index: 0 };
            state.loaded_bytes += font.data.len();
            state.loaded.push(font.clone());
            if font.covers(character) {
                return Some(font);
            }
        }
        None
    }
}

impl FallbackFont {
    fn covers(&self, character: char) -> bool {
        FontRef::try_from_slice_and_index(&self.data, self.index)
            .is_ok_and(|font| font.glyph_id(character).0 != 0)
    }
}

/// The font files below `folders`, the most useful last.
fn list_fonts(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries_left = MAX_ENTRIES;
    let mut open_folders: Vec<(PathBuf, usize)> = folders.iter().map(|folder| (folder.clone(), 0)).collect();
    while let Some((folder, depth)) = open_folders.pop() {
        let Some(listing) = open(&folder, OFlags::DIRECTORY).and_then(|opened| Dir::new(opened).ok()) else {
            continue;
        };
        for entry in listing.flatten() {
            if entries_left == 0 {
                break;
            }
            entries_left -= 1;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            match entry.file_type() {
                FileType::Directory if name != "." && name != ".." && depth < MAX_FOLDER_DEPTH => {
                    open_folders.push((folder.join(name), depth + 1));
                }
                FileType::RegularFile | FileType::Symlink if is_font_name(name) => {
                    found.push(folder.join(name));
                }
                _ => {}
            }
        }
    }
    found.sort_by_key(|path| (preference(path), path.clone()));
    found.truncate(MAX_FONT_FILES);
    found.reverse();
    found
}

fn is_font_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".ttf", ".otf", ".ttc", ".otc"].iter().any(|ending| name.ends_with(ending))
}

/// The place of a file in [`PREFERRED`], or the end.
fn preference(path: &Path) -> usize {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    PREFERRED.iter().position(|part| name.contains(part)).unwrap_or(PREFERRED.len())
}

fn open(path: &Path, flags: OFlags) -> Option<OwnedFd> {
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC | flags, Mode::empty()).ok()
}

fn read_font(path: &Path) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    File::from(open(path, OFlags::NONBLOCK)?).take(MAX_FONT_FILE_BYTES).read_to_end(&mut data).ok()?;
    FontRef::try_from_slice_and_index(&data, 0).ok()?;
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_font_below_nested_folders_that_has_the_character() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("truetype/some");
        std::fs::create_dir_all(&nested).unwrap();
        std::fs::write(nested.join("Broken.ttf"), b"no font").unwrap();
        std::fs::write(nested.join("readme.txt"), b"no font").unwrap();
        std::fs::write(nested.join("Wide.TTF"), dejavu::sans::regular()).unwrap();
        let library = FontLibrary::new(vec![folder.path().join("missing"), folder.path().to_owned()]);
        let font = library.covering('ش').unwrap();
        assert_eq!(font.data.len(), dejavu::sans::regular().len());
        assert!(library.covering('漢').is_none());
        assert!(library.covering('A').is_some());
    }

    #[test]
    fn fonts_of_wide_coverage_come_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["Aardvark.ttf", "unifont.otf", "NotoSansCJK-Regular.ttc"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let mut names: Vec<String> = list_fonts(&[folder.path().to_owned()])
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        names.reverse();
        assert_eq!(names, ["NotoSansCJK-Regular.ttc", "unifont.otf", "Aardvark.ttf"]);
    }
}
