//! HTTP under load with servers that close whenever they like: no wrong status, no wrong body, no
//! request done twice, nothing left behind.
//!
//! A target of its own, so that no test with a time to keep runs beside it. It lasts 20 seconds, or
//! as many as `LONGSPLICE_TEST_LOAD_S` says.

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

// Servers that are told in each request how to end it.
mod backend;
// Clients that know how each of their requests must end.
mod client;
// What a request asks for, and its body, as both sides compute it.
mod wish;

use std::thread;
use std::time::{Duration, Instant};

use harness::eventually;
use harness::parts::{Part, file, finish_within};
use harness::plan::Plan;
use harness::process::Proxy;

/// Clients that look at every byte, beside the pressure of wrk.
const CLIENTS: u64 = 6;
/// Memory that may be added between the first quarter of the time and its end.
const GROWTH_MAX_KIB: usize = 4096;

fn time() -> Duration {
    let seconds = std::env::var("LONGSPLICE_TEST_LOAD_S").ok();
    Duration::from_secs(seconds.map_or(20, |text| text.parse().unwrap()))
}

/// Runs wrk for `time`, whose script looks at every answer.
fn press(proxy: &Proxy, time: Duration) -> Option<String> {
    let mut wrk = Part::Wrk.command()?;
    wrk.args(["-t", "1", "-c", "24", "--timeout", "15s", "-d"])
        .arg(format!("{}s", time.as_secs()))
        .arg("-s")
        .arg(file("load/fates.lua"))
        .arg(format!("http://{}/", proxy.addr()));
    Some(finish_within(&mut wrk, time + Duration::from_secs(60)))
}

/// Demands that wrk saw nothing wrong.
fn judge(report: &str) {
    println!("{report}");
    for complaint in ["Socket errors", "Non-2xx"] {
        assert!(!report.contains(complaint), "{report}");
    }
    assert!(report.contains("wrong answers: 0\n"), "{report}");
}

#[test]
fn servers_that_close_at_random_spoil_nothing() {
    let time = time();
    let servers = [backend::start(), backend::start()];
    let proxy = Plan::http(servers[0].addr)
        .process_keys("\n[log]\naccess = \"off\"")
        .backend_keys("balance = \"round_robin\"")
        .server_keys(&format!(
            "[[backend.server]]\naddress = \"{}\"",
            servers[1].addr
        ))
        .start();
    let before = proxy.settled_descriptors();
    let until = Instant::now() + time;
    let (tally, grown) = thread::scope(|scope| {
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|seed| {
                scope.spawn({
                    let addr = proxy.addr();
                    move || client::run(addr, seed, until)
                })
            })
            .collect();
        let pressing = scope.spawn(|| press(&proxy, time));
        // A quarter of the run, after which buffers and pools have grown to what they need.
        thread::sleep(time / 4);
        let warm = proxy.resident_kib();
        let mut tally = client::Tally::default();
        for client in clients {
            tally.add(&client.join().unwrap());
        }
        let grown = proxy.resident_kib().saturating_sub(warm);
        if let Some(report) = pressing.join().unwrap() {
            judge(&report);
        }
        (tally, grown)
    });
    println!("{tally:?}, {grown} KiB more");
    tally.judge();
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB more");
    proxy.wait_descriptors(before);
    for server in &servers {
        eventually("the servers' connections end", || server.connections() == 0);
        assert_eq!(server.complaints(), Vec::<String>::new());
    }
}
