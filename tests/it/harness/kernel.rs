//! What the kernel of this machine does with TLS, and clients whose cipher, records and nonces are in
//! the test's hands.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ConnectionTrafficSecrets, RootCertStore, SupportedCipherSuite,
    SupportedProtocolVersion,
};
use serde_json::Value;
use tempfile::TempDir;

use super::PATIENCE;
use super::process::run;
use super::random::Random;
use super::tls::Secure;

/// Tells whether this kernel does TLS, as `doctor` found; one that does not is a skipped test, unless
/// LONGSPLICE_TEST_REQUIRE names `ktls`.
pub(crate) fn does_tls() -> bool {
    let does = report()["ktls"]["ok"] == true;
    if !does {
        let required = std::env::var("LONGSPLICE_TEST_REQUIRE").unwrap_or_default();
        let required = required.split(',').any(|name| name.trim() == "ktls");
        assert!(!required, "kernel TLS is required: {}", report());
    }
    does
}

/// Tells whether this kernel changes keys.
pub(crate) fn rekeys() -> bool {
    report()["ktls"]["rekey"] == true
}

/// Tells whether a bulky tunnel of this suite is left to this kernel.
pub(crate) fn takes(suite: Suite, offload: &str) -> bool {
    let accelerated = || {
        let version = if suite.version == &TLS13 {
            "tls13"
        } else {
            "tls12"
        };
        let cipher = format!("{:?}", suite.cipher.suite());
        let cipher = if cipher.contains("AES_128") {
            "aes128gcm"
        } else if cipher.contains("AES_256") {
            "aes256gcm"
        } else {
            "chacha20poly1305"
        };
        report()["ktls"]["ciphers"][format!("{version}-{cipher}")]["accelerated"] == true
    };
    does_tls() && (offload == "always" || offload == "adaptive" && accelerated())
}

fn report() -> &'static Value {
    static REPORT: OnceLock<Value> = OnceLock::new();
    REPORT.get_or_init(|| serde_json::from_str(&run(&["doctor", "--json"]).stdout).unwrap())
}

/// Returns a count of /proc/net/tls_stat, such as `TlsTxSw`.
pub(crate) fn tls_stat(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/net/tls_stat").unwrap_or_default();
    let line = text
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|count| count.parse().ok())
        .unwrap_or(0)
}

/// A version with a cipher, and the key that the certificate has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suite {
    pub(crate) version: &'static SupportedProtocolVersion,
    pub(crate) cipher: SupportedCipherSuite,
    pub(crate) rsa: bool,
}

impl Suite {
    /// Every suite with an EC key and, for TLS 1.2, with an RSA key too.
    pub(crate) fn all() -> Vec<Self> {
        use cipher_suite as c;
        let row = |version, cipher, rsa| Self {
            version,
            cipher,
            rsa,
        };
        vec![
            row(&TLS13, c::TLS13_AES_128_GCM_SHA256, false),
            row(&TLS13, c::TLS13_AES_256_GCM_SHA384, true),
            row(&TLS13, c::TLS13_CHACHA20_POLY1305_SHA256, false),
            row(&TLS12, c::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, false),
            row(&TLS12, c::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, true),
            row(&TLS12, c::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, true),
            row(
                &TLS12,
                c::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                false,
            ),
        ]
    }

    /// The usual one of each version.
    pub(crate) fn usual() -> Vec<Self> {
        let all = Self::all();
        vec![all[0], all[3]]
    }

    /// TLS 1.3 with AES-128-GCM.
    pub(crate) fn tls13() -> Self {
        Self::all()[0]
    }

    /// Makes a client that believes `site` only and speaks this suite only.
    pub(crate) fn client(self, site: &Site) -> Arc<ClientConfig> {
        let mut provider = default_provider();
        provider.cipher_suites = vec![self.cipher];
        let mut roots = RootCertStore::empty();
        let pem = fs::read(site.file(self.rsa)).unwrap();
        roots
            .add(CertificateDer::from_pem_slice(&pem).unwrap())
            .unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.enable_secret_extraction = true;
        Arc::new(config)
    }
}

/// A certificate with an EC key and one with an RSA key, each with its key in one file.
pub(crate) struct Site {
    dir: TempDir,
}

impl Site {
    /// Returns the one of this run: an RSA key takes its time.
    pub(crate) fn here() -> &'static Self {
        static SITE: OnceLock<Site> = OnceLock::new();
        SITE.get_or_init(Self::new)
    }

    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let kinds = [
            ("ec.pem", &rcgen::PKCS_ECDSA_P256_SHA256),
            ("rsa.pem", &rcgen::PKCS_RSA_SHA256),
        ];
        for (name, kind) in kinds {
            let key = rcgen::KeyPair::generate_for(kind).unwrap();
            let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            let cert = params.self_signed(&key).unwrap();
            let text = cert.pem() + &key.serialize_pem();
            fs::write(dir.path().join(name), text).unwrap();
        }
        Self { dir }
    }

    fn file(&self, rsa: bool) -> std::path::PathBuf {
        self.dir.path().join(if rsa { "rsa.pem" } else { "ec.pem" })
    }

    /// Returns the keys of `[[listener]]` that end TLS for `suite`.
    pub(crate) fn listener_keys(&self, suite: Suite, offload: &str) -> String {
        format!(
            "tls.certificates = [\"{}\"]\ntls.offload = \"{offload}\"",
            self.file(suite.rsa).display()
        )
    }

    /// Returns the file with the EC certificate.
    pub(crate) fn ec_file(&self) -> String {
        self.file(false).display().to_string()
    }
}

/// What a client does while bytes go both ways.
pub(crate) struct Traffic {
    /// Bytes to send, made of a seed.
    pub(crate) up: usize,
    /// Bytes to receive.
    pub(crate) down: usize,
    /// Sizes of what is sent at once.
    pub(crate) pieces: Pieces,
    /// Sent bytes between two KeyUpdates, if there are to be any.
    pub(crate) key_update_every: Option<usize>,
}

/// Sizes of pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pieces {
    /// From a byte to several records.
    Mixed,
    /// Several records.
    Large,
}

impl Pieces {
    fn next(self, sizes: &mut Random) -> usize {
        match self {
            Self::Mixed => {
                let most = [1, 900, 20_000, 60_000][sizes.between(0, 3)];
                sizes.between(1, most)
            }
            Self::Large => sizes.between(50_000, 60_000),
        }
    }
}

impl Traffic {
    /// Returns the hash of what [`exchange`] sends with this seed.
    pub(crate) fn hash(&self, seed: u64) -> u64 {
        let mut noise = Random::new(seed);
        let mut sizes = Random::new(seed + 1);
        let mut hash = Hash::default();
        let mut sent = 0;
        while sent < self.up {
            let piece = self.pieces.next(&mut sizes).min(self.up - sent);
            hash.add(&noise.bytes(piece));
            sent += piece;
        }
        hash.0
    }
}

/// Sends and receives at the same time, in pieces of random size; returns what was received, hashed.
pub(crate) fn exchange(client: &mut Secure, seed: u64, traffic: &Traffic) -> u64 {
    let mut noise = Random::new(seed);
    let mut sizes = Random::new(seed + 1);
    let mut hash = Hash::default();
    let (mut sent, mut received, mut since_update) = (0, 0, 0);
    let mut buffer = vec![0; 64 * 1024];
    client.tcp.set_nonblocking(true).unwrap();
    let mut last_progress = Instant::now();
    while sent < traffic.up || received < traffic.down || client.tls.wants_write() {
        if sent < traffic.up && !client.tls.wants_write() {
            let len = traffic.pieces.next(&mut sizes).min(traffic.up - sent);
            client.tls.writer().write_all(&noise.bytes(len)).unwrap();
            sent += len;
            since_update += len;
            if traffic
                .key_update_every
                .is_some_and(|every| since_update >= every)
            {
                client.tls.refresh_traffic_keys().unwrap();
                since_update = 0;
            }
        }
        let wrote = client.tls.wants_write() && passes(client.tls.write_tls(&mut client.tcp)) > 0;
        let mut heard = 0;
        if received < traffic.down {
            // The end of a connection in the middle is an error of the loop below.
            heard = passes(client.tls.read_tls(&mut client.tcp));
            client.tls.process_new_packets().unwrap();
            while let Ok(len @ 1..) = client.tls.reader().read(&mut buffer) {
                hash.add(&buffer[..len]);
                received += len;
            }
        }
        if wrote || heard > 0 {
            last_progress = Instant::now();
            continue;
        }
        assert!(
            last_progress.elapsed() < PATIENCE,
            "stuck at {sent} of {} and {received} of {}",
            traffic.up,
            traffic.down
        );
        wait(client);
    }
    assert_eq!(received, traffic.down, "more came than was sent");
    client.tcp.set_nonblocking(false).unwrap();
    hash.0
}

fn passes(result: std::io::Result<usize>) -> usize {
    match result {
        Ok(len) => len,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("{error}"),
    }
}

fn wait(client: &Secure) {
    let mut flags = PollFlags::POLLIN;
    if client.tls.wants_write() {
        flags |= PollFlags::POLLOUT;
    }
    let mut fds = [PollFd::new(client.tcp.as_fd(), flags)];
    let _ = poll(&mut fds, PollTimeout::from(100_u8));
}

/// A hash of a stream, whatever pieces it comes in.
#[derive(Debug)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// A client with AES-128-GCM that seals and opens its own records, so that it can say what no library says
/// and sees what no library shows.
pub(crate) struct Forger {
    pub(crate) tcp: std::net::TcpStream,
    tls13: bool,
    sends: Direction,
    receives: Direction,
}

/// Keys of one direction.
struct Direction {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Direction {
    fn of((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            panic!("another cipher");
        };
        let key = UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap();
        Self {
            key: LessSafeKey::new(key),
            iv: iv.as_ref().try_into().unwrap(),
            sequence,
        }
    }

    /// Returns the nonce and the additional data of the next record (RFC 8446 section 5.2, RFC 5246 section
    /// 6.2.3.3); `len` is that of the payload for TLS 1.2, else that of the whole encrypted part.
    fn next(&mut self, tls13: bool, kind: u8, len: usize) -> ([u8; 12], Vec<u8>) {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        let len = u16::try_from(len).unwrap().to_be_bytes();
        let header = [kind, 3, 3, len[0], len[1]];
        let data = if tls13 {
            header.to_vec()
        } else {
            [&self.sequence.to_be_bytes()[..], &header].concat()
        };
        self.sequence += 1;
        (nonce, data)
    }
}

impl Forger {
    /// Takes over a client that is connected with a suite of [`Suite::usual`] and has sent nothing that is
    /// not written.
    pub(crate) fn of(client: Secure) -> Self {
        assert!(!client.tls.wants_write());
        let tls13 = client.tls.protocol_version() == Some(TLS13.version);
        let secrets = client.tls.dangerous_extract_secrets().unwrap();
        Self {
            tcp: client.tcp,
            tls13,
            sends: Direction::of(secrets.tx),
            receives: Direction::of(secrets.rx),
        }
    }

    /// Seals a record of type `kind` with so many bytes of padding, which only TLS 1.3 has.
    pub(crate) fn seal(&mut self, kind: u8, payload: &[u8], padding: usize) -> Vec<u8> {
        let mut body = payload.to_vec();
        let outer = if self.tls13 {
            body.push(kind);
            body.resize(body.len() + padding, 0);
            23
        } else {
            kind
        };
        let authenticated = body.len() + if self.tls13 { 16 } else { 0 };
        let (nonce, data) = self.sends.next(self.tls13, outer, authenticated);
        let (sealing, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(data));
        let key = &self.sends.key;
        key.seal_in_place_append_tag(sealing, aad, &mut body)
            .unwrap();
        let explicit = if self.tls13 { &[][..] } else { &nonce[4..] };
        let len = u16::try_from(explicit.len() + body.len()).unwrap();
        let len = len.to_be_bytes();
        [&[outer, 3, 3, len[0], len[1]], explicit, &body].concat()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.tcp.write_all(bytes).unwrap();
    }

    /// Receives and opens the next record, tickets left out; none = the connection has ended.
    pub(crate) fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let mut header = [0; 5];
            match self.tcp.read_exact(&mut header) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
                Err(error) => panic!("{error}"),
            }
            let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
            self.tcp.read_exact(&mut body).unwrap();
            let (kind, payload) = self.open(header[0], body);
            if (kind, self.tls13) != (22, true) {
                return Some((kind, payload));
            }
        }
    }

    fn open(&mut self, outer: u8, mut body: Vec<u8>) -> (u8, Vec<u8>) {
        let explicit: Vec<u8> = if self.tls13 {
            Vec::new()
        } else {
            body.drain(..8).collect()
        };
        let authenticated = body.len() - if self.tls13 { 0 } else { 16 };
        let (mut nonce, data) = self.receives.next(self.tls13, outer, authenticated);
        if !self.tls13 {
            nonce[4..].copy_from_slice(&explicit);
        }
        let (opening, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(data));
        let opened = self.receives.key.open_in_place(opening, aad, &mut body);
        let mut payload = opened.expect("a record that authenticates").to_vec();
        let kind = if self.tls13 {
            payload.pop().unwrap()
        } else {
            outer
        };
        (kind, payload)
    }

    /// Receives and opens all records until the connection ends.
    pub(crate) fn receive_rest(&mut self) -> Vec<(u8, Vec<u8>)> {
        std::iter::from_fn(|| self.receive()).collect()
    }
}
