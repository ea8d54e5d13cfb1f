//! What systemd is told (sd_notify(3)): ready, reloading, stopping, and alive, one datagram each.
//!
//! Without NOTIFY_SOCKET nothing is told. It is told by main, beside the signals, so a process
//! whose signals go unanswered is one that its watchdog misses.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval};

use crate::sys::clock::monotonic;
use crate::sys::inherited::take_variable;

/// How long a manager that does not read is waited for.
const FULL_RETRY_TIME: Duration = Duration::from_secs(2);
const FULL_RETRY_PAUSE: Duration = Duration::from_millis(10);

/// systemd's side of the process.
#[derive(Debug, Clone, Default)]
pub(super) struct Notifier {
    socket: Option<Rc<(UnixDatagram, SocketAddr)>>,
    /// How often the watchdog wants to hear something, if there is one.
    watchdog_pause: Option<Duration>,
}

impl Notifier {
    /// Takes what the environment says about it, which is for this process alone.
    pub(super) fn from_environment() -> Self {
        let (socket, usec, pid) = (
            take_variable("NOTIFY_SOCKET"),
            take_variable("WATCHDOG_USEC"),
            take_variable("WATCHDOG_PID"),
        );
        let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
        let socket = socket.and_then(|name| socket_to(&name));
        let own = u64::from(std::process::id());
        let for_us = pid.is_none_or(|pid| number(pid) == Some(own));
        let usec = usec
            .and_then(number)
            .filter(|usec| *usec > 0 && for_us && socket.is_some());
        Self {
            // As sd_watchdog_enabled(3) has it: half of the time.
            watchdog_pause: usec.map(|usec| Duration::from_micros(usec) / 2),
            socket: socket.map(Rc::new),
        }
    }

    /// Tells that the process serves.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// Tells that the configuration is read again; [`Notifier::ready`] ends that.
    pub(super) fn reloading(&self) {
        let now = monotonic().as_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// Tells that the process ends, and how long that may take.
    pub(super) fn stopping(&self, status: &str, patience: Duration) {
        let patience = patience.as_micros();
        self.tell(&format!(
            "STOPPING=1\nSTATUS={status}\nEXTEND_TIMEOUT_USEC={patience}"
        ));
    }

    /// Tells how far it is with what it was said to do.
    pub(super) fn status(&self, status: &str) {
        // The next one comes soon enough.
        let _ = self.try_tell(&format!("STATUS={status}"));
    }

    /// Begins to tell that the process is alive, beside everything else that main does.
    pub(super) fn feed_watchdog(&self) {
        let Some(pause) = self.watchdog_pause else {
            return;
        };
        let notifier = self.clone();
        spawn_local(async move {
            let mut beat = interval(pause);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beat.tick().await;
                // The next one comes soon enough.
                let _ = notifier.try_tell("WATCHDOG=1");
            }
        });
    }

    /// Tells what must be heard: a manager whose queue is full is given a moment to read.
    fn tell(&self, text: &str) {
        let deadline = Instant::now() + FULL_RETRY_TIME;
        while self.try_tell(text) == Some(ErrorKind::WouldBlock) && Instant::now() < deadline {
            std::thread::sleep(FULL_RETRY_PAUSE);
        }
    }

    /// Tells without waiting; returns why it could not, if it could not.
    fn try_tell(&self, text: &str) -> Option<ErrorKind> {
        let (socket, address) = self.socket.as_deref()?;
        // A status without a reader is no failure.
        let error = socket.send_to_addr(text.as_bytes(), address).err()?;
        tracing::debug!(%error, "NOTIFY_SOCKET");
        Some(error.kind())
    }
}

/// A name that begins with `@` is in the abstract namespace (unix(7)).
fn socket_to(name: &OsString) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(Path::new(name)),
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((socket, address.ok()?))
}
