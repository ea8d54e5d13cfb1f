//! `longsplice demo`: an embedded WebSocket echo application with the proxy in front of it.

use std::net::SocketAddr;
use std::process::ExitCode;

/// Runs until told to stop.
#[must_use]
pub fn run(listen: Option<SocketAddr>) -> ExitCode {
    let _ = listen;
    eprintln!("this build has no demo yet");
    ExitCode::FAILURE
}
