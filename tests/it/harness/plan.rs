//! Configurations as tests need them: one listener, one backend, and the few keys that matter.

use std::net::SocketAddr;

use super::free_addr;
use super::process::Proxy;

/// A configuration with one listener on a free port and one backend with one server.
///
/// Each text is TOML that is put into its place as it is.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    mode: &'static str,
    bind: String,
    server: String,
    process_keys: String,
    listener_keys: String,
    listener_tables: String,
    routes: String,
    backend_keys: String,
    backend_timeouts: String,
    server_keys: String,
    more: String,
}

impl Plan {
    fn new(mode: &'static str, server: String) -> Self {
        Self {
            mode,
            bind: format!("\"{}\"", free_addr()),
            server,
            process_keys: String::new(),
            listener_keys: String::new(),
            listener_tables: String::new(),
            routes: "[[listener.route]]\nbackend = \"app\"\n".to_owned(),
            backend_keys: String::new(),
            backend_timeouts: String::new(),
            server_keys: String::new(),
            more: String::new(),
        }
    }

    /// `mode = "tcp"` in front of `server`.
    pub(crate) fn tcp(server: SocketAddr) -> Self {
        Self::new("tcp", server.to_string())
    }

    /// `mode = "http"` in front of `server`.
    pub(crate) fn http(server: SocketAddr) -> Self {
        Self::new("http", server.to_string())
    }

    /// `mode = "sni"` in front of `server`.
    pub(crate) fn sni(server: SocketAddr) -> Self {
        Self::new("sni", server.to_string())
    }

    /// `mode = "http"` in front of nothing: the routes are all of it.
    pub(crate) fn routes_only(routes: &str) -> Self {
        Self::new("http", free_addr().to_string()).routes(routes)
    }

    /// The elements of `bind`, each in its quotes.
    pub(crate) fn bind(mut self, bind: impl Into<String>) -> Self {
        self.bind = bind.into();
        self
    }

    /// The server's address as the configuration writes it.
    pub(crate) fn server(mut self, server: impl Into<String>) -> Self {
        self.server = server.into();
        self
    }

    /// Keys of `[server]`.
    pub(crate) fn process_keys(mut self, keys: &str) -> Self {
        self.process_keys = keys.to_owned();
        self
    }

    /// Keys of `[[listener]]`.
    pub(crate) fn listener_keys(mut self, keys: &str) -> Self {
        self.listener_keys = keys.to_owned();
        self
    }

    /// Keys of `[listener.timeouts]`.
    pub(crate) fn listener_timeouts(mut self, keys: &str) -> Self {
        self.listener_tables += &format!("[listener.timeouts]\n{keys}\n");
        self
    }

    /// Keys of `[listener.limits]`.
    pub(crate) fn limits(mut self, keys: &str) -> Self {
        self.listener_tables += &format!("[listener.limits]\n{keys}\n");
        self
    }

    /// All `[[listener.route]]` tables, in place of the one that leads to the backend `app`.
    pub(crate) fn routes(mut self, routes: &str) -> Self {
        self.routes = routes.to_owned();
        self
    }

    /// Keys of `[[backend]]`.
    pub(crate) fn backend_keys(mut self, keys: &str) -> Self {
        self.backend_keys = keys.to_owned();
        self
    }

    /// Keys of `[backend.timeouts]`.
    pub(crate) fn backend_timeouts(mut self, keys: &str) -> Self {
        self.backend_timeouts = keys.to_owned();
        self
    }

    /// Keys of `[backend.health]`.
    pub(crate) fn health(mut self, keys: &str) -> Self {
        self.backend_timeouts += &format!("\n[backend.health]\n{keys}\n");
        self
    }

    /// Another server of the backend, as the configuration writes its address.
    pub(crate) fn and_server(mut self, server: impl std::fmt::Display) -> Self {
        self.server_keys += &format!("\n[[backend.server]]\naddress = \"{server}\"\n");
        self
    }

    /// Keys of `[[backend.server]]`.
    pub(crate) fn server_keys(mut self, keys: &str) -> Self {
        self.server_keys = keys.to_owned();
        self
    }

    /// Tables behind everything else.
    pub(crate) fn more(mut self, tables: &str) -> Self {
        self.more = tables.to_owned();
        self
    }

    /// Writes the configuration.
    pub(crate) fn toml(&self) -> String {
        format!(
            r#"[server]
reception_threads = 2
relay_threads = 2
{process_keys}

[[listener]]
name = "edge"
bind = [{bind}]
mode = "{mode}"
{listener_keys}
{listener_tables}
{routes}

[[backend]]
name = "app"
{backend_keys}
[backend.timeouts]
{backend_timeouts}
[[backend.server]]
address = "{server}"
{server_keys}

{more}
"#,
            process_keys = self.process_keys,
            bind = self.bind,
            mode = self.mode,
            listener_keys = self.listener_keys,
            listener_tables = self.listener_tables,
            routes = self.routes,
            backend_keys = self.backend_keys,
            backend_timeouts = self.backend_timeouts,
            server = self.server,
            server_keys = self.server_keys,
            more = self.more,
        )
    }

    /// Runs longsplice with it.
    pub(crate) fn start(&self) -> Proxy {
        Proxy::start(&self.toml())
    }
}

/// Writes a backend with one server.
pub(crate) fn backend(name: &str, server: SocketAddr) -> String {
    format!("[[backend]]\nname = \"{name}\"\n[[backend.server]]\naddress = \"{server}\"\n")
}

/// Writes a route that answers `body` when `condition` holds.
pub(crate) fn responding(condition: &str, body: &str) -> String {
    format!("[[listener.route]]\n{condition}\nrespond = {{ status = 200, body = \"{body}\" }}\n")
}
