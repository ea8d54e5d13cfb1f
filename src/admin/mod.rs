//! What operators read: the log and its diagnostics, the doctor's report, the demo's page.

pub mod ctl;
pub mod demo;
pub mod diagnostics;
pub mod doctor;
pub mod http;
pub mod log;
mod mark;
pub mod metrics;
pub mod overview;
pub mod sample;
pub mod state;
