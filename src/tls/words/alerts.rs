//! The alerts of TLS (RFC 8446 section 6.2, RFC 5246 section 7.2.2): their names, and why a peer usually sends
//! them to us.

use super::other_end::OtherEnd;

/// An alert: its number, its name in the RFC, and why clients and servers send it.
struct Row(u8, &'static str, &'static str, &'static str);

const NAME_UNKNOWN: &str = "it has no certificate for the name it was asked for; \
                            server_name in [backend.tls] says another";
const NO_PROTOCOL: &str = "it does not speak http/1.1 (ALPN)";
const TAMPERED: &str = "a record reached it damaged; a device on the way may alter TLS";
const STRICT: &str = "it found an error in our messages; a device on the way may alter TLS";

const ROWS: [Row; 36] = [
    Row(0, "close_notify", "it gave up", "it gave up"),
    Row(10, "unexpected_message", STRICT, STRICT),
    Row(20, "bad_record_mac", TAMPERED, TAMPERED),
    Row(21, "decryption_failed", TAMPERED, TAMPERED),
    Row(22, "record_overflow", STRICT, STRICT),
    Row(30, "decompression_failure", STRICT, STRICT),
    Row(
        40,
        "handshake_failure",
        "no cipher suite, group or signature algorithm is common to both",
        "no cipher suite, group or signature algorithm is common to both, or it demands a \
         certificate (cert in [backend.tls])",
    ),
    Row(
        41,
        "no_certificate",
        "it has no certificate",
        "it demands a certificate (cert in [backend.tls])",
    ),
    Row(
        42,
        "bad_certificate",
        "it does not accept the listener's certificate: the name is another, or an intermediate \
         certificate is missing in certificates",
        "it does not accept our certificate (cert in [backend.tls])",
    ),
    Row(
        43,
        "unsupported_certificate",
        "it cannot use the listener's certificate: its kind of key, or its extended key usage",
        "it cannot use our certificate: its kind of key, or its extended key usage (clientAuth)",
    ),
    Row(
        44,
        "certificate_revoked",
        "the listener's certificate is revoked",
        "our certificate (cert in [backend.tls]) is revoked",
    ),
    Row(
        45,
        "certificate_expired",
        "by its clock the listener's certificate has expired or is not valid yet",
        "our certificate (cert in [backend.tls]) has expired or is not valid yet",
    ),
    Row(
        46,
        "certificate_unknown",
        "it does not accept the listener's certificate: it does not trust the issuer, the name is \
         another, or an intermediate certificate is missing in certificates",
        "it does not accept our certificate (cert in [backend.tls])",
    ),
    Row(47, "illegal_parameter", STRICT, STRICT),
    Row(
        48,
        "unknown_ca",
        "it does not trust the issuer of the listener's certificate, or an intermediate certificate \
         is missing in certificates",
        "it does not trust the issuer of our certificate (cert in [backend.tls])",
    ),
    Row(
        49,
        "access_denied",
        "it may not connect",
        "it knows our certificate (cert in [backend.tls]) and does not admit it",
    ),
    Row(50, "decode_error", STRICT, STRICT),
    Row(
        51,
        "decrypt_error",
        "a signature of ours does not verify: the client trusts an old certificate of the same name, \
         or a device on the way alters TLS",
        "a signature of ours does not verify: the server trusts an old certificate of the same name, \
         or a device on the way alters TLS",
    ),
    Row(
        60,
        "export_restriction",
        "it negotiates an export cipher",
        "it negotiates an export cipher",
    ),
    Row(
        70,
        "protocol_version",
        "it accepts no version of TLS that min_version in [listener.tls] allows",
        "it speaks TLS 1.1 at most, or no version that min_version in [backend.tls] allows",
    ),
    Row(
        71,
        "insufficient_security",
        "it demands stronger ciphers or keys",
        "it demands stronger ciphers or keys",
    ),
    Row(
        80,
        "internal_error",
        "it reports an error of its own; its log says more",
        "it reports an error of its own; its log says more",
    ),
    Row(
        86,
        "inappropriate_fallback",
        "it came again with a lower version without need",
        "it speaks a higher version than was offered",
    ),
    Row(90, "user_canceled", "its user gave up", "it gave up"),
    Row(
        100,
        "no_renegotiation",
        "it does not renegotiate",
        "it does not renegotiate",
    ),
    Row(109, "missing_extension", STRICT, STRICT),
    Row(110, "unsupported_extension", STRICT, STRICT),
    Row(
        111,
        "certificate_unobtainable",
        "it found no certificate at an address",
        "it found no certificate at an address",
    ),
    Row(
        112,
        "unrecognized_name",
        "it does not know the name",
        NAME_UNKNOWN,
    ),
    Row(
        113,
        "bad_certificate_status_response",
        "it demands an OCSP answer, which longsplice does not send",
        "it does not accept an OCSP answer",
    ),
    Row(
        114,
        "bad_certificate_hash_value",
        "a certificate has another hash",
        "a certificate has another hash",
    ),
    Row(
        115,
        "unknown_psk_identity",
        "it knows no session to resume",
        "it demands a pre-shared key, which longsplice has not",
    ),
    Row(
        116,
        "certificate_required",
        "it demands a certificate",
        "it demands a certificate (cert in [backend.tls])",
    ),
    Row(
        119,
        "too_many_cids_requested",
        "it objects to connection IDs",
        "it objects to connection IDs",
    ),
    Row(120, "no_application_protocol", NO_PROTOCOL, NO_PROTOCOL),
    Row(
        121,
        "ech_required",
        "it demands an encrypted ClientHello, which longsplice does not offer",
        "it demands an encrypted ClientHello, which longsplice does not offer",
    ),
];

/// Returns the RFC's name of an alert.
#[must_use]
pub fn name(number: u8) -> Option<&'static str> {
    let row = ROWS.iter().find(|row| row.0 == number)?;
    Some(row.1)
}

/// Describes the alert with which `peer` refused.
#[must_use]
pub fn told(number: u8, peer: OtherEnd) -> String {
    let who = peer.name();
    let Some(Row(_, name, of_client, of_server)) = ROWS.iter().find(|row| row.0 == number) else {
        return format!("{who} refused with the alert {number}, which has no name");
    };
    let why = match peer {
        OtherEnd::Client => of_client,
        OtherEnd::Server => of_server,
    };
    format!("{who} refused with the alert {name} ({number}): {why}")
}
