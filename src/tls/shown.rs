//! What is read of a client's certificate on each connection (RFC 5280 section 4.1): its subject and
//! its end. rustls has verified the certificate before, and nothing is allocated. Certificates that are
//! loaded are [`super::x509`]'s.

use super::der::Der;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The subject and the end of a certificate that a client showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shown<'a> {
    /// The distinguished name of the subject, in DER.
    pub(super) subject: &'a [u8],
    /// Until when, in seconds since 1970; none when it is not a time.
    pub(super) not_after: Option<i64>,
}

/// Reads a certificate in DER; none when it is not one.
pub(super) fn read(der: &[u8]) -> Option<Shown<'_>> {
    let mut certificate = Der(Der(der).enter(SEQUENCE)?);
    let mut body = Der(certificate.enter(SEQUENCE)?);
    if body.tag() == Some(VERSION) {
        body.next()?;
    }
    body.enter(INTEGER)?;
    // The algorithm and the issuer.
    body.enter(SEQUENCE)?;
    body.next()?;
    let mut validity = Der(body.enter(SEQUENCE)?);
    validity.next()?;
    let (tag, not_after) = validity.next()?;
    let subject = body.whole()?;
    // The public key.
    body.next()?;
    Some(Shown {
        subject,
        not_after: seconds_of(tag, not_after),
    })
}

/// Turns `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` into seconds since 1970.
pub(super) fn seconds_of(tag: u8, text: &[u8]) -> Option<i64> {
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
