//! Reads an HTTP head from a socket, until it is complete or breaks a rule.

use std::io;

use super::refusal::Refusal;
use super::socket::Socket;
use crate::proto::http::head::empty_lines_len;

/// Bytes asked for at once.
pub(super) const READ_LEN_BYTES: usize = 4096;

/// Why there is no complete head.
#[derive(Debug)]
pub(super) enum HeadError {
    /// The head breaks a rule.
    Refused(Refusal),
    /// The other end closed before the head was complete.
    Closed,
    /// The connection broke.
    Failed(io::Error),
}

/// Reads until `inbox` holds the end of a head, perhaps with bytes behind it. Empty lines before a head do not
/// end it; `check` refuses them where they are not allowed.
///
/// `check` examines incomplete heads, but only after the end of a line or when the inbox is longer than
/// `len_checked` bytes: a peer that sends single bytes must not cost more than another.
///
/// # Errors
/// A [`HeadError`]; `inbox` holds what was received.
pub(super) async fn read_head(
    socket: &Socket,
    inbox: &mut Vec<u8>,
    len_checked: usize,
    check: impl Fn(&[u8]) -> Result<(), Refusal>,
) -> Result<(), HeadError> {
    let mut seen = 0;
    loop {
        // The end may begin in the bytes that were there before.
        let from = usize::saturating_sub(seen, 3).max(empty_lines_len(inbox));
        let unseen = inbox.get(from..).unwrap_or_default();
        if unseen.windows(4).any(|window| window == b"\r\n\r\n") {
            return Ok(());
        }
        let line_ended = inbox
            .get(seen..)
            .is_some_and(|unseen| unseen.contains(&b'\n'));
        if !inbox.is_empty() && (line_ended || seen == 0 || inbox.len() >= len_checked) {
            check(inbox).map_err(HeadError::Refused)?;
        }
        seen = inbox.len();
        match socket.recv_onto(inbox, READ_LEN_BYTES).await {
            Ok(0) => return Err(HeadError::Closed),
            Ok(_) => {}
            Err(error) => return Err(HeadError::Failed(error)),
        }
    }
}
