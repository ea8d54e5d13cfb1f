//! What operators read: access log, diagnostics, the doctor's report, the demo's page.

pub mod access_log;
pub mod demo;
pub mod diagnostics;
pub mod doctor;
