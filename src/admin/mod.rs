//! Administration: metrics, the dashboard, the control socket.

pub mod ctl;
pub mod http;
mod mark;
pub mod metrics;
pub mod overview;
pub mod sample;
pub mod state;
