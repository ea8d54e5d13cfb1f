//! OpenSSL at either end of a connection, driven by what is typed and watched by what it shows.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::PATIENCE;
use super::parts::Part;

/// `openssl s_server` or `openssl s_client`, which shows what comes and sends what is typed.
///
/// With the option `-msg` it shows each message of TLS too: `>>>` what it sends, `<<<` what it gets.
pub(crate) struct Openssl {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Openssl {
    /// Starts a server with the certificate and key of these files, and waits until it listens.
    pub(crate) fn server([cert, key]: [&str; 2], port: u16, options: &[&str]) -> Self {
        let mut openssl = Part::Openssl.command().unwrap();
        openssl
            .args(["s_server", "-accept", &port.to_string()])
            .args(options)
            .args(["-cert", cert, "-key", key]);
        let server = Self::start(&mut openssl);
        server.await_line("ACCEPT");
        server
    }

    /// Starts a client that connects to `addr`.
    pub(crate) fn client(addr: SocketAddr, options: &[&str]) -> Self {
        let mut openssl = Part::Openssl.command().unwrap();
        openssl
            .args(["s_client", "-connect", &addr.to_string()])
            .args(options);
        Self::start(&mut openssl)
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            stdin: child.stdin.take().unwrap(),
            child,
            lines,
        }
    }

    /// Waits until it shows a line that holds `text`.
    pub(crate) fn await_line(&self, text: &str) {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("openssl does not show {text:?}"));
            if line.contains(text) {
                return;
            }
        }
    }

    /// Types a command of one letter. It is one only if nothing else comes in the same read: what was
    /// typed before must have been seen to arrive.
    pub(crate) fn command(&mut self, letter: char) {
        self.type_line(&letter.to_string());
    }

    /// Types a line, which is sent to the other end.
    pub(crate) fn type_line(&mut self, line: &str) {
        self.stdin
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
