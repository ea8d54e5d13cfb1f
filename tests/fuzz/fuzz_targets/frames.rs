//! Frames of a WebSocket server.

#![no_main]

#[path = "../../corpus/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| frames::check(bytes));
