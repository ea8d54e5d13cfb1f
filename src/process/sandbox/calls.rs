//! The system calls that longsplice and its libraries make once it serves, as a seccomp filter
//! (seccomp(2)). Every other call is refused with EPERM, or, for `sandbox = "log"`, done and logged.
//! Operations through io_uring are not system calls and are not filtered; the rules for files apply to what
//! they may open.
//! is up to the rules for files.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

/// Calls that are allowed with any arguments.
const ALLOWED: &[c_long] = &[
    // Bytes.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_fcntl,
    // Sockets.
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    // Waiting.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_signalfd4,
    // Files, as far as the rules for files let them.
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_umask,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_memfd_create,
    libc::SYS_membarrier,
    // Threads. A filter cannot read the arguments of clone3, which are in memory: see `without_clone3`.
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_getcpu,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time and the machine.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // Who we are.
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    // The second filter.
    libc::SYS_seccomp,
];

/// Older forms of some calls, which only this architecture has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[c_long] = &[
    libc::SYS_accept,
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[c_long] = &[libc::SYS_accept, RENAMEAT];

/// The call of glibc's rename(3) on arm64 (include/uapi/asm-generic/unistd.h of the kernel), missing from the
/// libc crate there.
#[cfg(not(target_arch = "x86_64"))]
const RENAMEAT: c_long = 38;

/// Reason why a filter cannot be made: the crate's own words.
#[derive(Debug, thiserror::Error)]
#[error("seccomp: {0}")]
pub(super) struct CallsError(String);

impl CallsError {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// Restricts every thread of this process, and later ones, to the calls above.
pub(super) fn confine(only_log: bool) -> Result<(), CallsError> {
    let refusal = if only_log {
        SeccompAction::Log
    } else {
        SeccompAction::Errno(libc::EPERM.unsigned_abs())
    };
    let programs = [without_clone3(only_log)?, allow_list(refusal)?];
    for program in programs.iter().flatten() {
        apply_filter_all_threads(program).map_err(CallsError::of)?;
    }
    Ok(())
}

fn allow_list(refusal: SeccompAction) -> Result<Option<BpfProgram>, CallsError> {
    let mut rules = BTreeMap::new();
    for call in ALLOWED.iter().chain(ALLOWED_HERE) {
        rules.insert(*call, Vec::new());
    }
    rules.insert(libc::SYS_socket, sockets()?);
    // A thread, never a process.
    let thread = i64::from(libc::CLONE_THREAD).unsigned_abs();
    let thread = only(0, SeccompCmpOp::MaskedEq(thread), thread)?;
    rules.insert(libc::SYS_clone, vec![rule(vec![thread])?]);
    // Threads of this process only, which is what abort(3) and raise(3) do.
    let own = only(0, SeccompCmpOp::Eq, std::process::id().into())?;
    rules.insert(libc::SYS_tgkill, vec![rule(vec![own])?]);
    // A proxy never injects terminal input.
    let typing = [libc::TIOCSTI, libc::TIOCLINUX];
    let others = typing.map(|request| only(1, SeccompCmpOp::Ne, request));
    let others = others.into_iter().collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_ioctl, vec![rule(others)?]);
    // Signal 0 only checks whether a process exists.
    rules.insert(
        libc::SYS_kill,
        vec![rule(vec![only(1, SeccompCmpOp::Eq, 0)?])?],
    );
    compiled(rules, refusal, SeccompAction::Allow).map(Some)
}

/// Hides clone3, so that libc uses clone, whose flags a filter can check.
fn without_clone3(only_log: bool) -> Result<Option<BpfProgram>, CallsError> {
    if only_log {
        return Ok(None);
    }
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    compiled(rules, SeccompAction::Allow, missing).map(Some)
}

/// Streams and datagrams of IP and within the machine, and netlink's list of addresses, which
/// getaddrinfo(3) asks for.
fn sockets() -> Result<Vec<SeccompRule>, CallsError> {
    /// Without SOCK_NONBLOCK and SOCK_CLOEXEC.
    const TYPE: u64 = 0xf;
    let mut rules = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            rules.push(rule(vec![
                only(0, SeccompCmpOp::Eq, i64::from(family).unsigned_abs())?,
                only(
                    1,
                    SeccompCmpOp::MaskedEq(TYPE),
                    i64::from(kind).unsigned_abs(),
                )?,
            ])?);
        }
    }
    rules.push(rule(vec![
        only(
            0,
            SeccompCmpOp::Eq,
            i64::from(libc::AF_NETLINK).unsigned_abs(),
        )?,
        only(
            2,
            SeccompCmpOp::Eq,
            i64::from(libc::NETLINK_ROUTE).unsigned_abs(),
        )?,
    ])?);
    Ok(rules)
}

fn only(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition, CallsError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value);
    condition.map_err(CallsError::of)
}

fn rule(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, CallsError> {
    SeccompRule::new(conditions).map_err(CallsError::of)
}

fn compiled(
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<BpfProgram, CallsError> {
    let arch = ARCH.try_into().map_err(CallsError::of)?;
    let filter = SeccompFilter::new(rules, otherwise, matching, arch).map_err(CallsError::of)?;
    filter.try_into().map_err(CallsError::of)
}
