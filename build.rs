//! Builds the console in `web/` when it is older than its sources, for `src/http/console.rs` to embed.
//!
//! `PAGEWIRE_CONSOLE=skip` leaves it out: then `/console/` shows a plain page.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What the console is made of, below `web/`.
const SOURCES: &[&str] = &[
    "index.html",
    "package.json",
    "package-lock.json",
    "svelte.config.js",
    "tsconfig.json",
    "vite.config.ts",
    "src",
];
/// Made by `npm run check`, and no part of what is built.
const NOT_A_SOURCE: &str = "schema.ts";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PAGEWIRE_CONSOLE");
    let web = PathBuf::from(env("CARGO_MANIFEST_DIR")).join("web");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", web.join(source).display());
    }
    let embedded = PathBuf::from(env("OUT_DIR")).join("console");
    let skipped = std::env::var("PAGEWIRE_CONSOLE").is_ok_and(|value| value == "skip");
    let result = empty(&embedded).map_err(|error| error.to_string()).and_then(|()| {
        if skipped { Ok(()) } else { build(&web).and_then(|()| embed(&web.join("dist"), &embedded)) }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Runs npm, unless `web/dist` was made from exactly these sources.
fn build(web: &Path) -> Result<(), String> {
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    // Another build of this folder, with another profile, waits here.
    let lock = File::create(web.join(".lock")).map_err(failed("web/.lock"))?;
    lock.lock().map_err(failed("web/.lock"))?;
    let print = fingerprint(web).map_err(failed("the console's sources"))?;
    let stamp = web.join("dist/.sources");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == print) {
        return Ok(());
    }
    let wanted = fs::read(web.join("package-lock.json")).map_err(failed("web/package-lock.json"))?;
    let installed = web.join("node_modules/installed-lock.json");
    if fs::read(&installed).ok().as_deref() != Some(wanted.as_slice()) {
        npm(web, &["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"])?;
        fs::write(&installed, &wanted).map_err(failed("web/node_modules"))?;
    }
    npm(web, &["run", "--silent", "build", "--", "--logLevel", "warn"])?;
    fs::write(stamp, print).map_err(failed("web/dist"))
}

fn npm(web: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("npm").args(arguments).current_dir(web).output().map_err(|_| {
        "The console is built with Node: install Node 20.19 or newer with npm ('./dev install-tools build' \
         does), or set PAGEWIRE_CONSOLE=skip to build without it."
            .to_owned()
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    Err(format!("The console could not be built: 'npm {}' in web/ failed.\n{said}", arguments.join(" ")))
}

/// A print of names and contents: times of files say nothing after a checkout.
fn fingerprint(web: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&web.join(source), &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.strip_prefix(web).unwrap_or(&file).hash(&mut hasher);
        fs::read(&file)?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let is_test = path.to_string_lossy().ends_with(".test.ts");
        if !is_test && !path.ends_with(NOT_A_SOURCE) {
            collect(&path, files)?;
        }
    }
    Ok(())
}

fn empty(folder: &Path) -> io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder.join("assets"))
}

/// Copies what is embedded: of a file with compressed copies only those.
fn embed(dist: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: io::Error| format!("web/dist: {error}");
    for folder in ["", "assets"] {
        for entry in fs::read_dir(dist.join(folder)).map_err(failed)? {
            let from = entry.map_err(failed)?.path();
            let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let has_copies = dist.join(folder).join(format!("{name}.gz")).exists();
            if from.is_file() && !has_copies && !name.starts_with('.') {
                fs::copy(&from, to.join(folder).join(name)).map_err(failed)?;
            }
        }
    }
    Ok(())
}
