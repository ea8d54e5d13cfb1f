//! Signals as values: blocked for the whole process and read from a descriptor (signalfd(2)).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::unix::AsyncFd;

use super::async_fd;

/// The signals that longsplice handles.
#[derive(Debug)]
pub struct Signals {
    signals: SignalFd,
    /// Reports when a signal is pending.
    readiness: AsyncFd<OwnedFd>,
}

/// A signal received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    Reopen,
}

const ANSWERED: [(Signal, Received); 4] = [
    (Signal::SIGTERM, Received::Stop),
    (Signal::SIGINT, Received::Stop),
    (Signal::SIGHUP, Received::Reload),
    (Signal::SIGUSR1, Received::Reopen),
];

/// Blocks the signals in this thread and those it starts from now on.
///
/// # Errors
/// The error of pthread_sigmask(3).
pub fn block() -> io::Result<SigSet> {
    let mut set = SigSet::empty();
    for (signal, _) in ANSWERED {
        set.add(signal);
    }
    set.thread_block()?;
    Ok(set)
}

/// Waits on this thread for one of the signals that [`block`] took.
///
/// # Errors
/// The error of sigwait(3).
pub fn wait(set: &SigSet) -> io::Result<Received> {
    loop {
        let signal = set.wait()?;
        if let Some((_, received)) = ANSWERED.iter().find(|(known, _)| *known == signal) {
            return Ok(*received);
        }
    }
}

impl Signals {
    /// Takes the signals over; to be called before any other thread is started, because threads inherit the
    /// blocked signals.
    ///
    /// # Errors
    /// The error of signalfd(2) or epoll_ctl(2).
    ///
    /// # Panics
    /// Outside of a tokio runtime that has its I/O driver.
    pub fn take() -> io::Result<Self> {
        let set = block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&set, flags)?;
        let readiness = async_fd::register(signals.as_fd())?;
        Ok(Self { signals, readiness })
    }

    /// Waits for the next signal.
    ///
    /// # Errors
    /// The error of read(2).
    pub async fn next(&self) -> io::Result<Received> {
        loop {
            let mut ready = self.readiness.readable().await?;
            match ready.try_io(|_| read(&self.signals)) {
                Ok(Ok(Some(received))) => return Ok(received),
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }
}

/// Reads one signal; none = one that is not handled.
fn read(signals: &SignalFd) -> io::Result<Option<Received>> {
    // No signal means "not now" (signalfd(2), SFD_NONBLOCK).
    let info = signals.read_signal()?.ok_or(io::ErrorKind::WouldBlock)?;
    let known = ANSWERED
        .iter()
        .find(|(signal, _)| *signal as u32 == info.ssi_signo);
    Ok(known.map(|(_, received)| *received))
}
