//! The few fields of a certificate that matter to operators (RFC 5280 section 4.1): names, validity, kind of
//! key. Nothing is verified here; rustls does that.

use super::der::Der;
use super::name;

/// The fields of a certificate that could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// DNS names it is valid for, in lower case; the common name if it has no other.
    pub names: Vec<String>,
    /// End of its validity, in seconds since 1970.
    pub not_after: Option<i64>,
    /// Length of an RSA key in bits; none for other keys.
    pub rsa_bits: Option<usize>,
    /// The distinguished name of the issuer, in DER.
    pub issuer: Vec<u8>,
    /// The distinguished name of the subject, in DER.
    pub subject: Vec<u8>,
    /// The public key with its algorithm, in DER.
    pub public_key: Vec<u8>,
}

impl Facts {
    /// Returns the issuer as RFC 4514 writes it; empty when it cannot be read.
    #[must_use]
    pub fn issuer_text(&self) -> String {
        name::text(&self.issuer).unwrap_or_default()
    }
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// Reads a certificate in DER; none when it is not one.
#[must_use]
pub fn read(der: &[u8]) -> Option<Facts> {
    let mut certificate = Der(Der(der).enter(SEQUENCE)?);
    let mut body = Der(certificate.enter(SEQUENCE)?);
    if body.tag() == Some(VERSION) {
        body.next()?;
    }
    body.enter(INTEGER)?;
    body.enter(SEQUENCE)?;
    let issuer = body.whole()?.to_vec();
    let mut validity = Der(body.enter(SEQUENCE)?);
    validity.next()?;
    let (tag, not_after) = validity.next()?;
    let subject = body.whole()?.to_vec();
    let public_key = body.whole()?.to_vec();
    let mut names = Vec::new();
    while let Some((tag, content)) = body.next() {
        if tag == EXTENSIONS {
            names = alternative_names(content).unwrap_or_default();
        }
    }
    if names.is_empty() {
        names.extend(name::common_name(&subject).map(|name| name.to_lowercase()));
    }
    Some(Facts {
        names,
        not_after: seconds_of(tag, not_after),
        rsa_bits: rsa_bits(&public_key),
        issuer,
        subject,
        public_key,
    })
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut extensions = Der(Der(extensions).enter(SEQUENCE)?);
    while let Some(extension) = extensions.enter(SEQUENCE) {
        let mut extension = Der(extension);
        if extension.enter(OBJECT_ID)? != SUBJECT_ALT_NAME {
            continue;
        }
        if extension.tag() == Some(BOOLEAN) {
            extension.next()?;
        }
        let mut names = Der(Der(extension.enter(OCTET_STRING)?).enter(SEQUENCE)?);
        let mut found = Vec::new();
        while let Some((tag, name)) = names.next() {
            if tag == DNS_NAME {
                found.push(String::from_utf8_lossy(name).to_ascii_lowercase());
            }
        }
        return Some(found);
    }
    None
}

fn rsa_bits(public_key: &[u8]) -> Option<usize> {
    let mut info = Der(Der(public_key).enter(SEQUENCE)?);
    if Der(info.enter(SEQUENCE)?).enter(OBJECT_ID)? != RSA_ENCRYPTION {
        return None;
    }
    // The first byte of a bit string is its number of unused bits.
    let key = info.enter(BIT_STRING)?.get(1..)?;
    let modulus = Der(Der(key).enter(SEQUENCE)?).enter(INTEGER)?;
    let start = modulus.iter().position(|byte| *byte != 0)?;
    let top = modulus.get(start)?;
    let bits = (modulus.len() - start) * 8;
    Some(bits - usize::try_from(top.leading_zeros()).ok()?)
}

/// Turns `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` into seconds since 1970.
fn seconds_of(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = text.split_at_checked(if tag == UTC_TIME { 2 } else { 4 })?;
    let mut year: i64 = year.parse().ok()?;
    if tag == UTC_TIME {
        // RFC 5280 section 4.1.2.5.1.
        year += if year < 50 { 2000 } else { 1900 };
    }
    let pair = |index: usize| rest.get(index * 2..index * 2 + 2)?.parse::<i64>().ok();
    let (month, day) = (pair(0)?, pair(1)?);
    if !(1..=12).contains(&month) {
        return None;
    }
    // Days since 1970 with the year beginning in March, so that the leap day is its last.
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let leaps = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leaps + day_of_year - 719_468;
    Some(((days * 24 + pair(2)?) * 60 + pair(3)?) * 60 + pair(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn certificate(names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 3, 1);
        params
            .distinguished_name
            .push(DnType::CommonName, "Common.Example");
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_validity_are_read() {
        let facts = read(&certificate(&["A.example", "*.b.example"])).unwrap();
        assert_eq!(facts.names, ["a.example", "*.b.example"]);
        assert_eq!(facts.not_after, Some(1_930_089_600));
        assert_eq!(facts.rsa_bits, None);
        assert_eq!(facts.issuer, facts.subject);
    }

    #[test]
    fn the_common_name_stands_in_for_missing_names() {
        let facts = read(&certificate(&[])).unwrap();
        assert_eq!(facts.names, ["common.example"]);
    }

    #[test]
    fn every_prefix_is_no_certificate_and_no_changed_byte_is_a_panic() {
        let der = certificate(&["a.example"]);
        for len in 0..der.len() {
            assert_eq!(read(&der[..len]), None, "{len}");
        }
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 0xff;
            let _ = read(&changed);
        }
    }

    #[test]
    fn times_of_both_forms_are_read() {
        let rows: [(u8, &[u8], Option<i64>); 6] = [
            (UTC_TIME, b"700101000000Z", Some(0)),
            (UTC_TIME, b"491231235959Z", Some(2_524_607_999)),
            (0x18, b"20000229120000Z", Some(951_825_600)),
            (0x18, b"20240301000000Z", Some(1_709_251_200)),
            (0x18, b"20241301000000Z", None),
            (0x18, b"2024", None),
        ];
        for (tag, text, seconds) in rows {
            assert_eq!(seconds_of(tag, text), seconds, "{text:?}");
        }
    }
}
