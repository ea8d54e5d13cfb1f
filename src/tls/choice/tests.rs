//! The certificate for each name and each client.

use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::crypto::aws_lc_rs::default_provider;

use super::*;
use crate::tls::identity::{Identity, identity};

fn made_with(names: &[&str], kind: &'static SignatureAlgorithm) -> Identity {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate_for(kind).unwrap();
    let cert = CertificateParams::new(names).unwrap().self_signed(&key);
    let (cert, key) = (cert.unwrap().pem(), key.serialize_pem());
    identity(cert.as_bytes(), key.as_bytes()).unwrap()
}

fn made(names: &[&str]) -> Identity {
    made_with(names, &PKCS_ECDSA_P256_SHA256)
}

fn names_of(identities: &[Identity]) -> Names {
    let listed = identities.iter().map(|it| (it.names(), it.key()));
    Names::new(
        &listed.collect::<Vec<_>>(),
        default_provider().cipher_suites,
    )
}

const EVERY: Offered<'static> = Offered {
    schemes: &[
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::ED25519,
    ],
    suites: &[
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ],
    groups: None,
};

#[test]
fn exact_beats_wildcard_and_the_first_is_the_default() {
    let all: Vec<Identity> = [
        &["default.example"][..],
        &["*.w.example"],
        &["a.w.example", "both.example"],
        &["both.example"],
    ]
    .map(made)
    .to_vec();
    let names = names_of(&all);
    let rows = [
        (None, 0),
        (Some("unknown.example"), 0),
        (Some("x.w.example"), 1),
        (Some("X.W.Example."), 1),
        (Some("a.w.example"), 2),
        (Some("y.x.w.example"), 0),
        (Some("w.example"), 0),
        (Some("both.example"), 2),
    ];
    for (name, expected) in rows {
        let chosen = names.choose(name, &EVERY).unwrap();
        assert!(Arc::ptr_eq(chosen, &all[expected].key()), "{name:?}");
    }
}

use CipherSuite as Suite;
use SignatureScheme as Scheme;

const TLS13: Suite = Suite::TLS13_AES_128_GCM_SHA256;
const RSA12: Suite = Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
const ECDSA12: Suite = Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
const PSS: Scheme = Scheme::RSA_PSS_SHA256;
const PKCS1: Scheme = Scheme::RSA_PKCS1_SHA256;
const P256: Scheme = Scheme::ECDSA_NISTP256_SHA256;
const P384: Scheme = Scheme::ECDSA_NISTP384_SHA384;

/// Returns every order of the numbers below `count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else {
        return vec![vec![]];
    };
    let mut all = Vec::new();
    for order in orders(last) {
        for place in 0..=last {
            let mut order = order.clone();
            order.insert(place, last);
            all.push(order);
        }
    }
    all
}

#[test]
fn what_the_client_can_verify_decides_in_every_order() {
    let kinds = [
        ("RSA", &PKCS_RSA_SHA256),
        ("P-256", &PKCS_ECDSA_P256_SHA256),
        ("P-384", &PKCS_ECDSA_P384_SHA384),
        ("Ed25519", &PKCS_ED25519),
    ];
    let made = kinds.map(|(_, kind)| made_with(&["a.example"], kind));
    // Kinds of key that are there, schemes and suites of the client, and what it may get.
    type Row<'a> = (&'a [usize], &'a [Scheme], &'a [Suite], &'a [&'a str]);
    let rows: [Row<'_>; 17] = [
        // Clients of both versions, of 1.3 alone, of 1.2 alone.
        (&[0, 1], &[PSS, P256], &[TLS13, RSA12, ECDSA12], &["P-256"]),
        (&[0, 1], &[PSS, P256], &[TLS13], &["P-256"]),
        (&[0, 1], &[PSS, P256], &[RSA12, ECDSA12], &["P-256"]),
        // The schemes leave one.
        (&[0, 1], &[PSS], &[TLS13, RSA12, ECDSA12], &["RSA"]),
        (&[0, 1], &[PKCS1], &[RSA12, ECDSA12], &["RSA"]),
        (&[0, 1], &[P256], &[TLS13, RSA12, ECDSA12], &["P-256"]),
        (&[0, 1], &[P384], &[TLS13], &["P-256", "RSA"]),
        (&[0, 1, 2], &[PSS, P384], &[TLS13], &["P-384"]),
        (&[0, 2], &[PSS, P256], &[TLS13], &["RSA"]),
        // The suites of TLS 1.2 leave one.
        (&[0, 1], &[PSS, P256], &[RSA12], &["RSA"]),
        (&[0, 1], &[PSS, P256], &[ECDSA12], &["P-256"]),
        // One of them is good whatever version it will be.
        (&[0, 1], &[PSS, P256], &[TLS13, RSA12], &["RSA"]),
        (
            &[0, 1],
            &[PKCS1, P256],
            &[TLS13, RSA12, ECDSA12],
            &["P-256"],
        ),
        // PKCS #1 is not for TLS 1.3.
        (&[0, 3], &[PKCS1, Scheme::ED25519], &[TLS13], &["Ed25519"]),
        // Both cost little: the list decides.
        (
            &[1, 3],
            &[P256, Scheme::ED25519],
            &[TLS13],
            &["P-256", "Ed25519"],
        ),
        // Nothing fits, and the best is shown all the same.
        (&[0, 1], &[PSS, P256], &[], &["P-256"]),
        (&[0, 1], &[], &[TLS13, RSA12, ECDSA12], &["P-256"]),
    ];
    for (present, schemes, suites, expected) in rows {
        for order in orders(present.len()) {
            let listed: Vec<usize> = order.iter().map(|nth| present[*nth]).collect();
            let all: Vec<Identity> = listed.iter().map(|nth| made[*nth].clone()).collect();
            let names = names_of(&all);
            // The second is unknown: all are the default, as all have the names of the first.
            for name in [Some("a.example"), Some("b.example"), None] {
                let offered = Offered {
                    schemes,
                    suites,
                    groups: None,
                };
                let chosen = names.choose(name, &offered).unwrap();
                let nth = made.iter().position(|it| Arc::ptr_eq(&it.key(), chosen));
                let kind = kinds[nth.unwrap()].0;
                let context = format!("{schemes:?} {suites:?} {listed:?} {name:?}: {kind}");
                assert!(expected.contains(&kind), "{context}");
                if expected.len() == 2 && expected[1] == "Ed25519" {
                    assert_eq!(kind, kinds[listed[0]].0, "{context}");
                }
            }
        }
    }
}

#[test]
fn wildcards_help_out_and_strangers_do_not() {
    let all = [
        made_with(&["default.example", "*.w.example"], &PKCS_RSA_SHA256),
        made_with(&["a.w.example"], &PKCS_RSA_SHA256),
        made_with(&["*.w.example"], &PKCS_ECDSA_P256_SHA256),
        made_with(&["else.example"], &PKCS_ECDSA_P256_SHA256),
    ];
    let names = names_of(&all);
    let rows: [(Option<&str>, &[Scheme], usize); 8] = [
        // The exact name goes first, although the other key is cheaper.
        (Some("a.w.example"), &[PSS, P256], 1),
        // The wildcard is good for that name, too.
        (Some("a.w.example"), &[P256], 2),
        (Some("b.w.example"), &[PSS, P256], 2),
        (Some("b.w.example"), &[PSS], 0),
        // A certificate for another name would help no client.
        (Some("else.example"), &[PSS], 3),
        (Some("default.example"), &[P256], 0),
        // Not all names of the first are among those of the third.
        (None, &[P256], 0),
        (None, &[PSS, P256], 0),
    ];
    for (name, schemes, expected) in rows {
        let offered = Offered {
            schemes,
            suites: &[TLS13],
            groups: None,
        };
        let chosen = names.choose(name, &offered).unwrap();
        assert!(
            Arc::ptr_eq(chosen, &all[expected].key()),
            "{name:?} {schemes:?}"
        );
    }
}

#[test]
fn in_tls12_a_client_has_to_know_the_curve_of_the_key() {
    use NamedGroup::{X25519, secp256r1, secp384r1};
    let schemes = &[PSS, P256, P384, Scheme::ED25519];
    let kinds = [
        ("P-384", &PKCS_ECDSA_P384_SHA384),
        ("P-256", &PKCS_ECDSA_P256_SHA256),
        ("Ed25519", &PKCS_ED25519),
        ("RSA", &PKCS_RSA_SHA256),
    ];
    let made = kinds.map(|(_, kind)| made_with(&["a.example"], kind));
    // Kinds of key that are there, suites and groups of the client, and what it gets.
    type Row<'a> = (&'a [usize], &'a [Suite], Option<&'a [NamedGroup]>, &'a str);
    let rows: [Row<'_>; 9] = [
        (&[0, 3], &[RSA12, ECDSA12], Some(&[secp384r1]), "P-384"),
        (
            &[0, 3],
            &[RSA12, ECDSA12],
            Some(&[X25519, secp256r1]),
            "RSA",
        ),
        (&[1, 3], &[RSA12, ECDSA12], Some(&[X25519]), "RSA"),
        (&[0, 1], &[ECDSA12], Some(&[secp256r1]), "P-256"),
        // It says nothing.
        (&[0, 3], &[RSA12, ECDSA12], None, "P-384"),
        // Ed25519 is no curve of ECDSA.
        (&[2, 3], &[RSA12, ECDSA12], Some(&[secp256r1]), "Ed25519"),
        // In TLS 1.3 the scheme names the curve.
        (&[0, 3], &[TLS13], Some(&[X25519]), "P-384"),
        // The version is settled later.
        (&[0, 3], &[TLS13, RSA12, ECDSA12], Some(&[X25519]), "RSA"),
        // Nothing fits, and the best is shown all the same.
        (&[0], &[ECDSA12], Some(&[secp256r1]), "P-384"),
    ];
    for (present, suites, groups, expected) in rows {
        for order in orders(present.len()) {
            let all: Vec<Identity> = order
                .iter()
                .map(|nth| made[present[*nth]].clone())
                .collect();
            let offered = Offered {
                schemes,
                suites,
                groups,
            };
            let names = names_of(&all);
            let chosen = names.choose(Some("a.example"), &offered).unwrap();
            let nth = made.iter().position(|it| Arc::ptr_eq(&it.key(), chosen));
            assert_eq!(kinds[nth.unwrap()].0, expected, "{suites:?} {groups:?}");
        }
    }
}
