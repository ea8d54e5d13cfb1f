//! One end of a TLS connection, client or server alike, under the test's control.
//!
//! No read and no write waits longer than `PATIENCE`. Methods without a `Result` panic when the other
//! side does not do what the test demands of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::{Deref, DerefMut};

use rustls::{ConnectionCommon, SideData};

use super::PATIENCE;
use super::peer::wait_stalled;

/// One end of a TLS connection; `C` is rustls's connection of a client or a server.
pub(crate) struct TlsEnd<C> {
    pub(crate) tls: C,
    pub(crate) tcp: TcpStream,
}

/// Bounds what a read and a write may wait, and lets every write travel at once.
pub(crate) fn set_up(tcp: &TcpStream) {
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_write_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
}

impl<C, S> TlsEnd<C>
where
    C: DerefMut + Deref<Target = ConnectionCommon<S>>,
    S: SideData,
{
    /// The connection as a stream of plaintext.
    pub(crate) fn stream(&mut self) -> rustls::Stream<'_, C, TcpStream> {
        rustls::Stream::new(&mut self.tls, &mut self.tcp)
    }

    /// Goes on until the handshake is complete.
    pub(crate) fn shake(&mut self) -> std::io::Result<()> {
        while self.tls.is_handshaking() {
            self.tls.complete_io(&mut self.tcp)?;
        }
        Ok(())
    }

    /// Sends all of `bytes`.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let mut stream = self.stream();
        stream.write_all(bytes.as_ref()).unwrap();
        stream.flush().unwrap();
    }

    /// Waits until what is there to be received grows no more although nothing is received.
    pub(crate) fn wait_stalled(&self) {
        wait_stalled(&self.tcp);
    }

    /// Receives as many bytes as `bytes` has, and demands that they are the same.
    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let mut got = vec![0; bytes.as_ref().len()];
        self.stream().read_exact(&mut got).unwrap();
        assert!(got == bytes.as_ref(), "other bytes came");
    }

    /// Sends something to a peer that sends it back, if all goes well.
    pub(crate) fn try_echo(&mut self) -> std::io::Result<()> {
        let mut stream = self.stream();
        stream.write_all(b"echo")?;
        stream.read_exact(&mut [0; 4])
    }

    /// Reads up to the end; an error unless it is a close_notify.
    pub(crate) fn read_to_end(&mut self) -> std::io::Result<Vec<u8>> {
        let mut got = Vec::new();
        self.stream().read_to_end(&mut got)?;
        Ok(got)
    }

    /// Reads up to the end of a head.
    pub(crate) fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        let mut stream = self.stream();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// Says close_notify and goes on listening.
    pub(crate) fn notify(&mut self) {
        self.tls.send_close_notify();
        self.tls.write_tls(&mut self.tcp).unwrap();
    }

    /// Ends without close_notify.
    pub(crate) fn truncate(&self) {
        self.tcp.shutdown(Shutdown::Write).unwrap();
    }
}
