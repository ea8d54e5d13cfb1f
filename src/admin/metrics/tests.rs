//! The page that a scrape gets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use expect_test::expect_file;

use super::super::sample::Sample;
use super::super::state::{BackendState, ServerState, Status};
use super::scrape::Thread;
use super::*;
use crate::journal::counts::{Count, Names, Stage, Sum, Way};
use crate::journal::{Cause, Offloaded, Subject, Timing, journal};
use crate::proto::addr::PeerAddr;

fn subject(backend: Option<&str>) -> Subject {
    Subject {
        listener: Arc::from("edge"),
        peer: PeerAddr::Unix,
        client: PeerAddr::Unix,
        backend: backend.map(Arc::from),
        server: backend.map(|_| Arc::from("10.0.0.1:80")),
        started: UNIX_EPOCH,
        over_tls: true,
        certificate: None,
        is_http: true,
        timing: None,
        request: None,
    }
}

fn server(name: &str, standing: &str) -> ServerState {
    ServerState {
        name: name.to_owned(),
        address: name.to_owned(),
        standing: standing.to_owned(),
        weight: 100,
        share: 90,
        active: 3,
        max_connections: None,
        connected: 17,
        refused: 2,
        since_ms: 0,
        why: String::new(),
        changes: 0,
        checks_passed: 0,
        checks_failed: 0,
    }
}

/// Counts one or two of everything.
fn sums() -> BTreeMap<Names, Sum> {
    let (journal, _entries) = journal();
    let (unrouted, routed) = (subject(None), subject(Some("app")));
    journal.tally().of(&unrouted, |row| {
        row.add(Count::Accepted, 5);
        row.add(Count::Refused(Cause::Probe), 2);
        row.took(Stage::TlsHandshake, Duration::from_micros(1500));
        row.shook_hands("TLSv1.3", "TLS13_AES_128_GCM_SHA256", true);
        row.shook_hands("TLSv1.2", "unknown", false);
    });
    journal.tally().of(&routed, |row| {
        row.add(Count::Opened, 3);
        row.add(Count::Ended(Cause::ClientClosed), 1);
        row.add(Count::Ended(Cause::Drained), 1);
        row.add(Count::Requests(Cause::Served), 8);
        row.add(Count::Refused(Cause::QueueFull), 1);
        row.add(Count::TunnelBytes(Way::In), 10);
        row.add(Count::TunnelBytes(Way::Out), 20);
        row.add(Count::BodyBytes(Way::Out), 30);
        row.add(Count::Offload(Way::In, Offloaded::Kernel), 1);
        row.add(Count::Offload(Way::Out, Offloaded::NotBulky), 2);
        row.took_all(&Timing {
            connect: Some(Duration::from_millis(70)),
            response: Some(Duration::from_secs(60)),
            ..Timing::default()
        });
    });
    journal.tally().read()
}

fn scrape() -> Scrape {
    Scrape {
        status: Status {
            version: "1.2.3".to_owned(),
            pid: 1,
            phase: "draining".to_owned(),
            started_ms: 0,
            uptime_ms: 0,
            connections: 4,
            max_connections: 1000,
            tunnels: 1,
            tunnels_by_thread: vec![1],
            causes: BTreeMap::new(),
            log_lines_dropped: 6,
        },
        backends: vec![BackendState {
            name: "app".to_owned(),
            balance: "roundrobin".to_owned(),
            waiting: 1,
            max_queue: 128,
            servers: vec![server("10.0.0.1:80", "up"), server("a \"b\"", "drained")],
        }],
        sums: sums(),
        threads: vec![Thread {
            number: "0".to_owned(),
            tunnels: 1,
            moved: vec![("in", "copy", 10), ("out", "splice", 20)],
            pipes: (8, 2),
            pipes_refused: 3,
            overflows: 4,
        }],
        sample: Arc::new(Sample {
            offload: [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]],
            ..Sample::default()
        }),
        log_waiting: 7,
        started_s: 1_700_000_000.25,
    }
}

#[test]
fn the_page_reads_like_this() {
    expect_file!["page.txt"].assert_eq(&page_of(scrape()).unwrap());
}

#[test]
fn the_reference_lists_every_family() {
    expect_file!["../../manual/reference/metrics.md"].assert_eq(&reference());
}

#[test]
fn every_family_is_declared_well_and_has_a_row_on_the_page() {
    let page = page_of(scrape()).unwrap();
    for family in FAMILIES {
        let name = family.name;
        assert!(
            !family.help.is_empty() && !family.help.ends_with('.'),
            "{name}"
        );
        assert!(!name.ends_with("_total"), "{name}");
        let is_row = |line: &&str| line.starts_with(&format!("longsplice_{name}"));
        let row = page
            .lines()
            .find(is_row)
            .unwrap_or_else(|| panic!("no {name}"));
        for label in family.labels {
            assert!(row.contains(&format!("{label}=\"")), "{label}: {row}");
        }
    }
}
