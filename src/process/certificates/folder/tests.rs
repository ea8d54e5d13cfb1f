//! A folder that changes between looks, without waiting between them.

use std::fs;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;
use crate::tls::testing::authority;

/// The first of January 2030.
const NOW_S: i64 = 1_893_456_000;
const YEAR_S: i64 = 366 * 24 * 60 * 60;

/// A certificate for `site.test` from the first of January of a year to that of another, and its key.
fn made(from: i32, until: i32) -> (String, String) {
    let (params, key) = (params(from, until), KeyPair::generate().unwrap());
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn params(from: i32, until: i32) -> CertificateParams {
    let mut params = CertificateParams::new(["site.test".to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}

fn good() -> (String, String) {
    made(2020, 2040)
}

fn both((cert, key): &(String, String)) -> String {
    format!("{cert}{key}")
}

/// A folder with `site.pem`, and its certificates in use.
struct Watched {
    dir: TempDir,
    folder: Folder,
    certificates: Vec<Certificate>,
}

impl Watched {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("site.pem"), both(&good())).unwrap();
        let (folder, certificates) = Folder::read(dir.path(), 0).unwrap();
        Self {
            dir,
            folder,
            certificates,
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.dir.path().join(name)).unwrap();
    }

    /// Looks once; returns the names of files that came (+) and went (-).
    fn look_at(&mut self, now_s: i64) -> String {
        let owner = CertificateOwner::Listener("edge".into());
        let changes = self.folder.look(&mut self.certificates, &owner, now_s);
        let name = |sign: &str, file: &PathBuf| {
            format!("{sign}{}", file.file_name().unwrap().to_str().unwrap())
        };
        let added = changes.added.iter().map(|it| name("+", it));
        let removed = changes.removed.iter().map(|it| name("-", it));
        added.chain(removed).collect::<Vec<_>>().join(" ")
    }

    fn look(&mut self) -> String {
        self.look_at(NOW_S)
    }

    fn complaint(&self, name: &str) -> &str {
        let said = self.folder.said.get(&self.dir.path().join(name));
        said.map_or("", String::as_str)
    }
}

#[test]
fn a_new_certificate_that_clients_refuse_waits_until_it_is_valid() {
    let rows = [
        (made(2020, 2025), "expired", false),
        (made(2031, 2040), "not valid before", true),
    ];
    for (new, why, becomes_valid) in rows {
        let mut watched = Watched::new();
        watched.write("a-new.pem", &both(&new));
        for _ in 0..4 {
            assert_eq!(watched.look(), "", "{why}");
        }
        assert_eq!(watched.certificates.len(), 1);
        let said = watched.complaint("a-new.pem");
        assert!(said.contains(why), "{said}");
        // Time goes on.
        let expected = if becomes_valid { "+a-new.pem" } else { "" };
        assert_eq!(watched.look_at(NOW_S + 2 * YEAR_S), expected);
        // The file is mended.
        if !becomes_valid {
            watched.write("a-new.pem", &both(&good()));
            assert_eq!(watched.look(), "");
            assert_eq!(watched.look(), "+a-new.pem");
        }
        assert_eq!(watched.complaint("a-new.pem"), "");
        let first = cert_of(&watched.certificates[0]).unwrap();
        assert!(first.ends_with("a-new.pem"), "{first:?}");
    }
}

#[test]
fn a_new_certificate_without_its_issuer_waits_beside_one_with_it() {
    let key = KeyPair::generate().unwrap();
    let middle = CertifiedIssuer::signed_by(middle_params(), key, &authority("root")).unwrap();
    let signed = || {
        let key = KeyPair::generate().unwrap();
        let cert = params(2020, 2040).signed_by(&key, &middle).unwrap();
        (cert.pem(), key.serialize_pem())
    };
    let dir = TempDir::new().unwrap();
    let whole = both(&signed()) + &middle.pem();
    fs::write(dir.path().join("site.pem"), whole).unwrap();
    let (folder, certificates) = Folder::read(dir.path(), 0).unwrap();
    let mut watched = Watched {
        dir,
        folder,
        certificates,
    };
    let alone = both(&signed());
    watched.write("a-new.pem", &alone);
    for _ in 0..4 {
        assert_eq!(watched.look(), "");
    }
    let said = watched.complaint("a-new.pem");
    assert!(said.contains("\"CN=middle\" is missing"), "{said}");
    watched.write("a-new.pem", &(alone + &middle.pem()));
    assert_eq!(watched.look(), "");
    assert_eq!(watched.look(), "+a-new.pem");
}

/// Of an authority that another signs.
fn middle_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let name = rcgen::DnType::CommonName;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(name, "middle");
    params
}

#[test]
fn a_key_that_moves_brings_a_candidate_and_no_certificate() {
    let mut watched = Watched::new();
    let before = watched.certificates[0].files.good.not_after();
    let (cert, key) = made(2020, 2025);
    watched.write("site.key", &key);
    watched.write("site.pem", &cert);
    let owner = CertificateOwner::Listener("edge".into());
    let mut candidates = 0;
    for _ in 0..4 {
        assert_eq!(watched.look(), "");
        let candidate = watched.certificates[0].candidate(&owner);
        candidates += usize::from(candidate.is_some());
        assert_eq!(watched.certificates[0].files.good.not_after(), before);
    }
    assert_eq!(candidates, 1);
    let key = &watched.certificates[0].files.paths[1];
    assert!(key.ends_with("site.key"), "{key:?}");
}

#[test]
fn new_contents_count_when_they_are_read_twice() {
    let mut watched = Watched::new();
    // A chain that is cut at the end of a block.
    let (cert, key) = good();
    watched.write("b.pem", &format!("{key}{cert}"));
    assert_eq!(watched.look(), "");
    watched.write("b.pem", &format!("{key}{cert}{}", authority("ca").pem()));
    assert_eq!(watched.look(), "");
    assert_eq!(watched.look(), "+b.pem");
    // Gone for a moment.
    let text = fs::read_to_string(watched.dir.path().join("b.pem")).unwrap();
    watched.remove("b.pem");
    assert_eq!(watched.look(), "");
    watched.write("b.pem", &text);
    assert_eq!(watched.look(), "");
    watched.remove("b.pem");
    assert_eq!(watched.look(), "");
    assert_eq!(watched.look(), "-b.pem");
    assert_eq!(watched.certificates.len(), 1);
}

#[test]
fn other_files_that_come_and_go_do_not_hold_a_change_up() {
    let mut watched = Watched::new();
    watched.write("b.pem", &both(&good()));
    watched.write("x1.pem", "");
    assert_eq!(watched.look(), "");
    watched.write("x2.pem", "");
    assert_eq!(watched.look(), "+b.pem");
    watched.remove("b.pem");
    watched.write("x3.pem", "");
    assert_eq!(watched.look(), "");
    watched.write("x4.pem", "");
    assert_eq!(watched.look(), "-b.pem");
}
