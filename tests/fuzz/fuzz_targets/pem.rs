//! Files that are named where a certificate, a key or a revocation list is wanted.

#![no_main]

#[path = "../../corpus/pem.rs"]
mod pem;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pem::check(bytes));
