//! Applications on Erlang, each with its own node, ports and folder, and ended with their value.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::free_port;
use crate::harness::parts::{Running, file, in_path, or_skip};
use crate::harness::process::wait_listening_on;
use crate::put;

/// A running application.
pub(super) struct Application {
    /// The port that demands a PROXY line.
    pub(super) told: u16,
    /// The port without.
    pub(super) plain: u16,
    running: Running,
    /// What it said that nobody waited for yet.
    lines: RefCell<Vec<String>>,
    /// What must outlive it.
    _more: Option<Running>,
    /// Holds all that it writes.
    _dir: TempDir,
}

impl Application {
    /// Waits until a line with `part` in it has come.
    pub(super) fn wait_line(&self, part: &str) {
        let mut lines = self.lines.borrow_mut();
        while !lines.iter().any(|line| line.contains(part)) {
            lines.push(self.running.line());
        }
    }
}

/// A program of Erlang with a library and those beside it, all of which the part brings; `*` in the
/// pattern of their folder stands for any name. None = it is not installed.
fn program(part: &str, name: &str, pattern: &str, library: &str) -> Option<Command> {
    let found = libraries(pattern, &format!("{library}-")).and_then(|folder| {
        let mut command = Command::new(in_path(name)?);
        command.env("ERL_LIBS", folder);
        Some(command)
    });
    or_skip(part, found)
}

/// Finds the folder that fits the pattern and holds something whose name begins so.
fn libraries(pattern: &str, start: &str) -> Option<PathBuf> {
    let (before, after) = pattern.split_once('*')?;
    let folders = Path::new(before).read_dir().ok()?.flatten();
    folders
        .map(|entry| entry.path().join(after.trim_start_matches('/')))
        .find(|folder| {
            let entries = folder.read_dir().into_iter().flatten().flatten();
            let mut names = entries.map(|entry| entry.file_name());
            names.any(|name| name.to_string_lossy().starts_with(start))
        })
}

/// The application of this folder, on Cowboy; none = it is not installed.
pub(super) fn cowboy() -> Option<Application> {
    cowboy_on([0, 0])
}

/// The same on these ports, 0 for any.
pub(super) fn cowboy_on(ports: [u16; 2]) -> Option<Application> {
    let mut command = program(
        "rabbitmq-server",
        "escript",
        "/usr/lib/rabbitmq/lib/*/plugins",
        "cowboy",
    )?;
    let dir = TempDir::new().unwrap();
    let command = command
        .arg(file("scenarios/s1_local_elb/app.erl"))
        .args(ports.map(|port| port.to_string()));
    let running = Running::start(command.env("HOME", dir.path()));
    Some(Application {
        told: running.port(),
        plain: running.port(),
        running,
        lines: RefCell::default(),
        _more: None,
        _dir: dir,
    })
}

/// Writes a configuration with the ports of this run into `dir`; returns the two ports.
fn configure(dir: &Path, name: &str, text: &str) -> (u16, u16) {
    let (told, plain) = (free_port(), free_port());
    let text = put(
        text,
        &[("8181", told.to_string()), ("8180", plain.to_string())],
    );
    fs::write(dir.join(name), text).unwrap();
    (told, plain)
}

/// RabbitMQ with STOMP over WebSockets; none = it is not installed.
///
/// It finds and starts nothing of an installed one: its node, its port mapper and its files are its
/// own, and it listens on 127.0.0.1 only.
pub(super) fn rabbitmq() -> Option<Application> {
    let server = Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    let found = server.exists().then(|| Command::new(server));
    let mut command = or_skip("rabbitmq-server", found)?;
    let dir = TempDir::new().unwrap();
    let (told, plain) = configure(dir.path(), "rabbitmq.conf", include_str!("rabbitmq.conf"));
    let path = |name: &str| dir.path().join(name);
    fs::write(
        path("enabled_plugins"),
        "[rabbitmq_management, rabbitmq_web_stomp].",
    )
    .unwrap();
    let mapper_port = free_port();
    let mapper = port_mapper(mapper_port);
    command
        .env("HOME", dir.path())
        .env("ERL_EPMD_PORT", mapper_port.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_DIST_PORT", free_port().to_string())
        .env("RABBITMQ_NODENAME", "scenario@localhost")
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("RABBITMQ_LOGS", "-")
        // The script becomes the server instead of waiting for it.
        .env("RABBITMQ_ALLOW_INPUT", "1")
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-noinput -kernel inet_dist_use_interface {127,0,0,1}",
        );
    for (variable, name) in [
        ("MNESIA_BASE", "mnesia"),
        ("LOG_BASE", "log"),
        ("CONFIG_FILE", "rabbitmq"),
        ("ADVANCED_CONFIG_FILE", "advanced"),
        ("GENERATED_CONFIG_DIR", "generated"),
        ("ENABLED_PLUGINS_FILE", "enabled_plugins"),
        ("FEATURE_FLAGS_FILE", "feature_flags"),
        ("PLUGINS_EXPAND_DIR", "plugins"),
        ("PID_FILE", "pid"),
    ] {
        command.env(format!("RABBITMQ_{variable}"), path(name));
    }
    let app = Application {
        told,
        plain,
        running: Running::start(&mut command),
        lines: RefCell::default(),
        _more: Some(mapper),
        _dir: dir,
    };
    app.wait_line("Server startup complete");
    Some(app)
}

/// Starts the port mapper that a node with a name needs.
fn port_mapper(port: u16) -> Running {
    let mut epmd = Command::new("epmd");
    let running = Running::start(epmd.args(["-address", "127.0.0.1", "-port", &port.to_string()]));
    wait_listening_on(running.pid(), &format!("127.0.0.1:{port}"));
    running
}

/// ejabberd with XMPP over WebSockets; none = it is not installed. Its node has no name.
pub(super) fn ejabberd() -> Option<Application> {
    let mut command = program("ejabberd", "erl", "/usr/lib/*", "ejabberd")?;
    let dir = TempDir::new().unwrap();
    let (told, plain) = configure(dir.path(), "ejabberd.yml", include_str!("ejabberd.yml"));
    let path = |name: &str| dir.path().join(name);
    // Erlang reads the value of -mnesia as a term.
    let spool = format!("\"{}\"", path("spool").display());
    command
        .args([
            "-noshell", "-noinput", "-mnesia", "dir", &spool, "-s", "ejabberd",
        ])
        .env("HOME", dir.path())
        .env("EJABBERD_CONFIG_PATH", path("ejabberd.yml"))
        .env("EJABBERD_LOG_PATH", path("ejabberd.log"))
        .env("ERL_CRASH_DUMP", path("crash"));
    let app = Application {
        told,
        plain,
        running: Running::start(&mut command),
        lines: RefCell::default(),
        _more: None,
        _dir: dir,
    };
    for port in [told, plain] {
        app.wait_line(&format!(
            "Start accepting TCP connections at 127.0.0.1:{port} "
        ));
    }
    Some(app)
}
