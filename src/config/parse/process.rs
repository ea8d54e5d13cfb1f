//! `[server]` and `[log]`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Binds, CONNECTIONS_MAX, DURATION_MAX, OR_ZERO, POSITIVE, admin, count, elements};
use crate::config::address::{self, FACILITIES, LOG_TARGET, NAMESERVER};
use crate::config::read::{Table, Value};
use crate::config::{AccessFormat, Log, LogLevel, LogTarget, Process, Sandbox, Threads};

const DRAIN_TIMEOUT: Duration = Duration::from_mins(10);
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();
/// More threads than any machine has cores.
const THREADS_MAX: u64 = 1024;
/// Lines more often than once a second would be a log of their own.
const PROGRESS: RangeInclusive<Duration> = Duration::from_secs(1)..=DURATION_MAX;
/// Longest name of a user, in bytes (useradd(8)).
const USER_LEN_MAX: usize = 32;
/// Name servers that are asked before a name counts as not resolved; resolv.conf(5) takes 3.
const NAMESERVERS_MAX: usize = 8;

/// Reads `[server]`.
pub(super) fn process(mut table: Table<'_, '_>, taken: &mut Binds) -> Process {
    let reception_threads = threads(&mut table, "reception_threads");
    let relay_threads = threads(&mut table, "relay_threads");
    let max_connections = table.number("max_connections", 1..=CONNECTIONS_MAX);
    let drain = drain(&mut table);
    Process {
        reception_threads,
        relay_threads,
        max_connections: max_connections.and_then(count).unwrap_or(MAX_CONNECTIONS),
        drain_lead: drain.lead,
        drain_timeout: drain.timeout,
        drain_window: drain.window,
        drain_rate: drain.rate,
        share_port: table.boolean("share_port").unwrap_or(false),
        user: account(&mut table, "user"),
        group: account(&mut table, "group"),
        sandbox: sandbox(&mut table),
        pid_file: table.path("pid_file"),
        admin_socket: admin::socket(&mut table, taken),
        admin_http: admin::http(&mut table, taken),
        admin_access: admin::access(&mut table),
        nameservers: nameservers(&mut table),
    }
}

/// The `drain_` keys.
struct Drain {
    lead: Duration,
    timeout: Duration,
    window: Option<Duration>,
    rate: Option<NonZeroUsize>,
}

fn drain(table: &mut Table<'_, '_>) -> Drain {
    let (of_window, of_rate) = (table.place_of("drain_window"), table.place_of("drain_rate"));
    let drain = Drain {
        lead: table.duration("drain_lead", OR_ZERO).unwrap_or_default(),
        timeout: table
            .duration("drain_timeout", OR_ZERO)
            .unwrap_or(DRAIN_TIMEOUT),
        window: table.duration("drain_window", POSITIVE),
        rate: table
            .number("drain_rate", 1..=CONNECTIONS_MAX)
            .and_then(count),
    };
    if drain.window.is_some_and(|window| window > drain.timeout) {
        of_window.warn("is longer than drain_timeout, at which all that is left ends at once");
    }
    if drain.rate.is_some() && drain.window.is_none() {
        of_rate.warn(
            "means nothing without drain_window: no tunnel is ended before drain_timeout, \
             and then all at once",
        );
    }
    drain
}

fn threads(table: &mut Table<'_, '_>, key: &'static str) -> Threads {
    let Some(value) = table.take(key) else {
        return Threads::Auto;
    };
    if value.is_text() {
        let parsed = value.choice(&[("auto", Threads::Auto)]);
        return parsed.unwrap_or(Threads::Auto);
    }
    let number = value.number(1..=THREADS_MAX).and_then(count);
    number.map_or(Threads::Auto, Threads::Count)
}

fn sandbox(table: &mut Table<'_, '_>) -> Sandbox {
    let Some(value) = table.take("sandbox") else {
        return Sandbox::On;
    };
    let read = if value.is_text() {
        value.choice(&[("log", Sandbox::Log)])
    } else {
        let on = |on| if on { Sandbox::On } else { Sandbox::Off };
        value.boolean().map(on)
    };
    read.unwrap_or(Sandbox::On)
}

fn account(table: &mut Table<'_, '_>, key: &'static str) -> Option<String> {
    let wanted = "the name of an account of this system";
    table.take(key)?.parse(wanted, |text| {
        let fits = |character: char| {
            !character.is_whitespace() && !character.is_control() && !":/".contains(character)
        };
        if (1..=USER_LEN_MAX).contains(&text.len()) && text.chars().all(fits) {
            Ok(text.to_owned())
        } else {
            Err("is no such name".to_owned())
        }
    })
}

fn nameservers(table: &mut Table<'_, '_>) -> Vec<SocketAddr> {
    let values = elements(table, "nameservers", NAMESERVER);
    if let Some(value) = values.get(NAMESERVERS_MAX) {
        let too_many = format!("is one too many; at most {NAMESERVERS_MAX} name servers");
        value.place.reject(too_many);
    }
    let read = |value: Value<'_, '_>| value.parse(NAMESERVER, address::nameserver);
    values.into_iter().filter_map(read).collect()
}

/// Reads `[log]`.
pub(super) fn log(mut table: Table<'_, '_>) -> Log {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let formats = [
        ("json", AccessFormat::Json),
        ("httplog", AccessFormat::Httplog),
        ("combined", AccessFormat::Combined),
        ("off", AccessFormat::Off),
    ];
    Log {
        level: table.choice("level", &levels).unwrap_or(LogLevel::Info),
        access: table
            .choice("access", &formats)
            .unwrap_or(AccessFormat::Json),
        target: log_target(&mut table).unwrap_or(LogTarget::Stderr),
        facility: facility(&mut table).unwrap_or("daemon").to_owned(),
        progress: table.duration("progress", PROGRESS),
    }
}

fn log_target(table: &mut Table<'_, '_>) -> Option<LogTarget> {
    let value = table.take("target")?;
    let place = value.place.clone();
    value.parse(LOG_TARGET, |text| address::log_target(place.base(), text))
}

fn facility(table: &mut Table<'_, '_>) -> Option<&'static str> {
    let choices = FACILITIES.map(|name| (name, name));
    table.choice("facility", &choices)
}
