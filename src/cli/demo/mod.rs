//! `longsplice demo`.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

mod application;
mod echo;

use super::args::DemoOptions;
use super::exit::{fail, misconfigured};
use crate::sys::signals::block;
use crate::{config, process};
use application::{Certificate, configuration, start_application};

/// Runs the demo until a stop signal.
pub(super) fn demo(options: &DemoOptions) -> ExitCode {
    // The application's thread must not be the one a stop signal ends the process through.
    let application = match block().and_then(|_| start_application()) {
        Ok(address) => address,
        Err(error) => return fail(&format!("the demo's application cannot start: {error}")),
    };
    let listen = match free_port(options.listen) {
        Ok(listen) => listen,
        Err(error) => return fail(&format!("the demo cannot listen: {error}")),
    };
    let certificate = match Certificate::make(listen.ip()) {
        Ok(certificate) => certificate,
        Err(error) => return fail(&format!("the demo's certificate cannot be made: {error}")),
    };
    let text = configuration(listen, application, &certificate.path());
    match config::parse(&text, Path::new("demo")) {
        Ok(config) => process::run_announced(config, announce),
        Err(errors) => misconfigured(&errors),
    }
}

/// Turns port 0 into one that is free at this moment; a configuration names its ports.
fn free_port(listen: SocketAddr) -> io::Result<SocketAddr> {
    if listen.port() == 0 {
        TcpListener::bind(listen)?.local_addr()
    } else {
        Ok(listen)
    }
}

fn announce(addresses: &[SocketAddr]) {
    for address in addresses {
        // The name works for loopback addresses of both families.
        let host = match address.ip() {
            ip if ip.is_loopback() || ip.is_unspecified() => "localhost".to_owned(),
            ip if ip.is_ipv6() => format!("[{ip}]"),
            ip => ip.to_string(),
        };
        // A reader that is gone does not end the demo.
        let _ = writeln!(
            io::stdout(),
            "open https://{host}:{}/ in a browser; Ctrl-C ends the demo\n\
             The browser will warn, because no authority signed the new certificate. \
             Go on all the same (\"Advanced\").",
            address.port()
        );
    }
}
