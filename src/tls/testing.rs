//! Shared parts of this module's tests: a generated identity, and a client and a server made of rustls.

use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion,
};
use rustls_pki_types::ServerName;

use super::control::{Content, Fault, Session, sealed_len_max};
use super::handshake::{Established, Handshake, HandshakeFailure};
use super::identity::{Offer, identity, server_config, tickets};
use super::record::whole_record;
use super::verifier::AnyCertificate;

pub(crate) fn offer() -> Offer {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    Offer {
        identities: vec![identity(cert.as_bytes(), key.as_bytes()).unwrap()],
        clients: None,
        only_tls13: false,
        http: false,
    }
}

pub(crate) fn server(offer: Offer) -> Arc<ServerConfig> {
    server_config(offer, tickets().unwrap()).unwrap()
}

/// Makes an authority that signs itself.
pub(crate) fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Describes a list that is good from the beginning of one year to that of another.
pub(crate) fn revoking(
    (since, until): (i32, i32),
    serials: &[u64],
) -> CertificateRevocationListParams {
    let revoke = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    CertificateRevocationListParams {
        this_update: date_time_ymd(since, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoke).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

/// Makes a list of revoked certificates of an authority with this name, in PEM.
pub(crate) fn revocation_list(name: &str) -> String {
    let list = revoking((2025, 2100), &[7]).signed_by(&authority(name));
    list.unwrap().pem().unwrap()
}

/// A client in memory.
pub(crate) struct Peer {
    pub(crate) connection: ClientConnection,
    config: Arc<ClientConfig>,
    heard: Vec<u8>,
    name: ServerName<'static>,
}

impl Peer {
    pub(crate) fn new(version: &'static SupportedProtocolVersion, name: &'static str) -> Self {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate::default()))
            .with_no_client_auth();
        config.enable_secret_extraction = true;
        Self::with_config(Arc::new(config), name)
    }

    pub(crate) fn with_config(config: Arc<ClientConfig>, name: &'static str) -> Self {
        let name = ServerName::try_from(name).unwrap();
        let connection = ClientConnection::new(Arc::clone(&config), name.clone()).unwrap();
        Self {
            connection,
            config,
            heard: Vec::new(),
            name,
        }
    }

    pub(crate) fn reconnect(&mut self) {
        self.connection =
            ClientConnection::new(Arc::clone(&self.config), self.name.clone()).unwrap();
    }

    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    pub(crate) fn give_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.connection.read_tls(&mut bytes).unwrap();
            // An error shows in what the client sends and receives afterwards.
            let _ = self.connection.process_new_packets();
            // "Would block" comes after all data.
            let _ = self.connection.reader().read_to_end(&mut self.heard);
        }
    }

    pub(crate) fn say(&mut self, text: &[u8]) {
        self.connection.writer().write_all(text).unwrap();
    }

    pub(crate) fn hear(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.heard)
    }

    /// Runs a handshake with `config` to its end.
    pub(crate) fn open(&mut self, config: &Arc<ServerConfig>) -> Established {
        let mut handshake = Handshake::new(Arc::clone(config), Vec::new()).unwrap();
        loop {
            handshake.inbox().extend(self.take_bytes());
            let done = handshake.advance().unwrap();
            self.give_bytes(&handshake.take_outbox());
            if done {
                return handshake.finish().unwrap();
            }
        }
    }
}

/// A server in memory, made of rustls.
pub(crate) struct ServerPeer {
    pub(crate) connection: ServerConnection,
    heard: Vec<u8>,
}

impl ServerPeer {
    pub(crate) fn new(config: &Arc<ServerConfig>) -> Self {
        Self {
            connection: ServerConnection::new(Arc::clone(config)).unwrap(),
            heard: Vec::new(),
        }
    }

    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    pub(crate) fn give_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.connection.read_tls(&mut bytes).unwrap();
            // An error shows in what the server sends and receives afterwards.
            let _ = self.connection.process_new_packets();
            let _ = self.connection.reader().read_to_end(&mut self.heard);
        }
    }

    pub(crate) fn say(&mut self, text: &[u8]) {
        self.connection.writer().write_all(text).unwrap();
    }

    pub(crate) fn hear(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.heard)
    }

    /// Runs a handshake to its end; the server's bytes come in pieces of `piece` bytes.
    pub(crate) fn open(
        &mut self,
        config: &Arc<ClientConfig>,
        name: &'static str,
        piece: usize,
    ) -> Result<Established, HandshakeFailure> {
        let name = ServerName::try_from(name).unwrap();
        let mut handshake = Handshake::with_server(Arc::clone(config), name)?;
        let mut waiting = Vec::new();
        loop {
            let done = handshake.advance();
            self.give_bytes(&handshake.take_outbox());
            waiting.extend(self.take_bytes());
            if done? {
                handshake.inbox().extend_from_slice(&waiting);
                return handshake.finish();
            }
            assert!(!waiting.is_empty(), "nobody says anything");
            let rest = waiting.split_off(piece.min(waiting.len()));
            handshake.inbox().append(&mut waiting);
            waiting = rest;
        }
    }
}

/// Opens every record in `bytes`; returns the data, and the result of the last record.
pub(crate) fn read(session: &mut Session, bytes: &mut [u8]) -> (Vec<u8>, Result<Content, Fault>) {
    let (mut data, mut last) = (Vec::new(), Ok(Content::Nothing));
    let mut rest = bytes;
    while let Some(len) = whole_record(rest).unwrap() {
        let (record, tail) = rest.split_at_mut(len);
        last = session.open(record);
        match &last {
            Ok(Content::Data(place)) => data.extend_from_slice(&record[place.clone()]),
            Ok(Content::Nothing) => {}
            Ok(Content::CloseNotify) | Err(_) => break,
        }
        rest = tail;
    }
    (data, last)
}

/// Seals `data` as records.
pub(crate) fn seal(session: &mut Session, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0; sealed_len_max(data.len())];
    let len = session.seal(data, &mut out).unwrap();
    out.truncate(len);
    out
}
