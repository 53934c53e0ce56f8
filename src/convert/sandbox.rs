//! The walls a render worker puts around itself before it reads a byte of any document.
//!
//! Owns every protection of the worker process, in the order they must come in, without unsafe code:
//! resource limits, no new privileges, no core dump and no ptrace, death with the parent, Landlock, and two
//! system-call filters. Invariants after [`enter`]:
//! - no process, no socket, no executable memory can be made; trying it kills the worker (SIGSYS);
//! - no file can be opened but, read-only, below the font folders, and none at all when Landlock is missing;
//! - only descriptors 1 and 2 can be written to, and none that was inherited beyond 0 can be read.
//!
//! Refuses to go on without the filters when [`Policy::require_sandbox`] says so. Landlock is not required:
//! without it the filter allows no `openat` at all, which protects as well and loses only fallback fonts.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
    path_beneath_rules,
};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal,
    setrlimit,
};
use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

use super::seccomp::{self, ReadAccess};

/// Address space of a worker. A 600 dpi colour page needs about 250 MB at its peak; hostile files were seen
/// to take 3.4 GB and more.
const ADDRESS_SPACE_BYTES: u64 = 1_500 << 20;

/// The worker's stack may grow to this: the main thread's limit is read when the stack grows, and deeply
/// nested but harmless PDF objects overflow the usual 8 MiB.
const STACK_BYTES: u64 = 64 << 20;

/// Descriptors: three pipes, the directory that is being read, and one font file, with a few to spare.
const OPEN_FILES: u64 = 16;

/// Hard limit of processor time, in documents: a worker is retired long before.
const CPU_DOCUMENTS: u64 = 1_000;

/// Which protections a worker has on, as it reports in its first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Protections(u16);

impl Protections {
    /// Limits of memory, processor time, file size, processes and descriptors.
    pub(super) const LIMITS: Self = Self(1);
    /// No privileges by executing anything.
    pub(super) const NO_NEW_PRIVILEGES: Self = Self(1 << 1);
    /// No core dump, and no ptrace by another process of the same user.
    pub(super) const NOT_DUMPABLE: Self = Self(1 << 2);
    /// Killed when its parent dies.
    pub(super) const DIES_WITH_PARENT: Self = Self(1 << 3);
    /// Landlock rules are enforced.
    pub(super) const LANDLOCK: Self = Self(1 << 4);
    /// System-call filters are installed.
    pub(super) const SECCOMP: Self = Self(1 << 5);
    /// Nothing was inherited but descriptors 0, 1 and 2.
    pub(super) const NOTHING_INHERITED: Self = Self(1 << 6);
    /// Fonts below the font folders can be read.
    pub(super) const FONTS_READABLE: Self = Self(1 << 7);

    const NAMES: [(Self, &str); 8] = [
        (Self::LIMITS, "limits"),
        (Self::NO_NEW_PRIVILEGES, "no-new-privileges"),
        (Self::NOT_DUMPABLE, "not-dumpable"),
        (Self::DIES_WITH_PARENT, "dies-with-parent"),
        (Self::LANDLOCK, "landlock"),
        (Self::SECCOMP, "seccomp"),
        (Self::NOTHING_INHERITED, "nothing-inherited"),
        (Self::FONTS_READABLE, "fonts-readable"),
    ];

    pub(super) fn bits(self) -> u16 {
        self.0
    }

    /// Bits that mean nothing are kept, and ignored.
    pub(super) fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    pub(super) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::fmt::Display for Protections {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let on: Vec<&str> = Self::NAMES
            .iter()
            .filter(|(protection, _)| self.contains(*protection))
            .map(|(_, name)| *name)
            .collect();
        formatter.write_str(&on.join(" "))
    }
}

/// What the worker may keep.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// Refuse when the system-call filters cannot be had.
    pub(super) require_sandbox: bool,
    /// Processor seconds for one document.
    pub(super) cpu_seconds: u32,
    /// Folders whose files may be read.
    pub(super) font_dirs: Vec<PathBuf>,
}

/// Why the worker may not go on.
#[derive(Debug, Error)]
pub(super) enum SandboxError {
    #[error("a resource limit cannot be set")]
    Limit(#[source] rustix::io::Errno),
    #[error("the process cannot be hardened")]
    Process(#[source] rustix::io::Errno),
    #[error("the system-call filter (seccomp) cannot be had")]
    Seccomp(#[source] seccomp::SeccompError),
}

/// Puts up the walls. To be called once, on the only thread of the process, before reading a document.
///
/// # Errors
/// [`SandboxError`] when a wall that must stand does not.
pub(super) fn enter(policy: &Policy) -> Result<Protections, SandboxError> {
    let mut on = Protections::default();

    // /proc has to be asked before the process is made non-dumpable, which hides it.
    let inherited = inherited_descriptors();
    if inherited.as_ref().is_some_and(Vec::is_empty) {
        on = on.with(Protections::NOTHING_INHERITED);
    }
    if set_parent_process_death_signal(Some(Signal::KILL)).is_ok() {
        on = on.with(Protections::DIES_WITH_PARENT);
    }
    set_limits(policy.cpu_seconds).map_err(SandboxError::Limit)?;
    on = on.with(Protections::LIMITS);
    rustix::thread::set_no_new_privs(true).map_err(SandboxError::Process)?;
    on = on.with(Protections::NO_NEW_PRIVILEGES);
    let landlock = restrict_files(&policy.font_dirs);
    if landlock {
        on = on.with(Protections::LANDLOCK);
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(SandboxError::Process)?;
    on = on.with(Protections::NOT_DUMPABLE);

    let read_access = match inherited {
        // Numbers that were free, and so can only come to stand for a font.
        Some(inherited) if landlock => {
            let free =
                (0..OPEN_FILES).filter(|descriptor| *descriptor > 2 && !inherited.contains(descriptor));
            ReadAccess::Fonts(free.collect())
        }
        _ => ReadAccess::StandardInput,
    };
    match seccomp::install(&read_access) {
        Ok(()) => {
            on = on.with(Protections::SECCOMP);
            if matches!(read_access, ReadAccess::Fonts(_)) {
                on = on.with(Protections::FONTS_READABLE);
            }
        }
        Err(error) if policy.require_sandbox => return Err(SandboxError::Seccomp(error)),
        Err(_) => {}
    }
    Ok(on)
}

/// Gives the next document its processor time: the soft limit becomes what was used plus `cpu_seconds`.
/// Passing it ends the process with SIGXCPU.
///
/// # Errors
/// The system's, when the limit cannot be raised any further.
pub(super) fn allow_cpu(cpu_seconds: u32) -> rustix::io::Result<()> {
    let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
    let used = u64::try_from(used).unwrap_or(0);
    // One more, because the kernel counts whole seconds and the part already used would be lost.
    limit(Resource::Cpu, used + u64::from(cpu_seconds) + 1, cpu_hard_limit(cpu_seconds))
}

fn cpu_hard_limit(cpu_seconds: u32) -> u64 {
    u64::from(cpu_seconds) * CPU_DOCUMENTS
}

fn set_limits(cpu_seconds: u32) -> rustix::io::Result<()> {
    limit(Resource::As, ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES)?;
    limit(Resource::Cpu, u64::from(cpu_seconds), cpu_hard_limit(cpu_seconds))?;
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Nofile, OPEN_FILES, OPEN_FILES)?;
    limit(Resource::Nproc, 0, 0)?;
    let inherited = rustix::process::getrlimit(Resource::Stack);
    let stack = inherited.maximum.map_or(STACK_BYTES, |maximum| maximum.min(STACK_BYTES));
    limit(Resource::Stack, stack, stack)
}

fn limit(resource: Resource, soft: u64, hard: u64) -> rustix::io::Result<()> {
    setrlimit(resource, Rlimit { current: Some(soft.min(hard)), maximum: Some(hard) })
}

/// Descriptors beyond 0, 1 and 2 that came with the process; `None` when that cannot be known. Shells and build
/// tools leave such descriptors open, and they cannot be closed without unsafe code, so the filter has to make
/// them useless.
fn inherited_descriptors() -> Option<Vec<u64>> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    let mut inherited = Vec::new();
    for entry in entries {
        let entry = entry.ok()?;
        // The listing itself holds one descriptor, which points back at the folder that is being listed.
        let is_listing = std::fs::read_link(entry.path())
            .is_ok_and(|target| target.starts_with("/proc/") && target.ends_with("fd"));
        let descriptor: u64 = entry.file_name().to_str()?.parse().ok()?;
        if descriptor > 2 && !is_listing {
            inherited.push(descriptor);
        }
    }
    Some(inherited)
}

/// Landlock: no file but those below `font_dirs`, read-only; no TCP; no signals and abstract sockets outward.
/// Older kernels enforce what they know. `false` when nothing is enforced.
fn restrict_files(font_dirs: &[PathBuf]) -> bool {
    let abi = ABI::V6;
    let restricted = || -> Result<RulesetStatus, landlock::RulesetError> {
        let existing: Vec<&Path> =
            font_dirs.iter().map(PathBuf::as_path).filter(|path| path.is_dir()).collect();
        let status = Ruleset::default()
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?
            .add_rules(path_beneath_rules(&existing, AccessFs::ReadFile | AccessFs::ReadDir))?
            .restrict_self()?;
        Ok(status.ruleset)
    };
    restricted().is_ok_and(|status| status != RulesetStatus::NotEnforced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::fonts::FontLibrary;

    #[test]
    fn protections_have_distinct_bits_and_names() {
        let mut all = Protections::default();
        for (protection, name) in Protections::NAMES {
            assert!(!all.contains(protection), "{name} shares a bit");
            all = all.with(protection);
            assert_eq!(Protections::from_bits(protection.bits()).to_string(), name);
        }
        assert_eq!(all.to_string().split(' ').count(), Protections::NAMES.len());
    }

    /// Names what the child of [`attempt`] is to try.
    const PROBE: &str = "PAGEWIRE_SANDBOX_PROBE";

    /// Names the folder with the one font that may be read.
    const FONTS: &str = "PAGEWIRE_SANDBOX_FONTS";

    /// Runs this test program again, which locks itself in and then tries `probe`.
    fn attempt(probe: &str) -> (std::process::ExitStatus, String) {
        let fonts = tempfile::tempdir().unwrap();
        std::fs::write(fonts.path().join("any.ttf"), dejavu::sans::regular()).unwrap();
        let (_, module) = module_path!().split_once("::").unwrap();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::inside"), "--nocapture"])
            .arg("--test-threads=1")
            .env(PROBE, probe)
            .env(FONTS, fonts.path())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status, String::from_utf8_lossy(&text).into_owned())
    }

    /// Does nothing unless it is the child of [`attempt`].
    #[test]
    fn inside() {
        let Ok(probe) = std::env::var(PROBE) else {
            return;
        };
        let fonts = PathBuf::from(std::env::var(FONTS).unwrap());
        let policy = Policy { require_sandbox: true, cpu_seconds: 1, font_dirs: vec![fonts.clone()] };
        let protections = enter(&policy).unwrap();
        eprintln!("entered: {protections}");
        let denied = |result: std::io::Result<()>| {
            let refusal = result.unwrap_err().kind();
            assert_eq!(refusal, std::io::ErrorKind::PermissionDenied);
            eprintln!("was denied");
        };
        match probe.as_str() {
            "socket" => drop(std::net::UdpSocket::bind("127.0.0.1:0")),
            "process" => drop(std::process::Command::new("/bin/true").spawn()),
            "thread" => drop(std::thread::Builder::new().spawn(|| ())),
            "read" => denied(std::fs::read("/etc/passwd").map(drop)),
            "write" => denied(std::fs::write("/tmp/pagewire-sandbox-probe", "x")),
            "delete" => denied(std::fs::remove_file(fonts.join("any.ttf"))),
            "font" => assert!(FontLibrary::new(vec![fonts]).covering('A').is_some()),
            "memory" => assert!(vec![1u8; 2 << 30].len() > 1),
            "time" => loop {
                std::hint::spin_loop();
            },
            other => panic!("no probe {other}"),
        }
        eprintln!("came through");
    }

    #[test]
    fn what_no_document_needs_kills_the_worker() {
        use std::os::unix::process::ExitStatusExt;
        for (probe, signal) in [
            ("socket", Signal::SYS),
            ("process", Signal::SYS),
            ("thread", Signal::SYS),
            ("memory", Signal::ABORT),
            ("time", Signal::XCPU),
        ] {
            let (status, text) = attempt(probe);
            assert!(text.contains("entered: limits"), "{probe}: {text}");
            assert!(text.contains("seccomp"), "{probe}: {text}");
            assert_eq!(status.signal(), Some(signal.as_raw()), "{probe}: {text}");
        }
    }

    #[test]
    fn files_are_out_of_reach_but_for_fonts() {
        for probe in ["read", "write", "delete"] {
            let (status, text) = attempt(probe);
            assert!(status.success(), "{probe}: {text}");
            assert!(text.contains("was denied"), "{probe}: {text}");
        }
        let (status, text) = attempt("font");
        // Without Landlock, fonts are given up for safety.
        assert_eq!(status.success(), text.contains("fonts-readable"), "{text}");
    }
}
