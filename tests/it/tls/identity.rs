//! Certificates and keys of every kind and form, as OpenSSL makes them and as its client sees them.

use std::fs;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::harness::eventually;
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, finish};
use crate::harness::plan::{Plan, responding};
use crate::harness::process::{Proxy, run};
use crate::harness::tls::Identity;

/// A folder in which OpenSSL makes certificates.
pub(super) struct Workshop {
    pub(super) openssl: Command,
    pub(super) dir: TempDir,
}

impl Workshop {
    /// None = OpenSSL is not there.
    pub(super) fn open() -> Option<Self> {
        let workshop = Self {
            openssl: Part::Openssl.command()?,
            dir: TempDir::new().unwrap(),
        };
        let is_ca = "basicConstraints = critical, CA:TRUE\nkeyUsage = keyCertSign\n";
        fs::write(workshop.path("ca.kind"), is_ca).unwrap();
        let is_site = "basicConstraints = CA:FALSE\nsubjectAltName = DNS:localhost\n";
        fs::write(workshop.path("site.kind"), is_site).unwrap();
        Some(workshop)
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(super) fn openssl(&self, words: &str) -> String {
        let mut command = Command::new(self.openssl.get_program());
        command.current_dir(self.dir.path());
        finish(command.args(words.split_whitespace()))
    }

    /// Signs NAME.pem for the key in NAME.key with `issuer`, or with itself.
    pub(super) fn sign(&self, name: &str, kind: &str, issuer: Option<&str>, more: &str) {
        self.openssl(&format!(
            "req -new -key {name}.key -subj /CN={name} -out {name}.csr"
        ));
        let by = match issuer {
            Some(issuer) => format!("-CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial"),
            None => format!("-signkey {name}.key"),
        };
        self.openssl(&format!(
            "x509 -req -in {name}.csr {by} -extfile {kind}.kind -out {name}.pem {more}"
        ));
    }

    /// Makes key and certificate of an own authority and of an intermediate one.
    pub(super) fn authorities(&self) {
        for (name, issuer) in [("root", None), ("middle", Some("root"))] {
            self.openssl(&format!(
                "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"
            ));
            self.sign(name, "ca", issuer, "");
        }
    }

    /// Connects and leaves; what the client says of the connection.
    pub(super) fn look(&self, proxy: &Proxy, options: &str) -> String {
        self.look_as(proxy, "-servername localhost", options)
    }

    /// Like [`Workshop::look`], with or without a name.
    pub(super) fn look_as(&self, proxy: &Proxy, name: &str, options: &str) -> String {
        self.openssl(&format!(
            "s_client -connect {} {name} {options}",
            proxy.addr()
        ))
    }

    /// Like [`Workshop::look`], for a client that is refused: what it complains of.
    pub(super) fn complaint(&self, proxy: &Proxy, options: &str) -> String {
        let mut command = Command::new(self.openssl.get_program());
        command
            .args(["s_client", "-connect", &proxy.addr().to_string()])
            .args(options.split_whitespace())
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Runs a proxy with this in `[listener.tls]`.
    pub(super) fn proxy(&self, certificates: &str) -> Proxy {
        self.proxy_with(certificates, "")
    }

    /// Runs a proxy with these certificates and more keys of its listener.
    pub(super) fn proxy_with(&self, certificates: &str, keys: &str) -> Proxy {
        Plan::tcp(Origin::echo())
            .listener_keys(&format!("tls.certificates = [{certificates}]\n{keys}"))
            .start()
    }
}

#[test]
fn keys_of_every_kind_and_in_every_form() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let rows = [
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            "ECDSA",
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            "ECDSA",
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521",
            "ECDSA",
        ),
        (
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            "RSA",
        ),
        ("genpkey -algorithm ED25519", "ed25519"),
        // The forms of old: SEC1 behind its parameters, and PKCS#1.
        ("ecparam -name prime256v1 -genkey", "ECDSA"),
        ("genrsa -traditional", "RSA"),
    ];
    for (make, kind) in rows {
        workshop.openssl(&format!("{make} -out site.key"));
        workshop.sign("site", "site", None, "");
        let (cert, key) = (workshop.path("site.pem"), workshop.path("site.key"));
        let proxy = workshop.proxy(&format!("{{ cert = \"{cert}\", key = \"{key}\" }}"));
        for version in ["-tls1_2", "-tls1_3"] {
            let said = workshop.look(
                &proxy,
                &format!("{version} -CAfile site.pem -verify_return_error"),
            );
            assert!(said.contains("Verification: OK"), "{make}: {said}");
            let signature = said
                .lines()
                .find(|line| line.starts_with("Peer signature type"));
            assert!(signature.unwrap().contains(kind), "{make}: {signature:?}");
        }
        assert!(!proxy.log().contains("weak"), "{}", proxy.log());
    }
}

#[test]
fn a_chain_in_one_file_in_any_order() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    workshop.authorities();
    workshop.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out site.key");
    workshop.sign("site", "site", Some("middle"), "");
    let [root, middle, site, key] =
        ["root.pem", "middle.pem", "site.pem", "site.key"].map(|name| workshop.read(name));
    for order in [
        [&site, &middle, &key, &root],
        [&key, &root, &middle, &site],
        [&middle, &site, &root, &key],
        [&root, &key, &site, &middle],
    ] {
        let text = order.map(String::as_str).join("# a comment between\n");
        fs::write(workshop.path("all.pem"), text).unwrap();
        let proxy = workshop.proxy(&format!("\"{}\"", workshop.path("all.pem")));
        // Only whoever gets the one in the middle, too, can verify it.
        let said = workshop.look(&proxy, "-CAfile root.pem -verify_return_error");
        assert!(said.contains("Verification: OK"), "{said}");
        assert!(said.contains("0 s:CN = site"), "{said}");
        assert!(said.contains("1 s:CN = middle"), "{said}");
    }
}

/// Runs `check` on a configuration with these certificates.
pub(super) fn checked(workshop: &Workshop, certificates: &str) -> (Option<i32>, String) {
    let toml = Plan::tcp(Origin::echo())
        .listener_keys(&format!("tls.certificates = [{certificates}]"))
        .toml();
    let file = workshop.path("longsplice.toml");
    fs::write(&file, toml).unwrap();
    let outcome = run(&["check", "-c", &file]);
    (outcome.code, outcome.stderr)
}

#[test]
fn what_cannot_be_used_says_why() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let rows = [
        (
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out site.key",
            "an RSA key of 1024 bits is refused by the TLS library; at least 2048",
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass pass:x -out site.key",
            "the private key is encrypted",
        ),
    ];
    for (make, why) in rows {
        workshop.openssl(make);
        let subject = "req -x509 -key site.key -passin pass:x -subj /CN=site -out site.pem";
        workshop.openssl(subject);
        let (cert, key) = (workshop.path("site.pem"), workshop.path("site.key"));
        let (code, said) = checked(
            &workshop,
            &format!("{{ cert = \"{cert}\", key = \"{key}\" }}"),
        );
        assert_eq!(code, Some(2), "{said}");
        let place = format!("listener[0].tls.certificates[0]: {cert} with the key of {key}: ");
        assert!(said.contains(&format!("{place}{why}")), "{said}");
    }
}

#[test]
fn what_ends_soon_or_has_ended_is_warned_of() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    workshop.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out site.key");
    for (days, why) in [
        // 13 days and 0 seconds, or already less.
        ("13", Some("the certificate expires in 1")),
        ("-1", Some("the certificate has expired")),
        ("30", None),
    ] {
        workshop.sign("site", "site", None, &format!("-days {days}"));
        let (cert, key) = (workshop.path("site.pem"), workshop.path("site.key"));
        let certificates = format!("{{ cert = \"{cert}\", key = \"{key}\" }}");
        let (code, said) = checked(&workshop, &certificates);
        assert_eq!(code, Some(0), "{said}");
        let proxy = workshop.proxy(&certificates);
        match why {
            Some(why) => {
                let place = "listener[0].tls.certificates[0]: ";
                assert!(said.contains("warning: "), "{said}");
                assert!(said.contains(&format!("{place}{cert}: {why}")), "{said}");
                eventually(why, || proxy.log().contains(why));
            }
            None => assert!(!said.contains("certificate"), "{said}"),
        }
    }
}

#[test]
fn a_version_that_is_too_low_is_told_so() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let identity = Identity::new(&["localhost"]);
    let keys = format!("{}\ntls.min_version = \"1.3\"", identity.listener_keys());
    let proxy = Plan::tcp(Origin::echo()).listener_keys(&keys).start();
    let said = workshop.complaint(&proxy, "-tls1_2");
    assert!(said.contains("alert protocol version"), "{said}");
    proxy.wait_cause("refused", "tls-handshake-failed");
    // Below 1.2 nothing goes, whatever is configured.
    let proxy = Plan::tcp(Origin::echo())
        .listener_keys(&identity.listener_keys())
        .start();
    let said = workshop.complaint(&proxy, "-tls1_1 -cipher ALL:@SECLEVEL=0");
    assert!(said.contains("alert protocol version"), "{said}");
}

#[test]
fn http_1_1_is_what_is_agreed_on() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let identity = Identity::new(&["localhost"]);
    let keys = identity.listener_keys();
    let http = Plan::routes_only(&responding("", "hello"))
        .listener_keys(&keys)
        .start();
    let tcp = Plan::tcp(Origin::echo()).listener_keys(&keys).start();
    for version in ["-tls1_2", "-tls1_3"] {
        let said = workshop.look(&http, &format!("{version} -alpn h2,http/1.1"));
        assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
        let said = workshop.look(&http, version);
        assert!(said.contains("No ALPN negotiated"), "{said}");
        let said = workshop.complaint(&http, &format!("{version} -alpn h2"));
        assert!(said.contains("alert no application protocol"), "{said}");
        // What a tunnel carries is not ours to name.
        let said = workshop.look(&tcp, &format!("{version} -alpn h2,http/1.1"));
        assert!(said.contains("No ALPN negotiated"), "{said}");
    }
}

#[test]
fn openssl_resumes_on_every_thread() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    let identity = Identity::new(&["localhost"]);
    let proxy = Plan::routes_only(&responding("", "hello"))
        .listener_keys(&identity.listener_keys())
        .start();
    for version in ["-tls1_2", "-tls1_3"] {
        let look = |options: &str| {
            let mut client = Command::new(workshop.openssl.get_program());
            client
                .current_dir(workshop.dir.path())
                .args(["s_client", "-connect", &proxy.addr().to_string()])
                .args(["-servername", "localhost", "-ign_eof", version])
                .args(options.split_whitespace());
            exchanged(&mut client)
        };
        let said = look("-sess_out session");
        assert!(said.contains("\nNew, TLS"), "{said}");
        // Connections are spread over two threads by a hash of their addresses.
        for _ in 0..8 {
            let said = look("-sess_in session");
            assert!(said.contains("\nReused, TLS"), "{said}");
            assert!(said.contains("hello"), "{said}");
        }
    }
}

/// Lets a client say a request, and returns all it said itself.
pub(super) fn exchanged(client: &mut Command) -> String {
    use std::io::Write as _;
    let mut child = client
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    child.stdin.take().unwrap().write_all(request).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
