//! Certificates for one name with keys of several kinds, as OpenSSL's client gets them.

use crate::harness::eventually;
use crate::harness::http::ok;
use crate::harness::origin::Origin;
use crate::harness::plan::{Plan, backend};
use crate::harness::process::Proxy;

use super::identity::Workshop;

const RSA: &str = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048";
const ECDSA: &str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256";

/// Makes NAME.key and NAME.pem for localhost; returns the element of `certificates`.
fn made(workshop: &Workshop, name: &str, key: &str) -> String {
    workshop.openssl(&format!("{key} -out {name}.key"));
    workshop.sign(name, "site", None, "");
    let (cert, key) = (
        workshop.path(&format!("{name}.pem")),
        workshop.path(&format!("{name}.key")),
    );
    format!("{{ cert = \"{cert}\", key = \"{key}\" }}")
}

#[test]
fn openssl_gets_what_it_can_verify_in_every_order() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let rsa = made(&workshop, "rsa", RSA);
    let ecdsa = made(&workshop, "ecdsa", ECDSA);
    let rows = [
        ("-tls1_3", "ecdsa"),
        ("-tls1_2", "ecdsa"),
        ("-tls1_3 -sigalgs rsa_pss_rsae_sha256", "rsa"),
        ("-tls1_3 -sigalgs ecdsa_secp256r1_sha256", "ecdsa"),
        (
            "-tls1_3 -sigalgs rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256",
            "ecdsa",
        ),
        ("-tls1_2 -sigalgs RSA+SHA256", "rsa"),
        ("-tls1_2 -sigalgs rsa_pss_rsae_sha256", "rsa"),
        ("-tls1_2 -sigalgs ECDSA+SHA256", "ecdsa"),
        ("-tls1_2 -cipher aRSA", "rsa"),
        ("-tls1_2 -cipher aECDSA", "ecdsa"),
        ("-sigalgs RSA+SHA256:rsa_pss_rsae_sha256", "rsa"),
        ("-cipher aECDSA", "ecdsa"),
    ];
    for order in [[&rsa, &ecdsa], [&ecdsa, &rsa]] {
        let proxy = workshop.proxy(&order.map(String::as_str).join(", "));
        for name in [
            "-servername localhost",
            "-noservername",
            "-servername else.example",
        ] {
            for (options, expected) in rows {
                let options = format!("{options} -CAfile {expected}.pem -verify_return_error");
                let said = workshop.look_as(&proxy, name, &options);
                let subject = format!("0 s:CN = {expected}\n");
                assert!(said.contains(&subject), "{name} {options}: {said}");
                assert!(
                    said.contains("Verification: OK"),
                    "{name} {options}: {said}"
                );
            }
        }
    }
}

#[test]
fn a_client_that_can_verify_none_is_told_so() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let proxy = workshop.proxy(&made(&workshop, "rsa", RSA));
    for options in [
        "-tls1_3 -sigalgs ecdsa_secp256r1_sha256",
        "-tls1_2 -sigalgs ECDSA+SHA256",
        "-tls1_2 -cipher aECDSA",
    ] {
        let said = workshop.complaint(&proxy, options);
        assert!(
            said.contains("alert handshake failure"),
            "{options}: {said}"
        );
    }
    let lines = || proxy.access_lines().len();
    eventually("all are in the log", || lines() == 3);
    for line in proxy.access_lines() {
        assert_eq!(line["cause"], "tls-handshake-failed", "{line}");
        assert_ne!(line["detail"], "", "{line}");
    }
}

#[test]
fn a_dot_at_the_end_of_a_name_changes_nothing() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let first = made(&workshop, "first", ECDSA);
    for (kind, names) in [("a", "DNS:a.example"), ("w", "DNS:*.w.example")] {
        let text = format!("basicConstraints = CA:FALSE\nsubjectAltName = {names}\n");
        std::fs::write(workshop.path(&format!("{kind}.kind")), text).unwrap();
        workshop.openssl(&format!("{ECDSA} -out {kind}.key"));
        workshop.sign(kind, kind, None, "");
    }
    let pair = |name: &str| {
        let (cert, key) = (
            workshop.path(&format!("{name}.pem")),
            workshop.path(&format!("{name}.key")),
        );
        format!("{{ cert = \"{cert}\", key = \"{key}\" }}")
    };
    let keys = format!("tls.certificates = [{first}, {}, {}]", pair("a"), pair("w"));
    let (app, other) = (Origin::answering(ok("app")), Origin::answering(ok("other")));
    let routes = "[[listener.route]]\nserver_name = [\"a.example\"]\nbackend = \"other\"\n\
                  [[listener.route]]\nbackend = \"app\"\n";
    let proxy = Plan::tcp(app.addr)
        .listener_keys(&keys)
        .routes(routes)
        .more(&backend("other", other.addr))
        .start();
    let mut expected = Vec::new();
    for (name, subject, to) in [
        ("a.example", "a", "other"),
        ("a.example.", "a", "other"),
        ("x.w.example.", "w", "app"),
        ("b.example.", "first", "app"),
    ] {
        let said = workshop.look_as(&proxy, &format!("-servername {name}"), "");
        assert!(
            said.contains(&format!("0 s:CN = {subject}\n")),
            "{name}: {said}"
        );
        expected.push(to.to_owned());
        eventually(name, || backends(&proxy).len() == expected.len());
        assert_eq!(backends(&proxy), expected, "{name}");
    }
}

/// Returns the backend of each tunnel that was opened.
fn backends(proxy: &Proxy) -> Vec<String> {
    let lines = proxy.access_lines().into_iter();
    let opened = lines.filter(|line| line["event"] == "open");
    let backends = opened.map(|line| line["backend"].as_str().unwrap().to_owned());
    backends.collect()
}
