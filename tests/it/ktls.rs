//! TLS tunnels whose records the kernel protects from the start, from some point on, or not at all.
//!
//! Every test runs on any kernel: where it does no TLS, all of it happens in user space, and only the
//! few tests that are about the kernel alone are skipped. `cargo xtask lab` runs them in guest kernels.

use std::collections::HashSet;
use std::thread;

use serde_json::Value;

use crate::harness::kernel::{Pieces, Site, Suite, Traffic, exchange, takes};
use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::tls::Secure;

// How a tunnel begins: the handshake, what comes with it, and what the log says.
mod start;
// Bytes in both directions, many or few, and the offload of each direction.
mod transfer;
// How a tunnel ends, and what is delivered before.
mod ends;
// Records that rustls's own client would never send.
mod records;
// Keys that change, and nonces.
mod keys;
// The server's end of tunnels.
mod servers;

/// Every value of `tls.offload`, or those that `LONGSPLICE_TEST_OFFLOADS` names in a list with commas: what
/// stays in user space depends on no kernel, and an emulated processor takes its time for it.
const OFFLOADS: Offloads = Offloads;

#[derive(Clone, Copy)]
struct Offloads;

impl IntoIterator for Offloads {
    type Item = &'static str;
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        let named = std::env::var("LONGSPLICE_TEST_OFFLOADS").ok();
        let mut offloads = vec!["adaptive", "always", "never"];
        if let Some(named) = named {
            offloads.retain(|offload| named.split(',').any(|name| name == *offload));
            assert!(
                !offloads.is_empty(),
                "LONGSPLICE_TEST_OFFLOADS names none: {named}"
            );
        }
        offloads.into_iter()
    }
}

const MIB: usize = 1 << 20;
/// Enough to make a direction bulky.
const MUCH: usize = 3 * MIB;

/// A tunnel with both its ends in the test's hands.
struct Joined {
    proxy: Proxy,
    client: Secure,
    server: Peer,
}

fn join(suite: Suite, offload: &str) -> Joined {
    join_with(suite, offload, "")
}

/// Joins and makes both directions bulky where that matters.
fn join_with(suite: Suite, offload: &str, timeouts: &str) -> Joined {
    let mut joined = join_quietly(suite, offload, timeouts);
    if offload == "adaptive" {
        joined.move_much();
    }
    joined
}

fn join_quietly(suite: Suite, offload: &str, timeouts: &str) -> Joined {
    let site = Site::here();
    let origin = Origin::bind();
    let proxy = Plan::tcp(origin.addr())
        .listener_keys(&site.listener_keys(suite, offload))
        .backend_timeouts(timeouts)
        .start();
    let mut client = Secure::connect(proxy.addr(), &suite.client(site));
    client.send("hello");
    let mut server = origin.accept();
    server.expect("hello");
    server.send("welcome");
    client.expect("welcome");
    Joined {
        proxy,
        client,
        server,
    }
}

impl Joined {
    /// Moves so much both ways that both directions are bulky afterwards.
    fn move_much(&mut self) {
        let mut server = self.server.twin();
        let echo = thread::spawn(move || {
            let mut left = MUCH;
            let mut buffer = vec![0; 65_536];
            while left > 0 {
                let len = server.receive(&mut buffer).unwrap();
                server.send(&buffer[..len]);
                left -= len;
            }
        });
        let traffic = Traffic {
            up: MUCH,
            down: MUCH,
            pieces: Pieces::Large,
            key_update_every: None,
        };
        let hash = exchange(&mut self.client, 9, &traffic);
        echo.join().unwrap();
        assert_eq!(hash, traffic.hash(9));
    }
}

/// Demands that the directions went as `offload` and this kernel allow.
fn expect_paths(line: &Value, suite: Suite, offload: &str) {
    for key in ["path_in", "path_out"] {
        let path = line[key].as_str().unwrap();
        let words: HashSet<&str> = path.split('+').collect();
        let kernel = takes(suite, offload);
        assert_eq!(words.contains("kernel-tls"), kernel, "{offload} {line}");
        // What came with the handshake was opened by us even with "always".
        let user = !kernel || offload == "adaptive";
        assert!(!user || words.contains("user-records"), "{offload} {line}");
    }
}
