//! The process under test: started on a configuration, watched through its log and /proc, ended.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use toml::de::DeTable;

use super::peer::Peer;
use super::{PATIENCE, eventually, settled, within};

/// Returns the program under test: the one cargo built, or the one LONGSPLICE_TEST_BINARY names.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("LONGSPLICE_TEST_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_longsplice").into(), PathBuf::from)
}

/// Lines of an output stream, as they come.
#[derive(Default)]
struct Lines {
    lines: Mutex<(Vec<String>, bool)>,
    grown: Condvar,
}

impl Lines {
    fn follow(stream: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Arc::new(Self::default());
        let writer = Arc::clone(&lines);
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).unwrap_or(0) > 0 {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                writer.lines.lock().unwrap().0.push(text);
                writer.grown.notify_all();
                line.clear();
            }
            writer.lines.lock().unwrap().1 = true;
            writer.grown.notify_all();
        });
        lines
    }

    fn snapshot(&self) -> Vec<String> {
        self.lines.lock().unwrap().0.clone()
    }

    /// Waits for a line of which `look` makes something.
    fn wait<T>(&self, what: &str, mut look: impl FnMut(&str) -> Option<T>) -> T {
        let started = Instant::now();
        let mut seen = 0;
        let mut guard = self.lines.lock().unwrap();
        loop {
            while let Some(line) = guard.0.get(seen) {
                if let Some(found) = look(line) {
                    return found;
                }
                seen += 1;
            }
            let left = PATIENCE.saturating_sub(started.elapsed());
            if left.is_zero() || guard.1 {
                let all = guard.0.join("\n");
                // A lock poisoned by the panic would hide the log from `drop`.
                drop(guard);
                panic!("no line with {what}; lines:\n{all}");
            }
            guard = self.grown.wait_timeout(guard, left).unwrap().0;
        }
    }

    /// Waits for the end of the stream.
    fn wait_end(&self) {
        let mut guard = self.lines.lock().unwrap();
        let started = Instant::now();
        while !guard.1 && started.elapsed() < PATIENCE {
            guard = self.grown.wait_timeout(guard, PATIENCE).unwrap().0;
        }
    }
}

/// A running longsplice.
pub(crate) struct Proxy {
    child: Child,
    binds: Vec<String>,
    stdout: Arc<Lines>,
    stderr: Arc<Lines>,
    /// Holds the configuration; removed with this value.
    dir: TempDir,
    ended: Option<ExitStatus>,
}

impl Proxy {
    /// Runs `longsplice run -c FILE` and waits until every address of the file is listened on.
    pub(crate) fn start(toml: &str) -> Self {
        let mut proxy = Self::spawn(toml);
        proxy.wait_listening();
        proxy
    }

    /// Runs `longsplice run -c FILE` and returns at once.
    pub(crate) fn spawn(toml: &str) -> Self {
        Self::spawn_through(&[], toml)
    }

    /// Like [`Proxy::spawn`], with `wrapper` in front of the command: a program and its arguments,
    /// which must end by executing what follows them.
    pub(crate) fn spawn_through(wrapper: &[&str], toml: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("longsplice.toml");
        fs::write(&file, toml).unwrap();
        let program = binary();
        let words: Vec<&str> = wrapper
            .iter()
            .copied()
            .chain([program.to_str().unwrap(), "run", "-c"])
            .collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(&file).stdin(Stdio::null());
        Self::launch(command, dir, binds_of(toml))
    }

    /// Runs longsplice with these arguments and waits until `binds` are listened on.
    pub(crate) fn start_with(arguments: &[&str], binds: &[String]) -> Self {
        let mut command = Command::new(binary());
        command.args(arguments);
        Self::start_command(command, binds)
    }

    /// Runs a command that ends by executing longsplice and waits until `binds` are listened on.
    pub(crate) fn start_command(command: Command, binds: &[String]) -> Self {
        let mut proxy = Self::launch(command, TempDir::new().unwrap(), binds.to_vec());
        proxy.wait_listening();
        proxy
    }

    /// Runs a command that becomes longsplice with the configuration `toml` and returns at once;
    /// its standard input is the command's, and `dir` lives as long as the process.
    pub(crate) fn launch_in(command: Command, dir: TempDir, toml: &str) -> Self {
        Self::launch(command, dir, binds_of(toml))
    }

    fn launch(mut command: Command, dir: TempDir, binds: Vec<String>) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdout: Lines::follow(child.stdout.take().unwrap()),
            stderr: Lines::follow(child.stderr.take().unwrap()),
            child,
            binds,
            dir,
            ended: None,
        }
    }

    /// Waits until this process (not another one) listens on every address it was given.
    pub(crate) fn wait_listening(&mut self) {
        let mut found = HashSet::new();
        let listens = within(PATIENCE, || {
            found = listening(self.pid());
            if self.binds.iter().all(|bind| found.contains(bind)) {
                return true;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                self.ended = Some(status);
                self.stderr.wait_end();
                panic!("longsplice ended: {status}\n{}", self.log());
            }
            false
        });
        assert!(
            listens,
            "not listening on {:?} but on {found:?}\n{}",
            self.binds,
            self.log()
        );
    }

    /// Puts another configuration in place of the present one; the process is not told.
    pub(crate) fn rewrite(&self, toml: &str) {
        fs::write(self.dir.path().join("longsplice.toml"), toml).unwrap();
    }

    /// Has another configuration read by SIGHUP, and returns the line that tells what came of it.
    pub(crate) fn reload(&self, toml: &str) -> String {
        self.rewrite(toml);
        self.reload_again()
    }

    /// Has the configuration read again by SIGHUP, and returns the line that tells what came of it.
    pub(crate) fn reload_again(&self) -> String {
        let outcomes = || {
            let mut lines = self.log_lines();
            lines.retain(|line| line.contains(" reloaded"));
            lines
        };
        let before = outcomes().len();
        self.signal(Signal::SIGHUP);
        let mut last = None;
        eventually("the reload is over", || {
            last = outcomes().into_iter().nth(before);
            last.is_some()
        });
        last.unwrap()
    }

    /// Waits until this process (not another one) listens on `addr`.
    pub(crate) fn wait_listening_on(&self, addr: SocketAddr) {
        wait_listening_on(self.pid(), &addr.to_string());
    }

    /// Tells whether the process listens on `addr`.
    pub(crate) fn listens_on(&self, addr: SocketAddr) -> bool {
        listening(self.pid()).contains(&addr.to_string())
    }

    /// Waits until the process has received all that `client` sent, so that what `client` sends next
    /// comes in a receive of its own.
    pub(crate) fn wait_received(&self, client: &Peer) {
        let (theirs, ours) = (client.local_addr(), client.peer_addr());
        eventually("what the client sent is received", || {
            unreceived(self.pid(), ours, theirs) == Some(0)
        });
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the first address it listens on.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.binds[0].parse().unwrap()
    }

    /// Connects to the first address it listens on.
    pub(crate) fn connect(&self) -> Peer {
        Peer::connect(self.addr())
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().try_into().unwrap()), signal).unwrap();
    }

    /// Stops the process and waits until every thread of it stands still; SIGCONT lets it go on.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        eventually("every thread stands still", || {
            let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
            threads.filter_map(Result::ok).all(|thread| {
                let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                // The state comes behind the name, which may hold anything.
                let state = stat
                    .rsplit_once(')')
                    .and_then(|(_, rest)| rest.trim().chars().next());
                matches!(state, Some('T') | None)
            })
        });
    }

    /// Waits for the end of the process and returns its exit code; none = killed by a signal.
    pub(crate) fn wait_exit(&mut self) -> Option<i32> {
        let ended = within(PATIENCE, || !self.is_running());
        assert!(ended, "still running; log:\n{}", self.log());
        self.stderr.wait_end();
        self.stdout.wait_end();
        self.ended.unwrap().code()
    }

    /// Tells whether the process runs.
    pub(crate) fn is_running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended.is_none()
    }

    /// Returns how many descriptors the process holds.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .unwrap()
            .count()
    }

    /// Waits until the number of descriptors stands still, as it does when every thread has what it
    /// works with, and returns it.
    pub(crate) fn settled_descriptors(&self) -> usize {
        settled("descriptors stand still", || self.descriptors())
    }

    /// Returns the memory the process holds, in KiB (VmRSS).
    pub(crate) fn resident_kib(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.and_then(|line| line.split_whitespace().nth(1))
            .and_then(|kib| kib.parse().ok())
            .unwrap()
    }

    /// Returns the processor time it has used, in clock ticks of 10 ms (proc_pid_stat(5)).
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Waits until the process holds `count` descriptors again.
    pub(crate) fn wait_descriptors(&self, count: usize) {
        let mut last = 0;
        let held = within(PATIENCE, || {
            last = self.descriptors();
            last == count
        });
        assert!(held, "{last} descriptors instead of {count}");
    }

    /// Returns everything it wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.snapshot().join("\n")
    }

    /// Returns the lines it wrote to standard error so far.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.stderr.snapshot()
    }

    /// Waits for a line on standard output of which `look` makes something.
    pub(crate) fn wait_stdout<T>(&self, what: &str, look: impl FnMut(&str) -> Option<T>) -> T {
        self.stdout.wait(what, look)
    }

    /// Waits for a diagnostic in which each of these texts stands.
    pub(crate) fn wait_said(&self, parts: &[&str]) -> String {
        self.stderr.wait(&parts.join(" and "), |line| {
            let said = access_line(line).is_none() && parts.iter().all(|part| line.contains(part));
            said.then(|| line.to_owned())
        })
    }

    /// Returns how many diagnostics so far hold each of these texts.
    pub(crate) fn count_said(&self, parts: &[&str]) -> usize {
        let lines = self.stderr.snapshot();
        let said = |line: &&String| parts.iter().all(|part| line.contains(part));
        lines.iter().filter(said).count()
    }

    /// Returns the access lines so far.
    pub(crate) fn access_lines(&self) -> Vec<Value> {
        self.stderr
            .snapshot()
            .iter()
            .filter_map(|line| access_line(line))
            .collect()
    }

    /// Waits for an access line with this `event` that `fits`.
    pub(crate) fn wait_access(&self, event: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
        self.stderr.wait(event, |line| {
            access_line(line).filter(|line| line["event"] == event && fits(line))
        })
    }

    /// Waits for an access line with this `event` and `cause`.
    pub(crate) fn wait_cause(&self, event: &str, cause: &str) -> Value {
        self.stderr.wait(&format!("{event} and {cause}"), |line| {
            access_line(line).filter(|line| line["event"] == event && line["cause"] == cause)
        })
    }

    /// Demands that the process still lives and wrote no line that speaks of a defect.
    pub(crate) fn expect_sound(&mut self) {
        assert!(self.is_running(), "it died; log:\n{}", self.log());
        for line in self.log_lines() {
            let lower = line.to_lowercase();
            assert!(
                !lower.contains("panicked") && !lower.contains("internal-error"),
                "{line}"
            );
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let lines = self.stderr.snapshot();
            let tail = lines.len().saturating_sub(40);
            eprintln!("--- end of longsplice's log\n{}", lines[tail..].join("\n"));
        }
    }
}

/// What a command that ends by itself said.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

/// Runs longsplice to its end.
pub(crate) fn run(arguments: &[&str]) -> Outcome {
    let output = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs `longsplice ctl` with these words at an admin socket.
pub(crate) fn ctl(socket: &Path, words: &str) -> Outcome {
    let mut arguments = vec!["ctl", "--socket", socket.to_str().unwrap()];
    arguments.extend(words.split(' '));
    run(&arguments)
}

/// Reads a log line as an access line; none = a diagnostic.
fn access_line(line: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    value.get("event").is_some().then_some(value)
}

/// Returns every address that the listeners of a configuration bind; none if it is no TOML.
fn binds_of(toml: &str) -> Vec<String> {
    let Ok(table) = DeTable::parse(toml) else {
        return Vec::new();
    };
    let listeners = table.get_ref().get("listener");
    let listeners = listeners.and_then(|value| value.get_ref().as_array());
    listeners
        .into_iter()
        .flatten()
        .filter_map(|listener| listener.get_ref().get("bind"))
        .filter_map(|bind| bind.get_ref().as_array())
        .flatten()
        .filter_map(|bind| bind.get_ref().as_str().map(str::to_owned))
        .collect()
}

/// Returns the addresses a process listens on, as configurations write them (proc_pid_net(5)).
fn listening(pid: u32) -> HashSet<String> {
    let own = sockets_of(pid);
    let mut found = HashSet::new();
    for (file, v6) in [("tcp", false), ("tcp6", true)] {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[3] == "0A" && own.contains(fields[9]) {
                found.insert(address_of(fields[1], v6));
            }
        }
    }
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap_or_default();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Flags: SO_ACCEPTCON, the socket listens.
        if fields.len() == 8 && fields[3] == "00010000" && own.contains(fields[6]) {
            found.insert(format!("unix:{}", fields[7]));
        }
    }
    found
}

/// Returns how many bytes wait to be received on the connection from `theirs` to `ours`, both of IPv4
/// (proc_pid_net(5)); none = there is no such connection.
fn unreceived(pid: u32, ours: SocketAddr, theirs: SocketAddr) -> Option<u64> {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = |field, addr: SocketAddr| address_of(field, false) == addr.to_string();
        if !is_it(fields[1], ours) || !is_it(fields[2], theirs) {
            return None;
        }
        let (_to_send, to_receive) = fields[4].split_once(':')?;
        u64::from_str_radix(to_receive, 16).ok()
    })
}

/// Returns the inodes of the sockets a process holds.
fn sockets_of(pid: u32) -> HashSet<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return HashSet::new();
    };
    entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            let link = link.to_str()?.strip_prefix("socket:[")?;
            Some(link.trim_end_matches(']').to_owned())
        })
        .collect()
}

/// Reads `0100007F:1F90`, words in host order, as an address.
fn address_of(field: &str, v6: bool) -> String {
    let (ip, port) = field.split_once(':').unwrap();
    let port = u16::from_str_radix(port, 16).unwrap();
    let octets: Vec<u8> = ip
        .as_bytes()
        .chunks(8)
        .flat_map(|word| {
            let word = std::str::from_utf8(word).unwrap();
            u32::from_str_radix(word, 16).unwrap().to_ne_bytes()
        })
        .collect();
    if v6 {
        let octets: [u8; 16] = octets.try_into().unwrap();
        SocketAddr::from((octets, port)).to_string()
    } else {
        let octets: [u8; 4] = octets.try_into().unwrap();
        SocketAddr::from((octets, port)).to_string()
    }
}

/// Waits until a process listens on `addr`.
pub(crate) fn wait_listening_on(pid: u32, addr: &str) {
    eventually(addr, || listening(pid).contains(addr));
}
