//! The parameters a handshake settled, for logs and for servers that want to know the client's TLS.

use rustls::{CipherSuite, CommonState};

use super::record::RecordVersion;
use super::{name, shown};

/// The parameters a handshake settled.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The name the client asked for.
    pub server_name: Option<String>,
    /// The selected ALPN protocol.
    pub alpn: Option<Vec<u8>>,
    /// The version.
    pub version: RecordVersion,
    /// The cipher suite, by OpenSSL's name.
    pub cipher: Option<&'static str>,
    /// Whether the handshake resumed an earlier session.
    pub resumed: bool,
    /// Subject of the client's certificate, from this handshake or the one that was resumed; the certificate
    /// was verified.
    pub client: Option<CertificateSubject>,
    /// When that certificate ends, in seconds since 1970. A ticket may outlive it, and a client that resumes
    /// is not verified again.
    pub client_until_s: Option<i64>,
}

/// The subject of a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateSubject {
    /// The text of RFC 4514, in printable ASCII; empty if the subject is empty or too long.
    pub text: String,
    /// Its first common name.
    pub common_name: Option<String>,
}

impl Terms {
    /// Reads the terms of a complete handshake for `server_name`; certificates are the client's.
    #[must_use]
    pub fn of(
        connection: &CommonState,
        version: RecordVersion,
        server_name: Option<String>,
    ) -> Self {
        let certificates = connection.peer_certificates();
        let client = certificates.and_then(<[_]>::first);
        let shown = client.map(|certificate| shown::read(certificate).unwrap_or_default());
        let suite = connection.negotiated_cipher_suite();
        Self {
            server_name,
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            version,
            cipher: suite.and_then(|suite| cipher_name(suite.suite())),
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            client_until_s: shown.and_then(|shown| shown.not_after),
            client: shown.map(|shown| CertificateSubject::of(shown.subject)),
        }
    }

    /// Reads the terms of a complete handshake in which we are the client.
    #[must_use]
    pub fn of_client(connection: &CommonState, version: RecordVersion) -> Self {
        Self {
            client: None,
            client_until_s: None,
            ..Self::of(connection, version, None)
        }
    }

    /// Returns whether the client's certificate has ended at `now_s`, in seconds since 1970.
    #[must_use]
    pub fn is_client_expired(&self, now_s: i64) -> bool {
        self.client_until_s.is_some_and(|until_s| until_s < now_s)
    }

    /// Returns OpenSSL's name of the version.
    #[must_use]
    pub fn version_name(&self) -> &'static str {
        match self.version {
            RecordVersion::Tls12 => "TLSv1.2",
            RecordVersion::Tls13 => "TLSv1.3",
        }
    }
}

impl CertificateSubject {
    /// Reads the distinguished name of a subject, in DER.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        Self {
            text: name::text(name).unwrap_or_default(),
            common_name: name::common_name(name),
        }
    }
}

/// Returns OpenSSL's name of a suite, by which receivers know it (proxy-protocol.txt 2.2.6).
fn cipher_name(suite: CipherSuite) -> Option<&'static str> {
    let names = [
        (
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            "TLS_AES_128_GCM_SHA256",
        ),
        (
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            "TLS_AES_256_GCM_SHA384",
        ),
        (
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            "TLS_CHACHA20_POLY1305_SHA256",
        ),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            "ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
        (
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            "ECDHE-RSA-AES128-GCM-SHA256",
        ),
        (
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            "ECDHE-RSA-AES256-GCM-SHA384",
        ),
        (
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            "ECDHE-RSA-CHACHA20-POLY1305",
        ),
    ];
    let named = names.iter().find(|(known, _)| *known == suite);
    named.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::aws_lc_rs::default_provider;

    #[test]
    fn every_suite_we_speak_has_a_name() {
        for suite in default_provider().cipher_suites {
            assert!(cipher_name(suite.suite()).is_some(), "{suite:?}");
        }
    }
}
