//! `longsplice ctl`: asks a running process over its admin socket.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::args::{CtlCommand, CtlOptions};
use super::ask::{ask, read};
use super::exit::{fail, misused};
use crate::admin::ctl::{CtlRequest, Wanted, text};
use crate::config::duration_of;

/// How long an answer may take; a reload reads files and opens sockets.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Asks, and prints the answer.
pub(super) fn ctl(options: &CtlOptions) -> ExitCode {
    let request = match request_of(&options.command) {
        Ok(request) => request,
        Err(wrong) => return misused(&wrong),
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
        Err(why) => fail(&why),
    }
}

fn request_of(command: &CtlCommand) -> Result<CtlRequest, String> {
    let millis = |text: &Option<String>, option| match text {
        None => Ok(None),
        Some(text) => match duration_of(text) {
            Ok(time) => Ok(u64::try_from(time.as_millis()).ok()),
            Err(wrong) => Err(format!("{option}: {text:?} {wrong}")),
        },
    };
    Ok(match command {
        CtlCommand::Status => CtlRequest::Status,
        CtlCommand::Listeners => CtlRequest::Listeners,
        CtlCommand::Backends => CtlRequest::Backends,
        CtlCommand::Tunnels(options) => CtlRequest::Tunnels(Wanted {
            client: options.client.clone(),
            listener: options.listener.clone(),
            backend: options.backend.clone(),
            server: options.server.clone(),
            age_ms: millis(&options.min_age, "--min-age")?,
            idle_ms: millis(&options.min_idle, "--min-idle")?,
            bytes: options.min_bytes,
            limit: options.limit,
        }),
        CtlCommand::Kill { id } => CtlRequest::Kill { id: id.clone() },
        CtlCommand::Drain { server } => CtlRequest::Drain {
            server: server.clone(),
        },
        CtlCommand::Undrain { server } => CtlRequest::Undrain {
            server: server.clone(),
        },
        CtlCommand::Reload => CtlRequest::Reload,
        CtlCommand::LogLevel { level } => CtlRequest::LogLevel {
            level: level.clone(),
        },
        CtlCommand::Certificates => CtlRequest::Certificates,
    })
}

/// Writes an answer for people.
fn page(request: &CtlRequest, value: Value) -> Result<String, String> {
    Ok(match request {
        CtlRequest::Status => text::status(&read(value)?),
        CtlRequest::Listeners => text::listeners(&read::<Vec<_>>(value)?),
        CtlRequest::Backends => text::backends(&read::<Vec<_>>(value)?),
        CtlRequest::Tunnels(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now_ms = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
            text::tunnels(&read(value)?, now_ms)
        }
        CtlRequest::Certificates => text::certificates(&read::<Vec<_>>(value)?),
        // Asked by `longsplice top`, which draws it.
        CtlRequest::Overview => format!("{value:#}\n"),
        CtlRequest::Kill { .. }
        | CtlRequest::Drain { .. }
        | CtlRequest::Undrain { .. }
        | CtlRequest::Reload
        | CtlRequest::LogLevel { .. } => read::<String>(value)? + "\n",
    })
}
