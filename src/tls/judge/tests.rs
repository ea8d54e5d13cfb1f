//! Each warning, and each list of certificates that deserves none.

use rustls::SignatureScheme;

use super::*;

const NOW_S: i64 = 1_000 * DAY_S;
const RSA: KeyKind = KeyKind(Some(SignatureScheme::RSA_PSS_SHA256));
const ECDSA: KeyKind = KeyKind(Some(SignatureScheme::ECDSA_NISTP256_SHA256));
const P384: KeyKind = KeyKind(Some(SignatureScheme::ECDSA_NISTP384_SHA384));

/// A distinguished name with this common name.
fn named(name: &str) -> Vec<u8> {
    let der = |tag: u8, content: &[u8]| {
        let len = u8::try_from(content.len()).unwrap();
        [&[tag, len], content].concat()
    };
    let attribute = [&[6, 3, 0x55, 4, 3][..], &der(0x0c, name.as_bytes())].concat();
    der(0x30, &der(0x31, &der(0x30, &attribute)))
}

/// A certificate of `subject`, signed by `issuer`, from a hundred days before until a hundred days after now.
fn facts(subject: &str, issuer: &str) -> Facts {
    Facts {
        names: vec![subject.to_owned()],
        not_before: Some(NOW_S - 100 * DAY_S),
        not_after: Some(NOW_S + 100 * DAY_S),
        issuer: named(issuer),
        subject: named(subject),
        ..Facts::default()
    }
}

fn valid(facts: Facts, from_s: i64, until_s: i64) -> Facts {
    Facts {
        not_before: Some(NOW_S + from_s),
        not_after: Some(NOW_S + until_s),
        ..facts
    }
}

fn judged<'a>(chain: &'a [Facts], strangers: &'a [Facts]) -> Certificate<'a> {
    Certificate {
        file: "site.pem",
        chain,
        strangers,
        kind: ECDSA,
    }
}

#[test]
fn one_certificate_with_its_chain() {
    let (site, middle, root) = (
        || facts("site", "middle"),
        || facts("middle", "root"),
        || facts("root", "root"),
    );
    let weak = |bits| Facts {
        rsa_bits: Some(bits),
        ..facts("site", "site")
    };
    let selfmade = || facts("site", "site");
    let issuer_missing = "the certificate of the issuer \"CN=middle\" is missing";
    // What it is, the chain, the strangers, and what is found.
    type Row<'a> = (&'a str, Vec<Facts>, Vec<Facts>, &'a [&'a str]);
    let rows: [Row<'_>; 17] = [
        ("whole", vec![site(), middle()], vec![], &[]),
        ("with its root", vec![site(), middle(), root()], vec![], &[]),
        ("signed by itself", vec![selfmade()], vec![], &[]),
        (
            "signed by a known root",
            vec![facts("site", "known")],
            vec![],
            &[],
        ),
        ("alone", vec![site()], vec![], &[issuer_missing]),
        (
            "a stranger",
            vec![selfmade()],
            vec![root()],
            &["the certificate \"CN=root\" in the file signed none of the chain"],
        ),
        (
            "the root without the middle",
            vec![site()],
            vec![root()],
            &["\"CN=root\" in the file signed none", issuer_missing],
        ),
        ("2048 bits", vec![weak(2048)], vec![], &[]),
        (
            "2047 bits",
            vec![weak(2047)],
            vec![],
            &["an RSA key of 2047 bits is weak; at least 2048"],
        ),
        (
            "begins now",
            vec![valid(selfmade(), 0, 99 * DAY_S)],
            vec![],
            &[],
        ),
        (
            "begins later",
            vec![valid(selfmade(), 1, 99 * DAY_S)],
            vec![],
            &["the certificate is not valid before 1972-09-27T00:00:01Z, and clients refuse it"],
        ),
        (
            "14 days",
            vec![valid(selfmade(), 0, 14 * DAY_S)],
            vec![],
            &[],
        ),
        (
            "less",
            vec![valid(selfmade(), 0, 14 * DAY_S - 1)],
            vec![],
            &["the certificate expires in 13 days, on 1972-10-10T23:59:59Z; renew it"],
        ),
        (
            "a day",
            vec![valid(selfmade(), 0, DAY_S)],
            vec![],
            &["the certificate expires in 1 day, on"],
        ),
        (
            "over",
            vec![valid(selfmade(), -9, -1)],
            vec![],
            &["the certificate has expired, on 1972-09-26T23:59:59Z, and clients refuse it"],
        ),
        (
            "a link is over, and another not there yet",
            vec![
                site(),
                valid(middle(), -9, -1),
                valid(facts("root", "old root"), 1, 99 * DAY_S),
            ],
            vec![],
            &[
                "the issuer's certificate \"CN=middle\" in the chain has expired",
                "the issuer's certificate \"CN=root\" in the chain is not valid before",
            ],
        ),
        (
            "a root is over",
            vec![site(), middle(), valid(root(), -9, -1)],
            vec![],
            &[],
        ),
    ];
    for (what, chain, strangers, expected) in rows {
        let judged = judged(&chain, &strangers);
        let missing = judged.issuer_missing(|name| name == named("known"));
        let found = judged.alone(NOW_S).into_iter().chain(missing);
        let found: Vec<String> = found.map(|finding| finding.to_string()).collect();
        assert_eq!(found.len(), expected.len(), "{what}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{what}: {found}");
        }
    }
}

/// Names and kinds of key of a list, patterns of routes, and what is found.
struct List<'a> {
    certificates: &'a [(&'a [&'a str], KeyKind)],
    routes: &'a [&'a str],
    found: &'a [(About, &'a str)],
}

impl List<'_> {
    fn check(&self) {
        let files: Vec<String> = (0..9).map(|nth| format!("{nth}.pem")).collect();
        let chains = self.certificates.iter().map(|(names, _)| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            vec![Facts {
                names,
                ..facts("site", "site")
            }]
        });
        let chains: Vec<Vec<Facts>> = chains.collect();
        let kinds = self.certificates.iter().map(|(_, kind)| *kind);
        let parts = chains.iter().zip(&files).zip(kinds);
        let certificates = parts.map(|((chain, file), kind)| Certificate {
            file,
            kind,
            ..judged(chain, &[])
        });
        let certificates: Vec<_> = certificates.collect();
        let patterns = self.routes.iter().filter(|route| !route.is_empty());
        let patterns: Vec<HostPattern> = patterns.map(|route| route.parse().unwrap()).collect();
        let asked = Asked {
            hosts: patterns,
            any: self.routes.contains(&""),
        };
        let found = together(&certificates, &asked);
        let context = format!("{:?} {:?}: {found:?}", self.certificates, self.routes);
        assert_eq!(found.len(), self.found.len(), "{context}");
        for ((about, finding), (at, expected)) in found.iter().zip(self.found) {
            assert_eq!(about, at, "{context}");
            assert!(
                finding.to_string().contains(expected),
                "{expected}: {context}"
            );
        }
    }
}

#[test]
fn names_and_routes_meet() {
    use About::{Certificate as Cert, Routes};
    // Names of the certificate, patterns of routes, and what is found.
    type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a [(About, &'a str)]);
    let rows: [Row<'_>; 15] = [
        (&["a.example"], &["a.example"], &[]),
        // A route for every host.
        (&["a.example", "*.b.example"], &[""], &[]),
        (&["a.example"], &["b*", ""], &[(Routes, "is for b*, which")]),
        (
            &["a.example", "b.example", "*.c.example"],
            &["a.example"],
            &[(
                Cert(0),
                "no route takes b.example, *.c.example, which the certificate is for",
            )],
        ),
        (
            &["a.example"],
            &["a.example", "b.example", "b.example"],
            &[(
                Routes,
                "no certificate of this listener is for b.example, which routes take: clients get 0.pem",
            )],
        ),
        // Wildcards cover one label.
        (&["*.w.example"], &["a.w.example"], &[]),
        (
            &["*.w.example"],
            &["b.a.w.example"],
            &[
                (Cert(0), "takes *.w.example"),
                (Routes, "for b.a.w.example"),
            ],
        ),
        (&["*.w.example"], &["*.w.example"], &[]),
        (&["*.w.example"], &["*.example"], &[]),
        (
            &["*.w.example"],
            &["*.a.w.example"],
            &[
                (Cert(0), "takes *.w.example"),
                (Routes, "for *.a.w.example"),
            ],
        ),
        // "ample" is no label.
        (
            &["*.w.example"],
            &["*.ample"],
            &[(Cert(0), "takes *.w.example"), (Routes, "for *.ample")],
        ),
        // Prefixes.
        (&["ws1.example", "*.w.example"], &["ws*", "a.w.ex*"], &[]),
        // Clients ask for no address.
        (&["a.example"], &["a.example", "192.0.2.1", "[::1]"], &[]),
        (&["a.example"], &["*"], &[]),
        // A line is enough for all.
        (
            &["a.example"],
            &[
                "a*", "1.e", "2.e", "3.e", "4.e", "5.e", "6.e", "7.e", "8.e", "9.e", "10.e",
            ],
            &[(
                Routes,
                "is for 1.e, 2.e, 3.e, 4.e, 5.e, 6.e, 7.e, 8.e and 2 more, which routes",
            )],
        ),
    ];
    for (names, routes, found) in rows {
        List {
            certificates: &[(names, ECDSA)],
            routes,
            found,
        }
        .check();
    }
}

#[test]
fn each_certificate_can_be_chosen() {
    use About::Certificate as Cert;
    let a: &[&str] = &["a.example"];
    let both: &[&str] = &["a.example", "b.example"];
    let wild: &[&str] = &["*.example"];
    type Row<'a> = (&'a [(&'a [&'a str], KeyKind)], &'a [(About, &'a str)]);
    let rows: [Row<'_>; 11] = [
        (&[(a, RSA), (a, ECDSA), (a, P384)], &[]),
        (&[(a, ECDSA), (a, RSA)], &[]),
        (
            &[(a, RSA), (a, RSA)],
            &[(
                Cert(1),
                "no client gets the certificate: 0.pem stands before it",
            )],
        ),
        (&[(a, RSA), (both, RSA)], &[]),
        (
            &[(both, RSA), (a, RSA)],
            &[(Cert(1), "0.pem stands before it")],
        ),
        // For the one name another, and for the other another.
        (
            &[(a, RSA), (&["b.example"], RSA), (both, RSA)],
            &[(Cert(2), "0.pem or 1.pem stands before it")],
        ),
        // Exact names and wildcards do not replace each other.
        (&[(wild, RSA), (a, RSA)], &[]),
        (&[(a, RSA), (wild, RSA)], &[]),
        (&[(a, RSA), (wild, RSA), (wild, RSA)], &[(Cert(2), "1.pem")]),
        // The first may have no name, others not.
        (&[(&[], RSA), (a, RSA)], &[]),
        (&[(a, RSA), (&[], RSA)], &[(Cert(1), "has no DNS name")]),
    ];
    for (certificates, found) in rows {
        List {
            certificates,
            routes: &[""],
            found,
        }
        .check();
    }
}

#[test]
fn what_is_worse_than_before() {
    let site = || facts("a.example", "middle");
    let middle = || facts("middle", "root");
    let good = vec![site(), middle()];
    let renamed = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        vec![Facts { names, ..site() }, middle()]
    };
    let over = || valid(site(), -9, -1);
    let soon = valid(site(), -9, DAY_S);
    let two = renamed(&["a.example", "b.example"]);
    let any: &[&str] = &[""];
    // The present one, the new one, patterns of routes, and in what the new one is worse.
    type Row<'a> = (&'a [Facts], Vec<Facts>, &'a [&'a str], Option<&'a str>);
    let root = || facts("root", "root");
    let selfmade = [facts("a.example", "a.example")];
    let rows: [Row<'_>; 24] = [
        (&good, vec![site(), middle()], any, None),
        (&good, vec![soon, middle()], any, None),
        (&good, vec![facts("a.example", "a.example")], any, None),
        (&good, vec![over(), middle()], any, Some("has expired")),
        (
            &good,
            vec![valid(site(), 1, 9), middle()],
            any,
            Some("is not valid before"),
        ),
        (
            &good,
            vec![site(), valid(middle(), -9, -1)],
            any,
            Some("\"CN=middle\" in the chain has"),
        ),
        (
            &good,
            vec![site()],
            any,
            Some("the issuer \"CN=middle\" is missing"),
        ),
        (&[site()], vec![site()], any, None),
        // A self-signed one had nothing behind it, and a root is nothing that clients need.
        (&selfmade, vec![site()], any, None),
        (
            &[facts("a.example", "root"), root()],
            vec![facts("a.example", "root")],
            any,
            None,
        ),
        (
            &[facts("a.example", "root"), root()],
            vec![site()],
            any,
            Some("the issuer \"CN=middle\" is missing"),
        ),
        (
            &[facts("a.example", "known")],
            vec![site()],
            any,
            Some("the issuer \"CN=middle\" is missing"),
        ),
        (&good, vec![facts("a.example", "known")], any, None),
        // Names.
        (&good, renamed(&["*.example"]), any, None),
        (
            &good,
            renamed(&["b.example"]),
            any,
            Some("not for a.example any more"),
        ),
        (&two, renamed(&["b.example"]), &["b*"], None),
        (
            &two,
            renamed(&["b.example"]),
            &["b*", "a*"],
            Some("not for a.example any more"),
        ),
        // Another certificate of the listener has it.
        (
            &renamed(&["other.example"]),
            vec![site(), middle()],
            any,
            None,
        ),
        (
            &renamed(&["*.w.example"]),
            renamed(&["x.w.example"]),
            any,
            Some("not for *.w.example"),
        ),
        // Of a wildcard, exact names of routes are needed, and no others.
        (
            &renamed(&["*.w.example"]),
            renamed(&["x.w.example", "y.w.example"]),
            &["x.w.example", "y.w.example", "z.example"],
            None,
        ),
        (
            &renamed(&["*.w.example"]),
            renamed(&["x.w.example"]),
            &["x.w.example", "y.w.example"],
            Some("is not for y.w.example any more"),
        ),
        (
            &renamed(&["*.w.example"]),
            renamed(&["x.w.example"]),
            &["x.w.example", "*.w.example"],
            Some("not for *.w.example"),
        ),
        (
            &renamed(&["*.w.example"]),
            renamed(&["x.w.example"]),
            &["x*"],
            Some("not for *.w.example"),
        ),
        // Nothing is worse than one that clients refuse.
        (&[over()], renamed(&["b.example"]), any, None),
    ];
    for (old, new, routes, expected) in rows {
        let patterns = routes.iter().filter(|route| !route.is_empty());
        let patterns: Vec<HostPattern> = patterns.map(|route| route.parse().unwrap()).collect();
        let asked = Asked {
            hosts: patterns,
            any: routes.contains(&""),
        };
        let other = [facts("other.example", "other.example")];
        let (new, old) = (judged(&new, &[]), judged(old, &[]));
        let others = [judged(&other, &[])];
        let lost = issuer_lost(&new, &old, |name| name == named("known"));
        let found = worse(&new, &old, &others, &asked, NOW_S, lost);
        let found: Vec<String> = found.iter().map(Finding::to_string).collect();
        assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
        let expected = expected.unwrap_or_default();
        assert!(found.concat().contains(expected), "{expected}: {found:?}");
    }
}

#[test]
fn a_certificate_in_addition_is_fit_unless_clients_would_refuse_it() {
    let (site, middle) = (|| facts("site", "middle"), || facts("middle", "root"));
    let over = |it| valid(it, -2 * DAY_S, -DAY_S);
    let later = |it| valid(it, DAY_S, 2 * DAY_S);
    let missing = Some("\"CN=middle\" is missing");
    // The new one, the one that is there, and what is found.
    type Row = (Vec<Facts>, Vec<Facts>, Option<&'static str>);
    let rows: [Row; 10] = [
        (vec![site(), middle()], vec![site(), middle()], None),
        (vec![valid(site(), -DAY_S, DAY_S), middle()], vec![], None),
        (vec![over(site()), middle()], vec![], Some("has expired")),
        (
            vec![later(site()), middle()],
            vec![],
            Some("not valid before"),
        ),
        (
            vec![site(), over(middle())],
            vec![],
            Some("the issuer's certificate"),
        ),
        // It does not matter that the other is refused too.
        (
            vec![over(site()), middle()],
            vec![over(site())],
            Some("has expired"),
        ),
        (vec![site()], vec![site(), middle()], missing),
        // The other has another name, no issuer either, or is refused.
        (vec![site()], vec![facts("other", "middle"), middle()], None),
        (vec![site()], vec![site()], None),
        (vec![site()], vec![over(site()), middle()], None),
    ];
    for (new, other, expected) in rows {
        let other = [judged(&other, &[])];
        let found = unfit(&judged(&new, &[]), &other, NOW_S, |_| false);
        let found: Vec<String> = found.iter().map(Finding::to_string).collect();
        assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
        let expected = expected.unwrap_or_default();
        assert!(found.concat().contains(expected), "{expected}: {found:?}");
    }
}
