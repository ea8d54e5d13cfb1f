//! Which trusted certificates end chains, and which speak for themselves alone.

use rcgen::string::UniversalString;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, DnValue, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject;

use super::*;

/// Version 1, signed by itself, made by `openssl x509 -req -signkey`.
const ROOT_V1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBGjCBwQIUIscGzvfky7Fh0kagf7Kk34wKYiwwCgYIKoZIzj0EAwIwDzENMAsG
A1UEAwwEcm9vdDAgFw0yNjExMzAxMjIyNTBaGA8yMTI2MTEwNjEyMjI1MFowDzEN
MAsGA1UEAwwEcm9vdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMTQGkIMApda
xEuTDTC99Rb5if3ePb4j9HW+vAMD6Ad+OghvYMdLaxVLe0plMAzxevyPJtjNgqXg
ZYtTr0htWJwwCgYIKoZIzj0EAwIDSAAwRQIgcofC0LyVzWxfe0Cb+Fg4+oWnFgbA
2TDYrLxJl49YFSQCIQCL0XHCkSGPcrzZqUFvv7ixks9Maov+aj7Lfjc/Dn9Gnw==
-----END CERTIFICATE-----
";

/// Version 1, signed by that root, made by `openssl x509 -req -CA`.
const HOLDER_V1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBHTCBwwIUYeQeQy7zVBl0mnLig8hhMgY4ALowCgYIKoZIzj0EAwIwDzENMAsG
A1UEAwwEcm9vdDAgFw0yNjExMzAxMjIyNTBaGA8yMTI2MTEwNjEyMjI1MFowETEP
MA0GA1UEAwwGaG9sZGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE80l4KFk3
g3Oe6HIldJNwWgkPOdosXCYPPu9m6WhaF1uUCxNofb+cCCYos4IxRbTrVbUpkXux
x7XVb5E6/Xy2kzAKBggqhkjOPQQDAgNJADBGAiEA0Z0F9tRPhvcFEp5kTjy07gVu
Lbwm9BDzuMARCt642VICIQC3h6m2qIYp6oUaPdJ2NvVqOnieEJ98qsFCJEphMNit
Vg==
-----END CERTIFICATE-----
";

fn root(is_ca: IsCa, usages: &[KeyUsagePurpose]) -> CertificateDer<'static> {
    named(DnValue::from("root"), is_ca, usages)
}

fn named(name: DnValue, is_ca: IsCa, usages: &[KeyUsagePurpose]) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = is_ca;
    params.key_usages = usages.to_vec();
    let made = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    made.der().clone()
}

#[test]
fn only_certificates_of_cas_end_chains() {
    use KeyUsagePurpose::{DigitalSignature, KeyCertSign};
    let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
    let read = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let odd = || DnValue::UniversalString(UniversalString::try_from("root").unwrap());
    // What it is, whether it ends chains, and whether it speaks for itself.
    let rows = [
        ("a CA", root(ca(), &[]), true, true),
        ("a CA that may sign", root(ca(), &[KeyCertSign]), true, true),
        (
            "a CA that may not",
            root(ca(), &[DigitalSignature]),
            false,
            true,
        ),
        ("CA:FALSE", root(IsCa::ExplicitNoCa, &[]), false, true),
        (
            "CA:FALSE that may sign",
            root(IsCa::ExplicitNoCa, &[KeyCertSign]),
            false,
            true,
        ),
        ("not said", root(IsCa::NoCa, &[]), false, true),
        (
            "not said, may sign",
            root(IsCa::NoCa, &[KeyCertSign]),
            true,
            true,
        ),
        // webpki reads this name, and `x509-cert` does not.
        (
            "a CA with an odd name",
            named(odd(), ca(), &[]),
            true,
            false,
        ),
        (
            "CA:FALSE with an odd name",
            named(odd(), IsCa::ExplicitNoCa, &[]),
            false,
            false,
        ),
        ("a root of version 1", read(ROOT_V1), true, true),
        ("another of version 1", read(HOLDER_V1), false, false),
    ];
    for (what, certificate, ends_chains, speaks) in rows {
        let anchors = Anchors::new(vec![certificate.clone()]).unwrap();
        assert_eq!(!anchors.chains().is_empty(), ends_chains, "{what}");
        assert_eq!(anchors.speaks_for(&certificate), speaks, "{what}");
    }
}
