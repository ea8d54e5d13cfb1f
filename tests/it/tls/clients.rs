//! Clients' certificates: who must show one, whose are believed, whose are revoked, and what the log says of
//! those that are refused. OpenSSL is the authority and the client.

use std::fs;
use std::process::Command;

use rustls::HandshakeKind;
use rustls::version::TLS13;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::http::{self, get, ok};
use crate::harness::openssl::Openssl;
use crate::harness::origin::Origin;
use crate::harness::parts::{Part, finish};
use crate::harness::plan::Plan;
use crate::harness::process::Proxy;
use crate::harness::tls::{Identity, Secure, VERSIONS};
use crate::harness::{eventually, free_port};

const TLS_OPTIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];
/// OpenSSL of Debian speaks no TLS 1.1 without it.
const WEAK: &str = "DEFAULT@SECLEVEL=0";

/// A folder in which OpenSSL keeps an authority.
struct Authority {
    openssl: Command,
    dir: TempDir,
}

impl Authority {
    /// None = OpenSSL is not there.
    fn open() -> Option<Self> {
        let this = Self {
            openssl: Part::Openssl.command()?,
            dir: TempDir::new().unwrap(),
        };
        let config = "[ca]\ndefault_ca = d\n[d]\ndir = .\ndatabase = index\nnew_certs_dir = .\n\
                      serial = serial\ncrlnumber = number\ndefault_md = sha256\ndefault_days = 30\n\
                      default_crl_days = 30\npolicy = p\nx509_extensions = x\n\
                      [p]\ncommonName = supplied\n[x]\nbasicConstraints = CA:FALSE\n\
                      [req]\ndistinguished_name = n\n[n]\n";
        for (name, text) in [
            ("ca.cnf", config),
            ("index", ""),
            ("serial", "2A\n"),
            ("number", "01\n"),
        ] {
            fs::write(this.path(name), text).unwrap();
        }
        this.self_signed("root", "critical,CA:TRUE", "");
        Some(this)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn openssl(&self, words: &str) -> String {
        let mut command = Command::new(self.openssl.get_program());
        command.current_dir(self.dir.path());
        finish(command.args(words.split_whitespace()))
    }

    fn ca(&self, words: &str) -> String {
        self.openssl(&format!(
            "ca -config ca.cnf -batch -cert root.pem -keyfile root.key {words}"
        ))
    }

    fn self_signed(&self, name: &str, constraints: &str, more: &str) {
        self.openssl(&format!(
            "req -x509 -config ca.cnf -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.pem -days 30 \
             -subj /CN={name} -addext basicConstraints={constraints} \
             -addext subjectAltName=DNS:localhost {more}"
        ));
    }

    /// Issues NAME.pem for NAME.key.
    fn issue(&self, name: &str) {
        self.openssl(&format!(
            "req -new -config ca.cnf -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
        self.ca(&format!("-in {name}.csr -out {name}.pem -notext"));
    }

    /// Writes a list, of `since` and good until `until`.
    fn list(&self, name: &str, since: u32, until: u32) {
        self.ca(&format!(
            "-gencrl -out {name} -crl_lastupdate {since}0101000000Z -crl_nextupdate {until}0101000000Z"
        ));
    }

    fn client(&self, proxy: &Proxy, name: &str, version: &str) -> Openssl {
        let (cert, key) = (
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        );
        Openssl::client(
            proxy.addr(),
            &["-quiet", version, "-cert", &cert, "-key", &key],
        )
    }

    /// Connects with a certificate, and demands that it is let in.
    fn is_let_in(&self, proxy: &Proxy, name: &str, version: &str) {
        let mut client = self.client(proxy, name, version);
        client.type_line("here I am");
        client.await_line("here I am");
    }

    /// Connects with a certificate, and demands that it is refused and that the log says `why`.
    fn is_refused(&self, proxy: &Proxy, name: &str, version: &str, why: &str) {
        let mut client = self.client(proxy, name, version);
        client.type_line("here I am");
        wait_refused(proxy, why);
    }
}

/// Waits for a line that says `why`, in words.
fn wait_refused(proxy: &Proxy, why: &str) -> Value {
    let line = proxy.wait_access("refused", |line| {
        line["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains(why))
    });
    assert_eq!(line["cause"], "tls-handshake-failed", "{line}");
    in_words(&line);
    line
}

/// Checks that a detail has no name of Rust in it, such as `UnknownCA` or `Other(OtherError(..))`.
fn in_words(line: &Value) {
    let mut detail = line["detail"].as_str().unwrap().to_owned();
    for term in [
        "ClientHello",
        "ServerHello",
        "clientAuth",
        "serverAuth",
        "ChaCha20",
    ] {
        detail = detail.replace(term, "");
    }
    let bytes = detail.as_bytes();
    let camel = bytes
        .windows(2)
        .any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    assert!(!camel, "a name of Rust: {line}");
}

#[test]
fn a_client_without_a_certificate_passes_where_it_is_requested() {
    let (identity, mine, other) = (
        Identity::new(&["localhost"]),
        Identity::named("Ada"),
        Identity::named("stranger"),
    );
    let keys = format!(
        "{}\ntls.client_ca = \"{}\"\ntls.client_auth = \"request\"\ntls.client_subject = true",
        identity.listener_keys(),
        mine.cert_file()
    );
    for version in VERSIONS {
        let origin = Origin::answering(ok("hello"));
        let proxy = Plan::http(origin.addr).listener_keys(&keys).start();
        for (shown, subject, word) in [
            (None, None, "none"),
            (Some(&mine), Some("CN=Ada"), "verified"),
        ] {
            let config = identity.client(version, shown);
            // The second one resumes.
            for nth in 0..2 {
                let mut client = Secure::connect(proxy.addr(), &config);
                let resumed = client.tls.handshake_kind() == Some(HandshakeKind::Resumed);
                assert_eq!(resumed, nth > 0);
                let lines = "Connection: close\r\nX-Client-Subject: CN=forged\r\n";
                client.send(get("localhost", "/", lines));
                assert!(client.read_to_end().unwrap().ends_with(b"hello"));
                let head = origin.head();
                let subjects = http::values(&head, "x-client-subject");
                assert_eq!(subjects, Vec::from_iter(subject), "{head}");
                proxy.wait_access("request", |line| line["client_certificate"] == word);
            }
        }
        let config = identity.client(version, Some(&other));
        let mut client = Secure::begin(proxy.addr(), &config, "localhost", b"");
        let _ = client.shake();
        let line = wait_refused(&proxy, "the client's certificate (CN=stranger, serial ");
        let detail = line["detail"].as_str().unwrap();
        assert!(
            detail.contains("comes from no issuer in client_ca; add"),
            "{line}"
        );
    }
}

#[test]
fn whose_certificates_are_demanded_changes_with_a_reload_and_no_ticket_outlives_it() {
    let (identity, mine) = (Identity::new(&["localhost"]), Identity::named("Ada"));
    let keys = |auth: &str| {
        format!(
            "{}\ntls.client_ca = \"{}\"\ntls.client_auth = \"{auth}\"",
            identity.listener_keys(),
            mine.cert_file()
        )
    };
    let plan = Plan::tcp(Origin::echo()).listener_keys(&keys("request"));
    let toml = plan.toml();
    let proxy = Proxy::start(&toml);
    let config = identity.client(&TLS13, None);
    for nth in 0..2 {
        let mut client = Secure::connect(proxy.addr(), &config);
        let resumed = client.tls.handshake_kind() == Some(HandshakeKind::Resumed);
        assert_eq!(resumed, nth > 0);
        client.send("x");
        client.expect("x");
    }
    proxy.reload(&toml.replace("\"request\"", "\"require\""));
    let mut client = Secure::begin(proxy.addr(), &config, "localhost", b"");
    assert!(client.shake().is_err() || client.try_echo().is_err());
    wait_refused(
        &proxy,
        "the client shows no certificate, and client_ca demands one",
    );
}

#[test]
fn openssl_revokes_and_the_next_handshake_knows_it() {
    if let Some(authority) = Authority::open() {
        revokes_and_asks(&authority, "");
    }
}

#[test]
fn a_revoked_client_resumes_no_session_under_keys_from_files() {
    if let Some(authority) = Authority::open() {
        authority.openssl("rand -out ticket 80");
        let keys = format!("tls.ticket_keys = [\"{}\"]", authority.path("ticket"));
        revokes_and_asks(&authority, &keys);
    }
}

/// Lets a client in, revokes its certificate, and demands that it is refused, with and without its session.
fn revokes_and_asks(authority: &Authority, more_keys: &str) {
    for name in ["alice", "bob"] {
        authority.issue(name);
    }
    authority.list("crl.pem", 2025, 2099);
    let identity = Identity::new(&["localhost"]);
    let keys = format!(
        "{}\ntls.client_ca = \"{}\"\ntls.crl = \"{}\"\n{more_keys}",
        identity.listener_keys(),
        authority.path("root.pem"),
        authority.path("crl.pem")
    );
    let proxy = Plan::tcp(Origin::echo()).listener_keys(&keys).start();
    for version in TLS_OPTIONS {
        authority.is_let_in(&proxy, "alice", version);
        authority.is_let_in(&proxy, "bob", version);
    }
    // Bob keeps a session that can be resumed.
    let session = authority.path("session");
    let (cert, key) = (authority.path("bob.pem"), authority.path("bob.key"));
    let bob = ["-quiet", "-tls1_2", "-cert", &cert, "-key", &key];
    for keeps in ["-sess_out", "-sess_in"] {
        let mut client = Openssl::client(proxy.addr(), &[&bob[..], &[keeps, &session]].concat());
        client.type_line("it is me");
        client.await_line("it is me");
    }
    authority.ca("-revoke bob.pem");
    authority.list("new.pem", 2026, 2099);
    fs::rename(authority.path("new.pem"), authority.path("crl.pem")).unwrap();
    proxy.wait_said(&["crl replaced", "lists=1", "revoked=1"]);
    let revoked = "the client's certificate (CN=bob, serial 2B) is revoked by a list in crl";
    for version in TLS_OPTIONS {
        authority.is_let_in(&proxy, "alice", version);
        authority.is_refused(&proxy, "bob", version, revoked);
    }
    let count = || {
        let lines = proxy.access_lines();
        lines
            .iter()
            .filter(|line| line["detail"] == revoked)
            .count()
    };
    let before = count();
    let mut resuming = Openssl::client(proxy.addr(), &[&bob[..], &["-sess_in", &session]].concat());
    resuming.type_line("let me in again");
    eventually("a revoked client resumes no session", || count() > before);
}

#[test]
fn a_list_that_is_older_broken_or_over_does_not_let_a_revoked_client_in() {
    let Some(authority) = Authority::open() else {
        return;
    };
    for name in ["alice", "bob"] {
        authority.issue(name);
    }
    authority.list("old.pem", 2024, 2099);
    authority.ca("-revoke bob.pem");
    authority.list("crl.pem", 2025, 2099);
    authority.list("ended.pem", 2026, 2026);
    let identity = Identity::new(&["localhost"]);
    let keys = format!(
        "{}\ntls.client_ca = \"{}\"\ntls.crl = \"{}\"",
        identity.listener_keys(),
        authority.path("root.pem"),
        authority.path("crl.pem")
    );
    let proxy = Plan::tcp(Origin::echo()).listener_keys(&keys).start();
    let revoked = "(CN=bob, serial 2B) is revoked by a list in crl";
    authority.is_refused(&proxy, "bob", "-tls1_3", revoked);
    let good = fs::read(authority.path("crl.pem")).unwrap();
    let old = fs::read(authority.path("old.pem")).unwrap();
    for (text, why) in [
        (
            &old[..],
            "is of 2024-01-01T00:00:00Z, older than the one in use of 2025-01-01T00:00:00Z",
        ),
        (&good[..good.len() / 2], "not replaced"),
        (b"", "holds no revocation list"),
    ] {
        fs::write(authority.path("crl.pem"), text).unwrap();
        proxy.wait_said(&["not replaced: what was read before stays", why]);
        authority.is_let_in(&proxy, "alice", "-tls1_2");
        let mut client = authority.client(&proxy, "bob", "-tls1_2");
        client.type_line("here I am");
    }
    // The same in DER.
    authority.openssl("crl -in ended.pem -outform DER -out ended.der");
    fs::rename(authority.path("ended.der"), authority.path("crl.pem")).unwrap();
    proxy.wait_said(&[
        "the list of CN=root ended 2026-01-01T00:00:00Z",
        "are refused",
    ]);
    let ended =
        "(CN=alice, serial 2A) cannot be checked: the list of its issuer in crl ended 2026-01-01";
    authority.is_refused(&proxy, "alice", "-tls1_3", ended);
    let let_in = proxy.access_lines();
    let opened = let_in.iter().filter(|line| line["event"] == "open").count();
    assert_eq!(opened, 3, "bob was let in");
}

#[test]
fn self_signed_certificates_of_openssl_are_believed_at_either_end() {
    let Some(authority) = Authority::open() else {
        return;
    };
    let identity = Identity::new(&["localhost"]);
    authority.self_signed("plain", "CA:FALSE", "");
    for name in ["root", "plain"] {
        let keys = format!(
            "{}\ntls.client_ca = \"{}\"",
            identity.listener_keys(),
            authority.path(&format!("{name}.pem"))
        );
        for version in TLS_OPTIONS {
            let proxy = Plan::tcp(Origin::echo()).listener_keys(&keys).start();
            authority.is_let_in(&proxy, name, version);

            let port = free_port();
            let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
            let files = [authority.path(&cert), authority.path(&key)];
            let mut server =
                Openssl::server(files.each_ref().map(String::as_str), port, &[version]);
            let keys = format!(
                "tls = {{ ca = \"{}\", server_name = \"localhost\" }}",
                files[0]
            );
            let proxy = Plan::tcp(([127, 0, 0, 1], port).into())
                .backend_keys(&keys)
                .start();
            let mut client = proxy.connect();
            client.send("from the client\n");
            server.await_line("from the client");
            server.type_line("from the server");
            client.expect("from the server\n");
        }
    }
}

#[test]
fn a_peer_with_tls_1_1_gets_alert_70_and_the_log_says_so() {
    let Some(authority) = Authority::open() else {
        return;
    };
    let identity = Identity::new(&["localhost"]);
    let proxy = Plan::tcp(Origin::echo())
        .listener_keys(&identity.listener_keys())
        .start();
    let client = Openssl::client(proxy.addr(), &["-tls1_1", "-cipher", WEAK, "-msg"]);
    client.await_line("fatal protocol_version");
    wait_refused(
        &proxy,
        "the client speaks TLS 1.1 at most, and longsplice TLS 1.2 and 1.3; update the client",
    );

    let files = [authority.path("root.pem"), authority.path("root.key")];
    let port = free_port();
    let options = ["-tls1_1", "-cipher", WEAK];
    let _server = Openssl::server(files.each_ref().map(String::as_str), port, &options);
    let proxy = Plan::tcp(([127, 0, 0, 1], port).into())
        .backend_keys("tls = { verify = false, server_name = \"localhost\" }\nretries = 0")
        .start();
    let _client = proxy.connect();
    let line = proxy.wait_cause("refused", "server-tls-failed");
    in_words(&line);
    let detail = line["detail"].as_str().unwrap();
    let expected =
        "the server refused with the alert protocol_version (70): it speaks TLS 1.1 at most";
    assert!(detail.starts_with(expected), "{line}");
}

#[test]
fn what_openssl_cannot_agree_on_is_said_in_words() {
    let Some(authority) = Authority::open() else {
        return;
    };
    let identity = Identity::new(&["localhost"]);
    let proxy = Plan::tcp(Origin::echo())
        .listener_keys(&identity.listener_keys())
        .start();
    let root = authority.path("root.pem");
    for (options, why) in [
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"][..],
            "share no cipher suite: longsplice speaks AES-GCM",
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
            "the client",
        ),
        (
            &["-tls1_3", "-groups", "secp521r1"],
            "share no group for the key exchange",
        ),
        (
            &["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"],
            "can verify no signature of the key in our certificate",
        ),
        (
            &["-CAfile", &root, "-verify_return_error", "-tls1_3"],
            "the client refused with the alert unknown_ca (48): it does not trust",
        ),
    ] {
        let _client = Openssl::client(proxy.addr(), options);
        wait_refused(&proxy, why);
    }
}
