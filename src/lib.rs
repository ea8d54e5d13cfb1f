//! longsplice joins a client's connection to a server's and gets out of the way.
//!
//! The map, from the bottom up. A module imports only the modules that its row names, and these stand
//! above it (`cargo xtask test` checks the table against the code):
//!
//! | module | job | imports |
//! |---|---|---|
//! | [`proto`] | pure: bytes in, values out (PROXY protocol, HTTP/1.1 heads, WebSocket opening and frames, readiness) | |
//! | [`sys`] | the only unsafe code: ring, epoll, sockets, pipes, kernel TLS, probes | `proto` |
//! | [`balance`] | pure: chooses a server, judges its health, ramps its share up; load and time are passed in | |
//! | [`journal`] | the closed list of causes, the entries of the log, the bounded queue that carries them, the counters | `proto` |
//! | [`tls`] | certificates, handshakes, records and what they mean, keys as the kernel takes them; no sockets | `proto` |
//! | [`config`] | TOML in, only legal values out; each key declared once | `balance`, `proto`, `tls` |
//! | [`relay`] | established tunnels: a pure state machine, and the loop that drives it | `journal`, `proto`, `sys`, `tls` |
//! | [`upstream`] | backends at run time: their servers, health, queues, and who gets the next connection | `balance`, `config`, `proto`, `tls` |
//! | [`log`] | access lines and diagnostics: formats, targets, losses | `config`, `journal`, `proto` |
//! | [`admin`] | what operators read and ask: metrics, dashboard, control socket | `config`, `journal`, `log`, `proto`, `relay`, `sys`, `upstream` |
//! | [`reception`] | the opening of connections: PROXY header, TLS handshake, request head, route, connect, answers | `config`, `journal`, `proto`, `relay`, `sys`, `tls`, `upstream` |
//! | [`process`] | start, signals, reload, drain, privileges, certificates that change at run time | `admin`, `balance`, `config`, `journal`, `log`, `reception`, `relay`, `sys`, `tls`, `upstream` |
//! | [`manual`] | pure: the pages of the manual, and how they become man pages | |
//! | [`cli`] | the command line, doctor, demo, top | `admin`, `config`, `log`, `manual`, `process`, `proto`, `sys` |

pub mod admin;
pub mod balance;
pub mod cli;
pub mod config;
pub mod journal;
pub mod log;
pub mod manual;
pub mod process;
pub mod proto;
pub mod reception;
pub mod relay;
#[allow(unsafe_code, reason = "the one module that may: DESIGN of the project")]
pub mod sys;
pub mod tls;
pub mod upstream;
