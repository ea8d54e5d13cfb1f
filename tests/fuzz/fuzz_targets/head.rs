//! Heads of requests and responses, forwarding, and bodies.

#![no_main]

// The verdicts on the labelled files are for the corpus test alone.
#[allow(dead_code)]
#[path = "../../corpus/head.rs"]
mod head;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| head::check(bytes));
