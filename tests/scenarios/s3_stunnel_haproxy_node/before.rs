//! What stood there before, on its own configurations: it does the same.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use super::{Applications, Certificates, check_redirects, check_socket_io, text};
use crate::haproxy::Haproxy;
use crate::harness::free_addr;
use crate::harness::parts::{Running, in_path, or_skip};
use crate::harness::process::wait_listening_on;
use crate::put;

/// stunnel and HAProxy in front of the applications.
pub(super) struct Before {
    _apps: Applications,
    _haproxy: Haproxy,
    _stunnel: Running,
    pub(super) certificates: Certificates,
    pub(super) https: SocketAddr,
    /// Where strangers come with a PROXY line.
    pub(super) http: SocketAddr,
}

/// Starts all of it, with a receiver of HAProxy's log; none = a part is missing.
pub(super) fn start(syslog: SocketAddr) -> Option<Before> {
    let mut stunnel = or_skip("stunnel4", in_path("stunnel4").map(Command::new))?;
    let apps = Applications::start(1, 1)?;
    let certificates = Certificates::new();
    let (https, from_stunnel, from_strangers) = (free_addr(), free_addr(), free_addr());
    let haproxy = put(
        include_str!("haproxy.cfg"),
        &[
            (
                "bind 0.0.0.0:80",
                format!("bind {from_stunnel}\n    bind {from_strangers} accept-proxy"),
            ),
            ("/run/haproxy.pid", text(&certificates.path("haproxy.pid"))),
            ("127.0.0.1:514", syslog.to_string()),
            ("127.0.0.1:3000", format!("127.0.0.1:{}", apps.maps[0].0)),
            (
                "127.0.0.1:8000",
                format!("127.0.0.1:{}", apps.coltrane[0].0),
            ),
        ],
    );
    let haproxy = Haproxy::start_on(&haproxy, &[from_stunnel, from_strangers])?;
    let configuration = put(
        include_str!("stunnel.conf"),
        &[
            (
                "pid = /run/stunnel.pid",
                "pid =\nforeground = quiet".to_owned(),
            ),
            (
                "/etc/ssl/private/site.pem",
                text(&certificates.path("site.pem")),
            ),
            ("accept = 443", format!("accept = {https}")),
            ("connect = 80", format!("connect = {from_stunnel}")),
        ],
    );
    let file = certificates.path("stunnel.conf");
    fs::write(&file, configuration).unwrap();
    let stunnel = Running::start(stunnel.arg(&file));
    wait_listening_on(stunnel.pid(), &https.to_string());
    Some(Before {
        _apps: apps,
        _haproxy: haproxy,
        _stunnel: stunnel,
        certificates,
        https,
        http: from_strangers,
    })
}

#[test]
fn stunnel_and_haproxy_do_the_same() {
    // Nobody receives the log.
    let Some(before) = start(free_addr()) else {
        return;
    };
    check_redirects(before.http);
    check_socket_io(before.https, &before.certificates);
}
