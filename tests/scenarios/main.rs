//! Deployments that people run today, each with the configuration a user would copy, its
//! application, and the test that puts real parts around it.
//!
//! Where the configuration names ports and networks of production, the test puts its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails"
)]

#[allow(
    dead_code,
    reason = "shared with the tests in tests/it, which use all of it"
)]
#[path = "../it/harness/mod.rs"]
mod harness;

// Certificates as an authority hands them out.
mod authority;
// HAProxy as a balancer.
mod haproxy;
// nginx as what was there before.
mod nginx;
// What READMEs show of the scenarios.
mod readmes;

// A classic ELB that sends PROXY lines, in front of a Node application.
mod s0_elb_nginx;
// What stands in for the balancer on a developer's machine, in front of Erlang and Cowboy.
mod s1_local_elb;
// A balancer that sends PROXY lines on several ports, before TLS too.
mod s2_elb_multiport;
// TLS and routes in front of two Node applications, where two proxies stood.
mod s3_stunnel_haproxy_node;
// One Node WebSocket server whose clients mostly listen.
mod s4_haproxy_wss;

/// Puts the test's own text in place of production's, which must occur.
fn put(configuration: &str, changes: &[(&str, String)]) -> String {
    let mut text = configuration.to_owned();
    for (production, test) in changes {
        assert!(
            text.contains(production),
            "{production} in the configuration"
        );
        text = text.replace(production, test);
    }
    text
}
