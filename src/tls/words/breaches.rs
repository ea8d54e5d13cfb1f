//! Breaches of the protocol: what a peer sent that TLS does not allow (RFC 8446, RFC 5246). The remedy is the
//! same for all: the peer's TLS library is at fault, or a device on the way.

use rustls::{
    ContentType, HandshakeType, InvalidMessage, PeerIncompatible as Incompatible,
    PeerMisbehaved as Breach,
};

use super::other_end::UNKNOWN;

/// Describes a breach.
pub(super) fn of_misbehaved(why: &Breach) -> &'static str {
    match why {
        Breach::AttemptedDowngradeToTls12WhenTls13IsSupported => {
            "the version was lowered to TLS 1.2 on the way, which may be an attack"
        }
        Breach::BadCertChainExtensions => "wrong extensions at a certificate",
        Breach::CipherSuiteDifferedOnRetry => "another cipher suite after a retry",
        Breach::DisallowedEncryptedExtension => "an extension that may not be encrypted",
        Breach::DuplicateClientHelloExtensions => "an extension twice in the ClientHello",
        Breach::DuplicateEncryptedExtensions => "an encrypted extension twice",
        Breach::DuplicateHelloRetryRequestExtensions => "an extension twice in a retry",
        Breach::DuplicateNewSessionTicketExtensions => "an extension twice in a ticket",
        Breach::DuplicateServerHelloExtensions => "an extension twice in the ServerHello",
        Breach::DuplicateServerNameTypes => "two server names of one type",
        Breach::EarlyDataAttemptedInSecondClientHello => "early data in a second ClientHello",
        Breach::EarlyDataExtensionWithoutResumption => "early data without a resumed session",
        Breach::EarlyDataOfferedWithVariedCipherSuite => "early data with another cipher suite",
        Breach::EchAcceptanceVariedAfterRetry => "another view of ECH after a retry",
        Breach::HandshakeHashVariedAfterRetry => "another hash after a retry",
        Breach::IllegalHelloRetryRequestWithEmptyCookie => "a retry with an empty cookie",
        Breach::IllegalHelloRetryRequestWithNoChanges => "a retry that changes nothing",
        Breach::IllegalHelloRetryRequestWithOfferedGroup => "a retry for a group already offered",
        Breach::IllegalHelloRetryRequestWithUnofferedCipherSuite => {
            "a retry with a cipher suite that was not offered"
        }
        Breach::IllegalHelloRetryRequestWithUnofferedNamedGroup => {
            "a retry for a group that was not offered"
        }
        Breach::IllegalHelloRetryRequestWithUnsupportedVersion => "a retry with a wrong version",
        Breach::IllegalHelloRetryRequestWithWrongSessionId => "a retry with another session",
        Breach::IllegalHelloRetryRequestWithInvalidEch => "a retry with invalid ECH",
        Breach::IllegalMiddleboxChangeCipherSpec => "a ChangeCipherSpec out of place",
        Breach::IllegalTlsInnerPlaintext => "a record without content",
        Breach::IncorrectBinder => "a wrong proof for the resumed session",
        Breach::InvalidCertCompression => "a compressed certificate that cannot be unpacked",
        Breach::InvalidMaxEarlyDataSize => "a wrong limit of early data",
        Breach::InvalidKeyShare => "an invalid public key in the key exchange",
        Breach::KeyEpochWithPendingFragment => "a message across a change of keys",
        Breach::KeyUpdateReceivedInQuicConnection => "a KeyUpdate out of place",
        Breach::MessageInterleavedWithHandshakeMessage => "another record within a message",
        Breach::MissingBinderInPskExtension => "no proof for the resumed session",
        Breach::MissingKeyShare => "no public key for the key exchange",
        Breach::MissingPskExtensionInSecondClientHello => "no session in a second ClientHello",
        Breach::MissingPskModesExtension => "a session without the modes of resumption",
        Breach::MissingQuicTransportParameters => "no parameters of QUIC",
        Breach::OfferedDuplicateCertificateCompressions => "a compression offered twice",
        Breach::OfferedDuplicateKeyShares => "two public keys for one group",
        Breach::OfferedEarlyDataWithOldProtocolVersion => "early data in an old version",
        Breach::OfferedEmptyApplicationProtocol => "an empty protocol name (ALPN)",
        Breach::OfferedIncorrectCompressions => "compression of records",
        Breach::PskExtensionMustBeLast => "an extension after the last one",
        Breach::PskExtensionWithMismatchedIdsAndBinders => "sessions and proofs of other numbers",
        Breach::RefusedToFollowHelloRetryRequest => "no answer to a retry",
        Breach::RejectedEarlyDataInterleavedWithHandshakeMessage => "early data within a message",
        Breach::ResumptionAttemptedWithVariedEms | Breach::ResumptionOfferedWithVariedEms => {
            "a resumed session without its extended master secret"
        }
        Breach::ResumptionOfferedWithVariedCipherSuite => "a resumed session with another suite",
        Breach::ResumptionOfferedWithIncompatibleCipherSuite => {
            "a resumed session with a suite that does not fit"
        }
        Breach::SelectedDifferentCipherSuiteAfterRetry => "another cipher suite after a retry",
        Breach::SelectedInvalidPsk | Breach::SelectedUnofferedPsk => {
            "a session that was not offered"
        }
        Breach::SelectedTls12UsingTls13VersionExtension => "TLS 1.2 in an extension of TLS 1.3",
        Breach::SelectedUnofferedApplicationProtocol => "a protocol (ALPN) that was not offered",
        Breach::SelectedUnofferedCertCompression => "a compression that was not offered",
        Breach::SelectedUnofferedCipherSuite => "a cipher suite that was not offered",
        Breach::SelectedUnofferedCompression => "compression that was not offered",
        Breach::SelectedUnofferedKxGroup => "a group that was not offered",
        Breach::SelectedUnusableCipherSuiteForVersion => "a cipher suite of another version",
        Breach::ServerEchoedCompatibilitySessionId => "our session ID of compatibility",
        Breach::ServerHelloMustOfferUncompressedEcPoints => "no uncompressed points",
        Breach::ServerNameDifferedOnRetry => "another server name after a retry",
        Breach::ServerNameMustContainOneHostName => "a server name without a host name",
        Breach::SignedKxWithWrongAlgorithm => "a key exchange signed with a wrong algorithm",
        Breach::SignedHandshakeWithUnadvertisedSigScheme => {
            "a handshake signed with an algorithm that was not offered"
        }
        Breach::TooManyEmptyFragments => "too many empty records",
        Breach::TooManyKeyUpdateRequests => "too many requests to change keys",
        Breach::TooManyRenegotiationRequests => "too many requests to renegotiate",
        Breach::TooManyWarningAlertsReceived => "too many warnings",
        Breach::TooMuchEarlyDataReceived => "too much early data",
        Breach::UnexpectedCleartextExtension => "an extension in the clear",
        Breach::UnsolicitedCertExtension => "an extension at a certificate without our asking",
        Breach::UnsolicitedEncryptedExtension => "an encrypted extension without our asking",
        Breach::UnsolicitedSctList => "a list of SCTs without our asking",
        Breach::UnsolicitedServerHelloExtension => "an extension without our asking",
        Breach::WrongGroupForKeyShare => "a public key of another group",
        Breach::UnsolicitedEchExtension => "an extension of ECH without our asking",
        _ => UNKNOWN,
    }
}

/// Describes what is malformed in a message.
pub(super) fn of_message(why: InvalidMessage) -> &'static str {
    match why {
        InvalidMessage::CertificatePayloadTooLarge => "its certificates are longer than 64 KiB",
        InvalidMessage::HandshakePayloadTooLarge => "it is longer than 64 KiB",
        InvalidMessage::InvalidCcs => "a wrong ChangeCipherSpec",
        InvalidMessage::InvalidContentType => "a record of no known type",
        InvalidMessage::InvalidCertificateStatusType => "a wrong type of certificate status",
        InvalidMessage::InvalidCertRequest => "a wrong request for a certificate",
        InvalidMessage::InvalidDhParams => "wrong parameters of the key exchange",
        InvalidMessage::InvalidEmptyPayload => "an empty record where none may be",
        InvalidMessage::InvalidKeyUpdate => "a wrong KeyUpdate",
        InvalidMessage::InvalidServerName => "a server name that is no host name",
        InvalidMessage::MessageTooLarge => "a record is too long",
        InvalidMessage::MessageTooShort => "it is cut short",
        InvalidMessage::MissingData(_) => "a part is cut short",
        InvalidMessage::MissingKeyExchange => "a cipher suite without a key exchange",
        InvalidMessage::NoSignatureSchemes => "no signature algorithm",
        InvalidMessage::TrailingData(_) => "bytes follow its end",
        InvalidMessage::UnexpectedMessage(_) => "it is another message than is due",
        InvalidMessage::UnknownProtocolVersion => "a version that TLS does not know",
        InvalidMessage::UnsupportedCompression => "compression",
        InvalidMessage::UnsupportedCurveType => "a curve of an unknown kind",
        InvalidMessage::UnsupportedKeyExchangeAlgorithm(_) => "an unknown key exchange",
        InvalidMessage::EmptyTicketValue => "an empty ticket",
        InvalidMessage::IllegalEmptyList(_) => "an empty list where none may be",
        InvalidMessage::IllegalEmptyValue => "an empty value where none may be",
        InvalidMessage::DuplicateExtension(_) => "an extension stands in it twice",
        InvalidMessage::PreSharedKeyIsNotFinalExtension => "an extension after the last one",
        InvalidMessage::UnknownHelloRetryRequestExtension => "a retry with an unknown extension",
        InvalidMessage::UnknownCertificateExtension => "an unknown extension at a certificate",
        _ => UNKNOWN,
    }
}

/// Describes what a peer lacks, except versions, suites and groups.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the caller has listed the others"
)]
pub(super) fn of_incompatible(why: &Incompatible) -> &'static str {
    match why {
        Incompatible::EcPointsExtensionRequired
        | Incompatible::NoEcPointFormatsInCommon
        | Incompatible::UncompressedEcPointsRequired => {
            "offers no uncompressed points of elliptic curves"
        }
        Incompatible::ExtendedMasterSecretExtensionRequired => {
            "does not know the extended master secret (RFC 7627)"
        }
        Incompatible::IncorrectCertificateTypeExtension
        | Incompatible::UnsolicitedCertificateTypeExtension => {
            "wants raw public keys in place of certificates"
        }
        Incompatible::KeyShareExtensionRequired => "sends no public key for the key exchange",
        Incompatible::NamedGroupsExtensionRequired => "offers no group for the key exchange",
        Incompatible::SignatureAlgorithmsExtensionRequired => "offers no signature algorithm",
        Incompatible::NullCompressionRequired => "demands compression",
        Incompatible::ServerSentHelloRetryRequestWithUnknownExtension => {
            "sends a retry with an unknown extension"
        }
        Incompatible::ServerRejectedEncryptedClientHello(_) => "does not know our encrypted hello",
        _ => UNKNOWN,
    }
}

/// Describes a record that is not due.
pub(super) fn of_record(name: &str, due: &[ContentType], came: ContentType) -> String {
    let due: Vec<String> = due.iter().map(|it| record_name(*it)).collect();
    let came = record_name(came);
    format!("{name} sent {came} where {} was due", due.join(" or "))
}

fn record_name(kind: ContentType) -> String {
    match u8::from(kind) {
        20 => "a ChangeCipherSpec".to_owned(),
        21 => "an alert".to_owned(),
        22 => "a message of the handshake".to_owned(),
        23 => "application data".to_owned(),
        24 => "a heartbeat".to_owned(),
        number => format!("a record of type {number}"),
    }
}

/// Describes a message of the handshake that is not due.
pub(super) fn of_handshake_message(
    name: &str,
    due: &[HandshakeType],
    came: HandshakeType,
) -> String {
    let due: Vec<String> = due.iter().map(|it| message_name(*it)).collect();
    let came = message_name(came);
    format!("{name} sent {came} where {} was due", due.join(" or "))
}

/// Names a message of the handshake as RFC 8446 section 4 and RFC 5246 section 7.4 do.
fn message_name(kind: HandshakeType) -> String {
    let known = match u8::from(kind) {
        0 => "HelloRequest",
        1 => "ClientHello",
        2 => "ServerHello",
        4 => "NewSessionTicket",
        5 => "EndOfEarlyData",
        6 => "HelloRetryRequest",
        8 => "EncryptedExtensions",
        11 => "Certificate",
        12 => "ServerKeyExchange",
        13 => "CertificateRequest",
        14 => "ServerHelloDone",
        15 => "CertificateVerify",
        16 => "ClientKeyExchange",
        20 => "Finished",
        22 => "CertificateStatus",
        24 => "KeyUpdate",
        25 => "CompressedCertificate",
        number => return format!("a message of type {number}"),
    };
    known.to_owned()
}
