//! The guard of the house's order: floors, module docs, file length, leftovers.

use std::path::{Path, PathBuf};

/// Modules by floor, lowest first; ARCHITECTURE.md and `src/lib.rs` say the same.
const FLOORS: &[&[&str]] = &[
    &["clock", "crash", "fs", "id", "limits", "log", "secret"],
    &["access", "codec", "fax"],
    &["db", "net", "seal", "spool"],
    &["audit", "auth", "convert", "events", "inbound", "sealing"],
    &["import", "mail", "route", "webhooks"],
    &["queue"],
    &["http"],
];
/// Outside the floors: may import anything, and nobody on a floor imports them, but for `app` in
/// `http`, which holds the handles a request needs.
const OUTSIDE: &[&str] = &["app", "cli", "config", "serve", "main", "lib"];
/// Modules of one floor that know each other by design, with the reason.
const NEIGHBOURS: &[(&str, &str)] = &[
    // The spool seals what it stores.
    ("spool", "seal"),
    // The certificate authority lies sealed on disk.
    ("net", "seal"),
    // Temporary files and clocks are made of nothing of ours; ids need no neighbour either.
];
const LONGEST_FILE: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let skipped = path.file_name().is_some_and(|name| name == "node_modules" || name == "dist");
        if path.is_dir() && !skipped {
            found.extend(sources(&path, endings));
        } else if path.extension().is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// The top-level module a file belongs to.
fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    inside.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// What a file names as `crate::module`, outside its tests and comments.
fn imports(text: &str) -> Vec<String> {
    let code: String = product_lines(text).map(|line| line.split("//").next().unwrap_or_default()).collect();
    code.split("crate::")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
        .collect()
}

/// The lines before a file's `#[cfg(test)]` module.
fn product_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]")
}

#[test]
fn modules_import_only_downward() {
    let mut wrong = Vec::new();
    for path in sources(&root().join("src"), &["rs"]) {
        let module = module_of(&path);
        let text = std::fs::read_to_string(&path).unwrap();
        let Some(floor) = floor_of(&module) else {
            assert!(
                OUTSIDE.contains(&module.as_str()),
                "{} stands on no floor; add it to FLOORS",
                shown(&path)
            );
            continue;
        };
        for import in imports(&text) {
            let allowed = import == module
                || NEIGHBOURS.contains(&(module.as_str(), import.as_str()))
                || floor_of(&import).is_some_and(|imported| imported < floor)
                || (module == "http" && import == "app");
            if !allowed {
                wrong.push(format!("{} (floor {floor}) imports {import}", shown(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_map_in_lib_rs_is_the_tree_on_disk() {
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut declared: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    declared.sort_unstable();
    let mut expected: Vec<&str> = FLOORS.iter().flat_map(|floor| floor.iter().copied()).collect();
    expected.extend(OUTSIDE.iter().filter(|module| !matches!(**module, "main" | "lib")));
    expected.sort_unstable();
    assert_eq!(declared, expected);
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for module in expected {
        assert!(map.contains(&format!("`{module}")), "ARCHITECTURE.md does not name {module}");
    }
}

#[test]
fn every_module_says_what_it_is() {
    for path in sources(&root().join("src"), &["rs"]) {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not open with //!", shown(&path));
    }
}

#[test]
fn no_file_is_too_long() {
    for folder in ["src", "tests", "web"] {
        for path in sources(&root().join(folder), &["rs", "ts", "svelte", "css"]) {
            // Made from the API's description, and read by no one.
            if path.ends_with("web/src/api/schema.ts") {
                continue;
            }
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= LONGEST_FILE, "{} has {lines} lines", shown(&path));
        }
    }
}

#[test]
fn nothing_is_left_behind() {
    let leftovers = ["TODO", "FIXME", "XXX", "dbg!("];
    for path in sources(&root().join("src"), &["rs"]) {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in leftovers {
            assert!(!text.contains(word), "{} contains {word}", shown(&path));
        }
        if path.ends_with("tests.rs") || path.parent().is_some_and(|folder| folder.ends_with("tests")) {
            continue;
        }
        for line in product_lines(&text) {
            assert!(!line.contains(".unwrap()"), "{}: {line}", shown(&path));
        }
    }
}

#[test]
fn sql_stays_in_db() {
    for path in sources(&root().join("src"), &["rs"]) {
        if module_of(&path) == "db" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("rusqlite"), "{} knows SQLite", shown(&path));
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap().split("[lints").next().unwrap();
    let others = section.split("# Each of the others").nth(1).unwrap();
    let mut previous = "";
    for line in others.lines().skip(1).filter(|line| !line.is_empty() && !line.starts_with('[')) {
        if !line.starts_with('#') {
            let name = line.split(' ').next().unwrap();
            assert!(previous.starts_with(&format!("# {name}: ")), "{name} has no line of reason above it");
        }
        previous = line;
    }
}
