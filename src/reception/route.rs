//! Chooses the route of a connection or a request: the first one whose conditions all hold.

use crate::config::{Listener, Route, RouteAction};
use crate::proto::addr::PeerAddr;
use crate::proto::http::Scheme;
use crate::proto::http::head::Request;

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
    /// The request, for conditions on its method, header fields and query.
    pub(super) request: Option<Asked<'a>>,
}

/// A request, and whether its sender may speak for others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The head.
    pub(super) request: &'a Request<'a>,
    /// Whether the sender is one of `trusted_proxies`.
    pub(super) trusted: bool,
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
        && route
            .exact_path
            .as_ref()
            .is_none_or(|exact| traits.path.is_some_and(|path| exact.matches(path)))
        && request_fits(route, traits.request)
}

/// Judges the conditions that need more of the request than its place; most routes have none.
fn request_fits(route: &Route, asked: Option<Asked<'_>>) -> bool {
    let (method, header, query) = (&route.method, &route.header, &route.query);
    if method.is_empty() && header.is_empty() && query.is_empty() {
        return true;
    }
    let Some(Asked { request, trusted }) = asked else {
        return false;
    };
    let method_fits =
        method.is_empty() || method.iter().any(|method| method.matches(request.method));
    let headers_fit = || header.iter().all(|field| field.holds(request, trusted));
    let query_fits = || {
        let (_, text) = match query.is_empty() {
            true => ("", ""),
            false => request.path_and_query(),
        };
        query.iter().all(|parameter| parameter.holds(text))
    };
    method_fits && headers_fit() && query_fits()
}
