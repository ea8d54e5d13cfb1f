//! Receivers of one datagram per line, which may be absent at times: over UDP and on unix sockets.
//!
//! Lines to an absent receiver are lost and counted, and the receiver is tried again.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Pause between attempts to reach an absent unix socket.
const UNIX_PAUSE: Duration = Duration::from_millis(100);
/// Pause between attempts to resolve a name that has no address.
const NAME_PAUSE: Duration = Duration::from_secs(5);
/// Time for which a resolved address is used while sending to it works.
const NAME_TRUST: Duration = Duration::from_mins(5);

/// A socket that is made on demand, but not more often than every `pause`.
#[derive(Debug)]
struct Link<S> {
    socket: Option<S>,
    pause: Duration,
    /// The last failed attempt to make one, and its error.
    failed: Option<(Instant, io::ErrorKind, String)>,
}

impl<S> Link<S> {
    fn new(pause: Duration) -> Self {
        Self {
            socket: None,
            pause,
            failed: None,
        }
    }

    /// Returns the socket, made by `make` if there is none.
    fn socket(&mut self, make: impl FnOnce() -> io::Result<S>) -> io::Result<&S> {
        if self.socket.is_none() {
            if let Some((at, kind, text)) = &self.failed
                && at.elapsed() < self.pause
            {
                return Err(io::Error::new(*kind, text.clone()));
            }
            match make() {
                Ok(socket) => {
                    self.failed = None;
                    self.socket = Some(socket);
                }
                Err(error) => {
                    self.failed = Some((Instant::now(), error.kind(), error.to_string()));
                    return Err(error);
                }
            }
        }
        self.socket
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// A receiver on a unix datagram socket.
#[derive(Debug)]
pub(super) struct UnixReceiver {
    path: PathBuf,
    link: Link<UnixDatagram>,
}

impl UnixReceiver {
    /// Makes a receiver; its socket need not exist yet.
    pub(super) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            link: Link::new(UNIX_PAUSE),
        }
    }

    /// Calls `send` with the socket; once more with a new one if the receiver was restarted.
    ///
    /// # Errors
    /// The error of socket(2), connect(2) or `send`.
    pub(super) fn send(
        &mut self,
        send: impl Fn(&UnixDatagram) -> io::Result<()>,
    ) -> io::Result<()> {
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(&self.path)?;
            Ok(socket)
        };
        let is_old = self.link.socket.is_some();
        match send(self.link.socket(connect)?) {
            Ok(()) => Ok(()),
            Err(error) if is_its_fault(&error) => Err(error),
            Err(error) => {
                self.link.socket = None;
                if is_old {
                    send(self.link.socket(connect)?).inspect_err(|_| self.link.socket = None)
                } else {
                    Err(error)
                }
            }
        }
    }
}

/// Returns whether the datagram itself was refused, and not the connection.
fn is_its_fault(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMSGSIZE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// A receiver over UDP.
#[derive(Debug)]
pub(super) struct UdpReceiver {
    /// `HOST:PORT`.
    receiver: String,
    link: Link<UdpSocket>,
    /// Time of the last look-up of the receiver's name; none = it is an address.
    looked_up: Option<Instant>,
    /// Number of lines that the last datagram represents.
    last_weight: u64,
    refused: u64,
}

impl UdpReceiver {
    /// Makes a receiver; its name is looked up when the first line is sent.
    pub(super) fn new(receiver: &str) -> Self {
        let is_address = receiver.parse::<SocketAddr>().is_ok();
        Self {
            receiver: receiver.to_owned(),
            link: Link::new(NAME_PAUSE),
            looked_up: (!is_address).then(Instant::now),
            last_weight: 0,
            refused: 0,
        }
    }

    /// Looks the name up and makes a socket, if there is none.
    ///
    /// # Errors
    /// The name has no address, or the system's error if there is no socket.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        self.socket().map(|_| ())
    }

    /// Sends a datagram that represents `weight` lines.
    ///
    /// # Errors
    /// The name has no address, or the error of send(2).
    pub(super) fn send(&mut self, datagram: &[u8], weight: u64) -> io::Result<()> {
        if self.looked_up.is_some_and(|at| at.elapsed() > NAME_TRUST) {
            self.look_up_again();
        }
        let earlier = std::mem::take(&mut self.last_weight);
        let sent = match self.socket()?.send(datagram) {
            // The error belongs to the datagram before; this one was not sent (udp(7)).
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.refused += earlier;
                if self.looked_up.is_some() {
                    self.look_up_again();
                }
                self.socket()?.send(datagram)
            }
            sent => sent,
        };
        match sent {
            Ok(_) => {
                self.last_weight = weight;
                Ok(())
            }
            Err(error) => {
                if !is_its_fault(&error) {
                    self.link.socket = None;
                }
                Err(error)
            }
        }
    }

    /// Returns how many lines were sent and refused since the last call.
    pub(super) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    fn socket(&mut self) -> io::Result<&UdpSocket> {
        let (receiver, looked_up) = (&self.receiver, &mut self.looked_up);
        self.link.socket(|| {
            if let Some(at) = looked_up {
                *at = Instant::now();
            }
            connect(receiver)
        })
    }

    /// Resolves the name again; if it has no address, the previous one is kept.
    fn look_up_again(&mut self) {
        self.looked_up = Some(Instant::now());
        if let Ok(socket) = connect(&self.receiver) {
            self.link.socket = Some(socket);
        }
    }
}

fn connect(receiver: &str) -> io::Result<UdpSocket> {
    let mut refused = io::Error::other("the name has no address");
    for address in receiver.to_socket_addrs()? {
        let any = match address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let made = UdpSocket::bind(any).and_then(|socket| {
            socket.connect(address)?;
            Ok(socket)
        });
        match made {
            Ok(socket) => return Ok(socket),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_receiver_comes_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut receiver = UnixReceiver::at(&path);
        let mut send = |text: &str| receiver.send(|socket| socket.send(text.as_bytes()).map(drop));
        assert!(send("early").is_err());
        let first = UnixDatagram::bind(&path).unwrap();
        std::thread::sleep(UNIX_PAUSE);
        send("one").unwrap();
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        send("two").unwrap();
        let mut buffer = [0; 16];
        let len = second.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"two");
    }

    #[test]
    fn a_refused_datagram_counts_for_as_many_lines_as_it_stood_for() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = gone.local_addr().unwrap();
        drop(gone);
        let mut receiver = UdpReceiver::new(&address.to_string());
        receiver.send(b"notice", 7).unwrap();
        receiver.send(b"line", 1).unwrap();
        assert_eq!((receiver.take_refused(), receiver.take_refused()), (7, 0));
        let here = UdpSocket::bind(address).unwrap();
        receiver.send(b"again", 1).unwrap();
        let mut buffer = [0; 16];
        let len = here.recv(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..len], receiver.take_refused()),
            (&b"again"[..], 1)
        );
    }

    #[test]
    fn a_name_without_an_address_is_an_error_that_is_not_asked_for_again_at_once() {
        let mut receiver = UdpReceiver::new("no-such-name.invalid:514");
        let first = receiver.prepare().unwrap_err().to_string();
        let began = Instant::now();
        assert_eq!(receiver.send(b"x", 1).unwrap_err().to_string(), first);
        assert!(began.elapsed() < Duration::from_millis(50));
    }
}
