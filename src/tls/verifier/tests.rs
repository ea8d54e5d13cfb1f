//! Handshakes whose certificates are anchors themselves, revoked, or missing; both versions of TLS.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use rustls::client::ResolvesClientCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::PrivateKeyDer;

use super::*;
use crate::tls::handshake::{Established, Handshake, HandshakeFailure};
use crate::tls::identity::{server_config, tickets};
use crate::tls::revocation::revocations;
use crate::tls::servers::{Demand, client_config};
use crate::tls::testing::{Peer, ServerPeer, authority, offer, revoking};
use crate::tls::words;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A certificate with its key.
struct Made {
    cert: Certificate,
    key: KeyPair,
}

/// The parameters of a certificate for `localhost`.
fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn self_signed(params: &CertificateParams) -> Made {
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    Made { cert, key }
}

/// A self-signed certificate as `openssl req -x509` makes it.
fn as_ca(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn signed(name: &str, serial: u64, by: &CertifiedIssuer<'static, KeyPair>) -> Made {
    let mut params = params(name);
    params.serial_number = Some(SerialNumber::from(serial));
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, by).unwrap();
    Made { cert, key }
}

impl Made {
    fn anchors(&self) -> Anchors {
        Anchors::new(vec![self.cert.der().clone()]).unwrap()
    }

    fn shown(&self) -> CertifiedKey {
        shown(&self.cert, &self.key)
    }
}

fn shown(cert: &Certificate, key: &KeyPair) -> CertifiedKey {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = default_provider().key_provider.load_private_key(key);
    CertifiedKey::new(vec![cert.der().clone()], key.unwrap())
}

/// A server that shows a certificate and signs with any key.
fn server_of(shown: CertifiedKey, version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    Arc::new(config)
}

/// Goes to a server that has to be `name`; returns what is wrong with it.
fn go(config: &Arc<ServerConfig>, anchors: Anchors, name: &'static str) -> Option<String> {
    let demand = Demand {
        roots: Some(Arc::new(anchors)),
        identity: None,
        only_tls13: false,
        http: false,
    };
    let ours = client_config(&demand).unwrap();
    let mut peer = ServerPeer::new(config);
    let failure = peer.open(&ours, name, 1000).err()?;
    Some(words::told(&failure, words::OtherEnd::Server))
}

#[test]
fn a_servers_certificate_that_is_in_ca_itself_is_believed() {
    let plain = self_signed(&params("plain"));
    let ca = self_signed(&as_ca("ca"));
    let mut old = as_ca("old");
    old.not_after = date_time_ymd(2020, 1, 1);
    let old = self_signed(&old);
    let mut early = as_ca("early");
    (early.not_before, early.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2099, 1, 1));
    let early = self_signed(&early);
    let mut other_use = as_ca("use");
    other_use.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let other_use = self_signed(&other_use);
    let mut own_use = as_ca("use");
    own_use.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let own_use = self_signed(&own_use);
    let authority = authority("authority");
    let leaf = signed("leaf", 1, &authority);
    let rows = [
        (&plain, plain.anchors(), "localhost", ""),
        (&ca, ca.anchors(), "localhost", ""),
        (&own_use, own_use.anchors(), "localhost", ""),
        // Not signed by itself, and its issuer is unknown.
        (
            &leaf,
            leaf.anchors(),
            "localhost",
            "comes from no issuer in ca;",
        ),
        (
            &ca,
            ca.anchors(),
            "other.example",
            "is not for other.example, but for localhost;",
        ),
        (
            &ca,
            ca.anchors(),
            "127.0.0.1",
            "is not for 127.0.0.1, but for localhost;",
        ),
        (
            &old,
            old.anchors(),
            "localhost",
            "has expired: it was valid until 2020-01-01T00:00:00Z;",
        ),
        (
            &early,
            early.anchors(),
            "localhost",
            "is not valid yet: it begins 2090-01-01T00:00:00Z;",
        ),
        (
            &other_use,
            other_use.anchors(),
            "localhost",
            "(clientAuth) lacks serverAuth;",
        ),
        // Not these very bytes.
        (
            &ca,
            self_signed(&as_ca("ca")).anchors(),
            "localhost",
            "is a CA certificate (CA:TRUE)",
        ),
        (
            &plain,
            ca.anchors(),
            "localhost",
            "comes from no issuer in ca;",
        ),
        (
            &leaf,
            plain.anchors(),
            "localhost",
            "comes from no issuer in ca;",
        ),
    ];
    for (made, anchors, name, expected) in rows {
        for version in VERSIONS {
            let said = go(&server_of(made.shown(), version), anchors.clone(), name);
            let said = said.unwrap_or_default();
            assert!(said.contains(expected), "{said} instead of {expected}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{said}");
        }
    }
}

#[test]
fn an_anchor_does_not_help_who_has_not_its_key() {
    let ca = self_signed(&as_ca("ca"));
    let thief = shown(&ca.cert, &KeyPair::generate().unwrap());
    for version in VERSIONS {
        let said = go(
            &server_of(thief.clone(), version),
            ca.anchors(),
            "localhost",
        );
        assert!(said.unwrap().contains("signature"));
    }
}

#[test]
fn what_an_anchor_that_is_no_ca_signs_is_refused() {
    // Its holder is trusted to be itself, not to name others.
    let mut holder = params("holder");
    holder.is_ca = IsCa::ExplicitNoCa;
    let mut mute = as_ca("holder");
    mute.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let rows = [&holder, &mute].into_iter();
    for (holder, version) in rows.flat_map(|holder| VERSIONS.map(|version| (holder, version))) {
        let key = KeyPair::generate().unwrap();
        let holder = CertifiedIssuer::self_signed(holder.clone(), key).unwrap();
        let forged = signed("forged", 7, &holder);
        let anchors = Anchors::new(vec![holder.der().clone()]).unwrap();
        let said = go(
            &server_of(forged.shown(), version),
            anchors.clone(),
            "localhost",
        );
        assert!(said.unwrap().contains("comes from no issuer in ca;"));
        let came = come(
            &demand(anchors.clone(), true, ""),
            Some(forged.shown()),
            version,
        );
        assert!(refusal(came).contains("comes from no issuer in client_ca;"));
    }
}

/// What clients are refused for, or the terms of those that pass.
fn come(
    demand: &ClientDemand,
    shown: Option<CertifiedKey>,
    version: &'static SupportedProtocolVersion,
) -> Result<Established, HandshakeFailure> {
    let mut offer = offer();
    offer.clients = Some(demand.clone());
    let config = server_config(offer, tickets().unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate::default()));
    let ours = match shown {
        Some(shown) => {
            let shown: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(shown));
            builder.with_client_cert_resolver(shown)
        }
        None => builder.with_no_client_auth(),
    };
    let mut peer = Peer::with_config(Arc::new(ours), "localhost");
    let mut handshake = Handshake::new(config, Vec::new()).unwrap();
    loop {
        handshake.inbox().extend(peer.take_bytes());
        let done = handshake.advance()?;
        peer.give_bytes(&handshake.take_outbox());
        if done {
            return handshake.finish();
        }
    }
}

fn refusal(came: Result<Established, HandshakeFailure>) -> String {
    let failure = came.err();
    failure.map_or_else(String::new, |it| words::told(&it, words::OtherEnd::Client))
}

fn demand(anchors: Anchors, required: bool, lists: &str) -> ClientDemand {
    ClientDemand {
        anchors,
        required,
        revocations: (!lists.is_empty()).then(|| Arc::new(revocations(lists.as_bytes()).unwrap())),
    }
}

#[test]
fn a_clients_certificate_that_is_in_client_ca_itself_is_believed() {
    let plain = self_signed(&params("plain"));
    let ca = self_signed(&as_ca("ca"));
    let mut old = as_ca("old");
    old.not_after = date_time_ymd(2020, 1, 1);
    old.serial_number = Some(SerialNumber::from(0xbeef));
    let old = self_signed(&old);
    let rows = [
        (&plain, plain.anchors(), ""),
        (&ca, ca.anchors(), ""),
        (
            &old,
            old.anchors(),
            "the client's certificate (CN=old, serial BEEF) has expired",
        ),
        (
            &ca,
            self_signed(&as_ca("ca")).anchors(),
            "or put this very certificate into client_ca",
        ),
        (&plain, ca.anchors(), "comes from no issuer in client_ca;"),
    ];
    for (made, anchors, expected) in rows {
        for (version, required) in VERSIONS.into_iter().zip([true, false]) {
            let demand = demand(anchors.clone(), required, "");
            let said = refusal(come(&demand, Some(made.shown()), version));
            assert!(said.contains(expected), "{said} instead of {expected}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{said}");
        }
    }
    let thief = shown(&ca.cert, &KeyPair::generate().unwrap());
    for version in VERSIONS {
        let came = come(
            &demand(ca.anchors(), true, ""),
            Some(thief.clone()),
            version,
        );
        assert!(refusal(came).contains("signature"));
    }
}

#[test]
fn a_client_without_a_certificate_passes_only_where_it_is_requested() {
    let authority = authority("authority");
    let anchors = Anchors::new(vec![authority.der().clone()]).unwrap();
    for version in VERSIONS {
        let required = come(&demand(anchors.clone(), true, ""), None, version);
        let said = refusal(required);
        assert!(
            said.starts_with("the client shows no certificate, and client_ca"),
            "{said}"
        );
        let terms = come(&demand(anchors.clone(), false, ""), None, version);
        assert_eq!(terms.unwrap().terms.client, None);
        let good = signed("good", 1, &authority);
        let terms = come(
            &demand(anchors.clone(), false, ""),
            Some(good.shown()),
            version,
        );
        let subject = terms.unwrap().terms.client.unwrap();
        assert_eq!(subject.common_name.as_deref(), Some("good"));
        let bad = self_signed(&params("bad"));
        let said = refusal(come(
            &demand(anchors.clone(), false, ""),
            Some(bad.shown()),
            version,
        ));
        assert!(said.contains("(CN=bad, serial "), "{said}");
    }
}

/// A list of `by` with these serial numbers.
fn list(by: &CertifiedIssuer<'static, KeyPair>, years: (i32, i32), revoked: &[u64]) -> String {
    let params = revoking(years, revoked);
    params.signed_by(by).unwrap().pem().unwrap()
}

#[test]
fn a_revoked_client_is_refused_and_one_that_cannot_be_checked_too() {
    const NOW: (i32, i32) = (2021, 2099);
    let (a, b) = (authority("a"), authority("b"));
    let namesake = authority("a");
    let anchors = vec![a.der().clone(), b.der().clone()];
    let anchors = Anchors::new(anchors).unwrap();
    let revoked = "the client's certificate (CN=bob, serial 2A) is revoked by a list in crl";
    let rows = [
        (list(&a, NOW, &[]), ""),
        (list(&a, NOW, &[41, 43]), ""),
        (list(&a, NOW, &[41, 42]), revoked),
        // The newest of an issuer counts, wherever it stands.
        (list(&a, (2020, 2099), &[]) + &list(&a, NOW, &[42]), revoked),
        (list(&a, NOW, &[42]) + &list(&a, (2020, 2099), &[]), revoked),
        (list(&a, (2020, 2099), &[42]) + &list(&a, NOW, &[]), ""),
        (
            list(&a, (2020, 2022), &[]),
            "serial 2A) cannot be checked: the list of its issuer in crl ended 2022-01-01T00:00:00Z;",
        ),
        (
            list(&b, NOW, &[42]),
            "serial 2A) has an issuer of which crl holds no list;",
        ),
        (
            list(&namesake, NOW, &[]),
            "serial 2A) cannot be checked: the list of its issuer in crl has not the issuer's signature",
        ),
    ];
    for (lists, expected) in rows {
        for (version, required) in VERSIONS.into_iter().zip([false, true]) {
            let demand = demand(anchors.clone(), required, &lists);
            let bob = signed("bob", 42, &a);
            let said = refusal(come(&demand, Some(bob.shown()), version));
            assert!(said.contains(expected), "{said} instead of {expected}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{said}");
        }
    }
}

#[test]
fn with_lists_an_anchor_is_checked_like_any_other_certificate() {
    let own = CertifiedIssuer::self_signed(params("own"), KeyPair::generate().unwrap()).unwrap();
    let serial = 9;
    let (a, mut plain) = (authority("a"), params("plain"));
    plain.serial_number = Some(SerialNumber::from(serial));
    let plain = self_signed(&plain);
    let ca = self_signed(&as_ca("ca"));
    let rows = [
        (
            plain.shown(),
            plain.anchors(),
            "has an issuer of which crl holds no list",
        ),
        (
            ca.shown(),
            ca.anchors(),
            "has an issuer of which crl holds no list",
        ),
        (
            shown(own.as_ref(), own.key()),
            Anchors::new(vec![own.der().clone()]).unwrap(),
            "has an issuer of which crl holds no list",
        ),
    ];
    for (shown, anchors, expected) in rows {
        for version in VERSIONS {
            let demand = demand(anchors.clone(), true, &list(&a, (2021, 2099), &[]));
            let said = refusal(come(&demand, Some(shown.clone()), version));
            assert!(said.contains(expected), "{said}");
        }
    }
}

#[test]
fn the_alert_says_what_the_log_says() {
    let a = authority("a");
    let anchors = Anchors::new(vec![a.der().clone()]).unwrap();
    let refused = demand(anchors, true, &list(&a, (2021, 2099), &[42]));
    let mut offer = offer();
    offer.clients = Some(refused);
    let config = server_config(offer, tickets().unwrap()).unwrap();
    let bob = signed("bob", 42, &a);
    let mut ours = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate::default()))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(bob.shown())));
    ours.enable_secret_extraction = true;
    let mut peer = Peer::with_config(Arc::new(ours), "localhost");
    let mut handshake = Handshake::new(config, Vec::new()).unwrap();
    loop {
        handshake.inbox().extend(peer.take_bytes());
        let done = handshake.advance();
        let sent = handshake.take_outbox();
        if done.is_err() {
            peer.connection.read_tls(&mut sent.as_slice()).unwrap();
            let alerted = peer.connection.process_new_packets().unwrap_err();
            let revoked = rustls::AlertDescription::CertificateRevoked;
            assert_eq!(alerted, Error::AlertReceived(revoked));
            return;
        }
        peer.give_bytes(&sent);
    }
}
