//! Records of TLS and what they mean, sealed by a client that has the keys.

#![no_main]

#[path = "../../corpus/record.rs"]
mod record;
#[path = "../../corpus/record_keys.rs"]
mod record_keys;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| record::check(bytes));
