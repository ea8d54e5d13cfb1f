//! What operators read.

pub mod demo;
pub mod doctor;
