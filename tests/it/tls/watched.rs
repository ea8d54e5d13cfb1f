//! Certificates that are replaced while the proxy runs: shown to the next client within five
//! seconds, without a signal, and nothing to those who are connected.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use rustls::version::TLS13;
use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::origin::Origin;
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::tls::{Identity, Secure, VERSIONS, shown_certificate};

/// What the contract promises.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Files as some tool keeps them.
struct Store {
    dir: TempDir,
    /// How its tool puts a new certificate and key into place of the ones before.
    replace: fn(&Path, nth: usize, &Identity),
}

impl Store {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn listener_keys(&self) -> String {
        format!(
            "tls.certificates = [{{ cert = \"{}\", key = \"{}\" }}]",
            self.path("cert.pem").display(),
            self.path("key.pem").display()
        )
    }
}

fn in_place(folder: &Path, _: usize, new: &Identity) {
    let (cert, key) = new.pem();
    fs::write(folder.join("cert.pem"), cert).unwrap();
    fs::write(folder.join("key.pem"), key).unwrap();
}

fn renamed_over(folder: &Path, _: usize, new: &Identity) {
    let (cert, key) = new.pem();
    for (name, text) in [("key.pem", key), ("cert.pem", cert)] {
        fs::write(folder.join("new"), text).unwrap();
        fs::rename(folder.join("new"), folder.join(name)).unwrap();
    }
}

/// certbot: live/NAME/cert.pem -> ../../archive/NAME/certN.pem, each link removed and made again.
fn as_certbot(folder: &Path, nth: usize, new: &Identity) {
    let (cert, key) = new.pem();
    fs::create_dir_all(folder.join("archive")).unwrap();
    for (name, text) in [("cert", cert), ("key", key)] {
        let file = format!("archive/{name}{nth}.pem");
        fs::write(folder.join(&file), text).unwrap();
        let link = folder.join(format!("{name}.pem"));
        if nth > 0 {
            fs::remove_file(&link).unwrap();
        }
        symlink(&file, &link).unwrap();
    }
}

/// Kubernetes: cert.pem -> ..data/cert.pem, and ..data -> a folder, switched by renaming a link.
fn as_kubernetes(folder: &Path, nth: usize, new: &Identity) {
    let (cert, key) = new.pem();
    let version = format!("..version{nth}");
    fs::create_dir(folder.join(&version)).unwrap();
    fs::write(folder.join(&version).join("cert.pem"), cert).unwrap();
    fs::write(folder.join(&version).join("key.pem"), key).unwrap();
    symlink(&version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    if nth == 0 {
        symlink("..data/cert.pem", folder.join("cert.pem")).unwrap();
        symlink("..data/key.pem", folder.join("key.pem")).unwrap();
    } else {
        fs::remove_dir_all(folder.join(format!("..version{}", nth - 1))).unwrap();
    }
}

fn store(replace: fn(&Path, usize, &Identity), first: &Identity) -> Store {
    let dir = TempDir::new().unwrap();
    replace(dir.path(), 0, first);
    Store { dir, replace }
}

fn wait_shown(proxy: &Proxy, expected: &CertificateDer<'_>) {
    let started = Instant::now();
    eventually("the new certificate is shown", || {
        shown_certificate(proxy.addr(), "localhost") == *expected
    });
    let took = started.elapsed();
    assert!(took < SEEN_WITHIN, "it took {took:?}");
}

/// Lines of the log that say something of files.
fn lines_of(proxy: &Proxy, level: &str) -> Vec<String> {
    let lines = proxy.log_lines().into_iter();
    lines
        .filter(|line| line.contains(level) && line.contains("replaced"))
        .collect()
}

fn check(replace: fn(&Path, usize, &Identity)) {
    let first = Identity::new(&["localhost"]);
    let store = store(replace, &first);
    let proxy = Plan::tcp(Origin::echo())
        .listener_keys(&store.listener_keys())
        .start();
    let mut tunnel = Secure::connect(proxy.addr(), &first.client(&TLS13, None));
    for nth in 1..3 {
        let next = Identity::new(&["localhost", "other.example"]);
        (store.replace)(store.dir.path(), nth, &next);
        wait_shown(&proxy, &next.certificate());
        let mut new = Secure::connect(proxy.addr(), &next.client(&TLS13, None));
        new.send("new");
        new.expect("new");
        tunnel.send("old");
        tunnel.expect("old");
    }
    eventually("both are told", || lines_of(&proxy, "INFO").len() == 2);
    let line = &lines_of(&proxy, "INFO")[0];
    for part in ["edge", "cert.pem", "localhost, other.example", "4096-01-01"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert_eq!(lines_of(&proxy, "WARN"), [""; 0]);
}

#[test]
fn every_way_of_replacing_files_is_seen() {
    // At the same time: most of it is waiting.
    thread::scope(|scope| {
        for replace in [in_place, renamed_over, as_certbot, as_kubernetes] {
            scope.spawn(move || check(replace));
        }
    });
}

#[test]
fn a_broken_one_is_told_once_and_the_old_one_stays() {
    let (first, next, third) = (
        Identity::new(&["localhost"]),
        Identity::new(&["localhost"]),
        Identity::new(&["localhost"]),
    );
    let store = store(in_place, &first);
    let proxy = Plan::tcp(Origin::echo())
        .listener_keys(&store.listener_keys())
        .start();
    let (cert, key) = (store.path("cert.pem"), store.path("key.pem"));
    let mut told = 0;
    let mut wait_told = |why: &str| {
        told += 1;
        eventually(why, || lines_of(&proxy, "WARN").len() == told);
        let line = lines_of(&proxy, "WARN").pop().unwrap();
        for part in ["edge", "cert.pem", why] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(shown_certificate(proxy.addr(), "localhost") == first.certificate());
    };
    // The key comes much later than the certificate.
    fs::write(&cert, next.pem().0).unwrap();
    wait_told("belongs to none");
    fs::write(&cert, "-----BEGIN CERTIFICATE-----\n!\n").unwrap();
    wait_told("BEGIN CERTIFICATE without its END");
    fs::remove_file(&key).unwrap();
    wait_told("key.pem: cannot be read");
    fs::write(&key, third.pem().1).unwrap();
    fs::write(&cert, third.pem().0).unwrap();
    wait_shown(&proxy, &third.certificate());
    eventually("it is told", || lines_of(&proxy, "INFO").len() == 1);
    assert_eq!(lines_of(&proxy, "WARN").len(), 3);
}

#[test]
fn one_that_deserves_a_word_gets_it() {
    let first = Identity::new(&["localhost"]);
    let store = store(in_place, &first);
    let proxy = Plan::tcp(Origin::echo())
        .listener_keys(&store.listener_keys())
        .start();
    let soon = Identity::until(&["localhost"], Duration::from_secs(3 * 24 * 60 * 60 + 60));
    in_place(store.dir.path(), 1, &soon);
    wait_shown(&proxy, &soon.certificate());
    eventually("it is told", || {
        let log = proxy.log_lines();
        let warns = |line: &String| {
            line.contains("WARN") && line.contains("cert.pem") && line.contains("expires in 3 days")
        };
        log.iter().any(warns)
    });
}

#[test]
fn tickets_outlive_a_replaced_certificate() {
    for version in VERSIONS {
        let first = Identity::new(&["localhost"]);
        let store = store(in_place, &first);
        let proxy = Plan::tcp(Origin::echo())
            .listener_keys(&store.listener_keys())
            .start();
        let config = first.client(version, None);
        let opened = || {
            let mut client = Secure::connect(proxy.addr(), &config);
            client.send("x");
            client.expect("x");
            client.tls.handshake_kind()
        };
        assert_eq!(opened(), Some(HandshakeKind::Full));
        let next = Identity::new(&["localhost"]);
        in_place(store.dir.path(), 1, &next);
        wait_shown(&proxy, &next.certificate());
        assert_eq!(opened(), Some(HandshakeKind::Resumed), "{version:?}");
    }
}

#[test]
fn a_replaced_client_ca_counts_for_the_next_handshake_and_for_tickets() {
    let identity = Identity::new(&["localhost"]);
    let (old, new) = (Identity::new(&["client"]), Identity::new(&["client"]));
    let dir = TempDir::new().unwrap();
    let ca = dir.path().join("ca.pem");
    fs::write(&ca, old.pem().0).unwrap();
    let keys = format!(
        "{}\ntls.client_ca = \"{}\"",
        identity.listener_keys(),
        ca.display()
    );
    let proxy = Plan::tcp(Origin::echo()).listener_keys(&keys).start();
    // With TLS 1.3 the refusal comes after the client believes to be done.
    let is_let_in = |config: &_| {
        let mut client = Secure::begin(proxy.addr(), config, "localhost", b"");
        client.shake().is_ok() && client.try_echo().is_ok()
    };
    let olds = VERSIONS.map(|version| identity.client(version, Some(&old)));
    let news = VERSIONS.map(|version| identity.client(version, Some(&new)));
    assert!(olds.iter().all(is_let_in));
    assert!(!news.iter().any(is_let_in));
    fs::write(&ca, new.pem().0).unwrap();
    eventually("the new one is let in", || news.iter().all(is_let_in));
    // Their tickets were of the old trust.
    assert!(!olds.iter().any(is_let_in));
    // Lines are written by a thread of their own.
    eventually("it is in the log", || {
        proxy.log().contains("client_ca replaced")
    });
}
