//! Reading a head off a socket: until it is whole, or breaks a rule already.

use std::io;

use super::refusal::Refusal;
use super::socket::Socket;

/// Bytes asked for at once.
pub(super) const READ_LEN_BYTES: usize = 4096;

/// Why there is no whole head.
#[derive(Debug)]
pub(super) enum HeadError {
    /// What came breaks a rule.
    Refused(Refusal),
    /// The other end closed before the head was whole.
    Closed,
    /// The connection broke.
    Failed(io::Error),
}

/// Reads until `inbox` holds the end of a head; what follows it may be in there too.
///
/// `check` is asked about incomplete heads, but only when a line has come to its end or the inbox
/// is longer than `len_checked` bytes: a sender that drips single bytes must not cost more than one
/// that does not.
///
/// # Errors
/// A [`HeadError`]; `inbox` holds what came.
pub(super) async fn read_head(
    socket: &Socket,
    inbox: &mut Vec<u8>,
    len_checked: usize,
    check: impl Fn(&[u8]) -> Result<(), Refusal>,
) -> Result<(), HeadError> {
    let mut seen = 0;
    loop {
        // The end may lie across what is old and what is new.
        let from = usize::saturating_sub(seen, 3);
        let news = inbox.get(from..).unwrap_or_default();
        if news.windows(4).any(|window| window == b"\r\n\r\n") {
            return Ok(());
        }
        let line_ended = inbox.get(seen..).is_some_and(|news| news.contains(&b'\n'));
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
