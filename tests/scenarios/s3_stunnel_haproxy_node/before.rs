//! What stood there before, on its own configurations: it does the same.

use std::fs;
use std::process::Command;

use super::{Applications, Certificates, check_redirects, check_socket_io, text};
use crate::haproxy::Haproxy;
use crate::harness::free_addr;
use crate::harness::parts::{Running, in_path, or_skip};
use crate::harness::process::wait_listening_on;
use crate::put;

#[test]
fn stunnel_and_haproxy_do_the_same() {
    let stunnel = or_skip("stunnel4", in_path("stunnel4").map(Command::new));
    let (Some(mut stunnel), Some(apps)) = (stunnel, Applications::start(1, 1)) else {
        return;
    };
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
            // Nobody listens there.
            ("127.0.0.1:514", free_addr().to_string()),
            ("127.0.0.1:3000", format!("127.0.0.1:{}", apps.maps[0].0)),
            (
                "127.0.0.1:8000",
                format!("127.0.0.1:{}", apps.coltrane[0].0),
            ),
        ],
    );
    let Some(_haproxy) = Haproxy::start_on(&haproxy, &[from_stunnel, from_strangers]) else {
        return;
    };
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
    check_redirects(from_strangers);
    check_socket_io(https, &certificates);
}
