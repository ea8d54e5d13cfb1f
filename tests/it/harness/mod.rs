//! What the tests are made of: the process under test, scripted peers, real programs.
//!
//! The product is reached only through its contract: command line, configuration, sockets, log
//! lines and what /proc says of the process. Nothing here waits for a fixed time to let something
//! happen: every wait names a condition and gives up after [`PATIENCE`].

pub(crate) mod app;
pub(crate) mod browser;
pub(crate) mod dns;
pub(crate) mod http;
pub(crate) mod httplog;
pub(crate) mod kernel;
pub(crate) mod network;
pub(crate) mod openssl;
pub(crate) mod origin;
pub(crate) mod parts;
pub(crate) mod peer;
pub(crate) mod plan;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod rsyslog;
pub(crate) mod terminal;
pub(crate) mod tls;
pub(crate) mod tls_end;
pub(crate) mod tls_server;
pub(crate) mod websocket;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long a condition may take to come true on a busy machine of two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at a condition that nothing announces.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Looks without a change after which a value counts as settled.
const SETTLED_LOOKS: u32 = 40;

/// Waits until `holds`, at most `patience`, and tells whether it came to that.
pub(crate) fn within(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > patience {
            return false;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    true
}

/// Waits until `holds`, and panics with `what` after [`PATIENCE`].
pub(crate) fn eventually(what: &str, holds: impl FnMut() -> bool) {
    assert!(within(PATIENCE, holds), "not within {PATIENCE:?}: {what}");
}

/// Waits until `value` is the same at [`SETTLED_LOOKS`] looks in a row, and returns it.
pub(crate) fn settled<T: PartialEq>(what: &str, mut value: impl FnMut() -> T) -> T {
    let mut last = value();
    let mut unchanged = 0;
    eventually(what, || {
        let now = value();
        unchanged = if now == last { unchanged + 1 } else { 0 };
        last = now;
        unchanged == SETTLED_LOOKS
    });
    last
}

/// Ports below the range from which the kernel takes the ports of outgoing connections, so that no
/// connection of a parallel test sits on a port between its choice and its use.
const PORTS: std::ops::Range<u16> = 11_000..32_000;

/// Returns a free address on 127.0.0.1, different at every call.
pub(crate) fn free_addr() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

/// Returns a free port, different at every call.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let len = PORTS.end - PORTS.start;
    let spread = u16::try_from(std::process::id() % u32::from(len)).unwrap();
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // Two runs at a time begin far apart: their process ids differ by little, 97 times that by more.
        let offset = (u32::from(spread) * 97 + u32::from(step)) % u32::from(len);
        let port = PORTS.start + u16::try_from(offset).unwrap();
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}
