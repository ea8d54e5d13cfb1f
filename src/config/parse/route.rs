//! `[[listener.route]]`: conditions that fit the mode, and exactly one action.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::backend::Names;
use super::elements;
use super::listener::{RANGE, range};
use crate::config::address::is_name;
use crate::config::read::{Table, Value};
use crate::config::{BackendId, Mode, Redirect, Respond, Route, RouteAction};
use crate::proto::addr::Cidr;
use crate::proto::http::Scheme;
use crate::proto::http::pattern::{HostPattern, PathPrefix};

const HOST: &str = "name, *.name or prefix*";
/// Longest body of `respond`, in bytes.
const RESPOND_BODY_LEN_MAX: usize = 64 * 1024;

/// What the rules of a route depend on.
#[derive(Debug)]
pub(super) struct Context<'c, 'r, 'a> {
    /// Mode of the listener.
    pub(super) mode: Mode,
    /// Whether the listener has `[listener.tls]`.
    pub(super) opens_tls: bool,
    /// Where a route may lead.
    pub(super) backends: &'c Names<'r, 'a>,
}

/// Reads the routes of a listener.
pub(super) fn routes(listener: &mut Table<'_, '_>, context: &Context<'_, '_, '_>) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for table in listener.tables_required("route", "[[listener.route]]") {
        let place = table.place.clone();
        let Some(route) = route(table, context) else {
            continue;
        };
        if routes.iter().any(|before| covers(before, &route)) {
            place.warn("never reached: a route before it matches whatever it matches");
        }
        routes.push(route);
    }
    routes
}

fn route(mut table: Table<'_, '_>, context: &Context<'_, '_, '_>) -> Option<Route> {
    refuse_misfits(&table, context);
    let schemes = [("http", Scheme::Http), ("https", Scheme::Https)];
    let host = conditions(&mut table, "host", HOST, pattern);
    let server_name = conditions(&mut table, "server_name", HOST, pattern);
    let path = table.take("path").map(path);
    let websocket = table.boolean("websocket");
    let scheme = table.choice("scheme", &schemes);
    let client = conditions(&mut table, "client", RANGE, range);
    let action = action(&mut table, context);
    Some(Route {
        host: host?,
        server_name: server_name?,
        path: path.map_or(Some(None), |path| path.map(Some))?,
        websocket,
        scheme,
        client: client?,
        action: action?,
    })
}

/// Notes the keys that cannot be known, or done, in the mode of the listener.
fn refuse_misfits(table: &Table<'_, '_>, context: &Context<'_, '_, '_>) {
    let (of_http, allowed) = match context.mode {
        Mode::Http => (false, ""),
        Mode::Tcp => (
            true,
            "in mode \"tcp\" there is no HTTP; client or server_name",
        ),
        Mode::Sni => (
            true,
            "in mode \"sni\" TLS stays closed; client or server_name",
        ),
    };
    if of_http {
        table.refuse(&["host", "path", "websocket", "scheme"], allowed);
        let answers = "the proxy speaks no HTTP on this listener; backend";
        table.refuse(&["redirect", "respond"], answers);
        if context.mode == Mode::Tcp && !context.opens_tls {
            let unknown =
                "without [listener.tls] no server name is known; client, or mode = \"sni\"";
            table.refuse(&["server_name"], unknown);
        }
    } else {
        table.refuse(
            &["server_name"],
            "in mode \"http\" routes go by the Host header; host",
        );
    }
}

/// Takes a list of conditions: none at all is no condition, a wrong one is none.
fn conditions<T>(
    table: &mut Table<'_, '_>,
    key: &'static str,
    wanted: &str,
    parse: fn(&str) -> Result<T, String>,
) -> Option<Vec<T>> {
    let given = table.has(key);
    let values = elements(table, key, wanted);
    if given && values.is_empty() {
        return None;
    }
    // Every element is looked at, so that every wrong one is noted.
    let parsed: Vec<Option<T>> = values
        .into_iter()
        .map(|value| value.parse(wanted, parse))
        .collect();
    parsed.into_iter().collect()
}

fn pattern(text: &str) -> Result<HostPattern, String> {
    text.parse()
        .map_err(|wrong| format!("is no host pattern: {wrong}"))
}

fn path(value: Value<'_, '_>) -> Option<PathPrefix> {
    value.parse("a path such as \"/socket.io/\"", |text| {
        text.parse().map_err(|wrong| format!("is no path: {wrong}"))
    })
}

fn action(table: &mut Table<'_, '_>, context: &Context<'_, '_, '_>) -> Option<RouteAction> {
    let given = ["backend", "redirect", "respond"].map(|key| table.has(key));
    let backend = table.take("backend");
    let redirect = table.table("redirect");
    let respond = table.table("respond");
    let rule = "exactly one of backend, redirect and respond";
    match given.into_iter().filter(|given| *given).count() {
        0 => table.place.reject(format!("leads nowhere; {rule}")),
        1 => {}
        _ => table
            .place
            .reject(format!("leads to several places; {rule}")),
    }
    let backend = backend.and_then(|value| target(value, context.backends));
    let redirect = redirect.and_then(self::redirect);
    let respond = respond.and_then(self::respond);
    backend
        .map(RouteAction::Backend)
        .or(redirect.map(RouteAction::Redirect))
        .or(respond.map(RouteAction::Respond))
}

fn target(value: Value<'_, '_>, backends: &Names<'_, '_>) -> Option<BackendId> {
    value.parse(&backends.listed(), |text| backends.find(text))
}

fn redirect(mut table: Table<'_, '_>) -> Option<Redirect> {
    let schemes = [("http", Scheme::Http), ("https", Scheme::Https)];
    let new_place = ["scheme", "host", "port"].iter().any(|key| table.has(key));
    if !new_place {
        table.place.reject(
            "leads back to where the request came from; at least one of scheme, host and port",
        );
    }
    let host = table.take("host").map(redirect_host);
    let port = table.number("port", 1..=u64::from(u16::MAX));
    let status = table.take("status").map(redirect_status);
    Some(Redirect {
        scheme: table.choice("scheme", &schemes),
        host: host.map_or(Some(None), |host| host.map(Some))?,
        port: port.and_then(|port| u16::try_from(port).ok()),
        status: status.unwrap_or(Some(301))?,
    })
}

fn redirect_host(value: Value<'_, '_>) -> Option<String> {
    value.parse("a name or an address, without port", |text| {
        let bracketed = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let is_ipv6 = bracketed.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
        if is_ipv6 || is_name(text) || text.parse::<Ipv4Addr>().is_ok() {
            return Ok(text.to_owned());
        }
        Err("is no host".to_owned())
    })
}

fn redirect_status(value: Value<'_, '_>) -> Option<u16> {
    const ALLOWED: [u16; 5] = [301, 302, 303, 307, 308];
    let place = value.place.clone();
    let number = value.number(300..=399)?;
    let status = ALLOWED
        .into_iter()
        .find(|status| u64::from(*status) == number);
    if status.is_none() {
        place.reject(format!(
            "{number} is no redirect; 301, 302, 303, 307 or 308"
        ));
    }
    status
}

fn respond(mut table: Table<'_, '_>) -> Option<Respond> {
    let status = table
        .require("status", "a status code from 200 to 599")
        .and_then(|value| value.number(200..=599));
    let body = table.take("body").map(respond_body);
    let status = u16::try_from(status?).ok()?;
    let body = body.unwrap_or_else(|| Some(String::new()))?;
    // RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5: these answers have no body.
    if [204, 205, 304].contains(&status) && !body.is_empty() {
        table.place.reject(format!(
            "an answer with status {status} has no body; no body, or another status"
        ));
    }
    Some(Respond { status, body })
}

fn respond_body(value: Value<'_, '_>) -> Option<String> {
    let place = value.place.clone();
    let body = value.parse("a text", |text| Ok(text.to_owned()))?;
    if body.len() > RESPOND_BODY_LEN_MAX {
        let len = body.len();
        place.reject(format!(
            "is {len} bytes long; at most {RESPOND_BODY_LEN_MAX}"
        ));
        return None;
    }
    Some(body)
}

/// Tells whether `before` matches at least what `route` matches, as far as equal conditions show.
fn covers(before: &Route, route: &Route) -> bool {
    within(&before.host, &route.host)
        && within(&before.server_name, &route.server_name)
        && within::<Cidr>(&before.client, &route.client)
        && (before.path.is_none() || before.path == route.path)
        && (before.websocket.is_none() || before.websocket == route.websocket)
        && (before.scheme.is_none() || before.scheme == route.scheme)
}

fn within<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|item| wide.contains(item)))
}
