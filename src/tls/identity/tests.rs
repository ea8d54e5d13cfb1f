//! PEM files in every order, and keys that do not match.

use super::*;
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ED25519};

struct Made {
    cert: String,
    key: String,
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

fn made_with(names: &[&str], key: &KeyPair) -> Made {
    let certificate = params(names).self_signed(key).unwrap();
    Made {
        cert: certificate.pem(),
        key: key.serialize_pem(),
    }
}

fn made(names: &[&str]) -> Made {
    made_with(names, &KeyPair::generate().unwrap())
}

fn read_both(made: &Made) -> Identity {
    identity(made.cert.as_bytes(), made.key.as_bytes()).unwrap()
}

#[test]
fn blocks_stand_in_any_order() {
    let mut ca = params(&[]);
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(DnType::CommonName, "the authority");
    let issuer = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params(&["a.example"]).signed_by(&key, &issuer).unwrap();
    let (leaf, issuer, key) = (leaf.pem(), issuer.pem(), key.serialize_pem());
    for order in [
        [&leaf, &issuer, &key],
        [&key, &issuer, &leaf],
        [&issuer, &key, &leaf],
        [&leaf, &key, &issuer],
    ] {
        let text = order.map(String::as_str).concat();
        let read = identity(text.as_bytes(), text.as_bytes()).unwrap();
        assert_eq!(read.names(), ["a.example"]);
        assert_eq!(read.key.cert.len(), 2);
        assert!(read.key.keys_match().is_ok());
    }
}

#[test]
fn a_certificate_that_does_not_belong_is_left_out() {
    let (mine, other) = (made(&["a.example"]), made(&["b.example"]));
    let text = [other.cert, mine.cert, mine.key].concat();
    let read = identity(text.as_bytes(), text.as_bytes()).unwrap();
    // Both are issued by "rcgen self signed cert", so the other one looks like the issuer.
    assert_eq!(read.names(), ["a.example"]);
    assert_eq!(read.key.cert.len(), 1);
    assert_eq!(read.strangers.len(), 1);
}

#[test]
fn kinds_of_keys_and_what_is_wrong_with_them() {
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    assert_eq!(read_both(&made_with(&["e"], &ed25519)).names(), ["e"]);
    let (mine, other) = (made(&["a"]), made(&["b"]));
    let rows = [
        (&*mine.cert, &*other.key, "belongs to none"),
        (&*mine.cert, &*mine.cert, "private key is missing"),
        (&*mine.key, &*mine.key, "holds no certificate"),
        (
            &*mine.cert,
            "-----BEGIN PRIVATE KEY-----\n",
            "key: line 1: BEGIN PRIVATE KEY without its END",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &*mine.key,
            "X.509",
        ),
    ];
    for (cert, key, expected) in rows {
        let error = identity(cert.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_pair_of_files_is_one_certificate_and_its_key() {
    let (mine, other) = (made(&["a.example"]), made(&["b.example"]));
    let combined = |made: &Made| [&*made.cert, &*made.key].concat();
    let both = |cert: &str, key: &str| identity(cert.as_bytes(), key.as_bytes());
    let (whole, foreign) = (combined(&mine), combined(&other));
    // Certificates beside the key complete the chain; the key has to belong to a named one.
    for (cert, key) in [
        (&*mine.cert, &*whole),
        (&*whole, &*mine.key),
        (&*whole, &*whole),
        (&*mine.cert, &*[&*other.cert, &*mine.key].concat()),
    ] {
        assert_eq!(both(cert, key).unwrap().names(), ["a.example"]);
    }
    let one_file = [&*whole, &*foreign].concat();
    let rows = [
        (&*whole, &*foreign, "belongs to none of the certificates"),
        (&*foreign, &*mine.key, "belongs to none of the certificates"),
        (&*one_file, &*one_file, "holds more than one private key"),
        (&*one_file, &*mine.key, "holds more than one private key"),
        (&*whole, &*mine.cert, "the private key is missing"),
        (
            &*mine.cert,
            "-----END X-----",
            "key: line 1: END without a BEGIN",
        ),
        (
            "-----END X-----",
            &*mine.key,
            "cert: line 1: END without a BEGIN",
        ),
    ];
    for (cert, key, expected) in rows {
        let error = both(cert, key).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n{expected}");
    }
}
