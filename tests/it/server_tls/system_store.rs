//! The certificates that the system trusts: `SSL_CERT_FILE`, and what is said if there are none.

use rustls::version::TLS13;

use crate::harness::plan::Plan;
use crate::harness::process::{Proxy, binary};
use crate::harness::tls::Identity;
use crate::harness::tls_server::{TlsOrigin, server_config};
use std::process::Command;

#[test]
fn the_environment_names_another_store() {
    let identity = Identity::new(&["localhost"]);
    let config = server_config(&identity, &[&TLS13], None);
    let dir = tempfile::tempdir().unwrap();
    let toml = Plan::tcp(TlsOrigin::echo(config))
        .backend_keys("tls = { server_name = \"localhost\" }")
        .toml();
    let file = dir.path().join("longsplice.toml");
    std::fs::write(&file, &toml).unwrap();
    let mut command = Command::new(binary());
    command.arg("run").arg("-c").arg(&file);
    command.env("SSL_CERT_FILE", identity.cert_file());
    let mut proxy = Proxy::launch_in(command, dir, &toml);
    proxy.wait_listening();
    let mut client = proxy.connect();
    client.send("hello");
    client.expect("hello");
}

#[test]
fn a_store_that_is_not_there_is_an_error_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let addr = "127.0.0.1:1".parse().unwrap();
    let toml = Plan::http(addr)
        .backend_keys("tls = { server_name = \"a\" }")
        .toml();
    let file = dir.path().join("longsplice.toml");
    std::fs::write(&file, toml).unwrap();
    let mut command = Command::new(binary());
    command.arg("check").arg("-c").arg(&file);
    let output = command
        .env("SSL_CERT_FILE", "/nowhere.pem")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "/nowhere.pem: cannot be read: No such file or directory (os error 2) (the system's \
                    store: install ca-certificates, or set SSL_CERT_FILE)";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn an_unusable_certificate_is_an_error_in_ca_and_passed_over_in_the_store() {
    let identity = Identity::new(&["localhost"]);
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle.pem");
    let block = "-----BEGIN CERTIFICATE-----\nMAMCAQc=\n-----END CERTIFICATE-----\n";
    let good = std::fs::read_to_string(identity.cert_file()).unwrap();
    std::fs::write(&bundle, good + block).unwrap();
    let check = |ca: &str| {
        let toml = Plan::http("127.0.0.1:1".parse().unwrap())
            .backend_keys(&format!("tls = {{ server_name = \"a\"{ca} }}"))
            .toml();
        let file = dir.path().join("longsplice.toml");
        std::fs::write(&file, toml).unwrap();
        let mut command = Command::new(binary());
        command.arg("check").arg("-c").arg(&file);
        command.env("SSL_CERT_FILE", &bundle).output().unwrap()
    };
    let output = check("");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // The same text under a name that the operator chose.
    let own = dir.path().join("own.pem");
    std::fs::copy(&bundle, &own).unwrap();
    let output = check(&format!(", ca = \"{}\"", own.display()));
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("certificate 2 of the file is no valid X.509"),
        "{said}"
    );
}
