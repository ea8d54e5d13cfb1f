//! The process: start, signals, reload, drain.
//!
//! Everything that can be wrong is found before the first connection is accepted. After that main
//! only waits for signals; the data threads never wait for main.

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
