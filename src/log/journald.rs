//! The native protocol of journald: one datagram of fields per line, or a sealed memory file if the datagram
//! would be too long (systemd.io/JOURNAL_NATIVE_PROTOCOL).

use std::borrow::Cow;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::access::{Access, Event};
use super::datagram::UnixReceiver;
use super::fields::{Field, Value, named};
use super::line::{Kind, Line};
use super::time::rfc3339;
use crate::proto::addr::PeerAddr;

const ALWAYS: &[Event] = &Event::ALL;
const ENDS: &[Event] = &[Event::Close, Event::Request, Event::Refused];
const ANSWERED: &[Event] = &[Event::Request, Event::Refused];
const MOVED: &[Event] = &[Event::Progress, Event::Close, Event::Request];

/// The fields that are sent to journald, and for which events.
pub(super) const FIELDS: [(&Field, &[Event]); 10] = [
    (named("event"), ALWAYS),
    (named("listener"), ALWAYS),
    (named("client"), ALWAYS),
    (named("backend"), ALWAYS),
    (named("server"), ALWAYS),
    (named("cause"), ENDS),
    (named("side"), ENDS),
    (named("status"), ANSWERED),
    (named("bytes_in"), MOVED),
    (named("bytes_out"), MOVED),
];

/// The socket of journald.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Name of the memory file, for /proc.
const MEMORY_NAME: &CStr = c"longsplice-log";

/// The journald of this machine.
#[derive(Debug)]
pub(super) struct Journald {
    facility: u8,
    receiver: UnixReceiver,
}

impl Journald {
    /// Makes a sender to the journald of this machine.
    pub(super) fn of_system(facility: u8) -> Self {
        Self::at(Path::new(SOCKET), facility)
    }

    fn at(path: &Path, facility: u8) -> Self {
        Self {
            facility,
            receiver: UnixReceiver::at(path),
        }
    }

    /// Tries to reach journald.
    ///
    /// # Errors
    /// The reason why it cannot be reached now.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        self.receiver.send(|_| Ok(()))
    }

    /// Sends a line.
    ///
    /// # Errors
    /// The reason why the line was not delivered.
    pub(super) fn send(&mut self, line: &Line<'_>) -> io::Result<()> {
        let fields = fields(line, self.facility);
        self.receiver.send(|socket| match socket.send(&fields) {
            Ok(_) => Ok(()),
            Err(error) if is_too_long(&error) => send_in_memory(socket, &fields),
            Err(error) => Err(error),
        })
    }
}

fn is_too_long(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS))
}

/// Sends the fields as a sealed file that cannot be modified any more.
fn send_in_memory(socket: &UnixDatagram, fields: &[u8]) -> io::Result<()> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let memory: OwnedFd = memfd_create(MEMORY_NAME, flags)?;
    let mut memory = File::from(memory);
    memory.write_all(fields)?;
    let seals = SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SEAL;
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals))?;
    let descriptors = [memory.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let nothing: [IoSlice<'_>; 0] = [];
    sendmsg::<()>(
        socket.as_raw_fd(),
        &nothing,
        &rights,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}

/// Writes all fields of a line.
pub(super) fn fields(line: &Line<'_>, facility: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    put(&mut out, "MESSAGE", line.text);
    put(&mut out, "PRIORITY", &line.severity.number().to_string());
    put(&mut out, "SYSLOG_FACILITY", &facility.to_string());
    put(&mut out, "SYSLOG_IDENTIFIER", "longsplice");
    if let Kind::Access(access) = line.kind {
        put_access(&mut out, access);
    }
    out
}

fn put_access(out: &mut Vec<u8>, access: &Access<'_>) {
    for (field, events) in FIELDS {
        if !events.contains(&access.event) {
            continue;
        }
        if let Some(value) = written((field.read)(access)) {
            put(out, &name_of(field), &value);
        }
    }
}

/// Returns journald's name of a field.
pub(super) fn name_of(field: &Field) -> String {
    format!("LONGSPLICE_{}", field.name.to_ascii_uppercase())
}

/// Returns a value in journald's form; none if the field is left out.
fn written(value: Value<'_>) -> Option<Cow<'_, str>> {
    Some(match value {
        Value::Absent | Value::Null | Value::Host(PeerAddr::Unix) => return None,
        Value::Text(text) => text.into(),
        Value::Number(number) => number.to_string().into(),
        Value::Time(time) => rfc3339(time).into(),
        Value::Host(PeerAddr::Inet(addr)) => addr.ip().to_string().into(),
        Value::Address(addr) => addr.to_string().into(),
        Value::Path(path) => path.to_string().into(),
    })
}

/// Writes a field: `NAME=value`, or with its length if the value has more than one line.
fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::line::Severity;
    use super::*;
    use nix::sys::socket::{ControlMessageOwned, recvmsg};
    use std::io::IoSliceMut;
    use std::os::fd::RawFd;
    use std::time::SystemTime;
    use tracing::Level;

    fn line(text: &str) -> Line<'_> {
        Line {
            time: SystemTime::UNIX_EPOCH,
            severity: Severity::Warning,
            text,
            kind: Kind::Diagnostic(Level::WARN),
        }
    }

    #[test]
    fn fields_read_like_this() {
        let expected =
            "MESSAGE=said\nPRIORITY=4\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=longsplice\n";
        assert_eq!(fields(&line("said"), 3), expected.as_bytes());
        let mut lines = Vec::new();
        put(&mut lines, "A", "b\nc");
        assert_eq!(lines, b"A\n\x03\0\0\0\0\0\0\0b\nc\n");
    }

    #[test]
    fn what_no_datagram_holds_comes_as_a_sealed_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut journald = Journald::at(&path, 3);
        let long = "x".repeat(4 * 1024 * 1024);
        for (text, len_datagram) in [("short", 72), (long.as_str(), 0)] {
            journald.send(&line(text)).unwrap();
            let mut buffer = [0; 128];
            let mut buffers = [IoSliceMut::new(&mut buffer)];
            let mut space = nix::cmsg_space!([RawFd; 1]);
            let flags = MsgFlags::empty();
            let got =
                recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut space), flags).unwrap();
            assert_eq!(got.bytes, len_datagram, "{got:?}");
            let mut descriptors: Vec<RawFd> = Vec::new();
            for message in got.cmsgs().unwrap() {
                if let ControlMessageOwned::ScmRights(passed) = message {
                    descriptors.extend(passed);
                }
            }
            if len_datagram > 0 {
                assert!(descriptors.is_empty());
                continue;
            }
            let memory = format!("/proc/self/fd/{}", descriptors[0]);
            assert_eq!(std::fs::read(&memory).unwrap(), fields(&line(text), 3));
            let changed = File::options().write(true).open(&memory);
            assert!(changed.and_then(|mut file| file.write_all(b"y")).is_err());
        }
    }
}
