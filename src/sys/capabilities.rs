//! Capabilities of this process (capabilities(7)): dropped, never acquired.

use std::io;

use nix::errno::Errno;

/// The form of capget(2) and capset(2) that holds 64 capabilities in two halves.
const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// Capabilities that a kernel may know at most: the two halves.
const CAPABILITIES_MAX: libc::c_ulong = 64;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// One half of the three sets.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Drops every capability from the bounding set, so that the process cannot get it back by execve(2). Needs
/// CAP_SETPCAP; without it the set stays, which is not an error.
pub fn give_up_bounds() {
    for capability in 0..CAPABILITIES_MAX {
        // SAFETY: PR_CAPBSET_DROP takes a number, of which the kernel refuses those it does not know.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if result != 0 {
            return;
        }
    }
}

/// Drops every capability of the calling thread, ambient ones included, and so of threads it starts later. A
/// thread without capabilities makes no change: a filter of system calls may refuse it.
///
/// # Errors
///
/// The error of capget(2), prctl(2) or capset(2); the kernel itself always allows it.
pub fn give_up() -> io::Result<()> {
    // Ambient capabilities are always inheritable ones too.
    if !any_of(|half| half.permitted | half.effective | half.inheritable)? {
        return Ok(());
    }
    // SAFETY: this form of PR_CAP_AMBIENT takes numbers only, the unused ones zero.
    let cleared = unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        )
    };
    Errno::result(cleared)?;
    let header = own_header();
    let none = [Half::default(); 2];
    // SAFETY: both pointers are to live values of the layout of version 3, which has two halves.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    Errno::result(set)?;
    Ok(())
}

/// Returns whether the calling thread has any capability it could use.
///
/// # Errors
///
/// The error of capget(2).
pub fn has_any() -> io::Result<bool> {
    any_of(|half| half.permitted | half.effective)
}

fn any_of(sets: impl Fn(&Half) -> u32) -> io::Result<bool> {
    let mut header = own_header();
    let mut halves = [Half::default(); 2];
    // SAFETY: both pointers are to live values that may be written, of the layout of version 3.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
    Errno::result(got)?;
    Ok(halves.iter().any(|half| sets(half) != 0))
}

/// Makes a header for the calling thread, which has the id 0.
fn own_header() -> Header {
    Header {
        version: LINUX_CAPABILITY_VERSION_3,
        pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_gone_from_this_thread_alone() {
        let before = has_any().unwrap();
        std::thread::spawn(|| {
            give_up().unwrap();
            assert!(!has_any().unwrap());
            // Again is not an error.
            give_up().unwrap();
            // Without CAP_SETPCAP nothing happens.
            give_up_bounds();
        })
        .join()
        .unwrap();
        assert_eq!(has_any().unwrap(), before);
    }
}
