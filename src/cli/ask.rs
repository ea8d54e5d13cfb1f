//! One question to a running process over its admin socket, for the commands that ask.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::ctl::{CtlRequest, Reply};

/// Longest answer in bytes.
const ANSWER_LEN_MAX: u64 = 64 * 1024 * 1024;

/// Sends `request` to the process at `socket` and returns what it answers within `time`.
///
/// # Errors
/// No process answers there, or the process refuses; in words.
pub(super) fn ask(socket: &Path, request: &CtlRequest, time: Duration) -> Result<Value, String> {
    let shown = socket.display();
    let mut stream = UnixStream::connect(socket)
        .map_err(|error| format!("{shown}: {}", why_not_connected(&error)))?;
    let mut exchange = || -> io::Result<String> {
        stream.set_read_timeout(Some(time))?;
        stream.set_write_timeout(Some(time))?;
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        stream.write_all(line.as_bytes())?;
        let mut answer = String::new();
        BufReader::new((&stream).take(ANSWER_LEN_MAX)).read_line(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            format!("{shown}: no answer within {}s", time.as_secs())
        } else {
            format!("{shown}: {error}")
        }
    })?;
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
        Some(libc::ECONNREFUSED) => "no process listens there; longsplice is not running",
        Some(libc::EACCES) => "not allowed; the socket is open to its owner and its group",
        _ => return error.to_string(),
    };
    why.to_owned()
}

/// Reads an answer as what it should be.
///
/// # Errors
/// It is something else.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("the answer is not understood: {error}"))
}
