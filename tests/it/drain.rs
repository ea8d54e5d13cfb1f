//! A stop that is spread over a time, so that clients do not all come back at once.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::origin::Origin;
use crate::harness::plan::Plan;

/// Tunnels that are ended.
const TUNNELS: usize = 400;
const WINDOW: Duration = Duration::from_secs(4);
const BUCKET: Duration = Duration::from_millis(500);

#[test]
fn tunnels_end_evenly_over_the_window() {
    let mut proxy = Plan::tcp(Origin::echo())
        .process_keys("drain_window = \"4s\"")
        .start();
    let mut clients: Vec<_> = (0..TUNNELS)
        .map(|_| {
            let mut client = proxy.connect();
            client.send("x");
            client.expect("x");
            client
        })
        .collect();
    let began = Instant::now();
    proxy.signal(Signal::SIGTERM);
    let ends: Vec<Duration> = thread::scope(|scope| {
        let waiting: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    client.expect_closed();
                    began.elapsed()
                })
            })
            .collect();
        waiting.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let buckets = WINDOW.as_millis().div_ceil(BUCKET.as_millis());
    let share = TUNNELS as u128 / buckets;
    let in_bucket = |bucket: u128| {
        let falls = |end: &&Duration| end.as_millis() / BUCKET.as_millis() == bucket;
        ends.iter().filter(falls).count() as u128
    };
    for bucket in 0..=buckets {
        let count = in_bucket(bucket);
        assert!(count <= share * 2, "{count} in bucket {bucket}: {ends:?}");
    }
    let last = ends.iter().max().unwrap();
    assert!(*last > WINDOW / 2 && *last < WINDOW + BUCKET, "{last:?}");
    assert_eq!(proxy.wait_exit(), Some(0));
    assert_eq!(proxy.wait_cause("close", "drained")["side"], "proxy");
}
