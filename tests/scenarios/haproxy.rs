//! HAProxy as the balancer of a scenario: what stands in for an ELB or an NLB.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::parts::{Part, Running};
use crate::harness::process::wait_listening_on;

/// A running HAProxy.
pub(crate) struct Haproxy {
    _running: Running,
    dir: TempDir,
}

impl Haproxy {
    /// Runs it in TCP mode on these sections, and waits until it listens on `fronts`; none = it is
    /// not installed.
    pub(crate) fn start(sections: &str, fronts: &[SocketAddr]) -> Option<Self> {
        Self::run(fronts, |dir| {
            format!(
                "global\n  stats socket {}/admin level admin\n\
                 defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
                 {sections}",
                dir.display()
            )
        })
    }

    /// Runs it on a whole configuration.
    pub(crate) fn start_on(configuration: &str, fronts: &[SocketAddr]) -> Option<Self> {
        Self::run(fronts, |_| configuration.to_owned())
    }

    fn run(fronts: &[SocketAddr], configuration: impl FnOnce(&Path) -> String) -> Option<Self> {
        let mut command = Part::Haproxy.command()?;
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("haproxy.cfg");
        fs::write(&file, configuration(dir.path())).unwrap();
        let running = Running::start(command.args(["-db", "-q", "-f"]).arg(&file));
        for front in fronts {
            wait_listening_on(running.pid(), &front.to_string());
        }
        Some(Self {
            _running: running,
            dir,
        })
    }

    /// Gives a command to its administration socket and returns what it says.
    pub(crate) fn admin(&self, command: &str) -> String {
        let mut socket = UnixStream::connect(self.dir.path().join("admin")).unwrap();
        socket.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut said = String::new();
        socket.read_to_string(&mut said).unwrap();
        said
    }
}
