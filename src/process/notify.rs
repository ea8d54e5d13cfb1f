//! Notifications to systemd (sd_notify(3)): ready, reloading, stopping, and alive, one datagram each.
//!
//! Without NOTIFY_SOCKET none are sent. The control thread sends them, next to handling signals, so the
//! watchdog detects a process whose signals go unanswered.

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

/// How long to wait for a manager that does not read.
const FULL_RETRY_TIME: Duration = Duration::from_secs(2);
const FULL_RETRY_PAUSE: Duration = Duration::from_millis(10);

/// The connection to systemd.
#[derive(Debug, Clone, Default)]
pub(super) struct Notifier {
    socket: Option<Rc<(UnixDatagram, SocketAddr)>>,
    /// Interval of the watchdog, if there is one.
    watchdog_pause: Option<Duration>,
}

impl Notifier {
    /// Reads the environment variables, which are for this process alone.
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
            // Half of the time, as in sd_watchdog_enabled(3).
            watchdog_pause: usec.map(|usec| Duration::from_micros(usec) / 2),
            socket: socket.map(Rc::new),
        }
    }

    /// Reports that the process serves.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// Reports that the configuration is read again; [`Notifier::ready`] ends that.
    pub(super) fn reloading(&self) {
        let now = monotonic().as_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// Reports that the process ends, and how long that may take.
    pub(super) fn stopping(&self, status: &str, patience: Duration) {
        let patience = patience.as_micros();
        self.tell(&format!(
            "STOPPING=1\nSTATUS={status}\nEXTEND_TIMEOUT_USEC={patience}"
        ));
    }

    /// Reports progress.
    pub(super) fn status(&self, status: &str) {
        // The next report comes soon enough.
        let _ = self.try_tell(&format!("STATUS={status}"));
    }

    /// Starts to report that the process is alive, as a task of the control thread.
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
                // The next report comes soon enough.
                let _ = notifier.try_tell("WATCHDOG=1");
            }
        });
    }

    /// Sends a report that must arrive: a manager whose queue is full is given a moment to read.
    fn tell(&self, text: &str) {
        let deadline = Instant::now() + FULL_RETRY_TIME;
        while self.try_tell(text) == Some(ErrorKind::WouldBlock) && Instant::now() < deadline {
            std::thread::sleep(FULL_RETRY_PAUSE);
        }
    }

    /// Sends without waiting; returns the error, if there was one.
    fn try_tell(&self, text: &str) -> Option<ErrorKind> {
        let (socket, address) = self.socket.as_deref()?;
        // A status without a reader is not a failure.
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
