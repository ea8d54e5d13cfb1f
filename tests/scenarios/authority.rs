//! An authority as the public ones are: it signs with a certificate between its root and the site's.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Writes what an authority hands out: `site.pem` with key, certificate and the authority between it
/// and the root; `root.pem`; `leaf.pem`, which is the certificate alone.
pub(crate) fn certify(dir: &Path, names: &[&str]) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let key = || KeyPair::generate().unwrap();
    let (root_key, middle_key, leaf_key) = (key(), key(), key());
    let root_params = authority("root");
    let root = root_params.self_signed(&root_key).unwrap();
    let root_issuer = Issuer::new(root_params, root_key);
    let middle_params = authority("between");
    let middle = middle_params.signed_by(&middle_key, &root_issuer).unwrap();
    let middle_issuer = Issuer::new(middle_params, middle_key);
    let leaf = CertificateParams::new(names)
        .unwrap()
        .signed_by(&leaf_key, &middle_issuer)
        .unwrap();
    let both = leaf_key.serialize_pem() + &leaf.pem() + &middle.pem();
    for (name, text) in [
        ("site.pem", both),
        ("root.pem", root.pem()),
        ("leaf.pem", leaf.pem()),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
}
