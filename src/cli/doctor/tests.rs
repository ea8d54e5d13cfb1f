//! The report of machines that have everything, nothing, and some of it.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use nix::errno::Errno;
use serde_json::{Value, json};

use super::findings::{Findings, examine};
use crate::sys::probe::{KtlsOffer, LimitPair, Refused, Suite, SuiteOffer};

fn refusal(call: &'static str, errno: Errno) -> Refused {
    Refused { call, errno }
}

/// A machine where nothing is missing.
fn well_found() -> Findings {
    let offer = |suite| SuiteOffer {
        suite,
        tx: Ok(()),
        rx: Ok(()),
        accelerated: true,
    };
    let limit = Some(LimitPair {
        soft: Some(1_048_576),
        hard: Some(1_048_576),
    });
    Findings {
        kernel: "7.2.13".to_owned(),
        io_uring: Ok(()),
        io_uring_disabled: Some("0".to_owned()),
        seccomp: false,
        splice: Ok(()),
        ktls: Ok(KtlsOffer {
            suites: Suite::ALL.map(offer).to_vec(),
            rekey: true,
        }),
        open_files: limit,
        locked_memory: limit,
        pipe_pages_soft: Some(16_384),
        pipe_pages_hard: Some(0),
        pipe_size_max: Some(1_048_576),
        ports: Some((1024, 65_535)),
        ports_reserved: String::new(),
        time_wait_reuse: Some(2),
        listen_queue: Some(4096),
        syn_queue: Some(4096),
    }
}

/// A small container with everything taken away.
fn bare() -> Findings {
    Findings {
        kernel: "6.1.0".to_owned(),
        io_uring: Err(refusal("io_uring_setup", Errno::EPERM)),
        io_uring_disabled: Some("2".to_owned()),
        seccomp: true,
        splice: Err(refusal("splice", Errno::EPERM)),
        ktls: Err(refusal("setsockopt(TCP_ULP)", Errno::ENOENT)),
        open_files: Some(LimitPair {
            soft: Some(1024),
            hard: Some(4096),
        }),
        locked_memory: Some(LimitPair {
            soft: Some(65_536),
            hard: None,
        }),
        pipe_pages_soft: Some(1024),
        ports: Some((32_768, 60_999)),
        ports_reserved: "40000-40100".to_owned(),
        listen_queue: Some(128),
        syn_queue: None,
        ..well_found()
    }
}

fn check_text(findings: &Findings, expected: &Expect) {
    expected.assert_eq(&findings.report().to_text());
}

#[test]
fn text_of_a_machine_that_has_everything() {
    check_text(
        &well_found(),
        &expect![[r#"
            Linux 7.2.13
            ok       io_uring                single issuer, deferred task work
            ok       splice                  socket to pipe to socket
            ok       ktls                    with rekeying
            ok       tls12-aes128gcm         tx rx
            ok       tls12-aes256gcm         tx rx
            ok       tls12-chacha20poly1305  tx rx
            ok       tls13-aes128gcm         tx rx
            ok       tls13-aes256gcm         tx rx
            ok       tls13-chacha20poly1305  tx rx
            ok       nofile                  1048576 open descriptors; max_connections = 65536 takes 131328
            ok       pipe_pages              16384 pages per user (hard limit none), 1048576 bytes per pipe
            ok       ports                   64512 local ports (1024 to 65535, none reserved): at most as many connections to one server address
            ok       memlock                 1048576 bytes; rings are not charged to it
            ok       listen_queue            net.core.somaxconn = 4096
            ok       syn_queue               net.ipv4.tcp_max_syn_backlog = 4096
        "#]],
    );
}

#[test]
fn text_of_a_machine_that_has_nothing() {
    check_text(
        &bare(),
        &expect![[r#"
            Linux 6.1.0
            missing  io_uring      io_uring_setup: EPERM (Operation not permitted); tunnels are moved by epoll instead; kernel.io_uring_disabled = 2
                                   -> sysctl -w kernel.io_uring_disabled=0
            missing  splice        splice: EPERM (Operation not permitted); bulk is copied instead
                                   -> allow splice and pipe2 in the container's seccomp profile
            missing  ktls          setsockopt(TCP_ULP): ENOENT (No such file or directory); TLS records are protected in user space
                                   -> modprobe tls (and add it to /etc/modules-load.d), or use a kernel with CONFIG_TLS
            note     nofile        1024 open descriptors, raised to 4096 at start; max_connections = 65536 takes 131328
                                   -> LimitNOFILE=131328 in the service, or a smaller server.max_connections
            note     pipe_pages    1024 pages per user (hard limit none), 1048576 bytes per pipe
                                   -> sysctl -w fs.pipe-user-pages-soft=16384 (bulk beyond it is copied, not spliced)
            note     ports         28232 local ports (32768 to 60999, reserved 40000-40100): at most as many connections to one server address
                                   -> sysctl -w net.ipv4.ip_local_port_range='1024 65535', or more server addresses
            ok       memlock       65536 bytes; rings are not charged to it
            note     listen_queue  net.core.somaxconn = 128
                                   -> sysctl -w net.core.somaxconn=4096 (the kernel drops connections when a burst exceeds it)
            ok       syn_queue     net.ipv4.tcp_max_syn_backlog cannot be read here
        "#]],
    );
}

#[test]
fn text_of_a_kernel_without_one_cipher_and_rekeying() {
    let mut findings = well_found();
    let offer = findings.ktls.as_mut().unwrap();
    offer.rekey = false;
    offer.suites[2].tx = Err(refusal("setsockopt(TLS_TX)", Errno::ENOENT));
    offer.suites[2].rx = Err(refusal("setsockopt(TLS_RX)", Errno::ENOENT));
    offer.suites[5].rx = Err(refusal("setsockopt(TLS_RX)", Errno::ENOENT));
    check_text(
        &findings,
        &expect![[r#"
            Linux 7.2.13
            ok       io_uring                single issuer, deferred task work
            ok       splice                  socket to pipe to socket
            note     ktls                    without rekeying: a KeyUpdate ends a connection that the kernel encrypts
                                             -> use kernel 6.14 or newer if clients send KeyUpdate
            ok       tls12-aes128gcm         tx rx
            ok       tls12-aes256gcm         tx rx
            missing  tls12-chacha20poly1305  tx refused by setsockopt(TLS_TX): ENOENT (No such file or directory), rx refused by setsockopt(TLS_RX): ENOENT (No such file or directory)
                                             -> modprobe chacha20poly1305, or install the kernel's package of crypto modules
            ok       tls13-aes128gcm         tx rx
            ok       tls13-aes256gcm         tx rx
            missing  tls13-chacha20poly1305  tx works, rx refused by setsockopt(TLS_RX): ENOENT (No such file or directory)
                                             -> modprobe chacha20poly1305, or install the kernel's package of crypto modules
            ok       nofile                  1048576 open descriptors; max_connections = 65536 takes 131328
            ok       pipe_pages              16384 pages per user (hard limit none), 1048576 bytes per pipe
            ok       ports                   64512 local ports (1024 to 65535, none reserved): at most as many connections to one server address
            ok       memlock                 1048576 bytes; rings are not charged to it
            ok       listen_queue            net.core.somaxconn = 4096
            ok       syn_queue               net.ipv4.tcp_max_syn_backlog = 4096
        "#]],
    );
}

#[test]
fn json_of_a_machine_that_has_nothing() {
    let json = bare().report().to_json();
    let mut lines = String::new();
    for (key, value) in json.as_object().unwrap() {
        let _ = writeln!(lines, "{key} {value}");
    }
    expect![[r#"
        advice ["io_uring: sysctl -w kernel.io_uring_disabled=0","splice: allow splice and pipe2 in the container's seccomp profile","ktls: modprobe tls (and add it to /etc/modules-load.d), or use a kernel with CONFIG_TLS","nofile: LimitNOFILE=131328 in the service, or a smaller server.max_connections","pipe_pages: sysctl -w fs.pipe-user-pages-soft=16384 (bulk beyond it is copied, not spliced)","ports: sysctl -w net.ipv4.ip_local_port_range='1024 65535', or more server addresses","listen_queue: sysctl -w net.core.somaxconn=4096 (the kernel drops connections when a burst exceeds it)"]
        io_uring {"ok":false,"why":"io_uring_setup: EPERM (Operation not permitted); tunnels are moved by epoll instead; kernel.io_uring_disabled = 2"}
        kernel "6.1.0"
        ktls {"ciphers":{"tls12-aes128gcm":{"accelerated":false,"rx":false,"tx":false},"tls12-aes256gcm":{"accelerated":false,"rx":false,"tx":false},"tls12-chacha20poly1305":{"accelerated":false,"rx":false,"tx":false},"tls13-aes128gcm":{"accelerated":false,"rx":false,"tx":false},"tls13-aes256gcm":{"accelerated":false,"rx":false,"tx":false},"tls13-chacha20poly1305":{"accelerated":false,"rx":false,"tx":false}},"ok":false,"rekey":false,"why":"setsockopt(TCP_ULP): ENOENT (No such file or directory); TLS records are protected in user space"}
        limits {"listen_queue":{"length":128,"ok":false,"why":"net.core.somaxconn = 128"},"memlock":{"hard":null,"ok":true,"soft":65536,"why":""},"nofile":{"hard":4096,"ok":false,"soft":1024,"wanted":131328,"why":"1024 open descriptors, raised to 4096 at start; max_connections = 65536 takes 131328"},"pipe_pages":{"hard":0,"ok":false,"size_max":1048576,"soft":1024,"why":"1024 pages per user (hard limit none), 1048576 bytes per pipe"},"ports":{"first":32768,"last":60999,"ok":false,"reserved":"40000-40100","time_wait_reuse":2,"why":"28232 local ports (32768 to 60999, reserved 40000-40100): at most as many connections to one server address"},"syn_queue":{"ok":true,"why":""}}
        splice {"ok":false,"why":"splice: EPERM (Operation not permitted); bulk is copied instead"}
    "#]].assert_eq(&lines);
}

#[test]
fn advice_fits_the_refusal_of_io_uring() {
    #[rustfmt::skip]
    let rows = [
        (Errno::ENOSYS, "0", false, "CONFIG_IO_URING"),
        (Errno::ENOSYS, "0", true, "seccomp"),
        (Errno::EPERM, "0", true, "seccomp"),
        (Errno::EPERM, "1", false, "kernel.io_uring_disabled=0"),
        (Errno::EPERM, "2", true, "kernel.io_uring_disabled=0"),
        (Errno::ENOMEM, "0", false, "MEMLOCK"),
        (Errno::EINVAL, "0", false, "6.1"),
        (Errno::EMFILE, "0", false, "NOFILE"),
    ];
    for (errno, disabled, seccomp, expected) in rows {
        let findings = Findings {
            io_uring: Err(refusal("io_uring_setup", errno)),
            io_uring_disabled: Some(disabled.to_owned()),
            seccomp,
            ..well_found()
        };
        let advice = findings.report().io_uring.advice;
        assert!(advice.contains(expected), "{errno:?} {disabled}: {advice}");
    }
}

#[test]
fn json_has_the_same_keys_whatever_is_missing() {
    fn keys(value: &Value) -> Vec<String> {
        let Value::Object(object) = value else {
            return Vec::new();
        };
        let below = |(key, value): (&String, &Value)| {
            let mut paths = vec![key.clone()];
            paths.extend(keys(value).iter().map(|path| format!("{key}.{path}")));
            paths
        };
        object.iter().flat_map(below).collect()
    }
    let full = well_found().report().to_json();
    let none = Findings {
        syn_queue: Some(128),
        ..bare()
    };
    assert_eq!(keys(&full), keys(&none.report().to_json()));
    assert_eq!(full["advice"], json!([]));
    for path in ["io_uring", "splice", "ktls"] {
        assert_eq!(full[path]["ok"], json!(true), "{path}");
    }
}

#[test]
fn this_machine_can_be_examined() {
    let report = examine().report();
    assert!(report.to_text().starts_with("Linux "));
    assert!(report.to_json()["kernel"].is_string());
}
