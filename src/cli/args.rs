//! What can be typed: the commands, their options, and the help of each.
//!
//! The help pages, the man pages and the completions of shells are all made of these declarations. Every
//! help page lists the exit codes and names the topic of the manual to read on in.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  longsplice demo
      See it work: no file, no root; prints the URL of a page to open.
  longsplice run --listen 0.0.0.0:8080 --to 127.0.0.1:3000
      Stand in front of one application, without a file.
  longsplice check -c /etc/longsplice.toml && longsplice run -c /etc/longsplice.toml
      Look for every mistake of a file first, then run it.

Exit codes:
  0  fine
  1  could not run, or died
  2  usage or configuration";

/// Kernel-accelerated L4 splice proxy for WebSocket applications.
#[derive(Debug, Parser)]
#[command(name = "longsplice", version)]
#[command(after_help = EXAMPLES, disable_help_subcommand = true)]
pub(super) struct CommandLine {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run in the foreground until SIGTERM or SIGINT
    ///
    /// With a file (-c), or without one for a single application (--listen and --to): the
    /// same engine and the same rules. Log and access lines go to standard error.
    #[command(verbatim_doc_comment)]
    Run(RunOptions),
    /// Look for every mistake of a configuration file
    ///
    /// All of them at once, each with its position and with what is allowed. Nothing is
    /// opened but the file and the certificates it names.
    #[command(verbatim_doc_comment)]
    Check(CheckOptions),
    /// Show what this kernel and machine offer
    ///
    /// One line for each capability (io_uring, kTLS, splice, limits), with what to do
    /// when it is missing. Nothing is changed.
    #[command(verbatim_doc_comment)]
    Doctor {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        /// Confine this process like one that serves; exit 1 if that lets anything through.
        #[arg(long, conflicts_with = "json")]
        sandbox: bool,
    },
    /// Look into a running longsplice, and tell it what to do
    ///
    /// Over its admin socket (server.admin_socket), as root, as its user, or as a member of
    /// the socket's group.
    #[command(verbatim_doc_comment)]
    Ctl(CtlOptions),
    /// Watch a running longsplice in this terminal
    ///
    /// Servers, tunnels, rates and causes of the process at an admin socket
    /// (server.admin_socket), renewed again and again. Press ? for the keys.
    #[command(verbatim_doc_comment)]
    Top(TopOptions),
    /// Print the JSON Schema of configuration files
    ///
    /// For editors and other tools: draft 2020-12, for a file as converted from TOML to JSON.
    #[command(verbatim_doc_comment)]
    Schema,
    /// Show a WebSocket through the proxy: no file, no root
    ///
    /// Starts an embedded echo application and the proxy in front of it, with a
    /// certificate made on the spot, and prints the URL of a page to try it in a browser.
    #[command(verbatim_doc_comment)]
    Demo {
        /// Where to listen.
        #[arg(long, value_name = "IP:PORT")]
        listen: Option<SocketAddr>,
    },
}

const CTL_HELP: &str = "\
Examples:
  longsplice ctl tunnels --backend maps_ws --min-idle 1h
  longsplice ctl drain maps_ws/127.0.0.1:3000
  longsplice ctl status --json

Exit codes:
  0  done
  1  not done: nobody answers, or what is said on standard error
  2  usage";

/// Options of `ctl`.
#[derive(Debug, Args)]
#[command(after_help = CTL_HELP, disable_help_subcommand = true)]
pub(super) struct CtlOptions {
    /// The admin socket of the process (server.admin_socket).
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "/run/longsplice/admin.sock"
    )]
    pub(super) socket: PathBuf,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: CtlCommand,
}

const TOP_HELP: &str = "\
A line can be acted upon, as with `longsplice ctl`: D drains the server, U takes it back,
K ends the tunnel; each asks first. A process that is lost is tried again once a second.
There are no colours when NO_COLOR is set.

Examples:
  longsplice top
  longsplice top --once --interval 5s >> report

Exit codes:
  0  somebody quit, or the page was printed
  1  nobody answered at the start, or the terminal failed
  2  usage; standard output is no terminal and --once is missing";

/// Options of `top`.
#[derive(Debug, Args)]
#[command(after_help = TOP_HELP)]
pub(super) struct TopOptions {
    /// The admin socket of the process (server.admin_socket).
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/run/longsplice/admin.sock"
    )]
    pub(super) socket: PathBuf,
    /// How often it is asked, from 100ms to 60s.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub(super) interval: String,
    /// Print one page of plain text, with the rates of one interval, and exit.
    #[arg(long)]
    pub(super) once: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum CtlCommand {
    /// The process as a whole.
    Status,
    /// The listeners.
    Listeners,
    /// The backends and their servers.
    Backends,
    /// Open tunnels.
    Tunnels(TunnelOptions),
    /// End a tunnel.
    Kill {
        /// As `tunnels` shows it.
        id: String,
    },
    /// Give a server nothing new; without one, let the process run empty and end.
    Drain {
        /// The server.
        #[arg(value_name = "BACKEND/SERVER")]
        server: Option<String>,
    },
    /// Take a server back.
    Undrain {
        /// The server.
        #[arg(value_name = "BACKEND/SERVER")]
        server: String,
    },
    /// Read the configuration file again, and apply it.
    Reload,
    /// Write diagnostics from this level up.
    LogLevel {
        /// From here up.
        #[arg(value_parser = ["error", "warn", "info", "debug", "trace"])]
        level: String,
    },
    /// The certificates that listeners show.
    Certificates,
}

/// Options of `ctl tunnels`: every condition must hold.
#[derive(Debug, Args)]
pub(super) struct TunnelOptions {
    /// The client's address, or a range of them.
    #[arg(long, value_name = "CIDR")]
    pub(super) client: Option<String>,
    /// Name of the listener.
    #[arg(long, value_name = "NAME")]
    pub(super) listener: Option<String>,
    /// Name of the backend.
    #[arg(long, value_name = "NAME")]
    pub(super) backend: Option<String>,
    /// Name of the server.
    #[arg(long, value_name = "NAME")]
    pub(super) server: Option<String>,
    /// Open for at least this time, such as 10m.
    #[arg(long, value_name = "TIME")]
    pub(super) min_age: Option<String>,
    /// Silent for at least this time, such as 1h.
    #[arg(long, value_name = "TIME")]
    pub(super) min_idle: Option<String>,
    /// At least this many bytes, both ways together.
    #[arg(long, value_name = "BYTES")]
    pub(super) min_bytes: Option<u64>,
    /// No more than this many.
    #[arg(long, value_name = "COUNT")]
    pub(super) limit: Option<usize>,
}

const RUN_HELP: &str = "\
Signals:
  SIGTERM, SIGINT   drain: accept nothing new, wait for tunnels (server.drain_timeout), exit 0;
                    a second one ends at once with exit 1
  SIGUSR1           opens the log's file again

Addresses:
  --listen  IP:PORT, [IPv6]:PORT or unix:/path
  --to      IP:PORT, [IPv6]:PORT, NAME:PORT or unix:/path

Examples:
  longsplice run -c /etc/longsplice.toml
  longsplice run --listen 0.0.0.0:8080 --to localhost:3000
  longsplice run --listen '[::]:80' --to unix:/run/app.sock \\
      --proxy-protocol require --trust 10.0.0.0/8 --send-proxy v1";

/// Options of `run`: a file, or the one-liner.
#[derive(Debug, Args)]
#[command(
    after_help = RUN_HELP,
    override_usage = "longsplice run -c FILE\n       longsplice run --listen ADDR --to ADDR [OPTIONS]"
)]
pub(super) struct RunOptions {
    /// Configuration file, in TOML.
    #[arg(
        short,
        long,
        value_name = "FILE",
        required_unless_present = "listen",
        conflicts_with = "one_liner"
    )]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) one_liner: OneLinerOptions,
}

/// The sidecar one-liner: the same engine and the same rules, without a file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Without a file")]
#[group(id = "one_liner", multiple = true)]
pub(super) struct OneLinerOptions {
    /// Where to listen
    #[arg(long, value_name = "ADDR", requires = "to")]
    pub(super) listen: Option<String>,
    /// The server to forward to
    #[arg(long, value_name = "ADDR", requires = "listen")]
    pub(super) to: Option<String>,
    /// What is spoken: requests are routed, or bytes passed on
    #[arg(long, requires = "listen", default_value = "http", value_parser = ["http", "tcp"])]
    pub(super) mode: String,
    /// End TLS here: the chain, leaf first, with the key
    #[arg(long, value_name = "PEM", requires = "listen")]
    pub(super) tls_cert: Option<PathBuf>,
    /// The key, if it has a file of its own
    #[arg(long, value_name = "PEM", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// Whether a PROXY header comes first
    #[arg(
        long,
        value_name = "WHEN",
        requires = "listen",
        default_value = "off",
        value_parser = ["off", "optional", "require"]
    )]
    pub(super) proxy_protocol: String,
    /// Whose PROXY header and X-Forwarded-* are believed (repeatable)
    #[arg(long, value_name = "CIDR", requires = "listen")]
    pub(super) trust: Vec<String>,
    /// Send the server a PROXY header of this version
    #[arg(long, value_name = "VERSION", requires = "listen", value_parser = ["v1", "v2"])]
    pub(super) send_proxy: Option<String>,
}

const CHECK_HELP: &str = "\
Each mistake is a line on standard error:
  FILE:LINE:COL: key.path: what is wrong; what is allowed
A file without mistakes is answered with 'FILE: ok' on standard output.

Exit codes:
  0  the file can be run
  2  it cannot, or cannot be read";

/// Options of `check`.
#[derive(Debug, Args)]
#[command(after_help = CHECK_HELP)]
pub(super) struct CheckOptions {
    /// Configuration file, in TOML.
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// Print the effective configuration with every default, as TOML, instead of 'ok'.
    #[arg(long)]
    pub(super) print: bool,
}
