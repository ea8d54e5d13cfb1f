//! The certificate for each name.

use super::*;
use crate::tls::identity::identity;

fn made(names: &[&str]) -> Identity {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    identity(cert.as_bytes(), key.as_bytes()).unwrap()
}

#[test]
fn exact_beats_wildcard_and_the_first_is_the_default() {
    let all: Vec<Identity> = [
        &["default.example"][..],
        &["*.w.example"],
        &["a.w.example", "both.example"],
        &["both.example"],
    ]
    .map(|names| made(names))
    .to_vec();
    let names = Names::new(&all);
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
        let chosen = names.choose(name).unwrap();
        assert!(Arc::ptr_eq(chosen, &all[expected].key()), "{name:?}");
    }
}
