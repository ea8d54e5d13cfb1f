//! Sessions against rustls's own client: data, KeyUpdates both ways, ends, and floods.

use super::*;
use crate::tls::record::whole_record;
use crate::tls::testing::{Peer, offer, read, seal, server};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

fn opened(version: &'static SupportedProtocolVersion) -> (Peer, Session) {
    let mut peer = Peer::new(version, "localhost");
    let session = peer.open(&server(offer())).session;
    (peer, session)
}

#[test]
fn data_goes_both_ways_and_at_rest_nothing_is_lost() {
    for version in [&TLS12, &TLS13] {
        let (mut peer, mut session) = opened(version);
        for len in [1, 1000, 16_384, 16_385, 60_000] {
            let text = vec![b'x'; len];
            let sealed = seal(&mut session, &text);
            assert!(sealed.len() <= sealed_len_max(len));
            peer.give_bytes(&sealed);
            assert_eq!(peer.hear(), text);
            session.rest();
            peer.say(&text);
            let (data, _) = read(&mut session, &mut peer.take_bytes());
            assert_eq!(data, text);
        }
    }
}

#[test]
fn key_updates_go_both_ways() {
    let (mut peer, mut session) = opened(&TLS13);
    for round in 0..5 {
        peer.say(b"before");
        peer.connection.refresh_traffic_keys().unwrap();
        peer.say(b"after");
        let (data, last) = read(&mut session, &mut peer.take_bytes());
        assert_eq!(
            (&*data, last),
            (&b"beforeafter"[..], Ok(Content::Data(5..10)))
        );
        assert!(session.owes_key_update(), "round {round}");
        let mut out = [0; 100];
        let len = session.seal_key_update(&mut out).unwrap();
        let answer = [&out[..len], &seal(&mut session, b"new keys")].concat();
        peer.give_bytes(&answer);
        assert_eq!(peer.hear(), b"new keys");
    }
}

/// A session and a sealer for its client's records, to send what rustls's client never sends.
fn mirrored(version: &'static SupportedProtocolVersion) -> (Sealer, Session) {
    let (mut peer, session) = opened(version);
    // The sequence number counts everything sent so far.
    drop(peer.take_bytes());
    let secrets = peer.connection.dangerous_extract_secrets().unwrap();
    let version = if version == &TLS13 {
        RecordVersion::Tls13
    } else {
        RecordVersion::Tls12
    };
    let keys = Keys::new(version, secrets.tx.0, &secrets.tx.1).unwrap();
    (Sealer::new(keys), session)
}

fn record(sealer: &mut Sealer, kind: ContentType, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; payload.len() + OVERHEAD_LEN_MAX];
    let len = sealer.seal(kind, payload, &mut out).unwrap();
    out.truncate(len);
    out
}

#[test]
fn a_key_update_that_asks_is_owed_once() {
    let (mut sealer, mut session) = mirrored(&TLS13);
    let mut update = record(&mut sealer, ContentType::Handshake, &[24, 0, 0, 1, 1]);
    assert_eq!(session.open(&mut update), Ok(Content::Nothing));
    assert!(session.owes_key_update());
    seal(&mut session, b"x");
    assert!(!session.owes_key_update());
}

#[test]
fn control_records_mean_what_they_should() {
    use ContentType::{Alert as A, Data, Handshake as H};
    let unexpected = || Err(Fault::Record(RecordError::UnexpectedType));
    let rows: [(_, _, &[u8], Result<Content, Fault>); 24] = [
        (&TLS13, A, &[1, 0], Ok(Content::CloseNotify)),
        (&TLS12, A, &[1, 0], Ok(Content::CloseNotify)),
        (&TLS13, A, &[1, 90], Ok(Content::Nothing)),
        (&TLS12, A, &[1, 41], Ok(Content::Nothing)),
        (&TLS13, A, &[1, 41], Err(Fault::PeerAlert(41))),
        (&TLS13, A, &[2, 20], Err(Fault::PeerAlert(20))),
        (
            &TLS13,
            A,
            &[2],
            Err(Fault::Message("an alert of a wrong length")),
        ),
        (
            &TLS13,
            H,
            &[24, 0, 0, 1, 7],
            Err(Fault::Value("a KeyUpdate that asks for something unknown")),
        ),
        (
            &TLS13,
            H,
            &[24, 0, 0, 2, 0, 0],
            Err(Fault::Message("a KeyUpdate of a wrong length")),
        ),
        (&TLS13, H, &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0], unexpected()),
        (&TLS13, H, &[24, 0, 0], unexpected()),
        (&TLS13, H, &[], unexpected()),
        (&TLS13, A, &[], unexpected()),
        (&TLS12, A, &[], unexpected()),
        (&TLS13, H, &[1, 0, 0, 0], unexpected()),
        (&TLS12, H, &[1, 0, 0, 0], Ok(Content::Nothing)),
        (&TLS12, H, &[1, 0, 0, 2, 3, 3], Ok(Content::Nothing)),
        (&TLS12, H, &[1, 0, 0, 1, 3, 3], unexpected()),
        (
            &TLS12,
            H,
            &[1, 1, 0, 0],
            Err(Fault::Message("a hello that is too long")),
        ),
        (
            &TLS12,
            H,
            &[1, 0, 0],
            Err(Fault::Message("a message without its length")),
        ),
        // A HelloRequest and a Finished.
        (&TLS12, H, &[0, 0, 0, 0], unexpected()),
        (&TLS12, H, &[20, 0, 0, 0], unexpected()),
        (&TLS12, H, &[], unexpected()),
        (&TLS12, Data, &[], Ok(Content::Nothing)),
    ];
    for (version, kind, payload, expected) in rows {
        let (mut sealer, mut session) = mirrored(version);
        let mut bytes = record(&mut sealer, kind, payload);
        assert_eq!(
            session.open(&mut bytes),
            expected,
            "{version:?} {kind:?} {payload:?}"
        );
    }
}

#[test]
fn some_empty_records_pass_and_a_flood_does_not() {
    for version in [&TLS12, &TLS13] {
        let (mut sealer, mut session) = mirrored(version);
        for _ in 0..2 {
            for _ in 0..EMPTY_RECORDS_MAX {
                let mut empty = record(&mut sealer, ContentType::Data, b"");
                assert_eq!(session.open(&mut empty), Ok(Content::Nothing));
            }
            let mut data = record(&mut sealer, ContentType::Data, b"x");
            assert!(matches!(session.open(&mut data), Ok(Content::Data(_))));
        }
        for _ in 0..EMPTY_RECORDS_MAX {
            let mut empty = record(&mut sealer, ContentType::Data, b"");
            assert_eq!(session.open(&mut empty), Ok(Content::Nothing));
        }
        let mut empty = record(&mut sealer, ContentType::Data, b"");
        assert_eq!(session.open(&mut empty), Err(Fault::Flood));
    }
}

#[test]
fn warnings_are_rate_limited() {
    let (mut sealer, mut session) = mirrored(&TLS13);
    for nth in 0..=CONTROL_RECORDS_MAX {
        let mut warning = record(&mut sealer, ContentType::Alert, &[1, 90]);
        let expected = if nth < CONTROL_RECORDS_MAX {
            Ok(Content::Nothing)
        } else {
            Err(Fault::Flood)
        };
        assert_eq!(session.open(&mut warning), expected, "{nth}");
    }
}

#[test]
fn key_updates_are_rate_limited() {
    let (mut peer, mut session) = opened(&TLS13);
    for _ in 0..=CONTROL_RECORDS_MAX {
        peer.connection.refresh_traffic_keys().unwrap();
    }
    let (_, last) = read(&mut session, &mut peer.take_bytes());
    assert_eq!(last, Err(Fault::Flood));
}

#[test]
fn the_peer_understands_our_ends() {
    for version in [&TLS12, &TLS13] {
        let (mut peer, mut session) = opened(version);
        let mut out = [0; 100];
        let len = session.seal_alert(Alert::CloseNotify, &mut out).unwrap();
        peer.give_bytes(&out[..len]);
        let state = peer.connection.process_new_packets().unwrap();
        assert!(state.peer_has_closed());
        let (mut peer, mut session) = opened(version);
        let len = session.seal_alert(Alert::BadRecordMac, &mut out).unwrap();
        peer.give_bytes(&out[..len]);
        let error = peer.connection.process_new_packets().unwrap_err();
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
    }
}

#[test]
fn keys_that_are_nearly_used_up_are_changed_where_that_is_possible() {
    let (mut peer, mut session) = opened(&TLS13);
    session
        .sealer
        .as_mut()
        .unwrap()
        .skip_to_last(RECORDS_LEFT_TO_UPDATE);
    // The peer cannot follow the jump; what counts is that a KeyUpdate came first and the number
    // began again.
    let sealed = seal(&mut session, b"x");
    let first = whole_record(&sealed).unwrap();
    assert!(first.is_some_and(|len| len < sealed.len()), "no KeyUpdate");
    assert!(session.sealer.as_ref().unwrap().records_left() > RECORDS_LEFT_TO_UPDATE);
    drop(peer.take_bytes());
    let (_, mut session) = opened(&TLS12);
    session.sealer.as_mut().unwrap().skip_to_last(1);
    seal(&mut session, b"x");
    let mut out = [0; 100];
    assert_eq!(session.seal(b"x", &mut out), Err(Fault::KeysUsedUp));
}

#[test]
fn alerts_are_those_that_the_standards_name() {
    let rows = [
        (Fault::Record(RecordError::BadMac), Some([2, 20])),
        (Fault::Record(RecordError::TooLong), Some([2, 22])),
        (Fault::Record(RecordError::UnexpectedType), Some([2, 10])),
        (Fault::Record(RecordError::NotTls), Some([2, 50])),
        (Fault::Message("x"), Some([2, 50])),
        (Fault::Value("x"), Some([2, 47])),
        (Fault::Flood, Some([2, 10])),
        (Fault::KeysUsedUp, Some([2, 80])),
        (Fault::PeerAlert(42), None),
        (Fault::ServerRefused(42), None),
        (Fault::Ended, None),
    ];
    for (fault, alert) in rows {
        assert_eq!(fault.alert().map(Alert::payload), alert, "{fault:?}");
    }
    assert_eq!(Alert::NoRenegotiation.payload(), [1, 100]);
    let words = "the server refused with the alert certificate_expired";
    assert_eq!(Fault::ServerRefused(45).to_string(), words);
}

#[test]
fn nothing_is_sealed_behind_a_fatal_alert() {
    let mut out = [0; 100];
    for version in [&TLS12, &TLS13] {
        let (_, mut session) = opened(version);
        session.seal_alert(Alert::BadRecordMac, &mut out).unwrap();
        assert_eq!(session.seal(b"x", &mut out), Err(Fault::Ended));
        let closing = session.seal_alert(Alert::CloseNotify, &mut out);
        assert_eq!(closing, Err(Fault::Ended));
        let (mut sealer, mut session) = mirrored(version);
        let mut alert = record(&mut sealer, ContentType::Alert, &[2, 80]);
        assert_eq!(session.open(&mut alert), Err(Fault::PeerAlert(80)));
        let closing = session.seal_alert(Alert::CloseNotify, &mut out);
        assert_eq!(closing, Err(Fault::Ended));
        // A warning ends nothing.
        let (_, mut session) = opened(version);
        session
            .seal_alert(Alert::NoRenegotiation, &mut out)
            .unwrap();
        session.seal(b"x", &mut out).unwrap();
    }
}

#[test]
fn a_client_that_renegotiates_is_told_no_and_goes_on() {
    // A hello of 300 bytes, whole or in pieces, with data in between.
    let hello = [&[1, 0, 1, 44][..], &[7; 300]].concat();
    for cuts in [vec![], vec![4], vec![5, 150], vec![303]] {
        let (mut sealer, mut session) = mirrored(&TLS12);
        let mut from = 0;
        for to in cuts.iter().copied().chain([hello.len()]) {
            let mut piece = record(&mut sealer, ContentType::Handshake, &hello[from..to]);
            assert_eq!(session.open(&mut piece), Ok(Content::Nothing), "{cuts:?}");
            let mut data = record(&mut sealer, ContentType::Data, b"x");
            assert!(matches!(session.open(&mut data), Ok(Content::Data(_))));
            from = to;
        }
        assert!(session.owes_refusal());
        let mut out = [0; 200];
        session.seal(b"x", &mut out).unwrap();
        assert!(!session.owes_refusal());
        // Behind the hello another message begins.
        let mut wrong = record(&mut sealer, ContentType::Handshake, &[7]);
        let unexpected = Err(Fault::Record(RecordError::UnexpectedType));
        assert_eq!(session.open(&mut wrong), unexpected);
    }
}

#[test]
fn the_peer_gets_the_refusal_as_a_warning_in_front_of_the_data() {
    let (mut peer, mut session) = opened(&TLS12);
    session.set(OWES_REFUSAL, true);
    let sealed = seal(&mut session, b"data");
    let first = whole_record(&sealed).unwrap().unwrap();
    assert_eq!(sealed[0], ContentType::Alert as u8);
    assert!(first < sealed.len());
    // rustls takes the warning and the data behind it.
    peer.give_bytes(&sealed);
    assert_eq!(peer.hear(), b"data");
}

#[test]
fn wishes_for_another_handshake_are_rate_limited() {
    let (mut sealer, mut session) = mirrored(&TLS12);
    for nth in 0..=CONTROL_RECORDS_MAX {
        let mut hello = record(&mut sealer, ContentType::Handshake, &[1, 0, 0, 1, 3]);
        let expected = if nth < CONTROL_RECORDS_MAX {
            Ok(Content::Nothing)
        } else {
            Err(Fault::Flood)
        };
        assert_eq!(session.open(&mut hello), expected, "{nth}");
    }
    // Pieces count as records without data.
    let (mut sealer, mut session) = mirrored(&TLS12);
    let mut hello = record(&mut sealer, ContentType::Handshake, &[1, 0, 255, 0]);
    assert_eq!(session.open(&mut hello), Ok(Content::Nothing));
    let flooded = (0..=EMPTY_RECORDS_MAX).any(|_| {
        let mut piece = record(&mut sealer, ContentType::Handshake, &[0]);
        session.open(&mut piece) == Err(Fault::Flood)
    });
    assert!(flooded, "pieces for ever");
}
