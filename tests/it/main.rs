//! Black-box tests of the binary through its contract: command line, configuration, log lines.
//!
//! Each test starts a longsplice of its own on free ports; nothing here touches the library.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails"
)]

// The process under test, scripted peers, real programs.
mod harness;

// What happens to bad input: nothing, to anybody else.
mod abuse;
// The corpus of request heads in front of real servers.
mod agreement;
// The proxy's own answers: each status, its framing and its cause.
mod answers;
// Listeners behind a balancer of AWS.
mod behind;
// Bodies: streamed, bounded, answered early, expected, silent.
mod bodies;
// Pages in a real browser.
mod browser;
// check, doctor, demo, usage errors.
mod command;
// Conditions on method, headers, query and path; the Host that servers get.
mod conditions;
// Real servers that die, stop, clog, refuse, and come back.
mod faults;
// What the field sends, asked of HAProxy, nginx and longsplice.
mod field;
// X-Forwarded-*, X-Real-IP, and every other header line left alone.
mod forwarding;
// Request heads that real proxies, clients and applications send and understand.
mod fronts;
// WebSockets that a drain ends with a Close frame.
mod goodbye;
// Checks of servers, and what follows from them.
mod health;
// Many requests on one connection, on both sides.
mod keep_alive;
// TLS whose records the kernel protects, where it can.
mod ktls;
// Clients that leave before their answer is complete.
mod leaving;
// Access lines: what they say and when.
mod log;
// Several machines: a cut link, nodes that agree.
mod machines;
// Connections that speak another protocol than their listener expects.
mod misdirected;
// Names of servers that change, fail and recover.
mod names;
// Metrics, health, readiness.
mod metrics;
// Error pages, Strict-Transport-Security.
mod pages;
// Clients that speak HTTP/1.0.
mod old_clients;
// Unix sockets in the file system.
mod paths;
// The PROXY protocol in front of the client's bytes.
mod proxy_in;
// The PROXY protocol in front of what a server gets.
mod proxy_out;
// Start, stop, drain, limits on connections.
mod process;
// Real clients, servers and balancers around the proxy.
mod real;
// Another configuration, in place.
mod reload;
// Waiting costs no processor time, in any state.
mod rest;
// The corpus of answers, through the proxy.
mod responses;
// Which request goes where.
mod routing;
// Several servers: who gets a connection, limits, the queue.
mod servers;
// What the process may still do once it serves.
mod sandbox;
// The dashboard: what it answers to whom, and its page in a browser.
mod dashboard;
// A stop that is spread over a time.
mod drain;
// A running process is asked, and told.
mod ctl;
// Whose process it is, what it may, its pid file.
mod service;
// TLS to servers.
mod server_tls;
// TLS passed through unopened, routed by server name.
mod sni;
// What is refused and never repaired, requests and responses.
mod strict;
// What systemd gives and is told; the units.
mod systemd;
// Tunnels in tcp mode: bytes, ends, silence.
mod tcp;
// TLS ended by the proxy.
mod tls;
// The program inside of what its unit allows.
mod unit;
// A running process in a terminal.
mod top;
// WebSocket upgrades in http mode.
mod upgrade;
// A lot of bytes, a lot of tunnels, a reader that does not read.
mod volume;
// A machine that refuses io_uring.
mod without_ring;
