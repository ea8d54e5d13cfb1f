//! Lists made by rcgen, good and bad ones.

use rcgen::{
    CertificateRevocationListParams, CertifiedIssuer, CrlDistributionPoint,
    CrlIssuingDistributionPoint, KeyPair,
};

use super::*;
use crate::tls::testing::{authority as ca, revoking};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn params(since_year: i32, until_year: i32, revoked: &[u64]) -> CertificateRevocationListParams {
    revoking((since_year, until_year), revoked)
}

fn list(ca: &Ca, since_year: i32, until_year: i32, revoked: &[u64]) -> String {
    let list = params(since_year, until_year, revoked).signed_by(ca);
    list.unwrap().pem().unwrap()
}

const Y2025: i64 = 1_735_689_600;

#[test]
fn lists_are_read_in_both_forms_and_the_newest_comes_first() {
    let (a, b) = (ca("a"), ca("b"));
    let old = list(&a, 2020, 2100, &[1]);
    let new = list(&a, 2024, 2100, &[1, 2, 3]);
    let other = list(&b, 2022, 2100, &[]);
    let read = revocations(format!("{old}text\n{other}{new}").as_bytes()).unwrap();
    assert_eq!(read.counts(), (3, 4));
    let since: Vec<String> = read.0.iter().map(|list| date(list.since_s)).collect();
    let years = ["2024", "2022", "2020"].map(|year| format!("{year}-01-01T00:00:00Z"));
    assert_eq!(since, years);
    let issuers: Vec<String> = read.in_use().map(List::issuer_text).collect();
    assert_eq!(issuers, ["CN=a", "CN=b"]);
    let der = params(2024, 2100, &[9]).signed_by(&a).unwrap();
    assert_eq!(revocations(der.der()).unwrap().counts(), (1, 1));
    // Text before a block may begin with the first byte of DER, and lines may end in CRLF.
    let text = format!("0 revoked\n{other}").replace('\n', "\r\n");
    assert_eq!(revocations(text.as_bytes()).unwrap().counts(), (1, 0));
}

#[test]
fn what_is_no_list_is_refused_with_a_reason() {
    let a = ca("a");
    let good = list(&a, 2024, 2100, &[1]);
    let der = params(2024, 2100, &[9]).signed_by(&a).unwrap();
    let der: &[u8] = der.der();
    let pem = a.pem();
    let mut long = der.to_vec();
    long.push(0);
    let (with_ca, with_unknown) = (
        format!("{good}{pem}"),
        format!("{good}-----BEGIN X509 CRLS-----\nMAA=\n-----END X509 CRLS-----\n"),
    );
    let rows: [(&[u8], &str); 8] = [
        (b"", "BEGIN X509 CRL"),
        (pem.as_bytes(), "CRL"),
        (&der[..der.len() - 1], "a list in crl is malformed"),
        (&long, "a list in crl is malformed"),
        (
            &good.as_bytes()[..good.len() - 30],
            "line 1: BEGIN X509 CRL without its END",
        ),
        (
            with_ca.as_bytes(),
            "BEGIN CERTIFICATE does not belong here; revocation lists alone",
        ),
        (
            with_unknown.as_bytes(),
            "BEGIN X509 CRLS: is of an unknown kind",
        ),
        (b"\xef\xbb\xbf", "holds no revocation list"),
    ];
    for (text, why) in rows {
        let wrong = revocations(text).unwrap_err().to_string();
        assert!(wrong.contains(why), "{wrong}");
    }
}

#[test]
fn no_prefix_and_no_changed_byte_panics() {
    let der = params(2024, 2100, &[9, 10]).signed_by(&ca("a")).unwrap();
    let der: &[u8] = der.der();
    for len in 0..der.len() {
        assert!(revocations(&der[..len]).is_err(), "{len}");
    }
    for at in 0..der.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut changed = der.to_vec();
            changed[at] ^= change;
            // Some are still lists: names, numbers and the signature may be any bytes.
            let _ = revocations(&changed);
        }
    }
}

#[test]
fn a_list_that_is_older_than_the_one_in_use_is_not_taken() {
    let (a, b) = (ca("a"), ca("b"));
    let read = |texts: &[String]| revocations(texts.concat().as_bytes()).unwrap();
    let older = list(&a, 2022, 2100, &[]);
    let newer = list(&a, 2024, 2100, &[1]);
    let other = list(&b, 2023, 2100, &[]);
    let mut part = params(2020, 2100, &[]);
    part.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
        distribution_point: CrlDistributionPoint {
            uris: vec!["http://a.example/1.crl".to_owned()],
        },
        scope: None,
    });
    let part = part.signed_by(&a).unwrap().pem().unwrap();
    let now = read(&[newer.clone(), other.clone()]);
    let refused = "the list of CN=a is of 2022-01-01T00:00:00Z, older than the one in use of \
                   2024-01-01T00:00:00Z";
    let rows = [
        (vec![newer.clone(), other.clone()], None),
        (vec![older.clone(), other.clone()], Some(refused)),
        // The newer one counts, wherever it stands.
        (vec![older.clone(), newer.clone()], None),
        (vec![newer.clone(), part.clone()], None),
        // Another part of the same issuer's certificates is another list.
        (vec![part], None),
        // Clients of an issuer without a list are refused, so that none comes to life again.
        (vec![newer.clone()], None),
        (vec![list(&a, 2025, 2100, &[])], None),
    ];
    for (texts, expected) in rows {
        let followed = read(&texts).follow(&now).map_err(|wrong| wrong.to_string());
        assert_eq!(followed.err().as_deref(), expected);
    }
}

#[test]
fn ended_and_missing_lists_are_warned_of() {
    let (a, b) = (ca("a"), ca("b"));
    let anchors = vec![a.der().clone(), b.der().clone()];
    let anchors = Anchors::new(anchors).unwrap();
    let read = |texts: &[String]| revocations(texts.concat().as_bytes()).unwrap();
    let ended = list(&a, 2020, 2024, &[]);
    let good = list(&a, 2024, 2026, &[]);
    let other = list(&b, 2023, 2027, &[]);
    let both = read(&[ended.clone(), good, other.clone()]);
    assert_eq!(both.warnings(&anchors, Y2025), [""; 0]);
    assert_eq!(
        both.next_end(Y2025).map(date).as_deref(),
        Some("2026-01-01T00:00:00Z")
    );
    let late = both.next_end(Y2025 + 366 * 86_400).map(date);
    assert_eq!(late.as_deref(), Some("2027-01-01T00:00:00Z"));
    assert_eq!(both.next_end(Y2025 + 800 * 86_400), None);
    assert_eq!(
        read(&[ended]).warnings(&anchors, Y2025),
        [
            "the list of CN=a ended 2024-01-01T00:00:00Z: clients with its certificates are refused \
             until the next one is here",
            "holds no list of CN=b, which is in client_ca: clients with its certificates are refused",
        ]
    );
}
