//! The system-call filters of a render worker.
//!
//! Owns two lists. The allow-list names what Rust's standard library, an allocator (glibc's or musl's) and
//! the reading of a font file need; everything else answers EPERM, so that a library which asks for a luxury
//! can do without. The kill-list names what a worker never has an honest reason for: trying one of these
//! means that a document took the worker over, and the worker dies at once (SIGSYS). The kernel applies the
//! stricter of the two.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use thiserror::Error;

/// Which descriptors may be read from, and whether files may be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadAccess {
    /// Only descriptor 0; nothing may be opened.
    StandardInput,
    /// Files may be opened read-only (where Landlock lets them) and read through these descriptors.
    Fonts(Vec<u64>),
}

/// Why the filters are not in place.
#[derive(Debug, Error)]
pub(super) enum SeccompError {
    #[error("a filter cannot be built")]
    Build(#[from] seccompiler::BackendError),
    #[error("the kernel does not take a filter")]
    Install(#[source] seccompiler::Error),
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Installs both filters on the calling thread, for good.
///
/// # Errors
/// [`SeccompError`]; then none, or only the kill-list, is in place.
pub(super) fn install(read_access: &ReadAccess) -> Result<(), SeccompError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let eperm = rustix::io::Errno::PERM.raw_os_error().unsigned_abs();
    let deadly: BpfProgram =
        SeccompFilter::new(deadly_calls(), SeccompAction::Allow, SeccompAction::KillProcess, arch)?
            .try_into()?;
    let allowed: BpfProgram = SeccompFilter::new(
        allowed_calls(read_access)?,
        SeccompAction::Errno(eperm),
        SeccompAction::Allow,
        arch,
    )?
    .try_into()?;
    // The allow-list comes second: it forbids the call that installs filters.
    for program in [deadly, allowed] {
        seccompiler::apply_filter(&program).map_err(SeccompError::Install)?;
    }
    Ok(())
}

/// Networking, new processes, other processes' memory, the kernel's own doors.
fn deadly_calls() -> Rules {
    let calls = [
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_clone,
        libc::SYS_clone3,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kill,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_mount,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_chroot,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_kexec_load,
        libc::SYS_keyctl,
        libc::SYS_memfd_create,
    ];
    calls.into_iter().map(|call| (call, Vec::new())).collect()
}

fn allowed_calls(read_access: &ReadAccess) -> Result<Rules, SeccompError> {
    let process = u64::from(std::process::id());
    let not_executable = |argument| {
        SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::MaskedEq(constant(libc::PROT_EXEC)),
            0,
        )
    };
    let equals =
        |argument, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);

    let mut rules: Rules = [
        // Memory.
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        // The end, planned or not.
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_gettid,
        libc::SYS_getpid,
        // Locks, hash seeds, time.
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_restart_syscall,
        // What is known of an open descriptor, and its end.
        libc::SYS_close,
        libc::SYS_fstat,
        libc::SYS_lseek,
    ]
    .into_iter()
    .map(|call| (call, Vec::new()))
    .collect();

    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(vec![not_executable(2)?])?]);
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(vec![not_executable(2)?])?]);
    // Only to itself, so that an abort can raise its signal.
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![equals(0, process)?])?]);
    rules.insert(libc::SYS_tkill, vec![SeccompRule::new(vec![equals(0, process)?])?]);
    // Only its own processor time.
    rules.insert(
        libc::SYS_prlimit64,
        vec![SeccompRule::new(vec![equals(0, 0)?, equals(1, u64::from(libc::RLIMIT_CPU))?])?],
    );
    rules.insert(libc::SYS_fcntl, vec![SeccompRule::new(vec![equals(1, constant(libc::F_GETFD))?])?]);
    for call in [libc::SYS_write, libc::SYS_writev] {
        rules.insert(
            call,
            vec![SeccompRule::new(vec![equals(0, 1)?])?, SeccompRule::new(vec![equals(0, 2)?])?],
        );
    }
    let mut readable = vec![SeccompRule::new(vec![equals(0, 0)?])?];
    if let ReadAccess::Fonts(descriptors) = read_access {
        for descriptor in descriptors {
            readable.push(SeccompRule::new(vec![equals(0, *descriptor)?])?);
        }
        let changes_nothing = SeccompCondition::new(
            2,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(constant(
                libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND,
            )),
            constant(libc::O_RDONLY),
        )?;
        rules.insert(libc::SYS_openat, vec![SeccompRule::new(vec![changes_nothing])?]);
        rules.insert(libc::SYS_getdents64, readable.clone());
    }
    for call in [libc::SYS_read, libc::SYS_readv] {
        rules.insert(call, readable.clone());
    }
    Ok(rules)
}

/// A C constant as the filter compares it; none of those used here is negative.
fn constant(value: i32) -> u64 {
    u64::from(value.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_both_allowed_and_deadly() {
        for read_access in [ReadAccess::StandardInput, ReadAccess::Fonts(vec![3])] {
            let allowed = allowed_calls(&read_access).unwrap();
            for call in deadly_calls().keys() {
                assert!(!allowed.contains_key(call), "system call {call}");
            }
        }
    }

    #[test]
    fn files_can_be_opened_only_for_fonts() {
        let closed = allowed_calls(&ReadAccess::StandardInput).unwrap();
        assert!(!closed.contains_key(&libc::SYS_openat));
        assert!(!closed.contains_key(&libc::SYS_getdents64));
        assert_eq!(closed[&libc::SYS_read].len(), 1);
        let fonts = allowed_calls(&ReadAccess::Fonts(vec![3, 5])).unwrap();
        assert_eq!(fonts[&libc::SYS_openat].len(), 1);
        assert_eq!(fonts[&libc::SYS_read].len(), 3);
    }
}
