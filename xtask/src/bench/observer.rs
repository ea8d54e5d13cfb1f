//! An observer that reads a proxy's statistics once a second, as a monitoring system does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

/// Interval between requests.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time limit of an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends a request at once, and then once per [`INTERVAL`], on a thread of its own.
#[derive(Debug)]
pub(super) struct Observer {
    stop: Sender<()>,
    asking: JoinHandle<Result<()>>,
}

impl Observer {
    /// Starts the requests, on the core of the calling thread.
    pub(super) fn start(http: SocketAddr, scratch: &Path) -> Self {
        let (stop, is_over) = mpsc::channel();
        let socket: PathBuf = scratch.join("admin.sock");
        let asking = thread::spawn(move || {
            loop {
                ask_metrics(http).context("/metrics")?;
                ask_status(&socket).context("admin socket")?;
                if is_over.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return Ok(());
                }
            }
        });
        Self { stop, asking }
    }

    /// Stops the observer.
    ///
    /// # Errors
    /// A missing answer.
    pub(super) fn finish(self) -> Result<()> {
        drop(self.stop);
        let asked = self.asking.join();
        asked.map_err(|_| anyhow!("the observer panicked"))?
    }
}

fn ask_metrics(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let is_good = answer.starts_with("HTTP/1.1 200 ") && answer.contains("\nlongsplice_");
    ensure!(is_good, "{answer}");
    Ok(())
}

fn ask_status(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"{\"command\":\"status\"}\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.contains("tunnels"), "{answer}");
    Ok(())
}
