//! Folders of certificates that change while the proxy runs, in the sandbox.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::origin::Origin;
use crate::harness::plan::Plan;
use crate::harness::process::{Proxy, run};
use crate::harness::tls::{Identity, shown_certificate};

fn put(folder: &Path, name: &str, identity: &Identity) {
    let (cert, key) = identity.pem();
    fs::write(folder.join(format!(".{name}")), [key, cert].concat()).unwrap();
    fs::rename(folder.join(format!(".{name}")), folder.join(name)).unwrap();
}

fn keys(folder: &Path) -> String {
    format!("tls.certificates = [\"{}/\"]", folder.display())
}

fn wait_shown(proxy: &Proxy, name: &str, expected: &Identity) {
    eventually(&format!("the certificate for {name} is shown"), || {
        shown_certificate(proxy.addr(), name) == expected.certificate()
    });
}

#[test]
fn certificates_come_into_a_folder_and_go() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path();
    let (a, b) = (Identity::new(&["a.test"]), Identity::new(&["b.test"]));
    put(folder, "a.pem", &a);
    let proxy = Plan::tcp(Origin::echo())
        .listener_keys(&keys(folder))
        .process_keys("sandbox = true")
        .start();
    wait_shown(&proxy, "b.test", &a);
    // Added, with its key beside it.
    let (cert, key) = b.pem();
    fs::write(folder.join("b.key"), key).unwrap();
    fs::write(folder.join("b.crt"), cert).unwrap();
    wait_shown(&proxy, "b.test", &b);
    wait_shown(&proxy, "a.test", &a);
    proxy.wait_said(&["certificate added", "b.crt"]);
    // Replaced.
    let renewed = Identity::new(&["a.test"]);
    put(folder, "a.pem", &renewed);
    wait_shown(&proxy, "a.test", &renewed);
    // A broken one is told of once, and the others go on.
    fs::write(folder.join("c.pem"), "-----BEGIN CERTIFICATE-----\n!\n").unwrap();
    proxy.wait_said(&[
        "not used: the other certificates stay",
        "c.pem",
        "without its END",
    ]);
    let c = Identity::new(&["c.test"]);
    put(folder, "c.pem", &c);
    wait_shown(&proxy, "c.test", &c);
    // Removed: the first that is left is the default.
    fs::remove_file(folder.join("a.pem")).unwrap();
    wait_shown(&proxy, "a.test", &b);
    proxy.wait_said(&["certificate removed", "a.pem"]);
    // The last ones stay.
    for name in ["b.crt", "c.pem"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    proxy.wait_said(&["not removed: the last ones stay"]);
    wait_shown(&proxy, "b.test", &b);
    let told = proxy
        .log()
        .matches("not used: the other certificates stay")
        .count();
    assert_eq!(told, 1, "{}", proxy.log());
    // A new one takes their place.
    put(folder, "d.pem", &a);
    wait_shown(&proxy, "b.test", &a);
    // A reload finds the same.
    put(folder, "e.pem", &c);
    let outcome = proxy.reload_again();
    assert!(outcome.contains("INFO reloaded"), "{outcome}");
    assert!(shown_certificate(proxy.addr(), "c.test") == c.certificate());
}

#[test]
fn what_comes_into_a_folder_is_judged() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path();
    let site = Identity::new(&["site.test"]);
    put(folder, "site.pem", &site);
    let proxy = Plan::tcp(Origin::echo())
        .listener_keys(&keys(folder))
        .process_keys("sandbox = true")
        .start();
    wait_shown(&proxy, "site.test", &site);
    // It would come before the other.
    let over = Identity::expired(&["site.test"]);
    put(folder, "a-new.pem", &over);
    proxy.wait_said(&[
        "not added: clients would refuse the new certificate",
        "a-new.pem",
        "has expired",
        "renew it",
    ]);
    assert!(shown_certificate(proxy.addr(), "site.test") == site.certificate());
    let renewed = Identity::new(&["site.test"]);
    put(folder, "a-new.pem", &renewed);
    wait_shown(&proxy, "site.test", &renewed);
    // Its key moves into a file beside it, and the certificate has expired.
    let (cert, key) = over.pem();
    fs::write(folder.join("a-new.key"), key).unwrap();
    fs::write(folder.join(".a-new"), cert).unwrap();
    fs::rename(folder.join(".a-new"), folder.join("a-new.pem")).unwrap();
    proxy.wait_said(&["not replaced", "a-new.key", "has expired"]);
    assert!(shown_certificate(proxy.addr(), "site.test") == renewed.certificate());
    assert_eq!(proxy.log().matches("not added").count(), 1);
    // A reload takes it as it is.
    let outcome = proxy.reload_again();
    assert!(outcome.contains("INFO reloaded"), "{outcome}");
    assert!(shown_certificate(proxy.addr(), "site.test") == over.certificate());
    // One file that cannot be used refuses the next.
    fs::write(folder.join("b.pem"), "").unwrap();
    let outcome = proxy.reload_again();
    assert!(outcome.contains("ERROR not reloaded"), "{outcome}");
    proxy.wait_said(&["ERROR", "b.pem: holds no certificate"]);
}

#[test]
fn what_is_wrong_with_a_folder_is_known_before_the_start() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("certificates");
    fs::create_dir(&folder).unwrap();
    let file = dir.path().join("longsplice.toml");
    let toml = Plan::tcp("127.0.0.1:1".parse().unwrap())
        .listener_keys(&keys(&folder))
        .toml();
    fs::write(&file, toml).unwrap();
    let check = || run(&["check", "-c", file.to_str().unwrap()]);
    let outcome = check();
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(
        outcome.stderr.contains("holds no certificate with a key"),
        "{outcome:?}"
    );
    put(&folder, "a.pem", &Identity::new(&["a.test"]));
    assert_eq!(check().code, Some(0));
    fs::write(folder.join("b.pem"), Identity::new(&["b.test"]).pem().0).unwrap();
    let outcome = check();
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(
        outcome.stderr.contains("b.pem: the private key is missing"),
        "{outcome:?}"
    );
    fs::remove_dir_all(&folder).unwrap();
    let outcome = check();
    assert!(outcome.stderr.contains("cannot be read"), "{outcome:?}");
}
