//! `listener.behind`: the defaults of each balancer, and settings that contradict it.

use std::time::Duration;

use super::full::round_trip;
use super::{check, listener, read};
use crate::config::{ProxyProtocol, TcpKeepalive};

/// A file with one listener that has an address and a trusted proxy.
fn trusting(lines: &str) -> String {
    listener(&format!(
        "bind = \"127.0.0.1:80\"\ntrusted_proxies = [\"10.0.0.0/8\"]\n{lines}"
    ))
}

#[test]
fn a_balancer_sets_what_fits_it() {
    let minute = Duration::from_mins(1);
    let rows = [
        ("", ProxyProtocol::Off, TcpKeepalive::System, 65),
        (
            "behind = \"clb\"",
            ProxyProtocol::Require,
            TcpKeepalive::System,
            75,
        ),
        (
            "behind = \"nlb\"",
            ProxyProtocol::Require,
            TcpKeepalive::After(minute),
            65,
        ),
        (
            "behind = \"alb\"",
            ProxyProtocol::Off,
            TcpKeepalive::System,
            75,
        ),
        (
            "behind = \"nlb\"\nproxy_protocol = \"optional\"\ntcp_keepalive = \"100s\"\n\
             timeouts.keep_alive = \"1s\"",
            ProxyProtocol::Optional,
            TcpKeepalive::After(Duration::from_secs(100)),
            1,
        ),
    ];
    for (lines, proxy_protocol, tcp_keepalive, keep_alive_s) in rows {
        let config = read(&trusting(lines)).expect("legal");
        assert_eq!(config.warnings, [""; 0], "{lines}");
        let listener = &config.listeners[0];
        assert_eq!(listener.proxy_protocol, proxy_protocol, "{lines}");
        assert_eq!(listener.tcp_keepalive, tcp_keepalive, "{lines}");
        let keep_alive = Duration::from_secs(keep_alive_s);
        assert_eq!(listener.timeouts.keep_alive, keep_alive, "{lines}");
        round_trip(&config);
    }
}

#[test]
fn what_contradicts_a_balancer_is_said() {
    let rows = [
        (
            "behind = \"clb\"\nproxy_protocol = \"off\"",
            "listener[0].proxy_protocol: \"off\" takes the PROXY header that behind = \"clb\" stands \
             for as the client's bytes",
        ),
        (
            "behind = \"nlb\"\nproxy_protocol = \"off\"",
            "listener[0].proxy_protocol: \"off\" takes the PROXY header that behind = \"nlb\" stands \
             for as the client's bytes",
        ),
        (
            "behind = \"alb\"\nproxy_protocol = \"require\"",
            "listener[0].proxy_protocol: behind = \"alb\" is a balancer that never sends a PROXY \
             header; it names the client in X-Forwarded-For",
        ),
        (
            "behind = \"alb\"\nmode = \"tcp\"",
            "listener[0].behind: \"alb\" speaks HTTP to its targets, which mode = \"http\" is for",
        ),
        (
            "behind = \"alb\"\ntimeouts.keep_alive = \"60s\"",
            "listener[0].timeouts.keep_alive: 1m is not longer than the 1m after which behind = \
             \"alb\" closes an idle connection: a request may meet our close, and its client gets a \
             502 of the balancer",
        ),
        (
            "behind = \"nlb\"\ntcp_keepalive = \"system\"",
            "listener[0].tcp_keepalive: behind = \"nlb\" forgets a connection that is silent for \
             350s; a shorter time keeps it in mind",
        ),
        (
            "behind = \"nlb\"\ntcp_keepalive = \"350s\"",
            "listener[0].tcp_keepalive: behind = \"nlb\" forgets a connection that is silent for \
             350s; a shorter time keeps it in mind",
        ),
    ];
    for (lines, expected) in rows {
        let config = read(&trusting(lines)).expect("legal");
        let said = config.warnings.join("\n");
        assert!(said.ends_with(expected), "{lines}: {said}");
        assert_eq!(config.warnings.len(), 1, "{lines}: {said}");
    }
    let nobody = listener("bind = \"127.0.0.1:80\"\nbehind = \"alb\"");
    let said = read(&nobody).expect("legal").warnings.join("\n");
    assert!(
        said.ends_with("name its subnets in trusted_proxies"),
        "{said}"
    );
}

#[test]
fn rules_of_behind_and_tcp_keepalive() {
    let wanted = "off, system, or a whole number and a unit such as \"60s\"";
    check(
        trusting,
        &[
            (
                "behind = \"elb\"",
                "listener[0].behind: \"elb\" is unknown; clb, nlb or alb",
            ),
            ("tcp_keepalive = \"off\"", "nothing"),
            ("tcp_keepalive = \"32767s\"", "nothing"),
            (
                "tcp_keepalive = \"32768s\"",
                &format!(
                    "listener[0].tcp_keepalive: \"32768s\" is above the limit 32767s; {wanted}"
                ),
            ),
            (
                "tcp_keepalive = \"1500ms\"",
                &format!(
                    "listener[0].tcp_keepalive: \"1500ms\" is no whole number of seconds; {wanted}"
                ),
            ),
            (
                "tcp_keepalive = \"on\"",
                &format!("listener[0].tcp_keepalive: \"on\" is not a duration; {wanted}"),
            ),
            (
                "tcp_keepalive = true",
                &format!("listener[0].tcp_keepalive: is a boolean; {wanted}"),
            ),
            (
                "tcp_keepalive = 60",
                &format!("listener[0].tcp_keepalive: is an integer; {wanted}"),
            ),
        ],
    );
    let nobody = |lines: &str| listener(&format!("bind = \"127.0.0.1:80\"\n{lines}"));
    check(
        nobody,
        &[(
            "behind = \"clb\"",
            "listener[0].behind: \"clb\" requires a PROXY header, and empty trusted_proxies refuses \
             every connection; name the balancers in trusted_proxies",
        )],
    );
}
