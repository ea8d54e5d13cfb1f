//! The capabilities of this kernel and machine, found by trying and not by version numbers.
//!
//! io_uring is set up with the relay's flags, splice(2) moves a byte, and every kernel TLS cipher is given
//! dummy keys on a private loopback connection. Limits are read from /proc/sys and getrlimit(2). No state is
//! kept: each probe closes what it opened.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{TcpTlsRx, TcpTlsTx, TcpUlp, TlsCryptoInfo};
use nix::unistd::pipe2;

use super::ring;

/// A call that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Name of the call, as strace would show it.
    pub call: &'static str,
    /// Its error.
    pub errno: Errno,
}

impl Refused {
    fn of(call: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self {
            call,
            errno: error
                .raw_os_error()
                .map_or(Errno::UnknownErrno, Errno::from_raw),
        }
    }

    fn with(call: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self { call, errno }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?} ({})", self.call, self.errno, self.errno.desc())
    }
}

/// Sets up a ring with the flags of the relay and closes it again.
///
/// # Errors
/// The refusal of io_uring_setup(2): ENOSYS (not in this kernel), EPERM (seccomp or
/// `kernel.io_uring_disabled`), ENOMEM (memory limits), EINVAL (flags newer than this kernel).
pub fn io_uring() -> Result<(), Refused> {
    ring::probe().map_err(Refused::of("io_uring_setup"))
}

/// Moves a byte from a socket through a pipe into another socket with splice(2).
///
/// # Errors
/// The first refusal on the way; EIO of `splice` if the byte was changed.
pub fn splice_byte() -> Result<(), Refused> {
    const BYTE: [u8; 1] = [0x5a];
    let pair = || UnixStream::pair().map_err(Refused::of("socketpair"));
    let (mut source, from_source) = pair()?;
    let (to_sink, mut sink) = pair()?;
    let (pipe_out, pipe_in) =
        pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(Refused::with("pipe2"))?;
    source.write_all(&BYTE).map_err(Refused::of("write"))?;
    let refused = Refused::with("splice");
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
    splice(&from_source, None, &pipe_in, None, 1, flags).map_err(&refused)?;
    splice(&pipe_out, None, &to_sink, None, 1, flags).map_err(&refused)?;
    drop(to_sink);
    let mut seen = Vec::new();
    sink.read_to_end(&mut seen).map_err(Refused::of("read"))?;
    if seen == BYTE {
        Ok(())
    } else {
        Err(refused(Errno::EIO))
    }
}

/// A TLS version and cipher that the kernel may support.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    /// Name in reports, such as `tls13-aes128gcm`.
    pub name: &'static str,
    version: u16,
    cipher: Cipher,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

impl Suite {
    /// All suites that are tried, in the order of reports.
    pub const ALL: [Self; 6] = [
        Self::new("tls12-aes128gcm", libc::TLS_1_2_VERSION, Cipher::Aes128Gcm),
        Self::new("tls12-aes256gcm", libc::TLS_1_2_VERSION, Cipher::Aes256Gcm),
        Self::new(
            "tls12-chacha20poly1305",
            libc::TLS_1_2_VERSION,
            Cipher::Chacha20Poly1305,
        ),
        Self::new("tls13-aes128gcm", libc::TLS_1_3_VERSION, Cipher::Aes128Gcm),
        Self::new("tls13-aes256gcm", libc::TLS_1_3_VERSION, Cipher::Aes256Gcm),
        Self::new(
            "tls13-chacha20poly1305",
            libc::TLS_1_3_VERSION,
            Cipher::Chacha20Poly1305,
        ),
    ];

    const fn new(name: &'static str, version: u16, cipher: Cipher) -> Self {
        Self {
            name,
            version,
            cipher,
        }
    }

    /// Returns version and cipher as numbers of linux/tls.h.
    #[must_use]
    pub fn code(self) -> (u16, u16) {
        let cipher = match self.cipher {
            Cipher::Aes128Gcm => libc::TLS_CIPHER_AES_GCM_128,
            Cipher::Aes256Gcm => libc::TLS_CIPHER_AES_GCM_256,
            Cipher::Chacha20Poly1305 => libc::TLS_CIPHER_CHACHA20_POLY1305,
        };
        (self.version, cipher)
    }

    /// Returns dummy key material; different values of `fill` give different keys.
    fn dummy_keys(self, fill: u8) -> TlsCryptoInfo {
        let info = |cipher_type| libc::tls_crypto_info {
            version: self.version,
            cipher_type,
        };
        match self.cipher {
            Cipher::Aes128Gcm => TlsCryptoInfo::Aes128Gcm(libc::tls12_crypto_info_aes_gcm_128 {
                info: info(libc::TLS_CIPHER_AES_GCM_128),
                iv: [fill; libc::TLS_CIPHER_AES_GCM_128_IV_SIZE],
                key: [fill; libc::TLS_CIPHER_AES_GCM_128_KEY_SIZE],
                salt: [fill; libc::TLS_CIPHER_AES_GCM_128_SALT_SIZE],
                rec_seq: [0; libc::TLS_CIPHER_AES_GCM_128_REC_SEQ_SIZE],
            }),
            Cipher::Aes256Gcm => TlsCryptoInfo::Aes256Gcm(libc::tls12_crypto_info_aes_gcm_256 {
                info: info(libc::TLS_CIPHER_AES_GCM_256),
                iv: [fill; libc::TLS_CIPHER_AES_GCM_256_IV_SIZE],
                key: [fill; libc::TLS_CIPHER_AES_GCM_256_KEY_SIZE],
                salt: [fill; libc::TLS_CIPHER_AES_GCM_256_SALT_SIZE],
                rec_seq: [0; libc::TLS_CIPHER_AES_GCM_256_REC_SEQ_SIZE],
            }),
            Cipher::Chacha20Poly1305 => {
                TlsCryptoInfo::Chacha20Poly1305(libc::tls12_crypto_info_chacha20_poly1305 {
                    info: info(libc::TLS_CIPHER_CHACHA20_POLY1305),
                    iv: [fill; libc::TLS_CIPHER_CHACHA20_POLY1305_IV_SIZE],
                    key: [fill; libc::TLS_CIPHER_CHACHA20_POLY1305_KEY_SIZE],
                    salt: [],
                    rec_seq: [0; libc::TLS_CIPHER_CHACHA20_POLY1305_REC_SEQ_SIZE],
                })
            }
        }
    }
}

/// The kernel's TLS support for one suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteOffer {
    /// The suite.
    pub suite: Suite,
    /// Whether it encrypts what is sent.
    pub tx: Result<(), Refused>,
    /// Whether it decrypts what is received.
    pub rx: Result<(), Refused>,
    /// Whether it uses special instructions (AES-NI, SIMD); without them the kernel is several times slower
    /// than user space.
    pub accelerated: bool,
}

/// The kernel's TLS support.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KtlsOffer {
    /// Every suite of [`Suite::ALL`], in that order.
    pub suites: Vec<SuiteOffer>,
    /// Whether the key of a TLS 1.3 direction may be replaced (KeyUpdate).
    pub rekey: bool,
}

/// Tries the kernel's TLS with every suite in both directions.
///
/// # Errors
/// The refusal of the protocol itself: ENOENT of `setsockopt(TCP_ULP)` if the module `tls` is missing, or of
/// the loopback connection.
pub fn ktls() -> Result<KtlsOffer, Refused> {
    attached_connection()?;
    let mut suites = Vec::with_capacity(Suite::ALL.len());
    for suite in Suite::ALL {
        suites.push(SuiteOffer {
            suite,
            tx: transmit(suite).map(drop),
            rx: receive(suite),
            accelerated: false,
        });
    }
    // The kernel lists the drivers of these ciphers only now.
    let listed = fs::read_to_string("/proc/crypto").unwrap_or_default();
    for offer in &mut suites {
        offer.accelerated = is_accelerated(offer.suite.cipher, &listed);
    }
    let rekey = suites
        .iter()
        .filter(|offer| offer.suite.version == libc::TLS_1_3_VERSION && offer.tx.is_ok())
        .any(|offer| rekeyed(offer.suite).is_ok());
    Ok(KtlsOffer { suites, rekey })
}

/// Returns from /proc/crypto whether the kernel's best driver of a cipher is more than plain C.
fn is_accelerated(cipher: Cipher, listed: &str) -> bool {
    let (name, plain) = match cipher {
        Cipher::Aes128Gcm | Cipher::Aes256Gcm => ("gcm(aes)", "aes-generic"),
        Cipher::Chacha20Poly1305 => ("rfc7539(chacha20,poly1305)", "chacha20-generic"),
    };
    let mut best: Option<(u32, bool)> = None;
    for block in listed.split("\n\n") {
        let field = |key: &str| {
            let line = block
                .lines()
                .find(|line| line.split(':').next().map(str::trim) == Some(key));
            Some(line?.split_once(':')?.1.trim())
        };
        if field("name") != Some(name) {
            continue;
        }
        let priority = field("priority").and_then(|text| text.parse().ok());
        let driver = field("driver").unwrap_or_default();
        best = best.max(Some((priority.unwrap_or(0), !driver.contains(plain))));
    }
    best.is_some_and(|(_, accelerated)| accelerated)
}

fn transmit(suite: Suite) -> Result<Loopback, Refused> {
    let connection = attached_connection()?;
    setsockopt(&connection.near, TcpTlsTx, &suite.dummy_keys(1))
        .map_err(Refused::with("setsockopt(TLS_TX)"))?;
    Ok(connection)
}

fn receive(suite: Suite) -> Result<(), Refused> {
    let connection = attached_connection()?;
    setsockopt(&connection.near, TcpTlsRx, &suite.dummy_keys(1))
        .map_err(Refused::with("setsockopt(TLS_RX)"))
}

fn rekeyed(suite: Suite) -> Result<(), Refused> {
    let connection = transmit(suite)?;
    setsockopt(&connection.near, TcpTlsTx, &suite.dummy_keys(2))
        .map_err(Refused::with("setsockopt(TLS_TX)"))
}

/// Two ends of one connection; the far one only has to stay open.
struct Loopback {
    near: TcpStream,
    _far: TcpStream,
}

fn attached_connection() -> Result<Loopback, Refused> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Refused::of("bind"))?;
    let addr = listener.local_addr().map_err(Refused::of("getsockname"))?;
    let near = TcpStream::connect(addr).map_err(Refused::of("connect"))?;
    let (far, _) = listener.accept().map_err(Refused::of("accept"))?;
    setsockopt(&near, TcpUlp::default(), b"tls").map_err(Refused::with("setsockopt(TCP_ULP)"))?;
    Ok(Loopback { near, _far: far })
}

/// The soft and the hard limit of a resource; none = unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitPair {
    /// The limit in force.
    pub soft: Option<u64>,
    /// The value up to which the process may raise it by itself.
    pub hard: Option<u64>,
}

/// Returns the limit on open descriptors, if the kernel tells.
#[must_use]
pub fn open_files() -> Option<LimitPair> {
    limit_of(Resource::RLIMIT_NOFILE)
}

/// Returns the limit on locked memory in bytes, if the kernel tells.
#[must_use]
pub fn locked_memory() -> Option<LimitPair> {
    limit_of(Resource::RLIMIT_MEMLOCK)
}

fn limit_of(resource: Resource) -> Option<LimitPair> {
    let finite = |value| (value != libc::RLIM_INFINITY).then_some(value);
    let (soft, hard) = getrlimit(resource).ok()?;
    Some(LimitPair {
        soft: finite(soft),
        hard: finite(hard),
    })
}

/// Reads a value below /proc/sys by its sysctl name, without the line end; none = it does not exist.
#[must_use]
pub fn sysctl(name: &str) -> Option<String> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// Returns whether a seccomp filter is active on this process (proc_pid_status(5), `Seccomp: 2`).
#[must_use]
pub fn seccomp_filtered() -> bool {
    fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line == "Seccomp:\t2"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splice_moves_a_byte() {
        assert_eq!(splice_byte(), Ok(()));
    }

    #[test]
    fn ktls_tries_every_suite_or_says_which_call_was_refused() {
        match ktls() {
            Ok(offer) => assert_eq!(offer.suites.len(), Suite::ALL.len()),
            Err(refusal) => assert_eq!(refusal.call, "setsockopt(TCP_ULP)"),
        }
    }

    #[test]
    fn the_best_driver_tells_whether_a_cipher_is_accelerated() {
        let listed = "name         : gcm(aes)\ndriver       : generic-gcm-aesni\npriority     : 400\n\n\
                      name         : gcm(aes)\ndriver       : gcm_base(ctr(aes-generic),ghash-generic)\n\
                      priority     : 100\n\n\
                      name         : rfc7539(chacha20,poly1305)\n\
                      driver       : rfc7539(chacha20-generic,poly1305-generic)\npriority     : 100\n";
        assert!(is_accelerated(Cipher::Aes128Gcm, listed));
        assert!(!is_accelerated(Cipher::Chacha20Poly1305, listed));
        let simd = listed.replace("chacha20-generic", "chacha20-simd");
        assert!(is_accelerated(Cipher::Chacha20Poly1305, &simd));
        assert!(
            !is_accelerated(Cipher::Aes256Gcm, ""),
            "what is not listed is not known to be fast"
        );
    }

    #[test]
    fn probes_leave_no_descriptor_behind() {
        // Other tests of this process open descriptors at the same time, so a leak shows by its size: a
        // hundred rounds of at least two descriptors each.
        let open = || fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let before = open();
        for _ in 0..100 {
            let _ = (io_uring(), splice_byte(), ktls());
        }
        assert!(
            open() < before + 100,
            "{} descriptors, then {}",
            before,
            open()
        );
    }

    #[test]
    fn refusal_names_the_call_and_the_errno() {
        let refusal = Refused {
            call: "io_uring_setup",
            errno: Errno::EPERM,
        };
        assert_eq!(
            refusal.to_string(),
            "io_uring_setup: EPERM (Operation not permitted)"
        );
    }

    #[test]
    fn sysctl_reads_proc() {
        assert!(sysctl("kernel.osrelease").is_some_and(|release| release.contains('.')));
        assert_eq!(sysctl("kernel.no_such_thing"), None);
    }
}
