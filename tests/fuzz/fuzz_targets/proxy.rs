//! PROXY headers of both versions.

#![no_main]

#[path = "../../corpus/proxy.rs"]
mod proxy;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxy::check(bytes));
