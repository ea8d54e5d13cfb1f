//! Timestamps of log lines.

use std::fmt::Write as _;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::Level;

/// Writes RFC 3339 with milliseconds, in UTC.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let mut out = String::with_capacity("2026-01-01T00:00:00.000Z".len());
    push_rfc3339(&mut out, time);
    out
}

/// Appends RFC 3339 with milliseconds, in UTC; nothing for a time outside the calendar.
pub(super) fn push_rfc3339(out: &mut String, time: SystemTime) {
    if let Ok(time) = Timestamp::try_from(time) {
        // Writing to a `String` is infallible.
        let _ = write!(out, "{time:.3}");
    }
}

/// Returns the time and level in front of a diagnostic on standard error and in files.
pub(super) fn preface(time: SystemTime, level: Level) -> String {
    format!("{} {level:>5} ", rfc3339(time))
}

/// The local time zone, for the older formats.
#[derive(Debug, Clone)]
pub(super) struct LocalTime(TimeZone);

impl LocalTime {
    /// Takes the zone of this machine, or the one that the variable TZ names.
    pub(super) fn of_system() -> Self {
        Self(TimeZone::system())
    }

    #[cfg(test)]
    pub(super) fn east(hours: i8) -> Self {
        Self(TimeZone::fixed(jiff::tz::offset(hours)))
    }

    /// Writes `06/Feb/2009:12:14:14.655` (HAProxy).
    pub(super) fn haproxy(&self, time: SystemTime) -> String {
        self.written(time, "%d/%b/%Y:%H:%M:%S.%3f")
    }

    /// Writes `10/Oct/2000:13:55:36 -0700` (the common log format).
    pub(super) fn common(&self, time: SystemTime) -> String {
        self.written(time, "%d/%b/%Y:%H:%M:%S %z")
    }

    /// Writes `Oct  1 22:14:15` (RFC 3164 section 4.1.2).
    pub(super) fn bsd(&self, time: SystemTime) -> String {
        self.written(time, "%b %e %H:%M:%S")
    }

    fn written(&self, time: SystemTime, format: &str) -> String {
        Timestamp::try_from(time).map_or_else(
            |_| String::new(),
            |time| time.to_zoned(self.0.clone()).strftime(format).to_string(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_moment_in_every_form() {
        // 2009-02-01 23:14:14.655 in UTC.
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_233_530_054_655);
        let local = LocalTime::east(2);
        let forms = [
            rfc3339(time),
            local.haproxy(time),
            local.common(time),
            local.bsd(time),
        ];
        assert_eq!(
            forms,
            [
                "2009-02-01T23:14:14.655Z",
                "02/Feb/2009:01:14:14.655",
                "02/Feb/2009:01:14:14 +0200",
                "Feb  2 01:14:14",
            ]
        );
    }
}
