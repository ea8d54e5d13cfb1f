//! Sockets that systemd passes to a process it starts (sd_listen_fds(3)), and the environment variables that
//! describe them.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The first passed descriptor.
const FIRST: RawFd = 3;
/// Limit on LISTEN_FDS, more than is ever passed.
const COUNT_MAX: RawFd = 1024;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the descriptors passed to this process, with their names; none the second time. Descriptors that are
/// not open or were not inherited are skipped, whatever the environment says.
pub fn descriptors() -> Vec<(String, OwnedFd)> {
    let (pid, count, names) = (
        take_variable("LISTEN_PID"),
        take_variable("LISTEN_FDS"),
        take_variable("LISTEN_FDNAMES"),
    );
    let number = |text: Option<OsString>| text?.to_str()?.parse().ok();
    let for_us = number(pid) == Some(i64::from(std::process::id()));
    let count = number(count).and_then(|count| RawFd::try_from(count).ok());
    let Some(count) = count.filter(|_| for_us) else {
        return Vec::new();
    };
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Vec::new();
    }
    let names = names.and_then(|names| names.into_string().ok());
    let mut names = names.iter().flat_map(|names| names.split(':'));
    let descriptors = (FIRST..FIRST.saturating_add(count.clamp(0, COUNT_MAX))).map(|fd| {
        let name = names.next().unwrap_or("unknown").to_owned();
        Some((name, take_descriptor(fd)?))
    });
    descriptors.flatten().collect()
}

/// Takes a descriptor inherited through execve(2). Descriptors that this process opened itself are marked
/// close-on-exec, so one without the mark has no other owner.
fn take_descriptor(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: the number must not be -1, and it is not; for a number without a descriptor fcntl gives EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = fcntl(borrowed, FcntlArg::F_GETFD).ok()?;
    if FdFlag::from_bits_truncate(flags).contains(FdFlag::FD_CLOEXEC) {
        return None;
    }
    // SAFETY: the descriptor must be open and have no other owner; fcntl has just found it open, it lacks the
    // close-on-exec mark of descriptors opened here, and TAKEN lets this code run only once.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    fcntl(owned.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    Some(owned)
}

/// Returns a variable of the environment, and removes it if this process still has a single thread: it was
/// meant for this process alone.
pub fn take_variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    let threads = std::fs::read_dir("/proc/self/task").map_or(2, Iterator::count);
    if threads == 1 {
        // SAFETY: no other thread may access the environment at the same time; there is none, and only this
        // thread could start one.
        unsafe { std::env::remove_var(name) };
    }
    Some(value)
}
