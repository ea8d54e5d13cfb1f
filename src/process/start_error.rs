//! Reasons why the process cannot start, or cannot apply a changed configuration.

use std::io;
use std::sync::Arc;

use super::pid_file::PidFileError;
use super::privileges::PrivilegeError;
use crate::admin::ctl::socket::SocketError;
use crate::admin::http::BindError;
use crate::log::LogError;
use crate::reception::listen::ListenError;
use crate::tls::wrong::Wrong;

/// Reason why the process cannot run.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    AdminSocket(#[from] SocketError),
    #[error(transparent)]
    AdminHttp(#[from] BindError),
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("listener {0}: {1}")]
    Identity(Arc<str>, Wrong),
    #[error("backend {0}: tls: {1}")]
    ClientTls(Arc<str>, Wrong),
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
    #[error("{}", lines(.0))]
    Several(Vec<Self>),
}

/// Returns each error on a line of its own.
fn lines(errors: &[StartError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\nlongsplice: ")
}
