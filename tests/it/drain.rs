//! Stops of the process: not ready first, then closed, then empty, at its pace.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::origin::Origin;
use crate::harness::peer::Peer;
use crate::harness::plan::Plan;
use crate::harness::process::{Outcome, Proxy, ctl};
use crate::harness::{eventually, free_addr, http};

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
    let lines = proxy.log_lines();
    let progress: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("still draining"))
        .collect();
    assert!((2..=4).contains(&progress.len()), "{progress:#?}");
    for line in progress {
        let (left, gone) = (number(line, "tunnels"), number(line, "ended_by_window"));
        // Between the two readings tunnels go on to end.
        assert!((1980..=2020).contains(&(left + gone)), "{line}");
    }
    let stopped = proxy.wait_said(&["stopped", "ended_at_timeout=0"]);
    assert_eq!(number(&stopped, "ended_by_window"), 2000, "{stopped}");
    assert_eq!(number(&stopped, "ended_by_themselves"), 0, "{stopped}");
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
    let stopped = proxy.wait_said(&["stopped"]);
    let by_window = number(&stopped, "ended_by_window");
    // Two seconds of ten each.
    assert!((10..=22).contains(&by_window), "{stopped}");
    let at_timeout = number(&stopped, "ended_at_timeout");
    assert_eq!(by_window + at_timeout, 60, "{stopped}");
}

#[test]
fn what_ended_by_itself_is_told_apart() {
    let origin = Origin::bind();
    let plan = Plan::http(origin.addr()).process_keys("drain_timeout = \"1s\"");
    let mut proxy = plan.start();
    let mut unanswered = proxy.connect();
    unanswered.send(http::get("x", "/", ""));
    let _server = origin.accept();
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(0));
    proxy.wait_said(&["stopped", "ended_by_themselves=0", "cut_off_at_timeout=1"]);

    let mut proxy = Plan::tcp(Origin::echo())
        .process_keys("drain_timeout = \"1s\"")
        .start();
    let mut clients = tunnels(&proxy, 3);
    proxy.signal(Signal::SIGTERM);
    proxy.wait_said(&["tunnels=3", " draining"]);
    drop(clients.pop());
    assert_eq!(proxy.wait_exit(), Some(0));
    proxy.wait_said(&[
        "stopped",
        "ended_by_themselves=1",
        "ended_by_window=0",
        "ended_at_timeout=2",
        "cut_off_at_timeout=0",
    ]);
}

/// Where operators look and ask.
struct Operator {
    admin: SocketAddr,
    socket: PathBuf,
    _dir: TempDir,
}

impl Operator {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        Self {
            admin: free_addr(),
            socket: dir.path().join("admin.sock"),
            _dir: dir,
        }
    }

    fn keys(&self, more: &str) -> String {
        let (admin, socket) = (self.admin, self.socket.display());
        format!("admin_http = \"{admin}\"\nadmin_socket = \"{socket}\"\n{more}")
    }

    fn ready(&self) -> bool {
        http::exchange(self.admin, http::get("x", "/readyz", "")).status == 200
    }

    fn ctl(&self, words: &str) -> Outcome {
        ctl(&self.socket, words)
    }

    fn says(&self, words: &str) -> String {
        let outcome = self.ctl(words);
        assert_eq!(outcome.code, Some(0), "{words}: {}", outcome.stderr);
        outcome.stdout
    }

    fn phase(&self) -> Value {
        let status: Value = serde_json::from_str(&self.says("status --json")).unwrap();
        status["phase"].clone()
    }

    /// Demands that a draining process answers at once, and does not obey.
    fn expect_answers(&self, proxy: &Proxy) {
        let refused = self.ctl("reload");
        assert_eq!(refused.code, Some(1), "{}", refused.stdout);
        let why = "not reloaded: the process is draining";
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
        proxy.signal(Signal::SIGHUP);
        proxy.wait_said(&["WARN", why]);
        let said = self.says("drain");
        assert!(said.contains("draining already"), "{said}");
        assert_eq!(self.phase(), "draining");
    }
}

#[test]
fn readiness_fails_first_and_whoever_comes_meanwhile_is_served() {
    let operator = Operator::new();
    let mut proxy = Plan::http(Origin::answering(http::ok("served")).addr)
        .process_keys(&operator.keys("drain_lead = \"4s\""))
        .start();
    let mut kept = proxy.connect();
    assert_eq!(
        http::exchange_on(&mut kept, http::get("x", "/", "")).text(),
        "served"
    );
    assert!(operator.ready());
    assert_eq!(operator.phase(), "running");
    let began = Instant::now();
    proxy.signal(Signal::SIGTERM);
    eventually("not ready", || !operator.ready());
    operator.expect_answers(&proxy);
    let mut late = proxy.connect();
    let answer = http::exchange_on(&mut late, http::get("x", "/", ""));
    // It may ask again.
    assert_eq!(answer.values("connection"), [""; 0]);
    assert_eq!(
        http::exchange_on(&mut kept, http::get("x", "/", "")).text(),
        "served"
    );
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "the machine is too slow for this"
    );
    assert_eq!(proxy.count_said(&["tunnels=0", " draining"]), 0);
    // Both are idle, and go when accepting ends.
    kept.expect_closed();
    late.expect_closed();
    assert!(began.elapsed() >= Duration::from_secs(4));
    assert_eq!(proxy.wait_exit(), Some(0));
    proxy.wait_said(&["lead=4s", "not ready any more"]);
}

#[test]
fn a_second_signal_within_the_lead_exits_at_once() {
    let plan = Plan::tcp(Origin::echo()).process_keys("drain_lead = \"1h\"");
    let mut proxy = plan.start();
    proxy.signal(Signal::SIGTERM);
    proxy.wait_said(&["not ready any more"]);
    let mut client = tunnels(&proxy, 1).remove(0);
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait_exit(), Some(1));
    client.drain();
}

#[test]
fn operators_are_answered_while_it_drains() {
    let operator = Operator::new();
    let mut proxy = Plan::tcp(Origin::echo())
        .process_keys(&operator.keys(""))
        .start();
    let mut client = tunnels(&proxy, 1).remove(0);
    assert!(operator.says("drain").contains("draining"));
    proxy.wait_said(&["tunnels=1", " draining"]);
    operator.expect_answers(&proxy);
    let found: Value = serde_json::from_str(&operator.says("tunnels --json")).unwrap();
    let id = found["tunnels"][0]["id"].as_str().unwrap();
    operator.says(&format!("kill {id}"));
    client.expect_ended();
    assert_eq!(proxy.wait_exit(), Some(0));
    proxy.wait_said(&["stopped", "ended_by_themselves=1", "killed=1"]);
}
