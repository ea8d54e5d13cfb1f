//! What systemd hands to a process that it starts (sd_listen_fds(3)): sockets, and the environment
//! that speaks of them.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The first descriptor that is handed over.
const FIRST: RawFd = 3;
/// More than anybody hands over; LISTEN_FDS is not believed beyond.
const COUNT_MAX: RawFd = 1024;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the descriptors that were handed to this process, with their names; none the second time,
/// and none of those that are not there or not handed over, whatever the environment says.
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

/// Takes a descriptor that came through execve(2): what this process opened itself is closed there
/// and marked for it, so a descriptor without the mark has no other owner.
fn take_descriptor(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: the number is not -1, and a number that is no descriptor only makes fcntl say so.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = fcntl(borrowed, FcntlArg::F_GETFD).ok()?;
    if FdFlag::from_bits_truncate(flags).contains(FdFlag::FD_CLOEXEC) {
        return None;
    }
    // SAFETY: the descriptor is open, as fcntl has just said; it was inherited, as it would carry
    // the mark otherwise, and TAKEN lets nobody come here twice, so nothing else owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    fcntl(owned.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    Some(owned)
}

/// Returns a variable of the environment, and removes it if this process has a single thread still:
/// it was meant for this process alone.
pub fn take_variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    let threads = std::fs::read_dir("/proc/self/task").map_or(2, Iterator::count);
    if threads == 1 {
        // SAFETY: there is no other thread that could read the environment at the same time, and
        // none can begin to be but through this one.
        unsafe { std::env::remove_var(name) };
    }
    Some(value)
}
