//! Hashes that are the same on every node and in every version: fixed constants, no seed.
//!
//! They spread load; they do not protect. A client with many addresses can choose among them, as with every
//! hash of an address.
//!
//! # Source
//! The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
//! 2014); FNV-1a (draft-eastlake-fnv).

use std::net::IpAddr;

/// Spreads the bits of neighbouring numbers over all 64; no two numbers become the same.
pub(crate) fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Returns the hash of a client's address. IPv4 and IPv4-mapped IPv6 addresses are the same.
pub(super) fn address(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => mix(u64::from(u32::from(ip)) ^ 0x9e37_79b9_7f4a_7c15),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            let [high, low] = [bits >> 64, bits & u128::from(u64::MAX)];
            // Both halves fit by construction.
            let [high, low] = [high, low].map(|half| u64::try_from(half).unwrap_or(0));
            mix(mix(high ^ 0x9e37_79b9_7f4a_7c15) ^ low)
        }
    }
}

/// Returns the hash used for a client without an address.
pub(super) fn ticket(ticket: usize) -> u64 {
    // Widening: a usize has at most 64 bits here.
    mix(ticket as u64 ^ 0x9e37_79b9_7f4a_7c15)
}

/// Returns the hash of a server's key; `copy` distinguishes servers with the same key.
pub(super) fn key(key: &str, copy: u64) -> u64 {
    let folded = key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(folded.wrapping_add(copy.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}
