//! `[[backend]]`.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::server_tls::Common;
use super::{CONNECTIONS_MAX, OR_ZERO, POSITIVE, Unique, count, name};
use crate::config::address::{self, SERVER};
use crate::config::read::{Place, Table, Value};
use crate::config::{
    Backend, BackendId, BackendServer, BackendTimeouts, Balance, DrainClose, HealthCheck,
    HealthKind, HealthMethod, Listener, Mode, Route, RouteAction, ServerAddress, WhenDown,
};
use crate::config::{read, units};
use crate::proto::proxy;

/// Requests that may wait for a server of one backend.
const MAX_QUEUE: usize = 1024;
const MAX_QUEUE_MAX: u64 = 1_000_000;
/// Other servers tried when one cannot be connected to.
const RETRIES: usize = 2;
const RETRIES_MAX: u64 = 10;
/// Addresses of ours at most.
const SOURCES_MAX: usize = 256;
const WEIGHT_MAX: u64 = 256;
/// Checks in a row that a health state may ask for.
const CHECKS_MAX: u64 = 1000;
const DRAIN_CLOSES: [(&str, DrainClose); 2] = [
    ("plain", DrainClose::Plain),
    ("websocket", DrainClose::Websocket),
];
const METHODS: [(&str, HealthMethod); 3] = [
    ("GET", HealthMethod::Get),
    ("HEAD", HealthMethod::Head),
    ("OPTIONS", HealthMethod::Options),
];
/// Between two checks of a server on its way up or down, unless they are always that close.
const FAST_INTERVAL: Duration = Duration::from_secs(1);
/// Names listed in the message about an unknown one.
const NAMES_LISTED_MAX: usize = 10;

/// The backends by name, and which of them a route has asked for.
#[derive(Debug)]
pub(super) struct Names<'r, 'a> {
    ids: BTreeMap<String, BackendId>,
    unused: RefCell<HashMap<BackendId, (Place<'r, 'a>, String)>>,
    /// Those whose WebSockets get a Close frame, and where they say so.
    closing: Vec<(BackendId, Place<'r, 'a>)>,
}

impl Names<'_, '_> {
    /// Returns the backend of this name.
    ///
    /// # Errors
    /// That it is unknown, and which are known.
    pub(super) fn find(&self, text: &str) -> Result<BackendId, String> {
        if let Some(id) = self.ids.get(text) {
            self.unused.borrow_mut().remove(id);
            return Ok(*id);
        }
        Err("is no backend".to_owned())
    }

    /// Lists the names for a message.
    pub(super) fn listed(&self) -> String {
        if self.ids.is_empty() {
            return "the name of a [[backend]], of which there is none".to_owned();
        }
        let first = self.ids.keys().take(NAMES_LISTED_MAX);
        let mut words: Vec<&str> = first.map(String::as_str).collect();
        if self.ids.len() > words.len() {
            words.push("another");
        }
        format!("the name of a backend: {}", read::alternatives(&words))
    }

    /// Warns of backends that no route asked for.
    pub(super) fn report_unused(&self) {
        for (place, name) in self.unused.borrow().values() {
            place.warn(format!(
                "no route leads to the backend {}",
                read::shown(name)
            ));
        }
    }

    /// Warns of Close frames for backends that only get connections nobody sees WebSockets in.
    pub(super) fn report_misplaced(&self, listeners: &[Listener]) {
        for (id, place) in &self.closing {
            let leads =
                |route: &Route| matches!(route.action, RouteAction::Backend(to) if to == *id);
            let mut modes = listeners
                .iter()
                .filter(|listener| listener.routes.iter().any(leads))
                .map(|listener| listener.mode)
                .peekable();
            if modes.peek().is_some() && modes.all(|mode| mode != Mode::Http) {
                place.warn(
                    "only listeners in mode \"tcp\" or \"sni\" lead here, where no Close is sent",
                );
            }
        }
    }
}

/// Reads every backend.
pub(super) fn backends<'r, 'a>(root: &mut Table<'r, 'a>) -> (Vec<Backend>, Names<'r, 'a>) {
    let mut names = Names {
        ids: BTreeMap::new(),
        unused: RefCell::default(),
        closing: Vec::new(),
    };
    let mut taken = Unique::default();
    let mut backends = Vec::new();
    for mut table in root.tables("backend") {
        let id = BackendId(backends.len());
        let name = backend_name(&mut table, &mut taken);
        if let Some(name) = &name {
            names.ids.insert(name.clone(), id);
            let place = table.place.clone();
            names.unused.borrow_mut().insert(id, (place, name.clone()));
        }
        let place = table.place_of("drain_close");
        let backend = backend(table, name.unwrap_or_default().into());
        if backend.drain_close == DrainClose::Websocket {
            names.closing.push((id, place));
        }
        backends.push(backend);
    }
    (backends, names)
}

fn backend_name(table: &mut Table<'_, '_>, taken: &mut Unique<String>) -> Option<String> {
    let wanted = "a name without white space and '/', at most 128 bytes";
    let value = table.require("name", wanted)?;
    let place = value.place.clone();
    value.parse(wanted, |text| {
        let name = name(text)?;
        if name.contains(|character: char| character.is_whitespace() || character == '/') {
            return Err("holds white space or '/'".to_owned());
        }
        match taken.claim(name.clone(), &place) {
            Some(before) => Err(format!("is the name of {before} already")),
            None => Ok(name),
        }
    })
}

fn backend(mut table: Table<'_, '_>, name: Arc<str>) -> Backend {
    let balances = [
        ("source", Balance::Source),
        ("round_robin", Balance::RoundRobin),
        ("least_connections", Balance::LeastConnections),
        ("random_two", Balance::RandomTwo),
        ("maglev", Balance::Maglev),
    ];
    let max_queue = table.number("max_queue", 0..=MAX_QUEUE_MAX);
    let retries = table.number("retries", 0..=RETRIES_MAX);
    let when_down = [("refuse", WhenDown::Refuse), ("queue", WhenDown::Queue)];
    let inherited = Inherited {
        send_proxy: send_proxy(&mut table).flatten(),
        source: source(&mut table).unwrap_or_default(),
        tls: Common::read(&mut table),
    };
    let mut over_tls = None;
    let backend = Backend {
        name,
        balance: table
            .choice("balance", &balances)
            .unwrap_or(Balance::Source),
        keep_alive: table.boolean("keep_alive").unwrap_or(true),
        max_queue: max_queue
            .and_then(|number| usize::try_from(number).ok())
            .unwrap_or(MAX_QUEUE),
        when_down: table
            .choice("when_down", &when_down)
            .unwrap_or(WhenDown::Refuse),
        retries: retries
            .and_then(|number| usize::try_from(number).ok())
            .unwrap_or(RETRIES),
        slow_start: (table.duration("slow_start", OR_ZERO)).unwrap_or(Duration::ZERO),
        drain_close: table
            .choice("drain_close", &DRAIN_CLOSES)
            .unwrap_or(DrainClose::Plain),
        timeouts: timeouts(table.table_or_empty("timeouts")),
        health: table
            .table("health")
            .and_then(|table| health(table, &mut over_tls)),
        servers: servers(&mut table, &inherited),
        tls: inherited.tls.into_settings(),
    };
    if let (Some(place), None) = (over_tls, &backend.tls) {
        place.reject(
            "no server of the backend speaks TLS; tls = true at a server, or [backend.tls]",
        );
    }
    backend
}

/// What a backend says for all its servers.
struct Inherited {
    tls: Common,
    send_proxy: Option<proxy::HeaderVersion>,
    source: Vec<IpAddr>,
}

fn source(table: &mut Table<'_, '_>) -> Option<Vec<IpAddr>> {
    let wanted = "an address of this machine such as \"10.0.0.5\", or a list of them";
    let value = table.take("source")?;
    let place = value.place.clone();
    let addresses = value.one_or_more(wanted);
    if addresses.len() > SOURCES_MAX {
        place.reject(format!("has more than {SOURCES_MAX} addresses; fewer"));
    }
    let read = |value: Value<'_, '_>| {
        value.parse(wanted, |text| match text.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() => {
                Err("is no address that a connection can come from".to_owned())
            }
            Ok(ip) => Ok(ip),
            Err(_) => Err("is no IP address".to_owned()),
        })
    };
    Some(addresses.into_iter().filter_map(read).collect())
}

fn send_proxy(table: &mut Table<'_, '_>) -> Option<Option<proxy::HeaderVersion>> {
    let versions = [
        ("off", None),
        ("v1", Some(proxy::HeaderVersion::V1)),
        ("v2", Some(proxy::HeaderVersion::V2)),
    ];
    table.choice("send_proxy", &versions)
}

fn timeouts(mut table: Table<'_, '_>) -> BackendTimeouts {
    let mut read = |key, default| table.duration(key, POSITIVE).unwrap_or(default);
    BackendTimeouts {
        connect: read("connect", Duration::from_secs(5)),
        queue: read("queue", Duration::from_secs(30)),
        response: read("response", Duration::from_mins(1)),
        tunnel_idle: read("tunnel_idle", Duration::from_hours(24)),
        half_close: read("half_close", Duration::from_secs(30)),
    }
}

/// Reads `[backend.health]`; `kind = "off"` leaves the other keys in peace, so that one word
/// switches checks off and on. `over_tls` is where TLS is demanded, if it is.
fn health<'r, 'a>(
    mut table: Table<'r, 'a>,
    over_tls: &mut Option<Place<'r, 'a>>,
) -> Option<HealthCheck> {
    let kinds = [
        ("http", Some(HealthKind::Http)),
        ("tcp", Some(HealthKind::Tcp)),
        ("websocket", Some(HealthKind::Websocket)),
        ("off", None),
    ];
    let kind = table
        .choice("kind", &kinds)
        .unwrap_or(Some(HealthKind::Tcp));
    let method = table.take("method");
    let path = table.take("path");
    let host = table.take("host");
    let expect = table.take("expect");
    let tls = table.take("tls");
    let tls_place = tls.as_ref().map(|value| value.place.clone());
    let tls = tls.and_then(Value::boolean);
    *over_tls = tls_place.filter(|_| tls == Some(true) && kind.is_some());
    if kind == Some(HealthKind::Tcp) {
        let misfits = [&method, &path, &host, &expect];
        let wanted = "a check with kind = \"tcp\" only connects; kind = \"http\" or \"websocket\"";
        misfits
            .into_iter()
            .flatten()
            .for_each(|value| value.place.reject(wanted));
    }
    if let (Some(HealthKind::Websocket), Some(value)) = (kind, &expect) {
        value
            .place
            .reject("a check with kind = \"websocket\" expects 101; kind = \"http\"");
    }
    if let (Some(HealthKind::Websocket), Some(value)) = (kind, &method) {
        value
            .place
            .reject("a check with kind = \"websocket\" is a GET; kind = \"http\"");
    }
    let interval = table
        .duration("interval", POSITIVE)
        .unwrap_or(Duration::from_secs(10));
    let health = HealthCheck {
        kind: kind.unwrap_or(HealthKind::Tcp),
        method: method
            .and_then(|value| value.choice(&METHODS))
            .unwrap_or(HealthMethod::Get),
        path: path.and_then(check_path).unwrap_or_else(|| "/".to_owned()),
        host: host.and_then(check_host),
        tls: tls.unwrap_or(true),
        expect: expect
            .and_then(expected)
            .unwrap_or_else(|| vec![(200, 399)]),
        interval,
        fast_interval: table
            .duration("fast_interval", POSITIVE)
            .unwrap_or(FAST_INTERVAL.min(interval)),
        timeout: table
            .duration("timeout", POSITIVE)
            .unwrap_or(Duration::from_secs(2)),
        rise: checks(&mut table, "rise").unwrap_or(2),
        fall: checks(&mut table, "fall").unwrap_or(3),
    };
    kind.map(|_| health)
}

fn checks(table: &mut Table<'_, '_>, key: &'static str) -> Option<u32> {
    let number = table.number(key, 1..=CHECKS_MAX)?;
    u32::try_from(number).ok()
}

fn check_path(value: Value<'_, '_>) -> Option<String> {
    value.parse("a path such as \"/healthz\"", |text| {
        let fits = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits || text.contains('#') {
            return Err("does not fit into a request line".to_owned());
        }
        Ok(text.to_owned())
    })
}

fn check_host(value: Value<'_, '_>) -> Option<String> {
    value.parse("a Host header such as \"example.com\"", |text| {
        let fits = text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.is_empty();
        if !fits || text.contains(['/', '@', '#', '?', '\\']) {
            return Err("is no host".to_owned());
        }
        Ok(text.to_owned())
    })
}

fn expected(value: Value<'_, '_>) -> Option<Vec<(u16, u16)>> {
    let wanted = "status codes from 100 to 599 such as \"200-399\" or \"200,301-302\"";
    value.parse(wanted, |text| {
        let ranges = text
            .split(',')
            .map(|range| units::status_range(range.trim()));
        ranges.collect()
    })
}

fn servers(table: &mut Table<'_, '_>, inherited: &Inherited) -> Vec<BackendServer> {
    let tables = table.tables_required("server", "[[backend.server]]");
    let mut taken = Unique::default();
    let read = |table| server(table, inherited, &mut taken);
    let servers: Vec<BackendServer> = tables.into_iter().map(read).collect();
    if !servers.is_empty() && servers.iter().all(|server| server.weight == 0) {
        table
            .place
            .warn("every server has weight 0; none gets a new connection");
    }
    servers
}

fn server(
    mut table: Table<'_, '_>,
    inherited: &Inherited,
    taken: &mut Unique<String>,
) -> BackendServer {
    let (name, address) = address(&mut table, taken)
        .unwrap_or_else(|| (String::new(), ServerAddress::Name(String::new(), 0)));
    let weight = table.number("weight", 0..=WEIGHT_MAX);
    let limit = table.number("max_connections", 1..=CONNECTIONS_MAX);
    let max_connections: Option<NonZeroUsize> = limit.and_then(count);
    let source = source(&mut table).unwrap_or_else(|| inherited.source.clone());
    if let ServerAddress::Inet(ip, _) = address
        && !source.is_empty()
        && source.iter().all(|from| from.is_ipv4() != ip.is_ipv4())
    {
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        table.place.reject(format!(
            "no address in `source` is {family} like the server's; one that is"
        ));
    }
    BackendServer {
        tls: inherited.tls.of_server(&mut table, &address),
        name: name.into(),
        address,
        weight: weight
            .and_then(|number| u16::try_from(number).ok())
            .unwrap_or(1),
        max_connections,
        send_proxy: send_proxy(&mut table).unwrap_or(inherited.send_proxy),
        source,
    }
}

fn address(
    table: &mut Table<'_, '_>,
    taken: &mut Unique<String>,
) -> Option<(String, ServerAddress)> {
    let value = table.require("address", SERVER)?;
    let place = value.place.clone();
    value.parse(SERVER, |text| {
        let address = address::server(place.base(), text)?;
        match taken.claim(text.to_owned(), &place) {
            Some(before) => Err(format!("is {before} already")),
            None => Ok((text.to_owned(), address)),
        }
    })
}
