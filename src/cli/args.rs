//! What can be typed: the commands, their options, and the help of each.
//!
//! The help pages, the man pages and the completions of shells are all made of these declarations. Every
//! help page lists the exit codes and names the topic of the manual to read on in.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  longsplice demo
      Try it: needs no file and no root; prints the URL of a page to open.
  longsplice run --listen 0.0.0.0:8080 --to 127.0.0.1:3000
      Run in front of one application, without a file.
  longsplice check -c longsplice.toml && longsplice run -c longsplice.toml
      List every mistake in a file; run it if there is none.

Exit codes:
  0  success
  1  longsplice could not run, or died
  2  wrong usage, or a wrong configuration

Manual: longsplice help start";

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
    /// Run the proxy in the foreground until SIGTERM or SIGINT
    ///
    /// The configuration comes from a file (-c), or from options for a single application
    /// (--listen and --to). The log goes to the target that the file sets in [log], and to
    /// standard error without one.
    #[command(verbatim_doc_comment)]
    Run(RunOptions),
    /// List every mistake in a configuration file
    ///
    /// All mistakes are listed at once, each with its position and the values that are
    /// allowed. Only the file itself and the files that it names are opened.
    #[command(verbatim_doc_comment)]
    Check(CheckOptions),
    /// Report what this machine supports
    ///
    /// Prints one line for each capability (io_uring, splice, kernel TLS, limits), and how
    /// to fix what is missing. Changes nothing. longsplice works without any of them.
    #[command(verbatim_doc_comment)]
    Doctor(DoctorOptions),
    /// Inspect and control a running longsplice
    ///
    /// Talks to the process over its admin socket (server.admin_socket). Root, the user of
    /// the process and the members of the socket's group may use it.
    #[command(verbatim_doc_comment)]
    Ctl(CtlOptions),
    /// Watch a running longsplice in this terminal
    ///
    /// Shows the servers, tunnels, rates and causes of the process at an admin socket
    /// (server.admin_socket), and refreshes them. Press ? for the keys.
    #[command(verbatim_doc_comment)]
    Top(TopOptions),
    /// Print the JSON Schema of configuration files
    ///
    /// For editors and other tools: draft 2020-12, for a file as converted from TOML to JSON.
    #[command(verbatim_doc_comment, after_help = SCHEMA_HELP)]
    Schema,
    /// Try a WebSocket through the proxy: no file, no root
    ///
    /// Starts a small echo application and the proxy in front of it, with a new
    /// certificate, and prints the URL of a page to try it in a browser.
    #[command(verbatim_doc_comment)]
    Demo(DemoOptions),
    /// Print a page of the manual, or list its topics
    ///
    /// With the name of a command, prints the help of the command. On a terminal, pages go
    /// through $PAGER if it is set.
    #[command(verbatim_doc_comment)]
    Help(HelpOptions),
    /// Write man pages into a directory
    ///
    /// Writes longsplice(1) and a page for each command, longsplice.toml(5),
    /// longsplice-log(7) and longsplice-operation(7), each as a file named after the page.
    #[command(verbatim_doc_comment)]
    Man(ManOptions),
    /// Print the completions of a shell
    ///
    /// Prints a script for bash, zsh or fish that completes commands and options.
    #[command(verbatim_doc_comment)]
    Completions(CompletionsOptions),
}

const DOCTOR_HELP: &str = "\
Exit codes:
  0  the report was printed, whatever is missing
  1  --sandbox: the confinement allowed something that it must refuse
  2  wrong usage

Manual: longsplice help start; for --sandbox: longsplice help privileges";

/// Options of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub(super) struct DoctorOptions {
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
    /// Confine this process as `run` does, and try what must be refused.
    #[arg(long, conflicts_with = "json")]
    pub(super) sandbox: bool,
}

const SCHEMA_HELP: &str = "\
Exit codes:
  0  the schema was printed
  1  the schema could not be printed
  2  wrong usage

Manual: longsplice help configuration";

const DEMO_HELP: &str = "\
Exit codes:
  0  stopped by a signal
  1  the demo could not start
  2  wrong usage

Manual: longsplice help start";

/// Options of `demo`.
#[derive(Debug, Args)]
#[command(after_help = DEMO_HELP)]
pub(super) struct DemoOptions {
    /// The address to listen on; port 0 chooses a free port.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8443")]
    pub(super) listen: SocketAddr,
}

const HELP_HELP: &str = "\
Examples:
  longsplice help
  longsplice help tls
  longsplice help ctl tunnels

Exit codes:
  0  the page was printed
  2  there is no such topic or command

Manual: longsplice help start";

/// Options of `help`.
#[derive(Debug, Args)]
#[command(after_help = HELP_HELP)]
pub(super) struct HelpOptions {
    /// A topic of the manual, or a command.
    #[arg(value_name = "TOPIC")]
    pub(super) words: Vec<String>,
}

const MAN_HELP: &str = "\
Examples:
  longsplice man pages
  man -l pages/longsplice.toml.5

Exit codes:
  0  all pages were written
  1  a page could not be written
  2  wrong usage

Manual: longsplice help start";

/// Options of `man`.
#[derive(Debug, Args)]
#[command(after_help = MAN_HELP)]
pub(super) struct ManOptions {
    /// The directory to write into; it is made if it is not there.
    #[arg(value_name = "DIR")]
    pub(super) directory: PathBuf,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  longsplice completions bash > /usr/share/bash-completion/completions/longsplice
  longsplice completions zsh > /usr/local/share/zsh/site-functions/_longsplice
  longsplice completions fish > ~/.config/fish/completions/longsplice.fish

Exit codes:
  0  the script was printed
  1  the script could not be printed
  2  wrong usage

Manual: longsplice help start";

/// Options of `completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub(super) struct CompletionsOptions {
    /// The shell.
    #[arg(value_enum)]
    pub(super) shell: CompletedShell,
}

/// A shell that completions are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CompletedShell {
    Bash,
    Zsh,
    Fish,
}

const CTL_HELP: &str = "\
Examples:
  longsplice ctl tunnels --backend maps_ws --min-idle 1h
  longsplice ctl drain maps_ws/127.0.0.1:3000
  longsplice ctl status --json

Exit codes:
  0  done
  1  not done; standard error has the reason
  2  wrong usage

Manual: longsplice help watching";

/// The end of the help of each command of `ctl`.
const CTL_COMMAND_HELP: &str = "\
Exit codes:
  0  done
  1  not done; standard error has the reason
  2  wrong usage

Manual: longsplice help watching";

/// Options of `ctl`.
#[derive(Debug, Args)]
#[command(after_help = CTL_HELP, disable_help_subcommand = true)]
pub(super) struct CtlOptions {
    /// Admin socket (server.admin_socket).
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
Keys change the process as `longsplice ctl` does: D drains the selected server, U takes it
back into service, K ends the selected tunnel. Each asks for confirmation first. If the
process does not answer, top tries again once a second. NO_COLOR=1 turns colours off.

Examples:
  longsplice top
  longsplice top --once --interval 5s >> report

Exit codes:
  0  you quit, or the page was printed
  1  no process answered at the start, or the terminal failed
  2  wrong usage; or standard output is no terminal and --once is missing

Manual: longsplice help watching";

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
    /// The time between two refreshes, from 100ms to 60s.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub(super) interval: String,
    /// Print one page of plain text, with the rates of one interval, and exit.
    #[arg(long)]
    pub(super) once: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum CtlCommand {
    /// Show the process as a whole.
    #[command(after_help = CTL_COMMAND_HELP)]
    Status,
    /// List the listeners.
    #[command(after_help = CTL_COMMAND_HELP)]
    Listeners,
    /// List the backends and their servers.
    #[command(after_help = CTL_COMMAND_HELP)]
    Backends,
    /// List open tunnels; all conditions given must hold.
    #[command(after_help = CTL_COMMAND_HELP)]
    Tunnels(TunnelOptions),
    /// End a tunnel.
    #[command(after_help = CTL_COMMAND_HELP)]
    Kill {
        /// The tunnel's id, as `tunnels` shows it.
        id: String,
    },
    /// Take a server out of service; without one, drain and stop the process.
    #[command(after_help = CTL_COMMAND_HELP)]
    Drain {
        /// The server.
        #[arg(value_name = "BACKEND/SERVER")]
        server: Option<String>,
    },
    /// Take a server back into service.
    #[command(after_help = CTL_COMMAND_HELP)]
    Undrain {
        /// The server.
        #[arg(value_name = "BACKEND/SERVER")]
        server: String,
    },
    /// Read the configuration file again and apply it.
    #[command(after_help = CTL_COMMAND_HELP)]
    Reload,
    /// Set the lowest level of diagnostics that are logged, until the next start.
    #[command(after_help = CTL_COMMAND_HELP)]
    LogLevel {
        /// The lowest level.
        #[arg(value_parser = ["error", "warn", "info", "debug", "trace"])]
        level: String,
    },
    /// List the certificates that listeners and backends show or trust.
    #[command(after_help = CTL_COMMAND_HELP)]
    Certificates,
}

/// Options of `ctl tunnels`: every condition must hold.
#[derive(Debug, Args)]
pub(super) struct TunnelOptions {
    /// The client's address, or a range of addresses.
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
    /// At least this many bytes, both directions together.
    #[arg(long, value_name = "BYTES")]
    pub(super) min_bytes: Option<u64>,
    /// List at most this many tunnels.
    #[arg(long, value_name = "COUNT")]
    pub(super) limit: Option<usize>,
}

const RUN_HELP: &str = "\
Signals:
  SIGTERM, SIGINT  drain: accept no new connections, wait for tunnels up to
                   server.drain_timeout, exit with 0; a second one exits with 1 at once
  SIGHUP           reload the configuration file, and open the log file again
  SIGUSR1          open the log file again

Addresses:
  --listen  IP:PORT, [IPv6]:PORT or unix:/path
  --to      IP:PORT, [IPv6]:PORT, NAME:PORT or unix:/path

Examples:
  longsplice run -c /etc/longsplice/longsplice.toml
  longsplice run --listen 0.0.0.0:8080 --to localhost:3000
  longsplice run --listen '[::]:80' --to unix:/run/app.sock \\
      --proxy-protocol require --trust 10.0.0.0/8 --send-proxy v1

Exit codes:
  0  stopped after a drain
  1  could not run, or died, or was stopped at once by a second signal
  2  wrong usage, or a wrong configuration

Manual: longsplice help start, longsplice help reload-and-drain, longsplice help logs";

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
    /// The address to listen on
    #[arg(long, value_name = "ADDR", requires = "to")]
    pub(super) listen: Option<String>,
    /// The server to forward to
    #[arg(long, value_name = "ADDR", requires = "listen")]
    pub(super) to: Option<String>,
    /// Route HTTP requests, or pass bytes on (tcp)
    #[arg(long, requires = "listen", default_value = "http", value_parser = ["http", "tcp"])]
    pub(super) mode: String,
    /// Terminate TLS: the certificate chain, leaf first, and its key
    #[arg(long, value_name = "PEM", requires = "listen")]
    pub(super) tls_cert: Option<PathBuf>,
    /// The key, if it has a file of its own
    #[arg(long, value_name = "PEM", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// Whether connections begin with a PROXY header
    #[arg(
        long,
        value_name = "WHEN",
        requires = "listen",
        default_value = "off",
        value_parser = ["off", "optional", "require"]
    )]
    pub(super) proxy_protocol: String,
    /// Peers whose PROXY header and X-Forwarded-* are believed (repeatable)
    #[arg(long, value_name = "CIDR", requires = "listen")]
    pub(super) trust: Vec<String>,
    /// Send the server a PROXY header of this version
    #[arg(long, value_name = "VERSION", requires = "listen", value_parser = ["v1", "v2"])]
    pub(super) send_proxy: Option<String>,
}

const CHECK_HELP: &str = "\
Each mistake is a line on standard error:
  FILE:LINE:COL: key.path: what is wrong; what is allowed
For a file without mistakes, 'FILE: ok' is printed on standard output.

Exit codes:
  0  longsplice can run the file
  1  the result could not be printed
  2  the file has mistakes, or cannot be read

Manual: longsplice help start";

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
