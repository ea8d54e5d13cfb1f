//! Signals as values: blocked for the whole process and read from a descriptor (signalfd(2)).

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals longsplice answers to.
#[derive(Debug)]
pub struct Signals(SignalFd);

/// One of them.
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
/// What pthread_sigmask(3) says.
pub fn block() -> io::Result<SigSet> {
    let mut set = SigSet::empty();
    for (signal, _) in ANSWERED {
        set.add(signal);
    }
    set.thread_block()?;
    Ok(set)
}

impl Signals {
    /// Takes the signals over; to be called before any other thread is started, because threads
    /// inherit what is blocked.
    ///
    /// # Errors
    /// What signalfd(2) says.
    pub fn take() -> io::Result<Self> {
        let set = block()?;
        Ok(Self(SignalFd::with_flags(
            &set,
            SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
        )?))
    }

    /// Waits for the next signal, at most `patience`; none = no limit.
    ///
    /// # Errors
    /// What poll(2) or read(2) says.
    pub fn wait(&self, patience: Option<Duration>) -> io::Result<Option<Received>> {
        let patience = patience.map_or(PollTimeout::NONE, |patience| {
            PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, patience) {
            Ok(0) | Err(nix::Error::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let Some(info) = self.0.read_signal()? else {
            return Ok(None);
        };
        let known = ANSWERED
            .iter()
            .find(|(signal, _)| *signal as u32 == info.ssi_signo);
        Ok(known.map(|(_, received)| *received))
    }
}
