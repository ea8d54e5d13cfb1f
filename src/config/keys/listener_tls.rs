//! `[listener.tls]`: certificates, client certificates, and Strict-Transport-Security.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::drafts::ListenerDraft;
use super::shared::refuse_without_http;
use crate::config::page::quoted_path;
use crate::config::read::{Place, Scope, Value, readable, resolved};
use crate::config::section::{At, Key, Section, Type};
use crate::config::shape::{Fallback, Shape};
use crate::config::types::{Bool, Choice, Custom, Many, Maybe, PEM, Readable, Seconds};
use crate::config::{
    CertificateFiles, CertificateSource, ClientAuth, Hsts, Mode, Offload, Tls, TlsVersion, asked,
};
use crate::tls::file;
use crate::tls::folder::{self, FolderFile};
use crate::tls::identity::{self, Identity};
use crate::tls::judge::{About, together};
use crate::tls::revocation;
use crate::tls::servers::is_root_of_system;
use crate::tls::ticket_keys;

const CRL: &str = "the path of a file of revocation lists, in PEM or DER";
const CERTIFICATE: &str =
    "the path of a PEM file, a folder (\"DIR/\") or { cert = PATH, key = PATH }";
const TICKET_KEY: Readable = Readable {
    wanted: "the path of a file of 80 random bytes",
};
/// Most ticket keys: one for each hour of a ticket's life, and some in advance.
const TICKET_KEYS_MAX: usize = 16;
/// Range of the time for which browsers remember the policy: ten years at most.
const AGE: Seconds = Seconds {
    range: AGES,
    wanted: "a whole number and a unit such as \"8760h\", at most 87600h",
};
const AGES: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(10 * 365 * 24);
/// Shortest time that the preload lists of browsers accept (hstspreload.org).
const PRELOAD_AGE_MIN: Duration = Duration::from_hours(365 * 24);

/// The type of `min_version`.
pub(super) const VERSIONS: Choice<TlsVersion> = Choice(&[
    ("1.2", TlsVersion::V1_2, "TLS 1.2 and TLS 1.3."),
    ("1.3", TlsVersion::V1_3, "TLS 1.3 alone."),
]);

/// The type of `client_auth`.
const CLIENT_AUTHS: Choice<ClientAuth> = Choice(&[
    (
        "require",
        ClientAuth::Require,
        "A client without a certificate is refused.",
    ),
    (
        "request",
        ClientAuth::Request,
        "A client without a certificate passes.",
    ),
]);

/// The type of `offload`.
pub(super) const OFFLOADS: Choice<Offload> = Choice(&[
    (
        "adaptive",
        Offload::Adaptive,
        "The process encrypts at first; the kernel takes over a direction that turns bulky.",
    ),
    (
        "always",
        Offload::Always,
        "The kernel encrypts wherever it can.",
    ),
    ("never", Offload::Never, "The process encrypts."),
]);

/// `[listener.tls]`.
pub(super) static TLS: Section<Tls> = Section {
    path: "listener.tls",
    short: "TLS that ends on this listener.",
    long: "Without this table the listener speaks plain text. A renewed certificate is noticed within \
           seconds, without a reload.",
    blank: Tls::default,
    defaults: OnceLock::new(),
    rules: &[clients_are_asked, revocations_fit],
    keys: &[
        Key {
            name: "certificates",
            since: "0.1",
            default: Fallback::Required,
            short: "Certificates with their chains and keys; a client gets the one for its server name.",
            long: "An element is the path of one PEM file that holds certificate, chain and key, or \
                   `{ cert = PATH, key = PATH }`. A path that ends in `/` is a folder, of which every file \
                   `*.pem`, `*.crt` and `*.cer` is a certificate, in the order of the names; its key is in the \
                   same file or beside it, in `NAME.key` (for `NAME.crt`) or `NAME.crt.key`. Files added and \
                   removed later are noticed too. The first is the default for clients without a server name, \
                   or with one that fits no certificate. Of several for one name, a client gets one that \
                   it can verify, and ECDSA or Ed25519 rather than RSA.",
            example: "[\"site.pem\", { cert = \"b.crt\", key = \"b.key\" }]",
            wrong: "\"/nowhere.pem\"",
            kind: &At {
                of: Many {
                    of: Certificate,
                    wanted: "",
                    len: 1..=usize::MAX,
                    plural: "certificates",
                    shows_empty: true,
                },
                at: |it: &mut Tls| &mut it.certificates,
            },
        },
        Key {
            name: "client_ca",
            since: "0.1",
            default: Fallback::Words("no client certificate is asked for"),
            short: "Certificates of authorities; every client must show a certificate signed by one of them.",
            long: "A client's own certificate may be in the file as well if it is self-signed: that very \
                   certificate is accepted then, while it is valid. With `client_auth = \"request\"` a \
                   client may also come without a certificate.",
            example: "\"ca.pem\"",
            wrong: "\"/nowhere.pem\"",
            kind: &At {
                of: Maybe(Custom {
                    read: client_ca,
                    show: |path| Some(quoted_path(path)),
                    wanted: PEM.wanted,
                    shape: || PEM.shape(),
                }),
                at: |it: &mut Tls| &mut it.client_ca,
            },
        },
        Key {
            name: "client_auth",
            since: "0.1",
            default: Fallback::Is("\"require\""),
            short: "Whether a client may come without a certificate.",
            long: "A certificate that does not verify is refused in both cases. It needs `client_ca`.",
            example: "\"request\"",
            wrong: "\"optional\"",
            kind: &At {
                of: CLIENT_AUTHS,
                at: |it: &mut Tls| &mut it.client_auth,
            },
        },
        Key {
            name: "crl",
            since: "0.1",
            default: Fallback::Words("revocation is not checked"),
            short: "Lists of revoked certificates (CRL), one for each authority of clients.",
            long: "PEM with one or several lists, or one list in DER. Every certificate of a client's chain is \
                   looked up in the list of its issuer. A client is refused if the certificate is revoked, \
                   and also if its issuer has no list here or the list has ended (nextUpdate). A new file is \
                   noticed within seconds; one that is malformed, or whose list is older than the one in \
                   use, is not taken, and the log says so. It needs `client_ca`.",
            example: "\"revoked.pem\"",
            wrong: "\"/nowhere.pem\"",
            kind: &At {
                of: Maybe(Custom {
                    read: crl,
                    show: |path| Some(quoted_path(path)),
                    wanted: CRL,
                    shape: || PEM.shape(),
                }),
                at: |it: &mut Tls| &mut it.crl,
            },
        },
        Key {
            name: "client_subject",
            since: "0.1",
            default: Fallback::Is("false"),
            short: "Whether the application is told the subject of the client's certificate.",
            long: "It goes into the header X-Client-Subject. That header of a client is always removed; with \
                   this key, every listener removes it from the requests of trusted peers too. A client \
                   without a certificate has no such header. It needs `client_ca` and `mode = \"http\"`.",
            example: "true",
            wrong: "\"yes\"",
            kind: &At {
                of: Bool,
                at: |it: &mut Tls| &mut it.client_subject,
            },
        },
        Key {
            name: "ticket_keys",
            since: "0.2",
            default: Fallback::Words("keys of the process's own, which change every six hours"),
            short: "Files with the keys of session tickets, so that several processes resume each other's sessions.",
            long: "Each file has 80 random bytes (`openssl rand -out FILE 80`), which are the same on all \
                   machines: 16 of the key's name, 32 for HMAC-SHA-256 and 32 for AES-256, as in nginx's \
                   `ssl_session_ticket_key`. The first file seals new tickets, and all of them open tickets. The \
                   files are watched like certificates: to rotate, put a new file in front and remove the last \
                   one. A ticket lives for twelve hours. Tickets of a listener with another `client_ca` are not \
                   accepted.",
            example: "[\"new.ticket\", \"old.ticket\"]",
            wrong: "\"/nowhere.ticket\"",
            kind: &At {
                of: Many {
                    of: Custom {
                        read: ticket_key,
                        show: |path| Some(quoted_path(path)),
                        wanted: TICKET_KEY.wanted,
                        shape: || TICKET_KEY.shape(),
                    },
                    wanted: "",
                    len: 0..=TICKET_KEYS_MAX,
                    plural: "ticket keys",
                    shows_empty: false,
                },
                at: |it: &mut Tls| &mut it.ticket_keys,
            },
        },
        Key {
            name: "min_version",
            since: "0.1",
            default: Fallback::Is("\"1.2\""),
            short: "The lowest version of TLS that is spoken with clients.",
            long: "",
            example: "\"1.3\"",
            wrong: "\"1.1\"",
            kind: &At {
                of: VERSIONS,
                at: |it: &mut Tls| &mut it.min_version,
            },
        },
        Key {
            name: "offload",
            since: "0.1",
            default: Fallback::Is("\"adaptive\""),
            short: "Who encrypts after the handshake: the process or the kernel (kTLS).",
            long: "`longsplice doctor` reports what the kernel can do.",
            example: "\"never\"",
            wrong: "true",
            kind: &At {
                of: OFFLOADS,
                at: |it: &mut Tls| &mut it.offload,
            },
        },
        Key {
            name: "hsts",
            since: "0.1",
            default: Fallback::Words("no such header"),
            short: "Tells browsers to come back over TLS only (Strict-Transport-Security, RFC 6797).",
            long: "A time is its max-age; `\"0s\"` makes browsers forget. A table can say more: \
                   `{ max_age = \"8760h\", include_subdomains = true, preload = true }`. Only in \
                   `mode = \"http\"`.",
            example: "\"8760h\"",
            wrong: "\"1500ms\"",
            kind: &At {
                of: Maybe(StrictTransport),
                at: |it: &mut Tls| &mut it.hsts,
            },
        },
    ],
};

/// The files of a certificate: one path, or a table.
pub(super) struct Certificate;

/// `{ cert = PATH, key = PATH }`.
#[derive(Debug, Clone, Default)]
struct Pair {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

static PAIR: Section<Pair> = Section {
    path: "listener.tls.certificates",
    short: "A certificate and its key in two files.",
    long: "",
    blank: Pair::default,
    defaults: OnceLock::new(),
    rules: &[],
    keys: &[
        Key {
            name: "cert",
            since: "0.1",
            default: Fallback::Required,
            short: "PEM file with the certificate and its chain.",
            long: "",
            example: "\"b.crt\"",
            wrong: "\"/nowhere.pem\"",
            kind: &At {
                of: Maybe(PEM),
                at: |it: &mut Pair| &mut it.cert,
            },
        },
        Key {
            name: "key",
            since: "0.1",
            default: Fallback::Words("the file `cert`"),
            short: "PEM file with the private key.",
            long: "",
            example: "\"b.key\"",
            wrong: "\"/nowhere.pem\"",
            kind: &At {
                of: Maybe(PEM),
                at: |it: &mut Pair| &mut it.key,
            },
        },
    ],
};

impl Type for Certificate {
    type Value = CertificateSource;

    fn read(&self, value: Value<'_, '_>) -> Option<CertificateSource> {
        let place = value.place.clone();
        let source = if value.is_table() {
            let table = value.table()?;
            let names_key = table.has("key");
            let Pair { cert, key } = PAIR.read(table);
            let key = if names_key { key } else { cert.clone() };
            let (cert, key) = (cert?, key?);
            CertificateSource::Files(CertificateFiles { cert, key })
        } else {
            let base = place.base();
            value.parse(CERTIFICATE, |text| {
                let path = resolved(base, text)?;
                if text.ends_with('/') {
                    return Ok(CertificateSource::Folder(path));
                }
                readable(&path)?;
                let (cert, key) = (path.clone(), path);
                Ok(CertificateSource::Files(CertificateFiles { cert, key }))
            })?
        };
        let pairs = match &source {
            CertificateSource::Files(files) => Ok(vec![files.clone()]),
            CertificateSource::Folder(folder) => pairs_of(folder),
        };
        match pairs {
            Ok(pairs) => {
                for CertificateFiles { cert, key } in pairs {
                    let file = cert.display().to_string();
                    match read_identity(&cert, &key) {
                        Ok(identity) => warn_of(&identity, &file, &place),
                        Err(wrong) if cert == key => place.reject(format!("{file}: {wrong}")),
                        Err(wrong) => {
                            let key = key.display();
                            place.reject(format!("{file} with the key of {key}: {wrong}"));
                        }
                    }
                }
            }
            Err(wrong) => place.reject(wrong),
        }
        Some(source)
    }

    fn show(&self, source: &mut CertificateSource) -> Option<String> {
        let files = match source {
            CertificateSource::Files(files) => files,
            CertificateSource::Folder(folder) => return Some(quoted_path(folder)),
        };
        if files.cert == files.key {
            return Some(quoted_path(&files.cert));
        }
        let (cert, key) = (quoted_path(&files.cert), quoted_path(&files.key));
        Some(format!("{{ cert = {cert}, key = {key} }}"))
    }

    fn wanted(&self) -> String {
        CERTIFICATE.to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Either(vec![Readable::shape(&PEM), Shape::Inline(PAIR.describe())])
    }
}

fn warn_of(identity: &Identity, file: &str, place: &Place<'_, '_>) {
    let judged = identity.to_judge(file);
    let missing = judged.issuer_missing(is_root_of_system);
    for finding in judged.alone(now_s()).into_iter().chain(missing) {
        place.warn(format!("{file}: {finding}"));
    }
}

/// Returns the certificates of a folder, at least one.
fn pairs_of(folder: &Path) -> Result<Vec<CertificateFiles>, String> {
    let mut pairs = Vec::new();
    for entry in folder::list(folder).map_err(|wrong| wrong.to_string())? {
        match entry {
            FolderFile::Pair { cert, key } => pairs.push(CertificateFiles { cert, key }),
            FolderFile::Unusable { file, why } => return Err(format!("{}: {why}", file.display())),
        }
    }
    if pairs.is_empty() {
        let remedy = "its files *.pem, *.crt and *.cer, with their keys, are its certificates";
        return Err(format!(
            "{}: holds no certificate with a key; {remedy}",
            folder.display()
        ));
    }
    Ok(pairs)
}

/// Reads a certificate and its key, so that errors are known before the process starts; returns warnings
/// about them.
///
/// # Errors
/// A description of what is wrong with the files.
pub(super) fn warnings_of(cert: &Path, key: &Path) -> Result<Vec<String>, String> {
    let identity = read_identity(cert, key)?;
    let file = cert.display().to_string();
    let found = identity.to_judge(&file).alone(now_s());
    let found = found.iter().map(|finding| format!("{file}: {finding}"));
    Ok(found.collect())
}

fn read_identity(cert: &Path, key: &Path) -> Result<Identity, String> {
    identity::read(cert, key).map_err(|wrong| wrong.to_string())
}

fn now_s() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since_1970.map_or(0, |time| time.as_secs());
    now.try_into().unwrap_or(i64::MAX)
}

/// Warns of certificates that no client gets, of names without a route, and of routes without a certificate.
pub(super) fn certificates_fit_routes(draft: &mut ListenerDraft, scope: &Scope<'_, '_>) {
    let Some(tls) = &draft.listener.tls else {
        return;
    };
    let mut all = Vec::new();
    for source in &tls.certificates {
        match source {
            CertificateSource::Files(files) => all.push(files.clone()),
            CertificateSource::Folder(folder) => all.extend(pairs_of(folder).unwrap_or_default()),
        }
    }
    let read = all.iter().map(|files| {
        let identity = read_identity(&files.cert, &files.key)?;
        Ok((files.cert.display().to_string(), identity))
    });
    // An error has been reported by now.
    let Ok(certificates) = read.collect::<Result<Vec<_>, String>>() else {
        return;
    };
    let judged = certificates.iter();
    let judged: Vec<_> = judged.map(|(file, it)| it.to_judge(file)).collect();
    let routes = draft.routes.iter().map(|row| &row.value.route);
    let place = scope.place_of("tls.certificates");
    for (about, finding) in together(&judged, &asked(draft.listener.mode, routes)) {
        match about {
            About::Certificate(index) => {
                let file = certificates.get(index).map_or("", |(file, _)| file);
                place.warn(format!("{file}: {finding}"));
            }
            About::Routes => place.warn(finding.to_string()),
        }
    }
}

fn client_ca(value: Value<'_, '_>) -> Option<PathBuf> {
    let place = value.place.clone();
    let path = value.file(PEM.wanted)?;
    if let Err(wrong) = identity::read_client_ca(&path) {
        place.reject(format!("{wrong}; {}", PEM.wanted));
    }
    Some(path)
}

fn crl(value: Value<'_, '_>) -> Option<PathBuf> {
    let place = value.place.clone();
    let path = value.file(CRL)?;
    if let Err(wrong) = revocation::read(&path) {
        place.reject(format!("{wrong}; {CRL}"));
    }
    Some(path)
}

fn ticket_key(value: Value<'_, '_>) -> Option<PathBuf> {
    let place = value.place.clone();
    let path = value.file(TICKET_KEY.wanted)?;
    let checked = file::text_of(&path).and_then(|bytes| ticket_keys::check(&bytes));
    if let Err(wrong) = checked {
        place.reject(format!("{wrong}; {}", TICKET_KEY.wanted));
    }
    Some(path)
}

/// Refuses keys about clients' certificates if no client is asked for one.
fn clients_are_asked(tls: &mut Tls, scope: &Scope<'_, '_>) {
    if scope.has("client_ca") {
        return;
    }
    for (key, asks) in [
        ("client_auth", tls.client_auth != ClientAuth::Require),
        ("crl", scope.has("crl")),
    ] {
        if asks {
            let place = scope.place_of(key);
            place.reject("needs client_ca: without it no client shows a certificate");
        }
    }
}

/// Warns of revocation lists that have ended, and of authorities without one.
fn revocations_fit(tls: &mut Tls, scope: &Scope<'_, '_>) {
    let (Some(crl), Some(client_ca)) = (&tls.crl, &tls.client_ca) else {
        return;
    };
    // Errors in the files have been reported.
    let lists = revocation::read(crl);
    let Some((lists, anchors)) = lists.ok().zip(identity::read_client_ca(client_ca).ok()) else {
        return;
    };
    for warning in lists.warnings(&anchors, now_s()) {
        scope.place_of("crl").warn(warning);
    }
}

/// Strict-Transport-Security: a time, or a table with more.
struct StrictTransport;

static HSTS: Section<Hsts> = Section {
    path: "listener.tls.hsts",
    short: "What Strict-Transport-Security says.",
    long: "",
    blank: Hsts::default,
    defaults: OnceLock::new(),
    rules: &[preload_is_complete],
    keys: &[
        Key {
            name: "max_age",
            since: "0.1",
            default: Fallback::Required,
            short: "How long browsers remember it; zero makes them forget.",
            long: "Whole seconds, ten years at most.",
            example: "\"8760h\"",
            wrong: "\"1500ms\"",
            kind: &At {
                of: AGE,
                at: |it: &mut Hsts| &mut it.max_age,
            },
        },
        Key {
            name: "include_subdomains",
            since: "0.1",
            default: Fallback::Is("false"),
            short: "Whether it holds for the names below the host as well.",
            long: "",
            example: "true",
            wrong: "1",
            kind: &At {
                of: Bool,
                at: |it: &mut Hsts| &mut it.include_subdomains,
            },
        },
        Key {
            name: "preload",
            since: "0.1",
            default: Fallback::Is("false"),
            short: "Whether browsers may put the host into their own lists.",
            long: "The lists also ask for `include_subdomains` and a `max_age` of a year.",
            example: "true",
            wrong: "1",
            kind: &At {
                of: Bool,
                at: |it: &mut Hsts| &mut it.preload,
            },
        },
    ],
};

impl Type for StrictTransport {
    type Value = Hsts;

    fn read(&self, value: Value<'_, '_>) -> Option<Hsts> {
        if value.is_table() {
            let table = value.table()?;
            return Some(with_value(HSTS.read(table)));
        }
        let max_age = AGE.read(value)?;
        Some(with_value(Hsts {
            max_age,
            ..HSTS.defaults().clone()
        }))
    }

    fn show(&self, hsts: &mut Hsts) -> Option<String> {
        Some(HSTS.show(hsts))
    }

    fn wanted(&self) -> String {
        AGE.wanted()
    }

    fn shape(&self) -> Shape {
        Shape::Either(vec![AGE.shape(), Shape::Inline(HSTS.describe())])
    }
}

/// Writes the header's value (RFC 6797 section 6.1).
fn with_value(mut hsts: Hsts) -> Hsts {
    hsts.value = format!("max-age={}", hsts.max_age.as_secs());
    for (set, directive) in [
        (hsts.include_subdomains, "; includeSubDomains"),
        (hsts.preload, "; preload"),
    ] {
        if set {
            hsts.value.push_str(directive);
        }
    }
    hsts
}

/// Warns of `preload` without the settings that preload lists require.
fn preload_is_complete(hsts: &mut Hsts, scope: &Scope<'_, '_>) {
    let complete = hsts.include_subdomains && hsts.max_age >= PRELOAD_AGE_MIN;
    if hsts.preload && !complete {
        scope.place.warn(
            "browsers' lists take a host with preload only together with include_subdomains and a \
             max_age of 8760h or more",
        );
    }
}

/// Refuses `[listener.tls]` in modes that do not end TLS.
pub(super) fn tls_is_opened(draft: &mut ListenerDraft, scope: &Scope<'_, '_>) {
    if draft.listener.mode == Mode::Sni && draft.listener.tls.is_some() {
        scope.place_of("tls").reject(
            "mode = \"sni\" passes TLS through unopened; no [listener.tls], or another mode",
        );
    }
}

/// Refuses `client_subject` if no subject is known, or no header can carry it.
pub(super) fn client_subject_can_be_known(draft: &mut ListenerDraft, scope: &Scope<'_, '_>) {
    let Some(tls) = &draft.listener.tls else {
        return;
    };
    if !tls.client_subject {
        return;
    }
    let place = scope.place_of("tls.client_subject");
    if !scope.has("tls.client_ca") {
        place.reject("needs client_ca: without it no client shows a certificate");
    } else if draft.listener.mode == Mode::Tcp {
        place.reject(
            "is a header of HTTP, which mode = \"tcp\" has not; send_proxy = \"v2\" tells the common name",
        );
    }
}

/// Refuses `hsts` if longsplice adds no header to answers.
pub(super) fn hsts_is_http(draft: &mut ListenerDraft, scope: &Scope<'_, '_>) {
    refuse_without_http("tls.hsts", draft.listener.mode, scope);
}
