//! Handshakes and sessions with rustls's own server.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

use super::*;
use crate::tls::control::{Content, Fault, Session};
use crate::tls::handshake::Established;
use crate::tls::identity::{Offer, identity, server_config, tickets};
use crate::tls::record::{ContentType, Keys, OVERHEAD_LEN_MAX, RecordError, RecordVersion, Sealer};
use crate::tls::testing::{ServerPeer, read, seal, server};
use crate::tls::verifier::ClientDemand;

/// A certificate authority and the certificates it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn roots(&self) -> Arc<Anchors> {
        ca(self.0.pem().as_bytes()).unwrap()
    }

    fn signed(&self, name: &str, until_year: i32) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(until_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        identity(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    fn server(&self, name: &str, only_tls13: bool) -> Arc<rustls::ServerConfig> {
        server(offer_of(self.signed(name, 2100), only_tls13))
    }
}

fn offer_of(identity: Identity, only_tls13: bool) -> Offer {
    Offer {
        identities: vec![identity],
        clients: None,
        only_tls13,
        http: true,
    }
}

fn demand(roots: Option<Arc<Anchors>>) -> Demand {
    Demand {
        roots,
        identity: None,
        only_tls13: false,
        http: true,
    }
}

/// A server of one version only.
fn only(version: &'static rustls::SupportedProtocolVersion) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(default_provider());
    let key = Authority::new("one").signed("localhost", 2100).key();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.ticketer = tickets().unwrap();
    Arc::new(config)
}

fn anybody() -> Arc<ClientConfig> {
    client_config(&demand(None)).unwrap()
}

#[test]
fn pieces_of_any_size_make_a_session_that_speaks_both_ways() {
    for version in [&TLS12, &TLS13] {
        let (config, ours) = (only(version), anybody());
        for piece in [1, 2, 5, 77, 300, 100_000] {
            let mut peer = ServerPeer::new(&config);
            let Established {
                mut session,
                mut received,
                terms,
            } = peer.open(&ours, "localhost", piece).unwrap();
            assert!(terms.client.is_none() && terms.server_name.is_none());
            // Session tickets: TLS 1.3 sends some after the handshake.
            let (data, last) = read(&mut session, &mut received);
            assert_eq!((&*data, last), (&b""[..], Ok(Content::Nothing)));
            peer.say(b"to the client");
            let (data, _) = read(&mut session, &mut peer.take_bytes());
            assert_eq!(data, b"to the client");
            peer.give_bytes(&seal(&mut session, b"to the server"));
            assert_eq!(peer.hear(), b"to the server");
            peer.connection.send_close_notify();
            let (_, last) = read(&mut session, &mut peer.take_bytes());
            assert_eq!(last, Ok(Content::CloseNotify));
        }
    }
}

#[test]
fn the_next_handshake_resumes() {
    for version in [&TLS12, &TLS13] {
        let (config, ours) = (only(version), anybody());
        for expected in [false, true, true] {
            let mut peer = ServerPeer::new(&config);
            let mut established = peer.open(&ours, "localhost", 1000).unwrap();
            assert_eq!(established.terms.resumed, expected, "{version:?}");
            let (_, last) = read(&mut established.session, &mut established.received);
            assert_eq!(last, Ok(Content::Nothing));
        }
    }
}

#[test]
fn key_updates_go_both_ways() {
    let mut peer = ServerPeer::new(&only(&TLS13));
    let opened = peer.open(&anybody(), "localhost", 1000).unwrap();
    let (mut session, mut received) = (opened.session, opened.received);
    read(&mut session, &mut received).1.unwrap();
    for round in 0..5 {
        peer.say(b"before");
        peer.connection.refresh_traffic_keys().unwrap();
        peer.say(b"after");
        let (data, last) = read(&mut session, &mut peer.take_bytes());
        assert_eq!(data, b"beforeafter", "{last:?}");
        assert!(session.owes_key_update(), "round {round}");
        peer.give_bytes(&seal(&mut session, b"new keys"));
        assert_eq!(peer.hear(), b"new keys");
    }
}

#[test]
fn a_server_that_cannot_be_believed_is_told_so_and_so_are_we() {
    let authority = Authority::new("one");
    let other = Authority::new("other");
    let expired = server(offer_of(authority.signed("localhost", 2020), false));
    let good = || authority.server("localhost", false);
    let rows = [
        (good(), authority.roots(), "localhost", None),
        (
            good(),
            other.roots(),
            "localhost",
            Some("the server's certificate comes from no issuer in ca; "),
        ),
        (
            good(),
            Authority::new("one").roots(),
            "localhost",
            Some(
                "the server's certificate has the name of an issuer in ca, but not its signature; ",
            ),
        ),
        (
            good(),
            authority.roots(),
            "example.com",
            Some("the server's certificate is not for example.com, but for localhost; "),
        ),
        (
            good(),
            authority.roots(),
            "127.0.0.1",
            Some("the server's certificate is not for 127.0.0.1, but for localhost; "),
        ),
        (
            expired,
            authority.roots(),
            "localhost",
            Some("the server's certificate has expired: it was valid until 2020-01-01T00:00:00Z; "),
        ),
        (
            authority.server("127.0.0.1", true),
            authority.roots(),
            "127.0.0.1",
            None,
        ),
    ];
    for (config, roots, name, expected) in rows {
        let ours = client_config(&demand(Some(roots))).unwrap();
        let mut peer = ServerPeer::new(&config);
        let came = peer.open(&ours, name, 1000);
        let said = came.err().map(|failure| told(&failure));
        let begins = said.as_deref().zip(expected);
        assert!(
            begins.map_or(said.as_deref() == expected, |(said, begin)| said
                .starts_with(begin)),
            "{said:?}"
        );
        if expected.is_some() {
            let alerted = peer.connection.process_new_packets();
            assert!(alerted.is_err(), "no alert: {alerted:?}");
        }
    }
}

#[test]
fn what_is_no_tls_and_what_refuses_is_told() {
    let rows: [(&[u8], &str); 5] = [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "the server does not speak TLS on this port, but plain HTTP; ",
        ),
        (
            &[21, 3, 3, 0, 2, 2, 40],
            "the server refused with the alert handshake_failure (40): ",
        ),
        (
            &[21, 3, 1, 0, 2, 2, 70],
            "the server refused with the alert protocol_version (70): it speaks TLS 1.1 at most",
        ),
        (
            b"SSH-2.0-x\r\n",
            "the server does not speak TLS on this port, but a protocol in plain text; ",
        ),
        (
            b"\0\0\0\0\0\0",
            "the server does not speak TLS on this port; ",
        ),
    ];
    for (answer, expected) in rows {
        let name = ServerName::try_from("localhost").unwrap();
        let mut handshake =
            super::super::handshake::Handshake::with_server(anybody(), name).unwrap();
        assert_eq!(handshake.advance(), Ok(false));
        assert_eq!(handshake.take_outbox().first(), Some(&22));
        handshake.inbox().extend_from_slice(answer);
        let failure = handshake.advance().unwrap_err();
        let said = told(&failure);
        assert!(said.starts_with(expected), "{said}");
        // What is heard before the end tells whether the port speaks TLS at all.
        assert_eq!(handshake.closed(), HandshakeFailure::Closed { heard: true });
    }
}

#[test]
fn a_server_that_answers_in_an_old_version_gets_alert_70() {
    let mut hello = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x13, 0]);
    let name = ServerName::try_from("localhost").unwrap();
    let mut handshake = super::super::handshake::Handshake::with_server(anybody(), name).unwrap();
    assert_eq!(handshake.advance(), Ok(false));
    assert_eq!(
        handshake.closed(),
        HandshakeFailure::Closed { heard: false }
    );
    let _ = handshake.take_outbox();
    handshake.inbox().extend(hello);
    let said = told(&handshake.advance().unwrap_err());
    let expected =
        "the server speaks TLS 1.1 at most, and longsplice TLS 1.2 and 1.3; update the server";
    assert!(said.starts_with(expected), "{said}");
    assert_eq!(handshake.take_outbox(), [21, 3, 3, 0, 2, 2, 70]);
}

#[test]
fn a_server_that_asks_gets_our_certificate() {
    let authority = Authority::new("one");
    let mut offer = offer_of(authority.signed("localhost", 2100), false);
    offer.clients = Some(ClientDemand {
        anchors: Anchors::clone(&authority.roots()),
        required: true,
        revocations: None,
    });
    let config = server_config(offer, tickets().unwrap()).unwrap();
    let mut demand = demand(Some(authority.roots()));
    for identity in [None, Some(authority.signed("us", 2100))] {
        let shown = identity.is_some();
        demand.identity = identity;
        let mut peer = ServerPeer::new(&config);
        let opened = peer.open(&client_config(&demand).unwrap(), "localhost", 1000);
        // TLS 1.3 reports it after our side of the handshake.
        let mut opened = opened.unwrap();
        let (_, last) = read(&mut opened.session, &mut opened.received);
        assert_eq!(last.is_ok(), shown, "{last:?}");
        assert_eq!(peer.connection.peer_certificates().is_some(), shown);
    }
}

#[test]
fn what_is_no_collection_of_certificates_is_refused() {
    let text = |wrong: Result<_, Wrong>| wrong.map(drop).unwrap_err().to_string();
    assert_eq!(text(ca(b"")), "holds no certificate (BEGIN CERTIFICATE)");
    let certificate = |body: &str| {
        let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        text.into_bytes()
    };
    assert!(text(ca(&certificate("AAAA"))).contains("BEGIN CERTIFICATE is damaged"));
    // A SEQUENCE, but no certificate.
    let none = certificate("MAMCAQc=");
    assert_eq!(text(store(&none)), "holds no certificate that can be used");
    // One that cannot be used is an error in an operator's file, and passed over in the system's.
    let both = [Authority::new("a").0.pem().into_bytes(), none].concat();
    assert_eq!(
        text(ca(&both)),
        "certificate 2 of the file is no valid X.509 (DER); it has to be issued anew"
    );
    assert_eq!(store(&both).unwrap().len(), 1);
}

/// A session with a server, and a sealer of records that come from that server.
fn mirrored(version: &'static rustls::SupportedProtocolVersion) -> (Sealer, Session) {
    let mut config = Arc::unwrap_or_clone(only(version));
    config.enable_secret_extraction = true;
    config.send_tls13_tickets = 0;
    let mut peer = ServerPeer::new(&Arc::new(config));
    let opened = peer.open(&anybody(), "localhost", 1000).unwrap();
    let secrets = peer.connection.dangerous_extract_secrets().unwrap();
    let version = RecordVersion::of(version.version).unwrap();
    let keys = Keys::new(version, secrets.tx.0, &secrets.tx.1).unwrap();
    (Sealer::new(keys), opened.session)
}

fn take(sealer: &mut Sealer, session: &mut Session, payload: &[u8]) -> Result<Content, Fault> {
    session.open(&mut record(sealer, ContentType::Handshake, payload))
}

fn record(sealer: &mut Sealer, kind: ContentType, payload: &[u8]) -> Vec<u8> {
    let mut record = vec![0; payload.len() + OVERHEAD_LEN_MAX];
    let len = sealer.seal(kind, payload, &mut record).unwrap();
    record.truncate(len);
    record
}

/// A NewSessionTicket (RFC 8446 section 4.6.1) with a ticket of `len` bytes.
fn ticket(len: u16) -> Vec<u8> {
    let mut body = vec![0, 0, 14, 16, 1, 2, 3, 4, 1, 9];
    body.extend(len.to_be_bytes());
    body.resize(body.len() + usize::from(len), b't');
    body.extend([0, 0]);
    let [_, head @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[4], &head[..], &body].concat()
}

#[test]
fn tickets_are_taken_in_whatever_records_they_come() {
    let one = ticket(100);
    let nothing = Ok(Content::Nothing);
    for at in 1..one.len() {
        let (mut sealer, mut session) = mirrored(&TLS13);
        let (head, tail) = one.split_at(at);
        assert_eq!(take(&mut sealer, &mut session, head), nothing, "{at}");
        assert_eq!(take(&mut sealer, &mut session, tail), nothing, "{at}");
        let two = [&*one, &*one].concat();
        assert_eq!(take(&mut sealer, &mut session, &two), nothing);
        let update = [&*one, &[24, 0, 0, 1, 1]].concat();
        assert_eq!(take(&mut sealer, &mut session, &update), nothing);
        assert!(session.owes_key_update());
    }
}

#[test]
fn messages_that_no_server_may_send_end_the_session() {
    let unexpected = || Err(Fault::Record(RecordError::UnexpectedType));
    let nothing = || Ok(Content::Nothing);
    let update = [24, 0, 0, 1, 0];
    let unknown = "a KeyUpdate that asks for something unknown";
    let rows: [(_, Vec<u8>, Result<Content, Fault>); 12] = [
        (&TLS13, update.to_vec(), nothing()),
        (&TLS13, vec![], unexpected()),
        (&TLS13, vec![24, 0, 0, 1, 2], Err(Fault::Value(unknown))),
        (&TLS13, [&update[..], &ticket(1)].concat(), unexpected()),
        (&TLS13, vec![13, 0, 0, 0], unexpected()),
        (&TLS13, vec![0, 0, 0, 0], unexpected()),
        (
            &TLS13,
            vec![4, 0, 0, 1, 0],
            Err(Fault::Message("a ticket that cannot be read")),
        ),
        (
            &TLS13,
            vec![4, 1, 0, 1],
            Err(Fault::Message("a ticket that is too long")),
        ),
        (&TLS12, vec![0, 0, 0, 0], nothing()),
        (
            &TLS12,
            vec![0, 0, 0, 1, 0],
            Err(Fault::Message("a HelloRequest that is not empty")),
        ),
        (&TLS12, vec![1, 0, 0, 0], unexpected()),
        (&TLS12, ticket(1), unexpected()),
    ];
    for (version, payload, expected) in rows {
        let (mut sealer, mut session) = mirrored(version);
        let came = take(&mut sealer, &mut session, &payload);
        assert_eq!(came, expected, "{payload:?}");
    }
    let (mut sealer, mut session) = mirrored(&TLS13);
    let floods = (0..100).any(|_| take(&mut sealer, &mut session, &ticket(1)) == Err(Fault::Flood));
    assert!(floods, "tickets for ever");
}

#[test]
fn an_alert_in_place_of_the_first_byte_is_a_refusal() {
    let alert = |sealer: &mut Sealer| record(sealer, ContentType::Alert, &[2, 45]);
    for version in [&TLS12, &TLS13] {
        let (mut sealer, mut session) = mirrored(version);
        let refused = Err(Fault::ServerRefused(45));
        assert_eq!(session.open(&mut alert(&mut sealer)), refused);
        let (mut sealer, mut session) = mirrored(version);
        let mut data = record(&mut sealer, ContentType::Data, b"x");
        assert!(matches!(session.open(&mut data), Ok(Content::Data(_))));
        let ended = Err(Fault::PeerAlert(45));
        assert_eq!(session.open(&mut alert(&mut sealer)), ended);
    }
}

#[test]
fn a_server_that_asks_for_another_handshake_is_told_no() {
    let (mut sealer, mut session) = mirrored(&TLS12);
    let asked = take(&mut sealer, &mut session, &[0, 0, 0, 0]);
    assert_eq!(
        (asked, session.owes_refusal()),
        (Ok(Content::Nothing), true)
    );
    let mut out = [0; 100];
    assert!(session.seal_refusal(&mut out).is_ok());
    assert!(!session.owes_refusal());
}
