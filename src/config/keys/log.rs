//! `[log]`.

use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::time::Duration;

use crate::config::address::{self, LOG_TARGET};
use crate::config::facility;
use crate::config::section::{At, Key, Section};
use crate::config::shape::Fallback;
use crate::config::types::{Choice, DURATION_MAX, Maybe, Text, Time};
use crate::config::{AccessFormat, DiagnosticFormat, Log, LogLevel, LogTarget};

/// Range of `progress`: lines more often than once a second would flood the log.
const PROGRESS: RangeInclusive<Duration> = Duration::from_secs(1)..=DURATION_MAX;

const LEVELS: Choice<LogLevel> = Choice(&[
    ("error", LogLevel::Error, "What takes an operator to mend."),
    ("warn", LogLevel::Warn, "Also what may need one soon."),
    (
        "info",
        LogLevel::Info,
        "Also changes of state: starts, reloads, servers that go down and come up.",
    ),
    (
        "debug",
        LogLevel::Debug,
        "Also what explains single connections.",
    ),
    ("trace", LogLevel::Trace, "Everything."),
]);

const FORMATS: Choice<AccessFormat> = Choice(&[
    ("json", AccessFormat::Json, "One JSON object on each line."),
    (
        "httplog",
        AccessFormat::Httplog,
        "The fields of HAProxy's `option httplog`.",
    ),
    (
        "combined",
        AccessFormat::Combined,
        "The combined format of Apache and nginx.",
    ),
    (
        "off",
        AccessFormat::Off,
        "No access lines; diagnostics stay.",
    ),
]);

const DIAGNOSTIC_FORMATS: Choice<DiagnosticFormat> = Choice(&[
    (
        "text",
        DiagnosticFormat::Text,
        "Time, level, message, and `name=value` for each field.",
    ),
    (
        "json",
        DiagnosticFormat::Json,
        "One JSON object on each line: `time`, `level`, `message`, and the fields.",
    ),
]);

const TARGET: Text<LogTarget> = Text {
    wanted: LOG_TARGET,
    pattern: "^(stderr|journald|file:.+|syslog:.+)$",
    parse: address::log_target,
    show: target_text,
};

fn target_text(target: &LogTarget) -> String {
    match target {
        LogTarget::Stderr => "stderr".to_owned(),
        LogTarget::Journald => "journald".to_owned(),
        LogTarget::File(path) => format!("file:{}", path.display()),
        LogTarget::SyslogUdp(receiver, None) => format!("syslog:{receiver}"),
        LogTarget::SyslogUdp(receiver, Some(facility)) => format!("syslog:{receiver}/{facility}"),
        LogTarget::SyslogUnix(path) => format!("syslog:unix:{}", path.display()),
    }
}

/// `[log]`.
pub(super) static LOG: Section<Log> = Section {
    path: "log",
    short: "Access lines, one for each request or tunnel, and diagnostics of the process.",
    long: "",
    blank: Log::default,
    defaults: OnceLock::new(),
    rules: &[],
    keys: &[
        Key {
            name: "level",
            since: "0.1",
            default: Fallback::Is("\"info\""),
            short: "The least important diagnostics that are written.",
            long: "`longsplice ctl log-level` changes it while the process runs. Access lines do not \
                   depend on it.",
            example: "\"debug\"",
            wrong: "\"loud\"",
            kind: &At {
                of: LEVELS,
                at: |it: &mut Log| &mut it.level,
            },
        },
        Key {
            name: "format",
            since: "0.2",
            default: Fallback::Is("\"text\""),
            short: "The format of diagnostics.",
            long: "With `json`, syslog and the journal get the object as the message; facility, severity and \
                   the fields that they add themselves stay. Errors that prevent the start are text in any \
                   case, and so is the answer of `check` and `ctl`.",
            example: "\"json\"",
            wrong: "\"xml\"",
            kind: &At {
                of: DIAGNOSTIC_FORMATS,
                at: |it: &mut Log| &mut it.format,
            },
        },
        Key {
            name: "access",
            since: "0.1",
            default: Fallback::Is("\"json\""),
            short: "The format of access lines.",
            long: "",
            example: "\"httplog\"",
            wrong: "\"xml\"",
            kind: &At {
                of: FORMATS,
                at: |it: &mut Log| &mut it.access,
            },
        },
        Key {
            name: "target",
            since: "0.1",
            default: Fallback::Is("\"stderr\""),
            short: "Where access lines and diagnostics go.",
            long: "`journald` is the journal's native socket, with a field for each value. A `file:` is \
                   opened again on SIGUSR1, on SIGHUP and after its rotation. `syslog:HOST:PORT` sends \
                   RFC 5424 over UDP; a facility may follow the port.",
            example: "\"syslog:127.0.0.1:514/local0\"",
            wrong: "\"stdout\"",
            kind: &At {
                of: TARGET,
                at: |it: &mut Log| &mut it.target,
            },
        },
        Key {
            name: "facility",
            since: "0.1",
            default: Fallback::Is("\"daemon\""),
            short: "The facility of lines for syslog and the journal.",
            long: "A facility in `target` goes before it.",
            example: "\"local0\"",
            wrong: "\"local8\"",
            kind: &At {
                of: Choice(&facility::WORDS),
                at: |it: &mut Log| &mut it.facility,
            },
        },
        Key {
            name: "progress",
            since: "0.1",
            default: Fallback::Words("a tunnel has one line, at its end"),
            short: "How often a tunnel that goes on gets an access line.",
            long: "Use it to see long tunnels, and what they have moved, before they end.",
            example: "\"5m\"",
            wrong: "\"500ms\"",
            kind: &At {
                of: Maybe(Time(PROGRESS)),
                at: |it: &mut Log| &mut it.progress,
            },
        },
    ],
};
