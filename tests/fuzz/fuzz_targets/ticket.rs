//! What a server sends behind the handshake: tickets and KeyUpdates, in whatever records.

#![no_main]

#[path = "../../corpus/ticket.rs"]
mod ticket;
#[path = "../../corpus/record_keys.rs"]
mod record_keys;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ticket::check(bytes));
