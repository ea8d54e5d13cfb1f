//! The proxies compared, each started afresh on the proxy core for every measurement.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process;

/// How long a proxy may take until it listens.
const START_MAX: Duration = Duration::from_secs(5);

/// How long a proxy may take to end when asked.
const STOP_MAX: Duration = Duration::from_secs(2);

/// A proxy in one of its configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// This project.
    Longsplice,
    /// longsplice with logs and metrics, and an observer that reads them.
    LongspliceObserved,
    /// HAProxy, copying.
    Haproxy,
    /// HAProxy with `option splice-auto`.
    HaproxySplice,
    /// nginx: stream module, or http module for upgrades.
    Nginx,
    /// nginx with the 16 KiB buffers that are its default.
    NginxSmallBuffers,
    /// [`super::splice_loop`].
    SpliceLoop,
}

/// What the proxy is asked to do with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Relay bytes.
    Tcp,
    /// End TLS, then relay bytes.
    Tls,
    /// Read a request head, route, add headers, upgrade, then relay bytes.
    Http,
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    /// The `longsplice` binary.
    pub(super) longsplice: PathBuf,
    /// The `haproxy` binary.
    pub(super) haproxy: PathBuf,
    /// The `nginx` binary.
    pub(super) nginx: PathBuf,
    /// Folder of `ngx_stream_module.so`.
    pub(super) nginx_modules: PathBuf,
    /// `benches/peers`.
    pub(super) configurations: PathBuf,
    /// Key and certificate in one file.
    pub(super) certificate: PathBuf,
    /// A folder for filled-in configurations and logs.
    pub(super) scratch: PathBuf,
}

impl Subject {
    /// The name in tables and raw rows.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Longsplice => "longsplice",
            Self::LongspliceObserved => "longsplice-observed",
            Self::Haproxy => "haproxy",
            Self::HaproxySplice => "haproxy-splice",
            Self::Nginx => "nginx",
            Self::NginxSmallBuffers => "nginx-16k",
            Self::SpliceLoop => "splice-loop",
        }
    }

    /// The template of its configuration, if it has one.
    const fn template(self, mode: Mode) -> Option<&'static str> {
        match (self, mode) {
            (Self::Longsplice, Mode::Tcp) => Some("longsplice-tcp.toml"),
            (Self::Longsplice, Mode::Http) => Some("longsplice-http.toml"),
            (Self::LongspliceObserved, Mode::Tcp) => Some("longsplice-tcp-observed.toml"),
            (Self::LongspliceObserved, Mode::Http) => Some("longsplice-http-observed.toml"),
            (Self::Haproxy, Mode::Tcp) => Some("haproxy-tcp.cfg"),
            (Self::HaproxySplice, Mode::Tcp) => Some("haproxy-tcp-splice.cfg"),
            (Self::Longsplice | Self::LongspliceObserved, Mode::Tls) => Some("longsplice-tls.toml"),
            (Self::Haproxy | Self::HaproxySplice, Mode::Tls) => Some("haproxy-tls.cfg"),
            (Self::Nginx | Self::NginxSmallBuffers, Mode::Tls) => Some("nginx-tls.conf"),
            (Self::Haproxy | Self::HaproxySplice, Mode::Http) => Some("haproxy-http.cfg"),
            (Self::Nginx, Mode::Tcp) => Some("nginx-tcp.conf"),
            (Self::NginxSmallBuffers, Mode::Tcp) => Some("nginx-tcp-16k.conf"),
            (Self::Nginx | Self::NginxSmallBuffers, Mode::Http) => Some("nginx-http.conf"),
            (Self::SpliceLoop, _) => None,
        }
    }

    /// Returns the first line of the program's version output.
    pub(super) fn version(self, programs: &Programs) -> Result<String> {
        let (program, argument) = match self {
            Self::Longsplice | Self::LongspliceObserved => (&programs.longsplice, "--version"),
            Self::Haproxy | Self::HaproxySplice => (&programs.haproxy, "-v"),
            Self::Nginx | Self::NginxSmallBuffers => (&programs.nginx, "-v"),
            Self::SpliceLoop => return Ok("xtask bench --splice-loop".to_owned()),
        };
        let output = Command::new(program)
            .arg(argument)
            .output()
            .with_context(|| format!("run {}", program.display()))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }
}

/// A proxy that runs; ended when dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Address of its statistics, in configurations that have them.
    pub(super) admin: SocketAddr,
}

impl Proxy {
    /// Starts `subject` on `core` in front of `backend` and waits until it listens.
    ///
    /// The calling thread stays pinned to `core`; the caller moves itself away.
    ///
    /// # Errors
    /// A program that is missing, that ends, or that does not listen in time; its output is in the
    /// scratch folder.
    pub(super) fn start(
        subject: Subject,
        mode: Mode,
        programs: &Programs,
        core: usize,
        backend: SocketAddr,
    ) -> Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let log = programs.scratch.join(format!("{}.log", subject.name()));
        let output = fs::File::create(&log).with_context(|| log.display().to_string())?;
        let mut command = command(subject, mode, programs, [address, admin, backend])?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        // The child inherits the affinity of the thread that starts it.
        process::pin(core)?;
        let child = command
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let mut proxy = Self {
            child,
            address,
            admin,
        };
        proxy.wait_until_listening().with_context(|| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            format!("{} does not listen; it said:\n{said}", subject.name())
        })?;
        Ok(proxy)
    }

    /// The process to account.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a listening socket without connecting, so that the proxy and the backend see
    /// nothing of it.
    fn wait_until_listening(&mut self) -> Result<()> {
        const LISTEN_STATE: &str = " 0A ";
        let port = format!(":{:04X} ", self.address.port());
        let started = Instant::now();
        while started.elapsed() < START_MAX {
            let table = fs::read_to_string("/proc/net/tcp").context("/proc/net/tcp")?;
            if table
                .lines()
                .any(|line| line.contains(LISTEN_STATE) && line.contains(&port))
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().context("wait for the proxy")? {
                bail!("ended at once: {status}");
            }
            sleep(Duration::from_millis(5));
        }
        bail!("not within {START_MAX:?}")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // A master must be asked, or its workers outlive it; a single process is killed.
        let members = process::family(self.child.id()).unwrap_or_default();
        let is_master = members.len() > 1;
        let signal = if is_master {
            Signal::SIGTERM
        } else {
            Signal::SIGKILL
        };
        signal_process(self.child.id(), signal);
        let started = Instant::now();
        while started.elapsed() < STOP_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(2));
        }
        for member in members {
            signal_process(member, Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process of ours; one that has ended already needs none.
fn signal_process(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

fn command(
    subject: Subject,
    mode: Mode,
    programs: &Programs,
    addresses: [SocketAddr; 3],
) -> Result<Command> {
    let [listen, _, backend] = addresses;
    let Some(template) = subject.template(mode) else {
        let mut command = Command::new(std::env::current_exe().context("own path")?);
        command.args([
            "bench",
            "--splice-loop",
            &listen.to_string(),
            &backend.to_string(),
        ]);
        return Ok(command);
    };
    let template = programs.configurations.join(template);
    let file = fill_in(&template, programs, addresses)?;
    let (program, arguments): (_, &[&str]) = match subject {
        Subject::Longsplice | Subject::LongspliceObserved => (&programs.longsplice, &["run", "-c"]),
        Subject::Haproxy | Subject::HaproxySplice => (&programs.haproxy, &["-db", "-f"]),
        Subject::Nginx | Subject::NginxSmallBuffers | Subject::SpliceLoop => {
            (&programs.nginx, &["-e", "stderr", "-c"])
        }
    };
    let mut command = Command::new(program);
    command.args(arguments).arg(file);
    Ok(command)
}

/// Writes a copy of `template` with its `{{names}}` replaced.
fn fill_in(
    template: &Path,
    programs: &Programs,
    [listen, admin, backend]: [SocketAddr; 3],
) -> Result<PathBuf> {
    let text = fs::read_to_string(template).with_context(|| template.display().to_string())?;
    let text = text
        .replace("{{listen}}", &listen.to_string())
        .replace("{{admin}}", &admin.to_string())
        .replace("{{backend}}", &backend.to_string())
        .replace(
            "{{nginx_modules}}",
            &programs.nginx_modules.display().to_string(),
        )
        .replace(
            "{{certificate}}",
            &programs.certificate.display().to_string(),
        )
        .replace("{{scratch}}", &programs.scratch.display().to_string());
    let file = programs
        .scratch
        .join(template.file_name().context("a template has a name")?);
    fs::write(&file, text).with_context(|| file.display().to_string())?;
    Ok(file)
}

/// A port that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("bind a free port")?;
    listener.local_addr().context("free port")
}
