//! The proxy that is measured: started with a configuration, and what the kernel charged it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{PATIENCE, Result};

/// How long the proxy must have done nothing to be at rest.
const REST: Duration = Duration::from_millis(5);

/// The proxy; ended when dropped.
pub(super) struct Proxy {
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Proxy {
    /// Starts it with `plan`, which is told where to listen, and waits until it does.
    pub(super) fn start(binary: &Path, plan: impl Fn(SocketAddr) -> String) -> Result<Self> {
        let address = free_address()?;
        let file = std::env::temp_dir().join("longsplice.toml");
        fs::write(&file, plan(address))?;
        let child = Command::new(binary)
            .arg("run")
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()?;
        let mut proxy = Self { child, address };
        let started = Instant::now();
        while !is_listening(address)? {
            if let Some(status) = proxy.child.try_wait()? {
                return Err(format!("the proxy ended: {status}").into());
            }
            if started.elapsed() > PATIENCE {
                return Err("the proxy does not listen".into());
            }
            thread::sleep(REST);
        }
        Ok(proxy)
    }

    /// Waits until the proxy has nothing to do and returns the instructions of all its threads.
    pub(super) fn instructions_at_rest(&self) -> Result<u64> {
        let started = Instant::now();
        let mut last = self.instructions()?;
        loop {
            thread::sleep(REST);
            let now = self.instructions()?;
            if now == last {
                return Ok(now);
            }
            if started.elapsed() > PATIENCE {
                return Err("the proxy does not come to rest".into());
            }
            last = now;
        }
    }

    /// The first field of `/proc/PID/task/TID/schedstat`: Documentation/scheduler/sched-stats.rst.
    fn instructions(&self) -> Result<u64> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let field = text.split(' ').next().unwrap_or_default();
            total += field.parse::<u64>()?;
        }
        Ok(total)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Looks without connecting, so that the proxy sees nothing of it.
fn is_listening(address: SocketAddr) -> Result<bool> {
    let port = format!(":{:04X} ", address.port());
    let table = fs::read_to_string("/proc/net/tcp")?;
    let is_it = |line: &str| line.contains(" 0A ") && line.contains(&port);
    Ok(table.lines().any(is_it))
}
