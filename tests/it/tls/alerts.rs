//! Alerts, and records that deserve one: what a client is told, what the log says, and that nothing follows a
//! fatal alert (RFC 8446 section 6.2, RFC 5246 section 7.2.2).

use serde_json::Value;

use crate::harness::kernel::{Forger, Site, Suite};
use crate::harness::openssl::Openssl;
use crate::harness::origin::Origin;
use crate::harness::parts::Part;
use crate::harness::plan::{Plan, responding};
use crate::harness::process::Proxy;
use crate::harness::tls::Secure;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// What a listener does with the bytes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It answers each request.
    Http,
    /// It leads to a server that sends everything back.
    Tcp,
}

const MODES: [Mode; 2] = [Mode::Http, Mode::Tcp];

fn start(mode: Mode, suite: Suite) -> Proxy {
    let plan = match mode {
        Mode::Http => Plan::routes_only(&responding("", "fine")),
        Mode::Tcp => Plan::tcp(Origin::echo()),
    };
    plan.listener_keys(&Site::here().listener_keys(suite, "never"))
        .start()
}

fn connect(proxy: &Proxy, suite: Suite) -> Forger {
    Forger::of(Secure::connect(proxy.addr(), &suite.client(Site::here())))
}

/// Sends something that is answered, and waits for the answer.
fn ask(forger: &mut Forger) {
    let request = forger.seal(DATA, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0);
    forger.send(&request);
    let (kind, answer) = forger.receive().expect("an answer");
    assert_eq!(kind, DATA, "{answer:?}");
    assert!(answer.windows(5).any(|part| part == b"HTTP/"));
}

/// Waits for the line that says how a connection ended.
fn wait_end(proxy: &Proxy, mode: Mode, cause: &str) -> Value {
    let event = match mode {
        Mode::Http => "refused",
        Mode::Tcp => "close",
    };
    proxy.wait_cause(event, cause)
}

#[test]
fn a_bad_record_is_answered_by_its_alert_alone_and_logged() {
    for suite in Suite::usual() {
        for (mode, asks) in [
            (Mode::Http, false),
            (Mode::Http, true),
            (Mode::Tcp, false),
            (Mode::Tcp, true),
        ] {
            let proxy = start(mode, suite);
            let mut forger = connect(&proxy, suite);
            if asks {
                ask(&mut forger);
            }
            forger.send(&[&[DATA, 3, 3, 0, 48][..], &[0x5a; 48]].concat());
            let said = forger.receive_rest();
            assert_eq!(said, [(ALERT, vec![2, 20])], "{suite:?} {mode:?} {asks}");
            let line = wait_end(&proxy, mode, "tls-bad-record");
            assert_eq!(line["detail"], "the record does not authenticate", "{line}");
        }
    }
}

#[test]
fn messages_that_break_a_rule_get_the_alert_that_the_standard_names() {
    let rows: [(u8, &[u8], &[u8], &str); 9] = [
        (HANDSHAKE, &[24, 0, 0, 1, 9], &[2, 47], "tls-bad-record"),
        (HANDSHAKE, &[24, 0, 0, 2, 0, 0], &[2, 50], "tls-bad-record"),
        (HANDSHAKE, &[1, 0, 0, 0], &[2, 10], "tls-bad-record"),
        (HANDSHAKE, &[], &[2, 10], "tls-bad-record"),
        (ALERT, &[], &[2, 10], "tls-bad-record"),
        (ALERT, &[1], &[2, 50], "tls-bad-record"),
        (20, &[1], &[2, 10], "tls-bad-record"),
        (99, &[1], &[2, 10], "tls-bad-record"),
        // A fatal alert is not answered at all.
        (ALERT, &[2, 46], &[], "client-reset"),
    ];
    let suite = Suite::tls13();
    for mode in MODES {
        for (kind, payload, alert, cause) in rows {
            let proxy = start(mode, suite);
            let mut forger = connect(&proxy, suite);
            let record = forger.seal(kind, payload, 0);
            forger.send(&record);
            let expected = match alert {
                [] => vec![],
                alert => vec![(ALERT, alert.to_vec())],
            };
            assert_eq!(
                forger.receive_rest(),
                expected,
                "{kind} {payload:?} {mode:?}"
            );
            let line = wait_end(&proxy, mode, cause);
            if cause == "client-reset" {
                let detail = line["detail"].as_str().unwrap();
                assert!(detail.contains("certificate_unknown"), "{line}");
            }
        }
    }
}

#[test]
fn a_client_that_renegotiates_is_told_no_and_goes_on() {
    // As long as a real one.
    let hello = [&[1, 0, 1, 44][..], &[3; 300]].concat();
    let [_, suite] = Suite::usual()[..] else {
        panic!("not both versions");
    };
    for mode in MODES {
        let proxy = start(mode, suite);
        let mut forger = connect(&proxy, suite);
        for _ in 0..3 {
            let wish = forger.seal(HANDSHAKE, &hello, 0);
            forger.send(&wish);
            assert_eq!(forger.receive(), Some((ALERT, vec![1, 100])), "{mode:?}");
            ask(&mut forger);
        }
        // In two records.
        let wish = [
            forger.seal(HANDSHAKE, &hello[..100], 0),
            forger.seal(HANDSHAKE, &hello[100..], 0),
        ];
        forger.send(&wish.concat());
        assert_eq!(forger.receive(), Some((ALERT, vec![1, 100])), "{mode:?}");
        ask(&mut forger);
        // There is an end to that.
        let wishes: Vec<u8> = (0..40)
            .flat_map(|_| forger.seal(HANDSHAKE, &hello, 0))
            .collect();
        forger.send(&wishes);
        let mut said = forger.receive_rest();
        assert_eq!(said.pop(), Some((ALERT, vec![2, 10])), "{mode:?}");
        assert!(
            said.iter()
                .all(|(kind, alert)| (*kind, &alert[..]) == (ALERT, &[1, 100]))
        );
        wait_end(&proxy, mode, "tls-bad-record");
    }
}

#[test]
fn a_client_that_renegotiates_while_its_request_waits_is_told_no_at_once() {
    let [_, suite] = Suite::usual()[..] else {
        panic!("not both versions");
    };
    let origin = Origin::bind();
    let proxy = Plan::http(origin.addr())
        .listener_keys(&Site::here().listener_keys(suite, "never"))
        .start();
    let mut forger = connect(&proxy, suite);
    let request = forger.seal(DATA, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0);
    forger.send(&request);
    let mut server = origin.accept();
    server.read_head();
    let hello = [&[1, 0, 1, 44][..], &[3; 300]].concat();
    for _ in 0..2 {
        let wish = forger.seal(HANDSHAKE, &hello, 0);
        forger.send(&wish);
        assert_eq!(forger.receive(), Some((ALERT, vec![1, 100])));
    }
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let (kind, answer) = forger.receive().expect("an answer");
    assert_eq!(kind, DATA, "{answer:?}");
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

#[test]
fn openssl_is_told_that_there_is_no_other_handshake() {
    if Part::Openssl.command().is_none() {
        return;
    }
    let site = Site::here();
    let [_, suite] = Suite::usual()[..] else {
        panic!("not both versions");
    };
    for mode in MODES {
        let proxy = start(mode, suite);
        let options = ["-tls1_2", "-msg", "-CAfile", &site.ec_file()];
        let mut client = Openssl::client(proxy.addr(), &options);
        client.await_line("Verify return code: 0");
        client.command('R');
        client.await_line("<<< TLS 1.2, Alert [length 0002], warning no_renegotiation");
    }
}
