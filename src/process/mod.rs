//! The process: start, signals, reload, drain.
//!
//! Every error is found before the first connection is accepted. After that the control thread only waits for
//! signals and requests; the data threads never wait for it.

mod backends;
mod certificates;
mod changes;
mod drain;
mod inherited;
mod kernel_tls;
mod limits;
mod listeners;
mod notify;
mod pid_file;
mod places;
mod plan;
mod privileges;
mod reload;
mod running;
pub mod sandbox;
mod sources;
mod start;
mod start_error;

pub use start::{run, run_announced};
