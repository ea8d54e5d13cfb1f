//! The server's end of a connection of TLS 1.3 whose records are made by hand: what rustls's own server
//! would never send, sealed with the keys of a real handshake.

use std::sync::{Arc, OnceLock};

use longsplice::tls::control::Session;
use longsplice::tls::handshake::Handshake;
use longsplice::tls::servers::{Demand, client_config};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::kernel::KernelConnection;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::UnbufferedStatus;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::record_keys::{Keys, say};

/// A server's end.
pub(crate) struct Server {
    pub(crate) sends: Keys,
    pub(crate) receives: Keys,
    kernel: KernelConnection<ServerConnectionData>,
}

impl Server {
    /// Makes a handshake; returns both ends.
    pub(crate) fn open() -> (Self, Session) {
        let (client_config, server_config) = configs();
        let name = ServerName::try_from("localhost").expect("a name");
        let mut client = Handshake::with_server(client_config, name).expect("one");
        let mut server = UnbufferedServerConnection::new(server_config).expect("one");
        let mut from_client = Vec::new();
        loop {
            let done = client.advance().expect("a handshake");
            from_client.extend(client.take_outbox());
            let said = speak(&mut server, &mut from_client);
            client.inbox().extend(said);
            if done {
                break;
            }
        }
        assert!(from_client.is_empty());
        let established = client.finish().expect("a session");
        assert!(established.received.is_empty(), "more than a handshake");
        let (secrets, kernel) = server.dangerous_into_kernel_connection().expect("keys");
        let server = Self {
            sends: Keys::new(true, secrets.tx),
            receives: Keys::new(true, secrets.rx),
            kernel,
        };
        (server, established.session)
    }

    /// Takes the next keys to send with, as behind a KeyUpdate.
    pub(crate) fn update_sends(&mut self) {
        let next = self.kernel.update_tx_secret().expect("keys");
        self.sends = Keys::new(true, next);
    }

    /// Takes the next keys to receive with.
    pub(crate) fn update_receives(&mut self) {
        let next = self.kernel.update_rx_secret().expect("keys");
        self.receives = Keys::new(true, next);
    }
}

/// Lets rustls's server read `received` and say all it has to say.
fn speak(server: &mut UnbufferedServerConnection, received: &mut Vec<u8>) -> Vec<u8> {
    let mut said = Vec::new();
    loop {
        let UnbufferedStatus { discard, state } = server.process_tls_records(received);
        let goes_on = say(state.expect("a handshake"), &mut said);
        received.drain(..discard);
        if !goes_on && (discard == 0 || received.is_empty()) {
            return said;
        }
    }
}

/// A client of ours that believes anybody, and a server that sends no tickets of its own.
fn configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    static CONFIGS: OnceLock<(Arc<ClientConfig>, Arc<ServerConfig>)> = OnceLock::new();
    let make = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let mut server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .expect("a version")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::from(key))
            .expect("an identity");
        server.send_tls13_tickets = 0;
        server.enable_secret_extraction = true;
        let demand = Demand {
            roots: None,
            identity: None,
            only_tls13: true,
            http: false,
        };
        let client = client_config(&demand).expect("a configuration");
        (client, Arc::new(server))
    };
    CONFIGS.get_or_init(make).clone()
}
