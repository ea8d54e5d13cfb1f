//! The log of S3: httplog lines of facility local1, as they leave, and in the file of a real rsyslog
//! beside those of HAProxy.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{
    Applications, COLTRANE, Certificates, MAPS, STRANGER, ask, before, check_socket_io,
    site_logging_to,
};
use crate::harness::http::{self, get};
use crate::harness::httplog::{fields_of, halog, without_syslog};
use crate::harness::peer::Peer;
use crate::harness::rsyslog::Rsyslog;
use crate::harness::{PATIENCE, eventually};

/// Waits for a message of facility local1 that ends with this request line, and returns it.
fn received(receiver: &UdpSocket, request: &str) -> String {
    let mut buffer = [0; 8192];
    loop {
        let len = receiver.recv(&mut buffer).unwrap();
        let message = std::str::from_utf8(&buffer[..len]).unwrap();
        let (facility, said) = message.split_once('>').unwrap();
        // 17 is local1; the lowest three bits are the severity (RFC 3164 section 4.1.1).
        assert_eq!(facility[1..].parse::<u8>().unwrap() >> 3, 17, "{message}");
        if said.ends_with(&format!(" \"{request} HTTP/1.1\"")) {
            return said.to_owned();
        }
    }
}

#[test]
fn syslog_gets_what_haproxys_readers_read() {
    let Some(apps) = Applications::start(1, 1) else {
        return;
    };
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let site = site_logging_to(receiver.local_addr().unwrap(), apps, &[]);
    site.ask(MAPS, "/one?a=b");
    site.ask("elsewhere", "/two");
    let mut stranger = Peer::connect(site.doors.http);
    stranger.send(format!("PROXY TCP4 {STRANGER} 10.0.0.1 51000 80\r\n"));
    http::exchange_on(&mut stranger, get(COLTRANE, "/three", ""));

    let maps = format!(" https~ maps/127.0.0.1:{} ", site.apps.maps[0].0);
    let one = received(&receiver, "GET /one?a=b");
    assert!(one.contains(&maps) && one.contains(" 200 "), "{one}");
    assert!(one.contains(" ---- "), "{one}");
    let two = received(&receiver, "GET /two");
    assert!(two.contains(" 404 "), "{two}");
    let three = received(&receiver, "GET /three");
    assert!(three.contains(&format!(" {STRANGER}:51000 [")), "{three}");
    assert!(three.contains(" 301 "), "{three}");

    // HAProxy's own reader counts answers.
    if let Some(counts) = halog(&["-st"], &format!("{one}\n{two}\n{three}\n")) {
        assert_eq!(counts, ["200 1", "301 1", "404 1"]);
    }
}

/// rsyslog as HAProxy's users set it up: what comes on local1 has a file of its own.
fn rsyslog() -> Option<Rsyslog> {
    let rules = |at: &Path| {
        let at = at.display();
        format!(
            "$ActionFileDefaultTemplate RSYSLOG_TraditionalFileFormat\n\
             local1.* {at}/haproxy.log\n*.*;local1.none {at}/other.log\n"
        )
    };
    Rsyslog::start(rules)
}

/// Asks one application over TLS and the other as a stranger on port 80, and for a host that is
/// nobody's.
fn ask_everything(
    https: std::net::SocketAddr,
    http: std::net::SocketAddr,
    certificates: &Certificates,
) {
    assert_eq!(ask(https, certificates, MAPS, "/one?a=b").status, 200);
    assert_eq!(ask(https, certificates, COLTRANE, "/two").status, 200);
    let mut stranger = Peer::connect(http);
    stranger.send(format!("PROXY TCP4 {STRANGER} 10.0.0.1 51000 80\r\n"));
    let answer = http::exchange_on(&mut stranger, get(COLTRANE, "/three", ""));
    assert_eq!(answer.status, 301);
}

/// Waits for the lines of what was asked in the file of local1.
fn wait_lines(rsyslog: &Rsyslog) -> String {
    rsyslog.wait_for("haproxy.log", "all lines are there", |text| {
        ["/one?a=b", "/two", "/three"]
            .iter()
            .all(|target| text.contains(&format!("\"GET {target} HTTP/1.1\"\n")))
    })
}

/// Returns the fields of the line of a request.
fn find<'a>(fields: &'a [Value], target: &str) -> &'a Value {
    let request = format!("GET {target} HTTP/1.1");
    let found = fields.iter().find(|line| line["request"] == request);
    found.unwrap_or_else(|| panic!("{target} in {fields:#?}"))
}

/// Reads the access lines of a file by the manual.
fn read(text: &str) -> Option<Vec<Value>> {
    let lines: Vec<&str> = text
        .lines()
        .map(without_syslog)
        .filter(|line| line.ends_with(" HTTP/1.1\""))
        .collect();
    fields_of(&lines)
}

#[test]
fn rsyslog_files_local1_apart_and_halog_reads_it() {
    let (Some(rsyslog), Some(apps)) = (rsyslog(), Applications::start(1, 1)) else {
        return;
    };
    let mut site = site_logging_to(rsyslog.addr(), apps, &[]);
    // The supervisor knows it by its pid file alone.
    let pid_file = site.certificates.path("pid");
    let pid = fs::read_to_string(&pid_file).unwrap();
    assert_eq!(pid.trim(), site.proxy.pid().to_string());
    ask_everything(site.doors.https, site.doors.http, &site.certificates);
    check_socket_io(site.doors.https, &site.certificates);
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    let of_others = "<30>Feb  6 12:14:14 host other[1]: of somebody else";
    daemon
        .send_to(of_others.as_bytes(), rsyslog.addr())
        .unwrap();
    rsyslog.wait_for("other.log", "the message of others", |text| {
        text.contains("of somebody else")
    });
    kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(site.proxy.wait_exit(), Some(0));
    assert!(!pid_file.exists());
    wait_lines(&rsyslog);
    let text = rsyslog.wait_for("haproxy.log", "the last words", |text| {
        text.contains("stopped")
    });
    assert!(!text.contains("of somebody else"), "{text}");
    let other = fs::read_to_string(rsyslog.path("other.log")).unwrap();
    assert_eq!(other.matches("longsplice[").count(), 0, "{other}");
    assert!(
        text.lines()
            .all(|line| line.contains(&format!(" longsplice[{}]: ", pid.trim()))),
        "{text}"
    );
    let Some(fields) = read(&text) else {
        return;
    };
    let server = format!("127.0.0.1:{}", site.apps.maps[0].0);
    for (field, value) in [
        ("client_ip", "127.0.0.1"),
        ("frontend", "https"),
        ("ssl", "~"),
        ("backend", "maps"),
        ("server", &server),
        ("status", "200"),
        ("state", "----"),
    ] {
        assert_eq!(find(&fields, "/one?a=b")[field], value, "{field}");
    }
    for (field, value) in [
        ("client_ip", STRANGER),
        ("client_port", "51000"),
        ("frontend", "http"),
        ("server", "<NOSRV>"),
        ("status", "301"),
        ("state", "LR--"),
    ] {
        assert_eq!(find(&fields, "/three")[field], value, "{field}");
    }
    // The file as it is, diagnostics in it and all.
    let Some(counted) = halog(&["-q", "-H", "-hs", "301", "-ic"], &text) else {
        return;
    };
    assert!(
        counted.iter().any(|line| line.contains(STRANGER)) && counted.len() == 2,
        "{counted:?}"
    );
    let urls = halog(&["-q", "-H", "-query", "-uc"], &text).unwrap();
    assert!(
        urls.iter().any(|line| line.ends_with(" /one?a=b")),
        "{urls:?}"
    );
    let servers = halog(&["-q", "-H", "-srv"], &text).unwrap();
    for name in [format!("maps/{server}"), format!("maps_websocket/{server}")] {
        assert!(
            servers
                .iter()
                .any(|line| line.starts_with(&format!("{name} "))),
            "{name} {servers:?}"
        );
    }
}

#[test]
fn rsyslog_gets_the_same_fields_as_from_haproxy() {
    let (Some(rsyslog), Some(apps)) = (rsyslog(), Applications::start(1, 1)) else {
        return;
    };
    let Some(before) = before::start(rsyslog.addr()) else {
        return;
    };
    eventually("HAProxy's servers are up", || {
        let status = |host| ask(before.https, &before.certificates, host, "/up").status;
        status(MAPS) == 200 && status(COLTRANE) == 200
    });
    ask_everything(before.https, before.http, &before.certificates);
    let Some(theirs) = read(&wait_lines(&rsyslog)) else {
        return;
    };
    drop(before);
    fs::File::create(rsyslog.path("haproxy.log")).unwrap();
    let site = site_logging_to(rsyslog.addr(), apps, &[]);
    ask_everything(site.doors.https, site.doors.http, &site.certificates);
    let ours = read(&wait_lines(&rsyslog)).unwrap();
    // Not client and frontend, which stunnel hides from HAProxy, and bytes, which count no heads.
    for target in ["/one?a=b", "/two", "/three"] {
        let (ours, theirs) = (find(&ours, target), find(&theirs, target));
        for field in [
            "backend",
            "status",
            "req_cookie",
            "res_cookie",
            "state",
            "retries",
            "srv_queue",
            "backend_queue",
            "request",
        ] {
            if field == "backend" && target == "/three" {
                // Both name the listener where no backend was chosen.
                assert_eq!(
                    (&ours[field], &theirs[field]),
                    (&ours["frontend"], &theirs["frontend"])
                );
                continue;
            }
            assert_eq!(ours[field], theirs[field], "{field}: {ours} {theirs}");
        }
        for time in ["tr_request", "tw", "tc", "tr", "ta"] {
            assert_eq!(
                ours[time] == "-1",
                theirs[time] == "-1",
                "{time}: {ours} {theirs}"
            );
        }
    }
}
