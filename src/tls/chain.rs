//! Orders the certificates of a file into the chain that peers get (RFC 8446 section 4.4.2): the leaf, then
//! each certificate's issuer. Whether a peer trusts the chain is not its business.

use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::CertificateDer;

use super::der::Der;
use super::x509::Facts;

const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// The certificates of a file, as indexes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sorted {
    /// The leaf, then each certificate's issuer.
    pub(super) chain: Vec<usize>,
    /// Certificates that are no part of it.
    pub(super) strangers: Vec<usize>,
}

/// Orders certificates from the one at `leaf` upwards; `facts` are theirs. A certificate that is in the file
/// twice, and another certificate of an issuer in the chain, are left out and are no strangers.
pub(super) fn sort(leaf: usize, certificates: &[CertificateDer<'_>], facts: &[Facts]) -> Sorted {
    let all: Vec<_> = certificates.iter().zip(facts).collect();
    let mut chain = vec![leaf];
    while let Some((last, facts)) = chain.last().and_then(|last| all.get(*last)) {
        let signed_by = |issuer: &Facts| {
            if issuer.subject == facts.issuer {
                is_signed_by(last, issuer)
            } else {
                Some(false)
            }
        };
        if signed_by(facts) != Some(false) {
            break;
        }
        let issuer = (0..all.len()).find(|index| {
            let issuer = all.get(*index);
            !chain.contains(index)
                && issuer.is_some_and(|(_, issuer)| signed_by(issuer) != Some(false))
        });
        match issuer {
            Some(issuer) => chain.push(issuer),
            None => break,
        }
    }
    let in_chain = |one: &Facts| {
        let mut links = chain.iter().filter_map(|index| all.get(*index));
        links.any(|(_, link)| link.subject == one.subject && link.public_key == one.public_key)
    };
    let strangers =
        (0..all.len()).filter(|index| all.get(*index).is_some_and(|(_, it)| !in_chain(it)));
    Sorted {
        strangers: strangers.collect(),
        chain,
    }
}

/// Returns whether the key of `issuer` made the signature of a certificate; none = its algorithm is not
/// among those that we verify (SHA-1, say).
fn is_signed_by(certificate: &[u8], issuer: &Facts) -> Option<bool> {
    let mut parts = Der(Der(certificate).enter(SEQUENCE)?);
    let (body, algorithm) = (parts.whole()?, parts.enter(SEQUENCE)?);
    let signature = bits(&mut parts)?;
    let mut key = Der(Der(&issuer.public_key).enter(SEQUENCE)?);
    let (key_kind, key) = (key.enter(SEQUENCE)?, bits(&mut key)?);
    let algorithms = default_provider().signature_verification_algorithms.all;
    let known = algorithms.iter().filter(|it| {
        it.signature_alg_id().as_ref() == algorithm && it.public_key_alg_id().as_ref() == key_kind
    });
    let mut known = known.peekable();
    known.peek()?;
    Some(known.any(|it| it.verify_signature(key, body, signature).is_ok()))
}

/// Takes a bit string of whole bytes.
fn bits<'a>(der: &mut Der<'a>) -> Option<&'a [u8]> {
    der.enter(BIT_STRING)?.strip_prefix(&[0])
}

#[cfg(test)]
mod tests;
