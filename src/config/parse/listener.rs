//! `[[listener]]` with its TLS, timeouts and limits; routes are next door.

use std::fs::File;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::backend::Names;
use super::behind::{Preset, behind, tcp_keepalive};
use super::pages::{error_pages, hsts};
use super::route::{Context, routes};
use super::{Binds, POSITIVE, Unique, name};
use crate::config::address::{self, BIND};
use crate::config::read::{Table, Value};
use crate::config::units;
use crate::config::{
    Bind, CertificateFiles, Limits, Listener, ListenerTimeouts, Mode, Offload, ProxyProtocol, Tls,
    TlsVersion,
};
use crate::proto::addr::{Cidr, TrustedProxies};
use crate::tls::identity;

/// Longest body that may be asked for, in bytes: what TOML's integers hold.
const BODY_LEN_MAX: u64 = i64::MAX.unsigned_abs();
/// `timeouts.keep_alive` of a listener that is behind nothing we know.
const KEEP_ALIVE: Duration = Duration::from_secs(65);
const CERTIFICATE: &str = "the path of a PEM file or { cert = PATH, key = PATH }";
/// What an element of `client` or `trusted_proxies` may be.
pub(super) const RANGE: &str = "an address, or a range such as 10.0.0.0/8";

/// Reads every listener.
pub(super) fn listeners(
    root: &mut Table<'_, '_>,
    backends: &Names<'_, '_>,
    binds: &mut Binds,
) -> Vec<Listener> {
    let tables = root.tables_required("listener", "[[listener]]");
    let mut names = Unique::default();
    let read = |table| listener(table, backends, binds, &mut names);
    tables.into_iter().map(read).collect()
}

fn listener(
    mut table: Table<'_, '_>,
    backends: &Names<'_, '_>,
    binds: &mut Binds,
    names: &mut Unique<String>,
) -> Listener {
    let modes = [("http", Mode::Http), ("tcp", Mode::Tcp), ("sni", Mode::Sni)];
    let mode = table.choice("mode", &modes).unwrap_or(Mode::Http);
    let bind = addresses(&mut table, binds);
    let preset = behind(&mut table, mode);
    let preset = preset.as_ref();
    let (proxy_protocol, trusted_proxies) = trust(&mut table, preset);
    let opens_tls = table.has("tls");
    let tls = tls(&mut table, mode);
    let context = Context {
        mode,
        opens_tls,
        backends,
    };
    Listener {
        name: listener_name(&mut table, &bind, names),
        mode,
        behind: preset.map(|preset| preset.kind),
        proxy_protocol,
        trusted_proxies,
        tcp_keepalive: tcp_keepalive(&mut table, preset),
        timeouts: timeouts(table.table_or_empty("timeouts"), preset),
        guards_client_subject: false,
        limits: limits(table.table_or_empty("limits")),
        errors: error_pages(&mut table, mode),
        routes: routes(&mut table, &context),
        bind,
        tls,
    }
}

/// Reads the name; without one the listener is called by its first address.
fn listener_name(
    table: &mut Table<'_, '_>,
    binds: &[Bind],
    names: &mut Unique<String>,
) -> Arc<str> {
    let Some(value) = table.take("name") else {
        let name = binds.first().map(Bind::to_string).unwrap_or_default();
        // The same name twice would be the same address twice, which is an error of its own.
        names.claim(name.clone(), &table.place);
        return name.into();
    };
    let place = value.place.clone();
    let parsed = value.parse("a name of at most 128 bytes", |text| {
        let name = name(text)?;
        match names.claim(name.clone(), &place) {
            Some(before) => Err(format!("is the name of {before} already")),
            None => Ok(name),
        }
    });
    parsed.unwrap_or_default().into()
}

fn addresses(table: &mut Table<'_, '_>, binds: &mut Binds) -> Vec<Bind> {
    let Some(value) = table.require("bind", BIND) else {
        return Vec::new();
    };
    let read = |value: Value<'_, '_>| {
        let place = value.place.clone();
        value.parse(BIND, |text| {
            let bind = address::bind(place.base(), text)?;
            match binds.claim(bind.clone(), &place) {
                Some(before) => Err(format!("is taken by {before} already")),
                None => Ok(bind),
            }
        })
    };
    let values = value.one_or_more(BIND);
    values.into_iter().filter_map(read).collect()
}

fn trust(
    table: &mut Table<'_, '_>,
    preset: Option<&Preset<'_, '_>>,
) -> (ProxyProtocol, TrustedProxies) {
    // A list with a mistake in it is an error of its own, and not empty.
    let nobody = !table.names_any("trusted_proxies");
    let trusted = trusted_proxies(table);
    let choices = [
        ("off", ProxyProtocol::Off),
        ("optional", ProxyProtocol::Optional),
        ("require", ProxyProtocol::Require),
    ];
    if let Some(preset) = preset {
        preset.question_trust(nobody);
    }
    let Some(value) = table.take("proxy_protocol") else {
        let mode = preset.map(|preset| preset.proxy_protocol(nobody));
        return (mode.unwrap_or(ProxyProtocol::Off), trusted);
    };
    if nobody && value.is("require") {
        value.place.reject(
            "\"require\" with empty trusted_proxies refuses every connection; name the balancers \
             in trusted_proxies",
        );
    }
    if nobody && value.is("optional") {
        value
            .place
            .warn("\"optional\" with empty trusted_proxies never believes a PROXY header");
    }
    let place = value.place.clone();
    let mode = value.choice(&choices);
    if let (Some(preset), Some(mode)) = (preset, mode) {
        preset.question_proxy_protocol(mode, &place);
    }
    (mode.unwrap_or(ProxyProtocol::Off), trusted)
}

fn trusted_proxies(table: &mut Table<'_, '_>) -> TrustedProxies {
    let wanted = "an address, a range such as 10.0.0.0/8, or unix:";
    let mut trusted = TrustedProxies::default();
    let Some(value) = table.take("trusted_proxies") else {
        return trusted;
    };
    let values = if value.is_text() {
        vec![value]
    } else {
        value.list(wanted)
    };
    for value in values {
        if value.is("unix:") {
            trusted.unix = true;
        } else if let Some(range) = value.parse(wanted, range) {
            trusted.ranges.push(range);
        }
    }
    trusted
}

/// Parses a range of addresses.
pub(super) fn range(text: &str) -> Result<Cidr, String> {
    text.parse()
        .map_err(|wrong| format!("is no range: {wrong}"))
}

fn tls(table: &mut Table<'_, '_>, mode: Mode) -> Option<Tls> {
    let mut tls = table.table("tls")?;
    if mode == Mode::Sni {
        tls.place.reject(
            "mode = \"sni\" passes TLS through unopened; no [listener.tls], or another mode",
        );
    }
    let certificates = tls.require("certificates", CERTIFICATE);
    let certificates = certificates.map_or_else(Vec::new, |value| value.one_or_more(CERTIFICATE));
    let verifies = tls.has("client_ca");
    Some(Tls {
        certificates: certificates.into_iter().filter_map(certificate).collect(),
        client_ca: tls.take("client_ca").and_then(client_ca),
        client_subject: client_subject(&mut tls, mode, verifies),
        min_version: tls_version(&mut tls).unwrap_or(TlsVersion::V1_2),
        offload: offload(&mut tls).unwrap_or(Offload::Adaptive),
        hsts: hsts(&mut tls, mode),
    })
}

/// Reads `min_version`.
pub(super) fn tls_version(tls: &mut Table<'_, '_>) -> Option<TlsVersion> {
    let versions = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
    tls.choice("min_version", &versions)
}

/// Reads `offload`.
pub(super) fn offload(tls: &mut Table<'_, '_>) -> Option<Offload> {
    let offloads = [
        ("adaptive", Offload::Adaptive),
        ("always", Offload::Always),
        ("never", Offload::Never),
    ];
    tls.choice("offload", &offloads)
}

fn client_subject(tls: &mut Table<'_, '_>, mode: Mode, verifies: bool) -> bool {
    let Some(value) = tls.take("client_subject") else {
        return false;
    };
    let place = value.place.clone();
    let told = value.boolean().unwrap_or(false);
    if told && !verifies {
        place.reject("needs client_ca: without it no client shows a certificate");
    } else if told && mode == Mode::Tcp {
        place.reject(
            "is a header of HTTP, which mode = \"tcp\" has not; send_proxy = \"v2\" tells the common name",
        );
    }
    told
}

/// Reads the files of a certificate, so that what is wrong with them is known before anything runs.
fn certificate(value: Value<'_, '_>) -> Option<CertificateFiles> {
    let place = value.place.clone();
    let files = certificate_files(value)?;
    match identity::read(&files.cert, &files.key) {
        Ok(identity) => {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = since_1970.map_or(0, |time| time.as_secs());
            for warning in identity.warnings(now.try_into().unwrap_or(i64::MAX)) {
                place.warn(warning);
            }
        }
        Err(wrong) => place.reject(format!("{wrong}; {CERTIFICATE}")),
    }
    Some(files)
}

fn client_ca(value: Value<'_, '_>) -> Option<PathBuf> {
    let place = value.place.clone();
    let path = readable_file(value)?;
    if let Err(wrong) = identity::read_client_ca(&path) {
        place.reject(format!("{wrong}; the path of a PEM file"));
    }
    Some(path)
}

fn certificate_files(value: Value<'_, '_>) -> Option<CertificateFiles> {
    if value.is_table() {
        let mut table = value.table()?;
        let cert = table
            .require("cert", "the path of a PEM file")
            .and_then(readable_file);
        let key = match table.take("key") {
            Some(value) => readable_file(value),
            None => cert.clone(),
        };
        return Some(CertificateFiles {
            cert: cert?,
            key: key?,
        });
    }
    let cert = value.file(CERTIFICATE)?;
    let key = cert.clone();
    Some(CertificateFiles { cert, key })
}

/// Returns the path of the readable PEM file a value names.
pub(super) fn readable_file(value: Value<'_, '_>) -> Option<PathBuf> {
    value.file("the path of a PEM file")
}

impl Value<'_, '_> {
    /// Returns the path of the readable file it names.
    pub(super) fn file(self, wanted: &str) -> Option<PathBuf> {
        let place = self.place.clone();
        self.parse(wanted, |text| {
            let path = crate::config::read::resolved(place.base(), text)?;
            readable(&path)?;
            Ok(path)
        })
    }
}

/// Tells why a file cannot be read. Only regular files are opened: a FIFO would block.
fn readable(path: &Path) -> Result<(), String> {
    let metadata = path.metadata().map_err(|error| wrong_file(&error))?;
    if !metadata.is_file() {
        return Err("is no regular file".to_owned());
    }
    File::open(path).map_err(|error| wrong_file(&error))?;
    Ok(())
}

fn wrong_file(error: &std::io::Error) -> String {
    format!("cannot be read: {error}")
}

fn timeouts(mut table: Table<'_, '_>, preset: Option<&Preset<'_, '_>>) -> ListenerTimeouts {
    let mut read = |key, default_s| {
        let value = table.duration(key, POSITIVE);
        value.unwrap_or(Duration::from_secs(default_s))
    };
    ListenerTimeouts {
        proxy_header: read("proxy_header", 5),
        tls_handshake: read("tls_handshake", 10),
        request_header: read("request_header", 10),
        keep_alive: keep_alive(&mut table, preset),
    }
}

fn keep_alive(table: &mut Table<'_, '_>, preset: Option<&Preset<'_, '_>>) -> Duration {
    let place = table.place_of("keep_alive");
    match (table.duration("keep_alive", POSITIVE), preset) {
        (Some(written), Some(preset)) => {
            preset.question_keep_alive(written, &place);
            written
        }
        (Some(written), None) => written,
        (None, Some(preset)) => preset.kind.keep_alive(),
        (None, None) => KEEP_ALIVE,
    }
}

/// Reads `[listener.limits]`. A smaller `head` takes the default of `request_line` down with it.
fn limits(mut table: Table<'_, '_>) -> Limits {
    let head = size(&mut table, "head", 256..=1 << 20).unwrap_or(32 * 1024);
    let line = table.take("request_line").and_then(|value| {
        let place = value.place.clone();
        let line = value.size(64..=64 * 1024)?;
        if line > head {
            place.reject(format!(
                "is more than head; at most {}",
                units::size_text(head)
            ));
        }
        Some(line)
    });
    Limits {
        request_line: bytes(line.unwrap_or(head.min(8 * 1024))),
        head: bytes(head),
        headers: bytes(table.number("headers", 1..=1024).unwrap_or(100)),
        max_body: max_body(&mut table),
    }
}

fn size(table: &mut Table<'_, '_>, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
    table.take(key)?.size(range)
}

/// A count of bytes as memory is counted; the limits above fit every machine.
fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn max_body(table: &mut Table<'_, '_>) -> Option<u64> {
    let value = table.take("max_body")?;
    if value.is("none") {
        return None;
    }
    value.size(0..=BODY_LEN_MAX)
}
