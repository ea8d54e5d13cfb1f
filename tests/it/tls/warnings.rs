//! Certificates that deserve a warning, made by OpenSSL: what `check` and the start say, and what does not
//! replace a better certificate.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::identity::{Workshop, checked};
use crate::harness::eventually;
use crate::harness::origin::Origin;
use crate::harness::parts::finish;
use crate::harness::plan::{Plan, backend};
use crate::harness::process::{Proxy, run};
use crate::harness::tls::shown_certificate;

const ECDSA: &str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256";
/// Time in which a change of files has been read twice, and more.
const SEEN_FOR_SURE: Duration = Duration::from_secs(5);

impl Workshop {
    /// Signs NAME.pem for the key in site.key, by itself, valid from and until these times
    /// (`YYYYMMDDHHMMSSZ`).
    fn sign_between(&self, name: &str, from: &str, until: &str) {
        let settings = "[ca]\ndefault_ca = all\n[all]\ndatabase = index\nnew_certs_dir = .\n\
                        default_md = sha256\nserial = serial\nrand_serial = yes\npolicy = any\nunique_subject = no\n\
                        [any]\ncommonName = supplied\n";
        fs::write(self.path("ca.conf"), settings).unwrap();
        fs::write(self.path("index"), "").unwrap();
        self.openssl("req -new -key site.key -subj /CN=site -out site.csr");
        self.openssl(&format!(
            "ca -batch -config ca.conf -notext -selfsign -keyfile site.key -in site.csr \
             -extfile site.kind -startdate {from} -enddate {until} -out {name}.pem"
        ));
    }

    /// Writes the certificates of these names one after the other into FILE.
    fn join(&self, file: &str, names: &[&str]) {
        let texts: Vec<String> = names
            .iter()
            .map(|name| self.read(&format!("{name}.pem")))
            .collect();
        fs::write(self.path(file), texts.concat()).unwrap();
    }

    fn pair(&self, cert: &str, key: &str) -> String {
        let (cert, key) = (self.path(cert), self.path(key));
        format!("{{ cert = \"{cert}\", key = \"{key}\" }}")
    }

    fn kind(&self, name: &str, names: &str) {
        let text = format!("basicConstraints = CA:FALSE\nsubjectAltName = {names}\n");
        fs::write(self.path(&format!("{name}.kind")), text).unwrap();
    }
}

/// Returns the warnings that `check` has written, without their places.
fn warnings(said: &str) -> Vec<&str> {
    let lines = said.lines().filter(|line| line.contains("warning: "));
    let texts = lines.filter_map(|line| line.split_once("tls.certificates"));
    texts
        .filter_map(|(_, text)| text.split_once(": "))
        .map(|(_, text)| text)
        .collect()
}

#[test]
fn each_form_is_warned_of_with_its_file_and_a_remedy() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    workshop.authorities();
    workshop.openssl(&format!("{ECDSA} -out site.key"));
    workshop.openssl(&format!("{ECDSA} -out alone.key"));
    workshop.sign("alone", "site", None, "");
    workshop.sign("site", "site", Some("middle"), "");
    workshop.join("whole.pem", &["root", "site", "middle"]);
    workshop.join("rooted.pem", &["site", "root"]);
    workshop.join("crowd.pem", &["site", "middle", "alone"]);
    let missing = "the certificate of the issuer \"CN=middle\" is missing, and clients that do not have it \
                   refuse the connection; append it to the file";
    let stranger = |name: &str| {
        format!(
            "the certificate \"CN={name}\" in the file signed none of the chain, and clients do not get it"
        )
    };
    let over = "and clients refuse it; renew it";
    let rows: [(&str, Vec<String>); 8] = [
        ("alone.pem", vec![]),
        ("whole.pem", vec![]),
        ("site.pem", vec![missing.to_owned()]),
        ("rooted.pem", vec![missing.to_owned(), stranger("root")]),
        ("crowd.pem", vec![stranger("alone")]),
        (
            "over.pem",
            vec![format!(
                "the certificate has expired, on 2020-06-01T00:00:00Z, {over}"
            )],
        ),
        (
            "later.pem",
            vec!["the certificate is not valid before 2045-01-01T00:00:00Z, and".to_owned()],
        ),
        (
            "aged.pem",
            vec!["the issuer's certificate \"CN=middle\" in the chain has expired".to_owned()],
        ),
    ];
    workshop.sign_between("over", "20190101000000Z", "20200601000000Z");
    workshop.sign_between("later", "20450101000000Z", "20460101000000Z");
    workshop.sign("middle", "ca", Some("root"), "-days -1");
    workshop.join("aged.pem", &["site", "middle"]);
    for (file, expected) in rows {
        let key = if file == "alone.pem" {
            "alone.key"
        } else {
            "site.key"
        };
        let certificates = workshop.pair(file, key);
        let (code, said) = checked(&workshop, &certificates);
        assert_eq!(code, Some(0), "{said}");
        let found = warnings(&said);
        assert_eq!(found.len(), expected.len(), "{file}: {said}");
        let proxy = workshop.proxy(&certificates);
        for expected in &expected {
            let expected = format!("{}: {expected}", workshop.path(file));
            assert!(
                found.iter().any(|it| it.contains(&expected)),
                "{expected}: {said}"
            );
            proxy.wait_said(&["WARN", &expected]);
        }
    }
}

#[test]
fn names_routes_and_certificates_are_compared() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    for (name, names) in [
        ("a", "DNS:a.example, DNS:www.a.example"),
        ("w", "DNS:*.w.example"),
        ("again", "DNS:a.example"),
    ] {
        workshop.kind(name, names);
        workshop.openssl(&format!("{ECDSA} -out {name}.key"));
        workshop.sign(name, name, None, "");
    }
    workshop.openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key");
    workshop.kind("rsa", "DNS:a.example");
    workshop.sign("rsa", "rsa", None, "");
    let origin = Origin::echo();
    let all = ["a", "again", "w", "rsa"]
        .map(|it| workshop.pair(&format!("{it}.pem"), &format!("{it}.key")));
    let toml = Plan::http(origin)
        .listener_keys(&format!("tls.certificates = [{}]", all.join(", ")))
        .routes(
            "[[listener.route]]\nhost = [\"a.example\", \"x.w.example\"]\nbackend = \"app\"\n\
             [[listener.route]]\nhost = [\"c.example\", \"y.x.w.example\"]\nbackend = \"other\"\n",
        )
        .more(&backend("other", origin))
        .toml();
    let file = workshop.path("longsplice.toml");
    fs::write(&file, &toml).unwrap();
    let outcome = run(&["check", "-c", &file]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let [a, again] = ["a.pem", "again.pem"].map(|name| workshop.path(name));
    let expected = [
        format!("{a}: no route takes www.a.example, which the certificate is for"),
        format!("{again}: no client gets the certificate: {a} stands before it"),
        format!(
            "no certificate of this listener is for c.example, y.x.w.example, which routes take: clients get {a}"
        ),
    ];
    let found = warnings(&outcome.stderr);
    assert_eq!(found.len(), expected.len(), "{}", outcome.stderr);
    for expected in &expected {
        assert!(
            found.iter().any(|it| it.contains(expected)),
            "{expected}: {found:?}"
        );
    }
    // A route for every host: nothing is missing.
    let every = toml.replace("host = [\"c.example\", \"y.x.w.example\"]\n", "");
    fs::write(&file, every).unwrap();
    let said = run(&["check", "-c", &file]).stderr;
    assert_eq!(warnings(&said).len(), 1, "{said}");
}

/// Returns the lines that tell of a certificate that was not taken.
fn refusals(proxy: &Proxy) -> Vec<String> {
    let lines = proxy.log_lines().into_iter();
    lines
        .filter(|line| line.contains("not replaced: the new certificate is worse"))
        .collect()
}

#[test]
fn what_is_worse_replaces_nothing_until_a_reload() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    workshop.authorities();
    workshop.openssl(&format!("{ECDSA} -out site.key"));
    workshop.sign("site", "site", Some("middle"), "");
    workshop.join("good.pem", &["site", "middle"]);
    workshop.kind("else", "DNS:else.example");
    workshop.sign_between("over", "20190101000000Z", "20200601000000Z");
    workshop.sign_between("later", "20450101000000Z", "20460101000000Z");
    fs::copy(workshop.path("site.key"), workshop.path("else.key")).unwrap();
    workshop.sign("else", "else", None, "");
    workshop.join("used.pem", &["site", "middle"]);
    let toml = Plan::tcp(Origin::echo())
        .listener_keys(&format!(
            "tls.certificates = [{}]",
            workshop.pair("used.pem", "site.key")
        ))
        .toml();
    let proxy = Proxy::start(&toml);
    let shows = |name: &str| {
        let pem = workshop.read(&format!("{name}.pem"));
        shown_certificate(proxy.addr(), "localhost")
            == CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    };
    let mut told = 0;
    for (name, why) in [
        (
            "over",
            "the certificate has expired, on 2020-06-01T00:00:00Z",
        ),
        (
            "site",
            "the certificate of the issuer \"CN=middle\" is missing",
        ),
        (
            "else",
            "the certificate is not for localhost any more, which routes take",
        ),
        (
            "later",
            "the certificate is not valid before 2045-01-01T00:00:00Z",
        ),
    ] {
        workshop.join("used.pem", &[name]);
        told += 1;
        eventually(name, || refusals(&proxy).len() == told);
        let line = refusals(&proxy).pop().unwrap();
        for part in [
            "WARN",
            "edge",
            "used.pem",
            why,
            "reload to take it as it is",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        // `site` is the same certificate without its chain.
        assert!(shows("good"), "{name}");
    }
    // It is told once, although it stands there for longer.
    thread::sleep(SEEN_FOR_SURE);
    assert_eq!(refusals(&proxy).len(), told);
    assert!(shows("good"));
    proxy.reload_again();
    eventually("the reload takes it", || shows("later"));
    proxy.wait_said(&["WARN", "used.pem: the certificate is not valid before 2045"]);
    // What is better than that is taken by itself.
    workshop.join("used.pem", &["site"]);
    eventually("a valid one is taken", || shows("site"));
    assert_eq!(refusals(&proxy).len(), told);
    proxy.wait_said(&[
        "WARN",
        "used.pem",
        "the certificate of the issuer \"CN=middle\" is missing",
    ]);
}

/// Returns the time so many seconds from now, as OpenSSL takes it.
fn from_now(seconds: u32) -> String {
    let mut date = Command::new("date");
    let said = finish(date.args(["-u", "-d", &format!("{seconds} seconds"), "+%Y%m%d%H%M%SZ"]));
    said.trim().to_owned()
}

#[test]
fn what_is_not_valid_yet_is_taken_when_it_is() {
    let Some(workshop) = Workshop::open() else {
        return;
    };
    workshop.openssl(&format!("{ECDSA} -out site.key"));
    workshop.sign("site", "site", None, "");
    workshop.join("used.pem", &["site"]);
    let proxy = workshop.proxy(&workshop.pair("used.pem", "site.key"));
    workshop.sign_between("later", &from_now(10), "20460101000000Z");
    workshop.join("used.pem", &["later"]);
    eventually("it is refused", || refusals(&proxy).len() == 1);
    let later = CertificateDer::from_pem_slice(workshop.read("later.pem").as_bytes()).unwrap();
    assert!(shown_certificate(proxy.addr(), "localhost") != later);
    eventually("it is taken", || {
        shown_certificate(proxy.addr(), "localhost") == later
    });
    proxy.wait_said(&["INFO", "certificate replaced", "used.pem"]);
    assert_eq!(refusals(&proxy).len(), 1);
}
