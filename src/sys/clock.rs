//! Clocks: the cheap one for loops that read it once per batch, and the exact one.

use std::time::Duration;

/// Returns the time since some fixed point, a few milliseconds coarse, without a system call
/// (`CLOCK_MONOTONIC_COARSE`, clock_gettime(2)).
#[must_use]
pub fn coarse() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec of this frame, and the clock exists since 2.6.32.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    debug_assert_eq!(result, 0);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Returns the time since the machine started, as exact as the kernel has it (`CLOCK_MONOTONIC`,
/// clock_gettime(2)).
#[must_use]
pub fn monotonic() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec of this frame, and the clock always exists.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    debug_assert_eq!(result, 0);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or(0))
}
