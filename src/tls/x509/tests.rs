//! Certificates of every kind that is met, whole and broken. What a connection reads of a client's
//! certificate must agree with what is read when it is loaded.

use super::super::shown;
use super::*;
use rcgen::string::{BmpString, Ia5String, PrintableString, TeletexString, UniversalString};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ED25519, date_time_ymd,
};

const OLD_S: i64 = 1_000_000_000;

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_after = date_time_ymd(2031, 3, 1);
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Common.Example");
    params
}

fn signed(params: CertificateParams) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn certificate(names: &[&str]) -> Vec<u8> {
    signed(params(names))
}

/// Reads a certificate in both ways.
fn read_both(der: &[u8]) -> Facts {
    let facts = read(der).unwrap();
    let shown = shown::read(der).unwrap();
    assert_eq!(shown.subject, facts.subject);
    assert_eq!(shown.not_after, facts.not_after);
    facts
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, content].concat()
}

fn rsa_key(modulus: &[u8]) -> Vec<u8> {
    let kind = RSA_ENCRYPTION;
    let kind = der(0x30, &[&der(0x06, &[kind.as_bytes()]), &[5, 0]]);
    let key = der(0x30, &[&der(0x02, &[modulus]), &[2, 3, 1, 0, 1]]);
    der(0x30, &[&kind, &der(0x03, &[&[0], &key])])
}

/// Builds a certificate of version 1 from parts that rcgen does not make.
fn built(serial: &[u8], name: &[u8], key: &[u8], end: &[u8]) -> Vec<u8> {
    let kind = der(0x30, &[&der(0x06, &[&[0x2b, 0x65, 0x70]])]);
    let validity = der(0x30, &[&der(0x17, &[b"000101000000Z"]), end]);
    let serial = der(0x02, &[serial]);
    let body = der(0x30, &[&serial, &kind, name, &validity, name, key]);
    der(0x30, &[&body, &kind, &der(0x03, &[&[0; 65]])])
}

fn attribute(kind: u8, value: &str) -> Vec<u8> {
    let value = der(0x0c, &[value.as_bytes()]);
    der(0x30, &[&der(0x06, &[&[0x55, 4, kind]]), &value])
}

fn common_name(value: &str) -> Vec<u8> {
    der(0x30, &[&der(0x31, &[&attribute(3, value)])])
}

fn utc_end() -> Vec<u8> {
    der(0x17, &[b"010909014640Z"])
}

#[test]
fn names_and_validity_are_read() {
    let facts = read_both(&certificate(&["A.example", "*.b.example"]));
    assert_eq!(facts.names, ["a.example", "*.b.example"]);
    assert_eq!(facts.not_after, Some(1_930_089_600));
    assert_eq!(facts.rsa_bits, None);
    assert_eq!(facts.issuer, facts.subject);
}

#[test]
fn the_common_name_stands_in_for_missing_names() {
    for names in [&[][..], &["192.0.2.1", "2001:db8::1"]] {
        assert_eq!(read_both(&certificate(names)).names, ["common.example"]);
    }
    let mixed = read_both(&certificate(&["192.0.2.1", "a.example"]));
    assert_eq!(mixed.names, ["a.example"]);
    for (common, name) in [
        ("Host", Some("host")),
        ("*.B.example", Some("*.b.example")),
        ("a_b.example", Some("a_b.example")),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("My Gateway", None),
        ("*", None),
        ("", None),
    ] {
        let mut named = params(&[]);
        named.distinguished_name = DistinguishedName::new();
        (named.distinguished_name).push(DnType::CommonName, common);
        let names = read_both(&signed(named)).names;
        assert_eq!(names.first().map(String::as_str), name, "{common}");
        assert!(names.len() < 2);
    }
    let mut nameless = params(&[]);
    nameless.distinguished_name = DistinguishedName::new();
    let facts = read_both(&signed(nameless));
    assert!(facts.names.is_empty());
    assert_eq!(facts.issuer_text(), "");
}

#[test]
fn every_prefix_is_no_certificate_and_no_changed_byte_is_a_panic() {
    let der = certificate(&["a.example", "192.0.2.1"]);
    for len in 0..der.len() {
        assert_eq!(read(&der[..len]), None, "{len}");
        assert_eq!(shown::read(&der[..len]), None, "{len}");
    }
    for at in 0..der.len() {
        for mask in [0xff, 0x80, 0x20, 0x01] {
            let mut changed = der.clone();
            changed[at] ^= mask;
            // What is loaded can be read on a connection too.
            let loaded = read(&changed).is_some();
            assert!(!loaded || shown::read(&changed).is_some(), "{at} {mask}");
        }
    }
}

#[test]
fn bytes_after_a_certificate_are_passed_over() {
    let der = certificate(&["a.example"]);
    let longer = [&der[..], b"more"].concat();
    assert_eq!(read_both(&longer), read_both(&der));
}

#[test]
fn the_length_of_rsa_keys_is_read() {
    let high = |len: usize| [&[0, 0x80][..], &vec![1; len - 1]].concat();
    let rows = [
        (high(128), 1024),
        (high(256), 2048),
        (high(512), 4096),
        ([&[0x7f][..], &[1; 127]].concat(), 1023),
    ];
    for (modulus, bits) in rows {
        let der = built(&[1], &common_name("a"), &rsa_key(&modulus), &utc_end());
        assert_eq!(read_both(&der).rsa_bits, Some(bits));
    }
    for kind in [&PKCS_ECDSA_P256_SHA256, &PKCS_ED25519] {
        let key = KeyPair::generate_for(kind).unwrap();
        let certificate = params(&["a.example"]).self_signed(&key).unwrap();
        assert_eq!(read_both(certificate.der()).rsa_bits, None);
    }
}

#[test]
fn serial_numbers_of_any_length_and_sign_are_taken() {
    let key = rsa_key(&[0x7f; 128]);
    for serial in [&[0][..], &[0xfb], &[0x7f; 20], &[0x7f; 40], &[0x80; 100]] {
        let der = built(serial, &common_name("Site"), &key, &utc_end());
        let facts = read_both(&der);
        assert_eq!(facts.names, ["site"]);
        assert_eq!(facts.not_after, Some(OLD_S));
        assert_eq!(facts.public_key, key);
    }
}

#[test]
fn ends_in_any_year_are_read() {
    let rows = [
        (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1)),
        (date_time_ymd(2040, 1, 1), date_time_ymd(2049, 12, 31)),
        (date_time_ymd(2050, 1, 1), date_time_ymd(2060, 1, 1)),
        (date_time_ymd(2000, 1, 1), date_time_ymd(9999, 12, 31)),
    ];
    for (begin, end) in rows {
        let mut params = params(&["a.example"]);
        (params.not_before, params.not_after) = (begin, end);
        let facts = read_both(&signed(params));
        assert_eq!(facts.not_after, Some(end.unix_timestamp()));
    }
}

#[test]
fn strings_of_every_kind_are_read() {
    let rows = [
        (DnValue::Utf8String("J\u{fc}".to_owned()), "J\\C3\\BC"),
        (
            DnValue::BmpString(BmpString::try_from("J\u{fc}").unwrap()),
            "J\\C3\\BC",
        ),
        (
            DnValue::PrintableString(PrintableString::try_from("J r").unwrap()),
            "J r",
        ),
        (
            DnValue::TeletexString(TeletexString::try_from("J r").unwrap()),
            "J r",
        ),
        (
            DnValue::Ia5String(Ia5String::try_from("j@r").unwrap()),
            "j@r",
        ),
    ];
    for (value, text) in rows {
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, value);
        let facts = read_both(&signed(params));
        assert_eq!(facts.issuer_text(), format!("CN={text}"));
        assert!(name::common_name(&facts.subject).is_some());
        // No client can ask for a host with such a name.
        assert!(facts.names.is_empty());
    }
}

#[test]
fn names_with_several_attributes_in_one_set_are_read() {
    let set = der(0x31, &[&attribute(3, "Ada"), &attribute(11, "ships")]);
    let name = der(0x30, &[&der(0x31, &[&attribute(6, "DE")]), &set]);
    let der = built(&[1], &name, &rsa_key(&[0x7f; 128]), &utc_end());
    let facts = read_both(&der);
    assert_eq!(facts.issuer_text(), "OU=ships+CN=Ada,C=DE");
    assert_eq!(facts.names, ["ada"]);
}

#[test]
fn a_certificate_with_a_universal_string_is_refused_but_read_on_a_connection() {
    let mut params = params(&["a.example"]);
    let name = UniversalString::try_from("Ada").unwrap();
    let name = DnValue::UniversalString(name);
    params.distinguished_name.push(DnType::CommonName, name);
    let der = signed(params);
    // `x509-cert` does not know the tag.
    assert_eq!(read(&der), None);
    let subject = shown::read(&der).unwrap().subject;
    assert_eq!(name::text(subject).as_deref(), Some("CN=Ada"));
}
