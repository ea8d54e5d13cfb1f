//! `longsplice ctl`: asks a running process over its admin socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{CtlCommand, CtlOptions, say};
use crate::admin::ctl::{Reply, Request, Wanted, text};
use crate::config::duration_of;

/// How long an answer may take; a reload reads files and opens sockets.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Longest answer in bytes.
const ANSWER_LEN_MAX: u64 = 64 * 1024 * 1024;

/// Asks, and prints the answer.
pub(super) fn ctl(options: &CtlOptions) -> ExitCode {
    let request = match request_of(&options.command) {
        Ok(request) => request,
        Err(wrong) => {
            say(&format!("longsplice: {wrong}\n"));
            return ExitCode::from(super::EXIT_USAGE);
        }
    };
    let printed = ask(&options.socket, &request).and_then(|value| {
        let page = if options.json {
            format!("{value:#}\n")
        } else {
            page(&request, value)?
        };
        io::stdout()
            .write_all(page.as_bytes())
            .map_err(|error| error.to_string())
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(&format!("longsplice: {why}\n"));
            ExitCode::FAILURE
        }
    }
}

fn request_of(command: &CtlCommand) -> Result<Request, String> {
    let millis = |text: &Option<String>, option| match text {
        None => Ok(None),
        Some(text) => match duration_of(text) {
            Ok(time) => Ok(u64::try_from(time.as_millis()).ok()),
            Err(wrong) => Err(format!("{option}: {text:?} {wrong}")),
        },
    };
    Ok(match command {
        CtlCommand::Status => Request::Status,
        CtlCommand::Listeners => Request::Listeners,
        CtlCommand::Backends => Request::Backends,
        CtlCommand::Tunnels(options) => Request::Tunnels(Wanted {
            client: options.client.clone(),
            listener: options.listener.clone(),
            backend: options.backend.clone(),
            server: options.server.clone(),
            age_ms: millis(&options.min_age, "--min-age")?,
            idle_ms: millis(&options.min_idle, "--min-idle")?,
            bytes: options.min_bytes,
            limit: options.limit,
        }),
        CtlCommand::Kill { id } => Request::Kill { id: id.clone() },
        CtlCommand::Drain { server } => Request::Drain {
            server: server.clone(),
        },
        CtlCommand::Undrain { server } => Request::Undrain {
            server: server.clone(),
        },
        CtlCommand::Reload => Request::Reload,
        CtlCommand::LogLevel { level } => Request::LogLevel {
            level: level.clone(),
        },
        CtlCommand::Certificates => Request::Certificates,
    })
}

/// Sends `request` to the process at `socket` and returns what it answers.
///
/// # Errors
/// Nobody answers there, or the process says no; in words.
fn ask(socket: &Path, request: &Request) -> Result<Value, String> {
    let shown = socket.display();
    let mut stream = UnixStream::connect(socket)
        .map_err(|error| format!("{shown}: {}", why_not_connected(&error)))?;
    let mut exchange = || -> io::Result<String> {
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        stream.set_write_timeout(Some(ANSWER_TIME))?;
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        stream.write_all(line.as_bytes())?;
        let mut answer = String::new();
        BufReader::new((&stream).take(ANSWER_LEN_MAX)).read_line(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| format!("{shown}: {error}"))?;
    if answer.is_empty() {
        return Err(format!(
            "{shown}: closed without an answer (too many at a time, or stopping)"
        ));
    }
    match serde_json::from_str(&answer) {
        Ok(Reply::Done(value)) => Ok(value),
        Ok(Reply::Failed(why)) => Err(why),
        Err(error) => Err(format!("{shown}: the answer is not understood: {error}")),
    }
}

fn why_not_connected(error: &io::Error) -> String {
    let why = match error.raw_os_error() {
        Some(libc::ENOENT) => {
            "there is no such socket; is longsplice running, and with server.admin_socket?"
        }
        Some(libc::ECONNREFUSED) => "nobody answers there; longsplice is not running",
        Some(libc::EACCES) => "not allowed; the socket is open to its owner and its group",
        _ => return error.to_string(),
    };
    why.to_owned()
}

/// Writes an answer for people.
fn page(request: &Request, value: Value) -> Result<String, String> {
    Ok(match request {
        Request::Status => text::status(&read(value)?),
        Request::Listeners => text::listeners(&read::<Vec<_>>(value)?),
        Request::Backends => text::backends(&read::<Vec<_>>(value)?),
        Request::Tunnels(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now_ms = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
            text::tunnels(&read(value)?, now_ms)
        }
        Request::Certificates => text::certificates(&read::<Vec<_>>(value)?),
        // Asked by `longsplice top`, which draws it.
        Request::Overview => format!("{value:#}\n"),
        Request::Kill { .. }
        | Request::Drain { .. }
        | Request::Undrain { .. }
        | Request::Reload
        | Request::LogLevel { .. } => read::<String>(value)? + "\n",
    })
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("the answer is not understood: {error}"))
}
