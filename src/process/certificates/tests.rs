//! Results of reading changed files, without waiting between the reads.

use super::certificate::*;
use super::files::*;
use super::*;
use crate::config::CertificateFiles;
use crate::tls::file;
use crate::tls::identity::Identity;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const DAY_S: i64 = 24 * 60 * 60;

/// A certificate good until the first of June 2040, and its key.
fn made(name: &str) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_after = date_time_ymd(2040, 6, 1);
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    (cert.pem(), key.serialize_pem())
}

struct Folder(TempDir);

impl Folder {
    fn with(name: &str) -> (Self, Certificate) {
        let folder = Self(TempDir::new().unwrap());
        let (cert, key) = made(name);
        folder.write("cert.pem", &cert);
        folder.write("key.pem", &key);
        let files = CertificateFiles {
            cert: folder.path("cert.pem"),
            key: folder.path("key.pem"),
        };
        (folder, Certificate::read(&files).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
}

fn edge() -> CertificateOwner {
    CertificateOwner::Listener("edge".into())
}

/// Reads until nothing changes; returns the log messages.
fn told(files: &mut Files<Identity>) -> Vec<String> {
    let mut told = Vec::new();
    for _ in 0..4 {
        match files.fresh() {
            None => {}
            Some(Err(wrong)) => told.push(wrong.to_string()),
            Some(Ok(new)) => {
                files.good = new;
                told.push("good".to_owned());
            }
        }
    }
    told
}

#[test]
fn tickets_of_files_follow_the_files_and_those_who_are_trusted() {
    let folder = Folder(TempDir::new().unwrap());
    let key = |seed: u8| {
        (0..80)
            .map(|at| (at ^ seed) & 0x7f)
            .map(char::from)
            .collect::<String>()
    };
    folder.write("a.ticket", &key(1));
    folder.write("ca.pem", &made("ca").0);
    let read = || Files::read(vec![folder.path("a.ticket")], ticket_keys::read).unwrap();
    let tls = crate::config::Tls {
        client_ca: Some(folder.path("ca.pem")),
        ..Default::default()
    };
    let trusted = || Clients::of(&tls).unwrap().unwrap();
    let (mut keys, mut ca) = (read(), trusted());
    let open = tickets_of(Some(&keys), None).unwrap();
    let trusting = tickets_of(Some(&keys), Some(&ca)).unwrap();
    let ticket = trusting.encrypt(b"a session").unwrap();
    assert!(open.decrypt(&ticket).is_none());
    let others = tickets_of(Some(&read()), Some(&trusted())).unwrap();
    assert_eq!(others.decrypt(&ticket).unwrap(), b"a session");
    // A file that cannot be used changes nothing; another authority does.
    folder.write("a.ticket", "text");
    folder.write("ca.pem", "text");
    assert!(!(0..3).any(|_| keys.look_and_tell(&edge())));
    assert!(!(0..3).any(|_| ca.look("edge", 0)));
    let same = tickets_of(Some(&keys), Some(&ca)).unwrap();
    assert_eq!(same.decrypt(&ticket).unwrap(), b"a session");
    folder.write("ca.pem", &made("other").0);
    assert!((0..3).any(|_| ca.look("edge", 0)));
    assert!(
        tickets_of(Some(&keys), Some(&ca))
            .unwrap()
            .decrypt(&ticket)
            .is_none()
    );
    folder.write("a.ticket", &key(2));
    assert!((0..3).any(|_| keys.look_and_tell(&edge())));
    assert!(
        tickets_of(Some(&keys), None)
            .unwrap()
            .decrypt(&ticket)
            .is_none()
    );
}

#[test]
fn a_change_counts_when_it_was_seen_twice() {
    let (a, b) = (Ok([1; 32]), Ok([2; 32]));
    let broken = || Err(file::text_of(Path::new("/nowhere")).unwrap_err());
    let mut looks = Looks::begin(a.clone());
    let rows = [
        (a.clone(), false),
        (b.clone(), false),
        // Changed back before it counted.
        (a.clone(), false),
        (b.clone(), false),
        (b.clone(), true),
        (b.clone(), false),
        // Different results in a row do not count.
        (broken(), false),
        (a.clone(), false),
        (broken(), false),
        (broken(), true),
        (broken(), false),
        (b.clone(), false),
        (b, true),
    ];
    for (nth, (seen, settles)) in rows.into_iter().enumerate() {
        assert_eq!(looks.settles(seen), settles, "look {nth}");
    }
}

#[test]
fn what_is_broken_is_told_once_and_the_old_one_stays() {
    let (folder, certificate) = Folder::with("old.example");
    let mut files = certificate.files;
    assert_eq!(told(&mut files), [""; 0]);
    let (cert, key) = made("new.example");
    folder.write("cert.pem", &cert);
    assert_eq!(
        told(&mut files),
        ["the private key belongs to none of the certificates"]
    );
    assert_eq!(files.good.names(), ["old.example"]);
    // The same fault with other bytes: nothing new to report.
    folder.write("cert.pem", &made("other.example").0);
    assert_eq!(told(&mut files), [""; 0]);
    fs::remove_file(folder.path("key.pem")).unwrap();
    assert!(told(&mut files)[0].contains("key.pem: cannot be read"));
    folder.write("cert.pem", &cert);
    folder.write("key.pem", &key);
    assert_eq!(told(&mut files), ["good"]);
    assert_eq!(files.good.names(), ["new.example"]);
    assert_eq!(told(&mut files), [""; 0]);
}

#[test]
fn the_end_is_told_once_a_day() {
    let (_folder, mut certificate) = Folder::with("a.example");
    let end_s = certificate.files.good.not_after().unwrap();
    let mut told = |before_end_s: i64| {
        let found = certificate.end_to_tell(end_s - before_end_s);
        let found: Vec<String> = found.iter().map(Finding::to_string).collect();
        found.join("\n")
    };
    let end = "on 2040-06-01T00:00:00Z";
    assert_eq!(told(14 * DAY_S), "");
    let first = told(14 * DAY_S - 1);
    assert_eq!(
        first,
        format!("the certificate expires in 13 days, {end}; renew it")
    );
    assert_eq!(told(13 * DAY_S), "");
    let second = told(13 * DAY_S - 1);
    assert_eq!(
        second,
        format!("the certificate expires in 12 days, {end}; renew it")
    );
    let last = told(-1);
    assert_eq!(
        last,
        format!("the certificate has expired, {end}, and clients refuse it; renew it")
    );
    // The clock was set back.
    assert_ne!(told(DAY_S), "");
}
