//! Stops of the process: closed, then empty, at its pace.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;

mod crowd;

use crowd::Crowd;

const BUCKET: Duration = Duration::from_millis(500);

/// Reads a number that stands as `key=` in a line of the log.
fn number(line: &str, key: &str) -> u64 {
    let mut words = line.split_whitespace();
    let value = words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let value = value.unwrap_or_else(|| panic!("no {key} in {line}"));
    value.parse().unwrap()
}

#[test]
fn two_thousand_websockets_end_evenly_and_each_in_good_order() {
    const TUNNELS: usize = 2000;
    const WINDOW: Duration = Duration::from_secs(20);
    let mut proxy = Plan::http(crowd::serve())
        .process_keys("drain_window = \"20s\"")
        .start();
    let crowd = Crowd::open(proxy.addr(), TUNNELS);
    let began = Instant::now();
    proxy.signal(Signal::SIGTERM);
    let ends = crowd.ends();
    let wrong: Vec<&String> = ends.iter().map(|end| &end.wrong).collect();
    let wrong: Vec<_> = wrong
        .into_iter()
        .filter(|wrong| !wrong.is_empty())
        .collect();
    assert_eq!(wrong, [""; 0], "{} ends are not clean", wrong.len());
    let mut buckets = BTreeMap::<u128, usize>::new();
    for end in &ends {
        let bucket = (end.at - began).as_millis() / BUCKET.as_millis();
        *buckets.entry(bucket).or_default() += 1;
    }
    let share = TUNNELS / 40;
    let most = buckets.values().max().unwrap();
    assert!(*most <= share * 2, "{most} in one of {buckets:?}");
    let last = ends.iter().map(|end| end.at - began).max().unwrap();
    assert!(
        last > WINDOW * 9 / 10 && last < WINDOW + BUCKET * 2,
        "{last:?}"
    );

    assert_eq!(proxy.wait_exit(), Some(0));
    let begun = proxy.wait_said(&["tunnels=2000", "window=20s", "timeout=600s", " draining"]);
    assert_eq!(number(&begun, "connections"), 2000, "{begun}");
}

/// Opens tunnels in `mode = "tcp"`.
fn tunnels(proxy: &Proxy, count: usize) -> Vec<Peer> {
    let open = |_| {
        let mut client = proxy.connect();
        client.send("x");
        client.expect("x");
        client
    };
    (0..count).map(open).collect()
}

#[test]
fn the_rate_wins_over_the_window_and_the_timeout_over_both() {
    let keys = "drain_window = \"500ms\"\ndrain_rate = 10\ndrain_timeout = \"2s\"";
    let mut proxy = Plan::tcp(Origin::echo()).process_keys(keys).start();
    let mut clients = tunnels(&proxy, 60);
    let began = Instant::now();
    proxy.signal(Signal::SIGTERM);
    proxy.wait_said(&[
        "WARN",
        "rate=10",
        "takes=6s",
        "longer than server.drain_window",
    ]);
    for client in &mut clients {
        client.expect_closed();
    }
    assert!(began.elapsed() >= Duration::from_millis(1900));
    assert_eq!(proxy.wait_exit(), Some(0));
    // Two seconds of ten each have ended before.
    let left = number(&proxy.wait_said(&["stopped"]), "ended_by_us");
    assert!((38..=50).contains(&left), "{left}");
}
