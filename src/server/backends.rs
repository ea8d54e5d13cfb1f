//! Backends at the start: who belongs to them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use crate::config::{Backend, BackendServer, ServerAddress};
use crate::upstream::{Address, Member, Seat, Standing, Upstream};

/// A name that has no address.
#[derive(Debug, thiserror::Error)]
#[error("backend '{backend}': server '{server}': {reason}")]
pub(super) struct Unresolved {
    backend: Arc<str>,
    server: Arc<str>,
    reason: String,
}

/// Prepares the backends; names are looked up now, once.
///
/// # Errors
/// A name does not resolve.
pub(super) fn open(backends: Vec<Backend>) -> Result<Vec<Arc<Upstream>>, Unresolved> {
    backends.into_iter().map(open_one).collect()
}

fn open_one(backend: Backend) -> Result<Arc<Upstream>, Unresolved> {
    let mut seats = Vec::with_capacity(backend.servers.len());
    for server in &backend.servers {
        let address = resolve(server).map_err(|reason| Unresolved {
            backend: Arc::clone(&backend.name),
            server: Arc::clone(&server.name),
            reason,
        })?;
        let member = Member::new(Arc::clone(&server.name), server.clone(), address);
        seats.push(Seat {
            member: Arc::new(member),
            standing: Standing::Up,
            weight: server.weight,
        });
    }
    Ok(Upstream::new(Arc::new(backend), seats))
}

fn resolve(server: &BackendServer) -> Result<Address, String> {
    match &server.address {
        ServerAddress::Inet(ip, port) => Ok(Address::Inet(SocketAddr::new(*ip, *port))),
        ServerAddress::Unix(path) => Ok(Address::Unix(path.clone())),
        ServerAddress::Name(name, port) => {
            let mut found = (name.as_str(), *port)
                .to_socket_addrs()
                .map_err(|error| format!("the name does not resolve: {error}"))?;
            found
                .next()
                .map(Address::Inet)
                .ok_or_else(|| "the name has no address".to_owned())
        }
    }
}
