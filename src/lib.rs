//! longsplice joins a client's connection to a server's and gets out of the way.
//!
//! The map, from the bottom up; a module may import only what stands above it in this list
//! (`cargo xtask test` checks it):
//!
//! | module | job |
//! |---|---|
//! | [`proto`] | pure: bytes in, values out (PROXY protocol, HTTP/1.1 heads, WebSocket opening, frames) |
//! | [`sys`] | all unsafe code: ring, epoll, sockets, pipes, probes |
//! | [`balance`] | pure: chooses a server from load and clock that are passed in |
//! | [`journal`] | closed vocabulary of ends and the bounded queue of log entries |
//! | [`tls`] | certificates, handshakes, records; no sockets |
//! | [`config`] | TOML in, only legal values out |
//! | [`relay`] | established tunnels: a pure state machine and the loop that drives it |
//! | [`upstream`] | backends at run time: members, line-up, places, queue |
//! | [`log`] | access lines and diagnostics: their forms and targets |
//! | [`admin`] | what operators read and ask: metrics, dashboard, control socket |
//! | [`reception`] | opening of connections: PROXY header, request head, route, connect |
//! | [`process`] | start, signals, reload, drain |
//! | [`cli`] | the command line, doctor, demo |

pub mod admin;
pub mod balance;
pub mod cli;
pub mod config;
pub mod journal;
pub mod log;
pub mod process;
pub mod proto;
pub mod reception;
pub mod relay;
#[allow(unsafe_code, reason = "the one module that may: DESIGN of the project")]
pub mod sys;
pub mod tls;
pub mod upstream;
