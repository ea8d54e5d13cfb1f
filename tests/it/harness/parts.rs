//! Real programs that tests put around the proxy: found, started, ended.
//!
//! A part that is not installed skips its test, unless LONGSPLICE_TEST_REQUIRE names it (a list
//! with commas, or `all`): then the test fails.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{PATIENCE, within};

/// How long a program may take to end when it is asked to.
const ENDING_TIME: Duration = Duration::from_secs(3);

/// A program that may be missing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// Node with `ws`, `socket.io` and `socket.io-client`.
    Node,
    /// Python with the packages of `tests/real/requirements.txt`.
    Websockets,
    /// The same Python with the packages of `tests/real/old-aiohttp.txt` before the others.
    OldAiohttp,
    /// Plain Python.
    Python,
    /// curl.
    Curl,
    /// ApacheBench, which speaks HTTP/1.0.
    Ab,
    /// HAProxy.
    Haproxy,
    /// nginx.
    Nginx,
    /// OpenSSL's command line.
    Openssl,
    /// Chromium, as the browser.
    Chromium,
    /// systemd's systemd-socket-activate.
    SocketActivate,
    /// systemd's systemd-analyze.
    Analyze,
    /// wrk.
    Wrk,
    /// HAProxy's reader of its logs.
    Halog,
    /// GoAccess, which reads access logs.
    Goaccess,
    /// rsyslog, as the receiver of syslog.
    Rsyslog,
    /// logrotate.
    Logrotate,
    /// tmux, as the terminal.
    Tmux,
    /// uWSGI with its plugin for Python.
    Uwsgi,
}

impl Part {
    /// Returns the name in LONGSPLICE_TEST_REQUIRE and in messages.
    fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Websockets => "websockets",
            Self::OldAiohttp => "old-aiohttp",
            Self::Python => "python",
            Self::Curl => "curl",
            Self::Ab => "ab",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Openssl => "openssl",
            Self::Chromium => "chromium",
            Self::SocketActivate | Self::Analyze => "systemd",
            Self::Wrk => "wrk",
            Self::Halog => "haproxy",
            Self::Goaccess => "goaccess",
            Self::Rsyslog => "rsyslog",
            Self::Logrotate => "logrotate",
            Self::Tmux => "tmux",
            Self::Uwsgi => "uwsgi",
        }
    }

    /// Returns a command that runs the program, or none after saying that the test is skipped.
    pub(crate) fn command(self) -> Option<Command> {
        let found = match self {
            Self::Node => node(),
            Self::Websockets => python(),
            Self::OldAiohttp => old_aiohttp(),
            Self::Python => in_path("python3").map(Command::new),
            Self::Curl => in_path("curl").map(Command::new),
            Self::Ab => in_path("ab").map(Command::new),
            Self::Haproxy => in_path("haproxy").map(Command::new),
            Self::Nginx => in_path("nginx").map(Command::new),
            Self::Openssl => in_path("openssl").map(Command::new),
            Self::Chromium => in_path("chromium").map(Command::new),
            Self::SocketActivate => in_path("systemd-socket-activate").map(Command::new),
            Self::Analyze => in_path("systemd-analyze").map(Command::new),
            Self::Wrk => in_path("wrk").map(Command::new),
            Self::Halog => in_path("halog").map(Command::new),
            Self::Goaccess => in_path("goaccess").map(Command::new),
            Self::Rsyslog => in_path("rsyslogd").map(Command::new),
            Self::Logrotate => in_path("logrotate").map(Command::new),
            Self::Tmux => in_path("tmux").map(Command::new),
            Self::Uwsgi => in_path("uwsgi-core").map(Command::new),
        };
        or_skip(self.name(), found)
    }
}

/// Hands on the command of the part of this name; none = says that a test is skipped, or fails it
/// where the part is required.
pub(crate) fn or_skip(name: &str, found: Option<Command>) -> Option<Command> {
    if found.is_none() {
        let required = std::env::var("LONGSPLICE_TEST_REQUIRE").unwrap_or_default();
        let required = required
            .split(',')
            .any(|required| [name, "all"].contains(&required.trim()));
        assert!(!required, "{name} is required and not installed");
        println!("skipped: {name} is not installed");
    }
    found
}

/// Python with packages.
fn python() -> Option<Command> {
    std::env::var_os("LONGSPLICE_TEST_PYTHON")
        .filter(|python| Path::new(python).exists())
        .map(Command::new)
}

fn old_aiohttp() -> Option<Command> {
    let folder = std::env::var_os("LONGSPLICE_TEST_OLD_AIOHTTP")?;
    let mut command = python()?;
    command.env("PYTHONPATH", folder);
    Some(command)
}

/// Node, when the folder with its packages is known.
fn node() -> Option<Command> {
    let packages = std::env::var_os("LONGSPLICE_TEST_NODE_PATH")?;
    if !Path::new(&packages).join("ws").exists() {
        return None;
    }
    let mut command = Command::new(in_path("node")?);
    command.env("NODE_PATH", packages);
    Some(command)
}

/// Finds a program in PATH or among the daemons.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Returns a file of `tests/`.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// A program that runs beside the test and ends with this value.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts a command; its standard output is read by [`Running::line`].
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next line of its standard output.
    pub(crate) fn line(&self) -> String {
        self.lines
            .recv_timeout(PATIENCE)
            .expect("the program says nothing more")
    }

    /// Waits for the next line and reads it as the port the program listens on.
    pub(crate) fn port(&self) -> u16 {
        let line = self.line();
        line.parse()
            .unwrap_or_else(|_| panic!("a port was expected: {line}"))
    }
}

impl Drop for Running {
    /// Asks it to end first: who has processes of its own takes them along.
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.pid().try_into().unwrap());
        // Already gone is fine, here and below.
        let _ = kill(pid, Signal::SIGTERM);
        let _ = within(ENDING_TIME, || !matches!(self.child.try_wait(), Ok(None)));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end, within `PATIENCE`, demands success, and returns its standard output.
pub(crate) fn finish(command: &mut Command) -> String {
    finish_within(command, PATIENCE)
}

/// Like [`finish`], within another time.
pub(crate) fn finish_within(command: &mut Command, patience: Duration) -> String {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let mut status = None;
    let ended = within(patience, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    if !ended {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    assert!(
        status.is_some_and(|status| status.success()),
        "{command:?}: {status:?}\n{stdout}\n{stderr}"
    );
    stdout
}

fn collect(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
