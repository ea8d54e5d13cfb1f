//! What holds for the messages that a server of TLS 1.3 sends behind the handshake, tickets above all,
//! whatever it sends: shared by the corpus test and the fuzz target.
//!
//! An input is what a server that has the keys seals: pieces, each of a length (2 bytes) and as many
//! bytes of handshake messages, one record for each piece. The last piece is what is left.

use longsplice::tls::control::{CONTROL_RECORDS_MAX, Content, Fault, Session, sealed_len_max};

#[path = "ticket_peer.rs"]
mod peer;

use peer::Server;

const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
const NEW_SESSION_TICKET: u8 = 4;
/// Longest message that is put together from its records.
const TICKET_LEN_MAX: usize = 1 << 16;

/// Panics if a promise is broken.
pub(crate) fn check(bytes: &[u8]) {
    let pieces = pieces(bytes);
    let (mut server, mut session) = Server::open();
    let mut begun = Vec::new();
    for (count, piece) in (1_u8..).zip(&pieces) {
        begun.extend_from_slice(piece);
        let opened = open(&mut server, &mut session, HANDSHAKE, piece);
        if piece.is_empty() || count > CONTROL_RECORDS_MAX {
            assert!(opened.is_err(), "{opened:?} for too many, or an empty one");
            return;
        }
        match read(&mut begun) {
            Read::Tickets => {
                // What rustls makes of the inside of a ticket is its own business.
                if opened.is_err() {
                    let unread = Err(Fault::Message("a ticket that cannot be read"));
                    assert_eq!(opened, unread);
                    return;
                }
                assert_eq!(opened, Ok(Content::Nothing));
            }
            Read::KeyUpdate { asks } => {
                if opened.is_err() {
                    let unread = Err(Fault::Message("a ticket that cannot be read"));
                    assert_eq!(opened, unread);
                    return;
                }
                assert!(session.owes_key_update() || !asks);
                server.update_sends();
            }
            Read::Wrong => {
                assert!(opened.is_err(), "{opened:?} for {begun:?}");
                return;
            }
        }
    }
    // Nothing of what came has to do with the data behind it.
    let mut record = server.sends.seal(DATA, b"data\x17");
    let Ok(Content::Data(place)) = session.open(&mut record) else {
        panic!("no data behind {pieces:?}");
    };
    assert_eq!(&record[place], b"data");
    seal(&mut server, &mut session);
}

/// Cuts an input into its pieces.
fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    /// As much as a record carries.
    const LEN_MAX: usize = 1 << 14;

    let mut pieces = Vec::new();
    while let [a, b, rest @ ..] = bytes {
        let len = usize::from(u16::from_be_bytes([*a, *b]));
        let (piece, behind) = rest.split_at(len.min(rest.len()).min(LEN_MAX));
        pieces.push(piece);
        bytes = behind;
    }
    pieces
}

fn open(
    server: &mut Server,
    session: &mut Session,
    kind: u8,
    payload: &[u8],
) -> Result<Content, Fault> {
    let mut text = payload.to_vec();
    text.push(kind);
    session.open(&mut server.sends.seal(kind, &text))
}

/// What whole messages say that came so far.
enum Read {
    /// Tickets, and perhaps the beginning of another one, which is left.
    Tickets,
    /// Tickets, and a KeyUpdate as the last message of the record.
    KeyUpdate { asks: bool },
    /// What no server may say, or what is too long.
    Wrong,
}

/// Reads messages as RFC 8446 section 4 says and takes those away that are whole.
fn read(messages: &mut Vec<u8>) -> Read {
    loop {
        match &messages[..] {
            [] | [NEW_SESSION_TICKET] | [NEW_SESSION_TICKET, _] | [NEW_SESSION_TICKET, _, _] => {
                return Read::Tickets;
            }
            [NEW_SESSION_TICKET, a, b, c, body @ ..] => {
                let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                if len > TICKET_LEN_MAX {
                    return Read::Wrong;
                }
                if body.len() < len {
                    return Read::Tickets;
                }
                messages.drain(..4 + len);
            }
            [24, 0, 0, 1, asks @ (0 | 1)] => {
                let asks = *asks == 1;
                messages.clear();
                return Read::KeyUpdate { asks };
            }
            _ => return Read::Wrong,
        }
    }
}

/// Has the session seal data, under new keys where it owes them.
fn seal(server: &mut Server, session: &mut Session) {
    let mut out = vec![0; sealed_len_max(4)];
    let owed = session.owes_key_update();
    let len = session.seal(b"back", &mut out).expect("keys");
    let mut rest = &out[..len];
    if owed {
        let len = 5 + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
        let (update, behind) = rest.split_at(len);
        let (kind, message) = server.receives.open(update);
        assert_eq!((kind, &message[..]), (HANDSHAKE, &[24, 0, 0, 1, 0][..]));
        server.update_receives();
        rest = behind;
    }
    assert_eq!(server.receives.open(rest), (DATA, b"back".to_vec()));
}
