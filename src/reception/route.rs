//! Chooses the route of a connection or a request: the first one whose conditions all hold.

use crate::config::{Listener, Route, RouteAction};
use crate::proto::addr::PeerAddr;
use crate::proto::http::Scheme;

/// What the conditions of a route refer to; `None` = the connection does not have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits<'a> {
    /// The address of the client.
    pub(super) client: PeerAddr,
    /// Host of the request, in lower case, without port.
    pub(super) host: Option<&'a str>,
    /// Server name of the ClientHello.
    pub(super) server_name: Option<&'a str>,
    /// Path of the request, normalised.
    pub(super) path: Option<&'a str>,
    /// Whether the request is a WebSocket upgrade.
    pub(super) websocket: Option<bool>,
    /// Scheme as the client's first hop saw it.
    pub(super) scheme: Option<Scheme>,
}

/// Returns the action of the first route that fits.
#[must_use]
pub(super) fn choose<'a>(listener: &'a Listener, traits: &Traits<'_>) -> Option<&'a RouteAction> {
    listener
        .routes
        .iter()
        .find(|route| fits(route, traits))
        .map(|route| &route.action)
}

fn fits(route: &Route, traits: &Traits<'_>) -> bool {
    let host_fits = route.host.is_empty()
        || traits
            .host
            .is_some_and(|host| route.host.iter().any(|pattern| pattern.matches(host)));
    let server_name_fits = route.server_name.is_empty()
        || traits.server_name.is_some_and(|name| {
            route
                .server_name
                .iter()
                .any(|pattern| pattern.matches(name))
        });
    let path_fits = route
        .path
        .as_ref()
        .is_none_or(|prefix| traits.path.is_some_and(|path| prefix.matches(path)));
    let client_fits = route.client.is_empty()
        || traits
            .client
            .ip()
            .is_some_and(|ip| route.client.iter().any(|range| range.contains(ip)));
    host_fits
        && server_name_fits
        && path_fits
        && client_fits
        && route
            .websocket
            .is_none_or(|wanted| traits.websocket == Some(wanted))
        && route
            .scheme
            .is_none_or(|wanted| traits.scheme == Some(wanted))
}
