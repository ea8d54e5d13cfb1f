//! Texts as the field has them: which blocks are read, and the words for what cannot be used. The bytes are
//! made by rcgen, and in `tests/it/tls/pem.rs` by OpenSSL.

use super::*;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
};

/// The chain of a server and its key, each in PEM.
struct Made {
    leaf: String,
    authority: String,
    key: String,
    crl: String,
    request: String,
}

fn made() -> Made {
    let mut ca = CertificateParams::new([]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["a.example".to_owned()]).unwrap();
    let request = params.serialize_request(&key).unwrap().pem().unwrap();
    let leaf = params.signed_by(&key, &authority).unwrap();
    let crl = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(2044, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Made {
        leaf: leaf.pem(),
        authority: authority.pem(),
        key: key.serialize_pem(),
        crl: crl.signed_by(&authority).unwrap().pem().unwrap(),
        request,
    }
}

fn labelled(label: &str, bytes: &[u8]) -> String {
    let body = BASE64_STANDARD.encode(bytes);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn der_of(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64_STANDARD.decode(body).unwrap()
}

fn blocks(text: &str) -> Vec<Block> {
    read(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault}\n{text}"))
}

fn contents(text: &str) -> Vec<Material> {
    blocks(text).into_iter().map(|it| it.material).collect()
}

fn fault(text: impl AsRef<[u8]>) -> String {
    read(text.as_ref()).unwrap_err().to_string()
}

#[test]
fn every_form_in_use_gives_the_same_blocks() {
    let Made {
        leaf,
        authority,
        key,
        ..
    } = made();
    let plain = [&*leaf, &*authority, &*key].concat();
    let expected = contents(&plain);
    assert_eq!(expected.len(), 3);
    let ends = |end: &str| plain.replace('\n', end);
    let relabelled = |label: &str| plain.replace(" CERTIFICATE-", &format!(" {label}-"));
    let trusted = {
        // What `openssl x509 -trustout` appends: purposes and an alias.
        let mut bytes = der_of(&leaf);
        bytes.extend(b"\x30\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01");
        labelled("TRUSTED CERTIFICATE", &bytes)
    };
    let parameters =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let rows = [
        (
            "joined",
            plain.replace("-----\n-----BEGIN", "----------BEGIN"),
        ),
        ("no last line end", plain.trim_end().to_owned()),
        ("CRLF", ends("\r\n")),
        ("CR", ends("\r")),
        ("one line", ends(" ")),
        ("one word", ends("")),
        ("a mark", format!("\u{feff}{plain}")),
        (
            "three marks",
            ["", &*leaf, &*authority, &*key].join("\u{feff}"),
        ),
        (
            "marks without line ends",
            ["", leaf.trim_end(), authority.trim_end(), &*key].join("\u{feff}"),
        ),
        ("label of old", relabelled("X509 CERTIFICATE")),
        ("label of OpenSSL", relabelled("TRUSTED CERTIFICATE")),
        ("with purposes", [&*trusted, &*authority, &*key].concat()),
        (
            "text between",
            format!("subject=CN = a\n---\n{leaf}Bag Attributes\n  x: 1\n{authority}\n\n{key} end"),
        ),
        (
            "a comment",
            format!(
                "# the old one:\n #-----BEGIN CERTIFICATE-----\n#MII=\n# -----END CERTIFICATE-----\n{plain}"
            ),
        ),
        ("blank lines", plain.replace("-----\nMI", "-----\n\n MI")),
        ("trailing blanks", ends(" \t\n")),
        ("no padding", plain.replace('=', "")),
    ];
    for (name, text) in rows {
        assert_eq!(contents(&text), expected, "{name}\n{text}");
    }
    let with_parameters = contents(&[parameters, &plain].concat());
    assert_eq!(with_parameters[0], Material::Parameters);
    assert_eq!(with_parameters[1..], expected);
}

#[test]
fn blocks_know_their_lines() {
    let Made { leaf, key, .. } = made();
    let text = format!("a\r\nb\r\n{leaf}\n{key}");
    let lines: Vec<usize> = blocks(&text).iter().map(|block| block.line).collect();
    let second = text.split("-----BEGIN PRIVATE").next().unwrap();
    assert_eq!(lines, [3, second.matches('\n').count() + 1]);
}

#[test]
fn damage_is_named_with_its_line() {
    let Made {
        leaf,
        authority,
        key,
        ..
    } = made();
    let both = [&*leaf, &*authority].concat();
    let second = leaf.lines().count() + 1;
    let last = leaf.lines().count();
    let cut = &leaf[..leaf.len() - 30];
    let swapped = [cut.rsplit_once('\n').unwrap().0, "\n", &*authority].concat();
    let indented: String = both.lines().map(|line| format!("    {line}\n")).collect();
    let rows = [
        (
            cut.to_owned(),
            "line 1: BEGIN CERTIFICATE without its END".to_owned(),
        ),
        (
            leaf[..200].to_owned(),
            "line 1: BEGIN CERTIFICATE without its END".to_owned(),
        ),
        (
            swapped,
            "line 1: BEGIN CERTIFICATE without its END".to_owned(),
        ),
        (
            [&*leaf, &authority[..10]].concat(),
            format!("line {second}: a BEGIN or END line is damaged"),
        ),
        (
            [&*leaf, &authority[..20]].concat(),
            format!("line {second}: a BEGIN or END line is damaged"),
        ),
        (
            both.replace('\n', "\\n"),
            "line 1: line ends are written out as \\n".to_owned(),
        ),
        (indented, "line 1: blanks stand before BEGIN".to_owned()),
        (
            format!("cert: {leaf}"),
            "line 1: text stands before BEGIN".to_owned(),
        ),
        (
            format!("\"{leaf}\""),
            "line 1: text stands before BEGIN".to_owned(),
        ),
        (
            both.replacen("-----BEGIN", "----BEGIN", 1),
            "line 1: a BEGIN or END line is damaged".to_owned(),
        ),
        (
            both.replacen("-----BEGIN", "\u{2014}BEGIN", 1),
            "line 1: a BEGIN or END line is damaged".to_owned(),
        ),
        (
            both.replacen("-----BEGIN CERTIFICATE-----", "", 1),
            format!("line {last}: END without a BEGIN"),
        ),
        (
            both.replacen("END CERTIFICATE-----", "END CERTIFICATE----", 1),
            format!("line {last}: a BEGIN or END line is damaged"),
        ),
        (
            both.replacen("END CERTIFICATE", "END PRIVATE KEY", 1),
            format!("line 1: BEGIN CERTIFICATE is followed by END PRIVATE KEY in line {last}"),
        ),
        (
            both.replacen("-----\nMI", "-----\nMI*", 1),
            "line 2: is not base64, in BEGIN CERTIFICATE".to_owned(),
        ),
        (
            both.replacen("-----\nMI", "-----\nMI=", 1),
            "line 1: is not base64, in BEGIN CERTIFICATE".to_owned(),
        ),
        (
            key.replacen("\nMI", "\nMI\nC\u{e9}", 1),
            "line 3: is not base64, in BEGIN PRIVATE KEY".to_owned(),
        ),
        (
            both.replacen("-----\nMI", "-----\nII", 1),
            "line 1: BEGIN CERTIFICATE is damaged".to_owned(),
        ),
        (
            labelled("CERTIFICATE", b""),
            "line 1: BEGIN CERTIFICATE is damaged".to_owned(),
        ),
    ];
    for (text, expected) in rows {
        let fault = fault(&text);
        assert!(fault.starts_with(&expected), "{fault}\n{expected}\n{text}");
    }
    // A line is missing in the middle.
    let mut lines: Vec<&str> = leaf.lines().collect();
    lines.remove(3);
    assert!(fault(lines.join("\n")).contains("is damaged"));
}

#[test]
fn other_forms_are_recognised() {
    let Made { leaf, key, .. } = made();
    let utf16: Vec<u8> = leaf.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = "\u{feff}"
        .encode_utf16()
        .chain(leaf.encode_utf16())
        .flat_map(u16::to_be_bytes)
        .collect();
    let bare: String = leaf.lines().filter(|line| !line.starts_with('-')).collect();
    let rows: [(&str, Vec<u8>, ForeignForm); 11] = [
        ("UTF-16", utf16.clone(), ForeignForm::Utf16),
        (
            "UTF-16 with mark",
            [b"\xff\xfe".to_vec(), utf16].concat(),
            ForeignForm::Utf16,
        ),
        ("UTF-16 of the other order", big, ForeignForm::Utf16),
        ("certificate", der_of(&leaf), ForeignForm::Certificate),
        ("key", der_of(&key), ForeignForm::Key),
        (
            "PKCS#1",
            b"\x30\x09\x02\x01\x00\x02\x01\x05\x02\x01\x03".to_vec(),
            ForeignForm::Key,
        ),
        (
            "PKCS#12",
            b"\x30\x0a\x02\x01\x03\x30\x05\x06\x03\x2a\x86\x48".to_vec(),
            ForeignForm::Pkcs12,
        ),
        (
            "Java",
            b"\xfe\xed\xfe\xed\x00\x00\x00\x02".to_vec(),
            ForeignForm::KeyStore,
        ),
        (
            "Kubernetes",
            BASE64_STANDARD.encode(&leaf).into_bytes(),
            ForeignForm::Base64OfPem,
        ),
        ("bare", bare.into_bytes(), ForeignForm::BareBase64),
        (
            "other DER",
            b"\x30\x03\x02\x01\x07".to_vec(),
            ForeignForm::Der,
        ),
    ];
    for (name, bytes, form) in rows {
        assert_eq!(read(&bytes), Err(BadPem::Foreign(form)), "{name}");
    }
    assert_eq!(read(b" \n"), Ok(Vec::new()));
    assert_eq!(read(b"0 s:CN = some text"), Ok(Vec::new()));
    assert_eq!(read(b"-----BEG"), Err(BadPem::Mark { line: 1 }));
}

#[test]
fn a_block_that_cannot_be_used_says_why() {
    let pkcs8 = |oid: &[u8]| {
        let algorithm = [
            &[
                0x30,
                u8::try_from(oid.len()).unwrap() + 2,
                6,
                u8::try_from(oid.len()).unwrap(),
            ],
            oid,
        ]
        .concat();
        let content = [b"\x02\x01\x00", &*algorithm, b"\x04\x01\x00"].concat();
        [&[0x30, u8::try_from(content.len()).unwrap()], &*content].concat()
    };
    let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n\
                     AAAA\n-----END RSA PRIVATE KEY-----\n";
    let rows = [
        (
            encrypted.to_owned(),
            "the private key is encrypted (line 1); openssl pkey -in KEY -out NEW takes the passphrase off",
        ),
        (
            labelled("ENCRYPTED PRIVATE KEY", b"0"),
            "the private key is encrypted",
        ),
        (
            labelled("DSA PRIVATE KEY", b"0"),
            "of the kind DSA, which is not supported; use an ECDSA",
        ),
        (
            labelled("TSS2 PRIVATE KEY", b"0"),
            "of the kind TSS2, which",
        ),
        (
            labelled("OPENSSH PRIVATE KEY", b"0"),
            "ssh-keygen -p -m PKCS8",
        ),
        (
            labelled("PRIVATE KEY", &pkcs8(b"\x2a\x86\x48\xce\x38\x04\x01")),
            "of the kind DSA, which",
        ),
        (
            labelled("PRIVATE KEY", &pkcs8(b"\x2b\x65\x71")),
            "of the kind Ed448, which",
        ),
        (
            labelled("PRIVATE KEY", &pkcs8(b"\x2b\x65\x6e")),
            "of the kind X25519, which",
        ),
        (
            labelled("PRIVATE KEY", &pkcs8(b"\x2b\x65\x6c")),
            "of the kind 1.3.101.108, which",
        ),
        (
            labelled(
                "EC PRIVATE KEY",
                b"\x30\x0f\x02\x01\x01\x04\x01\x05\xa0\x07\x06\x05\x2b\x81\x04\x00\x0a",
            ),
            "of the kind EC on the curve secp256k1, which",
        ),
        (
            labelled(
                "EC PRIVATE KEY",
                b"\x30\x0a\x02\x01\x01\x04\x01\x05\xa0\x02\x30\x00",
            ),
            "openssl ec -in KEY -param_enc",
        ),
        (labelled("PUBLIC KEY", b"0"), "is a public key"),
        (made().request, "is a request (CSR)"),
        (
            labelled("PKCS7", b"0"),
            "openssl pkcs7 -in FILE -print_certs",
        ),
        (
            labelled("PGP MESSAGE", b"0"),
            "BEGIN PGP MESSAGE: is of an unknown kind",
        ),
    ];
    for (text, expected) in rows {
        let fault = parts(text.as_bytes()).unwrap_err().to_string();
        assert!(fault.contains(expected), "{fault}\n{expected}");
        // Where a certificate is wanted, a key of any kind is as good as none.
        let fault = certificates(text.as_bytes()).unwrap_err().to_string();
        let is_key = text.contains("PRIVATE KEY");
        let expected = if is_key { "no certificate" } else { expected };
        assert!(fault.contains(expected), "{fault}\n{expected}");
    }
}

#[test]
fn each_use_takes_its_own_blocks_and_names_the_others() {
    let Made {
        leaf,
        authority,
        key,
        crl,
        ..
    } = made();
    let all = [&*leaf, &*authority, &*key].concat();
    let found = parts(all.as_bytes()).unwrap();
    assert_eq!((found.certificates.len(), found.keys.len()), (2, 1));
    let pair = [&*leaf, &*authority].concat();
    assert_eq!(certificates(pair.as_bytes()).unwrap().len(), 2);
    assert_eq!(certificates(all.as_bytes()).unwrap().len(), 2);
    assert_eq!(crls([&*crl, &*crl].concat().as_bytes()).unwrap().len(), 2);
    let rows = [
        (
            certificates(crl.as_bytes()).unwrap_err(),
            "BEGIN X509 CRL does not belong here; a revocation list goes",
        ),
        (parts(crl.as_bytes()).unwrap_err(), "a revocation list goes"),
        (crls(leaf.as_bytes()).unwrap_err(), "revocation lists alone"),
        (crls(b"x").unwrap_err(), "holds no revocation list"),
        (
            certificates(b"x").unwrap_err(),
            "holds no certificate (BEGIN CERTIFICATE)",
        ),
    ];
    for (fault, expected) in rows {
        assert!(fault.to_string().contains(expected), "{fault}");
    }
}

/// What holds for every text is checked with the corpus (`tests/corpus/pem.rs`); these are the texts near a
/// good one.
#[test]
fn no_prefix_and_no_changed_byte_loses_a_block_in_silence() {
    let Made { leaf, key, .. } = made();
    let plain = format!("{leaf}{}{key}", leaf.trim_end());
    let expected = blocks(&plain).len();
    assert_eq!(expected, 3);
    for len in 0..plain.len() {
        let text = &plain[..len];
        let begun = text.matches("-----B").count();
        if let Ok(blocks) = read(text.as_bytes()) {
            assert_eq!(blocks.len(), begun, "{text}");
        }
    }
    for at in 0..plain.len() {
        for byte in [
            0, b'\n', b'\r', b' ', b'#', b'-', b'=', b'A', b'\\', b'*', 0xff,
        ] {
            let mut text = plain.clone().into_bytes();
            text[at] = byte;
            if let Ok(blocks) = read(&text) {
                assert_eq!(blocks.len(), expected, "byte {at} is {byte:#x}");
            }
        }
    }
}

proptest! {
    #[test]
    fn pieces_in_any_order_are_used_or_named(
        pieces in prop::collection::vec(0_usize..12, 0..12),
    ) {
        let body = BASE64_STANDARD.encode(b"\x30\x03\x02\x01\x07");
        let whole = labelled("CERTIFICATE", b"\x30\x03\x02\x01\x07");
        let all = [
            "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----", "-----", "\n", "\r\n", &*body, &*whole,
            whole.trim_end(), "#", " ", "\u{feff}", "text",
        ];
        let text: String = pieces.iter().map(|piece| all[*piece]).collect();
        let is_comment = |line: &&str| line.trim_start_matches('\u{feff}').trim_start().starts_with('#');
        let begun: usize = text
            .split(['\n', '\r'])
            .filter(|line| !is_comment(line))
            .map(|line| line.matches("-----BEGIN ").count())
            .sum();
        if let Ok(blocks) = read(text.as_bytes()) {
            prop_assert_eq!(blocks.len(), begun, "{}", text);
        }
    }
}
