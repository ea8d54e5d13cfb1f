//! `longsplice run`: a configuration from a file or from options, handed to the server.

use std::process::ExitCode;

use super::args::{OneLinerOptions, RunOptions};
use super::exit::misconfigured;
use crate::config::{self, OneLiner};
use crate::process;

/// Runs until told to stop.
pub(super) fn run(options: RunOptions) -> ExitCode {
    let config = match options.config {
        Some(file) => config::load(&file),
        None => one_liner(options.one_liner).into_config(),
    };
    match config {
        Ok(config) => process::run(config),
        Err(errors) => misconfigured(&errors),
    }
}

/// Both addresses are there when there is no file: clap requires them of each other.
fn one_liner(options: OneLinerOptions) -> OneLiner {
    OneLiner {
        listen: options.listen.unwrap_or_default(),
        to: options.to.unwrap_or_default(),
        mode: options.mode,
        tls_cert: options.tls_cert,
        tls_key: options.tls_key,
        proxy_protocol: options.proxy_protocol,
        trust: options.trust,
        send_proxy: options.send_proxy,
    }
}
