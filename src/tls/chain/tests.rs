//! Files with chains that rcgen signs.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;
use crate::tls::x509;

type Authority = CertifiedIssuer<'static, KeyPair>;
type Made = CertificateDer<'static>;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn root(name: &str) -> Authority {
    CertifiedIssuer::self_signed(params(name), KeyPair::generate().unwrap()).unwrap()
}

fn below(name: &str, issuer: &Authority) -> Authority {
    CertifiedIssuer::signed_by(params(name), KeyPair::generate().unwrap(), issuer).unwrap()
}

fn sorted(certificates: &[&Made]) -> (Vec<usize>, Vec<usize>) {
    let all: Vec<Made> = certificates.iter().map(|it| (*it).clone()).collect();
    let facts = all.iter().map(|it| x509::read(it).unwrap());
    let Sorted { chain, strangers } = sort(0, &all, &facts.collect::<Vec<_>>());
    (chain, strangers)
}

#[test]
fn each_is_followed_by_its_issuer() {
    let top = root("root");
    let middle = below("middle", &top);
    let leaf = below("leaf", &middle);
    let renewed = CertifiedIssuer::signed_by(params("middle"), KeyPair::generate().unwrap(), &top);
    // The same name, and another key.
    let renewed = renewed.unwrap();
    let lookalike = root("root");
    let other = below("other", &lookalike);
    let [top, middle, leaf, renewed, lookalike, other] =
        [&top, &middle, &leaf, &renewed, &lookalike, &other].map(|it| it.der().clone());
    type Row<'a> = (&'a [&'a Made], &'a [usize], &'a [usize]);
    let rows: [Row<'_>; 10] = [
        (&[&leaf], &[0], &[]),
        (&[&leaf, &middle, &top], &[0, 1, 2], &[]),
        (&[&leaf, &top, &middle], &[0, 2, 1], &[]),
        (&[&leaf, &middle, &leaf, &middle], &[0, 1], &[]),
        (&[&leaf, &top], &[0], &[1]),
        (&[&leaf, &middle, &other], &[0, 1], &[2]),
        // Only the one that signed it is its issuer.
        (&[&leaf, &renewed, &middle], &[0, 2], &[1]),
        (&[&leaf, &renewed], &[0], &[1]),
        (&[&leaf, &middle, &lookalike, &top], &[0, 1, 3], &[2]),
        (&[&top, &lookalike], &[0], &[1]),
    ];
    for (certificates, chain, strangers) in rows {
        let expected = (chain.to_vec(), strangers.to_vec());
        assert_eq!(sorted(certificates), expected);
    }
}

#[test]
fn what_is_no_certificate_is_signed_by_none() {
    let top = root("root");
    let facts = x509::read(top.der()).unwrap();
    assert_eq!(is_signed_by(top.der(), &facts), Some(true));
    for len in 0..top.der().len() {
        let answer = is_signed_by(&top.der()[..len], &facts);
        assert_ne!(answer, Some(true), "{len}");
    }
    let mut broken = top.der().to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    assert_eq!(is_signed_by(&broken, &facts), Some(false));
    let keyless = Facts::default();
    assert_eq!(is_signed_by(top.der(), &keyless), None);
}
