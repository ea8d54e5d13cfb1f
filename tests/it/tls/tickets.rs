//! Session tickets under keys from files, as OpenSSL's client sees them: processes with the same files resume
//! each other's sessions, and keys are rotated without a moment in which none can be resumed.

use std::fs;
use std::process::Command;

use super::identity::{Workshop, exchanged};
use crate::harness::eventually;
use crate::harness::plan::{Plan, responding};
use crate::harness::process::Proxy;
use crate::harness::tls::Identity;

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// A process that answers requests.
fn node(identity: &Identity, keys: &str) -> Proxy {
    Plan::routes_only(&responding("", "hello"))
        .listener_keys(&format!("{}\n{keys}", identity.listener_keys()))
        .start()
}

/// Connects with the session that was saved before, if `options` say so; returns whether it was resumed.
fn is_resumed(workshop: &Workshop, proxy: &Proxy, options: &str) -> bool {
    let mut client = Command::new(workshop.openssl.get_program());
    client
        .current_dir(workshop.dir.path())
        .args(["s_client", "-connect", &proxy.addr().to_string()])
        .args(["-servername", "localhost", "-ign_eof"])
        .args(options.split_whitespace());
    let said = exchanged(&mut client);
    assert!(said.contains("hello"), "{said}");
    let resumed = said.contains("\nReused, TLS");
    assert_eq!(said.contains("\nNew, TLS"), !resumed, "{said}");
    resumed
}

/// Makes key files, and the value of `ticket_keys` for them.
fn keys(workshop: &Workshop, names: &[&str]) -> String {
    let paths = names.iter().map(|name| {
        let path = workshop.path(name);
        if !fs::exists(&path).unwrap() {
            workshop.openssl(&format!("rand -out {name} 80"));
        }
        format!("\"{path}\"")
    });
    let paths: Vec<_> = paths.collect();
    format!("tls.ticket_keys = [{}]", paths.join(", "))
}

#[test]
fn a_fleet_with_the_same_files_resumes_every_session() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let identity = Identity::new(&["localhost"]);
    let here = node(&identity, &keys(&workshop, &["a"]));
    let there = node(&identity, &keys(&workshop, &["new", "a"]));
    let elsewhere = node(&identity, &keys(&workshop, &["other"]));
    let alone = node(&identity, "");
    for version in VERSIONS {
        let saved = format!("{version} -sess_in session");
        assert!(!is_resumed(
            &workshop,
            &here,
            &format!("{version} -sess_out session")
        ));
        // Connections are spread over two threads.
        for _ in 0..4 {
            assert!(is_resumed(&workshop, &here, &saved));
            assert!(is_resumed(&workshop, &there, &saved));
            assert!(!is_resumed(&workshop, &elsewhere, &saved));
            assert!(!is_resumed(&workshop, &alone, &saved));
        }
        // The one that has the new key seals with it already; the other cannot open that yet.
        assert!(!is_resumed(
            &workshop,
            &there,
            &format!("{version} -sess_out session")
        ));
        assert!(is_resumed(&workshop, &there, &saved));
        assert!(!is_resumed(&workshop, &here, &saved));
    }
}

#[test]
fn a_session_outlives_its_process_and_a_rotation() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let identity = Identity::new(&["localhost"]);
    let both = keys(&workshop, &["new", "old"]);
    let saving = "-tls1_3 -sess_out session";
    let saved = "-tls1_3 -sess_in session";
    let before = node(&identity, &both);
    assert!(!is_resumed(&workshop, &before, saving));
    drop(before);
    let proxy = node(&identity, &both);
    assert!(is_resumed(&workshop, &proxy, saved));
    // The files are rotated under the process.
    let rotated = |count: usize| {
        eventually("the keys are read again", || {
            proxy.log().matches("ticket_keys replaced").count() == count
        });
    };
    let key = fs::read(workshop.path("new")).unwrap();
    fs::write(workshop.path("old"), &key).unwrap();
    workshop.openssl("rand -out new 80");
    rotated(1);
    assert!(is_resumed(&workshop, &proxy, saved));
    // What is no key changes nothing.
    fs::write(workshop.path("old"), &key[1..]).unwrap();
    eventually("it is told", || proxy.log().contains("file 2 has 79 bytes"));
    assert!(is_resumed(&workshop, &proxy, saved));
    workshop.openssl("rand -out old 80");
    rotated(2);
    assert!(!is_resumed(&workshop, &proxy, saved));
}

#[test]
fn a_session_is_no_certificate_at_another_listener() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    workshop.authorities();
    workshop.openssl("genpkey -algorithm ED25519 -out client.key");
    workshop.sign("client", "site", Some("root"), "");
    let identity = Identity::new(&["localhost"]);
    let same = keys(&workshop, &["a"]);
    let client_ca = format!("{same}\ntls.client_ca = \"{}\"", workshop.path("root.pem"));
    let (open, closed) = (node(&identity, &same), node(&identity, &client_ca));
    let certificate = "-cert client.pem -key client.key";
    for version in VERSIONS {
        assert!(!is_resumed(
            &workshop,
            &open,
            &format!("{version} -sess_out session")
        ));
        // With the certificate the client is let in, after a full handshake.
        let saved = format!("{version} -sess_in session {certificate}");
        assert!(!is_resumed(&workshop, &closed, &saved));
        assert!(is_resumed(&workshop, &open, &saved));
        let saving = format!("{version} -sess_out trusted {certificate}");
        assert!(!is_resumed(&workshop, &closed, &saving));
        assert!(is_resumed(
            &workshop,
            &closed,
            &format!("{version} -sess_in trusted")
        ));
    }
}
