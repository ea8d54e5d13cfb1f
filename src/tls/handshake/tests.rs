//! Handshakes with rustls's own client, its bytes cut at every place.

use super::*;
use crate::tls::control::Content;
use crate::tls::record::whole_record;
use crate::tls::testing::{Peer, offer, server};
use crate::tls::words;

/// Runs a handshake in which the client's bytes come in pieces of `piece` bytes.
fn open(
    peer: &mut Peer,
    config: &Arc<ServerConfig>,
    piece: usize,
) -> Result<Established, HandshakeFailure> {
    let mut handshake = Handshake::new(Arc::clone(config), Vec::new())?;
    loop {
        let bytes = peer.take_bytes();
        let mut pieces = bytes.chunks(piece);
        loop {
            let done = handshake.advance();
            peer.give_bytes(&handshake.take_outbox());
            if done? {
                for piece in pieces {
                    handshake.inbox().extend_from_slice(piece);
                }
                return handshake.finish();
            }
            let Some(piece) = pieces.next() else { break };
            handshake.inbox().extend_from_slice(piece);
        }
        assert!(!bytes.is_empty(), "nobody says anything");
    }
}

#[test]
fn pieces_of_any_size_make_a_session() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = server(offer());
        for piece in [1, 2, 5, 77, 300, 100_000] {
            let mut peer = Peer::new(version, "localhost");
            let established = open(&mut peer, &config, piece).unwrap();
            assert_eq!(established.terms.server_name.as_deref(), Some("localhost"));
            assert!(established.received.is_empty());
            assert!(!established.terms.resumed);
        }
    }
}

#[test]
fn data_behind_finished_is_left_to_the_session() {
    let config = server(offer());
    let mut peer = Peer::new(&rustls::version::TLS13, "localhost");
    let mut handshake = Handshake::new(Arc::clone(&config), peer.take_bytes()).unwrap();
    assert_eq!(handshake.advance(), Ok(false));
    peer.give_bytes(&handshake.take_outbox());
    peer.say(b"early");
    handshake.inbox().extend(peer.take_bytes());
    assert_eq!(handshake.advance(), Ok(true));
    let mut established = handshake.finish().unwrap();
    let len = whole_record(&established.received).unwrap();
    assert_eq!(len, Some(established.received.len()));
    let Ok(Content::Data(place)) = established.session.open(&mut established.received) else {
        panic!("no data");
    };
    assert_eq!(&established.received[place], b"early");
}

#[test]
fn tickets_resume_in_both_versions() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = server(offer());
        let mut peer = Peer::new(version, "localhost");
        assert!(!open(&mut peer, &config, 1000).unwrap().terms.resumed);
        peer.reconnect();
        assert!(
            open(&mut peer, &config, 1000).unwrap().terms.resumed,
            "{version:?}"
        );
    }
}

#[test]
fn what_is_no_tls_gets_an_alert_in_the_clear() {
    let config = server(offer());
    for (text, spoken) in [
        (&b"GET / HTTP/1.1\r\n"[..], Spoken::Http),
        (b"PRI * HTTP/2.0\r\n", Spoken::Http),
        (b"EHLO me\r\n", Spoken::Text),
        (b"\x80\x2e\x01\x03\x01\0\x15", Spoken::OldTls),
        (b"\x16\x03\x01\xff\xff", Spoken::Unknown),
        (b"\0\0", Spoken::Unknown),
    ] {
        let mut handshake = Handshake::new(Arc::clone(&config), text.to_vec()).unwrap();
        assert_eq!(handshake.advance(), Err(HandshakeFailure::NotTls(spoken)));
        assert_eq!(handshake.take_outbox(), [21, 3, 3, 0, 2, 2, 10]);
    }
}

#[test]
fn a_hello_of_old_gets_alert_70() {
    // As OpenSSL sends it: TLS 1.1 without signature algorithms.
    let mut hello = vec![1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut record = vec![22, 3, 1, 0, 45];
    record.extend(&hello);
    for pieces in [1, 7, record.len()] {
        let mut handshake = Handshake::new(server(offer()), Vec::new()).unwrap();
        let mut last = Ok(false);
        for piece in record.chunks(pieces) {
            assert_eq!(last, Ok(false));
            handshake.inbox().extend_from_slice(piece);
            last = handshake.advance();
        }
        let failure = last.unwrap_err();
        assert_eq!(handshake.take_outbox(), [21, 3, 3, 0, 2, 2, 70]);
        let said = words::told(&failure, words::OtherEnd::Client);
        assert!(
            said.starts_with("the client speaks TLS 1.1 at most, "),
            "{said}"
        );
    }
}

#[test]
fn a_hello_that_is_none_gets_the_librarys_alert() {
    let config = server(offer());
    let text = [22, 3, 1, 0, 4, 1, 0, 0, 0].to_vec();
    let mut handshake = Handshake::new(config, text).unwrap();
    assert!(matches!(
        handshake.advance(),
        Err(HandshakeFailure::Refused(_))
    ));
    let alert = handshake.take_outbox();
    assert_eq!(alert.first(), Some(&21), "{alert:?}");
}

#[test]
fn a_peer_that_never_finishes_is_stopped() {
    let config = server(offer());
    // Fragments of one byte of an endless hello.
    let mut handshake = Handshake::new(config, Vec::new()).unwrap();
    handshake.inbox().extend([22, 3, 1, 0, 4, 1, 0, 0xff, 0xff]);
    for _ in 0..RECORDS_MAX {
        handshake.inbox().extend([22, 3, 1, 0, 1, 3]);
    }
    assert_eq!(handshake.advance(), Err(HandshakeFailure::TooMany));
}

#[test]
fn refusals_of_a_peer_are_told() {
    let config = server(Offer {
        only_tls13: true,
        ..offer()
    });
    let mut peer = Peer::new(&rustls::version::TLS12, "localhost");
    assert!(matches!(
        open(&mut peer, &config, 1000),
        Err(HandshakeFailure::Refused(_))
    ));
}

use crate::tls::identity::Offer;
