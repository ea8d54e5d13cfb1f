//! The client's end of a TLS connection whose records are made by hand: what rustls's own client
//! would never send, sealed with the keys of a real handshake. It shares no code with `tls::record`.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use longsplice::tls::control::Session;
use longsplice::tls::handshake::Handshake;
use longsplice::tls::identity::{Offer, identity, server_config, tickets};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, aws_lc_rs::default_provider};
use rustls::kernel::KernelConnection;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ConnectionTrafficSecrets, DigitallySignedStruct, Error, ServerConfig,
    SignatureScheme,
};

/// Versions with ciphers: 1.2 and then 1.3, each with both lengths of AES-GCM and ChaCha20.
pub(crate) const SUITES: u8 = 6;

/// Records are sealed and opened with this.
pub(crate) struct Keys {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    tls13: bool,
    /// TLS 1.2 with AES-GCM: half of the nonce stands in the record.
    explicit: bool,
}

impl Keys {
    fn new(tls13: bool, (sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => panic!("keys of an unknown kind"),
        };
        let unbound = UnboundKey::new(algorithm, key.as_ref()).expect("a key");
        Self {
            key: LessSafeKey::new(unbound),
            iv: iv.as_ref().try_into().expect("12 bytes"),
            sequence,
            tls13,
            explicit: !tls13 && algorithm != &CHACHA20_POLY1305,
        }
    }

    /// The nonce, with the explicit part of a record that has one.
    fn nonce(&self, explicit: &[u8]) -> Nonce {
        let mut nonce = self.iv;
        if self.explicit {
            nonce[4..].copy_from_slice(explicit);
        } else {
            let sequence = self.sequence.to_be_bytes();
            nonce[4..]
                .iter_mut()
                .zip(sequence)
                .for_each(|(byte, number)| *byte ^= number);
        }
        Nonce::assume_unique_for_key(nonce)
    }

    fn aad(&self, kind: u8, text_len: usize) -> Vec<u8> {
        if self.tls13 {
            let len = u16::try_from(text_len + 16).expect("a record");
            [&[23, 3, 3], &len.to_be_bytes()[..]].concat()
        } else {
            let len = u16::try_from(text_len).expect("a record");
            let header = [&[kind, 3, 3], &len.to_be_bytes()[..]].concat();
            [&self.sequence.to_be_bytes()[..], &header].concat()
        }
    }

    /// Seals `text` into a record whose outer type is `kind`; TLS 1.3 has its true one in the text.
    pub(crate) fn seal(&mut self, kind: u8, text: &[u8]) -> Vec<u8> {
        // Any explicit part is legal that was not there before.
        let explicit = (self.sequence ^ (1 << 40)).to_be_bytes();
        let explicit: &[u8] = if self.explicit { &explicit } else { &[] };
        let mut sealed = text.to_vec();
        let (nonce, aad) = (self.nonce(explicit), self.aad(kind, text.len()));
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed)
            .expect("sealed");
        self.sequence += 1;
        let kind = if self.tls13 { 23 } else { kind };
        let len = u16::try_from(explicit.len() + sealed.len()).expect("a record");
        [&[kind, 3, 3], &len.to_be_bytes()[..], explicit, &sealed].concat()
    }

    /// Opens a whole record of the server: its type and its payload.
    pub(crate) fn open(&mut self, record: &[u8]) -> (u8, Vec<u8>) {
        let (header, body) = record.split_at(5);
        let (explicit, sealed) = body.split_at(if self.explicit { 8 } else { 0 });
        let mut text = sealed.to_vec();
        let aad = self.aad(header[0], sealed.len() - 16);
        let nonce = self.nonce(explicit);
        let opened = self.key.open_in_place(nonce, Aad::from(aad), &mut text);
        let len = opened.expect("the server's record authenticates").len();
        text.truncate(len);
        self.sequence += 1;
        if !self.tls13 {
            return (header[0], text);
        }
        // We write no padding.
        let kind = text.pop().expect("a type");
        (kind, text)
    }
}

/// A client's end.
pub(crate) struct Peer {
    pub(crate) sends: Keys,
    pub(crate) receives: Keys,
    pub(crate) tls13: bool,
    kernel: KernelConnection<ClientConnectionData>,
}

impl Peer {
    /// Makes a handshake; returns both ends.
    pub(crate) fn open(suite: u8) -> (Self, Session) {
        let tls13 = suite >= SUITES / 2;
        let name = ServerName::try_from("localhost").expect("a name");
        let mut client = UnbufferedClientConnection::new(client_config(suite), name).expect("one");
        let mut server = Handshake::new(server(), Vec::new()).expect("one");
        let mut from_server = Vec::new();
        loop {
            let said = speak(&mut client, &mut from_server);
            server.inbox().extend(said);
            let done = server.advance().expect("a handshake");
            from_server.extend(server.take_outbox());
            if done {
                break;
            }
        }
        // The end of the handshake, and tickets.
        let said = speak(&mut client, &mut from_server);
        assert!(said.is_empty() && from_server.is_empty());
        let (secrets, kernel) = client.dangerous_into_kernel_connection().expect("keys");
        let session = server.finish().expect("a session").session;
        let peer = Self {
            sends: Keys::new(tls13, secrets.tx),
            receives: Keys::new(tls13, secrets.rx),
            tls13,
            kernel,
        };
        (peer, session)
    }

    /// Takes the next keys to send with, as behind a KeyUpdate.
    pub(crate) fn update_sends(&mut self) {
        let next = self.kernel.update_tx_secret().expect("keys");
        self.sends = Keys::new(self.tls13, next);
    }

    /// Takes the next keys to receive with.
    pub(crate) fn update_receives(&mut self) {
        let next = self.kernel.update_rx_secret().expect("keys");
        self.receives = Keys::new(self.tls13, next);
    }
}

/// Lets rustls's client read `received` and say all it has to say.
fn speak(client: &mut UnbufferedClientConnection, received: &mut Vec<u8>) -> Vec<u8> {
    let mut said = Vec::new();
    loop {
        let UnbufferedStatus { discard, state } = client.process_tls_records(received);
        let goes_on = match state.expect("a handshake") {
            ConnectionState::EncodeTlsData(mut data) => {
                let len = match data.encode(&mut []) {
                    Err(EncodeError::InsufficientSize(size)) => size.required_size,
                    Ok(_) | Err(_) => 0,
                };
                let from = said.len();
                said.resize(from + len, 0);
                data.encode(&mut said[from..]).expect("room");
                true
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                true
            }
            ConnectionState::BlockedHandshake
            | ConnectionState::WriteTraffic(_)
            | ConnectionState::ReadTraffic(_)
            | _ => false,
        };
        received.drain(..discard);
        if !goes_on && (discard == 0 || received.is_empty()) {
            return said;
        }
    }
}

fn server() -> Arc<ServerConfig> {
    static CONFIG: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    let make = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one");
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let offer = Offer {
            identities: vec![identity(cert.as_bytes(), key.as_bytes()).expect("an identity")],
            client_ca: None,
            only_tls13: false,
            http: false,
        };
        server_config(offer, tickets().expect("keys")).expect("a configuration")
    };
    Arc::clone(CONFIG.get_or_init(make))
}

fn client_config(suite: u8) -> Arc<ClientConfig> {
    static CONFIGS: OnceLock<Vec<Arc<ClientConfig>>> = OnceLock::new();
    let make = |suite: u8| {
        let tls13 = suite >= SUITES / 2;
        let cipher = ["AES_128", "AES_256", "CHACHA20"][usize::from(suite % 3)];
        let mut provider: CryptoProvider = default_provider();
        provider
            .cipher_suites
            .retain(|suite| format!("{:?}", suite.suite()).contains(cipher));
        let version = if tls13 { &TLS13 } else { &TLS12 };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .expect("a version")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_no_client_auth();
        config.enable_secret_extraction = true;
        Arc::new(config)
    };
    let configs = CONFIGS.get_or_init(|| (0..SUITES).map(make).collect());
    Arc::clone(&configs[usize::from(suite)])
}

/// Believes every certificate.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
