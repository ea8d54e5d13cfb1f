//! Which client's certificate was refused, for the log. Why it was refused is [`super::verifier`]'s matter.

use std::cell::RefCell;
use std::fmt::Write as _;

use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::{Decode, Encode};

use super::name;

/// Longest text of a subject in a line of the log, in bytes.
const SUBJECT_LEN_MAX: usize = 200;
/// Most bytes of a serial number in a line of the log; RFC 5280 section 4.1.2.2 allows 20.
const SERIAL_LEN_MAX: usize = 32;

/// A client's certificate that was refused, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCertificate {
    /// The subject in printable ASCII; empty if it has none.
    pub subject: String,
    /// The serial number, hexadecimal.
    pub serial: String,
}

impl RefusedCertificate {
    fn of(certificate: &[u8]) -> Self {
        let read = CertificateInner::<Raw>::from_der(certificate).ok();
        let body = read.as_ref().map(CertificateInner::tbs_certificate);
        let subject = body.and_then(|body| body.subject().to_der().ok());
        let mut subject = subject.and_then(|der| name::text(&der)).unwrap_or_default();
        if subject.len() > SUBJECT_LEN_MAX {
            subject.truncate(SUBJECT_LEN_MAX);
            subject.push_str("...");
        }
        let serial = body.map_or(&[][..], |body| body.serial_number().as_bytes());
        let mut hex = String::new();
        // The first zero only keeps a number positive; OpenSSL does not show it either.
        let serial = match serial {
            [0, rest @ ..] if !rest.is_empty() => rest,
            serial => serial,
        };
        for byte in serial.iter().take(SERIAL_LEN_MAX) {
            // Writing into a string does not fail.
            let _ = write!(hex, "{byte:02X}");
        }
        Self {
            subject,
            serial: hex,
        }
    }
}

thread_local! {
    /// The last certificate that was refused on this thread. rustls calls the verifier while it is given
    /// records, and its errors have no place for more than the reason.
    static REFUSED: RefCell<Option<RefusedCertificate>> = const { RefCell::new(None) };
}

/// Notes that a certificate is refused, until [`take_refused`] asks on the same thread.
pub(super) fn note(certificate: &[u8]) {
    REFUSED.set(Some(RefusedCertificate::of(certificate)));
}

/// Takes the certificate that was refused while records were given to rustls on this thread.
pub(super) fn take_refused() -> Option<RefusedCertificate> {
    REFUSED.take()
}
