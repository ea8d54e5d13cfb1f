//! nginx on the configuration that a scenario had before.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use crate::harness::parts::{Part, Running};
use crate::harness::process::wait_listening_on;
use crate::put;

/// A running nginx.
pub(crate) struct Nginx {
    _running: Running,
    dir: TempDir,
}

impl Nginx {
    /// Runs it and waits until it listens on `fronts`; what it writes goes to a folder of its own.
    /// None = it is not installed.
    pub(crate) fn start(configuration: &str, fronts: &[SocketAddr]) -> Option<Self> {
        let mut command = Part::Nginx.command()?;
        let dir = TempDir::new().unwrap();
        let at = dir.path().display();
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {at}/{name};\n"))
            .concat();
        let text = put(
            configuration,
            &[
                (
                    "events {}",
                    format!("daemon off;\nmaster_process off;\npid {at}/pid;\nevents {{}}"),
                ),
                ("http {\n", format!("http {{\n{folders}")),
                ("/var/log/nginx", at.to_string()),
            ],
        );
        let file = dir.path().join("nginx.conf");
        fs::write(&file, text).unwrap();
        let errors = dir.path().join("error.log");
        let running = Running::start(command.arg("-e").arg(errors).arg("-c").arg(&file));
        for front in fronts {
            wait_listening_on(running.pid(), &front.to_string());
        }
        Some(Self {
            _running: running,
            dir,
        })
    }

    /// Returns what it has written to its access log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default()
    }
}
