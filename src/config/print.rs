//! The effective configuration as TOML that parses to the same configuration again.

use std::fmt::{self, Display, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use super::{
    AccessFormat, Backend, BackendServer, BackendTls, Bind, CertificateFiles, Config, DrainClose,
    ErrorPages, HealthCheck, HealthKind, Limits, Listener, Log, LogLevel, LogTarget, Mode, Offload,
    Process, ProxyProtocol, Route, RouteAction, Sandbox, ServerAddress, TcpKeepalive, Threads, Tls,
    TlsVersion, WhenDown, units,
};
use crate::proto::addr::TrustedProxies;
use crate::proto::proxy;

impl Display for Config {
    /// Writes every key that has a value, defaults too. Keys that are off stay away.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = Page::default();
        process(&mut page, &self.process);
        log(&mut page, &self.log);
        for each in &self.listeners {
            listener(&mut page, each, &self.backends);
        }
        for each in &self.backends {
            backend(&mut page, each);
        }
        f.write_str(page.text.trim_start_matches('\n'))
    }
}

/// The text so far.
#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    fn header(&mut self, header: &str) {
        self.line(format_args!("\n{header}"));
    }

    fn bare(&mut self, key: &str, value: impl Display) {
        self.line(format_args!("{key} = {value}"));
    }

    fn quoted(&mut self, key: &str, value: impl Display) {
        self.bare(key, quoted(&value.to_string()));
    }

    fn duration(&mut self, key: &str, value: Duration) {
        self.quoted(key, units::duration_text(value));
    }

    fn list(&mut self, key: &str, items: impl Iterator<Item = String>) {
        let items: Vec<String> = items.collect();
        self.bare(key, format_args!("[{}]", items.join(", ")));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a String cannot go wrong.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Writes a text as a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn process(page: &mut Page, process: &Process) {
    page.header("[server]");
    threads(page, "reception_threads", process.reception_threads);
    threads(page, "relay_threads", process.relay_threads);
    page.bare("max_connections", process.max_connections);
    page.duration("drain_lead", process.drain_lead);
    page.duration("drain_timeout", process.drain_timeout);
    if let Some(window) = process.drain_window {
        page.duration("drain_window", window);
    }
    if let Some(rate) = process.drain_rate {
        page.bare("drain_rate", rate);
    }
    page.bare("share_port", process.share_port);
    let accounts = [("user", &process.user), ("group", &process.group)];
    for (key, account) in accounts {
        if let Some(account) = account {
            page.quoted(key, account);
        }
    }
    match process.sandbox {
        Sandbox::Off => page.bare("sandbox", false),
        Sandbox::On => page.bare("sandbox", true),
        Sandbox::Log => page.quoted("sandbox", "log"),
    }
    let paths = [
        ("pid_file", &process.pid_file),
        ("admin_socket", &process.admin_socket),
    ];
    for (key, path) in paths {
        if let Some(path) = path {
            page.bare(key, quoted_path(path));
        }
    }
    if let Some(addr) = process.admin_http {
        page.quoted("admin_http", addr);
    }
    let access = &process.admin_access;
    if !access.hosts.is_empty() {
        page.list("admin_http_hosts", access.hosts.iter().map(|it| quoted(it)));
    }
    page.bare("admin_http_write", access.write);
    if let Some(token) = &access.token {
        page.bare("admin_http_token", quoted_path(&token.file));
    }
    if !process.nameservers.is_empty() {
        let nameservers = process.nameservers.iter();
        page.list(
            "nameservers",
            nameservers.map(|addr| quoted(&addr.to_string())),
        );
    }
}

fn threads(page: &mut Page, key: &str, threads: Threads) {
    match threads {
        Threads::Auto => page.quoted(key, "auto"),
        Threads::Count(count) => page.bare(key, count),
    }
}

fn log(page: &mut Page, log: &Log) {
    page.header("[log]");
    page.quoted(
        "level",
        match log.level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        },
    );
    page.quoted(
        "access",
        match log.access {
            AccessFormat::Json => "json",
            AccessFormat::Httplog => "httplog",
            AccessFormat::Combined => "combined",
            AccessFormat::Off => "off",
        },
    );
    page.quoted("target", log_target(&log.target));
    page.quoted("facility", &log.facility);
    if let Some(progress) = log.progress {
        page.duration("progress", progress);
    }
}

fn log_target(target: &LogTarget) -> String {
    match target {
        LogTarget::Stderr => "stderr".to_owned(),
        LogTarget::Journald => "journald".to_owned(),
        LogTarget::File(path) => format!("file:{}", path.display()),
        LogTarget::SyslogUdp(receiver, None) => format!("syslog:{receiver}"),
        LogTarget::SyslogUdp(receiver, Some(facility)) => format!("syslog:{receiver}/{facility}"),
        LogTarget::SyslogUnix(path) => format!("syslog:unix:{}", path.display()),
    }
}

fn listener(page: &mut Page, listener: &Listener, backends: &[Backend]) {
    page.header("[[listener]]");
    page.quoted("name", &listener.name);
    page.list(
        "bind",
        listener
            .bind
            .iter()
            .map(|bind| quoted(&Bind::to_string(bind))),
    );
    page.quoted(
        "mode",
        match listener.mode {
            Mode::Http => "http",
            Mode::Tcp => "tcp",
            Mode::Sni => "sni",
        },
    );
    if let Some(behind) = listener.behind {
        page.quoted("behind", behind.as_str());
    }
    page.quoted(
        "proxy_protocol",
        match listener.proxy_protocol {
            ProxyProtocol::Off => "off",
            ProxyProtocol::Optional => "optional",
            ProxyProtocol::Require => "require",
        },
    );
    trusted_proxies(page, &listener.trusted_proxies);
    match listener.tcp_keepalive {
        TcpKeepalive::Off => page.quoted("tcp_keepalive", "off"),
        TcpKeepalive::System => page.quoted("tcp_keepalive", "system"),
        TcpKeepalive::After(pause) => page.duration("tcp_keepalive", pause),
    }
    if let Some(tls) = &listener.tls {
        self::tls(page, tls);
    }
    page.header("[listener.timeouts]");
    page.duration("proxy_header", listener.timeouts.proxy_header);
    page.duration("tls_handshake", listener.timeouts.tls_handshake);
    page.duration("request_header", listener.timeouts.request_header);
    page.duration("keep_alive", listener.timeouts.keep_alive);
    limits(page, &listener.limits);
    errors(page, &listener.errors);
    for each in &listener.routes {
        route(page, each, backends);
    }
}

fn trusted_proxies(page: &mut Page, trusted: &TrustedProxies) {
    let ranges = trusted
        .ranges
        .iter()
        .map(|range| quoted(&range.to_string()));
    let unix = trusted.unix.then(|| quoted("unix:"));
    page.list("trusted_proxies", ranges.chain(unix));
}

fn tls(page: &mut Page, tls: &Tls) {
    page.header("[listener.tls]");
    page.list("certificates", tls.certificates.iter().map(certificate));
    if let Some(client_ca) = &tls.client_ca {
        page.bare("client_ca", quoted_path(client_ca));
    }
    page.bare("client_subject", tls.client_subject);
    min_version(page, tls.min_version);
    offload(page, tls.offload);
    if let Some(hsts) = &tls.hsts {
        let parts = [
            ("max_age", Some(quoted(&units::duration_text(hsts.max_age)))),
            (
                "include_subdomains",
                Some(hsts.include_subdomains.to_string()),
            ),
            ("preload", Some(hsts.preload.to_string())),
        ];
        page.bare("hsts", inline_table(&parts));
    }
}

fn min_version(page: &mut Page, version: TlsVersion) {
    page.quoted(
        "min_version",
        match version {
            TlsVersion::V1_2 => "1.2",
            TlsVersion::V1_3 => "1.3",
        },
    );
}

fn offload(page: &mut Page, offload: Offload) {
    page.quoted(
        "offload",
        match offload {
            Offload::Adaptive => "adaptive",
            Offload::Always => "always",
            Offload::Never => "never",
        },
    );
}

fn certificate(files: &CertificateFiles) -> String {
    if files.cert == files.key {
        return quoted_path(&files.cert);
    }
    let (cert, key) = (quoted_path(&files.cert), quoted_path(&files.key));
    format!("{{ cert = {cert}, key = {key} }}")
}

fn limits(page: &mut Page, limits: &Limits) {
    let size = |bytes: usize| units::size_text(u64::try_from(bytes).unwrap_or(u64::MAX));
    page.header("[listener.limits]");
    page.quoted("request_line", size(limits.request_line));
    page.quoted("head", size(limits.head));
    page.bare("headers", limits.headers);
    match limits.max_body {
        None => page.quoted("max_body", "none"),
        Some(bytes) => page.quoted("max_body", units::size_text(bytes)),
    }
}

fn errors(page: &mut Page, errors: &ErrorPages) {
    if errors.0.is_empty() {
        return;
    }
    page.header("[listener.errors]");
    for each in &errors.0 {
        page.bare(&each.status.to_string(), quoted_path(&each.file));
    }
}

fn route(page: &mut Page, route: &Route, backends: &[Backend]) {
    page.header("[[listener.route]]");
    let names = [("host", &route.host), ("server_name", &route.server_name)];
    for (key, patterns) in names {
        if !patterns.is_empty() {
            page.list(
                key,
                patterns.iter().map(|pattern| quoted(&pattern.to_string())),
            );
        }
    }
    if let Some(path) = &route.path {
        page.quoted("path", path);
    }
    if let Some(websocket) = route.websocket {
        page.bare("websocket", websocket);
    }
    if let Some(scheme) = route.scheme {
        page.quoted("scheme", scheme.as_str());
    }
    if !route.client.is_empty() {
        page.list(
            "client",
            route.client.iter().map(|range| quoted(&range.to_string())),
        );
    }
    action(page, &route.action, backends);
}

fn action(page: &mut Page, action: &RouteAction, backends: &[Backend]) {
    match action {
        RouteAction::Backend(id) => {
            if let Some(backend) = backends.get(id.0) {
                page.quoted("backend", &backend.name);
            }
        }
        RouteAction::Redirect(redirect) => {
            let scheme = redirect.scheme.map(|scheme| quoted(scheme.as_str()));
            let parts = [
                ("scheme", scheme),
                ("host", redirect.host.as_deref().map(quoted)),
                ("port", redirect.port.map(|port| port.to_string())),
                ("status", Some(redirect.status.to_string())),
            ];
            page.bare("redirect", inline_table(&parts));
        }
        RouteAction::Respond(respond) => {
            let parts = [
                ("status", Some(respond.status.to_string())),
                ("body", Some(quoted(&respond.body))),
            ];
            page.bare("respond", inline_table(&parts));
        }
    }
}

fn inline_table(parts: &[(&str, Option<String>)]) -> String {
    let part = |(key, value): &(&str, Option<String>)| {
        let value = value.as_ref()?;
        Some(format!("{key} = {value}"))
    };
    let parts: Vec<String> = parts.iter().filter_map(part).collect();
    format!("{{ {} }}", parts.join(", "))
}

fn backend(page: &mut Page, backend: &Backend) {
    page.header("[[backend]]");
    page.quoted("name", &backend.name);
    page.quoted("balance", backend.balance.as_str());
    page.bare("keep_alive", backend.keep_alive);
    page.bare("max_queue", backend.max_queue);
    page.quoted(
        "when_down",
        match backend.when_down {
            WhenDown::Refuse => "refuse",
            WhenDown::Queue => "queue",
        },
    );
    page.bare("retries", backend.retries);
    page.duration("slow_start", backend.slow_start);
    page.quoted(
        "drain_close",
        match backend.drain_close {
            DrainClose::Plain => "plain",
            DrainClose::Websocket => "websocket",
        },
    );
    page.header("[backend.timeouts]");
    page.duration("connect", backend.timeouts.connect);
    page.duration("queue", backend.timeouts.queue);
    page.duration("response", backend.timeouts.response);
    page.duration("tunnel_idle", backend.timeouts.tunnel_idle);
    page.duration("half_close", backend.timeouts.half_close);
    health(page, backend.health.as_ref(), backend.tls.is_some());
    if let Some(tls) = &backend.tls {
        backend_tls(page, tls);
    }
    for each in &backend.servers {
        backend_server(page, each);
        if backend.tls.is_some() {
            page.bare("tls", each.tls.is_some());
        }
    }
}

fn backend_tls(page: &mut Page, tls: &BackendTls) {
    page.header("[backend.tls]");
    page.bare("verify", tls.verify);
    if tls.verify {
        page.bare("ca", quoted_path(&tls.ca));
    }
    if let Some(name) = &tls.server_name {
        page.quoted("server_name", name);
    }
    min_version(page, tls.min_version);
    if let Some(files) = &tls.certificate {
        page.bare("cert", quoted_path(&files.cert));
        page.bare("key", quoted_path(&files.key));
    }
    offload(page, tls.offload);
}

fn health(page: &mut Page, health: Option<&HealthCheck>, over_tls: bool) {
    page.header("[backend.health]");
    let Some(health) = health else {
        page.quoted("kind", "off");
        return;
    };
    page.quoted(
        "kind",
        match health.kind {
            HealthKind::Http => "http",
            HealthKind::Tcp => "tcp",
            HealthKind::Websocket => "websocket",
        },
    );
    if health.kind == HealthKind::Http {
        page.quoted("method", health.method.as_str());
    }
    if health.kind != HealthKind::Tcp {
        page.quoted("path", &health.path);
        if let Some(host) = &health.host {
            page.quoted("host", host);
        }
    }
    if health.kind == HealthKind::Http {
        page.quoted("expect", units::status_ranges_text(&health.expect));
    }
    if over_tls {
        page.bare("tls", health.tls);
    }
    page.duration("interval", health.interval);
    page.duration("fast_interval", health.fast_interval);
    page.duration("timeout", health.timeout);
    page.bare("rise", health.rise);
    page.bare("fall", health.fall);
}

/// `send_proxy` stands at each server, where it counts; the backend's is only its default.
fn backend_server(page: &mut Page, server: &BackendServer) {
    page.header("[[backend.server]]");
    page.quoted(
        "address",
        match &server.address {
            ServerAddress::Inet(ip, port) => SocketAddr::new(*ip, *port).to_string(),
            ServerAddress::Name(name, port) => format!("{name}:{port}"),
            ServerAddress::Srv(name) => format!("srv:{name}"),
            ServerAddress::Unix(path) => format!("unix:{}", path.display()),
        },
    );
    page.bare("weight", server.weight);
    if let Some(limit) = server.max_connections {
        page.bare("max_connections", NonZeroUsize::get(limit));
    }
    if !server.source.is_empty() {
        let addresses = server.source.iter().map(|ip| quoted(&ip.to_string()));
        page.list("source", addresses);
    }
    page.quoted(
        "send_proxy",
        match server.send_proxy {
            None => "off",
            Some(proxy::HeaderVersion::V1) => "v1",
            Some(proxy::HeaderVersion::V2) => "v2",
        },
    );
}
