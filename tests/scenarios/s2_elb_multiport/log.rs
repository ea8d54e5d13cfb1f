//! The access log of S2: the same line as nginx wrote, in a file, with the client that the balancer
//! names, and what GoAccess reads there.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustls::version::TLS13;
use serde_json::Value;
use tempfile::TempDir;

use super::{HOST, LINES, REAL_CLIENT, Site, ask, balancer, before, curl, site_with};
use crate::harness::parts::{Part, finish};
use crate::harness::tls::{Identity, Secure};
use crate::harness::{eventually, http};

/// What comes through HAProxy on each port, and so how many lines it makes.
const SCHEMES: [&str; 3] = ["http", "http", "https"];

/// A line of the log, apart from the time.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// The client's address and what stands in front of the time.
    who: String,
    request: String,
    status: String,
    bytes: usize,
    /// Referer and user agent, in their quotes.
    rest: String,
}

impl Line {
    /// Reads a line as Apache's manual says; none = it is something else.
    fn read(line: &str) -> Option<Self> {
        let (who, rest) = line.split_once(" [")?;
        let (time, rest) = rest.split_once("] \"")?;
        // 24/Nov/2026:20:32:06 +0000
        let shape: String = time
            .chars()
            .map(|char| if char.is_ascii_digit() { '0' } else { char })
            .collect();
        assert!(
            shape.starts_with("00/") && shape.ends_with("/0000:00:00:00 +0000"),
            "{line}"
        );
        let (request, rest) = rest.split_once("\" ")?;
        let mut words = rest.splitn(3, ' ');
        Some(Self {
            who: who.to_owned(),
            request: request.to_owned(),
            status: words.next()?.to_owned(),
            bytes: words.next()?.parse().ok()?,
            rest: words.next()?.to_owned(),
        })
    }
}

fn lines(text: &str) -> Vec<Line> {
    text.lines().filter_map(Line::read).collect()
}

/// Asks through a balancer on every port; returns the lines that this must make.
fn ask_through_balancer(
    program: &Command,
    identity: &Identity,
    ports: [SocketAddr; 3],
) -> Option<Vec<Line>> {
    let (_haproxy, fronts) = balancer(ports, "send-proxy")?;
    let made = |(front, scheme): (SocketAddr, &str)| Line {
        who: format!("{REAL_CLIENT} - -"),
        request: "GET /curl?a=b HTTP/1.1".to_owned(),
        status: "200".to_owned(),
        bytes: curl(program, identity, front, scheme).len(),
        rest: "\"https://example.org/from\" \"test/1\"".to_owned(),
    };
    Some(fronts.into_iter().zip(SCHEMES).map(made).collect())
}

/// The site, with its log where the configuration has it, in a folder of the test's own.
fn logging_site() -> Option<(Site, TempDir, PathBuf)> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("access.log");
    let place = path.to_str().unwrap().to_owned();
    let site = site_with(&[("/var/log/longsplice/access.log", place)])?;
    Some((site, dir, path))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn nginx_and_longsplice_write_the_same_line_of_the_client() {
    let (Some(program), Some(before), Some((site, _dir, path))) =
        (Part::Curl.command(), before(), logging_site())
    else {
        return;
    };
    let Some(expected) = ask_through_balancer(&program, &before.identity, before.ports) else {
        return;
    };
    eventually("nginx has written its lines", || {
        lines(&before.nginx.log()) == expected
    });
    let expected = ask_through_balancer(&program, &site.identity, site.ports).unwrap();
    eventually("longsplice has written its lines", || {
        lines(&read(&path)) == expected
    });
}

#[test]
fn goaccess_counts_clients_behind_the_line_and_behind_proxies() {
    let (Some(mut goaccess), Some((site, _dir, path))) = (Part::Goaccess.command(), logging_site())
    else {
        return;
    };
    // Addresses of both families in the PROXY line, and one behind a trusted proxy.
    let chained = ("PROXY TCP4 10.1.2.3 10.0.0.9 4000 443\r\n", "198.51.100.66");
    for (line, client) in LINES.into_iter().chain([chained]) {
        let config = site.identity.client(&TLS13, None);
        let secure = Secure::begin(site.ports[2], &config, HOST, line.as_bytes());
        let lines = if line == chained.0 {
            format!("X-Forwarded-For: {client}, 10.9.9.9\r\n")
        } else {
            String::new()
        };
        ask(secure, &lines);
    }
    // What is refused has a line as well.
    http::exchange(
        site.ports[0],
        format!("{}nonsense\r\n\r\n", LINES[0].0.replace("443", "80")),
    );
    eventually("four lines are there", || lines(&read(&path)).len() == 4);
    let text = read(&path);
    goaccess
        .arg(&path)
        .args(["--log-format=COMBINED", "--no-global-config", "-o", "json"])
        // It would give up at ten lines that are no requests: diagnostics come first.
        .arg("--num-tests=0");
    let said: Value = serde_json::from_str(&finish(&mut goaccess)).unwrap();
    let mut hosts: Vec<(&str, u64)> = said["hosts"]["data"]
        .as_array()
        .unwrap_or_else(|| panic!("{said:#} of\n{text}"))
        .iter()
        .map(|host| {
            let hits = host["hits"]["count"].as_u64();
            (host["data"].as_str().unwrap(), hits.unwrap())
        })
        .collect();
    hosts.sort_unstable();
    assert_eq!(
        hosts,
        [
            ("198.51.100.66", 1),
            ("2001:db8:85a3::8a2e:370:7334", 1),
            ("203.0.113.7", 2)
        ],
        "{text}"
    );
    let codes: Vec<&str> = said["status_codes"]["data"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|class| class["items"].as_array().unwrap())
        .map(|code| code["data"].as_str().unwrap())
        .collect();
    assert_eq!(codes.len(), 2, "{codes:?}");
    assert!(
        codes.iter().any(|code| code.starts_with("200 ")),
        "{codes:?}"
    );
    assert!(
        codes.iter().any(|code| code.starts_with("400 ")),
        "{codes:?}"
    );
}
