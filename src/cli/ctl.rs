//! `longsplice ctl`: asks a running process over its admin socket.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::ask::{ask, read};
use super::{CtlCommand, CtlOptions, say};
use crate::admin::ctl::{Request, Wanted, text};
use crate::config::duration_of;

/// How long an answer may take; a reload reads files and opens sockets.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Asks, and prints the answer.
pub(super) fn ctl(options: &CtlOptions) -> ExitCode {
    let request = match request_of(&options.command) {
        Ok(request) => request,
        Err(wrong) => {
            say(&format!("longsplice: {wrong}\n"));
            return ExitCode::from(super::EXIT_USAGE);
        }
    };
    let printed = ask(&options.socket, &request, ANSWER_TIME).and_then(|value| {
        let page = if options.json {
            format!("{value:#}\n")
        } else {
            page(&request, value)?
        };
        match io::stdout().write_all(page.as_bytes()) {
            // Whoever reads it has read enough; what was asked for is done.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| error.to_string()),
        }
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
