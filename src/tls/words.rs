//! Why TLS with a peer failed, in words for the log and for checks: who is at fault, and what helps.
//!
//! rustls prints its errors with the names of its own variants (`PeerIncompatible(NoCipherSuitesInCommon)`,
//! `Other(OtherError(CaUsedAsEndEntity))`), which say nothing to an operator. No text of rustls is passed on:
//! every error has a text here. rustls's lists are open; when one of them grows, clippy
//! (`wildcard_enum_match_arm`) says so. Certificates are `certificates`, alerts (RFC 8446 section 6) `alerts`, and
//! breaches of the protocol `breaches`.

mod alerts;
mod breaches;
mod certificates;
mod other_end;

use rustls::{Error, InconsistentKeys, PeerIncompatible};

pub use alerts::{name as alert_name, told as told_of_alert};
pub(super) use certificates::{date_of, of_anchor, of_list, of_webpki_list};
pub use other_end::OtherEnd;

use other_end::UNKNOWN;

use super::handshake::{HandshakeFailure, Spoken};
use super::refused::RefusedCertificate;

/// Describes a failed handshake with `peer`, and what helps.
#[must_use]
pub fn told(failure: &HandshakeFailure, peer: OtherEnd) -> String {
    let name = peer.name();
    match failure {
        HandshakeFailure::NotTls(spoken) => told_of_stranger(*spoken, peer),
        HandshakeFailure::Refused(error) => of_error(error, peer, None),
        HandshakeFailure::Untrusted { error, certificate } => {
            of_error(error, peer, Some(certificate))
        }
        HandshakeFailure::TooMany => format!("{name} sent too many handshake records"),
        HandshakeFailure::Closed { heard: true } => {
            format!("{name} closed in the middle of the handshake")
        }
        HandshakeFailure::Closed { heard: false } => match peer {
            OtherEnd::Client => "the client closed before its handshake".to_owned(),
            OtherEnd::Server => {
                "the server closed in the middle of the handshake, before it sent a byte; \
                             does it speak TLS on this port?"
                    .to_owned()
            }
        },
        HandshakeFailure::UnknownKeys => {
            "internal error: the TLS library gave keys of an unknown kind".to_owned()
        }
    }
}

fn told_of_stranger(spoken: Spoken, peer: OtherEnd) -> String {
    let name = peer.name();
    let remedy = match peer {
        OtherEnd::Client => "this port expects TLS ([listener.tls])",
        OtherEnd::Server => {
            "name its TLS port, or take TLS out of this server (tls, [backend.tls])"
        }
    };
    match spoken {
        Spoken::Http => format!("{name} does not speak TLS on this port, but plain HTTP; {remedy}"),
        Spoken::Text => {
            format!(
                "{name} does not speak TLS on this port, but a protocol in plain text; {remedy}"
            )
        }
        Spoken::OldTls => {
            format!("{name} speaks SSL 2, which is older than TLS 1.2, the lowest version here")
        }
        Spoken::Unknown => format!("{name} does not speak TLS on this port; {remedy}"),
    }
}

/// Describes an error of rustls in a handshake with `peer`; `certificate` is the one that was refused.
pub(super) fn of_error(
    error: &Error,
    peer: OtherEnd,
    certificate: Option<&RefusedCertificate>,
) -> String {
    let name = peer.name();
    match error {
        Error::InvalidCertificate(wrong) => certificates::told(wrong, peer, certificate),
        Error::InvalidCertRevocationList(wrong) => {
            let whose = certificates::whose(peer, certificate);
            format!("{whose} cannot be checked: {}", of_list(wrong))
        }
        Error::AlertReceived(alert) => told_of_alert(u8::from(*alert), peer),
        Error::PeerIncompatible(why) => of_incompatible(why, peer),
        Error::PeerMisbehaved(why) => {
            format!(
                "{name} broke the rules of TLS: {}",
                breaches::of_misbehaved(why)
            )
        }
        Error::InvalidMessage(why) => {
            format!(
                "{name} sent a malformed message: {}",
                breaches::of_message(*why)
            )
        }
        Error::InappropriateMessage {
            expect_types,
            got_type,
        } => breaches::of_record(name, expect_types, *got_type),
        Error::InappropriateHandshakeMessage {
            expect_types,
            got_type,
        } => breaches::of_handshake_message(name, expect_types, *got_type),
        Error::NoCertificatesPresented => match peer {
            OtherEnd::Client => "the client shows no certificate, and client_ca demands one; \
                             client_auth = \"request\" lets clients pass without"
                .to_owned(),
            OtherEnd::Server => "the server shows no certificate".to_owned(),
        },
        Error::DecryptError => {
            format!("a record of {name} cannot be decrypted: it was damaged or altered on the way")
        }
        Error::PeerSentOversizedRecord => format!("{name} sent a record that is too long"),
        Error::NoApplicationProtocol => match peer {
            OtherEnd::Client => {
                "the client offers no protocol (ALPN) that this listener speaks, which is http/1.1"
                    .to_owned()
            }
            OtherEnd::Server => {
                "the server selected no protocol (ALPN) that was offered".to_owned()
            }
        },
        Error::UnsupportedNameType => "internal error: a server name of an unknown kind".to_owned(),
        Error::EncryptError
        | Error::FailedToGetCurrentTime
        | Error::FailedToGetRandomBytes
        | Error::HandshakeNotComplete
        | Error::BadMaxFragmentSize
        | Error::InvalidEncryptedClientHello(_)
        | Error::InconsistentKeys(_)
        | Error::General(_)
        | Error::Other(_) => of_ours(error).to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}

/// Describes an error that is no peer's fault.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of_error has listed those of peers"
)]
fn of_ours(error: &Error) -> &'static str {
    match error {
        Error::EncryptError => "internal error: a record cannot be encrypted",
        Error::FailedToGetCurrentTime => "the clock of this machine stands before 1970",
        Error::FailedToGetRandomBytes => "the system gives no random bytes",
        Error::HandshakeNotComplete => "a message was cut where the keys change",
        Error::BadMaxFragmentSize => "internal error: a bad size of fragments",
        Error::InvalidEncryptedClientHello(_) => "internal error: encrypted ClientHello",
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the private key does not belong to the certificate"
        }
        Error::InconsistentKeys(_) => {
            "whether the private key belongs to the certificate is unknown"
        }
        Error::General(_) | Error::Other(_) => "internal error: the TLS library refuses",
        _ => UNKNOWN,
    }
}

fn of_incompatible(why: &PeerIncompatible, peer: OtherEnd) -> String {
    let (name, table) = (peer.name(), peer.table());
    let old = match peer {
        OtherEnd::Client => "update the client",
        OtherEnd::Server => "update the server or switch on a newer version there",
    };
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::Tls12NotOffered => {
            format!("{name} speaks TLS 1.1 at most, and longsplice TLS 1.2 and 1.3; {old}")
        }
        PeerIncompatible::Tls12NotOfferedOrEnabled => {
            format!("{name} offers no version of TLS that min_version in {table} allows; {old}")
        }
        PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired => format!(
            "{name} speaks TLS 1.2 at most, and min_version in {table} demands TLS 1.3; {old}, \
             or min_version = \"1.2\""
        ),
        PeerIncompatible::NoCipherSuitesInCommon => format!(
            "{name} and longsplice share no cipher suite: longsplice speaks AES-GCM and \
             ChaCha20-Poly1305, with ECDHE in TLS 1.2 and of the kind of the certificate's key; {old}"
        ),
        PeerIncompatible::NoKxGroupsInCommon => format!(
            "{name} and longsplice share no group for the key exchange: longsplice speaks \
             X25519MLKEM768, X25519, P-256 and P-384; {old}"
        ),
        PeerIncompatible::NoSignatureSchemesInCommon => format!(
            "{name} can verify no signature of the key in our certificate; another kind of key \
             (RSA, ECDSA) may help, or {old}"
        ),
        PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => format!(
            "{name} accepts no signature that the key of our certificate can make; another kind of \
             key (RSA, ECDSA) helps"
        ),
        PeerIncompatible::Tls13RequiredForQuic => "internal error: QUIC".to_owned(),
        PeerIncompatible::EcPointsExtensionRequired
        | PeerIncompatible::NoEcPointFormatsInCommon
        | PeerIncompatible::UncompressedEcPointsRequired
        | PeerIncompatible::ExtendedMasterSecretExtensionRequired
        | PeerIncompatible::IncorrectCertificateTypeExtension
        | PeerIncompatible::UnsolicitedCertificateTypeExtension
        | PeerIncompatible::KeyShareExtensionRequired
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::NullCompressionRequired
        | PeerIncompatible::ServerSentHelloRetryRequestWithUnknownExtension
        | PeerIncompatible::ServerRejectedEncryptedClientHello(_) => {
            format!("{name} {}; {old}", breaches::of_incompatible(why))
        }
        _ => UNKNOWN.to_owned(),
    }
}

#[cfg(test)]
mod tests;
