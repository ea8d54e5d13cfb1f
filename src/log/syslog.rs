//! Syslog messages in the form of RFC 3164, which every receiver reads: rsyslog, syslog-ng, busybox, journald
//! and receivers for HAProxy. RFC 5424 would add the year and the zone, but not all of them understand it.
//!
//! Over UDP the name of this machine precedes the tag; on a unix socket it is left out, as in syslog(3).

use std::io;
use std::path::Path;

use super::datagram::{UdpReceiver, UnixReceiver};
use super::line::Line;
use super::time::LocalTime;

/// Longest message, in bytes: what receivers accept by default.
const MESSAGE_LEN_MAX: usize = 8192;

/// The parts that all messages share.
#[derive(Debug)]
pub(super) struct Envelope {
    facility: u8,
    /// Name of this machine and a space, or nothing.
    host: String,
    process_id: u32,
    time: LocalTime,
}

impl Envelope {
    /// Returns a message, truncated to the longest length.
    fn around(&self, line: &Line<'_>) -> String {
        let level = line.severity.number();
        let mut message = format!(
            "<{}>{} {}longsplice[{}]: {}",
            u16::from(self.facility) * 8 + u16::from(level),
            self.time.bsd(line.time),
            self.host,
            self.process_id,
            line.text,
        );
        message.truncate(message.floor_char_boundary(MESSAGE_LEN_MAX));
        message
    }
}

/// A syslog receiver.
#[derive(Debug)]
pub(super) struct Syslog {
    envelope: Envelope,
    receiver: Receiver,
}

#[derive(Debug)]
enum Receiver {
    Udp(UdpReceiver),
    Unix(UnixReceiver),
}

impl Syslog {
    /// Makes a receiver over UDP, at `HOST:PORT`.
    pub(super) fn udp(receiver: &str, facility: u8, time: LocalTime) -> Self {
        let host = host_name().map_or_else(String::new, |name| name + " ");
        Self {
            envelope: Envelope {
                facility,
                host,
                process_id: std::process::id(),
                time,
            },
            receiver: Receiver::Udp(UdpReceiver::new(receiver)),
        }
    }

    /// Makes a receiver on a unix datagram socket.
    pub(super) fn unix(path: &Path, facility: u8, time: LocalTime) -> Self {
        Self {
            envelope: Envelope {
                facility,
                host: String::new(),
                process_id: std::process::id(),
                time,
            },
            receiver: Receiver::Unix(UnixReceiver::at(path)),
        }
    }

    /// Tries to reach the receiver.
    ///
    /// # Errors
    /// The reason why it cannot be reached now.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        match &mut self.receiver {
            Receiver::Udp(udp) => udp.prepare(),
            Receiver::Unix(unix) => unix.send(|_| Ok(())),
        }
    }

    /// Sends a line that represents `weight` lines.
    ///
    /// # Errors
    /// The reason why the line was not delivered.
    pub(super) fn send(&mut self, line: &Line<'_>, weight: u64) -> io::Result<()> {
        let message = self.envelope.around(line);
        match &mut self.receiver {
            Receiver::Udp(udp) => udp.send(message.as_bytes(), weight),
            Receiver::Unix(unix) => unix.send(|socket| socket.send(message.as_bytes()).map(|_| ())),
        }
    }

    /// Returns how many lines were sent and refused since the last call.
    pub(super) fn take_refused(&mut self) -> u64 {
        match &mut self.receiver {
            Receiver::Udp(udp) => udp.take_refused(),
            Receiver::Unix(_) => 0,
        }
    }
}

/// Returns the name of this machine without its domain (RFC 3164 section 4.1.2).
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let label = name.trim().split('.').next()?;
    (!label.is_empty()).then(|| label.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::line::{Kind, Severity};
    use super::*;
    use std::time::{Duration, SystemTime};
    use tracing::Level;

    fn envelope(host: &str) -> Envelope {
        Envelope {
            facility: 17,
            host: host.to_owned(),
            process_id: 42,
            time: LocalTime::east(0),
        }
    }

    fn line(text: &str) -> Line<'_> {
        Line {
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_233_530_054),
            severity: Severity::Notice,
            text,
            kind: Kind::Diagnostic(Level::INFO),
        }
    }

    #[test]
    fn messages_read_like_this() {
        let rows = [
            ("", "<141>Feb  1 23:14:14 longsplice[42]: said"),
            ("box ", "<141>Feb  1 23:14:14 box longsplice[42]: said"),
        ];
        for (host, expected) in rows {
            assert_eq!(envelope(host).around(&line("said")), expected);
        }
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        let text = "\u{e4}".repeat(MESSAGE_LEN_MAX);
        let message = envelope("").around(&line(&text));
        assert!((MESSAGE_LEN_MAX - 1..=MESSAGE_LEN_MAX).contains(&message.len()));
    }
}
