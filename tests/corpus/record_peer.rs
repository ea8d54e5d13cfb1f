//! The client's end of a TLS connection whose records are made by hand: what rustls's own client
//! would never send, sealed with the keys of a real handshake. It shares no code with `tls::record`.

use std::sync::{Arc, OnceLock};

use longsplice::tls::control::Session;
use longsplice::tls::handshake::Handshake;
use longsplice::tls::identity::{Offer, identity, server_config, tickets};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, aws_lc_rs::default_provider};
use rustls::kernel::KernelConnection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::unbuffered::UnbufferedStatus;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::record_keys::{Keys, say};

/// Versions with ciphers: 1.2 and then 1.3, each with both lengths of AES-GCM and ChaCha20.
pub(crate) const SUITES: u8 = 6;

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
        let mut server = Handshake::new(server().0, Vec::new()).expect("one");
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
        let goes_on = say(state.expect("a handshake"), &mut said);
        received.drain(..discard);
        if !goes_on && (discard == 0 || received.is_empty()) {
            return said;
        }
    }
}

/// The server, made once, and the roots that its certificate alone makes.
fn server() -> (Arc<ServerConfig>, RootCertStore) {
    static MADE: OnceLock<(Arc<ServerConfig>, RootCertStore)> = OnceLock::new();
    let make = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one");
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let offer = Offer {
            identities: vec![identity(cert.as_bytes(), key.as_bytes()).expect("an identity")],
            clients: None,
            only_tls13: false,
            http: false,
        };
        let config = server_config(offer, tickets().expect("keys")).expect("a configuration");
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(cert.as_bytes()).expect("a certificate");
        roots.add(root).expect("a root");
        (config, roots)
    };
    MADE.get_or_init(make).clone()
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
            .with_root_certificates(server().1)
            .with_no_client_auth();
        config.enable_secret_extraction = true;
        Arc::new(config)
    };
    let configs = CONFIGS.get_or_init(|| (0..SUITES).map(make).collect());
    Arc::clone(&configs[usize::from(suite)])
}
