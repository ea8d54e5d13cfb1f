//! The tables as they are written: what refers to another table is not resolved yet, and what a table
//! says for the tables in it does not stand there yet.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::section::Row;
use crate::config::{
    Backend, BackendId, BackendLimits, BackendServer, BackendTimeouts, BackendTls, Balance,
    CertificateFiles, DrainClose, HealthCheck, HealthKind, HealthMethod, Listener, Offload,
    Redirect, Respond, Route, RouteAction, ServerAddress, TlsVersion, WhenDown,
};
use crate::proto::proxy::HeaderVersion;
use crate::tls::servers::ServerName;
use crate::tls::system_store;

/// A listener whose routes do not lead anywhere yet.
#[derive(Debug, Clone, Default)]
pub(super) struct ListenerDraft {
    /// The listener, without routes.
    pub(super) listener: Listener,
    /// Its routes.
    pub(super) routes: Vec<Row<RouteDraft>>,
}

/// A route whose action is not put together yet.
#[derive(Debug, Clone)]
pub(super) struct RouteDraft {
    /// The conditions; its action means nothing.
    pub(super) route: Route,
    /// The name of a backend.
    pub(super) backend: Option<String>,
    /// A redirect.
    pub(super) redirect: Option<Redirect>,
    /// An answer.
    pub(super) respond: Option<Respond>,
}

impl RouteDraft {
    /// Returns a draft of a table that says nothing, before defaults.
    pub(super) fn blank() -> Self {
        Self {
            route: Route {
                host: Vec::new(),
                server_name: Vec::new(),
                path: None,
                exact_path: None,
                method: Vec::new(),
                header: Vec::new(),
                query: Vec::new(),
                websocket: None,
                scheme: None,
                client: Vec::new(),
                action: RouteAction::Backend(BackendId(0)),
            },
            backend: None,
            redirect: None,
            respond: None,
        }
    }

    /// Returns the route; `id` finds backends.
    pub(super) fn into_route(self, id: impl Fn(&str) -> BackendId) -> Route {
        let Self {
            mut route,
            backend,
            redirect,
            respond,
        } = self;
        let others = redirect
            .map(RouteAction::Redirect)
            .or(respond.map(RouteAction::Respond));
        // A rule has seen to it that there is exactly one.
        let action = backend
            .map(|name| RouteAction::Backend(id(&name)))
            .or(others);
        route.action = action.unwrap_or(route.action);
        route
    }

    /// Returns the draft that means `route`; `name` names backends.
    pub(super) fn of(route: &Route, name: impl Fn(BackendId) -> Option<String>) -> Self {
        let mut draft = Self {
            route: route.clone(),
            ..Self::blank()
        };
        match &route.action {
            RouteAction::Backend(id) => draft.backend = name(*id),
            RouteAction::Redirect(redirect) => draft.redirect = Some(redirect.clone()),
            RouteAction::Respond(respond) => draft.respond = Some(respond.clone()),
        }
        draft
    }
}

/// A backend as it is written: what it says for all its servers is not in the servers yet.
#[derive(Debug, Clone)]
pub(super) struct BackendDraft {
    /// The backend without health check, TLS and servers.
    pub(super) backend: Backend,
    /// `send_proxy`, for servers that do not say; none = it is not printed.
    pub(super) send_proxy: Option<Option<HeaderVersion>>,
    /// `source`, for servers that do not say.
    pub(super) source: Option<Vec<IpAddr>>,
    /// `[backend.health]`.
    pub(super) health: Option<HealthDraft>,
    /// `[backend.tls]`.
    pub(super) tls: Option<BackendTlsDraft>,
    /// `[[backend.server]]`.
    pub(super) servers: Vec<Row<ServerDraft>>,
}

impl BackendDraft {
    /// Returns a draft of a table that says nothing, before defaults.
    pub(super) fn blank() -> Self {
        Self {
            backend: Backend {
                name: Arc::default(),
                balance: Balance::Source,
                keep_alive: true,
                abort_on_close: true,
                max_queue: 0,
                when_down: WhenDown::Refuse,
                retries: 0,
                slow_start: Duration::ZERO,
                drain_close: DrainClose::Plain,
                host_header: None,
                timeouts: BackendTimeouts::default(),
                limits: BackendLimits::default(),
                health: None,
                servers: Vec::new(),
                tls: None,
            },
            send_proxy: None,
            source: None,
            health: None,
            tls: None,
            servers: Vec::new(),
        }
    }

    /// Returns the backend; the rules have put together what belongs to several tables.
    pub(super) fn into_backend(self) -> Backend {
        let servers = self.servers.into_iter();
        Backend {
            health: self.health.and_then(HealthDraft::into_check),
            servers: servers.map(|row| row.value.server).collect(),
            ..self.backend
        }
    }

    /// Returns the draft that means `backend`. What a backend says for its servers stands at the
    /// servers, where it counts.
    pub(super) fn of(backend: &Backend) -> Self {
        let servers = backend.servers.iter();
        let over_tls = backend.tls.is_some();
        let server = |server| Row::from(ServerDraft::of(server, over_tls));
        Self {
            health: Some(HealthDraft::of(backend.health.as_ref(), over_tls)),
            tls: backend.tls.as_ref().map(BackendTlsDraft::of),
            servers: servers.map(server).collect(),
            backend: backend.clone(),
            ..Self::blank()
        }
    }
}

/// A server as it is written: what it inherits from its backend is not in it yet.
#[derive(Debug, Clone)]
pub(super) struct ServerDraft {
    /// The server; name, address, PROXY header, sources and TLS are worked out by rules.
    pub(super) server: BackendServer,
    /// The address, and how it is written.
    pub(super) address: (Arc<str>, ServerAddress),
    pub(super) send_proxy: Option<Option<HeaderVersion>>,
    pub(super) source: Option<Vec<IpAddr>>,
    /// Whether it speaks TLS; none = as the backend says.
    pub(super) tls: Option<bool>,
}

impl ServerDraft {
    /// Returns a draft of a table that says nothing, before defaults.
    pub(super) fn blank() -> Self {
        Self {
            server: BackendServer {
                name: Arc::default(),
                address: ServerAddress::Name(String::new(), 0),
                weight: 0,
                max_connections: None,
                send_proxy: None,
                source: Vec::new(),
                tls: None,
            },
            address: (Arc::default(), ServerAddress::Name(String::new(), 0)),
            send_proxy: None,
            source: None,
            tls: None,
        }
    }

    /// Returns the draft that means `server`; `over_tls` = some server of the backend speaks TLS.
    pub(super) fn of(server: &BackendServer, over_tls: bool) -> Self {
        let source = server.source.clone();
        Self {
            send_proxy: Some(server.send_proxy),
            source: (!source.is_empty()).then_some(source),
            tls: over_tls.then_some(server.tls.is_some()),
            address: (Arc::clone(&server.name), server.address.clone()),
            server: server.clone(),
        }
    }
}

/// Checks as they are written. What does not belong to a kind of check is none, and not printed.
#[derive(Debug, Clone, Default)]
pub(super) struct HealthDraft {
    pub(super) kind: Option<HealthKind>,
    pub(super) method: Option<HealthMethod>,
    pub(super) path: Option<String>,
    pub(super) host: Option<String>,
    pub(super) expect: Option<Vec<(u16, u16)>>,
    pub(super) tls: Option<bool>,
    pub(super) interval: Option<Duration>,
    pub(super) fast_interval: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) rise: Option<u32>,
    pub(super) fall: Option<u32>,
}

impl HealthDraft {
    /// Returns the check; none = off. Every key with a default is set when it has been read.
    pub(super) fn into_check(self) -> Option<HealthCheck> {
        Some(HealthCheck {
            kind: self.kind?,
            method: self.method?,
            path: self.path?,
            host: self.host,
            tls: self.tls?,
            expect: self.expect?,
            interval: self.interval?,
            fast_interval: self.fast_interval?,
            timeout: self.timeout?,
            rise: self.rise?,
            fall: self.fall?,
        })
    }

    /// Returns the draft that means `check`; `over_tls` = some server speaks TLS.
    pub(super) fn of(check: Option<&HealthCheck>, over_tls: bool) -> Self {
        let Some(check) = check else {
            return Self::default();
        };
        let (is_http, has_target) = match check.kind {
            HealthKind::Http => (true, true),
            HealthKind::Websocket => (false, true),
            HealthKind::Tcp => (false, false),
        };
        Self {
            kind: Some(check.kind),
            method: is_http.then_some(check.method),
            path: has_target.then(|| check.path.clone()),
            host: check.host.clone().filter(|_| has_target),
            expect: is_http.then(|| check.expect.clone()),
            tls: over_tls.then_some(check.tls),
            interval: Some(check.interval),
            fast_interval: Some(check.fast_interval),
            timeout: Some(check.timeout),
            rise: Some(check.rise),
            fall: Some(check.fall),
        }
    }
}

/// TLS towards servers as it is written.
#[derive(Debug, Clone)]
pub(super) struct BackendTlsDraft {
    pub(super) ca: Option<PathBuf>,
    pub(super) server_name: Option<ServerName<'static>>,
    pub(super) verify: bool,
    pub(super) min_version: TlsVersion,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) offload: Offload,
    /// Whether `cert` and `key` are good.
    pub(super) shows_certificate: bool,
}

impl BackendTlsDraft {
    /// Returns a draft of a table that says nothing, before defaults.
    pub(super) fn blank() -> Self {
        Self {
            ca: None,
            server_name: None,
            verify: true,
            min_version: TlsVersion::V1_2,
            cert: None,
            key: None,
            offload: Offload::Adaptive,
            shows_certificate: false,
        }
    }

    /// Returns the settings that the draft means.
    pub(super) fn into_settings(self) -> BackendTls {
        let key = self.key.or_else(|| self.cert.clone());
        BackendTls {
            ca: self.ca.unwrap_or_else(system_store::path),
            server_name: self.server_name.map(|name| name.to_str().into_owned()),
            verify: self.verify,
            min_version: self.min_version,
            certificate: self
                .cert
                .zip(key)
                .map(|(cert, key)| CertificateFiles { cert, key }),
            offload: self.offload,
        }
    }

    /// Returns the draft that means `tls`.
    pub(super) fn of(tls: &BackendTls) -> Self {
        let files = tls.certificate.as_ref();
        let name = tls.server_name.clone();
        Self {
            ca: tls.verify.then(|| tls.ca.clone()),
            server_name: name.and_then(|name| ServerName::try_from(name).ok()),
            verify: tls.verify,
            min_version: tls.min_version,
            cert: files.map(|files| files.cert.clone()),
            key: files.map(|files| files.key.clone()),
            offload: tls.offload,
            shows_certificate: true,
        }
    }
}
