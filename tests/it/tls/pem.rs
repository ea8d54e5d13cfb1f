//! PEM files as OpenSSL and the hands of operators make them: every block is used or named in an error, at
//! the start and when a file changes.

use std::fs;

use super::identity::{Workshop, checked};
use crate::harness::eventually;
use crate::harness::process::Proxy;

/// A site behind an intermediate authority; none = OpenSSL is not there.
fn site() -> Option<Workshop> {
    let workshop = Workshop::open()?;
    workshop.authorities();
    workshop.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out site.key");
    workshop.sign("site", "site", Some("middle"), "");
    Some(workshop)
}

/// Writes one file and returns the value of `certificates` for it.
fn one_file(workshop: &Workshop, bytes: impl AsRef<[u8]>) -> String {
    fs::write(workshop.path("all.pem"), bytes).unwrap();
    format!("\"{}\"", workshop.path("all.pem"))
}

fn is_verified(workshop: &Workshop, proxy: &Proxy) {
    // Only a client that gets the intermediate certificate too can verify the site's.
    let said = workshop.look(proxy, "-CAfile root.pem -verify_return_error");
    assert!(said.contains("Verification: OK"), "{said}");
}

#[test]
fn a_chain_in_every_form_is_shown_whole() {
    let Some(workshop) = site() else {
        return;
    };
    workshop.openssl(
        "x509 -in site.pem -trustout -addtrust serverAuth -setalias edge -out trusted.pem",
    );
    workshop.openssl("x509 -in middle.pem -trustout -out trusted-middle.pem");
    workshop.openssl("pkey -in site.key -traditional -out sec1.key");
    workshop.openssl("ecparam -name prime256v1 -out parameters.pem");
    let [site, middle, key] =
        ["site.pem", "middle.pem", "site.key"].map(|name| workshop.read(name));
    let [trusted, trusted_middle, sec1, parameters] = [
        "trusted.pem",
        "trusted-middle.pem",
        "sec1.key",
        "parameters.pem",
    ]
    .map(|name| workshop.read(name));
    let plain = [&*site, &*middle, &*key].concat();
    let rows = [
        (
            "joined",
            [site.trim_end(), middle.trim_end(), &*key].concat(),
        ),
        (
            "a mark before each",
            ["", &*site, &*middle, &*key].join("\u{feff}"),
        ),
        ("CRLF", plain.replace('\n', "\r\n")),
        ("one line", plain.replace('\n', " ")),
        (
            "X509 CERTIFICATE",
            plain.replace(" CERTIFICATE-", " X509 CERTIFICATE-"),
        ),
        (
            "TRUSTED CERTIFICATE",
            [&*trusted, &*trusted_middle, &*key].concat(),
        ),
        (
            "parameters",
            [&*parameters, &*sec1, &*site, &*middle].concat(),
        ),
    ];
    for (name, text) in rows {
        println!("{name}");
        is_verified(&workshop, &workshop.proxy(&one_file(&workshop, text)));
    }
    // The intermediate one stands in the file of the key.
    fs::write(workshop.path("rest.pem"), [&*key, &*middle].concat()).unwrap();
    let (cert, key) = (workshop.path("site.pem"), workshop.path("rest.pem"));
    let pair = format!("{{ cert = \"{cert}\", key = \"{key}\" }}");
    is_verified(&workshop, &workshop.proxy(&pair));
}

#[test]
fn every_authority_of_a_file_is_trusted() {
    let Some(workshop) = site() else {
        return;
    };
    // The authority of the client is the second of the file.
    for name in ["other", "clients"] {
        workshop.openssl(&format!(
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"
        ));
        workshop.sign(name, "ca", None, "");
    }
    workshop.openssl("genpkey -algorithm ED25519 -out client.key");
    workshop.sign("client", "site", Some("clients"), "");
    let [other, clients] = ["other.pem", "clients.pem"].map(|name| workshop.read(name));
    let both = [&*other, &*clients].concat();
    let certificate = one_file(
        &workshop,
        ["site.pem", "middle.pem", "site.key"]
            .map(|name| workshop.read(name))
            .concat(),
    );
    let rows = [
        ("joined", [other.trim_end(), &*clients].concat()),
        (
            "a mark before each",
            format!("\u{feff}{other}\u{feff}{clients}"),
        ),
        (
            "X509 CERTIFICATE",
            both.replace(" CERTIFICATE-", " X509 CERTIFICATE-"),
        ),
        (
            "TRUSTED CERTIFICATE",
            both.replace(" CERTIFICATE-", " TRUSTED CERTIFICATE-"),
        ),
    ];
    for (name, text) in rows {
        println!("{name}");
        fs::write(workshop.path("ca.pem"), text).unwrap();
        let ca = workshop.path("ca.pem");
        let proxy = workshop.proxy_with(&certificate, &format!("tls.client_ca = \"{ca}\""));
        let client = "-tls1_2 -cert client.pem -key client.key -CAfile root.pem";
        let said = workshop.look(&proxy, client);
        assert!(said.contains("Verification: OK"), "{said}");
    }
}

#[test]
fn a_file_that_cannot_be_used_says_what_to_do() {
    let Some(workshop) = site() else {
        return;
    };
    for words in [
        "x509 -in site.pem -outform DER -out site.der",
        "pkey -in site.key -outform DER -out key.der",
        "pkcs12 -export -in site.pem -inkey site.key -passout pass:x -out site.p12",
        "crl2pkcs7 -nocrl -certfile site.pem -out site.p7b",
        "genrsa -traditional -aes128 -passout pass:x -out pkcs1.key",
        "pkcs8 -topk8 -in site.key -passout pass:x -out pkcs8.key",
        "pkey -in site.key -pubout -out public.pem",
        "genpkey -algorithm ED448 -out ed448.key",
        "genpkey -algorithm X25519 -out x25519.key",
        "dsaparam -genkey -out dsa.key 2048",
        "ecparam -name secp256k1 -genkey -noout -out k1.key",
        "ecparam -name prime256v1 -genkey -noout -param_enc explicit -out explicit.key",
    ] {
        workshop.openssl(words);
    }
    let [site, middle, key] =
        ["site.pem", "middle.pem", "site.key"].map(|name| workshop.read(name));
    let plain = [&*site, &*middle, &*key].concat();
    let file = |name: &str| fs::read(workshop.path(name)).unwrap();
    let with = |name: &str| [site.as_bytes(), &file(name)].concat();
    let utf16: Vec<u8> = plain.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let indented: String = plain.lines().map(|line| format!("  {line}\n")).collect();
    let cut = &plain[..site.len() + middle.len() / 2];
    let rows: [(Vec<u8>, &str); 18] = [
        (with("pkcs1.key"), "the private key is encrypted"),
        (
            with("pkcs8.key"),
            "openssl pkey -in KEY -out NEW takes the passphrase off",
        ),
        (cut.into(), "without its END; the file is truncated there"),
        (
            plain.replace('\n', "\\n").into(),
            "line 1: line ends are written out as \\n",
        ),
        (file("site.der"), "openssl x509 -inform DER"),
        (file("key.der"), "openssl pkey -inform DER"),
        (
            file("site.p12"),
            "is a PKCS#12 container, not PEM; openssl pkcs12",
        ),
        (with("site.p7b"), "openssl pkcs7 -in FILE -print_certs"),
        (utf16, "is text in UTF-16"),
        (indented.into(), "line 1: blanks stand before BEGIN"),
        (with("public.pem"), "is a public key"),
        (with("site.csr"), "is a request (CSR)"),
        (
            with("ed448.key"),
            "of the kind Ed448, which is not supported",
        ),
        (
            with("x25519.key"),
            "of the kind X25519, which is not supported",
        ),
        (with("dsa.key"), "which is not supported"),
        (
            with("k1.key"),
            "on the curve secp256k1, which is not supported",
        ),
        (
            with("explicit.key"),
            "openssl ec -in KEY -param_enc named_curve",
        ),
        (
            [key.as_bytes(), plain.as_bytes(), &file("root.key")].concat(),
            "more than one private key",
        ),
    ];
    for (bytes, why) in rows {
        let (code, said) = checked(&workshop, &one_file(&workshop, bytes));
        assert_eq!(code, Some(2), "{why}: {said}");
        let place = "listener[0].tls.certificates[0]: ";
        assert!(said.contains(place) && said.contains(why), "{why}: {said}");
    }
}

#[test]
fn a_swap_never_shortens_a_chain_in_silence() {
    let Some(workshop) = site() else {
        return;
    };
    let [site, middle, key] =
        ["site.pem", "middle.pem", "site.key"].map(|name| workshop.read(name));
    let plain = [&*key, &*site, &*middle].concat();
    let proxy = workshop.proxy(&one_file(&workshop, &plain));
    is_verified(&workshop, &proxy);
    let second = key.len() + site.len();
    let rows = [
        (plain[..second + 40].to_owned(), "without its END"),
        (plain.replace('\n', "\\n"), "written out"),
        (
            plain[..second].to_owned() + &middle.replace("-----BEGIN", " -----BEGIN"),
            "blanks stand before BEGIN",
        ),
        (
            plain[..second].to_owned() + &middle.replace("-----BEGIN", "----BEGIN"),
            "line is damaged",
        ),
    ];
    for (text, why) in rows {
        one_file(&workshop, text);
        eventually(why, || proxy.log().contains(why));
        is_verified(&workshop, &proxy);
    }
    assert!(
        !proxy.log().contains("certificate replaced"),
        "{}",
        proxy.log()
    );
    // The good one again, in another form.
    one_file(
        &workshop,
        [key.trim_end(), site.trim_end(), &*middle].concat(),
    );
    eventually("it is taken", || {
        proxy.log().contains("certificate replaced")
    });
    is_verified(&workshop, &proxy);
}
