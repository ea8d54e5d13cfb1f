//! What operators read.

pub mod doctor;
