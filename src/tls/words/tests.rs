//! Every error that rustls and webpki know has words.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{
    AlertDescription, CertRevocationListError, CertificateError, ContentType,
    EncryptedClientHelloError, ExtendedKeyPurpose, HandshakeType, InvalidMessage, OtherError,
    PeerMisbehaved,
};
use rustls_pki_types::{ServerName, UnixTime};

use super::*;

/// Words of the field that look like names of Rust.
const TERMS: [&str; 21] = [
    "ChaCha20",
    "ChangeCipherSpec",
    "ClientHello",
    "ServerHello",
    "KeyUpdate",
    "HelloRequest",
    "NewSessionTicket",
    "EndOfEarlyData",
    "HelloRetryRequest",
    "EncryptedExtensions",
    "ServerKeyExchange",
    "CertificateRequest",
    "CertificateVerify",
    "ServerHelloDone",
    "ClientKeyExchange",
    "CertificateStatus",
    "CompressedCertificate",
    "clientAuth",
    "serverAuth",
    "cRLSign",
    "KiB",
];

/// Checks that a text is one for people: no name of a variant, and not the one for what is unknown.
#[track_caller]
fn check(text: &str) {
    assert!(!text.contains(UNKNOWN), "no words: {text}");
    let mut plain = text.to_owned();
    for term in TERMS {
        plain = plain.replace(term, "");
    }
    let bytes = plain.as_bytes();
    let camel = bytes
        .windows(2)
        .any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    assert!(!camel, "a name of Rust in: {text}");
    assert!(
        !text.contains(['{', '}', '[']) || text.contains(".tls]"),
        "{text}"
    );
    assert!(text.is_ascii() && text.len() < 400, "{text}");
}

fn check_both(error: &Error) {
    for peer in [OtherEnd::Client, OtherEnd::Server] {
        let text = of_error(error, peer, None);
        check(&text);
    }
}

#[test]
fn every_way_to_misbehave_has_words() {
    let all = [
        PeerMisbehaved::AttemptedDowngradeToTls12WhenTls13IsSupported,
        PeerMisbehaved::BadCertChainExtensions,
        PeerMisbehaved::CipherSuiteDifferedOnRetry,
        PeerMisbehaved::DisallowedEncryptedExtension,
        PeerMisbehaved::DuplicateClientHelloExtensions,
        PeerMisbehaved::DuplicateEncryptedExtensions,
        PeerMisbehaved::DuplicateHelloRetryRequestExtensions,
        PeerMisbehaved::DuplicateNewSessionTicketExtensions,
        PeerMisbehaved::DuplicateServerHelloExtensions,
        PeerMisbehaved::DuplicateServerNameTypes,
        PeerMisbehaved::EarlyDataAttemptedInSecondClientHello,
        PeerMisbehaved::EarlyDataExtensionWithoutResumption,
        PeerMisbehaved::EarlyDataOfferedWithVariedCipherSuite,
        PeerMisbehaved::EchAcceptanceVariedAfterRetry,
        PeerMisbehaved::HandshakeHashVariedAfterRetry,
        PeerMisbehaved::IllegalHelloRetryRequestWithEmptyCookie,
        PeerMisbehaved::IllegalHelloRetryRequestWithNoChanges,
        PeerMisbehaved::IllegalHelloRetryRequestWithOfferedGroup,
        PeerMisbehaved::IllegalHelloRetryRequestWithUnofferedCipherSuite,
        PeerMisbehaved::IllegalHelloRetryRequestWithUnofferedNamedGroup,
        PeerMisbehaved::IllegalHelloRetryRequestWithUnsupportedVersion,
        PeerMisbehaved::IllegalHelloRetryRequestWithWrongSessionId,
        PeerMisbehaved::IllegalHelloRetryRequestWithInvalidEch,
        PeerMisbehaved::IllegalMiddleboxChangeCipherSpec,
        PeerMisbehaved::IllegalTlsInnerPlaintext,
        PeerMisbehaved::IncorrectBinder,
        PeerMisbehaved::InvalidCertCompression,
        PeerMisbehaved::InvalidMaxEarlyDataSize,
        PeerMisbehaved::InvalidKeyShare,
        PeerMisbehaved::KeyEpochWithPendingFragment,
        PeerMisbehaved::KeyUpdateReceivedInQuicConnection,
        PeerMisbehaved::MessageInterleavedWithHandshakeMessage,
        PeerMisbehaved::MissingBinderInPskExtension,
        PeerMisbehaved::MissingKeyShare,
        PeerMisbehaved::MissingPskExtensionInSecondClientHello,
        PeerMisbehaved::MissingPskModesExtension,
        PeerMisbehaved::MissingQuicTransportParameters,
        PeerMisbehaved::OfferedDuplicateCertificateCompressions,
        PeerMisbehaved::OfferedDuplicateKeyShares,
        PeerMisbehaved::OfferedEarlyDataWithOldProtocolVersion,
        PeerMisbehaved::OfferedEmptyApplicationProtocol,
        PeerMisbehaved::OfferedIncorrectCompressions,
        PeerMisbehaved::PskExtensionMustBeLast,
        PeerMisbehaved::PskExtensionWithMismatchedIdsAndBinders,
        PeerMisbehaved::RefusedToFollowHelloRetryRequest,
        PeerMisbehaved::RejectedEarlyDataInterleavedWithHandshakeMessage,
        PeerMisbehaved::ResumptionAttemptedWithVariedEms,
        PeerMisbehaved::ResumptionOfferedWithVariedCipherSuite,
        PeerMisbehaved::ResumptionOfferedWithVariedEms,
        PeerMisbehaved::ResumptionOfferedWithIncompatibleCipherSuite,
        PeerMisbehaved::SelectedDifferentCipherSuiteAfterRetry,
        PeerMisbehaved::SelectedInvalidPsk,
        PeerMisbehaved::SelectedTls12UsingTls13VersionExtension,
        PeerMisbehaved::SelectedUnofferedApplicationProtocol,
        PeerMisbehaved::SelectedUnofferedCertCompression,
        PeerMisbehaved::SelectedUnofferedCipherSuite,
        PeerMisbehaved::SelectedUnofferedCompression,
        PeerMisbehaved::SelectedUnofferedKxGroup,
        PeerMisbehaved::SelectedUnofferedPsk,
        PeerMisbehaved::SelectedUnusableCipherSuiteForVersion,
        PeerMisbehaved::ServerEchoedCompatibilitySessionId,
        PeerMisbehaved::ServerHelloMustOfferUncompressedEcPoints,
        PeerMisbehaved::ServerNameDifferedOnRetry,
        PeerMisbehaved::ServerNameMustContainOneHostName,
        PeerMisbehaved::SignedKxWithWrongAlgorithm,
        PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme,
        PeerMisbehaved::TooManyEmptyFragments,
        PeerMisbehaved::TooManyKeyUpdateRequests,
        PeerMisbehaved::TooManyRenegotiationRequests,
        PeerMisbehaved::TooManyWarningAlertsReceived,
        PeerMisbehaved::TooMuchEarlyDataReceived,
        PeerMisbehaved::UnexpectedCleartextExtension,
        PeerMisbehaved::UnsolicitedCertExtension,
        PeerMisbehaved::UnsolicitedEncryptedExtension,
        PeerMisbehaved::UnsolicitedSctList,
        PeerMisbehaved::UnsolicitedServerHelloExtension,
        PeerMisbehaved::WrongGroupForKeyShare,
        PeerMisbehaved::UnsolicitedEchExtension,
    ];
    for why in all {
        check_both(&Error::PeerMisbehaved(why));
    }
}

#[test]
fn every_incompatibility_has_words() {
    let all = [
        PeerIncompatible::EcPointsExtensionRequired,
        PeerIncompatible::ExtendedMasterSecretExtensionRequired,
        PeerIncompatible::IncorrectCertificateTypeExtension,
        PeerIncompatible::KeyShareExtensionRequired,
        PeerIncompatible::NamedGroupsExtensionRequired,
        PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon,
        PeerIncompatible::NoCipherSuitesInCommon,
        PeerIncompatible::NoEcPointFormatsInCommon,
        PeerIncompatible::NoKxGroupsInCommon,
        PeerIncompatible::NoSignatureSchemesInCommon,
        PeerIncompatible::NullCompressionRequired,
        PeerIncompatible::ServerDoesNotSupportTls12Or13,
        PeerIncompatible::ServerSentHelloRetryRequestWithUnknownExtension,
        PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        PeerIncompatible::SupportedVersionsExtensionRequired,
        PeerIncompatible::Tls12NotOffered,
        PeerIncompatible::Tls12NotOfferedOrEnabled,
        PeerIncompatible::Tls13RequiredForQuic,
        PeerIncompatible::UncompressedEcPointsRequired,
        PeerIncompatible::UnsolicitedCertificateTypeExtension,
        PeerIncompatible::ServerRejectedEncryptedClientHello(None),
    ];
    for why in all {
        check_both(&Error::PeerIncompatible(why));
    }
}

#[test]
fn every_malformed_message_has_words() {
    let all = [
        InvalidMessage::CertificatePayloadTooLarge,
        InvalidMessage::HandshakePayloadTooLarge,
        InvalidMessage::InvalidCcs,
        InvalidMessage::InvalidContentType,
        InvalidMessage::InvalidCertificateStatusType,
        InvalidMessage::InvalidCertRequest,
        InvalidMessage::InvalidDhParams,
        InvalidMessage::InvalidEmptyPayload,
        InvalidMessage::InvalidKeyUpdate,
        InvalidMessage::InvalidServerName,
        InvalidMessage::MessageTooLarge,
        InvalidMessage::MessageTooShort,
        InvalidMessage::MissingKeyExchange,
        InvalidMessage::NoSignatureSchemes,
        InvalidMessage::UnknownProtocolVersion,
        InvalidMessage::UnsupportedCompression,
        InvalidMessage::UnsupportedCurveType,
        InvalidMessage::EmptyTicketValue,
        InvalidMessage::IllegalEmptyValue,
        InvalidMessage::PreSharedKeyIsNotFinalExtension,
        InvalidMessage::UnknownHelloRetryRequestExtension,
        InvalidMessage::UnknownCertificateExtension,
        InvalidMessage::MissingData("ServerName"),
        InvalidMessage::TrailingData("ServerName"),
        InvalidMessage::UnexpectedMessage("ServerName"),
        InvalidMessage::IllegalEmptyList("ServerNames"),
        InvalidMessage::DuplicateExtension(10),
    ];
    for why in all {
        check_both(&Error::InvalidMessage(why));
    }
}

#[test]
#[expect(deprecated, reason = "rustls still has the older variants")]
fn every_list_error_has_words() {
    let (id, key) = (
        vec![0x06, 3, 0x2b, 0x65, 0x71],
        vec![0x06, 3, 0x2b, 0x65, 0x70],
    );
    let mut all = vec![
        CertRevocationListError::BadSignature,
        CertRevocationListError::UnsupportedSignatureAlgorithm,
        CertRevocationListError::InvalidCrlNumber,
        CertRevocationListError::InvalidRevokedCertSerialNumber,
        CertRevocationListError::IssuerInvalidForCrl,
        CertRevocationListError::ParseError,
        CertRevocationListError::UnsupportedCrlVersion,
        CertRevocationListError::UnsupportedCriticalExtension,
        CertRevocationListError::UnsupportedDeltaCrl,
        CertRevocationListError::UnsupportedIndirectCrl,
        CertRevocationListError::UnsupportedRevocationReason,
        CertRevocationListError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: id.clone(),
            supported_algorithms: Vec::new(),
        },
        CertRevocationListError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: id,
            public_key_algorithm_id: key,
        },
    ];
    let of_webpki = webpki_errors().into_iter();
    all.extend(of_webpki.map(|it| CertRevocationListError::Other(OtherError(Arc::new(it)))));
    for why in all {
        check_both(&Error::InvalidCertRevocationList(why));
    }
}

#[expect(deprecated, reason = "webpki still has the older variants")]
fn webpki_errors() -> Vec<webpki::Error> {
    vec![
        webpki::Error::BadDer,
        webpki::Error::BadDerTime,
        webpki::Error::CaUsedAsEndEntity,
        webpki::Error::CertDistrusted,
        webpki::Error::CertRevoked,
        webpki::Error::EmptyEkuExtension,
        webpki::Error::EndEntityUsedAsCa,
        webpki::Error::ExtensionValueInvalid,
        webpki::Error::InvalidCertValidity,
        webpki::Error::InvalidCrlNumber,
        webpki::Error::InvalidNetworkMaskConstraint,
        webpki::Error::InvalidSerialNumber,
        webpki::Error::InvalidCrlSignatureForPublicKey,
        webpki::Error::InvalidSignatureForPublicKey,
        webpki::Error::IssuerNotCrlSigner,
        webpki::Error::MalformedDnsIdentifier,
        webpki::Error::MalformedExtensions,
        webpki::Error::MalformedNameConstraint,
        webpki::Error::MaximumNameConstraintComparisonsExceeded,
        webpki::Error::MaximumPathBuildCallsExceeded,
        webpki::Error::MaximumPathDepthExceeded,
        webpki::Error::MaximumSignatureChecksExceeded,
        webpki::Error::NameConstraintViolation,
        webpki::Error::PathLenConstraintViolated,
        webpki::Error::RequiredEkuNotFound,
        webpki::Error::SignatureAlgorithmMismatch,
        webpki::Error::UnknownIssuer,
        webpki::Error::UnknownRevocationStatus,
        webpki::Error::UnsupportedCertVersion,
        webpki::Error::UnsupportedCriticalExtension,
        webpki::Error::UnsupportedCrlIssuingDistributionPoint,
        webpki::Error::UnsupportedCrlVersion,
        webpki::Error::UnsupportedDeltaCrl,
        webpki::Error::UnsupportedIndirectCrl,
        webpki::Error::UnsupportedNameType,
        webpki::Error::UnsupportedRevocationReason,
        webpki::Error::UnsupportedRevocationReasonsPartitioning,
        webpki::Error::UnsupportedCrlSignatureAlgorithm,
        webpki::Error::UnsupportedSignatureAlgorithm,
        webpki::Error::UnsupportedCrlSignatureAlgorithmForPublicKey,
        webpki::Error::UnsupportedSignatureAlgorithmForPublicKey,
        webpki::Error::TrailingData(webpki::DerTypeId::Certificate),
    ]
}

#[test]
#[expect(deprecated, reason = "rustls still has the older variants")]
fn every_certificate_error_has_words() {
    let (sha1, key) = (
        vec![0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 5, 5, 0],
        vec![0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1],
    );
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_000_000_000));
    let name = ServerName::try_from("a.example").unwrap();
    let names = |count: usize| (0..count).map(|it| format!("DnsName(\"{it}.example\")"));
    let mut rows = vec![
        (CertificateError::BadEncoding, "is no valid X.509"),
        (CertificateError::Expired, "has expired"),
        (
            CertificateError::ExpiredContext {
                time,
                not_after: time,
            },
            "has expired: it was valid until 2001-09-09T01:46:40Z; renew it",
        ),
        (CertificateError::NotValidYet, "is not valid yet; a clock"),
        (
            CertificateError::NotValidYetContext {
                time,
                not_before: time,
            },
            "is not valid yet: it begins 2001-09-09T01:46:40Z; a clock may be wrong",
        ),
        (CertificateError::Revoked, "is revoked by a list in crl"),
        (
            CertificateError::UnhandledCriticalExtension,
            "critical extension",
        ),
        (CertificateError::UnknownIssuer, "comes from no issuer in "),
        (
            CertificateError::UnknownRevocationStatus,
            "of which crl holds no list",
        ),
        (
            CertificateError::ExpiredRevocationList,
            "the list of its issuer in crl ended;",
        ),
        (
            CertificateError::ExpiredRevocationListContext {
                time,
                next_update: time,
            },
            "the list of its issuer in crl ended 2001-09-09T01:46:40Z; put the next one there",
        ),
        (CertificateError::BadSignature, "but not its signature"),
        (
            CertificateError::UnsupportedSignatureAlgorithm,
            "not accepted",
        ),
        (
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: sha1.clone(),
                supported_algorithms: Vec::new(),
            },
            "is signed with an algorithm that is not accepted (RSA with SHA-1)",
        ),
        (
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: sha1,
                public_key_algorithm_id: key,
            },
            "(RSA with SHA-1) that its issuer's key cannot make, or a key that is not accepted (ECDSA)",
        ),
        (CertificateError::NotValidForName, "is for another name"),
        (
            CertificateError::NotValidForNameContext {
                expected: name.clone(),
                presented: Vec::new(),
            },
            "is not for a.example, but for no name at all (no subject alternative name;",
        ),
        (
            CertificateError::NotValidForNameContext {
                expected: name.clone(),
                presented: names(2).collect(),
            },
            "is not for a.example, but for 0.example, 1.example; server_name",
        ),
        (
            CertificateError::NotValidForNameContext {
                expected: name,
                presented: names(9).collect(),
            },
            "3.example, 4.example, others; server_name",
        ),
        (
            CertificateError::InvalidPurpose,
            "its extended key usage lacks ",
        ),
        (
            CertificateError::InvalidPurposeContext {
                required: ExtendedKeyPurpose::ClientAuth,
                presented: vec![
                    ExtendedKeyPurpose::ServerAuth,
                    ExtendedKeyPurpose::Other(vec![1, 2, 3]),
                ],
            },
            "its extended key usage (serverAuth, 1.2.3) lacks ",
        ),
        (CertificateError::InvalidOcspResponse, "OCSP"),
        (
            CertificateError::ApplicationVerificationFailure,
            "is refused",
        ),
        (
            CertificateError::Other(OtherError(Arc::new(std::fmt::Error))),
            "is refused by the TLS library",
        ),
    ];
    let of_webpki = webpki_errors().into_iter();
    rows.extend(of_webpki.map(|it| (CertificateError::Other(OtherError(Arc::new(it))), "")));
    for (wrong, expected) in rows {
        for peer in [OtherEnd::Client, OtherEnd::Server] {
            let text = of_error(&Error::InvalidCertificate(wrong.clone()), peer, None);
            assert!(text.contains(expected), "{text}");
            check(&text);
        }
        check(&of_anchor(&Error::InvalidCertificate(wrong)));
    }
}

#[test]
fn every_other_error_has_words() {
    let all = [
        Error::InappropriateMessage {
            expect_types: vec![ContentType::Handshake, ContentType::Unknown(99)],
            got_type: ContentType::ApplicationData,
        },
        Error::InvalidEncryptedClientHello(EncryptedClientHelloError::SniRequired),
        Error::NoCertificatesPresented,
        Error::UnsupportedNameType,
        Error::DecryptError,
        Error::EncryptError,
        Error::General("RustName(SomeThing)".to_owned()),
        Error::FailedToGetCurrentTime,
        Error::FailedToGetRandomBytes,
        Error::HandshakeNotComplete,
        Error::PeerSentOversizedRecord,
        Error::NoApplicationProtocol,
        Error::BadMaxFragmentSize,
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch),
        Error::InconsistentKeys(InconsistentKeys::Unknown),
        Error::Other(OtherError(Arc::new(std::fmt::Error))),
    ];
    for error in all {
        check_both(&error);
    }
    for kind in 0..=u8::MAX {
        check_both(&Error::InappropriateHandshakeMessage {
            expect_types: vec![HandshakeType::from(kind)],
            got_type: HandshakeType::Finished,
        });
        check_both(&Error::InappropriateMessage {
            expect_types: vec![ContentType::from(kind)],
            got_type: ContentType::Alert,
        });
    }
}

#[test]
fn every_alert_has_its_name_and_its_usual_reason() {
    for number in 0..=u8::MAX {
        let known = !matches!(AlertDescription::from(number), AlertDescription::Unknown(_));
        assert!(!known || alert_name(number).is_some(), "{number}");
        check_both(&Error::AlertReceived(AlertDescription::from(number)));
    }
    let rows = [
        (
            70,
            OtherEnd::Server,
            "the server refused with the alert protocol_version (70): it speaks TLS 1.1 at most",
        ),
        (
            48,
            OtherEnd::Client,
            "the client refused with the alert unknown_ca (48): it does not trust the issuer of the \
             listener's certificate",
        ),
        (
            200,
            OtherEnd::Client,
            "the client refused with the alert 200, which has no name",
        ),
    ];
    for (number, peer, expected) in rows {
        let text = told_of_alert(number, peer);
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn every_failure_of_a_handshake_has_words() {
    let certificate = |subject: &str| {
        Box::new(RefusedCertificate {
            subject: subject.to_owned(),
            serial: "1F".to_owned(),
        })
    };
    let revoked = || Error::InvalidCertificate(CertificateError::Revoked);
    let rows = [
        (
            HandshakeFailure::NotTls(Spoken::Http),
            OtherEnd::Server,
            "the server does not speak TLS on this port, but plain HTTP; name its TLS port, or take TLS \
             out of this server (tls, [backend.tls])",
        ),
        (
            HandshakeFailure::NotTls(Spoken::Text),
            OtherEnd::Server,
            "the server does not speak TLS on this port, but a protocol in plain text; name its TLS \
             port, or take TLS out of this server (tls, [backend.tls])",
        ),
        (
            HandshakeFailure::NotTls(Spoken::OldTls),
            OtherEnd::Client,
            "the client speaks SSL 2, which is older than TLS 1.2, the lowest version here",
        ),
        (
            HandshakeFailure::NotTls(Spoken::Unknown),
            OtherEnd::Client,
            "the client does not speak TLS on this port; this port expects TLS ([listener.tls])",
        ),
        (
            HandshakeFailure::Untrusted {
                error: revoked(),
                certificate: certificate("CN=bob"),
            },
            OtherEnd::Client,
            "the client's certificate (CN=bob, serial 1F) is revoked by a list in crl",
        ),
        (
            HandshakeFailure::Untrusted {
                error: revoked(),
                certificate: certificate(""),
            },
            OtherEnd::Client,
            "the client's certificate (serial 1F) is revoked by a list in crl",
        ),
        (
            HandshakeFailure::TooMany,
            OtherEnd::Client,
            "the client sent too many handshake records",
        ),
        (
            HandshakeFailure::Closed { heard: true },
            OtherEnd::Server,
            "the server closed in the middle of the handshake",
        ),
        (
            HandshakeFailure::Closed { heard: false },
            OtherEnd::Server,
            "the server closed in the middle of the handshake, before it sent a byte; does it speak TLS \
             on this port?",
        ),
        (
            HandshakeFailure::Closed { heard: false },
            OtherEnd::Client,
            "the client closed before its handshake",
        ),
        (
            HandshakeFailure::UnknownKeys,
            OtherEnd::Client,
            "internal error: the TLS library gave keys of an unknown kind",
        ),
    ];
    for (failure, peer, expected) in rows {
        let text = told(&failure, peer);
        assert_eq!(text, expected);
        check(&text);
    }
}

#[test]
fn the_groups_we_name_are_those_we_speak() {
    let text = of_error(
        &Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon),
        OtherEnd::Client,
        None,
    );
    let groups = default_provider().kx_groups;
    let names: Vec<String> = groups
        .iter()
        .map(|group| format!("{:?}", group.name()))
        .map(|name| {
            name.replace("secp256r1", "P-256")
                .replace("secp384r1", "P-384")
        })
        .collect();
    for name in &names {
        assert!(text.contains(name.as_str()), "{name} in {text}");
    }
}
