//! Names of fields that we write ourselves, and names that a server may take for them.
//!
//! Gateways to CGI, FastCGI, WSGI and Rack make a variable of each field name: letters become upper case, and
//! `-` becomes `_`. Some replace every character that is no letter and no digit (Apache, PHP), and some read
//! the length of the body from that variable (uWSGI). A field whose name becomes the same variable as one of
//! ours is a lookalike. Lookalikes are dropped, whoever sends them: no honest program has a use for them.

/// Fields that this proxy writes or relies on.
const VOUCHED: [&str; 4] = [
    "Content-Length",
    "Transfer-Encoding",
    "X-Real-IP",
    X_CLIENT_SUBJECT,
];

/// The family of fields about the client that a peer forwards for.
const X_FORWARDED: &str = "X-Forwarded-";

/// The family of fields that open a WebSocket.
const SEC_WEBSOCKET: &str = "Sec-WebSocket-";

/// The subject of the client's certificate.
pub(super) const X_CLIENT_SUBJECT: &str = "X-Client-Subject";

/// The lines about the client that we write for every request; never forwarded from a peer.
const OURS: [&str; 5] = [
    "X-Forwarded-For",
    "X-Real-IP",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
];

/// Returns whether a field is one of the lines about the client that we write for every request.
pub(super) fn is_ours(name: &str) -> bool {
    OURS.iter().any(|one| name.eq_ignore_ascii_case(one))
}

/// Returns whether a field is about the client, so that only a trusted peer may send it.
pub(super) fn is_about_client(name: &str) -> bool {
    begins_with(name, X_FORWARDED)
        || ["X-Real-IP", "Forwarded", X_CLIENT_SUBJECT]
            .iter()
            .any(|one| name.eq_ignore_ascii_case(one))
}

/// Returns whether a field belongs to the opening of a WebSocket, or becomes the same variable as one that
/// does.
pub(super) fn is_of_websocket(name: &str) -> bool {
    folds_into_family(name, SEC_WEBSOCKET)
}

/// Returns whether a field becomes the same variable as one that we vouch for, without being that field.
pub(super) fn is_lookalike(name: &str) -> bool {
    let of_one = VOUCHED
        .iter()
        .any(|one| folds_alike(name, one) && !name.eq_ignore_ascii_case(one));
    of_one || (folds_into_family(name, X_FORWARDED) && !is_spelled_out(name))
}

/// Returns whether a name of the family of X-Forwarded-For has no other characters than letters, digits and
/// `-`, so that it can only be taken for itself.
fn is_spelled_out(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn begins_with(name: &str, family: &str) -> bool {
    name.get(..family.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(family))
}

fn folds_into_family(name: &str, family: &str) -> bool {
    name.get(..family.len())
        .is_some_and(|head| folds_alike(head, family))
}

/// Returns whether two names become the same variable.
fn folds_alike(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().map(fold).eq(other.bytes().map(fold))
}

/// Returns what a character of a name becomes in the name of a variable.
fn fold(byte: u8) -> u8 {
    match byte.is_ascii_alphanumeric() {
        true => byte.to_ascii_uppercase(),
        false => b'_',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_itself_or_a_lookalike() {
        // Name, ours, about the client, a lookalike.
        let rows = [
            ("X-Real-IP", true, true, false),
            ("x-real-ip", true, true, false),
            ("X.Real.IP", false, false, true),
            ("X_Real_IP", false, false, true),
            ("X-Real_IP", false, false, true),
            ("x|real`ip", false, false, true),
            ("XRealIP", false, false, false),
            ("X-Real-IP-", false, false, false),
            ("X-Real-I", false, false, false),
            ("X--Real-IP", false, false, false),
            ("X-Forwarded-For", true, true, false),
            ("X~Forwarded~For", false, false, true),
            ("X_Forwarded_For", false, false, true),
            ("X-Forwarded.For", false, false, true),
            ("X-Forwarded-Host", true, true, false),
            ("X-Forwarded_Host", false, false, true),
            ("X-Forwarded!Port", false, false, true),
            ("X-Forwarded-Prefix", false, true, false),
            ("X_Forwarded_Prefix", false, false, true),
            ("X-Forwarded-Client_Cert", false, true, true),
            ("X-Forwarded-", false, true, false),
            ("X-Forwarded", false, false, false),
            ("X-ForwardedFor", false, false, false),
            ("Forwarded", false, true, false),
            ("X-Client-Subject", false, true, false),
            ("X-CLIENT-SUBJECT", false, true, false),
            ("X_Client_Subject", false, false, true),
            ("X-Client'Subject", false, false, true),
            ("Content-Length", false, false, false),
            ("Content_Length", false, false, true),
            ("content.length", false, false, true),
            ("Transfer_Encoding", false, false, true),
            ("Transfer-Encoding", false, false, false),
            ("Content_Type", false, false, false),
            ("Sec_WebSocket_Key", false, false, false),
            ("", false, false, false),
        ];
        for (name, ours, about_client, lookalike) in rows {
            let expected = (ours, about_client, lookalike);
            let found = (is_ours(name), is_about_client(name), is_lookalike(name));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn every_character_of_a_token_folds_like_a_dash() {
        for byte in b"!#$%&'*+.^_`|~" {
            let name = format!("X{}Real-IP", char::from(*byte));
            assert!(is_lookalike(&name), "{name}");
            let name = format!("X-Forwarded{}Proto", char::from(*byte));
            assert!(is_lookalike(&name), "{name}");
        }
    }

    #[test]
    fn the_fields_of_a_websocket_are_a_family() {
        let rows = [
            ("Sec-WebSocket-Key", true),
            ("sec-websocket-extensions", true),
            ("Sec_WebSocket_Key", true),
            ("Sec.WebSocket.Protocol", true),
            ("Sec-WebSocket", false),
            ("Sec-Fetch-Mode", false),
        ];
        for (name, expected) in rows {
            assert_eq!(is_of_websocket(name), expected, "{name}");
        }
    }
}
