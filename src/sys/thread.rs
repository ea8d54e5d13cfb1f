//! CPU affinity and priority of the calling thread.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Returns the cores this process may run on, in ascending order.
///
/// # Errors
///
/// The error of sched_getaffinity(2).
pub fn cores() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
    Ok(cores.collect())
}

/// Lets the calling thread run on `cpu` only.
///
/// # Errors
///
/// EINVAL when this process may not run there.
pub fn pin_to(cpu: usize) -> io::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}

/// Sets the nice value of the calling thread: 0 = as usual, 19 = lowest priority.
///
/// # Errors
///
/// The error of setpriority(2); raising the value is always allowed.
pub fn set_nice(nice: i32) -> io::Result<()> {
    let thread = nix::unistd::gettid().as_raw().unsigned_abs();
    // SAFETY: the call takes numbers only; on Linux the id of a thread names that thread alone.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, nice) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_and_nice_alone() {
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let cpu = (0..CpuSet::count()).find(|&cpu| allowed.is_set(cpu).unwrap());
        std::thread::spawn(move || {
            pin_to(cpu.unwrap()).unwrap();
            set_nice(10).unwrap();
            let now = sched_getaffinity(Pid::from_raw(0)).unwrap();
            let cpus = (0..CpuSet::count()).filter(|&cpu| now.is_set(cpu).unwrap());
            assert_eq!(cpus.collect::<Vec<_>>(), [cpu.unwrap()]);
        })
        .join()
        .unwrap();
        let after = sched_getaffinity(Pid::from_raw(0)).unwrap();
        assert_eq!(after, allowed);
        assert!(pin_to(CpuSet::count() - 1).is_err());
    }
}
