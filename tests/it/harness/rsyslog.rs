//! rsyslog as the receiver of syslog, over UDP and on a unix socket, with rules of the test's own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::parts::{Part, Running};
use super::{eventually, free_port};

/// A running rsyslogd.
pub(crate) struct Rsyslog {
    _running: Running,
    dir: TempDir,
    port: u16,
}

impl Rsyslog {
    /// Runs it with what `rules` says about files in the folder it gets; none = it is not installed.
    pub(crate) fn start(rules: impl FnOnce(&Path) -> String) -> Option<Self> {
        let mut command = Part::Rsyslog.command()?;
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let at = dir.path().display();
        let text = format!(
            "module(load=\"imudp\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             input(type=\"imuxsock\" Socket=\"{at}/socket\")\n{}",
            rules(dir.path())
        );
        let configuration = dir.path().join("rsyslog.conf");
        fs::write(&configuration, text).unwrap();
        command.arg("-n").arg("-f").arg(&configuration);
        command.arg("-i").arg(dir.path().join("pid"));
        let running = Running::start(&mut command);
        let socket = dir.path().join("socket");
        eventually("rsyslog receives", || {
            socket.exists() && UdpSocket::bind(("127.0.0.1", port)).is_err()
        });
        Some(Self {
            _running: running,
            dir,
            port,
        })
    }

    /// Where it receives over UDP.
    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Returns a file of its folder, in which its socket is named `socket`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Waits until a file has lines that `enough` holds of, and returns it.
    pub(crate) fn wait_for(&self, name: &str, what: &str, enough: impl Fn(&str) -> bool) -> String {
        let read = || fs::read_to_string(self.path(name)).unwrap_or_default();
        eventually(what, || enough(&read()));
        read()
    }
}
